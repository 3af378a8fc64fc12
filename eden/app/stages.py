"""The stages of a run in a folder: each is made from what it says, kept, and made again where that has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pydantic

from eden.common.files import FileError, Record, VersionedFile, output_folder
from eden.common.folder import found_in
from eden.common.provenance import SHOWN, Sha256, digest_of_json

MANIFEST = "manifest.json"
"""The file of a run's folder that says what is in it."""

_Result = TypeVar("_Result", bound=VersionedFile)


class Stage(Record):
    """One stage of a run."""

    of: dict[str, str]
    """What it is made from: SHA-256 or settings, by what they are."""
    attempt: int | None = None
    """Of a search or a test, which one in the folder it is: each has chips that none before it has seen."""
    files: dict[str, Sha256 | None]
    """What it writes, and what it goes on from after an interruption, with their SHA-256; None while it is made."""


class Manifest(VersionedFile):
    """What is in the folder of a run, and what each file was made from. Saved and loaded as JSON."""

    FORMAT: ClassVar[str] = "eden-manifest"
    VERSION: ClassVar[int] = 1

    stages: dict[str, Stage] = pydantic.Field(default_factory=dict)
    """Those that were begun, by name."""
    attempts: dict[str, int] = pydantic.Field(default_factory=dict)
    """How many searches and tests there have been, those that were made again included."""


class Stages:
    """The stages of the run in a folder.

    Args:
        folder: of the run.
        holds: names of the files that stages write there, patterns of glob.
        free: names among them that are no stage's.
        say: told which stages are made again.

    Raises:
        FileError: naming a file that was altered since the run wrote it, or that no stage has written.
    """

    def __init__(self, folder: Path, holds: Sequence[str], free: Sequence[str], say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._met: set[str] = set()
        path = folder / MANIFEST
        self._manifest = Manifest.load(path) if path.exists() else Manifest()
        known = {name: digest for stage in self._manifest.stages.values() for name, digest in stage.files.items()}
        for found in found_in(folder, holds):
            name = found.relative_to(folder).as_posix()
            if name not in (*free, MANIFEST):
                _check(found, name in known, known.get(name))

    def do(
        self,
        name: str,
        files: Sequence[str],
        of: Mapping[str, Any],
        make: Callable[[int], Any],
        *,
        counts: str | None = None,
        scratch: Sequence[str] = (),
        always: bool = False,
    ) -> None:
        """Have the files of a stage, made from what it is made from now.

        Args:
            name: of the stage.
            files: what it writes, in the folder.
            of: what it is made from, by what it is: digests, or settings as JSON values.
            make: writes the files, given the number of its attempt; what it goes on from is there only if it was made
                from the same.
            counts: whose attempts it is one of; None for neither search nor test.
            scratch: what it goes on from after an interruption.
            always: whether it is made whatever there is.
        """
        self._met.add(name)
        now = {role: value if isinstance(value, str) else digest_of_json(value) for role, value in of.items()}
        before, attempts = self._manifest.stages.get(name), self._manifest.attempts
        attempt = None
        if before is not None and before.of == now:
            attempt = before.attempt
            whole = all(before.files.get(file) and (self._folder / file).exists() for file in files)
            if whole and not always:
                return
        elif before is not None:
            changed = [role for role in {**before.of, **now} if before.of.get(role) != now.get(role)]
            self._say(f"{name} is made again: changed is {', '.join(changed)}")
            self._remove({**before.files, **dict.fromkeys((*files, *scratch))})
        if counts is not None and attempt is None:
            attempt = attempts.get(counts, 0) + 1
            attempts = {**attempts, counts: attempt}
        names = (*files, *scratch)
        self._keep(name, Stage(of=now, attempt=attempt, files=dict.fromkeys(names)), attempts)
        make(attempt or 1)
        there = {file: digest_of_file(self._folder / file) for file in names if (self._folder / file).exists()}
        self._keep(name, Stage(of=now, attempt=attempt, files=dict(there)), attempts)

    def result(
        self,
        file: str,
        kind: type[_Result],
        of: Mapping[str, Any],
        make: Callable[[int], _Result],
        *,
        counts: str | None = None,
        scratch: Sequence[str] = (),
    ) -> _Result:
        """The result of a stage that writes one file, which it is named after; the arguments are those of ``do``."""
        path = self._folder / file
        output_folder(path.parent)
        self.do(file, [file], of, lambda attempt: make(attempt).save(path), counts=counts, scratch=scratch)
        return kind.load(path)

    def drop_others(self) -> None:
        """Remove what stages have left that this run has not come to, as what it is made from has changed."""
        for name in sorted(self._manifest.stages.keys() - self._met):
            self._remove(self._manifest.stages[name].files)
            self._keep(name, None, self._manifest.attempts)

    def _remove(self, files: Iterable[str]) -> None:
        for file in files:
            path = self._folder / file
            path.unlink(missing_ok=True)
            if path.parent.exists() and path.parent != self._folder and not any(path.parent.iterdir()):
                path.parent.rmdir()

    def _keep(self, name: str, stage: Stage | None, attempts: Mapping[str, int]) -> None:
        stages = {key: one for key, one in self._manifest.stages.items() if key != name}
        if stage is not None:
            stages[name] = stage
        self._manifest = Manifest(stages=dict(sorted(stages.items())), attempts=dict(attempts))
        self._manifest.save(self._folder / MANIFEST)


def _check(path: Path, known: bool, digest: str | None) -> None:
    """Refuse a file that the run did not write as it is. Raises FileError."""
    if not known:
        raise FileError(
            path,
            f"is not said to be of this run ({MANIFEST}): it was put there, or is of a version that kept no such list; "
            "allowed is to remove it, --force, or another folder",
        )
    if digest is not None and (found := digest_of_file(path)) != digest:
        raise FileError(
            path,
            f"was altered since the run wrote it: its SHA-256 is {found[:SHOWN]}..., {MANIFEST} has {digest[:SHOWN]}"
            "...; allowed is to remove it, so that it is made again, or --force",
        )


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file. Raises FileError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(path, f"cannot be read: {error.strerror}") from error
