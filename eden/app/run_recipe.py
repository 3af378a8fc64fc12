"""The recipe of the whole chain: the tables of a retraining, and those of what follows it."""

from __future__ import annotations

import importlib.resources
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic

from eden.app.recipe import RetrainRecipe, Table
from eden.app.tasks import Task
from eden.costs.defaults import CURRENTS, PLATFORM, REPEATED_HELP, VDD_LAW
from eden.costs.energy import Currents
from eden.costs.platforms import PLATFORMS, Cache, Platform
from eden.placement.constraints import Constraints
from eden.placement.defaults import (
    MARGIN,
    OBJECTIVE,
    RATES,
    RATES_HELP,
    REMAP_HELP,
    SHARED_REFRESH_HELP,
    SHARED_VDD_HELP,
    SOLVER,
    SOLVER_HELP,
    ExactSolver,
    ObjectiveName,
    RatesName,
    SolverName,
    UpperRates,
)
from eden.placement.solvers import SOLVERS

_Inside = Annotated[float, pydantic.Field(gt=0.0, lt=1.0)]
_AtLeastOne = Annotated[int, pydantic.Field(ge=1)]

DEMO = importlib.resources.files("eden.app") / "recipes" / "demo.toml"
"""The recipe of ``eden demo``."""


class ProfileTable(Table):
    """How tolerances are searched for: the arguments of ``eden.profile``."""

    max_drop: _Inside = pydantic.Field(default=0.01, description="accuracy that may be lost")
    confidence: _Inside = pydantic.Field(default=0.95, description="probability with which the limits hold")
    quantile: _Inside | None = pydantic.Field(
        default=None, description="share of chips whose drop is bounded, instead of the mean over chips"
    )
    metric: str = pydantic.Field(default="top1", description="top1 or top5")
    samples: _AtLeastOne = pydantic.Field(
        default=64, description="samples of one observation; of a quantile, which takes all, of one pass"
    )
    strategy: Literal["shares", "sweep"] = pydantic.Field(default="shares", description="how limits are searched for")
    weigh: Literal["bytes", "energy"] = pydantic.Field(default="bytes", description="what a limit is worth raising for")
    effort: Annotated[float, pydantic.Field(ge=1.5, le=1000.0)] = pydantic.Field(
        default=6.0, description="length of a confirmation, in multiples of the least"
    )
    population: Literal["data", "samples"] | None = pydantic.Field(
        default=None, description="of what the limits are: data where there are enough samples, if left out"
    )

    def criterion(self) -> dict[str, Any]:
        """What searches and certificates have alike: the arguments of their functions."""
        return {"metric": self.metric, "guarantee": "mean" if self.quantile is None else ("quantile", self.quantile)}

    @property
    def batch_size(self) -> int | None:
        """Samples of one observation; of a quantile all of them."""
        return self.samples if self.quantile is None else None


class PlaceTable(Table):
    """How operands are placed: the arguments of ``eden.place`` and of its constraints."""

    device: str | None = pydantic.Field(
        default=None, description="a name of the catalogue or a device file; the memory's if left out"
    )
    solver: SolverName = pydantic.Field(default=SOLVER, description=SOLVER_HELP)
    objective: ObjectiveName = pydantic.Field(default=OBJECTIVE, description="what is lowered")
    energy_weight: Annotated[float, pydantic.Field(ge=0.0, le=1.0)] = pydantic.Field(
        default=ExactSolver.energy_weight, description="of a weighted objective; time counts the rest"
    )
    platform: str = pydantic.Field(default=PLATFORM, description="whose figures the objective counts by")
    batch: _AtLeastOne | None = pydantic.Field(
        default=None, description="samples that share one read of the weights; the platform's if left out"
    )
    repeated: bool | None = pydantic.Field(default=None, description=REPEATED_HELP)
    currents: str = pydantic.Field(default=CURRENTS, description="currents that energy is counted by")
    vdd_law: Literal["linear", "quadratic"] = pydantic.Field(default=VDD_LAW, description="how energy depends on VDD")
    split: bool = pydantic.Field(default=False, description="operands may lie in several partitions of one point")
    alignment: _AtLeastOne | Literal["row"] = pydantic.Field(default=64, description="bytes, or row")
    remap: bool = pydantic.Field(default=False, description=REMAP_HELP)
    voltages: _AtLeastOne | None = pydantic.Field(
        default=None, description="different supply voltages, nominal included"
    )
    shared_vdd: Literal["module", "partition"] | list[list[str]] = pydantic.Field(
        default="module", description=SHARED_VDD_HELP
    )
    shared_refresh: Literal["rank", "partition"] | list[list[str]] = pydantic.Field(
        default="rank", description=SHARED_REFRESH_HELP
    )
    granularity: Literal["fine", "coarse"] = pydantic.Field(
        default="fine", description="partitions at points of their own, or one point for the whole module"
    )
    points: Literal["measured", "continuous"] = pydantic.Field(
        default="measured", description="measured, or also those that the limits imply on the fitted curves"
    )
    rates: RatesName = pydantic.Field(default=RATES, description=RATES_HELP)
    rates_confidence: _Inside = pydantic.Field(
        default=UpperRates.confidence,
        description="of upper ends: with which no true rate that was measured is higher; a part of certify.confidence",
    )
    modules: _Inside = pydantic.Field(
        default=UpperRates.modules,
        description="of upper ends: share of modules, where rates are of a vendor's other modules",
    )
    margin: Annotated[float, pydantic.Field(ge=1.0)] = pydantic.Field(
        default=MARGIN, description="what the device's rates are multiplied with"
    )
    gap: Annotated[float, pydantic.Field(ge=0.0, lt=1.0)] = pydantic.Field(
        default=ExactSolver.gap, description="share above the bound at which the exact solver ends"
    )
    time_limit: Annotated[float, pydantic.Field(gt=0.0)] = pydantic.Field(
        default=ExactSolver.time_limit, description="seconds after which it ends in any case"
    )


