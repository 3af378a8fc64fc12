"""How fast are measurement files read and counted, beside `wc -l`, and how much memory do 10 GB take?

    python benchmarks/measurements.py [--megabytes 256] [--rounds 5] [--gigabytes 10]

Files are made up, with cells that fail anywhere. Both programs read from the page cache, in turns; a ratio is the
median over the rounds of the reader's time by that of `wc -l`, with the smallest and the largest. The last table gives
the reader a pipe with `--gigabytes` of flips of ever other conditions and prints its peak resident memory.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from eden.measurements.campaign import Condition
from eden.measurements.readers import read
from eden.measurements.tested import Tested

Make = Callable[[np.random.Generator, int, int], bytes]
GEOMETRY: dict[str, Any] = {"tested": Tested(banks=16, rows=2**15, row_bits=2**16)}


def _fields(random: np.random.Generator, lines: int) -> Iterator[tuple[int, int, int]]:
    """Banks, rows and bits of cells, in the order of the cells, as a tool that reads rows in turn prints them."""
    cells = np.unique(random.integers(0, 2**4 * 2**15 * 2**16, lines))
    return zip((cells >> 31).tolist(), (cells >> 16 & 0x7FFF).tolist(), (cells & 0xFFFF).tolist(), strict=True)


def hbm(random: np.random.Generator, block: int, lines: int) -> bytes:
    time_in_ms = 1000 + block
    text = (
        f"{c},{p},{b},{r},{bit >> 11},{bit & 255},{time_in_ms},255\n" for c, p, b, r, bit in _hbm_fields(random, lines)
    )
    return "".join(text).encode()


def _hbm_fields(random: np.random.Generator, lines: int) -> Iterator[tuple[int, int, int, int, int]]:
    for bank, row, bit in _fields(random, lines):
        yield bank >> 1 & 7, bank & 1, row & 15, row >> 1, bit


def flips(random: np.random.Generator, block: int, lines: int) -> bytes:
    return "".join(f"1.35,{block + 1},50,0xff,{b},{r},{bit},0\n" for b, r, bit in _fields(random, lines)).encode()


def counts(random: np.random.Generator, block: int, lines: int) -> bytes:
    errors = random.integers(0, 2**20, lines // 16).tolist()
    text = (
        f"1.35,7.5,12.5,50,0xff,{i % 16},{block * (lines // 256 + 1) + i // 16},{n},1073741824\n"
        for i, n in enumerate(errors)
    )
    return "".join(text).encode()


def softmc(random: np.random.Generator, block: int, lines: int) -> bytes:
    del block
    text = (
        f"Error at Col: {bit >> 6 & 1016}, Row: {r}, Bank: {b}, DATA: fe \n" for b, r, bit in _fields(random, lines)
    )
    return "".join(text).encode()


def rowhammer(random: np.random.Generator, block: int, lines: int) -> bytes:
    rows: dict[int, list[int]] = {}
    for _, row, bit in _fields(random, lines):
        rows.setdefault(row, []).append(bit)
    entries = []
    for row, bits in rows.items():
        columns: dict[int, list[int]] = {}
        for bit in bits:
            columns.setdefault(bit // 512 * 8, []).append(bit % 512)
        listed = ",\n".join(
            f'                        "{column}": [\n'
            + ",\n".join(f"                            {bit}" for bit in of_column)
            + "\n                        ]"
            for column, of_column in columns.items()
        )
        entries.append(
            f'                "{row}": {{\n                    "bank": 0,\n                    "row": {row},\n'
            f'                    "col": {{\n{listed}\n                    }},\n'
            f'                    "bitflips": {len(bits)}\n                }}'
        )
    text = ",\n".join(entries)
    comma = "," if block else ""
    return f'{comma}        "pair_{block}_{block}": {{"errors_in_rows": {{\n{text}\n}}}}\n'.encode()


def bitmap(ber: float) -> Make:
    def make(random: np.random.Generator, block: int, lines: int) -> bytes:
        del block, lines
        bits = 2**27
        data = np.zeros(bits // 8, np.uint8)
        cells = random.integers(0, bits, int(bits * ber))
        np.bitwise_xor.at(data, cells >> 3, (1 << (cells & 7)).astype(np.uint8))
        return data.tobytes()

    return make


HBM_HEADER = b"channel,pseudo_channel,bank,row,column,bit,retention_time_in_ms,data_pattern\n"
# A log of rowhammer-tester adds a row's flips up over all banks.
ONE_BANK: dict[str, Any] = {"tested": Tested(banks=1, rows=2**15, row_bits=2**20)}
BITMAP: dict[str, Any] = {"tested": Tested(banks=1, rows=2**11, row_bits=2**16), "at": Condition(pattern="0xff")}
FILES: dict[str, tuple[str, bytes, Make, bytes, dict[str, Any]]] = {
    "dram-bender-hbm": ("dram-bender-hbm", HBM_HEADER, hbm, b"", {}),
    "flips": ("flips", b"vdd,trcd,temperature,pattern,bank,row,bit,repeat\n", flips, b"", GEOMETRY),
    "counts": ("counts", b"vdd,trcd,trp,temperature,pattern,bank,repeat,errors,cells\n", counts, b"", {}),
    "softmc": ("softmc", b"", softmc, b"", GEOMETRY),
    "rowhammer-tester": ("rowhammer-tester", b'{"40000": {\n', rowhammer, b"}}\n", ONE_BANK),
    "bitmap, BER 1e-6": ("dram-bender-retention", b"", bitmap(1e-6), b"", BITMAP),
    "bitmap, BER 1e-4": ("dram-bender-retention", b"", bitmap(1e-4), b"", BITMAP),
    "bitmap, BER 1e-2": ("dram-bender-retention", b"", bitmap(1e-2), b"", BITMAP),
}


def write(path: Path, what: str, megabytes: float, lines: int) -> None:
    """A file of at least a size, of blocks that repeat where that changes nothing for the reader."""
    _, header, block, footer, _ = FILES[what]
    made = 0
    # counts: more passes of a bank are more than one file may hold.
    most = 60 if what == "counts" else 10**6
    random = np.random.default_rng(1)
    with path.open("wb") as file:
        file.write(header)
        while file.tell() < megabytes * 2**20 and made < most:
            file.write(block(random, made, lines))
            made += 1
        file.write(footer)


def compare(what: str, megabytes: float, rounds: int, lines: int, folder: Path) -> str:
    """A line of the table: the ratio, and the reader's rate for those who want one."""
    path = folder / "file"
    write(path, what, megabytes, lines)
    format, _, _, _, arguments = FILES[what]
    ratios, seconds = [], []
    counted = 0
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(["wc", "-l", str(path)], check=True, stdout=subprocess.DEVNULL)
        middle = time.perf_counter()
        campaign = read(path, format=format, progress=False, **arguments)
        seconds.append(time.perf_counter() - middle)
        ratios.append(seconds[-1] / (middle - start))
        counted = campaign.statistics.flips if campaign.statistics else 0
    size = path.stat().st_size / 2**20
    path.unlink()
    rate = size / statistics.median(seconds)
    return (
        f"{what:20}{size:10.0f}{counted:12}{statistics.median(ratios):10.2f}{min(ratios):8.2f}{max(ratios):8.2f}"
        f"{rate:12.0f}"
    )


