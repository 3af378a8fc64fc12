"""Networks that skip blocks by their input, beside those that do not: DRAM energy at equal accuracy.

Trains, on scikit-learn's digits, a ResNet with two blocks a stage, one with one block a stage, and the former with
gates (`examples/12_gates.py`) for several budgets, the share of gated blocks that samples open on average; with a hard
limit where "at most" says so. Each is profiled for the same accuracy, 4 points below the first without errors, and
placed on a device by its traffic over data. Prints means over trainings: accuracy without errors, the rate of all
operands, bytes that cross and energy of an inference as placed, each with its standard deviation between samples, and
what that is of the first network's energy, with the standard deviation between trainings.
"""

import argparse
import runpy
import statistics
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import eden
from eden.app.datasets import digits
from eden.app.models import ResNet
from eden.tolerance.evaluation import accuracy

EXAMPLE = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "12_gates.py"))
GATES = 4
CASES: tuple[tuple[str, int, float | None, int], ...] = (
    ("two blocks a stage", 2, None, 0),
    ("one block a stage", 1, None, 0),
    *((f"gates, budget {budget:g}", 2, budget, GATES) for budget in (0.75, 0.5, 0.25)),
    ("gates, budget 0.5, at most 2", 2, 0.5, 2),
)


def trained(blocks: int, budget: float | None, most: int, data: TensorDataset, seed: int) -> nn.Module:
    """A network after its training, without faults."""
    torch.manual_seed(seed)
    if budget is None:
        model = ResNet(blocks, channels=8, image_channels=1)
        eden.train(model, data, eden.Recipe(epochs=12, seed=seed))
    else:
        model = EXAMPLE["GatedResNet"](most)
        EXAMPLE["train"](model, data, 12, budget)
    return model.eval()


def of_case(model: nn.Module, reference: nn.Module, device: eden.Device, platform: str) -> list[float]:
    """Accuracy, rate, bytes and energy with their deviations."""
    train_set, validation = digits()
    eden.inject_(model, eden.Faults.int8(eden.Uniform(1e-3)))
    eden.calibrate_(model, train_set.tensors[0][:500].split(100), samples={"*.input": (0, 1)})
    with eden.clean(model):
        clean = accuracy(model, validation)
    tolerance = eden.profile(
        model,
        DataLoader(validation, batch_size=100),
        max_drop=0.04,
        search=eden.Search(coarse_only=True, effort=3),
        reference=reference,
        population="samples",
        progress=False,
    )
    moved = eden.traffic(model, platform, data=TensorDataset(*(tensor[:200] for tensor in validation.tensors)))
    of = eden.account([moved], eden.place(tolerance, device, traffic=moved)).platforms[platform]
    assert of.spread is not None
    return [clean, tolerance.coarse, moved.crossing_bytes, moved.spread_bytes, of.placed_nj, of.spread.placed_nj]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=int, default=3, help="of each network, each with a seed of its own")
    parser.add_argument("--platform", default="eyeriss")
    parser.add_argument("--device", default="ddr3-p9")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device, data = eden.Device.builtin(arguments.device), digits()[0]
    references: list[nn.Module] = []
    energies: list[float] = []
    print("| network | clean | BER | bytes | energy, nJ | of the first |\n|---|---|---|---|---|---|")
    for name, blocks, budget, most in CASES:
        rows = []
        for seed in range(arguments.trainings):
            model = trained(blocks, budget, most, data, seed)
            references += [model] if len(references) < arguments.trainings else []
            rows.append(of_case(model, references[seed], device, arguments.platform))
        energies = energies or [row[4] for row in rows]
        clean, rate, moved, apart, energy, off = (statistics.fmean(column) for column in zip(*rows, strict=True))
        shares = [row[4] / first for row, first in zip(rows, energies, strict=True)]
        spread = f" ± {statistics.stdev(shares):.0%}" if len(shares) > 1 else ""
        cells = [f"{clean:.1%}", f"{rate:.1e}", f"{moved:.0f} ± {apart:.0f}", f"{energy:.0f} ± {off:.0f}"]
        print(f"| {name} | {' | '.join(cells)} | {statistics.fmean(shares):.0%}{spread} |", flush=True)


if __name__ == "__main__":
    main()
