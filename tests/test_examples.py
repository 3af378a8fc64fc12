"""Each example prints what its header says.

The header's "Expected output (...)" line says how far figures may lie from those printed there, since training adds up
floating-point numbers differently on different machines. Words and whole numbers must agree always; line breaks and
columns need not.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import processes
import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))

_HEADER = re.compile(
    r"Expected output \((?:exact|percentages within (\d+) points, decimals within a factor of (\d+))\):\n"
)
_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?%?(?![\w])")


@dataclass(frozen=True)
class Allowed:
    """How far figures may lie from the expected ones."""

    points: float = 0.0  # of percentages
    factor: float = 1.0  # of other figures with a decimal point or an exponent


def expected_output(source: str) -> tuple[str, Allowed]:
    header = ast.get_docstring(ast.parse(source))
    assert header is not None, "no docstring"
    parts = _HEADER.split(header)
    assert len(parts) == 4, "the docstring has no 'Expected output (...):' line of the two allowed forms"
    _, points, factor, text = parts
    return text, Allowed() if points is None else Allowed(float(points), float(factor))


def _value(figure: str) -> float:
    return float(figure.rstrip("%").replace(",", ""))


def _agree(found: str, expected: str, allowed: Allowed) -> bool:
    if found == expected:
        return True
    if found.endswith("%") != expected.endswith("%"):
        return False
    if found.endswith("%"):
        return abs(_value(found) - _value(expected)) <= allowed.points
    if re.search("[.e]", found + expected) is None:
        return False
    low, high = sorted((_value(found), _value(expected)))
    return high <= allowed.factor * low


def differences(found: str, expected: str, allowed: Allowed) -> list[str]:
    found_words, expected_words = found.split(), expected.split()
    problems = []
    if len(found_words) != len(expected_words):
        problems.append(f"{len(found_words)} words, {len(expected_words)} expected")
    for one, other in zip(found_words, expected_words, strict=False):
        figures, wanted = _NUMBER.findall(one), _NUMBER.findall(other)
        agree = len(figures) == len(wanted) and all(
            _agree(figure, want, allowed) for figure, want in zip(figures, wanted, strict=True)
        )
        if not agree or _NUMBER.sub("#", one) != _NUMBER.sub("#", other):
            problems.append(f"found {one!r}, expected {other!r}")
    return problems


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_prints_what_its_header_says(example: Path, tmp_path: Path) -> None:
    expected, allowed = expected_output(example.read_text(encoding="utf-8"))
    ran = processes.run(example, folder=tmp_path, timeout=500)
    assert ran.returncode == 0, ran.stderr
    assert differences(ran.stdout, expected, allowed) == [], f"it printed:\n{ran.stdout}"
    assert list(tmp_path.iterdir()) == []


def test_examples_are_numbered_without_gaps() -> None:
    assert [path.name[:3] for path in EXAMPLES] == [f"{number:02}_" for number in range(1, len(EXAMPLES) + 1)]
    assert len(EXAMPLES) == 6


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ("flips: 11, at 1e-03 88.5%, limit 0.002", "found '11,', expected '10,'"),
        ("flips: 10, at 1e-03 91.1%, limit 0.002", "found '91.1%,', expected '88.0%,'"),
        ("flips: 10, at 1e-03 88.0%, limit 0.0041", "found '0.0041', expected '0.002'"),
        ("flips: 10, at 1e-03 88.0%, bound 0.002", "found 'bound', expected 'limit'"),
        ("flips: 10, at 1e-03 88.0, limit 0.002", "found '88.0,', expected '88.0%,'"),
        ("flips: 10, at 1e-03 88.0%, limit", "6 words, 7 expected"),
    ],
)
def test_differences_are_found(found: str, problem: str) -> None:
    assert problem in differences(found, "flips: 10, at 1e-03 88.0%, limit 0.002", Allowed(3.0, 2.0))


def test_allowed_differences_pass() -> None:
    expected = "flips:  10,\nat 1e-03 88.0%, limit 0.002 (1.24 x)"
    assert differences("flips: 10, at 1e-03 91.0%,\nlimit 0.0039 (1 x)", expected, Allowed(3.0, 2.0)) == []


@pytest.mark.parametrize("header", ["Shows.", "Shows.\n\nExpected output (roughly):\n\n    1"])
def test_a_header_without_its_output_is_refused(header: str) -> None:
    with pytest.raises(AssertionError, match="Expected output"):
        expected_output(f'"""{header}"""')
