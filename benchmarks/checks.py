"""How devices predict readings that they were not fitted to: ``eden check`` of every vendor. Needs EDEN_DATA.

A line for each vendor and split, over its modules: alternating halves of the readings of each condition, the earlier
half against the later one (other sessions), and modules left out, each held against the device of the others of its
vendor. Printed are the conditions with errors, how many are inside their 95% interval, their single readings inside
theirs, the median and the 90% quantile of the factor that rates are off by, how many conditions fail at a higher rate
than ``eden place`` takes, and the margins that would hold these (median and largest over modules, 1 for none).
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from eden.devices.catalogue.__main__ import LATENCIES, VDD
from eden.devices.device import Source
from eden.devices.fitting.counts import fit_banks
from eden.devices.fitting.settings import FitSettings
from eden.devices.populations import fit_vendor
from eden.devices.prediction import Check, check
from eden.measurements.campaign import Campaign, Condition, Reading
from eden.measurements.readers import read

NOMINAL = Condition(vdd=VDD)
SPLITS: dict[str, Callable[[int, int], bool]] = {
    "alternating halves": lambda place, _: place % 2 == 0,
    "earlier and later": lambda place, number: place < (number + 1) // 2,
}
"""Whether the reading of a place among so many is one that is fitted to."""


def halves(campaign: Campaign, fitted: Callable[[int, int], bool]) -> tuple[Campaign, Campaign]:
    """The readings that are fitted to, and the others, of each condition that has two or more."""
    conditions: dict[tuple[float, ...], list[Reading]] = defaultdict(list)
    for reading in campaign.readings:
        conditions[reading.pattern, reading.temperature, reading.trcd, reading.trp].append(reading)
    parts: tuple[list[Reading], list[Reading]] = ([], [])
    for readings in conditions.values():
        for place, reading in enumerate(readings):
            parts[not fitted(place, len(readings))].append(reading)
    first, second = (replace(campaign, readings=tuple(part)) for part in parts)
    return first, second


def checks_of(path: Path, modules: list[str], split: str) -> Iterator[Check]:
    """The checks of a vendor's modules."""
    for module in modules:
        campaign = read(path, module=module)
        if split in SPLITS:
            first, second = halves(campaign, SPLITS[split])
            try:
                device = fit_banks(first, FitSettings(nominal=NOMINAL)).device
            except ValueError as error:
                print(f"    {module}: {error}")
                continue
            yield check(device, second)
            continue
        others = [other for other in modules if other != module]
        source = Source(text="others", licence="", citation="", file=path.name, module=", ".join(others), vendor=None)
        yield check(fit_vendor(path, others, name="others", source=source, vdd=VDD), campaign)


def line(vendor: str, split: str, checks: list[Check]) -> str:
    """A vendor's figures."""
    failing = [one for found in checks for one in found.failing]
    off = sorted(
        max(one.factor, 1 / one.factor) for one in failing if one.factor is not None and 0 < one.factor < math.inf
    )
    inside = sum(one.verdict == "inside" for one in failing)
    readings = sum(one.inside for one in failing) / sum(one.readings for one in failing)
    high, margins = sum(len(found.too_low) for found in checks), [found.margin for found in checks]
    return (
        f"{vendor:6}  {split:18}  {len(failing):10}  {inside:6} {inside / len(failing):6.1%}  {readings:8.1%}  "
        f"{statistics.median(off):7.3g}  {off[math.ceil(0.9 * len(off)) - 1]:8.3g}  {high:8}  "
        f"{statistics.median(margins):6.3g}  {max(margins):7.3g}"
    )


def main() -> int:
    """Print the table; 1 where modules left out are inside less than nine in ten times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vendors", default="ABC")
    parser.add_argument("--splits", nargs="+", default=[*SPLITS, "modules left out"])
    arguments = parser.parse_args()
    folder = os.environ.get("EDEN_DATA")
    if not folder:
        print(f"EDEN_DATA is not set; it names the folder that holds {LATENCIES}", file=sys.stderr)
        return 1
    path = Path(folder) / LATENCIES
    with open(path, encoding="utf-8", newline="") as rows:
        vendor_of = {row["Label"]: row["VendorMask"] for row in csv.DictReader(rows)}
    print(
        f"{'vendor':6}  {'split':18}  {'conditions':>10}  {'inside 95%':>13}  {'readings':>8}  {'factor':>7}  "
        f"{'nine/ten':>8}  {'too high':>8}  {'margin':>6}  {'largest':>7}"
    )
    reached = True
    for split in arguments.splits:
        for vendor in arguments.vendors:
            modules = sorted(module for module, of in vendor_of.items() if of == vendor)
            checks = list(checks_of(path, modules, split))
            print(line(vendor, split, checks), flush=True)
            failing = [one for found in checks for one in found.failing]
            inside = sum(one.verdict == "inside" for one in failing)
            reached &= split in SPLITS or inside >= 0.9 * len(failing)
    return int(not reached)


if __name__ == "__main__":
    sys.exit(main())
