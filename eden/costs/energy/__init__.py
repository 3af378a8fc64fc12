"""DRAM energy from a data sheet's currents, per voltage domain and command (docs/accounting.md)."""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, ClassVar, Literal, Self

import pydantic

from eden import _core
from eden.common.files import Record, VersionedFile

VDD_LAWS: Mapping[str, str] = {
    "linear": "currents stay as specified, E = I V t, as DRAMPower 4.1 and energydram count at any voltage that they "
    "are given",
    "quadratic": "currents are proportional to VDD, E ~ V^2, as Micron's system-power calculator scales all that the "
    "core takes (technical note TN-41-01)",
}
"""How an energy depends on VDD, by name, and whose assumption that is."""

TERMS = ("activate", "read", "write", "background", "refresh")
"""Terms of the core's energy that depend on VDD; an activation includes its precharge."""

_MILLI = 1e-3

Positive = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
Current = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]


class Domain(Record):
    """Currents of one supply of a chip, in mA; of VPP, those that data sheets call IPP."""

    voltage: Positive
    """V at which the currents are specified."""
    idd0: Current
    """One bank activated and precharged every tRC."""
    idd2n: Current
    """Standby, all banks precharged."""
    idd3n: Current
    """Standby, rows open."""
    idd4r: Current
    """Continuous reads."""
    idd4w: Current
    """Continuous writes."""
    idd5: Current
    """Continuous refresh."""
    follows_vdd: bool = True
    """Whether this is the supply that an operating point's VDD lowers; any other one keeps its voltage."""


class Cycles(Record):
    """Timing in clock cycles."""

    tras: Positive
    trc: Positive
    trfc: Positive
    trefi: Positive
    """Mean time between two refresh commands, within specification."""
    tcl: Positive

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.trc < self.tras:
            raise ValueError(f"trc is {self.trc:g} cycles; allowed is tras, {self.tras:g}, or more")
        return self


class Interface(Record):
    """Power of a chip's data signals, which keep their own voltage."""

    read_mw: Current
    """mW per driven signal while reading."""
    write_mw: Current
    """mW per terminated signal while writing."""
    read_signals: Annotated[int, pydantic.Field(ge=0)]
    """Driven signals per chip: data and strobes."""
    write_signals: Annotated[int, pydantic.Field(ge=0)]
    """Terminated signals per chip: data, strobes and mask."""
    source: str


class Counts(Record):
    """Commands and clock cycles that a rank of DRAM chips went through."""

    activates: Current = 0.0
    precharges: Current = 0.0
    reads: Current = 0.0
    """Bursts read."""
    writes: Current = 0.0
    """Bursts written."""
    refreshes: Current = 0.0
    active_cycles: Current = 0.0
    """Clock cycles with a row open in some bank."""
    precharged_cycles: Current = 0.0
    """Clock cycles with no row open."""


