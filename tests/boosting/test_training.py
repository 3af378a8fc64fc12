"""Is training a function of its recipe, and does an interrupted run go on to the same bits, or say what differs?"""

import copy
import dataclasses
import json
import math
import random
import re
import resource
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kernels
import numpy as np
import processes
import pytest
import tiny_task
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_task import STEPS
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.data import Dataset, TensorDataset

import eden
from eden.boosting.batches import Samples
from eden.boosting.loop import TrainingError
from eden.boosting.not_finite import first_not_finite
from eden.boosting.recipe import Recipe
from eden.boosting.training import Epoch, train
from eden.boosting.weights import clip_weights_, distilled, weight_bounds
from eden.common.files import FileError
from eden.common.records import Record
from eden.faults.faulty_layers import faulty_layers
from eden.faults.learned_ranges import LearnedRanges
from eden.memory.errors import ErrorModel

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = Recipe(epochs=6, learning_rate=0.05, batch_size=tiny_task.BATCH, seed=3)
ERRORS = eden.DataDependent(1e-3, 3e-3, failure=0.5)
SETTINGS = ("reliable", "faults", "fresh", "one", "pool", "dropout", "numbers", "everything")
EVERYTHING = {
    **{"optimizer": "adamw", "learning_rate": 0.01, "momentum": 0.8, "decay": "linear", "label_smoothing": 0.05},
    **{"distillation": 0.4, "clip_percentile": 99.0, "clip_gradients": 1.0, "accumulate": 2, "precision": "bfloat16"},
    **{"learn_ranges": True, "range_decay": 1e-3, "clean_loss": 0.3},
}


@dataclasses.dataclass
class Run:
    """A network that is about to be trained."""

    model: nn.Module
    curriculum: eden.Curriculum | None = None
    dataset: Dataset[Any] = dataclasses.field(default_factory=lambda: tiny_task.data()[0])
    recipe: Recipe = RECIPE

    def train(self, checkpoint: Path | None = None, **options: Any) -> list[Epoch]:
        return train(self.model, self.dataset, self.recipe, self.curriculum, tiny_task.jitter, checkpoint, **options)


def make(setting: str, errors: ErrorModel = ERRORS, hidden: int = 24, **changes: Any) -> Run:
    """Reliable, under faults without a curriculum, or in a curriculum with those chips."""
    model = tiny_task.network(hidden)
    if setting == "dropout":
        model.append(nn.Dropout(0.3))
    if setting in ("reliable", "dropout"):
        return Run(model)
    storage = "float32" if setting == "numbers" else "int8"
    eden.inject_(
        model, eden.Faults(errors, errors, storage, changes.get("correction", "zero"), seed=changes.get("chip", 5))
    )
    eden.calibrate_(model, [tiny_task.data()[0].tensors[0]])
    if setting == "faults":
        return Run(model)
    if setting == "everything":
        model.append(nn.Dropout(0.1))
        curriculum = eden.Curriculum(
            *(model, changes.get("target", 1e-2), RECIPE.epochs, 1),
            **{"schedule": "adaptive", "start_ber": 1e-3, "clean_share": 0.2, "floor_ber": 5e-4, "seed": 7},
        )
        return Run(model, curriculum, recipe=dataclasses.replace(RECIPE, **EVERYTHING))
    chips = {"pool": 3, "numbers": "fresh"}.get(setting, setting)
    return Run(model, eden.Curriculum(model, changes.get("target", 1e-2), RECIPE.epochs, chips=chips, seed=7))


def state(run: Run) -> dict[str, Tensor]:
    kept = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    for name, layer in faulty_layers(run.model).items():
        for buffer in ("eden_chip", "eden_training_chip", "eden_training_access"):
            kept[f"{name}.{buffer}"] = getattr(layer, buffer).clone()
        kept |= {
            f"{name}.{key}": buffer.clone()
            for key, buffer in layer.named_buffers()
            if key.endswith(("region", "bounds", "scale")) and not buffer.isnan().any()
        }
    return kept


def assert_same(found: Run, expected: Run) -> None:
    there, here = state(expected), state(found)
    assert there.keys() == here.keys()
    different = [name for name in there if not torch.equal(there[name], here[name])]
    assert not different
    if expected.curriculum is not None:
        assert found.curriculum is not None
        assert found.curriculum.state_dict() == expected.curriculum.state_dict()


@pytest.fixture(scope="module")
def undisturbed() -> Callable[[str], tuple[Run, list[Epoch]]]:
    done: dict[str, tuple[Run, list[Epoch]]] = {}

    def of(setting: str) -> tuple[Run, list[Epoch]]:
        if setting not in done:
            run = make(setting)
            done[setting] = run, run.train()
        return done[setting]

    return of


def test_learning_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    recipe = Recipe(epochs=1, learning_rate=0.4, warmup=0.25)
    found = [recipe.learning_rate_at(share) for share in (0.0, 0.125, 0.25, 0.4375, 0.625, 1.0)]
    assert found == pytest.approx([0.0, 0.2, 0.4, 0.4 * (1 + np.sqrt(0.5)) / 2, 0.2, 0.0])
    assert Recipe(epochs=1, learning_rate=0.4, warmup=0.0).learning_rate_at(0.0) == 0.4


def test_every_step_takes_its_own_learning_rate() -> None:
    seen: list[float] = []
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"]))
    counted: list[tuple[int, int]] = []
    try:
        make("reliable").train(on_step=lambda done, total: counted.append((done, total)))
    finally:
        hook.remove()
    total = RECIPE.epochs * STEPS
    assert counted == [(done, total) for done in range(1, total + 1)]
    assert seen == [RECIPE.learning_rate_at(done / total) for done in range(1, total + 1)]


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("epochs", 0, "a whole number from 1"),
        ("epochs", 2.5, "a whole number from 1"),
        ("epochs", True, "a whole number from 1"),
        ("learning_rate", 0.0, "above 0"),
        ("learning_rate", float("nan"), "above 0"),
        ("learning_rate", float("inf"), "finite"),
        ("batch_size", -1, "a whole number from 1"),
        ("momentum", 1.0, "below 1"),
        ("weight_decay", -1e-4, "from 0"),
        ("warmup", 1.0, "below 1"),
        ("label_smoothing", -0.1, "below 1"),
        ("seed", -1, "a whole number from 0"),
        ("optimizer", "lamb", "sgd, adam, adamw"),
        ("decay", "step", "cosine, linear, constant"),
        ("distillation", 1.1, "from 0 to 1"),
        ("temperature", 0.0, "above 0"),
        ("clip_weights", 0.0, "above 0"),
        ("clip_percentile", 101.0, "above 50 to 100"),
        ("clip_percentile", 0.999, "above 50 to 100"),
        ("clip_percentile", {"0.weight": 50.0}, "above 50 to 100"),
        ("clip_gradients", float("nan"), "above 0"),
        ("clean_loss", 1.0, "from 0 to below 1"),
        ("learn_ranges", 1, "True or False"),
        ("range_decay", -1.0, "from 0"),
        ("recalibrate", -1, "a whole number from 0"),
        ("accumulate", 0, "a whole number from 1"),
        ("precision", "float8", "float32, bfloat16"),
        ("channels_last", 1, "True or False"),
        ("compile", None, "True or False"),
    ],
)
def test_recipes_out_of_range(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"^{field} is {value!r}; allowed is .*{allowed}"):
        Recipe(**{"epochs": 3, field: value})


