"""A network as one compiled file, with its operands' rates as inputs, for programs without Python.

``export`` compiles a network under faults with AOTInductor. How the operands' cells fail, the chip and the access
numbers are inputs of what comes out, so that one file answers a whole search: that of ``profile_package`` here, or that
of the program ``eden-profile``, which come to the same tolerance.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from eden import _core
from eden.common import progress as eden_progress
from eden.common.files import FileError, Record, VersionedFile, atomic_path
from eden.common.journal import Journal
from eden.costs.count_traffic import traffic
from eden.faults import memories
from eden.faults.faulty_layers import faulty_layers
from eden.faults.memories import OperandInfo, scalable_errors
from eden.memory import library as _library
from eden.memory import operators as ops
from eden.memory.errors import CellMap, DataDependent, ErrorModel, LineModel, Uniform
from eden.tolerance.profile import (
    METRICS,
    Limits,
    Metric,
    Question,
    Step,
    borrowed,
    drive,
    searched_operands,
    show_steps,
    weights_of,
)
from eden.tolerance.tolerance import Guarantee, Tolerance

METADATA_KEY = "eden"
"""Where a package's metadata holds EDEN's part of it."""

SAMPLES_PER_RUN = 64
"""Samples that a package computes at once where ``export`` is not told otherwise."""

_MODEL = "model"  # torch's name of the only one in a package

_INPUTS, _TARGETS = "inputs", "targets"


class PackagedOperand(Record):
    """One operand of a network in a package.

    Attributes:
        name: ``layer.role``.
        kind: "weight" of a parameter or buffer, "input" of a feature map.
        bytes: size in its storage; of an input, one sample's.
        moved_bytes: bytes that an inference moves between processor and DRAM for it, as ``eden.traffic`` counts them
            for a CPU.
        storage: the form in which the memory keeps it.
        address: its first bit.
        correction: what replaces implausible values: "none", "zero" or "clamp".
        errors: JSON form of its error model; None of an operand that stays reliable.
        table_first: where its lines begin in the package's table; None where it has none.
    """

    name: str
    kind: Literal["weight", "input"]
    bytes: Annotated[int, pydantic.Field(ge=1)]
    moved_bytes: Annotated[float, pydantic.Field(ge=0.0)]
    storage: str
    address: Annotated[int, pydantic.Field(ge=0)]
    correction: Literal["none", "zero", "clamp"]
    errors: dict[str, Any] | None
    table_first: Annotated[int, pydantic.Field(ge=0)] | None

    @pydantic.model_validator(mode="after")
    def _check(self) -> PackagedOperand:
        model = self.model
        if model is not None:
            _check_packageable(model, self.name)
        if isinstance(model, LineModel) != (self.table_first is not None):
            raise ValueError("table_first is to be given for errors of lines, and for no others")
        return self

    @property
    def model(self) -> ErrorModel | None:
        """Its error model."""
        return None if self.errors is None else ErrorModel.from_dict(self.errors)


class PackageInfo(VersionedFile):
    """What a package says of itself.

    Attributes:
        eden_version: version of EDEN that made it.
        random_layout: version of the layout of random numbers; another one's chips are other chips.
        input_shape: of what it computes at once; the first number counts samples.
        input_dtype: of the same, such as "float32".
        classes: outputs for each sample.
        table_entries: elements of the table of lines, 0 where it takes none.
        operands: in the order of their rows.
    """

    FORMAT = "eden-package"
    VERSION = 1

    eden_version: str
    random_layout: int
    input_shape: Annotated[tuple[Annotated[int, pydantic.Field(ge=1)], ...], pydantic.Field(min_length=1)]
    input_dtype: str
    classes: Annotated[int, pydantic.Field(ge=1)]
    table_entries: Annotated[int, pydantic.Field(ge=0)]
    operands: Annotated[tuple[PackagedOperand, ...], pydantic.Field(min_length=1)]

    @pydantic.model_validator(mode="after")
    def _check(self) -> PackageInfo:
        if self.random_layout != _core.RANDOM_LAYOUT_VERSION:
            raise ValueError(
                f"random_layout is {self.random_layout}; allowed is {_core.RANDOM_LAYOUT_VERSION}, this version of "
                "eden's: export the network again"
            )
        if _table_entries(self.operands) > self.table_entries:
            raise ValueError(
                f"table_entries is {self.table_entries}; allowed is what the operands' lines take, "
                f"{_table_entries(self.operands)}, or more"
            )
        return self

    def text(self) -> str:
        """JSON form, on one line."""
        return json.dumps({"format": self.FORMAT, "version": self.VERSION, **self.model_dump(mode="json")})


def _row(operand: PackagedOperand, errors: ErrorModel | None, reliable: bool) -> tuple[list[int], Tensor | None]:
    """An operand's row of the regions, and its part of the table."""
    correction = "none" if reliable else operand.correction
    width = ops.STORAGE_BITS[operand.storage]
    rows, table = ops.regions([(None if reliable else errors, operand.address, 0)], 0, width, correction)
    if table is None or operand.table_first is None:
        return rows[0], None
    rows[0][_core.REGION_TABLE_FIRST] = operand.table_first
    return rows[0], torch.from_numpy(table)


