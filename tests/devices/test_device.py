"""Does a device answer inside what was measured and refuse outside, and is every damaged file named with its place?"""

import copy
import itertools
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from latency_csv import line, write

from eden import Bitline, CellMap, DataDependent, Device, FileError, Geometry, Wordline, fit
from eden.memory.errors import ErrorModel

Body = dict[str, Any]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Device:
    rows = []
    for latency in ("trcd", "trp"):
        for at, errors in ((12.5, 0), (10.0, 0), (7.5, 1000), (5.0, 10**6)):
            for pattern, scale in (("0x0", 1), ("0xff", 3)):
                for repeat in range(2):
                    counts = [errors * scale + repeat * (errors > 0)] * 8
                    rows.append(line(counts, pattern, **{"trcd": 12.5, latency: at}))
    rows += [line(10**8, "0x0", 2.5), line(100, "0x0", 2.5), line(10**8, "0xff", 2.5)]
    rows += [line(5000, pattern, temperature=10) for pattern in ("0x0", "0xff")]
    return fit(write(tmp_path_factory.mktemp("device") / "a.csv", rows), name="test")


@pytest.fixture
def body(device: Device, tmp_path: Path) -> Body:
    device.save(tmp_path / "device.json")
    return dict(json.loads((tmp_path / "device.json").read_text()))


def test_round_trip(device: Device, tmp_path: Path) -> None:
    device.save(tmp_path / "device.json")
    again = Device.load(tmp_path / "device.json")
    assert again == device
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "device.json").read_bytes()


GEOMETRY = Geometry(bank_rows=2**14)  # that of the device above: banks of 2^30 cells
OTHER_MODELS: dict[str, Callable[[float], ErrorModel]] = {
    "bitline": lambda ber: Bitline(ber, 0.1, geometry=GEOMETRY),
    "wordline": lambda ber: Wordline(ber, 0.1, geometry=GEOMETRY),
    "measured": lambda ber: Bitline.measured([ber / 2, 3 * ber / 2], geometry=GEOMETRY),
    "cell_map": lambda ber: CellMap(range(int(ber * 10**6)), True, True, 10**6),
}


def with_models(body: Body, make: Callable[[float], ErrorModel]) -> Body:
    """The body of a device file with other error models of about the same rates."""
    for part in (body["whole"], *body["partitions"]):
        for point in (*part["points"], *part["points_at_other_temperatures"]):
            rate = float(f"{(point['errors']['ber_zero'] + point['errors']['ber_one']) / 2:.1g}")
            model = make(rate)
            point["errors"] = model.to_dict()
            point["zero"] = point["one"] = [model.ber, model.ber]
    return {**body, "model": model.KIND}


@pytest.mark.parametrize("name", OTHER_MODELS)
def test_every_error_model_is_read_back(name: str, body: Body, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(with_models(body, OTHER_MODELS[name])))
    device = Device.load(tmp_path / "a.json")
    device.save(tmp_path / "b.json")
    again = Device.load(tmp_path / "b.json")
    assert again == device
    assert again.errors(trcd=5.0) == OTHER_MODELS[name](device.errors(trcd=5.0).ber)
    assert again.errors(trcd=5.0).ber > 0.0


def test_a_model_of_another_geometry_is_named(body: Body, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(with_models(body, lambda ber: Wordline(ber, 0.1))))
    with pytest.raises(
        FileError, match=r"found an error model of .*bank_rows=32768.*; allowed is the device's geometry"
    ):
        Device.load(path)


def test_measured_points_give_the_fitted_model(device: Device) -> None:
    for part in (device.whole, *device.partitions):
        for point in part.points:
            assert part.errors(trcd=point.trcd, trp=point.trp) == point.errors
    assert isinstance(device.errors(trcd=7.5), DataDependent)
    assert device.errors() == device.errors(trcd=12.5, trp=12.5, vdd=1.5, refresh_interval=64.0, temperature=20.0)
    assert device.errors().ber == 0.0


@pytest.mark.parametrize("latency", ["trcd", "trp"])
def test_between_two_points_the_harsher_one_bounds(device: Device, latency: str) -> None:
    for value, harsher in ((12.0, 10.0), (9.9, 7.5), (7.51, 7.5), (7.49, 5.0), (5.1, 5.0)):
        assert device.errors(**{latency: value}) == device.errors(**{latency: harsher})  # type: ignore[arg-type]


