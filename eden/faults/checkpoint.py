"""Saving a network under faults: weights, ranges and faults in one safetensors file with a JSON header."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from eden import _core
from eden.common.files import FileError, read_tensors, write_tensors
from eden.common.torch_internals import keeps_other_numbers
from eden.faults.buffers import range_of, set_range
from eden.faults.exchange import exchange_layers
from eden.faults.faulty_layers import FaultyLayer, LayerFaults, faulty_layers
from eden.faults.layers import layer_class
from eden.faults.layers.functions import Functions
from eden.faults.memories import operands
from eden.faults.network import HELD_FAULTS, bare, named_modules, plain_names
from eden.faults.operand import OPERAND_SPACING_BITS, Operand, SampleDims
from eden.faults.reach import eligible_layers, join_names, operand_numbers
from eden.faults.reliable import refuse_inside_clean
from eden.memory.errors import ErrorModel
from eden.memory.planes import plane_of, plane_text
from eden.memory.region import Memory


class _SavedPlane(BaseModel):
    model_config = ConfigDict(extra="forbid")

    errors: dict[str, Any] | None = None
    pieces: list[tuple[dict[str, Any] | None, int, int]] | None = None

    @classmethod
    def of(cls, memory: Memory) -> _SavedPlane:
        if isinstance(memory, tuple):
            return cls(
                pieces=[(None if one is None else one.to_dict(), address, bits) for one, address, bits in memory]
            )
        return cls(errors=None if memory is None else memory.to_dict())

    def memory(self) -> Memory:
        """What it lies in. Raises ValueError or TypeError for what is no error model."""
        if self.pieces is not None:
            return tuple((_model(errors), address, bits) for errors, address, bits in self.pieces)
        return _model(self.errors)


class _SavedOperand(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    kind: str
    address: int = Field(ge=0)
    errors: dict[str, Any] | None
    storage: str
    correction: str
    sample_numel: int | None
    pieces: list[tuple[dict[str, Any] | None, int, int]] | None = None
    affine: bool = False
    channels: bool = False
    percentile: float = Field(default=100.0, gt=50.0, le=100.0)
    arithmetic: Literal["float32", "float16", "bfloat16"] | None = "float32"
    range: tuple[float, float] | None = None
    magnitude: float | None = None
    absent: bool = False
    planes: dict[str, _SavedPlane] | None = None
    """By bit positions, such as "6:5", what each plane of its words lies in; None for whole words."""
    samples: tuple[int, int, int, int] | None = None
    """Where an input's samples are (``SampleDims``), where that is not what its layer's class says."""

    def memory(self) -> Memory:
        """What the operand lies in. Raises ValueError or TypeError for what is no error model."""
        return _SavedPlane(errors=self.errors, pieces=self.pieces).memory()


def _model(spec: dict[str, Any] | None) -> ErrorModel | None:
    return None if spec is None else ErrorModel.from_dict(spec)


class _SavedFunctions(BaseModel):
    """What functions of a module read (``eden.faults.layers.functions``); layers by name."""

    model_config = ConfigDict(extra="forbid")

    stored: list[str]
    multiplied: list[str]
    owners: list[tuple[str, str, str]]
    attention: bool
    products: int


class _SavedLayer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    batch_dim: int
    operands: dict[str, _SavedOperand]
    functions: _SavedFunctions | None = None


class _LayerOfVersion1(BaseModel):
    """A layer of version 1, which had one weight and one input."""

    model_config = ConfigDict(extra="forbid")

    weight: _SavedOperand | None
    input: _SavedOperand | None
    batch_dim: int
    range: tuple[float, float] | None
    magnitude: float | None = None

    def layer(self) -> _SavedLayer:
        """The same in the present version."""
        operands = {}
        if self.weight is not None:
            operands["weight"] = self.weight
        if self.input is not None:
            operands["input"] = self.input.model_copy(update={"range": self.range, "magnitude": self.magnitude})
        return _SavedLayer(batch_dim=self.batch_dim, operands=operands)


class _Header(BaseModel):
    """The JSON header: format, version, random layout, chip and every layer's operands."""

    model_config = ConfigDict(extra="forbid")
    FORMAT: ClassVar[str] = "eden-network"
    VERSION: ClassVar[int] = 2

    format: str
    version: int
    random_layout: int
    chip: int
    aliases: dict[str, str]
    layers: dict[str, _SavedLayer]


_LAYERS_OF_VERSION_1 = TypeAdapter(dict[str, _LayerOfVersion1])


