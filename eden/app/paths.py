"""What a command reads and writes, declared with its parameters and checked in one place before it does anything.

``Annotated[Path, typer.Option(...), Output(...)]`` declares a file that a command writes, ``Input`` one that it reads,
``OutputFolder`` a folder that it fills. ``check`` holds all of them against one another and against what is there:

- an output is no input and no other output, whatever links or spellings lead to it;
- an output is a new file, or takes the place of an empty one or of an earlier one of its kind, so that a slip of the
  hand replaces nothing else; never a folder, a device, a pipe or a socket;
- an output through a link is written to the file that the link leads to, as by a shell;
- a folder's files are outputs like any other;
- the ending of a name is one that the command can write, and the place is one that can be written to.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

_BEGINNING = 512  # bytes of a file in which its kind shows

FIGURE = r"\s*<\?xml|\s*<svg|%PDF|\x89PNG"
"""How figures begin, whatever drew them."""

PACKAGE = r"PK\x03\x04"
"""How packages of torch begin: as any archive of zip."""

SAMPLES = r'.{8}\{.*"(inputs|targets)"'
"""How samples in safetensors begin."""

TABLE = "operand,"
"""How a memory map's table begins."""

PAGE = r'<!DOCTYPE html>.*<meta name="generator" content="EDEN">'
"""How a report's page begins."""


def json_file(kind: str) -> str:
    """How EDEN's JSON files of a kind begin."""
    return rf'\s*\{{\s*"format":\s*"eden-{kind}"'


def whole(value: str) -> str | None:
    """The value is a file's name."""
    return value


def if_there(value: str) -> str | None:
    """The value is a file's name if there is such a file, and else a name that EDEN knows."""
    return value if os.path.exists(value) else None


def of_task(value: str) -> str | None:
    """The file of ``file.py:function``."""
    file, colon, _ = value.rpartition(":")
    return file if colon and file.endswith(".py") else None


@dataclasses.dataclass(frozen=True)
class Input:
    """A parameter that names a file which the command reads.

    Attributes:
        file: gives the file of a value, None for a value that names none.
    """

    file: Callable[[str], str | None] = whole


@dataclasses.dataclass(frozen=True)
class Output:
    """A parameter that names a file which the command writes.

    Attributes:
        what: what it holds, for messages.
        begins: a regular expression that the beginning of such a file matches; None for a file that is gone on with
            and that is checked when it is opened, such as a journal.
        endings: of its name, None for any.
        beside: ending of another file that the command writes beside it, by adding it to its name.
        unless: the parameter that names that other file instead.
    """

    what: str
    begins: str | None
    endings: tuple[str, ...] | None = None
    beside: str = ""
    unless: str = ""


@dataclasses.dataclass(frozen=True)
class OutputFolder:
    """A parameter that names a folder which the command fills.

    Attributes:
        holds: names of the files that it writes there, patterns of glob.
        begins: where files there are replaced unasked, how each of them begins; where the folder is ``claimed``, none.
        kept: by parameter, the file there that a command writes as that parameter gave it, and only where it is given,
            so that it may be that very file.
    """

    holds: Sequence[str]
    begins: Mapping[str, str] = dataclasses.field(default_factory=dict)
    kept: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Given:
    """A parameter of a command with what it was given.

    Attributes:
        name: of the parameter in Python.
        label: as a user knows it.
        declared: what it names.
        value: what was given, None for nothing.
    """

    name: str
    label: str
    declared: Input | Output | OutputFolder
    value: Any


_Identity = tuple[int, int, tuple[str, ...]]


def _identity(path: str | os.PathLike[str]) -> _Identity:
    """Of files that are there their place on the disk; of others, what there is of the way to them and the rest."""
    whole_path = Path(os.path.realpath(path))
    for there in (whole_path, *whole_path.parents):
        try:
            found = os.stat(there)
        except OSError:
            continue
        return found.st_dev, found.st_ino, whole_path.relative_to(there).parts
    return 0, 0, whole_path.parts


