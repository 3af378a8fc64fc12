"""Do a vendor's modules give the distribution they were drawn from, devices drawn from it, and a voltage curve?"""

import json
import math
from pathlib import Path

import chain
import numpy as np
import pytest
from latency_csv import CELLS, line, write

import eden
from eden import Device
from eden.devices.device import Source
from eden.devices.populations import fit_vendor, vendor_voltage

SOURCE = Source(text="simulated", licence="none", citation="", file="a.csv", module="several", vendor="A")
MEAN, DEVIATION = {7.5: math.log(1e-4), 5.0: math.log(0.03)}, 0.7


def campaign(folder: Path, modules: int, seed: int) -> Path:
    """Modules whose log-odds are normal about ``MEAN``, zeros and ones alike, with three readings a condition."""
    draw = np.random.default_rng(seed)
    rows = []
    for module in range(modules):
        for latency in ("trcd", "trp"):
            for at in (12.5, 7.5, 5.0):
                odds = MEAN[at] + DEVIATION * draw.normal() if at in MEAN else -math.inf
                rate = 1 / (1 + math.exp(-odds)) if at in MEAN else 0.0
                for pattern in ("0x0", "0xff"):
                    for _ in range(3):
                        wobble = math.exp(0.02 * draw.normal())
                        counts = [round(rate * wobble * CELLS)] * 8
                        rows.append(line(counts, pattern, module=f"m{module}", **{"trcd": 12.5, latency: at}))
    return write(folder / "a.csv", rows)


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Device:
    path = campaign(tmp_path_factory.mktemp("vendor"), modules=8, seed=3)
    return fit_vendor(path, [f"m{i}" for i in range(8)], name="vendor", source=SOURCE)


def test_the_population_is_the_one_that_modules_were_drawn_from(vendor: Device) -> None:
    assert vendor.population is not None
    for knot in vendor.population.knots:
        if knot.latency not in MEAN:
            assert (knot.failing, knot.mean) == (0, None)
            continue
        # Eight modules: four standard errors of a mean and of a standard deviation, about 1e-4 for each of 16.
        assert (knot.modules, knot.failing) == (8, 8)
        assert knot.mean == pytest.approx(MEAN[knot.latency], abs=4 * DEVIATION / math.sqrt(8))
        assert knot.deviation == pytest.approx(DEVIATION, abs=4 * DEVIATION / math.sqrt(16))
    point = vendor.whole.points[1]
    assert point.trcd == 7.5
    assert point.zero[0] < point.errors.ber_zero < point.zero[1]
    assert vendor.partitions[0].nominal


def test_drawn_modules_are_of_the_population_and_of_their_seed(vendor: Device, tmp_path: Path) -> None:
    assert vendor.draw(5) == vendor.draw(5)
    assert vendor.draw(5).errors(trcd=7.5) != vendor.draw(6).errors(trcd=7.5)
    odds = []
    for seed in range(200):
        module = vendor.draw(seed)
        assert module.population is None
        rate = module.errors(trcd=5.0).ber_zero
        odds.append(math.log(rate / (1 - rate)))
        assert module.errors(trcd=7.5).ber_zero <= rate
    knots = {(k.parameter, k.stored, k.latency): k for k in vendor.population.knots} if vendor.population else {}
    knot = knots["trcd", "zero", 5.0]
    assert knot.mean is not None
    assert knot.deviation is not None
    # Four standard errors each of the mean and the deviation of 200 normal numbers.
    assert np.mean(odds) == pytest.approx(knot.mean, abs=4 * knot.deviation / math.sqrt(200))
    assert np.std(odds) == pytest.approx(knot.deviation, abs=4 * knot.deviation / math.sqrt(400))
    module = vendor.draw(2**64 - 1)
    module.save(tmp_path / "m.json")
    assert Device.load(tmp_path / "m.json") == module
    with pytest.raises(ValueError, match=r"seed is 18446744073709551616; allowed is 0 to 2\^64 - 1"):
        vendor.draw(2**64)
    with pytest.raises(ValueError, match="is one module; allowed is a device with a population"):
        module.draw(0)


def test_a_margin_holds_for_drawn_modules(vendor: Device) -> None:
    bare, wide = vendor.draw(1), vendor.with_margin(2.0).draw(1)
    assert wide.errors(trcd=7.5).ber == pytest.approx(2 * bare.errors(trcd=7.5).ber)


def test_vendor_file(vendor: Device, tmp_path: Path) -> None:
    vendor.save(tmp_path / "v.json")
    assert Device.load(tmp_path / "v.json") == vendor
    body = json.loads((tmp_path / "v.json").read_text())
    body["population"]["correlation"][0][1] = 0.99
    (tmp_path / "v.json").write_text(json.dumps(body))
    with pytest.raises(eden.FileError, match="correlation is no symmetric matrix; allowed is one"):
        Device.load(tmp_path / "v.json")
    with pytest.raises(ValueError, match="modules are m0; allowed are two or more"):
        fit_vendor(tmp_path / "v.json", ["m0"], name="v", source=SOURCE)


