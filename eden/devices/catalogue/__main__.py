"""Makes the catalogue's device files from the measurements: ``make catalogue``, with ``EDEN_DATA`` set.

One device for every module of the latency-variation study and one for the modules of each vendor together. On one
processor one version gives the same files of the same measurements, byte for byte. Another rounds otherwise: figures
differ in the last digit that is kept, and of a curve whose scale is open, in where it lies on its ridge.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from eden.common.files import output_folder
from eden.common.progress import task
from eden.devices.device import Device, Source
from eden.devices.fitting import fit
from eden.devices.populations import fit_vendor, vendor_voltage
from eden.measurements.campaign import Condition

LATENCIES = Path("dram", "latency-variation", "data_latvar_sigmetrics2016.csv")
VOLTAGES = Path("dram", "voltage", "dimm_faulty_cachelines_out.csv")
# The voltage study's modules are DDR3L; the latency study does not state its modules' voltage.
VDD = 1.35
_LICENCE = "BSD-3-Clause, Copyright (c) 2016, SAFARI Research Group at Carnegie Mellon University"
_CITATION = (
    "K. K. Chang et al., Understanding Latency Variation in Modern DRAM Chips: Experimental Characterization, "
    "Analysis, and Optimization, SIGMETRICS 2016; measurements: CMU-SAFARI/DRAM-Latency-Variation-Study"
)
_VOLTAGE_SOURCE = (
    "K. K. Chang et al., Understanding Reduced-Voltage Operation in Modern DRAM Devices: Experimental "
    "Characterization, Analysis, and Mechanisms, SIGMETRICS 2017; measurements: CMU-SAFARI/DRAM-Voltage-Study"
)


def _source(text: str, module: str, vendor: str) -> Source:
    return Source(
        text=f"{text}, measured by the SAFARI Research Group",
        licence=_LICENCE,
        citation=_CITATION,
        file=LATENCIES.name,
        module=module,
        vendor=vendor,
    )


def build(data: Path) -> Iterator[tuple[str, Device]]:
    """Fit every device of the catalogue to the measurements in a data folder; yields names and devices."""
    path = data / LATENCIES
    by_vendor: dict[str, set[str]] = {}
    with open(path, encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            by_vendor.setdefault(row["VendorMask"], set()).add(row["Label"])
    for vendor, found in sorted(by_vendor.items()):
        labels = sorted(found)
        voltage = vendor_voltage(data / VOLTAGES, vendor, VDD, source=_VOLTAGE_SOURCE)
        for module in labels:
            name = f"ddr3-{module}"
            source = _source(f"DDR3 SO-DIMM {module} of vendor {vendor}", module, vendor)
            nominal = Condition(vdd=VDD)
            yield (
                name,
                fit(path, None, module, nominal=nominal, name=name, source=source, voltage=voltage, bank_curves=True),
            )
        name = f"ddr3-vendor-{vendor.lower()}"
        source = _source(f"{len(labels)} DDR3 SO-DIMMs of vendor {vendor} together", ", ".join(labels), vendor)
        yield name, fit_vendor(path, labels, name=name, source=source, vdd=VDD, voltage=voltage)


def main() -> None:
    """Write the device files into the folder given, or beside this file."""
    data = os.environ.get("EDEN_DATA")
    if not data:
        sys.exit(f"EDEN_DATA is not set; it names the folder that holds {LATENCIES} and {VOLTAGES}")
    folder = output_folder(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    with task("devices", None) as progress:
        for name, device in build(Path(data)):
            path = folder / f"{name}.json"
            device.save(path)
            progress.advance(1)
            print(f"{path.name}: {device.model}, {len(device.whole.points)} points, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
