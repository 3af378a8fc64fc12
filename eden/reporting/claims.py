"""What was asked and what is certified, in words that an owner can sign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from eden.reporting.text import count_text, drop_text, fine_percent, percent, points_text, range_text
from eden.tolerance.tolerance import Tolerance
from eden.tolerance.verification import Verification


class Claim(NamedTuple):
    """A statement at the top of the page."""

    head: str
    text: str
    holds: bool | None = None
    """Whether it is a certificate (True), the lack of one (False), or neither."""


def claims(parts: Mapping[str, Any]) -> list[Claim]:
    """What was asked, what is certified of it, how accurate the network is as placed, and what that saves."""
    verification, tolerance = parts.get("verification"), parts.get("tolerance")
    placement, savings = parts.get("placement"), parts.get("savings")
    asked = verification or tolerance
    found = []
    if asked is not None:
        of = f"the {drop_text(asked)} of {asked.metric}, from {percent(asked.reference_accuracy)} on reliable memory,"
        found.append(
            Claim(
                "Asked",
                f"{of} is at most {points_text(asked.max_drop)}, with {percent(asked.confidence, 0)} confidence",
            )
        )
    if verification is not None:
        found += _verified(verification, placement)
    elif placement is not None:
        found.append(
            Claim(
                "Not certified",
                "this report holds no verification of the placement (eden certify makes one). "
                + (placement.caution or "All operands are at their limits, which the tolerance certifies together."),
                False,
            )
        )
    elif tolerance is not None:
        found.append(_limits(tolerance))
    if savings is not None:
        ranges = (savings.energy_reduction_range, savings.speedup_range)
        energy, speed = (range_text(low, high, percent) for low, high in ranges)
        saved, faster = (percent(value) for value in (savings.energy_reduction, savings.speedup))
        found.append(
            Claim(
                "Saved",
                f"{saved} of the DRAM's energy on {savings.platform} ({energy} over all that is assumed), {faster} "
                f"faster ({speed}). {' '.join(savings.headline)}".strip(),
            )
        )
    elif placement is not None and placement.headline:
        found.append(Claim("Placed", " ".join([*filter(None, [placement.held]), *placement.headline])))
    return found


def _verified(verification: Verification, placement: Any) -> list[Claim]:
    certificate = verification.certificate
    if certificate is None:
        return [Claim("Not certified", f"{verification.reason}.", False)]
    data = (
        "of the data that the samples were drawn from"
        if verification.population == "data"
        else f"of these {verification.samples:,} samples, and of no others"
    )
    rates = verification.rates
    memory = "" if rates is None else f" The memory is taken to be at {rates}."
    accuracy = fine_percent(verification.reference_accuracy - certificate.mean_drop)
    found = [
        Claim(
            "Certified",
            f"of the network as it is placed, {data}: the {drop_text(verification)} is at most "
            f"{points_text(verification.max_drop)}, with {percent(verification.confidence, 0)} confidence, on chips "
            f"that the error models draw.{memory}",
            True,
        ),
        Claim(
            "As placed",
            f"{accuracy} accuracy ({verification.metric}), mean over {count_text(certificate.chips, 'chip')} that "
            "nothing else had seen",
        ),
    ]
    made = verification.provenance
    of = None if made is None else made.of.get("placement")
    if placement is not None and of is None:
        found.append(Claim("Take care", "the verification does not say which placement it is of.", False))
    return found


def _limits(tolerance: Tolerance) -> Claim:
    if tolerance.limits_certificate is None:
        return Claim("Certified", "of all operands at the coarse rate together, and of nothing else", True)
    return Claim(
        "Certified",
        f"of all operands at their limits together, which no placement is until it is verified; {tolerance.claim}",
        True,
    )
