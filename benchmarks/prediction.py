"""How well fits to one half of the measurements predict the other, and what was not measured. Needs EDEN_DATA.

Prints six tables, each with how often 95% intervals cover and how wide they are (median, in decades):

(a) halves: fitted on half the readings of every condition, do prediction intervals cover the other half? Halves are
    alternating readings in the order of the file, random ones by seed, and the earlier against the later ones.
(b) the same within one bank, alternating.
(c) the patterns 0xaa and 0xcc from the fits of 0x0 and 0xff.
(d) a latency that is left out, from the others.
(e) a module that is left out, from the others of its vendor.
(f) supply voltage: a point that is left out, and a module that is left out.

Conditions count that have errors and six readings or more, unless said otherwise; none is left out for mixing regimes
or for not being monotone, since a prediction at a measured condition does not rest on a curve. Nothing here is set by
hand for a module.
"""

import argparse
import math
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from eden.common.files import FileError
from eden.devices.curves import (
    Condition,
    Curve,
    Curves,
    LineErrors,
    Prediction,
    campaign_conditions,
    fit_conditions,
    fit_latency,
    fit_population,
    fit_voltage,
    regimes,
    voltage_modules,
)
from eden.measurements.campaign import Campaign, Reading
from eden.measurements.readers import read

LEAST = 6  # readings of a condition: three a half
PATTERNS = {"zero": 0x00, "one": 0xFF}


@dataclass
class Score:
    """Coverage and width over conditions."""

    covered: list[bool] = field(default_factory=list)
    readings: list[float] = field(default_factory=list)
    means: list[bool] = field(default_factory=list)
    decades: list[float] = field(default_factory=list)
    plain: list[bool] = field(default_factory=list)
    plain_decades: list[float] = field(default_factory=list)
    refused: int = 0

    def row(self, name: str) -> str:
        """One line of a table."""
        n = len(self.covered)
        if not n:
            return f"  {name:24} {0:10} {self.refused:8}"
        shares = [np.mean(values) for values in (self.covered, self.readings, self.means, self.plain)]
        covered, readings, means, plain = (f"{100 * share:8.1f}%" for share in shares)
        wide, narrow = np.median(self.decades), np.median(self.plain_decades)
        return f"  {name:24} {n:10} {self.refused:8} {covered} {readings} {means} {wide:8.3f} | {plain} {narrow:8.3f}"


HEADER = (
    f"  {'':24} {'conditions':>10} {'refused':>8} {'covered':>9} {'readings':>9} {'mean of m':>9} {'decades':>8} | "
    f"{'covered':>9} {'decades':>8}"
)


def halves(campaign: Campaign, choose: Callable[[int], np.ndarray]) -> tuple[Campaign, Campaign]:
    """The readings of each condition in two parts; ``choose`` says which of n go to the first."""
    conditions: dict[tuple[float, ...], list[Reading]] = defaultdict(list)
    for reading in campaign.readings:
        conditions[reading.pattern, reading.temperature, reading.trcd, reading.trp].append(reading)
    first, second = [], []
    for readings in conditions.values():
        for reading, taken in zip(readings, choose(len(readings)), strict=True):
            (first if taken else second).append(reading)
    return replace(campaign, readings=tuple(first)), replace(campaign, readings=tuple(second))


def rate(readings: tuple[tuple[float, float], ...]) -> float:
    return sum(errors for errors, _ in readings) / sum(cells for _, cells in readings)


def units(campaign: Campaign) -> list[tuple[str, float]]:
    temperatures = sorted({reading.temperature for reading in campaign.readings})
    return [(axis, temperature) for axis in ("trcd", "trp") for temperature in temperatures]


def fitted(campaign: Campaign, axis: str, temperature: float, bank: int | None = None) -> Curves | None:
    """The curves of one axis, or None where nothing was measured or nothing failed."""
    try:
        return fit_latency(campaign, axis, temperature, bank=bank, share=False)
    except ValueError:
        return None


