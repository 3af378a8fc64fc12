"""Writes small files in the format of the latency-variation measurements, by hand or simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

CELLS = 2**30
HEADER = ["", *(f"Bank{b}" for b in range(8)), "DIMMBER", "Label", "Pattern", "Temperature", "VendorMask"]
HEADER += ["tRAS", "tRCD", "tRP", "Model"]


def line(
    counts: Sequence[float] | float,
    pattern: str = "0x0",
    trcd: float = 7.5,
    trp: float = 12.5,
    module: str = "m1",
    temperature: float = 20,
    **changes: str,
) -> dict[str, str]:
    """One reading from the counts of its banks (one number: the same in each)."""
    banks = [float(counts)] * 8 if isinstance(counts, (int, float)) else list(counts)
    rates = [f"{count / CELLS:.12g}" for count in banks]
    row = dict(zip(HEADER[1:9], rates, strict=True))
    row |= {"": "0", "DIMMBER": f"{sum(banks) / CELLS / 8:.12g}", "Label": module, "Pattern": pattern}
    row |= {"Temperature": f"{temperature:g}", "VendorMask": "A", "tRAS": "35.0"}
    return row | {"tRCD": f"{trcd}", "tRP": f"{trp}", "Model": "A-M0"} | changes


def write(path: Path, lines: Sequence[Mapping[str, str]], header: Sequence[str] = HEADER, end: str = "\n") -> Path:
    rows = [",".join(header), *(",".join(row[name] for name in header) for row in lines)]
    path.write_text("\n".join(rows) + end)
    return path


def simulate(
    random: np.random.Generator,
    rates: Mapping[float, tuple[float, float]],
    repeats: int,
    dispersion: float,
    latency: str = "trcd",
) -> list[dict[str, str]]:
    """Readings whose rate varies between them as the fit assumes: all banks of one share its rate."""
    lines = [line(0, pattern, trcd=12.5) for pattern in ("0x0", "0xff")]
    for at, pair in rates.items():
        for pattern, rate in zip(("0x0", "0xff"), pair, strict=True):
            for _ in range(repeats):
                total = 1 / (dispersion * rate * (1 - rate)) if rate > 0 else 0.0
                drawn = random.beta(rate * total, (1 - rate) * total) if rate > 0 else 0.0
                counts = [float(count) for count in random.binomial(CELLS, drawn, 8)]
                lines.append(line(counts, pattern, **{"trcd": 12.5, latency: at}))
    return lines
