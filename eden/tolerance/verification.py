"""Verification: whether a network as it is placed keeps its accuracy on chips that nothing before has seen.

The statement and its test are those of a profile's confirmation (docs/explanation/tolerance.md), at rates that are
given.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np
import pydantic
from torch import nn

from eden import _core
from eden.common import progress as eden_progress
from eden.common.provenance import Provenance, Result
from eden.common.records import Log
from eden.common.renames import renamed
from eden.devices.upper_rates import Rates
from eden.faults.borrow import borrowed
from eden.faults.digests import network_digest
from eden.faults.forward import ForwardFn, TargetFn
from eden.faults.inject import inject_
from eden.faults.layout import Layout
from eden.faults.memories import operands
from eden.faults.metrics import Metric
from eden.faults.reliable import refuse_inside_clean
from eden.faults.samples import samples_of
from eden.faults.scorer import CorpusMetric
from eden.memory.cell_map import CellMap
from eden.tolerance.drive import Step, ask, end_of
from eden.tolerance.network import PlacedNetwork, check_reference
from eden.tolerance.population import Population
from eden.tolerance.question import Question, certificate_of
from eden.tolerance.search import Budget, Search, check_kinds
from eden.tolerance.tolerance import Accuracy, Certificate, Count, Guarantee, Probability

_SEARCH = Search()
_BUDGET = Budget()


class Verification(Result):
    """What was found of a placed network on fresh chips. Saved and loaded as JSON.

    Its provenance names the network, what its operands lie in ("memory"), the data, the reference where there is one,
    and all chips that were seen.
    """

    FORMAT = "eden-verification"
    VERSION = 1

    max_drop: Probability
    """Accepted drop in score."""
    confidence: Probability
    """Probability with which the statement holds, as it was asked for, together with those of all other attempts."""
    guarantee: Guarantee
    """What the drop is of, as in ``eden.profile``."""
    metric: str
    """Name of the score."""
    reference_accuracy: Accuracy
    """Score on reliable memory from which the drop is counted."""
    own_accuracy: Accuracy
    """Score of the network itself on reliable memory; the same unless the reference is another network."""
    samples: Annotated[int, pydantic.Field(ge=1)]
    """Samples of the set."""
    population: Population = "samples"
    """Of what the statement is: "data", the distribution that the samples were drawn from, or "samples", them alone."""
    certificate: Certificate | None
    """The evidence, None where the statement could not be confirmed."""
    reason: str
    """Why the test ended, in words."""
    seed: int
    """What the chips and draws derive from."""
    attempt: Annotated[int, pydantic.Field(ge=1)] = 1
    """Which verification of this seed it is."""
    rates: Rates | None = None
    """What the rates of the operands are; None where it was not said."""
    one_chip: bool = False
    """Whether all operands lie in cell maps: then each "chip" is a fresh read of the one that was measured."""
    random_layout: int
    """Version of the layout of random numbers."""
    eden_version: str
    """Version of this package."""
    observations: dict[str, Count]
    """Observations made, by phase."""

    @pydantic.model_serializer(mode="wrap")
    def _unless_of_many(self, serialize: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = serialize(self)
        if not self.one_chip:
            found.pop("one_chip", None)
        return found

    @property
    def certified(self) -> bool:
        """Whether the drop is at most ``max_drop``, with the confidence."""
        return self.certificate is not None

    @property
    def statement(self) -> str:
        """What is certified, in a sentence, or why nothing is."""
        if self.certificate is None:
            return f"not certified: {self.reason}"
        what = (
            "the mean drop over chips" if self.guarantee == "mean" else f"the drop of {self.guarantee[1]:.0%} of chips"
        )
        seen = "fresh chips"
        if self.one_chip:
            what = what.replace("chips", "reads of this one chip, as it was measured,")
            seen = "fresh reads"
        tried = ""
        if self.attempt > 1:
            own = 1.0 - self.certificate.total_alpha
            tried = f"; this is attempt {self.attempt}, which alone was tested with {own:.2g}"
        if self.population == "data":
            what += f" and the data that the {self.samples:,} samples were drawn from"
        return (
            f"certified with confidence {self.confidence:g}, as asked: {what} is at most {self.max_drop:g}; observed "
            f"on {self.certificate.chips} {seen}: {self.certificate.mean_drop:.4f}{tried}"
        )

    def table(self) -> str:
        """What was found, as text; the last line is the statement."""
        other = "" if self.own_accuracy == self.reference_accuracy else f" (reference: {self.reference_accuracy:.2%})"
        account = "" if self.certificate is None else self.certificate.account
        taken = "those that the operands have, of no device" if self.rates is None else str(self.rates)
        if self.rates is not None and self.rates.error:
            taken += f", which takes {self.rates.error:.3g} of the error of {1.0 - self.confidence:.3g}"
        lines = (f"on reliable memory: {self.own_accuracy:.2%}{other}", f"rates: {taken}", account, self.statement)
        return "\n".join(filter(None, lines))


@runtime_checkable
class Placed(Layout, Protocol):
    """Where a network's operands lie, and what the rates there are, as ``eden.Placement`` says it."""

    @property
    def rates(self) -> Rates:
        """What the rates of its operating points are."""

    @property
    def provenance(self) -> Provenance | None:
        """What it was made from, where that is known."""

    def check_made_from(self, what: str, **of: Any) -> None:
        """Raise ValueError if it was made from something else."""


