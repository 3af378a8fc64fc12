"""Is every line of a measurement file read for what it is, and every bad one named with its place?"""

import math
from pathlib import Path

import pytest
from latency_csv import CELLS, HEADER, line, write

from eden.files import FileError
from eden.measurements import read


def test_counts_and_conditions(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [line([1, 2, 3, 4, 5, 6, 7, 8], "0xaa", 5.0, 12.5, temperature=50)])
    campaign = read(path)
    (reading,) = campaign.readings
    assert reading.errors == (1, 2, 3, 4, 5, 6, 7, 8)
    assert (reading.trcd, reading.trp, reading.temperature, reading.pattern) == (5.0, 12.5, 50.0, 0xAA)
    assert (reading.stored, reading.tested, reading.total, reading.line) == ("mixed", 8, 36, 2)
    assert (campaign.module, campaign.vendor, campaign.banks, campaign.cells_per_bank) == ("m1", "A", 8, CELLS)


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    rows = [line([1, 2, 3, 4, 5, 6, 7, 8], "0xff")]
    straight = read(write(tmp_path / "a.csv", rows))
    needed = [name for name in HEADER if name not in ("", "DIMMBER", "VendorMask", "tRAS", "Model")]
    turned = read(write(tmp_path / "b.csv", rows, needed[::-1]))
    assert straight.readings == turned.readings
    assert turned.vendor is None


def test_a_bank0_that_was_not_tested_is_missing_and_dimmber_is_not_used(tmp_path: Path) -> None:
    rows = [
        line([0, 1, 1, 1, 1, 1, 1, 1]),
        line([0, 1, 1, 1, 0, 1, 1, 1]),
        line([1, 1, 1, 1, 1, 1, 1, 1], DIMMBER="0.5"),
        line(0),
    ]
    campaign = read(write(tmp_path / "a.csv", rows))
    assert [reading.errors[0] for reading in campaign.readings] == [None, 0.0, 1.0, 0.0]
    assert [reading.tested for reading in campaign.readings] == [7, 8, 8, 8]
    assert [reading.total for reading in campaign.readings] == [7, 6, 8, 0]
    notes = "\n".join(campaign.notes)
    assert "left out Bank0 in 1 readings" in notes
    assert "left out DIMMBER in the 1 readings without Bank0" in notes
    assert "left out DIMMBER in 1 readings: it is not the mean" in notes


def test_rates_that_are_no_counts_are_kept_and_named(tmp_path: Path) -> None:
    rows = [line([3.5, 2, 2, 2, 2, 2, 2, 2]), line([2, 2, 2, 2, 2, 2, 2, 1e8 + 0.3])]
    campaign = read(write(tmp_path / "a.csv", rows))
    assert campaign.readings[0].errors[0] == 3.5
    assert campaign.readings[1].errors[7] == pytest.approx(1e8 + 0.3, abs=1e-2)
    notes = "\n".join(campaign.notes)
    assert "kept 1 counts that are halves" in notes
    assert "kept 1 of 16 rates above 0 that are no count of errors in 1073741824 cells" in notes


def test_digits_that_were_not_printed_are_no_error(tmp_path: Path) -> None:
    rows = [line(0, **{f"Bank{b}": "0.00123" for b in range(8)})]
    (reading,) = read(write(tmp_path / "a.csv", rows)).readings
    assert reading.errors[0] == round(0.00123 * CELLS)


def test_a_wrong_size_of_the_banks_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [line([10, 20, 30, 41, 50, 61, 70, 80])])
    with pytest.raises(FileError, match=r"line 2, column Bank7.*no count of errors in 1000003 cells.*whole or half"):
        read(path, cells_per_bank=1000003)
    assert read(path, cells_per_bank=2**31).readings[0].errors[3] == 82


def test_several_modules(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [line(1, module="x"), line(2, module="y"), line(3, module="y")])
    with pytest.raises(FileError, match=r"column Label: the file holds 2 modules; choose one of: x \(1 .*, y \(2 "):
        read(path)
    with pytest.raises(FileError, match=r"no module 'z'; there are: x \(1 readings\), y"):
        read(path, module="z")
    assert len(read(path, module="y").readings) == 2


