"""Are batch-norm statistics those of all values over all batches and chips, with nothing else changed?"""

import copy

import pytest
import torch
from torch import nn

import eden
from eden.faults.chips import draw_chip, set_chip_
from eden.faults.normalization import reestimate_


def network(ber: float = 1e-2) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(100, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3)),
    )
    errors = eden.Uniform(ber, failure=max(ber, 0.5))
    eden.inject_(model, eden.Faults(errors, errors, "int8", "zero", seed=5))
    eden.calibrate_(model, batches())
    return model.eval()


def batches() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(size, 2, 5, 5, generator=generator) for size in (7, 4, 9)]


def test_statistics_are_those_of_all_values() -> None:
    model = network()
    expected = copy.deepcopy(model)
    seen: list[torch.Tensor] = []
    expected[1].train()
    hook = expected[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    with torch.no_grad():
        for chip in range(3):
            set_chip_(expected, draw_chip(9, "training", chip))
            for x in batches():
                expected(x)
    hook.remove()
    values = torch.cat(seen).double().transpose(0, 1).reshape(4, -1)
    named = [{"image": batch} for batch in batches()]
    found = reestimate_(model, named, chips=3, seed=9, forward_fn=lambda model, batch: model(batch["image"]))
    assert found is model
    assert torch.allclose(model[1].running_mean.double(), values.mean(1), rtol=1e-6)
    assert torch.allclose(model[1].running_var.double(), values.var(1), rtol=1e-6)


def test_nothing_else_changes_and_the_bits_repeat() -> None:
    models = [network(), network()]
    models[1][5].train()
    for model in models:
        model[0].eden_access.fill_(17)
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers() if "eden" in name}
        weights = {name: parameter.clone() for name, parameter in model.named_parameters()}
        modes = [module.training for module in model.modules()]
        state = torch.get_rng_state()
        reestimate_(model, batches(), chips=2)
        torch.rand(3)
        torch.set_rng_state(state)
        assert modes == [module.training for module in model.modules()]
        assert all(torch.equal(buffer, dict(model.named_buffers())[name]) for name, buffer in buffers.items())
        assert all(torch.equal(weights[name], parameter) for name, parameter in model.named_parameters())
        assert not model[1]._forward_pre_hooks
    first, second = (model.state_dict() for model in models)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_statistics_follow_the_faults_and_the_chips() -> None:
    found = []
    for ber, chips in ((0.0, 1), (1e-1, 1), (1e-1, 2), (1e-1, [4]), (1e-1, "one")):
        model = network(ber)
        reestimate_(model, batches(), chips=chips)
        found.append(tuple(model[1].running_var.tolist()))
    assert len(set(found)) == len(found)
    own = network(1e-1)
    reestimate_(own, batches(), chips=[5])
    assert tuple(own[1].running_var.tolist()) == found[-1], "'one' is the network's own chip"


def test_what_cannot_be_estimated_is_named() -> None:
    model = network()
    before = model[1].running_mean.clone()
    with pytest.raises(ValueError, match="loader yielded no batch"):
        reestimate_(model, iter(batches()), chips=2)
    with pytest.raises(ValueError, match="chips is 0"):
        reestimate_(model, batches(), chips=0)
    spoilt = network()
    with torch.no_grad():
        spoilt[0].bias.fill_(float("inf"))
    with pytest.raises(ValueError, match="what 1 reads is not finite"):
        reestimate_(spoilt, batches(), chips=1)
    with pytest.raises(RuntimeError):
        reestimate_(model, [torch.zeros(3, 7)], chips=1)
    assert torch.equal(model[1].running_mean, before)
    assert not model[1].training
    with pytest.raises(ValueError, match="no layer under faults"):
        reestimate_(nn.BatchNorm1d(3), batches())
    plain = nn.Sequential(nn.Linear(3, 3))
    eden.inject_(plain, eden.Faults(eden.Uniform(1e-3)))
    with pytest.raises(ValueError, match="no batch norm with running statistics"):
        reestimate_(plain, [torch.zeros(2, 3)])
