"""What plain torch computes on this processor, which tests ask before they ask it of EDEN.

torch lacks some kernels on some processors (its LSTM under autocast to bfloat16, say, on those with AVX2 alone), and
its compiler writes code that does not compile on others.
"""

from collections.abc import Callable
from typing import TypeVar

import pytest
import torch

Found = TypeVar("Found")


def plain(what: str, compute: Callable[[], Found]) -> Found:
    """What ``compute``, which must use torch alone, returns; skips the test, naming ``what``, where torch raises."""
    try:
        return compute()
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        pytest.skip(f"plain torch {torch.__version__} has no {what} on this processor: {reason}")


def needs_inductor() -> None:
    """Skips the test where torch's own compiler cannot compile a plain function."""
    x = torch.arange(1000.0)
    plain("inductor", lambda: torch.compile(lambda x: (x * 2 + x.amin()).sin())(x))
