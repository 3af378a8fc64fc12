"""Ensembles of networks of few bits: accuracy against members, with and without errors, and what they cost in DRAM.

Weights are kept in 8, 4 or 1 bits, with a scale for each channel, inputs in 8. ResNet-20 for CIFAR-10 is the pretrained
network, LeNet-5 for MNIST is trained here (two epochs over 30,000 images). Nothing is retrained for 8 and 4 bits; for 1
bit both are, without errors (two epochs over 6,000 images, three over 30,000), which is kept in the folder named by
EDEN_BOOST (out/boost). Accuracy is over fresh chips, which read all of --images test images each, all operands at one
rate; a weak cell's read fails half of the time. Energy is of an inference on a platform, on a device whose points are
chosen for operands that stand that rate, on average (`benchmarks/worth.py`).

The last lines are the answer: of all rows and rates, and of those of several members, that come within --points points
of one network of 8 bits without errors, which takes the least energy. Needs the folder named by EDEN_DATA.
"""

import argparse
import os
from collections.abc import Sequence
from typing import Any

import torch
from mnist import mnist
from networks import lenet
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import TensorDataset
from worth import at_rate

import eden
from eden.app.datasets import cifar10, pretrained_resnet
from eden.app.tasks import flip_and_crop
from eden.boosting.recipe import Recipe
from eden.common.files import output_folder
from eden.tolerance.evaluation import accuracy

RATES = (3e-4, 1e-3, 3e-3, 1e-2)
STORAGES = {8: "int8_sign_magnitude", 4: "int4_sign_magnitude", 1: "sign"}
CASES = (
    (8, "chips", 1),
    *((4, over, members) for over, members in (("chips", 1), ("chips", 2), ("chips", 4))),
    *((4, over, 4) for over in ("reads", "roundings")),
    *((1, over, members) for over, members in (("chips", 1), ("chips", 4))),
    *((1, over, 4) for over in ("reads", "roundings")),
)


def faults_of(bits: int, errors: eden.Uniform) -> eden.Faults:
    """Weights of so many bits and inputs of 8 in one memory."""
    return eden.Faults.int8(errors, storage=STORAGES[bits], weight_channels=True)


def trained(name: str, bits: int, training: TensorDataset) -> nn.Module:
    """A network for weights of so many bits: from its file, or trained and written first."""
    one_bit = bits == 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = pretrained_resnet(20) if name == "resnet20" else lenet()
    if name == "resnet20" and not one_bit:
        return network.eval()
    path = (
        output_folder(os.environ.get("EDEN_BOOST", "out/boost"))
        / f"{name}-{'1-bit' if one_bit else 'float32'}.safetensors"
    )
    if not path.exists():
        if not one_bit:
            eden.train(network, training, Recipe(epochs=2, seed=1))
        else:
            network = trained(name, 32, training)
            eden.inject_(network, faults_of(1, eden.Uniform(0.0)))
            eden.calibrate_(network, [training.tensors[0][:500]])
            recipe: dict[str, Any] = {"learning_rate": 0.02, "weight_decay": 0.0, "distillation": 0.5, "seed": 1}
            if name == "resnet20":
                recipe |= {"precision": "bfloat16", "channels_last": True}
            augment = flip_and_crop if name == "resnet20" else None
            eden.train(network, training, Recipe(2 if name == "resnet20" else 3, **recipe), None, augment)
            eden.remove_(network)
        save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    network.load_state_dict(load_file(path))
    return network.eval()


def table(
    name: str,
    rates: Sequence[float],
    points: float,
    images: int,
    chips: int,
    platform: str,
    device: eden.Device,
) -> None:
    """Print the rows of a network, and the one that takes the least energy within so many points of 8 bits."""
    training, test = cifar10(6_000) if name == "resnet20" else mnist()
    if name != "resnet20":
        training = TensorDataset(*(tensor[:30_000] for tensor in training.tensors))
    test = TensorDataset(*(tensor[:images] for tensor in test.tensors))
    calibration, sample = training.tensors[0][:100], test.tensors[0][:1]
    print(f"| {name}: bits, members | clean |" + "".join(f" {rate:g} | nJ |" for rate in rates))
    print("|---" * (2 + 2 * len(rates)) + "|")
    asked, found = 0.0, []
    for bits, over, members in CASES:
        errors = eden.Uniform(rates[0], failure=0.5)
        faults = faults_of(bits, errors)
        rounding = {"faults": faults} if over == "roundings" else {}
        network = eden.Ensemble(trained(name, bits, training), members, over, **rounding)
        eden.calibrate_(eden.inject_(network, faults), [calibration])
        moved = eden.traffic(network, platform, inputs=sample, repeated=False)
        with eden.clean(network):
            clean = accuracy(network, test)
        asked = asked or clean - points / 100
        cells = [f"{clean:.1%}"]
        for rate in rates:
            mean = eden.evaluate(network, test, ber=rate, chips=chips).mean
            energy = at_rate(moved, rate, device, "mean").placed_nj
            found.append((energy, mean, f"{members} of {bits} bits over {over} at {rate:g}"))
            cells += [f"{mean:.1%}", f"{energy:.0f}"]
        print(f"| {bits}, {members} over {over} | {' | '.join(cells)} |", flush=True)
    enough = sorted(row for row in found if row[1] >= asked)
    for which, rows in (
        ("of all", enough),
        ("of two members or more", [r for r in enough if not r[2].startswith("1 ")]),
    ):
        best = f"{rows[0][2]}: {rows[0][0]:.0f} nJ, {rows[0][1]:.1%}" if rows else "none"
        print(f"least energy {which} with at least {asked:.1%}: {best}", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500, help="of the test set")
    parser.add_argument("--chips", type=int, default=5)
    parser.add_argument("--networks", nargs="+", choices=["lenet5", "resnet20"], default=["lenet5", "resnet20"])
    parser.add_argument("--rates", nargs="+", type=float, default=RATES)
    parser.add_argument("--points", type=float, default=1.0, help="of accuracy that may be lost")
    parser.add_argument("--platform", default="eyeriss")
    parser.add_argument("--device", default="ddr3-p9")
    arguments = parser.parse_args()
    for name in arguments.networks:
        device = eden.Device.builtin(arguments.device)
        table(name, arguments.rates, arguments.points, arguments.images, arguments.chips, arguments.platform, device)


if __name__ == "__main__":
    main()
