"""What a placement saves on one platform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eden.accounting.results import Savings
from eden.reporting.section import Section, Table
from eden.reporting.text import percent


def section(savings: Savings, _: Mapping[str, Any]) -> Section:
    """The section."""
    free = savings.free
    rows = []
    for label, value, (low, high), part in (
        (
            "DRAM energy saved",
            savings.energy_reduction,
            savings.energy_reduction_range,
            None if free is None else free.energy_reduction,
        ),
        ("speedup", savings.speedup, savings.speedup_range, None if free is None else free.speedup),
    ):
        rows.append((label, percent(value, 2), percent(low, 2), percent(high, 2)))
        if part is not None:
            rows.append(("free, at points without errors", percent(part, 2), "", ""))
            rows.append(("added by what is tolerated", percent(value - part, 2), "", ""))
    results = Table(
        f"Per inference on {savings.platform}, against the same device within specification",
        ("quantity", "typical", "low", "high"),
        rows,
    )
    total = (
        sum(term.nominal_nj for term in savings.terms.values()),
        sum(term.placed_nj for term in savings.terms.values()),
    )
    terms = Table(
        "DRAM energy per inference at typical assumptions",
        ("term", "within specification (µJ)", "as placed (µJ)", "saved"),
        [
            (name, f"{a / 1e3:,.3f}", f"{b / 1e3:,.3f}", percent((a - b) / a, 2) if a else "none")
            for name, a, b in (
                *((name, term.nominal_nj, term.placed_nj) for name, term in savings.terms.items()),
                ("total", *total),
            )
        ],
    )
    return Section(
        "Savings",
        "Low and high are the ends over everything that is assumed below; where they differ, the assumption decides.",
        tables=[results, terms],
        notes=savings.assumptions,
    )
