"""How long whole fits of devices take, from the file to the device: every figure a ratio, measured in turns.

    python benchmarks/fits.py [--runs 3] [--against CHECKOUT]

Each campaign is simulated once. A process fits them all, each between two runs of a reference operation, by whose time
its own is divided: the log-gamma functions of a million numbers by SciPy. Figures are the least of the processes, since
what else runs only adds. With ``--against``, processes of another checkout, which is built, take turns with those of
this one, and it is said whether both give the same devices.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

BANKS, ROWS, ROW_BITS = 3, 128, 1024
TRCDS = {10.0: 3e-3, 7.5: 2e-2, 5.0: 8e-2}
TESTED = {"banks": BANKS, "rows": ROWS, "row_bits": ROW_BITS, "subarray_rows": 64}


def flips(path: Path, axis: str | None, ones: float, failure: float) -> dict[str, Any]:
    """Two passes over a chip at three latencies; lines of an axis cluster by a correlation of 0.05."""
    random = np.random.default_rng(1)
    lines = ["trcd,temperature,pattern,bank,row,bit,repeat"]
    for trcd, rate in TRCDS.items():
        for byte, factor in ((0x00, 1.0), (0xFF, ones)):
            mean = rate * factor / failure
            shape = {
                "bitline": (BANKS, ROWS // 64, 1, ROW_BITS),
                "wordline": (BANKS, ROWS // 64, 64, 1),
                None: (1,) * 4,
            }
            weak = np.full(shape[axis], mean) if axis is None else random.beta(19 * mean, 19 * (1 - mean), shape[axis])
            cells = random.random((BANKS, ROWS // 64, 64, ROW_BITS)) < weak
            for repeat in range(2):
                failed = cells & (random.random(cells.shape) < failure)
                for bank, row, bit in zip(*np.nonzero(failed.reshape(BANKS, ROWS, ROW_BITS)), strict=True):
                    lines.append(f"{trcd},50,0x{byte:02x},{bank},{row},{bit},{repeat}")
    path.write_text("\n".join(lines) + "\n")
    return {"tested": TESTED}


def counts(path: Path) -> dict[str, Any]:
    """Errors of eight banks in six passes at three latencies."""
    random = np.random.default_rng(2)
    lines = ["trcd,temperature,pattern,bank,repeat,errors,cells"]
    for trcd, rate in TRCDS.items():
        for byte, factor in ((0x00, 1.0), (0xFF, 2.0)):
            for repeat in range(6):
                passed = rate * factor * random.lognormal(0.0, 0.1)
                errors = random.binomial(2**30, min(passed, 1.0), 8)
                lines += [
                    f"{trcd},50,0x{byte:02x},{bank},{repeat},{count},{2**30}" for bank, count in enumerate(errors)
                ]
    path.write_text("\n".join(lines) + "\n")
    return {}


def sweep(path: Path) -> dict[str, Any]:
    """A module of the latency-variation study's format, tRCD from 12.5 to 2.5 ns, whose banks have curves."""
    random = np.random.default_rng(3)
    lines = [",".join([*(f"Bank{bank}" for bank in range(8)), "Label", "Pattern", "Temperature", "tRCD", "tRP"])]
    for trcd, rate in {12.5: 0.0, **TRCDS, 2.5: 0.3}.items():
        for byte, factor in (("0x0", 1.0), ("0xff", 2.0)):
            for _ in range(5):
                passed = min(rate * factor * random.lognormal(0.0, 0.1), 1.0)
                rates = random.binomial(2**30, passed, 8) / 2**30
                lines.append(",".join([*(f"{value:.12g}" for value in rates), "m", byte, "50", str(trcd), "12.5"]))
    path.write_text("\n".join(lines) + "\n")
    return {"bank_curves": True}


def campaigns(folder: Path) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Names, files and arguments of the fits."""
    for name, axis, ones, failure in (
        ("flips, uniform", None, 1.0, 0.7),
        ("flips, bitlines", "bitline", 1.0, 1.0),
        ("flips, wordlines", "wordline", 1.0, 0.8),
        ("flips, data-dependent", None, 2.0, 0.6),
    ):
        path = folder / f"{name}.csv"
        yield name, path, flips(path, axis, ones, failure)
    yield "counts", folder / "counts.csv", counts(folder / "counts.csv")
    yield "latency sweep, curves of banks", folder / "sweep.csv", sweep(folder / "sweep.csv")


def reference() -> float:
    """The processor time of the reference operation in s."""
    from scipy import special

    numbers = np.linspace(1.0, 1e6, 1_000_000)
    begin = time.process_time()
    special.gammaln(numbers)
    return time.process_time() - begin


def fitted(path: str, arguments: dict[str, Any]) -> Any:
    """The device, by the arguments that ``eden.fit`` of this checkout takes."""
    import eden

    if not hasattr(eden, "Tested"):  # of before arguments were grouped
        return eden.fit(path, trcd=12.5, **arguments.pop("tested", {}), **arguments)
    if "tested" in arguments:
        arguments["tested"] = eden.Tested(**arguments["tested"])
    return eden.fit(path, nominal=eden.Condition(trcd=12.5), **arguments)


def work(jobs: list[tuple[str, str, dict[str, Any]]]) -> None:
    """Fit each campaign; print for each its seconds, those of the reference, and the device."""
    for name, path, arguments in jobs[:1] + jobs:  # the first one loads what fits take
        before = reference()
        begin = time.process_time()
        device = fitted(path, dict(arguments))
        seconds = time.process_time() - begin
        print(json.dumps([name, seconds, min(before, reference()), device.model_dump_json()]), flush=True)


def measure(checkout: Path, jobs: list[Any]) -> dict[str, tuple[float, float, str]]:
    """What a process of a checkout says of each campaign: units of the reference, seconds, device."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--work", json.dumps(jobs)]
    printed = subprocess.run(command, env=environment, cwd=checkout, check=True, stdout=subprocess.PIPE, text=True)
    found = {}
    for line in printed.stdout.splitlines():
        name, seconds, unit, device = json.loads(line)
        found[name] = (seconds / unit, seconds, device)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="processes of each checkout, in turns")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="a folder of another commit, built")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(json.loads(options.work))
        return
    here = Path(__file__).resolve().parents[1]
    checkouts = [here, *([options.against.resolve()] if options.against else [])]
    with tempfile.TemporaryDirectory() as folder:
        jobs = [(name, str(path), arguments) for name, path, arguments in campaigns(Path(folder))]
        runs = [[measure(checkout, jobs) for checkout in checkouts] for _ in range(options.runs)]
    print(f"processor time of a fit, of that of the reference operation: least of {options.runs}")
    print(f"{'':32}{'times':>8}{'s':>8}" + (f"{'there':>10}{'ratio':>8}  device" if options.against else ""))
    for name, *_ in jobs:
        least = [min(run[i][name][:2] for run in runs) for i in range(len(checkouts))]
        row = f"{name:32}{least[0][0]:8.1f}{least[0][1]:8.3f}"
        if options.against:
            same = "the same" if runs[0][0][name][2] == runs[0][1][name][2] else "another"
            row += f"{least[1][0]:10.1f}{least[0][0] / least[1][0]:8.2f}  {same}"
        print(row)


if __name__ == "__main__":
    main()
