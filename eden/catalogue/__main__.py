"""Makes the catalogue's device files from the measurements: ``make catalogue``, with ``EDEN_DATA`` set.

The same measurements give the same files, byte for byte.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from eden.device import Device, Source
from eden.files import output_folder
from eden.fitting import fit

MEASUREMENTS = Path("dram", "latency-variation", "data_latvar_sigmetrics2016.csv")
# Of each vendor, modules whose tRCD sweep mixes few regimes and is monotone down to 5 ns. y7 is here because Model 0
# describes it; its 7.5 ns is left out.
VENDORS = {"A": ("b33", "b34", "y7"), "B": ("p9", "p13", "p15"), "C": ("g26", "g35", "y24")}


def build(data: Path) -> Iterator[tuple[str, Device]]:
    """Fit every device of the catalogue to the measurements in a data folder; yields names and devices."""
    for vendor, modules in VENDORS.items():
        for module in modules:
            name = f"ddr3-{module}"
            source = Source(
                text=f"DDR3 SO-DIMM {module} of vendor {vendor}, measured by the SAFARI Research Group",
                licence="BSD-3-Clause, Copyright (c) 2016, SAFARI Research Group at Carnegie Mellon University",
                citation="K. K. Chang et al., Understanding Latency Variation in Modern DRAM Chips: Experimental "
                "Characterization, Analysis, and Optimization, SIGMETRICS 2016; measurements: "
                "CMU-SAFARI/DRAM-Latency-Variation-Study",
                file=MEASUREMENTS.name,
                module=module,
                vendor=vendor,
            )
            yield name, fit(data / MEASUREMENTS, module=module, name=name, source=source)


def main() -> None:
    """Write the device files into the folder given, or beside this file."""
    data = os.environ.get("EDEN_DATA")
    if not data:
        sys.exit("EDEN_DATA is not set; it names the folder that holds " + str(MEASUREMENTS))
    folder = output_folder(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    for name, device in build(Path(data)):
        path = folder / f"{name}.json"
        device.save(path)
        print(f"{path.name}: {device.model}, {len(device.whole.points)} points, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
