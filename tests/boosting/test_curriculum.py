"""Does the curriculum raise the rate on time, change the chip with the optimizer, and go on where it was?"""

import copy
import gc
import json
import math
import pickle
import weakref

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import eden
from eden.app.models import ResNet
from eden.faults.faulty_layers import faulty_layers
from eden.memory.errors import ErrorModel
from eden.tolerance.evaluation import at_rates


def network(errors: ErrorModel | None = None) -> nn.Module:
    torch.manual_seed(0)
    model = ResNet(blocks=1, channels=4, image_channels=1)
    errors = errors or eden.Uniform(1e-3)
    eden.inject_(model, eden.Faults(errors, errors, storage="int8", correction="zero", seed=5))
    eden.calibrate_(model, [torch.randn(8, 1, 8, 8)])
    return model.train()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 2) -> None:
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 1, 8, 8, generator=generator)
        loss = nn.functional.cross_entropy(model(x), torch.arange(8))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def updated(curriculum: eden.Curriculum) -> None:
    """What a forward pass in training and an update leave behind."""
    for layer in faulty_layers(curriculum.model).values():
        layer.eden_training_access.add_(1)
    curriculum.next_chip()


def rates(model: nn.Module) -> set[float]:
    return {info.errors.ber for info in eden.operands(model).values()}


def chip(model: nn.Module) -> int:
    return int(model.conv1.eden_training_chip)


def test_linear_steps():
    model = network()
    curriculum = eden.Curriculum(model, target_ber=1e-2, epochs=5, epochs_per_step=2, chips="one")
    assert curriculum.steps == 3
    seen = []
    for _ in range(6):
        assert rates(model) == {curriculum.ber}
        seen.append(curriculum.ber)
        curriculum.step()
    assert seen == pytest.approx([1e-2 / 3, 1e-2 / 3, 2e-2 / 3, 2e-2 / 3, 1e-2, 1e-2])
    assert chip(model) == 5


def test_logarithmic_steps_span_two_decades():
    curriculum = eden.Curriculum(network(), 1e-2, epochs=3, epochs_per_step=1, chips="one", schedule="logarithmic")
    assert [curriculum.ber_at(epoch) for epoch in range(4)] == pytest.approx([1e-4, 1e-3, 1e-2, 1e-2])


def test_asymmetry_is_kept():
    model = network(eden.DataDependent(1e-4, 3e-4))
    curriculum = eden.Curriculum(model, 1e-2, epochs=1, chips="one")
    for info in eden.operands(model).values():
        assert info.errors.ber_one == pytest.approx(3 * info.errors.ber_zero)
        assert info.errors.ber == pytest.approx(1e-2)
    del curriculum


def test_fresh_chips_follow_the_optimizer_step():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    other = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    curriculum = eden.Curriculum(model, 1e-3, epochs=2)
    seen = [chip(model)]
    for _ in range(3):
        train(model, optimizer, 1)
        seen.append(chip(model))
    other.step()
    assert curriculum.optimizer_steps == 3
    assert len(set(seen)) == 4
    assert eden.faults.chips.chip(model) == 5, "evaluation stays on the chip of the injection"
    same = network()
    eden.Curriculum(same, 1e-3, epochs=2)
    assert chip(same) == seen[0], "a function of seed and step alone"


def test_a_pool_is_used_in_turn():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    curriculum = eden.Curriculum(model, 1e-3, epochs=2, chips=2)
    seen = [chip(model)]
    for _ in range(3):
        train(model, optimizer, 1)
        seen.append(chip(model))
    assert seen[0] == seen[2] != seen[1] == seen[3]
    assert curriculum.optimizer_steps == 3


@pytest.mark.parametrize("target", ["rate", "points"])
def test_asymmetry_outlives_a_rate_of_zero(target):
    errors = eden.DataDependent(1e-3, 4e-3)
    model = network(errors)
    samples = TensorDataset(torch.randn(4, 1, 8, 8), torch.arange(4))
    seen = []

    def evaluated():
        seen.clear()
        at_rates(model, samples, [5e-3], 1, on_chip=lambda: seen.append(eden.operands(model)["conv1.weight"].errors))
        return [(one.ber_zero, one.ber_one) for one in seen]

    aim = 1e-2 if target == "rate" else [errors, errors.scaled(1e-2)]
    curriculum = eden.Curriculum(model, aim, epochs=6, epochs_per_step=2, schedule="step")
    assert rates(model) == {0.0}
    assert evaluated() == [(pytest.approx(2e-3), pytest.approx(8e-3))]
    assert rates(model) == {0.0}, "as it was before"
    newer = eden.Curriculum(model, 1e-2, epochs=2, epochs_per_step=1)
    first = eden.operands(model)["conv1.weight"].errors
    assert (first.ber_zero, first.ber_one) == (pytest.approx(2e-3), pytest.approx(8e-3))
    assert not curriculum.moving
    assert newer.moving
    eden.set_errors_(model, dict.fromkeys(eden.operands(model), eden.DataDependent(1e-3, 1e-3)))
    assert evaluated() == [(pytest.approx(5e-3), pytest.approx(5e-3))], "what was set by hand is what is evaluated"