def test_rates_only_grow_as_a_latency_shrinks(device: Device) -> None:
    rates = [device.errors(trcd=value / 10) for value in range(125, 49, -1)]
    for mild, harsh in itertools.pairwise(rates):
        assert mild.ber_zero <= harsh.ber_zero
        assert mild.ber_one <= harsh.ber_one


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trcd": 4.9}, r"trcd is 4.9 ns; allowed for whole at 20 C is 5 to 12.5 ns; 2.5 ns is left out: .*regimes"),
        ({"trcd": 12.6}, r"trcd is 12.6 ns; allowed for whole at 20 C is 5 to 12.5 ns"),
        ({"trcd": float("nan")}, r"trcd is nan ns; allowed"),
        ({"trp": 2.5}, r"trp is 2.5 ns; allowed for whole at 20 C is 5 to 12.5 ns$"),
        ({"trcd": 7.5, "trp": 10.0}, r"trcd is 7.5 ns and trp is 10 ns; allowed for whole is one of them off nominal"),
        ({"vdd": 1.35}, r"vdd is 1.35 V; allowed for whole at 20 C is 1.5 V \(nominal\): no other was measured"),
        ({"refresh_interval": 128}, r"refresh_interval is 128.0 ms; allowed for whole at 20 C is 64 ms"),
        ({"temperature": 85}, r"temperature is 85 C; allowed for whole are the measured 10, 20 C"),
        (
            {"trcd": 10.0, "partition": "bank0"},
            r"allowed for bank0 at 20 C is 12.5 ns \(nominal\): it is kept at its nom",
        ),
        ({"partition": "rank0"}, r"partition is 'rank0'; allowed for test are bank0, bank1"),
        ({"trcd": 5.0, "temperature": 10}, r"trcd is 5.0 ns; allowed for whole at 10 C is 7.5 to 7.5 ns"),
    ],
)
def test_outside_of_what_was_measured(device: Device, arguments: Body, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        device.errors(**arguments)


def joint(body: Body, both: float = 0.02) -> Device:
    """The device with joint points of tRCD, VDD and the refresh interval in bank1, and one that was left out."""
    body = copy.deepcopy(body)
    points, nominal = body["partitions"][1]["points"], body["nominal"]

    def at(rate: float, **changes: float) -> Body:
        errors = {"model": "data_dependent", "ber_zero": rate, "ber_one": rate, "failure": 1.0}
        return {**points[0], **changes, "errors": errors, "zero": [0.0, 1.0], "one": [0.0, 1.0]}

    points += [at(1e-4, vdd=1.2), at(both, vdd=1.2, trcd=5.0), at(0.1, vdd=1.0, trcd=5.0)]
    points += [at(1e-5, refresh_interval=256.0)]
    body["partitions"][1]["left_out"] = [{**nominal, "vdd": 1.1, "reason": "it was measured in a draught"}]
    points.sort(
        key=lambda p: (
            8 * (p["refresh_interval"] > 64) + 4 * (p["vdd"] < 1.5) + 2 * (p["trp"] < 12.5) + (p["trcd"] < 12.5),
            -p["trcd"],
            -p["trp"],
            -p["vdd"],
        )
    )
    return Device.model_validate({key: value for key, value in body.items() if key not in ("format", "version")})


def test_points_measured_together_bound_what_is_milder_in_every_parameter(body: Body) -> None:
    device = joint(body)
    bank = device.partition("bank1")
    assert bank.errors(vdd=1.2).ber == 1e-4
    assert bank.errors(vdd=1.3, trcd=6.0).ber == bank.errors(vdd=1.2, trcd=7.5).ber == 0.02
    assert bank.errors(refresh_interval=100.0).ber == 1e-5
    assert bank.point(vdd=1.3, trcd=6.0).basis == "bound"
    assert bank.point(vdd=1.2, trcd=5.0).basis == "measured"
    assert bank.errors(trcd=7.5) == device.partition("bank1").points[2].errors
    assert [point.vdd for point in bank.sweep("vdd", 20.0)] == [1.5, 1.2]
    for arguments, message in (
        ({"vdd": 1.2, "trp": 10.0}, r"trp is 10 ns and vdd is 1.2 V; allowed for bank1 is one of them off nominal"),
        ({"vdd": 1.1}, r"vdd is 1.1 V; allowed for bank1 at 20 C is 1.2 to 1.5 V; 1.1 V is left out: .*draught"),
        ({"vdd": 1.1, "trcd": 10.0}, r"outside of the region from .* because .* in it is left out: .*draught"),
        ({"refresh_interval": 300.0}, r"refresh_interval is 300.0 ms; allowed for bank1 at 20 C is 64 to 256 ms"),
    ):
        with pytest.raises(ValueError, match=message):
            bank.errors(**arguments)


def test_a_joint_point_below_a_milder_one_is_named(body: Body) -> None:
    with pytest.raises(ValueError, match=r"the rates at tRCD 5 ns, .*1.2 V.* are below those at .* a milder point"):
        joint(body, both=1e-6)


def test_a_margin_multiplies_every_rate_and_is_kept(device: Device, tmp_path: Path) -> None:
    wide = device.with_margin(3.0, "ageing over ten years")
    for part, wider in zip((device.whole, *device.partitions), (wide.whole, *wide.partitions), strict=True):
        for point, raised in zip(part.points, wider.points, strict=True):
            assert raised.errors.ber == pytest.approx(min(3 * point.errors.ber, 1.0))
            assert raised.zero[1] == pytest.approx(min(3 * point.zero[1], 1.0))
    assert any("times 3 (ageing over ten years)" in text for text in wide.assumptions)
    assert "times 3 (ageing over ten years)" in wide.describe()
    wide.save(tmp_path / "wide.json")
    assert Device.load(tmp_path / "wide.json") == wide
    # Rates never pass the failure probability.
    assert device.with_margin(1e6).errors(trcd=5.0).ber_one == 1.0
    with pytest.raises(
        ValueError, match=r"test has a margin already, bit error rates times 3 .*; allowed is a device with"
    ):
        wide.with_margin(2.0)
    for factor in (0.5, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=f"factor is {factor}; allowed is 1 or more"):
            device.with_margin(factor)


def test_a_margin_written_by_hand_changes_no_rate_and_is_refused(device: Device, body: Body) -> None:
    def by_hand(found: Device) -> dict[str, object]:
        text = json.loads(found.model_dump_json())
        return {**text, "margin": {**text["margin"], "factor": 2.0}}

    bare = by_hand(device)
    for part in (bare["whole"], *bare["partitions"]):  # type: ignore[misc]
        part["curves"] = []
    with pytest.raises(ValueError, match=r"margin: factor is 2, but assumptions do not name it; a margin records what"):
        Device.model_validate(bare)
    with pytest.raises(ValueError, match=r"margin: factor is 2, but a curve of whole has 1; a margin records what the"):
        Device.model_validate(by_hand(with_curves(body)))
    with pytest.raises(ValueError, match=r"margin: factor is 2, but a curve of whole has 3"):
        Device.model_validate(by_hand(with_curves(body).with_margin(3.0)))


def test_a_margin_says_that_it_leaves_points_without_errors_as_they_are(device: Device) -> None:
    told = (
        "points without errors keep BER 0, whatever the factor: only the upper ends of their intervals are multiplied"
    )
    assert any(point.errors.ber == 0.0 for point in device.whole.points[1:]) is (
        told in device.with_margin(2.0).assumptions
    )
    assert told in Device.builtin("ddr3-b33").with_margin(2.0).assumptions
    assert Device.builtin("ddr3-b33").with_margin(2.0).errors(trcd=10.0).ber == 0.0


def with_curves(body: Body) -> Device:
    """The device with curves of tRCD down to 5 ns; the stored ones' ends at 7.5 ns."""
    shape = {
        "parameter": "trcd",
        "temperature": 20.0,
        "link": "logit",
        "location": 4.0,
        "scale": 0.37,
        "asymptote": 0.8,
    }
    body["whole"]["curves"] = [
        {**shape, "stored": "zero", "mildest": 7.5, "harshest": 5.0},
        {**shape, "stored": "one", "mildest": 7.5, "harshest": 7.5},
    ]
    return Device.model_validate({key: value for key, value in body.items() if key not in ("format", "version")})


def test_curves_answer_between_the_latencies_that_they_were_fitted_to(body: Body) -> None:
    device = with_curves(body)
    mild, harsh = device.errors(trcd=7.5), device.errors(trcd=5.0)
    curve = device.whole.curves[0]

    def odds(rate: float) -> float:
        return math.log(rate / (1 - rate))

    before = mild.ber_zero
    for latency in (7.499999, 7.4, 7.0, 6.0, 5.5, 5.1, 5.000001):
        point = device.whole.point(trcd=latency, between="curve")
        shares = [odds(curve.rate(at)) - odds(curve.rate(7.5)) for at in (latency, 5.0)]
        expected = odds(mild.ber_zero) + shares[0] / shares[1] * (odds(harsh.ber_zero) - odds(mild.ber_zero))
        assert odds(point.errors.ber_zero) == pytest.approx(expected)
        # No curve of stored ones was fitted here: their log-odds are linear between the measured points.
        expected = odds(mild.ber_one) + (7.5 - latency) / 2.5 * (odds(harsh.ber_one) - odds(mild.ber_one))
        assert odds(point.errors.ber_one) == pytest.approx(expected)
        assert point.basis == "zeros: curve, ones: interpolated"
        assert point.errors.ber_zero >= before
        assert point.zero[0] <= point.errors.ber_zero <= point.zero[1]
        before = point.errors.ber_zero
    assert point.errors.ber_zero == pytest.approx(harsh.ber_zero, rel=1e-3)
    assert device.whole.point(trcd=7.5, between="curve").basis == "measured"
    # Between the last point without errors and the first with them, monotony alone bounds the rate.
    assert device.whole.point(trcd=9.0, between="curve").basis == "bound"
    assert device.errors(trcd=9.0, between="curve") == mild
    # Not all corners about it were measured together.
    assert joint(body).partition("bank1").point(vdd=1.3, trcd=6.0, between="curve").basis == "bound"
    with pytest.raises(ValueError, match="between is 'line'; allowed are 'bound' and 'curve'"):
        device.errors(trcd=6.0, between="line")  # type: ignore[arg-type]


def test_extrapolation_is_asked_for_and_marked(body: Body) -> None:
    device = with_curves(body)
    with pytest.raises(ValueError, match=r"trcd is 4.0 ns; allowed"):
        device.errors(trcd=4.0)
    point = device.whole.point(trcd=4.0, extrapolate=True)
    assert point.basis == "extrapolated"
    assert point.errors.ber_zero == pytest.approx(0.4)
    assert point.zero[1] == 1.0
    # What was measured is not extrapolated.
    assert device.whole.point(trcd=5.0, extrapolate=True).basis == "measured"
    with pytest.raises(ValueError, match="no curve of stored zeros is fitted for bank1 at 20 C to extrapolate with"):
        device.errors(trcd=4.0, partition="bank1", extrapolate=True)
    wide = device.with_margin(1.5).whole.point(trcd=4.0, extrapolate=True)
    assert wide.errors.ber_zero == pytest.approx(0.6)


def test_what_is_no_number(device: Device) -> None:
    for value in ("7.5", True, [7.5]):
        with pytest.raises(TypeError, match=r"trcd is a (str|bool|list); allowed is a number"):
            device.errors(trcd=value)  # type: ignore[arg-type]


def test_partitions(device: Device) -> None:
    assert [part.name for part in device.partitions if part.nominal] == ["bank0"]
    for part in device.partitions[1:]:
        assert [(point.trcd, point.trp) for point in part.points] == [
            (12.5, 12.5),
            (10.0, 12.5),
            (7.5, 12.5),
            (5.0, 12.5),
            (12.5, 10.0),
            (12.5, 7.5),
            (12.5, 5.0),
        ]
        assert [point.temperature for point in part.points_at_other_temperatures] == [10.0]
    assert sum(part.capacity_bytes for part in device.partitions) == device.whole.capacity_bytes == 2**30


def test_curves(device: Device) -> None:
    assert [point.trcd for point in device.curve("trcd")] == [12.5, 10.0, 7.5, 5.0]
    assert [point.trp for point in device.curve("trp", partition="bank3")] == [12.5, 10.0, 7.5, 5.0]
    assert [point.trcd for point in device.curve("trcd", temperature=10.0)] == [7.5]
    assert {row.trcd for row in device.measured_curve("trcd")} == {12.5, 10.0, 7.5, 5.0, 2.5}
    with pytest.raises(ValueError, match="parameter is 'twr'; allowed are trcd, trp, vdd, refresh_interval, tras"):
        device.curve("twr")
    with pytest.raises(ValueError, match=r"temperature is 30 C; allowed are 10.0, 20.0 C"):
        device.curve("trcd", temperature=30)


def test_description(device: Device) -> None:
    text = device.describe()
    for part in ("test: module m1 of a.csv", "data_dependent", "bank7", "1024 MiB", "assumptions", "two regimes"):
        assert part in text


def test_the_catalogue() -> None:
    names = Device.builtin_names()
    assert "ddr3-b33" in names
    vendors = [Device.builtin(name).source.vendor for name in names]
    assert {vendor: vendors.count(vendor) >= 2 for vendor in vendors} == {"A": True, "B": True, "C": True}
    for name in names:
        device = Device.builtin(name)
        assert device.name == name
        assert "BSD-3-Clause" in device.source.licence
        assert "SIGMETRICS 2016" in device.source.citation
        assert any(len(part.points) > 2 for part in device.partitions)
        assert [part.name for part in device.partitions if part.nominal] == ["bank0"]
        # Some modules go from no errors to every seventh cell between two measured latencies.
        assert any(0 < point.errors.ber < 0.2 for point in device.whole.points)
    populations = [name for name in names if Device.builtin(name).population is not None]
    assert populations == ["ddr3-vendor-a", "ddr3-vendor-b", "ddr3-vendor-c"]
    assert len(names) == 27
    errors = Device.builtin("ddr3-b33").errors(trcd=7.5)
    assert 1e-5 < errors.ber < 1e-3
    with pytest.raises(ValueError, match=r"no built-in device 'ddr9'; there are: ddr3-b1, "):
        Device.builtin("ddr9")
    with pytest.raises(ValueError, match="no built-in device"):
        Device.builtin("../errors")


def point(body: Body, index: int = 2) -> Body:
    """The point of bank1 at a tRCD of 7.5 ns, or another one."""
    found: Body = body["partitions"][1]["points"][index]
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.update(format="eden-tolerance"), "format: found 'eden-tolerance', allowed is 'eden-device'"),
        (lambda b: b.update(version=1), "version: found 1, allowed is 2"),
        (lambda b: b.update(random_layout=99), "random_layout is 99; allowed is 2"),
        (lambda b: b.pop("partitions"), "partitions: Field required"),
        (lambda b: b.update(partitions=[]), "partitions: Tuple should have at least 1 item"),
        (lambda b: b.update(extra=1), "extra: Extra inputs are not permitted"),
        (
            lambda b: b.update(model="row"),
            "model: Input should be 'uniform', 'bitline', 'wordline', 'data_dependent', 'bitline_by_value', "
            "'wordline_by_value' or 'cell_map'",
        ),
        (lambda b: b.update(model="uniform"), "found model data_dependent .*; allowed is the device's uniform"),
        (lambda b: b.update(failure=0.0), "failure: Input should be greater than 0"),
        (lambda b: b.update(failure=0.5), "with failure 1; allowed is the device's data_dependent with 0.5"),
        (lambda b: b["geometry"].update(banks=True), r"geometry: .*banks is a bool; allowed is an int"),
        (
            lambda b: b["geometry"].update(ranks=1, banks=7),
            "partition bank7 ends at bit 8589934592; allowed is 7516192768, where the geometry ends",
        ),
        (
            lambda b: b["partitions"][3].update(address=2**30 + 8),
            "partition bank3 begins at bit 1073741832, inside bank1",
        ),
        (lambda b: b["partitions"][3].update(kind="chip"), r"partitions\[3\].kind: Input should be 'module', 'rank'"),
        (lambda b: b["margin"].update(shift=0.5), r"margin: shift is 0\.5; allowed is 0"),
        (lambda b: b["margin"].update(factor=0.5), "margin.factor: Input should be greater than or equal to 1"),
        (lambda b: b["nominal"].update(trcd=13.0), "the first is .*; allowed is nominal"),
        (lambda b: b["nominal"].update(vdd="1.5"), "nominal.vdd: Input should be a valid number"),
        (lambda b: b["nominal"].update(vdd=-1.5), "nominal.vdd: Input should be greater than 0"),
        (lambda b: b["partitions"][2].update(name="bank1"), "the name 'bank1' occurs twice"),
        (lambda b: b["partitions"][1].update(capacity_bytes=0), r"partitions\[1\].capacity_bytes: .* greater than 0"),
        (lambda b: b["partitions"].pop(0), "none is nominal"),
        (lambda b: b["partitions"][1].update(nominal=True), "bank1 is nominal; allowed is its nominal point alone"),
        (lambda b: b["partitions"][1]["points"].reverse(), "points of bank1"),
        (lambda b: b["partitions"][1]["points"].insert(2, point(b)), "points of bank1 are not sorted or repeat"),
        (lambda b: b["partitions"][1].update(points=[]), r"partitions\[1\].points: Tuple should have at least 1"),
        (lambda b: point(b).update(errors={"model": "spin"}), r"partitions\[1\].points\[2\].errors: .*model is 'spin'"),
        (lambda b: point(b).update(errors=0.1), "an error model is an object"),
        (lambda b: point(b).update(errors={"model": ["uniform"]}), r"points\[2\].errors"),
        (lambda b: point(b)["errors"].update(ber_zero=1.5), r"errors: .*ber_zero is 1.5; allowed is 0 to 1"),
        (lambda b: point(b)["errors"].update(ber_zero=-1e-9), r"errors: .*ber_zero is -1e-09"),
        (lambda b: point(b)["errors"].update(ber_zero=True), r"errors: .*ber_zero is a bool"),
        (lambda b: point(b)["errors"].update(ber_zero=0.5), "allowed is an interval that holds the rate 0.5"),
        (lambda b: point(b).update(zero=[0.0, 1.5]), r"points\[2\].zero\[1\]: .*less than or equal to 1"),
        (lambda b: point(b).update(zero=[0.0]), r"points\[2\].zero\[1\]: Field required"),
        (lambda b: point(b).update(trcd=20.0), "points of bank1"),
        (
            lambda b: point(b).update(vdd=1.6),
            "points of bank1: found .*1.6 V.*; allowed is nominal .* first, or harsher",
        ),
        (lambda b: point(b).update(temperature=50.0), "found several temperatures; allowed is one"),
        (lambda b: point(b).update(trp=11.0), "points of bank1"),
        (lambda b: point(b).update(dispersion=float("nan")), "dispersion: Input should be a finite number"),
        (lambda b: point(b, index=3).update(trcd=7.5), "points of bank1 are not sorted or repeat"),
        (
            lambda b: point(b, index=3).update(
                errors={"model": "data_dependent", "ber_zero": 0.0, "ber_one": 0.0}, zero=[0.0, 0.1], one=[0.0, 0.1]
            ),
            "the rates at tRCD 5 ns.* are below those at tRCD 7.5 ns",
        ),
        (lambda b: b["measured"][0].update(rate=2.0), r"measured\[0\].rate: .*less than or equal to 1"),
        (lambda b: b["measured"][0].update(low=0.5), r"measured\[0\]: .*allowed is low <= rate <= high"),
        (lambda b: b["measured"][0].update(readings=0), r"measured\[0\].readings: .*greater than or equal to 1"),
        (lambda b: b["measured"][0].update(pattern="checkered"), r"measured\[0\].pattern"),
        (lambda b: b["choice"][0].update(bic=float("inf")), r"choice\[0\].bic: Input should be a finite number"),
        (lambda b: b["source"].pop("licence"), "source.licence: Field required"),
    ],
)
def test_a_tampered_file_is_named_with_its_place(
    body: Body, tmp_path: Path, change: Callable[[Body], object], message: str
) -> None:
    change(body)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(body))
    with pytest.raises(FileError, match=message) as error:
        Device.load(path)
    assert str(error.value).startswith(str(path))


