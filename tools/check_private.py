"""Fails where a module of eden uses a private name, one that begins with an underscore, of a module of another room."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

CORE = "eden._core"
"""The C++ core is there for every room."""


def _imported(tree: ast.Module) -> Iterator[tuple[ast.stmt, str, str]]:
    """Each name that is imported from eden: the statement, the name in full, what it is called here."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "eden":
            yield from ((node, f"{node.module}.{alias.name}", alias.asname or alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node, alias.name, alias.asname or alias.name) for alias in node.names)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def violations(package: Path) -> list[str]:
    """A line for each private name of another room that is imported, or read of an imported module."""
    found = []
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        foreign = {}
        for node, name, called in _imported(tree):
            _, *parts = name.split(".")
            if name.startswith(CORE) or not name.startswith("eden.") or parts[0] == room:
                continue
            foreign[called] = name
            if any(map(_is_private, parts)):
                found.append(f"{path}:{node.lineno}: imports {name}; allowed are public names of another room")
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and _is_private(node.attr) and isinstance(node.value, ast.Name):
                name = foreign.get(node.value.id)
                if name is not None:
                    found.append(f"{path}:{node.lineno}: uses {name}.{node.attr}; allowed are public names")
    return found


def main() -> None:
    """Print what is not allowed; status 1 where there is anything."""
    found = violations(Path(sys.argv[1] if len(sys.argv) > 1 else "eden"))
    print("\n".join(found) or "no room uses a private name of another one")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
