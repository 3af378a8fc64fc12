"""The recipe of a retraining: one TOML file that says all of it, checked before anything is computed."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pydantic
import tomli_w

from eden.app.tasks import KEPT, Task
from eden.boosting.curriculum import Curriculum
from eden.boosting.recipe import Recipe
from eden.common.files import FileError, Record, VersionedFile, place_in, read_text, toml_table, write_text
from eden.common.renames import RECIPE_KEYS
from eden.devices.device import Device
from eden.devices.margin import Margin
from eden.faults.config import usual_correction
from eden.memory.errors import ErrorModel

NAME = "recipe.toml"
"""What the resolved recipe is called in the folder of its results."""

_DEFAULT_DEVICE = "ddr3-b33"


def _described(documented: Any, parameter: str) -> str:
    """What a docstring's ``Args`` say of a parameter, on one line."""
    text = inspect.getdoc(documented) or ""
    found = re.search(rf"^    {parameter}: (.*?)(?=^    \w+: |^\w+:|\Z)", text, re.MULTILINE | re.DOTALL)
    return " ".join(found[1].split()).replace("``", "'") if found else ""


def _optional(kind: Any) -> Any:
    """The type of a field that may be left out, as TOML has it: tables for mappings, arrays for sequences."""
    parts = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    known = {Mapping[str, float]: dict[str, float], Sequence[int]: list[int]}
    result: Any = None
    for part in parts:
        result = result | known.get(part, part)
    return result


def _section(name: str, documented: Any, left_out: Sequence[str], more: Mapping[str, Any] | None = None) -> Any:
    """A table of the recipe with the parameters of a class as its keys, each of which may be left out."""
    hints = typing.get_type_hints(documented.__init__)
    fields: dict[str, Any] = {
        key: (_optional(hints[key]), pydantic.Field(default=None, description=_described(documented, key)))
        for key in inspect.signature(documented).parameters
        if key not in left_out
    }
    config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)
    return pydantic.create_model(name, __config__=config, **fields, **(more or {}))


def _field(kind: Any, description: str) -> Any:
    return (kind | None, pydantic.Field(default=None, description=description))


_Planes: typing.TypeAlias = typing.Literal["search"] | list[str]


class Table(Record):
    """A table of a recipe."""

    model_config = pydantic.ConfigDict(strict=True)


class Memory(Table):
    """The memory that is trained for: a device at an operating point, or an error model, and how it keeps values."""

    device: str | None = pydantic.Field(default=None, description="a name of the catalogue or a device file")
    partition: str | None = pydantic.Field(
        default=None, description="a partition of the device; the whole module if left out"
    )
    trcd: float | None = pydantic.Field(default=None, description="row activation latency in ns")
    trp: float | None = pydantic.Field(default=None, description="precharge latency in ns")
    vdd: float | None = pydantic.Field(default=None, description="supply voltage in V")
    temperature: float | None = pydantic.Field(default=None, description="in degrees Celsius")
    refresh_interval: float | None = pydantic.Field(default=None, description="in ms")
    tras: float | None = pydantic.Field(default=None, description="row active time in ns")
    errors: dict[str, Any] | None = pydantic.Field(default=None, description="an error model instead of a device")
    operands: typing.Literal["all", "weights", "inputs"] = pydantic.Field(
        default="all", description="which are in it; the others are on reliable memory, in their own numbers"
    )
    storage: str | None = pydantic.Field(default=None, description="the form in which it keeps weights and inputs")
    correction: str | None = pydantic.Field(default=None, description="'none', 'zero' or 'clamp'")
    input_storage: str | None = pydantic.Field(default=None, description="of the inputs, where it differs")
    quantization: str | None = pydantic.Field(default=None, description="'symmetric' or 'affine' codes")
    weight_channels: bool | None = pydantic.Field(default=None, description="a scale for each channel of a weight")
    percentile: float | None = pydantic.Field(
        default=None, gt=50.0, le=100.0, description="share of an input's values in its range, in percent"
    )
    planes: _Planes | dict[str, _Planes] | None = pydantic.Field(
        default=None,
        description="bit positions of words that memory keeps apart: 'search', planes such as ['7', '6:5', '4:0'], or "
        "either by 'weight', 'input' or an operand's name; whole words if left out",
    )


class Walk(Table):
    """A walk along one parameter of the memory's device, in place of rates."""

    trcd: float | None = pydantic.Field(default=None, description="in ns")
    trp: float | None = pydantic.Field(default=None, description="in ns")
    vdd: float | None = pydantic.Field(default=None, description="in V")
    refresh_interval: float | None = pydantic.Field(default=None, description="in ms")
    tras: float | None = pydantic.Field(default=None, description="in ns")
    steps: int | None = pydantic.Field(default=None, description="evenly spaced values instead of the fitted points")


