"""The highest rate of every storage before and after boosting by default, each with the same short budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from judging import COARSE_GRID, MAX_DROP, folds, mean, tolerated, under
from runs import kept
from tasks import HELD_OUT, LENET5, RESNET20_SHORT, cifar_held_out, folder, mnist_held_out
from torch import nn
from torch.utils.data import TensorDataset

import eden
from eden.app.datasets import cifar10, pretrained_resnet
from eden.app.tasks import flip_and_crop
from eden.boosting.recipe import Recipe
from eden.boosting.training import Augment
from eden.tolerance.evaluation import accuracy, clean_accuracy

EPOCHS, IMAGES = 2, 5_000
_CHOOSING = 1_500
"""Of the images held out, the first: the curriculum chooses by them. The others judge."""
_PARTS = 20

PAIRS: Mapping[str, str] = {
    "int8_sign_magnitude": "uint8",
    "int6_sign_magnitude_hamming": "uint6_hamming",
    "float32": "float32",
    "float32_bch": "float32_bch",
    "float16_hamming": "float16_hamming",
    "float32_secded": "float32_secded",
    "int4": "int4",
    "int8_sign_magnitude_secded": "uint8_secded",
    "bfloat16": "bfloat16",
    "float8_e4m3fn": "float8_e4m3fn",
    "int16": "int16",
    "float16": "float16",
    "float8_e5m2": "float8_e5m2",
}
"""Storage of weights, and of inputs."""


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that is trained already, and images: to boost with, and others, to choose and to judge by."""

    model: Callable[[], nn.Module]
    training: Callable[[], TensorDataset]
    unseen: Callable[[], TensorDataset]
    augment: Augment | None
    storages: tuple[str, ...]
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)


_FAST = {"precision": "bfloat16", "channels_last": True}
_FEW = ("int8_sign_magnitude", "int6_sign_magnitude_hamming", "float32")
NETWORKS: Mapping[str, Network] = {
    "resnet20-short": Network(
        RESNET20_SHORT,
        lambda: cifar_held_out()[0],
        lambda: cifar_held_out()[1],
        flip_and_crop,
        tuple(PAIRS),
        _FAST,
    ),
    "lenet5": Network(LENET5, lambda: mnist_held_out()[0], lambda: mnist_held_out()[1], None, _FEW),
    "pretrained-resnet32": Network(
        lambda: pretrained_resnet(32), lambda: cifar10(IMAGES)[0], lambda: cifar10()[1], flip_and_crop, _FEW, _FAST
    ),
}
"""The pretrained one has seen all images but those of the test set: its choices are made by a third of those."""


class _Images(NamedTuple):
    training: TensorDataset
    choosing: TensorDataset
    judging: TensorDataset


def _images(network: Network) -> _Images:
    unseen = network.unseen()
    chosen = _CHOOSING if len(unseen) >= HELD_OUT else len(unseen) // 3
    return _Images(
        TensorDataset(*(tensor[:IMAGES] for tensor in network.training().tensors)),
        TensorDataset(*(tensor[:chosen] for tensor in unseen.tensors)),
        TensorDataset(*(tensor[chosen:] for tensor in unseen.tensors)),
    )


def faults_of(weights: str) -> eden.Faults:
    """All weights and inputs in a storage, the rest as ``Faults.int8`` has it."""
    # No code is lost to values that are never negative.
    how = {"quantization": "affine"} if weights in ("int16", "int4") else {}
    return eden.Faults.int8(eden.Uniform(1e-3), storage=weights, input_storage=PAIRS[weights], **how)


def judged(
    network: Network, faults: eden.Faults, change: Callable[[nn.Module], nn.Module] = lambda model: model
) -> dict[str, Any]:
    """A network before and after boosting by default, within a point of its accuracy on reliable memory.

    Args:
        network: which, and its images.
        faults: the memory that it is kept in.
        change: what is done to the trained network before.
    """
    images = _images(network)
    model = change(network.model())
    floor = accuracy(model, images.judging) - MAX_DROP
    parts = folds(images.judging, _PARTS)
    eden.inject_(model, faults)
    eden.calibrate_(model, images.training.tensors[0][:2000].split(500))  # type: ignore[no-untyped-call]
    found = {}

    def judge(which: str) -> None:
        found[which] = {"clean": clean_accuracy(model, images.judging)}
        found[which]["highest"] = tolerated(model, parts, floor, COARSE_GRID)

    judge("before")
    harsh = 2.0 * max(found["before"]["highest"], COARSE_GRID[0])
    before = under(model, parts, harsh)
    recipe = Recipe.boosting(EPOCHS, **network.recipe)
    curriculum = eden.Curriculum(model, max_drop=MAX_DROP, validation=images.choosing, epochs=EPOCHS)
    eden.train(model, images.training, recipe, curriculum, network.augment)
    print(f"\n{faults.storage}\n{curriculum.table()}\n", flush=True)
    judge("after")
    gained = [after - first for first, after in zip(before, under(model, parts, harsh), strict=True)]
    return {**found, "reference": floor + MAX_DROP, "harsh": harsh, "gained": gained}


def cells(found: Mapping[str, Any]) -> str:
    """Of a row of a table: accuracy without errors and the highest rate, before and after, and points gained."""
    before, after = (f"{found[which]['clean']:.1%} | {found[which]['highest']:.2g}" for which in ("before", "after"))
    return f"{before} | {after} | {mean(found['gained'])} at {found['harsh']:.2g}"


def table() -> None:
    """Print the table."""
    print(
        "| network | weights | inputs | clean before | highest before | clean after | highest after | points gained |"
    )
    print("|---" * 8 + "|")
    for name, network in NETWORKS.items():
        for weights in network.storages:
            path = folder() / "storages" / name / f"{weights}.json"
            found = kept(path, lambda network=network, weights=weights: judged(network, faults_of(weights)))  # type: ignore[misc]
            print(f"| {name} | `{weights}` | `{PAIRS[weights]}` | {cells(found)} |", flush=True)
