"""``place``: each operand in a partition, each partition at an operating point, that its operands tolerate.

A solver is an entry of ``SOLVERS``, an objective one of ``OBJECTIVES``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import pydantic

from eden.common.files import VersionedFile
from eden.common.provenance import Provenance
from eden.common.renames import renamed
from eden.costs.defaults import PLATFORM
from eden.devices.device import Device
from eden.memory.cell_map import CellMap
from eden.placement.constraints import Constraints
from eden.placement.defaults import OBJECTIVE, RATES, SOLVER, ExactSolver, RatesName, UpperRates
from eden.placement.placement import ErrorFree, Placement
from eden.placement.points import Points
from eden.placement.question import Question
from eden.placement.remap import AboveLimitsError, remapped
from eden.tolerance.tolerance import Tolerance

if TYPE_CHECKING:
    from eden.costs.platforms import Platform
    from eden.costs.traffic_file import Traffic
    from eden.placement.exact import Costs


class Objective(NamedTuple):
    """What is lowered."""

    energy_weight: float | None
    """What the share of the energy counts, that of the time counting the rest of 1; None: what the caller says."""
    first: tuple[str, ...] = ()
    """In which order the greedy solver looks at what a point lowers; none: it cannot lower this."""


OBJECTIVES: Mapping[str, Objective] = {
    "energy": Objective(1.0, ("vdd", "latency", "refresh_interval", "tras")),
    "latency": Objective(0.0, ("latency", "tras", "vdd", "refresh_interval")),
    "weighted": Objective(None),
}


@dataclass(frozen=True)
class Order:
    """What a solver is told beside the question."""

    objective: str
    energy_weight: float
    """What the share of the energy counts; that of the time counts the rest of 1."""
    exact: ExactSolver
    """How the exact solver counts and when it ends."""
    costs: Callable[[], Costs]
    """Counts the energy and time of placements."""


class Solver(NamedTuple):
    """A way to place."""

    solve: Callable[[Question, Order], Placement]
    objectives: tuple[str, ...]
    """What it can lower."""
    splits: bool
    """Whether it can split operands."""


def _greedy(question: Question, order: Order) -> Placement:
    from eden.placement.greedy import place_greedy

    first = OBJECTIVES[order.objective].first
    alike = question.planes_alike()
    if alike is None:
        return question.answered("greedy", order.objective, place_greedy(question, first))
    # Greedily, planes that tolerate more can save less, as operands can. Whole words stay a choice.
    found: list[Placement] = []
    refused: list[ValueError] = []
    for asked in (question, alike):
        try:
            found.append(question.answered("greedy", order.objective, place_greedy(asked, first)))
        except ValueError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    costs = order.costs() if len(found) > 1 else None
    return found[0] if costs is None or not costs.model.bursts else min(found, key=costs.value_of)


def _exact(question: Question, order: Order) -> Placement:
    from eden.placement.exact import place_exact
    from eden.placement.greedy import place_greedy

    costs = order.costs()
    nearest = "latency" if order.energy_weight == 0.0 else "energy"
    try:
        start = question.answered("greedy", nearest, place_greedy(question, OBJECTIVES[nearest].first))
    except ValueError:
        start = None
    return place_exact(question, order.objective, costs, start, order.exact.gap, order.exact.time_limit)


SOLVERS: Mapping[str, Solver] = {
    "greedy": Solver(_greedy, ("energy", "latency"), splits=False),
    "exact": Solver(_exact, ("energy", "latency", "weighted"), splits=True),
}


@renamed(
    **{
        name: f"solver=eden.ExactSolver({name}=...)"
        for name in ("platform", "currents", "vdd_law", "energy_weight", "gap", "time_limit")
    },
    rank="solver=eden.ExactSolver(currents=...)",
)
def place(
    tolerance: Tolerance,
    device: Device,
    solver: str | ExactSolver = SOLVER,
    traffic: Traffic | None = None,
    objective: str = OBJECTIVE,
    *,
    constraints: Constraints | None = None,
    granularity: Literal["fine", "coarse"] = "fine",
    points: Points = "measured",
    rates: str | UpperRates = RATES,
) -> Placement:
    """Put each operand into a partition, and each partition at an operating point, that its operands tolerate.

    The exact solver finds the placement with the least energy or time, by the account of ``savings`` at the platform's
    typical assumptions, with a bound (docs/explanation/placement.md): operands that tolerate more never cost more, but
    for its gap. The greedy solver, the reference, is Algorithm 1 of the EDEN paper (Koppula et al., MICRO 2019):
    operands from the most to the least tolerant, each into the partition and operating point with the largest parameter
    reduction among those that have room and whose error rates it tolerates; with more tolerance it may save less. An
    input's bytes are one sample's.

    Args:
        tolerance: limits, bytes, kinds and error models of the operands.
        device: partitions and their operating points.
        solver: "exact" or "greedy"; or an ``ExactSolver``, which says what it counts by and when it ends.
        traffic: bytes that each operand moves per inference; by the greedy solver, of equally tolerant operands the
            busier one chooses first; by the exact one, counted from the tolerance's operands where none is given.
        objective: "energy", "latency" or, exact only, "weighted"; by the greedy solver, whether the reduction of the
            supply voltage or that of tRCD + tRP counts first.
        constraints: what supplies and controller allow; none where none are given.
        granularity: "fine": each partition at a point of its own, by the limits of its operands; "coarse": the whole
            module at one point, its reliable partitions included, by the rate that all operands tolerate
            (``tolerance.coarse``).
        points: "measured": the points that the device's partitions list; "continuous": those also that the limits imply
            on the curves between them, which finds the best latency and voltage (docs/explanation/placement.md); or
            points for partitions by name, with the nominal one, the others' being those that are listed.
        rates: "upper": the rates of all points are taken as high as what was measured leaves them; an ``UpperRates``
            says at which level. "mean": as they are estimated, whatever that rests on. The placement says which; give
            its ``rates`` to ``eden.certify``, whose error has that of the rates as a part.

    Returns:
        The placement; no operand meets a BER above its limit, no partition holds more than its capacity.

    Raises:
        ValueError: for an unknown solver, objective, platform, law, kind of rates or partition, unknown currents, a
            constraint out of range, an operand without bytes or not in the traffic, an operating point outside of its
            curve, and, naming the constraint, where nothing fits.
        TimeoutError: if neither solver found a placement within the time limit.

    """
    constraints = Constraints() if constraints is None else constraints
    name, exact = ("exact", solver) if isinstance(solver, ExactSolver) else (solver, ExactSolver())
    _check_arguments(name, objective, constraints)
    _check_operands(tolerance, traffic)
    if granularity not in ("fine", "coarse"):
        raise ValueError(f"granularity is {granularity!r}; allowed are 'fine' and 'coarse'")
    coarse = granularity == "coarse"
    if not isinstance(rates, UpperRates) and rates not in get_args(RatesName):
        named = ", ".join(map(repr, get_args(RatesName)))
        raise ValueError(f"rates is {rates!r}; allowed are {named}, and an eden.placement.defaults.UpperRates")
    ends = UpperRates() if rates == "upper" else None if isinstance(rates, str) else rates
    wanted = _alike(tolerance) if coarse else tolerance
    question = Question(wanted, device, traffic, constraints, coarse, points, ends)
    if constraints.remap and not any(isinstance(model, CellMap) for mine in question.choices for _, model in mine):
        raise ValueError(
            f"remap is True, and no partition of {device.name} has a cell map; allowed is a device with the cells of a "
            "measured chip (eden.fit(..., cell_map=True))"
        )
    fixed = OBJECTIVES[objective].energy_weight
    weight = exact.energy_weight if fixed is None else fixed
    order = Order(objective, weight, exact, lambda: _costs(question, exact, weight))
    try:
        free = SOLVERS[name].solve(question.without_errors(), order)
    except (ValueError, TimeoutError):
        free = None  # where nothing fits the solver says so itself
    found = SOLVERS[name].solve(question, order)
    while constraints.remap:
        try:
            found = remapped(found, tolerance.storage, question.alignment)
            break
        except AboveLimitsError as error:
            # Where they came to lie is worse than the map as a whole: there they tolerate what others do.
            question = question.without_shares(error.names)
            found = SOLVERS[name].solve(question, order)
    before = tolerance.provenance
    settings = {**({} if before is None else before.settings), "granularity": granularity, "points": _as_json(points)}
    settings["constraints"] = dataclasses.asdict(constraints)
    if name == "exact":
        settings |= {"gap": exact.gap, "time_limit": exact.time_limit, "vdd_law": _as_json(exact.vdd_law)}
    # Of a tolerance whose limits were lowered, the one that was found.
    origin = tolerance if before is None else before.of.get("tolerance", tolerance)
    # Benchmarks and tests simulate some of these, which then are no files.
    given = {"tolerance": origin, "device": device, "traffic": traffic}
    files: dict[str, Any] = {role: one for role, one in given.items() if isinstance(one, (str, VersionedFile))}
    made = Provenance.made(before, settings=settings, **files)
    by_cache = _held(question, _platform(question, exact)) or ""
    return found.model_copy(
        update={"provenance": made, "free": None if free is None else _points_of(free), "held": by_cache}
    )


def _held(question: Question, platform: Platform) -> str | None:
    """That the platform's cache holds all, and what is placed for then."""
    from eden.costs.count_traffic import held

    batch = None if question.traffic is None else question.traffic.batch
    fits = held(question.stored(), platform, batch)
    return None if fits is None else f"{fits} Placed for an inference that finds the cache empty."


