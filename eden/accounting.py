"""Accounting: what a placement saves in DRAM energy and time, with every assumption named (docs/accounting.md)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pydantic

from eden.checks import at_most
from eden.energy import TERMS, VDD_LAWS, RankPower, law_of_terms, rank_named
from eden.files import Record, VersionedFile
from eden.movement import OperandInfo, OperandTraffic, Traffic, traffic
from eden.partition import OperatingPoint
from eden.placement import Placement
from eden.platforms import PLATFORMS, SHARES, Platform, Range, platform_named

if TYPE_CHECKING:
    import torch

__all__ = [
    "DDR3_1600_RANK",
    "PLATFORMS",
    "Case",
    "CostModel",
    "EnergyTerm",
    "OperandInfo",
    "OperandTraffic",
    "Platform",
    "Range",
    "Savings",
    "Traffic",
    "check_same_operands",
    "outcome",
    "platform_named",
    "savings",
    "traffic",
    "typical_case",
]

# Shares of sums over a few terms, of which the cases of a range differ in their order alone.
_OPERATIONS = 32

DDR3_1600_RANK = RankPower.builtin("ddr3-1600")
"""A rank of 8 banks of 128 MiB, the geometry of the catalogue's devices."""


class EnergyTerm(Record):
    """One term of the DRAM's energy per inference."""

    nominal_nj: float = pydantic.Field(allow_inf_nan=False)
    """With every partition within specification, in nJ."""
    placed_nj: float = pydantic.Field(allow_inf_nan=False)
    """With the placement's operating points, in nJ."""


class Sensitivity(Record):
    """What one assumption decides: the results at its ends, all others typical."""

    energy_reduction: tuple[float, float]
    """Lowest and highest, a share of the DRAM's energy."""
    speedup: tuple[float, float]
    """Lowest and highest, baseline time over new time, less 1."""


class Savings(VersionedFile):
    """What a placement saves per inference. Saved and loaded as JSON (docs/accounting.md)."""

    FORMAT: ClassVar[str] = "eden-savings"
    VERSION: ClassVar[int] = 1

    platform: str
    device: str
    energy_reduction: float = pydantic.Field(allow_inf_nan=False)
    """Share of the DRAM's energy that is saved, at typical assumptions."""
    energy_reduction_range: tuple[float, float]
    """Its lowest and highest value over all ends of the assumptions."""
    speedup: float = pydantic.Field(allow_inf_nan=False)
    """Baseline time over new time, less 1, at typical assumptions."""
    speedup_range: tuple[float, float]
    """Its lowest and highest value over all ends of the assumptions."""
    terms: dict[str, EnergyTerm]
    """Energy per inference at typical assumptions: activate, read, write, interface, background, refresh."""
    sensitivity: dict[str, Sensitivity] = pydantic.Field(default_factory=dict)
    """By assumption: row_hit_share, bus_utilization, exposed_latency_share, vdd_law, maps_stay_on_chip."""
    assumptions: tuple[str, ...]
    """Everything assumed, in sentences."""

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("energy_reduction", "speedup"):
            low, high = getattr(self, f"{name}_range")
            value = getattr(self, name)
            if not (at_most(low, value, _OPERATIONS) and at_most(value, high, _OPERATIONS)):
                raise ValueError(f"{name} is {value}; allowed is within its range {low} to {high}")
        return self

    def table(self) -> str:
        """The savings as text, assumptions included."""
        lines = [f"platform {self.platform}, device {self.device}"]
        for label, value, (low, high) in (
            ("DRAM energy reduction", self.energy_reduction, self.energy_reduction_range),
            ("speedup", self.speedup, self.speedup_range),
        ):
            lines.append(f"{label:<22} {value:7.2%}   ({low:.2%} to {high:.2%})")
        lines += ["", f"{'energy per inference':<22} {'nominal (nJ)':>14} {'placed (nJ)':>14}"]
        lines += [f"{name:<22} {term.nominal_nj:>14.1f} {term.placed_nj:>14.1f}" for name, term in self.terms.items()]
        if self.sensitivity:
            lines += ["", f"{'each assumption alone':<22} {'energy reduction':>20} {'speedup':>20}"]
            for name, one in self.sensitivity.items():
                low, high = one.energy_reduction
                slow, fast = one.speedup
                lines.append(f"{name:<22} {f'{low:.2%} to {high:.2%}':>20} {f'{slow:.2%} to {fast:.2%}':>20}")
        return "\n".join([*lines, "", "assumed:", *(f"- {assumption}" for assumption in self.assumptions)])


@dataclass(frozen=True)
class Case:
    """One choice of everything that is assumed."""

    row_hit_share: float
    bus_utilization: float
    exposed_latency_share: float
    vdd_laws: Mapping[str, str]
    """Of each term of ``energy.TERMS``, a name of ``energy.VDD_LAWS``."""
    maps_stay_on_chip: bool