def _saved_operand(layer: FaultyLayer, operand: Operand) -> _SavedOperand:
    whole = _SavedPlane.of(operand.errors)
    more: dict[str, Any] = {"percentile": operand.percentile} if operand.percentile < 100.0 else {}
    if operand.arithmetic != torch.float32:
        more["arithmetic"] = None if operand.arithmetic is None else str(operand.arithmetic).removeprefix("torch.")
    if operand.planes:
        more["planes"] = {plane_text(plane): _SavedPlane.of(memory) for plane, memory in operand.planes.items()}
    if operand.found_dims is not None:
        more["samples"] = operand.found_dims
    return _SavedOperand(
        name=operand.name,
        kind=operand.kind,
        address=operand.address,
        errors=whole.errors,
        storage=operand.storage,
        correction=operand.correction,
        sample_numel=operand.sample_numel,
        pieces=whole.pieces,
        affine=operand.affine,
        channels=operand.channels,
        range=range_of(layer, operand) if operand.kind == "input" else None,
        magnitude=operand.magnitude,
        absent=operand.absent,
        **more,
    )


def _saved_functions(model: nn.Module, layer: nn.Module) -> dict[str, Any]:
    if "eden_functions" not in layer.__dict__:
        return {}
    functions = layer.__dict__["eden_functions"]
    names = {id(module): name for name, module in named_modules(model)}
    return {
        "functions": _SavedFunctions(
            stored=list(functions.stored),
            multiplied=list(functions.multiplied),
            owners=[(names[id(owner)], *rest) for owner, *rest in functions.owners],
            attention=functions.attention,
            products=functions.products,
        )
    }


