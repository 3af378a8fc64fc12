"""Does the operator live in torch as its own do: memory, layouts, transforms, compilers, precision, processes?"""

import copy
import gc
import io
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kernels
import processes
import pytest
import torch
import torch._dynamo.testing
from one_region import one_region
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

import eden
from eden.app.models import ResNet
from eden.memory import library as _library
from eden.memory import reading
from eden.memory.errors import ErrorModel
from eden.memory.reading import advance_, cached_bytes, empty_cache
from eden.memory.storage import STORAGES

pytestmark = pytest.mark.usefixtures("one_thread")

ERRORS = eden.Uniform(1e-2)
SOMETIMES = eden.Uniform(2e-2, 0.5)
POOLED = 1 << 20  # float32 elements whose memory is surely kept


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    word = {1: torch.int8, 2: torch.int16, 4: torch.int32}[a.element_size()]
    return a.shape == b.shape and torch.equal(a.contiguous().view(word), b.contiguous().view(word))


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def schema_arguments(errors: ErrorModel = ERRORS, batch_dim: int = -1, **changes: Any) -> list[Any]:
    """All arguments of the operator after x, for native storage, in the schema's order."""
    known = {
        "region": torch.tensor(one_region(errors, 0)),
        "chip": torch.tensor(3),
        "access": torch.tensor(5),
        "storage": STORAGES["float32"],
        "batch_dim": batch_dim,
        "channel_dim": -1,
        **changes,
    }
    return [known.get(argument.name) for argument in torch.ops.eden.corrupt.default._schema.arguments[1:]]


