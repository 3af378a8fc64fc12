"""Samples drawn by index from what a user hands over as a loader, the same ones as often as wanted."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import operator
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    default_collate,
)

from eden.faults.digests import update_digest

DATASET_BATCH = 256
"""Samples of a batch, of a dataset that is handed over without a loader."""


class Samples(Protocol):
    """A finite set of samples."""

    batch_size: int | None
    """Size of the loader's own batches."""

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int]) -> Any:
        """A batch of these samples, in this order, as the loader would yield it."""


def map_leaves(value: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to all that is no tuple, list, mapping or instance of a dataclass, in a nesting of these."""
    if isinstance(value, (Tensor, PackedSequence)):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_leaves(item, function) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(map_leaves(item, function) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return dataclasses.replace(value, **{name: map_leaves(getattr(value, name), function) for name in fields})
    if isinstance(value, Mapping):
        items = {key: map_leaves(item, function) for key, item in value.items()}
        if type(value) is dict or not isinstance(value, MutableMapping):
            return items
        found = copy.copy(value)  # which keeps what else an instance of a class of its own has
        for key, item in items.items():
            found[key] = item
        return found
    return function(value)


def map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to every tensor in a nested value; what else is in it stays as it is."""

    def applied(leaf: Any) -> Any:
        if isinstance(leaf, PackedSequence):
            index = (None if one is None else function(one) for one in leaf[2:])
            return PackedSequence(function(leaf.data), leaf.batch_sizes, *index)
        return function(leaf) if isinstance(leaf, Tensor) else leaf

    return map_leaves(value, applied)


def moved(value: Any, device: torch.device) -> Any:
    """A nested value with everything that can be moved on a device, such as tensors, packed sequences and graphs."""

    def to(leaf: Any) -> Any:
        return leaf.to(device) if callable(getattr(leaf, "to", None)) else leaf

    return map_leaves(value, to)


def _bytes(value: Any) -> int | None:
    """Size of a nested value; None where it holds something whose size is not known."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, (bool, int, float, np.generic)):
        return 8
    if isinstance(value, (tuple, list)):
        sizes = [_bytes(item) for item in value]
        return None if None in sizes else sum(size for size in sizes if size is not None)
    if isinstance(value, Mapping):
        return _bytes(list(value.values()))
    return None


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

    def batch(self, indices: Sequence[int]) -> Any:
        """A batch of these samples, in this order, as the loader would yield it."""
        items = [self._item(index) for index in indices]
        return _stack(items) if self._collate is default_collate else self._collate(items)


class TensorSamples:
    """Samples along dimension 0 of tensors, drawn by index.

    Args:
        tensors: each of shape (N, ...), such as inputs and their targets.
        batch_size: samples of a batch; all of those asked for if None.
    """

    def __init__(self, *tensors: Tensor, batch_size: int | None = None) -> None:
        self.tensors = tensors
        self.batch_size: int | None = batch_size or max(1, len(tensors[0]))

    def __len__(self) -> int:
        return len(self.tensors[0])

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        """These samples of each tensor, in this order."""
        rows: Any = slice(indices.start, indices.stop) if isinstance(indices, range) else list(indices)
        return tuple(tensor[rows] for tensor in self.tensors)


class CachedSamples:
    """Samples of an iterable of batches, all held in memory."""

    def __init__(self, loader: Iterable[Any], memory_limit: int) -> None:
        self._batches: list[Any] = []
        self._where: list[tuple[int, int]] = []
        self._listed = False  # whether samples are the items of lists, instead of rows of tensors
        room = memory_limit
        # Iterating a DataLoader draws from torch's global generator, which is the user's.
        with torch.random.fork_rng(devices=[]):
            for number, batch in enumerate(loader):
                where = f"batch {number} of the loader"
                size = _bytes(batch)
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
                count, listed = _count(batch, where)
                if number and listed != self._listed:
                    raise ValueError(f"{where} holds lists of samples or tensors, and the one before the other of them")
                self._listed = listed
                self._batches.append(batch)
                self._where.extend((number, row) for row in range(count))
        self.batch_size = None if not self._batches else max(1, len(self._where) // len(self._batches))

    def __len__(self) -> int:
        return len(self._where)

    def batch(self, indices: Sequence[int]) -> Any:
        """A batch of these samples, in this order, of the form of the loader's."""
        rows = [(self._batches[number], row) for number, row in (self._where[index] for index in indices)]
        if self._listed:
            return _relisted(rows[0][0], rows)
        return _stack([map_tensors(batch, operator.itemgetter(row)) for batch, row in rows])


def _listed(batch: Any) -> int | None:
    """Samples of a batch of lists, an item of each list for a sample, as detectors are given images and boxes."""
    fields = list(batch.values()) if isinstance(batch, Mapping) else batch
    if not isinstance(fields, (tuple, list)) or not all(type(field) in (tuple, list) and field for field in fields):
        return None
    sizes = {len(field) for field in fields}
    return sizes.pop() if len(sizes) == 1 else None


def _relisted(form: Any, rows: list[tuple[Any, int]]) -> Any:
    """A batch of lists made of items of such batches."""
    if isinstance(form, Mapping):
        return {key: type(form[key])(batch[key][row] for batch, row in rows) for key in form}
    return type(form)(type(form[place])(batch[place][row] for batch, row in rows) for place in range(len(form)))


def _count(batch: Any, where: str) -> tuple[int, bool]:
    """Samples of a batch, and whether they are the items of lists."""
    sizes: set[int] = set()
    others: set[str] = set()

    def look(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            sizes.add(len(leaf) if leaf.dim() else 0)
        else:
            others.add(type(leaf).__name__)
        return leaf

    map_leaves(batch, look)
    items = _listed(batch)
    named = isinstance(batch, (tuple, list)) and any(
        isinstance(item, Mapping) for field in batch if isinstance(field, (tuple, list)) for item in field
    )
    rows = len(sizes) == 1 and not others
    if items is not None and (named or not rows):
        if rows:
            raise ValueError(
                f"{where} holds lists of {items}, of tensors of {sizes.pop()} entries each, so which of these are the "
                "samples cannot be told; hand over a DataLoader over a map-style dataset, which is drawn by index"
            )
        return items, True
    if others:
        raise ValueError(
            f"{where} holds a {' and a '.join(sorted(others))} beside tensors; allowed are tensors with the samples "
            "along dimension 0, lists of them, or a DataLoader over a map-style dataset, which is drawn by index"
        )
    if not rows:
        raise ValueError(
            f"{where} holds tensors of {sorted(sizes)} samples; allowed is one number of samples along dimension 0 of "
            "all of them, input and target"
        )
    return sizes.pop(), False


def _stack(items: list[Any]) -> Any:
    try:
        return default_collate(items)
    except RuntimeError as error:
        raise ValueError(
            f"samples of the loader differ in shape ({error}); hand over a DataLoader over a map-style "
            "dataset with a collate_fn that pads them"
        ) from error


def samples_of(loader: Any, memory_limit: int, batch_size: int = DATASET_BATCH) -> Samples:
    """The samples of a loader.

    Args:
        loader: a DataLoader over a map-style dataset, which is drawn by index through its ``collate_fn`` (samplers of
            ``shuffle`` and SubsetRandomSampler; its workers are not used); a map-style dataset itself, put together by
            torch's ``default_collate``; or an iterable of batches, which is read once and held in memory: nested
            tuples, lists and mappings of tensors with the samples along dimension 0, or tuples, lists or mappings of
            lists with an item for each sample.
        memory_limit: bytes that may be held.
        batch_size: samples of a batch, of a dataset.

    Raises:
        TypeError: if it is neither.
        ValueError: if it is empty, does not fit, does not tell its set or is random.
    """
    if type(loader) is TensorDataset:
        samples: Samples = TensorSamples(*loader.tensors, batch_size=batch_size)
    elif (isinstance(loader, Dataset) and not isinstance(loader, IterableDataset)) or hasattr(loader, "__getitems__"):
        samples = IndexedSamples(DataLoader(loader, batch_size=batch_size), memory_limit)
    elif (
        isinstance(loader, DataLoader)
        and not isinstance(loader.dataset, IterableDataset)
        and loader.batch_sampler is not None
    ):
        samples = IndexedSamples(loader, memory_limit)
    elif isinstance(loader, Iterable) and not isinstance(loader, Mapping):
        samples = CachedSamples(loader, memory_limit)
    else:
        raise TypeError(
            f"loader is a {type(loader).__name__}; allowed is a DataLoader, a map-style dataset or an iterable of "
            "batches"
        )
    if len(samples) == 0:
        raise ValueError("the loader or dataset has no samples; at least one is needed")
    return samples