if TYPE_CHECKING:
    # Made below of the arguments that the classes take.
    _Training: typing.TypeAlias = Any
    _Curriculum: typing.TypeAlias = Any
else:
    _Training = _section("Training", Recipe, ())
    _Curriculum = _section(
        "Curriculum",
        Curriculum,
        ("model", "epochs", "seed", "target_ber", "log", "validation", "metric", "forward_fn", "target_fn"),
        {
            "target_ber": _field(
                float | dict[str, float],
                "mean bit error rate to reach, for all operands or by operand; found if the task has none either",
            ),
            "tolerance": _field(str, "a tolerance file, whose limits are to be reached"),
            "placement": _field(str, "a placement file, whose rates are to be reached"),
            "walk": _field(Walk, "operating points to walk through, in place of rates"),
        },
    )


class RetrainRecipe(VersionedFile):
    """All that ``eden retrain`` does, as a TOML file. What is left out is the task's, or the parameter's default."""

    model_config = pydantic.ConfigDict(strict=True)
    FORMAT: ClassVar[str] = "eden-recipe"
    VERSION: ClassVar[int] = 1

    task: str = pydantic.Field(
        default="digits", description="a task's name, package.module:function or file.py:function"
    )
    """Network, data and defaults."""
    seed: int = pydantic.Field(default=0, description="a 64-bit integer")
    """Of the network's chip and of what the curriculum draws."""
    checkpoint_every: int | None = pydantic.Field(default=None, ge=1, description="optimizer steps")
    """Write the checkpoints also after each so many optimizer steps."""
    reestimate_chips: int = pydantic.Field(default=0, ge=0, description="chips")
    """Chips under whose errors batch-norm statistics are estimated at the end; 0 for not at all."""
    calibration_samples: int | None = pydantic.Field(default=None, ge=1, description="samples")
    """Training samples from which the ranges of inputs are taken."""
    memory: Memory = Memory()
    """What is trained for."""
    training: _Training = pydantic.Field(default_factory=dict, validate_default=True)
    """Of the network on reliable memory; of a task that brings a trained network, none."""
    boost: _Training = pydantic.Field(default_factory=dict, validate_default=True)
    """Of the training under faults."""
    curriculum: _Curriculum = pydantic.Field(default_factory=dict, validate_default=True)
    """How the errors rise."""

    @classmethod
    def load(cls, path: str | os.PathLike[str], overrides: Sequence[tuple[str, Any]] = ()) -> Self:
        """Read and validate a recipe.

        Args:
            path: a TOML file.
            overrides: values that take the place of the file's, by dotted key, such as ("boost.epochs", 3).

        Raises:
            FileError: naming the file, the place in it, what was found and what is allowed.

        """
        body = toml_table(read_text(path), path)
        for key, allowed in (("format", cls.FORMAT), ("version", cls.VERSION)):
            if body.get(key) != allowed or type(body.get(key)) is not type(allowed):
                raise FileError(path, f"{key}: found {body.get(key)!r}, allowed is {allowed!r}")
        del body["format"], body["version"]
        return cls.of(body, overrides, path)

    @classmethod
    def of(
        cls,
        body: Mapping[str, Any],
        overrides: Sequence[tuple[str, Any]] = (),
        path: str | os.PathLike[str] = "command line",
    ) -> Self:
        """Validate a recipe of nested dictionaries; ``path`` is what errors name, save for those of overrides.

        Raises:
            FileError: as ``load``.

        """
        merged = {key: dict(value) if isinstance(value, Mapping) else value for key, value in body.items()}
        for key, value in overrides:
            _override(merged, key, value)
        try:
            return cls.model_validate(merged)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            more = error.error_count() - 1
            place = place_in(tuple(part for part in first["loc"] if not _names_type(part)))
            overridden = any(place == key or place.startswith(f"{key}.") for key, _ in overrides)
            found = str(first.get("input"))[:80]
            if first["type"] == "extra_forbidden":
                allowed = ", ".join(_fields(cls, first["loc"][:-1]))
                new = RECIPE_KEYS.get(place)
                problem = f"{place}: unknown key; allowed are {allowed}" if new is None else f"{place} is now {new}"
            else:
                description = _description(cls, first["loc"])
                meant = f" ({description})" if description else ""
                problem = f"{place}: {first['msg']}{meant}; found {found!r}"
            problem += f" (and {more} more such problems)" if more else ""
            raise FileError("command line" if overridden else path, problem) from error

    @classmethod
    def parse(cls, text: str, path: str | os.PathLike[str]) -> Self:
        """Refused: recipes are TOML, read by ``load``."""
        raise FileError(path, "recipes are TOML files")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file atomically, without what is None. Raises FileError if that is not possible."""
        body = {"format": self.FORMAT, "version": self.VERSION, **self.model_dump(mode="json", exclude_none=True)}
        write_text(path, tomli_w.dumps(body))

    def resolved(self, task: Task) -> Self:
        """The recipe with every value that it leaves out taken from the task and the defaults.

        Raises:
            ValueError: naming the place of a value that is out of range, or that has no meaning here.

        """
        if task.train is None and _given(self.training):
            raise ValueError(f"training: {task.name} brings a trained network; allowed is no such table")
        memory = self.memory.model_dump(exclude_none=True)
        kept = {name: getattr(task, name) for name in KEPT}
        named = "correction" in memory
        memory = {name: value for name, value in kept.items() if value is not None} | memory
        if not named and task.correction == usual_correction(task.storage, task.input_storage):
            memory["correction"] = usual_correction(memory["storage"], memory.get("input_storage"))
        axes = ("partition", "trcd", "trp", "vdd", "temperature", "refresh_interval", "tras")
        point = [key for key in axes if key in memory]
        if "errors" in memory:
            if "device" in memory or point:
                both = " and ".join(key for key in ("errors", "device", *point) if key in memory)
                raise ValueError(f"memory: has {both}; allowed is an error model, or a device at an operating point")
        else:
            device = find_device(memory.setdefault("device", _DEFAULT_DEVICE))
            if not set(point) - {"partition", "temperature"}:
                where = {key: memory.get(key) for key in ("partition", "temperature")}
                memory |= device.default_point(**where)
        curriculum = _given(self.curriculum)
        aims = [key for key in ("target_ber", "tolerance", "placement", "walk") if key in curriculum]
        if len(aims) > 1:
            raise ValueError(f"curriculum: has {' and '.join(aims)}; allowed is one of them")
        if not aims and "max_drop" not in curriculum and task.target_ber is not None:
            curriculum["target_ber"] = task.target_ber
        if not aims and "target_ber" not in curriculum:
            drop = curriculum.setdefault("max_drop", 0.01)
            if not 0.0 < drop < 1.0:
                raise ValueError(f"curriculum.max_drop is {drop}; allowed is in (0, 1)")
        elif "max_drop" in curriculum:
            raise ValueError(f"curriculum: has {aims[0]} and max_drop, which finds a target; allowed is one of them")
        if "walk" in curriculum:
            if "errors" in memory:
                raise ValueError("curriculum.walk: memory is an error model; allowed is a device to walk along")
            curriculum["walk"] = curriculum["walk"].model_dump(exclude_none=True)
        for key, parameter in inspect.signature(Curriculum).parameters.items():
            if key in type(self.curriculum).model_fields and key != "target_ber" and parameter.default is not None:
                curriculum.setdefault(key, parameter.default)
        training = {} if task.train is None else _merged("training", task.train, self.training)
        for key, allowed in (("clean_loss", 0.0), ("learn_ranges", False)):
            if training.get(key, allowed) != allowed:
                raise ValueError(
                    f"training.{key} is {training[key]}; allowed on reliable memory, as there are no faults yet, is "
                    f"{allowed}"
                )
        return self.of(
            {
                "task": self.task,
                "seed": self.seed,
                "checkpoint_every": self.checkpoint_every,
                "reestimate_chips": self.reestimate_chips,
                "calibration_samples": self.calibration_samples or task.calibration_samples,
                "memory": memory,
                "training": training,
                "boost": _merged("boost", task.boost, self.boost),
                "curriculum": curriculum,
            }
        )

    def device(self) -> Device | None:
        """The device of a resolved recipe, None for an error model. Raises FileError or ValueError naming it."""
        return None if self.memory.device is None else find_device(self.memory.device)

    def errors(self, device: Device | None) -> ErrorModel:
        """The error model at the memory's operating point. Raises ValueError naming what is wrong with it."""
        memory = self.memory
        if device is None:
            try:
                found = ErrorModel.from_dict(memory.errors or {})
            except (TypeError, ValueError) as error:
                raise ValueError(f"memory.errors: {error}") from error
            if found.ber == 0.0:
                raise ValueError("memory.errors: makes no errors, so there is nothing to retrain for")
            return found
        axes = ("vdd", "trcd", "trp", "temperature", "refresh_interval", "tras", "partition")
        at: dict[str, Any] = {key: getattr(memory, key) for key in axes if getattr(memory, key) is not None}
        found = device.errors(**at)
        if found.ber == 0.0:
            named = {"trcd": "tRCD {} ns", "trp": "tRP {} ns", "vdd": "{} V", "temperature": "{} C"}
            named |= {"refresh_interval": "refresh interval {} ms", "tras": "tRAS {} ns", "partition": "partition {}"}
            where = ", ".join(named[key].format(value) for key, value in at.items())
            raise ValueError(f"{device.name} has no errors at {where}, so there is nothing to retrain for")
        return found

    def target(self, device: Device | None) -> float | dict[str, float] | list[ErrorModel] | None:
        """What the curriculum of a resolved recipe is to reach; None: it is found.

        Raises:
            FileError, ValueError: naming what is wrong.
        """
        from eden.placement.placement import Placement
        from eden.tolerance.tolerance import Tolerance

        chosen = self.curriculum
        if chosen.walk is not None and device is not None:
            memory = self.memory
            return device.walk(**dict(chosen.walk), temperature=memory.temperature, partition=memory.partition)
        if chosen.tolerance is not None:
            return dict(Tolerance.load(chosen.tolerance).limits)
        if chosen.placement is not None:
            return Placement.load(chosen.placement).ber
        target: float | dict[str, float] | None = chosen.target_ber
        return target

    def curriculum_options(self) -> dict[str, Any]:
        """The arguments of ``Curriculum`` beside network, target and epochs."""
        parameters = inspect.signature(Curriculum).parameters
        given = {key: value for key, value in _given(self.curriculum).items() if key in parameters}
        return {**{key: value for key, value in given.items() if key != "target_ber"}, "seed": self.seed}

    def recipe(self, name: str) -> Recipe:
        """The ``Recipe`` of the table ``training`` or ``boost`` of a resolved recipe."""
        return Recipe(**_given(getattr(self, name)))

    def compare(self, path: str | os.PathLike[str]) -> None:
        """Refuse to go on with the run of another recipe.

        Raises:
            FileError: naming the first value in which the recipe of a file differs.

        """
        there, here = (_flat(one.model_dump(exclude={"task", "checkpoint_every"})) for one in (self.load(path), self))
        for key in here:
            if there.get(key) != here[key]:
                raise FileError(path, f"is of another run: {key} is {there.get(key)}, here it is {here[key]}")


