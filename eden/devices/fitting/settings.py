"""How a device is fitted to a campaign, and what its file does not tell: the arguments of ``fit``."""

from __future__ import annotations

import os
import re
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal, get_args

from eden.common.files import FileError
from eden.devices.device import Source
from eden.devices.partition import Voltage
from eden.measurements.campaign import Campaign, Condition
from eden.measurements.damage import MAX_DAMAGED
from eden.measurements.readers import read
from eden.measurements.tested import Tested
from eden.memory.geometry import Geometry

Form = Literal["module", "rank", "bank", "subarray"]
FORMS: tuple[Form, ...] = get_args(Form)
"""Forms of a device from the coarsest to the finest."""

_HIGHEST = {"vdd": 10.0, "trcd": 1e6, "trp": 1e6, "refresh_interval": 1e6, "tras": 1e6}


@dataclass(frozen=True)
class FitSettings:
    """The arguments of ``eden.fit`` behind the path of the measurements, which describes them.

    Raises:
        ValueError: for a number outside what is allowed.

    """

    format: str | None = None
    module: str | None = None
    _: KW_ONLY
    nominal: Condition = field(default_factory=Condition)
    at: Condition = field(default_factory=Condition)
    tested: Tested = field(default_factory=Tested)
    name: str | None = None
    source: Source | None = None
    failure: float | None = None
    reliable: str | None = None
    geometry: Geometry | None = None
    voltage: Voltage | None = None
    partitions: Form | None = None
    bank_curves: bool = False
    cell_map: bool = False
    max_damaged: float = MAX_DAMAGED

    def __post_init__(self) -> None:
        for name, kind in (("nominal", Condition), ("at", Condition), ("tested", Tested)):
            if not isinstance(getattr(self, name), kind):
                found = type(getattr(self, name)).__name__
                raise TypeError(f"{name} is a {found}; allowed is an eden.{kind.__name__}")
        if self.failure is not None and not 0.0 < self.failure <= 1.0:
            raise ValueError(f"failure is {self.failure}; allowed is above 0, up to 1")
        for name, high in _HIGHEST.items():
            value = getattr(self.nominal, name)
            if value is not None and not 0.0 < value <= high:
                raise ValueError(f"{name} is {value}; allowed is above 0, up to {high:g}")
        for name in ("hammer_count", "pattern"):
            if getattr(self.nominal, name) is not None:
                raise ValueError(f"nominal has {name}; allowed are {', '.join(('temperature', *_HIGHEST))}")
        if self.partitions is not None and self.partitions not in FORMS:
            raise ValueError(f"partitions is {self.partitions!r}; allowed are {', '.join(FORMS)}")

    def read(self, path: str | os.PathLike[str]) -> Campaign:
        """The measurements, read as these settings say. Raises as ``eden.measurements.readers.read``."""
        return read(path, self.format, self.module, at=self.at, tested=self.tested, max_damaged=self.max_damaged)

    @staticmethod
    def refuse_hammering(campaign: Campaign) -> None:
        """Raise ValueError for a campaign that hammered rows: what failed by it does not fail at an operating point."""
        for statistics in campaign.statistics.conditions if campaign.statistics else ():
            count = statistics.condition.hammer_count
            if count:
                raise ValueError(
                    f"hammer_count is {count:g} in {campaign.path.name}: RowHammer is no operating point that a memory "
                    "can be run at; allowed are conditions without it (eden.measurements.readers.read gives the "
                    "statistics of each condition, and eden.devices.likelihoods.fit_models fits them)"
                )

    @staticmethod
    def refuse_unknown_values(campaign: Campaign) -> None:
        """Raise FileError where of some cells alone it is not known what they stored: left out, rates are too low."""
        found = campaign.statistics.conditions if campaign.statistics else ()
        # Of a pattern of one byte that is counted as a whole the share of ones is known.
        unknown = [
            entry.condition.pattern
            for entry in found
            if None in entry.stored_values and not re.fullmatch("0x[0-9a-f]{2}", entry.condition.pattern or "")
        ]
        if 0 < len(unknown) < len(found):
            raise FileError(
                campaign.path,
                f"column pattern: {unknown[0]!r} does not tell which value cells stored, as other patterns do; allowed "
                "are bytes such as 0xff, and with any other name the column stored",
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
