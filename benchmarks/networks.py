"""Networks of the EDEN paper and two transformers, for tests, examples and measurements; weights are random.

Each is written from its paper. ``width`` scales the channels, so that a test can run the structure of a large network
in a moment. Which YOLO the EDEN paper ran is not known to us; these are the two networks of the YOLOv3 report.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eden.faults.layers.key_value_cache import KeyValueCache


def _scaled(channels: int, width: float) -> int:
    return max(2, round(channels * width))


def _convolution(
    channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1, activation: nn.Module | None = None
) -> nn.Sequential:
    """A convolution without a bias, batch normalization and, where one is given, an activation."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
    ]
    return nn.Sequential(*layers, *([] if activation is None else [activation]))


def lenet(classes: int = 10, image_channels: int = 1) -> nn.Sequential:
    """LeNet-5 (LeCun et al., Proc. IEEE 86, 1998) with rectifiers: images of 28 by 28 to logits (N, classes)."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(image_channels, 6, 5, padding=2),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 16, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(400, 120),
            relu3=nn.ReLU(),
            fc2=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            fc3=nn.Linear(84, classes),
        )
    )


def alexnet(classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """AlexNet of one column (Krizhevsky, arXiv 1404.5997): images of 63 by 63 and more to logits (N, classes)."""
    channels = [_scaled(c, width) for c in (64, 192, 384, 256, 256)]
    hidden = _scaled(4096, width)
    features = nn.Sequential(
        nn.Conv2d(3, channels[0], 11, 4, 2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(channels[0], channels[1], 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(channels[1], channels[2], 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels[2], channels[3], 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels[3], channels[4], 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.AdaptiveAvgPool2d(6),
    )
    return nn.Sequential(features, _classifier(36 * channels[4], hidden, classes))


def _classifier(features: int, hidden: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(features, hidden),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, classes),
    )


def vgg16(classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """VGG-16 (Simonyan and Zisserman, ICLR 2015, D): images of 32 by 32 and more to logits (N, classes)."""
    layers: list[nn.Module] = []
    before = 3
    for repeats, channels in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        for _ in range(repeats):
            layers += [nn.Conv2d(before, _scaled(channels, width), 3, padding=1), nn.ReLU()]
            before = _scaled(channels, width)
        layers.append(nn.MaxPool2d(2))
    features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(7))
    return nn.Sequential(features, _classifier(49 * before, _scaled(4096, width), classes))


class _Bottleneck(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels_in, channels, 1, activation=nn.ReLU())
        self.conv2 = _convolution(channels, channels, 3, stride, activation=nn.ReLU())
        self.conv3 = _convolution(channels, 4 * channels, 1)
        same = stride == 1 and channels_in == 4 * channels
        self.shortcut = nn.Identity() if same else _convolution(channels_in, 4 * channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv3(self.conv2(self.conv1(x))) + self.shortcut(x))


def resnet50(classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """ResNet-50 (He et al., CVPR 2016): images of 32 by 32 and more to logits of shape (N, classes)."""
    return _resnet((3, 4, 6, 3), classes, width)


def resnet101(classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """ResNet-101, likewise."""
    return _resnet((3, 4, 23, 3), classes, width)


def _resnet(stage_blocks: Sequence[int], classes: int, width: float) -> nn.Sequential:
    before = _scaled(64, width)
    stages: list[nn.Module] = [_convolution(3, before, 7, 2, activation=nn.ReLU()), nn.MaxPool2d(3, 2, 1)]
    for number, blocks in enumerate(stage_blocks):
        channels = _scaled(64 * 2**number, width)
        stage = []
        for i in range(blocks):
            stage.append(_Bottleneck(before, channels, 2 if i == 0 and number > 0 else 1))
            before = 4 * channels
        stages.append(nn.Sequential(*stage))
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


class _InvertedResidual(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        expand = [] if expansion == 1 else [_convolution(channels_in, hidden, 1, activation=nn.ReLU6())]
        depthwise = _convolution(hidden, hidden, 3, stride, groups=hidden, activation=nn.ReLU6())
        self.body = nn.Sequential(*expand, depthwise, _convolution(hidden, channels, 1))
        self.residual = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.residual else y


def mobilenet_v2(classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """MobileNetV2 (Sandler et al., CVPR 2018): images of 32 by 32 and more to logits of shape (N, classes)."""
    before = _scaled(32, width)
    layers: list[nn.Module] = [_convolution(3, before, 3, 2, activation=nn.ReLU6())]
    for expansion, channels, repeats, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for i in range(repeats):
            layers.append(_InvertedResidual(before, _scaled(channels, width), stride if i == 0 else 1, expansion))
            before = _scaled(channels, width)
    last = _scaled(1280, width)
    layers += [_convolution(before, last, 1, activation=nn.ReLU6()), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(last, classes))


class _DenseLayer(nn.Module):
    def __init__(self, channels_in: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(channels_in), nn.Conv2d(channels_in, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        return torch.cat((x, self.conv2(F.relu(self.norm2(y)))), 1)


def densenet201(classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """DenseNet-201 (Huang et al., CVPR 2017): images of 32 by 32 and more to logits of shape (N, classes)."""
    growth, channels = _scaled(32, width), _scaled(64, width)
    layers: list[nn.Module] = [_convolution(3, channels, 7, 2, activation=nn.ReLU()), nn.MaxPool2d(3, 2, 1)]
    blocks = (6, 12, 48, 32)
    for number, repeats in enumerate(blocks):
        for _ in range(repeats):
            layers.append(_DenseLayer(channels, growth))
            channels += growth
        layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        if number + 1 < len(blocks):
            layers += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
            channels //= 2
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


class _Fire(nn.Module):
    def __init__(self, channels_in: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels_in, squeezed, 1)
        self.expand1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat((F.relu(self.expand1(x)), F.relu(self.expand3(x))), 1)


def squeezenet(classes: int = 1000, width: float = 1.0) -> nn.Sequential:
    """SqueezeNet 1.1 (Iandola et al., arXiv 1602.07360): images of 32 by 32 and more to logits (N, classes)."""
    before = _scaled(64, width)
    layers: list[nn.Module] = [nn.Conv2d(3, before, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)]
    for number, (squeezed, expanded) in enumerate(
        ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
    ):
        if number in (2, 4):
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        layers.append(_Fire(before, _scaled(squeezed, width), _scaled(expanded, width)))
        before = 2 * _scaled(expanded, width)
    layers += [nn.Dropout(), nn.Conv2d(before, classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers)


def _leaky(channels_in: int, channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return _convolution(channels_in, channels, kernel, stride, activation=nn.LeakyReLU(0.1))


class _DarknetBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_leaky(channels, channels // 2, 1), _leaky(channels // 2, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y


class Yolo(nn.Module):
    """YOLOv3 (Redmon and Farhadi, arXiv 1804.02767): Darknet-53 and a detector at each of three scales.

    Args:
        classes: number of classes.
        width: scales the channels.
    """

    def __init__(self, classes: int = 80, width: float = 1.0) -> None:
        super().__init__()
        c = [_scaled(channels, width) for channels in (32, 64, 128, 256, 512, 1024)]
        self.stem = _leaky(3, c[0], 3)
        self.stages = nn.ModuleList(
            nn.Sequential(_leaky(c[i], c[i + 1], 3, 2), *(_DarknetBlock(c[i + 1]) for _ in range(blocks)))
            for i, blocks in enumerate((1, 2, 8, 8, 4))
        )
        self.necks, self.heads, self.narrow = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        before = c[5]
        for half, full in ((c[4], c[5]), (c[3], c[4]), (c[2], c[3])):
            convolutions = [_leaky(before, half, 1)]
            for _ in range(2):
                convolutions += [_leaky(half, full, 3), _leaky(full, half, 1)]
            self.necks.append(nn.Sequential(*convolutions))
            self.heads.append(nn.Sequential(_leaky(half, full, 3), nn.Conv2d(full, 3 * (5 + classes), 1)))
            if len(self.heads) < 3:
                self.narrow.append(_leaky(half, half // 2, 1))
                before = half // 2 + half
        self.up = nn.Upsample(scale_factor=2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W), H and W multiples of 32, to maps (N, 3 x (5 + classes), H / s, W / s), s = 32, 16, 8."""
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        found = []
        for i, (neck, head) in enumerate(zip(self.necks, self.heads, strict=True)):
            x = neck(x)
            found.append(head(x))
            if i < len(self.narrow):
                x = torch.cat((self.up(self.narrow[i](x)), maps[3 - i]), 1)
        return found


