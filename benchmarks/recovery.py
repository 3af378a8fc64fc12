"""Do the fits give back what campaigns were drawn from, with intervals that hold and a choice that is right?

For each of Models 0 to 3, and for lines with a rate for each stored value, campaigns are drawn cell by cell with
parameters from wide ranges, fitted with
``eden.devices.likelihoods.fit_models``, and compared with what they were drawn from. The n-th campaign has the seed
``--seed`` + n.

- Coverage: the share of 95% intervals that hold the truth, for each parameter that the counts identify. Where an
  estimate lies at a bound (P = 0, rho = 0, F = 1) the interval is one-sided; those campaigns are counted apart as well.
- Width: that of the interval over that of the asymptotic one, 2 x 1.96 standard errors of the log-odds by the observed
  Fisher information, in log-odds, for two-sided intervals with both ends inside the range.
- Choice: each campaign is drawn again ``--redraws`` times with other seeds to estimate the expectation of the
  difference of BIC between Model 0 and the true one. Where it is 20 or more the true model is to be chosen, where it is
  below 10 Model 0; in between nothing is asked. Where fewer than 10 lines are expected to have failed, the expectation
  is one of rare campaigns in which a bad line was met, and the others show nothing to choose by: these are counted
  apart.

Asked are 93% of all intervals, in 500 campaigns or more (below that, what a share of 93% lets one expect at 5% over all
parameters together, the column "least"); a median width of at most 1.25; and 95% of the choices, less what chance takes
from a share of 95% at 5% ("at least").

Ranges, each drawn log-uniformly: P 1e-7 to 0.3, rho 1e-4 to 0.5, F 0.05 to 1, lines 16 to 65,536, cells of a line 512
to 65,536, reads of a cell 2 to 64; in a quarter of the campaigns each cell is read once, and F is 1. Cells are at most
2^32 and those expected to fail at most 2^18: a line's cells are reduced until they are (to no fewer than 64). In half
of the campaigns of Models 0 to 2, and in all others, two arrays are drawn, one for each stored value. Lines with a rate
for each value are held against the best of Models 0 to 3, and chosen where a device's fit has them: by a BIC of more
than 10.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from scipy import special, stats
from simulated_counts import simulate_counts

from eden.devices.likelihoods import KINDS, Counts, Estimate, FittedChoice, fit_models
from eden.devices.likelihoods.fit import fit_model

MODELS = tuple(KINDS)
JOINT = tuple(name for name, kind in KINDS.items() if kind.axis and kind.by_value)
MOST_CELLS = 2**32
MOST_FAILED = 2**18
LEAST_COVERAGE = 0.93
WIDEST = 1.25
LEAST_CHOSEN = 0.95
LIKELY, UNLIKELY = 20.0, 10.0
FEW_LINES = 10.0


@dataclass(frozen=True)
class Truth:
    """What a campaign is drawn from: one array for each stored value."""

    model: str
    weak: tuple[float, ...]
    dispersion: float
    failure: float
    reads: int
    rows: int
    columns: int

    def parameters(self) -> dict[str, float]:
        """By the names of the table."""
        values = {"rho": self.dispersion, "F": self.failure}
        for i, weak in enumerate(self.weak if KINDS[self.model].by_value else self.weak[:1]):
            values[f"P{i}"] = weak
            values[f"BER{i}"] = weak * self.failure
        return values

    def draw(self, seed: int) -> list[Counts]:
        """A campaign of its own for every seed."""
        axis = KINDS[self.model].axis
        return [
            simulate_counts(axis, weak, self.dispersion, self.failure, self.reads, self.rows, self.columns, chip)
            for i, weak in enumerate(self.weak)
            for chip in [int(np.random.SeedSequence([seed, i]).generate_state(1, np.uint64)[0])]
        ]

    def failed_lines(self) -> float:
        """How many lines are expected to have failed cells; without lines, how many cells."""
        share = -math.expm1(self.reads * math.log1p(-self.failure)) if self.failure < 1 else 1.0
        axis = KINDS[self.model].axis
        if axis is None:
            return min(self.weak) * share * self.rows * self.columns
        lines, length = (self.columns, self.rows) if axis == "bitline" else (self.rows, self.columns)
        size = (1 - self.dispersion) / self.dispersion
        found = 0.0
        for weak in self.weak:
            a, b = weak * size, (1 - weak) * size
            found += lines * (1 - math.exp(special.betaln(a, b + length * share) - special.betaln(a, b)))
        return found


def draw_truth(model: str, seed: int) -> Truth:
    """The parameters of a campaign."""
    random = np.random.default_rng([seed, MODELS.index(model)])

    def log_uniform(low: float, high: float) -> float:
        return float(math.exp(random.uniform(math.log(low), math.log(high))))

    once = random.random() < 0.25
    reads = 1 if once else round(log_uniform(2, 64))
    failure = 1.0 if once else log_uniform(0.05, 1.0)
    kind = KINDS[model]
    two = kind.by_value or random.random() < 0.5
    first, second = log_uniform(1e-7, 0.3), log_uniform(1e-7, 0.3)
    weak = (first, second if kind.by_value else first)[: 1 + two]
    lines, length = round(log_uniform(16, 65536)), round(log_uniform(512, 65536))
    most = min(MOST_CELLS, MOST_FAILED / max(weak))
    length = max(64, min(length, int(most / lines)))
    rows, columns = (length, lines) if kind.axis == "bitline" else (lines, length)
    dispersion = log_uniform(1e-4, 0.5) if kind.axis else 0.0
    return Truth(model, weak, dispersion, failure, reads, rows, columns)


@dataclass
class Held:
    """One interval: whether it holds the truth, whether it is one-sided, and its width over the asymptotic one."""

    holds: bool
    bound: bool
    width: float | None


@dataclass
class Outcome:
    """One campaign."""

    truth: Truth
    failed: int
    failed_lines: float = math.inf  # that are expected to have failed
    intervals: dict[str, Held] = field(default_factory=dict)
    expected: float = 0.0
    chosen: str = ""


def _held(estimate: Estimate, truth: float) -> Held:
    width = None
    if estimate.standard_error and estimate.low > 0.0 and estimate.high < 1.0:
        odds = [math.log(end) - math.log1p(-end) for end in (estimate.low, estimate.high)]
        width = (odds[1] - odds[0]) / (2 * stats.norm.ppf(0.975) * estimate.standard_error)
    # The ends are found to a share of some 1e-6; F = 1 is a bound of its own.
    holds = estimate.low * (1 - 1e-6) <= truth <= estimate.high * (1 + 1e-6)
    return Held(holds, estimate.bound is not None, width)


def _named(values: Sequence[Counts]) -> dict[str, Counts]:
    return {"both": values[0]} if len(values) == 1 else {"zero": values[0], "one": values[1]}


def _bic(values: Sequence[Counts], model: str) -> float:
    return fit_model(values, KINDS[model], None, 3.84, intervals=False).bic


def _chosen(model: str, result: FittedChoice) -> str:
    """What a fit chooses; of lines with a rate for each value, whether it does choose such lines."""
    if model not in JOINT:
        return result.chosen.model
    return result.chosen.model if result.chosen.model in JOINT else "uniform"


def run(model: str, seed: int, redraws: int) -> Outcome:
    """Draw and fit one campaign."""
    truth = draw_truth(model, seed)
    values = truth.draw(seed)
    result = fit_models(**_named(values), replicates=0)
    fit = result.fit(model)
    outcome = Outcome(
        truth, sum(counts.failed for counts in values), truth.failed_lines(), chosen=_chosen(model, result)
    )
    estimates = {"F": fit.failure}
    if fit.dispersion is not None:
        estimates["rho"] = fit.dispersion
    for i, (weak, ber) in enumerate(zip(fit.weak, fit.ber, strict=True)):
        estimates[f"P{i}"], estimates[f"BER{i}"] = weak, ber
    parameters = truth.parameters()
    # At a bound of F, where all cells failed once, P and F are told to one side.
    one_sided = truth.reads > 1 and outcome.failed > 0
    outcome.intervals = {
        name: _held(estimate, parameters[name])
        for name, estimate in estimates.items()
        if estimate.identified or (one_sided and estimate.bound is not None)
    }
    if model != "uniform":
        differences = []
        for redraw in range(redraws):
            # Apart from the seeds of the campaigns themselves.
            again = truth.draw(2**32 + seed * 1000 + redraw)
            others = [name for name in KINDS if name not in JOINT] if model in JOINT else ["uniform"]
            differences.append(min(_bic(again, name) for name in others) - _bic(again, model))
        outcome.expected = float(np.mean(differences))
    else:
        outcome.expected = -math.inf
    return outcome


def _run(job: tuple[str, int, int]) -> Outcome:
    return run(*job)


def summarize(model: str, outcomes: Sequence[Outcome]) -> tuple[list[str], bool]:
    """A table of one model's campaigns, and whether it meets what is asked."""
    good = True
    lines = [f"{model}: {len(outcomes)} campaigns, {sum(o.failed == 0 for o in outcomes)} without a failed cell"]
    lines.append(
        f"  {'parameter':10} {'told in':>8} {'held':>7} {'least':>7} {'two-sided':>10} {'held':>7} {'at a bound':>11} "
        f"{'held':>7} {'width':>7} {'90%':>7}"
    )
    names = sorted({name for outcome in outcomes for name in outcome.intervals})
    groups = {name: [o.intervals[name] for o in outcomes if name in o.intervals] for name in names}
    for name, held in groups.items():
        inside = [h for h in held if not h.bound]
        at_bound = [h for h in held if h.bound]
        coverage = _share(h.holds for h in held)
        # The least that a true coverage of 93% lets one expect, at 5% over all parameters together.
        least = stats.binom.ppf(0.05 / len(names), len(held), LEAST_COVERAGE) / len(held)
        widths = [h.width for h in inside if h.width is not None]
        middle, high = (np.quantile(widths, [0.5, 0.9])) if widths else (math.nan, math.nan)
        good = good and (coverage >= LEAST_COVERAGE if len(held) >= 500 else coverage >= least)
        good = good and (math.isnan(middle) or middle <= WIDEST)
        shares = [_share(h.holds for h in group) for group in (inside, at_bound)]
        lines.append(
            f"  {name:10} {len(held):8} {coverage:7.1%} {least:7.1%} {len(inside):10} {shares[0]:7.1%} "
            f"{len(at_bound):11} {shares[1]:7.1%} {middle:7.3f} {high:7.3f}"
        )
    for within, wanted, what in (
        (lambda o: o.expected >= LIKELY, model, f"{LIKELY:g} or more"),
        (lambda o: o.expected < UNLIKELY, "uniform", f"below {UNLIKELY:g}"),
    ):
        group = [o for o in outcomes if within(o) and o.failed_lines >= FEW_LINES]
        few = [o for o in outcomes if within(o) and o.failed_lines < FEW_LINES]
        if group:
            chosen = sum(o.chosen == wanted for o in group)
            least = int(stats.binom.ppf(0.05, len(group), LEAST_CHOSEN))
            good = good and chosen >= least
            lines.append(
                f"  expected difference of BIC {what}: {len(group)} campaigns, {chosen} ({chosen / len(group):.1%}) "
                f"choose {wanted}; at least {least}"
            )
        if few:
            lines.append(
                f"  the same, but fewer than {FEW_LINES:g} failed lines expected: {len(few)} campaigns, "
                f"{_share(o.chosen == wanted for o in few):.1%} choose {wanted} ({sum(o.failed == 0 for o in few)} "
                "without a failed cell)"
            )
    return lines, good


def _share(values: Iterable[bool]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else math.nan


def main() -> int:
    """Print the tables; the exit status says whether all is as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=1000, help="of each model")
    parser.add_argument("--seed", type=int, default=0, help="of the first campaign")
    parser.add_argument("--redraws", type=int, default=16, help="of each campaign, for the expected difference of BIC")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    good = True
    everything: list[Outcome] = []
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for model in arguments.models:
            jobs = [(model, arguments.seed + i, arguments.redraws) for i in range(arguments.campaigns)]
            outcomes = list(pool.map(_run, jobs, chunksize=4))
            everything += outcomes
            lines, met = summarize(model, outcomes)
            print("\n".join([*lines, "  as asked" if met else "  NOT as asked"]), flush=True)
            good = good and met
    if len(arguments.models) > 1:
        below = [o.chosen == "uniform" for o in everything if o.expected < UNLIKELY]
        above = [o.chosen == o.truth.model for o in everything if o.expected >= LIKELY and o.failed_lines >= FEW_LINES]
        print(f"all: {len(above)} campaigns of {LIKELY:g} or more, {_share(above):.1%} choose the true model")
        print(f"     {len(below)} campaigns below {UNLIKELY:g}, {_share(below):.1%} choose Model 0")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
