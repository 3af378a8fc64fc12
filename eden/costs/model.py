"""What an operating point costs: energy and time of accesses and of standby, under one case of what is assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from eden.costs.defaults import VDD_LAW
from eden.costs.energy import OPENING, Currents, law_of_terms
from eden.costs.platforms import Platform
from eden.costs.traffic_file import Traffic
from eden.devices.partition import OperatingPoint


@dataclass(frozen=True)
class Case:
    """One choice of everything that is assumed."""

    row_hit_share: float
    bus_utilization: float
    exposed_latency_share: float
    vdd_laws: Mapping[str, str]
    """Of each term of ``energy.TERMS``, a name of ``energy.VDD_LAWS``."""
    maps_stay_on_chip: bool


def typical_case(platform: Platform, vdd_law: str | Mapping[str, str] = VDD_LAW) -> Case:
    """A platform's typical assumptions. Raises ValueError for an unknown law."""
    return Case(
        platform.row_hit_share.typical,
        platform.bus_utilization.typical,
        platform.exposed_latency_share.typical,
        law_of_terms(vdd_law),
        maps_stay_on_chip=False,
    )


@dataclass(frozen=True)
class Accesses:
    """What one operand asks of the memory per inference."""

    reads: float
    """Bursts read."""
    writes: float
    opened: float
    """Rows opened for them."""