class YoloTiny(nn.Module):
    """The small network of the YOLOv3 report, with detectors at two scales; arguments as ``Yolo``."""

    def __init__(self, classes: int = 80, width: float = 1.0) -> None:
        super().__init__()
        c = [_scaled(channels, width) for channels in (16, 32, 64, 128, 256, 512, 1024)]
        early: list[nn.Module] = [_leaky(3, c[0], 3)]
        for i in range(4):
            early += [nn.MaxPool2d(2), _leaky(c[i], c[i + 1], 3)]
        self.early = nn.Sequential(*early)
        self.late = nn.Sequential(
            nn.MaxPool2d(2),
            _leaky(c[4], c[5], 3),
            nn.ZeroPad2d((0, 1, 0, 1)),
            nn.MaxPool2d(2, 1),
            _leaky(c[5], c[6], 3),
            _leaky(c[6], c[4], 1),
        )
        outputs = 3 * (5 + classes)
        self.coarse = nn.Sequential(_leaky(c[4], c[5], 3), nn.Conv2d(c[5], outputs, 1))
        self.narrow = nn.Sequential(_leaky(c[4], c[3], 1), nn.Upsample(scale_factor=2))
        self.fine = nn.Sequential(_leaky(c[3] + c[4], c[4], 3), nn.Conv2d(c[4], outputs, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W), H and W multiples of 32, to maps (N, 3 x (5 + classes), H / s, W / s), s = 32, 16."""
        early = self.early(x)
        late = self.late(early)
        return [self.coarse(late), self.fine(torch.cat((self.narrow(late), early), 1))]


class VisionTransformer(nn.Module):
    """A ViT (Dosovitskiy et al., ICLR 2021).

    Args:
        image_size: height and width of the images.
        patch_size: height and width of a patch, which divides them.
        width: of the embeddings.
        depth: number of layers.
        heads: of attention, a divisor of ``width``.
        classes: number of classes.
    """

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 16,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch_size, patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, (image_size // patch_size) ** 2 + 1, width))
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images of shape (N, 3, H, W) to logits of shape (N, classes)."""
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.class_token.expand(len(x), -1, -1), tokens), 1) + self.positions
        logits: Tensor = self.head(self.encoder(tokens)[:, 0])
        return logits


