"""Readers of measurement campaigns: what a tool printed becomes counts of bit errors per reading and bank.

A reader checks every line, says where a bad one stands, and notes what it had to decide. ``read`` finds the reader of a
format in ``READERS``; a further format is one function there.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from eden.files import FileError, read_text

BANKS = 8
CELLS_PER_BANK = 2**30


@dataclass(frozen=True)
class Reading:
    """One pass over a module under one condition.

    Attributes:
        line: line of the file it stands in.
        trcd: row activation latency tRCD in ns.
        trp: precharge latency tRP in ns.
        temperature: temperature in degrees Celsius.
        pattern: the byte that was stored in every byte.
        errors: bit errors of each bank, None for a bank that was not tested. Halves occur where a tool printed the mean
            of two passes.

    """

    line: int
    trcd: float
    trp: float
    temperature: float
    pattern: int
    errors: tuple[float | None, ...]

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
    """All readings of one module, and what the reader decided on the way.

    Attributes:
        path: the file.
        format: its format.
        module: the module's label.
        vendor: the vendor's label, or None where the file has none.
        cells_per_bank: number of cells of a bank.
        banks: number of banks.
        readings: in the order of the file.
        notes: what was read, left out or decided, one sentence each.

    """

    path: Path
    format: str
    module: str
    vendor: str | None
    cells_per_bank: int
    banks: int
    readings: tuple[Reading, ...]
    notes: tuple[str, ...]


def read(
    path: str | os.PathLike[str],
    format: str = "latency-variation",
    module: str | None = None,
    cells_per_bank: int = CELLS_PER_BANK,
) -> Campaign:
    """Read one module's measurements.

    Args:
        path: the file.
        format: what it was written by; ``READERS`` lists the known ones.
        module: which module of a file that holds several.
        cells_per_bank: number of cells behind a bank's rate.

    Raises:
        FileError: naming the line and column, what was found and what is allowed.
        ValueError: for an unknown format or a number of cells below 8.

    """
    if format not in READERS:
        raise ValueError(f"format is {format!r}; allowed are {', '.join(sorted(READERS))}")
    if isinstance(cells_per_bank, bool) or not isinstance(cells_per_bank, int) or cells_per_bank < 8:
        raise ValueError(f"cells_per_bank is {cells_per_bank!r}; allowed is a whole number from 8")
    return READERS[format](path, module, cells_per_bank)


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


def _rows(path: Path) -> Iterator[_Row]:
    text = read_text(path)
    if not text.strip():
        raise FileError(path, f"the file is empty; allowed is a CSV with the columns {', '.join(_REQUIRED)}")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader)]
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
        # A file cut inside its last field keeps the number of fields; only the missing line end tells.
        cut = not text.endswith(("\n", "\r")) and header[-1] in _REQUIRED
        last: _Row | None = None
        for values in reader:
            if not values:
                continue
            if last is not None:
                yield last
            if len(values) != len(header):
                at_end = reader.line_num >= text.count("\n")
                raise FileError(
                    path,
                    f"line {reader.line_num}: found {len(values)} fields, allowed is {len(header)}, as in the header"
                    + ("; the last line is truncated" if at_end and len(values) < len(header) else ""),
                )
            last = _Row(path, reader.line_num, dict(zip(header, values, strict=True)))
        if last is None:
            raise FileError(path, "the file has a header and no readings; allowed is one line or more")
        if cut:
            raise FileError(
                path,
                f"line {last.line}: the last line has no line end, so its column {header[-1]} may be truncated (found "
                f"{last.fields[header[-1]][:40]!r}); allowed is a file that ends with a line end",
            )
        yield last
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


def _read_latency_variation(path: str | os.PathLike[str], module: str | None, cells: int) -> Campaign:
    source = Path(path)
    readings: list[Reading] = []
    modules: Counter[str] = Counter()
    vendors: Counter[str] = Counter()
    activation_times: Counter[float] = Counter()
    untested = halves = inexact = failing = diluted = disagreeing = 0
    example: _Row | None = None
    example_column = ""
    for row in _rows(source):
        rates = [row.rate(column) for column in _BANK_COLUMNS]
        pattern, temperature = row.pattern(), row.temperature()
        trcd, trp = row.timing("tRCD"), row.timing("tRP")
        label = row.fields[_MODULE].strip()
        if not label:
            raise row.error(_MODULE, "the label of a module")
        modules[label] += 1
        if module is not None and label != module:
            continue
        vendors[row.fields.get(_VENDOR, "").strip()] += 1
        if _TRAS in row.fields:
            activation_times[row.timing(_TRAS)] += 1
        errors: list[float | None] = []
        for column, rate in zip(_BANK_COLUMNS, rates, strict=True):
            count, whole = _count(row.fields[column], cells)
            errors.append(count)
            failing += rate > 0
            halves += whole and count != round(count)
            if not whole:
                inexact += 1
                example, example_column = row, column
        # A bank that never fails where all its neighbours do was most likely not in the test.
        missing = rates[0] == 0.0 and all(rate > 0.0 for rate in rates[1:])
        if missing:
            errors[0] = None
            untested += 1
        if _DIMM in row.fields:
            dimm = row.rate(_DIMM)
            if missing:
                diluted += 1
            elif abs(dimm - math.fsum(rates) / BANKS) > 1e-11 + 1e-6 * dimm:
                disagreeing += 1
        readings.append(Reading(row.line, trcd, trp, temperature, pattern, tuple(errors)))
    listed = ", ".join(f"{name} ({times} readings)" for name, times in sorted(modules.items()))
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
    if untested:
        notes.append(
            f"left out Bank0 in {untested} readings: it is 0 where every other bank failed, so it was not tested"
        )
    if diluted:
        notes.append(f"left out DIMMBER in the {diluted} readings without Bank0, where it is diluted to 7/8")
    if disagreeing:
        notes.append(f"left out DIMMBER in {disagreeing} readings: it is not the mean of the banks")
    if halves:
        notes.append(f"kept {halves} counts that are halves: the mean of two passes")
    if inexact:
        notes.append(
            f"kept {inexact} of {failing} rates above 0 that are no count of errors in {cells} cells: the likelihood "
            "takes any real number"
        )
    vendor = vendors.most_common(1)[0][0] or None
    return Campaign(source, "latency-variation", label, vendor, cells, BANKS, tuple(readings), tuple(notes))


READERS: dict[str, Callable[[str | os.PathLike[str], str | None, int], Campaign]] = {
    "latency-variation": _read_latency_variation,
}
