"""What was measured of one module: readings, counts and flips by condition, with notes on what was left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eden import _core
from eden.common.files import FileError

MOST_LINES = 2**24
"""Wordlines or bitlines whose counts ``ConditionStatistics.lines`` gives one by one."""


@dataclass(frozen=True)
class Condition:
    """Under what a memory was read; None where it is not stated.

    Attributes:
        vdd: supply voltage in V.
        trcd: row activation latency tRCD in ns.
        trp: precharge latency tRP in ns.
        temperature: in degrees Celsius.
        refresh_interval: in ms; of a retention test, the time without refresh.
        hammer_count: activations of the aggressor rows of a RowHammer test.
        pattern: the data that was stored: the bytes of consecutive rows, such as ``"0xaa"`` or ``"0xff/0x00"`` (even
            and odd rows), or a name that says nothing of the bits.
        tras: row active time tRAS in ns, from opening a row to closing it.

    """

    vdd: float | None = None
    trcd: float | None = None
    trp: float | None = None
    temperature: float | None = None
    refresh_interval: float | None = None
    hammer_count: float | None = None
    pattern: str | None = None
    tras: float | None = None

    def __post_init__(self) -> None:
        for name in POINT_FIELDS:
            value = getattr(self, name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value)
            ):
                raise ValueError(f"{name} is {value!r}; allowed is a finite number")

    @classmethod
    def of(cls, values: Mapping[str, float]) -> Condition:
        """The condition of these fields. Raises ValueError for a name that is none."""
        for name in values:
            if name not in POINT_FIELDS:
                raise ValueError(f"a condition has {name!r}; allowed are {', '.join(POINT_FIELDS)}")
        given: dict[str, Any] = dict(values)
        return cls(**given)


POINT_FIELDS = tuple(entry.name for entry in fields(Condition) if entry.name != "pattern")
"""The fields of a condition that are numbers."""


class BankCount(NamedTuple):
    """Bit errors of a bank in one pass. ``cells``: how many were read that stored the value; None: not known."""

    repeat: int
    bank: int
    errors: float
    cells: float | None


class Lines(NamedTuple):
    """Counts of the wordlines or bitlines one by one: int64 arrays of one length, ``cells`` over all passes."""

    errors: NDArray[np.int64]
    cells: NDArray[np.int64]


class LineCounts(NamedTuple):
    """The same with lines that agree in both counted together: their number is in ``lines``."""

    errors: NDArray[np.int64]
    cells: NDArray[np.int64]
    lines: NDArray[np.int64]


class Flips(NamedTuple):
    """Cells that failed: int32 arrays of one length, in ascending order of bank, row and bit.

    ``stored`` is -1 where the value is not known; ``failures`` is the number of passes in which the cell failed.
    """

    bank: NDArray[np.int32]
    row: NDArray[np.int32]
    bit: NDArray[np.int32]
    stored: NDArray[np.int32]
    failures: NDArray[np.int32]


class SeveralModulesError(FileError):
    """A file that holds several modules, of which none was chosen: ``modules`` has their labels."""

    def __init__(self, path: Path, column: str, modules: Mapping[str, int], records: str) -> None:
        listed = ", ".join(f"{name} ({times} {records})" for name, times in list(modules.items())[:50])
        super().__init__(path, f"column {column}: the file holds {len(modules)} modules; choose one of: {listed}")
        self.modules = tuple(modules)


StoredBit = Literal[0, 1] | None
Axis = Literal["wordline", "bitline"]


class ConditionStatistics:
    """What was counted under one condition. ``stored`` is 0, 1, or None for errors whose value is not known.

    Attributes:
        condition: the condition.
        repeats: the numbers of its passes.
        stored_values: the stored values that there are statistics of.

    """

    def __init__(
        self, reader: _core.MeasurementReader, index: int, point: Sequence[float | None], pattern: str
    ) -> None:
        self._reader, self._index = reader, index
        self.condition = Condition(**dict(zip(POINT_FIELDS, point, strict=True)), pattern=pattern or None)
        self.repeats: tuple[int, ...] = tuple(reader.repeats(index))
        self.stored_values: tuple[StoredBit, ...] = tuple(
            _STORED_BY_CODE[value] for value in reader.stored_values(index)
        )

    def __repr__(self) -> str:
        return f"ConditionStatistics({self.condition}, {len(self.repeats)} passes)"

    def counts(self, stored: StoredBit) -> list[BankCount]:
        """Bit errors per pass and bank.

        Where the tested cells are known, passes and banks without errors are there too; otherwise only those with some.

        Raises:
            ValueError: for a stored value that there is nothing of.

        """
        repeat, bank, errors, cells, _ = self._reader.counts(self._index, self._code(stored))
        known = [None if unknown else count for count, unknown in zip(cells.tolist(), np.isnan(cells), strict=True)]
        return list(map(BankCount, repeat.tolist(), bank.tolist(), errors.tolist(), known))

    def lines(self, axis: Axis, stored: StoredBit) -> Lines:
        """Bit errors of every wordline (a row of a bank) or bitline that holds such cells, those without any included.

        By ascending bank and row, or bank, subarray and bit; a bitline ends with its subarray where ``subarray_rows``
        was given.

        Raises:
            ValueError: where the tested cells or the places of the errors are not known, more lines failed than are
                kept, or there are more than ``MOST_LINES``.

        """
        return Lines(*self._reader.lines(self._index, axis_of(axis), self._code(stored), MOST_LINES))

    def line_counts(self, axis: Axis, stored: StoredBit) -> LineCounts:
        """The same as ``lines`` with equal lines counted together; for any number of lines.

        Raises:
            ValueError: like ``lines``.

        """
        return LineCounts(*self._reader.line_counts(self._index, axis_of(axis), self._code(stored)))

    def cells(self, stored: StoredBit) -> NDArray[np.int64]:
        """Tested cells by the number of passes in which they failed: int64 of shape (passes + 1).

        Of the sample of cells that ``Statistics.cell_sample`` says.

        Raises:
            ValueError: where the tested cells or the places of the errors are not known.

        """
        return self._reader.cells(self._index, self._code(stored))

    def flips(self) -> Flips:
        """The addresses of all cells that failed.

        Raises:
            ValueError: where the places of the errors are not known, or more cells failed than are kept.

        """
        bank, row, bit, stored, failures = self._reader.failing_cells(self._index)
        return Flips(bank, row, bit, np.where(stored == UNKNOWN, -1, stored).astype(np.int32), failures)

    def _code(self, stored: StoredBit) -> int:
        if stored not in self.stored_values:
            raise ValueError(f"stored is {stored!r}; allowed here are {', '.join(map(repr, self.stored_values))}")
        return UNKNOWN if stored is None else int(stored)


UNKNOWN = 2
"""The code of a stored value that is not known."""
_STORED_BY_CODE: dict[int, StoredBit] = {0: 0, 1: 1, UNKNOWN: None}


def axis_of(axis: str) -> _core.MeasurementAxis:
    """The axis of a name. Raises ValueError for another."""
    if axis not in ("wordline", "bitline"):
        raise ValueError(f"axis is {axis!r}; allowed are 'wordline', 'bitline'")
    return _core.MeasurementAxis.wordline if axis == "wordline" else _core.MeasurementAxis.bitline


class Statistics:
    """Counts of a campaign's bit errors, held in C++.

    Attributes:
        conditions: in the order in which the file has them.
        flips: number of single errors that were counted; 0 for formats that count banks.
        cell_sample: the share of all cells that ``cells`` is of: 1, or, where more cells failed than are kept, a power
            of 1/2. Which cells are in the sample depends on their addresses alone.

    """

    def __init__(self, reader: _core.MeasurementReader) -> None:
        self.conditions = tuple(
            ConditionStatistics(reader, index, *condition) for index, condition in enumerate(reader.conditions)
        )
        self.flips: int = reader.flips
        self.cell_sample: float = 2.0**-reader.sample_shift


@dataclass(frozen=True)
class CacheLines:
    """A module's share of cache lines with at least one bit error.

    Attributes:
        line: line of the file it stands in.
        module: the module's label.
        vendor: the vendor's label.
        vdd: supply voltage in V.
        percent: the share in percent.

    """

    line: int
    module: str
    vendor: str
    vdd: float
    percent: float


class Reading(NamedTuple):
    """One pass over a module under one condition.

    Attributes:
        line: line of the file it stands in.
        trcd: row activation latency tRCD in ns; like the two below, NaN where the file does not state it.
        trp: precharge latency tRP in ns.
        temperature: temperature in degrees Celsius.
        pattern: the byte that was stored in every byte.
        errors: bit errors of each bank, None for a bank that was not tested. Halves occur where a tool printed the mean
            of two passes.
        vdd: supply voltage in V, None where the file does not state it.
        refresh_interval: in ms, None where the file does not state it.
        tras: row active time tRAS in ns, None where the file does not state it.

    """

    line: int
    trcd: float
    trp: float
    temperature: float
    pattern: int
    errors: tuple[float | None, ...]
    vdd: float | None = None
    refresh_interval: float | None = None
    tras: float | None = None

    @property
    def stored(self) -> str:
        """``"zero"``, ``"one"``, or ``"mixed"`` for a pattern that holds both."""
        return {0x00: "zero", 0xFF: "one"}.get(self.pattern, "mixed")

    @property
    def tested(self) -> int:
        """Number of banks that were tested."""
        return sum(count is not None for count in self.errors)

    @property
    def total(self) -> float:
        """Bit errors of all tested banks."""
        return math.fsum(count for count in self.errors if count is not None)


@dataclass(frozen=True)
class Campaign:
    """What was read of one module, and what the reader decided on the way.

    Attributes:
        path: the file.
        format: its format.
        module: the module's label; the file's name where neither the file nor the caller has one.
        vendor: the vendor's label, or None where the file has none.
        cells_per_bank: number of cells of a bank, 0 where it is not known or differs.
        banks: number of banks.
        readings: in the order of the file; empty for formats other than ``latency-variation`` and ``counts``, and for
            counts that are no readings of whole banks (a note says why).
        notes: what was read, left out or decided, one sentence each.
        statistics: counts of bit errors; None for ``voltage``, which has none.
        cache_lines: the lines of a file of the voltage study, empty for others.

    """

    path: Path
    format: str
    module: str
    vendor: str | None
    cells_per_bank: int
    banks: int
    readings: tuple[Reading, ...]
    notes: tuple[str, ...]
    statistics: Statistics | None = field(default=None, compare=False)
    cache_lines: tuple[CacheLines, ...] = ()
