"""The file of what boosting gained: what the networks before and after it tolerate, and which one a run starts from."""

from __future__ import annotations

from typing import ClassVar, Literal

import pydantic

from eden.boosting.judge import beats
from eden.common.provenance import Result

_Rate = pydantic.Field(ge=0.0, le=1.0)


class Gain(Result):
    """What boosting gained. Saved and loaded as JSON.

    Both rates are estimates, on the same chips and samples, and certify nothing: they decide which network a run starts
    from.
    """

    FORMAT: ClassVar[str] = "eden-gain"
    VERSION: ClassVar[int] = 1

    max_drop: float = pydantic.Field(gt=0.0, lt=1.0)
    """Accuracy that may be lost, from that of the network before boosting on reliable memory."""
    baseline: float = _Rate
    """Mean bit error rate in all operands that the network before boosting tolerates; 0 for none."""
    boosted: float = _Rate
    """What the one after it tolerates."""
    clean_drop: float
    """Accuracy that boosting cost on reliable memory."""
    samples: int = pydantic.Field(ge=1)
    """Of the validation set, that both were judged on: those that decisions may see."""

    @property
    def better(self) -> Literal["baseline", "boosted"]:
        """Which one tolerates more; the one before boosting where boosting gained nothing."""
        return "boosted" if beats(self.boosted, self.baseline) else "baseline"

    def __str__(self) -> str:
        def told(rate: float) -> str:
            return f"BER {rate:.2g}" if rate else "nothing"

        return (
            f"boosting cost {self.clean_drop:.2%} without errors; for a drop of {self.max_drop:.1%} the network before "
            f"it tolerates {told(self.baseline)}, the boosted one {told(self.boosted)}, estimated on the same chips"
        )
