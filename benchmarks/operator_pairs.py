"""Reads of this checkout beside those of another, of an earlier commit: processor time over that of a copy.

Both take turns, each in a process of its own: python benchmarks/operator_pairs.py --against FOLDER. Everything is read
by one thread, on another chip at each read, and times are the thread's own processor time, the least of each turn's
reads, so that other programs of the machine disturb little. A figure is the median over the turns. Rows of measured
lines are read on another chip and, as "kept", on the same one again and again. The last row is training: ResNet-20,
errors of 1e-3 in all weights and inputs, its steps over those of the network whose inputs are copied.
"""

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from operator_grid import MIB, MODELS, operator_arguments, values
from operators import copy_inputs_, corrupt_out, on_new_chips
from torch import nn

import eden
from eden.app.models import ResNet

SIZES = {64 << 10: (1e-3,), MIB: (1e-6, 1e-4, 1e-3, 1e-2, 5e-2), 16 * MIB: (1e-3, 5e-2)}
"""Rates by bytes of float32."""

LINES = 65536
"""Of measured tables: the bitlines of a row."""


def least_seconds(call: Callable[[], Any], budget: float, least: int) -> float:
    """The least processor time of a call, of those within so many seconds of it."""
    call()
    taken: list[float] = []
    while len(taken) < least or sum(taken) < budget:
        begin = time.thread_time()
        call()
        taken.append(time.thread_time() - begin)
    return min(taken)


def reads(quick: bool) -> Iterator[tuple[str, Callable[[], Any], Callable[[], Any]]]:
    """Of each row its name, a read and a copy."""
    rate = torch.rand(LINES, generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy() * 1e-4
    for size, rates in ({64 << 10: (1e-3,)} if quick else SIZES).items():
        x = values(torch.float32, (size // 4,))
        out = torch.empty_like(x)
        text = f"{size // MIB} MiB" if size >= MIB else f"{size >> 10} KiB"
        for name, model in MODELS.items():
            for ber in rates:
                given = operator_arguments(x, model(ber))
                read = on_new_chips(given)
                yield (
                    f"{text}, {name}, {ber:.0e}",
                    lambda read=read, out=out: read(out),
                    lambda x=x, out=out: out.copy_(x),
                )
        if size > MIB:
            continue
        for kind in (eden.Bitline, eden.Wordline):
            given = operator_arguments(x, kind.measured(rate))
            read = on_new_chips(given)
            name = f"{text}, {kind.__name__}, measured"
            yield name, lambda read=read, out=out: read(out), lambda x=x, out=out: out.copy_(x)
            yield (
                f"{name}, kept",
                lambda given=given, out=out: corrupt_out(**given, out=out),
                lambda x=x, out=out: out.copy_(x),
            )


def training(quick: bool) -> Iterator[tuple[str, Callable[[], Any], Callable[[], Any]]]:
    """Of each way of keeping operands its name, a step under errors and one of a network whose inputs are copied."""
    x = values(torch.float32, (2, 3, 8, 8) if quick else (128, 3, 32, 32))
    target = torch.arange(len(x)) % 10
    torch.manual_seed(0)
    base = ResNet(blocks=1, channels=4) if quick else ResNet()
    errors = eden.Uniform(1e-3)

    def step(model: nn.Module) -> Callable[[], None]:
        optimizer = torch.optim.SGD(model.train().parameters(), lr=1e-3)

        def run() -> None:
            optimizer.zero_grad()
            F.cross_entropy(model(x), target).backward()
            optimizer.step()

        return run

    copied = step(copy_inputs_(copy.deepcopy(base)))
    for storage, correction in (("float32", "zero"), ("int8", "none")):
        model = copy.deepcopy(base)
        eden.inject_(model, eden.Faults(errors, errors, storage=storage, correction=correction))
        eden.calibrate_(model, [x])
        yield f"training, {storage}, {correction}", step(model), copied


def one_turn(quick: bool) -> dict[str, float]:
    """All rows of the package that is imported: reads over copies."""
    torch.set_num_threads(1)
    figures = {}
    for rows, budget, least in ((reads(quick), 0.04, 3), (training(quick), 0.0, 3)):
        for name, read, plain in rows:
            budget, least = (0.0, 1) if quick else (budget, least)
            figures[name] = least_seconds(read, budget, least) / least_seconds(plain, budget, least)
    return figures


def turn_of(checkout: Path, quick: bool) -> dict[str, float]:
    """The same of another checkout's package, in a process of its own."""
    command = [sys.executable, __file__, "--turn", *(["--quick"] if quick else [])]
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{checkout}: {result.stderr.strip().splitlines()[-1]}")
    figures: dict[str, float] = json.loads(result.stdout)
    return figures


def main() -> None:
    """Print each row: copies before, copies now, and the ratio of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="a built checkout of the commit before")
    parser.add_argument("--turns", type=int, default=3, help="of each (default: 3)")
    parser.add_argument("--quick", action="store_true", help="a few rows, one read each: only to see that it runs")
    parser.add_argument("--turn", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.turn:
        print(json.dumps(one_turn(given.quick)))
        return
    if given.against is None or not (given.against / "eden" / "_ops.so").is_file():
        parser.error(f"--against is {given.against}; allowed is a folder with eden/_ops.so, a built checkout")
    checkouts = (given.against, Path(__file__).parents[1])
    turns: list[list[dict[str, float]]] = [[], []]
    for number in range(given.turns):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            turns[which].append(turn_of(checkouts[which], given.quick))
    print("| read | before | now | now / before |\n|---|---|---|---|")
    for name in turns[0][0]:
        before, now = (statistics.median(turn[name] for turn in side) for side in turns)
        print(f"| {name} | {before:.3g} | {now:.3g} | {now / before:.2f} |")


if __name__ == "__main__":
    main()
