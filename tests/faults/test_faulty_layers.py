"""Do layers under faults read what their memory keeps, and stay the layers that they were?"""

import copy
import io
import pickle

import kernels
import pytest
import torch
import torch._dynamo.testing
from faulty_networks import ERRORS, MODELS, STORAGES, images, injected, linear, small
from torch import nn
from torch.utils.checkpoint import checkpoint

import eden


def test_reads_are_faulty_and_clean_reads_are_not():
    model = small()
    expected = model(images())
    eden.inject_(model, eden.Faults(ERRORS, ERRORS, correction="clamp"))
    eden.calibrate_(model, [images()])
    faulty = model(images())
    assert not torch.equal(faulty, expected)
    loads = {name: info.loads for name, info in eden.operands(model).items()}
    with eden.clean(model), eden.clean(model):
        assert torch.equal(model(images()), expected)
    assert {name: info.loads for name, info in eden.operands(model).items()} == loads
    assert torch.equal(model(images()), faulty)


def test_int8_is_symmetric_quantization():
    model = nn.Sequential(nn.Linear(5, 3, bias=False))
    x = torch.randn(4, 5)
    weight = model[0].weight.detach().clone()
    eden.inject_(model, eden.Faults(eden.Uniform(0.0), eden.Uniform(0.0), storage="int8"))
    eden.calibrate_(model, [x])

    def quantized(t: torch.Tensor) -> torch.Tensor:
        scale = t.abs().max() / 127
        return (t / scale).round() * scale

    assert torch.allclose(model(x), quantized(x) @ quantized(weight).T, atol=1e-6)


@pytest.mark.parametrize("layer", [nn.Linear(6, 4), nn.Conv1d(2, 3, 3), nn.Conv2d(2, 3, 3), nn.Conv3d(2, 3, 2)])
def test_samples_share_their_cells_unless_contiguous(layer):
    shape = (6,) if isinstance(layer, nn.Linear) else (2, *[5] * (layer.weight.dim() - 2))
    sample = torch.randn(shape)
    model = nn.Sequential(layer)
    eden.inject_(model, eden.Faults(inputs=eden.Uniform(0.05), storage="int8"))
    eden.calibrate_(model, [sample.unsqueeze(0)])
    alone = model(sample)
    together = model(torch.stack([sample] * 3))
    assert torch.allclose(together, alone.expand_as(together), atol=1e-6)
    eden.inject_(model, eden.Faults(inputs=eden.Uniform(0.05), storage="int8", batch="contiguous"))
    apart = model(torch.stack([sample] * 3))
    assert torch.allclose(apart[0], alone, atol=1e-6)
    assert not torch.allclose(apart[1], alone, atol=1e-6)


def test_training_advances_accesses_once_per_forward_not_in_recomputation():
    torch.manual_seed(0)
    block = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16)).train()
    x = torch.randn(4, 16, requires_grad=True)
    errors = eden.Uniform(0.02, failure=0.5)
    eden.inject_(block, eden.Faults(errors, errors, storage="int8"))
    eden.calibrate_(block, [x.detach()])

    def gradients(use_checkpoint: bool, reentrant: bool = False) -> list[torch.Tensor]:
        eden.set_chip_(block, 4)
        found = []
        for _ in range(2):
            block.zero_grad()
            y = checkpoint(block, x, use_reentrant=reentrant) if use_checkpoint else block(x)
            y.square().sum().backward()
            found += [parameter.grad.clone() for parameter in block.parameters()]
        assert int(block[0].eden_training_access) == 2
        return found

    plain = gradients(False)
    for reentrant in (False, True):
        for a, b in zip(plain, gradients(True, reentrant), strict=True):
            assert torch.equal(a, b)


def test_recomputation_that_cannot_be_repeated_is_refused():
    layer = nn.Sequential(nn.Linear(8, 8)).train()
    x = torch.randn(2, 8, requires_grad=True)

    def losses(failure: float) -> torch.Tensor:
        eden.inject_(layer, eden.Faults(weights=eden.Uniform(0.02, failure), storage="int8"))
        return sum(checkpoint(layer, x * factor, use_reentrant=False).sum() for factor in (1, 2))

    losses(1.0).backward()
    with pytest.raises(RuntimeError, match=r"0\.weight: read 2 times under activation checkpointing"):
        losses(0.5).backward()


