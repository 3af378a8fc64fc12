"""Are storages with codes what a second implementation of the codes and of the memory says, and whole in a network?"""

import copy
import pickle
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import reference_cells
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import eden
from eden.faults.counting import counting
from eden.memory import storage as quantization

Bytes = npt.NDArray[np.uint8]

SECDED = {
    "int8_secded": "int8",
    "uint8_secded": "uint8",
    "int8_sign_magnitude_secded": "int8_sign_magnitude",
    "float32_secded": "float32",
    "float16_secded": "float16",
    "bfloat16_secded": "bfloat16",
}
IN_WORD = (
    *(f"{name}_{code}" for code in ("mset", "cep") for name in ("float32", "float16", "bfloat16")),
    *("float32_bch", "float16_hamming", "bfloat16_hamming"),
)
TRIPLED = "int8_sign_tripled"
HAMMING = ("int6_sign_magnitude_hamming", "uint6_hamming")
SIX_BITS = {
    TRIPLED: reference_cells.Codes(6, -31, 31, True),
    HAMMING[0]: reference_cells.Codes(6, -31, 31, True),
    HAMMING[1]: reference_cells.Codes(6, 0, 63, False),
}
TILE = 24_576
MODELS = (
    eden.Uniform(ber=0.01),
    eden.Bitline(ber=0.01, dispersion=0.1),
    eden.Wordline(ber=0.01, dispersion=0.1),
    eden.DataDependent(ber_zero=0.002, ber_one=0.02, failure=0.7),
)

# The columns of Hsiao's matrix, as csrc/memory/codes/secded.h states them.
COLUMNS = sorted(sum(1 << bit for bit in three) for three in combinations(range(8), 3))
COLUMNS += [((0x1F << turn) | (0x1F << turn >> 8)) & 0xFF for turn in range(8)] + [1 << check for check in range(8)]


def _bits(data: Bytes) -> npt.NDArray[np.int64]:
    return np.unpackbits(data, axis=-1, bitorder="little").astype(np.int64)