def typical_case(platform: Platform, vdd_law: str | Mapping[str, str] = "linear") -> Case:
    """A platform's typical assumptions. Raises ValueError for an unknown law."""
    return Case(
        platform.row_hit_share.typical,
        platform.bus_utilization.typical,
        platform.exposed_latency_share.typical,
        law_of_terms(vdd_law),
        maps_stay_on_chip=False,
    )


@dataclass(frozen=True)
class _Accesses:
    """What one operand asks of the memory per inference."""

    reads: float
    """Bursts read."""
    writes: float
    opened: float
    """Rows opened for them."""


@dataclass(frozen=True)
class CostModel:
    """Energy and time of accesses and of standby at an operating point, under one case (docs/accounting.md)."""

    moved: Traffic
    nominal: OperatingPoint
    """The device's operating point within specification."""
    rank: RankPower
    case: Case
    accesses: dict[str, _Accesses] = field(init=False)
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
            reads = operand.read_bytes / self.rank.burst_bytes
            writes = operand.written_bytes / self.rank.burst_bytes
            crossing[name] = _Accesses(reads, writes, (reads + writes) * (1.0 - self.case.row_hit_share))
        object.__setattr__(self, "accesses", crossing)
        object.__setattr__(self, "opened", sum(access.opened for access in crossing.values()))
        object.__setattr__(self, "bursts", sum(access.reads + access.writes for access in crossing.values()))

    @property
    def time_ns(self) -> float:
        """Time of an inference within specification in ns: what takes part in no wait, and the waits for rows."""
        waited = self.opened * self.case.exposed_latency_share
        free = self.bursts * self.rank.tburst / self.case.bus_utilization
        return free + waited * (self.nominal.trp + self.nominal.trcd + self.rank.tcl)

    def unit(self, term: str, vdd: float) -> float:
        """What one of a term takes at a VDD: nJ of a command, W of background and of refresh within specification."""
        key = (term, vdd)
        if key not in self._units:
            factor = self.rank.vdd_factor(self.case.vdd_laws[term], vdd, self.nominal.vdd)
            self._units[key] = self.rank.unit(term, factor)
        return self._units[key]

    def access_nj(self, operand: str, vdd: float) -> dict[str, float]:
        """Energy of an operand's accesses at a VDD by term, the interface's apart."""
        access = self.accesses[operand]
        return {
            "activate": access.opened * self.unit("activate", vdd),
            "read": access.reads * self.unit("read", vdd),
            "write": access.writes * self.unit("write", vdd),
        }

    @property
    def interface_nj(self) -> float:
        """Energy of the interface, which does not depend on the operating point."""
        # It keeps the nominal voltage, which is another than the data sheet's where a device says so.
        law = self.case.vdd_laws["read"]
        factor = self.rank.vdd_factor(law, self.nominal.vdd, self.nominal.vdd)
        return factor * sum(
            access.reads * self.rank.read_io_nj + access.writes * self.rank.write_io_nj
            for access in self.accesses.values()
        )

    def background_w(self, point: OperatingPoint) -> float:
        """Standby power of the whole rank at an operating point."""
        return self.unit("background", point.vdd)

    def refresh_w(self, point: OperatingPoint) -> float:
        """Power of refreshing the whole rank at an operating point."""
        rate = self.rank.refresh_rate(point.refresh_interval, self.nominal.refresh_interval)
        return self.unit("refresh", point.vdd) * rate

    def saved_share(self, operand: str, point: OperatingPoint) -> float:
        """Share of an inference's time that an operand's accesses save at an operating point."""
        nominal = self.nominal
        saved_ns = self.accesses[operand].opened * (nominal.trcd - point.trcd + nominal.trp - point.trp)
        return self.case.exposed_latency_share * saved_ns / self.time_ns


@dataclass
class _Outcome:
    terms: dict[str, tuple[float, float]]
    time_ratio: float

    @property
    def energy_reduction(self) -> float:
        nominal = sum(term[0] for term in self.terms.values())
        return sum(term[0] - term[1] for term in self.terms.values()) / nominal

    @property
    def speedup(self) -> float:
        return 1.0 / self.time_ratio - 1.0


def outcome(model: CostModel, placement: Placement) -> _Outcome | None:
    """Terms in nJ per inference and the ratio of times; None where nothing crosses in this case."""
    if model.bursts == 0.0:
        return None
    nominal = placement.nominal
    access = {term: [0.0, 0.0] for term in ("activate", "read", "write")}
    time_ratio = 1.0
    for name in model.accesses:
        point = placement.point_of(name)
        for i, vdd in enumerate((nominal.vdd, point.vdd)):
            for term, energy in model.access_nj(name, vdd).items():
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
    return _Outcome(
        terms={
            **{term: (energy[0], energy[1]) for term, energy in access.items()},
            "interface": (model.interface_nj, model.interface_nj),
            "background": (time_ns * at_nominal[0], time_ns * time_ratio * background),
            "refresh": (time_ns * at_nominal[1], time_ns * time_ratio * refresh),
        },
        time_ratio=time_ratio,
    )