def score_halves(campaign: Campaign, choose: Callable[[int], np.ndarray], scores: dict[str, Score], bank: int | None):
    first, second = halves(campaign, choose)
    for axis, temperature in units(campaign):
        every = campaign_conditions(campaign, axis, temperature, bank=bank)
        other = campaign_conditions(second, axis, temperature, bank=bank)
        counted = {
            (name, condition.at)
            for name, byte in PATTERNS.items()
            for condition in every.get(byte, ())
            if len(condition.readings) >= LEAST and condition.rate > 0
        }
        if not counted:
            continue
        curves = fitted(first, axis, temperature, bank)
        for name, byte in PATTERNS.items():
            for condition in other.get(byte, ()):
                if (name, condition.at) not in counted:
                    continue
                mixed = next(c for c in every[byte] if c.at == condition.at)
                kinds = ["all", "two regimes" if regimes(mixed.readings) else "one regime"]
                curve = curves.groups.get(name) if curves else None
                if curve is None or condition.at not in [c.at for c in curve.conditions]:
                    for kind in kinds:
                        scores[kind].refused += 1
                    continue
                single = curve.predict(condition.at)
                bare = curve.predict(condition.at, outliers=False)
                mean = curve.predict(condition.at, repeats=len(condition.readings))
                for kind in kinds:
                    scores[kind].covered.append(single.covers(condition.rate))
                    scores[kind].readings.append(np.mean([single.covers(e / c) for e, c in condition.readings]))
                    scores[kind].means.append(mean.covers(condition.rate))
                    scores[kind].decades.append(single.decades)
                    scores[kind].plain.append(bare.covers(condition.rate))
                    scores[kind].plain_decades.append(bare.decades)


