"""``eden schema``."""

from typing import Annotated

import typer

from eden.app.options import app, shipped


@app.command()
def schema(
    name: Annotated[str, typer.Argument(help=", ".join(shipped("app", "schemas")))],
) -> None:
    """Print the JSON Schema of one of the files, for editors and for programs that write them."""
    schemas = shipped("app", "schemas")
    if name not in schemas:
        raise ValueError(f"schema of {name!r}; allowed are {', '.join(schemas)}")
    typer.echo(schemas[name].read_text(encoding="utf-8").rstrip())