class _Exported(nn.Module):
    """A network whose regions, table, chip and access numbers are arguments."""

    def __init__(self, network: nn.Module, rows: Mapping[str, int], calls: Mapping[str, int]) -> None:
        super().__init__()
        self.network, self._rows, self._calls = network, dict(rows), dict(calls)

    def forward(self, x: Tensor, regions: Tensor, chip: Tensor, access: Tensor, table: Tensor | None = None) -> Tensor:
        """The network's output.

        Args:
            x: the network's input.
            regions: int64, a row for each operand.
            chip: int64 scalar, seed of the chip.
            access: int64 scalar, forward passes since the chip was set.
            table: int64 vector, of the regions' lines; None where there are none.
        """
        held: dict[str, Tensor] = {}
        for name, layer in faulty_layers(self.network).items():
            prefix = f"{name}." if name else ""
            held[f"{prefix}eden_chip"] = chip
            held[f"{prefix}eden_access"] = access * self._calls[name]
            for operand in layer.eden_faults.operands():
                row = self._rows[operand.name]
                held[prefix + operand.buffers.region] = regions[row : row + 1]
                if table is not None:
                    held[prefix + operand.buffers.table] = table
        output: Tensor = torch.func.functional_call(self.network, held, (x,))
        return output


def _check_packageable(errors: ErrorModel, name: str) -> None:
    """Raise ValueError for an error model that no package takes."""
    what = None
    if isinstance(errors, CellMap):
        what = "a map of a chip's own cells, whose number depends on the rate"
    elif isinstance(errors, LineModel) and errors.rates is None:
        what = f"{errors.KIND}, a population of lines, whose table is computed by SciPy at every rate"
    elif not isinstance(errors, (Uniform, DataDependent, LineModel)):
        what = type(errors).__name__
    if what is not None:
        raise ValueError(
            f"operand {name!r} has the error model {what}; allowed in a package are uniform, data_dependent, and "
            "bitline and wordline with measured rates"
        )


def _packaged_operands(model: nn.Module) -> tuple[PackagedOperand, ...]:
    infos = memories.operands(model)
    errors = scalable_errors(model)
    moved = traffic(infos).operands
    corrections = {
        operand.name: operand.correction
        for layer in faulty_layers(model).values()
        for operand in layer.eden_faults.operands()
    }
    found = []
    used = 0
    for name, info in infos.items():
        lines = errors.get(name)
        first = None
        address = info.address
        if isinstance(info.errors, tuple):
            if len(info.errors) > 1:
                count = len(info.errors)
                raise ValueError(
                    f"{name} lies in {count} pieces of memory; allowed in a package is one (eden.set_errors_)"
                )
            address = info.errors[0][1]
        if lines is not None:
            _check_packageable(lines, name)
        if isinstance(lines, LineModel):
            first = used
            used += 2 * lines.line_probabilities().size
        found.append(
            PackagedOperand(
                name=name,
                kind="weight" if info.kind == "weight" else "input",
                bytes=info.bytes or 0,
                moved_bytes=moved[name].read_bytes + moved[name].written_bytes,
                storage=info.storage,
                address=address,
                correction=corrections[name],  # type: ignore[arg-type]
                errors=None if lines is None else lines.to_dict(),
                table_first=first,
            )
        )
    return tuple(found)


def _table_entries(operands: Sequence[PackagedOperand]) -> int:
    sizes = (
        operand.table_first + 2 * model.line_probabilities().size
        for operand in operands
        if operand.table_first is not None and isinstance(model := operand.model, LineModel)
    )
    return max(sizes, default=0)


