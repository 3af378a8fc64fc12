"""What the compiler made of the CUDA kernels, and the share of a GPU's bandwidth that it lets one expect.

It reads the machine code in a library of CUDA operators, so it needs neither a GPU nor a tool of CUDA's: registers,
stack, shared memory and occupancy of each kernel for each architecture, and how wide its loads and stores are. The
share expected weighs the bytes that an element moves against the instructions that it takes. Status 1 where a limit is
not held.
"""

from __future__ import annotations

import math
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MOST_REGISTERS = 64
MOST_SHARED_BYTES = 28 * 1024
LEAST_OCCUPANCY = 0.5

THREADS = 256
"""Of a block (csrc/ops/cuda/find.cuh)."""

_CUDA = 190  # machine of an ELF file
_REGISTERS, _FRAME = 0x2F, 0x11  # attributes of .nv.info
_GLOBAL, _SHARED = {0x981: "loads", 0x986: "stores"}, {0x984: "shared loads"}  # operations, in the low 12 bits
_LOCAL = (0x983, 0x387)  # loads and stores of a thread's stack
_BITS = {0: 8, 2: 16, 4: 32, 5: 64, 6: 128}  # by bits 73 to 75


_NARROW = {
    "range_kernel": ("stores",),
    "codes_kernel": ("loads", "stores"),
    "planes_kernel": ("loads", "stores"),
}
"""Of kernels that reduce what they read or pass no elements, by a part of their names."""


@dataclass(frozen=True)
class Chip:
    """A GPU by its data sheet."""

    name: str
    multiprocessors: int
    clock_hz: float
    bytes_per_second: float

    @property
    def instructions_per_second(self) -> float:
        """Of single threads: four schedulers of a multiprocessor each issue one for 32 threads in a cycle."""
        return self.multiprocessors * 4 * 32 * self.clock_hz


CHIPS = (
    Chip("A100 80 GB", 108, 1.41e9, 2.039e12),
    Chip("H100 SXM", 132, 1.83e9, 3.35e12),
    Chip("H200", 132, 1.83e9, 4.8e12),
)


