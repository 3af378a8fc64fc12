"""How operands can be placed, and how they are where nothing is said: in Python, in the shell and in recipes alike."""

from typing import Literal, get_args

SolverName = Literal["greedy", "exact"]
"""Of ``solvers.SOLVERS``."""
SOLVER_HELP = " or ".join(get_args(SolverName))
ObjectiveName = Literal["energy", "latency", "weighted"]
"""Of ``solvers.OBJECTIVES``."""

SOLVER: SolverName = "greedy"
OBJECTIVE: ObjectiveName = "energy"
ENERGY_WEIGHT = 0.5
"""Of a weighted objective."""
GAP = 1e-4
"""Share of the objective by which the exact solver may end above its bound."""
TIME_LIMIT = 60.0
"""Seconds after which it ends in any case."""
