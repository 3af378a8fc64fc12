"""Putting a network's loads under the faults of a memory, and taking them away again."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from eden import _core
from eden.faults.faulty_layers import (
    FIRST_RELIABLE_PART,
    OPERAND_SPACING_BITS,
    FaultyLayer,
    LayerFaults,
    Operand,
    make_faulty,
    make_original,
    operand_numel,
    range_of,
    set_range,
    write_region,
)
from eden.faults.layers import LAYERS, PARTS, Role, base_of, layer_class
from eden.memory import operators as ops
from eden.memory import storage as quantization
from eden.memory.errors import ErrorModel
from eden.memory.operators import Memory, Piece

FilterFn = Callable[[str, nn.Module], bool]


@runtime_checkable
class Layout(Protocol):
    """Where operands lie and what makes errors there, as ``eden.Placement`` and ``eden.MemoryMap`` say it."""

    @property
    def whole(self) -> bool:
        """Whether ``operands`` say all of them (storage, range, readers) and not their places alone."""

    @property
    def operands(self) -> Mapping[str, Any]:
        """By name: ``bytes``; of a whole layout also ``kind``, ``elements``, ``storage``, ``low`` and the like."""

    @property
    def memory(self) -> Mapping[str, tuple[Piece, ...]]:
        """The pieces of memory that hold each operand, in order: error model, first bit, number of bits."""


_STORAGES = tuple(name for name in ops.STORAGES if name != "int32")


HELD_CURRICULUM = "_eden_curriculum"
"""The attribute of a network that keeps its curriculum alive."""


def _check_seed(name: str, seed: Any) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"{name} is a {type(seed).__name__}; allowed is an int")
    if not -(2**63) <= seed < 2**63:
        raise ValueError(f"{name} is {seed}; allowed is a 64-bit integer")


@dataclasses.dataclass(frozen=True)
class Faults:
    """Which memory a network's operands are in.

    Args:
        weights: error model of the memory that holds the weights, None for a reliable one.
        inputs: error model of the memory that holds the input feature maps, None for a reliable one.
        storage: the form in which the memory keeps values: "float32", "float16", "bfloat16", "float8_e4m3fn",
            "float8_e5m2"; codes of "int16", "int8", "uint8" or "int4" bits, or of a sign and a magnitude:
            "int16_sign_magnitude", "int8_sign_magnitude", "int4_sign_magnitude"; or "sign", one bit, read as plus or
            minus the operand's mean magnitude. Codes cover the range of a weight at each forward pass, and that of an
            input as calibrated.
        correction: what becomes of an implausible value, one outside its operand's range, NaN or infinite, on every
            load: "none" leaves it, "zero" replaces it by 0, "clamp" by the nearer end of the range.
        seed: which chip.
        batch: "restart" reads every sample of a batch from the same cells, as a device that runs one sample at a time
            does; "contiguous" gives each sample cells of its own.
        quantization: of codes, "symmetric" (int8: -127 to 127) or "affine" (a zero point, so that the codes just cover
            a range that is not symmetric). uint8 always has a zero point, which is 0 where no value is negative.
        weight_channels: whether each output channel of a weight has a scale of its own, instead of one per weight; of
            codes and "sign".
        parameters: which parameters are in the memory of the weights: "weight", all matrices, kernels and tables;
            "bias", what layers add; "normalization", the parameters and running statistics of normalization layers.
            What is not named is reliable.
        input_storage: the form in which the memory keeps the inputs, None for that of the weights. Numbers around 0, as
            weights are, suffer least from flips as "int8_sign_magnitude", and those that are never negative as "uint8".
    """

    weights: ErrorModel | None = None
    inputs: ErrorModel | None = None
    storage: str = "float32"
    correction: str = "none"
    seed: int = 0
    batch: str = "restart"
    quantization: str = "symmetric"
    weight_channels: bool = False
    parameters: tuple[str, ...] = ("weight",)
    input_storage: str | None = None

    def __post_init__(self) -> None:
        for name in ("weights", "inputs"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, ErrorModel):
                raise TypeError(
                    f"Faults.{name} is a {type(value).__name__}; allowed is an error model such as "
                    "eden.Uniform(ber=1e-3), or None"
                )
        if self.weights is None and self.inputs is None:
            raise ValueError("Faults has neither weights nor inputs; give an error model for one of them")
        for name, allowed in (
            ("storage", _STORAGES),
            ("input_storage", (None, *_STORAGES)),
            ("correction", ops.CORRECTIONS),
            ("batch", ("restart", "contiguous")),
            ("quantization", ("symmetric", "affine")),
        ):
            if getattr(self, name) not in allowed:
                names = ", ".join(str(value) for value in allowed)
                raise ValueError(f"Faults.{name} is {getattr(self, name)!r}; allowed are {names}")
        for storage in (self.storage, self.storage_of("input")) if self.quantization == "affine" else ():
            if storage not in quantization.CODE_BITS or storage in quantization.SYMMETRIC:
                kept = "a sign and a magnitude" if storage in quantization.SYMMETRIC else "which keeps no codes"
                raise ValueError(
                    f"Faults.quantization is 'affine'; allowed with storage {storage!r}, {kept}, is 'symmetric'"
                )
        if not isinstance(self.weight_channels, bool):
            raise TypeError(f"Faults.weight_channels is a {type(self.weight_channels).__name__}; allowed is a bool")
        if self.weight_channels and self.storage not in (*quantization.CODE_BITS, "sign"):
            raise ValueError(
                f"Faults.weight_channels is True; allowed with storage {self.storage!r}, which has no scale, is False"
            )
        _check_seed("Faults.seed", self.seed)
        if not isinstance(self.parameters, (tuple, list)):
            raise TypeError(
                f"Faults.parameters is a {type(self.parameters).__name__}; allowed is a tuple of {', '.join(PARTS)}"
            )
        unknown = [part for part in self.parameters if part not in PARTS]
        if unknown or not self.parameters:
            found = ", ".join(map(repr, unknown)) or "nothing"
            raise ValueError(f"Faults.parameters names {found}; allowed are one or more of {', '.join(PARTS)}")
        object.__setattr__(self, "parameters", tuple(self.parameters))

    def storage_of(self, kind: str) -> str:
        """The form in which the memory keeps operands of a kind, "weight" or "input"."""
        return self.input_storage if kind == "input" and self.input_storage is not None else self.storage

    def model_of(self, role: Role) -> ErrorModel | None:
        """The error model of the memory that an operand is in, None where it stays reliable."""
        if role.kind == "input":
            return self.inputs
        return self.weights if role.part in self.parameters else None


@dataclasses.dataclass(frozen=True)
class OperandInfo:
    """One operand of a network under faults.

    Attributes:
        name: ``layer.role``, such as ``conv1.weight``, ``conv1.input`` or ``attention.query``.
        kind: "weight" of a parameter or buffer, "input" of a feature map.
        bytes: size in its storage; of an input, one sample's; None for an input before `calibrate_`.
        errors: its error model; or the pieces of memory that it lies in (`set_errors_`).
        storage: the form in which the memory keeps it.
        address: its first bit.
        loads: how often it was read since the chip was set.
        layers: the layers that read it.
    """

    name: str
    kind: str
    bytes: int | None
    errors: Memory
    storage: str
    address: int
    loads: int
    layers: tuple[str, ...]


def faulty_layers(model: nn.Module) -> dict[str, FaultyLayer]:
    """The layers of a network that are under faults, by name, in ``named_modules`` order."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, FaultyLayer)}


