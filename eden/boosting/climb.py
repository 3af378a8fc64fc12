"""How far a network's rate can rise: judged on a validation set while it trains, with the best state kept."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eden.boosting.judge import FIRST, LOWEST, Judge, beats
from eden.boosting.rates import Rates
from eden.common.tables import text_table
from eden.faults.faulty_layers import faulty_layers

# Rates to train at lie up to this multiple of what is tolerated. Those far above cost the accuracy without errors,
# and so what errors may cost.
_FARTHEST = 1.6
_RISE = 4.0  # from the first rate to the one of the middle of the training
_FALLEN = 0.7  # of the highest rate tolerated: with less the rate does not rise
_COLLAPSED = 5.0  # times ``max_drop`` lost without errors: what a learning rate that is too high does
_LOST = 0.7  # of the score that there was: no patience then
_PATIENCE = 2  # times in a row, after which the best state comes back


@dataclasses.dataclass(frozen=True)
class Attempt:
    """What a curriculum that finds its rate tried."""

    epoch: int
    """Epochs trained until then; 0 is the network that was given."""
    ber: float
    """Mean bit error rate that was trained at; 0 before the first epoch."""
    clean_drop: float
    """Score lost on reliable memory, from that of the network that was given."""
    tolerated: float
    """Mean bit error rate at which the drop, a mean over chips, is ``max_drop``."""
    taken: bool
    """Whether it was the best one until then."""
    restored: bool
    """Whether the best state came back after it."""


def _kept(model: nn.Module) -> dict[str, Tensor]:
    """What training changes in a network: Parameters, buffers of its own, and what is known of inputs."""
    found = {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    for name, layer in faulty_layers(model).items():
        for operand in layer.eden_faults.operands():
            if operand.kind == "input":
                for buffer in operand.buffers[2:]:
                    found[f"{name}.{buffer}"] = getattr(layer, buffer)
    return found


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in _kept(model).items()}


class Climb:
    """Where a curriculum that finds its rate is: what it trains at, what it tried, and the best network.

    Args:
        judge: of the network before boosting.
        model: that network.
        ladder: makes the error models of a rate; its target is the highest rate that there is.
        epochs: of the curriculum.

    Attributes:
        rate: mean bit error rate to train at.
        period: epochs from one judgement to the next.
        tried: every judgement, the network that was given first.
    """

    def __init__(self, judge: Judge, model: nn.Module, ladder: Rates, epochs: int) -> None:
        self._judge, self._ladder = judge, ladder
        self.period = math.ceil(epochs / 16)
        rises = max(1, math.ceil(epochs / self.period) // 2)
        self.factor = min(2.0, max(1.2, _RISE ** (1.0 / rises)))
        self.failing = 0
        tolerated = judge.tolerated(model, ladder, FIRST)
        self.tried = [Attempt(0, 0.0, 0.0, tolerated, True, False)]
        self.lowest = max(tolerated, LOWEST)
        self.rate = min(self.lowest, ladder.target_ber)
        self.states = {"given": _copy(model), "best": {}}

    @property
    def restored(self) -> int:
        """How often the best state came back."""
        return sum(attempt.restored for attempt in self.tried)

    @property
    def best(self) -> Attempt:
        """The attempt whose network is kept."""
        return [attempt for attempt in self.tried if attempt.taken][-1]

    def end_epochs(self, model: nn.Module, epoch: int) -> None:
        """Judge the network, keep it if it is the best one, and go to the rate of the next epochs."""
        best = self.best.tolerated
        clean_drop = self._judge.clean_drop(model)
        tolerated = 0.0
        if clean_drop <= self._judge.max_drop:
            tolerated = self._judge.tolerated(model, self._ladder, max(best, self.lowest))
        taken = beats(tolerated, best)
        if taken:
            self.states["best"] = _copy(model)
        at = self.rate
        if clean_drop > self._judge.max_drop:
            self.rate = max(self.rate / self.factor, min(self.lowest, self.rate))
        elif tolerated >= _FALLEN * best:
            farthest = _FARTHEST * max(best, tolerated, self.lowest)
            self.rate = min(self.rate * self.factor, farthest, self._ladder.target_ber)
        # A network that learns to stand errors is worse before it is better; one that is lost does not come back.
        self.failing = self.failing + 1 if clean_drop > _COLLAPSED * self._judge.max_drop else 0
        lost = clean_drop > max(_LOST * self._judge.clean_score, _COLLAPSED * self._judge.max_drop)
        if restored := lost or self.failing >= _PATIENCE:
            self.restore(model)
            self.failing, self.factor = 0, max(math.sqrt(self.factor), 1.1)
        self.tried.append(Attempt(epoch, at, clean_drop, tolerated, taken, restored))

    def restore(self, model: nn.Module, which: str = "best") -> None:
        """Bring the best state back, or the given one."""
        state = self.states[which] or self.states["given"]
        with torch.no_grad():
            for name, value in _kept(model).items():
                value.copy_(state[name])

    def finish(self, model: nn.Module) -> float:
        """Leave the network in the best state, if it is better than the given one on other chips, too; its rate."""
        if not self.states["best"]:
            self.restore(model, "given")
            return self.best.tolerated
        found = {}
        for which in ("given", "best"):
            self.restore(model, which)
            found[which] = self._judge.tolerated(model, self._ladder, self.best.tolerated, confirming=True)
        if not beats(found["best"], found["given"]):
            self.restore(model, "given")
            self.states["best"] = {}
            self.tried = [dataclasses.replace(one, taken=one.epoch == 0) for one in self.tried]
            return found["given"]
        return found["best"]

    def table(self) -> str:
        """What was tried, as text."""
        rows = []
        for one in self.tried:
            what = "kept" if one == self.best else "the best came back after it" if one.restored else ""
            cells = [f"{one.epoch}", f"{one.ber:.2e}", f"{one.clean_drop:.2%}", f"{one.tolerated:.2e}", what]
            rows.append(cells)
        header = ("epochs", "trained at BER", "lost without errors", f"BER at a drop of {self._judge.max_drop:g}", "")
        return text_table(header, rows)

    def state_dict(self) -> dict[str, Any]:
        """Where it is, tensors included."""
        return {
            **{name: getattr(self, name) for name in _STATE},
            "reference": torch.from_numpy(self._judge.reference),
            "tried": [dataclasses.asdict(attempt) for attempt in self.tried],
            "states": {which: dict(state) for which, state in self.states.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken. Raises KeyError, TypeError or ValueError for what is damaged."""
        tried = [Attempt(**attempt) for attempt in state["tried"]]
        states = {which: dict(state["states"][which]) for which in self.states}
        values = {name: state[name] for name in _STATE}
        self._judge.reference = np.asarray(state["reference"], dtype=np.float64)
        self.tried, self.states = tried, states
        for name, value in values.items():
            setattr(self, name, value)


_STATE = ("rate", "factor", "failing", "lowest", "period")