def _inputs(
    info: PackageInfo, rates: Mapping[str, ErrorModel] | None, chip: int, access: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Everything that a package takes beside samples; ``rates`` is None for reliable memory."""
    rows = []
    table = torch.zeros(info.table_entries, dtype=torch.int64) if info.table_entries else None
    for operand in info.operands:
        errors = None if rates is None else rates.get(operand.name)
        row, part = _row(operand, errors, rates is None)
        rows.append(row)
        if part is not None and table is not None and operand.table_first is not None:
            table[operand.table_first : operand.table_first + part.numel()] = part
    table = None if table is None else table.to(device)
    return (*(torch.tensor(value, device=device) for value in (rows, chip, access)), table)  # type: ignore[return-value]


def export(
    model: nn.Module, inputs: Tensor, path: str | os.PathLike[str], *, samples_per_run: int = SAMPLES_PER_RUN
) -> Path:
    """Compile a network under faults into a package of AOTInductor that takes its operands' rates.

    The network is compiled in evaluation mode, for the CPU or the GPU that it is on, and stays as it was. A C++
    compiler is needed. A package is machine code: run none whose origin you do not trust.

    Args:
        model: a network on the CPU or a GPU after ``inject_`` and ``calibrate_``, from one tensor (N, ...) to one
            (N, classes).
        inputs: samples, shape (N, ...), of the dtype that the network takes, on its device; they say what the package
            takes.
        path: the file to write, which ends in ".pt2".
        samples_per_run: samples that the package computes at once; others wait, missing ones are filled up.

    Returns:
        The path.

    Raises:
        ValueError: naming what the package could not hold: an error model (allowed are Uniform, DataDependent, and
            Bitline and Wordline with measured rates), an operand in several pieces of memory or never read, a network
            on several devices, with another output, or that torch.export or AOTInductor cannot take.
        TypeError: for inputs that are no tensor.
        eden.FileError: if the file cannot be written.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; allowed is a torch.nn.Module")
    if not isinstance(inputs, Tensor):
        raise TypeError(f"inputs is a {type(inputs).__name__}; allowed is a tensor of samples, shape (N, ...)")
    if inputs.dim() < 1 or len(inputs) == 0:
        raise ValueError(f"inputs has the shape {tuple(inputs.shape)}; allowed is (N, ...) with N of 1 or more")
    if isinstance(samples_per_run, bool) or not isinstance(samples_per_run, int) or samples_per_run < 1:
        raise ValueError(f"samples_per_run is {samples_per_run!r}; allowed is an int, 1 or more")
    target = Path(path)
    if target.suffix != ".pt2":
        raise FileError(target, f"the name of a package ends in {target.suffix!r}; allowed is '.pt2'")
    devices = sorted({str(tensor.device) for tensor in (*model.parameters(), *model.buffers(), inputs)})
    if len(devices) > 1 or inputs.device.type not in ("cpu", "cuda"):
        raise ValueError(
            f"the network and its samples are on {', '.join(devices)}; allowed for a package is the CPU or one GPU"
        )
    searched_operands(model)
    operands = _packaged_operands(model)
    batch = _filled(inputs[:samples_per_run], samples_per_run)
    with borrowed(model), torch.no_grad():
        for layer in faulty_layers(model).values():
            layer.eden_access.zero_()
        output = model(batch)
        if not isinstance(output, Tensor) or output.dim() != 2 or len(output) != samples_per_run:
            found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"the network's output is {found}; allowed in a package is a tensor (batch, classes)")
        calls = {name: int(layer.eden_access) for name, layer in faulty_layers(model).items()}
        unread = [name for name, count in calls.items() if count == 0]
        if unread:
            raise ValueError(f"{', '.join(unread)}: never called in a forward pass; leave them out with filter_fn")
        info = PackageInfo(
            eden_version=_version(),
            random_layout=_core.RANDOM_LAYOUT_VERSION,
            input_shape=tuple(batch.shape),
            input_dtype=str(batch.dtype).removeprefix("torch."),
            classes=output.shape[1],
            table_entries=_table_entries(operands),
            operands=operands,
        )
        errors = {operand.name: one for operand in operands if (one := operand.model) is not None}
        regions, chip, access, table = _inputs(info, errors, 0, 0, inputs.device)
        rows = {operand.name: row for row, operand in enumerate(operands)}
        arguments = (batch, regions, chip, access) + (() if table is None else (table,))
        with _told("torch.export"):
            program = torch.export.export(_Exported(model, rows, calls), arguments)
    with _folder_beside(target) as folder:
        with _told("AOTInductor"):
            made = torch._inductor.aoti_compile_and_package(
                program,
                package_path=str(folder / target.name),
                inductor_configs={"aot_inductor.metadata": {METADATA_KEY: info.text()}},
            )
        try:
            os.replace(made, target)
        except OSError as error:
            raise FileError(target, f"cannot be written: {error.strerror}") from error
    return target


