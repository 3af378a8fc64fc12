"""A training loop that can be interrupted at any moment and goes on to the same bits.

Users with a loop of their own need none of this: ``eden.Curriculum`` works in any loop, and so do ``weight_bounds``,
``clip_weights_``, ``distilled`` and ``first_not_finite`` of this room, and the checkpoints of ``eden.save_checkpoint``.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed
import torch.utils.data
from torch import nn
from torch.utils.data import Dataset

from eden.boosting.augmentation import Augment
from eden.boosting.batches import samples_of
from eden.boosting.curriculum import Curriculum
from eden.boosting.generators import own_generators, random_states, set_random_states
from eden.boosting.identity import run_identity
from eden.boosting.loop import Loop
from eden.boosting.recipe import Recipe
from eden.boosting.resume import load_checkpoint_, save_checkpoint
from eden.boosting.weights import clip_weights_, weight_bounds
from eden.common.arguments import whole
from eden.common.files import output_file
from eden.common.ranks import Ranks
from eden.common.records import Log
from eden.faults.faulty_layers import faulty_layers
from eden.faults.inject import remove_
from eden.faults.learned_ranges import LearnedRanges
from eden.faults.network import model_device
from eden.faults.reliable import refuse_inside_clean


@dataclasses.dataclass(frozen=True)
class Epoch:
    """What an epoch ended with: its number from 0, mean loss, and the bit error rate (0 without faults)."""

    number: int
    loss: float
    ber: float


@dataclasses.dataclass
class _Run:
    """How far a training has come: whole epochs, the steps of the next one and the sum of their losses."""

    history: list[Epoch]
    step: int = 0
    total: float = 0.0
    generator: dict[str, Any] | None = None
    random: dict[str, Any] | None = None

    def extra(
        self,
        teacher: nn.Module | None,
        bounds: dict[str, float],
        learned: LearnedRanges | None,
        scaler: torch.amp.GradScaler,
    ) -> dict[str, Any]:
        return {
            "history": [dataclasses.asdict(epoch) for epoch in self.history],
            "step": self.step,
            "total": self.total,
            "generator": self.generator,
            "teacher": None if teacher is None else teacher.state_dict(),
            "bounds": bounds,
            "learned": None if learned is None else learned.state_dict(),
            "scaler": scaler.state_dict(),
        }


def train(
    model: nn.Module,
    dataset: Dataset[Any],
    recipe: Recipe,
    curriculum: Curriculum | None = None,
    augment: Augment | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    *,
    checkpoint_every: int | None = None,
    teacher: nn.Module | None = None,
    log: Log | None = None,
) -> list[Epoch]:
    """Train a classifier, under faults if a curriculum is given.

    Where torch.distributed is initialized, as torchrun and ``init_process_group`` do it, the network is trained by
    DistributedDataParallel: each rank takes its share of each batch, all are on the same chip at the same rate, and the
    first one writes the checkpoint.

    Args:
        model: the network, on the device to train on; left in evaluation mode.
        dataset: inputs and int64 class labels, read by index.
        recipe: how to train.
        curriculum: stepped after each epoch; an adaptive one is told the losses.
        augment: called with a batch of inputs, and with the generator to draw from if it takes a second argument.
        checkpoint: file written after each epoch, from which an interrupted run resumes to the same bits.
        resume: go on from ``checkpoint`` if it exists; it has to be of the same data, recipe, faults and curriculum.
        on_epoch: called after each epoch.
        on_step: called after each optimizer step with (steps done, steps in all).
        checkpoint_every: write the checkpoint also after each so many optimizer steps.
        teacher: network to distil from, by ``recipe.distillation``; a copy of ``model`` without faults if None.
        log: called on the first rank with a record of each optimizer step, such as a logger's: "step" from 1, "epoch"
            from 0, "loss", and "ber", the mean bit error rate of the step, 0 without a curriculum.

    Returns:
        What each epoch ended with, those before a resumption included.

    Raises:
        ValueError: if the dataset has no samples, an argument is out of range, the curriculum is of another network or
            has ended, the network is inside `clean`, or an operand under faults is read past its memory.
        TrainingError: if the loss is not finite, naming the read or the layer where the first such value was met, and
            the operand whose read made the largest values out of smaller ones; if a gradient is not, naming the
            Parameter; if dataset or augmentation raise; the last checkpoint is kept.
        FileError: if the checkpoint cannot be read or written, or is of another run, naming what differs; network and
            curriculum are unchanged then. The checkpoint before is whole.

    Warns:
        UserWarning: if the last step is to be trained at a lower rate than the curriculum's target.
    """
    samples_of(dataset)
    if checkpoint_every is not None and not (whole(checkpoint_every) and checkpoint_every >= 1):
        raise ValueError(f"checkpoint_every is {checkpoint_every!r}; allowed is a whole number from 1, or None")
    if recipe.clean_loss > 0.0 and not faulty_layers(model):
        raise ValueError(f"clean_loss is {recipe.clean_loss}; allowed without a layer under faults is 0")
    if curriculum is not None:
        _check_curriculum(model, curriculum)
    ranks = Ranks.found()
    if recipe.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = recipe.optimizer_of(model)
    learned = LearnedRanges(model) if recipe.learn_ranges else None
    if learned is not None:
        optimizer.add_param_group({"params": learned.parameters(), "weight_decay": recipe.range_decay})
    bounds = weight_bounds(model, recipe.clip_weights, recipe.clip_percentile)
    distilling = recipe.distillation > 0
    taught = _teacher(model, teacher) if distilling else None
    scaler = torch.amp.GradScaler(model_device(model).type, enabled=recipe.precision == "float16")
    run = _Run([])
    identity: dict[str, dict[str, Any]] = {}
    if checkpoint is not None:
        output_file(checkpoint)
        identity = run_identity(model, dataset, recipe, curriculum, teacher if distilling else None)
        if resume and Path(checkpoint).exists():
            run, bounds = _resumed(checkpoint, model, optimizer, curriculum, identity, taught, learned, scaler)
    if not run.history and not run.step:
        clip_weights_(model, bounds)
    scheduled = curriculum is not None and curriculum.schedule != "adaptive" and not curriculum.tried
    if curriculum is not None and scheduled and len(run.history) < recipe.epochs:
        epoch = curriculum.epoch + recipe.epochs - len(run.history) - 1
        last = curriculum.ber_at(epoch, (curriculum.steps_per_epoch or 1) - 1)
        if last < curriculum.highest_ber:
            warnings.warn(
                f"the training ends at BER {last:.3g}, below the curriculum's target of {curriculum.highest_ber:.3g}: "
                f"the recipe has {recipe.epochs} epochs, the curriculum {curriculum.epochs}",
                stacklevel=2,
            )
    loop = Loop(
        *(model, dataset, recipe, curriculum, augment, optimizer, bounds, taught, learned, scaler, ranks, checkpoint)
    )
    loop.kept = bool(run.history or run.step)

    def save() -> None:
        if checkpoint is not None:
            if ranks.rank == 0:
                extra = run.extra(taught, bounds, learned, scaler)
                save_checkpoint(model, checkpoint, optimizer, None, curriculum, extra, identity=identity)
            ranks.wait()
            loop.kept = True

    steps = loop.steps
    model.train()
    clamping = contextlib.ExitStack()
    try:
        if learned is not None:
            clamping.enter_context(learned.training())
        for number in range(len(run.history), recipe.epochs):
            with own_generators(recipe, number, loop.device):
                samples = loop.samples(number)
                if run.random is not None and run.generator is not None:
                    set_random_states(run.random)
                    samples.generator.bit_generator.state = run.generator
                while run.step < steps:
                    ber = curriculum.step_ber if curriculum is not None else 0.0
                    loss = loop.step(samples, number, run.step)
                    run.total += loss
                    run.step += 1
                    done = number * steps + run.step
                    if log is not None and ranks.rank == 0:
                        log({"step": done, "epoch": number, "loss": loss, "ber": ber})
                    run.generator = cast(dict[str, Any], samples.generator.bit_generator.state)
                    if checkpoint_every is not None and done % checkpoint_every == 0 and run.step < steps:
                        save()
                    if on_step is not None:
                        on_step(done, recipe.epochs * steps)
                run.history.append(Epoch(number, run.total / steps, curriculum.ber if curriculum is not None else 0.0))
                run.step, run.total, run.generator, run.random = 0, 0.0, None, None
                loop.recalibrate()
                if curriculum is not None:
                    curriculum.step()
                # Before the generators are the caller's again, of which the file is no function.
                save()
            if on_epoch is not None:
                on_epoch(run.history[-1])
    finally:
        clamping.close()
        model.eval()
    return run.history


def _check_curriculum(model: nn.Module, curriculum: Curriculum) -> None:
    own = {id(layer) for layer in faulty_layers(model).values()}
    if not {id(layer) for layer in faulty_layers(curriculum.model).values()} <= own:
        raise ValueError("the curriculum is of another network; allowed is one of the network that is trained")
    if not curriculum.moving:
        raise ValueError(
            "the curriculum has ended, or a newer one of the same layers took its place; allowed is one that optimizer "
            "steps move"
        )
    refuse_inside_clean(model, "train")


def _teacher(model: nn.Module, given: nn.Module | None) -> nn.Module:
    teacher = copy.deepcopy(model) if given is None else given
    if given is None and faulty_layers(teacher):
        remove_(teacher)
    return teacher.eval().requires_grad_(False) if given is None else teacher.eval()


def _resumed(
    path: str | os.PathLike[str],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    curriculum: Curriculum | None,
    identity: dict[str, dict[str, Any]],
    teacher: nn.Module | None,
    learned: LearnedRanges | None,
    scaler: torch.amp.GradScaler,
) -> tuple[_Run, dict[str, float]]:
    outside, extra = random_states(), dict[str, Any]()
    try:
        load_checkpoint_(model, path, optimizer, None, curriculum, extra, identity=identity, check_extra=_check_extra)
        inside = random_states()
    finally:
        set_random_states(outside)
    if teacher is not None:
        teacher.load_state_dict(extra["teacher"])
    if learned is not None:
        learned.load_state_dict(extra["learned"])
    if scaler.is_enabled():
        scaler.load_state_dict(extra["scaler"])
    history = [Epoch(**epoch) for epoch in extra["history"]]
    run = _Run(history, extra["step"], extra["total"], extra["generator"])
    if run.step:
        run.random = inside
    return run, extra["bounds"]


def _check_extra(extra: Any) -> None:
    history = [Epoch(**epoch) for epoch in extra["history"]]
    if [epoch.number for epoch in history] != list(range(len(history))):
        raise ValueError("its epochs are not numbered from 0")
    if not (whole(extra["step"]) and extra["step"] >= 0 and (extra["generator"] is None) == (extra["step"] == 0)):
        raise ValueError(f"step is {extra['step']!r}, which does not go with its generator")
    float(extra["total"]), dict(extra["bounds"]), extra["teacher"], extra["learned"]
