"""NeuralFuse's protocol (Sun et al., NeurIPS 2024) on our network: errors in 8-bit weights alone, ten chips, BER 1%.

Their code marks 1% of the cells as faulty and makes half of them read 0, the others 1, whatever they hold: half of the
marked cells are right. So 1% of theirs inverts 0.5% of the bits; both rates are here. Their storage is ours of "int8":
two's complement, one symmetric range for each weight that holds its largest value.
"""

from __future__ import annotations

from typing import Any

from judging import SEED, mean
from runs import Run, kept

import eden
from eden.app.datasets import cifar10
from eden.faults.inject import remove_
from eden.tolerance.evaluation import accuracy, at_rates, clean_accuracy

RATES = (5e-3, 1e-2)
CHIPS = 10
OURS = Run(
    "neuralfuse/ours",
    "int8.toml",
    {
        "task": "benchmarks/boost/tasks.py:ablation_resnet20",
        "memory.operands": "weights",
        "memory.errors": {"model": "uniform", "ber": 1e-2},
        "boost.epochs": 2,
        "boost.learn_ranges": False,
        "curriculum.target_ber": 1e-2,
    },
)


def _judged() -> dict[str, Any]:
    data = cifar10()[1]
    before, after = OURS.networks()
    plain = remove_(OURS.networks()[0])
    found = {"without errors, float32": {"clean": accuracy(plain, data)}}
    theirs = eden.Faults(weights=eden.Uniform(1e-2), storage="int8")
    eden.inject_(plain, theirs)
    for name, model in (("their codes", plain), ("our codes", before), ("our codes, boosted", after)):
        over = at_rates(model, data, RATES, CHIPS, SEED)
        rates = {f"{rate:g}": list(chips.values) for rate, chips in over.items()}
        found[name] = {"clean": clean_accuracy(model, data), "rates": rates}
    return found


def table() -> None:
    """Print the table."""
    print("| errors in weights alone | clean |", " | ".join(f"{rate:g}" for rate in RATES), "|")
    print("|---" * (2 + len(RATES)) + "|")
    for name, one in kept(OURS.folder / "judged.json", _judged).items():
        cells = [f"{one['clean']:.1%}", *(mean(values) for values in one.get("rates", {}).values())]
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"`{OURS.command}`")