@pytest.mark.parametrize(
    ("setting", "correction", "samples"),
    [("numbers", "zero", 200), ("numbers", "clamp", 200), ("numbers", "zero", 0), ("fresh", "zero", 200)],
)
def test_ranges_of_numbers_follow_what_is_trained(setting: str, correction: str, samples: int) -> None:
    run = make(setting, correction=correction)
    run.recipe = dataclasses.replace(RECIPE, recalibrate=samples)
    before = {name: pair for name, pair in eden.ranges(run.model).items() if name.endswith("input")}
    run.train()
    after = {name: eden.ranges(run.model)[name] for name in before}
    x = tiny_task.data()[0].tensors[0]
    eden.calibrate_(run.model, [x[:200]])
    seen = {name: eden.ranges(run.model)[name] for name in before}
    if setting == "numbers" and samples:
        assert after == seen
        assert after["3.input"][1] > 1.2 * before["3.input"][1], "the network grew out of its first range"
    else:
        assert after == before


def epoch_of(number: int, seed: int = 0, augment: Any = tiny_task.jitter) -> list[tuple[Tensor, Tensor]]:
    recipe = Recipe(epochs=3, batch_size=60, seed=seed)
    samples = Samples(tiny_task.data()[0], recipe, number, augment, torch.device("cpu"))
    return [samples.batch(step)[:2] for step in range(math.ceil(len(tiny_task.data()[0]) / recipe.batch_size))]


def same(left: list[tuple[Tensor, Tensor]], right: list[tuple[Tensor, Tensor]]) -> bool:
    return all(
        torch.equal(a, b) for one, other in zip(left, right, strict=True) for a, b in zip(one, other, strict=True)
    )


def test_batches_are_a_function_of_seed_and_epoch() -> None:
    first = epoch_of(2, seed=5)
    torch.rand(10), np.random.rand(10)
    before = torch.get_rng_state()
    assert same(first, epoch_of(2, seed=5))
    assert torch.equal(torch.get_rng_state(), before)
    assert not same(first, epoch_of(1, seed=5))
    assert not same(first, epoch_of(2, seed=6))


def test_an_epoch_holds_every_sample_once() -> None:
    x, y = tiny_task.data()[0].tensors
    drawn = epoch_of(0, augment=None)
    assert [len(targets) for _, targets in drawn] == [60, 60, 60, 60, 10]
    inputs, targets = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    assert not torch.equal(inputs, x)
    order, found = x[:, 0].argsort(), inputs[:, 0].argsort()
    assert torch.equal(inputs[found], x[order])
    assert torch.equal(targets[found], y[order])


def test_training_learns_and_leaves_the_global_generators(
    undisturbed: Callable[[str], tuple[Run, list[Epoch]]],
) -> None:
    run, history = undisturbed("fresh")
    assert [epoch.number for epoch in history] == list(range(RECIPE.epochs))
    assert [epoch.ber for epoch in history] == pytest.approx([1e-2 / 3, 1e-2 / 3, 2e-2 / 3, 2e-2 / 3, 1e-2, 1e-2])
    assert history[-1].loss < 0.5 * history[0].loss
    assert not run.model.training
    again = make("dropout")
    before = torch.get_rng_state()
    again.train()
    assert torch.equal(torch.get_rng_state(), before)
    assert_same(again, undisturbed("dropout")[0])


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_run_interrupted_within_epochs_ends_in_the_same_bits(
    setting: str, tmp_path: Path, undisturbed: Callable[[str], tuple[Run, list[Epoch]]]
) -> None:
    expected, history = undisturbed(setting)
    checkpoint = tmp_path / "run.safetensors"
    begun: list[int] = []
    for stop in (2, 4, 9, 10, 26):

        def interrupt(done: int, stop: int = stop) -> None:
            if len(begun) == 0 or done == stop:
                begun.append(done)
            if done == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make(setting).train(checkpoint, resume=True, checkpoint_every=2, on_step=lambda done, _: interrupt(done))
        np.random.rand(3), random.random(), torch.rand(7)
    run, counted = make(setting), list[int]()
    outside = np.random.get_state()[1].tolist(), random.getstate(), torch.get_rng_state().tolist()
    assert run.train(checkpoint, resume=True, on_step=lambda done, _: counted.append(done)) == history
    assert outside == (np.random.get_state()[1].tolist(), random.getstate(), torch.get_rng_state().tolist())
    assert counted[0] == 27, "from the last even step on"
    assert_same(run, expected)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("moment", ["step", "epoch"])
def test_an_interrupted_run_ends_in_the_same_bits(
    setting: str, moment: str, tmp_path: Path, undisturbed: Callable[[str], tuple[Run, list[Epoch]]]
) -> None:
    expected, history = undisturbed(setting)
    checkpoint = tmp_path / "run.safetensors"
    moments = [2, 3 * STEPS - 1, 4 * STEPS] if moment == "step" else [1, 4]
    for stop in moments:

        def interrupt(done: int, stop: int = stop) -> None:
            if done == stop:
                raise KeyboardInterrupt

        hooks: dict[str, Any] = {
            "step": {"on_step": lambda done, total: interrupt(done)},
            "epoch": {"on_epoch": lambda epoch: interrupt(epoch.number)},
        }
        with pytest.raises(KeyboardInterrupt):
            make(setting).train(checkpoint, resume=True, **hooks[moment])
        torch.rand(7)
    run = make(setting)
    numbers: list[int] = []
    assert run.train(checkpoint, resume=True, on_epoch=lambda epoch: numbers.append(epoch.number)) == history
    assert numbers == ([3, 4, 5] if moment == "step" else [5])
    assert_same(run, expected)
    finished = make(setting)
    assert finished.train(checkpoint, resume=True, on_step=lambda *_: pytest.fail("trained again")) == history
    assert_same(finished, expected)


def test_evaluating_between_epochs_changes_nothing(undisturbed: Callable[[str], tuple[Run, list[Epoch]]]) -> None:
    from eden.tolerance.evaluation import evaluate

    run = make("pool")

    def on_epoch(epoch: Epoch) -> None:
        evaluate(run.model, tiny_task.data()[1], chips=2)
        run.model.train()

    run.train(on_epoch=on_epoch)
    assert_same(run, undisturbed("pool")[0])


def test_resume_without_a_checkpoint_begins_and_without_resume_begins_anew(
    tmp_path: Path, undisturbed: Callable[[str], tuple[Run, list[Epoch]]]
) -> None:
    checkpoint = tmp_path / "new" / "run.safetensors"
    run = make("reliable")
    run.train(checkpoint, resume=True)
    assert_same(run, undisturbed("reliable")[0])
    counted: list[int] = []
    make("reliable").train(checkpoint, on_step=lambda done, total: counted.append(done))
    assert counted[0] == 1


