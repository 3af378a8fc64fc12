"""Does every network train and run under faults, with everything that faults do not reach named?"""

import re

import networks
import pytest
import torch
from every_network import NETWORKS, sample, train_and_evaluate, unnamed
from torch import nn

import eden
from eden.faults.coverage import Coverage
from eden.faults.faulty_layers import FaultyLayer

pytestmark = pytest.mark.usefixtures("one_thread")

# What a network does with several feature maps outside of layers, and how often where the paper says so.
FUNCTIONS = {
    "ResNet-101": ("a sum of feature maps", 33),
    "MobileNetV2": ("a sum of feature maps", 10),
    "DenseNet-201": ("a concatenation", 98),
    "SqueezeNet 1.1": ("a concatenation", 8),
    "YOLO": ("a concatenation", 2),
    "YOLO-Tiny": ("a concatenation", 1),
    "ViT": ("a sum of feature maps", 2),
    "language model": ("a sum of feature maps", 4),
}


def check(name: str, model: nn.Module, side: int, storage: str) -> None:
    outcome = train_and_evaluate(model, side, storage)
    assert outcome.holds
    coverage = outcome.coverage
    loads = {row.name: row.loads for row in coverage.faulty}
    for info in eden.operands(model).values():
        # Two evaluations and a step of training; calibration and reliable memory do not count.
        assert loads[info.name] == 3 * len(info.layers)
    assert all(row.bytes for row in coverage.faulty)
    assert all(row.note for row in coverage.reliable)
    notes = {row.note for row in coverage.reliable if row.kind != "function"}
    allowed = ("biases are reliable", " is reliable", "a counter", "indices are", "outside of any layer", "stay inside")
    assert all(any(part in note for part in (*allowed, "normalization reads")) for note in notes), notes
    functions = [row.note for row in coverage.reliable if row.kind == "function"]
    if name in FUNCTIONS:
        what, count = FUNCTIONS[name]
        calls = [re.search(r", (\d+) times", note) for note in functions if note.startswith(what)]
        assert sum(1 if found is None else int(found[1]) for found in calls) >= count
    else:
        assert not functions


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_a_narrow_network_trains_and_runs_under_faults(name, storage):
    check(name, NETWORKS[name].narrow(), NETWORKS[name].narrow_side, storage)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_full_width_trains_and_runs_under_faults(name):
    check(name, NETWORKS[name].full(), NETWORKS[name].full_side, "int8")


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_have_the_parameters_of_their_papers(name):
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in NETWORKS[name].full().parameters()) == NETWORKS[name].parameters


def test_what_is_not_named_is_found():
    model = networks.lenet()
    errors = eden.Uniform(1e-3)
    eden.inject_(model, eden.Faults(errors, errors))
    whole = eden.coverage(model)
    assert unnamed(model, whole) == ()
    without = Coverage(tuple(row for row in whole.rows if not row.name.startswith("fc2") and row.name != "fc1.bias"))
    assert set(unnamed(model, without)) == {"fc1.bias", "fc2.weight", "fc2.bias", "fc2"}


def test_a_training_step_is_on_the_curriculums_chip():
    model = networks.lenet()
    errors = eden.Uniform(1e-3)
    eden.inject_(model, eden.Faults(errors, errors, "int8", "zero"))
    eden.calibrate_(model, [sample(28, 0)])
    layer = next(module for module in model.modules() if isinstance(module, FaultyLayer))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    curriculum = eden.Curriculum(model, target_ber=1e-3, epochs=2, epochs_per_step=1)
    chip = int(layer.eden_training_chip)
    model.train()(sample(28, 1)).square().sum().backward()
    optimizer.step()
    assert int(layer.eden_training_chip) != chip
    assert int(layer.eden_chip) == 0
    assert curriculum.optimizer_steps == 1


def language_model() -> networks.CausalLanguageModel:
    return networks.CausalLanguageModel(31, 16, 16, 2, 2).eval()


def test_a_cache_is_read_from_the_same_cells_step_by_step():
    model, tokens = language_model(), sample(0, 3)
    expected = model(tokens)
    first, past = model.step(tokens[:, :2])
    second, past = model.step(tokens[:, 2:5], past)
    third, _ = model.step(tokens[:, 5:], past)
    assert torch.allclose(torch.cat((first, second, third), 1), expected, atol=1e-5)

    # Errors in the cache alone: each position keeps its cells, so the steps see what the whole sequence sees.
    eden.inject_(model, eden.Faults(inputs=eden.Uniform(0.02), storage="int8"), lambda name, _: name.endswith("cache"))
    eden.calibrate_(model, [tokens])
    assert list(eden.operands(model)) == [f"blocks.{i}.cache.{role}" for i in range(2) for role in ("keys", "values")]
    assert eden.operands(model)["blocks.0.cache.keys"].bytes == 6 * 16
    faulty = model(tokens)
    assert not torch.allclose(faulty, expected, atol=1e-3)
    steps, past = [], None
    for i in range(tokens.shape[1]):
        logits, past = model.step(tokens[:, i : i + 1], past)
        steps.append(logits)
    assert torch.allclose(torch.cat(steps, 1), faulty, atol=1e-5)
    # What was written stays as it was: only reads are faulty.
    again, _ = model.step(tokens[:, 5:], [(keys[:, :5], values[:, :5]) for keys, values in past])
    assert torch.allclose(again, steps[5], atol=1e-6)


def test_weights_tied_between_embedding_and_head_share_their_cells():
    model, tokens = language_model(), sample(0, 3)
    eden.inject_(model, eden.Faults(eden.Uniform(0.02), storage="int8", seed=4))
    infos = eden.operands(model)
    assert infos["head.weight"].layers == ("tokens", "head")
    assert "tokens.weight" not in infos
    embedding = model.tokens(tokens)
    read = model.head.eden_read("weight", model.head.weight)
    assert torch.equal(embedding, read[tokens])
    assert not torch.equal(read, model.head.weight)
