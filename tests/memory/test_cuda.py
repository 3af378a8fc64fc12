"""Does a GPU give the same bits as the CPU, for whatever a user relies on? `make test-gpu` runs this on one.

Each test asks for many cases and names all that differ. The CPU's own bits are judged by tests/memory/test_fuzz.py and
tests/memory/test_exactness.py.
"""

import copy
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from accepted import DTYPES, MODELS, QUANTIZED
from one_region import one_region
from operator_grid import operator_arguments
from test_torch import layouts
from torch import Tensor, nn

import eden
from eden.faults.counting import counting
from eden.faults.faulty_layers import FaultyLayer
from eden.memory import reading
from eden.memory.errors import ErrorModel
from eden.memory.gradient import clipped_gradient, plausible_gradient
from eden.memory.reading import advance_, check_reads
from eden.memory.storage import CODE_BITS, CODED, SYMMETRIC, measure_range

DEVICE = "cuda"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

OWN = {**DTYPES, "int32": torch.int32}
FLOATS = (torch.float32, torch.float16, torch.bfloat16)
RATES = (1e-6, 1e-3, 0.03, 0.3)
SMALL = eden.Geometry(row_bits=256, subarray_rows=64, bank_rows=4096)
FAR = (3 << 40) + 96  # an address that begins no group of cells
MOST_BITS = 1 << 26  # of an operand in these memories


def one_model() -> dict[str, ErrorModel]:
    """Every error model, at rates that need sparse marks alone, many of them, and the dense part."""
    found: dict[str, ErrorModel] = {f"{name} {rate:g}": model(rate) for name, model in MODELS.items() for rate in RATES}
    for name, rate, failure in itertools.product(("Uniform", "DataDependent"), (1e-3, 0.2), (0.4, 0.7)):
        model = MODELS[name](rate)
        found[f"{name} {rate:g}, failing {failure}"] = (
            eden.Uniform(rate, failure)
            if name == "Uniform"
            else eden.DataDependent(model.ber_zero * failure, model.ber_one * failure, failure)
        )
    for kind in (eden.Bitline, eden.Wordline):
        found[f"{kind.KIND}, small, failing"] = kind(0.05, 0.2, 0.6, SMALL)
        found[f"{kind.KIND}, measured"] = kind.measured([0.0, 1e-4, 0.02, 0.5, 1.0, 0.3, 0.01], geometry=SMALL)
        found[f"{kind.KIND}, measured, failing"] = kind.measured([0.0, 0.1, 0.3, 1e-3], 0.5)
    found["nothing"] = eden.Uniform(0.0)
    found["everything"] = eden.Uniform(1.0)
    return found


@functools.cache
def memories() -> dict[str, tuple[Any, int]]:
    """What an operand can lie in: errors, or pieces of memory, and an address."""
    found: dict[str, tuple[Any, int]] = {}
    for i, (name, errors) in enumerate(one_model().items()):
        found[name] = errors, (0, FAR)[i % 2]
    cells = torch.randperm(40_000, generator=torch.Generator().manual_seed(3))[:5000].numpy()
    for failure in (1.0, 0.5):
        chip = eden.CellMap(cells, cells % 3 != 0, cells % 3 != 1, MOST_BITS + 64, failure)
        found[f"map, failing {failure}"] = chip, 64
        found[f"pieces, failing {failure}"] = (
            [
                (eden.Bitline(0.05, 0.2, failure, SMALL), 4096, 32 * 77),
                (chip, 640, 32 * 200),
                (None, 0, 32 * 3),
                (eden.DataDependent(0.01 * failure, 0.2 * failure, failure), FAR, 32),
                (eden.Wordline.measured([0.0, 0.3, 0.01], failure), 32 * 5, 32 * 500),
                (eden.Uniform(0.02 * failure, failure), FAR, MOST_BITS),
            ],
            0,
        )
    return found


SHAPES = [(), (0, 4), (1,), (7,), (1000,), (5, 3, 17, 19), (300_007,)]


