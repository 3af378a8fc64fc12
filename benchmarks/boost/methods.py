"""What published methods add to our recipe for int8: one at a time, the same batches and chips, paired differences.

The loop is a user's own, since some methods change a step: sharpness-aware minimization takes its gradient where the
loss is highest nearby, which is a second backward pass before the step, and so on the same chip.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from judging import CHIPS, folds, mean, under
from runs import kept
from tasks import RESNET20_SHORT, cifar_held_out, folder
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import eden
from eden.app.models import BasicBlock
from eden.app.tasks import flip_and_crop
from eden.boosting.batches import Samples
from eden.boosting.recipe import Recipe
from eden.boosting.weights import clip_weights_, distilled, weight_bounds
from eden.faults.learned_ranges import LearnedRanges
from eden.tolerance.evaluation import clean_accuracy

TARGET = 2e-3
RATES = (TARGET,)
_LEARNED_START, _LEAST_CLIP = 0.99, 1e-3


@dataclasses.dataclass(frozen=True)
class Method:
    """What is changed: fields of the recipe, what memory keeps, and what a recipe has no field for.

    Attributes:
        recipe: fields in place of the recipe's.
        memory: arguments of ``eden.Faults.int8`` in place of ours.
        images: that are trained with, the first ones.
        target: mean bit error rate, from the first step on.
        sharpness: rho, how far up the gradient the weights are moved before the gradient that is used (Foret et al.,
            ICLR 2021).
        channel_clip: whether weights are clipped at the 99th percentile of each output channel, taken once.
        learned_clip: whether the largest magnitude of each channel is trained from there.
        equalized: whether channels inside of blocks are scaled before training, as their weights and values have it.
    """

    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    memory: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    images: int = 10_000
    target: float = TARGET
    sharpness: float = 0.0
    channel_clip: bool = False
    learned_clip: bool = False
    equalized: bool = False


METHODS: Mapping[str, Method] = {
    "as the recipe is": Method(),
    "weights clipped at the 99th percentile of each channel": Method({"clip_percentile": None}, channel_clip=True),
    "sharpness-aware, rho 0.05, half of the steps": Method(images=5_000, sharpness=0.05),
    "inputs within their 99th percentile": Method(memory={"percentile": 99.0}),
    "weights within 0.1": Method({"clip_percentile": None, "clip_weights": 0.1}),
    "weights clipped where each channel learns to be": Method(
        {"clip_percentile": None}, channel_clip=True, learned_clip=True
    ),
    "two epochs (twice the passes)": Method({"epochs": 2}),
    "sharpness-aware, rho 0.05, all steps (twice the passes)": Method(sharpness=0.05),
    "inputs within their 98th percentile": Method(memory={"percentile": 98.0}),
    "ranges of inputs decay by 0.01": Method({"range_decay": 1e-2}),
    "target 4e-3": Method(target=4e-3),
    "weights clipped at the 97th percentile": Method({"clip_percentile": 97.0}),
    "channels inside of blocks scaled": Method(equalized=True),
    "weights within 0.2": Method({"clip_percentile": None, "clip_weights": 0.2}),
    "one range for a weight": Method(memory={"weight_channels": False}),
    "ranges of inputs not learned": Method({"learn_ranges": False}),
    "learning rate 0.05": Method({"learning_rate": 0.05}),
    "twenty epochs (twenty times the passes)": Method({"epochs": 20}),
}

RECIPE: Mapping[str, Any] = {
    "epochs": 1,
    "learning_rate": 0.02,
    "weight_decay": 1e-4,
    "seed": 1,
    "distillation": 0.5,
    "clip_percentile": 99.0,
    "learn_ranges": True,
    "range_decay": 1e-3,
}
"""As benchmarks/boost/recipes/int8.toml has it."""


class ChannelClips:
    """A largest magnitude for each output channel of each weight, to which values are brought back after each step.

    Its gradient, if it is trained, is that of the values that are at it: PACT's (Choi et al., arXiv 1805.06085).
    """

    def __init__(self, model: nn.Module) -> None:
        self.weights = {name: value for name, value in model.named_parameters() if value.dim() >= 2}
        self.clips = {
            name: nn.Parameter(torch.quantile(w.detach().abs().flatten(1), _LEARNED_START, dim=1))
            for name, w in self.weights.items()
        }
        self._scale = {name: 1.0 / math.sqrt(w[0].numel() * 127) for name, w in self.weights.items()}

    def _of(self, name: str) -> Tensor:
        weight = self.weights[name]
        return self.clips[name].view(-1, *[1] * (weight.dim() - 1))

    @torch.no_grad()
    def take_gradients(self) -> None:
        """Sum the gradients of the values at their bounds, scaled as learned ranges are (Esser et al., ICLR 2020)."""
        for name, weight in self.weights.items():
            assert weight.grad is not None
            at = weight.abs() >= self._of(name)
            self.clips[name].grad = (weight.grad * weight.sign() * at).flatten(1).sum(1) * self._scale[name]

    @torch.no_grad()
    def apply_(self) -> None:
        """Bring the values back."""
        for name, weight in self.weights.items():
            self.clips[name].clamp_(min=_LEAST_CLIP)
            weight.copy_(torch.maximum(torch.minimum(weight, self._of(name)), -self._of(name)))


@torch.no_grad()
def equalize_(model: nn.Module, images: Tensor) -> None:
    """Scale the channels between the two convolutions of each block: values and the weights that meet them alike large.

    ReLU passes factors on, so the function stays (Nagel et al., ICCV 2019, equation 10); what the memory keeps does
    not: a channel of small values no longer has the errors of the largest one.
    """
    for block in (module for module in model.modules() if isinstance(module, BasicBlock)):
        seen: list[Tensor] = []
        hook = block.conv2.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        model.eval()(images)
        hook.remove()
        values = seen[0].transpose(0, 1).flatten(1)
        weights = block.conv2.weight.transpose(0, 1).flatten(1).abs().amax(1)
        factor = (weights / torch.quantile(values[:, ::17], 0.999, dim=1).clamp(min=1e-2)).sqrt().clamp(0.1, 10.0)
        factor = factor / factor.log().mean().exp()
        for parameter in (block.bn1.weight, block.bn1.bias):
            parameter.mul_(factor)
        block.conv2.weight.div_(factor.view(1, -1, 1, 1))


def ascended(model: nn.Module, rho: float) -> dict[str, Tensor]:
    """Move the Parameters by rho up their gradient; what they were is returned."""
    moved = {name: value for name, value in model.named_parameters() if value.grad is not None}
    norm = nn.utils.get_total_norm(value.grad for value in moved.values() if value.grad is not None)
    before = {name: value.detach().clone() for name, value in moved.items()}
    with torch.no_grad():
        for value in moved.values():
            value.add_(value.grad, alpha=float(rho / norm))
    return before


def trained(method: Method) -> nn.Module:
    """ResNet-20 boosted so, from the network that never saw the images held out."""
    training, _ = cifar_held_out()
    training = TensorDataset(*(tensor[: method.images] for tensor in training.tensors))
    recipe = Recipe(**{**RECIPE, **method.recipe})
    model = RESNET20_SHORT()
    if method.equalized:
        equalize_(model, training.tensors[0][:500])
    teacher = RESNET20_SHORT().requires_grad_(False)
    eden.inject_(model, eden.Faults.int8(eden.Uniform(TARGET), **{"weight_channels": True, **method.memory}))
    eden.calibrate_(model, training.tensors[0][:2000].split(500))  # type: ignore[no-untyped-call]
    for network in (model, teacher):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = recipe.optimizer_of(model)
    learned = LearnedRanges(model)
    if recipe.learn_ranges:
        optimizer.add_param_group({"params": learned.parameters(), "weight_decay": recipe.range_decay})
    clips = ChannelClips(model) if method.channel_clip else None
    if clips is not None:
        clips.apply_()
        optimizer.add_param_group({"params": list(clips.clips.values()), "weight_decay": recipe.range_decay})
    bounds = weight_bounds(model, recipe.clip_weights, recipe.clip_percentile)
    clip_weights_(model, bounds)
    curriculum = eden.Curriculum(model, method.target, recipe.epochs, schedule="constant")
    steps = math.ceil(len(training) / recipe.batch_size)

    def backward(x: Tensor, y: Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            output, theirs = model(x).float(), teacher(x).float()
        own = nn.functional.cross_entropy(output, y)
        share = recipe.distillation
        ((1.0 - share) * own + share * distilled(output, theirs, recipe.temperature)).backward()  # type: ignore[no-untyped-call]

    model.train()
    with learned.training():
        for epoch in range(recipe.epochs):
            samples = Samples(training, recipe, epoch, flip_and_crop, torch.device("cpu"))
            for step in range(steps):
                x, y, _ = samples.batch(step)
                x = x.contiguous(memory_format=torch.channels_last)
                for group in optimizer.param_groups:
                    group["lr"] = recipe.learning_rate_at((epoch * steps + step + 1) / (recipe.epochs * steps))
                optimizer.zero_grad(set_to_none=True)
                backward(x, y)
                if method.sharpness:
                    before = ascended(model, method.sharpness)
                    optimizer.zero_grad(set_to_none=True)  # of learned ranges, too
                    backward(x, y)
                    with torch.no_grad():
                        for name, value in before.items():
                            model.get_parameter(name).copy_(value)
                if clips is not None and method.learned_clip:
                    clips.take_gradients()
                optimizer.step()
                clip_weights_(model, bounds)
                if clips is not None:
                    clips.apply_()
                if recipe.learn_ranges:
                    learned.apply_()
            curriculum.step()
    return model.eval()


def _judged(make: Callable[[], nn.Module]) -> dict[str, Any]:
    started = time.process_time()
    model = make()
    seconds = time.process_time() - started
    data = cifar_held_out()[1]
    parts = folds(data, CHIPS)
    found = {f"{rate:g}": under(model, parts, rate) for rate in RATES}
    return {"clean": clean_accuracy(model, data), "rates": found, "seconds": seconds}


def _row(name: str, judged: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    cells = [name, f"{judged['clean']:.1%}"]
    for rate, values in judged["rates"].items():
        cell = f"{100 * statistics.fmean(values):.1f}"
        if judged is not base:
            cell += f" ({mean([a - b for a, b in zip(values, base['rates'][rate], strict=True)])})"
        cells.append(cell)
    return f"| {' | '.join(cells)} | {judged['seconds']:.0f} |"


def table() -> None:
    """Print the table; a difference is paired by chips, in points, with its standard error."""
    print("| one change | clean |", " | ".join(f"{rate:g}" for rate in RATES), "| processor seconds |")
    print("|---|---|" + "---|" * (len(RATES) + 1))
    base: dict[str, Any] | None = None
    for name, method in METHODS.items():
        slug = "".join(c if c.isalnum() or c == "." else "-" for c in name)
        path = folder() / "methods" / f"{slug}.json"
        judged = kept(path, lambda method=method: _judged(lambda: trained(method)))  # type: ignore[misc]
        base = base or judged
        print(_row(name, judged, base), flush=True)
