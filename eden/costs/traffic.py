"""Traffic: which bytes of which operand cross between processor and DRAM in an inference (docs/accounting.md)."""

from __future__ import annotations

import csv
import functools
import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import pydantic

from eden import _core
from eden.common.files import FileError, Record, VersionedFile, read_text
from eden.common.tables import text_table
from eden.costs.platforms import Array, Cache, Platform, platform_named

if TYPE_CHECKING:
    import torch

    from eden.costs.trace import Geometry, Workload


class OperandInfo(Protocol):
    """What the traffic reads of an operand."""

    @property
    def bytes(self) -> int | None:
        """Stored bytes; of an input, one sample's, and None while that is not known."""

    @property
    def kind(self) -> str:
        """Its kind, "weight" or "input"."""


class OperandTraffic(Record):
    """What one operand moves between processor and DRAM, per sample."""

    kind: Literal["weight", "input"]
    bytes: int = pydantic.Field(ge=1)
    """Stored bytes; of an input, one sample's."""
    read_bytes: float = pydantic.Field(ge=0, allow_inf_nan=False)
    written_bytes: float = pydantic.Field(ge=0, allow_inf_nan=False)
    fits_on_chip: bool
    """Whether it is a feature map that the chip could keep, so that it need not cross at all."""

    @property
    def crossing_bytes(self) -> float:
        """Bytes read and written."""
        return self.read_bytes + self.written_bytes


class Traffic(VersionedFile):
    """Bytes that each operand moves per inference of one sample. Saved and loaded as JSON (docs/accounting.md)."""

    FORMAT: ClassVar[str] = "eden-traffic"
    VERSION: ClassVar[int] = 1

    platform: str
    """Name of the platform."""
    batch: int = pydantic.Field(ge=1)
    """Samples that share one read of the weights."""
    operands: dict[str, OperandTraffic] = pydantic.Field(min_length=1)
    notes: tuple[str, ...] = ()
    """How it was counted and what that rests on, in sentences."""

    @property
    def read_bytes(self) -> dict[str, float]:
        """Bytes read per operand and inference."""
        return {name: operand.read_bytes for name, operand in self.operands.items()}

    @property
    def written_bytes(self) -> dict[str, float]:
        """Bytes written per operand and inference."""
        return {name: operand.written_bytes for name, operand in self.operands.items()}

    @property
    def crossing_bytes(self) -> float:
        """Bytes of all operands, read and written."""
        return sum(operand.crossing_bytes for operand in self.operands.values())

    def table(self) -> str:
        """The traffic as text, notes included."""
        rows = [
            (name, str(one.bytes), f"{one.read_bytes:.0f}", f"{one.written_bytes:.0f}")
            for name, one in self.operands.items()
        ]
        total = sum(self.read_bytes.values()), sum(self.written_bytes.values())
        table = text_table(
            ("operand", "stored", "read", "written"), [*rows, ("all", "", f"{total[0]:.0f}", f"{total[1]:.0f}")]
        )
        head = f"platform {self.platform}, bytes per inference of one sample"
        return "\n".join([head, table, *(f"- {note}" for note in self.notes)])

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        model: torch.nn.Module | Mapping[str, OperandInfo],
        platform: str | os.PathLike[str] | Platform = "cpu",
    ) -> Self:
        """Traffic that was measured or simulated elsewhere, as a table or a trace of one inference of one sample.

        A table has the columns ``operand``, ``read_bytes`` and ``written_bytes`` and one line per operand; a trace
        ``operand``, ``access`` ("read" or "write") and ``bytes`` and one line per access, which are summed. An operand
        of the model without a line moves nothing.

        Args:
            path: CSV in UTF-8 with a line of names first, in any order.
            model: a network after ``inject_`` and ``calibrate_``, or operands by name.
            platform: whose timing is assumed.

        Raises:
            FileError: naming the line and column, for a file that cannot be read, columns that are neither, an operand
                that the model lacks or that a table has twice, and a number that is negative or not finite.
            ValueError: as of :func:`traffic`.

        """
        chosen = platform_named(platform)
        known = _checked(_operands_of(model))
        moved = _read_counts(path, known)
        return cls(
            platform=chosen.name,
            batch=1,
            operands={name: _operand(info, moved[name][0], moved[name][1], fits=False) for name, info in known.items()},
            notes=(f"Counts from {os.path.basename(os.fspath(path))}, not from the network.",),
        )


