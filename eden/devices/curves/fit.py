"""Fits curves to conditions: what is left out, which links and asymptotes are tried, and which is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from eden import _core
from eden.devices.curves.curve import Alternative, Curve, Curves, place_text
from eden.devices.curves.dispersion import Told, choose_dispersion, likelihood_of, regimes, told_by
from eden.devices.curves.rates import ChoiceRow, Condition, Region
from eden.devices.likelihoods import DECISIVE
from eden.devices.margin import Margin

# A curve that misses its conditions so far that chance would do so less often than this is not used.
LACK_OF_FIT = 0.01
# A rate that falls as the latency shrinks is no chance where its likelihood ratio would be so large less often than so.
FALL = 0.01

_RULES = [
    _core.CurveRule(link, asymptote, False)
    for link in (_core.CurveLink.probit, _core.CurveLink.logit)
    for asymptote in (_core.Asymptote.one, _core.Asymptote.own)
]
_SHARED_RULES = [
    _core.CurveRule(link, asymptote, shared)
    for link in (_core.CurveLink.probit, _core.CurveLink.logit)
    for asymptote in (_core.Asymptote.one, _core.Asymptote.own, _core.Asymptote.shared)
    for shared in (True, False)
    if shared or asymptote == _core.Asymptote.shared
]


@dataclass(frozen=True, eq=False)
class _Candidate:
    names: tuple[str, ...]
    groups: list[list[_core.CurveCondition]]
    rule: _core.CurveRule
    fit: _core.CurveFit
    conditions: int
    deviance: float
    p_value: float
    bic: float

    @property
    def adequate(self) -> bool:
        return self.p_value >= LACK_OF_FIT

    @property
    def told(self) -> bool:
        """Whether as many conditions have errors as there are parameters; else it bounds answers but is not chosen."""
        failing = sum(condition.likelihood.best > -math.inf for group in self.groups for condition in group)
        return self.fit.parameters <= failing

    def row(self, chosen: bool) -> ChoiceRow:
        return ChoiceRow(
            self.names,
            self.rule.link.name,
            self.rule.asymptote.name,
            self.rule.shared_scale,
            self.fit.parameters,
            self.conditions,
            self.deviance,
            self.p_value,
            self.bic,
            chosen,
        )


def _candidate(
    names: tuple[str, ...], groups: list[list[_core.CurveCondition]], rule: _core.CurveRule, readings: int
) -> _Candidate:
    fit = _core.fit_curves(groups, rule)
    conditions = sum(map(len, groups))
    deviance = max(-2 * fit.log_likelihood, 0.0)
    p_value = float(scipy.stats.chi2.sf(deviance, max(conditions - fit.parameters, 1)))
    bic = deviance + fit.parameters * math.log(readings)
    return _Candidate(names, groups, rule, fit, conditions, deviance, p_value, bic)


def _falls(mild: _core.ConditionLikelihood, harsh: _core.ConditionLikelihood) -> bool:
    """Whether the harsher condition's rate is below the milder one's beyond what their dispersions explain."""
    if mild.best <= harsh.best or (math.isinf(mild.best) and mild.best < 0):
        return False
    low = harsh.best if math.isfinite(harsh.best) else mild.best - 60.0
    high = mild.best if math.isfinite(mild.best) else low + 60.0
    grid = np.concatenate([np.linspace(low, high, 200), [mild.lower(d) for d in (0.5, 1, 2, 3, 4)]])
    together = max(mild(float(x)) + harsh(float(x)) for x in grid if math.isfinite(x))
    # The null hypothesis is one-sided, so half of the chi-square.
    return -2 * together > float(scipy.stats.chi2.ppf(1 - 2 * FALL, 1))


class _Group:
    """A group on its way to a curve."""

    def __init__(
        self, name: str, conditions: Sequence[Condition], told: Mapping[tuple[str, float], Told], discount: float
    ) -> None:
        self.name = name
        self.conditions = tuple(sorted(conditions, key=lambda condition: -condition.at))
        self.told = {condition.at: told[name, condition.at] for condition in self.conditions}
        self.likelihoods = {
            condition.at: likelihood_of(condition, self.told[condition.at], discount) for condition in self.conditions
        }
        self.left_out: list[Region] = []
        self.notes: list[str] = []
        self.fitted: list[Condition] = []
        self.candidates: list[_Candidate] = []
        self.without_onset: list[_Candidate] = []

    def leave_out(self, unit: str) -> None:
        """The conditions that mix regimes, and those from where the rate falls on."""
        highest: Condition | None = None
        for index, condition in enumerate(self.conditions):
            mixed = regimes(condition.readings)
            if mixed:
                reason = f"the readings mix two regimes, of the rates {mixed[0]:.3g} and {mixed[1]:.3g}"
                self.left_out.append(Region(condition.at, reason))
                continue
            if highest and _falls(self.likelihoods[highest.at], self.likelihoods[condition.at]):
                for rest in self.conditions[index:]:
                    reason = (
                        f"the rate falls beyond its dispersion from {highest.rate:.3g} at "
                        f"{place_text(highest.at, unit)} to {condition.rate:.3g} at {place_text(condition.at, unit)}"
                    )
                    self.left_out.append(Region(rest.at, reason))
                break
            if highest is None or condition.rate > highest.rate:
                highest = condition

    def fit(self, unit: str) -> None:
        """A curve of the group's own: to all conditions, else to those with errors."""
        gone = {region.at for region in self.left_out}
        usable = [condition for condition in self.conditions if condition.at not in gone]
        failing = [condition for condition in usable if condition.rate > 0]
        if len(failing) < 2:
            self.notes.append(
                f"no curve: {len(failing)} usable conditions have errors, and two or more are needed; rates in between "
                "are bracketed"
            )
            return
        self.without_onset = self._candidates(failing)
        for conditions in (usable, failing):
            self.fitted = conditions
            self.candidates = self._candidates(conditions) if conditions is usable else self.without_onset
            if any(candidate.adequate and candidate.told for candidate in self.candidates):
                if conditions is failing and len(failing) < len(usable):
                    self.notes.append(
                        f"the curve ends at {place_text(failing[0].at, unit)}: the conditions without errors do not "
                        "lie on it; rates beyond are bracketed"
                    )
                return
            if len(failing) == len(usable):
                break
        least = max(candidate.p_value for candidate in self.candidates)
        self.notes.append(
            f"no curve: none of {len(self.candidates)} fits the conditions with errors (p at most {least:.2g}); rates "
            "in between are bracketed"
        )
        self.fitted = []

    def _candidates(self, conditions: Sequence[Condition]) -> list[_Candidate]:
        places = [_core.CurveCondition(c.at, self.likelihoods[c.at]) for c in conditions]
        readings = sum(len(c.readings) for c in conditions)
        return [_candidate((self.name,), [places], rule, readings) for rule in _RULES]

    def alternatives(self) -> list[_Candidate]:
        return [candidate for candidate in self.candidates if candidate.adequate] if self.fitted else []