@renamed(
    **{name: f"search=eden.Search({name}=...)" for name in ("effort", "batch_size", "max_trials")},
    memory_limit="budget=eden.Budget(memory_bytes=...)",
)
def certify(
    model: nn.Module,
    loader: Any,
    *,
    max_drop: float = 0.01,
    confidence: float = 0.95,
    metric: str | Metric | CorpusMetric = "top1",
    guarantee: Guarantee = "mean",
    lower_is_better: bool = False,
    forward_fn: ForwardFn | None = None,
    target_fn: TargetFn | None = None,
    seed: int = 0,
    attempt: int = 1,
    population: Population = "samples",
    search: Search = _SEARCH,
    budget: Budget = _BUDGET,
    reference: nn.Module | None = None,
    placement: Placed | None = None,
    rates: Rates | None = None,
    journal: str | os.PathLike[str] | None = None,
    progress: bool | Callable[[Step], None] = True,
    log: Log | None = None,
) -> Verification:
    """Certify a network as it is placed: its drop in score on chips that nothing before has seen.

    The network's operands lie where ``placement`` puts them, and without one keep their errors and addresses. Some
    chips steer how the test bets; those of the test are used by nothing else. No other step draws either from any seed.
    Where several attempts are made, such as on one placement after another, say which one it is: then each has chips of
    its own, and all of them hold together.

    Args:
        model: a network under faults; mode, chip and access numbers are what they were afterwards.
        loader: as in ``eden.profile``, and so are the arguments of the same names below.
        max_drop: accepted drop in score, inside (0, 1).
        confidence: inside (0, 1).
        metric: a name or a function.
        guarantee: "mean" or ("quantile", q).
        lower_is_better: whether the metric is one of harm.
        forward_fn: runs the network on a batch.
        target_fn: says what its output is compared with.
        seed: a 64-bit integer that all chips and draws derive from.
        attempt: which verification of this seed it is, from 1 on. The k-th spends 6 / (pi^2 k^2) of 1 - confidence,
            whose sum over all k is 1 - confidence.
        population: as in ``eden.profile``; "data" needs samples that no profile, placement or earlier
            certificate has seen, and refuses those that the placement's limits were found on.
        search: its ``effort`` (the more, the smaller a gap between the drop and ``max_drop`` is shown), ``batch_size``
            and ``max_trials``; nothing is searched for, so the others stay as they are.
        budget: what it may cost.
        reference: the network from whose score on reliable memory the drop is counted, such as the one before
            boosting; the network itself if None.
        placement: where the operands are put for the test, and what the rates there are. The probability that a rate of
            the device is higher is a part of 1 - ``confidence``, and the test has the rest. If None, the statement is
            of the rates that the operands have, and of no device.
        rates: the rates of a network that lies as a device's partitions already (a memory map of the placement); not
            with ``placement``, which says them.
        journal: a file that takes every observation; one that exists is resumed from, to the same answer.
        progress: True shows it on standard error, False does not, a function is called with a Step per observation.
        log: called with a record of each observation.

    Returns:
        What was found; ``certified`` says whether the statement holds.

    Raises:
        ValueError, TypeError: naming the argument that is wrong, what was found and what is allowed; the operand that
            is not read through its memory; the placement that was made from another network.
        TrialTimeoutError: if an observation takes longer than ``budget.timeout``.
        FileError: if the journal cannot be used or is of another run.
    """
    check_kinds(search, budget)
    for field in ("strategy", "weigh", "coarse_only"):
        if getattr(search, field) != getattr(_SEARCH, field):
            raise ValueError(
                f"search.{field} is {getattr(search, field)!r}; nothing is searched for, so allowed is "
                f"{getattr(_SEARCH, field)!r}"
            )
    with _as_placed(model, placement, rates) as rates:
        question = Question(
            max_drop=max_drop,
            confidence=_confidence_of_test(confidence, rates),
            guarantee=guarantee,
            seed=seed,
            attempt=attempt,
            population=population,
            # One rate is all that there is.
            search=dataclasses.replace(search, coarse_only=True),
            lower_is_better=lower_is_better,
        )
        until = end_of(budget)
        check_reference(reference)
        for each in (model,) if reference is None else (model, reference):
            refuse_inside_clean(each, "certify")
        given = (samples_of(loader, budget.memory_bytes), metric, lower_is_better, forward_fn, target_fn)
        subject = PlacedNetwork(model, *given)
        plan = question.plan(len(subject.scorer.samples), subject.scorer.whole)
        run = question.put_to_one_level(plan)
        question.check_budget(run, budget)
        own = clean = subject.borrowed_clean_scores()
        seen = None if placement is None or placement.provenance is None else placement.provenance.of.get("data")
        if plan.population == "data" and seen == subject.made_of["data"]:
            raise ValueError(
                "population is 'data' with the samples that the placement's limits were found on; allowed is "
                "'samples', or samples that neither profile nor placement has seen"
            )
        of = None
        if reference is not None:
            other = PlacedNetwork(reference, *given)
            clean, of = other.borrowed_clean_scores(), other.made_of["network"]
        with subject.borrowed(), eden_progress.task("verify", run.expected_trials, show=progress is True) as task:
            observations = ask(
                *(question, run, subject, clean, task, plan),
                names=["as placed"],
                weights={},
                journal=journal,
                progress=progress,
                log=log,
                budget=budget,
                until=until,
                of_rates=False,
                purpose="verification",
                reference=hashlib.sha256(np.ascontiguousarray(clean).tobytes()).hexdigest(),
            )
        memory, infos = subject.memory, operands(model).values()
        pieces = [info.errors if isinstance(info.errors, tuple) else ((info.errors, 0, 0),) for info in infos]
        models = {errors for own in pieces for errors, *_ in own if errors is not None and errors.ber > 0.0}
        one_chip = bool(models) and all(isinstance(errors, CellMap) for errors in models)
    found = run.coarse_certificate if run.state == "done" else None
    return Verification(
        max_drop=question.max_drop,
        confidence=confidence,
        rates=rates,
        guarantee=guarantee,
        metric=subject.scorer.name,
        reference_accuracy=question.shown(clean),
        own_accuracy=question.shown(own),
        samples=len(clean),
        population=plan.population,
        certificate=None if found is None else certificate_of(run, found, plan),
        # The search speaks of the rate that it knows of, and there is none here.
        reason=re.sub(r" even at a bit error rate of 1(, the least that is tried)?", "", run.message),
        seed=seed,
        attempt=attempt,
        one_chip=one_chip,
        provenance=Provenance.made(
            chips=question.chips(run), memory=memory, reference=of, placement=placement, **subject.made_of
        ),
        random_layout=_core.RANDOM_LAYOUT_VERSION,
        eden_version=importlib.metadata.version("eden-dram"),
        observations=dict(observations),
    )