@pytest.mark.parametrize(
    ("column", "value", "allowed"),
    [
        ("Bank3", "1.0000001", "from 0 to 1"),
        ("Bank3", "-1e-9", "from 0 to 1"),
        ("Bank3", "nan", "from 0 to 1"),
        ("Bank3", "inf", "from 0 to 1"),
        ("Bank3", "1_0e-5", "from 0 to 1"),
        ("Bank3", "", "from 0 to 1"),
        ("Bank3", "many", "from 0 to 1"),
        ("DIMMBER", "7", "from 0 to 1"),
        ("Pattern", "0x100", "a byte"),
        ("Pattern", "checkered", "a byte"),
        ("Temperature", "hot", "a temperature"),
        ("Temperature", "-300", "a temperature"),
        ("tRCD", "0", "a latency"),
        ("tRP", "-2.5", "a latency"),
        ("Label", " ", "the label of a module"),
    ],
)
def test_a_bad_field_is_named_with_its_place(tmp_path: Path, column: str, value: str, allowed: str) -> None:
    path = write(tmp_path / "a.csv", [line(1), line(2, **{column: value})])
    with pytest.raises(FileError) as error:
        read(path)
    assert f"a.csv: line 3, column {column}: found {value!r}, allowed is" in str(error.value)
    assert allowed in str(error.value)


def test_a_bad_field_of_another_module_is_an_error_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [line(1), line(2, module="m2", Bank0="2")])
    with pytest.raises(FileError, match="line 3, column Bank0"):
        read(path, module="m1")


@pytest.mark.parametrize("column", [*(f"Bank{b}" for b in range(8)), "Label", "Pattern", "Temperature", "tRCD", "tRP"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    header = [name for name in HEADER if name != column]
    path = write(tmp_path / "a.csv", [line(1)], header)
    with pytest.raises(FileError, match=f"line 1: the column {column} is missing; found .*; allowed"):
        read(path)


def test_a_repeated_column_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [line(1)], [*HEADER, "Bank2"])
    with pytest.raises(FileError, match="the column Bank2 occurs twice"):
        read(path)


def test_empty_files(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for text in ("", "\n\n"):
        path.write_text(text)
        with pytest.raises(FileError, match="the file is empty"):
            read(path)
    with pytest.raises(FileError, match="a header and no readings"):
        read(write(path, []))


def test_every_cut_of_the_last_line_is_noticed_or_harmless(tmp_path: Path) -> None:
    rows = [line(1), line([2**20] * 8, "0xff")]
    whole = read(write(tmp_path / "a.csv", rows))
    text = (tmp_path / "a.csv").read_text()
    last = text.rindex("\n", 0, -1) + 1
    cut = tmp_path / "cut.csv"
    truncated = 0
    for length in range(last + 1, len(text)):
        cut.write_text(text[:length])
        message, campaign = "", None
        try:
            campaign = read(cut)
        except FileError as error:
            message = str(error)
        if campaign is None:
            assert "line 3" in message
            assert "truncated" in message
            truncated += 1
        else:
            assert campaign.readings == whole.readings
    assert truncated > 50


def test_a_cut_in_a_last_column_that_is_used_is_noticed(tmp_path: Path) -> None:
    header = [*(name for name in HEADER if name not in ("tRP", "Model")), "tRP"]
    path = write(tmp_path / "a.csv", [line(1)], header, end="")
    with pytest.raises(FileError, match=r"line 2: the last line has no line end, so its column tRP may be truncated"):
        read(path)


def test_other_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="no UTF-8"):
        read(path)
    with pytest.raises(FileError, match="cannot be read"):
        read(tmp_path / "missing.csv")
    with pytest.raises(FileError, match=r"line 3: found 19 fields, allowed is 18"):
        read(write(path, [line(1), line(1, Model="a,b"), line(1)]))
    with pytest.raises(FileError, match=r"line 2: .*allowed is a CSV file"):
        read(write(path, [line(1, Model='"never closed')]))
    with pytest.raises(FileError, match=r"column tRAS: found 30, 35 ns for one module"):
        read(write(path, [line(1), line(1, tRAS="30")]))


def test_bad_arguments(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [line(1)])
    with pytest.raises(ValueError, match=r"format is 'spd'; allowed are counts, .*latency-variation"):
        read(path, format="spd")
    for cells in (0, -1, 7, 1.5, True):
        with pytest.raises(ValueError, match=f"cells_per_bank is {cells!r}; allowed is a whole number from 8"):
            read(path, cells_per_bank=cells)  # type: ignore[arg-type]


def test_blank_lines_and_line_ends_of_other_systems(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [line(1), line(2)])
    plain = read(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert read(path).readings == plain.readings


@pytest.mark.data
def test_the_real_file(measurements: Path) -> None:
    with pytest.raises(FileError, match="the file holds 24 modules; choose one of: b1"):
        read(measurements)
    campaign = read(measurements, module="b33")
    assert len(campaign.readings) == 274
    assert sum(reading.errors[0] is None for reading in campaign.readings) == 84
    assert all(math.isfinite(reading.total) for reading in campaign.readings)
