"""Does a deployed network compute what the simulated one does, from the very words that the memory holds?"""

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

import eden
from eden.deployment.kernels import engine_of
from eden.faults.faulty_layers import faulty_layers

pytestmark = pytest.mark.usefixtures("one_thread")


class Net(nn.Module):
    """What is folded, and what is not: sums, kinds of convolutions, activations, a layer that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm0 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv1, self.norm1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.deep = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)
        self.relu6 = nn.ReLU6()
        self.wide = nn.Conv2d(8, 12, 1, stride=2)
        self.pool = nn.MaxPool2d(2)
        self.twice = nn.Linear(12 * 4, 12 * 4)
        self.head = nn.Linear(12 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm0(self.stem(x)))
        x = F.relu(self.norm1(self.conv1(x)) + x)
        x = self.relu6(x + self.deep(x)) + x
        x = self.pool(self.wide(x)).flatten(1)
        x = self.twice(torch.tanh(self.twice(x)))
        y: Tensor = self.head(x)
        return y


def inputs(samples: int = 6) -> Tensor:
    return torch.randn(samples, 3, 8, 8, generator=torch.Generator().manual_seed(5))


def faulty(**faults: Any) -> nn.Module:
    torch.manual_seed(3)
    model = Net().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(8)
            module.running_var = torch.rand(8) + 0.5
            nn.init.normal_(module.weight)  # of both signs
            nn.init.normal_(module.bias)
    assert isinstance(model.norm1, nn.BatchNorm2d)
    with torch.no_grad():
        model.norm1.weight[2] = 0.0
    errors = eden.DataDependent(0.01, 0.03)
    eden.inject_(model, eden.Faults.int8(errors, **faults))
    eden.calibrate_(model, [inputs(20)])
    reliable = {name: None for name, info in eden.operands(model).items() if info.kind == "input"}
    return eden.set_errors_(model, reliable)


def weights_read(model: nn.Module) -> dict[str, Tensor]:
    """By layer, its weight as the simulation reads it."""
    return {name: layer.eden_read("weight", layer.weight).detach() for name, layer in faulty_layers(model).items()}


KINDS: list[dict[str, Any]] = [
    {},
    {"storage": "int8", "input_storage": "int8", "correction": "none", "percentile": 100.0},
    {"storage": "int8", "input_storage": "int8", "weight_channels": True, "percentile": 99.0},
    {"input_storage": "int8_sign_magnitude", "correction": "clamp", "parameters": ("weight", "bias")},
    {"storage": "int8", "input_storage": None, "parameters": ("weight", "normalization")},
]


@pytest.mark.parametrize("faults", KINDS, ids=str)
@pytest.mark.parametrize("engine", ["onednn", "reference"])
def test_computes_what_the_simulation_does(faults: dict[str, Any], engine: str) -> None:
    usable(engine)
    model = faulty(**faults)
    image = eden.memory_image(model)
    for chip in (7, 8):
        eden.set_chip_(model, chip)
        deployed = eden.deploy(model, image.corrupted(chip), engine=engine)
        assert set(deployed.integer) == {"stem", "conv1", "deep", "wide", "twice", "head"}
        with torch.no_grad():
            wanted = model(inputs())
        # What differs is a step of codes where a sum is halfway between two, which later layers may spread.
        inner: Any = deployed.network.get_submodule("head")
        assert float((deployed(inputs()) - wanted).abs().max()) < 5 * inner.product.input.scale
        assert torch.equal(deployed(inputs())[:1], deployed(inputs()[:1]))
        assert deployed(inputs(0)).shape == (0, 5)


@pytest.mark.parametrize("engine", ["onednn", "reference"])
def test_words_are_the_same_and_each_layer_within_a_step_of_its_output(engine: str) -> None:
    usable(engine)
    model = faulty()
    eden.set_chip_(model, 7)
    deployed = eden.deploy(model, eden.memory_image(model).corrupted(7), engine=engine)
    before: dict[str, list[Tensor]] = {}
    after: dict[str, Tensor] = {}
    for name in deployed.integer:
        layer = deployed.network.get_submodule(name)
        # Cloned, since a sum may use the memory of what is added.
        layer.register_forward_pre_hook(lambda _, args, name=name: before.update({name: [x.clone() for x in args]}))
        layer.register_forward_hook(lambda _, args, y, name=name: after.update({name: y.clone()}))
    deployed(inputs())
    for name, weight in weights_read(model).items():
        product = deployed.network.get_submodule(name).product
        own: Any = faulty_layers(model)[name]
        scale = own.weight.abs().max() / 127
        assert torch.equal(product.codes.float() * scale, weight), "to the bit"
        codes, *added = before[name]
        x = (codes.double() - product.input.zero_point) * product.input.scale
        folded = weight.double() * (product.scale.double() / scale).reshape(-1, *[1] * (weight.dim() - 1))
        if isinstance(own, nn.Linear):
            y = F.linear(x, folded, product.bias.double())
        else:
            y = F.conv2d(x, folded, product.bias.double(), own.stride, own.padding, own.dilation, own.groups)
        y = product.finish(y.float(), *added or [None])
        if product.output is None:
            torch.testing.assert_close(after[name], y, rtol=1e-5, atol=1e-5)
        else:
            wanted = product.output.quantize(y)
            assert (after[name].int() - wanted.int()).abs().max() <= 1
            assert (after[name] != wanted).double().mean() < 1e-2


def usable(engine: str) -> None:
    try:
        engine_of(engine)
    except ValueError as error:
        pytest.skip(str(error))


class Left(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular")
        self.norm = nn.BatchNorm1d(4 * 16)
        self.recurrent = nn.GRU(16, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x)).flatten(2)
        x, _ = self.recurrent(self.norm(x.flatten(1)).unflatten(1, (4, 16)))
        y: Tensor = self.head(x[:, -1])
        return y


def test_what_has_no_kernel_computes_in_float_from_what_is_read() -> None:
    torch.manual_seed(1)
    model = Left().eval()
    x = torch.rand(5, 1, 4, 4)
    eden.inject_(model, eden.Faults.int8(eden.Uniform(0.02), parameters=("weight", "bias", "normalization")))
    eden.calibrate_(model, [x])
    eden.set_errors_(model, {name: None for name, info in eden.operands(model).items() if info.kind == "input"})
    eden.set_chip_(model, 3)
    deployed = eden.deploy(model, eden.memory_image(model).corrupted(3), engine="reference")
    assert deployed.integer == ("head",)
    assert set(deployed.in_float) == {"conv", "norm", "recurrent"}
    assert deployed.in_float["recurrent"] == "no integer kernel computes a GRU"
    assert "padding" in deployed.in_float["conv"]
    with torch.no_grad():
        torch.testing.assert_close(deployed(x), model(x), rtol=0, atol=1e-5)


class InPlace(nn.Module):
    def __init__(self, late: bool) -> None:
        super().__init__()
        self.conv, self.again, self.late = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1), late

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        y = x.view(-1, 2, 4, 4)
        y.mul_(2.0)
        return self.again(x if self.late else y)


class Branching(InPlace):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.again(self.conv(x))
        return y if y.sum() > 0 else x


def small(model: nn.Module, faults: eden.Faults | None = None) -> nn.Module:
    eden.inject_(model.eval(), faults or eden.Faults.int8(eden.Uniform(0.01)))
    return eden.calibrate_(model, [torch.rand(4, 1, 4, 4)])


def test_what_is_changed_in_place_is_right_or_refused() -> None:
    model = small(InPlace(False))
    eden.set_errors_(model, dict.fromkeys(eden.operands(model)))
    x = torch.rand(3, 1, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(
            eden.deploy(model, eden.memory_image(model), engine="reference")(x), model(x), rtol=0, atol=1e-2
        )
    model = small(InPlace(True))
    with pytest.raises(ValueError, match=r"conv is changed in place by mul_ and read again by again"):
        eden.deploy(model, eden.memory_image(model), engine="reference")


def run_deployed(folder: Path) -> Path:
    """The example in C++, built."""
    root = Path(torch.__file__).parent
    source, program = Path(__file__).parents[2] / "examples" / "run_deployed.cpp", folder / "run_deployed"
    subprocess.run(
        [
            *("c++", "-std=c++20", "-O0", "-Wall", "-Wextra", "-Werror", str(source), "-o", str(program)),
            *(f"-isystem{root}/include", f"-isystem{root}/include/torch/csrc/api/include", f"-L{root}/lib"),
            *("-ltorch", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{root}/lib"),
            f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
        ],
        check=True,
    )
    return program


@pytest.mark.slow
def test_a_package_runs_from_whatever_words_it_is_given(tmp_path: Path) -> None:
    model = faulty()
    image = eden.memory_image(model)
    deployed = eden.deploy(model, image)
    path = deployed.export(inputs(), tmp_path / "net.pt2")
    package = torch._inductor.aoti_load_package(str(path))
    save_file({"inputs": inputs()}, tmp_path / "samples.safetensors")
    program = [str(run_deployed(tmp_path)), str(path), str(tmp_path / "image.safetensors")]
    for read in (image, image.corrupted(7)):
        wanted = eden.deploy(model, read)(inputs())
        torch.testing.assert_close(package(inputs(), torch.cat(list(read.words.values()))), wanted, rtol=0, atol=1e-2)
        read.save(tmp_path / "image.safetensors")
        done = subprocess.run(
            [*program, str(tmp_path / "samples.safetensors")], capture_output=True, text=True, check=True
        )
        printed = torch.tensor([[float(word) for word in line.split()] for line in done.stdout.splitlines()])
        torch.testing.assert_close(printed, wanted, rtol=0, atol=1e-2)
    done = subprocess.run([*program, str(tmp_path / "image.safetensors")], capture_output=True, text=True)
    assert done.returncode == 1
    assert "has no tensor inputs" in done.stderr


def test_what_no_package_holds_is_refused(tmp_path: Any) -> None:
    model = small(InPlace(False))
    deployed = eden.deploy(model, eden.memory_image(model), engine="reference")
    with pytest.raises(TypeError, match="inputs is a list; allowed is a tensor"):
        deployed.export([], tmp_path / "net.pt2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"ends in '\.pt'; allowed is '\.pt2'"):
        deployed.export(torch.rand(1, 1, 4, 4), tmp_path / "net.pt")


def test_an_engine_whose_sums_saturate_is_refused() -> None:
    """Of oneDNN told to use no more than AVX2, which has no VNNI, where a processor has that."""
    script = """
