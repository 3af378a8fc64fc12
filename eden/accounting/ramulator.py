"""A Ramulator 2 that the user installed: its configuration and trace written, its statistics and counts read.

Ramulator 2 (Luo et al., IEEE CAL 23 (1), 2024; github.com/CMU-SAFARI/ramulator2) simulates a DRAM cycle by cycle, and
so tells what ``eden.savings`` assumes: how many bursts find their row open, and what a shorter tRCD, tRP or tRAS
changes. It is run by hand: version 2.1, a Python module, ``python simulate.py > statistics.yaml``, which also counts
commands; version 2.0, a program, ``ramulator2 -f ramulator.yaml > statistics.txt``. Needs PyYAML
(``pip install eden-dram[ramulator]``).
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from eden.common.files import FileError, output_folder, read_text, write_text
from eden.common.renames import renamed
from eden.costs.defaults import CURRENTS
from eden.costs.energy import Counts, Currents
from eden.costs.platforms import Platform, Range
from eden.costs.traffic_file import Traffic
from eden.devices.partition import OperatingPoint
from eden.placement.placement import Placement

Version = Literal["2.1", "2.0"]
CONFIGURATIONS: Mapping[Version, str] = {"2.1": "simulate.py", "2.0": "ramulator.yaml"}
"""Names of the files that a simulation is started with."""
TRACE, COMMANDS = "trace.txt", "commands.csv"
"""Names of the other files that are written: by ``write``, and by version 2.1."""

_ORGANIZATIONS = {
    "ddr3-1600": ("DDR3", "DDR3_1Gb_x8", "DDR3_1600J"),
    "ddr3l-1600": ("DDR3", "DDR3_4Gb_x8", "DDR3_1600J"),
    "ddr4-2400": ("DDR4", "DDR4_4Gb_x8", "DDR4_2400R"),
}
"""By currents: Ramulator's model, its preset of the organization, and the one of the timing that is changed from."""

_COUNTED = ("ACT", "PREpb", "PREab", "RD", "WR", "RDA", "WRA", "REFab")
"""Commands of DDR3 and DDR4 in version 2.1."""
_TERM_OF = {"ACT": "activates", "RD": "reads", "RDA": "reads", "WR": "writes", "WRA": "writes", "REFab": "refreshes"}
_CLOSING = ("PREpb", "PREab", "PRE", "PREA")


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
    commands: Path | None = None
    """Where version 2.1 will write how often each command was issued."""


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
    version: Version = "2.1",
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
        point: the operating point of all of the memory, whose tRCD, tRP, refresh interval and, where it states one,
            tRAS are simulated, rounded up to clock cycles; the DRAM's own timing where none is given. Voltage and
            temperature decide no time.
        placement: addresses of the operands.
        most_bursts: above so many bursts, each operand's stream is cut in proportion.
        exchange: write loads as stores and stores as loads, for versions of Ramulator 2 whose front end for traces of
            loads and stores takes one for the other (``read`` finds out).
        version: of Ramulator 2: "2.1", for which a Python script is written, or "2.0", a file in YAML.

    Raises:
        ValueError: for another version, a DRAM without a model in Ramulator 2, ``most_bursts`` below 1, traffic that
            moves nothing, and an operand that the placement lacks.
        FileError: if the folder cannot be written to.

    """
    chosen = Currents.named(currents)
    if version not in CONFIGURATIONS:
        raise ValueError(f"version is {version!r}; allowed are {', '.join(map(repr, CONFIGURATIONS))}")
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
    configuration = target / CONFIGURATIONS[version]
    if version == "2.0":
        write_text(configuration, yaml.safe_dump(_configuration(chosen, point, trace.resolve()), sort_keys=False))
        return Written(configuration, trace, counts[0], counts[1], share)
    commands = target / COMMANDS
    write_text(configuration, _script(chosen, point, trace.resolve(), commands.resolve()))
    return Written(configuration, trace, counts[0], counts[1], share, commands)


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


def _timing(currents: Currents, point: OperatingPoint | None) -> dict[str, int]:
    """Clock cycles that differ from the preset's, by Ramulator's names."""
    cycles = currents.cycles
    active, precharge = cycles.tras, cycles.trc - cycles.tras
    if point is not None and point.tras is not None:
        active = -(-point.tras // currents.tck)
    timing = {"nCL": round(cycles.tcl), "nRAS": round(active)}
    if point is not None:
        activate, precharge = (-(-value // currents.tck) for value in (point.trcd, point.trp))
        timing["nRCD"] = int(activate)
    timing["nRP"] = round(precharge)
    timing["nRC"] = round(active + precharge)
    timing["nRFC"] = round(cycles.trfc)
    longer = 1.0 if point is None else point.refresh_interval / currents.refresh_ms
    timing["nREFI"] = round(cycles.trefi * longer)
    return timing


def _script(currents: Currents, point: OperatingPoint | None, trace: Path, commands: Path) -> str:
    """What version 2.1 runs, by its classes and their parameters."""
    model, organization, preset = _ORGANIZATIONS[currents.name]
    timing = "".join(f"    {name}={value},\n" for name, value in _timing(currents, point).items())
    return f"""\