def run_python(code: str, **environment: str) -> str:
    done = processes.run("-c", code, environment={"OMP_NUM_THREADS": "1", **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# -- memory ------------------------------------------------------------------------------------------------------------

keeps_memory = pytest.mark.skipif(
    tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 11), reason="torch 2.10 lends no memory"
)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@keeps_memory
def test_the_memory_of_results_is_used_again_and_given_back():
    empty_cache()
    assert cached_bytes() == 0
    x = random(POOLED)
    first = eden.corrupt(x, ERRORS)
    place, copied = first.data_ptr(), first.clone()
    assert place % 64 == 0
    assert cached_bytes() == 0
    view = first[5:9]
    del first
    assert cached_bytes() == 0, "a view holds the memory"
    other = eden.corrupt(x, ERRORS)
    assert other.data_ptr() != place
    del view
    assert 4 * POOLED <= cached_bytes() <= 4.5 * POOLED
    again = eden.corrupt(x, ERRORS)
    assert again.data_ptr() == place
    assert same(again, copied)
    assert same(other, copied)
    del again, other
    empty_cache()
    assert cached_bytes() == 0


@keeps_memory
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_does_not_grow_over_iterations_of_varying_sizes():
    layer = nn.Sequential(nn.Linear(256, 256), nn.Linear(256, 256))
    eden.inject_(layer, eden.Faults(ERRORS, ERRORS, storage="float32"))
    sizes = torch.randint(100, 4000, (150,), generator=torch.Generator().manual_seed(2)).tolist()

    def train(rows: list[int]) -> None:
        for n in rows:
            layer(torch.ones(n, 256)).nan_to_num().sum().backward()
            layer.zero_grad()

    train([4000])
    before = resident_bytes()
    train(sizes)
    # A read of n rows gives 1 kB a row, 2 MB on average, at two layers: were none used again, 600 MB would stay.
    assert resident_bytes() - before < 2.5e8
    empty_cache()


@keeps_memory
def test_the_cap_of_idle_memory_is_an_environment_variable():
    code = (
        "import os, torch, eden\n"
        "from eden.memory.reading import cached_bytes\n"
        "def idle(value):\n"
        "    os.environ['EDEN_CACHE_BYTES'] = value\n"
        "    try:\n"
        "        y = [eden.corrupt(torch.ones(1 << 20), eden.Uniform(1e-3)) for _ in range(4)]\n"
        "    except RuntimeError as error:\n"
        "        return error\n"
        "    del y\n"
        "    return cached_bytes()\n"
    )
    assert run_python(code + "print(idle('0'), idle('9000000'))") == "0 0"  # the first that is right counts
    found = run_python(code + "print(idle('1 GB'), idle('-1'), idle(''), idle(str(9 << 20)), sep='\\n')").splitlines()
    for line, value in zip(found, ("1 GB", "-1", "", None), strict=True):
        if value is None:
            assert line == str(8 << 20)
        else:
            assert line.endswith(f"EDEN_CACHE_BYTES is '{value}'; allowed is a whole number of bytes, 0 or more")


@keeps_memory
def test_a_result_is_an_ordinary_tensor():
    x = random(POOLED)
    y = eden.corrupt(x, ERRORS).nan_to_num_()
    expected = y.clone()
    buffer = io.BytesIO()
    torch.save(y, buffer)
    buffer.seek(0)
    assert same(torch.load(buffer, weights_only=True), expected)
    assert same(pickle.loads(pickle.dumps(y)), expected)
    assert same(copy.deepcopy(y), expected)
    assert same(torch.from_numpy(y.numpy()), expected)
    assert y.untyped_storage().nbytes() == 4 * POOLED
    assert not y.is_shared()
    y.share_memory_()
    assert y.is_shared()
    assert same(y, expected)
    z = eden.corrupt(x, ERRORS)
    z.resize_(7)  # less than it holds
    with pytest.raises(RuntimeError, match="not resizable"):
        z.resize_(2 * POOLED)
    z.set_(torch.ones(3))
    assert z.tolist() == [1.0] * 3
    with torch.inference_mode():
        inference = eden.corrupt(x, ERRORS)
    assert inference.is_inference()
    assert same(inference, eden.corrupt(x, ERRORS))


@keeps_memory
def test_results_outlive_threads_and_the_end_of_the_interpreter():
    x, kept = random(POOLED), []
    threads = [threading.Thread(target=lambda: kept.append(eden.corrupt(x, ERRORS))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({y.data_ptr() for y in kept}) == 4
    assert all(same(y, kept[0]) for y in kept)
    code = (
        "import atexit, torch, eden, builtins\n"
        "x = torch.ones(1 << 22, dtype=torch.int8)\n"
        "builtins.kept = eden.corrupt(x, eden.Uniform(1e-3))\n"
        "atexit.register(lambda: print(eden.corrupt(x, eden.Uniform(1e-3)).equal(builtins.kept)))\n"
    )
    # An interpreter of its own: a forked one ends without what was registered for its end.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@keeps_memory
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_reads_too():
    code = (
        "import os, torch, eden\n"
        "torch.set_num_threads(1)\n"
        "x = torch.ones(1 << 22, dtype=torch.int8); errors = eden.Uniform(1e-3)\n"
        "kept = eden.corrupt(x, errors); eden.corrupt(x, errors)\n"
        "child = os.fork()\n"
        "mine = [eden.corrupt(x, errors) for _ in range(3)]\n"
        "good = all(one.equal(kept) for one in mine)\n"
        "if child == 0: os._exit(0 if good else 1)\n"
        "print(good, os.waitpid(child, 0)[1])"
    )
    assert run_python(code) == "True 0"


@keeps_memory
def test_tensors_saved_for_backward_keep_their_memory():
    x = random(POOLED).requires_grad_()
    y = eden.corrupt(x, eden.Uniform(0.0)).exp()  # saves its result, not what it was computed from
    z = eden.corrupt(x, eden.Uniform(0.0)) * torch.ones((), requires_grad=True)  # saves what was read
    for _ in range(3):
        eden.corrupt(torch.zeros(POOLED), ERRORS)
    (y.sum() + z.sum()).backward()
    assert torch.allclose(x.grad, x.detach().exp() + 1)


# -- layouts -----------------------------------------------------------------------------------------------------------


def layouts() -> dict[str, torch.Tensor]:
    return {
        "contiguous": random(2, 3, 4, 5),
        "channels_last": random(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "channels_last_large": random(2, 16, 64, 64).to(memory_format=torch.channels_last),
        "transposed": random(40, 30).t(),
        "permuted_large": random(64, 32, 48).permute(2, 0, 1),
        "strided": random(40, 30)[::2, ::3],
        "expanded": random(1, 30).expand(40, 30),
        "offset": random(1000)[7:],
        "scalar": torch.tensor(1.5),
        "empty": torch.empty(0, 3, 2).permute(2, 0, 1),
        "ones": random(4, 1, 5, 1).permute(3, 1, 0, 2),
    }


@pytest.mark.parametrize("name", list(layouts()))
@pytest.mark.parametrize("batch_dim", [-1, 0])
def test_values_by_logical_order_strides_as_empty_like(name, batch_dim):
    x = layouts()[name]
    arguments = schema_arguments(batch_dim=batch_dim)
    expected = torch.ops.eden.corrupt(x.contiguous(), *arguments)
    read = torch.ops.eden.corrupt(x, *arguments)
    assert same(read, expected)
    assert read.stride() == torch.empty_like(x).stride()
    out = torch.full_like(x, 7.0)
    torch.ops.eden.corrupt_out(x, *arguments, out=out)
    assert same(out, expected)
    gaps = torch.zeros(*x.shape, 2)
    torch.ops.eden.corrupt_out(x, *arguments, out=gaps[..., 0])
    assert same(gaps[..., 0], expected)
    assert not gaps[..., 1].any()
    if name != "expanded":
        within = x.clone(memory_format=torch.preserve_format)
        torch.ops.eden.corrupt_(within, *arguments)
        assert same(within, expected)


@pytest.mark.parametrize("name", list(layouts()))
def test_fake_and_meta_tensors_have_the_real_strides(name):
    x = layouts()[name]
    real = torch.ops.eden.corrupt(x, *schema_arguments())
    with FakeTensorMode() as mode:
        arguments = [mode.from_tensor(a) if isinstance(a, torch.Tensor) else a for a in schema_arguments()]
        for fake in (
            torch.ops.eden.corrupt(mode.from_tensor(x), *arguments),
            eden.corrupt(mode.from_tensor(x), ERRORS),
        ):
            assert fake.shape == real.shape
            if x.numel() > 0:  # torch.empty_like's own strides differ there
                assert fake.stride() == real.stride()
            assert fake.dtype == real.dtype
    meta = eden.corrupt(x.to("meta"), ERRORS)
    assert meta.shape == real.shape
    assert eden.corrupt_(x.to("meta").clone(), ERRORS).is_meta
    out = torch.empty(x.shape, device="meta")
    assert eden.corrupt(x.to("meta"), ERRORS, out=out) is out
    # What was made for fake tensors must not be kept for real ones.
    assert same(eden.corrupt(x, ERRORS), eden.corrupt(x.contiguous(), ERRORS))


@pytest.mark.parametrize("name", ["channels_last", "strided", "scalar", "empty"])
def test_opcheck_of_layouts(name):
    arguments = (layouts()[name], *schema_arguments(eden.Uniform(0.0)))
    torch.library.opcheck(torch.ops.eden.corrupt.default, arguments)
    if name != "expanded":
        torch.library.opcheck(torch.ops.eden.corrupt_.default, arguments)
    out = torch.empty_like(arguments[0])
    torch.library.opcheck(torch.ops.eden.corrupt_out.default, arguments, {"out": out})


def test_opcheck_of_the_access_number():
    torch.library.opcheck(torch.ops.eden.advance_.default, (torch.tensor(3),))
    for start in (0, -1, 2**63 - 1):
        number = torch.tensor([start, 7])
        expected = number + 1
        advance_(number)
        assert torch.equal(number, expected)
    with pytest.raises(RuntimeError, match="access must be an int64"):
        advance_(torch.ones(()))


def test_a_negated_view_is_read_by_its_values():
    pairs = torch.view_as_complex(random(500, 2)).conj()
    x = pairs.imag
    assert x.is_neg()
    values = x.clone()
    assert not values.is_neg()
    expected = eden.corrupt(values, ERRORS)
    assert same(eden.corrupt(x, ERRORS), expected)
    out = torch.view_as_complex(torch.zeros(500, 2)).conj().imag
    eden.corrupt(values, ERRORS, out=out)
    assert same(out.resolve_neg(), expected)
    assert eden.corrupt_(x, ERRORS) is x
    assert same(x.resolve_neg(), expected)


def test_elements_that_share_memory_cannot_be_written():
    x = torch.ones(1, 5).expand(4, 5)
    with pytest.raises(ValueError, match="x has elements that share memory"):
        eden.corrupt_(x, ERRORS)
    with pytest.raises(ValueError, match="out has elements that share memory"):
        eden.corrupt(torch.ones(4, 5), ERRORS, out=x)
    assert x.eq(1).all()


def test_a_buffer_of_a_module_in_place():
    module = nn.BatchNorm1d(50)
    buffer, expected = module.running_var, eden.corrupt(module.running_var, ERRORS)
    assert not same(expected, buffer)
    assert eden.corrupt_(buffer, ERRORS) is module.running_var
    assert same(module.running_var, expected)


# -- transforms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_dim", [0, 1, 2])
@pytest.mark.parametrize("batch_dim", [-1, 0, 1])
def test_vmap_equals_a_loop(in_dim, batch_dim):
    x, arguments = random(3, 4, 5), schema_arguments(SOMETIMES, batch_dim)

    def one(example: torch.Tensor) -> torch.Tensor:
        return torch.ops.eden.corrupt(example, *arguments)

    expected = torch.stack([one(example) for example in x.unbind(in_dim)])
    assert same(torch.vmap(one, in_dims=in_dim)(x), expected)
    assert same(torch.vmap(lambda example: reading.read(example, *arguments), in_dims=in_dim)(x), expected)
    if batch_dim == -1:
        assert same(
            torch.vmap(lambda example: eden.corrupt(example, SOMETIMES, 3, access=5), in_dims=in_dim)(x), expected
        )
        assert same(torch.vmap(torch.vmap(one))(x), torch.stack([torch.stack([one(e) for e in row]) for row in x]))
        assert same(torch.vmap(one)(x[0, 0]), torch.stack([one(e) for e in x[0, 0]]))


def test_vmap_reads_examples_of_memories_of_their_own():
    x = random(3, 8)
    for name in ("region", "chip", "access"):
        arguments = schema_arguments()
        at = [argument.name for argument in torch.ops.eden.corrupt.default._schema.arguments].index(name) - 1
        batched = torch.stack([arguments[at]] * 3)

        def read(example: torch.Tensor, value: torch.Tensor, arguments: list[Any] = arguments, at: int = at) -> Any:
            return torch.ops.eden.corrupt(example, *arguments[:at], value, *arguments[at + 1 :])

        assert same(torch.vmap(read)(x, batched), torch.stack([read(*each) for each in zip(x, batched, strict=True)]))
        assert same(torch.vmap(read, (None, 0))(x[0], batched), torch.stack([read(x[0], each) for each in batched]))
    chips = torch.arange(3)
    expected = torch.stack([eden.corrupt(each, ERRORS, int(chip)) for each, chip in zip(x, chips, strict=True)])
    assert same(torch.vmap(lambda example, seed: eden.corrupt(example, ERRORS, seed))(x, chips), expected)
    numbers = torch.arange(3)
    torch.vmap(lambda number: (torch.ops.eden.advance_(number), number)[1])(numbers)
    assert numbers.tolist() == [1, 2, 3]


def test_vmap_refuses_what_writes():
    x = random(3, 8)
    with pytest.raises(RuntimeError, match=r"cannot be used under torch\.vmap"):
        torch.vmap(lambda example: eden.corrupt_(example, ERRORS))(x)
    with pytest.raises(RuntimeError, match=r"cannot be used under torch\.vmap"):
        torch.vmap(lambda example: eden.corrupt(example, ERRORS, out=torch.empty_like(example)))(x)
    with pytest.raises(RuntimeError, match=r"cannot be used under torch\.vmap"):
        torch.vmap(lambda example: torch.ops.eden.corrupt_(example, *schema_arguments()))(x)
    assert same(x, random(3, 8))


def quantized(scale: float = 0.01) -> list[Any]:
    return schema_arguments(eden.Uniform(1e-3), storage=STORAGES["int8"], scale=torch.tensor(scale))


def test_functional_gradients_equal_those_of_backward():
    for arguments in (schema_arguments(eden.Uniform(1e-3)), quantized()):
        x, weight = random(4, 30), torch.arange(30.0)

        def loss(x: torch.Tensor, weight: torch.Tensor = weight, arguments: list[Any] = arguments) -> torch.Tensor:
            return (reading.read(x, *arguments) * weight).nansum()

        leaf = x.clone().requires_grad_()
        loss(leaf).backward()
        assert torch.equal(torch.func.grad(loss)(x), leaf.grad)
        assert torch.equal(torch.vmap(torch.func.grad(loss))(x)[0], torch.func.grad(loss)(x[0]))
        assert torch.equal(torch.func.grad(lambda x: torch.vmap(loss)(x).sum())(x), leaf.grad)
        tangent = random(4, 30)
        values, forward = torch.func.jvp(lambda x: reading.read(x, *arguments), (x,), (tangent,))  # noqa: B023
        assert same(values, reading.read(x, *arguments))
        assert torch.equal((forward * weight).sum(), (leaf.grad * tangent).sum())
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(x, tangent)
            assert torch.equal(torch.autograd.forward_ad.unpack_dual(reading.read(dual, *arguments)).tangent, forward)
    x = random(20)
    assert torch.equal(torch.func.grad(lambda x: eden.corrupt(x, eden.Uniform(0.0)).square().sum())(x), 2 * x)
    assert torch.equal(torch.func.jacrev(lambda x: eden.corrupt(x, eden.Uniform(0.0)))(x), torch.eye(20))
    second = torch.func.hessian(lambda x: eden.corrupt(x, eden.Uniform(0.0)).square().sum())(x)
    assert torch.equal(second, 2 * torch.eye(20))


def network(**options: Any) -> nn.Sequential:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 5))
    eden.inject_(model, eden.Faults(SOMETIMES, SOMETIMES, **{"storage": "int8", "correction": "zero", **options}))
    eden.calibrate_(model, [random(8, 6)])
    return model.eval()


def test_functional_call_reads_the_parameters_that_it_is_given():
    model, x = network(), random(8, 6)
    doubled = {name: 2 * value for name, value in model.named_parameters()}
    other = copy.deepcopy(model)
    with torch.no_grad():
        for value in other.parameters():
            value.mul_(2)
    assert same(torch.func.functional_call(model, doubled, (x,)), other(x))
    assert int(model[0].eden_access) == 1
    model.train(), other.train()

    def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.func.functional_call(model, parameters, (x,)).square().sum()

    gradients = torch.func.grad(loss)(doubled)
    other(x).square().sum().backward()
    for name, value in other.named_parameters():
        assert torch.equal(gradients[name], value.grad), name


# -- compilers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_a_compiled_function_reads_the_same_bits(backend):
    if backend == "inductor":
        kernels.needs_inductor()
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend(backend)

    def read(x: torch.Tensor, errors: ErrorModel, seed: torch.Tensor, access: torch.Tensor) -> torch.Tensor:
        return eden.corrupt(x * 2, errors, seed=seed, access=access, address=64).nan_to_num() * 3

    compiled = torch.compile(read, fullgraph=True, backend=counter)
    x, seen = random(900), []
    for access in range(5):
        for seed in (0, -7):
            arguments = (x, SOMETIMES, torch.tensor(seed), torch.tensor(access))
            seen.append(compiled(*arguments))
            assert same(seen[-1], read(*arguments))
    assert counter.frame_count == 1
    assert len({tuple(y.view(torch.int32).tolist()) for y in seen}) == 10
    for ber in (1e-3, 0.1):
        arguments = (x, eden.Uniform(ber), torch.tensor(1), torch.tensor(1))
        assert same(compiled(*arguments), read(*arguments))
    assert counter.frame_count == 3
    for n in (901, 902, 903):  # the first other size makes sizes dynamic
        arguments = (random(n), SOMETIMES, torch.tensor(1), torch.tensor(1))
        assert same(compiled(*arguments), read(*arguments))
    assert counter.frame_count == 4


def test_error_models_that_are_gone_leave_no_graph_behind():
    torch._dynamo.reset()
    compiled = torch.compile(lambda x, errors: eden.corrupt(x, errors), fullgraph=True, backend="aot_eager")
    x = random(900)
    for number in range(1, 7):
        errors = eden.Uniform(0.01 * number)  # may lie where the one before lay
        assert same(compiled(x, errors), eden.corrupt(x, errors))
        del errors
        gc.collect()


def test_compiled_writes_in_place_and_gradients():
    torch._dynamo.reset()
    x = random(300)

    def write(x: torch.Tensor, access: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = x * 2
        eden.corrupt_(y, SOMETIMES, access=access)
        return y, eden.corrupt(x, SOMETIMES, access=access, out=torch.empty_like(x))

    compiled = torch.compile(write, fullgraph=True, backend="aot_eager")
    for access in (torch.tensor(0), torch.tensor(1)):
        for found, expected in zip(compiled(x, access), write(x, access), strict=True):
            assert same(found, expected)
    compiled = torch.compile(lambda x: eden.corrupt(x, ERRORS).mul(3).sum(), fullgraph=True, backend="aot_eager")
    leaf = x.clone().requires_grad_()
    compiled(leaf).backward()
    assert torch.equal(leaf.grad, torch.full((300,), 3.0))


def images(n: int = 4) -> torch.Tensor:
    return random(n, 1, 8, 8)


def resnet() -> nn.Module:
    torch.manual_seed(0)
    model = ResNet(blocks=1, channels=4, image_channels=1).eval()
    eden.inject_(model, eden.Faults(SOMETIMES, SOMETIMES, storage="int8", correction="zero"))
    eden.calibrate_(model, [images()])
    return model


@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_network_reads_on_from_access_to_access(strict):
    model, x = resnet(), images()
    program = torch.export.export(
        copy.deepcopy(model), (x,), dynamic_shapes={"x": {0: torch.export.Dim("n", min=1, max=64)}}, strict=strict
    )
    written = set(program.run_decompositions().graph_signature.buffers_to_mutate.values())
    assert written == {name for name, _ in model.named_buffers() if name.endswith(".eden_access")}
    exported = program.module()
    outputs = []
    for n in (4, 4, 2, 1):
        outputs.append(model(x[:n]))
        assert same(exported(x[:n]), outputs[-1])
    assert not same(outputs[0], outputs[1])


def test_an_exported_program_survives_its_file(tmp_path: Path):
    model, x = resnet(), images()
    torch.export.save(torch.export.export(copy.deepcopy(model), (x,)), tmp_path / "network.pt2")
    loaded = torch.export.load(tmp_path / "network.pt2").module()
    for _ in range(2):
        assert same(loaded(x), model(x))


class Memory(nn.Module):
    """A memory whose cells fail as an input tensor says."""

    def forward(self, x: torch.Tensor, region: torch.Tensor, chip: torch.Tensor, access: torch.Tensor) -> torch.Tensor:
        arguments = schema_arguments(batch_dim=0)
        names = [argument.name for argument in torch.ops.eden.corrupt.default._schema.arguments[1:]]
        for name, value in (("region", region), ("chip", chip), ("access", access)):
            arguments[names.index(name)] = value
        return reading.read(x * 2, *arguments).nan_to_num()


def memory_inputs(errors: ErrorModel, access: int) -> tuple[torch.Tensor, ...]:
    return random(3, 40), torch.tensor(one_region(errors, 0)), torch.tensor(9), torch.tensor(access)


def test_an_exported_function_takes_its_rates_as_an_input():
    exported = torch.export.export(Memory(), memory_inputs(ERRORS, 0)).module()
    for errors, access in ((ERRORS, 0), (SOMETIMES, 0), (SOMETIMES, 1), (eden.Uniform(0.3), 2)):
        inputs = memory_inputs(errors, access)
        assert same(exported(*inputs), Memory()(*inputs))
    by_model = torch.export.export(Reader(), (random(50),)).module()
    assert same(by_model(random(50)), eden.corrupt(random(50), ERRORS, seed=4))


class Reader(nn.Module):
    """A function of ``eden.corrupt``, with its error model as a constant."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return eden.corrupt(x, ERRORS, seed=4)


needs_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler")


@needs_compiler
def test_a_package_of_a_network_reads_on_from_access_to_access(tmp_path: Path):
    model, x = network(), random(8, 6)
    with torch.no_grad():
        program = torch.export.export(
            copy.deepcopy(model), (x,), dynamic_shapes=({0: torch.export.Dim("n", min=2, max=64)},)
        )
        path = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "network.pt2"))
        package = torch._inductor.aoti_load_package(path)
        outputs = []
        for n in (8, 8, 3, 2, 8):
            outputs.append(model(x[:n]))
            assert same(package(x[:n]), outputs[-1])
    assert not same(outputs[0], outputs[1])


@needs_compiler
def test_a_package_of_a_function_takes_its_rates_as_an_input(tmp_path: Path):
    program = torch.export.export(Memory(), memory_inputs(ERRORS, 0))
    path = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "memory.pt2"))
    package = torch._inductor.aoti_load_package(path)
    for errors, access in ((ERRORS, 0), (SOMETIMES, 0), (SOMETIMES, 1), (eden.Uniform(0.3), 2), (eden.Uniform(0.0), 0)):
        inputs = memory_inputs(errors, access)
        assert same(package(*inputs), Memory()(*inputs))


@needs_compiler
@pytest.mark.slow
def test_a_package_runs_in_a_program_without_python(tmp_path: Path):
    inputs = memory_inputs(SOMETIMES, 1)
    program = torch.export.export(Memory(), inputs)
    package = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "memory.pt2"))
    root = Path(torch.__file__).parent
    source = Path(__file__).parents[1] / "csrc" / "run_package.cpp"
    subprocess.run(
        [
            *("c++", "-std=c++20", "-O0", str(source), "-o", str(tmp_path / "run_package")),
            *(f"-I{root}/include", f"-I{root}/include/torch/csrc/api/include", f"-L{root}/lib"),
            *("-ltorch", "-ltorch_cpu", "-lc10", "-ldl", f"-Wl,-rpath,{root}/lib"),
            f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
        ],
        check=True,
    )
    for errors, access in ((SOMETIMES, 1), (SOMETIMES, 2), (eden.Uniform(0.3), 0)):
        inputs = memory_inputs(errors, access)
        lines = [" ".join(str(v) for v in tensor.flatten().tolist()) for tensor in inputs[1:]]
        bits = " ".join(str(v) for v in inputs[0].view(torch.int32).flatten().tolist())
        done = subprocess.run(
            [str(tmp_path / "run_package"), str(_library.OPS), package, *map(str, inputs[0].shape)],
            input="\n".join([bits, *lines]),
            capture_output=True,
            text=True,
            check=True,
        )
        found = torch.tensor([int(word) for word in done.stdout.split()], dtype=torch.int32)
        assert torch.equal(found.view(3, 40), Memory()(*inputs).view(torch.int32))


# -- precision and modes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_autocast_reads_the_same_cells(storage):
    model, x = network(storage=storage), random(8, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        kernels.plain("product in bfloat16", lambda: nn.Linear(6, 6)(x).sum().backward())
    plain = model(x)
    eden.set_chip_(model, 0)
    for layer in (model[0], model[2]):
        layer.eden_access.zero_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(x)
    assert mixed.dtype == torch.bfloat16
    assert [int(layer.eden_access) for layer in (model[0], model[2])] == [1, 1]
    # bfloat16 keeps 8 bits of a product; the flips are those of the storage, so nothing else differs.
    scale = plain.abs().max()
    assert (mixed.float() - plain).abs().max() < 0.05 * scale
    eden.set_chip_(model, 1)
    assert (model(x) - plain).abs().max() > 0.05 * scale
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(x).float().square().sum().backward()
    assert all(value.grad.dtype == torch.float32 and value.grad.isfinite().all() for value in model.parameters())
    # What a function reads itself keeps its dtype: autocast chooses formats for arithmetic, and this is none.
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert same(eden.corrupt(x, ERRORS), eden.corrupt(x, ERRORS))
        assert eden.corrupt(x, ERRORS).dtype == torch.float32


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_gradients_read_the_same_bits(mode: Callable[[], Any]):
    model, x = network(), random(8, 6)
    other = copy.deepcopy(model)
    expected = [model(x) for _ in range(2)]
    with mode():
        assert all(same(other(x), one) for one in expected)
        read = eden.corrupt(x, ERRORS, seed=12345)
    assert not read.requires_grad
    # What was first made in inference mode serves outside of it, too.
    leaf = x.clone().requires_grad_()
    again = eden.corrupt(leaf, ERRORS, seed=12345)
    assert same(again, read)
    again.sum().backward()
    assert torch.equal(leaf.grad, torch.ones_like(x))


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_repeats_the_reads(reentrant):
    model, x = network().train(), random(8, 6).requires_grad_()
    other = copy.deepcopy(model)
    for _ in range(2):
        expected = model(x)
        expected.square().sum().backward()
        found = checkpoint(other, x, use_reentrant=reentrant)
        assert same(found, expected)
        found.square().sum().backward()
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one.grad, two.grad)
    assert int(other[0].eden_training_access) == 2


def test_a_copy_reads_on_by_itself():
    model, x = network(), random(8, 6)
    model(x)
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    expected = [model(x), model(x)]
    assert not same(*expected)
    for twin in twins:
        assert int(twin[0].eden_access) == 1
        assert all(same(twin(x), one) for one in expected)
    assert int(model[0].eden_access) == 3


# -- processes ---------------------------------------------------------------------------------------------------------


def train_on_a_rank(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f"{folder}/store", world)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=world)
    model = network(storage="float32").train()
    parallel = nn.parallel.DistributedDataParallel(model)
    seen = []
    for step in range(3):
        x = random(8, 6)[rank::world]
        eden.faults.chips.set_training_chip_(model, 100 + step)
        seen.append(reading.read(random(8, 6), *schema_arguments(SOMETIMES, access=model[0].eden_training_access)))
        parallel(x).square().mean().backward()
    result = {
        "gradients": [value.grad for value in model.parameters()],
        "seen": seen,
        "accesses": [int(layer.eden_training_access) for layer in (model[0], model[2])],
        "chip": int(model[0].eden_training_chip),
    }
    torch.save(result, f"{folder}/{rank}.pt")
    # Were the reducer the last to hold the group, it would join gloo's thread, which may be waiting for Python's lock.
    del parallel
    gc.collect()
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed")
def test_two_ranks_read_the_same_chips(tmp_path: Path):
    torch.multiprocessing.start_processes(train_on_a_rank, args=(2, str(tmp_path)), nprocs=2, start_method="forkserver")
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert first["accesses"] == second["accesses"] == [3, 3]
    assert first["chip"] == second["chip"] == 102
    model = network(storage="float32").train()
    for step in range(3):
        eden.faults.chips.set_training_chip_(model, 100 + step)
        alone = reading.read(random(8, 6), *schema_arguments(SOMETIMES, access=model[0].eden_training_access))
        assert same(first["seen"][step], alone)
        assert same(second["seen"][step], alone)
        model(random(8, 6)).square().mean().backward()
    for one, two, value in zip(first["gradients"], second["gradients"], model.parameters(), strict=True):
        assert torch.equal(one, two)
        # Half of the samples on each rank: the same terms, summed in another order.
        assert torch.allclose(one, value.grad, rtol=1e-4, atol=1e-6)
