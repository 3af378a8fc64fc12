"""Boost: a curriculum that raises the bit error rate while a network is retrained."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import statistics
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from eden.common.arguments import number, whole
from eden.common.checks import at_most
from eden.faults.chips import draw_chip, set_training_chip_
from eden.faults.faulty_layers import faulty_layers
from eden.faults.inject import HELD_CURRICULUM
from eden.faults.memories import operands, scalable_errors, set_scaled_errors_
from eden.faults.network import bare
from eden.memory.errors import ErrorModel

if TYPE_CHECKING:
    pass

SCHEDULES = ("linear", "logarithmic", "step", "adaptive")
_START = 1e-2  # a logarithmic or adaptive ramp starts at this share of its target
_SMOOTHING = 0.98  # of losses: the last fifty or so count
_LEAST_FACTOR = 1.02  # below it an adaptive curriculum only trembles
_MIXTURE_STREAM = 1  # sets the draws of a mixture apart from whatever else a seed may key


@dataclasses.dataclass(frozen=True)
class _Rates:
    """Rates that rise towards a target per operand; a level is the share of the target that is reached."""

    shapes: dict[str, ErrorModel]
    target: float | dict[str, float]

    def _target(self, name: str) -> float:
        return self.target[name] if isinstance(self.target, dict) else self.target

    @property
    def target_ber(self) -> float:
        return statistics.fmean(self.target.values()) if isinstance(self.target, dict) else self.target

    def ber(self, level: float) -> float:
        return self.target_ber * level

    def errors(self, level: float, share: float) -> dict[str, ErrorModel]:
        level = level if share == 1.0 else level * share
        return {name: shape.scaled(self._target(name) * level) for name, shape in self.shapes.items()}

    def level(self, schedule: str, start: float | None, step: int, steps: int) -> float:
        if steps == 1:
            return 1.0
        if schedule == "logarithmic":
            return float((_START if start is None else start) ** ((steps - step) / (steps - 1)))
        if schedule == "step" or start is not None:
            low = start or 0.0
            return low + (1.0 - low) * (step - 1) / (steps - 1)
        return step / steps

    def first(self, start: float | None) -> float:
        return _START if start is None else start

    def raised(self, level: float, factor: float) -> float:
        return min(level * factor, 1.0)

    def lowered(self, level: float, factor: float) -> float:
        return level / factor

    def last(self, level: float) -> bool:
        return level >= 1.0


@dataclasses.dataclass(frozen=True)
class _Points:
    """Operating points from mild to harsh, all operands alike; a level is the point's number, -1 reliable memory."""

    names: tuple[str, ...]
    models: tuple[ErrorModel, ...]

    @property
    def target_ber(self) -> float:
        return self.models[-1].ber

    def ber(self, level: float) -> float:
        return self.models[int(level)].ber if level >= 0 else 0.0

    def errors(self, level: float, share: float) -> dict[str, ErrorModel]:
        model = self.models[max(int(level), 0)]
        share = share if level >= 0 else 0.0
        return dict.fromkeys(self.names, model if share == 1.0 else model.scaled(model.ber * share))

    def level(self, schedule: str, start: float | None, step: int, steps: int) -> float:
        count = len(self.models)
        if schedule == "step" and steps > 1:
            return count * (step - 1) // (steps - 1) - 1
        return -(-step * count // steps) - 1

    def first(self, start: float | None) -> float:
        return 0

    def raised(self, level: float, factor: float) -> float:
        return min(int(level) + 1, len(self.models) - 1)

    def lowered(self, level: float, factor: float) -> float:
        return max(int(level) - 1, -1)

    def last(self, level: float) -> bool:
        return level >= len(self.models) - 1


@dataclasses.dataclass
class _Recovery:
    """Where an adaptive curriculum is, and what it was told since its level began."""

    level: float
    factor: float
    recovered: float | None = None  # the highest level that the network has recovered at
    epochs: int = 0  # at this level
    reference: float | None = None
    kind: str | None = None  # "score" or "loss", what the reference is
    score: float | None = None
    loss_sum: float = 0.0
    loss_weight: float = 0.0

    def forget(self) -> None:
        self.epochs, self.score, self.loss_sum, self.loss_weight = 0, None, 0.0, 0.0


class Curriculum:
    """Raises the error rate of a network's operands step by step, and changes its chip while it trains.

    A full rate at once collapses accuracy; a rate that rises lets training follow (Koppula et al., MICRO 2019; Bengio
    et al., ICML 2009). The rate rises every ``epochs_per_step`` epochs and reaches its target for the last of them;
    each operand keeps the asymmetry of the error model it was injected with.

    It is stepped like a learning-rate scheduler. The chip changes after each step of any optimizer that holds a
    Parameter of the network: nothing is to be called, and gradient accumulation keeps its chip. All that is drawn is a
    function of the seed and the number of steps alone, so all ranks of a distributed run train on the same chip at the
    same rate. In evaluation mode the network stays on the chip of its own seed. A curriculum lives as long as its
    network, whether anybody holds it or not, until ``end``, ``eden.remove_``, or a newer one of the same layers takes
    its place. ``eden.inject_`` and ``eden.load_`` set rates of their own, which hold until the next ``step``: make the
    curriculum after them.

    Schedules, for step k of K and a target rate p (docs/boost.md):

    - "linear": p k / K; with ``start_ber`` s, s + (p - s) (k - 1) / (K - 1).
    - "logarithmic": p (s / p)^((K - k) / (K - 1)), s being ``start_ber``, or p / 100.
    - "step": linear from reliable memory, s + (p - s) (k - 1) / (K - 1) with s = 0 unless ``start_ber`` is given: as
      the paper's curriculum is told of by third parties, beginning without errors and adding as much each time.
    - "adaptive": from s on, times ``factor`` as soon as the network has recovered, at an epoch's end: when the loss
      under faults (``report(loss=...)``, smoothed) is at most (1 + ``recovery``) times the reference, or the score
      (``report(score)``) at least the reference minus ``recovery``. After ``epochs_per_step`` epochs without recovery
      the rate goes back to the highest one recovered at, and the factor becomes its square root: a bisection of the
      rate that the network can follow.

    Args:
        model: a network under faults; of what torch.compile or DistributedDataParallel make of one, the one inside.
        target_ber: mean bit error rate to reach, above 0, up to 1; or one for each operand that has an error model,
            from 0, such as the ``limits`` of a tolerance or the ``ber`` of a placement; or error models from mild to
            harsh that all operands go through, such as ``Device.walk`` takes from a device.
        epochs: how many epochs the whole curriculum takes.
        epochs_per_step: after how many epochs the rate rises; of "adaptive", in how many it has to recover.
        chips: "fresh", a new chip after each optimizer step; "one", the chip of the injection; a number of chips
            that are used in turn, or the seeds of such chips.
        schedule: a name of ``SCHEDULES``.
        seed: what fresh chips, the chips of a pool, and the mixture are drawn from.
        start_ber: rate to begin with, a mean over operands below that of the target; not for error models of points.
        ramp: share of the epochs, above 0 to 1, in which the rate rises; in the rest it is the target's.
        steps_per_epoch: optimizer steps of an epoch; given, the rate rises with each of them instead of every
            ``epochs_per_step`` epochs. Not with "adaptive".
        clean_share: share of the optimizer steps, from 0 to below 1, whose passes read reliable memory.
        floor_ber: given, the rate of each optimizer step is drawn log-uniformly between this mean rate and the present
            one, all operands alike, so that lower rates go on working (Stutz et al., MLSys 2021, find that they need
            not).
        factor: of "adaptive", above 1.
        recovery: of "adaptive": what the loss may be above the reference, relative, or the score below it; from 0.
        reference: of "adaptive", the loss or the score to recover to, such as that of the clean network; None takes
            what the first epoch ends with.

    Steps drawn clean, or at a lower rate, are those after the first of each epoch: ``step`` leaves the network at the
    present rate, and so to be evaluated.

    Raises:
        ValueError: if the network has no operand with an error model, or an argument is out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        target_ber: float | Mapping[str, float] | Sequence[ErrorModel],
        epochs: int,
        epochs_per_step: int = 2,
        chips: str | int | Sequence[int] = "fresh",
        schedule: str = "linear",
        seed: int = 0,
        *,
        start_ber: float | None = None,
        ramp: float = 1.0,
        steps_per_epoch: int | None = None,
        clean_share: float = 0.0,
        floor_ber: float | None = None,
        factor: float = 2.0,
        recovery: float = 0.05,
        reference: float | None = None,
    ) -> None:
        for name, value in (("epochs", epochs), ("epochs_per_step", epochs_per_step)):
            if not (whole(value) and value >= 1):
                raise ValueError(f"{name} is {value!r}; allowed is a whole number from 1")
        model = bare(model)
        self._model = weakref.ref(model)
        self._ladder = _ladder(model, target_ber)
        if schedule not in SCHEDULES:
            raise ValueError(f"schedule is {schedule!r}; allowed are {', '.join(SCHEDULES)}")
        adaptive = schedule == "adaptive"
        chips = _checked_chips(chips)
        highest = self._ladder.target_ber
        checks: tuple[tuple[str, Any, bool, str], ...] = (
            (
                "start_ber",
                start_ber,
                start_ber is None or (number(start_ber) and 0.0 < start_ber < highest),
                f"above 0 and below the target's {highest:.3g}, or None",
            ),
            (
                "start_ber",
                start_ber,
                start_ber is None or isinstance(self._ladder, _Rates),
                "None where target_ber is error models: the first of them is the start",
            ),
            ("ramp", ramp, number(ramp) and 0.0 < ramp <= 1.0, "above 0 to 1"),
            (
                "steps_per_epoch",
                steps_per_epoch,
                steps_per_epoch is None or (whole(steps_per_epoch) and steps_per_epoch >= 1),
                "a whole number from 1, or None",
            ),
            (
                "steps_per_epoch",
                steps_per_epoch,
                steps_per_epoch is None or not adaptive,
                "None with the schedule 'adaptive', which decides at the end of epochs",
            ),
            ("clean_share", clean_share, number(clean_share) and 0.0 <= clean_share < 1.0, "from 0 to below 1"),
            (
                "floor_ber",
                floor_ber,
                floor_ber is None or (number(floor_ber) and 0.0 < floor_ber < highest),
                f"above 0 and below the target's {highest:.3g}, or None",
            ),
            ("factor", factor, number(factor) and factor > 1.0, "above 1 and finite"),
            ("recovery", recovery, number(recovery) and recovery >= 0.0, "from 0 and finite"),
            ("reference", reference, reference is None or number(reference), "a finite number, or None"),
        )
        for name, value, holds, allowed in checks:
            if not holds:
                raise ValueError(f"{name} is {value!r}; allowed is {allowed}")
        self.epochs = epochs
        self.epochs_per_step = epochs_per_step
        self.chips = chips
        self.schedule = schedule
        self.seed = seed
        self.start_ber = start_ber
        self.ramp = ramp
        self.steps_per_epoch = steps_per_epoch
        self.clean_share = clean_share
        self.floor_ber = floor_ber
        self.factor = factor
        self.recovery = recovery
        self.reference = reference
        self.epoch = 0
        self.optimizer_steps = 0
        self._steps_at_last_epoch = 0
        self._number = 0  # in the order of their making
        self._seen_training = False  # a layer in training mode, at an optimizer step since the last epoch
        self._recovery = _Recovery(self._ladder.first(self._start), factor)
        _watch(self)
        self._apply()

    @property
    def model(self) -> nn.Module:
        """The network.

        Raises:
            RuntimeError: if it is gone; the curriculum does not keep it.
        """
        model = self._model()
        if model is None:
            raise RuntimeError("the network of this curriculum is gone; hold it as long as it is to be trained")
        return model

    @property
    def moving(self) -> bool:
        """Whether optimizer steps move it: not after ``end``, nor where a newer one of the same layers took over."""
        model = self._model()
        return model is not None and _holder(model) is self

    def end(self) -> None:
        """Stop to change the network: it stays at the present rate, in training too on the chip of the injection."""
        if not self.moving:
            return
        layers = faulty_layers(self.model)
        set_scaled_errors_(self.model, self._ladder.errors(self._level, 1.0))
        for layer in layers.values():
            layer.eden_training_chip.copy_(layer.eden_chip)
        _release(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": self.model}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A copy is of the copied network, and moved by no optimizer.
        self.__dict__.update(state, _model=weakref.ref(state["_model"]))

    @property
    def target_ber(self) -> float | dict[str, float]:
        """Mean bit error rate to reach; one for each operand where they differ."""
        return self._ladder.target if isinstance(self._ladder, _Rates) else self._ladder.target_ber

    @property
    def highest_ber(self) -> float:
        """The mean bit error rate that a schedule ends with; over operands where they differ."""
        return self._ladder.target_ber

    @property
    def _start(self) -> float | None:
        return None if self.start_ber is None else self.start_ber / self._ladder.target_ber

    @property
    def steps(self) -> int:
        """How many rates the curriculum goes through; of "adaptive" it is not known before."""
        if self.schedule == "adaptive":
            raise ValueError("an adaptive curriculum's rates depend on what is reported to it")
        rising = max(1, math.ceil(self.ramp * self.epochs))
        if self.steps_per_epoch is not None:
            return rising * self.steps_per_epoch
        return math.ceil(rising / self.epochs_per_step)

    def _scheduled(self, epoch: int, optimizer_steps: int) -> float:
        done = epoch // self.epochs_per_step if self.steps_per_epoch is None else optimizer_steps
        return self._ladder.level(self.schedule, self._start, min(done + 1, self.steps), self.steps)

    def ber_at(self, epoch: int) -> float:
        """Mean bit error rate that is trained with in an epoch, counted from 0; in its first step, if it rises there.

        Raises:
            ValueError: of "adaptive".
        """
        return self._ladder.ber(self._scheduled(epoch, epoch * (self.steps_per_epoch or 0)))

    @property
    def _level(self) -> float:
        if self.schedule == "adaptive":
            return self._recovery.level
        return self._scheduled(self.epoch, self.optimizer_steps)

    @property
    def ber(self) -> float:
        """The present mean bit error rate, over operands where they differ; no draw of the mixture is above it."""
        return self._ladder.ber(self._level)

    def _share(self) -> float:
        """By what the rates of the optimizer step at hand are multiplied: 1, or as the mixture draws."""
        if self.optimizer_steps == self._steps_at_last_epoch or (self.clean_share == 0.0 and self.floor_ber is None):
            return 1.0
        key = [self.seed % 2**64, self.optimizer_steps + (_MIXTURE_STREAM << 62)]
        clean, between = np.random.Generator(np.random.Philox(key=np.array(key, dtype=np.uint64))).random(2)
        if clean < self.clean_share:
            return 0.0
        ber = self.ber
        if self.floor_ber is None or ber <= self.floor_ber:
            return 1.0
        return float((self.floor_ber / ber) ** between)

    @property
    def step_ber(self) -> float:
        """Mean bit error rate of the optimizer step at hand, as the mixture draws it; ``ber`` without a mixture."""
        share = self._share()
        return self.ber if share == 1.0 else self.ber * share

    def report(self, score: float | None = None, *, loss: float | None = None) -> None:
        """Tell an adaptive curriculum how the network does at the present rate; others only check the numbers.

        If there is a score since the level began it decides, otherwise the loss. In a distributed run every rank
        has to report the same, such as the mean over ranks.

        Args:
            score: the latest validation score, of which more is better.
            loss: the training loss of one step; exponentially smoothed over steps with 0.98.

        Raises:
            ValueError: for a number that is not finite, or neither of them.
        """
        if score is None and loss is None:
            raise ValueError("found neither a score nor a loss; allowed is at least one")
        for name, value in (("score", score), ("loss", loss)):
            if value is not None and not number(value):
                raise ValueError(f"{name} is {value!r}; allowed is a finite number")
        if score is not None:
            self._recovery.score = float(score)
        if loss is not None:
            kept = self._recovery
            kept.loss_sum = _SMOOTHING * kept.loss_sum + (1.0 - _SMOOTHING) * float(loss)
            kept.loss_weight = _SMOOTHING * kept.loss_weight + (1.0 - _SMOOTHING)

    def step(self) -> None:
        """End an epoch: the rate of the next one takes effect.

        Raises:
            RuntimeError: if chips are to change, but no optimizer step was seen since the last call, or none with a
                layer under faults in training mode; if it has ended; or if it is adaptive and nothing was reported
                since the rate last changed. Nothing is changed then.
        """
        if _holder(self.model) is not self:
            raise RuntimeError(
                "this curriculum has ended: end() or eden.remove_ was called, or a newer curriculum of the same layers "
                "took its place, or this is a copy; allowed is one that optimizer steps move"
            )
        drawn = self.chips != "one" or self.clean_share or self.floor_ber is not None or self.steps_per_epoch
        if drawn and self.optimizer_steps == self._steps_at_last_epoch:
            raise RuntimeError(
                "no optimizer step was seen in this epoch, so the chip never changed; call next_chip() after each "
                "update if the loop updates the Parameters without a torch.optim optimizer"
            )
        if self.chips != "one" and not self._seen_training:
            raise RuntimeError(
                "every layer under faults was in evaluation mode at all optimizer steps of this epoch, so the network "
                "was trained on the chip of the injection alone; call model.train() (single layers, such as batch "
                "norm, may stay in evaluation mode), or give chips='one'"
            )
        if self.schedule == "adaptive":
            self._adapt()
        self._steps_at_last_epoch, self._seen_training = self.optimizer_steps, False
        self.epoch += 1
        self._apply()

    def _adapt(self) -> None:
        now = self._recovery
        kind = "score" if now.score is not None else "loss"
        if now.score is None and now.loss_weight == 0.0:
            raise RuntimeError(
                "nothing was reported since the rate last changed, so an adaptive curriculum cannot tell whether the "
                "network has recovered; call report(score) or report(loss=...)"
            )
        if now.kind not in (None, kind):
            raise RuntimeError(f"found a {kind}, after a {now.kind} before; allowed is to report the same all along")
        value = now.score if now.score is not None else now.loss_sum / now.loss_weight
        if now.reference is None:
            now.reference = value if self.reference is None else self.reference
        now.kind = kind
        now.epochs += 1
        if kind == "score":
            recovered = value >= now.reference - self.recovery
        else:
            # The magnitude, for losses that are negative, such as a likelihood's of densities.
            recovered = value <= now.reference + self.recovery * abs(now.reference)
        if recovered:
            now.recovered = now.level if now.recovered is None else max(now.recovered, now.level)
            if not self._ladder.last(now.level):
                now.level = self._ladder.raised(now.level, now.factor)
            now.forget()
        elif now.epochs >= self.epochs_per_step:
            back = now.recovered if now.recovered is not None and now.recovered < now.level else None
            now.level = self._ladder.lowered(now.level, now.factor) if back is None else back
            if back is not None:
                now.factor = max(math.sqrt(now.factor), min(self.factor, _LEAST_FACTOR))
            now.forget()

    def next_chip(self) -> None:
        """Count an optimizer step and change the chip; called by itself after each ``optimizer.step()``."""
        self.optimizer_steps += 1
        self._seen_training = self._seen_training or any(x.training for x in faulty_layers(self.model).values())
        if self.steps_per_epoch is not None or self.clean_share > 0.0 or self.floor_ber is not None:
            self._apply()
        else:
            self._apply_chip()

    @contextlib.contextmanager
    def present(self) -> Iterator[None]:
        """The network at the present rate for a moment, whatever the mixture drew: to evaluate amid an epoch."""
        set_scaled_errors_(self.model, self._ladder.errors(self._level, 1.0))
        try:
            yield
        finally:
            self._apply()

    def _unscaled(self, found: dict[str, ErrorModel]) -> dict[str, ErrorModel]:
        ladder, level = self._ladder, self._level
        own = [ladder.errors(level, share) for share in (self._share(), 1.0)]
        whole = (
            ladder.shapes
            if isinstance(ladder, _Rates)
            else dict.fromkeys(ladder.names, ladder.models[max(int(level), 0)])
        )
        # Not one that was set by hand since.
        return {
            name: whole[name] if any(errors == each.get(name) for each in own) else errors
            for name, errors in found.items()
        }

    def settings(self) -> dict[str, Any]:
        """What the curriculum is, as plain numbers and texts: all of ``state_dict`` that does not change on the way."""
        ladder = self._ladder
        rates = isinstance(ladder, _Rates)
        return {
            "target_ber": ladder.target if isinstance(ladder, _Rates) else None,
            "points": None if isinstance(ladder, _Rates) else [model.to_dict() for model in ladder.models],
            "errors": (
                {name: errors.to_dict() for name, errors in ladder.shapes.items()}
                if isinstance(ladder, _Rates)
                else dict.fromkeys(ladder.names)
            ),
            "epochs": self.epochs,
            "epochs_per_step": self.epochs_per_step,
            "chips": list(self.chips) if isinstance(self.chips, tuple) else self.chips,
            "schedule": self.schedule,
            "seed": self.seed,
            "start_ber": self.start_ber if rates else None,
            "ramp": self.ramp,
            "steps_per_epoch": self.steps_per_epoch,
            "clean_share": self.clean_share,
            "floor_ber": self.floor_ber,
            "factor": self.factor,
            "recovery": self.recovery,
            "reference": self.reference,
        }

    def state_dict(self) -> dict[str, Any]:
        """What the curriculum is and where it is, as plain numbers; ``eden.save`` keeps the network's own weights."""
        return {
            **self.settings(),
            "epoch": self.epoch,
            "optimizer_steps": self.optimizer_steps,
            "steps_at_last_epoch": self._steps_at_last_epoch,
            "adapted": dataclasses.asdict(self._recovery),
            "accesses": {
                name: [int(layer.eden_training_access), int(layer.eden_access)]
                for name, layer in faulty_layers(self.model).items()
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken: epoch, rate, chip and access numbers.

        Raises:
            ValueError: if the state is of another curriculum or network, or lacks a key; nothing is changed then.
        """
        missing = sorted(set(self.state_dict()) - set(state))
        if missing:
            raise ValueError(f"the state of the curriculum lacks {', '.join(missing)}")
        layers = faulty_layers(self.model)
        for key, found, expected in (
            ("operands", sorted(state["errors"]), sorted(_error_models(self.model))),
            ("layers", sorted(state["accesses"]), sorted(layers)),
        ):
            if found != expected:
                different = sorted(set(found) ^ set(expected))
                raise ValueError(f"the state is of another network: its {key} differ in {', '.join(different)}")
        ladder: _Rates | _Points
        if state["points"] is None:
            shapes = {name: ErrorModel.from_dict(spec) for name, spec in state["errors"].items()}
            ladder = _Rates(shapes, state["target_ber"])
        else:
            models = tuple(ErrorModel.from_dict(spec) for spec in state["points"])
            ladder = _Points(tuple(state["errors"]), models)
        adapted = _Recovery(**state["adapted"])
        chips = _checked_chips(state["chips"])
        accesses = {name: [int(number) for number in state["accesses"][name]] for name in layers}
        self._ladder, self._recovery, self.chips = ladder, adapted, chips
        for key in _PLAIN:
            setattr(self, key, state[key])
        self._steps_at_last_epoch = state["steps_at_last_epoch"]
        self._seen_training = self.optimizer_steps > self._steps_at_last_epoch  # in which mode, nobody wrote down
        for name, layer in layers.items():
            layer.eden_training_access.fill_(accesses[name][0])
            layer.eden_access.fill_(accesses[name][1])
        self._apply()

    def _apply(self) -> None:
        errors = self._ladder.errors(self._level, self._share())
        try:
            set_scaled_errors_(self.model, errors)
        except ValueError as error:
            changed = sorted(set(errors) ^ set(operands(self.model)))
            if not changed:
                raise
            raise RuntimeError(
                f"the operands of the network are others than when the curriculum was made: {', '.join(changed)}; make "
                "it after eden.inject_, and after eden.calibrate_, which finds out what inputs are shared or absent"
            ) from error
        self._apply_chip()

    def _apply_chip(self) -> None:
        if self.chips == "one":
            for layer in faulty_layers(self.model).values():
                layer.eden_training_chip.copy_(layer.eden_chip)
        elif isinstance(self.chips, tuple):
            set_training_chip_(self.model, self.chips[self.optimizer_steps % len(self.chips)])
        else:
            index = self.optimizer_steps if self.chips == "fresh" else self.optimizer_steps % int(self.chips)
            set_training_chip_(self.model, draw_chip(self.seed, "training", index))


_PLAIN = (
    *("epochs", "epochs_per_step", "schedule", "seed", "start_ber", "ramp", "steps_per_epoch", "clean_share"),
    *("floor_ber", "factor", "recovery", "reference", "epoch", "optimizer_steps"),
)


def _checked_chips(chips: Any) -> str | int | tuple[int, ...]:
    if isinstance(chips, str) and chips in ("fresh", "one"):
        return chips
    if whole(chips) and chips >= 1:
        return int(chips)
    if isinstance(chips, Sequence) and not isinstance(chips, str) and len(chips) and all(map(whole, chips)):
        return tuple(chips)
    raise ValueError(
        f"chips is {chips!r}; allowed are 'fresh', 'one', or a number of chips from 1, or a list of their seeds"
    )


def _ladder(model: nn.Module, target: Any) -> _Rates | _Points:
    shapes = _error_models(model)
    if isinstance(target, Sequence) and not isinstance(target, str):
        if not target or not all(isinstance(one, ErrorModel) and one.ber > 0.0 for one in target):
            raise ValueError("target_ber is a list; allowed is one of error models that make errors, such as eden.walk")
        for mild, harsh in itertools.pairwise(target):
            # Rates of a curve that has come near its asymptote differ by rounding alone.
            if not at_most(mild.ber, harsh.ber, 16):
                raise ValueError(
                    f"target_ber has a model of BER {harsh.ber:.3g} after one of {mild.ber:.3g}; allowed are models "
                    "from mild to harsh"
                )
        return _Points(tuple(shapes), tuple(target))
    if isinstance(target, Mapping):
        rates = dict(target)
        unknown, missing = sorted(set(rates) - set(shapes)), sorted(set(shapes) - set(rates))
        if unknown:
            raise ValueError(
                f"target_ber has {', '.join(unknown)}, which have no error model; allowed are {', '.join(shapes)}"
            )
        if missing:
            raise ValueError(f"target_ber lacks {', '.join(missing)}; give 0 for an operand on reliable memory")
        for name, rate in rates.items():
            if not (number(rate) and 0.0 <= rate <= 1.0):
                raise ValueError(f"target_ber of {name} is {rate!r}; allowed is from 0 to 1")
        if not any(rates.values()):
            raise ValueError("target_ber is 0 for all operands; allowed is a rate above 0 for at least one")
        ladder = _Rates(shapes, {name: float(rates[name]) for name in shapes})
    else:
        if not (number(target) and 0.0 < target <= 1.0):
            raise ValueError(f"target_ber is {target!r}; allowed is above 0 to 1")
        ladder = _Rates(shapes, float(target))
    for name, errors in shapes.items():
        goal = ladder._target(name)
        try:
            errors.scaled(goal)
        except ValueError as error:
            raise ValueError(f"target_ber is {goal}, which {name} cannot reach: {error}") from error
    return ladder


def unscaled_errors(model: nn.Module) -> dict[str, ErrorModel]:
    """The error models of a network's operands, those that its curriculum has scaled as they were before.

    A model that was brought to a rate of 0 has no asymmetry left to bring to another one, and a cell map no cells.

    Raises:
        ValueError: as ``eden.faults.memories.scalable_errors``.
    """
    found = scalable_errors(model)
    curriculum = _holder(model)
    return found if curriculum is None else curriculum._unscaled(found)


def _error_models(model: nn.Module) -> dict[str, ErrorModel]:
    found = unscaled_errors(model)
    if not found:
        raise ValueError(f"{type(model).__name__} has no operand with an error model; set one with eden.inject_")
    return found


class _Held:
    """What a network holds its curriculum by; copies and pickles of the network are without one."""

    def __init__(self, curriculum: Curriculum | None = None) -> None:
        self.curriculum = curriculum

    def __reduce__(self) -> Any:
        return _Held, ()


# Networks hold their curricula, and these refer to them weakly: so nothing keeps a network that nobody else does.
_curricula: weakref.WeakSet[Curriculum] = weakref.WeakSet()
_order = itertools.count()


def _holder(model: nn.Module) -> Curriculum | None:
    held = model.__dict__.get(HELD_CURRICULUM)
    return held.curriculum if isinstance(held, _Held) else None


def _release(curriculum: Curriculum) -> None:
    _curricula.discard(curriculum)
    if curriculum.moving:
        del curriculum.model.__dict__[HELD_CURRICULUM]


def _after_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    # The newest last: of layers that several have in common, its chip is the one that stays.
    for curriculum in sorted(_curricula, key=lambda one: one._number):
        # Training goes on after remove_, and then has no chip to change.
        if curriculum.moving and any(id(parameter) in held for parameter in curriculum.model.parameters()):
            curriculum.next_chip()


def _watch(curriculum: Curriculum) -> None:
    # A hook on all optimizers, not on the network: forward hooks that are registered after a compilation never run.
    if not _hooks:
        _hooks.append(register_optimizer_step_post_hook(_after_step))
    curriculum._number = next(_order)
    own = {id(layer) for layer in faulty_layers(curriculum.model).values()}
    # Two would set each other's chips.
    for other in list(_curricula):
        if not other.moving or {id(layer) for layer in faulty_layers(other.model).values()} <= own:
            _release(other)
    _curricula.add(curriculum)
    curriculum.model.__dict__[HELD_CURRICULUM] = _Held(curriculum)


_hooks: list[Any] = []
