"""Does the chip change once an iteration, whatever steps in it, and hold through every backward pass?"""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

import eden
from eden.faults.faulty_layers import FaultyLayer

STEPS = 6


class Halves(nn.Module):
    """Two networks in one, each of them read by itself or one after the other."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.seen: list[int] = []  # the chip of each read
        self.checkpointed = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(self.second, torch.relu(self.run(self.first, x)))

    def run(self, layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.read, layer, x, use_reentrant=False) if self.checkpointed else self.read(layer, x)

    def read(self, layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = layer(x)
        assert isinstance(layer, FaultyLayer)
        self.seen.append(int(layer.eden_training_chip))
        return y


def network(chips: str | list[int] = "fresh") -> tuple[Halves, eden.Curriculum]:
    model = Halves()
    errors = eden.Uniform(1e-3)
    eden.inject_(model, eden.Faults(errors))
    return model.train(), eden.Curriculum(model, 1e-2, epochs=2, epochs_per_step=1, chips=chips)


def batches() -> Iterator[torch.Tensor]:
    yield from torch.randn(STEPS, 4, 8, generator=torch.Generator().manual_seed(1))


class Around(torch.optim.Optimizer):
    """An optimizer that lets another one step, as Lookahead and ZeroRedundancyOptimizer do."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        super().__init__(inner.param_groups, {})
        self.inner = inner

    def step(self, closure: Callable[[], float] | None = None) -> None:
        self.inner.step()


def sgd(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=0.01)


def one(model: Halves) -> None:
    optimizer = sgd(model)
    for x in batches():
        model(x).square().sum().backward()
        optimizer.step()


def two(model: Halves) -> None:
    optimizers = sgd(model.first), sgd(model.second)
    for x in batches():
        model(x).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()


def one_of_two_seldom(model: Halves) -> None:
    often, seldom = sgd(model.first), sgd(model.second)
    for index, x in enumerate(batches()):
        model(x).square().sum().backward()
        often.step()
        if index % 3 == 2:
            seldom.step()


def wrapped(model: Halves) -> None:
    optimizer = Around(sgd(model))
    for x in batches():
        model(x).square().sum().backward()
        optimizer.step()


def sharded(model: Halves) -> None:
    # Of each rank the inner optimizer holds a share of the Parameters alone.
    optimizer = Around(sgd(model.first))
    optimizer.add_param_group({"params": list(model.second.parameters())})
    for x in batches():
        model(x).square().sum().backward()
        optimizer.step()


def sharpness_aware(model: Halves) -> None:
    optimizer = sgd(model)
    for x in batches():
        for _ in range(2):  # where it is, and at the worst point near it
            optimizer.zero_grad()
            model(x).square().sum().backward()
        optimizer.step()


def adversarial(model: Halves) -> None:
    critic, generator = sgd(model.second), sgd(model.first)
    for x in batches():
        fake = model.run(model.first, x)
        model.run(model.second, fake.detach()).sum().backward()
        critic.step()
        critic.zero_grad()
        model.run(model.second, fake).sum().backward()
        generator.step()


def accumulated(model: Halves) -> None:
    optimizer = sgd(model)
    for x in batches():
        for part in x.split(2):
            model(part).square().sum().backward()
        optimizer.step()


def head_alone(model: Halves) -> None:
    optimizer = sgd(model.second)
    for x in batches():
        model(x).square().sum().backward()
        optimizer.step()


def two_losses(model: Halves) -> None:
    model.checkpointed = True
    optimizer = sgd(model)
    for x in batches():
        y = model(x)
        y.sum().backward(retain_graph=True)
        optimizer.step()
        y.square().sum().backward()  # computes the forward pass again


def in_backward(model: Halves) -> None:
    model.checkpointed = True
    for parameter in model.parameters():
        optimizer = torch.optim.SGD([parameter], lr=0.01)

        def step(_: torch.Tensor, optimizer: torch.optim.Optimizer = optimizer) -> None:
            optimizer.step()

        parameter.register_post_accumulate_grad_hook(step)
    for x in batches():
        model(x).square().sum().backward()


LOOPS = {
    "one": (one, 2),
    "two": (two, 2),
    "wrapped": (wrapped, 2),
    "sharded": (sharded, 2),
    "sharpness aware": (sharpness_aware, 4),
    "adversarial": (adversarial, 3),
    "accumulated": (accumulated, 4),
    "two losses": (two_losses, 6),
    "in backward": (in_backward, 4),
}


@pytest.mark.parametrize("name", LOOPS)
def test_an_iteration_has_one_chip(name):
    loop, reads = LOOPS[name]
    model, curriculum = network()
    with set_checkpoint_early_stop(False):  # what is computed again is, to its end
        loop(model)
    assert curriculum.optimizer_steps == STEPS
    assert len(model.seen) == STEPS * reads
    by_iteration = [set(model.seen[start : start + reads]) for start in range(0, len(model.seen), reads)]
    assert [len(chips) for chips in by_iteration] == [1] * STEPS
    assert len(set.union(*by_iteration)) == STEPS, "and the next another"
    curriculum.step()


@pytest.mark.parametrize("loop", [head_alone, one_of_two_seldom])
def test_what_is_not_stepped_is_learnt(loop):
    model, curriculum = network(chips=[11, 12])
    loop(model)
    assert curriculum.optimizer_steps == STEPS
    assert model.seen[::2] == [11, 11, 11, 12, 11, 12], "the second step tells that the rest is not trained"


def test_where_nobody_can_tell_it_is_said():
    model, curriculum = network(chips=[11, 12])
    critic, generator = sgd(model.second), sgd(model.first)
    for x in batches():
        for _ in range(3):
            model(x).sum().backward()
            critic.step()
        model(x).sum().backward()
        generator.step()
        curriculum.step_iteration()
    assert curriculum.optimizer_steps == STEPS
    assert model.seen[8:] == [chip for chip in (12, 11, 12, 11, 12) for _ in range(8)]
    again, other = network(chips=[11, 12])
    other.load_state_dict(curriculum.state_dict())
    sgd(again).step()
    assert other.optimizer_steps == STEPS, "it is said still"


def test_the_rate_of_two_optimizers_rises_as_that_of_one():
    model = Halves()
    errors = eden.Uniform(1e-3)
    eden.inject_(model, eden.Faults(errors))
    curriculum = eden.Curriculum(model.train(), 1e-2, epochs=1, epochs_per_step=1, steps_per_epoch=2 * STEPS)
    two(model)
    assert curriculum.ber == pytest.approx(1e-2 * (STEPS + 1) / (2 * STEPS))


def test_an_epoch_may_end_amid_an_iteration():
    model, curriculum = network()
    model(torch.randn(4, 8)).sum().backward()
    sgd(model.first).step()
    curriculum.step()
    assert curriculum.optimizer_steps == 1
