"""One watched forward pass: what a network reads of parameters and feature maps, and what of it went through memory."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from eden.common.torch_internals import (
    StorageKey,
    TorchDispatchMode,
    inner_tensors,
    keeps_other_numbers,
    uncached_parametrizations,
)
from eden.faults.faulty_layers import FaultyLayer, faulty_layers
from eden.faults.network import named_modules
from eden.faults.operand import Operand

_PRODUCT = re.compile(
    r"(^|_)(add|addb|baddb|b|grouped_|packed_|int_)?mm($|_)|matmul|conv|attention|lstm|gru|rnn|linear|^(add)?mv$|dot$"
)
_NO_PRODUCT = re.compile(r"upsample|im2col")
_COPIES = {
    "clone",
    "_to_copy",
    "copy",
    "copy_",
    "contiguous",
    "lift_fresh_copy",
    "index",
    "index_select",
    "select_copy",
}
_COPIES |= {"gather", "repeat", "roll", "flip", "constant_pad_nd", "masked_fill", "_unsafe_view"}
_COMPRESSED = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
_BY_INDEX = {"index", "gather", "embedding", "index_select", "take", "take_along_dim", "_unsafe_index"}


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and mappings, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, Mapping):
        yield from tensors_in(tuple(value.values()))


def tensors_of(modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, Tensor]]:
    """The parameters, buffers and other tensors that modules have as attributes, by name; not those of EDEN."""
    for name, module in modules.items():
        for held, own in ((module._parameters, "eden_"), (module._buffers, "eden_"), (vars(module), ("_", "eden_"))):
            for attribute, value in held.items():
                if isinstance(value, Tensor) and not attribute.startswith(own):
                    yield (f"{name}.{attribute}" if name else attribute), value


def _held(tensor: Tensor) -> Tensor:
    """What has a tensor's values in memory: of a sparse one, those of its entries."""
    if tensor.layout is torch.sparse_coo:
        return tensor._values()
    return tensor.values() if tensor.layout in _COMPRESSED else tensor


def _places(tensor: Tensor) -> Iterator[tuple[StorageKey, int, int]]:
    """Where a tensor lies: the memory, and the first and last element there; of a quantizer's class, all its parts."""
    if keeps_other_numbers(tensor):
        for inner in inner_tensors(tensor).values():
            yield from _places(inner)
        return
    tensor = _held(tensor)
    key = StorageKey.of(tensor)
    if key is not None and tensor.numel() > 0:
        strides = zip(tensor.shape, tensor.stride(), strict=True)
        reach = sum((size - 1) * stride for size, stride in strides) * tensor.element_size()
        start = int(tensor.storage_offset()) * tensor.element_size()
        yield key, start, start + int(reach)


@dataclasses.dataclass(frozen=True)
class _Origin:
    """What a tensor is made of."""

    stored: frozenset[str] = frozenset()  # parameters, buffers and tensors of modules
    is_map: bool = False  # an input of the network, or made with one
    memory: bool = False  # as read from a faulty memory


@dataclasses.dataclass
class Place:
    """The calls of one function in one module that read something from outside of the faulty memory.

    Attributes:
        module: name of the module in whose ``forward`` it is called.
        module_type: class of that module.
        function: name of the operator, such as "addmm".
        product: whether it multiplies and adds, as layers do.
        calls: how often it was called.
        feature_maps: most feature maps that one call read.
        bytes: of the feature maps that no faulty memory gave, over all calls.
        stored: parameters, buffers and tensors of modules that it read.
    """

    module: str
    module_type: str
    function: str
    product: bool
    calls: int = 0
    feature_maps: int = 0
    bytes: int = 0
    stored: dict[str, None] = dataclasses.field(default_factory=dict)


