"""Is a network under faults right, or refused by name, where other tools have a hand in its layers, too?

Each case is a function that puts a small network under faults and lets another tool do what it does, before or after.
"""

import contextlib
import copy
import functools
import pickle
import re
import types
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import eden
from eden.faults.chips import chip
from eden.faults.faulty_layers import faulty_layers

ERRORS = eden.Uniform(0.2)
X = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).eval()


def inject(model: nn.Module, **options) -> nn.Module:
    return eden.inject_(model, eden.Faults(ERRORS, **{"seed": 3, **options}))


def under_faults(model: nn.Module, x: Tensor = X) -> bool:
    """Whether every layer under faults reads others than its own weights, and gives what they give."""
    with torch.no_grad():
        y = model(x)
        with eden.clean(model):
            return not torch.equal(y, model(x))


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight * 2


def doubled(layer: nn.Module, name: str = "weight") -> None:
    parametrize.register_parametrization(layer, name, Doubled())


class Hook:
    """What accelerate's ``add_hook_to_module`` does to a layer."""

    @staticmethod
    def add(layer: nn.Module) -> None:
        layer._old_forward = layer.forward

        def new_forward(module: nn.Module, *args: Tensor) -> Tensor:
            output: Tensor = module._old_forward(*args)
            return output

        layer.forward = functools.update_wrapper(functools.partial(new_forward, layer), layer.forward)

    @staticmethod
    def remove(layer: nn.Module) -> None:
        layer.forward = layer._old_forward
        del layer._old_forward


def bound_forward(model: nn.Sequential) -> nn.Module:
    model[0].forward = types.MethodType(nn.Linear.forward, model[0])
    return inject(model)


def hooked_before(model: nn.Sequential) -> nn.Module:
    Hook.add(model[0])
    return inject(model)


def hooked_after(model: nn.Sequential) -> nn.Module:
    Hook.add(inject(model)[0])
    return model


def hooked_between(model: nn.Sequential) -> nn.Module:
    Hook.add(inject(model)[0])
    inject(eden.remove_(model))
    Hook.remove(model[0])
    return model


def wrapped_by_a_closure(model: nn.Sequential) -> nn.Module:
    inner = inject(model)[0].forward
    model[0].forward = lambda x: inner(x) * 1.0
    return model


def parametrized_before(model: nn.Sequential) -> nn.Module:
    doubled(model[0])
    return inject(model)


def parametrized_after(model: nn.Sequential) -> nn.Module:
    doubled(inject(model)[0])
    return model


def parametrized_twice(model: nn.Sequential) -> nn.Module:
    doubled(model[0])
    doubled(inject(model)[0], "bias")
    return model


def parametrization_removed(model: nn.Sequential) -> nn.Module:
    doubled(model[0])
    parametrize.remove_parametrizations(inject(model)[0], "weight")
    return model


def class_swapped(model: nn.Sequential) -> nn.Module:
    """As FSDP2 does it, before for one layer and after for the other."""

    class Sharded:
        pass

    def swap(layer: nn.Module) -> None:
        layer.__class__ = type(f"FSDP{type(layer).__name__}", (Sharded, type(layer)), {})

    swap(model[0])
    swap(inject(model)[2])
    return model


def copied(model: nn.Sequential) -> nn.Module:
    return copy.deepcopy(inject(model))


def pickled(model: nn.Sequential) -> nn.Module:
    loaded: nn.Module = pickle.loads(pickle.dumps(inject(model)))
    return loaded


def traced_by_fx(model: nn.Sequential) -> nn.Module:
    return torch.fx.symbolic_trace(inject(model))


def from_meta(model: nn.Sequential) -> nn.Module:
    empty = inject(copy.deepcopy(model).to("meta")).to_empty(device="cpu")
    empty.load_state_dict(model.state_dict())
    assert chip(empty) == 3
    return empty


def emptied(model: nn.Sequential) -> nn.Module:
    state = {name: value.clone() for name, value in model.state_dict().items()}
    inject(model).to_empty(device="cpu").load_state_dict(state)
    assert chip(model) == 3
    return model


def of_another_type(model: nn.Sequential) -> nn.Module:
    return inject(model).type(torch.bfloat16).float()


RIGHT = [
    bound_forward,
    hooked_before,
    hooked_after,
    hooked_between,
    wrapped_by_a_closure,
    parametrized_before,
    parametrized_after,
    parametrized_twice,
    parametrization_removed,
    class_swapped,
    copied,
    pickled,
    traced_by_fx,
    from_meta,
    emptied,
    of_another_type,
]


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case.__name__)
def test_a_layer_in_several_hands_is_right(case):
    model = case(network())
    assert list(faulty_layers(model)) == ["0", "2"]
    assert under_faults(model)
    first = faulty_layers(model)["0"]
    plain = copy.deepcopy(model)
    eden.remove_(plain)
    with eden.clean(model):
        assert torch.equal(model(X), plain(X)), "float32 on reliable memory is the network itself"
    assert model(X).shape == (5, 4)
    inject(model)
    assert under_faults(model)
    eden.remove_(model)
    assert not faulty_layers(model)
    assert type(first).forward is nn.Linear.forward
    assert torch.equal(model(X), plain(X))


