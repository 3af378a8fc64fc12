"""Does other people's torch code do around a network under faults what the page of such cases says?"""

import warnings

import pytest
from faults import write_cases

CASES = write_cases.cases()
ROWS = write_cases.held_rows()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_is_right_or_refused_as_the_page_says(case):
    if case.missing:
        pytest.skip(f"{', '.join(case.missing)} not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert write_cases.row(case.what, case.outcome()) == ROWS.get(case.what)


def test_the_page_has_every_case_and_no_other():
    assert [what for what in ROWS if what not in ("case",)] == [case.what for case in CASES]
    assert len({case.what for case in CASES}) == len(CASES) >= 60
    text = write_cases.PAGE.read_text(encoding="utf-8")
    right = sum(line.endswith("| right |") for line in ROWS.values())
    assert f"{len(CASES)} cases: {right} right, {len(CASES) - right} refused by name." in text
