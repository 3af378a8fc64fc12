"""Fits Models 0 to 3 to the counts of one operating point and chooses one; what counts of several have in common.

The mathematics is in docs/explanation/fits.md.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from eden.devices.likelihoods.counts import Axis, Counts, StoredValue
from eden.devices.likelihoods.estimates import (
    CONFIDENCE,
    DECISIVE,
    KINDS,
    LEVEL,
    MODEL_NAMES,
    Estimate,
    FittedModel,
    Kind,
    Model,
)
from eden.devices.likelihoods.fit import fit_model
from eden.devices.likelihoods.goodness import Goodness, lines_goodness, reads_goodness
from eden.devices.likelihoods.likelihood import sum_by_reads
from eden.devices.likelihoods.ratios import check_failure, chi2_ratio, student_ratio
from eden.memory.geometry import Geometry
from eden.memory.lines import DEFAULT_GEOMETRY, Bitline, Wordline

# Campaigns drawn for a goodness-of-fit test.
REPLICATES = 199
AXES: tuple[Axis, ...] = ("bitline", "wordline")
# Lines and stored value together.
JOINT = tuple(Kind(axis, True) for axis in AXES)


@dataclass(frozen=True)
class FittedChoice:
    """All models that the counts can tell, and the one that was chosen.

    Attributes:
        chosen: the chosen fit: Model 0 unless another's BIC is more than ``DECISIVE`` below its; lines with a rate for
            each stored value only where theirs is that much below the others'.
        fits: every fit by its name, in the order of the table, without intervals, which take ten times as long.
        goodness: tests of the chosen fit.
        notes: what the counts do not tell, what was assumed, and what the chosen model leaves out, as sentences.

    """

    chosen: FittedModel
    fits: dict[str, FittedModel]
    goodness: tuple[Goodness, ...]
    notes: tuple[str, ...]
    _given: tuple[tuple[StoredValue, Counts], ...] = dataclasses.field(repr=False, compare=False)
    _failure: float | None = dataclasses.field(repr=False, compare=False)

    def fit(self, name: str) -> FittedModel:
        """One of the fits, with its intervals. Raises KeyError for a model that was not fitted."""
        if name == self.chosen.model:
            return self.chosen
        return _fit(name, KINDS[self.fits[name].model], self._given, self._failure)

    def text(self) -> str:
        """The table of the choice, the tests and the notes, as lines for a terminal."""
        lines = ["  model                                     parameters      log-likelihood             BIC"]
        for name, fit in self.fits.items():
            mark = "*" if name == self.chosen.model else " "
            lines.append(
                f"{mark} {MODEL_NAMES[name]:41} {fit.parameters:10} {fit.log_likelihood:19.2f} {fit.bic:15.2f}"
            )
        for test in self.goodness:
            verdict = f"p = {test.p_value:.3g}, {len(test.bins)} classes" if test.bins else "too few counts to test"
            lines.append(f"  goodness of fit, {test.of}: {verdict}")
        return "\n".join([*lines, *(f"  - {note}" for note in self.notes)])


def fit_models(
    *,
    zero: Counts | None = None,
    one: Counts | None = None,
    both: Counts | None = None,
    failure: float | None = None,
    only: Collection[str] | None = None,
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
        only: names of the models to fit, Model 0 ("uniform") among them; all that the counts can tell if None.
        replicates: campaigns drawn for each goodness-of-fit test; 0 for no test.
        seed: of these draws.

    Returns:
        The fits, the choice, its tests, and what the counts do not tell.

    Raises:
        TypeError, ValueError: naming the argument, what was found and what is allowed.

    """
    check_failure(failure)
    given: list[tuple[StoredValue, Counts]] = []
    stored: StoredValue
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
    single = len(given) == 1
    if single:
        notes.append(
            "no Model 3: zeros and ones were not told apart"
            if given[0][0] == "both"
            else f"no Model 3: only stored {given[0][0]}s were counted"
        )
    fits = {
        name: _fit(name, kind, given, failure, intervals=False)
        for name, kind in KINDS.items()
        if (only is None or name in only)
        and (kind.axis is None or kind.axis in axes)
        and not (kind.by_value and single)
    }
    best = _choose(fits).model
    chosen = _fit(best, KINDS[best], given, failure)
    notes = [*_choice_notes(fits, chosen), *notes, *_identification_notes(chosen, given, failure)]
    goodness = _goodness(chosen, given, axes, failure, replicates, seed) if replicates else ()
    for test in goodness:
        if test.p_value < LEVEL:
            notes.append(
                f"{MODEL_NAMES[chosen.model]} does not describe the counts of {test.of}s (p = {test.p_value:.3g}): its "
                "intervals are those of the model, and the truth may lie outside"
                if test.of != "reads"
                else f"weak cells do not share one F (p = {test.p_value:.3g}): the fitted one is a compromise"
            )
    return FittedChoice(chosen, fits, goodness, tuple(notes), tuple(given), failure)


