"""Sparse: a network whose weights are values and indices, each with a limit and a place of its own.

Two layers of 256 neurons with 16 connections each, wired by the rule of RadiX-Net, and a dense last layer read
handwritten digits of 16 x 16 pixels, black or white. A flipped index is another connection, or names what is not there
and is left out.

Expected output (figures after ~ differ from machine to machine):

    bytes of weights: 45576; the same layers, dense: 133632
    column indices in 32 bits, of which a flip of 24 names no feature
    accuracy on reliable memory: ~92.7%
    all operands at once: BER ~4.8e-04
    each operand, while every other one is at its own limit:
      4.weight: 2560 bytes, BER ~1.1e-03
      0.values: 4096 bytes, BER ~1.4e-03
      0.columns: 16384 bytes, BER ~1.9e-03
      0.rows: 1028 bytes, BER ~5.9e-05
      2.values: 4096 bytes, BER ~4.4e-03
      2.columns: 16384 bytes, BER ~2.1e-03
      2.rows: 1028 bytes, BER ~3.2e-05
    every operand within its limit: True
    certified on chips never used before, a drop within 5%: True
    DRAM energy saved: ~17.0%
    with every bit of the weights flipped, outputs are finite: True
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import eden
from eden.app.datasets import digits
from eden.app.models import radix_net

RADICES = (16, 16)
NEURONS = 16 * 16
MAX_DROP = 0.05


def pixels(samples: TensorDataset) -> TensorDataset:
    images, labels = samples.tensors
    large = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return TensorDataset((large > 0.5).float().flatten(1), labels)


def network(values: Tensor) -> nn.Sequential:
    first, second = (eden.SparseLinear(weight, torch.zeros(NEURONS)) for weight in radix_net(RADICES, values))
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(NEURONS, 10))


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train_set, validation = (pixels(samples) for samples in digits())
    model = network(torch.randn(len(RADICES), NEURONS, max(RADICES)) * (2 / max(RADICES)) ** 0.5)
    eden.train(model, train_set, eden.Recipe(epochs=4))
    eden.inject_(model, eden.Faults.int8(eden.Uniform(1e-3)))
    eden.calibrate_(model, train_set.tensors[0][:500].split(100))
    weights = {name: info.bytes or 0 for name, info in eden.operands(model).items() if info.kind == "weight"}
    dense = sum(layer.out_features * layer.in_features for layer in model if not isinstance(layer, nn.ReLU))
    print(f"bytes of weights: {sum(weights.values())}; the same layers, dense: {dense}")
    print(f"column indices in 32 bits, of which a flip of {32 - (NEURONS - 1).bit_length()} names no feature")

    loader = DataLoader(validation, batch_size=200)
    tolerance = eden.profile(model, loader, max_drop=MAX_DROP, progress=False)
    print(f"accuracy on reliable memory: {tolerance.reference_accuracy:.1%}")
    print(f"all operands at once: BER {tolerance.coarse:.1e}")
    print("each operand, while every other one is at its own limit:")
    for name, size in weights.items():
        print(f"  {name}: {size} bytes, BER {tolerance.limits[name]:.1e}")

    traffic = eden.traffic(model, repeated=False)
    placement = eden.place(tolerance, eden.Device.builtin("ddr3-b33"), traffic=traffic)
    within = all(operand.ber <= operand.limit for operand in placement.operands.values())
    print(f"every operand within its limit: {within}")
    proof = eden.certify(model, loader, placement=placement, max_drop=MAX_DROP, progress=False)
    print(f"certified on chips never used before, a drop within {MAX_DROP:.0%}: {proof.certified}")
    print(f"DRAM energy saved: {eden.savings(traffic, placement).energy_reduction:.1%}")

    eden.set_errors_(model, dict.fromkeys(weights, eden.Uniform(1.0)))
    finite = bool(model(validation.tensors[0]).isfinite().all())
    print(f"with every bit of the weights flipped, outputs are finite: {finite}")


if __name__ == "__main__":
    main()
