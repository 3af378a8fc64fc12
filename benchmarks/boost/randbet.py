"""RandBET's recipe beside ours: errors in weights alone, on the same network, images and evaluation."""

from __future__ import annotations

from typing import Any

from judging import folds, mean, under
from runs import Run, kept

from eden.tolerance.evaluation import clean_accuracy

RATES = (1e-4, 1e-3, 3e-3, 1e-2)

# RandBET goes twice over each batch, with and without errors; ours once, and the teacher once without gradients.
_OURS = {
    "memory.operands": "weights",
    "memory.errors": {"model": "uniform", "ber": 1e-2},
    "boost.epochs": 2,
    "boost.learn_ranges": False,
    "curriculum.target_ber": 1e-2,
}
RUNS = {"RandBET": Run("randbet/randbet", "randbet.toml"), "ours": Run("randbet/ours", "int8.toml", _OURS)}


def _judged(run: Run) -> dict[str, Any]:
    data = run.data()
    parts = folds(data)
    return {
        which: {
            "clean": clean_accuracy(model, data),
            "rates": {f"{rate:g}": under(model, parts, rate) for rate in RATES},
        }
        for which, model in zip(("before", "after"), run.networks(), strict=True)
    }


def table() -> None:
    """Print the table."""
    print("| errors in weights alone | clean |", " | ".join(f"{rate:g}" for rate in RATES), "|")
    print("|---" * (2 + len(RATES)) + "|")
    for name, run in RUNS.items():
        found = kept(run.folder / "judged.json", lambda run=run: _judged(run))  # type: ignore[misc]
        for which, one in found.items():
            cells = [f"{which} {name}", f"{one['clean']:.1%}", *map(mean, one["rates"].values())]
            print(f"| {' | '.join(cells)} |", flush=True)
    for run in RUNS.values():
        print(f"`{run.command}`")
