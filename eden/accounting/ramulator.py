"""A Ramulator 2 that the user installed: its configuration and trace written, its statistics read.

Ramulator 2 (Luo et al., IEEE CAL 23 (1), 2024; github.com/CMU-SAFARI/ramulator2) simulates a DRAM cycle by cycle, and
so tells what ``eden.savings`` assumes: how many bursts find their row open, and what a shorter tRCD or tRP changes. It
is run by hand, ``ramulator2 -f ramulator.yaml > statistics.txt``. The names are version 2.0's. Needs PyYAML
(``pip install eden-dram[ramulator]``).
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
import yaml

from eden.common.files import FileError, output_folder, read_text, write_text
from eden.common.renames import renamed
from eden.costs.defaults import CURRENTS
from eden.costs.energy import Currents
from eden.costs.platforms import Platform, Range
from eden.costs.traffic_file import Traffic
from eden.devices.partition import OperatingPoint
from eden.placement.placement import Placement

CONFIGURATION, TRACE = "ramulator.yaml", "trace.txt"
"""Names of the files that are written."""

_ORGANIZATIONS = {
    "ddr3-1600": ("DDR3", "DDR3_1Gb_x8", "DDR3_1600J"),
    "ddr3l-1600": ("DDR3", "DDR3_4Gb_x8", "DDR3_1600J"),
    "ddr4-2400": ("DDR4", "DDR4_4Gb_x8", "DDR4_2400R"),
}
"""By currents: Ramulator's model, its preset of the organization, and the one of the timing that is changed from."""


@dataclass(frozen=True)
class Written:
    """What was written for a simulation."""

    configuration: Path
    trace: Path
    reads: int
    """Bursts read in the trace."""
    writes: int
    """Bursts written in it."""
    share: float
    """Part of the inference's bursts that the trace has."""


class Statistics(pydantic.BaseModel):
    """What a simulation counted."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    cycles: int = pydantic.Field(ge=1)
    """Clock cycles of the memory."""
    reads: int = pydantic.Field(ge=0)
    """Requests to read one burst."""
    writes: int = pydantic.Field(ge=0)
    """Requests to write one burst."""
    row_hits: int = pydantic.Field(ge=0)
    """Requests that found their row open."""
    row_misses: int = pydantic.Field(ge=0)
    """Requests that found no row open in their bank."""
    row_conflicts: int = pydantic.Field(ge=0)
    """Requests that found another row open."""
    read_latency: float = pydantic.Field(ge=0, allow_inf_nan=False)
    """Mean clock cycles from a read's arrival to its data."""

    @property
    def row_hit_share(self) -> float:
        """Share of the requests that found their row open; 0 where none was served."""
        return self.row_hits / max(self.row_hits + self.row_misses + self.row_conflicts, 1)

    def time_ns(self, currents: str | os.PathLike[str] | Currents) -> float:
        """Simulated time in ns, at the clock of the DRAM whose currents these are."""
        return self.cycles * Currents.named(currents).tck