class _CausalBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.cache = KeyValueCache()
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        y = self.norm1(x)
        samples, length, width = y.shape
        shape = samples, length, self.heads, width // self.heads
        keys, values, written = self.cache(self.key(y).view(shape), self.value(y).view(shape), past)
        # A position sees those before it and itself.
        seen = torch.ones(length, keys.shape[1], dtype=torch.bool, device=x.device).tril(keys.shape[1] - length)
        mixed = F.scaled_dot_product_attention(
            self.query(y).view(shape).transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), seen
        )
        x = x + self.out(mixed.transpose(1, 2).reshape(samples, length, width))
        return x + self.mlp(self.norm2(x)), written


Past = Sequence[tuple[Tensor, Tensor]]
"""The keys and values that each block has written so far."""


class CausalLanguageModel(nn.Module):
    """A decoder-only transformer (Radford et al., 2019) whose keys and values go through memory.

    Args:
        vocabulary: number of tokens.
        positions: longest sequence.
        width: of the embeddings.
        depth: number of blocks.
        heads: of attention, a divisor of ``width``.
    """

    def __init__(
        self, vocabulary: int = 50257, positions: int = 1024, width: int = 768, depth: int = 12, heads: int = 12
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(_CausalBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens, int64 of shape (N, T), to logits of the next ones, shape (N, T, vocabulary)."""
        return self.step(tokens)[0]

    def step(self, tokens: Tensor, past: Past | None = None) -> tuple[Tensor, Past]:
        """Logits for further tokens of sequences whose keys and values are in memory.

        Args:
            tokens: int64 of shape (N, T).
            past: what an earlier step returned, None at the beginning.

        Returns:
            Logits of shape (N, T, vocabulary), and what is in memory now.
        """
        before = past[0][0].shape[1] if past else 0
        places = torch.arange(before, before + tokens.shape[1], device=tokens.device)
        x = self.tokens(tokens) + self.positions(places)
        written = []
        for i, block in enumerate(self.blocks):
            x, stored = block(x, past[i] if past else None)
            written.append(stored)
        logits: Tensor = self.head(self.norm(x))
        return logits, written
