"""Error models of a DRAM: which cells of a chip are weak and how often a weak cell's read is inverted.

A cell is weak or not for the life of the chip; each read of a weak cell is inverted with probability ``failure``,
independently. The bit error rate (BER) is the product of both probabilities.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eden import _core
from eden.memory.geometry import Geometry

# Between them the incomplete beta functions keep their digits; 0 is Model 0, all lines alike.
LOWEST_DISPERSION = 1e-6
HIGHEST_DISPERSION = 0.999

DEFAULT_GEOMETRY = Geometry()

# What is below is no probability that a 64-bit threshold can tell from 0.
_NO_PROBABILITY = 1e-100

# A cell of a map and its flags share an int64.
_MAP_CELLS = 2 ** (63 - _core.MAP_FLAG_BITS)


_JSON_PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}


def _json_object(kind: str, properties: dict[str, Any], optional: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"model": {"const": kind}, **properties},
        "required": ["model", *(name for name in properties if name not in optional)],
        "additionalProperties": False,
    }


def _check_probability(name: str, value: Any, low_open: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a {type(value).__name__}; allowed is a number from 0 to 1")
    if not (0.0 <= value <= 1.0) or math.isnan(value) or (low_open and value == 0.0):
        raise ValueError(f"{name} is {value}; allowed is {'above 0' if low_open else '0'} to 1")
    return float(value)


class ErrorModel(abc.ABC):
    """What every error model has: rates per stored value, their mean, and the failure probability of a weak cell.

    Attributes:
        ber: mean bit error rate over stored zeros and ones in equal number.
        ber_zero: bit error rate of a cell that stores 0.
        ber_one: bit error rate of a cell that stores 1.
        failure: probability F that a read of a weak cell is inverted.

    """

    KIND: ClassVar[str]
    ber: float
    ber_zero: float
    ber_one: float
    failure: float

    @property
    def highest_ber(self) -> float:
        """The highest mean bit error rate that ``scaled`` reaches."""
        return self.failure

    @abc.abstractmethod
    def scaled(self, ber: float) -> Self:
        """The same model with its mean bit error rate brought to ``ber``, asymmetry and failure kept.

        Where one stored value's rate would pass ``failure`` it stays there and the other takes up the rest, so that the
        mean is met. Raises ValueError for a rate that the model cannot reach.
        """

    def to_dict(self) -> dict[str, Any]:
        """JSON form, with the key ``model`` naming the kind."""
        return {"model": self.KIND, **{name: getattr(self, name) for name in self._parameters()}}

    @classmethod
    def _parameters(cls) -> list[str]:
        return list(inspect.signature(cls).parameters)

    @staticmethod
    def _kinds() -> dict[str, type[ErrorModel]]:
        models: tuple[type[ErrorModel], ...] = (Uniform, DataDependent, Bitline, Wordline, CellMap)
        return {model.KIND: model for model in models}

    @staticmethod
    def json_schema() -> dict[str, Any]:
        """JSON Schema of the form that ``to_dict`` writes and ``from_dict`` reads, of every kind of model."""
        return {"oneOf": [form for model in ErrorModel._kinds().values() for form in model._json_forms()]}

    @classmethod
    def _json_forms(cls) -> list[dict[str, Any]]:
        return [_json_object(cls.KIND, dict.fromkeys(cls._parameters(), _JSON_PROBABILITY), optional=("failure",))]

    @staticmethod
    def from_dict(spec: dict[str, Any]) -> ErrorModel:
        """The model of a JSON form. Raises ValueError or TypeError naming the key that is wrong."""
        kinds = ErrorModel._kinds()
        kind = spec.get("model")
        if kind not in kinds:
            raise ValueError(f"model is {kind!r}; allowed are {', '.join(sorted(kinds))}")
        return kinds[kind]._from_fields({key: value for key, value in spec.items() if key != "model"})

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Self:
        parameters = inspect.signature(cls).parameters
        _check_keys(cls.KIND, fields, list(parameters))
        for name, parameter in parameters.items():
            if parameter.default is parameter.empty and name not in fields:
                raise ValueError(f"the model {cls.KIND!r} lacks its parameter {name!r}")
        return cls(**fields)


def _check_keys(kind: str, fields: dict[str, Any], allowed: Sequence[str]) -> None:
    for key in fields:
        if key not in allowed:
            raise ValueError(f"{key!r} is no parameter of the model {kind!r}; allowed are {', '.join(allowed)}")


@dataclass(frozen=True)
class Uniform(ErrorModel):
    """Model 0: each cell is weak with probability ``ber / failure``, independently.

    Args:
        ber: mean bit error rate of a read, from 0 to ``failure``.
        failure: probability F that a read of a weak cell is inverted, above 0, up to 1; 1 makes errors persistent.

    """

    KIND: ClassVar[str] = "uniform"
    ber: float
    failure: float = 1.0

    def __post_init__(self) -> None:
        _check_probability("failure", self.failure, low_open=True)
        _check_probability("ber", self.ber)
        if self.ber > self.failure:
            raise ValueError(f"ber is {self.ber}; allowed is at most failure ({self.failure})")

    @property
    def ber_zero(self) -> float:  # type: ignore[override]
        """Bit error rate of a cell that stores 0."""
        return self.ber

    @property
    def ber_one(self) -> float:  # type: ignore[override]
        """Bit error rate of a cell that stores 1."""
        return self.ber

    def scaled(self, ber: float) -> Self:
        """The same model at another bit error rate."""
        return dataclasses.replace(self, ber=ber)


@dataclass(frozen=True)
class DataDependent(ErrorModel):
    """Model 3: a cell is weak for a stored value v if its one mark is below ``ber_v / failure``.

    Args:
        ber_zero: bit error rate of cells that store 0, from 0 to ``failure``.
        ber_one: bit error rate of cells that store 1, from 0 to ``failure``.
        failure: probability F that a read of a weak cell is inverted, above 0, up to 1.

    """

    KIND: ClassVar[str] = "data_dependent"
    ber_zero: float
    ber_one: float
    failure: float = 1.0

    def __post_init__(self) -> None:
        _check_probability("failure", self.failure, low_open=True)
        for name in ("ber_zero", "ber_one"):
            rate = _check_probability(name, getattr(self, name))
            if rate > self.failure:
                raise ValueError(f"{name} is {rate}; allowed is at most failure ({self.failure})")

    @property
    def ber(self) -> float:  # type: ignore[override]
        """Mean bit error rate over stored zeros and ones in equal number."""
        return 0.5 * (self.ber_zero + self.ber_one)

    def scaled(self, ber: float) -> Self:
        """The same asymmetry at another mean bit error rate."""
        _check_probability("ber", ber)
        if ber > self.failure:
            raise ValueError(f"ber is {ber}; allowed is at most failure ({self.failure})")
        zero, one = _core.scale_stored_rates(self.ber_zero, self.ber_one, self.failure, ber)
        return dataclasses.replace(self, ber_zero=zero, ber_one=one)


class _ByContent:
    """Equality and hash of a frozen dataclass that holds arrays."""

    def _content(self) -> tuple[Any, ...]:
        values = (getattr(self, field.name) for field in dataclasses.fields(self))  # type: ignore[arg-type]
        return tuple((value.dtype.str, value.tobytes()) if isinstance(value, np.ndarray) else value for value in values)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self is other or self._content() == other._content()

    def __hash__(self) -> int:
        return hash((type(self), self._content()))


@functools.lru_cache(maxsize=64)
def _bin_means(mean: float, dispersion: float) -> NDArray[np.float64]:
    """The mean of a Beta variable over each bin of its upper tail probability; see ``LineModel.line_probabilities``."""
    # Loaded here, as most error models need none of it.
    from scipy import special

    begins = _core.line_bin_begins()
    if dispersion == 0.0 or mean in (0.0, 1.0):
        return _frozen(np.full(begins.size - 1, mean))
    tail = begins / 2.0**_core.LINE_MARK_BITS
    width = np.diff(tail)
    size = (1.0 - dispersion) / dispersion
    a, b = mean * size, (1.0 - mean) * size
    # The quantile x and its complement y, each precise where it is small.
    x, y = special.betainccinv(a, b, tail), special.betaincinv(b, a, tail)
    near_one = y < 0.5
    # Shares of the mean that lie above and below x, and of its complement's that lie above: the integral of x times a
    # Beta density is one of another Beta variable's density. A difference is taken of the share that is small.
    above = np.where(near_one, special.betainc(b, a + 1.0, y), special.betaincc(a + 1.0, b, x))
    below = np.where(near_one, special.betaincc(b, a + 1.0, y), special.betainc(a + 1.0, b, x))
    lacking = np.where(near_one, special.betainc(b + 1.0, a, y), special.betaincc(a, b + 1.0, x))
    shares = np.where(above[1:] < 0.5, np.diff(above), -np.diff(below))
    means = np.where(near_one[1:], 1.0 - (1.0 - mean) * np.diff(lacking) / width, mean * shares / width)
    # The order of the bins outlives rounding.
    means = np.minimum.accumulate(np.clip(means, 0.0, 1.0))
    return _frozen(np.where(means < _NO_PROBABILITY, 0.0, means))


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class LineModel(_ByContent, ErrorModel):
    """What Models 1 and 2 have in common: each line has a probability P of its own that a cell of it is weak.

    In the population form, P is a Beta variable over the lines of all chips, of mean m = ``ber / failure`` and variance
    ``dispersion`` m (1 - m). A line's P is the quantile of the line's mark, a number that belongs to the chip, so lines
    keep their order as the rate rises, and a chip's weak cells at a lower rate are a subset of those at a higher one.
    In the measured form (``measured``) the lines have the rates of a table.

    Args:
        ber: mean bit error rate of a read over all lines, from 0 to ``failure``.
        dispersion: intra-class correlation of the cells of a line: 0, or from 1e-6 to 0.999.
        failure: probability F that a read of a weak cell is inverted, above 0, up to 1.
        geometry: which cells make up a line.
        rates: of the measured form alone, which ``measured`` makes: the lines' bit error rates, a float64 array. Then
            ``ber`` is their mean and ``dispersion`` theirs.

    Raises:
        TypeError, ValueError: naming the argument that is wrong.

    """

    ber: float
    dispersion: float
    failure: float = 1.0
    geometry: Geometry = DEFAULT_GEOMETRY
    rates: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        _check_probability("failure", self.failure, low_open=True)
        _check_probability("ber", self.ber)
        if self.ber > self.failure:
            raise ValueError(f"ber is {self.ber}; allowed is at most failure ({self.failure})")
        _check_probability("dispersion", self.dispersion)
        if not isinstance(self.geometry, Geometry):
            raise TypeError(f"geometry is a {type(self.geometry).__name__}; allowed is an eden.Geometry")
        if self.rates is not None:
            rates = _check_rates(self.rates, self.failure)
            for name, value in zip(("ber", "dispersion"), _moments(rates, self.failure), strict=True):
                if not math.isclose(getattr(self, name), value, rel_tol=1e-9, abs_tol=1e-15):
                    raise ValueError(f"{name} is {getattr(self, name)}; allowed beside rates is theirs, {value}")
            object.__setattr__(self, "rates", rates)
        elif self.dispersion and not LOWEST_DISPERSION <= self.dispersion <= HIGHEST_DISPERSION:
            raise ValueError(
                f"dispersion is {self.dispersion}; allowed is 0, or {LOWEST_DISPERSION:g} to {HIGHEST_DISPERSION:g}"
            )

    @classmethod
    def measured(cls, rates: ArrayLike, failure: float = 1.0, geometry: Geometry = DEFAULT_GEOMETRY) -> Self:
        """The model of lines whose bit error rates were measured.

        Args:
            rates: one-dimensional, the bit error rate of each line, from 0 to ``failure``. Line i has the rate i modulo
                their number, so a table of one subarray's bitlines holds for every subarray.
            failure: probability F that a read of a weak cell is inverted, above 0, up to 1.
            geometry: which cells make up a line.

        Raises:
            TypeError, ValueError: naming the argument that is wrong.

        """
        failure = _check_probability("failure", failure, low_open=True)
        checked = _check_rates(rates, failure)
        ber, dispersion = _moments(checked, failure)
        return cls(ber, dispersion, failure, geometry, checked)

    @property
    def ber_zero(self) -> float:  # type: ignore[override]
        """Bit error rate of a cell that stores 0."""
        return self.ber

    @property
    def ber_one(self) -> float:  # type: ignore[override]
        """Bit error rate of a cell that stores 1."""
        return self.ber

    @property
    def highest_ber(self) -> float:
        """The highest mean bit error rate that ``scaled`` reaches: lines measured without errors stay so."""
        if self.rates is None:
            return self.failure
        return _core.highest_line_ber(self.rates, self.failure)

    def line_probabilities(self) -> NDArray[np.float64]:
        """The table of probabilities that a line's cell is weak, float64.

        Measured: one for each line. Population: one for each bin of a line's mark (docs/operators.md), from the lines
        with the highest probability to those with the lowest; each is the mean over its bin, so that the mean over all
        lines is ``ber / failure`` to rounding.
        """
        if self.rates is not None:
            return np.minimum(self.rates / self.failure, 1.0)
        return _bin_means(self.ber / self.failure, self.dispersion)

    def scaled(self, ber: float) -> Self:
        """The same model at another mean bit error rate.

        The population keeps its dispersion. Measured rates are all multiplied by one number; those that would pass
        ``failure`` stay there and the others take up the rest, so that the mean is met.

        Raises:
            TypeError: if ``ber`` is no number.
            ValueError: for a rate above ``highest_ber``.

        """
        ber = _check_probability("ber", ber)
        if self.rates is None:
            return dataclasses.replace(self, ber=ber)
        if ber > self.highest_ber:
            raise ValueError(
                f"ber is {ber}; allowed is at most {self.highest_ber}: failure ({self.failure}) in every line that was "
                "measured with errors"
            )
        rates = _core.scale_line_rates(self.rates, self.failure, ber)
        return type(self).measured(rates, self.failure, self.geometry)

    def to_dict(self) -> dict[str, Any]:
        """JSON form, with the key ``model`` naming the kind; the measured form has ``rates``, a list of numbers."""
        if self.rates is None:
            own: dict[str, Any] = {"ber": self.ber, "dispersion": self.dispersion}
        else:
            own = {"rates": self.rates.tolist()}
        return {"model": self.KIND, **own, "failure": self.failure, "geometry": self.geometry.to_dict()}

    @classmethod
    def _json_forms(cls) -> list[dict[str, Any]]:
        rest = {"failure": _JSON_PROBABILITY, "geometry": Geometry.json_schema()}
        population = {"ber": _JSON_PROBABILITY, "dispersion": _JSON_PROBABILITY}
        measured = {"rates": {"type": "array", "items": _JSON_PROBABILITY, "minItems": 1}}
        return [_json_object(cls.KIND, {**own, **rest}, optional=tuple(rest)) for own in (population, measured)]

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Self:
        if "geometry" in fields:
            fields = {**fields, "geometry": Geometry.from_dict(fields["geometry"])}
        if "rates" not in fields:
            return super()._from_fields(fields)
        _check_keys(cls.KIND, fields, ("rates", "failure", "geometry"))
        return cls.measured(**fields)


def _check_rates(rates: ArrayLike, failure: float) -> NDArray[np.float64]:
    try:
        array = np.asarray(rates)
    except ValueError as error:
        raise ValueError(f"rates are no array ({error}); allowed is one dimension with one line or more") from error
    if array.dtype.kind not in "iuf":
        raise TypeError(f"rates are of the type {array.dtype}; allowed are numbers from 0 to failure ({failure})")
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"rates have the shape {array.shape}; allowed is one dimension with one line or more")
    wrong = ~((array >= 0.0) & (array <= failure))
    if wrong.any():
        i = int(wrong.argmax())
        raise ValueError(f"rates[{i}] is {array[i]}; allowed is 0 to failure ({failure})")
    return _frozen(array.astype(np.float64))


def _moments(rates: NDArray[np.float64], failure: float) -> tuple[float, float]:
    """Mean of the rates and intra-class correlation of the lines' cells."""
    ber = min(math.fsum(rates) / rates.size, failure)
    mean = ber / failure
    if mean in (0.0, 1.0):
        return ber, 0.0
    variance = math.fsum((rates / failure - mean) ** 2) / rates.size
    return ber, min(variance / (mean * (1.0 - mean)), 1.0)


