"""Does a campaign of single flips give back the chip that it was measured on, and is all else left out by name?"""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import processes
import pytest
from campaign_arguments import grouped
from chip_campaign import BANKS, GEOMETRY, read_pass, write_flips

import eden
from eden import Bitline, CellMap, DataDependent, Device, FileError, Geometry, Uniform, Wordline
from eden.devices.fitting import analyse
from eden.devices.likelihoods import Counts, Lines, fit_common, goodness_of_fit
from eden.memory.errors import ErrorModel

TESTED = {"banks": 3, "rows": 128, "row_bits": 1024}
CELLS = len(BANKS) * 128 * 1024
RATES = {10.0: 3e-3, 7.5: 2e-2}

pytestmark = pytest.mark.usefixtures("one_thread")


def at(**point: float) -> tuple[tuple[str, float], ...]:
    return tuple({"temperature": 50.0, **point}.items())


def sweep(model: Callable[[float], ErrorModel]) -> dict[tuple[tuple[str, float], ...], ErrorModel]:
    return {at(trcd=trcd): model(rate) for trcd, rate in RATES.items()}


def measured(path: Path, **options: object) -> Device:
    return eden.fit(path, **grouped({"geometry": GEOMETRY, "trcd": 12.5, **TESTED, **options}))


def within_twice(rate: float, interval: tuple[float, float]) -> bool:
    """Whether a 95% interval of twice the width, in logarithms, holds a rate; it misses one of 10,000."""
    low, high = interval
    stretch = math.sqrt(high / low)
    return low / stretch <= rate <= high * stretch


MODELS: dict[str, Callable[[float], ErrorModel]] = {
    "uniform": lambda rate: Uniform(rate, 0.7),
    "bitline": lambda rate: Bitline(rate, 0.05, 1.0, GEOMETRY),
    "wordline": lambda rate: Wordline(rate, 0.02, 0.8, GEOMETRY),
    "data_dependent": lambda rate: DataDependent(rate, 2 * rate, 0.6),
}


@pytest.mark.parametrize("kind", MODELS)
def test_every_model_is_recovered_with_what_its_points_have_in_common(kind: str, tmp_path: Path) -> None:
    chips = 8
    covered = {(trcd, value): 0 for trcd in RATES for value in ("zero", "one")}
    for seed in range(chips):
        path = write_flips(tmp_path / "a.csv", sweep(MODELS[kind]), seed, passes=3)
        device = measured(path)
        truth = MODELS[kind](RATES[7.5])
        assert device.model == kind
        # Some 20,000 repeated reads of cells that failed: 0.02 is six standard errors and more.
        assert device.failure == pytest.approx(truth.failure, abs=0.02)
        errors = device.errors(trcd=7.5)
        assert type(errors) is type(truth)
        if isinstance(truth, (Bitline, Wordline)):
            assert isinstance(errors, (Bitline, Wordline))
            # 384 wordlines tell the dispersion to 9%, 6,144 bitlines to 3%: five standard errors.
            assert errors.dispersion == pytest.approx(truth.dispersion, rel=0.45 if kind == "wordline" else 0.2)
            assert device.errors(trcd=10.0).dispersion == errors.dispersion  # type: ignore[attr-defined]
        for trcd, rate in RATES.items():
            point = device.whole.point(trcd=trcd)
            covered[trcd, "zero"] += point.zero[0] <= MODELS[kind](rate).ber_zero <= point.zero[1]
            covered[trcd, "one"] += point.one[0] <= MODELS[kind](rate).ber_one <= point.one[1]
        assert [part.nominal for part in device.partitions] == [False, False, False, True]
    # Of 8 intervals of 95%, fewer than 5 hold the truth with a probability of 4e-4; 16 such counts: 6e-3 in all.
    assert min(covered.values()) >= 5, covered


@pytest.mark.parametrize("kind", MODELS)
def test_a_device_file_draws_chips_that_give_the_device_back(kind: str, tmp_path: Path) -> None:
    measured(write_flips(tmp_path / "a.csv", sweep(MODELS[kind]), seed=100, passes=3)).save(tmp_path / "device.json")
    device = Device.load(tmp_path / "device.json")
    drawn = {at(trcd=trcd): device.errors(trcd=trcd) for trcd in RATES}
    again = measured(write_flips(tmp_path / "b.csv", drawn, seed=200, passes=3))
    assert again.model == device.model
    assert again.failure == pytest.approx(device.failure, abs=0.02)
    for trcd in RATES:
        for value in ("zero", "one"):
            low, high = getattr(again.whole.point(trcd=trcd), value)
            rate = getattr(device.errors(trcd=trcd), f"ber_{value}")
            assert within_twice(rate, (low, high))


