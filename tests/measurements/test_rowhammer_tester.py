"""Are logs of antmicro's rowhammer-tester read as its programs write them?

The generator follows their source: ``rowhammer.py`` (``bitflip_list``, ``display_errors``, ``no_attack_sleep``,
``main``) and ``hw_rowhammer.py`` (``check_errors``, ``run``).
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import eden
from eden.common.files import FileError
from eden.measurements.campaign import Statistics
from eden.measurements.readers import read

COLUMNS, COLUMN_BITS = 1024, 64
BURST = 8 * COLUMN_BITS
ROW_BITS = COLUMNS * COLUMN_BITS
WORDS = {"all_0": 0x00000000, "all_1": 0xFFFFFFFF, "01_in_row": 0xAAAAAAAA}
Flip = tuple[int, int, int]  # bank, row, bit of the row


def of_row(pattern: str, row: int) -> int:
    """The 32 bits that a pattern writes to a row."""
    return WORDS[pattern] if pattern in WORDS else 0xFFFFFFFF if row % 2 == 0 else 0


def numbered(read: int, written: int) -> list[int]:
    """The program's list of a word's flips: digits of the difference, as many as the written word has at least."""
    digits = f"{read ^ written:b}".zfill(len(f"{written:b}"))
    return [place for place, digit in enumerate(digits) if digit == "1"]


def errors_in_rows(flips: list[Flip], width: int, word_of: Any) -> dict[str, Any]:
    """What is logged of a read of the memory in words of ``width`` bits; all banks of a row together."""
    changed: dict[int, dict[tuple[int, int], int]] = defaultdict(lambda: defaultdict(int))
    for bank, row, bit in flips:
        changed[row][bank, bit // width] ^= 1 << (bit % width)
    found = {}
    for row, words in changed.items():
        columns: dict[str, list[int]] = {}
        for (_, number), mask in sorted(words.items()):
            written = int(f"{word_of(row):032b}" * (width // 32), 2)
            columns[str(number * width // COLUMN_BITS)] = numbered(written ^ mask, written)
        found[str(row)] = {"row": row, "col": columns, "bitflips": sum(mask.bit_count() for mask in words.values())}
    return found


def hw_log(pattern: str, attacks: dict[tuple[int, int], list[Flip]], reads: int = 40000) -> dict[str, Any]:
    """A log of ``hw_rowhammer.py --all-rows``: the memory holds the pattern of the first row of each pair."""
    log: dict[str, Any] = {"read_count": reads}
    for (first, second), flips in attacks.items():
        found = errors_in_rows(flips, BURST, lambda _row, first=first: of_row(pattern, first))
        log[f"pair_{first}_{second}"] = {"hammer_row_1": first, "hammer_row_2": second, "errors_in_rows": found}
    return {str(reads): log}


def flips(number: int, seed: int, rows: tuple[int, ...] = (19, 21)) -> list[Flip]:
    random = np.random.default_rng(seed)
    places = random.choice(ROW_BITS, number, replace=False)
    return [(0, int(rows[place % len(rows)]), int(place)) for place in places]


def stored_in(pattern: str, first: int, flip: Flip) -> int:
    return of_row(pattern, first) >> (flip[2] % 32) & 1


def write(folder: Path, log: dict[str, Any]) -> Path:
    path = folder / "error_summary.json"
    path.write_text(json.dumps(log, indent=4))
    return path


def statistics(path: Path, pattern: str | None, banks: Any = 1) -> Statistics:
    tested = eden.Tested(banks=banks, rows=64, row_bits=ROW_BITS)
    found = read(path, at=eden.Condition(pattern=pattern), tested=tested).statistics
    assert found is not None
    return found


def cells(found: Statistics) -> set[tuple[int, int, int]]:
    """Row, bit and stored value of all that failed."""
    parts = [one.flips() for one in found.conditions]
    return {
        each for part in parts for each in zip(*(x.tolist() for x in (part.row, part.bit, part.stored)), strict=True)
    }


@pytest.mark.parametrize("pattern", ["all_1", "01_in_row", "01_per_row"])
def test_bits_count_from_the_most_significant_one_and_the_memory_holds_one_word(tmp_path: Path, pattern: str) -> None:
    attacks = (
        {(20, 20): flips(200, 1)} if pattern == "01_per_row" else {(20, 20): flips(200, 1), (21, 23): flips(90, 2)}
    )
    expected = {(row, bit, stored_in(pattern, 20, (0, row, bit))) for each in attacks.values() for _, row, bit in each}
    assert cells(statistics(write(tmp_path, hw_log(pattern, attacks)), pattern)) == expected


def test_of_a_word_that_begins_with_zeros_the_flips_are_counted_and_no_places(tmp_path: Path) -> None:
    attacks = {(21, 23): flips(300, 3, (22,))}
    for pattern in ("all_0", "01_per_row"):  # row 21 holds zeros
        (condition,) = statistics(write(tmp_path, hw_log(pattern, attacks)), pattern).conditions
        assert condition.stored_values == (0,)
        assert sum(count.errors for count in condition.counts(0)) == 300
        assert condition.lines("wordline", 0).errors.max() == 300
        for places in (condition.flips, lambda: condition.lines("bitline", 0), lambda: condition.cells(0)):  # noqa: B023
            with pytest.raises(ValueError, match="which bit of a row failed"):
                places()
    (unknown,) = statistics(write(tmp_path, hw_log("01_in_row", attacks)), None).conditions
    assert sum(count.errors for count in unknown.counts(None)) == 300
    with pytest.raises(ValueError, match="which bit of a row failed"):
        unknown.flips()


def test_flips_of_several_banks_under_one_column_all_count(tmp_path: Path) -> None:
    both = [(bank, row, bit) for bank in (0, 3) for _, row, bit in flips(120, 4)]
    (condition,) = statistics(write(tmp_path, hw_log("all_1", {(20, 20): both})), "all_1").conditions
    assert sum(count.errors for count in condition.counts(1)) == 240
    with pytest.raises(FileError, match="whose places are not known, so neither is what the cells stored"):
        statistics(write(tmp_path, hw_log("01_in_row", {(20, 20): both})), "01_in_row")
    with pytest.raises(ValueError, match="banks has 2 banks; allowed for rowhammer-tester is one"):
        statistics(tmp_path / "error_summary.json", "all_1", banks=2)
    (third,) = statistics(tmp_path / "error_summary.json", "all_1", banks=(3,)).conditions
    assert {count.bank for count in third.counts(1)} == {3}


def test_retention_is_a_refresh_interval_in_the_steps_that_the_program_sleeps(tmp_path: Path) -> None:
    found = flips(300, 5)
    rows = errors_in_rows(found, BURST, lambda _row: of_row("01_per_row", 0))
    log = {"no_attack_time": {str(64e9 + 7e7): {"errors_in_rows": rows}}}
    device = eden.fit(
        write(tmp_path, log),
        at=eden.Condition(pattern="01_per_row", temperature=50),
        tested=eden.Tested(banks=1, rows=64, row_bits=ROW_BITS),
    )
    errors = device.errors(refresh_interval=64_000)
    assert errors.ber_one == pytest.approx(300 / (64 * ROW_BITS), rel=1e-3)
    for short in ("5e7", "0.0", "x"):
        with pytest.raises(FileError, match=r"time without an attack of '.*'; allowed are nanoseconds, 1e8"):
            read(write(tmp_path, {"no_attack_time": {short: {"errors_in_rows": rows}}}))


def test_words_of_32_bits_have_no_places_and_their_rows_words_of_their_own(tmp_path: Path) -> None:
    found = [(0, row, bit // 64 * 64 + bit % 32) for _, row, bit in flips(150, 6)]
    pairs = {"20": {"pair_20_20": {"hammer_row_1": 20, "hammer_row_2": 20}}}
    for pattern in ("all_1", "01_in_row", "01_per_row"):
        pairs["20"]["pair_20_20"]["errors_in_rows"] = errors_in_rows(found, 32, lambda row, p=pattern: of_row(p, row))
        path = write(tmp_path, pairs)
        if pattern == "01_per_row":
            with pytest.raises(FileError, match=r"those of rowhammer\.py, whose rows hold words of their own"):
                statistics(path, pattern)
            continue
        (condition,) = statistics(path, pattern).conditions
        counted = [sum(c.errors for c in condition.counts(v)) if v in condition.stored_values else 0 for v in (0, 1)]
        ones = sum(stored_in(pattern, 0, flip) for flip in set(found))
        assert counted == [len(set(found)) - ones, ones]
        with pytest.raises(ValueError, match="which bit of a row failed"):
            condition.flips()


def test_what_the_file_does_not_tell_is_refused(tmp_path: Path) -> None:
    few = hw_log("01_per_row", {(20, 20): [(0, 19, 512 * 3 + 511)]})
    with pytest.raises(FileError, match="too few to tell which program wrote them"):
        statistics(write(tmp_path, few), "01_per_row")
    late = {"1": {"pair_20_20": {"errors_in_rows": {}}}}
    with pytest.raises(FileError, match="without the first row hammered before it"):
        statistics(write(tmp_path, late), "01_per_row")
    narrow = hw_log("all_1", {(20, 20): [(0, 19, 512 * number + 511 - number) for number in range(60)]})
    with pytest.raises(FileError, match="found no bit above 59 in 60 flips; allowed is column_bits"):
        statistics(write(tmp_path, narrow), "all_1")


@pytest.mark.data
def test_zeros_and_ones_of_a_real_module(data_folder: Path) -> None:
    folder = data_folder / "dram" / "rowhammer-cells"
    if not folder.is_dir():
        pytest.skip("EDEN_DATA names a folder without dram/rowhammer-cells")
    counted = {}
    for pattern in ("01_in_row", "01_per_row", "all_0"):
        path = folder / f"datapattern_single_side_r20-30_rc40K_pat_{pattern}.json"
        found = read(path, at=eden.Condition(pattern=pattern))
        assert found.statistics is not None
        counted[pattern] = [
            sum(c.errors for one in found.statistics.conditions if v in one.stored_values for c in one.counts(v))
            for v in (0, 1)
        ]
    assert counted["01_in_row"] == [685, 149]
    assert counted["all_0"] == [1108, 0]
    assert sum(counted["01_per_row"]) == 706
