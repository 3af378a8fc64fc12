"""Do members of an ensemble differ in what they are said to differ in, and decide as they are said to?"""

import pytest
import torch
from faulty_networks import images, injected, small
from torch import nn

import eden
from eden.faults.chips import accesses
from eden.faults.ensemble import _votes

NONE, OFTEN = eden.Uniform(0.0), eden.Uniform(0.02)


def in_memory(network: nn.Module, errors=OFTEN, **options) -> nn.Module:
    eden.inject_(network, eden.Faults(errors, errors, **{"storage": "int8", "correction": "zero", **options}))
    return eden.calibrate_(network, [images()])


def test_members_on_chips_have_cells_of_their_own_and_the_first_those_of_the_network_alone():
    model, x = small(), images()
    ensemble = in_memory(eden.Ensemble(model, 2))
    outputs = [network(x) for network in ensemble.networks]
    assert not torch.equal(*outputs)
    eden.set_chip_(ensemble, 0)  # as before these reads
    assert torch.equal(ensemble(x), torch.stack(outputs).mean(0))
    alone = in_memory(model)
    assert torch.equal(
        alone.conv1.eden_read("weight", model.conv1.weight),
        ensemble.networks[0].conv1.eden_read("weight", model.conv1.weight),
    )
    one, two = (eden.traffic(network, "eyeriss", inputs=x[:1]) for network in (alone, ensemble))
    image = one.operands["conv1.input"].crossing_bytes  # in memory once, read by both
    assert two.crossing_bytes == pytest.approx(2 * one.crossing_bytes, abs=image)


def test_members_over_reads_differ_in_what_fails_now_and_then_and_are_paid_for():
    x = images()
    for failure in (1.0, 0.5):
        ensemble = in_memory(eden.Ensemble(small(), 3, "reads"), eden.Uniform(0.02, failure=failure))
        whole = ensemble(x)
        assert {number for _, number in accesses(ensemble).values()} == {3}
        eden.set_chip_(ensemble, 0)
        reads = [ensemble.networks[0](x) for _ in range(3)]
        assert torch.equal(reads[0], reads[1]) == (failure == 1.0)
        assert torch.equal(whole, torch.stack(reads).mean(0))
    alone = eden.traffic(injected(), "eyeriss", inputs=x[:1])
    moved = eden.traffic(ensemble, "eyeriss", inputs=x[:1])
    assert moved.crossing_bytes == 3 * alone.crossing_bytes
    cached = [eden.traffic(network, "cpu", inputs=x[:1], repeated=False) for network in (injected(), ensemble)]
    assert cached[1].crossing_bytes == cached[0].crossing_bytes, "the cache holds what is read again"
    with pytest.raises(ValueError, match="reads each operand so many times, and inputs is None"):
        eden.traffic(ensemble)


@pytest.mark.parametrize(("storage", "channels"), [("int4_sign_magnitude", True), ("int8", False), ("sign", True)])
def test_roundings_are_codes_near_the_weight_that_no_read_changes(storage, channels):
    model = small()
    faults = eden.Faults(NONE, NONE, storage=storage, input_storage="uint8", weight_channels=channels)
    before = torch.random.get_rng_state()
    ensemble = eden.Ensemble(model, 60, "roundings", faults=faults, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    fewer = eden.Ensemble(model, 2, "roundings", faults=faults, seed=3)
    rounded = torch.stack([network.linear.weight.detach() for network in ensemble.networks])
    assert torch.equal(rounded[1], fewer.networks[1].linear.weight)
    eden.inject_(ensemble, faults)
    for network in ensemble.networks[:2]:
        weight = network.linear.weight
        assert torch.allclose(network.linear.eden_read("weight", weight), weight, rtol=1e-6, atol=0)
    weight = model.linear.weight.detach()
    largest = weight.abs().amax(1, keepdim=True) if channels else weight.abs().amax()
    step = {"int4_sign_magnitude": largest / 7, "int8": largest / 127, "sign": weight.abs().mean(1, keepdim=True)}[
        storage
    ]
    within = weight.clamp(-step, step) if storage == "sign" else weight
    # Of 60 draws a mean lies within 5 standard errors, each at most half of the width 1 or 2 steps; 40 weights.
    width = step * (2.0 if storage == "sign" else 1.0)
    assert ((rounded.mean(0) - within).abs() <= 5 * 0.5 * width / 60**0.5 + 1e-6).all()
    assert (rounded.std(0) > 0).float().mean() > 0.5


def test_votes_are_of_members_whose_output_is_finite():
    nan = float("nan")
    outputs = torch.tensor(
        [
            [[9.0, 0.0], [1.0, 0.0], [nan, 0.0]],
            [[0.0, 1.0], [0.0, 2.0], [nan, 0.0]],
            [[0.0, 1.0], [nan, 0.0], [0.0, float("inf")]],
        ]
    )
    found = _votes(outputs)
    assert found[:2].argmax(1).tolist() == [1, 1], "two of three; a tie that probability decides"
    assert found[2].isnan().all()
    with pytest.raises(ValueError, match=r"has the shape \(4, 1\); allowed to vote"):
        eden.Ensemble(nn.Linear(3, 1), 2, decision="vote")(torch.ones(4, 3))


def _parametrized() -> nn.Module:
    return torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))


FAULTS = eden.Faults(NONE, storage="int8")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: eden.Ensemble("resnet", 2), "model is a str"),
        (lambda: eden.Ensemble(small(), 0), "members is 0"),
        (lambda: eden.Ensemble(small(), 2, over="dice"), "over is 'dice'"),
        (lambda: eden.Ensemble(small(), 2, decision="max"), "decision is 'max'"),
        (lambda: eden.Ensemble(injected(), 2), "ResNet is under faults; allowed is a network before eden.inject_"),
        (lambda: eden.Ensemble(small(), 2, "roundings"), "faults is a NoneType"),
        (lambda: eden.Ensemble(small(), 2, "reads", faults=FAULTS), "faults is given with over='reads'"),
        (lambda: eden.Ensemble(small(), 2, "roundings", faults=eden.Faults(NONE)), "symmetric 'float32'; allowed"),
        (lambda: eden.Ensemble(_parametrized(), 2, "roundings", faults=FAULTS), "weight is no Parameter of its layer"),
        (lambda: eden.Ensemble(nn.Linear(2, 2, device="meta"), 2, "roundings", faults=FAULTS), "weight has no values"),
        (lambda: eden.Ensemble(nn.LSTM(2, 2), 2)(torch.ones(3, 1, 2)), "the output of a member is a tuple"),
    ],
)
def test_bad_input_is_refused_by_name(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
