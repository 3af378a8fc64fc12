"""Accuracy against the bit error rate, one curve for each network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eden.reporting.accuracy import AccuracyCurves
from eden.reporting.figures import COLOURS, new_figure, rates_on, shares_on
from eden.reporting.section import Section, Table
from eden.reporting.text import percent, rate_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _figure(accuracy: AccuracyCurves) -> Figure:
    figure, axes = new_figure()
    rates = [point.ber for point in accuracy.points if point.ber > 0]
    # A curve of reliable memory alone has no rate but those that are tolerated.
    lowest = min(rates or [rate for rate in accuracy.tolerated.values() if rate > 0], default=1e-6)
    zero_at = 10.0 ** (math.floor(math.log10(lowest) + 1e-9) - 1)
    for i, label in enumerate(accuracy.labels):
        points = sorted((point for point in accuracy.points if point.label == label), key=lambda point: point.ber)
        x = [point.ber or zero_at for point in points]
        colour = COLOURS[i % len(COLOURS)]
        axes.fill_between(x, [p.low for p in points], [p.high for p in points], color=colour, alpha=0.18, linewidth=0)
        axes.plot(x, [p.mean for p in points], color=colour, marker="os^Dv"[i % 5], label=label)
        if label in accuracy.tolerated:
            tolerated = max(accuracy.tolerated[label], zero_at)
            axes.axvline(tolerated, color=colour, linestyle=":", linewidth=1.2)
    axes.set_xscale("log")
    # A logarithmic axis has no 0: reliable memory is drawn a decade below the lowest rate.
    rates_on(axes.xaxis, zero_at=zero_at * 1.01 if any(point.ber == 0 for point in accuracy.points) else 0.0)
    axes.set_xlabel("bit error rate (BER) of every operand")
    axes.set_ylabel("accuracy")
    shares_on(axes.yaxis)
    axes.set_ylim(0, min(1.02, 1.08 * max(point.high for point in accuracy.points)) or 1.02)
    axes.legend(loc="lower left")
    return figure


def section(accuracy: AccuracyCurves, _: Mapping[str, Any]) -> Section:
    """The section."""
    table = Table(
        "Accuracy over chips",
        ("network", "BER", "mean", "low", "high", "chips"),
        [
            (p.label, rate_text(p.ber), percent(p.mean), percent(p.low), percent(p.high), f"{p.chips}")
            for p in accuracy.points
        ],
    )
    dotted = " Dotted lines: the BER that the whole network tolerates." if accuracy.tolerated else ""
    return Section(
        "Accuracy against bit error rate",
        f"Mean over chips; the band is the {accuracy.spread}.{dotted}",
        lambda: _figure(accuracy),
        "Accuracy of each network against the bit error rate of its operands",
        [table],
    )
