"""Answers to a search: the loop of trials, its journal, the ranks that share it, and what is told of it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from eden import _core
from eden.common import progress as eden_progress
from eden.common.deadline import Deadline
from eden.common.journal import Journal
from eden.common.ranks import RankError, Ranks
from eden.common.records import Log
from eden.faults.scorer import Scorer, Scores
from eden.tolerance.population import Plan
from eden.tolerance.question import Question, SearchError
from eden.tolerance.reuse import Reuse
from eden.tolerance.search import Budget

_TRIALS_BETWEEN_ESTIMATES = 20
_TRIALS_BEFORE_PREDICTION = 8
_NEAR_ENOUGH = 0.1  # of what is left of a budget
_RATES_ASKED_FOR = 2**21  # numbers held for a moment, to count the trials before a decision


class TrialTimeoutError(SearchError):
    """One observation took longer than it may; a journal holds all before it."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One observation of a profile, as a progress callback is told of it.

    Attributes:
        trial: its number, from 0 on.
        expected: a guess at how many there will be.
        phase: "coarse", "coarse confirmation", "operand", "joint" or "confirmation".
        operand: whose rate is being raised, in phase "operand".
        rate: that operand's mean bit error rate; in other phases the highest of all.
        difference: mean of (clean score - faulty score) over the batch.
        low: lower end of the interval that the rate sought is believed to lie in (of several operands, the highest
            rate): the ends of a bisection, later about 90%.
        high: its upper end. Both are found anew every 20 trials.
        bound: in a confirmation, the bound on the mean drop (of a quantile, on the share of chips) that is shown so
            far; it has to fall to ``max_drop`` (1 - q). None elsewhere.
        calls: calls of layers under faults in the observations of this process so far.
        reused: those of them that were not computed again (``reuse_limit``).
        tested: in a confirmation, its observations so far, this one included. None elsewhere.
        longest: how many it takes at most before it is decided, None where that is not known.
    """

    trial: int
    expected: int
    phase: str
    operand: str | None
    rate: float
    difference: float
    low: float
    high: float
    bound: float | None
    calls: int = 0
    reused: int = 0
    tested: int | None = None
    longest: int | None = None


class Evaluator(Protocol):
    """What a search is driven with: a network, or a simulation of one."""

    def evaluate(self, trial: _core.Trial) -> float:
        """Mean of (clean score - faulty score) in the trial, a number from -1 to 1."""


class Subject(Protocol):
    """What a search asks: a network under faults, a package of one, or a network as it is placed."""

    scorer: Scorer
    reuse: Reuse | None

    def borrowed(self) -> contextlib.AbstractContextManager[None]:
        """Ready to be scored for a moment, and afterwards what it was."""

    def clean_scores(self) -> Scores:
        """Scores of all samples on reliable memory."""

    def put_at(self, trial: _core.Trial) -> None:
        """Put it at a trial's rates, on its chip."""

    def observed(self) -> None:
        """A trial's observation was made."""

    def check_read(self) -> None:
        """Raise ValueError for operands that the observations have not read through their memory."""

    @property
    def made_of(self) -> Mapping[str, str]:
        """SHA-256 of it and of the samples, once they were scored, by what they are."""

    def fingerprint(self) -> dict[str, Any]:
        """What a journal names it and the samples by, once they were scored."""


class Observer:
    """A subject that answers a search.

    Args:
        subject: what is asked.
        clean: its scores on reliable memory, or those from which a drop is counted.
        draws: which samples an observation has.
    """

    def __init__(self, subject: Subject, clean: Scores, draws: _core.SamplePlan) -> None:
        self._subject, self._clean, self._draws = subject, clean, draws
        self.reuse = subject.reuse

    def evaluate(self, trial: _core.Trial) -> float:
        """Put the subject where the trial asks for it and score the samples that it draws."""
        self._subject.put_at(trial)
        drawn = self._draws.of(trial)
        faulty = self._subject.scorer.scores(drawn, f"trial {trial.id} ({trial.phase}, chip {trial.chip})")
        self._subject.observed()
        return float(np.mean(self._clean[drawn] - faulty))


