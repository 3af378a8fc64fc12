"""Traffic of operands in planes: counted in whole words, all of whose planes are read together, and shared out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, cast

from eden.costs.traffic_file import OperandInfo, OperandTraffic, Path, Traffic
from eden.memory.planes import operand_and_plane


class Whole(NamedTuple):
    """An operand with all of its planes."""

    bytes: int | None
    kind: Literal["weight", "input"]


def whole_operands(infos: Mapping[str, OperandInfo]) -> dict[str, OperandInfo]:
    """Operands by name, those in planes with the bytes of all of them."""
    found: dict[str, OperandInfo] = {}
    for name, info in infos.items():
        operand, plane = operand_and_plane(name)
        if not plane:
            found[operand] = info
            continue
        before = found[operand].bytes if operand in found else 0
        size = None if info.bytes is None or before is None else before + info.bytes
        found[operand] = Whole(size, cast(Literal["weight", "input"], info.kind))
    return found


def by_plane(moved: Traffic, infos: Mapping[str, OperandInfo]) -> Traffic:
    """What whole operands move, shared out to their planes by their bytes.

    A plane is a stream of its own: a word that is asked for costs, in each place that holds some of it, the share of
    bursts that its bits there are of those that a burst holds.
    """
    if not any(operand_and_plane(name)[1] for name in infos):
        return moved
    counted: dict[str, OperandTraffic] = {}
    shares: dict[str, dict[str, float]] = {}
    for name, info in infos.items():
        operand, _ = operand_and_plane(name)
        if operand not in moved.operands:  # not read in the pass that was counted
            continue
        whole = moved.operands[operand]
        share = (info.bytes or 0) / whole.bytes
        shares.setdefault(operand, {})[name] = share
        counted[name] = whole.model_copy(
            update={
                "bytes": info.bytes,
                "read_bytes": whole.read_bytes * share,
                "written_bytes": whole.written_bytes * share,
            }
        )

    def split(moves: Mapping[str, float]) -> dict[str, float]:
        return {
            name: share * moves[whole] for whole, of in shares.items() if whole in moves for name, share in of.items()
        }

    paths = tuple(
        Path(share=path.share, read_bytes=split(path.read_bytes), written_bytes=split(path.written_bytes))
        for path in moved.paths
    )
    note = "Planes are read together, each as a stream of its own bytes, in whatever place it lies."
    return moved.model_copy(update={"operands": counted, "paths": paths, "notes": (*moved.notes, note)})
