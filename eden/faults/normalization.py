"""Batch-norm statistics of a network whose loads are under faults."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eden.common.torch_internals import BatchNorm
from eden.faults.chips import check_trainable, chips_kept, draw_chip, set_chip_
from eden.faults.faulty_layers import require_faults
from eden.faults.forward import ForwardFn, call
from eden.faults.network import bare, evaluating, looking


class _Sums:
    """Mean and variance of each channel over all values seen, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | None = None
        self.squares: Tensor | None = None

    def add(self, x: Tensor) -> None:
        channels = x.detach().transpose(0, 1).reshape(x.shape[1], -1).double()
        count, mean = channels.shape[1], channels.mean(1)
        squares = (channels - mean[:, None]).square().sum(1)
        if self.mean is None or self.squares is None:
            self.count, self.mean, self.squares = count, mean, squares
            return
        # Joined as Chan, Golub and LeVeque (1983) do, which loses nothing to cancellation where means are large.
        total = self.count + count
        apart = mean - self.mean
        self.mean = self.mean + apart * (count / total)
        self.squares = self.squares + squares + apart.square() * (self.count * count / total)
        self.count = total


def batch_norms(model: nn.Module) -> dict[str, BatchNorm]:
    """The batch-norm layers of a network that have running statistics, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, BatchNorm) and module.running_mean is not None
    }


def reestimate_(
    model: nn.Module,
    loader: Iterable[Any],
    chips: str | int | Sequence[int] = 4,
    seed: int = 0,
    *,
    forward_fn: ForwardFn | None = None,
) -> nn.Module:
    """Estimate the running statistics of all batch-norm layers anew, under the network's faults, in place.

    Errors shift and widen what a layer gives to its batch norm, and a running average, whose last batches count most,
    follows the chips of the last few steps. Here mean and unbiased variance are those of all values over all of
    ``loader`` and all chips, with equal weight, while each batch is normalized by its own statistics, as in training
    (the aggregated "precise" statistics of Wu and Johnson, arXiv 2105.07576). They are summed up in float64, in the
    order of the batches, so the same loader gives the same bits. Nothing else changes: layers other than batch norm
    are in evaluation mode meanwhile; modes, chips and access numbers are what they were afterwards, also after an
    error, which changes no statistics.

    Args:
        model: a network under faults, compiled or not.
        loader: yields batches, as that of ``eden.calibrate_``; it is gone through once for each chip.
        chips: how many chips of those that training draws, the seeds of such chips, or "one", the network's own.
        seed: what chips are drawn from. No chip that is drawn for an evaluation is among them.
        forward_fn: runs the network on a batch, as in ``eden.calibrate_``.

    Returns:
        The same network.

    Raises:
        ValueError: if the network has no layer under faults or no batch norm with running statistics, a batch norm is
            never called, the loader yields nothing (an iterator is used up after the first chip), ``chips`` is out
            of range, or statistics are not finite.
    """
    layers = require_faults(model)
    norms = batch_norms(model)
    if not norms:
        raise ValueError(f"{type(model).__name__} has no batch norm with running statistics")
    seeds = _seeds(layers, chips, seed)
    sums = {name: _Sums() for name in norms}
    # Not the compiled form: hooks that are registered after a compilation never run.
    eager = bare(model)
    tracking = [(norm, norm.running_mean, norm.running_var, norm.num_batches_tracked) for norm in norms.values()]
    hooks = []
    with chips_kept(eager), evaluating(eager), looking():
        try:
            for name, norm in norms.items():
                norm.train()
                # Without them a batch norm in training neither reads nor moves running statistics.
                norm.running_mean = norm.running_var = norm.num_batches_tracked = None
                hooks.append(norm.register_forward_pre_hook(lambda _, inputs, name=name: sums[name].add(inputs[0])))
            for chip in seeds:
                set_chip_(eager, chip)
                batches = 0
                for batch in loader:
                    call(eager, batch, forward_fn)
                    batches += 1
                if batches == 0:
                    raise ValueError(
                        "loader yielded no batch for a chip; allowed is one of at least one batch that can be gone "
                        "through once for each chip"
                    )
        finally:
            for hook in hooks:
                hook.remove()
            for norm, mean, var, batches_tracked in tracking:
                norm.running_mean, norm.running_var, norm.num_batches_tracked = mean, var, batches_tracked
    for name, found in sums.items():
        if found.mean is None or found.squares is None:
            raise ValueError(f"{name} is never called in a forward pass, so it has no statistics")
        if not (torch.isfinite(found.mean).all() and torch.isfinite(found.squares).all()):
            raise ValueError(
                f"what {name} reads is not finite under faults; allowed are finite values: correct implausible ones "
                "(correction='zero')"
            )
    for name, norm in norms.items():
        found = sums[name]
        if found.mean is not None and found.squares is not None:
            norm.running_mean.copy_(found.mean)  # type: ignore[union-attr]
            norm.running_var.copy_(found.squares / max(found.count - 1, 1))  # type: ignore[union-attr]
    return model


def _seeds(layers: dict[str, Any], chips: Any, seed: int) -> list[int]:
    if isinstance(chips, str) and chips == "one":
        chips = [int(next(iter(layers.values())).eden_chip)]
    whole = isinstance(chips, int) and not isinstance(chips, bool)
    if whole and chips >= 1:
        return [draw_chip(seed, "training", index) for index in range(chips)]
    if isinstance(chips, Sequence) and not isinstance(chips, str) and len(chips):
        for index, one in enumerate(chips):
            check_trainable(f"chips[{index}]", one)
        return list(chips)
    raise ValueError(f"chips is {chips!r}; allowed are a number from 1, a list of seeds, or 'one'")
