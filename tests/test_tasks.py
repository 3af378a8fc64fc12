"""Is a task found by its name, module or file, is each mistake named, is the shipped one the same each time?"""

import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_task
import torch

from eden.tasks import TASKS, Task, flip_and_crop, load_task

FILE = tiny_task.__file__


def test_by_name_module_and_file() -> None:
    assert load_task("digits").name == TASKS["digits"]().name
    assert load_task("tiny_task:tiny").name == "tiny"
    found = load_task(f"{FILE}:tiny")
    assert isinstance(found, Task)
    assert found.name == "tiny"
    assert found.model()(torch.zeros(2, tiny_task.FEATURES)).shape == (2, tiny_task.CLASSES)


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
        ("tiny_task:no_task", r"no_task\(\) returned a str; allowed is eden.tasks.Task$"),
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
    with pytest.raises(ValueError, match="No module named 'no_such_module'"):
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
