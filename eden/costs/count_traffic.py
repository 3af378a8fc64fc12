"""Which bytes of which operand cross between processor and DRAM in an inference (docs/explanation/accounting.md)."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eden import _core
from eden.costs.defaults import PLATFORM
from eden.costs.planes import by_plane, whole_operands
from eden.costs.platforms import Array, Cache, Platform
from eden.costs.traffic_file import OperandInfo, Traffic, checked_operands, operand_traffic

if TYPE_CHECKING:
    import torch

    from eden.costs.workload import Convolution, Workload
    from eden.faults.forward import ForwardFn


def traffic(
    model: torch.nn.Module | Mapping[str, OperandInfo],
    platform: str | os.PathLike[str] | Platform = PLATFORM,
    batch: int | None = None,
    inputs: torch.Tensor | Mapping[str, torch.Tensor] | Sequence[Any] | None = None,
    storage: str = "float32",
    repeated: bool | None = None,
    forward_fn: ForwardFn | None = None,
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

    Raises:
        ValueError: for an unknown platform or storage, a batch below 1, ``inputs`` of several samples or beside a
            mapping, ``repeated`` without a cache, a model without operands or with one whose size is not known yet, and
            a layer whose operands cannot be told.
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
    if inputs is None:
        _refuse_rereads(model)
        infos = checked_operands(model)
        whole = whole_operands(infos)
        again = held(whole, chosen, shared) is not None and repeated is not False
        return by_plane(_once_each(whole, chosen, shared, again), infos)
    if isinstance(model, Mapping):
        raise ValueError("inputs is given beside operands by name; allowed is a network, whose layers are traced")
    from eden.costs.workload import trace
    from eden.faults.faulty_layers import faulty_layers

    work = trace(model, inputs, storage, forward_fn)
    checked_operands(work.operands)
    if isinstance(chosen.memory, Array):
        counted = _through_array(work, chosen, chosen.memory, shared)
    else:
        again = held(work.operands, chosen, shared) is not None if repeated is None else repeated
        counted = _through_cache(work, chosen, chosen.memory, shared, again)
    return by_plane(counted, checked_operands(model) if faulty_layers(model) else counted.operands)


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
