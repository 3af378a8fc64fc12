"""Batch norm folded into the weights, as deployed networks have it: what errors do, before and after boosting."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from judging import COARSE_GRID, MAX_DROP, folds, tolerated
from runs import kept
from tasks import folder, short_resnet20
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import eden
from eden.app.tasks import flip_and_crop
from eden.boosting.recipe import Recipe
from eden.tolerance.evaluation import accuracy, clean_accuracy

TARGET = 1e-3
_PARTS = 10


def folded(model: nn.Module) -> nn.Module:
    """A network of which each batch norm ``bn1`` is in the convolution ``conv1`` beside it, and so on; in place."""
    for module in model.eval().modules():
        for name, norm in list(module.named_children()):
            if isinstance(norm, nn.BatchNorm2d):
                convolution = name.replace("bn", "conv")
                setattr(module, convolution, fuse_conv_bn_eval(module.get_submodule(convolution), norm))  # type: ignore[type-var]
                setattr(module, name, nn.Identity())
    return model


def _judged(fold: bool, channels: bool) -> Mapping[str, Any]:
    task = short_resnet20()
    training, held_out = task.data()
    model = folded(task.model()) if fold else task.model()
    parts = folds(held_out, _PARTS)
    floor = accuracy(model, held_out) - MAX_DROP
    eden.inject_(model, eden.Faults.int8(eden.Uniform(TARGET), weight_channels=channels))
    eden.calibrate_(model, training.tensors[0][:2000].split(500))  # type: ignore[no-untyped-call]
    found = {}
    for which in ("before", "after"):
        if which == "after":
            recipe = Recipe.boosting(1, precision="bfloat16", channels_last=True, seed=1)
            curriculum = eden.Curriculum(model, TARGET, 1, schedule="constant")
            eden.train(model, training, recipe, curriculum, flip_and_crop)
        found[which] = {
            "clean": clean_accuracy(model, held_out),
            "highest": tolerated(model, parts, floor, COARSE_GRID),
        }
    return found


def table() -> None:
    """Print the table."""
    print("| batch norm | ranges of weights | clean before | highest before | clean after | highest after |")
    print("|---" * 6 + "|")
    for fold, channels in itertools.product((False, True), repeat=2):
        path = folder() / "folded" / f"{'folded' if fold else 'apart'}-{'channels' if channels else 'one'}.json"
        judged = kept(path, lambda fold=fold, channels=channels: _judged(fold, channels))  # type: ignore[misc]
        cells = [f"{judged[w]['clean']:.1%} | {judged[w]['highest']:.2g}" for w in ("before", "after")]
        ranges = "one for each channel" if channels else "one"
        print(f"| {'folded' if fold else 'apart'} | {ranges} | {' | '.join(cells)} |", flush=True)