def test_classes_come_back():
    model = network()
    doubled(model[0])
    classes = [type(layer) for layer in model]
    for _ in range(2):
        inject(model)
        copy.deepcopy(model)
        eden.remove_(model)
        assert [type(layer) for layer in model] == classes


def test_what_cannot_be_told_leaves_all_as_it_was():
    model = inject(network())
    faulty = type(model[2])
    model[2].__class__ = type("Lost", (type(model[0]).__bases__[0], nn.Linear), {})
    for change in (eden.remove_, inject):
        with pytest.raises(TypeError, match="Lost is no class of layers under faults"):
            change(model)
        assert type(model[0]) is faulty
        assert "eden_chip" in model[0]._buffers


STEP = 0.05


class Packed(torch.Tensor):
    """A tensor that keeps codes of its values, as torchao's do."""

    @staticmethod
    def __new__(cls, codes: Tensor) -> "Packed":
        return torch.Tensor._make_wrapper_subclass(cls, codes.shape, dtype=torch.float32)

    def __init__(self, codes: Tensor) -> None:
        self.codes = codes

    def __tensor_flatten__(self):
        return ["codes"], None

    @staticmethod
    def __tensor_unflatten__(tensors, context, size, stride):
        return Packed(tensors["codes"])

    @classmethod
    def __torch_dispatch__(cls, function, kinds, args=(), kwargs=None):
        if function in (torch.ops.aten.detach.default, torch.ops.aten.clone.default):
            return Packed(args[0].codes.clone())
        return function(*(x.dequantize() if isinstance(x, Packed) else x for x in args), **(kwargs or {}))

    def dequantize(self) -> Tensor:
        return self.codes * STEP


def packed(model: nn.Sequential, dtype: torch.dtype = torch.int8) -> None:
    codes = torch.arange(-16, 16, dtype=dtype).reshape(4, 8)
    model[2].weight = nn.Parameter(Packed(codes), requires_grad=False)


def offloaded(model: nn.Sequential) -> None:
    model[2].to("meta")._hf_hook = object()


def lazy(model: nn.Sequential) -> None:
    model.append(nn.LazyLinear(2))