@dataclass
class Kernel:
    """One kernel of one architecture."""

    name: str
    architecture: int
    registers: int = 0
    stack_bytes: int = 0
    shared_bytes: int = 0
    instructions: int = 0
    accesses: Counter[tuple[str, int]] = field(default_factory=Counter)
    stack_accesses: int = 0

    @property
    def occupancy(self) -> float:
        """The share of a multiprocessor's 64 warps that its registers and shared memory let it hold."""
        warps = THREADS // 32
        by_registers = 65536 // (math.ceil(self.registers * 32 / 256) * 256) // warps
        room = {80: 164, 90: 228}[self.architecture] * 1024
        by_shared = room // (self.shared_bytes + 1024)
        return min(by_registers, by_shared, 64 // warps) * warps / 64

    @property
    def narrow(self) -> tuple[str, ...]:
        """What it does not do for every element, and so need not do 128 bits at a time."""
        return next((kinds for name, kinds in _NARROW.items() if name in self.name), ())

    def faults(self) -> list[str]:
        """The limits that it does not hold."""
        found = []
        if self.registers > MOST_REGISTERS:
            found.append(f"{self.registers} registers; allowed are {MOST_REGISTERS}")
        if self.stack_accesses:
            found.append(f"{self.stack_accesses} loads and stores of a thread's stack; allowed are none")
        if self.shared_bytes > MOST_SHARED_BYTES:
            found.append(f"{self.shared_bytes} bytes of shared memory; allowed are {MOST_SHARED_BYTES}")
        if self.occupancy < LEAST_OCCUPANCY:
            found.append(f"an occupancy of {self.occupancy:.0%}; allowed is {LEAST_OCCUPANCY:.0%} or more")
        for kind in ("loads", "stores"):
            if kind not in self.narrow and not self.accesses[kind, 128]:
                found.append(f"no {kind} of 128 bits")
        return found


def kernels(library: Path) -> list[Kernel]:
    """The kernels in a library of CUDA operators, or in a file of machine code.

    Raises:
        ValueError: where there are none, as in a library whose machine code is compressed.
    """
    data = library.read_bytes()
    found = []
    at = data.find(b"\x7fELF")
    while at >= 0:
        if struct.unpack_from("<H", data, at + 0x12)[0] == _CUDA:
            found += list(_kernels(memoryview(data)[at:]))
        at = data.find(b"\x7fELF", at + 1)
    if not found:
        raise ValueError(f"{library}: holds no machine code of CUDA that is not compressed")
    return found


def _kernels(image: memoryview) -> Iterator[Kernel]:
    """Those of one image, an ELF file."""
    (flags,) = struct.unpack_from("<I", image, 0x30)
    (offset,) = struct.unpack_from("<Q", image, 0x28)
    count, names_at = struct.unpack_from("<HH", image, 0x3C)
    headers = [struct.unpack_from("<IIQQQQIIQQ", image, offset + 64 * i) for i in range(count)]

    def text(start: int) -> str:
        return bytes(image[start : start + 4096]).split(b"\0", 1)[0].decode()

    sections = {text(headers[names_at][4] + header[0]): header for header in headers}
    symbols, strings = sections[".symtab"][4], sections[".strtab"][4]

    def symbol(index: int) -> str:
        return text(strings + struct.unpack_from("<I", image, symbols + 24 * index)[0])

    numbers: dict[tuple[int, str], int] = {}
    at, end = sections[".nv.info"][4], sum(sections[".nv.info"][4:6])
    while at < end:
        form, attribute, size = struct.unpack_from("<BBH", image, at)
        at += 4
        if form == 4:
            if attribute in (_REGISTERS, _FRAME):
                which, number = struct.unpack_from("<II", image, at)
                numbers[attribute, symbol(which)] = number
            at += size
    frames = max((n for (attribute, _), n in numbers.items() if attribute == _FRAME), default=0)
    for (attribute, name), registers in numbers.items():
        if attribute != _REGISTERS:
            continue
        code = sections[f".text.{name}"]
        shared = sections.get(f".nv.shared.{name}")
        # From version 8 of its files on, one byte further up.
        architecture = flags >> 8 & 0xFF if image[8] >= 8 else flags & 0xFF
        kernel = Kernel(name, architecture, registers, frames)
        kernel.shared_bytes = shared[5] if shared else 0
        kernel.instructions = code[5] // 16
        for low, high in struct.iter_unpack("<QQ", image[code[4] : code[4] + code[5]]):
            operation = low & 0xFFF
            kernel.stack_accesses += operation in _LOCAL
            kind = _GLOBAL.get(operation) or _SHARED.get(operation)
            if kind:
                kernel.accesses[kind, _BITS.get(high >> 9 & 7, 0)] += 1
        yield kernel


# -- what one may expect -----------------------------------------------------------------------------------------------

RATES = (1e-6, 1e-4, 1e-3, 1e-2, 5e-2)
FORMS = {"float32": (4, 32), "bfloat16": (2, 16), "int8": (1, 8), "int8 of float32": (4, 8)}
"""Bytes of a value, and bits of its stored word."""

_TILE_CELLS = 1 << 17  # of one mask, as uniform errors have it
_MARK_LANES, _MARKS = 4, 8  # threads that draw a block's marks, and marks in it on average
_DRAW = 80  # instructions of ten rounds of Philox: four halves of products, and additions and exclusive ors
_JUDGED = 40  # of a mark's place, its comparison and its bit
_VECTOR, _BIT = 60, 3  # of 16 bytes: addresses, loads and stores; of a word of a mask or a value
_CONVERTED = 40  # of a value that is quantized and comes back: a division, roundings, comparisons


def instructions(rate: float, value_bytes: int, width: int) -> float:
    """Instructions of an element under uniform errors, reckoned from the steps of find.cuh and pass.cuh."""
    mark = -math.log1p(-rate)
    deepest = 29
    first = min(deepest, max(4, math.floor(-math.log2(mark))))
    blocks = sum(_TILE_CELLS / 2 ** (min(level + 1, deepest) + 3) + 1 for level in range(first, deepest + 1))
    cells = blocks * (_MARK_LANES * _DRAW + _MARKS * _JUDGED) / _TILE_CELLS
    if mark > 2**-4:
        cells += 2 * _DRAW / 32
    vector = 16 / value_bytes
    words = vector * (value_bytes * 8 + 2 * width) / 32
    converted = 0 if width == value_bytes * 8 else _CONVERTED
    return width * cells + (_VECTOR + _BIT * words) / vector + converted


def expected(chip: Chip, rate: float, value_bytes: int, width: int) -> float:
    """The share of the bandwidth that loads, stores and instructions let one expect, if they overlap."""
    moved = 2 * value_bytes / chip.bytes_per_second
    return min(1.0, moved / (instructions(rate, value_bytes, width) / chip.instructions_per_second))


def main() -> int:
    """Print both tables; 1 where a limit is not held, or the library is not there."""
    default = Path(__file__).parent.parent / "eden" / "_ops_cuda.so"
    library = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    if not library.exists():
        print(f"{library} is not there: it is built where nvcc is (make build)", file=sys.stderr)
        return 1
    faults = []
    print(
        "arch  registers  stack  accesses to it  shared  occupancy  instructions  128-bit loads, stores, of masks  name"
    )
    for kernel in kernels(library):
        widths = [kernel.accesses[kind, 128] for kind in ("loads", "stores", "shared loads")]
        print(
            f"sm_{kernel.architecture}  {kernel.registers:8}  {kernel.stack_bytes:5}  {kernel.stack_accesses:14}  "
            f"{kernel.shared_bytes:6}  "
            f"{kernel.occupancy:8.0%}  {kernel.instructions:12}  {', '.join(map(str, widths)):30}  {kernel.name}"
        )
        faults += [f"sm_{kernel.architecture}: {fault}" for fault in kernel.faults()]
    print("\nexpected share of the bandwidth, by reckoned instructions of an element; nothing here was measured")
    for form, (value_bytes, width) in FORMS.items():
        for rate in RATES:
            shares = "  ".join(f"{chip.name} {expected(chip, rate, value_bytes, width):4.0%}" for chip in CHIPS)
            count = instructions(rate, value_bytes, width)
            print(f"{form:16} {rate:7.0e}  {2 * value_bytes} bytes  {count:6.1f} instructions  {shares}")
    print("\n".join(faults))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
