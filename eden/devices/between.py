"""Rates between measured points: the log-odds are linear in each parameter, or follow a curve."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from eden.devices.likelihoods.odds import logistic, logit

_FURTHEST = 700.0  # log-odds of a rate that is not told from 0 or 1


def log_odds(rate: float) -> float:
    """The log-odds of a rate, finite."""
    return min(max(logit(rate), -_FURTHEST), _FURTHEST)


def multilinear(shares: Sequence[float], corners: Mapping[tuple[int, ...], float]) -> float:
    """The rate inside a box whose corners have rates above 0: multilinear in the log-odds.

    It rises along every parameter if the corners' rates do, and is continuous from one box to the next.

    Args:
        shares: of each parameter, how far the point lies from the milder side to the harsher one, 0 to 1.
        corners: rates by side of each parameter, 0 for the milder one and 1 for the harsher one.

    """
    total = math.fsum(
        math.prod(share if side else 1.0 - share for share, side in zip(shares, sides, strict=True))
        * log_odds(corners[sides])
        for sides in itertools.product((0, 1), repeat=len(shares))
    )
    rate = logistic(total)
    return min(max(rate, min(corners.values())), max(corners.values()))
