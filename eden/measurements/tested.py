"""What a campaign tested: cells, passes and the layout of its file, as far as the file does not tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

MOST_BANKS, MOST_ROWS, MOST_ROW_BITS, MOST_REPEATS = 65535, 2**24, 2**24, 2**20


class TestedCells(NamedTuple):
    """The cells that each pass read: banks in ascending order, rows of each, bits of a row."""

    banks: tuple[int, ...]
    rows: range
    row_bits: int

    @property
    def cells_per_bank(self) -> int:
        """Cells that were tested in a bank."""
        return len(self.rows) * self.row_bits


def _check(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}; allowed is a whole number from {low} to {high}")


@dataclass(frozen=True)
class Tested:
    """What a measurement campaign tested, as far as its file does not tell it.

    ``banks``, ``rows`` and ``row_bits`` say which cells each pass read, which lists of flips do not tell; give all
    three or none. Without them there are counts of errors and no rates. Each format takes what it can be told of these.

    Attributes:
        banks: the banks that were tested, or how many from 0 on.
        rows: the rows of each that were tested, or how many from 0 on.
        row_bits: the number of cells of a row.
        subarray_rows: rows of a subarray, where bitlines end; None: they run through the bank.
        column_bits: cells behind a column's address, for formats that number bits within columns; the default is 64
            for ``rowhammer-tester`` and 256 for ``dram-bender-hbm``.
        cells_per_bank: number of cells behind a bank's rate, 2^30 if None; of ``latency-variation`` alone.
        repeats: passes of each condition, for ``flips``, whose passes without a flip do not show; None: those that
            show.
        grid: whether every pattern of a file of flips was tested at every operating point in it, so that one without
            a flip there made no error. If False, a fit leaves such a point out, because it may not have been tested.

    Raises:
        ValueError: for a field outside what is allowed.

    """

    banks: int | Sequence[int] | None = None
    rows: int | range | None = None
    row_bits: int | None = None
    subarray_rows: int | None = None
    column_bits: int | None = None
    cells_per_bank: int | None = None
    repeats: int | None = None
    grid: bool = False

    def __post_init__(self) -> None:
        missing = [name for name in ("banks", "rows", "row_bits") if getattr(self, name) is None]
        if 0 < len(missing) < 3:
            raise ValueError(f"{missing[0]} is missing; allowed are all of banks, rows and row_bits, or none")
        if isinstance(self.banks, int):
            _check("banks", self.banks, 1, MOST_BANKS)
        else:
            for bank in self.banks or ():
                _check("a bank", bank, 0, MOST_BANKS - 1)
            if self.banks is not None and not self.banks:
                raise ValueError("banks is empty; allowed is one bank or more")
        if isinstance(self.rows, int):
            _check("rows", self.rows, 1, MOST_ROWS)
        elif self.rows is not None and (self.rows.step != 1 or not 0 <= self.rows.start < self.rows.stop <= MOST_ROWS):
            raise ValueError(f"rows is {self.rows!r}; allowed is a range of step 1 from 0 to {MOST_ROWS}")
        for name, high in (
            ("row_bits", MOST_ROW_BITS),
            ("subarray_rows", MOST_ROWS),
            ("column_bits", 2**20),
            ("repeats", MOST_REPEATS),
        ):
            if getattr(self, name) is not None:
                _check(name, getattr(self, name), 1, high)
        cells = self.cells_per_bank
        if cells is not None and (isinstance(cells, bool) or not isinstance(cells, int) or cells < 8):
            raise ValueError(f"cells_per_bank is {cells!r}; allowed is a whole number from 8")

    @property
    def cells(self) -> TestedCells | None:
        """The cells that each pass read; None where they are not given."""
        if self.banks is None or self.rows is None or self.row_bits is None:
            return None
        numbers = range(self.banks) if isinstance(self.banks, int) else sorted(set(self.banks))
        return TestedCells(tuple(numbers), range(self.rows) if isinstance(self.rows, int) else self.rows, self.row_bits)

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the fields that say something of the file."""
        return tuple(
            entry.name for entry in fields(self) if entry.name != "grid" and getattr(self, entry.name) is not None
        )
