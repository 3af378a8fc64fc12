"""Libraries that only some of EDEN needs, by the extra of the package that brings them."""

from __future__ import annotations

from importlib.util import find_spec

EXTRAS = {
    "report": ("jinja2", "matplotlib"),
    "demo": ("sklearn",),
    "integrations": ("lightning", "transformers", "accelerate"),
    "ramulator": ("yaml",),
}
"""Modules by extra; "demo" of pyproject.toml brings those of "report", too."""


def missing(extra: str) -> list[str]:
    """The modules of an extra that are not installed. None is loaded."""
    return [name for name in EXTRAS[extra] if find_spec(name) is None]


def require(extra: str) -> None:
    """Refuse to begin what cannot be finished without an extra.

    Raises:
        ImportError: naming what is missing, and its remedy.
    """
    lacking = missing(extra)
    if lacking:
        raise ImportError(f"{' and '.join(lacking)} not installed; run: pip install 'eden-dram[{extra}]'")
