"""Does ``check`` tell readings that a device predicts from those of another session, and say what it cannot answer?"""

import math
from pathlib import Path

import chip_campaign
import numpy as np
import pytest
from latency_csv import line, simulate, write

import eden
from eden.app import cli
from eden.devices.prediction import check

RATES = {10.0: (1e-7, 2e-7), 7.5: (1e-5, 2e-5), 5.0: (0.01, 0.02), 2.5: (0.2, 0.3)}
MODULES = 3


def later(folder: Path, seed: int, rates: dict[float, tuple[float, float]], repeats: int = 6) -> Path:
    return write(folder / f"{seed}.csv", simulate(np.random.default_rng(seed), rates, repeats, dispersion=0.05))


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> eden.Device:
    return eden.fit(later(tmp_path_factory.mktemp("fitted"), 1, RATES))


def test_readings_of_the_same_kind_are_inside(tmp_path: Path) -> None:
    found = []
    for seed in range(MODULES):
        fitted = eden.fit(later(tmp_path, 2 * seed, RATES))
        found += eden.check(fitted, later(tmp_path, 2 * seed + 1, RATES)).failing
    assert len(found) == MODULES * 8
    # 95% each: fewer than 18 of 24 have a probability of about 1e-4; single readings of a module go together.
    assert sum(one.verdict == "inside" for one in found) >= 18
    assert sum(one.inside for one in found) >= 115


def test_a_session_with_higher_rates_shows(
    device: eden.Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = {at: (4 * zero, 4 * one) if at == 5.0 else (zero, one) for at, (zero, one) in RATES.items()}
    path = later(tmp_path, 3, worse)
    found = check(device, path)
    assert {(one.where, one.pattern) for one in found.too_low} == {
        ("tRCD 5 ns, 20 °C", "zeros"),
        ("tRCD 5 ns, 20 °C", "ones"),
    }
    assert 1.0 < found.margin < 4.0
    assert not check(device.with_margin(found.margin), path).too_low
    assert check(device.with_margin(0.9 * found.margin), path).too_low
    device.save(tmp_path / "device.json")
    monkeypatch.setattr("sys.argv", ["eden", "check", str(tmp_path / "device.json"), str(path)])
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    worst = max(found.too_low, key=lambda one: one.margin)
    said = capsys.readouterr().out
    assert (
        f"2 conditions fail at a higher rate than eden place takes, most of all {worst.where}, {worst.pattern}" in said
    )
    assert f"a margin of {found.margin:.3g} holds them" in said


def test_what_is_not_told_is_named(device: eden.Device, tmp_path: Path) -> None:
    rows = [line(5e8, pattern, trcd=7.5, temperature=50) for pattern in ("0x0", "0xff")]
    rows += [line(count, "0xaa", trcd=5.0) for count in (1.6e7, 9e8)]
    rows += [line(0, "0xff", trcd=12.5), line(0, "0x0", trcd=1.0)]
    found = check(device, write(tmp_path / "a.csv", rows))
    mixed, nominal = sorted(found.conditions, key=lambda one: one.point.trcd)
    assert mixed.expected == pytest.approx((device.errors(trcd=5.0).ber_zero + device.errors(trcd=5.0).ber_one) / 2)
    assert mixed.regimes
    assert (mixed.pattern, mixed.readings, mixed.inside) == ("0xaa", 2, 1)
    assert (nominal.verdict, nominal.factor) == ("inside", None)
    assert found.failing == ()
    assert found.too_low == (mixed,)
    reasons = dict(found.untold)
    assert len(reasons) == 3
    assert any("allowed for whole are the measured 20 C" in reason for reason in reasons.values())
    assert "patterns of zeros and ones: 0 of 1 conditions are between what" in found.summary()
    assert "not told (2)" in found.summary()


def test_errors_where_a_device_has_none_need_another_fit(device: eden.Device, tmp_path: Path) -> None:
    found = check(device, write(tmp_path / "a.csv", [line(50, "0x0", trcd=12.5)]))
    assert math.isinf(found.margin)
    assert "no margin holds that, since the device has no errors there" in found.table()


def test_between_measured_points_a_bound_is_no_estimate(device: eden.Device, tmp_path: Path) -> None:
    """A rate far below the harsher point's is no error of a device that promises no more than a bound."""
    (found,) = check(device, write(tmp_path / "a.csv", [line(2**30 * 1e-4, "0x0", trcd=6.0)])).conditions
    assert (found.basis, found.verdict) == ("bound", "inside")
    assert found.low < 1e-5 < found.high


def test_flips_of_cells(tmp_path: Path) -> None:
    models = {(("trcd", at),): eden.DataDependent(rate, 2 * rate) for at, rate in ((7.5, 2e-3), (5.0, 2e-2))}
    tested = eden.Tested(banks=chip_campaign.BANKS, rows=128, row_bits=1024)
    nominal = eden.Condition(temperature=20.0, trcd=12.5)
    path = chip_campaign.write_flips(tmp_path / "a.csv", models, seed=1, passes=2)
    device = eden.fit(path, nominal=nominal, tested=tested)
    found = check(device, chip_campaign.write_flips(tmp_path / "b.csv", models, seed=1, passes=2), tested=tested)
    assert [(one.point.trcd, one.pattern, one.readings) for one in found.conditions] == [
        (7.5, "zeros", 2),
        (7.5, "ones", 2),
        (5.0, "zeros", 2),
        (5.0, "ones", 2),
    ]
    assert found.coverage == 1.0
    with pytest.raises(
        ValueError, match=r"which cells were tested is not known of b\.csv; allowed is a file that tells"
    ):
        check(device, tmp_path / "b.csv")


def test_a_vendor_says_where_nothing_is_known(tmp_path: Path) -> None:
    vendor = eden.Device.builtin("ddr3-vendor-a")
    rows = [line(2**30 * 1e-4, "0x0", trcd=7.5), line(2**30 * 0.4, "0x0", trcd=2.5)]
    found = check(vendor, write(tmp_path / "a.csv", rows))
    wide, narrow = found.conditions
    assert (wide.verdict, wide.nothing_known, narrow.nothing_known) == ("inside", True, False)
    assert "nothing is known of 1 conditions but an upper end" in found.summary()
    assert any("nothing is known of a module that was not measured but" in note for note in vendor.notes)
