"""What a result was made from."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from eden.common.files import Record

_Whole = Annotated[int, pydantic.Field(ge=0)]


class DrawnChips(Record):
    """Chips that a step has seen: ``eden.faults.chips.draw_chip(seed, purpose, k)`` for ``count`` values of k."""

    purpose: Literal["training", "search", "confirmation", "steering", "verification", "evaluation", "curves"]
    """Chips of different purposes differ, whatever their seeds are."""
    seed: int
    """What they are drawn from."""
    first: _Whole
    """The first k."""
    count: _Whole
    """How many follow one another."""
