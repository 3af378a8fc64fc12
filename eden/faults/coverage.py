"""What of a network is under faults, and what is not: every parameter, buffer and layer's input, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from eden.common.tables import text_table
from eden.faults.counting import FlipCounts
from eden.faults.faulty_layers import faulty_layers, layer_operands
from eden.faults.functions import FunctionUse, function_uses
from eden.faults.layers import Role, layer_class
from eden.faults.memories import OperandInfo, operands
from eden.faults.operand import Operand
from eden.faults.reach import eligible_layers, join_names


@dataclasses.dataclass(frozen=True)
class CoverageRow:
    """One parameter, buffer, input, or use of tensors outside of layers.

    Attributes:
        name: of the operand, parameter or buffer; of a use, the module's and the function's.
        kind: of an operand "weight" or "input"; of what no fault reaches also "parameter", "buffer" or "function".
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
        rows = []
        for row in self.rows:
            memory = row.note if row.faulty else f"reliable: {row.note}"
            if row.flips is not None:
                memory += f"; {row.flips.summary}"
            rows.append((row.name, row.kind, "?" if row.bytes is None else str(row.bytes), str(row.loads), memory))
        table = text_table(("operand", "kind", "bytes", "loads", "memory"), rows)
        return (
            f"{table}\nunder faults: {len(self.faulty)} operands, {self.faulty_bytes} bytes; "
            f"reliable: {len(self.reliable)}, {self.reliable_bytes} bytes"
        )


def coverage(model: nn.Module, counts: Mapping[str, FlipCounts] | None = None, sample: Any = None) -> Coverage:
    """What of a network is under faults, and what is not.

    Args:
        model: a network under faults.
        counts: what ``eden.faults.counting.counting`` yielded: shows flips requested and realized of each operand.
        sample: an input of the network. One forward pass with it, on reliable memory and in evaluation mode, also finds
            what reads tensors outside of layers: parameters, and functions of several feature maps, such as the sum of
            a residual connection. ``eden.FeatureMap`` puts such a tensor into memory.

    Returns:
        A row for each operand under faults, each parameter and buffer that no fault reaches and each input of a layer
        that no fault reaches, with the reason; with ``sample``, one for each function of several feature maps too.

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
    uses = [] if sample is None else function_uses(model, sample)
    reliable = _Reliable(model, uses)
    rows += reliable.parameters()
    rows += reliable.inputs()
    rows += [
        CoverageRow(join_names(use.module, use.function), "function", None, False, _of_function(use))
        for use in uses
        if use.feature_maps > 1
    ]
    return Coverage(tuple(rows))


def _memory(info: OperandInfo) -> str:
    if info.errors is None:
        return "no error model"
    if isinstance(info.errors, tuple):
        rates = [0.0 if model is None else model.ber for model, _, _ in info.errors]
        return f"{info.storage}, {len(rates)} pieces, BER {min(rates):.3g} to {max(rates):.3g}"
    return f"{info.storage}, BER {info.errors.ber:.3g}"


def _of_function(use: FunctionUse) -> str:
    times = "" if use.calls == 1 else f", {use.calls} times"
    return f"{use.what} in {use.module_type}{times}, outside of any layer; eden.FeatureMap puts its tensors into memory"


class _Reliable:
    """The rows of what no fault reaches."""

    def __init__(self, model: nn.Module, uses: Sequence[FunctionUse]) -> None:
        self._modules = dict(model.named_modules())
        self._faulty = faulty_layers(model)
        self._eligible, self._left_out = eligible_layers(model)
        self._parts = {operand.role.part for _, operand in layer_operands(model, absent=True)}
        self._uses: dict[str, list[FunctionUse]] = {}
        for use in uses:
            for name in use.parameters:
                self._uses.setdefault(name, []).append(use)
        self._operands: dict[str, Operand] = {}  # by their own layer's name for them
        self._roles: dict[str, tuple[str, Role]] = {}  # of all layers that could be under faults
        for name, layer in self._eligible.items():
            for role in layer_class(layer).roles(layer):
                self._roles[join_names(name, role.name)] = name, role
            if name in self._faulty:
                for which, operand in self._faulty[name].eden_faults.by_role.items():
                    self._operands[join_names(name, which)] = operand

    def parameters(self) -> list[CoverageRow]:
        rows = []
        # A tied weight is read by several layers, of which faults may reach some: a row for each that they do not.
        counted = {
            id(held): operand.name
            for name, operand in self._operands.items()
            if operand.kind == "weight" and (held := self._held(name)) is not None
        }
        for owner_name, owner in self._modules.items():
            found = [("parameter", *each) for each in owner.named_parameters(recurse=False)]
            found += [
                ("buffer", *each) for each in owner.named_buffers(recurse=False) if not each[0].startswith("eden_")
            ]
            for kind, attribute, tensor in found:
                name = join_names(owner_name, attribute)
                if name in self._operands:
                    continue
                why = self._why_stored(name, owner_name, owner, kind, tensor)
                size = tensor.numel() * tensor.element_size()
                parametrized = owner_name.replace("parametrizations.", "")
                if parametrized != owner_name and parametrized in self._operands:
                    size, why = 0, f"{parametrized}, which is made from it, is what memory holds"
                elif id(tensor) in counted:
                    size, why = 0, f"{why}; tied to {counted[id(tensor)]}"
                counted.setdefault(id(tensor), name)
                rows.append(CoverageRow(name, kind, size, False, why))
        return rows

    def _held(self, name: str) -> Any:
        path, _, attribute = name.rpartition(".")
        owner = self._modules[path]
        held = owner._parameters.get(attribute)
        return owner._buffers.get(attribute) if held is None else held

    def _why_stored(self, name: str, owner_name: str, owner: nn.Module, kind: str, tensor: Tensor) -> str:
        if kind == "buffer" and not tensor.is_floating_point():
            return "a counter or index, not a value"
        if name in self._roles:
            return self._why(*self._roles[name])
        if owner_name in self._left_out:
            return "biases are reliable" if "bias" in name else self._left_out[owner_name]
        if name in self._uses:
            functions = " and ".join(dict.fromkeys(use.function for use in self._uses[name]))
            return f"read by {functions} in {self._uses[name][0].module_type}, outside of any layer"
        return f"{type(owner).__name__} is reliable"

    def _why(self, layer: str, role: Role) -> str:
        if role.part in self._parts:
            return "filter_fn left the layer out"
        if role.part == "bias":
            return "biases are reliable"
        if role.part == "normalization":
            return f"{type(self._eligible[layer]).__name__} is reliable"
        if role.part == "weight" and self._parts - {"input"}:
            return "Faults.parameters does not name weight"
        return f"Faults gave no error model for {role.kind}s"

    def inputs(self) -> list[CoverageRow]:
        rows = []
        parts = {
            join_names(name, child) for name, layer in self._eligible.items() for child in layer_class(layer).children
        }
        for name, module in self._modules.items():
            found: dict[str, str] = {}
            if name in self._eligible:
                for role in layer_class(module).roles(module):
                    operand = self._operands.get(join_names(name, role.name))
                    if operand is not None and operand.absent:
                        found[role.name] = "calibration saw the layer without it"
                    elif operand is None and role.kind == "input":
                        found[role.name] = self._why(name, role)
                found |= layer_class(module).unreachable
            elif name not in parts and any(True for _ in module.parameters(recurse=False)):
                found["input"] = self._left_out.get(name, f"{type(module).__name__} is reliable")
            rows += [CoverageRow(join_names(name, role), "input", None, False, why) for role, why in found.items()]
        return rows
