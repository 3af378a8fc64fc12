# What `eden` offers and where it lies, for type checkers and for lazy_loader, which imports a name when it is used.

from .accounting.accounts import account, savings
from .app.formats import read
from .app.tasks import Task
from .boosting.curriculum import Curriculum
from .boosting.recipe import Recipe
from .boosting.resume import load_checkpoint_, save_checkpoint
from .boosting.threshold_node import ThresholdNode
from .boosting.training import train
from .common.files import FileError
from .costs.count_traffic import traffic
from .deployment.network import deploy
from .deployment.writing import memory_image
from .devices.device import Device
from .devices.fitting import fit
from .devices.prediction import check
from .faults.calibration import calibrate_, ranges
from .faults.checkpoint import load_, save
from .faults.chips import set_chip_
from .faults.config import Faults
from .faults.coverage import coverage
from .faults.ensemble import Ensemble
from .faults.inject import inject_, remove_
from .faults.layers.feature_map import FeatureMap
from .faults.layers.key_value_cache import KeyValueCache
from .faults.layers.sparse import SparseLinear
from .faults.memories import operands, set_errors_
from .faults.reliable import clean
from .measurements.campaign import Condition
from .measurements.tested import Tested
from .memory.cell_map import CellMap
from .memory.errors import DataDependent, Uniform
from .memory.geometry import Geometry
from .memory.lines import Bitline, Wordline
from .memory.operators import corrupt, corrupt_
from .placement.constraints import Constraints
from .placement.defaults import ExactSolver
from .placement.mapping import memory_map
from .placement.placement import Placement
from .placement.solvers import place
from .reporting.page import report
from .tolerance.evaluation import evaluate
from .tolerance.export import export
from .tolerance.profile import profile
from .tolerance.question import SearchError
from .tolerance.search import Budget, Search
from .tolerance.tolerance import Tolerance
from .tolerance.verification import certify

__version__: str

__all__ = [
    "Bitline",
    "Budget",
    "CellMap",
    "Condition",
    "Constraints",
    "Curriculum",
    "DataDependent",
    "Device",
    "Ensemble",
    "ExactSolver",
    "Faults",
    "FeatureMap",
    "FileError",
    "Geometry",
    "KeyValueCache",
    "Placement",
    "Recipe",
    "Search",
    "SearchError",
    "SparseLinear",
    "Task",
    "Tested",
    "ThresholdNode",
    "Tolerance",
    "Uniform",
    "Wordline",
    "account",
    "calibrate_",
    "certify",
    "check",
    "clean",
    "corrupt",
    "corrupt_",
    "coverage",
    "deploy",
    "evaluate",
    "export",
    "fit",
    "inject_",
    "load_",
    "load_checkpoint_",
    "memory_image",
    "memory_map",
    "operands",
    "place",
    "profile",
    "ranges",
    "read",
    "remove_",
    "report",
    "save",
    "save_checkpoint",
    "savings",
    "set_chip_",
    "set_errors_",
    "traffic",
    "train",
]
