"""Small campaigns as the tools' sources print them, and what becomes of each in one line.

``python tests/measurements/campaigns_of_tools.py`` prints the table of ``docs/results/campaigns.md``. The sources:
CMU-SAFARI/SoftMC ``sw/RetentionTest/RetentionTest.cpp``; CMU-SAFARI/DRAM-Bender ``sources/apps/RetentionTest``;
CMU-SAFARI/HBM-Read-Disturbance ``HBM_RETENTION/retention.cpp`` and ``RowScout.cpp`` of U-TRR there;
CMU-SAFARI/ReadDisturbanceVTS25 ``python/di_retention.py``, ``di_rd_ber.py``; CMU-SAFARI/PaCRAM ``DB_scripts``;
CMU-SAFARI/RowPress ``process_ber_log.py``; antmicro/rowhammer-tester ``rowhammer.py``, ``hw_rowhammer.py``.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from test_rowhammer_tester import ROW_BITS, hw_log, stored_in

import eden
from eden.measurements.readers import read

GIB = 2**30
BANK = {"banks": 1, "rows": 8, "row_bits": 1024}


_NOTHING: dict[str, Any] = {}


class Case(NamedTuple):
    """A campaign: what it is, the file's content, and what a user says of it."""

    name: str
    content: str | bytes
    tested: dict[str, Any] = _NOTHING
    at: dict[str, Any] = _NOTHING
    format: str | None = None
    fit: dict[str, Any] | None = None  # arguments of eden.fit; None: it is read alone
    file: str = "campaign"
    ask: dict[str, Any] | None = None  # of the fitted device, or where there is no content of the catalogue's ddr3-b33


def _number(value: float) -> str:
    return f"{value:.4g}"


def _read(path: Path, case: Case) -> str:
    campaign = read(path, case.format, tested=eden.Tested(**case.tested), at=eden.Condition(**case.at))
    parts = []
    for entry in campaign.statistics.conditions if campaign.statistics else ():
        condition = entry.condition
        where = [
            f"{value:g} {unit}"
            for value, unit in (
                (condition.vdd, "V"),
                (condition.trcd, "ns"),
                (condition.temperature, "C"),
                (condition.refresh_interval, "ms"),
                (condition.hammer_count, "hammers"),
                (condition.tras, "ns tRAS"),
            )
            if value is not None
        ]
        counts = []
        for stored in entry.stored_values:
            found = entry.counts(stored)
            name = {0: "zeros", 1: "ones", None: "unknown"}[stored]
            cells = "" if not found or found[0].cells is None else f" of {_number(sum(c.cells or 0 for c in found))}"
            counts.append(f"{name} {_number(sum(count.errors for count in found))}{cells}")
        passes = f", {len(entry.repeats)} passes" if len(entry.repeats) > 1 else ""
        parts.append(f"{' '.join(where) or 'no condition'}: {', '.join(counts) or 'no error'}{passes}")
    if campaign.cache_lines:
        parts.append(f"{len(campaign.cache_lines)} shares of cache lines")
    return "; ".join(parts)


def _fit(path: Path, case: Case) -> str:
    arguments = {"tested": eden.Tested(**case.tested), "at": eden.Condition(**case.at), **(case.fit or {})}
    device = eden.fit(path, case.format, **arguments) if case.content else eden.Device.builtin("ddr3-b33")
    if case.ask is not None:
        asked = dict(case.ask)
        part = device.partition(asked.pop("partition")) if "partition" in asked else device.whole
        answer = part.point(**asked)
        said = f"{_number(answer.errors.ber_zero)} / {_number(answer.errors.ber_one)}"
        return f"{said} for {device.model}, basis {answer.basis}"
    points = device.whole.points[1:]
    rates = [f"{_number(point.errors.ber_zero)} / {_number(point.errors.ber_one)}" for point in points]
    placeable = sum(len(part.points) > 1 for part in device.partitions)
    return f"{', '.join(rates) or 'no point'}; {placeable} of {len(device.partitions)} partitions can be placed in"


