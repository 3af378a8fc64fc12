"""Fails where a C++ room includes a header of a room above it, in the order of Python's rooms (pyproject.toml)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOMS = {
    "base": "",
    "memory": "base",
    "measurements": "base",
    "devices": "base memory measurements",
    "costs": "base",
    "placement": "base",
    "tolerance": "base",
    "ops": "base memory",
    "python": "base memory measurements devices costs placement tolerance",
    "profiler": "base memory ops tolerance",
}
"""What each room may include, beside itself."""

_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def violations(csrc: Path) -> list[str]:
    """A line for each include that goes up, each header that is not there, and each folder that is no room."""
    found = [f"{path}: is no room; allowed are {', '.join(ROOMS)}" for path in csrc.iterdir() if path.name not in ROOMS]
    for room, below in ROOMS.items():
        for path in sorted((csrc / room).rglob("*")):
            if path.suffix not in (".h", ".cpp", ".cu", ".cuh"):
                continue
            for header in _INCLUDE.findall(path.read_text(encoding="utf-8")):
                of = header.partition("/")[0]
                if not (csrc / header).is_file():
                    found.append(f"{path}: includes {header}, which is not below {csrc}")
                elif of not in (room, *below.split()):
                    found.append(f"{path}: includes {header}; allowed of {room} is {below or 'none but its own'}")
    return found


def main() -> None:
    """Print what is not allowed; status 1 where there is anything."""
    found = violations(Path(sys.argv[1] if len(sys.argv) > 1 else "csrc"))
    print("\n".join(found) or f"includes go down: {' < '.join(ROOMS)}")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
