"""Is what is not computed again the same to the bit, in networks of every kind, and is it let be where it is not?"""

import dataclasses
from collections.abc import Callable
from typing import Any

import networks
import pytest
import torch
import torch.nn.functional as F
from tiny_profile import FAST, loader, make_network, profile
from torch import Tensor, nn

import eden
from eden.faults.config import Faults
from eden.faults.faulty_layers import faulty_layers
from eden.faults.layers.key_value_cache import KeyValueCache
from eden.faults.memories import scalable_errors
from eden.tolerance.drive import Step
from eden.tolerance.reuse import Reuse

pytestmark = pytest.mark.usefixtures("one_thread")

ERRORS = eden.DataDependent(0.02, 0.05, failure=0.5)
LIMIT = 2**26


class Residual(nn.Module):
    """Writes in place into what its layers return, and calls one layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.twice = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x), inplace=True)
        y = self.twice(x)
        y += x
        z = self.twice(self.norm(y).relu_())
        z -= y
        return self.last(z.mean((2, 3)))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 6)
        self.lstm = nn.LSTM(6, 5, 2, batch_first=True)
        self.cell = nn.GRUCell(5, 5)
        self.last = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        y, (hidden, _) = self.lstm(self.table(x))
        for step in range(3):
            hidden = self.cell(y[:, step], hidden[-1] if step == 0 else hidden)
        return self.last(hidden)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        self.cache = KeyValueCache()
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        _, _, past = self.cache(y, y)
        keys, values, _ = self.cache(y * 0.5, y, past)
        return self.last((keys * values).mean((1,)))


class Noisy(nn.Module):
    """Another forward pass each time."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.last(self.second(y + torch.randn_like(y)))


