"""Are the recipes of the boosting experiments whole, does each printed command say its run, and is a limit found?"""

import importlib
import itertools
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from eden.app.models import ResNet
from eden.app.recipe import RetrainRecipe, setting
from eden.app.tasks import load_task

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def boost() -> dict[str, ModuleType]:
    """The modules of the experiments, which import each other by their bare names."""
    sys.path.insert(0, str(ROOT / "benchmarks" / "boost"))
    try:
        names = ("ablation", "every_storage", "judging", "limits", "methods", "modules", "neuralfuse", "randbet")
        return {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.pop(0)


def runs(boost: dict[str, ModuleType]) -> list:
    limits = boost["limits"]
    claims = [*limits.RESNET20, *limits.RESNET20_SHORT, *limits.RESNET32, *limits.LENET]
    found = [run for claim in claims for run in (claim.run, claim.reliable) if run is not None]
    found += [*boost["modules"].RUNS.values(), *boost["randbet"].RUNS.values()]
    found.append(boost["neuralfuse"].OURS)
    return found + [boost["ablation"].run(name) for name in boost["ablation"].CHANGES]


def test_the_command_starts() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "boost"), "--help"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": ""})
    assert found.returncode == 0, found.stderr
    assert "methods" in found.stdout


def test_a_step_up_the_gradient_is_taken_back_to_the_bit(boost) -> None:
    model = nn.Linear(3, 2)
    model(torch.ones(1, 3)).sum().backward()
    held = {name: value.detach().clone() for name, value in model.named_parameters()}
    before = boost["methods"].ascended(model, 0.5)
    moved = [value - held[name] for name, value in model.named_parameters()]
    assert float(torch.cat([m.detach().flatten() for m in moved]).norm()) == pytest.approx(0.5)
    assert all(torch.equal(before[name], held[name]) for name in held)


def test_a_step_of_channels_keeps_the_function(boost) -> None:
    torch.manual_seed(0)
    model = ResNet(blocks=1, channels=4).eval()
    images = torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        before, weights = model(images), model.layer1[0].conv2.weight.clone()
        boost["methods"].equalize_(model, images)
        torch.testing.assert_close(model(images), before)
    assert not torch.equal(model.layer1[0].conv2.weight, weights)


def test_every_recipe_is_whole_and_its_command_says_it(boost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    every = runs(boost)
    assert len({run.name for run in every}) == len(every) >= 30
    for run in every:
        recipe = run.load()
        whole = recipe.resolved(load_task(recipe.task))
        whole.recipe("boost")
        whole.errors(whole.device())
        command = shlex.split(run.command)
        assert command[:2] == ["eden", "retrain"]
        overrides = [setting(value) for flag, value in itertools.pairwise(command) if flag == "--set"]
        assert RetrainRecipe.load(command[2], overrides) == recipe


@pytest.mark.parametrize("last", [-1, 0, 3, 9])
def test_the_highest_rate_is_found(boost, last: int) -> None:
    asked = []

    def within(index: int) -> bool:
        asked.append(index)
        return index <= last

    assert boost["judging"].highest(within, 10) == last
    assert len(asked) == len(set(asked)) <= 4


@pytest.mark.parametrize("last", range(-1, 10))
def test_what_is_asked_anyway_narrows_the_search(boost, last: int) -> None:
    asked = []

    def within(index: int) -> bool:
        asked.append(index)
        return index <= last

    assert boost["judging"].highest(within, 10, probes=(5, 2)) == last
    assert set(asked) <= {2, 5} | (set(range(2)) if last < 2 else {3, 4} if last < 5 else set(range(6, 10)))
