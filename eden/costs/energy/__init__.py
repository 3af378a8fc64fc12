"""DRAM energy from a data sheet's currents, per voltage domain and command (docs/explanation/accounting.md)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

import pydantic

from eden.common.files import Record, ShippedFile


class VddLaw(NamedTuple):
    """How an energy depends on VDD, and whose assumption that is."""

    power: int
    """Of the voltage that the energy is proportional to."""
    text: str


VDD_LAWS: Mapping[str, VddLaw] = {
    "linear": VddLaw(
        1,
        "currents stay as specified, E = I V t, as DRAMPower 4.1 and energydram count at any voltage that they are "
        "given",
    ),
    "quadratic": VddLaw(
        2,
        "currents are proportional to VDD, E ~ V^2, as Micron's system-power calculator scales all that the core takes "
        "(technical note TN-41-01)",
    ),
}
"""Laws by name. No data sheet gives currents along the voltage, so each is an assumption."""

TERMS = ("activate", "read", "write", "background", "refresh")
"""Terms of the core's energy that depend on VDD; an activation includes its precharge."""
OPENING = "opening"
"""What of an activation a row takes while it is open, for tRAS: its share of the term "activate"."""

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
    """Least time from opening a row to closing it."""
    trc: Positive
    """Least time between two openings of rows of a bank."""
    trfc: Positive
    """Time that a refresh command takes."""
    trefi: Positive
    """Mean time between two refresh commands, within specification."""
    tcl: Positive
    """Time from a read command to its first bits."""

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
    """Where these figures come from."""


class Counts(Record):
    """Commands and clock cycles that a rank of DRAM chips went through."""

    activates: Current = 0.0
    """Rows opened."""
    precharges: Current = 0.0
    """Rows closed."""
    reads: Current = 0.0
    """Bursts read."""
    writes: Current = 0.0
    """Bursts written."""
    refreshes: Current = 0.0
    """Refresh commands."""
    active_cycles: Current = 0.0
    """Clock cycles with a row open in some bank."""
    precharged_cycles: Current = 0.0
    """Clock cycles with no row open."""


