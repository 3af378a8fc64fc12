"""Does a profile's statement hold, are its limits merely low, and what does it cost beside a sweep?

The sweep is ``strategy="sweep"``: the coarse rate by bisection on quarter octaves, then one operand raised by half an
octave at a time, round and round, each until a step of its own fails. Each step is a test of its own with a fixed
number of observations: twice those that the step's level (1 - confidence over the most steps that there can be,
Bonferroni) takes if no score drops, so that a step passes whose drop is half of ``max_drop``. Networks, confidence and
the samples of an observation are the same for both.

(a) Simulated networks, whose mean drop over chips is known for all rates: of ``--searches`` searches, how many end with
    limits (and coarse rates) that violate ``max_drop``, with the probability of as many or more if each violated with
    probability 1 - confidence (below 0.001 the run fails), and with the upper end of a 95% interval of Clopper and
    Pearson; how many violate after all rates are multiplied by 1.5; the drop at the limits over ``max_drop``;
    observations.
(b) Simulated networks of 6 to 112 operands (a ResNet-56 has 112) beside the sweep: observations, their ratio, and what
    the limits are worth, the mean over bytes of log10 BER.
(c) The growth of the cost with the number of operands, the samples of an observation, ``max_drop``, ``confidence`` and
    ``effort``, one at a time beside 40 operands, 64 samples, 0.01, 0.95 and 6; ``--figure`` draws it.
(d) With ``--task``: a network, profiled by both strategies. Without ``--sweep`` the sweep runs on a simulation made of
    what the profile measured of each operand alone, because on a network it takes days. The limits are then evaluated
    on ``--chips`` chips that no search used, by a loop that shares nothing with the search.
(e) What a profile does not compute twice: calls of layers under faults, and how many of them come before the operand
    that is raised alone and after the first time that its chip and samples came. Counted exactly, for the trials of a
    search on a simulated network of as many operands, in the order in which each network calls its layers. Besides,
    as ratios of two times measured in turns: an observation under ``torch.inference_mode`` beside ``torch.no_grad``,
    and the convolutions of 4 chips as groups of one beside 4 of them.

Simulated chips: a chip's drop is the mean times a log-normal factor, which is the chip's at all rates; in "ruinous" 90%
of the mean comes from chips that lose 0.8. An observation adds the noise of its samples: 4% of the scores change either
way besides the drop.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from scipy import stats

from eden import _core

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import nn

FLOOR, CEILING = 1e-9, 0.5
LEAST_TAIL = 1e-3
FACTOR = 1.5
MASK = 2**64 - 1


def _uniform(key: int, stream: int) -> float:
    """A number in (0, 1) from a key, by the finalizer of SplitMix64 (Steele, Lea and Flood 2014)."""
    z = (key + stream * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return ((z ^ (z >> 31)) + 0.5) / 2**64


def _normal(key: int, stream: int) -> float:
    radius = math.sqrt(-2.0 * math.log(_uniform(key, stream)))
    return radius * math.cos(2.0 * math.pi * _uniform(key, stream + 1))


@dataclass(frozen=True)
class Network:
    """A network without layers: what its scores lose is a function of the rates."""

    name: str
    sensitivity: tuple[float, ...]
    """Alone, operand i loses (sensitivity x rate) ^ power on average."""
    size: tuple[int, ...]
    power: tuple[float, ...] = ()
    interaction: float = 0.0
    """Neighbours lose this times the geometric mean of what they lose alone, besides."""
    dips: float = 0.0
    """Part of its drop that an operand does not lose in a dip, an octave wide, at a rate of its own."""
    chip_noise: float = 0.5
    ruin: float = 0.0
    batch: int = 64
    churn: float = 0.04

    def mean(self, rates: Sequence[float]) -> float:
        """Mean drop over chips; a little less where a chip's drop is cut at 0.9."""
        alone = []
        for i, rate in enumerate(rates):
            drop = (self.sensitivity[i] * rate) ** (self.power[i] if self.power else 1.0)
            if self.dips:
                # Where the operand alone would lose about 0.005.
                centre = math.log2(0.005 ** (1.0 / (self.power[i] if self.power else 1.0)) / self.sensitivity[i])
                drop *= 1.0 - self.dips * math.exp(-(((math.log2(rate) - centre) / 0.5) ** 2))
            alone.append(drop)
        total = sum(alone)
        if self.interaction:
            total += self.interaction * sum(math.sqrt(a * b) for a, b in itertools.pairwise(alone))
        return 0.8 * total / (total + 0.8)

    def worth(self, limits: Sequence[float]) -> float:
        """Mean over bytes of log10 BER."""
        return worth(limits, self.size)


