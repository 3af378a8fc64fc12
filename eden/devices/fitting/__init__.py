"""Fits a device to a measurement campaign: what was read, left out, assumed and chosen.

``fit`` gives the device, ``analyse`` the report too. Counts of banks are fitted by ``counts``, single flips by
``cells``; a further format is a reader of ``eden.measurements.readers``.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar, cast

from eden.devices.device import Device
from eden.devices.fitting.cells import fit_cells
from eden.devices.fitting.counts import MODELS, fit_banks
from eden.devices.fitting.report import FitReport, PointFit
from eden.devices.fitting.settings import FORMS, FitSettings, Form
from eden.devices.likelihoods import fit_counts

__all__ = ["FORMS", "MODELS", "FitReport", "FitSettings", "Form", "PointFit", "analyse", "fit", "fit_counts"]

# Formats that tell counts of banks; all others tell single flips, or none.
COUNTS = ("counts", "latency-variation")

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Path = str | os.PathLike[str]


def _of_settings(
    settings: Callable[_P, FitSettings],
) -> Callable[[Callable[[_Path, FitSettings], _R]], Callable[Concatenate[_Path, _P], _R]]:
    """Turn a function of a path and settings into one that takes the settings as arguments of its own."""

    def turn(run: Callable[[_Path, FitSettings], _R]) -> Callable[Concatenate[_Path, _P], _R]:
        def turned(path: _Path, *args: _P.args, **kwargs: _P.kwargs) -> _R:
            return run(path, settings(*args, **kwargs))

        functools.update_wrapper(turned, run)
        first = inspect.signature(run)
        arguments = (first.parameters["path"], *inspect.signature(settings).parameters.values())
        turned.__signature__ = first.replace(parameters=arguments)  # type: ignore[attr-defined]
        return cast(Callable[Concatenate[_Path, _P], _R], turned)

    return turn


def _run(path: _Path, settings: FitSettings) -> FitReport:
    campaign = settings.read(path)
    return fit_banks(campaign, settings) if campaign.format in COUNTS else fit_cells(campaign, settings)


@_of_settings(FitSettings)
def analyse(path: _Path, settings: FitSettings) -> FitReport:
    """The same as ``fit``, with the report of what was read, left out, assumed and chosen."""
    return _run(path, settings)


@_of_settings(FitSettings)
def fit(path: _Path, settings: FitSettings) -> Device:
    """Fit a device to a measurement campaign.

    Args:
        path: the measurements.
        settings: given as arguments, ``fit(path, format, module, vdd=1.35, ...)``; ``FitSettings`` describes them.

    Raises:
        FileError: for a file that cannot be used, naming the place, what was found and what is allowed.
        ValueError: for an argument outside what is allowed.

    """
    return _run(path, settings).device
