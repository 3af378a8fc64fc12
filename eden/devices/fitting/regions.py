"""Into which partitions a memory is divided: its module, ranks, banks or subarrays, and which of them differ."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from eden.devices.fitting.differences import Difference
from eden.devices.fitting.settings import Form
from eden.devices.likelihoods import LEVEL
from eden.memory.geometry import Geometry


@dataclass(frozen=True)
class Region:
    """A part of a memory, and which cells tell its rates.

    Attributes:
        name: what it is called.
        kind: what it is.
        address: its first bit.
        cells: its size in bits.
        banks: the banks whose cells tell its rates, numbered through all ranks.
        rows: the tested rows of each of them that do; None where rows are not told apart.

    """

    name: str
    kind: Form
    address: int
    cells: int
    banks: tuple[int, ...]
    rows: range | None = None


class Told(NamedTuple):
    """A comparison of parts: the test at one operating point and stored value, and what it is of."""

    what: str
    difference: Difference


Compare = Callable[[Sequence[Region]], Iterable[Told]]
"""The tests of whether regions have one rate, one for each condition that tells it."""


class Division(NamedTuple):
    """The regions of a memory, in the order of their addresses, and why they are so, one sentence each."""

    regions: tuple[Region, ...]
    notes: tuple[str, ...]


def whole_module(geometry: Geometry, banks: Sequence[int], rows: range | None = None) -> Region:
    """The whole memory, told by the tested banks."""
    return Region("whole", "module", 0, geometry.capacity_bits * (geometry.ranks or 1), tuple(banks), rows)


def bank_region(geometry: Geometry, bank: int, rows: range | None = None) -> Region:
    """One bank."""
    cells = geometry.bank_rows * geometry.row_bits
    return Region(f"bank{bank}", "bank", bank * cells, cells, (bank,), rows)


def subarrays(geometry: Geometry, bank: Region) -> tuple[Region, ...]:
    """The subarrays of a bank; those without a tested row are told by the bank's other rows."""
    height = geometry.subarray_rows
    found = []
    for number in range(geometry.bank_rows // height):
        rows = bank.rows
        if rows is not None:
            mine = range(max(rows.start, number * height), min(rows.stop, (number + 1) * height))
            rows = mine if mine else rows
        found.append(
            Region(
                f"{bank.name}.subarray{number}",
                "subarray",
                bank.address + number * height * geometry.row_bits,
                height * geometry.row_bits,
                bank.banks,
                rows,
            )
        )
    return tuple(found)


def divide(
    geometry: Geometry,
    form: Form | None,
    nominal: Sequence[int],
    rows: range | None,
    compare: Compare | None,
) -> Division:
    """The regions of a form, from the finest up: parts that are not told apart are left together.

    Args:
        geometry: of the memory.
        form: the finest parts; None: banks, whether they differ or not.
        nominal: banks that are kept at the nominal operating point, each a region of its own.
        rows: the tested rows of each bank, where rows are told apart.
        compare: whether regions differ; None: parts are told apart without a test, as cell maps are.

    """
    notes: list[str] = []
    banks = [bank_region(geometry, bank, rows) for bank in range(geometry.banks * (geometry.ranks or 1))]
    free = [bank for bank in banks if bank.banks[0] not in nominal]
    kept = [bank for bank in banks if bank.banks[0] in nominal]
    if form is None:
        return Division(tuple(banks), ())

    def apart(name: str, parts: Sequence[Region], asked: bool = False) -> bool:
        """Whether the parts of a region differ; ``asked``: they are one partition all the same, as the form says."""
        if compare is None or len(parts) < 2:
            return True
        told = list(compare(parts))
        kinds = f"{len(parts)} {parts[0].kind}s of {name}"
        if not told:
            notes.append(f"the {kinds} are left together: no measurements tell whether they differ")
            return False
        # The same cells, or cells of the same chip, are behind all tests, so they are not taken for independent.
        least = min(told, key=lambda one: one.difference.p_value)
        p_value = min(1.0, least.difference.p_value * len(told))
        test = least.difference
        against = f"F({test.freedom}, {test.residual:g})" if test.residual < float("inf") else f"chi2({test.freedom})"
        figures = (
            f"p = {p_value:.3g} of {len(told)} tests (Bonferroni), the least at {least.what}: likelihood ratio "
            f"{test.statistic:.1f} with over-dispersion counted, against {against}"
        )
        if p_value < LEVEL and asked:
            notes.append(
                f"the {kinds} differ, and are left together as asked: the rates are means over them, below those of "
                f"the worst of them: {figures}"
            )
            return True
        if p_value < LEVEL:
            notes.append(f"the {kinds} differ and have rates of their own: {figures}")
            return True
        notes.append(f"the {kinds} do not differ beyond chance and are left together: {figures}")
        return False

    leaves: dict[int, tuple[Region, ...]] = {}
    for bank in free:
        parts = tuple(subarrays(geometry, bank)) if form == "subarray" else ()
        tested = [part for part in parts if _tested(part, geometry)]
        leaves[bank.banks[0]] = parts if len(tested) > 1 and apart(bank.name, tested) else (bank,)
    together: list[list[Region]] = []
    for rank in range(geometry.ranks or 1):
        mine = [bank for bank in free if bank.banks[0] // geometry.banks == rank]
        single = (geometry.ranks or 1) == 1
        whole = all(len(leaves[bank.banks[0]]) == 1 for bank in mine)
        name = "the module" if single else f"rank {rank}"
        split = form in ("bank", "subarray") and (not whole or (len(mine) > 1 and apart(name, mine)))
        if form in ("module", "rank"):
            apart(name, mine, asked=True)
        together.append([] if split else mine)
    if (geometry.ranks or 1) > 1 and all(together):
        ranks = [
            replace(mine[0], name=f"rank{rank}", kind="rank", banks=tuple(bank.banks[0] for bank in mine))
            for rank, mine in enumerate(together)
        ]
        differ = apart("the module", ranks, asked=form == "module")
        if form == "module" or not differ:
            together = [[bank for mine in together for bank in mine]]
    merged: set[int] = set()
    found = list(kept)
    for number, mine in enumerate(together):
        if not mine or (len(mine) == 1 and form in ("bank", "subarray")):
            continue
        one_rank = len(together) > 1
        name, kind = (f"rank{number}", "rank") if one_rank else ("module", "module")
        found += _runs(name, "rank" if kind == "rank" else "module", mine)
        merged |= {bank.banks[0] for bank in mine}
    found += [part for bank in free if bank.banks[0] not in merged for part in leaves[bank.banks[0]]]
    return Division(tuple(sorted(found, key=lambda region: region.address)), tuple(notes))


def _tested(part: Region, geometry: Geometry) -> bool:
    """Whether rows of a subarray itself tell its rates."""
    if part.rows is None:
        return False
    row = part.address // geometry.row_bits % geometry.bank_rows
    return row <= part.rows.start and part.rows.stop <= row + geometry.subarray_rows


def _runs(name: str, kind: Form, banks: Sequence[Region]) -> Iterator[Region]:
    """Banks with one set of rates, as regions without gaps: one, unless a nominal bank lies in between."""
    numbers = tuple(bank.banks[0] for bank in banks)
    groups = itertools.groupby(enumerate(banks), key=lambda item: item[1].banks[0] - item[0])
    runs = [[bank for _, bank in group] for _, group in groups]
    for run in runs:
        ends = f"{run[0].banks[0]}-{run[-1].banks[0]}" if len(run) > 1 else f"{run[0].banks[0]}"
        yield Region(
            name if len(runs) == 1 else f"{name}.banks{ends}",
            kind,
            run[0].address,
            sum(bank.cells for bank in run),
            numbers,
            banks[0].rows,
        )
