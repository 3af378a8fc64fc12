"""Are supplies, ranks and caches counted as docs/results.md says?"""

from pathlib import Path

import supplies

RESULTS = Path(__file__).parents[2] / "docs" / "results.md"


def test_the_table_is_what_the_benchmark_finds() -> None:
    rows = [line.split(" | ") for line in RESULTS.read_text().splitlines()]
    now = {row[0].removeprefix("| "): row[2].removesuffix(" |") for row in rows if len(row) == 3}
    assert {name: case() for name, case in supplies.CASES.items()} == {name: now[name] for name in supplies.CASES}
