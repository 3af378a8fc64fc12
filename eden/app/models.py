"""Small networks for the demonstration, the examples and the tests.

He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), section 4.2: 6n + 2 layers, shortcuts of option A
(identity, subsampled and padded with zeros where the shape changes). Robinett and Kepner, "RadiX-Net: Structured Sparse
Matrices for Deep Neural Networks" (IPDPS workshops 2019): sparse layers by a rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a parameter-free shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.added_channels = channels - channels_in

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, C, H, W) to (N, channels, H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        shortcut = x
        if self.stride != 1 or self.added_channels:
            before = self.added_channels // 2
            after = self.added_channels - before
            shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, after))
        return F.relu(y + shortcut)


class ResNet(nn.Module):
    """A residual network of three stages of ``blocks`` blocks each, for small images.

    Args:
        blocks: n of the 6n + 2 layers; 3 makes ResNet-20.
        channels: channels of the first stage, doubled at each of the two others.
        image_channels: channels of the input.
        classes: number of classes.
    """

    def __init__(self, blocks: int = 3, channels: int = 16, image_channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(image_channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.layer1 = self._stage(channels, channels, blocks, 1)
        self.layer2 = self._stage(channels, 2 * channels, blocks, 2)
        self.layer3 = self._stage(2 * channels, 4 * channels, blocks, 2)
        self.linear = nn.Linear(4 * channels, classes)

    @staticmethod
    def _stage(channels_in: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
        first = BasicBlock(channels_in, channels, stride)
        return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Images of shape (N, image_channels, H, W) to logits of shape (N, classes)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def radix_net(radices: Sequence[int], values: Tensor | float) -> list[Tensor]:
    """The weights of a RadiX-Net of one mixed-radix system, one for each of its layers.

    A neuron's number is written in digits of the radices, the lowest first. In layer i it reads the neurons whose
    numbers are its own plus 0, 1, ... of digit i, modulo the number of neurons: so each output of the last layer
    reaches each input of the first by one path.

    Args:
        radices: how many connections a neuron has in each layer; their product is the number of neurons.
        values: of all connections, or float32 of shape (layers, neurons, most connections).

    Returns:
        Float32 matrices (neurons, neurons) of the layout torch.sparse_csr.
    """
    neurons, place, weights = math.prod(radices), 1, []
    for number, radix in enumerate(radices):
        columns = (torch.arange(neurons)[:, None] + place * torch.arange(radix)) % neurons
        kept = values[number, :, :radix] if isinstance(values, Tensor) else torch.full(columns.shape, values)
        rows = torch.arange(0, columns.numel() + 1, radix)
        matrix = (rows, columns.sort(1)[0].flatten(), kept.flatten(), (neurons, neurons))
        weights.append(torch.sparse_csr_tensor(*matrix, check_invariants=True))
        place *= radix
    return weights
