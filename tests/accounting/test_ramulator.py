"""Are configuration and trace what Ramulator 2 reads, and are its statistics read or refused by name?"""

import contextlib
import io
import math
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import ramulator_module
from chain import device, tolerance

import eden
from eden.common.files import FileError
from eden.costs.energy import Currents, energy_of
from eden.costs.platforms import PLATFORMS
from eden.costs.traffic_file import OperandTraffic, Traffic
from eden.devices.partition import OperatingPoint

yaml = pytest.importorskip("yaml", reason="pip install pyyaml reads and writes Ramulator's files")
ramulator = pytest.importorskip("eden.accounting.ramulator")

POINT = OperatingPoint(vdd=1.35, trcd=7.5, trp=10.1, temperature=20.0, refresh_interval=128.0)

# What Ramulator 2.0 prints: log lines, then one document for the front end and one for the memory system.
OUTPUT = """\
[Ramulator::LoadStoreTrace] [info] Loading trace file trace.txt ...
[Ramulator::LoadStoreTrace] [info] Loaded 5 lines.
Frontend:
  impl: LoadStoreTrace



MemorySystem:
  impl: GenericDRAM
  total_num_other_requests: 0
  total_num_write_requests: 2
  memory_system_cycles: 120
  total_num_read_requests: 3
  DRAM:
    impl: DDR3
  AddrMapper:
    impl: ChRaBaRoCo


  Controller:
    impl: Generic
    id: Channel 0
    avg_read_latency_0: 25.6666667
    row_conflicts_0: 1
    row_misses_0: 1
    row_hits_0: 3
    read_latency_0: 77
    Scheduler:
      impl: FRFCFS
    RefreshManager:
      impl: AllBank


    RowPolicy:
      impl: OpenRowPolicy
"""


def moved() -> Traffic:
    weight = OperandTraffic(kind="weight", bytes=100, read_bytes=200, written_bytes=0, fits_on_chip=False)
    fmap = OperandTraffic(kind="input", bytes=64, read_bytes=64, written_bytes=128, fits_on_chip=True)
    return Traffic(platform="cpu", batch=1, operands={"fc.weight": weight, "fc.input": fmap})


