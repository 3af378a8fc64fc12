"""Curves along tRCD and tRP, of a module or of its banks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from eden import _core
from eden.devices.curves.curve import Curves
from eden.devices.curves.dispersion import is_told
from eden.devices.curves.fit import fit_conditions
from eden.devices.curves.rates import Axis, Condition
from eden.devices.margin import Margin
from eden.measurements.campaign import Campaign

_OTHER: dict[Axis, Axis] = {"trcd": "trp", "trp": "trcd"}


def campaign_conditions(
    campaign: Campaign,
    axis: Axis,
    temperature: float,
    *,
    bank: int | None = None,
    patterns: Iterable[int] = (0x00, 0xFF),
) -> dict[int, tuple[Condition, ...]]:
    """The readings along one latency, the other at its largest, by pattern.

    Args:
        campaign: the readings of one module.
        axis: which latency.
        temperature: in degrees Celsius.
        bank: one bank, or the sum of the tested ones if None.
        patterns: bytes stored everywhere.

    Raises:
        ValueError: for an axis that is none.

    """
    if axis not in _OTHER:
        raise ValueError(f"axis is {axis!r}; allowed are 'trcd' and 'trp'")
    other = _OTHER[axis]
    nominal = max((getattr(reading, other) for reading in campaign.readings), default=0.0)
    wanted = set(patterns)
    cells = float(campaign.cells_per_bank)
    found: dict[int, dict[float, list[tuple[float, float]]]] = {}
    for reading in campaign.readings:
        if reading.temperature != temperature or getattr(reading, other) != nominal or reading.pattern not in wanted:
            continue
        if bank is None:
            count = (reading.total, reading.tested * cells) if reading.tested else None
        else:
            errors = reading.errors[bank]
            count = None if errors is None else (errors, cells)
        if count is not None:
            found.setdefault(reading.pattern, {}).setdefault(getattr(reading, axis), []).append(count)
    return {
        pattern: tuple(Condition(at, tuple(readings)) for at, readings in sorted(places.items(), reverse=True))
        for pattern, places in found.items()
    }


def fit_latency(
    campaign: Campaign,
    axis: Axis = "trcd",
    temperature: float | None = None,
    *,
    bank: int | None = None,
    margin: Margin | None = None,
    lent: float | None = None,
    share: bool = True,
) -> Curves:
    """The rates of stored zeros and ones along one latency, the other nominal, of a module or of one bank.

    Args:
        campaign: the readings of one module.
        axis: ``"trcd"`` or ``"trp"``.
        temperature: in degrees Celsius; the highest one measured if None.
        bank: one bank; the module (the sum of the tested banks) if None.
        margin: as in ``fit_conditions``.
        lent: as in ``fit_conditions``; if None and nothing is repeated, the dispersion between banks.
        share: as in ``fit_conditions``.

    Raises:
        ValueError: where nothing was measured, or as ``fit_conditions`` does.

    """
    temperatures = sorted({reading.temperature for reading in campaign.readings})
    if not temperatures:
        raise ValueError(f"module {campaign.module} has no readings; allowed is one or more")
    chosen = temperatures[-1] if temperature is None else temperature
    conditions = campaign_conditions(campaign, axis, chosen, bank=bank)
    if not conditions:
        raise ValueError(
            f"module {campaign.module} has no readings of 0x0 or 0xff along {axis} at {chosen:g} C; measured are "
            f"{', '.join(f'{value:g}' for value in temperatures)} C"
        )
    groups = {name: conditions[byte] for name, byte in (("zero", 0x00), ("one", 0xFF)) if byte in conditions}
    return fit_conditions(groups, margin=margin, lent=_lent(campaign, groups) if lent is None else lent, share=share)


def fit_patterns(campaign: Campaign, axis: Axis, temperature: float) -> Curves:
    """The rates of the worst pattern of as many zeros as ones along one latency, the group ``"mixed"``.

    At each latency the readings of the pattern with the highest rate count.

    Raises:
        ValueError: where no such pattern was read.

    """
    halves = {reading.pattern for reading in campaign.readings if reading.pattern.bit_count() == 4}
    found: dict[float, list[Condition]] = {}
    for conditions in campaign_conditions(campaign, axis, temperature, patterns=halves).values():
        for condition in conditions:
            found.setdefault(condition.at, []).append(condition)
    if not found:
        raise ValueError(
            f"module {campaign.module} has no patterns of zeros and ones along {axis} at {temperature:g} C"
        )
    worst = tuple(max(found[at], key=lambda condition: condition.rate) for at in sorted(found, reverse=True))
    return fit_conditions({"mixed": worst}, lent=_lent(campaign, {"mixed": worst}), share=False)


def _lent(campaign: Campaign, groups: Mapping[str, Sequence[Condition]]) -> float | None:
    """The dispersion between banks, for groups that repeat nothing."""
    told = any(len(c.readings) > 1 and is_told(c.readings) for conditions in groups.values() for c in conditions)
    return None if told else _between_banks(campaign)


def fit_banks(
    campaign: Campaign,
    stored: Literal["zero", "one"],
    axis: Axis = "trcd",
    temperature: float | None = None,
    *,
    margin: Margin | None = None,
) -> Curves:
    """The rates of one stored value along one latency, a curve per bank, scale and asymptote shared if BIC says so.

    Banks of one reading share what that reading has in common, so that they tell less than as many independent ones:
    log-likelihoods are discounted by 1 + (banks - 1) r, r being the mean correlation of their log-odds within
    conditions (Kish, Survey Sampling, 1965, for the factor; Varin, Reid and Firth, Stat. Sinica 21, 2011, for composite
    likelihoods). Where nothing is shared, a bank's intervals are therefore wider than from that bank alone.

    Raises:
        ValueError: as ``fit_latency`` does.

    """
    temperatures = sorted({reading.temperature for reading in campaign.readings})
    chosen = temperatures[-1] if temperature is None else temperature
    byte = {"zero": 0x00, "one": 0xFF}[stored]
    groups = {}
    for bank in range(campaign.banks):
        conditions = campaign_conditions(campaign, axis, chosen, bank=bank, patterns=(byte,))
        if byte in conditions:
            groups[f"bank{bank}"] = conditions[byte]
    correlation = _correlation(campaign, axis, chosen, byte)
    discount = 1 / (1 + (len(groups) - 1) * correlation) if groups else 1.0
    return fit_conditions(groups, margin=margin, lent=_lent(campaign, groups), discount=discount)


def _correlation(campaign: Campaign, axis: Axis, temperature: float, byte: int) -> float:
    """Mean correlation between banks of the log-odds of a reading, about the mean of its condition; 0 to 1."""
    other = _OTHER[axis]
    nominal = max(getattr(reading, other) for reading in campaign.readings)
    cells = campaign.cells_per_bank
    rows: dict[float, list[list[float]]] = {}
    for reading in campaign.readings:
        if reading.temperature != temperature or reading.pattern != byte or getattr(reading, other) != nominal:
            continue
        if all(errors is not None and 0 < errors < cells for errors in reading.errors):
            odds = [math.log(errors) - math.log(cells - errors) for errors in reading.errors if errors is not None]
            rows.setdefault(getattr(reading, axis), []).append(odds)
    products, weights = 0.0, 0
    for readings in rows.values():
        if len(readings) < 3:
            continue
        table = np.array(readings)
        table = table[:, table.std(0) > 0]
        if table.shape[1] < 2:
            continue
        matrix = np.corrcoef(table.T)
        pairs = matrix[np.triu_indices(len(matrix), 1)]
        products += float(pairs.mean()) * len(readings)
        weights += len(readings)
    return min(max(products / weights, 0.0), 1.0) if weights else 1.0


def _between_banks(campaign: Campaign) -> float:
    """The largest dispersion between banks of one reading, for a campaign that repeats nothing."""
    cells = float(campaign.cells_per_bank)
    largest = 0.0
    for reading in campaign.readings:
        counts = [(errors, cells) for errors in reading.errors if errors is not None]
        if len(counts) > 1 and is_told(counts):
            largest = max(largest, _core.fit_dispersion([counts])[0])
    return largest
