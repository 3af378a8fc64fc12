"""Processes of their own, forked from one that has imported torch and EDEN, which takes seconds, once for all tests.

``run`` takes what ``subprocess.run([sys.executable, ...])`` would: a script, ``-m module`` or ``-c code``. A test of
what is imported, of variables that are read once (``EDEN_ISA``) or of atexit starts an interpreter of its own instead.
"""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import runpy
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

import eden

# Not what ``-m`` runs, which would warn that it is imported already.
_RUN = ("cli", "figures", "__main__")
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [m.name for m in pkgutil.walk_packages(eden.__path__, "eden.") if m.name.rpartition(".")[2] not in _RUN]
)


def _become(arguments: Sequence[str], environment: Mapping[str, str], folder: str, out: str, err: str) -> None:
    """What the child does: to be ``python arguments``."""
    for descriptor, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if "OMP_NUM_THREADS" in environment:  # read when torch was imported
        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    # Where the tests run in the background of a shell, SIGINT is ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path[:0] = [part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part]
    first, *rest = arguments
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return
    main = types.ModuleType("__main__")  # what its own pools of processes will look for
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    if first == "-c":
        sys.argv, code = ["-c", *rest[1:]], compile(rest[0], "<string>", "exec")
    else:
        sys.argv, code = [first, *rest], compile(Path(first).read_bytes(), first, "exec")
        sys.path.insert(0, str(Path(first).resolve().parent))
        main.__file__ = first
    exec(code, main.__dict__)


def run(
    *arguments: object,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Runs Python with the arguments to its end; ``environment`` is added to this process's."""
    texts = [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as scratch:
        out, err = (Path(scratch) / name for name in ("out", "err"))
        out.touch(), err.touch()
        given = (texts, {**os.environ, **(environment or {})}, str(folder or Path.cwd()), str(out), str(err))
        child = _CONTEXT.Process(target=_become, args=given)
        child.start()
        child.join(timeout)
        if child.exitcode is None:
            child.kill()
            child.join()
            raise subprocess.TimeoutExpired(texts, timeout, out.read_text(), err.read_text())
        return subprocess.CompletedProcess(texts, child.exitcode, out.read_text(), err.read_text())
