"""Does a profile that is killed, that fails, hangs or runs out of its budget lose nothing, and end as it should?"""

import itertools
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from test_profile import Simulated, mean_drop, simulated_search
from tiny_profile import FAST, loader, make_network, profile
from torch import Tensor

import eden
from eden import _core
from eden.common.deadline import Deadline
from eden.common.journal import Journal
from eden.faults.metrics import METRICS
from eden.tolerance.drive import Step, TimeBudget, drive

pytestmark = pytest.mark.usefixtures("one_thread")

SHORT: dict[str, Any] = {**FAST, "effort": 2.0}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[eden.Tolerance, bytes]:
    """A tolerance and its whole journal."""
    path = tmp_path_factory.mktemp("undisturbed") / "journal"
    return profile(make_network(), loader(), journal=path, **SHORT), path.read_bytes()


def in_a_process(journal: Path) -> None:
    profile(make_network(), loader(), journal=journal, **SHORT)


def test_killed_at_twenty_random_moments_and_resumed_to_the_same_answer(
    undisturbed: tuple[eden.Tolerance, bytes], tmp_path: Path
) -> None:
    tolerance, whole = undisturbed
    path = tmp_path / "journal"
    draw = random.Random(1)
    fork = multiprocessing.get_context("fork")
    for length in sorted(draw.randrange(len(whole)) for _ in range(20)):
        process = fork.Process(target=in_a_process, args=(path,))
        process.start()
        # The journal says how far it is; where in an observation or a line it is then, nobody knows.
        while process.is_alive() and (not path.exists() or path.stat().st_size < length):
            time.sleep(0.001)
        time.sleep(draw.uniform(0.0, 0.002))
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        assert process.exitcode in (-signal.SIGKILL, 0)
        assert whole.startswith(path.read_bytes()) or not path.exists()
    assert profile(make_network(), loader(), journal=path, **SHORT) == tolerance
    assert path.read_bytes() == whole


class Trouble:
    """A metric that does something at one of its calls."""

    def __init__(self, at: int, what: Any) -> None:
        self.calls, self.at, self.what = itertools.count(), at, what
        self.__qualname__ = "metric"

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        scores = METRICS["top1"](output, target).float()
        return self.what(scores) if next(self.calls) == self.at else scores


def failing(scores: Tensor) -> Tensor:
    raise OSError("no such device")


def hanging(scores: Tensor) -> Tensor:
    threading.Event().wait(30.0)
    return scores


@pytest.mark.parametrize(
    ("what", "kind", "message"),
    [
        (failing, OSError, "no such device"),
        (lambda scores: scores * torch.nan, ValueError, r"trial 98 \(.*\): metric 'metric' returned nan for sample"),
        (hanging, eden.SearchError, r"trial 98 \(.*, chip .*\): the observation took longer than 1 s; .* start anew"),
    ],
)
def test_trouble_in_an_observation_loses_nothing(
    what: Any, kind: type[Exception], message: str, undisturbed: tuple[eden.Tolerance, bytes], tmp_path: Path
) -> None:
    path, timeout = tmp_path / "journal", {"timeout": 1.0} if what is hanging else {}
    with pytest.raises(kind, match=message):
        # The first two calls are the reference.
        profile(make_network(), loader(), journal=path, metric=Trouble(100, what), **SHORT, **timeout)
    assert path.read_bytes().count(b"\n") == 1 + 98
    again = profile(make_network(), loader(), journal=path, metric=Trouble(-1, what), **SHORT, **timeout)
    assert again.model_copy(update={"metric": "top1"}) == undisturbed[0]


def test_calls_with_a_deadline() -> None:
    deadline = Deadline(0.2)
    assert deadline.call(lambda: 3) == 3
    with torch.autocast("cpu", torch.bfloat16):
        assert deadline.call(lambda: torch.get_autocast_dtype("cpu")) == torch.bfloat16
        assert deadline.call(lambda: torch.is_autocast_enabled("cpu"))
    with pytest.raises(TimeoutError, match="the function's own"):
        deadline.call(lambda: (_ for _ in ()).throw(TimeoutError("the function's own")))
    assert not deadline.expired
    with pytest.raises(TimeoutError, match=r"longer than 0.2 s"):
        deadline.call(lambda: threading.Event().wait(5.0))
    assert deadline.expired
    assert Deadline(None).call(threading.get_ident) == threading.get_ident()


def test_a_budget_ends_with_what_is_certified(undisturbed: tuple[eden.Tolerance, bytes]) -> None:
    whole = sum(undisturbed[0].observations.values())
    short = profile(make_network(), loader(), observations=450, **FAST)
    assert sum(short.observations.values()) <= 450
    assert set(short.limits.values()) == {short.coarse}
    assert short.limits_certificate is None
    assert short.weights == short.alone == {}
    assert short.unfinished.startswith("the budget of 450 observations ended the search in its phase")
    # As in test_profile: by chance above max_drop with probability below 0.02 at worst.
    assert mean_drop(short.limits) <= FAST["max_drop"]
    enough = profile(make_network(), loader(), observations=whole + 400, **FAST)
    assert sum(enough.observations.values()) <= whole + 400
    assert enough.unfinished == ""
    assert enough.limits_certificate is not None
    assert mean_drop(enough.limits) <= FAST["max_drop"]


