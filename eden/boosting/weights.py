"""Bounds of weights, and the distance to a teacher."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.distributed
import torch.utils.data
from torch import Tensor, nn


def weight_bounds(
    model: nn.Module,
    absolute: float | Mapping[str, float] | None = None,
    percentile: float | Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Largest magnitudes that ``clip_weights_`` is to leave in Parameters.

    Args:
        model: the network.
        absolute: the bound itself, one for all Parameters of two or more dimensions, or by name.
        percentile: the percentile of a Parameter's present magnitudes that is its bound (linear between values),
            likewise.

    Returns:
        Bounds by the Parameters' names.

    Raises:
        ValueError: for a name that is no Parameter of two or more dimensions.
    """
    parameters = {name: value for name, value in model.named_parameters() if value.dim() >= 2}
    bounds: dict[str, float] = {}
    for given, relative in ((absolute, False), (percentile, True)):
        if given is None:
            continue
        chosen = dict(given) if isinstance(given, Mapping) else dict.fromkeys(parameters, float(given))
        for name, value in chosen.items():
            if name not in parameters:
                raise ValueError(
                    f"{name!r} is no Parameter of two or more dimensions; allowed are {', '.join(parameters)}"
                )
            bounds[name] = float(value)
            if relative:
                magnitudes = parameters[name].detach().abs().float().cpu().numpy()
                bounds[name] = float(np.quantile(magnitudes, value / 100.0))
    return bounds


def clip_weights_(model: nn.Module, bounds: Mapping[str, float]) -> None:
    """Bring the values of Parameters back to a largest magnitude, in place; to be called after each optimizer step.

    Args:
        model: the network.
        bounds: largest magnitude by name, as ``weight_bounds`` gives them.

    Raises:
        KeyError: for a name that is no Parameter.
    """
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, bound in bounds.items():
            parameters[name].clamp_(-bound, bound)


def distilled(output: Tensor, teacher: Tensor, temperature: float, dim: int = 1) -> Tensor:
    """The distance to a teacher: T^2 KL(softmax(teacher / T) || softmax(output / T)), a mean over all but the classes.

    The factor keeps its gradient's size independent of T (Hinton, Vinyals and Dean, arXiv 1503.02531).

    Args:
        output: logits, shape (N, classes), or (N, classes, ...).
        teacher: logits of the same shape, without a gradient.
        temperature: T.
        dim: where the classes are, such as -1 for tokens, (N, tokens, vocabulary).
    """
    ours = (output / temperature).log_softmax(dim)
    theirs = (teacher / temperature).log_softmax(dim)
    distances = (theirs.exp() * (theirs - ours)).sum(dim)
    return distances.mean() * temperature**2
