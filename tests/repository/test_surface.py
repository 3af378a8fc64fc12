"""Is what `eden` offers what surface.txt says: every public name, its arguments and their defaults?

``python tests/repository/test_surface.py`` writes surface.txt anew, where a change is meant.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import eden

FILE = Path(__file__).with_name("surface.txt")


def arguments(function: Any) -> str:
    """The arguments of a function as in its definition, without types, which mypy checks."""
    signature = inspect.signature(function)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def methods(kind: type) -> Iterator[str]:
    """What a class of EDEN's offers beside its fields, with what it inherits from others of EDEN's."""
    own = {
        name: vars(base)[name]
        for base in reversed(kind.__mro__)
        if base.__module__.startswith("eden")
        for name in vars(base)
    }
    for name, member in sorted(own.items()):
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            yield f"    .{name}"
        elif inspect.isroutine(member):
            yield f"    .{name}{arguments(getattr(kind, name))}"


def lines() -> Iterator[str]:
    """The surface, a line for a name and one for each method."""
    for name in eden.__all__:
        found = getattr(eden, name)
        if isinstance(found, type) and issubclass(found, (Exception, enum.Enum)):
            yield name
            continue
        yield f"{name}{arguments(found)}"
        if isinstance(found, type):
            yield from methods(found)


def test_the_surface_is_pinned() -> None:
    told = "the surface has changed; where that is meant run: python tests/repository/test_surface.py"
    assert list(lines()) == FILE.read_text(encoding="utf-8").splitlines(), told


def test_the_surface_is_small() -> None:
    assert len(eden.__all__) <= 57


if __name__ == "__main__":
    FILE.write_text("\n".join(lines()) + "\n", encoding="utf-8")
