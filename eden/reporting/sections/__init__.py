"""The parts of a report, a file each; a part is an entry of ``PARTS``, in the order of the page."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from eden.accounting.results import Account, Pareto, Savings
from eden.common.files import VersionedFile
from eden.devices.device import Device
from eden.placement.map_file import MemoryMap
from eden.placement.placement import Placement
from eden.reporting.accuracy import AccuracyCurves
from eden.reporting.section import Section
from eden.reporting.sections import (
    account,
    accuracy,
    device,
    memory_map,
    pareto,
    placement,
    savings,
    tolerance,
    verification,
)
from eden.tolerance.tolerance import Tolerance
from eden.tolerance.verification import Verification


class Part(NamedTuple):
    """A part of a report."""

    kind: type[VersionedFile]
    """Of its file, which is called ``<part>.json`` in a report's folder."""
    section: Callable[[Any, Mapping[str, Any]], Section]
    """What it shows, given it and all parts of the report."""
    made_by: str
    """The command that makes its file."""


PARTS: Mapping[str, Part] = {
    "accuracy": Part(AccuracyCurves, accuracy.section, "eden evaluate"),
    "tolerance": Part(Tolerance, tolerance.section, "eden profile"),
    "device": Part(Device, device.section, "eden fit, or a name of eden devices list"),
    "placement": Part(Placement, placement.section, "eden place"),
    "verification": Part(Verification, verification.section, "eden certify"),
    "memory-map": Part(MemoryMap, memory_map.section, "eden memory-map"),
    "account": Part(Account, account.section, "eden account"),
    "pareto": Part(Pareto, pareto.section, "eden run, with account.max_drops in its recipe"),
    "savings": Part(Savings, savings.section, "eden savings"),
}
"""By name."""
