"""Put a network's weights and inputs under the errors of a DRAM, see what they do, and take them away again.

Training sums floating-point numbers, in an order and with instructions that differ between machines, so the network and
its figures do too.

Expected output (figures after ~ differ from machine to machine):

    accuracy in float32: ~99.5%
    same Parameters: True, same keys: True
    range of conv1.input: 0 to 1
    under faults: 16 operands, 21096 bytes, the first ones:
      conv1.weight: 72 bytes, int8_sign_magnitude, BER 0.001
      conv1.input: 64 bytes, uint8, BER 0.001
      layer1.0.conv1.weight: 576 bytes, int8_sign_magnitude, BER 0.001
      layer1.0.conv1.input: 512 bytes, uint8, BER 0.001
    reliable: 43 parameters, buffers and inputs, among them:
      bn1.weight: BatchNorm2d is reliable
      bn1.bias: BatchNorm2d is reliable
    accuracy on reliable memory, int8: ~99.7%
    the same, by hand: ~99.7%
    accuracy over 10 chips, all operands at one bit error rate:
      1e-04: ~99.6%
      1e-03: ~99.1%
      3e-02: ~27.5%
    few errors cost little, many more than half: True
    after remove_: Conv2d, accuracy in float32: ~99.5%
"""

from __future__ import annotations

import torch

import eden
from eden.app.datasets import digits
from eden.app.models import ResNet
from eden.tolerance.evaluation import accuracy, clean_accuracy


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train_set, validation = digits()
    model = ResNet(blocks=1, channels=8, image_channels=1)
    eden.train(model, train_set, eden.Recipe(epochs=20))
    print(f"accuracy in float32: {accuracy(model, validation):.1%}")

    keys, weight = list(model.state_dict()), model.conv1.weight
    errors = eden.Uniform(ber=1e-3)
    eden.inject_(model, eden.Faults.int8(errors, seed=0))
    print(f"same Parameters: {model.conv1.weight is weight}, same keys: {list(model.state_dict()) == keys}")

    # The range of each input on reliable memory gives the scale of its codes and the bounds of plausible values.
    eden.calibrate_(model, train_set.tensors[0][:500].split(100))
    low, high = eden.ranges(model)["conv1.input"]
    print(f"range of conv1.input: {low:g} to {high:g}")
    covered = eden.coverage(model)
    print(f"under faults: {len(covered.faulty)} operands, {covered.faulty_bytes} bytes, the first ones:")
    for row in covered.faulty[:4]:
        print(f"  {row.name}: {row.bytes} bytes, {row.note}")
    print(f"reliable: {len(covered.reliable)} parameters, buffers and inputs, among them:")
    for row in covered.reliable[:2]:
        print(f"  {row.name}: {row.note}")

    print(f"accuracy on reliable memory, int8: {clean_accuracy(model, validation):.1%}")
    with eden.clean(model):
        print(f"the same, by hand: {accuracy(model, validation):.1%}")
    print("accuracy over 10 chips, all operands at one bit error rate:")
    found = {rate: eden.evaluate(model, validation, ber=rate, chips=10).mean for rate in (1e-4, 1e-3, 3e-2)}
    for rate, mean in found.items():
        print(f"  {rate:.0e}: {mean:.1%}")
    print(f"few errors cost little, many more than half: {found[1e-4] > 0.9 and found[3e-2] < 0.5}")

    eden.remove_(model)
    print(f"after remove_: {type(model.conv1).__name__}, accuracy in float32: {accuracy(model, validation):.1%}")


if __name__ == "__main__":
    main()
