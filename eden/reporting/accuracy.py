"""The file of accuracy against the bit error rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pydantic

from eden.common.checks import at_most
from eden.common.files import Record
from eden.common.provenance import Provenance, Result


class AccuracyPoint(Record):
    """Accuracy of one network at one bit error rate, over chips.

    A mean outside of ``low`` and ``high`` by no more than rounding makes of a sum over the chips is one between them.
    """

    label: str = pydantic.Field(min_length=1)
    """Which network: "baseline", "boosted", or what else is compared."""
    ber: float = pydantic.Field(ge=0, le=1)
    """Mean bit error rate of every operand; 0 is reliable memory."""
    mean: float = pydantic.Field(ge=0, le=1)
    """Mean accuracy over chips."""
    low: float = pydantic.Field(ge=0, le=1)
    """Lower end of its spread or interval, as ``spread`` of the curves says."""
    high: float = pydantic.Field(ge=0, le=1)
    """Upper end."""
    chips: int = pydantic.Field(ge=1)
    """Chips it was measured on."""

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> AccuracyPoint:
        operations = self.chips + 1
        if not (at_most(self.low, self.mean, operations) and at_most(self.mean, self.high, operations)):
            raise ValueError(f"mean is {self.mean}; allowed is from low ({self.low}) to high ({self.high})")
        return self


class AccuracyCurves(Result):
    """Accuracy against the bit error rate, for one network or several. Saved and loaded as JSON.

    It is made from the data and the network; of several networks, from "network LABEL" for each label.
    """

    FORMAT: ClassVar[str] = "eden-accuracy"
    VERSION: ClassVar[int] = 1

    points: tuple[AccuracyPoint, ...] = pydantic.Field(min_length=1)
    """In any order; those of a label make a curve."""
    network: str = ""
    """What was measured, for the report's summary."""
    spread: str = "lowest and highest chip"
    """What ``low`` and ``high`` of the points are."""
    seed: int | None = None
    """Seed that the chips were drawn from."""
    tolerated: dict[str, float] = pydantic.Field(default_factory=dict)
    """Highest bit error rate tolerated by the whole network, by label, where it was searched for."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The networks, in the order of their first points."""
        return tuple(dict.fromkeys(point.label for point in self.points))

    @classmethod
    def joined(cls, curves: Sequence[AccuracyCurves]) -> AccuracyCurves | None:
        """Several files as one, described as the first is; None for none."""
        if not curves:
            return None
        points = tuple(point for one in curves for point in one.points)
        tolerated = {label: rate for one in curves for label, rate in one.tolerated.items()}
        provenance = curves[0].provenance
        if len(curves) > 1:
            provenance = _joined(curves)
        return curves[0].model_copy(update={"points": points, "tolerated": tolerated, "provenance": provenance})


def _joined(curves: Sequence[AccuracyCurves]) -> Provenance | None:
    """What several files were made from. Raises ValueError for those of different data."""
    known = [(one.labels[0], one.provenance) for one in curves if one.provenance is not None]
    data = {provenance.of["data"] for _, provenance in known if "data" in provenance.of}
    if len(data) > 1:
        raise ValueError("the accuracy files were measured on different data; allowed are those of one set")
    networks = {
        role if " " in role else f"{role} {label}": digest
        for label, provenance in known
        for role, digest in provenance.of.items()
        if role.startswith("network")
    }
    chips = tuple(dict.fromkeys(drawn for _, provenance in known for drawn in provenance.chips))
    return Provenance.made(*(provenance for _, provenance in known), chips=chips, **networks).without("network")
