"""A network that ``export`` has compiled into one file: what it says of itself, how it is run and searched."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import torch
from torch import Tensor

from eden import _core
from eden.common.files import FileError, Record, VersionedFile
from eden.common.provenance import Sha256
from eden.common.torch_internals import load_package, package_loader
from eden.faults.digests import SamplesDigest
from eden.faults.memories import OperandInfo
from eden.faults.metrics import Metric
from eden.faults.samples import TensorSamples
from eden.faults.scorer import CorpusMetric, Scorer, Scores
from eden.memory import library as _library
from eden.memory.cell_map import CellMap
from eden.memory.errors import DataDependent, ErrorModel, Uniform
from eden.memory.lines import LineModel
from eden.memory.planes import operand_and_plane, plane_mask
from eden.memory.region import plane_rows, region_rows
from eden.memory.storage import CELL_UNITS
from eden.tolerance.network import weights_of
from eden.tolerance.question import Searched
from eden.tolerance.samples_file import load_samples

METADATA_KEY = "eden"
"""Where a package's metadata holds EDEN's part of it."""

_MODEL = "model"  # torch's name of the only one in a package


class PackagedOperand(Record):
    """One operand of a network in a package."""

    name: str
    """``layer.role``."""
    kind: Literal["weight", "input"]
    """"weight" of a parameter or buffer, "input" of a feature map."""
    bytes: Annotated[int, pydantic.Field(ge=1)]
    """Size in its storage; of an input, one sample's."""
    moved_bytes: Annotated[float, pydantic.Field(ge=0.0)]
    """Bytes that an inference moves between processor and DRAM for it, as ``eden.traffic`` counts them for a CPU."""
    storage: str
    """The form in which the memory keeps it."""
    address: Annotated[int, pydantic.Field(ge=0)]
    """Its first bit."""
    correction: Literal["none", "zero", "clamp"]
    """What replaces implausible values: "none", "zero" or "clamp"."""
    errors: dict[str, Any] | None
    """JSON form of its error model; None of an operand that stays reliable."""
    table_first: Annotated[int, pydantic.Field(ge=0)] | None
    """Where its lines begin in the package's table; None where it has none."""
    plane: Annotated[int, pydantic.Field(ge=0, lt=2**32)] = 0
    """Mask of the bit positions of a word that it holds, whose operand's other planes follow it; 0 of whole words."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> PackagedOperand:
        model = self.model
        if model is not None:
            check_packageable(model, self.name)
        if plane_mask(operand_and_plane(self.name)[1]) != self.plane:
            raise ValueError(f"plane is {self.plane}; allowed is the mask of the bit positions that {self.name!r} says")
        if isinstance(model, LineModel) != (self.table_first is not None):
            raise ValueError("table_first is to be given for errors of lines, and for no others")
        return self

    @property
    def model(self) -> ErrorModel | None:
        """Its error model."""
        return None if self.errors is None else ErrorModel.from_dict(self.errors)


class PackageInfo(VersionedFile):
    """What a package says of itself."""

    FORMAT = "eden-package"
    VERSION = 2

    eden_version: str
    """Version of EDEN that made it."""
    random_layout: int
    """Version of the layout of random numbers; another one's chips are other chips."""
    input_shape: Annotated[tuple[Annotated[int, pydantic.Field(ge=1)], ...], pydantic.Field(min_length=1)]
    """Of what it computes at once; the first number counts samples."""
    input_dtype: str
    """Of the same, such as "float32"."""
    classes: Annotated[int, pydantic.Field(ge=1)]
    """Outputs for each sample."""
    table_entries: Annotated[int, pydantic.Field(ge=0)]
    """Elements of the table of lines, 0 where it takes none."""
    operands: Annotated[tuple[PackagedOperand, ...], pydantic.Field(min_length=1)]
    """In the order of their rows."""
    network: Sha256 | Literal[""] = ""
    """SHA-256 of the network that was compiled (``eden.faults.digests.network_digest``); empty in files of before it
    was kept."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> PackageInfo:
        if self.random_layout != _core.RANDOM_LAYOUT_VERSION:
            raise ValueError(
                f"random_layout is {self.random_layout}; allowed is {_core.RANDOM_LAYOUT_VERSION}, this version of "
                "eden's: export the network again"
            )
        if table_entries(self.operands) > self.table_entries:
            raise ValueError(
                f"table_entries is {self.table_entries}; allowed is what the operands' lines take, "
                f"{table_entries(self.operands)}, or more"
            )
        return self

    def text(self) -> str:
        """JSON form, on one line."""
        return json.dumps({"format": self.FORMAT, "version": self.VERSION, **self.model_dump(mode="json")})


def check_packageable(errors: ErrorModel, name: str) -> None:
    """Raise ValueError for an error model that no package takes."""
    what = None
    if isinstance(errors, CellMap):
        what = "a map of a chip's own cells, whose number depends on the rate"
    elif isinstance(errors, LineModel) and errors.rates is None:
        what = f"{errors.KIND}, a population of lines, whose table is computed by SciPy at every rate"
    elif not isinstance(errors, (Uniform, DataDependent, LineModel)):
        what = errors.KIND
    if what is not None:
        raise ValueError(
            f"operand {name!r} has the error model {what}; allowed in a package are uniform, data_dependent, and "
            "bitline and wordline with measured rates"
        )


def table_entries(operands: Sequence[PackagedOperand]) -> int:
    """Elements of the table that the operands' lines take."""
    sizes = (
        operand.table_first + 2 * model.line_probabilities().size
        for operand in operands
        if operand.table_first is not None and isinstance(model := operand.model, LineModel)
    )
    return max(sizes, default=0)