def _platform(question: Question, exact: ExactSolver) -> Platform:
    from eden.costs.platforms import Platform

    if question.traffic is not None:
        return question.traffic.counted_for(exact.platform)
    return Platform.named(PLATFORM if exact.platform is None else exact.platform)


def _points_of(free: Placement) -> ErrorFree:
    points = {name: one.operating_point for name, one in free.partitions.items()}
    return ErrorFree(partition=free.partition, operating_point=points)


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _as_json(one) for name, one in value.items()}
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    return value if isinstance(value, str) else [_as_json(one) for one in value]


def _costs(question: Question, exact: ExactSolver, weight: float) -> Costs:
    from eden.costs.count_traffic import traffic as count_traffic
    from eden.costs.energy import Currents
    from eden.costs.model import CostModel, check_same_operands, typical_case
    from eden.placement.exact import Costs

    moved, chosen = question.traffic, _platform(question, exact)
    if moved is not None:
        check_same_operands(moved, question.tolerance.bytes, "tolerance")
    # Of inferences that move nothing each placement is as good; the first one, which fills the cache, decides.
    if moved is None or (not moved.crossing_bytes and _held(question, chosen)):
        moved = count_traffic(question.stored(), chosen, repeated=False)
    currents = Currents.named(exact.currents)
    ranks = currents.ranks(int(question.capacity.sum()), question.device.geometry.ranks)
    model = CostModel(moved, question.nominal, currents, typical_case(chosen, exact.vdd_law), ranks)
    return Costs(model, chosen.name, weight)


