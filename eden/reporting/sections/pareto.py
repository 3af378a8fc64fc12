"""Energy against accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eden.accounting.results import Pareto
from eden.reporting.figures import COLOURS, new_figure, shares_on
from eden.reporting.section import Section, Table
from eden.reporting.text import count_text, fine_percent, percent, range_text, rate_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _figure(pareto: Pareto) -> Figure:
    figure, axes = new_figure()
    x = [point.max_drop for point in pareto.points]
    low = [point.energy_reduction_range[0] for point in pareto.points]
    high = [point.energy_reduction_range[1] for point in pareto.points]
    axes.fill_between(x, low, high, color=COLOURS[0], alpha=0.15, linewidth=0)
    axes.plot(x, [point.energy_reduction for point in pareto.points], "o", color=COLOURS[0], label="placements")
    front = pareto.front
    axes.step(
        [point.max_drop for point in front],
        [point.energy_reduction for point in front],
        where="post",
        color=COLOURS[1],
        label="best for this drop or a smaller one",
    )
    axes.set_xlabel("accuracy that may be lost (max_drop)")
    axes.set_ylabel("DRAM energy saved")
    for along in (axes.xaxis, axes.yaxis):
        shares_on(along)
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def section(pareto: Pareto, _: Mapping[str, Any]) -> Section:
    """The section."""
    table = Table(
        "Placements",
        ("max_drop", "coarse BER", "energy saved", "range", "speedup", "accuracy", "worst chip"),
        [
            (
                percent(point.max_drop, 2),
                rate_text(point.coarse),
                fine_percent(point.energy_reduction),
                range_text(*point.energy_reduction_range, percent),
                fine_percent(point.speedup),
                fine_percent(point.accuracy),
                fine_percent(point.worst),
            )
            for point in pareto.points
        ],
    )
    return Section(
        "Energy against accuracy",
        f"On {pareto.platform}; the band is the range over what is assumed. Accuracy as placed is a mean over "
        f"{count_text(pareto.chips, 'chip')}, beside {fine_percent(pareto.reference_accuracy)} on reliable memory.",
        lambda: _figure(pareto),
        "Energy saved against the accuracy that may be lost",
        [table],
    )
