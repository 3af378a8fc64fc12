"""Files of accounts: what a placement saves, in all, by platform and operand, and for how much accuracy."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, ClassVar, Literal, Self

import pydantic

from eden.common.checks import at_most, rounding
from eden.common.files import FiniteRecord, Record, stored_as
from eden.common.provenance import Result
from eden.common.tables import notebook, text_table

ACCESSES = ("activate", "read", "write")
"""The terms that an operand's own accesses take; the others are the device's."""

# Shares of sums over a few terms, of which the cases of a range differ in their order alone.
_SAVED_OPERATIONS = 32
_OPERATIONS = 16
_MOST_SHOWN = 8

_Finite = Annotated[float, pydantic.Field(allow_inf_nan=False)]


class EnergyTerm(FiniteRecord):
    """One term of the DRAM's energy per inference."""

    nominal_nj: float
    """With every partition within specification, in nJ."""
    placed_nj: float
    """With the placement's operating points, in nJ."""


class _Energy(Record):
    terms: dict[str, EnergyTerm]
    """Energy per inference at typical assumptions: activate, read, write, interface, background, refresh."""

    @property
    def nominal_nj(self) -> float:
        """Sum of its terms within specification."""
        return sum(term.nominal_nj for term in self.terms.values())

    @property
    def placed_nj(self) -> float:
        """Sum of its terms as placed."""
        return sum(term.placed_nj for term in self.terms.values())


class Free(FiniteRecord):
    """What operating points without errors save, whatever the network tolerates, at typical assumptions."""

    energy_reduction: float
    """Share of the DRAM's energy."""
    speedup: float
    """Baseline time over new time, less 1."""


class _Saved(Record):
    energy_reduction: _Finite
    """Share of the DRAM's energy that is saved, at typical assumptions."""
    energy_reduction_range: tuple[float, float]
    """Its lowest and highest value over all ends of the assumptions."""
    speedup: _Finite
    """Baseline time over new time, less 1, at typical assumptions."""
    speedup_range: tuple[float, float]
    """Its lowest and highest value over all ends of the assumptions."""
    free: Free | None = None
    """The part that needs no tolerance: points without errors give it. None in files of before it was counted."""
    spread: EnergyTerm | None = None
    """Standard deviation of the energy between inferences, of traffic that was counted over data (``eden.traffic``)."""

    @property
    def energy_by_tolerance(self) -> float | None:
        """Share of the DRAM's energy that tolerance adds to what is free; below 0 where a solver does worse by it."""
        return None if self.free is None else self.energy_reduction - self.free.energy_reduction

    @property
    def energy_split(self) -> str:
        """What is free and what tolerance adds, in words; empty where it was not counted."""
        if self.free is None:
            return ""
        return f"{self.free.energy_reduction:z.2%} free, {self.energy_by_tolerance:+z.2%} by tolerance"

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("energy_reduction", "speedup"):
            low, high = getattr(self, f"{name}_range")
            value = getattr(self, name)
            if not (at_most(low, value, _SAVED_OPERATIONS) and at_most(value, high, _SAVED_OPERATIONS)):
                raise ValueError(f"{name} is {value}; allowed is within its range {low} to {high}")
        return self


class Sensitivity(FiniteRecord):
    """What one assumption decides: the results at its ends, all others typical."""

    energy_reduction: tuple[float, float]
    """Lowest and highest, a share of the DRAM's energy."""
    speedup: tuple[float, float]
    """Lowest and highest, baseline time over new time, less 1."""


class Savings(_Energy, _Saved, Result):
    """What a placement saves per inference. Saved and loaded as JSON."""

    FORMAT: ClassVar[str] = "eden-savings"
    VERSION: ClassVar[int] = 1

    platform: str
    """Name of the platform."""
    device: str
    """Name of the device."""
    headline: tuple[str, ...] = ()
    """What decides most of it, in sentences: a cache that holds the network, the law of the voltage and its range,
    supplies that are shared. None in files of before it was kept."""
    sensitivity: dict[str, Sensitivity] = pydantic.Field(default_factory=dict)
    """By assumption: row_hit_share, bus_utilization, exposed_latency_share, vdd_law, maps_stay_on_chip."""
    assumptions: tuple[str, ...]
    """Everything assumed, in sentences."""

    def table(self) -> str:
        """The savings as text, assumptions included."""
        tables = [text_table(header, rows) for header, rows in self._tables() if rows]
        return "\n\n".join(
            [
                *filter(None, ["\n".join(self.headline)]),
                *tables,
                "\n".join(["assumed:", *(f"- {one}" for one in self.assumptions)]),
            ]
        )

    def _repr_html_(self) -> str:
        title = f"saved by {self.device} on {self.platform}"
        return notebook(title, *((header, rows) for header, rows in self._tables() if rows), notes=self.assumptions)

    def _tables(self) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
        results = [
            (label, f"{value:z.2%}", _spread(limits))
            for label, value, limits in (
                ("DRAM energy reduction", self.energy_reduction, self.energy_reduction_range),
                ("speedup", self.speedup, self.speedup_range),
            )
        ]
        if self.free is not None:
            for place, (whole, free) in enumerate(
                ((self.energy_reduction, self.free.energy_reduction), (self.speedup, self.free.speedup))
            ):
                results[3 * place + 1 : 3 * place + 1] = [
                    ("  free, at points without errors", f"{free:z.2%}", ""),
                    ("  added by what is tolerated", f"{whole - free:z.2%}", ""),
                ]
        terms = [(name, f"{term.nominal_nj:.1f}", f"{term.placed_nj:.1f}") for name, term in self.terms.items()]
        if self.spread is not None:
            terms.append(("deviation", f"{self.spread.nominal_nj:.1f}", f"{self.spread.placed_nj:.1f}"))
        alone = [(name, _spread(one.energy_reduction), _spread(one.speedup)) for name, one in self.sensitivity.items()]
        return [
            ((f"{self.platform}, {self.device}", "typical", "range"), [*results]),
            (("energy per inference", "nominal (nJ)", "placed (nJ)"), [*terms]),
            (("each assumption alone", "energy reduction", "speedup"), [*alone]),
        ]


