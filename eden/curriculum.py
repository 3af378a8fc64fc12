"""Boost: a curriculum that raises the bit error rate while a network is retrained, epoch by epoch."""

from __future__ import annotations

import math
import weakref
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from eden.errors import ErrorModel
from eden.inject import draw_chip, faulty_layers, scalable_errors, set_errors_, set_training_chip_

SCHEDULES = ("linear", "logarithmic")
_DECADES = 2.0  # a logarithmic ramp starts this far below its target


class Curriculum:
    """Raises the error rate of a network's operands step by step, and changes its chip while it trains.

    A full rate at once collapses accuracy; a rate that rises lets training follow. The rate rises every
    ``epochs_per_step`` epochs and reaches ``target_ber`` for the last of them; each operand keeps the asymmetry of the
    error model it was injected with.

    It is stepped like a learning-rate scheduler. The chip changes after each step of any optimizer that holds a
    Parameter of the network: nothing is to be called, and gradient accumulation keeps its chip. It is a function of the
    seed and the number of steps alone, so all ranks of a distributed run train on the same one. In evaluation mode the
    network stays on the chip of its own seed. Of several curricula of a network, optimizers move the newest alone.

    Args:
        model: a network under faults.
        target_ber: mean bit error rate to reach, above 0, up to 1.
        epochs: how many epochs the whole curriculum takes.
        epochs_per_step: after how many epochs the rate rises.
        chips: "fresh", a new chip after each optimizer step; "one", the chip of the injection; or a number of chips
            that are used in turn.
        schedule: "linear", or "logarithmic" over two decades.
        seed: what fresh chips and the chips of a pool are drawn from.

    Raises:
        ValueError: if the network has no operand with an error model, or an argument is out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        target_ber: float,
        epochs: int,
        epochs_per_step: int = 2,
        chips: str | int = "fresh",
        schedule: str = "linear",
        seed: int = 0,
    ) -> None:
        for name, value in (("epochs", epochs), ("epochs_per_step", epochs_per_step)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}; allowed is a whole number from 1")
        if not (isinstance(target_ber, (int, float)) and 0.0 < target_ber <= 1.0):
            raise ValueError(f"target_ber is {target_ber!r}; allowed is above 0 to 1")
        if schedule not in SCHEDULES:
            raise ValueError(f"schedule is {schedule!r}; allowed are {', '.join(SCHEDULES)}")
        pool = isinstance(chips, int) and not isinstance(chips, bool)
        if chips not in ("fresh", "one") and not (pool and int(chips) >= 1):
            raise ValueError(f"chips is {chips!r}; allowed are 'fresh', 'one', or a number of chips from 1")
        self.model = model
        self.target_ber = float(target_ber)
        self.epochs = epochs
        self.epochs_per_step = epochs_per_step
        self.chips = chips
        self.schedule = schedule
        self.seed = seed
        self.epoch = 0
        self.optimizer_steps = 0
        self._shapes = _error_models(model)
        for name, errors in self._shapes.items():
            try:
                errors.scaled(self.target_ber)
            except ValueError as error:
                raise ValueError(f"target_ber is {target_ber}, which {name} cannot reach: {error}") from error
        self._steps_at_last_epoch = 0
        _watch(self)
        self._apply()

    @property
    def steps(self) -> int:
        """How many rates the curriculum goes through."""
        return math.ceil(self.epochs / self.epochs_per_step)

    def ber_at(self, epoch: int) -> float:
        """Mean bit error rate that is trained with in an epoch, counted from 0."""
        step = min(epoch // self.epochs_per_step + 1, self.steps)
        if self.schedule == "linear" or self.steps == 1:
            return self.target_ber * step / self.steps
        return float(self.target_ber * 10.0 ** (-_DECADES * (self.steps - step) / (self.steps - 1)))

    @property
    def ber(self) -> float:
        """Mean bit error rate of the present epoch."""
        return self.ber_at(self.epoch)

    def step(self) -> None:
        """End an epoch: the rate of the next one takes effect.

        Raises:
            RuntimeError: if chips are to change, but no optimizer step was seen since the last call.
        """
        if self.chips != "one" and self.optimizer_steps == self._steps_at_last_epoch:
            raise RuntimeError(
                "no optimizer step was seen in this epoch, so the chip never changed; call next_chip() after each "
                "update if the loop updates the Parameters without a torch.optim optimizer"
            )
        self._steps_at_last_epoch = self.optimizer_steps
        self.epoch += 1
        self._apply()

    def next_chip(self) -> None:
        """Count an optimizer step and change the chip; called by itself after each ``optimizer.step()``."""
        self.optimizer_steps += 1
        self._apply_chip()

    def state_dict(self) -> dict[str, Any]:
        """Where the curriculum is, as plain numbers; ``eden.save`` keeps the network's own weights and ranges."""
        return {
            "epoch": self.epoch,
            "optimizer_steps": self.optimizer_steps,
            "steps_at_last_epoch": self._steps_at_last_epoch,
            "target_ber": self.target_ber,
            "epochs": self.epochs,
            "epochs_per_step": self.epochs_per_step,
            "chips": self.chips,
            "schedule": self.schedule,
            "seed": self.seed,
            "errors": {name: errors.to_dict() for name, errors in self._shapes.items()},
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
            ("operands", sorted(state["errors"]), sorted(self._shapes)),
            ("layers", sorted(state["accesses"]), sorted(layers)),
        ):
            if found != expected:
                different = sorted(set(found) ^ set(expected))
                raise ValueError(f"the state is of another network: its {key} differ in {', '.join(different)}")
        shapes = {name: ErrorModel.from_dict(spec) for name, spec in state["errors"].items()}
        for key in ("target_ber", "epochs", "epochs_per_step", "chips", "schedule", "seed", "epoch", "optimizer_steps"):
            setattr(self, key, state[key])
        self._steps_at_last_epoch = state["steps_at_last_epoch"]
        self._shapes = shapes
        for name, layer in layers.items():
            training_access, access = state["accesses"][name]
            layer.eden_training_access.fill_(training_access)
            layer.eden_access.fill_(access)
        self._apply()

    def _apply(self) -> None:
        ber = self.ber
        set_errors_(self.model, {name: errors.scaled(ber) for name, errors in self._shapes.items()})
        self._apply_chip()

    def _apply_chip(self) -> None:
        if self.chips == "one":
            for layer in faulty_layers(self.model).values():
                layer.eden_training_chip.copy_(layer.eden_chip)
            return
        index = self.optimizer_steps if self.chips == "fresh" else self.optimizer_steps % int(self.chips)
        set_training_chip_(self.model, draw_chip(self.seed, "training", index))


def _error_models(model: nn.Module) -> dict[str, ErrorModel]:
    found = scalable_errors(model)
    if not found:
        raise ValueError(f"{type(model).__name__} has no operand with an error model; set one with eden.inject_")
    return found


_curricula: weakref.WeakSet[Curriculum] = weakref.WeakSet()


def _after_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for curriculum in list(_curricula):
        # Training goes on after remove_, and then has no chip to change.
        if any(id(parameter) in held for parameter in curriculum.model.parameters()) and faulty_layers(
            curriculum.model
        ):
            curriculum.next_chip()


def _watch(curriculum: Curriculum) -> None:
    # A hook on all optimizers, not on the network: forward hooks that are registered after a compilation never run.
    if not _hooks:
        _hooks.append(register_optimizer_step_post_hook(_after_step))
    # Two would set each other's chips, in an order that no run repeats.
    for other in list(_curricula):
        if other.model is curriculum.model:
            _curricula.discard(other)
    _curricula.add(curriculum)


_hooks: list[Any] = []
