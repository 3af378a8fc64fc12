"""Every network of the paper and two transformers: one training step and one evaluation under faults, all named.

Prints, for each network, its parameters, how many operands faults reach and their bytes, how many parameters, buffers,
inputs and functions of several tensors they do not reach, how many of those `eden.coverage` does not name, the loss
before and after the step on reliable memory and under errors (BER 1e-3 in all weights and inputs), and whether every
gradient is there and finite. Weights and images are random: the losses say nothing of accuracy. Narrow networks, or
with ``--full`` those of the papers. Exits with 1 if anything is not named or not finite.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import networks
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import eden
from eden.faults.coverage import Coverage


@dataclasses.dataclass(frozen=True)
class Entry:
    """A network as in its paper and a narrow one, with the side of the images for each; 0 where it takes tokens."""

    full: Callable[[], nn.Module]
    parameters: int
    narrow: Callable[[], nn.Module]
    narrow_side: int
    full_side: int


def _entry(
    full: Callable[..., nn.Module], parameters: int, narrow: Callable[[], nn.Module], side: int, full_side: int = -1
) -> Entry:
    return Entry(full, parameters, narrow, side, side if full_side < 0 else full_side)


NETWORKS: dict[str, Entry] = {
    "LeNet": _entry(networks.lenet, 61_706, networks.lenet, 28),
    "AlexNet": _entry(networks.alexnet, 61_100_840, partial(networks.alexnet, 10, 1 / 16), 63),
    "VGG-16": _entry(networks.vgg16, 138_357_544, partial(networks.vgg16, 10, 1 / 16), 32),
    "ResNet-101": _entry(networks.resnet101, 44_549_160, partial(networks.resnet101, 10, 1 / 16), 32),
    "MobileNetV2": _entry(networks.mobilenet_v2, 3_504_872, partial(networks.mobilenet_v2, 10, 1 / 4), 32),
    "DenseNet-201": _entry(networks.densenet201, 20_013_928, partial(networks.densenet201, 10, 1 / 8), 32),
    "SqueezeNet 1.1": _entry(networks.squeezenet, 1_235_496, partial(networks.squeezenet, 10, 1 / 4), 32),
    "YOLO-Tiny": _entry(networks.YoloTiny, 8_852_366, partial(networks.YoloTiny, 3, 1 / 16), 32),
    "YOLO": _entry(networks.Yolo, 61_949_149, partial(networks.Yolo, 3, 1 / 16), 32),
    "ViT": _entry(
        networks.VisionTransformer, 86_567_656, partial(networks.VisionTransformer, 32, 16, 16, 2, 2, 10), 32, 224
    ),
    "language model": _entry(
        networks.CausalLanguageModel, 124_439_808, partial(networks.CausalLanguageModel, 31, 16, 16, 2, 2), 0
    ),
}


def sample(side: int, seed: int) -> Tensor:
    """Four random images, or four sequences of six tokens."""
    generator = torch.Generator().manual_seed(seed)
    if side == 0:
        return torch.randint(31, (4, 6), generator=generator)
    return torch.randn(4, 1 if side == 28 else 3, side, side, generator=generator)


def loss_of(output: Any, x: Tensor) -> Tensor:
    """Of a detector's maps, of a language model's next tokens, or of classes."""
    if isinstance(output, list):
        return torch.stack([((each - 1) ** 2).mean() for each in output]).sum()
    if output.dim() == 3:
        return F.cross_entropy(output[:, :-1].flatten(0, 1), x[:, 1:].flatten())
    return F.cross_entropy(output, torch.arange(len(output)))


def estimate_statistics(model: nn.Module, x: Tensor) -> None:
    """Give batch normalization the statistics of a batch: random weights with those of none have no useful ranges."""
    normalizations = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in normalizations:
        module.momentum = 1.0
    with torch.no_grad():
        model.train()(x)
    for module in normalizations:
        module.momentum = 0.1
    model.eval()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a network.

    Attributes:
        clean, faulty: loss in evaluation on reliable memory and under errors, before and after the step.
        without_gradient: parameters whose gradient is missing or not finite.
        coverage: what faults reach and what not, a forward pass watched.
        unnamed: parameters, buffers and layers with parameters that no row of the coverage names.
    """

    clean: tuple[float, float]
    faulty: tuple[float, float]
    without_gradient: tuple[str, ...]
    coverage: Coverage
    unnamed: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether all is named and finite, and errors were met."""
        finite = all(math.isfinite(loss) for loss in (*self.clean, *self.faulty))
        met = all(clean != faulty for clean, faulty in zip(self.clean, self.faulty, strict=True))
        return finite and met and not self.without_gradient and not self.unnamed


def unnamed(model: nn.Module, coverage: Coverage) -> tuple[str, ...]:
    """What a coverage does not name: neither by itself, nor by the operand that it is tied to."""
    rows = {row.name for row in coverage.rows}
    stored = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    named = {id(tensor) for name, tensor in stored if name in rows}
    missing = [
        name for name, tensor in stored if id(tensor) not in named and not name.rpartition(".")[2].startswith("eden_")
    ]
    layers = {name.rpartition(".")[0] for name in rows}
    return (
        *missing,
        *(
            name
            for name, module in model.named_modules()
            if list(module.parameters(recurse=False)) and name not in layers
        ),
    )


def evaluate(model: nn.Module, x: Tensor) -> tuple[float, float]:
    """Loss on reliable memory and under errors."""
    model.eval()
    with torch.inference_mode():
        with eden.clean(model):
            clean = float(loss_of(model(x), x))
        return clean, float(loss_of(model(x), x))


def train_and_evaluate(model: nn.Module, side: int, storage: str, ber: float = 1e-3) -> Outcome:
    """Calibrate, evaluate, take one step under a curriculum and evaluate again."""
    x, errors = sample(side, 1), eden.Uniform(ber)
    estimate_statistics(model, x)
    eden.inject_(model, eden.Faults(errors, errors, storage, "zero"))
    eden.calibrate_(model, [sample(side, 0), x])
    before = evaluate(model, x)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    curriculum = eden.Curriculum(model, target_ber=ber, epochs=1, epochs_per_step=1)
    loss_of(model.train()(x), x).backward()
    without = [
        name for name, parameter in model.named_parameters() if parameter.grad is None or not _finite(parameter.grad)
    ]
    optimizer.step()
    curriculum.step()
    after = evaluate(model, x)
    coverage = eden.coverage(model, sample=x)
    return Outcome((before[0], after[0]), (before[1], after[1]), tuple(without), coverage, unnamed(model, coverage))


def _finite(x: Tensor) -> bool:
    return bool(torch.isfinite(x).all())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the networks of the papers (minutes, 8 GiB of memory)")
    parser.add_argument("--storage", default="int8", help="int8, float32, ...")
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    arguments = parser.parse_args()
    print(f"{'full width' if arguments.full else 'narrow'}, {arguments.storage}, seed {arguments.seed}, BER 1e-3")
    print(
        f"{'network':<15} {'parameters':>11} {'operands':>8} {'bytes':>11} {'params':>6} {'buffers':>7} {'inputs':>6} "
        f"{'functions':>9} {'unnamed':>7}  {'loss, reliable':>16}  {'loss, faulty':>16}  gradients"
    )
    failed = 0
    for name, entry in NETWORKS.items():
        torch.manual_seed(arguments.seed)
        model = entry.full() if arguments.full else entry.narrow()
        found = train_and_evaluate(model, entry.full_side if arguments.full else entry.narrow_side, arguments.storage)
        left = Counter(row.kind for row in found.coverage.reliable)
        counts = [left[kind] for kind in ("parameter", "buffer", "input", "function")]
        print(
            f"{name:<15} {sum(p.numel() for p in model.parameters()):>11,} {len(found.coverage.faulty):>8} "
            f"{found.coverage.faulty_bytes:>11,} {counts[0]:>6} {counts[1]:>7} {counts[2]:>6} {counts[3]:>9} "
            f"{len(found.unnamed):>7}  {found.clean[0]:>7.4f} {found.clean[1]:>8.4f}  {found.faulty[0]:>7.4f} "
            f"{found.faulty[1]:>8.4f}  {'finite' if not found.without_gradient else found.without_gradient[0]}"
        )
        failed += not found.holds
    print(f"{len(NETWORKS) - failed} of {len(NETWORKS)} networks hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
