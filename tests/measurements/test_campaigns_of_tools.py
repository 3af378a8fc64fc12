"""Do campaigns, as tools' sources print them, become what docs/results/campaigns.md says?"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from campaigns_of_tools import CASES, Case, outcome

PAGE = Path(__file__).parents[2] / "docs" / "results" / "campaigns.md"
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split(" | ")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| case")
]


def test_the_page_has_every_case() -> None:
    assert [row[0] for row in ROWS] == [case.name for case in CASES]


@pytest.mark.parametrize(("case", "row"), list(zip(CASES, ROWS, strict=False)), ids=[case.name for case in CASES])
def test_a_campaign_becomes_what_the_page_says(tmp_path: Path, case: Case, row: list[str]) -> None:
    assert outcome(case, tmp_path) == row[2].replace("&#124;", "|")
