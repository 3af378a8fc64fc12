"""Is a user's mistake told in one line, and does a fault of EDEN's say that it is one and keep its traceback?"""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import eden
from eden import _core
from eden.app import cli, recipe, tasks
from eden.app.mistakes import mistake
from eden.app.tasks import load_task
from eden.devices import device

Ended = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def no_task_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that another test loaded would make the tests' own files the user's."""
    monkeypatch.setattr(tasks, "_user_folders", [])


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Ended:
    """Runs ``eden devices show``; its status and what it wrote on standard error."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def of(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["eden", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert isinstance(caught.value.code, int)
        return caught.value.code, capsys.readouterr().err

    return of


def planted(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Code as if it stood in EDEN's own, where a device is described."""
    file = str(Path(device.__file__).with_name("planted.py"))
    scope: dict[str, object] = {"np": np, "errno": errno, "_core": _core}
    exec(compile(f"def describe(self):\n    {source}\n", file, "exec"), scope)
    monkeypatch.setattr(eden.Device, "describe", scope["describe"])


@pytest.mark.parametrize(
    "source",
    [
        "None + 1",
        "{}['key']",
        "[][1]",
        "int('x')",
        "np.zeros(2) + np.zeros(3)",
        "np.zeros(2).reshape(3)",
        "raise RuntimeError('never')",
        "assert False",
        "_core.Search()",
        "import eden.no_such_module",
        "open('no such file')",
        "a, b = [1]",
        "self.model_validate({})",
    ],
)
def test_a_fault_of_ours(source: str, ended: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, source)
    status, err = ended("devices", "show", "ddr3-b33")
    assert status == 70
    lines = err.splitlines()
    assert lines[-2] == "eden: this is a fault of eden's and not of what it was given"
    found = re.fullmatch(r"eden: please report it with its traceback, which is in (.*)", lines[-1])
    assert found is not None
    kept = Path(found[1]).read_text()
    assert "planted.py" in kept
    assert f"eden {eden.__version__}" in kept
    assert "Traceback" not in err
    assert "planted.py" in ended("devices", "show", "ddr3-b33", "--traceback")[1]


def test_a_traceback_that_cannot_be_kept_is_shown(ended: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, "None + 1")
    monkeypatch.setattr("tempfile.tempdir", "/proc/no-such-place")
    status, err = ended("devices", "show", "ddr3-b33")
    assert status == 70
    assert "Traceback (most recent call last)" in err
    assert err.endswith("eden: please report it with the text above\n")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise ValueError('x is 1; allowed is 2')", "x is 1; allowed is 2"),
        ("raise TypeError('x is a str')", "x is a str"),
        ("raise ImportError('sklearn is needed')", "sklearn is needed"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("raise OSError(errno.ENOSPC, 'No space left on device')", "[Errno 28] No space left on device"),
        ("raise MemoryError", "out of memory: MemoryError"),
    ],
)
def test_a_mistake_of_the_users(source: str, said: str, ended: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, source)
    status, err = ended("devices", "show", "ddr3-b33")
    assert status == 1
    assert err.startswith(f"eden: {said}")
    assert err.count("\n") == 1
    _, err = ended("--traceback", "devices", "show", "ddr3-b33")
    assert err.startswith("Traceback (most recent call last)")
    assert err.splitlines()[-1].startswith(f"eden: {said}")


def caught(function: Callable[[], object]) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    pytest.fail("raised nothing")


def test_what_the_core_refuses_is_the_users() -> None:
    # Through a name, an object and a module.
    for function in (
        lambda: eden.Uniform(ber=2.0),
        lambda: eden.CellMap(cells=[5, 5], flips_zero=True, flips_one=True, bits=64, failure=0.25),
        lambda: recipe.setting("no equals sign"),
    ):
        error = caught(function)
        assert mistake(error) == str(error)


def test_what_others_raise_is_not() -> None:
    assert mistake(caught(lambda: int("x"))) is None
    assert mistake(caught(lambda: np.zeros(2).reshape(3))) is None


TASK = """
from eden.app.tasks import Task
from eden.boosting.recipe import Recipe
from torch import nn

def network():
    return nn.Linear(3, "four")

def task():
    return Task(name="t", model=network, data=lambda: None, boost=Recipe(epochs=1), target_ber=1e-2)

def refused():
    return Task(name="t", model=network, data=None, boost=Recipe(epochs=0), target_ber=1e-2)

def fails():
    return {}["nothing"]
"""