@renamed(rank="currents")
def write(
    folder: str | os.PathLike[str],
    traffic: Traffic,
    currents: str | os.PathLike[str] | Currents = CURRENTS,
    point: OperatingPoint | None = None,
    placement: Placement | None = None,
    most_bursts: int = 1_000_000,
    exchange: bool = False,
) -> Written:
    """Write a configuration and a trace of one inference of one sample.

    The trace streams one operand after the other in the traffic's order, what is written of it before what is read, at
    its address in the placement, whose partitions follow one another, or, without one, behind the operand before it.
    Ramulator sends a request in each cycle in which the memory takes one, as a processor that never waits for anything
    but the memory.

    Args:
        folder: where to, made if needed; the configuration names the trace by its absolute path.
        traffic: bytes that each operand moves.
        currents: of a DRAM that Ramulator 2 has: "ddr3-1600", "ddr3l-1600", "ddr4-2400", or one with such a name.
        point: the operating point of all of the memory, whose tRCD, tRP and refresh interval are simulated, rounded up
            to clock cycles; the DRAM's own timing where none is given. Voltage and temperature decide no time.
        placement: addresses of the operands.
        most_bursts: above so many bursts, each operand's stream is cut in proportion.
        exchange: write loads as stores and stores as loads, for versions of Ramulator 2 whose front end for traces of
            loads and stores takes one for the other (``read`` finds out).

    Raises:
        ValueError: for a DRAM without a model in Ramulator 2, ``most_bursts`` below 1, traffic that moves nothing, and
            an operand that the placement lacks.
        FileError: if the folder cannot be written to.

    """
    chosen = Currents.named(currents)
    if chosen.name not in _ORGANIZATIONS:
        raise ValueError(f"currents are {chosen.name!r}; allowed are {', '.join(map(repr, _ORGANIZATIONS))}")
    if most_bursts < 1:
        raise ValueError(f"most_bursts is {most_bursts}; allowed is 1 or more")
    total = traffic.crossing_bytes / chosen.burst_bytes
    if total == 0.0:
        raise ValueError("the traffic moves no bytes; allowed is one operand or more that crosses the interface")
    share = min(1.0, most_bursts / total)
    target = output_folder(folder)
    lines, counts = [], [0, 0]
    for address, is_write in _bursts(traffic, chosen, placement, share):
        lines.append(f"{'ST' if is_write != exchange else 'LD'} {address:#x}")
        counts[is_write] += 1
    trace = target / TRACE
    write_text(trace, "\n".join(lines) + "\n")
    configuration = target / CONFIGURATION
    write_text(configuration, yaml.safe_dump(_configuration(chosen, point, trace.resolve()), sort_keys=False))
    return Written(configuration, trace, counts[0], counts[1], share)


