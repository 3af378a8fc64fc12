"""``eden certify``."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from eden.app.options import (
    OUT,
    AttemptOption,
    NetworkOption,
    PlacementOption,
    PopulationOption,
    SeedOption,
    TaskOption,
    app,
    network_of,
    task_of,
    tell,
)
from eden.app.paths import Input, Output, json_file


@app.command()
def certify(
    network: NetworkOption,
    placement: PlacementOption,
    out: Annotated[Path, OUT, Output("verification file", json_file("verification"))],
    task: TaskOption = "digits",
    max_drop: Annotated[float, typer.Option(help="accuracy that may be lost, inside (0, 1)")] = 0.01,
    confidence: Annotated[float, typer.Option(help="probability with which the certificate holds")] = 0.95,
    reference: Annotated[
        Path | None, typer.Option(help="network file from whose accuracy the drop is counted; --network's"), Input()
    ] = None,
    samples: Annotated[int, typer.Option(help="samples of one observation", min=1)] = 64,
    effort: Annotated[float, typer.Option(help="length of the test, in multiples of the least")] = 6.0,
    journal: Annotated[
        Path | None, typer.Option(help="file that an interrupted test resumes from"), Output("journal", None)
    ] = None,
    seed: SeedOption = 0,
    attempt: AttemptOption = 1,
    population: PopulationOption = "samples",
) -> None:
    """Certify a placement on fresh chips; status 1 where it cannot be."""
    from torch.utils.data import DataLoader

    from eden.placement.placement import Placement
    from eden.tolerance.question import SearchError
    from eden.tolerance.search import Search
    from eden.tolerance.verification import certify as test

    chosen = task_of(task)
    _, validation = chosen.sets()
    found = test(
        network_of(chosen, network),
        DataLoader(validation, batch_size=samples),
        max_drop=max_drop,
        confidence=confidence,
        seed=seed,
        attempt=attempt,
        population=cast(Any, population),
        search=Search(effort=effort, batch_size=samples),
        reference=None if reference is None else network_of(chosen, reference),
        placement=Placement.load(placement),
        journal=journal,
    )
    if not found.certified:
        found.save(out)
        raise SearchError(found.reason)
    tell(found, out)