def test_flips_that_are_listed_twice_are_no_further_failures(tmp_path: Path) -> None:
    path = write_flips(tmp_path / "a.csv", {at(trcd=7.5): Uniform(4e-3, 0.6)}, 1, passes=3)
    text = path.read_text()
    path.write_text(text + text.split("\n", 1)[1])
    with pytest.raises(
        FileError, match=r"bank 0, row \d+, bit \d+: found 6 failures in 3 passes at tRCD 7.5 ns.*: lines"
    ):
        measured(path, repeats=3)


def test_passes_that_are_not_numbered_are_suspected(tmp_path: Path) -> None:
    path = write_flips(tmp_path / "a.csv", {at(trcd=7.5): Uniform(4e-3, 0.6)}, 1, passes=3)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line.rsplit(",", 1)[0] for line in lines) + "\n")
    device = measured(path)
    again = (
        f"of {len(lines) - 1} flips once that were reported again in their pass: a file of several passes must number"
    )
    assert any(again in note for note in device.notes)
    assert any(text.startswith("passes do not vary by more than chance") for text in device.assumptions)


def test_cells_that_were_read_with_both_values_count_once(tmp_path: Path) -> None:
    campaign = sweep(lambda rate: Uniform(rate))
    both = measured(write_flips(tmp_path / "a.csv", campaign, seed=1))
    alone = measured(write_flips(tmp_path / "b.csv", campaign, seed=1, patterns=(0xFF,)))
    assert (both.model, alone.model) == ("uniform", "uniform")
    for trcd in RATES:
        point, other = both.whole.point(trcd=trcd), alone.whole.point(trcd=trcd)
        assert point.errors == other.errors
        # The same cells failed: reading them with the other value too tells nothing new.
        assert point.one == pytest.approx(other.one, rel=2e-3)
        assert point.readings == (1, 1)
        assert other.readings == (0, 1)
        assert other.zero == (0.0, 1.0)
    assert any("stored zeros were not measured: they are taken to fail" in text for text in alone.assumptions)
    assert any("failure F = 1: no cell that failed was read more than once" in text for text in both.assumptions)


def test_a_cell_map_is_the_chip(tmp_path: Path) -> None:
    model = DataDependent(2e-3, 6e-3)
    path = write_flips(tmp_path / "a.csv", {at(trcd=7.5): model}, seed=5)
    device = measured(path, cell_map=True)
    device.save(tmp_path / "device.json")
    device = Device.load(tmp_path / "device.json")
    assert device.model == "cell_map"
    for bank in BANKS:
        errors = device.errors(trcd=7.5, partition=f"bank{bank}")
        assert isinstance(errors, CellMap)
        assert errors.bits == GEOMETRY.bank_rows * GEOMETRY.row_bits
        for byte, flips in ((0x00, errors.flips_zero), (0xFF, errors.flips_one)):
            failed = np.flatnonzero(read_pass(model, byte, 5, 0, (bank,)))
            assert failed.size > 100
            np.testing.assert_array_equal(errors.cells[flips], failed)
    with pytest.raises(ValueError, match="holds a chip's own weak cells, and a margin names no further ones; allowed"):
        device.with_margin(2.0)
    whole = device.errors(trcd=7.5)
    assert isinstance(whole, CellMap)
    for byte in (0x00, 0xFF):
        # Whatever the seed: the cells are those of the chip that was measured.
        np.testing.assert_array_equal(read_pass(whole, byte, 77, 3), read_pass(model, byte, 5, 0))
    assert device.errors(partition="bank3") == CellMap([], [], [], GEOMETRY.bank_rows * GEOMETRY.row_bits)