_TABLE = ("operand", "read_bytes", "written_bytes")
_TRACE = ("operand", "access", "bytes")


def _read_counts(path: str | os.PathLike[str], known: Mapping[str, Any]) -> dict[str, list[float]]:
    """Bytes read and written by operand."""
    rows = csv.DictReader(io.StringIO(read_text(path)), strict=True)
    moved = {name: [0.0, 0.0] for name in known}
    seen: set[str] = set()
    try:
        columns = sorted(rows.fieldnames or [])
        if columns not in (sorted(_TABLE), sorted(_TRACE)):
            raise FileError(
                path,
                f"line 1: columns are {', '.join(rows.fieldnames or ['none'])}; allowed are {', '.join(_TABLE)}, or "
                f"{', '.join(_TRACE)}",
            )
        table = "access" not in columns
        for row in rows:
            place = f"line {rows.line_num}"
            if None in row or None in row.values():
                raise FileError(path, f"{place}: found another number of values than the {len(columns)} columns")
            name = row["operand"]
            if name not in known:
                raise FileError(
                    path, f"{place}, operand: found {name!r}, which is not among the model's {len(known)} operands"
                )
            if table:
                if name in seen:
                    raise FileError(path, f"{place}, operand: found {name!r} a second time; allowed is one line")
                seen.add(name)
                moved[name] = [_number(path, place, row, column) for column in ("read_bytes", "written_bytes")]
                continue
            if row["access"] not in ("read", "write"):
                raise FileError(path, f"{place}, access: found {row['access']!r}; allowed are 'read' and 'write'")
            moved[name][row["access"] == "write"] += _number(path, place, row, "bytes")
    except csv.Error as error:
        raise FileError(path, f"after line {rows.line_num}: {error}") from error
    return moved