def table_halves(campaigns: list[Campaign], seeds: int) -> bool:
    print("\n(a) halves of the readings, whole modules: rates of the other half in the interval of one further reading")
    print("    (covered: the rate of all its readings together; readings: single ones; mean of m: the rate of all of")
    print("    them in the narrower interval that is made for a mean of as many; right of the bar: without")
    print("    what outlying readings of other conditions add)")
    print(HEADER)

    def alternate(n: int) -> np.ndarray:
        return np.arange(n) % 2 == 0

    def earlier(n: int) -> np.ndarray:
        return np.arange(n) < (n + 1) // 2

    splits: list[tuple[str, Callable[[int], np.ndarray]]] = [("alternating", alternate)]
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        splits.append((f"random, seed {seed}", lambda n, random=random: random.permutation(n) < (n + 1) // 2))
    splits.append(("earlier and later", earlier))
    reached = True
    for name, choose in splits:
        scores: dict[str, Score] = defaultdict(Score)
        for campaign in campaigns:
            score_halves(campaign, choose, scores, None)
        for kind in ("all", "one regime", "two regimes"):
            print(scores[kind].row(name if kind == "all" else f"  {kind}"), flush=True)
        if choose is not earlier:
            total = scores["all"]
            reached &= sum(total.covered) >= 0.9 * (len(total.covered) + total.refused)
    print("  earlier and later readings are different sessions: where they differ, readings are not exchangeable, and")
    print("  no interval from the earlier ones alone can know it")
    return reached


def table_banks(campaigns: list[Campaign], bank: int) -> None:
    print(f"\n(b) the same in bank {bank} alone, alternating readings")
    print(HEADER)
    scores: dict[str, Score] = defaultdict(Score)
    for campaign in campaigns:
        score_halves(campaign, lambda n: np.arange(n) % 2 == 0, scores, bank)
    for kind in ("all", "one regime", "two regimes"):
        print(scores[kind].row(kind))


def table_patterns(campaigns: list[Campaign]) -> None:
    print("\n(c) patterns of both values from the rates of zeros and ones: is the pattern's rate in the interval,")
    print("    and is it within a factor of 2? (all conditions with errors, whatever the number of readings)")
    print(f"  {'':34} {'conditions':>10} {'covered':>9} {'factor 2':>9} {'decades':>9} {'median ratio':>13}")
    found: dict[tuple[str, int, float], list[tuple[bool, bool, float, float]]] = defaultdict(list)
    for campaign in campaigns:
        for axis, temperature in units(campaign):
            curves = fitted(campaign, axis, temperature)
            if curves is None or len(curves.groups) < 2:
                continue
            for byte, conditions in campaign_conditions(campaign, axis, temperature, patterns=(0xAA, 0xCC)).items():
                for condition in conditions:
                    places = [{c.at for c in curve.conditions} for curve in curves.groups.values()]
                    if condition.rate == 0 or any(condition.at not in place for place in places):
                        continue
                    prediction = curves.pattern(byte, condition.at, repeats=1)
                    ratio = condition.rate / prediction.estimate if prediction.estimate else math.inf
                    found[axis, byte, condition.at].append(
                        (prediction.covers(condition.rate), 0.5 <= ratio <= 2, prediction.decades, ratio)
                    )
    for (axis, byte, at), rows in sorted(found.items(), key=lambda item: (item[0][0], item[0][1], -item[0][2])):
        covered, near, decades, ratios = zip(*rows, strict=True)
        print(
            f"  {f'{byte:#x}, {axis} {at:g} ns':34} {len(rows):10} {100 * np.mean(covered):8.1f}% "
            f"{100 * np.mean(near):8.1f}% {np.median(decades):9.3f} {np.median(ratios):13.3g}"
        )


def table_latencies(campaigns: list[Campaign]) -> None:
    print("\n(d) a latency with errors that lies between two others and is left out of the fit (all with errors)")
    print(f"  {'basis':34} {'conditions':>10} {'covered':>9} {'decades':>9}")
    found: dict[str, list[tuple[bool, float]]] = defaultdict(list)
    refused = 0
    for campaign in campaigns:
        for axis, temperature in units(campaign):
            every = campaign_conditions(campaign, axis, temperature)
            for name, byte in PATTERNS.items():
                for index, condition in enumerate(every.get(byte, ())):
                    if not 0 < index < len(every[byte]) - 1 or condition.rate == 0:
                        continue
                    rest = [c for c in every[byte] if c is not condition]
                    try:
                        prediction: Prediction = fit_conditions({name: rest})[name].predict(condition.at)
                    except ValueError:
                        refused += 1
                        continue
                    # Between a rate and a harsher one below it, nothing that is monotone can be right.
                    falls = condition.rate > every[byte][index + 1].rate
                    found[prediction.basis + (", rates not monotone there" if falls else "")].append(
                        (prediction.covers(condition.rate), prediction.decades)
                    )
    for basis, rows in sorted(found.items()):
        covered, decades = zip(*rows, strict=True)
        print(f"  {basis:34} {len(rows):10} {100 * np.mean(covered):8.1f}% {np.median(decades):9.3f}")
    print(f"  refused: {refused} (outside what is left of the range, or in a region left out by name)")


def leave_one_out(modules: dict[str, dict[str, Curve]], at_least: float = 0.0) -> list[tuple[str, float, bool, float]]:
    """Each module's rates at the knots of the others: group, place, whether covered, decades."""
    result = []
    for name, curves in modules.items():
        others = {other: value for other, value in modules.items() if other != name}
        if len(others) < 2:
            continue
        population = fit_population("others", others)
        knots = {(knot.group, knot.at) for knot in population.knots}
        for group, curve in curves.items():
            for condition in curve.conditions:
                if condition.rate <= at_least or (group, condition.at) not in knots:
                    continue
                answer = population.rate(group, condition.at)
                width = math.log10(answer.high / answer.low) if answer.low > 0 else math.inf
                result.append((group, condition.at, answer.low <= condition.rate <= answer.high, width))
    return result


def table_modules(campaigns: list[Campaign]) -> None:
    print("\n(e) a module left out, at 20 C, from the others of its vendor (conditions with errors)")
    print(f"  {'':34} {'conditions':>10} {'covered':>9} {'decades':>9}")
    for axis in ("trcd", "trp"):
        for vendor in sorted({campaign.vendor or "" for campaign in campaigns}):
            modules = {}
            for campaign in campaigns:
                if (campaign.vendor or "") == vendor:
                    curves = fitted(campaign, axis, 20.0)
                    if curves is not None:
                        modules[campaign.module] = dict(curves.groups)
            rows = leave_one_out(modules)
            places = sorted({row[1] for row in rows}, reverse=True)
            of_places = [(f"  {at:g} ns", [row for row in rows if row[1] == at]) for at in places]
            for what, chosen in [(f"{vendor}, {axis}, {len(modules)} modules", rows), *of_places]:
                if chosen:
                    covered, widths = np.mean([row[2] for row in chosen]), np.median([row[3] for row in chosen])
                    print(f"  {what:34} {len(chosen):10} {100 * covered:8.1f}% {widths:9.3f}", flush=True)


def table_voltage(path: Path) -> None:
    print("\n(f) supply voltage: shares of cache lines with errors (points with errors)")
    print(f"  {'':50} {'points':>7} {'covered':>9} {'decades':>9}")
    modules = voltage_modules(read(path, "voltage"))
    for vendor in sorted({module.vendor for module in modules}):
        of_vendor = [module for module in modules if module.vendor == vendor]
        try:
            curves = fit_voltage(of_vendor)
        except ValueError as error:
            print(f"  vendor {vendor}: {error}")
            curves = fit_voltage(of_vendor, dispersion=1.0)
        dispersion = curves.dispersion
        found: dict[str, list[tuple[bool, float]]] = defaultdict(list)
        for module in of_vendor:
            for index, (vdd, share) in enumerate(module.points):
                if share == 0 or not 0 < index < len(module.points) - 1:
                    continue
                lines = 2.0**25
                rest = [Condition(v, ((s * lines, lines),)) for v, s in module.points if v != vdd]
                try:
                    prediction = fit_conditions({module.name: rest}, unit="V", lent=dispersion)[module.name].predict(
                        vdd
                    )
                except ValueError:
                    continue
                found[prediction.basis].append((prediction.covers(share), prediction.decades))
        for basis, rows in sorted(found.items()):
            print(
                f"  {f'{vendor}, point left out, {basis} (dispersion {dispersion:.3g})':50} {len(rows):7} "
                f"{100 * np.mean([row[0] for row in rows]):8.1f}% {np.median([row[1] for row in rows]):9.3f}"
            )
        rows = leave_one_out({name: {"lines": curve.lines} for name, curve in curves.curves.items()})
        if rows:
            print(
                f"  {f'{vendor}, module left out, {len(of_vendor)} modules':50} {len(rows):7} "
                f"{100 * np.mean([row[2] for row in rows]):8.1f}% {np.median([row[3] for row in rows]):9.3f}"
            )
        for assumption in (LineErrors(), LineErrors("fixed", errors=2.0)):
            example = fit_voltage(of_vendor, assumption, dispersion=dispersion, share=False)
            failing = [(n, c) for n, c in example.curves.items() if any(p.rate > 0 for p in c.lines.conditions)]
            name, curve = failing[0]
            vdd = min(condition.at for condition in curve.lines.conditions if condition.rate > 0)
            try:
                answer = curve.rate(vdd)
            except ValueError as error:
                print(f"    {name}: {error}")
                continue
            print(
                f"    {name} at {vdd:g} V, if {assumption}: BER {answer.estimate:.3g} "
                f"[{answer.low:.3g}, {answer.high:.3g}], {answer.basis}"
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=Path, help="measurements of latencies, in the format latency-variation")
    parser.add_argument("--voltage", type=Path, help="percentages of cache lines with errors")
    parser.add_argument("--modules", help="labels of modules, separated by commas; all if not given")
    parser.add_argument("--seeds", type=int, default=5, help="random halves")
    parser.add_argument("--bank", type=int, default=3, help="the bank of table (b)")
    parser.add_argument("--only", default="abcdef", help="letters of the tables to print")
    arguments = parser.parse_args()
    folder = os.environ.get("EDEN_DATA")
    if not folder and (arguments.latency is None or arguments.voltage is None):
        print("prediction.py: EDEN_DATA is not set; it names the folder with dram/", file=sys.stderr)
        return 1
    dram = Path(folder or ".") / "dram"
    latency = arguments.latency or dram / "latency-variation" / "data_latvar_sigmetrics2016.csv"
    voltage = arguments.voltage or dram / "voltage" / "dimm_faulty_cachelines_out.csv"
    campaigns = []
    if set(arguments.only) - {"f"}:
        names = arguments.modules.split(",") if arguments.modules else labels(latency)
        campaigns = [read(latency, module=name) for name in names]
        print(f"{latency.name}: {len(campaigns)} modules, {sum(len(c.readings) for c in campaigns)} readings")
    reached = True
    if "a" in arguments.only:
        reached = table_halves(campaigns, arguments.seeds)
    if "b" in arguments.only:
        table_banks(campaigns, arguments.bank)
    if "c" in arguments.only:
        table_patterns(campaigns)
    if "d" in arguments.only:
        table_latencies(campaigns)
    if "e" in arguments.only:
        table_modules(campaigns)
    if "f" in arguments.only:
        table_voltage(voltage)
    if not reached:
        print("\nbelow 90% in a table of halves that is to reach it")
    return int(not reached)


def labels(path: Path) -> list[str]:
    """The modules of a file; a file of one module is read without a choice."""
    try:
        return [read(path).module]
    except FileError as error:
        listed = str(error).rsplit("choose one of: ", 1)
        if len(listed) < 2:
            raise
        return [entry.split(" ")[0] for entry in listed[1].split("), ")]


if __name__ == "__main__":
    sys.exit(main())
