"""Bit error rates of a device, or of several side by side, as measured and as fitted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from eden.devices.device import Device, Measured
from eden.devices.partition import AXES, FittedPoint, axis, off_nominal
from eden.reporting.figures import COLOURS, NEUTRAL, new_figure, rates_on, styled, tip
from eden.reporting.text import point_text, rate_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _stored(row: Measured) -> str:
    """Which stored value a measured pattern tells of."""
    return {0x00: "zeros", 0xFF: "ones"}.get(int(row.pattern, 16), "mixed")


_LOOKS = {"zeros": (COLOURS[0], "o", -0.06), "ones": (COLOURS[1], "s", 0.06), "mixed": (NEUTRAL, "x", 0.0)}
"""Colour, marker and shift, as a share of a step between measured values, by what was stored."""


def swept(device: Device, temperature: float | None = None) -> tuple[str, ...]:
    """The parameters along which a device tells rates, all others nominal: measured, or of a vendor's voltages."""
    found = []
    for along in AXES:
        if getattr(device.nominal, along.name) is None:
            continue
        known = (*device.curve(along.name, temperature), *device.measured_curve(along.name, temperature))
        voltages = along.name == "vdd" and device.voltage is not None
        if voltages or any(off_nominal(device.nominal, point) for point in known):
            found.append(along.name)
    return tuple(found)


def device_figure(device: Device, parameter: str | None = None, temperature: float | None = None) -> Figure:
    """Bit error rates of a whole module along one parameter, all others nominal: measured, and as ``errors`` has them.

    Args:
        device: what is drawn.
        parameter: trcd, trp, vdd, refresh_interval or tras; if None each that was swept, a plot for each, or, where
            there are only points off nominal in several, those by themselves.
        temperature: in degrees Celsius; the device's if None.

    Raises:
        ValueError: for another parameter or a temperature that was not measured.

    """
    with styled():
        chosen = swept(device, temperature) if parameter is None else (parameter,)
        if not chosen:
            return _points_figure(device)
        if len(chosen) == 1:
            figure, axes = new_figure()
            _draw_device(axes, device, chosen[0], temperature)
            return figure
        from matplotlib.figure import Figure

        rows = -(-len(chosen) // 2)
        figure = Figure(figsize=(7.4, 0.3 + 2.7 * rows), layout="constrained")
        plots = figure.subplots(rows, 2, squeeze=False)
        handles: dict[str, Any] = {}
        for axes, name in itertools.zip_longest(plots.flat, chosen):
            if name is None:
                axes.set_axis_off()
                continue
            _draw_device(axes, device, name, temperature)
            axes.set_xlabel(axes.get_xlabel().removesuffix("; harsher to the right"))
            drawn, labels = axes.get_legend_handles_labels()
            handles |= dict(zip(labels, drawn, strict=True))
            if (legend := axes.get_legend()) is not None:
                legend.remove()
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=4)
    return figure


def _points_figure(device: Device) -> Figure:
    """The rates of a module's points, one below the other, where no parameter was swept by itself."""
    points: list[FittedPoint] = sorted(device.whole.points[1:], key=lambda point: point.errors.ber)[-40:]
    figure, axes = new_figure(height=1.2 + 0.22 * max(len(points), 1))
    rates = [rate for point in points for rate in (point.errors.ber_zero, point.errors.ber_one) if rate > 0]
    floor = 10 ** math.floor(math.log10(min(rates, default=1e-9)) - 1)
    for value in ("zeros", "ones"):
        colour, marker, shift = _LOOKS[value]
        stored = value.removesuffix("s")
        middle = [max(getattr(point.errors, f"ber_{stored}"), floor) for point in points]
        ends = [getattr(point, stored) for point in points]
        off = [[max(m - max(low, floor), 0.0) for m, (low, _) in zip(middle, ends, strict=True)]]
        off += [[max(max(high, floor) - m, 0.0) for m, (_, high) in zip(middle, ends, strict=True)]]
        at = [row + 2 * shift for row in range(len(points))]
        axes.errorbar(middle, at, xerr=off, fmt=marker, color=colour, markersize=4, capsize=2, label=f"fit, {value}")
        for point, x, y in zip(points, middle, at, strict=True):
            tip(axes, x, y, f"{point_text(device.nominal, point)}, {value}: {rate_text(x)}")
    axes.set_yticks(range(len(points)), [point_text(device.nominal, point) for point in points], fontsize=7)
    axes.set_xscale("log")
    rates_on(axes.xaxis, zero_at=floor * 1.01)
    axes.set_xlabel("bit error rate (BER)")
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def _draw_device(axes: Axes, device: Device, parameter: str, temperature: float | None) -> None:
    along = axis(parameter)
    sweep = device.curve(parameter, temperature)
    rows = device.measured_curve(parameter, temperature)
    rates = [row.rate for row in rows if row.rate > 0]
    rates += [rate for point in sweep for rate in (point.errors.ber_zero, point.errors.ber_one) if rate > 0]
    voltages = device.voltage.rows if parameter == "vdd" and device.voltage is not None else ()
    rates += [row.ber for row in voltages if row.ber > 0]
    floor = 10 ** math.floor(math.log10(min(rates, default=1e-9)) - 1)
    at = sorted({getattr(row, parameter) for row in (*rows, *sweep)})
    step = min((after - before for before, after in itertools.pairwise(at)), default=1.0)
    if voltages:
        x = [row.vdd for row in voltages]
        low, middle, high = ([max(getattr(row, name), floor) for row in voltages] for name in ("low", "ber", "high"))
        axes.fill_between(x, low, high, step="pre", color=COLOURS[2], alpha=0.15, linewidth=0)
        axes.plot(x, middle, color=COLOURS[2], marker="d", drawstyle="steps-pre", label="vendor's modules")
        for known in voltages:
            said = f"{known.vdd:g} V: {rate_text(known.ber)}, up to {rate_text(known.high)}"
            tip(axes, known.vdd, max(known.ber, floor), said)
    for value in ("zeros", "ones") if len(sweep) > 1 else ():
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
        if (curve.parameter, curve.temperature) == (parameter, chosen) and curve.mildest != curve.harshest:
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
            for row in mine:
                said = f"{getattr(row, parameter):g} {along.unit}, {row.pattern}: {rate_text(row.rate)}"
                said += f" [{rate_text(row.low)}, {rate_text(row.high)}], {row.readings} readings"
                tip(axes, getattr(row, parameter) + shift * step, max(row.rate, floor), said)
    axes.set_yscale("log")
    axes.set_ylim(floor * 0.6, 1.5)
    rates_on(axes.yaxis, zero_at=floor * 1.01)
    if along.harsher < 0:
        axes.invert_xaxis()
    elif at and at[0] > 0 and at[-1] > 8 * at[0]:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(f"{along.title} ({along.unit}); harsher to the right")
    axes.set_ylabel("bit error rate (BER)")
    axes.legend(loc="upper left", ncols=2)


def vendor_figure(devices: Sequence[Device], parameter: str = "trcd", columns: int = 3) -> Figure:
    """The figure of ``device_figure`` for several devices, one plot each.

    Args:
        devices: one or more.
        parameter: trcd, trp, vdd, refresh_interval or tras.
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
