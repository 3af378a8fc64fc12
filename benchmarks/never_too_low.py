"""Is no device written whose rate lies below what was counted? Prints how many conditions do: 0 of so many is asked.

A condition is an operating point, a stored value, and the pattern that the cells stood in. Its counted rate is the
failures of all reads of its cells; what a device says of it is the rate of its whole module there, of a pattern of both
values by counts of banks the mean over its zeros and ones. Points that a device refuses are counted apart.

- Generated campaigns (``--seeds`` of each kind): flips of cells that fail alike, along lines, for one value more often
  than for the other, for one value alone, each with patterns of both, with repeated passes, with one value alone, as a
  map of cells; counts of banks whose passes vary, with patterns, whose values are alike or not. They are counted as
  they are drawn, not as they are read.
- Real ones, where EDEN_DATA names them: every module of the latency study; and the cells of a DDR4 module that failed
  by hammering, as though a refresh interval had made them fail.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prediction import labels

import eden
from eden.devices.catalogue.__main__ import LATENCIES, VDD
from eden.measurements.readers import read

ROWS, BITS = 64, 512
TESTED = eden.Tested(banks=1, rows=ROWS, row_bits=BITS, subarray_rows=ROWS)
HAMMERED = (
    ("a-hammer_single_side_r0-1000_rc40K.json", "all_1", 1024),
    ("datapattern_single_side_r20-30_rc40K_pat_01_in_row.json", "01_in_row", 64),
)
HEADER = "refresh_interval,temperature,pattern,bank,row,bit,repeat"

Floats = NDArray[np.float64]
Told = tuple[dict[str, float], int, float, float]
"""An operating point, the pattern's byte, the share of ones among the cells in question, and their counted rate."""

Counted = dict[tuple[float, str, float], list[float]]
"""Errors and cells by refresh interval, pattern and share of ones (0 and 1: the cells of one value alone)."""


def alike(random: np.random.Generator) -> Iterator[Floats]:
    yield from itertools.repeat(np.full((ROWS, BITS), random.uniform(0.001, 0.05)), 2)


def bitlines(random: np.random.Generator) -> Iterator[Floats]:
    yield from itertools.repeat(np.tile(random.gamma(0.4, 0.03, BITS), (ROWS, 1)), 2)


def bitlines_by_value(random: np.random.Generator) -> Iterator[Floats]:
    of = random.gamma(0.4, 0.03, BITS)
    yield from (np.tile(of * factor, (ROWS, 1)) for factor in random.uniform(0.1, 2.0, 2))


def opposite_rows(random: np.random.Generator) -> Iterator[Floats]:
    of, which = random.gamma(8, 0.02, ROWS), np.arange(ROWS) // 2 % 2
    yield from (np.tile((of * (which == value))[:, None], (1, BITS)) for value in (0, 1))


def one_value_more(random: np.random.Generator) -> Iterator[Floats]:
    rate = random.uniform(0.001, 0.02)
    yield from (np.full((ROWS, BITS), rate * factor) for factor in random.permutation([1.0, random.uniform(1.1, 6.0)]))


def one_value_alone(random: np.random.Generator) -> Iterator[Floats]:
    yield from (np.full((ROWS, BITS), rate) for rate in random.permutation([0.0, 0.01]))


def few_cells(random: np.random.Generator) -> Iterator[Floats]:
    yield from itertools.repeat(np.full((ROWS, BITS), 5.0 / (ROWS * BITS)), 2)


KINDS: dict[str, Callable[[np.random.Generator], Iterator[Floats]]] = {
    one.__name__.replace("_", " "): one
    for one in (alike, bitlines, bitlines_by_value, opposite_rows, one_value_more, one_value_alone, few_cells)
}
PATTERNS = {
    "zeros and ones": (0x00, 0xFF),
    "patterns of both, too": (0x00, 0xFF, 0xAA),
    "a pattern of both alone": (0xCC,),
    "ones alone": (0xFF,),
}