def test_channels_last_and_tied_weights_are_kept(tmp_path: Path) -> None:
    def image_run() -> Run:
        torch.manual_seed(1)
        convolution = nn.Conv2d(2, 2, 3, padding=1)
        tied = nn.Conv2d(2, 2, 3, padding=1)
        tied.weight = convolution.weight
        model = nn.Sequential(nn.Unflatten(1, (2, 2, 4)), convolution, nn.ReLU(), tied, nn.Flatten(), nn.Linear(16, 4))
        return Run(model.to(memory_format=torch.channels_last))

    expected, checkpoint = image_run(), tmp_path / "run.safetensors"
    assert not expected.model[1].weight.is_contiguous()
    expected.train()

    def interrupt(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        image_run().train(checkpoint, on_epoch=interrupt)
    run = image_run()
    run.train(checkpoint, resume=True)
    assert_same(run, expected)


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
import safetensors.torch
import test_training
torch.set_num_threads(1)
run = test_training.make(sys.argv[1])
whole = safetensors.torch.save_file
written = []
def torn(tensors, path, metadata):
    whole(tensors, path, metadata)
    written.append(path)
    if len(written) == int(sys.argv[3]):
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
safetensors.torch.save_file = torn
run.train(Path(sys.argv[2]))
"""


class Counted(dict[types.CodeType, bool]):
    """Whether the lines of a function are counted: those that decide what a checkpoint holds."""

    PARTS = ("/eden/training", "/eden/resume", "/eden/files", "/eden/curriculum", "/eden/learned", "/safetensors/")

    def __missing__(self, code: types.CodeType) -> bool:
        self[code] = any(part in code.co_filename for part in self.PARTS)
        return self[code]


KILLED_ANYWHERE = """
import os, random, shutil, signal, sys
from pathlib import Path
import torch
import test_training
torch.set_num_threads(1)
FOLDER, SETTING, MOMENTS = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
counted = test_training.Counted()

def train(folder, moments):
    # Counts the lines of Python that it runs in those packages: moments that repeat. Its files at each of them are what
    # a process killed then would have left; at the last of them it kills itself.
    lines = 0
    folder.mkdir()
    def trace(frame, event, argument):
        nonlocal lines
        if not counted[frame.f_code]:
            return None
        if event == "line":
            lines += 1
            if lines in moments:
                shutil.copytree(folder, FOLDER / str(moments.index(lines)))
                if lines == moments[-1]:
                    os.kill(os.getpid(), signal.SIGKILL)
        return trace
    run = test_training.make(SETTING)
    sys.settrace(trace)
    try:
        run.train(folder / "run.safetensors", checkpoint_every=3, resume=True)
    finally:
        sys.settrace(None)
    return lines

lines = train(FOLDER / "counted", [])
train(FOLDER / "killed", sorted(random.Random(20261123).sample(range(1, lines), MOMENTS)))
"""


def child(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return processes.run("-c", script, *arguments)


def test_a_process_killed_while_it_writes_is_resumed_to_the_same_bits(
    tmp_path: Path, undisturbed: Callable[[str], tuple[Run, list[Epoch]]]
) -> None:
    checkpoint = tmp_path / "run.safetensors"
    found = child(KILLED, "faults", checkpoint, 3)
    assert found.returncode == -signal.SIGKILL, found.stderr
    expected, history = undisturbed("faults")
    run = make("faults")
    numbers: list[int] = []
    assert run.train(checkpoint, resume=True, on_epoch=lambda epoch: numbers.append(epoch.number)) == history
    assert numbers[0] == 2
    assert_same(run, expected)


def test_a_process_killed_at_any_moment_is_resumed_to_the_same_bits(
    tmp_path: Path, undisturbed: Callable[[str], tuple[Run, list[Epoch]]]
) -> None:
    moments = 20
    found = child(KILLED_ANYWHERE, tmp_path, "everything", moments)
    assert found.returncode == -signal.SIGKILL, found.stderr
    expected, history = undisturbed("everything")
    first: set[int] = set()
    for moment in range(moments):
        run, seen = make("everything"), list[int]()
        checkpoint = tmp_path / str(moment) / "run.safetensors"
        assert run.train(checkpoint, resume=True, on_step=lambda done, _, seen=seen: seen.append(done)) == history
        assert_same(run, expected)
        first.update(seen[:1])
    assert len(first) > 5, "they began at different steps"


def test_ctrl_c_at_any_moment_leaves_a_run_that_goes_on(
    tmp_path: Path, undisturbed: Callable[[str], tuple[Run, list[Epoch]]]
) -> None:
    counted = Counted()

    def trained(checkpoint: Path, interrupt_at: int | None) -> int:
        run, lines = make("everything"), 0

        def trace(frame: Any, event: str, argument: Any) -> Any:
            nonlocal lines
            if not counted[frame.f_code]:
                return None
            if event == "line":
                lines += 1
                if lines == interrupt_at:
                    raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            run.train(checkpoint, checkpoint_every=3, resume=True)
        finally:
            sys.settrace(before)
        return lines

    lines = trained(tmp_path / "counted.safetensors", None)
    expected, history = undisturbed("everything")
    for moment, at in enumerate(random.Random(20261124).sample(range(1, lines), 10)):
        checkpoint = tmp_path / f"{moment}.safetensors"
        with pytest.raises(KeyboardInterrupt):
            trained(checkpoint, at)
        run = make("everything")
        assert run.train(checkpoint, resume=True) == history
        assert_same(run, expected)


def test_a_loss_that_is_not_finite(tmp_path: Path, undisturbed: Callable[[str], tuple[Run, list[Epoch]]]) -> None:
    run, checkpoint = make("one"), tmp_path / "run.safetensors"

    def spoil(epoch: Epoch) -> None:
        if epoch.number == 2:
            with torch.no_grad():
                run.model[3].bias.fill_(float("nan"))

    before = torch.get_rng_state()
    with pytest.raises(TrainingError) as caught:
        run.train(checkpoint, on_epoch=spoil)
    assert str(caught.value) == (
        "the loss is nan in epoch 3, step 0 at BER 0.00667, first met in the stored 3.bias itself; allowed is a finite "
        "number: lower the learning rate or the bit error rate, or correct implausible values (correction='zero'); "
        f"the run can be resumed from {checkpoint}"
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert not run.model.training
    again = make("one")
    again.train(checkpoint, resume=True)
    assert_same(again, undisturbed("one")[0])


def test_a_gradient_that_is_not_finite_reaches_no_parameter(tmp_path: Path) -> None:
    run, checkpoint = make("one"), tmp_path / "run.safetensors"
    steps: list[int] = []

    def spoil(grad: Tensor) -> Tensor:
        return torch.full_like(grad, float("inf")) if len(steps) == 7 else grad

    run.model[0].weight.register_hook(spoil)
    with pytest.raises(
        TrainingError,
        match=r"^the loss is finite, its gradient is not, in epoch 1, step 2 at BER 0.00333, first met in the gradient "
        r"of 0.weight; allowed is a finite number: .*; the run can be resumed from ",
    ):
        run.train(checkpoint, checkpoint_every=1, on_step=lambda done, _: steps.append(done))
    assert all(torch.isfinite(parameter).all() for parameter in run.model.parameters())
    again = make("one")
    again.train(checkpoint, resume=True, on_step=lambda done, _: steps.append(done))
    assert steps == list(range(1, RECIPE.epochs * STEPS + 1))


def test_a_loss_that_is_never_finite_leaves_nothing(tmp_path: Path) -> None:
    run, checkpoint = make("reliable"), tmp_path / "run.safetensors"
    with torch.no_grad():
        run.model[3].bias.fill_(float("inf"))
    with pytest.raises(
        TrainingError, match=r"^the loss is nan in epoch 0, step 0, first met in the stored 3.bias itself; allowed"
    ) as caught:
        run.train(checkpoint)
    assert "resumed" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_curriculum_that_does_not_fit_the_training() -> None:
    run = make("fresh")
    assert run.curriculum is not None
    with pytest.raises(ValueError, match="the curriculum is of another network; allowed is one of"):
        train(make("one").model, run.dataset, RECIPE, run.curriculum)
    with eden.clean(run.model), pytest.raises(ValueError, match=r"call train outside of eden.clean"):
        run.train()
    short = dataclasses.replace(RECIPE, epochs=3)
    with pytest.warns(
        UserWarning, match=r"the training ends at BER 0.00667, below the curriculum's target of 0.01: the recipe has 3 "
    ):
        train(run.model, run.dataset, short, run.curriculum)
    train(run.model, run.dataset, short, run.curriculum)  # the second half of it
    newer = eden.Curriculum(run.model, 1e-2, RECIPE.epochs)
    with pytest.raises(ValueError, match="the curriculum has ended, or a newer one of the same layers took its place"):
        run.train()
    newer.end()
    with pytest.raises(ValueError, match="the curriculum has ended"):
        train(run.model, run.dataset, RECIPE, newer)


def test_a_checkpoint_under_other_errors_is_refused_without_a_curriculum_too(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.safetensors"
    make("faults").train(checkpoint)
    for change in (
        lambda model: eden.set_errors_(model, {"0.weight": eden.Uniform(0.1)}),
        lambda model: eden.set_errors_(model, {"0.weight": [(eden.Uniform(1e-3), 0, 10**6)]}),
        lambda model: eden.inject_(model, eden.Faults(ERRORS, ERRORS, "int8", "zero", 5, batch="contiguous")),
        lambda model: eden.inject_(model, eden.Faults(ERRORS, ERRORS, "int8", "zero", 5, quantization="affine")),
        lambda model: eden.inject_(model, eden.Faults(ERRORS, ERRORS, "int8", "zero", 5, weight_channels=True)),
    ):
        other = make("faults")
        change(other.model)
        refused(other, checkpoint, r"of another run: memory.0.(weight|input) is .*, here it is")


def test_a_dataset_without_samples(tmp_path: Path) -> None:
    run = make("reliable")
    run.dataset = TensorDataset(torch.zeros(0, tiny_task.FEATURES), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match="dataset has no samples"):
        run.train(tmp_path / "run.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a curriculum's first three epochs."""
    checkpoint = tmp_path_factory.mktemp("half") / "run.safetensors"

    def interrupt(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make("pool").train(checkpoint, on_epoch=interrupt)
    return checkpoint


def refused(run: Run, checkpoint: Path, message: str) -> None:
    """Resuming raises a FileError of the message; run and file stay as they are."""
    before, content = state(run), checkpoint.read_bytes()
    curriculum = run.curriculum.state_dict() if run.curriculum is not None else None
    with pytest.raises(FileError, match=message) as caught:
        run.train(checkpoint, resume=True)
    assert caught.value.path == checkpoint
    assert "\n" not in str(caught.value)
    after = state(run)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert curriculum == (run.curriculum.state_dict() if run.curriculum is not None else None)
    assert checkpoint.read_bytes() == content
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


def with_recipe(**changes: Any) -> Run:
    run = make("pool")
    run.recipe = dataclasses.replace(RECIPE, **changes)
    return run


def other_data() -> Run:
    run = make("pool")
    run.dataset = tiny_task.samples(tiny_task.TRAIN, seed=9)
    return run


def with_other_ranges() -> Run:
    run = make("pool")
    eden.calibrate_(run.model, ranges={"3.input": (0.0, 7.0)})
    return run


def tall_run() -> Run:
    run = make("pool")
    run.model.append(nn.BatchNorm1d(4))
    return run


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: with_recipe(learning_rate=0.01), r"of another run: recipe.learning_rate is 0.05, here it is 0.01$"),
        (lambda: with_recipe(seed=4), r"of another run: recipe.seed is 3, here it is 4$"),
        (lambda: with_recipe(epochs=7), r"of another run: recipe.epochs is 6, here it is 7$"),
        (other_data, r"of another run: dataset.digest is \w+, here it is \w+$"),
        (lambda: make("reliable"), r"of another run: curriculum.given is True, here it is False$"),
        (lambda: make("fresh"), r"of another run: curriculum.chips is 3, here it is fresh$"),
        (lambda: make("pool", target=2e-2), r"of another run: curriculum.target_ber is 0.01, here it is 0.02$"),
        (lambda: make("pool", eden.Uniform(1e-3)), r"of another run: curriculum.errors is .*data_dependent.*uniform"),
        (lambda: make("pool", correction="clamp"), r"of another run: faults.0.weight is .*zero.*clamp"),
        (lambda: make("pool", chip=6), r"of another run: faults.0.weight is .*5\], here it is .*6\]"),
        (lambda: make("pool", hidden=25), r"of another network: 0.bias is \(24,\) .* here it is \(25,\)"),
        (with_other_ranges, r"of another run: ranges.3.input is \[.*\], here it is \[0.0, 7.0\]$"),
        (tall_run, r"of another network: they differ in 4.bias, 4.num_batches_tracked"),
    ],
)
def test_a_checkpoint_of_another_run_says_what_differs(half: Path, run: Callable[[], Run], message: str) -> None:
    refused(run(), half, message)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.99])
