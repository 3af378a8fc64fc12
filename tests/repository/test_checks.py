"""Does each check of `make lint` fail on what it is there for? A violation is planted in a copy of the sources."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The sources that the checks read, without what is built."""
    for folder in ("eden", "csrc", "tools"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.so", "__pycache__", "*.json")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def told(folder: Path, *command: str) -> str:
    """What a check says of a folder, empty where it passes."""
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    return "" if found.returncode == 0 else found.stdout + found.stderr


ROOMS = (str(TOOLS / "lint-imports"), "--no-cache")
INCLUDES = (sys.executable, "tools/check_includes.py")
PRIVATE = (sys.executable, "tools/check_private.py")
DEAD = (str(TOOLS / "vulture"), "eden")
MISSPELT = "d" + "efinately"
SPELLING = (str(TOOLS / "codespell"), "eden")


@pytest.mark.parametrize(
    ("check", "file", "planted", "said"),
    [
        (
            ROOMS,
            "eden/memory/geometry.py",
            "from eden.app.tasks import Task",
            "eden.memory is not allowed to import eden.app",
        ),
        (
            ROOMS,
            "eden/costs/model.py",
            "import eden.placement.points",
            "eden.costs is not allowed to import eden.placement",
        ),
        (
            INCLUDES,
            "csrc/base/philox.h",
            '#include "memory/lines.h"',
            "includes memory/lines.h; allowed of base is",
        ),
        (INCLUDES, "csrc/base/philox.h", '#include "nothing.h"', "includes nothing.h, which is not below"),
        (PRIVATE, "eden/app/run.py", "from eden.faults.inject import _hidden", "imports eden.faults.inject._hidden"),
        (
            PRIVATE,
            "eden/app/run.py",
            "from eden.faults import inject\ninject._hidden()",
            "uses eden.faults.inject._hidden",
        ),
        (DEAD, "eden/common/checks.py", "def nobody_calls_this() -> None: ...", "unused function 'nobody_calls_this'"),
        (SPELLING, "eden/common/checks.py", f"# It is {MISSPELT} so.", f"{MISSPELT} ==> definitely"),
    ],
    ids=["rooms", "rooms-module", "includes", "includes-none", "private", "private-of-module", "dead", "spelling"],
)
def test_a_planted_violation_is_told(copied: Path, check: Sequence[str], file: str, planted: str, said: str) -> None:
    with open(copied / file, "a", encoding="utf-8") as source:
        source.write(f"\n{planted}\n")
    assert said in told(copied, *check)


@pytest.mark.parametrize(
    "check", [ROOMS, INCLUDES, PRIVATE, SPELLING], ids=["rooms", "includes", "private", "spelling"]
)
def test_what_is_there_passes(copied: Path, check: Sequence[str]) -> None:
    assert told(copied, *check) == ""
