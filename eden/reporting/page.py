"""The report: one self-contained HTML page on device, tolerance, placement and savings, with the files behind it."""

from __future__ import annotations

import datetime
import functools
import html
import math
import os
import platform as host
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from eden import _core
from eden.common.checks import around
from eden.common.extras import require
from eden.common.files import FileError, VersionedFile, output_folder, write_text
from eden.devices.device import Device
from eden.placement.placement import Placement
from eden.reporting.accuracy import AccuracyCurves
from eden.reporting.figures import COLOURS, NEUTRAL, device_figure, new_figure, rate_text, rates_on, styled, svg
from eden.tolerance.tolerance import Tolerance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from eden.accounting.results import Account, Pareto, Savings
    from eden.placement.map_file import MemoryMap

_Made = TypeVar("_Made")

MOST_OPERANDS = 60
"""Operands that the tolerance figure shows; the table below it has them all."""


@dataclass(frozen=True)
class _Table:
    """A table of the page; numbers are right-aligned."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[bool]


@dataclass(frozen=True)
class _Section:
    """A part of the page: what it shows, how to read it, and its tables."""

    anchor: str
    title: str
    text: str
    draw: Callable[[], Figure] | None = None
    alt: str = ""
    tables: Sequence[_Table] = ()
    notes: Sequence[str] = ()


class ReportError(RuntimeError):
    """A report that lacks something: its page is written, and says in the places what is not there and why.

    Attributes:
        page: the page.
        failed: by what is not there, why.

    """

    def __init__(self, page: Path, failed: Mapping[str, str]) -> None:
        what = "; ".join(f"{name}: {why}" for name, why in failed.items())
        super().__init__(f"{page} is written, but lacks {what}")
        self.page, self.failed = page, dict(failed)


MADE_BY = {
    "accuracy": "eden evaluate",
    "tolerance": "eden profile",
    "device": "eden fit, or a name of eden devices list",
    "placement": "eden place",
    "memory-map": "eden memory-map",
    "account": "eden account",
    "pareto": "eden run, with account.max_drops in its recipe",
    "savings": "eden savings",
}
"""The parts of a report in the order of the page, each with the command that makes its file."""


def file_kinds() -> dict[str, type[VersionedFile]]:
    """By part of a report the kind of its file, which is called ``<part>.json`` in a report's folder."""
    from eden.accounting.results import Account, Pareto, Savings
    from eden.placement.map_file import MemoryMap

    kinds: dict[str, type[VersionedFile]] = {"accuracy": AccuracyCurves, "tolerance": Tolerance, "device": Device}
    kinds |= {"placement": Placement, "memory-map": MemoryMap, "account": Account, "pareto": Pareto, "savings": Savings}
    return kinds


def paths_in(folder: str | os.PathLike[str]) -> dict[str, list[Path]]:
    """The files of a report that are in a folder, for ``read_parts``.

    Raises:
        FileError: for a folder without any.

    """
    found = {name: [path] for name in MADE_BY if (path := Path(folder) / f"{name}.json").exists()}
    if not found:
        names = ", ".join(f"{name}.json" for name in MADE_BY)
        raise FileError(folder, f"found nothing to report; allowed is a folder with one or more of {names}")
    return found


def read_parts(paths: Mapping[str, Sequence[Path]]) -> tuple[dict[str, Any], dict[str, str]]:
    """The parts of a report from their files, and by part why a file of it cannot be read.

    Args:
        paths: by part, a name of ``file_kinds``, its file; of "accuracy" one or more, whose curves are joined.

    """
    parts: dict[str, Any] = {}
    problems: dict[str, str] = {}
    kinds = file_kinds()
    for name, files in paths.items():
        read: list[Any] = []
        for path in files:
            try:
                read.append(kinds[name].load(path))
            except FileError as error:
                problems[name] = str(error)
        if read:
            parts[name] = AccuracyCurves.joined(read) if name == "accuracy" else read[-1]
    return parts, problems


