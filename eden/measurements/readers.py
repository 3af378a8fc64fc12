"""Readers of measurement campaigns: what a tool printed becomes counts of bit errors, by condition and place.

``read`` recognizes or is told a file's format and gives a ``Campaign``: ``readings`` for formats that count whole
banks, ``statistics`` for all that tell bit errors, ``cache_lines`` for the voltage study. Bytes are parsed and counted
in C++ (``csrc/measurements``), in pieces, so that neither a file's size nor its contents decide how much memory is
needed; the latency-variation study's CSV, which is small, is parsed here. docs/measurements.md describes the formats.
"""

from __future__ import annotations

import codecs
import csv
import gc
import io
import itertools
import math
import operator
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eden import _core
from eden.common import progress as eden_progress
from eden.common.files import FileError
from eden.measurements.compression import PackedFile

BANKS = 8
CELLS_PER_BANK = 2**30
MAX_DAMAGED = 0.01
"""Share of damaged lines above which a file is an error."""
MOST_READINGS = 2**17
"""Readings of one module that are kept; more are an error."""
MOST_LINES = 2**24
"""Wordlines or bitlines whose counts ``ConditionStatistics.lines`` gives one by one."""

COPY = 1e-9
"""Readings that agree in every bank by chance less often than this are copies."""

_LATENCY_VARIATION = "latency-variation"
_RETENTION = "dram-bender-retention"
FORMATS: tuple[str, ...] = tuple(sorted([_LATENCY_VARIATION, *_core.measurement_formats()]))
"""The names of all formats."""

_HEAD_BYTES = 2**16  # a format is recognized from
_LONGEST_LINE = 2**16  # of the latency-variation CSV; the C++ readers have the same
_LONGEST_QUOTE = 1000  # lines of it
_KEPT_DAMAGES = 5
_HIGH_RATE = 1e-3  # of each other bank, beside which a bank without errors was most likely not tested
_COUNTS_THAT_TELL = 20  # that so many are even by chance happens once in a million files
_SHOWN_FROM_BYTES = 2**26  # files from this size on are read with progress


@dataclass(frozen=True)
class Condition:
    """Under what a pass was made; None where neither the file nor the caller states it.

    Attributes:
        vdd: supply voltage in V.
        trcd: row activation latency tRCD in ns.
        trp: precharge latency tRP in ns.
        temperature: in degrees Celsius.
        refresh_interval: in ms; of a retention test, the time without refresh.
        hammer_count: activations of the aggressor rows of a RowHammer test.
        pattern: the data that was stored: the bytes of consecutive rows, such as ``"0xaa"`` or ``"0xff/0x00"`` (even
            and odd rows), or a name that says nothing of the bits.

    """

    vdd: float | None = None
    trcd: float | None = None
    trp: float | None = None
    temperature: float | None = None
    refresh_interval: float | None = None
    hammer_count: float | None = None
    pattern: str | None = None


_POINT_FIELDS = tuple(entry.name for entry in fields(Condition) if entry.name != "pattern")


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


Stored = Literal[0, 1] | None
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
        self.condition = Condition(**dict(zip(_POINT_FIELDS, point, strict=True)), pattern=pattern or None)
        self.repeats: tuple[int, ...] = tuple(reader.repeats(index))
        self.stored_values: tuple[Stored, ...] = tuple(_STORED_BY_CODE[value] for value in reader.stored_values(index))

    def __repr__(self) -> str:
        return f"ConditionStatistics({self.condition}, {len(self.repeats)} passes)"

    def counts(self, stored: Stored) -> list[BankCount]:
        """Bit errors per pass and bank.

        Where the tested cells are known, passes and banks without errors are there too; otherwise only those with some.

        Raises:
            ValueError: for a stored value that there is nothing of.

        """
        repeat, bank, errors, cells, _ = self._reader.counts(self._index, self._code(stored))
        known = [None if unknown else count for count, unknown in zip(cells.tolist(), np.isnan(cells), strict=True)]
        return list(map(BankCount, repeat.tolist(), bank.tolist(), errors.tolist(), known))

    def lines(self, axis: Axis, stored: Stored) -> Lines:
        """Bit errors of every wordline (a row of a bank) or bitline that holds such cells, those without any included.

        By ascending bank and row, or bank, subarray and bit; a bitline ends with its subarray where ``subarray_rows``
        was given.

        Raises:
            ValueError: where the tested cells or the places of the errors are not known, more lines failed than are
                kept, or there are more than ``MOST_LINES``.

        """
        return Lines(*self._reader.lines(self._index, _axis(axis), self._code(stored), MOST_LINES))

    def line_counts(self, axis: Axis, stored: Stored) -> LineCounts:
        """The same as ``lines`` with equal lines counted together; for any number of lines.

        Raises:
            ValueError: like ``lines``.

        """
        return LineCounts(*self._reader.line_counts(self._index, _axis(axis), self._code(stored)))

    def cells(self, stored: Stored) -> NDArray[np.int64]:
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
        return Flips(bank, row, bit, np.where(stored == _UNKNOWN, -1, stored).astype(np.int32), failures)

    def _code(self, stored: Stored) -> int:
        if stored not in self.stored_values:
            raise ValueError(f"stored is {stored!r}; allowed here are {', '.join(map(repr, self.stored_values))}")
        return _UNKNOWN if stored is None else int(stored)