class RankPower(VersionedFile):
    """Currents and timing of one rank of DRAM chips that work in lock step. Saved and loaded as JSON."""

    FORMAT: ClassVar[str] = "eden-currents"
    VERSION: ClassVar[int] = 1

    name: str
    title: str
    """What the rank consists of, in words."""
    standard: Literal["DDR3", "DDR3L", "DDR4", "LPDDR3", "LPDDR4"]
    source: str
    """Where currents and timing come from."""
    operating_points: Literal["absolute", "relative"] = "absolute"
    """What a device's operating points mean here: "absolute", their VDD and refresh interval themselves; "relative",
    the same shares of this rank's own ones as they are of the device's nominal ones, for a standard with others."""
    chips: Annotated[int, pydantic.Field(ge=1)]
    width: Literal[4, 8, 16, 32]
    """Data bits of a chip."""
    burst_length: Literal[4, 8, 16]
    clock_mhz: Positive
    """Clock at two transfers per cycle."""
    refresh_ms: Positive
    """Refresh interval in ms within specification, at which trefi holds."""
    cycles: Cycles
    domains: Annotated[dict[str, Domain], pydantic.Field(min_length=1)]
    interface: Interface | None
    """None: nothing is known of it, and it is not counted."""

    @pydantic.model_validator(mode="after")
    def _has_a_supply_to_lower(self) -> Self:
        following = {domain.voltage for domain in self.domains.values() if domain.follows_vdd}
        if len(following) != 1:
            raise ValueError(
                f"found {len(following)} voltages of domains that follow VDD among {', '.join(self.domains)}; allowed "
                "is one"
            )
        return self

    @classmethod
    def builtin(cls, name: str) -> RankPower:
        """A rank that ships with the package. Raises ValueError listing those that there are."""
        if name not in builtin_ranks():
            raise ValueError(f"rank is {name!r}; allowed are {', '.join(map(repr, builtin_ranks()))} or a file of one")
        file = importlib.resources.files(__name__) / f"{name}.json"
        return cls.parse(file.read_text(encoding="utf-8"), f"{name}.json")

    @property
    def vdd(self) -> float:
        """V of the supply that operating points lower, as specified."""
        return next(domain.voltage for domain in self.domains.values() if domain.follows_vdd)

    @property
    def tck(self) -> float:
        """Clock cycle in ns."""
        return 1e3 / self.clock_mhz

    @property
    def tcl(self) -> float:
        """Latency of a read's first data after its command in ns."""
        return self.cycles.tcl * self.tck

    @property
    def trefi(self) -> float:
        """Mean time between two refresh commands in ns, within specification."""
        return self.cycles.trefi * self.tck

    @property
    def tburst(self) -> float:
        """Time in ns in which one burst occupies the data bus."""
        return self.burst_length / 2 * self.tck

    @property
    def burst_bytes(self) -> int:
        """Bytes of one burst over all chips."""
        return self.chips * self.width * self.burst_length // 8

    def chip_energy(self, counts: Counts) -> dict[str, _core.CommandEnergy]:
        """Energy in pJ of one chip by domain, at the voltages as specified."""
        cycles = self.cycles
        timing = _core.DramTiming(
            self.tck, cycles.tras * self.tck, cycles.trc * self.tck, cycles.trfc * self.tck, self.tburst
        )
        counted = _core.CommandCounts(*(getattr(counts, name) for name in Counts.model_fields))
        return {
            name: _core.command_energy(
                _core.DomainCurrents(
                    name,
                    *(getattr(domain, field) for field in Domain.model_fields if field != "follows_vdd"),
                ),
                timing,
                counted,
            )
            for name, domain in self.domains.items()
        }

    @cached_property
    def _units(self) -> dict[str, dict[str, float]]:
        """By term and domain, nJ of one command and W of standby and of refresh, over all chips."""
        one = {
            "activate": Counts(activates=1, precharges=1),
            "read": Counts(reads=1),
            "write": Counts(writes=1),
            "background": Counts(active_cycles=1),
            "refresh": Counts(refreshes=1),
        }
        # pJ over ns are mW; a command's pJ become nJ, and powers W, by the same factor.
        per = {"background": self.tck, "refresh": self.trefi}
        return {
            term: {
                name: self.chips * energy.total / per.get(term, 1.0) * _MILLI
                for name, energy in self.chip_energy(counts).items()
            }
            for term, counts in one.items()
        }

    def unit(self, term: str, factor: float = 1.0) -> float:
        """What one of a term takes, every supply that follows VDD multiplied with ``factor``.

        Returns:
            nJ of one activation with its precharge or of one burst, standby taken away; W of standby with rows open,
            and of refresh within specification, standby taken away.

        """
        return sum(
            value * (factor if self.domains[name].follows_vdd else 1.0) for name, value in self._units[term].items()
        )

    def vdd_factor(self, law: str, vdd: float, nominal: float) -> float:
        """What a term is multiplied with at a device's VDD, against the voltage of the data sheet.

        Args:
            law: a name of ``VDD_LAWS``.
            vdd: V at the operating point.
            nominal: V of the device within specification.

        """
        reference = self.vdd if self.operating_points == "absolute" else nominal
        return _core.voltage_factor(getattr(_core.VoltageLaw, law), vdd, reference)

    def refresh_rate(self, interval: float, nominal: float) -> float:
        """Refreshes at a device's refresh interval over those within this rank's specification.

        Args:
            interval: ms at the operating point.
            nominal: ms of the device within specification.

        """
        return (self.refresh_ms if self.operating_points == "absolute" else nominal) / interval

    @property
    def read_io_nj(self) -> float:
        """Energy of driving one burst over the interface, in nJ; 0 where nothing is known of it."""
        io = self.interface
        return 0.0 if io is None else self.chips * io.read_signals * io.read_mw * self.tburst * _MILLI

    @property
    def write_io_nj(self) -> float:
        """Energy of terminating one burst from the interface, in nJ; 0 where nothing is known of it."""
        io = self.interface
        return 0.0 if io is None else self.chips * io.write_signals * io.write_mw * self.tburst * _MILLI