def test_a_search_that_a_budget_ended_goes_on_with_a_larger_one(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    first = profile(make_network(), loader(), journal=path, observations=450, **FAST)
    before = path.read_bytes()
    assert profile(make_network(), loader(), journal=path, observations=450, **FAST) == first
    assert path.read_bytes() == before
    last = profile(make_network(), loader(), journal=path, **FAST)
    assert last.unfinished == ""
    assert last.limits_certificate is not None
    assert last.coarse >= first.coarse
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [line["budget"] for line in lines if "budget" in line] == [450, 0]
    assert path.read_bytes().startswith(before)


def test_a_budget_that_cannot_do() -> None:
    with pytest.raises(ValueError, match=r"budget is 20, too few .* allowed is 58 or more"):
        profile(make_network(), loader(), observations=20, **FAST)
    with pytest.raises(eden.SearchError, match=r"budget of 1 observations .* before any rate was confirmed"):
        profile(make_network(), loader(), seconds=1e-6, **FAST)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observations": 0}, "observations is 0; allowed is 1 or more"),
        ({"observations": 500, "seconds": 5.0}, "observations and seconds are both given"),
        ({"seconds": 0.0}, "seconds is 0.0; allowed is a number of seconds above 0"),
        ({"seconds": "5 min"}, "seconds is a str"),
        ({"timeout": -1}, "timeout is -1; allowed is a number of seconds above 0"),
        ({"timeout": float("nan")}, "timeout is nan"),
    ],
)
def test_bad_budgets_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        profile(make_network(), loader(), **FAST, **changes)


class Clock:
    """Moves on by a set time at every observation."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 0.0, seconds

    def __call__(self) -> float:
        return self.now


class Timed(Simulated):
    def __init__(self, clock: Clock) -> None:
        super().__init__([10.0, 0.1])
        self.clock = clock

    def evaluate(self, trial: _core.Trial) -> float:
        self.clock.now += self.clock.seconds
        return super().evaluate(trial)


@pytest.mark.parametrize(("seconds", "limits"), [(3.0, False), (20.0, True)])
def test_seconds_are_a_budget_by_how_long_observations_take(seconds: float, limits: bool, tmp_path: Path) -> None:
    clock = Clock(0.005)
    search = simulated_search()
    with Journal(tmp_path / "j", {}) as journal:
        drive(search, Timed(clock), ["a", "b"], journal, budget=TimeBudget(seconds, clock))
    assert clock.now <= seconds + 0.01
    assert search.state == "done"
    assert search.ended_by_budget != limits
    assert (search.limits_certificate is not None) == limits
    # What it was told and when is in the journal, so a replay asks the same.
    replayed = simulated_search()
    with Journal(tmp_path / "j", {}) as journal:
        budgets = iter([*journal.budgets, (-1, -1)])
        before = next(budgets)
        for trial, difference in journal.history:
            while before[0] == trial:
                replayed.set_budget(before[1])
                before = next(budgets)
            replayed.report(trial, difference)
        while before[0] >= 0:
            replayed.set_budget(before[1])
            before = next(budgets)
    assert replayed.state == search.state
    assert replayed.coarse == search.coarse
    assert replayed.limits == search.limits


def test_a_time_budget_waits_for_a_prediction_and_keeps_what_is_near() -> None:
    clock = Clock(0.0)
    budget = TimeBudget(10.0, clock)
    assert budget.observations(0, 0) == 0
    clock.now = 0.5
    assert budget.observations(5, 0) == 0
    clock.now = 1.0
    assert budget.observations(10, 0) == 100
    clock.now = 2.1
    assert budget.observations(20, 100) == 100, "95 is near enough"
    clock.now = 4.0
    assert budget.observations(20, 100) == 50
    clock.now = 10.0
    assert budget.observations(31, 50) == 31


def test_intervals_narrow() -> None:
    steps: list[Step] = []
    search = simulated_search()
    drive(search, Simulated([10.0, 0.1]), ["a", "b"], on_step=steps.append)
    assert all(0.0 < step.low <= step.high <= 0.5 for step in steps)
    for phase in ("coarse", "joint"):
        widths = [step.high / step.low for step in steps if step.phase == phase]
        assert widths[-1] < min(1.5, widths[0])
    bounds = [step.bound for step in steps if step.phase == "confirmation" and step.bound is not None]
    assert bounds[-1] < 1.1 * 0.02 < bounds[0]
    assert all(step.bound is None for step in steps if step.phase in ("operand", "joint"))
    coarse = [step for step in steps if step.phase == "coarse confirmation"][-1]
    assert coarse.low / 1.5 <= search.coarse <= 1.5 * coarse.high


def test_a_compiled_network_gives_the_same() -> None:
    options = {**SHORT, "coarse_only": True}
    network = make_network()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    found = profile(compiled, loader(), **options)  # type: ignore[arg-type]
    assert found == profile(make_network(), loader(), **options)
    assert network.training
