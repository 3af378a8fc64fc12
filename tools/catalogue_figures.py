"""Draws the catalogue for docs/explanation/devices.md: ``make figures``.

The same files give the same figures, byte for byte.
"""

from __future__ import annotations

import sys
from pathlib import Path

from eden.common.files import output_folder
from eden.devices.device import Device
from eden.reporting.figures import save_figure
from eden.reporting.plots.devices import vendor_figure


def main() -> None:
    """Write one figure for each vendor into the folder given, or the current one."""
    folder = output_folder(sys.argv[1] if len(sys.argv) > 1 else Path())
    vendors: dict[str, list[Device]] = {}
    for device in map(Device.builtin, Device.builtin_names()):
        if device.population is None:
            vendors.setdefault(device.source.vendor or "unknown", []).append(device)
    for vendor, devices in sorted(vendors.items()):
        path = folder / f"vendor-{vendor.lower()}.svg"
        save_figure(vendor_figure(devices), path)
        print(f"{path.name}: {len(devices)} devices, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
