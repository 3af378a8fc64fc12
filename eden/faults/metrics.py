"""Metrics by name: classes, pixels, tokens and boxes. Each gives one score in [0, 1] for each sample of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Metric = Callable[[Any, Any], Tensor]
"""Output and target of a batch to a score in [0, 1] per sample, shape (batch,), of any real dtype."""

IGNORED = -100
"""A target that does not count, as in torch's losses; of pixels, 255 neither."""


def _form(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {value.dtype}"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} of {', '.join(map(repr, value)) or 'nothing'}"
    return f"a {type(value).__name__}"


def _logits(name: str, output: Any, allowed: str, dims: range) -> Tensor:
    """A tensor of so many dimensions: the output, or what it holds as "logits" (Hugging Face) or "out" (torchvision).

    Raises:
        ValueError: naming the metric, for what is none.
    """
    found = output
    if isinstance(output, Mapping):
        found = output.get("logits", output.get("out", output))
    elif not isinstance(output, Tensor):
        found = getattr(output, "logits", output)
    if not isinstance(found, Tensor) or found.dim() not in dims or not found.is_floating_point():
        raise ValueError(f"metric {name!r}: the network's output is {_form(found)}; allowed is a tensor {allowed}")
    return found


def _checked(name: str, target: Any, shape: torch.Size, classes: int, ignored: tuple[int, ...] = ()) -> Tensor:
    """Which of the targets count, of the given shape and from 0 to ``classes``, where they are not ignored.

    Raises:
        ValueError: naming the metric, for other targets, and for a sample of which none counts.
    """
    if not isinstance(target, Tensor) or target.shape != shape or target.is_floating_point() or target.is_complex():
        raise ValueError(
            f"metric {name!r}: the target is {_form(target)}; allowed is an integer tensor of shape {tuple(shape)}"
        )
    counts = torch.ones_like(target, dtype=torch.bool)
    for one in ignored:
        counts &= target != one
    bad = counts & ((target < 0) | (target >= classes))
    if bool(bad.any()):
        besides = f", and {' and '.join(map(str, ignored))}, which do not count" if ignored else ""
        raise ValueError(
            f"metric {name!r}: a target is {int(target[bad][0])}; allowed for {classes} classes is 0 to {classes - 1}"
            f"{besides}"
        )
    empty = ~counts.reshape(len(counts), -1).any(1)
    if bool(empty.any()):
        raise ValueError(
            f"metric {name!r}: sample {int(empty.nonzero()[0])} of a batch has no target that counts; leave it out"
        )
    return counts


def top(k: int, output: Any, target: Any) -> Tensor:
    """Whether the target is among the k highest outputs: shapes (batch, classes), (batch,) to (batch,) bool."""
    name, least = f"top{k}", max(k, 2)
    output = _logits(name, output, f"(batch, classes >= {least})", range(2, 3))
    if output.shape[1] < least:
        raise ValueError(
            f"metric {name!r}: the network's output is {_form(output)}; allowed is a tensor (batch, classes >= {least})"
        )
    _checked(name, target, output.shape[:1], output.shape[1])
    best = output.topk(k, dim=1).indices
    # A sample whose output holds a NaN has no prediction, whatever place the NaN takes in an order.
    right: Tensor = (best == target.unsqueeze(1)).any(1) & ~output.isnan().any(1)
    return right


def _pixels(name: str, output: Any, target: Any) -> tuple[Tensor, Tensor, Tensor, int]:
    """Predicted class (-1 where the output is NaN), target and whether it counts, each (batch, pixels); the classes."""
    output = _logits(name, output, "(batch, classes, ...), such as (batch, classes, height, width)", range(3, 6))
    classes = output.shape[1]
    if isinstance(target, Tensor):
        if target.dim() == output.dim() and target.shape[1] == 1:
            target = target[:, 0]
        if classes == 1 and target.is_floating_point() and bool(((target == 0) | (target == 1)).all()):
            target = target.long()
        sizes = output.dim() == 4 and target.dim() == 3 and len(target) == len(output)
        if sizes and target.shape[1:] != output.shape[2:]:  # networks that answer at a quarter of the size
            output = nn.functional.interpolate(output, target.shape[1:], mode="bilinear", align_corners=False)
    best = (output[:, 0] > 0).long() if classes == 1 else output.argmax(1)
    classes = max(classes, 2)
    ignored = (IGNORED, 255) if classes <= 255 else (IGNORED,)
    counts = _checked(name, target, best.shape, classes, ignored)
    best = best.masked_fill(output.isnan().any(1), -1)
    return best.flatten(1), target.flatten(1), counts.flatten(1), classes


def pixel_accuracy(output: Any, target: Any) -> Tensor:
    """Share of a sample's pixels whose class is right: (batch, classes, height, width), (batch, height, width).

    An output of another height and width is brought to the target's, bilinear. One of one class is a mask, of what is
    above 0. Targets of -100 and 255 do not count.
    """
    best, target, counts, _ = _pixels("pixel_accuracy", output, target)
    right: Tensor = (best == target) & counts
    return right.sum(1) / counts.sum(1)


def mean_iou(output: Any, target: Any) -> Tensor:
    """Intersection over union of a sample's pixels, a mean over the classes that target or output have in it.

    Shapes and what counts are those of ``pixel_accuracy``.
    """
    best, target, counts, classes = _pixels("mean_iou", output, target)
    first = torch.arange(len(best), device=best.device).unsqueeze(1) * classes

    def pixels(of: Tensor, where: Tensor) -> Tensor:
        return torch.bincount((first + of)[where], minlength=len(best) * classes).reshape(len(best), classes)

    both = pixels(target, counts & (best == target))
    union = pixels(target, counts) + pixels(best, counts & (best >= 0)) - both
    present = union > 0
    return (both / union.clamp(min=1) * present).sum(1) / present.sum(1)


def _tokens(name: str, output: Any, target: Any, ahead: int) -> tuple[Tensor, Tensor, Tensor]:
    output = _logits(name, output, "(batch, tokens, vocabulary)", range(3, 4))
    if ahead and isinstance(target, Tensor) and target.dim() == 2 and target.shape == output.shape[:2]:
        output, target = output[:, :-ahead], target[:, ahead:]
    return output, target, _checked(name, target, output.shape[:2], output.shape[2], (IGNORED,))


def token_accuracy(output: Any, target: Any, ahead: int = 0) -> Tensor:
    """Share of a sample's tokens that are right: shapes (batch, tokens, vocabulary), (batch, tokens).

    Args:
        output: a score for each word at each token.
        target: the tokens; those of -100 do not count.
        ahead: how many tokens further the target of a token is: 1 where a causal language model is given its own input
            as labels, as by Hugging Face ("next_token_accuracy").
    """
    output, target, counts = _tokens("next_token_accuracy" if ahead else "token_accuracy", output, target, ahead)
    right: Tensor = (output.argmax(2) == target) & counts & ~output.isnan().any(2)
    return right.sum(1) / counts.sum(1)


def inverse_perplexity(output: Any, target: Any, ahead: int = 0) -> Tensor:
    """exp(-loss) of a sample, its loss the mean cross-entropy of its tokens; arguments as of ``token_accuracy``.

    So it is the geometric mean of the probabilities that the network gives the right tokens. A NaN counts as 0.
    """
    name = "next_token_inverse_perplexity" if ahead else "inverse_perplexity"
    output, target, counts = _tokens(name, output, target, ahead)
    losses = nn.functional.cross_entropy(
        output.transpose(1, 2).float(), target.long(), reduction="none", ignore_index=IGNORED
    )
    return torch.exp(-losses.sum(1) / counts.sum(1)).nan_to_num(0.0)


def box_f1(output: Any, target: Any, iou: float = 0.5, confidence: float = 0.5) -> Tensor:
    """F1 of a sample's boxes, as torchvision's detectors give them: 2 hits / (boxes found + boxes there).

    A box that was found hits the one of its class that it overlaps most and that none of a higher score has hit. An
    image without boxes, of which none is found, scores 1.

    Args:
        output: a mapping for each sample with "boxes", shape (n, 4), x1, y1, x2, y2, "labels" (n,) and "scores" (n,).
        target: likewise, without scores.
        iou: intersection over union from which a box hits another.
        confidence: boxes of lower scores are not found.
    """
    found, there = (_boxes(each, what) for each, what in ((output, "network's output"), (target, "target")))
    if len(found) != len(there):
        raise ValueError(
            f"metric 'box_f1': the network's output has {len(found)} samples, the target {len(there)}; allowed is one "
            "number of both"
        )
    return torch.tensor([_f1(*pair, iou, confidence) for pair in zip(found, there, strict=True)])


def _boxes(samples: Any, what: str) -> list[dict[str, Tensor]]:
    keys = ("boxes", "labels") if what == "target" else ("boxes", "labels", "scores")
    allowed = f"allowed is a list with a mapping of {', '.join(map(repr, keys))} for each sample"
    if not isinstance(samples, (list, tuple)):
        raise ValueError(f"metric 'box_f1': the {what} is {_form(samples)}; {allowed}")
    found = []
    for number, sample in enumerate(samples):
        if not isinstance(sample, Mapping) or not all(isinstance(sample.get(key), Tensor) for key in keys):
            raise ValueError(f"metric 'box_f1': sample {number} of the {what} is {_form(sample)}; {allowed}")
        held = {key: sample[key].detach().cpu() for key in keys}
        shapes = {key: tuple(value.shape) for key, value in held.items()}
        count = len(held["labels"]) if held["labels"].dim() else -1
        if shapes != {key: (count, 4) if key == "boxes" else (count,) for key in keys}:
            raise ValueError(
                f"metric 'box_f1': sample {number} of the {what} has the shapes "
                f"{', '.join(f'{shape} of {key!r}' for key, shape in shapes.items())}; allowed are (n, 4) and (n,)"
            )
        found.append(held)
    return found


def _f1(found: dict[str, Tensor], there: dict[str, Tensor], iou: float, confidence: float) -> float:
    sure = found["scores"] >= confidence
    order = found["scores"][sure].argsort(descending=True, stable=True)
    boxes, labels = (found[key][sure][order] for key in ("boxes", "labels"))
    total = len(boxes) + len(there["boxes"])
    if total == 0:
        return 1.0
    low = torch.maximum(boxes[:, None, :2], there["boxes"][None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], there["boxes"][None, :, 2:])
    shared = (high - low).clamp(min=0).prod(2)
    areas = [(each[:, 2:] - each[:, :2]).clamp(min=0).prod(1) for each in (boxes, there["boxes"])]
    overlaps = shared / (areas[0][:, None] + areas[1][None] - shared)
    overlaps[(labels[:, None] != there["labels"][None]) | overlaps.isnan()] = -1.0
    hits = 0
    for row in range(len(boxes) if len(there["boxes"]) else 0):
        best = int(overlaps[row].argmax())
        if overlaps[row, best] >= iou:
            hits += 1
            overlaps[:, best] = -1.0
    return 2.0 * hits / total


def within(absolute: float = 0.0, relative: float = 0.0) -> Metric:
    """A metric for regression: the share of a sample's values that are close to the target's.

    Args:
        absolute: a value is close if it differs by no more than this ...
        relative: ... and this times the target's magnitude.
    """
    if not (absolute >= 0.0 and relative >= 0.0 and absolute + relative > 0.0):
        raise ValueError(f"absolute is {absolute}, relative {relative}; allowed is 0 or more, one of them above 0")
    name = f"within({absolute:g}, {relative:g})"

    def metric(output: Any, target: Any) -> Tensor:
        output = _logits(name, output, "of the target's shape", range(1, 9))
        if isinstance(target, Tensor) and target.dim() == 1 and output.shape == (len(target), 1):
            output = output[:, 0]  # which would be broadcast to (batch, batch)
        if not isinstance(target, Tensor) or target.shape != output.shape:
            raise ValueError(
                f"metric {name!r}: the target is {_form(target)}; allowed is a tensor of shape {tuple(output.shape)}"
            )
        close: Tensor = (output - target).abs() <= absolute + relative * target.abs()
        return close.reshape(len(close), -1).double().mean(1)

    metric.__qualname__ = name
    return metric


METRICS: dict[str, Metric] = {
    "top1": functools.partial(top, 1),
    "top5": functools.partial(top, 5),
    "pixel_accuracy": pixel_accuracy,
    "mean_iou": mean_iou,
    "token_accuracy": token_accuracy,
    "next_token_accuracy": functools.partial(token_accuracy, ahead=1),
    "inverse_perplexity": inverse_perplexity,
    "next_token_inverse_perplexity": functools.partial(inverse_perplexity, ahead=1),
    "box_f1": box_f1,
}
"""Metrics by name."""
