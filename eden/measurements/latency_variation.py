"""The CSV of the DRAM latency variation study: the bit error rate of each bank in one pass, by tRCD and tRP."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from eden import _core
from eden.common.files import FileError
from eden.measurements.campaign import Campaign, Reading, SeveralModulesError, Statistics
from eden.measurements.copies import without_copies, without_silent_banks
from eden.measurements.damage import KEPT_DAMAGES, damage_note

NAME = "latency-variation"
TAKES = ("cells_per_bank",)
BANKS = 8
CELLS_PER_BANK = 2**30
MOST_READINGS = 2**17
"""Readings of one module that are kept; more are an error."""
_LONGEST_LINE = 2**16  # the C++ readers have the same
_LONGEST_QUOTE = 1000  # lines
_COUNTS_THAT_TELL = 20  # that so many are even by chance happens once in a million files


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?\Z")
_PATTERN = re.compile(r"0[xX][0-9a-fA-F]{1,2}\Z")
_MODULE, _VENDOR, _DIMM, _TRAS = "Label", "VendorMask", "DIMMBER", "tRAS"
_SPECIFIED_TRAS = 35.0  # ns, throughout the study
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


def recognize(head: bytes) -> bool:
    """Whether a header has half of the needed columns: a missing one is then named, and not the format in doubt."""
    names = {name.strip() for name in head.split(b"\n", 1)[0].decode("utf-8", "replace").split(",")}
    return 2 * len(names & set(_REQUIRED)) >= len(_REQUIRED)


def _reading_statistics(readings: Sequence[Reading], cells_per_bank: int) -> Statistics:
    """The statistics of readings, by way of the CSV of counts."""
    reader = _core.MeasurementReader("counts")
    reader.feed(b"trcd,trp,tras,temperature,pattern,bank,repeat,errors,cells\n")
    repeats: Counter[tuple[float | None, ...]] = Counter()
    for reading in readings:
        condition = reading.trcd, reading.trp, reading.tras, reading.temperature, reading.pattern
        tras = "" if reading.tras is None else repr(reading.tras)
        start = f"{reading.trcd!r},{reading.trp!r},{tras},{reading.temperature!r},0x{reading.pattern:02x}"
        repeat = repeats[condition]
        repeats[condition] += 1
        counts = ((bank, errors) for bank, errors in enumerate(reading.errors) if errors is not None)
        reader.feed("".join(f"{start},{bank},{repeat},{n!r},{cells_per_bank}\n" for bank, n in counts).encode())
    reader.finish()
    return Statistics(reader)


def read(source: Path, chunks: Iterable[bytes], module: str | None, cells: int, max_damaged: float) -> Campaign:
    """One module's readings. Raises FileError naming the line, what was found and what is allowed."""
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
            if len(damages) < KEPT_DAMAGES:
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
        readings.append(Reading(row.line, trcd, trp, temperature, pattern, tuple(errors), tras=activation_time))
    damage = damage_note(source, damaged, records, "; ".join(damages[:1]), max_damaged)
    listed = ", ".join(f"{name} ({times} readings)" for name, times in sorted(modules.items())[:50])
    if module is None and len(modules) > 1:
        raise SeveralModulesError(source, _MODULE, dict(sorted(modules.items())), "readings")
    if not readings:
        raise FileError(source, f"column {_MODULE}: found no module {module!r}; there are: {listed}")
    if set(activation_times) == {_SPECIFIED_TRAS}:  # no parameter of the study: its devices state none
        readings = [reading._replace(tras=None) for reading in readings]
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
    readings, silent = without_silent_banks(readings, cells)
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
    kept, copied = without_copies(readings, cells)
    if copied is not None:
        notes.append(copied)
    statistics = _reading_statistics(kept, cells)
    return Campaign(source, NAME, label, vendor, cells, BANKS, kept, tuple(notes), statistics)
