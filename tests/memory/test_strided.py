"""Are strided tensors read as their dense copies are, bit for bit, wherever their rows lie?"""

import pytest
import torch
from one_region import one_region
from torch import Tensor

import eden
from eden.memory import library
from eden.memory.storage import CORRECTIONS, STORAGES

CORRECTION_FIELD = 8  # of a row of a region
CHANNELS = 1100  # bytes of rows are long enough not to be copied, in every dtype


def bits(x: Tensor) -> Tensor:
    return x.contiguous().view({1: torch.int8, 2: torch.int16, 4: torch.int32}[x.element_size()])


def filled(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return (20 * torch.randn(shape, generator=torch.Generator().manual_seed(1))).to(dtype)


def layouts(dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        "chunk": filled((3, 7, 3 * CHANNELS), dtype).chunk(3, -1)[1],
        "misaligned": filled((3, 7, CHANNELS + 3), dtype)[..., 1:-2],
        "channels of a sample": filled((5, 4, 20, 55), dtype)[:, 1:3],
        "transposed": filled((6, 3, CHANNELS), dtype).transpose(0, 1),
        "expanded": filled((1, 4, CHANNELS), dtype).expand(5, 4, CHANNELS),
        "expanded within": filled((3, 1, CHANNELS + 5), dtype)[..., 5:].expand(3, 4, CHANNELS),
        "every second sample": filled((6, 3, CHANNELS), dtype)[::2],
        "permuted with gaps": filled((4, 3, 2, CHANNELS + 1), dtype).permute(2, 0, 1, 3)[..., 1:],
        "cropped, short rows": filled((2, 3, 40, 40), dtype)[:, :, 2:-2, 2:-2],
        "one sample": filled((1, 5, 2 * CHANNELS), dtype)[:, :, :CHANNELS],
        "none": filled((3, 4, 2 * CHANNELS), dtype)[:0, :, :CHANNELS],
        "patches": filled((300, 2 * 4096), dtype)[:, 9 : 9 + 4096],
    }


MODELS = {
    "uniform": eden.Uniform(1e-2),
    "failing": eden.Uniform(1e-3, 0.5),
    "dense": eden.DataDependent(0.1, 0.01),
    "bitline": eden.Bitline(1e-2, 0.5),
    "wordline": eden.Wordline(0.3, 0.5),
}


@pytest.mark.parametrize("name", list(layouts(torch.float32)))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
@pytest.mark.parametrize("model", MODELS)
def test_strided_reads_are_those_of_a_dense_copy(name, dtype, model):
    x, errors = layouts(dtype)[name], MODELS[model]
    before = torch.get_num_threads()
    try:
        for batch_dim in (None, 0, 1):
            given = {"batch_dim": batch_dim, "address": 64, "seed": 5}
            torch.set_num_threads(1)
            expected = eden.corrupt(x.contiguous(), errors, **given)
            assert x.numel() == 0 or not torch.equal(bits(expected), bits(x))
            for threads in (1, 2, 8):
                torch.set_num_threads(threads)
                read = eden.corrupt(x, errors, **given)
                assert torch.equal(bits(read), bits(expected))
                assert read.stride() == torch.empty_like(x).stride()
            wide = torch.zeros(*x.shape[:-1], x.shape[-1] + 3, dtype=dtype)
            eden.corrupt(x, errors, out=wide[..., 2:-1], **given)
            assert torch.equal(bits(wide[..., 2:-1]), bits(expected))
            assert not torch.cat((wide[..., :2], wide[..., -1:]), -1).any()
            if not name.startswith("expanded"):
                wide[..., 2:-1] = x
                eden.corrupt_(wide[..., 2:-1], errors, **given)
                assert torch.equal(bits(wide[..., 2:-1]), bits(expected))
                assert not torch.cat((wide[..., :2], wide[..., -1:]), -1).any()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", list(layouts(torch.float32)))
@pytest.mark.parametrize("storage", [name for name in STORAGES if name not in ("int32", "int16", "uint16")])
def test_every_storage_of_strided_tensors(name, storage):
    x = layouts(torch.float32)[name]
    given = {"storage": storage, "batch_dim": 0, "seed": 2}
    if not storage.startswith(("float", "bfloat")):
        given["scale"] = 0.5
    expected = eden.corrupt(x.contiguous(), eden.Uniform(1e-2), **given)
    assert torch.equal(bits(eden.corrupt(x, eden.Uniform(1e-2), **given)), bits(expected))


@pytest.mark.parametrize("name", list(layouts(torch.float32)))
@pytest.mark.parametrize("correction", ["none", "zero", "clamp"])
@pytest.mark.parametrize("channel_dim", [None, 1])
def test_ranges_of_strided_tensors(name, correction, channel_dim):
    x = layouts(torch.float32)[name]
    if x.numel() == 0:
        return
    library.load()
    region = torch.tensor(one_region(eden.Uniform(1e-2), 0))
    region[..., CORRECTION_FIELD] = CORRECTIONS.index(correction)
    memory = (region, None, torch.tensor(3), torch.tensor(0))
    channel = -1 if channel_dim is None else channel_dim
    for storage in ("int8", "float32", "int8_secded"):
        of_strided = torch.ops.eden.corrupt_measured(x, *memory, STORAGES[storage], False, channel)
        of_dense = torch.ops.eden.corrupt_measured(x.contiguous(), *memory, STORAGES[storage], False, channel)
        assert torch.equal(bits(of_strided[0]), bits(of_dense[0]))
        assert of_strided[0].stride() == torch.empty_like(x).stride()
        assert torch.equal(of_strided[1], of_dense[1])
    arguments = (STORAGES["int8"], True, True, channel)
    for range_of_strided, range_of_dense in zip(
        torch.ops.eden.measure_range(x, *arguments),
        torch.ops.eden.measure_range(x.contiguous(), *arguments),
        strict=True,
    ):
        assert torch.equal(range_of_strided, range_of_dense)


def test_a_tensor_is_read_before_what_overlaps_it_is_written():
    library.load()
    region = torch.tensor(one_region(eden.Uniform(1e-2), 0))
    none, native = (None, None, None), (STORAGES["float32"], -1, -1)
    arguments = (region, None, torch.tensor(3), torch.tensor(0), *none, *native)
    memory = filled((1024, 1024), torch.float32)
    several = filled((8, 8, 1024), torch.float32)
    pairs = [
        lambda m, s: (m[:, :512], m[:, 256:768]),
        lambda m, s: (s.transpose(0, 1), s),
        lambda m, s: (s, s.transpose(0, 1)),
        lambda m, s: (m[:512, :900], m[256:768, :900]),
    ]
    for pair in pairs:
        x, _ = pair(memory, several)
        expected = torch.ops.eden.corrupt(x.contiguous(), *arguments)
        x, out = pair(memory.clone(), several.clone())
        torch.ops.eden.corrupt_out(x, *arguments, out=out)
        assert torch.equal(bits(out), bits(expected))