@dataclass(frozen=True, eq=False)
class Bitline(LineModel):
    """Model 1: the cells of a bitline, a column of a subarray, are weak with one probability, independently.

    See ``LineModel`` for the arguments, and ``Bitline.measured`` for a table of rates. Bitlines are numbered by
    subarray and then by column: line ``subarray * row_bits + column``.
    """

    KIND: ClassVar[str] = "bitline"


@dataclass(frozen=True, eq=False)
class Wordline(LineModel):
    """Model 2: the cells of a wordline, a row, are weak with one probability, independently.

    See ``LineModel`` for the arguments, and ``Wordline.measured`` for a table of rates. Wordlines are numbered in the
    order of their addresses: line ``address // row_bits``.
    """

    KIND: ClassVar[str] = "wordline"


_FLIPS = {"0": (True, False), "1": (False, True), "01": (True, True)}
_FLIPS_NAME = {flips: name for name, flips in _FLIPS.items()}


@dataclass(frozen=True, eq=False)
class CellMap(_ByContent, ErrorModel):
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
        _check_probability("failure", self.failure, low_open=True)
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
            object.__setattr__(self, name, _frozen(array))

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
    def ber(self) -> float:  # type: ignore[override]
        """Mean bit error rate over stored zeros and ones in equal number."""
        return 0.5 * (self.ber_zero + self.ber_one)

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
        _check_probability("ber", ber)
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
            "failure": _JSON_PROBABILITY,
            "cells": {"type": "array", "items": cell},
        }
        return [_json_object(cls.KIND, properties, optional=("failure",))]

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Self:
        _check_keys(cls.KIND, fields, ("bits", "failure", "cells"))
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
