"""Accounting: what a placement saves in DRAM energy and time, with every assumption named.

``savings`` is of one platform, ``account`` of several, and by operand; both are views of one count.
docs/explanation/accounting.md has the mathematics.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eden.accounting.assumptions import assumptions, headline
from eden.accounting.results import (
    ACCESSES,
    Account,
    EnergyTerm,
    Free,
    OperandAccount,
    PlatformAccount,
    Savings,
    Sensitivity,
)
from eden.common.provenance import Provenance
from eden.common.renames import renamed
from eden.costs.count_traffic import held, traffic
from eden.costs.defaults import CURRENTS, PLATFORM, VDD_LAW
from eden.costs.energy import TERMS, VDD_LAWS, Currents
from eden.costs.model import NOTHING, Case, CostModel, Outcome, Placed, check_same_operands, outcome, typical_case
from eden.costs.platforms import PLATFORMS, SHARES, Platform, Range
from eden.costs.traffic_file import OperandInfo, OperandTraffic, Traffic, deviation
from eden.devices.partition import OperatingPoint
from eden.placement.placement import Placement

if TYPE_CHECKING:
    import torch


@renamed(rank="currents")
def savings(
    model_or_traffic: torch.nn.Module | Mapping[str, OperandInfo] | Traffic,
    placement: Placement,
    platform: str | Platform | None = None,
    currents: str | os.PathLike[str] | Currents = CURRENTS,
    vdd_law: str | Mapping[str, str] = VDD_LAW,
) -> Savings:
    """DRAM energy and time per inference with a placement, against the same device within specification.

    The energy is the data-sheet current method's (activate, read and write, interface, background, refresh); all
    that is assumed is varied between the ends of its range, which gives the ranges of the result. The mathematics is
    in docs/explanation/accounting.md.

    Args:
        model_or_traffic: a network after ``inject_``, operands by name, or the result of ``eden.traffic``.
        placement: the result of ``place``.
        platform: "cpu" (where none is given for a model), "gpu", "eyeriss", "tpu" or a Platform; for a Traffic, the
            platform that it was counted for.
        currents: of the DRAM, with its timing: "ddr3-1600", "ddr3l-1600", "ddr4-2400", "lpddr3-1600", "lpddr4-3200",
            "lpddr5x-8533", "hbm2-1200", "hbm3e-6400", the path of a file ending in .json, or a Currents.
        vdd_law: how energy depends on VDD in the typical case, "linear" or "quadratic", or one by term ("activate",
            "read", "write", "background", "refresh"); the range includes both for all terms.

    Raises:
        ValueError: for an unknown platform or one that differs from the traffic's, unknown currents, an unknown law,
            for a placement of another network, and for an operand of the placement that the model lacks or has with
            another size.
        FileError: for a file of currents that cannot be used.

    """
    if isinstance(model_or_traffic, Traffic):
        moved, chosen = model_or_traffic, model_or_traffic.counted_for(platform)
    else:
        chosen = Platform.named(PLATFORM if platform is None else platform)
        moved = traffic(model_or_traffic, chosen)
    of_dram = Currents.named(currents)
    found = _Count(moved, placement, chosen, of_dram, vdd_law)
    return Savings(
        platform=chosen.name,
        device=placement.device,
        headline=found.headline,
        sensitivity=found.sensitivity(),
        provenance=_made(model_or_traffic, placement, of_dram, vdd_law),
        **found.saved(),
    )


@renamed(rank="currents")
def account(
    model_or_traffics: torch.nn.Module | Mapping[str, OperandInfo] | Sequence[Traffic],
    placement: Placement,
    platforms: Sequence[str | Platform] = tuple(PLATFORMS),
    currents: str | os.PathLike[str] | Currents = CURRENTS,
    vdd_law: str | Mapping[str, str] = VDD_LAW,
) -> Account:
    """Energy and time per inference with a placement and within specification, by platform, term and operand.

    Background, refresh and interface are the device's; what an operand takes is what its accesses take.

    Args:
        model_or_traffics: a network after ``inject_`` and ``calibrate_``, operands by name, or traffics, one for each
            platform.
        placement: the result of ``place``.
        platforms: names of presets, or platforms; of traffics those they were counted for, where they are no presets.
        currents: as in ``savings``.
        vdd_law: as in ``savings``.

    Raises:
        ValueError: as ``savings``; also for no platform, or one twice.
        FileError: for a file of currents that cannot be used.

    """
    chosen = [Platform.named(platform) for platform in platforms]
    if isinstance(model_or_traffics, Sequence):
        known = {platform.name: platform for platform in chosen}
        pairs = [(known.get(moved.platform) or Platform.named(moved.platform), moved) for moved in model_or_traffics]
    else:
        pairs = [(platform, traffic(model_or_traffics, platform)) for platform in chosen]
    names = [platform.name for platform, _ in pairs]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"platforms are {names}; allowed is one or more, each once")
    of_dram = Currents.named(currents)
    counted = {platform.name: _Count(moved, placement, platform, of_dram, vdd_law) for platform, moved in pairs}
    return Account(
        device=placement.device,
        currents=of_dram.name,
        headline=tuple(dict.fromkeys(line for one in counted.values() for line in one.headline)),
        platforms={
            name: PlatformAccount(operands=one.operands(), **one.saved(), **one.times())
            for name, one in counted.items()
        },
        provenance=_made(model_or_traffics, placement, of_dram, vdd_law),
    )


def _made(counted: Any, placement: Placement, currents: Currents, vdd_law: str | Mapping[str, str]) -> Provenance:
    """What an account is made from. Raises ValueError where it is of a network that the placement is not of."""
    of: dict[str, Any] = {"placement": placement, "currents": currents}
    if not isinstance(counted, (Traffic, Sequence, Mapping)):
        from eden.faults.digests import network_digest

        of["network"] = network_digest(counted)
        placement.check_made_from("placement", network=of["network"])
    settings = {"vdd_law": vdd_law if isinstance(vdd_law, str) else dict(vdd_law)}
    return Provenance.made(placement.provenance, settings=settings, **of)


class _Count:
    """Energy and time of a placement on one platform, under every case of what is assumed."""

    def __init__(
        self,
        moved: Traffic,
        placement: Placement,
        platform: Platform,
        currents: Currents,
        vdd_law: str | Mapping[str, str],
    ) -> None:
        check_same_operands(moved, {name: operand.bytes for name, operand in placement.operands.items()}, "placement")
        self._moved, self._placement, self._platform, self._currents = moved, placement, platform, currents
        self._usual = typical_case(platform, vdd_law)
        # Costs are sums over operands, so those at one operating point count as one.
        self._merged = _merged(moved, placement)
        typical = self._outcome(self._usual)
        self.held = None if moved.crossing_bytes else held(moved.operands, platform, moved.batch)
        if typical is None and self.held is not None:
            typical = NOTHING
        if typical is None:
            raise ValueError(
                "the traffic moves no bytes; allowed is one operand or more that crosses the interface. "
                + " ".join(moved.notes)
            )
        self._typical = typical

    @property
    def headline(self) -> tuple[str, ...]:
        """What decides most of it."""
        return headline(self._moved, self._placement, self._platform, self._currents, self._usual.vdd_laws)

    def _outcome(self, case: Case) -> Outcome | None:
        return outcome(self._model(self._merged, case), self._placement)

    def _model(self, moved: Traffic, case: Case) -> CostModel:
        placement = self._placement
        ranks = self._currents.ranks(placement.capacity_bytes, placement.ranks)
        return CostModel(moved, placement.nominal, self._currents, case, ranks)

    @property
    def _shares(self) -> dict[str, Range]:
        return {name: getattr(self._platform, name) for name in SHARES}

    @property
    def _laws(self) -> list[Mapping[str, str]]:
        return [self._usual.vdd_laws, *(dict.fromkeys(TERMS, law) for law in VDD_LAWS)]

    def saved(self) -> dict[str, Any]:
        """Shares of energy and time that are saved, with the ends of all cases, and the energy by term."""
        typical = self._typical
        # Each parameter enters energy and time as a quotient of linear functions, so the extremes lie at the ends.
        ends = itertools.product(*((share.low, share.high) for share in self._shares.values()))
        cases = (
            Case(hit, busy, exposed, law, kept)
            for (hit, busy, exposed), law, kept in itertools.product(ends, self._laws, (False, True))
        )
        outcomes = [typical, *(one for case in cases if (one := self._outcome(case)) is not None)]
        return {
            "energy_reduction": typical.energy_reduction,
            "energy_reduction_range": _ends([one.energy_reduction for one in outcomes]),
            "speedup": typical.speedup,
            "speedup_range": _ends([one.speedup for one in outcomes]),
            "free": self._free(),
            "spread": self._spread(),
            "terms": _terms(typical.terms),
            "assumptions": assumptions(
                self._moved, self._placement, self._platform, self._currents, self._usual.vdd_laws
            ),
        }

    def _spread(self) -> EnergyTerm | None:
        """How far inferences are from the mean; None where all move the same."""
        energies: dict[str, list[tuple[float, float]]] = {"nominal_nj": [], "placed_nj": []}
        for path in self._moved.paths:
            merged = _merged(self._moved.along(path), self._placement)
            found = outcome(self._model(merged, self._usual), self._placement) or NOTHING
            for place, of in enumerate(energies.values()):
                of.append((path.share, sum(term[place] for term in found.terms.values())))
        if not self._moved.paths:
            return None
        return EnergyTerm(**{name: deviation(of) for name, of in energies.items()})

    def _free(self) -> Free | None:
        """What points without errors save; None where the placement does not tell them."""
        placed = self._placement.without_errors
        if placed is None:
            return None
        found = outcome(self._model(_merged(self._moved, placed), self._usual), placed)
        found = NOTHING if found is None else found
        return Free(energy_reduction=found.energy_reduction, speedup=found.speedup)

    def sensitivity(self) -> dict[str, Sensitivity]:
        """What each assumption decides alone."""
        usual = self._usual
        alone: dict[str, list[dict[str, Any]]] = {
            name: [{name: share.low}, {name: share.high}] for name, share in self._shares.items()
        }
        alone["vdd_law"] = [{"vdd_laws": law} for law in self._laws]
        alone["maps_stay_on_chip"] = [{"maps_stay_on_chip": kept} for kept in (False, True)]
        found = {}
        for name, changes in alone.items():
            cases = [self._typical, *(self._outcome(replace(usual, **change)) for change in changes)]
            met = [one for one in cases if one is not None]
            found[name] = Sensitivity(
                energy_reduction=_ends([one.energy_reduction for one in met]),
                speedup=_ends([one.speedup for one in met]),
            )
        return found

    def _by_operand(self) -> CostModel:
        return self._model(self._moved, self._usual)

    def times(self) -> dict[str, Any]:
        """Time of an inference in ns, at typical assumptions."""
        nominal = self._by_operand().time_ns
        return {"nominal_ns": nominal, "placed_ns": nominal * self._typical.time_ratio}

    def operands(self) -> dict[str, OperandAccount]:
        """What each operand's accesses take, at typical assumptions."""
        model, placement = self._by_operand(), self._placement
        operands: dict[str, OperandAccount] = {}
        if self.held is not None:
            return operands
        for name in model.accesses:
            point = placement.point_of(name)
            nominal, placed = (model.access_nj(name, where) for where in (placement.nominal, point))
            crossing = self._moved.operands[name]
            operands[name] = OperandAccount(
                kind=crossing.kind,
                bytes=crossing.bytes,
                read_bytes=crossing.read_bytes,
                written_bytes=crossing.written_bytes,
                terms=_terms({term: (nominal[term], placed[term]) for term in ACCESSES}),
                time_saved=model.saved_share(name, point),
            )
        return operands


def _terms(found: Mapping[str, tuple[float, float]]) -> dict[str, EnergyTerm]:
    return {name: EnergyTerm(nominal_nj=nominal, placed_nj=placed) for name, (nominal, placed) in found.items()}


def _merged(moved: Traffic, placement: Placed) -> Traffic:
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
    return moved.model_copy(update={"operands": sums, "paths": ()})


def _ends(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)
