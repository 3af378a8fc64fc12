"""Does a GPU give the same bits as the CPU? `make test-gpu` runs this on a machine that has one."""

import itertools

import pytest
import torch

import eden
from eden import ops

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

MODELS = [
    eden.Uniform(1e-6),
    eden.Uniform(1e-3),
    eden.Uniform(0.03, failure=0.4),
    eden.Uniform(0.2, failure=0.7),
    eden.DataDependent(0.001, 0.3),
    eden.Uniform(1.0),
]
SHAPES = [(1,), (0, 4), (1000,), (5, 3, 17, 19), (1 << 20,), (3, 1 << 18)]


def words(x: torch.Tensor) -> torch.Tensor:
    x = x.detach().cpu().contiguous()
    return x.view(torch.int32 if x.dtype == torch.float32 else torch.int8)


@pytest.mark.parametrize("errors", MODELS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
def test_bits_equal_the_cpu(errors, shape, dtype):
    x = torch.randint(-(2**31), 2**31, shape, dtype=torch.int64).to(torch.int32)
    x = x.view(torch.float32) if dtype == torch.float32 else x.to(torch.int8)
    for seed, access, address in ((0, 0, 0), (-5, 7, (3 << 40) + 96)):
        expected = eden.corrupt(x, errors, seed=seed, access=access, address=address)
        assert torch.equal(
            words(eden.corrupt(x.cuda(), errors, seed=seed, access=access, address=address)), words(expected)
        )
        inside = x.cuda()
        eden.corrupt_(inside, errors, seed=seed, access=access, address=address)
        assert torch.equal(words(inside), words(expected))


@pytest.mark.parametrize("storage", [name for name in ops.STORAGES if name != "int32"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("correction", ops.CORRECTIONS)
@pytest.mark.parametrize("batch_dim", [-1, 0, 1])
@pytest.mark.parametrize("channel_dim", [-1, 2])
def test_fused_bits_equal_the_cpu(storage, dtype, correction, batch_dim, channel_dim):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 5, 401, generator=generator).to(dtype)
    channels = 401 if channel_dim == 2 else 1
    scale = torch.linspace(0.02, 0.5, channels)
    bounds = torch.tensor([-2.0, 2.5]) if correction != "none" else None
    for errors in MODELS:
        region = torch.tensor([ops.region(errors, 1 << 30, correction)])
        arguments = [x, region, None, torch.tensor(3), torch.tensor(1), scale, None, bounds]
        moved = [argument.cuda() if argument is not None else None for argument in arguments]
        last = (ops.STORAGES[storage], channel_dim, batch_dim)
        read = [torch.ops.eden.corrupt(*a, *last) for a in (arguments, moved)]
        assert torch.equal(read[0].view(torch.uint8), read[1].cpu().view(torch.uint8))


def test_network_and_graph_capture():
    torch.manual_seed(0)
    model = eden.models.ResNet(blocks=1, channels=8).cuda().eval()
    x = torch.randn(8, 3, 16, 16, device="cuda")
    errors = eden.Uniform(1e-3, failure=0.5)
    eden.inject_(model, eden.Faults(errors, errors, storage="int8", correction="zero"))
    eden.calibrate_(model, [x])
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.no_grad(), torch.cuda.stream(stream):
        for _ in range(2):
            model(x)
    torch.cuda.current_stream().wait_stream(stream)
    eden.set_chip_(model, 1)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        captured = model(x)
    eden.set_chip_(model, 1)
    with torch.no_grad():
        eager = [model(x).clone() for _ in range(3)]
    eden.set_chip_(model, 1)
    for expected in eager:
        graph.replay()
        assert torch.equal(captured, expected)
    assert not all(torch.equal(a, b) for a, b in itertools.pairwise(eager))