def test_a_truncated_checkpoint(half: Path, tmp_path: Path, share: float) -> None:
    content = half.read_bytes()
    torn = tmp_path / "run.safetensors"
    torn.write_bytes(content[: int(share * len(content))])
    refused(make("pool"), torn, "cannot be read as a checkpoint")


def damaged(half: Path, path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    with safe_open(half, framework="pt") as file:
        header = json.loads(file.metadata()["eden"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    # What is read is checked also where the digest was not kept, in files of before.
    del header["sha256"]
    header = change(header) or header
    save_file(tensors, path, metadata={"eden": json.dumps(header)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header.update(version=1), r"format and version: found \('eden-training', 1\), allowed are"),
        (lambda header: header.update(format="x"), r"format and version: found \('x', 2\), allowed are"),
        (lambda header: [1], r"header: found list, allowed is an object"),
        (lambda header: header.update(random_layout=1), r"random_layout: found 1, allowed is \d \(this version"),
        (lambda header: header["extra"].update(step=3) and None, r"header is damaged: .*step is 3, which does not go"),
        (lambda header: header.pop("identity") and None, r"of another run: it has no recipe"),
        (lambda header: header["extra"].pop("history") and None, r"header is damaged: KeyError: 'history'"),
        (lambda header: header["extra"]["history"].pop(0) and None, r"header is damaged: .*not numbered from 0"),
        (lambda header: header["extra"]["history"][0].pop("loss") and None, r"header is damaged: TypeError"),
        (lambda header: header["accesses"].pop("3") and None, r"header is damaged: KeyError: '3'"),
        (lambda header: header["curriculum"].pop("epoch") and None, r"header is damaged: .*lacks epoch"),
    ],
)
def test_a_damaged_header(half: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    path = tmp_path / "run.safetensors"
    damaged(half, path, change)
    refused(make("pool"), path, message)


def test_a_checkpoint_that_was_altered_by_hand_is_refused(half: Path, tmp_path: Path) -> None:
    with safe_open(half, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    path = tmp_path / "run.safetensors"
    save_file({**tensors, "model.0.bias": tensors["model.0.bias"] + 1e-3}, path, metadata=metadata)
    refused(make("pool"), path, "was altered since it was written")
    header = json.loads(metadata["eden"])
    header["extra"]["history"][0]["loss"] = 0.25
    save_file(tensors, path, metadata={"eden": json.dumps(header)})
    refused(make("pool"), path, "was altered since it was written")
    save_file(tensors, path, metadata=metadata)
    make("pool").train(path, resume=True)


def test_files_that_are_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    save_file({"a": torch.zeros(3)}, path)
    refused(make("pool"), path, r"format and version: found \(None, None\)")
    run = make("pool")
    eden.save(run.model, path)
    refused(run, path, r"format and version: found \('eden-\w+', \d\), allowed are")
    path.unlink()
    path.mkdir()
    with pytest.raises(FileError, match="it is a folder"):
        make("pool").train(path, on_step=lambda *_: pytest.fail("trained first"))
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(FileError, match="cannot be used as an output folder"):
        make("pool").train(in_the_way / "run.safetensors", on_step=lambda *_: pytest.fail("trained first"))


def test_a_full_disk_leaves_the_checkpoint_before(half: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    path.write_bytes(half.read_bytes())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    run = make("pool")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size // 2, limits[1]))
        with pytest.raises(FileError, match=r"cannot be written: .*File too large"):
            run.train(path, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == half.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_learning_rates_of_the_other_decays() -> None:
    linear, constant = (
        Recipe(epochs=1, learning_rate=0.4, warmup=0.2, decay=decay) for decay in ("linear", "constant")
    )
    assert [linear.learning_rate_at(share) for share in (0.1, 0.2, 0.6, 1.0)] == pytest.approx([0.2, 0.4, 0.2, 0.0])
    assert [constant.learning_rate_at(share) for share in (0.1, 0.2, 1.0)] == pytest.approx([0.2, 0.4, 0.4])


def with_settings(setting: str = "fresh", **changes: Any) -> Run:
    run = make(setting)
    run.recipe = dataclasses.replace(RECIPE, **changes)
    return run


def test_distances_to_a_teacher() -> None:
    ours, theirs = torch.randn(5, 4), torch.randn(5, 4)
    expected = nn.functional.kl_div(
        (ours / 3).log_softmax(1), (theirs / 3).log_softmax(1), reduction="batchmean", log_target=True
    )
    assert torch.allclose(distilled(ours, theirs, 3.0), 9.0 * expected)
    assert distilled(ours, ours, 2.0) == 0.0
    assert torch.allclose(distilled(ours[:, None], theirs[:, None], 3.0, dim=-1), 9.0 * expected)


def test_the_teacher_is_the_clean_network_before_the_training() -> None:
    run = with_settings(distillation=1.0, epochs=1)
    given = with_settings(distillation=1.0, epochs=1)
    teacher = tiny_task.network().eval()
    parameters = [parameter.clone() for parameter in teacher.parameters()]
    run.train()
    given.train(teacher=teacher)
    assert_same(given, run)
    assert all(torch.equal(a, b) for a, b in zip(parameters, teacher.parameters(), strict=True))
    without = with_settings(epochs=1)
    without.train()
    assert not torch.equal(without.model[0].weight, run.model[0].weight)


def test_a_checkpoint_of_another_teacher_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.safetensors"
    with_settings(distillation=0.5, epochs=1).train(checkpoint, teacher=tiny_task.network())
    run = with_settings(distillation=0.5, epochs=1)
    with pytest.raises(FileError, match=r"of another run: teacher.digest is \w+, here it is None$"):
        run.train(checkpoint, resume=True)


def test_weights_are_clipped_after_each_step() -> None:
    bounds = {"0.weight": 0.05}
    run = with_settings(clip_weights=bounds, epochs=1)
    largest: list[float] = []
    run.train(on_step=lambda *_: largest.append(float(run.model[0].weight.detach().abs().max())))
    assert len(largest) == STEPS
    assert max(largest) == pytest.approx(0.05)
    assert float(run.model[3].weight.detach().abs().max()) > 0.05
    model = tiny_task.network()
    magnitudes = model[0].weight.detach().abs().numpy()
    found = weight_bounds(model, percentile=90.0)
    assert found["0.weight"] == pytest.approx(np.percentile(magnitudes, 90.0))
    assert found.keys() == {"0.weight", "3.weight"}, "not the biases, nor the normalization"
    mixed = weight_bounds(model, {"3.weight": 0.5}, {"0.weight": 90.0})
    assert mixed == {"3.weight": 0.5, "0.weight": found["0.weight"]}
    before = model[3].weight.clone()
    clip_weights_(model, {"0.weight": found["0.weight"]})
    assert int((torch.tensor(magnitudes) == model[0].weight.abs()).sum()) == pytest.approx(0.9 * magnitudes.size, abs=1)
    assert torch.equal(model[3].weight, before)
    with pytest.raises(ValueError, match=r"'1.weight' is no Parameter of two or more dimensions; allowed are 0.weight"):
        weight_bounds(model, {"1.weight": 1.0})
    with pytest.raises(ValueError, match="clip_percentile is 99; allowed is None for what clip_weights clips too"):
        Recipe(epochs=1, clip_weights=0.1, clip_percentile=99)


def test_parts_of_a_batch_add_up_to_its_gradient() -> None:
    found = []
    for parts in (1, 3):
        run = with_settings("reliable", accumulate=parts, epochs=2)
        run.model[1] = nn.Identity()  # a batch norm normalizes each part by itself
        run.train()
        found.append(run.model[0].weight)
    assert torch.allclose(*found, atol=1e-5)
    assert not torch.equal(found[0], tiny_task.network()[0].weight)


def test_a_share_of_the_loss_is_clean() -> None:
    run, x, y = with_settings("one", clean_loss=0.25), *(tensor[:50] for tensor in tiny_task.data()[0].tensors)
    run.model[1] = nn.Identity()
    run.recipe = dataclasses.replace(run.recipe, epochs=1, batch_size=50, learning_rate=1e-9, warmup=0.0)
    run.dataset = TensorDataset(x, y)
    eden.set_errors_(run.model, dict.fromkeys(eden.operands(run.model), eden.Uniform(0.05)))
    run.curriculum = None
    run.model.train()
    with torch.no_grad():
        faulty = float(nn.functional.cross_entropy(run.model(x), y))
        with eden.clean(run.model):
            clean = float(nn.functional.cross_entropy(run.model(x), y))
    assert abs(faulty - clean) > 0.01
    history = train(run.model, run.dataset, run.recipe)
    # The order of the samples is another; each reads the same cells.
    assert history[0].loss == pytest.approx(0.75 * faulty + 0.25 * clean, rel=1e-5)
    assert {info.errors for info in eden.operands(run.model).values()} == {eden.Uniform(0.05)}
    with pytest.raises(ValueError, match=r"clean_loss is 0.25; allowed without a layer under faults is 0"):
        train(tiny_task.network(), run.dataset, run.recipe)


def test_a_limit_of_the_gradient() -> None:
    norms: list[float] = []

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norms.append(float(torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients]))))

    hook = register_optimizer_step_pre_hook(note)
    try:
        with_settings(clip_gradients=0.1, epochs=1).train()
    finally:
        hook.remove()
    assert max(norms) == pytest.approx(0.1, rel=1e-3)


def needs_products_in(dtype: torch.dtype) -> None:
    with torch.autocast("cpu", dtype=dtype):
        kernels.plain(f"product in {dtype}", lambda: nn.Linear(4, 4)(torch.ones(2, 4)).sum().backward())


def test_float16_skips_steps_whose_gradient_overflows_and_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    needs_products_in(torch.float16)

    def run() -> Run:
        made = make("fresh")
        made.recipe = dataclasses.replace(RECIPE, precision="float16", clip_gradients=1.0, learn_ranges=True)
        with torch.no_grad():  # so large that the first gradients, of a loss times 2^16, exceed the largest float16
            made.model[3].weight.mul_(30.0)
        return made

    def stop(done: int, total: int) -> None:
        if done == 13:
            raise KeyboardInterrupt

    seen, whole = list[torch.dtype](), run()
    whole.model[3].register_forward_hook(lambda *given: seen.append(given[2].dtype))
    before = whole.model[0].weight.clone()
    steps: list[bool] = []

    def changed(done: int, total: int) -> None:
        steps.append(not torch.equal(before, whole.model[0].weight))
        before.copy_(whole.model[0].weight)

    history = whole.train(on_step=changed)
    assert set(seen) == {torch.float16}
    assert whole.model[3].weight.dtype == torch.float32
    assert not steps[0]
    assert all(steps[10:-1]), "the last one has a learning rate of 0"
    assert history[-1].loss < history[0].loss
    assert whole.curriculum is not None
    assert whole.curriculum.optimizer_steps == RECIPE.epochs * STEPS, "a skipped step changes the chip as others do"
    checkpoint = tmp_path / "run.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run().train(checkpoint, checkpoint_every=1, on_step=stop)
    again = run()
    assert again.train(checkpoint, resume=True) == history
    assert_same(again, whole)


def test_a_gradient_that_is_not_finite_at_any_scale_of_the_loss_ends_the_run() -> None:
    needs_products_in(torch.float16)
    run = with_settings(precision="float16")
    run.model[0].weight.register_hook(lambda grad: torch.full_like(grad, torch.inf))
    steps: list[int] = []
    with pytest.raises(
        TrainingError,
        match=r"its gradient is not, in epoch 3, step 1 at BER \S+, first met in the gradient of 0.weight",
    ):
        run.train(on_step=lambda done, _: steps.append(done))
    assert len(steps) == 16, "from 2^16 down to 1"


def test_bfloat16_computes_in_it_and_keeps_the_parameters() -> None:
    needs_products_in(torch.bfloat16)
    run, seen = with_settings(precision="bfloat16", epochs=1), list[torch.dtype]()
    run.model[3].register_forward_hook(lambda *given: seen.append(given[2].dtype))
    history = run.train()
    assert set(seen) == {torch.bfloat16}
    assert run.model[3].weight.dtype == torch.float32
    assert history[0].loss == pytest.approx(with_settings(epochs=1).train()[0].loss, rel=0.05)


def image_run(**changes: Any) -> Run:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4)
    )
    errors = eden.Uniform(1e-3)
    eden.inject_(model, eden.Faults(errors, errors, "int8", "zero"))
    eden.calibrate_(model, [tiny_task.data()[0].tensors[0]])
    curriculum = eden.Curriculum(model, 1e-2, 2, 1)
    return Run(model, curriculum, recipe=dataclasses.replace(RECIPE, epochs=2, **changes))


def test_channels_last_and_compiled_networks_train_alike() -> None:
    kernels.needs_inductor()
    plain, last, compiled = image_run(), image_run(channels_last=True), image_run(compile=True)
    histories = [run.train() for run in (plain, last, compiled)]
    assert last.model[1].weight.is_contiguous(memory_format=torch.channels_last)
    for run, history in ((last, histories[1]), (compiled, histories[2])):
        # Sums are added up in another order, and now and then a value is rounded to another code.
        assert [epoch.loss for epoch in history] == pytest.approx([epoch.loss for epoch in histories[0]], rel=0.02)
        assert torch.allclose(run.model[4].weight, plain.model[4].weight, atol=0.02)
        assert run.curriculum is not None
        assert run.curriculum.optimizer_steps == 2 * STEPS


class ByIndex(Dataset[Any]):
    """The same samples one by one."""

    def __init__(self, raises_at: int | None = None) -> None:
        self.inputs, self.targets = tiny_task.data()[0].tensors
        self.raises_at, self.reads = raises_at, 0

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.reads += 1
        if self.reads == self.raises_at:
            raise OSError("disk on fire\nand more")
        return self.inputs[index], self.targets[index]


def test_samples_that_are_read_one_by_one(undisturbed: Callable[[str], tuple[Run, list[Epoch]]]) -> None:
    run = make("pool")
    run.dataset = ByIndex()
    run.train()
    assert_same(run, undisturbed("pool")[0])


def test_a_dataset_that_raises(tmp_path: Path, undisturbed: Callable[[str], tuple[Run, list[Epoch]]]) -> None:
    run, checkpoint = make("pool"), tmp_path / "run.safetensors"
    run.dataset = ByIndex(raises_at=3 + tiny_task.TRAIN + 70)  # three are read for the checkpoint's digest
    with pytest.raises(TrainingError) as caught:
        run.train(checkpoint)
    assert re.fullmatch(
        r"the data raised OSError at test_training.py:\d+: disk on fire in epoch 1, step 1; "
        r"the run can be resumed from " + re.escape(str(checkpoint)),
        str(caught.value),
    )
    assert isinstance(caught.value.__cause__, OSError)
    again = make("pool")
    again.dataset = ByIndex()
    again.train(checkpoint, resume=True)
    assert_same(again, undisturbed("pool")[0])


def test_an_augmentation_that_raises_before_there_is_a_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.safetensors"
    checkpoint.write_text("of another run")

    def broken(x: Tensor, generator: np.random.Generator) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(TrainingError, match=r"^the data raised ZeroDivisionError at .*:\d+ in epoch 0, step 0$"):
        train(make("one").model, tiny_task.data()[0], RECIPE, augment=broken, checkpoint=checkpoint)


def test_a_loss_under_faults_names_operand_and_rate(tmp_path: Path) -> None:
    # Without correction a flip in an exponent's top bit makes values near the largest float32; a tenth of all bits
    # makes some of them infinite in any of the steps.
    checkpoint = tmp_path / "run.safetensors"
    model = tiny_task.network()
    errors = eden.Uniform(1e-6, failure=0.5)
    eden.inject_(model, eden.Faults(errors, errors, "float32", "none", seed=5))
    rates = [eden.Uniform(1e-6, failure=0.5), eden.Uniform(0.1, failure=0.5)]
    curriculum = eden.Curriculum(model, rates, RECIPE.epochs, 3)
    with pytest.raises(TrainingError) as caught:
        train(model, tiny_task.data()[0], RECIPE, curriculum, checkpoint=checkpoint)
    message = str(caught.value)
    assert re.match(
        r"the loss is .* in epoch 3, step 0 at BER 0.1, first met in the (read of 0.\w+ \(BER 0.1\)|"
        r"output of [03] \(aten.addmm.default\)|stored 1.running_\w+ itself|gradient of \d.\w+, which is up to .*)"
        r"(, after the read of [03].\w+ \(BER 0.1\) made .*e\+3. of at most [\d.]+)?; allowed",
        message,
    ), message
    assert message.endswith(f"; the run can be resumed from {checkpoint}")


def place_of(model: nn.Module, x: Tensor) -> str | None:
    return first_not_finite(model, lambda: model(x))


def test_the_first_value_that_is_not_finite() -> None:
    x = tiny_task.data()[0].tensors[0][:10]
    model = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))
    assert place_of(model, x) is None
    with torch.no_grad():
        model[2].weight.fill_(3e38)
    assert place_of(model, x) == "the output of 2 (aten.addmm.default)"
    with torch.no_grad():
        model[2].weight[0, 0] = torch.inf
    assert place_of(model, x) == "the stored 2.weight itself"
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    with torch.no_grad():
        model[2].weight.fill_(1.0)
    inputs = x.clone()
    inputs[3, 3] = torch.nan
    errors = eden.Uniform(1e-9)
    eden.inject_(model, eden.Faults(errors, errors))
    assert place_of(model, inputs) == "the read of 0.input (BER 1e-09)"
    with torch.no_grad():
        model[2].weight.fill_(2.0)  # 0x40000000: with the seven lower bits of its exponent set, an infinity
    cells = eden.CellMap(np.arange(23, 30), True, False, bits=1024)
    eden.set_errors_(model, {"0.weight": None, "0.input": None, "2.input": None, "2.weight": [(cells, 0, 1024)]})
    assert place_of(model, x) == "the read of 2.weight"
    with torch.no_grad():
        model[2].weight.fill_(1.5)  # 0x3fc00000: with the highest bit of its exponent set, not a number
        model[2].weight[0, 0] = 0.25  # 0x3e800000: likewise, 2^126 = 8.5e37
    cells = eden.CellMap(np.array([30]), True, False, bits=1024)
    eden.set_errors_(model, {"2.weight": [(cells, 0, 1024)]})
    assert place_of(model, x) is None
    found = place_of(model, x * 100)
    assert found == "the output of 2 (aten.addmm.default), after the read of 2.weight made 8.51e+37 of at most 1.5"


