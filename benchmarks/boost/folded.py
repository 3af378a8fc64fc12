"""Batch norm folded into the weights, as deployed networks have it: what errors do, before and after boosting."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

from every_storage import NETWORKS, cells, judged
from runs import kept
from tasks import folder
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import eden


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


FORMS: Mapping[str, Callable[[nn.Module], nn.Module]] = {"apart": lambda model: model, "folded": folded}


def table() -> None:
    """Print the table."""
    network = NETWORKS["resnet20-short"]
    apart, joined = spread(network.model()), spread(folded(network.model()))
    print(f"the largest channel over the median one: {apart:.1f}; folded: {joined:.1f}")
    print("| batch norm | ranges | clean before | highest before | clean after | highest after | points gained |")
    print("|---" * 7 + "|")
    for (norms, change), channels in itertools.product(FORMS.items(), (False, True)):
        ranges = "one for each channel" if channels else "one"
        faults = eden.Faults.int8(eden.Uniform(1e-3), weight_channels=channels)
        path = folder() / "folded" / f"{norms}, {ranges}.json".replace(", ", "-").replace(" ", "-")
        found = kept(path, lambda faults=faults, change=change: judged(network, faults, change))  # type: ignore[misc]
        print(f"| {norms} | {ranges} | {cells(found)} |", flush=True)
