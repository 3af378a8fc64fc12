"""Accounting: what a placement saves in DRAM energy and time, with every assumption named (docs/accounting.md)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, Self

import pydantic

from eden.files import VersionedFile
from eden.placement import Placement

if TYPE_CHECKING:
    import torch

BURST_BYTES = 64
"""Bytes of one access: a DDR3 burst of 8 beats over a 64-bit bus."""


class OperandInfo(Protocol):
    """What the traffic reads of an operand."""

    @property
    def bytes(self) -> int | None:
        """Stored bytes; of an input, one sample's, and None while that is not known."""

    @property
    def kind(self) -> str:
        """Its kind, "weight" or "input"."""


@dataclass(frozen=True)
class Range:
    """An assumed parameter: its ends, which the sensitivity range covers, and the value that terms are given at."""

    low: float
    typical: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.typical <= self.high:
            raise ValueError(f"found {self}; allowed is low <= typical <= high")


@dataclass(frozen=True)
class Platform:
    """What of a processor decides its DRAM accesses. Every Range lies within 0 to 1."""

    name: str
    """What files and reports call it."""
    on_chip_bytes: int
    """Last-level cache or global buffer: a feature map not larger than this may stay on the chip."""
    batch: int
    """Samples whose inference shares one read of the weights."""
    row_hit_share: Range
    """Share of bursts that find their row open."""
    bus_utilization: Range
    """Share of the inference's time in which the data bus transfers; above 0."""
    latency_stall_share: Range
    """Share of the inference's time in which it waits for tRP + tRCD + tCL of an access."""
    basis: str
    """Where the figures come from."""

    def __post_init__(self) -> None:
        for name in ("row_hit_share", "bus_utilization", "latency_stall_share"):
            value: Range = getattr(self, name)
            if not (value.low >= 0.0 and value.high <= 1.0):
                raise ValueError(f"platform {self.name}: {name} is {value}; allowed is 0 to 1")
        if self.bus_utilization.low <= 0.0:
            raise ValueError(f"platform {self.name}: bus_utilization is {self.bus_utilization}; allowed is above 0")
        if self.batch < 1:
            raise ValueError(f"platform {self.name}: batch is {self.batch}; allowed is 1 or more")


PLATFORMS: Mapping[str, Platform] = {
    platform.name: platform
    for platform in (
        Platform(
            name="cpu",
            on_chip_bytes=8 << 20,
            batch=1,
            row_hit_share=Range(0.3, 0.6, 0.9),
            bus_utilization=Range(0.02, 0.1, 0.3),
            latency_stall_share=Range(0.0, 0.15, 0.4),
            basis="an 8 MiB last-level cache; all figures assumed, not measured",
        ),
        Platform(
            name="gpu",
            on_chip_bytes=4 << 20,
            batch=1,
            row_hit_share=Range(0.5, 0.8, 0.95),
            bus_utilization=Range(0.1, 0.4, 0.8),
            latency_stall_share=Range(0.0, 0.05, 0.15),
            basis="a 4 MiB second-level cache; all figures assumed, not measured",
        ),
        Platform(
            name="eyeriss",
            on_chip_bytes=108 << 10,
            batch=1,
            row_hit_share=Range(0.8, 0.95, 0.99),
            bus_utilization=Range(0.05, 0.2, 0.5),
            latency_stall_share=Range(0.0, 0.0, 0.0),
            basis="a 108 KiB global buffer (Chen et al., ISSCC 2016); no stalls, because its accesses can be "
            "prefetched (third parties' notes on the EDEN paper); the rest assumed",
        ),
        Platform(
            name="tpu",
            on_chip_bytes=24 << 20,
            batch=1,
            row_hit_share=Range(0.8, 0.95, 0.99),
            bus_utilization=Range(0.1, 0.4, 0.8),
            latency_stall_share=Range(0.0, 0.0, 0.0),
            basis="a 24 MiB unified buffer (Jouppi et al., ISCA 2017); no stalls, because its accesses can be "
            "prefetched (third parties' notes on the EDEN paper); the rest assumed",
        ),
    )
}


