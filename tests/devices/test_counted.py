"""Is no device written whose rates lie below what was counted?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

import eden
from eden.common.files import FileError
from eden.devices.fitting import analyse
from eden.devices.likelihoods import MODEL_NAMES
from eden.memory.cell_map import CellMap
from eden.memory.lines_by_value import LinesByValue

ROWS, ROW_BITS = 64, 1024
TESTED = eden.Tested(banks=1, rows=ROWS, row_bits=ROW_BITS, subarray_rows=ROWS)
Rates = Callable[[int, np.random.Generator], "np.ndarray[tuple[int, int], np.dtype[np.float64]]"]


def campaign(folder: Path, rates: Rates, intervals: Iterable[int], seed: int, passes: int = 1) -> tuple[Path, dict]:
    """Flips of cells that fail at the rates (rows, bits) of a stored value, the file and the rates counted."""
    random = np.random.default_rng(seed)
    lines, counted = ["refresh_interval,temperature,pattern,bank,row,bit,repeat"], {}
    for at in intervals:
        for value, pattern in ((0, "0x00"), (1, "0xff")):
            probability = rates(value, random) * at / 64_000
            failed = [random.random((ROWS, ROW_BITS)) < probability for _ in range(passes)]
            counted[at, value] = float(np.mean(failed))
            for repeat, cells in enumerate(failed):
                lines += [f"{at},50,{pattern},0,{row},{bit},{repeat}" for row, bit in np.argwhere(cells)]
    path = folder / "a.csv"
    path.write_text("\n".join(lines) + "\n")
    return path, counted


def of_one_value_a_row(value: int, random: np.random.Generator) -> np.ndarray:
    """Half of the rows fail for ones alone, the others for zeros alone, as rows of true cells and of anti-cells do."""
    rows = np.arange(ROWS) // 2 % 2 == value
    return np.repeat((rows * random.gamma(8, 0.025, ROWS))[:, None], ROW_BITS, axis=1).clip(0, 1)


def of_columns_and_values(value: int, random: np.random.Generator) -> np.ndarray:
    """Bitlines that differ, and ones that fail a few times as often as zeros."""
    of_bits = np.random.default_rng(5).gamma(0.3, 1 / 0.3, ROW_BITS)
    return np.repeat(of_bits[None, :] * (0.004 if value else 0.0015), ROWS, axis=0).clip(0, 1)


@pytest.mark.parametrize("rates", [of_one_value_a_row, of_columns_and_values])
@pytest.mark.parametrize("seed", range(3))
def test_rates_are_not_below_those_counted(tmp_path: Path, rates: Rates, seed: int) -> None:
    path, counted = campaign(tmp_path, rates, (16_000, 64_000), seed)
    device = analyse(path, tested=TESTED).device
    for (at, value), rate in counted.items():
        point = next(point for point in device.whole.points if point.refresh_interval == at)
        found, (_, high) = (point.errors.ber_one, point.one) if value else (point.errors.ber_zero, point.zero)
        assert max(found, high) >= rate
        # Lines and stored value together: each value at its own rate, which was that of the worse one.
        assert rate * 0.9999 <= found <= rate * 1.3
    name, marks = ("wordline_by_value", "opposite") if rates is of_one_value_a_row else ("bitline_by_value", "alike")
    assert device.model == name
    assert any(note.startswith(f"chose {MODEL_NAMES[name]}") for note in device.notes)
    errors = device.errors(refresh_interval=64_000)
    assert isinstance(errors, LinesByValue)
    assert errors.marks == marks
    # Chips have rows, or columns, as the measured one has: the spread of their shares of flips.
    x = torch.zeros(ROWS * ROW_BITS // 8, dtype=torch.int8)
    shares = []
    for stored in (0, -1):
        read = eden.corrupt(torch.full_like(x, stored), errors, seed=seed).numpy().view(np.uint8)
        cells = np.unpackbits(read ^ (stored & 0xFF), bitorder="little").reshape(ROWS, ROW_BITS)
        shares.append(cells.mean(axis=1 if rates is of_one_value_a_row else 0))
    assert (np.corrcoef(*shares)[0, 1] > 0) == (marks == "alike")


def test_the_failure_probability_hides_no_errors(tmp_path: Path) -> None:
    """At one point weak cells always fail, at the other half of the time: one F of both would halve the first rate."""
    weak = np.random.default_rng(3).random((ROWS, ROW_BITS))

    def rates(value: int, random: np.random.Generator) -> np.ndarray:
        return (weak < 0.02) * 1.0

    path, counted = campaign(tmp_path, rates, (32_000, 64_000), 4, passes=4)
    device = eden.fit(path, tested=TESTED)
    for (at, _), rate in counted.items():
        errors = device.errors(refresh_interval=at)
        assert min(errors.ber_zero, errors.ber_one) >= rate
    chip = eden.fit(path, tested=TESTED, cell_map=True)
    for (at, _), rate in counted.items():
        errors = chip.errors(refresh_interval=at)
        assert isinstance(errors, CellMap)
        assert min(errors.ber_zero, errors.ber_one) >= rate * 0.99


def test_a_map_of_cells_that_never_stored_a_value_is_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    lines = [f"64000,50,0xaa,0,{row},{bit}" for row, bit in np.argwhere(random.random((ROWS, ROW_BITS)) < 0.02)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["refresh_interval,temperature,pattern,bank,row,bit", *lines]) + "\n")
    assert eden.fit(path, tested=TESTED).errors(refresh_interval=64_000).ber_one == pytest.approx(0.02, rel=0.1)
    with pytest.raises(ValueError, match=r"cell_map gives stored zeros the rate .* cells that never stored the value"):
        eden.fit(path, tested=TESTED, cell_map=True)


def test_one_rate_of_counts_is_not_below_the_interval_of_a_value(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = ["trcd,temperature,stored,bank,repeat,errors,cells"]
    # At 7.5 ns ones fail 3 times as often, at all others both alike: in sum one rate describes them.
    for trcd, zeros, ones in ((10, 100, 100), (7.5, 100, 300), (6, 400, 400), (5, 900, 900), (4, 2000, 2000)):
        for value, errors in ((0, zeros), (1, ones)):
            lines += [f"{trcd},50,{value},0,{repeat},{errors + repeat},33554432" for repeat in range(3)]
    path.write_text("\n".join(lines) + "\n")
    device = eden.fit(path, nominal=eden.Condition(trcd=12.5))
    assert device.errors(trcd=7.5).ber_one >= 300 / 33554432


def test_errors_by_hammering_are_no_operating_point(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = "hammer_count,refresh_interval,temperature,stored,bank,errors,cells\n{},256,50,0,0,40,33554432\n"
    path.write_text(lines.format("50000"))
    with pytest.raises(ValueError, match=r"hammer_count is 50000 in a.csv: RowHammer is no operating point"):
        eden.fit(path)
    path.write_text(lines.format("0") + "0,256,50,1,0,41,33554432\n")
    assert eden.fit(path).errors(refresh_interval=256).ber == pytest.approx(41 / 33554432, rel=1e-3)


def test_one_stored_value_makes_a_device(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = [
        f"{at},50,1,0,{repeat},{errors + repeat},33554432"
        for at, errors in ((128, 20), (256, 400))
        for repeat in range(3)
    ]
    path.write_text("\n".join(["refresh_interval,temperature,stored,bank,repeat,errors,cells", *lines]) + "\n")
    device = eden.fit(path)
    for at, errors in ((128, 21), (256, 401)):
        point = next(point for point in device.whole.points if point.refresh_interval == at)
        assert point.errors.ber_one == pytest.approx(errors / 33554432, rel=1e-3)
        assert point.zero == (0.0, 1.0)
        assert point.one[1] < 1e-4
    assert any(text.startswith("stored zeros were not measured") for text in device.assumptions)
    path.write_text(path.read_text().replace(",20,", ",2000000,"))
    with pytest.raises(FileError, match=r"no measured operating point can be offered; .* mix two regimes"):
        eden.fit(path)


def test_flips_of_which_no_point_has_both_values_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    flips = [
        f"{at},50,{pattern},0,{row},{3 * row}" for at, pattern in ((64, "0x00"), (128, "0xff")) for row in range(9)
    ]
    path.write_text("\n".join(["refresh_interval,temperature,pattern,bank,row,bit", *flips]) + "\n")
    nominal = eden.Condition(refresh_interval=32)
    with pytest.raises(
        FileError, match=r"no measured operating point can be offered; .* stored ones were not measured"
    ):
        eden.fit(path, tested=TESTED, nominal=nominal)
    assert eden.fit(path, tested=dataclasses.replace(TESTED, grid=True), nominal=nominal).whole.points[1:]


@pytest.mark.parametrize("pattern", ["FF", "checkerboard"])
@pytest.mark.parametrize("of_cells", [False, True])
def test_cells_that_stored_nobody_knows_what_are_refused(tmp_path: Path, pattern: str, of_cells: bool) -> None:
    """Left out, ones that fail more often than zeros would have the rate of zeros."""
    path = tmp_path / "a.csv"
    header = "row,bit" if of_cells else "repeat,errors,cells"
    lines = [
        f"{at},50,{stored},0,{repeat}," + (f"{7 * repeat}" if of_cells else f"{errors},33554432")
        for at, errors in ((12.5, 0), (7.5, 900))
        for stored in ("0x00", pattern)
        for repeat in range(2 if errors or not of_cells else 0)
    ]
    path.write_text("\n".join([f"trcd,temperature,pattern,bank,{header}", *lines]) + "\n")
    with pytest.raises(FileError, match=rf"'{pattern}' does not tell which value"):
        eden.fit(path, tested=TESTED if of_cells else eden.Tested())
