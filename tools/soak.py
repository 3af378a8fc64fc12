"""The demo's chain, shortened, for many seeds: on each instruction set of the processor, with one and two threads.

A seed names all that varies: the network's first numbers, the order of samples, chips, device, storage, solver,
platform and what is asked for. All that it can name is possible, so each run has to end with a report, and every file
that it wrote has to be read again. A network may tolerate nothing; a run that finds so leaves a report, too.

    python tools/soak.py --seeds 0 1 2
    python tools/soak.py --count 40
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ISAS = ("baseline", "avx2", "avx512", "neon")
THREADS = (1, 2)
NOT_PLACED = "not placed:"
_MOST_WITHOUT_PLACEMENT = 0.1
"""Share of runs that may find that the network tolerates nothing; more would mean that nothing is tried."""
_ENOUGH = 20  # seeds from which on that share says something


def recipe_of(seed: int) -> dict[str, Any]:
    """The overrides of the demo's recipe that a seed names."""
    import eden

    draw = random.Random(seed)
    storage, inputs = draw.choice(
        [("int8_sign_magnitude", "uint8"), ("int8", "int8"), ("int16", "uint8"), ("float16", "float16")]
    )
    return {
        "task": f"{Path(__file__).resolve()}:seed_{seed}",
        "seed": draw.randrange(-(2**63), 2**63),
        "memory.device": draw.choice(eden.Device.builtin_names()),
        "memory.vdd": None,  # that of the demo's own device
        "memory.storage": storage,
        "memory.input_storage": inputs,
        "memory.correction": draw.choice(["zero", "clamp"]),
        "training.epochs": 6,
        "training.seed": draw.randrange(2**31),
        "boost.epochs": 6,
        "boost.seed": draw.randrange(2**31),
        "curriculum.chips": draw.choice(["fresh", "one", 3]),
        "profile.max_drop": draw.choice([0.03, 0.05, 0.1]),
        "profile.confidence": 0.8,
        "profile.effort": 1.5,
        "profile.samples": 32,
        "place.solver": draw.choice(["exact", "greedy"]),
        "place.platform": draw.choice(["cpu", "gpu", "eyeriss", "tpu"]),
        "place.granularity": draw.choice(["fine", "coarse"]),
        "certify.confidence": 0.8,
        "certify.effort": 1.5,
        "certify.chips": draw.choice([1, 20]),
        "comparison.chips": draw.choice([1, 3]),
        "rounds.most": 1,
        # A cache holds these networks; then only the first inference, which finds it empty, moves what can be saved.
        **({"place.repeated": False} if seed % 4 else {}),
        # Some are boosted towards a rate that is given, which costs some networks more than any errors.
        "curriculum.target_ber": 0.01 if seed % 3 == 0 else None,
        "curriculum.max_drop": None if seed % 3 == 0 else 0.03,
    }


def _task(seed: int) -> Any:
    import torch

    from eden.app.models import ResNet
    from eden.app.tasks import digits_task

    def network() -> torch.nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return ResNet(blocks=1, channels=8, image_channels=1)

    # The threads are those of OMP_NUM_THREADS.
    return dataclasses.replace(digits_task(), name=f"digits {seed}", model=network, threads=None)


def __getattr__(name: str) -> Any:
    """A task for each seed, as ``tools/soak.py:seed_7``."""
    before, _, number = name.partition("_")
    if before == "seed" and number.isdecimal():
        return lambda: _task(int(number))
    raise AttributeError(name)