def output(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "statistics.txt"
    path.write_text(text)
    return path


def test_configuration_and_trace(tmp_path: Path):
    written = ramulator.write(tmp_path / "nominal", moved(), version="2.0")
    # 200 bytes are 3 bursts of an operand of 2, and its map begins behind them.
    assert written.trace.read_text().split("\n") == ["LD 0x0", "LD 0x40", "LD 0x0", "ST 0x80", "ST 0x80", "LD 0x80", ""]
    assert (written.reads, written.writes, written.share) == (4, 2, 1.0)
    configuration = yaml.safe_load(written.configuration.read_text())
    assert configuration["Frontend"] == {
        "impl": "LoadStoreTrace",
        "clock_ratio": 1,
        "path": str(written.trace.resolve()),
    }
    dram = configuration["MemorySystem"]["DRAM"]
    assert (dram["impl"], dram["org"]["preset"]) == ("DDR3", "DDR3_1Gb_x8")
    assert "nRCD" not in dram["timing"]
    nominal = dram["timing"]
    assert nominal["nRC"] == nominal["nRAS"] + nominal["nRP"]

    written = ramulator.write(
        tmp_path / "fast", moved(), "ddr3l-1600", POINT, exchange=True, most_bursts=3, version="2.0"
    )
    assert written.share == pytest.approx(3 / (392 / 64))
    assert set(written.trace.read_text().split()[::2]) == {"LD", "ST"}
    assert written.trace.read_text().startswith("ST 0x0\n")
    timing = yaml.safe_load(written.configuration.read_text())["MemorySystem"]["DRAM"]["timing"]
    # 7.5 ns are 6 cycles of 1.25 ns; 10.1 ns are rounded up to 9.
    assert (timing["nRCD"], timing["nRP"], timing["nRC"]) == (6, 9, timing["nRAS"] + 9)
    assert timing["nREFI"] == pytest.approx(2 * nominal["nREFI"], rel=0.01)
    # 20.1 ns are 17 cycles.
    soon_closed = POINT.model_copy(update={"tras": 20.1})
    written = ramulator.write(tmp_path / "closed", moved(), "ddr3l-1600", soon_closed, version="2.0")
    timing = yaml.safe_load(written.configuration.read_text())["MemorySystem"]["DRAM"]["timing"]
    assert (timing["nRAS"], timing["nRC"]) == (17, 26)


def simulated(written: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, ramulator_module.Simulation]:
    """What the script prints where Ramulator 2.1 is installed, and the simulation."""
    monkeypatch.setitem(sys.modules, "ramulator", ramulator_module.module())
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        names = runpy.run_path(str(written.configuration), run_name="__main__")
    return output(written.configuration.parent, "[info] Loaded.\n" + printed.getvalue()), names["simulation"]


@pytest.mark.parametrize("currents", ["ddr3-1600", "ddr3l-1600", "ddr4-2400"])
def test_version_2_1(currents: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script runs on the module's classes; statistics and counts of commands are what it printed."""
    large = {"read_bytes": 64.0 * 20_000, "written_bytes": 64.0 * 500}
    traffic = moved().model_copy(
        update={"operands": {name: one.model_copy(update=large) for name, one in moved().operands.items()}}
    )
    written = ramulator.write(tmp_path / "nominal", traffic, currents)
    path, simulation = simulated(written, monkeypatch)
    found = ramulator.read(path, written)
    assert (found.reads, found.writes) == (written.reads, written.writes) == (40_000, 1_000)
    assert (found.row_hits, found.row_misses, found.row_conflicts) == tuple(simulation.rows.values())
    assert (found.cycles, found.read_latency) == (simulation.cycles, 14.0)
    counts = ramulator.read_commands(written.commands, found)
    issued = simulation.issued
    assert (counts.activates, counts.reads, counts.writes) == (issued["ACT"], issued["RD"], issued["WR"])
    assert (counts.refreshes, counts.precharges) == (issued["REFab"], issued["ACT"])
    assert issued["REFab"] > 0
    energy = energy_of(currents, counts)
    assert sum(term["read"] for term in energy.values()) > 0.0
    fast = ramulator.write(tmp_path / "fast", traffic, currents, POINT)
    _, other = simulated(fast, monkeypatch)
    slow, quick = (one.dram.given["timing"] for one in (simulation, other))
    assert "nRCD" not in slow
    assert quick["nRCD"] == math.ceil(7.5 / Currents.builtin(currents).tck)
    assert quick["nREFI"] == pytest.approx(2 * slow["nREFI"], rel=0.01)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("RD, ", "READ, ", r"line \d: found the command 'READ'; allowed are ACT, RD"),
        ("ACT, ", "ACT; ", r"line \d: found 'ACT; \d+'; allowed is a command, a comma and a count"),
        ("WR, 2\n", "", "found no count of WR"),
        ("WR, 2\n", "WR, 2\nWR, 2\n", "found WR a second time"),
        ("RD, 4", "RD, 5", "found 5 reads; allowed are the 4 that were simulated, or fewer"),
    ],
)
def test_damaged_counts(old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = ramulator.write(tmp_path, moved())
    found = ramulator.read(simulated(written, monkeypatch)[0], written)
    written.commands.write_text(written.commands.read_text().replace(old, new))
    with pytest.raises(FileError, match=message):
        ramulator.read_commands(written.commands, found)
    path = tmp_path / "statistics.txt"
    twice = path.read_text().replace("  controller:\n", "  controller:\n    id: x\n  controller:\n")
    path.write_text(twice)
    with pytest.raises(FileError, match="found 2 controllers; allowed is one channel"):
        ramulator.read(path)


def test_addresses_of_a_placement(tmp_path: Path):
    wanted = tolerance({"fc.weight": 1e-2, "fc.input": 1e-9}, bytes={"fc.weight": 100, "fc.input": 64})
    placement = eden.place(wanted, device())
    first = {}
    end = 0
    for name, partition in placement.partitions.items():
        first[name] = end
        end += partition.capacity_bytes
    starts = {name: first[one.partition] + one.address_bytes for name, one in placement.operands.items()}
    assert len(set(starts.values())) == 2
    lines = ramulator.write(tmp_path, moved(), placement=placement).trace.read_text().splitlines()
    assert lines[0] == f"LD {starts['fc.weight']:#x}"
    assert lines[-1] == f"LD {starts['fc.input']:#x}"


def test_statistics(tmp_path: Path):
    written = ramulator.Written(tmp_path, tmp_path, reads=3, writes=2, share=1.0)
    found = ramulator.read(output(tmp_path, OUTPUT), written)
    assert (found.cycles, found.reads, found.writes) == (120, 3, 2)
    assert found.row_hit_share == 0.6
    assert found.read_latency == pytest.approx(25.67, abs=0.01)
    assert found.time_ns("ddr3-1600") == pytest.approx(150.0)
    measured = ramulator.platform_with(PLATFORMS["cpu"], found)
    assert measured.row_hit_share.low == measured.row_hit_share.high == 0.6
    assert "Ramulator" in measured.sources["row_hit_share"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("MemorySystem:", "Memory:", r"found 0 lines 'memory_system:' or 'MemorySystem:'"),
        ("    row_hits_0: 3\n", "", "found no row_hits_0"),
        ("row_hits_0: 3", "row_hits_0: many", "row_hits_0: .*; found 'many'"),
        ("memory_system_cycles: 120", "memory_system_cycles: 0", "memory_system_cycles: .*; found 0"),
        ("  Controller:", "  Controller:\n    id: x\n  Controller:", "found 2 controllers; allowed is one channel"),
        ("  Controller:\n", "  Other:\n", "found no Controller"),
        ("requests: 2", "requests: 4", "found 3 reads and 4 writes; the trace has 3 and 2"),
        ("impl: DDR3", "impl: [", "no YAML"),
    ],
)
def test_damaged_statistics(tmp_path: Path, old: str, new: str, message: str):
    written = ramulator.Written(tmp_path, tmp_path, reads=3, writes=2, share=1.0)
    with pytest.raises(FileError, match=message):
        ramulator.read(output(tmp_path, OUTPUT.replace(old, new)), written)


