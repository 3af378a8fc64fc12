"""A network's graph with its convolutions and matrix products in integers, and what follows them folded in."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from eden.deployment.forms import Form
from eden.deployment.kernels import Product, Quantize

_ADDITIONS = (operator.add, operator.iadd, torch.add)
_RECTIFIERS = (F.relu, torch.relu, F.relu_, torch.relu_)
_VIEWS = frozenset({"view", "view_as", "reshape", "flatten", "transpose", "permute", "squeeze", "unsqueeze", "expand"})
_VIEWS |= {
    "narrow",
    "chunk",
    "split",
    "unbind",
    "detach",
    "contiguous",
    "getitem",
    "select",
    "t",
    "movedim",
    "swapaxes",
}
_IN_PLACE = tuple(vars(operator)[name] for name in dir(operator) if name.startswith("i") and name[1:] in vars(operator))


class _Tracer(fx.Tracer):
    """Layers under faults are whole, as torch's own are."""

    def __init__(self, layers: frozenset[str]) -> None:
        super().__init__()
        self._layers = layers

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is not looked into."""
        return module_qualified_name in self._layers or super().is_leaf_module(m, module_qualified_name)


def traced(model: nn.Module, layers: frozenset[str]) -> fx.Graph:
    """The graph of a network in evaluation mode.

    Args:
        model: the network.
        layers: names of layers that are not looked into, beside torch's own.

    Raises:
        ValueError: for a network that has no one graph, or one that changes a feature map in place and reads it again.
    """
    try:
        graph = _Tracer(layers).trace(model)
    except Exception as error:  # of whatever kind the user's own forward pass raises when its values are not known
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(
            f"torch.fx cannot trace {type(model).__name__}: {reason}; allowed for integer inference is a network whose "
            "forward pass does the same for all inputs"
        ) from error
    order = {node: number for number, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        changed = _changed(model, node)
        if changed is None:
            continue
        again = [user for user in changed.users if order[user] > order[node]]
        if again:
            raise ValueError(
                f"{changed.name} is changed in place by {node.name} and read again by {again[0].name}; allowed for "
                "integer inference are operations that are not in place, or the last to read what they change"
            )
    return graph


def _changed(model: nn.Module, node: fx.Node) -> fx.Node | None:
    """What an operation changes in place, or what that is a view of."""
    name = str(node.target)
    if node.op == "call_module":
        in_place = bool(getattr(model.get_submodule(name), "inplace", False))
    elif node.op == "call_method":
        in_place = name.endswith("_") and not name.endswith("__")
    else:
        own = getattr(node.target, "__name__", "")
        in_place = node.op == "call_function" and (
            bool(node.kwargs.get("inplace"))
            or node.target in (operator.setitem, *_IN_PLACE)
            or (own.endswith("_") and not own.endswith("__"))
        )
    if not in_place or not node.args or not isinstance(node.args[0], fx.Node):
        return None
    changed = node.args[0]
    while changed.args and isinstance(changed.args[0], fx.Node) and _name_of(changed) in _VIEWS:
        changed = changed.args[0]
    return changed


def _name_of(node: fx.Node) -> str:
    return str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", "")


@dataclasses.dataclass
class _Group:
    """A layer and what is folded into it."""

    first: fx.Node
    last: fx.Node
    product: Product
    added: fx.Node | None = None
    total: fx.Node | None = None


class Lowering:
    """The graph of a network, rewritten.

    Args:
        model: the network, plain, in evaluation mode.
        graph: what ``traced`` gives for it.
        products: by layer, how it is computed in integers.
        engine: makes the modules that compute them.
    """

    def __init__(
        self, model: nn.Module, graph: fx.Graph, products: Mapping[str, Product], engine: Callable[[Product], nn.Module]
    ) -> None:
        self._model, self._old, self._products = model, graph, products
        self._engine = engine
        self._graph = fx.Graph()
        self._modules: dict[str, nn.Module] = {}
        self._floats: dict[fx.Node, fx.Node] = {}
        self._codes: dict[tuple[fx.Node, Form], fx.Node] = {}

    def module(self) -> fx.GraphModule:
        """The network that it computes, and nothing of the layers that it no longer needs."""
        groups = self._groups()
        folded: set[fx.Node] = set()
        for group in groups.values():
            node = group.last
            while node is not group.first:
                node = self._before(node, group)
                folded.add(node)
        results = {group.last for group in groups.values()}
        for node in self._old.nodes:
            if node in folded:
                continue
            if node in groups:
                self._emit(groups[node], results)
            else:
                self._floats[node] = self._graph.node_copy(node, self._floats.__getitem__)
                if node.op == "call_module":
                    self._modules[str(node.target)] = self._model.get_submodule(str(node.target))
        root = nn.Module()
        for name, module in self._modules.items():
            _set_submodule(root, name, module)
        for node in self._old.nodes:
            if node.op == "get_attr":
                _set_attribute(root, str(node.target), self._model)
        return fx.GraphModule(root, self._graph)

    @property
    def layers(self) -> set[str]:
        """The layers that are computed in integers."""
        return {str(node.target) for node in self._old.nodes if self._is_product(node)}

    def _groups(self) -> dict[fx.Node, _Group]:
        """By their last nodes."""
        found: dict[fx.Node, _Group] = {}
        taken: set[fx.Node] = set()
        for node in self._old.nodes:
            if not self._is_product(node):
                continue
            group = _Group(node, node, self._products[str(node.target)])
            for fold in (self._fold_normalization, self._fold_addition, self._fold_activation):
                following = _only_user(group.last)
                if following is not None and following not in taken:
                    fold(group, following)
                    taken.add(group.last)
            found[group.last] = group
        return found

    def _is_product(self, node: fx.Node) -> bool:
        return (
            node.op == "call_module"
            and str(node.target) in self._products
            and len(node.args) == 1
            and not node.kwargs
            and isinstance(node.args[0], fx.Node)
        )

    def _before(self, node: fx.Node, group: _Group) -> fx.Node:
        """The node of a group that comes before one of it."""
        return next(one for one in node.all_input_nodes if one is not group.added)

    def _module_of(self, node: fx.Node) -> nn.Module | None:
        return self._model.get_submodule(str(node.target)) if node.op == "call_module" else None

    def _fold_normalization(self, group: _Group, node: fx.Node) -> None:
        norm = self._module_of(node)
        if type(norm) is not nn.BatchNorm2d or group.product.window is None or has_hooks(norm):
            return
        if norm.training or norm.running_mean is None or norm.running_var is None:
            return
        factor = 1.0 / torch.sqrt(norm.running_var.double() + norm.eps)
        if norm.weight is not None:
            factor = factor * norm.weight.detach().double()
        bias = (group.product.bias.double() - norm.running_mean.double()) * factor
        if norm.bias is not None:
            bias = bias + norm.bias.detach().double()
        group.product = dataclasses.replace(
            group.product, scale=(group.product.scale.double() * factor).float(), bias=bias.float()
        )
        group.last = node

    def _fold_addition(self, group: _Group, node: fx.Node) -> None:
        is_sum = node.op == "call_function" and node.target in _ADDITIONS
        is_sum = is_sum or (node.op == "call_method" and node.target in ("add", "add_"))
        if not is_sum or group.product.window is None or node.kwargs or len(node.args) != 2:
            return
        others = [one for one in node.args if one is not group.last]
        if len(others) != 1 or not isinstance(others[0], fx.Node):
            return
        group.added, group.total, group.last = others[0], node, node
        group.product = dataclasses.replace(group.product, added=True)

    def _fold_activation(self, group: _Group, node: fx.Node) -> None:
        module = self._module_of(node)
        limits = None
        if module is not None and has_hooks(module):
            return
        rectifies = node.op == "call_function" and node.target in _RECTIFIERS
        rectifies = rectifies or (node.op == "call_method" and node.target in ("relu", "relu_"))
        if rectifies or type(module) is nn.ReLU:
            limits = 0.0, math.inf
        elif type(module) in (nn.ReLU6, nn.Hardtanh):
            assert isinstance(module, nn.Hardtanh)
            limits = float(module.min_val), float(module.max_val)
        elif node.op == "call_function" and node.target is F.relu6:
            limits = 0.0, 6.0
        if limits is not None:
            group.product, group.last = dataclasses.replace(group.product, activation=limits), node

    def _emit(self, group: _Group, results: set[fx.Node]) -> None:
        source = group.first.args[0]
        assert isinstance(source, fx.Node)
        forms = {self._form_read(user) for user in group.last.users}
        output = forms.pop() if len(forms) == 1 and group.added is None else None
        product = dataclasses.replace(group.product, output=output, overwrites=self._is_free(group, results))
        arguments = [self._coded(source, product.input)]
        if group.added is not None:
            arguments.append(self._floats[group.added])
        made = self._call(str(group.first.target), self._engine(product), *arguments)
        if output is not None:
            self._codes[group.last, output] = made
            return
        self._floats[group.last] = made
        # At once: its memory may be used for a sum later.
        for form in dict.fromkeys(map(self._form_read, group.last.users)):
            if form is not None:
                self._coded(group.last, form)

    def _call(self, name: str, module: nn.Module, *arguments: fx.Node) -> fx.Node:
        own, number = name, 1
        while name in self._modules:
            number += 1
            name = f"{own}_{number}"
        self._modules[name] = module
        return self._graph.call_module(name, arguments)

    def _form_read(self, user: fx.Node) -> Form | None:
        """The form of the codes that a node reads, None of one that takes float32."""
        return self._products[str(user.target)].input if self._is_product(user) else None

    def _is_free(self, group: _Group, results: set[fx.Node]) -> bool:
        """Whether what is added is read by nothing else but products, which have codes of their own already."""
        added = group.added
        if added is None or added not in results:
            return False
        return all(user is group.total or self._is_product(user) for user in added.users)

    def _coded(self, source: fx.Node, form: Form) -> fx.Node:
        """A feature map in a form."""
        found = self._codes.get((source, form))
        if found is None:
            found = self._call("codes", Quantize(form), self._floats[source])
            self._codes[source, form] = found
        return found


def has_hooks(module: nn.Module) -> bool:
    """Whether functions of others are called around its forward pass."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _set_submodule(root: nn.Module, name: str, module: nn.Module) -> None:
    *path, last = name.split(".")
    for part in path:
        if not hasattr(root, part):
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    root.add_module(last, module)


def _set_attribute(root: nn.Module, name: str, model: nn.Module) -> None:
    *path, last = name.split(".")
    value: Any = model
    for part in (*path, last):
        value = getattr(value, part)
    for part in path:
        if not hasattr(root, part):
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        root.register_buffer(last, value)
    else:
        setattr(root, last, value)
