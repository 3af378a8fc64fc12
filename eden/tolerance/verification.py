"""Verification: whether a network as it is placed keeps its accuracy on chips that nothing before has seen.

The statement and its test are those of a profile's confirmation (docs/characterize.md), at rates that are given.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import math
import os
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
import pydantic
from torch import nn

from eden import _core
from eden.common import progress as eden_progress
from eden.common.files import VersionedFile
from eden.common.journal import Journal
from eden.faults import reliable
from eden.faults.chips import set_chip_
from eden.faults.memories import operands
from eden.faults.reliable import refuse_inside_clean
from eden.faults.samples import samples_of
from eden.tolerance.profile import (
    CorpusMetric,
    Metric,
    Question,
    Scorer,
    Step,
    _certificate,
    _named_metric,
    borrowed,
    confirmation_note,
    drive,
    network_fingerprint,
    scorer_of,
)
from eden.tolerance.tolerance import Accuracy, Certificate, Count, Guarantee, Probability

_ONLY_LEVEL = 1.0


class Verification(VersionedFile):
    """What was found of a placed network on fresh chips. Saved and loaded as JSON (docs/placement.md).

    Attributes:
        max_drop: accepted drop in score.
        confidence: probability with which the statement holds.
        guarantee: what the drop is of, as in ``eden.profile``.
        metric: name of the score.
        reference_accuracy: score on reliable memory from which the drop is counted.
        own_accuracy: score of the network itself on reliable memory; the same unless the reference is another network.
        samples: samples of the set.
        certificate: the evidence, None where the statement could not be confirmed.
        reason: why the test ended, in words.
        seed: what the chips and draws derive from.
        random_layout: version of the layout of random numbers.
        eden_version: version of this package.
        observations: observations made, by phase.

    """

    FORMAT = "eden-verification"
    VERSION = 1

    max_drop: Probability
    confidence: Probability
    guarantee: Guarantee
    metric: str
    reference_accuracy: Accuracy
    own_accuracy: Accuracy
    samples: Annotated[int, pydantic.Field(ge=1)]
    certificate: Certificate | None
    reason: str
    seed: int
    random_layout: int
    eden_version: str
    observations: dict[str, Count]

    @property
    def certified(self) -> bool:
        """Whether the drop is at most ``max_drop``, with the confidence."""
        return self.certificate is not None

    def table(self) -> str:
        """What was found, as text."""
        lines = [
            f"on reliable memory: {self.own_accuracy:.2%}"
            + ("" if self.own_accuracy == self.reference_accuracy else f" (reference: {self.reference_accuracy:.2%})")
        ]
        if self.certificate is None:
            return "\n".join([*lines, f"not certified: {self.reason}"])
        what = "the mean drop over chips is" if self.guarantee == "mean" else f"of {self.guarantee[1]:.0%} of chips is"
        lines.append(
            f"certified with confidence {self.confidence:g}: {what} at most {self.max_drop:g}; observed on "
            f"{self.certificate.chips} fresh chips: {self.certificate.mean_drop:.4f}"
        )
        return "\n".join(lines)


class _OneLevel:
    """A network whose operands' errors stay as they are."""

    def __init__(
        self, model: nn.Module, scorer: Scorer, clean: np.ndarray[Any, np.dtype[np.float64]], batch_size: int
    ) -> None:
        self._model, self._scorer, self._clean, self._batch_size = model, scorer, clean, batch_size

    def evaluate(self, trial: _core.Trial) -> float:
        """The drop on the trial's chip and samples."""
        set_chip_(self._model, trial.chip)
        drawn = _core.draw_samples(trial.draw_seed, len(self._clean), self._batch_size)
        faulty = self._scorer.scores(drawn, f"trial {trial.id} (chip {trial.chip})")
        return float(np.mean(self._clean[drawn] - faulty))