def report(
    folder: str | os.PathLike[str],
    device: Device | None = None,
    tolerance: Tolerance | None = None,
    placement: Placement | None = None,
    savings: Savings | None = None,
    accuracy: AccuracyCurves | None = None,
    title: str = "EDEN report",
    *,
    memory_map: MemoryMap | None = None,
    account: Account | None = None,
    pareto: Pareto | None = None,
    lacks: Mapping[str, str] | None = None,
) -> Path:
    """Write a self-contained ``index.html`` and, beside it, the JSON file of everything that was given.

    The page needs no network and no scripts: its figures are inlined as SVG, its style is in the page. The files are
    written first. Where a figure or a part of the page fails, a sentence takes its place, and the rest is there. What
    was not given is named, with the command that makes it.

    Args:
        folder: made where it is missing.
        device: shown as BER curves with the measured points.
        tolerance: shown per operand, with the coarse BER.
        placement: shown by partition and operating point.
        savings: shown as a table with ranges and assumptions.
        accuracy: shown as accuracy against BER, one curve per label.
        title: heading of the page.
        memory_map: shown by where in each partition the operands lie.
        account: shown by platform, term and operand.
        pareto: shown as energy against accuracy.
        lacks: by part, why it is not given though it was to be, such as a file that cannot be read; for the page.

    Returns:
        The path of ``index.html``.

    Raises:
        FileError: if the folder cannot be made or written to, before anything is computed.
        ValueError: if nothing to report is given, or the placement is of another device or lacks operands of the
            tolerance.
        ReportError: if the page is written, but lacks something, that of ``lacks`` included.
        ImportError: with the remedy, where the extra "report" is not installed, before anything is written.

    """
    require("report")
    target = output_folder(folder)
    parts: dict[str, Any] = {
        "accuracy": accuracy,
        "tolerance": tolerance,
        "device": device,
        "placement": placement,
        "memory-map": memory_map,
        "account": account,
        "pareto": pareto,
        "savings": savings,
    }
    given = {name: part for name, part in parts.items() if part is not None}
    failed = dict(lacks or {})
    if not given:
        why = "".join(f"; {reason}" for reason in failed.values())
        raise ValueError(f"nothing to report; allowed is one or more of {', '.join(parts)}{why}")
    _check_agreement(device, tolerance, placement, savings)
    for name, part in given.items():
        if name in ("memory-map", "account", "pareto") and device is not None and part.device != device.name:
            raise ValueError(f"the {name} is of device {part.device!r}; allowed is the report's, {device.name!r}")
    # What was computed is kept, whatever becomes of its page.
    for name, part in given.items():
        path = target / f"{name}.json"
        if not _holds(path, part):
            part.save(path)

    first: list[Exception] = []

    def attempt(what: str, make: Callable[[], _Made], instead: Callable[[str], _Made]) -> _Made:
        try:
            return make()
        except Exception as error:
            first.append(error)
            failed[what] = f"{type(error).__name__}: {error}"
            return instead(failed[what])

    sections = [
        attempt(f"the part {name}", functools.partial(_SECTIONS[name], part), functools.partial(_not_shown, name))
        for name, part in given.items()
    ]
    figures = {
        section.anchor: attempt(
            f"the figure of {section.anchor}",
            functools.partial(_drawn, section),
            functools.partial(_not_drawn, section),
        )
        for section in sections
        if section.draw is not None
    }
    summary = attempt(
        "the summary",
        lambda: _summary(device, tolerance, placement, savings, accuracy),
        lambda why: [f"The summary could not be made ({why})."],
    )
    page = _render(
        title=title,
        summary=summary,
        sections=sections,
        figures=figures,
        absent=[
            (name, failed.get(name, ""), made_by)
            for name, made_by in MADE_BY.items()
            if name not in given or name in failed
        ],
        provenance=attempt(
            "its provenance",
            lambda: _provenance(device, tolerance, placement, accuracy),
            lambda why: [("Provenance", f"It could not be told ({why}).")],
        ),
        files=[f"{name}.json" for name in given],
    )
    index = target / "index.html"
    write_text(index, page)
    if failed:
        raise ReportError(index, failed) from (first[0] if first else None)
    return index


