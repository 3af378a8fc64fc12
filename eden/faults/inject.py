"""Putting a network's loads under the faults of a memory, and taking them away again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from eden.faults.buffers import set_range
from eden.faults.config import Faults
from eden.faults.exchange import describe, exchange_layers, make_faulty, restore_layers, tell_owners
from eden.faults.faulty_layers import LayerFaults, faulty_layers, layer_operands
from eden.faults.functions import functions_of
from eden.faults.layers import LAYERS, Role, layer_class
from eden.faults.layout import Layout
from eden.faults.memories import operands, set_errors_
from eden.faults.network import HELD_FAULTS, asked_of, bare, is_inside, model_device, named_modules
from eden.faults.operand import OPERAND_SPACING_BITS, Operand, SampleDims, operand_numel
from eden.faults.reach import (
    FilterFn,
    check_initialized,
    eligible_layers,
    join_names,
    operand_numbers,
    sequence_batch_dims,
)
from eden.faults.reliable import refuse_inside_clean
from eden.faults.watch import Watched
from eden.memory.planes import Plane, operand_and_plane

HELD_CURRICULUM = "_eden_curriculum"
"""The attribute of a network that keeps its curriculum alive."""


def inject_(model: nn.Module, faults: Faults | Layout, filter_fn: FilterFn | None = None) -> nn.Module:
    """Put a network's loads of weights and input feature maps under the faults of a memory, in place.

    The layers of ``eden.faults.layers.LAYERS`` are reached; ``coverage`` names what is not. They stay the same objects
    with the same Parameters and state_dict keys. A network already under faults is put under the new ones, its
    calibrated ranges kept. Parameters that layers share (tied weights) are one operand, read from the same cells.

    A memory map (``eden.memory_map``) has all that there is to know: each operand that it lists is read from its cells
    of the device, in its storage and range, as by ``eden.corrupt`` at that address, and every other one is reliable.
    The network need not be under faults nor calibrated. A placement says where operands lie and no more: the network is
    under faults and calibrated already, and what the placement does not list stays as it is.

    Args:
        model: the network.
        faults: the memory: one for all operands (``eden.Faults``), or where each one lies.
        filter_fn: called with a layer's name and the layer; only layers for which it returns true are put under faults.
            Not with a map or a placement.

    Returns:
        The same network.

    Raises:
        ValueError: if no layer is left to put under faults; if a layer's parameters are not initialized yet, are
            offloaded, are no float32, float16 or bfloat16, or are of a quantizer's class of tensors that does not keep
            int8 codes or with another ``storage``, and ``filter_fn`` does not leave it out; if a memory does not hold
            an operand at its address (give its place with `set_errors_`), if a map or placement is of another network,
            or inside `clean`; nothing is changed then.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; allowed is a torch.nn.Module")
    if not isinstance(faults, Faults) and isinstance(faults, Layout):
        if filter_fn is not None:
            raise ValueError("filter_fn is given; allowed with a map or a placement, which lists operands, is None")
        refuse_inside_clean(model, "inject_")
        return _inject_whole(model, faults) if faults.whole else _move(model, faults)
    if not isinstance(faults, Faults):
        raise TypeError(
            f"faults is a {type(faults).__name__}; allowed is eden.Faults, an eden.MemoryMap or an eden.Placement"
        )
    refuse_inside_clean(model, "inject_")
    eligible, left_out = eligible_layers(model)
    reached = {name: layer for name, layer in eligible.items() if _asked(layer, faults)}
    # What modules read by functions follows the layers that it belongs to.
    chosen = {
        name
        for name, layer in reached.items()
        if filter_fn is None or "eden_functions" in layer.__dict__ or filter_fn(name, layer)
    }
    if not any("eden_functions" not in reached[name].__dict__ for name in chosen):
        chosen.clear()
    if not chosen:
        types = sorted({type(module).__name__ for module in model.modules()})
        detail = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise ValueError(
            f"{type(model).__name__} has no layer to put under faults: found {', '.join(types)}"
            + (f" ({detail})" if detail else "")
            + f"; allowed are {', '.join(base.__name__ for base in LAYERS)}"
            + (f", of which filter_fn refused all {len(reached)}" if reached else "")
        )
    check_initialized(model, filter_fn)
    numbers = operand_numbers(eligible)
    batch_dims = sequence_batch_dims(model)
    made = {
        name: LayerFaults(
            _operands(name, layer, faults, numbers),
            -1 if faults.batch == "contiguous" else batch_dims.get(name, 0),
        )
        for name, layer in eligible.items()
        if name in chosen
    }
    _check_named_planes(faults, made)
    _tie(eligible, made)
    exchange_layers(model, eligible, made, faults.seed, known=True)
    bare(model).__dict__[HELD_FAULTS] = faults, filter_fn is not None
    return model


