"""Accounting: what a placement saves in DRAM energy and time, with every assumption named (docs/accounting.md)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pydantic

from eden.common.checks import at_most
from eden.common.files import Record, VersionedFile
from eden.common.tables import text_table
from eden.costs.energy import TERMS, VDD_LAWS, RankPower, law_of_terms, rank_named
from eden.costs.model import Case, CostModel, Outcome, check_same_operands, outcome, typical_case
from eden.costs.platforms import SHARES, Platform, Range, platform_named
from eden.costs.traffic import OperandInfo, OperandTraffic, Traffic, traffic
from eden.devices.partition import OperatingPoint
from eden.placement.place import Placement

if TYPE_CHECKING:
    import torch

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
        results = [
            (label, f"{value:.2%}", _spread(limits))
            for label, value, limits in (
                ("DRAM energy reduction", self.energy_reduction, self.energy_reduction_range),
                ("speedup", self.speedup, self.speedup_range),
            )
        ]
        terms = [(name, f"{term.nominal_nj:.1f}", f"{term.placed_nj:.1f}") for name, term in self.terms.items()]
        alone = [(name, _spread(one.energy_reduction), _spread(one.speedup)) for name, one in self.sensitivity.items()]
        tables = [
            text_table((f"{self.platform}, {self.device}", "typical", "range"), results),
            text_table(("energy per inference", "nominal (nJ)", "placed (nJ)"), terms),
            *([text_table(("each assumption alone", "energy reduction", "speedup"), alone)] if alone else []),
        ]
        return "\n\n".join([*tables, "\n".join(["assumed:", *(f"- {one}" for one in self.assumptions)])])


def _spread(limits: tuple[float, float]) -> str:
    return f"{limits[0]:.2%} to {limits[1]:.2%}"


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

    def case_of(case: Case) -> Outcome | None:
        return outcome(CostModel(merged, nominal, of_rank, case), placement)

    for hit, busy, exposed in itertools.product(*((share.low, share.high) for share in shares.values())):
        for law, kept in itertools.product(every_law, (False, True)):
            one = case_of(Case(hit, busy, exposed, law, kept))
            if one is not None:
                outcomes.append(one)
    usual = typical_case(chosen, laws)
    alone: dict[str, list[Outcome | None]] = {}
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
