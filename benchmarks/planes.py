"""What rate a network's low bits stand while its high ones are reliable: of the pretrained ResNet-20, or another.

For each number of reliable planes, from none (whole words) on:
- highest: the highest rate of all other bits of weights and inputs, of 1, 1.5, 2, 3, 4, 5, 6, 8 of each decade, at
  which the mean accuracy is within a point of that without errors, over 20 fresh chips that read a fifth of the images
  each; the mean drop there, and its standard error over chips;
- certified: the rate that `eden.profile` certifies for a mean drop of a point, on chips of its own.

With ``--boost RATE`` each network is first boosted for an epoch with those bits at that rate; drops are from the
accuracy of the network before, without errors, or with ``--own`` from that of the boosted one.

``--task`` takes another network and its images (the first ``--images`` of those that judge), as ``eden profile`` does,
and ``--storage`` another form of weights and inputs: the planes of float32 are its sign, its exponent, and the
significand's 7 highest and 16 lowest bits. A storage whose code joins words has whole words alone (``--reliable 0``).

Needs the folder named by EDEN_DATA. The exit status is 0 however the figures turn out.
"""

import argparse
import itertools
import math
import statistics
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import eden
from eden.app.tasks import Task, load_task
from eden.boosting.recipe import Recipe
from eden.faults.chips import draw_chip
from eden.memory.errors import Uniform
from eden.memory.planes import plane_of
from eden.tolerance.evaluation import accuracy

PLANES = {"int8_sign_magnitude": ("7", "6", "5", "4:0"), "float32": ("31", "30:23", "22:16", "15:0")}
INPUTS = {"int8_sign_magnitude": "uint8", "int6_sign_magnitude_hamming": "uint6_hamming"}
CHIPS, PARTS = 20, 5
GRID = [step * 10.0**-power for power in range(5, 0, -1) for step in (1, 1.5, 2, 3, 4, 5, 6, 8)]
MAX_DROP = 0.01


def network_of(task: Task, storage: str, reliable: int, file: Path | None, calibration: torch.Tensor) -> nn.Module:
    """The network under faults in whole words, or with so many of its high planes on reliable memory."""
    network = task.model()
    if file is not None:
        eden.load_(network, file)
    planes = PLANES[storage] if reliable else None
    inputs = INPUTS.get(storage, storage)
    eden.inject_(network, eden.Faults.int8(Uniform(0.5), storage=storage, input_storage=inputs, planes=planes))
    if file is None:
        eden.calibrate_(network, [calibration])
    high = {plane_of(text) for text in PLANES[storage][:reliable]} if reliable else set()
    eden.set_errors_(
        network, dict.fromkeys(name for name, info in eden.operands(network).items() if info.plane in high)
    )
    return network.eval()


def boost_(network: nn.Module, task: Task, training: TensorDataset, rate: float) -> None:
    """Train for an epoch with the errors of the planes that are not reliable at a rate, on fresh chips."""
    recipe = Recipe.boosting(1, precision="bfloat16", channels_last=True, seed=1)
    curriculum = eden.Curriculum(network, rate, 1, schedule="constant")
    eden.train(network, training, recipe, curriculum, task.augment)


def highest(
    network: nn.Module, reference: nn.Module, images: TensorDataset, seed: int, start: float
) -> tuple[float, list[float]]:
    """The highest rate, looked for from one on, and the drops of the chips there from the reference without errors."""
    parts = [TensorDataset(*(tensor[i::PARTS] for tensor in images.tensors)) for i in range(PARTS)]
    with eden.clean(reference):
        clean = [accuracy(reference, part) for part in parts]
    models = {name: info.errors for name, info in eden.operands(network).items() if isinstance(info.errors, Uniform)}

    def drops(rate: float) -> list[float]:
        eden.set_errors_(network, {name: model.scaled(rate) for name, model in models.items()})
        found = []
        for chip in range(CHIPS):
            eden.set_chip_(network, draw_chip(seed, "evaluation", chip))
            found.append(clean[chip % PARTS] - accuracy(network, parts[chip % PARTS]))
        eden.set_errors_(network, models)
        return found

    at = min(range(len(GRID)), key=lambda i: abs(math.log(GRID[i] / start)))
    found = drops(GRID[at])
    upwards = statistics.fmean(found) <= MAX_DROP
    for following in itertools.count(at + 1) if upwards else itertools.count(at - 1, -1):
        if not 0 <= following < len(GRID):
            break
        then = drops(GRID[following])
        within = statistics.fmean(then) <= MAX_DROP
        if upwards and not within:
            break
        at, found = following, then
        if not upwards and within:
            break
    return GRID[at], found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--effort", type=float, default=1.5, help="of each profile; 0: certify nothing")
    parser.add_argument("--seed", type=int, default=22)
    parser.add_argument("--images", type=int, default=1000, help="of the test set")
    parser.add_argument("--reliable", type=int, nargs="+", default=[0, 1, 2, 3], help="numbers of reliable planes")
    parser.add_argument("--task", default="benchmarks/boost/tasks.py:pretrained_resnet20", help="as of eden profile")
    parser.add_argument("--storage", default="int8_sign_magnitude", help="of weights; inputs have what goes with it")
    parser.add_argument("--start", type=float, default=1e-3, help="rate from which the highest is looked for")
    parser.add_argument("--network", type=Path, help="file of eden.save, with ranges, in place of the pretrained one")
    parser.add_argument("--boost", type=float, help="rate at which each is boosted first, for an epoch")
    parser.add_argument("--own", action="store_true", help="drops from the boosted network's own accuracy")
    parser.add_argument("--boost-images", type=int, default=20_000, help="of the training set, to boost with")
    arguments = parser.parse_args()
    task = load_task(arguments.task)
    training, test = task.data()
    training = TensorDataset(*(tensor[: arguments.boost_images] for tensor in training.tensors))
    images = TensorDataset(*(tensor[: arguments.images] for tensor in test.tensors))
    how = (arguments.network, training.tensors[0][:500])
    with eden.clean(reference := network_of(task, arguments.storage, 0, *how)):
        print(f"without errors: {accuracy(reference, images):.2%}")
    print(f"{'reliable':12s}{'highest':>10s}{'drop':>8s}{'error':>8s}{'certified':>11s}{'drop':>8s}{'chips':>7s}")
    for reliable in arguments.reliable:
        network = network_of(task, arguments.storage, reliable, *how)
        if arguments.boost:
            boost_(network, task, training, arguments.boost)
            with eden.clean(network):
                print(f"boosted, without errors: {accuracy(network, images):.2%}")
        before = reference if arguments.boost and not arguments.own else network
        rate, drops = highest(network, before, images, arguments.seed, arguments.start)
        error = statistics.stdev(drops) / math.sqrt(len(drops))
        kept = ", ".join(PLANES[arguments.storage][:reliable]) if reliable else "none"
        row = f"{kept:12s}{rate:10.2g}{statistics.fmean(drops):8.2%}{error:8.2%}"
        if arguments.effort:
            search = eden.Search(coarse_only=True, effort=arguments.effort)
            loader = DataLoader(images, batch_size=64)
            of = {"search": search, "seed": arguments.seed, "progress": False}
            of["reference"] = None if before is network else before
            found = eden.profile(network, loader, max_drop=MAX_DROP, **of)
            shown = found.coarse_certificate
            row += f"{found.coarse:11.2g}{shown.mean_drop:8.2%}{shown.chips:7d}"
        print(row, flush=True)


if __name__ == "__main__":
    main()