def _require_faults(model: nn.Module) -> dict[str, FaultyLayer]:
    layers = faulty_layers(model)
    if not layers:
        raise ValueError(f"{type(model).__name__} has no layer under faults; call eden.inject_ first")
    return layers


def refuse_inside_clean(model: nn.Module, what: str) -> None:
    """Raise ValueError if a network is on reliable memory for a moment, ``what`` being what was called there."""
    if any(layer._eden.reliable for layer in faulty_layers(model).values()):
        raise ValueError(f"{type(model).__name__} is on reliable memory; call {what} outside of eden.clean")


def _ineligible(layer: nn.Module, base: type[nn.Module]) -> str | None:
    """Why a layer of a known class cannot be put under faults, None if it can."""
    if isinstance(layer, nn.modules.lazy.LazyModuleMixin) and layer.has_uninitialized_params():
        return "not initialized yet: run a forward pass before inject_"
    if type(layer).forward is not base.forward and not isinstance(layer, FaultyLayer):
        return f"{type(layer).__name__} computes its own forward"
    return None


def _eligible_layers(model: nn.Module) -> tuple[dict[str, nn.Module], dict[str, str]]:
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


def _numbers(eligible: Mapping[str, nn.Module]) -> dict[tuple[str, str], int]:
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


def _join(layer: str, role: str) -> str:
    return f"{layer}.{role}" if layer else role


