"""Lines and stored value together: the cells of a line are weak with a probability for each value that they store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from eden.memory.errors import JSON_PROBABILITY, ByContent, RatesByValue, check_rates, json_object
from eden.memory.geometry import Geometry
from eden.memory.lines import DEFAULT_GEOMETRY, bin_means, check_population

Marks = Literal["alike", "opposite", "apart"]
"""How the lines that are weak for stored zeros are to those for ones; see ``eden.Bitline.by_value``."""


@dataclass(frozen=True, eq=False)
class LinesByValue(ByContent, RatesByValue):
    """What ``BitlineByValue`` and ``WordlineByValue`` have in common: a line has a probability for each stored value.

    That of value v is a Beta variable over the lines of all chips, of mean m = ``ber_v / failure`` and variance
    ``dispersion`` m (1 - m): the quantile of the line's mark for that value. A cell has one mark, so that it is weak
    for the values whose probability in its line lies above: a chip's weak cells at lower rates are a subset of those at
    higher ones, for each value.
    """

    ber_zero: float
    ber_one: float
    dispersion: float
    failure: float = 1.0
    geometry: Geometry = DEFAULT_GEOMETRY
    marks: Marks = "alike"

    def __post_init__(self) -> None:
        check_rates(self.failure, ber_zero=self.ber_zero, ber_one=self.ber_one)
        check_population(self.dispersion, self.geometry)
        if self.marks not in get_args(Marks):
            raise ValueError(f"marks is {self.marks!r}; allowed are {', '.join(get_args(Marks))}")

    def line_probabilities(self) -> NDArray[np.float64]:
        """The table of probabilities that a line's cell is weak, float64: of zeros, then of ones.

        Each has one for each bin of a line's mark, as ``Bitline`` has, with the mean ``ber_v / failure`` over all.
        """
        return np.concatenate([bin_means(ber / self.failure, self.dispersion) for ber in (self.ber_zero, self.ber_one)])

    def to_dict(self) -> dict[str, Any]:
        """JSON form, with the key ``model`` naming the kind."""
        return {**super().to_dict(), "geometry": self.geometry.to_dict()}

    @classmethod
    def _json_forms(cls) -> list[dict[str, Any]]:
        rates: dict[str, Any] = dict.fromkeys(("ber_zero", "ber_one", "dispersion", "failure"), JSON_PROBABILITY)
        rest = {"geometry": Geometry.json_schema(), "marks": {"enum": list(get_args(Marks))}}
        return [json_object(cls.KIND, {**rates, **rest}, optional=("failure", *rest))]

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Self:
        if "geometry" in fields:
            fields = {**fields, "geometry": Geometry.from_dict(fields["geometry"])}
        return super()._from_fields(fields)


@dataclass(frozen=True, eq=False)
class BitlineByValue(LinesByValue):
    """Models 1 and 3 together: the cells of a bitline are weak with one probability for each value that they store.

    ``eden.Bitline.by_value`` makes one and has the arguments.
    """

    KIND: ClassVar[str] = "bitline_by_value"


@dataclass(frozen=True, eq=False)
class WordlineByValue(LinesByValue):
    """Models 2 and 3 together: the same of wordlines. ``eden.Wordline.by_value`` makes one."""

    KIND: ClassVar[str] = "wordline_by_value"
