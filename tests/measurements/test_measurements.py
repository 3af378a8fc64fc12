"""Is every line of a measurement file read for what it is, and every bad one named with its place?"""

import bz2
import contextlib
import gzip
import importlib
import json
import lzma
import math
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import processes
import pytest
from campaign_arguments import grouped
from hypothesis import given, settings
from hypothesis import strategies as st
from latency_csv import CELLS, HEADER, line, write

from eden.common.files import FileError
from eden.measurements import readers
from eden.measurements.campaign import CacheLines, Campaign, Condition
from eden.measurements.compression import PackedFile
from eden.measurements.readers import FORMATS


def read(path: str | os.PathLike[str], format: str | None = None, **given: Any) -> Campaign:
    return readers.read(path, format, **grouped(given))


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
    assert [one.tras for one in read(write(path, [line(1), line(1)])).readings] == [None, None]
    assert [one.tras for one in read(write(path, [line(1), line(2, tRAS="30")])).readings] == [35.0, 30.0]
    assert [one.tras for one in read(write(path, [line(1, tRAS="18"), line(2, tRAS="18")])).readings] == [18.0, 18.0]


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


def _session(seed: int, *, varying: bool = True) -> list[dict[str, str]]:
    """Two passes without errors, and three with, over eight banks."""
    random = np.random.default_rng(seed if varying else 0)
    lines = [line(0, pattern, 12.5) for pattern in ("0x0", "0xff")]
    for pattern in ("0x0", "0xff", "0xaa"):
        lines.append(line(random.poisson(5000, 8).astype(float).tolist(), pattern))
    return lines


def test_a_part_of_a_file_that_occurs_twice_counts_once(tmp_path: Path) -> None:
    first, second, third = (_session(seed) for seed in range(3))
    once = read(write(tmp_path / "a.csv", [*first, *second, *third]))
    twice = read(write(tmp_path / "a.csv", [*first, *second, *third, *second]))
    # Those without errors are copies like those between which they stand.
    assert twice.readings == once.readings
    assert twice.statistics is not None
    assert [len(entry.repeats) for entry in twice.statistics.conditions] == [3] * 5
    (note,) = [note for note in twice.notes if "copies" in note]
    assert note.startswith("left out 5 readings as copies of earlier lines, the first in line 17: ")
    assert not any("copies" in note for note in once.notes)


def test_repeats_that_all_agree_are_kept_and_said(tmp_path: Path) -> None:
    always = [_session(0, varying=False) for _ in range(3)]
    campaign = read(write(tmp_path / "a.csv", [*always[0], *always[1], *always[2]]))
    assert len(campaign.readings) == 15
    assert any(note.startswith("all repeats of a condition with errors agree in every bank") for note in campaign.notes)


def test_few_errors_and_values_of_a_whole_array_may_repeat(tmp_path: Path) -> None:
    rows = [*_session(0), *_session(1), *[line(3)] * 4, *[line(CELLS / 2, trcd=2.5)] * 4, *[line(CELLS, trcd=2.5)] * 4]
    campaign = read(write(tmp_path / "a.csv", rows))
    assert len(campaign.readings) == len(rows)
    assert not any("copies" in note for note in campaign.notes)


