"""Partitions and operating points of the operands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eden.devices.device import Device
from eden.devices.partition import OperatingPoint
from eden.placement.placement import PlacedPartition, Placement
from eden.reporting.figures import COLOURS, NEUTRAL, new_figure, shares_on, tip
from eden.reporting.section import Section, Table
from eden.reporting.text import count_text, percent, point_text, range_text, rate_text, size_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def point_shares(placement: Placement) -> dict[str, int]:
    """Bytes of operands at each operating point, from the most to the least aggressive."""
    shares: dict[str, int] = {}
    for name, operand in placement.operands.items():
        label = _point_label(placement, placement.point_of(name))
        shares[label] = shares.get(label, 0) + operand.bytes
    order = {label: i for i, label in enumerate(_point_labels(placement))}
    return dict(sorted(shares.items(), key=lambda item: order[item[0]]))


def _point_labels(placement: Placement) -> list[str]:
    """Operating points in use, the most aggressive first."""
    points = [part.operating_point for part in placement.partitions.values() if part.used_bytes]
    ordered = sorted(
        points,
        key=lambda one: (one.vdd, one.trcd + one.trp, one.trcd, one.trp, -one.refresh_interval, one.tras or 0.0),
    )
    return list(dict.fromkeys(_point_label(placement, point) for point in ordered))


def _point_label(placement: Placement, point: OperatingPoint) -> str:
    return point_text(placement.nominal, point, every=True)


def _figure(placement: Placement) -> Figure:
    import matplotlib
    import matplotlib.colors
    import matplotlib.patches

    total = sum(operand.bytes for operand in placement.operands.values())
    used = [name for name, partition in placement.partitions.items() if partition.used_bytes]
    labels = _point_labels(placement)
    # They are in order, from the most to the least aggressive point: more of them than there are colours get shades.
    palette = (
        COLOURS
        if len(labels) <= len(COLOURS)
        else [matplotlib.colormaps["viridis"](i / len(labels)) for i in range(len(labels))]
    )
    colour_of = {
        label: NEUTRAL if label.endswith("(nominal)") else matplotlib.colors.to_hex(palette[i])
        for i, label in enumerate(labels)
    }
    figure, axes = new_figure(height=1.6 + 0.32 * len(used))
    left = [0.0] * len(used)
    for kind, paleness in (("weight", 0.0), ("input", 0.5)):
        widths = [placement.bytes_in(name, kind) / total for name in used]
        colours = []
        for name in used:
            label = _point_label(placement, placement.partitions[name].operating_point)
            red, green, blue = matplotlib.colors.to_rgb(colour_of[label])
            colours.append(tuple(part + (1 - part) * paleness for part in (red, green, blue)))
        axes.barh(used, widths, left=left, color=colours, height=0.66, edgecolor="white", linewidth=0.6)
        for row, (name, start, width) in enumerate(zip(used, left, widths, strict=True)):
            tip(axes, start + width / 2, row, f"{name}: {width:.1%} of the bytes, {kind}s")
        left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.set_xlabel("share of the operands' bytes (solid: weights, pale: inputs)")
    shares_on(axes.xaxis)
    axes.set_xlim(0, max(left) * 1.02)
    axes.invert_yaxis()
    handles = [matplotlib.patches.Patch(color=colour, label=label) for label, colour in colour_of.items()]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def _rates(device: Device | None, name: str, part: PlacedPartition) -> tuple[str, str, str]:
    """Zeros' and ones' rates as measured, each with its interval, and the readings behind them, where it is known."""
    if device is None:
        return "?", "?", "?"
    asked = {field: getattr(part.operating_point, field) for field in OperatingPoint.model_fields}
    try:
        where = device.whole if name == device.whole.name else device.partition(name)
        answer = where.point(**asked, between="curve")
    except ValueError:
        return "?", "?", "?"
    zero, one = (
        f"{rate_text(rate)} [{range_text(low, high, rate_text)}]"
        for rate, (low, high) in ((answer.errors.ber_zero, answer.zero), (answer.errors.ber_one, answer.one))
    )
    readings = f"{answer.readings[0]} and {answer.readings[1]}" if any(answer.readings) else answer.basis
    return zero, one, readings


def section(placement: Placement, others: Mapping[str, Any]) -> Section:
    """The section."""
    total = sum(operand.bytes for operand in placement.operands.values())
    device = others.get("device")
    partitions = Table(
        "Partitions in use",
        (
            *("partition", "VDD (V)", "tRCD (ns)", "tRP (ns)", "refresh (ms)"),
            *(("tRAS (ns)",) if placement.nominal.tras is not None else ()),
            "BER taken",
            *(("zeros, 95% interval", "ones, 95% interval", "readings") if device is not None else ()),
            *("used", "capacity", "share of bytes"),
        ),
        [
            (
                name,
                f"{part.operating_point.vdd:g}",
                f"{part.operating_point.trcd:g}",
                f"{part.operating_point.trp:g}",
                f"{part.operating_point.refresh_interval:g}",
                *(() if part.operating_point.tras is None else (f"{part.operating_point.tras:g}",)),
                rate_text(part.errors.ber),
                *(_rates(device, name, part) if device is not None else ()),
                size_text(part.used_bytes),
                size_text(part.capacity_bytes),
                percent(placement.bytes_in(name) / total),
            )
            for name, part in placement.partitions.items()
            if part.used_bytes
        ],
    )
    operands = Table(
        "Operands",
        ("operand", "kind", "size", "tolerated BER", "BER met", "partition", "first byte"),
        [
            (name, o.kind, size_text(o.bytes), rate_text(o.limit), rate_text(o.met), o.home, f"{o.address_bytes:,}")
            for name, o in placement.operands.items()
        ],
    )
    unused = [part for part in placement.partitions.values() if not part.used_bytes]
    within = all(part.operating_point == placement.nominal for part in unused)
    if len(unused) == 1:
        hold, how = "holds", "stays within specification" if within else "runs as the supply that it shares"
    else:
        hold, how = "hold", "stay within specification" if within else "run as the supplies that they share"
    rest = f" {count_text(len(unused), 'partition')} {hold} no operand and {how}." if unused else ""
    return Section(
        "Placement by partition",
        f"Every operand lies in a partition whose BER it tolerates. BER taken: {placement.rates}.{rest}",
        lambda: _figure(placement),
        "Share of the operands' bytes in each partition, coloured by operating point",
        [partitions, operands],
        tuple(dict.fromkeys((*placement.notes, *filter(None, [placement.caution])))),
    )
