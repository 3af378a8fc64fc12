"""What a search is asked, and what its answer says."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
from collections.abc import Mapping
from typing import Any, cast

from eden import _core
from eden.common.arguments import check_int, check_seed
from eden.common.provenance import DrawnChips, Provenance
from eden.faults.memories import OperandInfo
from eden.faults.scorer import Scores
from eden.memory.errors import ErrorModel
from eden.tolerance.population import Plan, Population, plan_samples
from eden.tolerance.search import Budget, Search
from eden.tolerance.tolerance import CEILING, FLOOR, Alone, Certificate, Guarantee, PossibleDrop, Tolerance

SAMPLES_PER_OBSERVATION = 64
"""Samples of one observation where ``batch_size`` does not say.

A confirmation needs some number of chips, however many samples each is observed on; beyond what makes the spread over
samples as small as the gap that it has to prove, more samples per chip only cost time (docs/explanation/tolerance.md).
"""


class SearchError(RuntimeError):
    """A search that ended without limits; the message says why and what was confirmed nevertheless."""


def _probability(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a {type(value).__name__}; allowed is a number inside (0, 1)")
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} is {value}; allowed is inside (0, 1)")
    return float(value)


@dataclasses.dataclass(frozen=True)
class Searched:
    """The operands that a search finds limits of.

    Attributes:
        infos: what they are, by name.
        errors: their error models.
        weights: what a factor in the rate of each is worth.
    """

    infos: Mapping[str, OperandInfo]
    errors: Mapping[str, ErrorModel]
    weights: Mapping[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked; the fields are the arguments of ``eden.profile`` of the same names.

    Raises:
        ValueError, TypeError: naming the field that is out of range, what was found and what is allowed.
    """

    max_drop: float
    confidence: float
    guarantee: Guarantee
    seed: int
    search: Search
    lower_is_better: bool = False
    attempt: int = 1
    population: Population | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_drop", _probability("max_drop", self.max_drop))
        object.__setattr__(self, "confidence", _probability("confidence", self.confidence))
        if self.quantile is not None:
            _probability("the quantile of guarantee", self.quantile)
        check_seed("seed", self.seed)
        if check_int("attempt", self.attempt, 1) > _core.MOST_ATTEMPTS:
            raise ValueError(f"attempt is {self.attempt}; allowed is 1 to {_core.MOST_ATTEMPTS}")
        if not isinstance(self.lower_is_better, bool):
            raise TypeError(f"lower_is_better is a {type(self.lower_is_better).__name__}; allowed is a bool")

    @property
    def quantile(self) -> float | None:
        """Fraction of the chips whose drop is bounded; None where the mean over chips is."""
        given: Any = self.guarantee
        if given == "mean":
            return None
        if isinstance(given, (tuple, list)) and len(given) == 2 and given[0] == "quantile":
            return cast(float, given[1])
        raise ValueError(f"guarantee is {given!r}; allowed are 'mean' and ('quantile', q) with q inside (0, 1)")

    @property
    def bound(self) -> float:
        """What the mean of the observations is to be no more than."""
        return self.max_drop if self.quantile is None else 1.0 - self.quantile

    def put(self, searched: Searched, plan: Plan) -> _core.Search:
        """A new search of the core for these operands."""
        return self._core_search(
            operands=[
                (name, info.bytes or 0, min(CEILING, searched.errors[name].highest_ber))
                for name, info in searched.infos.items()
            ],
            floor=FLOOR,
            coarse_only=self.search.coarse_only,
            weights=list(searched.weights.values()),
            strategy=self.search.strategy,
            samples=plan.draws,
        )

    def put_to_one_level(self, plan: Plan) -> _core.Search:
        """A search with one candidate, both the lowest and the highest: what is left of it is its confirmation."""
        return self._core_search(
            operands=[("as placed", 1, 1.0)], floor=1.0, coarse_only=True, verifies=True, samples=plan.draws
        )

    def _core_search(self, **how: Any) -> _core.Search:
        return _core.Search(
            max_drop=self.max_drop,
            confidence=self.confidence,
            quantile=self.quantile,
            seed=self.seed,
            attempt=self.attempt,
            max_trials=self.search.max_trials,
            effort=self.search.effort,
            **how,
        )

    def check_budget(self, search: _core.Search, budget: Budget) -> None:
        """Raise ValueError for a budget of observations that a search cannot end with anything in."""
        least = search.steps[1] if self.search.strategy == "sweep" else search.least_confirmation
        if budget.observations is not None and budget.observations < least:
            raise ValueError(
                f"budget is {budget.observations}, too few observations to confirm any rate with max_drop "
                f"{self.max_drop:g} and confidence {self.confidence:g}; allowed is {least} or more, which do if no "
                "score drops and no rate is looked for"
            )

    def plan(self, samples: int, whole: bool = False) -> Plan:
        """Which of so many samples its observations are made on; ``whole``: the metric scores all of them together.

        Raises:
            ValueError: for what data cannot be asked of.
        """
        return plan_samples(
            self.population,
            seed=self.seed,
            samples=samples,
            batch=self._samples_per_observation(samples, whole),
            max_drop=self.max_drop,
            confidence=self.confidence,
            effort=float(self.search.effort),
            coarse_only=self.search.coarse_only,
            quantile=self.quantile,
            strategy=self.search.strategy,
            attempt=self.attempt,
            unfit="a CorpusMetric, which scores all samples together" if whole else "",
        )

    def _samples_per_observation(self, samples: int, whole: bool) -> int:
        """Samples of one observation."""
        asked = self.search.batch_size
        if asked is None:
            return samples if whole or self.quantile is not None else min(SAMPLES_PER_OBSERVATION, samples)
        if whole and asked < samples:
            raise ValueError(
                f"batch_size is {asked}; with a CorpusMetric, whose drop over a part of the samples is not "
                f"that over all, allowed is None or all {samples} of them"
            )
        if self.quantile is not None and asked < samples:
            raise ValueError(
                f"batch_size is {asked}; with a quantile, which counts chips by their drop over all samples and not "
                f"over a part of them, allowed is None or all {samples} of them"
            )
        return min(asked, samples)

    def fingerprint(self, metric: str, weights: Mapping[str, float], plan: Plan) -> dict[str, Any]:
        """What a journal names a run by, of all that is asked; what it is asked of is to be added."""
        return {
            "eden": importlib.metadata.version("eden-dram"),
            "random_layout": _core.RANDOM_LAYOUT_VERSION,
            "drawn_chips": _core.DRAWN_CHIPS_VERSION,
            "max_drop": self.max_drop,
            "confidence": self.confidence,
            "guarantee": self.guarantee,
            "metric": metric,
            "seed": self.seed,
            "attempt": self.attempt,
            "coarse_only": self.search.coarse_only,
            "strategy": self.search.strategy,
            "weights": list(weights.values()),
            "effort": float(self.search.effort),
            "lower_is_better": self.lower_is_better,
            "search": _core.SEARCH_VERSION,
            "batch_size": plan.batch,
            "population": plan.population,
        }

    def chips(self, search: _core.Search) -> tuple[DrawnChips, ...]:
        """The chips that a search of this question has seen."""
        return tuple(
            DrawnChips.model_validate({"purpose": purpose, "seed": self.seed, "first": first, "count": count})
            for purpose, first, count in search.chips_seen
        )

    def shown(self, scores: Scores) -> float:
        """Mean of scores, as the metric itself counts."""
        mean = math.fsum(scores) / len(scores)
        return 1.0 - mean if self.lower_is_better else mean

    def check_room(self, clean: Scores, metric: str) -> None:
        """Raise ValueError if the scores on reliable memory leave no room for ``max_drop``."""
        mean = math.fsum(clean) / len(clean)
        if mean <= self.max_drop:
            harm = f"{1.0 - mean:.4g}, no less than 1 -"
            shown = harm if self.lower_is_better else f"{mean:.4g}, no more than"
            raise ValueError(
                f"on reliable memory the network scores {shown} max_drop ({self.max_drop}), by {metric!r}, so no error "
                "rate could be too high; allowed is a max_drop that its score leaves room for"
            )

    def answer(
        self,
        search: _core.Search,
        searched: Searched,
        *,
        metric: str,
        clean: Scores,
        plan: Plan,
        observations: Mapping[str, int],
        made_of: Mapping[str, str],
        float_accuracy: float | None = None,
        own: Scores | None = None,
    ) -> Tolerance:
        """The tolerance of a search that has ended. Raises SearchError if it ended without limits."""
        if search.state != "done" or search.coarse_certificate is None:
            message = search.message
            if own is not None:
                message += f"; without errors the network loses {float((clean - own).mean()):.4f} from its reference"
            raise SearchError(message)
        confirmed, errors, infos = search.limits_certificate, searched.errors, searched.infos
        rates = [search.coarse] * len(errors) if confirmed is None else search.limits
        # The core's arithmetic may leave the floor by the last bit.
        limits = {name: max(FLOOR, rate) for name, rate in zip(errors, rates, strict=True)}
        responses = [] if confirmed is None else search.responses
        return Tolerance(
            coarse=max(FLOOR, search.coarse),
            limits=limits,
            bytes={name: info.bytes or 0 for name, info in infos.items()},
            kinds={name: "weight" if info.kind == "weight" else "input" for name, info in infos.items()},
            storage={name: info.storage for name, info in infos.items()},
            error_models={name: errors[name].scaled(limits[name]).to_dict() for name in errors},
            max_drop=self.max_drop,
            confidence=self.confidence,
            guarantee=self.guarantee,
            metric=metric,
            reference_accuracy=self.shown(clean),
            own_accuracy=None if own is None else self.shown(own),
            float_accuracy=float_accuracy,
            samples=len(clean),
            population=plan.population,
            coarse_certificate=certificate_of(search, search.coarse_certificate, plan),
            limits_certificate=None if confirmed is None else certificate_of(search, confirmed, plan),
            seed=self.seed,
            provenance=Provenance.made(chips=self.chips(search), **made_of),
            random_layout=_core.RANDOM_LAYOUT_VERSION,
            eden_version=importlib.metadata.version("eden-dram"),
            observations=dict(observations),
            strategy=self.search.strategy,
            effort=float(self.search.effort),
            weights={} if confirmed is None else dict(searched.weights),
            alone={name: _alone(response) for name, response in zip(errors, responses, strict=False)},
            lower_is_better=self.lower_is_better,
            unfinished=search.message if search.ended_by_budget or search.samples_spent else "",
        )


def certificate_of(search: _core.Search, found: _core.Certificate, plan: Plan) -> Certificate:
    """A certificate of a search of the core."""
    possible = search.possible_drops(found, plan.confirming, plan.whole)
    return Certificate(
        chips=found.chips,
        samples=found.chips * plan.confirming,
        batch=plan.confirming,
        mean_drop=found.mean_drop,
        violating=found.violating,
        upper_bound=found.upper_bound,
        back_offs=found.back_offs,
        alpha=found.alpha,
        total_alpha=found.total_alpha,
        first_chip=found.first_chip,
        first_trial=found.first_trial,
        worst=found.worst,
        worst_share=found.worst_share,
        possible=tuple(PossibleDrop(drop=drop, probability=probability) for drop, probability in possible),
    )


def _alone(found: _core.OperandResponse) -> Alone:
    # The core's arithmetic may leave the floor by the last bit.
    rates = {field: max(FLOOR, getattr(found, field)) for field in ("rate", "low", "high")}
    return Alone(slope=found.slope, observations=found.observations, **rates)