def _drawn(section: _Section) -> str:
    assert section.draw is not None
    with styled():
        return svg(section.draw(), section.anchor)


def _not_drawn(section: _Section, why: str) -> str:
    told = html.escape(
        f"{section.alt}: this figure could not be drawn ({why}). Its numbers are in {section.anchor}.json."
    )
    return f'<p class="soft">{told}</p>'


def _not_shown(name: str, why: str) -> _Section:
    return _Section(name, name.capitalize(), f"This part could not be shown ({why}). It is in {name}.json.")


def _holds(path: Path, part: VersionedFile) -> bool:
    """Whether a file says the same already, if in other words: it may be the very one that was given."""
    try:
        return bool(type(part).load(path) == part)
    except FileError:
        return False


def _check_agreement(
    device: Device | None,
    tolerance: Tolerance | None,
    placement: Placement | None,
    savings: Savings | None,
) -> None:
    for what, part in (("placement", placement), ("savings", savings)):
        if part is not None and device is not None and part.device != device.name:
            raise ValueError(f"the {what} is of device {part.device!r}; allowed is the report's, {device.name!r}")
    if tolerance is not None and placement is not None:
        for name in tolerance.limits:
            if name not in placement.operands:
                raise ValueError(
                    f"operand {name} of the tolerance is not in the placement of {len(placement.operands)} operands; "
                    "are they of one network?"
                )


def _render(**context: Any) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("eden.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("report.html").render(**context)


# -- numbers as text ---------------------------------------------------------------------------------------------------


def _percent(value: float, digits: int = 1) -> str:
    return f"{value * 100:.{digits}f}%"


def _fine_percent(value: float) -> str:
    return _percent(value, 2)


def _points(drop: float) -> str:
    text = f"{drop * 100:.3g}"
    return f"{text} percentage point{'' if text == '1' else 's'}"


def _drop(tolerance: Tolerance) -> str:
    if tolerance.guarantee == "mean":
        return "mean drop over chips"
    return f"drop of {tolerance.guarantee[1] * 100:g}% of the chips"


def _size(count: float) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.4g} {unit}"
    return f"{count:.4g} B"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _range(low: float, high: float, show: Callable[[float], str]) -> str:
    return show(low) if show(low) == show(high) else f"{show(low)} to {show(high)}"


# -- what every part says of itself ------------------------------------------------------------------------------------


def point_shares(placement: Placement) -> dict[str, int]:
    """Bytes of operands at each operating point, from the most to the least aggressive."""
    shares: dict[str, int] = {}
    for name, operand in placement.operands.items():
        point = placement.point_of(name)
        label = _point_label(placement, point.vdd, point.trcd, point.trp)
        shares[label] = shares.get(label, 0) + operand.bytes
    order = {label: i for i, label in enumerate(_point_labels(placement))}
    return dict(sorted(shares.items(), key=lambda item: order[item[0]]))


def _point_labels(placement: Placement) -> list[str]:
    """Operating points in use, the most aggressive first."""
    points = {
        (point.vdd, point.trcd + point.trp, point.trcd, point.trp)
        for point in (part.operating_point for part in placement.partitions.values() if part.used_bytes)
    }
    return [_point_label(placement, vdd, trcd, trp) for vdd, _, trcd, trp in sorted(points)]


def _point_label(placement: Placement, vdd: float, trcd: float, trp: float) -> str:
    nominal = placement.nominal
    text = f"{vdd:g} V, tRCD {trcd:g} ns, tRP {trp:g} ns"
    return f"{text} (nominal)" if (vdd, trcd, trp) == (nominal.vdd, nominal.trcd, nominal.trp) else text


