"""Are PaCRAM's files counted as its own programs count them, and its other files refused by name?

The generator writes what ``DB_scripts/process_BER.py`` and ``process_NRH.py`` of CMU-SAFARI/PaCRAM read: for a module a
folder with ``tras_<ns>-<restorations>.ber`` and ``.csv``; they drop lines that repeat, count the bits of each row, and
divide by the same row's at 33 ns.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import eden
from eden.common.files import FileError
from eden.measurements.readers import read

TIMES = ("33", "27", "21", "15", "12", "9", "6")
ROWS, ROW_BITS = 16, 1024
TESTED = eden.Tested(banks=1, rows=ROWS, row_bits=ROW_BITS)
HAMMERED = eden.Condition(hammer_count=1e5, pattern="0xaa")


def module(folder: Path, seed: int) -> dict[str, Counter[int]]:
    """A module's files, and by tRAS how many bits of each row ``process_BER.py`` counts."""
    random = np.random.default_rng(seed)
    counted: dict[str, Counter[int]] = {}
    for i, time in enumerate(TIMES):
        lines = []
        for row in range(0, ROWS, 3):
            bits = random.choice(ROW_BITS, 5 + 9 * i, replace=False)
            lines += [f"{row},{bit}" for bit in (*bits, *bits[:3])]  # some are told twice
        random.shuffle(lines)
        (folder / f"tras_{time}-1.ber").write_text("\n".join(("PivotRow,BitLoc", *lines)) + "\n")
        thresholds = [f"{row},{int(random.integers(1000, 9000))}" for row in range(0, ROWS, 3)]
        (folder / f"tras_{time}-1.csv").write_text("\n".join(("PivotRow,nRH", *thresholds)) + "\n")
        counted[time] = Counter(int(line.split(",")[0]) for line in set(lines))
    return counted


def test_flips_are_those_that_its_programs_count(tmp_path: Path) -> None:
    counted = module(tmp_path, 5)
    ratios = []
    for time in TIMES:
        campaign = read(tmp_path / f"tras_{time}-1.ber", at=HAMMERED, tested=TESTED)
        assert campaign.statistics is not None
        (entry,) = campaign.statistics.conditions
        assert (entry.condition.tras, entry.condition.hammer_count) == (float(time), 1e5)
        assert any(f"tRAS {time} ns, as its name tells, in 1 restoration before" in note for note in campaign.notes)
        lines = sum(entry.lines("wordline", stored).errors for stored in entry.stored_values)
        assert {row: int(n) for row, n in enumerate(lines) if n} == counted[time]
        ratios.append({row: lines[row] / counted["33"][row] for row in counted["33"]})
    assert ratios[0] == dict.fromkeys(range(0, ROWS, 3), 1.0)
    with pytest.raises(ValueError, match=r"hammer_count is 100000 in .*: RowHammer is no operating point"):
        eden.fit(tmp_path / "tras_27-1.ber", at=HAMMERED, tested=TESTED)


def test_what_tells_no_rate_is_refused_by_name(tmp_path: Path) -> None:
    module(tmp_path, 6)
    with pytest.raises(FileError, match=r"found the column nRH: the least activations .* allowed are its files \*.ber"):
        read(tmp_path / "tras_27-1.csv")
    for header, column in (
        ("PivotRow,module,base_nRH,res_lat_ns,norm_nRH,norm_tras,mfr", "norm_nRH"),
        ("PivotRow,module,res_lat_ns,norm_bfs,norm_tras,mfr", "norm_bfs"),
        ("norm_tras,n_nRH,th_pcr", "n_nRH"),
    ):
        (tmp_path / "a.csv").write_text(f"{header}\n{','.join('1' * len(header.split(',')))}\n")
        with pytest.raises(FileError, match=f"found the column {column}: shares of what the same row did"):
            read(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("PivotRow,Bits\n1,2\n")
    with pytest.raises(FileError, match=r"the column BitLoc is missing; allowed are its files \*.ber"):
        read(tmp_path / "a.csv")


def test_the_name_and_what_is_said_agree(tmp_path: Path) -> None:
    flips = "PivotRow,BitLoc\n3,7\n"
    for name, told in (("tras_27-1.ber", 27.0), ("tras_7.5-4.ber", 7.5), ("flips.ber", None), ("tras_27.ber", None)):
        (tmp_path / name).write_text(flips)
        campaign = read(tmp_path / name, at=HAMMERED)
        assert campaign.statistics is not None
        assert campaign.statistics.conditions[0].condition.tras == told
        assert any("its name tells no tRAS" in note for note in campaign.notes) is (told is None)
    said = eden.Condition(hammer_count=1e5, tras=33.0)
    assert read(tmp_path / "flips.ber", at=said).statistics.conditions[0].condition.tras == 33.0  # type: ignore[union-attr]
    with pytest.raises(FileError, match="its name tells a tRAS of 27 ns; allowed is 33 ns, as at says"):
        read(tmp_path / "tras_27-1.ber", at=said)
    (tmp_path / "tras_0-1.ber").write_text(flips)
    with pytest.raises(FileError, match="its name tells a tRAS of 0 ns; allowed is above 0"):
        read(tmp_path / "tras_0-1.ber", at=HAMMERED)