def test_every_truncation_is_an_error(device: Device, tmp_path: Path) -> None:
    device.save(tmp_path / "device.json")
    text = (tmp_path / "device.json").read_text().rstrip()
    path = tmp_path / "cut.json"
    for length in range(0, len(text), 97):
        path.write_text(text[:length])
        with pytest.raises(FileError, match=r"truncated|top level"):
            Device.load(path)


def test_damaged_characters_give_a_device_or_a_clear_error(device: Device, tmp_path: Path) -> None:
    device.save(tmp_path / "device.json")
    text = (tmp_path / "device.json").read_text()
    draw = random.Random(5)
    refused = 0
    for _ in range(300):
        at = draw.randrange(len(text))
        damaged = text[:at] + draw.choice('0123456789.-e"[]{},:nt ') + text[at + draw.randrange(3) :]
        try:
            Device.parse(damaged, "damaged.json")
        except FileError:
            refused += 1
    # Blanks and the digits of a rate can change without a contradiction; most of the file cannot.
    assert refused > 50


def test_saving_where_one_cannot(device: Device, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be written"):
        device.save(tmp_path / "no" / "device.json")
    with pytest.raises(FileError, match="cannot be read"):
        Device.load(tmp_path / "missing.json")


@pytest.mark.parametrize("name", Device.builtin_names())
def test_the_point_to_train_with(name: str) -> None:
    device = Device.builtin(name)
    point = device.default_point()
    assert len(point) == 1
    errors = device.errors(**point)
    assert errors.ber > 0.0
    ((parameter, value),) = point.items()
    sweep = [p for p in device.whole.sweep(parameter, device.nominal.temperature) if p.errors.ber > 0.0]
    within = [p for p in sweep if p.errors.ber <= 1e-2]
    assert value == getattr((within or sweep[:1])[-1], parameter)


def test_the_point_to_train_with_where_it_was_before() -> None:
    for name in ("ddr3-b33", "ddr3-p9", "ddr3-g35", "ddr3-vendor-a"):
        assert Device.builtin(name).default_point() == {"trcd": 7.5}
    device = Device.builtin("ddr3-b33")
    assert all(
        device.errors(**device.default_point(partition=part.name), partition=part.name).ber > 0.0
        for part in device.partitions
        if not part.nominal
    )
    reliable = next(part.name for part in device.partitions if part.nominal)
    with pytest.raises(ValueError, match=f"partition {reliable} of ddr3-b33 has no errors at any of its operating"):
        device.default_point(partition=reliable)
    with pytest.raises(ValueError, match=r"temperature is 21.0 C; allowed"):
        device.default_point(temperature=21.0)
    with pytest.raises(ValueError, match="partition is 'bank99'; allowed"):
        device.default_point(partition="bank99")


def test_a_device_is_walked_down() -> None:
    device = Device.builtin("ddr3-b33")
    models = device.walk(trcd=5.0)
    assert [model.ber for model in models] == sorted(model.ber for model in models)
    assert models[-1] == device.errors(trcd=5.0)
    assert len(models) < len(device.walk(trcd=5.0, steps=20)), "values between the fitted points"
    assert len(device.walk(vdd=1.1)) == 1, "of the rows of the voltage curve, that with errors"


def test_walks_that_lead_nowhere_are_named() -> None:
    device = Device.builtin("ddr3-b33")
    with pytest.raises(ValueError, match=r"^found none; allowed is exactly one of trcd, trp, vdd, refresh_interval"):
        device.walk()
    with pytest.raises(ValueError, match=r"^found trcd, vdd; allowed is exactly one"):
        device.walk(trcd=5.0, vdd=1.2)
    with pytest.raises(ValueError, match="makes no errors to train with"):
        device.walk(trcd=device.nominal.trcd)
    with pytest.raises(ValueError, match=r"trcd is 0\.1"):
        device.walk(trcd=0.1)
    with pytest.raises(ValueError, match="steps is 0"):
        device.walk(trcd=5.0, steps=0)
