"""The highest rate of every storage before and after boosting, each with the same short budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from judging import COARSE_GRID, MAX_DROP, folds, reference, tolerated
from runs import Run, kept

from eden.tolerance.evaluation import clean_accuracy

_PARTS = 10
_SHORT = {"boost.epochs": 1, "curriculum.schedule": "constant"}
PAIRS: Mapping[str, str] = {
    "float32": "float32",
    "int8_sign_magnitude": "uint8",
    "bfloat16": "bfloat16",
    "float16": "float16",
    "float8_e4m3fn": "float8_e4m3fn",
    "float8_e5m2": "float8_e5m2",
    "int16": "int16",
    "int4": "int4",
    "int8_sign_magnitude_secded": "uint8_secded",
}
"""Storage of weights, and of inputs."""


_FEW = ("float32", "int8_sign_magnitude")
NETWORKS: Mapping[str, Sequence[str]] = {"resnet20": tuple(PAIRS), "lenet5": _FEW, "resnet32": _FEW}
"""Networks and the storages of their weights; tasks.py has them as ``short_resnet20`` and so on."""


def run(network: str, weights: str) -> Run:
    """The retraining of a storage: the recipe of 8 bits, one epoch."""
    more: dict[str, Any] = {"memory.storage": weights, "memory.input_storage": PAIRS[weights]}
    more["task"] = f"benchmarks/boost/tasks.py:short_{network}"
    if network == "lenet5":
        more["curriculum.target_ber"] = 1e-2  # it tolerates more than the others' target
    if weights in ("int16", "int4"):
        more["memory.quantization"] = "affine"  # no code is lost to values that are never negative
    if "float" in weights:
        more["memory.weight_channels"] = False
    return Run(f"storages/{network}/{weights}", "int8.toml", {**_SHORT, **more})


def _judged(one: Run) -> dict[str, Any]:
    data = one.data()
    parts = folds(data, _PARTS)
    floor = reference(one, data) - MAX_DROP
    return {
        which: {"clean": clean_accuracy(model, data), "highest": tolerated(model, parts, floor, COARSE_GRID)}
        for which, model in zip(("before", "after"), one.networks(), strict=True)
    }


def table() -> None:
    """Print the table."""
    print("| network | weights | inputs | clean before | highest before | clean after | highest after |")
    print("|---" * 7 + "|")
    for network, weights in ((network, weights) for network, every in NETWORKS.items() for weights in every):
        one = run(network, weights)
        judged = kept(one.folder / "judged.json", lambda one=one: _judged(one))  # type: ignore[misc]
        cells = [f"{judged[w]['clean']:.1%} | {judged[w]['highest']:.2g}" for w in ("before", "after")]
        print(f"| {network} | `{weights}` | `{PAIRS[weights]}` | {' | '.join(cells)} |", flush=True)