class Currents(ShippedFile):
    """Currents and timing of one rank of DRAM chips that work in lock step. Saved and loaded as JSON."""

    FORMAT: ClassVar[str] = "eden-currents"
    VERSION: ClassVar[int] = 1
    SHIPPED_IN: ClassVar[str] = __name__
    CALLED: ClassVar[str] = "currents are"

    name: str
    """What files and reports call it."""
    title: str
    """What the rank consists of, in words."""
    standard: Literal["DDR3", "DDR3L", "DDR4", "LPDDR3", "LPDDR4", "LPDDR5X", "HBM2", "HBM3E"]
    """That its chips follow."""
    source: str
    """Where currents and timing come from."""
    operating_points: Literal["absolute", "relative"] = "absolute"
    """What a device's operating points mean here: "absolute", their VDD and refresh interval themselves; "relative",
    the same shares of this rank's own ones as they are of the device's nominal ones, for a standard with others."""
    chips: Annotated[int, pydantic.Field(ge=1)]
    """Chips of the rank."""
    width: Literal[4, 8, 16, 32, 64]
    """Data bits of a chip, or of what works like one: a channel, a pseudo-channel."""
    chip_gbit: Positive | None = None
    """Gb that a chip holds, or a channel; None where that is not known, and any device counts as one rank."""
    burst_length: Literal[4, 8, 16]
    """Transfers of one read or write."""
    clock_mhz: Positive
    """Clock at two transfers per cycle."""
    refresh_ms: Positive
    """Refresh interval in ms within specification, at which trefi holds."""
    cycles: Cycles
    """Its timing."""
    domains: Annotated[dict[str, Domain], pydantic.Field(min_length=1)]
    """Currents of a chip, by supply."""
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

    @property
    def rank_bytes(self) -> int | None:
        """Bytes of a rank, where they are known."""
        return None if self.chip_gbit is None else round(self.chips * self.chip_gbit * (1 << 30)) // 8

    def ranks(self, capacity_bytes: int, known: int | None = None) -> int:
        """Ranks of these chips that a device of so many bytes has: as many as hold it, and those it is known to have.

        Args:
            capacity_bytes: of the device.
            known: how many ranks its geometry has; None where it does not say.

        """
        size = self.rank_bytes
        return max(1, known or 1, 1 if size is None else -(-capacity_bytes // size))

    def chip_energy(self, counts: Counts) -> dict[str, dict[str, float]]:
        """Energy in pJ of one chip at the voltages as specified, by domain and by what took it.

        The equations of Micron's technical note TN-41-01 in the form in which DRAMPower 4.1 counts them, activation and
        precharge apart. What a command costs is its current less the standby current of the same time; standby is
        charged over all of the time.
        """
        cycles, tck = self.cycles, self.tck
        tras, trc, trfc = cycles.tras * tck, cycles.trc * tck, cycles.trfc * tck
        found = {}
        for name, domain in self.domains.items():
            # By part: how often, mA and ns; mA times V times ns are pJ.
            parts = {
                "activate": (counts.activates, domain.idd0 - domain.idd3n, tras),
                "precharge": (counts.precharges, domain.idd0 - domain.idd2n, trc - tras),
                "read": (counts.reads, domain.idd4r - domain.idd3n, self.tburst),
                "write": (counts.writes, domain.idd4w - domain.idd3n, self.tburst),
                "refresh": (counts.refreshes, domain.idd5 - domain.idd3n, trfc),
                "active_background": (counts.active_cycles, domain.idd3n, tck),
                "precharged_background": (counts.precharged_cycles, domain.idd2n, tck),
            }
            found[name] = {
                part: number * current * domain.voltage * time for part, (number, current, time) in parts.items()
            }
        return found

    @cached_property
    def _units(self) -> dict[str, dict[str, float]]:
        """By term and domain, nJ of one command and W of standby and of refresh, over all chips."""
        one = {
            "activate": Counts(activates=1, precharges=1),
            OPENING: Counts(activates=1),
            "read": Counts(reads=1),
            "write": Counts(writes=1),
            "background": Counts(active_cycles=1),
            "refresh": Counts(refreshes=1),
        }
        # pJ over ns are mW; a command's pJ become nJ, and powers W, by the same factor.
        per = {"background": self.tck, "refresh": self.trefi}
        return {
            term: {
                name: self.chips * sum(energy.values()) / per.get(term, 1.0) * _MILLI
                for name, energy in self.chip_energy(counts).items()
            }
            for term, counts in one.items()
        }

    def unit(self, term: str, factor: float = 1.0) -> float:
        """What one of a term takes, every supply that follows VDD multiplied with ``factor``.

        Returns:
            nJ of one activation with its precharge, of its ``OPENING``, or of one burst, standby taken away; W of
            standby with rows open, and of refresh within specification, standby taken away.

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
        return voltage_factor(law, vdd, reference)

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


def voltage_factor(law: str, voltage: float, reference: float) -> float:
    """Energy at a voltage over that at another one, by a name of ``VDD_LAWS``. Raises ValueError below and at 0 V."""
    for name, value in (("voltage", voltage), ("reference voltage", reference)):
        if not 0.0 < value < math.inf:
            raise ValueError(f"supply: {name} is {value:g}; allowed is a finite number above 0")
    return float((voltage / reference) ** VDD_LAWS[law].power)


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
    currents: str | os.PathLike[str] | Currents,
    counts: Counts,
    vdd: float | None = None,
    law: str | Mapping[str, str] = "linear",
) -> dict[str, dict[str, float]]:
    """Energy of counted commands, in pJ, by domain and term.

    Args:
        currents: with timing, by name, file or themselves.
        counts: commands that each chip of the rank saw, and clock cycles with and without a row open.
        vdd: V of the supplies that follow VDD; as specified where none is given. The others keep theirs.
        law: how each term depends on VDD, a name of ``VDD_LAWS`` for all or one by term.

    Returns:
        By domain, pJ over all chips: activate, precharge, read, write, refresh, active_background and
        precharged_background.

    Raises:
        ValueError: for unknown currents or an unknown law and a voltage that is not above 0.

    """
    chosen = Currents.named(currents)
    laws = law_of_terms(law)
    voltage = chosen.vdd if vdd is None else vdd
    factors = {term: voltage_factor(name, voltage, chosen.vdd) for term, name in laws.items()}
    term_of = {"precharge": "activate", "active_background": "background", "precharged_background": "background"}
    return {
        name: {
            part: chosen.chips * one * (factors[term_of.get(part, part)] if chosen.domains[name].follows_vdd else 1.0)
            for part, one in energy.items()
        }
        for name, energy in chosen.chip_energy(counts).items()
    }
