"""Do the residual networks have the layers, shapes and shortcuts of the paper that they follow?"""

import pytest
import torch
from torch import nn

from eden.app.models import BasicBlock, ResNet


@pytest.mark.parametrize(("blocks", "layers", "parameters"), [(1, 8, 75290), (3, 20, 269722)])
def test_layers_and_parameters(blocks: int, layers: int, parameters: int) -> None:
    model = ResNet(blocks)
    assert sum(isinstance(module, (nn.Conv2d, nn.Linear)) for module in model.modules()) == layers
    # From the paper's shapes: convolutions of 3 x 3 without bias, two values per normalized channel, one Linear.
    widths = [(3, 16), *[(16, 16)] * (2 * blocks)]
    for narrow, wide in ((16, 32), (32, 64)):
        widths += [(narrow, wide), *[(wide, wide)] * (2 * blocks - 1)]
    counted = sum(9 * before * after + 2 * after for before, after in widths) + 64 * 10 + 10
    assert sum(parameter.numel() for parameter in model.parameters()) == counted == parameters


@pytest.mark.parametrize(("channels", "image", "size"), [(8, 1, 8), (16, 3, 32), (5, 2, 9)])
def test_shapes(channels: int, image: int, size: int) -> None:
    model = ResNet(blocks=1, channels=channels, image_channels=image, classes=7).eval()
    x = torch.randn(2, image, size, size)
    seen: list[tuple[int, ...]] = []
    for stage in (model.layer1, model.layer2, model.layer3):
        stage.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape)))
    assert model(x).shape == (2, 7)
    half, quarter = -(-size // 2), -(-size // 4)
    assert seen == [(2, channels * 2**i, n, n) for i, n in enumerate((size, half, quarter))]


@pytest.mark.parametrize(("narrow", "wide", "stride"), [(4, 4, 1), (4, 8, 2), (3, 6, 2), (5, 8, 1)])
def test_the_shortcut_is_the_input_subsampled_and_padded(narrow: int, wide: int, stride: int) -> None:
    block = BasicBlock(narrow, wide, stride).eval()
    nn.init.zeros_(block.conv2.weight)  # nothing but the shortcut is left
    x = torch.rand(2, narrow, 6, 6)
    expected = torch.zeros(2, wide, 6 // stride, 6 // stride)
    before = (wide - narrow) // 2
    expected[:, before : before + narrow] = x[:, :, ::stride, ::stride]
    assert torch.equal(block(x), expected)
