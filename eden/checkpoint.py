"""Saving a network under faults: weights, ranges and faults in one safetensors file with a JSON header."""

from __future__ import annotations

import json
import os
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from eden import _core
from eden.errors import ErrorModel, Uniform
from eden.files import HEADER_KEY, FileError, write_tensors
from eden.inject import Faults, _eligible_layers, _refuse_inside_clean, faulty_layers, inject_, operands, set_errors_
from eden.nn import Operand, set_range, write_region
from eden.ops import Memory


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

    def memory(self) -> Memory:
        """What the operand lies in. Raises ValueError or TypeError for what is no error model."""
        if self.pieces is not None:
            return tuple((_model(errors), address, bits) for errors, address, bits in self.pieces)
        return _model(self.errors)


def _model(spec: dict[str, Any] | None) -> ErrorModel | None:
    return None if spec is None else ErrorModel.from_dict(spec)


class _SavedLayer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    weight: _SavedOperand | None
    input: _SavedOperand | None
    batch_dim: int
    range: tuple[float, float] | None
    magnitude: float | None = None


class _Header(BaseModel):
    """The JSON header: format, version, random layout, chip and every layer's operands."""

    model_config = ConfigDict(extra="forbid")
    FORMAT: ClassVar[str] = "eden-network"
    VERSION: ClassVar[int] = 1

    format: str
    version: int
    random_layout: int
    chip: int
    aliases: dict[str, str]
    layers: dict[str, _SavedLayer]


def _saved_operand(operand: Operand | None) -> _SavedOperand | None:
    if operand is None:
        return None
    errors, pieces = operand.errors, None
    if isinstance(errors, tuple):
        pieces = [(None if model is None else model.to_dict(), address, bits) for model, address, bits in errors]
        errors = None
    return _SavedOperand(
        name=operand.name,
        kind=operand.kind,
        address=operand.address,
        errors=errors.to_dict() if errors is not None else None,
        storage=operand.storage,
        correction=operand.correction,
        sample_numel=operand.sample_numel,
        pieces=pieces,
        affine=operand.affine,
        channels=operand.channels,
    )


def save(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a network's weights, ranges and faults into one safetensors file, atomically.

    Args:
        model: a network under faults.
        path: the file; it is replaced if it exists.

    Raises:
        ValueError: if the network has no layer under faults.
        FileError: if the file cannot be written.
    """
    operands(model)
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    owners: dict[tuple[int, tuple[int, ...], tuple[int, ...]], str] = {}
    for name, tensor in model.state_dict().items():
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
                weight=_saved_operand(layer._eden.weight),
                input=_saved_operand(layer._eden.input),
                batch_dim=layer._eden.batch_dim,
                range=(float(layer.eden_input_bounds[0]), float(layer.eden_input_bounds[1]))
                if layer._eden.calibrated
                else None,
                magnitude=layer._eden.magnitude,
            )
            for name, layer in layers.items()
        },
    )
    write_tensors(path, tensors, header.model_dump_json())


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], _Header]:
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise FileError(path, f"cannot be read as safetensors: {error}") from error
    if HEADER_KEY not in metadata:
        raise FileError(path, f"its header has no {HEADER_KEY!r}; it was not written by eden.save")
    try:
        body = json.loads(metadata[HEADER_KEY])
        found = (body.get("format"), body.get("version"), body.get("random_layout"))
        allowed = (_Header.FORMAT, _Header.VERSION, _core.RANDOM_LAYOUT_VERSION)
        if found != allowed:
            raise FileError(path, f"format, version and random layout: found {found}, allowed are {allowed}")
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
    _refuse_inside_clean(model, "load_")
    tensors, header = _read(path)
    for alias, owner in header.aliases.items():
        if owner not in tensors:
            raise FileError(path, f"aliases.{alias}: found {owner!r}, which is no tensor of the file")
        tensors[alias] = tensors[owner]
    state = model.state_dict()
    different = sorted(set(state) ^ set(tensors))
    if different:
        raise FileError(path, f"is of another network: they differ in {', '.join(different[:5])}")
    for name, tensor in tensors.items():
        if state[name].shape != tensor.shape:
            raise FileError(
                path, f"{name} has the shape {tuple(tensor.shape)}; the network's has {tuple(state[name].shape)}"
            )
    eligible, left_out = _eligible_layers(model)
    missing = [f"{name} ({left_out.get(name, 'not found')})" for name in sorted(header.layers) if name not in eligible]
    if missing:
        raise FileError(path, f"layers: {', '.join(missing)} are no layers of this network that faults can reach")
    try:
        models = {
            operand.name: operand.memory()
            for layer in header.layers.values()
            for operand in (layer.weight, layer.input)
            if operand is not None
        }
        saved = [layer for layer in header.layers.values() if layer.weight or layer.input]
        first = (saved[0].weight or saved[0].input) if saved else None
        if first is None:
            raise ValueError("no operand")
        has_weights = any(layer.weight for layer in saved)
        has_inputs = any(layer.input for layer in saved)
        # Any address will do for it, while a saved map or geometry may not reach where inject_ first puts an operand.
        placeholder = Uniform(0.0)
        faults = Faults(
            placeholder if has_weights else None,
            placeholder if has_inputs else None,
            first.storage,
            first.correction,
            header.chip,
        )
    except (ValueError, TypeError) as error:
        raise FileError(path, f"its faults are damaged: {error}") from error
    inject_(model, faults, lambda name, _: name in header.layers)
    model.load_state_dict(tensors)
    for name, layer in faulty_layers(model).items():
        saved_layer = header.layers[name]
        layer._eden.batch_dim = saved_layer.batch_dim
        for operand, kept in ((layer._eden.weight, saved_layer.weight), (layer._eden.input, saved_layer.input)):
            if operand is not None and kept is not None:
                operand.name, operand.address, operand.sample_numel = kept.name, kept.address, kept.sample_numel
                operand.storage, operand.correction = kept.storage, kept.correction
                operand.affine, operand.channels = kept.affine, kept.channels
                write_region(layer, operand)
        if saved_layer.range is not None:
            set_range(layer, *saved_layer.range, saved_layer.magnitude)
    set_errors_(model, models)
    return model
