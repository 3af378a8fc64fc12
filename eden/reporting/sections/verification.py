"""Whether the network as it is placed keeps its accuracy, and what says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eden.reporting.section import Section, Table
from eden.reporting.text import fine_percent, percent, points_text
from eden.tolerance.verification import Verification


def section(verification: Verification, _: Mapping[str, Any]) -> Section:
    """The section."""
    found = verification.certificate
    of = (
        "its mean over chips"
        if verification.guarantee == "mean"
        else f"that of {verification.guarantee[1]:.0%} of chips"
    )
    data = "the data that these were drawn from" if verification.population == "data" else "these samples alone"
    rows = [
        ("asked: accuracy that may be lost", f"{points_text(verification.max_drop)}, {of}"),
        ("asked: confidence", percent(verification.confidence)),
        ("accuracy is", f"{verification.metric}, on {verification.samples:,} samples; of {data}"),
        ("reference on reliable memory", fine_percent(verification.reference_accuracy)),
        ("the network itself there", fine_percent(verification.own_accuracy)),
    ]
    if found is not None:
        bound = fine_percent(found.upper_bound)
        rows += [
            ("as placed, observed", fine_percent(verification.reference_accuracy - found.mean_drop)),
            ("fresh chips, each observed once", f"{found.chips:,}"),
            (
                "confidence bound",
                f"{bound} lost" if verification.guarantee == "mean" else f"{bound} of chips lose more",
            ),
        ]
    taken = "those that the operands have, of no device" if verification.rates is None else str(verification.rates)
    rows += [
        ("rates", taken),
        ("seed, attempt", f"{verification.seed}, {verification.attempt}"),
        (
            "observations",
            ", ".join(f"{phase} {count:,}" for phase, count in verification.observations.items()) or "none",
        ),
        ("made by", f"eden-dram {verification.eden_version}"),
    ]
    account = "" if found is None else found.account
    return Section(
        "Verification of the placement",
        f"{verification.statement[:1].upper()}{verification.statement[1:]}.",
        tables=[Table("What was asked and found", ("what", "value"), rows)],
        notes=[f"{account[:1].upper()}{account[1:]}."] if account else [],
    )
