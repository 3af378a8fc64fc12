"""What long steps tell a logger: records of named numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Record = Mapping[str, float]
"""Numbers by name.

"step" counts what was done, from 1: optimizer steps or observations; "epoch" counts from 0; "ber" is a mean bit error
rate; "loss" and "score" are a training's; "clean" and "faulty" are scores on reliable and on faulty memory, and
"drop" is their difference.
"""

Log = Callable[[Record], None]
"""A function that is called with each record."""
