"""What of a recipe gains tolerance: one change at a time, on the same budget."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

from judging import SEED
from runs import Run, kept

from eden.tolerance.evaluation import at_rates, clean_accuracy

RATES = (1e-4, 1e-3, 3e-3)
CHIPS = 10

_STEPS = 157  # of the one epoch
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "as the recipe is": {},
    "chips: one": {"curriculum.chips": "one"},
    "chips: a pool of 8": {"curriculum.chips": 8},
    "correction: none": {"memory.correction": "none"},
    "correction: clamp": {"memory.correction": "clamp"},
    "range: of all values": {"memory.percentile": 100.0},
    "range: 99.5th percentile": {"memory.percentile": 99.5},
    "range: learned": {"boost.learn_ranges": True, "boost.range_decay": 0.01},
    "codes: two's complement, inputs uint8": {"memory.storage": "int8"},
    "codes: two's complement, affine": {
        "memory.storage": "int8",
        "memory.input_storage": "int8",
        "memory.quantization": "affine",
    },
    "codes: two's complement, symmetric": {"memory.storage": "int8", "memory.input_storage": "int8"},
    "codes: a scale for each channel": {"memory.weight_channels": True},
    "distillation: none": {"boost.distillation": 0.0},
    "distillation: alone": {"boost.distillation": 1.0},
    "weights: not clipped": {"boost.clip_percentile": 100.0},
    "weights: clipped at the 99th percentile": {"boost.clip_percentile": 99.0},
    "learning rate: 0.005": {"boost.learning_rate": 0.005},
    "learning rate: 0.05": {"boost.learning_rate": 0.05},
    "ramp: linear over the whole epoch": {"curriculum.steps_per_epoch": _STEPS, "curriculum.ramp": 1.0},
    "target: 2e-3": {"curriculum.target_ber": 2e-3},
    "mixture: rates from 1e-4": {"curriculum.floor_ber": 1e-4},
    "mixture: a quarter of the steps clean": {"curriculum.clean_share": 0.25},
    "mixture: half of the loss clean (twice the passes)": {"boost.clean_loss": 0.5},
    "batch norm: estimated again over 4 chips": {"reestimate_chips": 4},
    "precision: float32": {"boost.precision": "float32"},
}


def run(name: str) -> Run:
    """The run with one of the ``CHANGES``."""
    slug = "".join(c if c.isalnum() or c == "." else "-" for c in name)
    task = {"task": "benchmarks/boost/tasks.py:ablation_resnet20"}
    return Run(f"ablation/{slug}", "ablation.toml", {**task, **CHANGES[name]})


def _judged(run: Run) -> dict[str, Any]:
    data = run.data()
    found = {}
    for which, model in zip(("before", "after"), run.networks(), strict=True):
        over = at_rates(model, data, RATES, CHIPS, SEED)
        found[which] = {
            "clean": clean_accuracy(model, data),
            "rates": {f"{rate:g}": list(chips.values) for rate, chips in over.items()},
        }
    return found


def _row(name: str, judged: dict[str, Any], base: dict[str, Any]) -> str:
    cells = [name, f"{judged['clean']:.1%}"]
    for rate in judged["rates"]:
        values, others = judged["rates"][rate], base["rates"][rate]
        apart = [a - b for a, b in zip(values, others, strict=True)]
        cell = f"{statistics.fmean(values):.1%}"
        if judged is not base:
            error = statistics.stdev(apart) / math.sqrt(len(apart))
            cell += f" ({100 * statistics.fmean(apart):+.1f} ± {100 * error:.1f})"
        cells.append(cell)
    return f"| {' | '.join(cells)} |"


def table() -> None:
    """Print the table."""
    print("| one change | clean |", " | ".join(f"{rate:g}" for rate in RATES), "|")
    print("|---|---|" + "---|" * len(RATES))
    base: dict[str, Any] | None = None
    for name in CHANGES:
        one = run(name)
        judged = kept(one.folder / "judged.json", lambda one=one: _judged(one))  # type: ignore[misc]
        if base is None:
            base = judged
            print(_row("before", judged["before"], judged["after"]), flush=True)
            base = judged["after"]
        print(_row(name, judged["after"], base), flush=True)
