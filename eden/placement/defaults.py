"""How operands can be placed, and how they are where nothing is said: in Python, in the shell and in recipes alike."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from eden.costs.defaults import CURRENTS, VDD_LAW

if TYPE_CHECKING:
    from eden.costs.energy import Currents
    from eden.costs.platforms import Platform

SolverName = Literal["greedy", "exact"]
"""Of ``solvers.SOLVERS``."""
SOLVER_HELP = " or ".join(get_args(SolverName))
ObjectiveName = Literal["energy", "latency", "weighted"]
"""Of ``solvers.OBJECTIVES``."""

RatesName = Literal["upper", "mean"]
"""Of ``eden.devices.upper_rates.Rates``."""
RATES_HELP = "upper ends of what was measured, or the mean"

REMAP_HELP = "of cell maps: move operands and rotate their words' bits, so that weak cells are low bits"

SHARED_VDD_HELP = "module: one supply; partition: one for each; in recipes also groups of partitions"
SHARED_REFRESH_HELP = "rank: one refresh interval for each; partition: one for each; in recipes also groups"

SOLVER: SolverName = "exact"
OBJECTIVE: ObjectiveName = "energy"
RATES: RatesName = "upper"
MARGIN = 1.0
"""What a device's rates are multiplied with."""


@dataclass(frozen=True)
class ExactSolver:
    """The exact solver: what it counts energy and time by, and when it ends."""

    platform: str | Platform | None = None
    """Whose typical assumptions it counts by; None: the traffic's, or else "cpu"."""
    currents: str | os.PathLike[str] | Currents = CURRENTS
    """Of the DRAM, as in ``savings``."""
    vdd_law: str | Mapping[str, str] = VDD_LAW
    """How energy depends on VDD, as in ``savings``."""
    energy_weight: float = 0.5
    """Of the objective "weighted", what the share of the energy counts; the share of the time counts the rest of 1."""
    gap: float = 1e-6
    """How far the objective may be above the bound, as a share of it."""
    time_limit: float = 30.0
    """Seconds after which the best placement found so far is taken, at least the greedy one, with its gap."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.energy_weight <= 1.0:
            raise ValueError(f"energy_weight is {self.energy_weight}; allowed is 0 to 1")
        if not 0.0 <= self.gap < 1.0:
            raise ValueError(f"gap is {self.gap}; allowed is 0 or more, below 1")
        if not self.time_limit > 0.0:
            raise ValueError(f"time_limit is {self.time_limit}; allowed is above 0 s")


@dataclass(frozen=True)
class UpperRates:
    """Rates of operating points as high as what was measured leaves them (``eden.devices.upper_rates``)."""

    confidence: float = 0.975
    """With which no true rate of the module that was measured is higher, of all points at once that can be chosen. What
    it leaves is half of the error that a certificate with a confidence of 0.95 has."""
    modules: float = 0.95
    """Where rates are those of other modules of a vendor (its population, its voltages), the share of modules that are
    no worse at all points at once."""

    def __post_init__(self) -> None:
        for name in ("confidence", "modules"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is inside (0, 1)")