def _version() -> str:
    from importlib.metadata import version

    return version("eden-dram")


def _filled(rows: Tensor, count: int) -> Tensor:
    """So many rows, the last one repeated."""
    return torch.cat([rows, rows[-1:].expand(count - len(rows), *rows.shape[1:])]) if len(rows) < count else rows


@contextlib.contextmanager
def _folder_beside(target: Path) -> Iterator[Path]:
    try:
        folder = tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise FileError(target, f"cannot be written: {error.strerror} (folder {target.parent})") from error
    with folder:
        yield Path(folder.name)


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Errors of a compiler of torch's as ValueError, and none of the warnings that its own code gives of itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except RuntimeError as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ValueError(f"{what} cannot take the network: {reason}") from error


class Package:
    """A network that ``export`` has written, ready to run on the CPU, or on a GPU if it was compiled for one.

    Args:
        path: the file. It is machine code: load none whose origin you do not trust.

    Attributes:
        info: what it says of itself.
        digest: SHA-1 of the file, which journals name it by.
        device: what it runs on; of a GPU, torch's current one.

    Raises:
        eden.FileError: if it cannot be read, is no package of ``export``, or one of another version, or if what its
            device needs is missing; nothing of it has run then.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.digest = _digest(self.path)
        metadata = self._attempt(lambda: _loader().load_metadata_from_package(str(self.path), _MODEL))
        if METADATA_KEY not in metadata:
            raise FileError(self.path, "a package that eden export has not written: its metadata has no part 'eden'")
        self.info = PackageInfo.parse(metadata[METADATA_KEY], self.path)
        self.device = self._device(metadata.get("AOTI_DEVICE_KEY", "cpu"))
        index = -1 if self.device.index is None else self.device.index
        self._package: Any = self._attempt(lambda: torch._inductor.aoti_load_package(str(self.path), False, index))

    def _attempt(self, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except Exception as error:  # of whatever kind the reader of torch meets first
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise FileError(self.path, f"no package that can be run here: {reason}") from error

    def _device(self, kind: str) -> torch.device:
        if kind == "cpu":
            return torch.device(kind)
        if kind != "cuda":
            raise FileError(self.path, f"compiled for {kind!r}; allowed are cpu and cuda")
        if not torch.cuda.is_available():
            what = "no GPU here, or no driver for it" if torch.version.cuda else "a torch for CPUs alone here"
            raise FileError(
                self.path,
                f"compiled for a GPU: there is {what}; allowed is a machine with both, or a package of a network on "
                "the CPU",
            )
        try:
            _library.require_cuda()
        except (ImportError, OSError) as error:
            raise FileError(self.path, f"compiled for a GPU: {error}") from error
        return torch.device(kind, torch.cuda.current_device())

    def __call__(self, x: Tensor, errors: Mapping[str, ErrorModel] | None, chip: int = 0) -> Tensor:
        """The network's outputs for samples.

        Args:
            x: shape (N, ...) as ``info.input_shape`` says of ``...``; as many samples as are wanted.
            errors: by operand, its error model; one that is not named is reliable. None for reliable memory without
                correction. They are those of ``info``, brought to other rates.
            chip: seed of the chip.

        Returns:
            Shape (N, ``info.classes``).

        Raises:
            ValueError: for samples of another shape or dtype.
        """
        self.check_samples(x, "x")
        regions, seed, _, table = _inputs(self.info, errors, chip, 0, self.device)
        more = () if table is None else (table,)
        outputs = []
        step = self.info.input_shape[0]
        with torch.no_grad():
            for number, begin in enumerate(range(0, len(x), step)):
                rows = x[begin : begin + step].to(self.device)
                access = torch.tensor(number, device=self.device)
                output = self._package(_filled(rows, step), regions, seed, access, *more)
                outputs.append(output[: len(rows)].to(x.device))
        return torch.cat(outputs)

    def check_samples(self, x: Tensor, what: str) -> None:
        """Raise ValueError, beginning with ``what``, for samples that the package does not take."""
        shape, dtype = tuple(x.shape[1:]), str(x.dtype).removeprefix("torch.")
        if x.dim() < 1 or len(x) == 0 or shape != self.info.input_shape[1:] or dtype != self.info.input_dtype:
            wanted = ", ".join(["N", *map(str, self.info.input_shape[1:])])
            raise ValueError(
                f"{what} has the shape {tuple(x.shape)} and the dtype {dtype}; allowed for {self.path} is ({wanted}), "
                f"N of 1 or more, {self.info.input_dtype}"
            )


def _loader() -> Any:
    """Torch's reader of packages, which also tells of one that it does not load."""
    return torch._C._aoti.AOTIModelPackageLoader


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha1").hexdigest()
    except OSError as error:
        raise FileError(path, f"cannot be read: {error.strerror}") from error


