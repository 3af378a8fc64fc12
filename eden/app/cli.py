"""The command line: one subcommand per step of the chain, each reading and writing the design's files."""

from __future__ import annotations

import contextlib
import importlib.resources
import inspect
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_type_hints

import typer
import typer.core

from eden.app.paths import (
    FIGURE,
    PACKAGE,
    REPORT_FILES,
    RETRAIN_FILES,
    RUN_FILES,
    SAMPLES,
    TABLE,
    Given,
    Input,
    Output,
    OutputFolder,
    check,
    if_there,
    json_file,
    of_task,
)

if TYPE_CHECKING:
    from eden.app.tasks import Task
    from eden.devices.device import Device

_F = TypeVar("_F", bound=Callable[..., Any])
_TRACEBACK = "--traceback"


class Command(typer.core.TyperCommand):
    """A subcommand: what it reads and writes is checked before it does anything."""

    def invoke(self, ctx: Any) -> Any:
        """Check numbers and paths and call the function, during which nothing replaces what it reads."""
        declared = declarations(self.callback)
        labels = {parameter.name: _label(parameter) for parameter in self.params}
        for name, value in ctx.params.items():
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise ValueError(f"{labels[name]} is {value}; allowed is a 64-bit integer")
        read = check(Given(name, labels[name], declared[name], ctx.params[name]) for name in declared)
        if not read:
            return super().invoke(ctx)
        from eden.common.files import kept

        with kept(read):
            return super().invoke(ctx)


def declarations(function: Callable[..., Any] | None) -> dict[str, Input | Output | OutputFolder]:
    """What the parameters of a command name, as far as they name files."""
    if function is None:
        return {}
    hints = get_type_hints(inspect.unwrap(function), include_extras=True)
    return {
        name: mark
        for name, hint in hints.items()
        for mark in getattr(hint, "__metadata__", ())
        if isinstance(mark, (Input, Output, OutputFolder))
    }


