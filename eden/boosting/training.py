"""A training loop that can be interrupted at any moment and goes on to the same bits.

Users with a loop of their own need none of this: ``eden.Curriculum`` works in any loop, and so do ``weight_bounds``,
``clip_weights_``, ``distilled`` and ``first_not_finite`` here, and the checkpoints of ``eden.boosting.resume``.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import hashlib
import json
import math
import os
import random
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed
import torch.utils.data
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import Dataset, TensorDataset

from eden.boosting.augmentation import Augment, augmented
from eden.boosting.curriculum import Curriculum
from eden.boosting.resume import load_checkpoint_, random_states, save_checkpoint, set_random_states
from eden.common.arguments import whole
from eden.common.files import output_file
from eden.faults.calibration import ranges, recalibrate_
from eden.faults.faulty_layers import FaultyLayer, faulty_layers
from eden.faults.inject import remove_
from eden.faults.learned_ranges import LearnedRanges
from eden.faults.memories import operands
from eden.faults.network import model_device
from eden.faults.reliable import clean, refuse_inside_clean
from eden.faults.samples import update_digest
from eden.memory.errors import ErrorModel
from eden.memory.operators import Memory

OPTIMIZERS = ("sgd", "adam", "adamw")
DECAYS = ("cosine", "linear", "constant")
PRECISIONS = ("float32", "bfloat16", "float16")
_LEAST_LOSS_SCALE = 1.0  # a gradient that is not finite at it was not made so by the scale
_GROWN = 10.0  # a read is told of where its largest magnitude is so many times that of what is stored


class TrainingError(RuntimeError):
    """A run that cannot go on; the message says where it stopped and what is left to resume from."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train.

    Dropout and whatever else draws from the global generators of torch, NumPy and Python draws the numbers of the seed
    and the epoch.

    Args:
        epochs: passes over the training set.
        learning_rate: highest learning rate.
        batch_size: samples of an optimizer step, on all ranks together.
        momentum: of the gradient (Nesterov's); of "adam" and "adamw", the decay of its first moment.
        weight_decay: L2 penalty; of "adamw" decoupled from the gradient.
        warmup: share of the steps in which the learning rate rises.
        label_smoothing: of the cross-entropy loss.
        seed: of the order of the samples and of their augmentation, from 0.
        optimizer: "sgd", "adam" or "adamw".
        decay: how the learning rate falls after the warmup: "cosine", "linear", or "constant", not at all.
        distillation: share w, from 0 to 1, of the loss that is the distance to a teacher:
            (1 - w) CE + w T^2 KL(teacher || network), both at the temperature T (Hinton, Vinyals and Dean, arXiv
            1503.02531). The teacher is the network as it is before the training, on reliable memory, in its own
            floating-point numbers and in evaluation mode, unless ``train`` is given another one.
        temperature: T, above 0.
        clip_weights: largest magnitude of the values of each Parameter of two or more dimensions, or of those named;
            values beyond are brought back to it after each step (Stutz et al., MLSys 2021: RandBET's clipping). An
            error in a weight's top bit is then at most as large as that.
        clip_percentile: likewise, given as the percentile of the Parameter's magnitudes as they are before the
            training, above 50 to 100 (a share such as 0.999 is refused). Taken once: of values clipped already it could
            only fall. Of a network that is not trained yet it is that of its initial numbers.
        clean_loss: share, from 0 to below 1, of the loss that comes of a second pass over the same samples on reliable
            memory; RandBET's training takes half.
        learn_ranges: whether the ranges of inputs that are kept as codes are trained too (`LearnedRanges`).
        range_decay: L2 penalty on the factors of learned ranges, which makes them smaller.
        recalibrate: training samples, the first ones, from which the ranges of inputs that are kept as floating-point
            numbers with a correction are taken anew after each epoch (`eden.recalibrate_`); 0 for not at all.
        clip_gradients: largest 2-norm of the gradient of all Parameters together.
        accumulate: in how many parts a batch goes through the network, one after another, before each step.
        precision: "float32", or "bfloat16" or "float16": layers compute in it where torch's autocast takes it for safe.
            What the memory keeps stays in its storage. With "float16" the loss is scaled so that small gradients do not
            vanish (`torch.amp.GradScaler`): a step whose gradient overflows at its scale changes no Parameter, and the
            next one has half the scale.
        channels_last: whether images and convolutions are laid out channels last.
        compile: whether the network is compiled by torch.compile.

    Raises:
        ValueError: naming the argument that is out of range and what is allowed.
    """

    epochs: int
    learning_rate: float = 0.1
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.1
    label_smoothing: float = 0.0
    seed: int = 0
    optimizer: str = "sgd"
    decay: str = "cosine"
    distillation: float = 0.0
    temperature: float = 2.0
    clip_weights: float | Mapping[str, float] | None = None
    clip_percentile: float | Mapping[str, float] | None = None
    clean_loss: float = 0.0
    learn_ranges: bool = False
    range_decay: float = 0.0
    recalibrate: int = 1000
    clip_gradients: float | None = None
    accumulate: int = 1
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        checks: tuple[tuple[str, bool, str], ...] = (
            ("epochs", whole(self.epochs) and self.epochs >= 1, "a whole number from 1"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "above 0 and finite"),
            ("batch_size", whole(self.batch_size) and self.batch_size >= 1, "a whole number from 1"),
            ("momentum", 0 <= self.momentum < 1, "from 0 to below 1"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "from 0 and finite"),
            ("warmup", 0 <= self.warmup < 1, "from 0 to below 1"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "from 0 to below 1"),
            ("seed", whole(self.seed) and self.seed >= 0, "a whole number from 0"),
            ("optimizer", self.optimizer in OPTIMIZERS, ", ".join(OPTIMIZERS)),
            ("decay", self.decay in DECAYS, ", ".join(DECAYS)),
            ("distillation", 0 <= self.distillation <= 1, "from 0 to 1"),
            ("temperature", 0 < self.temperature < math.inf, "above 0 and finite"),
            ("clip_weights", _bound(self.clip_weights, math.inf), "above 0 and finite, one for all or by Parameter"),
            ("clip_percentile", _bound(self.clip_percentile, 100, 50), "above 50 to 100, one for all or by Parameter"),
            (
                "clip_percentile",
                not self._clipped_twice,
                "None for what clip_weights clips too",
            ),
            ("clean_loss", 0 <= self.clean_loss < 1, "from 0 to below 1"),
            ("learn_ranges", isinstance(self.learn_ranges, bool), "True or False"),
            ("range_decay", 0 <= self.range_decay < math.inf, "from 0 and finite"),
            ("recalibrate", whole(self.recalibrate) and self.recalibrate >= 0, "a whole number from 0"),
            ("clip_gradients", _bound(self.clip_gradients, math.inf), "above 0 and finite, or None"),
            ("accumulate", whole(self.accumulate) and self.accumulate >= 1, "a whole number from 1"),
            ("precision", self.precision in PRECISIONS, ", ".join(PRECISIONS)),
            ("channels_last", isinstance(self.channels_last, bool), "True or False"),
            ("compile", isinstance(self.compile, bool), "True or False"),
        )
        for name, holds, allowed in checks:
            if not holds:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is {allowed}")

    @property
    def _clipped_twice(self) -> bool:
        absolute, percentile = self.clip_weights, self.clip_percentile
        if isinstance(absolute, Mapping) and isinstance(percentile, Mapping):
            return bool(set(absolute) & set(percentile))
        return absolute is not None and percentile is not None

    def learning_rate_at(self, share: float) -> float:
        """The learning rate after a share of all steps."""
        if share < self.warmup:
            return self.learning_rate * share / self.warmup
        if self.decay == "constant":
            return self.learning_rate
        done = (share - self.warmup) / (1 - self.warmup)
        if self.decay == "linear":
            return self.learning_rate * (1 - done)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def optimizer_of(self, model: nn.Module) -> torch.optim.Optimizer:
        """A new optimizer of all Parameters."""
        parameters, rate, decay = model.parameters(), self.learning_rate, self.weight_decay
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, rate, self.momentum, weight_decay=decay, nesterov=self.momentum > 0)
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return kind(parameters, rate, betas=(self.momentum, 0.999), weight_decay=decay)


def _bound(value: Any, highest: float, lowest: float = 0) -> bool:
    if value is None:
        return True
    if isinstance(value, Mapping):
        return len(value) > 0 and all(one is not None and _bound(one, highest, lowest) for one in value.values())
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and lowest < value <= highest and math.isfinite(value)


@dataclasses.dataclass(frozen=True)
class Epoch:
    """What an epoch ended with: its number from 0, mean loss, and the bit error rate (0 without faults)."""

    number: int
    loss: float
    ber: float


def weight_bounds(
    model: nn.Module,
    absolute: float | Mapping[str, float] | None = None,
    percentile: float | Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Largest magnitudes that ``clip_weights_`` is to leave in Parameters.

    Args:
        model: the network.
        absolute: the bound itself, one for all Parameters of two or more dimensions, or by name.
        percentile: the percentile of a Parameter's present magnitudes that is its bound (linear between values),
            likewise.

    Returns:
        Bounds by the Parameters' names.

    Raises:
        ValueError: for a name that is no Parameter of two or more dimensions.
    """
    parameters = {name: value for name, value in model.named_parameters() if value.dim() >= 2}
    bounds: dict[str, float] = {}
    for given, relative in ((absolute, False), (percentile, True)):
        if given is None:
            continue
        chosen = dict(given) if isinstance(given, Mapping) else dict.fromkeys(parameters, float(given))
        for name, value in chosen.items():
            if name not in parameters:
                raise ValueError(
                    f"{name!r} is no Parameter of two or more dimensions; allowed are {', '.join(parameters)}"
                )
            bounds[name] = float(value)
            if relative:
                magnitudes = parameters[name].detach().abs().float().cpu().numpy()
                bounds[name] = float(np.quantile(magnitudes, value / 100.0))
    return bounds


def clip_weights_(model: nn.Module, bounds: Mapping[str, float]) -> None:
    """Bring the values of Parameters back to a largest magnitude, in place; to be called after each optimizer step.

    Args:
        model: the network.
        bounds: largest magnitude by name, as ``weight_bounds`` gives them.

    Raises:
        KeyError: for a name that is no Parameter.
    """
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, bound in bounds.items():
            parameters[name].clamp_(-bound, bound)


def distilled(output: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The distance to a teacher: T^2 KL(softmax(teacher / T) || softmax(output / T)), a mean over samples.

    The factor keeps its gradient's size independent of T (Hinton, Vinyals and Dean, arXiv 1503.02531).

    Args:
        output: logits, shape (N, classes), or (N, classes, ...).
        teacher: logits of the same shape, without a gradient.
        temperature: T.
    """
    ours = (output / temperature).log_softmax(1)
    theirs = (teacher / temperature).log_softmax(1)
    distances = (theirs.exp() * (theirs - ours)).sum(1)
    return distances.mean() * temperature**2


class _Samples:
    """The batches of an epoch: a function of the recipe's seed and the epoch alone; a rank takes its share of each."""

    def __init__(
        self,
        dataset: Dataset[Any],
        recipe: Recipe,
        epoch: int,
        augment: Augment | None,
        device: torch.device,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._dataset, self._recipe, self._augment, self._device = dataset, recipe, augment, device
        self._rank, self._ranks = rank, ranks
        self.generator = np.random.default_rng((recipe.seed, epoch))
        self._order = torch.from_numpy(self.generator.permutation(samples_of(dataset)))

    def _fetch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self._dataset, TensorDataset):
            inputs, targets = self._dataset.tensors
            return inputs[chosen], targets[chosen]
        x, y = torch.utils.data.default_collate([self._dataset[index] for index in chosen.tolist()])
        return x, y

    def batch(self, step: int) -> tuple[Tensor, Tensor, float]:
        """The rank's inputs and targets of a batch, and its share of the batch's samples."""
        size = self._recipe.batch_size
        chosen = self._order[step * size : (step + 1) * size]
        own = torch.arange(self._rank, len(chosen), self._ranks)
        share = len(own) / len(chosen)
        if len(own) == 0:  # it still has to take part in the step, at a weight of 0
            own = torch.zeros(1, dtype=torch.int64)
        if self._augment is None:
            x, y = self._fetch(chosen[own])
        else:
            # Of the whole batch, so that the draws do not depend on the number of ranks.
            x, y = self._fetch(chosen)
            x, y = augmented(self._augment, x, self.generator)[own], y[own]
        return x.to(self._device), y.to(self._device), share


def samples_of(dataset: Dataset[Any]) -> int:
    """The number of a dataset's samples. Raises ValueError for one that does not tell it or has none."""
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise ValueError(f"dataset is a {type(dataset).__name__}; allowed is one of known length, read by index")
    if len(dataset) == 0:
        raise ValueError("dataset has no samples; training needs at least one")
    return len(dataset)


def batches(
    dataset: Dataset[Any], recipe: Recipe, epoch: int, augment: Augment | None, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of an epoch: a function of the recipe's seed and the epoch alone."""
    samples = _Samples(dataset, recipe, epoch, augment, device)
    for step in range(math.ceil(samples_of(dataset) / recipe.batch_size)):
        x, y, _ = samples.batch(step)
        yield x, y


@contextlib.contextmanager
def _own_generators(recipe: Recipe, epoch: int, device: torch.device) -> Iterator[None]:
    # Dropout draws from torch's global generators. Seeded by the epoch they repeat, and the caller finds them as they
    # were.
    generators = [torch.default_generator]
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    states = [generator.get_state() for generator in generators]
    others = np.random.get_state(), random.getstate()
    seeds = np.random.SeedSequence((recipe.seed, epoch))
    seed = int(seeds.generate_state(1, np.uint64)[0])
    try:
        for generator in generators:
            generator.manual_seed(seed)
        np.random.seed(seeds.generate_state(4))
        random.seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        np.random.set_state(others[0])
        random.setstate(others[1])


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


@dataclasses.dataclass(frozen=True)
class _Ranks:
    """The processes that train together."""

    rank: int
    number: int

    @classmethod
    def found(cls) -> _Ranks:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return cls(torch.distributed.get_rank(), torch.distributed.get_world_size())
        return cls(0, 1)

    def sum(self, value: float, device: torch.device) -> float:
        if self.number == 1:
            return value
        held = torch.tensor(value, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(held)
        return float(held)

    def average(self, gradients: list[Tensor]) -> None:
        """Of Parameters that DistributedDataParallel does not know."""
        if self.number > 1:
            for gradient in gradients:
                torch.distributed.all_reduce(gradient)
                gradient.div_(self.number)

    def wait(self) -> None:
        if self.number > 1:
            torch.distributed.barrier()


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

    Returns:
        What each epoch ended with, those before a resumption included.

    Raises:
        ValueError: if the dataset has no samples, an argument is out of range, the curriculum is of another network or
            has ended, or the network is inside `clean`.
        TrainingError: if the loss is not finite, naming the read or the layer where the first such value was met, and
            the operand whose read made the largest values out of smaller ones; if a gradient is not, naming the
            Parameter; if dataset or augmentation raise; the last checkpoint is kept.
        FileError: if the checkpoint cannot be read or written, or is of another run, naming what differs; network and
            curriculum are unchanged then. The checkpoint before is whole.

    Warns:
        UserWarning: if the last epoch is to be trained at a lower rate than the curriculum's target.
    """
    samples_of(dataset)
    if checkpoint_every is not None and not (whole(checkpoint_every) and checkpoint_every >= 1):
        raise ValueError(f"checkpoint_every is {checkpoint_every!r}; allowed is a whole number from 1, or None")
    if recipe.clean_loss > 0.0 and not faulty_layers(model):
        raise ValueError(f"clean_loss is {recipe.clean_loss}; allowed without a layer under faults is 0")
    if curriculum is not None:
        _check_curriculum(model, curriculum)
    ranks = _Ranks.found()
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
        identity = _identity(model, dataset, recipe, curriculum, teacher if distilling else None)
        if resume and Path(checkpoint).exists():
            run, bounds = _resumed(checkpoint, model, optimizer, curriculum, identity, taught, learned, scaler)
    if not run.history and not run.step:
        clip_weights_(model, bounds)
    if curriculum is not None and curriculum.schedule != "adaptive" and len(run.history) < recipe.epochs:
        last = curriculum.ber_at(curriculum.epoch + recipe.epochs - len(run.history) - 1)
        if last < curriculum.highest_ber:
            warnings.warn(
                f"the training ends at BER {last:.3g}, below the curriculum's target of {curriculum.highest_ber:.3g}: "
                f"the recipe has {recipe.epochs} epochs, the curriculum {curriculum.epochs}",
                stacklevel=2,
            )
    loop = _Loop(
        *(model, dataset, recipe, curriculum, augment, optimizer, bounds, taught, learned, scaler, ranks, checkpoint)
    )
    loop.kept = bool(run.history or run.step)

    def save() -> None:
        if checkpoint is not None:
            if ranks.rank == 0:
                extra = run.extra(taught, bounds, learned, scaler)
                save_checkpoint(checkpoint, model, optimizer, None, curriculum, extra, identity=identity)
            ranks.wait()
            loop.kept = True

    steps = loop.steps
    model.train()
    clamping = contextlib.ExitStack()
    try:
        if learned is not None:
            clamping.enter_context(learned.training())
        for number in range(len(run.history), recipe.epochs):
            with _own_generators(recipe, number, loop.device):
                samples = loop.samples(number)
                if run.random is not None and run.generator is not None:
                    set_random_states(run.random)
                    samples.generator.bit_generator.state = run.generator
                while run.step < steps:
                    run.total += loop.step(samples, number, run.step)
                    run.step += 1
                    done = number * steps + run.step
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


class _Loop:
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
        ranks: _Ranks,
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
        if ranks.number > 1:
            on_gpu = [self.device.index] if self.device.type == "cuda" else None
            forward = nn.parallel.DistributedDataParallel(forward, device_ids=on_gpu)
        self.forward = forward

    def samples(self, epoch: int) -> _Samples:
        return _Samples(self.dataset, self.recipe, epoch, self.augment, self.device, self.ranks.rank, self.ranks.number)

    def step(self, samples: _Samples, epoch: int, step: int) -> float:
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
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        before = self._before()
        self.optimizer.zero_grad(set_to_none=True)
        value = 0.0
        for part, targets in zip(x.tensor_split(recipe.accumulate), y.tensor_split(recipe.accumulate), strict=True):
            weight = len(part) / len(x)
            if len(part) == 0:
                if self.ranks.number == 1:
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
            self.ranks.average([factor.grad for factor in self.learned.parameters() if factor.grad is not None])
        self.scaler.unscale_(self.optimizer)
        held = {name: p.grad for name, p in self.model.named_parameters() if p.grad is not None}
        norm = nn.utils.get_total_norm(held.values())
        # Judged before they reach the Parameters, and with them the next checkpoint.
        spoilt = [] if math.isfinite(float(norm)) else [name for name, grad in held.items() if not _all_finite(grad)]
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
            recalibrate_(self.model, torch.utils.data.DataLoader(first, batch_size=self.recipe.batch_size))

    def _with_gradients(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.grad is not None]

    def _backward(self, x: Tensor, y: Tensor, weight: float, share: float) -> float:
        loss = self.loss(self.forward, x, y) * weight
        # DistributedDataParallel takes the mean over ranks, whatever their shares are.
        weighted = loss * (share * self.ranks.number) if self.ranks.number > 1 else loss
        self.scaler.scale(weighted).backward()  # type: ignore[no-untyped-call]
        return float(loss.detach()) * share

    def loss(self, forward: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
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
            found, read = _watched(self.model, functools.partial(self.loss, self.model, part, targets))
            grown = max(grown, read)
            if found is not None:
                return found, read[1]
        return None, grown[1]


def _told(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}{place}: {text}" if text else f"{type(error).__name__}{place}"


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the first operation that makes a value which is not finite out of finite ones."""

    def __init__(self, regions: dict[int, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.regions = regions
        self.layers: list[str] = []
        self.found: str | None = None
        self.grown: tuple[float, str] = 0.0, ""  # of the reads before: the one that made the most of what is stored

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.found is None:
            inside = self.layers[-1] if self.layers else ""
            read = [self.regions[id(one)] for one in args if isinstance(one, Tensor) and id(one) in self.regions]
            if not read and str(func).startswith("eden.corrupt"):  # single rows of a table
                read = [f"an operand of {inside}"]
            if not _all_finite(result):
                if read:
                    self.found = f"the read of {read[0]}"
                else:
                    self.found = f"the output of {inside} ({func})" if inside else f"the loss ({func})"
            elif read and isinstance(args[0], Tensor):
                self._note(read[0], args[0], result[0] if isinstance(result, tuple) else result)
        return result

    def _note(self, operand: str, stored: Tensor, read: Tensor) -> None:
        if stored.numel() == 0:
            return
        before, after = float(stored.abs().max()), float(read.abs().max())
        grown = after / max(before, torch.finfo(torch.float32).tiny)
        if grown > max(self.grown[0], _GROWN):
            self.grown = grown, f"after the read of {operand} made {after:.3g} of at most {before:.3g}"


def _all_finite(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value.float()).all())
    return all(_all_finite(one) for one in value) if isinstance(value, (list, tuple)) else True


_REGION = re.compile(r"eden_(\w+)_region")


def _operand_of(name: str, layer: FaultyLayer, role: str) -> str:
    # Buffers have no dots in their names; a shared operand has the name of the first layer that reads it.
    names = [operand.name for operand in layer.eden_faults.operands()]
    own = [one for one in names if f".{one}".replace(".", "_").endswith(f"_{role}")]
    operand = own[0] if own else f"{name}.{role}" if name else role
    rates = {one.name: one.errors.ber for one in layer.eden_faults.operands() if isinstance(one.errors, ErrorModel)}
    return f"{operand} (BER {rates[operand]:.3g})" if operand in rates else operand


def first_not_finite(model: nn.Module, forward: Callable[[], Any]) -> str | None:
    """Where a forward pass first meets a value that is not finite: a Parameter, an operand's read, or a layer's output.

    Masks of minus infinity, as attention uses them, count too, so call it where the loss is not finite.

    Args:
        model: the network, not the compiled form of it.
        forward: runs the pass, which is repeated without gradients, on the chip and at the access numbers of the
            network as it is.

    Returns:
        Words for an error message, with the read before it, if any, that gave far larger values than are stored, which
        are what overflows later on; None if every value is finite.
    """
    found, (_, read) = _watched(model, forward)
    return found if found is None or not read else f"{found}, {read}"


def _watched(model: nn.Module, forward: Callable[[], Any]) -> tuple[str | None, tuple[float, str]]:
    """Where a value is first not finite, and by how much which read before it grew what is stored."""
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if "eden_" not in name and not _all_finite(value):
            return f"the stored {name} itself", (0.0, "")
    regions = {
        id(buffer): _operand_of(name, layer, match[1])
        for name, layer in faulty_layers(model).items()
        for key, buffer in layer.named_buffers(recurse=False)
        if (match := _REGION.fullmatch(key)) is not None
    }
    watch = _Watch(regions)
    hooks = []
    for name, module in model.named_modules():
        label = name or type(module).__name__

        def enter(*_: Any, label: str = label) -> None:
            watch.layers.append(label)

        def leave(*_: Any) -> None:
            watch.layers.pop()

        hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        with torch.no_grad(), watch:
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    return watch.found, watch.grown


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


def _digest(value: Any) -> str:
    digest = hashlib.sha256()
    update_digest(digest, value)
    return digest.hexdigest()


def _identity(
    model: nn.Module,
    dataset: Dataset[Any],
    recipe: Recipe,
    curriculum: Curriculum | None,
    teacher: nn.Module | None,
) -> dict[str, dict[str, Any]]:
    """What a run is a function of, apart from the network's weights; JSON values by group and field."""
    count = samples_of(dataset)
    # Of a dataset that is read sample by sample, a few: the whole may be larger than the memory and slow to read.
    content = (
        dataset.tensors if isinstance(dataset, TensorDataset) else [dataset[i] for i in (0, count // 2, count - 1)]
    )
    memory = {
        operand.name: [operand.storage, operand.correction, int(layer.eden_chip)]
        for layer in faulty_layers(model).values()
        for operand in layer.eden_faults.operands()
    }
    known = ranges(model) if memory else {}
    placed = {
        operand.name: [
            operand.address,
            operand.affine,
            operand.channels,
            operand.contiguous,
            _errors_of(operand.errors) if curriculum is None else None,  # whose settings hold them
        ]
        for layer in faulty_layers(model).values()
        for operand in layer.eden_faults.operands()
    }
    inputs = [
        name for name, info in (operands(model) if memory else {}).items() if info.kind == "input" and name in known
    ]
    identity = {
        "recipe": dataclasses.asdict(recipe),
        "dataset": {"samples": count, "digest": _digest(content)},
        "curriculum": {"given": curriculum is not None, **(curriculum.settings() if curriculum is not None else {})},
        "faults": memory,
        "memory": placed,
        "ranges": {name: list(known[name]) for name in inputs},
        "teacher": {"digest": None if teacher is None else _digest(dict(teacher.state_dict()))},
    }
    return json.loads(json.dumps(identity))  # type: ignore[no-any-return]


def _errors_of(memory: Memory) -> Any:
    if isinstance(memory, tuple):
        return [[_errors_of(model), address, bits] for model, address, bits in memory]
    return None if memory is None else memory.to_dict()


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
    outside = random_states()
    try:
        extra = load_checkpoint_(path, model, optimizer, None, curriculum, identity=identity, check_extra=_check_extra)
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
