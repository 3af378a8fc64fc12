"""Tolerance: the bit error rates that a network stands, all operands alike and operand by operand."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import pydantic

from eden.common.files import Record
from eden.common.provenance import Result
from eden.common.tables import notebook, text_table
from eden.memory.cell_map import CellMap
from eden.memory.errors import ErrorModel
from eden.tolerance.population import Population, samples_needed

FLOOR = 1e-9
"""The lowest bit error rate that a limit can have."""

CEILING = 0.5
"""The highest: there a stored bit says nothing any more."""

_FEW = 0.5
"""Part of the drop from which on it is said that a few chips make it."""

Rate = Annotated[float, pydantic.Field(ge=FLOOR, le=1.0)]
Probability = Annotated[float, pydantic.Field(gt=0.0, lt=1.0)]
Accuracy = Annotated[float, pydantic.Field(ge=0.0, le=1.0)]
Count = Annotated[int, pydantic.Field(ge=0)]
Guarantee = Literal["mean"] | tuple[Literal["quantile"], Probability]


class PossibleDrop(Record):
    """What one chip may lose, as far as a confirmation tells."""

    drop: Probability
    """A chip loses more than this."""
    probability: Probability
    """With a probability of at most this."""


class Certificate(Record):
    """What a confirmation showed, on chips that no decision before it had seen."""

    chips: Annotated[int, pydantic.Field(ge=1)]
    """Chips, each observed once."""
    samples: Annotated[int, pydantic.Field(ge=1)]
    """Samples evaluated, over all chips."""
    batch: Annotated[int, pydantic.Field(ge=1)]
    """Samples per observation."""
    mean_drop: Annotated[float, pydantic.Field(ge=-1.0, le=1.0)]
    """Mean over the observations of (clean score - faulty score)."""
    violating: Accuracy
    """Fraction of the observations with a drop above ``max_drop``."""
    upper_bound: Annotated[float, pydantic.Field(ge=-1.0, le=1.0)]
    """Confidence bound of level ``alpha`` on the mean drop, or, where the guarantee is a quantile, on the fraction of
    chips whose drop is above ``max_drop``."""
    back_offs: Count
    """Attempts that failed, at higher rates."""
    alpha: Probability
    """Error probability of the attempt that succeeded."""
    total_alpha: Probability
    """Error probability of all attempts together, at most 1 - confidence."""
    first_chip: Count = 0
    """The chips are ``eden.faults.chips.draw_chip(seed, "confirmation", k)``, of a verification those of the purpose
    "verification", for k from this one on."""
    first_trial: Count = 0
    """The number of the first of its observations among all of the search, which follow one another."""
    worst: Annotated[float, pydantic.Field(ge=-1.0, le=1.0)] | None = None
    """The largest drop of an observation; None in a file from before it was told."""
    worst_share: Accuracy | None = None
    """Part of the mean drop that the worst hundredth of the observations makes."""
    possible: tuple[PossibleDrop, ...] = ()
    """Which drops one chip may have; all of it together holds with probability 1 - ``alpha``. Empty where nothing can
    be said of any."""

    @property
    def account(self) -> str:
        """What kind of chips it saw, and which drops of one chip they leave possible, in a sentence."""
        if self.worst is None or self.worst_share is None:
            return ""
        few = "a few chips make the drop: " if self.worst_share >= _FEW else ""
        seen = f"{few}the worst hundredth of {self.chips} makes {self.worst_share:.0%} of it, the worst lost "
        text = f"{seen}{self.worst:.1%} of {self.batch} samples"
        if not self.possible:
            return f"{text}; what one chip may lose cannot be told from so few chips or samples"
        told = (f"{one.drop:.0%} with probability {one.probability:.2g} at most" for one in self.possible)
        return f"{text}; a chip loses more than {', '.join(told)}"


class Alone(Record):
    """An estimate of what an operand stands with all others on nearly reliable memory. Nothing is promised of it."""

    rate: Rate
    """The mean bit error rate at which its mean drop is expected to be ``max_drop``; the highest that its error model
    reaches (at most 0.5) says that it is this or more."""
    low: Rate
    """Lower end of an interval of about 90% for ``rate``."""
    high: Rate
    """Its upper end."""
    slope: Annotated[float, pydantic.Field(gt=0.0)]
    """The drop goes with this power of the rate, near it."""
    observations: Count
    """How many it rests on."""


class Tolerance(Result):
    """The bit error rates that a network stands, with the evidence. ``eden.profile`` makes it.

    Its provenance names the network and the data, or the package, and all chips that were seen.
    """

    FORMAT = "eden-tolerance"
    VERSION = 2

    coarse: Rate
    """The mean bit error rate that all operands stand at once."""
    limits: dict[str, Rate]
    """The mean bit error rate that each operand stands while every other one is at its own limit."""
    bytes: dict[str, Count]
    """Size of each operand in its storage; of an input, one sample's."""
    kinds: dict[str, Literal["weight", "input"]]
    """"weight" or "input", by operand."""
    storage: dict[str, str]
    """The form in which each operand is stored."""
    error_models: dict[str, dict[str, Any]]
    """JSON form of each operand's error model at its limit."""
    max_drop: Probability
    """The drop in score that the owner accepts, a fraction."""
    confidence: Probability
    """Probability with which ``coarse`` holds, and likewise ``limits``."""
    guarantee: Guarantee
    """"mean": the mean drop over chips is at most ``max_drop``; ("quantile", q): so is the drop of a fraction q of the
    chips."""
    metric: str
    """Name of the score."""
    reference_accuracy: Accuracy
    """Mean score over the whole set on reliable memory in the same storage, of the network that drops are counted
    from."""
    own_accuracy: Accuracy | None = None
    """The same of this network, where drops are counted from another one, such as the one before boosting."""
    float_accuracy: Accuracy | None = None
    """The same of the network without that storage, if it was measured."""
    samples: Annotated[int, pydantic.Field(ge=1)]
    """Samples in the whole set."""
    population: Population = "samples"
    """Of what the statement is: "data", the distribution that the samples were drawn from, or "samples", them alone."""
    coarse_certificate: Certificate
    """Evidence for ``coarse``."""
    limits_certificate: Certificate | None
    """Evidence for ``limits``; None in a coarse profile, whose limits are ``coarse``."""
    seed: int
    """What all chips and draws derive from."""
    random_layout: int
    """Version of the layout of random numbers."""
    eden_version: str
    """Version of this package."""
    observations: dict[str, Count]
    """Observations made, by phase of the search."""
    strategy: Literal["shares", "sweep"] = "shares"
    """How the limits were searched for, "shares" or "sweep"."""
    effort: Annotated[float, pydantic.Field(gt=0.0)] = 6.0
    """Observations that a confirmation was meant to take, in multiples of the least."""
    weights: dict[str, Annotated[float, pydantic.Field(ge=0.0)]] = pydantic.Field(default_factory=dict)
    """What a factor in an operand's rate was taken to be worth, by operand; empty where nothing was weighed."""
    alone: dict[str, Alone] = pydantic.Field(default_factory=dict)
    """What each operand stands alone; empty where it was not measured (a coarse profile, a sweep)."""
    lower_is_better: bool = False
    """Whether the score is one of harm: then a drop is a rise of it."""
    unfinished: str = ""
    """Why a budget ended the search before it was through, in words; empty where it was. Limits without a certificate
    of their own are then ``coarse``, as in a coarse profile."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        if not self.limits:
            raise ValueError("limits has no operand; allowed is at least one")
        for part in ("bytes", "kinds", "storage", "error_models", "weights", "alone"):
            if part in ("weights", "alone") and not getattr(self, part):
                continue
            names = getattr(self, part).keys()
            for name in self.limits.keys() ^ names:
                has, lacks = ("limits", part) if name in self.limits else (part, "limits")
                raise ValueError(f"operand {name!r} is in {has}, but not in {lacks}")
        for name, spec in self.error_models.items():
            try:
                model = ErrorModel.from_dict(spec)
            except (TypeError, ValueError) as error:
                raise ValueError(f"error_models of operand {name!r}: {error}") from error
            # A map is brought to a rate from below, to within one of its cells.
            cell = model.failure / model.bits if isinstance(model, CellMap) else 0.0
            slack = 1e-6 * self.limits[name]
            if not -slack - cell <= model.ber - self.limits[name] <= slack:
                raise ValueError(f"operand {name!r} has the limit {self.limits[name]}, its error model {model.ber}")
        return self

    @property
    def memory(self) -> dict[str, ErrorModel]:
        """The error model of each operand at its limit; ``eden.set_errors_(model, tolerance)`` puts a network there."""
        return {name: ErrorModel.from_dict(spec) for name, spec in self.error_models.items()}

    @property
    def sensitivity(self) -> dict[str, float]:
        """Drop in score per unit of bit error rate of each operand alone, near ``max_drop``; an estimate."""
        return {name: self.max_drop / alone.rate for name, alone in self.alone.items()}

    def table(self) -> str:
        """The limits as text, one operand per line.

        Operand, bytes, limit and its ratio to the coarse rate; where it was measured, the rate that each operand stands
        alone with its interval of 90%, and its sensitivity. Below, what kind of chips the limits were confirmed on.
        """
        shown = self.limits_certificate or self.coarse_certificate
        return "\n".join(filter(None, (text_table(*self._rows()), shown.account, self.claim)))

    def _repr_html_(self) -> str:
        shown = self.limits_certificate or self.coarse_certificate
        title = f"tolerance of {len(self.limits)} operands, for a drop of {self.max_drop:g}"
        return notebook(title, self._rows(), notes=[*filter(None, [shown.account]), self.claim])

    def _rows(self) -> tuple[list[str], list[list[str]]]:
        heads = ["operand", "bytes", "limit", "x coarse"]
        if self.alone:
            heads += ["alone", "90% interval", "drop per BER"]
        rows = []
        for name, limit in self.limits.items():
            row = [name, f"{self.bytes[name]:,}", f"{limit:.3g}", f"{limit / self.coarse:.3g}"]
            if self.alone:
                alone = self.alone[name]
                row += [f"{alone.rate:.2g}", f"{alone.low:.2g} to {alone.high:.2g}", f"{self.sensitivity[name]:.2g}"]
            rows.append(row)
        total = ["all alike (coarse)", f"{sum(self.bytes.values()):,}", f"{self.coarse:.3g}", "1"]
        rows.append(total + [""] * (len(heads) - len(total)))
        return heads, rows

    @property
    def claim(self) -> str:
        """Of which data the limits are, in a sentence."""
        if self.population == "data":
            return f"the limits hold for the data that the {self.samples:,} samples were drawn from"
        needed = samples_needed(
            max_drop=self.max_drop,
            confidence=self.confidence,
            effort=self.effort,
            coarse_only=self.limits_certificate is None,
        )
        return (
            f"the limits hold for these {self.samples:,} samples; what is claimed of the data that they were drawn "
            f"from takes {needed:,}"
        )
