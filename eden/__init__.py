"""EDEN: run neural networks from DRAM that is operated outside its specification."""

from importlib.metadata import version

from eden.errors import DataDependent, ErrorModel, Uniform
from eden.files import FileError

__version__ = version("eden-dram")

__all__ = ["DataDependent", "ErrorModel", "FileError", "Uniform"]
