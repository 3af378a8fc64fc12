"""Does the curriculum raise the rate on time, change the chip with the optimizer, and go on where it was?"""

import copy
import json

import pytest
import torch
from torch import nn

import eden
from eden.models import ResNet


def network(errors: eden.ErrorModel | None = None) -> nn.Module:
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
    assert eden.inject.chip(model) == 5, "evaluation stays on the chip of the injection"
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


def test_a_curriculum_that_is_gone_stops_watching():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    curriculum = eden.Curriculum(model, 1e-3, epochs=2)
    del curriculum
    before = chip(model)
    train(model, optimizer, 2)
    assert chip(model) == before


def test_an_epoch_without_optimizer_steps_is_an_error():
    curriculum = eden.Curriculum(network(), 1e-3, epochs=2)
    with pytest.raises(RuntimeError, match="no optimizer step was seen"):
        curriculum.step()
    curriculum.next_chip()
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
    curriculum = eden.Curriculum(network(), 1e-3, epochs=2)
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
        assert chip(model) == eden.inject.chip(model)
        assert newer.optimizer_steps == 1
    assert older.optimizer_steps == 0