def _fit(
    name: str, kind: Kind, given: Sequence[tuple[StoredValue, Counts]], failure: float | None, intervals: bool = True
) -> FittedModel:
    ratio = chi2_ratio()
    if kind.axis is not None:
        lines = [counts.along(kind.axis) for _, counts in given]
        ratio = student_ratio(
            sum(line.failed.size for line in lines if line is not None), len(given) if kind.by_value else 1
        )
    fit = fit_model([counts for _, counts in given], kind, failure, ratio, intervals)
    stored: tuple[StoredValue, ...] = ("both",)
    if kind.by_value or len(given) == 1:
        stored = tuple(value for value, _ in given)
    return FittedModel(**vars(fit), model=name, stored=stored)


def _choose(fits: dict[str, FittedModel]) -> FittedModel:
    uniform = fits["uniform"]
    joint = [fit for fit in fits.values() if KINDS[fit.model] in JOINT]
    best = min((fit for fit in fits.values() if fit not in joint), key=lambda fit: fit.bic)
    chosen = best if uniform.bic - best.bic > DECISIVE else uniform
    both = min(joint, key=lambda fit: fit.bic, default=chosen)
    return both if chosen.bic - both.bic > DECISIVE else chosen


def _choice_notes(fits: dict[str, FittedModel], chosen: FittedModel) -> list[str]:
    notes = []
    uniform = fits["uniform"]
    others = [fit for fit in fits.values() if fit is not uniform]
    if others:
        best = min(others, key=lambda fit: fit.bic)
        gain = uniform.bic - best.bic
        notes.append(
            f"chose {MODEL_NAMES[chosen.model]}: the BIC of {MODEL_NAMES[best.model]} is {abs(gain):.1f} "
            f"{'below' if gain > 0 else 'above'} that of Model 0, which holds unless it is more than {DECISIVE:g} below"
        )
    # Zeros and ones that fail at different rates make the lines of one value differ from those of the other, so lines
    # are compared with cells that are alike but for their value.
    alike, suffix = (fits["data_dependent"], "_by_value") if "data_dependent" in fits else (uniform, "")
    clusters = [fit for axis in AXES if (fit := fits.get(f"{axis}{suffix}")) and alike.bic - fit.bic > DECISIVE]
    if len(clusters) == len(AXES):
        notes.append(
            "the cells cluster along bitlines and along wordlines (dispersions "
            + " and ".join(f"{fit.dispersion.estimate:.3g}" for fit in clusters if fit.dispersion)
            + "), but a model of the operators has one of them"
        )
    return notes


