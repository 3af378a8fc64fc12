"""What the steps of the command line do alike on a task: train, put under faults, measure."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed
from torch import nn
from torch.utils.data import TensorDataset

from eden.app.tasks import Task, check_network
from eden.boosting.curriculum import Curriculum
from eden.boosting.recipe import Recipe
from eden.boosting.training import Epoch, train
from eden.boosting.weights import weight_bounds
from eden.common.progress import task as progress_task
from eden.costs.count_traffic import traffic
from eden.costs.platforms import Platform
from eden.costs.traffic_file import Traffic
from eden.faults.calibration import calibrate_
from eden.faults.chips import chip_of_run
from eden.faults.config import Faults
from eden.faults.inject import inject_
from eden.faults.learned_ranges import LearnedRanges
from eden.memory.errors import ErrorModel
from eden.reporting.accuracy import AccuracyCurves, AccuracyPoint
from eden.tolerance.evaluation import OverChips, at_rates, reachable

_CALIBRATION_BATCH = 100
_SAMPLES_OF_A_CHECK = 2

RATES = (1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2)
"""Mean bit error rates at which accuracy is drawn."""


def train_with_progress(
    name: str,
    model: nn.Module,
    dataset: TensorDataset,
    recipe: Recipe,
    task: Task,
    curriculum: Curriculum | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    every: int | None = None,
) -> list[Epoch]:
    """Train with a bar or plain lines; ``every`` is how often within epochs the checkpoint is written."""
    steps = -(-len(dataset) // recipe.batch_size) * recipe.epochs
    grouped = torch.distributed.is_available() and torch.distributed.is_initialized()
    with progress_task(name, total=steps, show=not grouped or torch.distributed.get_rank() == 0) as shown:
        counted = 0

        def count(done: int) -> None:
            # A resumed run begins with the steps of the one before.
            nonlocal counted
            shown.advance(done - counted)
            counted = done

        def on_epoch(epoch: Epoch) -> None:
            shown.note(f"epoch {epoch.number + 1}/{recipe.epochs}: loss {epoch.loss:.4f}, BER {epoch.ber:.2g}")

        history = train(
            model,
            dataset,
            recipe,
            curriculum,
            task.augment,
            checkpoint,
            resume,
            on_epoch=on_epoch,
            on_step=lambda done, total: count(done),
            checkpoint_every=every,
        )
        count(steps)
        return history


def check_boost(
    model: nn.Module,
    task: Task,
    errors: ErrorModel,
    target_ber: float | Mapping[str, float] | Sequence[ErrorModel] | None,
    recipe: Recipe,
    seed: int = 0,
    which: str = "all",
    train_set: TensorDataset | None = None,
    **options: Any,
) -> None:
    """Refuse what a boost would refuse, before the minutes of training that come first; the network is not changed.

    ``options`` are those of `Curriculum`. With ``train_set`` a few samples of it are calibrated with.

    Raises:
        ValueError: if the network has no eligible layer, or an argument is out of range.
        TypeError: if the seed is no int.
    """
    if train_set is not None:
        check_network(task, model, train_set)
    copied = inject_(copy.deepcopy(model), faults_of(task, errors, seed, which))
    if target_ber is not None:
        Curriculum(copied, target_ber, recipe.epochs, seed=seed, **options)
    weight_bounds(copied, recipe.clip_weights, recipe.clip_percentile)
    if train_set is not None:
        calibrate_(copied, [train_set.tensors[0][:_SAMPLES_OF_A_CHECK]], task.percentile)
        if recipe.learn_ranges:
            LearnedRanges(copied)


def rates_with_progress(model: nn.Module, validation: TensorDataset, chips: int, seed: int) -> dict[float, OverChips]:
    """Accuracy over chips at each of ``RATES`` that the operands' errors reach, with a bar or plain lines."""
    rates = reachable(model, RATES)
    with progress_task("evaluate", total=len(rates) * chips) as shown:
        return at_rates(model, validation, rates, chips, seed, on_chip=shown.advance)


OPERANDS = {"all": (True, True), "weights": (True, False), "inputs": (False, True)}
"""By name, whether weights and whether inputs are in the memory that makes errors."""


def faults_of(task: Task, errors: ErrorModel, seed: int = 0, which: str = "all") -> Faults:
    """A task's faults with one error model for all operands, or for those that ``OPERANDS`` names."""
    weights, inputs = OPERANDS[which]
    assert task.storage is not None  # a task fills it in, and what follows
    assert task.correction is not None
    return Faults(
        errors if weights else None,
        errors if inputs else None,
        task.storage,
        task.correction,
        chip_of_run(seed),
        quantization=task.quantization,
        weight_channels=task.weight_channels,
        input_storage=task.input_storage,
        planes=task.planes,
    )


def put_under_faults(
    model: nn.Module, task: Task, errors: ErrorModel, train_set: TensorDataset, seed: int = 0, which: str = "all"
) -> None:
    """Inject a task's faults with one error model and calibrate on its training samples."""
    inject_(model, faults_of(task, errors, seed, which))
    samples = train_set.tensors[0][: task.calibration_samples]
    calibrate_(model, samples.split(_CALIBRATION_BATCH), task.percentile)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def threads_of(task: Task) -> Iterator[None]:
    """As many threads of torch as a task asks for, and afterwards as many as before."""
    before = torch.get_num_threads()
    if task.threads is not None:
        torch.set_num_threads(task.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def accuracy_curves(
    label: str, found: Mapping[float, OverChips], clean: float, network: str, seed: int, tolerated: float | None = None
) -> AccuracyCurves:
    """One network's accuracy against BER, reliable memory at BER 0, as the report draws it."""
    points = [AccuracyPoint(label=label, ber=0.0, mean=clean, low=clean, high=clean, chips=1)]
    points += [
        AccuracyPoint(label=label, ber=rate, mean=over.mean, low=over.worst, high=over.best, chips=len(over.values))
        for rate, over in found.items()
    ]
    return AccuracyCurves(
        points=tuple(points),
        network=network,
        seed=seed,
        provenance=next((over.provenance for over in found.values()), None),
        tolerated={} if tolerated is None else {label: tolerated},
    )


def count_traffic(
    model: nn.Module,
    samples: TensorDataset,
    platform: str | Platform,
    batch: int | None = None,
    repeated: bool | None = None,
) -> Traffic:
    """What a task's network moves, from its layers as they run on a sample: of every command and of ``eden run``."""
    return traffic(model, platform, batch, inputs=samples.tensors[0][:1], repeated=repeated)
