"""Which memory a network's operands are in, as a user says it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from eden.common.arguments import check_choice, check_seed
from eden.faults.layers import PARTS, Role
from eden.faults.percentiles import check_percentile
from eden.memory import storage as quantization
from eden.memory.errors import ErrorModel
from eden.memory.planes import Plane, check_planes, planes_of, split
from eden.memory.storage import CORRECTIONS, STORAGES

_STORAGES = tuple(name for name in STORAGES if name != "int32")


_OF_BYTES: Mapping[str | None, tuple[str, str]] = {
    None: ("int8_sign_magnitude", "uint8"),
    "hamming": ("int6_sign_magnitude_hamming", "uint6_hamming"),
    "secded": ("int8_sign_magnitude_secded", "uint8_secded"),
}
"""Storages of weights and inputs that do best in bytes, by the code that protects them."""


def usual_correction(*storages: str | None) -> str:
    """What replaces implausible values if nobody says it: of SECDED a block that is not corrected would be zeros."""
    return "clamp" if any(storage is not None and storage.endswith("_secded") for storage in storages) else "zero"


@dataclasses.dataclass(frozen=True)
class Faults:
    """Which memory a network's operands are in.

    Args:
        weights: error model of the memory that holds the weights, None for a reliable one.
        inputs: error model of the memory that holds the input feature maps, None for a reliable one.
        storage: the form in which the memory keeps values: "float32", "float16", "bfloat16", "float8_e4m3fn",
            "float8_e5m2"; codes of "int16", "int8", "uint8" or "int4" bits, or of a sign and a magnitude:
            "int16_sign_magnitude", "int8_sign_magnitude", "int4_sign_magnitude"; or "sign", one bit, read as plus or
            minus the operand's mean magnitude. Codes cover the range of a weight at each forward pass, and that of an
            input as calibrated. With a code that corrects errors, in the same bytes: "int6_sign_magnitude_hamming" (of
            weights) and "uint6_hamming" (of inputs), "int8_sign_tripled", "float32_bch", "float16_hamming" and
            "bfloat16_hamming", and to compare with them "float32", "float16", "bfloat16" with "_mset" or "_cep"; in an
            eighth more bytes these three, "int8", "uint8" and "int8_sign_magnitude" with "_secded"
            (docs/reference/storages.md).
        correction: what becomes of an implausible value, one outside its operand's range, NaN or infinite, on every
            load: "none" leaves it, "zero" replaces it by 0, "clamp" by the nearer end of the range. With one, what is
            beyond the range is stored as its end, in floating-point storages as in codes.
        seed: which chip.
        batch: "restart" reads every sample of a batch from the same cells, as a device that runs one sample at a time
            does; "contiguous" gives each sample cells of its own.
        quantization: of codes, "symmetric" (int8: -127 to 127) or "affine" (a zero point, so that the codes just cover
            a range that is not symmetric). uint8 always has a zero point, which is 0 where no value is negative.
        weight_channels: whether each output channel of a weight has a scale of its own, instead of one per weight; of
            codes and "sign".
        parameters: which parameters are in the memory of the weights: "weight", all matrices, kernels and tables;
            "bias", what layers add; "normalization", the parameters and running statistics of normalization layers.
            What is not named is reliable.
        input_storage: the form in which the memory keeps the inputs, None for that of the weights. Numbers around 0, as
            weights are, suffer least from flips as "int8_sign_magnitude", and those that are never negative as "uint8".
        percentile: share of an input's values, in percent, that ``eden.calibrate_`` takes its range to hold, above 50
            to 100. Of codes, and of floating-point numbers with a correction.
        planes: groups of the bit positions of a stored word that memory keeps apart, each densely and in a place of its
            own: a list such as ["7", "6:5", "4:0"] for all operands; or by "weight", "input" or an operand's name, such
            a list, "search" or None, the name before the kind. "search" takes those that `eden.memory.planes.split`
            proposes for the storage, of which `eden.profile` finds a limit each and `eden.place` decides where they
            pay. None keeps words whole. A plane is called by its operand and positions, such as ``conv1.weight[6:5]``.
    """

    weights: ErrorModel | None = None
    inputs: ErrorModel | None = None
    storage: str = "float32"
    correction: str = "none"
    seed: int = 0
    batch: str = "restart"
    quantization: str = "symmetric"
    weight_channels: bool = False
    parameters: tuple[str, ...] = ("weight",)
    input_storage: str | None = None
    percentile: float = 100.0
    planes: Any = None

    def __post_init__(self) -> None:
        for name in ("weights", "inputs"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, ErrorModel):
                raise TypeError(
                    f"Faults.{name} is a {type(value).__name__}; allowed is an error model such as "
                    "eden.Uniform(ber=1e-3), or None"
                )
        if self.weights is None and self.inputs is None:
            raise ValueError("Faults has neither weights nor inputs; give an error model for one of them")
        for name, allowed in (
            ("storage", _STORAGES),
            ("input_storage", (None, *_STORAGES)),
            ("correction", CORRECTIONS),
            ("batch", ("restart", "contiguous")),
            ("quantization", ("symmetric", "affine")),
        ):
            check_choice(f"Faults.{name}", getattr(self, name), allowed)
        for storage in (self.storage, self.storage_of("input")) if self.quantization == "affine" else ():
            if storage not in quantization.CODE_BITS or storage in quantization.SYMMETRIC:
                kept = "a sign and a magnitude" if storage in quantization.SYMMETRIC else "which keeps no codes"
                raise ValueError(
                    f"Faults.quantization is 'affine'; allowed with storage {storage!r}, {kept}, is 'symmetric'"
                )
        if not isinstance(self.weight_channels, bool):
            raise TypeError(f"Faults.weight_channels is a {type(self.weight_channels).__name__}; allowed is a bool")
        if self.weight_channels and self.storage not in (*quantization.CODE_BITS, "sign"):
            raise ValueError(
                f"Faults.weight_channels is True; allowed with storage {self.storage!r}, which has no scale, is False"
            )
        check_seed("Faults.seed", self.seed)
        check_percentile("Faults.percentile", self.percentile)
        if not isinstance(self.parameters, (tuple, list)):
            raise TypeError(
                f"Faults.parameters is a {type(self.parameters).__name__}; allowed is a tuple of {', '.join(PARTS)}"
            )
        unknown = [part for part in self.parameters if part not in PARTS]
        if unknown or not self.parameters:
            found = ", ".join(map(repr, unknown)) or "nothing"
            raise ValueError(f"Faults.parameters names {found}; allowed are one or more of {', '.join(PARTS)}")
        object.__setattr__(self, "parameters", tuple(self.parameters))
        planes = self.planes if isinstance(self.planes, Mapping) else dict.fromkeys(("weight", "input"), self.planes)
        for name, given in planes.items():
            if not isinstance(name, str):
                raise TypeError(f"Faults.planes names {name!r}; allowed are 'weight', 'input' and names of operands")
            try:
                split_in = () if given is None or given == "search" else planes_of(given)
                if name in ("weight", "input") and isinstance(self.planes, Mapping):
                    storage = self.storage_of(name)
                    check_planes(split_in, name, storage, quantization.STORAGE_BITS[storage])
            except (TypeError, ValueError) as error:
                raise type(error)(f"Faults.planes: {error}") from error

    @classmethod
    def int8(
        cls,
        errors: ErrorModel,
        *,
        inputs: ErrorModel | None = None,
        seed: int = 0,
        code: str | None = None,
        **other: Any,
    ) -> Self:
        """What does best for a network in 8 bits (docs/results.md).

        Weights are codes of a sign and a magnitude, inputs of unsigned numbers, whose ranges hold the 99.9th percentile
        of the values that ``eden.calibrate_`` sees; what is implausible is read as 0, in storages of SECDED as the end
        of the range: a block that is not corrected would be eight zeros.

        Args:
            errors: error model of the memory that holds the weights, and the inputs if they have none of their own.
            inputs: error model of the memory that holds the inputs, None for the same.
            seed: which chip.
            code: what corrects errors: "hamming", six bits of each number and a code in the same bytes; "secded", all
                eight bits, and an eighth more bytes; None for nothing. Errors that lines have in common meet in the
                words of a code, which is worth less then (docs/results.md).
            other: other fields of ``Faults``, in place of what is said here.

        Raises:
            ValueError: for another code, and for one beside storages that are named.
        """
        check_choice("code", code, tuple(_OF_BYTES))
        named = [name for name in ("storage", "input_storage") if name in other]
        if code is not None and named:
            raise ValueError(f"code is {code!r}, which says the storages; allowed beside {named[0]} is None")
        storage, input_storage = _OF_BYTES[code]
        chosen: dict[str, Any] = {"storage": storage, "input_storage": input_storage, "percentile": 99.9}
        chosen |= other
        if "correction" not in other:
            chosen["correction"] = usual_correction(chosen["storage"], chosen["input_storage"])
        return cls(errors, errors if inputs is None else inputs, seed=seed, **chosen)

    def storage_of(self, kind: str) -> str:
        """The form in which the memory keeps operands of a kind, "weight" or "input"."""
        return self.input_storage if kind == "input" and self.input_storage is not None else self.storage

    def planes_of(self, name: str, kind: str) -> tuple[Plane, ...]:
        """The planes of an operand of a kind, "weight" or "input"; none where its words are whole.

        Raises:
            ValueError: naming it, for planes of words of another width.
        """
        given = self.planes
        if isinstance(given, Mapping):
            given = given[name] if name in given else given.get(kind)
        storage = self.storage_of(kind)
        if given is None:
            return ()
        found = split(storage) if given == "search" else planes_of(given)
        check_planes(found, name, storage, quantization.STORAGE_BITS[storage])
        return found if len(found) > 1 else ()  # one plane of all bits is the whole word

    def model_of(self, role: Role) -> ErrorModel | None:
        """The error model of the memory that an operand is in, None where it stays reliable."""
        if role.kind == "input":
            return self.inputs
        return self.weights if role.part in self.parameters else None
