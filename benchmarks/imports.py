"""How long importing eden takes beside importing torch: every figure a ratio, in processes that are started in turns.

    python benchmarks/imports.py [--runs 5]

What a process takes that does nothing is left out. Wall clock and processor time are both printed: where other programs
run, the second is the steadier. The commands that compute nothing are measured beside torch, too.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

NOTHING, TORCH = "nothing", "import torch"
CASES: dict[str, tuple[str, ...]] = {
    NOTHING: ("-c", "pass"),
    TORCH: ("-c", "import torch"),
    "import eden": ("-c", "import eden"),
    "eden.corrupt, operators loaded": ("-c", "import eden; eden.corrupt"),
    "eden.inject_": ("-c", "import eden; eden.inject_"),
    "eden.profile": ("-c", "import eden; eden.profile"),
    "eden.place": ("-c", "import eden; eden.place"),
    "eden.fit": ("-c", "import eden; eden.fit"),
    "from eden import *": ("-c", "from eden import *"),
    "eden --help": ("-m", "eden.app.cli", "--help"),
    "eden devices list": ("-m", "eden.app.cli", "devices", "list"),
    "eden schema device": ("-m", "eden.app.cli", "schema", "device"),
}


def seconds(arguments: tuple[str, ...]) -> tuple[float, float]:
    """The wall clock and the processor time of a process."""
    used, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    wall, now = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="processes of each kind, one of every kind in turns")
    runs = parser.parse_args().runs
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in CASES if name not in (NOTHING, TORCH)}
    seconds(CASES["from eden import *"])  # reads the files from disk
    for _ in range(runs):
        took = {name: seconds(case) for name, case in CASES.items()}
        for name, ratios in found.items():
            measured = zip(took[name], took[NOTHING], took[TORCH], strict=True)
            ratios.append(tuple((case - nothing) / (torch - nothing) for case, nothing, torch in measured))
    width = max(map(len, found))
    print(f"{'':{width}}  {'wall clock':21}  processor time, of torch's: median of {runs} (least to most)")
    for name, ratios in found.items():
        wall, processor = zip(*ratios, strict=True)
        print(f"{name:{width}}  {spread([*wall]):21}  {spread([*processor])}")


if __name__ == "__main__":
    main()
