"""Which bytes of which operand cross between processor and DRAM in an inference (docs/explanation/accounting.md)."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eden import _core
from eden.costs.defaults import PLATFORM
from eden.costs.planes import by_plane, whole_operands
from eden.costs.platforms import Array, Cache, Platform
from eden.costs.traffic_file import OperandInfo, Path, Traffic, checked_operands, operand_traffic

if TYPE_CHECKING:
    import torch

    from eden.costs.workload import Convolution, Workload
    from eden.faults.forward import ForwardFn

_MEMORY_BYTES = 2**30


def traffic(
    model: torch.nn.Module | Mapping[str, OperandInfo],
    platform: str | os.PathLike[str] | Platform = PLATFORM,
    batch: int | None = None,
    inputs: torch.Tensor | Mapping[str, torch.Tensor] | Sequence[Any] | None = None,
    storage: str = "float32",
    repeated: bool | None = None,
    forward_fn: ForwardFn | None = None,
    data: Any = None,
) -> Traffic:
    """Bytes that each operand moves between processor and DRAM per inference of one sample.

    With ``inputs``, a forward pass tells the layers, their shapes and their order, and the platform's memory what
    crosses: of an array the order of its loops (``csrc/costs/array.cpp``), of a cache which operands it still holds.
    Without, a weight is read once per ``batch`` samples, and a feature map is written once and read once. What either
    rests on is in the result's ``notes`` and in docs/explanation/accounting.md. Operands that no fault reaches (biases,
    normalization) are not counted.

    Args:
        model: a network after ``inject_`` and ``calibrate_``, or operands by name, each with ``bytes`` and ``kind``
            (``placement.operands`` is such a mapping). With ``inputs`` also a network without faults, on any device,
            the meta device included: its operands are the weights and inputs of its convolutions and linear layers.
        platform: "cpu", "gpu", "eyeriss", "tpu", the path of a file ending in .json, or a Platform.
        batch: samples that share one read of the weights; the platform's where none is given.
        inputs: one sample with its batch dimension, shape (1, ...); a tuple is handed to the network as arguments, and
            a mapping by name; of a batch of a loader, such as (input, target), as in ``eden.calibrate_``.
        storage: of a network without faults, the form in which the memory keeps weights and maps.
        repeated: of a cache, whether an inference is counted that follows an equal one, or one that finds the cache
            empty. None: that which follows where the cache holds all operands, so that nothing moves; else the other.
        forward_fn: runs the network on ``inputs``, whatever they are then, as in ``eden.calibrate_``.
        data: in place of ``inputs``, samples as of ``eden.profile``'s loader, for a network that skips layers by its
            input: each sample runs alone, and what it skips is neither read nor written. Operands move what they move
            on average; ``Traffic.loads``, ``spread_bytes`` and ``paths`` say how often and how far from it. Of samples
            that share one read of the weights (``batch``) those count that follow one another in the data, and a
            weight is read if one of them needs it.

    Raises:
        ValueError: for an unknown platform or storage, a batch below 1, ``inputs`` of several samples or beside a
            mapping or ``data``, an operand that no sample of ``data`` reads, ``repeated`` without a cache, a model
            without operands or with one whose size is not known yet, and a layer whose operands cannot be told.
        FileError: for a file of a platform that cannot be used.

    """
    chosen = Platform.named(platform)
    shared = chosen.batch if batch is None else batch
    if isinstance(shared, bool) or not isinstance(shared, int) or shared < 1:
        raise ValueError(f"batch is {shared!r}; allowed is an integer from 1")
    if repeated and not isinstance(chosen.memory, Cache):
        raise ValueError(
            f"repeated is True; allowed for {chosen.name}, which keeps nothing between inferences, is False"
        )
    if data is not None:
        if inputs is not None or isinstance(model, Mapping):
            what = "inputs" if inputs is not None else "operands by name"
            raise ValueError(f"data is given beside {what}; allowed is a network, and one of inputs and data")
        counted = _over(data, model, chosen, shared, storage, repeated, forward_fn)
    elif inputs is None:
        _refuse_rereads(model)
        infos = checked_operands(model)
        whole = whole_operands(infos)
        again = held(whole, chosen, shared) is not None and repeated is not False
        return by_plane(_once_each(whole, chosen, shared, again), infos)
    elif isinstance(model, Mapping):
        raise ValueError("inputs is given beside operands by name; allowed is a network, whose layers are traced")
    else:
        from eden.costs.workload import trace

        work = trace(model, inputs, storage, forward_fn)
        checked_operands(work.operands)
        counted = _through(work, chosen, shared, _again(work.operands, chosen, shared, repeated))
    from eden.faults.faulty_layers import faulty_layers

    return by_plane(counted, checked_operands(model) if faulty_layers(model) else counted.operands)


def _again(infos: Mapping[str, OperandInfo], chosen: Platform, shared: int, repeated: bool | None) -> bool:
    """Whether an inference is counted that follows another one."""
    return held(infos, chosen, shared) is not None if repeated is None else repeated


def _through(work: Workload, chosen: Platform, shared: int, again: bool) -> Traffic:
    if isinstance(chosen.memory, Array):
        return _through_array(work, chosen, chosen.memory, shared)
    return _through_cache(work, chosen, chosen.memory, shared, again)


def _over(
    data: Any,
    model: torch.nn.Module,
    chosen: Platform,
    shared: int,
    storage: str,
    repeated: bool | None,
    forward_fn: ForwardFn | None,
) -> Traffic:
    """The mean traffic of samples that run alone, and each one's own."""
    from eden.costs.workload import trace
    from eden.faults.faulty_layers import faulty_layers
    from eden.faults.forward import Arguments
    from eden.faults.samples import samples_of

    samples = samples_of(data, _MEMORY_BYTES)
    works = []
    for index in range(len(samples)):
        batch = samples.batch([index])
        works.append(trace(model, batch if forward_fn else Arguments.of(model, batch), storage, forward_fn))
    # Of an input the largest sample's, as calibration has it.
    known = sorted((item for work in works for item in work.operands.items()), key=lambda item: item[1].bytes)
    infos = {name: dict(known)[name] for name in dict.fromkeys(name for work in works for name in work.operands)}
    if faulty_layers(model):
        infos = {name: infos[name] for name in whole_operands(checked_operands(model)) if name in infos}
    unread = frozenset.intersection(*(work.unread for work in works))
    if unread:
        raise ValueError(
            f"{', '.join(sorted(unread))}: never read for any of {len(works)} samples, as behind a gate that is never "
            "open; leave them out with inject_'s filter_fn, or give data that reads them"
        )
    again = _again(checked_operands(infos), chosen, shared, repeated)
    alike: dict[Any, Traffic | None] = {}
    for work in works:
        if work.calls not in alike:
            alike[work.calls] = _through(work, chosen, shared, again) if work.operands else None
    groups = [[alike[work.calls] for work in works[first : first + shared]] for first in range(0, len(works), shared)]
    moves = Counter(_of_group(group, infos) for group in groups)
    paths = tuple(
        Path(
            share=count / len(groups),
            read_bytes={name: read for name, read, _ in moved if read},
            written_bytes={name: written for name, _, written in moved if written},
        )
        for moved, count in moves.items()
    )
    counted = [one for one in alike.values() if one is not None]
    fitting = {name: moved.fits_on_chip for one in counted for name, moved in one.operands.items()}
    operands = {
        name: operand_traffic(
            info,
            sum(path.share * path.read_bytes.get(name, 0.0) for path in paths),
            sum(path.share * path.written_bytes.get(name, 0.0) for path in paths),
            fitting[name],
        )
        for name, info in infos.items()
    }
    notes = (
        *counted[0].notes,
        f"Counted over {len(works)} samples, each alone: what a sample skips is neither read nor written, and operands "
        "move what they move on average.",
    )
    return Traffic(platform=chosen.name, batch=shared, operands=operands, notes=notes, paths=paths)


