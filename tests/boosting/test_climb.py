"""Does a curriculum without a target find one, keep the best network and never return a worse one?"""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import eden
from eden.boosting.judge import Judge
from eden.boosting.rates import reachable
from eden.boosting.recipe import Recipe
from eden.boosting.resume import load_checkpoint_, save_checkpoint
from eden.faults.memories import scalable_errors


def samples(count: int, seed: int) -> TensorDataset:
    """Two clouds of points that lie apart."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (count,), generator=generator)
    return TensorDataset(torch.randn(count, 8, generator=generator) + 2.0 * labels[:, None] - 1.0, labels)


def network() -> nn.Module:
    """Trained, under faults, calibrated."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    eden.train(model, samples(400, 1), Recipe(3, learning_rate=0.05))
    eden.inject_(model, eden.Faults.int8(eden.Uniform(1e-3)))
    return eden.calibrate_(model, [samples(100, 1).tensors[0]])


def curriculum_of(model: nn.Module, **options: object) -> eden.Curriculum:
    return eden.Curriculum(model, validation=samples(200, 2), **{"epochs": 4, "max_drop": 0.05, **options})  # type: ignore[arg-type]


def harm(model: nn.Module) -> None:
    """What a learning rate that is too high does."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()


def epoch(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model.train()
    for x, y in DataLoader(samples(400, 1), batch_size=100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def test_a_training_that_harms_gives_the_network_back():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    curriculum = curriculum_of(model)
    first = curriculum.ber
    assert first == pytest.approx(curriculum.tried[0].tolerated)
    optimizer = torch.optim.SGD(model.parameters(), 1e-9)
    for _ in range(4):
        epoch(model, optimizer)
        harm(model)
        curriculum.step()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not curriculum.moving
    assert [one.taken for one in curriculum.tried] == [True, False, False, False, False]
    # The second failure in a row brings the best state back.
    assert [one.restored for one in curriculum.tried[1:3]] == [False, True]
    assert curriculum.tried[1].clean_drop > 0.3
    assert "kept" in curriculum.table()
    assert all(errors.ber == pytest.approx(curriculum.ber) for errors in scalable_errors(model).values())


def test_a_learning_rate_that_is_too_high_is_lowered():
    model = network()
    curriculum = curriculum_of(model, epochs=8)
    eden.train(model, samples(400, 1), Recipe.boosting(8, learning_rate=20.0, warmup=0.0), curriculum)
    lost = [one.clean_drop for one in curriculum.tried]
    # Twenty is too high, two is, too, and from 0.2 on it trains: nothing is lost that does not come back.
    assert curriculum.restored >= 1
    assert max(lost) > 0.3
    assert lost[-1] < 0.05
    first = [one.restored for one in curriculum.tried].index(True)
    assert any(one.clean_drop < 0.05 for one in curriculum.tried[first + 1 :])


def test_what_tolerates_more_is_kept():
    """A large weight that both outputs share decides nothing, and makes every flip of its layer large."""
    model = network()
    weight = model[2].weight.detach().clone()
    with torch.no_grad():
        model[2].weight[:, 0] = 10.0 * weight.abs().max()
    curriculum = curriculum_of(model, epochs=2)
    optimizer = torch.optim.SGD(model.parameters(), 1e-9)
    for number in range(2):
        epoch(model, optimizer)
        with torch.no_grad():
            model[2].weight.copy_(weight if number == 0 else torch.zeros(2, 16))
        curriculum.step()
    given, first, second = curriculum.tried
    assert (first.taken, second.taken) == (True, False)
    assert first.ber == given.tolerated  # where the rate begins
    assert first.tolerated > 1.5 * given.tolerated
    assert second.tolerated == 0.0
    assert torch.equal(model[2].weight, weight)


def test_it_goes_on_from_a_checkpoint(tmp_path: Path):
    def run(interrupted: bool) -> tuple[dict[str, Tensor], object]:
        model = network()
        curriculum = curriculum_of(model)
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        for number in range(4):
            epoch(model, optimizer)
            curriculum.step()
            if interrupted and number == 1:
                save_checkpoint(model, tmp_path / "run.safetensors", optimizer, None, curriculum)
                model = network()
                curriculum = curriculum_of(model)
                optimizer = torch.optim.SGD(model.parameters(), 0.01)
                load_checkpoint_(model, tmp_path / "run.safetensors", optimizer, None, curriculum)
        return dict(model.state_dict()), curriculum.tried

    whole, gone_on = run(False), run(True)
    assert whole[1] == gone_on[1]
    assert all(torch.equal(value, gone_on[0][name]) for name, value in whole[0].items())


def test_the_loop_uses_it_and_its_recipe():
    model = network()
    curriculum = curriculum_of(model, epochs=4)
    history = eden.train(model, samples(400, 1), Recipe.boosting(4, batch_size=100), curriculum)
    assert len(history) == 4
    assert len(curriculum.tried) == 5
    assert not curriculum.moving
    # The rate rises, and not far above what is tolerated: that costs the accuracy without errors.
    rates = [one.ber for one in curriculum.tried[1:]]
    assert rates[0] < max(rates) <= 1.6 * max(one.tolerated for one in curriculum.tried)


def test_what_is_tolerated_is_hardly_a_matter_of_where_the_search_begins():
    model = network()
    judge = Judge(model, samples(200, 2), "top1", 0.05, 0)
    ladder = reachable(scalable_errors(model))
    found = [judge.tolerated(model, ladder, near) for near in (1e-4, 1e-3, 1e-2, 1e-1)]
    assert max(found) < 1.25 * min(found)


def test_a_network_that_is_worse_for_a_while_goes_on_learning():
    """A clean drop above the one allowed lowers the rate; it throws nothing away before the network is lost."""
    model = network()
    curriculum = curriculum_of(model, epochs=4, max_drop=0.15)
    optimizer = torch.optim.SGD(model.parameters(), 1e-9)
    bias = model[2].bias.detach().clone()
    for number in range(4):
        epoch(model, optimizer)
        with torch.no_grad():
            model[2].bias.copy_(bias + (torch.tensor([0.0, 100.0]) if number < 2 else 0.0))
        curriculum.step()
    dropped = [one.clean_drop for one in curriculum.tried]
    assert 0.15 < dropped[1] < 0.75
    assert not any(one.restored for one in curriculum.tried)
    assert dropped[3] <= 0.15


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": None}, "found neither target_ber nor validation"),
        ({"target_ber": 1e-3}, "max_drop is None; allowed is None, and so is validation"),
        ({"max_drop": 1.5}, r"max_drop is 1.5; allowed is in \(0, 1\)"),
        ({"schedule": "step"}, "found schedule, start_ber or steps_per_epoch without a target_ber"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        eden.Curriculum(network(), **{"validation": samples(50, 2), "epochs": 2, **options})  # type: ignore[arg-type]


def test_a_single_rate_is_a_warning():
    model = network()
    with pytest.warns(UserWarning, match=r"single rate, 0.001 from the first step on: 2 epochs with epochs_per_step=2"):
        eden.Curriculum(model, 1e-3, epochs=2)
    eden.Curriculum(model, 1e-3, epochs=2, schedule="constant")
    eden.Curriculum(model, 1e-3, epochs=2, epochs_per_step=1)


class _Chip(Judge):
    """Whose drop at a rate is told."""

    def __init__(self, drops: dict[float, float]) -> None:
        self.max_drop, self.one, self._passes, self._drops = 0.01, True, 1, drops

    def drop(self, model: object, errors: object, first: int, passes: int, errors_of_mean: float) -> float:
        (model_errors,) = errors.values()  # type: ignore[attr-defined]
        return next(drop for rate, drop in self._drops.items() if model_errors.ber <= rate * 1.0001)


@pytest.mark.parametrize(
    ("drops", "found"),
    [
        ({1e-3: 0.0, 1.0: 0.5}, (1e-3, 1.4e-3)),
        # It stands 1e-3 to 1e-2, and not what is milder.
        ({1e-5: 0.0, 1e-3: 0.5, 1e-2: 0.0, 1.0: 0.5}, (0.7e-5, 1.4e-5)),
        ({1e-2: 0.5, 1.0: 0.0}, (0.0, 0.0)),
        # The operating point itself is the highest.
        ({1.0: 0.0}, (0.5, 0.5)),
    ],
)
def test_a_network_for_one_chip_tolerates_a_rate_where_it_stands_all_milder_ones(
    drops: dict[float, float], found: tuple[float, float]
):
    ladder = reachable({"fc.weight": eden.Uniform(1e-3)})
    for near in (1e-4, 3e-3):
        tolerated = _Chip(drops).tolerated(nn.Module(), ladder, near)
        assert found[0] * 0.99 <= tolerated <= found[1] * 1.01, near


def test_a_curriculum_for_one_chip_is_judged_by_its_errors_alone():
    """Of a chip whose weak cells are all in bits of no consequence, no other chip's errors are counted."""
    model = network()
    seen = set()
    judge = Judge(model, samples(200, 2), "top1", 0.05, 0, one=True)
    whole = eden.Curriculum(model, validation=samples(200, 2), epochs=1, chips="one")
    assert whole._climb is not None
    assert whole._climb._judge.one
    ladder = reachable(scalable_errors(model))
    model.register_forward_pre_hook(lambda module, _: seen.add(int(module[0].eden_chip)))
    own = int(model[0].eden_chip)
    judge.tolerated(model, ladder, 1e-3)
    assert seen == {own}
    # Errors that persist are read once, whatever the number of passes.
    assert judge.drop(model, ladder.errors(1e-2, 1.0), 0, 4, 0.0) == judge.drop(
        model, ladder.errors(1e-2, 1.0), 0, 1, 0.0
    )