def _assumptions(
    moved: Traffic, placement: Placement, platform: Platform, rank: RankPower, laws: Mapping[str, str]
) -> tuple[str, ...]:
    def spread(value: Range, unit: str = "") -> str:
        if value.low == value.high:
            return f"{value.typical:g}{unit}"
        return f"{value.typical:g}{unit} ({value.low:g} to {value.high:g})"

    unplaced = [name for name in moved.operands if name not in placement.operands]
    kept = [name for name, operand in moved.operands.items() if operand.fits_on_chip]
    lines = [
        f"Platform {platform.name}: {platform.title}.",
        *(f"Its {name.replace('_', ' ')}: {source}." for name, source in platform.sources.items()),
        f"Share of bursts that find their row open: {spread(platform.row_hit_share)}.",
        "Share of the time in which the data bus transfers while nothing waits for a row: "
        f"{spread(platform.bus_utilization)}.",
        "Share of tRP + tRCD + tCL of each row that is opened in which the processor waits: "
        f"{spread(platform.exposed_latency_share)}; the rest of the time does not change with the latencies.",
        *moved.notes,
        f"{len(kept)} of {len(moved.operands)} operands are feature maps that fit into {platform.on_chip_bytes} bytes "
        "on the chip: they cross in the typical case and in one end of the range, and stay on the chip in the other.",
        *_law_texts(laws),
        "A lower tRCD or tRP leaves the energy of an activation unchanged; it saves background and refresh energy in "
        "the time that it saves.",
        "Each partition has its own VDD and takes a share of background and refresh by its capacity; a partition "
        "without operands stays within specification, and no power-down is used.",
        f"DRAM: {rank.title}; {rank.source}.",
        *_rank_texts(rank, placement.nominal),
        "Only DRAM energy for the operands is counted: not the processor's, nor biases, normalization and other data "
        "that no fault reaches.",
    ]
    lines += placement.notes
    if unplaced:
        lines.append(
            f"{len(unplaced)} operand(s) are not in the placement and stay within specification: {unplaced[0]}"
            f"{' and others' if len(unplaced) > 1 else ''}."
        )
    return tuple(lines)


def _law_texts(laws: Mapping[str, str]) -> list[str]:
    named = set(laws.values())
    if len(named) == 1:
        typical = f"Energy depends on VDD by the {named.pop()} law in the typical case"
    else:
        by_term = ", ".join(f"{term} {law}" for term, law in laws.items())
        typical = f"Energy depends on VDD term by term in the typical case ({by_term})"
    ends = " and ".join(f"all {law}" for law in VDD_LAWS)
    return [
        f"{typical}, and the range includes {ends}; the interface stays at the nominal voltage.",
        *(f"Law of VDD {name!r}: {text}." for name, text in VDD_LAWS.items()),
    ]


def _rank_texts(rank: RankPower, nominal: OperatingPoint) -> list[str]:
    lines = []
    kept = [f"{name} ({domain.voltage:g} V)" for name, domain in rank.domains.items() if not domain.follows_vdd]
    if kept:
        lines.append(f"Supplies that keep their voltage at every operating point: {', '.join(kept)}.")
    if rank.interface is None:
        lines.append("The interface's energy is not counted: no figures of it are at hand.")
    if rank.operating_points == "relative":
        lines.append(
            f"Voltages and refresh intervals count as shares of the device's nominal ones ({nominal.vdd:g} V, "
            f"{nominal.refresh_interval:g} ms), applied to {rank.vdd:g} V and {rank.refresh_ms:g} ms."
        )
    elif nominal.vdd != rank.vdd:
        lines.append(
            f"Currents specified at {rank.vdd:g} V are brought to the device's nominal {nominal.vdd:g} V by the law of "
            "VDD."
        )
    return lines


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