def test_operands_that_calibration_joins_are_named():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    errors = eden.Uniform(1e-3)
    eden.inject_(model, eden.Faults(errors, errors))
    curriculum = eden.Curriculum(model, 1e-2, epochs=2, epochs_per_step=1, chips="one")
    eden.calibrate_(model, [torch.randn(4, 3, 8)])
    with pytest.raises(RuntimeError, match=r"others than when .*: self_attn.key, self_attn.value; make it after"):
        curriculum.step()


def test_a_curriculum_that_nobody_holds_goes_on():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    eden.Curriculum(model, 1e-3, epochs=2)
    gc.collect()
    before = chip(model)
    train(model, optimizer, 1)
    first = chip(model)
    train(model, optimizer, 1)
    assert len({before, first, chip(model)}) == 3


def test_neither_network_nor_curriculum_outlives_its_use():
    model = network()
    curriculum = weakref.ref(eden.Curriculum(model, 1e-3, epochs=2))
    newer = weakref.ref(eden.Curriculum(model, 1e-3, epochs=2))
    assert curriculum() is None, "a newer one took its place"
    assert newer().moving
    dropped = weakref.ref(model)
    gc.disable()  # nothing is to wait for it, least of all a GPU's memory
    try:
        del model
        assert dropped() is None
        assert newer() is None
    finally:
        gc.enable()
    kept = eden.Curriculum(network(), 1e-3, epochs=2)
    with pytest.raises(RuntimeError, match="the network of this curriculum is gone"):
        updated(kept)


def test_copies_of_a_network_are_without_its_curriculum():
    model = network()
    curriculum = eden.Curriculum(model, 1e-3, epochs=2)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        before = chip(copied)
        train(copied, torch.optim.SGD(copied.parameters(), lr=0.01), 1)
        assert chip(copied) == before
        assert curriculum.optimizer_steps == 0
    both = copy.deepcopy(nn.ModuleDict({"network": model}).__dict__ | {"curriculum": curriculum})
    assert both["curriculum"].model is both["_modules"]["network"]
    assert not both["curriculum"].moving
    with pytest.raises(RuntimeError, match=r"has ended.*or this is a copy"):
        both["curriculum"].step()


@pytest.mark.parametrize("how", ["end", "remove", "newer", "larger"])
def test_a_curriculum_ends(how):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    curriculum = eden.Curriculum(model, 1e-2, epochs=2, epochs_per_step=1, clean_share=0.9, seed=1)
    train(model, optimizer, 2)
    assert rates(model) == {0.0}, "drawn clean"
    if how == "end":
        curriculum.end()
        assert rates(model) == {5e-3}
        assert chip(model) == 5
    elif how == "remove":
        eden.remove_(model)
    else:
        eden.Curriculum(model if how == "newer" else nn.Sequential(model), 1e-2, epochs=2, chips="one")
    train(model, optimizer, 1)
    assert curriculum.optimizer_steps == 2
    curriculum.end()
    assert how != "larger" or rates(model) == {1e-2}
    with pytest.raises(RuntimeError, match="this curriculum has ended"):
        curriculum.step()


def test_of_a_compiled_network_it_is_the_one_inside():
    model = network()
    compiled = torch.compile(model, backend="eager")
    curriculum = eden.Curriculum(compiled, 1e-3, epochs=2)
    assert curriculum.model is model
    eden.Curriculum(model, 1e-3, epochs=2).load_state_dict(curriculum.state_dict())


