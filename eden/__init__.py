"""EDEN: run neural networks from DRAM that is operated outside its specification."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from eden.account import Account, account
from eden.accounting import Savings, Traffic, savings, traffic
from eden.characterize import SearchError, profile
from eden.checkpoint import load_, save
from eden.counting import FlipCounts, counting
from eden.coverage import Coverage, coverage
from eden.curriculum import Curriculum, walk
from eden.device import Device
from eden.errors import Bitline, CellMap, DataDependent, ErrorModel, Uniform, Wordline
from eden.files import FileError
from eden.fitting import fit
from eden.geometry import Geometry
from eden.inject import (
    Faults,
    calibrate_,
    clean,
    inject_,
    operands,
    ranges,
    recalibrate_,
    remove_,
    set_chip_,
    set_errors_,
    set_ranges_,
)
from eden.layers import FeatureMap, KeyValueCache
from eden.memory_map import MemoryMap, memory_map
from eden.normalization import reestimate_
from eden.ops import corrupt, corrupt_, empty_cache
from eden.package import export, profile_package
from eden.placement import Placement, place
from eden.resume import load_checkpoint_, save_checkpoint
from eden.tolerance import Tolerance
from eden.verification import Verification, certify

if TYPE_CHECKING:
    from eden.reporting import AccuracyCurves, report

__version__ = version("eden-dram")

__all__ = [
    "Account",
    "AccuracyCurves",
    "Bitline",
    "CellMap",
    "Coverage",
    "Curriculum",
    "DataDependent",
    "Device",
    "ErrorModel",
    "Faults",
    "FeatureMap",
    "FileError",
    "FlipCounts",
    "Geometry",
    "KeyValueCache",
    "MemoryMap",
    "Placement",
    "Savings",
    "SearchError",
    "Tolerance",
    "Traffic",
    "Uniform",
    "Verification",
    "Wordline",
    "account",
    "calibrate_",
    "certify",
    "clean",
    "corrupt",
    "corrupt_",
    "counting",
    "coverage",
    "empty_cache",
    "export",
    "fit",
    "inject_",
    "load_",
    "load_checkpoint_",
    "memory_map",
    "operands",
    "place",
    "profile",
    "profile_package",
    "ranges",
    "recalibrate_",
    "reestimate_",
    "remove_",
    "report",
    "save",
    "save_checkpoint",
    "savings",
    "set_chip_",
    "set_errors_",
    "set_ranges_",
    "traffic",
    "walk",
]


def __getattr__(name: str) -> Any:
    # The report's drawing libraries take half a second to load, which nothing else needs.
    if name in ("AccuracyCurves", "report"):
        from eden import reporting

        return getattr(reporting, name)
    raise AttributeError(f"module 'eden' has no attribute {name!r}")
