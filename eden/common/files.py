"""EDEN's files: versioned JSON, validated by pydantic, written atomically, with errors that name the place."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import importlib.resources
import json
import os
import secrets
import stat
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import pydantic

if TYPE_CHECKING:
    import torch

HEADER_KEY = "eden"
"""Where the metadata of a safetensors file holds its header."""


class FileError(ValueError):
    """A file that cannot be used: the message names the file, the place in it, what was found and what is allowed."""

    def __init__(self, path: str | os.PathLike[str], problem: str) -> None:
        super().__init__(f"{os.fspath(path)}: {problem}")
        self.path = Path(path)


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file. Raises FileError if it is missing, is no file, or is not UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FileError(path, f"byte {error.start} is no UTF-8 text; is this the right file?") from error
    except OSError as error:
        raise FileError(path, f"cannot be read: {error.strerror}") from error


_inputs: list[os.stat_result] = []


@contextlib.contextmanager
def kept(paths: Iterable[str | os.PathLike[str]]) -> Iterator[None]:
    """While the block runs nothing replaces these files, which it reads from, by anything else."""
    count = len(_inputs)
    for path in paths:
        with contextlib.suppress(OSError):
            _inputs.append(os.stat(path))
    try:
        yield
    finally:
        del _inputs[count:]


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Refuse to put a file in the place of anything but a regular one. Raises FileError naming what is there."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return  # the folder is not this check's
    except OSError as error:
        raise FileError(path, f"cannot be written: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise FileError(path, f"cannot be written: it is {_kind(mode)}; allowed is a new or a regular file")


def _kind(mode: int) -> str:
    kinds = {
        stat.S_ISDIR: "a folder",
        stat.S_ISCHR: "a character device",
        stat.S_ISBLK: "a block device",
        stat.S_ISFIFO: "a named pipe",
        stat.S_ISSOCK: "a socket",
    }
    return next((name for holds, name in kinds.items() if holds(mode)), "no regular file")


def is_read(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one that is ``kept``."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return any(os.path.samestat(found, one) for one in _inputs)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # of file systems that sync no folders
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path that takes the place of ``path`` at the end of the block, or is removed after an error.

    Of a link the file that it leads to is replaced, and the link stays.

    Raises:
        FileError: if the folder does not exist or cannot be written to, if there is something else than a regular file,
            or a file that the running command reads and that would change.

    """
    target = Path(os.path.realpath(path))
    check_replaceable(target)
    temporary = target.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        # The umask and the folder's defaults are applied by the system, as to any new file.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except OSError as error:
        raise FileError(path, f"cannot be written: {error.strerror} (folder {target.parent})") from error
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        check_replaceable(target)
        if is_read(target):
            if not filecmp.cmp(temporary, target, shallow=False):
                raise FileError(path, "cannot be written: what is done here reads it; allowed is another file")
            return
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise FileError(path, f"cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a whole file or none of it. Raises FileError if it cannot be written."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_tensors(path: str | os.PathLike[str], tensors: dict[str, torch.Tensor], header: str | None = None) -> None:
    """Write a whole safetensors file or none of it, with EDEN's header in its metadata, if it has one.

    Raises:
        FileError: if it cannot be written.

    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    # safetensors takes neither shared memory nor strides.
    own = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    try:
        with atomic_path(path) as temporary:
            save_file(own, temporary, metadata=None if header is None else {HEADER_KEY: header})
    except SafetensorError as error:  # a full disk, among others
        raise FileError(path, f"cannot be written: {error}") from error


def read_tensors(path: str | os.PathLike[str], writer: str) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors and the header of a safetensors file that ``write_tensors`` wrote.

    Raises:
        FileError: if it cannot be read, or has no header: it was not written by ``writer``.

    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise FileError(path, f"cannot be read as safetensors: {error}") from error
    if HEADER_KEY not in metadata:
        raise FileError(path, f"its header has no {HEADER_KEY!r}; it was not written by {writer}")
    return tensors, metadata[HEADER_KEY]


def output_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder for results and check that it can be written to, before anything is computed.

    Raises:
        FileError: if it cannot be made or written to.

    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FileError(folder, f"cannot be used as an output folder: {error.strerror}") from error
    return folder


def check_folder(path: str | os.PathLike[str]) -> None:
    """Check that a folder can be written to, or made, and make none. Raises FileError if not."""
    folder = Path(path)
    there = next(one for one in (folder, *folder.absolute().parents) if os.path.lexists(one))
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise FileError(folder, f"cannot be used as an output folder: {error.strerror}") from error


def output_file(path: str | os.PathLike[str]) -> Path:
    """Make the folder of a file and check that the file can be written there, before anything is computed.

    Raises:
        FileError: if it cannot, naming what is in the way.

    """
    target = Path(path)
    check_replaceable(target)
    output_folder(Path(os.path.realpath(target)).parent)
    return target


def json_object(text: str, path: str | os.PathLike[str]) -> dict[str, Any]:
    """The object that a JSON file holds. Raises FileError naming the place in the file of what is none."""
    try:
        body: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise FileError(
            path, f"line {error.lineno}, column {error.colno}: {error.msg}; it is truncated or is no JSON file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise FileError(path, _unreadable(error)) from error
    if not isinstance(body, dict):
        raise FileError(path, f"top level: found {type(body).__name__}, allowed is an object")
    return body


def toml_table(text: str, path: str | os.PathLike[str]) -> dict[str, Any]:
    """The table that a TOML file holds. Raises FileError naming the place in the file of what is none."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileError(path, f"{error}; it is truncated or is no TOML file") from error
    except (ValueError, RecursionError) as error:
        raise FileError(path, _unreadable(error)) from error


def _unreadable(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply to be one of EDEN's files"
    return f"a number in it cannot be read: {error}"  # a whole number of more digits than Python converts


def place_in(location: tuple[int | str, ...]) -> str:
    """Words for a place in a file, of the keys and numbers that lead to it."""
    place = ""
    for part in location:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    return place or "top level"


def stored_as(key: str, name: str) -> Any:
    """Of a field, the key that files have in place of its name; both are read. Stands in the field's ``Annotated``."""
    return pydantic.Field(validation_alias=pydantic.AliasChoices(key, name), serialization_alias=key)


class Record(pydantic.BaseModel):
    """A part of a file: what it does not know is refused, and it stays as it was made.

    The docstring under a field is its description in the JSON Schema.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class FiniteRecord(Record):
    """One whose numbers are finite."""

    model_config = pydantic.ConfigDict(allow_inf_nan=False)


class VersionedFile(pydantic.BaseModel):
    """Base of EDEN's JSON files: subclasses name their ``FORMAT`` and ``VERSION`` once, checked on loading."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, ser_json_inf_nan="strings", use_attribute_docstrings=True
    )

    FORMAT: ClassVar[str]
    VERSION: ClassVar[int]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file atomically. Raises FileError if that is not possible."""
        body = {"format": self.FORMAT, "version": self.VERSION, **self.model_dump(mode="json", by_alias=True)}
        write_text(path, json.dumps(body, indent=2) + "\n")

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """JSON Schema (draft 2020-12) of the file, for editors, generators and other languages.

        It says of each field whether it must be there, its type and range. What fields must be to each other, such as
        sorted points, only ``load`` checks.
        """
        body = cls.model_json_schema(mode="validation")
        head = {"format": {"const": cls.FORMAT}, "version": {"const": cls.VERSION}}
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **body,
            "properties": {**head, **body["properties"]},
            "required": [*head, *body.get("required", [])],
        }

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read and validate a file.

        Raises:
            FileError: naming the file, the place in it, what was found and what is allowed.

        """
        return cls.parse(read_text(path), path)

    @classmethod
    def parse(cls, text: str, path: str | os.PathLike[str]) -> Self:
        """Validate the text of a file; ``path`` is what errors name."""
        body = json_object(text, path)
        if body.get("format") != cls.FORMAT:
            raise FileError(path, f"format: found {body.get('format')!r}, allowed is {cls.FORMAT!r}")
        version = body.get("version")
        if type(version) is not int or version != cls.VERSION:
            raise FileError(path, f"version: found {version!r}, allowed is {cls.VERSION} (this version of eden's)")
        fields = {key: value for key, value in body.items() if key not in ("format", "version")}
        try:
            return cls.model_validate(fields)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            found = first.get("input")
            more = error.error_count() - 1
            raise FileError(
                path,
                f"{place_in(first['loc'])}: {first['msg']}; found {str(found)[:80]!r}"
                + (f" (and {more} more such problems)" if more else ""),
            ) from error


class ShippedFile(VersionedFile):
    """A file of which some ship with the package: each is a JSON file in ``SHIPPED_IN``, known by its name."""

    SHIPPED_IN: ClassVar[str]
    """A package."""
    CALLED: ClassVar[str]
    """What an unknown name was given as, such as "platform is"."""

    @classmethod
    def builtin_names(cls) -> tuple[str, ...]:
        """Names of those that ship with the package."""
        names = (file.name for file in importlib.resources.files(cls.SHIPPED_IN).iterdir())
        return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))

    @classmethod
    def builtin(cls, name: str) -> Self:
        """One that ships with the package. Raises ValueError listing those that there are."""
        names = cls.builtin_names()
        if name not in names:
            raise ValueError(f"{cls.CALLED} {name!r}; allowed are {', '.join(map(repr, names))} or a .json file")
        file = importlib.resources.files(cls.SHIPPED_IN) / f"{name}.json"
        return cls.parse(file.read_text(encoding="utf-8"), f"{name}.json")

    @classmethod
    def named(cls, given: str | os.PathLike[str] | Self) -> Self:
        """The object itself, the one of a name, or that of a file whose path ends in .json.

        Raises:
            ValueError: for a name that there is not.
            FileError: for a file that cannot be used.

        """
        if isinstance(given, cls):
            return given
        text = os.fspath(cast("str | os.PathLike[str]", given))
        return cls.load(text) if text.endswith(".json") else cls.builtin(text)