def values(dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """All words that a type has: for floats also NaNs, infinities and subnormal numbers."""
    generator = torch.Generator().manual_seed(len(shape))
    numel = torch.Size(shape).numel()
    return (
        torch.randint(0, 256, (numel * dtype.itemsize,), generator=generator, dtype=torch.uint8).view(dtype).view(shape)
    )


def reals(dtype: torch.dtype, *shape: int) -> Tensor:
    """Values of a plausible size, some of them special."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    special = torch.tensor([0.0, -0.0, torch.nan, torch.inf, -torch.inf, 1e-40, 65504.0, 1e38, -1e38])
    flat = x.view(-1)
    count = min(len(special), flat.numel())
    flat[torch.arange(count) * 31 % flat.numel()] = special[:count]
    return x.to(dtype)


def words(x: Tensor) -> Tensor:
    return x.detach().resolve_neg().cpu().contiguous().reshape(-1).view(torch.uint8)


def same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(words(a), words(b))


def near(a: Tensor, b: Tensor, share: float) -> bool:
    """Whether they differ by less than this share of the largest magnitude."""
    return bool((a - b).abs().max() < share * b.abs().max())


def on_device(value: Any) -> Any:
    return value.to(DEVICE) if isinstance(value, Tensor) else value


class Differences:
    """Collects the cases whose bits differ."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.cases = 0

    def check(self, case: str, found: Tensor, expected: Tensor) -> None:
        self.cases += 1
        if not same(found, expected):
            self.found.append(case)

    def verdict(self) -> None:
        assert self.cases > 0
        assert not self.found, f"{len(self.found)} of {self.cases} differ: {'; '.join(self.found[:20])}"


@pytest.fixture
def differences() -> Iterator[Differences]:
    collected = Differences()
    yield collected
    collected.verdict()


# -- bits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", OWN)
def test_own_words_in_every_memory(storage: str, differences: Differences) -> None:
    for shape in SHAPES:
        x = values(OWN[storage], shape)
        for i, (name, (errors, address)) in enumerate(memories().items()):
            given = {"seed": 5 - i, "address": address, "access": 3 * i + (i % 2 << 33)}
            expected = eden.corrupt(x, errors, **given)
            case = f"{shape}, {name}"
            differences.check(case, eden.corrupt(x.to(DEVICE), errors, **given), expected)
            within = x.to(DEVICE, copy=True)
            eden.corrupt_(within, errors, **given)
            differences.check(f"{case}, in place", within, expected)
            out = torch.zeros_like(within)
            eden.corrupt(x.to(DEVICE), errors, out=out, **given)
            differences.check(f"{case}, out", out, expected)


@pytest.mark.parametrize("storage", [*QUANTIZED, *(name for name in DTYPES if name not in QUANTIZED), *CODED])
def test_converted_values_in_every_memory(storage: str, differences: Differences) -> None:
    scaled = storage == "sign" or storage in CODE_BITS
    affine = scaled and storage not in ("sign", *SYMMETRIC)
    for dtype, (name, (errors, address)) in itertools.product(FLOATS, memories().items()):
        x = reals(dtype, 6, 5, 401)
        ways = (("none", None), ("zero", 0), ("clamp", 1), ("clamp", None))
        for channels, (correction, batch_dim) in itertools.product((False, True), ways):
            if channels and not scaled:
                continue
            scale = torch.linspace(0.02, 0.5, 401) if channels else torch.tensor([0.1])
            if channels:
                scale[:3] = torch.tensor([0.0, torch.nan, torch.inf])
            point = (torch.arange(len(scale)) % 11 - 2).to(torch.int32)
            options: dict[str, Any] = {"storage": storage, "correction": correction, "batch_dim": batch_dim}
            if correction != "none":
                options["bounds"] = torch.tensor([-1.3, 2.0])
            if scaled:
                options |= {"scale": scale, "channel_dim": 2 if channels else None}
            for with_point in (False, True) if affine else (False,):
                if with_point:
                    options["zero_point"] = point
                given = {"seed": -9, "access": 2, "address": address, **options}
                moved = {key: on_device(value) for key, value in given.items()}
                case = f"{dtype}, {name}, {channels=}, {correction}, {batch_dim=}, {with_point=}"
                differences.check(case, eden.corrupt(x.to(DEVICE), errors, **moved), eden.corrupt(x, errors, **given))


def test_channels_of_every_dimension(differences: Differences) -> None:
    x = reals(torch.float32, 6, 5, 44, 3)
    for dim, batch_dim, storage in itertools.product(
        range(4), (-1, 0, 1, 3), (*QUANTIZED, "int6_sign_magnitude_hamming", "int8_sign_tripled", "int8_secded")
    ):
        if dim == batch_dim:
            continue
        scale = torch.linspace(0.01, 0.4, x.shape[dim])
        given = operator_arguments(
            x, eden.Uniform(0.02, 0.7), 3, 64, storage=storage, scale=scale, channel_dim=dim, batch_dim=batch_dim
        )
        moved = {name: on_device(value) for name, value in given.items()}
        case = f"{storage}, channel_dim {dim}, batch_dim {batch_dim}"
        differences.check(case, torch.ops.eden.corrupt(**moved), torch.ops.eden.corrupt(**given))


@pytest.mark.parametrize("storage", OWN)
def test_every_alignment(storage: str, differences: Differences) -> None:
    dtype = OWN[storage]
    x = values(dtype, (5000,))
    moved = x.to(DEVICE)
    errors = eden.Uniform(0.02)
    for skip, length, other in itertools.product(range(17), (1, 15, 16, 17, 4000), (0, 1)):
        at = {"address": 32 * skip}
        expected = eden.corrupt(x[skip:][:length], errors, **at)
        case = f"{length} elements from {skip}"
        differences.check(case, eden.corrupt(moved[skip:][:length], errors, **at), expected)
        room = torch.zeros(5000, dtype=dtype, device=DEVICE)
        out = room[(skip + other) % 17 :][:length]
        eden.corrupt(moved[skip:][:length], errors, out=out, **at)
        differences.check(f"{case}, out", out, expected)
        assert int(words(room).count_nonzero()) == int(words(expected).count_nonzero())
        within = moved.clone()
        eden.corrupt_(within[skip:][:length], errors, **at)
        differences.check(f"{case}, in place", within[skip:][:length], expected)
        differences.check(f"{case}, before", within[:skip], x[:skip])
        differences.check(f"{case}, behind", within[skip + length :], x[skip + length :])


def test_every_layout(differences: Differences) -> None:
    errors = eden.DataDependent(0.01, 0.2, 0.6)
    for (name, laid), dtype in itertools.product(layouts().items(), (torch.float32, torch.float16, torch.int8)):
        x = laid.to(dtype)
        if name == "expanded":
            x = laid[:1].to(dtype).expand(laid.shape)
            moved = laid[:1].to(DEVICE, dtype).expand(laid.shape)
        else:
            moved = torch.empty_strided(x.size(), x.stride(), dtype=dtype, device=DEVICE).copy_(x)
        assert moved.stride() == x.stride()
        for batch_dim in (None, 0) if x.dim() else (None,):
            given: dict[str, Any] = {"batch_dim": batch_dim, "access": 4}
            expected = eden.corrupt(x.contiguous(), errors, **given)
            read = eden.corrupt(moved, errors, **given)
            case = f"{name}, {dtype}, batch_dim {batch_dim}"
            differences.check(case, read, expected)
            assert read.stride() == torch.empty_like(moved).stride(), case
            gaps = torch.zeros(*x.shape, 2, dtype=dtype, device=DEVICE)
            eden.corrupt(moved, errors, out=gaps[..., 0], **given)
            differences.check(f"{case}, out with gaps", gaps[..., 0], expected)
            assert not gaps[..., 1].any(), case
            if name != "expanded":
                within = torch.empty_strided(x.size(), x.stride(), dtype=dtype, device=DEVICE).copy_(x)
                eden.corrupt_(within, errors, **given)
                differences.check(f"{case}, in place", within, expected)


def test_a_negated_view() -> None:
    pairs = torch.view_as_complex(torch.randn(500, 2, generator=torch.Generator().manual_seed(1)))
    negated = pairs.to(DEVICE).conj().imag
    assert negated.is_neg()
    expected = eden.corrupt(pairs.conj().imag.resolve_neg(), eden.Uniform(0.1))
    assert same(eden.corrupt(negated, eden.Uniform(0.1)), expected)
    eden.corrupt_(negated, eden.Uniform(0.1))
    assert same(negated, expected)


def test_leaves_are_read_in_place() -> None:
    errors = eden.Uniform(0.05)
    module = nn.BatchNorm1d(50).to(DEVICE)
    buffer = module.running_var
    expected = eden.corrupt(buffer.cpu(), errors)
    assert eden.corrupt_(buffer, errors) is module.running_var
    assert same(module.running_var, expected)
    parameter = nn.Parameter(reals(torch.float32, 1000).to(DEVICE))
    expected = eden.corrupt(parameter.detach().cpu(), errors)
    with torch.no_grad():
        eden.corrupt_(parameter, errors)
    assert same(parameter, expected)


def test_batches_share_cells_or_lie_one_behind_another(differences: Differences) -> None:
    # More samples than blocks in the grid, and fewer.
    for shape in ((3000, 40), (2, 70_000), (129, 3, 8, 8)):
        x = values(torch.int8, shape)
        for (name, (errors, address)), batch_dim in itertools.product(memories().items(), (None, 0, 1)):
            given: dict[str, Any] = {"address": address, "batch_dim": batch_dim, "access": 9}
            expected = eden.corrupt(x, errors, **given)
            differences.check(f"{shape}, {name}, {batch_dim=}", eden.corrupt(x.to(DEVICE), errors, **given), expected)


@pytest.mark.parametrize("errors", [eden.Uniform(1e-5), eden.Bitline(1e-4, 0.1)], ids=["Uniform", "Bitline"])
def test_more_elements_than_32_bits_count(errors: ErrorModel, differences: Differences) -> None:
    elements = (1 << 31) + 123_457
    if torch.cuda.mem_get_info()[0] < 2 * elements:
        pytest.skip(f"needs {2 * elements} bytes of the device's memory")
    x = torch.zeros(elements, dtype=torch.int8, device=DEVICE)
    eden.corrupt_(x, errors, address=640)
    for first in (0, (1 << 28) - 500, (1 << 31) - 70_000, elements - 100_000):
        piece = x[first : first + 100_000]
        expected = eden.corrupt(torch.zeros(len(piece), dtype=torch.int8), errors, address=640 + 8 * first)
        differences.check(f"from element {first}", piece, expected)
    assert x[1 << 31 :].any()
    expected = x[-200_000:].cpu()
    x.zero_()
    # As many in one batch, from the same cells for each of its samples.
    batch = x[: 1 << 31].view(1 << 12, 1 << 19)
    eden.corrupt_(batch, errors, address=640, batch_dim=0)
    sample = eden.corrupt(torch.zeros(1 << 19, dtype=torch.int8), errors, address=640)
    for which in (0, 2047, 4095):
        differences.check(f"sample {which}", batch[which], sample)


# -- gradients, transforms, compilers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["float32", "bfloat16", *QUANTIZED])
def test_gradients(storage: str) -> None:
    x = reals(torch.float32, 300).nan_to_num(0.0, 1.0, -1.0)
    options: dict[str, Any] = {"storage": storage}
    if storage in QUANTIZED:
        options["scale"] = 0.02
    gradients = []
    for device in ("cpu", DEVICE):
        leaf = x.to(device).requires_grad_()
        read = eden.corrupt(leaf, eden.Uniform(1e-3), seed=2, **options)
        read.backward(torch.arange(300.0, device=device))
        gradients.append(leaf.grad)
    assert same(gradients[1], gradients[0])


@pytest.mark.parametrize("dtype", FLOATS)
def test_measured_ranges_and_their_gradients(dtype: torch.dtype, differences: Differences) -> None:
    for shape, storage, affine in itertools.product(((7,), (5, 40, 33), (300_007,)), CODE_BITS, (False, True)):
        if affine and storage in SYMMETRIC:
            continue
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        grad = torch.arange(x.numel()).reshape(shape).to(dtype)
        x.view(-1)[3] = -0.0
        for channel_dim in (-1, 0):
            found = []
            for device in ("cpu", DEVICE):
                codes = measure_range(x.to(device), storage, affine, True, channel_dim)
                half = None if codes[0] is None else codes[0] / 2
                passed = clipped_gradient(grad.to(device), x.to(device), half, codes[1], storage, channel_dim)
                bounds = torch.tensor([-0.5, 0.25], device=device)
                found.append([*codes, passed, plausible_gradient(grad.to(device), x.to(device), bounds)])
            for i, (host, other) in enumerate(zip(*found, strict=True)):
                if host is not None:
                    differences.check(f"{storage}, {tuple(shape)}, {affine}, {channel_dim}, {i}", other, host)
            rows = (torch.tensor(one_region(eden.Uniform(1e-3))), None, torch.tensor(3), torch.tensor(0))
            reads = [
                reading.read_measured(
                    *(on_device(part) if device == DEVICE else part for part in (x, *rows)),
                    storage,
                    affine,
                    False,
                    channel_dim,
                )
                for device in ("cpu", DEVICE)
            ]
            differences.check(f"read, {storage}, {tuple(shape)}, {affine}, {channel_dim}", reads[1], reads[0])
    differences.verdict()


def test_vmap_reads_each_example_from_the_cells_it_would_read_alone() -> None:
    x = reals(torch.float32, 3, 4, 50)
    errors = eden.Uniform(0.03, 0.5)
    expected = torch.stack([eden.corrupt(one, errors, 3, access=5) for one in x])
    assert same(torch.vmap(lambda one: eden.corrupt(one, errors, 3, access=5))(x.to(DEVICE)), expected)


def test_compiled_functions_and_networks(differences: Differences) -> None:
    torch._dynamo.reset()
    x = reals(torch.float32, 900)

    def read(x: Tensor, errors: ErrorModel, seed: Tensor, access: Tensor) -> Tensor:
        return eden.corrupt(-x, errors, seed=seed, access=access, address=64)

    compiled = torch.compile(read, fullgraph=True)
    for (name, errors), access in itertools.product(list(one_model().items())[::7], (0, 1)):
        numbers = torch.tensor(-7), torch.tensor(access)
        found = compiled(x.to(DEVICE), errors, *(number.to(DEVICE) for number in numbers))
        differences.check(f"{name}, {access}", found, read(x, errors, *numbers))
    network = injected().to(DEVICE)
    twin = copy.deepcopy(network)
    faster = torch.compile(network, fullgraph=True)
    images = pictures().to(DEVICE)
    with torch.no_grad():
        for _ in range(3):
            # Other kernels add in another order, and a code that turns out one apart is a hundredth of its range.
            assert near(faster(images), twin(images), 0.1)
    accesses = [{int(layer.eden_access) for layer in faulty(model).values()} for model in (network, twin)]
    assert accesses == [{3}, {3}]


# -- streams, graphs, synchronization ----------------------------------------------------------------------------------


def test_work_goes_to_the_current_stream() -> None:
    x = values(torch.float32, (1 << 22,))
    errors = eden.Uniform(1e-3)
    expected = eden.corrupt(x, errors, access=1)
    moved = x.to(DEVICE)
    eden.corrupt(moved, errors, access=1)  # so that rows and numbers are on the device
    torch.cuda.synchronize()
    streams = [torch.cuda.Stream() for _ in range(4)]
    results = []
    for stream in streams:
        with torch.cuda.stream(stream):
            late = torch.zeros_like(moved)
            torch.cuda._sleep(20_000_000)  # were the read on another stream, it would see the zeros
            late.copy_(moved)
            results.append(eden.corrupt(late, errors, access=1))
            eden.corrupt_(late, errors, access=1)
            results.append(late)
    for stream in streams:
        stream.synchronize()
    assert all(same(result, expected) for result in results)


def captured(call: Callable[[], Any]) -> torch.cuda.CUDAGraph:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        call()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph


@pytest.mark.parametrize("form", ["corrupt", "corrupt_", "corrupt_out"])
def test_a_graph_replays_with_the_next_access(form: str, differences: Differences) -> None:
    for name, (errors, address) in memories().items():
        x = values(torch.float32, (5000,))
        access = torch.tensor(0, device=DEVICE)
        given = {"seed": 8, "address": address}
        moved, out = x.to(DEVICE), torch.empty(5000, device=DEVICE)

        def call(
            moved: Tensor = moved, out: Tensor = out, access: Tensor = access, errors: Any = errors, given: Any = given
        ) -> None:
            if form == "corrupt":
                out.copy_(eden.corrupt(moved, errors, access=access, **given))
            elif form == "corrupt_":
                out.copy_(moved)
                eden.corrupt_(out, errors, access=access, **given)
            else:
                eden.corrupt(moved, errors, access=access, out=out, **given)
            advance_(access)

        graph = captured(call)
        access.fill_(7)
        for number in range(7, 10):
            graph.replay()
            differences.check(f"{name}, access {number}", out, eden.corrupt(x, errors, access=number, **given))
        assert int(access) == 10


def test_rates_change_between_replays(differences: Differences) -> None:
    x = values(torch.int8, (5000,))
    given = operator_arguments(x, eden.Uniform(0.0))
    moved = {name: on_device(value) for name, value in given.items()}
    out = torch.empty(5000, dtype=torch.int8, device=DEVICE)
    graph = captured(lambda: torch.ops.eden.corrupt_out(**moved, out=out))
    for rate in (1e-4, 0.3, 0.02):
        row = torch.tensor([one_region(eden.Uniform(rate))])
        moved["region"].copy_(row)
        graph.replay()
        differences.check(f"rate {rate}", out, torch.ops.eden.corrupt(**{**given, "region": row}))


# Of one kernel, of three, and in planes.
KERNELS = pytest.mark.parametrize(
    ("storage", "planes"),
    [("int8", None), ("int6_sign_magnitude_hamming", None), ("int8", "search")],
)


@KERNELS
def test_nothing_waits_for_the_device(storage: str, planes: str | None) -> None:
    network, images = injected(storage, planes=planes).to(DEVICE), pictures().to(DEVICE)
    numbers = torch.tensor(4, device=DEVICE), torch.tensor(2, device=DEVICE)
    x = values(torch.int8, (9000,)).to(DEVICE)
    held = [(x.clone(), errors, address) for errors, address in memories().values()]

    def everything() -> None:
        for x, errors, address in held:
            given: dict[str, Any] = {"seed": numbers[0], "access": numbers[1], "address": address}
            eden.corrupt(x.view(90, 100), errors, batch_dim=0, **given)
            eden.corrupt_(x, errors, **given)
            eden.corrupt(x, errors, out=torch.empty_like(x), **given)
        advance_(numbers[1])
        with torch.no_grad():
            network(images)
        network.train()
        network(images).square().mean().backward()
        network.eval()

    everything()  # rows and tables are brought to the device, which waits, once
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        everything()
    finally:
        torch.cuda.set_sync_debug_mode(mode)


# -- networks ----------------------------------------------------------------------------------------------------------


def pictures() -> Tensor:
    return torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def injected(storage: str = "int8", **options: Any) -> nn.Module:
    torch.manual_seed(0)
    model = eden.app.models.ResNet(blocks=1, channels=8).eval()
    errors = eden.Uniform(1e-3, failure=0.5)
    eden.inject_(model, eden.Faults(errors, errors, **{"storage": storage, "correction": "zero", **options}))
    eden.calibrate_(model, [pictures()])
    return model


def faulty(model: nn.Module) -> dict[str, FaultyLayer]:
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, FaultyLayer)}