def _bursts(
    traffic: Traffic, currents: Currents, placement: Placement | None, share: float
) -> Iterator[tuple[int, bool]]:
    """Address of each burst in bytes, and whether it is written."""
    size = currents.burst_bytes
    behind = 0
    for name, operand in traffic.operands.items():
        if placement is None:
            parts = [(behind, operand.bytes)]
            behind += -(-operand.bytes // size) * size
        else:
            parts = _parts_of(placement, name)
        addresses = [start // size * size + at for start, held in parts for at in range(0, held, size)]
        for is_write, moved in ((True, operand.written_bytes), (False, operand.read_bytes)):
            for burst in range(round(moved / size * share)):
                yield addresses[burst % len(addresses)], is_write


def _parts_of(placement: Placement, name: str) -> list[tuple[int, int]]:
    """First byte in the module and number of bytes of each part of an operand."""
    if name not in placement.operands:
        raise ValueError(f"operand {name} of the traffic is not in the placement; allowed is one that has it")
    ends = itertools.accumulate(partition.capacity_bytes for partition in placement.partitions.values())
    first = dict(zip(placement.partitions, (0, *ends), strict=False))
    return [(first[part.partition] + part.address_bytes, part.bytes) for part in placement.operands[name].parts]


def _configuration(currents: Currents, point: OperatingPoint | None, trace: Path) -> dict[str, Any]:
    model, organization, preset = _ORGANIZATIONS[currents.name]
    cycles = currents.cycles
    precharge = cycles.trc - cycles.tras
    timing: dict[str, Any] = {"preset": preset, "nCL": round(cycles.tcl), "nRAS": round(cycles.tras)}
    if point is not None:
        activate, precharge = (-(-value // currents.tck) for value in (point.trcd, point.trp))
        timing["nRCD"] = int(activate)
    timing["nRP"] = round(precharge)
    timing["nRC"] = round(cycles.tras + precharge)
    timing["nRFC"] = round(cycles.trfc)
    longer = 1.0 if point is None else point.refresh_interval / currents.refresh_ms
    timing["nREFI"] = round(cycles.trefi * longer)
    return {
        "Frontend": {"impl": "LoadStoreTrace", "clock_ratio": 1, "path": str(trace)},
        "MemorySystem": {
            "impl": "GenericDRAM",
            "clock_ratio": 1,
            "DRAM": {"impl": model, "org": {"preset": organization, "channel": 1, "rank": 1}, "timing": timing},
            "Controller": {
                "impl": "Generic",
                "Scheduler": {"impl": "FRFCFS"},
                "RefreshManager": {"impl": "AllBank"},
                "RowPolicy": {"impl": "OpenRowPolicy"},
            },
            # Each bank is one range of addresses, as a partition is.
            "AddrMapper": {"impl": "ChRaBaRoCo"},
        },
    }


def read(path: str | os.PathLike[str], written: Written | None = None) -> Statistics:
    """Read the statistics that Ramulator 2 printed, with whatever it logged before them.

    Args:
        path: what it printed on standard output.
        written: what was simulated, to check the numbers of requests.

    Raises:
        FileError: naming the statistic, where there are none or those of several channels, one is missing or is no
            number, or the numbers of requests are not the trace's; also if loads and stores were exchanged.

    """
    found = _memory_system(path)
    controller = found.get("Controller")
    if not isinstance(controller, dict):
        raise FileError(path, "MemorySystem: found no Controller, whose statistics are needed")
    fields = {
        "cycles": (found, "memory_system_cycles"),
        "reads": (found, "total_num_read_requests"),
        "writes": (found, "total_num_write_requests"),
        "row_hits": (controller, "row_hits_0"),
        "row_misses": (controller, "row_misses_0"),
        "row_conflicts": (controller, "row_conflicts_0"),
        "read_latency": (controller, "avg_read_latency_0"),
    }
    for owner, name in fields.values():
        if name not in owner:
            raise FileError(path, f"MemorySystem: found no {name}; is this the output of Ramulator 2?")
    try:
        statistics = Statistics.model_validate({field: owner[name] for field, (owner, name) in fields.items()})
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        name = fields[str(first["loc"][0])][1]
        raise FileError(path, f"{name}: {first['msg']}; found {first.get('input')!r}") from error
    if written is not None:
        _check_requests(path, statistics, written)
    return statistics


def _memory_system(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The document of the memory system, which stands between lines of other kinds."""
    lines = read_text(path).splitlines()
    starts = [i for i, line in enumerate(lines) if line.rstrip() == "MemorySystem:"]
    if len(starts) != 1:
        raise FileError(path, f"found {len(starts)} lines 'MemorySystem:'; allowed is one (one simulation)")
    body = [lines[starts[0]]]
    for line in lines[starts[0] + 1 :]:
        if line.strip() and not line.startswith(" "):
            break
        body.append(line)
    channels = sum(re.fullmatch(r"\s+Controller:\s*", line) is not None for line in body)
    if channels > 1:
        raise FileError(path, f"found {channels} controllers; allowed is one channel")
    try:
        found: Any = yaml.safe_load("\n".join(body))["MemorySystem"]
    except yaml.YAMLError as error:
        raise FileError(path, f"MemorySystem: no YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(found, dict):
        raise FileError(path, "MemorySystem: found nothing under it")
    return found


def _check_requests(path: str | os.PathLike[str], statistics: Statistics, written: Written) -> None:
    asked, served = (written.reads, written.writes), (statistics.reads, statistics.writes)
    if asked == served:
        return
    if asked == served[::-1]:
        raise FileError(
            path,
            f"found {served[0]} reads and {served[1]} writes, the trace's exchanged: this version of Ramulator 2 takes "
            "loads for stores; write the trace with exchange=True",
        )
    raise FileError(path, f"found {served[0]} reads and {served[1]} writes; the trace has {asked[0]} and {asked[1]}")


def platform_with(platform: Platform, statistics: Statistics) -> Platform:
    """The platform with the simulated share of row hits in place of the assumed range."""
    share = statistics.row_hit_share
    update = {
        "row_hit_share": Range(share, share, share),
        "sources": {**platform.sources, "row_hit_share": "simulated with Ramulator 2"},
    }
    return platform.model_copy(update=update)