def _summary(
    device: Device | None,
    tolerance: Tolerance | None,
    placement: Placement | None,
    savings: Savings | None,
    accuracy: AccuracyCurves | None,
) -> list[str]:
    lines = []
    network = accuracy.network if accuracy is not None and accuracy.network else "The network"
    if tolerance is not None:
        size = sum(tolerance.bytes.values())
        storage = ", ".join(sorted(set(tolerance.storage.values())))
        reference = f"its accuracy ({tolerance.metric}) is {_percent(tolerance.reference_accuracy)}"
        if tolerance.float_accuracy is not None:
            reference += f" (as a float network {_percent(tolerance.float_accuracy)})"
        lines.append(
            f"{network} keeps {_count(len(tolerance.limits), 'operand')} ({_size(size)}, {storage}) in memory. On "
            f"reliable memory {reference}; a {_drop(tolerance)} of up to {_points(tolerance.max_drop)} is accepted, "
            f"with {_percent(tolerance.confidence, 0)} confidence."
        )
        fine = tolerance.limits_certificate
        confirmed = f", confirmed on {_count(fine.chips, 'chip')} that the search never used" if fine else ""
        lines.append(
            f"All operands at once tolerate a bit error rate (BER) of {rate_text(tolerance.coarse)}, confirmed on "
            f"{_count(tolerance.coarse_certificate.chips, 'chip')}; one by one, their limits run from "
            f"{rate_text(min(tolerance.limits.values()))} to {rate_text(max(tolerance.limits.values()))}{confirmed}."
        )
    if accuracy is not None and len(accuracy.tolerated) > 1:
        first, *_, last = accuracy.tolerated.items()
        factor = f", {last[1] / first[1]:.3g} times as much" if first[1] > 0 else ""
        lines.append(
            f"Boosting moves the BER that the whole network tolerates from {rate_text(first[1])} ({first[0]}) to "
            f"{rate_text(last[1])} ({last[0]}){factor}."
        )
    if device is not None:
        size = sum(partition.capacity_bytes for partition in device.partitions)
        lines.append(
            f"The memory is {device.name}: {_size(size)} in {_count(len(device.partitions), 'partition')}, at nominal "
            f"{device.nominal.vdd:g} V, tRCD {device.nominal.trcd:g} ns, tRP {device.nominal.trp:g} ns."
        )
    if placement is not None:
        total = sum(operand.bytes for operand in placement.operands.values())
        shares = "; ".join(f"{_percent(share / total)} at {label}" for label, share in point_shares(placement).items())
        lines.append(f"Of the operands' bytes, {shares}.")
    if savings is not None:
        energy = _range(*savings.energy_reduction_range, _fine_percent)
        speed = _range(*savings.speedup_range, _fine_percent)
        lines.append(
            f"On the platform {savings.platform}, this saves {energy} of the DRAM's energy and makes inference {speed} "
            f"faster, over the ends of what is assumed (typical: {_fine_percent(savings.energy_reduction)} and "
            f"{_fine_percent(savings.speedup)})."
        )
    return lines


