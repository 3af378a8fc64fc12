"""What tolerance is worth: the DRAM energy that a network saves if all of its operands stand one bit error rate.

Prints a Markdown table: for modules of three vendors, on four platforms, the share of the DRAM's energy that the exact
placement of ResNet-20 in int8 saves without a single error ("free"), at each rate, and where no rate is too high. The
last is the optimizer's bound: nothing that raises tolerance (boosting, codes, bit planes, a chip that is known) saves
more at the same bytes.

With --remaining RATE another table, of every module of the catalogue: what is saved at that rate, how many points any
rate adds, and the lowest rate at which --points more are saved. Modules and platforms of equal rows share one.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import headline

import eden
from eden.accounting.results import Savings
from eden.costs.traffic_file import OperandTraffic, Traffic
from eden.devices.partition import Partition
from eden.memory.errors import Uniform
from eden.placement.constraints import Constraints
from eden.placement.defaults import UpperRates

DEVICES = ("ddr3-b3", "ddr3-p9", "ddr3-g35")
RATES = (4e-4, 1e-3, 2e-3, 5e-3, 1e-2)
EVERY = 0.5
"""A rate that no point of a device exceeds: half of all bits."""


def together(moved: Traffic, limits: Mapping[str, float]) -> tuple[Any, Traffic]:
    """What a placement reads of a tolerance, and the traffic, with operands of one kind and one limit as one.

    What is best for one of them is best for all while a bank holds them together, as any bank here does.
    """
    whole: dict[str, OperandTraffic] = {}
    rates: dict[str, float] = {}
    for name, one in moved.operands.items():
        group = f"{one.kind} {limits[name]:g}"
        before = whole.get(group)
        sums = {key: getattr(one, key) + (getattr(before, key) if before else 0) for key in _SUMMED}
        whole[group] = one.model_copy(update=sums)
        rates[group] = limits[name]
    tolerance = SimpleNamespace(
        limits=rates,
        bytes={name: one.bytes for name, one in whole.items()},
        kinds={name: one.kind for name, one in whole.items()},
        memory={name: Uniform(rate) for name, rate in rates.items()},
        provenance=None,
    )
    return tolerance, moved.model_copy(update={"operands": whole, "paths": ()})


_SUMMED = ("bytes", "read_bytes", "written_bytes")


def placed(
    moved: Traffic, limits: Mapping[str, float], device: eden.Device, rates: str, supplies: str = "module"
) -> tuple[eden.Placement, Traffic]:
    """The exact placement where each operand stands its limit, of uniform errors, and the traffic of what it places."""
    tolerance, whole = together(moved, limits)
    constraints = Constraints(shared_vdd=supplies)  # type: ignore[arg-type]
    solver = eden.ExactSolver(gap=1e-4)
    return eden.place(tolerance, device, solver, whole, constraints=constraints, rates=rates), whole


def at_rate(moved: Traffic, ber: float, device: eden.Device, rates: str, supplies: str = "module") -> Savings:
    """What is saved where all stand one rate."""
    placement, whole = placed(moved, dict.fromkeys(moved.operands, ber), device, rates, supplies)
    return eden.savings(whole, placement)


def moved_by(network: str, platform: str) -> Traffic:
    """What a network of the headline moves, each inference from an empty cache."""
    found = next(one for one in headline.all_networks() if one.name == network)
    return eden.traffic(found.model, platform, inputs=found.sample, storage="int8", repeated=False)


def by_rate(arguments: argparse.Namespace) -> None:
    """The table of rates."""
    print(f"| device, rates | platform | free | {' | '.join(f'{ber:.0e}' for ber in RATES)} | any rate |")
    print("|---" * (len(RATES) + 4) + "|")
    traffics = {platform: moved_by(arguments.network, platform) for platform in arguments.platforms}
    for name in arguments.devices or DEVICES:
        device = eden.Device.builtin(name)
        for rates in arguments.rates:
            for platform, moved in traffics.items():
                found = [at_rate(moved, ber, device, rates, arguments.supplies) for ber in (*RATES, EVERY)]
                free = found[0].free
                assert free is not None
                cells = [f"{share:.2%}" for share in (free.energy_reduction, *(one.energy_reduction for one in found))]
                print(f"| {name}, {rates} | {platform} | {' | '.join(cells)} |", flush=True)


def _rates_of(device: eden.Device, rates: str) -> list[float]:
    """All rates of its points, ascending: what is saved changes at no other one."""
    partitions: Sequence[Partition] = device.partitions
    if rates == "upper":
        level = UpperRates()
        partitions, _ = device.upper_ends(partitions, level.confidence, level.modules)
    models = [point.errors for part in partitions for point in part.choices]
    return sorted({max(model.ber_zero, model.ber_one) for model in models if model.ber})


def remaining(
    moved: Traffic, device: eden.Device, rates: str, ber: float, points: float, supplies: str
) -> tuple[float, float, float | None]:
    """What is saved at a rate, what any rate adds, and the lowest rate that adds so many points; None for none."""
    at = at_rate(moved, ber, device, rates, supplies).energy_reduction
    added = at_rate(moved, EVERY, device, rates, supplies).energy_reduction - at
    if added < points:
        return at, added, None
    # The rate of one stored value can be twice the mean; a limit has both, so the step is at the higher one.
    steps = [step for step in _rates_of(device, rates) if step > ber]
    low, high = -1, len(steps) - 1
    while high - low > 1:
        middle = (low + high) // 2
        enough = at_rate(moved, steps[middle] * (1 + 1e-9), device, rates, supplies).energy_reduction - at >= points
        low, high = (low, middle) if enough else (middle, high)
    return at, added, steps[high]


def of_all_modules(arguments: argparse.Namespace) -> None:
    """The table of what remains."""
    ber, points = arguments.remaining, arguments.points / 100
    print(f"| modules, rates | platform | saved at {ber:g} | any rate adds, points | {100 * points:g} more from |")
    print("|---|---|---|---|---|")
    traffics = {platform: moved_by(arguments.network, platform) for platform in arguments.platforms}
    names = arguments.devices or [name for name in eden.Device.builtin_names() if "vendor" not in name]
    for rates in arguments.rates:
        rows: dict[tuple[str, str, str, str], list[str]] = {}
        for name in names:
            device = eden.Device.builtin(name)
            for platform, moved in traffics.items():
                at, added, step = remaining(moved, device, rates, ber, points, arguments.supplies)
                told = (platform, f"{at:.2%}", f"{100 * added:.2f}", "never" if step is None else f"{step:.2g}")
                rows.setdefault(told, []).append(name.removeprefix("ddr3-"))
        for told, alike in rows.items():
            print(f"| {', '.join(alike)}: {rates} | {' | '.join(told)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet20", choices=list(headline.STATED_BOOSTED))
    parser.add_argument("--devices", nargs="*")
    parser.add_argument("--platforms", nargs="*", default=list(headline.PLATFORMS))
    parser.add_argument("--rates", nargs="*", default=["mean", "upper"], choices=["mean", "upper"], help="of a device")
    parser.add_argument("--supplies", default="module", choices=["module", "partition"], help="who shares a VDD")
    parser.add_argument("--remaining", type=float, help="rate that all operands stand: print the table of what remains")
    parser.add_argument("--points", type=float, default=3.0, help="of energy, which something more is to save")
    arguments = parser.parse_args()
    if arguments.remaining is None:
        by_rate(arguments)
    else:
        of_all_modules(arguments)


if __name__ == "__main__":
    main()