def test_training_in_evaluation_mode_is_an_error():
    model = network()
    model.eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    curriculum = eden.Curriculum(model, 1e-3, epochs=2)
    train(model, optimizer)
    with pytest.raises(RuntimeError, match="in evaluation mode at all optimizer steps"):
        curriculum.step()
    model.conv1.train()  # the others may be frozen
    train(model, optimizer, 1)
    curriculum.step()
    model.eval()
    train(model, optimizer, 1)
    with pytest.raises(RuntimeError, match="in evaluation mode at all optimizer steps"):
        curriculum.step()
    fixed = eden.Curriculum(model, 1e-3, epochs=2, chips="one")
    train(model, optimizer, 1)
    fixed.step()


def test_an_epoch_without_optimizer_steps_is_an_error():
    model = network()
    curriculum = eden.Curriculum(model, 1e-3, epochs=2)
    with pytest.raises(RuntimeError, match="no optimizer step was seen"):
        curriculum.step()
    updated(curriculum)
    curriculum.step()


def test_resuming_goes_on_to_the_same_bits():
    def run(model, optimizer, curriculum, epochs):
        for _ in range(epochs):
            train(model, optimizer)
            curriculum.step()

    errors = eden.Uniform(1e-3, failure=0.5)  # access numbers matter
    model = network(errors)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    curriculum = eden.Curriculum(model, 5e-3, epochs=4, epochs_per_step=1)
    run(model, optimizer, curriculum, 2)
    state = json.loads(json.dumps(curriculum.state_dict()))
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    moments = copy.deepcopy(optimizer.state_dict())
    run(model, optimizer, curriculum, 2)

    resumed = network(errors)
    resumed.load_state_dict(weights)
    second = torch.optim.SGD(resumed.parameters(), lr=0.05, momentum=0.9)
    second.load_state_dict(moments)
    other = eden.Curriculum(resumed, 1e-3, epochs=9, chips="one")
    other.load_state_dict(state)
    assert other.ber == curriculum.ber_at(2)
    run(resumed, second, other, 2)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_ber": 0.0}, "target_ber is 0.0"),
        ({"target_ber": 2.0}, "target_ber is 2.0"),
        ({"target_ber": "much"}, "target_ber is 'much'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs_per_step": 1.5}, "epochs_per_step is 1.5"),
        ({"chips": "some"}, "chips is 'some'; allowed are 'fresh', 'one', or a number"),
        ({"chips": 0}, "chips is 0"),
        ({"schedule": "cubic"}, "schedule is 'cubic'; allowed are linear, logarithmic"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        eden.Curriculum(network(), **{"target_ber": 1e-3, "epochs": 2, **options})


def test_unreachable_rates_and_foreign_states_are_named():
    with pytest.raises(ValueError, match=r"target_ber is 0.5, which conv1\.weight cannot reach"):
        eden.Curriculum(network(eden.Uniform(1e-3, failure=0.1)), 0.5, epochs=2)
    with pytest.raises(ValueError, match="no layer under faults"):
        eden.Curriculum(ResNet(), 1e-3, epochs=2)
    model = network()
    curriculum = eden.Curriculum(model, 1e-3, epochs=2)
    state = curriculum.state_dict()
    with pytest.raises(ValueError, match="lacks chips, epoch"):
        curriculum.load_state_dict({k: v for k, v in state.items() if k not in ("epoch", "chips")})
    errors = {k: v for k, v in state["errors"].items() if k != "conv1.weight"}
    with pytest.raises(ValueError, match=r"another network: its operands differ in conv1\.weight"):
        curriculum.load_state_dict({**state, "errors": errors})


def test_training_goes_on_after_the_faults_are_gone():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    curriculum = eden.Curriculum(model, 1e-2, epochs=4)
    train(model, optimizer)
    eden.remove_(model)
    train(model, optimizer)
    assert curriculum.optimizer_steps == 2, "no chip is counted that nothing was on"


def test_a_network_follows_its_newest_curriculum():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    older = eden.Curriculum(model, 1e-2, epochs=4)
    for chips in range(6):  # a set of both has no fixed order, so one try could pass by luck
        newer = eden.Curriculum(model, 1e-2, epochs=4, chips="one", seed=chips)
        train(model, optimizer, steps=1)
        assert chip(model) == eden.faults.chips.chip(model)
        assert newer.optimizer_steps == 1
    assert older.optimizer_steps == 0


def images(steps: int, chips: str | int = "one", **options) -> tuple[nn.Module, eden.Curriculum, list[float]]:
    """A network, its curriculum, and the rate of each of the optimizer steps."""
    model = network()
    curriculum = eden.Curriculum(model, 1e-2, epochs=4, epochs_per_step=1, chips=chips, **options)
    seen = []
    for step in range(steps):
        seen.extend(rates(model))
        updated(curriculum)
        if step % 5 == 4:
            curriculum.step()
    return model, curriculum, seen


def test_steps_begin_on_reliable_memory():
    curriculum = eden.Curriculum(network(), 1e-2, epochs=6, epochs_per_step=2, chips="one", schedule="step")
    assert [curriculum.ber_at(epoch) for epoch in range(7)] == pytest.approx(
        [0.0, 0.0, 5e-3, 5e-3, 1e-2, 1e-2, 1e-2], abs=0.0
    )


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("linear", [1e-3, 4e-3, 7e-3, 1e-2]), ("logarithmic", [10**-3, 10 ** (-8 / 3), 10 ** (-7 / 3), 1e-2])],
)
def test_a_start_is_kept(schedule, expected):
    curriculum = eden.Curriculum(
        network(), 1e-2, epochs=4, epochs_per_step=1, chips="one", schedule=schedule, start_ber=1e-3
    )
    assert [curriculum.ber_at(epoch) for epoch in range(4)] == pytest.approx(expected)


