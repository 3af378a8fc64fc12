"""EDEN: run neural networks from DRAM that is operated outside its specification."""

from importlib.metadata import version

from eden.characterize import SearchError, profile
from eden.coverage import Coverage, coverage
from eden.errors import DataDependent, ErrorModel, Uniform
from eden.files import FileError
from eden.inject import (
    Faults,
    calibrate_,
    clean,
    inject_,
    operands,
    ranges,
    remove_,
    set_chip_,
    set_errors_,
    set_ranges_,
)
from eden.ops import corrupt, corrupt_
from eden.tolerance import Tolerance

__version__ = version("eden-dram")

__all__ = [
    "Coverage",
    "DataDependent",
    "ErrorModel",
    "Faults",
    "FileError",
    "SearchError",
    "Tolerance",
    "Uniform",
    "calibrate_",
    "clean",
    "corrupt",
    "corrupt_",
    "coverage",
    "inject_",
    "operands",
    "profile",
    "ranges",
    "remove_",
    "set_chip_",
    "set_errors_",
    "set_ranges_",
]
