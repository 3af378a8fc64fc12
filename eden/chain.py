"""The whole chain on one task and one device: network, boost, tolerance, placement, savings, report."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from eden.accounting import Savings, platform_named, savings, traffic
from eden.characterize import profile
from eden.checkpoint import save
from eden.curriculum import Curriculum
from eden.device import Device
from eden.errors import ErrorModel
from eden.evaluation import OverChips, accuracy, at_rates, clean_accuracy, with_errors
from eden.files import output_folder
from eden.inject import Faults, calibrate_, inject_, set_errors_
from eden.learned import LearnedRanges
from eden.placement import Placement, place
from eden.progress import task as progress_task
from eden.reporting import AccuracyCurves, AccuracyPoint, report
from eden.tasks import Task
from eden.tolerance import Tolerance
from eden.training import Epoch, Recipe, train, weight_bounds

_CALIBRATION_BATCH = 100
_SAMPLES_OF_A_CHECK = 2

Say = Callable[[str], None]

RATES = (1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2)
"""Mean bit error rates at which accuracy is drawn."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How thorough a chain is.

    Args:
        max_drop: accuracy that may be lost, from 0 to 1.
        confidence: probability with which the limits hold.
        chips: chips that each accuracy is a mean over.
        seed: what chips are drawn from.
        trcd: row-activation latency in ns whose error model the network is retrained with.
        platform: machine that the savings are counted for.
        profile_samples: samples of one observation of a profile.

    Raises:
        ValueError: naming the argument that is out of range and what is allowed.
    """

    max_drop: float = 0.01
    confidence: float = 0.95
    chips: int = 20
    seed: int = 0
    trcd: float = 7.5
    platform: str = "cpu"
    profile_samples: int = 64

    def __post_init__(self) -> None:
        for name in ("max_drop", "confidence"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is inside (0, 1)")
        for name in ("chips", "profile_samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is 1 or more")
        platform_named(self.platform)


@dataclasses.dataclass(frozen=True)
class Result:
    """What a chain found."""

    baseline: Tolerance
    boosted: Tolerance
    placement: Placement
    savings: Savings
    verified: OverChips
    clean_before: float
    clean_after: float
    report: Path


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


def errors_at(device: Device, trcd: float) -> ErrorModel:
    """A device's error model at a row-activation latency in ns.

    Raises:
        ValueError: outside of the fitted range, and where the device makes no errors: nothing is to retrain for there.
    """
    errors = device.errors(trcd=trcd)
    if errors.ber == 0.0:
        raise ValueError(f"{device.name} has no errors at tRCD {trcd} ns, so there is nothing to retrain for")
    return errors


def check_boost(
    model: nn.Module,
    task: Task,
    errors: ErrorModel,
    target_ber: float | Mapping[str, float] | Sequence[ErrorModel],
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
    copied = inject_(copy.deepcopy(model), faults_of(task, errors, seed, which))
    Curriculum(copied, target_ber, recipe.epochs, seed=seed, **options)
    weight_bounds(copied, recipe.clip_weights, recipe.clip_percentile)
    if train_set is not None:
        calibrate_(copied, [train_set.tensors[0][:_SAMPLES_OF_A_CHECK]], task.percentile)
        if recipe.learn_ranges:
            LearnedRanges(copied)


def rates_with_progress(model: nn.Module, validation: TensorDataset, chips: int, seed: int) -> dict[float, OverChips]:
    """Accuracy over chips at each of ``RATES``, with a bar or plain lines."""
    with progress_task("evaluate", total=len(RATES) * chips) as shown:
        return at_rates(model, validation, RATES, chips, seed, on_chip=shown.advance)


OPERANDS = {"all": (True, True), "weights": (True, False), "inputs": (False, True)}
"""By name, whether weights and whether inputs are in the memory that makes errors."""


def faults_of(task: Task, errors: ErrorModel, seed: int = 0, which: str = "all") -> Faults:
    """A task's faults with one error model for all operands, or for those that ``OPERANDS`` names."""
    weights, inputs = OPERANDS[which]
    return Faults(
        errors if weights else None,
        errors if inputs else None,
        task.storage,
        task.correction,
        seed,
        quantization=task.quantization,
        weight_channels=task.weight_channels,
        input_storage=task.input_storage,
    )


def put_under_faults(
    model: nn.Module, task: Task, errors: ErrorModel, train_set: TensorDataset, seed: int = 0, which: str = "all"
) -> None:
    """Inject a task's faults with one error model and calibrate on its training samples."""
    inject_(model, faults_of(task, errors, seed, which))
    samples = train_set.tensors[0][: task.calibration_samples]
    calibrate_(model, samples.split(_CALIBRATION_BATCH), task.percentile)  # type: ignore[no-untyped-call]


def network_loader(dataset: TensorDataset, batch_size: int) -> DataLoader[tuple[torch.Tensor, ...]]:
    """The loader of a validation set that `profile` draws from."""
    return DataLoader(dataset, batch_size=batch_size)


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


def run(task: Task, device: Device, folder: str | os.PathLike[str], options: Options, say: Say) -> Result:
    """Run the chain and write every file of it into a folder; an interrupted training resumes from it.

    Args:
        task: network and data.
        device: the memory.
        folder: where the files go.
        options: how thorough.
        say: told in a sentence what was found.

    Returns:
        What was found; ``report`` is the page to read.

    Raises:
        FileError: if the folder cannot be written, before anything is computed; if a file there is of another run.
        ValueError: if the device makes no errors at ``options.trcd``, the network has no layer to put under faults, or
            the task's target rate is out of range, before anything is computed.
        SearchError: if no rate keeps the accuracy drop.
    """
    with threads_of(task):
        return _run(task, device, folder, options, say)


