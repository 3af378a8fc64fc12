"""What faults need to know of a class of layers: its operands and its forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from torch import nn

_Forward = TypeVar("_Forward", bound=Callable[..., Any])

PARTS = ("weight", "bias", "normalization")
"""Parts of a network's parameters that `Faults.parameters` can name."""


@dataclasses.dataclass(frozen=True)
class Role:
    """One operand of a layer class.

    Attributes:
        name: its name in the layer: of a parameter or buffer the attribute's, such as ``weight`` or
            ``out_proj.weight``; of an input feature map what ``forward`` calls it.
        part: "weight", "bias" or "normalization" of a parameter or buffer, "input" of a feature map.
        channel_dim: of a weight, the dimension of its output channels; -1 where it has none.
        batch_dim: of an input, the dimension of its samples; None: 0, or 1 inside a sequence-first transformer layer.
        batched_dims: of an input, its number of dimensions when it is a batch; with one less it is a single sample.
        optional: whether the layer can do without it; calibration finds out whether it is used.
        by_position: of an input (samples, ..., positions, width), whether memory holds its positions first, each with
            all that belongs to it, so that they keep their cells while a sequence grows: what attention reads.
        indices: of a buffer, whether it is int32 that says where values belong: memory keeps whole words of it,
            whatever the storage of the values, and the layer corrects what is implausible.
    """

    name: str
    part: str
    channel_dim: int = -1
    batch_dim: int | None = None
    batched_dims: int = 2
    optional: bool = False
    by_position: bool = False
    indices: bool = False

    @property
    def kind(self) -> str:
        """What it is: "input" of a feature map, "weight" of a parameter or buffer."""
        return "input" if self.part == "input" else "weight"


@dataclasses.dataclass(frozen=True)
class LayerClass:
    """What faults need to know of a class of layers.

    Attributes:
        roles: the operands of a layer, in the order of their addresses.
        forward: the layer's forward pass, called with the layer and the arguments of its ``forward``, in which every
            operand goes through ``layer.eden_read(role, tensor)``.
        generation: operands are numbered by generation first, so that a class that is added later leaves the addresses
            of networks with older classes as they were: give a new class a new, higher one.
        children: submodules whose parameters are operands of this layer, because it reads them without calling them.
        unreachable: what of it no fault can reach, by name, with the reason.
    """

    roles: Callable[[Any], Sequence[Role]]
    forward: Callable[..., Any]
    generation: int
    children: tuple[str, ...] = ()
    unreachable: Mapping[str, str] = dataclasses.field(default_factory=dict)


def present(layer: Any, *roles: Role) -> list[Role]:
    """The roles whose parameter or buffer the layer has."""
    return [role for role in roles if stored(layer, role.name) is not None]


def stored(layer: nn.Module, name: str) -> Any:
    """The parameter or buffer of a role: an attribute of the layer, or of its child before the dot."""
    owner: Any = layer
    for part in name.split("."):
        owner = getattr(owner, part)
    return owner


WEIGHT = Role("weight", "weight", channel_dim=0)
BIAS = Role("bias", "bias")

LAYERS: dict[type[nn.Module], LayerClass] = {}
"""The classes of layers whose operands can be put under faults. Subclasses that keep the ``forward`` are theirs."""


def layer(*classes: type[nn.Module], **entry: Any) -> Callable[[_Forward], _Forward]:
    """Register a forward pass for classes of layers; the keywords are the other fields of ``LayerClass``."""

    def register(forward: _Forward) -> _Forward:
        LAYERS.update(dict.fromkeys(classes, LayerClass(forward=forward, **entry)))
        return forward

    return register


OTHERS: list[LayerClass] = []
"""The one entry of modules of all other classes, whose functions read operands (``eden.faults.layers.functions``)."""


def entry(base: type[nn.Module]) -> LayerClass:
    """The entry of a class that ``base_of`` gave."""
    return OTHERS[0] if base is nn.Module else LAYERS[base]


def base_of(layer: nn.Module) -> type[nn.Module] | None:
    """The class of ``LAYERS`` that a layer is of; nn.Module where its functions are known to read operands, or None."""
    if "eden_functions" in layer.__dict__:
        return nn.Module
    return next((cls for cls in type(layer).__mro__ if cls in LAYERS), None)


def layer_class(layer: nn.Module) -> LayerClass:
    """The entry of a layer's class. Raises KeyError for a class without one."""
    base = base_of(layer)
    if base is None:
        raise KeyError(f"{type(layer).__name__} has no entry in eden.faults.layers.LAYERS")
    return entry(base)
