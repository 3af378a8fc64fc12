"""How a profile searches, and what it may cost."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from eden.common.arguments import check_int, number
from eden.tolerance.population import samples_needed


def _check_seconds(name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a {type(value).__name__}; allowed is a number of seconds above 0, or None")
    if not 0.0 < value < math.inf:
        raise ValueError(f"{name} is {value}; allowed is a number of seconds above 0, or None")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """How ``eden.profile`` searches, and ``eden.certify`` tests.

    Raises:
        ValueError, TypeError: naming the field that is out of range, what was found and what is allowed.
    """

    strategy: Literal["shares", "sweep"] = "shares"
    """"shares" measures what each operand does alone, gives each its share of the drop and confirms all together;
    "sweep", the reference, raises one operand by one step at a time and tests every step, at many times the cost."""

    weigh: Literal["bytes", "energy"] | Mapping[str, float] = "bytes"
    """What a factor in an operand's rate is worth beside one in another's: its "bytes", its "energy" (bytes that it
    moves per inference, as ``eden.traffic`` counts them for a CPU), or a number for each operand by name."""

    effort: float = 6.0
    """Observations that a confirmation is meant to take, in multiples of those that it takes if no score drops, 1.5 to
    1000. More of it confirms rates nearer to ``max_drop``. Beside limits the coarse rate has a third of it."""

    batch_size: int | None = None
    """Samples of one observation. If None, 64, at most all. For a quantile and for a ``CorpusMetric`` all of them, and
    fewer are refused."""

    coarse_only: bool = False
    """Stop at the rate common to all operands; it is every operand's limit then."""

    max_trials: int | None = None
    """Observations after which the search gives up. If None, 50,000, or more where ``max_drop`` and ``effort`` need it;
    for a sweep, all that it can take."""

    def __post_init__(self) -> None:
        if self.strategy not in ("shares", "sweep"):
            raise ValueError(f"strategy is {self.strategy!r}; allowed are 'shares' and 'sweep'")
        if self.weigh not in ("bytes", "energy") and not isinstance(self.weigh, Mapping):
            raise ValueError(
                f"weigh is {self.weigh!r}; allowed are 'bytes', 'energy' and a number for each operand by name"
            )
        if isinstance(self.weigh, Mapping):
            for name, value in self.weigh.items():
                if not number(value, 0.0):
                    raise ValueError(f"weigh of operand {name!r} is {value!r}; allowed is a number of 0 or more")
        if isinstance(self.effort, bool) or not isinstance(self.effort, (int, float)):
            raise TypeError(f"effort is a {type(self.effort).__name__}; allowed is a number from 1.5 to 1000")
        if not 1.5 <= self.effort <= 1000.0:
            raise ValueError(f"effort is {self.effort}; allowed is from 1.5 to 1000")
        if self.batch_size is not None:
            check_int("batch_size", self.batch_size, 1)
        if self.max_trials is not None:
            check_int("max_trials", self.max_trials, 1)

    def samples_needed(self, max_drop: float = 0.01, confidence: float = 0.95) -> int:
        """How many samples a profile takes whose statement is about the data that they were drawn from.

        Two thirds of them only confirm, each in one observation; the others are those that decisions may see. With more
        samples an observation has several, and limits are higher. An effort of 3 is the least that is planned with.

        Args:
            max_drop: accepted drop in score, inside (0, 1).
            confidence: inside (0, 1).

        Raises:
            ValueError: for an argument outside of what is allowed.
        """
        return samples_needed(
            max_drop=max_drop, confidence=confidence, effort=float(self.effort), coarse_only=self.coarse_only
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """What ``eden.profile`` and ``eden.certify`` may cost.

    Raises:
        ValueError, TypeError: naming the field that is out of range, what was found and what is allowed.
    """

    observations: int | None = None
    """Observations after which the search ends with what is certified until then; None for no end. It plans for it:
    both confirmations are kept what they need, with less effort where it must be. Where it does not do for limits of
    single operands, they are the coarse rate, and ``Tolerance.unfinished`` says so."""

    seconds: float | None = None
    """The same in seconds of the call, by how long observations take; at most one of the two."""

    timeout: float | None = None
    """Seconds after which one observation is given up; None waits for ever. With one, observations are made in a thread
    of their own."""

    memory_bytes: int = 2**30
    """Bytes of samples that may be held in memory."""

    reuse_bytes: int = 2**29
    """Bytes that may be held of inputs and outputs of layers, while operands are raised one by one, so that what is
    called before the raised one is not computed again; the answer is the same to the bit. 0 keeps nothing."""

    def __post_init__(self) -> None:
        if self.observations is not None:
            check_int("observations", self.observations, 1)
            if self.seconds is not None:
                raise ValueError("observations and seconds are both given; allowed is one of them")
        _check_seconds("seconds", self.seconds)
        _check_seconds("timeout", self.timeout)
        check_int("memory_bytes", self.memory_bytes, 1)
        check_int("reuse_bytes", self.reuse_bytes, 0)


def check_kinds(search: Any, budget: Any) -> None:
    """Raise TypeError unless these are a search and a budget."""
    if not isinstance(search, Search):
        raise TypeError(f"search is a {type(search).__name__}; allowed is an eden.Search")
    if not isinstance(budget, Budget):
        raise TypeError(f"budget is a {type(budget).__name__}; allowed is an eden.Budget")
