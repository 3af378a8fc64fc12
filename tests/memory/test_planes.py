"""Is a plane what it says: its bits packed densely from an address of its own, and nothing else?

The expected bits are made without planes: those of a plane, packed into bytes, are read as a tensor of bytes that lies
where the plane does.
"""

import itertools

import numpy as np
import pytest
import torch

import eden
from eden import _core
from eden.memory.operators import corrupt
from eden.memory.planes import plane_of, plane_text, planes_of, split
from eden.memory.region import plane_rows, region_rows
from eden.memory.storage import CODE_BITS, STORAGE_BITS, STORAGES

MODELS = {
    "cells": eden.DataDependent(ber_zero=2e-2, ber_one=5e-2, failure=0.7),
    "dense": eden.Uniform(0.2),
    "bitlines": eden.Bitline.by_value(ber_zero=1e-2, ber_one=3e-2, dispersion=0.1, marks="opposite"),
    "reliable": None,
}
ELEMENTS = 1003
WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32}


def read(x, rows, table, storage, scale=None, seed=3, access=2, batch_dim=-1):
    chip, number = (torch.tensor(value) for value in (seed, access))
    entries = None if table is None else torch.from_numpy(table)
    return torch.ops.eden.corrupt(
        x, torch.tensor(rows), entries, chip, number, scale, None, None, STORAGES[storage], -1, batch_dim
    )


def alone(bits: np.ndarray, errors, address: int) -> np.ndarray:
    """Bits (a multiple of 8) as they are read from a memory, one after the other."""
    packed = torch.from_numpy(np.packbits(bits, bitorder="little"))
    if errors is not None:
        packed = corrupt(packed, errors, seed=3, address=address, access=2)
    return np.unpackbits(packed.numpy(), bitorder="little")


def expected(words: np.ndarray, planes: dict, width: int) -> np.ndarray:
    result = np.zeros_like(words)
    for plane, (errors, address) in planes.items():
        positions = plane[::-1]
        bits = np.stack([(words >> bit) & 1 for bit in positions], axis=1).astype(np.uint8).reshape(-1)
        filled = np.concatenate([bits, np.zeros(-len(bits) % 8, np.uint8)])
        found = alone(filled, errors, address)[: len(bits)].reshape(len(words), len(positions))
        for i, bit in enumerate(positions):
            result |= found[:, i].astype(words.dtype) << bit
    return result