@dataclass(frozen=True)
class CostModel:
    """Energy and time of accesses and of standby at an operating point, under one case.

    The mathematics is in docs/explanation/accounting.md.
    """

    moved: Traffic
    nominal: OperatingPoint
    """The device's operating point within specification."""
    currents: Currents
    case: Case
    ranks: int = 1
    """That stand by and are refreshed, whichever of them is read."""
    accesses: dict[str, Accesses] = field(init=False)
    """By operand, of those that cross."""
    opened: float = field(init=False)
    """Rows opened per inference."""
    bursts: float = field(init=False)
    """Bursts per inference."""
    _units: dict[tuple[str, float], float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        crossing = {}
        for name, operand in self.moved.operands.items():
            if self.case.maps_stay_on_chip and operand.fits_on_chip:
                continue
            reads = operand.read_bytes / self.currents.burst_bytes
            writes = operand.written_bytes / self.currents.burst_bytes
            crossing[name] = Accesses(reads, writes, (reads + writes) * (1.0 - self.case.row_hit_share))
        object.__setattr__(self, "accesses", crossing)
        object.__setattr__(self, "opened", sum(access.opened for access in crossing.values()))
        object.__setattr__(self, "bursts", sum(access.reads + access.writes for access in crossing.values()))

    @property
    def time_ns(self) -> float:
        """Time of an inference within specification in ns: what takes part in no wait, and the waits for rows."""
        waited = self.opened * self.case.exposed_latency_share
        free = self.bursts * self.currents.tburst / self.case.bus_utilization
        return free + waited * (
            self.nominal.trp + self.nominal.trcd + self.currents.tcl + self.kept_open_ns(self.nominal)
        )

    def kept_open_ns(self, point: OperatingPoint) -> float:
        """How long a row stays open behind its first data, in ns, since its bank opens no other one before tRC.

        tRC is tRAS + tRP; 0 where no tRAS is stated, or it has passed by then.
        """
        return 0.0 if point.tras is None else max(0.0, point.tras - self.nominal.trcd - self.currents.tcl)

    def waiting_ns(self, point: OperatingPoint) -> float:
        """What of the wait for a row depends on the operating point, in ns."""
        return point.trcd + point.trp + self.kept_open_ns(point)

    def unit(self, term: str, vdd: float) -> float:
        """What one of a term takes at a VDD: nJ of a command, W of background and of refresh within specification."""
        key = (term, vdd)
        if key not in self._units:
            law = self.case.vdd_laws["activate" if term == OPENING else term]
            factor = self.currents.vdd_factor(law, vdd, self.nominal.vdd)
            self._units[key] = self.currents.unit(term, factor)
        return self._units[key]

    def activation_nj(self, point: OperatingPoint) -> float:
        """Energy of one activation with its precharge: what the row takes while it is open follows the point's tRAS."""
        whole = self.unit("activate", point.vdd)
        if point.tras is None or self.nominal.tras is None or point.tras == self.nominal.tras:
            return whole
        return whole - (1.0 - point.tras / self.nominal.tras) * self.unit(OPENING, point.vdd)

    def access_nj(self, operand: str, point: OperatingPoint) -> dict[str, float]:
        """Energy of an operand's accesses at an operating point by term, the interface's apart."""
        access = self.accesses[operand]
        return {
            "activate": access.opened * self.activation_nj(point),
            "read": access.reads * self.unit("read", point.vdd),
            "write": access.writes * self.unit("write", point.vdd),
        }

    @property
    def interface_nj(self) -> float:
        """Energy of the interface, which does not depend on the operating point."""
        # It keeps the nominal voltage, which is another than the data sheet's where a device says so.
        law = self.case.vdd_laws["read"]
        factor = self.currents.vdd_factor(law, self.nominal.vdd, self.nominal.vdd)
        return factor * sum(
            access.reads * self.currents.read_io_nj + access.writes * self.currents.write_io_nj
            for access in self.accesses.values()
        )

    def background_w(self, point: OperatingPoint) -> float:
        """Standby power of all ranks at an operating point."""
        return self.ranks * self.unit("background", point.vdd)

    def refresh_w(self, point: OperatingPoint) -> float:
        """Power of refreshing all ranks at an operating point."""
        rate = self.currents.refresh_rate(point.refresh_interval, self.nominal.refresh_interval)
        return self.ranks * self.unit("refresh", point.vdd) * rate

    def saved_share(self, operand: str, point: OperatingPoint) -> float:
        """Share of an inference's time that an operand's accesses save at an operating point."""
        nominal = self.nominal
        kept_open = self.kept_open_ns(nominal) - self.kept_open_ns(point)
        saved_ns = self.accesses[operand].opened * (nominal.trcd - point.trcd + nominal.trp - point.trp + kept_open)
        return self.case.exposed_latency_share * saved_ns / self.time_ns


@dataclass
class Outcome:
    """What operating points cost beside the nominal one.

    Attributes:
        terms: energy per inference in nJ by term, within specification and at the operating points.
        time_ratio: time of an inference at the operating points over that within specification.
    """

    terms: dict[str, tuple[float, float]]
    time_ratio: float

    @property
    def energy_reduction(self) -> float:
        """Share of the energy that is saved."""
        nominal = sum(term[0] for term in self.terms.values())
        return sum(term[0] - term[1] for term in self.terms.values()) / nominal if nominal else 0.0

    @property
    def speedup(self) -> float:
        """Time within specification over the new time, less 1."""
        return 1.0 / self.time_ratio - 1.0


NOTHING = Outcome(dict.fromkeys(("activate", "read", "write", "interface", "background", "refresh"), (0.0, 0.0)), 1.0)
"""Of inferences that move nothing: they take no energy of the DRAM's, so that none is saved."""


class Run(Protocol):
    """One region of a device, as it is run."""

    @property
    def capacity_bytes(self) -> int:
        """Its size."""

    @property
    def operating_point(self) -> OperatingPoint:
        """How it is run."""


class Placed(Protocol):
    """Operands at operating points, as ``eden.Placement`` has them."""

    @property
    def nominal(self) -> OperatingPoint:
        """The operating point within specification."""

    @property
    def partitions(self) -> Mapping[str, Run]:
        """The regions of the device."""

    def point_of(self, operand: str) -> OperatingPoint:
        """The operating point that an operand is read at."""


def outcome(model: CostModel, placement: Placed) -> Outcome | None:
    """Terms in nJ per inference and the ratio of times; None where nothing crosses in this case."""
    if model.bursts == 0.0:
        return None
    nominal = placement.nominal
    access = {term: [0.0, 0.0] for term in ("activate", "read", "write")}
    time_ratio = 1.0
    for name in model.accesses:
        point = placement.point_of(name)
        for i, where in enumerate((nominal, point)):
            for term, energy in model.access_nj(name, where).items():
                access[term][i] += energy
        time_ratio -= model.saved_share(name, point)
    capacity = sum(partition.capacity_bytes for partition in placement.partitions.values())
    # As what is saved from nominal, so that a placement within specification saves exactly nothing.
    at_nominal = (model.background_w(nominal), model.refresh_w(nominal))
    background, refresh = at_nominal
    for partition in placement.partitions.values():
        share = partition.capacity_bytes / capacity
        background -= share * (at_nominal[0] - model.background_w(partition.operating_point))
        refresh -= share * (at_nominal[1] - model.refresh_w(partition.operating_point))
    time_ns = model.time_ns
    return Outcome(
        terms={
            **{term: (energy[0], energy[1]) for term, energy in access.items()},
            "interface": (model.interface_nj, model.interface_nj),
            "background": (time_ns * at_nominal[0], time_ns * time_ratio * background),
            "refresh": (time_ns * at_nominal[1], time_ns * time_ratio * refresh),
        },
        time_ratio=time_ratio,
    )


def check_same_operands(moved: Traffic, sizes: Mapping[str, int], what: str) -> None:
    """Refuse operands that the traffic lacks or has with another size. Raises ValueError naming the operand."""
    for name, size in sizes.items():
        if name not in moved.operands:
            raise ValueError(
                f"operand {name} of the {what} is not among the model's {len(moved.operands)} operands; "
                f"was the {what} made for another model?"
            )
        if size != moved.operands[name].bytes:
            raise ValueError(
                f"operand {name} has {size} bytes in the {what} and {moved.operands[name].bytes} in the "
                "model; allowed is the same size (is the storage the same?)"
            )