def _identification_notes(
    chosen: FittedModel, given: Sequence[tuple[StoredValue, Counts]], failure: float | None
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
    given: Sequence[tuple[StoredValue, Counts]],
    axes: Sequence[Axis],
    failure: float | None,
    replicates: int,
    seed: int,
) -> tuple[Goodness, ...]:
    kind = KINDS[chosen.model]
    stored, values = [value for value, _ in given], [counts for _, counts in given]
    if kind in JOINT and kind.axis is not None:
        # Each value's lines against a fit of its own: what they have in common is the dispersion alone.
        of_value = [(_fit(kind.axis, KINDS[kind.axis], [one], failure, intervals=False), one) for one in given]
        tests = [
            lines_goodness([value], [counts], KINDS[kind.axis], kind.axis, fit, replicates, seed)
            for fit, (value, counts) in of_value
        ]
    else:
        tests = [
            lines_goodness(stored, values, kind, axis, chosen, replicates, seed)
            for axis in (axes if kind.axis is None else (kind.axis,))
        ]
    repeated = [(value, counts) for value, counts in given if counts.histogram is not None and counts.failed]
    repeated = [(value, counts) for value, counts in repeated if counts.reads > 1]
    if repeated:
        stored, values = [value for value, _ in repeated], [counts for _, counts in repeated]
        tests.append(reads_goodness(stored, values, chosen.failure.estimate, failure is None, replicates, seed))
    return tuple(tests)


def goodness_of_fit(
    model: Model,
    stored: StoredValue,
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
    check_failure(failure)
    if replicates < 1:
        raise ValueError(f"replicates is {replicates}; allowed is 1 or more")
    name = "uniform" if model == "data_dependent" else model
    kind = KINDS[name]
    every: tuple[Axis, ...] = ("bitline", "wordline")
    axes = [axis for axis in every if counts.along(axis) is not None]
    if kind.axis is not None and kind.axis not in axes:
        raise ValueError(f"the counts have no {kind.axis}s; allowed for {MODEL_NAMES[name]} are counts along them")
    given: list[tuple[StoredValue, Counts]] = [(stored, counts)]
    return _goodness(_fit(name, kind, given, failure, intervals=False), given, axes, failure, replicates, seed)


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
    check_failure(failure)
    if axis is None:
        # Of F, the failures of the cells that failed tell all, whatever their rates: reads of one number add up.
        values = sum_by_reads(counts)
        lines = 0
    else:
        values, lines = [], 0
        for one in counts:
            counted = one.along(axis)
            if counted is None:
                raise ValueError(f"counts {len(values)} have no {axis}s; allowed are counts along them")
            if 0 < one.failed < one.cells:
                values.append(one)
                lines += counted.failed.size
    if not values:
        none = None if axis is None else Estimate(0.0, 0.0, 1.0, False)
        return Common(Estimate(failure or 1.0, failure or 0.0, failure or 1.0, False), none)
    fit = fit_model(values, Kind(axis, True), failure, chi2_ratio(), intervals=axis is None)
    # Intervals of all rates would take far longer than the fit.
    dispersion = fit.dispersion
    if dispersion is not None and dispersion.standard_error is not None and 0.0 < dispersion.estimate < 1.0:
        freedom = max(lines - len(values), 1)
        half = float(scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * dispersion.standard_error
        odds = math.log(dispersion.estimate) - math.log1p(-dispersion.estimate)
        low, high = (1.0 / (1.0 + math.exp(-end)) for end in (odds - half, odds + half))
        dispersion = dataclasses.replace(dispersion, low=low, high=high)
    return Common(fit.failure, dispersion)


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
    check_failure(failure)
    lines = counts.along(axis)
    if lines is None:
        raise ValueError(f"the counts have no {axis}s; allowed are counts along them")
    share = -math.expm1(counts.reads * math.log1p(-failure)) if failure < 1.0 else 1.0
    rates = np.minimum(lines.failed / lines.cells / share, 1.0) * failure
    kind: type[Bitline] | type[Wordline] = Bitline if axis == "bitline" else Wordline
    return kind.measured(rates, failure, geometry)
