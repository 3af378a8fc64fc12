"""The greedy placement: Algorithm 1 of the EDEN paper (Koppula et al., MICRO 2019).

Operands from the most to the least tolerant, each into the partition and operating point with the largest parameter
reduction among those that it tolerates and that have room. The first operand in a partition sets its point. Of equal
reductions: an open partition before an unused one, then the fuller one, then the first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eden.devices.partition import AXES
from eden.placement.question import Answer, Flags, Part, Question

_ORDER = "(the greedy order; a placement may exist that it does not find)"


class _Shared(NamedTuple):
    """A value that a group of partitions runs at."""

    parameter: str
    group: int
    """Index among the groups that share the parameter."""
    value: float


class _NoPlaceError(ValueError):
    """Nothing has room for an operand."""

    def __init__(self, operand: int, message: str) -> None:
        super().__init__(message)
        self.operand = operand


class _Options:
    """Every choice of every partition, one after the other, and what partitions have taken so far."""

    def __init__(self, question: Question, first: Sequence[str], given_up: Collection[_Shared]) -> None:
        self.question, self.first, self.given_up = question, first, given_up
        choices = [(p, i, point) for p, mine in enumerate(question.choices) for i, (point, _) in enumerate(mine)]
        self.partition = np.array([p for p, _, _ in choices])
        self.index = [i for _, i, _ in choices]
        nominal = question.nominal
        self.values: dict[str, NDArray[np.float64]] = {
            along.name: np.array([along.harsher * along.harshness(point) for *_, point in choices]) for along in AXES
        }
        reduction = {
            "vdd": 1.0 - self.values["vdd"] / nominal.vdd,
            "latency": 1.0 - (self.values["trcd"] + self.values["trp"]) / (nominal.trcd + nominal.trp),
            "refresh_interval": 1.0 - nominal.refresh_interval / self.values["refresh_interval"],
            "tras": 1.0 - self.values["tras"] / (nominal.tras or 1.0),
        }
        _, order = np.unique(np.stack([reduction[name] for name in first], axis=1), axis=0, return_inverse=True)
        self.reduction = order.reshape(-1)
        """Of each choice, its place among those of all, the smallest parameter reduction first."""
        self.tolerated = question.tolerated([model for mine in question.choices for _, model in mine])
        self.taken = np.full(len(question.partitions), -1)
        """By partition, the option that it took; -1: none."""
        self.used = np.zeros(len(question.partitions), dtype=np.int64)

    @property
    def start(self) -> NDArray[np.int64]:
        """[partitions]: the next byte that an operand may start at."""
        return self.used + -self.used % self.question.alignment

    def runnable(self) -> Flags:
        """[options]: those that a partition runs at, or can still be run at by what it shares with others."""
        taken = self.taken[self.partition]
        allowed: Flags = np.ones(len(taken), dtype=np.bool_)
        for parameter, groups in self.question.shared.items():
            values = self.values[parameter]
            for g, group in enumerate(groups):
                inside = np.isin(self.partition, group)
                agreed = self._agreed(parameter, group)
                if agreed is not None:
                    allowed &= ~inside | (values == agreed)
                refused = [one.value for one in self.given_up if (one.parameter, one.group) == (parameter, g)]
                allowed &= ~inside | ~np.isin(values, refused)
        voltages = self.question.constraints.voltages
        if voltages is not None:
            driven = {self.question.nominal.vdd, *self.values["vdd"][self.taken[self.taken >= 0]]}
            if len(driven) >= voltages:
                allowed &= np.isin(self.values["vdd"], list(driven))
        return np.where(taken >= 0, taken == np.arange(len(taken)), allowed)

    def _agreed(self, parameter: str, group: Sequence[int]) -> float | None:
        """What a group runs at, once one of its partitions holds an operand."""
        return next((float(self.values[parameter][self.taken[p]]) for p in group if self.taken[p] >= 0), None)

    def to_give_up(self, k: int) -> _Shared | None:
        """The value off nominal that a group agreed on and that leaves an operand no place; None where there is none.

        One that would do alone, if any; of several the one whose parameter counts least.
        """
        nominal = self.question.nominal
        agreed = [
            _Shared(parameter, g, value)
            for parameter, groups in self.question.shared.items()
            for g, group in enumerate(groups)
            if (value := self._agreed(parameter, group)) not in (None, getattr(nominal, parameter))
        ]
        roomy = (self.question.capacity >= self.question.bytes[k])[self.partition] & self.tolerated[k]

        def does_alone(one: _Shared) -> bool:
            met = roomy.copy()
            for other in agreed:
                inside = np.isin(self.partition, self.question.shared[other.parameter][other.group])
                same = self.values[other.parameter] == other.value
                met &= ~inside | (~same if other == one else same)
            return bool(met.any())

        return max(agreed, key=lambda one: (does_alone(one), self.first.index(one.parameter)), default=None)

    def best(self, k: int) -> int:
        """The option for an operand. Raises ValueError naming the operand and the constraint where there is none."""
        runnable = self.runnable() & self.tolerated[k]
        roomy = self.start + self.question.bytes[k] <= self.question.capacity
        (found,) = np.nonzero(runnable & roomy[self.partition])
        if not found.size:
            raise _NoPlaceError(k, self._no_room(k, runnable))
        found = found[self.reduction[found] == self.reduction[found].max()]
        home = self.partition[found]
        # Of equals the first.
        return int(found[np.lexsort((-np.arange(len(found)), self.used[home], self.taken[home] >= 0))[-1]])

    def _no_room(self, k: int, runnable: Flags) -> str:
        question = self.question
        limit, size = question.limits[k].mean, int(question.bytes[k])
        head = f"operand {question.names[k]} ({size} bytes, tolerates a BER of {limit:g}) cannot be placed: "
        largest = int(question.capacity.argmax())
        if size > question.capacity[largest]:
            return (
                f"{head}it is larger than every partition; the largest is {question.partitions[largest].name} with "
                f"{question.capacity[largest]} bytes, and an operand is not split"
            )
        if not runnable.any():
            limits = question.constraints
            supplies = limits.voltages is not None or any(question.shared.values())
            why = f" under the constraints on supplies, after the more tolerant operands chose theirs {_ORDER}"
            return (
                f"{head}no partition runs, or can still be run, at an operating point that it tolerates"
                f"{why if supplies else ''}"
            )
        left = np.maximum(question.capacity - self.start, 0)[self.partition[runnable]].max()
        return (
            f"{head}the most room left in a partition whose BER it tolerates is {left} bytes, after the more tolerant "
            f"operands chose theirs {_ORDER}"
        )


def place_greedy(question: Question, first: Sequence[str]) -> Answer:
    """The greedy placement.

    Where the value that partitions with one supply or one refresh agreed on leaves an operand no place, it is given up,
    and all begins anew: so the most is kept of what counts first.

    Args:
        question: what is to be placed where; of equally tolerant operands the busier one chooses first.
        first: "vdd", "latency", "refresh_interval" and "tras" in the order in which their reductions count.

    Raises:
        ValueError: naming the operand that nothing has room for, and the constraint.

    """
    given_up: set[_Shared] = set()
    while True:
        options = _Options(question, first, given_up)
        try:
            return _placed(question, options)
        except _NoPlaceError as error:
            refused = options.to_give_up(error.operand)
            if refused is None:
                raise
            given_up.add(refused)


def _placed(question: Question, options: _Options) -> Answer:
    parts: list[list[Part]] = [[] for _ in question.names]
    for k in sorted(
        range(len(parts)), key=lambda k: (-question.limits[k].mean, -question.crossing[k], -question.bytes[k])
    ):
        best = options.best(k)
        p, size = int(options.partition[best]), int(question.bytes[k])
        part = Part(p, int(options.start[p]), size)
        parts[k].append(part)
        options.taken[p], options.used[p] = best, part.address_bytes + size
    return Answer([None if taken < 0 else options.index[taken] for taken in options.taken], parts)
