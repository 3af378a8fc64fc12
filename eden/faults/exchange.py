"""Exchanging what layers are: under faults, under other ones, or as they were."""

from __future__ import annotations

from collections.abc import Mapping
from types import MethodType
from typing import Any, cast

import torch
from torch import nn

from eden.common.torch_internals import keeps_other_numbers
from eden.faults.buffers import new_buffers, range_of, set_range, write_region, write_regions
from eden.faults.classes import original_class
from eden.faults.faulty_layers import (
    FaultyLayer,
    LayerFaults,
    faulty_class,
    faulty_layers,
    require_faults,
)
from eden.faults.layers import stored
from eden.faults.network import model_device
from eden.faults.operand import Operand, SampleDims, operand_numel
from eden.faults.reach import check_indices, check_readable, join_names, sequence_batch_dims
from eden.faults.reliable import refuse_inside_clean


def exchange_layers(
    model: nn.Module, eligible: Mapping[str, nn.Module], made: Mapping[str, LayerFaults], seed: int, known: bool
) -> None:
    """Put layers under the faults described, in place of those that they have; keep the inputs' known ranges or not.

    Raises:
        ValueError: naming the operand that cannot be read or that its memory does not hold; nothing is changed then.
    """
    batch_dims = sequence_batch_dims(model)
    for name, faults in made.items():  # before anything changes
        describe(faults, name, batch_dims.get(name), eligible[name])
    before = [
        (name, operand, range_of(layer, operand))
        for name, layer in faulty_layers(model).items()
        for operand in layer.eden_faults.by_role.values()
        if known and operand.kind == "input"
    ]
    device = model_device(model)
    if faulty_layers(model):
        restore_layers(model)
    for name, faults in made.items():
        make_faulty(eligible[name], faults, seed, device)
    for name in made:
        tell_owners(eligible[name])
    first_readers: dict[str, Operand] = {}  # by the shared operand's name; its first layer may be left out this time
    for name, old, bounds in sorted(before, key=lambda each: each[1].own[1]):
        layer = eligible.get(name)
        if not isinstance(layer, FaultyLayer) or old.role.name not in layer.eden_faults.by_role:
            continue
        operand = layer.eden_faults.by_role[old.role.name]
        operand.absent = old.absent
        if bounds is not None:
            first = first_readers.setdefault(old.name, operand)
            operand.name, operand.address, operand.planes = first.name, first.address, dict(first.planes)
            operand.sample_numel, operand.arithmetic = old.sample_numel, old.arithmetic
            if old.dims_known:
                operand.sample_dims, operand.dims_known = old.sample_dims, True
            set_range(layer, operand, *bounds, old.magnitude)
            write_region(layer, operand)
    _use_layers_one_by_one(model)


def describe(faults: LayerFaults, name: str, around: int | None, layer: nn.Module) -> None:
    """Say what is known of a layer's operands before calibration.

    Args:
        faults: what the layer is to be under.
        name: of the layer.
        around: dimension of the samples in a layer of sequences around it, None for none.
        layer: as it is or will be.

    Raises:
        ValueError: naming the operand that cannot be read or that its memory does not hold.
    """
    for operand in faults.by_role.values():
        _set_dims(operand, faults.batch_dim, around)
        if not operand.own[0]:
            operand.own = join_names(name, operand.role.name), operand.address
        if operand.kind == "weight":
            held = stored(layer, operand.role.name)
            full = join_names(name, operand.role.name)
            if operand.role.indices or operand.storage == "int32":
                check_indices(full, layer, operand)
            else:
                check_readable(full, layer, held, operand.storage)
            operand.packed = keeps_other_numbers(held)
            if operand.packed:  # none of its codes is implausible
                operand.correction = "none"
        operand.rows(False, operand_numel(layer, operand))


