"""Operands put into partitions one by one, at the operating points that a relaxation found, or by size."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from eden.placement.program.pooled import Pooled
from eden.placement.program.problem import Assignment, Problem, State


class Bins:
    """Partitions in their states while operands are put into them."""

    def __init__(self, problem: Problem, states: Sequence[State]) -> None:
        self.problem = problem
        self.state_of = {
            state.partition: problem.used_index[state.partition, state.choice]
            for state in states
            if state.choice is not None
        }
        self.free = problem.room.copy()
        self.tail = problem.tail * (not problem.split)
        self.rest = problem.units.tolist()
        """Of each operand, the units that have no place yet."""
        self.pieces: list[dict[int, int]] = [{} for _ in self.rest]
        """Of each operand, its units by partition."""

    def fits(self, k: int, partition: int) -> bool:
        """Whether a whole operand has room, the one that ends behind the last whole unit included; or a unit of it."""
        if self.problem.split:
            return bool(self.free[partition] > 0)
        needed = int(self.rest[k]) - int(self.free[partition])
        behind = int(self.problem.bytes[k]) % self.problem.alignment
        return needed <= 0 or (needed == 1 and 0 < behind <= self.tail[partition])

    def put(self, k: int, partition: int, units: int) -> None:
        """Give units of a partition to an operand."""
        self.pieces[k][partition] = self.pieces[k].get(partition, 0) + units
        self.rest[k] -= units
        self.free[partition] -= units
        if self.free[partition] < 0:
            self.free[partition] = 0
            self.tail[partition] = 0

    def fill(self, k: int, partitions: Iterable[int]) -> None:
        """Give an operand that may be split what it needs of several partitions, one after the other."""
        for p in partitions:
            units = min(self.rest[k], int(self.free[p]))
            if units:
                self.put(k, p, units)

    def take_back(self, k: int) -> None:
        """Take an operand out again."""
        for partition, units in self.pieces[k].items():
            self.free[partition] += units
            self.rest[k] += units
        self.pieces[k] = {}

    def elsewhere(self, k: int) -> list[int]:
        """Partitions at the cheapest operating point where those that an operand tolerates have room for all of it."""
        at: dict[int, list[int]] = {}
        for p, s in self.state_of.items():
            if self.problem.tolerated[k, s]:
                at.setdefault(self.problem.level_of[s], []).append(p)
        roomy = [mine for mine in at.values() if sum(int(self.free[p]) for p in mine) >= self.rest[k]]
        cost = self.problem.pair_cost
        return min(roomy, key=lambda mine: float(cost[k, self.state_of[mine[0]]]), default=[])

    def assignment(self, states: Sequence[State]) -> Assignment:
        """Where everything lies, of partitions in their states."""
        return Assignment(tuple(states), tuple(tuple(sorted(mine.items())) for mine in self.pieces))


def _pack(problem: Problem, pooled: Pooled) -> Assignment | None:
    """Partitions for operands whose operating points are known, or None where none are found.

    Where an operand finds no room, the partition that this costs least takes a state that it tolerates, and all begins
    again: rounding has given its room to others.
    """
    for _ in range(len(problem.capacity) + 1):
        packed = _packed(problem, pooled)
        if not isinstance(packed, int):
            return packed
        milder = _milder(problem, pooled.states, packed)
        if milder is None:
            return None
        pooled = Pooled(milder, pooled.level, pooled.shares)
    return None


def _milder(problem: Problem, states: Sequence[State], k: int) -> tuple[State, ...] | None:
    """The states with one of them changed to one that an operand tolerates, or None where supplies forbid changes."""
    if problem.voltages is not None:
        return None
    cost = problem.pair_cost.sum(axis=0) / int(problem.units.sum())

    def price(state: State) -> float:
        held = 0.0 if state.choice is None else cost[problem.used_index[state.partition, state.choice]]
        return float(problem.energy_weight * state.standby + held * problem.room[state.partition])

    best: tuple[float, State] | None = None
    for i in np.flatnonzero(problem.tolerated[k]):
        state = problem.used[i]
        now = states[state.partition]
        if now.choice is not None and problem.tolerated[k, problem.used_index[now.partition, now.choice]]:
            continue
        if any(
            getattr(state.point, name) != getattr(now.point, name)
            for name, groups in problem.shared.items()
            if any(state.partition in group for group in groups)
        ):
            continue
        if not problem.split and problem.bytes[k] > problem.capacity[state.partition]:
            continue
        more = price(state) - price(now)
        if best is None or more < best[0]:
            best = (more, state)
    if best is None:
        return None
    return tuple(best[1] if p == best[1].partition else state for p, state in enumerate(states))


def _packed(problem: Problem, pooled: Pooled) -> Assignment | int | None:
    """Partitions for operands, the first operand that finds no room, or None where supplies forbid what was found.

    Each partition in use gets an operand first, from the one that fewest tolerate on; then the others follow, from the
    least tolerant, and the larger of equals, to where it is tightest. An operand that finds no room at its operating
    point goes to the cheapest other one with room.
    """
    bins = Bins(problem, pooled.states)
    wanted: dict[int, list[int]] = {}
    for k, level in enumerate(pooled.level):
        wanted.setdefault(level, []).append(k)
    takers = {
        p: [k for k in wanted.get(problem.level_of[s], ()) if problem.tolerated[k, s]] for p, s in bins.state_of.items()
    }
    homes: list[list[int]] = [[] for _ in bins.rest]
    for p, mine in takers.items():
        for k in mine:
            homes[k].append(p)
    for p in sorted(takers, key=lambda p: len(takers[p])):
        free = [k for k in takers[p] if bins.rest[k] and bins.fits(k, p)]
        if free and problem.split:
            bins.put(max(free, key=lambda k: bins.rest[k]), p, 1)
        elif free:
            # The smallest, so that the room is left to those that need it.
            k = min(free, key=lambda k: (bins.rest[k], k))
            bins.put(k, p, bins.rest[k])
    cost = problem.pair_cost
    choices = problem.tolerated.sum(axis=1)
    left = [k for k, rest in enumerate(bins.rest) if rest]
    for k in sorted(left, key=lambda k: (choices[k], -bins.rest[k], k)):
        mine = homes[k]
        if problem.split:
            if sum(int(bins.free[p]) for p in mine) < bins.rest[k]:
                # All of it goes elsewhere, with the unit that it may have in a partition already.
                bins.take_back(k)
                mine = bins.elsewhere(k)
                if not mine:
                    return k
            bins.fill(k, sorted(mine, key=lambda p: len(takers[p])))
            continue
        if roomy := [p for p in mine if bins.fits(k, p)]:
            p = min(roomy, key=lambda p: (bins.free[p], p))
        else:
            others = [p for p, s in bins.state_of.items() if problem.tolerated[k, s] and bins.fits(k, p)]
            if not others:
                return k
            p = min(others, key=lambda p: (cost[k, bins.state_of[p]], bins.free[p], p))
        bins.put(k, p, bins.rest[k])
    # Partitions that hold nothing are idle, if their supplies let them be.
    filled = {p for pieces in bins.pieces for p in pieces}
    settled = list(pooled.states)
    for p, state in enumerate(pooled.states):
        if state.choice is not None and p not in filled:
            settled[p] = problem.resting(state)
    return bins.assignment(settled)


def packings(problem: Problem, pooled: Pooled) -> list[Assignment]:
    """Placements from one relaxed solution: of operands that may be split, also one of whole operands."""
    ways = [problem]
    if problem.split:
        ways.append(dataclasses.replace(problem, split=False, capacity=problem.room * problem.alignment))
    return [packed for way in ways if (packed := _pack(way, pooled)) is not None]


def by_size(problem: Problem) -> Assignment | None:
    """A placement that looks at room alone, or None: the largest operand first, each to where it is tightest.

    Each partition then takes the best state that all of its operands tolerate, if no supply has a say in it.
    """
    nominal = [
        next(i for i in problem.idle if i.partition == p and i.point == problem.nominal) for p in problem.partitions
    ]
    bins = Bins(problem, nominal)
    for k in sorted(range(len(problem.bytes)), key=lambda k: (-int(problem.units[k]), -int(problem.bytes[k]), k)):
        if problem.split:
            bins.fill(k, problem.partitions)
            continue
        roomy = [p for p in problem.partitions if bins.fits(k, p)]
        if not roomy:
            return None
        bins.put(k, min(roomy, key=lambda p: (bins.free[p], p)), bins.rest[k])
    inside: list[list[int]] = [[] for _ in problem.partitions]
    for k, pieces in enumerate(bins.pieces):
        for p in pieces:
            inside[p].append(k)
    cost = problem.pair_cost
    bound_to_nominal = problem.split or problem.supplied
    states = []
    for p, members in enumerate(inside):
        allowed = [
            (float(problem.energy_weight * state.standby + cost[members, s].sum()), s)
            for s, state in enumerate(problem.used)
            if state.partition == p
            and problem.tolerated[members, s].all()
            and (not bound_to_nominal or state.point == problem.nominal)
        ]
        if members and not allowed:
            return None
        states.append(problem.used[min(allowed)[1]] if members else nominal[p])
    return bins.assignment(states)