def _provenance(
    device: Device | None,
    tolerance: Tolerance | None,
    placement: Placement | None,
    accuracy: AccuracyCurves | None,
) -> list[tuple[str, str]]:
    lines = [
        ("Written", datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("eden-dram", version("eden-dram")),
        ("torch, numpy", f"{version('torch')}, {version('numpy')}"),
        ("Python, system", f"{host.python_version()}, {host.system()} {host.machine()}"),
        (
            "Random number layout",
            str(placement.random_layout if placement is not None else _core.RANDOM_LAYOUT_VERSION),
        ),
    ]
    if tolerance is not None:
        spent = ", ".join(f"{phase} {count:,}" for phase, count in tolerance.observations.items())
        lines.append(("Seed of the tolerance", f"{tolerance.seed} (eden-dram {tolerance.eden_version})"))
        lines.append(("Observations of the tolerance", spent or "none recorded"))
    if accuracy is not None and accuracy.seed is not None:
        lines.append(("Seed of the accuracy curves' chips", str(accuracy.seed)))
    if placement is not None:
        lines.append(("Solver, objective", f"{placement.solver}, {placement.objective}"))
    if device is not None:
        source = device.source
        lines.append(("Measurements", f"{source.text} {source.citation} Licence: {source.licence}."))
    return lines


# -- sections ----------------------------------------------------------------------------------------------------------


def _accuracy_figure(accuracy: AccuracyCurves) -> Figure:
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
    axes.yaxis.set_major_formatter(lambda value, _: f"{value * 100:g}%")
    axes.set_ylim(0, min(1.02, 1.08 * max(point.high for point in accuracy.points)) or 1.02)
    axes.legend(loc="lower left")
    return figure


def _accuracy_section(accuracy: AccuracyCurves) -> _Section:
    table = _Table(
        "Accuracy over chips",
        ("network", "BER", "mean", "low", "high", "chips"),
        [
            (p.label, rate_text(p.ber), _percent(p.mean), _percent(p.low), _percent(p.high), f"{p.chips}")
            for p in accuracy.points
        ],
        (False, True, True, True, True, True),
    )
    dotted = " Dotted lines: the BER that the whole network tolerates." if accuracy.tolerated else ""
    return _Section(
        "accuracy",
        "Accuracy against bit error rate",
        f"Mean over chips; the band is the {accuracy.spread}.{dotted}",
        lambda: _accuracy_figure(accuracy),
        "Accuracy of each network against the bit error rate of its operands",
        [table],
    )


def _ordered(tolerance: Tolerance) -> list[tuple[str, float]]:
    """The operands with their limits, from the least to the most tolerant."""
    return sorted(tolerance.limits.items(), key=lambda item: (item[1], item[0]))


def _tolerance_figure(tolerance: Tolerance) -> Figure:
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


def _tolerance_section(tolerance: Tolerance) -> _Section:
    ordered = _ordered(tolerance)
    heads, numeric = ["operand", "kind", "size", "tolerated BER"], [False, False, True, True]
    rows_of = [[name, tolerance.kinds[name], _size(tolerance.bytes[name]), rate_text(limit)] for name, limit in ordered]
    if tolerance.alone:
        heads += ["alone", "90% interval", "drop per BER"]
        numeric += [True, True, True]
        for cells in rows_of:
            alone = tolerance.alone[cells[0]]
            cells += [
                rate_text(alone.rate),
                f"{rate_text(alone.low)} to {rate_text(alone.high)}",
                f"{tolerance.sensitivity[cells[0]]:.2g}",
            ]
    table = _Table("Operands from the least to the most tolerant", heads, rows_of, numeric)
    cut = f" The figure shows the {MOST_OPERANDS} least tolerant." if len(ordered) > MOST_OPERANDS else ""
    beside = (
        f" Bars in grey, and the last columns, are estimates of the BER at which an operand alone would lose "
        f"{_points(tolerance.max_drop)}, all others on nearly reliable memory."
        if tolerance.alone
        else ""
    )
    return _Section(
        "tolerance",
        "Tolerance per operand",
        f"Highest mean BER of each operand at which, with all others at theirs, the {_drop(tolerance)} is at most "
        f"{_points(tolerance.max_drop)}. The dashed line is the coarse BER, the same for all.{beside}{cut}",
        lambda: _tolerance_figure(tolerance),
        "Tolerated bit error rate of each operand on a logarithmic axis",
        [table],
    )


def _device_section(device: Device) -> _Section:
    fits = _Table(
        "Fitted operating points of the whole module",
        ("tRCD (ns)", "tRP (ns)", "BER of zeros", "95% interval", "BER of ones", "95% interval", "readings"),
        [
            (
                f"{p.trcd:g}",
                f"{p.trp:g}",
                rate_text(p.errors.ber_zero),
                _range(*p.zero, rate_text),
                rate_text(p.errors.ber_one),
                _range(*p.one, rate_text),
                f"{p.readings[0]} and {p.readings[1]}" if any(p.readings) else "specification",
            )
            for p in device.whole.points
        ],
        (True,) * 7,
    )
    partitions = _Table(
        "Partitions",
        ("partition", "capacity", "operating points", "highest BER"),
        [
            (
                part.name,
                _size(part.capacity_bytes),
                "nominal only" if part.nominal else str(len(part.points)),
                rate_text(max(point.errors.ber for point in part.points)),
            )
            for part in device.partitions
        ],
        (False, True, True, True),
    )
    left_out = [
        f"Left out: tRCD {gap.trcd:g} ns, tRP {gap.trp:g} ns, {gap.temperature:g} °C: {gap.reason}"
        for gap in device.whole.left_out
    ]
    return _Section(
        "device",
        f"Bit error rate of {device.name}",
        f"The whole module at {device.nominal.temperature:g} °C, {device.nominal.vdd:g} V, tRP {device.nominal.trp:g} "
        f"ns. Bars are 95% intervals over readings; mixed patterns store zeros and ones together. Between two "
        f"measured latencies the rate of the shorter one is used. "
        f"Model: {device.model.replace('_', '-')}, failure probability {device.failure:g}.",
        lambda: device_figure(device, "trcd"),
        "Fitted and measured bit error rates of stored zeros and ones against tRCD",
        [fits, partitions],
        [*left_out, *(f"Assumed: {text}." for text in device.assumptions), *device.notes],
    )


def _placement_figure(placement: Placement) -> Figure:
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
            point = placement.partitions[name].operating_point
            label = _point_label(placement, point.vdd, point.trcd, point.trp)
            red, green, blue = matplotlib.colors.to_rgb(colour_of[label])
            colours.append(tuple(part + (1 - part) * paleness for part in (red, green, blue)))
        axes.barh(used, widths, left=left, color=colours, height=0.66, edgecolor="white", linewidth=0.6)
        left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.set_xlabel("share of the operands' bytes (solid: weights, pale: inputs)")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value * 100:g}%")
    axes.set_xlim(0, max(left) * 1.02)
    axes.invert_yaxis()
    handles = [matplotlib.patches.Patch(color=colour, label=label) for label, colour in colour_of.items()]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def _placement_section(placement: Placement) -> _Section:
    total = sum(operand.bytes for operand in placement.operands.values())
    partitions = _Table(
        "Partitions in use",
        ("partition", "VDD (V)", "tRCD (ns)", "tRP (ns)", "refresh (ms)", "BER", "used", "capacity", "share of bytes"),
        [
            (
                name,
                f"{part.operating_point.vdd:g}",
                f"{part.operating_point.trcd:g}",
                f"{part.operating_point.trp:g}",
                f"{part.operating_point.refresh_interval:g}",
                rate_text(part.errors.ber),
                _size(part.used_bytes),
                _size(part.capacity_bytes),
                _percent(placement.bytes_in(name) / total),
            )
            for name, part in placement.partitions.items()
            if part.used_bytes
        ],
        (False, *(True,) * 8),
    )
    operands = _Table(
        "Operands",
        ("operand", "kind", "size", "tolerated BER", "BER met", "partition", "first byte"),
        [
            (name, o.kind, _size(o.bytes), rate_text(o.limit), rate_text(o.ber), o.home, f"{o.address_bytes:,}")
            for name, o in placement.operands.items()
        ],
        (False, False, True, True, True, False, True),
    )
    unused = [part for part in placement.partitions.values() if not part.used_bytes]
    within = all(part.operating_point == placement.nominal for part in unused)
    if len(unused) == 1:
        hold, how = "holds", "stays within specification" if within else "runs as the supply that it shares"
    else:
        hold, how = "hold", "stay within specification" if within else "run as the supplies that they share"
    rest = f" {_count(len(unused), 'partition')} {hold} no operand and {how}." if unused else ""
    return _Section(
        "placement",
        "Placement by partition",
        f"Every operand lies in a partition whose BER it tolerates.{rest}",
        lambda: _placement_figure(placement),
        "Share of the operands' bytes in each partition, coloured by operating point",
        [partitions, operands],
        placement.notes,
    )