@contextlib.contextmanager
def _as_placed(model: nn.Module, placement: Any, rates: Rates | None) -> Iterator[Rates | None]:
    """A network where a placement puts it, for a moment, and what the rates there are."""
    if placement is None:
        yield rates
        return
    if not isinstance(placement, Placed):
        raise TypeError(f"placement is a {type(placement).__name__}; allowed is an eden.Placement, or None")
    if rates is not None:
        raise ValueError("rates and placement are both given; allowed is one of them: a placement says its rates")
    refuse_inside_clean(model, "certify")
    placement.check_made_from("placement", network=network_digest(model))
    lies: Mapping[str, Any] = placement.operands
    elsewhere = [name for name, info in operands(model).items() if info.errors is not None and name not in lies]
    if elsewhere:
        raise ValueError(
            f"operand {elsewhere[0]} has errors and is in no partition of the placement; allowed is a placement of all "
            "operands that have errors, or none in the others (eden.set_errors_)"
        )
    with borrowed(model):
        inject_(model, placement)
        yield placement.rates


def _confidence_of_test(confidence: float, rates: Rates | None) -> float:
    """What is left for a test beside the error that the rates may have."""
    if rates is None or not rates.error or not isinstance(confidence, float):
        return confidence
    if not rates.error < 1.0 - confidence:
        raise ValueError(
            f"confidence is {confidence:g}, and the device's rates alone hold with {rates.confidence:g}; allowed is "
            "a lower confidence, or a placement with a higher rates_confidence"
        )
    return confidence + rates.error
