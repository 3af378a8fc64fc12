"""What of a network is under faults, and what is not: every parameter and every layer's input, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from torch import nn

from eden.counting import FlipCounts
from eden.inject import OperandInfo, _eligible_layers, _join, faulty_layers, operands
from eden.nn import BASES, FaultyLayer


@dataclasses.dataclass(frozen=True)
class CoverageRow:
    """One parameter or input.

    Attributes:
        name: of the operand or parameter.
        kind: "weight", "input" or "parameter".
        bytes: size in its storage (of an input, one sample's), None where it is not known yet; 0 of a parameter that is
            tied to one of another row, where its bytes are counted.
        faulty: whether faults reach it.
        note: the error model's storage and rate, or why no fault reaches it.
        loads: how often it was read from the faulty memory.
        flips: what was flipped in the loads that were counted, None where none was.
    """

    name: str
    kind: str
    bytes: int | None
    faulty: bool
    note: str
    loads: int = 0
    flips: FlipCounts | None = None


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Bytes and operands of a network that are under faults, and those that are not; ``print`` shows a table."""

    rows: tuple[CoverageRow, ...]

    @property
    def faulty(self) -> tuple[CoverageRow, ...]:
        """What faults reach."""
        return tuple(row for row in self.rows if row.faulty)

    @property
    def reliable(self) -> tuple[CoverageRow, ...]:
        """What no fault reaches."""
        return tuple(row for row in self.rows if not row.faulty)

    @property
    def faulty_bytes(self) -> int:
        """Bytes of the operands that faults reach, as far as they are known."""
        return sum(row.bytes or 0 for row in self.faulty)

    @property
    def reliable_bytes(self) -> int:
        """Bytes that no fault reaches, as far as they are known."""
        return sum(row.bytes or 0 for row in self.reliable)

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        lines = [f"{'operand':<{width}}  {'kind':<9}  {'bytes':>10}  {'loads':>6}  memory"]
        for row in self.rows:
            size = "?" if row.bytes is None else str(row.bytes)
            memory = row.note if row.faulty else f"reliable: {row.note}"
            if row.flips is not None:
                memory += f"; {row.flips.summary}"
            lines.append(f"{row.name:<{width}}  {row.kind:<9}  {size:>10}  {row.loads:>6}  {memory}")
        lines.append(
            f"under faults: {len(self.faulty)} operands, {self.faulty_bytes} bytes; "
            f"reliable: {len(self.reliable)}, {self.reliable_bytes} bytes"
        )
        return "\n".join(lines)


def coverage(model: nn.Module, counts: Mapping[str, FlipCounts] | None = None) -> Coverage:
    """What of a network is under faults, and what is not.

    Args:
        model: a network under faults.
        counts: what ``eden.counting`` yielded, to show the flips requested and realized beside each operand.

    Returns:
        A row for each operand under faults, each parameter that no fault reaches and each input of a layer with
        parameters that no fault reaches, with the reason.

    Raises:
        ValueError: if the network has no layer under faults.
    """
    infos = operands(model)
    rows = [
        CoverageRow(
            info.name,
            info.kind,
            info.bytes,
            info.errors is not None,
            _memory(info),
            info.loads,
            (counts or {}).get(info.name),
        )
        for info in infos.values()
    ]
    layers = faulty_layers(model)
    _, left_out = _eligible_layers(model)
    # A tied weight is read by several layers, of which faults may reach some: a row for each that they do not.
    counted = {
        id(layer._parameters.get("weight")): layer._eden.weight.name
        for layer in layers.values()
        if layer._eden.weight is not None
    }
    for owner_name, owner in model.named_modules():
        for role, parameter in owner.named_parameters(recurse=False):
            if role == "weight" and isinstance(owner, FaultyLayer) and owner._eden.weight is not None:
                continue
            name, why = _join(owner_name, role), _why(owner_name, owner, role, left_out)
            size = parameter.numel() * parameter.element_size()
            if id(parameter) in counted:
                size, why = 0, f"{why}; tied to {counted[id(parameter)]}"
            counted.setdefault(id(parameter), name)
            rows.append(CoverageRow(name, "parameter", size, False, why))
    for name, module in model.named_modules():
        if any(True for _ in module.parameters(recurse=False)) and not (
            isinstance(module, FaultyLayer) and module._eden.input is not None
        ):
            rows.append(CoverageRow(_join(name, "input"), "input", None, False, _why(name, module, "input", left_out)))
    return Coverage(tuple(rows))


def _memory(info: OperandInfo) -> str:
    if info.errors is None:
        return "no error model"
    if isinstance(info.errors, tuple):
        rates = [0.0 if model is None else model.ber for model, _, _ in info.errors]
        return f"{info.storage}, {len(rates)} pieces, BER {min(rates):.3g} to {max(rates):.3g}"
    return f"{info.storage}, BER {info.errors.ber:.3g}"


def _why(name: str, layer: nn.Module, role: str, left_out: dict[str, str]) -> str:
    if name in left_out:
        return left_out[name]
    if role == "bias":
        return "biases are reliable"
    if isinstance(layer, FaultyLayer):
        return f"Faults gave no error model for {'inputs' if role == 'input' else 'weights'}"
    if isinstance(layer, BASES):
        return "filter_fn left the layer out"
    return f"{type(layer).__name__} is reliable"
