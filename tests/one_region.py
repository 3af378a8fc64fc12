"""The row of a region for one error model, made beside what the package makes."""

from __future__ import annotations

import eden
from eden import _core
from eden.memory.errors import ErrorModel


def one_region(errors: ErrorModel | None, address: int = 0, correction: str = "none") -> list[int]:
    """The fields of the int64 vector that tells the operators where an operand lies and how its cells fail."""
    model = errors or eden.Uniform(0.0)
    mode = _core.Correction.__members__[correction]
    return list(_core.make_region(model.ber_zero, model.ber_one, model.failure, address, mode))