def worth(limits: Sequence[float], sizes: Sequence[float]) -> float:
    """Mean over bytes of log10 BER."""
    return sum(size * math.log10(limit) for limit, size in zip(limits, sizes, strict=True)) / sum(sizes)


@dataclass
class Simulation:
    """Answers a search for a simulated network."""

    network: Network
    _rates: list[float] = field(default_factory=list)
    _mean: float = 0.0

    def evaluate(self, trial: _core.Trial) -> float:
        """The difference that the chip and the samples of the trial show."""
        network = self.network
        rates = trial.rates
        if rates != self._rates:
            self._rates, self._mean = rates, network.mean(rates)
        chip = trial.chip & MASK
        if network.ruin and _uniform(chip, 1) < network.ruin * self._mean / 0.8:
            drop = 0.8
        else:
            sigma = network.chip_noise
            factor = math.exp(sigma * _normal(chip, 2) - 0.5 * sigma * sigma)
            drop = min(0.9, (1.0 - network.ruin) * self._mean * factor)
        deviation = math.sqrt((drop + network.churn) / network.batch)
        return max(-1.0, min(1.0, drop + deviation * _normal((trial.draw_seed + trial.id) & MASK, 4)))


@dataclass(frozen=True)
class Settings:
    """What is asked of a search."""

    max_drop: float
    confidence: float
    strategy: str = "shares"
    effort: float = 6.0


@dataclass(frozen=True)
class Outcome:
    """How a search ended."""

    observations: int
    phases: dict[str, int]
    drop: float
    coarse_drop: float
    raised: float
    coarse_raised: float
    worth: float
    back_offs: int
    message: str


def search(network: Network, settings: Settings, seed: int) -> Outcome:
    """One search on a simulated network."""
    operands = [(f"operand{i}", size, CEILING) for i, size in enumerate(network.size)]
    found = _core.Search(
        operands=operands,
        max_drop=settings.max_drop,
        confidence=settings.confidence,
        floor=FLOOR,
        seed=seed,
        strategy=settings.strategy,
        effort=settings.effort,
    )
    simulation = Simulation(network)
    phases: dict[str, int] = {}
    while (trial := found.next_trial()) is not None:
        phase = trial.phase
        phases[phase] = phases.get(phase, 0) + 1
        found.report(trial.id, simulation.evaluate(trial))
    if found.state != "done":
        return Outcome(found.trials, phases, *(math.nan,) * 5, 0, found.message)
    limits, coarse = found.limits, [found.coarse] * len(operands)
    certificates = (found.coarse_certificate, found.limits_certificate)
    return Outcome(
        found.trials,
        phases,
        network.mean(limits),
        network.mean(coarse),
        network.mean([FACTOR * rate for rate in limits]),
        network.mean([FACTOR * rate for rate in coarse]),
        network.worth(limits),
        sum(certificate.back_offs for certificate in certificates if certificate is not None),
        "",
    )


def _job(arguments: tuple[Network, Settings, int]) -> Outcome:
    return search(*arguments)


