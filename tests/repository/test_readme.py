"""Do the ten lines of the README give a network that tolerates errors, a placement and a report?"""

import re
from pathlib import Path

import pytest
import tiny_task
import torch
from torch import nn
from torch.utils.data import DataLoader

import eden

README = Path(__file__).parents[2] / "README.md"

pytestmark = pytest.mark.usefixtures("one_thread")


def train_one_epoch(model: nn.Module, loader: DataLoader[tuple[torch.Tensor, ...]]) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.eval()


def test_the_ten_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = re.search(r"^## Ten lines\n\n```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert lines is not None
    train_set, validation = tiny_task.data()
    model = tiny_task.network()
    loader = DataLoader(train_set, batch_size=tiny_task.BATCH)
    for _ in range(tiny_task.TRAIN_EPOCHS):
        train_one_epoch(model, loader)
    # The statement that takes observations is asked less: a tenth of a point of drop would take minutes.
    text = lines[1].replace(
        "max_drop=0.01, confidence=0.95", "max_drop=0.1, confidence=0.8, search=eden.Search(effort=1.5)"
    )
    assert text != lines[1]
    names = {
        "model": model,
        "loader": loader,
        "validation_loader": DataLoader(validation, batch_size=32),
        "held_out_loader": DataLoader(train_set, batch_size=32),
        "train_one_epoch": train_one_epoch,
    }
    exec(text, names)
    tolerance, placement = names["tolerance"], names["placement"]
    assert isinstance(tolerance, eden.Tolerance)
    assert isinstance(placement, eden.Placement)
    assert min(tolerance.limits.values()) > 1e-4
    assert any(placement.ber.values())
    assert "Tolerance per operand" in (tmp_path / "out" / "index.html").read_text()
