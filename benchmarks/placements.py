"""Exact and greedy placements beside brute force on random small instances, and the time of a large one.

    python benchmarks/placements.py [--instances 10000] [--operands 1000] [--partitions 64]

It prints how many small instances were compared, how many of them fit no placement, the largest difference between the
exact objective and that of brute force, and how far the greedy solver is above it; then, for a large instance and each
way to ask for it, the seconds that it took to a gap of 1%, those of processor time, the objective and its bound.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import eden
from eden.costs.energy import Currents
from eden.costs.platforms import PLATFORMS, Platform
from eden.costs.traffic_file import Traffic
from eden.devices.margin import Margin
from eden.devices.upper_rates import Rates
from eden.memory.errors import DataDependent, ErrorModel, Uniform
from eden.memory.geometry import Geometry
from eden.placement.constraints import Constraints
from eden.placement.program.problem import InfeasibleError

NOMINAL = {"vdd": 1.35, "trcd": 12.5, "trp": 12.5, "refresh_interval": 64.0}
LAW = {"linear": 1, "quadratic": 2}


@dataclass(frozen=True)
class Point:
    """An operating point with its error model."""

    vdd: float = 1.35
    trcd: float = 12.5
    trp: float = 12.5
    temperature: float = 50.0
    refresh_interval: float = 64.0
    tras: float | None = None
    errors: ErrorModel = field(default_factory=lambda: Uniform(ber=0.0))


@dataclass(frozen=True)
class Partition:
    """A bank."""

    name: str
    capacity_bytes: int
    points: tuple[Point, ...]
    nominal: bool = False
    address: int = 0

    @property
    def choices(self) -> tuple[Point, ...]:
        """What a placement may choose."""
        return self.points


@dataclass(frozen=True)
class Memory:
    """What a placement reads of a device."""

    partitions: tuple[Partition, ...]
    name: str = "random"
    nominal: Point = field(default_factory=Point)
    margin: Margin = field(default_factory=Margin)
    voltage: None = None
    population: None = None
    geometry: Geometry = field(default_factory=Geometry)

    def upper_ends(self, partitions: tuple[Partition, ...], *level: float) -> tuple[tuple[Partition, ...], Rates]:
        """Nothing was measured."""
        return partitions, Rates(kind="upper")


@dataclass(frozen=True)
class Instance:
    """One problem and how it is asked."""

    tolerance: Any
    memory: Memory
    traffic: Traffic
    options: dict[str, Any]

    @property
    def constraints(self) -> Constraints:
        """What the supplies and the controller allow."""
        found: Constraints = self.options["constraints"]
        return found

    def place(self, solver: str, **changes: Any) -> eden.Placement:
        """The placement by a solver."""
        options = {**self.options, **changes}
        exact = options.pop("exact")
        if solver == "greedy":
            options["objective"] = "energy" if options["objective"] == "weighted" else options["objective"]
        chosen = exact if solver == "exact" else solver
        return eden.place(self.tolerance, self.memory, chosen, self.traffic, **options)  # type: ignore[arg-type]


def tolerance_of(limits: dict[str, float], sizes: dict[str, int], kinds: dict[str, str], ratio: float) -> Any:
    """What a placement reads of a tolerance; ``ratio`` is that of ones' rate to zeros' under which it was found."""
    models = {
        name: DataDependent(2 * limit / (1 + ratio), 2 * limit * ratio / (1 + ratio)) for name, limit in limits.items()
    }
    return SimpleNamespace(
        limits=limits,
        bytes=sizes,
        kinds=kinds,
        memory=models,
        provenance=None,
    )


def random_instance(rng: random.Random, split: bool = False) -> Instance:
    """A small problem: up to 3 partitions, 4 operands and 3 points beside the nominal one."""
    alignment = rng.choice([64, 64, 128])

    def rate() -> float:
        return float(10.0 ** -rng.randint(1, 5))

    partitions = []
    for p in range(rng.randint(1, 3)):
        points = []
        for _ in range(rng.randint(0, 3)):
            base = rate()
            skew = rng.choice([1.0, 1.0, 0.5, 1.5])
            points.append(
                Point(
                    vdd=rng.choice([1.35, 1.25, 1.15]),
                    trcd=rng.choice([12.5, 10.0, 7.5]),
                    refresh_interval=rng.choice([64.0, 64.0, 128.0]),
                    errors=DataDependent(base * skew, base * (2.0 - skew)),
                )
            )
        unique = {(point.vdd, point.trcd, point.refresh_interval): point for point in points}
        capacity = alignment * rng.randint(1, 4 if split else 8) + (0 if split else rng.choice([0, 0, 20, 50]))
        # A device without points has the nominal one alone; it is marked so.
        partitions.append(Partition(f"bank{p}", capacity, tuple(unique.values()), nominal=not unique))
    names = [f"layer{k}.{rng.choice(['weight', 'input'])}" for k in range(rng.randint(1, 2 if split else 4))]
    kinds = {name: name.rpartition(".")[2] for name in names}
    limits = {name: rate() * rng.choice([1.0, 1.5]) for name in names}
    sizes = {name: rng.randint(1, 4 * alignment if split else 300) for name in names}
    groups = [partition.name for partition in partitions]
    constraints = Constraints(
        split=split,
        alignment=alignment,
        voltages=rng.choice([None, None, 1, 2]),
        shared_vdd=rng.choice(["module", "partition", (tuple(groups[:2]),)]),
        shared_refresh=rng.choice(["rank", "partition", (tuple(groups[-2:]),)]),
    )
    traffic = eden.traffic(
        {name: SimpleNamespace(bytes=sizes[name], kind=kinds[name]) for name in names},
        rng.choice(list(PLATFORMS)),
        repeated=False,
    )
    options = {
        "constraints": constraints,
        "objective": rng.choice(["energy", "energy", "latency", "weighted"]),
        "exact": eden.ExactSolver(
            energy_weight=rng.choice([0.2, 0.5, 0.8]),
            currents=rng.choice(["ddr3-1600", "ddr3l-1600", "ddr4-2400", "lpddr3-1600"]),
            vdd_law=rng.choice(["linear", "quadratic"]),
            gap=0.0,
        ),
    }
    return Instance(
        tolerance_of(limits, sizes, kinds, rng.choice([1.0, 1.0, 3.0])), Memory(tuple(partitions)), traffic, options
    )


def _homes(instance: Instance) -> Iterator[list[tuple[tuple[int, int], ...]]]:
    """Every way to put operands into partitions, as partitions with bytes, sizes apart."""
    sizes = list(instance.tolerance.bytes.values())
    partitions = range(len(instance.memory.partitions))
    unit = instance.constraints.alignment
    if not instance.constraints.split:
        for homes in itertools.product(partitions, repeat=len(sizes)):
            yield [((p, size),) for p, size in zip(homes, sizes, strict=True)]
        return
    ways = []
    for size in sizes:
        units = -(-size // unit)
        ways.append(
            [
                tuple((p, count * unit) for p, count in enumerate(counts) if count)
                for counts in itertools.product(range(units + 1), repeat=len(partitions))
                if sum(counts) == units
            ]
        )
    yield from (list(combination) for combination in itertools.product(*ways))


def _fits(instance: Instance, homes: list[tuple[tuple[int, int], ...]]) -> bool:
    unit = instance.constraints.alignment
    for p, partition in enumerate(instance.memory.partitions):
        inside = [size for home in homes for q, size in home if q == p]
        if inside:
            padded = [-(-size // unit) * unit for size in inside]
            if (
                sum(padded) - max(whole - size for whole, size in zip(padded, inside, strict=True))
                > partition.capacity_bytes
            ):
                return False
    return True


def _limits(instance: Instance, name: str) -> tuple[float, float, float]:
    model = instance.tolerance.memory[name]
    return instance.tolerance.limits[name], model.ber_zero * (1 + 1e-12), model.ber_one * (1 + 1e-12)


def best_by_brute_force(instance: Instance) -> float | None:
    """The lowest objective over all placements, by formulas of its own; None where nothing fits."""
    platform = Platform.named(instance.traffic.platform)
    exact = instance.options["exact"]
    currents = Currents.builtin(exact.currents)
    exponent = LAW[exact.vdd_law]
    weight = {"energy": 1.0, "latency": 0.0, "weighted": exact.energy_weight}[instance.options["objective"]]
    hit = platform.row_hit_share.typical
    names = list(instance.tolerance.limits)
    bursts = {
        name: (moved.read_bytes / 64, moved.written_bytes / 64) for name, moved in instance.traffic.operands.items()
    }
    reference = currents.vdd if currents.operating_points == "absolute" else NOMINAL["vdd"]
    interval = currents.refresh_ms if currents.operating_points == "absolute" else NOMINAL["refresh_interval"]
    free_ns = sum(map(sum, bursts.values())) * currents.tburst / platform.bus_utilization.typical
    opened = {name: sum(both) * (1 - hit) for name, both in bursts.items()}
    waits = platform.exposed_latency_share.typical
    time_ns = free_ns + waits * sum(opened.values()) * (NOMINAL["trp"] + NOMINAL["trcd"] + currents.tcl)

    def unit(term: str, vdd: float) -> float:
        return currents.unit(term, (vdd / reference) ** exponent)

    def access(name: str, vdd: float) -> float:
        reads, writes = bursts[name]
        return opened[name] * unit("activate", vdd) + reads * unit("read", vdd) + writes * unit("write", vdd)

    def standby(point: Point) -> float:
        return unit("background", point.vdd) + unit("refresh", point.vdd) * interval / point.refresh_interval

    io = sum(reads * currents.read_io_nj + writes * currents.write_io_nj for reads, writes in bursts.values())
    io *= (NOMINAL["vdd"] / reference) ** exponent
    nominal = Point()
    partitions = instance.memory.partitions
    capacity = sum(partition.capacity_bytes for partition in partitions)
    within = sum(access(name, nominal.vdd) for name in names) + io + time_ns * standby(nominal)
    limits = [_limits(instance, name) for name in names]
    index = {partition.name: p for p, partition in enumerate(partitions)}
    constraints = instance.constraints
    groups = []
    for parameter, shared in (("vdd", constraints.shared_vdd), ("refresh_interval", constraints.shared_refresh)):
        # One rank, since all partitions begin at the first address.
        named = {"module": [list(index)], "rank": [list(index)], "partition": []}.get(str(shared), shared)
        groups += [(parameter, [index[name] for name in group]) for group in named]
    offers = [[nominal, *(point for point in partition.points)] for partition in partitions]
    best: float | None = None
    for homes in _homes(instance):
        if not _fits(instance, homes):
            continue
        filled = [[k for k, home in enumerate(homes) if any(q == p for q, _ in home)] for p in range(len(partitions))]
        allowed: list[list[Point | None]] = []
        for p, inside in enumerate(filled):
            allowed.append(
                [
                    point
                    for point in offers[p]
                    if all(
                        rate <= limit
                        for k in inside
                        for rate, limit in zip(
                            (point.errors.ber, point.errors.ber_zero, point.errors.ber_one), limits[k], strict=True
                        )
                    )
                ]
                if inside
                else [None]
            )
        for points in itertools.product(*allowed):
            if any(len({_key(points[q]) for q, _ in home}) > 1 for home in homes):
                continue
            states = _with_idle(points, groups)
            if states is None:
                continue
            voltages = {point.vdd for point in points if point is not None} | {nominal.vdd}
            if constraints.voltages is not None and len(voltages) > constraints.voltages:
                continue
            saved = sum(
                opened[name] * (NOMINAL["trcd"] - _of(points[home[0][0]]).trcd)
                for name, home in zip(names, homes, strict=True)
            )
            ratio = 1 - waits * saved / time_ns
            energy = io + sum(
                access(name, _of(points[home[0][0]]).vdd) for name, home in zip(names, homes, strict=True)
            )
            energy += (
                ratio
                * time_ns
                * sum(
                    partition.capacity_bytes / capacity * standby(state)
                    for partition, state in zip(partitions, states, strict=True)
                )
            )
            value = weight * energy / within + (1 - weight) * ratio
            best = value if best is None else min(best, value)
    return best


def _of(point: Point | None) -> Point:
    assert point is not None
    return point


def _key(point: Point | None) -> tuple[float, ...]:
    found = _of(point)
    return (found.vdd, found.trcd, found.trp, found.refresh_interval)


def _with_idle(points: tuple[Point | None, ...], groups: list[tuple[str, list[int]]]) -> list[Point] | None:
    """Points of all partitions, idle ones as their groups are run; None where a group disagrees."""
    resting = [{"vdd": NOMINAL["vdd"], "refresh_interval": NOMINAL["refresh_interval"]} for _ in points]
    for parameter, group in groups:
        values = {getattr(point, parameter) for p in group if (point := points[p]) is not None}
        if len(values) > 1:
            return None
        for value in values:
            for p in group:
                resting[p][parameter] = value
    return [point if point is not None else Point(**rest) for point, rest in zip(points, resting, strict=True)]


@dataclass
class Compared:
    """What a comparison with brute force found."""

    placed: int = 0
    infeasible: int = 0
    greedy_placed: int = 0
    greedy_optimal: int = 0
    largest_difference: float = 0.0
    largest_excess: float = 0.0


def compare(instance: Instance, found: Compared) -> None:
    """Place one instance by both solvers and by brute force, and raise AssertionError where a promise is broken."""
    best = best_by_brute_force(instance)
    if best is None:
        try:
            instance.place("exact")
        except InfeasibleError:
            found.infeasible += 1
            return
        raise AssertionError("the exact solver placed what cannot be placed")
    exact = instance.place("exact")
    found.placed += 1
    optimum = exact.optimum
    assert optimum is not None
    difference = abs(optimum.value - best)
    assert difference < 1e-8, f"exact {optimum.value!r}, brute force {best!r}"
    assert optimum.bound <= best + 1e-8
    found.largest_difference = max(found.largest_difference, difference)
    for name, operand in exact.operands.items():
        for part in operand.parts:
            errors = exact.partitions[part.partition].errors
            assert all(
                rate <= limit
                for rate, limit in zip(
                    (errors.ber, errors.ber_zero, errors.ber_one), _limits(instance, name), strict=True
                )
            )
            assert part.address_bytes % instance.constraints.alignment == 0
    if optimum.greedy is not None:
        assert optimum.greedy >= best - 1e-8
        found.greedy_placed += 1
        found.greedy_optimal += optimum.greedy <= best + 1e-8
        found.largest_excess = max(found.largest_excess, optimum.greedy / best - 1.0)


def large_instance(operands: int, partitions: int, seed: int = 0) -> Instance:
    """Partitions that differ, each at 8 latencies and 4 voltages; operands of the sizes and limits of networks."""
    rng = random.Random(seed)
    banks = []
    for p in range(partitions):
        weak = rng.lognormvariate(0.0, 1.0)
        points = []
        for volts, lower in ((1.35, 1.0), (1.25, 1.5), (1.15, 10.0), (1.05, 100.0)):
            for step in range(8):
                trcd = 12.5 - 1.25 * step
                ber = 0.0 if volts == 1.35 and step == 0 else min(0.3, 1e-9 * weak * lower * 10.0**step)
                points.append(Point(vdd=volts, trcd=trcd, errors=DataDependent(0.5 * ber, 1.5 * ber)))
        banks.append(Partition(f"bank{p}", 16 << 20, tuple(points[1:])))
    names = [f"layer{k // 2}.{('weight', 'input')[k % 2]}" for k in range(operands)]
    kinds = {name: name.rpartition(".")[2] for name in names}
    limits = {name: 10.0 ** rng.uniform(-7.0, -1.5) for name in names}
    sizes = {name: round(2.0 ** rng.uniform(10.0, 21.5)) for name in names}
    traffic = eden.traffic(
        {name: SimpleNamespace(bytes=sizes[name], kind=kinds[name]) for name in names}, "cpu", repeated=False
    )
    options = {
        "constraints": Constraints(),
        "objective": "energy",
        "exact": eden.ExactSolver(gap=0.01, time_limit=120.0),
    }
    return Instance(tolerance_of(limits, sizes, kinds, 3.0), Memory(tuple(banks)), traffic, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--operands", type=int, default=1000)
    parser.add_argument("--partitions", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for split in (False, True):
        found = Compared()
        rng = random.Random(arguments.seed + split)
        number = arguments.instances // 10 if split else arguments.instances
        for _ in range(number):
            compare(random_instance(rng, split), found)
        print(f"{'split' if split else 'whole'} operands: {number:,} random instances beside brute force")
        print(f"  exact: {found.placed:,} placed, {found.infeasible:,} told to be infeasible, none otherwise")
        print(f"  largest difference of objectives: {found.largest_difference:.1e}")
        if not split:
            print(f"  greedy: {found.greedy_placed:,} placed, {found.greedy_optimal:,} of them optimal")
            print(f"  largest excess over the optimum: {found.largest_excess:.1%}")
    instance = large_instance(arguments.operands, arguments.partitions, arguments.seed)
    moved = sum(instance.tolerance.bytes.values())
    print(f"{arguments.operands:,} operands of {moved / 2**20:.0f} MiB, {arguments.partitions} partitions of 16 MiB")
    names = [partition.name for partition in instance.memory.partitions]
    fewer = moved * 10 // (9 * len(names)) // 64 * 64
    full = tuple(dataclasses.replace(partition, capacity_bytes=fewer) for partition in instance.memory.partitions)
    for what, where, changes in (
        ("energy", instance, {}),
        ("latency", instance, {"objective": "latency"}),
        ("weighted", instance, {"objective": "weighted"}),
        ("split", instance, {"constraints": Constraints(split=True)}),
        ("2 voltages", instance, {"constraints": Constraints(voltages=2)}),
        ("supplies of 8", instance, {"constraints": Constraints(shared_vdd=tuple(_eights(names)))}),
        ("90% full", dataclasses.replace(instance, memory=dataclasses.replace(instance.memory, partitions=full)), {}),
    ):
        started = time.perf_counter(), time.process_time()
        optimum = where.place("exact", **changes).optimum
        seconds, busy = time.perf_counter() - started[0], time.process_time() - started[1]
        assert optimum is not None
        greedy = "none" if optimum.greedy is None else f"{optimum.greedy:.4f}"
        print(
            f"  {what:<14}{seconds:5.1f} s ({busy:.1f} s of a core), gap {optimum.gap:.2%}: objective "
            f"{optimum.value:.4f}, bound {optimum.bound:.4f}, greedy {greedy}"
        )


def _eights(names: list[str]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(names), 8):
        yield tuple(names[start : start + 8])


if __name__ == "__main__":
    main()
