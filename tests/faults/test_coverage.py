"""Is everything that no fault reaches named?"""

import torch
from faulty_networks import ERRORS
from torch import nn

import eden


class OwnAttention(nn.MultiheadAttention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x, x, x)[0]


def test_coverage_names_everything():
    model = nn.ModuleDict(
        {
            "conv": nn.Conv2d(1, 2, 3),
            "norm": nn.BatchNorm2d(2),
            "attention": OwnAttention(4, 2),
            "activation": nn.PReLU(),
            "fc": nn.Linear(4, 2),
        }
    )
    eden.inject_(model, eden.Faults(weights=ERRORS), filter_fn=lambda name, _: name != "fc")
    rows = {row.name: row for row in eden.coverage(model).rows}
    assert rows["conv.weight"].faulty
    assert {name for name, row in rows.items() if row.faulty} == {"conv.weight"}
    named = set(rows)
    for name, _ in model.named_parameters():
        assert name in named
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert rows[f"norm.{name}"].kind == "buffer"
    for layer in ("conv", "norm", "attention", "activation", "fc", "attention.out_proj"):
        assert f"{layer}.input" in named
    assert rows["norm.weight"].note == "BatchNorm2d is reliable"
    assert rows["activation.weight"].note == "PReLU is reliable"
    assert rows["attention.in_proj_weight"].note == "OwnAttention computes its own forward"
    assert rows["conv.bias"].note == "biases are reliable"
    assert rows["fc.weight"].note == "filter_fn left the layer out"
    assert "nn.MultiheadAttention reads its weight" in rows["attention.out_proj.weight"].note
    assert "Faults gave no error model for inputs" in rows["conv.input"].note
    text = str(eden.coverage(model))
    assert all(name in text for name in named)
    assert "under faults: 1 operands, 72 bytes" in text


def test_coverage_names_reliable_readers_of_a_tied_weight():
    model = nn.ModuleDict(
        {"embedding": nn.Embedding(6, 4), "head": nn.Linear(4, 6, bias=False), "other": nn.Linear(4, 6, bias=False)}
    )
    model["head"].weight = model["other"].weight = model["embedding"].weight
    eden.inject_(model, eden.Faults(weights=ERRORS), filter_fn=lambda name, _: name == "head")
    rows = {row.name: row for row in eden.coverage(model).rows}
    assert rows["head.weight"].faulty
    assert rows["embedding.weight"].note == "filter_fn left the layer out; tied to head.weight"
    assert rows["other.weight"].note == "filter_fn left the layer out; tied to head.weight"
    assert not rows["embedding.weight"].faulty
    assert eden.coverage(model).reliable_bytes == 0