def _savings_section(savings: Savings) -> _Section:
    results = _Table(
        f"Per inference on {savings.platform}, against the same device within specification",
        ("quantity", "typical", "low", "high"),
        [
            (label, _percent(value, 2), _percent(low, 2), _percent(high, 2))
            for label, value, (low, high) in (
                ("DRAM energy saved", savings.energy_reduction, savings.energy_reduction_range),
                ("speedup", savings.speedup, savings.speedup_range),
            )
        ],
        (False, True, True, True),
    )
    total = (
        sum(term.nominal_nj for term in savings.terms.values()),
        sum(term.placed_nj for term in savings.terms.values()),
    )
    terms = _Table(
        "DRAM energy per inference at typical assumptions",
        ("term", "within specification (µJ)", "as placed (µJ)", "saved"),
        [
            (name, f"{a / 1e3:,.3f}", f"{b / 1e3:,.3f}", _percent((a - b) / a, 2) if a else "none")
            for name, a, b in (
                *((name, term.nominal_nj, term.placed_nj) for name, term in savings.terms.items()),
                ("total", *total),
            )
        ],
        (False, True, True, True),
    )
    return _Section(
        "savings",
        "Savings",
        "Low and high are the ends over everything that is assumed below; where they differ, the assumption decides.",
        tables=[results, terms],
        notes=savings.assumptions,
    )