VOLTAGES = """dimm_name,vdd,vendor,error_cacheline_percent
A1,1.35,A,0.0
A1,1.2,A,0.0
A1,1.1,A,0.01
A2,1.35,A,0.0
A2,1.2,A,0.0
A2,1.1,A,0.03
A3,1.35,A,0.0
A3,1.2,A,0.0
A3,1.1,A,0.05
B1,1.1,B,0.0
"""


@pytest.fixture
def voltages(tmp_path: Path) -> Path:
    path = tmp_path / "voltage.csv"
    path.write_text(VOLTAGES)
    return path


def test_voltage(voltages: Path) -> None:
    voltage = vendor_voltage(voltages, "A", 1.35)
    assert [row.vdd for row in voltage.rows] == [1.35, 1.2, 1.1]
    assert [row.ber for row in voltage.rows[:2]] == [0.0, 0.0]
    assert voltage.rows[1].high > 0.0
    # The median share of lines, 0.03%, over 512 bits each.
    assert 1e-4 / 512 < voltage.rows[2].low + voltage.rows[2].ber < 1e-3 / 512
    assert voltage.rows[2].low < voltage.rows[2].ber < voltage.rows[2].high
    assert any("no module of vendor A tells it" in text for text in voltage.assumptions)
    with pytest.raises(ValueError, match=r"vendor is 'D'; allowed for .* are A, B"):
        vendor_voltage(voltages, "D")


def test_a_voltage_is_joined_and_bounds_what_is_milder(voltages: Path, tmp_path: Path) -> None:
    rows = [
        line([errors] * 8, pattern, trcd)
        for trcd, errors in ((12.5, 0), (7.5, 1000))
        for pattern in ("0x0", "0xff")
        for _ in range(2)
    ]
    voltage = vendor_voltage(voltages, "A", 1.35)
    device = eden.fit(write(tmp_path / "a.csv", rows), nominal=eden.Condition(vdd=1.35), voltage=voltage)
    bank = device.partition("bank1")
    low = voltage.rows[2].ber
    assert bank.errors(vdd=1.1).ber == low
    both = bank.point(vdd=1.15, trcd=7.5)
    alone = bank.errors(trcd=7.5).ber
    assert both.errors.ber == pytest.approx(alone + low - alone * low)
    assert (both.vdd, both.basis) == (1.15, "measured, joined")
    assert bank.point(vdd=1.3, trcd=9.0).basis == "bound, joined"
    assert {(point.vdd, point.trcd) for point in bank.choices} == {
        (vdd, trcd) for vdd in (1.35, 1.2, 1.1) for trcd in (12.5, 7.5)
    }
    assert len(device.partition("bank0").choices) == 1
    assert all(text in device.assumptions for text in voltage.assumptions)
    with pytest.raises(ValueError, match=r"vdd is 1 V; allowed for the voltage curve of vendor A is 1.1 to 1.35 V"):
        device.errors(vdd=1.0)
    device.save(tmp_path / "d.json")
    again = Device.load(tmp_path / "d.json")
    assert again == device
    assert again.partition("bank1").choices == bank.choices
    wide = device.with_margin(2.0)
    assert wide.partition("bank1").errors(vdd=1.1).ber == pytest.approx(2 * low)
    with pytest.raises(ValueError, match=r"voltage: the first row is 1.35 V; allowed is nominal \(1.5 V\)"):
        eden.fit(tmp_path / "a.csv", voltage=voltage)


def test_what_a_voltage_rests_on_is_told_to_the_end(voltages: Path, tmp_path: Path) -> None:
    rows = [
        line([errors] * 8, pattern, trcd)
        for trcd, errors in ((12.5, 0), (7.5, 1000))
        for pattern in ("0x0", "0xff")
        for _ in range(2)
    ]
    voltage = vendor_voltage(voltages, "A", 1.35)
    device = eden.fit(write(tmp_path / "a.csv", rows), nominal=eden.Condition(vdd=1.35), voltage=voltage).with_margin(
        1.5, "summer"
    )
    model = eden.Uniform(1e-3)
    tolerance = chain.tolerance({"fc.weight": 1e-3, "fc.input": 1e-4}, model=model)
    placement = eden.place(tolerance, device)
    assert {part.operating_point.vdd for part in placement.partitions.values() if part.used_bytes} == {1.1}
    told = " ".join(placement.notes)
    assert all(text in told for text in voltage.assumptions)
    assert "times 1.5 (summer)" in told
    assert placement.margin == device.margin
