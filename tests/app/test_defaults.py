"""Is a value that is left out the same in Python, in the shell and in a recipe?"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer.main

import eden
from eden.app.run_recipe import CertifyTable, PlaceTable, ProfileTable
from eden.app.shell import app

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "account": eden.account,
    "certify": eden.certify,
    "export": eden.export,
    "fit": eden.fit,
    "place": eden.place,
    "profile": eden.profile,
    "savings": eden.savings,
    "traffic": eden.traffic,
}
TABLES: dict[str, Any] = {"certify": CertifyTable, "place": PlaceTable, "profile": ProfileTable}
OTHERWISE = {
    ("certify", "seed"),  # the shell's profile and certify draw other chips where neither is given a seed
}
"""What differs, and why."""


def arguments(function: Callable[..., Any]) -> dict[str, Any]:
    """The defaults of a function's arguments, those in its settings included."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if dataclasses.is_dataclass(parameter.default) and not isinstance(parameter.default, type):
            found |= {
                field.name: getattr(parameter.default, field.name) for field in dataclasses.fields(parameter.default)
            }
        found[name] = parameter.default
    return found


def options(command: str) -> dict[str, Any]:
    leaf = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    return {parameter.name: parameter.default for parameter in leaf.params if not parameter.required}


def pairs() -> Iterator[tuple[str, str, Any, Any]]:
    """Command, name, the default in Python, and the one elsewhere."""
    for command, function in FUNCTIONS.items():
        own = arguments(function)
        table = TABLES[command]().model_dump() if command in TABLES else {}
        for elsewhere in (options(command), table):
            for name, value in elsewhere.items():
                known = own.get(name, inspect.Parameter.empty)
                stated = known is not inspect.Parameter.empty and None not in (known, value)
                if stated and (command, name) not in OTHERWISE:
                    yield command, name, known, value


@pytest.mark.parametrize(("command", "name", "own", "elsewhere"), list(pairs()))
def test_a_default_is_the_same_everywhere(command: str, name: str, own: Any, elsewhere: Any) -> None:
    assert str(getattr(own, "name", own)) == str(elsewhere)


def test_there_are_defaults_to_compare() -> None:
    assert {command for command, *_ in pairs()} >= {"certify", "place", "profile", "savings"}