def test_exchanged_loads_and_stores(tmp_path: Path):
    written = ramulator.Written(tmp_path, tmp_path, reads=2, writes=3, share=1.0)
    with pytest.raises(FileError, match="exchange=True"):
        ramulator.read(output(tmp_path, OUTPUT), written)


def test_bad_input(tmp_path: Path):
    with pytest.raises(
        ValueError, match=r"currents are 'lpddr4-3200'; allowed are 'ddr3-1600', 'ddr3l-1600', 'ddr4-2400'"
    ):
        ramulator.write(tmp_path, moved(), "lpddr4-3200")
    with pytest.raises(ValueError, match=r"version is '3'; allowed are '2\.1', '2\.0'"):
        ramulator.write(tmp_path, moved(), version="3")
    with pytest.raises(ValueError, match="most_bursts is 0"):
        ramulator.write(tmp_path, moved(), most_bursts=0)
    placement = eden.place(tolerance({"other.weight": 1e-2}), device())
    with pytest.raises(ValueError, match=r"operand fc\.weight of the traffic is not in the placement"):
        ramulator.write(tmp_path, moved(), placement=placement)
    still = moved().model_copy(
        update={
            "operands": {"a": OperandTraffic(kind="weight", bytes=1, read_bytes=0, written_bytes=0, fits_on_chip=False)}
        }
    )
    with pytest.raises(ValueError, match="moves no bytes"):
        ramulator.write(tmp_path, still)
