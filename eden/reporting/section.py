"""A part of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """A table of the page; numbers are right-aligned."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """What a part shows, how to read it, and its tables."""

    title: str
    text: str
    draw: Callable[[], Figure] | None = None
    alt: str = ""
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