def _syndromes(bits: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Of blocks of 72 bits."""
    found = np.zeros(len(bits), dtype=np.int64)
    for bit, column in enumerate(COLUMNS):
        found ^= bits[:, bit] * column
    return found


def secded_cells(words: Bytes) -> Bytes:
    """Blocks of 9 bytes of whole words."""
    data = np.concatenate([words, np.zeros(-len(words) % 8, np.uint8)]).reshape(-1, 8)
    checks = _syndromes(np.pad(_bits(data), ((0, 0), (0, 8)))).astype(np.uint8)
    return np.concatenate([data, checks[:, None]], axis=1).reshape(-1)


def secded_words(cells: Bytes, size: int) -> tuple[Bytes, npt.NDArray[np.bool_]]:
    """The words, and which bytes of theirs lie in a block whose errors are detected."""
    bits = _bits(cells.reshape(-1, 9))
    syndromes = _syndromes(bits)
    detected = ~np.isin(syndromes, [0, *COLUMNS])
    for bit, column in enumerate(COLUMNS):
        bits[:, bit] ^= syndromes == column
    data = np.packbits(bits[:, :64].astype(np.uint8), axis=1, bitorder="little")
    return data.reshape(-1)[:size], np.repeat(detected, 8)[:size]


def tripled_cells(words: Bytes) -> Bytes:
    cells = words & 31
    for first, n in _tiles(len(words)):
        for copy_ in range(3):
            signs = np.roll(words[first : first + n] >> 5, copy_ * (n // 3))
            cells[first : first + n] |= (signs << (7 - copy_)).astype(np.uint8)
    return cells


def tripled_words(cells: Bytes) -> Bytes:
    words = cells & 31
    for first, n in _tiles(len(cells)):
        tile = cells[first : first + n].astype(np.int64)
        votes = sum(np.roll(tile >> (7 - copy_) & 1, -copy_ * (n // 3)) for copy_ in range(3))
        words[first : first + n] |= ((votes >= 2) * 32).astype(np.uint8)
    return words


# Of bits 0 to 15 of a block, as csrc/memory/codes/hamming.h states them; bit 6 is not checked.
HAMMING_COLUMNS = [3, 5, 6, 7, 9, 10, 0, 11, 12, 13, 14, 15, 1, 2, 4, 8]


def _hamming_syndromes(bits: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.bitwise_xor.reduce(bits * HAMMING_COLUMNS, axis=1)


def hamming_cells(words: Bytes) -> Bytes:
    pairs = np.concatenate([words, np.zeros(len(words) % 2, np.uint8)]).reshape(-1, 2)
    bits = np.zeros((len(pairs), 16), np.int64)
    bits[:, :12] = _bits(pairs[:, :, None])[:, :, :6].reshape(-1, 12)
    bits[:, 12:] = _hamming_syndromes(bits)[:, None] >> np.arange(4) & 1
    return np.packbits(bits.astype(np.uint8), axis=1, bitorder="little").reshape(-1)


def hamming_words(cells: Bytes, size: int) -> Bytes:
    bits = _bits(cells.reshape(-1, 2))
    bits ^= (_hamming_syndromes(bits)[:, None] == HAMMING_COLUMNS) & (np.array(HAMMING_COLUMNS) != 0)
    return np.packbits(bits[:, :12].reshape(-1, 6).astype(np.uint8), axis=1, bitorder="little").reshape(-1)[:size]


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return np.array_equal(a.numpy(), b.numpy(), equal_nan=True)


def _tiles(size: int) -> list[tuple[int, int]]:
    starts = [tile * TILE for tile in range(max(1, size // TILE))]
    return [(first, end - first) for first, end in zip(starts, [*starts[1:], size], strict=True)]


def _through(cells: Bytes, errors: Any, seed: int, address: int) -> Bytes:
    """Bytes as memory gives them back: the operator on bytes, which is held to another implementation elsewhere."""
    return eden.corrupt(torch.from_numpy(cells), errors, seed=seed, address=address, access=3).numpy()


def expected(x: torch.Tensor, storage: str, errors: Any, scale: float, correction: str, high: float) -> torch.Tensor:
    """One sample of float32 as it is read."""
    plain = SECDED.get(storage, storage)
    codes = {**reference_cells.CODES, **SIX_BITS}.get(plain)
    values = x.clamp(-high, high) if correction != "none" else x
    if codes is not None:
        words = reference_cells.encode(x.numpy(), np.float32(scale), codes).astype(np.uint8)
    else:
        words = values.to(getattr(torch, plain)).view(torch.uint8).numpy()
    detected = np.zeros(len(words), dtype=bool)
    if storage == TRIPLED:
        words = tripled_words(_through(tripled_cells(words), errors, 5, 64))
    elif storage in HAMMING:
        words = hamming_words(_through(hamming_cells(words), errors, 5, 64), len(words))
    else:
        words, detected = secded_words(_through(secded_cells(words), errors, 5, 64), len(words))
    if codes is not None:
        read = torch.from_numpy(reference_cells.decode(words.astype(np.uint64), np.float32(scale), codes))
    else:
        read = torch.from_numpy(words.copy()).view(getattr(torch, plain)).float()
    if correction == "none":
        return read
    bound = torch.tensor(high)
    if codes is not None:
        high_code = reference_cells.encode(np.float32([high, -high]), np.float32(scale), codes)
        top, bottom = (torch.tensor(v) for v in reference_cells.decode(high_code, np.float32(scale), codes))
    else:
        top = bound.to(getattr(torch, plain)).float()
        bottom = -top
    outside = ~((read >= bottom) & (read <= top))
    nearer = torch.where(read.isnan(), 0.0, torch.where(read < bottom, bottom, top))
    read = torch.where(outside, nearer if correction == "clamp" else torch.zeros(()), read)
    if correction == "zero":
        read[torch.from_numpy(detected.reshape(len(read), -1).any(1))] = 0.0
    return read


@pytest.mark.parametrize("storage", [*SECDED, TRIPLED, *HAMMING])
@pytest.mark.parametrize("errors", MODELS, ids=lambda model: type(model).__name__)
def test_reads_are_those_of_a_second_implementation(storage: str, errors: Any) -> None:
    values = torch.randn(3 * TILE + 101 if storage == TRIPLED else 5003, generator=torch.Generator().manual_seed(0))
    coded = storage in quantization.CODE_BITS
    for correction in ("none", "zero", "clamp"):
        arguments: dict[str, Any] = {"scale": 0.03} if coded else {}
        if storage in quantization.UNSIGNED:
            arguments["zero_point"] = 0
        if correction != "none":
            arguments |= {"bounds": (-0.5, 0.5), "correction": correction}
        read = eden.corrupt(values, errors, seed=5, address=64, access=3, storage=storage, **arguments)
        assert same(read, expected(values, storage, errors, 0.03, correction, 0.5)), correction


@pytest.mark.parametrize("storage", [*SECDED, TRIPLED, *HAMMING])
def test_samples_channels_and_threads_change_no_bit(storage: str) -> None:
    x = torch.randn(4, 6, 7, 11, generator=torch.Generator().manual_seed(1))
    coded = storage in quantization.CODE_BITS
    scale = {"scale": torch.linspace(0.01, 0.05, 6), "channel_dim": 1} if coded else {}
    scale |= {"zero_point": torch.full((6,), 3, dtype=torch.int32)} if storage in quantization.UNSIGNED else {}
    memory: dict[str, Any] = {"errors": eden.Uniform(ber=0.02), "seed": 2, "storage": storage}
    together = eden.corrupt(x, **memory, **scale, batch_dim=0)
    alone = [eden.corrupt(x[i : i + 1], **memory, **scale) for i in range(4)]
    assert same(together, torch.cat(alone))
    last = eden.corrupt(x.movedim(0, -1), **memory, **{**scale, **({"channel_dim": 0} if coded else {})}, batch_dim=3)
    assert same(last.movedim(-1, 0), together)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert same(eden.corrupt(x, **memory, **scale, batch_dim=0), together)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("storage", [*SECDED, TRIPLED, *HAMMING, *IN_WORD])
def test_without_errors_a_code_costs_no_more_than_its_bits(storage: str) -> None:
    x = torch.randn(1000, generator=torch.Generator().manual_seed(2))
    coded = storage in quantization.CODE_BITS
    scale = {"scale": float(x.abs().max()) / quantization.code_range(storage)[1]} if coded else {}
    scale = {**scale, "zero_point": 0} if storage in quantization.UNSIGNED else scale
    read = eden.corrupt(x, eden.Uniform(ber=0.0), storage=storage, **scale)
    if storage in SECDED:
        assert torch.equal(read, eden.corrupt(x, eden.Uniform(ber=0.0), storage=SECDED[storage], **scale))
    elif storage in SIX_BITS:
        kept = x.clamp(min=0.0) if storage in quantization.UNSIGNED else x
        assert torch.equal(read, torch.round(kept / scale["scale"]) * scale["scale"])
    else:
        plain, code = storage.split("_")
        word = {"mset": 2, "cep": 8 if plain == "float32" else 4, "hamming": 5, "bch": 11}[code]
        significand = {"float32": 23, "float16": 10, "bfloat16": 7}[plain]
        assert ((read - x).abs() <= x.abs() * 2.0 ** (word - significand)).all()
        # In place of the two lowest bits there are copies, which are 0 below 2; CEP's parities are read as zeros.
        assert torch.equal(eden.corrupt(read, eden.Uniform(ber=0.0), storage=storage), read)


def test_in_word_codes_protect_what_they_say() -> None:
    """The highest exponent bit survives one flip anywhere; of three bits of CEP with a flip nothing is left."""
    x = torch.rand(64, generator=torch.Generator().manual_seed(3)) + 0.25
    for name, width in (("float32", 32), ("bfloat16", 16), ("float16", 16)):
        for bit in range(width):
            cells = np.arange(len(x)) * width + bit
            one = eden.CellMap(cells, True, np.ones(len(x), dtype=bool), bits=len(x) * width)
            mset = eden.corrupt(x, one, storage=f"{name}_mset")
            assert (mset.abs() < 4).all(), (name, bit)
            cep = eden.corrupt(x, one, storage=f"{name}_cep")
            assert (cep.abs() <= x.abs() * 1.01).all(), (name, bit)
            assert (cep >= 0).all()


def _rounded(x: torch.Tensor, name: str) -> tuple[list[int], int]:
    """The highest bits of numbers, the nearest of so many bits, halfway the even one; and how many were cut."""
    if name == "float16":
        whole, cut = x.half().view(torch.int16).tolist(), 5
    else:
        whole, cut = x.view(torch.int32).tolist(), 21 if name == "bfloat16" else 11
    bits = 16 if name == "float16" else 32
    whole = [word % 2**bits for word in whole]
    return [(word + (1 << (cut - 1)) - 1 + (word >> cut & 1)) >> cut for word in whole], cut


class HammingWords:
    """16 bits: 0 is the parity of all, 1, 2, 4 and 8 of the bits in whose numbers they occur, the others are data."""

    width = 16
    data = [bit for bit in range(1, 16) if bit & (bit - 1)]  # noqa: RUF012

    def encode(self, data: int) -> int:
        word = sum((data >> number & 1) << bit for number, bit in enumerate(self.data))
        for check in (1, 2, 4, 8):
            covered = sum(1 << bit for bit in range(16) if bit & check)
            word |= ((word & covered).bit_count() & 1) << check
        return word | (word.bit_count() & 1)

    def decode(self, word: int) -> int:
        """What is nearest among all codewords; 0 where several are."""
        places = [bit for bit in range(16) if word >> bit & 1]
        number = int(np.bitwise_xor.reduce(places, initial=0))
        if len(places) % 2:
            word ^= 1 << number
        elif number:
            return 0
        return sum((word >> bit & 1) << place for place, bit in enumerate(self.data))


class BchWords:
    """32 bits: bits 1 to 31 are a multiple of the generator, data above; bit 0 is the parity of all."""

    width = 32

    def __init__(self) -> None:
        self.errors = {self._left(0): 0}
        for count in (1, 2):
            for bits in combinations(range(32), count):
                word = sum(1 << bit for bit in bits)
                self.errors[self._left(word)] = word

    @staticmethod
    def _left(word: int) -> int:
        """The remainder of the polynomial, and the parity."""
        polynomial = word >> 1
        while polynomial.bit_length() > 10:
            polynomial ^= 0b11101101001 << (polynomial.bit_length() - 11)
        return polynomial << 1 | word.bit_count() & 1

    def encode(self, data: int) -> int:
        word = data << 11
        return word | self._left(word) & ~1 | (word | self._left(word) & ~1).bit_count() & 1

    def decode(self, word: int) -> int:
        error = self.errors.get(self._left(word))
        return 0 if error is None else (word ^ error) >> 11


@pytest.mark.parametrize("storage", ["float32_bch", "float16_hamming", "bfloat16_hamming"])
def test_a_float_beside_a_code_is_read_as_a_second_implementation_reads_it(storage: str) -> None:
    # float16 values, so that no format rounds twice.
    x = torch.randn(3000, generator=torch.Generator().manual_seed(6)).half().float()
    name = storage.split("_")[0]
    code = BchWords() if name == "float32" else HammingWords()
    data, cut = _rounded(x, name)
    words = np.array([code.encode(number) for number in data], np.uint32 if code.width == 32 else np.uint16)
    dtype = torch.float16 if name == "float16" else torch.float32
    for errors in MODELS:
        read = eden.corrupt(x, errors, seed=5, address=64, access=3, storage=storage)
        cells = _through(words.view(np.uint8), errors, 5, 64).view(words.dtype)
        found = np.array([code.decode(int(word)) << cut for word in cells], np.uint64)
        bits = found.astype(np.uint16 if dtype == torch.float16 else np.uint32).view(np.uint8)
        assert same(read, torch.from_numpy(bits.copy()).view(dtype).float()), errors


@pytest.mark.parametrize("storage", ["int8_sign_magnitude_secded", TRIPLED, HAMMING[0], "float32_secded"])
def test_flips_in_the_cells_grow_with_the_rate(storage: str) -> None:
    x = torch.randn(30_000, generator=torch.Generator().manual_seed(4)) * 0.1
    model = nn.Linear(300, 100, bias=False)
    with torch.no_grad():
        model.weight.copy_(x.view(100, 300))
    eden.inject_(model, eden.Faults(weights=eden.Uniform(ber=1e-3), storage=storage))
    flips = []
    for ber in (1e-3, 1e-2):
        eden.set_errors_(model, {"weight": eden.Uniform(ber=ber)})
        with counting(model) as account:
            model(torch.ones(1, 300))
        counts = account["weight"]
        assert counts.cells.shape == (8, 2)
        assert int(counts.cells.sum()) == quantization.stored_bits(storage, 30_000)
        flips.append(int(counts.realized.sum()))
        # A binomial count; six standard deviations, 2e-9 a side.
        assert abs(flips[-1] - ber * int(counts.cells.sum())) < 6 * (ber * int(counts.cells.sum())) ** 0.5
    assert flips[1] > flips[0]


@pytest.mark.parametrize(
    "storage",
    ["int8_sign_magnitude_secded", TRIPLED, HAMMING[0], "float32_secded", "bfloat16_cep", "float32_bch"],
)
def test_a_network_is_whole(storage: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(64, 3, 8, 8), torch.randint(0, 4, (64,)))
    loader = DataLoader(data, batch_size=16)
    net = nn.Sequential(nn.Conv2d(3, 9, 3), nn.ReLU(), nn.Flatten(), nn.Linear(9 * 36, 4))
    errors = eden.Uniform(ber=2e-3)
    eden.inject_(net, eden.Faults(weights=errors, inputs=errors, storage=storage, correction="clamp"))
    eden.calibrate_(net, loader)
    inputs = data.tensors[0][:16]
    with torch.no_grad():
        before = net.eval()(inputs)
    sizes = {row.name: row.bytes for row in eden.coverage(net).faulty}
    assert sizes["0.weight"] == quantization.stored_bytes(storage, 243)
    assert eden.traffic(net, "eyeriss", inputs=inputs[:1]).operands["0.weight"].bytes == sizes["0.weight"]

    eden.save(net, tmp_path / "net.safetensors")
    fresh = nn.Sequential(nn.Conv2d(3, 9, 3), nn.ReLU(), nn.Flatten(), nn.Linear(9 * 36, 4))
    eden.load_(fresh, tmp_path / "net.safetensors")
    for other in (fresh.eval(), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        with torch.no_grad():
            assert torch.equal(other(inputs), before)

    net.train()
    loss = nn.functional.cross_entropy(net(inputs), data.tensors[1][:16])
    loss.backward()
    assert float(net[0].weight.grad.abs().sum()) > 0

    eden.remove_(net)
    assert type(net[0]) is nn.Conv2d


def test_what_a_code_of_several_words_cannot_hold_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="int8_secded"):
        eden.corrupt(torch.zeros(8, dtype=torch.int8), eden.Uniform(ber=0.1), storage="int8_secded")
    faults = {"weights": eden.Uniform(ber=0.01), "storage": TRIPLED}
    with pytest.raises(ValueError, match=r"int8_sign_tripled"):
        eden.inject_(nn.Linear(8, 8), eden.Faults(**faults, planes=["7", "6:0"]))
    table = nn.Embedding(100, 16, sparse=True)
    eden.inject_(table, eden.Faults(weights=eden.Uniform(ber=0.01), storage=TRIPLED))
    with pytest.raises(ValueError, match=r"weight.*sparse"):
        table(torch.tensor([1, 2]))


@pytest.mark.parametrize("storage", ["int8_secded", "float32_secded", TRIPLED, HAMMING[0]])
def test_rows_of_a_table_are_read_as_the_whole_table_is(storage: str) -> None:
    torch.manual_seed(0)
    table = nn.Embedding(40_000, 24)
    eden.inject_(table, eden.Faults(weights=eden.Uniform(ber=0.01), storage=storage))
    with torch.no_grad():
        all_rows = table(torch.arange(40_000))
    with torch.no_grad():
        assert torch.equal(table(torch.tensor([7, 39_999])), all_rows[[7, 39_999]])