def test_a_read_of_a_row_that_is_not_finite_is_named() -> None:
    model = nn.Sequential(nn.Embedding(200, 64), nn.Flatten(), nn.Linear(128, 2))
    errors = eden.Uniform(1e-9)
    eden.inject_(model, eden.Faults(errors, errors))
    with torch.no_grad():
        model[0].weight.fill_(2.0)
    cells = eden.CellMap(np.arange(23, 30), True, False, bits=32 * 12800)
    rows = torch.tensor([[0, 1]])
    eden.set_errors_(model, {"0.weight": [(cells, 0, 32 * 12800)], "2.weight": None, "2.input": None})
    assert place_of(model, rows) == "the read of an operand of 0"


def test_a_gradient_whose_norm_overflows_names_the_read() -> None:
    # Neither loss nor gradient is infinite here, and a step by such a gradient would only spoil the network.
    model = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 4))
    with torch.no_grad():
        model[1].weight.fill_(0.25)
    errors = eden.Uniform(1e-9)
    eden.inject_(model, eden.Faults(errors, None))
    cells = eden.CellMap(np.array([30]), True, False, bits=1024)
    eden.set_errors_(model, {"0.weight": None, "1.weight": [(cells, 0, 1024)]})
    before = [parameter.clone() for parameter in model.parameters()]
    samples = TensorDataset(torch.full((4, 4), 0.1), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(
        TrainingError,
        match=r"the loss is finite, the norm of its gradient is not, in epoch 0, step 0, first met in the gradient of "
        r"0.bias, which is up to \S+e\+3\d, after the read of 1.weight made 8.51e\+37 of at most 0.25; allowed",
    ):
        train(model, samples, Recipe(epochs=1, batch_size=4, clip_gradients=1.0))
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), before, strict=True))