@pytest.mark.parametrize(
    ("dtype", "groups"),
    [
        (torch.int8, ["7", "6:5", "4:0"]),
        (torch.uint8, ["7,3", "6:4", "2:0"]),
        (torch.int16, ["15", "14:10", "9:0"]),
        (torch.bfloat16, ["15", "14:7", "6:0"]),
        (torch.float32, ["31", "30:23", "22:0"]),
    ],
)
def test_a_plane_is_its_bits_packed_at_its_address(dtype, groups):
    planes = planes_of(groups)
    width = sum(map(len, planes))
    words = np.random.default_rng(1).integers(0, 2**width, ELEMENTS).astype(WORDS[width // 8])
    x = torch.from_numpy(words.view(f"i{width // 8}" if dtype != torch.uint8 else "u1").copy()).view(dtype)
    for models in itertools.islice(itertools.permutations(MODELS.values(), len(planes)), 0, 24, 3):
        places = {
            plane: (errors, 8 * 4096 * (i + 1)) for i, (plane, errors) in enumerate(zip(planes, models, strict=False))
        }
        rows, table = plane_rows(
            {p: ((errors, at, ELEMENTS * len(p)),) for p, (errors, at) in places.items()}, ELEMENTS
        )
        found = read(x, rows, table, str(dtype).removeprefix("torch."))
        got = found.view({1: torch.int8, 2: torch.int16, 4: torch.int32}[width // 8]).numpy().view(words.dtype)
        assert np.array_equal(got, expected(words, places, width)), models


def test_pieces_of_planes_are_cut_anywhere_and_dense_ones_read_alike():
    """Over several chunks of elements, which begin and end within pieces; each plane is judged by itself."""
    size, cut = 300_003, 655_373
    words = np.random.default_rng(1).integers(0, 256, size).astype(np.uint8)
    pieces = {
        "4:0": [(eden.Uniform(0.2), cut), (eden.DataDependent(0.4, 0.02), 5 * size - cut)],
        "6:5": [(eden.Bitline(0.1, 0.1), 299_999), (eden.Wordline(0.2, 0.1, failure=0.7), 2 * size - 299_999)],
        "7": [(eden.DataDependent(1e-3, 0.5), 77_777), (eden.Bitline(0.3, 0.2), size - 77_777)],
    }
    placed, wanted = {}, np.zeros_like(words)
    for plane, parts in zip(planes_of(list(pieces)), (pieces[text] for text in ("7", "6:5", "4:0")), strict=True):
        places = [(errors, 2**26 * (1 + min(plane)) + 2**24 * i, bits) for i, (errors, bits) in enumerate(parts)]
        placed[plane] = places
        own = np.stack([(words >> bit) & 1 for bit in plane[::-1]], axis=1).reshape(-1)
        found, first = [], 0
        for errors, address, bits in places:
            part = own[first : first + bits]
            found.append(alone(np.concatenate([part, np.zeros(-bits % 8, np.uint8)]), errors, address)[:bits])
            first += bits
        bits_of = np.concatenate(found).reshape(size, len(plane))
        for i, bit in enumerate(plane[::-1]):
            wanted |= bits_of[:, i] << bit
    rows, table = plane_rows(placed, size)
    got = read(torch.from_numpy(words.view(np.int8).copy()), rows, table, "int8").numpy().view(np.uint8)
    assert np.array_equal(got, wanted)


@pytest.mark.parametrize("rate", [1e-6, 1e-3, 0.06, 0.07, 0.5])
def test_every_bit_position_of_planes_meets_the_rate(rate):
    """A binomial's bound of 5 standard deviations for each of 16 counts and 5 rates: a false alarm in 20,000 seeds."""
    size = 2**20
    x = torch.randint(-128, 128, (size,), dtype=torch.int8, generator=torch.Generator().manual_seed(2))
    pieces = {p: ((eden.Uniform(rate), 2**30 * i, 8 * size),) for i, p in enumerate(planes_of(["7,3", "6:4", "2:0"]))}
    chips = 16 if rate < 1e-3 else 2
    counts = torch.zeros(8, 2, 2, dtype=torch.int64)
    for chip in range(chips):
        rows = torch.tensor(plane_rows(pieces, size)[0])
        numbers = torch.tensor(chip), torch.tensor(0)
        counts += torch.ops.eden.count_flips(x, rows, None, *numbers, None, None, None, STORAGES["int8"], -1, -1)
    cells, flips = counts.double().unbind(-1)
    assert cells.sum() == 8 * size * chips
    assert ((flips - rate * cells).abs() <= 5 * (rate * (1 - rate) * cells).sqrt() + 5).all()


def test_codes_of_every_storage_are_read_plane_by_plane():
    """Each plane alone under faults: exactly its bits change, as many as the memory has weak cells there."""
    x = torch.randn(4, 250, generator=torch.Generator().manual_seed(1))
    scale = torch.tensor(0.03)
    for storage in CODE_BITS:
        planes = split(storage)
        if _core.is_coded(_core.Storage.__members__[storage]):
            assert planes == ()  # refused in planes
            continue
        assert sorted(itertools.chain(*planes)) == list(range(STORAGE_BITS[storage]))
        for under in planes:
            pieces = {p: ((eden.Uniform(0.3) if p == under else None, 64, 10**6),) for p in planes}
            rows, _ = plane_rows(pieces, x.numel())
            counts = torch.ops.eden.count_flips(
                x,
                torch.tensor(rows),
                None,
                *(torch.tensor(n) for n in (3, 2)),
                scale,
                None,
                None,
                STORAGES[storage],
                -1,
                0,
            )
            flipped = counts[..., 1].sum(1)
            assert counts[..., 0].sum(1).eq(x.numel()).all()
            assert [bit for bit, n in enumerate(flipped.tolist()) if n] == sorted(under), storage


def test_flips_of_a_plane_are_nested_and_independent_of_the_others():
    x = torch.randint(-128, 128, (20000,), dtype=torch.int8, generator=torch.Generator().manual_seed(2))
    planes = planes_of(["7", "6:5", "4:0"])
    before = torch.zeros_like(x)
    for rate in (1e-4, 1e-3, 1e-2, 0.08, 0.3):
        pieces = {p: ((eden.Uniform(rate if len(p) > 1 else 1e-3), 64 * i, 10**6),) for i, p in enumerate(planes)}
        flips = read(x, plane_rows(pieces, x.numel())[0], None, "int8") ^ x
        assert torch.equal(flips & before & 0x7F, before & 0x7F)
        top = flips & -128
        assert rate == 1e-4 or torch.equal(top, before & -128)
        before = flips
    assert before.count_nonzero() > 0.5 * len(x)


def test_threads_and_kept_cells_change_nothing():
    size = 300_000
    x = torch.randint(-128, 128, (size,), dtype=torch.int8, generator=torch.Generator().manual_seed(2))
    models = eden.Uniform(0.01), eden.Bitline(0.01, 0.1), eden.Bitline(0.02, 0.1)
    pieces = {
        plane: ((errors, 64 * i, size * len(plane) // 2), (errors, 2**30 + 1, size * len(plane)))
        for i, (plane, errors) in enumerate(zip(planes_of(["7", "6:5", "4:0"]), models, strict=True))
    }
    rows, table = plane_rows(pieces, size)
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found += [read(x, rows, table, "int8") for _ in range(3)]
    finally:
        torch.set_num_threads(threads)
    assert not torch.equal(found[0], x)
    assert all(torch.equal(each, found[0]) for each in found)


def test_samples_corrections_and_gradients_are_those_of_whole_words():
    x = torch.randn(3, 40, generator=torch.Generator().manual_seed(1))
    rows, _ = plane_rows({p: ((eden.Uniform(0.1), 8 * i, 10**6),) for i, p in enumerate(split("float32"))}, 40, "zero")
    each = torch.cat([_corrected(one, rows) for one in x.split(1)])
    assert torch.equal(_corrected(x, rows), each)
    assert each.abs().max() <= 2.5
    whole, _ = region_rows([(eden.Uniform(0.1), 0, 10**6)], 40 * 32, 32, "zero")
    gradients = []
    for region in (rows, whole):
        leaf = x.clone().requires_grad_()
        _corrected(leaf, region).sum().backward()
        gradients.append(leaf.grad)
    assert torch.equal(*gradients)


def _corrected(x, rows):
    chip, access, bounds = torch.tensor(3), torch.tensor(2), torch.tensor([-2.5, 2.5])
    return torch.ops.eden.corrupt(x, torch.tensor(rows), None, chip, access, None, None, bounds, 0, -1, 0)


def test_how_planes_are_said():
    assert planes_of(["4:0", 7, [5, 6]]) == ((7,), (6, 5), (4, 3, 2, 1, 0))
    assert [plane_text(plane) for plane in planes_of(["7,3:1", "6:4", "0"])] == ["7,3:1", "6:4", "0"]
    assert plane_of("0:2") == (2, 1, 0)
    assert split("sign") == ()
    for given, message in (
        (["7", "6:1"], "each bit position of a word once"),
        (["1", "1:0"], "each bit position"),
        ([], "are none"),
        (["x"], "such as '7'"),
        ([[1, 1]], "each once"),
    ):
        with pytest.raises(ValueError, match=message):
            planes_of(given)
    for given in ("7:0", {"7": 0}, 3, [None], [{}], [[0.5]]):
        with pytest.raises(TypeError, match="plane"):
            planes_of(given)


def test_rows_that_make_no_word_are_refused():
    x = torch.zeros(10, dtype=torch.int8)
    half, _ = plane_rows({(3, 2, 1, 0): ((eden.Uniform(0.1), 0, 40),)}, 10)
    with pytest.raises(ValueError, match="share no bit, and hold all of a word"):
        read(x, half, None, "int8")
    with pytest.raises(ValueError, match="pieces hold 39 bits"):
        plane_rows({(3, 2, 1, 0): ((eden.Uniform(0.1), 0, 39),)}, 10)
    assert _core.PLANE_SHIFT == 32
