"""Is nothing that the program computed refused by it: every file format, of extreme but possible results?

Each format has a strategy that builds its record as the program does: all chips equal, one chip, no errors, rates at
their ends, one operand. What it builds is saved, loaded, and the same. What is really wrong is refused, by name.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import json
import math
import pkgutil
import tomllib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import chain
import numpy as np
import pytest
import tiny_profile
import tomli_w
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from latency_csv import CELLS, line, write
from torch import nn

import eden
from eden import _core
from eden.accounting.accounts import account, savings
from eden.accounting.results import Pareto, ParetoPoint, Savings
from eden.app.gain import Gain
from eden.app.recipe import RetrainRecipe
from eden.app.rounds import Round, Rounds
from eden.app.run import tightened
from eden.app.run_recipe import RunRecipe
from eden.app.stages import Manifest, Stage
from eden.app.steps import accuracy_curves
from eden.common import checks
from eden.common.files import FileError, VersionedFile
from eden.costs.count_traffic import traffic
from eden.costs.energy import Currents
from eden.costs.platforms import PLATFORMS, Platform, Range
from eden.costs.traffic_file import OperandTraffic, Traffic
from eden.deployment.image import ImageHeader, ImageOperand, ImagePiece
from eden.devices.curves.population import _shrunk
from eden.devices.device import Device, FitRow, Measured, Population
from eden.devices.partition import FittedPoint, OperatingPoint, Partition, Voltage, VoltageRow
from eden.devices.populations import _rounded
from eden.devices.upper_rates import Rates
from eden.memory.cell_map import CellMap
from eden.memory.errors import DataDependent, ErrorModel, Uniform
from eden.memory.geometry import Geometry
from eden.memory.lines import HIGHEST_DISPERSION, LOWEST_DISPERSION, LineModel
from eden.memory.lines_by_value import LinesByValue
from eden.placement.constraints import Constraints
from eden.placement.defaults import ExactSolver
from eden.placement.map_file import MemoryMap
from eden.placement.mapping import memory_map
from eden.placement.placement import Placement
from eden.placement.solvers import place
from eden.reporting.accuracy import AccuracyCurves, AccuracyPoint
from eden.reporting.page import report
from eden.reporting.sections import PARTS
from eden.tolerance.drive import drive
from eden.tolerance.evaluation import OverChips
from eden.tolerance.package import PackagedOperand, PackageInfo
from eden.tolerance.question import Question, Searched, SearchError
from eden.tolerance.tolerance import CEILING, FLOOR, Tolerance
from eden.tolerance.verification import Verification, certify

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def formats() -> list[type[VersionedFile]]:
    """Every file format of the package."""
    for module in pkgutil.walk_packages(eden.__path__, "eden."):
        # Callbacks need other packages; what begins with an underscore is a library, or a program.
        name = module.name.rpartition(".")[2]
        if name not in ("lightning", "transformers") and not name.startswith("_"):
            importlib.import_module(module.name)

    def below(kind: type[VersionedFile]) -> Iterator[type[VersionedFile]]:
        for one in kind.__subclasses__():
            if "FORMAT" in vars(one):  # a base of files has none of its own
                yield one
            yield from below(one)

    found = {kind for kind in below(VersionedFile) if kind.__module__.startswith("eden.") and "FORMAT" in vars(kind)}
    return sorted(found, key=lambda kind: kind.FORMAT)


# -- numbers at their ends ---------------------------------------------------------------------------------------------


def accuracies() -> st.SearchStrategy[float]:
    """Of n samples, k right."""
    return st.integers(1, 1000).flatmap(lambda n: st.integers(0, n).map(lambda k: k / n))


def over_chips() -> st.SearchStrategy[OverChips]:
    """Accuracies on some chips: all equal, one chip, or k of the same n samples on each."""
    equal = st.tuples(accuracies(), st.integers(1, 100)).map(lambda pair: (pair[0],) * pair[1])
    samples = st.integers(1, 1000)
    apart = samples.flatmap(lambda n: st.lists(st.integers(0, n).map(lambda k: k / n), min_size=1, max_size=30))
    return st.one_of(equal, apart.map(tuple)).map(OverChips)


FAILURES = st.sampled_from([1.0, 0.5, 0.3, 0.1, 1 / 3, 1e-3, FLOOR])


@st.composite
def rates(draw: st.DrawFn, failure: float = 1.0) -> float:
    """A bit error rate: none, all of F, the ends of limits, a share, or whatever."""
    ends = [0.0, failure, failure / 2, math.nextafter(failure / 2, 0), math.nextafter(failure, 0), failure / 3, 1e-300]
    ends += [rate for rate in (FLOOR, 0.5, 0.1, 1e-6) if rate <= failure]
    return draw(st.one_of(st.sampled_from(ends), st.floats(0.0, failure), accuracies().map(lambda k: k * failure)))


@st.composite
def error_models(draw: st.DrawFn, least: float = 0.0) -> ErrorModel:
    """An error model of any kind whose highest rate is at least so much."""
    failure = draw(FAILURES.filter(lambda failure: failure >= least))
    kind = draw(st.sampled_from(["uniform", "data_dependent", "population", "by_value", "measured", "cell_map"]))
    if kind == "uniform":
        model: ErrorModel = Uniform(draw(rates(failure)), failure)
    elif kind == "data_dependent":
        model = DataDependent(draw(rates(failure)), draw(rates(failure)), failure)
    elif kind == "population":
        dispersion = draw(st.sampled_from([0.0, LOWEST_DISPERSION, 0.1, HIGHEST_DISPERSION]))
        model = draw(st.sampled_from([eden.Bitline, eden.Wordline]))(draw(rates(failure)), dispersion, failure)
    elif kind == "by_value":
        model = draw(st.sampled_from([eden.Bitline, eden.Wordline])).by_value(
            draw(rates(failure)),
            draw(rates(failure)),
            draw(st.sampled_from([0.0, LOWEST_DISPERSION, 0.1, HIGHEST_DISPERSION])),
            failure,
            marks=draw(st.sampled_from(["alike", "opposite", "apart"])),
        )
    elif kind == "measured":
        lines = draw(st.one_of(st.just([failure] * 3), st.lists(rates(failure), min_size=1, max_size=12)))
        model = draw(st.sampled_from([eden.Bitline, eden.Wordline])).measured(np.array(lines), failure)
    else:
        bits = draw(st.sampled_from([1, 7, 64, 10**6]))
        cells = draw(st.lists(st.integers(0, bits - 1), unique=True, min_size=1, max_size=min(bits, 12)))
        zero = np.array(draw(st.lists(st.booleans(), min_size=len(cells), max_size=len(cells))), np.bool_)
        one = np.array([not z or draw(st.booleans()) for z in zero], np.bool_)
        model = CellMap(np.array(cells), zero, one, bits, failure)
    assume(model.highest_ber >= least)
    return model


@SETTINGS
@given(model=error_models(), data=st.data())
def test_an_error_model_reaches_what_it_says_again_and_again(model: ErrorModel, data: st.DataObject) -> None:
    """Its own rate, its highest one, and the rate that it was brought to before; also as its JSON form says it."""
    assert model.ber <= model.highest_ber <= model.failure * (1 + 8 * checks.EPSILON)
    cell = model.failure / model.bits if isinstance(model, CellMap) else 0.0
    wanted = data.draw(rates(model.highest_ber)) if model.highest_ber else 0.0
    for rate in (model.ber, model.highest_ber, wanted):
        found = model.scaled(rate)
        for again in (found, ErrorModel.from_dict(json.loads(json.dumps(found.to_dict())))):
            assert again == found
            slack = checks.rounding(rate, 64)
            assert -cell - slack <= again.ber - rate <= slack
            assert 0.0 <= again.ber_zero <= again.failure
            assert 0.0 <= again.ber_one <= again.failure
            again.scaled(again.ber)
            again.scaled(rate)


# -- accuracy ----------------------------------------------------------------------------------------------------------


def test_the_mean_of_equal_accuracies_is_theirs() -> None:
    """Of every k of n samples: a sum of twenty that is rounded and divided by twenty may be below or above."""
    for n in range(1, 1001):
        for k in range(n + 1):
            value = k / n
            assert checks.mean((value,) * 20) == value
    rounded = [k / n for n in range(1, 60) for k in range(n + 1) if math.fsum([k / n] * 20) / 20 != k / n]
    assert rounded, "no sum was rounded, so that nothing was tested"


def accuracy_point(label: str, ber: float, over: OverChips) -> AccuracyPoint:
    return AccuracyPoint(label=label, ber=ber, mean=over.mean, low=over.worst, high=over.best, chips=len(over.values))


@pytest.mark.parametrize("chips", [1, 2, 3, 7, 20])
def test_every_share_of_up_to_a_thousand_samples_is_a_point(chips: int) -> None:
    for n in range(1, 1001):
        # All k of some n, and of every n the ends and those near them.
        for k in range(n + 1) if n % 97 == 0 else {0, 1, n // 3, n // 2, n - 1, n}:
            if 0 <= k <= n:
                accuracy_point("network", 1e-3, OverChips((k / n,) * chips))


@st.composite
def curves_of_accuracy(draw: st.DrawFn) -> AccuracyCurves:
    """Of one network or two, as evaluations make them: at no rate, one, or several."""
    made = []
    for label in draw(st.sampled_from([("network",), ("baseline", "boosted")])):
        found = {draw(rates()): draw(over_chips()) for _ in range(draw(st.integers(0, 4)))}
        tolerated = draw(st.sampled_from([None, FLOOR, CEILING]))
        made.append(accuracy_curves(label, found, draw(accuracies()), "network", draw(seeds()), tolerated))
    joined = AccuracyCurves.joined(made)
    assert joined is not None
    return joined


def test_twenty_chips_of_one_accuracy_are_a_curve(tmp_path: Path) -> None:
    """What ended the demo: the mean of twenty times 0.995 was 0.9949999999999999."""
    found = accuracy_curves("baseline", {1e-5: OverChips((0.995,) * 20)}, 0.995, "digits", 0)
    same_after_a_round_trip(found, tmp_path)
    assert {(point.low, point.mean, point.high) for point in found.points} == {(0.995,) * 3}


def seeds() -> st.SearchStrategy[int]:
    return st.sampled_from([0, 1, -(2**63), 2**63 - 1])


# -- tolerance and verification ----------------------------------------------------------------------------------------


def asked(**changes: Any) -> Question:
    """A question that is answered in a moment."""
    usual: dict[str, Any] = {"max_drop": 0.2, "confidence": 0.8, "guarantee": "mean", "seed": 0, "effort": 1.5}
    asked = tiny_profile.told(**{**usual, **changes})
    del asked["budget"]
    return Question(**asked)


class Drops:
    """An evaluator that drops by what the rates do, in steps of the samples of an observation."""

    def __init__(self, stands: float, samples: int) -> None:
        self.stands, self.samples = stands, samples

    def evaluate(self, trial: Any) -> float:
        rate = sum(trial.rates) / len(trial.rates)
        drop = 0.01 * rate / self.stands + 0.02 * ((trial.chip % 7) / 7 - 0.5) * (rate / self.stands)
        return max(-1.0, min(1.0, round(drop * self.samples) / self.samples))


def planned(question: Question, samples: int) -> Any:
    """All samples in every observation."""
    scorer: Any = SimpleNamespace(samples=range(samples), whole=True)
    return question.plan(len(scorer.samples), scorer.whole)


@st.composite
def tolerances(draw: st.DrawFn) -> Tolerance:
    """What a search finds of one operand or more, with error models whose rates end at the floor, at F, or anywhere."""
    names = [f"layer{i}.{kind}" for i in range(draw(st.integers(1, 2))) for kind in ("weight", "input")]
    names = names[: draw(st.integers(1, len(names)))]
    errors = {name: draw(error_models(FLOOR)) for name in names}
    question = asked(
        max_drop=draw(st.sampled_from([0.2, 0.4])),
        guarantee=draw(st.sampled_from(["mean", ("quantile", 0.6)])),
        seed=draw(seeds()),
        coarse_only=draw(st.booleans()),
        strategy=draw(st.sampled_from(["shares", "shares", "sweep"])),
        lower_is_better=draw(st.booleans()),
    )
    infos: Any = {
        name: SimpleNamespace(bytes=draw(st.sampled_from([1, 1000])), kind=name.rpartition(".")[2], storage="int8")
        for name in names
    }
    weights = {name: draw(st.sampled_from([0.0, 1.0, 1e-300])) for name in names}
    searched = Searched(infos, errors, weights)
    samples = draw(st.sampled_from([1, 3, 200]))
    plan = planned(question, samples)
    search = question.put(searched, plan)
    # 1e3: nothing drops. 1e-12: everything does, at the floor already.
    observations = drive(search, Drops(draw(st.sampled_from([1e3, 1e-1, 1e-4, 1e-12])), samples), names)
    clean = np.full(samples, draw(st.sampled_from([1.0, 0.995, 2 / 3])))
    question.check_room(clean, "top1")
    try:
        found = question.answer(
            search,
            searched,
            metric="top1",
            clean=clean,
            float_accuracy=draw(st.one_of(st.none(), accuracies())),
            plan=plan,
            observations=observations,
            made_of={"network": "0" * 64},
        )
    except SearchError:  # not even the floor could be confirmed
        found = chain.tolerance(dict.fromkeys(names, FLOOR))
    return tightened(found, draw(st.sampled_from([1.0, 0.5, 2.0**-40])))


def test_a_search_whose_only_rate_is_the_floor_knows_how_long_it_takes() -> None:
    question = asked()
    infos: Any = {"fc.weight": SimpleNamespace(bytes=1, kind="weight", storage="int8")}
    searched = Searched(infos, {"fc.weight": Uniform(FLOOR, failure=FLOOR)}, {"fc.weight": 1.0})
    search = question.put(searched, planned(question, 1))
    while (trial := search.next_trial()) is not None:
        assert search.trials < search.expected_trials < 1000
        search.report(trial.id, 0.0)
    assert search.limits == [FLOOR]


@st.composite
def verifications(draw: st.DrawFn) -> Verification:
    network = tiny_profile.make_network(Uniform(draw(st.sampled_from([FLOOR, 1e-4]))))
    score = draw(st.sampled_from([1.0, 0.995, 2 / 3]))
    guarantee = draw(st.sampled_from(["mean", ("quantile", 0.6)]))
    rates = st.sampled_from([None, Rates(), Rates(kind="upper", confidence=0.9, readings=3, modules=0.95, untold=1)])
    return certify(
        network,
        tiny_profile.loader(),
        max_drop=draw(st.sampled_from([0.05, 0.4])),
        confidence=0.8,
        metric=lambda output, target: torch.full((len(output),), score, dtype=torch.float64),
        guarantee=guarantee,
        seed=draw(seeds()),
        progress=False,
        search=eden.Search(effort=1.5, batch_size=draw(st.sampled_from([1, 64, 200])) if guarantee == "mean" else None),
        rates=draw(rates),
        lower_is_better=draw(st.booleans()) and score < 0.9,
    )


# -- devices -----------------------------------------------------------------------------------------------------------

GEOMETRY = Geometry(bank_rows=512, banks=4)
BANK_BYTES = GEOMETRY.bank_rows * GEOMETRY.row_bits // 8
NOMINAL = OperatingPoint(vdd=1.35, trcd=12.5, trp=12.5, temperature=20.0, refresh_interval=64.0)


def _model_of(kind: str, zero: float, one: float, failure: float) -> ErrorModel:
    if kind == "uniform":
        return Uniform(checks.mean((zero, one)), failure)
    if kind == "data_dependent":
        return DataDependent(zero, one, failure)
    return eden.Wordline(checks.mean((zero, one)), 0.1, failure, GEOMETRY)


@st.composite
def partitions(draw: st.DrawFn, name: str, number: int, banks: int, model: str, failure: float) -> Partition:
    """Points whose rates rise towards the harsh end, or stay: by far, by an ulp, or not at all."""
    points = [NOMINAL]
    points += [NOMINAL.model_copy(update={"trcd": at}) for at in (10.0, 7.5, 5.0)[: draw(st.integers(0, 3))]]
    zeros = [0.0, *sorted(draw(rates(failure)) for _ in points[1:])]
    ones = [0.0, *sorted(draw(rates(failure)) for _ in points[1:])]
    fitted = []
    for point, zero, one in zip(points, zeros, ones, strict=True):
        errors = _model_of(model, zero, one, failure)
        below, above = draw(st.sampled_from([(0.0, math.inf), (0.5, 2.0), (1.0, 1.0)]))
        intervals = {
            stored: (rate * below, min(rate * above, 1.0) if rate else 0.0)
            for stored, rate in (("zero", errors.ber_zero), ("one", errors.ber_one))
        }
        fitted.append(_fitted(point, errors, **intervals))
    return _partition(name, number, banks, tuple(fitted))


def _fitted(point: OperatingPoint, errors: ErrorModel, **fields: Any) -> FittedPoint:
    rest: dict[str, Any] = {"readings": (1, 1), "dispersion": 0.0, "dispersion_fitted": False}
    return FittedPoint(**point.model_dump(), errors=errors, **{"zero": (0.0, 0.0), "one": (0.0, 0.0), **rest, **fields})


def _partition(name: str, number: int, banks: int, points: tuple[FittedPoint, ...], nominal: bool = False) -> Partition:
    return Partition(
        name=name,
        kind="module" if name == "whole" else "bank",
        address=8 * BANK_BYTES * number,
        capacity_bytes=BANK_BYTES * banks,
        nominal=nominal,
        points=points,
        points_at_other_temperatures=(),
        left_out=(),
    )


@st.composite
def voltages(draw: st.DrawFn) -> Voltage:
    found = sorted(draw(rates()) for _ in range(3))
    rows = [VoltageRow(vdd=1.35, ber=0.0, low=0.0, high=0.0)]
    rows += [
        VoltageRow(vdd=vdd, ber=ber, low=ber / 3, high=min(3 * ber, 1.0))
        for vdd, ber in zip((1.2, 1.1, 1.05), found, strict=True)
    ]
    return Voltage(source="made up", vendor="V", modules=("m",), assumptions=("none",), rows=tuple(rows))


@st.composite
def populations(draw: st.DrawFn) -> Population:
    """Of modules that differ by anything between nothing and everything."""
    modules = draw(st.integers(2, 5))
    places = [(stored, at) for stored in ("zero", "one") for at in (10.0, 7.5, 5.0)]
    observed = [{f"m{m}": draw(st.floats(-30.0, 30.0)) for m in range(modules)} for _ in places]
    if draw(st.booleans()):  # all places tell the same
        observed = [observed[0] for _ in places]
    knots = [
        {
            **{"parameter": "trcd", "stored": stored, "latency": at, "modules": modules, "failing": modules},
            **{"mean": draw(st.sampled_from([-700.0, -10.0, 0.0, 40.0])), "dispersion": 0.0, "bound": 1.0},
            "deviation": draw(st.sampled_from([0.0, 1.0, 30.0])),
        }
        for stored, at in places
    ]
    return Population.model_validate(
        {"modules": [f"m{m}" for m in range(modules)], "knots": knots, "correlation": _rounded(_shrunk(observed))}
    )


@st.composite
def measured(draw: st.DrawFn) -> Measured:
    low, rate, high = sorted(draw(rates()) for _ in range(3))
    return Measured(
        **NOMINAL.model_dump(), pattern="0xff", readings=1, rate=rate, low=low, high=high, least=rate, most=rate,
        predicted=None,
    )  # fmt: skip


@st.composite
def devices(draw: st.DrawFn) -> Device:
    """Of any model, with voltages or without, with a margin or without, or drawn from a population."""
    model = draw(st.sampled_from(["uniform", "data_dependent", "wordline"]))
    failure = draw(FAILURES)
    nothing = (_fitted(NOMINAL, _model_of(model, 0.0, 0.0, failure)),)
    banks = [_partition("bank0", 0, 1, nothing, nominal=True)]
    banks += [draw(partitions(f"bank{i}", i, 1, model, failure)) for i in range(1, draw(st.integers(2, 4)))]
    device = Device.model_validate(
        {
            "name": "made-up",
            "source": {"text": "t", "licence": "l", "citation": "c", "file": "f", "module": "m", "vendor": None},
            "geometry": GEOMETRY,
            "random_layout": _core.RANDOM_LAYOUT_VERSION,
            "failure": failure,
            "model": model,
            "nominal": NOMINAL,
            "assumptions": (),
            "notes": (),
            "choice": (
                FitRow(model="uniform", point=None, parameters=1, observations=1, log_likelihood=-0.0, bic=1e300),
            ),
            "voltage": draw(st.one_of(st.none(), voltages())),
            "whole": draw(partitions("whole", 0, 4, model, failure)),
            "partitions": tuple(banks),
            "measured": (draw(measured()),),
        }
    )
    if model == "data_dependent" and draw(st.booleans()):
        device = Device.model_validate({**dict(device), "population": draw(populations())})
        if draw(st.booleans()):
            device = device.draw(draw(st.sampled_from([0, 2**64 - 1])))
    factor = draw(st.one_of(st.sampled_from([1.0, 1.1, 3.0, 1e9]), st.floats(1.0, 1e6)))
    return device if factor == 1.0 else device.with_margin(factor)


@settings(SETTINGS, max_examples=200)
@given(zero=rates(), ones=st.tuples(rates(), rates()), factor=st.floats(1.0, 10.0))
def test_a_margin_keeps_the_order_of_rates(zero: float, ones: tuple[float, float], factor: float) -> None:
    """Of zeros that fail alike at two points: multiplied with the ratio of means that differ, they differ by an ulp."""
    points = [_fitted(NOMINAL, DataDependent(0.0, 0.0))]
    for trcd, one in zip((10.0, 7.5), sorted(ones), strict=True):
        intervals = {"zero": (0.0, 1.0), "one": (0.0, 1.0)}
        points.append(_fitted(NOMINAL.model_copy(update={"trcd": trcd}), DataDependent(zero, one), **intervals))
    whole = _partition("whole", 0, 1, tuple(points))
    Partition.model_validate(dict(whole.with_margin(factor)))


def test_a_walk_may_stay_where_it_is_but_for_rounding() -> None:
    """Towards an asymptote a curve's rates are all the same, or an ulp less."""
    network = tiny_profile.make_network()
    below = math.nextafter(0.3, 0.0)
    assert eden.Curriculum(network, [Uniform(0.1), Uniform(0.3), Uniform(below)], epochs=3).highest_ber == below
    with pytest.raises(ValueError, match="allowed are models from mild to harsh"):
        eden.Curriculum(network, [Uniform(0.3), Uniform(0.3 * (1 - SLIGHT))], epochs=3)


