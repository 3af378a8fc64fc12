"""All that EDEN uses of torch without torch's promise to keep it: each with why, and the first torch it was seen in.

No other module names what begins with an underscore in torch. A release that changes one of them is met here.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo
from torch.autograd import forward_ad
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode  # documented, not exported (2.0)
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

BatchNorm = nn.modules.batchnorm._BatchNorm
"""What all batch norms are, lazy and synchronized ones too (0.4)."""

P = ParamSpec("P")
T = TypeVar("T")


def assume_constant(function: Callable[P, T]) -> Callable[P, T]:
    """``torch.compiler.assume_constant_result``, which would load the compiler: longer than torch itself (2.1)."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def outside_of_graphs(function: Callable[P, T]) -> Callable[P, T]:
    """``torch.compiler.disable``, which would load the compiler, too (2.1)."""
    return _disable_dynamo(function)


def function_modes() -> list[Any]:
    """The modes around that see calls of functions, the innermost last (2.0)."""
    modes: list[Any] = torch.overrides._get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    return modes


def transformed() -> bool:
    """Whether ``torch.func``'s transforms or forward-mode gradients are around; nothing public tells (2.0)."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def plain() -> bool:
    """Whether nothing stands between a call and an operator: no compiler, transform or mode that sees tensors (2.1)."""
    return not (torch.compiler.is_compiling() or transformed() or torch._C._len_torch_dispatch_stack() or _traced())


def _traced() -> bool:
    return torch._C._get_tracing_state() is not None


@assume_constant
def _exporting_to_onnx() -> bool:
    flags = sys.modules.get("torch.onnx._internal.exporter._flags")
    return flags is not None and bool(getattr(flags, "_is_onnx_exporting", False))


def takes_own_operators() -> bool:
    """Whether what watches a call takes operators of others: ``torch.jit.trace`` and ONNX do not (1.0, 2.6)."""
    return not (_exporting_to_onnx() if torch.compiler.is_compiling() else _traced())


def eager() -> AbstractContextManager[None]:
    """Nothing compiled is run, and nothing compiled; the compiler is not loaded for it (2.6)."""
    if "torch._dynamo" not in sys.modules:
        return contextlib.nullcontext()
    stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return stance


def below_autograd() -> AbstractContextManager[None]:
    """Calls of operators that autograd does not see: their registered gradient costs more than a small read (1.11)."""
    return torch._C._AutoDispatchBelowAutograd()


def autocasts() -> bool:
    """Whether autocast may be on, for some device: to ask for one of them takes several times as long (2.4)."""
    return torch.compiler.is_compiling() or torch._C._is_any_autocast_enabled()


def is_batched(tensor: Tensor) -> bool:
    """Whether a tensor is one of ``torch.vmap``'s, which an operator cannot write to (2.0)."""
    return torch._C._functorch.is_batchedtensor(tensor)


class StorageKey:
    """What tensors that share memory have in common, without keeping it (1.9)."""

    def __init__(self, storage: torch.UntypedStorage) -> None:
        self.number = storage._cdata
        self._weak = storage._weak_ref()

    @classmethod
    def of(cls, tensor: Tensor) -> StorageKey | None:
        """That of a tensor, None for one without memory of its own, such as a sparse one."""
        try:
            return cls(tensor.untyped_storage())
        except (NotImplementedError, RuntimeError):
            return None

    def gone(self) -> bool:
        """Whether no tensor holds the memory any more."""
        return bool(torch.UntypedStorage._expired(self._weak))

    def __del__(self) -> None:
        torch.UntypedStorage._free_weak_ref(self._weak)  # type: ignore[no-untyped-call]


def overlaps_itself(tensor: Tensor) -> bool:
    """Whether elements of a tensor share memory, as those of an expanded one do (1.5)."""
    known = torch._debug_has_internal_overlap(tensor)
    if known != 2:
        return known == 1
    # Torch does not say: strides that each reach beyond all smaller ones keep elements apart, others may.
    dims = sorted((stride, size) for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1)
    places, reach, apart = np.zeros(1, np.int64), 1, True
    for stride, size in dims:
        apart = apart and stride >= reach
        reach += (size - 1) * stride
    if apart:
        return False
    for stride, size in dims:
        places = np.add.outer(places, stride * np.arange(size)).ravel()
    return np.unique(places).size < places.size


def same_storage(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are views of one storage, which fake and meta ones have too (2.1)."""
    return bool(torch._C._is_alias_of(a, b))  # type: ignore[attr-defined]


def checkpointed() -> bool:
    """Whether torch.utils.checkpoint, in its non-reentrant form, will run the forward pass at hand again (2.3).

    It tells nobody; its hooks on saved tensors are known by where they were defined.
    """
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(False)
    return hooks is not None and "checkpoint" in getattr(hooks[0], "__qualname__", "")


def recomputing() -> bool:
    """Whether a backward pass is running, inside which a checkpointed segment is run again (1.11)."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def keeps_other_numbers(tensor: Tensor) -> bool:
    """Whether a tensor is of a class that keeps its values in other tensors, as quantized ones do (2.1).

    One that is distributed over ranks is not: FSDP2 hands a layer the plain one.
    """
    found: object = tensor
    return is_traceable_wrapper_subclass(found) and not hasattr(tensor, "full_tensor")


def inner_tensors(tensor: Any) -> dict[str, Tensor]:
    """The tensors in which one that ``keeps_other_numbers`` keeps its values, by name."""
    return {name: getattr(tensor, name) for name in tensor.__tensor_flatten__()[0]}


def version_of(tensor: Tensor) -> int:
    """How often a tensor was written in place; -1 for one of inference mode, which does not count (0.4)."""
    return -1 if tensor.is_inference() else tensor._version


@contextlib.contextmanager
def uncached_parametrizations() -> Iterator[None]:
    """What ``parametrize.cached`` keeps of former passes is made anew inside, and is there again afterwards (1.9)."""
    before = parametrize._cache
    parametrize._cache = {}
    try:
        yield
    finally:
        parametrize._cache = before


def after_backward(function: Callable[[], None]) -> None:
    """Call a function at the end of the backward pass that is running, as DistributedDataParallel does (0.4)."""
    torch.autograd.Variable._execution_engine.queue_callback(function)


def argument_names(operator: Any) -> list[str]:
    """The names of the arguments of an operator of ``torch.ops``, in order (1.10)."""
    return [argument.name for argument in operator.default._schema.arguments]


def operator_names() -> list[str]:
    """The names of all operators that are registered, as ``namespace::name`` (1.10)."""
    return list(torch._C._dispatch_get_all_op_names())


def compile_package(program: Any, path: Path, metadata: dict[str, str]) -> str:
    """An AOTInductor package of an exported program: torch's documentation names it by this underscore (2.5)."""
    return torch._inductor.aoti_compile_and_package(
        program,
        package_path=str(path),
        inductor_configs={"aot_inductor.metadata": metadata},
    )


def load_package(path: Path, device_index: int) -> Any:
    """The function that an AOTInductor package holds, on a device, -1 for the CPU (2.5)."""
    return torch._inductor.aoti_load_package(str(path), False, device_index)


def package_loader() -> Any:
    """Torch's reader of AOTInductor packages, which also tells of one that it does not load (2.6)."""
    return torch._C._aoti.AOTIModelPackageLoader