def fit_conditions(
    groups: Mapping[str, Sequence[Condition]],
    *,
    unit: str = "ns",
    margin: Margin | None = None,
    lent: float | None = None,
    share: bool = True,
    discount: float = 1.0,
) -> Curves:
    """Fit one curve per group of conditions, with what they share chosen by BIC.

    Args:
        groups: conditions by the group's name; all groups lie on one axis, along which rates fall.
        unit: of the axis, ``"ns"`` or ``"V"``.
        margin: added to every rate that is asked for; none if None.
        lent: the variance of log-odds between readings for conditions that do not tell theirs. If None it is the
            largest of the conditions that do.
        share: whether the groups may share scale and asymptote.
        discount: factor on the log-likelihoods of groups whose readings depend on each other.

    Raises:
        ValueError: for no groups, conditions that are given twice or are no counts, and where nothing is read twice
            and no dispersion is lent.

    """
    for name, conditions in groups.items():
        places = [condition.at for condition in conditions]
        if len(set(places)) < len(places):
            raise ValueError(f"{name}: a condition is given twice; allowed is one per place: {sorted(places)}")
    if not groups or not any(groups.values()):
        raise ValueError("no conditions; allowed is one or more")
    dispersion = choose_dispersion(groups, lent)
    told = told_by(groups, dispersion, lent)
    members = [_Group(name, conditions, told, discount) for name, conditions in groups.items() if conditions]
    for member in members:
        member.leave_out(unit)
        member.fit(unit)
    curved = [member for member in members if member.alternatives()]
    own_best = {
        member.name: min((c for c in member.alternatives() if c.told), key=lambda c: c.bic) for member in curved
    }
    joint: list[_Candidate] = []
    if share and len(curved) > 1:
        names = tuple(member.name for member in curved)
        grouped = [own_best[name].groups[0] for name in names]
        readings = sum(len(c.readings) for member in curved for c in member.fitted)
        joint = [_candidate(names, grouped, rule, readings) for rule in _SHARED_RULES]
        # The same penalty per parameter on both sides of the comparison.
        separate = sum(c.deviance + c.fit.parameters * math.log(readings) for c in own_best.values())
    best_joint = min((c for c in joint if c.adequate and c.told), key=lambda c: c.bic, default=None)
    together = best_joint is not None and best_joint.bic < separate
    rows = []
    curves = {}
    for member in members:
        alternatives: list[Alternative] = []
        if member.name in own_best:
            if together:
                assert best_joint is not None
                index = best_joint.names.index(member.name)
                pool = [c for c in joint if c.adequate and c.bic <= best_joint.bic + DECISIVE]
            else:
                index = 0
                limit = own_best[member.name].bic + DECISIVE
                pool = [c for c in member.alternatives() if c.bic <= limit]
            pool.sort(key=lambda c: (not c.told, c.bic))
            alternatives = [Alternative(c.groups, c.rule, c.fit, index, c.bic) for c in pool]
            # Whether the conditions without errors lie on the same curve is not known, so curves without them bound
            # the answer, too.
            if any(condition.rate == 0 for condition in member.fitted):
                alternatives += [
                    Alternative(c.groups, c.rule, c.fit, 0, c.bic) for c in member.without_onset if c.adequate
                ]
        rows += [c.row(not together and c is own_best.get(member.name)) for c in member.candidates]
        curves[member.name] = Curve(
            group=member.name,
            unit=unit,
            conditions=member.conditions,
            fitted=tuple(condition.at for condition in member.fitted),
            left_out=tuple(member.left_out),
            notes=tuple(member.notes),
            margin=margin or Margin(),
            outliers=dispersion.outliers,
            _likelihoods=member.likelihoods,
            _told=member.told,
            _alternatives=tuple(alternatives),
        )
    rows += [c.row(together and c is best_joint) for c in joint]
    return Curves(curves, tuple(rows), dispersion)