class _Attention(TorchFunctionMode):
    """Tells a watch of attention as a whole: which operators that is differs from machine to machine."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is not F.scaled_dot_product_attention:
            return function(*args, **kwargs)
        given = dict(zip(("query", "key", "value", "attn_mask"), args, strict=False)) | kwargs
        with self._watch.whole("scaled_dot_product_attention", list(tensors_in(given))):
            return function(*args, **kwargs)


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows every tensor of one forward pass; also the observer of the layers under faults meanwhile.

    The layers' operands are read as they are, since codes and ranges say nothing of who reads what.

    Attributes:
        places: what was read outside of the faulty memory, in the order of its first call.
        through: by parameter, buffer or tensor of a module, the operands that it was read as, or made into.
        reads: the inputs that were read through memory, by the operand's id.
        memory_bytes: of the feature maps that products read from the faulty memory.
        products: by module, most products of several feature maps in one call, where memory did not give all of them.
        positions: of inputs that memory holds by position, by their own name, elements of one position.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.places: dict[tuple[str, str], Place] = {}
        self.through: dict[str, list[str]] = {}
        self.reads: dict[int, list[Tensor]] = {}
        self.memory_bytes = 0
        self.products: dict[str, int] = {}
        self.positions: dict[str, int] = {}
        self._counts: list[int] = []
        self._whole = 0
        modules = dict(named_modules(model))
        self._modules = {id(module): name for name, module in modules.items()}
        self._layers = list(faulty_layers(model).values())
        self._inside: list[nn.Module] = []
        self._origins: dict[int, tuple[StorageKey, _Origin]] = {}
        # By memory, the first and last byte of what lies there, and its name: several share one where they are views.
        self._names: dict[int, dict[tuple[int, int], frozenset[str]]] = {}
        self._held: list[Any] = []  # what names hang on
        for name, tensor in tensors_of(modules):
            for key, *place in _places(tensor):
                self._held.append(key)
                here, at = self._names.setdefault(key.number, {}), (place[0], place[1])
                here[at] = here.get(at, frozenset()) | {name}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what runs inside."""
        handles = [
            nn.modules.module.register_module_forward_pre_hook(self._enter),
            nn.modules.module.register_module_forward_hook(self._leave, always_call=True),
        ]
        for layer in self._layers:
            layer.eden_faults.observer = self
        try:
            with uncached_parametrizations(), _Attention(self), self:
                yield
        finally:
            for layer in self._layers:
                layer.eden_faults.observer = None
            for handle in handles:
                handle.remove()
            self._origins.clear()

    @contextmanager
    def whole(self, function: str, sources: list[Tensor]) -> Iterator[None]:
        """What operators read inside is told as what one function reads."""
        if self._inside and not self._whole:
            self._note(function, "aten", sources, [self._origin(x) for x in sources])
        self._whole += 1
        try:
            yield
        finally:
            self._whole -= 1

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        if id(module) in self._modules:
            self._inside.append(module)
            self._counts.append(0)

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if id(module) in self._modules:
            self._inside.pop()
            name, count = self._modules[id(module)], self._counts.pop()
            if count:
                self.products[name] = max(count, self.products.get(name, 0))

    def called(self, layer: FaultyLayer) -> None:
        """Nothing is kept of calls."""

    def read(self, layer: FaultyLayer, operand: Operand, x: Tensor) -> Tensor:
        """An operand is read from its memory: as it is."""
        if operand.kind == "input":
            if x.numel() > 0:  # an expert can get no token
                self.reads.setdefault(id(operand), []).append(x.detach())
                if operand.role.by_position and x.dim() > 1:
                    taken, samples = operand.samples_of(x)
                    entries = x.shape[-2] * (taken.shape[samples] if samples >= 0 else 1)
                    self.positions[operand.own[0]] = x.numel() // entries
        else:
            for name in self._origin(x).stored:
                self.through.setdefault(name, []).append(operand.own[0])
        read = x.clone()
        origin = dataclasses.replace(self._origin(x), memory=True)
        for part in self._parts(read):
            self._set(part, origin)
        return read

    def _parts(self, x: Tensor) -> Iterator[Tensor]:
        """A tensor, or those that one of a quantizer's class keeps its values in."""
        if keeps_other_numbers(x):
            for inner in inner_tensors(x).values():
                yield from self._parts(inner)
        else:
            yield x

    def _origin(self, x: Tensor) -> _Origin:
        if keeps_other_numbers(x):
            x = next(self._parts(x))
        x = _held(x)
        key = StorageKey.of(x)
        if key is None:
            return _Origin(is_map=True)
        found = self._origins.get(key.number)
        if found is not None and not found[0].gone():
            return found[1]
        here = self._names.get(key.number)
        if here is None or x.numel() == 0:
            return _Origin(is_map=True)  # what nobody made is an input
        found_names = frozenset[str]()
        _, first, last = next(_places(x))
        for (start, end), names in here.items():
            if start <= last and first <= end:
                found_names |= names
        return _Origin(found_names)

    def _set(self, x: Tensor, origin: _Origin) -> None:
        key = StorageKey.of(_held(x))
        if key is not None:
            self._origins[key.number] = key, origin

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if not self._inside:
            return result
        sources = list(tensors_in((args, kwargs)))
        outputs = list(tensors_in(result))
        namespace, _, operator = function._schema.name.partition("::")
        before = {key.number for x in sources if (key := StorageKey.of(x)) is not None}
        views = not function._schema.is_mutable and all(
            (key := StorageKey.of(x)) is not None and key.number in before for x in outputs
        )
        if views and outputs:
            return result
        origins = [self._origin(x) for x in sources]
        if operator in ("copy_", "copy"):  # what was there before is gone
            origins = origins[1:]
            sources = sources[1:]
        if operator in _BY_INDEX:  # indices say which, and give no value
            named = [(x, origin) for x, origin in zip(sources, origins, strict=True)]
            named = [(x, origin) for x, origin in named if origin.is_map or x.is_floating_point() or x is sources[0]]
            sources, origins = [x for x, _ in named], [origin for _, origin in named]
        made = frozenset[str]().union(*(origin.stored for origin in origins if not origin.is_map))
        is_map = any(origin.is_map for origin in origins)
        memory = bool(origins) and operator in _COPIES and origins[0].memory
        if is_map and not self._whole and operator not in _COPIES and not operator.startswith("embedding_renorm"):
            self._note(operator, namespace, sources, origins)
        if not is_map and made:
            memory = all(origin.memory for origin in origins if origin.stored)
        for x in outputs:
            self._set(x, _Origin(frozenset() if is_map else made, is_map, memory))
        return result

    def _note(self, operator: str, namespace: str, sources: list[Tensor], origins: list[_Origin]) -> None:
        module = self._inside[-1]
        own = namespace not in ("aten", "prims")
        product = own or (_PRODUCT.search(operator) is not None and _NO_PRODUCT.search(operator) is None)
        # Bags of a feature map are a product with a sparse matrix.
        bags = operator.startswith("_embedding_bag") and sources[0].is_floating_point()
        product = product or (bags and origins[0].is_map)
        maps: dict[Any, tuple[int, bool]] = {}
        arguments = 0
        stored: dict[str, None] = {}
        for x, origin in zip(sources, origins, strict=True):
            if origin.is_map and x.is_floating_point():
                key = StorageKey.of(x)
                place_of = id(x) if key is None else (key.number, x.storage_offset(), x.numel())
                maps[place_of] = x.numel() * x.element_size(), origin.memory
                arguments += x.dim() > 1
            elif origin.stored and not origin.memory:
                stored |= dict.fromkeys(sorted(origin.stored))
        if product:
            self.memory_bytes += sum(size for size, memory in maps.values() if memory)
        open_bytes = sum(size for size, memory in maps.values() if not memory)
        if not stored and (open_bytes == 0 or not (product or len(maps) > 1)):
            return
        name, operator = self._modules[id(module)], operator.strip("_")
        if operator != "scaled_dot_product_attention" and product and arguments > 1 and not own:
            self._counts[-1] += 1
        kind = getattr(module, "eden_original", type(module)).__name__
        found = self.places.setdefault((name, operator), Place(name, kind, operator, product))
        found.calls += 1
        found.feature_maps = max(found.feature_maps, len(maps))
        found.bytes += open_bytes if product or len(maps) > 1 else 0
        found.stored |= stored


