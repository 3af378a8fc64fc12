"""The operator beside a copy, beside other methods, and inside a network, each figure a ratio measured side by side.

Tables:
(a) reading a tensor into a kept output, over Tensor.copy_ into the same output, for sizes, dtypes, error models, rates,
    on another chip at each read;
(b) beside it what the random numbers alone cost, by eden_bench, where it is built (make bench does so);
(c) float32 kept as int8, over torch's fused fake quantization and over a copy;
(d) other ways to the same flips, over the operator: sparse sampling with torch.randint, a Bernoulli mask per bit;
(e) ResNet-20 with errors in all weights and inputs, images/s over those of the network whose inputs are merely copied,
    in inference, in training on one chip and on a new chip at each step, and the share of the time that is spent in the
    operators;
(f) failures per access over errors that persist; samples that share their cells over samples that do not; weak cells
    that are found anew, on another chip at each access, over those kept from the access before, in a tensor and in
    ResNet-20;
(g) what a call costs, on one element;
(h) int8 in three planes over the whole word, both at one rate;
(i) lines with a rate for each stored value over lines that fail for both at that rate;
(j) storages with codes over those without at one rate, processor time of one thread;
(k) a strided tensor over the dense one, and over a dense copy that is read, processor time of one thread.

How a figure and its interval are found is told in operator_grid.py. The exit status is 0 however the figures turn out,
1 if one of them could not be measured.
"""

import argparse
import copy
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
import torch.nn.functional as F
from operator_grid import (
    DISPERSION,
    DTYPES,
    MIB,
    MODELS,
    RATES,
    TARGETS,
    Budget,
    Report,
    compare,
    one_line,
    operator_arguments,
    size_text,
    values,
)
from torch import Tensor, nn

import eden
from eden.app.models import ResNet
from eden.memory.planes import planes_of
from eden.memory.reading import empty_cache
from eden.memory.region import plane_rows

TABLES = "acdefghijk"
THREADS = 2
PLANES_TARGET = 1.3
CODED = {
    "int8_secded": "int8",
    "int8_sign_tripled": "int8_sign_magnitude",
    "int6_sign_magnitude_hamming": "int8_sign_magnitude",
    "float32_secded": "float32",
    "float32_bch": "float32",
    "float32_mset": "float32",
    "float32_cep": "float32",
}
EDEN_BENCH = Path(__file__).parents[1] / "build" / "eden_bench"

corrupt = torch.ops.eden.corrupt
corrupt_out = torch.ops.eden.corrupt_out


class Sizes:
    """How large and how long everything is: as demanded, or just enough to see that it runs."""

    def __init__(self, quick: bool) -> None:
        self.quick = quick
        self.tensors = (1 << 16, 1 << 12) if quick else (64 * MIB, MIB)
        self.bernoulli = 1 << 12 if quick else 4 * MIB
        self.images = (4, 3, 8, 8) if quick else (128, 3, 32, 32)
        self.batch = (8, 4, 8, 8) if quick else (128, 16, 32, 32)
        self.calls = 3 if quick else 200

    def budget(self, seconds: float, least: int = 6) -> Budget:
        """Of one comparison."""
        return Budget(0.0, 1, 1) if self.quick else Budget(seconds, least, 500)

    def network(self) -> nn.Module:
        """An untrained network."""
        return ResNet(blocks=1, channels=4) if self.quick else ResNet()


CHIPS = itertools.count(1)


def on_new_chips(arguments: dict[str, Any]) -> Callable[..., Tensor | None]:
    """The operator, on a chip at each call that no call had before: no weak cells are kept, nor found to be kept."""
    chip = torch.zeros((), dtype=torch.int64)
    number = chip.numpy()
    changed = arguments | {"chip": chip}

    def read(out: Tensor | None = None) -> Tensor | None:
        number[...] = next(CHIPS)
        return corrupt(**changed) if out is None else corrupt_out(**changed, out=out)  # type: ignore[no-any-return]

    return read