def test_stored_parameters_never_change_and_gradients_arrive():
    model = injected(0.01).train()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model(images()).sum().backward()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is not None


def test_one_compiled_graph_over_changing_rates_chips_and_clean():
    model = injected()
    x = images()
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    for number, ber in enumerate((1e-4, 1e-3, 1e-2, 0.1)):
        eden.set_errors_(model, {name: eden.Uniform(ber) for name in eden.operands(model)})
        eden.set_chip_(model, number)
        assert torch.equal(compiled(x), model(x))
    with eden.clean(model):
        assert torch.equal(compiled(x), model(x))
    assert counter.frame_count == 1


def test_inductor_reads_the_same_bits():
    kernels.needs_inductor()
    layer = nn.Sequential(nn.Linear(32, 8, bias=False))
    eden.inject_(
        layer, eden.Faults(eden.Uniform(0.01, 0.5), eden.Uniform(0.01, 0.5), storage="int8", correction="zero")
    )
    x = torch.randn(16, 32)
    eden.calibrate_(layer, [x])
    compiled = torch.compile(layer, fullgraph=True)
    for _ in range(3):
        eden.set_chip_(layer, 1)
        expected = [layer(x) for _ in range(2)]
        eden.set_chip_(layer, 1)
        for one in expected:
            assert torch.allclose(compiled(x), one, atol=1e-5)


def test_copies_and_pickles():
    model = injected()
    expected = model(images())
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    for other in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(buffer, weights_only=False),
    ):
        assert torch.equal(other(images()), expected)
        eden.set_chip_(other, 9)
        assert eden.faults.chips.chip(other) == 9
        eden.remove_(other)
        assert type(other.conv1) is nn.Conv2d
    assert eden.faults.chips.chip(model) == 0
    assert torch.equal(model(images()), expected)


def test_corrections_at_a_high_rate():
    x = images()
    for correction in ("zero", "clamp"):
        model = injected(0.05, storage="float32", correction=correction)
        assert torch.isfinite(model(x)).all()
    model = injected(0.05, storage="float32", correction="none")
    assert not torch.isfinite(model(x)).all()


@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_autocast_and_short_formats(storage):
    x = images()

    def short(model: nn.Module) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return model(x)

    reliable = small()
    expected = kernels.plain("convolution in bfloat16", lambda: short(reliable))
    if storage == "float32":
        perfect = eden.Uniform(0.0)
        eden.inject_(reliable, eden.Faults(perfect, perfect))
        assert torch.equal(short(reliable), expected), "memory without errors keeps every bit"
    for ber in (0.0, 1e-3):
        model = injected(ber, storage=storage)
        if storage == "float32":  # a largest value that is rounded up would else be implausible, and read as zero
            inputs = {name: pair for name, pair in eden.ranges(model).items() if name.endswith("input")}
            eden.calibrate_(model, ranges={name: (1.5 * low, 1.5 * high) for name, (low, high) in inputs.items()})
        plain = model(x)
        mixed = short(model)
        assert mixed.dtype == expected.dtype == torch.bfloat16
        # Eight layers in a row: each is off by a bfloat16's 2^-8, and may then be stored as the next code, 1/127 away.
        assert torch.allclose(mixed.float(), plain, atol=8 * (2**-8 + 1 / 127), rtol=0.1)
    ranges = eden.ranges(model)
    model.bfloat16()
    assert eden.ranges(model)["conv1.input"] == ranges["conv1.input"]
    assert model(x.bfloat16()).dtype == torch.bfloat16
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(x.bfloat16()).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_sequence_first_layer_takes_a_single_sample():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=False).eval()
    eden.inject_(layer, eden.Faults(inputs=eden.Uniform(0.01), storage="int8"))
    x = torch.randn(5, 8)
    eden.calibrate_(layer, [x])
    assert eden.operands(layer)["linear1.input"].bytes == 5 * 8
    assert torch.allclose(layer(x), layer(x.unsqueeze(1)).squeeze(1), atol=1e-5)


