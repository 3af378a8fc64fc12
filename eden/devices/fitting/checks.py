"""Whether what was counted of single flips looks like the fitted device, and what its rates say of each condition."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from eden.common.checks import around
from eden.devices.device import Measured
from eden.devices.fitting.patterns import alone
from eden.devices.fitting.regions import Region, bank_region
from eden.devices.fitting.report import PointFit
from eden.devices.fitting.rounding import rounded_rate
from eden.devices.fitting.samples import LINE_AXES, PLURAL, Measurement, PointCounts, Sampler
from eden.devices.likelihoods import (
    LEVEL,
    Counts,
    Goodness,
    Model,
    StoredValue,
    compare_pattern,
    fit_models,
    goodness_of_fit,
)
from eden.devices.partition import OperatingPoint, Partition, point_of


class Checks:
    """Compares counts with a fitted device.

    Args:
        sampler: of the counts.
        whole: the whole module.
        model: whose likelihood one value's counts are held against.
        failure: its F.
        cell_map: whether its error models are cell maps.
        notes: what is found is added to them, one sentence each.
        name: the likelihood's in words.

    """

    def __init__(
        self,
        sampler: Sampler,
        whole: Region,
        model: Model,
        failure: float,
        cell_map: bool,
        notes: list[str],
        name: str,
    ) -> None:
        self.sampler, self.whole, self.model, self.failure = sampler, whole, model, failure
        self.cell_map, self.notes, self.name = cell_map, notes, name

    def tests(self, whole: Partition, fits: Mapping[OperatingPoint, PointCounts]) -> Iterator[PointFit]:
        """The goodness of fit of the device's model at each point of the whole module at which cells failed."""
        offered = {point_of(point) for point in (*whole.points, *whole.points_at_other_temperatures)}
        refused: list[str] = []
        for point, fit in fits.items():
            if point not in offered or fit.choice is None or not fit.failed:
                continue
            tests: list[Goodness] = []
            for value, sample in fit.samples.items():
                if not sample.counts.failed or (self.model in LINE_AXES and self.model not in sample.lines):
                    continue
                found = goodness_of_fit(self.model, value, sample.counts, failure=self.failure)
                tests += found
                refused += [
                    f"{test.of} of stored {PLURAL[value]} at {point} (p = {test.p_value:.3g})"
                    for test in found
                    if test.bins and test.p_value < LEVEL
                ]
            tested = ", ".join(f"{test.of} of {test.bins[0].stored} {test.p_value:.3g}" for test in tests if test.bins)
            self.notes.append(
                f"goodness of fit at {point}: p = {tested}" if tested else f"too few errors to test at {point}"
            )
            yield PointFit(point, fit.choice, tuple(tests))
        if refused:
            self.notes.append(
                f"{self.name} does not describe the counts of {'; '.join(refused)}: the intervals there "
                "are those of the model, and the truth may lie outside"
            )

    def measured(self, whole: Partition) -> tuple[Measured, ...]:
        """All readings of each condition, beside what the device's rates say of them."""
        fitted = {point_of(point): alone(point) for point in (*whole.points, *whole.points_at_other_temperatures)}
        rows: list[Measured] = []
        left: list[str] = []
        dilution = self.whole.cells / (len(self.sampler.tested.banks) * self.sampler.tested.cells_per_bank)
        for point, measurements in self.sampler.by_point.items():
            told = fitted.get(point)
            for measurement in measurements:
                values: list[StoredValue] = ["zero", "one"] if measurement.stored is not None else ["both"]
                samples = {
                    value: self.sampler.sample(self.whole, measurement, value)
                    for value in values
                    if measurement.holds(value)
                }
                merged = _merged([sample.counts for sample in samples.values()])
                (ber,) = fit_models(both=merged, failure=self.failure, replicates=0).chosen.ber
                passes = np.sum([[errors for errors, _ in sample.totals] for sample in samples.values()], axis=0)
                cells = sum(sample.totals[0][1] for sample in samples.values())
                ones = None if measurement.stored is None else float(measurement.stored.mean())
                predicted = None
                if told is not None and ones is not None:
                    predicted = (1 - ones) * told[0] + ones * told[1]
                    if self.cell_map:
                        predicted = min(1.0, predicted * dilution)
                if ones is not None and 0.0 < ones < 1.0 and self.sampler.chosen(point, "zero") is not measurement:
                    self._compare(point, measurement, ones, predicted, ber.estimate)
                rate = rounded_rate(ber.estimate)
                low, high = around((rounded_rate(ber.low), rounded_rate(ber.high)), rate)
                pattern = measurement.pattern or ""
                if not re.fullmatch(r"0x[0-9a-f]{1,2}", pattern):
                    left.append(pattern or "not known")
                    continue
                rows.append(
                    Measured(
                        **point.model_dump(),
                        pattern=f"0x{int(pattern, 16):x}",
                        readings=measurement.passes,
                        rate=rate,
                        low=low,
                        high=high,
                        least=rounded_rate(float(passes.min()) / cells),
                        most=rounded_rate(float(passes.max()) / cells),
                        predicted=None if predicted is None else rounded_rate(predicted),
                    )
                )
        if left:
            self.notes.append(
                f"left out of the table of measured conditions {len(left)} whose pattern is no single byte: "
                + ", ".join(sorted(set(left)))
            )
        return tuple(rows)

    def _compare(
        self, point: OperatingPoint, measurement: Measurement, ones: float, predicted: float | None, own: float
    ) -> None:
        """Note whether a pattern that was not fitted fails as the fitted zeros and ones predict."""
        zero, one = self.sampler.chosen(point, "zero"), self.sampler.chosen(point, "one")
        text = f"pattern {measurement.pattern} at {point}: rate {own:.3g}"
        if predicted is not None:
            text += f", predicted {predicted:.3g}"
        if len(self.sampler.tested.banks) > 1 and zero and one and zero.pure("zero") and one.pure("one"):
            try:
                test = compare_pattern(
                    self._by_bank(zero, ("zero",)),
                    self._by_bank(one, ("one",)),
                    self._by_bank(measurement, ("zero", "one")),
                    share_of_ones=ones,
                )
            except ValueError:  # too few errors
                test = None
            if test is not None:
                verdict = "a factor of its own" if test.own_factor else "as its zeros and ones predict"
                text += f"; {verdict} (p = {test.p_value:.3g}, banks taken for repeats)"
        self.notes.append(text)

    def _by_bank(self, measurement: Measurement, values: Sequence[StoredValue]) -> list[tuple[float, float]]:
        """Mean errors of a pass, bank by bank: passes read the same cells, banks do not."""
        found = []
        for bank in self.sampler.tested.banks:
            region = bank_region(self.sampler.geometry, bank, self.sampler.tested.rows)
            samples = [self.sampler.sample(region, measurement, value) for value in values]
            errors = sum(math.fsum(errors for errors, _ in sample.totals) / len(sample.totals) for sample in samples)
            found.append((errors, sum(sample.totals[0][1] for sample in samples)))
        return found


def _merged(counts: Sequence[Counts]) -> Counts:
    """Counts of cells that stored one value and of others that stored the other, together and without their lines."""
    histograms = [one.histogram for one in counts if one.histogram is not None]
    return Counts(
        cells=sum(one.cells for one in counts),
        failed=sum(one.failed for one in counts),
        reads=counts[0].reads,
        failures=sum(one.failures for one in counts),
        histogram=np.sum(histograms, axis=0) if len(histograms) == len(counts) else None,
    )
