"""How figures look, how rates are labelled on them, and how they are written."""

from __future__ import annotations

import io
import itertools
import math
import os
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eden.common.extras import require
from eden.common.files import atomic_path
from eden.reporting.text import rate_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


# Okabe and Ito's colours, distinct under all common forms of colour blindness; the order keeps neighbours apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
NEUTRAL = "#7a7a7a"

STYLE: Any = {
    # Names of operands are no formulas.
    "text.parse_math": False,
    "svg.fonttype": "none",
    # The same data gives the same file.
    "svg.hashsalt": "eden",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": "#3c4043",
    "axes.edgecolor": "#9aa0a6",
    "axes.labelcolor": "#3c4043",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e6e8",
    "grid.linewidth": 0.6,
    "xtick.color": "#5f6368",
    "ytick.color": "#5f6368",
    "legend.frameon": False,
    "legend.fontsize": 8,
}


def styled() -> AbstractContextManager[None]:
    """Draw in the style of all figures. Raises ImportError, with the remedy, where matplotlib is not installed."""
    require("report")
    import matplotlib

    return matplotlib.rc_context(STYLE)


def new_figure(height: float = 3.4) -> tuple[Figure, Axes]:
    """An empty figure of one plot; its height is in inches."""
    # Without pyplot: no global figures, no window system.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.4, height), layout="constrained")
    return figure, figure.subplots()


def rates_on(axis: Axis, zero_at: float = 0.0) -> None:
    """Label a logarithmic axis; what is not above ``zero_at`` stands for 0."""
    axis.set_major_formatter(lambda value, _: "0" if value <= zero_at else rate_text(value).removeprefix("1 × "))

    def between_decades(value: float, _: float) -> str:
        low, high = sorted(axis.get_view_interval())
        digit = round(value / 10.0 ** math.floor(math.log10(value))) if value > 0 else 0
        # On a short axis the decades alone would leave nothing to read a bar by.
        return rate_text(value) if digit in (2, 5) and value > zero_at and high < 100 * max(low, zero_at) else ""

    axis.set_minor_formatter(between_decades)


def shares_on(axis: Axis) -> None:
    """Label an axis of shares in percent."""
    axis.set_major_formatter(lambda value, _: f"{value * 100:g}%")


_TIP = "tip:"


def tip(axes: Axes, x: float, y: float, text: str) -> None:
    """Say more of a place to who points at it, on a page; on paper it shows nothing."""
    axes.plot([x], [y], marker="o", markersize=11, alpha=0.0, linestyle="none", gid=f"{_TIP}{text}")


def svg(figure: Figure, prefix: str) -> str:
    """The figure as an SVG element; its ids begin with ``prefix``, so that several fit into one page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    tips = itertools.count()
    text = re.sub(f'<g id="{_TIP}([^"]*)">', lambda found: f'<g id="tip-{next(tips)}"><title>{found[1]}</title>', text)
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure; the ending of the name says in which form (svg, pdf or png).

    Raises:
        FileError: if it cannot be written.
        ValueError: for another ending.

    """
    form = Path(path).suffix.lower().removeprefix(".")
    if form not in ("svg", "pdf", "png"):
        raise ValueError(f"{os.fspath(path)} ends in {form!r}; allowed are .svg, .pdf and .png")
    # The same data gives the same file.
    dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[form]
    with styled(), atomic_path(path) as temporary:
        figure.savefig(temporary, format=form, dpi=150, metadata=dated)