def certify(
    model: nn.Module,
    loader: Any,
    *,
    max_drop: float = 0.01,
    confidence: float = 0.95,
    metric: str | Metric | CorpusMetric = "top1",
    guarantee: Guarantee = "mean",
    seed: int = 0,
    reference: nn.Module | None = None,
    journal: str | os.PathLike[str] | None = None,
    progress: bool | Callable[[Step], None] = True,
    effort: float = 6.0,
    max_trials: int | None = None,
    batch_size: int | None = None,
    memory_limit: int = 2**30,
    lower_is_better: bool = False,
) -> Verification:
    """Certify a network as it is placed: its drop in score on chips that nothing before has seen.

    The network's operands keep their errors and addresses (``inject_`` with a placement or a memory map). Some chips
    steer how the test bets; those of the test are used by nothing else. Use a seed from which no profile, training or
    earlier verification has drawn. Where several attempts are made, such as on one placement after another, give the
    k-th the confidence 1 - (1 - confidence) 6 / (pi^2 k^2): then all of them hold together.

    Args:
        model: a network under faults; mode, chip and access numbers are what they were afterwards.
        loader: as in ``eden.profile``.
        max_drop: accepted drop in score, inside (0, 1).
        confidence: inside (0, 1).
        metric: as in ``eden.profile``.
        guarantee: as in ``eden.profile``.
        seed: a 64-bit integer that all chips and draws derive from.
        reference: the network from whose score on reliable memory the drop is counted, such as the one before
            boosting; the network itself if None.
        journal: a file that takes every observation; one that exists is resumed from, to the same answer.
        progress: True shows it on standard error, False does not, a function is called with a Step per observation.
        effort: as in ``eden.profile``: the more, the smaller a gap between the drop and ``max_drop`` is shown.
        max_trials: observations after which it gives up.
        batch_size: samples per observation; as in ``eden.profile``.
        memory_limit: bytes of samples that may be held in memory.
        lower_is_better: whether the metric is one of harm.

    Returns:
        What was found; ``certified`` says whether the statement holds.

    Raises:
        ValueError, TypeError: naming the argument that is wrong, what was found and what is allowed.
        FileError: if the journal cannot be used or is of another run.

    """
    metric_name, score = _named_metric(metric)
    question = Question(
        max_drop=max_drop,
        confidence=confidence,
        guarantee=guarantee,
        seed=seed,
        coarse_only=True,
        strategy="shares",
        effort=effort,
        lower_is_better=lower_is_better,
        max_trials=max_trials,
        batch_size=batch_size,
    )
    infos = operands(model)
    for each in (model,) if reference is None else (model, reference):
        refuse_inside_clean(each, "certify")
    # One candidate, whose level is both the lowest and the highest: what is left of a search is its confirmation.
    search = _core.Search(
        operands=[("as placed", 1, _ONLY_LEVEL)],
        max_drop=question.max_drop,
        confidence=question.confidence,
        quantile=question.quantile,
        floor=_ONLY_LEVEL,
        coarse_only=True,
        seed=seed,
        max_trials=max_trials,
        effort=effort,
    )
    samples = samples_of(loader, memory_limit)
    batch_size = question.samples_per_observation(len(samples), isinstance(score, CorpusMetric))

    def scorer(network: nn.Module) -> Scorer:
        return scorer_of(network, samples, score, metric_name, lower_is_better)

    def on_reliable_memory(network: nn.Module, digest: hashlib._Hash | None) -> np.ndarray[Any, np.dtype[np.float64]]:
        with borrowed(network), reliable.clean(network):
            return scorer(network).scores(range(len(samples)), "on reliable memory", digest)

    data = hashlib.sha256()
    own = on_reliable_memory(model, data)
    clean = own if reference is None else on_reliable_memory(reference, None)
    with contextlib.ExitStack() as stack:
        stack.enter_context(borrowed(model))
        task = stack.enter_context(eden_progress.task("verify", search.expected_trials, show=progress is True))
        book = None
        if journal is not None:
            fingerprint = {
                **question.fingerprint(metric_name, {}, batch_size),
                **network_fingerprint(model, infos, samples),
                "purpose": "verification",
                "data": data.hexdigest(),
                "reference": hashlib.sha256(np.ascontiguousarray(clean).tobytes()).hexdigest(),
            }
            book = stack.enter_context(Journal(journal, fingerprint))

        def on_step(step: Step) -> None:
            if callable(progress):
                progress(step)
            task.expect(step.expected)
            task.note(
                "before the test" if step.tested is None else f"fresh chips: {confirmation_note(step, question.bound)}"
            )
            task.advance()

        if book is not None and book.history:
            task.advance(len(book.history))
        names: Sequence[str] = ["as placed"]
        evaluator = _OneLevel(model, scorer(model), clean, batch_size)
        observations = drive(search, evaluator, names, book, on_step)

    def shown(scores: np.ndarray[Any, np.dtype[np.float64]]) -> float:
        mean = math.fsum(scores) / len(scores)
        return 1.0 - mean if lower_is_better else mean

    found = search.coarse_certificate if search.state == "done" else None
    return Verification(
        max_drop=question.max_drop,
        confidence=question.confidence,
        guarantee=guarantee,
        metric=metric_name,
        reference_accuracy=shown(clean),
        own_accuracy=shown(own),
        samples=len(samples),
        certificate=None if found is None else _certificate(found, batch_size),
        reason=_reason(search),
        seed=seed,
        random_layout=_core.RANDOM_LAYOUT_VERSION,
        eden_version=importlib.metadata.version("eden-dram"),
        observations=dict(observations),
    )


def _reason(search: _core.Search) -> str:
    message = str(search.message)
    # The search speaks of the rate that it knows of, and there is none here.
    return message.replace(" even at a bit error rate of 1, the least that is tried", "").replace(
        " even at a bit error rate of 1", ""
    )