def _label(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    return str(max(parameter.opts, key=len))


class _App(typer.Typer):
    """One whose commands are all of ``Command``."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[_F], _F]:
        return super().command(name, **{"cls": Command, **options})


app = _App(
    name="eden",
    help="Run neural networks from DRAM that is operated outside its specification.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
devices_app = _App(help="The catalogue of devices that ships with the package.", no_args_is_help=True)
app.add_typer(devices_app, name="devices")

_FAULT = 70  # EX_SOFTWARE of sysexits.h
_INTERRUPTED = 130  # the exit status of a process that SIGINT ended, as shells give it

_TASK_HELP = "digits, cifar10-resnet20, package.module:function or file.py:function (docs/command-line.md)"
_DEVICE_HELP = "a name of the catalogue (eden devices list) or a device file"

# Each parameter that names a file says whether the command reads or writes it, which is checked before it is called.
TaskOption = Annotated[str, typer.Option("--task", help=_TASK_HELP), Input(of_task)]
DeviceOption = Annotated[str, typer.Option("--device", help=_DEVICE_HELP), Input(if_there)]
DeviceArgument = Annotated[str, typer.Argument(help=_DEVICE_HELP), Input(if_there)]
NetworkOption = Annotated[Path, typer.Option("--network", help="network file, written by eden retrain"), Input()]
PlacementOption = Annotated[Path, typer.Option(help="placement file, written by eden place"), Input()]
SeedOption = Annotated[int, typer.Option("--seed", help="what chips are drawn from")]
OtherTask = Annotated[str | None, typer.Option("--task", help=_TASK_HELP), Input(of_task)]
OtherDevice = Annotated[str | None, typer.Option("--device", help=_DEVICE_HELP), Input(if_there)]
OtherSeed = Annotated[int | None, typer.Option("--seed", help="what chips are drawn from")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="a value in place of the recipe's, such as boost.epochs=3; several times"),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="go on where an interrupted run stopped")]
ForceOption = Annotated[bool, typer.Option("--force", help="begin anew, in place of the run that the folder holds")]
_OUT = typer.Option("--out", "-o", help="file to write")
_FIGURES = (".svg", ".pdf", ".png")
_PARTS = ("device", "tolerance", "placement", "savings", "accuracy", "memory_map", "account", "pareto")


def _shipped(room: str, folder: str) -> dict[str, Path]:
    """The JSON files in a folder of the package, by name: their text can be shown without loading what made them."""
    return {path.stem: path for path in sorted((Path(__file__).parent.parent / room / folder).glob("*.json"))}


# The imports stand in the commands, so that none waits for the libraries of another, the drawing ones above all.
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


def _device(name: str) -> Device:
    from eden.app.recipe import find_device

    return find_device(name)


def _task(name: str) -> Task:
    import torch

    from eden.app.tasks import load_task

    task = load_task(name)
    if task.threads is not None:
        torch.set_num_threads(task.threads)
    return task


@devices_app.command("list")
def devices_list() -> None:
    """List the devices of the catalogue."""
    for name, path in _shipped("devices", "catalogue").items():
        typer.echo(f"{name:<12} {json.loads(path.read_text(encoding='utf-8'))['source']['text']}")


@devices_app.command("show")
def devices_show(device: DeviceArgument) -> None:
    """Describe a device: source, assumptions, model choice, operating points with intervals."""
    typer.echo(_device(device).describe())


@devices_app.command("plot")
def devices_plot(
    device: DeviceArgument,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="file to write: .svg, .pdf or .png"),
        Output("figure", FIGURE, _FIGURES),
    ],
    parameter: Annotated[str, typer.Option(help="trcd, trp, vdd or refresh_interval")] = "trcd",
    temperature: Annotated[float | None, typer.Option(help="in degrees Celsius; the device's if left out")] = None,
) -> None:
    """Draw a device's bit error rates along one parameter, as measured and as fitted."""
    from eden.reporting.figures import device_figure, save_figure

    save_figure(device_figure(_device(device), parameter, temperature), out)
    typer.echo(f"written: {out}")


def _pairs(option: str, given: list[str] | None, number: type[float] | type[int]) -> dict[str, float]:
    """NAME=NUMBER, several times."""
    pairs: dict[str, float] = {}
    for text in given or []:
        name, _, value = text.partition("=")
        try:
            pairs[name.strip()] = number(value)
        except ValueError as error:
            raise ValueError(f"{option} is {text!r}; allowed is a name and a number, such as trcd=7.5") from error
    return pairs


def _banks(text: str | None) -> int | list[int] | None:
    """A number of banks, or a list of their numbers."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",") if part] if "," in text else int(text)
    except ValueError as error:
        raise ValueError(f"--banks is {text!r}; allowed is how many (8), or which (0,2,5)") from error


def _rows(text: str | None) -> int | range | None:
    """A number of rows, or the first and the one after the last."""
    if text is None:
        return None
    first, colon, end = text.partition(":")
    try:
        return range(int(first), int(end)) if colon else int(first)
    except ValueError as error:
        raise ValueError(f"--rows is {text!r}; allowed is how many (32768), or first:end (512:1024)") from error


@app.command()
def fit(
    measurements: Annotated[Path, typer.Argument(help="file of a measurement campaign"), Input()],
    out: Annotated[Path, _OUT, Output("device file", json_file("device"))],
    module: Annotated[str | None, typer.Option(help="which module, where the file holds several")] = None,
    format: Annotated[str | None, typer.Option(help="format of the file; recognized if left out")] = None,
    name: Annotated[str | None, typer.Option(help="what the device is called; the module's label if left out")] = None,
    temperature: Annotated[float | None, typer.Option(help="the device's, in degrees Celsius")] = None,
    vdd: Annotated[float | None, typer.Option(help="nominal supply voltage in V")] = None,
    trcd: Annotated[float | None, typer.Option(help="nominal tRCD in ns")] = None,
    trp: Annotated[float | None, typer.Option(help="nominal tRP in ns")] = None,
    refresh_interval: Annotated[float, typer.Option(help="nominal refresh interval in ms")] = 64.0,
    failure: Annotated[
        float | None, typer.Option(help="F, if it is known: the probability that a read of a weak cell is inverted")
    ] = None,
    reliable: Annotated[str | None, typer.Option(help="the bank that stays at its nominal operating point")] = None,
    cells_per_bank: Annotated[int | None, typer.Option(help="cells behind a rate, of latency-variation")] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(help="what the file does not state of its conditions, such as trcd=7.5; several times"),
    ] = None,
    pattern: Annotated[str | None, typer.Option(help="the data that was stored, such as 0xff or 0xff/0x00")] = None,
    banks: Annotated[str | None, typer.Option(help="tested banks: how many (8), or which (0,2,5)")] = None,
    rows: Annotated[str | None, typer.Option(help="tested rows of each: how many, or first:end")] = None,
    row_bits: Annotated[int | None, typer.Option(help="cells of a row")] = None,
    subarray_rows: Annotated[int | None, typer.Option(help="rows of a subarray, where bitlines end")] = None,
    column_bits: Annotated[int | None, typer.Option(help="cells behind a column's address")] = None,
    repeats: Annotated[int | None, typer.Option(help="passes of each condition, if the file shows too few")] = None,
    geometry: Annotated[
        list[str] | None, typer.Option(help="of the module, such as bank_rows=32768; several times")
    ] = None,
    partitions: Annotated[
        str | None,
        typer.Option(help="module, rank, bank or subarray; parts that do not differ are left together"),
    ] = None,
    bank_curves: Annotated[bool, typer.Option("--bank-curves", help="curves for every partition, too")] = False,
    grid: Annotated[
        bool, typer.Option("--grid", help="every pattern was tested at every operating point, also without a flip")
    ] = False,
    cell_map: Annotated[bool, typer.Option("--cell-map", help="keep the measured chip's own weak cells")] = False,
    max_damaged: Annotated[float, typer.Option(help="share of damaged lines above which the file is an error")] = 0.01,
    plot: Annotated[
        Path | None,
        typer.Option(help="draw the goodness of fit (of counts of banks: the fitted curve) into .svg, .pdf or .png"),
        Output("figure", FIGURE, _FIGURES),
    ] = None,
) -> None:
    """Fit a device to a measurement campaign; tells what was read, left out and chosen, and why."""
    from eden.common.extras import require
    from eden.devices.fitting import analyse
    from eden.measurements.readers import CELLS_PER_BANK
    from eden.memory.geometry import Geometry
    from eden.reporting.figures import device_figure, goodness_figure, save_figure

    if plot is not None:
        require("report")
    shape = _pairs("--geometry", geometry, int)
    if shape:
        given = {"row_bits": row_bits, "subarray_rows": subarray_rows}
        shape = {**{key: value for key, value in given.items() if value is not None}, **shape}
    found = analyse(
        measurements,
        format,
        module,
        name=name,
        failure=failure,
        temperature=temperature,
        vdd=vdd,
        trcd=trcd,
        trp=trp,
        refresh_interval=refresh_interval,
        reliable=reliable,
        cells_per_bank=CELLS_PER_BANK if cells_per_bank is None else cells_per_bank,
        geometry=Geometry.from_dict(shape) if shape else None,
        at=_pairs("--at", at, float) or None,
        pattern=pattern,
        banks=_banks(banks),
        rows=_rows(rows),
        row_bits=row_bits,
        subarray_rows=subarray_rows,
        column_bits=column_bits,
        repeats=repeats,
        partitions=cast(Any, partitions),
        bank_curves=bank_curves,
        grid=grid,
        cell_map=cell_map,
        max_damaged=max_damaged,
    )
    found.device.save(out)
    typer.echo(found.text())
    typer.echo(f"written: {out}")
    if plot is not None:
        save_figure(goodness_figure(found) if found.fits else device_figure(found.device), plot)
        typer.echo(f"written: {plot}")


def _overrides(options: Mapping[str, Any], settings: list[str] | None) -> list[tuple[str, Any]]:
    """What a command line says in place of a recipe, by dotted key; ``--set`` comes last."""
    from eden.app.recipe import setting

    given = [(key, value) for key, value in options.items() if value is not None]
    return given + [setting(text) for text in settings or []]


_NAMED_BY_RECIPES = (
    *("memory.device", "place.device", "curriculum.tolerance", "curriculum.placement", "network"),
    *("place.platform", "place.rank", "account.platforms", "task"),
)


@contextlib.contextmanager
def _reading(recipe: Any, out: Path, holds: Sequence[str]) -> Iterator[None]:
    """Hold the files that a recipe names against the folder, and let nothing replace them."""
    from eden.common.files import kept

    given = [Given("out", "--out", OutputFolder(holds, kept=dict.fromkeys(_NAMED_BY_RECIPES[:2], "device.json")), out)]
    for key in _NAMED_BY_RECIPES:
        value = recipe
        for part in key.split("."):
            value = getattr(value, part, None)
        if key == "task":
            value = value.rpartition(":")[0]
        for one in value if isinstance(value, list) else [value]:
            given.append(Given(key, key, Input(if_there), one))
    with kept(check(given)):
        yield


@app.command()
def retrain(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="folder for the network and its checkpoints"),
        OutputFolder(RETRAIN_FILES, kept={"recipe": "recipe.toml"}),
    ],
    recipe: Annotated[
        Path | None, typer.Argument(help="TOML file (docs/boost.md); the task's recipe if left out"), Input()
    ] = None,
    set_: SetOption = None,
    task: OtherTask = None,
    device: OtherDevice = None,
    trcd: Annotated[
        float | None, typer.Option(help="row-activation latency (ns) whose error model is trained with")
    ] = None,
    target_ber: Annotated[float | None, typer.Option(help="mean bit error rate to reach")] = None,
    epochs: Annotated[int | None, typer.Option(help="epochs under faults")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="highest learning rate under faults")] = None,
    chips: Annotated[str | None, typer.Option(help="fresh, one, or a number of chips used in turn")] = None,
    seed: OtherSeed = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="write the checkpoints also after each so many optimizer steps")
    ] = None,
    resume: ResumeOption = False,
    force: ForceOption = False,
) -> None:
    """Train a task's network, then retrain it under a device's errors at a rising rate."""
    from eden.app import recipe as recipes

    options = {
        "task": task,
        "memory.device": device,
        "memory.trcd": trcd,
        "curriculum.target_ber": target_ber,
        "boost.epochs": epochs,
        "boost.learning_rate": learning_rate,
        "curriculum.chips": int(chips) if chips is not None and chips.isdecimal() else chips,
        "seed": seed,
        "checkpoint_every": checkpoint_every,
    }
    overrides = _overrides(options, set_)
    if recipe is None:
        chosen = recipes.RetrainRecipe.of({}, overrides)
    else:
        chosen = recipes.RetrainRecipe.load(recipe, overrides)
    with _reading(chosen, out, RETRAIN_FILES):
        recipes.retrain(chosen, out, resume=resume, force=force, say=typer.echo)


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="TOML file (docs/placement.md)"), Input()],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="folder for everything that the chain writes"),
        OutputFolder(RUN_FILES, kept={"recipe": "recipe.toml", "device": "device.json"}),
    ],
    set_: SetOption = None,
    task: OtherTask = None,
    device: OtherDevice = None,
    network: Annotated[
        Path | None,
        typer.Option(help="network file, boosted elsewhere, in place of training and boosting"),
        Input(),
    ] = None,
    max_drop: Annotated[float | None, typer.Option(help="accuracy that may be lost, inside (0, 1)")] = None,
    rounds: Annotated[int | None, typer.Option(help="rounds of profile and place at most")] = None,
    platform: Annotated[
        str | None,
        typer.Option(help="cpu, gpu, eyeriss, tpu or a platform file, whose objective is lowered"),
        Input(if_there),
    ] = None,
    seed: OtherSeed = None,
    resume: ResumeOption = False,
    force: ForceOption = False,
) -> None:
    """Do the whole chain of a recipe: boost, profile, place, verify on fresh chips, and again while it improves."""
    from eden.app.run import RunRecipe
    from eden.app.run import run as whole

    options = {
        "task": task,
        "memory.device": device,
        "network": None if network is None else str(network),
        "profile.max_drop": max_drop,
        "rounds.most": rounds,
        "place.platform": platform,
        "seed": seed,
    }
    overrides = _overrides(options, set_)
    chosen = RunRecipe.load(recipe, overrides)
    with _reading(chosen, out, RUN_FILES):
        whole(chosen, out, resume=resume, force=force, say=typer.echo)


@app.command()
def export(
    network: NetworkOption,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="package to write, named .pt2"),
        Output("package", PACKAGE, (".pt2",)),
    ],
    task: TaskOption = "digits",
    data: Annotated[
        Path | None,
        typer.Option(help="write the task's validation set here, named .safetensors, too"),
        Output("file of samples", SAMPLES, (".safetensors",)),
    ] = None,
    samples_per_run: Annotated[int, typer.Option(help="samples that the package computes at once", min=1)] = 64,
) -> None:
    """Compile a network under faults into a package that takes its operands' rates, for eden-profile."""
    from eden.faults.checkpoint import load_
    from eden.tolerance.package import export as compile_network
    from eden.tolerance.package import save_samples

    chosen = _task(task)
    _, validation = chosen.sets()
    inputs, targets = validation.tensors
    model = load_(chosen.model(), network)
    compile_network(model, inputs[:samples_per_run], out, samples_per_run=samples_per_run)
    typer.echo(f"written: {out}")
    if data is not None:
        save_samples(inputs, targets, data)
        typer.echo(f"written: {data}")


@app.command()
def profile(
    out: Annotated[Path, _OUT, Output("tolerance file", json_file("tolerance"), beside=".journal", unless="journal")],
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
    samples: Annotated[int, typer.Option(help="samples of one observation", min=1)] = 64,
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
) -> None:
    """Find the highest bit error rate that the network, and then each of its operands, tolerates.

    Under torchrun the ranks share the observations.
    """
    import torch

    from eden.app.steps import network_loader
    from eden.common.ranks import process_group
    from eden.faults.checkpoint import load_
    from eden.tolerance.package import profile_package
    from eden.tolerance.profile import SearchError, TrialTimeoutError
    from eden.tolerance.profile import profile as search

    if (network is None) == (package is None):
        found = "neither --network nor --package" if network is None else "both --network and --package"
        raise typer.BadParameter(f"{found} given; allowed is one of them")
    if (package is None) != (data is None):
        found = "--data without --package" if package is None else "--package without --data"
        raise typer.BadParameter(f"{found} given; allowed are both together")
    kept = out.with_name(f"{out.name}.journal") if journal is None else journal
    options: Any = {
        "max_drop": max_drop,
        "confidence": confidence,
        "metric": metric,
        "guarantee": "mean" if quantile is None else ("quantile", quantile),
        "seed": seed,
        "coarse_only": coarse_only,
        "journal": kept,
        "strategy": strategy,
        "weigh": weigh,
        "effort": effort,
        "max_trials": max_trials,
        "batch_size": samples if quantile is None else None,
        "budget": budget,
        "budget_seconds": budget_seconds,
        "timeout": timeout,
    }
    if package is not None and reuse_limit is not None:
        raise typer.BadParameter(
            "--reuse-limit with --package: it is compiled as a whole, so no layer's output can be kept; allowed with "
            "--network"
        )
    with process_group("gloo") as rank:
        if package is not None and torch.distributed.is_initialized():
            raise typer.BadParameter("--package under torchrun; allowed is one process, or --network")
        try:
            if package is not None and data is not None:
                tolerance = profile_package(package, data, **options)
            else:
                chosen = _task(task)
                _, validation = chosen.sets()
                model = load_(chosen.model(), cast(Path, network))
                tolerance = search(
                    model,
                    network_loader(validation, samples),
                    **options,
                    reuse_limit=2**29 if reuse_limit is None else reuse_limit,
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
    typer.echo(f"written: {out}")


@app.command()
def place(
    tolerance: Annotated[Path, typer.Option(help="tolerance file, written by eden profile"), Input()],
    device: DeviceOption,
    out: Annotated[Path, _OUT, Output("placement file", json_file("placement"))],
    solver: Annotated[str, typer.Option(help="greedy or exact")] = "greedy",
    objective: Annotated[str, typer.Option(help="energy or latency; of the exact solver, or weighted")] = "energy",
    energy_weight: Annotated[float, typer.Option(help="of a weighted objective; time counts the rest")] = 0.5,
    platform: Annotated[
        str, typer.Option(help="cpu, gpu, eyeriss, tpu or a platform file, of the exact solver"), Input(if_there)
    ] = "cpu",
    rank: Annotated[
        str, typer.Option(help="currents that the exact solver counts by, as of savings"), Input(if_there)
    ] = "ddr3-1600",
    split: Annotated[bool, typer.Option(help="let operands lie in several partitions (exact only)")] = False,
    alignment: Annotated[str, typer.Option(help="bytes of which operands start at multiples, or row")] = "64",
    voltages: Annotated[int | None, typer.Option(help="different supply voltages, the nominal one included")] = None,
    coarse: Annotated[bool, typer.Option("--coarse", help="one operating point for the whole module")] = False,
    points: Annotated[
        str, typer.Option(help="measured, or continuous: also those that the limits imply on the fitted curves")
    ] = "measured",
    gap: Annotated[float, typer.Option(help="share above the bound at which the exact solver ends")] = 1e-4,
    time_limit: Annotated[float, typer.Option(help="seconds after which it ends in any case")] = 60.0,
) -> None:
    """Put each operand into the partition of a device that it tolerates."""
    from eden.placement.place import Constraints
    from eden.placement.place import place as solve
    from eden.tolerance.tolerance import Tolerance

    placement = solve(
        Tolerance.load(tolerance),
        _device(device),
        solver,
        objective=objective,
        constraints=Constraints(
            split=split,
            alignment=int(alignment) if alignment.isdecimal() else cast(Any, alignment),
            voltages=voltages,
        ),
        platform=platform,
        rank=rank,
        energy_weight=energy_weight,
        gap=gap,
        time_limit=time_limit,
        granularity="coarse" if coarse else "fine",
        points=cast(Any, points),
    )
    placement.save(out)
    typer.echo(placement.table())
    typer.echo(f"written: {out}")


@app.command("map")
def map_(
    network: NetworkOption,
    placement: PlacementOption,
    device: DeviceOption,
    out: Annotated[Path, _OUT, Output("memory map", json_file("memory-map"))],
    task: TaskOption = "digits",
    csv: Annotated[
        Path | None,
        typer.Option(help="also write the table for a memory controller, named .csv"),
        Output("memory map's table", TABLE, (".csv",)),
    ] = None,
) -> None:
    """Say where in the device each operand lies, in what form, and how the partitions are to be run."""
    from eden.faults.checkpoint import load_
    from eden.placement.memory_map import memory_map
    from eden.placement.place import Placement

    model = load_(_task(task).model(), network)
    found = memory_map(model, Placement.load(placement), _device(device))
    found.save(out)
    typer.echo(f"written: {out}")
    if csv is not None:
        found.save_csv(csv)
        typer.echo(f"written: {csv}")


@app.command()
def savings(
    network: NetworkOption,
    placement: PlacementOption,
    out: Annotated[Path, _OUT, Output("savings file", json_file("savings"))],
    task: TaskOption = "digits",
    platform: Annotated[
        str | None,
        typer.Option(help="cpu, gpu, eyeriss, tpu or a platform file; cpu, or the traffic's, if not given"),
        Input(if_there),
    ] = None,
    traffic: Annotated[
        Path | None,
        typer.Option(help="traffic file, written by eden traffic, in place of the network's operands"),
        Input(),
    ] = None,
    rank: Annotated[
        str,
        typer.Option(help="ddr3-1600, ddr3l-1600, ddr4-2400, lpddr3-1600, lpddr4-3200 or a file of currents"),
        Input(if_there),
    ] = "ddr3-1600",
    vdd_law: Annotated[str, typer.Option(help="how energy depends on VDD: linear or quadratic")] = "linear",
) -> None:
    """Account for the DRAM energy and the time that a placement saves."""
    from eden.accounting.savings import savings as account
    from eden.costs.traffic import Traffic
    from eden.faults.checkpoint import load_
    from eden.placement.place import Placement

    moved = load_(_task(task).model(), network) if traffic is None else Traffic.load(traffic)
    found = account(moved, Placement.load(placement), platform=platform, rank=rank, vdd_law=vdd_law)
    found.save(out)
    typer.echo(found.table())
    typer.echo(f"written: {out}")


@app.command()
def traffic(
    network: NetworkOption,
    out: Annotated[Path, _OUT, Output("traffic file", json_file("traffic"))],
    task: TaskOption = "digits",
    platform: Annotated[str, typer.Option(help="cpu, gpu, eyeriss, tpu or a platform file"), Input(if_there)] = "cpu",
    batch: Annotated[int | None, typer.Option(help="samples that share one read of the weights")] = None,
    repeated: Annotated[bool, typer.Option("--repeated", help="of a cache, an inference that follows another")] = False,
    counts: Annotated[
        Path | None,
        typer.Option(help="CSV of what each operand moves, in place of the platform's memory"),
        Input(),
    ] = None,
) -> None:
    """Count what each operand of a network moves between processor and DRAM."""
    from eden.costs.traffic import Traffic
    from eden.costs.traffic import traffic as count
    from eden.faults.checkpoint import load_

    chosen = _task(task)
    model = load_(chosen.model(), network)
    if counts is not None:
        if repeated or batch is not None:
            raise ValueError(
                "counts is given beside batch or repeated; allowed is one of them: counts are taken as they are"
            )
        found = Traffic.from_csv(counts, model, platform)
    else:
        _, validation = chosen.sets()
        found = count(model, platform, batch, inputs=validation.tensors[0][:1], repeated=repeated)
    found.save(out)
    typer.echo(found.table())
    typer.echo(f"written: {out}")


@app.command()
def account(
    network: NetworkOption,
    placement: PlacementOption,
    out: Annotated[Path, _OUT, Output("account file", json_file("account"))],
    task: TaskOption = "digits",
    platform: Annotated[
        list[str] | None,
        typer.Option(help="cpu, gpu, eyeriss, tpu or a platform file; several times; all"),
        Input(if_there),
    ] = None,
    rank: Annotated[
        str, typer.Option(help="currents that energy is counted by, as of savings"), Input(if_there)
    ] = "ddr3-1600",
    vdd_law: Annotated[str, typer.Option(help="how energy depends on VDD: linear or quadratic")] = "linear",
) -> None:
    """Count a placement's energy and time by platform, term and operand."""
    from eden.accounting.account import account as counted
    from eden.costs.platforms import PLATFORMS
    from eden.faults.checkpoint import load_
    from eden.placement.place import Placement

    model = load_(_task(task).model(), network)
    found = counted(model, Placement.load(placement), platform or list(PLATFORMS), rank, vdd_law)
    found.save(out)
    typer.echo(found.table())
    typer.echo(f"written: {out}")


@app.command()
def verify(
    network: NetworkOption,
    placement: PlacementOption,
    out: Annotated[Path, _OUT, Output("verification file", json_file("verification"))],
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
    seed: Annotated[int, typer.Option("--seed", help="of the chips; one that no profile was given")] = 1,
) -> None:
    """Certify a placement on fresh chips; status 1 where it cannot be."""
    from eden.app.steps import network_loader
    from eden.faults.checkpoint import load_
    from eden.faults.inject import inject_
    from eden.placement.place import Placement
    from eden.tolerance.profile import SearchError
    from eden.tolerance.verification import certify

    chosen = _task(task)
    _, validation = chosen.sets()
    model = inject_(load_(chosen.model(), network), Placement.load(placement))
    found = certify(
        model,
        network_loader(validation, samples),
        max_drop=max_drop,
        confidence=confidence,
        seed=seed,
        reference=None if reference is None else load_(chosen.model(), reference),
        journal=journal,
        effort=effort,
        batch_size=samples,
    )
    found.save(out)
    if not found.certified:
        raise SearchError(found.reason)
    typer.echo(found.table())
    typer.echo(f"written: {out}")


@app.command()
def evaluate(
    network: NetworkOption,
    task: TaskOption = "digits",
    placement: Annotated[
        Path | None, typer.Option(help="evaluate each operand where this placement puts it"), Input()
    ] = None,
    label: Annotated[str, typer.Option(help="what the report calls the network")] = "network",
    chips: Annotated[int, typer.Option(help="chips that the accuracy is a mean over")] = 20,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="accuracy file for the report"),
        Output("accuracy file", json_file("accuracy")),
    ] = None,
    seed: SeedOption = 0,
) -> None:
    """Measure the accuracy over chips never trained on, against the bit error rate or at a placement."""
    from eden.app.steps import accuracy_curves, rates_with_progress
    from eden.faults.checkpoint import load_
    from eden.placement.place import Placement
    from eden.tolerance import evaluation

    if chips < 1:
        raise ValueError(f"chips is {chips}; allowed is 1 or more")
    if out is not None and placement is not None:
        raise ValueError("--out takes the accuracy against the bit error rate, which --placement does not measure")
    chosen = _task(task)
    _, validation = chosen.sets()
    model = load_(chosen.model(), network)
    clean = evaluation.clean_accuracy(model, validation)
    typer.echo(f"without errors: {clean:.2%}")
    if placement is not None:
        memory = Placement.load(placement).memory
        over = evaluation.with_errors(model, validation, memory, chips, seed)
        typer.echo(f"as placed: {over.mean:.2%} over {chips} chips, worst {over.worst:.2%}")
        return
    found = rates_with_progress(model, validation, chips, seed)
    for rate, over in found.items():
        typer.echo(f"BER {rate:.0e}: {over.mean:.2%} over {chips} chips, worst {over.worst:.2%}, best {over.best:.2%}")
    if out is not None:
        accuracy_curves(label, found, clean, chosen.name, seed).save(out)
        typer.echo(f"written: {out}")


