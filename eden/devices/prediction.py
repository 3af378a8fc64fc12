"""How a device predicts readings that it was not fitted to: what is inside its intervals, and by how much it is off."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from eden.common.tables import text_table
from eden.devices.curves.dispersion import regimes
from eden.devices.curves.population import UNTOLD_DECADES
from eden.devices.curves.scale import student
from eden.devices.device import Device
from eden.devices.fitting.settings import FitSettings
from eden.devices.likelihoods.odds import logistic, logit
from eden.devices.partition import Answer, OperatingPoint, as_harsh, axis, off_nominal, sort_key
from eden.measurements.campaign import Campaign, Condition, Reading
from eden.measurements.damage import MAX_DAMAGED
from eden.measurements.tested import Tested

Counts = tuple[tuple[float, float], ...]
_Rates = tuple[float, float, float]


@dataclass(frozen=True)
class CheckedCondition:
    """The readings of one operating point and stored pattern, beside what the device says of them.

    Attributes:
        point: the operating point.
        where: what of it is off nominal, and the temperature, in words.
        pattern: what was stored: ``"zeros"``, ``"ones"`` or the byte of a pattern of both.
        readings: their number.
        cells: of all readings together.
        rate: errors by cells, over all of them.
        expected: the device's rate.
        low: lower end of the interval that the rate of so many readings is in with 95%.
        high: its upper end.
        upper: the rate that ``eden.place`` goes by for the whole module, as high as what was measured leaves it.
        inside: how many readings are in the interval of a single one.
        basis: what the device's answer rests on, as of ``Answer``.
        regimes: whether the readings mix two regimes.

    """

    point: OperatingPoint
    where: str
    pattern: str
    readings: int
    cells: float
    rate: float
    expected: float
    low: float
    high: float
    upper: float
    inside: int
    basis: str
    regimes: bool

    @property
    def is_of_one_value(self) -> bool:
        """Whether all cells stored the same."""
        return not self.pattern.startswith("0x")

    @property
    def verdict(self) -> Literal["inside", "above", "below"]:
        """Where the rate lies."""
        return "above" if self.rate > self.high else "below" if self.rate < self.low else "inside"

    @property
    def factor(self) -> float | None:
        """The rate by what was expected; infinite for errors where none were; None where nothing failed."""
        if self.rate == 0.0:
            return None
        return self.rate / self.expected if self.expected > 0.0 else math.inf

    @property
    def margin(self) -> float:
        """The factor of ``Device.with_margin`` with which the rate is no higher than ``upper``."""
        if self.upper <= 0.0:
            return math.inf if self.rate > 0.0 else 1.0
        if self.rate >= 1.0 or self.upper >= 1.0:
            return max(1.0, self.rate / self.upper)
        # Upper ends are raised on the log-odds scale: their odds rise by no less than rates are multiplied with.
        return max(1.0, self.rate * (1.0 - self.upper) / (self.upper * (1.0 - self.rate)))

    @property
    def remarks(self) -> str:
        """The verdict, and what stands against it."""
        also = (("two regimes", self.regimes), ("nothing known", self.nothing_known))
        return ", ".join([self.verdict, *(text for text, said in also if said)])

    @property
    def nothing_known(self) -> bool:
        """Whether the interval is so wide that it says nothing but its upper end."""
        return self.expected > 0.0 and self.low < self.high * 10.0**-UNTOLD_DECADES


@dataclass(frozen=True)
class Check:
    """What became of a device's predictions. Made by ``check``.

    Attributes:
        device: its name.
        readings: the file and module that it was held against.
        conditions: those that the device answers for, from mild to harsh.
        untold: those that it refuses to answer for, each with the reason.

    """

    device: str
    readings: str
    conditions: tuple[CheckedCondition, ...]
    untold: tuple[tuple[str, str], ...]

    @property
    def failing(self) -> tuple[CheckedCondition, ...]:
        """The conditions with errors, in the readings or by the device, of zeros and ones: those that tell something.

        Patterns of both are bounded by the worst one that the device knows, and told by none.
        """
        return tuple(one for one in self.conditions if one.is_of_one_value and (one.rate > 0.0 or one.expected > 0.0))

    @property
    def coverage(self) -> float | None:
        """Share of the conditions with errors whose rate is inside its 95% interval; None if there are none."""
        found = self.failing
        return sum(one.verdict == "inside" for one in found) / len(found) if found else None

    @property
    def readings_inside(self) -> float | None:
        """Share of the single readings of these conditions that are inside theirs; None if there are none."""
        found = self.failing
        return sum(one.inside for one in found) / sum(one.readings for one in found) if found else None

    @property
    def factors(self) -> tuple[float, float, float] | None:
        """How far rates are off, as factors of 1 or more either way: the median, nine of ten, the largest."""
        off = sorted(
            math.inf if one.factor is None or math.isinf(one.factor) else max(one.factor, 1.0 / one.factor)
            for one in self.failing
            if one.rate > 0.0
        )
        if not off:
            return None
        return off[(len(off) - 1) // 2], off[math.ceil(0.9 * len(off)) - 1], off[-1]

    @property
    def too_low(self) -> tuple[CheckedCondition, ...]:
        """Conditions that fail at a higher rate than ``eden.place`` takes."""
        return tuple(one for one in self.conditions if one.rate > one.upper)

    @property
    def margin(self) -> float:
        """The factor of ``Device.with_margin`` with which no condition is too low; infinite where none helps."""
        return max((one.margin for one in self.too_low), default=1.0)

    def summary(self) -> str:
        """What was found, in sentences."""
        found, total = self.failing, sum(one.readings for one in self.conditions)
        lines = [f"{self.device} against {self.readings}: {len(self.conditions)} conditions, {total} readings"]
        if found:
            verdicts = [one.verdict for one in found]
            lines.append(
                f"{verdicts.count('inside')} of {len(found)} conditions with errors are inside their 95% interval "
                f"({self.coverage:.0%}); {verdicts.count('above')} above, {verdicts.count('below')} below"
            )
            lines.append(f"{self.readings_inside:.0%} of their single readings are inside that of one reading")
            mixed = sum(one.regimes for one in found)
            if mixed:
                lines.append(f"the readings of {mixed} of them mix two regimes, which no interval of one rate can hold")
        if (off := self.factors) is not None:
            median, most, worst = (f"{value:.3g}" for value in off)
            lines.append(
                f"rates are off by a factor of {median} in the median, {most} in nine of ten, {worst} at the most"
            )
        both = [one for one in self.conditions if not one.is_of_one_value and one.rate > 0.0]
        if both:
            inside = sum(one.verdict == "inside" for one in both)
            lines.append(
                f"patterns of zeros and ones: {inside} of {len(both)} conditions are between what zeros and ones alone "
                "say and the worst pattern that the device knows"
            )
        silent = sum(one.rate == one.expected == 0.0 for one in self.conditions)
        if silent:
            lines.append(f"{silent} conditions have no errors, as the device says")
        blind = [one for one in found if one.nothing_known]
        if blind:
            places = ", ".join(dict.fromkeys(one.where for one in blind))
            lines.append(
                f"nothing is known of {len(blind)} conditions but an upper end: their intervals span "
                f"{UNTOLD_DECADES:g} decades or more ({places})"
            )
        lines.append(self._too_low_text())
        reasons: dict[str, list[str]] = {}
        for condition, reason in self.untold:
            reasons.setdefault(reason, []).append(condition)
        lines += [f"not told ({len(places)}): {places[0]}: {reason}" for reason, places in reasons.items()]
        return "\n".join([lines[0], *(f"  {line}" for line in lines[1:])])

    def _too_low_text(self) -> str:
        if not self.conditions:
            return "the device answers for none of them"
        if not self.too_low:
            return "no condition fails at a higher rate than eden place takes"
        worst = max(self.too_low, key=lambda one: one.margin)
        text = (
            f"{len(self.too_low)} conditions fail at a higher rate than eden place takes, most of all {worst.where}, "
            f"{worst.pattern}: {worst.rate:.3g} for {worst.upper:.3g}"
        )
        if math.isinf(self.margin):
            return f"{text}; no margin holds that, since the device has no errors there: fit it to these readings, too"
        return f"{text}; a margin of {self.margin:.3g} holds them (eden place --margin)"

    def table(self) -> str:
        """The summary and the conditions as text."""
        if not self.conditions:
            return self.summary()
        header = ("condition", "stored", "readings", "rate", "expected", "95% interval", "", "factor", "eden place")
        rows = [
            (
                one.where,
                one.pattern,
                str(one.readings),
                f"{one.rate:.3g}",
                f"{one.expected:.3g}",
                f"[{one.low:.3g}, {one.high:.3g}]",
                one.remarks,
                "none" if one.factor is None else f"{one.factor:.3g}",
                f"{one.upper:.3g}",
            )
            for one in self.conditions
        ]
        return f"{self.summary()}\n\n{text_table(header, rows)}"


def check(
    device: Device,
    readings: str | os.PathLike[str] | Campaign,
    format: str | None = None,
    module: str | None = None,
    *,
    at: Condition | None = None,
    tested: Tested | None = None,
    confidence: float = 0.975,
    modules: float = 0.95,
    max_damaged: float = MAX_DAMAGED,
) -> Check:
    """How a device predicts readings that it was not fitted to, such as those of a later session or of another module.

    The interval of a condition is the device's, widened by what as many further readings vary by: their dispersion, as
    the device knows it, and chance. For a vendor's device, whose intervals are of a module that nobody measured, it is
    the device's own. What readings do not state of their conditions is nominal.

    Args:
        device: fitted, or of the catalogue.
        readings: a file of measurements, or what ``eden.measurements.readers.read`` gave. Errors of whole banks, or
            flips of cells with ``tested``.
        format: of the file; recognized from its first bytes if None.
        module: which module of a file that holds several.
        at: what the file does not state of its conditions, and the pattern that was stored.
        tested: which cells were tested, where the file does not tell it.
        confidence: of the rates that ``eden.place`` goes by, as of ``eden.placement.defaults.UpperRates``.
        modules: as of ``UpperRates``.
        max_damaged: share of damaged lines above which the file is an error.

    Raises:
        FileError: for a file that cannot be used.
        ValueError: for measurements that tell no bit error rates, and for arguments outside what is allowed.

    """
    if not isinstance(readings, Campaign):
        settings = FitSettings(format, module, at=at or Condition(), tested=tested or Tested(), max_damaged=max_damaged)
        readings = settings.read(readings)
    FitSettings.refuse_hammering(readings)
    (upper,), _ = device.upper_ends((device.whole,), confidence, modules)
    # Counts of zeros and ones of a mixed pattern are told apart by formats that name cells.
    told: dict[tuple[OperatingPoint, str, float], list[tuple[float, float]]] = {}
    for point, pattern, share, count in _counts(readings, device.nominal):
        told.setdefault((point, pattern, share), []).append(count)
    checked, untold = [], []
    order = sorted(told, key=lambda key: (*sort_key(device.nominal, key[0]), key[2], key[1]))
    for point, pattern, share in order:
        counts = tuple(told[point, pattern, share])
        asked = {name: getattr(point, name) for name in OperatingPoint.model_fields}
        try:
            answer, highest = device.whole.point(**asked), upper.errors(**asked)
        except ValueError as error:
            untold.append((f"{_where(device, point)}, {pattern}", str(error)))
            continue
        taken = (1.0 - share) * highest.ber_zero + share * highest.ber_one
        checked.append(_checked(device, answer, point, pattern, share, counts, taken))
    name = f"{readings.path.name}, module {readings.module}"
    return Check(device.name, name, tuple(checked), tuple(untold))


def _counts(
    campaign: Campaign, nominal: OperatingPoint
) -> Iterator[tuple[OperatingPoint, str, float, tuple[float, float]]]:
    """By reading: its operating point, what was stored, the share of ones, and (errors, cells) of the module."""

    def point_of(stated: Reading | Condition) -> OperatingPoint:
        given = {name: getattr(stated, name) for name in OperatingPoint.model_fields}
        known = {name: value for name, value in given.items() if value is not None and not math.isnan(value)}
        return nominal.model_copy(update=known)

    if campaign.readings:
        for reading in campaign.readings:
            if reading.tested:
                cells = float(reading.tested * campaign.cells_per_bank)
                stored = {"zero": "zeros", "one": "ones"}.get(reading.stored, f"0x{reading.pattern:02x}")
                share = reading.pattern.bit_count() / 8
                yield point_of(reading), stored, share, (reading.total, cells)
        return
    if campaign.statistics is None:
        raise ValueError(
            f"{campaign.path.name} ({campaign.format}) tells no bit error rates; allowed are counts of whole banks, or "
            "flips of cells"
        )
    for entry in campaign.statistics.conditions:
        for value in entry.stored_values:
            sums: dict[int, list[float]] = {}
            for count in entry.counts(value):
                if count.cells is None or value is None:
                    what = "which value cells stored" if value is None else "which cells were tested"
                    raise ValueError(
                        f"{what} is not known of {campaign.path.name}; allowed is a file that tells it, or tested= "
                        "with banks, rows and row_bits, and the pattern of at="
                    )
                errors, cells = sums.setdefault(count.repeat, [0.0, 0.0])
                sums[count.repeat] = [errors + count.errors, cells + count.cells]
            stored = "ones" if value else "zeros"
            byte = entry.condition.pattern
            pattern = stored if byte in (None, "0x00", "0xff") else f"{stored} of {byte}"
            point = point_of(entry.condition)
            for errors, cells in sums.values():
                if cells:
                    yield point, pattern, float(bool(value)), (errors, cells)


def _checked(
    device: Device,
    answer: Answer,
    point: OperatingPoint,
    pattern: str,
    share: float,
    counts: Counts,
    taken: float,
) -> CheckedCondition:
    errors, cells = math.fsum(e for e, _ in counts), math.fsum(c for _, c in counts)
    floors, highs = (answer.zero[0], answer.one[0]), (answer.zero[1], answer.one[1])
    expected, worst = (answer.errors.ber_zero, answer.errors.ber_one), answer.worst_pattern
    if worst is not None and pattern in ("zeros", "ones"):
        expected, highs = (worst.zero.rate, worst.one.rate), (worst.zero.high, worst.one.high)
    if answer.basis.startswith("bound"):
        # An upper bound's own lower end bounds nothing: those of milder points do.
        fitted = (*device.whole.points, *device.whole.points_at_other_temperatures)
        milder = [one for one in fitted if one.temperature == point.temperature and as_harsh(point, one)]
        zero, one = (max((getattr(other, name)[0] for other in milder), default=0.0) for name in ("zero", "one"))
        floors = min(zero, floors[0]), min(one, floors[1])

    def mixed(zero: float, one: float) -> float:
        return (1.0 - share) * zero + share * one

    middle = mixed(*expected)
    rates = mixed(*floors), middle, max(mixed(*highs), middle)
    own = device.population is None or any(answer.readings)
    low, high = _interval(answer, rates, len(counts), cells, own)
    alone = [_interval(answer, rates, 1, held, own) for _, held in counts]
    return CheckedCondition(
        point=point,
        where=_where(device, point),
        pattern=pattern,
        readings=len(counts),
        cells=cells,
        rate=errors / cells,
        expected=middle,
        low=low,
        high=high,
        upper=taken,
        inside=sum(ends[0] <= e / c <= ends[1] for (e, c), ends in zip(counts, alone, strict=True)),
        basis=answer.basis,
        regimes=regimes(counts) is not None,
    )


def _where(device: Device, point: OperatingPoint) -> str:
    words = {"trcd": "tRCD", "trp": "tRP", "vdd": "VDD", "refresh_interval": "refresh", "tras": "tRAS"}
    off = [f"{words[name]} {getattr(point, name):g} {axis(name).unit}" for name in off_nominal(device.nominal, point)]
    return ", ".join([*(off or ["nominal"]), f"{point.temperature:g} °C"])


def _interval(answer: Answer, rates: _Rates, readings: int, cells: float, own: bool) -> tuple[float, float]:
    """The 95% interval of the rate of further readings: the device's and their spread, joined in squares.

    On the log-odds scale, as independent normal errors (Zou and Donner 2008). Ends below one error stay open.
    """
    low, middle, high = rates
    freedom = sum(answer.readings) - 2
    quantile = student(freedom) if answer.dispersion_fitted and freedom > 0 else student(math.inf)
    spread = quantile**2 * answer.dispersion / readings if own else 0.0

    def end(edge: float, sign: int) -> float:
        if not 0.0 < edge < 1.0:
            return edge
        centre = logit(middle) if 0.0 < middle < 1.0 else logit(edge)
        rate = middle if 0.0 < middle < 1.0 else edge
        chance = student(math.inf) ** 2 / max(cells * rate * (1.0 - rate), 1e-9)
        return logistic(centre + sign * math.sqrt((logit(edge) - centre) ** 2 + spread + chance))

    bottom, top = end(low, -1), end(high, 1)
    return (bottom if bottom * cells >= 1.0 else 0.0), top
