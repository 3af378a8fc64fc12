"""EDEN: run neural networks from DRAM that is operated outside its specification."""

from importlib.metadata import version

from eden.device import Device
from eden.errors import DataDependent, ErrorModel, Uniform
from eden.files import FileError
from eden.fitting import fit

__version__ = version("eden-dram")

__all__ = ["DataDependent", "Device", "ErrorModel", "FileError", "Uniform", "fit"]
