"""Do the builds that `make sanitize` asks for get as far as the compiler?"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = re.findall(
    r"^\S*cmake (-S \. -B (\S+) .*)$",
    subprocess.run(["make", "--dry-run", "sanitize"], cwd=ROOT, capture_output=True, text=True, check=True).stdout,
    re.MULTILINE,
)


def test_both_kinds_of_sanitizers_have_a_build() -> None:
    assert len(COMMANDS) == 2


@pytest.mark.parametrize(("command", "folder"), COMMANDS)
def test_a_sanitizers_build_is_configured(command: str, folder: str, tmp_path: Path) -> None:
    here = f"PATH={Path(sys.executable).parent}:$PATH cmake {command.replace(f'-B {folder}', f'-B {tmp_path}')}"
    done = subprocess.run(here, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