class TimeBudget:
    """Seconds turned into observations, by how long those before them took.

    Args:
        seconds: until the end.
        now: a clock, in seconds.
    """

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._end, self._now = now() + seconds, now
        self._first: tuple[float, int] | None = None

    def observations(self, made: int, budget: int) -> int:
        """The budget that a search should have after so many observations, ``budget`` where that is near enough."""
        now = self._now()
        if now >= self._end:
            return max(1, made)
        if self._first is None:
            self._first = now, made
        since, before = self._first
        if made - before < _TRIALS_BEFORE_PREDICTION or now == since:
            return budget
        predicted = made + int((self._end - now) * (made - before) / (now - since))
        near = budget > 0 and abs(predicted - budget) <= _NEAR_ENOUGH * (budget - made)
        return budget if near else max(1, made, predicted)


def end_of(budget: Budget) -> int | TimeBudget | None:
    """When the observations of a budget end, as ``drive`` takes it; seconds count from now on."""
    return budget.observations if budget.seconds is None else TimeBudget(budget.seconds)


def drive(
    search: _core.Search,
    evaluator: Evaluator,
    names: Sequence[str],
    journal: Journal | None = None,
    on_step: Callable[[Step], None] | None = None,
    *,
    ranks: Ranks | None = None,
    budget: int | TimeBudget | None = None,
    timeout: float | None = None,
) -> Counter[str]:
    """Answer a search until it ends, first with the reports that a journal holds.

    Args:
        search: a search of the core; new, if a journal is given.
        evaluator: makes the observations.
        names: names of the search's operands.
        journal: holds earlier reports and takes the new ones; that of rank 0 counts.
        on_step: told of every new observation, on rank 0.
        ranks: who share the observations; each of them calls ``drive`` alike and makes those that are its turn. Reports
            are in the search's order, so that it ends as on one rank; what was made too many, because something was
            decided before, is left out.
        budget: observations in all, those of the journal included, or the time until the end; None for no end.
        timeout: seconds after which an observation is given up; None waits for ever.

    Returns:
        The number of observations by phase, the journal's included.

    Raises:
        ValueError: naming the trial, if the evaluator gives no number from -1 to 1.
        TrialTimeoutError: naming the trial, if one takes longer than ``timeout``. What the evaluator raises comes
            up as it is. In all three cases the journal holds everything before that trial.
        RankError: if it happens on another rank.
    """
    ranks = Ranks() if ranks is None else ranks
    observations: Counter[str] = Counter()
    held = ranks.from_first(lambda: (journal.history, journal.budgets) if journal else ([], []))
    given = iter(held[1])
    next_budget = next(given, None)

    def repeat_budgets() -> None:
        nonlocal next_budget
        while next_budget is not None and next_budget[0] == search.trials:
            search.set_budget(next_budget[1])
            next_budget = next(given, None)

    def set_budget(observations: int) -> None:
        if observations == search.budget:
            return
        if journal is not None and ranks.rank == 0:
            journal.append_budget(search.trials, observations)
        search.set_budget(observations)

    test = _Test(search)
    for identity, difference in held[0]:
        repeat_budgets()
        trial = search.next_trial()
        if trial is None:
            break
        test.count(trial)
        search.report(identity, difference)
        observations[trial.phase] += 1
    repeat_budgets()
    # Seconds are those of this call, whatever a call before it had.
    set_budget(budget if isinstance(budget, int) else 0)
    expected, interval, bound, phase = search.expected_trials, search.rate_interval, search.drop_bound, ""
    deadline = Deadline(timeout)
    try:
        while trials := search.next_trials(ranks.size):
            observed, failure = math.nan, ""
            error: Exception | None = None
            if ranks.rank < len(trials):
                mine = trials[ranks.rank]
                try:
                    observed = deadline.call(functools.partial(evaluator.evaluate, mine))
                except TimeoutError as raised:
                    error = raised
                    if deadline.expired:
                        error = TrialTimeoutError(
                            f"trial {mine.id} ({mine.phase}, chip {mine.chip}): the observation {raised}; what it "
                            "hangs in still holds the network, so start anew, from the journal if one was kept"
                        )
                except Exception as raised:
                    error = raised
                if error is not None:
                    failure = f"{type(error).__name__}: {error}"
            total = search.budget
            if isinstance(budget, TimeBudget) and ranks.rank == 0:
                total = budget.observations(search.trials + len(trials), total)
            found = ranks.gather((observed, failure, total))
            set_budget(found[0][2])
            for rank, (trial, (difference, failure, _)) in enumerate(zip(trials, found, strict=False)):
                asked = search.next_trial()
                if asked is None or not _same_trial(asked, trial):
                    break  # something was decided before it
                if failure:
                    if error is not None and rank == ranks.rank:
                        raise error
                    raise RankError(f"rank {rank}: {failure}")
                estimate = trial.id % _TRIALS_BETWEEN_ESTIMATES == 0
                if on_step is not None and (estimate or trial.phase != phase):
                    # Before the report, after which the search may be at something else.
                    interval, bound, phase = search.rate_interval, search.drop_bound, trial.phase
                test.count(trial)
                longest = test.longest() if on_step is not None else None
                search.report(trial.id, difference)
                observations[trial.phase] += 1
                if ranks.rank != 0:
                    continue
                # After the report, so that no value that the search refuses is kept.
                if journal is not None:
                    journal.append(trial.id, difference)
                if on_step is None:
                    continue
                if estimate or search.state != "running" or search.trials >= expected:
                    expected = search.expected_trials
                if search.state == "running":
                    expected = max(expected, search.trials + 1)
                operand = None if trial.operand is None else names[trial.operand]
                rate = max(trial.rates) if trial.operand is None else trial.rates[trial.operand]
                reuse = getattr(evaluator, "reuse", None)
                counts = (0, 0) if reuse is None else (reuse.calls, reuse.reused)
                low, high = interval
                calls, reused = counts
                step = Step(
                    trial=trial.id,
                    expected=expected,
                    phase=trial.phase,
                    operand=operand,
                    rate=rate,
                    difference=difference,
                    low=low,
                    high=high,
                    bound=bound,
                    calls=calls,
                    reused=reused,
                    tested=test.observations,
                    longest=longest,
                )
                on_step(step)
    finally:
        deadline.close()
    return observations


