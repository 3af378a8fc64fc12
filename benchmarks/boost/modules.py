"""The lowest tRCD of real modules that keeps accuracy within a point, before and after boosting."""

from __future__ import annotations

import statistics
from typing import Any

from judging import MAX_DROP, folds, highest, mean, reference, under
from limits import RESNET20
from runs import Run, kept
from torch import nn
from torch.utils.data import TensorDataset

import eden
from eden.tolerance.evaluation import clean_accuracy

LATENCIES = tuple(12.5 - 0.25 * step for step in range(31))
"""Row activation latencies in ns, from nominal down."""


def _run(device: str, trcd: float) -> Run:
    aim = {
        "memory.device": device,
        "memory.trcd": trcd,
        "boost.epochs": 3,
        "curriculum.walk": {"trcd": trcd, "steps": 8},
    }
    return Run(f"modules/{device}", "modules.toml", aim)


RUNS = {"ddr3-b3": _run("ddr3-b3", 6.5), "ddr3-p9": _run("ddr3-p9", 7.5), "ddr3-g35": _run("ddr3-g35", 7.25)}
"""One module of each of the vendors A, B and C. Their walks end where the rate is nearest to that of the recipe for
uniform errors, 1e-3; of B's, the mildest latency that makes errors makes 1.6e-2."""


def _lowest(model: nn.Module, data: TensorDataset, device: eden.Device, floor: float) -> dict[str, Any]:
    parts = folds(data)
    seen: dict[float, list[float]] = {}
    clean = clean_accuracy(model, data)

    def within(index: int) -> bool:
        latency = LATENCIES[index]
        errors = None if latency == LATENCIES[0] else device.errors(trcd=latency, between="curve")
        seen[latency] = [clean] if errors is None or errors.ber == 0.0 else under(model, parts, errors)
        return statistics.fmean(seen[latency]) >= floor

    last = highest(within, len(LATENCIES))
    lowest = LATENCIES[last] if last >= 0 else None
    return {"clean": clean, "lowest": lowest, "at": [] if lowest is None else seen[lowest]}


def _judged(name: str, run: Run) -> dict[str, Any]:
    data, device = run.data(), eden.Device.builtin(name)
    floor = reference(run, data) - MAX_DROP
    before, after = run.networks()
    uniform = RESNET20[0].run.networks()[1]
    models = {"before": before, "boosted for uniform errors": uniform, "boosted for the module": after}
    return {which: _lowest(model, data, device, floor) for which, model in models.items()}


def table() -> None:
    """Print the table."""
    print("| module | vendor | network | clean | lowest tRCD (ns) | BER there | accuracy there |")
    print("|---|---|---|---|---|---|---|")
    for name, run in RUNS.items():
        device = eden.Device.builtin(name)
        found = kept(run.folder / "judged.json", lambda name=name, run=run: _judged(name, run))  # type: ignore[misc]
        for which, one in found.items():
            lowest = one["lowest"]
            ber = 0.0 if lowest in (None, LATENCIES[0]) else device.errors(trcd=lowest, between="curve").ber
            there = mean(one["at"]) if one["at"] else "none"
            cells = [name, device.source.vendor, which, f"{one['clean']:.1%}", f"{lowest}", f"{ber:.2g}", there]
            print(f"| {' | '.join(cells)} |", flush=True)
    for run in RUNS.values():
        print(f"`{run.command}`")
