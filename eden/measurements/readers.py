"""Reads measurement campaigns: what a tool printed becomes counts of bit errors, by condition and place.

``read`` recognizes or is told a file's format and gives a ``Campaign``: ``readings`` for formats that count whole
banks, ``statistics`` for all that tell bit errors, ``cache_lines`` for the voltage study. Bytes are parsed and counted
in C++ (``csrc/measurements``, a file for each format), in pieces, so that neither a file's size nor its contents decide
how much memory is needed; ``latency_variation``, whose files are small, is parsed in Python.
docs/reference/measurements.md describes the formats.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from eden import _core
from eden.common import progress as eden_progress
from eden.common.files import FileError
from eden.measurements import latency_variation
from eden.measurements.bank_readings import readings_of_banks, refuse_percentages, refuse_rates
from eden.measurements.campaign import (
    POINT_FIELDS,
    CacheLines,
    Campaign,
    Condition,
    Reading,
    SeveralModulesError,
    Statistics,
    axis_of,
)
from eden.measurements.compression import PackedFile
from eden.measurements.copies import HIGH_RATE, silent_banks, without_copies
from eden.measurements.damage import MAX_DAMAGED, damage_note
from eden.measurements.restorations import named_condition
from eden.measurements.tested import Tested

_PARSED: dict[str, _core.MeasurementFormat] = {format.name: format for format in _core.measurement_formats()}
TAKES: dict[str, tuple[str, ...]] = {
    latency_variation.NAME: latency_variation.TAKES,
    **{name: tuple(format.takes) for name, format in _PARSED.items()},
}
"""Which fields of ``Tested``, and whether ``at`` or its ``pattern``, each format takes."""
FORMATS: tuple[str, ...] = tuple(sorted(TAKES))
"""The names of all formats."""

_HEAD_BYTES = 2**16  # a format is recognized from
_SHOWN_FROM_BYTES = 2**26  # files from this size on are read with progress


def read(
    path: str | os.PathLike[str],
    format: str | None = None,
    module: str | None = None,
    *,
    at: Condition | None = None,
    tested: Tested | None = None,
    max_damaged: float = MAX_DAMAGED,
    progress: bool = True,
) -> Campaign:
    """Read one module's measurements from a file, which can be packed by gzip, bzip2, xz or Zstandard.

    Args:
        path: the file.
        format: one of ``FORMATS``; recognized from the file's first bytes if None.
        module: which module of a file that holds several; the label of the module for formats that have none.
        at: what the file does not state of its conditions.
        tested: which cells were tested, and what else the file does not tell.
        max_damaged: share of damaged lines above which the file is an error.
        progress: show the progress of files of 64 MiB and more on standard error.

    Raises:
        FileError: naming the line, what was found and what is allowed; for a format that is not recognized; for a file
            that changes while it is read.
        ValueError: for an argument outside what is allowed.

    """
    if format is not None and format not in FORMATS:
        raise ValueError(f"format is {format!r}; allowed are {', '.join(FORMATS)}")
    if not 0.0 <= max_damaged <= 1.0:
        raise ValueError(f"max_damaged is {max_damaged!r}; allowed is a share from 0 to 1")
    at, tested = at or Condition(), tested or Tested()
    # Bytes that mean nothing but themselves can begin as a packed file does.
    with PackedFile(path, by_suffix=format in _PARSED and _PARSED[format].binary) as source:
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

            _refuse(format, at, tested)
            if format == latency_variation.NAME:
                cells = tested.cells_per_bank or latency_variation.CELLS_PER_BANK
                return latency_variation.read(source.path, told(), module, cells, max_damaged)
            told_by_name: list[str] = []
            if format == "pacram":
                at, told_by_name = named_condition(source.path, at)
            campaign = _read_core(source.path, told(), _PARSED[format], module, at, tested, max_damaged)
            return dataclasses.replace(campaign, notes=(*campaign.notes, *told_by_name))


def _refuse(format: str, at: Condition, tested: Tested) -> None:
    """Refuse what a format cannot be told."""
    given = [name for name in POINT_FIELDS if getattr(at, name) is not None]
    names = [*(["at"] if given else []), *(["pattern"] if at.pattern else []), *tested.given]
    for name in names:
        if name not in TAKES[format]:
            takes = f"of these arguments, {', '.join(TAKES[format])}" if TAKES[format] else "none of these arguments"
            raise ValueError(f"{name} is given, but {format} takes {takes}")


def _recognize(path: Path, head: bytes) -> str:
    listed = f"allowed are {', '.join(FORMATS)}"
    if not head.strip():
        raise FileError(path, f"the file is empty; {listed}")
    found = _core.recognize_measurements(head)
    if latency_variation.recognize(head):
        found.append(latency_variation.NAME)
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


def _read_core(
    path: Path,
    chunks: Iterable[bytes],
    format: _core.MeasurementFormat,
    module: str | None,
    at: Condition,
    tested: Tested,
    max_damaged: float,
) -> Campaign:
    cells = tested.cells
    reader = _core.MeasurementReader(
        format.name,
        module=module,
        at=[getattr(at, name) for name in POINT_FIELDS],
        pattern=at.pattern or "",
        banks=list(cells.banks) if cells else [],
        rows=(cells.rows.start, cells.rows.stop) if cells else (0, 0),
        row_bits=tested.row_bits or 0,
        subarray_rows=tested.subarray_rows or 0,
        column_bits=tested.column_bits or 0,
        repeats=tested.repeats or 0,
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
    note = damage_note(path, reader.damaged, reader.records, "; ".join(places[:1]), max_damaged)
    modules = dict(reader.modules)
    listed = ", ".join(f"{name} ({times} lines)" for name, times in list(modules.items())[:50])
    all_modules = format.content == _core.MeasurementContent.cache_lines
    if not all_modules and module is None and len(modules) > 1:
        raise SeveralModulesError(path, "module", modules, "lines")
    if modules and module is not None and module not in modules:
        raise FileError(path, f"found no module {module!r}; there are: {listed}")
    label = module if module is not None else next(iter(modules)) if len(modules) == 1 else path.name
    lines = modules.get(label, reader.records - reader.damaged)
    chosen = f" of module {label}" if label in modules else ""
    of_module = f"{chosen}; the file holds {sum(modules.values())} of {len(modules)} modules"
    notes.append(f"read {lines} {format.records}" + (of_module if modules else ""))
    if note is not None:
        notes.append("; ".join([note, *places[1:]]))
    notes.extend(reader.notes)
    vendor = reader.vendors[0][0] or None if len(reader.vendors) == 1 else None
    if all_modules:
        cache_lines = tuple(CacheLines(*entry) for entry in reader.cache_lines)
        return Campaign(path, format.name, label, vendor, 0, 0, (), tuple(notes), cache_lines=cache_lines)
    statistics = Statistics(reader)
    notes.extend(_oddities(reader, statistics, known=cells is not None))
    readings: tuple[Reading, ...] = ()
    cells_per_bank, banks = (cells.cells_per_bank, len(cells.banks)) if cells else (0, 0)
    if format.content == _core.MeasurementContent.banks:
        refuse_rates(path, reader, statistics)
        readings, cells_per_bank, banks, note = readings_of_banks(reader, statistics)
        percentages = refuse_percentages(path, readings, cells_per_bank)
        readings, copied = without_copies(readings, cells_per_bank)
        silent = {bank for reading in readings for bank in silent_banks(reading, cells_per_bank)}
        suspected = (
            f"no error in bank {', '.join(map(str, sorted(silent)))} where every other bank failed at a rate of "
            f"{HIGH_RATE:g} or more: taken as read, as the file says; leave out its lines there if it was not tested"
            if silent
            else None
        )
        notes.extend(text for text in (note, percentages, copied, suspected) if text is not None)
    return Campaign(path, format.name, label, vendor, cells_per_bank, banks, readings, tuple(notes), statistics)


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
        if not reader.lines_kept(axis_of(axis)):
            yield f"left out the counts of {axis}s: more failed than are kept"
    gaps = 0
    for entry in statistics.conditions:
        gaps += bool(entry.repeats) and entry.repeats[-1] - entry.repeats[0] + 1 != len(entry.repeats)
    if gaps:
        yield f"there are gaps between the numbers of passes of {gaps} of {len(statistics.conditions)} conditions"