def _check_named_planes(faults: Faults, made: Mapping[str, LayerFaults]) -> None:
    every = [operand for described in made.values() for operand in described.by_role.values()]
    names = {operand.name for operand in every if not operand.role.indices}
    for name in faults.planes if isinstance(faults.planes, Mapping) else ():
        if name not in names and name not in ("weight", "input"):
            raise ValueError(
                f"Faults.planes names {name!r}, which is no operand of values under faults; allowed are 'weight', "
                f"'input', {', '.join(sorted(names))}"
            )


def _operands(
    name: str, layer: nn.Module, faults: Faults, numbers: Mapping[tuple[str, str], int]
) -> dict[str, Operand]:
    """The operands of a layer that are under faults, by role."""
    found: dict[str, Operand] = {}
    for role in layer_class(layer).roles(layer):
        errors = faults.model_of(role)
        if errors is not None:
            own = join_names(name, role.name)
            planes = () if role.indices else faults.planes_of(own, role.kind)
            found[role.name] = Operand(
                own,
                role,
                numbers[name, role.name] * OPERAND_SPACING_BITS,
                None if planes else errors,
                "int32" if role.indices else faults.storage_of(role.kind),
                faults.correction,
                affine=faults.quantization == "affine" and not role.indices,
                channels=faults.weight_channels and role.kind == "weight" and not role.indices,
                percentile=faults.percentile,
                planes=dict.fromkeys(planes, errors),
            )
    return found


def _tie(layers: Mapping[str, nn.Module], made: Mapping[str, LayerFaults]) -> None:
    """Put parameters that layers share in the cells of the first of them."""
    tied: dict[Any, list[Operand]] = {}
    for name, faults in made.items():
        for operand in faults.by_role.values():
            if operand.kind == "weight":
                tied.setdefault(_key(layers[name], operand.role), []).append(operand)
    for shared in tied.values():
        first = min(shared, key=lambda operand: operand.address)
        for operand in shared:
            operand.name, operand.address, operand.planes = first.name, first.address, first.planes


def read_functions_(model: nn.Module, watched: Watched) -> bool:
    """Put under faults what functions read outside of layers, as far as ``inject_`` was asked for it.

    Parameters of layers under faults, parameters of two or more dimensions of other modules, what products multiply
    these with, and the queries, keys and values of F.scaled_dot_product_attention come to be operands, read by
    ``eden.faults.layers.functions``. Where ``inject_`` had a filter_fn, which chooses layers, those of layers alone do.

    Args:
        model: a network under faults, in ``clean`` or not.
        watched: what the pass showed.

    Returns:
        Whether there was any.
    """
    model = bare(model)
    asked = asked_of(model)
    if asked is None:  # a memory map or a file says all that there is
        return False
    part, faults, filtered = asked
    found = {name: each for name, each in functions_of(model, watched, filtered).items() if is_inside(name, part)}
    layers = faulty_layers(model)
    first = next(iter(layers.values()))
    modules = dict(named_modules(model))
    for name, functions in found.items():
        modules[name].__dict__["eden_functions"] = functions
    eligible, _ = eligible_layers(model)
    numbers = operand_numbers(eligible)
    for name in found:
        module = eligible[name]
        if not _asked(module, faults):
            continue
        described = LayerFaults(_operands(name, module, faults, numbers), -1 if faults.batch == "contiguous" else 0)
        _tie(eligible, {**{each: layer.eden_faults for each, layer in layers.items()}, name: described})
        described.reliable = first.eden_faults.reliable
        describe(described, name, None, module)
        make_faulty(module, described, int(first.eden_chip), model_device(model))
    for name in found:
        tell_owners(modules[name])
    return bool(found)


