"""One optimizer step of a training, under faults that change with it."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed
import torch.utils.data
from torch import Tensor, nn
from torch.utils.data import Dataset

from eden.boosting.augmentation import Augment
from eden.boosting.batches import Samples, samples_of
from eden.boosting.curriculum import Curriculum
from eden.boosting.generators import own_generators, random_states, set_random_states
from eden.boosting.not_finite import all_finite, watched_pass
from eden.boosting.recipe import Recipe
from eden.boosting.weights import clip_weights_, distilled
from eden.common.ranks import Ranks
from eden.faults.calibration import calibrate_
from eden.faults.faulty_layers import faulty_layers
from eden.faults.learned_ranges import LearnedRanges
from eden.faults.network import model_device
from eden.faults.reads import Reads
from eden.faults.reliable import clean

_CALMER = 0.1  # times the learning rate, each time that training lost the network and the best one came back
_LEAST_LOSS_SCALE = 1.0  # a gradient that is not finite at it was not made so by the scale


class TrainingError(RuntimeError):
    """A run that cannot go on; the message says where it stopped and what is left to resume from."""


class Loop:
    """One optimizer step of a training."""

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset[Any],
        recipe: Recipe,
        curriculum: Curriculum | None,
        augment: Augment | None,
        optimizer: torch.optim.Optimizer,
        bounds: dict[str, float],
        teacher: nn.Module | None,
        learned: LearnedRanges | None,
        scaler: torch.amp.GradScaler,
        ranks: Ranks,
        checkpoint: str | os.PathLike[str] | None,
    ) -> None:
        self.model, self.dataset, self.recipe, self.curriculum, self.augment = (
            model,
            dataset,
            recipe,
            curriculum,
            augment,
        )
        self.optimizer, self.bounds, self.teacher, self.learned = optimizer, bounds, teacher, learned
        self.scaler, self.ranks = scaler, ranks
        self.checkpoint, self.kept = checkpoint, False  # whether the file is of this run
        self.device = model_device(model)
        self.steps = math.ceil(samples_of(dataset) / recipe.batch_size)
        forward: Any = torch.compile(model) if recipe.compile else model
        if ranks.size > 1:
            on_gpu = [self.device.index] if self.device.type == "cuda" else None
            forward = nn.parallel.DistributedDataParallel(forward, device_ids=on_gpu)
        self.forward = forward
        self._looked = False

    def samples(self, epoch: int) -> Samples:
        """This rank's batches of an epoch."""
        return Samples(self.dataset, self.recipe, epoch, self.augment, self.device, self.ranks.rank, self.ranks.size)

    def step(self, samples: Samples, epoch: int, step: int) -> float:
        """Take a step; the loss, a mean over the batch on all ranks."""
        recipe = self.recipe
        where = f"in epoch {epoch}, step {step}"
        left = f"; the run can be resumed from {self.checkpoint}" if self.kept else ""
        try:
            x, y, share = samples.batch(step)
        except Exception as error:
            raise TrainingError(f"the data raised {_told(error)} {where}{left}") from error
        if recipe.channels_last and x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        rate = recipe.learning_rate_at((epoch * self.steps + step + 1) / (recipe.epochs * self.steps))
        if self.curriculum is not None:
            rate *= _CALMER**self.curriculum.restored
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if not self._looked:
            self._look_at_reads(x, y)
        before = self._before()
        self.optimizer.zero_grad(set_to_none=True)
        value = 0.0
        with self._own_numbers(epoch, step):
            for part, targets in zip(x.tensor_split(recipe.accumulate), y.tensor_split(recipe.accumulate), strict=True):
                weight = len(part) / len(x)
                if len(part) == 0:
                    if self.ranks.size == 1:
                        continue
                    # Another rank may have a sample more, and each backward pass takes all of them.
                    part, targets = x[:1], y[:1]
                value += self._backward(part, targets, weight * (1.0 - recipe.clean_loss), share)
                if recipe.clean_loss > 0.0:
                    with clean(self.model):
                        value += self._backward(part, targets, weight * recipe.clean_loss, share)
        value = self.ranks.sum(value, self.device)
        if not math.isfinite(value):
            raise TrainingError(_not_finite(value, where, *self._watched(before, x, y), self.curriculum, left))
        if self.learned is not None:
            self.ranks.average_([factor.grad for factor in self.learned.parameters() if factor.grad is not None])
        self.scaler.unscale_(self.optimizer)
        held = {name: p.grad for name, p in self.model.named_parameters() if p.grad is not None}
        norm = nn.utils.get_total_norm(held.values())
        # Judged before they reach the Parameters, and with them the next checkpoint.
        spoilt = [] if math.isfinite(float(norm)) else [name for name, grad in held.items() if not all_finite(grad)]
        skipped = bool(spoilt) and self.scaler.is_enabled() and self.scaler.get_scale() > _LEAST_LOSS_SCALE
        if not math.isfinite(float(norm)) and not skipped:
            if spoilt:
                kind, found = "finite, its gradient is not,", f"the gradient of {spoilt[-1]}"
            else:
                sizes = {name: float(grad.abs().max()) for name, grad in held.items()}
                name = max(sizes, key=sizes.__getitem__)
                kind = "finite, the norm of its gradient is not,"
                found = f"the gradient of {name}, which is up to {sizes[name]:.3g}"
            _, read = self._watched(before, x, y)
            raise TrainingError(_not_finite(kind, where, found, read, self.curriculum, left))
        if recipe.clip_gradients is not None and not skipped:
            nn.utils.clip_grads_with_norm_(self._with_gradients(), recipe.clip_gradients, norm)
        self.scaler.step(self.optimizer)  # which itself leaves out what is skipped here
        self.scaler.update()
        if skipped and self.curriculum is not None:
            self.curriculum.next_chip()
        clip_weights_(self.model, self.bounds)
        if self.learned is not None:
            self.learned.apply_()
        if self.curriculum is not None and self.curriculum.schedule == "adaptive":
            self.curriculum.report(loss=value)
        return value

    def recalibrate(self) -> None:
        """Let the ranges of inputs follow the network where values beyond them are taken for errors."""
        count = min(self.recipe.recalibrate, samples_of(self.dataset))
        if count > 0 and faulty_layers(self.model):
            first = torch.utils.data.Subset(self.dataset, range(count))
            loader = torch.utils.data.DataLoader(first, batch_size=self.recipe.batch_size)
            calibrate_(self.model, loader, outgrown=True)

    def _with_gradients(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.grad is not None]

    def _own_numbers(self, epoch: int, step: int) -> contextlib.AbstractContextManager[None]:
        """What dropout draws from: on each of several ranks its own numbers, so that no two drop alike."""
        if self.ranks.size == 1:
            return contextlib.nullcontext()
        # Those that data are drawn and augmented with stay the same on all ranks. From 1 on: 0 is no number of a seed.
        return own_generators(self.recipe, epoch, self.device, step + 1, self.ranks.rank)

    def _backward(self, x: Tensor, y: Tensor, weight: float, share: float) -> float:
        loss = self.loss(self.forward, x, y) * weight
        # DistributedDataParallel takes the mean over ranks, whatever their shares are.
        weighted = loss * (share * self.ranks.size) if self.ranks.size > 1 else loss
        self.scaler.scale(weighted).backward()  # type: ignore[no-untyped-call]
        return float(loss.detach()) * share

    def loss(self, forward: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
        """The loss of a batch: cross-entropy, the distance to a teacher, or both in their shares."""
        recipe = self.recipe
        short = torch.float16 if recipe.precision == "float16" else torch.bfloat16
        with torch.autocast(self.device.type, short, enabled=recipe.precision != "float32"):
            output = forward(x)
            if self.teacher is None:
                return nn.functional.cross_entropy(output, y, label_smoothing=recipe.label_smoothing)
            with torch.no_grad():
                theirs = self.teacher(x)
        distance = distilled(output.float(), theirs.float(), recipe.temperature)
        if recipe.distillation == 1.0:
            return distance
        own = nn.functional.cross_entropy(output.float(), y, label_smoothing=recipe.label_smoothing)
        return (1.0 - recipe.distillation) * own + recipe.distillation * distance

    def _look_at_reads(self, x: Tensor, y: Tensor) -> None:
        """Refuse operands that a pass reads past their memory. It is a pass of its own, of which nothing stays."""
        self._looked = True
        layers = faulty_layers(self.model).values()
        if not layers:
            return
        reads, random = Reads(self.model), random_states()
        buffers = [(buffer, buffer.detach().clone()) for buffer in self.model.buffers()]
        held = [layer.eden_faults for layer in layers]
        counts = [(faults.reads, faults.recomputed, faults.repeatable) for faults in held]
        try:
            with torch.no_grad():
                reads.call(functools.partial(self.loss, self.model), x, y)
        finally:
            set_random_states(random)
            with torch.no_grad():
                for buffer, saved in buffers:
                    buffer.copy_(saved)
            for faults, before in zip(held, counts, strict=True):
                faults.reads, faults.recomputed, faults.repeatable = before
        reads.check()

    def _before(self) -> list[tuple[Tensor, Tensor]]:
        # What a forward pass moves on and its repetition, to find where it went wrong, needs.
        layers = faulty_layers(self.model).values()
        return [(layer.eden_training_access, layer.eden_training_access.clone()) for layer in layers]

    def _watched(self, before: list[tuple[Tensor, Tensor]], x: Tensor, y: Tensor) -> tuple[str | None, str]:
        """Where the step's passes first met a value that is not finite, and which read grew values most."""
        for access, saved in before:
            access.copy_(saved)
        recipe = self.recipe
        grown: tuple[float, str] = 0.0, ""
        for part, targets in zip(x.tensor_split(recipe.accumulate), y.tensor_split(recipe.accumulate), strict=True):
            if len(part) == 0:
                continue
            found, read = watched_pass(self.model, functools.partial(self.loss, self.model, part, targets))
            grown = max(grown, read)
            if found is not None:
                return found, read[1]
        return None, grown[1]


def _told(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}{place}: {text}" if text else f"{type(error).__name__}{place}"


def _not_finite(
    value: float | str, where: str, found: str | None, read: str, curriculum: Curriculum | None, left: str
) -> str:
    rate = f" at BER {curriculum.step_ber:.3g}" if curriculum is not None else ""
    first = f", first met in {found}" if found is not None else ""
    grown = f", {read}" if read else ""
    return (
        f"the loss is {value} {where}{rate}{first}{grown}; allowed is a finite number: lower the learning rate or the "
        f"bit error rate, or correct implausible values (correction='zero'){left}"
    )
