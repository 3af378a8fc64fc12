"""Are the recipes of the boosting experiments whole, does each printed command say its run, and is a limit found?"""

import importlib
import itertools
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest

from eden.app.recipe import RetrainRecipe, setting
from eden.app.tasks import load_task

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def boost() -> dict[str, ModuleType]:
    """The modules of the experiments, which import each other by their bare names."""
    sys.path.insert(0, str(ROOT / "benchmarks" / "boost"))
    try:
        return {name: importlib.import_module(name) for name in ("ablation", "judging", "limits", "modules", "randbet")}
    finally:
        sys.path.pop(0)


def runs(boost: dict[str, ModuleType]) -> list:
    limits = boost["limits"]
    claims = [*limits.RESNET20, *limits.RESNET32, *limits.LENET]
    found = [run for claim in claims for run in (claim.run, claim.reliable) if run is not None]
    found += [*boost["modules"].RUNS.values(), *boost["randbet"].RUNS.values()]
    return found + [boost["ablation"].run(name) for name in boost["ablation"].CHANGES]


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
