"""How much does boosting raise the bit error rate that a network tolerates, and what of it brings the gain?

Each experiment prints a table in Markdown; docs/results.md holds what they printed. Runs are kept in out/boost (or the
folder named by EDEN_BOOST), so that an interrupted experiment goes on where it was. Needs EDEN_DATA.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # networks and data that other benchmarks use, too

import ablation
import every_storage
import folded
import found
import limits
import methods
import modules
import neuralfuse
import randbet

EXPERIMENTS: dict[str, Callable[[], None]] = {
    "resnet20": lambda: limits.table(limits.RESNET20),
    "resnet20-short": lambda: limits.table(limits.RESNET20_SHORT, limits.HIGH_RATES),
    "resnet32": lambda: limits.table(limits.RESNET32),
    "lenet5": lambda: limits.table(limits.LENET),
    "modules": modules.table,
    "randbet": randbet.table,
    "ablation": ablation.table,
    "found": found.table,
    "methods": methods.table,
    "storages": every_storage.table,
    "folded": folded.table,
    "neuralfuse": neuralfuse.table,
}


def main() -> None:
    """Run the experiments named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", nargs="+", choices=list(EXPERIMENTS))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name in arguments.experiment:
        EXPERIMENTS[name]()


if __name__ == "__main__":
    main()