def _of_group(
    group: Sequence[Traffic | None], infos: Mapping[str, OperandInfo]
) -> tuple[tuple[str, float, float], ...]:
    """By operand, the bytes read and written per sample of some that share one read of the weights."""
    found = []
    for name, info in infos.items():
        each = [one.operands.get(name) if one is not None else None for one in group]
        read = [0.0 if one is None else one.read_bytes for one in each]
        written = sum(0.0 if one is None else one.written_bytes for one in each) / len(group)
        # What one of them needs is read for all of them.
        found.append((name, max(read) if info.kind == "weight" else sum(read) / len(group), written))
    return tuple(found)


def _refuse_rereads(model: Any) -> None:
    """Raise ValueError for a network that reads each operand several times, which only a pass tells."""
    if isinstance(model, Mapping):
        return
    from eden.faults.ensemble import Ensemble

    for module in model.modules():
        if isinstance(module, Ensemble) and module.over == "reads" and module.members > 1:
            raise ValueError(
                f"an ensemble over {module.members} reads reads each operand so many times, and inputs is None; "
                "allowed is one sample, by which eden.traffic counts them; eden.savings and eden.account take those"
            )


def held(infos: Mapping[str, OperandInfo], platform: Platform, batch: int | None = None) -> str | None:
    """That a platform's cache holds all operands, of a batch of samples, in a sentence; None where it does not."""
    if not isinstance(platform.memory, Cache):
        return None
    samples = platform.batch if batch is None else batch
    total = sum(_size(info) * (samples if info.kind == "input" else 1) for info in infos.values())
    if total > platform.memory.bytes:
        return None
    return (
        f"All {total} bytes of operands fit in the cache of {platform.memory.bytes} bytes of {platform.name}: from the "
        "second inference in a row on nothing moves, and nothing is saved."
    )


