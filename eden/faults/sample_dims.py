"""Which part of each input is one sample, found by running a network on two numbers of samples."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from eden.faults.faulty_layers import FaultyLayer
from eden.faults.forward import Arguments, ForwardFn, call
from eden.faults.network import bare, carrying_nothing
from eden.faults.operand import Operand, SampleDims
from eden.faults.watch import Watch, Watched, tensors_in

FEW, MORE = 2, 3
"""The two numbers of samples. One is none of them: many networks drop a dimension of one entry."""


@dataclasses.dataclass(frozen=True)
class Stack:
    """How samples make a batch: along a dimension of its tensors, or (-1) as the items of a list."""

    dim: int

    def count(self, given: Any) -> int | None:
        """Samples of what a network is given, or of a batch; None where they are not stacked like this."""
        return next((found for item in _items(given) if (found := self._count(item)) is not None), None)

    def _count(self, value: Any) -> int | None:
        if self.dim < 0:
            if isinstance(value, PackedSequence):
                return int(value.batch_sizes[0])
            if _is_list(value):
                return len(value)
            items = value if isinstance(value, (list, tuple)) else value.values() if isinstance(value, Mapping) else ()
            return next((found for item in items if (found := self._count(item)) is not None), None)
        if isinstance(value, PackedSequence):
            return None
        first = next(tensors_in(value), None)
        return first.shape[self.dim] if first is not None and first.dim() > self.dim else None

    def take(self, given: Any, count: int, number: int) -> Any:
        """The same of ``number`` samples, of one of ``count``; those that it lacks, or has twice, are made up."""
        if isinstance(given, Arguments):
            args = tuple(self._take(item, count, number) for item in given.args)
            return Arguments(args, {key: self._take(item, count, number) for key, item in given.named.items()})
        if type(given) in (tuple, list):
            return type(given)(self._take(item, count, number) for item in given)
        return self._take(given, count, number)

    def _take(self, value: Any, count: int, number: int) -> Any:
        if isinstance(value, PackedSequence):
            padded, lengths = pad_packed_sequence(value, batch_first=True)
            kept = [index % count for index in range(number)]
            rows = _different(padded[kept], 0, count)
            return pack_padded_sequence(rows, lengths[kept], batch_first=True, enforce_sorted=False)
        if isinstance(value, Tensor):
            return value if self.dim < 0 else self._tensor(value, count, number)
        if self.dim < 0 and _is_list(value) and len(value) == count:
            items = [value[index % count] for index in range(number)]
            return type(value)(_shaken(item, index) if index >= count else item for index, item in enumerate(items))
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*(self._take(item, count, number) for item in value))
        if isinstance(value, (list, tuple)):
            return type(value)(self._take(item, count, number) for item in value)
        if isinstance(value, Mapping):
            return {key: self._take(item, count, number) for key, item in value.items()}
        return value

    def _tensor(self, x: Tensor, count: int, number: int) -> Tensor:
        dims = [self.dim, *(dim for dim in range(x.dim()) if dim != self.dim)]
        dim = next((dim for dim in dims if dim < x.dim() and x.shape[dim] == count), None)
        if dim is None:
            return x
        kept = torch.tensor([index % count for index in range(number)], device=x.device)
        return _different(x.index_select(dim, kept), dim, count)


def _items(given: Any) -> list[Any]:
    """What stands side by side in what a network is given, or in a batch."""
    if isinstance(given, Arguments):
        return [*given.args, *given.named.values()]
    return list(given) if type(given) in (tuple, list) else [given]


def _is_list(value: Any) -> bool:
    """Whether a value holds a sample in each of its items, as detectors are given images."""
    return type(value) in (list, tuple) and bool(value) and all(isinstance(item, (Tensor, Mapping)) for item in value)


def _shaken(value: Any, index: int) -> Any:
    """A sample like another one and not the same."""
    if isinstance(value, Tensor) and value.is_floating_point() and value.numel():
        noise = torch.rand(value.shape, generator=torch.Generator().manual_seed(index), device="cpu")
        scale = value.abs().max().item() or 1.0
        return value + (0.5 * scale * noise).to(value)
    if isinstance(value, Tensor) and value.dim() and value.dtype is not torch.bool:
        return value.roll(index, -1)
    if isinstance(value, Mapping):
        return {key: _shaken(item, index) for key, item in value.items()}
    return value


def _different(x: Tensor, dim: int, count: int) -> Tensor:
    """The same samples, those that are made up or like the first one shaken."""
    if x.dim() < 2:
        return x
    samples = list(x.unbind(dim))
    for index in range(1, len(samples)):
        if index >= count or torch.equal(samples[index], samples[0]):
            samples[index] = _shaken(samples[index], index)
    return torch.stack(samples, dim)


def _arrangement(few: Tensor, more: Tensor, dim: int, entries: int) -> tuple[int, int] | None:
    """Around how many entries samples are in a dimension and how many each has in a row; the first that fits."""
    scale = max(float(few.abs().max()), float(more.abs().max())) if few.numel() else 0.0
    for outer in range(1, entries + 1):
        if entries % outer == 0:
            inner = entries // outer
            around, within = few.shape[:dim], few.shape[dim + 1 :]
            first = few.reshape(*around, outer, FEW, inner, *within)
            second = more.reshape(*around, outer, MORE, inner, *within).narrow(dim + 1, 0, FEW)
            if torch.allclose(first, second, rtol=1e-3, atol=1e-3 * scale, equal_nan=True):
                return outer, inner
    return None


def _dims_of_read(few: Tensor, more: Tensor) -> SampleDims | str:
    if few.dim() != more.dim():
        return f"has the shape {tuple(few.shape)} for {FEW} samples and {tuple(more.shape)} for {MORE}"
    growing = [dim for dim in range(few.dim()) if few.shape[dim] != more.shape[dim]]
    if not growing:
        return SampleDims(-1, 1, 1, 0)
    dim = growing[0]
    entries = more.shape[dim] - few.shape[dim]
    if len(growing) > 1 or entries < 1 or few.shape[dim] != FEW * entries:
        return f"has the shape {tuple(few.shape)} for {FEW} samples and {tuple(more.shape)} for {MORE}"
    if entries == 1:
        return SampleDims(dim, 1, 1, few.dim())
    arranged = _arrangement(few, more, dim, entries)
    if arranged is None:
        return f"has {entries} entries of dimension {dim} for each sample, in no order that repeats"
    return SampleDims(dim, *arranged, few.dim())


def _dims_of_reads(few: Sequence[Tensor], more: Sequence[Tensor]) -> SampleDims | str:
    """Where the samples are in all reads of an input, or why that cannot be told."""
    found: SampleDims | None = None
    for each in zip(few, more, strict=False):
        dims = _dims_of_read(*each)
        if isinstance(dims, str):
            return dims
        if found is not None and found[:3] != dims[:3]:
            return f"has its samples in dimension {found.dim} of one read and {dims.dim} of another, or more of them"
        found = dims if found is None else dims._replace(dims=min(found.dims, dims.dims))
    assert found is not None
    if len(few) != len(more) and found.dim >= 0:
        return f"is read {len(few)} times for {FEW} samples and {len(more)} times for {MORE}"
    return found


Shapes = Sequence[tuple[tuple[int, ...], int | None]]
"""The shapes that an input had, each with the number of samples of its batch where that is known."""


@dataclasses.dataclass
class _Trial:
    """What two runs showed of every input, and whether it agrees with what layers know of themselves."""

    dims: dict[int, SampleDims | str]
    agrees: bool
    grows: bool
    watched: Watched


class SampleFinder:
    """Finds where the samples are in the inputs of a network.

    Args:
        model: the network, on reliable memory and in evaluation mode meanwhile.
        inputs: its layers and their inputs.
        forward_fn: what runs it.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Sequence[tuple[FaultyLayer, Operand]],
        forward_fn: ForwardFn | None,
    ) -> None:
        self._network, self._forward_fn = bare(model), forward_fn
        self._operands = {id(operand): operand for _, operand in inputs}
        self._stack: Stack | None = None
        self._why: str | None = None
        self.dims: dict[int, SampleDims | str] = {}
        self.watched: Watched | None = None

    def say(self, told: Mapping[str, tuple[int, int]]) -> None:
        """Take what a user says in place of what was found.

        Args:
            told: by operand or pattern of names, the dimension of its samples and its entries for each.

        Raises:
            ValueError: for a name of no input, or what is no dimension or no number of entries.
        """
        for pattern, (dim, entries) in told.items():
            hit = [key for key, operand in self._operands.items() if fnmatch.fnmatchcase(operand.own[0], pattern)]
            if not hit:
                names = ", ".join(operand.own[0] for operand in self._operands.values())
                raise ValueError(f"samples names {pattern!r}, which is no input under faults; allowed are {names}")
            if entries < 1 or dim < -1:
                raise ValueError(
                    f"samples of {pattern!r} is ({dim}, {entries}); allowed are a dimension from 0, or -1 for none, "
                    "and the number of its entries that a sample has, from 1"
                )
            for key in hit:
                self.dims[key] = SampleDims(dim, 1, entries, 0)

    def count(self, batch: Any) -> int | None:
        """Samples of a batch, as far as it is known how they are stacked."""
        return (self._stack or Stack(0)).count(self._given(batch))

    def _given(self, batch: Any) -> Any:
        return batch if self._forward_fn is not None else Arguments.of(self._network, batch)

    def examine(self, batch: Any) -> None:
        """Look for what is not known yet, on a few samples of a batch."""
        if self.watched is not None and self.dims.keys() >= self._operands.keys():
            return
        given = self._given(batch)
        best: tuple[tuple[bool, bool], Stack, _Trial] | None = None
        for stack in (Stack(0), Stack(-1), Stack(1)) if self._stack is None else (self._stack,):
            count = stack.count(given)
            if not count:
                continue
            trial = self._try(stack, given, count)
            if trial is None:
                continue
            rank = trial.grows, trial.agrees
            if best is None or rank > best[0]:
                best = rank, stack, trial
            if all(rank):
                break
        if best is not None:
            self._stack = best[1]
            self.dims = best[2].dims | self.dims
            self.watched = self.watched or best[2].watched

    def watch(self, batch: Any) -> Watched:
        """What the network reads of a batch, of which it need not run on a few samples."""
        self.examine(batch)
        if self.watched is None:
            watch = Watch(self._network)
            with carrying_nothing(self._network), watch.watching():
                call(self._network, batch, self._forward_fn)
            self.watched = Watched.of(watch, None, self.count(batch) or 1)
        return self.watched

    def _try(self, stack: Stack, given: Any, count: int) -> _Trial | None:
        runs, outputs = [], []
        for number in (FEW, MORE):
            watch = Watch(self._network)
            try:
                with carrying_nothing(self._network), watch.watching():
                    output = call(self._network, stack.take(given, count, number), self._forward_fn)
            except Exception as error:  # whatever a network raises for a batch that it does not take
                self._why = self._why or f"{type(error).__name__}: {error}".splitlines()[0]
                return None
            runs.append(watch)
            outputs.append([tuple(x.shape) for x in tensors_in(output)])
        few, more = (watch.reads for watch in runs)
        dims: dict[int, SampleDims | str] = {}
        agrees = True
        for key in few.keys() & more.keys():
            operand, first, second = self._operands[key], few[key], more[key]
            known = operand.role.batch_dim
            found = dims[key] = _dims_of_reads(first, second)
            if len(first) != len(second):  # a call for each sample
                continue
            if any(x.dim() < operand.assumed_dims.dims for x in first):
                self._why = self._why or f"{operand.own[0]} is a single sample"
                return None
            if known is not None and isinstance(found, SampleDims) and found.dim < 0:
                self._why = self._why or f"{operand.own[0]} has as many samples for either"
                return None
            agrees = agrees and (known is None or (isinstance(found, SampleDims) and found.dim == known))
        grows = not any(outputs) or outputs[0] != outputs[1]
        return _Trial(dims, agrees, grows, Watched.of(runs[0], runs[1], FEW))

    def settled(self, shapes: Mapping[int, Shapes]) -> dict[int, SampleDims]:
        """Where the samples are in each input that calibration read, by its id, from the shapes that it had.

        Raises:
            ValueError: naming the input, where that cannot be told.
        """
        return {
            key: self._checked(self._operands[key], found, of)
            if isinstance(found := self.dims.get(key), SampleDims)
            else self._assumed(key, shapes)
            for key, of in shapes.items()
        }

    def _checked(self, operand: Operand, found: SampleDims, shapes: Shapes) -> SampleDims:
        told = found.dim >= 0 and found.dims == 0
        if told:
            found = found._replace(dims=min(len(shape) for shape, _ in shapes))
        entries = found.outer * found.inner
        for shape, count in shapes:
            if found.dim < 0 or len(shape) < found.dims:
                continue
            if entries > 1 and not told and count is not None and shape[found.dim] != entries * count:
                self._refuse(operand, f"has {entries} entries for each sample of one batch, and not of another")
            if len(shape) <= found.dim or shape[found.dim] % entries:
                self._refuse(operand, f"has the shape {shape}, which {entries} entries for each sample do not fill")
        return found

    def _assumed(self, key: int, shapes: Mapping[int, Shapes]) -> SampleDims:
        """Where the samples are in a network that runs on no other number of them, if its layers know it."""
        operand, found = self._operands[key], self.dims.get(key)
        if found is not None or self._stack is not None:
            self._refuse(
                operand,
                found if isinstance(found, str) else f"was not read by the runs on {FEW} and {MORE} samples of a batch",
            )
        single = False
        counts = set()
        for each, of in shapes.items():
            assumed, known = self._operands[each].assumed_dims, self._operands[each].role.batch_dim is not None
            single = single or all(len(shape) < assumed.dims for shape, _ in of)
            counts |= {shape[assumed.dim] for shape, _ in of if known and len(shape) >= assumed.dims}
        assumed = operand.assumed_dims
        if single:
            return assumed._replace(dims=max(len(shape) for shape, _ in shapes[key]) + 1)
        same = all(shape[assumed.dim] == count and counts <= {count} for shape, count in shapes[key])
        if operand.role.batch_dim is None and not same:
            self._refuse(operand, f"is of a network that does not run on {FEW} or {MORE} samples ({self._why})")
        return assumed

    def _refuse(self, operand: Operand, what: str) -> NoReturn:
        raise ValueError(
            f"{operand.own[0]} {what}, so which part of it is one sample cannot be told; say it with "
            f"eden.calibrate_(..., samples={{{operand.own[0]!r}: (dimension of the samples, entries that each has)}}); "
            "a * in the name stands for any text"
        )
