"""Are accuracies counted as they should be, over chips that no other step uses, and is the network given back?"""

import math
from collections.abc import Callable
from typing import Any

import pytest
import tiny_task
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import eden
from eden.app.steps import RATES as RATES_DRAWN
from eden.app.steps import rates_with_progress
from eden.boosting.recipe import Recipe
from eden.boosting.training import train
from eden.faults.chips import draw_chip
from eden.faults.faulty_layers import faulty_layers
from eden.tolerance import evaluation
from eden.tolerance.evaluation import OverChips, accuracy, at_rates, clean_accuracy, evaluate

pytestmark = pytest.mark.usefixtures("one_thread")

RATES = eden.DataDependent(2e-2, 6e-2, failure=0.5)


@pytest.fixture(scope="module")
def trained() -> dict[str, Tensor]:
    model = tiny_task.network()
    train(model, tiny_task.data()[0], Recipe(epochs=4, batch_size=tiny_task.BATCH))
    return model.state_dict()


@pytest.fixture
def model(trained: dict[str, Tensor]) -> nn.Module:
    model = tiny_task.network()
    model.load_state_dict(trained)
    eden.inject_(model, eden.Faults(RATES, RATES, "int8", "zero", seed=5))
    eden.calibrate_(model, [tiny_task.data()[0].tensors[0]])
    return model.eval()


VALIDATION = tiny_task.data()[1]
EMPTY = TensorDataset(torch.zeros(0, tiny_task.FEATURES), torch.zeros(0, dtype=torch.int64))


def state(model: nn.Module) -> dict[str, Any]:
    kept: dict[str, Any] = {"errors": {name: info.errors for name, info in eden.operands(model).items()}}
    for name, layer in faulty_layers(model).items():
        for buffer in ("eden_chip", "eden_training_chip", "eden_access", "eden_training_access"):
            kept[f"{name}.{buffer}"] = int(getattr(layer, buffer))
    return kept


def test_statistics_of_several_chips() -> None:
    over = OverChips((0.5, 0.7, 0.9, 0.9))
    assert over.mean == pytest.approx(0.75)
    # Deviations -.25, -.05, .15, .15: a variance of .11 / 3, over four chips.
    assert over.standard_error == pytest.approx(math.sqrt(0.11 / 3 / 4))
    assert (over.worst, over.best) == (0.5, 0.9)


def test_statistics_of_one_chip() -> None:
    over = OverChips((0.5,))
    assert (over.mean, over.worst, over.best) == (0.5, 0.5, 0.5)
    assert math.isnan(over.standard_error)