def scheduled(kind: str) -> tuple[Run, torch.optim.Optimizer, Any]:
    run = make("fresh")
    parameters = run.model.parameters()
    makers: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "adadelta": lambda: torch.optim.Adadelta(parameters),
        "rmsprop": lambda: torch.optim.RMSprop(parameters, momentum=0.5, centered=True),
        "lbfgs": lambda: torch.optim.LBFGS(parameters, lr=0.1, max_iter=2, history_size=3),
        "adafactor": lambda: torch.optim.Adafactor(parameters),
        "amsgrad": lambda: torch.optim.Adam(parameters, amsgrad=True),
        "groups": lambda: torch.optim.SGD(
            [{"params": [parameter], "lr": 0.01 * (index + 1)} for index, parameter in enumerate(parameters)],
            momentum=0.9,
        ),
    }
    optimizer = makers[kind]()
    return run, optimizer, torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3)


def loop(run: Run, optimizer: torch.optim.Optimizer, scheduler: Any, epochs: int) -> None:
    x, y = tiny_task.data()[0].tensors
    run.model.train()
    for _ in range(epochs):
        for _ in range(3):
            chosen = torch.randperm(len(x))[:50]
            noise = random.random() + float(np.random.rand())

            def closure(chosen: Tensor = chosen, noise: float = noise) -> Tensor:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(run.model(x[chosen] * (1 + 0.1 * noise)), y[chosen])
                loss.backward()  # type: ignore[no-untyped-call]
                return loss

            optimizer.step(closure)  # type: ignore[arg-type]
        scheduler.step()
        assert run.curriculum is not None
        run.curriculum.step()


