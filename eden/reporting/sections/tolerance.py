"""What each operand tolerates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eden.common.checks import around
from eden.reporting.figures import COLOURS, NEUTRAL, new_figure, rates_on
from eden.reporting.section import Section, Table
from eden.reporting.text import drop_text, points_text, rate_text, size_text
from eden.tolerance.tolerance import Tolerance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_OPERANDS = 60
"""Operands that the figure shows; the table below it has them all."""


def _ordered(tolerance: Tolerance) -> list[tuple[str, float]]:
    """The operands with their limits, from the least to the most tolerant."""
    return sorted(tolerance.limits.items(), key=lambda item: (item[1], item[0]))


def _figure(tolerance: Tolerance) -> Figure:
    shown = _ordered(tolerance)[:MOST_OPERANDS]
    figure, axes = new_figure(height=1.1 + 0.19 * len(shown))
    lowest = min(*(limit for _, limit in shown), tolerance.coarse) / 3 or 1e-9
    for kind, colour in (("weight", COLOURS[0]), ("input", COLOURS[4])):
        rows = [i for i, (name, _) in enumerate(shown) if tolerance.kinds[name] == kind]
        axes.barh(rows, [shown[i][1] - lowest for i in rows], left=lowest, color=colour, height=0.72, label=kind)
    if tolerance.alone:
        found = [tolerance.alone[name] for name, _ in shown]
        rates = [alone.rate for alone in found]
        ends = [around((alone.low, alone.high), alone.rate) for alone in found]
        off = [[rate - low for rate, (low, _) in zip(rates, ends, strict=True)]]
        off += [[high - rate for rate, (_, high) in zip(rates, ends, strict=True)]]
        axes.errorbar(
            rates, range(len(shown)), xerr=off, fmt="|", color=NEUTRAL, linewidth=0.8, capsize=1.5, label="alone, 90%"
        )
    if tolerance.coarse > 0:
        axes.axvline(tolerance.coarse, color=NEUTRAL, linestyle="--", label=f"coarse, {rate_text(tolerance.coarse)}")
    axes.set_xscale("log")
    axes.set_xlim(left=lowest)
    axes.set_yticks(range(len(shown)), [name for name, _ in shown], fontsize=7.5)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    rates_on(axes.xaxis)
    axes.set_xlabel("highest tolerated bit error rate (BER)")
    figure.legend(loc="outside upper right", ncols=4)
    return figure


def section(tolerance: Tolerance, _: Mapping[str, Any]) -> Section:
    """The section."""
    ordered = _ordered(tolerance)
    heads = ["operand", "kind", "size", "tolerated BER"]
    rows_of = [
        [name, tolerance.kinds[name], size_text(tolerance.bytes[name]), rate_text(limit)] for name, limit in ordered
    ]
    if tolerance.alone:
        heads += ["alone", "90% interval", "drop per BER"]
        for cells in rows_of:
            alone = tolerance.alone[cells[0]]
            cells += [
                rate_text(alone.rate),
                f"{rate_text(alone.low)} to {rate_text(alone.high)}",
                f"{tolerance.sensitivity[cells[0]]:.2g}",
            ]
    shown = tolerance.limits_certificate or tolerance.coarse_certificate
    table = Table("Operands from the least to the most tolerant", heads, rows_of)
    cut = f" The figure shows the {MOST_OPERANDS} least tolerant." if len(ordered) > MOST_OPERANDS else ""
    beside = (
        f" Bars in grey, and the last columns, are estimates of the BER at which an operand alone would lose "
        f"{points_text(tolerance.max_drop)}, all others on nearly reliable memory."
        if tolerance.alone
        else ""
    )
    return Section(
        "Tolerance per operand",
        f"Highest mean BER of each operand at which, with all others at theirs, the {drop_text(tolerance)} is at most "
        f"{points_text(tolerance.max_drop)}. The dashed line is the coarse BER, the same for all.{beside}{cut}",
        lambda: _figure(tolerance),
        "Tolerated bit error rate of each operand on a logarithmic axis",
        [table],
        tuple(filter(None, (shown.account, tolerance.claim))),
    )
