"""What an account assumes, in sentences."""

from __future__ import annotations

from collections.abc import Mapping

from eden.costs.count_traffic import held
from eden.costs.energy import VDD_LAWS, Currents
from eden.costs.platforms import Platform, Range
from eden.costs.traffic_file import Traffic
from eden.devices.partition import OperatingPoint
from eden.placement.placement import Placement


def headline(
    moved: Traffic, placement: Placement, platform: Platform, currents: Currents, laws: Mapping[str, str]
) -> tuple[str, ...]:
    """What decides most of an account: whether a cache holds all, the laws of the voltage, supplies that are shared."""
    fits = held(moved.operands, platform, moved.batch)
    noted = [note for note in moved.notes if fits is not None and note.startswith(fits)]
    return (*(noted or filter(None, [fits])), _law_texts(laws)[0], *placement.headline, *_ranks(placement, currents))


def assumptions(
    moved: Traffic, placement: Placement, platform: Platform, currents: Currents, laws: Mapping[str, str]
) -> tuple[str, ...]:
    """Everything that an account of a placement rests on."""

    def spread(value: Range, unit: str = "") -> str:
        if value.low == value.high:
            return f"{value.typical:g}{unit}"
        return f"{value.typical:g}{unit} ({value.low:g} to {value.high:g})"

    unplaced = [name for name in moved.operands if name not in placement.operands]
    kept = [name for name, operand in moved.operands.items() if operand.fits_on_chip]
    lines = [
        f"Platform {platform.name}: {platform.title}.",
        *(f"Its {name.replace('_', ' ')}: {source}." for name, source in platform.sources.items()),
        f"Share of bursts that find their row open: {spread(platform.row_hit_share)}.",
        "Share of the time in which the data bus transfers while nothing waits for a row: "
        f"{spread(platform.bus_utilization)}.",
        "Share of tRP + tRCD + tCL of each row that is opened in which the processor waits: "
        f"{spread(platform.exposed_latency_share)}; the rest of the time does not change with the latencies.",
        *moved.notes,
        f"{len(kept)} of {len(moved.operands)} operands are feature maps that fit into {platform.on_chip_bytes} bytes "
        "on the chip: they cross in the typical case and in one end of the range, and stay on the chip in the other.",
        *_law_texts(laws),
        "A lower tRCD or tRP leaves the energy of an activation unchanged; it saves background and refresh energy in "
        "the time that it saves.",
        "Each partition takes a share of background and refresh by its capacity; one without operands stays within "
        "specification but for what it shares with others, and no power-down is used.",
        f"DRAM: {currents.title}; {currents.source}.",
        *_currents_texts(currents, placement.nominal),
        "Only DRAM energy for the operands is counted: not the processor's, nor biases, normalization and other data "
        "that no fault reaches.",
    ]
    lines += placement.notes
    if unplaced:
        lines.append(
            f"{len(unplaced)} operand(s) are not in the placement and stay within specification: {unplaced[0]}"
            f"{' and others' if len(unplaced) > 1 else ''}."
        )
    return tuple(lines)


def _ranks(placement: Placement, currents: Currents) -> list[str]:
    """How many ranks stand by, where that is not the one that the currents are of."""
    capacity, size = placement.capacity_bytes, currents.rank_bytes
    ranks = currents.ranks(capacity, placement.ranks)
    if size is None or (ranks == 1 and capacity == size):
        return []
    whole = f"{ranks} rank{'s' * (ranks > 1)} of {currents.title}, {size / (1 << 20):g} MiB each"
    return [f"The device's {capacity / (1 << 20):.4g} MiB count as {whole}: all of them stand by and are refreshed."]


def _law_texts(laws: Mapping[str, str]) -> list[str]:
    named = set(laws.values())
    if len(named) == 1:
        typical = f"Energy depends on VDD by the {named.pop()} law in the typical case"
    else:
        by_term = ", ".join(f"{term} {law}" for term, law in laws.items())
        typical = f"Energy depends on VDD term by term in the typical case ({by_term})"
    ends = " and ".join(f"all {law}" for law in VDD_LAWS)
    return [
        f"{typical}, and the range includes {ends}; the interface stays at the nominal voltage. No "
        "data sheet gives currents along VDD.",
        *(f"Law of VDD {name!r}: {law.text}." for name, law in VDD_LAWS.items()),
    ]


def _currents_texts(currents: Currents, nominal: OperatingPoint) -> list[str]:
    lines = []
    kept = [f"{name} ({domain.voltage:g} V)" for name, domain in currents.domains.items() if not domain.follows_vdd]
    if kept:
        lines.append(f"Supplies that keep their voltage at every operating point: {', '.join(kept)}.")
    if currents.interface is None:
        lines.append("The interface's energy is not counted: no figures of it are at hand.")
    if currents.operating_points == "relative":
        lines.append(
            f"Voltages and refresh intervals count as shares of the device's nominal ones ({nominal.vdd:g} V, "
            f"{nominal.refresh_interval:g} ms), applied to {currents.vdd:g} V and {currents.refresh_ms:g} ms."
        )
    elif nominal.vdd != currents.vdd:
        lines.append(
            f"Currents specified at {currents.vdd:g} V are brought to the device's nominal {nominal.vdd:g} V by the "
            "law of VDD."
        )
    if nominal.tras is not None:
        lines.append(
            "What a row takes while it is open is proportional to tRAS, as DRAMPower counts; a bank opens its next row "
            f"tRC = tRAS + tRP later, so that waits within specification hold what of {nominal.tras:g} ns is left "
            "behind a row's first data. Rows are closed when tRAS has passed."
        )
    return lines
