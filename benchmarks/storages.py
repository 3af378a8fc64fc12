"""What errors do to values in every storage: noise of Gaussian weights, and the rate that a network tolerates.

The first table is the mean squared error of Gaussian values as they are read, in units of their variance, at
bit error rates of 1e-3 and 1e-2, with each correction. Ranges end at three standard deviations: codes clip there, and
corrected floating-point storages, too. Errors are independent; an eighth more cells of SECDED fail as the others do.

With ``--scaled`` it is of values that are multiplied by a factor before they are stored and divided when they are read
(Fuengfusin and Tamukoh, arXiv 2411.18993), their ranges with them.

With ``--network`` the second table is the highest rate, in all weights and inputs of the pretrained ResNet-20, at which
the accuracy over unseen chips is within a point of that without errors or quantization, by bisection on the rates 1,
1.5, 2, 3, 5 and 7 of each decade. Nothing is retrained. ``--errors`` chooses the model of errors: a code suffers where
they meet, as they do on lines. It needs the folder named by EDEN_DATA.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import eden
from eden.faults.chips import draw_chip, set_chip_
from eden.memory import storage as quantization
from eden.memory.errors import ErrorModel

RATES = (1e-3, 1e-2)
WIDTH = 3.0
"""Where ranges end, in standard deviations."""

GRID = tuple(float(f"{step}e-{power}") for power in range(7, 1, -1) for step in (1, 1.5, 2, 3, 5, 7))
CHIPS_SEED = 1000
MAX_DROP = 0.01

STORAGES = tuple(name for name in quantization.STORAGES if name not in ("int32", "sign"))


def _codes(storage: str) -> dict[str, Any]:
    """Scale and zero point at which a storage's codes cover the range."""
    if storage not in quantization.CODE_BITS:
        return {}
    ends = torch.tensor(-WIDTH), torch.tensor(WIDTH)
    scale, zero_point = quantization.quantization(*ends, storage, storage in quantization.UNSIGNED)
    return {"scale": scale, **({} if zero_point is None else {"zero_point": zero_point})}


def noise(values: Tensor, storage: str, correction: str, ber: float, factor: float = 1.0) -> float:
    """Mean squared error of values of variance 1 as they are read; infinite where one is not finite.

    With a factor they are multiplied by it before they are stored, and divided when they are read.
    """
    width = WIDTH * factor
    bounds = {} if correction == "none" else {"bounds": (-width, width), "correction": correction}
    codes = {key: value * factor if key == "scale" else value for key, value in _codes(storage).items()}
    read = eden.corrupt(values * factor, eden.Uniform(ber=ber), storage=storage, **codes, **bounds) / factor
    return float((read.double() - values.double()).square().nan_to_num(torch.inf).mean())


def noise_table(count: int, only: str) -> None:
    values = torch.randn(count, generator=torch.Generator().manual_seed(0))
    print(f"mean squared error of {count:,} Gaussian values, in units of their variance; ranges of {WIDTH:g} sigma")
    print("| storage | bits | correction | without errors | " + " | ".join(f"at {rate:g}" for rate in RATES) + " |")
    print("|---|---|---|---|" + "---|" * len(RATES))
    for storage in (name for name in STORAGES if only in name):
        for correction in ("none", "zero", "clamp"):
            found = [noise(values, storage, correction, rate) for rate in (0.0, *RATES)]
            cells = [f"{value:.2g}" if value < 1e3 else "more than 1e3" for value in found]
            print(f"| `{storage}` | {quantization.STORAGE_BITS[storage]} | {correction} | " + " | ".join(cells) + " |")


FACTORS = (2.0**-8, 2.0**-4, 0.5, 1.0, 4 / 3, 2.0, 2.0**4)


def scaled_table(count: int, only: str) -> None:
    values = torch.randn(count, generator=torch.Generator().manual_seed(0))
    print(f"mean squared error at {RATES[0]:g} of {count:,} Gaussian values stored times a factor, read as 0 beyond")
    print("| storage | " + " | ".join(f"{factor:.3g}" for factor in FACTORS) + " |")
    print("|---" * (1 + len(FACTORS)) + "|")
    for storage in (name for name in STORAGES if only in name):
        found = [noise(values, storage, "zero", RATES[0], factor) for factor in FACTORS]
        print(f"| `{storage}` | " + " | ".join(f"{value:.3g}" for value in found) + " |")


DISPERSION = 0.1
"""Of lines' rates around their mean."""

ERRORS: Mapping[str, Callable[[float], ErrorModel]] = {
    "uniform": lambda ber: eden.Uniform(ber=ber),
    "bitline": lambda ber: eden.Bitline(ber=ber, dispersion=DISPERSION),
    "wordline": lambda ber: eden.Wordline(ber=ber, dispersion=DISPERSION),
    "by-value": lambda ber: eden.DataDependent(ber_zero=1.8 * ber, ber_one=0.2 * ber),
}
"""Models of errors by their mean rate."""