def _set_dims(operand: Operand, batch_dim: int, around: int | None) -> None:
    """Where the samples of an input are, and whether each has cells of its own (``batch_dim`` is -1 then)."""
    role = operand.role
    dim = (around or 0) if batch_dim < 0 else batch_dim
    # Of a sequence, a sample has a dimension more.
    sequences = around is not None or dim > 0
    dims = role.batched_dims + (1 if role.batch_dim is None and sequences else 0)
    operand.assumed_dims = SampleDims(dim if role.batch_dim is None else role.batch_dim, dims=dims)
    if not operand.dims_known:
        operand.sample_dims = operand.assumed_dims
    operand.contiguous = batch_dim < 0


def _use_layers_one_by_one(model: nn.Module) -> None:
    # In inference nn.TransformerEncoderLayer hands its layers' weights to one fused kernel and calls none of them,
    # unless it believes that its activation is one the kernel lacks.
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer) and faulty_layers(module):
            module.__dict__.setdefault("_eden_activation", module.activation_relu_or_gelu)
            module.activation_relu_or_gelu = 0
        # And nn.TransformerEncoder packs a padded batch into a nested tensor, which has no addresses, for that kernel.
        if isinstance(module, nn.TransformerEncoder) and faulty_layers(module):
            module.__dict__.setdefault("_eden_nested", module.use_nested_tensor)
            module.use_nested_tensor = False


def restore_layers(model: nn.Module) -> None:
    """Give every layer under faults its own class back. Raises ValueError if there is none, or inside `clean`."""
    layers = require_faults(model)
    refuse_inside_clean(model, "remove_")
    originals = {layer: original_class(type(layer)) for layer in layers.values()}  # before anything changes
    for layer, original in originals.items():
        make_original(layer, original)
    for module in model.modules():
        if "_eden_activation" in module.__dict__:
            module.activation_relu_or_gelu = module.__dict__.pop("_eden_activation")
        if "_eden_nested" in module.__dict__:
            module.use_nested_tensor = module.__dict__.pop("_eden_nested")


def make_faulty(module: nn.Module, faults: LayerFaults, seed: int, device: torch.device) -> FaultyLayer:
    """Exchange the class of a layer and give it its buffers."""
    original = type(module)
    module.__class__ = faulty_class(original)
    _bind_forward(module, original.forward, FaultyLayer.forward)
    layer = cast(FaultyLayer, module)
    layer.eden_faults = faults
    faults.seed = seed
    buffers = {
        "eden_chip": torch.tensor(seed, dtype=torch.int64, device="cpu"),
        "eden_access": torch.tensor(0, dtype=torch.int64, device="cpu"),
        "eden_training_chip": torch.tensor(seed, dtype=torch.int64, device="cpu"),
        "eden_training_access": torch.tensor(0, dtype=torch.int64, device="cpu"),
    }
    for operand in faults.by_role.values():
        buffers |= new_buffers(operand)
    for name, value in buffers.items():
        layer.register_buffer(name, value.to(device), persistent=False)
    write_regions(layer)
    return layer


def tell_owners(module: nn.Module) -> None:
    """Tell the layers inside of a module whose functions read operands, and those whose parameters they read."""
    functions = module.__dict__.get("eden_functions")
    if functions is None:
        return
    for inside in module.modules():
        if inside is not module and isinstance(inside, FaultyLayer):
            inside.eden_faults.inside = True
    for owner, *_ in functions.owners:
        if isinstance(owner, FaultyLayer):
            owner.eden_faults.read_elsewhere = True


def _bind_forward(module: nn.Module, before: Any, after: Any) -> None:
    """Exchange the forward pass that others keep in a module, such as accelerate's hooks do."""
    for name, value in module.__dict__.items():
        if isinstance(value, MethodType) and value.__func__ is before and value.__self__ is module:
            module.__dict__[name] = MethodType(after, module)


def make_original(layer: FaultyLayer, original: type[nn.Module]) -> nn.Module:
    """Give a layer its own class back and take its buffers away."""
    module: nn.Module = layer
    for name in [name for name in module._buffers if name.startswith("eden_")]:
        delattr(module, name)
    del module.__dict__["eden_faults"]
    module.__class__ = original
    _bind_forward(module, FaultyLayer.forward, original.forward)
    return module
