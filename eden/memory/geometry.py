"""Geometry of a memory: which bank, subarray, wordline and bitline a cell lies on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

from eden import _core
from eden.common.arguments import check_int


class Location(NamedTuple):
    """Where a cell lies.

    Attributes:
        rank: number of the rank.
        bank: number of the bank in its rank.
        subarray: number of the subarray in its bank.
        wordline: number of the row (wordline) in its subarray.
        bitline: number of the column (bitline) in its subarray, which is also the cell's place in its row.

    """

    rank: int
    bank: int
    subarray: int
    wordline: int
    bitline: int


@dataclass(frozen=True)
class Geometry:
    """How addresses, in bits, run through the arrays of a memory: along a row, then row by row, then bank by bank.

    The cell at an address has the column ``address % row_bits`` of the row ``address // row_bits``, rows being numbered
    through all banks and ranks. Bitlines are local to a subarray, as its sense amplifiers are.

    Args:
        row_bits: cells of a row (wordline), a multiple of 128.
        subarray_rows: rows of a subarray, which are the cells of a bitline; a multiple of 32.
        bank_rows: rows of a bank, a multiple of ``subarray_rows``.
        banks: banks of a rank.
        ranks: ranks of the memory; None for as many as addresses need.

    Raises:
        TypeError: for a number that is no int.
        ValueError: for one out of range; also for a memory that does not end below 2**63 bits.

    """

    row_bits: int = 65536
    subarray_rows: int = 512
    bank_rows: int = 32768
    banks: int = 8
    ranks: int | None = None

    def __post_init__(self) -> None:
        for name, factor, why in (
            ("row_bits", _core.ROW_BITS_MULTIPLE, ""),
            ("subarray_rows", _core.SUBARRAY_ROWS_MULTIPLE, ""),
            ("bank_rows", self.subarray_rows, " (subarray_rows)"),
        ):
            value = check_int(name, getattr(self, name), 1)
            if value % factor:
                raise ValueError(f"{name} is {value}; allowed is a multiple of {factor}{why}")
        if self.row_bits * self.subarray_rows > _core.MOST_SUBARRAY_CELLS:
            raise ValueError(
                f"subarray_rows is {self.subarray_rows} with row_bits {self.row_bits}; allowed are "
                f"{_core.MOST_SUBARRAY_CELLS} cells in a subarray"
            )
        check_int("banks", self.banks, 1)
        if self.ranks is not None:
            check_int("ranks", self.ranks, 1)
        if self.capacity_bits * (self.ranks or 1) >= 2**63:
            raise ValueError(f"banks is {self.banks}; allowed is a memory of less than 2**63 bits")

    @property
    def capacity_bits(self) -> int:
        """Cells of a rank."""
        return self.banks * self.bank_rows * self.row_bits

    @property
    def end(self) -> int:
        """The first address, in bits, behind the memory; 2**63 where its ranks are not counted."""
        return 2**63 if self.ranks is None else self.ranks * self.capacity_bits

    def wordline_number(self, address: int) -> int:
        """The number of a cell's wordline among all of the memory. Raises as ``locate``."""
        return self._check_address(address) // self.row_bits

    def bitline_number(self, address: int) -> int:
        """The number of a cell's bitline among all of the memory. Raises as ``locate``."""
        row, column = divmod(self._check_address(address), self.row_bits)
        return row // self.subarray_rows * self.row_bits + column

    def locate(self, address: int) -> Location:
        """Where the cell at an address, in bits, lies.

        Raises:
            TypeError: if the address is no int.
            ValueError: if it is outside of the memory.

        """
        row, bitline = divmod(self._check_address(address), self.row_bits)
        bank, row = divmod(row, self.bank_rows)
        subarray, wordline = divmod(row, self.subarray_rows)
        rank, bank = divmod(bank, self.banks)
        return Location(rank, bank, subarray, wordline, bitline)

    def address(self, rank: int = 0, bank: int = 0, subarray: int = 0, wordline: int = 0, bitline: int = 0) -> int:
        """The address, in bits, of the cell at a location; ``geometry.address(*geometry.locate(a))`` is ``a``.

        Raises:
            TypeError: for a number that is no int.
            ValueError: for one that the memory does not have.

        """
        for name, value, count in (
            ("rank", rank, -(-self.end // self.capacity_bits)),
            ("bank", bank, self.banks),
            ("subarray", subarray, self.bank_rows // self.subarray_rows),
            ("wordline", wordline, self.subarray_rows),
            ("bitline", bitline, self.row_bits),
        ):
            if check_int(name, value, 0) >= count:
                raise ValueError(f"{name} is {value}; allowed is 0 to {count - 1}")
        row = ((rank * self.banks + bank) * self.bank_rows) + subarray * self.subarray_rows + wordline
        return self._check_address(row * self.row_bits + bitline)

    def _check_address(self, address: int) -> int:
        if check_int("address", address, 0) >= self.end:
            raise ValueError(f"address is {address}; allowed is 0 to {self.end - 1}, the last cell of the geometry")
        return address

    def to_dict(self) -> dict[str, int | None]:
        """JSON form."""
        return dataclasses.asdict(self)

    @staticmethod
    def json_schema() -> dict[str, Any]:
        """JSON Schema of the form that ``to_dict`` writes and ``from_dict`` reads."""
        properties: dict[str, Any] = {
            field.name: {"type": "integer", "minimum": 1, "default": field.default}
            for field in dataclasses.fields(Geometry)
        }
        properties["row_bits"]["multipleOf"] = _core.ROW_BITS_MULTIPLE
        properties["subarray_rows"]["multipleOf"] = _core.SUBARRAY_ROWS_MULTIPLE
        properties["ranks"]["type"] = ["integer", "null"]
        return {"type": "object", "properties": properties, "additionalProperties": False}

    @staticmethod
    def from_dict(spec: Any) -> Geometry:
        """The geometry of a JSON form; what is left out is as in ``Geometry()``.

        Raises:
            TypeError, ValueError: naming the key that is wrong.

        """
        if not isinstance(spec, dict):
            raise TypeError(f"geometry is a {type(spec).__name__}; allowed is an object")
        names = [field.name for field in dataclasses.fields(Geometry)]
        for key in spec:
            if key not in names:
                raise ValueError(f"{key!r} is no parameter of a geometry; allowed are {', '.join(names)}")
        return Geometry(**spec)