@SETTINGS
@given(device=devices(), data=st.data())
def test_a_device_answers_at_every_point_of_its_range(device: Device, data: st.DataObject) -> None:
    """Between points and at lower voltages, too: what is joined or bounded is a point that its own checks take."""
    for part in (device.whole, *device.partitions):
        milder = part.points[0]
        for point in part.points:
            share = data.draw(st.sampled_from([0.0, 0.5, 1.0]))
            trcd = milder.trcd + share * (point.trcd - milder.trcd)
            for vdd in [1.35, *([1.15, 1.05] if device.voltage is not None and not part.nominal else [])]:
                answer = part.point(trcd=trcd, vdd=vdd)
                FittedPoint.model_validate({name: getattr(answer, name) for name in FittedPoint.model_fields})
            milder = point
        for choice in part.choices:
            FittedPoint.model_validate(dict(choice))


READINGS = st.sampled_from([0, 1, 7, CELLS // 3, CELLS // 2, CELLS - 1, CELLS])


@settings(SETTINGS, max_examples=8)
@given(zero=READINGS, one=READINGS, given_failure=st.booleans(), repeats=st.integers(1, 3))
def test_campaigns_at_the_ends_of_what_can_be_counted_are_fitted(
    tmp_path_factory: pytest.TempPathFactory, zero: int, one: int, given_failure: bool, repeats: int
) -> None:
    """No cell fails, one does, all do, in all readings alike; F is given as the message of its refusal says it."""
    folder = tmp_path_factory.mktemp("campaign")
    rows = [line(0, pattern, trcd=12.5) for pattern in ("0x0", "0xff")]
    for trcd, share in ((10.0, 0.5), (7.5, 1.0)):
        for pattern, count in (("0x0", zero), ("0xff", one)):
            rows += [line(int(count * share), pattern, trcd=trcd)] * repeats
    path = write(folder / "measured.csv", rows)
    failure = 1e-30 if given_failure else None
    for _ in range(4):  # the values at two latencies, each of which may ask for more
        try:
            device = eden.fit(path, failure=failure)
            break
        except ValueError as error:
            allowed = float(str(error).split("allowed is ")[1].split(" to ")[0])
            assert failure is not None
            assert allowed > failure
            failure = allowed
    same_after_a_round_trip(device, folder)
    same_after_a_round_trip(device.with_margin(1.7), folder)


# -- placement and account ---------------------------------------------------------------------------------------------


@st.composite
def traffics(draw: st.DrawFn, sizes: dict[str, tuple[str, int]] | None = None) -> Traffic:
    """Bytes that operands move: none, a share of one because a batch has it, or very many; of one platform."""
    sizes = {"fc.weight": ("weight", draw(st.sampled_from([1, 10**12])))} if sizes is None else sizes
    moved = st.sampled_from([0.0, 1.0, 1 / 3, 64.0, 1e15]) | st.floats(0.0, 1e12)
    operands = {
        name: OperandTraffic(
            kind=kind,  # type: ignore[arg-type]
            bytes=size,
            read_bytes=draw(moved),
            written_bytes=draw(moved),
            fits_on_chip=draw(st.booleans()) and kind == "input",
        )
        for name, (kind, size) in sizes.items()
    }
    return Traffic(platform=draw(st.sampled_from(list(PLATFORMS))), batch=1, operands=operands)


@st.composite
def placements(draw: st.DrawFn) -> tuple[Placement, Tolerance]:
    """Of operands whose limits are at their ends, or just what a point of the device has."""
    device = draw(devices())
    found = [errors for part in device.partitions for errors in (point.errors for point in part.choices) if errors.ber]
    names = [f"layer{i}.{kind}" for i in range(draw(st.integers(1, 6))) for kind in ("weight", "input")]
    models: dict[str, ErrorModel] = {}
    for name in names[: draw(st.integers(1, len(names)))]:
        model = draw(st.sampled_from(found)) if found and draw(st.booleans()) else draw(error_models(FLOOR))
        models[name] = model if model.ber >= FLOOR else model.scaled(min(CEILING, model.highest_ber))
    assume(all(model.ber >= FLOOR for model in models.values()))
    limits = {name: model.ber for name, model in models.items()}
    tolerance = chain.tolerance(limits, size=draw(st.sampled_from([1, 1000])))
    tolerance = Tolerance.model_validate(
        {**dict(tolerance), "error_models": {name: model.to_dict() for name, model in models.items()}}
    )
    solver = draw(st.sampled_from(["greedy", "greedy", ExactSolver(time_limit=5.0)]))
    granularity = draw(st.sampled_from(["fine", "fine", "coarse"]))
    placed = place(tolerance, device, solver, granularity=granularity)  # type: ignore[arg-type]
    return placed, tolerance


@st.composite
def accounted(draw: st.DrawFn) -> tuple[Placement, list[Traffic]]:
    placed, _ = draw(placements())
    sizes = {name: (operand.kind, operand.bytes) for name, operand in placed.operands.items()}
    moved = draw(traffics(sizes))  # type: ignore[arg-type]
    assume(moved.crossing_bytes > 0.0)
    return placed, [moved]


def savings_of(pair: tuple[Placement, list[Traffic]]) -> Savings:
    return savings(pair[1][0], pair[0])


@st.composite
def paretos(draw: st.DrawFn) -> Pareto:
    drops = sorted(draw(st.sets(st.sampled_from([1e-300, 0.01, 0.1 + 0.2, 0.3, 1 - 2**-53]), min_size=1)))
    saved = savings_of(draw(accounted()))
    points = []
    for drop in drops:
        over = draw(over_chips())
        points.append(
            ParetoPoint(
                max_drop=drop,
                coarse=draw(st.sampled_from([FLOOR, CEILING])),
                energy_reduction=saved.energy_reduction,
                energy_reduction_range=saved.energy_reduction_range,
                speedup=saved.speedup,
                speedup_range=saved.speedup_range,
                accuracy=over.mean,
                worst=over.worst,
            )
        )
    return Pareto(
        device="d", platform=saved.platform, reference_accuracy=draw(accuracies()), chips=1, confidence=0.95,
        points=tuple(points),
    )  # fmt: skip


@st.composite
def memory_maps(draw: st.DrawFn) -> MemoryMap:
    """Of a network whose values are all 0, all equal, or very large; on a device whose idle banks share a supply."""
    value = draw(st.sampled_from([0.0, 1.0, -1e-30, 3e38]))
    network = nn.Sequential(nn.Linear(draw(st.sampled_from([1, 3])), 2))
    nn.init.constant_(network[0].weight, value)
    nn.init.constant_(network[0].bias, 0.0)
    device = draw(devices().filter(lambda device: "draw" not in device.name))
    storage = draw(st.sampled_from(["float32", "int8", "sign"]))
    eden.inject_(network, eden.Faults(Uniform(0.1), Uniform(0.1), storage))
    inputs = torch.full((2, network[0].in_features), draw(st.sampled_from([0.0, 1.0, -1.0])))
    eden.calibrate_(network, [inputs])
    sizes = {name: info.bytes for name, info in eden.operands(network).items()}
    found = chain.tolerance(dict.fromkeys(sizes, draw(st.sampled_from([FLOOR, 1e-3, CEILING]))))
    groups = tuple(part.name for part in device.partitions if not part.nominal)
    placed = place(
        Tolerance.model_validate({**dict(found), "bytes": sizes}),
        device,
        ExactSolver(time_limit=5.0),
        constraints=Constraints(shared_vdd=(groups,)) if draw(st.booleans()) else None,
    )
    eden.inject_(network, placed)
    return memory_map(network, placed, device)


# -- what is written by hand -------------------------------------------------------------------------------------------

POSITIVE = st.one_of(st.sampled_from([1e-300, 1e300, 1.0, 0.1]), st.floats(1e-300, 1e300))


@st.composite
def platforms(draw: st.DrawFn) -> Platform:
    whole = Platform.named(draw(st.sampled_from(list(PLATFORMS))))
    low, typical, high = sorted(draw(st.floats(1e-300, 1.0)) for _ in range(3))
    ranges = {name: Range(low, typical, high) for name in ("row_hit_share", "bus_utilization", "exposed_latency_share")}
    return Platform.model_validate({**dict(whole), **ranges})


@st.composite
def ranks(draw: st.DrawFn) -> Currents:
    body = Currents.builtin(draw(st.sampled_from(Currents.builtin_names()))).model_dump()
    body["clock_mhz"], body["refresh_ms"] = draw(POSITIVE), draw(POSITIVE)
    body["cycles"] = {
        **{name: draw(POSITIVE) for name in ("trfc", "trefi", "tcl")},
        "tras": 1e-300,
        "trc": draw(POSITIVE),
    }
    return Currents.model_validate(body)


@st.composite
def recipes(draw: st.DrawFn, kind: type[RetrainRecipe]) -> RetrainRecipe:
    inside = st.one_of(st.sampled_from([1e-300, 0.5, 1 - 2**-53]), st.floats(1e-300, 0.999))
    body: dict[str, Any] = {
        "seed": draw(seeds().filter(lambda seed: seed >= 0)),
        "memory": draw(
            st.sampled_from([{"device": "ddr3-b33", "trcd": 7.5}, {"errors": {"model": "uniform", "ber": FLOOR}}])
        ),
        "boost": {"learning_rate": draw(inside), "epochs": 1},
        "curriculum": {"target_ber": draw(inside)},
    }
    if kind is RunRecipe:
        body["profile"] = {"max_drop": draw(inside), "confidence": draw(inside)}
        body["place"] = {
            "energy_weight": draw(st.sampled_from([0.0, 1.0])),
            "gap": draw(st.sampled_from([0.0, 1e-300])),
        }
        body["account"] = {"max_drops": [draw(inside)]}
    return kind.of(body)


@st.composite
def rounds(draw: st.DrawFn) -> Rounds:
    certified = draw(st.booleans())
    number = st.one_of(st.sampled_from([0.0, -0.0, 1.0, 1e-300, -1.0]), accuracies())
    over = draw(over_chips())
    one = Round(
        number=1,
        coarse=FLOOR,
        own_accuracy=draw(accuracies()),
        attempts=1,
        limits_factor=2.0 ** -draw(st.integers(0, 60)),
        certified=certified,
        **{  # type: ignore[arg-type]
            name: draw(number) if certified else None
            for name in ("mean_drop", "upper_bound", "objective", "energy_reduction", "speedup")
        },
    )
    return Rounds(
        task="t", device="d", objective="energy", platform="cpu", max_drop=0.01, confidence=0.95, reference="boosted",
        reference_accuracy=draw(accuracies()), taken=1, why="", accuracy=over.mean, worst=over.worst,
        chips=len(over.values), rounds=(one,),
    )  # fmt: skip


def gains() -> st.SearchStrategy[Gain]:
    rate = st.sampled_from([0.0, FLOOR, 1e-300, 1.0])
    return st.builds(
        Gain, max_drop=st.just(0.01), baseline=rate, boosted=rate, clean_drop=accuracies(), samples=st.just(3)
    )


def manifests() -> st.SearchStrategy[Manifest]:
    files = st.dictionaries(st.text(max_size=3), st.sampled_from([None, "0" * 64, "af" * 32]))
    stages = st.builds(Stage, of=st.just({"network": "n"}), attempt=st.sampled_from([None, 1]), files=files)
    return st.builds(Manifest, stages=st.dictionaries(st.text(max_size=3), stages), attempts=st.just({"profile": 2}))


@st.composite
def packages(draw: st.DrawFn) -> PackageInfo:
    """Of operands without errors, with rates at their ends, and with tables of lines one behind the other."""
    operands: list[PackagedOperand] = []
    entries = 0
    for i in range(draw(st.integers(1, 3))):
        model = draw(st.one_of(st.none(), error_models()))
        of_lines = isinstance(model, LineModel)
        assume(
            not isinstance(model, (CellMap, LinesByValue))
            and not (isinstance(model, LineModel) and model.rates is None)
        )
        operands.append(
            PackagedOperand(
                name=f"layer{i}.weight",
                kind="weight",
                bytes=1,
                moved_bytes=draw(st.sampled_from([0.0, 1 / 3, 1e300])),
                storage="int8",
                address=i * 2**40,
                correction="zero",
                errors=None if model is None else model.to_dict(),
                table_first=entries if of_lines else None,
            )
        )
        if isinstance(model, LineModel):
            entries += 2 * model.line_probabilities().size
    return PackageInfo(
        eden_version="0",
        random_layout=_core.RANDOM_LAYOUT_VERSION,
        input_shape=(64, 3),
        input_dtype="float32",
        classes=1,
        table_entries=entries,
        operands=tuple(operands),
    )


@st.composite
def images(draw: st.DrawFn) -> ImageHeader:
    """Of weights in one piece and in several, on reliable cells and on others, as written and as read by a chip."""
    errors = [draw(st.one_of(st.none(), error_models())) for _ in range(3)]
    pieces = [
        ImagePiece(address_bits=16 * i, bytes=2, errors=None if one is None else one.to_dict())
        for i, one in enumerate(errors)
    ]
    return ImageHeader(
        random_layout=_core.RANDOM_LAYOUT_VERSION,
        operands={
            "a": ImageOperand(storage="int8", pieces=tuple(pieces[:2])),
            "b": ImageOperand(storage="int8_sign_magnitude", pieces=tuple(pieces[2:])),
        },
        chip=draw(st.sampled_from([None, 0, 2**63 - 1])),
    )


# -- every format ------------------------------------------------------------------------------------------------------

STRATEGIES: dict[str, st.SearchStrategy[VersionedFile]] = {
    "eden-account": accounted().map(lambda pair: account(pair[1], pair[0])),
    "eden-accuracy": curves_of_accuracy(),
    "eden-currents": ranks(),
    "eden-device": devices(),
    "eden-gain": gains(),
    "eden-manifest": manifests(),
    "eden-memory-image": images(),
    "eden-memory-map": memory_maps(),
    "eden-package": packages(),
    "eden-pareto": paretos(),
    "eden-placement": placements().map(lambda pair: pair[0]),
    "eden-platform": platforms(),
    "eden-recipe": recipes(RetrainRecipe),
    "eden-rounds": rounds(),
    "eden-run": recipes(RunRecipe),
    "eden-savings": accounted().map(savings_of),
    "eden-tolerance": tolerances(),
    "eden-traffic": traffics(),
    "eden-verification": verifications(),
}


def same_after_a_round_trip(made: VersionedFile, folder: Path) -> None:
    path = folder / f"{made.FORMAT}.json"
    made.save(path)
    loaded = type(made).load(path)
    assert loaded == made
    assert made.FORMAT in ("eden-memory-image", "eden-package") or eden.read(path) == made
    before = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == before


def test_every_format_is_tried() -> None:
    names = [kind.FORMAT for kind in formats()]
    assert len(set(names)) == len(names)
    assert set(names) == set(STRATEGIES), "a format without a strategy here, or one that is gone"
    assert set(names) == set(WRONG), "a format without a record that is refused"


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_what_was_computed_is_written_and_read(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp(name)

    @SETTINGS
    @given(made=STRATEGIES[name])
    def every(made: VersionedFile) -> None:
        assert name == made.FORMAT
        same_after_a_round_trip(made, folder)

    every()


@pytest.mark.parametrize("part", sorted(PARTS))
def test_what_was_computed_is_drawn(part: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp(part)

    @settings(SETTINGS, max_examples=3)
    @given(made=STRATEGIES[PARTS[part].kind.FORMAT])
    def every(made: Any) -> None:
        report(folder, **{part.replace("-", "_"): made})

    every()


# -- what is wrong -----------------------------------------------------------------------------------------------------


@functools.cache
def records() -> dict[str, VersionedFile]:
    """One sound record of each format, all of one network on one device."""
    device = Device.builtin("ddr3-b33")
    network = tiny_profile.make_network(device.errors(trcd=7.5))
    sizes = {name: info.bytes for name, info in eden.operands(network).items()}
    found = chain.tolerance(dict.fromkeys(sizes, 1e-2), model=device.errors(trcd=7.5))
    tolerance = Tolerance.model_validate({**dict(found), "bytes": sizes})
    placed = place(tolerance, device)
    moved = traffic(network, "cpu", repeated=False)
    saved = savings(moved, placed)
    equal = OverChips((0.995,) * 20)
    point = ParetoPoint(
        **{name: getattr(saved, name) for name in ParetoPoint.model_fields if hasattr(saved, name)},
        max_drop=0.01,
        coarse=1e-3,
        accuracy=equal.mean,
        worst=equal.worst,
    )
    one = Round(
        number=1, coarse=1e-3, own_accuracy=0.9, attempts=1, limits_factor=1.0, certified=True, mean_drop=0.0,
        upper_bound=0.01, objective=0.9, energy_reduction=0.1, speedup=0.0,
    )  # fmt: skip
    eden.inject_(network, placed)
    made: list[VersionedFile] = [
        device,
        tolerance,
        placed,
        moved,
        saved,
        account([moved], placed),
        memory_map(network, placed, device),
        Gain(max_drop=0.01, baseline=1e-3, boosted=2e-3, clean_drop=-0.01, samples=100),
        Manifest(stages={"a": Stage(of={"network": "n"}, files={"b": "0" * 64})}),
        AccuracyCurves(points=(accuracy_point("baseline", 1e-3, equal),)),
        Pareto(device="d", platform="cpu", reference_accuracy=1.0, chips=20, confidence=0.95, points=(point,)),
        Rounds(
            task="t", device="d", objective="energy", platform="cpu", max_drop=0.01, confidence=0.95,
            reference="boosted", reference_accuracy=1.0, taken=1, why="", accuracy=equal.mean, worst=equal.worst,
            chips=20, rounds=(one,),
        ),
        ImageHeader(
            random_layout=_core.RANDOM_LAYOUT_VERSION,
            operands={
                name: ImageOperand(storage="int8", pieces=(ImagePiece(address_bits=i, bytes=2, errors=None),))
                for name, i in (("a", 0), ("b", 16))
            },
        ),
        PackageInfo(
            eden_version="0", random_layout=_core.RANDOM_LAYOUT_VERSION, input_shape=(1,), input_dtype="float32",
            classes=1, table_entries=6, operands=(
                PackagedOperand(
                    name="fc.weight", kind="weight", bytes=1, moved_bytes=1.0, storage="int8", address=0,
                    correction="none", errors=eden.Bitline.measured([0.1] * 3, 0.1).to_dict(), table_first=0,
                ),
            ),
        ),
        certify(network, tiny_profile.loader(), search=eden.Search(effort=1.5), **tiny_profile.FAST),
        Platform.named("cpu"),
        Currents.builtin("ddr3-1600"),
        RetrainRecipe.of({"curriculum": {"target_ber": 1e-3}, "boost": {"epochs": 1}}),
        RunRecipe.of({"curriculum": {"target_ber": 1e-3}, "profile": {"max_drop": 0.01}}),
    ]  # fmt: skip
    return {record.FORMAT: record for record in made}


Body = dict[str, Any]


def put(place_of: str, change: Callable[[Any], Any]) -> Callable[[Body], None]:
    """A damage: the value at a dotted place, changed."""

    def damage(body: Body) -> None:
        *outer, last = (int(part) if part.isdecimal() else part for part in place_of.split("/"))
        inside: Any = body
        for part in outer:
            inside = inside[part]
        inside[last] = change(inside[last])

    return damage


def raised(share: float) -> Callable[[float], float]:
    return lambda value: value * (1.0 + share)


# Far more than rounding makes of these figures, and far less than anybody would see.
SLIGHT = 1e-9

WRONG: dict[str, tuple[Callable[[Body], None], str]] = {
    "eden-account": (
        put("platforms/cpu/terms/read/nominal_nj", raised(SLIGHT)),
        r"platforms\.cpu: .*read: operands take",
    ),
    "eden-accuracy": (put("points/0/mean", raised(-SLIGHT)), r"points\[0\]: .*mean is 0\.99499.*from low \(0\.995\)"),
    "eden-currents": (put("cycles/trc", lambda _: 1.0), r"cycles: .*trc is 1 cycles; allowed is tras"),
    "eden-device": (
        lambda body: put(
            "whole/points/4/zero/0", lambda _: body["whole"]["points"][4]["errors"]["ber_zero"] * 1.000001
        )(body),
        r"whole\.points\[4\]: .*zero is .*allowed is an interval that holds the rate",
    ),
    "eden-manifest": (put("stages/a/files/b", lambda _: "0"), r"stages\.a\.files\.b: .*pattern"),
    "eden-memory-image": (
        put("operands/b/pieces/0/address_bits", lambda _: 8),
        r"operand b starts at bit 8, inside .*a",
    ),
    "eden-memory-map": (put("operands/0.weight/low", lambda _: 1e30), r"operand 0\.weight: low is 1e\+30, above high"),
    "eden-package": (put("table_entries", lambda _: 5), r"table_entries is 5; allowed is .* 6, or more"),
    "eden-pareto": (lambda body: body["points"].append(body["points"][0]), r"max_drop of points are .*rising"),
    "eden-placement": (
        put("operands/0.weight/limit", lambda _: 1e-8),
        r"operand 0\.weight meets a BER of .*its limit 1e-08",
    ),
    "eden-platform": (put("row_hit_share/high", lambda _: 0.0), r"row_hit_share: .*allowed is low <= typical <= high"),
    "eden-recipe": (put("curriculum/target_ber", lambda _: "x"), r"curriculum\.target_ber: .*valid number"),
    "eden-gain": (put("boosted", lambda _: 2.0), r"boosted: .*less than or equal to 1"),
    "eden-rounds": (put("taken", lambda _: 0), r"taken: .*greater than or equal to 1"),
    "eden-run": (put("profile/max_drop", lambda _: 1.0), r"profile\.max_drop: .*less than 1"),
    "eden-savings": (
        put("energy_reduction", lambda _: 0.99),
        r"energy_reduction is 0\.99; allowed is within its range",
    ),
    "eden-tolerance": (put("limits/0.weight", raised(1e-5)), r"operand '0\.weight' has the limit .*its error model"),
    "eden-traffic": (
        put("operands/0.weight/read_bytes", lambda _: -1e-300),
        r"read_bytes: .*greater than or equal to 0",
    ),
    "eden-verification": (
        put("certificate/mean_drop", lambda _: 1.0 + SLIGHT),
        r"mean_drop: .*less than or equal to 1",
    ),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_what_is_wrong_by_more_than_rounding_is_refused_by_name(name: str, tmp_path: Path) -> None:
    record = records()[name]
    same_after_a_round_trip(record, tmp_path)
    path = tmp_path / f"{name}.json"
    is_recipe = isinstance(record, RetrainRecipe)
    body = tomllib.loads(path.read_text()) if is_recipe else json.loads(path.read_text())
    damage, message = WRONG[name]
    damage(body)
    path.write_text(tomli_w.dumps(body) if is_recipe else json.dumps(body))
    with pytest.raises(FileError, match=message):
        type(record).load(path)


@pytest.mark.parametrize(
    ("part", "other"), [("zero", SLIGHT), ("one", SLIGHT), ("zero", 1e-5)], ids=["zeros", "ones", "by far"]
)
def test_rates_that_fall_by_more_than_rounding_are_refused(part: str, other: float) -> None:
    points = [_fitted(NOMINAL, DataDependent(0.0, 0.0))]
    for trcd, share in ((10.0, 1.0), (7.5, 1.0 - other)):
        rate = {"zero": 0.1, "one": 0.1, part: 0.1 * share}
        intervals = dict.fromkeys(rate, (0.0, 1.0))
        errors = DataDependent(rate["zero"], rate["one"])
        points.append(_fitted(NOMINAL.model_copy(update={"trcd": trcd}), errors, **intervals))
    with pytest.raises(ValueError, match=r"the rates at tRCD 7\.5 ns.* are below those at tRCD 10 ns"):
        _partition("whole", 0, 1, tuple(points))


def test_a_file_of_another_program_may_round_otherwise() -> None:
    """A last bit away, in any figure that this program could compute itself, is no other figure."""

    def next_to(value: float) -> float:
        return math.nextafter(value, math.inf if value < 1.0 else 0.0)

    for name, places in {
        "eden-accuracy": ["points/0/mean", "points/0/low", "points/0/high"],
        "eden-account": ["platforms/cpu/terms/read/nominal_nj", "platforms/cpu/terms/activate/placed_nj"],
        "eden-savings": ["energy_reduction", "speedup", "energy_reduction_range/0", "energy_reduction_range/1"],
        "eden-placement": ["operands/0.weight/ber", "operands/3.input/ber"],
        "eden-tolerance": ["limits/0.weight"],
        "eden-pareto": ["points/0/accuracy", "points/0/worst"],
    }.items():
        record = records()[name]
        for at, change in itertools.product(places, (next_to, lambda value: math.nextafter(value, -math.inf))):
            body = record.model_dump(mode="json")
            put(at, change)(body)
            type(record).model_validate(body)


# -- what rounding is allowed ------------------------------------------------------------------------------------------


@SETTINGS
@given(values=st.lists(st.floats(-1e300, 1e300) | accuracies(), min_size=1, max_size=50))
def test_the_mean_lies_between_the_least_and_the_greatest(values: list[float]) -> None:
    assume(math.isfinite(sum(map(abs, values))))
    found = checks.mean(values)
    assert min(values) <= found <= max(values)
    exact = sum(map(Fraction, values)) / len(values)
    assert abs(Fraction(found) - exact) <= Fraction(checks.rounding(max(map(abs, values)), 4)) + Fraction(1e-300)


@SETTINGS
@given(values=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=200))
def test_two_ways_to_sum_agree_within_the_bound_and_no_further(values: list[float]) -> None:
    there, back = sum(values), sum(reversed(values))
    assert checks.same(there, back, len(values))
    further = there + 4 * checks.rounding(there, len(values)) + 1e-300
    assert not checks.same(there, further, len(values))
    assert not checks.at_most(further, there, len(values))
    assert checks.at_most(there, further, len(values))


@pytest.mark.parametrize("value", [math.nan, -math.nan])
def test_what_is_no_number_is_never_within(value: float) -> None:
    assert not checks.at_most(value, 1.0)
    assert not checks.at_most(1.0, value)
    assert not checks.same(value, value)
    assert checks.same(math.inf, math.inf)
    assert not checks.same(math.inf, 1e308)
