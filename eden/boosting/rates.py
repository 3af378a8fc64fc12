"""The rates or operating points that a curriculum goes through, from mild to harsh; a level says how far it is."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from eden.common.arguments import number
from eden.common.checks import at_most
from eden.memory.errors import ErrorModel

_START = 1e-2  # a logarithmic or adaptive ramp starts at this share of its target


@dataclasses.dataclass(frozen=True)
class Rates:
    """Rates that rise towards a target per operand; a level is the share of the target that is reached."""

    shapes: dict[str, ErrorModel]
    target: float | dict[str, float]

    def target_of(self, name: str) -> float:
        """The target of an operand."""
        return self.target[name] if isinstance(self.target, dict) else self.target

    @property
    def target_ber(self) -> float:
        """The mean over operands of the target."""
        return statistics.fmean(self.target.values()) if isinstance(self.target, dict) else self.target

    def ber(self, level: float) -> float:
        """The mean bit error rate at a level."""
        return self.target_ber * level

    def errors(self, level: float, share: float) -> dict[str, ErrorModel]:
        """The error models at a share of a level's rate, by operand."""
        level = level if share == 1.0 else level * share
        return {name: shape.scaled(self.target_of(name) * level) for name, shape in self.shapes.items()}

    def unscaled(self, level: float) -> dict[str, ErrorModel]:
        """The error models that those of a level were made of, by operand."""
        return self.shapes

    def level(self, schedule: str, start: float | None, step: int, steps: int) -> float:
        """The level of a step, from 1, of so many; ``start`` is a level."""
        if steps == 1:
            return 1.0
        if schedule == "logarithmic":
            return float((_START if start is None else start) ** ((steps - step) / (steps - 1)))
        if schedule == "step" or start is not None:
            low = start or 0.0
            return low + (1.0 - low) * (step - 1) / (steps - 1)
        return step / steps

    def first(self, start: float | None) -> float:
        """The level at which an adaptive curriculum begins."""
        return _START if start is None else start

    def raised(self, level: float, factor: float) -> float:
        """The level that a factor above 1 leads to."""
        return min(level * factor, 1.0)

    def lowered(self, level: float, factor: float) -> float:
        """The level that it leads back to."""
        return level / factor

    def last(self, level: float) -> bool:
        """Whether a level is the target."""
        return level >= 1.0

    def settings(self) -> dict[str, Any]:
        """What ``of_settings`` takes: JSON values."""
        errors = {name: errors.to_dict() for name, errors in self.shapes.items()}
        return {"target_ber": self.target, "points": None, "errors": errors}


@dataclasses.dataclass(frozen=True)
class Points:
    """Operating points from mild to harsh, all operands alike; a level is the point's number, -1 reliable memory."""

    names: tuple[str, ...]
    models: tuple[ErrorModel, ...]

    @property
    def target_ber(self) -> float:
        """The rate of the last point."""
        return self.models[-1].ber

    def ber(self, level: float) -> float:
        """The mean bit error rate at a level."""
        return self.models[int(level)].ber if level >= 0 else 0.0

    def errors(self, level: float, share: float) -> dict[str, ErrorModel]:
        """The error models at a share of a level's rate, by operand."""
        model = self.models[max(int(level), 0)]
        share = share if level >= 0 else 0.0
        return dict.fromkeys(self.names, model if share == 1.0 else model.scaled(model.ber * share))

    def unscaled(self, level: float) -> dict[str, ErrorModel]:
        """The error models that those of a level were made of, by operand."""
        return dict.fromkeys(self.names, self.models[max(int(level), 0)])

    def level(self, schedule: str, start: float | None, step: int, steps: int) -> float:
        """The level of a step, from 1, of so many."""
        count = len(self.models)
        if schedule == "step" and steps > 1:
            return count * (step - 1) // (steps - 1) - 1
        return -(-step * count // steps) - 1

    def first(self, start: float | None) -> float:
        """The level at which an adaptive curriculum begins."""
        return 0

    def raised(self, level: float, factor: float) -> float:
        """The next point."""
        return min(int(level) + 1, len(self.models) - 1)

    def lowered(self, level: float, factor: float) -> float:
        """The point before."""
        return max(int(level) - 1, -1)

    def last(self, level: float) -> bool:
        """Whether a level is the last point."""
        return level >= len(self.models) - 1

    def settings(self) -> dict[str, Any]:
        """What ``of_settings`` takes: JSON values."""
        points = [model.to_dict() for model in self.models]
        return {"target_ber": None, "points": points, "errors": dict.fromkeys(self.names)}


def of_settings(settings: Mapping[str, Any]) -> Rates | Points:
    """What ``settings`` were taken of. Raises KeyError, TypeError or ValueError for what is damaged."""
    if settings["points"] is None:
        shapes = {name: ErrorModel.from_dict(spec) for name, spec in settings["errors"].items()}
        return Rates(shapes, settings["target_ber"])
    return Points(tuple(settings["errors"]), tuple(ErrorModel.from_dict(spec) for spec in settings["points"]))


def reachable(shapes: dict[str, ErrorModel]) -> Rates:
    """All rates that every operand can reach, up to a half."""
    found = of_target(shapes, min(0.5, *(model.highest_ber for model in shapes.values())))
    assert isinstance(found, Rates)  # of one number
    return found


def of_target(shapes: dict[str, ErrorModel], target: Any) -> Rates | Points:
    """The rates or points of a curriculum's ``target_ber``.

    Args:
        shapes: by operand, the error model that is brought to the rates.
        target: as ``eden.Curriculum`` takes it.

    Raises:
        ValueError: for a target that is out of range, or that an operand cannot reach.
    """
    if isinstance(target, Sequence) and not isinstance(target, str):
        if not target or not all(isinstance(one, ErrorModel) and one.ber > 0.0 for one in target):
            raise ValueError(
                "target_ber is a list; allowed is one of error models that make errors, such as eden.Device.walk gives"
            )
        for mild, harsh in itertools.pairwise(target):
            # Rates of a curve that has come near its asymptote differ by rounding alone.
            if not at_most(mild.ber, harsh.ber, 16):
                raise ValueError(
                    f"target_ber has a model of BER {harsh.ber:.3g} after one of {mild.ber:.3g}; allowed are models "
                    "from mild to harsh"
                )
        return Points(tuple(shapes), tuple(target))
    if isinstance(target, Mapping):
        rates = dict(target)
        unknown, missing = sorted(set(rates) - set(shapes)), sorted(set(shapes) - set(rates))
        if unknown:
            raise ValueError(
                f"target_ber has {', '.join(unknown)}, which have no error model; allowed are {', '.join(shapes)}"
            )
        if missing:
            raise ValueError(f"target_ber lacks {', '.join(missing)}; give 0 for an operand on reliable memory")
        for name, rate in rates.items():
            if not (number(rate) and 0.0 <= rate <= 1.0):
                raise ValueError(f"target_ber of {name} is {rate!r}; allowed is from 0 to 1")
        if not any(rates.values()):
            raise ValueError("target_ber is 0 for all operands; allowed is a rate above 0 for at least one")
        ladder = Rates(shapes, {name: float(rates[name]) for name in shapes})
    else:
        if not (number(target) and 0.0 < target <= 1.0):
            raise ValueError(f"target_ber is {target!r}; allowed is above 0 to 1")
        ladder = Rates(shapes, float(target))
    for name, errors in shapes.items():
        goal = ladder.target_of(name)
        try:
            errors.scaled(goal)
        except ValueError as error:
            raise ValueError(f"target_ber is {goal}, which {name} cannot reach: {error}") from error
    return ladder
