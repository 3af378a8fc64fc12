"""What subcommands have alike: how they check what they are given, and the options that several of them take.

A subcommand is a file of ``eden.app.commands`` with ``@app.command()`` and its name in the tuple there. The imports of
what it needs stand in its function, so that no command waits for the libraries of another.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer
import typer.core

from eden.app.paths import Given, Input, Output, OutputFolder, check, if_there, of_task
from eden.common.renames import COMMANDS, OPTIONS

if TYPE_CHECKING:
    from torch import nn

    from eden.app.tasks import Task

_F = TypeVar("_F", bound=Callable[..., Any])


class Command(typer.core.TyperCommand):
    """A subcommand: what it reads and writes is checked before it does anything."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse options of old names."""
        for word in args:
            option = word.partition("=")[0]
            new = OPTIONS.get((self.name or "", option))
            if new is not None:
                ctx.fail(f"{option} is now {new}")
        return super().parse_args(ctx, args)

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


def _marks(function: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """The parameters of a command, each with what stands beside its type."""
    for name, hint in get_type_hints(inspect.unwrap(function), include_extras=True).items():
        yield from ((name, mark) for mark in getattr(hint, "__metadata__", ()))


def declarations(function: Callable[..., Any] | None) -> dict[str, Input | Output | OutputFolder]:
    """What the parameters of a command name, as far as they name files."""
    if function is None:
        return {}
    return {name: mark for name, mark in _marks(function) if isinstance(mark, (Input, Output, OutputFolder))}


def _label(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    return str(max(parameter.opts, key=len))


class _Group(typer.core.TyperGroup):
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in COMMANDS:
            ctx.fail(f"{ctx.command_path} {args[0]} is now {ctx.command_path} {COMMANDS[args[0]]}")
        return super().resolve_command(ctx, args)


class App(typer.Typer):
    """One whose commands are all of ``Command``."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[_F], _F]:
        """Register a subcommand."""
        return super().command(name, **{"cls": Command, **options})


app = App(
    name="eden",
    cls=_Group,
    help="Run neural networks from DRAM that is operated outside its specification.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def shipped(room: str, folder: str) -> dict[str, Path]:
    """The JSON files in a folder of the package, by name: their text can be shown without loading what made them."""
    return {path.stem: path for path in sorted((Path(__file__).parent.parent / room / folder).glob("*.json"))}


TASK_HELP = "digits, cifar10-resnet20, package.module:function or file.py:function (docs/how-to/own-task.md)"
DEVICE_HELP = "a name of the catalogue (eden devices list) or a device file"
PLATFORM_HELP = f"{', '.join(shipped('costs', 'platforms'))} or a platform file"
CURRENTS_HELP = f"{', '.join(shipped('costs', 'energy'))} or a file of currents"

# Each parameter that names a file says whether the command reads or writes it, which is checked before it is called.
TaskOption = Annotated[str, typer.Option("--task", help=TASK_HELP), Input(of_task)]
DeviceOption = Annotated[str, typer.Option("--device", help=DEVICE_HELP), Input(if_there)]
NetworkOption = Annotated[Path, typer.Option("--network", help="network file, written by eden retrain"), Input()]
PlacementOption = Annotated[Path, typer.Option(help="placement file, written by eden place"), Input()]
SeedOption = Annotated[int, typer.Option("--seed", help="what chips are drawn from")]
AttemptOption = Annotated[
    int, typer.Option("--attempt", help="which of the seed it is; each has chips of its own", min=1)
]
PopulationOption = Annotated[
    str | None,
    typer.Option(
        "--population",
        help="data or samples: of what the limits are; data where there are enough samples, if not given",
    ),
]
CurrentsOption = Annotated[str, typer.Option("--currents", help=CURRENTS_HELP), Input(if_there)]
VddLawOption = Annotated[str, typer.Option("--vdd-law", help="how energy depends on VDD: linear or quadratic")]


class Sets:
    """Of an option: what it is given takes the place of these values of a recipe, by dotted key."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys


OtherTask = Annotated[str | None, typer.Option("--task", help=TASK_HELP), Input(of_task), Sets("task")]
OtherDevice = Annotated[str | None, typer.Option("--device", help=DEVICE_HELP), Input(if_there), Sets("memory.device")]
OtherSeed = Annotated[int | None, typer.Option("--seed", help="what chips are drawn from"), Sets("seed")]
OtherTrcd = Annotated[
    float | None,
    typer.Option("--trcd", help="row-activation latency (ns) whose error model is trained with"),
    Sets("memory.trcd"),
]
OtherMaxDrop = Annotated[
    float | None,
    typer.Option("--max-drop", help="accuracy that may be lost, inside (0, 1)"),
    Sets("profile.max_drop"),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="a value in place of the recipe's, such as boost.epochs=3; several times"),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="go on where an interrupted run stopped")]
ForceOption = Annotated[bool, typer.Option("--force", help="begin anew, in place of the run that the folder holds")]
OUT = typer.Option("--out", "-o", help="file to write")
FIGURES = (".svg", ".pdf", ".png")


def task_of(name: str) -> Task:
    """The task of a name, with as many threads of torch as it asks for."""
    import torch

    from eden.app.tasks import load_task

    task = load_task(name)
    if task.threads is not None:
        torch.set_num_threads(task.threads)
    return task


def network_of(task: str | Task, network: Path) -> nn.Module:
    """A network of a file, under its faults."""
    from eden.faults.checkpoint import load_

    return load_((task_of(task) if isinstance(task, str) else task).model(), network)


def wrote(path: Path) -> None:
    """Say that a file was written."""
    typer.echo(f"written: {path}")


def tell(found: Any, out: Path) -> None:
    """Write what a step found, and show it as text."""
    found.save(out)
    typer.echo(found.table())
    wrote(out)


_NAMED_BY_RECIPES = (
    *("memory.device", "place.device", "curriculum.tolerance", "curriculum.placement", "network"),
    *("place.platform", "place.currents", "account.platforms", "task"),
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


def follow(
    work: Callable[..., Any],
    kind: Any,
    recipe: Path | None,
    holds: Sequence[str],
    command: Callable[..., Any],
    given: Mapping[str, Any],
    replaces: Mapping[str, str] | None = None,
) -> None:
    """Do what a recipe says in a folder.

    Args:
        work: does it: ``retrain`` or ``run``.
        kind: class of the recipe.
        recipe: its file, None for one that leaves everything out.
        holds: names of the files that it leaves in the folder, patterns of glob.
        command: the subcommand, whose options say what they set of the recipe, unless they are None; then comes --set.
        given: what its parameters are, ``out``, ``resume`` and ``force`` among them.
        replaces: by option, a key that the recipe has and that means nothing beside what the option sets.
    """
    from eden.app.recipe import setting

    said: list[tuple[str, Any]] = [(key, None) for name, key in (replaces or {}).items() if given[name] is not None]
    said += [
        (key, str(value) if isinstance(value, Path) else value)
        for name, mark in _marks(command)
        if isinstance(mark, Sets) and (value := given[name]) is not None
        for key in mark.keys
    ]
    said += [setting(text) for text in given["set_"] or []]
    chosen = kind.of({}, said) if recipe is None else kind.load(recipe, said)
    with _reading(chosen, given["out"], holds):
        work(chosen, given["out"], resume=given["resume"], force=given["force"], say=typer.echo)
