"""Writing a network's weights into a memory image, as its map says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from eden import _core
from eden.common.provenance import Provenance
from eden.deployment.codes import SYMMETRIC_STORAGES, quantized, words_of
from eden.deployment.image import ImageHeader, ImageOperand, ImagePiece, MemoryImage
from eden.faults.digests import network_digest
from eden.faults.faulty_layers import FaultyLayer, layer_operands, require_faults
from eden.faults.layers import stored
from eden.faults.operand import Operand
from eden.memory.region import Memory
from eden.memory.storage import measure_range
from eden.placement.map_file import MemoryMap


def memory_image(model: nn.Module, memory_map: MemoryMap | None = None) -> MemoryImage:
    """The words of a network's weights at their addresses: what is written into the memory before it is deployed.

    Args:
        model: a network under faults, calibrated, whose weights are kept as "int8" or "int8_sign_magnitude".
        memory_map: where they lie, of ``eden.memory_map``; None for where the network has them, as a map or placement
            that it was put under says, or ``eden.inject_`` without one.

    Returns:
        The image: every operand of kind "weight", feature maps being written when the network runs.

    Raises:
        ValueError: naming the operand, for a storage of other words, one in planes or with a value that is not finite,
            or one that the map does not have; for a map of another network, or of another placement than the one that
            the network is under; or if no weight is under faults.
        TypeError: for a map that is none.
    """
    if memory_map is not None and not isinstance(memory_map, MemoryMap):
        raise TypeError(
            f"memory_map is a {type(memory_map).__name__}; allowed is what eden.memory_map returns, or None"
        )
    require_faults(model)
    network = network_digest(model)
    if memory_map is not None:
        memory_map.check_made_from("memory map", network=network)
    operands: dict[str, ImageOperand] = {}
    words: dict[str, Tensor] = {}
    for layer, operand in layer_operands(model, "weight"):
        if operand.name in words:
            continue
        check_whole_words(operand)
        codes = weight_codes(layer, operand)
        words[operand.name] = words_of(codes, operand.storage).reshape(-1).contiguous()
        operands[operand.name] = ImageOperand.model_validate(
            {"storage": operand.storage, "pieces": _pieces(operand, codes.numel(), memory_map)}
        )
    if not words:
        raise ValueError(f"{type(model).__name__} has no weight under faults; allowed is eden.Faults(weights=...)")
    of: dict[str, Any] = {"network": network, "memory map": memory_map}
    made = Provenance.made(None if memory_map is None else memory_map.provenance, **of)
    header = ImageHeader(random_layout=_core.RANDOM_LAYOUT_VERSION, operands=operands, provenance=made)
    return MemoryImage(header, words)


def check_whole_words(operand: Operand) -> None:
    """Refuse a weight that no image holds. Raises ValueError naming it."""
    storage, allowed = operand.storage, " or ".join(map(repr, SYMMETRIC_STORAGES))
    if operand.packed or storage not in SYMMETRIC_STORAGES:
        found = "codes of a quantizer's class of tensors" if operand.packed else f"storage {storage!r}"
        raise ValueError(
            f"{operand.name} is kept in {found}; allowed for integer inference is {allowed} (Faults.storage)"
        )
    if operand.affine:
        raise ValueError(
            f"{operand.name} is kept in codes with a zero point; allowed for integer inference is "
            "Faults.quantization='symmetric'"
        )
    if operand.planes:
        raise ValueError(
            f"{operand.name} lies in planes; allowed in a memory image are whole words (Faults.planes is None)"
        )


def weight_codes(layer: FaultyLayer, operand: Operand) -> Tensor:
    """The codes that memory keeps a weight as, int32 of its shape. Raises ValueError for values that are not finite."""
    values = stored(layer, operand.role.name).detach()
    scale, _, _ = measure_range(values, operand.storage, False, False, operand.channel_dim)
    assert scale is not None
    if not bool(torch.isfinite(scale).all()):
        raise ValueError(f"{operand.name} has a value that is not finite; allowed are finite numbers")
    return quantized(values.float(), by_channel(scale, operand.channel_dim, values.dim()), 0, operand.storage, False)


def by_channel(numbers: Tensor, channel_dim: int, dims: int) -> Tensor:
    """Numbers of channels in a shape that goes with a tensor of so many dimensions; others as they are."""
    return numbers if channel_dim < 0 else numbers.reshape([-1 if dim == channel_dim else 1 for dim in range(dims)])


def _pieces(operand: Operand, count: int, memory_map: MemoryMap | None) -> list[ImagePiece]:
    held = located(operand, count)
    if memory_map is not None:
        mapped = memory_map.operands.get(operand.name)
        if mapped is None or mapped.storage != operand.storage or mapped.bytes != count:
            found = "nothing" if mapped is None else f"{mapped.bytes} bytes of {mapped.storage}"
            raise ValueError(
                f"{operand.name}: the memory map has {found}; allowed is the network's, {count} bytes of "
                f"{operand.storage}"
            )
        pieces = memory_map.memory[operand.name]
        if isinstance(operand.errors, tuple) and located(operand, count, pieces) != held:
            raise ValueError(
                f"{operand.name} lies in the map from bit {pieces[0][1]} on, and the network is under a placement "
                f"that has it from bit {held[0].address_bits} on, or in other pieces; allowed is the map of that "
                "placement"
            )
        held = located(operand, count, pieces)
    return held


def located(operand: Operand, count: int, memory: Memory = None) -> list[ImagePiece]:
    """Where a weight of so many bytes lies: in the pieces given, or in its own memory."""
    memory = memory or operand.errors
    pieces = memory if isinstance(memory, tuple) else ((memory, operand.address, 8 * count),)
    found = []
    for errors, address, bits in pieces:
        size = min(bits // 8, count)
        if size > 0:
            found.append(
                ImagePiece(address_bits=address, bytes=size, errors=None if errors is None else errors.to_dict())
            )
        count -= size
    return found
