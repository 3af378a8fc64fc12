"""Does each old spelling fail with an error that names the new one?"""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import sys
from typing import Any

import pytest

import eden
from eden.app import cli
from eden.app.run_recipe import RunRecipe
from eden.common import renames


@renames.renamed(rank="currents", effort="search=eden.Search(effort=...)")
def place(tolerance: float, *, currents: str = "ddr3-1600") -> str:
    """What it does."""
    return f"{tolerance} {currents}"


@renames.renamed(error_rate="ber")
@dataclasses.dataclass(frozen=True)
class Errors:
    """What it is."""

    ber: float = 0.0


def test_arguments_of_old_names_are_refused() -> None:
    assert place(1.0, currents="a") == "1.0 a"
    old: dict[str, Any] = {"rank": "a"}
    with pytest.raises(TypeError, match=r"^eden\.place has no argument 'rank'; it is now 'currents'$"):
        place(1.0, **old)
    older: dict[str, Any] = {"effort": 2}
    with pytest.raises(TypeError, match=r"'effort'; it is now search=eden\.Search\(effort=\.\.\.\)$"):
        place(1.0, **older)
    assert Errors(ber=0.5) == Errors(0.5)
    with pytest.raises(TypeError, match=r"^eden\.Errors has no argument 'error_rate'; it is now 'ber'$"):
        Errors(**{"error_rate": 0.5})  # type: ignore[arg-type]


def test_what_is_decorated_stays_what_it_is() -> None:
    assert list(inspect.signature(place).parameters) == ["tolerance", "currents"]
    assert place.__doc__ == "What it does."
    assert pickle.loads(pickle.dumps(place)) is place
    assert list(inspect.signature(Errors).parameters) == ["ber"]
    assert isinstance(Errors(), Errors)


def test_names_gone_from_the_front(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renames, "MOVED", {"recall_": "eden.calibrate_(model, loader)"})
    with pytest.raises(AttributeError, match=r"^eden\.recall_ is now eden\.calibrate_\(model, loader\)$"):
        eden.recall_  # noqa: B018
    with pytest.raises(ImportError, match="recall_"):
        exec("from eden import recall_")
    assert not hasattr(eden, "recall_")


def test_no_name_is_offered_and_gone_at_once() -> None:
    assert not set(renames.MOVED) & set(eden.__all__)


def test_subcommands_options_and_recipes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for words, said in (
        (["verify", "--network", "x"], "eden verify is now eden certify"),
        (["report", "out", "--map=x"], "--map is now --memory-map"),
    ):
        monkeypatch.setattr(sys, "argv", ["eden", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 2
        assert f"Error: {said}\n" in capsys.readouterr().err
    with pytest.raises(eden.FileError, match=r"^mine: verify is now certify$"):
        RunRecipe.of({"verify": {"chips": 3}}, path="mine")
