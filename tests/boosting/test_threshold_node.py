"""Do optical threshold nodes decide as their physics say, with the noise asked for and a gradient to train by?"""

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import nn

import eden

PULSES = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def test_one_node_is_a_gate() -> None:
    together = PULSES.sum(1, keepdim=True)
    assert eden.ThresholdNode(threshold=1.5)(together).flatten().tolist() == [0, 0, 0, 1]  # and
    assert eden.ThresholdNode(threshold=0.5)(together).flatten().tolist() == [0, 1, 1, 1]  # or
    assert eden.ThresholdNode("interference")(together).flatten().tolist() == [0, 1, 1, 0]  # exclusive or
    assert eden.ThresholdNode()(torch.tensor([[0.5]])).item() == 1.0, "the threshold is reached at it"


def test_a_network_of_them_learns_exclusive_or() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(2, 1)
    model = nn.Sequential(linear, eden.ThresholdNode("interference"))
    wanted = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[0.6, 0.5]]))
        linear.bias.fill_(0.6)
    assert not torch.equal(model(PULSES), wanted)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(100):
        optimizer.zero_grad()
        (model(PULSES) - wanted).square().mean().backward()
        optimizer.step()
    assert torch.equal(model(PULSES), wanted)


@pytest.mark.parametrize("kind", ["amplitude", "interference"])
def test_noise_has_the_deviation_asked_for(kind: str) -> None:
    """Emission of 40,000 nodes, within 4.5 standard errors: a false alarm in 1e5 for each of four."""
    torch.manual_seed(1)
    node = eden.ThresholdNode(kind, threshold=0.5, noise=0.25)
    drive = 0.75 if kind == "amplitude" else 2.0 / math.pi * math.asin(math.sqrt(0.75))  # one deviation above
    wanted = 0.5 * (1.0 + math.erf(1.0 / math.sqrt(2.0)))
    for training in (True, False):
        shares = node.train(training)(torch.full((1, 40_000), drive)).mean().item()
        assert abs(shares - wanted) < 4.5 * math.sqrt(wanted * (1.0 - wanted) / 40_000)


def test_noise_is_new_in_training_and_a_samples_own_in_evaluation() -> None:
    node, x = eden.ThresholdNode(noise=1.0), 1e-3 * torch.rand(40, 5, 10, generator=torch.Generator().manual_seed(3))
    assert not torch.equal(node(x), node(x))
    node.eval()
    before = torch.random.get_rng_state()
    first = node(x)
    assert torch.equal(before, torch.random.get_rng_state()), "evaluation takes nothing of torch's generator"
    assert torch.equal(torch.cat([node(part) for part in x.flip(0).split(7)]).flip(0), first), (
        "however they are batched"
    )
    assert not torch.equal(first, eden.ThresholdNode(noise=1.0, seed=1).eval()(x))
    assert len({tuple(row) for row in first.flatten(1).tolist()}) == 40, "samples have noise of their own"
    x[3, 0, 0] += 1e-3
    changed = (node(x) != first).flatten(1).any(1)
    assert changed.tolist() == [sample == 3 for sample in range(40)]
    assert torch.equal(torch.compile(node, fullgraph=True, backend="eager")(x), node(x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_noise_is_independent_of_node_and_sample(dtype: torch.dtype) -> None:
    """Sums over samples and over nodes of 200 by 200 signs, and neighbours' products: a false alarm in 1e5 a test."""
    drive = (torch.arange(1, 201).to(dtype) * 2.0**-18)[:, None].expand(200, 200)
    signs = 2.0 * eden.ThresholdNode(threshold=0.0, noise=1e6).eval()(drive).double() - 1.0
    for sums, terms in ((signs.sum(), 40_000), (signs.sum(0), 200), (signs.sum(1), 200)):
        assert float(sums.abs().max()) < 5.5 * math.sqrt(terms)
    for products in (signs[1:] * signs[:-1], signs[:, 1:] * signs[:, :-1]):
        assert abs(float(products.sum())) < 4.5 * math.sqrt(products.numel())


def test_the_gradient_is_straight_through() -> None:
    x = torch.tensor([[-0.6, -0.4, 0.2, 1.4, 1.6]], dtype=torch.float64, requires_grad=True)
    eden.ThresholdNode()(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0, 1, 1, 1, 0]]
    x.grad = None
    eden.ThresholdNode("interference")(x).sum().backward()
    torch.testing.assert_close(x.grad, 0.5 * math.pi * torch.sin(math.pi * x.detach()))


def test_nodes_are_counted_for_a_sample() -> None:
    node = eden.ThresholdNode()
    assert node.nodes == 0
    for batch in (1, 7):
        node(torch.zeros(batch, 3, 4))
        assert node.nodes == 12
    again = pickle.loads(pickle.dumps(copy.deepcopy(node)))
    assert (again.nodes, again.kind, again.threshold) == (12, "amplitude", 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "phase"}, "kind is 'phase'; allowed are amplitude, interference"),
        ({"noise": -0.1}, "noise is -0.1; allowed is a finite number from 0"),
        ({"noise": math.nan}, "noise is nan"),
        ({"threshold": "high"}, "threshold is 'high'; allowed is a finite number"),
        ({"kind": "interference", "threshold": 1.5}, "threshold is 1.5; allowed is a finite number from 0 to 1"),
        ({"seed": 2**64}, "seed is 18446744073709551616; allowed is a 64-bit integer"),
    ],
)
def test_what_no_node_is_made_of_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        eden.ThresholdNode(**arguments)


def test_what_drives_no_node_is_refused() -> None:
    with pytest.raises(TypeError, match=r"is torch\.int64; allowed is floating-point"):
        eden.ThresholdNode()(torch.ones(2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"has no dimension; allowed is \(batch, \.\.\.\)"):
        eden.ThresholdNode()(torch.tensor(1.0))


def test_profiles_of_networks_with_noise_are_the_same_again() -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(6, 40), eden.ThresholdNode(noise=0.2), nn.Linear(40, 3)).eval()
    eden.inject_(model, eden.Faults(weights=eden.Uniform(0.02), storage="int8"))
    data = torch.utils.data.TensorDataset(torch.rand(50, 6), torch.randint(3, (50,)))
    first, second = (eden.evaluate(model, data, chips=4) for _ in range(2))
    assert (first.clean, first.mean) == (second.clean, second.mean)


def test_what_noise_and_memory_cost_together_is_certified() -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(6, 40), eden.ThresholdNode(noise=1e-3), nn.Linear(40, 3)).eval()
    eden.inject_(model, eden.Faults(weights=eden.Uniform(0.02), storage="int8"))
    quiet = copy.deepcopy(model)
    quiet[1].noise = 0.0
    inputs = torch.rand(100, 6)
    with eden.clean(quiet):
        data = torch.utils.data.TensorDataset(inputs, quiet(inputs).argmax(1))
    search = eden.Search(coarse_only=True, effort=1.5)
    loader = torch.utils.data.DataLoader(data, batch_size=50)
    found = eden.profile(model, loader, max_drop=0.3, search=search, reference=quiet, progress=False)
    assert found.reference_accuracy == 1.0
    assert found.coarse > 0.0
