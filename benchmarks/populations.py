"""Do limits hold for data that no search has seen? Repeated random splits of images that a network was not trained on.

For each split a part of the images is profiled for one rate common to all operands, once with ``population="samples"``
and once with ``population="data"``, and the network is scored at the rate that was found on the images held out, on
chips that no search uses. A split violates where the mean drop there is above ``max_drop``, be it by less than its
standard error. The share that violates should be at most 1 - confidence for data; nothing is claimed of it for samples.

Profiles of samples have ``--few`` of them and the usual effort, those of data as many as ``Search.samples_needed`` says
for an effort of 3, the least. Needs EDEN_DATA.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch
from boost import tasks
from mnist import mnist
from scipy import stats
from torch.utils.data import DataLoader, TensorDataset

import eden
from eden.app.datasets import cifar10
from eden.app.steps import put_under_faults
from eden.app.tasks import Task


def lenet5() -> tuple[Task, TensorDataset]:
    """LeNet-5 and the 15,000 images of MNIST that it was not trained on."""
    task = tasks.lenet5()
    held_out, test = task.data()[1], mnist()[1]
    x, y = (torch.cat(pair) for pair in zip(held_out.tensors, test.tensors, strict=True))
    return task, TensorDataset(x, y)


def resnet20() -> tuple[Task, TensorDataset]:
    """The pretrained ResNet-20 and the 1,000 test images of CIFAR-10."""
    return tasks.pretrained_resnet20(), cifar10()[1]


NETWORKS: dict[str, Callable[[], tuple[Task, TensorDataset]]] = {"lenet5": lenet5, "resnet20": resnet20}


def drop_on(model: torch.nn.Module, images: TensorDataset, rate: float, chips: int) -> float:
    """Mean drop in top-1 accuracy with all operands at a rate."""
    found = eden.evaluate(model, DataLoader(images, batch_size=500), ber=rate, chips=chips)
    assert found.clean is not None
    return found.clean - found.mean


def main() -> int:
    """Print a row for each split and the shares; 1 where data violate more often than chance allows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="lenet5")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--max-drop", type=float, default=0.02)
    parser.add_argument("--confidence", type=float, default=0.9)
    parser.add_argument("--few", type=int, default=300, help="samples of the profiles of samples")
    parser.add_argument("--held-out", type=int, default=2000, help="images that a rate is judged on")
    parser.add_argument("--chips", type=int, default=50, help="that it is judged on")
    arguments = parser.parse_args()
    asked: dict[str, Any] = {"max_drop": arguments.max_drop, "confidence": arguments.confidence}
    needed = eden.Search(effort=3.0, coarse_only=True).samples_needed(**asked)
    task, images = NETWORKS[arguments.network]()
    model = task.model().eval()
    put_under_faults(model, task, eden.Uniform(1e-3), task.data()[0])
    print(f"{arguments.network}: {len(images):,} images, max_drop {arguments.max_drop:g}, {needed:,} samples for data")
    drops: dict[str, list[float]] = {"samples": [], "data": []}
    for split in range(arguments.splits):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(split))
        x, y = images.tensors
        held = order[-arguments.held_out :]
        others = TensorDataset(x[held], y[held])
        line = f"split {split}:"
        for population, count, effort in (("samples", arguments.few, 6.0), ("data", needed, 3.0)):
            taken = order[:count]
            loader = DataLoader(TensorDataset(x[taken], y[taken]), batch_size=64)
            search = eden.Search(effort=effort, coarse_only=True)
            how: Any = {"population": population, "search": search, "progress": False, "seed": split, **asked}
            try:
                found = eden.profile(model, loader, **how)
            except eden.SearchError as error:
                line += f" {population} {error};"
                continue
            drops[population].append(drop_on(model, others, found.coarse, arguments.chips))
            line += f" {population} {found.coarse:.2e}, drop {drops[population][-1]:.4f};"
        print(line, flush=True)
    held_up = True
    for population, seen in drops.items():
        bad = sum(drop > arguments.max_drop for drop in seen)
        tail = float(stats.binom.sf(bad - 1, len(seen), 1.0 - arguments.confidence))
        print(
            f"{population}: {bad} of {len(seen)} splits violate (as many or more by chance: {tail:.2g}), median drop "
            f"{statistics.median(seen) / arguments.max_drop:.2f} max_drop"
        )
        held_up = held_up and (population == "samples" or tail >= 1e-3)
    return 0 if held_up else 1


if __name__ == "__main__":
    sys.exit(main())
