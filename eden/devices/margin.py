"""A margin: what the owner of a memory adds to its rates for what was not measured."""

from __future__ import annotations

from typing import Annotated

import pydantic
import pydantic.dataclasses

_Number = Annotated[float, pydantic.Strict()]
_UNSET = "none was set"
_CONFIG = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


@pydantic.dataclasses.dataclass(frozen=True, config=_CONFIG)
class Margin:
    """What the owner adds to fitted rates for temperature, ageing and all else that was not measured.

    Raises:
        ValueError: for a shift below 0 or a factor below 1.

    """

    shift: Annotated[_Number, pydantic.Field(ge=0.0, exclude=True)] = 0.0
    """The operating point is taken to be harsher by this much, in ns or V; of curves alone, since the points of a
    device stand where they were measured. No part of a device file."""
    factor: Annotated[_Number, pydantic.Field(ge=1.0)] = 1.0
    """What every bit error rate and its interval are multiplied with, 1 for none."""
    reason: str = _UNSET
    """What for, such as ageing."""

    def __str__(self) -> str:
        parts = [f"operating points harsher by {self.shift:g}"] if self.shift else []
        if self.factor != 1.0:
            parts.append(f"bit error rates times {self.factor:g}")
        if not parts:
            return "no margin"
        return " and ".join(parts) + ("" if self.reason == _UNSET else f" ({self.reason})")
