"""The account of a placement: energy and time by platform, term and operand, and against the accuracy that is given up.

Counted by ``eden.savings``; docs/accounting.md has the mathematics.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import pydantic

from eden.accounting.savings import EnergyTerm, savings
from eden.common.checks import rounding
from eden.common.files import FiniteRecord, VersionedFile
from eden.common.tables import text_table
from eden.costs.energy import RankPower, rank_named
from eden.costs.model import CostModel, outcome, typical_case
from eden.costs.platforms import PLATFORMS, Platform, platform_named
from eden.costs.traffic import OperandInfo, Traffic, traffic
from eden.placement.place import Placement

if TYPE_CHECKING:
    import torch

ACCESSES = ("activate", "read", "write")
"""The terms that an operand's own accesses take; the others are the device's."""

_OPERATIONS = 16


class OperandAccount(FiniteRecord):
    """What one operand's accesses take per inference, at typical assumptions."""

    kind: Literal["weight", "input"]
    bytes: int = pydantic.Field(ge=1)
    read_bytes: float = pydantic.Field(ge=0)
    written_bytes: float = pydantic.Field(ge=0)
    terms: dict[str, EnergyTerm]
    """Activate, read and write, in nJ."""
    time_saved: float
    """Share of the inference's time that its accesses save."""

    @property
    def nominal_nj(self) -> float:
        """Sum of its terms within specification."""
        return sum(term.nominal_nj for term in self.terms.values())

    @property
    def placed_nj(self) -> float:
        """Sum of its terms as placed."""
        return sum(term.placed_nj for term in self.terms.values())


class PlatformAccount(FiniteRecord):
    """What an inference takes on one platform."""

    energy_reduction: float
    """Share of the DRAM's energy that is saved, at typical assumptions."""
    energy_reduction_range: tuple[float, float]
    """Over all ends of what is assumed."""
    speedup: float
    speedup_range: tuple[float, float]
    nominal_ns: float = pydantic.Field(gt=0)
    """Time of an inference within specification, at typical assumptions."""
    placed_ns: float = pydantic.Field(gt=0)
    terms: dict[str, EnergyTerm]
    """Energy by term, in nJ."""
    operands: dict[str, OperandAccount]
    """Those that cross between processor and DRAM."""
    assumptions: tuple[str, ...]

    @property
    def nominal_nj(self) -> float:
        """Energy within specification."""
        return sum(term.nominal_nj for term in self.terms.values())

    @property
    def placed_nj(self) -> float:
        """Energy as placed."""
        return sum(term.placed_nj for term in self.terms.values())

    @pydantic.model_validator(mode="after")
    def _adds_up(self) -> Self:
        for name in ACCESSES:
            for owner, terms in (("terms", self.terms), *((of, one.terms) for of, one in self.operands.items())):
                if name not in terms:
                    raise ValueError(f"{owner}: found {', '.join(terms) or 'no term'}; allowed are all of {ACCESSES}")
            for which in ("nominal_nj", "placed_nj"):
                whole = getattr(self.terms[name], which)
                parts = [getattr(operand.terms[name], which) for operand in self.operands.values()]
                # The term is a product of a sum over operands, so each of these takes a few operations more.
                allowed = rounding(math.fsum(map(abs, parts)), 2 * len(parts) + _OPERATIONS)
                if not abs(math.fsum(parts) - whole) <= allowed:
                    raise ValueError(
                        f"{name}: operands take {math.fsum(parts)} nJ ({which}); allowed is what the term says, {whole}"
                    )
        return self


class Account(VersionedFile):
    """Energy and time of a placement by platform, term and operand. Saved and loaded as JSON (docs/accounting.md)."""

    FORMAT: ClassVar[str] = "eden-account"
    VERSION: ClassVar[int] = 1

    device: str
    rank: str
    """Currents that are counted by."""
    platforms: dict[str, PlatformAccount] = pydantic.Field(min_length=1)

    def summary(self) -> str:
        """The account by platform as text."""
        header = ("platform", "within (nJ)", "placed (nJ)", "saved", "range", "within (us)", "placed (us)", "faster")
        rows = []
        for name, one in self.platforms.items():
            low, high = one.energy_reduction_range
            cells = [name, f"{one.nominal_nj:.1f}", f"{one.placed_nj:.1f}", f"{one.energy_reduction:.2%}"]
            cells += [f"{low:.1%} to {high:.1%}", f"{one.nominal_ns / 1e3:.2f}", f"{one.placed_ns / 1e3:.2f}"]
            rows.append([*cells, f"{one.speedup:.2%}"])
        return f"device {self.device}, currents of {self.rank}; per inference\n\n{text_table(header, rows)}"

    def table(self) -> str:
        """The account as text: platforms, then terms, then the operands that take most."""
        tables = [self.summary()]
        for name, one in self.platforms.items():
            operands = sorted(one.operands.items(), key=lambda item: -item[1].nominal_nj)
            shown: list[tuple[str, EnergyTerm | OperandAccount]] = [*one.terms.items()]
            shown += [(f"  {operand}", value) for operand, value in operands[:_MOST_SHOWN]]
            rows = [(row, f"{value.nominal_nj:.1f}", f"{value.placed_nj:.1f}") for row, value in shown]
            more = len(operands) - _MOST_SHOWN
            rest = f"\n  and {more} operands more" if more > 0 else ""
            tables.append(text_table((f"{name}: term or operand", "within (nJ)", "placed (nJ)"), rows) + rest)
        return "\n\n".join(tables)


_MOST_SHOWN = 8


