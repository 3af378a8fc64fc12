"""The classes of layers under faults, and those that layers had before.

Other tools exchange classes, too: ``parametrize`` and FSDP2 give a module a class that is made for it, of the one that
it had. Such a class has no name to be found by; it is made again around the layer's class under faults, or without.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any

from torch import nn

from eden.faults.layers import LAYERS, entry

# Of torch.nn, and so a leaf where torch.fx traces a network; not of torch.nn.modules, of which the compiler believes
# that nothing of a layer changes.
_MODULE = "torch.nn.faults"

_faulty: dict[type[nn.Module], type[nn.Module]] = {}
_original: weakref.WeakKeyDictionary[type[nn.Module], type[nn.Module]] = weakref.WeakKeyDictionary()


def faulty_class(original: type[nn.Module], mixin: type[nn.Module]) -> type[nn.Module]:
    """The class under faults of a class of layers.

    Args:
        original: of ``LAYERS``, a subclass of one, or made by another tool for a layer of one.
        mixin: what it gets, first in the order of its methods.
    """
    if original in _faulty:
        return _faulty[original]
    base = next((cls for cls in original.__mro__ if cls in LAYERS), nn.Module)
    if base is not nn.Module and original.forward is not base.forward:
        base = nn.Module  # with a forward of its own it is there for what its functions read
    if base is not nn.Module and _made(original):
        around = {cls: faulty_class(cls, mixin) for cls in original.__bases__ if base in cls.__mro__}
        found = _again(original, f"Faulty{original.__name__}", around)
    else:
        members = {"__doc__": original.__doc__, "__module__": _MODULE, "eden_forward": entry(base).forward}
        members["eden_original"] = original
        found = type(f"Faulty{original.__name__}", (mixin, original), members)
        _faulty[original] = found
    _original[found] = original
    return found


def original_class(cls: type[nn.Module]) -> type[nn.Module]:
    """The class that a layer of a class under faults had before, as other tools have changed it since.

    Raises:
        TypeError: for a class that is not under faults.
    """
    before = _original.get(cls)
    if before is not None and (cls in _faulty.values() or _members(before) == _members(cls)):
        return before
    bases = [base for base in cls.__bases__ if any(each in _original for each in base.__mro__)]
    if not bases:
        raise TypeError(f"{cls.__name__} is no class of layers under faults")
    return _again(cls, cls.__name__.replace("Faulty", "", 1), {base: original_class(base) for base in bases})


def _made(cls: type[nn.Module]) -> bool:
    """Whether a class was made by a call of ``type``: no name leads to it, and none of its methods looks for it."""
    found: Any = sys.modules.get(cls.__module__)
    for name in cls.__qualname__.split("."):
        found = getattr(found, name, None)
    written = any("__class__" in getattr(x, "__code__", _made.__code__).co_freevars for x in vars(cls).values())
    return found is not cls and "<locals>" not in cls.__qualname__ and not written


def _members(cls: type[nn.Module]) -> dict[str, Any]:
    others = ("__dict__", "__weakref__", "__doc__", "__slotnames__")  # which copying leaves in a class
    return {name: value for name, value in vars(cls).items() if name not in others}


def _again(cls: type[nn.Module], name: str, around: dict[Any, Any]) -> type[nn.Module]:
    return type(name, tuple(around.get(base, base) for base in cls.__bases__), _members(cls))
