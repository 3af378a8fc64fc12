"""How operands are placed where nothing else is said: in Python, in the shell and in recipes alike."""

from typing import Literal

SOLVER: Literal["greedy", "exact"] = "greedy"
OBJECTIVE: Literal["energy", "latency", "weighted"] = "energy"
ENERGY_WEIGHT = 0.5
"""Of a weighted objective."""
GAP = 1e-4
"""Share of the objective by which the exact solver may end above its bound."""
TIME_LIMIT = 60.0
"""Seconds after which it ends in any case."""
