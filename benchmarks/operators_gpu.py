"""The operator on a GPU: achieved bandwidth beside a device copy, over the grid of benchmarks/operators.py.

Bandwidth counts every byte of the tensor twice, read once and written once. Each candidate is a CUDA graph of many
calls, so that what the host needs to launch them is not in the time, and is timed with CUDA events on the device; the
ratio to a copy is the median over rounds that time both, with its interval (operator_grid.py). The large size is beyond
every cache, the small ones may not be. The exit status is 0 however the figures turn out, 1 if one of them could not be
measured or there is no CUDA device.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from operator_grid import DTYPES, MIB, MODELS, RATES, Budget, Report, Times, compare, operator_arguments, size_text
from operator_grid import values as make_values
from torch import Tensor

import eden

WARM_UP_CALLS = 3


def captured(call: Callable[[], Any], repeats: int) -> torch.cuda.CUDAGraph:
    """A graph of ``repeats`` calls; what they read and write must outlive it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP_CALLS):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            call()
    return graph


def device_clock(repeats: int) -> Callable[[Callable[[], Any]], float]:
    """A timer for `compare`: seconds on the device of one of the calls in a graph."""

    def seconds(replay: Callable[[], Any]) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / repeats

    return seconds


def beside_a_copy(arguments: dict[str, Any], x: Tensor, out: Tensor, repeats: int, budget: Budget) -> Times:
    """Times of the operator and of a copy between the same two tensors."""
    corrupt_out = torch.ops.eden.corrupt_out
    graphs = {
        "corrupt": captured(lambda: corrupt_out(**arguments, out=out), repeats),
        "copy": captured(lambda: out.copy_(x), repeats),
    }
    times = compare({name: graph.replay for name, graph in graphs.items()}, budget, device_clock(repeats))
    # The graphs end before what they read does.
    torch.cuda.synchronize()
    return times


def grid_row(
    report: Report,
    label: str,
    x: Tensor,
    out: Tensor,
    arguments_at: Callable[[float], dict[str, Any]],
    repeats: int,
    budget: Budget,
) -> None:
    cells, failed = [], []
    for rate in RATES:
        what = f"{label}, {rate:.0e}"
        try:
            times = beside_a_copy(arguments_at(rate), x, out, repeats, budget)
        except Exception as error:
            failed.append((what, error))
            cells.append("error")
            continue
        report.add("gpu", what, times, "corrupt", "copy")
        ratio, low, high = times.ratio("corrupt", "copy")
        bandwidth = 2 * x.nbytes / times.median("corrupt") / 1e9
        copied = 2 * x.nbytes / times.median("copy") / 1e9
        cells.append(f"{bandwidth:.0f} of {copied:.0f}, {ratio:.2f} [{low:.2f} {high:.2f}]")
    if failed and len(failed) == len(RATES) and len({str(error) for _, error in failed}) == 1:
        report.fail("gpu", label, failed[0][1])
        return
    report.row(label, cells, 38, 34)
    for what, error in failed:
        report.fail("gpu", what, error)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small tensors, one round: only to see that it runs")
    parser.add_argument("--json", type=Path, help="write all figures to this file too")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("benchmarks/operators_gpu.py: torch finds no CUDA device here; this measures one", file=sys.stderr)
        return 1
    # Size in bytes and calls in a graph.
    grid = ((64 * 1024, 2),) if arguments.quick else ((512 * MIB, 5), (64 * MIB, 20), (MIB, 200))
    budget = Budget(0.0, 1, 1) if arguments.quick else Budget(0.1, 9, 99)
    device = torch.cuda.get_device_properties(0)
    report = Report()
    print(f"torch {torch.__version__}, {device.name}, L2 cache {getattr(device, 'L2_cache_size', 0) // MIB} MiB")
    print("a figure: GB/s (10^9 bytes read and written) of corrupt, of copy, ratio of their times [95% interval]")
    report.heading("gpu", "read into a kept output, by bit error rate")
    report.row("", [f"{rate:.0e}" for rate in RATES], 38, 34)
    for size, repeats in grid:
        for dtype_name, dtype in DTYPES.items():
            x = make_values(dtype, (size // dtype.itemsize,), "cuda")
            out = torch.empty_like(x)
            for model_name, model in MODELS.items():
                label = f"{size_text(size)}, {dtype_name}, {model_name}"
                grid_row(
                    report,
                    label,
                    x,
                    out,
                    lambda rate, x=x, model=model: operator_arguments(x, model(rate)),
                    repeats,
                    budget,
                )
            if dtype == torch.float32:
                scale = torch.tensor(0.03, device="cuda")
                grid_row(
                    report,
                    f"{size_text(size)}, float32 kept as int8, Uniform",
                    x,
                    out,
                    lambda rate, x=x, scale=scale: operator_arguments(
                        x, eden.Uniform(rate), storage="int8", scale=scale
                    ),
                    repeats,
                    budget,
                )
            del x, out
            torch.cuda.empty_cache()
    report.summary()
    if arguments.json:
        report.write(arguments.json, {"torch": torch.__version__, "device": device.name, "quick": arguments.quick})
    return int(any(figure.error for figure in report.figures))


if __name__ == "__main__":
    sys.exit(main())
