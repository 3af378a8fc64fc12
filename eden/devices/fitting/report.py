"""What a fit tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from eden.devices.device import Device
from eden.devices.likelihoods import FittedChoice, Goodness
from eden.devices.partition import OperatingPoint
from eden.measurements.campaign import Campaign


class PointFit(NamedTuple):
    """The fit of one operating point of the whole module.

    Attributes:
        point: the operating point.
        choice: all models there, with their intervals, and what that point alone would choose.
        tests: goodness of fit of the device's model, for each stored value.

    """

    point: OperatingPoint
    choice: FittedChoice
    tests: tuple[Goodness, ...]


@dataclass(frozen=True)
class FitReport:
    """A fit with everything that was read, left out, assumed and chosen.

    Attributes:
        device: the fitted device.
        campaign: the readings behind it.
        fits: of flips, the fit of each operating point of the whole module, with its tests.

    """

    device: Device
    campaign: Campaign
    fits: tuple[PointFit, ...] = ()

    def text(self) -> str:
        """What was read, what was left out and why, what was chosen and why, as lines for a terminal."""
        device = self.device
        lines = [f"{self.campaign.path}: {device.name}", "", "read and left out"]
        lines += [f"  - {note}" for note in device.notes]
        for partition in (device.whole, *device.partitions):
            for gap in partition.left_out:
                lines.append(f"  - left out of {partition.name}: {gap}: {gap.reason}")
        lines += [
            "",
            "choice of the model",
            f"  {'point':52} {'model':15} parameters   readings   log-likelihood             BIC",
        ]
        for row in device.choice:
            at = row.point
            place = "all" if at is None else str(at)
            lines.append(
                f"  {place:52} {row.model:15} {row.parameters:10} {row.observations:10} {row.log_likelihood:16.2f} "
                f"{row.bic:15.2f}"
            )
        lines += ["", "assumed", *(f"  - {text}" for text in device.assumptions), "", device.describe()]
        return "\n".join(lines)
