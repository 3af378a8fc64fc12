"""A second implementation of what the operator computes, from its mathematics: slow, in numpy and Python's integers.

It shares no code and no numbers with csrc: probabilities become thresholds in decimal arithmetic of 60 digits, the
Poisson table is summed up here, all bits of a random number are drawn whether they decide something or not, and each
cell is judged for itself.
"""

import decimal
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Cells = npt.NDArray[np.uint64]

LAYOUT_VERSION = 2
"""Of the random numbers, as csrc/base/random_layout.h counts them."""

SHALLOWEST, DEEPEST = 4, 29  # octaves of marks drawn sparsely: level l holds [2^-(l+1), 2^-l), the deepest all below
MARKS_IN_BLOCK = 8  # on average
SPARSE_MARK, MARK_TAIL, DENSE, FAILURE = 1, 2, 3, 4  # streams
GROUP = 32  # cells whose binary digits are one word
WORD = 2**32
ALWAYS = 2**64 - 1
NO_MARK = np.uint64(2**63)

_context = decimal.Context(prec=60)


def _u64(number: int) -> np.uint64:
    return np.uint64(number % 2**64)


# -- random numbers ----------------------------------------------------------------------------------------------------


def philox(counter: npt.NDArray[np.uint64], key: int) -> npt.NDArray[np.uint64]:
    """Philox4x32-10 of counters of shape (n, 4), one 32-bit number to an element."""
    low = np.uint64(WORD - 1)
    c0, c1, c2, c3 = (counter[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = key % WORD, (key >> 32) % WORD
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (
            (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0),
            p1 & low,
            (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1),
            p0 & low,
        )
        k0, k1 = (k0 + 0x9E3779B9) % WORD, (k1 + 0xBB67AE85) % WORD
    return np.stack([c0, c1, c2, c3], axis=1)


def draw(chip: int, stream: int, detail: int, index: Cells, sub_index: Any) -> npt.NDArray[np.uint64]:
    """Four 32-bit numbers for each index: shape (n, 4)."""
    counter = np.empty((len(index), 4), dtype=np.uint64)
    counter[:, 0] = index & np.uint64(WORD - 1)
    counter[:, 1] = index >> np.uint64(32)
    counter[:, 2] = sub_index
    counter[:, 3] = stream * 2**28 + detail
    return philox(counter, chip % 2**64)


@lru_cache(maxsize=1)
def poisson_table() -> npt.NDArray[np.uint64]:
    """floor(2^64 P(N <= k)) for N Poisson of mean 8, up to where it is all but 2^64."""
    with decimal.localcontext(_context):
        term = total = Decimal(-MARKS_IN_BLOCK).exp()
        table = []
        for k in range(48):
            table.append(min(int(total * 2**64), ALWAYS))
            term = term * MARKS_IN_BLOCK / (k + 1)
            total += term
    return np.array(table, dtype=np.uint64)


# -- thresholds --------------------------------------------------------------------------------------------------------


class Threshold(NamedTuple):
    """Of one probability of being weak."""

    sparse: int  # the codes of a cell's marks below it make it weak
    dense: int  # and so does its 64-bit number below this; ALWAYS for every number


def threshold(ber: float, failure: float) -> Threshold:
    """Of a cell that is weak with probability ber / failure."""
    weak = min(1.0, ber / failure)
    top = (DEEPEST - SHALLOWEST + 1) * WORD
    if weak == 1.0:
        return Threshold(top, ALWAYS)
    with decimal.localcontext(_context):
        v = -(1 - Decimal(weak)).ln() if weak > 0 else Decimal(0)
        if v > Decimal(2) ** -SHALLOWEST:
            return Threshold(top, int((1 - (1 - Decimal(weak)) * (Decimal(2) ** -SHALLOWEST).exp()) * 2**64))
        if v < Decimal(2) ** -DEEPEST:
            return Threshold(int((v * 2 ** (DEEPEST + 32)).to_integral_value(decimal.ROUND_HALF_UP)), 0)
        level = next(level for level in range(DEEPEST) if v >= Decimal(2) ** -(level + 1))
        position = (v * 2 ** (level + 1) - 1) * WORD
        return Threshold((DEEPEST - level) * WORD + int(position.to_integral_value(decimal.ROUND_HALF_UP)), 0)


def fraction(probability: float) -> int:
    """A probability as a 64-bit number."""
    return ALWAYS if probability >= 1.0 else int(Fraction(probability) * 2**64)


# -- cells -------------------------------------------------------------------------------------------------------------


def block_bits(level: int) -> int:
    """A block of a level has this power of two of cells, so that 8 marks lie in it on average."""
    # A level's octave has the length 2^-(l+1), the deepest all that is left, 2^-l.
    return min(level + 1, DEEPEST) + 3


def marks(chip: int, level: int, blocks: Cells) -> tuple[Cells, Cells]:
    """Cells and codes of all marks in blocks of a level, in no particular order."""
    bits = block_bits(level)
    head = draw(chip, SPARSE_MARK, level, blocks, 0)
    counts = np.searchsorted(poisson_table()[:-1], head[:, 0] | (head[:, 1] << np.uint64(32)), side="right")
    # The first draw has two marks, each further one four.
    further = -(-max(0, int(counts.max()) - 2) // 4)
    rest = draw(chip, SPARSE_MARK, level, np.repeat(blocks, further), np.tile(np.arange(1, further + 1), len(blocks)))
    words = np.concatenate([head[:, 2:], rest.reshape(len(blocks), 4 * further)], axis=1)
    row, ordinal = np.nonzero(np.arange(words.shape[1]) < counts[:, None])
    block, word = blocks[row], words[row, ordinal]
    tail = draw(chip, MARK_TAIL, level, block, ordinal)[:, 0]
    position = ((word << np.uint64(bits)) & np.uint64(WORD - 1)) | (tail & np.uint64(2**bits - 1))
    cells = (block << np.uint64(bits)) + (word >> np.uint64(32 - bits))
    return cells, np.uint64((DEEPEST - level) * WORD) + position


def lowest_marks(chip: int, cells: Cells) -> Cells:
    """Code of each cell's lowest mark among those drawn sparsely, NO_MARK if it has none; cells ascend."""
    lowest = np.full(len(cells), NO_MARK)
    for level in range(SHALLOWEST, DEEPEST + 1):
        marked, codes = marks(chip, level, np.unique(cells >> np.uint64(block_bits(level))))
        place = np.minimum(np.searchsorted(cells, marked), len(cells) - 1)
        ours = cells[place] == marked
        np.minimum.at(lowest, place[ours], codes[ours])
    return lowest


def _numbers(digits: Any, cells: Cells) -> Cells:
    """64-bit numbers of cells from their binary digits: digits(groups, i) gives digits 4i to 4i + 3 of the groups."""
    groups, group = np.unique(cells // np.uint64(GROUP), return_inverse=True)
    numbers = np.zeros(len(cells), dtype=np.uint64)
    for which in range(16):
        for words in digits(groups, which).T:
            numbers = (numbers << np.uint64(1)) | ((words[group] >> (cells % np.uint64(GROUP))) & np.uint64(1))
    return numbers


def dense_numbers(chip: int, cells: Cells) -> Cells:
    """The number of each cell that decides on the dense part."""
    return _numbers(lambda groups, which: draw(chip, DENSE, 0, groups, which), cells)


def failure_numbers(chip: int, cells: Cells, access: int) -> Cells:
    """The number of each cell that decides whether it fails at an access."""
    high = (access >> 32) % 2**24
    return _numbers(lambda groups, which: draw(chip, FAILURE, which * 2**24 + high, groups, access % WORD), cells)


def below(numbers: Cells, limit: int) -> npt.NDArray[np.bool_]:
    """Which numbers are below a fraction."""
    return np.full(len(numbers), True) if limit == ALWAYS else numbers < _u64(limit)


def failing(chip: int, cells: Cells, rates: tuple[float, float], failure: float, access: int) -> npt.NDArray[np.bool_]:
    """Whether each cell's read is inverted if it stores 0, and if it stores 1: shape (2, n); cells ascend.

    Args:
        chip: seed of the chip.
        cells: addresses.
        rates: bit error rates of cells that store 0 and 1.
        failure: probability that a weak cell's read is inverted.
        access: number of the read.
    """
    limits = [threshold(ber, failure) for ber in rates]
    lowest = lowest_marks(chip, cells)
    weak = np.stack([lowest < _u64(limit.sparse) for limit in limits])
    if any(limit.dense for limit in limits):
        dense = dense_numbers(chip, cells)
        weak |= np.stack([below(dense, limit.dense) for limit in limits])
    return weak if failure == 1.0 else weak & below(failure_numbers(chip, cells, access), fraction(failure))


def read(
    words: npt.NDArray[Any],
    width: int,
    chip: int,
    address: int,
    access: int,
    rates: tuple[float, float],
    failure: float,
) -> npt.NDArray[Any]:
    """Words of shape (samples, elements), all of them at the same address, as they are read.

    Args:
        words: unsigned integers, the lowest ``width`` bits of which are stored, least significant first.
        width: bits of an element.
        chip: seed of the chip.
        address: first bit of a sample.
        access: number of the read.
        rates: bit error rates of cells that store 0 and 1.
        failure: probability that a weak cell's read is inverted.
    """
    if words.size == 0:
        return words.copy()
    cells = np.uint64(address) + np.arange(words.shape[1] * width, dtype=np.uint64)
    flips = failing(chip, cells, rates, failure, access).reshape(2, words.shape[1], width)
    result = words.astype(np.uint64)
    for bit in range(width):
        stored = (words.astype(np.uint64) >> np.uint64(bit)) & np.uint64(1)
        flip = np.where(stored == 1, flips[1, :, bit], flips[0, :, bit])
        result ^= flip.astype(np.uint64) << np.uint64(bit)
    return result.astype(words.dtype)


# -- quantization and correction ---------------------------------------------------------------------------------------


class Codes(NamedTuple):
    """A quantized storage: its width, and the codes that values take.

    Signed ones are in two's complement, unless they are a magnitude below a highest bit that is the sign.
    """

    bits: int
    lowest: int
    largest: int
    has_sign_bit: bool = False


CODES = {
    "int16": Codes(16, -32767, 32767),
    "int8": Codes(8, -127, 127),
    "uint8": Codes(8, 0, 255),
    "int4": Codes(4, -7, 7),
    "int16_sign_magnitude": Codes(16, -32767, 32767, True),
    "int8_sign_magnitude": Codes(8, -127, 127, True),
    "int4_sign_magnitude": Codes(4, -7, 7, True),
}


def encode(values: npt.NDArray[np.float32], scale: np.float32, codes: Codes) -> npt.NDArray[np.uint64]:
    """Codes of values, as words: round half to even, clipped, NaN to 0."""
    with np.errstate(all="ignore"):
        ratio = np.clip(values / scale, np.float32(codes.lowest), np.float32(codes.largest))
    rounded = np.where(np.isnan(ratio), 0.0, np.rint(ratio)).astype(np.int64)
    if codes.has_sign_bit:
        return (np.abs(rounded) + np.where(rounded < 0, 2 ** (codes.bits - 1), 0)).astype(np.uint64)
    return rounded.astype(np.uint64) & np.uint64(2**codes.bits - 1)


def decode(words: npt.NDArray[np.uint64], scale: np.float32, codes: Codes) -> npt.NDArray[np.float32]:
    """Values of the codes in words."""
    numbers = words.astype(np.int64)
    if codes.has_sign_bit:
        magnitudes = numbers % 2 ** (codes.bits - 1)
        numbers = np.where(numbers >> (codes.bits - 1) == 1, -magnitudes, magnitudes)
    elif codes.lowest < 0:
        numbers -= (numbers >> (codes.bits - 1)) << codes.bits
    return numbers.astype(np.float32) * scale


def correct(
    values: npt.NDArray[np.float32], correction: str, low: np.float32, high: np.float32
) -> npt.NDArray[np.float32]:
    """Values outside [low, high] and NaN replaced: by 0, or by the nearer end ("clamp"; NaN by 0)."""
    if correction == "none":
        return values
    with np.errstate(invalid="ignore"):
        outside = ~((values >= low) & (values <= high))
        nearer = np.where(np.isnan(values), np.float32(0), np.where(values < low, low, high))
    result: npt.NDArray[np.float32] = np.where(
        outside, nearer if correction == "clamp" else np.float32(0), values
    ).astype(np.float32)
    # Kept by their bits, so that a value that is left alone keeps them.
    return result