@dataclass(frozen=True)
class RankPower:
    """Currents and timing of one rank of DRAM chips that work in lock step."""

    name: str
    basis: str
    chips: int
    vdd: float
    """V at which the currents are specified."""
    idd0: float
    """mA, activate and precharge, one bank, every tRC."""
    idd2n: float
    """mA, standby, all banks precharged."""
    idd3n: float
    """mA, standby, rows open."""
    idd4r: float
    """mA, continuous reads."""
    idd4w: float
    """mA, continuous writes."""
    idd5: float
    """mA, continuous refresh."""
    trc: float
    """ns."""
    tras: float
    """ns."""
    tcl: float
    """ns."""
    trfc: float
    """ns."""
    trefi: float
    """ns at a refresh interval of 64 ms."""
    tburst: float
    """ns in which one burst occupies the data bus."""
    read_io: float
    """mW per driven signal while reading."""
    write_io: float
    """mW per terminated signal while writing."""
    read_signals: int
    """Driven signals per chip: data and strobes."""
    write_signals: int
    """Terminated signals per chip: data, strobes and mask."""

    @property
    def activate_nj(self) -> float:
        """Energy of one activation and precharge of a row in every chip, standby taken away, in nJ."""
        charge = self.idd0 * self.trc - self.idd3n * self.tras - self.idd2n * (self.trc - self.tras)
        return self.chips * self.vdd * charge * 1e-3

    @property
    def read_nj(self) -> float:
        """Energy of one burst read inside the chips, standby taken away, in nJ."""
        return self.chips * self.vdd * (self.idd4r - self.idd3n) * self.tburst * 1e-3

    @property
    def write_nj(self) -> float:
        """Energy of one burst written inside the chips, standby taken away, in nJ."""
        return self.chips * self.vdd * (self.idd4w - self.idd3n) * self.tburst * 1e-3

    @property
    def read_io_nj(self) -> float:
        """Energy of driving one burst over the interface, in nJ."""
        return self.chips * self.read_signals * self.read_io * self.tburst * 1e-3

    @property
    def write_io_nj(self) -> float:
        """Energy of terminating one burst from the interface, in nJ."""
        return self.chips * self.write_signals * self.write_io * self.tburst * 1e-3

    @property
    def background_w(self) -> float:
        """Standby power with rows open, in W."""
        return self.chips * self.vdd * self.idd3n * 1e-3

    @property
    def refresh_w(self) -> float:
        """Mean power of refresh at an interval of 64 ms, standby taken away, in W."""
        return self.chips * self.vdd * (self.idd5 - self.idd3n) * self.trfc / self.trefi * 1e-3


DDR3_1600_RANK = RankPower(
    name="eight 1 Gb DDR3-1600 chips, 8 bits wide",
    basis="data-sheet currents of Micron's 1 Gb DDR3-1600 x8, revision G, as the DRAMPower simulator's memory "
    "specification of that part gives them (1.5 V)",
    chips=8,
    vdd=1.5,
    idd0=70.0,
    idd2n=45.0,
    idd3n=45.0,
    idd4r=140.0,
    idd4w=145.0,
    idd5=170.0,
    trc=47.5,
    tras=35.0,
    tcl=12.5,
    trfc=110.0,
    trefi=7800.0,
    tburst=5.0,
    read_io=4.6,
    write_io=21.2,
    read_signals=10,
    write_signals=11,
)
"""A rank of 8 banks of 128 MiB, the geometry of the catalogue's devices."""

REFRESH_INTERVAL_MS = 64.0
"""Refresh interval at which RankPower.trefi holds."""

VDD_LAWS: Mapping[str, int] = {"linear": 1, "quadratic": 2}
"""Exponent of the energy's dependence on VDD: currents fixed, or proportional to VDD."""


