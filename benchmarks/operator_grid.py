"""What the operator's benchmarks share: the grid that they cover, how candidates are compared, how results are printed.

Candidates are timed side by side in one process, in rounds: every round times each candidate once, the first one
changing from round to round. A figure is the median over rounds of the ratio of two candidates' times in the same
round, so what slows the machine for longer than a round cancels. Its interval is the distribution-free one of the
median, from two order statistics of the ratios, at a confidence of 95%; below six rounds no such interval exists and
the smallest and the largest ratio stand for it. On a machine that others use too, the ratio of the minima over all
rounds, which is given beside it, can be the better figure. There two threads can also wait for each other longer than
either candidate works, which draws ratios towards 1: a figure whose interval spans more than a factor of 2, or whose
copy took more than twice as long as the fastest copy of as many bytes, is neither hit nor miss but "unsure".
"""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import eden
from eden.memory import arguments as checked
from eden.memory.storage import STORAGES

RATES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 5e-2)
TARGETS = (1.15, 1.15, 1.15, 1.4, 3.0, 8.0)
"""At most this many times a copy, by rate; demanded of float32 under Model 0 with 64 MiB on two threads."""

DTYPES = {"float32": torch.float32, "int8": torch.int8, "float16": torch.float16, "bfloat16": torch.bfloat16}
DISPERSION = 0.1
ASYMMETRY = 10.0

# Classes are looked up late, so that a model that the package lacks is a line in the output.
MODELS: dict[str, Callable[[float], Any]] = {
    "Uniform": lambda ber: eden.Uniform(ber),
    "DataDependent": lambda ber: eden.DataDependent(
        ber_zero=2 * ber / (1 + ASYMMETRY), ber_one=2 * ber * ASYMMETRY / (1 + ASYMMETRY)
    ),
    "Bitline": lambda ber: eden.Bitline(ber=ber, dispersion=DISPERSION),
    "Wordline": lambda ber: eden.Wordline(ber=ber, dispersion=DISPERSION),
}


def values(dtype: torch.dtype, shape: tuple[int, ...], device: str = "cpu") -> Tensor:
    """Normal values, or all codes of an integer type, the same at every call."""
    generator = torch.Generator(device).manual_seed(0)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator, device=device).to(dtype)
    limits = torch.iinfo(dtype)
    return torch.randint(limits.min, limits.max + 1, shape, generator=generator, dtype=dtype, device=device)


def operator_arguments(
    x: Tensor, errors: Any, seed: int = 0, address: int = 0, access: int = 0, **changes: Any
) -> dict[str, Any]:
    """Arguments by name of ``torch.ops.eden.corrupt``: those that ``eden.corrupt`` would pass, but for ``changes``.

    Args:
        x: the tensor to be read.
        errors: the error model.
        seed: the chip.
        address: first bit, a multiple of x's own width.
        access: number of the read.
        changes: arguments of the schema that differ: storage (by name), scale, bounds, batch_dim and others.
    """
    names = [argument.name for argument in torch.ops.eden.corrupt.default._schema.arguments]
    given = dict(zip(names, (x, *checked.operator_arguments(x, errors, seed, address, access)), strict=True))
    # Every read of these errors has the same tensor, which a caller may want to change.
    given["region"] = given["region"].clone()
    if "storage" in changes:
        changes["storage"] = STORAGES[changes["storage"]]
    unknown = changes.keys() - given.keys()
    if unknown:
        raise TypeError(f"{', '.join(sorted(unknown))}: no argument of eden::corrupt")
    return given | changes


MIB = 1 << 20


def size_text(size: int) -> str:
    """A number of bytes."""
    return f"{size // MIB} MiB" if size >= MIB else f"{size // 1024} KiB"


def one_line(error: BaseException) -> str:
    """An exception's type and first line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long a comparison may take: ``least`` rounds, then further ones up to ``seconds`` or ``most`` rounds."""

    seconds: float
    least: int
    most: int


@dataclasses.dataclass
class Times:
    """Seconds that each candidate took, by round."""

    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        """Median seconds over the rounds."""
        return statistics.median(self.seconds[name])

    def ratio(self, numerator: str, denominator: str) -> tuple[float, float, float]:
        """Median of the ratios of paired rounds, and the lower and upper end of its interval."""
        pairs = zip(self.seconds[numerator], self.seconds[denominator], strict=True)
        ratios = sorted(a / b for a, b in pairs)
        low, high = median_interval(len(ratios))
        return statistics.median(ratios), ratios[low], ratios[high]

    def ratio_of_minima(self, numerator: str, denominator: str) -> float:
        """The least time of the one over the least time of the other."""
        return min(self.seconds[numerator]) / min(self.seconds[denominator])


def median_interval(n: int, confidence: float = 0.95) -> tuple[int, int]:
    """Indices of the order statistics of ``n`` numbers between which their distribution's median lies.

    With B ~ Binomial(n, 1/2) the k-th lowest and the k-th highest enclose it with probability 1 - 2 P(B < k).
    """
    k, below = 0, 0.0
    while k < (n - 1) // 2:
        below += math.comb(n, k) / 2**n
        if 2 * below > 1 - confidence:
            break
        k += 1
    k = max(k, 1)
    return k - 1, n - k


