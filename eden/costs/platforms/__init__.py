"""Processors whose DRAM accesses are counted: their memories, and what is assumed of them.

The mathematics is in docs/explanation/accounting.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

import pydantic

from eden import _core
from eden.common.files import Record, ShippedFile

_KIB = 1 << 10


@dataclass(frozen=True)
class Range:
    """An assumed parameter: its ends, which the sensitivity range covers, and the value that terms are given at."""

    __pydantic_config__: ClassVar = pydantic.ConfigDict(extra="forbid", use_attribute_docstrings=True)

    low: float
    """Its lower end."""
    typical: float
    """What single figures are given at."""
    high: float
    """Its upper end."""

    def __post_init__(self) -> None:
        if not self.low <= self.typical <= self.high:
            raise ValueError(f"found {self}; allowed is low <= typical <= high")


Size = Annotated[int, pydantic.Strict(), pydantic.Field(ge=1)]


class Cache(Record):
    """The last level of caches: fully associative, least recently used out first, written back."""

    kind: Literal["cache"] = "cache"
    """Marks a cache."""
    kib: Annotated[int, pydantic.Strict(), pydantic.Field(ge=0)]
    """Its size in KiB."""

    @property
    def bytes(self) -> int:
        """Its size in bytes."""
        return self.kib * _KIB


class Array(Record):
    """An array of processing elements with three double-buffered memories."""

    kind: Literal["array"] = "array"
    """Marks an array."""
    dataflow: Literal["output", "weight", "row"]
    """What stays in the elements: outputs, weights, or rows of kernels and maps."""
    rows: Size
    """Rows of processing elements."""
    columns: Size
    """Columns of processing elements."""
    input_kib: Size
    """Memory of input feature maps in KiB, both halves together."""
    filter_kib: Size
    """Memory of weights in KiB."""
    output_kib: Size
    """Memory of output feature maps in KiB. Outputs are written once, so it decides no count."""
    accumulators: Size
    """Partial sums that the weight-stationary dataflow can keep."""

    @property
    def bytes(self) -> int:
        """Bytes of its memories."""
        return (self.input_kib + self.filter_kib + self.output_kib) * _KIB

    def core(self, input_bits: int, filter_bits: int) -> _core.ProcessingArray:
        """The array in words of so many bits, of which each half of a memory holds whole ones."""
        return _core.ProcessingArray(
            getattr(_core.Dataflow, self.dataflow),
            self.rows,
            self.columns,
            self.input_kib * _KIB * 8 // 2 // input_bits,
            self.filter_kib * _KIB * 8 // 2 // filter_bits,
            self.accumulators,
        )


SHARES = ("row_hit_share", "bus_utilization", "exposed_latency_share")
"""Parameters of a platform that are assumed over a range."""


class Platform(ShippedFile):
    """What of a processor decides its DRAM accesses. Saved and loaded as JSON. Every Range lies within 0 to 1."""

    FORMAT: ClassVar[str] = "eden-platform"
    VERSION: ClassVar[int] = 1
    SHIPPED_IN: ClassVar[str] = __name__
    CALLED: ClassVar[str] = "platform is"

    name: Annotated[str, pydantic.Field(min_length=1)]
    """What files and reports call it."""
    title: str
    """What it is, in words."""
    memory: Annotated[Cache | Array, pydantic.Field(discriminator="kind")]
    """What keeps operands on the chip."""
    batch: Size
    """Samples whose inference shares one read of the weights."""
    row_hit_share: Range
    """Share of bursts that find their row open."""
    bus_utilization: Range
    """Share of the time in which the data bus transfers, while nothing waits for a row; above 0."""
    exposed_latency_share: Range
    """Share of the latency of opening a row and reading from it, tRP + tRCD + tCL, in which the processor waits."""
    sources: dict[str, str]
    """Where memory, batch and each Range come from, or that they are assumed."""

    @pydantic.model_validator(mode="after")
    def _within_bounds(self) -> Self:
        for name in SHARES:
            value: Range = getattr(self, name)
            if not (value.low >= 0.0 and value.high <= 1.0):
                raise ValueError(f"platform {self.name}: {name} is {value}; allowed is 0 to 1")
        if self.bus_utilization.low <= 0.0:
            raise ValueError(f"platform {self.name}: bus_utilization is {self.bus_utilization}; allowed is above 0")
        named = {"memory", "batch", *SHARES}
        if set(self.sources) != named:
            raise ValueError(
                f"platform {self.name}: sources has {', '.join(sorted(self.sources)) or 'nothing'}; allowed are all of "
                f"{', '.join(sorted(named))}"
            )
        return self

    @property
    def on_chip_bytes(self) -> int:
        """Bytes that may stay on the chip."""
        return self.memory.bytes


PLATFORMS: Mapping[str, Platform] = {name: Platform.builtin(name) for name in Platform.builtin_names()}
"""The presets that ship with the package, by name."""
