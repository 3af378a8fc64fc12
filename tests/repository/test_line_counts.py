"""Does `make lines` count what it says?"""

import ast
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import lines

PYTHON = '''"""What it is."""

import os
from a import (
    b,
)


def f(x: int) -> str:
    """Says."""
    # Why.
    text = """
    two lines
    """
    return text  # so
'''
CPP = """// What it is.
#include <vector>

/* A comment
   of two lines. */
namespace a {

struct S {
  int f() { return 1; }
};

template <class T>
int g(T first,
      T second) {
  return first + second;  // why
}

int h();

}  // namespace a
"""


def test_code_is_counted_without_what_says_what_it_is() -> None:
    tree = ast.parse(PYTHON)
    assert lines.python_code(PYTHON, tree) == 5
    assert dict(lines.python_functions(tree)) == {"f": 7}
    assert lines.cpp_code(CPP) == 11
    assert dict(lines.cpp_functions(CPP)) == {"g": 5}
    assert [lines.room(name) for name in ("eden/memory/a.py", "eden/a.py", "csrc/ops/cpu/b.cpp")] == [
        "eden/memory",
        "eden",
        "csrc/ops",
    ]