def compare(
    candidates: dict[str, Callable[[], Any]], budget: Budget, timer: Callable[[Callable[[], Any]], float] | None = None
) -> Times:
    """Time candidates side by side. Every candidate is run once before, untimed.

    Args:
        candidates: what to call, by name.
        budget: when to stop.
        timer: seconds that one call takes; the wall clock's by default.
    """
    timer = timer or wall_clock
    for call in candidates.values():
        call()
    names = list(candidates)
    taken: dict[str, list[float]] = {name: [] for name in names}
    begin = time.perf_counter()
    for number in range(budget.most):
        if number >= budget.least and time.perf_counter() - begin > budget.seconds:
            break
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            taken[name].append(timer(candidates[name]))
    return Times(taken)


def wall_clock(call: Callable[[], Any]) -> float:
    """Seconds that one call takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


UNSURE = 2.0


@dataclasses.dataclass
class Figure:
    """One ratio, or why there is none.

    Attributes:
        table: letter of the table.
        what: what was measured, in words.
        ratio: median of paired ratios, None if it could not be measured.
        low: lower end of the ratio's interval.
        high: upper end.
        minima: ratio of the least times.
        rounds: number of paired ratios.
        target: what the ratio is to be, None for a figure without a demand.
        at_least: whether the ratio is to be at least the target; at most otherwise.
        seconds: median seconds of numerator and denominator.
        disturbed: whether its copies were far slower than others of as many bytes.
        error: why it could not be measured.
    """

    table: str
    what: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    minima: float | None = None
    rounds: int = 0
    target: float | None = None
    at_least: bool = False
    seconds: tuple[float, float] | None = None
    disturbed: bool = False
    error: str | None = None

    @property
    def verdict(self) -> str:
        """Hit, miss, unsure, error, or nothing for a figure without a target."""
        if self.ratio is None or self.low is None or self.high is None:
            return "error"
        if self.target is None:
            return ""
        if self.disturbed or self.high > UNSURE * self.low:
            return "unsure"
        met = self.ratio >= self.target if self.at_least else self.ratio <= self.target
        return "hit" if met else "miss"

    def __str__(self) -> str:
        if self.ratio is None:
            return "error"
        return f"{self.ratio:.3g} [{self.low:.3g} {self.high:.3g}] {self.minima:.3g} {self.verdict}".rstrip()


class Report:
    """Collects the figures that are printed as they come."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []
        self.fastest_copy: dict[int, float] = {}

    def heading(self, table: str, text: str) -> None:
        """A table's title."""
        print(f"\n({table}) {text}", flush=True)

    def add(
        self,
        table: str,
        what: str,
        times: Times,
        numerator: str,
        denominator: str,
        target: float | None = None,
        at_least: bool = False,
        copied_bytes: int | None = None,
    ) -> Figure:
        """Enter the ratio of two candidates, the second of them a copy of so many bytes if that is given."""
        ratio, low, high = times.ratio(numerator, denominator)
        seconds = (times.median(numerator), times.median(denominator))
        rounds = len(times.seconds[numerator])
        minima = times.ratio_of_minima(numerator, denominator)
        figure = Figure(table, what, ratio, low, high, minima, rounds, target, at_least, seconds)
        if copied_bytes is not None:
            fastest = min([*times.seconds[denominator], self.fastest_copy.get(copied_bytes, math.inf)])
            self.fastest_copy[copied_bytes] = fastest
            figure.disturbed = times.median(denominator) > UNSURE * fastest
        self.figures.append(figure)
        return figure

    def fail(self, table: str, what: str, error: BaseException | str) -> Figure:
        """Enter and print what could not be measured."""
        text = error if isinstance(error, str) else one_line(error)
        figure = Figure(table, what, error=text)
        self.figures.append(figure)
        print(f"  error: {what}: {text}", flush=True)
        return figure

    def row(self, label: str, cells: list[str], label_width: int = 36, width: int = 28) -> None:
        """Print one line of a table."""
        print(f"  {label:<{label_width}}" + "".join(f" {cell:<{width}}" for cell in cells).rstrip(), flush=True)

    def summary(self) -> None:
        """Print how many figures hit their targets, missed them or could not be measured."""
        verdicts = [figure.verdict for figure in self.figures]
        count = {verdict: verdicts.count(verdict) for verdict in ("hit", "miss", "unsure", "error")}
        print(
            f"\n{len(verdicts)} figures: {count['hit']} hit their target, {count['miss']} miss it, "
            f"{count['unsure']} are unsure, "
            f"{count['error']} could not be measured, {verdicts.count('')} have none"
        )

    def write(self, path: Path, settings: dict[str, Any]) -> None:
        """Write all figures as JSON."""
        figures = [dataclasses.asdict(figure) | {"verdict": figure.verdict} for figure in self.figures]
        path.write_text(json.dumps({"settings": settings, "figures": figures}, indent=1) + "\n")
