"""Error models of a DRAM: which cells of a chip are weak and how often a weak cell's read is inverted.

A cell is weak or not for the life of the chip; each read of a weak cell is inverted with probability ``failure``,
independently. The bit error rate (BER) is the product of both probabilities.
"""

from __future__ import annotations

import abc
import dataclasses
import inspect
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self


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
    def from_dict(spec: dict[str, Any]) -> ErrorModel:
        """The model of a JSON form. Raises ValueError or TypeError naming the key that is wrong."""
        kinds: dict[str, type[ErrorModel]] = {kind.KIND: kind for kind in (Uniform, DataDependent)}
        kind = spec.get("model")
        if kind not in kinds:
            raise ValueError(f"model is {kind!r}; allowed are {', '.join(sorted(kinds))}")
        fields = {key: value for key, value in spec.items() if key != "model"}
        parameters = inspect.signature(kinds[kind]).parameters
        for key in fields:
            if key not in parameters:
                raise ValueError(f"{key!r} is no parameter of the model {kind!r}; allowed are {', '.join(parameters)}")
        for name, parameter in parameters.items():
            if parameter.default is parameter.empty and name not in fields:
                raise ValueError(f"the model {kind!r} lacks its parameter {name!r}")
        return kinds[kind](**fields)


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
        if self.ber == 0.0:
            zero = one = ber
        else:
            zero, one = self.ber_zero * (ber / self.ber), self.ber_one * (ber / self.ber)
            if max(zero, one) > self.failure:
                zero, one = (self.failure if rate > self.failure else 2 * ber - self.failure for rate in (zero, one))
        return dataclasses.replace(self, ber_zero=min(zero, self.failure), ber_one=min(one, self.failure))