_UNKNOWN = 2
_STORED_BY_CODE: dict[int, Stored] = {0: 0, 1: 1, _UNKNOWN: None}


def _axis(axis: str) -> _core.MeasurementAxis:
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

    """

    line: int
    trcd: float
    trp: float
    temperature: float
    pattern: int
    errors: tuple[float | None, ...]
    vdd: float | None = None
    refresh_interval: float | None = None

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


def read(
    path: str | os.PathLike[str],
    format: str | None = None,
    module: str | None = None,
    cells_per_bank: int = CELLS_PER_BANK,
    *,
    at: Mapping[str, float] | None = None,
    pattern: str | None = None,
    banks: int | Sequence[int] | None = None,
    rows: int | range | None = None,
    row_bits: int | None = None,
    subarray_rows: int | None = None,
    column_bits: int | None = None,
    repeats: int | None = None,
    max_damaged: float = MAX_DAMAGED,
    progress: bool = True,
) -> Campaign:
    """Read one module's measurements from a file, which can be packed by gzip, bzip2, xz or Zstandard.

    ``banks``, ``rows`` and ``row_bits`` say which cells each pass of the campaign read, which lists of flips do not
    tell; give all three or none. Without them there are counts of errors and no rates.

    Args:
        path: the file.
        format: one of ``FORMATS``; recognized from the file's first bytes if None.
        module: which module of a file that holds several; the label of the module for formats that have none.
        cells_per_bank: number of cells behind a bank's rate; of ``latency-variation`` alone.
        at: what the file does not state of its condition: fields of ``Condition``, all but the pattern.
        pattern: the data that was stored, where the file does not state it; see ``Condition``.
        banks: the banks that were tested, or how many from 0 on.
        rows: the rows of each that were tested, or how many from 0 on.
        row_bits: the number of cells of a row.
        subarray_rows: rows of a subarray, where bitlines end; None: they run through the bank.
        column_bits: cells behind a column's address, for formats that number bits within columns; the default is 64
            for ``rowhammer-tester`` and 256 for ``dram-bender-hbm``.
        repeats: passes of each condition, for ``flips``, whose passes without a flip do not show; None: those that
            show.
        max_damaged: share of damaged lines above which the file is an error.
        progress: show the progress of files of 64 MiB and more on standard error.

    Raises:
        FileError: naming the line, what was found and what is allowed; for a format that is not recognized; for a file
            that changes while it is read.
        ValueError: for an argument outside what is allowed.

    """
    if format is not None and format not in FORMATS:
        raise ValueError(f"format is {format!r}; allowed are {', '.join(FORMATS)}")
    if isinstance(cells_per_bank, bool) or not isinstance(cells_per_bank, int) or cells_per_bank < 8:
        raise ValueError(f"cells_per_bank is {cells_per_bank!r}; allowed is a whole number from 8")
    if not 0.0 <= max_damaged <= 1.0:
        raise ValueError(f"max_damaged is {max_damaged!r}; allowed is a share from 0 to 1")
    arguments = _Arguments.check(at, pattern, banks, rows, row_bits, subarray_rows, column_bits, repeats)
    with PackedFile(path, by_suffix=format == _RETENTION) as source:
        chunks = source.chunks()
        head: list[bytes] = []
        if format is None:
            while sum(map(len, head)) < _HEAD_BYTES and (chunk := next(chunks, None)) is not None:
                head.append(chunk)
            format = _recognize(source.path, b"".join(head)[:_HEAD_BYTES])
        shown = progress and source.size is not None and source.size >= _SHOWN_FROM_BYTES
        total = None if source.size is None else -(-source.size // 2**20)
        with eden_progress.task(f"read {source.path.name} (MiB)", total, show=shown) as task:

            def told() -> Iterator[bytes]:
                done = 0
                for chunk in itertools.chain(head, chunks):
                    yield chunk
                    now = -(-source.position // 2**20)
                    task.advance(now - done)
                    done = now

            if format == _LATENCY_VARIATION:
                arguments.refuse(format, allowed=())
                return _read_latency_variation(source.path, told(), module, cells_per_bank, max_damaged)
            arguments.refuse(format, allowed=_ALLOWED[format])
            return _read_core(source.path, told(), format, module, arguments, max_damaged)


_ALLOWED: dict[str, tuple[str, ...]] = {
    "counts": ("at", "pattern"),
    "dram-bender-hbm": ("at", "banks", "rows", "row_bits", "subarray_rows", "column_bits"),
    _RETENTION: ("at", "pattern", "banks", "rows", "row_bits", "subarray_rows"),
    "flips": ("at", "pattern", "banks", "rows", "row_bits", "subarray_rows", "column_bits", "repeats"),
    "rowhammer-tester": ("at", "pattern", "banks", "rows", "row_bits", "subarray_rows", "column_bits"),
    "rowscout": ("at", "subarray_rows"),
    "softmc": ("at", "pattern", "banks", "rows", "row_bits"),
    "voltage": (),
}


def _whole(name: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}; allowed is a whole number from {low} to {high}")
    return value


@dataclass(frozen=True)
class _Arguments:
    """The arguments of ``read`` that the C++ readers take, checked."""

    given: tuple[str, ...]
    at: list[float | None]
    pattern: str
    banks: list[int]
    rows: tuple[int, int]
    row_bits: int
    subarray_rows: int
    column_bits: int
    repeats: int

    @staticmethod
    def check(
        at: Mapping[str, float] | None,
        pattern: str | None,
        banks: int | Sequence[int] | None,
        rows: int | range | None,
        row_bits: int | None,
        subarray_rows: int | None,
        column_bits: int | None,
        repeats: int | None,
    ) -> _Arguments:
        values = {
            "at": at,
            "pattern": pattern,
            "banks": banks,
            "rows": rows,
            "row_bits": row_bits,
            "subarray_rows": subarray_rows,
            "column_bits": column_bits,
            "repeats": repeats,
        }
        point = dict(at or {})
        for name, value in point.items():
            if name not in _POINT_FIELDS:
                raise ValueError(f"at has {name!r}; allowed are {', '.join(_POINT_FIELDS)}")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(f"at has {name} = {value!r}; allowed is a finite number")
        cells = {"banks": banks, "rows": rows, "row_bits": row_bits}
        missing = [name for name, value in cells.items() if value is None]
        if 0 < len(missing) < len(cells):
            raise ValueError(f"{missing[0]} is missing; allowed are all of banks, rows and row_bits, or none")
        numbers: list[int] = []
        first_row = end_row = 0
        if banks is not None and rows is not None:
            numbers = (
                list(range(_whole("banks", banks, 1, 65535)))
                if isinstance(banks, int)
                else sorted({_whole("a bank", bank, 0, 65534) for bank in banks})
            )
            span = range(_whole("rows", rows, 1, 2**24)) if isinstance(rows, int) else rows
            if span.step != 1 or not 0 <= span.start < span.stop <= 2**24:
                raise ValueError(f"rows is {rows!r}; allowed is a range of step 1 from 0 to {2**24}")
            if not numbers:
                raise ValueError("banks is empty; allowed is one bank or more")
            first_row, end_row = span.start, span.stop
        return _Arguments(
            given=tuple(name for name, value in values.items() if value is not None),
            at=[float(point[name]) if name in point else None for name in _POINT_FIELDS],
            pattern=pattern or "",
            banks=numbers,
            rows=(first_row, end_row),
            row_bits=0 if row_bits is None else _whole("row_bits", row_bits, 1, 2**24),
            subarray_rows=0 if subarray_rows is None else _whole("subarray_rows", subarray_rows, 1, 2**24),
            column_bits=0 if column_bits is None else _whole("column_bits", column_bits, 1, 2**20),
            repeats=0 if repeats is None else _whole("repeats", repeats, 1, 2**20),
        )

    def refuse(self, format: str, allowed: Sequence[str]) -> None:
        for name in self.given:
            if name not in allowed:
                takes = f"of these arguments, {', '.join(allowed)}" if allowed else "none of these arguments"
                raise ValueError(f"{name} is given, but {format} takes {takes}")


def _is_latency_variation(head: bytes) -> bool:
    """Whether a header has half of the needed columns: a missing one is then named, and not the format in doubt."""
    names = {name.strip() for name in head.split(b"\n", 1)[0].decode("utf-8", "replace").split(",")}
    return 2 * len(names & set(_REQUIRED)) >= len(_REQUIRED)


def _recognize(path: Path, head: bytes) -> str:
    listed = f"allowed are {', '.join(FORMATS)}"
    if not head.strip():
        raise FileError(path, f"the file is empty; {listed}")
    found = _core.recognize_measurements(head)
    if _is_latency_variation(head):
        found.append(_LATENCY_VARIATION)
    if len(found) == 1:
        return found[0]
    if found:
        raise FileError(path, f"its beginning can be of {' or '.join(found)}; say which by format")
    start = head[:40].decode("utf-8", "backslashreplace").splitlines()[:1]
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The head can end inside a character.
        if len(head) < _HEAD_BYTES or error.start < len(head) - 3:
            raise FileError(
                path,
                f"byte {error.start} is no UTF-8 text, and bytes tell no format; say it by format; {listed}",
            ) from error
    raise FileError(path, f"begins with {''.join(start)!r}, which is of no known format; say it by format; {listed}")


def _damage_note(path: Path, damaged: int, records: int, first: str, max_damaged: float) -> str | None:
    """What to note of damaged lines, None if there are none. Raises FileError for too many."""
    if damaged == 0:
        return None
    if damaged > max_damaged * records:
        many = f" (and {damaged - 1} more damaged lines of {records})" if damaged > 1 else ""
        raise FileError(path, first + many)
    return f"left out {damaged} damaged lines of {records}; the first: {first}"


def _read_core(
    path: Path,
    chunks: Iterable[bytes],
    format: str,
    module: str | None,
    arguments: _Arguments,
    max_damaged: float,
) -> Campaign:
    reader = _core.MeasurementReader(
        format=format,
        module=module,
        at=arguments.at,
        pattern=arguments.pattern,
        banks=arguments.banks,
        rows=arguments.rows,
        row_bits=arguments.row_bits,
        subarray_rows=arguments.subarray_rows,
        column_bits=arguments.column_bits,
        repeats=arguments.repeats,
    )
    try:
        for chunk in chunks:
            reader.feed(chunk)
        reader.finish()
    except _core.MeasurementError as error:
        raise FileError(path, str(error)) from error
    notes: list[str] = []
    places = [
        f"{reader.unit} {place}: found {found!r}, allowed is {allowed}" for place, found, allowed in reader.damages
    ]
    note = _damage_note(path, reader.damaged, reader.records, "; ".join(places[:1]), max_damaged)
    modules = dict(reader.modules)
    noun = "lines" if format in ("counts", "dram-bender-hbm", "flips", "voltage") else "records"
    listed = ", ".join(f"{name} ({times} lines)" for name, times in list(modules.items())[:50])
    if format != "voltage" and module is None and len(modules) > 1:
        raise FileError(path, f"column module: the file holds {len(modules)} modules; choose one of: {listed}")
    if modules and module is not None and module not in modules:
        raise FileError(path, f"found no module {module!r}; there are: {listed}")
    label = module if module is not None else next(iter(modules)) if len(modules) == 1 else path.name
    lines = modules.get(label, reader.records - reader.damaged)
    chosen = f" of module {label}" if label in modules else ""
    of_module = f"{chosen}; the file holds {sum(modules.values())} of {len(modules)} modules"
    notes.append(f"read {lines} {noun}" + (of_module if modules else ""))
    if note is not None:
        notes.append("; ".join([note, *places[1:]]))
    notes.extend(reader.notes)
    vendor = reader.vendors[0][0] or None if len(reader.vendors) == 1 else None
    if format == "voltage":
        cache_lines = tuple(CacheLines(*entry) for entry in reader.cache_lines)
        return Campaign(path, format, label, vendor, 0, 0, (), tuple(notes), cache_lines=cache_lines)
    statistics = Statistics(reader)
    notes.extend(_oddities(reader, statistics, known=bool(arguments.banks)))
    readings: tuple[Reading, ...] = ()
    cells_per_bank, banks = 0, len(arguments.banks)
    if arguments.banks:
        cells_per_bank = (arguments.rows[1] - arguments.rows[0]) * arguments.row_bits
    if format == "counts":
        _refuse_rates(path, reader, statistics)
        readings, cells_per_bank, banks, note = _readings(reader, statistics)
        readings, copied = _without_copies(readings, cells_per_bank)
        silent = {bank for reading in readings for bank in _silent_banks(reading, cells_per_bank)}
        suspected = (
            f"no error in bank {', '.join(map(str, sorted(silent)))} where every other bank failed at a rate of "
            f"{_HIGH_RATE:g} or more: taken as read, as the file says; leave out its lines there if it was not tested"
            if silent
            else None
        )
        notes.extend(text for text in (note, copied, suspected) if text is not None)
    return Campaign(path, format, label, vendor, cells_per_bank, banks, readings, tuple(notes), statistics)


def _oddities(reader: _core.MeasurementReader, statistics: Statistics, known: bool) -> Iterator[str]:
    if reader.flips and not known:
        yield "which cells were tested is not known, so there are no rates: give banks, rows and row_bits"
    if reader.repeated_flips:
        yield (
            f"counted {reader.repeated_flips} of {reader.flips + reader.repeated_flips} flips once that were reported "
            "again in their pass: a file of several passes must number them, or their failures count as one"
        )
    if reader.sample_shift:
        yield (
            f"counted cells in a sample of one in {2**reader.sample_shift}: more failed than are kept; flips reported "
            "twice are not told apart outside of it"
        )
    for axis in ("wordline", "bitline"):
        if not reader.lines_kept(_axis(axis)):
            yield f"left out the counts of {axis}s: more failed than are kept"
    gaps = 0
    for entry in statistics.conditions:
        gaps += bool(entry.repeats) and entry.repeats[-1] - entry.repeats[0] + 1 != len(entry.repeats)
    if gaps:
        yield f"there are gaps between the numbers of passes of {gaps} of {len(statistics.conditions)} conditions"


def _refuse_rates(path: Path, reader: _core.MeasurementReader, statistics: Statistics) -> None:
    """Refuse a file whose errors are rates, which as counts would be far lower ones."""
    largest, line = 0.0, 0
    for index, entry in enumerate(statistics.conditions):
        for stored in entry.stored_values:
            _, _, errors, _, lines = reader.counts(index, _UNKNOWN if stored is None else stored)
            if errors.size and errors.max() > largest:
                largest, line = float(errors.max()), int(lines[errors.argmax()])
    if 0.0 < largest < 1.0:
        raise FileError(
            path,
            f"line {line}, column errors: found {largest:g}, the most of all lines; allowed are counts of errors, of "
            "which some are 1 or more (a bit error rate is to be multiplied with cells)",
        )


_NEEDED = ("trcd", "trp", "temperature")  # fields of a reading that are NaN where they are not stated


def _readings(
    reader: _core.MeasurementReader, statistics: Statistics
) -> tuple[tuple[Reading, ...], int, int, str | None]:
    """The readings of counts of whole banks, the cells of a bank, the number of banks, and a note."""
    whole: list[tuple[NDArray[Any], ...]] = []
    banks = parts = 0
    for index, entry in enumerate(statistics.conditions):
        byte = re.fullmatch(r"0x([0-9a-f]{2})", entry.condition.pattern or "")
        for stored in entry.stored_values:
            repeat, bank, errors, cells, line = reader.counts(index, _UNKNOWN if stored is None else stored)
            banks = max(banks, int(bank.max(initial=-1)) + 1)
            if byte is None or (stored is not None and int(byte[1], 16) not in (0x00, 0xFF)):
                parts += len(bank)
            else:
                whole.append((np.full(len(bank), index), repeat, bank, errors, cells, line))
    if not whole:
        return (), 0, banks, "made no readings of whole banks: the patterns are of several bytes, or values apart"
    condition, repeat, bank, errors, cells, line = (np.concatenate(column) for column in zip(*whole, strict=True))
    if np.any(cells != cells[0]):
        return (), 0, banks, "made no readings of whole banks: the cells of a count differ"
    # Each list is in ascending order, so the counts of a reading follow one another.
    begins = np.append(True, (condition[1:] != condition[:-1]) | (repeat[1:] != repeat[:-1]))
    first = np.flatnonzero(begins)
    if banks * len(first) > 2**24:
        return (), 0, banks, f"made no readings of whole banks: {banks} banks in {len(first)} passes are too many"
    lines = np.minimum.reduceat(line, first)
    order = np.argsort(lines)
    by_bank = np.full((banks, len(first)), np.nan)
    by_bank[bank, np.argsort(order)[np.cumsum(begins) - 1]] = errors
    absent = np.isnan(by_bank)
    missing = int(absent.sum())
    # Column by column, which takes a tenth of the time of reading by reading.
    columns = by_bank.astype(object)
    columns[absent] = None
    points = [statistics.conditions[index].condition for index in condition[first][order].tolist()]
    columns_of_readings = (
        lines[order].tolist(),
        *(
            [math.nan if value is None else value for value in map(operator.attrgetter(name), points)]
            for name in _NEEDED
        ),
        [int(point.pattern or "0x00", 16) for point in points],
        zip(*columns.tolist(), strict=True),
        [point.vdd for point in points],
        [point.refresh_interval for point in points],
    )
    # New tuples make the collector visit the whole heap, torch's too, for cycles that these cannot form.
    collecting = gc.isenabled()
    gc.disable()
    try:
        readings = tuple(map(Reading, *columns_of_readings))
    finally:
        if collecting:
            gc.enable()
    notes = [f"took {missing} banks that have no count in a pass for not tested"] if missing else []
    if parts:
        notes.append(f"left {parts} counts of one value of a mixed pattern out of the readings")
    return readings, int(cells[0]), banks, "; ".join(notes) or None


def _agree_by_chance(errors: Sequence[float | None], cells: int) -> float:
    """A bound on the probability that two readings count the same errors in every bank.

    Binomial counts of n cells that fail at the rate p agree with probability 1 / (2 sqrt(pi n p (1 - p))), and those of
    readings that vary more agree less often. Banks in which no cell fails, or a whole fraction of them as where an
    array reads one value, say nothing.
    """
    probability = 1.0
    for count in errors:
        if count is not None and (16 * count) % cells:
            probability *= min(1.0, 0.5 / math.sqrt(math.pi * count * (1 - count / cells)))
            if probability <= COPY:
                break
    return probability


def _copies(readings: Sequence[Reading], cells: int) -> tuple[set[int], bool]:
    """Numbers of the readings that copy earlier ones, and whether all repeats agree, so that none is called a copy.

    A reading is a copy if an earlier one of its condition has the same errors in every bank, where chance makes them
    agree once in 1 / ``COPY`` times; so are the readings beside it that have those beside the earlier one before them,
    because what is copied is a part of a file. Where no two repeats differ, cells may just fail at every read.
    """
    first: dict[tuple[object, ...], int] = {}
    conditions: dict[tuple[object, ...], tuple[float | None, ...]] = {}
    # All but the line. What is not stated is one NaN, which is found by its identity.
    keys = [reading[1:] for reading in readings]
    found: list[tuple[int, int]] = []
    vary = False
    for number, key in enumerate(keys):
        errors = readings[number].errors
        if _agree_by_chance(errors, cells) > COPY:
            continue
        vary = vary or conditions.setdefault((key[:4], key[5:]), errors) != errors
        if key in first:
            found.append((number, number - first[key]))
        else:
            first[key] = number
    if not found or not vary:
        return set(), bool(found)
    copies: set[int] = set()
    for number, back in found:
        for step in (-1, 1):
            at = number
            while back <= at < len(keys) and keys[at] == keys[at - back] and (at == number or at not in copies):
                copies.add(at)
                at += step
    return copies, False


def _without_copies(readings: Sequence[Reading], cells: int) -> tuple[tuple[Reading, ...], str | None]:
    """The readings that are no copies of earlier ones, and a note."""
    copies, alike = _copies(readings, cells)
    if alike:
        return tuple(readings), (
            "all repeats of a condition with errors agree in every bank: they are taken for repeats of a memory whose "
            "weak cells fail at every read; leave out the lines if they are copies"
        )
    if not copies:
        return tuple(readings), None
    kept = tuple(reading for number, reading in enumerate(readings) if number not in copies)
    return kept, (
        f"left out {len(copies)} readings as copies of earlier lines, the first in line {readings[min(copies)].line}: "
        "their errors agree in every bank, which repeats do not do by chance, or they stand between such lines"
    )


def _reading_statistics(readings: Sequence[Reading], cells_per_bank: int) -> Statistics:
    """The statistics of readings, by way of the CSV of counts."""
    reader = _core.MeasurementReader(
        format="counts",
        module=None,
        at=[None] * len(_POINT_FIELDS),
        pattern="",
        banks=[],
        rows=(0, 0),
        row_bits=0,
        subarray_rows=0,
        column_bits=0,
        repeats=0,
    )
    reader.feed(b"trcd,trp,temperature,pattern,bank,repeat,errors,cells\n")
    repeats: Counter[tuple[float, float, float, int]] = Counter()
    for reading in readings:
        condition = reading.trcd, reading.trp, reading.temperature, reading.pattern
        start = f"{reading.trcd!r},{reading.trp!r},{reading.temperature!r},0x{reading.pattern:02x}"
        repeat = repeats[condition]
        repeats[condition] += 1
        counts = ((bank, errors) for bank, errors in enumerate(reading.errors) if errors is not None)
        reader.feed("".join(f"{start},{bank},{repeat},{n!r},{cells_per_bank}\n" for bank, n in counts).encode())
    reader.finish()
    return Statistics(reader)


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?\Z")
_PATTERN = re.compile(r"0[xX][0-9a-fA-F]{1,2}\Z")
_MODULE, _VENDOR, _DIMM, _TRAS = "Label", "VendorMask", "DIMMBER", "tRAS"
_BANK_COLUMNS = tuple(f"Bank{bank}" for bank in range(BANKS))
_REQUIRED = (*_BANK_COLUMNS, _MODULE, "Pattern", "Temperature", "tRCD", "tRP")


class _Row:
    """One line, read by column name, with errors that say where they are."""

    def __init__(self, path: Path, line: int, fields: dict[str, str]) -> None:
        self.path, self.line, self.fields = path, line, fields

    def error(self, column: str, allowed: str) -> FileError:
        return FileError(
            self.path, f"line {self.line}, column {column}: found {self.fields[column][:40]!r}, allowed is {allowed}"
        )

    def number(self, column: str, low: float, high: float, allowed: str) -> float:
        text = self.fields[column].strip()
        value = float(text) if _NUMBER.match(text) else math.nan
        if not low <= value <= high:
            raise self.error(column, allowed)
        return value

    def rate(self, column: str) -> float:
        return self.number(column, 0.0, 1.0, "a bit error rate from 0 to 1")

    def pattern(self) -> int:
        text = self.fields["Pattern"].strip()
        if not _PATTERN.match(text):
            raise self.error("Pattern", "a byte from 0x0 to 0xff")
        return int(text, 16)

    def timing(self, column: str) -> float:
        return self.number(column, 1e-3, 1e6, "a latency in ns from 0.001 to 1e6")

    def temperature(self) -> float:
        return self.number("Temperature", -273.15, 1000.0, "a temperature in C from -273.15 to 1000")


class _TextLines:
    """Lines of UTF-8 text that arrives in pieces, each with its end, one known ahead."""

    def __init__(self, path: Path, chunks: Iterable[bytes]) -> None:
        self._path = path
        self._lines = self._split(chunks)
        self._next = next(self._lines, None)
        self.since_row = 0

    def __iter__(self) -> _TextLines:
        return self

    def __next__(self) -> str:
        if self._next is None:
            raise StopIteration
        line, self._next = self._next, next(self._lines, None)
        self.since_row += 1
        if self.since_row > _LONGEST_QUOTE:
            raise csv.Error(f"a quote is open for more than {_LONGEST_QUOTE} lines")
        self.ended = line.endswith("\n")
        return line

    def at_end(self) -> bool:
        """Whether no line follows."""
        return self._next is None

    def _split(self, chunks: Iterable[bytes]) -> Iterator[str]:
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=True)
        carried, number, done = "", 0, 0
        for chunk in itertools.chain(chunks, [None]):
            try:
                text = carried + decoder.decode(chunk or b"", final=chunk is None)
            except UnicodeDecodeError as error:
                start = done - (len(error.object) - len(chunk or b"")) + error.start
                raise FileError(self._path, f"byte {start} is no UTF-8 text; is this the right file?") from error
            done += len(chunk or b"")
            # str.splitlines knows more ends of lines than files have.
            lines = list(io.StringIO(text, newline="\n"))
            carried = lines.pop() if lines and not lines[-1].endswith("\n") else ""
            yield from lines
            number += len(lines)
            if len(carried) > _LONGEST_LINE:
                raise FileError(
                    self._path,
                    f"line {number + 1}: found more than {_LONGEST_LINE} characters, allowed are fewer in a line",
                )
        if carried:
            yield carried


def _rows(path: Path, lines: _TextLines) -> Iterator[_Row | FileError]:
    """The lines of a file below its header; an error in place of a damaged one."""
    empty = f"the file is empty; allowed is a CSV with the columns {', '.join(_REQUIRED)}"
    if lines.at_end():
        raise FileError(path, empty)
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip() for name in next(reader)]
        if not any(header) and all(not line.strip() for line in lines):
            raise FileError(path, empty)
        repeated = [name for name, times in Counter(header).items() if times > 1 and name in _REQUIRED]
        if repeated:
            raise FileError(path, f"line 1: the column {repeated[0]} occurs twice; allowed is once")
        missing = [name for name in _REQUIRED if name not in header]
        if missing:
            raise FileError(
                path,
                f"line 1: the column {missing[0]} is missing; found {', '.join(filter(None, header))[:200]}; "
                f"allowed is a header with {', '.join(_REQUIRED)}",
            )
        anything = False
        for values in reader:
            lines.since_row = 0
            if not values:
                continue
            anything = True
            if len(values) != len(header):
                yield FileError(
                    path,
                    f"line {reader.line_num}: found {len(values)} fields, allowed is {len(header)}, as in the header"
                    + ("; the last line is truncated" if lines.at_end() and len(values) < len(header) else ""),
                )
                continue
            row = _Row(path, reader.line_num, dict(zip(header, values, strict=True)))
            # A file cut inside its last field keeps the number of fields; only the missing line end tells.
            if not lines.ended and header[-1] in _REQUIRED:
                yield FileError(
                    path,
                    f"line {row.line}: the last line has no line end, so its column {header[-1]} may be truncated "
                    f"(found {row.fields[header[-1]][:40]!r}); allowed is a file that ends with a line end",
                )
                continue
            yield row
        if not anything:
            raise FileError(path, "the file has a header and no readings; allowed is one line or more")
    except csv.Error as error:
        raise FileError(path, f"line {reader.line_num}: {error}; allowed is a CSV file") from error


def _count(text: str, cells: int) -> tuple[float, bool]:
    """The count behind a printed rate, and whether it is one: whole or half, within the digits that were printed."""
    rate = Decimal(text.strip())
    exact = float(rate * cells)
    rounding = 0.5 * 10.0 ** int(rate.as_tuple().exponent) * cells + 1e-6
    for nearest in (float(round(exact)), round(2 * exact) / 2):
        if abs(exact - nearest) <= rounding:
            return min(nearest, float(cells)), True
    return min(exact, float(cells)), False


def _silent_banks(reading: Reading, cells: int) -> list[int]:
    """The banks without an error in a reading, half of them or fewer, where each other one failed at a high rate."""
    if 0.0 not in reading.errors:
        return []
    silent = [bank for bank, count in enumerate(reading.errors) if count == 0.0]
    others = [count for count in reading.errors if count]
    many = 2 * len(silent) <= len(reading.errors) <= 2 * len(others)
    return silent if silent and many and min(others) >= _HIGH_RATE * cells else []


def _without_silent_banks(readings: Sequence[Reading], cells: int) -> tuple[list[Reading], str | None]:
    """The readings without the banks that were most likely not tested in them, and a note.

    A bank that never fails and is silent somewhere was not tested at all; another one only where it is silent.
    """
    silent = [_silent_banks(reading, cells) for reading in readings]
    found = Counter(bank for banks in silent for bank in banks)
    if not found:
        return list(readings), None
    never = {bank for bank in found if not any(reading.errors[bank] for reading in readings)}
    gone = [never.union(banks) for banks in silent]
    kept = [
        reading._replace(errors=tuple(None if bank in banks else count for bank, count in enumerate(reading.errors)))
        for reading, banks in zip(readings, gone, strict=True)
    ]
    listed = ", ".join(f"Bank{bank} in {sum(bank in banks for banks in gone)} readings" for bank in sorted(found))
    return kept, (
        f"left out {listed}: 0 where every other bank failed at a rate of {_HIGH_RATE:g} or more, so most likely not "
        "tested there, nor anywhere if it never failed"
    )


def _read_latency_variation(
    source: Path, chunks: Iterable[bytes], module: str | None, cells: int, max_damaged: float
) -> Campaign:
    readings: list[Reading] = []
    modules: Counter[str] = Counter()
    vendors: Counter[str] = Counter()
    activation_times: Counter[float] = Counter()
    untested = halves = inexact = failing = diluted = disagreeing = odd = 0
    example: _Row | None = None
    example_column = ""
    damages: list[str] = []
    damaged = records = 0
    for row in _rows(source, _TextLines(source, chunks)):
        records += 1
        try:
            if isinstance(row, FileError):
                raise row
            rates = [row.rate(column) for column in _BANK_COLUMNS]
            pattern, temperature = row.pattern(), row.temperature()
            trcd, trp = row.timing("tRCD"), row.timing("tRP")
            label = row.fields[_MODULE].strip()
            if not label:
                raise row.error(_MODULE, "the label of a module")
            chosen = module is None or label == module
            activation_time = row.timing(_TRAS) if chosen and _TRAS in row.fields else None
            dimm = row.rate(_DIMM) if chosen and _DIMM in row.fields else None
        except FileError as error:
            damaged += 1
            if len(damages) < _KEPT_DAMAGES:
                damages.append(str(error).removeprefix(f"{source}: "))
            continue
        modules[label] += 1
        if not chosen:
            continue
        if module is None and len(modules) > 1:
            readings.clear()  # an error in the end, which the readings of no module are needed for
            continue
        if len(readings) == MOST_READINGS:
            raise FileError(
                source, f"line {row.line}: module {label} has more than {MOST_READINGS} readings; allowed are fewer"
            )
        vendors[row.fields.get(_VENDOR, "").strip()] += 1
        if activation_time is not None:
            activation_times[activation_time] += 1
        errors: list[float | None] = []
        for column, rate in zip(_BANK_COLUMNS, rates, strict=True):
            count, whole = _count(row.fields[column], cells)
            errors.append(count)
            failing += rate > 0
            halves += whole and count != round(count)
            odd += count % 2 == 1
            if not whole:
                inexact += 1
                example, example_column = row, column
        # A bank that never fails where all its neighbours do was most likely not in the test.
        missing = rates[0] == 0.0 and all(rate > 0.0 for rate in rates[1:])
        if missing:
            errors[0] = None
            untested += 1
        if dimm is not None:
            if missing:
                diluted += 1
            elif abs(dimm - math.fsum(rates) / BANKS) > 1e-11 + 1e-6 * dimm:
                disagreeing += 1
        readings.append(Reading(row.line, trcd, trp, temperature, pattern, tuple(errors)))
    damage = _damage_note(source, damaged, records, "; ".join(damages[:1]), max_damaged)
    listed = ", ".join(f"{name} ({times} readings)" for name, times in sorted(modules.items())[:50])
    if module is None and len(modules) > 1:
        raise FileError(source, f"column {_MODULE}: the file holds {len(modules)} modules; choose one of: {listed}")
    if not readings:
        raise FileError(source, f"column {_MODULE}: found no module {module!r}; there are: {listed}")
    if len(activation_times) > 1:
        raise FileError(
            source,
            f"column {_TRAS}: found {', '.join(f'{time:g}' for time in sorted(activation_times))} ns for one module; "
            "allowed is one value, because rates under different ones are no repeats",
        )
    if example is not None and inexact * 2 > failing:
        raise FileError(
            source,
            f"line {example.line}, column {example_column}: found {example.fields[example_column]!r}, which is no "
            f"count of errors in {cells} cells, like {inexact} of {failing} rates above 0; allowed are whole or half "
            "counts (give cells_per_bank if a bank has another size)",
        )
    label = module if module is not None else next(iter(modules))
    notes = [
        f"read {len(readings)} readings of module {label}; the file holds {sum(modules.values())} of {len(modules)} "
        "modules"
    ]
    if damage is not None:
        notes.append("; ".join([damage, *damages[1:]]))
    if untested:
        notes.append(
            f"left out Bank0 in {untested} readings: it is 0 where every other bank failed, so it was not tested"
        )
    readings, silent = _without_silent_banks(readings, cells)
    if silent is not None:
        notes.append(silent)
    if diluted:
        notes.append(f"left out DIMMBER in the {diluted} readings without Bank0, where it is diluted to 7/8")
    if disagreeing:
        notes.append(f"left out DIMMBER in {disagreeing} readings: it is not the mean of the banks")
    if halves:
        notes.append(f"kept {halves} counts that are halves: the mean of two passes")
    several = failing >= _COUNTS_THAT_TELL
    if several and (halves > 0.4 * failing or halves + odd == 0):
        size, what = (2 * cells, "halves") if halves else (cells // 2, "even")
        notes.append(
            f"{halves or failing} of {failing} counts of errors in {cells} cells are {what}, as those of banks of "
            f"{size} cells would be: if so, give cells_per_bank={size}, or the size of the device is wrong"
        )
    if inexact:
        notes.append(
            f"kept {inexact} of {failing} rates above 0 that are no count of errors in {cells} cells: the likelihood "
            "takes any real number"
        )
    vendor = vendors.most_common(1)[0][0] or None
    kept, copied = _without_copies(readings, cells)
    if copied is not None:
        notes.append(copied)
    statistics = _reading_statistics(kept, cells)
    return Campaign(source, _LATENCY_VARIATION, label, vendor, cells, BANKS, kept, tuple(notes), statistics)
