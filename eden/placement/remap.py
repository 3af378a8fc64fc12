"""Operands of partitions whose weak cells are known, moved and rotated by the core so that weak cells are low bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from eden import _core
from eden.memory.cell_map import CellMap
from eden.placement.harm import Harm, equivalent_ber, word_harm
from eden.placement.placement import Piece, PlacedOperand, PlacedPartition, Placement
from eden.placement.rotation import PlacedBits, Rotation, memory_of

WINDOWS = 2**22
"""How many places the core looks at in a partition, which takes it a few seconds at most."""

# Of limits that are lower, errors are not counted for more.
_LEAST_LIMIT = 1e-9


class AboveLimitsError(ValueError):
    """Operands meet, where they were moved to, a higher equivalent rate than they tolerate."""

    def __init__(self, names: frozenset[str]) -> None:
        super().__init__(f"above their limits: {', '.join(sorted(names))}")
        self.names = names


class _Part(NamedTuple):
    """A piece of an operand that lies in the partition."""

    operand: str
    number: int
    """Which of the operand's."""
    piece: Piece
    form: int
    weight: float


def remapped(placement: Placement, storage: Mapping[str, str], unit_bytes: int) -> Placement:
    """The placement with operands moved and rotated in each partition that has a cell map.

    What is lowered is the sum over operands of their equivalent rate as a share of their limit: the rate of independent
    errors that would bring the same mean squared error as the weak cells that they lie in. It is never higher than in
    the placement given, which stays where nothing is lower.

    Args:
        placement: where operands lie.
        storage: by operand, the form in which it is stored.
        unit_bytes: bytes of which starts are multiples, and that share a rotation.

    Raises:
        AboveLimitsError: where an operand's equivalent rate is above its limit, and so is its partition's rate.
    """
    found = placement
    for name, home in placement.partitions.items():
        if isinstance(home.errors, CellMap) and home.errors.cells.size and home.used_bytes:
            found = _remapped(found, name, home, home.errors, storage, unit_bytes)
    return found


def _remapped(
    placement: Placement,
    partition: str,
    home: PlacedPartition,
    errors: CellMap,
    storage: Mapping[str, str],
    unit_bytes: int,
) -> Placement:
    unit_bits = 8 * unit_bytes
    forms: list[Harm] = []
    parts: list[_Part] = []
    for name, operand in placement.operands.items():
        harm = word_harm(storage[name], name, unit_bits)
        if harm not in forms:
            forms.append(harm)
        # Of an operand at its limit, with independent errors, it sums up to 1.
        words = 8 * operand.bytes / len(harm[0])
        at_limit = max(operand.limit, _LEAST_LIMIT) / errors.failure * words * (sum(harm[0]) + sum(harm[1]))
        for number, piece in enumerate(operand.parts):
            if piece.partition == partition:
                parts.append(_Part(name, number, piece, forms.index(harm), 1.0 / at_limit if at_limit else 0.0))
    capacity_bits = min(8 * home.capacity_bytes, errors.bits)
    entries = errors.entries()
    units, rotations, before, after = _core.remap(
        entries[: int(errors.cells.searchsorted(capacity_bits))],
        capacity_bits,
        unit_bits,
        forms,
        [(part.piece.address_bytes // unit_bytes, 8 * part.piece.bytes, part.form, part.weight) for part in parts],
        WINDOWS,
    )
    if not after < before:
        units, rotations, after = [part.piece.address_bytes // unit_bytes for part in parts], [b""] * len(parts), before
    operands = dict(placement.operands)
    for part, unit, turned in zip(parts, units, rotations, strict=True):
        operand = operands[part.operand]
        rotation = Rotation.of(len(forms[part.form][0]), unit_bytes, turned)
        changed = {"address_bytes": unit * unit_bytes, "rotation": rotation}
        if operand.pieces:
            pieces = list(operand.pieces)
            pieces[part.number] = part.piece.model_copy(update=changed)
            start = {"address_bytes": pieces[0].address_bytes}
            operands[part.operand] = operand.model_copy(update={"pieces": tuple(pieces), **start})
        else:
            operands[part.operand] = operand.model_copy(update=changed)
    operands = _with_equivalents(operands, parts, forms, errors)
    end = max(unit * unit_bytes + part.piece.bytes for part, unit in zip(parts, units, strict=True))
    partitions = {**placement.partitions, partition: home.model_copy(update={"used_bytes": end})}
    left = after / before if before > 0.0 else 1.0
    note = (
        f"Partition {partition}: operands are remapped around its known weak cells; the mean squared error that these "
        f"bring, weighed by limits, is {left:.2g} of what it was. It holds for this chip as it was measured."
    )
    fields = {"operands": operands, "partitions": partitions, "notes": (*placement.notes, note)}
    return Placement.model_validate({**dict(placement), **fields})


def _with_equivalents(
    operands: Mapping[str, PlacedOperand], parts: Sequence[_Part], forms: Sequence[Harm], errors: CellMap
) -> dict[str, PlacedOperand]:
    """The operands with the equivalent rates that they meet; of split ones the highest of those of their partitions."""
    lying: dict[str, list[PlacedBits]] = {}
    form = {part.operand: forms[part.form] for part in parts}
    for part in parts:
        piece = operands[part.operand].parts[part.number]
        placed = PlacedBits("", 8 * piece.address_bytes, 8 * piece.bytes, piece.rotation)
        lying.setdefault(part.operand, []).append(placed)
    seen = memory_of({"": (errors, 0)}, lying)
    found, above = dict(operands), set()
    for name, pieces in seen.items():
        (as_read, *_), *_ = pieces
        assert isinstance(as_read, CellMap)
        ber = equivalent_ber(as_read, [(first, size) for _, first, size in pieces], form[name])
        # Of a word's bits the rate may be higher than that of independent errors; the partition's own is enough, too.
        ber = max(min(ber, errors.ber), operands[name].equivalent_ber or 0.0 if operands[name].pieces else 0.0)
        if ber > operands[name].limit:
            above.add(name)
        found[name] = operands[name].model_copy(update={"equivalent_ber": ber})
    if above:
        raise AboveLimitsError(frozenset(above))
    return found
