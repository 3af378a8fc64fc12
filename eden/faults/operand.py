"""An operand of a layer as configured: where it lies, what makes errors there, and in which form memory keeps it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eden.common.torch_internals import autocasts, outside_of_graphs
from eden.faults.layers import Role, stored
from eden.memory import storage as quantization
from eden.memory.planes import Plane, check_planes, plane_text
from eden.memory.region import Memory, held_bits, plane_rows, region_rows
from eden.memory.storage import CELL_UNITS, CODED, UNSIGNED, most_elements, plane_bits

OPERAND_SPACING_BITS = 2**40
"""Without a placement, operand k begins at bit k x 2^40."""

PLANE_SPACING_BITS = 2**35
"""Without a placement, the plane whose lowest bit position is b begins so many bits times b after its operand."""

FIRST_RELIABLE_PART = 2**22
"""Number of the first operand among biases and normalization, which are under faults on request alone."""


def arithmetic_of(x: Tensor) -> torch.dtype:
    """The format in which what a layer reads was computed: autocast's where it is on, else the tensor's own."""
    if not autocasts():
        return x.dtype
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


class Buffers(NamedTuple):
    """The names of an operand's buffers in its layer; from the third on they are an input's."""

    region: str
    table: str
    bounds: str
    wide_bounds: str
    scale: str
    zero_point: str


class Place(NamedTuple):
    """What lies in a memory of its own: an operand, or a plane of one.

    Attributes:
        name: of the operand, with the plane in brackets.
        plane: the bit positions that it holds, () for whole words.
        address: first bit in the memory.
        errors: error model of the memory, or the pieces of memory that it lies in.
    """

    name: str
    plane: Plane
    address: int
    errors: Memory


class SampleDims(NamedTuple):
    """Where the samples of an input are.

    Dimension ``dim`` has ``outer`` x samples x ``inner`` entries; -1 for an input that is the same for any number of
    samples. ``dims`` are the dimensions of a batch: an input with fewer is a single sample.
    """

    dim: int = 0
    outer: int = 1
    inner: int = 1
    dims: int = 2


_ASSUMED = SampleDims()


@dataclasses.dataclass
class Operand:
    """One memory-resident tensor role of one layer, as configured; the buffers of the layer follow it.

    Attributes:
        name: ``layer.role``; of the first layer and role where several share one.
        role: which of its layer's operands it is.
        address: first bit in the memory.
        errors: error model of the memory, None for reliable; or the pieces of memory that it lies in, each with an
            address of its own. None of an operand in planes.
        storage: form in which the memory keeps it.
        correction: what replaces implausible values.
        sample_numel: elements of an input's sample, None before calibration.
        affine: whether its codes have a zero point.
        channels: whether each output channel of a weight has a scale of its own.
        sample_dims: where an input's samples are.
        assumed_dims: where they are taken to be before calibration.
        dims_known: whether calibration found, or a file says, where they are.
        contiguous: whether each sample of a batch has cells of its own.
        packed: whether a weight is a tensor of a quantizer's class, whose codes memory holds as they are.
        percentile: share of an input's values, in percent, that calibration takes its range to hold.
        calibrated: whether the range of an input is known.
        arithmetic: format of the computation that the range of an input was seen in, None where there were several or
            the layer was moved to another one since.
        magnitude: mean magnitude of an input's values, as calibrated, None where it is not known.
        absent: whether calibration found that the layer does without this input.
        own: name and address that it has where no other layer shares it.
        flips: while `counting`, int64 [bits of an element, 2, 2]: by bit position and stored value, the cells read and
            those flipped.
        clamp: while its range is learned, brings an input into it before it is stored, in training.
        most_elements: elements that its memory holds from its place on (of an input's sample), None where only
            addresses end. This and the next follow the others at each `write_region`.
        row_elements: to read a row of a table by itself takes about as long as to read so many elements in one piece.
        buffers: names of its buffers.
        planes: by plane of its words, the one of the highest bit first, what that lies in; empty for whole words.
    """

    name: str
    role: Role
    address: int
    errors: Memory
    storage: str
    correction: str
    sample_numel: int | None = None
    affine: bool = False
    channels: bool = False
    sample_dims: SampleDims = _ASSUMED
    assumed_dims: SampleDims = _ASSUMED
    dims_known: bool = False
    contiguous: bool = False
    packed: bool = False
    percentile: float = 100.0
    calibrated: bool = False
    arithmetic: torch.dtype | None = torch.float32
    magnitude: float | None = None
    absent: bool = False
    own: tuple[str, int] = ("", 0)
    flips: Tensor | None = None
    clamp: Callable[[Tensor], Tensor] | None = None
    most_elements: int | None = None
    planes: dict[Plane, Memory] = dataclasses.field(default_factory=dict)
    row_elements: int = dataclasses.field(default=0, init=False)
    buffers: Buffers = dataclasses.field(init=False)

    @property
    def kind(self) -> str:
        """What it is: "weight" of a parameter or buffer, "input" of a feature map."""
        return self.role.kind

    def __post_init__(self) -> None:
        if self.role.by_position and self.storage in CODED:
            raise ValueError(
                f"{self.name} is held by position, so that a token keeps its cells as a sequence grows; the code "
                f"of storage {self.storage!r} joins words of several; allowed are storages without such a code "
                "(Faults.input_storage)"
            )
        # Every read looks its buffers up by these.
        prefix = f"eden_{self.role.name.replace('.', '_')}"
        self.buffers = Buffers(*(f"{prefix}_{name}" for name in Buffers._fields))

    @property
    def channel_dim(self) -> int:
        """Dimension of a weight's channels that have scales of their own, -1 for none."""
        return self.role.channel_dim if self.channels else -1

    def samples_of(self, x: Tensor) -> tuple[Tensor, int]:
        """An input with a dimension of its samples alone, and which that is; -1 if it is one sample.

        Raises:
            ValueError: naming it, for an input whose entries do not make whole samples.
        """
        dim, outer, inner, dims = self.sample_dims
        if dim < 0 or x.dim() < dims:
            return x, -1
        if outer * inner == 1:
            return x, dim
        if x.shape[dim] % (outer * inner):
            refuse_entries(self.name, x.shape[dim], dim, outer * inner)
        return x.reshape(*x.shape[:dim], outer, -1, inner, *x.shape[dim + 1 :]), dim + 1

    def positions_first(self, x: Tensor, batch_dim: int) -> tuple[Tensor, int, int]:
        """An input as memory holds it: a sample's positions first, where it is held by position.

        Args:
            x: the input.
            batch_dim: dimension of its samples, -1 if it is one sample or each has cells of its own.

        Returns:
            It, where its samples are then, and to which dimension its positions went; -1 if they are where they were.
        """
        first = 1 if batch_dim == 0 else 0
        at = x.dim() - 2
        if not self.role.by_position or at <= first or batch_dim >= at:
            return x, batch_dim, -1
        return x.movedim(at, first), batch_dim + (batch_dim > 0), first

    @property
    def found_dims(self) -> SampleDims | None:
        """Where its samples are, if that is known and not what is assumed anyway."""
        return self.sample_dims if self.dims_known and self.sample_dims != self.assumed_dims else None

    @property
    def needs_range(self) -> bool:
        """Whether it cannot be read without a known range of its values."""
        return self.storage in quantization.CODE_BITS or self.correction != "none"

    def bounds_for(self, x: Tensor) -> str:
        """Which of its buffers bounds an input: the wider one in another format's arithmetic than calibration's."""
        return self.buffers.bounds if arithmetic_of(x) == self.arithmetic else self.buffers.wide_bounds

    @property
    def zero_pointed(self) -> bool:
        """Whether its codes are made with a zero point."""
        return self.affine or self.storage in UNSIGNED

    @property
    def places(self) -> list[Place]:
        """Itself, or its planes: what lies in a memory of its own."""
        if not self.planes:
            return [Place(self.name, (), self.address, self.errors)]
        return [
            Place(
                f"{self.name}[{plane_text(plane)}]",
                plane,
                self.address + min(plane) * PLANE_SPACING_BITS,
                self.planes[plane],
            )
            for plane in self.planes
        ]

    @property
    def memory(self) -> Memory | dict[str, Memory]:
        """What it lies in, or by plane what each lies in."""
        return {plane_text(plane): errors for plane, errors in self.planes.items()} or self.errors

    @property
    def faulty(self) -> bool:
        """Whether a memory that it lies in has an error model."""
        return any(place.errors is not None for place in self.places)

    @property
    def failures(self) -> list[float]:
        """Failure probabilities of the memories that it lies in."""
        found: list[float] = []
        for place in self.places:
            pieces = place.errors if isinstance(place.errors, tuple) else ((place.errors, 0, 0),)
            found += [model.failure for model, _, _ in pieces if model is not None]
        return found

    @property
    def held_elements(self) -> int | None:
        """Elements that its memory holds from its places on, None where only addresses end."""
        held = [
            bits // len(place.plane) if place.plane else most_elements(self.storage, bits)
            for place in self.places
            if (bits := held_bits(place.errors, place.address)) is not None
        ]
        return min(held, default=None)

    def in_memory(self, place: Place, errors: Memory) -> Operand:
        """The same with a place of its own in another memory."""
        if place.plane:
            return dataclasses.replace(self, planes={**self.planes, place.plane: errors})
        return dataclasses.replace(self, errors=errors)

    def quantizer(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scale and zero point of its codes for a range of values, both of the range's shape."""
        return quantization.quantization(low, high, self.storage, self.zero_pointed)

    def rows(self, reliable: bool, numel: int | None) -> tuple[list[list[int]], Any]:
        """The rows and the table (an int64 array or None) for its region.

        Raises:
            TypeError, ValueError: naming it, for a memory that does not hold it, ``numel`` being the number of its
                elements where known.
        """
        width = CELL_UNITS[self.storage]
        elements = numel or 0
        pieces = {
            place.plane: place.errors
            if isinstance(place.errors, tuple)
            else ((place.errors, place.address, plane_bits(place.plane, self.storage, elements)),)
            for place in self.places
        }
        try:
            # An index has no range of values: its layer knows what it can be.
            correction = "none" if self.role.indices else self.correction
            rows, table = self._rows(pieces, elements, width, correction)
        except (TypeError, ValueError) as error:
            raise type(error)(f"the errors of {self.name}: {error}") from error
        if reliable:
            # As many rows, and the same table: nothing is to be compiled again for a moment.
            nowhere = {plane: [(None, *place) for _, *place in of] for plane, of in pieces.items()}
            rows, _ = self._rows(nowhere, elements, width, "none")
        return rows, table

    def _rows(self, pieces: Any, elements: int, width: int, correction: str) -> tuple[list[list[int]], Any]:
        if not self.planes:
            return region_rows(pieces[()], plane_bits((), self.storage, elements), width, correction)
        check_planes(tuple(self.planes), self.name, self.storage, width)
        if elements > PLANE_SPACING_BITS:
            raise ValueError(f"it has {elements} elements; allowed in planes is {PLANE_SPACING_BITS} or fewer")
        return plane_rows(pieces, elements, correction)


# Outside of graphs: an exception that the compiler meets would keep it from compiling this layer ever again.
@outside_of_graphs
def refuse_entries(name: str, entries: int, dim: int, of_sample: int) -> None:
    """Raise ValueError for an input whose entries do not make whole samples."""
    raise ValueError(
        f"{name} has {entries} entries of dimension {dim}; allowed is a multiple of {of_sample}, which one sample had "
        "in calibration; for samples of other sizes say what one is with eden.calibrate_(..., samples=...)"
    )


def operand_numel(layer: nn.Module, operand: Operand) -> int | None:
    """Elements of a parameter or of an input's sample, None where they are not known."""
    if operand.kind == "input":
        return operand.sample_numel
    return int(stored(layer, operand.role.name).numel())
