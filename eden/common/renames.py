"""Old spellings: each is refused with an error that names the new one; a rename adds one line here or a decorator."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

MOVED: Mapping[str, str] = {
    "Account": "eden.accounting.results.Account; eden.read(path) reads its files",
    "AccuracyCurves": "eden.reporting.accuracy.AccuracyCurves; eden.read(path) reads its files",
    "Coverage": "eden.faults.coverage.Coverage",
    "ErrorModel": "eden.memory.errors.ErrorModel",
    "FlipCounts": "eden.faults.counting.FlipCounts",
    "MemoryMap": "eden.placement.map_file.MemoryMap; eden.read(path) reads its files",
    "Savings": "eden.accounting.results.Savings; eden.read(path) reads its files",
    "Traffic": "eden.costs.traffic_file.Traffic; eden.read(path) reads its files",
    "Verification": "eden.tolerance.verification.Verification; eden.read(path) reads its files",
    "counting": "eden.faults.counting.counting",
    "empty_cache": "eden.memory.reading.empty_cache",
    "profile_package": "eden.profile(package, samples)",
    "recalibrate_": "eden.calibrate_(model, loader, outgrown=True)",
    "reestimate_": "eden.faults.normalization.reestimate_",
    "set_ranges_": "eden.calibrate_(model, ranges=...)",
    "walk": "a method of the device, device.walk(trcd=...)",
}
"""Names that ``eden`` no longer offers, each with what is used instead."""

COMMANDS: Mapping[str, str] = {"map": "memory-map", "verify": "certify"}
"""Subcommands of the command line by their old names."""

OPTIONS: Mapping[tuple[str, str], str] = {
    ("report", "--map"): "--memory-map",
    **dict.fromkeys((("place", "--rank"), ("savings", "--rank"), ("account", "--rank")), "--currents"),
}
"""Options by subcommand, as it is called now, and old name: ("place", "--rank")."""

RECIPE_KEYS: Mapping[str, str] = {"verify": "certify", "place.rank": "place.currents"}
"""Dotted keys of recipes by their old names."""


def renamed(**names: str) -> Callable[[F], F]:
    """Decorate a public function or class: arguments of old names are refused.

    Args:
        names: what is used instead, by old name: the new name, as in ``rank="currents"``, or how it is said now, as in
            ``effort="search=eden.Search(effort=...)"``.

    Raises:
        TypeError: of the decorated function, naming the old argument and the new one.
    """

    def decorate(target: F) -> F:
        if isinstance(target, type):
            cast(Any, target).__init__ = refusing(vars(target)["__init__"], target.__qualname__, names)
            return target
        return cast(F, refusing(target, target.__qualname__, names))

    return decorate


def refusing(function: Callable[..., Any], called: str, names: Mapping[str, str]) -> Callable[..., Any]:
    """A function that refuses arguments of old names and does what it did with others."""

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for old, new in names.items():
            if old in kwargs:
                raise TypeError(
                    f"eden.{called} has no argument {old!r}; it is now {repr(new) if new.isidentifier() else new}"
                )
        return function(*args, **kwargs)

    return checked
