"""The networks that the experiments of boosting start from: data, and training on reliable memory.

Recipes name them as ``benchmarks/boost/tasks.py:resnet20`` and so on. All need the folder named by EDEN_DATA; what is
trained here is kept in the folder named by EDEN_BOOST, out/boost unless set.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path

import torch
from mnist import mnist
from networks import lenet
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import TensorDataset

from eden.app.datasets import cifar10, pretrained_resnet
from eden.app.models import ResNet
from eden.app.tasks import Task, flip_and_crop
from eden.boosting.recipe import Recipe
from eden.boosting.training import Augment, Epoch, train
from eden.common.files import output_folder
from eden.tolerance.evaluation import accuracy

HELD_OUT = 5_000
"""The last of the training images, which no network that is trained here sees: claims are judged on them."""

Split = tuple[TensorDataset, TensorDataset]


def folder() -> Path:
    """Where networks and runs are kept."""
    return output_folder(os.environ.get("EDEN_BOOST", "out/boost"))


def _held_out(dataset: TensorDataset) -> Split:
    x, y = dataset.tensors
    return TensorDataset(x[:-HELD_OUT], y[:-HELD_OUT]), TensorDataset(x[-HELD_OUT:], y[-HELD_OUT:])


@functools.cache
def cifar_held_out() -> Split:
    """45,000 images of CIFAR-10 to train with and 5,000 held out."""
    return _held_out(cifar10()[0])


def mnist_held_out() -> Split:
    """55,000 images of MNIST to train with and 5,000 held out."""
    return _held_out(mnist()[0])


@dataclasses.dataclass(frozen=True)
class Base:
    """A network that is trained here on reliable memory."""

    name: str
    network: Callable[[], nn.Module]
    data: Callable[[], Split]
    recipe: Recipe
    augment: Augment | None = None

    def __call__(self) -> nn.Module:
        """The trained network: from its file, or trained and written first."""
        path = folder() / f"{self.name}.safetensors"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed)
            network = self.network()
        if not path.exists():
            training, held_out = self.data()

            def told(epoch: Epoch) -> None:
                print(f"{self.name}: epoch {epoch.number + 1}/{self.recipe.epochs}, loss {epoch.loss:.4f}", flush=True)

            checkpoint = path.with_suffix(".checkpoint")
            train(network, training, self.recipe, None, self.augment, checkpoint, resume=True, on_epoch=told)
            save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
            checkpoint.unlink()
            print(f"{self.name}: {accuracy(network, held_out):.2%} of the images held out", flush=True)
        network.load_state_dict(load_file(path))
        return network.eval()


_FAST = {"precision": "bfloat16", "channels_last": True}
RESNET20 = Base(
    "resnet20",
    ResNet,
    cifar_held_out,
    Recipe(epochs=20, learning_rate=0.2, batch_size=128, weight_decay=5e-4, warmup=0.15, **_FAST),
    flip_and_crop,
)
# For comparisons on many images held out where the hours for RESNET20 are not there.
RESNET20_SHORT = Base(
    "resnet20-short", ResNet, cifar_held_out, dataclasses.replace(RESNET20.recipe, epochs=10), flip_and_crop
)
LENET5 = Base("lenet5", lenet, mnist_held_out, Recipe(epochs=10, learning_rate=0.05, batch_size=128))


def _task(name: str, model: Callable[[], nn.Module], data: Callable[[], Split], augment: Augment | None) -> Task:
    # What is boosted towards, and how, is the recipe's to say.
    boost = Recipe(epochs=1)
    return Task(name, model, data, boost=boost, target_ber=1e-3, augment=augment, storage="int8")


def resnet20() -> Task:
    """ResNet-20 that never saw 5,000 of the training images, judged on those."""
    return _task("ResNet-20", RESNET20, cifar_held_out, flip_and_crop)


def resnet20_short() -> Task:
    """Likewise, trained for ten epochs."""
    return _task("ResNet-20 of ten epochs", RESNET20_SHORT, cifar_held_out, flip_and_crop)


def pretrained_resnet20() -> Task:
    """The pretrained ResNet-20, which saw all 50,000 training images, judged on the 1,000 test images."""
    return _task("pretrained ResNet-20", pretrained_resnet, cifar10, flip_and_crop)


def pretrained_resnet32() -> Task:
    """The pretrained ResNet-32, likewise."""
    return _task("pretrained ResNet-32", lambda: pretrained_resnet(32), cifar10, flip_and_crop)


def pretrained_resnet56() -> Task:
    """The pretrained ResNet-56, likewise."""
    return _task("pretrained ResNet-56", lambda: pretrained_resnet(56), cifar10, flip_and_crop)


def lenet5() -> Task:
    """LeNet-5 that never saw 5,000 of MNIST's training images, judged on those."""
    return _task("LeNet-5", LENET5, mnist_held_out, None)


def ablation_resnet20() -> Task:
    """The pretrained ResNet-20 with the first 20,000 training images, for the many short runs that only rank."""
    return _task("pretrained ResNet-20", pretrained_resnet, lambda: cifar10(20_000), flip_and_crop)