def test_a_ramp_ends_before_the_epochs_do():
    curriculum = eden.Curriculum(network(), 1e-2, epochs=8, epochs_per_step=1, chips="one", ramp=0.5)
    assert [curriculum.ber_at(epoch) for epoch in range(8)] == pytest.approx([2.5e-3, 5e-3, 7.5e-3] + 5 * [1e-2])


def test_rates_rise_within_epochs():
    _, curriculum, seen = images(20, steps_per_epoch=5)
    assert seen == pytest.approx([1e-2 * (step + 1) / 20 for step in range(20)])
    assert [curriculum.ber_at(epoch) for epoch in range(2)] == pytest.approx([1e-2 / 20, 6e-2 / 20])
    assert curriculum.ber_at(curriculum.epochs - 1, step=4) == pytest.approx(1e-2)  # what eden.train looks at


def test_operands_have_their_own_targets():
    model = network()
    names = list(eden.operands(model))
    targets = {name: 1e-3 * index for index, name in enumerate(names)}
    curriculum = eden.Curriculum(model, targets, epochs=2, epochs_per_step=1, chips="one")
    for share in (0.5, 1.0):
        found = {name: info.errors.ber for name, info in eden.operands(model).items()}
        assert found == pytest.approx({name: share * target for name, target in targets.items()})
        assert curriculum.ber == pytest.approx(share * sum(targets.values()) / len(targets))
        curriculum.step()
    assert curriculum.target_ber == targets


def test_every_operand_needs_a_target():
    model = network()
    targets = dict.fromkeys(eden.operands(model), 1e-3)
    with pytest.raises(ValueError, match=r"^target_ber lacks conv1\.weight; give 0"):
        eden.Curriculum(model, {name: rate for name, rate in targets.items() if name != "conv1.weight"}, 2)
    with pytest.raises(
        ValueError, match=r"^target_ber has conv9\.weight, which have no error model; allowed are conv1"
    ):
        eden.Curriculum(model, {**targets, "conv9.weight": 1e-3}, 2)
    with pytest.raises(ValueError, match=r"^target_ber of conv1\.input is 'x'; allowed is from 0 to 1"):
        eden.Curriculum(model, {**targets, "conv1.input": "x"}, 2)
    with pytest.raises(ValueError, match="is 0 for all operands"):
        eden.Curriculum(model, dict.fromkeys(targets, 0.0), 2)


def test_a_device_is_walked_down():
    device = eden.Device.builtin("ddr3-b33")
    models = device.walk(trcd=5.0)
    assert [model.ber for model in models] == sorted(model.ber for model in models)
    assert models[-1] == device.errors(trcd=5.0)
    assert len(models) < len(device.walk(trcd=5.0, steps=20)), "values between the fitted points"
    model = network()
    curriculum = eden.Curriculum(model, models, epochs=2 * len(models), epochs_per_step=2, chips="one")
    for expected in models:
        for _ in range(2):
            assert {info.errors for info in eden.operands(model).values()} == {expected}
            assert curriculum.ber == expected.ber
            curriculum.step()
    begun = eden.Curriculum(model, models, len(models) + 1, 1, chips="one", schedule="step")
    assert [begun.ber_at(epoch) for epoch in range(len(models) + 1)] == [0.0, *(one.ber for one in models)]


