"""Augmentation of training batches: a function of EDEN's, which is given a generator, or any transform of torch's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

Augment = Callable[[Tensor, np.random.Generator], Tensor] | Callable[[Tensor], Tensor]
"""A batch of inputs, and the generator to draw from if it is taken, to a batch of as many.

What takes the batch alone, such as a module of torchvision.transforms.v2, draws from torch's generators, which the
training seeds for each epoch.
"""


def takes_generator(function: Callable[..., Any]) -> bool:
    """Whether a function takes a generator beside the batch: a second argument that it needs, or that is called so."""
    called = function.forward if isinstance(function, nn.Module) else function
    try:
        parameters = list(inspect.signature(called).parameters.values())
    except (TypeError, ValueError):  # of some that are written in C
        return False
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if len(positional) < 2:
        return False
    return positional[1].default is inspect.Parameter.empty or positional[1].name == "generator"


def augmented(function: Augment, x: Tensor, generator: np.random.Generator) -> Tensor:
    """A batch after augmentation. Raises ValueError naming the function if it does not give a batch of as many."""
    called: Callable[..., Any] = function
    found = called(x, generator) if takes_generator(called) else called(x)
    if isinstance(found, Tensor) and found.dim() > 0 and len(found) == len(x):
        return found
    shape = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
    name = getattr(function, "__qualname__", type(function).__name__)
    raise ValueError(f"augment: {name} made {shape} of a batch of {len(x)}; allowed is a tensor of as many samples")
