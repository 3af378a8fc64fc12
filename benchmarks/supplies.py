"""Supplies, ranks and caches as they are: cases for the table in docs/results.md, on this checkout.

    python benchmarks/supplies.py

Run by another checkout's package (PYTHONPATH), it prints what that one does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import placements

import eden
from eden.accounting import ramulator

SIZES = {"conv.weight": 6_000, "conv.input": 1_000, "fc.weight": 12_000, "fc.input": 2_000}
"""A network of 21 kB."""
LIMITS = {"conv.weight": 1e-3, "conv.input": 1e-4, "fc.weight": 1e-2, "fc.input": 1e-2}
STATISTICS = """\
memory_system:
  impl: GenericDRAM
  controller:
    cycles: 120
    row_hits: 3
    row_misses: 1
    row_conflicts: 1
    num_read_reqs: 3
    num_write_reqs: 2
    avg_read_latency: 25
"""


def operands() -> dict[str, Any]:
    """The network, as traffic reads one."""
    return {name: SimpleNamespace(bytes=size, kind=name.rpartition(".")[2]) for name, size in SIZES.items()}


def placed(where: Any, solver: str = "exact", **constraints: Any) -> eden.Placement:
    """Its placement."""
    kinds = {name: name.rpartition(".")[2] for name in SIZES}
    tolerance = placements.tolerance_of(LIMITS, SIZES, kinds, 1.0)
    return eden.place(tolerance, where, solver, constraints=eden.Constraints(**constraints))


def module(banks: int) -> Any:
    """Banks of 128 MiB at nominal VDD, 1.2 V and, of one rate, 1.1 V."""
    rates = ((1.2, 1e-5), (1.1, 5e-3))
    points = tuple(placements.Point(vdd=vdd, errors=eden.DataDependent(ber, ber)) for vdd, ber in rates)
    banks_of = tuple(placements.Partition(f"bank{i}", 128 << 20, points) for i in range(banks))
    return placements.Memory(banks_of)


def vdds(placement: eden.Placement) -> str:
    """Supply voltages of all partitions."""
    return (
        ", ".join(f"{one:g}" for one in sorted({p.operating_point.vdd for p in placement.partitions.values()})) + " V"
    )


def saved(platform: str) -> str:
    """What the network saves in `ddr3-b33`."""
    return f"{eden.savings(operands(), placed(eden.Device.builtin('ddr3-b33')), platform).energy_reduction:.2%}"


def standby(banks: int) -> str:
    """Standby energy of an inference in a module of so many banks."""
    return f"{eden.savings(operands(), placed(module(banks)), 'eyeriss').terms['background'].nominal_nj:.0f} nJ"


def statistics() -> str:
    """Ramulator 2.1's, read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "statistics.yaml"
        path.write_text(STATISTICS)
        return f"{ramulator.read(path).row_hit_share:.0%} row hits"


CASES: dict[str, Callable[[], str]] = {
    "VDDs of `ddr3-b33`, nothing said": lambda: vdds(placed(eden.Device.builtin("ddr3-b33"))),
    "VDDs of 8 banks, exact": lambda: vdds(placed(module(8))),
    "VDDs of 8 banks, greedy": lambda: vdds(placed(module(8), "greedy")),
    "all banks named as one supply, greedy": lambda: vdds(
        placed(module(2), "greedy", shared_vdd=(("bank0", "bank1"),))
    ),
    "21 kB saved on cpu, 8 MiB of cache": lambda: saved("cpu"),
    "21 kB saved on gpu, 4 MiB of cache": lambda: saved("gpu"),
    "21 kB saved on eyeriss": lambda: saved("eyeriss"),
    "standby of 1 GiB of 1 Gb chips": lambda: standby(8),
    "standby of 2 GiB of 1 Gb chips": lambda: standby(16),
    "statistics of Ramulator 2.1": statistics,
}


def main() -> None:
    for name, case in CASES.items():
        try:
            found = case()
        except (ValueError, OSError) as error:
            found = f"refused: {str(error).splitlines()[0].rpartition('/')[2]}"
        print(f"| {name} | {found} |", flush=True)


if __name__ == "__main__":
    main()