def save_samples(inputs: Tensor, targets: Tensor, path: str | os.PathLike[str]) -> None:
    """Write samples as ``profile_package`` and ``eden-profile`` read them: safetensors "inputs" and "targets".

    Args:
        inputs: shape (N, ...).
        targets: integers, shape (N,): the class of each sample.
        path: the file to write.

    Raises:
        ValueError: for tensors of other shapes or dtypes.
        eden.FileError: if the file cannot be written.
    """
    _check_samples(inputs, targets, "")
    tensors = {_INPUTS: inputs, _TARGETS: targets}
    # safetensors takes neither shared memory nor strides.
    own = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    try:
        with atomic_path(path) as temporary:
            save_file(own, temporary)
    except SafetensorError as error:
        raise FileError(path, f"cannot be written: {error}") from error


def load_samples(path: str | os.PathLike[str]) -> tuple[Tensor, Tensor]:
    """Inputs, shape (N, ...), and targets, integers of shape (N,), that ``save_samples`` has written.

    Raises:
        eden.FileError: if the file cannot be read or holds something else, naming the tensor.
    """
    try:
        tensors = load_file(os.fspath(path))
    except (OSError, SafetensorError) as error:
        raise FileError(path, f"cannot be read as safetensors: {error}") from error
    if set(tensors) != {_INPUTS, _TARGETS}:
        raise FileError(path, f"holds {', '.join(sorted(tensors)) or 'no tensor'}; allowed are inputs and targets")
    try:
        _check_samples(tensors[_INPUTS], tensors[_TARGETS], "tensor ")
    except ValueError as error:
        raise FileError(path, str(error)) from error
    return tensors[_INPUTS], tensors[_TARGETS]


def _check_samples(inputs: Tensor, targets: Tensor, what: str) -> None:
    if inputs.dim() < 1 or len(inputs) == 0:
        raise ValueError(f"{what}inputs has the shape {tuple(inputs.shape)}; allowed is (N, ...), N of 1 or more")
    if targets.shape != inputs.shape[:1]:
        raise ValueError(f"{what}targets has the shape {tuple(targets.shape)}; allowed is ({len(inputs)},), as inputs")
    if targets.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        raise ValueError(f"{what}targets has the dtype {targets.dtype}; allowed are int8 to int64 and uint8")


class PackageEvaluator:
    """A package that answers a search.

    Args:
        package: the network.
        errors: error model of each operand that is searched, in the search's order.
        inputs: samples.
        targets: their classes.
        metric: gives one score per sample.
        batch_size: samples per observation.
    """

    def __init__(
        self,
        package: Package,
        errors: Mapping[str, ErrorModel],
        inputs: Tensor,
        targets: Tensor,
        metric: Metric,
        batch_size: int,
    ) -> None:
        self._package, self._errors, self._inputs, self._targets = package, errors, inputs, targets
        self._metric, self._batch_size = metric, batch_size
        self.clean = metric(package(inputs, None), targets).double().numpy()

    def evaluate(self, trial: _core.Trial) -> float:
        """Put the operands at the trial's rates on its chip and score the samples that it draws."""
        rates = {
            name: errors.scaled(rate) for (name, errors), rate in zip(self._errors.items(), trial.rates, strict=True)
        }
        drawn = _core.draw_samples(trial.draw_seed, len(self.clean), self._batch_size)
        output = self._package(self._inputs[drawn], rates, trial.chip)
        faulty = self._metric(output, self._targets[drawn]).double().numpy()
        return float(np.mean(self.clean[drawn] - faulty))


