"""``eden doctor``."""

import typer

from eden.app.options import app


@app.command()
def doctor() -> None:
    """Say what is installed, what is missing and what does not work, with remedies; status 1 where EDEN cannot run."""
    from eden.app import doctor as examination

    raise typer.Exit(examination.main(typer.echo))
