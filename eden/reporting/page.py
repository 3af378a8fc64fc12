"""The report: one self-contained HTML page on device, tolerance, placement and savings, with the files behind it."""

from __future__ import annotations

import functools
import html
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from eden.accounting.results import Account, Pareto, Savings
from eden.common.extras import require
from eden.common.files import FileError, VersionedFile, output_folder, write_text
from eden.common.provenance import check_together
from eden.common.tables import numeric_columns
from eden.devices.device import Device
from eden.placement.map_file import MemoryMap
from eden.placement.placement import Placement
from eden.reporting.accuracy import AccuracyCurves
from eden.reporting.claims import claims
from eden.reporting.figures import styled, svg
from eden.reporting.section import Section
from eden.reporting.sections import PARTS, comparison
from eden.reporting.summary import provenance, summary
from eden.tolerance.tolerance import Tolerance
from eden.tolerance.verification import Verification

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_Made = TypeVar("_Made")
_ROUNDING = 1e-9  # of limits that were scaled


class ReportError(RuntimeError):
    """A report that lacks something: its page is written, and says in the places what is not there and why.

    Attributes:
        page: the page.
        failed: by what is not there, why.

    """

    def __init__(self, page: Path, failed: Mapping[str, str]) -> None:
        what = "; ".join(f"{name}: {why}" for name, why in failed.items())
        super().__init__(f"{page} is written, but lacks {what}")
        self.page, self.failed = page, dict(failed)


def paths_in(folder: str | os.PathLike[str], empty: bool = False) -> dict[str, list[Path]]:
    """The files of a report that are in a folder, for ``read_parts``.

    Args:
        folder: where they are.
        empty: whether there may be none.

    Raises:
        FileError: for a folder without any.

    """
    found = {name: [path] for name in PARTS if (path := Path(folder) / f"{name}.json").exists()}
    if not found and not empty:
        names = ", ".join(f"{name}.json" for name in PARTS)
        raise FileError(folder, f"found nothing to report; allowed is a folder with one or more of {names}")
    return found


def read_parts(paths: Mapping[str, Sequence[Path]]) -> tuple[dict[str, Any], dict[str, str]]:
    """The parts of a report from their files, and by part why a file of it cannot be read.

    Args:
        paths: by part, a name of ``PARTS``, its file; of "accuracy" one or more, whose curves are joined.

    """
    parts: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name, files in paths.items():
        read: list[Any] = []
        for path in files:
            try:
                read.append(PARTS[name].kind.load(path))
            except FileError as error:
                problems[name] = str(error)
        if read:
            parts[name] = AccuracyCurves.joined(read) if name == "accuracy" else read[-1]
    return parts, problems


