"""Does every network train and run under faults, with everything that faults do not reach named?"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import eden
from eden import networks
from eden.functions import function_uses
from eden.nn import FaultyLayer

pytestmark = pytest.mark.usefixtures("one_thread")

# By name: the network as in its paper with its number of parameters, a narrow one, and the side of its images.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, Callable[[], nn.Module], int]] = {
    "LeNet": (networks.lenet, 61_706, networks.lenet, 28),
    "AlexNet": (networks.alexnet, 61_100_840, partial(networks.alexnet, 10, 1 / 16), 63),
    "VGG-16": (networks.vgg16, 138_357_544, partial(networks.vgg16, 10, 1 / 16), 32),
    "ResNet-101": (networks.resnet101, 44_549_160, partial(networks.resnet101, 10, 1 / 16), 32),
    "MobileNetV2": (networks.mobilenet_v2, 3_504_872, partial(networks.mobilenet_v2, 10, 1 / 4), 32),
    "DenseNet-201": (networks.densenet201, 20_013_928, partial(networks.densenet201, 10, 1 / 8), 32),
    "SqueezeNet 1.1": (networks.squeezenet, 1_235_496, partial(networks.squeezenet, 10, 1 / 4), 32),
    "YOLO-Tiny": (networks.YoloTiny, 8_852_366, partial(networks.YoloTiny, 3, 1 / 16), 32),
    "YOLO": (networks.Yolo, 61_949_149, partial(networks.Yolo, 3, 1 / 16), 32),
    "ViT": (
        networks.VisionTransformer,
        86_567_656,
        partial(networks.VisionTransformer, 32, 16, 16, 2, 2, 10),
        32,
    ),
    "language model": (
        networks.CausalLanguageModel,
        124_439_808,
        partial(networks.CausalLanguageModel, 31, 16, 16, 2, 2),
        0,
    ),
}
FUNCTIONS = {
    "ResNet-101": ("a sum of feature maps", 33),
    "MobileNetV2": ("a sum of feature maps", 10),
    "DenseNet-201": ("a concatenation", 98),
    "SqueezeNet 1.1": ("a concatenation", 8),
    "YOLO": ("a concatenation", 2),
    "YOLO-Tiny": ("a concatenation", 1),
    "ViT": ("a sum of feature maps", None),
    "language model": ("the matrix products of attention", None),
}


def sample(side: int, seed: int, vocabulary: int = 31) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if side == 0:
        return torch.randint(vocabulary, (4, 6), generator=generator)
    return torch.randn(4, 1 if side == 28 else 3, side, side, generator=generator)


def loss_of(output: Any, x: Tensor) -> Tensor:
    if isinstance(output, list):
        return sum(((each - 1) ** 2).mean() for each in output)
    if output.dim() == 3:
        return F.cross_entropy(output[:, :-1].flatten(0, 1), x[:, 1:].flatten())
    return F.cross_entropy(output, torch.arange(len(output)))


def estimate_statistics(model: nn.Module, x: Tensor) -> None:
    """Give batch normalization the statistics of a batch: random weights with those of none have no useful ranges."""
    normalizations = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in normalizations:
        module.momentum = 1.0
    with torch.no_grad():
        model.train()(x)
    for module in normalizations:
        module.momentum = 0.1
    model.eval()


def check(name: str, model: nn.Module, side: int, storage: str) -> None:
    errors, x = eden.Uniform(1e-3), sample(side, 1)
    estimate_statistics(model, x)
    stored = {key: value.clone() for key, value in model.state_dict().items()}
    eden.inject_(model, eden.Faults(errors, errors, storage, "zero"))
    eden.calibrate_(model, [sample(side, 0), x])
    assert all(torch.equal(value, stored[key]) for key, value in model.state_dict().items())

    # One step of training, under a curriculum.
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    curriculum = eden.Curriculum(model, target_ber=1e-3, epochs=2, epochs_per_step=1)
    model.train()
    layer = next(module for module in model.modules() if isinstance(module, FaultyLayer))
    chip = int(layer.eden_training_chip)
    loss = loss_of(model(x), x)
    loss.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    optimizer.step()
    curriculum.step()
    assert int(layer.eden_training_chip) != chip
    assert all(info.errors.ber == pytest.approx(1e-3) for info in eden.operands(model).values())

    # One evaluation, which finds errors where reliable memory has none.
    model.eval()
    with torch.inference_mode():
        faulty = loss_of(model(x), x)
        with eden.clean(model):
            assert loss_of(model(x), x) != faulty
    assert torch.isfinite(faulty)

    # Everything is named, and every operand was read each time.
    coverage = eden.coverage(model, sample=x)
    rows = {row.name: row for row in coverage.rows}
    assert all(row.bytes for row in coverage.faulty)
    for info in eden.operands(model).values():
        assert rows[info.name].loads == 2 * len(info.layers), "once in each pass by each layer that reads it"
    tied = {"tokens.weight"}  # one operand, head.weight
    for key, _ in [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]:
        if ".eden_" not in key and key not in tied:
            assert key in rows
    assert all(row.note for row in coverage.reliable)
    for key, module in model.named_modules():
        if list(module.parameters(recurse=False)):
            assert any(row.rpartition(".")[0] == key for row in rows)
    notes = {row.note for row in coverage.reliable if row.kind != "function"}
    allowed = ("biases are reliable", " is reliable", "a counter", "indices are", "outside of any layer", "stay inside")
    assert all(any(part in note for part in (*allowed, "normalization reads")) for note in notes), notes
    if name in FUNCTIONS:
        what, count = FUNCTIONS[name]
        uses = [use for use in function_uses(model, x) if use.what == what and use.feature_maps > 1]
        assert uses
        assert count is None or sum(use.calls for use in uses) == count
        named = [row.note for row in coverage.reliable if row.kind == "function"]
        assert sum(note.startswith(what) for note in named) == len(uses)
    else:
        assert not [row for row in coverage.reliable if row.kind == "function"]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_a_narrow_network_trains_and_runs_under_faults(name, storage):
    _, _, narrow, side = NETWORKS[name]
    check(name, narrow(), side, storage)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_full_width_trains_and_runs_under_faults(name):
    whole, _, _, side = NETWORKS[name]
    check(name, whole(), 224 if name == "ViT" else side, "int8")


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_have_the_parameters_of_their_papers(name):
    whole, parameters, _, _ = NETWORKS[name]
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in whole().parameters()) == parameters


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
