"""Is an observation the difference of the same samples' scores, and nothing else?"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from eden import _core
from eden.tolerance.drive import Observer, Subject


class _Scored:
    """A network whose faults change the scores of some samples."""

    reuse = None

    def __init__(self, faulty: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        self.scorer, self._faulty = self, faulty

    def put_at(self, trial: _core.Trial) -> None:
        pass

    def observed(self) -> None:
        pass

    def scores(self, drawn: list[int], where: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.asarray(self._faulty[drawn])


def test_observations_are_paired() -> None:
    clean = (np.arange(400) % 3 > 0).astype(float)  # a third is wrong on reliable memory, too
    search = _core.Search(operands=[("a", 1, 0.5)], max_drop=0.1, confidence=0.9, floor=1e-9)
    draws = _core.SamplePlan(seed=0, samples=400, batch=16)
    same = Observer(cast(Subject, _Scored(clean)), clean, draws)
    worse = clean * (np.arange(400) % 4 > 0)
    changed = Observer(cast(Subject, _Scored(worse)), clean, draws)
    for _ in range(30):
        trial = search.next_trial()
        assert trial is not None
        drawn = _core.draw_samples(trial.draw_seed, 400, 16)
        # Where no score changes, there is no difference, whichever samples are drawn.
        assert same.evaluate(trial) == 0.0
        assert changed.evaluate(trial) == np.mean(clean[drawn] - worse[drawn])
        search.report(trial.id, 0.0)