def table_copy(report: Report, sizes: Sizes) -> None:
    report.heading("a", "read into a kept output / Tensor.copy_ into the same output, by bit error rate: at most")
    report.row("", [f"{rate:.0e}" for rate in RATES])
    report.row("demanded: 64 MiB, float32, Uniform", [f"{target:g}" for target in TARGETS])
    if not EDEN_BENCH.is_file():
        print(f"  (b) what the random numbers alone cost is left out: {EDEN_BENCH} is not built")
    for size in sizes.tensors:
        for dtype_name, dtype in DTYPES.items():
            x = values(dtype, (size // dtype.itemsize,))
            out = torch.empty_like(x)
            for model_name, model in MODELS.items():
                label = f"{size_text(size)}, {dtype_name}, {model_name}"
                copy_seconds = table_copy_row(report, sizes, label, x, out, model)
                if EDEN_BENCH.is_file() and model_name == "Uniform" and copy_seconds:
                    random_numbers_row(report, f"{size_text(size)}, {dtype_name}", 8 * size, copy_seconds)


def table_copy_row(
    report: Report, sizes: Sizes, label: str, x: Tensor, out: Tensor, model: Callable[[float], Any]
) -> dict[float, float]:
    """One row of table (a); the median seconds of a copy by rate, where there is a figure."""
    budget = sizes.budget(0.7 if x.nbytes > MIB else 0.25)
    cells, errors, copy_seconds = [], [], {}
    for rate, target in zip(RATES, TARGETS, strict=True):
        try:
            read = on_new_chips(operator_arguments(x, model(rate)))
            times = compare({"corrupt": lambda read=read: read(out), "copy": lambda: out.copy_(x)}, budget)
        except Exception as error:
            errors.append((f"{label}, {rate:.0e}", error))
            cells.append("error")
            continue
        cells.append(
            str(report.add("a", f"{label}, {rate:.0e}", times, "corrupt", "copy", target, copied_bytes=x.nbytes))
        )
        copy_seconds[rate] = times.median("copy")
    if len(errors) == len(RATES) and len({one_line(error) for _, error in errors}) == 1:
        report.fail("a", label, errors[0][1])
        return {}
    report.row(label, cells)
    for what, error in errors:
        report.fail("a", what, error)
    return copy_seconds


def random_numbers_row(report: Report, label: str, cells: int, copy_seconds: dict[float, float]) -> None:
    ratios = []
    for rate, seconds in copy_seconds.items():
        command = [str(EDEN_BENCH), "random-numbers", str(cells), str(rate)]
        runs = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(3)]
        alone = min(float(run.stdout) for run in runs)
        ratios.append(f"{alone / seconds:.3g}")
    report.row(f"  (b) random numbers alone, {label}", ratios)


def table_fused(report: Report, sizes: Sizes) -> None:
    size = sizes.tensors[0]
    report.heading("c", f"float32 kept as int8, {size_text(size)}, scale 0.03, Uniform, by bit error rate")
    report.row("", [f"{rate:.0e}" for rate in RATES])
    x = values(torch.float32, (size // 4,))
    out = torch.empty_like(x)
    scale = torch.tensor(0.03)
    rows: dict[tuple[str, str], list[str]] = {
        ("fresh", "fake"): [],
        ("kept", "fake"): [],
        ("kept", "copy"): [],
        ("fake", "copy"): [],
    }
    for rate in RATES:
        read = on_new_chips(operator_arguments(x, eden.Uniform(rate), storage="int8", scale=scale))
        times = compare(
            {
                "fresh": lambda read=read: read(),
                "kept": lambda read=read: read(out),
                "fake": lambda: torch.fake_quantize_per_tensor_affine(x, 0.03, 0, -127, 127),
                "copy": lambda: out.copy_(x),
            },
            sizes.budget(2.0),
        )
        for (numerator, denominator), cells in rows.items():
            cells.append(str(report.add("c", f"{numerator}/{denominator}, {rate:.0e}", times, numerator, denominator)))
    names = {
        "fresh": "into fresh memory",
        "kept": "into a kept output",
        "fake": "fake_quantize (fresh)",
        "copy": "copy (kept)",
    }
    for (numerator, denominator), cells in rows.items():
        report.row(f"{names[numerator]} / {names[denominator]}", cells, 46)


def sparse_by_randint(x: Tensor, rate: float) -> Tensor:
    """Flips at positions drawn with replacement: what coincides is lost, so it is not exact."""
    y = x.clone()
    words = y.view(torch.int32).view(-1)
    cells = 32 * words.numel()
    count = int(torch.poisson(torch.tensor(rate * cells, dtype=torch.float64)))
    position = torch.randint(cells, (count,), device=x.device)
    word = position >> 5
    mask = torch.ones((), dtype=torch.int32, device=x.device) << (position & 31).to(torch.int32)
    words.scatter_(0, word, words.gather(0, word) ^ mask)
    return y


def bernoulli_per_bit(x: Tensor, rate: float) -> Tensor:
    mask = torch.zeros(x.shape, dtype=torch.int32, device=x.device)
    for bit in range(32):
        mask |= (torch.rand(x.shape, device=x.device) < rate).to(torch.int32) << bit
    return (x.view(torch.int32) ^ mask).view(torch.float32)


def table_peers(report: Report, sizes: Sizes) -> None:
    generator = torch.random.get_rng_state()
    torch.manual_seed(0)
    baselines: Sequence[tuple[str, Callable[[Tensor, float], Tensor], int, tuple[float, ...], float, float]] = (
        ("sparse by randint, clone included", sparse_by_randint, sizes.tensors[0], RATES[:5], 3.0, 2.0),
        ("a Bernoulli mask per bit", bernoulli_per_bit, sizes.bernoulli, RATES[2:5], 100.0, 3.0),
    )
    report.heading("d", "another method / the operator, float32, Uniform, by bit error rate: at least")
    for name, baseline, size, rates, target, seconds in baselines:
        x = values(torch.float32, (size // 4,))
        out = torch.empty_like(x)
        kept, fresh = [], []
        for rate in rates:
            read = on_new_chips(operator_arguments(x, eden.Uniform(rate)))
            times = compare(
                {
                    "peer": lambda x=x, rate=rate, baseline=baseline: baseline(x, rate),
                    "kept": lambda read=read, out=out: read(out),
                    "fresh": lambda read=read: read(),
                },
                sizes.budget(seconds, 3),
            )
            what = f"{name}, {size_text(size)}, {rate:.0e}"
            kept.append(str(report.add("d", f"{what}, kept output", times, "peer", "kept", target, at_least=True)))
            fresh.append(str(report.add("d", f"{what}, fresh memory", times, "peer", "fresh")))
        report.row(f"{name}, {size_text(size)}; demanded {target:g}", [f"{rate:.0e}" for rate in rates], 60)
        report.row("  / the operator into a kept output", kept, 60)
        report.row("  / the operator into fresh memory", fresh, 60)
    torch.random.set_rng_state(generator)


class KeptCopy(torch.autograd.Function):
    """The identity by way of a kept buffer."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, buffer: Tensor) -> Tensor:
        """Fill the buffer and go on with it."""
        buffer.copy_(x)
        return buffer.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """The identity's."""
        return grad, None


def copy_inputs_(model: nn.Module) -> nn.Module:
    """Let every convolution and linear layer read a copy of its input, in a buffer that the layer keeps."""
    for layer in model.modules():
        if not isinstance(layer, (nn.Conv2d, nn.Linear)):
            continue
        buffers: dict[tuple[int, ...], Tensor] = {}

        def read(_: nn.Module, inputs: tuple[Tensor], buffers: dict[tuple[int, ...], Tensor] = buffers) -> Any:
            x = inputs[0]
            if tuple(x.shape) not in buffers:
                buffers[tuple(x.shape)] = torch.empty(x.shape, dtype=x.dtype)
            buffer = buffers[tuple(x.shape)]
            return KeptCopy.apply(x, buffer) if torch.is_grad_enabled() else buffer.copy_(x)

        layer.register_forward_pre_hook(read)
    return model


def table_network(report: Report, sizes: Sizes) -> None:
    batch = sizes.images[0]
    report.heading("e", f"ResNet-20, batch {batch}, Uniform 1e-3 in all weights and inputs: images/s over the others'")
    print("  merely copied: each convolution's and linear layer's input goes through a kept buffer, weights do not")
    x = values(torch.float32, sizes.images)
    target = torch.arange(batch) % 10
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    base = sizes.network()
    torch.random.set_rng_state(state)
    errors = eden.Uniform(1e-3)

    def networks() -> dict[str, nn.Module]:
        result = {"clean": copy.deepcopy(base), "merely copied": copy_inputs_(copy.deepcopy(base))}
        for name, storage, correction in (("float32, zero", "float32", "zero"), ("int8", "int8", "none")):
            model = copy.deepcopy(base)
            eden.inject_(model, eden.Faults(errors, errors, storage=storage, correction=correction))
            eden.calibrate_(model, [x])
            result[name] = model
        return result

    def trained() -> dict[str, nn.Module]:
        result = networks()
        result["int8, zero, fresh"] = copy.deepcopy(base)
        eden.inject_(result["int8, zero, fresh"], eden.Faults(errors, errors, storage="int8", correction="zero"))
        eden.calibrate_(result["int8, zero, fresh"], [x])
        return result

    curricula: list[eden.Curriculum] = []

    def inference(model: nn.Module) -> Callable[[], Any]:
        model.eval()

        def run() -> Tensor:
            with torch.inference_mode():
                return model(x)

        return run

    def training(model: nn.Module) -> Callable[[], Any]:
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

        def run() -> None:
            optimizer.zero_grad()
            F.cross_entropy(model(x), target).backward()
            optimizer.step()

        return run

    report.row("", ["/ merely copied: >= 0.95", "/ clean", "images/s: its own", "merely copied", "clean"])
    for name, make, models, seconds in (
        ("inference", inference, networks(), 12.0),
        ("training", training, trained(), 30.0),
    ):
        if "int8, zero, fresh" in models:
            # A new chip at each step, as a curriculum's default has it: no weak cell is kept from the step before.
            given = models["int8, zero, fresh"]
            curricula.append(eden.Curriculum(given, errors.ber, epochs=1, chips="fresh", schedule="constant"))
        runs = {key: make(model) for key, model in models.items()}
        times = compare(runs, sizes.budget(seconds))
        for key in list(models)[2:]:
            what = f"{name}, {key}"
            # Seconds are the inverse of images/s.
            copied = report.add("e", f"{what} / copied", times, "merely copied", key, 0.95, at_least=True)
            clean = report.add("e", f"{what} / clean", times, "clean", key)
            rates = [f"{batch / times.median(candidate):.4g}" for candidate in (key, "merely copied", "clean")]
            report.row(what, [str(copied), str(clean), *rates])
        report.add("e", f"{name}, merely copied / clean", times, "clean", "merely copied")
        for key in list(models)[2:]:
            report.row(f"{name}, {key}", [f"the operators' share of a step's time: {operators_share(runs[key]):.0%}"])


def operators_share(run: Callable[[], Any], steps: int = 5) -> float:
    """The share of the processor time of some steps that is spent in this package's own operators."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(steps):
            run()
    times = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    return sum(time for key, time in times.items() if key.startswith("eden::")) / sum(times.values())


def table_accesses(report: Report, sizes: Sizes) -> None:
    size, rates = sizes.tensors[0], RATES[2:]
    report.heading("f", "failures per access, and batches, by bit error rate")
    report.row("", [f"{rate:.0e}" for rate in rates], 60)
    x = values(torch.float32, (size // 4,))
    out = torch.empty_like(x)
    cells = []
    for rate in rates:
        persistent, failing = (on_new_chips(operator_arguments(x, eden.Uniform(rate, f))) for f in (1.0, 0.5))
        times = compare(
            {
                "failure 1/2": lambda read=failing: read(out),
                "failure 1": lambda read=persistent: read(out),
            },
            sizes.budget(1.5),
        )
        cells.append(str(report.add("f", f"failure 1/2 / failure 1, {rate:.0e}", times, "failure 1/2", "failure 1")))
    report.row(f"failure 1/2 / failure 1, float32, {size_text(size)}", cells, 60)

    x = values(torch.float32, sizes.batch)
    out = torch.empty_like(x)
    shared_over_own, shared_over_copy = [], []
    for rate in rates:
        shared, own = (on_new_chips(operator_arguments(x, eden.Uniform(rate), batch_dim=dim)) for dim in (0, -1))
        times = compare(
            {
                "shared": lambda read=shared: read(out),
                "own": lambda read=own: read(out),
                "copy": lambda: out.copy_(x),
            },
            sizes.budget(1.0),
        )
        shared_over_own.append(str(report.add("f", f"shared / own cells, {rate:.0e}", times, "shared", "own")))
        shared_over_copy.append(str(report.add("f", f"shared cells / copy, {rate:.0e}", times, "shared", "copy")))
    shape = " x ".join(map(str, sizes.batch))
    report.row(f"batch of {shape}: shared cells / own cells", shared_over_own, 60)
    report.row(f"batch of {shape}: shared cells / copy", shared_over_copy, 60)
    tensor_kept(report, sizes)
    network_kept(report, sizes)


def tensor_kept(report: Report, sizes: Sizes) -> None:
    """Rows of table (f): a tensor's weak cells found anew over kept."""
    size, rates = sizes.tensors[0], RATES[:4]
    x = values(torch.float32, (size // 4,))
    out = torch.empty_like(x)
    report.row("found anew / kept from the access before", [f"{rate:.0e}" for rate in rates], 60)
    for name, model in MODELS.items():
        cells = []
        for rate in rates:
            kept = operator_arguments(x, model(rate))
            anew = on_new_chips(kept)
            # Cells are kept from the second access on, and found in the list from the third. There is room for them.
            empty_cache()
            for _ in range(2):
                corrupt_out(**kept, out=out)
            times = compare(
                {"anew": lambda read=anew: read(out), "kept": lambda a=kept: corrupt_out(**a, out=out)},
                sizes.budget(1.0),
            )
            cells.append(str(report.add("f", f"anew / kept, {name}, {rate:.0e}", times, "anew", "kept")))
        report.row(f"  float32, {size_text(size)}, {name}", cells, 60)


def network_kept(report: Report, sizes: Sizes) -> None:
    """Rows of table (f): a network's weak cells found anew over kept."""
    x = values(torch.float32, sizes.images)
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    base = sizes.network().eval()
    torch.random.set_rng_state(state)
    for name, model in MODELS.items():
        errors = model(1e-3)
        kept, anew = copy.deepcopy(base), copy.deepcopy(base)
        for network in (kept, anew):
            eden.inject_(network, eden.Faults(errors, errors, storage="float32", correction="zero"))
            eden.calibrate_(network, [x])
        chips = [buffer for key, buffer in anew.named_buffers() if key.endswith("eden_chip")]

        def run(network: nn.Module) -> None:
            with torch.inference_mode():
                network(x)

        def another_chip(chips: list[Tensor] = chips, network: nn.Module = anew) -> None:
            for chip in chips:
                chip.add_(1)
            run(network)

        run(kept)
        times = compare({"anew": another_chip, "kept": lambda network=kept: run(network)}, sizes.budget(3.0))
        figure = report.add("f", f"anew / kept, ResNet-20, {name}, 1e-03", times, "anew", "kept")
        report.row(f"  ResNet-20, batch {x.shape[0]}, float32, zero, {name} 1e-3", [str(figure)], 60)


def table_call(report: Report, sizes: Sizes) -> None:
    report.heading("g", "a call on one float32 element, Uniform 1e-3, over Tensor.copy_")
    x = values(torch.float32, (1,))
    out = torch.empty_like(x)
    errors = eden.Uniform(1e-3)
    arguments = operator_arguments(x, errors)
    calls: dict[str, Callable[[], Any]] = {
        "torch.ops.eden.corrupt_out": lambda: corrupt_out(**arguments, out=out),
        "torch.ops.eden.corrupt": lambda: corrupt(**arguments),
        "eden.corrupt, out given": lambda: eden.corrupt(x, errors, out=out),
        "eden.corrupt": lambda: eden.corrupt(x, errors),
        "Tensor.clone": lambda: x.clone(),
        "Tensor.copy_": lambda: out.copy_(x),
    }

    def repeated(call: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(sizes.calls):
                call()

        return run

    times = compare({name: repeated(call) for name, call in calls.items()}, sizes.budget(2.0))
    report.row("", ["/ Tensor.copy_", "microseconds"])
    for name in calls:
        figure = report.add("g", name, times, name, "Tensor.copy_")
        report.row(name, [str(figure), f"{1e6 * times.median(name) / sizes.calls:.3g}"])


def in_planes(x: Tensor, model: Any, groups: Sequence[str], **others: Any) -> dict[str, Any]:
    """Arguments of the operator for a tensor whose int8 words lie in planes, one behind the other."""
    planes = planes_of(groups)
    pieces = {plane: ((model, i << 40, x.numel() * len(plane)),) for i, plane in enumerate(planes)}
    rows, table = plane_rows(pieces, x.numel())
    entries = None if table is None else torch.from_numpy(table)
    return operator_arguments(x, model, storage="int8", region=torch.tensor(rows), table=entries, **others)


def table_planes(report: Report, sizes: Sizes) -> None:
    size = sizes.tensors[0]
    report.heading("h", f"int8 in planes 7, 6:5 and 4:0 / whole words, {size_text(size)} of values, by bit error rate")
    report.row("", [f"{rate:.0e}" for rate in RATES])
    report.row("demanded", [f"{PLANES_TARGET:g}"] * len(RATES))
    for dtype in (torch.float32, torch.int8):
        x = values(dtype, (size // 4,))
        out = torch.empty_like(x)
        scale = {"scale": torch.tensor(0.03)} if dtype == torch.float32 else {}
        for model_name, model in MODELS.items():
            cells = []
            for rate in RATES:
                planes = on_new_chips(in_planes(x, model(rate), ["7", "6:5", "4:0"], **scale))
                whole = on_new_chips(operator_arguments(x, model(rate), storage="int8", **scale))
                times = compare(
                    {"planes": lambda read=planes, out=out: read(out), "whole": lambda read=whole, out=out: read(out)},
                    sizes.budget(1.0),
                )
                name = f"{dtype}, {model_name}, {rate:.0e}"
                cells.append(str(report.add("h", name, times, "planes", "whole", PLANES_TARGET)))
            report.row(f"{str(dtype).removeprefix('torch.')}, {model_name}", cells)


def own_time(call: Callable[[], Any]) -> float:
    """Seconds of this thread's processor time that one call takes: what else runs on the machine counts little."""
    begin = time.thread_time()
    call()
    return time.thread_time() - begin


def table_by_value(report: Report, sizes: Sizes) -> None:
    # Earlier commits, whose package operator_pairs.py has here, have none.
    from eden.memory.lines_by_value import Marks

    size = sizes.tensors[1]
    what = "lines with a rate for each stored value / lines, processor time of one thread"
    report.heading("i", f"{what}, {size_text(size)}, float32, by bit error rate")
    torch.set_num_threads(1)
    report.row("", [f"{rate:.0e}" for rate in RATES])
    x = values(torch.float32, (size // 4,))
    out = torch.empty_like(x)
    for kind, marks in itertools.product((eden.Bitline, eden.Wordline), get_args(Marks)):
        cells = []
        for rate in RATES:
            two = kind.by_value(ber_zero=rate, ber_one=rate, dispersion=DISPERSION, marks=marks)
            forms = {
                name: on_new_chips(operator_arguments(x, model))
                for name, model in (("by value", two), ("lines", kind(rate, DISPERSION)))
            }
            runs = {name: (lambda read=read, out=out: read(out)) for name, read in forms.items()}
            name = f"{kind.__name__}, {marks}, {rate:.0e}"
            cells.append(str(report.add("i", name, compare(runs, sizes.budget(0.5), own_time), "by value", "lines")))
        report.row(f"{kind.__name__}, {marks}", cells)
    torch.set_num_threads(THREADS)


def table_codes(report: Report, sizes: Sizes) -> None:
    size = sizes.tensors[0]
    what = "float32 kept with a code / without, processor time of one thread"
    report.heading("j", f"{what}, {size_text(size)}, by bit error rate")
    torch.set_num_threads(1)
    report.row("", [f"{rate:.0e}" for rate in RATES])
    x = values(torch.float32, (size // 4,))
    out = torch.empty_like(x)
    for model, (coded, plain) in itertools.product(("Uniform", "DataDependent"), CODED.items()):
        scale = {"scale": torch.tensor(0.03)} if plain.startswith("int8") else {}
        cells = []
        for rate in RATES:
            forms = {
                name: on_new_chips(operator_arguments(x, MODELS[model](rate), storage=name, **scale))
                for name in (coded, plain)
            }
            runs = {name: (lambda read=read, out=out: read(out)) for name, read in forms.items()}
            name = f"{model}, {coded}, {rate:.0e}"
            cells.append(str(report.add("j", name, compare(runs, sizes.budget(0.7), own_time), coded, plain)))
        report.row(f"{model}, {coded}", cells, 46)
    torch.set_num_threads(THREADS)


def table_strided(report: Report, sizes: Sizes) -> None:
    channels = 64 if sizes.quick else 768
    tokens = 2 if sizes.quick else 197
    wide = values(torch.float32, (16, tokens, 3 * channels))
    images = values(torch.float32, (16, 2 * channels, 4, 4))
    strided = {
        "a third of a projection": wide.chunk(3, -1)[1],
        "half of the channels": images[:, channels:],
        "batch and tokens transposed": wide[..., :channels].contiguous().transpose(0, 1),
        "one sample, expanded": wide[:1, :, :channels].expand(16, tokens, channels),
    }
    report.heading("k", "a strided float32 tensor, processor time of one thread, over ...")
    torch.set_num_threads(1)
    report.row("", [f"{what}, {rate:.0e}" for rate in (1e-6, 1e-3) for what in ("dense", "copied")])
    for label, x in strided.items():
        dense, cells = x.contiguous(), []
        for rate in (1e-6, 1e-3):
            errors = eden.Uniform(rate)
            runs: dict[str, Callable[[], Any]] = {
                "strided": lambda x=x, errors=errors: eden.corrupt(x, errors),  # type: ignore[misc]
                "dense": lambda dense=dense, errors=errors: eden.corrupt(dense, errors),  # type: ignore[misc]
                "copied": lambda x=x, errors=errors: eden.corrupt(x.contiguous(), errors),  # type: ignore[misc]
            }
            times = compare(runs, sizes.budget(1.5), own_time)
            for what in ("dense", "copied"):
                cells.append(str(report.add("k", f"{label}, {what}, {rate:.0e}", times, "strided", what)))
        report.row(label, cells, 46)
    torch.set_num_threads(THREADS)


RUNNERS: dict[str, Callable[[Report, Sizes], None]] = {
    "a": table_copy,
    "c": table_fused,
    "d": table_peers,
    "e": table_network,
    "f": table_accesses,
    "g": table_call,
    "h": table_planes,
    "i": table_by_value,
    "j": table_codes,
    "k": table_strided,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny tensors, one round: only to see that it runs")
    parser.add_argument("--only", choices=TABLES, action="append", help="this table alone; may be given again")
    parser.add_argument("--json", type=Path, help="write all figures to this file too")
    arguments = parser.parse_args()
    sizes = Sizes(arguments.quick)
    before = torch.get_num_threads()
    threads = 1 if arguments.quick else THREADS
    torch.set_num_threads(threads)
    report = Report()
    print(f"torch {torch.__version__}, {threads} thread(s)")
    print("a figure: median of paired ratios, [its 95% interval], ratio of the minima, verdict on the median")
    if arguments.quick:
        print("--quick: too small and too short for the figures below to mean anything")
    try:
        for table in arguments.only or TABLES:
            try:
                RUNNERS[table](report, sizes)
            except Exception as error:
                report.fail(table, f"table ({table})", error)
    finally:
        torch.set_num_threads(before)
    report.summary()
    if arguments.json:
        report.write(arguments.json, {"torch": torch.__version__, "threads": threads, "quick": arguments.quick})
    return int(any(figure.error for figure in report.figures))


if __name__ == "__main__":
    sys.exit(main())
