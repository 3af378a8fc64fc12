"""What of a network is under faults, and what is not: every parameter, buffer and layer's input, by name."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eden.common.tables import text_table
from eden.faults.counting import FlipCounts
from eden.faults.faulty_layers import faulty_layers, layer_operands
from eden.faults.forward import ForwardFn
from eden.faults.layers import Role, layer_class
from eden.faults.memories import OperandInfo, operands
from eden.faults.network import asked_of, bare, evaluating, is_inside, looking, named_modules
from eden.faults.operand import Operand
from eden.faults.packed import packed_weights
from eden.faults.reach import eligible_layers, join_names
from eden.faults.reliable import clean
from eden.faults.sample_dims import SampleFinder
from eden.faults.watch import Place, Watched, tensors_of
from eden.memory.planes import operand_and_plane
from eden.memory.storage import plane_bytes

_WHAT = {
    "add": "a sum of feature maps",
    "sub": "a difference of feature maps",
    "mul": "a product of feature maps, element by element",
    "cat": "a concatenation",
    "stack": "a concatenation",
}
_SMALL = 0.05  # a share of bytes that no warning is due to
_PACKED = (torch.int8, torch.uint8, torch.int16, torch.int32)


@dataclasses.dataclass(frozen=True)
class CoverageRow:
    """One parameter, buffer, input, or use of tensors outside of layers.

    Attributes:
        name: of the operand, parameter or buffer; of a use, the module's and the function's.
        kind: of an operand "weight" or "input"; of what no fault reaches also "parameter", "buffer",
            "packed" (a weight that is no tensor of its layer) or "function".
        bytes: size in its storage (of what no fault reaches, in its format; of an input, one sample's), None where that
            is not known yet; 0 of a parameter that is tied to one of another row, or made into it, where its bytes are.
        faulty: whether faults reach it.
        note: the error model's storage and rate, or why no fault reaches it.
        loads: how often it was read from the faulty memory.
        flips: what was flipped in the loads that were counted, None where none was.
        chosen: of what no fault reaches, whether that was chosen, by ``Faults``, ``filter_fn`` or their defaults.
    """

    name: str
    kind: str
    bytes: int | None
    faulty: bool
    note: str
    loads: int = 0
    flips: FlipCounts | None = None
    chosen: bool = False


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Bytes and operands of a network that are under faults, and those that are not; ``print`` shows a table.

    Attributes:
        rows: one for each operand and for whatever no fault reaches.
        weight_share: of the bytes of parameters that a watched forward pass read, the share that it read through the
            memory and not beside it too; None without a pass. Bytes are those of the computation's formats.
        input_share: of the bytes of feature maps that matrix products, convolutions and attention read, the share that
            they read through the memory; None without a pass.
    """

    rows: tuple[CoverageRow, ...]
    weight_share: float | None = None
    input_share: float | None = None

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
        total = (
            f"{table}\nunder faults: {len(self.faulty)} operands, {self.faulty_bytes} bytes; "
            f"reliable: {len(self.reliable)}, {self.reliable_bytes} bytes"
        )
        if self.weight_share is not None and self.input_share is not None:
            total += (
                f"\nread through memory: {self.weight_share:.1%} of the bytes of parameters, {self.input_share:.1%} of "
                "those of feature maps that products read"
            )
        return total


def coverage(
    model: nn.Module,
    counts: Mapping[str, FlipCounts] | None = None,
    sample: Any = None,
    *,
    forward_fn: ForwardFn | None = None,
) -> Coverage:
    """What of a network is under faults, and what is not.

    Args:
        model: a network under faults.
        counts: what ``eden.faults.counting.counting`` yielded: shows flips requested and realized of each operand.
        sample: a batch, as the loader of ``eden.calibrate_`` yields it. A watched forward pass with it, on reliable
            memory and in evaluation mode, follows every tensor: what reads parameters or feature maps outside of the
            memory is named with its bytes, be it a function that no layer calls, attention, or a class that faults do
            not know. ``eden.FeatureMap`` puts a feature map into memory.
        forward_fn: runs the network on ``sample``, as in ``eden.calibrate_``.

    Returns:
        A row for each operand under faults, each parameter and buffer that no fault reaches and each input of a layer
        that no fault reaches, with the reason; with ``sample``, one for each function that reads feature maps too, and
        the shares.

    Raises:
        ValueError: if the network has no layer under faults.
    """
    watched, model = None, bare(model)
    if sample is not None:
        finder = SampleFinder(model, list(layer_operands(model, "input")), forward_fn)
        with evaluating(model), looking(), clean(model):
            watched = finder.watch(sample)
    return watched_coverage(model, watched, counts or {})


def watched_coverage(model: nn.Module, watched: Watched | None, counts: Mapping[str, FlipCounts]) -> Coverage:
    """``coverage`` from what a watched pass showed, or without one."""
    rows = []
    own: dict[str, list[str]] = {}  # what layers that share an operand call it
    for _, operand in layer_operands(model, "weight"):
        own.setdefault(operand.name, []).append(operand.own[0])
    read = set() if watched is None else {name for of in watched.through.values() for name in of}
    positions = {} if watched is None else watched.positions
    positions = {x.name: positions[x.own[0]] for _, x in layer_operands(model, "input") if x.own[0] in positions}
    for info in operands(model).values():
        faulty, note = info.errors is not None, _memory(info)
        if watched is not None and info.kind == "weight":
            beside = [place for name in own[info.operand] for place in watched.readers(name)]
            if read.isdisjoint(own[info.operand]):
                faulty, note = False, "not read from its memory in this forward pass"
            if beside:
                note += f"; read by {_names(beside)} beside its memory"
        if info.operand in positions:
            size = plane_bytes(info.plane, info.storage, positions[info.operand])
            note += f"; {size} bytes for each position"
        rows.append(CoverageRow(info.name, info.kind, info.bytes, faulty, note, info.loads, counts.get(info.name)))
    reliable = _Reliable(model, watched)
    rows += reliable.parameters()
    rows += reliable.inputs()
    rows += reliable.functions()
    if watched is None:
        return Coverage(tuple(rows))
    return Coverage(tuple(rows), _weight_share(model, watched, rows), _share(watched.memory_bytes, watched.open_bytes))


def _share(through: int, beside: int) -> float:
    return through / (through + beside) if through + beside else 1.0


def _weight_share(model: nn.Module, watched: Watched, rows: Sequence[CoverageRow]) -> float:
    through, beside = 0, sum(row.bytes or 0 for row in rows if row.kind == "packed")
    seen: set[int] = set()
    for name, x in tensors_of(dict(named_modules(model))):
        if not isinstance(x, nn.Parameter):
            continue
        size = x.numel() * x.element_size()
        if id(x) in seen or size == 0:
            continue
        seen.add(id(x))
        if any(name in place.stored for place in watched.places):
            beside += size
        elif name in watched.through:
            through += size
    return _share(through, beside)


def _names(places: Sequence[Place]) -> str:
    return " and ".join(dict.fromkeys(f"{place.function} in {place.module_type}" for place in places))


def _memory(info: OperandInfo) -> str:
    if info.errors is None:
        return "no error model"
    if isinstance(info.errors, tuple):
        rates = [0.0 if model is None else model.ber for model, _, _ in info.errors]
        return f"{info.storage}, {len(rates)} pieces, BER {min(rates):.3g} to {max(rates):.3g}"
    return f"{info.storage}, BER {info.errors.ber:.3g}"


class _Reliable:
    """The rows of what no fault reaches."""

    def __init__(self, model: nn.Module, watched: Watched | None) -> None:
        self._modules = dict(named_modules(model))
        self._faulty = faulty_layers(model)
        self._asked = asked_of(model)
        self._eligible, self._left_out = eligible_layers(model)
        self._parts = {operand.role.part for _, operand in layer_operands(model, absent=True)}
        self._watched = watched or Watched((), {}, 0)
        self._open = {id(place): place for place in self._watched.places if place.bytes}
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
            found: list[tuple[str, str, Tensor]] = []
            found += [("parameter", *each) for each in owner.named_parameters(recurse=False)]
            found += [
                ("buffer", *each) for each in owner.named_buffers(recurse=False) if not each[0].startswith("eden_")
            ]
            for kind, attribute, tensor in found:
                name = join_names(owner_name, attribute)
                if name in self._operands:
                    continue
                why, chosen = self._why_stored(name, owner_name, owner, kind, tensor)
                size = tensor.numel() * tensor.element_size()
                made = self._made_into(name, owner_name, owner, attribute)
                if made is not None:
                    size, why, chosen = 0, f"{made}, which is made from it, is what memory holds", True
                elif id(tensor) in counted:
                    size, why = 0, f"{why}; tied to {counted[id(tensor)]}"
                counted.setdefault(id(tensor), name)
                rows.append(CoverageRow(name, kind, size, False, why, chosen=chosen))
            rows += self._packed(owner_name, owner)
        return rows

    def _made_into(self, name: str, owner_name: str, owner: nn.Module, attribute: str) -> str | None:
        """The operand that a tensor is made into before it is read: by a parametrization, or by a hook."""
        parametrized = owner_name.replace("parametrizations.", "")
        if parametrized != owner_name and parametrized in self._operands:
            return parametrized
        for hook in owner._forward_pre_hooks.values():
            made = getattr(hook, "_tensor_name", getattr(hook, "name", None))
            if (
                isinstance(made, str)
                and attribute.startswith(f"{made}_")
                and join_names(owner_name, made) in self._operands
            ):
                return join_names(owner_name, made)
        if name not in self._watched.through or self._watched.readers(name):
            return None
        return self._watched.through[name][0]

    @staticmethod
    def _packed(name: str, module: nn.Module) -> list[CoverageRow]:
        """Weights that are no tensors of the module, as torch's quantized layers pack them."""
        why = f"{type(module).__name__} keeps it packed, where faults do not reach it"
        return [
            CoverageRow(join_names(name, which), "packed", weight.numel() * weight.element_size(), False, why)
            for which, weight in packed_weights(module).items()
        ]

    def _held(self, name: str) -> Any:
        path, _, attribute = name.rpartition(".")
        owner = self._modules[path]
        held = owner._parameters.get(attribute)
        return owner._buffers.get(attribute) if held is None else held

    def _why_stored(self, name: str, owner_name: str, owner: nn.Module, kind: str, tensor: Tensor) -> tuple[str, bool]:
        """Why no fault reaches a parameter or buffer, and whether that was chosen."""
        places = self._watched.readers(name)
        if kind == "buffer" and not tensor.is_floating_point():
            products = [place for place in places if place.product]
            if products:
                return f"packed values, read by {_names(products)}, where faults do not reach them", False
            if tensor.dtype in _PACKED and tensor.dim() > 1 and not places:
                return "integers, such as packed values, which faults do not reach", False
            return "a counter or index, not a value", True
        if name in self._roles:
            return self._why(*self._roles[name])
        if owner_name in self._left_out:
            # What has one dimension is a bias or of a normalization, which are reliable by default.
            return "biases are reliable" if "bias" in name else self._left_out[owner_name], tensor.dim() < 2
        small, own = tensor.dim() < 2, getattr(owner, "eden_original", type(owner))
        # What torch's own layers store is named by their class.
        outside = [] if own.__module__.startswith("torch.nn.") else places
        if outside:
            functions = " and ".join(dict.fromkeys(place.function for place in outside))
            return f"read by {functions} in {outside[0].module_type}, outside of any layer", small
        return f"{own.__name__} is reliable", small or own.__module__.startswith("torch.nn.")

    def _why(self, layer: str, role: Role) -> tuple[str, bool]:
        """Why no fault reaches an operand that a layer could have, and whether that was chosen."""
        if role.part in self._parts:
            if self._asked is not None and not is_inside(layer, self._asked[0]):
                return f"inject_ was called for {self._asked[0]} alone", True
            if self._asked is not None and not self._asked[2]:
                return "not there when faults came: inject again", False
            return "filter_fn left the layer out", True
        if role.part == "bias":
            return "biases are reliable", True
        if role.part == "normalization":
            return f"{type(self._eligible[layer]).__name__} is reliable", True
        if role.part == "weight" and self._parts - {"input"}:
            return "Faults.parameters does not name weight", True
        return f"Faults gave no error model for {role.kind}s", True

    def inputs(self) -> list[CoverageRow]:
        rows = []
        parts = {
            join_names(name, child) for name, layer in self._eligible.items() for child in layer_class(layer).children
        }
        for name, module in self._modules.items():
            here: dict[str, tuple[str, bool]] = {}
            if name in self._eligible:
                for role in layer_class(module).roles(module):
                    operand = self._operands.get(join_names(name, role.name))
                    if operand is not None and operand.absent:
                        here[role.name] = "calibration saw the layer without it", True
                    elif operand is None and role.kind == "input":
                        here[role.name] = self._why(name, role)
                here |= {which: (why, False) for which, why in layer_class(module).unreachable.items()}
            elif (
                name not in parts
                and "parametrizations" not in name.split(".")
                and any(True for _ in module.parameters(recurse=False))
            ):
                here["input"] = self._left_out.get(name, f"{type(module).__name__} is reliable"), False
            sizes = self._bytes_inside(name, module) if here else 0
            for which, (why, chosen) in here.items():
                # All that was seen belongs to the one input, or to what stays inside of the layer, which comes last.
                size = sizes if sizes and which == list(here)[-1] else None
                rows.append(CoverageRow(join_names(name, which), "input", size, False, why, chosen=chosen))
        return rows

    def _bytes_inside(self, name: str, module: nn.Module) -> int:
        """Bytes of the feature maps that a layer reads outside of the memory, which are no rows of functions then."""
        if name not in self._eligible:
            return 0
        inside = [place for place in self._open.values() if place.module == name]
        for place in inside:
            del self._open[id(place)]
        return sum(place.bytes for place in inside)

    def functions(self) -> list[CoverageRow]:
        """What reads feature maps outside of any layer."""
        rows = []
        for place in self._open.values():
            what = "a matrix product" if place.product else "a function of several feature maps"
            what = "attention" if "attention" in place.function else _WHAT.get(place.function, what)
            times = "" if place.calls == 1 else f", {place.calls} times"
            note = f"{what} in {place.module_type}{times}, outside of any layer; "
            note += "eden.FeatureMap puts its tensors into memory"
            name = join_names(place.module, place.function)
            rows.append(CoverageRow(name, "function", place.bytes, False, note, chosen=not place.product))
        return rows


def warn_of_left_out(model: nn.Module, watched: Watched) -> None:
    """Warn of parameters and feature maps that a forward pass reads beside the memory that was asked for them.

    Args:
        model: a network under faults.
        watched: what it reads.
    """
    model = bare(model)
    found = watched_coverage(model, watched, {})
    kinds = {operand.kind for _, operand in layer_operands(model)}
    everything = sum(x.numel() * x.element_size() for x in {id(x): x for x in model.parameters()}.values())
    everything += sum(row.bytes or 0 for row in found.reliable if row.kind == "packed")
    for kind, total, rows in (
        (
            "weight",
            everything,
            [row for row in found.reliable if row.kind in ("parameter", "buffer", "packed", "weight")],
        ),
        (
            "input",
            watched.memory_bytes + watched.open_bytes,
            [row for row in found.reliable if row.kind in ("function", "input")],
        ),
    ):
        # A weight that this pass reads nowhere, as behind a closed gate, is no byte that it reads beside the memory.
        left = [row for row in rows if not row.chosen and row.bytes]
        left = [row for row in left if row.kind != "weight" or watched.readers(operand_and_plane(row.name)[0])]
        size = sum(row.bytes or 0 for row in left)
        if kind not in kinds or size <= _SMALL * max(total, 1):
            continue
        what = "parameters" if kind == "weight" else "feature maps that products read"
        largest = sorted(left, key=lambda row: -(row.bytes or 0))
        names = "; ".join(f"{row.name} ({row.note})" for row in largest[:3])
        more = f" and {len(largest) - 3} more" if len(largest) > 3 else ""
        warnings.warn(
            f"{size / max(size, total):.0%} of the bytes of {what} do not go through the memory: {names}{more}; "
            "eden.coverage(model, sample=batch) names all",
            stacklevel=3,
        )