def _given(table: Any) -> dict[str, Any]:
    return {key: value for key, value in dict(table).items() if value is not None}


def _flat(body: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in body.items():
        found |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found


def _merged(name: str, own: Recipe, given: Any) -> dict[str, Any]:
    try:
        whole = dataclasses.replace(own, **_given(given))
    except ValueError as error:
        raise ValueError(f"{name}.{error}") from error
    return dataclasses.asdict(whole)


def _override(body: dict[str, Any], key: str, value: Any) -> None:
    *tables, last = key.split(".")
    inside = body
    for depth, table in enumerate(tables):
        inside = inside.setdefault(table, {})
        if not isinstance(inside, dict):
            found = ".".join(tables[: depth + 1])
            raise FileError("command line", f"{key}: {found} is no table; allowed is {found} itself")
    inside[last] = value


def _names_type(part: Any) -> bool:
    # pydantic adds to a place which type of a union it was held against.
    return isinstance(part, str) and (part in ("float", "int", "str", "bool") or "[" in part)


def _fields(cls: Any, location: Sequence[Any]) -> Mapping[str, pydantic.fields.FieldInfo]:
    """The fields of the table that a place leads to or into; none of what is no table."""
    fields: Mapping[str, pydantic.fields.FieldInfo] = cls.model_fields
    for part in location:
        if part not in fields:
            break
        kinds = [fields[part].annotation, *typing.get_args(fields[part].annotation)]
        fields = next((one.model_fields for one in kinds if hasattr(one, "model_fields")), {})
    return fields


def _description(cls: Any, location: Sequence[Any]) -> str:
    """What is said of the field that a place leads to or into."""
    for depth in range(len(location) - 1, -1, -1):
        found = _fields(cls, location[:depth]).get(location[depth])
        if found is not None:
            return found.description or ""
    return ""


def find_device(name: str, margin: float = 1.0) -> Device:
    """A device of the catalogue or of a file, its rates multiplied. Raises ValueError for neither."""
    if name not in Device.builtin_names() and not Path(name).exists():
        raise ValueError(f"device is {name!r}; allowed are a device file and {', '.join(Device.builtin_names())}")
    found = Device.builtin(name) if name in Device.builtin_names() else Device.load(name)
    return found if margin == 1.0 else found.with_margin(margin)


def with_margin_of(device: Device, margin: Margin) -> Device:
    """The device that a placement was made from: one without a margin has the placement's."""
    return device if device.margin.factor != 1.0 or margin.factor == 1.0 else device.with_margin(margin.factor)


def setting(text: str) -> tuple[str, Any]:
    """A dotted key and its value of ``key=value``, the value as TOML writes it, or a text as it stands.

    Raises:
        ValueError: for a text without a key.

    """
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        raise ValueError(f"--set is {text!r}; allowed is key=value, such as boost.epochs=3")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value.strip()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"--set {key}: {error}") from error
