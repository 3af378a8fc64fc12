"""Maxima of smooth log-likelihoods of a few parameters in a box, and the intervals that their profiles give."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Function = Callable[[Vector], Vector]
"""The log-likelihoods of points, float64 of (points), from their coordinates, float64 of (points, parameters)."""

_ITERATIONS = 80
# Gains of the log-likelihood below this end the search: intervals end at a fall of about 2.
_GAIN = 1e-8
_LONGEST_STEP = 3.0


@dataclass
class Box:
    """Where the parameters may lie, float64 of (parameters). A parameter whose ends are equal is fixed."""

    low: Vector
    high: Vector

    def fixed(self, i: int, place: float) -> Box:
        """The same with one parameter fixed."""
        low, high = self.low.copy(), self.high.copy()
        low[i] = high[i] = place
        return Box(low, high)


@dataclass
class Maximum:
    """A maximum in a box.

    Attributes:
        place: float64 of (parameters).
        value: the log-likelihood there.
        covariance: inverse of the observed information, float64 of (parameters, parameters); 0 in the rows of
            parameters that are fixed or lie at an end of the box.

    """

    place: Vector
    value: float
    covariance: Vector

    def deviation(self, i: int) -> float:
        """The standard error of a parameter; 0 where it has none."""
        return math.sqrt(max(float(self.covariance[i, i]), 0.0))


def _differences(function: Function, box: Box, x: Vector, value: float, scale: Vector) -> tuple[Vector, Vector]:
    """The gradient, and minus the second derivatives, by differences of a twentieth of a standard error."""
    n = len(x)
    free = np.flatnonzero(box.low < box.high)
    step = np.where(box.low < box.high, np.clip(0.05 * scale, 1e-6, 0.02), 0.0)
    # At an end of the box all points lie inside it: one and two steps from the end.
    beyond = x + step > box.high
    one_sided = beyond | (x - step < box.low)
    step[beyond] *= -1.0
    moves = np.diag(step)
    pairs = [(i, j) for k, i in enumerate(free) for j in free[:k]]
    points = [moves[free], np.where(one_sided, 2.0, -1.0)[free, None] * moves[free]]
    points.append(np.array([moves[i] + moves[j] for i, j in pairs]).reshape(len(pairs), n))
    ahead, behind, both = np.split(function(x + np.concatenate(points)), [len(free), 2 * len(free)])
    gradient, information = np.zeros(n), np.zeros((n, n))
    h, edge = step[free], one_sided[free]
    gradient[free] = np.where(edge, 4 * ahead - 3 * value - behind, ahead - behind) / (2 * h)
    curvature = np.where(edge, value - 2 * ahead + behind, ahead - 2 * value + behind) / h**2
    information[free, free] = -curvature
    of = dict(zip(free, ahead, strict=True))
    for (i, j), joint in zip(pairs, both, strict=True):
        # What the two steps give together beyond what they give apart.
        information[i, j] = information[j, i] = -(joint - of[i] - of[j] + value) / (step[i] * step[j])
    return gradient, information


def maximize(function: Function, box: Box, start: Vector, scale: Vector) -> Maximum:
    """Newton's method with differences for derivatives, damped as Levenberg and Marquardt do, projected on the box.

    Args:
        function: of points, all of them at once.
        box: where the maximum is looked for.
        start: float64 of (parameters).
        scale: the order of magnitude of each parameter's standard error.

    """
    x, scale = np.clip(start, box.low, box.high), scale.copy()
    value = float(function(x[None])[0])
    damping = 0.0

    def derive() -> tuple[NDArray[np.int64], Vector, Vector]:
        gradient, information = _differences(function, box, x, value, scale)
        stuck = ((x <= box.low) & (gradient <= 0.0)) | ((x >= box.high) & (gradient >= 0.0))
        free = np.flatnonzero((box.low < box.high) & ~stuck)
        diagonal = information[free, free]
        told = diagonal > 0.0
        scale[free[told]] = np.clip(1.0 / np.sqrt(diagonal[told]), 1e-7, 2.0)
        return free, gradient[free], information[np.ix_(free, free)]

    for _ in range(_ITERATIONS):
        free, slope, information = derive()
        if not free.size:
            break
        moved = settled = False
        for _ in range(40):
            damped = information + damping * np.diag(np.maximum(np.abs(np.diag(information)), 1e-6))
            try:
                np.linalg.cholesky(damped)
            except np.linalg.LinAlgError:
                damping = max(4 * damping, 1e-3)
                continue
            step = np.linalg.solve(damped, slope)
            gain = 0.5 * float(slope @ step)
            following = x.copy()
            following[free] += step * min(1.0, _LONGEST_STEP / max(float(np.abs(step).max()), 1e-300))
            following = np.clip(following, box.low, box.high)
            found = float(function(following[None])[0])
            if found > value:
                settled = gain < _GAIN and found - value < _GAIN
                x, value, moved = following, found, True
                damping = 0.0 if damping < 1e-6 else 0.2 * damping
                break
            if settled := gain < _GAIN:
                break
            damping = max(5 * damping, 1e-3)
        if settled or not moved:
            break
    free, _, information = derive()
    covariance = np.zeros((len(x), len(x)))
    try:
        np.linalg.cholesky(information)
        covariance[np.ix_(free, free)] = np.linalg.inv(information)
    except np.linalg.LinAlgError:
        pass
    return Maximum(x, value, covariance)


def profile_interval(function: Function, box: Box, maximum: Maximum, i: int, ratio: float) -> tuple[float, float]:
    """The values of a parameter whose profile log-likelihood lies within half of a ratio of the maximum.

    An end is one of the box where the profile does not fall that far. A better maximum that is met on the way becomes
    ``maximum``.
    """
    target, ends = math.sqrt(ratio), [float(box.low[i]), float(box.high[i])]
    for side, limit in enumerate(list(ends)):
        sign, centre = (-1.0, 1.0)[side], float(maximum.place[i])
        if centre == limit:
            continue
        variance = float(maximum.covariance[i, i])
        own = np.diag(maximum.covariance)
        scale = np.where(own > 0.0, np.sqrt(np.maximum(own, 0.0)), 1.0)
        deviation = float(scale[i])
        warm = maximum.place.copy()
        slopes = maximum.covariance[:, i] / variance if variance > 0.0 else np.zeros(len(warm))

        def root(place: float, slopes: Vector = slopes, scale: Vector = scale, centre: float = centre) -> float:
            """The root of twice the fall of the profile: nearly a straight line."""
            nonlocal warm
            at = maximize(function, box.fixed(i, place), warm + slopes * (place - warm[i]), scale)
            warm = at.place
            if at.value > maximum.value + 1e-6:
                maximum.value, maximum.place = at.value, at.place
            return math.sqrt(max(0.0, 2 * (maximum.value - at.value)))

        near, near_root = centre, 0.0
        far = centre + sign * min(target * deviation, 5.0)
        while True:
            if sign * (far - limit) >= 0.0:
                far = limit
            far_root = root(far)
            if far_root >= target or far == limit:
                break
            # Where the straight line through the last two points meets the target, and a little more.
            slope = (far_root - near_root) / (far - near)
            step = 1.05 * (target - far_root) / abs(slope) if slope * sign > 0.0 else deviation
            step = min(max(step, 0.02 * abs(far - centre)), 2.0 * abs(far - centre) + 0.5)
            near, near_root = far, far_root
            far += sign * step
        if far_root < target:
            continue
        for _ in range(60):
            if far_root - target < 1e-4 or abs(far - near) < 1e-9:
                break
            share = (target - near_root) / (far_root - near_root)
            # Not closer to an end than a hundredth: the line is only nearly straight.
            place = near + (far - near) * min(max(share, 0.01), 0.99)
            found = root(place)
            if found > target or abs(found - target) < 1e-4:
                far, far_root = place, found
                if abs(found - target) < 1e-4:
                    break
            else:
                near, near_root = place, found
        ends[side] = far
    return ends[0], ends[1]


def crossing(function: Callable[[float], float], inside: float, step: float, limit: float) -> float:
    """Where a function that is positive inside and falls away from it crosses zero; the limit where it does not.

    Args:
        function: falls in the direction of ``step``.
        inside: where it is positive, or above all places if it is not.
        step: the first one; each is twice the one before.
        limit: the furthest place.

    """
    from scipy import optimize

    near = far = inside
    while function(far) > 0.0:
        if far == limit:
            return limit
        near, far = far, (min if step > 0.0 else max)(far + step, limit)
        step *= 2
    return near if near == far else float(optimize.brentq(function, near, far, xtol=1e-9, rtol=1e-12))
