"""What an adaptive curriculum was told, and where it goes from there."""

from __future__ import annotations

import dataclasses
import math

from eden.boosting.rates import Points, Rates

_SMOOTHING = 0.98  # of losses: the last fifty or so count
_LEAST_FACTOR = 1.02  # below it an adaptive curriculum only trembles


@dataclasses.dataclass
class Recovery:
    """Where an adaptive curriculum is, and what it was told since its level began."""

    level: float
    factor: float
    recovered: float | None = None  # the highest level that the network has recovered at
    epochs: int = 0  # at this level
    reference: float | None = None
    kind: str | None = None  # "score" or "loss", what the reference is
    score: float | None = None
    loss_sum: float = 0.0
    loss_weight: float = 0.0

    def report(self, score: float | None, loss: float | None) -> None:
        """Take a score in place of the one before, and a loss into the smoothed ones."""
        if score is not None:
            self.score = float(score)
        if loss is not None:
            self.loss_sum = _SMOOTHING * self.loss_sum + (1.0 - _SMOOTHING) * float(loss)
            self.loss_weight = _SMOOTHING * self.loss_weight + (1.0 - _SMOOTHING)

    def end_epoch(
        self, ladder: Rates | Points, reference: float | None, recovery: float, factor: float, patience: int
    ) -> None:
        """Go to the level of the next epoch.

        Args:
            ladder: the levels.
            reference: the loss or score to recover to; None takes what the first epoch ends with.
            recovery: what the loss may be above the reference, relative, or the score below it.
            factor: by what the curriculum began to raise its level.
            patience: in how many epochs the network has to recover.

        Raises:
            RuntimeError: if nothing was reported since the level began, or now a loss and then a score.
        """
        kind = "score" if self.score is not None else "loss"
        if self.score is None and self.loss_weight == 0.0:
            raise RuntimeError(
                "nothing was reported since the rate last changed, so an adaptive curriculum cannot tell whether the "
                "network has recovered; call report(score) or report(loss=...)"
            )
        if self.kind not in (None, kind):
            raise RuntimeError(f"found a {kind}, after a {self.kind} before; allowed is to report the same all along")
        value = self.score if self.score is not None else self.loss_sum / self.loss_weight
        if self.reference is None:
            self.reference = value if reference is None else reference
        self.kind = kind
        self.epochs += 1
        if kind == "score":
            recovered = value >= self.reference - recovery
        else:
            # The magnitude, for losses that are negative, such as a likelihood's of densities.
            recovered = value <= self.reference + recovery * abs(self.reference)
        if recovered:
            self.recovered = self.level if self.recovered is None else max(self.recovered, self.level)
            if not ladder.last(self.level):
                self.level = ladder.raised(self.level, self.factor)
        elif self.epochs < patience:
            return
        elif self.recovered is not None and self.recovered < self.level:
            self.level = self.recovered
            self.factor = max(math.sqrt(self.factor), min(factor, _LEAST_FACTOR))
        else:
            self.level = ladder.lowered(self.level, self.factor)
        self.epochs, self.score, self.loss_sum, self.loss_weight = 0, None, 0.0, 0.0
