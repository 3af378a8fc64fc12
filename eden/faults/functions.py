"""Which modules of a network read, by functions of torch, what could be under faults."""

from __future__ import annotations

import torch
from torch import nn

from eden.faults.faulty_layers import FaultyLayer, faulty_layers
from eden.faults.layers.functions import Functions
from eden.faults.network import named_modules
from eden.faults.reach import eligible_layers, join_names
from eden.faults.watch import Watched, tensors_of


def functions_of(model: nn.Module, watched: Watched, filtered: bool) -> dict[str, Functions]:
    """The modules whose functions read what could be under faults, by name, and what each reads.

    Args:
        model: a network under faults.
        watched: what a forward pass of it showed.
        filtered: whether a filter_fn chose layers, so that what belongs to none stays reliable.
    """
    eligible, _ = eligible_layers(model)
    owners = {
        join_names(name, role): (layer, role)
        for name, layer in faulty_layers(model).items()
        for role, operand in layer.eden_faults.by_role.items()
        if operand.kind == "weight"
    }
    modules = dict(named_modules(model))
    parameters = dict(tensors_of(modules))
    found: dict[str, Functions] = {}
    for place in watched.places:
        module = modules[place.module]
        if place.module in eligible or isinstance(module, FaultyLayer) or type(module).__module__.startswith("torch."):
            continue
        before = found.get(place.module, Functions())
        stored, multiplied, of_layers = dict.fromkeys(before.stored), dict.fromkeys(before.multiplied), [*before.owners]
        known = [name for name in place.stored if name in owners]
        for name in place.stored:
            inside = name.removeprefix(f"{place.module}.") if place.module else name
            parameter = parameters.get(name)
            if name in known:
                layer, role = owners[name]
                # An embedding has no feature map of its own that a product with its table could read.
                path = inside if place.product and "input" not in layer.eden_faults.by_role else ""
                path = "" if role.endswith("bias") or filtered else path
                of_layers = [each for each in of_layers if each[:2] != (layer, role) or each[2]]
                if not any(each[:2] == (layer, role) for each in of_layers):
                    of_layers.append((layer, role, path))
                    if path:
                        multiplied[path] = None
                continue
            if (
                not isinstance(parameter, nn.Parameter)
                or parameter.dim() < 2
                or not parameter.is_floating_point()
                or parameter.layout is not torch.strided  # named by coverage
                or filtered
            ):
                continue
            # Of tied parameters a layer's operand is read; one made into another is no tensor that functions get.
            tied = any(parameters.get(each) is parameter for each in known)
            if tied or (place.module and inside == name) or ".original" in name or _of_layer(name, eligible):
                continue
            stored[inside] = None
            if place.product:
                multiplied[inside] = None
        attention = before.attention or ("scaled_dot_product" in place.function and not filtered)
        products = 0 if filtered else watched.products.get(place.module, 0)
        if stored or of_layers or attention or products:
            found[place.module] = Functions(tuple(stored), tuple(multiplied), tuple(of_layers), attention, products)
    return found


def _of_layer(name: str, eligible: dict[str, nn.Module]) -> bool:
    """Whether a parameter is of a layer that was left out."""
    return any(name.startswith(f"{layer}.") for layer in eligible if layer)
