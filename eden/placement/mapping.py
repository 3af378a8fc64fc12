"""The memory map of a placed network (docs/explanation/placement.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eden.common.provenance import Provenance
from eden.devices.device import Device
from eden.devices.partition import Errors, OperatingPoint, Partition, off_nominal
from eden.faults.buffers import range_of
from eden.faults.digests import network_digest
from eden.faults.faulty_layers import faulty_layers
from eden.faults.operand import Operand, Place, operand_numel
from eden.memory.storage import plane_bytes
from eden.placement.map_file import MappedOperand, MappedPartition, MemoryMap
from eden.placement.placement import Placement
from eden.placement.points import answer_at

if TYPE_CHECKING:
    from torch import nn

# A curve's rates are told anew, perhaps by another library of mathematics: far more than those differ by.
_SAME = 1e-9


def _check_point(partition: Partition, placed: OperatingPoint, errors: Errors) -> None:
    """Refuse an operating point that a partition does not offer, or whose rates are above those stated.

    Args:
        partition: of the device.
        placed: what it is to be run at.
        errors: the error model that was stated there.

    Raises:
        ValueError: naming the partition, what was found and what is allowed.

    """
    if not off_nominal(partition.points[0], placed):
        return
    answer = answer_at(partition, placed)
    for stored in ("zero", "one"):
        found, stated = (getattr(model, f"ber_{stored}") for model in (answer, errors))
        if found > stated * (1.0 + _SAME):
            raise ValueError(
                f"partition {partition.name}: at {placed} stored {stored}s have the BER {found:g}; the placement "
                f"states {stated:g}: was it made for another device?"
            )


def _partition(device: Device, name: str) -> Partition:
    """A partition of a placement: one of the device's, or in a coarse one the whole module."""
    return device.whole if name == device.whole.name else device.partition(name)


def _readers(model: nn.Module) -> dict[str, list[str]]:
    """By operand, the roles that read it, the one that it is named after first."""
    found: dict[str, list[str]] = {}
    for layer_name, layer in faulty_layers(model).items():
        for operand in layer.eden_faults.operands():
            own = f"{layer_name}.{operand.role.name}" if layer_name else operand.role.name
            found.setdefault(operand.name, []).append(own)
    return {name: sorted(readers, key=lambda reader: reader != name) for name, readers in found.items()}


def memory_map(model: nn.Module, placement: Placement, device: Device) -> MemoryMap:
    """The map of a placed network: every operand with its address in the device, its form and its operating point.

    Args:
        model: the network, after ``inject_`` and ``calibrate_``.
        placement: where its operands lie.
        device: what it was placed in.

    Raises:
        ValueError: if the placement was made from another device or network, an operand has no place or no known range,
            a partition is at an operating point that the device does not offer there, or samples have cells of their
            own.

    """
    if placement.device != device.name:
        raise ValueError(f"the placement is of device {placement.device!r}; allowed is {device.name!r}")
    network = network_digest(model)
    placement.check_made_from("placement", device=device, network=network)
    partitions = {}
    for name, placed in placement.partitions.items():
        part = _partition(device, name)
        # Of an idle partition, whose supply others may share, a placement states no errors.
        if placed.used_bytes:
            _check_point(part, placed.operating_point, placed.errors)
        partitions[name] = MappedPartition(
            kind=part.kind,
            address_bits=part.address,
            capacity_bytes=part.capacity_bytes,
            operating_point=placed.operating_point,
            errors=placed.errors,
        )
    operands: dict[str, MappedOperand] = {}
    readers = _readers(model)
    for layer in faulty_layers(model).values():
        for operand in layer.eden_faults.operands():
            places = [
                place
                for place in operand.places
                if place.name not in operands and (place.errors is not None or place.name in placement.operands)
            ]
            if not places:
                continue
            if operand.contiguous:
                raise ValueError(
                    f"{operand.name}: each sample has cells of its own (batch 'contiguous'); allowed in a map, which "
                    "has room for one sample, is 'restart'"
                )
            bounds, elements = range_of(layer, operand), operand_numel(layer, operand)
            if bounds is None or elements is None:
                raise ValueError(f"the range and size of {operand.name} are not known; call eden.calibrate_ first")
            for place in places:
                operands[place.name] = _mapped(
                    operand, place, bounds, elements, readers[operand.name], placement, device
                )
    for name in placement.operands:
        if name not in operands:
            raise ValueError(
                f"operand {name} of the placement is no operand of the network under faults; there are "
                f"{', '.join(sorted(operands)) or 'none'}"
            )
    return MemoryMap(
        device=device.name,
        geometry=device.geometry,
        random_layout=placement.random_layout,
        nominal=placement.nominal,
        margin=placement.margin,
        partitions=partitions,
        operands=operands,
        notes=placement.notes,
        provenance=Provenance.made(placement.provenance, placement=placement, device=device, network=network),
    )


def _mapped(
    operand: Operand,
    place: Place,
    bounds: tuple[float, float],
    elements: int,
    readers: list[str],
    placement: Placement,
    device: Device,
) -> MappedOperand:
    placed = placement.operands.get(place.name)
    if placed is None:
        raise ValueError(
            f"operand {place.name} has no place; allowed is a placement of all operands under faults, or to make it "
            "reliable with eden.set_errors_"
        )
    size = plane_bytes(place.plane, operand.storage, elements)
    if placed.bytes != size:
        raise ValueError(
            f"operand {place.name} has {placed.bytes} bytes in the placement and {size} in the network; allowed is "
            "the same size (is the storage the same?)"
        )
    return MappedOperand.model_validate(
        {
            "kind": operand.kind,
            "storage": operand.storage,
            "elements": elements,
            "bytes": size,
            "low": bounds[0],
            "high": bounds[1],
            "magnitude": operand.magnitude if operand.storage == "sign" else None,
            "samples": operand.found_dims,
            "affine": operand.affine,
            "channels": operand.channels,
            "correction": operand.correction,
            "readers": readers,
            "pieces": [
                {
                    "partition": part.partition,
                    "address_bits": _partition(device, part.partition).address + 8 * part.address_bytes,
                    "bytes": part.bytes,
                    "rotation": part.rotation,
                }
                for part in placed.parts
            ],
        }
    )