def searches(
    pool: ProcessPoolExecutor | None, network: Network, settings: Settings, seeds: Sequence[int]
) -> list[Outcome]:
    """One search for each seed."""
    jobs = [(network, settings, seed) for seed in seeds]
    return list(map(_job, jobs) if pool is None else pool.map(_job, jobs))


def of_size(operands: int) -> Network:
    """A network of that many operands, sensitivities and sizes over three orders of magnitude."""
    random = np.random.default_rng(operands)
    return Network(
        f"{operands} operands",
        tuple(10.0 ** random.uniform(-1, 2, operands)),
        tuple(int(size) for size in 10.0 ** random.uniform(2, 5, operands)),
        tuple(random.uniform(0.8, 2.0, operands)),
    )


def networks() -> list[Network]:
    """The networks of (a)."""
    ordinary = Network("ordinary", (200.0, 3.0, 1.0, 0.3, 0.1, 20.0), (300, 5000, 900, 40000, 9000, 60))
    return [
        ordinary,
        replace(ordinary, name="steep", power=(2.0,) * 6),
        replace(ordinary, name="mixed powers", power=(0.8, 2.5, 1.0, 1.7, 0.8, 2.0)),
        replace(ordinary, name="interacting", interaction=3.0),
        replace(ordinary, name="dipping", dips=0.9),
        replace(ordinary, name="loud chips", chip_noise=1.5),
        replace(ordinary, name="ruinous chips", ruin=0.9),
        replace(of_size(40), interaction=0.5, dips=0.5, name="40, all of it"),
    ]


def row(cells: Sequence[object], widths: Sequence[int]) -> str:
    """Cells in columns, the first to the left."""
    texts = [f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells]
    return "  ".join([texts[0].ljust(widths[0])] + [t.rjust(w) for t, w in zip(texts[1:], widths[1:], strict=True)])


def statement(pool: ProcessPoolExecutor | None, count: int, settings: Settings) -> bool:
    """Table (a); whether no network violates more often than chance allows."""
    print(
        f"(a) {count} searches each, max_drop {settings.max_drop:g}, confidence {settings.confidence:g}: limits | "
        "coarse rates that violate"
    )
    heads = ("network", "done", "violate", "tail", "at most", f"x{FACTOR}", "drop/max_drop 5%", "50%", "95%")
    heads += ("| violate", "tail", f"x{FACTOR}", "| observations", "back-offs")
    widths = [max(13, len(heads[0])), *(max(6, len(head)) for head in heads[1:])]
    print(row(heads, widths))
    held = True
    for network in networks():
        found = searches(pool, network, settings, range(count))
        done = [outcome for outcome in found if not outcome.message]
        for outcome in found:
            if outcome.message:
                print(f"  {network.name}: {outcome.message}")
        if not done:
            held = False
            continue
        bound = settings.max_drop
        limits = sum(outcome.drop > bound for outcome in done)
        coarse = sum(outcome.coarse_drop > bound for outcome in done)
        tails = [float(stats.binom.sf(bad - 1, len(done), 1.0 - settings.confidence)) for bad in (limits, coarse)]
        most = 1.0 if limits == len(done) else float(stats.beta.ppf(0.95, limits + 1, len(done) - limits))
        held = held and min(tails) >= LEAST_TAIL and len(done) == count
        parts = np.quantile([outcome.drop / bound for outcome in done], [0.05, 0.5, 0.95])
        raised = sum(outcome.raised > bound for outcome in done)
        coarse_raised = sum(outcome.coarse_raised > bound for outcome in done)
        cells = (network.name, len(done), limits, tails[0], most, f"{raised / len(done):.0%}")
        cells += tuple(f"{part:.2f}" for part in parts)
        cells += (coarse, tails[1], f"{coarse_raised / len(done):.0%}")
        cells += (
            f"{statistics.mean(outcome.observations for outcome in done):.0f}",
            f"{statistics.mean(outcome.back_offs for outcome in done):.2f}",
        )
        print(row(cells, widths), flush=True)
    return held


