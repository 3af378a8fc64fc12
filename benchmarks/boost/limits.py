"""The highest bit error rate within a point of the clean network's accuracy, before and after boosting."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from judging import certified, judged, mean
from runs import Run

RATES = (1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 5e-3)
HIGH_RATES = (1e-3, 2e-3, 5e-3, 1e-2)


@dataclasses.dataclass(frozen=True)
class Claim:
    """A run and the rate that is asked of it, None where none is."""

    title: str
    run: Run
    asked: float | None = None
    certified: bool = False  # whether eden.profile is to say, too, what the network stands
    reliable: Run | None = None  # trained with the same storage without errors, where nothing else can be compared with


def _one(rate: float, epochs: int) -> dict[str, Any]:
    return {"curriculum.chips": "one", "curriculum.target_ber": rate, "boost.epochs": epochs}


# A network trained for one pattern of errors alone need not keep what it does without them, or with fewer.
_MIXTURE = {"curriculum.floor_ber": 1e-4, "curriculum.clean_share": 0.2}
RESNET20: Sequence[Claim] = (
    Claim("int8, unseen chips", Run("resnet20/int8", "int8.toml"), 1e-3),
    Claim("int8, the chip trained for", Run("resnet20/int8-one", "int8.toml", _one(5e-3, 4)), 5e-3),
    Claim(
        "the same, lower rates and none mixed in",
        Run("resnet20/int8-one-mixed", "int8.toml", {**_one(5e-3, 3), **_MIXTURE}),
        5e-3,
    ),
    Claim("float32, unseen chips", Run("resnet20/float32", "float32.toml", {"boost.epochs": 3}), 2e-3),
    Claim(
        "float32, the chip trained for",
        Run("resnet20/float32-one", "float32.toml", {**_one(5e-3, 3), "boost.recalibrate": 0}),
        5e-3,
    ),
)

_HAMMING = {
    "task": "benchmarks/boost/tasks.py:resnet20_short",
    "memory.storage": "int6_sign_magnitude_hamming",
    "memory.input_storage": "uint6_hamming",
    "curriculum.target_ber": 6e-3,
    "boost.epochs": 4,
}
RESNET20_SHORT: Sequence[Claim] = (
    Claim(
        "ResNet-20 of ten epochs, six bits and a code, unseen chips",
        Run("resnet20-short/hamming", "int8.toml", _HAMMING),
        2e-3,
        certified=True,
    ),
)

_RESNET32 = {"task": "benchmarks/boost/tasks.py:pretrained_resnet32", "boost.epochs": 1}
RESNET32: Sequence[Claim] = (
    Claim("ResNet-32, int8, unseen chips", Run("resnet32/int8", "int8.toml", _RESNET32), 1e-3),
)

_LENET = {
    "task": "benchmarks/boost/tasks.py:lenet5",
    "boost.epochs": 8,
    "boost.precision": "float32",
    "boost.channels_last": False,
}
_AFFINE_INT4 = {"memory.storage": "int4", "memory.input_storage": "int4", "memory.quantization": "affine"}


def _lenet(slug: str, recipe: str, target: float, more: Mapping[str, Any]) -> Run:
    return Run(f"lenet5/{slug}", recipe, {**_LENET, "curriculum.target_ber": target, **more})


_SIGN = {"memory.storage": "sign"}
_NO_ERRORS = 1e-9  # not one flip is expected in an epoch
LENET: Sequence[Claim] = (
    Claim("LeNet-5, float32", _lenet("float32", "float32.toml", 5e-3, {"boost.learning_rate": 0.005})),
    Claim("LeNet-5, int8", _lenet("int8", "int8.toml", 1e-2, {})),
    Claim("LeNet-5, int4", _lenet("int4", "int8.toml", 1e-2, _AFFINE_INT4)),
    Claim(
        "LeNet-5, 1-bit weights, inputs uint8",
        _lenet("sign", "int8.toml", 1e-2, _SIGN),
        reliable=_lenet("sign-without-errors", "int8.toml", _NO_ERRORS, _SIGN),
    ),
)


def _row(claim: Claim, found: Mapping[str, Any], rates: Sequence[float]) -> str:
    before, after = found["before"], found["after"]
    asked = "" if claim.asked is None else f"{claim.asked:g}"
    cells = [claim.title, f"{found['reference']:.1%}", f"{before['clean']:.1%}", f"{before['highest']:.2g}"]
    cells += [f"{after['clean']:.1%}", f"{after['highest']:.2g}", asked]
    cells += [mean(after["rates"][f"{rate:g}"]) for rate in rates]
    if "claim" in found and len(found["claim"]["values"]) > 1:
        values = found["claim"]["values"]
        cells.append(f"{mean(values)}, spread {100 * statistics.stdev(values):.1f}, worst {100 * min(values):.1f}")
    else:
        cells.append("")
    return f"| {' | '.join(cells)} |"


def table(claims: Sequence[Claim], rates: Sequence[float] = RATES) -> None:
    """Print a table of claims."""
    print("| | float32, reliable | clean before | highest before | clean after | highest after | asked |", end="")
    print("".join(f" {rate:g} |" for rate in rates), "all images, 20 chips, at the rate asked |")
    print("|---" * (8 + len(rates)) + "|")
    for claim in claims:
        print(_row(claim, judged(claim.run, rates, claim.asked, claim.reliable), rates), flush=True)
    for claim in claims:
        if claim.certified:
            found = certified(claim.run)
            drop = f"mean drop {found['drop']:.2%} from {found['own']:.2%}"
            print(f"certified: {found['rate']:.2g}, {drop} over {found['chips']} chips")
        print(f"`{claim.run.command}`")
