"""When an iteration of training ends, as far as the steps of optimizers tell."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from eden.faults.faulty_layers import faulty_layers


class Iterations:
    """Counts iterations, of which one takes the steps of all optimizers that train a network.

    An iteration ends with the step after which every Parameter that is trained has been stepped: so it does with the
    last of several optimizers, of a GAN's too. An optimizer that steps a second time before tells that the others are
    not stepped in each iteration. What steps without a forward pass since the end belongs to it: an optimizer that
    wraps another, or one that does not step each time. Copies and pickles know nothing yet.
    """

    def __init__(self) -> None:
        self._missing: set[int] = set()  # of the Parameters, by id, in the iteration at hand
        self._trainable: set[int] = set()
        self._covered: set[int] = set()
        self._idle: set[int] = set()  # trainable, but not stepped in each iteration
        self._optimizers: set[int] = set()  # of the iteration at hand, or of the last one if it has ended
        self._reads: list[Tensor] | None = None  # by the end of the last iteration

    def __reduce__(self) -> Any:
        return Iterations, ()

    def stepped(self, optimizer: torch.optim.Optimizer, held: set[int], model: nn.Module) -> int:
        """How many iterations have ended, now that an optimizer has stepped.

        Args:
            optimizer: that has stepped.
            held: the ids of its Parameters.
            model: the network that is trained, under faults.
        """
        if not self._covered:
            self._trainable = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
            self._missing = self._trainable - self._idle
        own = held & self._trainable
        if not own:
            return 0
        again = id(optimizer) in self._optimizers
        if not again and (own <= self._covered or (not self._covered and not self._read_since(model))):
            self._optimizers.add(id(optimizer))
            return 0
        ended = 0
        if again and own <= self._covered:
            ended += self.end(model)
            self._missing = self._trainable - self._idle
        if not self._covered:
            self._optimizers = set()
        self._optimizers.add(id(optimizer))
        self._covered |= own
        self._idle -= own
        self._missing -= own
        if not self._missing:
            ended += self.end(model)
        return ended

    def end(self, model: nn.Module) -> int:
        """End the iteration at hand, if it has begun; how many have ended so."""
        if not self._covered:
            return 0
        self._idle |= self._missing
        self._covered = set()
        self._reads = _reads(model)
        return 1

    def _read_since(self, model: nn.Module) -> bool:
        """Whether the network was called since the last iteration ended."""
        if self._reads is None:
            return True
        now = _reads(model)
        return len(now) != len(self._reads) or not all(map(torch.equal, now, self._reads))


def _reads(model: nn.Module) -> list[Tensor]:
    # Access numbers tell of compiled layers, too. Nothing waits for a GPU until they are compared.
    by_device: dict[torch.device, list[Tensor]] = {}
    for layer in faulty_layers(model).values():
        numbers = by_device.setdefault(layer.eden_access.device, [])
        numbers += (layer.eden_training_access, layer.eden_access)
    return [torch.stack(numbers) for numbers in by_device.values()]