def _move(model: nn.Module, layout: Layout) -> nn.Module:
    sizes = {name: info.bytes for name, info in operands(model).items()}
    for name, placed in layout.operands.items():
        if name in sizes and sizes[name] != placed.bytes:
            raise ValueError(
                f"operand {name} has {placed.bytes} bytes in the placement and {sizes[name]} in the network; allowed "
                "is the same size"
            )
    set_errors_(model, layout.memory)
    return model


def _inject_whole(model: nn.Module, layout: Layout) -> nn.Module:
    eligible, _ = eligible_layers(model)
    numbers = operand_numbers(eligible)
    batch_dims = sequence_batch_dims(model)
    places = {join_names(*place): number * OPERAND_SPACING_BITS for place, number in numbers.items()}
    planes: dict[str, dict[Plane, str]] = {}  # of each operand, by plane its name; of whole words that of none
    for name in layout.operands:
        operand_name, plane = operand_and_plane(name)
        planes.setdefault(operand_name, {})[plane] = name
    listed = {name: layout.operands[next(iter(of.values()))] for name, of in planes.items()}
    owner = {reader: name for name, operand in listed.items() for reader in operand.readers}
    for reader, name in owner.items():
        if reader not in places or name not in places:
            missing = reader if reader not in places else name
            raise ValueError(
                f"operand {name} of the map: the network has no {missing} that faults can reach; is the map of another "
                "network, or is it not calibrated, which finds what functions read?"
            )
    memory = layout.memory
    made: dict[str, LayerFaults] = {}
    for layer_name, layer in eligible.items():
        found: dict[str, Operand] = {}
        for role in layer_class(layer).roles(layer):
            own = join_names(layer_name, role.name)
            if own not in owner:
                continue
            name = owner[own]
            mapped = listed[name]
            if mapped.kind != role.kind:
                raise ValueError(f"operand {name} of the map is a {mapped.kind}; allowed for {own} is {role.kind}")
            operand = found[role.name] = Operand(
                name,
                role,
                places[name],
                memory.get(name),
                mapped.storage,
                mapped.correction,
                mapped.elements if role.kind == "input" else None,
                mapped.affine,
                mapped.channels,
                own=(own, places[own]),
                sample_dims=SampleDims() if mapped.samples is None else SampleDims(*mapped.samples),
                dims_known=mapped.samples is not None,
                planes={plane: memory[planes[name][plane]] for plane in sorted(planes[name], reverse=True) if plane},
            )
            elements = operand_numel(layer, operand)
            if elements != mapped.elements:
                raise ValueError(
                    f"operand {name} has {mapped.elements} elements in the map and {elements} in the network; allowed "
                    "is the same number"
                )
        if found:
            made[layer_name] = LayerFaults(found, batch_dims.get(layer_name, 0))
    exchange_layers(model, eligible, made, 0, known=False)
    bare(model).__dict__.pop(HELD_FAULTS, None)
    for layer, operand in layer_operands(model, "input"):
        mapped = listed[operand.name]
        set_range(layer, operand, mapped.low, mapped.high, mapped.magnitude)
    return model


def _asked(layer: nn.Module, faults: Faults) -> bool:
    functions = layer.__dict__.get("eden_functions")
    of_layers = functions is not None and bool(functions.owners)
    return of_layers or any(faults.model_of(role) is not None for role in layer_class(layer).roles(layer))


def _key(layer: nn.Module, role: Role) -> Any:
    """What tied parameters have in common."""
    path, _, name = role.name.rpartition(".")
    owner = layer.get_submodule(path)
    held: Tensor | None = owner._parameters.get(name)
    if held is None:
        held = owner._buffers.get(name)
    # A parametrized weight is made anew at each look, so its id says nothing.
    return (id(layer), role.name) if held is None else id(held)


def remove_(model: nn.Module) -> nn.Module:
    """Take the faults away: the same network with its trained Parameters and its layers' original classes.

    Raises:
        ValueError: if the network has no layer under faults, or inside `clean`.
    """
    restore_layers(model)
    for module in model.modules():
        module.__dict__.pop(HELD_CURRICULUM, None)
        module.__dict__.pop(HELD_FAULTS, None)
        module.__dict__.pop("eden_functions", None)
    return model
