"""Figures: how they look, how rates are labelled, and the bit error rates of a device as measured and as fitted."""

from __future__ import annotations

import io
import itertools
import math
import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eden.common.extras import require
from eden.common.files import atomic_path
from eden.devices.device import Device, Measured
from eden.devices.partition import axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from eden.devices.fitting import FitReport, PointFit
    from eden.devices.likelihoods import Goodness

# Okabe and Ito's colours, distinct under all common forms of colour blindness; the order keeps neighbours apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
NEUTRAL = "#7a7a7a"

STYLE: Any = {
    # Names of operands are no formulas.
    "text.parse_math": False,
    "svg.fonttype": "none",
    # The same data gives the same file.
    "svg.hashsalt": "eden",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": "#3c4043",
    "axes.edgecolor": "#9aa0a6",
    "axes.labelcolor": "#3c4043",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e6e8",
    "grid.linewidth": 0.6,
    "xtick.color": "#5f6368",
    "ytick.color": "#5f6368",
    "legend.frameon": False,
    "legend.fontsize": 8,
}


def styled() -> AbstractContextManager[None]:
    """Draw in the style of all figures. Raises ImportError, with the remedy, where matplotlib is not installed."""
    require("report")
    import matplotlib

    return matplotlib.rc_context(STYLE)


def rate_text(value: float) -> str:
    """A bit error rate as text: a decimal near 1, else a power of ten."""
    if value == 0.0:
        return "0"
    exponent = math.floor(math.log10(value) + 1e-9)
    if exponent >= -2:
        return f"{value:.3g}"
    return f"{value / 10**exponent:.2g} × 10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def new_figure(height: float = 3.4) -> tuple[Figure, Axes]:
    """An empty figure of one plot; its height is in inches."""
    # Without pyplot: no global figures, no window system.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.4, height), layout="constrained")
    return figure, figure.subplots()


def rates_on(axis: Axis, zero_at: float = 0.0) -> None:
    """Label a logarithmic axis; what is not above ``zero_at`` stands for 0."""
    axis.set_major_formatter(lambda value, _: "0" if value <= zero_at else rate_text(value).removeprefix("1 × "))

    def between_decades(value: float, _: float) -> str:
        low, high = sorted(axis.get_view_interval())
        digit = round(value / 10.0 ** math.floor(math.log10(value))) if value > 0 else 0
        # On a short axis the decades alone would leave nothing to read a bar by.
        return rate_text(value) if digit in (2, 5) and value > zero_at and high < 100 * max(low, zero_at) else ""

    axis.set_minor_formatter(between_decades)


def svg(figure: Figure, prefix: str) -> str:
    """The figure as an SVG element; its ids begin with ``prefix``, so that several fit into one page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure; the ending of the name says in which form (svg, pdf or png).

    Raises:
        FileError: if it cannot be written.
        ValueError: for another ending.

    """
    form = Path(path).suffix.lower().removeprefix(".")
    if form not in ("svg", "pdf", "png"):
        raise ValueError(f"{os.fspath(path)} ends in {form!r}; allowed are .svg, .pdf and .png")
    # The same data gives the same file.
    dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[form]
    with styled(), atomic_path(path) as temporary:
        figure.savefig(temporary, format=form, dpi=150, metadata=dated)


def _stored(row: Measured) -> str:
    """Which stored value a measured pattern tells of."""
    return {0x00: "zeros", 0xFF: "ones"}.get(int(row.pattern, 16), "mixed")


_LOOKS = {"zeros": (COLOURS[0], "o", -0.06), "ones": (COLOURS[1], "s", 0.06), "mixed": (NEUTRAL, "x", 0.0)}
"""Colour, marker and shift, as a share of a step between measured values, by what was stored."""


def device_figure(device: Device, parameter: str = "trcd", temperature: float | None = None) -> Figure:
    """Bit error rates of a whole module along one parameter, all others nominal: measured, and as ``errors`` has them.

    Args:
        device: what is drawn.
        parameter: trcd, trp, vdd or refresh_interval.
        temperature: in degrees Celsius; the device's if None.

    Raises:
        ValueError: for another parameter or a temperature that was not measured.

    """
    with styled():
        figure, axes = new_figure()
        _draw_device(axes, device, parameter, temperature)
    return figure


