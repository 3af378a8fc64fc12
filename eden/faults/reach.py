"""Which layers of a network faults can reach, and the numbers of their operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from eden.common.torch_internals import keeps_other_numbers
from eden.faults.faulty_layers import COMPUTED, FaultyLayer
from eden.faults.layers import LAYERS, OTHERS, base_of, entry, layer_class
from eden.faults.network import named_modules
from eden.faults.operand import FIRST_RELIABLE_PART, Operand
from eden.faults.packed import codes_of, packed_weights

FilterFn = Callable[[str, nn.Module], bool]


def _ineligible(layer: nn.Module, base: type[nn.Module]) -> str | None:
    """Why a layer of a known class cannot be put under faults, None if it can."""
    if _lazy(layer):
        return "not initialized yet: run a forward pass before inject_"
    if base is nn.Module or isinstance(layer, FaultyLayer):
        return None
    if type(layer).forward is not base.forward:
        return f"{type(layer).__name__} computes its own forward"
    return None


def check_readable(name: str, layer: nn.Module, tensor: Tensor, storage: str) -> None:
    """Raise ValueError, naming it, for a parameter that cannot be read from a memory that keeps it in a storage."""
    instead = "; leave its layer out with filter_fn"
    if keeps_other_numbers(tensor):
        kind = type(tensor).__name__
        if codes_of(tensor) is None:
            raise ValueError(
                f"{name} is a {kind}, which keeps other numbers than its values; allowed are plain tensors and those "
                f"that keep an int8 code for each value: call inject_ before the network is quantized{instead}"
            )
        if storage != "int8":
            raise ValueError(f"{name} is a {kind}, which keeps int8 codes; allowed is the storage 'int8'{instead}")
    if tensor.dtype not in COMPUTED:
        allowed = ", ".join(map(str, COMPUTED))
        raise ValueError(f"{name} has the dtype {tensor.dtype}; allowed are {allowed}: convert the network{instead}")
    if tensor.layout is not torch.strided:
        use = ", or use eden.SparseLinear" if isinstance(layer, nn.Linear) else ""
        raise ValueError(f"{name} has the layout {tensor.layout}; allowed is torch.strided{instead}{use}")
    if tensor.is_meta and hasattr(layer, "_hf_hook"):
        raise ValueError(f"{name} is offloaded; allowed is inject_ before the network is offloaded{instead}")


def check_indices(name: str, layer: Any, operand: Operand) -> None:
    """Raise ValueError, naming it, for indices that are kept otherwise than as int32, or that fit no such layer."""
    if operand.storage != "int32" or not operand.role.indices or operand.planes:
        kept = "in planes" if operand.planes else f"as {operand.storage!r}"
        allowed = "whole words of 'int32'" if operand.role.indices else "a storage of values"
        raise ValueError(f"{name} is kept {kept}; allowed is {allowed}")
    try:
        layer.check_indices()
    except ValueError as error:
        around = name.rpartition(".")[0]
        raise ValueError(f"{around}.{error}" if around else str(error)) from error


def check_initialized(model: nn.Module, filter_fn: FilterFn | None) -> None:
    """Raise ValueError, naming them, for layers that ``filter_fn`` wants and that have no parameters yet."""
    lazy = [
        name
        for name, layer in named_modules(model)
        if base_of(layer) is not None and _lazy(layer) and (filter_fn is None or filter_fn(name, layer))
    ]
    if lazy:
        raise ValueError(
            f"{', '.join(lazy)}: not initialized yet; run a forward pass before inject_, or leave them out with "
            "filter_fn"
        )


def _lazy(layer: nn.Module) -> bool:
    return isinstance(layer, nn.modules.lazy.LazyModuleMixin) and bool(layer.has_uninitialized_params())


def eligible_layers(model: nn.Module) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Layers that can be put under faults, and those of a known class that cannot, with the reason."""
    eligible: dict[str, nn.Module] = {}
    left_out: dict[str, str] = {}
    part_of: dict[int, tuple[str, type[nn.Module]]] = {}  # what a layer reads without calling it
    for name, layer in named_modules(model):
        base = base_of(layer)
        if id(layer) in part_of:
            owner, owner_base = part_of[id(layer)]
            if owner in left_out:
                left_out[name] = f"nn.{owner_base.__name__} reads its weight without calling it"
            continue
        if isinstance(layer, torch.jit.ScriptModule) and any(True for _ in layer.parameters(recurse=False)):
            left_out[name] = "made by torch.jit, whose layers nobody can exchange: call inject_ before"
        if packed_weights(layer):
            left_out[name] = f"{type(layer).__name__} keeps its weight packed: call inject_ before it is quantized"
        if base is None:
            continue
        reason = _ineligible(layer, base)
        if reason is None:
            eligible[name] = layer
        else:
            left_out[name] = reason
        for child in entry(base).children:
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
        for generation in sorted({each.generation for each in (*LAYERS.values(), *OTHERS)}):
            for name, layer in eligible.items():
                known = layer_class(layer)
                if known.generation != generation:
                    continue
                for role in known.roles(layer):
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
    for name, module in named_modules(model):
        if isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
            dim = 0 if module.self_attn.batch_first else 1
            dims.update({join_names(name, child): dim for child, _ in named_modules(module) if child})
    return dims