class Remembering(nn.Module):
    """Carries something from each forward pass to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.before: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        z = y if self.before is None else y + self.before
        self.before = y
        return self.last(self.second(z))


def images(generator: torch.Generator) -> Tensor:
    return torch.randn(5, 1, 6, 6, generator=generator)


def features(generator: torch.Generator) -> Tensor:
    return torch.randn(5, 6, generator=generator)


def tokens(generator: torch.Generator) -> Tensor:
    return torch.randint(9, (5, 4), generator=generator)


def sequences(generator: torch.Generator) -> Tensor:
    return torch.randn(5, 4, 8, generator=generator)


def digits(generator: torch.Generator) -> Tensor:
    return torch.rand(5, 1, 28, 28, generator=generator)


KINDS: dict[str, tuple[Callable[[], nn.Module], Callable[[torch.Generator], Tensor]]] = {
    "residual": (Residual, images),
    "recurrent": (Recurrent, tokens),
    "attention": (Attention, sequences),
    "lenet": (networks.lenet, digits),
    "noisy": (Noisy, features),
    "remembering": (Remembering, features),
}


@dataclasses.dataclass(frozen=True)
class Trial:
    chip: int
    samples: int
    raised: int | None
    rate: float


def injected(kind: str, storage: str = "int8") -> nn.Module:
    torch.manual_seed(3)
    make, samples = KINDS[kind]
    network = make().eval()
    eden.inject_(network, Faults(ERRORS, ERRORS, storage, "zero"))
    eden.calibrate_(network, [samples(torch.Generator().manual_seed(9)) for _ in range(2)])
    return network


def outputs(kind: str, trials: list[Trial], limit: int, storage: str = "int8") -> tuple[list[Tensor], Reuse]:
    network = injected(kind, storage)
    errors = scalable_errors(network)
    found = []
    torch.manual_seed(7)
    with Reuse(network, list(errors), limit) as reuse, torch.inference_mode():
        for trial in trials:
            # High enough a rate for the others that faults are everywhere.
            rates = [trial.rate if index == trial.raised else 2e-3 for index in range(len(errors))]
            eden.set_errors_(
                network, {name: errors[name].scaled(rate) for name, rate in zip(errors, rates, strict=True)}
            )
            eden.set_chip_(network, trial.chip)
            reuse.begin_trial(trial.chip, trial.samples, rates, trial.raised)
            for part in range(2):
                reuse.begin_forward()
                x = KINDS[kind][1](torch.Generator().manual_seed(100 * trial.samples + part))
                found.append(network(x))
    assert all(layer.eden_faults.reuse is None for layer in faulty_layers(network).values())
    return found, reuse


def one_by_one(operands: int) -> list[Trial]:
    """As a search goes: operands in any order, two rates each, on the same three chips; something else between."""
    order = torch.randperm(operands, generator=torch.Generator().manual_seed(4)).tolist()
    trials = [Trial(chip, chip, None, 1e-2) for chip in range(2)]
    trials += [Trial(chip, chip, raised, rate) for raised in order for rate in (0.02, 0.005) for chip in range(3)]
    return [*trials, Trial(0, 0, None, 0.0), Trial(0, 0, order[0], 0.01)]


def same_bits(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(torch.equal(a.view(torch.int32), b.view(torch.int32)) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("storage", ["int8", "float32"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_outputs_are_those_of_computing_everything(kind: str, storage: str) -> None:
    trials = one_by_one(len(scalable_errors(injected(kind))))
    plain, nothing = outputs(kind, trials, 0, storage)
    kept, reuse = outputs(kind, trials, LIMIT, storage)
    assert len({tuple(each.view(torch.int32).flatten().tolist()) for each in plain}) > len(trials) / 2
    assert same_bits(kept, plain)
    assert nothing.reused == 0
    assert reuse.calls == nothing.calls
    assert reuse.reused > (0 if kind in ("noisy", "remembering") else reuse.calls / 6)


def test_all_that_comes_before_the_raised_operand_is_taken_from_what_was_kept() -> None:
    names = list(scalable_errors(injected("lenet")))
    raised = names.index("fc2.weight")  # after conv1, conv2 and fc1
    _, reuse = outputs("lenet", [Trial(0, 0, raised, 0.01), Trial(0, 0, raised, 0.02)], LIMIT)
    assert (reuse.calls, reuse.reused) == (2 * 2 * 5, 2 * 3)
    _, other_samples = outputs("lenet", [Trial(0, 0, raised, 0.01), Trial(0, 1, raised, 0.02)], LIMIT)
    _, other_chip = outputs("lenet", [Trial(0, 0, raised, 0.01), Trial(1, 0, raised, 0.02)], LIMIT)
    assert other_samples.reused == other_chip.reused == 0


def test_no_more_is_held_than_allowed() -> None:
    raised = list(scalable_errors(injected("lenet"))).index("fc3.weight")
    trials = [Trial(chip, chip, raised, rate) for rate in (0.01, 0.02) for chip in range(3)]
    plain, _ = outputs("lenet", trials, 0)
    conv1 = 4 * 5 * (28 * 28 + 6 * 28 * 28)
    for limit, reused in ((conv1 - 1, None), (2 * conv1, None), (LIMIT, 2 * 3 * 4)):
        network_outputs, reuse = outputs("lenet", trials, limit)
        assert same_bits(network_outputs, plain)
        assert reuse.reused == reused if reused else 0 < reuse.reused < 24
        assert reuse._held == 0
        assert not reuse._kept


def test_parameters_that_are_written_to_are_noticed() -> None:
    network = injected("lenet").eval()
    names = list(scalable_errors(network))
    raised, x = names.index("fc3.weight"), digits(torch.Generator().manual_seed(1))
    rates = [2e-3] * len(names)

    def forward(reuse: Reuse) -> Tensor:
        eden.set_chip_(network, 5)
        reuse.begin_trial(5, 0, rates, raised)
        reuse.begin_forward()
        with torch.no_grad():
            found: Tensor = network(x)
        return found

    with Reuse(network, names, LIMIT) as reuse:
        forward(reuse)
        with torch.no_grad():
            network.get_submodule("conv1").weight.mul_(-1.0)
        after = forward(reuse)
        assert reuse.reused == 0
    with Reuse(network, names, 0) as reuse:
        assert same_bits([after], [forward(reuse)])


def test_a_profile_is_the_same_with_and_without() -> None:
    steps: list[Step] = []
    options: dict[str, Any] = {**FAST, "effort": 2.0}
    kept = profile(make_network(), loader(32), **{**options, "progress": steps.append})
    assert profile(make_network(), loader(32), reuse_bytes=0, **options) == kept
    alone = [step for step in steps if step.phase == "operand"]
    assert steps[-1].reused == alone[-1].reused > 0
    # Two operands of four have a layer before them: at best half of the calls in trials of those, a quarter of all.
    calls = alone[-1].calls - alone[0].calls
    assert calls / 8 < alone[-1].reused < calls / 2


@pytest.mark.parametrize("limit", [-1, 1.5])
def test_a_bad_limit_is_named(limit: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="reuse_bytes is"):
        profile(make_network(), loader(), reuse_bytes=limit, **FAST)
