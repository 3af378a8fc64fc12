"""Do learned ranges have the gradient of what they clip, and does evaluation read with them as training does?"""

import dataclasses
import math

import pytest
import tiny_task
import torch
from torch import nn

import eden
from eden.boosting.recipe import Recipe
from eden.boosting.training import train
from eden.faults.learned_ranges import LearnedRanges

pytestmark = pytest.mark.usefixtures("one_thread")


def network(storage: str = "int8", quantization: str = "symmetric", ber: float = 0.0) -> nn.Module:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    errors = eden.Uniform(ber)
    eden.inject_(model, eden.Faults(errors, errors, storage, "zero", quantization=quantization))
    eden.calibrate_(model, [samples()])
    return model


def samples() -> torch.Tensor:
    return torch.randn(40, 6, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("storage", ["int8", "float32"])
def test_the_gradient_is_that_of_the_clipped_values(storage: str) -> None:
    model = network(storage)
    learned = LearnedRanges(model)
    with torch.no_grad():
        learned.factors["0.input"].fill_(0.4)
    learned.apply_()
    x = samples()
    low, high = learned.base["0.input"]
    assert (low == -high) == (storage == "int8")
    least, most = 0.4 * low, 0.4 * high
    model.train()
    with learned.training():
        seen: list[torch.Tensor] = []
        model[0].register_forward_hook(lambda _, inputs, output: seen.append(output))
        model(x).square().sum().backward()
        assert seen
    gradient = learned.factors["0.input"].grad
    assert gradient is not None
    # By hand: what reaches the stored input, summed where it was clipped, with the sign of the end that clipped it.
    clamped = x.clamp(least, most).requires_grad_()
    other = network(storage)
    eden.calibrate_(other, ranges={"0.input": (least, most), "2.input": eden.ranges(model)["2.input"]})
    other(clamped).square().sum().backward()
    assert clamped.grad is not None
    clipped = (clamped.grad * ((x > most) * high + (x < least) * low)).sum()
    expected = clipped / math.sqrt(6 * 127)
    assert gradient == pytest.approx(float(expected), rel=1e-4)
    assert float(gradient) != 0.0


@pytest.mark.parametrize(
    ("storage", "quantization"),
    [("int8", "symmetric"), ("int4", "affine"), ("uint8", "symmetric"), ("float32", "symmetric")],
)
def test_evaluation_reads_as_training_does(storage: str, quantization: str) -> None:
    model = network(storage, quantization)
    learned = LearnedRanges(model)
    with torch.no_grad():
        for factor in learned.factors.values():
            factor.fill_(0.5)
    learned.apply_()
    with torch.no_grad(), learned.training():
        found = model.train()(samples())
        plain = model.eval()(samples())
    assert torch.allclose(found, plain, atol=1e-5)
    assert torch.equal(model(samples()), plain), "nothing is left in the network"
    ranges = eden.ranges(model)
    low, high = learned.base["2.input"]
    assert ranges["2.input"][1] == pytest.approx(0.5 * high)
    assert (low, ranges["2.input"][0]) == (0.0, 0.0), "after a ReLU the low end stays"


def test_a_decay_makes_ranges_smaller_and_training_keeps_them_working() -> None:
    dataset, validation = tiny_task.data()
    recipe = Recipe(epochs=8, learning_rate=0.05, batch_size=50, learn_ranges=True)

    def trained(**changes: float) -> tuple[nn.Module, dict[str, tuple[float, float]]]:
        model = tiny_task.network()
        errors = eden.Uniform(1e-3)
        eden.inject_(model, eden.Faults(errors, errors, "int8", "zero"))
        eden.calibrate_(model, [dataset.tensors[0]])
        curriculum = eden.Curriculum(model, 1e-2, 8)
        before = eden.ranges(model)
        train(model, dataset, dataclasses.replace(recipe, **changes), curriculum)
        assert not any(module._forward_pre_hooks for module in model.modules())
        return model, {name: pair for name, pair in before.items() if name.endswith("input")}

    free, before = trained()
    decayed, _ = trained(range_decay=0.05)
    for name, (_, high) in before.items():
        assert eden.ranges(decayed)[name][1] < 0.9 * high
    assert eden.ranges(free)["0.input"][1] == before["0.input"][1], "nothing is clipped, so nothing moves it"
    x, y = validation.tensors
    with eden.clean(decayed):
        assert float((decayed(x).argmax(1) == y).float().mean()) > 0.9


class Sequences(nn.Module):
    """Inputs that are not a layer's first argument, or are shared, or given in packed form."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.recurrent = nn.GRU(4, 4, num_layers=2, batch_first=True)
        self.cache = eden.KeyValueCache()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.attention(x, x, 2 * x, need_weights=False)[0]
        lengths = torch.full((len(x),), x.shape[1])
        packed = nn.utils.rnn.pack_padded_sequence(y, lengths, batch_first=True)
        z, _ = nn.utils.rnn.pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)
        keys, values, _ = self.cache(z, 3 * z)
        return keys + values


def test_every_input_has_a_factor_that_is_trained() -> None:
    torch.manual_seed(1)
    model, x = Sequences(), torch.randn(6, 5, 4)
    errors = eden.Uniform(0.0)
    eden.inject_(model, eden.Faults(errors, errors, "int8", "zero"))
    eden.calibrate_(model, [x])
    names = {name for name, info in eden.operands(model).items() if info.kind == "input"}
    assert names == {
        *("attention.query", "attention.value", "attention.out_proj.input", "recurrent.input", "recurrent.input_l1"),
        *("cache.keys", "cache.values"),
    }
    learned = LearnedRanges(model)
    assert set(learned.factors) == names, "query and key are one tensor, and so one operand"
    model.train()
    for name, factor in learned.factors.items():
        with torch.no_grad():
            factor.fill_(0.6)
        learned.apply_()
        with learned.training():
            found = model(x)
            found.square().sum().backward()
        assert factor.grad is not None, name
        assert float(factor.grad) != 0.0, name
        assert torch.allclose(model(x), found, atol=1e-4), "quantization clips to the same range"
        with torch.no_grad():
            factor.fill_(1.0)


def test_learned_ranges_are_compiled() -> None:
    model = network()
    learned = LearnedRanges(model)
    with torch.no_grad():
        learned.factors["0.input"].fill_(0.4)
    learned.apply_()
    model.train()
    gradients = []
    with learned.training():
        for form in (model, torch.compile(model, backend="eager", fullgraph=True)):
            learned.factors["0.input"].grad = None
            form(samples()).square().sum().backward()
            gradients.append(learned.factors["0.input"].grad)
    assert gradients[0] is not None
    assert torch.equal(gradients[0], gradients[1])


def test_what_cannot_be_learned_is_named() -> None:
    with pytest.raises(ValueError, match="has no input kept as codes"):
        LearnedRanges(network("sign"))
    model = nn.Sequential(nn.Linear(6, 5))
    errors = eden.Uniform(1e-3)
    eden.inject_(model, eden.Faults(errors, errors, "int8"))
    with pytest.raises(ValueError, match=r"0.input has no calibrated range to learn from; call eden.calibrate_"):
        LearnedRanges(model)
    learned = LearnedRanges(network())
    state = learned.state_dict()
    with pytest.raises(ValueError, match=r"of other inputs: they differ in 2.input"):
        learned.load_state_dict({**state, "base": {"0.input": (0.0, 1.0)}})