def test_walks_that_lead_nowhere_are_named():
    device = eden.Device.builtin("ddr3-b33")
    nominal = device.nominal
    with pytest.raises(ValueError, match=r"^found none; allowed is exactly one of trcd, trp, vdd, refresh_interval"):
        device.walk()
    with pytest.raises(ValueError, match=r"^found trcd, vdd; allowed is exactly one"):
        device.walk(trcd=5.0, vdd=1.2)
    with pytest.raises(ValueError, match="makes no errors to train with"):
        device.walk(trcd=nominal.trcd)
    with pytest.raises(ValueError, match=r"trcd is 0\.1"):
        device.walk(trcd=0.1)
    with pytest.raises(ValueError, match="steps is 0"):
        device.walk(trcd=5.0, steps=0)


def test_a_share_of_steps_is_clean():
    # Of 400 steps, the first of each of 80 epochs apart, 0.3 of 320 are expected: 96, with a deviation of 8.2. Beyond
    # five of them lies less than one in a million; the seed is fixed.
    _, _, seen = images(400, clean_share=0.3, schedule="linear")
    assert 55 < sum(rate == 0.0 for rate in seen) < 137
    assert all(rate > 0.0 for rate in seen[::5]), "a network is left at the present rate by step()"
    assert seen == images(400, clean_share=0.3)[2], "a function of seed and step"
    assert seen != images(400, clean_share=0.3, seed=1)[2]


def test_rates_are_drawn_between_a_floor_and_the_present_one():
    _, _, seen = images(400, floor_ber=1e-4)
    drawn = sorted(rate for step, rate in enumerate(seen) if step >= 20 and step % 5)
    assert drawn[0] >= 1e-4
    assert drawn[-1] <= 1e-2
    # Log-uniform: Kolmogorov's distance of 304 draws is above 0.117 with a probability of 1e-3 / 2; the seed is fixed.
    places = [math.log10(rate / 1e-4) / 2 for rate in drawn]
    assert max(abs(place - (rank + 0.5) / len(places)) for rank, place in enumerate(places)) < 0.117
    early = images(5, floor_ber=5e-3)[2]
    assert early == pytest.approx(5 * [2.5e-3]), "a present rate below the floor is left alone"


def adaptive(**options) -> tuple[nn.Module, eden.Curriculum]:
    model = network()
    settings = {"epochs": 50, "epochs_per_step": 2, "chips": "one", "start_ber": 1e-3, **options}
    return model, eden.Curriculum(model, 1e-2, schedule="adaptive", **settings)


def test_an_adaptive_rate_rises_with_recovery_and_falls_without():
    model, curriculum = adaptive(recovery=0.02)
    seen = []
    for score in (0.9, 0.89, 0.95, 0.7, 0.7, 0.9, 0.5, 0.88, 0.1, 0.2):
        seen.append(curriculum.ber)
        assert rates(model) == {curriculum.ber}
        curriculum.report(score)
        curriculum.step()
    finer = math.sqrt(2.0)
    recovered = 4e-3 * finer  # the level after the first way back
    assert seen == pytest.approx([1e-3, 2e-3, 4e-3, 8e-3, 8e-3, 4e-3, recovered, recovered, 8e-3, 8e-3]), (
        "two epochs in vain lead back; one of them does not"
    )
    assert curriculum.ber == pytest.approx(recovered)
    with pytest.raises(RuntimeError, match="nothing was reported since the rate last changed"):
        curriculum.step()
    with pytest.raises(ValueError, match="depend on what is reported"):
        curriculum.ber_at(3)


def test_an_adaptive_rate_ends_at_its_target():
    _model, curriculum = adaptive(reference=0.5)
    for _ in range(8):
        curriculum.report(0.9)
        curriculum.step()
    assert curriculum.ber == 1e-2


def test_an_adaptive_rate_follows_the_smoothed_loss():
    _model, curriculum = adaptive(recovery=0.1, reference=1.0)
    for _ in range(100):
        curriculum.report(loss=2.0)
    curriculum.report(loss=0.0)
    curriculum.step()
    assert curriculum.ber == 1e-3, "one good step is no recovery"
    for _ in range(200):
        curriculum.report(loss=1.05)
    curriculum.step()
    assert curriculum.ber == pytest.approx(2e-3)
    curriculum.report(loss=1.0)
    curriculum.step()
    assert curriculum.ber == pytest.approx(4e-3), "what was said at another level is forgotten"