def _batch_dims(model: nn.Module) -> dict[str, int]:
    """Batch dimension of the layers inside transformer layers, which read sequences: 1 if those are first, else 0."""
    dims: dict[str, int] = {}
    for name, module in model.named_modules():
        if isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
            dim = 0 if module.self_attn.batch_first else 1
            dims.update({_join(name, child): dim for child, _ in module.named_modules() if child})
    return dims


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
        ValueError: if no layer is left to put under faults, if a memory does not hold an operand at its address (give
            its place with `set_errors_`), if a map or placement is of another network, or inside `clean`; nothing is
            changed then.
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
    eligible, left_out = _eligible_layers(model)
    reached = {name: layer for name, layer in eligible.items() if _asked(layer, faults)}
    chosen = {name for name, layer in reached.items() if filter_fn is None or filter_fn(name, layer)}
    if not chosen:
        types = sorted({type(module).__name__ for module in model.modules()})
        detail = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise ValueError(
            f"{type(model).__name__} has no layer to put under faults: found {', '.join(types)}"
            + (f" ({detail})" if detail else "")
            + f"; allowed are {', '.join(base.__name__ for base in LAYERS)}"
            + (f", of which filter_fn refused all {len(reached)}" if reached else "")
        )
    numbers = _numbers(eligible)
    batch_dims = _batch_dims(model)
    tied: dict[Any, list[Operand]] = {}  # by Parameter or buffer
    made: dict[str, LayerFaults] = {}
    for name, layer in eligible.items():
        if name not in chosen:
            continue
        operands: dict[str, Operand] = {}
        for role in layer_class(layer).roles(layer):
            errors = faults.model_of(role)
            if errors is None:
                continue
            operand = Operand(
                _join(name, role.name),
                role,
                numbers[name, role.name] * OPERAND_SPACING_BITS,
                errors,
                faults.storage_of(role.kind),
                faults.correction,
                affine=faults.quantization == "affine",
                channels=faults.weight_channels and role.kind == "weight",
            )
            if role.kind == "weight":
                tied.setdefault(_key(layer, role), []).append(operand)
            operands[role.name] = operand
        made[name] = LayerFaults(operands, -1 if faults.batch == "contiguous" else batch_dims.get(name, 0))
    for shared in tied.values():  # in the cells of the first of them
        name, address = min(((operand.name, operand.address) for operand in shared), key=lambda place: place[1])
        for operand in shared:
            operand.name, operand.address = name, address
    _exchange(model, eligible, made, faults.seed, known=True)
    return model


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
    eligible, _ = _eligible_layers(model)
    numbers = _numbers(eligible)
    batch_dims = _batch_dims(model)
    places = {_join(*place): number * OPERAND_SPACING_BITS for place, number in numbers.items()}
    owner = {reader: name for name, operand in layout.operands.items() for reader in operand.readers}
    for reader, name in owner.items():
        if reader not in places or name not in places:
            missing = reader if reader not in places else name
            raise ValueError(
                f"operand {name} of the map: the network has no {missing} that faults can reach; is the map of another "
                "network?"
            )
    memory = layout.memory
    made: dict[str, LayerFaults] = {}
    for layer_name, layer in eligible.items():
        found: dict[str, Operand] = {}
        for role in layer_class(layer).roles(layer):
            own = _join(layer_name, role.name)
            if own not in owner:
                continue
            name = owner[own]
            mapped = layout.operands[name]
            if mapped.kind != role.kind:
                raise ValueError(f"operand {name} of the map is a {mapped.kind}; allowed for {own} is {role.kind}")
            operand = found[role.name] = Operand(
                name,
                role,
                places[name],
                memory[name],
                mapped.storage,
                mapped.correction,
                mapped.elements if role.kind == "input" else None,
                mapped.affine,
                mapped.channels,
                own=(own, places[own]),
            )
            elements = operand_numel(layer, operand)
            if elements != mapped.elements:
                raise ValueError(
                    f"operand {name} has {mapped.elements} elements in the map and {elements} in the network; allowed "
                    "is the same number"
                )
        if found:
            made[layer_name] = LayerFaults(found, batch_dims.get(layer_name, 0))
    _exchange(model, eligible, made, 0, known=False)
    for layer in faulty_layers(model).values():
        for operand in layer._eden.by_role.values():
            if operand.kind == "input":
                mapped = layout.operands[operand.name]
                set_range(layer, operand, mapped.low, mapped.high, mapped.magnitude)
    return model