def _alike(tolerance: Tolerance) -> Tolerance:
    """The tolerance with the rate that all operands tolerate together as the limit of each one."""
    models = {name: model.scaled(tolerance.coarse).to_dict() for name, model in tolerance.memory.items()}
    return tolerance.model_copy(
        update={"limits": dict.fromkeys(tolerance.limits, tolerance.coarse), "error_models": models}
    )


def _check_operands(tolerance: Tolerance, traffic: Traffic | None) -> None:
    for name, size in tolerance.bytes.items():
        if size < 1:
            raise ValueError(f"operand {name}: bytes is {size}; allowed is 1 or more")
    if traffic is not None:
        for name in sorted(tolerance.limits.keys() - traffic.operands.keys()):
            raise ValueError(
                f"operand {name} of the tolerance is not in the traffic; it has {len(traffic.operands)} others"
            )


def _check_arguments(solver: str, objective: str, constraints: Constraints) -> None:
    if solver not in SOLVERS:
        raise ValueError(f"solver is {solver!r}; allowed are {', '.join(map(repr, SOLVERS))}")
    chosen = SOLVERS[solver]
    if objective not in chosen.objectives:
        allowed = ", ".join(map(repr, chosen.objectives))
        raise ValueError(f"objective is {objective!r}; allowed are {allowed} of the solver {solver!r}")
    if constraints.split and not chosen.splits:
        raise ValueError(f"split is True; allowed is False: the {solver} solver does not split operands")
