"""The program in numbers: operands, states of partitions, what each pair costs; and an assignment."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eden.devices.partition import OperatingPoint

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class State:
    """A partition at one of its operating points, holding operands or idle."""

    partition: int
    point: OperatingPoint
    choice: int | None
    """Index among the partition's choices; None: it holds nothing."""
    standby: float
    """Part of the energy within specification that its background and refresh take at the nominal time."""


@dataclass(frozen=True)
class Problem:
    """Operands, partitions, what each pair costs, and what the supplies allow.

    Costs are parts of the whole within specification: access energies and standby over the energy of an inference
    there, time shares over its time. The objective is energy_weight E + time_weight T, 1 within specification where
    the weights sum to 1.
    """

    names: tuple[str, ...]
    """Of the operands."""
    bytes: NDArray[np.int64]
    """[operands]"""
    capacity: NDArray[np.int64]
    """[partitions], bytes"""
    used: tuple[State, ...]
    """States that hold operands."""
    idle: tuple[State, ...]
    """States that hold none; one at the nominal point for every partition."""
    tolerated: Flags
    """[operands, used states]"""
    access: Floats
    """[operands, used states]: part of the energy that the operand's accesses take there."""
    saved: Floats
    """[operands, used states]: part of the time that they save there."""
    fixed_energy: float
    """Part of the energy that no placement changes."""
    energy_weight: float
    time_weight: float
    alignment: int
    split: bool
    voltages: int | None
    shared: Mapping[str, tuple[tuple[int, ...], ...]]
    """By parameter of an operating point, groups of partitions that share its value."""
    nominal: OperatingPoint

    @property
    def supplied(self) -> bool:
        """Whether partitions depend on one another by their supplies."""
        return self.voltages is not None or any(self.shared.values())

    @property
    def partitions(self) -> range:
        """Indices of the partitions."""
        return range(len(self.capacity))

    def resting(self, state: State) -> State:
        """The idle state of a state's partition that shares what the state shares with others."""
        shared = {
            name: getattr(state.point, name)
            for name, groups in self.shared.items()
            if any(state.partition in group for group in groups)
        }
        return next(
            idle
            for idle in self.idle
            if idle.partition == state.partition
            and all(getattr(idle.point, name) == value for name, value in shared.items())
        )

    @cached_property
    def pair_cost(self) -> Floats:
        """[operands, used states]: what the objective takes for the pair, standby over the time that it saves apart."""
        cost: Floats = self.energy_weight * self.access - self.time_weight * self.saved
        return cost

    @property
    def offset(self) -> float:
        """Part of the objective that no choice changes."""
        return self.energy_weight * self.fixed_energy + self.time_weight

    @cached_property
    def used_index(self) -> dict[tuple[int, int | None], int]:
        """Index of each used state by its partition and its choice."""
        return {(state.partition, state.choice): i for i, state in enumerate(self.used)}

    @cached_property
    def levels(self) -> list[list[int]]:
        """Used states by operating point."""
        levels: dict[tuple[float | None, ...], list[int]] = {}
        for i, state in enumerate(self.used):
            point = state.point
            levels.setdefault((point.vdd, point.trcd, point.trp, point.refresh_interval, point.tras), []).append(i)
        return list(levels.values())

    @cached_property
    def level_of(self) -> dict[int, int]:
        """Of each used state, the index of its operating point."""
        return {s: level for level, states in enumerate(self.levels) for s in states}

    @property
    def units(self) -> NDArray[np.int64]:
        """[operands]: bytes in units of the alignment, rounded up."""
        return -(-self.bytes // self.alignment)

    @property
    def room(self) -> NDArray[np.int64]:
        """[partitions]: whole units of the alignment that fit."""
        return self.capacity // self.alignment

    @property
    def tail(self) -> NDArray[np.int64]:
        """[partitions]: bytes behind the last whole unit, which a whole operand may end in."""
        return self.capacity % self.alignment


@dataclass(frozen=True)
class Assignment:
    """A placement by indices."""

    states: tuple[State, ...]
    """Of each partition."""
    pieces: tuple[tuple[tuple[int, int], ...], ...]
    """Of each operand: partitions with the units that it takes there; one where it is whole."""


class InfeasibleError(ValueError):
    """No placement keeps the constraints: the message names the constraint and the nearest relaxation that works."""


def evaluate(problem: Problem, assignment: Assignment) -> float:
    """The objective of an assignment."""
    access = saved = 0.0
    for k, pieces in enumerate(assignment.pieces):
        partition = pieces[0][0]
        s = problem.used_index[partition, assignment.states[partition].choice]
        access += float(problem.access[k, s])
        saved += float(problem.saved[k, s])
    standby = sum(state.standby for state in assignment.states)
    time = 1.0 - saved
    return problem.energy_weight * (problem.fixed_energy + access + time * standby) + problem.time_weight * time


def undominated(costs: Floats, rates: Floats) -> list[int]:
    """The choice that is at least as good as each one, in costs and rates alike; itself where no other one is.

    Args:
        costs: [choices, costs].
        rates: [choices, rates].

    Of equal ones it is the first.

    """
    both = np.concatenate([costs, rates], axis=1)
    best = []
    for i in range(len(both)):
        at = i
        # Each step lowers a cost or a rate, or goes to an earlier one of equals.
        while True:
            as_good = np.flatnonzero((both <= both[at]).all(axis=1))
            better = [j for j in as_good if j != at and ((both[j] != both[at]).any() or j < at)]
            if not better:
                break
            at = int(better[0])
        best.append(at)
    return best


def idle_points(nominal: OperatingPoint, vdds: Sequence[float], intervals: Sequence[float]) -> list[OperatingPoint]:
    """What an idle partition may run at: nominal latencies at each voltage and interval that its groups may take."""
    return [
        nominal.model_copy(update={"vdd": vdd, "refresh_interval": interval})
        for vdd, interval in itertools.product(vdds, intervals)
    ]