# For Ramulator 2.1: python {CONFIGURATIONS["2.1"]} > statistics.yaml
import ramulator

frontend = ramulator.frontend.LoadStoreTrace(clock_ratio=1, path={str(trace)!r})
dram = ramulator.dram.{model}(
    org_preset={organization!r},
    timing_preset={preset!r},
    rank=1,
{timing})
counter = ramulator.controller_plugin.CommandCounter(
    commands_to_count={list(_COUNTED)!r},
    path={str(commands)!r},
)
controller = ramulator.controller.GenericDDR(
    dram=dram,
    scheduler=ramulator.scheduler.FRFCFS(),
    refresh_manager=ramulator.refresh_manager.AllBank(),
    row_policy=ramulator.row_policy.Open(),
    # Each bank is one range of addresses, as a partition is.
    addr_mapper=ramulator.addr_mapper.ChRaBaRoCo(),
    controller_plugins=[counter],
)
memory_system = ramulator.memory_system.GenericDRAM(
    clock_ratio=1,
    controllers=[controller],
    channel_mapper=ramulator.channel_mapper.CacheLineInterleave(),
)
simulation = ramulator.Simulation(frontend, memory_system)
simulation.run()
print(simulation.stats_yaml)
"""


def _configuration(currents: Currents, point: OperatingPoint | None, trace: Path) -> dict[str, Any]:
    """What version 2.0 reads."""
    model, organization, preset = _ORGANIZATIONS[currents.name]
    timing = {"preset": preset, **_timing(currents, point)}
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
    """Read the statistics that Ramulator 2 printed, of either version, with whatever it logged before them.

    Args:
        path: what it printed on standard output: version 2.1 ``Simulation.stats_yaml``.
        written: what was simulated, to check the numbers of requests.

    Raises:
        FileError: naming the statistic, where there are none or those of several channels, one is missing or is no
            number, or the numbers of requests are not the trace's; also if loads and stores were exchanged.

    """
    top, found = _memory_system(path)
    of_controller, names = _NAMES[top]
    controller = found.get(of_controller)
    if not isinstance(controller, dict):
        raise FileError(path, f"{top}: found no {of_controller}, whose statistics are needed")
    values = {}
    for field, (place, name) in names.items():
        owner = controller if place == of_controller else found
        if name not in owner:
            raise FileError(path, f"{top}: found no {name}; is this the output of Ramulator 2?")
        values[field] = owner[name]
    try:
        statistics = Statistics.model_validate(values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        name = names[str(first["loc"][0])][1]
        raise FileError(path, f"{name}: {first['msg']}; found {first.get('input')!r}") from error
    if written is not None:
        _check_requests(path, statistics, written)
    return statistics


_NAMES: Mapping[str, tuple[str, Mapping[str, tuple[str, str]]]] = {
    "MemorySystem": (
        "Controller",
        {
            "cycles": ("MemorySystem", "memory_system_cycles"),
            "reads": ("MemorySystem", "total_num_read_requests"),
            "writes": ("MemorySystem", "total_num_write_requests"),
            "row_hits": ("Controller", "row_hits_0"),
            "row_misses": ("Controller", "row_misses_0"),
            "row_conflicts": ("Controller", "row_conflicts_0"),
            "read_latency": ("Controller", "avg_read_latency_0"),
        },
    ),
    "memory_system": (
        "controller",
        {
            "cycles": ("controller", "cycles"),
            "reads": ("controller", "num_read_reqs"),
            "writes": ("controller", "num_write_reqs"),
            "row_hits": ("controller", "row_hits"),
            "row_misses": ("controller", "row_misses"),
            "row_conflicts": ("controller", "row_conflicts"),
            "read_latency": ("controller", "avg_read_latency"),
        },
    ),
}
"""By what versions 2.0 and 2.1 call the memory system: what they call the controller, and by field whose statistic it
is and how it is called."""


def _memory_system(path: str | os.PathLike[str]) -> tuple[str, dict[str, Any]]:
    """What the memory system is called, and its document, which stands between lines of other kinds."""
    lines = read_text(path).splitlines()
    starts = [i for i, line in enumerate(lines) if line.rstrip() in {f"{name}:" for name in _NAMES}]
    if len(starts) != 1:
        raise FileError(
            path, f"found {len(starts)} lines 'memory_system:' or 'MemorySystem:'; allowed is one (one simulation)"
        )
    top = lines[starts[0]].rstrip()[:-1]
    body = [lines[starts[0]]]
    for line in lines[starts[0] + 1 :]:
        if line.strip() and not line.startswith(" "):
            break
        body.append(line)
    channels = sum(re.fullmatch(rf"\s+{_NAMES[top][0]}:\s*", line) is not None for line in body)
    if channels > 1:
        raise FileError(path, f"found {channels} controllers; allowed is one channel")
    try:
        found: Any = yaml.safe_load("\n".join(body))[top]
    except yaml.YAMLError as error:
        raise FileError(path, f"{top}: no YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(found, dict):
        raise FileError(path, f"{top}: found nothing under it")
    return top, found


def read_commands(path: str | os.PathLike[str], statistics: Statistics) -> Counts:
    """Read the table of Ramulator's CommandCounter, one line "command, number" for each, for ``energy_of``.

    A row that was opened counts as closed once, whatever closed it: one command may close the rows of all banks. Rows
    count as open in all cycles, as in ``eden.savings``.

    Args:
        path: ``Written.commands``.
        statistics: of the same simulation.

    Raises:
        FileError: naming the line, for what is no command of DDR3 or DDR4 or stands twice, and no count; for a table
            without activations, reads, writes or refreshes, and for more reads or writes than requests.

    """
    seen: dict[str, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        match = re.fullmatch(r"\s*(\w+)\s*,\s*(\d+)\s*", line)
        if match is None:
            raise FileError(path, f"line {number}: found {line!r}; allowed is a command, a comma and a count")
        name = match[1]
        if name not in _TERM_OF and name not in _CLOSING:
            allowed = ", ".join((*_TERM_OF, *_CLOSING))
            raise FileError(path, f"line {number}: found the command {name!r}; allowed are {allowed}")
        if name in seen:
            raise FileError(path, f"line {number}: found {name} a second time; allowed is one line")
        seen[name] = int(match[2])
    for name in ("ACT", "RD", "WR", "REFab"):
        if name not in seen:
            raise FileError(path, f"found no count of {name}; allowed is a table that has it")
    counts = dict.fromkeys(_TERM_OF.values(), 0)
    for name, term in _TERM_OF.items():
        counts[term] += seen.get(name, 0)
    # A read that a waiting write answers reaches no DRAM, nor does what is still waiting at the end.
    for term, asked in (("reads", statistics.reads), ("writes", statistics.writes)):
        if counts[term] > asked:
            raise FileError(path, f"found {counts[term]} {term}; allowed are the {asked} that were simulated, or fewer")
    return Counts(**counts, precharges=counts["activates"], active_cycles=statistics.cycles)


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
