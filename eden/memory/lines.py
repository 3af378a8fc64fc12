"""Models 1 and 2: the cells of a bitline or of a wordline are weak with a probability of its own."""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eden import _core
from eden.memory.errors import (
    JSON_PROBABILITY,
    ByContent,
    OneRate,
    check_keys,
    check_probability,
    check_rates,
    frozen,
    json_object,
)
from eden.memory.geometry import Geometry

if TYPE_CHECKING:
    from eden.memory.lines_by_value import LinesByValue

# Between them the incomplete beta functions keep their digits; 0 is Model 0, all lines alike.
LOWEST_DISPERSION = 1e-6
HIGHEST_DISPERSION = 0.999

DEFAULT_GEOMETRY = Geometry()

# What is below is no probability that a 64-bit threshold can tell from 0.
_NO_PROBABILITY = 1e-100


@functools.lru_cache(maxsize=64)
def bin_means(mean: float, dispersion: float) -> NDArray[np.float64]:
    """The mean of a Beta variable over each bin of its upper tail probability; see ``LineModel.line_probabilities``."""
    # Loaded here, as most error models need none of it.
    from scipy import special

    begins = _core.line_bin_begins()
    if dispersion == 0.0 or mean in (0.0, 1.0):
        return frozen(np.full(begins.size - 1, mean))
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
    return frozen(np.where(means < _NO_PROBABILITY, 0.0, means))


def check_population(dispersion: Any, geometry: Any, of_rates: bool = False) -> None:
    """Raise TypeError or ValueError for what no lines have; ``of_rates`` allows the dispersion of any measured ones."""
    check_probability("dispersion", dispersion)
    if not isinstance(geometry, Geometry):
        raise TypeError(f"geometry is a {type(geometry).__name__}; allowed is an eden.Geometry")
    if not of_rates and dispersion and not LOWEST_DISPERSION <= dispersion <= HIGHEST_DISPERSION:
        raise ValueError(
            f"dispersion is {dispersion}; allowed is 0, or {LOWEST_DISPERSION:g} to {HIGHEST_DISPERSION:g}"
        )


