"""A folder of results: one run at a time works in it, and an earlier run is never replaced unasked."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import shlex
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from eden.common.files import FileError, is_read, output_folder

LOCK = ".eden.lock"
"""The file in a folder that the run in it holds locked. The kernel lets go of it when the process dies."""


class Claim:
    """A folder that this run alone works in.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path, replaced: Sequence[Path] = ()) -> None:
        self.path = path
        self._replaced = replaced

    def clear(self) -> None:
        """Remove the earlier run where this one begins anew; to be called once all that was given is checked.

        Raises:
            FileError: naming the file that cannot be removed.

        """
        for path in self._replaced:  # all of them before the first one goes
            if is_read(path):
                raise FileError(path, "cannot be removed: what is done here reads it; allowed is another folder")
        for path in self._replaced:
            try:
                path.unlink()
                for folder in path.parents:
                    if folder == self.path or any(folder.iterdir()):
                        break
                    folder.rmdir()
            except OSError as error:
                raise FileError(path, f"cannot be removed: {error.strerror}") from error


def found_in(folder: str | os.PathLike[str], holds: Iterable[str]) -> list[Path]:
    """The files in a folder that bear one of some names; a name may lead into folders and be a pattern of glob."""
    root = Path(folder)
    return sorted({path for name in holds for path in root.glob(name) if path.is_symlink() or not path.is_dir()})


@contextlib.contextmanager
def claimed(
    folder: str | os.PathLike[str], holds: Sequence[str], *, resume: bool = False, force: bool = False
) -> Iterator[Claim]:
    """Make a folder this run's own while the block runs.

    Of an earlier run there is one policy: it is refused, ``resume`` goes on with it, ``force`` begins anew. ``resume``
    begins where there is none, so that a command that is started again and again can always be given it. Under
    torchrun the first rank does all of this for the others.

    Args:
        folder: made where it does not exist.
        holds: names of the files that such a run leaves, patterns of glob; the first one that is there names the
            earlier run. Nothing else in the folder is touched.
        resume: go on with the earlier run. Whether it is the same run is the caller's to compare.
        force: begin anew. The earlier run is there until ``Claim.clear``.

    Raises:
        FileError: if the folder cannot be written to, holds an earlier run unasked, or another run works in it, which
            the message names.
        ValueError: for both ``resume`` and ``force``.

    """
    if resume and force:
        raise ValueError("--resume and --force are both given; allowed is one: to go on with a run, or to begin anew")
    root = output_folder(folder)
    if not _is_first_rank():
        yield Claim(root)
        return
    with _locked(root):
        _refuse_inside(root)
        earlier = found_in(root, holds)
        if earlier and not (resume or force):
            raise FileError(
                earlier[0],
                "the folder holds a run already; allowed are --resume, to go on with it, --force, to begin anew, or "
                "another folder",
            )
        yield Claim(root, earlier if force else ())


def _is_first_rank() -> bool:
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


_own: set[Path] = set()
"""The locks that this process holds: the chain claims its folder, and then one in it for the retraining."""


def _refuse_inside(folder: Path) -> None:
    """Refuse a folder where another process works in one inside it, or in the one around it. Raises FileError."""
    root = folder.resolve()
    for path in [root.parent / LOCK, *root.glob(f"*/{LOCK}")]:
        if path in _own:
            continue
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            continue  # there is none, or it went
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 500, 0).decode(errors="replace").strip() or "another process"
            raise FileError(
                folder, f"{path.parent} is in use by {holder}; allowed is another folder, or to wait for it"
            ) from error
        except OSError:
            continue  # of a file system without locks
        finally:
            os.close(handle)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    path = folder / LOCK
    handle = _lock(path)
    try:
        who = f"process {os.getpid()} on {socket.gethostname()}"
        since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{who}, since {since}: {command}\n".encode(errors="replace"), 0)
        _own.add(path.resolve())
        yield
    finally:
        _own.discard(path.resolve())
        # While it is held: whoever opens it meanwhile sees that it is no longer the folder's, and makes a new one.
        with contextlib.suppress(OSError):
            path.unlink()
        # Processes that were forked share the file, so that closing it here would leave it locked.
        fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _lock(path: Path) -> int:
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise FileError(path, f"cannot be locked: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(handle, 500, 0).decode(errors="replace").strip() or "another process"
            os.close(handle)
            if not isinstance(error, BlockingIOError):
                raise FileError(path, f"cannot be locked: {error.strerror}") from error
            raise FileError(path.parent, f"in use by {holder}; allowed is another folder, or to wait for it") from error
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        os.close(handle)  # of a run that has ended and removed it since it was opened