def _asked(layer: nn.Module, faults: Faults) -> bool:
    return any(faults.model_of(role) is not None for role in layer_class(layer).roles(layer))


def _key(layer: nn.Module, role: Role) -> Any:
    """What tied parameters have in common."""
    path, _, name = role.name.rpartition(".")
    owner = layer.get_submodule(path)
    held: Tensor | None = owner._parameters.get(name)
    if held is None:
        held = owner._buffers.get(name)
    # A parametrized weight is made anew at each look, so its id says nothing.
    return (id(layer), role.name) if held is None else id(held)


def _exchange(
    model: nn.Module, eligible: Mapping[str, nn.Module], made: Mapping[str, LayerFaults], seed: int, known: bool
) -> None:
    """Put layers under the faults described, in place of those that they have; keep the inputs' known ranges or not.

    Raises:
        ValueError: naming the operand that its memory does not hold; nothing is changed then.
    """
    batch_dims = _batch_dims(model)
    for name, faults in made.items():  # before anything changes
        for operand in faults.by_role.values():
            _set_dims(operand, faults.batch_dim, batch_dims.get(name))
            if not operand.own[0]:
                operand.own = operand.name, operand.address
            try:
                operand.rows(False, operand_numel(eligible[name], operand))
            except ValueError as error:
                raise ValueError(f"the errors of {operand.name}: {error}") from error
    before = [
        (name, operand, range_of(layer, operand))
        for name, layer in faulty_layers(model).items()
        for operand in layer._eden.by_role.values()
        if known and operand.kind == "input"
    ]
    device = model_device(model)
    if faulty_layers(model):
        _take_away(model)
    for name, faults in made.items():
        make_faulty(eligible[name], faults, seed, device)
    first_readers: dict[str, Operand] = {}  # by the shared operand's name; its first layer may be left out this time
    for name, old, bounds in sorted(before, key=lambda each: each[1].own[1]):
        layer = model.get_submodule(name)
        if not isinstance(layer, FaultyLayer) or old.role.name not in layer._eden.by_role:
            continue
        operand = layer._eden.by_role[old.role.name]
        operand.absent = old.absent
        if bounds is not None:
            first = first_readers.setdefault(old.name, operand)
            operand.name, operand.address = first.name, first.address
            operand.sample_numel = old.sample_numel
            set_range(layer, operand, *bounds, old.magnitude)
            write_region(layer, operand)
    _use_layers_one_by_one(model)


def _set_dims(operand: Operand, batch_dim: int, around: int | None) -> None:
    """Where the samples of an input are, and whether each has cells of its own (``batch_dim`` is -1 then)."""
    role = operand.role
    dim = (around or 0) if batch_dim < 0 else batch_dim
    # Of a sequence, a sample has a dimension more.
    sequences = around is not None or dim > 0
    operand.batched_dims = role.batched_dims + (1 if role.batch_dim is None and sequences else 0)
    operand.batch_dim = dim if role.batch_dim is None else role.batch_dim
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


def remove_(model: nn.Module) -> nn.Module:
    """Take the faults away: the same network with its trained Parameters and its layers' original classes.

    Raises:
        ValueError: if the network has no layer under faults, or inside `clean`.
    """
    _take_away(model)
    for module in model.modules():
        module.__dict__.pop(HELD_CURRICULUM, None)
    return model


