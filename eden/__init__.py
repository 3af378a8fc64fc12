"""EDEN: run neural networks from DRAM that is operated outside its specification."""

import pkgutil
from typing import Any

import lazy_loader

# Importing eden loads nothing: what a name needs is loaded when it is first used. __init__.pyi says where it lies.
_load, _, _names = lazy_loader.attach_stub(__name__, __file__)

# The modules among the names are there by their names alone, not for `from eden import *`.
__all__ = sorted(set(_names) - {module.name for module in pkgutil.iter_modules(__path__)})


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        found: Any = version("eden-dram")
    elif name in _names:
        found = _load(name)
    else:
        from eden.common.renames import MOVED

        moved = f"eden.{name} is now {MOVED[name]}" if name in MOVED else ""
        raise AttributeError(moved or f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found  # torch.compile guards what stands there, and the next use costs no call
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_names, "__version__"})
