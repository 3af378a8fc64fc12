"""Quantizers of torch and of others."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from faults.cases.oracle import network, numbers, put, right, same
from faults.cases.registry import Refused, case, refused
from torch import nn
from torch.ao import quantization as ao

import eden

GROUP = "Quantized layers"
X = numbers(5, 8)


def quiet(function: Callable[..., Any], *args: Any) -> Any:
    """The result of one of torch's functions, which all say that they are about to go."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args)


def named(model: nn.Module, x: torch.Tensor, *packed: str) -> None:
    """Assert that coverage names packed weights with their bytes, that calibrate_ warns, and the rest is faulty."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        put(model, x)
    assert any("do not go through the memory" in str(each.message) for each in seen)
    found = eden.coverage(model, sample=x)
    rows = {row.name: row for row in found.rows}
    for name in packed:
        assert rows[name].kind == "packed"
        assert rows[name].bytes
        assert not rows[name].faulty
        assert not rows[name].chosen
    assert found.faulty
    assert found.weight_share is not None
    assert found.weight_share < 0.9


@case(GROUP)
def packed_dynamic() -> None:
    """torch.ao's dynamic layers beside others: their packed weights are named, with a warning."""
    model = nn.Sequential(quiet(ao.quantize_dynamic, network(), {nn.Linear}), nn.Linear(4, 4))
    named(model, X, "0.0.weight", "0.2.weight")


@case(GROUP)
def packed_recurrent() -> None:
    """torch.ao's dynamic LSTM and GRU cell beside others: their packed weights are named, with a warning."""

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.cell, self.head = nn.LSTM(8, 8, batch_first=True), nn.GRUCell(8, 8), nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.cell(self.lstm(x)[0][:, -1]))

    model = quiet(ao.quantize_dynamic, Recurrent(), {nn.LSTM, nn.GRUCell})
    named(model, numbers(3, 5, 8), "lstm.weight_ih_l0", "lstm.weight_hh_l0", "cell.weight_ih", "cell.weight_hh")


@case(GROUP)
def packed_static() -> None:
    """torch.ao's static layers beside others: their packed weights are named, with a warning."""
    wrapped = ao.QuantWrapper(network()).eval()
    wrapped.qconfig = ao.get_default_qconfig("fbgemm")
    ready = quiet(ao.prepare, wrapped)
    ready(X)
    model = nn.Sequential(quiet(ao.convert, ready), nn.Linear(4, 4))
    named(model, X, "0.module.0.weight", "0.module.2.weight")


@case(GROUP)
def packed_table() -> None:
    """torch.ao's quantized embedding beside others: its packed table is named, with a warning."""
    model = nn.Sequential(nn.Embedding(11, 8), nn.Linear(8, 4))
    model.qconfig, model[0].qconfig = None, ao.float_qparams_weight_only_qconfig
    named(quiet(ao.convert, quiet(ao.prepare, model)), torch.arange(5), "0.weight")


@case(GROUP)
def packed_alone() -> Refused:
    """A network of torch.ao's quantized layers alone."""
    model = quiet(ao.quantize_dynamic, network(), {nn.Linear})
    return refused("inject_", ValueError, lambda: put(model, X), "0: Linear", "packed")


@case(GROUP)
def aware() -> Refused:
    """Layers of quantization-aware training, which compute their own forward."""
    model = network().train()
    model.qconfig = ao.get_default_qat_qconfig("fbgemm")
    ready = quiet(ao.prepare_qat, model)
    return refused("inject_", ValueError, lambda: put(ready, X), "0: Linear computes its own forward")


@case(GROUP)
def prepared_later() -> None:
    """torch.ao's dynamic quantization and quantization-aware training after inject_: layers under faults stay so."""
    plain = network()
    model = put(copy.deepcopy(plain), X)
    right(quiet(ao.quantize_dynamic, model, {nn.Linear}), plain, X)
    model.train().qconfig = ao.get_default_qat_qconfig("fbgemm")
    right(quiet(ao.prepare_qat, model).eval(), plain, X)


@case(GROUP)
def fake_quantized() -> None:
    """A fake quantizer as a parametrization: memory holds what it gives."""
    plain, model = network(), network()
    for each in (plain, model):
        fake = ao.FakeQuantize.with_args(dtype=torch.qint8, quant_min=-128, quant_max=127)()
        nn.utils.parametrize.register_parametrization(each[0], "weight", fake)
        each.eval()(X)
    put(model, X)
    flat = network()
    with torch.no_grad():
        flat[0].weight.copy_(plain[0].weight)
    right(model, flat, X)


@case(GROUP, "torchao")
def torchao_codes() -> None:
    """torchao's int8 weights before inject_: memory holds their codes, and coverage says so."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    model = network()
    quiet(quantize_, model, Int8WeightOnlyConfig())
    plain = copy.deepcopy(model)
    put(model, X)
    found = eden.coverage(model, sample=X)
    assert eden.operands(model)["0.weight"].bytes == 64
    assert found.input_share == 1.0, found
    with eden.clean(model), torch.no_grad():
        same(model(X), plain(X), 0.05)
    assert not torch.equal(model(X), plain(X))


@case(GROUP, "torchao")
def torchao_other_storage() -> Refused:
    """torchao's int8 weights in a memory of another storage."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    model = network()
    quiet(quantize_, model, Int8WeightOnlyConfig())
    return refused("inject_", ValueError, lambda: put(model, X, storage="bfloat16"), "0.weight", "int8")


@case(GROUP, "torchao")
def torchao_later() -> Refused:
    """torchao's int8 weights made after inject_."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    model = put(network(), X)
    quiet(quantize_, model, Int8WeightOnlyConfig())
    return refused("forward", TypeError, lambda: model(X), "0.weight", "Int8Tensor", "inject_")


@case(GROUP, "torchao")
def torchao_float8() -> Refused:
    """torchao's float8 weights."""
    from torchao.quantization import Float8WeightOnlyConfig, quantize_

    model = nn.Sequential(nn.Linear(64, 64))
    quiet(quantize_, model, Float8WeightOnlyConfig())
    return refused("inject_", ValueError, lambda: put(model, numbers(2, 64)), "0.weight", "quantized")


@case(GROUP, "torchao")
def torchao_unpacked() -> None:
    """torchao's 4-bit weights that are kept one to a byte: all 8 bits of each come under faults."""
    from torchao.quantization import IntxWeightOnlyConfig, quantize_

    model = nn.Sequential(nn.Linear(64, 64))
    quiet(quantize_, model, IntxWeightOnlyConfig(weight_dtype=torch.int4))
    put(model, numbers(2, 64))
    assert eden.operands(model)["0.weight"].bytes == 64 * 64
    assert eden.coverage(model, sample=numbers(2, 64)).input_share == 1.0
    with torch.no_grad():
        found = model(numbers(2, 64))
        with eden.clean(model):
            assert not torch.equal(found, model(numbers(2, 64)))


@case(GROUP, "torchao")
def torchao_aware() -> Refused:
    """torchao's quantization-aware training."""
    from torchao.quantization import IntxWeightOnlyConfig, quantize_
    from torchao.quantization.qat import QATConfig

    model = nn.Sequential(nn.Linear(64, 64))
    quiet(quantize_, model, QATConfig(IntxWeightOnlyConfig(weight_dtype=torch.int8), step="prepare"))
    return refused("inject_", ValueError, lambda: put(model, numbers(2, 64)), "own forward")