@dataclass(frozen=True, eq=False)
class LineModel(ByContent, OneRate):
    """What Models 1 and 2 have in common: each line has a probability P of its own that a cell of it is weak.

    In the population form, P is a Beta variable over the lines of all chips, of mean m = ``ber / failure`` and variance
    ``dispersion`` m (1 - m). A line's P is the quantile of the line's mark, a number that belongs to the chip, so lines
    keep their order as the rate rises, and a chip's weak cells at a lower rate are a subset of those at a higher one.
    In the measured form (``measured``) the lines have the rates of a table.
    """

    ber: float
    dispersion: float
    failure: float = 1.0
    geometry: Geometry = DEFAULT_GEOMETRY
    rates: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        check_rates(self.failure, ber=self.ber)
        check_population(self.dispersion, self.geometry, of_rates=self.rates is not None)
        if self.rates is not None:
            rates = _check_rates(self.rates, self.failure)
            for name, value in zip(("ber", "dispersion"), _moments(rates, self.failure), strict=True):
                if not math.isclose(getattr(self, name), value, rel_tol=1e-9, abs_tol=1e-15):
                    raise ValueError(f"{name} is {getattr(self, name)}; allowed beside rates is theirs, {value}")
            object.__setattr__(self, "rates", rates)

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
        failure = check_probability("failure", failure, low_open=True)
        checked = _check_rates(rates, failure)
        ber, dispersion = _moments(checked, failure)
        return cls(ber, dispersion, failure, geometry, checked)

    @classmethod
    def by_value(
        cls,
        ber_zero: float,
        ber_one: float,
        dispersion: float,
        failure: float = 1.0,
        geometry: Geometry = DEFAULT_GEOMETRY,
        marks: Literal["alike", "opposite", "apart"] = "alike",
    ) -> LinesByValue:
        """The model of such lines whose cells fail at another rate for stored zeros than for stored ones.

        Args:
            ber_zero: mean bit error rate, over all lines, of cells that store 0, from 0 to ``failure``.
            ber_one: likewise of cells that store 1.
            dispersion: intra-class correlation of the cells of a line, for each value: 0, or from 1e-6 to 0.999.
            failure: probability F that a read of a weak cell is inverted, above 0, up to 1.
            geometry: which cells make up a line.
            marks: how the lines of both values go together. "alike": those in which most zeros fail are those of the
                ones, too. "opposite": they are those in which the fewest ones fail, as in rows of true cells and rows
                of anti-cells. "apart": neither, a line is weak for each value independently.

        Raises:
            TypeError, ValueError: naming the argument that is wrong.

        """
        # Which imports this module.
        from eden.memory.lines_by_value import BitlineByValue, WordlineByValue

        kind = BitlineByValue if issubclass(cls, Bitline) else WordlineByValue
        return kind(ber_zero, ber_one, dispersion, failure, geometry, marks)

    @property
    def highest_ber(self) -> float:
        """The highest mean bit error rate that ``scaled`` reaches: lines measured without errors stay so."""
        if self.rates is None:
            return self.failure
        return _core.highest_line_ber(self.rates, self.failure)

    def line_probabilities(self) -> NDArray[np.float64]:
        """The table of probabilities that a line's cell is weak, float64.

        Measured: one for each line. Population: one for each bin of a line's mark (docs/explanation/memory.md), from
        the lines with the highest probability to those with the lowest; each is the mean over its bin, so that the mean
        over all lines is ``ber / failure`` to rounding.
        """
        if self.rates is not None:
            return np.minimum(self.rates / self.failure, 1.0)
        return bin_means(self.ber / self.failure, self.dispersion)

    def scaled(self, ber: float) -> Self:
        """The same model at another mean bit error rate.

        The population keeps its dispersion. Measured rates are all multiplied by one number; those that would pass
        ``failure`` stay there and the others take up the rest, so that the mean is met.

        Raises:
            TypeError: if ``ber`` is no number.
            ValueError: for a rate above ``highest_ber``.

        """
        ber = check_probability("ber", ber)
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
        rest = {"failure": JSON_PROBABILITY, "geometry": Geometry.json_schema()}
        population = {"ber": JSON_PROBABILITY, "dispersion": JSON_PROBABILITY}
        measured = {"rates": {"type": "array", "items": JSON_PROBABILITY, "minItems": 1}}
        return [json_object(cls.KIND, {**own, **rest}, optional=tuple(rest)) for own in (population, measured)]

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Self:
        if "geometry" in fields:
            fields = {**fields, "geometry": Geometry.from_dict(fields["geometry"])}
        if "rates" not in fields:
            return super()._from_fields(fields)
        check_keys(cls.KIND, fields, ("rates", "failure", "geometry"))
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
    return frozen(array.astype(np.float64))


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

    ``Bitline.measured`` takes a table of rates. Bitlines are numbered by subarray and then by column: line ``subarray *
    row_bits + column``.

    Args:
        ber: mean bit error rate of a read over all lines, from 0 to ``failure``.
        dispersion: intra-class correlation of the cells of a line: 0, or from 1e-6 to 0.999. The lines' probabilities
            P are a Beta variable of mean m = ``ber / failure`` and variance ``dispersion`` m (1 - m).
        failure: probability F that a read of a weak cell is inverted, above 0, up to 1.
        geometry: which cells make up a line.
        rates: of the measured form alone, which ``measured`` makes: the lines' bit error rates, a float64 array. Then
            ``ber`` is their mean and ``dispersion`` theirs.

    Raises:
        TypeError, ValueError: naming the argument that is wrong.
    """

    KIND: ClassVar[str] = "bitline"


@dataclass(frozen=True, eq=False)
class Wordline(LineModel):
    """Model 2: the cells of a wordline, a row, are weak with one probability, independently.

    ``Wordline.measured`` takes a table of rates. Wordlines are numbered in the order of their addresses: line
    ``address // row_bits``. The arguments are those of ``Bitline``.
    """

    KIND: ClassVar[str] = "wordline"