def _map_figure(memory_map: MemoryMap) -> Figure:
    import matplotlib.patches
    from matplotlib.ticker import MultipleLocator

    used = [
        name
        for name in memory_map.partitions
        if any(piece.partition == name for operand in memory_map.operands.values() for piece in operand.pieces)
    ]
    figure, axes = new_figure(height=1.4 + 0.32 * len(used))
    ends = dict.fromkeys(used, 0)
    for operand in memory_map.operands.values():
        for piece in operand.pieces:
            start = (piece.address_bits - memory_map.partitions[piece.partition].address_bits) // 8
            colour = COLOURS[0] if operand.kind == "weight" else COLOURS[4]
            row = used.index(piece.partition)
            axes.barh(row, piece.bytes, left=start, color=colour, height=0.66, edgecolor="white", linewidth=0.4)
            ends[piece.partition] = max(ends[piece.partition], start + piece.bytes)
    axes.set_yticks(range(len(used)), used)
    axes.invert_yaxis()
    axes.set_xlim(0, max(ends.values()) * 1.02)
    # Ticks at whole powers of two, six to twelve of them.
    axes.xaxis.set_major_locator(MultipleLocator(2.0 ** math.floor(math.log2(max(ends.values()) / 6))))
    axes.xaxis.set_major_formatter(lambda value, _: _size(value) if value > 0 else "0")
    axes.set_xlabel("bytes from the partition's start")
    handles = [
        matplotlib.patches.Patch(color=COLOURS[0], label="weights"),
        matplotlib.patches.Patch(color=COLOURS[4], label="inputs"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def _map_section(memory_map: MemoryMap) -> _Section:
    rows = []
    for name, operand in memory_map.operands.items():
        for piece in operand.pieces:
            point = memory_map.partitions[piece.partition].operating_point
            cell = memory_map.geometry.locate(piece.address_bits)
            rows.append(
                (
                    name,
                    piece.partition,
                    f"{piece.address_bits // 8:#x}",
                    f"{cell.bank}",
                    f"{cell.subarray * memory_map.geometry.subarray_rows + cell.wordline:,}",
                    f"{piece.bytes:,}",
                    operand.storage,
                    f"{operand.low:.3g} to {operand.high:.3g}",
                    f"{point.vdd:g} V, {point.trcd:g} ns, {point.trp:g} ns",
                )
            )
    table = _Table(
        "Pieces of operands",
        ("operand", "partition", "first byte", "bank", "row", "bytes", "storage", "range", "VDD, tRCD, tRP"),
        rows,
        (False, False, True, True, True, True, False, True, False),
    )
    return _Section(
        "memory-map",
        "Memory map",
        "Where the operands lie in the partitions that hold some; addresses in the table are the device's.",
        lambda: _map_figure(memory_map),
        "Bytes of every partition that weights and inputs take",
        [table],
    )


def _account_figure(account: Account) -> Figure:
    figure, axes = new_figure(height=3.6)
    names = list(account.platforms)
    terms = list(dict.fromkeys(term for one in account.platforms.values() for term in one.terms))
    ticks, labels = [], []
    for i, name in enumerate(names):
        one = account.platforms[name]
        for offset, which, label in ((-0.2, "nominal_nj", "within"), (0.2, "placed_nj", "placed")):
            below = 0.0
            for t, term in enumerate(terms):
                share = getattr(one.terms[term], which) / one.nominal_nj if term in one.terms else 0.0
                colour = COLOURS[t % len(COLOURS)]
                drawn = term if i == 0 and offset < 0 else None
                axes.bar(i + offset, share, 0.34, bottom=below, color=colour, label=drawn, edgecolor="white")
                below += share
            ticks.append(i + offset)
            labels.append(f"{label}\n{name}" if offset < 0 else label)
    axes.set_xticks(ticks, labels)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value * 100:g}%")
    axes.set_ylabel("DRAM energy of an inference")
    figure.legend(loc="outside upper left", ncols=len(terms))
    return figure


def _account_section(account: Account) -> _Section:
    platforms = _Table(
        "Platforms, at typical assumptions",
        ("platform", "energy within", "as placed", "saved", "range", "time within", "as placed", "faster", "range"),
        [
            (
                name,
                f"{one.nominal_nj / 1e3:,.3f} µJ",
                f"{one.placed_nj / 1e3:,.3f} µJ",
                _fine_percent(one.energy_reduction),
                _range(*one.energy_reduction_range, _percent),
                f"{one.nominal_ns / 1e3:,.2f} µs",
                f"{one.placed_ns / 1e3:,.2f} µs",
                _fine_percent(one.speedup),
                _range(*one.speedup_range, _percent),
            )
            for name, one in account.platforms.items()
        ],
        (False, *(True,) * 8),
    )
    operands = [
        _Table(
            f"Operands on {name}: energy of their accesses",
            ("operand", "kind", "bytes read", "bytes written", "within (nJ)", "as placed (nJ)", "time saved"),
            [
                (
                    operand,
                    value.kind,
                    f"{value.read_bytes:,.0f}",
                    f"{value.written_bytes:,.0f}",
                    f"{value.nominal_nj:,.1f}",
                    f"{value.placed_nj:,.1f}",
                    _fine_percent(value.time_saved),
                )
                for operand, value in sorted(one.operands.items(), key=lambda item: -item[1].nominal_nj)
            ],
            (False, False, *(True,) * 5),
        )
        for name, one in account.platforms.items()
    ]
    return _Section(
        "account",
        "Account by platform, term and operand",
        f"Currents of {account.currents}. Bars: within specification, and as placed, as a share of the former.",
        lambda: _account_figure(account),
        "Energy within specification and as placed, by term, on every platform",
        [platforms, *operands],
        [f"{name}: {text}" for name, one in account.platforms.items() for text in one.assumptions],
    )


def _pareto_figure(pareto: Pareto) -> Figure:
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
        along.set_major_formatter(lambda value, _: f"{value * 100:g}%")
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def _pareto_section(pareto: Pareto) -> _Section:
    table = _Table(
        "Placements",
        ("max_drop", "coarse BER", "energy saved", "range", "speedup", "accuracy", "worst chip"),
        [
            (
                _percent(point.max_drop, 2),
                rate_text(point.coarse),
                _fine_percent(point.energy_reduction),
                _range(*point.energy_reduction_range, _percent),
                _fine_percent(point.speedup),
                _fine_percent(point.accuracy),
                _fine_percent(point.worst),
            )
            for point in pareto.points
        ],
        (True,) * 7,
    )
    return _Section(
        "pareto",
        "Energy against accuracy",
        f"On {pareto.platform}; the band is the range over what is assumed. Accuracy as placed is a mean over "
        f"{_count(pareto.chips, 'chip')}, beside {_fine_percent(pareto.reference_accuracy)} on reliable memory.",
        lambda: _pareto_figure(pareto),
        "Energy saved against the accuracy that may be lost",
        [table],
    )


_SECTIONS: dict[str, Callable[[Any], _Section]] = {
    "accuracy": _accuracy_section,
    "tolerance": _tolerance_section,
    "device": _device_section,
    "placement": _placement_section,
    "memory-map": _map_section,
    "account": _account_section,
    "pareto": _pareto_section,
    "savings": _savings_section,
}
