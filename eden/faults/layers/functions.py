"""Parameters and feature maps that a module reads by functions of torch instead of by layers.

Calibration finds them (``eden.faults.watch``). The module's class is exchanged as a layer's is, and while its own
``forward`` runs, a function mode of torch hands every function what memory gives in place of the parameter: so
``F.linear(x, self.qkv.weight)``, ``torch.matmul(x, self.w)``, ``self.table[i]`` and F.scaled_dot_product_attention read
what layers would read. Compilers and exports see the reads as they see any other. A parameter is read once in a call of
the module, however many functions use it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from eden.common.torch_internals import function_modes, recomputing
from eden.faults.layers.arranged import Arranged
from eden.faults.layers.caches import check_caches
from eden.faults.layers.registry import OTHERS, LayerClass, Role, stored

# Functions that look at a tensor and not at its values, or that write to it.
_LOOKS = frozenset(
    [
        *("__get__", "__set__", "__len__", "__hash__", "__repr__", "size", "dim", "numel", "nelement", "stride"),
        *("is_floating_point", "is_complex", "is_contiguous", "is_inference", "is_neg", "is_conj", "get_device"),
        *("data_ptr", "storage_offset", "untyped_storage", "element_size", "requires_grad_", "copy_", "detach_"),
    ]
)
# Properties whose values are those of the tensor.
_VIEWS: frozenset[Any] = frozenset(getattr(Tensor, name).__get__ for name in ("T", "mT", "H", "mH"))
_PRODUCTS: frozenset[Callable[..., Any]] = frozenset(
    [
        *(F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
        *(torch.matmul, torch.mm, torch.bmm, torch.addmm, torch.baddbmm, torch.einsum),
        *(Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, Tensor.mm, Tensor.bmm, Tensor.addmm, Tensor.baddbmm),
    ]
)


@dataclasses.dataclass(frozen=True)
class Functions:
    """What the functions that a module calls read.

    Attributes:
        stored: parameters of the module, or of modules in it that are no layers, by path; its own operands.
        multiplied: parameters, by path, that products multiply with feature maps, which are operands then, too.
        owners: layers under faults whose parameters it reads without calling them, the names of their roles, and of the
            operand that is multiplied with them: of the module, or "" for the layer's own input.
        attention: whether it calls F.scaled_dot_product_attention, whose queries, keys and values are operands then.
        products: of how many products of two feature maps, in the order in which it computes them, both are operands.
    """

    stored: tuple[str, ...] = ()
    multiplied: tuple[str, ...] = ()
    owners: tuple[tuple[nn.Module, str, str], ...] = ()
    attention: bool = False
    products: int = 0

    def roles(self) -> list[Role]:
        """The module's own operands."""
        return [
            *(Role(path, "weight") for path in self.stored),
            *(Role(_of_input(path), "input", optional=True) for path in self.multiplied),
            *(Role(name, "input", optional=True, by_position=True) for name in self._by_position()),
        ]

    def keys_and_values(self) -> list[str]:
        """The roles of what a cache can hold."""
        seconds = [_of_product(index)[1] for index in range(self.products)]
        return [*(("key", "value") if self.attention else ()), *seconds]

    def _by_position(self) -> list[str]:
        products = [name for index in range(self.products) for name in _of_product(index)]
        return [*(("query", "key", "value") if self.attention else ()), *products]


def _of_input(path: str) -> str:
    return f"{path}.input"


def _of_product(index: int) -> tuple[str, str]:
    return f"product{index}.first", f"product{index}.second"


_Reader = tuple[Any, str, Any, str]


