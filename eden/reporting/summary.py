"""What the page says first, and where its parts come from."""

from __future__ import annotations

import datetime
import platform as host
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from eden import _core
from eden.common.provenance import SHOWN
from eden.reporting.sections.placement import point_shares
from eden.reporting.text import (
    count_text,
    drop_text,
    percent,
    points_text,
    rate_text,
    size_text,
)


def summary(parts: Mapping[str, Any]) -> list[str]:
    """What an architect acts on, in sentences; of the parts by name."""
    device, tolerance, placement = (parts.get(name) for name in ("device", "tolerance", "placement"))
    accuracy = parts.get("accuracy")
    lines = []
    network = accuracy.network if accuracy is not None and accuracy.network else "The network"
    if tolerance is not None:
        size = sum(tolerance.bytes.values())
        storage = ", ".join(sorted(set(tolerance.storage.values())))
        reference = f"its accuracy ({tolerance.metric}) is {percent(tolerance.reference_accuracy)}"
        if tolerance.float_accuracy is not None:
            reference += f" (as a float network {percent(tolerance.float_accuracy)})"
        lines.append(
            f"{network} keeps {count_text(len(tolerance.limits), 'operand')} ({size_text(size)}, {storage}) in memory. "
            f"On reliable memory {reference}; a {drop_text(tolerance)} of up to {points_text(tolerance.max_drop)} is "
            f"accepted, with {percent(tolerance.confidence, 0)} confidence."
        )
        fine = tolerance.limits_certificate
        confirmed = f", confirmed on {count_text(fine.chips, 'chip')} that the search never used" if fine else ""
        lines.append(
            f"All operands at once tolerate a bit error rate (BER) of {rate_text(tolerance.coarse)}, confirmed on "
            f"{count_text(tolerance.coarse_certificate.chips, 'chip')}; one by one, their limits run from "
            f"{rate_text(min(tolerance.limits.values()))} to {rate_text(max(tolerance.limits.values()))}{confirmed}."
        )
    if accuracy is not None and len(accuracy.tolerated) > 1:
        first, *_, last = accuracy.tolerated.items()
        factor = f", {last[1] / first[1]:.3g} times as much" if first[1] > 0 else ""
        lines.append(
            f"Boosting moves the BER that the whole network tolerates from {rate_text(first[1])} ({first[0]}) to "
            f"{rate_text(last[1])} ({last[0]}){factor}."
        )
    if device is not None:
        size = sum(partition.capacity_bytes for partition in device.partitions)
        lines.append(
            f"The memory is {device.name}: {size_text(size)} in {count_text(len(device.partitions), 'partition')}, at "
            f"nominal {device.nominal.vdd:g} V, tRCD {device.nominal.trcd:g} ns, tRP {device.nominal.trp:g} ns"
            + ("." if device.nominal.tras is None else f", tRAS {device.nominal.tras:g} ns.")
        )
    if placement is not None:
        total = sum(operand.bytes for operand in placement.operands.values())
        shares = "; ".join(f"{percent(share / total)} at {label}" for label, share in point_shares(placement).items())
        lines.append(f"Of the operands' bytes, {shares}.")
    return lines


def _made_from(part: Any) -> str:
    """What a part was made from and which chips it has seen, in words."""
    made = part.provenance
    if made is None:
        return "not known: the file is of a version that did not keep it"
    of = ", ".join(f"{role} {digest[:SHOWN]}" for role, digest in sorted(made.of.items()))
    chips = "; ".join(
        f"{drawn.count:,} of {drawn.purpose}, seed {drawn.seed}, from {drawn.first:,} on" for drawn in made.chips
    )
    return f"{of} (SHA-256, first digits)" + (f"; chips: {chips}" if chips else "")


def provenance(parts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Versions, seeds and sources of the parts by name."""
    device, tolerance, placement = (parts.get(name) for name in ("device", "tolerance", "placement"))
    accuracy = parts.get("accuracy")
    lines = [
        ("Written", datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("eden-dram", version("eden-dram")),
        ("torch, numpy", f"{version('torch')}, {version('numpy')}"),
        ("Python, system", f"{host.python_version()}, {host.system()} {host.machine()}"),
        (
            "Random number layout",
            str(placement.random_layout if placement is not None else _core.RANDOM_LAYOUT_VERSION),
        ),
    ]
    lines += [(f"Made from ({name})", _made_from(part)) for name, part in parts.items() if name != "device"]
    if tolerance is not None:
        spent = ", ".join(f"{phase} {count:,}" for phase, count in tolerance.observations.items())
        lines.append(("Seed of the tolerance", f"{tolerance.seed} (eden-dram {tolerance.eden_version})"))
        lines.append(("Observations of the tolerance", spent or "none recorded"))
    if accuracy is not None and accuracy.seed is not None:
        lines.append(("Seed of the accuracy curves' chips", str(accuracy.seed)))
    if placement is not None:
        lines.append(("Solver, objective", f"{placement.solver}, {placement.objective}"))
    if device is not None:
        source = device.source
        lines.append(("Measurements", f"{source.text} {source.citation} Licence: {source.licence}."))
    return lines
