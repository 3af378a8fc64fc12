"""What integer inference from a memory image gives: ResNet-20 for CIFAR-10, weights in a faulty memory.

For each storage of the weights, with feature maps as uint8 codes on reliable memory:
- words: how many codes that the deployed network computes with are not those that the simulation reads;
- outputs: how far they are from the simulation's, on one chip, as a share of the largest;
- accuracy: mean over chips of the simulated network and of the deployed one, on the same chips and images, with the
  standard error over chips.

Of the first storage alone:
- images per second of a batch, measured in turns on as many threads as are asked for: float32 without faults in either
  memory format, the simulated network, the deployed one. Each is the median over rounds; ratios are medians of the
  rounds' own.

Needs the folder named by EDEN_DATA. The exit status is 0 however the figures turn out.
"""

import argparse
import copy
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import eden
from eden.app.datasets import cifar10, pretrained_resnet
from eden.deployment.image import MemoryImage
from eden.faults.chips import draw_chip
from eden.memory.storage import measure_range

STORAGES = ("int8_sign_magnitude", "int8")


def network_of(storage: str, ber: float, file: Path | None, calibration: Tensor) -> nn.Module:
    """The network under faults, with its weights at a rate."""
    network = pretrained_resnet(20).eval()
    if file is not None:
        eden.load_(network, file)
    eden.inject_(network, eden.Faults.int8(eden.Uniform(ber), inputs=eden.Uniform(0.0), storage=storage))
    if file is None:
        eden.calibrate_(network, calibration.split(250))
    return network


def different_codes(network: nn.Module, deployed: nn.Module) -> int:
    """Codes of the deployed network that are not those that the simulated one reads."""
    found = 0
    for name in deployed.integer:
        layer = network.get_submodule(name)
        scale, _, _ = measure_range(layer.weight, "int8", False, False)
        codes = torch.round(layer.eden_read("weight", layer.weight) / scale)
        found += int((deployed.network.get_submodule(name).product.codes != codes).sum())
    return found


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images that are classified as labelled."""
    return statistics.mean(
        float(right)
        for x, y in zip(images.split(250), labels.split(250), strict=True)
        for right in (network(x).argmax(1) == y)
    )


def seconds(networks: dict[str, nn.Module], batch: Tensor, rounds: int) -> dict[str, list[float]]:
    """By network the seconds of a batch in each round, in turns."""
    found: dict[str, list[float]] = {name: [] for name in networks}
    for number in range(rounds + 1):  # the first is not counted
        for name, network in networks.items():
            x = batch.contiguous(memory_format=torch.channels_last) if "channels last" in name else batch
            begin = time.perf_counter()
            network(x)
            if number:
                found[name].append(time.perf_counter() - begin)
    return found


def compare(network: nn.Module, written: MemoryImage, count: int, images: Tensor, labels: Tensor) -> None:
    """Print the accuracy of the simulated network and of the deployed one, over the same chips."""
    placed = eden.evaluate(network, TensorDataset(images, labels), chips=count)
    chips = [draw_chip(0, "evaluation", k) for k in range(count)]
    found = [accuracy(eden.deploy(network, written.corrupted(chip)), images, labels) for chip in chips]
    error = placed.standard_error
    print(f"  accuracy: {placed.clean:.1%} without errors; simulated {placed.mean:.2%} +- {error:.2%}, ", end="")
    print(f"in integers {statistics.mean(found):.2%}")


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", type=Path, help="file of a boosted network; the pretrained one if not given")
    parser.add_argument("--ber", type=float, default=1e-3)
    parser.add_argument("--chips", type=int, default=20, help="0 for speeds alone, of random images")
    parser.add_argument("--images", type=int, default=100, help="of the test images, for accuracies")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    training = images = torch.randn(max(250, asked.batch), 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(len(images), dtype=torch.int64)
    if asked.chips:
        (training, _), (images, labels) = (part.tensors for part in cifar10())
    batch = images[: asked.batch]
    images, labels = images[: asked.images], labels[: asked.images]
    capability = torch.backends.cpu.get_cpu_capability()
    print(f"torch {torch.__version__}, {capability}, threads: {asked.threads}; BER {asked.ber:g} of the weights")
    for storage in STORAGES:
        network = network_of(storage, asked.ber, asked.network, training[:250])
        written = eden.memory_image(network)
        first = draw_chip(0, "evaluation", 0)
        eden.set_chip_(network, first)
        deployed = eden.deploy(network, written.corrupted(first))
        wanted = network(images)
        apart = float((deployed(images) - wanted).abs().max() / wanted.abs().max())
        other = different_codes(network, deployed)
        words = sum(map(len, written.words.values()))
        print(f"{storage}: engine {deployed.engine}; of {words} codes {other} differ, outputs by {apart:.1%} at most")
        if asked.chips:
            compare(network, written, asked.chips, images, labels)
        if storage == STORAGES[0]:
            timed = network, deployed
    simulated, integers = timed
    plain = eden.remove_(copy.deepcopy(simulated))
    networks = {
        "float32": plain,
        "float32, channels last": copy.deepcopy(plain).to(memory_format=torch.channels_last),
        "simulated": simulated,
        "in integers": integers,
    }
    taken = seconds(networks, batch, asked.rounds)
    for name, times in taken.items():
        ratio = statistics.median(a / b for a, b in zip(taken["float32"], times, strict=True))
        print(f"{name}: {len(batch) / statistics.median(times):.0f} images/s, {ratio:.2f} x float32", flush=True)


if __name__ == "__main__":
    main()
