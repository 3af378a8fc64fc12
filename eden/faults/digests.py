"""SHA-256 of networks, of what memory keeps them, and of samples: what results name them by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eden.common.torch_internals import inner_tensors, keeps_other_numbers
from eden.faults.buffers import range_of
from eden.faults.faulty_layers import layer_operands
from eden.faults.network import bare
from eden.memory.region import Memory


def update_digest(digest: hashlib._Hash, value: Any) -> None:
    """Feed a nested value to a hash: tensors and arrays by type, shape and bytes, other values by their text."""
    if isinstance(value, torch.Tensor) and keeps_other_numbers(value):
        update_digest(digest, inner_tensors(value))
    elif isinstance(value, torch.Tensor):
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        digest.update(_bytes_of(value))
    elif isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        for key, item in value.items():
            digest.update(repr(key).encode())
            update_digest(digest, item)
    elif isinstance(value, (tuple, list)):
        digest.update(f"{type(value).__name__}{len(value)}".encode())
        for item in value:
            update_digest(digest, item)
    else:
        digest.update(repr(value).encode())


def _bytes_of(tensor: Tensor) -> Any:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


class SamplesDigest:
    """SHA-256 of samples that come in batches, the same for every size of batch."""

    def __init__(self) -> None:
        self._parts: dict[str, hashlib._Hash] = {}
        self._forms: dict[str, str] = {}

    def update(self, value: Any, place: str = "") -> None:
        """Feed the next batch: nested tuples, lists and dictionaries of tensors with the samples along dimension 0."""
        if isinstance(value, Mapping):
            for key, item in value.items():
                self.update(item, f"{place}[{key!r}]")
        elif isinstance(value, (tuple, list)):
            for number, item in enumerate(value):
                self.update(item, f"{place}[{number}]")
        else:
            part = self._parts.setdefault(place, hashlib.sha256())
            form = f"{value.dtype}{tuple(value.shape[1:])}" if isinstance(value, Tensor) else type(value).__name__
            if self._forms.get(place) != form:
                part.update(form.encode())
                self._forms[place] = form
            if isinstance(value, Tensor):
                part.update(_bytes_of(value))
            else:
                update_digest(part, value)

    def hexdigest(self) -> str:
        """Of all that was fed."""
        from eden.common.provenance import digest_of_json

        return digest_of_json({place: part.hexdigest() for place, part in self._parts.items()})


def network_digest(model: nn.Module) -> str:
    """SHA-256 of a network: weights, buffers, and how memory keeps its operands (storage, ranges, correction).

    Where its operands lie, with which errors and on which chip, is no part of it.
    """
    inner = bare(model)
    digest = hashlib.sha256()
    update_digest(digest, {name: value for name, value in inner.state_dict().items() if isinstance(value, Tensor)})
    for layer, operand in layer_operands(inner, absent=True):
        known = range_of(layer, operand) if operand.kind == "input" else None
        form = (operand.storage, operand.correction, operand.affine, operand.channels, operand.magnitude)
        update_digest(digest, [operand.name, operand.role.name, *form, operand.absent, known])
    return digest.hexdigest()


def described(memory: Memory | dict[str, Memory]) -> Any:
    """What an operand lies in, as a JSON value; of one in planes, by plane."""
    if isinstance(memory, dict):
        return {plane: described(errors) for plane, errors in memory.items()}
    if isinstance(memory, tuple):
        return [[described(errors), address, bits] for errors, address, bits in memory]
    return None if memory is None else memory.to_dict()


def memory_digest(memory: Mapping[str, Memory]) -> str:
    """SHA-256 of where operands lie and with which errors, by operand."""
    from eden.common.provenance import digest_of_json

    return digest_of_json({name: described(one) for name, one in memory.items()})