def outcome(case: Case, folder: Path) -> str:
    """What becomes of a case: counts by condition, rates of zeros and ones, or the refusal."""
    path = folder / case.file
    path.write_bytes(case.content if isinstance(case.content, bytes) else case.content.encode())
    try:
        return _read(path, case) if case.fit is None else _fit(path, case)
    except (ValueError, TypeError) as error:
        return "refused: " + str(error).replace(f"{path}: ", "").replace(str(path), "campaign")[:110].strip()


def _csv(header: str, *rows: str) -> str:
    return "\n".join((header, *rows)) + "\n"


def _counts(header: str, *rows: str, cells: int = GIB) -> str:
    return _csv(f"{header},errors,cells", *(f"{row},{cells}" for row in rows))


def _softmc(*errors: tuple[int, int, int, int], newline: str = "\n") -> str:
    """What a terminal gets of both streams: progress is drawn over the last one, an error stands behind it."""
    head = ["Number of devices: 1", "0: vendor id:10EE", "Starting Retention Time Test @ 4000 ms! ", ""]
    progress = "\x1b[2K\rCurrent Bank: 0, Row: 0\x1b[2K\rCurrent Bank: 0, Row: 800"
    lines = [f"Error at Col: {c}, Row: {r}, Bank: {b}, DATA: {byte:x} " for c, r, b, byte in errors]
    return newline.join([*head, progress + lines[0], *lines[1:], progress, "The test has been completed! "]) + newline


def _decimal(flipped: dict[int, int]) -> str:
    """As ``failures_file << (buf[j] ^ pattern)`` prints bytes of a signed type, of one row of eight bytes."""
    read_bytes = [0xFF ^ flipped.get(i, 0) for i in range(16)]
    return "".join(str(struct.unpack("b", bytes([byte]))[0] ^ 0xFF) for byte in read_bytes) * 2


def _attack(row: int, columns: dict[str, list[int]], **more: Any) -> dict[str, Any]:
    bits = sum(map(len, columns.values()))
    return {"errors_in_rows": {str(row): {"row": row, "col": columns, "bitflips": bits, **more}}}


_HBM = "channel,pseudo_channel,bank,row,column,bit,retention_time_in_ms,data_pattern"
_VTS = "Temp,Pattern,tWAIT,Row,NumBitflips"
_HBM_TESTED = {"banks": [0, 16], "rows": 8, "row_bits": 8192}
_SCOUT = {"row_group": [{"row_id": 5, "bitflip_locs": [3, 77]}], "bank_id": 1, "ret_ms": 448, "data_pattern_type": 1}
_ALL_ONES = {"pattern": "all_1"}
_SWEEP = [
    f"{at},50,{value},{bank},{repeat},{errors + 7 * bank + repeat}"
    for at, scale in ((64, 0), (1024, 40), (4096, 900))
    for value, errors in ((0, scale), (1, 3 * scale))
    for bank in range(2)
    for repeat in range(2)
    if scale or not (bank or repeat)
]
_FLIPS = [
    f"4000,50,0xff,{bank},{row},{bit}" for bank in range(1) for row, bit in ((0, 3), (1, 5), (3, 700), (6, 33), (7, 1))
]

_ACTIVE = [
    f"{tras},50,{value},{bank},{repeat},{errors + bank + repeat if errors else 0},{2**24}"
    for tras, scale in ((35, 0), (21, 500), (15, 90000))
    for value, errors in ((0, scale), (1, 3 * scale))
    for bank in range(2)
    for repeat in range(2)
]
# Rows that fail for one stored value alone: of every four, two for zeros and two for ones, one bit in ten of them.
_ONE_VALUE_A_ROW = [
    f"64000,50,{pattern},0,{row},{bit}"
    for pattern, value in (("0x00", 0), ("0xff", 1))
    for row in range(64)
    if row // 2 % 2 == value
    for bit in range(row % 7, 1024, 5)
]
# A bank whose 5 ns have by chance less than its 7.5 ns.
_BY_CHANCE = [
    f"{trcd},50,{value},{bank},{repeat},{errors + bank * (repeat % 3 - 1) * errors // 3},{2**24}"
    for trcd, scale in ((12.5, 0), (7.5, 64000), (5, 66000))
    for value, errors in ((0, scale), (1, 2 * scale))
    for bank in range(2)
    for repeat in range(4)
    if not (trcd == 5 and bank == 1 and repeat == 2)
]
_RETENTION = [
    f"{at},50,{value},{bank},{repeat},{errors + 17 * repeat + bank if errors else 0},{2**24}"
    for at, scale in ((64, 0), (512, 60), (1024, 700), (1536, 9100), (2048, 30000))
    for value, errors in ((0, scale), (1, 2 * scale))
    for bank in range(2)
    for repeat in range(3)
]
_JOINT = [
    f"{vdd},{at},50,{value},{bank},{repeat},{scale * (1 + value) + 17 * repeat + bank if scale else 0},{2**24}"
    for (vdd, at), scale in (
        ((1.35, 64), 0),
        ((1.1, 64), 100),
        ((1.0, 64), 900),
        ((1.35, 1024), 300),
        ((1.35, 2048), 4000),
        ((1.1, 1024), 800),
        ((1.1, 2048), 9000),
        ((1.0, 1024), 5000),
        ((1.0, 2048), 40000),
    )
    for value in (0, 1)
    for bank in range(2)
    for repeat in range(3)
]


