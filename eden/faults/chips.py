"""Which chip a network's operands are on, and how often it was read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from torch import nn

from eden import _core
from eden.common.arguments import check_seed
from eden.faults.faulty_layers import faulty_layers, require_faults

if TYPE_CHECKING:
    from eden.common.provenance import DrawnChips


def set_chip_(model: nn.Module, seed: int) -> nn.Module:
    """Put a network's operands on another chip, in evaluation and in training, access numbers back to 0.

    Args:
        model: a network under faults.
        seed: a 64-bit integer.

    Returns:
        The same network.

    Raises:
        TypeError, ValueError: for a seed that is none; also if the network has no layer under faults.
    """
    check_seed("seed", seed)
    for layer in require_faults(model).values():
        layer.eden_faults.seed = seed
        layer.eden_chip.fill_(seed)
        layer.eden_training_chip.fill_(seed)
        layer.eden_access.zero_()
        layer.eden_training_access.zero_()
        layer.eden_faults.resets += 1
    return model


def set_training_chip_(model: nn.Module, seed: int) -> None:
    """Put a network's operands on another chip in training only; access numbers go on.

    Args:
        model: a network under faults.
        seed: a 64-bit integer.

    Raises:
        TypeError, ValueError: for a seed that is none; also if the network has no layer under faults.
    """
    check_seed("seed", seed)
    for layer in require_faults(model).values():
        layer.eden_training_chip.fill_(seed)


def chip(model: nn.Module) -> int:
    """Seed of the chip that a network's operands are on in evaluation."""
    return int(next(iter(require_faults(model).values())).eden_chip)


def draw_chip(seed: int, purpose: str, index: int) -> int:
    """Seed of the index-th chip that a run draws for a purpose.

    The purpose stands in the highest four bits, so chips of different purposes differ, whatever the seeds are. Chips of
    one seed and purpose differ; one of another seed is a given one of them with a probability of 2^-60. Chips that are
    named by hand, from -2^60 to 2^60 - 1, are none of them.

    Args:
        seed: seed of the run.
        purpose: "training", "search", "confirmation", "steering", "verification", "evaluation" or "curves".
        index: from 0 to 2^60 - 1.

    Raises:
        ValueError: for another purpose or index.
    """
    purposes = _core.ChipPurpose.__members__
    if purpose not in purposes:
        raise ValueError(f"purpose is {purpose!r}; allowed are {', '.join(purposes)}")
    return int(_core.derive_chip(seed, purposes[purpose], index))


def chip_of_run(seed: int) -> int:
    """The chip that a run trains a network on: the one of its seed, where that can be named by hand, else one drawn."""
    return seed if not _core.purpose_of(seed) else draw_chip(seed, "training", 0)


def chips_of(drawn: DrawnChips) -> list[int]:
    """Seeds of the chips that a record names."""
    return [draw_chip(drawn.seed, drawn.purpose, drawn.first + k) for k in range(drawn.count)]


def check_trainable(name: str, seed: int) -> None:
    """Raise ValueError for a chip that is drawn to judge networks by, and so not to be trained on."""
    purpose = _core.purpose_of(seed)
    if purpose not in ("", "training"):
        raise ValueError(
            f"{name} is {seed}, a chip that is drawn for the purpose {purpose!r}; allowed to train on are -2^60 to "
            "2^60 - 1 and chips that are drawn for 'training'"
        )


@contextlib.contextmanager
def chips_kept(model: nn.Module) -> Iterator[None]:
    """Chips and access numbers are afterwards what they were."""
    kept = [
        (buffer, buffer.clone())
        for layer in faulty_layers(model).values()
        for buffer in (layer.eden_chip, layer.eden_training_chip, layer.eden_access, layer.eden_training_access)
    ]
    try:
        yield
    finally:
        for buffer, value in kept:
            buffer.copy_(value)


def accesses(model: nn.Module) -> dict[str, list[int]]:
    """The access numbers of each layer, in training and in evaluation."""
    return {
        name: [int(layer.eden_training_access), int(layer.eden_access)] for name, layer in faulty_layers(model).items()
    }


def set_accesses_(model: nn.Module, numbers: Mapping[str, Sequence[int]]) -> None:
    """Bring the access numbers to what ``accesses`` gave. Raises KeyError or TypeError before anything is changed."""
    layers = faulty_layers(model)
    for name, (training, evaluation) in {name: map(int, numbers[name]) for name in layers}.items():
        layers[name].eden_training_access.fill_(training)
        layers[name].eden_access.fill_(evaluation)
