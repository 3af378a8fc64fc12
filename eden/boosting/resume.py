"""Checkpoints of a training run: all that it needs to go on to the same bits, in one safetensors file.

``eden.save`` writes a network to be used; this writes a run to be gone on with.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from eden import _core
from eden.boosting.curriculum import Curriculum
from eden.boosting.generators import random_states, set_random_states
from eden.boosting.packing import pack, unpack
from eden.common.files import HEADER_KEY, FileError, write_tensors
from eden.faults.buffers import range_of, set_range, write_region
from eden.faults.chips import accesses, set_accesses_
from eden.faults.digests import update_digest
from eden.faults.faulty_layers import faulty_layers
from eden.faults.network import bare
from eden.faults.operand import SampleDims

FORMAT, VERSION = "eden-training", 2


def _check_network(model: Any) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; allowed is a network, before the path")


def _inputs(model: nn.Module) -> dict[str, dict[str, Any]]:
    """What is known of each layer's inputs: how memory keeps them, and what calibration or learning found."""
    return {
        f"{name}.{role}": {
            "operand": operand.name,
            "storage": operand.storage,
            "correction": operand.correction,
            "absent": operand.absent,
            "range": range_of(layer, operand),
            "magnitude": operand.magnitude,
            "sample_numel": operand.sample_numel,
            "samples": operand.found_dims,
        }
        for name, layer in faulty_layers(model).items()
        for role, operand in layer.eden_faults.by_role.items()
        if operand.kind == "input"
    }


def _compare_inputs(path: str | os.PathLike[str], found: dict[str, Any], model: nn.Module) -> None:
    here = _inputs(model)
    if sorted(found) != sorted(here):
        different = ", ".join(sorted(set(found) ^ set(here))[:5])
        raise FileError(path, f"is of another run: not the same inputs are under faults: {different}")
    for name, expected in here.items():
        if set(found[name]) | {"samples"} != set(expected):
            raise ValueError(f"inputs.{name} has {', '.join(sorted(found[name]))}")
        for key in ("operand", "storage", "correction", "absent"):
            if found[name][key] != expected[key]:
                calibrate = "; call eden.calibrate_ before" if expected["range"] is None else ""
                raise FileError(
                    path,
                    f"is of another run: {key} of the input {name} is {found[name][key]}, here it is "
                    f"{expected[key]}{calibrate}",
                )


def _set_inputs(found: dict[str, Any], model: nn.Module) -> None:
    for name, layer in faulty_layers(model).items():
        for role, operand in layer.eden_faults.by_role.items():
            kept = found.get(f"{name}.{role}")
            if operand.kind == "input" and kept is not None and kept["range"] is not None:
                low, high = kept["range"]
                operand.sample_numel = kept["sample_numel"]
                if kept.get("samples") is not None:
                    operand.sample_dims, operand.dims_known = SampleDims(*kept["samples"]), True
                set_range(layer, operand, low, high, kept["magnitude"])
                write_region(layer, operand)


