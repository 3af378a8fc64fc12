"""Is an operand that is not read through its memory refused by every step that speaks of accuracy under its faults?

Whichever way the network goes past it, eager or compiled; and is a network that reads everything let through?
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_profile import CLASSES, FAST, FEATURES, loader, make_data
from torch import Tensor, nn
from torch.func import functional_call

import eden
from eden.faults.reads import Reads
from eden.tolerance.evaluation import accuracy, at_rates


class Network(nn.Module):
    """Two layers and how they are gone past; ``second`` in turn is what the operand in question is of."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(FEATURES, CLASSES, bias=False), nn.Linear(CLASSES, CLASSES, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.eye(CLASSES, FEATURES))
            self.second.weight.copy_(torch.eye(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class ByFunction(Network):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.first(x), self.second.weight)


class Twice(Network):
    """Through its memory, and past it, by a view that was made before."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.second(h) + h @ self.view

    def __init__(self) -> None:
        super().__init__()
        self.view = self.second.weight.detach().t()


class ByCopies(Network):
    """The state is handed over as it was when it was taken, whatever rates are set afterwards."""

    def forward(self, x: Tensor) -> Tensor:
        held = self.__dict__.setdefault("held", {})
        if not held:
            held |= {name: value.clone() for name, value in self.second.state_dict(keep_vars=True).items()}
            held |= {name: value.clone() for name, value in self.second.named_buffers()}
        return functional_call(self.second, held, (self.first(x),))


class Bypassed(Network):
    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.second(h) if self.training else h


class Kept(Network):
    """What the first pass computed, for good."""

    def forward(self, x: Tensor) -> Tensor:
        if "made" not in self.__dict__:
            self.made = self.second(torch.eye(CLASSES)).detach()
        return self.first(x) @ self.made


class TrainedAlone(Bypassed):
    """Called in training before, so that there are accesses to be mistaken."""

    def __init__(self) -> None:
        super().__init__()
        self.train()


def own_forward() -> Network:
    network = Network()
    network.second.forward = lambda x: F.linear(x, network.second.weight)
    return network


KINDS: dict[str, Callable[[], Network]] = {
    "by a function": ByFunction,
    "its own forward": own_forward,
    "through and past": Twice,
    "copies of the state": ByCopies,
    "bypassed": Bypassed,
    "kept from the first pass": Kept,
    "called in training alone": TrainedAlone,
}


def put_under_faults(network: nn.Module, **of: Any) -> nn.Module:
    errors = eden.DataDependent(1e-4, 3e-4)
    eden.inject_(network, eden.Faults(**{"weights": errors, "storage": "int8", **of}))
    if "inputs" in of:
        eden.calibrate_(network, loader())
    network.train()
    network(torch.zeros(2, FEATURES))
    return network


SOON = {**FAST, "max_drop": 0.3}


def profile(network: nn.Module) -> Any:
    return eden.profile(network, loader(), search=eden.Search(coarse_only=True, effort=1.5), **SOON)


def certify(network: nn.Module) -> Any:
    return eden.certify(network, loader(), search=eden.Search(effort=1.5), **SOON)


STEPS: dict[str, Callable[[nn.Module], Any]] = {
    "profile": profile,
    "certify": certify,
    "evaluate": lambda network: eden.evaluate(network, loader(), chips=2),
    "accuracy": lambda network: [accuracy(network, make_data()) for _ in range(2)],
    "curves": lambda network: at_rates(network, make_data(), [1e-3], 2),
}
REFUSED = "second.weight( \\(by .*\\))?: (never )?read in a forward pass"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_read_is_refused(kind: str, step: str) -> None:
    network = KINDS[kind]()
    put_under_faults(network)
    with pytest.raises(ValueError, match=REFUSED):
        STEPS[step](network)


@pytest.mark.parametrize("step", STEPS)
def test_what_is_read_is_let_through(step: str) -> None:
    STEPS[step](put_under_faults(Network()))


def train(network: nn.Module) -> None:
    recipe = eden.Recipe(epochs=1, batch_size=100)
    eden.train(network, make_data(), recipe, eden.Curriculum(network, 1e-3, epochs=1))


def own_loop(network: nn.Module) -> None:
    curriculum = eden.Curriculum(network, 1e-3, epochs=1)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)
    x, y = make_data().tensors
    network.train()
    F.cross_entropy(network(x), y).backward()
    optimizer.step()
    network.eval()
    network(x)
    curriculum.step()


class EvaluatedAlone(Network):
    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return h if self.training else self.second(h)


@pytest.mark.parametrize("loop", [train, own_loop])
@pytest.mark.parametrize("kind", [ByFunction, own_forward, EvaluatedAlone, Kept])
def test_a_curriculum_refuses_what_training_does_not_read(kind: Callable[[], Network], loop: Any) -> None:
    with pytest.raises((ValueError, RuntimeError), match=REFUSED):
        loop(put_under_faults(kind()))


def test_training_refuses_what_is_read_past_its_memory_and_goes_on_as_it_would_have() -> None:
    with pytest.raises(ValueError, match=REFUSED):
        train(put_under_faults(Twice()))
    own_loop(put_under_faults(Network()))
    train(put_under_faults(Network()))


def test_one_operand_of_several_of_a_layer() -> None:
    def forward(layer: Any, input: Tensor) -> Tensor:
        return F.linear(input, layer.eden_read("weight", layer.weight))

    network = put_under_faults(Network(), inputs=eden.Uniform(1e-4))
    network.second.eden_forward = forward.__get__(network.second)
    for step in STEPS.values():
        with pytest.raises(ValueError, match=r"^second.input: never read in a forward pass"):
            step(network)


class Experts(Network):
    """A layer that few samples need is read all the same."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        chosen = h[:, 0] > 2.0
        h[chosen] = self.second(h[chosen])
        shape = self.second.weight.new_zeros(CLASSES)  # asks for no value of it
        return h + shape


def test_what_some_samples_alone_need_is_read() -> None:
    for step in STEPS.values():
        step(put_under_faults(Experts()))


@contextlib.contextmanager
def group() -> Any:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("kind", [Network, ByFunction, Bypassed])
def test_compiled_and_distributed_networks(kind: type[Network]) -> None:
    def alike(network: nn.Module) -> None:
        for step in (certify, STEPS["evaluate"]):
            if kind is Network:
                step(network)
            else:
                with pytest.raises(ValueError, match=REFUSED):
                    step(network)

    def passes(model: nn.Module, *inputs: Any) -> Any:
        return model.eval()(*inputs)

    with group():
        alike(nn.parallel.DistributedDataParallel(put_under_faults(kind())))
    compiled = torch.compile(put_under_faults(kind()), backend="eager", fullgraph=True)
    passes(compiled, torch.zeros(2, FEATURES))  # has compiled code before it is asked
    alike(compiled)


def test_nothing_of_a_network_is_left_changed() -> None:
    network = put_under_faults(Network()).eval()
    x = make_data().tensors[0]
    before, reads = network(x), Reads(network)
    eden.set_chip_(network, 3)
    plain = network(x)
    eden.set_chip_(network, 3)
    assert torch.equal(reads.call(network, x), plain)
    assert reads.watched
    assert all(layer.eden_faults.reuse is None for layer in (network.first, network.second))
    assert before.shape == plain.shape