def test_a_weight_that_is_nan_does_not_read_as_zeros():
    layer = nn.Linear(4, 4)
    eden.inject_(layer, eden.Faults(weights=eden.Uniform(0.0), storage="int8"))
    with torch.no_grad():
        layer.weight[0, 0] = torch.nan
    assert layer(torch.ones(1, 4)).isnan().all()


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("quantization", ["symmetric", "affine"])
@pytest.mark.parametrize("channels", [False, True])
def test_a_layer_reads_what_the_storage_keeps(storage, quantization, channels):
    codes = storage in eden.memory.storage.CODE_BITS
    symmetric = not codes or storage in eden.memory.storage.SYMMETRIC
    if (channels and not codes and storage != "sign") or (quantization == "affine" and symmetric):
        pytest.skip("Faults refuses it, see test_bad_input_is_named")
    model, x = linear()
    weight = model[0].weight.detach().clone()
    faults = {"storage": storage, "quantization": quantization, "weight_channels": channels}
    eden.inject_(model, eden.Faults(eden.Uniform(0.0), eden.Uniform(0.0), **faults))
    eden.calibrate_(model, [x[:15], x[15:]])

    def stored(values: torch.Tensor, channel_dim: int) -> torch.Tensor:
        if storage == "sign":
            scale = values.abs().mean(1, keepdim=True) if channel_dim == 0 else values.abs().mean()
            return torch.where(values < 0, -scale, scale)
        # tests/csrc/memory/test_codes.cpp has the words of these.
        if not codes and storage.endswith(("_mset", "_cep", "_hamming", "_bch")):
            return eden.corrupt(values, eden.Uniform(0.0), storage=storage)
        if not codes:
            return values.to(getattr(torch, storage.removesuffix("_secded"))).float()
        affine = quantization == "affine" or storage in eden.memory.storage.UNSIGNED
        low, high = eden.memory.storage.ranges(values, channel_dim)
        scale, point = eden.memory.storage.quantization(low, high, storage, affine)
        if channel_dim == 0:
            scale, point = scale.unsqueeze(1), point if point is None else point.unsqueeze(1)
        point = 0 if point is None else point
        code = torch.round(values / scale) + point
        return (code.clamp(*eden.memory.storage.code_range(storage, affine)) - point) * scale

    expected = stored(x, -1) @ stored(weight, 0 if channels else -1).T
    assert torch.allclose(model(x), expected, atol=1e-5)
    bits = eden.memory.storage.STORAGE_BITS[storage]
    size = -(-weight.numel() * bits // 8)
    if storage.endswith("_secded"):  # whole blocks of nine bytes
        size = -(-size // 9) * 9
    assert eden.operands(model)["0.weight"].bytes == size
    # Faults show, and gradients arrive.
    eden.set_errors_(model, {name: eden.Uniform(0.05) for name in eden.operands(model)})
    faulty = model.train()(x)
    assert not torch.equal(faulty, expected)
    faulty.nan_to_num(0.0, 0.0, 0.0).sum().backward()
    assert model[0].weight.grad is not None
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for twin in twins:
        assert torch.equal(twin.eval()(x).nan_to_num(), model.eval()(x).nan_to_num())


@pytest.mark.parametrize("errors", MODELS)
def test_a_layer_reads_its_operand_where_the_operator_does(errors):
    model, x = linear()
    weight = model[0].weight.detach()
    eden.inject_(model, eden.Faults(errors, errors, seed=5))
    for access in range(2):
        read = eden.corrupt(weight, errors, seed=5, address=0, access=access)
        sample = eden.corrupt(x, errors, seed=5, address=2**40, access=access, batch_dim=0)
        assert torch.equal((sample @ read.T).nan_to_num(), model(x).nan_to_num())
    with eden.clean(model):
        assert torch.equal(model(x), x @ weight.T)
    eden.set_errors_(model, {"0.weight": None, "0.input": None})
    assert torch.equal(model(x), x @ weight.T)
