"""Energy and time by platform, term and operand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eden.accounting.results import Account
from eden.reporting.figures import COLOURS, new_figure, shares_on
from eden.reporting.section import Section, Table
from eden.reporting.text import fine_percent, folded, percent, range_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _figure(account: Account) -> Figure:
    figure, axes = new_figure(height=3.6)
    names = [name for name, one in account.platforms.items() if one.nominal_nj > 0.0]
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
    shares_on(axes.yaxis)
    axes.set_ylabel("DRAM energy of an inference")
    figure.legend(loc="outside upper left", ncols=len(terms))
    return figure


def section(account: Account, _: Mapping[str, Any]) -> Section:
    """The section."""
    platforms = Table(
        "Platforms, at typical assumptions",
        (
            "platform",
            "energy within",
            "as placed",
            "saved",
            "range",
            "free",
            "by tolerance",
            "time within",
            "as placed",
            "faster",
            "range",
        ),
        [
            (
                name,
                f"{one.nominal_nj / 1e3:,.3f} µJ",
                f"{one.placed_nj / 1e3:,.3f} µJ",
                fine_percent(one.energy_reduction),
                range_text(*one.energy_reduction_range, percent),
                "" if one.free is None else fine_percent(one.free.energy_reduction),
                "" if one.energy_by_tolerance is None else fine_percent(one.energy_by_tolerance),
                f"{one.nominal_ns / 1e3:,.2f} µs",
                f"{one.placed_ns / 1e3:,.2f} µs",
                fine_percent(one.speedup),
                range_text(*one.speedup_range, percent),
            )
            for name, one in account.platforms.items()
        ],
    )
    operands = [
        Table(
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
                    fine_percent(value.time_saved),
                )
                for operand, value in sorted(one.operands.items(), key=lambda item: -item[1].nominal_nj)
            ],
        )
        for name, one in account.platforms.items()
    ]
    return Section(
        "Account by platform, term and operand",
        f"Currents of {account.currents}. Bars: within specification, and as placed, as a share of the former.",
        lambda: _figure(account),
        "Energy within specification and as placed, by term, on every platform",
        [platforms, *operands],
        folded({name: one.assumptions for name, one in account.platforms.items()}),
    )
