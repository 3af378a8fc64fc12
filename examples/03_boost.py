"""Boost: retrain a network under errors that rise as far as it can follow, in a training loop of one's own.

The curriculum is told what errors may cost, and given samples that training does not see. It finds the rate, and never
leaves a network that tolerates less than the one that it was given. Accuracy is that over ten chips on which the
network was never trained.

Expected output (figures after ~ differ from machine to machine):

    before boosting: without errors ~96.3%, at 1e-03 ~96.4%, at 3e-03 ~96.3%, at 1e-02 ~92.8%
    after boosting: without errors ~97.2%, at 1e-03 ~97.1%, at 3e-03 ~96.6%, at 1e-02 ~94.7%
    boosting helps at 1e-2: True
    the loaded network reads the same errors: True
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
from eden.tolerance.evaluation import clean_accuracy

BOOST_EPOCHS = 24


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def fit(model: nn.Module, data: TensorDataset, epochs: int, rate: float, curriculum: eden.Curriculum | None) -> None:
    """A training loop as anyone writes it; the curriculum is stepped like a learning-rate scheduler."""
    loader = DataLoader(data, batch_size=64, shuffle=True, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * len(loader))
    for _ in range(epochs):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            scheduler.step()
        if curriculum is not None:
            curriculum.step()
    model.eval()


def show(name: str, model: nn.Module, validation: TensorDataset) -> dict[float, float]:
    # These chips are drawn for evaluation; no curriculum trains on them.
    found = {rate: eden.evaluate(model, validation, ber=rate, chips=10).mean for rate in (1e-3, 3e-3, 1e-2)}
    print(f"{name}: without errors {clean_accuracy(model, validation):.1%}", end="")
    print("".join(f", at {rate:.0e} {mean:.1%}" for rate, mean in found.items()))
    return found


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    whole, validation = digits()
    train_set, held_out = (
        TensorDataset(*(tensor[part] for tensor in whole.tensors)) for part in (slice(800), slice(800, None))
    )
    model = network()
    fit(model, train_set, epochs=20, rate=0.1, curriculum=None)

    # Weights as a sign and a magnitude, inputs unsigned: flips harm these codes least.
    eden.inject_(model, eden.Faults.int8(eden.Uniform(ber=1e-2), seed=0))
    eden.calibrate_(model, train_set.tensors[0][:500].split(100))
    before = show("before boosting", model, validation)

    curriculum = eden.Curriculum(model, max_drop=0.02, validation=held_out, epochs=BOOST_EPOCHS)
    fit(model, train_set, epochs=BOOST_EPOCHS, rate=0.05, curriculum=curriculum)
    after = show("after boosting", model, validation)
    print(f"boosting helps at 1e-2: {after[1e-2] > before[1e-2]}")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "boosted.safetensors"
        eden.save(model, path)
        loaded = eden.load_(network(), path).eval()
    x = validation.tensors[0]
    print(f"the loaded network reads the same errors: {torch.equal(loaded(x), model(x))}")


if __name__ == "__main__":
    main()
