"""Profile: the highest bit error rates that a network stands, all operands alike and then operand by operand.

The search itself is the C++ core's. docs/explanation/tolerance.md has the statement that comes out and its mathematics.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch.distributed
from torch import nn

from eden.common import progress as eden_progress
from eden.common.ranks import Ranks
from eden.common.records import Log
from eden.common.renames import renamed
from eden.faults.forward import ForwardFn, TargetFn
from eden.faults.metrics import Metric
from eden.faults.reliable import refuse_inside_clean
from eden.faults.samples import samples_of
from eden.faults.scorer import CorpusMetric
from eden.tolerance.drive import Step, ask, end_of
from eden.tolerance.network import PlacedNetwork, SearchedNetwork, check_reference
from eden.tolerance.population import Population
from eden.tolerance.question import Question
from eden.tolerance.reuse import Reuse
from eden.tolerance.search import Budget, Search, check_kinds
from eden.tolerance.tolerance import Guarantee, Tolerance

_SEARCH = Search()
_BUDGET = Budget()


@renamed(
    **{name: f"search=eden.Search({name}=...)" for name in ("strategy", "weigh", "effort", "batch_size")},
    **{name: f"search=eden.Search({name}=...)" for name in ("coarse_only", "max_trials")},
    budget_seconds="budget=eden.Budget(seconds=...)",
    timeout="budget=eden.Budget(timeout=...)",
    memory_limit="budget=eden.Budget(memory_bytes=...)",
    reuse_limit="budget=eden.Budget(reuse_bytes=...)",
)
def profile(
    model: nn.Module | str | os.PathLike[str],
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
    population: Population | None = None,
    search: Search = _SEARCH,
    budget: Budget = _BUDGET,
    journal: str | os.PathLike[str] | None = None,
    progress: bool | Callable[[Step], None] = True,
    log: Log | None = None,
    float_accuracy: float | None = None,
    reference: nn.Module | None = None,
    group: torch.distributed.ProcessGroup | None = None,
) -> Tolerance:
    """Find the highest bit error rates that a network stands.

    With probability ``confidence`` the mean drop over chips at the limits, jointly, is at most ``max_drop``; so it is,
    separately, with all operands at the coarse rate. The mean is over the data, too, that the samples were drawn
    from, or over these samples alone (``population``). Chips are drawn from the operands' error models, brought to the
    rates in question with their asymmetry kept. The reference is the same storage on reliable memory.
    Torch's global generators are not drawn from. Mode, error models, chip and access numbers of the
    network are what they were afterwards, also after an error or an interruption.

    Args:
        model: a network under faults (``eden.inject_``, ``eden.calibrate_``), whose operands with an error model are
            searched; or the path of a package of one (``eden.export``). The program ``eden-profile`` finds the same of
            a package, and either goes on with the other's journal.
        loader: a DataLoader over a map-style dataset without random transforms, drawn by index through its
            ``collate_fn``; such a dataset; or an iterable of batches, which is held in memory. A batch is a pair
            (input, target), each nested as it likes, a mapping with "labels", or what the two functions below make one
            of. With a package: the path of a file of samples (``eden.tolerance.samples_file.save_samples``).
        max_drop: accepted drop in score, inside (0, 1).
        confidence: inside (0, 1).
        metric: a name of ``eden.faults.metrics.METRICS``, a function of output and target that returns a score in
            [0, 1] per sample, shape
            (batch,), or a CorpusMetric, for which each chip is observed on all samples.
        guarantee: "mean", or ("quantile", q): the drop of a fraction q of the chips is at most ``max_drop``. Then a
            chip is observed on all samples: by a part of them its drop is not told.
        lower_is_better: whether the metric is one of harm, such as an error rate: then its rise is the drop.
        forward_fn: runs the network on a batch: a function of the network and of what the loader yields, whose tensors
            are on the network's device, as in ``eden.calibrate_``; None for what a loop would do: of (input, target)
            the input, of a mapping by name what ``forward`` takes, without labels that it does not need.
        target_fn: a function of the same batch to the ``target`` of the metric; None for what is left of the batch:
            the other one of (input, target), the "labels" of a mapping.
        seed: a 64-bit integer that all chips and draws derive from. No other step draws the same chips from it.
        attempt: which profile of this seed it is, from 1 on. Each has chips of its own: where one leads to another,
            such as after a training under its placement, the latter takes the next.
        population: "data": the statement is about the distribution that the samples were drawn from; they must be
            independent draws that neither training nor any choice has seen. The seed splits them: decisions see a
            third, and each of the others is used in one observation of a confirmation. "samples": about these samples
            alone. None is "data" where the guarantee is on the mean and there are enough samples for the effort
            (``eden.Search.samples_needed``), else "samples".
        search: how it searches.
        budget: what it may cost.
        journal: a file that takes every report as soon as it is made; one that exists is resumed from, to the same
            answer.
        progress: True shows it on standard error, False does not, a function is called with a Step per observation.
        log: called with a record of each observation, such as a logger's: its "step" from 1, the rate "ber", the "drop"
            of its samples on its chip, and the score of all: "clean", on reliable memory, and "faulty", less the drop.
        float_accuracy: the network's score without the storage, only to be recorded.
        reference: the network from whose scores on reliable memory the drop is counted, sample by sample, such as the
            one before boosting; the network itself if None.
        group: the ranks that share the observations, such as ``torch.distributed.group.WORLD`` under torchrun; each of
            them calls ``profile`` alike, and all get the same tolerance, that of one rank to the bit. None for this
            process alone.

    Returns:
        The limits and the evidence for them.

    Raises:
        ValueError: naming the argument, operand, sample or trial that is wrong, what was found and what is allowed.
        TypeError: likewise.
        SearchError: if not even the lowest rate can be confirmed, or ``search.max_trials`` or the budget is too small
            for any.
        TrialTimeoutError: a SearchError, if an observation takes longer than ``budget.timeout``.
        eden.common.ranks.RankError: if another rank fails.
        eden.FileError: if a file cannot be used, or the journal is of another run; it names the field that differs.
    """
    check_kinds(search, budget)
    question = Question(
        max_drop=max_drop,
        confidence=confidence,
        guarantee=guarantee,
        seed=seed,
        attempt=attempt,
        population=population,
        search=search,
        lower_is_better=lower_is_better,
    )
    if float_accuracy is not None and not 0.0 <= float_accuracy <= 1.0:
        raise ValueError(f"float_accuracy is {float_accuracy}; allowed is 0 to 1")
    until, ranks = end_of(budget), Ranks(group)
    if isinstance(model, (str, os.PathLike)):
        from eden.tolerance.package import SearchedPackage

        if reference is not None:
            raise ValueError("reference is given with a package; allowed is None: it is compiled alone")
        if forward_fn is not None or target_fn is not None:
            raise ValueError(
                "forward_fn or target_fn is given with a package, which runs inputs as they are in its file"
            )
        subject: Any = SearchedPackage(model, loader, metric, lower_is_better, search.weigh)
    elif isinstance(model, nn.Module):
        check_reference(reference)
        samples = samples_of(loader, budget.memory_bytes)
        subject = SearchedNetwork(model, samples, metric, lower_is_better, search.weigh, forward_fn, target_fn)
    else:
        raise TypeError(
            f"model is a {type(model).__name__}; allowed is a torch.nn.Module, or the path of a package of one"
        )
    searched = subject.searched
    plan = question.plan(len(subject.scorer.samples), subject.scorer.whole)
    run = question.put(searched, plan)
    question.check_budget(run, budget)
    with contextlib.ExitStack() as stack:
        stack.enter_context(subject.borrowed())
        visible = progress is True and ranks.rank == 0
        task = stack.enter_context(eden_progress.task("profile", run.expected_trials, show=visible))
        task.note("scoring on reliable memory")
        own = clean = subject.clean_scores()
        of: dict[str, Any] = {}
        if reference is not None:
            refuse_inside_clean(reference, "profile")
            other = PlacedNetwork(reference, samples, metric, lower_is_better, forward_fn, target_fn)
            clean = other.borrowed_clean_scores()
            of["reference"] = hashlib.sha256(np.ascontiguousarray(clean).tobytes()).hexdigest()
        question.check_room(clean, subject.scorer.name)
        if isinstance(model, nn.Module):
            # A sweep's steps have chips of their own, so that nothing comes again.
            held = 0 if search.strategy == "sweep" else budget.reuse_bytes
            subject.reuse = stack.enter_context(Reuse(model, list(searched.errors), held))
        observations = ask(
            *(question, run, subject, clean, task, plan),
            names=list(searched.errors),
            weights=searched.weights,
            journal=journal,
            progress=progress,
            log=log,
            budget=budget,
            until=until,
            ranks=ranks,
            **of,
        )
    if reference is not None:
        of = {"reference": other.made_of["network"]}
    return question.answer(
        run,
        searched,
        metric=subject.scorer.name,
        clean=clean,
        made_of={**subject.made_of, **of},
        own=own if of else None,
        plan=plan,
        observations=observations,
        float_accuracy=float_accuracy,
    )
