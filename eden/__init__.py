"""EDEN: run neural networks from DRAM that is operated outside its specification."""

from importlib.metadata import version

from eden.accounting import Savings, Traffic, savings, traffic
from eden.errors import DataDependent, ErrorModel, Uniform
from eden.files import FileError
from eden.placement import Placement, place

__version__ = version("eden-dram")

__all__ = [
    "DataDependent",
    "ErrorModel",
    "FileError",
    "Placement",
    "Savings",
    "Traffic",
    "Uniform",
    "place",
    "savings",
    "traffic",
]