def chain(seed: int, folder: Path) -> str:
    """Run the chain that a seed names, and read again what it wrote; what was found, in a sentence."""
    import importlib.resources

    import eden
    from eden.app.run import run
    from eden.app.run_recipe import DEMO, RunRecipe

    overrides = recipe_of(seed)
    with importlib.resources.as_file(DEMO) as path:
        recipe = RunRecipe.load(path, list(overrides.items()))
    found = f"{overrides['memory.device']}, {overrides['memory.storage']}"
    names, placed = ["device", "tolerance", "accuracy"], ["placement", "savings", "memory-map", "account"]
    try:
        outcome = run(recipe, folder, say=lambda _: None)
        names += [*placed, "rounds", "verification"]
        found += f": saves {outcome.savings.energy_reduction:.1%}, {outcome.rounds.accuracy:.1%} as placed"
    except eden.SearchError as error:
        found = f"{NOT_PLACED} {found}: {error}"
    for name in names:
        if (folder / f"{name}.json").exists() or name in placed:
            eden.read(folder / f"{name}.json")
    if not (folder / "index.html").stat().st_size:
        raise AssertionError("the report is empty")
    return found


def _inside(seeds: Sequence[int]) -> int:
    """Run seeds in this process, a line each; the number of failures."""
    failures = 0
    for seed in seeds:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                text = chain(seed, Path(folder) / "out")
            except Exception:
                failures += 1
                text = f"FAILED\n{traceback.format_exc()}"
        print(f"{seed}\t{time.monotonic() - started:.1f} s\t{text}", flush=True)
    return failures


def _isas() -> list[str]:
    """The instruction sets that this processor has, of those that there are loops for."""
    ask = "from eden import _core; print(_core.instruction_set())"
    asked = {
        isa: subprocess.run(
            [sys.executable, "-c", ask], env={**os.environ, "EDEN_ISA": isa}, capture_output=True, text=True
        )
        for isa in ISAS
    }
    found = [isa for isa, told in asked.items() if told.returncode == 0]
    if not found:
        raise SystemExit(f"soak: eden does not run here: {asked[ISAS[0]].stderr.strip()[-1000:]}")
    return found


def main() -> None:
    """Parse the command line, run all, and end with status 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seeds", type=int, nargs="+")
    which.add_argument("--count", type=int, help="seeds from 0 on")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    seeds = options.seeds or list(range(options.count))
    if options.inside:
        sys.exit(1 if _inside(seeds) else 0)

    def child(isa: str, threads: int) -> tuple[str, list[str], int]:
        name = f"EDEN_ISA={isa} OMP_NUM_THREADS={threads}"
        told = []
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(
                [sys.executable, __file__, "--inside", "--seeds", *map(str, seeds)],
                env={**os.environ, "EDEN_ISA": isa, "OMP_NUM_THREADS": str(threads)},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as running,
        ):
            for line in running.stdout or ():
                told.append(line)
                print(f"{isa} x {threads}\t{line}", end="", flush=True)
            # A process that a signal ended has told of the seeds before the one that it ended at.
            if running.wait() not in (0, 1):
                errors.seek(0)
                print(errors.read()[-2000:], flush=True)
        print(f"{name}: exit status {running.returncode}", flush=True)
        return name, told, running.returncode

    cases = [(isa, threads) for threads in THREADS for isa in _isas()]
    print(
        f"soak: seeds {' '.join(map(str, seeds))}; {', '.join(f'{isa} x {threads}' for isa, threads in cases)}",
        flush=True,
    )
    ended = []
    for threads in THREADS:
        # Threads that outnumber the cores wait for one another longer than they compute.
        with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // threads)) as pool:
            ended += pool.map(lambda case: child(*case), [case for case in cases if case[1] == threads])
    runs = len(seeds) * len(cases)
    fine = [line for _, told, _ in ended for line in told if line[:1].isdecimal() and "FAILED" not in line]
    failures = runs - len(fine)
    empty = sum(NOT_PLACED in line for line in fine)
    print(f"soak: {runs} runs, {failures} failures, {empty} that tolerate nothing")
    for name, _, status in ended:
        if status:
            print(f"soak: to repeat: {name} {sys.executable} {__file__} --inside --seeds {' '.join(map(str, seeds))}")
    vain = len(seeds) >= _ENOUGH and empty > _MOST_WITHOUT_PLACEMENT * runs
    sys.exit(1 if failures or vain else 0)


if __name__ == "__main__":
    main()
