"""Batch norm folded into weights by torch's own functions, as deployed networks have it, under faults and boosted."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.ao.quantization import fuse_modules
from torch.fx.experimental.optimization import fuse
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.data import TensorDataset

import eden


def network() -> nn.Sequential:
    """Channels whose scales differ by a thousand once their norm is folded."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
    with torch.no_grad():
        for norm in (model[1], model[4]):
            norm.running_mean.normal_()
            norm.weight.copy_(torch.logspace(-1.5, 1.5, 8))
    return model.eval()


def by_utilities(model: nn.Sequential) -> nn.Module:
    for at in (0, 3):
        model[at], model[at + 1] = fuse_conv_bn_eval(model[at], model[at + 1]), nn.Identity()
    return model


@pytest.mark.parametrize("fold", [by_utilities, fuse, lambda model: fuse_modules(model, [["0", "1", "2"], ["3", "4"]])])
def test_folded_networks_are_read_as_their_function_is(fold: Callable[[nn.Module], nn.Module]) -> None:
    images = torch.randn(16, 3, 8, 8)
    model = network()
    expected = model(images).detach()
    folded = fold(model)
    off = {}
    for channels in (False, True):
        faulty = copy.deepcopy(folded)
        eden.inject_(faulty, eden.Faults.int8(eden.Uniform(1e-12), weight_channels=channels, percentile=100.0))
        eden.calibrate_(faulty, [images])
        assert len(eden.operands(faulty)) == 4
        with torch.no_grad():
            off[channels] = float(((faulty(images) - expected).norm(dim=0) / expected.norm(dim=0)).max())
    # A channel of small weights has codes of its own; one range leaves it hardly any.
    assert off[True] < 0.05 < 0.1 < off[False]
    curriculum = eden.Curriculum(faulty, 1e-3, 1, schedule="constant")
    before = copy.deepcopy(faulty.state_dict())
    eden.train(faulty, TensorDataset(images, torch.arange(16) % 8), eden.Recipe.boosting(1), curriculum)
    assert all(torch.isfinite(value).all() for value in faulty.parameters())
    assert any(not torch.equal(value, before[name]) for name, value in faulty.named_parameters())