def _take_away(model: nn.Module) -> None:
    layers = _require_faults(model)
    refuse_inside_clean(model, "remove_")
    for layer in layers.values():
        make_original(layer)
    for module in model.modules():
        if "_eden_activation" in module.__dict__:
            module.activation_relu_or_gelu = module.__dict__.pop("_eden_activation")
        if "_eden_nested" in module.__dict__:
            module.use_nested_tensor = module.__dict__.pop("_eden_nested")


@contextlib.contextmanager
def clean(model: nn.Module) -> Iterator[nn.Module]:
    """Reliable memory for a moment: no flips and no correction, the same storage; access numbers do not advance.

    Raises:
        ValueError: if the network has no layer under faults.
    """
    layers = _require_faults(model)
    accesses = [(layer.eden_access.clone(), layer.eden_training_access.clone()) for layer in layers.values()]
    for layer in layers.values():
        layer._eden.reliable += 1
        for operand in layer._eden.by_role.values():
            write_region(layer, operand)
    try:
        yield model
    finally:
        for layer, (access, training_access) in zip(layers.values(), accesses, strict=True):
            layer._eden.reliable -= 1
            layer.eden_access.copy_(access)
            layer.eden_training_access.copy_(training_access)
            for operand in layer._eden.by_role.values():
                write_region(layer, operand)