from eden.deployment.kernels import engine_of
print(engine_of(None))
try:
    print(engine_of("onednn"))
except ValueError as error:
    print(error)
"""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found, problem = ran.stdout.splitlines()
    assert found == problem == "onednn" or (found == "reference" and "are not exact on this processor" in problem)


def test_refuses_by_name() -> None:
    model = small(InPlace(False))
    image = eden.memory_image(model)
    deployed = eden.deploy(model, image, engine="reference")
    x = torch.rand(1, 1, 4, 4)
    for call, error, message in (
        (lambda: eden.deploy(model, image, engine="fbgemm"), ValueError, "engine is 'fbgemm'; allowed are 'onednn'"),
        (lambda: eden.deploy(model, {}), TypeError, "image is a dict; allowed is what eden.memory_image returns"),
        (lambda: eden.deploy(nn.Linear(2, 2), image), ValueError, "no layer under faults"),
        (lambda: eden.deploy(small(InPlace(False)), image), ValueError, "memory image was made from another network"),
        (lambda: eden.deploy(small(model.double()), image), ValueError, "float64; allowed"),
        (lambda: deployed(x.double()), TypeError, "torch.float64; allowed for a deployed network is torch.float32"),
        (lambda: deployed(x / 0 - x / 0), ValueError, "not finite"),
        (lambda: deployed(torch.rand(1, 2, 4, 4)), ValueError, r"shape \(1, 2, 4, 4\); allowed .* 1 channels"),
        (lambda: deployed.train(), ValueError, "cannot be trained"),
    ):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize(
    ("model", "faults", "message"),
    [
        (InPlace(False), {"storage": "float32"}, r"conv\.weight is kept in storage 'float32'; allowed .*'int8' or"),
        (InPlace(False), {"storage": "int8_secded"}, r"conv\.weight is kept in storage 'int8_secded'"),
        (InPlace(False), {"quantization": "affine", "storage": "int8"}, r"conv\.weight .* codes with a zero point"),
        (InPlace(False), {"input_storage": "float16"}, r"conv\.input is kept in storage 'float16'"),
        (InPlace(False), {"planes": {"weight": ["7", "6:0"]}}, r"conv\.weight lies in planes"),
        (Branching(False), {}, r"torch\.fx cannot trace Branching: .*control flow"),
        (nn.Conv2d(1, 2, 1), {}, r"Conv2d reads operands itself, as a single layer"),
        (nn.Sequential(nn.Conv1d(4, 2, 1)), {}, r"no layer that integers can compute: 0: no integer kernel .*Conv1d"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refuses_networks_by_name(model: nn.Module, faults: dict[str, Any], message: str) -> None:
    errors = eden.Uniform(0.01)
    made = {"storage": "int8", "input_storage": "uint8", **faults}
    model = copy.deepcopy(model).eval()
    eden.inject_(model, eden.Faults(errors, errors, **made))
    eden.calibrate_(model, [torch.rand(4, 4, 4) if isinstance(model, nn.Sequential) else torch.rand(4, 1, 4, 4)])
    with pytest.raises(ValueError, match=message):
        eden.deploy(model, eden.memory_image(model), engine="reference")


def test_images_of_files(tmp_path: Any) -> None:
    model = small(InPlace(False))
    path = tmp_path / "image.safetensors"
    eden.memory_image(model).corrupted(5).save(path)
    x = torch.rand(2, 1, 4, 4)
    copied = copy.deepcopy(eden.deploy(model, path, engine="reference"))
    assert torch.equal(copied(x), eden.deploy(model, eden.memory_image(model).corrupted(5), engine="reference")(x))
