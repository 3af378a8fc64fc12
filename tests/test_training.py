"""Is training a function of its recipe, and does an interrupted run go on to the same bits, or say what differs?"""

import dataclasses
import json
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_task
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_task import STEPS
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.data import TensorDataset

import eden
from eden.files import FileError
from eden.inject import faulty_layers
from eden.training import Epoch, Recipe, TrainingError, batches, train

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = Recipe(epochs=6, learning_rate=0.05, batch_size=tiny_task.BATCH, seed=3)
ERRORS = eden.DataDependent(1e-3, 3e-3, failure=0.5)
SETTINGS = ("reliable", "faults", "fresh", "one", "pool", "dropout")


@dataclasses.dataclass
class Run:
    """A network that is about to be trained."""

    model: nn.Module
    curriculum: eden.Curriculum | None = None
    dataset: TensorDataset = dataclasses.field(default_factory=lambda: tiny_task.data()[0])
    recipe: Recipe = RECIPE

    def train(self, checkpoint: Path | None = None, **options: Any) -> list[Epoch]:
        return train(self.model, self.dataset, self.recipe, self.curriculum, tiny_task.jitter, checkpoint, **options)


def make(setting: str, errors: eden.ErrorModel = ERRORS, hidden: int = 24, **changes: Any) -> Run:
    """Reliable, under faults without a curriculum, or in a curriculum with those chips."""
    model = tiny_task.network(hidden)
    if setting == "dropout":
        model.append(nn.Dropout(0.3))
    if setting in ("reliable", "dropout"):
        return Run(model)
    eden.inject_(
        model, eden.Faults(errors, errors, "int8", changes.get("correction", "zero"), seed=changes.get("chip", 5))
    )
    eden.calibrate_(model, [tiny_task.data()[0].tensors[0]])
    if setting == "faults":
        return Run(model)
    chips = 3 if setting == "pool" else setting
    return Run(model, eden.Curriculum(model, changes.get("target", 1e-2), RECIPE.epochs, chips=chips, seed=7))


def state(run: Run) -> dict[str, Tensor]:
    kept = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    for name, layer in faulty_layers(run.model).items():
        for buffer in ("eden_chip", "eden_training_chip", "eden_training_access"):
            kept[f"{name}.{buffer}"] = getattr(layer, buffer).clone()
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
    ],
)
def test_recipes_out_of_range(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"^{field} is {value}; allowed is .*{allowed}"):
        Recipe(**{"epochs": 3, field: value})


def epoch_of(number: int, seed: int = 0, augment: Any = tiny_task.jitter) -> list[tuple[Tensor, Tensor]]:
    recipe = Recipe(epochs=3, batch_size=60, seed=seed)
    return list(batches(tiny_task.data()[0], recipe, number, augment, torch.device("cpu")))


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
    from eden.evaluation import over_chips

    run = make("pool")

    def evaluate(epoch: Epoch) -> None:
        over_chips(run.model, tiny_task.data()[1], chips=2)
        run.model.train()

    run.train(on_epoch=evaluate)
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
import os, random, signal, sys
from pathlib import Path
import torch
import eden.files
import test_training
torch.set_num_threads(1)
run = test_training.make(sys.argv[1])
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[3] == "writing":
    whole = eden.files.save_file
    written = []
    def torn(tensors, path, metadata):
        whole(tensors, path, metadata)
        written.append(path)
        if len(written) == int(sys.argv[4]):
            os.truncate(path, os.path.getsize(path) // 2)
            kill()
    eden.files.save_file = torn
run.train(Path(sys.argv[2]), on_step=lambda done, total: sys.argv[3] == "step" and done == int(sys.argv[4]) and kill())
"""


@pytest.mark.parametrize(("setting", "moment"), [("fresh", "step"), ("faults", "writing")])
def test_a_killed_process_is_resumed_to_the_same_bits(
    setting: str, moment: str, tmp_path: Path, undisturbed: Callable[[str], tuple[Run, list[Epoch]]]
) -> None:
    checkpoint = tmp_path / "run.safetensors"
    steps = RECIPE.epochs * STEPS
    at = random.Random(20261123).randrange(STEPS + 1, steps) if moment == "step" else 3
    folder = os.fspath(Path(__file__).parent)
    found = subprocess.run(
        [sys.executable, "-c", KILLED, setting, os.fspath(checkpoint), moment, str(at)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
    )
    assert found.returncode == -signal.SIGKILL, found.stderr
    expected, history = undisturbed(setting)
    run = make(setting)
    numbers: list[int] = []
    assert run.train(checkpoint, resume=True, on_epoch=lambda epoch: numbers.append(epoch.number)) == history
    assert numbers[0] == ((at - 1) // STEPS if moment == "step" else 2)
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
        "the loss is nan in epoch 3, step 0 at BER 0.00667; allowed is a finite number: lower the learning rate or the "
        f"bit error rate, or correct implausible values (correction='zero'); epoch 3 can be resumed from {checkpoint}"
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert not run.model.training
    again = make("one")
    again.train(checkpoint, resume=True)
    assert_same(again, undisturbed("one")[0])


def test_a_loss_that_is_never_finite_leaves_nothing(tmp_path: Path) -> None:
    run, checkpoint = make("reliable"), tmp_path / "run.safetensors"
    with torch.no_grad():
        run.model[3].bias.fill_(float("inf"))
    with pytest.raises(TrainingError, match=r"^the loss is nan in epoch 0, step 0; allowed") as caught:
        run.train(checkpoint)
    assert "resumed" not in str(caught.value)
    assert not list(tmp_path.iterdir())


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
    header = change(header) or header
    save_file(tensors, path, metadata={"eden": json.dumps(header)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header.update(version=2), r"format and version: found \('eden-training', 2\), allowed are"),
        (lambda header: header.update(format="x"), r"format and version: found \('x', 1\), allowed are"),
        (lambda header: [1], r"header: found list, allowed is an object"),
        (lambda header: header.pop("identity") and None, r"of another run: it has no recipe"),
        (lambda header: header.pop("history") and None, r"header is damaged: KeyError: 'history'"),
        (lambda header: header["history"].pop(0) and None, r"header is damaged: .*not numbered from 0"),
        (lambda header: header["history"][0].pop("loss") and None, r"header is damaged: TypeError"),
        (lambda header: header["accesses"].pop("3") and None, r"header is damaged: KeyError: '3'"),
        (lambda header: header["curriculum"].pop("epoch") and None, r"header is damaged: .*lacks epoch"),
    ],
)
def test_a_damaged_header(half: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    path = tmp_path / "run.safetensors"
    damaged(half, path, change)
    refused(make("pool"), path, message)


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
