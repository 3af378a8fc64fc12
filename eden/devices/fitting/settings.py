"""What a user says of a measurement campaign that its file does not, and how its device is to be fitted."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal, get_args

from eden.devices.device import Source
from eden.devices.partition import Voltage
from eden.measurements.readers import CELLS_PER_BANK, MAX_DAMAGED, Campaign, read
from eden.memory.geometry import Geometry

Form = Literal["module", "rank", "bank", "subarray"]
FORMS: tuple[Form, ...] = get_args(Form)
"""Forms of a device from the coarsest to the finest."""


@dataclass(frozen=True)
class FitSettings:
    """The arguments of ``eden.fit`` and ``eden.devices.fitting.analyse`` behind the path of the measurements.

    Attributes:
        format: one of ``eden.measurements.readers.FORMATS``; recognized from the file's first bytes if None.
        module: which module of a file that holds several.
        name: the device's name; the module's label if None.
        source: where the figures come from; the file and module, with the licence not stated, if None.
        failure: the probability F that a read of a weak cell is inverted. If None: fitted where the cells that failed
            were read repeatedly, else 1. Totals of banks tell only the product of F and the share of weak cells, so
            there it is an assumption, and is recorded as one.
        temperature: the device's temperature in degrees Celsius, one of the measured ones; the highest if None. Also
            that of the conditions that do not state theirs.
        vdd: the nominal supply voltage in V, which conditions that do not state theirs were measured at. If None: the
            highest stated, else 1.5.
        trcd: the nominal tRCD in ns, likewise. If None: the longest stated, else 12.5.
        trp: the nominal tRP in ns, likewise.
        refresh_interval: the nominal refresh interval in ms, likewise.
        reliable: the bank that is kept at its nominal operating point. If None, ``bank0``, unless some bank was not
            tested and so is.
        cells_per_bank: number of cells behind a bank's rate in the latency-variation format.
        geometry: rows, subarrays and banks of the module; of several ranks, banks are numbered through all of them. If
            None: of counts, rows and subarrays are those of ``Geometry()``; of flips, all is what holds the tested
            cells. Either is recorded as an assumption.
        voltage: bit error rates along the supply voltage, from ``populations.vendor_voltage``, to be joined to those of
            the latencies; its first row is at ``vdd``. Not for flips, nor where several voltages were measured.
        bank_curves: fit curves along the latencies for every partition too, not only for the module; it takes some
            seconds.
        partitions: into what the device is divided: ``"module"``, ``"rank"``, ``"bank"`` or ``"subarray"``. Parts that
            the measurements do not tell apart are left together, with one set of rates. If None: into banks, whether
            they differ or not.
        at: what the file does not state of its conditions; see ``readers.read``, as for all that follows but
            ``grid`` and ``cell_map``.
        pattern: the data that was stored, where the file does not state it.
        banks: the banks whose flips were looked for, or how many from 0 on. Flips need this and the next two.
        rows: the rows of each, or how many from 0 on.
        row_bits: the number of cells of a row.
        subarray_rows: rows of a subarray, for formats that take it; else give a geometry.
        column_bits: cells behind a column's address.
        repeats: passes of each condition.
        grid: whether every pattern of a file of flips was tested at every operating point in it, so that one without
            a flip there made no error. If False, such a point is left out, because it may not have been tested.
        cell_map: whether the error models are the measured chip's own weak cells, for flips.
        max_damaged: share of damaged lines above which the file is an error.

    Raises:
        ValueError: for a number outside what is allowed.

    """

    format: str | None = None
    module: str | None = None
    _: KW_ONLY
    name: str | None = None
    source: Source | None = None
    failure: float | None = None
    temperature: float | None = None
    vdd: float | None = None
    trcd: float | None = None
    trp: float | None = None
    refresh_interval: float = 64.0
    reliable: str | None = None
    cells_per_bank: int = CELLS_PER_BANK
    geometry: Geometry | None = None
    voltage: Voltage | None = None
    bank_curves: bool = False
    partitions: Form | None = None
    at: Mapping[str, float] | None = None
    pattern: str | None = None
    banks: int | Sequence[int] | None = None
    rows: int | range | None = None
    row_bits: int | None = None
    subarray_rows: int | None = None
    column_bits: int | None = None
    repeats: int | None = None
    grid: bool = False
    cell_map: bool = False
    max_damaged: float = MAX_DAMAGED

    def __post_init__(self) -> None:
        for label, value, high in (
            ("failure", self.failure, 1.0),
            ("vdd", self.vdd, 10.0),
            ("trcd", self.trcd, 1e6),
            ("trp", self.trp, 1e6),
            ("refresh_interval", self.refresh_interval, 1e6),
        ):
            if value is not None and not 0.0 < value <= high:
                raise ValueError(f"{label} is {value}; allowed is above 0, up to {high:g}")
        if self.partitions is not None and self.partitions not in FORMS:
            raise ValueError(f"partitions is {self.partitions!r}; allowed are {', '.join(FORMS)}")

    def read(self, path: str | os.PathLike[str]) -> Campaign:
        """The measurements, read as these settings say. Raises as ``eden.measurements.readers.read``."""
        return read(
            path,
            self.format,
            self.module,
            self.cells_per_bank,
            at=self.at,
            pattern=self.pattern,
            banks=self.banks,
            rows=self.rows,
            row_bits=self.row_bits,
            subarray_rows=self.subarray_rows,
            column_bits=self.column_bits,
            repeats=self.repeats,
            max_damaged=self.max_damaged,
        )

    def source_of(self, campaign: Campaign) -> Source:
        """Where the figures come from: what was given, or else the file and its module."""
        return self.source or Source(
            text=f"module {campaign.module} of {campaign.path.name}",
            licence="not stated",
            citation="",
            file=campaign.path.name,
            module=campaign.module,
            vendor=campaign.vendor,
        )
