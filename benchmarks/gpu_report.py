"""One page of what EDEN does on a GPU, with its goals: bits, bandwidth, networks, other methods.

1. whether the GPU gives the CPU's bits (tests/memory/test_cuda.py);
2. reads beside a device copy, by bit error rate: float32, bfloat16, int8, and float32 kept as int8;
3. ResNet-50 with errors in all weights and inputs beside the same network without: inference, in a CUDA graph,
   compiled, and training;
4. the forward pass of a transformer of a billion parameters, likewise;
5. other ways to the same flips beside the operator.

Every figure is a ratio of times measured side by side (operator_grid.py). What the time does not suffice for is left
out by name. The exit status is 0 however the figures turn out, 1 if there is no GPU, a bit differs or something could
not be measured.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networks
import torch
import torch.nn.functional as F
from operator_grid import MIB, RATES, Budget, Figure, Report, compare, operator_arguments, size_text, values
from operators import bernoulli_per_bit, sparse_by_randint
from operators_gpu import captured, device_clock
from torch import Tensor, nn

import eden
from eden.memory.storage import CODED

ROOT = Path(__file__).parents[1]
COPY_GOAL, COPY_GOAL_UP_TO = 1 / 0.85, 1e-3
"""A read takes at most so many times a copy, at these rates: 85% of its bandwidth."""
NETWORK_GOAL = 1 / 0.9
"""Training under errors takes at most so many times training without: 0.9 of its images/s."""
SECONDS = 480.0
FAULTS = eden.Faults(eden.Uniform(1e-3), eden.Uniform(1e-3), storage="int8", correction="zero")


class Page:
    """What is measured, and how it is timed on this device."""

    def __init__(self, device: str, quick: bool, seconds: float) -> None:
        self.device, self.quick = device, quick
        self.ends = time.monotonic() + seconds
        self.report = Report()
        self.left_out: list[str] = []

    def budget(self, seconds: float) -> Budget:
        """Of one comparison."""
        return Budget(0.0, 1, 1) if self.quick else Budget(seconds, 6, 99)

    def part(self, name: str, seconds: float, measure: Callable[[], None]) -> None:
        """Measure a part if it fits in; what fails is a line of the page."""
        if time.monotonic() + seconds > self.ends:
            self.left_out.append(name)
            return
        self.report.heading(name[0], name)
        try:
            measure()
        except Exception as error:
            self.report.fail(name[0], name, error)
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def beside(
        self, table: str, what: str, calls: dict[str, Callable[[], Any]], goal: float | None, repeats: int = 1
    ) -> None:
        """The first call's time over the second's; on a GPU both run in a graph of so many."""
        names = list(calls)
        if self.device == "cuda" and repeats > 0:
            graphs = {name: captured(call, repeats) for name, call in calls.items()}
            times = compare({n: g.replay for n, g in graphs.items()}, self.budget(0.3), device_clock(repeats))
            torch.cuda.synchronize()
        else:
            times = compare(calls, self.budget(3.0), self.clock if self.device == "cuda" else None)
        figure = self.report.add(table, what, times, *names, goal)
        self.report.row(what, [str(figure)], 60)

    @staticmethod
    def clock(call: Callable[[], Any]) -> float:
        """Seconds until the device has done what a call began."""
        torch.cuda.synchronize()
        begin = time.perf_counter()
        call()
        torch.cuda.synchronize()
        return time.perf_counter() - begin

    def bits(self) -> None:
        """The tests of bits, in a process of their own."""
        command = [sys.executable, "-m", "pytest", "-q", "-x", "tests/memory/test_cuda.py", "-p", "no:cacheprovider"]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
        verdict = found.stdout.strip().splitlines()[-1] if found.stdout.strip() else found.stderr.strip()[-200:]
        self.report.row(verdict, [])
        if found.returncode != 0:
            self.report.fail("1", "the CPU's bits", verdict)

    def bandwidth(self) -> None:
        """Reads into a kept output beside a copy."""
        size = 1 << 12 if self.quick else 256 * MIB
        for name, dtype, storage in (
            ("float32", torch.float32, None),
            ("bfloat16", torch.bfloat16, None),
            ("int8", torch.int8, None),
            ("float32 kept as int8", torch.float32, "int8"),
            ("float32 kept with a code", torch.float32, "int6_sign_magnitude_hamming"),
        ):
            x = values(dtype, (size // dtype.itemsize,), self.device)
            out = torch.empty_like(x)
            for rate in RATES:
                scale = torch.tensor(0.03, device=self.device)
                changes = {"storage": storage, "scale": scale} if storage else {}
                given = operator_arguments(x, eden.Uniform(rate), **changes)
                calls: dict[str, Callable[[], Any]] = {
                    "read": lambda given=given, out=out: torch.ops.eden.corrupt_out(**given, out=out),
                    "copy": lambda x=x, out=out: out.copy_(x),
                }
                # A code's three kernels move half as much again as a copy does.
                goal = COPY_GOAL if rate <= COPY_GOAL_UP_TO and storage not in CODED else None
                self.beside("2", f"{name}, {size_text(size)}, {rate:.0e}: read / copy", calls, goal, 5)

    def pair(self, make: Callable[[], nn.Module], example: Tensor) -> tuple[nn.Module, nn.Module]:
        """A network on reliable memory, and the same under faults."""
        torch.manual_seed(0)
        clean, faulty = make().to(self.device), make().to(self.device)
        faulty.load_state_dict(clean.state_dict())
        eden.inject_(faulty, FAULTS)
        eden.calibrate_(faulty, [example])
        return clean.eval(), faulty.eval()

    def resnet(self) -> None:
        """ResNet-50, images of 224 by 224."""
        batch, side, width = (2, 32, 0.125) if self.quick else (64, 224, 1.0)
        images = torch.randn(batch, 3, side, side, device=self.device)
        labels = torch.zeros(batch, dtype=torch.int64, device=self.device)
        clean, faulty = self.pair(lambda: networks.resnet50(width=width), images)
        both = {"faults": faulty, "clean": clean}

        def inference(model: nn.Module) -> Callable[[], Any]:
            def call() -> Any:
                with torch.no_grad():
                    return model(images)

            return call

        def training(model: nn.Module) -> Callable[[], Any]:
            optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

            def call() -> None:
                optimizer.zero_grad()
                F.cross_entropy(model(images), labels).backward()
                optimizer.step()

            return call

        called = {name: inference(model) for name, model in both.items()}
        self.beside("3", "ResNet-50, inference: faults / clean", called, None, 0)
        if self.device == "cuda":
            self.beside("3", "ResNet-50, inference in a graph: faults / clean", called, None)
        if not self.quick:
            compiled = {name: inference(torch.compile(model)) for name, model in both.items()}
            self.beside("3", "ResNet-50, compiled inference: faults / clean", compiled, None, 0)
        for model in both.values():
            model.train()
        trained = {name: training(model) for name, model in both.items()}
        self.beside("3", "ResNet-50, training: faults / clean", trained, NETWORK_GOAL, 0)

    def transformer(self) -> None:
        """A decoder's forward pass in bfloat16."""
        sizes = {"vocabulary": 64, "positions": 8, "width": 16, "depth": 1, "heads": 2}
        if not self.quick:
            sizes = {"vocabulary": 50257, "positions": 1024, "width": 2048, "depth": 18, "heads": 16}
        tokens = torch.zeros(1, sizes["positions"], dtype=torch.int64, device=self.device)
        clean, faulty = self.pair(lambda: networks.CausalLanguageModel(**sizes).bfloat16(), tokens)
        count = sum(parameter.numel() for parameter in clean.parameters())

        def forward(model: nn.Module) -> Callable[[], Any]:
            def call() -> Any:
                with torch.no_grad():
                    return model(tokens)

            return call

        calls = {"faults": forward(faulty), "clean": forward(clean)}
        self.beside(
            "4", f"transformer of {count / 1e9:.2f} billion parameters, forward: faults / clean", calls, None, 0
        )

    def others(self) -> None:
        """Sparse sampling, and a Bernoulli mask per bit."""
        for name, method, size, rates in (
            ("sparse by randint", sparse_by_randint, 64 * MIB, RATES[2:5]),
            ("a Bernoulli mask per bit", bernoulli_per_bit, 4 * MIB, RATES[2:5]),
        ):
            x = values(torch.float32, ((1 << 12 if self.quick else size) // 4,), self.device)
            out = torch.empty_like(x)
            for rate in rates:
                given = operator_arguments(x, eden.Uniform(rate))
                calls: dict[str, Callable[[], Any]] = {
                    "other": lambda method=method, x=x, rate=rate: method(x, rate),
                    "read": lambda given=given, out=out: torch.ops.eden.corrupt_out(**given, out=out),
                }
                self.beside("5", f"{name}, {rate:.0e}: it / read", calls, None, 0)

    def text(self, seconds: float) -> str:
        """The page, in Markdown."""
        name = torch.cuda.get_device_name() if self.device == "cuda" else "no GPU: the page's own test"
        lines = [
            "# EDEN on a GPU",
            "",
            f"{name}, torch {torch.__version__}, CUDA {torch.version.cuda}, eden {eden.__version__}; {seconds:.0f} s",
            "",
            "| ratio of times | measured | 95% interval | goal, at most | |",
            "|---|---|---|---|---|",
            *map(_line, self.report.figures),
            *(f"| {name} | left out: no time was left | | | |" for name in self.left_out),
        ]
        return "\n".join(lines) + "\n"


def _line(figure: Figure) -> str:
    if figure.ratio is None:
        return f"| {figure.what} | {figure.error} | | | error |"
    goal = "" if figure.target is None else f"{figure.target:.3g}"
    return f"| {figure.what} | {figure.ratio:.3g} | {figure.low:.3g} to {figure.high:.3g} | {goal} | {figure.verdict} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-report.md"), help="the page (gpu-report.md)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"time for all of it ({SECONDS:.0f})")
    parser.add_argument("--quick", action="store_true", help="small tensors, one round: only to see that it runs")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: only to see that it runs")
    arguments = parser.parse_args()
    if arguments.device == "cuda":
        check = subprocess.run([sys.executable, str(ROOT / "tools" / "check_gpu.py")], check=False)
        if check.returncode != 0:
            return 1
    begin = time.monotonic()
    page = Page(arguments.device, arguments.quick, arguments.seconds)
    # Each with the most that it should take.
    if arguments.device == "cuda":
        page.part("1 the CPU's bits", 0.0, page.bits)
    page.part("2 reads beside a copy", 60.0, page.bandwidth)
    page.part("3 ResNet-50", 120.0, page.resnet)
    page.part("4 a transformer", 60.0, page.transformer)
    page.part("5 other methods", 20.0, page.others)
    page.report.summary()
    arguments.out.write_text(page.text(time.monotonic() - begin))
    print(f"wrote {os.fspath(arguments.out)}")
    return int(any(figure.error for figure in page.report.figures))


if __name__ == "__main__":
    sys.exit(main())