def check(given: Iterable[Given]) -> list[Path]:
    """Refuse what cannot be written or must not be, and make the folders that output files are to lie in.

    Returns:
        The files that are read.

    Raises:
        FileError: naming the file, the parameter that asks for it, and what is allowed.

    """
    parameters = [one for one in given if one.value is not None]
    read = [(one, Path(file)) for one in parameters for file in _read(one)]
    names = {one.name for one in parameters}
    written = [(one, path, label) for one in parameters for path, label in _written(one, names)]
    folders = [one for one in parameters if isinstance(one.declared, OutputFolder)]
    if not written and not folders:
        return [path for _, path in read]
    from eden.common.files import FileError, check_folder, check_replaceable, output_file

    inputs = {_identity(path): one for one, path in read}
    outputs: dict[_Identity, str] = {}
    for one, path, label in written:
        # What is written beside a file has no kind and no ending of its own.
        declared = one.declared if label == one.label else Output("", None)
        assert isinstance(declared, Output)
        if declared.endings is not None and path.suffix.lower() not in declared.endings:
            verb = "is" if len(declared.endings) == 1 else "are"
            raise FileError(path, f"ends in {path.suffix!r}; allowed for {label} {verb} {_listed(declared.endings)}")
        check_replaceable(path)
        identity = _identity(path)
        meets = [inputs[identity].label] if identity in inputs else []
        meets += [other for place, other in outputs.items() if _leads_to(identity, place)]
        if meets:
            raise FileError(path, f"is {meets[0]} and {label} at once; allowed are different files")
        outputs[identity] = label
        _check_kind(path, declared.begins, declared.what, label)
    for one in folders:
        _check_folder(one, inputs, names)
    for _, path, _ in written:
        output_file(path)
    for one in folders:
        check_folder(one.value)
    return [path for _, path in read]


def _values(one: Given) -> list[str]:
    values = one.value if isinstance(one.value, (list, tuple)) else [one.value]
    return [os.fspath(value) for value in values]


def _read(one: Given) -> list[str]:
    if not isinstance(one.declared, Input):
        return []
    return [file for value in _values(one) if (file := one.declared.file(value)) is not None]


def _written(one: Given, names: Container[str]) -> list[tuple[Path, str]]:
    if not isinstance(one.declared, Output):
        return []
    found = [(Path(value), one.label) for value in _values(one)]
    beside = one.declared.beside
    if beside and one.declared.unless not in names:
        found += [(Path(f"{path}{beside}"), f"the {beside} of {label}") for path, label in found]
    return found


def _leads_to(one: _Identity, other: _Identity) -> bool:
    """Whether two files are one, or one would have to be a folder for the other."""
    shorter = min(len(one[2]), len(other[2]))
    return one[:2] == other[:2] and one[2][:shorter] == other[2][:shorter]


def _check_kind(path: Path, begins: str | None, what: str, label: str) -> None:
    from eden.common.files import FileError

    if begins is None:
        return
    try:
        with open(path, "rb") as file:
            beginning = file.read(_BEGINNING)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise FileError(path, f"cannot be read, to see what {label} would replace: {error.strerror}") from error
    if beginning and not re.match(begins.encode("latin-1"), beginning, re.DOTALL):
        raise FileError(
            path, f"is there already and is no {what}; {label} replaces nothing else: remove it, or take another name"
        )


def _check_folder(one: Given, inputs: Mapping[_Identity, Given], names: Container[str]) -> None:
    from eden.common.files import FileError, check_replaceable
    from eden.common.folder import found_in

    assert isinstance(one.declared, OutputFolder)
    folder = Path(one.value)
    unwritten = {name for parameter, name in one.declared.kept.items() if parameter not in names}
    for path in found_in(folder, one.declared.holds):
        name = path.relative_to(folder).as_posix()
        reader = inputs.get(_identity(path))
        if reader is not None and one.declared.kept.get(reader.name) != name:
            raise FileError(
                path, f"is {reader.label}, and {one.label} would replace it; allowed is another file or another folder"
            )
        check_replaceable(path)
        if reader is None and name in one.declared.begins and name not in unwritten:
            _check_kind(path, one.declared.begins[name], f"{name} of a report", one.label)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


RETRAIN_FILES = (
    "recipe.toml",
    "baseline.safetensors",
    "boosted.safetensors",
    "boost.safetensors",
    "train.safetensors",
)
"""The files that a retraining leaves in its folder."""

REPORT_FILES: Mapping[str, str] = {
    "index.html": PAGE,
    **{
        f"{kind}.json": json_file(kind)
        for kind in (
            *("device", "tolerance", "placement", "savings", "accuracy", "memory-map", "account", "pareto"),
            "verification",
        )
    },
}
"""The files that a report writes into its folder, and how each begins."""

_STAGES = ("before", "whole", "round-*", "round-*/attempt-*", "pareto/drop-*")
_OF_A_STAGE = (
    *("tolerance.json", "profile.journal", "accuracy.json", "network.safetensors", "tune.safetensors"),
    *("placement.json", "verification.json", "verification.journal"),
)
RUN_FILES = (
    *("manifest.json", "recipe.toml", "network.safetensors", "memory-map.csv", "rounds.json", "gain.json"),
    *REPORT_FILES,
    *(f"boost/{name}" for name in RETRAIN_FILES),
    *(f"{stage}/{name}" for stage in _STAGES for name in _OF_A_STAGE),
)
"""The files that a run of the whole chain leaves in its folder."""
