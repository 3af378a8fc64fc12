"""Does the benchmark of the search print its tables, and is what it simulates what it says it is?"""

import math
import statistics
from dataclasses import replace

import pytest
import searches
from test_benchmarks import run


def test_a_short_run_prints_every_table() -> None:
    result = run(
        "searches.py", "--searches", "3", "--runs", "1", "--operands", "3", "--max-drop", "0.1", "--confidence", "0.8",
        "--only", "ab", "--jobs", "1",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    for network in searches.networks():
        (line,) = [line for line in lines if line.startswith(network.name + "  ")]
        assert line.removeprefix(network.name).split()[0] == "3"
    (line,) = [line for line in lines if line.startswith("3 operands")]
    step, ours, theirs, ratio = map(float, line.removeprefix("3 operands").split()[:4])
    assert theirs % step == 0
    assert ratio == pytest.approx(theirs / ours, abs=0.06)
    assert lines[-1] == "the statement holds"


def test_simulated_drops_have_the_mean_that_they_are_said_to_have() -> None:
    ordinary = searches.networks()[0]

    class Trial:
        def __init__(self, index: int) -> None:
            self.id, self.rates = index, [1e-4] * 6
            self.chip, self.draw_seed = index * 0x9E3779B97F4A7C15 % 2**64, index * 0xBF58476D1CE4E5B9 % 2**64

    for network in (ordinary, replace(ordinary, ruin=0.9), replace(ordinary, dips=0.9, interaction=1.0)):
        simulation = searches.Simulation(network)
        seen = [simulation.evaluate(Trial(index)) for index in range(20_000)]  # type: ignore[arg-type]
        error = statistics.stdev(seen) / math.sqrt(len(seen))
        # Six standard errors: false alarm below 1e-8 for each network.
        assert abs(statistics.mean(seen) - network.mean([1e-4] * 6)) < 6 * error
    assert ordinary.mean([2e-4] * 6) > ordinary.mean([1e-4] * 6)
    assert searches.worth([1e-2, 1e-4], [3, 1]) == pytest.approx(-2.5)