@pytest.mark.parametrize(
    ("storage", "options"),
    [
        ("float32", {}),
        ("bfloat16", {"correction": "clamp"}),
        ("float8_e4m3fn", {}),
        ("int8", {"batch": "contiguous"}),
        ("int8", {"weight_channels": True}),
        ("uint8", {"quantization": "affine"}),
        ("int4", {"quantization": "affine", "weight_channels": True}),
        ("sign", {}),
        ("int6_sign_magnitude_hamming", {"weight_channels": True}),
        ("int8_sign_tripled", {"batch": "contiguous"}),
        ("float32_secded", {}),
        ("int8", {"planes": ["7", "6:5", "4:0"]}),
        ("float32", {"planes": "search", "batch": "contiguous"}),
    ],
    ids=str,
)
def test_every_read_of_a_network(
    storage: str, options: dict[str, Any], differences: Differences, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Sums of products differ between devices in their last bits, so each read is compared for the input that it had.
    reads: list[tuple[tuple[Any, ...], Tensor]] = []
    read = reading.read

    def recorded(x: Tensor, *arguments: Any) -> Tensor:
        before = [value.detach().cpu().clone() if isinstance(value, Tensor) else value for value in (x, *arguments)]
        result = read(x, *arguments)
        reads.append((tuple(before), result.detach()))
        return result

    model = injected(storage, **options).to(DEVICE)
    lines = {
        name: [eden.Bitline(0.01, 0.1, 0.5), eden.Wordline(0.01, 0.1), eden.DataDependent(1e-3, 0.01)][i % 3]
        for i, name in enumerate(eden.operands(model))
    }
    eden.set_errors_(model, lines)
    monkeypatch.setattr(reading, "read", recorded)
    with torch.no_grad():
        for _ in range(2):
            model(pictures().to(DEVICE))
    assert len(reads) == 4 * len(faulty(model))
    for i, (arguments, found) in enumerate(reads):
        differences.check(f"read {i}", found, torch.ops.eden.corrupt(*arguments))


def test_a_network_on_reliable_memory_computes_what_it_does_on_the_cpu() -> None:
    model = injected("float32")
    moved = copy.deepcopy(model).to(DEVICE)
    with torch.no_grad(), eden.clean(model), eden.clean(moved):
        # Convolutions of a GPU may round their factors to 10 bits.
        assert near(moved(pictures().to(DEVICE)).cpu(), model(pictures()), 0.02)


@KERNELS
def test_a_network_in_a_graph(storage: str, planes: str | None) -> None:
    model = injected(storage, planes=planes).to(DEVICE)
    x = pictures().to(DEVICE)
    graphed: dict[str, Tensor] = {}

    def call() -> None:
        graphed["output"] = model(x)

    with torch.no_grad():
        graph = captured(call)
        eden.set_chip_(model, 1)
        eager = [model(x).clone() for _ in range(3)]
        eden.set_chip_(model, 1)
        for expected in eager:
            graph.replay()
            assert same(graphed["output"], expected)
    assert not all(same(a, b) for a, b in itertools.pairwise(eager))


def test_counting_says_what_the_device_did() -> None:
    model = injected("float32", correction="none")
    moved = copy.deepcopy(model).to(DEVICE)
    accounts = []
    for network, x in ((model, pictures()), (moved, pictures().to(DEVICE))):
        with counting(network) as account, torch.no_grad():
            network(x)
        accounts.append(account)
    exact = [name for name in accounts[0] if name.endswith("weight")] + ["conv1.input"]
    assert len(exact) > 5
    for name in exact:
        assert torch.equal(accounts[0][name].cells, accounts[1][name].cells)
        assert torch.equal(accounts[0][name].realized, accounts[1][name].realized)


# -- what is wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    # Places of the fields in csrc/memory/region.h.
    [(2, 9), (1, -32), (1, 2**63 - 32), (0, 32), (3, -1), (8, 7), (10, 2**40), (11, 2**62), (12, 0), (13, -32)],
)
@pytest.mark.parametrize("storage", ["float32", "float32_secded"])
def test_rows_that_cannot_be_followed_poison_and_are_told_of(storage: str, field: int, value: int) -> None:
    x = values(torch.float32, (5000,))
    lines = field >= 10
    errors = eden.Bitline(0.1, 0.1) if lines else eden.Uniform(0.1)
    given = {name: on_device(v) for name, v in operator_arguments(x, errors, storage=storage).items()}
    good = torch.ops.eden.corrupt(**given)
    row = given["region"].clone()
    row[..., field] = value
    read = torch.ops.eden.corrupt(**{**given, "region": row})
    torch.cuda.synchronize()
    assert read.isnan().all()
    with pytest.raises(RuntimeError, match=r"an earlier read on a CUDA device .* region 0 "):
        torch.ops.eden.corrupt(**given)
    torch.ops.eden.corrupt(**{**given, "region": row})
    with pytest.raises(RuntimeError, match=r"an earlier read on a CUDA device .* region 0 "):
        check_reads(torch.device(DEVICE))
    check_reads(torch.device(DEVICE))
    assert same(torch.ops.eden.corrupt(**given), good)


def test_tensors_of_another_device_are_named() -> None:
    x = torch.ones(100)
    given = operator_arguments(x, eden.Bitline(0.1, 0.1), storage="float32")
    moved = {name: on_device(value) for name, value in given.items()}
    for name in ("region", "table", "chip", "access"):
        with pytest.raises(RuntimeError, match=f"{name} is on another device than x"):
            torch.ops.eden.corrupt(**{**moved, name: given[name]})
    with pytest.raises(ValueError, match="scale is on cpu"):
        eden.corrupt(x.to(DEVICE), eden.Uniform(0.1), storage="int8", scale=torch.ones(1))
    with pytest.raises(ValueError, match="out has shape"):
        eden.corrupt(x.to(DEVICE), eden.Uniform(0.1), out=torch.empty(100))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device or none")
def test_a_device_that_is_not_the_current_one(differences: Differences) -> None:
    x = values(torch.float32, (5000,))
    for name, (errors, address) in memories().items():
        expected = eden.corrupt(x, errors, address=address)
        for device in ("cuda:1", "cuda:0", "cuda:1"):
            differences.check(f"{name}, {device}", eden.corrupt(x.to(device), errors, address=address), expected)
            assert torch.cuda.current_device() == 0
