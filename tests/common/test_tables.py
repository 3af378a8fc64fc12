"""Are columns of numbers to the right, of names to the left, and is every row as wide as the header?"""

import pytest

from eden.common.tables import numeric_columns, text_table


def test_numbers_to_the_right_and_names_to_the_left() -> None:
    rows = [("0.weight", "weight", "1,000", "2%", "1.5 to 3"), ("fc.input", "input", "-5", "", "none")]
    assert numeric_columns(rows) == (False, False, True, True, True)
    assert text_table(("operand", "kind", "bytes", "share", "range"), rows).splitlines() == [
        "operand   kind    bytes  share     range",
        "0.weight  weight  1,000     2%  1.5 to 3",
        "fc.input  input      -5             none",
    ]


def test_a_first_column_of_numbers() -> None:
    assert numeric_columns([("2.5", "a"), ("12%", "b")]) == (True, False)
    assert numeric_columns([("2.5", "a"), ("0.weight", "b")]) == (False, False)


def test_no_rows_and_another_number_of_cells() -> None:
    assert text_table(("operand", "bytes"), []) == "operand  bytes"
    with pytest.raises(ValueError, match="zip"):
        text_table(("operand", "bytes"), [("fc.weight",)])
