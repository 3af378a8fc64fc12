# What `eden` offers and where it lies, for type checkers and for lazy_loader, which imports a name when it is used.

from . import accounting as accounting
from . import characterize as characterize
from . import checkpoint as checkpoint
from . import compression as compression
from . import curriculum as curriculum
from . import curves as curves
from . import deadline as deadline
from . import device as device
from . import energy as energy
from . import errors as errors
from . import files as files
from . import fits as fits
from . import fitting as fitting
from . import functions as functions
from . import geometry as geometry
from . import inject as inject
from . import journal as journal
from . import layers as layers
from . import margin as margin
from . import measurements as measurements
from . import movement as movement
from . import nn as nn
from . import normalization as normalization
from . import ops as ops
from . import package as package
from . import partition as partition
from . import placement as placement
from . import platforms as platforms
from . import points as points
from . import progress as progress
from . import quantization as quantization
from . import ranks as ranks
from . import resume as resume
from . import reuse as reuse
from . import samples as samples
from . import tolerance as tolerance
from . import verification as verification
from .accounting import Savings, savings
from .accounts import Account, account
from .characterize import SearchError, profile
from .checkpoint import load_, save
from .covered import Coverage, coverage
from .curriculum import Curriculum, walk
from .device import Device
from .errors import Bitline, CellMap, DataDependent, ErrorModel, Uniform, Wordline
from .files import FileError
from .fitting import fit
from .flip_counts import FlipCounts, counting
from .geometry import Geometry
from .inject import (
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
from .layers import FeatureMap, KeyValueCache
from .memory_maps import MemoryMap, memory_map
from .movement import Traffic, traffic
from .normalization import reestimate_
from .ops import corrupt, corrupt_, empty_cache
from .package import export, profile_package
from .placement import Placement, place
from .reporting import AccuracyCurves, report
from .resume import load_checkpoint_, save_checkpoint
from .tolerance import Tolerance
from .verification import Verification, certify

__version__: str

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
