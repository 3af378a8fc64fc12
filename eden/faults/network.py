"""What is asked of any network: the one inside of its wrappers, its device and modes."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

HELD_FAULTS = "_eden_asked"
"""The attribute of a network that keeps the ``Faults`` that it was put under, and whether a filter_fn chose layers."""

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)
# Of torch.compile, FullyShardedDataParallel and checkpoint_wrapper.
_INNER = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


def _inner_name(module: nn.Module) -> str | None:
    """The name of the one child that a wrapper is made around, None for what is no wrapper."""
    if isinstance(module, _WRAPPERS):
        return "module"
    return next((name for name in _INNER if name in module._modules), None)


def bare(model: nn.Module) -> nn.Module:
    """The network itself inside of what torch.compile, AveragedModel and parallel training make of it."""
    while (name := _inner_name(model)) is not None:
        model = model.get_submodule(name)
    return model


def plain_names(model: nn.Module) -> dict[str, str]:
    """By the name of each module of ``named_modules`` the name that it has where nothing in the network is wrapped."""
    modules = dict(model.named_modules())
    plain = {"": ""}
    for name in modules:
        if name:
            around, _, own = name.rpartition(".")
            prefix = plain[around]
            inner = own == _inner_name(modules[around])
            plain[name] = prefix if inner else f"{prefix}.{own}" if prefix else own
    return plain


def named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """``model.named_modules()`` by their plain names, without wrappers."""
    modules = dict(model.named_modules())
    for name, plain in plain_names(model).items():
        if _inner_name(modules[name]) is None:
            yield plain, modules[name]


def model_device(model: nn.Module) -> torch.device:
    """The device of a network's first Parameter or buffer; the CPU for a network without any."""
    tensor = next(itertools.chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device


def asked_of(model: nn.Module) -> tuple[str, Any, bool] | None:
    """The name of the network, or the part of one, that ``inject_`` was called for, and what it keeps (HELD_FAULTS)."""
    for name, module in named_modules(model):
        if HELD_FAULTS in vars(module):
            return name, *vars(module)[HELD_FAULTS]
    return None


def is_inside(name: str, outer: str) -> bool:
    """Whether a module is another one or in it, by their names."""
    return not outer or name == outer or name.startswith(f"{outer}.")


@contextlib.contextmanager
def looking() -> Iterator[None]:
    """No gradients, and torch's global generator is as before afterwards.

    A DataLoader draws from that generator even where it does not shuffle.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        yield


@contextlib.contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Each module is afterwards in the mode, training or evaluation, that it was in."""
    # One by one: a layer can be in another mode than the network, such as a frozen normalization.
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def carrying_nothing(model: nn.Module) -> Iterator[None]:
    """What modules bind in a forward pass, such as a state that they carry to the next one, is as before afterwards.

    So is what they put into dictionaries of theirs, such as hooks that the first pass registers, and buffers.
    Parameters stay, since FSDP2 exchanges them by a state of its own.
    """
    before = []
    for module in model.modules():
        dictionaries = [held for name, held in vars(module).items() if isinstance(held, dict) and name != "_parameters"]
        before.append((module, dict(vars(module)), [(held, dict(held)) for held in dictionaries]))
    try:
        yield
    finally:
        for module, attributes, held_before in before:
            if isinstance(module, torch.jit.ScriptModule):  # binds nothing from Python
                continue
            for name in vars(module).keys() - attributes.keys():
                del vars(module)[name]
            vars(module).update(attributes)
            for held, items in held_before:
                held.clear()
                held.update(items)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """A network in evaluation mode for a moment."""
    with modes_kept(model):
        model.eval()
        yield
