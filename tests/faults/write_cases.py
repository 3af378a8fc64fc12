"""Write docs/reference/other-code.md: what comes of other people's torch code around a network under faults.

Runs every case of ``tests/faults/cases``. Those that need libraries keep their row of the page where these are not
installed. ``tests/faults/test_cases.py`` holds the page and the cases together.
"""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/other-code.md"
MODULES = ("structure", "values", "gradients", "training", "tools", "quantized", "exporting", "libraries")
_MOST = 170  # characters of a message

HEAD = "\n".join(
    [
        "# Other people's code\n",
        "This page lists pieces of torch code around a network under faults, and what comes of each: it is right, or "
        "the call that is named refuses it.",
        'A row says "right" where a test compares outputs (and, where it trains, gradients) with a plain copy of the '
        "network whose operands `eden.corrupt` reads, from the addresses and ranges that `eden.operands` and "
        "`eden.ranges` tell; or, where the case says so, that `eden.coverage` names what is left out. "
        "`python tests/faults/write_cases.py` writes the page; the code of each case is in `tests/faults/cases`.\n",
    ]
)


def cases() -> list:  # type: ignore[type-arg]
    """All cases, in the order of the page."""
    for name in MODULES:
        importlib.import_module(f"faults.cases.{name}")
    registry = importlib.import_module("faults.cases.registry")
    found: list = registry.CASES  # type: ignore[type-arg]
    return found


def row(what: str, outcome: str) -> str:
    """A line of the page; a message is cut where it is long."""
    outcome = " ".join(re.sub(r"\d+\.\d{3,}", "...", outcome).split()).replace("|", "\\|")
    outcome = outcome if len(outcome) <= _MOST else f"{outcome[:_MOST].rpartition(' ')[0]} ..."
    return f"| {what} | {outcome} |"


def held_rows() -> dict[str, str]:
    """The rows of the page, by what the case is."""
    lines = PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else []
    return {line.split(" | ")[0].removeprefix("| "): line for line in lines if line.startswith("| ")}


def page() -> str:
    """The page, every case that can be run having been run."""
    held, lines, group = held_rows(), [HEAD], ""
    every = cases()
    rows: list[tuple[str, str]] = []
    for case in every:
        if not case.missing:
            rows.append((case.group, row(case.what, case.outcome())))
        elif case.what in held:
            rows.append((case.group, held[case.what]))
        else:
            raise SystemExit(f"{case.name} needs {', '.join(case.missing)}, and the page has no row of it yet")
    right = sum(line.endswith("| right |") for _, line in rows)
    lines.append(f"{len(rows)} cases: {right} right, {len(rows) - right} refused by name.\n")
    for heading, line in rows:
        if heading != group:
            lines += ["", f"## {heading}\n", "| case | what comes of it |\n|---|---|"]
            group = heading
        lines.append(line)
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]
    warnings.simplefilter("ignore")
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}: {PAGE.read_text(encoding='utf-8').split(chr(10) + chr(10))[2]}")
