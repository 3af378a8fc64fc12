"""How to train."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Self

import torch
import torch.distributed
import torch.utils.data
from torch import nn

from eden.common.arguments import check_fields, number, whole

OPTIMIZERS = ("sgd", "adam", "adamw")
DECAYS = ("cosine", "linear", "constant")
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train.

    Dropout and whatever else draws from the global generators of torch, NumPy and Python draws the numbers of the seed
    and the epoch.

    Args:
        epochs: passes over the training set.
        learning_rate: highest learning rate.
        batch_size: samples of an optimizer step, on all ranks together.
        momentum: of the gradient (Nesterov's); of "adam" and "adamw", the decay of its first moment.
        weight_decay: L2 penalty; of "adamw" decoupled from the gradient.
        warmup: share of the steps in which the learning rate rises.
        label_smoothing: of the cross-entropy loss.
        seed: of the order of the samples and of their augmentation, from 0.
        optimizer: "sgd", "adam" or "adamw".
        decay: how the learning rate falls after the warmup: "cosine", "linear", or "constant", not at all.
        distillation: share w, from 0 to 1, of the loss that is the distance to a teacher:
            (1 - w) CE + w T^2 KL(teacher || network), both at the temperature T (Hinton, Vinyals and Dean, arXiv
            1503.02531). The teacher is the network as it is before the training, on reliable memory, in its own
            floating-point numbers and in evaluation mode, unless ``train`` is given another one.
        temperature: T, above 0.
        clip_weights: largest magnitude of the values of each Parameter of two or more dimensions, or of those named;
            values beyond are brought back to it after each step (Stutz et al., MLSys 2021: RandBET's clipping). An
            error in a weight's top bit is then at most as large as that.
        clip_percentile: likewise, given as the percentile of the Parameter's magnitudes as they are before the
            training, above 50 to 100 (a share such as 0.999 is refused). Taken once: of values clipped already it could
            only fall. Of a network that is not trained yet it is that of its initial numbers.
        clean_loss: share, from 0 to below 1, of the loss that comes of a second pass over the same samples on reliable
            memory; RandBET's training takes half.
        learn_ranges: whether the ranges of inputs that are clipped to them are trained too (`LearnedRanges`).
        range_decay: L2 penalty on the factors of learned ranges, which makes them smaller.
        recalibrate: training samples, the first ones, from which the ranges of inputs that are kept as floating-point
            numbers with a correction are taken anew after each epoch (`eden.calibrate_`), unless they are learned; 0 is
            never.
        clip_gradients: largest 2-norm of the gradient of all Parameters together.
        accumulate: in how many parts a batch goes through the network, one after another, before each step.
        precision: "float32", or "bfloat16" or "float16": layers compute in it where torch's autocast takes it for safe.
            What the memory keeps stays in its storage. With "float16" the loss is scaled so that small gradients do not
            vanish (`torch.amp.GradScaler`): a step whose gradient overflows at its scale changes no Parameter, and the
            next one has half the scale.
        channels_last: whether images and convolutions are laid out channels last.
        compile: whether the network is compiled by torch.compile.

    Raises:
        ValueError: naming the argument that is out of range and what is allowed.
    """

    epochs: int
    learning_rate: float = 0.1
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.1
    label_smoothing: float = 0.0
    seed: int = 0
    optimizer: str = "sgd"
    decay: str = "cosine"
    distillation: float = 0.0
    temperature: float = 2.0
    clip_weights: float | Mapping[str, float] | None = None
    clip_percentile: float | Mapping[str, float] | None = None
    clean_loss: float = 0.0
    learn_ranges: bool = False
    range_decay: float = 0.0
    recalibrate: int = 1000
    clip_gradients: float | None = None
    accumulate: int = 1
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False

    @classmethod
    def boosting(cls, epochs: int = 10, **other: Any) -> Self:
        """What did best for networks that are trained already (docs/results.md).

        A small learning rate, the network's own outputs as a guide, and clipped weights.

        Args:
            epochs: passes over the training set.
            other: other fields, in place of what is said here.
        """
        chosen: dict[str, Any] = {"learning_rate": 0.01, "weight_decay": 1e-4, "distillation": 0.5}
        if other.get("clip_weights") is None:
            chosen["clip_percentile"] = 99.0
        return cls(epochs, **{**chosen, **other})

    def __post_init__(self) -> None:
        check_fields(
            self,
            ("epochs", whole(self.epochs, 1), "a whole number from 1"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "above 0 and finite"),
            ("batch_size", whole(self.batch_size, 1), "a whole number from 1"),
            ("momentum", 0 <= self.momentum < 1, "from 0 to below 1"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "from 0 and finite"),
            ("warmup", 0 <= self.warmup < 1, "from 0 to below 1"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "from 0 to below 1"),
            ("seed", whole(self.seed, 0), "a whole number from 0"),
            ("optimizer", self.optimizer in OPTIMIZERS, ", ".join(OPTIMIZERS)),
            ("decay", self.decay in DECAYS, ", ".join(DECAYS)),
            ("distillation", 0 <= self.distillation <= 1, "from 0 to 1"),
            ("temperature", 0 < self.temperature < math.inf, "above 0 and finite"),
            ("clip_weights", _bound(self.clip_weights, math.inf), "above 0 and finite, one for all or by Parameter"),
            ("clip_percentile", _bound(self.clip_percentile, 100, 50), "above 50 to 100, one for all or by Parameter"),
            (
                "clip_percentile",
                not self._clipped_twice,
                "None for what clip_weights clips too",
            ),
            ("clean_loss", 0 <= self.clean_loss < 1, "from 0 to below 1"),
            ("learn_ranges", isinstance(self.learn_ranges, bool), "True or False"),
            ("range_decay", 0 <= self.range_decay < math.inf, "from 0 and finite"),
            ("recalibrate", whole(self.recalibrate, 0), "a whole number from 0"),
            ("clip_gradients", _bound(self.clip_gradients, math.inf), "above 0 and finite, or None"),
            ("accumulate", whole(self.accumulate, 1), "a whole number from 1"),
            ("precision", self.precision in PRECISIONS, ", ".join(PRECISIONS)),
            ("channels_last", isinstance(self.channels_last, bool), "True or False"),
            ("compile", isinstance(self.compile, bool), "True or False"),
        )

    @property
    def _clipped_twice(self) -> bool:
        absolute, percentile = self.clip_weights, self.clip_percentile
        if isinstance(absolute, Mapping) and isinstance(percentile, Mapping):
            return bool(set(absolute) & set(percentile))
        return absolute is not None and percentile is not None

    def learning_rate_at(self, share: float) -> float:
        """The learning rate after a share of all steps."""
        if share < self.warmup:
            return self.learning_rate * share / self.warmup
        if self.decay == "constant":
            return self.learning_rate
        done = (share - self.warmup) / (1 - self.warmup)
        if self.decay == "linear":
            return self.learning_rate * (1 - done)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def optimizer_of(self, model: nn.Module) -> torch.optim.Optimizer:
        """A new optimizer of all Parameters."""
        parameters, rate, decay = model.parameters(), self.learning_rate, self.weight_decay
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, rate, self.momentum, weight_decay=decay, nesterov=self.momentum > 0)
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return kind(parameters, rate, betas=(self.momentum, 0.999), weight_decay=decay)


def _bound(value: Any, highest: float, lowest: float = 0) -> bool:
    if value is None:
        return True
    if isinstance(value, Mapping):
        return len(value) > 0 and all(one is not None and _bound(one, highest, lowest) for one in value.values())
    return number(value) and lowest < value <= highest