class CertifyTable(Table):
    """How placements are certified: the arguments of ``eden.certify``."""

    confidence: _Inside = pydantic.Field(
        default=0.95, description="probability with which the certificate of the placement that is chosen holds"
    )
    reference: Literal["boosted", "baseline"] | None = pydantic.Field(
        default=None,
        description="from whose accuracy on reliable memory drops are counted, of limits and of placements: baseline, "
        "the network before boosting, unless it was boosted elsewhere",
    )
    tightenings: Annotated[int, pydantic.Field(ge=0)] = pydantic.Field(
        default=3, description="how often all limits are halved after a placement that is not certified"
    )
    effort: Annotated[float, pydantic.Field(ge=1.5, le=1000.0)] = pydantic.Field(
        default=6.0, description="length of the test, in multiples of the least"
    )
    chips: _AtLeastOne = pydantic.Field(default=20, description="chips that the accuracy as placed is a mean over")


class RoundsTable(Table):
    """How often the network is tuned under its placement, profiled and placed again."""

    most: _AtLeastOne = pydantic.Field(default=3, description="rounds, the first one included")
    epochs: _AtLeastOne = pydantic.Field(default=1, description="of a tuning under a placement")
    learning_rate: Annotated[float, pydantic.Field(gt=0.0)] | None = pydantic.Field(
        default=None, description="highest of a tuning; a tenth of the boost's if left out"
    )
    least_gain: Annotated[float, pydantic.Field(ge=0.0, lt=1.0)] = pydantic.Field(
        default=1e-3, description="share by which a round has to lower the objective for another one to follow"
    )


class AccountTable(Table):
    """What the account is of, beside the platform of the objective."""

    platforms: list[str] = pydantic.Field(
        default_factory=lambda: list(PLATFORMS), min_length=1, description="names of platforms"
    )
    max_drops: list[_Inside] = pydantic.Field(
        default_factory=list,
        description="accuracies that may be lost, beside profile.max_drop, for energy against accuracy",
    )


class ComparisonTable(Table):
    """The network before boosting beside the one that is placed: what each tolerates, and its accuracy under errors."""

    chips: Annotated[int, pydantic.Field(ge=0)] = pydantic.Field(
        default=0, description="chips that each accuracy is a mean over; 0 for no comparison"
    )


