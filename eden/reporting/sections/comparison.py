"""Several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eden.accounting.results import Savings
from eden.reporting.figures import COLOURS, new_figure, shares_on, tip
from eden.reporting.section import Section, Table
from eden.reporting.text import fine_percent, percent, points_text, range_text, rate_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Runs = Mapping[str, Mapping[str, Any]]
"""Parts of reports by run."""


def _figure(runs: Runs) -> Figure:
    saved = {name: parts["savings"] for name, parts in runs.items() if "savings" in parts}
    figure, axes = new_figure(height=1.2 + 0.36 * max(len(saved), 1))
    for row, (name, one) in enumerate(saved.items()):
        low, high = one.energy_reduction_range
        value = one.energy_reduction
        axes.barh(row, value, color=COLOURS[0], height=0.6)
        axes.errorbar(value, row, xerr=[[value - low], [high - value]], color="#3c4043", capsize=3, linewidth=1)
        tip(axes, value, row, f"{name}: {fine_percent(value)} ({range_text(low, high, percent)}) on {one.platform}")
    axes.set_yticks(range(len(saved)), list(saved))
    axes.invert_yaxis()
    axes.set_xlabel("DRAM energy saved; whiskers: over all that is assumed")
    shares_on(axes.xaxis)
    return figure


def _range(savings: Savings) -> str:
    low, high = savings.energy_reduction_range
    return range_text(low, high, percent)


def section(runs: Runs) -> Section:
    """The section."""
    heads = (
        "run",
        "device",
        "operands",
        "asked",
        "coarse BER",
        "certified",
        "as placed",
        "energy saved",
        "range",
        "faster",
    )
    rows = []
    for name, parts in runs.items():
        tolerance, verification, savings = (parts.get(part) for part in ("tolerance", "verification", "savings"))
        found = None if verification is None else verification.certificate
        device = next((of for part in parts.values() if (of := getattr(part, "device", None))), None)
        rows.append(
            (
                name,
                device or (parts["device"].name if "device" in parts else "?"),
                "?" if tolerance is None else ", ".join(sorted(set(tolerance.storage.values()))),
                "?" if tolerance is None else points_text(tolerance.max_drop),
                "?" if tolerance is None else rate_text(tolerance.coarse),
                "not verified" if verification is None else "yes" if found is not None else "no",
                "?"
                if verification is None or found is None
                else fine_percent(verification.reference_accuracy - found.mean_drop),
                "?" if savings is None else fine_percent(savings.energy_reduction),
                "?" if savings is None else _range(savings),
                "?" if savings is None else fine_percent(savings.speedup),
            )
        )
    platforms = sorted({parts["savings"].platform for parts in runs.values() if "savings" in parts})
    mixed = " They are of several platforms, so that energies do not compare." if len(platforms) > 1 else ""
    return Section(
        "Runs side by side",
        f"Energy on {', '.join(platforms) or 'no platform'}; accuracy as placed is that of the verification.{mixed}",
        (lambda: _figure(runs)) if platforms else None,
        "DRAM energy that each run saves",
        [Table("Runs", heads, rows)],
    )