def builtin_ranks() -> tuple[str, ...]:
    """Names of the ranks that ship with the package."""
    names = (file.name for file in importlib.resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


def rank_named(rank: str | os.PathLike[str] | RankPower) -> RankPower:
    """The rank itself, the one of a name, or that of a file whose path ends in .json.

    Raises:
        ValueError: for a name that there is not.
        FileError: for a file that cannot be used.

    """
    if isinstance(rank, RankPower):
        return rank
    text = os.fspath(rank)
    return RankPower.load(text) if text.endswith(".json") else RankPower.builtin(text)


def law_of_terms(law: str | Mapping[str, str]) -> dict[str, str]:
    """The law of each term, of one law's name or of names by term.

    Raises:
        ValueError: for a name that is not in ``VDD_LAWS``, a term that is not in ``TERMS`` and a term without a law.

    """
    laws = dict.fromkeys(TERMS, law) if isinstance(law, str) else dict(law)
    if set(laws) != set(TERMS):
        raise ValueError(f"vdd_law has the terms {', '.join(laws)}; allowed are all of {', '.join(TERMS)}")
    for term, name in laws.items():
        if name not in VDD_LAWS:
            raise ValueError(f"vdd_law of {term} is {name!r}; allowed are {', '.join(map(repr, VDD_LAWS))}")
    return laws


def energy_of(
    rank: str | os.PathLike[str] | RankPower,
    counts: Counts,
    vdd: float | None = None,
    law: str | Mapping[str, str] = "linear",
) -> dict[str, dict[str, float]]:
    """Energy of counted commands, in pJ, by domain and term.

    Args:
        rank: currents and timing, by name, file or themselves.
        counts: commands that each chip of the rank saw, and clock cycles with and without a row open.
        vdd: V of the supplies that follow VDD; as specified where none is given. The others keep theirs.
        law: how each term depends on VDD, a name of ``VDD_LAWS`` for all or one by term.

    Returns:
        By domain, pJ over all chips: activate, precharge, read, write, refresh, active_background and
        precharged_background.

    Raises:
        ValueError: for an unknown rank or law and a voltage that is not above 0.

    """
    chosen = rank_named(rank)
    laws = law_of_terms(law)
    factors = {
        term: _core.voltage_factor(getattr(_core.VoltageLaw, name), chosen.vdd if vdd is None else vdd, chosen.vdd)
        for term, name in laws.items()
    }
    term_of = {"precharge": "activate", "active_background": "background", "precharged_background": "background"}
    parts = ("activate", "precharge", "read", "write", "refresh", "active_background", "precharged_background")
    return {
        name: {
            part: chosen.chips
            * getattr(energy, part)
            * (factors[term_of.get(part, part)] if chosen.domains[name].follows_vdd else 1.0)
            for part in parts
        }
        for name, energy in chosen.chip_energy(counts).items()
    }