def against_sweep(pool: ProcessPoolExecutor | None, count: int, settings: Settings, sizes: Sequence[int]) -> None:
    """Table (b)."""
    print(f"\n(b) the search beside the sweep, medians of {count} runs each")
    heads = ("network", "a step's", "observations", "the sweep's", "ratio", "worth", "the sweep's", "drop/max_drop")
    heads += ("the sweep's",)
    widths = [14, *(max(8, len(head)) for head in heads[1:])]
    print(row(heads, widths))
    for size in sizes:
        network = of_size(size)
        ours = searches(pool, network, settings, range(count))
        sweeps = searches(pool, network, replace(settings, strategy="sweep"), range(count))
        each = _core.Search(
            operands=[("", byte, CEILING) for byte in network.size],
            max_drop=settings.max_drop,
            confidence=settings.confidence,
            floor=FLOOR,
            strategy="sweep",
        ).steps[1]

        def median(of: Callable[[Outcome], float], outcomes: list[Outcome]) -> float:
            return statistics.median(of(outcome) for outcome in outcomes)

        few, many = (median(lambda outcome: outcome.observations, outcomes) for outcomes in (ours, sweeps))
        worths = [f"{median(lambda outcome: outcome.worth, outcomes):.3f}" for outcomes in (ours, sweeps)]
        drops = [f"{median(lambda outcome: outcome.drop, of) / settings.max_drop:.2f}" for of in (ours, sweeps)]
        cells = (network.name, each, f"{few:.0f}", f"{many:.0f}", f"{many / few:.1f}", *worths, *drops)
        print(row(cells, widths), flush=True)


AXES: dict[str, tuple[Any, ...]] = {
    "operands": (6, 10, 16, 40, 112),
    "samples": (16, 64, 256, 1024),
    "max_drop": (0.02, 0.01, 0.005),
    "confidence": (0.8, 0.95, 0.99),
    "effort": (3.0, 6.0, 12.0),
}
"""What the cost grows with, and the values tried."""

_USUAL: dict[str, Any] = {"operands": 40, "samples": 64, "max_drop": 0.01, "confidence": 0.95, "effort": 6.0}


@dataclass(frozen=True)
class Cost:
    """Medians over searches."""

    observations: float
    confirming: float
    samples: float
    drop: float


def growth(pool: ProcessPoolExecutor | None, count: int) -> dict[str, dict[float, Cost]]:
    """Table (c), by what varies and its value."""
    print(f"\n(c) the growth of the cost, medians of {count} searches on simulated networks")
    heads = ("varied", "value", "observations", "of them to confirm", "sample-forwards", "drop/max_drop")
    widths = [10, *(max(8, len(head)) for head in heads[1:])]
    print(row(heads, widths))
    known: dict[tuple[Any, ...], Cost] = {}
    table: dict[str, dict[float, Cost]] = {}
    for axis, values in AXES.items():
        for value in values:
            at = {**_USUAL, axis: value}
            key = tuple(at.values())
            if key not in known:
                network = replace(of_size(at["operands"]), batch=at["samples"])
                settings = Settings(at["max_drop"], at["confidence"], effort=at["effort"])
                found = [each for each in searches(pool, network, settings, range(count)) if not each.message]
                if not found:
                    continue
                observations = statistics.median(outcome.observations for outcome in found)
                known[key] = Cost(
                    observations,
                    statistics.median(o.phases["coarse confirmation"] + o.phases["confirmation"] for o in found),
                    observations * at["samples"],
                    statistics.median(outcome.drop for outcome in found) / at["max_drop"],
                )
            cost = known[key]
            table.setdefault(axis, {})[value] = cost
            cells = (axis, f"{value:g}", f"{cost.observations:.0f}", f"{cost.confirming:.0f}", f"{cost.samples:.0f}")
            print(row((*cells, f"{cost.drop:.2f}"), widths), flush=True)
    return table