@app.command()
def report(
    out: Annotated[
        Path,
        typer.Argument(help="folder for the page and the files behind it"),
        OutputFolder(
            tuple(REPORT_FILES),
            REPORT_FILES,
            {name: f"{name.replace('_', '-')}.json" for name in _PARTS},
        ),
    ],
    device: Annotated[str | None, typer.Option(help=_DEVICE_HELP), Input(if_there)] = None,
    tolerance: Annotated[Path | None, typer.Option(help="tolerance file"), Input()] = None,
    placement: Annotated[Path | None, typer.Option(help="placement file"), Input()] = None,
    savings: Annotated[Path | None, typer.Option(help="savings file"), Input()] = None,
    accuracy: Annotated[
        list[Path] | None, typer.Option(help="accuracy file; may be given several times"), Input()
    ] = None,
    memory_map: Annotated[Path | None, typer.Option("--map", help="memory map"), Input()] = None,
    account: Annotated[Path | None, typer.Option(help="account file"), Input()] = None,
    pareto: Annotated[Path | None, typer.Option(help="file of energy against accuracy"), Input()] = None,
    title: Annotated[str, typer.Option(help="heading of the page")] = "EDEN report",
) -> None:
    """Write one self-contained HTML page from whatever files of the chain are given, or are in the folder already.

    A file or figure that fails leaves the rest of the page; then the status is 1.
    """
    from eden.devices.device import Device
    from eden.reporting import page as reporting

    files = {
        "tolerance": tolerance,
        "placement": placement,
        "savings": savings,
        "memory-map": memory_map,
        "account": account,
        "pareto": pareto,
    }
    paths: dict[str, list[Path]] = {name: [path] for name, path in files.items() if path is not None}
    if accuracy:
        paths["accuracy"] = accuracy
    catalogued = device is not None and device in Device.builtin_names()
    if device is not None and not catalogued:
        paths["device"] = [Path(device)]
    if not paths and not catalogued:
        paths = reporting.paths_in(out)
    parts, problems = reporting.read_parts(paths)
    if device is not None and catalogued:
        parts["device"] = Device.builtin(device)
    given = {name.replace("-", "_"): part for name, part in parts.items()}
    page = reporting.report(out, **given, title=title, lacks=problems)
    typer.echo(f"written: {page}")
    for name, made_by in reporting.MADE_BY.items():
        if name not in parts:
            typer.echo(f"not in it: {name} (made by {made_by})")