def save(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a network's weights, ranges and faults into one safetensors file, atomically.

    Args:
        model: a network under faults.
        path: the file; it is replaced if it exists.

    Raises:
        ValueError: if the network has no layer under faults, or holds a tensor of a quantizer's class.
        FileError: if the file cannot be written.
    """
    model = bare(model)
    operands(model)
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    owners: dict[tuple[int, tuple[int, ...], tuple[int, ...]], str] = {}
    state = model.state_dict()
    for name, held in _state_names(model).items():
        tensor = state[held]
        if keeps_other_numbers(tensor):
            raise ValueError(f"{name} is a {type(tensor).__name__}; allowed in a file are plain tensors")
        # safetensors refuses tensors that share memory; tied weights are saved once and named.
        key = (tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride()))
        if tensor.numel() and key in owners:
            aliases[name] = owners[key]
        else:
            owners[key] = name
            tensors[name] = tensor
    layers = faulty_layers(model)
    header = _Header(
        format=_Header.FORMAT,
        version=_Header.VERSION,
        random_layout=_core.RANDOM_LAYOUT_VERSION,
        chip=int(next(iter(layers.values())).eden_chip),
        aliases=aliases,
        layers={
            name: _SavedLayer(
                batch_dim=layer.eden_faults.batch_dim,
                operands={role: _saved_operand(layer, operand) for role, operand in layer.eden_faults.by_role.items()},
                **_saved_functions(model, layer),
            )
            for name, layer in layers.items()
        },
    )
    write_tensors(path, tensors, header.model_dump_json(exclude_unset=True))


def _state_names(model: nn.Module) -> dict[str, str]:
    """The keys of the state_dict by names that do not tell what parts of the network are wrapped."""
    plain = plain_names(model)
    found = {}
    for name in model.state_dict():
        path, _, own = name.rpartition(".")
        found[join_names(plain.get(path, path), own)] = name
    return found


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], _Header]:
    tensors, header = read_tensors(path, "eden.save")
    try:
        body = json.loads(header)
        found = (body.get("format"), body.get("version"), body.get("random_layout"))
        allowed = [(_Header.FORMAT, version, _core.RANDOM_LAYOUT_VERSION) for version in (1, _Header.VERSION)]
        if found not in allowed:
            raise FileError(
                path,
                f"format, version and random layout: found {found}, allowed are {' and '.join(map(str, allowed))}",
            )
        if found[1] == 1:
            layers = _LAYERS_OF_VERSION_1.validate_python(body.get("layers"))
            body |= {"version": _Header.VERSION, "layers": {name: old.layer() for name, old in layers.items()}}
        return tensors, _Header.model_validate(body)
    except (json.JSONDecodeError, AttributeError, ValidationError) as error:
        raise FileError(path, f"its header is damaged: {str(error).splitlines()[0]}") from error


def load_(model: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Bring a network to what ``save`` wrote: weights, ranges, faults and chip; access numbers start from 0.

    Args:
        model: a network of the same layers, under faults or not.
        path: the file.

    Returns:
        The same network, under faults.

    Raises:
        FileError: if the file is missing, damaged, of another version or of another network; nothing is changed then.
        ValueError: inside `clean`.
    """
    refuse_inside_clean(model, "load_")
    tensors, header = _read(path)
    for alias, owner in header.aliases.items():
        if owner not in tensors:
            raise FileError(path, f"aliases.{alias}: found {owner!r}, which is no tensor of the file")
        tensors[alias] = tensors[owner]
    network = bare(model)
    state, names = network.state_dict(), _state_names(network)
    different = sorted(set(names) ^ set(tensors))
    if different:
        raise FileError(path, f"is of another network: they differ in {', '.join(different[:5])}")
    for name, tensor in tensors.items():
        shape = state[names[name]].shape
        if shape != tensor.shape:
            raise FileError(path, f"{name} has the shape {tuple(tensor.shape)}; the network's has {tuple(shape)}")
    before = [(module, module.__dict__.pop("eden_functions", None)) for module in network.modules()]
    try:
        return _loaded(model, path, tensors, header)
    except BaseException:
        for module, functions in before:
            module.__dict__.pop("eden_functions", None)
            if functions is not None:
                module.__dict__["eden_functions"] = functions
        raise


def _loaded(model: nn.Module, path: str | os.PathLike[str], tensors: dict[str, Tensor], header: _Header) -> nn.Module:
    network, names = bare(model), _state_names(bare(model))
    modules = dict(named_modules(network))
    for name, saved in header.layers.items():
        if saved.functions is not None and name in modules:
            spec = saved.functions
            absent = [owner for owner, *_ in spec.owners if owner not in modules]
            if absent:
                raise FileError(
                    path, f"layers: {', '.join(absent)} are no layers of this network that faults can reach"
                )
            modules[name].__dict__["eden_functions"] = Functions(
                tuple(spec.stored),
                tuple(spec.multiplied),
                tuple((modules[owner], role, path) for owner, role, path in spec.owners),
                spec.attention,
                spec.products,
            )
    eligible, left_out = eligible_layers(model)
    missing = [f"{name} ({left_out.get(name, 'not found')})" for name in sorted(header.layers) if name not in eligible]
    if missing:
        raise FileError(path, f"layers: {', '.join(missing)} are no layers of this network that faults can reach")
    try:
        exchange_layers(model, eligible, _described(header, eligible), header.chip, known=False)
    except (ValueError, TypeError) as error:
        raise FileError(path, f"its faults are damaged: {error}") from error
    network.__dict__.pop(HELD_FAULTS, None)  # the file says all that is under faults
    network.load_state_dict({names[name]: tensor for name, tensor in tensors.items()})
    for name, layer in faulty_layers(model).items():
        for operand in layer.eden_faults.by_role.values():
            kept = header.layers[name].operands[operand.role.name]
            if operand.kind == "input" and kept.range is not None:
                set_range(layer, operand, *kept.range, kept.magnitude)
    return model


def _described(header: _Header, eligible: Mapping[str, nn.Module]) -> dict[str, LayerFaults]:
    """What the file says of each layer. Raises ValueError or TypeError for what a layer cannot have."""
    numbers = operand_numbers(eligible)
    made: dict[str, LayerFaults] = {}
    for name, saved in header.layers.items():
        roles = {role.name: role for role in layer_class(eligible[name]).roles(eligible[name])}
        operands = {}
        for which, kept in saved.operands.items():
            if which not in roles:
                raise ValueError(f"{name} has no operand {which!r}; allowed are {', '.join(roles)}")
            operands[which] = Operand(
                kept.name,
                roles[which],
                kept.address,
                kept.memory(),
                kept.storage,
                kept.correction,
                kept.sample_numel,
                kept.affine,
                kept.channels,
                absent=kept.absent,
                percentile=kept.percentile,
                arithmetic=None if kept.arithmetic is None else getattr(torch, kept.arithmetic),
                sample_dims=SampleDims() if kept.samples is None else SampleDims(*kept.samples),
                dims_known=kept.samples is not None,
                own=(join_names(name, which), numbers[name, which] * OPERAND_SPACING_BITS),
                planes={plane_of(text): plane.memory() for text, plane in (kept.planes or {}).items()},
            )
        made[name] = LayerFaults(operands, saved.batch_dim)
    if not any(faults.by_role for faults in made.values()):
        raise ValueError("no operand")
    return made