def save_checkpoint(
    model: nn.Module,
    path: str | os.PathLike[str],
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: Any = None,
    curriculum: Curriculum | None = None,
    extra: Mapping[str, Any] | None = None,
    *,
    identity: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write all that a run is, atomically: a run killed meanwhile finds the checkpoint before.

    In a distributed run one rank writes. A network sharded by FSDP has no whole state and is refused.

    Args:
        model: the network, under faults or not; compiled or in DistributedDataParallel, the network inside is written.
        path: the file; it is replaced if it exists.
        optimizer: any of torch's.
        scheduler: anything with ``state_dict`` and ``load_state_dict``, such as a learning-rate scheduler.
        curriculum: of the network.
        extra: whatever else the run needs to go on, by name: numbers, texts, tensors, and lists and dictionaries of
            them.
        identity: what the run is a function of, by group and field, JSON values, to be compared when it goes on.

    Raises:
        TypeError: for a state that holds something else.
        FileError: if the file cannot be written; the one before is whole then.
    """
    _check_network(model)
    inner = bare(model)
    tensors: dict[str, Tensor] = {}
    parts = {
        "model": inner.state_dict(),
        "optimizer": None if optimizer is None else optimizer.state_dict(),
        "scheduler": None if scheduler is None else scheduler.state_dict(),
        "curriculum": None if curriculum is None else curriculum.state_dict(),
        "accesses": accesses(inner),
        "inputs": _inputs(inner),
        "random": random_states(),
        "extra": extra,
    }
    header = {
        "format": FORMAT,
        "version": VERSION,
        "random_layout": _core.RANDOM_LAYOUT_VERSION,
        "identity": identity,
        "classes": {
            name: None if part is None else type(part).__name__
            for name, part in (("optimizer", optimizer), ("scheduler", scheduler), ("curriculum", curriculum))
        },
        **{name: pack(part, name, tensors) for name, part in parts.items()},
    }
    header["sha256"] = _digest(header, tensors)
    write_tensors(path, tensors, json.dumps(header, allow_nan=False))


def load_checkpoint_(
    model: nn.Module,
    path: str | os.PathLike[str],
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: Any = None,
    curriculum: Curriculum | None = None,
    extra: dict[str, Any] | None = None,
    *,
    identity: Mapping[str, Mapping[str, Any]] | None = None,
    check_extra: Callable[[Any], None] | None = None,
) -> nn.Module:
    """Go on where ``save_checkpoint`` was called: weights, ranges, optimizer, scheduler, curriculum, random states.

    Args:
        model: a network like the one that was saved, under the same faults.
        path: the file.
        optimizer: of the same class and groups, if one was saved.
        scheduler: of the same class, if one was saved.
        curriculum: of the network, if one was saved.
        extra: a dictionary that is to hold what the file's ``extra`` held, and nothing else.
        identity: what this run is a function of; where given, it has to be the file's.
        check_extra: called with ``extra`` before anything is changed; raises KeyError, TypeError or ValueError if it is
            damaged.

    Returns:
        The same network.

    Raises:
        TypeError: for a path in place of the network, which comes first.
        FileError: if the file is missing, damaged, of another version, or of another network or run, naming what
            differs; nothing is changed then.
    """
    _check_network(model)
    inner = bare(model)
    header, tensors = _read(path)
    given = {"optimizer": optimizer, "scheduler": scheduler, "curriculum": curriculum}
    try:
        _compare_networks(path, tensors, inner)
        if identity is not None:
            different = _difference(header.get("identity"), json.loads(json.dumps(identity)))
            if different is not None:
                raise FileError(path, f"is of another run: {different}")
        for name, part in given.items():
            found, here = header["classes"][name], None if part is None else type(part).__name__
            if found != here:
                raise FileError(path, f"is of another run: its {name} is {found}, here it is {here}")
        states = {
            name: unpack(header[name], tensors)
            for name in ("model", "optimizer", "scheduler", "curriculum", "accesses", "random", "extra")
        }
        inputs = unpack(header.get("inputs", {}), tensors)  # files that were written before they were kept lack them
        if "inputs" in header:
            _compare_inputs(path, inputs, inner)
        layers = faulty_layers(inner)
        numbers = {name: [int(number) for number in states["accesses"][name]] for name in layers}
        if optimizer is not None:
            _compare_optimizers(path, states["optimizer"], optimizer)
        if extra is not None:
            states["extra"] = dict(states["extra"] or {})
        if check_extra is not None:
            check_extra(states["extra"])
        if curriculum is not None:
            curriculum.load_state_dict(states["curriculum"])
    except FileError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise FileError(path, f"its header is damaged: {type(error).__name__}: {error}") from error
    inner.load_state_dict(states["model"])
    _set_inputs(inputs, inner)
    set_accesses_(inner, numbers)
    if optimizer is not None:
        optimizer.load_state_dict(states["optimizer"])
    if scheduler is not None:
        scheduler.load_state_dict(states["scheduler"])
    set_random_states(states["random"])
    if extra is not None:
        extra.clear()
        extra.update(states["extra"])
    return model


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER_KEY, "{}"))
            # Cloned, since they lie in the file's pages at any address, and sums over memory that is aligned otherwise
            # are not the same to the bit.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise FileError(path, f"cannot be read as a checkpoint: {error}") from error
    if not isinstance(header, dict):
        raise FileError(path, f"header: found {type(header).__name__}, allowed is an object")
    if (header.get("format"), header.get("version")) != (FORMAT, VERSION):
        found = (header.get("format"), header.get("version"))
        raise FileError(path, f"format and version: found {found}, allowed are {(FORMAT, VERSION)}")
    if header.get("random_layout") != _core.RANDOM_LAYOUT_VERSION:
        raise FileError(
            path,
            f"random_layout: found {header.get('random_layout')!r}, allowed is {_core.RANDOM_LAYOUT_VERSION} (this "
            "version of eden's), because chips drawn with another differ",
        )
    written = header.pop("sha256", None)  # files that were written before it was kept lack it
    if written is not None and written != _digest(header, tensors):
        raise FileError(path, "was altered since it was written: its SHA-256 is not the one that its header has")
    return header, tensors


def _digest(header: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """SHA-256 of all that a checkpoint holds."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    update_digest(digest, dict(sorted(tensors.items())))
    return digest.hexdigest()


def _difference(found: Any, expected: dict[str, dict[str, Any]]) -> str | None:
    """The first field in which a checkpoint's identity differs from this run's, None if none does."""
    for group, fields in expected.items():
        there = found.get(group) if isinstance(found, dict) else None
        if there is None and group == "memory" and isinstance(found, dict):
            continue  # files that were written before it was compared lack it
        if not isinstance(there, dict):
            return f"it has no {group}"
        for name in dict.fromkeys([*fields, *there]):
            if there.get(name) != fields.get(name):
                return f"{group}.{name} is {str(there.get(name))[:200]}, here it is {str(fields.get(name))[:200]}"
    return None


def _compare_networks(path: str | os.PathLike[str], tensors: dict[str, Tensor], model: nn.Module) -> None:
    state = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    expected = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    different = sorted(set(state) ^ set(expected))
    if different:
        raise FileError(path, f"is of another network: they differ in {', '.join(different[:5])}")
    for name, tensor in state.items():
        if (tensor.shape, tensor.dtype) != (expected[name].shape, expected[name].dtype):
            raise FileError(
                path,
                f"is of another network: {name} is {tuple(tensor.shape)} {tensor.dtype}, here it is "
                f"{tuple(expected[name].shape)} {expected[name].dtype}",
            )


def _compare_optimizers(path: str | os.PathLike[str], state: Any, optimizer: torch.optim.Optimizer) -> None:
    sizes = [len(group["params"]) for group in state["param_groups"]]
    here = [len(group["params"]) for group in optimizer.param_groups]
    if sizes != here:
        raise FileError(path, f"is of another run: its optimizer has groups of {sizes} Parameters, here of {here}")