@pytest.mark.parametrize("kind", ["adadelta", "rmsprop", "lbfgs", "adafactor", "amsgrad", "groups"])
def test_a_loop_of_ones_own_goes_on_to_the_same_bits(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    run, optimizer, scheduler = scheduled(kind)
    random.seed(3), np.random.seed(3)
    loop(run, optimizer, scheduler, 2)
    extra = {"best": 0.5, "seen": (1, 2), "kept": {"w": run.model[0].weight}, "worst": float("-inf")}
    eden.save_checkpoint(run.model, path, optimizer, scheduler, run.curriculum, extra)
    kept = run.model[0].weight.clone()
    loop(run, optimizer, scheduler, 2)
    other, second, third = scheduled(kind)
    torch.rand(5), np.random.rand(5), random.random()
    found = {"gone": 1}
    assert eden.load_checkpoint_(other.model, path, second, third, other.curriculum, found) is other.model
    assert set(found) == set(extra)
    assert (found["best"], found["seen"], found["worst"]) == (0.5, (1, 2), float("-inf"))
    assert torch.equal(found["kept"]["w"], kept)
    loop(other, second, third, 2)
    assert_same(other, run)
    assert third.state_dict() == scheduler.state_dict()


def test_a_checkpoint_brings_its_ranges(tmp_path: Path) -> None:
    # As where a run's own process has calibrated with other samples, or with a shuffling loader.
    checkpoint = tmp_path / "run.safetensors"
    model = make("faults").model
    eden.calibrate_(model, ranges={"0.input": (-2.5, 3.0)})
    expected = eden.ranges(model)
    eden.save_checkpoint(model, checkpoint)
    other = make("faults").model
    assert eden.ranges(other) != expected
    eden.load_checkpoint_(other, checkpoint)
    assert eden.ranges(other) == expected
    x = tiny_task.data()[0].tensors[0]
    found = model.eval()(x)
    assert torch.equal(other.eval()(x), found)
    never = tiny_task.network()
    eden.inject_(never, eden.Faults(ERRORS, ERRORS, "int8", "zero", seed=5))
    eden.load_checkpoint_(never, checkpoint)
    assert torch.equal(never.eval()(x), found), "no calibration is needed where no operand is shared"
    corrected = make("faults", correction="clamp").model
    with pytest.raises(FileError, match=r"another run: correction of the input 0.input is zero, here it is clamp$"):
        eden.load_checkpoint_(corrected, checkpoint)
    with pytest.raises(FileError, match=r"not the same inputs are under faults: 0.input, 3.input$"):
        eden.load_checkpoint_(make("reliable").model, checkpoint)


def test_checkpoints_of_another_loop_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    run, optimizer, scheduler = scheduled("amsgrad")
    loop(run, optimizer, scheduler, 1)
    eden.save_checkpoint(run.model, path, optimizer, scheduler, run.curriculum)
    other, second, third = scheduled("rmsprop")
    before = state(other)
    with pytest.raises(FileError, match="its optimizer is Adam, here it is RMSprop"):
        eden.load_checkpoint_(other.model, path, second, third, other.curriculum)
    with pytest.raises(FileError, match="its scheduler is CosineAnnealingWarmRestarts, here it is None"):
        eden.load_checkpoint_(other.model, path, optimizer, None, other.curriculum)
    few = torch.optim.Adam(list(other.model.parameters())[:2], amsgrad=True)
    with pytest.raises(FileError, match=r"its optimizer has groups of \[6\] Parameters, here of \[2\]"):
        eden.load_checkpoint_(other.model, path, few, third, other.curriculum)
    assert all(torch.equal(before[name], value) for name, value in state(other).items())
    with pytest.raises(TypeError, match=r"extra.a.1 is a set; allowed are numbers, texts, tensors"):
        eden.save_checkpoint(run.model, path, extra={"a": [1, {2}]})
    with pytest.raises(TypeError, match="model is a PosixPath; allowed is a network, before the path"):
        eden.save_checkpoint(path, run.model)


def test_a_loop_of_ones_own_trains_to_the_same_bits() -> None:
    """With the functions that docs/how-to/boost.md shows, in the order in which it shows them."""
    options = {"clip_percentile": 99.0, "distillation": 0.5, "learn_ranges": True, "range_decay": 0.1}
    run = make("fresh", hidden=8)
    recipe = Recipe(epochs=2, batch_size=tiny_task.BATCH, warmup=0.0, decay="constant", clean_loss=0.25, **options)
    model, dataset = copy.deepcopy(run.model), run.dataset
    train(run.model, dataset, recipe, run.curriculum)

    curriculum = eden.Curriculum(model, 1e-2, RECIPE.epochs, chips="fresh", seed=7)
    teacher = eden.remove_(copy.deepcopy(model)).eval()
    bounds = weight_bounds(model, percentile=99.0)
    learned = LearnedRanges(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=5e-4, nesterov=True)
    optimizer.add_param_group({"params": learned.parameters(), "weight_decay": 0.1})

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        output = model(x)
        with torch.no_grad():
            theirs = teacher(x)
        return 0.5 * nn.functional.cross_entropy(output, y) + 0.5 * distilled(output, theirs, temperature=2.0)

    clip_weights_(model, bounds)
    model.train()
    for epoch in range(2):
        samples = Samples(dataset, recipe, epoch, None, torch.device("cpu"), 0, 1)
        with learned.training():
            for step in range(STEPS):
                x, y, _ = samples.batch(step)
                optimizer.zero_grad()
                (0.75 * loss_of(x, y)).backward()
                with eden.clean(model):
                    (0.25 * loss_of(x, y)).backward()
                optimizer.step()
                clip_weights_(model, bounds)
                learned.apply_()
        curriculum.step()
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    assert eden.ranges(run.model) == eden.ranges(model)
    assert any(float(factor.detach()) < 1.0 for factor in learned.parameters())


def test_records_for_a_logger() -> None:
    run, steps, epochs = make("fresh", hidden=8), list[Record](), list[Record]()
    assert run.curriculum is not None
    run.curriculum.log = epochs.append
    run.curriculum.report(0.5, loss=2.0)
    history = run.train(log=steps.append)
    assert [record["step"] for record in steps] == list(range(1, RECIPE.epochs * STEPS + 1))
    for epoch in history:
        of_epoch = [record for record in steps if record["epoch"] == epoch.number]
        assert math.fsum(record["loss"] for record in of_epoch) / STEPS == pytest.approx(epoch.loss)
        assert {record["ber"] for record in of_epoch} == {epoch.ber}
    expected = [(epoch.number, (epoch.number + 1) * STEPS, epoch.ber, 2.0, 0.5) for epoch in history]
    assert [tuple(record[key] for key in ("epoch", "step", "ber", "loss", "score")) for record in epochs] == expected
    assert copy.deepcopy(run.curriculum).log is None
