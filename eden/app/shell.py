"""The shell's way in: the subcommands of ``eden.app.commands``, and what is told of an error and whose it is."""

from __future__ import annotations

import importlib
import tempfile
from typing import Annotated, Any, cast

import typer

from eden.app.commands import NAMES
from eden.app.options import app

_TRACEBACK = "--traceback"
_FAULT = 70  # EX_SOFTWARE of sysexits.h

for _name in NAMES:
    importlib.import_module(f"eden.app.commands.{_name}")


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    traceback: Annotated[bool, typer.Option(_TRACEBACK, help="Show the Python traceback of an error.")] = False,
) -> None:
    del traceback  # which main takes from wherever it stands
    if version:
        import eden

        typer.echo(f"eden {eden.__version__}")
        raise typer.Exit


def run(arguments: list[str]) -> int:
    """Do what a command line says; the exit status. An interruption comes up as KeyboardInterrupt."""
    try:
        status = app(
            [argument for argument in arguments if argument != _TRACEBACK], prog_name="eden", standalone_mode=False
        )
    except typer.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # wrong usage, whichever click typer is built on
            cast(Any, error).show()
            return int(cast(Any, error).exit_code)
        return _tell(error, _TRACEBACK in arguments)
    if status == 130:  # as later versions of typer tell of an interruption
        raise KeyboardInterrupt
    return status if isinstance(status, int) else 0


def _tell(error: Exception, traced: bool) -> int:
    """Say what went wrong and whose it is; the exit status."""
    import traceback

    from eden.app.mistakes import in_the_way, mistake, report

    if traced:
        typer.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    said = mistake(error)
    if said is not None:
        typer.echo(f"eden: {said}", err=True)
        return 1
    typer.echo(f"eden: {type(error).__name__}: {error}", err=True)
    typer.echo(f"eden: this is a fault of eden's and not of what it was given{in_the_way(error)}", err=True)
    text = report(error)
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", prefix="eden-fault-", suffix=".txt", delete=False
        ) as file:
            file.write(text)
    except OSError:
        typer.echo(text, err=True)
        typer.echo("eden: please report it with the text above", err=True)
    else:
        typer.echo(f"eden: please report it with its traceback, which is in {file.name}", err=True)
    return _FAULT
