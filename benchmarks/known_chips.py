"""What a chip's known weak cells are worth: ResNet-20 for CIFAR-10 in 8 bits on one chip, at all rates up to its own.

The chip is drawn (``--seed``): a bank of 1 MiB whose cells are weak with the highest of the rates, each for itself, and
of milder rates have a part of these (``CellMap.scaled``). The pretrained network lies in the bank as ``eden.place``
puts it, without and with ``Constraints(remap=True)``, by the cells of the highest rate. Nothing is moved for a milder
one.

A table has the accuracy on the 1,000 test images at every rate, and the highest rate up to which no rate loses more
than a point of the clean accuracy. ``--epochs`` trains for this chip, in both placements, with a curriculum that finds
its rate (``chips="one"``), on the first ``--images`` training images; ``--validation`` others make its choices, which
the pretrained network has seen as it has all training images. ``--fixed`` trains towards the chip's own rate instead.
``--unknown`` is a share of the weak cells that the map does not have, as where a chip has aged or is warmer: others
take their place.

Needs the folder named by EDEN_DATA. The exit status is 0 however the figures turn out.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from torch.utils.data import Subset, TensorDataset

import eden
from eden.app.datasets import cifar10, pretrained_resnet
from eden.boosting.recipe import Recipe
from eden.devices.device import Device
from eden.memory.cell_map import CellMap
from eden.placement.constraints import Constraints
from eden.placement.placement import Placement
from eden.tolerance.evaluation import accuracy

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from chain import tolerance

RATES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 1e-2, 1.5e-2, 2e-2, 3e-2)
BANK_BITS = 2**23
MAX_DROP = 0.01


def drawn(seed: int, ber: float) -> CellMap:
    """The weak cells of a bank."""
    cells = np.flatnonzero(np.random.default_rng(seed).random(BANK_BITS) < ber)
    return CellMap(cells, np.True_, np.True_, BANK_BITS)


def other(known: CellMap, unknown: float, seed: int) -> CellMap:
    """A chip of which a share of the weak cells is not among the known ones."""
    random = np.random.default_rng([seed, 1])
    stay = random.random(known.cells.size) >= unknown
    fresh = np.setdiff1d(random.integers(0, known.bits, int((~stay).sum())), known.cells)
    cells = np.concatenate([known.cells[stay], fresh])
    flips = [np.concatenate([of[stay], np.ones(fresh.size, np.bool_)]) for of in (known.flips_zero, known.flips_one)]
    return CellMap(cells, *flips, known.bits)


def bank_of(cells: CellMap) -> Device:
    """A device with one bank of these cells beside one within specification."""
    whole = Device.builtin("ddr3-b33")
    harsh = next(point for point in whole.partitions[1].points if point.errors.ber > 0.0)
    nominal = whole.partitions[0].points[0]
    none = CellMap(np.empty(0, np.int64), np.True_, np.True_, cells.bits, cells.failure)
    interval = {"zero": (cells.ber_zero,) * 2, "one": (cells.ber_one,) * 2}
    points = (nominal.model_copy(update={"errors": none}), harsh.model_copy(update={"errors": cells, **interval}))
    sizes = {"capacity_bytes": cells.bits // 8, "curves": ()}
    first, second, *_ = whole.partitions
    parts = (
        first.model_copy(update={**sizes, "points": points[:1]}),
        second.model_copy(update={**sizes, "address": cells.bits, "points": points}),
    )
    return whole.model_copy(update={"partitions": parts, "voltage": None, "model": "cell_map"})


def placed(network: nn.Module, home: Device, remap: bool) -> Placement:
    """Where the network lies: as if it tolerated the bank's rate in every operand."""
    infos = eden.operands(network)
    told = {key: {name: getattr(info, key) for name, info in infos.items()} for key in ("bytes", "kind", "storage")}
    limits = dict.fromkeys(infos, 0.1)
    made = tolerance(limits, bytes=told["bytes"], kinds=told["kind"], storage=told["storage"])
    return eden.place(made, home, solver="greedy", constraints=Constraints(remap=remap), rates="mean")


def on(placement: Placement, cells: CellMap) -> Placement:
    """The same places in a bank with other weak cells."""
    partitions = {
        name: one.model_copy(update={"errors": cells}) if one.used_bytes else one
        for name, one in placement.partitions.items()
    }
    return placement.model_copy(update={"partitions": partitions})


