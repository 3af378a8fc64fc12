"""The course of the search: relaxation, rounding, packing, and pair by pair (docs/explanation/placement.md)."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass

from eden.placement.constraints import OPERAND_ALIGNMENT
from eden.placement.program.packing import by_size, packings
from eden.placement.program.pairwise import solve_pairwise
from eden.placement.program.pooled import Pooled, narrowed, solve_pooled
from eden.placement.program.problem import Assignment, InfeasibleError, Problem, evaluate

# Fewer pairs of an operand and a state of a partition than this are decided pair by pair from the start.
DIRECT_PAIRS = 3000
# More pairs than these are not worth while once a placement and a bound are known.
MOST_PAIRS = 200_000
# Of what is left of the time, each program gets this much at least.
_LEAST_SECONDS = 1.0
# Of the objective, which is 1 within specification: what the solver's own tolerances may move.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Solved:
    """An assignment with its objective and the bound that no placement is below."""

    assignment: Assignment
    value: float
    bound: float

    @property
    def gap(self) -> float:
        """How far the objective may be above the optimum, as a share of it."""
        return max(0.0, self.value - self.bound) / self.value


def _keeps_supplies(problem: Problem, assignment: Assignment) -> bool:
    """Whether no supply is lowered for idle partitions alone; all else an assignment keeps by its making."""
    for name, groups in problem.shared.items():
        for group in groups:
            inside = [assignment.states[p] for p in group]
            lowered = any(getattr(state.point, name) != getattr(problem.nominal, name) for state in inside)
            if lowered and all(state.choice is None for state in inside):
                return False
    return True


def _rounded(problem: Problem, pooled: Pooled, seconds: float) -> list[Assignment]:
    """Placements near the linear program's solution."""
    if not problem.supplied:
        return packings(problem, pooled)
    narrow = narrowed(problem, pooled)
    if not narrow.tolerated.any(axis=1).all() or {state.partition for state in narrow.idle} != set(
        range(len(problem.capacity))
    ):
        return []
    try:
        again, _ = solve_pooled(narrow, 0.0, seconds, relaxed=True)
    except InfeasibleError:
        return []
    return [] if again is None else packings(narrow, again)


def solve(problem: Problem, start: Assignment | None, gap: float, seconds: float) -> Solved:
    """The best placement found and the bound that no placement is below.

    Args:
        problem: what is to be placed.
        start: a placement that is known already, such as the greedy one.
        gap: how far above the bound the objective may be, as a share of it, for the search to end.
        seconds: after which it ends in any case.

    Raises:
        InfeasibleError: if nothing keeps the constraints.
        TimeoutError: if no placement was found in time.

    """
    _check_feasible(problem)
    end = time.monotonic() + seconds
    best = start
    value = math.inf if start is None else evaluate(problem, start)
    # No part of the objective is below 0.
    bound = 0.0

    def done() -> bool:
        return best is not None and (value - bound <= max(gap, ROUNDING) * value or time.monotonic() >= end)

    pairs = int(problem.tolerated.sum())
    if pairs > DIRECT_PAIRS:
        for relaxed in (True, False):
            left = max(end - time.monotonic(), _LEAST_SECONDS)
            try:
                pooled, found = solve_pooled(problem, gap / 2.0, left, relaxed)
            except InfeasibleError:
                raise InfeasibleError(_why_infeasible(problem)) from None
            bound = max(bound, 0.0 if found is None else found)
            near = []
            if pooled is not None:
                near = _rounded(problem, pooled, left) if relaxed else packings(problem, pooled)
            for packed in (one for one in near if _keeps_supplies(problem, one)):
                if evaluate(problem, packed) < value:
                    best, value = packed, evaluate(problem, packed)
            if done():
                break
        if best is None:
            best = by_size(problem)
            value = math.inf if best is None else evaluate(problem, best)
    if best is None or (not done() and pairs <= MOST_PAIRS):
        try:
            exact, found = solve_pairwise(problem, gap, max(end - time.monotonic(), _LEAST_SECONDS))
        except InfeasibleError:
            raise InfeasibleError(_why_infeasible(problem)) from None
        bound = max(bound, 0.0 if found is None else found)
        if exact is not None and evaluate(problem, exact) < value:
            best, value = exact, evaluate(problem, exact)
    if best is None:
        raise TimeoutError(f"no placement was found in {seconds:g} s; allowed is more time, or the greedy solver")
    return Solved(best, value, min(bound, value))


def _check_feasible(problem: Problem) -> None:
    needed = int(problem.units.sum())
    if problem.split:
        if needed > problem.room.sum():
            raise InfeasibleError(
                f"the operands need {needed * problem.alignment} bytes in units of {problem.alignment}, more than the "
                f"{int(problem.room.sum()) * problem.alignment} that the partitions have: "
                f"{(needed - int(problem.room.sum())) * problem.alignment} bytes are missing"
            )
        return
    if int(problem.bytes.max()) > int(problem.capacity.max()) or needed > problem.room.sum() + (problem.tail > 0).sum():
        raise InfeasibleError(_why_infeasible(problem))


def _is_feasible(problem: Problem) -> bool:
    try:
        return (
            solve_pairwise(dataclasses.replace(problem, energy_weight=0.0, time_weight=0.0), 1.0, 10.0)[0] is not None
        )
    except InfeasibleError:
        return False


def _why_infeasible(problem: Problem) -> str:
    largest, k = int(problem.capacity.max()), int(problem.bytes.argmax())
    needed, room = int(problem.units.sum()), int(problem.room.sum())
    parted = needed <= room
    way = (
        "split=True places them"
        if parted
        else f"splitting does not help either, {(needed - room) * problem.alignment} bytes are missing"
    )
    if problem.alignment > OPERAND_ALIGNMENT and _is_feasible(
        dataclasses.replace(problem, alignment=OPERAND_ALIGNMENT)
    ):
        way = f"an alignment of {OPERAND_ALIGNMENT} places them whole"
    if int(problem.bytes[k]) > largest:
        return (
            f"operand {problem.names[k]} ({int(problem.bytes[k])} bytes) is larger than every partition, of which the "
            f"largest has {largest} bytes: {way}"
        )
    if not parted and needed > room + int((problem.tail > 0).sum()):
        return (
            f"the operands need {needed * problem.alignment} bytes in units of {problem.alignment}, more than the "
            f"{int(problem.capacity.sum())} that the partitions have: {way}"
        )
    return (
        f"no partition of whole operands into the {len(problem.capacity)} partitions fits their capacities, though "
        f"{needed * problem.alignment} of {int(problem.capacity.sum())} bytes are needed: {way}"
    )