def _draw_device(axes: Axes, device: Device, parameter: str, temperature: float | None) -> None:
    along = axis(parameter)
    sweep = device.curve(parameter, temperature)
    rows = device.measured_curve(parameter, temperature)
    rates = [row.rate for row in rows if row.rate > 0]
    rates += [rate for point in sweep for rate in (point.errors.ber_zero, point.errors.ber_one) if rate > 0]
    floor = 10 ** math.floor(math.log10(min(rates, default=1e-9)) - 1)
    at = sorted({getattr(row, parameter) for row in (*rows, *sweep)})
    step = min((after - before for before, after in itertools.pairwise(at)), default=1.0)
    for value in ("zeros", "ones"):
        fitted = [point.errors.ber_zero if value == "zeros" else point.errors.ber_one for point in sweep]
        axes.plot(
            [getattr(point, parameter) for point in sweep],
            [max(rate, floor) for rate in fitted],
            color=_LOOKS[value][0],
            # As Device.errors has it: between two measured values the harsher one's rate.
            drawstyle="steps-pre",
            label=f"fit, {value}",
        )
    chosen = device.nominal.temperature if temperature is None else temperature
    for curve in device.whole.curves:
        if (curve.parameter, curve.temperature) == (parameter, chosen) and curve.mildest > curve.harshest:
            steps = [curve.mildest + i / 50 * (curve.harshest - curve.mildest) for i in range(51)]
            axes.plot(
                steps,
                [max(curve.rate(latency), floor) for latency in steps],
                color=_LOOKS[f"{curve.stored}s"][0],
                linestyle=":",
                linewidth=1,
                label=f"curve, {curve.stored}s",
            )
    for value, (colour, marker, shift) in _LOOKS.items():
        mine = [row for row in rows if _stored(row) == value]
        if mine:
            axes.errorbar(
                [getattr(row, parameter) + shift * step for row in mine],
                [max(row.rate, floor) for row in mine],
                yerr=[
                    [max(row.rate, floor) - max(row.low, floor) for row in mine],
                    [max(row.high, floor) - max(row.rate, floor) for row in mine],
                ],
                fmt=marker,
                color=colour,
                capsize=2.5,
                markersize=5,
                label=f"measured, {value}",
            )
    axes.set_yscale("log")
    axes.set_ylim(floor * 0.6, 1.5)
    rates_on(axes.yaxis, zero_at=floor * 1.01)
    if along.harsher < 0:
        axes.invert_xaxis()
    axes.set_xlabel(f"{along.title} ({along.unit}); harsher to the right")
    axes.set_ylabel("bit error rate (BER)")
    axes.legend(loc="upper left", ncols=2)


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


def vendor_figure(devices: Sequence[Device], parameter: str = "trcd", columns: int = 3) -> Figure:
    """The figure of ``device_figure`` for several devices, one plot each.

    Args:
        devices: one or more.
        parameter: trcd, trp, vdd or refresh_interval.
        columns: plots side by side.

    Raises:
        ValueError: for no devices, or another parameter.

    """
    if not devices:
        raise ValueError("devices are none; allowed are one or more")
    with styled():
        from matplotlib.figure import Figure

        rows = -(-len(devices) // columns)
        figure = Figure(figsize=(3.6 * columns, 2.6 * rows), layout="constrained")
        plots = figure.subplots(rows, columns, squeeze=False)
        for i, axes in enumerate(plots.flat):
            if i >= len(devices):
                axes.set_visible(False)
                continue
            _draw_device(axes, devices[i], parameter, None)
            axes.set_title(devices[i].name, fontsize=9)
            axes.set_xlabel(f"{axis(parameter).title} ({axis(parameter).unit})" if i >= len(devices) - columns else "")
            axes.set_ylabel("bit error rate (BER)" if i % columns == 0 else "")
            legend = axes.get_legend()
            if i and legend is not None:
                legend.remove()
    return figure