def inputs_of(
    info: PackageInfo, rates: Mapping[str, ErrorModel] | None, chip: int, access: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Everything that a package takes beside samples; ``rates`` is None for reliable memory without correction."""
    rows = []
    table = torch.zeros(info.table_entries, dtype=torch.int64) if info.table_entries else None
    for operand in info.operands:
        errors = None if rates is None else rates.get(operand.name)
        correction = "none" if rates is None else operand.correction
        pieces = [(errors, operand.address, 0)]
        plane = operand_and_plane(operand.name)[1]
        (row,), lines = (
            plane_rows({plane: pieces}, 0, correction)
            if plane
            else region_rows(pieces, 0, CELL_UNITS[operand.storage], correction)
        )
        if lines is not None and table is not None and operand.table_first is not None:
            row[_core.REGION_TABLE_FIRST] = operand.table_first
            table[operand.table_first : operand.table_first + lines.size] = torch.from_numpy(lines)
        rows.append(row)
    table = None if table is None else table.to(device)
    return (*(torch.tensor(value, device=device) for value in (rows, chip, access)), table)  # type: ignore[return-value]


def filled(rows: Tensor, count: int) -> Tensor:
    """So many rows, the last one repeated."""
    return torch.cat([rows, rows[-1:].expand(count - len(rows), *rows.shape[1:])]) if len(rows) < count else rows


class Package:
    """A network that ``export`` has written, ready to run on the CPU, or on a GPU if it was compiled for one.

    Args:
        path: the file. It is machine code: load none whose origin you do not trust.

    Attributes:
        info: what it says of itself.
        digest: SHA-256 of the file.
        device: what it runs on; of a GPU, torch's current one.

    Raises:
        eden.FileError: if it cannot be read, is no package of ``export``, or one of another version, or if what its
            device needs is missing; nothing of it has run then.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.digest = _digest(self.path)
        metadata = self._attempt(lambda: package_loader().load_metadata_from_package(str(self.path), _MODEL))
        if METADATA_KEY not in metadata:
            raise FileError(self.path, "a package that eden export has not written: its metadata has no part 'eden'")
        self.info = PackageInfo.parse(metadata[METADATA_KEY], self.path)
        self.device = self._device(metadata.get("AOTI_DEVICE_KEY", "cpu"))
        index = -1 if self.device.index is None else self.device.index
        self._package: Any = self._attempt(lambda: load_package(self.path, index))

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
        regions, seed, _, table = inputs_of(self.info, errors, chip, 0, self.device)
        more = () if table is None else (table,)
        outputs = []
        step = self.info.input_shape[0]
        with torch.no_grad():
            for number, begin in enumerate(range(0, len(x), step)):
                rows = x[begin : begin + step].to(self.device)
                access = torch.tensor(number, device=self.device)
                output = self._package(filled(rows, step), regions, seed, access, *more)
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


def _digest(path: str | os.PathLike[str]) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(path, f"cannot be read: {error.strerror}") from error


class SearchedPackage:
    """A package whose operands are brought to the rates that a search asks for.

    Args:
        path: file that ``export`` has written.
        samples: file that ``save_samples`` has written.
        metric: scores the outputs.
        lower_is_better: whether 1 minus the metric is the score.
        weigh: what a factor in an operand's rate is worth (``Search.weigh``).

    Raises:
        FileError: if a file cannot be used.
    """

    reuse = None

    def __init__(
        self,
        path: str | os.PathLike[str],
        samples: Any,
        metric: str | Metric | CorpusMetric,
        lower_is_better: bool,
        weigh: Any,
    ) -> None:
        if not isinstance(samples, (str, os.PathLike)):
            raise TypeError(
                f"loader is a {type(samples).__name__}; allowed with a package is the path of a file of samples"
            )
        inputs, targets = load_samples(samples)
        self._package = Package(path)
        try:
            self._package.check_samples(inputs, "tensor inputs")
        except ValueError as error:
            raise FileError(samples, str(error)) from error
        packaged = {operand.name: operand for operand in self._package.info.operands if operand.errors is not None}
        if not packaged:
            raise FileError(path, "none of its operands has an error model; allowed is one or more")
        errors = {name: model for name, operand in packaged.items() if (model := operand.model) is not None}
        infos = {
            name: OperandInfo(
                *(name, one.kind, one.bytes, errors[name], one.storage, one.address, 0, ()), *operand_and_plane(name)
            )
            for name, one in packaged.items()
        }
        weights = weights_of(weigh, infos, {name: operand.moved_bytes for name, operand in packaged.items()})
        self.searched = Searched(infos, errors, weights)
        self._rates: dict[str, ErrorModel] | None = None
        data = SamplesDigest()
        data.update((inputs, targets))
        self._chip, self._data = 0, data.hexdigest()
        self.scorer = Scorer(self._pair, TensorSamples(inputs, targets), metric, inputs.device, lower_is_better)

    def _pair(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        inputs, targets = batch
        return self._package(inputs, self._rates, self._chip), targets

    def borrowed(self) -> contextlib.AbstractContextManager[None]:
        """A package holds nothing that would have to come back."""
        return contextlib.nullcontext()

    def clean_scores(self) -> Scores:
        """Scores of all samples on reliable memory."""
        self._rates = None
        return self.scorer.scores(range(len(self.scorer.samples)), "on reliable memory")

    def put_at(self, trial: _core.Trial) -> None:
        """Put the operands at the trial's rates, on its chip."""
        rates = zip(self.searched.errors.items(), trial.rates, strict=True)
        self._rates = {name: errors.scaled(rate) for (name, errors), rate in rates}
        self._chip = trial.chip

    def observed(self) -> None:
        """Nothing to count."""

    def check_read(self) -> None:
        """Nothing to check: ``export`` has."""

    def fingerprint(self) -> dict[str, Any]:
        """What a journal names it and the samples by, as ``eden-profile`` does."""
        return {"samples": len(self.scorer.samples), "data": self._data, "package": self._package.digest}

    @property
    def made_of(self) -> dict[str, str]:
        """SHA-256 of the package, of the network in it and of the samples."""
        network = self._package.info.network
        return {"package": self._package.digest, "data": self._data, **({"network": network} if network else {})}