def memory(gigabytes: float, lines: int, folder: Path) -> str:
    """Peak resident memory of a process that reads a pipe."""
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    random = np.random.default_rng(2)
    blocks = [hbm(random, 0, lines) for _ in range(4)]

    def feed() -> None:
        written = block = 0
        with pipe.open("wb") as file:
            file.write(HBM_HEADER)
            while written < gigabytes * 2**30:
                # 64 blocks of one condition, then another one.
                data = blocks[block % 4].replace(b",1000,", b",%d," % (1000 + block // 64))
                file.write(data)
                written += len(data)
                block += 1

    script = (
        "import resource, sys, time; from eden.measurements.readers import read\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; start = time.perf_counter()\n"
        "campaign = read(sys.argv[1], format='dram-bender-hbm')\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(f'{peak / 2**10:.0f} MiB at most, {before / 2**10:.0f} MiB before it began; '\n"
        "      f'{campaign.statistics.flips} flips, {len(campaign.statistics.conditions)} conditions, '\n"
        "      f'{time.perf_counter() - start:.0f} s')\n"
        "print('\\n'.join(campaign.notes))\n"
    )
    writer = threading.Thread(target=feed)
    writer.start()
    try:
        result = subprocess.run([sys.executable, "-c", script, str(pipe)], check=True, capture_output=True, text=True)
    finally:
        writer.join()
    return result.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=256.0, help="size of each file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gigabytes", type=float, default=10.0, help="size of what the pipe gives; 0 leaves it out")
    parser.add_argument("--block", type=int, default=2**18, help="lines that are made at once")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("(a) time to read and count by time of wc -l")
        print(f"{'file':20}{'MiB':>10}{'flips':>12}{'ratio':>10}{'least':>8}{'most':>8}{'MiB/s':>12}")
        for what in FILES if arguments.megabytes > 0 else ():
            print(compare(what, arguments.megabytes, arguments.rounds, arguments.block, folder), flush=True)
        if arguments.gigabytes > 0:
            print(f"\n(b) memory for {arguments.gigabytes:g} GiB of flips from a pipe")
            print(memory(arguments.gigabytes, arguments.block, folder))


if __name__ == "__main__":
    main()
