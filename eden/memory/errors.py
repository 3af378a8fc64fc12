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
from numpy.typing import NDArray

from eden import _core

JSON_PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}


def json_object(kind: str, properties: dict[str, Any], optional: Sequence[str]) -> dict[str, Any]:
    """JSON Schema of the form of one kind of model."""
    return {
        "type": "object",
        "properties": {"model": {"const": kind}, **properties},
        "required": ["model", *(name for name in properties if name not in optional)],
        "additionalProperties": False,
    }


def check_probability(name: str, value: Any, low_open: bool = False) -> float:
    """A number from 0, or above it, to 1. Raises TypeError or ValueError naming it."""
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
        # Which import this module.
        from eden.memory.cell_map import CellMap
        from eden.memory.lines import Bitline, Wordline
        from eden.memory.lines_by_value import BitlineByValue, WordlineByValue

        lines: tuple[type[ErrorModel], ...] = (Bitline, Wordline, BitlineByValue, WordlineByValue)
        models: tuple[type[ErrorModel], ...] = (Uniform, DataDependent, *lines, CellMap)
        return {model.KIND: model for model in models}

    @staticmethod
    def json_schema() -> dict[str, Any]:
        """JSON Schema of the form that ``to_dict`` writes and ``from_dict`` reads, of every kind of model."""
        return {"oneOf": [form for model in ErrorModel._kinds().values() for form in model._json_forms()]}

    @classmethod
    def _json_forms(cls) -> list[dict[str, Any]]:
        return [json_object(cls.KIND, dict.fromkeys(cls._parameters(), JSON_PROBABILITY), optional=("failure",))]

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
        check_keys(cls.KIND, fields, list(parameters))
        for name, parameter in parameters.items():
            if parameter.default is parameter.empty and name not in fields:
                raise ValueError(f"the model {cls.KIND!r} lacks its parameter {name!r}")
        return cls(**fields)


def check_keys(kind: str, fields: dict[str, Any], allowed: Sequence[str]) -> None:
    """Raise ValueError, naming it, for a key that a model has not."""
    for key in fields:
        if key not in allowed:
            raise ValueError(f"{key!r} is no parameter of the model {kind!r}; allowed are {', '.join(allowed)}")


def check_rates(failure: Any, **rates: Any) -> None:
    """Raise TypeError or ValueError for a failure that is no probability above 0, or a rate not from 0 to it."""
    check_probability("failure", failure, low_open=True)
    for name, rate in rates.items():
        if check_probability(name, rate) > failure:
            raise ValueError(f"{name} is {rate}; allowed is at most failure ({failure})")


class OneRate(ErrorModel):
    """A model whose cells fail as often whatever they store."""

    @property
    def ber_zero(self) -> float:  # type: ignore[override]
        """Bit error rate of a cell that stores 0."""
        return self.ber

    @property
    def ber_one(self) -> float:  # type: ignore[override]
        """Bit error rate of a cell that stores 1."""
        return self.ber


class TwoRates(ErrorModel):
    """A model whose cells that store 0 have another rate than those that store 1."""

    @property
    def ber(self) -> float:  # type: ignore[override]
        """Mean bit error rate over stored zeros and ones in equal number."""
        return 0.5 * (self.ber_zero + self.ber_one)


@dataclass(frozen=True)
class Uniform(OneRate):
    """Model 0: each cell is weak with probability ``ber / failure``, independently.

    Args:
        ber: mean bit error rate of a read, from 0 to ``failure``.
        failure: probability F that a read of a weak cell is inverted, above 0, up to 1; 1 makes errors persistent.

    """

    KIND: ClassVar[str] = "uniform"
    ber: float
    failure: float = 1.0

    def __post_init__(self) -> None:
        check_rates(self.failure, ber=self.ber)

    def scaled(self, ber: float) -> Self:
        """The same model at another bit error rate."""
        return dataclasses.replace(self, ber=ber)


class RatesByValue(TwoRates):
    """A model that is told by the rates of stored zeros and of stored ones."""

    ber_zero: float
    ber_one: float

    def scaled(self, ber: float) -> Self:
        """The same asymmetry at another mean bit error rate."""
        check_rates(self.failure, ber=ber)
        return self.with_rates(*_core.scale_stored_rates(self.ber_zero, self.ber_one, self.failure, ber))

    def with_rates(self, ber_zero: float, ber_one: float) -> Self:
        """The same model with other rates, each from 0 to ``failure``."""
        return dataclasses.replace(self, ber_zero=ber_zero, ber_one=ber_one)  # type: ignore[type-var]


@dataclass(frozen=True)
class DataDependent(RatesByValue):
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
        check_rates(self.failure, ber_zero=self.ber_zero, ber_one=self.ber_one)


class ByContent:
    """Equality and hash of a frozen dataclass that holds arrays."""

    def _content(self) -> tuple[Any, ...]:
        values = (getattr(self, field.name) for field in dataclasses.fields(self))  # type: ignore[arg-type]
        return tuple((value.dtype.str, value.tobytes()) if isinstance(value, np.ndarray) else value for value in values)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self is other or self._content() == other._content()

    @functools.cached_property
    def _hash(self) -> int:  # each read looks its region up by the model: many numbers are gone through once
        return hash((type(self), self._content()))

    def __hash__(self) -> int:
        return self._hash

    def __getstate__(self) -> dict[str, Any]:  # another process hashes texts otherwise
        return {name: value for name, value in self.__dict__.items() if name != "_hash"}


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """The array itself, which nobody can write to any more."""
    array.setflags(write=False)
    return array