def _hw(pattern: str, first: int, places: dict[int, int]) -> str:
    """A log of hw_rowhammer.py in which so many cells of row 21 failed that store the value, of the whole row."""
    holds = [bit for bit in range(0, ROW_BITS, 31) if stored_in(pattern, first, (0, 21, bit)) == 0]
    others = [bit for bit in range(0, ROW_BITS, 31) if stored_in(pattern, first, (0, 21, bit)) == 1]
    failed = [(0, 21, bit) for bit in holds[: places.get(0, 0)] + others[: places.get(1, 0)]]
    return json.dumps(hw_log(pattern, {(first, first + 2): failed}))


_HW = {"banks": 1, "rows": 64, "row_bits": ROW_BITS}
_LATENCIES = "\n".join(
    (
        ",".join((*(f"Bank{bank}" for bank in range(8)), "Label,Pattern,Temperature,tRAS,tRCD,tRP")),
        *(
            ",".join((*(f"{(errors + bank) / 2**30:.12g}" if errors else "0" for bank in range(8)), f"m1,{rest}"))
            for errors, rest in (
                (0, "0x0,50,35,12.5,12.5"),
                (0, "0xff,50,35,12.5,12.5"),
                (9000, "0x0,50,18,12.5,12.5"),
                (700, "0xff,50,18,12.5,12.5"),
            )
        ),
        "",
    )
)