REFUSED: dict[str, tuple[Callable[[nn.Sequential], object], str]] = {
    "codes in another storage": (
        packed,
        r"2\.weight is a Packed, which keeps int8 codes; allowed is the storage 'int8'",
    ),
    "codes of 16 bits": (
        lambda model: packed(model, torch.int16),
        r"2\.weight is a Packed, which keeps other numbers than its values; allowed are plain tensors and those that",
    ),
    "float64": (lambda model: model[2].double(), r"2\.weight has the dtype torch\.float64; allowed are torch\.float32"),
    "offloaded": (offloaded, r"2\.weight is offloaded; allowed is inject_ before"),
    "lazy": (lazy, r"^3: not initialized yet; run a forward pass before inject_, or leave them out"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_at_inject(name):
    change, message = REFUSED[name]
    model = network()
    change(model)
    with pytest.raises(ValueError, match=message):
        inject(model)
    assert not faulty_layers(model)
    eden.inject_(model, eden.Faults(ERRORS), filter_fn=lambda layer, _: layer == "0")
    assert list(faulty_layers(model)) == ["0"]


def test_codes_of_a_quantizer_are_what_memory_holds():
    model = network()
    packed(model)
    inject(model, storage="int8", correction="zero")
    assert under_faults(model)
    weight = model[2].weight
    read = model[2].eden_read("weight", weight)
    address = eden.operands(model)["2.weight"].address
    assert torch.equal(read.codes, eden.corrupt(weight.codes, ERRORS, seed=3, address=address))
    assert eden.ranges(model)["2.weight"] == pytest.approx((-16 * STEP, 15 * STEP))
    assert eden.operands(model)["2.weight"].bytes == 32
    with torch.no_grad(), eden.clean(model):
        hidden = torch.relu(model[0](X))
        assert torch.equal(model[2](hidden), nn.functional.linear(hidden, weight.codes * STEP, model[2].bias))
    with pytest.raises(ValueError, match=r"2\.weight is a Packed; allowed in a file are plain tensors"):
        eden.save(model, "packed.safetensors")


@contextlib.contextmanager
def onnx_export() -> Iterator[None]:
    from torch.onnx._internal.exporter import _flags

    _flags._is_onnx_exporting = True
    try:
        yield
    finally:
        _flags._is_onnx_exporting = False


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8", "uint8", "int4_sign_magnitude", "sign"])
@pytest.mark.parametrize("tool", ["jit", "onnx"])
def test_what_holds_no_faults_is_for_clean_memory(tool, storage):
    model = network()
    eden.inject_(model, eden.Faults(ERRORS, ERRORS, storage=storage))
    eden.calibrate_(model, [X])
    if tool == "jit":

        def trace() -> Callable[[Tensor], Tensor]:
            return torch.jit.trace(model, X, check_trace=False)
    else:

        def trace() -> Callable[[Tensor], Tensor]:
            with onnx_export():
                return torch.export.export(model, (X,)).module()

    with pytest.raises(Exception, match=r"0\.weight, 0\.input: torch\.jit\.trace and ONNX cannot hold faults; call "):
        trace()
    with torch.no_grad(), eden.clean(model):
        expected = model(X)
        traced = trace()
        assert torch.equal(traced(X), expected)
    assert not re.search(r"eden[.:]", str(traced.graph) if tool == "onnx" else str(traced.inlined_graph))


def test_script_is_refused_by_name():
    with pytest.raises(RuntimeError, match=r"0\.weight: torch\.jit\.script cannot hold faults; call it after"):
        torch.jit.script(inject(network()))


@pytest.mark.parametrize("averaging", ["mean", "exponential", "parameters"])
def test_an_average_has_the_faults_of_its_network(averaging):
    model = inject(network())
    ema = {"multi_avg_fn": get_ema_multi_avg_fn(0.5)} if averaging == "exponential" else {}
    average = AveragedModel(model, use_buffers=averaging != "parameters", **ema)
    for seed, rate in enumerate((0.01, 0.05, 0.25)):
        eden.set_errors_(model, dict.fromkeys(eden.operands(model), eden.Uniform(rate)))
        eden.faults.chips.set_chip_(model, 2**40 + seed)
        average.update_parameters(model)
    assert {info.errors for info in eden.operands(average).values()} == {eden.Uniform(0.25)}
    assert under_faults(average)
    assert chip(average) == chip(model)
    assert torch.equal(average.module[0].eden_weight_region, model[0].eden_weight_region)
    own = eden.Uniform(0.1)
    eden.set_errors_(average, dict.fromkeys(eden.operands(average), own))
    assert {info.errors for info in eden.operands(average).values()} == {own}, "until it is averaged again"
    alone = copy.deepcopy(model)
    eden.set_errors_(alone, dict.fromkeys(eden.operands(alone), own))
    alone(X)
    assert {info.errors for info in eden.operands(alone).values()} == {own}, "a copy that nobody averages is itself"


@pytest.mark.parametrize("wrap", [lambda model: torch.compile(model, backend="eager"), nn.DataParallel, AveragedModel])
def test_names_do_not_tell_of_wrappers(wrap, tmp_path):
    inner = network()
    inner[0] = torch.compile(inner[0], backend="eager")
    model = wrap(inner)
    eden.inject_(model, eden.Faults(ERRORS, ERRORS))
    assert list(eden.operands(model)) == ["0.weight", "0.input", "2.weight", "2.input"]
    eden.save(model, tmp_path / "wrapped.safetensors")
    plain = network()
    eden.load_(plain, tmp_path / "wrapped.safetensors")
    assert under_faults(plain)
    eden.load_(model, tmp_path / "wrapped.safetensors")
    assert list(eden.operands(eden.load_(wrap(network()), tmp_path / "wrapped.safetensors"))) == [
        *("0.weight", "0.input", "2.weight", "2.input")
    ]


# What is computed in another format than calibration's.


class Deep(nn.Module):
    """Residual blocks with GELU, so that many values lie near the lower end of a range."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(24, 24), nn.GELU(), nn.Linear(24, 24)) for _ in range(6))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(x)
        return x


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("how", ["autocast", "moved", "island", "default", "loaded", "calibrated"])
def test_largest_values_are_plausible_in_every_format(how, storage, tmp_path):
    model, x = Deep().eval(), torch.randn(16, 24, generator=torch.Generator().manual_seed(2))
    errors = eden.Uniform(1e-12)
    around = contextlib.nullcontext()
    with default_dtype(torch.bfloat16 if how == "default" else torch.float32):
        eden.inject_(model, eden.Faults(errors, errors, storage=storage, correction="zero"))
        eden.calibrate_(model, [x])
    if how == "autocast":
        around = torch.autocast("cpu", torch.bfloat16)
    elif how in ("moved", "island", "loaded"):
        model.bfloat16()
        x = x.bfloat16()
    if how == "island":
        model.blocks[3].float()
        model.blocks[3].register_forward_pre_hook(lambda module, given: given[0].float())
        model.blocks[3].register_forward_hook(lambda module, given, output: output.bfloat16())
    if how == "loaded":
        eden.save(model, tmp_path / "model.safetensors")
        model = eden.load_(Deep().eval().bfloat16(), tmp_path / "model.safetensors")
    if how == "calibrated":  # there, and used in float32
        with torch.autocast("cpu", torch.bfloat16):
            eden.calibrate_(model, [x])
    with torch.no_grad(), around:
        read = model(x)
        with eden.clean(model):
            assert torch.equal(read, model(x))


def test_a_range_of_zero_reads_zero():
    model = network()
    nn.init.zeros_(model[2].weight)
    for storage in ("int8", "uint8", "int4", "int16_sign_magnitude"):
        eden.inject_(model, eden.Faults(ERRORS, storage=storage))
        assert float(model[2].eden_read("weight", model[2].weight).detach().abs().max()) == 0.0