def row(
    name: str, network: nn.Module, placement: Placement, cells: CellMap, images: TensorDataset, clean: float
) -> None:
    """Print the accuracy at every rate, and the highest rate without more than a point lost at it or a milder one."""
    with eden.clean(network):
        own = accuracy(network, images)
    found, highest = [], 0.0
    for rate in (rate for rate in RATES if rate < 1.01 * cells.ber):
        eden.set_errors_(network, on(placement, cells.scaled(min(rate, cells.ber))))
        found.append(accuracy(network, images))
        if min(own, *found) >= clean - MAX_DROP - 1e-9:
            highest = rate
    text = "".join(f"{value:8.1%}" for value in found)
    print(f"{name:34s}{own:8.1%}{text}{highest:10.2g}", flush=True)


def trained(network: nn.Module, placement: Placement, training: TensorDataset, asked: argparse.Namespace) -> None:
    """Train the network for the chip that it lies in."""
    eden.set_errors_(network, placement)
    mixed: dict[str, Any] = {"chips": "one", "seed": asked.seed, "floor_ber": 1e-4, "clean_share": 0.2}
    recipe = Recipe.boosting(asked.epochs)
    if asked.fixed:
        steps = math.ceil(asked.images / recipe.batch_size)
        rate = placement.partitions["bank1"].errors.ber
        curriculum = eden.Curriculum(network, rate, epochs=asked.epochs, steps_per_epoch=steps, **mixed)
    else:
        held = Subset(training, range(len(training) - asked.validation, len(training)))
        curriculum = eden.Curriculum(network, max_drop=MAX_DROP, validation=held, epochs=asked.epochs, **mixed)
    eden.train(network, Subset(training, range(asked.images)), recipe, curriculum)
    print(curriculum.table() or f"trained towards {curriculum.highest_ber:.2g}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=22, help="of the chip and of the training")
    parser.add_argument("--ber", type=float, default=5e-3, help="of the chip that is drawn")
    parser.add_argument("--unknown", type=float, default=0.0, help="share of the weak cells that the map does not have")
    parser.add_argument("--images", type=int, default=4000, help="of each epoch of training")
    parser.add_argument("--validation", type=int, default=2000, help="training images that make its choices")
    parser.add_argument("--fixed", action="store_true", help="train towards the chip's own rate, whatever comes of it")
    parser.add_argument("--only", choices=("placed", "remapped"), help="one of the placements")
    parser.add_argument("--epochs", type=int, default=0, help="of training for the chip")
    parser.add_argument("--test", type=int, default=1000, help="test images")
    arguments = parser.parse_args()
    training, test = cifar10()
    images = TensorDataset(*(tensor[: arguments.test] for tensor in test.tensors))
    cells = drawn(arguments.seed, arguments.ber)
    real = other(cells, arguments.unknown, arguments.seed) if arguments.unknown else cells
    home = bank_of(cells)
    print(f"{cells.cells.size:,} weak cells of {cells.bits:,}, a rate of {cells.ber:.2g}")
    rates = [rate for rate in RATES if rate < 1.01 * cells.ber]
    print(f"{'':34s}{'clean':>8s}" + "".join(f"{rate:8.2g}" for rate in rates) + f"{'highest':>10s}")
    for remap in (False, True):
        if arguments.only == ("placed" if remap else "remapped"):
            continue
        network = pretrained_resnet(20)
        eden.inject_(network, eden.Faults.int8(eden.Uniform(1e-3)))
        eden.calibrate_(network, [training.tensors[0][:500]])  # type: ignore[index]
        network.eval()
        with eden.clean(network):
            clean = accuracy(network, images)
        started = time.perf_counter()
        placement = placed(network, home, remap)
        took = time.perf_counter() - started
        name = "remapped" if remap else "as it is placed"
        row(name, network, placement, real, images, clean)
        if remap:
            print(f"(placed in {took:.1f} s; {placement.notes[-1]})")
        if arguments.epochs:
            trained(network, placement, training, arguments)
            row(f"{name}, trained for the chip", network, placement, real, images, clean)


if __name__ == "__main__":
    main()