class _Record(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class OperandTraffic(_Record):
    """What one operand moves between processor and DRAM, per sample."""

    kind: Literal["weight", "input"]
    bytes: int = pydantic.Field(ge=1)
    """Stored bytes; of an input, one sample's."""
    read_bytes: float = pydantic.Field(ge=0, allow_inf_nan=False)
    written_bytes: float = pydantic.Field(ge=0, allow_inf_nan=False)
    fits_on_chip: bool
    """Whether it is a feature map that the chip could keep, so that it need not cross at all."""

    @property
    def crossing_bytes(self) -> float:
        """Bytes read and written."""
        return self.read_bytes + self.written_bytes


class Traffic(VersionedFile):
    """Bytes that each operand moves per inference of one sample. Saved and loaded as JSON (docs/accounting.md)."""

    FORMAT: ClassVar[str] = "eden-traffic"
    VERSION: ClassVar[int] = 1

    platform: str
    """Name of the platform."""
    batch: int = pydantic.Field(ge=1)
    """Samples that share one read of the weights."""
    operands: dict[str, OperandTraffic] = pydantic.Field(min_length=1)

    @property
    def read_bytes(self) -> dict[str, float]:
        """Bytes read per operand and inference."""
        return {name: operand.read_bytes for name, operand in self.operands.items()}

    @property
    def written_bytes(self) -> dict[str, float]:
        """Bytes written per operand and inference."""
        return {name: operand.written_bytes for name, operand in self.operands.items()}


class EnergyTerm(_Record):
    """One term of the DRAM's energy per inference."""

    nominal_nj: float = pydantic.Field(allow_inf_nan=False)
    """With every partition within specification, in nJ."""
    placed_nj: float = pydantic.Field(allow_inf_nan=False)
    """With the placement's operating points, in nJ."""


class Savings(VersionedFile):
    """What a placement saves per inference. Saved and loaded as JSON (docs/accounting.md)."""

    FORMAT: ClassVar[str] = "eden-savings"
    VERSION: ClassVar[int] = 1

    platform: str
    device: str
    energy_reduction: float = pydantic.Field(allow_inf_nan=False)
    """Share of the DRAM's energy that is saved, at typical assumptions and the linear law of VDD."""
    energy_reduction_range: tuple[float, float]
    """Its lowest and highest value over all ends of the assumptions."""
    speedup: float = pydantic.Field(allow_inf_nan=False)
    """Baseline time over new time, less 1, at typical assumptions."""
    speedup_range: tuple[float, float]
    """Its lowest and highest value over all ends of the assumptions."""
    terms: dict[str, EnergyTerm]
    """Energy per inference at typical assumptions: activate, read, write, interface, background, refresh."""
    assumptions: tuple[str, ...]
    """Everything assumed, in sentences."""

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("energy_reduction", "speedup"):
            low, high = getattr(self, f"{name}_range")
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is within its range {low} to {high}")
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
        return "\n".join([*lines, "", "assumed:", *(f"- {assumption}" for assumption in self.assumptions)])


def platform_named(platform: str | Platform) -> Platform:
    """The preset of a name, or the platform itself. Raises ValueError listing the presets."""
    if isinstance(platform, Platform):
        return platform
    if platform not in PLATFORMS:
        raise ValueError(f"platform is {platform!r}; allowed are {', '.join(map(repr, PLATFORMS))} or a Platform")
    return PLATFORMS[platform]


def traffic(
    model: torch.nn.Module | Mapping[str, OperandInfo],
    platform: str | Platform = "cpu",
    batch: int | None = None,
) -> Traffic:
    """Bytes that each operand moves between processor and DRAM per inference of one sample.

    A weight is read once per ``batch`` samples. A feature map is written once and read once. Caches are cold at the
    start of an inference; an operand larger than the chip's memory may cross more often than once, which is not
    counted. Operands that no fault reaches (biases, normalization) are not counted.

    Args:
        model: a network after ``inject_`` and ``calibrate_``, or operands by name, each with ``bytes`` and ``kind``
            (``placement.operands`` is such a mapping).
        platform: "cpu", "gpu", "eyeriss", "tpu" or a Platform.
        batch: samples that share one read of the weights; the platform's where none is given.

    Raises:
        ValueError: for an unknown platform, a batch below 1, and a model without operands or with one whose size is not
            known yet.

    """
    chosen = platform_named(platform)
    shared = chosen.batch if batch is None else batch
    if isinstance(shared, bool) or not isinstance(shared, int) or shared < 1:
        raise ValueError(f"batch is {shared!r}; allowed is an integer from 1")
    if isinstance(model, Mapping):
        infos: Mapping[str, OperandInfo] = model
    else:
        from eden.inject import operands

        infos = operands(model)
    if not infos:
        raise ValueError("the model has no operands under faults; allowed is one or more (see inject_)")
    counted = {}
    for name, info in infos.items():
        if info.kind not in ("weight", "input"):
            raise ValueError(f"operand {name}: kind is {info.kind!r}; allowed are 'weight' and 'input'")
        if info.bytes is None:
            raise ValueError(f"operand {name}: its size is not known yet; run calibrate_ on the model first")
        if info.bytes < 1:
            raise ValueError(f"operand {name}: bytes is {info.bytes}; allowed is 1 or more")
        weight = info.kind == "weight"
        counted[name] = OperandTraffic.model_validate(
            {
                "kind": info.kind,
                "bytes": info.bytes,
                "read_bytes": info.bytes / shared if weight else info.bytes,
                "written_bytes": 0 if weight else info.bytes,
                "fits_on_chip": not weight and info.bytes <= chosen.on_chip_bytes,
            }
        )
    return Traffic(platform=chosen.name, batch=shared, operands=counted)


@dataclass(frozen=True)
class _Case:
    """One choice of everything that is assumed."""

    row_hit_share: float
    bus_utilization: float
    latency_stall_share: float
    vdd_law: str
    maps_stay_on_chip: bool


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


def _account(moved: Traffic, placement: Placement, rank: RankPower, case: _Case) -> _Outcome | None:
    """Terms in nJ per inference and the ratio of times; None where nothing crosses in this case."""
    exponent = VDD_LAWS[case.vdd_law]

    def scale(vdd: float) -> float:
        return float((vdd / rank.vdd) ** exponent)

    nominal = placement.nominal
    at_nominal = scale(nominal.vdd)
    activate = [0.0, 0.0]
    read = [0.0, 0.0]
    write = [0.0, 0.0]
    interface = bursts = saved_ns = activations = 0.0
    for name, operand in moved.operands.items():
        if case.maps_stay_on_chip and operand.fits_on_chip:
            continue
        place = placement.operands.get(name)
        point = placement.partitions[place.partition].operating_point if place else nominal
        reads = operand.read_bytes / BURST_BYTES
        writes = operand.written_bytes / BURST_BYTES
        opened = (reads + writes) * (1.0 - case.row_hit_share)
        for i, factor in enumerate((at_nominal, scale(point.vdd))):
            activate[i] += opened * rank.activate_nj * factor
            read[i] += reads * rank.read_nj * factor
            write[i] += writes * rank.write_nj * factor
        interface += (reads * rank.read_io_nj + writes * rank.write_io_nj) * at_nominal
        bursts += reads + writes
        activations += opened
        saved_ns += opened * (nominal.trcd - point.trcd + nominal.trp - point.trp)
    if bursts == 0.0:
        return None

    time_ratio = 1.0
    if activations:
        exposed_ns = activations * (nominal.trp + nominal.trcd + rank.tcl)
        time_ratio = 1.0 - case.latency_stall_share * saved_ns / exposed_ns
    time_ns = bursts * rank.tburst / case.bus_utilization
    capacity = sum(partition.capacity_bytes for partition in placement.partitions.values())
    at_refresh = at_nominal * REFRESH_INTERVAL_MS / nominal.refresh_interval
    # As what is saved from nominal, so that a placement within specification saves exactly nothing.
    standby, refresh = at_nominal, at_refresh
    for partition in placement.partitions.values():
        point = partition.operating_point
        share = partition.capacity_bytes / capacity
        standby -= share * (at_nominal - scale(point.vdd))
        refresh -= share * (at_refresh - scale(point.vdd) * REFRESH_INTERVAL_MS / point.refresh_interval)
    background_nj = rank.background_w * time_ns
    refresh_nj = rank.refresh_w * time_ns
    return _Outcome(
        terms={
            "activate": (activate[0], activate[1]),
            "read": (read[0], read[1]),
            "write": (write[0], write[1]),
            "interface": (interface, interface),
            "background": (background_nj * at_nominal, background_nj * standby * time_ratio),
            "refresh": (refresh_nj * at_refresh, refresh_nj * refresh * time_ratio),
        },
        time_ratio=time_ratio,
    )


def _assumptions(moved: Traffic, placement: Placement, platform: Platform, rank: RankPower) -> tuple[str, ...]:
    def spread(value: Range, unit: str = "") -> str:
        if value.low == value.high:
            return f"{value.typical:g}{unit}"
        return f"{value.typical:g}{unit} ({value.low:g} to {value.high:g})"

    unplaced = [name for name in moved.operands if name not in placement.operands]
    kept = [name for name, operand in moved.operands.items() if operand.fits_on_chip]
    lines = [
        f"Platform {platform.name}: {platform.basis}.",
        f"Share of bursts that find their row open: {spread(platform.row_hit_share)}.",
        f"Share of the time in which the data bus transfers: {spread(platform.bus_utilization)}.",
        "Share of the time that waits for tRP + tRCD + tCL of an access: "
        f"{spread(platform.latency_stall_share)}; the rest of the time does not change with the latencies.",
        f"Caches are cold when an inference starts; weights are read once per {moved.batch} sample(s), feature maps "
        "are written once and read once; nothing crosses more often than that.",
        f"{len(kept)} of {len(moved.operands)} operands are feature maps that fit into {platform.on_chip_bytes} bytes "
        "on the chip: they cross in the typical case and in one end of the range, and stay on the chip in the other.",
        "Energy depends on VDD linearly (currents fixed) in the typical case, quadratically (currents proportional) in "
        "the other end of the range; the interface stays at the nominal voltage.",
        "A lower tRCD or tRP leaves the energy of an activation unchanged; it saves background and refresh energy in "
        "the time that it saves.",
        "Each partition has its own VDD and takes a share of background and refresh by its capacity; a partition "
        "without operands stays within specification, and no power-down is used.",
        f"DRAM: {rank.name}; {rank.basis}.",
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


def savings(
    model_or_traffic: torch.nn.Module | Mapping[str, OperandInfo] | Traffic,
    placement: Placement,
    platform: str | Platform | None = None,
    rank: RankPower = DDR3_1600_RANK,
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
        rank: currents and timing of the DRAM.

    Raises:
        ValueError: for an unknown platform or one that differs from the traffic's, and for an operand of the placement
            that the model lacks or has with another size.

    """
    if isinstance(model_or_traffic, Traffic):
        moved = model_or_traffic
        chosen = platform_named(moved.platform if platform is None else platform)
        if chosen.name != moved.platform:
            raise ValueError(f"platform is {chosen.name!r}; allowed is the traffic's, {moved.platform!r}")
    else:
        chosen = platform_named("cpu" if platform is None else platform)
        moved = traffic(model_or_traffic, chosen)
    for name, operand in placement.operands.items():
        if name not in moved.operands:
            raise ValueError(
                f"operand {name} of the placement is not among the model's {len(moved.operands)} operands; "
                "was the placement made for another model?"
            )
        if operand.bytes != moved.operands[name].bytes:
            raise ValueError(
                f"operand {name} has {operand.bytes} bytes in the placement and {moved.operands[name].bytes} in the "
                "model; allowed is the same size (is the storage the same?)"
            )

    typical = _account(
        moved,
        placement,
        rank,
        _Case(
            chosen.row_hit_share.typical,
            chosen.bus_utilization.typical,
            chosen.latency_stall_share.typical,
            "linear",
            maps_stay_on_chip=False,
        ),
    )
    if typical is None:
        raise ValueError("the traffic moves no bytes; allowed is one operand or more that crosses the interface")
    outcomes = [typical]
    # Each parameter enters energy and time as a quotient of linear functions, so the extremes lie at the ends.
    shares = (chosen.row_hit_share, chosen.bus_utilization, chosen.latency_stall_share)
    for hit, busy, stalled in itertools.product(*((share.low, share.high) for share in shares)):
        for law, kept in itertools.product(VDD_LAWS, (False, True)):
            outcome = _account(moved, placement, rank, _Case(hit, busy, stalled, law, kept))
            if outcome is not None:
                outcomes.append(outcome)
    energy = [outcome.energy_reduction for outcome in outcomes]
    speed = [outcome.speedup for outcome in outcomes]
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
        assumptions=_assumptions(moved, placement, chosen, rank),
    )