def logarithmic(plot: Axes, axis: Literal["x", "y"], values: Sequence[float]) -> None:
    """Make an axis logarithmic, with ticks at the values, as numbers that need no formulas."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    if axis == "x":
        plot.set_xscale("log")
    else:
        plot.set_yscale("log")
    drawn = plot.xaxis if axis == "x" else plot.yaxis
    drawn.set_major_locator(FixedLocator(sorted(values)))
    drawn.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}" if value < 1e4 else f"{value / 1e6:.2g} M"))
    drawn.set_minor_formatter(NullFormatter())


def growth_figure(table: dict[str, dict[float, Cost]]) -> Figure:
    """Observations of a search against what its cost grows with, and the sample-forwards where that differs."""
    from matplotlib.figure import Figure

    from eden.reporting.figures import COLOURS, styled

    labels = {
        "operands": "operands",
        "samples": "samples of an observation",
        "max_drop": "1 / max_drop",
        "confidence": "ln(1 / (1 - confidence))",
        "effort": "effort",
    }
    with styled():
        figure = Figure(figsize=(7.4, 4.4), layout="constrained")
        plots = figure.subplots(2, 3).ravel()
        for plot, (axis, costs) in zip(plots, table.items(), strict=False):
            places = {"max_drop": lambda v: 1.0 / v, "confidence": lambda v: -math.log(1.0 - v)}.get(axis, float)
            x = [places(value) for value in costs]
            plot.plot(x, [cost.observations for cost in costs.values()], "o-", color=COLOURS[0], label="all")
            plot.plot(x, [cost.confirming for cost in costs.values()], "s--", color=COLOURS[1], label="to confirm")
            plot.set_xlabel(labels[axis])
            plot.set_ylim(bottom=0)
            plot.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            if axis in ("operands", "samples"):
                logarithmic(plot, "x", x)
        plots[0].set_ylabel("observations")
        plots[3].set_ylabel("observations")
        last = plots[-1]
        samples = table.get("samples", {})
        if samples:
            last.plot(list(samples), [cost.samples for cost in samples.values()], "o-", color=COLOURS[2])
            logarithmic(last, "x", list(samples))
            logarithmic(last, "y", [cost.samples for cost in samples.values()])
            last.set_xlabel("samples of an observation")
            last.set_ylabel("sample-forwards")
        plots[0].legend()
    return figure


def order_of_calls(model: nn.Module, sample: Any) -> tuple[list[int], int, int]:
    """Where a network under faults reads its operands.

    Returns:
        Before which call of a layer each operand is first read, the calls of a forward pass, and the bytes of the
        layers' inputs and outputs for one sample.
    """
    from eden.faults.faulty_layers import faulty_layers
    from eden.faults.memories import operands

    places: dict[str, int] = {}
    calls, held = 0, 0
    names = {id(layer): [each.name for each in layer.eden_faults.operands()] for layer in faulty_layers(model).values()}

    def called(layer: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        nonlocal calls, held
        for name in names[id(layer)]:
            places.setdefault(name, calls)
        calls += 1
        held += sum(x.numel() * x.element_size() for x in (*given, output) if isinstance(x, torch.Tensor))

    hooks = [layer.register_forward_hook(called) for layer in faulty_layers(model).values()]
    try:
        with torch.inference_mode():
            model.eval()(sample)
    finally:
        for hook in hooks:
            hook.remove()
    return [places[name] for name in operands(model)], calls, held


@dataclass
class CallCount:
    """Counts what a search on a network would compute, and answers it as a simulation does."""

    simulation: Simulation
    places: Sequence[int]
    calls: int
    all_calls: int = 0
    alone_calls: int = 0
    reused: int = 0
    _kept: dict[int, int] = field(default_factory=dict)  # calls from the first on, by chip

    def evaluate(self, trial: _core.Trial) -> float:
        """The difference that the simulation shows."""
        self.all_calls += self.calls
        if trial.operand is not None:
            place = self.places[trial.operand]
            kept = self._kept.get(trial.chip, 0)
            self.alone_calls += self.calls
            self.reused += min(place, kept)
            self._kept[trial.chip] = max(place, kept)
        return self.simulation.evaluate(trial)


def paired_ratio(one: Callable[[], Any], other: Callable[[], Any], rounds: int) -> tuple[float, float, float]:
    """Median and quartiles of the ratio of two times, measured in turns."""
    ratios = []
    for index in range(rounds + 1):
        times = {}
        for which in (one, other) if index % 2 else (other, one):
            started = time.perf_counter()
            which()
            times[which] = time.perf_counter() - started
        if index:  # the first round warms up
            ratios.append(times[one] / times[other])
    low, middle, high = statistics.quantiles(ratios, n=4)
    return middle, low, high


def not_twice(settings: Settings, rounds: int) -> None:
    """Table (e)."""
    import networks
    import torch.nn.functional as F

    import eden
    from eden.app.models import ResNet
    from eden.tolerance.drive import drive

    print("\n(e) calls of layers under faults in a search, and those that are not computed again")
    heads = ("network", "operands", "calls", "alone", "spared", "of alone", "of all", "MB a chip")
    widths = [14, *(max(8, len(head)) for head in heads[1:])]
    print(row(heads, widths))
    small = {"LeNet-5": (networks.lenet(), 1, 28), "ResNet-20": (ResNet(3), 3, 32), "ResNet-56": (ResNet(9), 3, 32)}
    large = {"SqueezeNet": networks.squeezenet, "MobileNetV2": networks.mobilenet_v2, "VGG-16": networks.vgg16}
    found = {**small, **{name: (make(10, 0.25), 3, 64) for name, make in large.items()}}
    for name, (model, channels, size) in found.items():
        errors = eden.Uniform(1e-3)
        eden.inject_(model, eden.Faults(weights=errors, inputs=errors, storage="int8"))
        sample = torch.rand(1, channels, size, size)
        eden.calibrate_(model, [sample])
        places, calls, held = order_of_calls(model, sample)
        network = of_size(len(places))
        counted = CallCount(Simulation(network), places, calls)
        operands = [(f"operand{i}", bytes, CEILING) for i, bytes in enumerate(network.size)]
        search = _core.Search(
            operands=operands, max_drop=settings.max_drop, confidence=settings.confidence, floor=FLOOR, seed=0
        )
        drive(search, counted, [each[0] for each in operands])
        cells = (name, len(places), counted.all_calls, f"{counted.alone_calls / counted.all_calls:.0%}", counted.reused)
        cells += (f"{counted.reused / counted.alone_calls:.0%}", f"{counted.reused / counted.all_calls:.1%}")
        print(row((*cells, f"{64 * held / 1e6:.1f}"), widths), flush=True)

    model, x = small["ResNet-20"][0].eval(), torch.rand(64, 3, 32, 32)

    def under(mode: Callable[[], Any]) -> Callable[[], Any]:
        def forward() -> None:
            with mode():
                model(x)

        return forward

    ratio = paired_ratio(under(torch.inference_mode), under(torch.no_grad), rounds)
    print("inference_mode / no_grad, ResNet-20, 64 samples: {:.3f} ({:.3f} to {:.3f})".format(*ratio))
    weight, grouped = torch.rand(16, 16, 3, 3), torch.rand(64, 16, 3, 3)
    for width, size in ((16, 32), (64, 8)):
        weight = torch.rand(4, width, width, 3, 3)
        images, grouped = torch.rand(64, width, size, size), weight.reshape(4 * width, width, 3, 3)
        together = images.repeat(1, 4, 1, 1)

        def batched(x: torch.Tensor = together, w: torch.Tensor = grouped) -> Any:
            return F.conv2d(x, w, padding=1, groups=4)

        def one_by_one(x: torch.Tensor = images, w: torch.Tensor = weight) -> Any:
            return [F.conv2d(x, each, padding=1) for each in w]

        with torch.inference_mode():
            ratio = paired_ratio(batched, one_by_one, rounds)
            same = torch.equal(batched(), torch.cat(one_by_one(), 1))
        text = "4 chips in one convolution / one by one, {} channels, {} x {}: {:.2f} ({:.2f} to {:.2f}), same bits: {}"
        print(text.format(width, size, size, *ratio, same))


def real(arguments: argparse.Namespace) -> bool:
    """Part (d); whether the limits hold on other chips, to within three standard errors."""
    from torch.utils.data import DataLoader

    import eden
    from eden.app import steps as chain
    from eden.app import tasks
    from eden.boosting import training
    from eden.faults.chips import draw_chip
    from eden.memory.errors import ErrorModel
    from eden.tolerance.drive import Step

    task = tasks.load_task(arguments.task)
    with chain.threads_of(task):
        train_set, validation = task.data()
        model = task.model()
        if arguments.network is not None:
            eden.load_(model, arguments.network)
        else:
            if task.train is not None:
                training.train(model, train_set, task.train, augment=task.augment)
            errors = eden.Device.builtin("ddr3-b33").errors(trcd=7.5)
            chain.put_under_faults(model, task, errors, train_set)
        loader = DataLoader(validation, batch_size=arguments.batch)
        options = {"max_drop": arguments.max_drop, "confidence": arguments.confidence}

        steps: list[Step] = []

        def timed(strategy: str) -> tuple[eden.Tolerance, str]:
            started, processor = time.perf_counter(), time.process_time()
            how = eden.Search(strategy=strategy, batch_size=arguments.batch, effort=arguments.effort)
            found = eden.profile(model, loader, search=how, progress=steps.append, **options)
            taken, processor = time.perf_counter() - started, time.process_time() - processor
            return found, f"{taken:.0f} s ({processor:.0f} s of processor time, threads: {torch.get_num_threads()})"

        tolerance, seconds = timed("shares")
        if arguments.out is not None:
            tolerance.save(arguments.out)
        names = list(tolerance.limits)
        sizes = [tolerance.bytes[name] for name in names]
        few = sum(tolerance.observations.values())
        batch = tolerance.coarse_certificate.batch
        print(
            f"\n(d) {task.name}: {len(names)} operands, {len(validation)} samples, score "
            f"{tolerance.reference_accuracy:.2%}, max_drop {arguments.max_drop:g}, confidence {arguments.confidence:g}"
        )
        print(tolerance.table())
        mine = worth(list(tolerance.limits.values()), sizes)
        alone = [step for step in steps if step.phase == "operand"]
        calls = alone[-1].calls - alone[0].calls + alone[0].calls // (alone[0].trial + 1)
        print(
            f"calls of layers: {steps[-1].calls}, not computed again {steps[-1].reused} "
            f"({steps[-1].reused / calls:.0%} of those in trials of one operand, "
            f"{steps[-1].reused / steps[-1].calls:.1%} of all)",
            flush=True,
        )
        print(
            f"search: {few} observations, {few * batch} sample-forwards, {seconds}, worth {mine:.3f}",
            flush=True,
        )
        if arguments.sweep:
            swept, swept_seconds = timed("sweep")
            many, theirs = sum(swept.observations.values()), worth(list(swept.limits.values()), sizes)
            how = swept_seconds
        else:
            # The drop at the rate that it stands alone is max_drop, by definition.
            power = tuple(tolerance.alone[name].slope for name in names)
            sensitivity = tuple(
                arguments.max_drop ** (1.0 / slope) / tolerance.alone[name].rate
                for name, slope in zip(names, power, strict=True)
            )
            simulated = search(
                Network("", sensitivity, tuple(sizes), power, batch=batch),
                Settings(arguments.max_drop, arguments.confidence, "sweep"),
                0,
            )
            many, theirs, how = simulated.observations, simulated.worth, "simulated from what each operand stands alone"
        print(f"sweep: {many} observations, {many * batch} sample-forwards, {how}, worth {theirs:.3f}")
        print(f"ratio {many / few:.1f}; limits worth {mine - theirs:+.3f} decades beside the sweep's")

        model.eval()
        inputs, targets = validation.tensors

        def correct() -> float:
            with torch.no_grad():
                right = [
                    int((model(inputs[i : i + 250]).argmax(1) == targets[i : i + 250]).sum())
                    for i in range(0, len(inputs), 250)
                ]
            return sum(right) / len(inputs)

        with eden.clean(model):
            clean = correct()
        errors_of = {name: ErrorModel.from_dict(spec) for name, spec in tolerance.error_models.items()}
        held = True
        for factor in (1.0, FACTOR):
            eden.set_errors_(
                model,
                {
                    name: errors.scaled(min(CEILING, errors.highest_ber, factor * errors.ber))
                    for name, errors in errors_of.items()
                },
            )
            drops = []
            # Power is plain from fewer chips than the promise is judged by.
            chips = arguments.chips if factor == 1.0 else max(2, arguments.chips // 5)
            for index in range(chips):
                eden.set_chip_(model, draw_chip(tolerance.seed, "evaluation", index))
                drops.append(clean - correct())
            mean, error = statistics.mean(drops), statistics.stdev(drops) / math.sqrt(len(drops))
            print(f"limits x {factor:g}, {chips} chips never used: mean drop {mean:.4f} +- {error:.4f}", flush=True)
            if factor == 1.0:
                held = mean <= arguments.max_drop + 3.0 * error
    return held


def main() -> int:
    """Print the tables; 1 where the statement does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=200, help="of (a)")
    parser.add_argument("--runs", type=int, default=5, help="of (b) and (c)")
    parser.add_argument("--operands", type=int, nargs="*", default=[6, 10, 16, 40, 112], help="networks of (b)")
    parser.add_argument("--max-drop", type=float, default=0.01)
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--only", default="abcde", help="the parts to run, such as ab")
    parser.add_argument("--figure", type=Path, help="of (c): a file, .svg, .pdf or .png")
    parser.add_argument("--rounds", type=int, default=30, help="of the ratios of (e)")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--task", help="of (d), as for eden profile: digits, cifar10-resnet20, file.py:function")
    parser.add_argument("--network", help="of (d): a network file of the task instead of one trained anew")
    parser.add_argument("--batch", type=int, default=64, help="samples of one observation in (d)")
    parser.add_argument("--effort", type=float, default=6.0, help="of (d), as of eden.profile")
    parser.add_argument("--out", type=Path, help="of (d): where the tolerance file is written")
    parser.add_argument("--sweep", action="store_true", help="run the sweep of (d) on the network")
    parser.add_argument("--chips", type=int, default=200, help="of (d); a fifth of them for the raised limits")
    arguments = parser.parse_args()
    settings = Settings(arguments.max_drop, arguments.confidence)
    held = True
    pool = ProcessPoolExecutor(arguments.jobs) if arguments.jobs > 1 else None
    try:
        if "a" in arguments.only:
            held = statement(pool, arguments.searches, settings)
        if "b" in arguments.only:
            against_sweep(pool, arguments.runs, settings, arguments.operands)
        if "c" in arguments.only:
            table = growth(pool, arguments.runs)
            if arguments.figure is not None:
                from eden.reporting.figures import save_figure

                save_figure(growth_figure(table), arguments.figure)
                print(f"written: {arguments.figure}")
    finally:
        if pool is not None:
            pool.shutdown()
    if "e" in arguments.only:
        not_twice(settings, arguments.rounds)
    if "d" in arguments.only and arguments.task is not None:
        held = real(arguments) and held
    print("\nthe statement holds" if held else "\nthe statement does not hold: see the tails above")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