def savings(
    model_or_traffic: torch.nn.Module | Mapping[str, OperandInfo] | Traffic,
    placement: Placement,
    platform: str | Platform | None = None,
    rank: str | os.PathLike[str] | RankPower = DDR3_1600_RANK,
    vdd_law: str | Mapping[str, str] = "linear",
) -> Savings:
    """DRAM energy and time per inference with a placement, against the same device within specification.

    The energy is the data-sheet current method's (activate, read and write, interface, background, refresh); all
    that is assumed is varied between the ends of its range, which gives the ranges of the result. The mathematics is
    in docs/accounting.md.

    Args:
        model_or_traffic: a network after ``inject_``, operands by name, or the result of :func:`traffic`.
        placement: the result of ``place``.
        platform: "cpu" (where none is given for a model), "gpu", "eyeriss", "tpu" or a Platform; for a Traffic, the
            platform that it was counted for.
        rank: currents and timing of the DRAM: "ddr3-1600", "ddr3l-1600", "ddr4-2400", "lpddr3-1600", "lpddr4-3200",
            the path of a file ending in .json, or a RankPower.
        vdd_law: how energy depends on VDD in the typical case, "linear" or "quadratic", or one by term ("activate",
            "read", "write", "background", "refresh"); the range includes both for all terms.

    Raises:
        ValueError: for an unknown platform or one that differs from the traffic's, an unknown rank or law, and for an
            operand of the placement that the model lacks or has with another size.
        FileError: for a file of currents that cannot be used.

    """
    if isinstance(model_or_traffic, Traffic):
        moved = model_or_traffic
        chosen = platform_named(moved.platform if platform is None else platform)
        if chosen.name != moved.platform:
            raise ValueError(f"platform is {chosen.name!r}; allowed is the traffic's, {moved.platform!r}")
    else:
        chosen = platform_named("cpu" if platform is None else platform)
        moved = traffic(model_or_traffic, chosen)
    check_same_operands(moved, {name: operand.bytes for name, operand in placement.operands.items()}, "placement")
    of_rank = rank_named(rank)
    laws = law_of_terms(vdd_law)
    nominal = placement.nominal

    # Costs are sums over operands, so those at one operating point count as one.
    merged = _merged(moved, placement)
    typical = outcome(CostModel(merged, nominal, of_rank, typical_case(chosen, laws)), placement)
    if typical is None:
        raise ValueError(
            "the traffic moves no bytes; allowed is one operand or more that crosses the interface. "
            + " ".join(moved.notes)
        )
    outcomes = [typical]
    # Each parameter enters energy and time as a quotient of linear functions, so the extremes lie at the ends.
    every_law = [laws, *(dict.fromkeys(TERMS, law) for law in VDD_LAWS)]
    shares: dict[str, Range] = {name: getattr(chosen, name) for name in SHARES}

    def case_of(case: Case) -> _Outcome | None:
        return outcome(CostModel(merged, nominal, of_rank, case), placement)

    for hit, busy, exposed in itertools.product(*((share.low, share.high) for share in shares.values())):
        for law, kept in itertools.product(every_law, (False, True)):
            one = case_of(Case(hit, busy, exposed, law, kept))
            if one is not None:
                outcomes.append(one)
    usual = typical_case(chosen, laws)
    alone: dict[str, list[_Outcome | None]] = {}
    for name, share in shares.items():
        ends: list[dict[str, Any]] = [{name: share.low}, {name: share.high}]
        alone[name] = [case_of(replace(usual, **end)) for end in ends]
    alone["vdd_law"] = [case_of(replace(usual, vdd_laws=law)) for law in every_law]
    alone["maps_stay_on_chip"] = [case_of(replace(usual, maps_stay_on_chip=kept)) for kept in (False, True)]
    energy = [one.energy_reduction for one in outcomes]
    speed = [one.speedup for one in outcomes]
    return Savings(
        platform=chosen.name,
        device=placement.device,
        energy_reduction=typical.energy_reduction,
        energy_reduction_range=(min(energy), max(energy)),
        speedup=typical.speedup,
        speedup_range=(min(speed), max(speed)),
        terms={
            name: EnergyTerm(nominal_nj=nominal, placed_nj=placed) for name, (nominal, placed) in typical.terms.items()
        },
        sensitivity={
            name: Sensitivity(
                energy_reduction=_ends([one.energy_reduction for one in (typical, *cases) if one is not None]),
                speedup=_ends([one.speedup for one in (typical, *cases) if one is not None]),
            )
            for name, cases in alone.items()
        },
        assumptions=_assumptions(moved, placement, chosen, of_rank, laws),
    )


def _merged(moved: Traffic, placement: Placement) -> Traffic:
    """The traffic with all operands that share an operating point, and may stay on the chip or not, as one of them."""
    first: dict[tuple[OperatingPoint, bool], str] = {}
    sums: dict[str, OperandTraffic] = {}
    for name, operand in moved.operands.items():
        owner = first.setdefault((placement.point_of(name), operand.fits_on_chip), name)
        if owner == name:
            sums[name] = operand
            continue
        update = {
            part: getattr(sums[owner], part) + getattr(operand, part)
            for part in ("bytes", "read_bytes", "written_bytes")
        }
        sums[owner] = sums[owner].model_copy(update=update)
    return moved.model_copy(update={"operands": sums})


def _ends(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)
