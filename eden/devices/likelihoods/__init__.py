"""Maximum-likelihood fits of error models to counts: Models 0 to 3, their intervals, choice and goodness of fit.

What is fitted are plain numbers of one operating point. ``Counts`` holds what was counted while the cells stored one
value: cells that failed, of how many, in how many reads, along which lines. ``fit_models`` fits every model that these
counts can tell, chooses one, and says what the counts do not tell. ``fit_counts`` fits rates to totals alone, whose
repeats vary more than chance makes them, and ``compare_pattern`` asks whether a pattern of zeros and ones fails as its
zeros and ones predict. The mathematics is in docs/explanation/fits.md; likelihoods that every step of a search asks
for are C++.
"""

from eden.devices.likelihoods.counts import Axis, Counts, Lines, StoredValue
from eden.devices.likelihoods.estimates import (
    CONFIDENCE,
    DECISIVE,
    KINDS,
    LEVEL,
    MODEL_NAMES,
    Estimate,
    FittedModel,
    Model,
    information_criterion,
    lines_of,
)
from eden.devices.likelihoods.goodness import Bin, Goodness
from eden.devices.likelihoods.marks import PairedLines, marks_gains
from eden.devices.likelihoods.models import (
    JOINT,
    REPLICATES,
    Common,
    FittedChoice,
    fit_common,
    fit_models,
    goodness_of_fit,
    measured_lines,
)
from eden.devices.likelihoods.totals import PatternTest, compare_pattern, fit_counts

__all__ = [
    "CONFIDENCE",
    "DECISIVE",
    "JOINT",
    "KINDS",
    "LEVEL",
    "MODEL_NAMES",
    "REPLICATES",
    "Axis",
    "Bin",
    "Common",
    "Counts",
    "Estimate",
    "FittedChoice",
    "FittedModel",
    "Goodness",
    "Lines",
    "Model",
    "PairedLines",
    "PatternTest",
    "StoredValue",
    "compare_pattern",
    "fit_common",
    "fit_counts",
    "fit_models",
    "goodness_of_fit",
    "information_criterion",
    "lines_of",
    "marks_gains",
    "measured_lines",
]
