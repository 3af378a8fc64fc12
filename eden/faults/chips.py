"""Which chip a network's operands are on."""

from __future__ import annotations

from torch import nn

from eden import _core
from eden.common.arguments import check_seed
from eden.faults.faulty_layers import require_faults


def set_chip_(model: nn.Module, seed: int) -> None:
    """Put a network's operands on another chip, in evaluation and in training, access numbers back to 0.

    Args:
        model: a network under faults.
        seed: a 64-bit integer.

    Raises:
        TypeError, ValueError: for a seed that is none; also if the network has no layer under faults.
    """
    check_seed("seed", seed)
    for layer in require_faults(model).values():
        layer.eden_chip.fill_(seed)
        layer.eden_training_chip.fill_(seed)
        layer.eden_access.zero_()
        layer.eden_training_access.zero_()


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
    """Seed of the index-th chip that a run draws for a purpose; chips of different purposes differ.

    Args:
        seed: seed of the run.
        purpose: "training", "search", "confirmation" or "evaluation".
        index: from 0 on.
    """
    purposes = _core.ChipPurpose.__members__
    if purpose not in purposes:
        raise ValueError(f"purpose is {purpose!r}; allowed are {', '.join(purposes)}")
    return int(_core.derive_chip(seed, purposes[purpose], index))