class RunRecipe(RetrainRecipe):
    """All that ``eden run`` does, as a TOML file: the tables of a retraining, and those of what follows it.

    Attributes:
        network: a network file, boosted elsewhere, in place of training and boosting.
        profile: how tolerances are searched for.
        place: how operands are placed.
        certify: how placements are certified.
        rounds: how often all of it is done.
        account: platforms, and drops for energy against accuracy.
        comparison: the network before boosting beside the one that is placed.

    """

    FORMAT: ClassVar[str] = "eden-run"
    VERSION: ClassVar[int] = 1

    network: str | None = pydantic.Field(
        default=None, description="a network file, boosted elsewhere, in place of training and boosting"
    )
    profile: ProfileTable = ProfileTable()
    """How tolerances are searched for."""
    place: PlaceTable = PlaceTable()
    """How operands are placed."""
    certify: CertifyTable = CertifyTable()
    """How placements are certified."""
    rounds: RoundsTable = RoundsTable()
    """How often the network is boosted, profiled and placed again."""
    account: AccountTable = AccountTable()
    """What the result is accounted on."""
    comparison: ComparisonTable = ComparisonTable()
    """What the result is shown beside."""

    def retraining(self) -> RetrainRecipe:
        """The part that ``eden retrain`` does."""
        names = set(RetrainRecipe.model_fields)
        return RetrainRecipe.of(self.model_dump(include=names, exclude_none=True))

    def resolved(self, task: Task) -> Self:
        """The recipe with every value that it leaves out taken from the task and the defaults.

        Raises:
            ValueError: naming the place of a value that is out of range, or that has no meaning here.

        """
        whole = self.retraining().resolved(task)
        if whole.curriculum.max_drop is not None and self.curriculum.max_drop is None:
            # What boosting may cost is what the placement may.
            body = whole.model_dump(exclude_none=True)
            body["curriculum"]["max_drop"] = self.profile.max_drop
            whole = whole.of(body)
        own = self.model_dump(exclude=set(RetrainRecipe.model_fields), exclude_none=True)
        if self.certify.reference is None:
            own["certify"]["reference"] = "baseline" if self.network is None else "boosted"
        if self.network is not None:
            if self.certify.reference == "baseline":
                raise ValueError(
                    "certify.reference is 'baseline'; allowed with a network that was boosted elsewhere is 'boosted'"
                )
            if self.comparison.chips:
                chips = self.comparison.chips
                raise ValueError(f"comparison.chips is {chips}; allowed with a network that was boosted elsewhere is 0")
        if self.profile.population == "data":
            drops = sorted({*self.account.max_drops} - {self.profile.max_drop})
            for place, found, one in (
                ("rounds.most", self.rounds.most, "1"),
                ("comparison.chips", self.comparison.chips, "0"),
                ("account.max_drops", drops, "[]"),
            ):
                if str(found) != one:
                    raise ValueError(
                        f"{place} is {found} with profile.population 'data'; allowed is {one}, because a further "
                        "profile would confirm on samples that the first has seen"
                    )
        solver, objective, split = self.place.solver, self.place.objective, self.place.split
        chosen = SOLVERS[solver]
        if objective not in chosen.objectives:
            allowed = ", ".join(chosen.objectives)
            raise ValueError(f"place.objective is {objective!r}; allowed of the {solver} solver is {allowed}")
        if split and not chosen.splits:
            raise ValueError(f"place.split is True; allowed of the {solver} solver is false")
        rates, asked = self.place.rates_confidence, self.certify.confidence
        if self.place.rates == "upper" and not asked < rates:
            raise ValueError(
                f"place.rates_confidence is {rates}; allowed is above certify.confidence ({asked}), whose part it is"
            )
        device = whole.memory.device if self.place.device is None else self.place.device
        if device is None:
            raise ValueError("place.device: none is given, and memory is an error model; allowed is a device")
        own["place"]["device"] = device
        if self.rounds.learning_rate is None:
            own["rounds"]["learning_rate"] = whole.recipe("boost").learning_rate / 10
        for place_in_recipe, name in (
            ("place", self.place.platform),
            *(("account", name) for name in self.account.platforms),
        ):
            try:
                Platform.named(name)
            except ValueError as error:
                raise ValueError(f"{place_in_recipe}.{error}") from error
        if self.place.repeated and not isinstance(Platform.named(self.place.platform).memory, Cache):
            raise ValueError(
                f"place.repeated is True; allowed for {self.place.platform}, which keeps nothing between inferences, "
                "is false"
            )
        try:
            Currents.named(self.place.currents)
        except ValueError as error:
            raise ValueError(f"place.{error}") from error
        return self.of({**whole.model_dump(exclude_none=True), **own})

    def rates(self) -> str | UpperRates:
        """What the rates of operating points are taken to be."""
        chosen = self.place
        return UpperRates(chosen.rates_confidence, chosen.modules) if chosen.rates == "upper" else chosen.rates

    def solver(self) -> str | ExactSolver:
        """How operands are placed."""
        chosen = self.place
        if chosen.solver != "exact":
            return chosen.solver
        return ExactSolver(
            chosen.platform, chosen.currents, chosen.vdd_law, chosen.energy_weight, chosen.gap, chosen.time_limit
        )

    def constraints(self) -> Constraints:
        """What supplies and controller allow."""
        chosen = self.place
        return Constraints(
            split=chosen.split,
            alignment=chosen.alignment,
            remap=chosen.remap,
            voltages=chosen.voltages,
            shared_vdd=_groups(chosen.shared_vdd),
            shared_refresh=_groups(chosen.shared_refresh),
        )


def _groups(shared: Any) -> Any:
    return shared if isinstance(shared, str) else tuple(map(tuple, shared))