def account(
    model_or_traffics: torch.nn.Module | Mapping[str, OperandInfo] | Sequence[Traffic],
    placement: Placement,
    platforms: Sequence[str | Platform] = tuple(PLATFORMS),
    rank: str | os.PathLike[str] | RankPower = "ddr3-1600",
    vdd_law: str | Mapping[str, str] = "linear",
) -> Account:
    """Energy and time per inference with a placement and within specification, by platform, term and operand.

    Background, refresh and interface are the device's; what an operand takes is what its accesses take.

    Args:
        model_or_traffics: a network after ``inject_`` and ``calibrate_``, operands by name, or traffics, one for each
            platform.
        placement: the result of ``place``.
        platforms: names of presets, or platforms; of traffics their own.
        rank: as in ``savings``.
        vdd_law: as in ``savings``.

    Raises:
        ValueError: as ``savings``; also for no platform, or one twice.
        FileError: for a file of currents that cannot be used.

    """
    if isinstance(model_or_traffics, Sequence):
        pairs = [(platform_named(moved.platform), moved) for moved in model_or_traffics]
    else:
        chosen = [platform_named(platform) for platform in platforms]
        pairs = [(platform, traffic(model_or_traffics, platform)) for platform in chosen]
    names = [platform.name for platform, _ in pairs]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"platforms are {names}; allowed is one or more, each once")
    of_rank = rank_named(rank)
    return Account(
        device=placement.device,
        rank=of_rank.name,
        platforms={
            platform.name: _on_platform(platform, moved, placement, of_rank, vdd_law) for platform, moved in pairs
        },
    )


def _on_platform(
    platform: Platform, moved: Traffic, placement: Placement, rank: RankPower, vdd_law: str | Mapping[str, str]
) -> PlatformAccount:
    saved = savings(moved, placement, platform=platform, rank=rank, vdd_law=vdd_law)
    model = CostModel(moved, placement.nominal, rank, typical_case(platform, vdd_law))
    found = outcome(model, placement)
    assert found is not None  # savings has refused a traffic without bytes
    operands = {}
    for name in model.accesses:
        point = placement.point_of(name)
        nominal, placed = (model.access_nj(name, vdd) for vdd in (placement.nominal.vdd, point.vdd))
        crossing = moved.operands[name]
        operands[name] = OperandAccount(
            kind=crossing.kind,
            bytes=crossing.bytes,
            read_bytes=crossing.read_bytes,
            written_bytes=crossing.written_bytes,
            terms={term: EnergyTerm(nominal_nj=nominal[term], placed_nj=placed[term]) for term in ACCESSES},
            time_saved=model.saved_share(name, point),
        )
    return PlatformAccount(
        energy_reduction=saved.energy_reduction,
        energy_reduction_range=saved.energy_reduction_range,
        speedup=saved.speedup,
        speedup_range=saved.speedup_range,
        nominal_ns=model.time_ns,
        placed_ns=model.time_ns * found.time_ratio,
        terms=saved.terms,
        operands=operands,
        assumptions=saved.assumptions,
    )


class ParetoPoint(FiniteRecord):
    """What giving up some accuracy saves."""

    max_drop: float = pydantic.Field(gt=0, lt=1)
    """Accuracy that may be lost."""
    coarse: float = pydantic.Field(ge=0, le=1)
    """Bit error rate that all operands tolerate then."""
    energy_reduction: float
    energy_reduction_range: tuple[float, float]
    speedup: float
    speedup_range: tuple[float, float]
    accuracy: float = pydantic.Field(ge=0, le=1)
    """As placed, mean over chips."""
    worst: float = pydantic.Field(ge=0, le=1)
    """On the worst of them."""


class Pareto(VersionedFile):
    """Energy against accuracy: placements for several ``max_drop``. Saved and loaded as JSON (docs/accounting.md)."""

    FORMAT: ClassVar[str] = "eden-pareto"
    VERSION: ClassVar[int] = 1

    device: str
    platform: str
    reference_accuracy: float = pydantic.Field(ge=0, le=1)
    """On reliable memory."""
    chips: int = pydantic.Field(ge=1)
    """That each accuracy is a mean over."""
    confidence: float = pydantic.Field(gt=0, lt=1)
    """With which each drop holds by itself."""
    points: tuple[ParetoPoint, ...] = pydantic.Field(min_length=1)
    """From the smallest drop to the largest."""

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        drops = [point.max_drop for point in self.points]
        if any(after <= before for before, after in itertools.pairwise(drops)):
            raise ValueError(f"max_drop of points are {drops}; allowed are rising ones")
        return self

    @property
    def front(self) -> tuple[ParetoPoint, ...]:
        """The points that no other one beats: as much energy saved by a smaller drop, or more by the same."""
        best: list[ParetoPoint] = []
        for point in self.points:
            if not best or point.energy_reduction > best[-1].energy_reduction:
                best.append(point)
        return tuple(best)

    def table(self) -> str:
        """The points as text."""
        rows = []
        for point in self.points:
            cells = [f"{point.max_drop:g}", f"{point.coarse:.2e}", f"{point.energy_reduction:.2%}"]
            cells += [f"{point.speedup:.2%}", f"{point.accuracy:.2%}", f"{point.worst:.2%}"]
            rows.append([*cells, "yes" if point in self.front else "no"])
        header = ("max_drop", "coarse BER", "energy saved", "speedup", "accuracy", "worst", "on the front")
        head = f"{self.device} on {self.platform}; on reliable memory {self.reference_accuracy:.2%}"
        return f"{head}\n{text_table(header, rows)}"
