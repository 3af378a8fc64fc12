"""Boost: a curriculum that raises the bit error rate while a network is retrained."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import sys
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from eden import _core
from eden.boosting import rates
from eden.boosting.climb import Attempt, Climb
from eden.boosting.iterations import Iterations
from eden.boosting.judge import Judge
from eden.boosting.recovery import Recovery
from eden.common.arguments import check_choice, check_fields, number, whole
from eden.common.records import Log
from eden.common.torch_internals import after_backward, recomputing
from eden.faults.chips import accesses, check_trainable, chip, draw_chip, set_accesses_, set_training_chip_
from eden.faults.faulty_layers import faulty_layers
from eden.faults.forward import ForwardFn, TargetFn
from eden.faults.inject import HELD_CURRICULUM
from eden.faults.memories import operands, scalable_errors, set_scaled_errors_
from eden.faults.metrics import Metric
from eden.faults.network import bare
from eden.faults.reads import reads_of, reads_since
from eden.faults.reliable import refuse_inside_clean
from eden.memory.errors import ErrorModel

SCHEDULES = ("linear", "logarithmic", "step", "constant", "adaptive")
_MIXTURE_STREAM = 1  # sets the draws of a mixture apart from whatever else a seed may key


class Curriculum:
    """Raises the error rate of a network's operands step by step, and changes its chip while it trains.

    A full rate at once collapses accuracy; a rate that rises lets training follow (Koppula et al., MICRO 2019; Bengio
    et al., ICML 2009). The rate rises every ``epochs_per_step`` epochs and reaches its target for the last of them;
    each operand keeps the asymmetry of the error model it was injected with.

    It is stepped like a learning-rate scheduler. The chip changes with each iteration, which takes a step of every
    optimizer that trains the network (``eden.boosting.iterations``): nothing is to be called, gradient accumulation
    keeps its chip, and so do all backward passes, also those that compute a part of the forward pass again. Where steps
    do not tell iterations apart, such as five of a critic to one of a generator, call ``step_iteration``. All that is
    drawn is a function of the seed and the number of iterations alone, so all ranks of a distributed run train on the
    same chip at the same rate. In evaluation mode the network stays on the chip of its own seed. A curriculum lives as
    long as its network, whether anybody holds it or not, until ``end``, ``eden.remove_``, or a newer one of the same
    layers takes its place. ``eden.inject_`` and ``eden.load_`` set rates of their own, which hold until the next
    ``step``: make the curriculum after them.

    Without ``target_ber`` it finds how far the network can rise. It is given what its owner has: a ``max_drop``, a
    ``validation`` set and ``epochs``. At the start and at the end of epochs it measures the score that is lost without
    errors, from that of the network as it is given, and the rate at which ``max_drop`` is lost. The rate of training
    rises while both allow, and goes back where they do not; the network that tolerates most is kept. The last ``step``
    (or ``end``) leaves it in place, at the rate that it tolerates, and never one that tolerates less than what was
    given: where none tolerates more on chips that no decision was made by, that is what comes back. ``tried`` and
    ``table`` say what it tried.

    Schedules, for step k of K and a target rate p (docs/explanation/boosting.md):

    - "linear": p k / K; with ``start_ber`` s, s + (p - s) (k - 1) / (K - 1).
    - "logarithmic": p (s / p)^((K - k) / (K - 1)), s being ``start_ber``, or p / 100.
    - "step": linear from reliable memory, s + (p - s) (k - 1) / (K - 1) with s = 0 unless ``start_ber`` is given: as
      the paper's curriculum is told of by third parties, beginning without errors and adding as much each time.
    - "constant": p from the first epoch on.
    - "adaptive": from s on, times ``factor`` as soon as the network has recovered, at an epoch's end: when the loss
      under faults (``report(loss=...)``, smoothed) is at most (1 + ``recovery``) times the reference, or the score
      (``report(score)``) at least the reference minus ``recovery``. After ``epochs_per_step`` epochs without recovery
      the rate goes back to the highest one recovered at, and the factor becomes its square root: a bisection of the
      rate that the network can follow.

    Args:
        model: a network under faults; of what torch.compile or DistributedDataParallel make of one, the one inside.
        target_ber: mean bit error rate to reach, above 0, up to 1; or one for each operand that has an error model,
            from 0, such as the ``limits`` of a tolerance or the ``ber`` of a placement; or error models from mild to
            harsh that all operands go through, such as ``eden.Device.walk`` gives. None: it is found.
        epochs: how many epochs the whole curriculum takes.
        epochs_per_step: after how many epochs the rate rises; of "adaptive", in how many it has to recover.
        chips: "fresh", a new chip after each iteration; "one", the chip of the injection; a number of chips
            that are used in turn, or the seeds of such chips.
        schedule: a name of ``SCHEDULES``.
        seed: what fresh chips, the chips of a pool, and the mixture are drawn from.
        start_ber: rate to begin with, a mean over operands below that of the target; not for error models of points.
        ramp: share of the epochs, above 0 to 1, in which the rate rises; in the rest it is the target's.
        steps_per_epoch: iterations of an epoch; given, the rate rises with each of them instead of every
            ``epochs_per_step`` epochs. Not with "adaptive".
        clean_share: share of the iterations, from 0 to below 1, whose passes read reliable memory.
        floor_ber: given, the rate of each iteration is drawn log-uniformly between this mean rate and the present
            one, all operands alike, so that lower rates go on working (Stutz et al., MLSys 2021, find that they need
            not).
        factor: of "adaptive", above 1.
        recovery: of "adaptive": what the loss may be above the reference, relative, or the score below it; from 0.
        reference: of "adaptive", the loss or the score to recover to, such as that of the clean network; None takes
            what the first epoch ends with.
        log: called by ``step`` with a record of the epoch that ends, such as a logger's: "epoch" from 0, "step", the
            iterations so far, "ber", the rate that it was trained at, and the latest "loss" and "score" that were
            reported. Copies and pickles of the curriculum have none.
        max_drop: without ``target_ber``: accepted drop in score, inside (0, 1), from the network as it is given; 0.01
            where it is None.
        validation: without ``target_ber``: a loader as in ``eden.profile``, or a dataset, of samples that the training
            does not see. Choices that are made by them are not seen by a test set alone.
        metric: without ``target_ber``: as in ``eden.profile``, a score for each sample; and so are the next two.
        forward_fn: runs the network on a batch of the validation set.
        target_fn: takes the target out of one.

    Steps drawn clean, or at a lower rate, are those after the first of each epoch: ``step`` leaves the network at the
    present rate, and so to be evaluated.

    Raises:
        ValueError: if the network has no operand with an error model, or an argument is out of range.

    Warns:
        UserWarning: if there is a single rate, the full one from the first epoch on, and ``schedule`` is not
            "constant".
    """

    def __init__(
        self,
        model: nn.Module,
        target_ber: float | Mapping[str, float] | Sequence[ErrorModel] | None = None,
        epochs: int = 10,
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
        log: Log | None = None,
        max_drop: float | None = None,
        validation: Any = None,
        metric: str | Metric = "top1",
        forward_fn: ForwardFn | None = None,
        target_fn: TargetFn | None = None,
    ) -> None:
        self.epochs = epochs
        self.epochs_per_step = epochs_per_step
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
        self.log = log
        self._reported: dict[str, float] = {}
        check_fields(
            self,
            ("epochs", whole(epochs, 1), "a whole number from 1"),
            ("epochs_per_step", whole(epochs_per_step, 1), "a whole number from 1"),
        )
        model = bare(model)
        self._model = weakref.ref(model)
        found = target_ber is None
        self.max_drop = (0.01 if max_drop is None else max_drop) if found else None
        check_choice("schedule", schedule, SCHEDULES)
        check_fields(
            self,
            (
                "max_drop",
                found or (max_drop is None and validation is None),
                "None, and so is validation, with a target_ber: give one or the other",
            ),
            ("max_drop", not found or (number(self.max_drop) and 0.0 < float(self.max_drop or 0.0) < 1.0), "in (0, 1)"),
        )
        if found and validation is None:
            raise ValueError("found neither target_ber nor validation; allowed is a rate, or a set to find one by")
        if found and (schedule, start_ber, steps_per_epoch) != ("linear", None, None):
            raise ValueError(
                "found schedule, start_ber or steps_per_epoch without a target_ber; allowed is to leave them, as the "
                "rate is found"
            )
        models = _error_models(model)
        self._ladder = rates.reachable(models) if found else rates.of_target(models, target_ber)
        self.chips = _checked_chips(chips)
        highest = self._ladder.target_ber
        below = f"above 0 and below the target's {highest:.3g}, or None"
        check_fields(
            self,
            ("start_ber", start_ber is None or (number(start_ber) and 0.0 < start_ber < highest), below),
            (
                "start_ber",
                start_ber is None or isinstance(self._ladder, rates.Rates),
                "None where target_ber is error models: the first of them is the start",
            ),
            ("ramp", number(ramp) and 0.0 < ramp <= 1.0, "above 0 to 1"),
            ("steps_per_epoch", steps_per_epoch is None or whole(steps_per_epoch, 1), "a whole number from 1, or None"),
            (
                "steps_per_epoch",
                steps_per_epoch is None or schedule != "adaptive",
                "None with the schedule 'adaptive', which decides at the end of epochs",
            ),
            ("clean_share", number(clean_share, 0.0) and clean_share < 1.0, "from 0 to below 1"),
            ("floor_ber", floor_ber is None or (number(floor_ber) and 0.0 < floor_ber < highest), below),
            ("factor", number(factor) and factor > 1.0, "above 1 and finite"),
            ("recovery", number(recovery, 0.0), "from 0 and finite"),
            ("reference", reference is None or number(reference), "a finite number, or None"),
        )
        self.epoch = 0
        self.optimizer_steps = 0
        self._steps_at_last_epoch = 0
        self._number = 0  # in the order of their making
        self._trained: set[str] = set()  # layers in training mode at an optimizer step since the last epoch
        self._counted_from = 0, reads_of(model)  # optimizer steps, and what was read until then
        self._recovery = Recovery(self._ladder.first(self._start), factor)
        self._climb: Climb | None = None
        if found:
            assert isinstance(self._ladder, rates.Rates)  # of one number
            refuse_inside_clean(model, "Curriculum")
            drop, one = float(self.max_drop or 0.0), chips == "one"
            judge = Judge(model, validation, metric, drop, seed, forward_fn, target_fn, one=one)
            self._climb = Climb(judge, model, self._ladder, epochs)
        elif schedule not in ("adaptive", "constant") and self.steps == 1:
            warnings.warn(
                f"the curriculum has a single rate, {self.highest_ber:.3g} from the first step on: {epochs} epochs "
                f"with epochs_per_step={epochs_per_step}; give fewer epochs_per_step, steps_per_epoch, or "
                "schedule='constant' where that is meant",
                stacklevel=_frames_inside(),
            )
        self._iterations = Iterations()
        self._told = 0  # of optimizer_steps, how many of this epoch optimizers told of
        self._by_hand = False
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

    @property
    def tried(self) -> tuple[Attempt, ...]:
        """What a curriculum without a target tried, the network that it was given first; none of another one."""
        return () if self._climb is None else tuple(self._climb.tried)

    @property
    def restored(self) -> int:
        """How often the best state came back so far, since training had lost the network: what trains it is too fast.

        ``eden.train`` divides the learning rate by ten each time. 0 with a target.
        """
        return 0 if self._climb is None else self._climb.restored

    def table(self) -> str:
        """What a curriculum without a target tried, as text."""
        return "" if self._climb is None else self._climb.table()

    def end(self) -> None:
        """Stop to change the network: it stays at the present rate, in training too on the chip of the injection.

        Without a target, the network that tolerates most comes back, at the rate that it tolerates.
        """
        if not self.moving:
            return
        layers = faulty_layers(self.model)
        if self._climb is not None:
            self._forget_pending()
            self._climb.rate = self._climb.finish(self.model)
        set_scaled_errors_(self.model, self._ladder.errors(self._level, 1.0))
        for layer in layers.values():
            layer.eden_training_chip.copy_(layer.eden_chip)
        self._forget_pending()
        _release(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": self.model, "log": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A copy is of the copied network, and moved by no optimizer.
        self.__dict__.update(state, _model=weakref.ref(state["_model"]))

    @property
    def target_ber(self) -> float | dict[str, float]:
        """Mean bit error rate to reach; one for each operand where they differ; the highest that there is if found."""
        return self._ladder.target if isinstance(self._ladder, rates.Rates) else self._ladder.target_ber

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
        if self._climb is not None:
            raise ValueError("the rates of a curriculum without a target are found")
        if self.schedule == "constant":
            return 1
        rising = max(1, math.ceil(self.ramp * self.epochs))
        if self.steps_per_epoch is not None:
            return rising * self.steps_per_epoch
        return math.ceil(rising / self.epochs_per_step)

    def _scheduled(self, epoch: int, optimizer_steps: int) -> float:
        done = epoch // self.epochs_per_step if self.steps_per_epoch is None else optimizer_steps
        return self._ladder.level(self.schedule, self._start, min(done + 1, self.steps), self.steps)

    def ber_at(self, epoch: int, step: int = 0) -> float:
        """Mean bit error rate that is trained with in an epoch and a step of it, both counted from 0.

        Within an epoch it rises only if ``steps_per_epoch`` is given.

        Raises:
            ValueError: of "adaptive", and without a target.
        """
        return self._ladder.ber(self._scheduled(epoch, epoch * (self.steps_per_epoch or 0) + step))

    @property
    def _level(self) -> float:
        if self._climb is not None:
            return self._climb.rate / self._ladder.target_ber
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
            if value is not None:
                self._reported[name] = float(value)
        self._recovery.report(score, loss)

    def step(self) -> None:
        """End an epoch: the rate of the next one takes effect.

        Raises:
            RuntimeError: if chips are to change, but no optimizer step was seen since the last call, or none with a
                layer under faults in training mode; if an operand under faults was never read in a forward pass of the
            training since the last call; if it has ended; or if it is adaptive and nothing was reported
                since the rate last changed. Nothing is changed then.
        """
        if _holder(self.model) is not self:
            raise RuntimeError(
                "this curriculum has ended: end() or eden.remove_ was called, or a newer curriculum of the same layers "
                "took its place, or this is a copy; allowed is one that optimizer steps move"
            )
        self._count(self._iterations.end(self.model))
        drawn = self.chips != "one" or self.clean_share or self.floor_ber is not None or self.steps_per_epoch
        if drawn and self.optimizer_steps == self._steps_at_last_epoch:
            raise RuntimeError(
                "no optimizer step was seen in this epoch, so the chip never changed; call step_iteration() after each "
                "update if the loop updates the Parameters without a torch.optim optimizer"
            )
        if self.chips != "one" and not self._trained:
            raise RuntimeError(
                "every layer under faults was in evaluation mode at all optimizer steps of this epoch, so the network "
                "was trained on the chip of the injection alone; call model.train() (single layers, such as batch "
                "norm, may stay in evaluation mode), or give chips='one'"
            )
        self._check_read()
        record = {"epoch": self.epoch, "step": self.optimizer_steps, "ber": self.ber, **self._reported}
        if self.schedule == "adaptive":
            self._recovery.end_epoch(self._ladder, self.reference, self.recovery, self.factor, self.epochs_per_step)
        self._steps_at_last_epoch, self._trained, self._told = self.optimizer_steps, set(), 0
        self.epoch += 1
        if self._climb is not None and (self.epoch % self._climb.period == 0 or self.epoch >= self.epochs):
            self._forget_pending()
            self._climb.end_epochs(self.model, self.epoch)
        self._counted_from = self.optimizer_steps, reads_of(self.model)
        if self._climb is not None and self.epoch >= self.epochs:
            self.end()
        else:
            self._apply()
        if self.log is not None:
            self.log(record)

    def step_iteration(self) -> None:
        """End an iteration by hand, after the last optimizer step of it; the chip changes.

        From the first call on, the steps of optimizers end none, and those that they ended in this epoch do not count.
        """
        if not self._by_hand:
            self._by_hand = True
            self.optimizer_steps -= self._told
            self._told = 0
        self.next_chip()

    def next_chip(self) -> None:
        """Count an iteration and change the chip; called by itself when optimizers have stepped."""
        self.optimizer_steps += 1
        self._trained |= {name for name, layer in faulty_layers(self.model).items() if layer.training}
        layers = [layer.eden_faults for layer in faulty_layers(self.model).values()]
        again = any(faults.repeatable for faults in layers)
        if not (again or recomputing()):
            self._settle()
            return
        # A backward pass may still compute a part of the forward pass again, which has to be on the same chip.
        for faults in layers:
            faults.before_forward = self._settle
        if not again:
            after_backward(self._settle)

    def _settle(self) -> None:
        """Bring the network to what was counted."""
        if not self.moving:
            self._forget_pending()
        elif self.steps_per_epoch is not None or self.clean_share > 0.0 or self.floor_ber is not None:
            self._apply()
        else:
            self._apply_chip()

    def _check_read(self) -> None:
        """Refuse operands that the forward passes of the epoch did not read."""
        steps, before = self._counted_from
        if self.optimizer_steps == steps:
            return
        read = {
            name
            for name, (training, evaluation) in reads_since(self.model, before).items()
            if training or (evaluation and name not in self._trained)
        }
        readers: dict[str, set[str]] = {}
        for name, layer in faulty_layers(self.model).items():
            for operand in layer.eden_faults.operands():
                if operand.faulty:
                    readers.setdefault(operand.name, set()).add(name)
        unread = [name for name, own in readers.items() if not own & read]
        if unread:
            raise RuntimeError(
                f"{', '.join(unread)}: never read in a forward pass of this epoch's training, so the network does not "
                "learn to stand its errors; leave it out with inject_'s filter_fn"
            )

    def _forget_pending(self) -> None:
        for layer in faulty_layers(self.model).values():
            layer.eden_faults.before_forward, layer.eden_faults.repeatable = None, False

    def _count(self, iterations: int) -> None:
        for _ in range(iterations):
            self._told += 1
            self.next_chip()

    def _stepped(self, optimizer: torch.optim.Optimizer, held: set[int]) -> None:
        if not self._by_hand:
            self._count(self._iterations.stepped(optimizer, held, self.model))

    @contextlib.contextmanager
    def present(self) -> Iterator[None]:
        """The network at the present rate for a moment, whatever the mixture drew: to evaluate amid an epoch."""
        set_scaled_errors_(self.model, self._ladder.errors(self._level, 1.0))
        try:
            yield
        finally:
            self._apply()

    def _unscaled(self, found: dict[str, ErrorModel]) -> dict[str, ErrorModel]:
        if any(layer.eden_faults.before_forward for layer in faulty_layers(self.model).values()):
            self._settle()
        ladder, level = self._ladder, self._level
        own = [ladder.errors(level, share) for share in (self._share(), 1.0)]
        whole = ladder.unscaled(level)
        # Not one that was set by hand since.
        return {
            name: whole[name] if any(errors == each.get(name) for each in own) else errors
            for name, errors in found.items()
        }

    def settings(self) -> dict[str, Any]:
        """What the curriculum is, as plain numbers and texts: all of ``state_dict`` that does not change on the way."""
        own = {name: getattr(self, name) for name in _SETTINGS}
        chips = list(self.chips) if isinstance(self.chips, tuple) else self.chips
        # Those of a seed are others in another version, those by hand are not.
        drawn = {"drawn_chips": _core.DRAWN_CHIPS_VERSION} if _are_drawn(self.chips) else {}
        found = {} if self._climb is None else {"max_drop": self.max_drop}
        return {**self._ladder.settings(), **own, "chips": chips, **drawn, **found}

    def state_dict(self) -> dict[str, Any]:
        """What the curriculum is and where it is, as plain numbers; ``eden.save`` keeps the network's own weights."""
        return {
            **self.settings(),
            "epoch": self.epoch,
            "optimizer_steps": self.optimizer_steps,
            "steps_at_last_epoch": self._steps_at_last_epoch,
            "by_hand": self._by_hand,
            **({} if self._climb is None else {"climb": self._climb.state_dict()}),
            "adapted": dataclasses.asdict(self._recovery),
            "accesses": accesses(self.model),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken: epoch, rate, chip and access numbers.

        Raises:
            ValueError: if the state is of another curriculum or network, or lacks a key; nothing is changed then.
        """
        if _are_drawn(state.get("chips")) and state.get("drawn_chips") != _core.DRAWN_CHIPS_VERSION:
            raise ValueError(
                f"drawn_chips of the state is {state.get('drawn_chips')}; allowed is {_core.DRAWN_CHIPS_VERSION}, this "
                "version's: another one draws other chips, so begin anew"
            )
        missing = sorted(set(self.state_dict()) - set(state) - {"drawn_chips", "by_hand"})
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
        if ("climb" in state) != (self._climb is not None):
            raise ValueError("the state is of a curriculum with a target and this one has none, or the other way round")
        ladder = rates.of_settings(state)
        adapted = Recovery(**state["adapted"])
        chips = _checked_chips(state["chips"])
        numbers = {name: [int(number) for number in state["accesses"][name]] for name in layers}
        for key in (*_SETTINGS, "epoch", "optimizer_steps"):
            setattr(self, key, state[key])
        if self._climb is not None:
            self._climb.load_state_dict(state["climb"])
        self._ladder, self._recovery, self.chips = ladder, adapted, chips
        self._steps_at_last_epoch = state["steps_at_last_epoch"]
        # In which mode layers were, nobody wrote down.
        self._trained = set(layers) if self.optimizer_steps > self._steps_at_last_epoch else set()
        self._iterations, self._told, self._by_hand = Iterations(), 0, bool(state.get("by_hand", False))
        set_accesses_(self.model, numbers)
        self._counted_from = self.optimizer_steps, reads_of(self.model)
        self._apply()

    def _apply(self) -> None:
        if self.chips == "one":
            check_trainable("the chip of the network", chip(self.model))
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
        self._forget_pending()
        if self.chips == "one":
            for layer in faulty_layers(self.model).values():
                layer.eden_training_chip.copy_(layer.eden_chip)
        elif isinstance(self.chips, tuple):
            set_training_chip_(self.model, self.chips[self.optimizer_steps % len(self.chips)])
        else:
            index = self.optimizer_steps if self.chips == "fresh" else self.optimizer_steps % int(self.chips)
            set_training_chip_(self.model, draw_chip(self.seed, "training", index))


def _frames_inside() -> int:
    """How many frames up the first one is that is not EDEN's: whose caller a warning is for."""
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith("eden."):
        depth, frame = depth + 1, frame.f_back
    return depth


_SETTINGS = (
    *("epochs", "epochs_per_step", "chips", "schedule", "seed", "start_ber", "ramp", "steps_per_epoch"),
    *("clean_share", "floor_ber", "factor", "recovery", "reference"),
)


def _are_drawn(chips: Any) -> bool:
    return chips == "fresh" or whole(chips)


def _checked_chips(chips: Any) -> str | int | tuple[int, ...]:
    if isinstance(chips, str) and chips in ("fresh", "one"):
        return chips
    if whole(chips, 1):
        return int(chips)
    if isinstance(chips, Sequence) and not isinstance(chips, str) and len(chips) and all(map(whole, chips)):
        for index, one in enumerate(chips):
            check_trainable(f"chips[{index}]", one)
        return tuple(chips)
    raise ValueError(
        f"chips is {chips!r}; allowed are 'fresh', 'one', or a number of chips from 1, or a list of their seeds"
    )


def unscaled_errors(model: nn.Module) -> dict[str, ErrorModel]:
    """The error models of a network's operands, those that its curriculum has scaled as they were before.

    A model that was brought to a rate of 0 has no asymmetry left to bring to another one, and a cell map no cells.

    Raises:
        ValueError: as ``eden.faults.memories.scalable_errors``.
    """
    found = scalable_errors(model)
    curriculum = _holder(bare(model))
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
        if curriculum.moving:
            curriculum._stepped(optimizer, held)


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
