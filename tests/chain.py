"""Stand-ins for a device and a tolerance, with the attributes that the placement reads, and rates easy to reason on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eden.errors import DataDependent, ErrorModel, Uniform

MIB = 1 << 20


@dataclass(frozen=True)
class Point:
    """An operating point."""

    vdd: float = 1.35
    trcd: float = 12.5
    trp: float = 12.5
    temperature: float = 50.0
    refresh_interval: float = 64.0


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


@dataclass(frozen=True)
class Device:
    """A device of one vendor."""

    name: str = "ddr3-test"
    partitions: tuple[Partition, ...] = ()
    nominal: Point = field(default_factory=Point)


@dataclass(frozen=True)
class Tolerance:
    """A profiled network."""

    coarse: float
    limits: dict[str, float]
    bytes: dict[str, int]
    kinds: dict[str, str]
    error_models: dict[str, dict[str, Any]]
    max_drop: float = 0.01
    confidence: float = 0.95
    reference_accuracy: float = 0.93

    def save(self, path: Path) -> None:
        """Write something of a tolerance's shape."""
        path.write_text(json.dumps({"coarse": self.coarse, "limits": self.limits}))


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


def tolerance(limits: dict[str, float], size: int = 1000, **fields: Any) -> Tolerance:
    """A tolerance whose operands were profiled with the device's own asymmetry."""
    model = DataDependent(5e-3, 1.5e-2).to_dict()
    defaults: dict[str, Any] = {
        "coarse": min(limits.values(), default=1e-9),
        "bytes": dict.fromkeys(limits, size),
        "kinds": {name: name.rpartition(".")[2] for name in limits},
        "error_models": dict.fromkeys(limits, model),
    }
    return Tolerance(limits=limits, **{**defaults, **fields})


def uniform(ber: float = 1e-3) -> dict[str, Any]:
    """The JSON form of Model 0."""
    return Uniform(ber=ber).to_dict()
