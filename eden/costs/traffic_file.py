"""The file of traffic: which bytes of which operand cross between processor and DRAM in an inference."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, Self

import pydantic

from eden.common.files import Record, VersionedFile
from eden.common.tables import text_table
from eden.costs.defaults import PLATFORM
from eden.costs.platforms import Platform

if TYPE_CHECKING:
    import torch


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
    """What it is."""
    bytes: int = pydantic.Field(ge=1)
    """Stored bytes; of an input, one sample's."""
    read_bytes: float = pydantic.Field(ge=0, allow_inf_nan=False)
    """Bytes that it moves from DRAM."""
    written_bytes: float = pydantic.Field(ge=0, allow_inf_nan=False)
    """Bytes that it moves to DRAM."""
    fits_on_chip: bool
    """Whether it is a feature map that the chip could keep, so that it need not cross at all."""

    @property
    def crossing_bytes(self) -> float:
        """Bytes read and written."""
        return self.read_bytes + self.written_bytes


class Path(Record):
    """One of the ways that inferences take through a network that skips parts of itself."""

    share: float = pydantic.Field(gt=0, le=1)
    """Share of the inferences that take it."""
    read_bytes: dict[str, float]
    """Bytes that each operand moves from DRAM there, of those that move any."""
    written_bytes: dict[str, float]
    """Bytes that each operand moves to DRAM there, of those that move any."""

    @property
    def crossing_bytes(self) -> float:
        """Bytes of all operands, read and written."""
        return sum(self.read_bytes.values()) + sum(self.written_bytes.values())


class Traffic(VersionedFile):
    """Bytes that each operand moves per inference of one sample. Saved and loaded as JSON."""

    FORMAT: ClassVar[str] = "eden-traffic"
    VERSION: ClassVar[int] = 1

    platform: str
    """Name of the platform."""
    batch: int = pydantic.Field(ge=1)
    """Samples that share one read of the weights."""
    operands: dict[str, OperandTraffic] = pydantic.Field(min_length=1)
    """What each operand moves, by its name."""
    notes: tuple[str, ...] = ()
    """How it was counted and what that rests on, in sentences."""
    paths: tuple[Path, ...] = ()
    """What inferences move that were counted over data, each by itself, of which ``operands`` has the means; none where
    all move the same."""

    @property
    def loads(self) -> dict[str, float]:
        """Share of the inferences that read each operand from DRAM, of those counted over data; else 1, or 0."""
        if not self.paths:
            return {name: float(one.read_bytes > 0) for name, one in self.operands.items()}
        return {name: sum(path.share for path in self.paths if name in path.read_bytes) for name in self.operands}

    @property
    def spread_bytes(self) -> float:
        """Standard deviation between inferences of the bytes read and written; 0 where all move the same."""
        return deviation((path.share, path.crossing_bytes) for path in self.paths)

    def along(self, path: Path) -> Self:
        """What the inferences of a path move."""
        operands = {
            name: one.model_copy(
                update={
                    "read_bytes": path.read_bytes.get(name, 0.0),
                    "written_bytes": path.written_bytes.get(name, 0.0),
                }
            )
            for name, one in self.operands.items()
        }
        return self.model_copy(update={"operands": operands, "paths": ()})

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
        loads = self.loads
        rows: list[tuple[str, ...]] = [
            (name, str(one.bytes), f"{one.read_bytes:.0f}", f"{one.written_bytes:.0f}", f"{loads[name]:.0%}")
            for name, one in self.operands.items()
        ]
        total = sum(self.read_bytes.values()), sum(self.written_bytes.values())
        rows.append(("all", "", f"{total[0]:.0f}", f"{total[1]:.0f}", ""))
        head = f"platform {self.platform}, bytes per inference of one sample"
        header: tuple[str, ...] = ("operand", "stored", "read", "written", "loaded by")
        if self.paths:
            head += f", on average; standard deviation between samples {self.spread_bytes:.0f}"
        else:
            header, rows = header[:-1], [row[:-1] for row in rows]
        table = text_table(header, rows)
        return "\n".join([head, table, *(f"- {note}" for note in self.notes)])

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        model: torch.nn.Module | Mapping[str, OperandInfo],
        platform: str | os.PathLike[str] | Platform = PLATFORM,
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
        from eden.costs.traffic_csv import read_counts

        known = checked_operands(model)
        moved = read_counts(path, known)
        return cls(
            platform=Platform.named(platform).name,
            batch=1,
            operands={name: operand_traffic(info, moved[name][0], moved[name][1]) for name, info in known.items()},
            notes=(f"Counts from {os.path.basename(os.fspath(path))}, not from the network.",),
        )

    @pydantic.model_validator(mode="after")
    def _of_its_operands(self) -> Self:
        for name in (name for path in self.paths for name in (*path.read_bytes, *path.written_bytes)):
            if name not in self.operands:
                raise ValueError(f"paths: {name} is none of the operands; allowed are {', '.join(self.operands)}")
        if self.paths and not math.isclose(sum(path.share for path in self.paths), 1.0, rel_tol=1e-6):
            raise ValueError("paths: their shares add up to another number than 1")
        return self

    def counted_for(self, platform: str | os.PathLike[str] | Platform | None) -> Platform:
        """The platform that it was counted for. Raises ValueError where another one is asked for."""
        chosen = Platform.named(self.platform if platform is None else platform)
        if chosen.name != self.platform:
            raise ValueError(f"platform is {chosen.name!r}; allowed is the traffic's, {self.platform!r}")
        return chosen


def deviation(values: Iterable[tuple[float, float]]) -> float:
    """Standard deviation of values, each with its share of all; 0 of none."""
    known = list(values)
    mean = math.fsum(share * value for share, value in known)
    return math.sqrt(math.fsum(share * (value - mean) ** 2 for share, value in known))


def operand_traffic(info: OperandInfo, read: float, written: float, fits: bool = False) -> OperandTraffic:
    """The traffic of an operand; ``fits``: whether the chip could keep it, if it is a feature map."""
    return OperandTraffic.model_validate(
        {
            "kind": info.kind,
            "bytes": info.bytes,
            "read_bytes": read,
            "written_bytes": written,
            "fits_on_chip": fits and info.kind == "input",
        }
    )


def checked_operands(model: torch.nn.Module | Mapping[str, OperandInfo]) -> Mapping[str, OperandInfo]:
    """The operands of a network after ``inject_``, or those given. Raises ValueError for one without a known size."""
    if isinstance(model, Mapping):
        infos = model
    else:
        from eden.faults.memories import operands

        infos = operands(model)
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