def operands(model: nn.Module) -> dict[str, OperandInfo]:
    """The operands of a network that are under faults, in the order of their addresses.

    Raises:
        ValueError: if the network has no layer under faults.
    """
    found: dict[str, OperandInfo] = {}
    for layer_name, layer in _require_faults(model).items():
        loads = int(layer.eden_access) + int(layer.eden_training_access)
        for operand in layer._eden.operands():
            if operand.name in found:
                info = found[operand.name]
                if layer_name not in info.layers:
                    found[operand.name] = dataclasses.replace(
                        info, loads=info.loads + loads, layers=(*info.layers, layer_name)
                    )
                continue
            numel = operand_numel(layer, operand)
            size = None if numel is None else -(-numel * ops.STORAGE_BITS[operand.storage] // 8)
            found[operand.name] = OperandInfo(
                operand.name, operand.kind, size, operand.errors, operand.storage, operand.address, loads, (layer_name,)
            )
    return dict(sorted(found.items(), key=lambda item: item[1].address))


def scalable_errors(model: nn.Module) -> dict[str, ErrorModel]:
    """The error models of the operands that have one, which can be brought to other rates.

    Raises:
        ValueError: for an operand that lies in pieces of memory with different error models, or a network without a
            layer under faults.
    """
    found: dict[str, ErrorModel] = {}
    for name, info in operands(model).items():
        pieces = info.errors if isinstance(info.errors, tuple) else ((info.errors, info.address, 0),)
        errors = pieces[0][0]
        if any(other != errors for other, _, _ in pieces):
            raise ValueError(
                f"{name} lies in {len(pieces)} pieces of memory, which have no common rate; allowed is one error model "
                "for all of them (eden.set_errors_)"
            )
        if errors is not None:
            found[name] = errors
    return found


def set_scaled_errors_(model: nn.Module, errors: Mapping[str, ErrorModel]) -> None:
    """``set_errors_`` of what `scalable_errors` gave, at other rates: an operand in pieces of memory stays in them."""
    places = {name: info.errors for name, info in operands(model).items()}

    def placed(name: str) -> ErrorModel | Sequence[Piece]:
        place = places.get(name)  # set_errors_ refuses a name that is none
        if not isinstance(place, tuple):
            return errors[name]
        return [(errors[name], address, bits) for _, address, bits in place]

    set_errors_(model, {name: placed(name) for name in errors})


def set_errors_(model: nn.Module, errors: Mapping[str, ErrorModel | Sequence[Piece] | None]) -> None:
    """Change the error models of operands, in place.

    A compiled network is not compiled again, unless the number of an operand's pieces or the size of their models'
    table changes; all populations of lines have tables of one size.

    Args:
        model: a network under faults.
        errors: by operand name: the error model of the memory, the operand staying at its address; or the pieces of
            memory that hold it, in order, each a tuple (error model or None, first bit, bits), as a placement gives
            them; None makes an operand reliable, its storage and correction kept. After pieces, a single model holds
            at the operand's own address again.

    Raises:
        ValueError: for a name that is no operand of the network, or a memory that does not hold the operand; nothing is
            changed then.
        TypeError: for a value that is no error model and no pieces; nothing is changed then.
    """
    layers = _require_faults(model)
    names = {operand.name for layer in layers.values() for operand in layer._eden.by_role.values()}
    memories: dict[str, Memory] = {}
    for name, value in errors.items():
        if name not in names:
            raise ValueError(f"{name!r} is no operand under faults; allowed are {', '.join(sorted(names))}")
        if value is None or isinstance(value, ErrorModel):
            memories[name] = value
        elif isinstance(value, (list, tuple)) and all(isinstance(p, (list, tuple)) and len(p) == 3 for p in value):
            memories[name] = tuple((memory, address, bits) for memory, address, bits in value)
        else:
            raise TypeError(
                f"the errors of {name} are a {type(value).__name__}; allowed is an error model, a list of pieces "
                "(errors, address, bits), or None"
            )
    changed = [
        (layer, operand)
        for layer in layers.values()
        for operand in layer._eden.by_role.values()
        if operand.name in memories
    ]
    for layer, operand in changed:
        try:
            dataclasses.replace(operand, errors=memories[operand.name]).rows(False, operand_numel(layer, operand))
        except (TypeError, ValueError) as error:
            raise type(error)(f"the errors of {operand.name}: {error}") from error
    for layer, operand in changed:
        operand.errors = memories[operand.name]
        write_region(layer, operand)


def set_chip_(model: nn.Module, seed: int) -> None:
    """Put a network's operands on another chip, in evaluation and in training, access numbers back to 0.

    Args:
        model: a network under faults.
        seed: a 64-bit integer.

    Raises:
        TypeError, ValueError: for a seed that is none; also if the network has no layer under faults.
    """
    _check_seed("seed", seed)
    for layer in _require_faults(model).values():
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
    _check_seed("seed", seed)
    for layer in _require_faults(model).values():
        layer.eden_training_chip.fill_(seed)


def chip(model: nn.Module) -> int:
    """Seed of the chip that a network's operands are on in evaluation."""
    return int(next(iter(_require_faults(model).values())).eden_chip)


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


def bare(model: nn.Module) -> nn.Module:
    """The network itself inside of what torch.compile, DataParallel and DistributedDataParallel make of it."""
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = cast(nn.Module, model._orig_mod)
        else:
            return model


def model_input(batch: Any) -> Any:
    """The network's input in a batch of a loader: the batch itself, or the first of a tuple or list."""
    return batch[0] if isinstance(batch, (tuple, list)) else batch


def model_device(model: nn.Module) -> torch.device:
    """The device of a network's first Parameter or buffer; the CPU for a network without any."""
    tensor = next(itertools.chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device


def calibrate_(model: nn.Module, loader: Iterable[Any], percentile: float = 100.0) -> dict[str, tuple[float, float]]:
    """Find the ranges and shapes of every operand on reliable memory, in evaluation mode.

    An input's range is the smallest and largest value over all of ``loader``, its size that of the largest sample; in
    "sign" storage its scale is the mean magnitude over all of it. Layers that read the same tensor objects in every
    forward pass come to share one operand. An input that a layer can do without, such as a recurrent layer's hidden
    state, and that no forward pass gives, is no operand afterwards.

    Args:
        model: a network under faults.
        loader: yields inputs, or tuples whose first item is the input.
        percentile: share of an input's values, in percent, that its range holds counted from either side, above 50 to
            100. Below 100 the few largest values are clipped to codes, and the harm of a flip, which grows with the
            range, is less. For floating-point storages leave it at 100 with ``correction="zero"``: what is beyond the
            range is not clipped but replaced by 0, at every load. Met to one part in 128
            (``eden.memory.storage.ValueCounts``).

    Returns:
        The ranges, as ``ranges``.

    Raises:
        ValueError: if the network has no layer under faults, the loader is empty, a value is not finite, a layer is
            never called, or the percentile is out of range.
    """
    if not 50.0 < percentile <= 100.0:
        raise ValueError(f"percentile is {percentile}; allowed is above 50 to 100")
    layers = _require_faults(model)
    watch = _Calibration(layers, percentile)
    modes = [(module, module.training) for module in model.modules()]
    device = model_device(model)
    model.eval()
    for layer in layers.values():
        layer._eden.observer = watch
    try:
        # A DataLoader draws from torch's global generator even where it does not shuffle.
        with torch.random.fork_rng(devices=[]), clean(model), torch.no_grad():
            for batch in loader:
                x = model_input(batch)
                model(x.to(device) if isinstance(x, Tensor) else x)
                watch.end_batch()
    finally:
        # One by one: a layer can be in another mode than the network, such as a frozen normalization.
        for module, training in modes:
            module.training = training
        for layer in layers.values():
            layer._eden.observer = None
    if watch.batches == 0:
        raise ValueError("loader yielded no batch; calibration needs at least one")
    unread = watch.unread()
    if unread:
        raise ValueError(
            f"{', '.join(unread)}: never called in a forward pass, so faults would not reach them; leave them out with "
            "filter_fn, or call them"
        )
    watch.settle()
    return ranges(model)


def _outgrown(layer: FaultyLayer, operand: Operand) -> bool:
    """Whether values beyond its calibrated range are taken for errors, instead of being clipped to it."""
    numbers = operand.kind == "input" and operand.storage not in (*quantization.CODE_BITS, "sign")
    return numbers and operand.correction != "none" and operand.calibrated


def recalibrate_(model: nn.Module, loader: Iterable[Any]) -> dict[str, tuple[float, float]]:
    """Take the ranges of inputs anew where a network that was trained on would have its own values taken for errors.

    These are the inputs that are kept as floating-point numbers with a correction, and that `calibrate_` has seen: a
    value beyond the range is replaced at every load, with or without an error. Codes are clipped to their range
    instead, and keep it, as do weights, whose range is always their current one. The loop of `boosting.training` does
    this after each epoch; call it there in a loop of your own.

    Args:
        model: a network under faults.
        loader: as of `calibrate_`.

    Returns:
        The ranges that were taken anew, by operand; empty, without a pass over ``loader``, if no input is of that kind.

    Raises:
        ValueError: as `calibrate_`.
    """
    inputs = [
        (layer, operand)
        for layer in _require_faults(model).values()
        for operand in layer._eden.by_role.values()
        if operand.kind == "input"
    ]
    if not any(_outgrown(layer, operand) for layer, operand in inputs):
        return {}
    kept = [
        (layer, operand, bounds, operand.magnitude)
        for layer, operand in inputs
        if not _outgrown(layer, operand) and (bounds := range_of(layer, operand)) is not None
    ]
    found = calibrate_(model, loader)
    for layer, operand, bounds, magnitude in kept:
        set_range(layer, operand, *bounds, magnitude)
    return {operand.name: found[operand.name] for layer, operand in inputs if _outgrown(layer, operand)}


@dataclasses.dataclass
class _Seen:
    """What calibration saw of one input of one layer."""

    layer: FaultyLayer
    operand: Operand
    low: float = math.inf
    high: float = -math.inf
    sample_numel: int = 0
    magnitude: float = 0.0  # sum over as many values as count says
    count: int = 0
    values: quantization.ValueCounts | None = None  # where a percentile is asked for
    reads: list[Tensor] = dataclasses.field(default_factory=list)  # of the batch at hand; held, so that ids stay theirs
    first_readers: list[int | None] = dataclasses.field(default_factory=list)  # of the same tensors, by batch

    def read(self, x: Tensor) -> None:
        operand = self.operand
        smallest, largest = (float(value) for value in torch.aminmax(x))
        if not (math.isfinite(smallest) and math.isfinite(largest)):
            raise ValueError(f"{operand.own[0]} has a value that is not finite on reliable memory")
        self.low, self.high = min(self.low, smallest), max(self.high, largest)
        if self.values is not None:
            self.values.add(x)
        if operand.storage == "sign":
            self.magnitude += float(x.detach().abs().sum(dtype=torch.float64))
            self.count += x.numel()
        self.reads.append(x)
        samples = 1 if operand.unbatched(x) else x.shape[operand.batch_dim]
        self.sample_numel = max(self.sample_numel, x.numel() // samples)


class _Calibration:
    """What a network's inputs are on reliable memory: their ranges and sizes, and which layers read the same ones."""

    def __init__(self, layers: Mapping[str, FaultyLayer], percentile: float) -> None:
        self.batches = 0
        self._percentile = percentile
        self._layers = layers
        self._called: set[int] = set()
        self._seen = {
            id(operand): _Seen(layer, operand, values=quantization.ValueCounts() if percentile < 100.0 else None)
            for layer in layers.values()
            for operand in layer._eden.by_role.values()
            if operand.kind == "input"
        }
        for seen in self._seen.values():
            seen.operand.absent = False

    def called(self, layer: FaultyLayer) -> None:
        self._called.add(id(layer))

    def read(self, layer: FaultyLayer, operand: Operand, x: Tensor) -> None:
        if x.numel() > 0:  # an expert can get no token
            self._seen[id(operand)].read(x)

    def end_batch(self) -> None:
        self.batches += 1
        first: dict[tuple[int, ...], int] = {}
        for number, seen in self._seen.items():
            key = tuple(id(x) for x in seen.reads)
            seen.first_readers.append(first.setdefault(key, number) if key else None)
            seen.reads.clear()

    def unread(self) -> list[str]:
        """The layers that no forward pass reached."""
        names = []
        for name, layer in self._layers.items():
            needed = [self._seen[id(x)] for x in layer._eden.by_role.values() if x.kind == "input"]
            missed = any(seen.sample_numel == 0 for seen in needed if not seen.operand.role.optional)
            if missed or id(layer) not in self._called:
                names.append(name)
        return names

    def settle(self) -> None:
        """Give every input its range and size, and the place that it shares with others."""
        owners: dict[tuple[int | None, ...], Operand] = {}
        for seen in sorted(self._seen.values(), key=lambda seen: seen.operand.own[1]):
            operand = seen.operand
            if seen.sample_numel == 0:
                operand.absent = True
                continue
            low, high = seen.low, seen.high
            if seen.values is not None:
                inner_low, inner_high = seen.values.range(self._percentile)
                low, high = max(low, inner_low), min(high, inner_high)
            set_range(seen.layer, operand, low, high, seen.magnitude / seen.count if seen.count else None)
            operand.sample_numel = seen.sample_numel
            operand.name, operand.address = owners.setdefault(tuple(seen.first_readers), operand).own
            write_region(seen.layer, operand)


def ranges(model: nn.Module) -> dict[str, tuple[float, float]]:
    """Smallest and largest plausible value of every operand: of a weight its current ones, of an input the calibrated.

    An input that was not calibrated is not in the result.

    Raises:
        ValueError: if the network has no layer under faults.
    """
    found: dict[str, tuple[float, float]] = {}
    for layer in _require_faults(model).values():
        for operand in layer._eden.operands():
            bounds = range_of(layer, operand)
            if bounds is not None:
                found[operand.name] = bounds
    return found


def set_ranges_(model: nn.Module, new: Mapping[str, tuple[float, float]]) -> None:
    """Set the ranges of input operands by hand; the mean magnitude that "sign" storage needs stays as calibrated.

    Args:
        model: a network under faults.
        new: (low, high) by operand name; ``low`` is at most ``high``, both finite.

    Raises:
        ValueError: for a name that is no input under faults, a weight (its range is always its current one), or a range
            that is not finite or upside down; nothing is changed then.
    """
    layers = _require_faults(model)
    inputs = [
        (layer, operand) for layer in layers.values() for operand in layer._eden.operands() if operand.kind == "input"
    ]
    names = {operand.name for _, operand in inputs}
    for name, (low, high) in new.items():
        if name not in names:
            raise ValueError(f"{name!r} is no input under faults; allowed are {', '.join(sorted(names))}")
        if not (torch.isfinite(torch.tensor([low, high])).all() and low <= high):
            raise ValueError(f"the range of {name} is ({low}, {high}); allowed are finite numbers, low at most high")
    for layer, operand in inputs:
        if operand.name in new:
            set_range(layer, operand, *new[operand.name], operand.magnitude)