@app.command()
def schema(
    name: Annotated[str, typer.Argument(help=", ".join(_shipped("app", "schemas")))],
) -> None:
    """Print the JSON Schema of one of the files, for editors and for programs that write them."""
    schemas = _shipped("app", "schemas")
    if name not in schemas:
        raise ValueError(f"schema of {name!r}; allowed are {', '.join(schemas)}")
    typer.echo(schemas[name].read_text(encoding="utf-8").rstrip())


@app.command()
def demo(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="folder for everything that the chain writes"),
        OutputFolder(RUN_FILES, kept={"device": "device.json"}),
    ] = Path("out"),
    set_: SetOption = None,
    task: OtherTask = None,
    device: OtherDevice = None,
    trcd: Annotated[
        float | None, typer.Option(help="row-activation latency (ns) whose error model is trained with")
    ] = None,
    max_drop: Annotated[float | None, typer.Option(help="accuracy that may be lost, inside (0, 1)")] = None,
    chips: Annotated[int | None, typer.Option(help="chips that each accuracy is a mean over")] = None,
    platform: Annotated[
        str | None, typer.Option(help="cpu, gpu, eyeriss, tpu or a platform file"), Input(if_there)
    ] = None,
    seed: OtherSeed = None,
    resume: ResumeOption = False,
    force: ForceOption = False,
) -> None:
    """Run the recipe that ships with eden: a real device, and a network boosted, profiled, placed and verified."""
    from eden.app.run import DEMO, RunRecipe
    from eden.app.run import run as whole

    options = {
        "task": task,
        "memory.device": device,
        "memory.trcd": trcd,
        "profile.max_drop": max_drop,
        "verify.chips": chips,
        "comparison.chips": chips,
        "place.platform": platform,
        "seed": seed,
    }
    with importlib.resources.as_file(DEMO) as recipe:
        chosen = RunRecipe.load(recipe, _overrides(options, set_))
    with _reading(chosen, out, RUN_FILES):
        whole(chosen, out, resume=resume, force=force, say=typer.echo)


@app.command()
def doctor() -> None:
    """Say what is installed, what is missing and what does not work, with remedies; status 1 where EDEN cannot run."""
    from eden.app import doctor as examination

    raise typer.Exit(examination.main(typer.echo))


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
            "and verify with the same command",
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
