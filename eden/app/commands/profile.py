"""``eden profile``."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from eden.app.options import (
    OUT,
    AttemptOption,
    PopulationOption,
    SeedOption,
    TaskOption,
    app,
    network_of,
    task_of,
    wrote,
)
from eden.app.paths import Input, Output, json_file


@app.command()
def profile(
    out: Annotated[Path, OUT, Output("tolerance file", json_file("tolerance"), beside=".journal", unless="journal")],
    network: Annotated[
        Path | None, typer.Option("--network", help="network file, written by eden retrain"), Input()
    ] = None,
    task: TaskOption = "digits",
    package: Annotated[
        Path | None,
        typer.Option(help="package, written by eden export, instead of --network; its code is run"),
        Input(),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="with --package: samples in safetensors, instead of the task's validation set"),
        Input(),
    ] = None,
    metric: Annotated[str, typer.Option(help="top1 or top5")] = "top1",
    max_drop: Annotated[float, typer.Option(help="accuracy that may be lost, inside (0, 1)")] = 0.01,
    confidence: Annotated[float, typer.Option(help="probability with which the limits hold")] = 0.95,
    quantile: Annotated[
        float | None, typer.Option(help="share of chips whose drop is bounded, instead of the mean over chips")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="network file of before boosting, from whose accuracy drops are counted; --network's"),
        Input(),
    ] = None,
    samples: Annotated[
        int, typer.Option(help="samples of one observation; of a quantile, which takes all, of one pass", min=1)
    ] = 64,
    strategy: Annotated[
        str, typer.Option(help="shares, or sweep: the reference, one step of one operand at a time")
    ] = ("shares"),
    weigh: Annotated[str, typer.Option(help="bytes or energy: what a limit is worth raising for")] = "bytes",
    effort: Annotated[
        float, typer.Option(help="length of a confirmation, in multiples of the least; more gives higher limits")
    ] = 6.0,
    coarse_only: Annotated[bool, typer.Option("--coarse-only", help="one rate for the whole network")] = False,
    journal: Annotated[
        Path | None,
        typer.Option(
            help="file that an interrupted search resumes from; OUT.journal, kept until it ends, if not given"
        ),
        Output("journal", None),
    ] = None,
    budget: Annotated[
        int | None, typer.Option(help="observations after which what is certified until then is the answer")
    ] = None,
    budget_seconds: Annotated[float | None, typer.Option(help="the same in seconds; at most one of the two")] = None,
    timeout: Annotated[float | None, typer.Option(help="seconds after which one observation is given up")] = None,
    reuse_limit: Annotated[
        int | None, typer.Option(help="bytes that may be held to spare layers' computations [2**29]; not of a package")
    ] = None,
    max_trials: Annotated[int | None, typer.Option(help="observations after which the search gives up")] = None,
    seed: SeedOption = 0,
    attempt: AttemptOption = 1,
    population: PopulationOption = None,
) -> None:
    """Find the highest bit error rate that the network, and then each of its operands, tolerates.

    Under torchrun the ranks share the observations.
    """
    import torch
    from torch.utils.data import DataLoader

    from eden.common.ranks import process_group
    from eden.tolerance.drive import TrialTimeoutError
    from eden.tolerance.profile import profile as find
    from eden.tolerance.question import SearchError
    from eden.tolerance.search import Budget, Search

    if (network is None) == (package is None):
        found = "neither --network nor --package" if network is None else "both --network and --package"
        raise typer.BadParameter(f"{found} given; allowed is one of them")
    if (package is None) != (data is None):
        found = "--data without --package" if package is None else "--package without --data"
        raise typer.BadParameter(f"{found} given; allowed are both together")
    if package is not None and reference is not None:
        raise typer.BadParameter("--reference with --package: it is compiled alone; allowed with --network")
    kept = out.with_name(f"{out.name}.journal") if journal is None else journal
    options: Any = {
        "max_drop": max_drop,
        "confidence": confidence,
        "metric": metric,
        "guarantee": "mean" if quantile is None else ("quantile", quantile),
        "seed": seed,
        "attempt": attempt,
        "population": population,
        "journal": kept,
        "search": Search(
            strategy=cast(Any, strategy),
            weigh=cast(Any, weigh),
            effort=effort,
            batch_size=samples if quantile is None else None,
            coarse_only=coarse_only,
            max_trials=max_trials,
        ),
        "budget": Budget(
            observations=budget,
            seconds=budget_seconds,
            timeout=timeout,
            reuse_bytes=2**29 if reuse_limit is None else reuse_limit,
        ),
    }
    if package is not None and reuse_limit is not None:
        raise typer.BadParameter(
            "--reuse-limit with --package: it is compiled as a whole, so no layer's output can be kept; allowed with "
            "--network"
        )
    with process_group() as rank:
        if package is not None and torch.distributed.is_initialized():
            raise typer.BadParameter("--package under torchrun; allowed is one process, or --network")
        try:
            if package is not None:
                tolerance = find(package, data, **options)
            else:
                chosen = task_of(task)
                _, validation = chosen.sets()
                model = network_of(chosen, cast(Path, network))
                tolerance = find(
                    model,
                    DataLoader(validation, batch_size=samples),
                    **options,
                    reference=None if reference is None else network_of(chosen, reference),
                    group=torch.distributed.group.WORLD if torch.distributed.is_initialized() else None,
                )
            if rank == 0:
                tolerance.save(out)
        except SearchError as error:
            # Where the search has ended, the same command would only end there again, and another must not be refused.
            resumable = isinstance(error, TrialTimeoutError) or not (budget is None and budget_seconds is None)
            if journal is None and not resumable and rank == 0:
                kept.unlink()
            raise
    if rank != 0:
        return
    if journal is None and not tolerance.unfinished:
        kept.unlink()
    typer.echo(tolerance.table())
    if tolerance.unfinished:
        typer.echo(f"{tolerance.unfinished}; the same command with a larger budget goes on from {kept}")
    wrote(out)