class _Test:
    """The confirmation that a search is at: how many observations it has, and how many it takes at most."""

    def __init__(self, search: _core.Search) -> None:
        self._search = search
        self._at: tuple[str, list[float]] | None = None
        self._longest: int | None = None
        self.observations: int | None = None

    def count(self, trial: _core.Trial) -> None:
        """Tell of an observation before it is reported."""
        if not trial.phase.endswith("confirmation"):
            self._at = self.observations = self._longest = None
        elif self._at != (trial.phase, trial.rates):
            self._at, self.observations, self._longest = (trial.phase, trial.rates), 1, None
        else:
            self.observations = (self.observations or 0) + 1

    def longest(self) -> int | None:
        """Observations at most, None where there is no confirmation or they are too many to be asked for."""
        if self._at is not None and self.observations is not None and self._longest is None:
            asked = max(1, _RATES_ASKED_FOR // len(self._at[1]))
            found = len(self._search.next_trials(asked))
            self._longest = self.observations - 1 + found if found < asked else 0
        return self._longest or None


def _same_trial(one: _core.Trial, other: _core.Trial) -> bool:
    return (one.id, one.chip, one.draw_seed, one.rates) == (other.id, other.chip, other.draw_seed, other.rates)


def note(step: Step, wanted: float, of_rates: bool = True) -> str:
    """What is being done, for a line of progress.

    Args:
        step: the observation.
        wanted: what a confirmation has to show.
        of_rates: whether rates are looked for.
    """
    if step.tested is None:
        looked = f"{step.operand or step.phase} at {step.rate:.2g}, between {step.low:.2g} and {step.high:.2g}"
        return looked if of_rates else "before the test"
    of = "" if step.longest is None else f" of at most {step.longest}"
    said = f"confirming {step.rate:.2g}" if of_rates else "fresh chips"
    said += f": {step.tested}{of} {'chip' if step.longest is None and step.tested == 1 else 'chips'}"
    if step.bound is None or not math.isfinite(step.bound):
        return said
    # As many digits as it takes to tell them apart.
    digits = next((n for n in range(2, 9) if f"{step.bound:.{n}g}" != f"{wanted:.{n}g}"), 2)
    return f"{said}, shown to be at most {step.bound:.{digits}g}, wanted is {wanted:.{digits}g}"


def _check_alike(ranks: Ranks, fingerprint: dict[str, Any]) -> None:
    """Refuse ranks that do not profile the same."""
    fields = {name: hashlib.sha256(repr(value).encode()).hexdigest() for name, value in fingerprint.items()}
    for rank, others in enumerate(ranks.gather(fields)):
        for name, value in others.items():
            if fields.get(name) != value:
                raise ValueError(
                    f"rank {rank} profiles something else than rank {ranks.rank}: {name} differs; allowed are the same "
                    "network, samples and settings on every rank"
                )


def ask(
    question: Question,
    search: _core.Search,
    subject: Subject,
    clean: Scores,
    task: eden_progress.Task,
    plan: Plan,
    *,
    names: Sequence[str],
    weights: Mapping[str, float],
    journal: str | os.PathLike[str] | None,
    progress: bool | Callable[[Step], None],
    budget: Budget,
    until: int | TimeBudget | None,
    ranks: Ranks | None = None,
    of_rates: bool = True,
    log: Log | None = None,
    **fingerprint: Any,
) -> Counter[str]:
    """Put a question's search to a subject until it ends.

    Args:
        question: what is asked.
        search: its search, new.
        subject: what is asked, borrowed, and scored on reliable memory.
        clean: the scores from which drops are counted.
        task: shows the progress; it knows the journal's.
        plan: which samples its observations are made on.
        names: names of the search's operands.
        weights: what a factor in the rate of each is worth.
        journal: a file that takes every report; one that exists is resumed from.
        progress: a function is told of every step.
        budget: what it may cost.
        until: when its observations end, as ``drive`` takes it.
        ranks: who share the observations.
        of_rates: whether rates are looked for, for the progress.
        log: called with a record of each observation, on rank 0.
        fingerprint: more that a journal names the run by.

    Returns:
        Observations by phase.

    Raises:
        What ``drive`` raises; ValueError where ranks ask different things; FileError for a journal of another run.
    """
    ranks = Ranks() if ranks is None else ranks
    with contextlib.ExitStack() as stack:
        book: Journal | None = None
        if journal is not None or ranks.size > 1:
            asked = question.fingerprint(subject.scorer.name, weights, plan)
            whole = {**asked, **subject.fingerprint(), **fingerprint}
            _check_alike(ranks, whole)
            if journal is not None:
                # Only rank 0 has it.
                opened: list[Journal] = []
                ranks.from_first(lambda: opened.append(stack.enter_context(Journal(journal, whole))))
                book = opened[0] if opened else None
        if book is not None and book.history:
            task.advance(len(book.history))

        score = question.shown(clean)

        def on_step(step: Step) -> None:
            if callable(progress):
                progress(step)
            if log is not None:
                faulty = score + step.difference if question.lower_is_better else score - step.difference
                drop = step.difference
                log({"step": step.trial + 1, "ber": step.rate, "drop": drop, "clean": score, "faulty": faulty})
            task.expect(step.expected)
            task.note(note(step, question.bound, of_rates))
            task.advance()

        observer = Observer(subject, clean, plan.draws)
        observations = drive(search, observer, names, book, on_step, ranks=ranks, budget=until, timeout=budget.timeout)
    subject.check_read()
    return observations
