"""The command line: one subcommand per step of the chain (``eden.app.commands``), each reading and writing files."""

from __future__ import annotations

import importlib
import sys
import tempfile
from typing import Annotated, Any, cast

import typer

from eden.app.commands import NAMES
from eden.app.options import app

_TRACEBACK = "--traceback"
_FAULT = 70  # EX_SOFTWARE of sysexits.h
_INTERRUPTED = 130  # the exit status of a process that SIGINT ended, as shells give it

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


def main() -> None:
    """Run the command line.

    A user's mistake is one line on standard error and an exit status of 1, 2 for wrong usage; a fault of EDEN's says
    so, keeps its traceback in a file and ends with 70; an interruption ends with 130.
    """
    arguments = [argument for argument in sys.argv[1:] if argument != _TRACEBACK]
    try:
        status = app(arguments, prog_name="eden", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = _INTERRUPTED  # which later versions of typer return by themselves
    except Exception as error:
        if hasattr(error, "show") and hasattr(
            error, "exit_code"
        ):  # wrong usage, from whichever click typer is built on
            cast(Any, error).show()
            sys.exit(cast(Any, error).exit_code)
        sys.exit(_tell(error))
    if status == _INTERRUPTED:
        typer.echo(
            "eden: interrupted; files already written are whole. retrain, run and demo go on with --resume, profile "
            "and certify with the same command",
            err=True,
        )
    sys.exit(status if isinstance(status, int) else 0)


def _tell(error: Exception) -> int:
    """Say what went wrong and whose it is; the exit status."""
    import traceback

    from eden.app.mistakes import in_the_way, mistake, report

    if _TRACEBACK in sys.argv[1:]:
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


if __name__ == "__main__":
    main()