def _fitting_note(infos: Mapping[str, OperandInfo], chosen: Platform, shared: int, again: bool) -> list[str]:
    """Whether all operands fit in a cache, and what is counted then."""
    fits = held(infos, chosen, shared)
    counted = "follows another one" if again else "finds the cache empty"
    return [] if fits is None else [f"{fits} Counted here is an inference that {counted}."]


def _once_each(infos: Mapping[str, OperandInfo], chosen: Platform, shared: int, again: bool) -> Traffic:
    counted = {}
    for name, info in infos.items():
        weight = info.kind == "weight"
        size = 0 if again else _size(info)
        counted[name] = operand_traffic(
            info, size / shared if weight else size, 0 if weight else size, _size(info) <= chosen.on_chip_bytes
        )
    return Traffic(
        platform=chosen.name,
        batch=shared,
        operands=counted,
        notes=(
            f"Weights are read once per {shared} sample(s), feature maps are written once and read once; nothing "
            "crosses more often than that: the network's layers were not given (inputs).",
            *_fitting_note(infos, chosen, shared, again),
        ),
    )


@functools.lru_cache(maxsize=4096)
def _array_words(layer: Convolution, array: Array, batch: int, input_bits: int, filter_bits: int) -> tuple[int, int]:
    """Words of all groups that are read of the input and of the filters, for a batch."""
    words = _core.array_traffic(layer.core(batch), array.core(input_bits, filter_bits))
    return layer.groups * words[0], layer.groups * words[1]


def _through_array(work: Workload, chosen: Platform, array: Array, batch: int) -> Traffic:
    read = dict.fromkeys(work.operands, 0.0)
    written = dict.fromkeys(work.operands, 0)
    once = 0
    for call in work.calls:
        loops = call.loops
        names = (*call.inputs, *call.weights)
        for name in call.new:
            written[name] += work.operands[name].bytes
        if loops is None:
            once += 1
        bits = {name: work.operands[name].bits for name in names}
        # A layer of which only one operand is under faults: the other is as wide.
        widest = max(bits.values(), default=8)
        for name in names:
            info = work.operands[name]
            if loops is None or name not in call.looped:
                read[name] += info.bytes if info.kind == "input" else info.bytes / batch
                continue
            of_kind = {
                kind: max((bits[other] for other in of if other in call.looped), default=widest)
                for kind, of in (("input", call.inputs), ("weight", call.weights))
            }
            inputs, filters = _array_words(loops, array, batch, of_kind["input"], of_kind["weight"])
            read[name] += (inputs if info.kind == "input" else filters) * info.bits / 8 / batch
    counted = {
        name: operand_traffic(info, read[name], written[name], info.bytes <= chosen.on_chip_bytes)
        for name, info in work.operands.items()
    }
    notes = [
        f"Reads follow the loops of {array.rows} x {array.columns} elements, {array.dataflow}-stationary, with "
        f"double-buffered memories of {array.input_kib} KiB for inputs and {array.filter_kib} KiB for weights.",
        "A feature map is written once, after activation, normalization and pooling; partial sums stay in the array.",
    ]
    if once:
        notes.append(
            f"{once} of {len(work.calls)} calls of layers are neither convolutions over one or two dimensions nor "
            "matrix products; they read each operand once."
        )
    return Traffic(platform=chosen.name, batch=batch, operands=counted, notes=tuple(notes))


def _through_cache(work: Workload, chosen: Platform, cache: Cache, batch: int, repeated: bool) -> Traffic:
    index = {name: i for i, name in enumerate(work.operands)}
    cached = [
        (info.bytes * (batch if info.kind == "input" else 1), info.kind == "weight") for info in work.operands.values()
    ]
    layers: list[tuple[list[int], list[int]]] = [([], [])]
    for call in work.calls:
        # What a layer reads first was written while the one before it ran.
        layers[-1][1].extend(index[name] for name in call.new)
        layers.append(([index[name] for name in (*call.inputs, *call.weights)], []))
    read, written = _core.cache_traffic(cached, layers, max(cache.bytes, 64), 2 if repeated else 1)
    counted = {
        name: operand_traffic(info, read[index[name]] / batch, written[index[name]] / batch, fits=False)
        for name, info in work.operands.items()
    }
    first = "follows an equal one" if repeated else "finds the cache empty"
    return Traffic(
        platform=chosen.name,
        batch=batch,
        operands=counted,
        notes=(
            f"What crosses is what a cache of {cache.bytes} bytes, least recently used out first, does not hold when "
            f"it is used, in an inference that {first}; nothing else uses the cache.",
            "A feature map that no layer reads any more is given up without being written back, since its memory is "
            "used again.",
            *_fitting_note(work.operands, chosen, batch, repeated),
        ),
    )


def _size(info: OperandInfo) -> int:
    assert info.bytes is not None
    return info.bytes