class _Reads(TorchFunctionMode):
    """Hands functions what memory gives, while the ``forward`` of one module runs."""

    def __init__(self, reader: Any, functions: Functions) -> None:
        super().__init__()
        self._reader, self._functions = reader, functions
        # A parameter, the layer and role that it is, and those of the feature map that it is multiplied with.
        self._stored: list[tuple[Any, _Reader]] = [
            (stored(reader, path), (reader, path, reader, _of_input(path))) for path in functions.stored
        ]
        for owner, role, path in functions.owners:
            if hasattr(owner, "eden_faults"):
                of_map = (reader, _of_input(path)) if path else (owner, "input")
                self._stored.append((stored(owner, role), (owner, role, *of_map)))
        self._read: list[tuple[Any, str, Tensor]] = []
        self._made: list[tuple[Any, _Reader]] = []  # of a parameter alone
        self._arranged = Arranged()
        self.nested = 0  # calls of layers under faults inside, which read for themselves
        self._products = 0
        self.touched: list[Any] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.nested:
            return function(*args, **kwargs)
        if getattr(function, "__name__", "") in _LOOKS and function not in _VIEWS:
            return function(*args, **kwargs)
        found: list[_Reader] = []
        others: list[Tensor] = []
        args = [self._taken(each, found, others) for each in args]
        kwargs = {name: self._taken(each, found, others) for name, each in kwargs.items()}
        if self._functions.attention and function is F.scaled_dot_product_attention:
            args, kwargs = self._attention(args, kwargs)
        elif function in _PRODUCTS:
            maps = [x for x in others if x.is_floating_point() and x.dim() > 1 and not isinstance(x, nn.Parameter)]
            if found and maps:
                args, kwargs = self._map(found[0][2], found[0][3], maps[0], args, kwargs, turned=False)
            elif len(maps) > 1:
                first, second = _of_product(self._products)
                self._products += 1
                args, kwargs = self._map(self._reader, first, maps[-2], args, kwargs, turned=False)
                args, kwargs = self._map(self._reader, second, maps[-1], args, kwargs, turned=True)
        result = function(*args, **kwargs)
        self._arranged.note(function, args, kwargs, result)
        if found and all(each is found[0] for each in found) and not any(x.is_floating_point() for x in others):
            results = result if isinstance(result, (tuple, list)) else (result,)
            self._made.extend((each, found[0]) for each in results if isinstance(each, Tensor))
        return result

    def _taken(self, value: Any, found: list[_Reader], others: list[Tensor]) -> Any:
        if type(value) in (tuple, list):
            return type(value)([self._taken(each, found, others) for each in value])
        if not isinstance(value, Tensor):
            return value
        for tensor, reader in self._stored:
            if value is tensor and not reader[0].eden_faults.reading:
                found.append(reader)
                return self._once(reader[0], reader[1], value)
        for tensor, reader in self._made:
            if value is tensor:
                found.append(reader)
                return value
        others.append(value)
        return value

    def _once(self, layer: Any, role: str, x: Tensor) -> Tensor:
        for before, name, read in self._read:
            if before is layer and name == role:
                return read
        if layer is not self._reader and not any(layer is each for each in self.touched):
            self.touched.append(layer)
            layer.eden_begin()
        once: Tensor = layer.eden_read(role, x)
        self._read.append((layer, role, once))
        return once

    def _map(
        self, layer: Any, role: str, x: Tensor, args: list[Any], kwargs: dict[str, Any], turned: bool
    ) -> tuple[list[Any], dict[str, Any]]:
        """The arguments with a feature map as read from memory, where that is an operand."""
        if role not in layer.eden_faults.by_role:
            return args, kwargs
        held, again = self._arranged.source(x, turned)
        read = again(layer.eden_read(role, held))

        def taken(value: Any) -> Any:
            if type(value) in (tuple, list):
                return type(value)([taken(each) for each in value])
            return read if value is x else value

        return [taken(each) for each in args], {name: taken(each) for name, each in kwargs.items()}

    def _attention(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        names = ("query", "key", "value")
        given = dict(zip(names, args, strict=False)) | {name: kwargs[name] for name in names if name in kwargs}
        held = {name: self._arranged.source(x, turned=False) for name, x in given.items()}
        reads = self._reader.eden_read_inputs(**{name: x for name, (x, _) in held.items()})
        read = {name: again(x) for (name, (_, again)), x in zip(held.items(), reads, strict=True)}
        return [read.get(name, each) for name, each in zip((*names, *args[3:]), args, strict=False)], {
            name: read.get(name, each) for name, each in kwargs.items()
        }


def reads_around() -> list[Any]:
    """What hands functions what memory gives, of the modules around whose ``forward`` runs."""
    return [mode for mode in function_modes() if isinstance(mode, _Reads)]


def _run(layer: Any, *args: Any, **kwargs: Any) -> Any:
    faults = layer.eden_faults
    held = [faults.by_role[role] for role in layer.eden_functions.keys_and_values() if role in faults.by_role]
    cached = tuple(operand.name for operand in held if operand.errors is not None)
    if cached and not faults.reliable:
        check_caches(layer, cached, (*args, *kwargs.values()))
    reads = _Reads(layer, layer.eden_functions)
    with reads:
        output = layer.eden_original.forward(layer, *args, **kwargs)
    if not recomputing():
        for owner in reads.touched:
            owner.eden_end()
    return output


OTHERS.append(LayerClass(lambda layer: layer.eden_functions.roles(), _run, generation=2))
