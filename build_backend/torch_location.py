"""Where the torch lies that the operators are compiled against; setup.py and the build backend share this answer.

torch is read, never imported: headers and libraries are all that a build needs. Any torch from 2.10 on gives the same
operators (Stable ABI), so that it need not be the one of the Python that builds.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

OLDEST = (2, 10)

# Printed by an interpreter that is asked where it would import torch from.
_ASK = """
import importlib.util
spec = importlib.util.find_spec("torch")
for folder in spec.submodule_search_locations or () if spec else ():
    print(folder)
"""


class NoTorchError(Exception):
    """There is no torch to compile against; the message says where was looked and what was wrong there."""


class Caller(NamedTuple):
    """The program that ordered the build: what it was started with, before it prepared an environment for the build."""

    environ: Mapping[str, str]
    folder: Path


def caller() -> Caller:
    """The pip, uv or build behind this process, or this process itself where /proc cannot tell."""
    process = Path("/proc") / str(os.getppid())
    try:
        pairs = (process / "environ").read_bytes().decode(errors="surrogateescape").split("\0")
        environ = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        return Caller(environ, Path(os.readlink(process / "cwd")))
    except OSError:
        # What pip sets to hide the packages around a build.
        hidden = {"PYTHONPATH", "PYTHONNOUSERSITE"}
        return Caller({key: value for key, value in os.environ.items() if key not in hidden}, Path.cwd())


def interpreters(by: Caller, running: str = sys.executable) -> Iterator[str]:
    """The Pythons that may have a torch, in the order in which pip and uv choose the environment to install into.

    pip runs a build with the environment's own Python and only hides its packages. uv and build make a new environment
    for it, so that the one to install into is known by what is active, by a .venv around the folder, or by PATH.
    """
    yield running
    bin_folder = "Scripts" if os.name == "nt" else "bin"
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT_ENVIRONMENT"):
        if by.environ.get(variable):
            yield str(by.folder / by.environ[variable] / bin_folder / "python")
    for folder in (by.folder, *by.folder.parents):
        yield str(folder / ".venv" / bin_folder / "python")
    for folder in by.environ.get("PATH", "").split(os.pathsep):
        if folder:
            yield str(Path(folder) / "python3")


def torch_of(interpreter: str, environ: Mapping[str, str]) -> list[Path]:
    """The folders that an interpreter would import torch from: its site-packages, the user's, those of PYTHONPATH."""
    try:
        done = subprocess.run(
            [interpreter, "-c", _ASK],
            env=dict(environ),
            cwd=os.sep,  # which -c puts on the path
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [Path(line) for line in done.stdout.splitlines()]


def refusal(torch: Path) -> str | None:
    """Why nothing can be compiled against this torch, or None."""
    try:
        found = re.search(r"__version__[^=]*=\s*['\"](\d+)\.(\d+)", (torch / "version.py").read_text())
    except OSError:
        return "holds no version.py"
    if found is None:
        return "states no version"
    release = (int(found[1]), int(found[2]))
    if release < OLDEST:
        return f"is torch {release[0]}.{release[1]}; allowed is {OLDEST[0]}.{OLDEST[1]} or later"
    if not (torch / "include" / "torch" / "csrc" / "stable" / "library.h").is_file():
        return "has no headers"
    return None


def candidates(by: Caller) -> Iterator[Path]:
    """Folders of torch in order of precedence, each once."""
    seen = set()

    def new(folders: list[Path]) -> Iterator[Path]:
        for folder in folders:
            if folder not in seen:
                seen.add(folder)
                yield folder

    spec = find_spec("torch")
    yield from new([Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else [])
    asked = set()
    for interpreter in interpreters(by):
        if interpreter not in asked and Path(interpreter).exists():
            asked.add(interpreter)
            yield from new(torch_of(interpreter, by.environ))


def find(by: Caller | None = None) -> Path:
    """The torch to compile against: EDEN_TORCH, else what can be imported here or where the build was ordered.

    Raises:
        NoTorchError: if there is none.
        SystemExit: if EDEN_TORCH names none, in whose place no other is taken.
    """
    given = os.environ.get("EDEN_TORCH")
    if given:
        wrong = refusal(Path(given))
        if wrong:
            raise SystemExit(f"eden: EDEN_TORCH={given} {wrong}; allowed is the folder of a torch package")
        return Path(given).resolve()
    refused = []
    for folder in candidates(by or caller()):
        wrong = refusal(folder)
        if wrong is None:
            return folder
        refused.append(f"{folder} {wrong}")
    oldest = f"{OLDEST[0]}.{OLDEST[1]}"
    raise NoTorchError(
        f"{'; '.join(refused) or 'no torch can be imported'}; run: pip install 'torch>={oldest}', or set EDEN_TORCH to "
        "the folder of a torch package"
    )
