"""``eden retrain``: train a task's network, then retrain it under a memory's errors, as a recipe says."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import TensorDataset

from eden.app.paths import RETRAIN_FILES
from eden.app.recipe import NAME, RetrainRecipe
from eden.app.steps import check_boost, put_under_faults, threads_of, train_with_progress
from eden.app.tasks import KEPT, Task, load_task
from eden.boosting.curriculum import Curriculum
from eden.common.folder import claimed
from eden.common.ranks import process_group
from eden.faults.checkpoint import save
from eden.faults.memories import operands, set_errors_
from eden.faults.normalization import batch_norms, reestimate_
from eden.memory.errors import ErrorModel
from eden.tolerance.evaluation import clean_accuracy


def retrain(
    recipe: RetrainRecipe,
    folder: str | os.PathLike[str],
    *,
    resume: bool = False,
    force: bool = False,
    say: Callable[[str], None] = print,
) -> nn.Module:
    """Train a task's network, then retrain it under a memory's errors, and write networks, checkpoints and recipe.

    Under torchrun the ranks train together, and the first one writes and tells.

    Args:
        recipe: what to do.
        folder: where ``recipe.toml`` (resolved), ``baseline.safetensors``, ``boosted.safetensors`` and the checkpoints
            ``train.safetensors`` and ``boost.safetensors`` go.
        resume: go on from the checkpoints there.
        force: begin anew in place of the run there. With neither, a folder that holds one is refused.
        say: told in a sentence what was found.

    Returns:
        The retrained network, under the memory's errors.

    Raises:
        FileError: for a folder or file that cannot be used; if a checkpoint is of another run.
        ValueError: for what the recipe gives and the task or the device refuses, before anything is trained.
        TrainingError: if the training cannot go on.
    """
    task = load_task(recipe.task)
    with threads_of(task), claimed(folder, RETRAIN_FILES, resume=resume, force=force) as claim:
        ready = prepared(recipe, task)
        if resume and (claim.path / NAME).exists():
            ready.recipe.compare(claim.path / NAME)
        claim.clear()
        return _trained(ready, claim.path, resume, say)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A retraining whose recipe was held against its task: nothing is refused any more."""

    recipe: RetrainRecipe
    """With every value."""
    task: Task
    """Trained and kept as the recipe says."""
    model: nn.Module
    train_set: TensorDataset
    validation: TensorDataset
    errors: ErrorModel
    target: float | dict[str, float] | list[ErrorModel] | None
    options: dict[str, Any]
    """Of the curriculum, its own validation set included where it finds its target."""


def prepared(recipe: RetrainRecipe, task: Task) -> Prepared:
    """Load what a retraining needs, and refuse what it would refuse after the minutes of training that come first.

    Raises:
        FileError: for a file that the recipe names and that cannot be used.
        ValueError: for what the recipe gives and the task or the device refuses.
    """
    whole = recipe.resolved(task)
    device = whole.device()
    errors = whole.errors(device)
    target, options = whole.target(device), whole.curriculum_options()
    task = dataclasses.replace(
        kept_as(task, whole),
        train=None if task.train is None else whole.recipe("training"),
        boost=whole.recipe("boost"),
    )
    train_set, validation = task.sets()
    model = task.model()
    check_boost(model, task, errors, target, task.boost, which=whole.memory.operands, train_set=train_set, **options)
    if whole.reestimate_chips and not batch_norms(model):
        raise ValueError(
            f"reestimate_chips is {whole.reestimate_chips}; allowed for {type(model).__name__}, which has no batch "
            "norm with running statistics, is 0"
        )
    if target is None:
        train_set, options["validation"] = _split(train_set)
    return Prepared(whole, task, model, train_set, validation, errors, target, options)


def _split(train_set: TensorDataset) -> tuple[TensorDataset, TensorDataset]:
    """What is trained on, and a tenth that a curriculum makes its choices by: the validation set stays unseen."""
    order = torch.randperm(len(train_set), generator=torch.Generator().manual_seed(0))
    first = math.ceil(len(train_set) / 10)
    kept, rest = order[:first].sort().values, order[first:].sort().values
    parts = [TensorDataset(*(tensor[rows] for tensor in train_set.tensors)) for rows in (rest, kept)]
    return parts[0], parts[1]


def kept_as(task: Task, recipe: RetrainRecipe) -> Task:
    """A task whose network's numbers are kept as a resolved recipe says."""
    return dataclasses.replace(
        task,
        **{name: getattr(recipe.memory, name) for name in KEPT},
        calibration_samples=recipe.calibration_samples or task.calibration_samples,
    )


def _trained(ready: Prepared, out: Path, resume: bool, say: Callable[[str], None]) -> nn.Module:
    whole, task, model, train_set, errors = ready.recipe, ready.task, ready.model, ready.train_set, ready.errors
    which, every, boost = whole.memory.operands, whole.checkpoint_every, task.boost
    with process_group() as rank:
        first = rank == 0
        if first:
            whole.save(out / NAME)
        if task.train is not None:
            train_with_progress(
                *("train", model, train_set, task.train, task, None, out / "train.safetensors", resume), every=every
            )
        put_under_faults(model, task, errors, train_set, whole.seed, which)
        if first:
            save(model, out / "baseline.safetensors")
            say(f"before: {clean_accuracy(model, ready.validation):.2%} without errors")
        curriculum = Curriculum(model, ready.target, boost.epochs, **ready.options)
        checkpoint = out / "boost.safetensors"
        train_with_progress("boost", model, train_set, boost, task, curriculum, checkpoint, resume, every=every)
        if first and curriculum.tried:
            say(curriculum.table())
        set_errors_(model, dict.fromkeys(operands(model), errors))
        if whole.reestimate_chips:
            inputs = train_set.tensors[0].split(boost.batch_size)  # type: ignore[no-untyped-call]
            reestimate_(model, inputs, whole.reestimate_chips, whole.seed)
        if first:
            save(model, out / "boosted.safetensors")
            say(f"after: {clean_accuracy(model, ready.validation):.2%} without errors")
            say(f"written: {out / 'baseline.safetensors'}, {out / 'boosted.safetensors'}")
    return model