CASES: tuple[tuple[str, str, str, float], ...] = (
    ("float32", "float32", "zero", 99.9),
    ("float32_secded", "float32_secded", "zero", 99.9),
    ("int8_sign_magnitude", "uint8", "zero", 99.9),
    ("int8_sign_magnitude_secded", "uint8_secded", "clamp", 99.9),
    ("int8_sign_tripled", "uint8", "zero", 99.9),
    ("int6_sign_magnitude_hamming", "uint6_hamming", "zero", 99.9),
    ("float32_bch", "float32_bch", "zero", 99.9),
    ("float16_hamming", "float16_hamming", "zero", 99.9),
    ("bfloat16_hamming", "bfloat16_hamming", "zero", 99.9),
    ("float32", "float32", "zero", 100.0),
    ("float32_mset", "float32_mset", "none", 100.0),
    ("float32_mset", "float32_mset", "zero", 99.9),
    ("float32_cep", "float32_cep", "none", 100.0),
    ("float32_cep", "float32_cep", "zero", 99.9),
    ("float32", "float32", "none", 100.0),
    ("bfloat16", "bfloat16", "zero", 99.9),
    ("bfloat16_mset", "bfloat16_mset", "zero", 99.9),
    ("bfloat16_cep", "bfloat16_cep", "zero", 99.9),
    ("bfloat16_cep", "bfloat16_cep", "none", 100.0),
    ("bfloat16_mset", "bfloat16_mset", "none", 100.0),
    ("bfloat16", "bfloat16", "none", 100.0),
    ("float16", "float16", "zero", 99.9),
    ("float8_e4m3fn", "float8_e4m3fn", "zero", 99.9),
    ("float8_e5m2", "float8_e5m2", "zero", 99.9),
    ("bfloat16", "bfloat16", "zero", 100.0),
    ("bfloat16_secded", "bfloat16_secded", "zero", 99.9),
    ("int8", "int8", "zero", 99.9),
)
"""Storage of weights and of inputs, correction, percentile of ranges."""


class Tolerance:
    """The pretrained ResNet-20 and its test images."""

    def __init__(self, images: int, chips: int, errors: Callable[[float], ErrorModel]) -> None:
        from eden.app.datasets import cifar10, pretrained_resnet

        self._network = pretrained_resnet
        training, test = cifar10()
        self._calibration = DataLoader(TensorDataset(*(x[:512] for x in training.tensors)), batch_size=128)
        x, y = (tensor[:images] for tensor in test.tensors)
        self.parts = [(x[first::_PARTS], y[first::_PARTS]) for first in range(_PARTS)]
        self._chips = chips
        self._errors = errors
        network = pretrained_resnet().eval()
        self.own = [self._right(network, part) for part in self.parts]

    @staticmethod
    @torch.no_grad()
    def _right(network: Any, part: tuple[Tensor, Tensor]) -> float:
        return float((network(part[0]).argmax(1) == part[1]).float().mean())

    def drop(self, network: Any, ber: float) -> float:
        """Mean loss of accuracy over chips, each reading a part of the images in turn."""
        eden.set_errors_(network, {row.name: self._errors(ber) for row in eden.coverage(network).faulty})
        drops = []
        for index in range(self._chips):
            set_chip_(network, draw_chip(CHIPS_SEED, "evaluation", index))
            at = index % _PARTS
            drops.append(self.own[at] - self._right(network, self.parts[at]))
        return statistics.fmean(drops)

    def highest(self, weights: str, inputs: str, correction: str, percentile: float) -> tuple[float, float]:
        """The highest rate within MAX_DROP, 0 for none, and what the storage costs without errors."""
        network = self._network().eval()
        errors = self._errors(1e-9)
        faults = eden.Faults(
            weights=errors, inputs=errors, storage=weights, input_storage=inputs, correction=correction
        )
        eden.inject_(network, faults)
        eden.calibrate_(network, self._calibration, percentile)
        low, high = -1, len(GRID)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.drop(network, GRID[middle]) <= MAX_DROP else (low, middle)
        return GRID[low] if low >= 0 else 0.0, self.drop(network, 1e-12)


_PARTS = 2


def network_table(images: int, chips: int, only: str, errors: str) -> None:
    tolerance = Tolerance(images, chips, ERRORS[errors])
    own = statistics.fmean(tolerance.own)
    print(
        f"pretrained ResNet-20, {own:.1%} of {images} test images; {chips} unseen chips, half of the images each; "
        f"{errors} errors"
    )
    print("| weights | inputs | correction | percentile | drop without errors | highest rate |")
    print("|---|---|---|---|---|---|")
    for weights, inputs, correction, percentile in CASES:
        if only in weights:
            rate, without = tolerance.highest(weights, inputs, correction, percentile)
            print(
                f"| `{weights}` | `{inputs}` | {correction} | {percentile:g} | {without:.1%} | {rate:.2g} |", flush=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, default=2_000_000, help="Gaussian values of the first table")
    parser.add_argument("--network", action="store_true", help="print the second table, in place of the first")
    parser.add_argument("--scaled", action="store_true", help="print what factors change, in place of the first table")
    parser.add_argument("--images", type=int, default=500, help="test images of the second table")
    parser.add_argument("--chips", type=int, default=4, help="unseen chips of the second table")
    parser.add_argument("--only", default="", help="storages (of weights) whose names contain this")
    parser.add_argument("--errors", choices=list(ERRORS), default="uniform", help="model of errors of the second table")
    arguments = parser.parse_args()
    if arguments.network:
        network_table(arguments.images, arguments.chips, arguments.only, arguments.errors)
    elif arguments.scaled:
        scaled_table(arguments.values, arguments.only)
    else:
        noise_table(arguments.values, arguments.only)


if __name__ == "__main__":
    main()