def flips(path: Path, kind: str, patterns: Iterable[int], passes: int, seed: int) -> Counted:
    """Write a campaign of flips at two refresh intervals; what it counted."""
    random = np.random.default_rng(seed)
    weak, found, lines = [*KINDS[kind](random)], Counted(), [HEADER]
    failure = 1.0 if passes == 1 else random.uniform(0.3, 1.0)
    # Neighbours of the other value make cells of a pattern of both fail more or less often.
    beside = random.uniform(0.7, 1.6)
    for at, share in ((1000, 0.3), (4000, 1.0)):
        of_values = [random.random((ROWS, BITS)) for _ in weak]
        for byte in patterns:
            ones = np.tile(np.unpackbits(np.uint8(byte), bitorder="little"), (ROWS, BITS // 8)).astype(bool)
            harm = beside if 0 < byte < 0xFF else 1.0
            cells = np.where(ones, *(of_values[v] < (weak[v] * share * harm).clip(0, 1) for v in (1, 0)))
            for repeat in range(passes):
                failed = cells & (random.random(cells.shape) < failure)
                lines += [f"{at},50,0x{byte:02x},0,{row},{bit},{repeat}" for row, bit in np.argwhere(failed)]
                for value in {*ones.ravel().tolist()}:
                    held = failed[ones == value]
                    add(found, (at, f"0x{byte:02x}", float(value)), held.sum(), held.size)
    path.write_text("\n".join(lines) + "\n")
    # A condition without a flip has no line: nothing of it was measured, as far as the file tells.
    return {key: held for key, held in found.items() if held[0]}


def counts(path: Path, factor: float, spread: float, seed: int) -> Counted:
    """Write a campaign of counts of banks whose passes vary; what it counted."""
    random = np.random.default_rng(seed)
    lines, found, cells = ["refresh_interval,temperature,pattern,bank,repeat,errors,cells"], Counted(), 2**25
    for at, rate in ((64, 0.0), (1000, 2e-7), (4000, 3e-5)):
        for byte, ones in ((0x00, 0.0), (0xFF, 1.0), (0xAA, 0.5)):
            mean = rate * (1 + (factor - 1) * ones) * (random.uniform(0.8, 1.5) if ones == 0.5 else 1.0)
            for repeat in range(4):
                errors = random.binomial(cells, mean * random.lognormal(0.0, spread), 2)
                lines += [f"{at},50,0x{byte:02x},{bank},{repeat},{e},{cells}" for bank, e in enumerate(errors)]
                add(found, (at, f"0x{byte:02x}", ones), errors.sum(), 2 * cells)
    path.write_text("\n".join(lines) + "\n")
    return found


def add(found: Counted, key: tuple[float, str, float], errors: float, cells: float) -> None:
    held = found.setdefault(key, [0.0, 0.0])
    held[0] += float(errors)
    held[1] += float(cells)


def fitted(path: Path, **arguments: Any) -> eden.Device | str:
    """The device, or the refusal."""
    try:
        return eden.fit(path, **arguments)
    except ValueError as error:
        return str(error)


def of_map(errors: eden.CellMap, byte: int, one: bool) -> float:
    """The rate of the cells that store a value under a pattern, in a map of the tested rows."""

    def held(cells: NDArray[np.int64]) -> int:
        return int(np.count_nonzero((byte >> cells % BITS % 8) & 1 == one))

    weak = errors.cells[errors.flips_one if one else errors.flips_zero]
    return held(weak) * errors.failure / held(np.arange(ROWS * BITS))


@dataclass
class Row:
    """Of one kind of campaign: conditions below, all, and refused by a device; campaigns refused; the worst factor."""

    below: int = 0
    conditions: int = 0
    refused: int = 0
    campaigns: int = 0
    factor: float = 1.0


class Tally:
    """How many conditions of each kind of campaign a device says too little of."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = defaultdict(Row)
        self.below: list[str] = []

    def add(self, kind: str, device: eden.Device | str, told: Iterable[Told]) -> None:
        """A device, or the refusal of its campaign, beside what was counted."""
        row = self.rows[kind]
        if isinstance(device, str):
            row.campaigns += 1
            return
        for point, byte, ones, rate in told:
            try:
                errors = device.errors(**point)
            except ValueError:
                row.refused += 1
                continue
            said = (1 - ones) * errors.ber_zero + ones * errors.ber_one
            if isinstance(errors, eden.CellMap):
                said = of_map(errors, byte, bool(ones))
            row.conditions += 1
            if said < rate * (1 - 1e-9):
                row.below += 1
                row.factor = max(row.factor, rate / said if said else math.inf)
                self.below.append(f"{kind}, {device.name}, {point}, ones {ones:g}: {said:.6g} where {rate:.6g}")

    def text(self) -> str:
        """The table."""
        lines = [f"{'':52}{'below':>7}{'of':>7}{'refused':>9}{'campaigns':>11}{'factor':>8}"]
        every = [
            *self.rows.items(),
            ("all", Row(*(sum(column) for column in zip(*map(astuple, self.rows.values()), strict=True)))),
        ]
        every[-1][1].factor = max((row.factor for row in self.rows.values()), default=1.0)
        lines += [
            f"{kind:52}{row.below:7}{row.conditions:7}{row.refused:9}{row.campaigns:11}{row.factor:8.3g}"
            for kind, row in every
        ]
        return "\n".join([*lines, *self.below[:20]])


def of_cells(found: Counted) -> list[Told]:
    """As ``Tally.add`` takes it."""
    return [
        ({"refresh_interval": at}, int(byte, 16), ones, errors / cells)
        for (at, byte, ones), (errors, cells) in found.items()
    ]


def generated(tally: Tally, seeds: int, folder: Path) -> None:
    """Campaigns that are drawn."""
    path = folder / "campaign.csv"
    for seed in range(seeds):
        for kind, (what, patterns), passes in itertools.product(KINDS, PATTERNS.items(), (1, 3)):
            found = of_cells(flips(path, kind, patterns, passes, seed))
            tested = replace(TESTED, repeats=passes)
            tally.add(f"{kind}; {what}", fitted(path, tested=tested), found)
            tally.add(f"{kind}; {what}; a map", fitted(path, tested=tested, cell_map=True), found)
        for factor, spread in itertools.product((1.0, 3.0), (0.0, 0.05, 0.4)):
            found = of_cells(counts(path, factor, spread, seed))
            tally.add(f"counts, ones {factor:g} times, passes vary by {spread:g}", fitted(path), found)


def latencies(tally: Tally, path: Path) -> None:
    """The modules of the latency study."""
    for module in labels(path):
        found: dict[tuple[float, float, float, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
        campaign = read(path, module=module)
        for reading in campaign.readings:
            held = found[reading.trcd, reading.trp, reading.temperature, reading.pattern]
            held[0] += reading.total
            held[1] += reading.tested * campaign.cells_per_bank
        told = [
            ({"trcd": trcd, "trp": trp, "temperature": temperature}, pattern, pattern.bit_count() / 8, errors / cells)
            for (trcd, trp, temperature, pattern), (errors, cells) in found.items()
            if cells
        ]
        tally.add("modules of the latency study", fitted(path, module=module, nominal=eden.Condition(vdd=VDD)), told)


def hammered(tally: Tally, folder: Path, copy: Path) -> None:
    """Cells of a real module that failed by hammering, in files that tell their places."""
    for name, pattern, rows in HAMMERED:
        tested = eden.Tested(banks=1, rows=rows, row_bits=65536)
        campaign = read(folder / name, at=eden.Condition(pattern=pattern), tested=tested)
        assert campaign.statistics is not None
        found = [entry.flips() for entry in campaign.statistics.conditions]
        cells = {
            place
            for one in found
            for place in zip(*(field.tolist() for field in (one.row, one.bit, one.stored)), strict=True)
        }
        byte, values = {"all_1": ("0xff", (1,)), "01_in_row": ("0xaa", (0, 1))}[pattern]
        lines = sorted(f"64000,50,{byte},0,{row},{bit},0" for row, bit, _ in cells)
        copy.write_text("\n".join([HEADER, *lines]) + "\n")
        held = rows * 65536 / len(values)
        told: list[Told] = [
            (
                {"refresh_interval": 64000.0},
                int(byte, 16),
                float(value),
                sum(stored == value for *_, stored in cells) / held,
            )
            for value in values
        ]
        tally.add("cells of a DDR4 module", fitted(copy, tested=tested), told)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = os.environ.get("EDEN_DATA")
        if data:
            latencies(tally, Path(data) / LATENCIES)
            hammered(tally, Path(data) / "dram" / "rowhammer-cells", folder / "cells.csv")
        else:
            print("EDEN_DATA is not set: no real campaigns", file=sys.stderr)
        generated(tally, arguments.seeds, folder)
    print(tally.text())
    return int(bool(tally.below))


if __name__ == "__main__":
    sys.exit(main())
