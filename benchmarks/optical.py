"""Networks of optical threshold nodes beside one of ReLUs: what their noise and the memory's errors cost together.

Perceptrons of two hidden layers of 128 on scikit-learn's digits, 600 images to judge by; means over three trainings.
All are trained for 12 epochs, with the nodes' noise where they have some, and for 12 more with errors of 1e-2 in all
weights, too. Weights are 8 bits; what layers read is light or on reliable memory. Printed are the accuracy without
noise and errors, with noise, and with both at 1e-2 (20 chips); the rate that is certified for 3 points less than with
noise alone; DRAM energy of an inference as placed on a device for it; and the energy of a node's decision from which
on nodes take more than the DRAM.
"""

import argparse
import runpy
import statistics
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

import eden
from eden.app.datasets import digits
from eden.tolerance.evaluation import accuracy

EXAMPLE = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "14_optical.py"))
BER, WIDTH = 1e-2, 128
CASES: tuple[tuple[str, tuple[str, str] | None, float], ...] = (
    ("ReLU", None, 0.0),
    ("by amplitude", ("amplitude", "amplitude"), 0.0),
    ("by amplitude", ("amplitude", "amplitude"), 0.3),
    ("by interference", ("interference", "interference"), 0.3),
    ("first by amplitude, then by interference", ("amplitude", "interference"), 0.0),
    ("first by amplitude, then by interference", ("amplitude", "interference"), 0.1),
    ("first by amplitude, then by interference", ("amplitude", "interference"), 0.3),
    ("first by amplitude, then by interference", ("amplitude", "interference"), 0.5),
)


def network(kinds: tuple[str, str] | None, noise: float, seed: int) -> nn.Module:
    """An untrained network."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Flatten()]
    for number, size in enumerate((64, WIDTH)):
        activation = nn.ReLU() if kinds is None else eden.ThresholdNode(kinds[number], noise=noise)
        norm = nn.BatchNorm1d(WIDTH)
        if kinds is not None:
            EXAMPLE["near_a_step_"](norm)
        layers += [nn.Linear(size, WIDTH), norm, activation]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def of_case(kinds: tuple[str, str] | None, noise: float, seed: int, device: eden.Device, platform: str) -> list[float]:
    """What a training gives: accuracies, rate, energies; the last is 0 for a network without nodes."""
    train_set, validation = digits()
    recipe = eden.Recipe(epochs=12, learning_rate=0.05, clip_percentile=99.0, seed=seed)
    model = network(kinds, noise, seed)
    eden.train(model, train_set, recipe)
    eden.inject_(model, eden.Faults(weights=eden.Uniform(BER), storage="int8_sign_magnitude", correction="zero"))
    eden.train(model, train_set, recipe, eden.Curriculum(model, BER, recipe.epochs, schedule="constant"))
    both = eden.evaluate(model.eval(), validation, chips=20)
    with eden.clean(model):
        noisy = accuracy(model, validation)
    nodes = [module for module in model.modules() if isinstance(module, eden.ThresholdNode)]
    tolerance = eden.profile(
        model,
        DataLoader(validation, batch_size=200),
        max_drop=0.03,
        search=eden.Search(coarse_only=True),
        seed=seed,
        progress=False,
    )
    moved = eden.traffic(model, platform)
    dram = eden.account([moved], eden.place(tolerance, device, traffic=moved)).platforms[platform]
    for node in nodes:
        node.noise = 0.0
    with eden.clean(model):
        alone = accuracy(model, validation)
    each = sum(node.nodes for node in nodes)
    return [alone, noisy, both.mean, tolerance.coarse, dram.placed_nj, dram.placed_nj / each if each else 0.0]


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="ddr3-p9")
    parser.add_argument("--platform", default="eyeriss")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = eden.Device.builtin(arguments.device)
    print("| nodes | noise | neither | noise | noise and errors | certified | DRAM | a node as much as DRAM |")
    print("|---" * 8 + "|")
    for name, kinds, noise in CASES:
        rows = [of_case(kinds, noise, seed, device, arguments.platform) for seed in range(arguments.seeds)]
        alone, clean, faulty, rate, energy, node = (statistics.fmean(column) for column in zip(*rows, strict=True))
        cells = (f"{noise:g}", f"{alone:.1%}", f"{clean:.1%}", f"{faulty:.1%}", f"{rate:.1e}", f"{energy:.0f} nJ")
        print(f"| {name} | {' | '.join(cells)} | {f'{node:.1f} nJ' if node else ''} |", flush=True)


if __name__ == "__main__":
    main()
