"""The operands of a network, the memory that each is in, and moving them to another."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import nn

from eden.faults.buffers import write_region
from eden.faults.faulty_layers import FaultyLayer, layer_operands, require_faults
from eden.faults.operand import Operand, operand_numel
from eden.memory.errors import ErrorModel
from eden.memory.planes import Plane
from eden.memory.region import Memory, Piece
from eden.memory.storage import STORAGE_BITS, plane_bytes


@dataclasses.dataclass(frozen=True)
class OperandInfo:
    """One operand of a network under faults.

    Attributes:
        name: ``layer.role``, such as ``conv1.weight``, ``conv1.input`` or ``attention.query``.
        kind: "weight" of a parameter or buffer, "input" of a feature map.
        bytes: size in its storage; of an input, one sample's; None for an input before `calibrate_`.
        errors: its error model; or the pieces of memory that it lies in (`set_errors_`).
        storage: the form in which the memory keeps it.
        address: its first bit.
        loads: how often it was read since the chip was set.
        layers: the layers that read it.
    """

    name: str
    kind: str
    bytes: int | None
    errors: Memory
    storage: str
    address: int
    loads: int
    layers: tuple[str, ...]
    operand: str = ""
    """The name of what it is a plane of; its own where it is a whole operand."""
    plane: Plane = ()
    """The bit positions that it holds, the highest first; () for whole words."""

    @property
    def bits(self) -> int:
        """Bits of an element that lie in it."""
        return len(self.plane) or STORAGE_BITS[self.storage]


def operands(model: nn.Module) -> dict[str, OperandInfo]:
    """The operands of a network that are under faults, or their planes, in the order of their addresses.

    Raises:
        ValueError: if the network has no layer under faults.
    """
    found: dict[str, OperandInfo] = {}
    for layer_name, layer in require_faults(model).items():
        loads = int(layer.eden_access) + int(layer.eden_training_access)
        for operand in layer.eden_faults.operands():
            numel = operand_numel(layer, operand)
            for name, plane, address, errors in operand.places:
                if name in found:
                    info = found[name]
                    if layer_name not in info.layers:
                        found[name] = dataclasses.replace(
                            info, loads=info.loads + loads, layers=(*info.layers, layer_name)
                        )
                    continue
                size = None if numel is None else plane_bytes(plane, operand.storage, numel)
                of_layer = operand.storage, address, loads, (layer_name,)
                found[name] = OperandInfo(name, operand.kind, size, errors, *of_layer, operand.name, plane)
    return dict(sorted(found.items(), key=lambda item: item[1].address))


def scalable_errors(model: nn.Module) -> dict[str, ErrorModel]:
    """The error models of the operands that have one, which can be brought to other rates.

    Raises:
        ValueError: for an operand that lies in pieces of memory with different error models, or a network without a
            layer under faults.
    """
    found: dict[str, ErrorModel] = {}
    for name, info in operands(model).items():
        pieces = info.errors if isinstance(info.errors, tuple) else ((info.errors, info.address, 0),)
        errors = pieces[0][0]
        if any(other != errors for other, _, _ in pieces):
            raise ValueError(
                f"{name} lies in {len(pieces)} pieces of memory, which have no common rate; allowed is one error model "
                "for all of them (eden.set_errors_)"
            )
        if errors is not None:
            found[name] = errors
    return found


def join_planes_(model: nn.Module, errors: ErrorModel) -> nn.Module:
    """Keep the words of operands in planes whole again, each at the operand's own address in one memory, in place.

    Args:
        model: a network under faults.
        errors: of that memory.

    Returns:
        The same network.
    """
    for layer, operand in layer_operands(model, absent=True):
        if operand.planes:
            operand.errors, operand.planes = errors, {}
            write_region(layer, operand)
    return model


def set_scaled_errors_(model: nn.Module, errors: Mapping[str, ErrorModel]) -> None:
    """``set_errors_`` of what `scalable_errors` gave, at other rates: an operand in pieces of memory stays in them."""
    set_errors_(model, _in_place(model, errors))


def _in_place(
    model: nn.Module, errors: Mapping[str, ErrorModel | Sequence[Piece]]
) -> dict[str, ErrorModel | Sequence[Piece]]:
    """Where a single error model is given for an operand in pieces of memory, these pieces with it."""
    infos = operands(model)
    planes: dict[str, list[str]] = {}
    for name, info in infos.items():
        planes.setdefault(info.operand, []).append(name)
    found: dict[str, ErrorModel | Sequence[Piece]] = {}
    for name, given in errors.items():
        found[name] = given  # set_errors_ refuses a name that is none
        for of in [name] if name in infos else planes.get(name, []):
            place = infos[of].errors
            if isinstance(given, ErrorModel) and isinstance(place, tuple):
                found[of] = [(given, address, bits) for _, address, bits in place]
    return found


class InMemory(Protocol):
    """What says in which memory operands are: ``eden.Tolerance``, whose limits they get, or ``eden.Placement``."""

    @property
    def memory(self) -> Mapping[str, ErrorModel | Sequence[Piece]]:
        """By operand, its error model or the pieces of memory that it lies in."""


def set_errors_(model: nn.Module, errors: Mapping[str, ErrorModel | Sequence[Piece] | None] | InMemory) -> nn.Module:
    """Change the error models of operands, in place.

    A compiled network is not compiled again, unless the number of an operand's pieces or the size of their models'
    table changes; all populations of lines have tables of one size.

    Args:
        model: a network under faults.
        errors: by name of an operand, or of a plane, as `operands` has it; of an operand in planes, for all of them:
            the error model of the memory, the operand staying at its address; or the pieces of
            memory that hold it, in order, each a tuple (error model or None, first bit, bits), as a placement gives
            them; None makes an operand reliable, its storage and correction kept. After pieces, a single model holds
            at the operand's own address again. A tolerance puts the network at its limits, operands in pieces of memory
            staying in them; a placement puts it into its partitions.

    Returns:
        The same network.

    Raises:
        ValueError: for a name that is no operand of the network, or a memory that does not hold the operand; nothing is
            changed then.
        TypeError: for a value that is no error model and no pieces; nothing is changed then.
    """
    require_faults(model)
    if not isinstance(errors, Mapping):
        memory = getattr(errors, "memory", None)
        if not isinstance(memory, Mapping):
            raise TypeError(
                f"errors is a {type(errors).__name__}; allowed are errors by operand, a tolerance, or a placement"
            )
        errors = _in_place(model, memory)
    every = list(layer_operands(model, absent=True))
    # A plane's name says which, an operand's all of its planes.
    names = {place.name for _, operand in every for place in operand.places} | {operand.name for _, operand in every}
    memories: dict[str, Memory] = {}
    for name, value in errors.items():
        if name not in names:
            raise ValueError(f"{name!r} is no operand under faults; allowed are {', '.join(sorted(names))}")
        if value is None or isinstance(value, ErrorModel):
            memories[name] = value
        elif isinstance(value, (list, tuple)) and all(isinstance(p, (list, tuple)) and len(p) == 3 for p in value):
            memories[name] = tuple((memory, address, bits) for memory, address, bits in value)
            parts = next((operand.places for _, operand in every if operand.name == name and operand.planes), [])
            if parts:
                raise ValueError(
                    f"{name} lies in planes, and {len(value)} pieces are given for all of them; allowed are pieces of "
                    f"each: {', '.join(place.name for place in parts)}"
                )
        else:
            raise TypeError(
                f"the errors of {name} are a {type(value).__name__}; allowed is an error model, a list of pieces "
                "(errors, address, bits), or None"
            )
    changed: list[tuple[FaultyLayer, Operand, Operand]] = []
    for layer, operand in every:
        moved = operand
        for place in operand.places:
            name = place.name if place.name in memories else operand.name
            if name in memories:
                moved = moved.in_memory(place, memories[name])
        if moved is not operand:
            moved.rows(False, operand_numel(layer, operand))
            changed.append((layer, operand, moved))
    for layer, operand, moved in changed:
        operand.errors, operand.planes = moved.errors, moved.planes
        write_region(layer, operand)
    return model