@dataclasses.dataclass(frozen=True)
class Watched:
    """What watched forward passes showed; bytes are those of one sample.

    Attributes:
        places: what was read outside of the faulty memory.
        through: by parameter, buffer or tensor of a module, the operands that it was read as, or made into.
        memory_bytes: of the feature maps that products read from the faulty memory, in the format of the computation.
        products: by module, most products of several feature maps in one call, where memory did not give all of them.
        positions: of inputs that memory holds by position, by their own name, elements of one position.
    """

    places: tuple[Place, ...]
    through: Mapping[str, tuple[str, ...]]
    memory_bytes: int
    products: Mapping[str, int] = dataclasses.field(default_factory=dict)
    positions: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, few: Watch, more: Watch | None, samples: int) -> Watched:
        """Of a pass of so many samples, and of one of a sample more if there is one."""

        def of_one(first: int, second: int | None) -> int:
            if second is None:
                return -(-first // samples)
            return second - first if second > first else first  # the same for any number of samples

        places = [
            dataclasses.replace(
                place,
                bytes=of_one(
                    place.bytes, None if more is None else more.places[key].bytes if key in more.places else 0
                ),
            )
            for key, place in few.places.items()
        ]
        through = {name: tuple(dict.fromkeys(operands)) for name, operands in few.through.items()}
        memory_bytes = of_one(few.memory_bytes, None if more is None else more.memory_bytes)
        return cls(tuple(places), through, memory_bytes, few.products, few.positions)

    @property
    def open_bytes(self) -> int:
        """Bytes of the feature maps that products read from elsewhere."""
        return sum(place.bytes for place in self.places if place.product)

    def readers(self, name: str) -> list[Place]:
        """The places that read a parameter or buffer outside of the faulty memory."""
        return [place for place in self.places if name in place.stored]
