"""Which layers of a network faults can reach, and the numbers of their operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from eden.faults.faulty_layers import FaultyLayer
from eden.faults.layers import LAYERS, base_of, layer_class
from eden.faults.operand import FIRST_RELIABLE_PART

FilterFn = Callable[[str, nn.Module], bool]


def _ineligible(layer: nn.Module, base: type[nn.Module]) -> str | None:
    """Why a layer of a known class cannot be put under faults, None if it can."""
    if isinstance(layer, nn.modules.lazy.LazyModuleMixin) and layer.has_uninitialized_params():
        return "not initialized yet: run a forward pass before inject_"
    if type(layer).forward is not base.forward and not isinstance(layer, FaultyLayer):
        return f"{type(layer).__name__} computes its own forward"
    return None


def eligible_layers(model: nn.Module) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Layers that can be put under faults, and those of a known class that cannot, with the reason."""
    eligible: dict[str, nn.Module] = {}
    left_out: dict[str, str] = {}
    part_of: dict[int, tuple[str, type[nn.Module]]] = {}  # what a layer reads without calling it
    for name, layer in model.named_modules():
        base = base_of(layer)
        if id(layer) in part_of:
            owner, owner_base = part_of[id(layer)]
            if owner in left_out:
                left_out[name] = f"nn.{owner_base.__name__} reads its weight without calling it"
            continue
        if base is None:
            continue
        reason = _ineligible(layer, base)
        if reason is None:
            eligible[name] = layer
        else:
            left_out[name] = reason
        for child in LAYERS[base].children:
            part_of[id(layer.get_submodule(child))] = name, base
    return eligible, left_out


def operand_numbers(eligible: Mapping[str, nn.Module]) -> dict[tuple[str, str], int]:
    """The number k of every operand that the layers could have, by layer and role; it begins at k x 2^40.

    Older generations of classes come first, so that a class that is new moves nothing; biases and normalization have
    numbers of their own, so that to ask for them moves nothing either.
    """
    numbers: dict[tuple[str, str], int] = {}
    for reliable, first in ((False, 0), (True, FIRST_RELIABLE_PART)):
        number = first
        for generation in sorted({entry.generation for entry in LAYERS.values()}):
            for name, layer in eligible.items():
                entry = layer_class(layer)
                if entry.generation != generation:
                    continue
                for role in entry.roles(layer):
                    if (role.part in ("bias", "normalization")) == reliable:
                        numbers[name, role.name] = number
                        number += 1
    return numbers


def join_names(layer: str, role: str) -> str:
    """The name of an operand, parameter or child of a layer."""
    return f"{layer}.{role}" if layer else role


def sequence_batch_dims(model: nn.Module) -> dict[str, int]:
    """Batch dimension of the layers inside transformer layers, which read sequences: 1 if those are first, else 0."""
    dims: dict[str, int] = {}
    for name, module in model.named_modules():
        if isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
            dim = 0 if module.self_attn.batch_first else 1
            dims.update({join_names(name, child): dim for child, _ in module.named_modules() if child})
    return dims
