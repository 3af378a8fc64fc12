"""Batch norm folded into the weights, as deployed networks have it: what errors do, before and after boosting."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from judging import COARSE_GRID, MAX_DROP, folds, tolerated
from runs import kept
from tasks import few_images_resnet20, folder
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


def spread(model: nn.Module) -> float:
    """How many times the median channel's largest weight is that of the largest channel, in the most uneven weight."""
    largest = [weight.detach().abs().flatten(1).amax(1) for weight in model.parameters() if weight.dim() >= 2]
    return max(float(channels.max() / channels.median()) for channels in largest)


def _judged(fold: bool, channels: bool, boosted: bool) -> Mapping[str, float]:
    task = few_images_resnet20()
    training, test = task.data()
    model = folded(task.model()) if fold else task.model()
    floor = accuracy(model, test) - MAX_DROP
    eden.inject_(model, eden.Faults.int8(eden.Uniform(TARGET), weight_channels=channels))
    eden.calibrate_(model, training.tensors[0][:1000].split(250))  # type: ignore[no-untyped-call]
    if boosted:
        recipe = Recipe.boosting(1, precision="bfloat16", channels_last=True, seed=1)
        curriculum = eden.Curriculum(model, TARGET, 1, schedule="constant")
        eden.train(model, training, recipe, curriculum, flip_and_crop)
    highest = tolerated(model, folds(test, _PARTS), floor, COARSE_GRID)
    return {"clean": clean_accuracy(model, test), "highest": highest}


def table() -> None:
    """Print the table, what is not boosted first."""
    task = few_images_resnet20()
    apart, joined = spread(task.model()), spread(folded(task.model()))
    print(f"the largest channel over the median one: {apart:.1f}; folded: {joined:.1f}")
    print("| boosted | batch norm | ranges of weights | clean | highest |")
    print("|---" * 5 + "|")
    for boosted, fold, channels in itertools.product((False, True), repeat=3):
        names = ("boosted" if boosted else "before", "folded" if fold else "apart", "channels" if channels else "one")
        found = kept(folder() / "folded" / f"{'-'.join(names)}.json", lambda of=(fold, channels, boosted): _judged(*of))
        cells = f"{found['clean']:.1%} | {found['highest']:.2g}"
        print(f"| {names[0]} | {names[1]} | {'one for each channel' if channels else 'one'} | {cells} |", flush=True)
