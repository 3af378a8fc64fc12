"""A stand-in for a device, with the attributes that the placement reads and rates easy to reason on; a tolerance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import eden
from eden import _core
from eden.costs.traffic_file import Traffic
from eden.devices.device import Margin
from eden.devices.partition import Voltage
from eden.devices.upper_rates import Rates
from eden.memory.errors import DataDependent, ErrorModel, Uniform
from eden.memory.geometry import Geometry
from eden.tolerance.tolerance import Certificate, Tolerance

MIB = 1 << 20


@dataclass(frozen=True)
class Point:
    """An operating point."""

    vdd: float = 1.35
    trcd: float = 12.5
    trp: float = 12.5
    temperature: float = 50.0
    refresh_interval: float = 64.0
    tras: float | None = None


@dataclass(frozen=True)
class FittedPoint(Point):
    """An operating point with its error model."""

    errors: ErrorModel = field(default_factory=lambda: Uniform(ber=0.0))


@dataclass(frozen=True)
class Partition:
    """A bank."""

    name: str
    capacity_bytes: int = 128 * MIB
    nominal: bool = False
    points: tuple[FittedPoint, ...] = ()
    address: int = 0

    @property
    def choices(self) -> tuple[FittedPoint, ...]:
        """What a placement may choose."""
        return self.points


@dataclass(frozen=True)
class Device:
    """A device of one vendor."""

    name: str = "ddr3-test"
    partitions: tuple[Partition, ...] = ()
    nominal: Point = field(default_factory=Point)
    margin: Margin = field(default_factory=Margin)
    voltage: Voltage | None = None
    population: None = None
    geometry: Geometry = field(default_factory=Geometry)

    def upper_ends(self, partitions: tuple[Partition, ...], *level: float) -> tuple[tuple[Partition, ...], Rates]:
        """Nothing was measured."""
        return partitions, Rates(kind="upper")


RATES = {10.0: (1e-8, 2e-8), 7.5: (2e-5, 6e-5), 5.0: (5e-3, 1.5e-2), 2.5: (0.13, 0.23)}
"""By tRCD in ns, the rates of stored zeros and ones."""


def bank_points(vdd: float = 1.35) -> tuple[FittedPoint, ...]:
    """The points of a bank."""
    return tuple(
        FittedPoint(vdd=vdd, trcd=trcd, errors=DataDependent(zero, one)) for trcd, (zero, one) in RATES.items()
    )


def device(banks: int = 8, capacity: int = 128 * MIB, **fields: Any) -> Device:
    """A device of banks, the first one nominal."""
    partitions = [Partition("bank0", capacity, nominal=True)]
    partitions += [Partition(f"bank{i}", capacity, points=bank_points()) for i in range(1, banks)]
    return Device(partitions=tuple(partitions), **fields)


CERTIFICATE = Certificate(
    chips=60,
    samples=6000,
    batch=100,
    mean_drop=0.004,
    violating=0.1,
    upper_bound=0.009,
    back_offs=0,
    alpha=0.025,
    total_alpha=0.025,
)


def tolerance(limits: dict[str, float], size: int = 1000, model: ErrorModel | None = None, **fields: Any) -> Tolerance:
    """A tolerance whose operands were profiled with ``model``, or else with the device's own asymmetry."""
    model = model or DataDependent(5e-3, 1.5e-2)
    defaults: dict[str, Any] = {
        "coarse": min(limits.values()),
        "bytes": dict.fromkeys(limits, size),
        "kinds": {name: name.rpartition(".")[2] for name in limits},
        "storage": dict.fromkeys(limits, "int8"),
        "error_models": {name: model.scaled(limit).to_dict() for name, limit in limits.items()},
        "max_drop": 0.01,
        "confidence": 0.95,
        "guarantee": "mean",
        "metric": "top1",
        "reference_accuracy": 0.93,
        "samples": 500,
        "coarse_certificate": CERTIFICATE,
        "limits_certificate": CERTIFICATE,
        "seed": 5,
        "random_layout": _core.RANDOM_LAYOUT_VERSION,
        "eden_version": "0.1.0",
        "observations": {"coarse": 300, "fine": 700},
    }
    return Tolerance(limits=limits, **{**defaults, **fields})


def cold(operands: Any, platform: Any = "cpu") -> Traffic:
    """What operands move in an inference that finds a cache empty: these here would fit in it."""
    return eden.traffic(operands, platform, repeated=False)
