"""A stand-in for the Python module of Ramulator 2.1, after its source: what it takes, and the text that it prints.

Components take the parameters that theirs have and no other ones; a simulation ends when the last request is sent, as
its front end for traces does; statistics have its names and indents, the table of commands its form and no order. One
request is served per cycle, and refreshes close all rows: no timing is simulated.
"""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

PARAMETERS = {
    "frontend.LoadStoreTrace": {"clock_ratio", "path"},
    "controller_plugin.CommandCounter": {"commands_to_count", "path"},
    "scheduler.FRFCFS": set[str](),
    "refresh_manager.AllBank": set[str](),
    "row_policy.Open": set[str](),
    "addr_mapper.ChRaBaRoCo": set[str](),
    "channel_mapper.CacheLineInterleave": set[str](),
    "memory_system.GenericDRAM": {"clock_ratio", "channel_mapper", "controllers"},
    "controller.GenericDDR": {
        *("wr_low_watermark", "wr_high_watermark", "read_buffer_size", "write_buffer_size", "priority_buffer_size"),
        *("scheduler", "refresh_manager", "row_policy", "addr_mapper", "dram", "controller_plugins"),
    },
}
ORGANIZATIONS = {
    "DDR3": {"DDR3_1Gb_x8": (8, 1 << 14, 1 << 10), "DDR3_4Gb_x8": (8, 1 << 16, 1 << 10)},
    "DDR4": {"DDR4_4Gb_x8": (16, 1 << 15, 1 << 10)},
}
"""Of presets, banks, rows and columns."""
TIMINGS = {"DDR3": ("DDR3_1600J",), "DDR4": ("DDR4_2400R",)}
OVERRIDES = {"rate", "nBL", "nCL", "nRCD", "nRP", "nRAS", "nRC", "nWR", "nRTP", "nCWL", "nFAW", "nRFC", "nREFI", "nCS"}
COMMANDS = ("ACT", "PREpb", "PREab", "RD", "WR", "RDA", "WRA", "REFab")


class Component:
    """One with parameters."""

    def __init__(self, impl: str, allowed: set[str], given: dict[str, Any]) -> None:
        unknown = set(given) - allowed
        if unknown:
            raise TypeError(f"{impl}: unknown parameters {sorted(unknown)}")
        self.impl, self.given = impl, given


def _dram(model: str) -> Any:
    def make(*, org_preset: str, timing_preset: str, **overrides: int) -> Component:
        if org_preset not in ORGANIZATIONS[model] or timing_preset not in TIMINGS[model]:
            raise ValueError(f"Unknown {model} preset: {org_preset}, {timing_preset}")
        for name, value in overrides.items():
            if name not in OVERRIDES | {"rank"} or not isinstance(value, int):
                raise ValueError(f"Unknown {model} override: {name}={value!r}")
        return Component(model, {"org", "timing"}, {"org": ORGANIZATIONS[model][org_preset], "timing": overrides})

    return make


class Simulation:
    """A trace through one channel."""

    def __init__(self, frontend: Component, memory_system: Component) -> None:
        (controller,) = memory_system.given["controllers"]
        self.trace = [line.split(" ") for line in Path(frontend.given["path"]).read_text().splitlines()]
        self.dram, self.counters = controller.given["dram"], controller.given.get("controller_plugins", [])
        self.issued = dict.fromkeys(COMMANDS, 0)
        self.rows = {"hits": 0, "misses": 0, "conflicts": 0}
        self.cycles = 0

    def run(self) -> None:
        """Serve every request."""
        banks, rows, columns = self.dram.given["org"]
        opened: dict[int, int] = {}
        for access, text in self.trace:
            assert access in ("LD", "ST")
            self.cycles += 1
            if self.cycles % self.dram.given["timing"]["nREFI"] == 0:
                opened.clear()
                self.issued["PREab"] += 1
                self.issued["REFab"] += 1
            # Column, row and bank from the lowest bit up, a burst of 64 bytes having 8 columns.
            row, bank = divmod(int(text, 16) // 64 // (columns // 8), rows)[::-1]
            assert bank < banks
            found = "hits" if opened.get(bank) == row else "conflicts" if bank in opened else "misses"
            self.rows[found] += 1
            self.issued["PREpb"] += found == "conflicts"
            self.issued["ACT"] += found != "hits"
            opened[bank] = row
            self.issued["RD" if access == "LD" else "WR"] += 1

    @property
    def stats_yaml(self) -> str:
        """The text, and the table of commands beside it."""
        for counter in self.counters:
            lines = [f"{name}, {self.issued[name]}\n" for name in reversed(counter.given["commands_to_count"])]
            Path(counter.given["path"]).write_text("".join(lines))
        reads, writes = self.issued["RD"], self.issued["WR"]
        figures = {
            "cycles": self.cycles,
            **{f"row_{name}": count for name, count in self.rows.items()},
            "num_read_reqs": reads,
            "num_write_reqs": writes,
            "num_maintenance_reqs": self.issued["REFab"],
            "queue_len_avg": 0.5,
            "read_latency": 14 * reads,
            "avg_read_latency": 14,
        }
        lines = ["frontend:", "  impl: LoadStoreTrace", "", "memory_system:", "  impl: GenericDRAM"]
        lines += [f"  total_num_read_requests: {reads}", f"  total_num_write_requests: {writes}"]
        lines += ["  channel_mapper:", "    impl: CacheLineInterleave", "", "", "  controller:"]
        lines += ["    impl: GenericDDR", "    id: Channel 0", *(f"    {name}: {one}" for name, one in figures.items())]
        lines += [
            "    scheduler:",
            "      impl: FRFCFS",
            "",
            "    controller_plugin:",
            "      impl: CommandCounter",
            "",
        ]
        return "\n".join([*lines, "", "", ""])


def module() -> types.ModuleType:
    """The module, as ``import ramulator`` gives it."""
    made: Any = types.ModuleType("ramulator")
    made.Simulation = Simulation
    made.dram = types.SimpleNamespace(**{model: _dram(model) for model in ORGANIZATIONS})
    for name, allowed in PARAMETERS.items():
        room, _, impl = name.partition(".")
        if not hasattr(made, room):
            setattr(made, room, types.SimpleNamespace())

        def make(impl: str = impl, allowed: set[str] = allowed, **given: Any) -> Component:
            return Component(impl, allowed, given)

        setattr(getattr(made, room), impl, make)
    return made  # type: ignore[no-any-return]