def test_copies_in_counts_are_left_out_of_the_readings(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    passes = [
        [f"7.5,12.5,50,{pattern},{bank},{errors},1073741824" for bank, errors in enumerate(random.poisson(9000, 4))]
        for pattern in ("0x00", "0xff", "0x00", "0xff")
    ]
    rows = [
        "trcd,trp,temperature,pattern,bank,errors,cells",
        *(text for one in passes for text in one),
        *passes[0],
        *passes[1],
    ]
    (tmp_path / "a.csv").write_text("\n".join(rows) + "\n")
    campaign = read(tmp_path / "a.csv")
    assert len(campaign.readings) == 4
    assert any(
        note.startswith("left out 2 readings as copies of earlier lines, the first in") for note in campaign.notes
    )


def test_rates_in_the_place_of_counts_are_refused(tmp_path: Path) -> None:
    text = "trcd,temperature,stored,bank,errors,cells\n7.5,50,1,0,{},1073741824\n7.5,50,1,1,{},1073741824\n"
    (tmp_path / "a.csv").write_text(text.format("1.5e-4", "2.5e-4"))
    with pytest.raises(
        FileError, match=r"line 3, column errors: found 0.00025, the most of all lines; allowed are cou"
    ):
        read(tmp_path / "a.csv")
    for few in (("0", "0"), ("0.5", "1"), ("0.333333", "7.66667"), ("3.7", "101.23")):
        (tmp_path / "a.csv").write_text(text.format(*few))
        assert len(read(tmp_path / "a.csv").readings) == 1
    (tmp_path / "a.csv").write_text(text.format("0.75", "1.37"))
    with pytest.raises(FileError, match=r"line 3, column errors: found 1.37, .* not whole, as percentages are"):
        read(tmp_path / "a.csv")


def test_columns_are_known_in_any_case_and_conditions_in_other_words_are_not_pooled(tmp_path: Path) -> None:
    text = "{},Temperature,STORED,bank,errors,cells\n1.35,50,1,0,3,4096\n1.2,50,1,0,900,4096\n"
    path = tmp_path / "a.csv"
    for name in ("VDD", "Vdd", "vdd"):
        path.write_text(text.format(name))
        assert [(one.vdd, one.errors) for one in read(path).readings] == [(1.35, (3.0,)), (1.2, (900.0,))]
    for name in ("vdd_volts", "Voltage (V)", "session_id", "tRAS (ns)", "DIMM", "tWAIT", "Chip"):
        path.write_text(text.format(name))
        with pytest.raises(FileError, match=rf"line 3: found '1.2' in the column {re.escape(name)}, which is left out"):
            read(path)
        path.write_text(text.format(name).replace("1.2,", "1.35,"))
        assert any("left out the columns" in note for note in read(path).notes)
    path.write_text(text.format("vdd,VDD").replace("\n1", "\n1,1"))
    with pytest.raises(FileError, match="the column vdd occurs twice"):
        read(path)
    path.write_text(text.format("date"))
    assert len(read(path).readings) == 2
    flips = "VDD,Pattern,Bank,ROW,bit\n1.35,0xff,0,1,2\n1.2,0xff,0,1,3\n"
    path.write_text(flips)
    found = read(path).statistics
    assert found is not None
    assert [one.condition.vdd for one in found.conditions] == [1.35, 1.2]


def test_banks_that_are_silent_beside_failing_ones_were_not_tested(tmp_path: Path) -> None:
    def errors(count: float, *silent: int) -> list[float]:
        return [0.0 if bank in silent else count for bank in range(8)]

    rows = [line(errors(50.0, 3, 5)), line(errors(4e6, 3), trcd=5.0), line(errors(3e6, 3, 5), trcd=2.5)]
    campaign = read(write(tmp_path / "a.csv", rows))
    # Bank3 never fails; Bank5 does, at 5 ns.
    assert [reading.errors[3] for reading in campaign.readings] == [None, None, None]
    assert [reading.errors[5] for reading in campaign.readings] == [0.0, 4e6, None]
    assert any(n.startswith("left out Bank3 in 3 readings, Bank5 in 1 readings: 0 where") for n in campaign.notes)
    # Neither few errors nor more than half of the banks say so.
    for few in (errors(1e5, 3), errors(4e6, 0, 1, 2, 3, 4)):
        kept = read(write(tmp_path / "a.csv", [line(few)]))
        assert kept.readings[0].errors == tuple(few)


def test_silent_banks_of_counts_are_suspected(tmp_path: Path) -> None:
    for errors, said in ((0, True), (1, False)):
        rows = [f"5,50,0xff,{bank},{errors if bank == 2 else 4_000_000},{CELLS}" for bank in range(4)]
        (tmp_path / "a.csv").write_text("\n".join(["trcd,temperature,pattern,bank,errors,cells", *rows]) + "\n")
        campaign = read(tmp_path / "a.csv")
        assert campaign.readings[0].errors[2] == errors
        assert any(note.startswith("no error in bank 2 where every other bank") for note in campaign.notes) is said


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    order = [*HEADER[1:], HEADER[0]]
    path = write(tmp_path / "a.csv", [line(1), line(2)], order)
    plain = read(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read(path).readings == plain.readings


def test_banks_of_another_size_are_suspected(tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    for step, size in ((2.0, CELLS // 2), (0.5, 2 * CELLS)):
        rows = [line((step * random.poisson(5000, 8)).tolist()) for _ in range(6)]
        notes = read(write(tmp_path / "a.csv", rows)).notes
        assert any(f"give cells_per_bank={size}, or the size of the device is wrong" in note for note in notes)
    rows = [line(random.poisson(5000, 8).astype(float).tolist()) for _ in range(6)]
    assert not any("cells_per_bank" in note for note in read(write(tmp_path / "a.csv", rows)).notes)


@pytest.mark.data
def test_the_real_file(measurements: Path) -> None:
    with pytest.raises(FileError, match="the file holds 24 modules; choose one of: b1"):
        read(measurements)
    campaign = read(measurements, module="b33")
    # 274 lines, of which a session of 93 stands in the file twice.
    assert len(campaign.readings) == 181
    assert sum(reading.errors[0] is None for reading in campaign.readings) == 58
    assert all(math.isfinite(reading.total) for reading in campaign.readings)


# -- the formats that are parsed in C++; tests/csrc/measurements/test_measurements.cpp looks at each of their fields --

FLIPS = "temperature,pattern,bank,row,bit,repeat\n50,0xff,0,1,5,0\n50,0xff,0,1,5,1\n50,0xff,1,3,7,1\n"
COUNTS = (
    "vdd,trcd,trp,temperature,stored,module,vendor,bank,repeat,errors,cells\n"
    "1.35,7.5,12.5,50,1,m1,A,0,0,12,4096\n"
    "1.35,7.5,12.5,50,1,m1,A,1,0,3,4096\n"
    "1.35,7.5,12.5,50,0,m1,A,0,0,0,4096\n"
    "1.35,7.5,12.5,50,1,m1,A,1,2,5,4096\n"
)
HBM = "channel,pseudo_channel,bank,row,column,bit,retention_time_in_ms,data_pattern\n0,0,0,5,0,17,4000,255\n"
ROWSCOUT = '{"row_group": [{"row_id": 5, "bitflip_locs": [3]}], "bank_id": 1, "ret_ms": 448, "data_pattern_type": 1}\n'
HAMMER = '{"40000": {"pair_1_1": {"errors_in_rows": {"2": {"col": {"0": [7]}, "bitflips": 1}}}}}'
SOFTMC = "Error at Col: 12, Row: 34, Bank: 1, DATA: fe \n"
VOLTAGE = "dimm_name,vdd,vendor,error_cacheline_percent\nA1,1.1,A,0.5\nB1,1.1,B,0\n"
TEXTS = {
    "counts": COUNTS,
    "dram-bender-hbm": HBM,
    "dram-bender-rows": "Temp,Pattern,tWAIT,Row,NumBitflips\n90,00000000,16,1483,1\n90,FFFFFFFF,16,3,2\n",
    "flips": FLIPS,
    "rowhammer-tester": HAMMER,
    "rowscout": ROWSCOUT,
    "softmc": SOFTMC,
    "voltage": VOLTAGE,
}
PACKERS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def test_every_format_is_known() -> None:
    assert {*TEXTS, "latency-variation", "dram-bender-retention", "pacram"} == set(FORMATS)


@pytest.mark.parametrize("format", sorted(TEXTS))
def test_a_format_is_recognized_or_named(tmp_path: Path, format: str) -> None:
    path = tmp_path / "a"
    path.write_text(TEXTS[format])
    recognized, named = read(path), read(path, format=format)
    assert recognized.format == named.format == format
    assert recognized.notes == named.notes
    assert recognized.readings == named.readings


@pytest.mark.parametrize("packer", sorted(PACKERS))
@pytest.mark.parametrize("format", sorted(TEXTS))
def test_packed_files(tmp_path: Path, format: str, packer: str) -> None:
    plain, packed = tmp_path / "a", tmp_path / f"a.{packer}"
    plain.write_text(TEXTS[format])
    # Two packed streams after another are one file.
    half = len(TEXTS[format]) // 2
    packed.write_bytes(
        b"".join(PACKERS[packer](part.encode()) for part in (TEXTS[format][:half], TEXTS[format][half:]))
    )
    campaign, expected = read(packed), read(plain)
    assert campaign.readings == expected.readings
    assert campaign.cache_lines == expected.cache_lines
    assert campaign.notes == expected.notes


def test_a_packed_file_of_the_latency_study(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [line(1), line(2)])
    plain = read(path)
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert read(path).readings == plain.readings


@pytest.mark.parametrize("packer", sorted(PACKERS))
def test_every_cut_and_most_changes_of_a_packed_file_are_noticed(tmp_path: Path, packer: str) -> None:
    path = tmp_path / "a"
    path.write_text(FLIPS)
    expected = read(path).notes
    whole = PACKERS[packer](FLIPS.encode())
    for length in range(8, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FileError, match=r"inside its packed data; it is truncated|near byte \d+ of the packed"):
            read(path)
    for place in range(8, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with contextlib.suppress(FileError):
            assert read(path).notes == expected  # a field that does not matter, such as gzip's operating system
    path.write_bytes(whole + b"more")
    with pytest.raises(FileError, match=r"near byte \d+ of the packed file|inside its packed data"):
        read(path)


def test_zstandard_is_read_or_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.zst"
    try:
        zstd: Any = importlib.import_module("zstandard")
    except ImportError:
        path.write_bytes(b"\x28\xb5\x2f\xfd and more")
        with pytest.raises(FileError, match=r"packed by Zstandard, for which .* is there"):
            read(path)
        return
    path.write_bytes(zstd.compress(FLIPS.encode()))
    assert read(path).format == "flips"
    path.write_bytes(zstd.compress(FLIPS.encode())[:-3])
    with pytest.raises(FileError, match="truncated"):
        read(path)


def test_a_long_packed_file_takes_little_memory(tmp_path: Path) -> None:
    """A line of 256 MiB, packed a thousandfold, and a flip in each of 200,000 lines of 250 conditions."""
    path = tmp_path / "a.csv.gz"
    flips = "".join(f"{i % 250},0xff,0,{i % 4096},{i % 509},0\n" for i in range(200000))
    path.write_bytes(gzip.compress(FLIPS.encode() + b"7" * 2**28 + b"\n" + flips.encode(), compresslevel=1))
    script = """
import resource, sys
from eden.measurements.readers import read
read(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
campaign = read(sys.argv[1])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, campaign.statistics.flips)
print(campaign.notes[1])
"""
    small = tmp_path / "small.csv"
    small.write_text(FLIPS)
    result = processes.run("-c", script, path, small)
    assert result.returncode == 0, result.stderr
    figures, note = result.stdout.splitlines()
    mebibytes, counted = map(int, figures.split())
    assert counted == 200003
    assert mebibytes < 64
    assert note.startswith("left out 1 damaged lines of 200004; the first: line 5: found '7777")


def test_counts_become_readings(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(COUNTS)
    campaign = read(path)
    assert (campaign.module, campaign.vendor, campaign.banks, campaign.cells_per_bank) == ("m1", "A", 2, 4096)
    assert [reading.errors for reading in campaign.readings] == [(12.0, 3.0), (0.0, None), (None, 5.0)]
    first = campaign.readings[0]
    assert (first.line, first.trcd, first.trp, first.temperature, first.pattern) == (2, 7.5, 12.5, 50.0, 0xFF)
    assert (first.vdd, first.refresh_interval, first.stored) == (1.35, None, "one")
    notes = "\n".join(campaign.notes)
    assert "read 4 lines of module m1" in notes
    assert "gaps between the numbers of passes of 1 of 2 conditions" in notes
    assert "took 2 banks that have no count in a pass for not tested" in notes
    assert campaign.statistics is not None
    one = campaign.statistics.conditions[0]
    assert one.condition == Condition(vdd=1.35, trcd=7.5, trp=12.5, temperature=50.0, pattern="0xff")
    assert one.counts(1) == [(0, 0, 12.0, 4096.0), (0, 1, 3.0, 4096.0), (2, 1, 5.0, 4096.0)]
    with pytest.raises(ValueError, match="counts of whole banks only"):
        one.cells(1)


def test_counts_that_are_no_readings_of_whole_banks(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("pattern,bank,errors,cells\n0xff,0,1,100\n0xff,1,1,99\n")
    campaign = read(path)
    assert campaign.readings == ()
    assert "the cells of a count differ" in campaign.notes[-1]
    # Zeros and ones of a pattern that were counted apart are one reading of it.
    lines = "0xaa,0,0,1,100\n0xaa,1,0,2,100\n0xff,,0,4,200\n0xcc,1,0,9,100\n"
    path.write_text(f"pattern,stored,bank,errors,cells\n{lines}")
    campaign = read(path)
    assert [reading.total for reading in campaign.readings] == [3.0, 4.0]
    assert "left 1 counts of one value of a mixed pattern" in campaign.notes[-1]


def test_the_latency_study_has_statistics(tmp_path: Path) -> None:
    rows = [line([0, 1, 1, 1, 1, 1, 1, 1]), line([2] * 8), line([3] * 8, "0xff"), line([4] * 8, "0xaa")]
    campaign = read(write(tmp_path / "a.csv", rows))
    assert campaign.statistics is not None
    zero, one, mixed = campaign.statistics.conditions
    assert [count.errors for count in zero.counts(0)] == [1.0] * 7 + [2.0] * 8
    assert (one.repeats, one.stored_values) == ((0,), (1,))
    assert [count.cells for count in mixed.counts(None)] == [float(CELLS)] * 8


def test_flips_with_the_cells_that_were_tested(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(FLIPS)
    campaign = read(path, banks=2, rows=8, row_bits=64, subarray_rows=2, repeats=3, at={"trcd": 7.5}, module="mine")
    assert (campaign.module, campaign.cells_per_bank, campaign.banks, campaign.readings) == ("mine", 512, 2, ())
    assert campaign.statistics is not None
    assert (campaign.statistics.flips, campaign.statistics.cell_sample) == (3, 1.0)
    (condition,) = campaign.statistics.conditions
    assert (condition.condition.trcd, condition.condition.temperature) == (7.5, 50.0)
    assert condition.repeats == (0, 1, 2)
    assert condition.cells(1).tolist() == [1022, 1, 1, 0]
    assert [entry.errors for entry in condition.counts(1)] == [1.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    assert {entry.cells for entry in condition.counts(1)} == {512.0}
    wordlines = condition.lines("wordline", 1)
    assert wordlines.errors.tolist() == [0, 2, *[0] * 9, 1, *[0] * 4]
    assert wordlines.cells.tolist() == [192] * 16
    together = condition.line_counts("bitline", 1)
    rows = zip(together.errors.tolist(), together.cells.tolist(), together.lines.tolist(), strict=True)
    assert list(rows) == [(0, 6, 510), (1, 6, 1), (2, 6, 1)]
    flips = condition.flips()
    assert [array.tolist() for array in flips] == [[0, 1], [1, 3], [5, 7], [1, 1], [2, 1]]
    with pytest.raises(ValueError, match="stored is 0; allowed here are 1"):
        condition.counts(0)
    with pytest.raises(ValueError, match="axis is 'row'; allowed are"):
        condition.lines("row", 1)  # type: ignore[arg-type]


def test_flips_without_the_cells_that_were_tested(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("bank,row,bit\n0,1,5\n")
    campaign = read(path)
    assert "which cells were tested is not known, so there are no rates" in campaign.notes[-1]
    assert campaign.statistics is not None
    (condition,) = campaign.statistics.conditions
    assert condition.stored_values == (None,)
    assert condition.counts(None) == [(0, 0, 1.0, None)]
    assert condition.flips().stored.tolist() == [-1]
    for ask in (condition.cells, lambda stored: condition.lines("wordline", stored)):
        with pytest.raises(ValueError, match="give banks, rows and row_bits"):
            ask(None)


def test_a_retention_bitmap(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    bits = np.zeros((2, 3, 4, 16), np.uint8)  # passes, banks, rows, bytes
    bits[0, 1, 2, 15], bits[1, 1, 2, 15], bits[1, 2, 0, 0] = 0x80, 0x81, 0x01
    path.write_bytes(bits.tobytes())
    geometry: dict[str, Any] = {"banks": [4, 5, 9], "rows": range(10, 14), "row_bits": 128, "pattern": "0xff"}
    with pytest.raises(FileError, match="bytes tell no format; say it by format"):
        read(path, **geometry)
    campaign = read(path, format="dram-bender-retention", at={"refresh_interval": 1000}, **geometry)
    assert campaign.statistics is not None
    (condition,) = campaign.statistics.conditions
    assert condition.condition == Condition(refresh_interval=1000.0, pattern="0xff")
    assert condition.cells(1).tolist() == [3 * 4 * 128 - 3, 2, 1]
    flips = condition.flips()
    assert [array.tolist() for array in flips] == [[5, 5, 9], [12, 12, 10], [120, 127, 0], [1, 1, 1], [1, 2, 1]]
    path.write_bytes(bits.tobytes()[:-1])
    with pytest.raises(
        FileError, match="byte 383: the file ends in pass 1, bank 9, row 13, byte 15; allowed are whole"
    ):
        read(path, format="dram-bender-retention", **geometry)
    # Bytes that look packed are packed where the name says so.
    bits[0, 0, 0, :2] = 0x1F, 0x8B
    path.write_bytes(bits.tobytes())
    assert read(path, format="dram-bender-retention", **geometry).notes[0] == "read 24 records"
    packed = tmp_path / "a.bin.gz"
    packed.write_bytes(gzip.compress(bits.tobytes()))
    assert read(packed, format="dram-bender-retention", **geometry).notes[0] == "read 24 records"


def test_the_voltage_study(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(VOLTAGE)
    campaign = read(path)
    assert campaign.statistics is None
    assert campaign.cache_lines == (CacheLines(2, "A1", "A", 1.1, 0.5), CacheLines(3, "B1", "B", 1.1, 0.0))
    one = read(path, module="A1")
    assert (one.module, one.vendor, len(one.cache_lines)) == ("A1", "A", 1)
    with pytest.raises(FileError, match=r"found no module 'C'; there are: A1 \(1 lines\), B1"):
        read(path, module="C")


def test_a_second_module_must_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(COUNTS + "1.35,7.5,12.5,50,1,m2,A,0,0,12,4096\n")
    with pytest.raises(FileError, match=r"the file holds 2 modules; choose one of: m1 \(4 lines\), m2 \(1 lines\)"):
        read(path)
    assert len(read(path, module="m2").readings) == 1


def test_damage_up_to_a_share_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    body = FLIPS + "".join(f"50,0xff,0,{row},5,0\n" for row in range(2, 200))
    path.write_text(body + "50,0xff,0,x,5,0\n50,0xff,0,6\n")
    campaign = read(path)
    note = "left out 2 damaged lines of 203; the first: line 203: found 'row = x', allowed is a whole number"
    assert any(text.startswith(note) and "line 204: found '4 fields" in text for text in campaign.notes)
    with pytest.raises(FileError, match=r"line 203: found 'row = x'.*\(and 1 more damaged lines of 203\)"):
        read(path, max_damaged=0.009)
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="max_damaged is"):
            read(path, max_damaged=share)


def test_damage_of_the_latency_study_up_to_a_share_is_noted(tmp_path: Path) -> None:
    rows = [line(row % 5) for row in range(120)]
    path = write(tmp_path / "a.csv", [*rows, line(1, Bank3="x")])
    campaign = read(path)
    assert campaign.readings == read(write(tmp_path / "b.csv", rows)).readings
    assert "left out 1 damaged lines of 121; the first: line 122, column Bank3: found 'x'" in campaign.notes[1]
    with pytest.raises(FileError, match="line 122, column Bank3"):
        read(path, max_damaged=0.0)


@pytest.mark.parametrize("format", ["flips", "latency-variation"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"

    def prepare() -> None:
        path.write_text(FLIPS) if format == "flips" else write(path, [line(1), line(2)])

    chunks = PackedFile.chunks
    for change in (
        lambda: os.truncate(path, 60),
        lambda: path.write_text(FLIPS + FLIPS),
        lambda: os.utime(path, (1, 1)),
    ):
        prepare()

        def changed(source: PackedFile, change: Callable[[], object] = change) -> Iterator[bytes]:
            for chunk in chunks(source):
                yield chunk
                change()

        with monkeypatch.context() as patch:
            patch.setattr(PackedFile, "chunks", changed)
            with pytest.raises(FileError, match="changed while it was read"):
                read(path)


def test_a_pipe_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(FLIPS,))
    writer.start()
    assert read(path).format == "flips"
    writer.join()


def test_large_files_are_read_with_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(FLIPS)
    read(path)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("eden.measurements.readers._SHOWN_FROM_BYTES", 0)
    read(path)
    assert "read a.csv (MiB): 1/1" in capsys.readouterr().err
    read(path, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"at": {"twr": 35.0}}, "a condition has 'twr'; allowed are vdd, trcd"),
        ({"at": {"trcd": math.nan}}, "trcd is nan; allowed is a finite number"),
        ({"banks": 2}, "rows is missing; allowed are all of banks, rows and row_bits, or none"),
        ({"banks": 0, "rows": 4, "row_bits": 8}, "banks is 0"),
        ({"banks": [], "rows": 4, "row_bits": 8}, "banks is empty"),
        ({"banks": [-1], "rows": 4, "row_bits": 8}, "a bank is -1"),
        ({"banks": 2, "rows": range(0, 8, 2), "row_bits": 8}, "rows is range"),
        ({"banks": 2, "rows": 4, "row_bits": 0}, "row_bits is 0"),
        ({"banks": 2, "rows": 4, "row_bits": 2**24 + 1}, "row_bits is 16777217"),
        ({"column_bits": True}, "column_bits is True"),
        ({"repeats": 0}, "repeats is 0"),
        ({"pattern": "0xzz"}, "pattern is '0xzz'; allowed are bytes"),
    ],
)
def test_bad_arguments_of_flips(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(FLIPS)
    with pytest.raises(ValueError, match=re.escape(message)):
        read(path, **arguments)


def test_arguments_that_a_format_does_not_take(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text(ROWSCOUT)
    with pytest.raises(ValueError, match="banks is given, but rowscout takes of these arguments, at, subarray_rows"):
        read(path, banks=1, rows=2, row_bits=8)
    with pytest.raises(ValueError, match="pattern is given, but latency-variation takes of these"):
        read(write(path, [line(1)]), pattern="0xff")
    with pytest.raises(ValueError, match="banks, rows and row_bits are missing"):
        read(path, format="dram-bender-retention")


def test_files_of_no_known_format(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for text, message in (
        ("", "the file is empty; allowed are counts,"),
        ("hello\n", "begins with 'hello', which is of no known format; say it by format; allowed are counts,"),
        (FLIPS.splitlines()[0] + ",errors,cells\n", "its beginning can be of counts or flips; say which by format"),
    ):
        path.write_text(text)
        with pytest.raises(FileError, match=re.escape(message)):
            read(path)


MUTATIONS = st.lists(
    st.tuples(
        st.floats(0, 1), st.integers(0, 20), st.one_of(st.binary(max_size=8), st.sampled_from([b"\n", b"1e999"]))
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(st.sampled_from([*sorted(TEXTS), "latency-variation"]), MUTATIONS, st.sampled_from(["", *sorted(PACKERS)]))
def test_mutated_files_give_a_campaign_or_a_file_error(format: str, mutations: Any, packer: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_text(TEXTS.get(format, "")) if format in TEXTS else write(path, [line(1), line(2, "0xff")])
        data = path.read_bytes()
        data = PACKERS[packer](data) if packer else data
        for place, length, inserted in mutations:
            at = int(place * len(data))
            data = data[:at] + inserted + data[at + length :]
        path.write_bytes(data)
        for named in (None, format):
            message, notes = "", ()
            try:
                notes = read(path, format=named).notes
            except FileError as error:
                message = str(error)
            assert notes or message.startswith(f"{path}: ")
            assert len(message) < len(str(path)) + 1500


@pytest.mark.data
def test_the_real_files(data_folder: Path) -> None:
    folder = data_folder / "dram"
    if not (folder / "rowhammer-cells").is_dir():
        pytest.skip("EDEN_DATA names a folder without dram/rowhammer-cells")
    attacked = folder / "rowhammer-cells"
    expected = 0
    tree = json.loads((attacked / "a-hammer_single_side_r0-1000_rc40K.json").read_text())
    for pair in tree["40000"].values():
        if isinstance(pair, dict):
            expected += sum(row["bitflips"] for row in pair["errors_in_rows"].values())
    campaign = read(attacked / "a-hammer_single_side_r0-1000_rc40K.json", banks=1, rows=8192, row_bits=65536)
    assert campaign.statistics is not None
    (condition,) = campaign.statistics.conditions
    assert campaign.statistics.flips == expected == 32378
    assert condition.lines("wordline", None).errors.sum() == expected
    zeros = read(attacked / "datapattern_single_side_r20-30_rc40K_pat_all_0.json", pattern="all_0")
    assert zeros.statistics is not None
    assert [entry.stored_values for entry in zeros.statistics.conditions] == [(0,)]
    scouted = read(folder / "hbm2-rowscout" / "out_RRR-RRR.txt")
    assert scouted.statistics is not None
    assert [entry.condition.refresh_interval for entry in scouted.statistics.conditions] == [1088.0, 1152.0, 1216.0]
    assert any("skipped 2 lines that are no JSON object, the first at line 1: 'CMD:" in note for note in scouted.notes)
    volts = read(folder / "voltage" / "dimm_faulty_cachelines_out.csv")
    assert (len(volts.cache_lines), len({entry.module for entry in volts.cache_lines})) == (168, 24)


def test_the_examples_of_the_documentation_are_read(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "measurements.md").read_text()
    formats = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if language:
            continue
        path = tmp_path / "example"
        path.write_text(block)
        campaign = read(path, max_damaged=0.0)
        assert campaign.statistics is not None
        assert campaign.statistics.conditions
        formats.append(campaign.format)
    assert formats == [
        "counts",
        "flips",
        "softmc",
        "dram-bender-rows",
        "dram-bender-hbm",
        "rowscout",
        "rowhammer-tester",
    ]