def report(
    folder: str | os.PathLike[str],
    device: Device | None = None,
    tolerance: Tolerance | None = None,
    placement: Placement | None = None,
    savings: Savings | None = None,
    accuracy: AccuracyCurves | None = None,
    title: str = "EDEN report",
    *,
    memory_map: MemoryMap | None = None,
    account: Account | None = None,
    pareto: Pareto | None = None,
    verification: Verification | None = None,
    compare: Mapping[str, Mapping[str, Any]] | None = None,
    lacks: Mapping[str, str] | None = None,
) -> Path:
    """Write a self-contained ``index.html`` and, beside it, the JSON file of everything that was given.

    The page needs no network: its figures are inlined as SVG, its style and the script that sorts its tables are in it.
    What was asked and what is certified stands on top. The files are written first. Where a figure or a part of the
    page fails, a sentence takes its place, and the rest is there. What was not given is named, with the command that
    makes it.

    Args:
        folder: made where it is missing.
        device: shown as BER curves with the measured points.
        tolerance: shown per operand, with the coarse BER.
        placement: shown by partition and operating point.
        savings: shown as a table with ranges and assumptions.
        accuracy: shown as accuracy against BER, one curve per label.
        title: heading of the page.
        memory_map: shown by where in each partition the operands lie.
        account: shown by platform, term and operand.
        pareto: shown as energy against accuracy.
        verification: shown on top as what is certified, and by its evidence.
        compare: other runs by name, each a mapping of parts as ``read_parts`` gives it, shown beside this one.
        lacks: by part, why it is not given though it was to be, such as a file that cannot be read; for the page.

    Returns:
        The path of ``index.html``.

    Raises:
        FileError: if the folder cannot be made or written to, before anything is computed.
        ValueError: if nothing to report is given, or parts do not belong together: they were made from different
            things, or the placement lacks operands of the tolerance.
        ReportError: if the page is written, but lacks something, that of ``lacks`` included.
        ImportError: with the remedy, where the extra "report" is not installed, before anything is written.

    """
    require("report")
    target = output_folder(folder)
    parts: dict[str, VersionedFile | None] = {
        **{"device": device, "tolerance": tolerance, "placement": placement, "savings": savings, "accuracy": accuracy},
        **{"memory-map": memory_map, "account": account, "pareto": pareto, "verification": verification},
    }
    given = {name: part for name in PARTS if (part := parts[name]) is not None}
    failed = dict(lacks or {})
    if not given:
        why = "".join(f"; {reason}" for reason in failed.values())
        raise ValueError(f"nothing to report; allowed is one or more of {', '.join(PARTS)}{why}")
    _check_agreement(given)
    # What was computed is kept, whatever becomes of its page.
    for name, part in given.items():
        path = target / f"{name}.json"
        if not _holds(path, part):
            part.save(path)

    first: list[Exception] = []

    def attempt(what: str, make: Callable[[], _Made], instead: Callable[[str], _Made]) -> _Made:
        try:
            return make()
        except Exception as error:
            first.append(error)
            failed[what] = f"{type(error).__name__}: {error}"
            return instead(failed[what])

    sections: dict[str, Section] = {}
    figures: dict[str, str] = {}
    for name, part in given.items():
        sections[name] = section = attempt(
            f"the part {name}",
            functools.partial(PARTS[name].section, part, given),
            functools.partial(_not_shown, name),
        )
    if compare:
        runs = {"this report": given, **compare}
        sections["comparison"] = attempt(
            "the comparison",
            functools.partial(comparison.section, runs),
            functools.partial(_not_shown, "comparison"),
        )
    for name, section in sections.items():
        if (draw := section.draw) is not None:
            figures[name] = attempt(
                f"the figure of {name}",
                functools.partial(_drawn, name, draw),
                functools.partial(_not_drawn, name, section),
            )
    page = _render(
        title=title,
        claims=attempt("what is certified", lambda: claims(given), lambda _: []),
        summary=attempt("the summary", lambda: summary(given), lambda why: [f"The summary could not be made ({why})."]),
        sections=sections,
        figures=figures,
        absent=[
            (name, failed.get(name, ""), part.made_by)
            for name, part in PARTS.items()
            if name not in given or name in failed
        ],
        provenance=attempt(
            "its provenance",
            lambda: provenance(given),
            lambda why: [("Provenance", f"It could not be told ({why}).")],
        ),
        files=[f"{name}.json" for name in given],
    )
    index = target / "index.html"
    write_text(index, page)
    if failed:
        raise ReportError(index, failed) from (first[0] if first else None)
    return index


def _drawn(name: str, draw: Callable[[], Figure]) -> str:
    with styled():
        return svg(draw(), name)


def _not_drawn(name: str, section: Section, why: str) -> str:
    told = html.escape(f"{section.alt}: this figure could not be drawn ({why}). Its numbers are in {name}.json.")
    return f'<p class="soft">{told}</p>'


def _not_shown(name: str, why: str) -> Section:
    return Section(name.capitalize(), f"This part could not be shown ({why}). It is in {name}.json.")


def _holds(path: Path, part: VersionedFile) -> bool:
    """Whether a file says the same already, if in other words: it may be the very one that was given."""
    try:
        return bool(type(part).load(path) == part)
    except FileError:
        return False


def _check_agreement(given: Mapping[str, Any]) -> None:
    device = given.get("device")
    for name, part in given.items():
        of = getattr(part, "device", None)
        if device is not None and of is not None and of != device.name:
            raise ValueError(f"the {name} is of device {of!r}; allowed is the report's, {device.name!r}")
    if "tolerance" in given and "placement" in given:
        placed = given["placement"].operands
        for name in given["tolerance"].limits:
            if name not in placed:
                raise ValueError(
                    f"operand {name} of the tolerance is not in the placement of {len(placed)} operands; are they of "
                    "one network?"
                )
    check_together(given)
    if "tolerance" in given and "placement" in given:
        _check_limits(given["tolerance"], given["placement"])


def _check_limits(tolerance: Tolerance, placement: Placement) -> None:
    """Refuse a placement of limits that are not the tolerance's. Raises ValueError."""
    settings = {} if placement.provenance is None else placement.provenance.settings
    granularity: Any = settings.get("granularity")  # not known of files of before
    for name, limit in tolerance.limits.items():
        by = {"coarse": tolerance.coarse, "fine": limit}
        allowed, found = by.get(granularity, max(by.values())), placement.operands[name].limit
        if found > allowed * (1.0 + _ROUNDING):
            raise ValueError(
                f"operand {name} of the placement has the limit {found:g}; allowed is the tolerance's, {allowed:g}: "
                "was the file altered?"
            )


def _render(**context: Any) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("eden.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("report.html").render(numeric_columns=numeric_columns, **context)
