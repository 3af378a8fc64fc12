"""Is a task found by its name, module or file, is each mistake named, is the shipped one the same each time?"""

import dataclasses
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_task
import torch
from torch import nn
from torch.utils.data import TensorDataset

from eden.app.recipe import RetrainRecipe
from eden.app.retrain import retrain
from eden.app.tasks import TASKS, Task, TaskError, check_network, flip_and_crop, is_users, load_task
from eden.boosting.augmentation import Augment, augmented
from eden.boosting.recipe import Recipe
from eden.boosting.training import train

FILE = tiny_task.__file__


def test_by_name_module_and_file() -> None:
    assert load_task("digits").name == TASKS["digits"]().name
    assert load_task("tiny_task:tiny").name == "tiny"
    found = load_task(f"{FILE}:tiny")
    assert isinstance(found, Task)
    assert found.name == "tiny"
    assert found.model()(torch.zeros(2, tiny_task.FEATURES)).shape == (2, tiny_task.CLASSES)


@pytest.mark.parametrize(("storage", "correction"), [(None, "zero"), ("float32", "zero"), ("int8_secded", "clamp")])
def test_a_block_that_is_not_corrected_is_no_zeros(storage: str | None, correction: str) -> None:
    assert dataclasses.replace(tiny_task.tiny(), storage=storage, correction=None).correction == correction


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", r"^task is 'nothing'; allowed are digits, cifar10-resnet20, package.module:function and file.py"),
        ("", r"^task is ''; allowed are digits"),
        ("no_such_module:tiny", r"^task 'no_such_module:tiny': No module named 'no_such_module'$"),
        (":tiny", r"^task ':tiny': '' is no name of a module$"),
        (".tiny_task:tiny", r"'.tiny_task' is no name of a module$"),
        ("no/such.py:tiny", r"no such file: no/such.py$"),
        ("tiny_task:missing", r"^task 'tiny_task:missing': tiny_task has no function 'missing'$"),
        ("tiny_task:", r"tiny_task has no function ''$"),
        ("tiny_task:not_callable", r"tiny_task has no function 'not_callable'$"),
        ("tiny_task:no_task", r"no_task\(\) returned a str; allowed is eden\.Task$"),
        (f"{FILE}:missing", r"tiny_task.py has no function 'missing'$"),
    ],
)
def test_mistakes_are_named(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_task(name)


def test_files_that_cannot_be_run(tmp_path: Path) -> None:
    path = tmp_path / "task.py"
    path.write_text("def broken(:\n")
    with pytest.raises(ValueError, match=r"task '.*task.py:f': invalid syntax \(task.py, line 1\)"):
        load_task(f"{path}:f")
    path.write_text("import no_such_module\n")
    with pytest.raises(ValueError, match=r"No module named 'no_such_module' \(.*task.py, line 1\)$"):
        load_task(f"{path}:f")
    path.write_text("1 / 0\n")
    modules = set(sys.modules)
    with pytest.raises(ZeroDivisionError):
        load_task(f"{path}:f")
    assert set(sys.modules) == modules
    folder = tmp_path / "folder.py"
    folder.mkdir()
    with pytest.raises(ValueError, match=r"no such file: .*folder.py"):
        load_task(f"{folder}:f")


def test_a_file_takes_no_other_modules_place(tmp_path: Path) -> None:
    import json

    path = tmp_path / "json.py"
    path.write_text(Path(FILE).read_text())
    assert load_task(f"{path}:tiny").name == "tiny"
    assert sys.modules["json"] is json


NEIGHBOURLY = """
import {first}
from tiny_task import tiny

def task():
    import {later}
    assert ({first}.HERE, {later}.HERE) == (1, 2)
    return tiny()

def late():
    import {late}
    return {late}.HERE
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with three modules, whose imports are forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    monkeypatch.setattr("eden.app.tasks._user_folders", [])
    for number, name in enumerate(("first", "later", "late"), start=1):
        (tmp_path / f"neighbour_{name}.py").write_text(f"HERE = {number}\n")
    names = {name: f"neighbour_{name}" for name in ("first", "later", "late")}
    (tmp_path / "mine.py").write_text(NEIGHBOURLY.format(**names))
    yield tmp_path
    for name in set(sys.modules) - set(before):
        del sys.modules[name]
    sys.modules.update(before)


def test_a_file_imports_its_neighbours(folder: Path) -> None:
    assert load_task(f"{folder}/mine.py:task").name == "tiny"
    # Also when it is called later, as for its data.
    assert sys.modules["_eden_task_mine"].late() == 3


def test_a_module_is_found_from_the_current_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert load_task("mine:task").name == "tiny"
    assert load_task("mine.py:task").name == "tiny"
    (folder / "package").mkdir()
    (folder / "package" / "inner.py").write_text("from tiny_task import tiny\n")
    assert load_task("package.inner:tiny").name == "tiny"


def test_neighbours_take_no_others_place_afterwards(folder: Path) -> None:
    (folder / "colorsys.py").write_text("raise AssertionError('not asked for')\n")
    sys.modules.pop("colorsys", None)
    load_task(f"{folder}/mine.py:task")
    import colorsys

    assert not str(colorsys.__file__).startswith(str(folder))


def test_neighbours_come_first_for_the_file_itself(folder: Path) -> None:
    (folder / "colorsys.py").write_text("HERE = 1\n")
    sys.modules.pop("colorsys", None)
    (folder / "mine.py").write_text("import colorsys\nfrom tiny_task import tiny\nassert colorsys.HERE == 1\n")
    assert load_task(f"{folder}/mine.py:tiny").name == "tiny"
    assert sys.path.count(str(folder)) == 1


def test_whose_code_is_the_users(folder: Path) -> None:
    load_task(f"{folder}/mine.py:task")
    assert is_users(f"{folder}/mine.py")
    assert is_users(f"{folder}/below/other.py")
    assert not is_users(f"{folder}er/mine.py")
    assert not is_users(torch.__file__)
    assert not is_users(TASKS["digits"].__code__.co_filename)


@pytest.mark.parametrize("field", ["model", "data", "augment"])
def test_a_task_of_what_cannot_be_called(field: str) -> None:
    with pytest.raises(TypeError, match=f"{field} of task 'tiny' is a int; allowed is a function"):
        dataclasses.replace(tiny_task.tiny(), **{field: 3})


class Noise(torch.nn.Module):
    """A transform as torchvision's: a module of one argument that draws from torch's generators."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand_like(x)


class Composed:
    """One that is no module."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return Noise()(x)


def jitter_or_not(x: torch.Tensor, generator: np.random.Generator | None = None) -> torch.Tensor:
    return x if generator is None else x + float(generator.random())


@pytest.mark.parametrize(
    ("function", "draws_from"),
    [
        (tiny_task.jitter, "numpy"),
        (jitter_or_not, "numpy"),
        (Noise(), "torch"),
        (Composed(), "torch"),
        (torch.nn.Sequential(Noise(), Noise()), "torch"),
        (lambda x: x + torch.rand(1), "torch"),
        (lambda x, scale=0.5: x + scale * torch.rand(1), "torch"),
        (functools.partial(tiny_task.jitter), "numpy"),
        (torch.nn.Identity(), "nothing"),
        (torch.relu, "nothing"),
    ],
)
def test_augmentations_of_either_kind(function: Augment, draws_from: str) -> None:
    x = torch.rand(8, tiny_task.FEATURES)

    def made(numpy_seed: int, torch_seed: int) -> torch.Tensor:
        torch.manual_seed(torch_seed)
        return augmented(function, x, np.random.default_rng(numpy_seed))

    with torch.random.fork_rng(devices=[]):
        assert torch.equal(made(1, 1), made(1, 1))
        assert torch.equal(made(1, 1), made(2, 1)) == (draws_from != "numpy")
        assert torch.equal(made(1, 1), made(1, 2)) == (draws_from != "torch")


def test_training_with_a_transform_repeats() -> None:
    networks = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = tiny_task.network()
        train(model, tiny_task.data()[0], Recipe(epochs=2, batch_size=50), augment=Noise())
        networks.append(model.state_dict())
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x[1:], r"augment: .*<lambda> made a tensor of shape \(7, 16\) of a batch of 8; allowed is a tensor"),
        (lambda x: None, "made a NoneType of a batch of 8"),
        (lambda x: x.sum(), r"made a tensor of shape \(\)"),
    ],
)
def test_augmentations_that_give_something_else(function: Augment, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        augmented(function, torch.rand(8, tiny_task.FEATURES), np.random.default_rng(1))


def test_the_digits_are_the_same_each_time() -> None:
    task = load_task("digits")
    torch.manual_seed(123)
    before = torch.get_rng_state()
    networks = [task.model().state_dict() for _ in range(2)]
    sets = [task.data() for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])
    for one, other in zip(*sets, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.tensors, other.tensors, strict=True))
    assert task.train is not None
    assert (task.storage, task.input_storage, task.correction) == ("int8_sign_magnitude", "uint8", "zero")


def test_flip_and_crop_is_a_function_of_the_generator() -> None:
    x = torch.rand(64, 3, 8, 8) + 1.0
    torch_before = torch.get_rng_state()
    found = flip_and_crop(x, np.random.default_rng(3))
    assert torch.equal(found, flip_and_crop(x, np.random.default_rng(3)))
    assert not torch.equal(found, flip_and_crop(x, np.random.default_rng(4)))
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert found.shape == x.shape
    shifts = set()
    for seed in range(100):
        moved = flip_and_crop(x[:1], np.random.default_rng(seed))[0]
        assert set(moved.unique().tolist()) <= {0.0, *x[0].unique().tolist()}
        held = (moved[0] != 0).nonzero()
        top, left = held.amin(0).tolist()
        bottom, right = (7 - held.amax(0)).tolist()
        assert min(top, bottom) == 0
        assert min(left, right) == 0
        shifts |= {top - bottom, left - right}
    assert shifts == set(range(-4, 5))


def given(**changes: Any) -> Task:
    x, y = torch.zeros(8, 16), torch.arange(8) % 4
    sets = {"data": lambda: (TensorDataset(x, y), TensorDataset(x, y))}
    return dataclasses.replace(tiny_task.tiny(), **{**sets, **changes})


X, Y = torch.zeros(8, 16), torch.arange(8) % 4
GOOD = TensorDataset(X, Y)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (lambda: GOOD, "data of task 'tiny' gives a TensorDataset; allowed are two TensorDatasets"),
        (lambda: (GOOD, GOOD, GOOD), "data of task 'tiny' gives 3 items; allowed are two TensorDatasets"),
        (lambda: (GOOD, [(X[0], 0)]), "the validation set of task 'tiny' is a list; allowed is a TensorDataset"),
        (lambda: (TensorDataset(X), GOOD), "the training set of task 'tiny' has 8 samples of 1 tensors; allowed are"),
        (lambda: (GOOD, TensorDataset(X[:0], Y[:0])), "the validation set of task 'tiny' has 0 samples of 2 tensors"),
        (
            lambda: (TensorDataset(X, Y.float()), GOOD),
            r"are torch.float32 of shape \(8,\), the lowest 0; allowed are int64",
        ),
        (lambda: (TensorDataset(X, Y.int()), GOOD), r"are torch.int32 of shape \(8,\)"),
        (lambda: (GOOD, TensorDataset(X, Y[:, None])), r"labels of the validation set .* of shape \(8, 1\)"),
        (lambda: (TensorDataset(X, Y - 1), GOOD), r"the lowest -1; allowed are int64 of shape \(8,\), from 0"),
    ],
)
def test_what_a_task_gives_as_data_is_looked_at(data: Any, problem: str) -> None:
    with pytest.raises(TaskError, match=problem):
        given(data=data).sets()
    assert given(test=lambda: GOOD, data=data).test_set() is GOOD


def test_a_test_set_is_looked_at() -> None:
    assert given(test=None).test_set() is None
    with pytest.raises(TaskError, match="the test set of task 'tiny' has 8 samples of 1 tensors"):
        given(test=lambda: TensorDataset(X)).test_set()


def test_labels_and_outputs_fit() -> None:
    assert given().sets()[0].tensors[0].shape == (8, 16)
    check_network(given(), tiny_task.network(), GOOD)
    with pytest.raises(
        TaskError, match=r"labels of task 'tiny' go up to 4; allowed with its network, .* 4 outputs, is 0 to 3"
    ):
        check_network(given(), tiny_task.network(), TensorDataset(X, Y + 1))
    with pytest.raises(TaskError, match=r"gives an output of shape \(2, 4, 1\) for 2 samples; allowed is a score for"):
        check_network(given(), nn.Sequential(tiny_task.network(), nn.Unflatten(1, (4, 1))), GOOD)
    with pytest.raises(
        TypeError, match="model of task 'tiny' is a Network; allowed is what makes one, such as Network"
    ):
        given(model=tiny_task.network())


def test_a_task_without_a_target_is_boosted_as_far_as_it_allows(tmp_path: Path) -> None:
    """A tenth of the training set makes the choices; the validation set is not looked at."""
    made = tmp_path / "made.py"
    made.write_text(
        "import dataclasses\nfrom tiny_task import tiny\n"
        "def task():\n    return dataclasses.replace(tiny(), target_ber=None, augment=None)\n"
    )
    told: list[str] = []
    recipe = RetrainRecipe.of({"task": f"{made}:task", "boost": {"epochs": 2}})
    retrain(recipe, tmp_path / "out", say=told.append)
    (table,) = [text for text in told if "trained at BER" in text]
    assert len(table.splitlines()) == 3 + 1
    assert "kept" in table
    resolved = RetrainRecipe.load(tmp_path / "out" / "recipe.toml")
    assert (resolved.curriculum.target_ber, resolved.curriculum.max_drop) == (None, 0.01)
    with pytest.raises(ValueError, match=r"curriculum: has target_ber and max_drop, which finds a target"):
        RetrainRecipe.of({"curriculum": {"target_ber": 1e-3, "max_drop": 0.01}}).resolved(load_task("digits"))
