"""Bit error rates of a device, or of several side by side, as measured and as fitted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from eden.devices.device import Device, Measured
from eden.devices.partition import axis
from eden.reporting.figures import COLOURS, NEUTRAL, new_figure, rates_on, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
