"""Is each field of a search and a budget checked, and is what was an argument of its own told where it is now?"""

from typing import Any

import pytest
from tiny_profile import FAST, loader, make_network

import eden


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (eden.Search, {"effort": float("nan")}, "effort is nan; allowed is from 1.5 to 1000"),
        (eden.Search, {"batch_size": True}, "batch_size is a bool; allowed is an int"),
        (eden.Search, {"weigh": {"a": float("inf")}}, "weigh of operand 'a' is inf; allowed is a number of 0 or more"),
        (eden.Budget, {"memory_bytes": 0}, "memory_bytes is 0; allowed is 1 or more"),
        (eden.Budget, {"reuse_bytes": -1}, "reuse_bytes is -1; allowed is 0 or more"),
        (eden.Budget, {"observations": 1.5}, "observations is a float; allowed is an int"),
    ],
)
def test_bad_fields_are_named(kind: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        kind(**fields)


@pytest.mark.parametrize(
    ("old", "now"),
    [
        ("coarse_only", r"eden.Search\(coarse_only=...\)"),
        ("max_trials", r"eden.Search\(max_trials=...\)"),
        ("budget_seconds", r"eden.Budget\(seconds=...\)"),
        ("memory_limit", r"eden.Budget\(memory_bytes=...\)"),
    ],
)
def test_old_arguments_are_told_where_they_are_now(old: str, now: str) -> None:
    with pytest.raises(TypeError, match=f"eden.profile has no argument '{old}'; it is now .*{now}"):
        eden.profile(make_network(), loader(), **{old: 1}, **FAST)
    with pytest.raises(TypeError, match=r"eden.certify has no argument 'effort'"):
        eden.certify(make_network(), loader(), effort=2.0, **FAST)  # type: ignore[call-arg]
    with pytest.raises(AttributeError, match="profile_package"):
        eden.profile_package  # type: ignore[attr-defined]  # noqa: B018


def test_a_budget_is_no_number() -> None:
    with pytest.raises(TypeError, match=r"budget is a int; allowed is an eden.Budget"):
        eden.profile(make_network(), loader(), budget=450, **FAST)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"search is a dict; allowed is an eden.Search"):
        eden.certify(make_network(), loader(), search={}, **FAST)  # type: ignore[arg-type]


def test_a_test_of_one_level_searches_for_nothing() -> None:
    for field, value in (("strategy", "sweep"), ("weigh", "energy"), ("coarse_only", True)):
        search = eden.Search(**{field: value})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=rf"search.{field} is .*; nothing is searched for, so allowed is"):
            eden.certify(make_network(), loader(), search=search, **FAST)
    with pytest.raises(ValueError, match=r"budget is 20, too few"):
        eden.certify(make_network(), loader(), budget=eden.Budget(observations=20), **FAST)
    found = eden.certify(make_network(), loader(), budget=eden.Budget(observations=70), **FAST)
    assert sum(found.observations.values()) <= 70
