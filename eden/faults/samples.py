"""Samples drawn by index from what a user hands over as a loader, the same ones as often as wanted."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler, SubsetRandomSampler

from eden.faults.digests import update_digest


class Samples(Protocol):
    """A finite set of samples."""

    batch_size: int | None
    """Size of the loader's own batches."""

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int]) -> tuple[Any, Any]:
        """Input and target of a batch of these samples, in this order."""


def map_tensors(value: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Apply a function to every tensor in nested tuples, lists and mappings; other values stay as they are."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(item, function) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(map_tensors(item, function) for item in value)
    if isinstance(value, Mapping):
        return {key: map_tensors(item, function) for key, item in value.items()}
    return value


def _bytes(value: Any) -> int | None:
    """Size of a nested value; None where it holds something whose size is not known."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, (bool, int, float, np.generic)):
        return 8
    if isinstance(value, (tuple, list)):
        sizes = [_bytes(item) for item in value]
        return None if None in sizes else sum(size for size in sizes if size is not None)
    if isinstance(value, dict):
        return _bytes(list(value.values()))
    return None


def _input_and_target(batch: Any, where: str) -> tuple[Any, Any]:
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        found = f"{len(batch)} items" if isinstance(batch, (tuple, list)) else type(batch).__name__
        raise ValueError(f"{where}: found {found}; allowed is a pair (input, target)")
    return batch[0], batch[1]


class IndexedSamples:
    """Samples of a map-style dataset, put together by the loader's own ``collate_fn``."""

    def __init__(self, loader: DataLoader[Any], memory_limit: int) -> None:
        self._dataset: Any = loader.dataset
        self._collate = loader.collate_fn
        self._indices = self._population(loader)
        self.batch_size = loader.batch_size
        self._kept: dict[int, Any] = {}
        self._room = memory_limit
        if self._indices:
            first = self._dataset[self._indices[0]], self._dataset[self._indices[0]]
            digests = [hashlib.sha256(), hashlib.sha256()]
            for digest, item in zip(digests, first, strict=True):
                update_digest(digest, item)
            if _bytes(first[0]) is not None and digests[0].digest() != digests[1].digest():
                raise ValueError(
                    "the dataset gives another sample each time that index "
                    f"{self._indices[0]} is read; turn off its random transforms"
                )

    @staticmethod
    def _population(loader: DataLoader[Any]) -> Sequence[int]:
        dataset: Any = loader.dataset
        sampler: Any = loader.sampler
        if type(loader.batch_sampler) is not torch.utils.data.BatchSampler:
            sampler = loader.batch_sampler
        if type(sampler) is SequentialSampler or (
            type(sampler) is RandomSampler and not sampler.replacement and sampler.num_samples == len(dataset)
        ):
            return range(len(dataset))
        if type(sampler) is SubsetRandomSampler:
            return [int(index) for index in sampler.indices]
        raise ValueError(
            f"the loader's sampler is a {type(sampler).__name__}, which does not tell the set that it draws from; "
            "allowed are the samplers of shuffle=False, shuffle=True and SubsetRandomSampler "
            "(or a torch.utils.data.Subset)"
        )

    def __len__(self) -> int:
        return len(self._indices)

    def _item(self, index: int) -> Any:
        if index in self._kept:
            return self._kept[index]
        item = self._dataset[self._indices[index]]
        size = _bytes(item)
        if size is not None and size <= self._room:
            self._kept[index] = item
            self._room -= size
        return item

    def batch(self, indices: Sequence[int]) -> tuple[Any, Any]:
        """Input and target of a batch of these samples, in this order."""
        return _input_and_target(self._collate([self._item(index) for index in indices]), "a batch of the loader")


class CachedSamples:
    """Samples of an iterable of batches, all held in memory."""

    def __init__(self, loader: Iterable[Any], memory_limit: int) -> None:
        batches: list[tuple[Any, Any]] = []
        room = memory_limit
        # Iterating a DataLoader draws from torch's global generator, which is the user's.
        with torch.random.fork_rng(devices=[]):
            for number, batch in enumerate(loader):
                where = f"batch {number} of the loader"
                pair = _input_and_target(batch, where)
                size = _bytes(pair)
                if size is None:
                    raise ValueError(
                        f"{where} holds more than tensors; hand over a DataLoader over a map-style dataset instead"
                    )
                room -= size
                if room < 0:
                    raise ValueError(
                        f"the loader's batches take more than {memory_limit:,} bytes of memory (batch {number}); raise "
                        "memory_limit, or hand over a DataLoader over a map-style dataset, which is drawn by index"
                    )
                batches.append(pair)
        self._inputs, self._targets = [], []
        self._where: list[tuple[int, int]] = []
        for number, (inputs, targets) in enumerate(batches):
            sizes = {len(tensor) if tensor.dim() else 0 for tensor in _tensors((inputs, targets))}
            if len(sizes) != 1:
                raise ValueError(
                    f"batch {number} of the loader holds tensors of {sorted(sizes)} samples; allowed is one number of "
                    "samples along dimension 0 of input and target"
                )
            self._inputs.append(inputs)
            self._targets.append(targets)
            self._where.extend((number, row) for row in range(sizes.pop()))
        self.batch_size = None if not batches else max(1, len(self._where) // len(batches))

    def __len__(self) -> int:
        return len(self._where)

    def batch(self, indices: Sequence[int]) -> tuple[Any, Any]:
        """Input and target of a batch of these samples, in this order."""
        places = [self._where[index] for index in indices]
        return self._rows(self._inputs, places), self._rows(self._targets, places)

    @staticmethod
    def _rows(batches: list[Any], places: list[tuple[int, int]]) -> Any:
        return _stack([map_tensors(batches[batch], operator.itemgetter(row)) for batch, row in places])


def _tensors(value: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        found.append(tensor)
        return tensor

    map_tensors(value, keep)
    return found


def _stack(items: list[Any]) -> Any:
    try:
        return torch.utils.data.default_collate(items)
    except RuntimeError as error:
        raise ValueError(
            f"samples of the loader's batches differ in shape ({error}); hand over a DataLoader over a map-style "
            "dataset with a collate_fn that pads them"
        ) from error


def samples_of(loader: Any, memory_limit: int) -> Samples:
    """The samples of a loader.

    Args:
        loader: a DataLoader over a map-style dataset, which is drawn by index through its ``collate_fn`` (samplers of
            ``shuffle`` and SubsetRandomSampler; its workers are not used), or an iterable of (input, target) batches of
            tensors with the samples along dimension 0, which is read once and held in memory.
        memory_limit: bytes that may be held.

    Raises:
        TypeError: if it is neither.
        ValueError: if it is empty, does not fit, does not tell its set, yields no pairs or is random.
    """
    by_index = isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)
    if by_index and loader.batch_sampler is not None:
        samples: Samples = IndexedSamples(loader, memory_limit)
    elif isinstance(loader, Iterable):
        samples = CachedSamples(loader, memory_limit)
    else:
        raise TypeError(
            f"loader is a {type(loader).__name__}; allowed is a DataLoader or an iterable of (input, target) batches"
        )
    if len(samples) == 0:
        raise ValueError("the loader holds no samples; at least one is needed")
    return samples