def _number(path: str | os.PathLike[str], place: str, row: Mapping[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0.0):
        raise FileError(path, f"{place}, {column}: found {row[column]!r}; allowed is a finite number from 0")
    return value


def _operands_of(model: torch.nn.Module | Mapping[str, OperandInfo]) -> Mapping[str, OperandInfo]:
    if isinstance(model, Mapping):
        return model
    from eden.faults.memories import operands

    return operands(model)


def _checked(infos: Mapping[str, OperandInfo]) -> Mapping[str, OperandInfo]:
    if not infos:
        raise ValueError("the model has no operands under faults; allowed is one or more (see inject_)")
    for name, info in infos.items():
        if info.kind not in ("weight", "input"):
            raise ValueError(f"operand {name}: kind is {info.kind!r}; allowed are 'weight' and 'input'")
        if info.bytes is None:
            raise ValueError(f"operand {name}: its size is not known yet; run calibrate_ on the model first")
        if info.bytes < 1:
            raise ValueError(f"operand {name}: bytes is {info.bytes}; allowed is 1 or more")
    return infos


def _operand(info: OperandInfo, read: float, written: float, fits: bool) -> OperandTraffic:
    return OperandTraffic.model_validate(
        {
            "kind": info.kind,
            "bytes": info.bytes,
            "read_bytes": read,
            "written_bytes": written,
            "fits_on_chip": fits and info.kind == "input",
        }
    )


def _size(info: OperandInfo) -> int:
    assert info.bytes is not None
    return info.bytes


def traffic(
    model: torch.nn.Module | Mapping[str, OperandInfo],
    platform: str | os.PathLike[str] | Platform = "cpu",
    batch: int | None = None,
    inputs: torch.Tensor | Mapping[str, torch.Tensor] | Sequence[Any] | None = None,
    storage: str = "float32",
    repeated: bool = False,
) -> Traffic:
    """Bytes that each operand moves between processor and DRAM per inference of one sample.

    With ``inputs``, a forward pass tells the layers, their shapes and their order, and the platform's memory what
    crosses: of an array the order of its loops (``csrc/costs/traffic.cpp``), of a cache which operands it still holds.
    Without, a weight is read once per ``batch`` samples, and a feature map is written once and read once. What either
    rests on is in the result's ``notes`` and in docs/accounting.md. Operands that no fault reaches (biases,
    normalization) are not counted.

    Args:
        model: a network after ``inject_`` and ``calibrate_``, or operands by name, each with ``bytes`` and ``kind``
            (``placement.operands`` is such a mapping). With ``inputs`` also a network without faults, on any device,
            the meta device included: its operands are the weights and inputs of its convolutions and linear layers.
        platform: "cpu", "gpu", "eyeriss", "tpu", the path of a file ending in .json, or a Platform.
        batch: samples that share one read of the weights; the platform's where none is given.
        inputs: one sample with its batch dimension, shape (1, ...); a tuple or a dictionary is handed to the network
            as arguments.
        storage: of a network without faults, the form in which the memory keeps weights and maps.
        repeated: of a cache, count an inference that follows an equal one, instead of one that finds the cache empty.

    Raises:
        ValueError: for an unknown platform or storage, a batch below 1, ``inputs`` of several samples or beside a
            mapping, ``repeated`` without a cache, a model without operands or with one whose size is not known yet, and
            a layer whose operands cannot be told.
        FileError: for a file of a platform that cannot be used.

    """
    chosen = platform_named(platform)
    shared = chosen.batch if batch is None else batch
    if isinstance(shared, bool) or not isinstance(shared, int) or shared < 1:
        raise ValueError(f"batch is {shared!r}; allowed is an integer from 1")
    if repeated and not isinstance(chosen.memory, Cache):
        raise ValueError(
            f"repeated is True; allowed for {chosen.name}, which keeps nothing between inferences, is False"
        )
    if inputs is None:
        return _once_each(_checked(_operands_of(model)), chosen, shared, repeated)
    if isinstance(model, Mapping):
        raise ValueError("inputs is given beside operands by name; allowed is a network, whose layers are traced")
    from eden.costs.trace import trace

    work = trace(model, inputs, storage)
    _checked(work.operands)
    if isinstance(chosen.memory, Array):
        return _through_array(work, chosen, chosen.memory, shared)
    return _through_cache(work, chosen, chosen.memory, shared, repeated)


def _fitting_note(infos: Mapping[str, OperandInfo], cache: Cache, repeated: bool) -> list[str]:
    """Whether all operands fit in a cache, in a sentence."""
    total = sum(map(_size, infos.values()))
    if total > cache.bytes:
        return []
    when = "as counted here" if repeated else "counted here is an inference that finds the cache empty"
    return [
        f"All {total} bytes of operands fit in the cache of {cache.bytes} bytes: from the second inference in a row on "
        f"nothing moves; {when}."
    ]


def _once_each(infos: Mapping[str, OperandInfo], chosen: Platform, shared: int, repeated: bool) -> Traffic:
    memory = chosen.memory
    cached = isinstance(memory, Cache) and repeated and sum(map(_size, infos.values())) <= memory.bytes
    counted = {}
    for name, info in infos.items():
        weight = info.kind == "weight"
        size = 0 if cached else _size(info)
        counted[name] = _operand(
            info, size / shared if weight else size, 0 if weight else size, _size(info) <= chosen.on_chip_bytes
        )
    return Traffic(
        platform=chosen.name,
        batch=shared,
        operands=counted,
        notes=(
            f"Weights are read once per {shared} sample(s), feature maps are written once and read once; nothing "
            "crosses more often than that: the network's layers were not given (inputs).",
            *(_fitting_note(infos, memory, repeated) if isinstance(memory, Cache) else []),
        ),
    )


@functools.lru_cache(maxsize=4096)
def _array_words(geometry: Geometry, array: Array, batch: int, input_bits: int, filter_bits: int) -> tuple[int, int]:
    """Words of all groups that are read of the input and of the filters, for a batch."""
    words = _core.array_traffic(geometry.core(batch), array.core(input_bits, filter_bits))
    return geometry.groups * words[0], geometry.groups * words[1]


def _through_array(work: Workload, chosen: Platform, array: Array, batch: int) -> Traffic:
    read = dict.fromkeys(work.operands, 0.0)
    once = 0
    for call in work.calls:
        loops = call.geometry
        names = (*call.inputs, *call.weights)
        if loops is None:
            once += 1
        bits = {name: work.operands[name].bits for name in names}
        # A layer of which only one operand is under faults: the other is as wide.
        widest = max(bits.values(), default=8)
        for name in names:
            info = work.operands[name]
            if loops is None or name not in call.looped:
                read[name] += info.bytes if info.kind == "input" else info.bytes / batch
                continue
            of_kind = {
                kind: max((bits[other] for other in of if other in call.looped), default=widest)
                for kind, of in (("input", call.inputs), ("weight", call.weights))
            }
            inputs, filters = _array_words(loops, array, batch, of_kind["input"], of_kind["weight"])
            read[name] += (inputs if info.kind == "input" else filters) * info.bits / 8 / batch
    counted = {
        name: _operand(info, read[name], info.bytes if info.kind == "input" else 0, info.bytes <= chosen.on_chip_bytes)
        for name, info in work.operands.items()
    }
    notes = [
        f"Reads follow the loops of {array.rows} x {array.columns} elements, {array.dataflow}-stationary, with "
        f"double-buffered memories of {array.input_kib} KiB for inputs and {array.filter_kib} KiB for weights.",
        "A feature map is written once, after activation, normalization and pooling; partial sums stay in the array.",
    ]
    if once:
        notes.append(
            f"{once} of {len(work.calls)} calls of layers are neither convolutions over one or two dimensions nor "
            "matrix products; they read each operand once."
        )
    return Traffic(platform=chosen.name, batch=batch, operands=counted, notes=tuple(notes))


def _through_cache(work: Workload, chosen: Platform, cache: Cache, batch: int, repeated: bool) -> Traffic:
    index = {name: i for i, name in enumerate(work.operands)}
    cached = [
        (info.bytes * (batch if info.kind == "input" else 1), info.kind == "weight") for info in work.operands.values()
    ]
    layers: list[tuple[list[int], list[int]]] = [([], [])]
    made: set[str] = set()
    for call in work.calls:
        # What a layer reads first was written while the one before it ran.
        new = [name for name in call.inputs if name not in made]
        layers[-1][1].extend(index[name] for name in new)
        made.update(new)
        layers.append(([index[name] for name in (*call.inputs, *call.weights)], []))
    read, written = _core.cache_traffic(cached, layers, max(cache.bytes, 64), 2 if repeated else 1)
    counted = {
        name: _operand(info, read[index[name]] / batch, written[index[name]] / batch, fits=False)
        for name, info in work.operands.items()
    }
    first = "follows an equal one" if repeated else "finds the cache empty"
    return Traffic(
        platform=chosen.name,
        batch=batch,
        operands=counted,
        notes=(
            f"What crosses is what a cache of {cache.bytes} bytes, least recently used out first, does not hold when "
            f"it is used, in an inference that {first}; nothing else uses the cache.",
            "A feature map that no layer reads any more is given up without being written back, since its memory is "
            "used again.",
            *_fitting_note(work.operands, cache, repeated),
        ),
    )
