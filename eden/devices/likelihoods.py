"""Maximum-likelihood fits of error models to counts: Models 0 to 3, their intervals, choice and goodness of fit.

What is fitted are plain numbers of one operating point. ``Counts`` holds what was counted while the cells stored one
value: cells that failed, of how many, in how many reads, along which lines. ``fit_models`` fits every model that these
counts can tell, chooses one, and says what the counts do not tell. ``fit_totals`` does the same for totals alone, whose
repeats vary more than chance makes them, and ``compare_pattern`` asks whether a pattern of zeros and ones fails as its
zeros and ones predict. The mathematics is in docs/fits.md and is computed in C++ (``csrc/devices/fit_models.h``).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from eden import _core
from eden.memory.errors import (
    DEFAULT_GEOMETRY,
    HIGHEST_DISPERSION,
    LOWEST_DISPERSION,
    Bitline,
    DataDependent,
    ErrorModel,
    LineModel,
    Uniform,
    Wordline,
)
from eden.memory.geometry import Geometry

Axis = Literal["bitline", "wordline"]
Model = Literal["uniform", "bitline", "wordline", "data_dependent"]
Stored = Literal["zero", "one", "both"]

CONFIDENCE = 0.95
# A difference of BIC above this is "very strong" evidence (Kass and Raftery, J. Am. Stat. Assoc. 90, 1995).
DECISIVE = 10.0
# How often a true hypothesis is refused.
LEVEL = 0.01
# Campaigns drawn for a goodness-of-fit test.
REPLICATES = 199

_ALONG = {"bitline": _core.Along.bitlines, "wordline": _core.Along.wordlines}
_BOUNDS: dict[_core.Bound, Literal["low", "high"] | None] = {
    _core.Bound.none: None,
    _core.Bound.low: "low",
    _core.Bound.high: "high",
}


class _Kind(NamedTuple):
    """A model as the core knows it; ``axis`` None: cells are weak independently of lines."""

    axis: Axis | None
    by_value: bool


# In the order of growing complexity. The operators have the first four; the others show what those leave out.
_KINDS: dict[str, _Kind] = {
    "uniform": _Kind(None, False),
    "bitline": _Kind("bitline", False),
    "wordline": _Kind("wordline", False),
    "data_dependent": _Kind(None, True),
    "bitline_by_value": _Kind("bitline", True),
    "wordline_by_value": _Kind("wordline", True),
}
_NAMES: dict[str, str] = {
    "uniform": "Model 0 (uniform)",
    "bitline": "Model 1 (bitline)",
    "wordline": "Model 2 (wordline)",
    "data_dependent": "Model 3 (data-dependent)",
    "bitline_by_value": "Model 1 with a rate for each stored value",
    "wordline_by_value": "Model 2 with a rate for each stored value",
}


def _whole_numbers(name: str, values: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} is of the type {array.dtype}; allowed are whole numbers")
    if array.ndim != 1:
        raise ValueError(f"{name} has the shape {array.shape}; allowed is one dimension")
    return np.ascontiguousarray(array, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Lines:
    """The cells of every line along one axis, lines without errors included.

    Args:
        cells: int64, one-dimensional: the number of cells of each line; or one int for all.
        failed: int64, one-dimensional: how many of them failed in one read or more.

    Raises:
        TypeError, ValueError: naming the argument, the line, what was found and what is allowed.

    """

    cells: NDArray[np.int64]
    failed: NDArray[np.int64]

    def __post_init__(self) -> None:
        failed = _whole_numbers("failed", self.failed)
        if failed.size == 0:
            raise ValueError("failed holds no lines; allowed is one or more")
        cells = np.asarray(self.cells)
        cells = _whole_numbers("cells", np.full(failed.shape, cells) if cells.ndim == 0 else cells)
        if cells.shape != failed.shape:
            raise ValueError(f"cells has the shape {cells.shape}; allowed is that of failed, {failed.shape}")
        wrong = (cells <= 0) | (failed < 0) | (failed > cells)
        if wrong.any():
            i = int(wrong.argmax())
            raise ValueError(f"line {i}: {failed[i]} of {cells[i]} cells failed; allowed is 0 to the number of cells")
        for name, array in (("cells", cells), ("failed", failed)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)


@dataclass(frozen=True, eq=False)
class Counts:
    """What was counted at one operating point while the cells stored one value.

    Make one with ``of_total``, ``of_lines`` or ``of_cells``.

    Attributes:
        cells: cells that were read.
        failed: those that failed in one read or more.
        reads: reads of each cell.
        failures: reads that failed, of all cells.
        histogram: int64, reads + 1 numbers: the cells that failed in 0, 1, ... of their reads; None for one read.
        bitlines, wordlines: the same cells along lines, if they were counted so.

    """

    cells: int
    failed: int
    reads: int = 1
    failures: int = 0
    histogram: NDArray[np.int64] | None = None
    bitlines: Lines | None = None
    wordlines: Lines | None = None

    @classmethod
    def of_total(cls, errors: int, cells: int) -> Counts:
        """Errors of one read of a number of cells. Raises ValueError unless they are 0 to that number."""
        if not 0 <= errors <= cells or cells < 1:
            raise ValueError(f"errors is {errors}; allowed is 0 to cells ({cells}), which are 1 or more")
        return cls(int(cells), int(errors), failures=int(errors))

    @classmethod
    def of_lines(cls, *, bitlines: Lines | None = None, wordlines: Lines | None = None) -> Counts:
        """Errors of one read, counted along bitlines, wordlines or both.

        Raises:
            ValueError: if neither is given, or if both do not hold the same cells and errors.

        """
        axis = bitlines or wordlines
        if axis is None:
            raise ValueError("neither bitlines nor wordlines are given; allowed is one or both")
        cells, failed = int(axis.cells.sum()), int(axis.failed.sum())
        counts = cls(cells, failed, failures=failed, bitlines=bitlines, wordlines=wordlines)
        counts._check_lines()
        return counts

    @classmethod
    def of_cells(cls, histogram: ArrayLike, *, bitlines: Lines | None = None, wordlines: Lines | None = None) -> Counts:
        """Cells that were each read n times.

        Args:
            histogram: whole numbers, one-dimensional of n + 1: the cells that failed in k = 0, 1, ..., n reads.
            bitlines: the cells of each bitline that failed in one read or more, if counted.
            wordlines: likewise.

        Raises:
            TypeError, ValueError: naming the argument, what was found and what is allowed.

        """
        cells = _whole_numbers("histogram", histogram)
        if cells.size < 2 or (cells < 0).any() or cells.sum() == 0:
            raise ValueError(
                f"histogram is {cells.tolist()}; allowed are the cells that failed in 0, 1, ... reads, at least two "
                "numbers, none below 0 and not all 0"
            )
        counts = cls(
            cells=int(cells.sum()),
            failed=int(cells[1:].sum()),
            reads=cells.size - 1,
            failures=int((cells * np.arange(cells.size)).sum()),
            histogram=cells,
            bitlines=bitlines,
            wordlines=wordlines,
        )
        counts._check_lines()
        return counts

    def _check_lines(self) -> None:
        for name, lines in (("bitlines", self.bitlines), ("wordlines", self.wordlines)):
            if lines is None:
                continue
            cells, failed = int(lines.cells.sum()), int(lines.failed.sum())
            if (cells, failed) != (self.cells, self.failed):
                raise ValueError(
                    f"{name}: {failed} of {cells} cells failed; allowed is the number of all, {self.failed} of "
                    f"{self.cells}"
                )

    def along(self, axis: Axis) -> Lines | None:
        """The lines of an axis, if they were counted."""
        return self.bitlines if axis == "bitline" else self.wordlines

    def _core(self, axes: Sequence[Axis]) -> _core.ValueCounts:
        value = _core.ValueCounts(self.reads, float(self.cells), float(self.failed), float(self.failures))
        for axis in axes:
            lines = self.along(axis)
            if lines is not None:
                value.set_lines(_ALONG[axis], lines.cells, lines.failed)
        return value


@dataclass(frozen=True)
class Estimate:
    """A parameter with its 95% interval.

    Attributes:
        estimate: the most likely value, or what was assumed.
        low: lower end of the interval.
        high: upper end; at a bound the interval is one-sided.
        identified: whether the counts tell it. Where not, ``estimate`` is what was assumed or follows from that.
        bound: the end of its range ("low", "high") that the estimate lies at.
        standard_error: of the parameter's log-odds, from the observed information; None at a bound and where it was
            not fitted.

    """

    estimate: float
    low: float
    high: float
    identified: bool
    bound: Literal["low", "high"] | None = None
    standard_error: float | None = None

    @classmethod
    def _of(cls, fit: _core.ParameterFit) -> Estimate:
        return cls(
            fit.estimate,
            fit.low,
            fit.high,
            fit.identified,
            _BOUNDS[fit.bound],
            fit.deviation if fit.deviation else None,
        )


@dataclass(frozen=True)
class FittedModel:
    """One model, fitted.

    Attributes:
        model: its name.
        stored: which rate is which: ("both",), or ("zero", "one") for a rate of each.
        weak: for each, the probability P that a cell is weak, or its mean over lines.
        ber: for each, the bit error rate P F.
        failure: the probability F that a read of a weak cell is inverted.
        dispersion: the intra-class correlation of the cells of a line, as ``eden.Bitline`` has it; None without lines.
        log_likelihood: of which reads of which cells failed, so that models of different lines can be compared.
        parameters: those that were fitted.
        observations: cells, one for each stored value that it was read with.
        bic: Bayesian information criterion; smaller is better.

    """

    model: str
    stored: tuple[Stored, ...]
    weak: tuple[Estimate, ...]
    ber: tuple[Estimate, ...]
    failure: Estimate
    dispersion: Estimate | None
    log_likelihood: float
    parameters: int
    observations: int
    bic: float

    @property
    def selectable(self) -> bool:
        """Whether the operators have this model."""
        return self.model in ("uniform", "bitline", "wordline", "data_dependent")

    def error_model(self, geometry: Geometry = DEFAULT_GEOMETRY) -> ErrorModel:
        """The error model with these estimates.

        A dispersion that is too small for the operators' table is 0 in it, one that is too large their largest.

        Args:
            geometry: which cells make up a line, for Models 1 and 2.

        Raises:
            ValueError: for a fit that the operators have no model for.

        """
        failure = self.failure.estimate
        rates = [min(rate.estimate, failure) for rate in self.ber]
        if self.model == "uniform":
            return Uniform(rates[0], failure)
        if self.model == "data_dependent":
            return DataDependent(rates[0], rates[1], failure)
        if not self.selectable or self.dispersion is None:
            raise ValueError(f"no error model of eden has {_NAMES[self.model]}; allowed are Models 0 to 3")
        dispersion = self.dispersion.estimate
        dispersion = 0.0 if dispersion < LOWEST_DISPERSION else min(dispersion, HIGHEST_DISPERSION)
        kind: type[LineModel] = Bitline if self.model == "bitline" else Wordline
        return kind(rates[0], dispersion, failure, geometry)


@dataclass(frozen=True)
class Bin:
    """One class of counts of a goodness-of-fit test, as a plot needs it.

    Attributes:
        stored: the value that the cells stored.
        size: cells of the lines, or reads of a cell.
        low: the least count of the class: cells that failed in a line, or reads that failed of a cell.
        high: the largest.
        observed: lines (or cells) with such counts.
        expected: how many the fit expects.

    """

    stored: Stored
    size: int
    low: int
    high: int
    observed: float
    expected: float


@dataclass(frozen=True)
class Goodness:
    """Whether counts look like the chosen model's.

    Attributes:
        of: what was tested: the lines of an axis, or the reads of cells that failed.
        bins: classes of counts; empty where there is too little to test.
        statistic: Pearson's.
        p_value: the share of campaigns drawn from the fit, each fitted again, whose statistic is as large.
        replicates: campaigns that were drawn.

    """

    of: Literal["bitline", "wordline", "reads"]
    bins: tuple[Bin, ...]
    statistic: float
    p_value: float
    replicates: int


@dataclass(frozen=True)
class FittedChoice:
    """All models that the counts can tell, and the one that was chosen.

    Attributes:
        chosen: the chosen fit: Model 0 unless another's BIC is more than ``DECISIVE`` below its.
        fits: every fit by its name, in the order of the table.
        goodness: tests of the chosen fit.
        notes: what the counts do not tell, what was assumed, and what the chosen model leaves out, as sentences.

    """

    chosen: FittedModel
    fits: dict[str, FittedModel]
    goodness: tuple[Goodness, ...]
    notes: tuple[str, ...]

    def text(self) -> str:
        """The table of the choice, the tests and the notes, as lines for a terminal."""
        lines = ["  model                                     parameters      log-likelihood             BIC"]
        for name, fit in self.fits.items():
            mark = "*" if fit is self.chosen else " "
            lines.append(f"{mark} {_NAMES[name]:41} {fit.parameters:10} {fit.log_likelihood:19.2f} {fit.bic:15.2f}")
        for test in self.goodness:
            verdict = f"p = {test.p_value:.3g}, {len(test.bins)} classes" if test.bins else "too few counts to test"
            lines.append(f"  goodness of fit, {test.of}: {verdict}")
        return "\n".join([*lines, *(f"  - {note}" for note in self.notes)])


def _ratio(readings: int, rates: int) -> float:
    """Twice the fall of the log-likelihood at an interval's ends: Student's interval in the limit of normal readings.

    n ln(1 + t^2 / (n - g)) for n readings of g rates; see ``fit_counts``.
    """
    freedom = readings - rates
    quantile = float(scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, freedom))
    return readings * math.log1p(quantile**2 / freedom)


def _failure(failure: float | None) -> None:
    if failure is not None and not 0.0 < failure <= 1.0:
        raise ValueError(f"failure is {failure}; allowed is above 0, up to 1, or None")


def fit_models(
    *,
    zero: Counts | None = None,
    one: Counts | None = None,
    both: Counts | None = None,
    failure: float | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> FittedChoice:
    """Fit Models 0 to 3 to the counts of one operating point and choose one.

    The counts of different values are taken for those of different cells. Where the same cells stored one value and
    then the other, each rate's interval holds as it is, but a common rate's is too short: fit the values one by one.

    Args:
        zero: counts of cells that stored 0.
        one: counts of cells that stored 1.
        both: instead of these, counts of cells whose stored values are not told apart. Model 3 is not fitted then, nor
            if only one value was counted.
        failure: F, if it is known. If None, it is fitted where cells were read more than once, and taken for 1, and
            reported as not identified, where they were not.
        replicates: campaigns drawn for each goodness-of-fit test; 0 for no test.
        seed: of these draws.

    Returns:
        The fits, the choice, its tests, and what the counts do not tell.

    Raises:
        TypeError, ValueError: naming the argument, what was found and what is allowed.

    """
    _failure(failure)
    given: list[tuple[Stored, Counts]] = []
    stored: Stored
    for stored, counts in (("zero", zero), ("one", one), ("both", both)):
        if counts is not None:
            given.append((stored, counts))
    if not given or (both is not None and len(given) > 1):
        names = ", ".join(name for name, _ in given) or "nothing"
        raise ValueError(f"counts of {names} are given; allowed are zero, one, or both of these, or both alone")
    if replicates < 0:
        raise ValueError(f"replicates is {replicates}; allowed is 0 or more")
    axes: list[Axis] = []
    notes: list[str] = []
    axis: Axis
    for axis in ("bitline", "wordline"):
        counted = [counts.along(axis) for _, counts in given]
        lines = sum(line.failed.size for line in counted if line is not None)
        if any(line is None for line in counted):
            notes.append(f"no model of {axis}s: cells were not counted along them for every stored value")
        elif lines < 2 + len(given):
            notes.append(f"no model of {axis}s: {lines} of them; allowed are more than {1 + len(given)}")
        else:
            axes.append(axis)
    values = [counts._core(axes) for _, counts in given]
    single = len(given) == 1
    if single:
        notes.append(
            "no Model 3: zeros and ones were not told apart"
            if given[0][0] == "both"
            else f"no Model 3: only stored {given[0][0]}s were counted"
        )
    fits = {
        name: _fit(name, kind, values, given, failure)
        for name, kind in _KINDS.items()
        if (kind.axis is None or kind.axis in axes) and not (kind.by_value and single)
    }
    chosen = _choose(fits)
    notes = [*_choice_notes(fits, chosen), *notes, *_identification_notes(chosen, given, failure)]
    goodness = _goodness(chosen, values, given, axes, failure, replicates, seed) if replicates else ()
    for test in goodness:
        if test.p_value < LEVEL:
            notes.append(
                f"{_NAMES[chosen.model]} does not describe the counts of {test.of}s (p = {test.p_value:.3g}): its "
                "intervals are those of the model, and the truth may lie outside"
                if test.of != "reads"
                else f"weak cells do not share one F (p = {test.p_value:.3g}): the fitted one is a compromise"
            )
    return FittedChoice(chosen, fits, goodness, tuple(notes))


def _fit(
    name: str,
    kind: _Kind,
    values: Sequence[_core.ValueCounts],
    given: Sequence[tuple[Stored, Counts]],
    failure: float | None,
    intervals: bool = True,
) -> FittedModel:
    rates = len(given) if kind.by_value else 1
    ratio = float(scipy.stats.chi2.ppf(CONFIDENCE, 1))
    if kind.axis is not None:
        lines = [counts.along(kind.axis) for _, counts in given]
        ratio = _ratio(sum(line.failed.size for line in lines if line is not None), rates)
    along = _core.Along.nothing if kind.axis is None else _ALONG[kind.axis]
    fit = _core.fit_model(values, along, kind.by_value, failure, ratio, 1.0 - CONFIDENCE, intervals)
    stored: tuple[Stored, ...] = ("both",)
    if kind.by_value or len(given) == 1:
        stored = tuple(value for value, _ in given)
    return FittedModel(
        model=name,
        stored=stored,
        weak=tuple(map(Estimate._of, fit.weak)),
        ber=tuple(map(Estimate._of, fit.ber)),
        failure=Estimate._of(fit.failure),
        dispersion=None if kind.axis is None else Estimate._of(fit.dispersion),
        log_likelihood=fit.log_likelihood,
        parameters=fit.parameters,
        observations=fit.observations,
        bic=_core.bayesian_information_criterion(fit.log_likelihood, fit.parameters, fit.observations),
    )


def _choose(fits: dict[str, FittedModel]) -> FittedModel:
    uniform = fits["uniform"]
    best = min((fit for fit in fits.values() if fit.selectable), key=lambda fit: fit.bic)
    return best if uniform.bic - best.bic > DECISIVE else uniform


def _choice_notes(fits: dict[str, FittedModel], chosen: FittedModel) -> list[str]:
    notes = []
    uniform = fits["uniform"]
    others = [fit for fit in fits.values() if fit.selectable and fit is not uniform]
    if others:
        best = min(others, key=lambda fit: fit.bic)
        gain = uniform.bic - best.bic
        notes.append(
            f"chose {_NAMES[chosen.model]}: the BIC of {_NAMES[best.model]} is {abs(gain):.1f} "
            f"{'below' if gain > 0 else 'above'} that of Model 0, which holds unless it is more than {DECISIVE:g} below"
        )
    notes += [
        f"{_NAMES[fit.model]} would be better still (BIC {chosen.bic - fit.bic:.1f} below), but no model of the "
        "operators has both lines and data dependence: the chosen one leaves out the other"
        for fit in fits.values()
        if not fit.selectable and chosen.bic - fit.bic > DECISIVE
    ]
    # Zeros and ones that fail at different rates make the lines of one value differ from those of the other, so lines
    # are compared with cells that are alike but for their value.
    alike, suffix = (fits["data_dependent"], "_by_value") if "data_dependent" in fits else (uniform, "")
    clusters = [fit for axis in _ALONG if (fit := fits.get(f"{axis}{suffix}")) and alike.bic - fit.bic > DECISIVE]
    if len(clusters) == len(_ALONG):
        notes.append(
            "the cells cluster along bitlines and along wordlines (dispersions "
            + " and ".join(f"{fit.dispersion.estimate:.3g}" for fit in clusters if fit.dispersion)
            + "), but a model of the operators has one of them"
        )
    return notes


def _identification_notes(
    chosen: FittedModel, given: Sequence[tuple[Stored, Counts]], failure: float | None
) -> list[str]:
    notes = []
    if not any(counts.failed for _, counts in given):
        notes.append("no cell failed: the rates are 0 with an upper limit")
    if failure is not None:
        notes.append(f"F = {failure:g} was given")
    elif not chosen.failure.identified:
        reason = (
            "no cell was read more than once" if all(counts.reads == 1 for _, counts in given) else "no cell failed"
        )
        if any(counts.reads > 1 and counts.failed for _, counts in given):
            reason = "no cell failed in more than one of its reads"
            notes.append(f"P and F are not identified, only their product: {reason}")
        else:
            notes.append(
                f"P and F are not identified, only their product: {reason}; assumed F = {chosen.failure.estimate:g}"
            )
    return notes


def _goodness(
    chosen: FittedModel,
    values: Sequence[_core.ValueCounts],
    given: Sequence[tuple[Stored, Counts]],
    axes: Sequence[Axis],
    failure: float | None,
    replicates: int,
    seed: int,
) -> tuple[Goodness, ...]:
    kind = _KINDS[chosen.model]
    along = _core.Along.nothing if kind.axis is None else _ALONG[kind.axis]
    tests: list[Goodness] = []

    def add(of: Literal["bitline", "wordline", "reads"], test: _core.Goodness, stored: Sequence[Stored]) -> None:
        bins = tuple(
            Bin(stored[b.value], int(b.cells), int(b.low), int(b.high), b.observed, b.expected) for b in test.bins
        )
        tests.append(Goodness(of, bins, test.statistic, test.p_value, test.replicates))

    fit = _core.fit_model(values, along, kind.by_value, failure, 3.84, 1.0 - CONFIDENCE, False)
    for axis in axes if kind.axis is None else (kind.axis,):
        test = _core.lines_goodness(values, along, kind.by_value, _ALONG[axis], fit, replicates, seed)
        add(axis, test, [value for value, _ in given])
    repeated = [(value, counts) for value, counts in given if counts.reads > 1 and counts.failed]
    if repeated:
        histograms = [
            counts.histogram[1:].astype(float).tolist() for _, counts in repeated if counts.histogram is not None
        ]
        fitted = failure is None
        test = _core.reads_goodness(histograms, chosen.failure.estimate, fitted, replicates, seed)
        add("reads", test, [value for value, _ in repeated])
    return tuple(tests)


def goodness_of_fit(
    model: Model,
    stored: Stored,
    counts: Counts,
    *,
    failure: float | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> tuple[Goodness, ...]:
    """Ask whether one stored value's counts look like a given model's, chosen or not.

    Args:
        model: the model; for one value, Model 3 is Model 0.
        stored: which value it is, for the bins.
        counts: what was counted.
        failure: F, if it is known; fitted if None, as in ``fit_models``.
        replicates: campaigns drawn for each test.
        seed: of these draws.

    Returns:
        The tests of lines (those of the model's axis, or of both axes for Models 0 and 3) and of repeated reads, as far
        as they were counted.

    Raises:
        ValueError: for lines that were not counted, or an argument outside what is allowed.

    """
    _failure(failure)
    if replicates < 1:
        raise ValueError(f"replicates is {replicates}; allowed is 1 or more")
    name = "uniform" if model == "data_dependent" else model
    kind = _KINDS[name]
    every: tuple[Axis, ...] = ("bitline", "wordline")
    axes = [axis for axis in every if counts.along(axis) is not None]
    if kind.axis is not None and kind.axis not in axes:
        raise ValueError(f"the counts have no {kind.axis}s; allowed for {_NAMES[name]} are counts along them")
    given = [(stored, counts)]
    values = [counts._core(axes)]
    fit = _fit(name, kind, values, given, failure, intervals=False)
    return _goodness(fit, values, given, axes, failure, replicates, seed)


@dataclass(frozen=True)
class Common:
    """What counts of several operating points, stored values or banks have in common.

    Attributes:
        failure: the probability F that a read of a weak cell is inverted.
        dispersion: the intra-class correlation of the cells of a line, its interval from the observed information; None
            without an axis.

    """

    failure: Estimate
    dispersion: Estimate | None


def fit_common(counts: Iterable[Counts], axis: Axis | None = None, failure: float | None = None) -> Common:
    """Fit the F, or the dispersion of the lines of an axis, that counts share, each of them with a rate of its own.

    Args:
        counts: of any number of operating points and stored values; taken one after another, so that a generator keeps
            no more than one in memory. Those in which nothing or everything failed tell no dispersion and are left out
            of it.
        axis: along which lines; None: F alone is wanted.
        failure: F, if it is known.

    Raises:
        ValueError: for no counts, or an argument outside what is allowed.

    """
    _failure(failure)
    along = _core.Along.nothing if axis is None else _ALONG[axis]
    if axis is None:
        # Of F, the failures of the cells that failed tell all, whatever their rates: reads of one number add up.
        sums: dict[int, Counts] = {}
        for one in counts:
            before = sums.get(one.reads, Counts(0, 0, one.reads))
            cells, failed, failures = (
                getattr(before, name) + getattr(one, name) for name in ("cells", "failed", "failures")
            )
            sums[one.reads] = Counts(cells, failed, one.reads, failures)
        values = [one._core([]) for one in sums.values()]
        lines = 0
    else:
        values, lines = [], 0
        for one in counts:
            counted = one.along(axis)
            if counted is None:
                raise ValueError(f"counts {len(values)} have no {axis}s; allowed are counts along them")
            if 0 < one.failed < one.cells:
                values.append(one._core([axis]))
                lines += counted.failed.size
    if not values:
        none = None if axis is None else Estimate(0.0, 0.0, 1.0, False)
        return Common(Estimate(failure or 1.0, failure or 0.0, failure or 1.0, False), none)
    ratio = float(scipy.stats.chi2.ppf(CONFIDENCE, 1))
    fit = _core.fit_model(values, along, True, failure, ratio, 1.0 - CONFIDENCE, axis is None)
    if axis is None:
        return Common(Estimate._of(fit.failure), None)
    # Intervals of all rates would take far longer than the fit.
    dispersion = Estimate._of(fit.dispersion)
    if dispersion.standard_error is not None and 0.0 < dispersion.estimate < 1.0:
        freedom = max(lines - len(values), 1)
        half = float(scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * dispersion.standard_error
        odds = math.log(dispersion.estimate) - math.log1p(-dispersion.estimate)
        low, high = (1.0 / (1.0 + math.exp(-end)) for end in (odds - half, odds + half))
        dispersion = dataclasses.replace(dispersion, low=low, high=high)
    return Common(Estimate._of(fit.failure), dispersion)


def measured_lines(
    axis: Axis, counts: Counts, failure: float = 1.0, geometry: Geometry = DEFAULT_GEOMETRY
) -> Bitline | Wordline:
    """The measured form of Models 1 and 2: every line with the rate that was counted on it.

    Args:
        axis: along which lines.
        counts: cells counted along them.
        failure: F; ``FittedModel.failure`` of repeated reads.
        geometry: which cells make up a line.

    Returns:
        The model whose line i has the bit error rate F S / (C q), S of its C cells having failed at least once in n
        reads, q = 1 - (1 - F)^n; at most F.

    Raises:
        ValueError: if the cells were not counted along these lines.

    """
    _failure(failure)
    lines = counts.along(axis)
    if lines is None:
        raise ValueError(f"the counts have no {axis}s; allowed are counts along them")
    share = -math.expm1(counts.reads * math.log1p(-failure)) if failure < 1.0 else 1.0
    rates = np.minimum(lines.failed / lines.cells / share, 1.0) * failure
    kind: type[Bitline] | type[Wordline] = Bitline if axis == "bitline" else Wordline
    return kind.measured(rates, failure, geometry)


def fit_counts(groups: Sequence[Sequence[tuple[float, float]]], dispersion: float | None = None) -> _core.RateFit:
    """One rate per group of readings and one dispersion for all, by maximum likelihood, with 95% intervals.

    With a fitted dispersion the likelihood ratio at an interval's ends is n ln(1 + t^2 / (n - g)) for n readings of g
    rates, with Student's t: in the normal limit that makes intervals from few readings exact, where the usual
    chi-square limit would make them too short.

    Args:
        groups: readings as (errors, cells), grouped by rate.
        dispersion: variance of the logarithm of the odds between readings, fitted if None.

    Raises:
        ValueError: for counts that are none, or a dispersion that these readings cannot tell.

    """
    readings = sum(map(len, groups))
    freedom = readings - len(groups)
    if dispersion is None and freedom > 0:
        quantile = float(scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, freedom))
        ratio = readings * math.log1p(quantile**2 / freedom)
    else:
        ratio = float(scipy.stats.chi2.ppf(CONFIDENCE, 1))
    return _core.fit_rates(groups, ratio, 1.0 - CONFIDENCE, dispersion)


@dataclass(frozen=True)
class FittedTotals:
    """Models 0 and 3 fitted to totals, of which only P F is identified.

    Attributes:
        model: the chosen one: Model 0 unless Model 3's BIC is more than ``DECISIVE`` below.
        stored: which rate is which.
        ber: the rates of the chosen model.
        failure: what was assumed; not identified.
        dispersion: phi, the variance of the log-odds of the rate between readings, common to all.
        bic: of each model that was fitted.
        notes: as sentences.

    """

    model: Model
    stored: tuple[Stored, ...]
    ber: tuple[Estimate, ...]
    failure: Estimate
    dispersion: float
    bic: dict[Model, float]
    notes: tuple[str, ...]

    def error_model(self) -> ErrorModel:
        """The error model with these estimates."""
        rates = [min(rate.estimate, self.failure.estimate) for rate in self.ber]
        if self.model == "uniform":
            return Uniform(rates[0], self.failure.estimate)
        return DataDependent(rates[0], rates[1], self.failure.estimate)


def fit_totals(
    *,
    zero: Sequence[tuple[float, float]] = (),
    one: Sequence[tuple[float, float]] = (),
    failure: float = 1.0,
    dispersion: float | None = None,
) -> FittedTotals:
    """Fit Models 0 and 3 to totals of repeated readings, which differ by more than chance.

    Args:
        zero: readings (errors, cells) of cells that stored 0: one for each repeat, bank or module that is to share a
            rate. Their rates vary by ``dispersion``.
        one: likewise of cells that stored 1.
        failure: F, which totals do not tell.
        dispersion: phi, if it is known; fitted if None.

    Raises:
        ValueError: for no readings, for counts that are none, or for a dispersion that these readings do not tell.

    """
    _failure(failure)
    zeros, ones = list(zero), list(one)
    stored: tuple[Stored, ...]
    if not zeros and not ones:
        raise ValueError("no readings of zeros or ones; allowed is one or more")
    fits = {"uniform": fit_counts([zeros + ones], dispersion)}
    if zeros and ones:
        fits["data_dependent"] = fit_counts([zeros, ones], dispersion)
    bic: dict[Model, float] = {}
    model: Model
    for model in ("uniform", "data_dependent"):
        if model in fits:
            fit = fits[model]
            bic[model] = _core.bayesian_information_criterion(fit.log_likelihood, fit.parameters, fit.observations)
    model = (
        "data_dependent" if "data_dependent" in bic and bic["uniform"] - bic["data_dependent"] > DECISIVE else "uniform"
    )
    fit = fits[model]
    stored = ("zero", "one") if model == "data_dependent" else ("both",)
    if model == "uniform" and not (zeros and ones):
        stored = ("zero",) if zeros else ("one",)
    bounds: list[Literal["low", "high"] | None] = [
        "low" if rate.estimate == 0.0 else "high" if rate.estimate == 1.0 else None for rate in fit.rates
    ]
    notes = [f"P and F are not identified by totals, only their product; assumed F = {failure:g}"]
    if not (zeros and ones):
        notes.append("no Model 3: only one stored value was counted")
    notes.append("no Models 1 and 2: totals do not tell lines")
    return FittedTotals(
        model=model,
        stored=stored,
        ber=tuple(
            Estimate(rate.estimate, rate.low, rate.high, True, bound)
            for rate, bound in zip(fit.rates, bounds, strict=True)
        ),
        failure=Estimate(failure, 0.0, 1.0, False),
        dispersion=fit.dispersion,
        bic=bic,
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class PatternTest:
    """Whether a pattern fails at the rate that its zeros and ones predict.

    Attributes:
        own: the pattern's own rate.
        predicted: the mean of the zeros' and the ones' rates, by their shares.
        statistic: twice the logarithm of the ratio of likelihoods.
        p_value: the probability of a statistic as large where the prediction holds.
        level: at which it is refused.

    """

    own: float
    predicted: float
    statistic: float
    p_value: float
    level: float

    @property
    def own_factor(self) -> bool:
        """Whether the pattern is a factor of its own: the prediction is refused at ``level``."""
        return self.p_value < self.level


def compare_pattern(
    zero: Sequence[tuple[float, float]],
    one: Sequence[tuple[float, float]],
    pattern: Sequence[tuple[float, float]],
    *,
    share_of_ones: float = 0.5,
    level: float = LEVEL,
) -> PatternTest:
    """Ask by a likelihood ratio whether a pattern such as 0xaa or 0xcc is predicted by its zeros and ones.

    The rates of all readings vary by one dispersion. With n readings of three rates, n - 3 of them are left to tell
    it, and the statistic's distribution is that of n ln(1 + t^2 / (n - 3)) with Student's t.

    Args:
        zero: readings (errors, cells) of cells that all stored 0.
        one: readings of cells that all stored 1.
        pattern: readings of the pattern.
        share_of_ones: the share of its cells that store 1.
        level: the probability at which a prediction that holds is refused.

    Raises:
        ValueError: for fewer than four readings, none of one kind, none with errors, or a share outside 0 to 1.

    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}; allowed is between 0 and 1")
    fit = _core.fit_pattern(list(zero), list(one), list(pattern), share_of_ones)
    statistic = max(0.0, 2 * (fit.log_likelihood_own - fit.log_likelihood_predicted))
    freedom = fit.readings - 3
    student = math.sqrt(freedom * math.expm1(statistic / fit.readings))
    return PatternTest(fit.own, fit.predicted, statistic, float(2 * scipy.stats.t.sf(student, freedom)), level)
