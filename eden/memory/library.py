"""Loads the native operators: the CPU ones always, the CUDA ones where torch has a GPU to run them on."""

from __future__ import annotations

import functools
from pathlib import Path

import torch

_FOLDER = Path(__file__).parent.parent
OPS = _FOLDER / "_ops.so"
OPS_CUDA = _FOLDER / "_ops_cuda.so"

_MINIMUM_TORCH = (2, 10)


def load_cuda() -> None:
    """Load the CUDA operators.

    Raises:
        ImportError: if this build of EDEN has none.
    """
    if not OPS_CUDA.exists():
        raise ImportError(
            f"this build of eden has no CUDA operators ({OPS_CUDA.name} is missing): "
            "they are built where there is a GPU and nvcc of CUDA 12 or later; reinstall eden with EDEN_CUDA=ON in the "
            "environment, which builds them or says what is missing"
        )
    torch.ops.load_library(str(OPS_CUDA))  # type: ignore[no-untyped-call]


@functools.cache
def require_cuda() -> None:
    """Load the CUDA operators if they are not loaded yet.

    Raises:
        ImportError: if this build of EDEN has none.
    """
    load_cuda()


def load() -> None:
    """Load the operators that this machine can run.

    Raises:
        ImportError: if torch is too old for the operators' stable ABI, or the operators were not built.
    """
    release = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if release < _MINIMUM_TORCH:
        raise ImportError(f"eden needs torch 2.10 or later, found {torch.__version__}")
    if not OPS.exists():
        raise ImportError(f"eden's operators are not built ({OPS} is missing); run: pip install . (or make build)")
    torch.ops.load_library(str(OPS))  # type: ignore[no-untyped-call]
    if torch.cuda.is_available() and OPS_CUDA.exists():
        require_cuda()
