"""A chip's own weak cells, as they were measured."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from eden import _core
from eden.memory.errors import (
    JSON_PROBABILITY,
    ByContent,
    TwoRates,
    check_keys,
    check_probability,
    frozen,
    json_object,
)

# A cell of a map and its flags share an int64.
_MAP_CELLS = 2 ** (63 - _core.MAP_FLAG_BITS)


_FLIPS = {"0": (True, False), "1": (False, True), "01": (True, True)}
_FLIPS_NAME = {flips: name for name, flips in _FLIPS.items()}


@dataclass(frozen=True, eq=False)
class CellMap(ByContent, TwoRates):
    """A chip's own weak cells, by their addresses.

    Args:
        cells: int64, one-dimensional: addresses, in bits, of the weak cells, from 0 to ``bits - 1``, each once. They
            are kept in ascending order.
        flips_zero: bool, of the shape of ``cells``: whether the cell can flip when it stores 0; or one bool for all.
        flips_one: likewise when it stores 1. A weak cell flips for one of the values or both.
        bits: cells of the region that the map describes, weak or not.
        failure: probability F that a read of a weak cell is inverted, above 0, up to 1.

    Raises:
        TypeError, ValueError: naming the argument that is wrong.

    """

    KIND: ClassVar[str] = "cell_map"
    cells: NDArray[np.int64]
    flips_zero: NDArray[np.bool_]
    flips_one: NDArray[np.bool_]
    bits: int
    failure: float = 1.0

    def __post_init__(self) -> None:
        check_probability("failure", self.failure, low_open=True)
        if isinstance(self.bits, bool) or not isinstance(self.bits, int):
            raise TypeError(f"bits is a {type(self.bits).__name__}; allowed is an int")
        if not 0 < self.bits <= _MAP_CELLS:
            raise ValueError(f"bits is {self.bits}; allowed is 1 to {_MAP_CELLS}")
        cells = np.asarray(self.cells)
        if cells.size and cells.dtype.kind not in "iu":
            raise TypeError(f"cells are of the type {cells.dtype}; allowed are whole numbers")
        if cells.ndim != 1:
            raise ValueError(f"cells have the shape {cells.shape}; allowed is one dimension")
        outside = (cells < 0) | (cells >= self.bits)
        if outside.any():
            i = int(outside.argmax())
            raise ValueError(f"cells[{i}] is {cells[i]}; allowed is 0 to bits - 1 ({self.bits - 1})")
        order = np.argsort(cells, kind="stable")
        cells = cells[order].astype(np.int64)
        flips = {}
        for name in ("flips_zero", "flips_one"):
            value = np.asarray(getattr(self, name))
            if value.size and value.dtype != np.bool_:
                raise TypeError(f"{name} is of the type {value.dtype}; allowed is bool")
            if value.shape not in ((), cells.shape):
                raise ValueError(f"{name} has the shape {value.shape}; allowed is that of cells, {cells.shape}")
            flips[name] = np.broadcast_to(value, cells.shape)[order].astype(np.bool_)
        repeated = cells[1:][cells[1:] == cells[:-1]]
        if repeated.size:
            raise ValueError(f"cells: {repeated[0]} occurs twice; allowed is once")
        idle = cells[~(flips["flips_zero"] | flips["flips_one"])]
        if idle.size:
            raise ValueError(
                f"flips_zero and flips_one are both false for cell {idle[0]}; allowed is a cell that flips for one of "
                "the values or both"
            )
        for name, array in (("cells", cells), *flips.items()):
            object.__setattr__(self, name, frozen(array))

    def _rate(self, flips: NDArray[np.bool_]) -> float:
        return np.count_nonzero(flips) / self.bits * self.failure

    @property
    def ber_zero(self) -> float:  # type: ignore[override]
        """Bit error rate of a cell that stores 0."""
        return self._rate(self.flips_zero)

    @property
    def ber_one(self) -> float:  # type: ignore[override]
        """Bit error rate of a cell that stores 1."""
        return self._rate(self.flips_one)

    @property
    def highest_ber(self) -> float:
        """The map's own mean bit error rate: there are no other weak cells to add."""
        return self.ber

    def scaled(self, ber: float) -> Self:
        """The map with fewer of its cells, chosen by a fixed hash of their addresses.

        The cells of a lower rate are a subset of those of a higher one. As many are kept as do not bring the mean bit
        error rate above ``ber``, so it is met to within one cell, of a rate above the map's own by less than that, too:
        a map that was brought to a rate can be brought to it again.

        Raises:
            TypeError: if ``ber`` is no number.
            ValueError: for a rate above the map's own by a cell or more.

        """
        check_probability("ber", ber)
        if ber >= self.ber + self.failure / self.bits:
            raise ValueError(f"ber is {ber}; allowed is at most {self.ber}, that of all cells of the map")
        if ber >= self.ber:
            return self
        # Of cells with the same number, which are not to be expected, the lower address goes first.
        order = np.lexsort((self.cells, _core.map_order(self.cells)))
        flips = np.cumsum(self.flips_zero[order].astype(np.int64) + self.flips_one[order])
        # The factor makes up for the rounding of a rate that is one of the map's subsets.
        allowed = ber / self.failure * 2.0 * self.bits * (1.0 + 2.0**-50)
        kept = np.sort(order[: int(np.searchsorted(flips, allowed, side="right"))])
        return dataclasses.replace(
            self, cells=self.cells[kept], flips_zero=self.flips_zero[kept], flips_one=self.flips_one[kept]
        )

    def entries(self) -> NDArray[np.int64]:
        """The cells as the operators take them: address and flags in one int64, ascending."""
        return (
            (self.cells << _core.MAP_FLAG_BITS)
            | self.flips_zero * np.int64(_core.MAP_FLIPS_ZERO)
            | self.flips_one * np.int64(_core.MAP_FLIPS_ONE)
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form: ``cells`` is a list of ``[address, values]``, values being "0", "1" or "01": where it flips."""
        names = (_FLIPS_NAME[flips] for flips in zip(self.flips_zero.tolist(), self.flips_one.tolist(), strict=True))
        return {
            "model": self.KIND,
            "bits": self.bits,
            "failure": self.failure,
            "cells": [[cell, name] for cell, name in zip(self.cells.tolist(), names, strict=True)],
        }

    @classmethod
    def _json_forms(cls) -> list[dict[str, Any]]:
        address = {"type": "integer", "minimum": 0}
        cell = {"type": "array", "prefixItems": [address, {"enum": list(_FLIPS)}], "minItems": 2, "maxItems": 2}
        properties = {
            "bits": {"type": "integer", "minimum": 1},
            "failure": JSON_PROBABILITY,
            "cells": {"type": "array", "items": cell},
        }
        return [json_object(cls.KIND, properties, optional=("failure",))]

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Self:
        check_keys(cls.KIND, fields, ("bits", "failure", "cells"))
        for name in ("bits", "cells"):
            if name not in fields:
                raise ValueError(f"the model {cls.KIND!r} lacks its parameter {name!r}")
        pairs = fields["cells"]
        if not isinstance(pairs, list):
            raise TypeError(f"cells is a {type(pairs).__name__}; allowed is a list of [address, values]")
        for i, pair in enumerate(pairs):
            if (
                not isinstance(pair, list)
                or len(pair) != 2
                or type(pair[0]) is not int
                or not isinstance(pair[1], str)
                or pair[1] not in _FLIPS
            ):
                raise ValueError(f'cells[{i}] is {pair!r}; allowed is [address, "0", "1" or "01"]')
            # What no int64 holds would become an array of objects.
            if not 0 <= pair[0] < _MAP_CELLS:
                raise ValueError(f"cells[{i}] is {pair[0]}; allowed is 0 to bits - 1")
        flips = np.array([_FLIPS[values] for _, values in pairs], dtype=np.bool_).reshape(-1, 2)
        return cls(
            np.array([address for address, _ in pairs], dtype=np.int64),
            flips[:, 0],
            flips[:, 1],
            fields["bits"],
            fields.get("failure", 1.0),
        )
