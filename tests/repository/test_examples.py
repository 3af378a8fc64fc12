"""Each example prints what its header says.

Training adds up floating-point numbers differently on different machines: of a figure that is marked by "~" in the
header only the kind is compared. Everything else must agree; line breaks and columns need not.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import processes
import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
OTHERS = ("peft", "timm", "transformers")
"""Libraries that examples of networks of others import."""

_HEADER = re.compile(r"Expected output \((exact|figures after ~ differ from machine to machine)\):\n")
_FIGURE = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(%?)")


def expected_output(source: str) -> str:
    header = ast.get_docstring(ast.parse(source))
    assert header is not None, "no docstring"
    parts = _HEADER.split(header)
    assert len(parts) == 3, "the docstring has no 'Expected output (...):' line of the two allowed forms"
    _, form, text = parts
    assert ("~" in text) == (form != "exact"), "what differs is marked, and only there"
    return text


def _agree(found: str, expected: str) -> bool:
    if not expected.startswith("~"):
        return found == expected
    one, other = found.rstrip(",:"), expected[1:].rstrip(",:")
    if found[len(one) :] != expected[1 + len(other) :]:
        return False
    figure, wanted = _FIGURE.fullmatch(one), _FIGURE.fullmatch(other)
    return wanted is None or (figure is not None and figure[1] == wanted[1])


def differences(found: str, expected: str) -> list[str]:
    found_words, expected_words = found.split(), expected.split()
    problems = []
    if len(found_words) != len(expected_words):
        problems.append(f"{len(found_words)} words, {len(expected_words)} expected")
    pairs = zip(found_words, expected_words, strict=False)
    return problems + [f"found {one!r}, expected {other!r}" for one, other in pairs if not _agree(one, other)]


def _case(example: Path) -> Any:
    needed = [name for name in OTHERS if re.search(rf"^(from|import) {name}\b", example.read_text(), re.MULTILINE)]
    return pytest.param(example, needed, id=example.stem, marks=pytest.mark.networks if needed else ())


@pytest.mark.parametrize(("example", "needed"), map(_case, EXAMPLES))
def test_prints_what_its_header_says(example: Path, needed: list[str], tmp_path: Path) -> None:
    for library in needed:
        pytest.importorskip(library)
    expected = expected_output(example.read_text(encoding="utf-8"))
    ran = processes.run(example, folder=tmp_path, timeout=500)
    assert ran.returncode == 0, ran.stderr
    assert differences(ran.stdout, expected) == [], f"it printed:\n{ran.stdout}"
    assert list(tmp_path.iterdir()) == []


def test_examples_are_numbered_without_gaps() -> None:
    assert [path.name[:3] for path in EXAMPLES] == [f"{number:02}_" for number in range(1, len(EXAMPLES) + 1)]
    assert len(EXAMPLES) == 14


EXPECTED = "flips:  10,\nat 1e-03 ~88.0%, limit ~0.002 in ~bank3: 7"


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ("flips: 11, at 1e-03 88.5%, limit 0.002 in bank3: 7", "found '11,', expected '10,'"),
        ("flips: 10, at 2e-03 88.5%, limit 0.002 in bank3: 7", "found '2e-03', expected '1e-03'"),
        ("flips: 10, at 1e-03 88.0, limit 0.002 in bank3: 7", "found '88.0,', expected '~88.0%,'"),
        ("flips: 10, at 1e-03 88.0% limit 0.002 in bank3: 7", "found '88.0%', expected '~88.0%,'"),
        ("flips: 10, at 1e-03 88.0%, bound 0.002 in bank3: 7", "found 'bound', expected 'limit'"),
        ("flips: 10, at 1e-03 88.0%, limit nan in bank3: 7", "found 'nan', expected '~0.002'"),
        ("flips: 10, at 1e-03 88.0%, limit 0.002 in bank3: 8", "found '8', expected '7'"),
        ("flips: 10, at 1e-03 88.0%, limit 0.002 in bank3:", "9 words, 10 expected"),
    ],
)
def test_differences_are_found(found: str, problem: str) -> None:
    assert problem in differences(found, EXPECTED)


def test_allowed_differences_pass() -> None:
    assert differences("flips: 10, at 1e-03 9.1%,\nlimit 3.9e-05 in bank12: 7", EXPECTED) == []


@pytest.mark.parametrize("header", ["Shows.", "Shows.\n\nExpected output (roughly):\n\n    1"])
def test_a_header_without_its_output_is_refused(header: str) -> None:
    with pytest.raises(AssertionError, match="Expected output"):
        expected_output(f'"""{header}"""')
