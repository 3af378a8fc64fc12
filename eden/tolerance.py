"""Tolerance: the bit error rates that a network stands, all operands alike and operand by operand."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import pydantic

from eden.errors import CellMap, ErrorModel
from eden.files import VersionedFile

FLOOR = 1e-9
"""The lowest bit error rate that a limit can have."""

CEILING = 0.5
"""The highest: there a stored bit says nothing any more."""

Rate = Annotated[float, pydantic.Field(ge=FLOOR, le=1.0)]
Probability = Annotated[float, pydantic.Field(gt=0.0, lt=1.0)]
Accuracy = Annotated[float, pydantic.Field(ge=0.0, le=1.0)]
Count = Annotated[int, pydantic.Field(ge=0)]
Guarantee = Literal["mean"] | tuple[Literal["quantile"], Probability]


class Certificate(pydantic.BaseModel):
    """What a confirmation showed, on chips that no decision before it had seen.

    Attributes:
        chips: chips, each observed once.
        samples: samples evaluated, over all chips.
        batch: samples per observation.
        mean_drop: mean over the observations of (clean score - faulty score).
        violating: fraction of the observations with a drop above ``max_drop``.
        upper_bound: confidence bound of level ``alpha`` on the mean drop, or, where the guarantee is a quantile, on the
            fraction of chips whose drop is above ``max_drop``.
        back_offs: attempts that failed before, at higher rates.
        alpha: error probability of the attempt that succeeded.
        total_alpha: error probability of all attempts together, at most 1 - confidence.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    chips: Annotated[int, pydantic.Field(ge=1)]
    samples: Annotated[int, pydantic.Field(ge=1)]
    batch: Annotated[int, pydantic.Field(ge=1)]
    mean_drop: Annotated[float, pydantic.Field(ge=-1.0, le=1.0)]
    violating: Accuracy
    upper_bound: Annotated[float, pydantic.Field(ge=-1.0, le=1.0)]
    back_offs: Count
    alpha: Probability
    total_alpha: Probability


class Tolerance(VersionedFile):
    """The bit error rates that a network stands, with the evidence. ``eden.profile`` makes it.

    Attributes:
        coarse: the mean bit error rate that all operands stand at once.
        limits: the mean bit error rate that each operand stands while every other one is at its own limit.
        bytes: size of each operand in its storage; of an input, one sample's.
        kinds: "weight" or "input", by operand.
        storage: the form in which each operand is stored.
        error_models: JSON form of each operand's error model at its limit.
        max_drop: the drop in score that the owner accepts, a fraction.
        confidence: probability with which ``coarse`` holds, and likewise ``limits``.
        guarantee: "mean": the mean drop over chips is at most ``max_drop``; ("quantile", q): so is the drop of a
            fraction q of the chips.
        metric: name of the score.
        reference_accuracy: mean score over the whole set on reliable memory in the same storage.
        float_accuracy: the same of the network without that storage, if it was measured.
        samples: samples in the whole set.
        coarse_certificate: evidence for ``coarse``.
        limits_certificate: evidence for ``limits``; None in a coarse profile, whose limits are ``coarse``.
        seed: what all chips and draws derive from.
        random_layout: version of the layout of random numbers.
        eden_version: version of this package.
        observations: observations made, by phase of the search.
    """

    FORMAT = "eden-tolerance"
    VERSION = 1

    coarse: Rate
    limits: dict[str, Rate]
    bytes: dict[str, Count]
    kinds: dict[str, Literal["weight", "input"]]
    storage: dict[str, str]
    error_models: dict[str, dict[str, Any]]
    max_drop: Probability
    confidence: Probability
    guarantee: Guarantee
    metric: str
    reference_accuracy: Accuracy
    float_accuracy: Accuracy | None = None
    samples: Annotated[int, pydantic.Field(ge=1)]
    coarse_certificate: Certificate
    limits_certificate: Certificate | None
    seed: int
    random_layout: int
    eden_version: str
    observations: dict[str, Count]

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        if not self.limits:
            raise ValueError("limits has no operand; allowed is at least one")
        for part in ("bytes", "kinds", "storage", "error_models"):
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

    def table(self) -> str:
        """The limits as text: operand, bytes, limit and its ratio to the coarse rate, one operand per line."""
        rows = [("operand", "bytes", "limit", "x coarse")]
        rows += [
            (name, f"{self.bytes[name]:,}", f"{limit:.3g}", f"{limit / self.coarse:.3g}")
            for name, limit in self.limits.items()
        ]
        rows.append(("all alike (coarse)", f"{sum(self.bytes.values()):,}", f"{self.coarse:.3g}", "1"))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        return "\n".join(
            "  ".join(
                [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            )
            for row in rows
        )