CASES: list[Case] = [
    # Units and words of the conditions
    Case("refresh interval in seconds", _counts("refresh_interval_s,stored,bank", "2,1,0,7")),
    Case("refresh interval in microseconds", _counts("refresh_interval_us,stored,bank", "64000,1,0,0", "128000,1,0,3")),
    Case("voltage in millivolts", _counts("vdd_mV,stored,bank", "1350,0,0,0", "1100,0,0,9")),
    Case("tRCD in picoseconds", _counts("tRCD_ps,stored,bank", "12500,0,0,0", "7500,0,0,9")),
    Case("temperature in kelvin", _counts("temperature_K,stored,bank", "323.15,0,0,4")),
    Case("one quantity in two columns", _counts("vdd,vdd_mv,stored,bank", "1.35,1350,0,0,4")),
    Case(
        "sessions as a column",
        _counts("session,trcd,stored,bank,repeat", *(f"{s},7.5,1,0,{r},{500 + 40 * r}" for s in "ab" for r in (0, 1))),
    ),
    Case(
        "sessions of flips", _csv("session,bank,row,bit,repeat,stored", "a,0,1,2,0,1", "b,0,1,2,0,1"), BANK, _ALL_ONES
    ),
    Case("a column of tRAS that differs", _counts("tras,stored,bank", "33,0,0,4", "27,0,0,40")),
    Case("tRAS in picoseconds", _counts("tRAS_ps,stored,bank", "35000,0,0,0", "18000,0,0,9")),
    Case("a campaign that sweeps tRAS", _csv("tras,temperature,stored,bank,repeat,errors,cells", *_ACTIVE), fit={}),
    Case("the latency study's table with two tRAS", _LATENCIES, fit={}),
    Case("two modules, none chosen", _counts("module,stored,bank", "m1,0,0,4", "m2,0,0,40")),
    # Counts that are none
    Case("percentages with decimals", _counts("stored,bank,repeat", "0,0,0,1.37", "0,1,0,3.1")),
    Case(
        "whole percentages",
        _counts(
            "trcd,stored,bank,repeat",
            *(f"7.5,{v},{b},{r},{12 + 6 * v}" for v in (0, 1) for b in range(8) for r in range(8)),
        ),
    ),
    Case("few errors are counts", _counts("trcd,stored,bank", "7.5,0,0,3", "7.5,0,1,9", "7.5,0,2,1")),
    Case("rates", _counts("trcd,stored,bank", "7.5,0,0,1e-5")),
    Case(
        "errors by hammering in counts",
        _counts("hammer_count,refresh_interval,temperature,stored,bank", "50000,256,50,0,0,40", "50000,256,50,1,0,44"),
        fit={},
    ),
    Case("a VDD column in capitals", _counts("VDD,stored,bank", "1.35,0,0,0", "1.1,0,0,9")),
    Case(
        "zeros as 0x00 and ones as FF",
        _counts(
            "trcd,temperature,pattern,bank", "12.5,50,0x00,0,0", "12.5,50,FF,0,0", "7.5,50,0x00,0,50", "7.5,50,FF,0,99"
        ),
        fit={},
    ),
    # Rates that were too low, or none
    Case(
        "rows that fail for one stored value alone",
        _csv("refresh_interval,temperature,pattern,bank,row,bit", *_ONE_VALUE_A_ROW),
        {"banks": 1, "rows": 64, "row_bits": 1024, "subarray_rows": 64},
        fit={},
        ask={"refresh_interval": 64000},
    ),
    Case(
        "one stored value alone, of counts",
        _counts(
            "refresh_interval,temperature,stored,bank,repeat", *(row for row in _SWEEP if row.split(",")[2] == "1")
        ),
        fit={},
    ),
    Case(
        "a bank that fails less by chance",
        _csv("trcd,temperature,stored,bank,repeat,errors,cells", *_BY_CHANCE),
        fit={},
        ask={"partition": "bank1", "trcd": 5.0},
    ),
    Case("ddr3-b33 at 7.5 ns", "", fit={}, ask={"trcd": 7.5}),
    Case("ddr3-b33 at 7.49 ns, by its curves", "", fit={}, ask={"trcd": 7.49, "between": "curve"}),
    *(
        Case(
            f"a refresh interval of {at} ms between those measured",
            _csv("refresh_interval,temperature,stored,bank,repeat,errors,cells", *_RETENTION),
            fit={"nominal": eden.Condition(refresh_interval=64)},
            ask={"refresh_interval": at, "between": "curve"},
        )
        for at in (1100, 1300, 1500)
    ),
    Case(
        "VDD and refresh interval together, between those measured",
        _csv("vdd,refresh_interval,temperature,stored,bank,repeat,errors,cells", *_JOINT),
        fit={"nominal": eden.Condition(refresh_interval=64, vdd=1.35)},
        ask={"vdd": 1.05, "refresh_interval": 1500, "between": "curve"},
    ),
    # Fits that could not be placed in
    Case(
        "a sole bank, of counts",
        _counts(
            "refresh_interval,temperature,stored,bank,repeat", *(row for row in _SWEEP if row.split(",")[3] == "0")
        ),
        fit={},
    ),
    Case("a sole bank, of flips", _csv("refresh_interval,temperature,pattern,bank,row,bit", *_FLIPS), BANK, fit={}),
    Case(
        "bank 1 alone",
        _csv(
            "refresh_interval,temperature,pattern,bank,row,bit", *(line.replace("0xff,0", "0xff,1") for line in _FLIPS)
        ),
        {**BANK, "banks": [1]},
        fit={},
    ),
    Case(
        "a bank of 1,000,003 cells",
        _counts("refresh_interval,temperature,stored,bank,repeat", *_SWEEP, cells=1_000_003),
        fit={},
    ),
    Case(
        "rows of 1,000 bits",
        _csv("refresh_interval,temperature,pattern,bank,row,bit", *_FLIPS),
        {**BANK, "banks": 2, "row_bits": 1000},
        fit={},
    ),
    Case(
        "zeros that never fail, of counts",
        _counts(
            "refresh_interval,temperature,stored,bank,repeat",
            *(row if row.split(",")[2] == "1" else row[: row.rindex(",")] + ",0" for row in _SWEEP),
        ),
        fit={},
    ),
    Case(
        "zeros without a flip, tested",
        _csv("refresh_interval,temperature,pattern,bank,row,bit", *_FLIPS, "2000,50,0x00,0,1,1"),
        {**BANK, "grid": True},
        fit={},
    ),
    # ReadDisturbanceVTS25: di_retention.py, di_rd_ber.py
    Case(
        "rows of a retention test",
        _csv(_VTS, "90,00000000,16,3,1", "90,00000000,32,3,2", "90,FFFFFFFF,32,0,9"),
        {**BANK, "banks": [1]},
    ),
    Case("the same without the tested cells", _csv(_VTS, "90,00000000,16,3,1", "90,FFFFFFFF,32,0,9")),
    Case("rows of several banks", _csv(_VTS, "90,00000000,16,3,1"), {**BANK, "banks": 2}),
    Case("a row twice in a pass", _csv(_VTS, "90,00000000,16,3,1", "90,00000000,16,3,1"), BANK),
    Case("a pattern of both values", _csv(_VTS, "90,AAAAAAAA,16,3,1"), BANK),
    Case("more failures than cells of a row", _csv(_VTS, "90,00000000,16,3,1025"), BANK),
    Case("a row that was not tested", _csv(_VTS, "90,00000000,16,8,1"), BANK),
    Case(
        "its table of RowHammer",
        _csv("Vic Row,Data Pattern,HC,Aggr. Type,Num. Bitflips,Itr", "1024,0xFFFFFFFF,1000000,Upper,1887,0"),
    ),
    Case("its sweep of hammer counts", _csv("Temp,Vic Row,HC,Itr", "50,1024,21000,0")),
    # PaCRAM, RowPress
    Case("PaCRAM's flips", _csv("PivotRow,BitLoc", "1024,77", "1024,91", "1024,91"), at={"hammer_count": 1e5}),
    Case("PaCRAM's flips, hammering not said", _csv("PivotRow,BitLoc", "1024,77", "1024,91")),
    Case(
        "PaCRAM's flips, the file named as its programs do",
        _csv("PivotRow,BitLoc", "1024,77", "1024,91", "1024,91"),
        at={"hammer_count": 1e5},
        file="tras_27-1.ber",
    ),
    Case(
        "PaCRAM's flips, another tRAS said",
        _csv("PivotRow,BitLoc", "1024,77"),
        at={"hammer_count": 1e5, "tras": 33.0},
        file="tras_27-1.ber",
    ),
    Case("PaCRAM's thresholds", _csv("PivotRow,nRH", "1024,21000")),
    Case("PaCRAM's processed flips", _csv("PivotRow,module,res_lat_ns,norm_bfs,norm_tras,mfr", "9,H0,27,1.2,0.81,H")),
    Case("PaCRAM's configuration", _csv("norm_tras,n_nRH,th_pcr", "0.27,0.92,300.0")),
    Case("RowPress's log", "Found row 1024 with 17 bitflips\n"),
    # SoftMC
    Case("SoftMC, a byte", _softmc((8, 1, 0, 0xFE)), BANK, {"refresh_interval": 4000}),
    Case("SoftMC, bytes of one burst", _softmc((8, 1, 0, 0xFE), (8, 1, 0, 0xFE)), BANK),
    Case("SoftMC, a byte without its zero", _softmc((8, 1, 0, 0x0)), BANK, {"pattern": "0xff"}),
    Case("SoftMC of DOS", _softmc((8, 1, 0, 0x7F), newline="\r\n"), BANK),
    Case("SoftMC of zeros, said", _softmc((8, 1, 0, 0x01)), BANK, {"pattern": "0x00"}),
    Case("SoftMC of zeros, not said", _softmc((8, 1, 0, 0x01)), BANK),
    Case("SoftMC, a row that was not tested", _softmc((8, 9, 0, 0xFE)), BANK),
    # DRAM Bender
    Case(
        "DRAM Bender, decimal numbers",
        _decimal({0: 0x01, 9: 0x80}),
        {"banks": 1, "rows": 4, "row_bits": 64},
        {"pattern": "0xff"},
    ),
    Case(
        "DRAM Bender, a truncated number",
        _decimal({0: 0x01, 9: 0x80})[:-1],
        {"banks": 1, "rows": 4, "row_bits": 64},
        {"pattern": "0xff"},
    ),
    Case(
        "DRAM Bender, bytes",
        bytes([1, *[0] * 31]),
        {"banks": 1, "rows": 4, "row_bits": 64},
        {"pattern": "0x00"},
        "dram-bender-retention",
    ),
    Case(
        "DRAM Bender, another geometry",
        bytes([1, *[0] * 30]),
        {"banks": 1, "rows": 4, "row_bits": 64},
        {"pattern": "0x00"},
        "dram-bender-retention",
    ),
    Case("HBM, pseudo channels", _csv(_HBM, "0,0,0,5,0,17,4000,255", "0,1,0,5,31,255,4000,0"), _HBM_TESTED),
    Case("HBM, a byte in decimal that is both", _csv(_HBM, "0,0,0,5,0,0,4000,85", "0,0,0,5,0,1,4000,85"), _HBM_TESTED),
    Case("HBM, a bit past its column", _csv(_HBM, "0,0,0,5,0,256,4000,255"), _HBM_TESTED),
    # U-TRR
    Case("RowScout", json.dumps(_SCOUT, indent=4) + json.dumps({**_SCOUT, "data_pattern_type": 2}, indent=4)),
    Case("RowScout, rows that alternate", json.dumps({**_SCOUT, "data_pattern_type": 5})),
    Case("RowScout, random data", json.dumps({**_SCOUT, "data_pattern_type": 7})),
    Case("RowScout, cut short", json.dumps(_SCOUT) + json.dumps(_SCOUT)[:-9]),
    # rowhammer-tester
    Case(
        "rowhammer.py, ones",
        json.dumps({"40000": {"pair_1_3": _attack(2, {"8": [7, 30]})}}),
        {"banks": 1, "rows": 8, "row_bits": 65536},
        _ALL_ONES,
    ),
    Case(
        "its retention",
        json.dumps({"no_attack_time": {"6.4e10": _attack(2, {"8": [7, 30]})}}),
        {"banks": 1, "rows": 8, "row_bits": 65536},
        _ALL_ONES,
    ),
    Case(
        "hammered rows as a device",
        json.dumps({"40000": {"pair_1_3": _attack(2, {"8": [7, 30]})}}),
        {"banks": 1, "rows": 8, "row_bits": 65536},
        _ALL_ONES,
        fit={},
    ),
    Case("hw_rowhammer.py, 01_in_row", _hw("01_in_row", 21, {0: 685, 1: 149}), _HW, {"pattern": "01_in_row"}),
    Case("hw_rowhammer.py, 01_per_row of an even row", _hw("01_per_row", 20, {1: 300}), _HW, {"pattern": "01_per_row"}),
    Case("hw_rowhammer.py, all_0", _hw("all_0", 21, {0: 300}), _HW, {"pattern": "all_0"}),
    Case(
        "its data not named",
        json.dumps({"40000": {"pair_1_3": _attack(2, {"8": [7, 30]})}}),
        {"banks": 1, "rows": 8, "row_bits": 65536},
    ),
    Case(
        "its log, cut short",
        json.dumps({"40000": {"pair_1_3": _attack(2, {"8": [7, 30]})}})[:-3],
        {"banks": 1, "rows": 8, "row_bits": 65536},
        _ALL_ONES,
    ),
]


def table(done: Callable[[Case, Path], str] = outcome) -> list[tuple[str, str]]:
    """Each case's name with its outcome."""
    with tempfile.TemporaryDirectory() as folder:
        return [(case.name, done(case, Path(folder))) for case in CASES]


if __name__ == "__main__":
    for name, found in table():
        sys.stdout.write(f"{name}\t{found}\n")