def _run(task: Task, device: Device, folder: str | os.PathLike[str], options: Options, say: Say) -> Result:
    out = output_folder(folder)
    errors = errors_at(device, options.trcd)
    started = time.monotonic()
    device.save(out / "device.json")
    say(
        f"device {device.name}: at tRCD {options.trcd:g} ns BER {errors.ber_zero:.2g} of zeros, "
        f"{errors.ber_one:.2g} of ones"
    )

    train_set, validation = task.data()
    model = task.model()
    check_boost(model, task, errors, task.target_ber, task.boost, seed=options.seed, train_set=train_set)
    if task.train is not None:
        train_with_progress("train", model, train_set, task.train, task, None, out / "train.safetensors", resume=True)
    float_accuracy = accuracy(model, validation)
    put_under_faults(model, task, errors, train_set)
    save(model, out / "baseline.safetensors")
    clean_before = clean_accuracy(model, validation)
    kept = " and ".join(dict.fromkeys((task.storage, task.input_storage or task.storage)))
    say(f"{task.name}: accuracy {float_accuracy:.2%} in float32, {clean_before:.2%} in {kept}")

    baseline = _profile(model, validation, options, out, "baseline", coarse_only=True)
    say(f"before boosting it tolerates BER {baseline.coarse:.2g} in all operands (drop at most {options.max_drop:.1%})")
    curves = [("baseline", rates_with_progress(model, validation, options.chips, options.seed), clean_before)]

    set_errors_(model, dict.fromkeys(baseline.limits, errors))
    curriculum = Curriculum(model, task.target_ber, task.boost.epochs, seed=options.seed)
    train_with_progress("boost", model, train_set, task.boost, task, curriculum, out / "boost.safetensors", resume=True)
    set_errors_(model, dict.fromkeys(baseline.limits, errors))
    save(model, out / "boosted.safetensors")
    clean_after = clean_accuracy(model, validation)
    boosted = _profile(model, validation, options, out, "boosted", coarse_only=False)
    say(
        f"after boosting: accuracy {clean_after:.2%} without errors, BER {boosted.coarse:.2g} in all operands, "
        f"{boosted.coarse / baseline.coarse:.1f} times the baseline's; limits from {min(boosted.limits.values()):.2g} "
        f"to {max(boosted.limits.values()):.2g}"
    )
    curves.append(("boosted", rates_with_progress(model, validation, options.chips, options.seed), clean_after))
    accuracies = accuracy_curves(curves, task.name, options.seed, {"baseline": baseline, "boosted": boosted})

    moved = traffic(model, platform=options.platform)
    placement = place(boosted, device, traffic=moved)
    verified = with_errors(model, validation, placement.memory, options.chips, options.seed)
    say(
        f"placed: {_shares(placement)}; accuracy {verified.mean:.2%} over {options.chips} chips never used before "
        f"(worst {verified.worst:.2%})"
    )
    saved = savings(moved, placement)
    energy_low, energy_high = saved.energy_reduction_range
    speedup_low, speedup_high = saved.speedup_range
    say(
        f"saved on {options.platform}: {saved.energy_reduction:.1%} of the DRAM energy ({energy_low:.1%} to "
        f"{energy_high:.1%} by what is assumed), {saved.speedup:.1%} faster ({speedup_low:.1%} to {speedup_high:.1%})"
    )
    page = report(
        out,
        device=device,
        tolerance=boosted,
        placement=placement,
        savings=saved,
        accuracy=accuracies,
        title=f"{task.name} on {device.name}",
    )
    say(f"done in {time.monotonic() - started:.0f} s; report: {page}")
    return Result(baseline, boosted, placement, saved, verified, clean_before, clean_after, page)


def _profile(
    model: nn.Module, validation: TensorDataset, options: Options, out: Path, name: str, coarse_only: bool
) -> Tolerance:
    tolerance = profile(
        model,
        network_loader(validation, options.profile_samples),
        max_drop=options.max_drop,
        confidence=options.confidence,
        seed=options.seed,
        coarse_only=coarse_only,
        journal=out / f"profile-{name}.journal",
        batch_size=options.profile_samples,
    )
    tolerance.save(out / f"tolerance-{name}.json")
    return tolerance


def accuracy_curves(
    curves: list[tuple[str, dict[float, OverChips], float]],
    network: str,
    seed: int,
    tolerances: dict[str, Tolerance],
) -> AccuracyCurves:
    """The points of accuracy against BER, reliable memory at BER 0, as the report draws them."""
    points = []
    for label, found, clean in curves:
        points.append(AccuracyPoint(label=label, ber=0.0, mean=clean, low=clean, high=clean, chips=1))
        points += [
            AccuracyPoint(label=label, ber=rate, mean=over.mean, low=over.worst, high=over.best, chips=len(over.values))
            for rate, over in found.items()
        ]
    return AccuracyCurves(
        points=tuple(points),
        network=network,
        seed=seed,
        tolerated={label: tolerance.coarse for label, tolerance in tolerances.items()},
    )


def _shares(placement: Placement) -> str:
    total = sum(operand.bytes for operand in placement.operands.values())
    shares: dict[str, int] = {}
    for name, partition in placement.partitions.items():
        used = placement.bytes_in(name)
        if used:
            point = partition.operating_point
            key = f"{point.vdd:g} V, tRCD {point.trcd:g} ns, tRP {point.trp:g} ns"
            shares[key] = shares.get(key, 0) + used
    return "; ".join(f"{used / total:.0%} of bytes at {point}" for point, used in sorted(shares.items()))
