"""How often each count occurred at the operating points of a fit, beside what its model expects."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from eden.reporting.figures import COLOURS, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from eden.devices.fitting import FitReport, PointFit
    from eden.devices.likelihoods import Goodness


_TESTED = {
    "bitline": ("cells that failed on a bitline", "bitlines"),
    "wordline": ("cells that failed on a wordline", "wordlines"),
    "reads": ("reads of a cell that failed", "cells"),
}


def goodness_figure(report: FitReport) -> Figure:
    """How often each count occurred at the operating points of a fit of flips, beside what its model expects.

    A panel for each test that had enough counts: lines by the number of their cells that failed, or cells by the number
    of their reads that failed. Counts that are too rare to test alone are drawn as one class.

    Args:
        report: of a fit of flips, made by ``eden.devices.fitting.analyse``.

    Raises:
        ValueError: for a fit of which nothing was tested.

    """
    panels = [(fit, test, stored) for fit in report.fits for test in fit.tests for stored in _stored_of(test)]
    if not panels:
        raise ValueError(f"nothing of {report.device.name} was tested; allowed are fits of flips with enough errors")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with styled():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.4, 2.6 * rows + 0.3), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, panel in itertools.zip_longest(grid.flat, panels):
            if panel is None:
                axes.set_axis_off()
            else:
                _draw_goodness(axes, *panel)
        grid.flat[0].legend(loc="upper right")
    return figure


def _stored_of(test: Goodness) -> list[str]:
    return list(dict.fromkeys(one.stored for one in test.bins))


def _draw_goodness(axes: Axes, fit: PointFit, test: Goodness, stored: str) -> None:
    bins = [one for one in test.bins if one.stored == stored]
    sizes = {one.size for one in bins}
    names = [
        (f"{one.low}" if one.low == one.high else f"{one.low} to {one.high}")
        + (f" of {one.size}" if len(sizes) > 1 else "")
        for one in bins
    ]
    places = list(range(len(bins)))
    axes.bar(places, [one.observed for one in bins], width=0.8, color=COLOURS[5], label="observed")
    axes.plot(places, [one.expected for one in bins], "o", color=COLOURS[1], markersize=4, label="expected")
    axes.set_yscale("symlog", linthresh=1.0)
    axes.set_ylim(bottom=0.0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    step = -(-len(bins) // 6)
    axes.set_xticks(places[::step], names[::step], rotation=30, ha="right", rotation_mode="anchor")
    what, of = _TESTED[test.of]
    axes.set_xlabel(what)
    axes.set_ylabel(of)
    kind = {"zero": "zeros", "one": "ones"}.get(stored, "cells")
    axes.set_title(f"{fit.point}\nstored {kind}: p = {test.p_value:.3g}", fontsize=6.5, loc="left")
