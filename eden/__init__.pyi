# What `eden` offers and where it lies, for type checkers and for lazy_loader, which imports a name when it is used.

from .accounting.account import Account, account
from .accounting.savings import Savings, savings
from .app.files import read
from .app.tasks import Task
from .boosting.curriculum import Curriculum, walk
from .boosting.resume import load_checkpoint_, save_checkpoint
from .common.files import FileError
from .costs.traffic import Traffic, traffic
from .devices.device import Device
from .devices.fitting import fit
from .faults.calibration import calibrate_, ranges, recalibrate_, set_ranges_
from .faults.checkpoint import load_, save
from .faults.chips import set_chip_
from .faults.config import Faults
from .faults.counting import FlipCounts, counting
from .faults.coverage import Coverage, coverage
from .faults.inject import inject_, remove_
from .faults.layers.feature_map import FeatureMap
from .faults.layers.key_value_cache import KeyValueCache
from .faults.memories import operands, set_errors_
from .faults.normalization import reestimate_
from .faults.reliable import clean
from .memory.errors import Bitline, CellMap, DataDependent, ErrorModel, Uniform, Wordline
from .memory.geometry import Geometry
from .memory.operators import corrupt, corrupt_, empty_cache
from .placement.memory_map import MemoryMap, memory_map
from .placement.place import Placement, place
from .reporting.page import AccuracyCurves, report
from .tolerance.package import export, profile_package
from .tolerance.profile import SearchError, profile
from .tolerance.tolerance import Tolerance
from .tolerance.verification import Verification, certify

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
    "Task",
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
    "read",
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
