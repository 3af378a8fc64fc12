"""What a network under faults has to compute: its plain copy, of which every operand is corrupted by ``eden.corrupt``.

The oracle knows nothing of layers under faults: weights are exchanged before the pass and inputs by hooks, each from
the address, storage and range that ``eden.operands`` and ``eden.ranges`` tell.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import eden
from eden.faults.chips import chip
from eden.memory.storage import measure_range, quantization

ERRORS = eden.Uniform(0.02)
SEED = 3


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers, the same at every call."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network() -> nn.Sequential:
    """Two layers for rows of 8 numbers."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))


def convolutional() -> nn.Sequential:
    """Two convolutions with normalization and a layer for images of 3 x 8 x 8."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Flatten(), nn.Linear(144, 4)
    )


def put(model: nn.Module, x: Any, errors: eden.ErrorModel = ERRORS, **options: Any) -> nn.Module:
    """Put a network under faults, in evaluation mode, and calibrate it."""
    options = {"inputs": errors, "storage": "int8", "seed": SEED, **options}
    eden.inject_(model.eval(), eden.Faults(errors, **options))
    return eden.calibrate_(model, [x])


class Oracle:
    """The reads of a network under faults, done to its plain copy.

    Args:
        model: the network under faults.
        plain: a network of the same structure and values without faults.
    """

    def __init__(self, model: nn.Module, plain: nn.Module) -> None:
        self.plain, self._operands, self._ranges = copy.deepcopy(plain), eden.operands(model), eden.ranges(model)
        self._chip = chip(model)
        self._modules = dict(self.plain.named_modules())
        for name, info in self._operands.items():
            for layer in info.layers if info.kind == "input" else ():
                self._modules[layer].register_forward_pre_hook(self._reading(name))

    def _reading(self, name: str) -> Callable[[nn.Module, Any], Any]:
        return lambda module, inputs: (self._input(name, inputs[0]), *inputs[1:])

    def _input(self, name: str, x: Tensor) -> Tensor:
        info = self._operands[name]
        ends = torch.tensor(self._ranges[name], dtype=torch.float32)
        scale = quantization(ends[0], ends[1], info.storage, False)[0] if info.storage == "int8" else None
        return self._read(info, x, scale, 0)

    def _read(self, info: Any, x: Tensor, scale: Tensor | None, batch_dim: int | None) -> Tensor:
        read: Tensor = eden.corrupt(
            x, info.errors, self._chip, info.address, storage=info.storage, scale=scale, batch_dim=batch_dim
        )
        return read

    def weights(self) -> dict[str, Tensor]:
        """The weights as read."""
        found = {}
        for name, info in self._operands.items():
            for layer in info.layers if info.kind == "weight" else ():
                attribute = name.rpartition(".")[2]
                held = getattr(self._modules[layer], attribute)
                scale = measure_range(held, info.storage, False, False, -1)[0] if info.storage == "int8" else None
                found[f"{layer}.{attribute}"] = self._read(info, held, scale, None)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return torch.func.functional_call(self.plain, self.weights(), args, kwargs, tie_weights=False)


def right(
    model: nn.Module,
    plain: nn.Module,
    x: Tensor,
    run: Callable[..., Any] | None = None,
    gradients: bool = False,
    close: float = 0.0,
) -> None:
    """Assert that a network reads exactly what the oracle reads, and something else than reliable memory gives.

    Args:
        model: the network under faults.
        plain: its plain copy.
        x: a batch.
        run: what gives the network's output, if not the network itself.
        gradients: whether to compare those of the Parameters, too.
        close: how far from the oracle's, relatively.
    """
    oracle, run = Oracle(model, plain), run or model
    same(run(x), oracle(x), close)
    with eden.clean(model), torch.no_grad():
        assert not torch.equal(model(x), oracle(x)), "faults reach nothing"
    if gradients:
        ours, theirs = dict(model.named_parameters()), dict(oracle.plain.named_parameters())
        model.zero_grad()
        run(x).square().sum().backward()
        oracle(x).square().sum().backward()
        for name, parameter in theirs.items():
            if parameter.grad is not None:
                grad = ours[name].grad
                assert grad is not None, name
                same(grad, parameter.grad, max(close, 1e-6))


def same(found: Tensor, expected: Tensor, close: float = 0.0) -> None:
    """Assert that tensors are equal, or relatively as close."""
    if close:
        torch.testing.assert_close(found, expected, rtol=close, atol=close * float(expected.abs().max()) + 1e-12)
    else:
        assert torch.equal(found, expected), (found - expected).abs().max()
