"""Fits a device to a measurement campaign: what was read, left out, assumed and chosen.

``fit`` gives the device, ``analyse`` the report too. Counts of banks are fitted by ``counts``, single flips by
``cells``; a further format is a file of ``csrc/measurements``.
"""

from __future__ import annotations

import os
from typing import Any

from eden.common.renames import renamed
from eden.devices.device import Device, Source
from eden.devices.fitting.cells import fit_cells
from eden.devices.fitting.counts import MODELS, fit_banks
from eden.devices.fitting.report import FitReport, PointFit
from eden.devices.fitting.settings import FORMS, FitSettings, Form
from eden.devices.likelihoods import fit_counts
from eden.devices.partition import Voltage
from eden.measurements.campaign import Condition
from eden.measurements.damage import MAX_DAMAGED
from eden.measurements.tested import Tested
from eden.memory.geometry import Geometry

__all__ = [
    "FORMS",
    "MODELS",
    "FitReport",
    "FitSettings",
    "Form",
    "PointFit",
    "analyse",
    "analyse_with",
    "fit",
    "fit_counts",
]

# Formats that tell counts of banks; all others tell single flips, or none.
COUNTS = ("counts", "latency-variation")

_NOMINAL = ("temperature", "vdd", "trcd", "trp", "refresh_interval")
_TESTED = ("banks", "rows", "row_bits", "subarray_rows", "column_bits", "cells_per_bank", "repeats", "grid")


def analyse(
    path: str | os.PathLike[str], format: str | None = None, module: str | None = None, **settings: Any
) -> FitReport:
    """The same as ``fit``, with the report of what was read, left out, assumed and chosen."""
    return analyse_with(path, FitSettings(format, module, **settings))


def analyse_with(path: str | os.PathLike[str], settings: FitSettings) -> FitReport:
    """The same with settings that are put together already."""
    campaign = settings.read(path)
    settings.refuse_hammering(campaign)
    settings.refuse_unknown_values(campaign)
    return fit_banks(campaign, settings) if campaign.format in COUNTS else fit_cells(campaign, settings)


@renamed(
    **{name: f"nominal=eden.Condition({name}=...)" for name in _NOMINAL},
    **{name: f"tested=eden.Tested({name}=...)" for name in _TESTED},
    pattern="at=eden.Condition(pattern=...)",
)
def fit(
    path: str | os.PathLike[str],
    format: str | None = None,
    module: str | None = None,
    *,
    nominal: Condition | None = None,
    at: Condition | None = None,
    tested: Tested | None = None,
    name: str | None = None,
    source: Source | None = None,
    failure: float | None = None,
    reliable: str | None = None,
    geometry: Geometry | None = None,
    voltage: Voltage | None = None,
    partitions: Form | None = None,
    bank_curves: bool = False,
    cell_map: bool = False,
    max_damaged: float = MAX_DAMAGED,
) -> Device:
    """Fit a device to a measurement campaign.

    Args:
        path: the measurements.
        format: one of ``eden.measurements.readers.FORMATS``; recognized from the file's first bytes if None.
        module: which module of a file that holds several.
        nominal: the nominal operating point, which conditions that do not state theirs were measured at. If not
            given, the voltage is the highest stated, else 1.5 V, the latencies are the longest stated, else 12.5 ns,
            the refresh interval is 64 ms, and tRAS is the longest stated, else not stated by the device either. The
            temperature is the device's, one of the measured ones; the highest if not given.
        at: what the file does not state of its conditions, and the pattern that was stored.
        tested: which cells were tested, and how the file is laid out, where it does not tell. Flips need ``banks``,
            ``rows`` and ``row_bits``.
        name: the device's name; the module's label if None.
        source: where the figures come from; the file and module, with the licence not stated, if None.
        failure: the probability F that a read of a weak cell is inverted. If None: fitted where the cells that failed
            were read repeatedly, else 1. Totals of banks tell only the product of F and the share of weak cells, so
            there it is an assumption, and is recorded as one.
        reliable: the bank that is kept at its nominal operating point. If None, ``bank0``, unless some bank was not
            tested and so is.
        geometry: rows, subarrays and banks of the module; of several ranks, banks are numbered through all of them. If
            None: of counts, rows and subarrays are those of ``Geometry()``; of flips, all is what holds the tested
            cells. Either is recorded as an assumption.
        voltage: bit error rates along the supply voltage, from ``populations.vendor_voltage``, to be joined to those of
            the latencies; its first row is at the nominal voltage. Not for flips, nor where several voltages were
            measured.
        partitions: into what the device is divided: ``"module"``, ``"rank"``, ``"bank"`` or ``"subarray"``. Parts that
            the measurements do not tell apart are left together, with one set of rates. If None: into banks, whether
            they differ or not.
        bank_curves: fit curves along the latencies for every partition too, not only for the module; it takes some
            seconds.
        cell_map: whether the error models are the measured chip's own weak cells, for flips.
        max_damaged: share of damaged lines above which the file is an error.

    Raises:
        FileError: for a file that cannot be used, naming the place, what was found and what is allowed.
        ValueError: for an argument outside what is allowed.

    """
    return analyse(
        path,
        format,
        module,
        nominal=nominal or Condition(),
        at=at or Condition(),
        tested=tested or Tested(),
        name=name,
        source=source,
        failure=failure,
        reliable=reliable,
        geometry=geometry,
        voltage=voltage,
        partitions=partitions,
        bank_curves=bank_curves,
        cell_map=cell_map,
        max_damaged=max_damaged,
    ).device
