"""Which machines the native libraries are built for."""

from __future__ import annotations

import sys
import sysconfig


def refusal(system: str = sys.platform, largest: int = sys.maxsize) -> str | None:
    """Why nothing can be built here, or None."""
    if largest <= 2**32:
        return "this Python has 32 bits; allowed are 64: tensors are addressed in bits, and torch has no 32-bit builds"
    if system in ("win32", "cygwin"):
        return f"the platform is {system}; allowed are Linux (tested) and macOS (untested); WSL 2 on Windows is Linux"
    return None


def warning(system: str = sys.platform, target: str | None = None) -> str | None:
    """What is to be known before a build that is not refused, or None."""
    target = target if target is not None else str(sysconfig.get_config_var("HOST_GNU_TYPE") or "")
    if target.endswith("musl"):
        return "nothing was tested with the C library musl, for which PyPI has no torch either; glibc is tested"
    if not system.startswith("linux"):
        return f"nothing was tested on the platform {system}; Linux is tested"
    return None
