"""Are counts of banks at any operating points fitted, those off nominal in several parameters too?"""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from campaign_arguments import grouped
from chip_campaign import read_pass

import eden
from eden import DataDependent, Device, FileError, Geometry, Uniform
from eden.devices.fitting import FitReport, analyse
from eden.devices.partition import Voltage, VoltageRow
from eden.memory.errors import ErrorModel

CELLS = 2**25
BANKS = 4
GRID = tuple(product((1.35, 1.2, 1.1), (12.5, 10.0, 7.5)))
# What a bank's rate is beside the module's mean.
SCALES = (0.5, 0.8, 1.2, 1.5)
NOMINAL = {"vdd": 1.35, "trcd": 12.5, "temperature": 50.0}

pytestmark = pytest.mark.usefixtures("one_thread")


def rates(vdd: float, trcd: float) -> tuple[float, float]:
    """Of zeros and ones: ten times as many at each step of either parameter, none at the nominal point."""
    steps = {1.35: 0, 1.2: 1, 1.1: 2}[vdd] + {12.5: 0, 10.0: 1, 7.5: 2}[trcd]
    rate = 0.0 if steps == 0 else 1e-6 * 10.0**steps
    return rate, 2 * rate


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    path.write_text(
        "\n".join([",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in rows)]) + "\n"
    )
    return path


def campaign(
    random: np.random.Generator,
    dispersion: float = 0.01,
    repeats: int = 5,
    scales: Sequence[float] = SCALES,
    points: Sequence[tuple[float, float]] = GRID,
) -> list[dict[str, object]]:
    """Passes over the banks of a module, whose rates vary from pass to pass."""
    rows: list[dict[str, object]] = []
    for (vdd, trcd), (stored, pattern), repeat in product(points, enumerate(("0x00", "0xff")), range(repeats)):
        rate = rates(vdd, trcd)[stored]
        total = 1 / (dispersion * rate * (1 - rate)) if rate else 0.0
        drawn = random.beta(rate * total, (1 - rate) * total) if rate else 0.0
        for bank, scale in enumerate(scales):
            errors = int(random.binomial(CELLS, drawn * scale))
            point = {**NOMINAL, "vdd": vdd, "trcd": trcd}
            rows.append({**point, "pattern": pattern, "bank": bank, "repeat": repeat, "errors": errors, "cells": CELLS})
    return rows


def report(path: Path, rows: Sequence[Mapping[str, object]], **options: object) -> FitReport:
    return analyse(write(path / "a.csv", rows), **grouped(options))


def test_a_joint_grid_is_fitted_at_each_of_its_points(tmp_path: Path) -> None:
    campaigns = 20
    held = np.zeros((len(GRID) - 1, 2), int)
    for seed in range(campaigns):
        device = report(tmp_path, campaign(np.random.default_rng(seed)), partitions="module").device
        assert device.nominal.vdd == 1.35
        assert [part.name for part in device.partitions] == ["bank0", "module"]
        assert device.model == "data_dependent"
        assert len(device.whole.points) == len(GRID)
        assert device.whole.left_out == ()
        for i, (vdd, trcd) in enumerate(GRID[1:]):
            point = device.whole.point(vdd=vdd, trcd=trcd)
            assert point.basis == "measured"
            truth = rates(vdd, trcd)
            for stored, (low, high) in enumerate((point.zero, point.one)):
                held[i, stored] += low <= truth[stored] <= high
                # Five readings of a dispersion of 0.01: neither nothing nor everything.
                assert high < 1.6 * low
    # Of 20 intervals of 95%, fewer than 15 hold with a probability of 3e-4; there are 16 such counts.
    assert held.min() >= 15


def test_banks_are_points_of_their_own_and_placed_at_joint_ones(tmp_path: Path) -> None:
    device = report(tmp_path, campaign(np.random.default_rng(1))).device
    device.save(tmp_path / "device.json")
    device = Device.load(tmp_path / "device.json")
    for bank in (1, 2, 3):
        part = device.partition(f"bank{bank}")
        assert len(part.points) == len(GRID)
        assert {(choice.vdd, choice.trcd) for choice in part.choices} == set(GRID)
        # Five readings of a dispersion of 0.01: the mean's relative standard error is 0.045.
        assert part.errors(vdd=1.1, trcd=7.5).ber_one == pytest.approx(2e-2 * SCALES[bank], rel=0.3)
    text = device.describe()
    assert "1.1 V, refresh 64 ms" in text
    # What was not measured is bounded by the point that is as harsh in both.
    between = device.whole.point(vdd=1.25, trcd=11.0)
    assert between.basis == "bound"
    assert between.errors == device.errors(vdd=1.2, trcd=10.0)


@pytest.mark.parametrize(
    ("points", "chosen"),
    [
        # The harshest of at most 1e-2: 1.5e-4 at one step, 1.5e-3 at two.
        (GRID, {"trcd": 7.5}),
        ([point for point in GRID if point[1] == 12.5], {"vdd": 1.1}),
        ([(1.35, 12.5), (1.2, 12.5)], {"vdd": 1.2}),
        ([(1.35, 12.5), (1.2, 10.0), (1.1, 7.5)], {"vdd": 1.2, "trcd": 10.0}),
    ],
)
def test_the_point_to_train_with(
    points: Sequence[tuple[float, float]], chosen: Mapping[str, float], tmp_path: Path
) -> None:
    device = report(tmp_path, campaign(np.random.default_rng(3), points=points), partitions="module").device
    assert device.default_point() == chosen
    assert 0.0 < device.errors(**device.default_point()).ber <= 1e-2


def test_the_point_to_train_with_of_refresh_intervals_and_of_none(tmp_path: Path) -> None:
    def device(rates_by_interval: Mapping[float, float]) -> Device:
        random = np.random.default_rng(1)
        rows = [
            {**NOMINAL, "refresh_interval": interval, "pattern": pattern, "bank": bank, "repeat": repeat}
            | {"errors": int(random.binomial(CELLS, rate)), "cells": CELLS}
            for (interval, rate), pattern, bank, repeat in product(
                rates_by_interval.items(), ("0x00", "0xff"), range(BANKS), range(3)
            )
        ]
        return report(tmp_path, rows, partitions="module").device

    assert device({64.0: 0.0, 256.0: 1e-5, 1024.0: 1e-3, 4096.0: 0.1}).default_point() == {"refresh_interval": 1024.0}
    assert device({64.0: 0.0, 2048.0: 0.05, 4096.0: 0.1}).default_point() == {"refresh_interval": 2048.0}
    with pytest.raises(ValueError, match="has no errors at any of its operating points"):
        device({64.0: 0.0, 128.0: 0.0}).default_point()


def test_the_point_to_train_with_of_a_voltage_from_elsewhere(tmp_path: Path) -> None:
    rows = campaign(np.random.default_rng(3), points=[(1.35, 12.5), (1.35, 10.0)])
    quiet = [{**row, "errors": 0} for row in rows]
    levels = ((1.35, 0.0), (1.2, 1e-5), (1.1, 1e-4))
    voltage = Voltage(
        source="elsewhere",
        vendor="A",
        modules=("A1",),
        assumptions=("joined",),
        rows=tuple(VoltageRow(vdd=v, ber=b, low=b, high=b) for v, b in levels),
    )
    device = eden.fit(write(tmp_path / "a.csv", quiet), voltage=voltage)
    assert device.default_point() == {"vdd": 1.1}


def test_curves_are_of_single_sweeps(tmp_path: Path) -> None:
    rows = campaign(np.random.default_rng(2))
    alone = [row for row in rows if row["vdd"] == 1.35]
    curves = report(tmp_path, rows).device.whole.curves
    of_latencies = tuple(curve for curve in curves if curve.parameter == "trcd")
    assert of_latencies == report(tmp_path, alone).device.whole.curves
    assert {curve.parameter for curve in curves} == {"trcd", "vdd"}


def test_refresh_temperature_and_tRP_beside_the_others(tmp_path: Path) -> None:  # noqa: N802
    random = np.random.default_rng(3)
    points = [
        ({"refresh_interval": 64.0}, 0.0),
        ({"refresh_interval": 256.0}, 1e-5),
        ({"trp": 7.5, "trcd": 7.5, "refresh_interval": 256.0, "vdd": 1.2}, 1e-3),
        ({"refresh_interval": 256.0, "temperature": 85.0}, 1e-4),
    ]
    rows: list[dict[str, object]] = []
    for (changes, rate), pattern, repeat, bank in product(points, ("0x00", "0xff"), range(3), range(2)):
        errors = int(random.binomial(CELLS, rate))
        point = {**NOMINAL, "trp": 12.5, **changes}
        rows.append({**point, "pattern": pattern, "bank": bank, "repeat": repeat, "errors": errors, "cells": CELLS})
    found = report(tmp_path, rows, temperature=50.0)
    device = found.device
    assert len(device.whole.points) == 3
    # 300 to 70,000 errors of each value: six standard errors of the fewest are 0.25.
    assert device.errors(refresh_interval=256.0).ber == pytest.approx(1e-5, rel=0.25)
    assert device.errors(refresh_interval=256.0, temperature=85.0).ber == pytest.approx(1e-4, rel=0.25)
    assert device.errors(trp=7.5, trcd=7.5, vdd=1.2, refresh_interval=256.0).ber == pytest.approx(1e-3, rel=0.1)
    nominal = "nominal supply voltage 1.35 V and tRCD 12.5 and tRP 12.5 ns: the mildest that were measured"
    assert nominal in device.assumptions
    hotter = report(tmp_path, rows, temperature=85.0).device
    assert [point.refresh_interval for point in hotter.whole.points] == [64.0, 256.0]


def test_what_is_not_stated_is_nominal_and_said_to_be(tmp_path: Path) -> None:
    names = ("vdd", "pattern", "bank", "repeat", "errors", "cells")
    rows = [{name: row[name] for name in names} for row in campaign(np.random.default_rng(4)) if row["trcd"] == 12.5]
    with pytest.raises(ValueError, match=r"temperature is missing: a.csv does not state it"):
        report(tmp_path, rows)
    device = report(tmp_path, rows, temperature=45.0, trcd=13.75).device
    assert (device.nominal.temperature, device.nominal.trcd, device.nominal.vdd) == (45.0, 13.75, 1.35)
    assert "tRCD 13.75 and tRP 12.5 ns and refresh interval 64 ms: the measurements do not state them" in (
        device.assumptions
    )
    assert "temperature 45 C where the measurements do not state it" in device.assumptions


def test_rates_that_fall_by_chance_off_nominal_in_several_parameters_are_raised(tmp_path: Path) -> None:
    """Where both parameters saturate, half of all points are below a milder one, and none by more than chance."""
    random = np.random.default_rng(5)
    rows: list[dict[str, object]] = []
    for (vdd, trcd), pattern, repeat in product(GRID, ("0x00", "0xff"), range(4)):
        # Single steps rise, and all joint points have one rate.
        steps = {1.35: 0, 1.2: 1, 1.1: 2}[vdd], {12.5: 0, 10.0: 1, 7.5: 2}[trcd]
        rate = 1e-3 if min(steps) > 0 else 1e-5 * max(steps)
        for bank in range(BANKS):
            errors = int(random.binomial(CELLS, rate * random.lognormal(0.0, 0.05)))
            point = {**NOMINAL, "vdd": vdd, "trcd": trcd}
            rows.append({**point, "pattern": pattern, "bank": bank, "repeat": repeat, "errors": errors, "cells": CELLS})
    found = report(tmp_path, rows)
    assert len(found.device.whole.points) == len(GRID)
    assert all(len(part.points) == len(GRID) for part in found.device.partitions[1:])
    assert any("raised rates of whole to those of milder points" in note for note in found.device.notes)
    # A fall by a factor of 2 is none of chance.
    for row in rows:
        if (row["vdd"], row["trcd"]) == (1.2, 7.5):
            row["errors"] = 3 * int(row["errors"])  # type: ignore[call-overload]
    fallen = report(tmp_path, rows).device.whole
    assert [(gap.vdd, gap.trcd) for gap in fallen.left_out] == [(1.1, 7.5)]
    assert "the curve is not monotone" in fallen.left_out[0].reason


def test_a_voltage_curve_is_not_joined_to_voltages_of_its_own(tmp_path: Path) -> None:
    rows = [VoltageRow(vdd=1.35, ber=0.0, low=0.0, high=0.0), VoltageRow(vdd=1.1, ber=1e-6, low=0.0, high=1e-5)]
    voltage = Voltage(source="a", vendor="A", modules=("x",), assumptions=(), rows=tuple(rows))
    with pytest.raises(ValueError, match=r"voltage is given; allowed is None, because a.csv has .* 1.1, 1.2, 1.35 V"):
        report(tmp_path, campaign(np.random.default_rng(6)), voltage=voltage)


def test_errors_at_the_nominal_point_and_at_no_solid_pattern_are_errors(tmp_path: Path) -> None:
    rows = campaign(np.random.default_rng(7))
    with pytest.raises(FileError, match=r"errors of module a.csv at its nominal operating point"):
        report(tmp_path, [*rows, {**rows[0], "repeat": 9, "errors": 4}])
    with pytest.raises(FileError, match=r"column Pattern: module a.csv has no reading of the patterns 0x0 or 0xff"):
        report(tmp_path, [{**row, "pattern": "0xaa"} for row in rows if row["pattern"] == "0xff"])


def test_a_device_of_joint_points_draws_chips_that_give_it_back(tmp_path: Path) -> None:
    geometry = Geometry(row_bits=1024, subarray_rows=64, bank_rows=512, banks=2)
    cells = geometry.row_bits * geometry.bank_rows
    truth = {(1.35, 12.5): Uniform(0.0), (1.35, 7.5): DataDependent(1e-3, 3e-3), (1.2, 7.5): DataDependent(1e-2, 2e-2)}

    def measure(models: Mapping[tuple[float, float], ErrorModel], seed: int) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = []
        for (vdd, trcd), errors in models.items():
            for byte in (0x00, 0xFF):
                failed = read_pass(errors, byte, seed, 0, range(geometry.banks), geometry)
                for bank in range(geometry.banks):
                    point = {**NOMINAL, "vdd": vdd, "trcd": trcd, "pattern": f"0x{byte:02x}", "bank": bank}
                    rows.append({**point, "errors": int(failed[bank].sum()), "cells": cells})
        return rows

    device = report(tmp_path, measure(truth, 8), geometry=geometry).device
    device.save(tmp_path / "device.json")
    device = Device.load(tmp_path / "device.json")
    again = report(
        tmp_path,
        measure({key: device.errors(vdd=key[0], trcd=key[1]) for key in truth}, 9),
        geometry=geometry,
    ).device
    for vdd, trcd in list(truth)[1:]:
        first, second = (one.errors(vdd=vdd, trcd=trcd) for one in (device, again))
        # 1,000 errors and more in each: six standard errors of the difference.
        assert second.ber_zero == pytest.approx(first.ber_zero, rel=0.27)
        assert second.ber_one == pytest.approx(first.ber_one, rel=0.16)
        assert first.ber_zero == pytest.approx(truth[vdd, trcd].ber_zero, rel=0.19)
