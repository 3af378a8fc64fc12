"""Boost in a loop of one's own that can be killed: adaptive rates, a checkpoint an epoch, and the same bits in the end.

Expected output (figures after ~ differ from machine to machine):

    undisturbed: rates ~1e-03, ~2e-03, ~4e-03, ~8e-03, ~1e-02, ~1e-02, ~1e-02, ~1e-02
    killed after epoch 3
    resumed: rates ~8e-03, ~1e-02, ~1e-02, ~1e-02, ~1e-02
    the same bits: True
    at 1e-02: before boosting ~48.3%, after ~77.7%
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import eden
from eden.app.datasets import digits
from eden.app.models import ResNet

EPOCHS = 8
TARGET = 1e-2


def network(train_set: TensorDataset) -> nn.Module:
    """A network that is trained on reliable memory, then put under faults."""
    torch.manual_seed(0)
    model = ResNet(blocks=1, channels=8, image_channels=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=200)
    loader = DataLoader(train_set, batch_size=64, shuffle=True)
    while scheduler.last_epoch < 199:
        for x, y in loader:
            if scheduler.last_epoch < 199:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                scheduler.step()
    errors = eden.Uniform(ber=TARGET)
    eden.inject_(model, eden.Faults(weights=errors, inputs=errors, storage="int8", correction="zero", seed=0))
    eden.calibrate_(model, train_set.tensors[0][:500].split(100))
    return model


def boost(model: nn.Module, train_set: TensorDataset, checkpoint: Path, killed_after: int | None = None) -> list[float]:
    """A loop as anyone writes it; four lines make it go on where it stopped. Returns the rates of its epochs."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    # The rate doubles after each epoch whose loss is at most 0.45, three times the reference.
    options = {"schedule": "adaptive", "start_ber": 1e-3, "reference": 0.15, "recovery": 2.0}
    curriculum = eden.Curriculum(model, TARGET, EPOCHS, **options)
    progress = {"epochs": 0}
    torch.manual_seed(1)
    if checkpoint.exists():
        eden.load_checkpoint_(model, checkpoint, optimizer, scheduler, curriculum, progress)
    rates = []
    for epoch in range(progress["epochs"], EPOCHS):
        rates.append(curriculum.ber)
        model.train()
        for x, y in DataLoader(train_set, batch_size=64, shuffle=True):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            curriculum.report(loss=float(loss.detach()))
        scheduler.step()
        curriculum.step()
        progress["epochs"] = epoch + 1
        eden.save_checkpoint(model, checkpoint, optimizer, scheduler, curriculum, progress)
        if epoch + 1 == killed_after:
            break
    model.eval()
    return rates


def accuracy(model: nn.Module, validation: TensorDataset) -> float:
    return eden.evaluate(model, validation, ber=TARGET, chips=10).mean


def show(rates: list[float]) -> str:
    return ", ".join(f"{rate:.0e}" for rate in rates)


def main() -> None:
    torch.set_num_threads(1)
    train_set, validation = digits()
    model = network(train_set)
    before = accuracy(model, validation)
    with tempfile.TemporaryDirectory() as folder:
        whole, parts = Path(folder) / "whole.safetensors", Path(folder) / "parts.safetensors"
        print("undisturbed: rates", show(boost(model, train_set, whole)))
        boost(network(train_set), train_set, parts, killed_after=3)
        print("killed after epoch 3")
        again = network(train_set)  # as a new process makes it
        print("resumed: rates", show(boost(again, train_set, parts)))
    theirs = again.state_dict()
    print(f"the same bits: {all(torch.equal(value, theirs[name]) for name, value in model.state_dict().items())}")
    print(f"at {TARGET:.0e}: before boosting {before:.1%}, after {accuracy(model, validation):.1%}")


if __name__ == "__main__":
    main()