def _spread(limits: tuple[float, float]) -> str:
    return f"{limits[0]:z.2%} to {limits[1]:z.2%}"


class OperandAccount(_Energy, FiniteRecord):
    """What one operand's accesses take per inference, at typical assumptions: activate, read and write."""

    kind: Literal["weight", "input"]
    """What it is."""
    bytes: int = pydantic.Field(ge=1)
    """Stored bytes; of an input, one sample's."""
    read_bytes: float = pydantic.Field(ge=0)
    """Bytes that it moves from DRAM per sample."""
    written_bytes: float = pydantic.Field(ge=0)
    """Bytes that it moves to DRAM per sample."""
    time_saved: float
    """Share of the inference's time that its accesses save."""


class PlatformAccount(_Energy, _Saved, FiniteRecord):
    """What an inference takes on one platform."""

    nominal_ns: float = pydantic.Field(ge=0)
    """Time of an inference's accesses within specification, at typical assumptions; 0 where a cache holds all."""
    placed_ns: float = pydantic.Field(ge=0)
    """The same with the placement."""
    operands: dict[str, OperandAccount]
    """Those that cross between processor and DRAM."""
    assumptions: tuple[str, ...]
    """Everything assumed, in sentences."""

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


class Account(Result):
    """Energy and time of a placement by platform, term and operand. Saved and loaded as JSON."""

    FORMAT: ClassVar[str] = "eden-account"
    VERSION: ClassVar[int] = 1

    device: str
    """Name of the device."""
    currents: Annotated[str, stored_as("rank", "currents")]
    """Those that are counted by."""
    headline: tuple[str, ...] = ()
    """What decides most of it, in sentences: a cache that holds the network, the law of the voltage and its range,
    supplies that are shared. None in files of before it was kept."""
    platforms: dict[str, PlatformAccount] = pydantic.Field(min_length=1)
    """What an inference takes, by platform."""

    def summary(self) -> str:
        """The account by platform as text."""
        header = ("platform", "within (nJ)", "placed (nJ)", "saved", "range", "free", "by tolerance", "within (us)")
        rows = []
        for name, one in self.platforms.items():
            low, high = one.energy_reduction_range
            cells = [name, f"{one.nominal_nj:.1f}", f"{one.placed_nj:.1f}", f"{one.energy_reduction:z.2%}"]
            cells.append(f"{low:z.1%} to {high:z.1%}")
            added = one.energy_by_tolerance
            cells += ["", ""] if one.free is None else [f"{one.free.energy_reduction:z.2%}", f"{added:z.2%}"]
            cells += [f"{one.nominal_ns / 1e3:.2f}", f"{one.placed_ns / 1e3:.2f}", f"{one.speedup:z.2%}"]
            rows.append(cells)
        table = text_table((*header, "placed (us)", "faster"), rows)
        head = [*self.headline, f"device {self.device}, currents of {self.currents}; per inference"]
        return "\n".join([*head, "", table])

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


class ParetoPoint(_Saved, FiniteRecord):
    """What giving up some accuracy saves."""

    max_drop: float = pydantic.Field(gt=0, lt=1)
    """Accuracy that may be lost."""
    coarse: float = pydantic.Field(ge=0, le=1)
    """Bit error rate that all operands tolerate then."""
    accuracy: float = pydantic.Field(ge=0, le=1)
    """As placed, mean over chips."""
    worst: float = pydantic.Field(ge=0, le=1)
    """On the worst of them."""


class Pareto(Result):
    """Energy against accuracy: placements for several ``max_drop``. Saved and loaded as JSON."""

    FORMAT: ClassVar[str] = "eden-pareto"
    VERSION: ClassVar[int] = 1

    device: str
    """Name of the device."""
    platform: str
    """Name of the platform."""
    reference_accuracy: float = pydantic.Field(ge=0, le=1)
    """On reliable memory."""
    chips: int = pydantic.Field(ge=1)
    """That each accuracy is a mean over."""
    confidence: float = pydantic.Field(gt=0, lt=1)
    """With which each drop holds by itself at the limits, not at placements below them: these are measured, not
    certified."""
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
            cells = [f"{point.max_drop:g}", f"{point.coarse:.2e}", f"{point.energy_reduction:z.2%}"]
            cells += [f"{point.speedup:z.2%}", f"{point.accuracy:z.2%}", f"{point.worst:z.2%}"]
            rows.append([*cells, "yes" if point in self.front else "no"])
        header = ("max_drop", "coarse BER", "energy saved", "speedup", "accuracy", "worst", "on the front")
        head = f"{self.device} on {self.platform}; on reliable memory {self.reference_accuracy:z.2%}"
        foot = f"accuracy as placed is measured on {self.chips} chips; drops are certified at the limits, not below"
        return f"{head}\n{text_table(header, rows)}\n{foot}"
