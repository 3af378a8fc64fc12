"""A memory image: the words of a network's weights at their addresses, and a chip's errors in them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import pydantic
import torch
from torch import Tensor

from eden import _core
from eden.common.arguments import check_int, check_seed
from eden.common.files import FileError, FiniteRecord, read_tensors, write_tensors
from eden.common.provenance import Result, digest_of_json
from eden.memory.cell_map import CellMap
from eden.memory.errors import ErrorModel
from eden.memory.operators import corrupt

if TYPE_CHECKING:
    from eden.memory.region import Piece

_Count = Annotated[int, pydantic.Field(ge=1)]


class ImagePiece(FiniteRecord):
    """Words that lie one after another."""

    address_bits: Annotated[int, pydantic.Field(ge=0, multiple_of=8)]
    """Where the first of them begins in the device; of a map of cells counted from its first cell."""
    bytes: _Count
    """How many."""
    errors: dict[str, Any] | None
    """JSON form of the error model of the cells there; None of reliable ones."""

    @property
    def counted_from(self) -> str:
        """What tells maps of cells apart, each of which has addresses of its own; "" for those of the device."""
        mapped = self.errors is not None and self.errors.get("model") == CellMap.KIND
        return digest_of_json(self.errors) if mapped else ""


class ImageOperand(FiniteRecord):
    """A weight in an image."""

    storage: Literal["int8", "int8_sign_magnitude"]
    """The form of its words."""
    pieces: Annotated[tuple[ImagePiece, ...], pydantic.Field(min_length=1)]
    """Where they lie, in their order."""

    @property
    def bytes(self) -> int:
        """Number of its words."""
        return sum(piece.bytes for piece in self.pieces)

    def memory(self) -> list[Piece]:
        """The pieces as ``eden.corrupt`` takes them. Raises ValueError or TypeError for what is no error model."""
        return [
            (
                None if piece.errors is None else ErrorModel.from_dict(piece.errors),
                piece.address_bits,
                8 * piece.bytes,
            )
            for piece in self.pieces
        ]


class ImageHeader(Result):
    """What a memory image says of its words."""

    FORMAT: ClassVar[str] = "eden-memory-image"
    VERSION: ClassVar[int] = 1

    random_layout: int
    """Version of the random numbers' layout, which fixes what cells a chip's seed makes weak."""
    operands: Annotated[dict[str, ImageOperand], pydantic.Field(min_length=1)]
    """What it holds, by name."""
    chip: int | None = None
    """Seed of the chip whose errors are in the words; None for words as they were written."""
    access: Annotated[int, pydantic.Field(ge=0)] = 0
    """Number of the read that those errors are of."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        if self.random_layout != _core.RANDOM_LAYOUT_VERSION:
            raise ValueError(
                f"random_layout is {self.random_layout}; allowed is {_core.RANDOM_LAYOUT_VERSION}, this version's"
            )
        taken = sorted(
            (piece.counted_from, piece.address_bits, piece.bytes, name)
            for name, one in self.operands.items()
            for piece in one.pieces
        )
        memory, end, before = "", 0, ""
        for counted_from, start, size, name in taken:
            if counted_from == memory and start < end:
                raise ValueError(f"operand {name} starts at bit {start}, inside operand {before}")
            memory, end, before = counted_from, start + 8 * size, name
        for name, operand in self.operands.items():
            try:
                operand.memory()
            except (TypeError, ValueError) as error:
                raise ValueError(f"the errors of {name}: {error}") from error
        return self


class MemoryImage:
    """The words of a network's weights at their addresses in a memory, as written or as a chip gives them back.

    ``eden.memory_image`` makes one. A file of one is in safetensors: a uint8 tensor for each weight, its words in the
    order of its pieces, and the header in the metadata under "eden" (docs/reference/files.md).

    Attributes:
        header: where the words lie, in which form, and what they were made from.
        words: by operand, uint8 of shape (bytes,).
    """

    def __init__(self, header: ImageHeader, words: Mapping[str, Tensor]) -> None:
        self.header, self.words = header, dict(words)
        missing = header.operands.keys() ^ self.words.keys()
        if missing:
            raise ValueError(f"operand {min(missing)} has words or a place, and not both; allowed are both")
        for name, operand in header.operands.items():
            found = self.words[name]
            if found.dtype != torch.uint8 or found.shape != (operand.bytes,):
                raise ValueError(
                    f"the words of {name} are {found.dtype} of shape {tuple(found.shape)}; allowed is torch.uint8 of "
                    f"shape ({operand.bytes},), as its pieces say"
                )

    def corrupted(self, chip: int, access: int = 0) -> MemoryImage:
        """The image as a chip gives it back: its words with those bits flipped that fail in its cells.

        They are the flips that the network's loads have on that chip: of each piece's error model, at its address.

        Args:
            chip: seed of the chip.
            access: number of the read; only weak cells that do not always fail depend on it.

        Raises:
            ValueError: for an image that has a chip's errors already, or a number out of range.
        """
        check_seed("chip", chip)
        check_int("access", access, 0)
        if self.header.chip is not None:
            raise ValueError(
                f"the image has the errors of chip {self.header.chip} in it; allowed is one as eden.memory_image "
                "writes it"
            )
        read = {
            name: corrupt(self.words[name], operand.memory(), chip, access=access)
            for name, operand in self.header.operands.items()
        }
        return MemoryImage(self.header.model_copy(update={"chip": chip, "access": access}), read)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file atomically. Raises FileError if that is not possible."""
        header = self.header
        body = {"format": header.FORMAT, "version": header.VERSION, **header.model_dump(mode="json")}
        write_tensors(path, self.words, json.dumps(body))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MemoryImage:
        """Read and check a file.

        Raises:
            FileError: naming the file, the place in it, what was found and what is allowed.
        """
        words, text = read_tensors(path, "eden.memory_image")
        header = ImageHeader.parse(text, path)
        try:
            return cls(header, words)
        except ValueError as error:
            raise FileError(path, str(error)) from error
