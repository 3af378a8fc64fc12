"""Do the limits of a profile hold on chips it never saw, is a killed one resumed to the same answer, is the network
given back as it was, and is each bad input named?"""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_profile import CLASSES, FAST, FEATURES, SAMPLES, loader, make_data, make_network, profile
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import eden
from eden import _core
from eden.common.records import Record
from eden.faults.chips import chip, draw_chip
from eden.faults.config import Faults
from eden.faults.metrics import METRICS
from eden.faults.scorer import CorpusMetric
from eden.memory.errors import ErrorModel
from eden.tolerance.drive import Step, drive, note
from eden.tolerance.network import moved_bytes, weights_of


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """So small a network only waits for other threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tolerance() -> eden.Tolerance:
    return profile(make_network(), loader(), **FAST)


def mean_drop(rates: dict[str, float], chips: int = 150) -> float:
    network = make_network().eval()
    x, y = make_data().tensors
    with torch.no_grad():
        with eden.clean(network):
            reference = (network(x).argmax(1) == y).double().mean()
        errors = {name: info.errors for name, info in eden.operands(network).items()}
        eden.set_errors_(network, {name: errors[name].scaled(rate) for name, rate in rates.items()})
        scores = []
        for index in range(chips):
            eden.set_chip_(network, draw_chip(99, "evaluation", index))
            scores.append((network(x).argmax(1) == y).double().mean())
    return float(reference - torch.stack(scores).mean())


def test_limits_hold_on_other_chips_and_are_not_merely_low(tolerance: eden.Tolerance) -> None:
    # A profile misses with probability 0.1 at most; this one's seed is fixed and did not. Over 150 chips the mean has
    # a standard error below 0.005: the measured drop exceeds max_drop by chance with probability below 0.02 at worst.
    assert mean_drop(tolerance.limits) <= 0.05
    assert mean_drop(dict.fromkeys(tolerance.limits, tolerance.coarse)) <= 0.05
    assert mean_drop({name: min(0.5, 2 * rate) for name, rate in tolerance.limits.items()}) > 0.05


def test_what_a_tolerance_records(tolerance: eden.Tolerance, tmp_path: Path) -> None:
    assert list(tolerance.limits) == ["0.weight", "0.input", "3.weight", "3.input"]
    assert tolerance.bytes == {"0.weight": 24 * FEATURES, "0.input": FEATURES, "3.weight": 96, "3.input": 24}
    assert tolerance.kinds["3.input"] == "input"
    assert set(tolerance.storage.values()) == {"int8"}
    model = ErrorModel.from_dict(tolerance.error_models["0.weight"])
    assert model.ber == pytest.approx(tolerance.limits["0.weight"])
    assert model.ber_one == pytest.approx(3 * model.ber_zero)
    assert tolerance.samples == SAMPLES
    assert tolerance.reference_accuracy > 0.9
    for certificate in (tolerance.coarse_certificate, tolerance.limits_certificate):
        assert certificate is not None
        assert certificate.samples == 64 * certificate.chips
        assert certificate.upper_bound <= 0.05
        assert certificate.total_alpha < 0.1
    assert set(tolerance.observations) == {"coarse", "coarse confirmation", "operand", "joint", "confirmation"}
    assert tolerance.weights == tolerance.bytes
    assert list(tolerance.alone) == list(tolerance.limits)
    for name, alone in tolerance.alone.items():
        assert alone.low <= alone.rate <= alone.high
        assert tolerance.sensitivity[name] == 0.05 / alone.rate
    tolerance.save(tmp_path / "tolerance.json")
    assert eden.Tolerance.load(tmp_path / "tolerance.json") == tolerance


def test_a_certificate_is_repeated_from_what_it_names(tolerance: eden.Tolerance) -> None:
    certificate = tolerance.limits_certificate
    assert certificate is not None
    network = make_network().eval()
    x, y = make_data().tensors
    with torch.no_grad():
        with eden.clean(network):
            clean = (network(x).argmax(1) == y).double()
        errors = {name: info.errors for name, info in eden.operands(network).items()}
        eden.set_errors_(network, tolerance)
        for name, info in eden.operands(network).items():
            assert info.errors == errors[name].scaled(tolerance.limits[name])
        search = simulated_search()
        differences = []
        for index in range(20):
            eden.set_chip_(network, draw_chip(tolerance.seed, "confirmation", certificate.first_chip + index))
            differences.append(float((clean - (network(x).argmax(1) == y).double()).mean()))
    # Over all samples instead of the 64 drawn, of 20 of its chips: the same to within what these leave open.
    assert search.state == "running"
    assert abs(np.mean(differences) - certificate.mean_drop) < 0.05


def test_metric_of_all_samples_together() -> None:
    sizes = []

    def least_recall(outputs: list[Tensor], targets: list[Tensor]) -> float:
        found, wanted = torch.cat(outputs).argmax(1), torch.cat(targets)
        sizes.append(len(wanted))
        assert torch.equal(wanted, make_data().tensors[1])  # in the order of the set
        return min(float((found[wanted == label] == label).double().mean()) for label in range(CLASSES))

    metric = CorpusMetric(least_recall)
    found = profile(make_network(), loader(), metric=metric, coarse_only=True, **{**FAST, "max_drop": 0.2})
    assert set(sizes) == {SAMPLES}
    assert found.metric.endswith("least_recall")
    assert found.coarse_certificate.batch == SAMPLES
    with pytest.raises(ValueError, match="batch_size is 64; with a CorpusMetric"):
        profile(make_network(), loader(), metric=metric, batch_size=64, **FAST)
    for bad, kind in ((1.5, ValueError), (float("nan"), ValueError), ("high", TypeError)):
        broken: Any = CorpusMetric(lambda outputs, targets, bad=bad: bad)  # type: ignore[misc]
        with pytest.raises(kind, match=r"on reliable memory: metric .* of all samples returned"):
            profile(make_network(), loader(), metric=broken, **FAST)


def test_a_sweep_is_certified_step_by_step() -> None:
    network = make_network()
    eden.set_errors_(network, {"0.input": None, "3.input": None, "3.weight": None})
    options: dict[str, Any] = {"max_drop": 0.2, "confidence": 0.8, "progress": False, "strategy": "sweep"}
    found = profile(network, loader(), batch_size=16, **options)
    assert found.strategy == "sweep"
    assert found.alone == {}
    certificate = found.limits_certificate
    assert certificate is not None
    assert set(found.observations) == {"coarse", "operand"}
    assert sum(found.observations.values()) % certificate.chips == 0
    assert certificate.alpha < certificate.total_alpha <= 0.2
    with pytest.raises(ValueError, match="two steps take at least"):
        profile(network, loader(), max_trials=20, **options)


def test_limits_go_where_they_weigh() -> None:
    network = make_network()
    weights = {"0.weight": 1.0, "0.input": 0.0, "3.weight": 1.0, "3.input": 98.0}
    even = profile(network, loader(), weigh=dict.fromkeys(weights, 1.0), **FAST)
    uneven = profile(network, loader(), weigh=weights, **FAST)
    assert uneven.weights == weights
    assert uneven.limits["3.input"] > even.limits["3.input"]
    assert uneven.limits["0.weight"] < even.limits["0.weight"]
    energy = weights_of("energy", eden.operands(network), moved_bytes(eden.operands(network)))
    assert energy == {name: sum(moved) for name, moved in traffic_of(network).items()}


def traffic_of(network: nn.Module) -> dict[str, tuple[float, float]]:
    counted = eden.traffic(network)
    return {name: (counted.read_bytes[name], counted.written_bytes[name]) for name in counted.operands}


def test_lower_is_better(tolerance: eden.Tolerance) -> None:
    def wrong(output: Tensor, target: Tensor) -> Tensor:
        return ~METRICS["top1"](output, target)

    found = profile(make_network(), loader(), metric=wrong, lower_is_better=True, **FAST)
    assert found.limits == tolerance.limits
    assert found.reference_accuracy == pytest.approx(1.0 - tolerance.reference_accuracy)
    with pytest.raises(ValueError, match=r"scores 0.99, no less than 1 - max_drop"):
        profile(
            make_network(),
            loader(),
            metric=lambda output, target: 0.99 + 0.0 * output[:, 0],
            lower_is_better=True,
            **FAST,
        )


def test_the_same_each_time_whatever_the_global_generator(tolerance: eden.Tolerance) -> None:
    network = make_network()
    torch.manual_seed(123)
    state = torch.get_rng_state()
    again = profile(network, loader(), **FAST)
    assert again == tolerance
    assert torch.equal(torch.get_rng_state(), state)


def test_iterable_of_batches_gives_the_same(tolerance: eden.Tolerance) -> None:
    assert profile(make_network(), list(loader()), **FAST) == tolerance


def test_killed_and_resumed_to_the_same_answer(tolerance: eden.Tolerance, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    total = sum(tolerance.observations.values())
    done: list[int] = []
    for stop in (1, 37, total // 2, total - 1):

        def interrupt(step: Step, stop: int = stop) -> None:
            done.append(step.trial)
            if step.trial + 1 >= stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            profile(make_network(), loader(), journal=path, **{**FAST, "progress": interrupt})
        with open(path, "ab") as journal:
            journal.write(b'{"trial": 1')
    assert profile(make_network(), loader(), journal=path, **FAST) == tolerance
    assert done == list(range(total - 1))  # nothing was observed twice
    before = path.read_bytes()
    assert profile(make_network(), loader(), journal=path, **FAST) == tolerance
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("max_drop", {"max_drop": 0.04}),
        ("guarantee", {"guarantee": ("quantile", 0.5)}),
        ("seed", {"seed": 1}),
        ("batch_size", {"batch_size": 50}),
        ("strategy", {"strategy": "sweep"}),
        ("weights", {"weigh": "energy"}),
        ("effort", {"effort": 4}),
        ("metric", {"metric": lambda output, target: output.argmax(1) == target}),
    ],
)
def test_journal_of_another_run(tmp_path: Path, field: str, changes: dict[str, Any]) -> None:
    start_journal(tmp_path / "j")
    with pytest.raises(eden.FileError, match=f"another run: {field} was"):
        profile(make_network(), loader(), journal=tmp_path / "j", **{**FAST, **changes})


def start_journal(path: Path) -> None:
    def interrupt(step: Step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        profile(make_network(), loader(), journal=path, **{**FAST, "progress": interrupt})


def test_journal_of_other_data_or_another_network(tmp_path: Path) -> None:
    start_journal(tmp_path / "j")
    x, y = make_data().tensors
    other = DataLoader(TensorDataset(x + 1e-6, y), batch_size=100)
    with pytest.raises(eden.FileError, match="another run: data was"):
        profile(make_network(), other, journal=tmp_path / "j", metric="top1", **FAST)
    network = make_network()
    with torch.no_grad():
        network[0].bias[0] += 0.001
    with pytest.raises(eden.FileError, match="another run: network was"):
        profile(network, loader(), journal=tmp_path / "j", **FAST)
    with pytest.raises(eden.FileError, match="another run: operands was"):
        profile(make_network(eden.Uniform(1e-3)), loader(), journal=tmp_path / "j", **FAST)


def state_of(network: nn.Module) -> dict[str, Any]:
    return {
        "modes": {name: module.training for name, module in network.named_modules()},
        "errors": {name: info.errors for name, info in eden.operands(network).items()},
        "chip": chip(network),
        "buffers": {name: buffer.clone() for name, buffer in network.named_buffers()},
        "parameters": {name: value.detach().clone() for name, value in network.named_parameters()},
    }


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    for part in ("modes", "errors", "chip"):
        assert before[part] == after[part]
    for part in ("buffers", "parameters"):
        for name, value in before[part].items():
            assert torch.equal(value, after[part][name]), name


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, RuntimeError])
def test_network_is_given_back_as_it_was(error: type[BaseException] | None) -> None:
    network = make_network()
    network[2].eval()  # a mixed mode
    network(torch.ones(3, FEATURES))  # access numbers are no longer 0
    before = state_of(network)
    calls = itertools.count()

    def metric(output: Tensor, target: Tensor) -> Tensor:
        if error is not None and next(calls) == 30:
            raise error("in the middle")
        assert not network[2].training
        assert not output.requires_grad
        return output.argmax(1) == target

    if error is None:
        profile(network, loader(), metric=metric, coarse_only=True, **FAST)
    else:
        with pytest.raises(error, match="in the middle"):
            profile(network, loader(), metric=metric, **FAST)
    assert_same(before, state_of(network))


def test_coarse_only_and_quantile() -> None:
    coarse = profile(make_network(), loader(), coarse_only=True, **FAST)
    assert set(coarse.limits.values()) == {coarse.coarse}
    assert coarse.limits_certificate is None
    quantile = profile(
        make_network(), loader(), coarse_only=True, guarantee=("quantile", 0.9), **{**FAST, "max_drop": 0.1}
    )
    assert quantile.guarantee == ("quantile", 0.9)
    assert quantile.coarse_certificate.batch == SAMPLES
    assert quantile.coarse_certificate.violating <= quantile.coarse_certificate.upper_bound <= 0.1


def test_operands_without_errors_are_left_alone() -> None:
    network = make_network()
    eden.set_errors_(network, {"0.input": None, "3.input": None})
    tolerance = profile(network, loader(), coarse_only=True, **FAST)
    assert list(tolerance.limits) == ["0.weight", "3.weight"]
    eden.set_errors_(network, {"0.weight": None, "3.weight": None})
    with pytest.raises(ValueError, match="none of the 4 operands has an error model"):
        profile(network, loader(), **FAST)


def test_steps_and_progress(capsys: pytest.CaptureFixture[str]) -> None:
    steps, records = list[Step](), list[Record]()
    profile(make_network(), loader(), **{**FAST, "progress": steps.append, "log": records.append})
    assert [(record["step"], record["ber"], record["drop"]) for record in records] == [
        (step.trial + 1, step.rate, step.difference) for step in steps
    ]
    assert [record["faulty"] + record["drop"] for record in records] == pytest.approx(
        [records[0]["clean"]] * len(records)
    )
    assert [step.trial for step in steps] == list(range(len(steps)))
    assert {step.operand for step in steps if step.phase == "operand"} == {"0.weight", "0.input", "3.weight", "3.input"}
    assert steps[-1].expected == len(steps)
    assert all(step.expected > step.trial + 1 for step in steps[:-1])
    confirmed = 0
    for step in steps:
        if not step.phase.endswith("confirmation"):
            assert (step.tested, step.longest, confirmed) == (None, None, 0) or step.tested is None
            confirmed = 0
            continue
        assert step.tested in (confirmed + 1, 1)  # another attempt begins anew
        assert step.longest is not None
        assert step.tested <= step.longest
        confirmed = step.tested
    assert confirmed > 0
    assert capsys.readouterr().err == ""
    profile(make_network(), loader(), **{**FAST, "progress": True, "coarse_only": True})
    assert "profile: " in capsys.readouterr().err


def test_what_is_told_of_a_confirmation() -> None:
    told: dict[str, Any] = {"trial": 9, "expected": 20, "phase": "confirmation", "operand": None, "rate": 1.2e-3}
    told |= {"difference": 0.0, "low": 0.0, "high": 1.0}
    step = Step(**told, bound=0.01004, tested=31, longest=180)
    assert note(step, 0.01) == (
        "confirming 0.0012: 31 of at most 180 chips, shown to be at most 0.01004, wanted is 0.01"
    )
    step = Step(**told, bound=math.inf, tested=1)
    assert note(step, 0.01) == "confirming 0.0012: 1 chip"


class Simulated:
    """A network without torch: its mean drop is proportional to the rates."""

    def __init__(self, sensitivity: list[float], constant: float = 0.0) -> None:
        self.sensitivity, self.constant = np.array(sensitivity), constant

    def evaluate(self, trial: _core.Trial) -> float:
        noise = np.random.Generator(np.random.Philox(trial.chip % 2**64)).lognormal(-0.125, 0.5)
        return self.constant + float(min(1.0, noise * self.sensitivity @ np.array(trial.rates)))


def simulated_search(**changes: Any) -> _core.Search:
    operands = [("a", 100, 0.5), ("b", 10, 0.5)]
    settings = {"max_drop": 0.02, "confidence": 0.9, "floor": 1e-9, "max_trials": 20_000, **changes}
    return _core.Search(operands=operands, **settings)


def test_search_is_driven_without_a_network() -> None:
    search = simulated_search()
    observations = drive(search, Simulated([10.0, 0.1]), ["a", "b"])
    assert search.state == "done"
    assert sum(observations.values()) == search.trials
    assert 10.0 * search.limits[0] + 0.1 * search.limits[1] <= 0.02
    assert search.limits[1] > 3 * search.limits[0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.5])
def test_bad_difference_names_the_trial(bad: float) -> None:
    with pytest.raises(ValueError, match=r"trial 0 \(coarse\): the difference is .*; allowed is a number from -1 to 1"):
        drive(simulated_search(), Simulated([0.0, 0.0], constant=bad), ["a", "b"])


def test_unreachable_target() -> None:
    calls = itertools.count()

    def metric(output: Tensor, target: Tensor) -> Tensor:
        # From the third batch on, the first under faults, each answer is wrong, as in a network that stands no flip.
        return (output.argmax(1) == target) & (next(calls) < 2)

    with pytest.raises(eden.SearchError, match="could not be confirmed even at a bit error rate of 1e-09"):
        profile(make_network(), loader(), metric=metric, **FAST)


def test_a_network_that_lost_too_much_without_errors_is_told_so() -> None:
    network = make_network()
    with torch.no_grad():
        network[3].weight[0] = 0.0  # one class is never found
    with pytest.raises(eden.SearchError, match=r"; without errors the network loses 0\.[12]\d+ from its reference$"):
        profile(network, loader(), reference=make_network(), **FAST)
    for ask in (eden.profile, eden.certify):
        with pytest.raises(ValueError, match="reference is a Sequential without a layer under faults"):
            ask(network, loader(), reference=eden.remove_(make_network()))


def test_max_trials() -> None:
    with pytest.raises(ValueError, match=r"max_trials is 20, too few samples .* take at least 116 observations"):
        profile(make_network(), loader(), max_trials=20, **FAST)
    with pytest.raises(eden.SearchError, match=r"max_trials \(150\) observations were not enough"):
        profile(make_network(), loader(), max_trials=150, **FAST)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"max_drop": 0.0}, ValueError, "max_drop is 0.0; allowed is inside"),
        ({"max_drop": 1}, ValueError, "max_drop is 1; allowed is inside"),
        ({"max_drop": "1%"}, TypeError, "max_drop is a str"),
        ({"max_drop": float("nan")}, ValueError, "max_drop is nan"),
        ({"confidence": 1.0}, ValueError, "confidence is 1.0; allowed is inside"),
        ({"confidence": -0.1}, ValueError, "confidence is -0.1"),
        ({"guarantee": "median"}, ValueError, "guarantee is 'median'"),
        ({"guarantee": ("quantile", 95)}, ValueError, "the quantile of guarantee is 95"),
        ({"metric": "top3"}, ValueError, "metric is 'top3'; allowed are top1, top5"),
        ({"metric": 3}, TypeError, "metric is a int"),
        ({"metric": "top5"}, ValueError, r"metric 'top5': the network's output is \(100, 4\)"),
        ({"metric": lambda o, t: (o.argmax(1) == t).float().mean()}, ValueError, r"returned shape \(\)"),
        ({"metric": lambda o, t: 0.5}, TypeError, "returned a float"),
        (
            {"metric": lambda o, t: 2.0 * (o.argmax(1) == t)},
            ValueError,
            "on reliable memory: .* returned 2.0 for sample",
        ),
        ({"metric": lambda o, t: 0.01 * (o.argmax(1) == t)}, ValueError, "no more than max_drop"),
        ({"seed": 2**63}, ValueError, "seed is"),
        ({"seed": 1.0}, TypeError, "seed is a float"),
        ({"batch_size": 0}, ValueError, "batch_size is 0"),
        ({"max_trials": 0}, ValueError, "max_trials is 0"),
        ({"strategy": "guess"}, ValueError, "strategy is 'guess'; allowed are 'shares' and 'sweep'"),
        ({"weigh": "area"}, ValueError, "weigh is 'area'; allowed are 'bytes', 'energy'"),
        ({"weigh": {"0.weight": 1}}, ValueError, "weigh lacks operand '"),
        (
            {"weigh": {**dict.fromkeys(["0.weight", "0.input", "3.weight", "3.input"], 1), "9.weight": 1}},
            ValueError,
            "weigh names '9.weight'",
        ),
        (
            {"weigh": {"0.weight": -1, "0.input": 1, "3.weight": 1, "3.input": 1}},
            ValueError,
            "weigh of operand '0.weight' is -1",
        ),
        ({"effort": 1}, ValueError, "effort is 1; allowed is from 1.5 to 1000"),
        ({"effort": "much"}, TypeError, "effort is a str"),
        ({"lower_is_better": 1}, TypeError, "lower_is_better is a int"),
        ({"float_accuracy": 91.5}, ValueError, "float_accuracy is 91.5"),
    ],
)
def test_bad_arguments_are_named(changes: dict[str, Any], kind: type[Exception], message: str) -> None:
    network = make_network()
    before = state_of(network)
    with pytest.raises(kind, match=message):
        profile(network, loader(), **{**FAST, **changes})
    assert_same(before, state_of(network))


def test_score_out_of_range_under_faults_names_trial_and_sample() -> None:
    calls = itertools.count()

    def metric(output: Tensor, target: Tensor) -> Tensor:
        scores = (output.argmax(1) == target).float()
        if next(calls) >= 2:
            scores[3] = torch.nan
        return scores

    with pytest.raises(ValueError, match=r"trial 0 \(coarse, chip .*\): metric .*metric' returned nan for sample \d+"):
        profile(make_network(), loader(), metric=metric, **FAST)


def test_output_of_nan_is_no_prediction() -> None:
    output = torch.tensor([[0.0, torch.nan, 1.0], [0.0, 2.0, 1.0], [0.0, torch.inf, 1.0]])
    assert METRICS["top1"](output, torch.tensor([1, 1, 1])).tolist() == [False, True, True]
    assert METRICS["top5"](torch.ones(1, 5), torch.tensor([4])).tolist() == [True]
    with pytest.raises(ValueError, match=r"target is \(3,\) torch.float32"):
        METRICS["top1"](output, torch.ones(3))


def test_networks_that_cannot_be_profiled() -> None:
    with pytest.raises(ValueError, match="no layer under faults"):
        profile(nn.Linear(FEATURES, CLASSES), loader(), **FAST)
    with pytest.raises(TypeError, match=r"model is a list; allowed is a torch.nn.Module, or the path of a package"):
        profile([], loader(), **FAST)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="loader is a DataLoader; allowed with a package is the path of a file"):
        profile("network.pt2", loader(), **FAST)  # type: ignore[arg-type]
    network = nn.Sequential(nn.Linear(FEATURES, CLASSES))
    eden.inject_(network, Faults(inputs=eden.Uniform(1e-3)))
    with pytest.raises(ValueError, match=r"the size of 0.input is not known; call eden.calibrate_"):
        profile(network, loader(), **FAST)
    with pytest.raises(ValueError, match="no samples"):
        profile(make_network(), [], **FAST)


def test_operands_that_no_fault_reaches() -> None:
    network = make_network()
    with eden.clean(network), pytest.raises(ValueError, match=r"outside of eden.clean"):
        profile(network, loader(), **FAST)

    class Skipping(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[0](x)

    skipping = Skipping(nn.Linear(FEATURES, CLASSES), nn.Linear(CLASSES, CLASSES))
    with torch.no_grad():
        skipping[0].weight.copy_(torch.eye(CLASSES, FEATURES))
    eden.inject_(skipping, Faults(weights=eden.Uniform(1e-3)))
    with pytest.raises(ValueError, match=r"^1.weight: never read in a forward pass"):
        profile(skipping, loader(), **FAST)


def test_weights_that_lie_in_a_map_of_cells() -> None:
    network = make_network()
    weights, filtered = 24 * FEATURES * 8, eden.Faults(weights=eden.Uniform(1e-3), storage="int8", seed=5)
    eden.inject_(network, filtered, lambda name, _: name == "0")
    eden.calibrate_(network, loader())
    cells = np.random.default_rng(0).permutation(weights)[: weights // 3]
    chip = eden.CellMap(cells, cells % 3 != 0, cells % 3 != 1, weights)
    eden.set_errors_(network, {"0.weight": chip})
    found = profile(network, loader(), **FAST)
    assert list(found.limits) == ["0.weight"]
    # There are no weaker cells than the map's own.
    assert 0 < found.limits["0.weight"] <= chip.ber
    limited = ErrorModel.from_dict(found.error_models["0.weight"])
    assert isinstance(limited, eden.CellMap)
    assert set(limited.cells.tolist()) <= set(cells.tolist())
    assert abs(limited.ber - found.limits["0.weight"]) <= 1 / weights
    assert eden.operands(network)["0.weight"].errors == chip