def test_a_failure_in_a_task_names_its_function_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.py"
    path.write_text(TASK)
    monkeypatch.chdir(tmp_path)
    task = load_task("mine.py:task")
    assert re.match(r"mine.py, line 7, in network: TypeError: .*str", mistake(caught(task.model)) or "")
    error = caught(lambda: load_task("mine.py:fails"))
    assert mistake(error) == "mine.py, line 16, in fails: KeyError: 'nothing'"
    error = caught(lambda: load_task("mine.py:refused"))
    assert mistake(error) == f"mine.py, line 13, in refused: {error}"


def test_a_failure_that_training_tells_of_names_the_place_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tiny_task

    from eden.boosting import training

    (tmp_path / "bad_augment.py").write_text(
        "import tiny_task\ndef augment(x):\n    return x.no_such_thing()\n"
        "def task():\n    import dataclasses\n    return dataclasses.replace(tiny_task.tiny(), augment=augment)\n"
    )
    monkeypatch.chdir(tmp_path)
    task = load_task("bad_augment:task")
    assert task.train is not None
    error = caught(lambda: training.train(tiny_task.network(), tiny_task.data()[0], task.train, None, task.augment))
    said = mistake(error)
    assert said is not None
    assert said.startswith("the data raised AttributeError")
    assert said.endswith("(bad_augment.py, line 3, in augment)")


NETWORKS = """
import dataclasses
import tiny_task
from torch import nn

class Cut(tiny_task.Network):
    def forward(self, x):
        return super().forward(x[:, :5])

def cut():
    return dataclasses.replace(tiny_task.tiny(), model=Cut)

def narrow():
    return dataclasses.replace(tiny_task.tiny(), model=lambda: nn.Sequential(nn.Linear(12, 4)))
"""


def test_a_network_that_does_not_fit_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "networks.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    shape = (
        r"the network of task 'tiny' cannot read its samples, of shape \(16,\) and dtype torch.float32: RuntimeError: "
    )
    for function, place in (("cut", r" \(networks.py, line 8, in Cut.forward\)"), ("narrow", "")):
        monkeypatch.setattr(sys, "argv", ["eden", "retrain", "--task", f"networks.py:{function}", "--out", "out"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 1
        assert re.fullmatch(
            f"eden: {shape}mat1 and mat2 shapes cannot be multiplied .*{place}\n", capsys.readouterr().err
        )


def test_an_interruption_while_the_program_is_loaded(ended: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    class Loading:
        def __getattr__(self, name: str) -> None:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "eden.app.shell", Loading())  # type: ignore[arg-type]
    status, said = ended("devices", "list")
    assert status == 130
    assert said.startswith("eden: interrupted; ")


def test_a_folder_that_is_gone(ended: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    status, said = ended("retrain", "--out", "x")
    assert (status, said) == (1, "eden: the current folder is no longer there; allowed is to be in another one\n")


@pytest.mark.parametrize("task", ["eden.app.cli:main", "eden.nothing:main"])
def test_no_task_is_made_of_edens_own(task: str) -> None:
    with pytest.raises(ValueError, match=rf"^task is '{task}'; allowed of EDEN's own are digits, cifar10-resnet20$"):
        load_task(task)


def test_names_that_are_no_text(ended: Ended, tmp_path: Path) -> None:
    given = ("--set", "curriculum.tolerance=a\0b", "--task", "digits")
    status, said = ended("retrain", "--out", str(tmp_path / "out"), *given)
    assert status == 1, said
    assert said.count("\n") == 1
    with pytest.raises(UnicodeEncodeError) as caught:
        "\udcff".encode()
    assert (mistake(caught.value) or "").startswith("a name is no text that can be written: 'utf-8' codec")


MISUSED = """
import pydantic
import torch
import eden
from eden.memory.geometry import Geometry

def binding():
    eden._core.philox4x32_10("a", 1)

def record():
    eden.Device.model_validate({})
"""


@pytest.mark.parametrize("function", ["binding", "record"])
def test_arguments_that_a_users_code_gives(function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(MISUSED)
    monkeypatch.chdir(tmp_path)
    said = mistake(caught(lambda: load_task(f"mine.py:{function}")))
    assert re.match(rf"mine.py, line \d+, in {function}: (TypeError|ValidationError): ", said or "")
