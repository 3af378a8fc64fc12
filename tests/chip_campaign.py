"""Measures chips that ``eden.corrupt`` draws, and writes what the tools of a lab would have written of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from eden import Geometry, corrupt
from eden.memory.errors import ErrorModel

GEOMETRY = Geometry(row_bits=1024, subarray_rows=64, bank_rows=128, banks=4)
BANKS = (0, 1, 2)
"""The banks of GEOMETRY that are tested; the fourth is not."""


def read_pass(
    errors: ErrorModel, byte: int, seed: int, access: int, banks: Sequence[int] = BANKS, geometry: Geometry = GEOMETRY
) -> NDArray[np.bool_]:
    """Which cells of the banks a pass over a chip reads wrongly: bool of shape (banks, rows, bits of a row)."""
    shape = geometry.bank_rows, geometry.row_bits // 8
    found = []
    for bank in banks:
        stored = torch.full(shape, byte, dtype=torch.uint8)
        read = corrupt(stored, errors, seed=seed, address=geometry.address(bank=bank), access=access)
        found.append(np.unpackbits((stored ^ read).numpy(), axis=1, bitorder="little").astype(np.bool_))
    return np.stack(found)


def write_flips(
    path: Path,
    points: Mapping[tuple[tuple[str, float], ...], ErrorModel],
    seed: int,
    passes: int = 1,
    patterns: Sequence[int] = (0x00, 0xFF),
    banks: Sequence[int] = BANKS,
    geometry: Geometry = GEOMETRY,
) -> Path:
    """eden's CSV of flips of a campaign over one chip: operating points as ((field, value), ...) with their models."""
    fields = list(dict.fromkeys(name for point in points for name, _ in point))
    lines = [",".join([*fields, "pattern", "bank", "row", "bit", "repeat"])]
    access = 0
    for point, errors in points.items():
        values = dict(point)
        start = ",".join(str(values.get(name, "")) for name in fields)
        for byte in patterns:
            for repeat in range(passes):
                access += 1
                failed = read_pass(errors, byte, seed, access, banks, geometry)
                for bank, row, bit in zip(*np.nonzero(failed), strict=True):
                    lines.append(f"{start},0x{byte:02x},{banks[bank]},{row},{bit},{repeat}")
    path.write_text("\n".join(lines) + "\n")
    return path