def test_an_adaptive_walk_goes_point_by_point():
    models = [eden.Uniform(rate) for rate in (1e-4, 1e-3, 1e-2)]
    model = network()
    curriculum = eden.Curriculum(model, models, 50, 1, chips="one", schedule="adaptive", reference=0.9)
    seen = []
    for score in (0.9, 0.2, 0.9, 0.9, 0.9, 0.9):
        seen.append(curriculum.ber)
        curriculum.report(score)
        curriculum.step()
    assert seen == [1e-4, 1e-3, 1e-4, 1e-3, 1e-2, 1e-2]


def test_seeds_of_a_pool_are_used_in_turn():
    model = network()
    curriculum = eden.Curriculum(model, 1e-3, epochs=2, chips=[11, 12])
    seen = []
    for _ in range(3):
        seen.append(chip(model))
        updated(curriculum)
    assert seen == [11, 12, 11]


EVERYTHING = {
    "mixture": {"clean_share": 0.3, "floor_ber": 1e-5, "steps_per_epoch": 4},
    "adaptive": {"schedule": "adaptive", "start_ber": 1e-4, "floor_ber": 1e-5},
    "walk": {"schedule": "step", "chips": [3, 4, 5]},
}


@pytest.mark.parametrize("setting", EVERYTHING)
@pytest.mark.parametrize("moment", ["epoch", "step"])
def test_a_state_goes_through_json_and_goes_on(setting, moment):
    options = {"chips": 3, **EVERYTHING[setting]}
    models = [eden.Uniform(rate) for rate in (1e-4, 1e-3, 1e-2)]

    def make():
        model = network()
        names = list(eden.operands(model))
        target = models if setting == "walk" else {name: 1e-3 * (2 + index) for index, name in enumerate(names)}
        return model, eden.Curriculum(model, target, epochs=6, epochs_per_step=1, **options)

    def go_on(model, curriculum, steps):
        seen = []
        for step in steps:
            seen.append((chip(model), curriculum.step_ber, [info.errors for info in eden.operands(model).values()]))
            curriculum.report(loss=1.0 / (step + 1))
            updated(curriculum)
            if step % 4 == 3:
                curriculum.step()
        return seen

    model, curriculum = make()
    half = 12 if moment == "epoch" else 10
    go_on(model, curriculum, range(half))
    state = json.loads(json.dumps(curriculum.state_dict()))
    rest = go_on(model, curriculum, range(half, 24))
    other = network()
    resumed = eden.Curriculum(other, 1e-3, epochs=2, chips="one")
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert go_on(other, resumed, range(half, 24)) == rest
    assert resumed.state_dict() == curriculum.state_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_ber": 1e-3}, r"start_ber is 0.001; allowed is above 0 and below the target's 0.001"),
        ({"ramp": 0.0}, r"ramp is 0.0; allowed is above 0 to 1"),
        ({"steps_per_epoch": 0}, "steps_per_epoch is 0"),
        ({"steps_per_epoch": 3, "schedule": "adaptive"}, "steps_per_epoch is 3; allowed is None with the schedule"),
        ({"clean_share": 1.0}, "clean_share is 1.0; allowed is from 0 to below 1"),
        ({"floor_ber": 1e-2}, "floor_ber is 0.01; allowed is above 0 and below"),
        ({"factor": 1.0}, "factor is 1.0; allowed is above 1"),
        ({"recovery": float("nan")}, "recovery is nan; allowed is from 0"),
        ({"reference": "clean"}, "reference is 'clean'; allowed is a finite number"),
        ({"chips": []}, r"chips is \[\]; allowed are"),
        ({"target_ber": []}, "target_ber is a list"),
        ({"target_ber": [eden.Uniform(0.0)]}, "target_ber is a list"),
        ({"target_ber": [eden.Uniform(1e-2), eden.Uniform(1e-3)]}, "BER 0.001 after one of 0.01"),
        ({"target_ber": [eden.Uniform(1e-2)], "start_ber": 1e-3}, "start_ber is 0.001; allowed is None where"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        eden.Curriculum(network(), **{"target_ber": 1e-3, "epochs": 2, **options})


def test_bad_reports_are_named():
    _model, curriculum = adaptive()
    with pytest.raises(ValueError, match="neither a score nor a loss"):
        curriculum.report()
    with pytest.raises(ValueError, match="loss is nan; allowed is a finite number"):
        curriculum.report(loss=float("nan"))
    curriculum.report(0.5)
    curriculum.step()
    curriculum.report(loss=0.5)
    with pytest.raises(RuntimeError, match="found a loss, after a score before"):
        curriculum.step()
