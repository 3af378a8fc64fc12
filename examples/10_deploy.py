"""Deploy: run a network in integers from the very words that a faulty memory holds.

Its limits are found and certified, it is placed, and the words of its weights are written into an image where the
memory map has them. A chip's errors are put into the image, and the network is computed from what is read by kernels of
int8 weights, uint8 feature maps and int32 sums. It is compared with the simulation of the placement on the same chips,
whose feature maps are kept without errors here, since those of a deployed network are made when it runs.

Expected output (figures after ~ differ from machine to machine):

    certified with 95% confidence: BER ~1.9e-03 in all operands for a drop of at most 3%
    most words at ~1.125 V, tRCD ~12.5 ns: ~16.8% of the DRAM energy saved
    the image has 18824 words of 8 weights
    chip 7 flips bits of ~58 words
    from its words layers computed in integers: 8, in float: 0
    codes that are not those of the simulation: 0
    outputs differ by at most ~0.4% of the largest
    accuracy over 20 chips: simulated ~98.7%, in integers ~98.7%
    within a standard error: True
"""

from __future__ import annotations

import statistics

import torch
from torch.utils.data import DataLoader

import eden
from eden.app.datasets import digits
from eden.app.models import ResNet
from eden.faults.chips import draw_chip

CHIPS = 20


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train_set, validation = digits()
    images, labels = validation.tensors
    model = ResNet(blocks=1, channels=8, image_channels=1)
    eden.train(model, train_set, eden.Recipe(epochs=8))
    device = eden.Device.builtin("ddr3-b33")
    eden.inject_(model.eval(), eden.Faults.int8(device.errors(trcd=7.5)))
    eden.calibrate_(model, train_set.tensors[0][:500].split(100))

    loader, search = DataLoader(validation, batch_size=100), eden.Search(coarse_only=True)
    tolerance = eden.profile(model, loader, max_drop=0.03, search=search, progress=False)
    certified = f"certified with {tolerance.confidence:.0%} confidence: BER {tolerance.coarse:.1e} in all operands"
    print(f"{certified} for a drop of at most {tolerance.max_drop:.0%}")
    traffic = eden.traffic(model, platform="cpu", repeated=False)  # from an empty cache
    placement = eden.place(tolerance, device, traffic=traffic)
    _, partition = max(placement.partitions.items(), key=lambda item: item[1].used_bytes)
    saved = eden.savings(traffic, placement).energy_reduction
    at = partition.operating_point
    print(f"most words at {at.vdd:g} V, tRCD {at.trcd:g} ns: {saved:.1%} of the DRAM energy saved")
    eden.set_errors_(model, placement.memory)  # where they lie, as the map will say

    written = eden.memory_image(model, eden.memory_map(model, placement, device))
    print(f"the image has {sum(map(len, written.words.values()))} words of {len(written.words)} weights")
    image = written.corrupted(chip=7)
    flipped = sum(int((words != written.words[name]).sum()) for name, words in image.words.items())
    print(f"chip 7 flips bits of {flipped} words")
    deployed = eden.deploy(model, image)
    print(f"from its words layers computed in integers: {len(deployed.integer)}, in float: {len(deployed.in_float)}")

    eden.set_errors_(model, {name: None for name, info in eden.operands(model).items() if info.kind == "input"})
    eden.set_chip_(model, 7)
    other = 0
    for name in deployed.integer:
        layer = model.get_submodule(name)
        read = layer.eden_read("weight", layer.weight) / (layer.weight.abs().max() / 127)
        other += int((deployed.network.get_submodule(name).product.codes != read.round()).sum())
    print(f"codes that are not those of the simulation: {other}")
    with torch.no_grad():
        simulated = model(images)
    largest = float((deployed(images) - simulated).abs().max() / simulated.abs().max())
    print(f"outputs differ by at most {largest:.1%} of the largest")

    # The simulation draws the same chips.
    placed = eden.evaluate(model, validation, chips=CHIPS)
    found = []
    for k in range(CHIPS):
        network = eden.deploy(model, written.corrupted(draw_chip(0, "evaluation", k)))
        found.append(float((network(images).argmax(1) == labels).float().mean()))
    mean = statistics.mean(found)
    print(f"accuracy over {CHIPS} chips: simulated {placed.mean:.1%}, in integers {mean:.1%}")
    print(f"within a standard error: {abs(mean - placed.mean) <= placed.standard_error}")


if __name__ == "__main__":
    main()