class Fixed(nn.Module):
    """Gives back its input as output."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize("batch_size", [1, 3, 256])
def test_outputs_with_a_nan_count_as_wrong(batch_size: int) -> None:
    nan, inf = math.nan, math.inf
    outputs = torch.tensor(
        [[0, 1, 0], [nan, 1, 0], [0, nan, 0], [0, inf, 0], [nan, nan, nan], [-inf, 0, -inf], [1, 0, 0]]
    )
    assert accuracy(Fixed(), TensorDataset(outputs, torch.ones(7, dtype=torch.int64)), batch_size) == 3 / 7


def test_modes_of_all_modules_come_back(model: nn.Module) -> None:
    model.train()
    model[1].eval()  # a frozen normalization
    modes = [module.training for module in model.modules()]
    before = model[1].running_mean.clone()
    accuracy(model, VALIDATION)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(model[1].running_mean, before)
    with pytest.raises(RuntimeError):
        accuracy(model, TensorDataset(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)))
    assert [module.training for module in model.modules()] == modes


def test_clean_accuracy_is_without_flips(model: nn.Module) -> None:
    clean = clean_accuracy(model, VALIDATION)
    assert clean > 0.95
    found = evaluate(model, VALIDATION, chips=4)
    assert found.clean == clean
    assert found.mean < clean - 0.05
    eden.set_errors_(model, dict.fromkeys(eden.operands(model), None))
    assert accuracy(model, VALIDATION) == clean


def test_chips_are_the_seeds_and_drawn_for_evaluation(model: nn.Module) -> None:
    found = evaluate(model, VALIDATION, chips=3, seed=4)
    assert found == evaluate(model, VALIDATION, chips=3, seed=4)
    assert found.values == evaluate(model, VALIDATION, chips=5, seed=4).values[:3]
    assert found != evaluate(model, VALIDATION, chips=3, seed=5)
    eden.set_chip_(model, draw_chip(4, "evaluation", 1))
    assert accuracy(model, VALIDATION) == found.values[1]


def fail() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "evaluated",
    [
        lambda model, **options: evaluate(model, VALIDATION, chips=2, **options),
        lambda model, **options: at_rates(model, VALIDATION, [1e-3, 1e-2], 2, **options),
        lambda model, **options: evaluate(model, VALIDATION, chips=2, ber=1e-2, **options),
        lambda model, **options: evaluate(
            model, VALIDATION, chips=2, errors={"0.weight": eden.Uniform(0.1)}, **options
        ),
    ],
    ids=["as it is", "at_rates", "at a rate", "with errors"],
)
def test_the_network_is_given_back_also_after_an_exception(model: nn.Module, evaluated: Callable[..., Any]) -> None:
    eden.Curriculum(model, 1e-2, epochs=3, seed=1)  # another chip in training
    model.train()
    model(VALIDATION.tensors[0])
    before = state(model)
    assert before["0.eden_chip"] != before["0.eden_training_chip"]
    assert before["0.eden_training_access"] > 0
    evaluated(model)
    assert state(model) == before
    with pytest.raises(KeyboardInterrupt):
        evaluated(model, on_chip=fail)
    assert state(model) == before
    assert model.training


def test_at_rates_scales_every_operand(model: nn.Module) -> None:
    calls: list[int] = []
    found = at_rates(model, VALIDATION, [0.0, 1e-2, 0.2], 4, on_chip=lambda: calls.append(1))
    assert list(found) == [0.0, 1e-2, 0.2]
    assert len(calls) == 12
    assert set(found[0.0].values) == {clean_accuracy(model, VALIDATION)}
    assert found[0.0].mean > found[1e-2].mean > found[0.2].mean
    eden.set_chip_(model, draw_chip(0, "curves", 3))
    at_rate = evaluate(model, VALIDATION, ber=1e-2, chips=4)
    eden.set_errors_(model, {name: RATES.scaled(1e-2) for name in eden.operands(model)})
    assert evaluate(model, VALIDATION, chips=4) == at_rate
    assert accuracy(model, VALIDATION) == found[1e-2].values[3]


def test_a_rate_out_of_reach_is_refused_before_anything_is_computed(model: nn.Module) -> None:
    """A curve is not lost for its last rate."""
    calls: list[float] = []
    with pytest.raises(ValueError, match=r"rate 0\.7, which 0\.weight cannot reach: ber is 0\.7; allowed is at most"):
        at_rates(model, VALIDATION, [1e-3, 0.7], 1, on_chip=lambda: calls.append(0.0))
    assert not calls
    assert evaluation.reachable(model, [1e-3, 0.5, 0.7]) == [1e-3, 0.5]


def test_rates_that_the_memory_cannot_make_are_not_drawn(model: nn.Module) -> None:
    """A device whose F is below the rates that accuracy is usually drawn at has a curve of the others."""
    eden.set_errors_(model, dict.fromkeys(eden.operands(model), eden.Uniform(1e-5, failure=1e-3)))
    assert list(rates_with_progress(model, VALIDATION, 1, 0)) == [rate for rate in RATES_DRAWN if rate <= 1e-3]


def test_the_mean_of_equal_accuracies_is_theirs() -> None:
    over = OverChips((0.995,) * 20)  # whose sum, divided by 20, is 0.9949999999999999
    assert (over.worst, over.mean, over.best) == (0.995,) * 3


def test_errors_change_the_operands_it_names(model: nn.Module) -> None:
    none = dict.fromkeys(eden.operands(model), eden.Uniform(0.0))
    clean = clean_accuracy(model, VALIDATION)
    assert set(evaluate(model, VALIDATION, errors=none, chips=2).values) == {clean}
    assert evaluate(model, VALIDATION, errors={**none, "3.input": eden.Uniform(0.3)}, chips=3).mean < clean


def test_a_loader_a_dataset_and_batches_give_the_same(model: nn.Module) -> None:
    found = evaluate(model, VALIDATION, chips=2)
    x, y = VALIDATION.tensors
    pairs = [(x[i], y[i]) for i in range(len(x))]
    for data in (DataLoader(VALIDATION, batch_size=256), list(DataLoader(VALIDATION, batch_size=256)), Listed(pairs)):
        assert evaluate(model, data, chips=2) == found
    wrong = evaluate(model, VALIDATION, metric=lambda output, target: output.argmax(1) != target, chips=2)
    assert wrong.mean == pytest.approx(1.0 - found.mean)
    assert wrong.clean == pytest.approx(1.0 - (found.clean or 0.0))


class Listed(Dataset[tuple[Tensor, Tensor]]):
    """A map-style dataset of no tensors."""

    def __init__(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.pairs[index]


def test_bad_input_changes_nothing(model: nn.Module) -> None:
    before = state(model)
    with pytest.raises(ValueError, match=r"'4\.weight' is no operand under faults; allowed are 0\.input, 0\.weight"):
        evaluate(model, VALIDATION, errors={"4.weight": eden.Uniform(0.1)}, chips=2)
    for chips in (0, -1):
        with pytest.raises(ValueError, match=f"chips is {chips}; allowed is 1 or more"):
            evaluate(model, VALIDATION, chips=chips)
    for empty in (accuracy, clean_accuracy, evaluate):
        with pytest.raises(ValueError, match="dataset has no samples"):
            empty(model, EMPTY)
    assert state(model) == before
    with pytest.raises(ValueError, match="has no layer under faults"):
        evaluate(tiny_task.network(), VALIDATION, chips=1)