def profile_package(
    package: str | os.PathLike[str],
    samples: str | os.PathLike[str],
    *,
    max_drop: float = 0.01,
    confidence: float = 0.95,
    metric: str = "top1",
    guarantee: Guarantee = "mean",
    seed: int = 0,
    coarse_only: bool = False,
    journal: str | os.PathLike[str] | None = None,
    progress: bool | Callable[[Step], None] = True,
    strategy: Literal["shares", "sweep"] = "shares",
    weigh: Literal["bytes", "energy"] = "bytes",
    effort: float = 6.0,
    max_trials: int | None = None,
    batch_size: int | None = None,
    budget: int | None = None,
    budget_seconds: float | None = None,
    timeout: float | None = None,
) -> Tolerance:
    """``eden.profile`` of a network that ``export`` has written, as the program ``eden-profile`` does it, too.

    Both find the same and go on with each other's journals.

    Args:
        package: file that ``export`` has written.
        samples: file that ``save_samples`` has written.
        max_drop: this and the others as of ``eden.profile``.
        confidence: see there.
        metric: "top1" or "top5".
        guarantee: see there.
        seed: see there.
        coarse_only: see there.
        journal: see there.
        progress: see there.
        strategy: see there.
        weigh: "bytes" or "energy".
        effort: see there.
        max_trials: see there.
        batch_size: see there.
        budget: see there.
        budget_seconds: see there.
        timeout: see there.

    Returns:
        The limits and the evidence for them.

    Raises:
        ValueError, TypeError: naming the argument, operand or trial that is wrong.
        SearchError: if not even the lowest rate can be confirmed, or ``max_trials`` or the budget is too small for any.
        TrialTimeoutError: a SearchError, if an observation takes longer than ``timeout``.
        eden.FileError: if a file cannot be used; it names what is wrong.
    """
    if metric not in METRICS:
        raise ValueError(f"metric is {metric!r}; allowed with a package are {', '.join(METRICS)}")
    if weigh not in ("bytes", "energy"):
        raise ValueError(f"weigh is {weigh!r}; allowed with a package are 'bytes' and 'energy'")
    question = Question(
        max_drop=max_drop,
        confidence=confidence,
        guarantee=guarantee,
        seed=seed,
        coarse_only=coarse_only,
        strategy=strategy,
        effort=effort,
        lower_is_better=False,
        max_trials=max_trials,
        batch_size=batch_size,
    )
    limits = Limits(budget, budget_seconds, timeout)
    inputs, targets = load_samples(samples)
    network = Package(package)
    try:
        network.check_samples(inputs, "tensor inputs")
    except ValueError as error:
        raise FileError(samples, str(error)) from error
    errors = {operand.name: model for operand in network.info.operands if (model := operand.model) is not None}
    if not errors:
        raise FileError(package, "none of its operands has an error model; allowed is one or more")
    searched = {
        operand.name: OperandInfo(
            operand.name, operand.kind, operand.bytes, operand.model, operand.storage, operand.address, 0, ()
        )
        for operand in network.info.operands
        if operand.name in errors
    }
    weights = (
        weights_of("bytes", searched)
        if weigh == "bytes"
        else {operand.name: operand.moved_bytes for operand in network.info.operands if operand.name in errors}
    )
    search = question.search(searched, errors, weights)
    question.check_budget(search, budget)
    batch_size = question.samples_per_observation(len(inputs), False)
    with contextlib.ExitStack() as stack:
        task = stack.enter_context(eden_progress.task("profile", search.expected_trials, show=progress is True))
        task.note("scoring on reliable memory")
        evaluator = PackageEvaluator(network, errors, inputs, targets, METRICS[metric], batch_size)
        reference = question.reference(evaluator.clean, metric)
        book = None
        if journal is not None:
            fingerprint = {
                **question.fingerprint(metric, weights, batch_size),
                "samples": len(inputs),
                "data": _digest(Path(samples)),
                "package": network.digest,
            }
            book = stack.enter_context(Journal(journal, fingerprint))
        observations = drive(
            *(search, evaluator, list(errors), book, show_steps(task, book, progress, question.bound)),
            budget=limits.budget,
            timeout=timeout,
        )
    return question.answer(
        search,
        searched,
        errors,
        weights,
        metric=metric,
        reference=reference,
        float_accuracy=None,
        samples=len(inputs),
        batch_size=batch_size,
        observations=observations,
    )