def test_a_cell_map_of_some_rows_offers_these_alone(tmp_path: Path) -> None:
    model = Uniform(5e-3, 0.5)
    path = write_flips(tmp_path / "a.csv", {at(trcd=7.5): model}, seed=6, passes=4)
    lines = path.read_text().splitlines()
    row = lines[0].split(",").index("row")
    kept = [lines[0], *(line for line in lines[1:] if 32 <= int(line.split(",")[row]) < 96)]
    path.write_text("\n".join(kept) + "\n")
    device = measured(path, cell_map=True, rows=range(32, 96))
    bank = device.partition("bank1")
    assert bank.address == GEOMETRY.address(bank=1) + 32 * 1024
    assert bank.capacity_bytes == 64 * 1024 // 8
    errors = bank.errors(trcd=7.5)
    assert isinstance(errors, CellMap)
    places = {int(line.split(",")[row]) for line in kept[1:] if line.split(",")[row - 1] == "1"}
    assert {int(cell) // 1024 + 32 for cell in errors.cells} == places
    assert device.failure == pytest.approx(0.5, abs=0.05)
    assert any("rows 32 to 95 of 128" in text for text in device.assumptions)


def test_retention_bitmaps(tmp_path: Path) -> None:
    model = Bitline(1e-2, 0.1, 0.75, GEOMETRY)
    passes = [np.packbits(read_pass(model, 0xFF, 9, access), axis=2, bitorder="little") for access in range(3)]
    path = tmp_path / "a.bin"
    path.write_bytes(b"".join(one.tobytes() for one in passes))
    device = measured(
        path, format="dram-bender-retention", pattern="0xff", at={"refresh_interval": 512.0}, temperature=45.0
    )
    point = device.whole.point(refresh_interval=512.0)
    assert device.model == "bitline"
    assert device.failure == pytest.approx(0.75, abs=0.03)
    assert within_twice(1e-2, point.one)
    assert point.readings == (0, 3)
    assert device.nominal.refresh_interval == 64.0
    assert device.default_point() == {"refresh_interval": 512.0}


def test_softmc_tells_wordlines_and_no_bits(tmp_path: Path) -> None:
    model = Wordline(1e-2, 0.05, 1.0, GEOMETRY)
    path = tmp_path / "a.txt"
    with path.open("w") as file:
        for bank, cells in enumerate(read_pass(model, 0xFF, 11, 0)):
            wrong = 0xFF ^ np.packbits(cells, axis=1, bitorder="little")
            for row, byte in zip(*np.nonzero(wrong != 0xFF), strict=True):
                print(
                    f"Error at Col: {byte // 64 * 8}, Row: {row}, Bank: {bank}, DATA: {wrong[row, byte]:x} ", file=file
                )
    device = measured(path, at={"trcd": 7.5}, temperature=50.0)
    point = device.whole.point(trcd=7.5)
    assert device.model == "wordline"
    assert within_twice(1e-2, point.one)
    with pytest.raises(FileError, match="which cells failed"):
        measured(path, at={"trcd": 7.5}, temperature=50.0, cell_map=True)


def test_the_csv_of_hbm(tmp_path: Path) -> None:
    geometry = Geometry(row_bits=1024, subarray_rows=64, bank_rows=128, banks=17)
    path = tmp_path / "a.csv"
    lines = ["channel,pseudo_channel,bank,row,column,bit,retention_time_in_ms,data_pattern"]
    for byte in (0x00, 0xFF):
        failed = read_pass(DataDependent(1e-3, 5e-3), byte, 13, 0, (16,), geometry)[0]
        lines += [
            f"0,1,0,{row},{bit // 256},{bit % 256},256,{byte}" for row, bit in zip(*np.nonzero(failed), strict=True)
        ]
    path.write_text("\n".join(lines) + "\n")
    device = measured(path, banks=[16], geometry=None, subarray_rows=64, temperature=85.0, refresh_interval=32.0)
    assert device.geometry == geometry
    errors = device.errors(refresh_interval=256.0, partition="bank16")
    # 131 and 655 cells: six standard errors.
    assert errors.ber_zero == pytest.approx(1e-3, rel=0.53)
    assert errors.ber_one == pytest.approx(5e-3, rel=0.24)
    assert sum(part.nominal for part in device.partitions) == 16


def test_points_off_nominal_in_several_parameters_and_at_other_temperatures(tmp_path: Path) -> None:
    rates = {
        at(trcd=12.5, vdd=1.2): 1e-3,
        at(trcd=7.5, vdd=1.35): 2e-3,
        at(trcd=7.5, vdd=1.2): 8e-3,
        at(trcd=7.5, vdd=1.35, temperature=20.0): 1e-3,
    }
    campaign = {point: Uniform(rate) for point, rate in rates.items()}
    device = measured(write_flips(tmp_path / "a.csv", campaign, seed=17), trcd=None)
    assert (device.nominal.vdd, device.nominal.trcd, device.nominal.temperature) == (1.35, 12.5, 50.0)
    assert len(device.whole.points) == 4
    for point, rate in rates.items():
        # At least 390 cells: six standard errors.
        assert device.errors(**dict(point)).ber == pytest.approx(rate, rel=0.3)


def test_rates_that_fall_end_the_range_by_name(tmp_path: Path) -> None:
    rates = {10.0: 3e-3, 7.5: 1e-2, 5.0: 4e-3, 2.5: 2e-2}
    campaign = {at(trcd=trcd): Uniform(rate) for trcd, rate in rates.items()}
    device = measured(write_flips(tmp_path / "a.csv", campaign, seed=19))
    assert [point.trcd for point in device.whole.points] == [12.5, 10.0, 7.5]
    reasons = {gap.trcd: gap.reason for gap in device.whole.left_out}
    assert "the curve is not monotone: stored zeros fail at 0.00" in reasons[5.0]
    assert "harsher than 5 ns" in reasons[2.5]
    with pytest.raises(ValueError, match=r"5 ns is left out: the curve is not monotone"):
        device.errors(trcd=5.0)


def test_passes_in_two_regimes_are_left_out_by_name(tmp_path: Path) -> None:
    good = write_flips(tmp_path / "a.csv", {at(trcd=10.0): Uniform(1e-3)}, seed=23, passes=2).read_text()
    bad = write_flips(tmp_path / "b.csv", {at(trcd=10.0): Uniform(5e-2)}, seed=23).read_text().splitlines()[1:]
    mild = write_flips(tmp_path / "c.csv", {at(trcd=11.0): Uniform(5e-4)}, seed=23).read_text().splitlines()[1:]
    path = tmp_path / "d.csv"
    path.write_text(good + "\n".join([f"{line[:-1]}2" for line in bad] + mild) + "\n")
    device = measured(path)
    assert [point.trcd for point in device.whole.points] == [12.5, 11.0]
    assert "mix two regimes" in device.whole.left_out[0].reason


def test_the_variation_between_passes_widens_the_intervals(tmp_path: Path) -> None:
    still, restless = tmp_path / "a.csv", tmp_path / "b.csv"
    steady = write_flips(still, {at(trcd=10.0): Uniform(1e-2)}, seed=29, passes=3)
    parts = [steady.read_text().splitlines()[0]]
    for repeat, rate in enumerate((7e-3, 1e-2, 1.5e-2)):
        text = write_flips(tmp_path / "c.csv", {at(trcd=10.0): Uniform(rate)}, seed=29).read_text()
        parts += [f"{line[:-1]}{repeat}" for line in text.splitlines()[1:]]
    restless.write_text("\n".join(parts) + "\n")
    (quiet, wide) = (measured(path).whole.point(trcd=10.0) for path in (still, restless))
    assert (quiet.dispersion, quiet.dispersion_fitted) == (0.0, True)
    # ln(1.5 / 0.7) spans two standard deviations.
    assert wide.dispersion == pytest.approx(0.1, rel=0.5)
    assert math.log(wide.one[1] / wide.one[0]) > 5 * math.log(quiet.one[1] / quiet.one[0])


def test_a_mixed_pattern_is_a_check_and_fits_where_there_is_no_pure_one(tmp_path: Path) -> None:
    model = DataDependent(2e-3, 1e-2)
    path = write_flips(tmp_path / "a.csv", {at(trcd=7.5): model}, seed=31, patterns=(0x00, 0xFF, 0xAA))
    device = measured(path)
    (row,) = (row for row in device.measured if row.pattern == "0xaa")
    assert row.predicted == pytest.approx(6e-3, rel=0.1)
    assert row.low <= row.predicted <= row.high * 1.1
    assert any("pattern 0xaa" in note and "as its zeros and ones predict" in note for note in device.notes)
    alone = measured(write_flips(tmp_path / "b.csv", {at(trcd=7.5): model}, seed=31, patterns=(0xAA,)))
    assert alone.model == "data_dependent"
    # 390 and 1,970 cells: six standard errors.
    assert alone.errors(trcd=7.5).ber_zero == pytest.approx(2e-3, rel=0.31)
    assert alone.errors(trcd=7.5).ber_one == pytest.approx(1e-2, rel=0.14)


def test_stripes_of_rows(tmp_path: Path) -> None:
    """Which cells a pattern of several bytes stores zeros in is worked out from rows and bits."""
    path = write_flips(tmp_path / "a.csv", {at(trcd=7.5): Uniform(1e-2)}, seed=37, patterns=(0xFF,))
    text = path.read_text().replace("0xff", "0xff/0x00")
    path.write_text(text)
    device = measured(path)
    point = device.whole.point(trcd=7.5)
    assert point.readings == (1, 1)
    assert device.model == "uniform"
    # 3,900 cells: six standard errors.
    assert point.errors.ber == pytest.approx(1e-2, rel=0.1)
    assert device.measured == ()
    assert any("whose pattern is no single byte: 0xff/0x00" in note for note in device.notes)


def test_a_pattern_without_a_flip_was_tested_only_if_the_user_says_so(tmp_path: Path) -> None:
    campaign = {at(trcd=10.0): DataDependent(0.0, 1e-3), at(trcd=7.5): DataDependent(1e-3, 1e-2)}
    path = write_flips(tmp_path / "a.csv", campaign, seed=41)
    device = measured(path)
    assert [point.trcd for point in device.whole.points] == [12.5, 7.5]
    assert "stored zeros were not measured, or made no error that the file shows" in device.whole.left_out[0].reason
    point = measured(path, grid=True).whole.point(trcd=10.0)
    assert point.errors.ber_zero == 0.0
    # No error in 393,216 cells: 5% at 3 / 393,216.
    assert point.zero == (0.0, pytest.approx(-math.log(0.05) / CELLS, rel=0.01))


def test_a_given_f_is_kept_and_one_that_reads_contradict_is_refused(tmp_path: Path) -> None:
    path = write_flips(tmp_path / "a.csv", {at(trcd=7.5): Uniform(5e-3, 0.5)}, seed=43, passes=3)
    assert measured(path, failure=0.45).failure == 0.45
    with pytest.raises(
        ValueError, match=r"failure is 1; allowed is below 1, because cells of stored zeros at tRCD 7.5"
    ):
        measured(path, failure=1.0)
    with pytest.raises(ValueError, match=r"failure is 0.001; allowed is 0.00[0-9]+ to 1, because reads of stored"):
        measured(path, failure=0.001)


def test_no_errors_at_all_are_no_device_of_flips(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("trcd,temperature,pattern,bank,row,bit\n")
    with pytest.raises(FileError):
        measured(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"banks": None, "rows": None, "row_bits": None}, "banks, rows and row_bits are missing: a.csv"),
        ({"rows": None}, "rows is missing; allowed are all of banks, rows and row_bits"),
        ({"trcd": 7.5}, "errors with pattern 0x00 at the nominal operating point.*allowed is none.*give trcd"),
        (
            {"geometry": Geometry(1024, 64, 64, 4)},
            "geometry has 1 ranks of 4 banks of 64 rows.*one that holds the",
        ),
        ({"geometry": Geometry(1024, 64, 128, 2)}, "geometry has 1 ranks of 2 banks"),
        ({"subarray_rows": 32}, "subarray_rows is 32; allowed beside geometry is its own, 64"),
        ({"reliable": "bank7"}, "reliable is 'bank7'; allowed are bank0, bank1, bank2, bank3"),
        ({"temperature": 60.0}, "temperature is 60.0; allowed for a.csv are the measured 50 C"),
        ({"failure": 0.0}, "failure is 0.0; allowed is above 0"),
        ({"vdd": -1.0}, "vdd is -1.0; allowed is above 0"),
        ({"banks": [0]}, "bank 1, row .*a cell of the banks, rows and row_bits that were tested"),
    ],
)
def test_bad_arguments_are_named(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    path = write_flips(tmp_path / "a.csv", {at(trcd=7.5): Uniform(1e-3)}, seed=47)
    with pytest.raises(ValueError, match=message):
        measured(path, **changes)


def test_what_is_no_campaign_of_flips_at_an_operating_point(tmp_path: Path) -> None:
    hammered = write_flips(tmp_path / "a.csv", {(*at(trcd=7.5), ("hammer_count", 5e4)): Uniform(1e-3)}, seed=53)
    with pytest.raises(
        ValueError, match=r"hammer_count is 50000 in a.csv: RowHammer is no operating point.*eden\.devices\.likelihoods"
    ):
        measured(hammered)
    unstated = write_flips(tmp_path / "b.csv", {(("trcd", 7.5),): Uniform(1e-3)}, seed=53)
    with pytest.raises(ValueError, match=r"temperature is missing: b.csv does not state it"):
        measured(unstated)
    assert measured(unstated, temperature=30.0).nominal.temperature == 30.0
    rowscout = tmp_path / "c.json"
    rowscout.write_text(
        '{"row_group": [{"row_id": 7, "bitflip_locs": [3]}], "bank_id": 1, "ret_ms": 512, "data_pattern_type": "1"}'
    )
    with pytest.raises((ValueError, FileError)):
        eden.fit(rowscout, nominal=eden.Condition(temperature=50.0))
    counts = tmp_path / "d.csv"
    counts.write_text("trcd,trp,temperature,pattern,bank,errors,cells\n7.5,12.5,50,0x00,0,5,1000\n")
    with pytest.raises(ValueError, match="cell_map is given, but counts counts banks"):
        eden.fit(counts, cell_map=True)


def test_every_bank_tested_and_the_usual_geometry(tmp_path: Path) -> None:
    path = write_flips(tmp_path / "a.csv", {at(trcd=7.5): Uniform(2e-3)}, seed=59)
    device = measured(path, geometry=None, subarray_rows=64)
    assert device.geometry == dataclasses.replace(GEOMETRY, banks=3)
    assert [part.nominal for part in device.partitions] == [True, False, False]
    assert measured(path, reliable="bank2").partition("bank2").nominal
    assert any("bank0 is kept at the nominal operating point" in text for text in device.assumptions)


def test_the_report_and_the_command_line(tmp_path: Path) -> None:
    path = write_flips(tmp_path / "a.csv", sweep(MODELS["bitline"]), seed=61, passes=2)
    report = analyse(path, **grouped({"geometry": GEOMETRY, "trcd": 12.5, **TESTED}))
    assert len(report.fits) == 2
    for fit in report.fits:
        tests = [test for test in fit.tests if test.of == "bitline"]
        # Four tests of one chip, which hold: all above a hundredth but for 4%.
        assert all(test.p_value > 1e-3 and len(test.bins) >= 3 for test in tests)
        assert len(tests) == 2
    text = report.text()
    assert "chose Model 1 (bitline)" in text
    assert "goodness of fit at tRCD 10 ns" in text
    out, plot = tmp_path / "device.json", tmp_path / "fit.svg"
    command = ["-m", "eden.app.cli", "fit", path, "-o", out, "--trcd", 12.5]
    given = ["--banks", "0,1,2", "--rows", "0:128", "--row-bits", "1024", "--geometry", "subarray_rows=64"]
    given += ["--geometry", "bank_rows=128", "--geometry", "banks=4"]
    done = processes.run(*command, *given, "--plot", plot)
    assert done.returncode == 0, done.stderr
    assert "chose Model 1 (bitline)" in done.stdout
    assert Device.load(out) == report.device
    assert "cells that failed on a bitline" in plot.read_text()
    failed = processes.run(*command, "--at", "trcd")
    assert failed.returncode == 1
    assert failed.stderr == "eden: --at is 'trcd'; allowed is a name and a number, such as trcd=7.5\n"


def test_reads_that_all_fail_tell_lines_no_more_than_one() -> None:
    random = np.random.default_rng(67)
    failed = random.binomial(64, random.beta(0.19, 18.8, 3000))
    lines = Lines(np.full(3000, 64), failed)
    once = Counts.of_lines(bitlines=lines)
    cells = 64 * 3000
    often = Counts.of_cells([cells - int(failed.sum()), 0, 0, int(failed.sum())], bitlines=lines)
    (test,) = goodness_of_fit("bitline", "one", once, failure=1.0)
    again = goodness_of_fit("bitline", "one", often, failure=1.0)[0]
    assert test == again
    assert 0.005 < test.p_value < 1.0
    with pytest.raises(ValueError, match=r"the counts have no wordlines; allowed for Model 2"):
        goodness_of_fit("wordline", "one", once)
    with pytest.raises(ValueError, match="replicates is 0; allowed is 1 or more"):
        goodness_of_fit("bitline", "one", once, replicates=0)


def test_what_counts_have_in_common() -> None:
    counts = [Counts.of_cells([1000, 30, 30, 10]), Counts.of_cells([5000, 3, 3, 1])]
    # Of three reads of a weak cell 3 F (1 - F)^2 : 3 F^2 (1 - F) : F^3 fail once, twice, thrice: 3 : 3 : 1 for F = 1/2.
    assert fit_common(counts).failure.estimate == pytest.approx(0.5, abs=1e-3)
    assert fit_common([]).failure.estimate == 1.0
    assert not fit_common([Counts.of_total(3, 100)]).failure.identified
    with pytest.raises(ValueError, match="counts 0 have no bitlines"):
        fit_common(counts, "bitline")
