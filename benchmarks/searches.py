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
(c) The growth of the cost with ``max_drop`` and ``confidence``.
(d) With ``--task``: a network, profiled by both strategies. Without ``--sweep`` the sweep runs on a simulation made of
    what the profile measured of each operand alone, because on a network it takes days. The limits are then evaluated
    on ``--chips`` chips that no search used, by a loop that shares nothing with the search.

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

import numpy as np
from scipy import stats

from eden import _core

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


def growth(pool: ProcessPoolExecutor | None, count: int) -> None:
    """Table (c)."""
    print(f"\n(c) observations of a search, medians of {count}, on the network of 40 operands")
    heads = ("max_drop", "confidence", "effort", "observations", "of them to confirm", "drop/max_drop")
    widths = [9, *(len(head) for head in heads[1:])]
    print(row(heads, widths))
    network = of_size(40)
    for settings in (
        Settings(0.02, 0.95),
        Settings(0.01, 0.95),
        Settings(0.005, 0.95),
        Settings(0.01, 0.8),
        Settings(0.01, 0.99),
        Settings(0.01, 0.95, effort=3.0),
        Settings(0.01, 0.95, effort=12.0),
    ):
        found = [outcome for outcome in searches(pool, network, settings, range(count)) if not outcome.message]
        if not found:
            continue
        confirming = [outcome.phases["coarse confirmation"] + outcome.phases["confirmation"] for outcome in found]
        cells = (settings.max_drop, settings.confidence, settings.effort)
        cells += (f"{statistics.median(outcome.observations for outcome in found):.0f}",)
        cells += (f"{statistics.median(confirming):.0f}",)
        cells += (f"{statistics.median(outcome.drop for outcome in found) / settings.max_drop:.2f}",)
        print(row(cells, widths), flush=True)


def real(arguments: argparse.Namespace) -> bool:
    """Part (d); whether the limits hold on other chips, to within three standard errors."""
    import torch
    from torch.utils.data import DataLoader

    import eden
    from eden import chain, inject, tasks, training

    task = tasks.load_task(arguments.task)
    with chain.threads_of(task):
        train_set, validation = task.data()
        model = task.model()
        if arguments.network is not None:
            eden.load_(model, arguments.network)
        else:
            if task.train is not None:
                training.train(model, train_set, task.train, augment=task.augment)
            errors = chain.errors_at(eden.Device.builtin("ddr3-b33"), 7.5)
            chain.put_under_faults(model, task, errors, train_set)
        loader = DataLoader(validation, batch_size=arguments.batch)
        options = {"max_drop": arguments.max_drop, "confidence": arguments.confidence, "batch_size": arguments.batch}

        def timed(strategy: str) -> tuple[eden.Tolerance, float]:
            started = time.perf_counter()
            found = eden.profile(model, loader, strategy=strategy, progress=arguments.progress, **options)
            return found, time.perf_counter() - started

        tolerance, seconds = timed("shares")
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
        print(f"search: {few} observations, {few * batch} sample-forwards, {seconds:.0f} s, worth {mine:.3f}")
        if arguments.sweep:
            swept, swept_seconds = timed("sweep")
            many, theirs = sum(swept.observations.values()), worth(list(swept.limits.values()), sizes)
            how = f"{swept_seconds:.0f} s"
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

        with inject.clean(model):
            clean = correct()
        errors_of = {name: eden.ErrorModel.from_dict(spec) for name, spec in tolerance.error_models.items()}
        held = True
        for factor in (1.0, FACTOR):
            inject.set_errors_(
                model,
                {
                    name: errors.scaled(min(CEILING, errors.highest_ber, factor * errors.ber))
                    for name, errors in errors_of.items()
                },
            )
            drops = []
            for index in range(arguments.chips):
                inject.set_chip_(model, inject.draw_chip(tolerance.seed, "evaluation", index))
                drops.append(clean - correct())
            mean, error = statistics.mean(drops), statistics.stdev(drops) / math.sqrt(len(drops))
            print(f"limits x {factor:g}, {arguments.chips} chips never used: mean drop {mean:.4f} +- {error:.4f}")
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
    parser.add_argument("--only", default="abcd", help="the parts to run, such as ab")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--task", help="of (d), as for eden profile: digits, cifar10-resnet20, file.py:function")
    parser.add_argument("--network", help="of (d): a network file of the task instead of one trained anew")
    parser.add_argument("--batch", type=int, default=64, help="samples of one observation in (d)")
    parser.add_argument("--sweep", action="store_true", help="run the sweep of (d) on the network")
    parser.add_argument("--chips", type=int, default=200, help="of (d)")
    parser.add_argument("--progress", action="store_true")
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
            growth(pool, arguments.runs)
    finally:
        if pool is not None:
            pool.shutdown()
    if "d" in arguments.only and arguments.task is not None:
        held = real(arguments) and held
    print("\nthe statement holds" if held else "\nthe statement does not hold: see the tails above")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
