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
Functions = Callable[[Vector, NDArray[np.int64]], Vector]
"""The same of several functions: float64 of (functions, points, parameters), and which they are."""

# Steps, those that fail and are tried again shorter among them.
_ITERATIONS = 160
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


def _derivatives(
    functions: Functions, which: NDArray[np.int64], box: Box, x: Vector, value: Vector, scale: Vector
) -> tuple[Vector, Vector, NDArray[np.bool_]]:
    """The gradients, minus the second derivatives, and what is stuck at an end of the box, of what is free in it.

    They are differences of a twentieth of a standard error, whose order of magnitude is ``scale``; it is made exact.
    """
    free = np.flatnonzero(box.low < box.high)
    low, high, at = box.low[free], box.high[free], x[:, free]
    h = np.clip(0.05 * scale[:, free], 1e-6, 0.02)
    # At an end of the box all points lie inside it: one and two steps from the end.
    beyond = at + h > high
    edge = beyond | (at - h < low)
    h[beyond] *= -1.0
    one = np.eye(len(free))
    moves = h[:, :, None] * one
    first, second = np.tril_indices(len(free), -1)
    tried = [moves, np.where(edge, 2.0, -1.0)[:, :, None] * moves, moves[:, first] + moves[:, second]]
    points = np.repeat(x[:, None], 2 * len(free) + len(first), axis=1)
    points[:, :, free] += np.concatenate(tried, axis=1)
    ahead, behind, both = np.split(functions(points, which), [len(free), 2 * len(free)], axis=1)
    before = value[:, None]
    slope = np.where(edge, 4 * ahead - 3 * before - behind, ahead - behind) / (2 * h)
    diagonal = -np.where(edge, before - 2 * ahead + behind, ahead - 2 * before + behind) / h**2
    information = diagonal[:, :, None] * one
    # What the two steps give together beyond what they give apart.
    beyond_apart = (ahead[:, first] + ahead[:, second] - both - before) / (h[:, first] * h[:, second])
    information[:, first, second] = information[:, second, first] = beyond_apart
    told = diagonal > 0.0
    scale[:, free] = np.where(told, np.clip(1.0 / np.sqrt(np.where(told, diagonal, 1.0)), 1e-7, 2.0), scale[:, free])
    stuck = ((at <= low) & (slope <= 0.0)) | ((at >= high) & (slope >= 0.0))
    return slope, information, stuck


def maximize_each(functions: Functions, box: Box, starts: Vector, scale: Vector) -> tuple[Vector, Vector, Vector]:
    """Maximize many functions in one box, a step of all of them at a time.

    Newton's method with differences for derivatives, damped as Levenberg and Marquardt do, projected on the box.

    Args:
        functions: of points, all of them at once.
        box: where the maxima are looked for.
        starts: float64 of (functions, parameters).
        scale: the order of magnitude of each parameter's standard error.

    Returns:
        The places of the maxima, float64 of (functions, parameters), their values, float64 of (functions), and the
        standard error of each parameter where the others are known, float64 of (functions, parameters).

    """
    x, scales = np.clip(starts, box.low, box.high), np.tile(scale, (len(starts), 1))
    value, damping = functions(x[:, None], np.arange(len(x)))[:, 0], np.zeros(len(x))
    free = np.flatnonzero(box.low < box.high)
    one = np.eye(len(free))
    active = np.flatnonzero(np.isfinite(value) & bool(free.size))
    for _ in range(_ITERATIONS):
        if not active.size:
            break
        at, before, scaled = x[active], value[active], scales[active]
        slope, information, stuck = _derivatives(functions, active, box, at, before, scaled)
        scales[active] = scaled
        # Functions that are not finite around their place stay there.
        known = np.isfinite(slope) & np.isfinite(information).all(axis=2)
        unknown = stuck | ~known.all(axis=1, keepdims=True)
        slope[unknown] = 0.0
        information = np.where(unknown[:, :, None] | unknown[:, None], one, information)
        diagonal = np.maximum(np.abs(np.diagonal(information, axis1=1, axis2=2)), 1e-6)[:, :, None] * one
        while True:
            damped = information + damping[active, None, None] * diagonal
            # Positive definite? Units of its parameters apart, which rounding would mix.
            units = np.sqrt(np.abs(np.diagonal(damped, axis1=1, axis2=2)) + 1e-300)
            bad = active[np.linalg.eigvalsh(damped / (units[:, :, None] * units[:, None]))[:, 0] <= 0.0]
            if not bad.size:
                break
            damping[bad] = np.maximum(4 * damping[bad], 1e-3)
        step = np.linalg.solve(damped, slope[:, :, None])[:, :, 0]
        gain = 0.5 * (slope * step).sum(axis=1)
        step *= np.minimum(1.0, _LONGEST_STEP / np.maximum(np.abs(step).max(axis=1), 1e-300))[:, None]
        following = at.copy()
        following[:, free] = np.clip(at[:, free] + step, box.low[free], box.high[free])
        found = functions(following[:, None], active)[:, 0]
        better = found > before
        up, down = active[better], active[~better]
        x[up], value[up] = following[better], found[better]
        damping[up] = np.where(damping[up] < 1e-6, 0.0, 0.2 * damping[up])
        damping[down] = np.maximum(5 * damping[down], 1e-3)
        active = active[(gain >= _GAIN) | (better & (found - before >= _GAIN))]
    return x, value, scales


def _alone(function: Function) -> Functions:
    def functions(points: Vector, which: NDArray[np.int64]) -> Vector:
        return function(points[0])[None]

    return functions


def maximize(function: Function, box: Box, start: Vector, scale: Vector) -> Maximum:
    """Maximize one function in a box, as ``maximize_each`` does, which describes the arguments."""
    functions = _alone(function)
    x, value, scale = maximize_each(functions, box, start[None], scale)
    covariance = np.zeros((x.size, x.size))
    free = np.flatnonzero(box.low < box.high)
    if free.size:
        _, information, stuck = _derivatives(functions, np.zeros(1, np.int64), box, x, value, scale)
        loose = ~stuck[0]
        told = information[0][np.ix_(loose, loose)]
        try:
            np.linalg.cholesky(told)
            covariance[np.ix_(free[loose], free[loose])] = np.linalg.inv(told)
        except np.linalg.LinAlgError:
            pass
    return Maximum(x[0], float(value[0]), covariance)


def profile_interval(function: Function, box: Box, maximum: Maximum, i: int, ratio: float) -> tuple[float, float]:
    """The values of a parameter whose profile log-likelihood lies within half of a ratio of the maximum.

    An end is one of the box where the profile does not fall that far. A better maximum that is met on the way becomes
    ``maximum``.
    """
    functions = _alone(function)
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
            start = warm + slopes * (place - warm[i])
            (warm,), (value,), _ = maximize_each(functions, box.fixed(i, place), start[None], scale)
            if value > maximum.value + 1e-6:
                maximum.value, maximum.place = float(value), warm
            return math.sqrt(max(0.0, 2 * (maximum.value - value)))

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
