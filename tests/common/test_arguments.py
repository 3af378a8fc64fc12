"""Do checks of arguments name what is wrong?"""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from eden.common.arguments import check_choice, check_fields, check_int, check_seed, number, whole


def test_a_bool_is_no_number() -> None:
    assert [whole(value, 1) for value in (1, 0, True, 1.0, "1")] == [True, False, False, False, False]
    assert [number(value, 0.0) for value in (0, 0.5, -1, True, math.inf, math.nan, None)] == [True, True, *[False] * 5]


def test_what_is_refused_is_named() -> None:
    assert check_int("banks", 3, 1) == 3
    assert check_seed("seed", -(2**63)) == -(2**63)
    for call, error, message in (
        (lambda: check_int("banks", 1.0), TypeError, "banks is a float; allowed is an int"),
        (lambda: check_int("banks", 0, 1), ValueError, "banks is 0; allowed is 1 or more"),
        (lambda: check_seed("seed", 2**63), ValueError, "seed is 9223372036854775808; allowed is a 64-bit integer"),
        (
            lambda: check_choice("batch", "row", ("restart", None)),
            ValueError,
            "batch is 'row'; allowed are restart, None",
        ),
        (lambda: check_fields(SimpleNamespace(a=1, b=2), ("a", True, ""), ("b", False, "1")), ValueError, "b is 2"),
    ):
        with pytest.raises(error, match=message):
            call()
