"""Map: put a network's operands into the banks of a real DDR3 module at the latencies that they tolerate.

Limits are found with the module's own errors; the placement is then verified on chips that neither training nor search
has used. The device's latencies were measured; what a lower supply voltage does is the vendor's other modules' median,
joined under an assumption that the device names. What accesses cost is assumed within ranges
(docs/explanation/accounting.md).

Expected output (figures after ~ differ from machine to machine):

    ddr3-b33, the module at tRP 12.5 ns:
      tRCD 12.5 ns: BER 0 of zeros, 0 of ones
      tRCD 10 ns: BER 0 of zeros, 0 of ones
      tRCD 7.5 ns: BER 0.00054 of zeros, 0.00023 of ones
      tRCD 5 ns: BER 0.044 of zeros, 0.03 of ones
      tRCD 2.5 ns: BER 0.39 of zeros, 0.36 of ones
    the network tolerates BER ~1.4e-03 in all operands for a drop of 3%
      most of it lies in ~bank3: ~21152 bytes at ~1.1 V, tRCD ~7.5 ns, tRP ~12.5 ns
    every operand within its limit: True
    accuracy on reliable memory ~99.5%, as placed, over 20 chips never used before, ~99.3%
    drop within 3%: True
    DRAM energy saved: ~7.4%, ~3.0% to ~21.1% over what is assumed
    faster by: ~1.8%, ~0.0% to ~8.9% over what is assumed
    report: device.json, index.html, placement.json, savings.json, tolerance.json
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch.utils.data import DataLoader

import eden
from eden.app.datasets import digits
from eden.app.models import ResNet


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = eden.Device.builtin("ddr3-b33")
    print(f"{device.name}, the module at tRP {device.nominal.trp:g} ns:")
    for point in device.curve("trcd"):
        print(f"  tRCD {point.trcd:g} ns: BER {point.errors.ber_zero:.2g} of zeros, {point.errors.ber_one:.2g} of ones")

    train_set, validation = digits()
    model = ResNet(blocks=1, channels=8, image_channels=1)
    eden.train(model, train_set, eden.Recipe(epochs=20))
    errors = device.errors(trcd=7.5)
    eden.inject_(model, eden.Faults(weights=errors, inputs=errors, storage="int8", correction="zero", seed=0))
    eden.calibrate_(model, train_set.tensors[0][:500].split(100))
    loader = DataLoader(validation, batch_size=100)
    tolerance = eden.profile(model, loader, max_drop=0.03, search=eden.Search(coarse_only=True), progress=False)
    print(f"the network tolerates BER {tolerance.coarse:.1e} in all operands for a drop of {tolerance.max_drop:.0%}")

    # The cache would hold all of this network, and nothing be saved: here it is empty, as after other work.
    traffic = eden.traffic(model, platform="cpu", repeated=False)
    placement = eden.place(tolerance, device, traffic=traffic, objective="latency")
    name, partition = max(placement.partitions.items(), key=lambda item: item[1].used_bytes)
    at, used = partition.operating_point, partition.used_bytes
    print(f"  most of it lies in {name}: {used} bytes at {at.vdd:g} V, tRCD {at.trcd:g} ns, tRP {at.trp:g} ns")
    within = all(operand.ber <= operand.limit for operand in placement.operands.values())
    print(f"every operand within its limit: {within}")

    placed = eden.evaluate(model, validation, errors=dict(placement.errors), chips=20)
    print(
        f"accuracy on reliable memory {placed.clean:.1%}, as placed, over 20 chips never used before, {placed.mean:.1%}"
    )
    print(f"drop within {tolerance.max_drop:.0%}: {placed.clean - placed.mean <= tolerance.max_drop}")

    savings = eden.savings(traffic, placement)
    low, high = savings.energy_reduction_range
    print(f"DRAM energy saved: {savings.energy_reduction:.1%}, {low:.1%} to {high:.1%} over what is assumed")
    low, high = savings.speedup_range
    print(f"faster by: {savings.speedup:.1%}, {low:.1%} to {high:.1%} over what is assumed")
    with tempfile.TemporaryDirectory() as folder:
        eden.report(folder, device=device, tolerance=tolerance, placement=placement, savings=savings)
        print("report:", ", ".join(sorted(path.name for path in Path(folder).iterdir())))


if __name__ == "__main__":
    main()
