"""How long importing eden takes beside importing torch: every figure a ratio, in processes started in turns.

    python benchmarks/imports.py [--runs 5]

A process is measured by its wall clock, less that of one that does nothing. The commands that compute nothing are
measured beside torch, too.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

NOTHING = ("-c", "pass")
TORCH = ("-c", "import torch")
CASES: dict[str, tuple[str, ...]] = {
    "import eden": ("-c", "import eden"),
    "import torch, eden": ("-c", "import torch, eden"),
    "eden.Uniform": ("-c", "import eden; eden.Uniform"),
    "eden.corrupt, operators loaded": ("-c", "import eden; eden.corrupt"),
    "eden.inject_": ("-c", "import eden; eden.inject_"),
    "eden.profile": ("-c", "import eden; eden.profile"),
    "eden.place": ("-c", "import eden; eden.place"),
    "eden.fit": ("-c", "import eden; eden.fit"),
    "from eden import *": ("-c", "from eden import *"),
    "eden --help": ("-m", "eden.cli", "--help"),
    "eden devices list": ("-m", "eden.cli", "devices", "list"),
    "eden schema device": ("-m", "eden.cli", "schema", "device"),
}


def seconds(arguments: tuple[str, ...]) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="processes of each kind, one of every kind in turns")
    runs = parser.parse_args().runs
    found: dict[str, list[float]] = {name: [] for name in CASES}
    for case in CASES.values():
        seconds(case)  # reads the files from disk
    for _ in range(runs):
        for name, case in CASES.items():
            nothing, torch = seconds(NOTHING), seconds(TORCH)
            found[name].append((seconds(case) - nothing) / (torch - nothing))
    width = max(map(len, CASES))
    print(f"{'':{width}}  of torch's time, median of {runs} (least to most)")
    for name, ratios in found.items():
        print(f"{name:{width}}  {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
