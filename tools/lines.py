"""How big is the code? Lines by room, the longest files and functions, the public names; beside those of a commit.

``python tools/lines.py --against COMMIT`` adds a column of what stood there. Counted are the files of git in ``eden``
and ``csrc``. Code leaves out blank lines, comments, docstrings and imports (of C++, includes). Functions of C++ are
those that begin at the left margin.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

CPP = (".h", ".cpp", ".cu", ".cuh")
PYTHON = (".py", ".pyi")
LONGEST = 5


def git(*arguments: str, text: str | None = None) -> str:
    """What a command of git prints."""
    return subprocess.run(["git", *arguments], input=text, capture_output=True, check=True, text=True).stdout


def sources(commit: str | None) -> Iterator[tuple[PurePosixPath, str]]:
    """Each source file with its text: of a commit, or as it lies here if None."""
    listed = ["ls-files", "-z"] if commit is None else ["ls-tree", "-rz", "--name-only", commit]
    for name in git(*listed, "--", "eden", "csrc").rstrip("\0").split("\0"):
        path = PurePosixPath(name)
        if path.suffix not in CPP + PYTHON:
            continue
        if commit is not None:
            yield path, git("show", f"{commit}:{name}")
            continue
        try:
            with open(name, encoding="utf-8") as file:
                yield path, file.read()
        except FileNotFoundError:  # removed, which git does not know yet
            continue


def python_code(text: str, tree: ast.Module) -> int:
    """Lines of Python that are code."""
    lines: set[int] = set()
    ignored = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in ignored:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        told = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if told or isinstance(node, ast.Import | ast.ImportFrom):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def cpp_code(text: str) -> int:
    """Lines of C++ that are code."""
    bare = re.sub(r"/\*.*?\*/|//[^\n]*", lambda found: "\n" * found[0].count("\n"), text, flags=re.DOTALL)
    return sum(bool(line.strip()) and not line.startswith("#include") for line in bare.splitlines())


def python_functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Names and lines of the functions of Python."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def cpp_functions(text: str) -> Iterator[tuple[str, int]]:
    """The same of those of C++ that begin at the left margin."""
    start, head = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("}") and start:
            found = re.search(r"([\w~]+)\(", head)
            if found and not re.match(r"(namespace|struct|class|enum|union)\b", head):
                yield found[1], number - start + 1
            start = 0
        elif start:
            head += " " + line if "{" not in head else ""
        elif re.match(r"[\w:]", line) and not re.match(r"(namespace|using|extern)\b|[^(]*;", line):
            start, head = (number, line) if not line.endswith((";", "}")) else (0, "")


@dataclass
class Size:
    """What is counted of one state of the code."""

    lines: Counter[str] = field(default_factory=Counter)
    code: Counter[str] = field(default_factory=Counter)
    functions: dict[str, int] = field(default_factory=dict)
    public: int = 0

    @property
    def rooms(self) -> Counter[str]:
        """Lines by room."""
        rooms: Counter[str] = Counter()
        for name, lines in self.lines.items():
            rooms[room(name)] += lines
        return rooms


def room(name: str) -> str:
    """The room of a file; that of files that lie in none is the folder above."""
    parts = PurePosixPath(name).parts
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def public_names(tree: ast.Module) -> int:
    """The number of names in a list of what a package offers; 0 where there is none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return len(node.value.elts) if isinstance(node.value, ast.List) else 0
    return 0


def measure(commit: str | None) -> Size:
    """Count a commit, or what lies here if None."""
    size = Size()
    for path, text in sources(commit):
        name = str(path)
        size.lines[name] = text.count("\n")
        if path.suffix in CPP:
            code, functions = cpp_code(text), cpp_functions(text)
        else:
            tree = ast.parse(text)
            code, functions = python_code(text, tree), python_functions(tree)
            if name in ("eden/__init__.py", "eden/__init__.pyi"):
                size.public = size.public or public_names(tree)
        size.code[room(name)] += code
        for function, lines in functions:
            key = f"{name}: {function}"
            size.functions[key] = max(lines, size.functions.get(key, 0))
    return size


def table(title: str, now: Mapping[str, int], before: Mapping[str, int] | None) -> Iterator[str]:
    """Numbers by name, and their sum, beside those of before."""
    names = sorted({*now, *(before or {})})
    width = max(map(len, [*names, title, "all"]))
    yield f"{title:{width}} " + (f"{'before':>8} {'now':>8}" if before is not None else f"{'now':>8}")
    for name in [*names, "all"]:
        row = [*([before] if before is not None else []), now]
        values = [sum(one.values()) if name == "all" else one.get(name, 0) for one in row]
        yield f"{name:{width}} " + " ".join(f"{value:8,}" for value in values)


def longest(title: str, sizes: Mapping[str, int]) -> Iterator[str]:
    """The longest of them, a line for each."""
    yield title
    for name, lines in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:LONGEST]:
        yield f"{lines:8,}  {name}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="COMMIT", help="print what stood there beside it")
    against = parser.parse_args().against
    now = measure(None)
    before = measure(against) if against else None
    print(*table("lines", now.rooms, before.rooms if before else None), sep="\n", end="\n\n")
    print(*table("lines of code", now.code, before.code if before else None), sep="\n", end="\n\n")
    for size, when in ((before, f"at {against}"), (now, "now")):
        if size is not None:
            print(*longest(f"longest of {len(size.lines)} files {when}", size.lines), sep="\n")
            print(*longest(f"longest functions {when}", size.functions), sep="\n")
            print(f"public names {when}: {size.public}\n")


if __name__ == "__main__":
    main()
