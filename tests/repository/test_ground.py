"""Does the whole chain still give what it gave: flips, fits, tolerances, placements, accounts and files?

``ground.json`` has what it gave when the rooms of the house were divided. Flips are compared bit by bit, since no
processor may change one. Figures are compared to one part in a million, since processors round; the network is of
whole numbers, so that none scores another class. Write it anew, where a change of results is meant:

    python tests/repository/test_ground.py
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from latency_csv import simulate, write
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import eden
from eden.costs.platforms import PLATFORMS
from eden.memory.errors import ErrorModel

GROUND = Path(__file__).with_suffix("").with_name("ground.json")
CLASSES = 4
CELLS = np.arange(5, 200_000, 997)
MODELS: dict[str, Callable[[], ErrorModel]] = {
    "uniform": lambda: eden.Uniform(ber=1e-3),
    "uniform, transient": lambda: eden.Uniform(ber=1e-2, failure=0.5),
    "uniform, dense": lambda: eden.Uniform(ber=0.2),
    "data-dependent": lambda: eden.DataDependent(ber_zero=1e-3, ber_one=2e-2, failure=0.9),
    "bitline": lambda: eden.Bitline(ber=5e-3, dispersion=0.1),
    "wordline": lambda: eden.Wordline(ber=5e-3, dispersion=0.1, failure=0.5),
    "bitline by value": lambda: eden.Bitline.by_value(ber_zero=2e-3, ber_one=9e-2, dispersion=0.1, marks="opposite"),
    "wordline by value": lambda: eden.Wordline.by_value(0.02, 0.05, 0.1, failure=0.5, marks="apart"),
    "cell map": lambda: eden.CellMap(
        np.arange(5, 200_000, 997), True, np.arange(5, 200_000, 997) % 2 == 0, bits=200_448
    ),
}
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int8, torch.uint8, torch.int16)
STORAGES = ("float32", "float16", "int8", "int8_sign_magnitude", "uint8", "int16", "int4", "sign")


def digest(*tensors: torch.Tensor) -> str:
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def flips() -> dict[str, str]:
    """By error model and dtype, what words of whole numbers are read as, on two chips, at an odd address."""
    found = {}
    for name, make in MODELS.items():
        for dtype in DTYPES:
            words = torch.arange(5_000, dtype=torch.int32).remainder(100).to(dtype)
            reads = [eden.corrupt(words, make(), seed=seed, address=7 * 64, access=abs(seed)) for seed in (0, -5)]
            found[f"{name}, {dtype}"] = digest(*reads)
    return found


def network() -> nn.Module:
    """Two layers of whole numbers, whose products and sums every processor gives alike."""
    model = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, CLASSES))
    with torch.no_grad():
        grid = torch.arange(24 * 16).reshape(24, 16)
        model[0].weight.copy_((grid * 7 % 5 - 2).float())
        model[0].weight[torch.arange(24), torch.arange(24) % CLASSES] = 16.0
        model[2].weight.copy_(torch.where(torch.arange(24) % CLASSES == torch.arange(CLASSES)[:, None], 4.0, -1.0))
        for layer in (model[0], model[2]):
            layer.bias.zero_()
    return model


def samples() -> TensorDataset:
    y = torch.arange(200) % CLASSES
    x = torch.arange(200 * 16).reshape(200, 16).remainder(7).float() - 3.0
    x[torch.arange(200), y] += 9.0
    return TensorDataset(x, y)


def faulty(storage: str = "int16", **options: Any) -> nn.Module:
    errors = eden.DataDependent(1e-3, 3e-3, failure=0.5)
    model = eden.inject_(network(), eden.Faults(weights=errors, inputs=errors, storage=storage, seed=5, **options))
    eden.calibrate_(model, DataLoader(samples(), batch_size=100))
    return model.eval()


def reads() -> dict[str, str]:
    """By storage and correction, the classes that a faulty network gives, and where it was saved the same again."""
    found = {}
    x = samples().tensors[0]
    for storage in STORAGES:
        for correction in ("none", "zero", "clamp"):
            model = faulty(storage, correction=correction)
            with torch.no_grad():
                first, second = model(x).nan_to_num().argmax(1), model(x).nan_to_num().argmax(1)
            found[f"{storage}, {correction}"] = digest(first, second)
    return found


def device(folder: Path) -> eden.Device:
    rates = {10.0: (0.0, 0.0), 7.5: (2e-6, 6e-6), 5.0: (5e-3, 1.5e-2), 2.5: (0.13, 0.23)}
    lines = simulate(np.random.default_rng(11), rates, repeats=4, dispersion=1e-3)
    return eden.fit(write(folder / "campaign.csv", lines))


def chain(folder: Path) -> dict[str, Any]:
    """Files of a fit, a tolerance, a placement, its map, traffic, savings, account and verification, as JSON."""
    fitted = device(folder)
    model = faulty()
    loader = DataLoader(samples(), batch_size=100)
    search = eden.Search(batch_size=50)
    tolerance = eden.profile(model, loader, max_drop=0.05, confidence=0.9, seed=3, search=search, progress=False)
    made: dict[str, Any] = {"device": fitted, "tolerance": tolerance}
    made["placement"] = eden.place(tolerance, fitted, "greedy")
    made["exact"] = eden.place(tolerance, fitted, solver=eden.ExactSolver(platform="gpu"))
    made["traffic"] = eden.traffic(model, platform="eyeriss", inputs=samples().tensors[0][:1])
    made["savings"] = eden.savings(eden.traffic(model, "gpu", repeated=False), made["exact"])
    made["account"] = eden.account([eden.traffic(model, name, repeated=False) for name in PLATFORMS], made["exact"])
    eden.inject_(model, made["exact"])
    made["map"] = eden.memory_map(model, made["exact"], fitted)
    made["verification"] = eden.certify(
        model, loader, max_drop=0.05, confidence=0.9, seed=8, search=search, progress=False
    )
    found = {}
    for name, part in made.items():
        part.save(folder / "part.json")
        found[name] = json.loads((folder / "part.json").read_text())
        found[name].pop("eden_version", None)
        # Digests are of every last digit, and processors round.
        if (provenance := found[name].pop("provenance", None)) is not None:
            found[name]["made"] = {"of": sorted(provenance["of"]), "chips": provenance["chips"]}
    return found


def curriculum() -> list[float]:
    """The rates of a curriculum, epoch by epoch."""
    model = faulty().train()
    steps = eden.Curriculum(model, target_ber=1e-2, epochs=6, epochs_per_step=2, chips="one")
    found = []
    for _ in range(6):
        found.append(steps.ber)
        steps.step()
    return found


def now(folder: Path) -> dict[str, Any]:
    return {"flips": flips(), "reads": reads(), "curriculum": curriculum(), **chain(folder)}


def differing(place: str, was: Any, found: Any) -> Iterator[str]:
    if isinstance(was, dict) and isinstance(found, dict):
        for key in {**was, **found}:
            yield from differing(f"{place}.{key}", was.get(key, "missing"), found.get(key, "missing"))
    elif isinstance(was, list) and isinstance(found, list) and len(was) == len(found):
        for index, (one, other) in enumerate(zip(was, found, strict=True)):
            yield from differing(f"{place}[{index}]", one, other)
    elif isinstance(was, float) and isinstance(found, (int, float)):
        if not math.isclose(was, found, rel_tol=1e-6, abs_tol=1e-12):
            yield f"{place}: {was} was, {found} is"
    elif was != found:
        yield f"{place}: {was!r} was, {found!r} is"


@pytest.mark.usefixtures("one_thread")
def test_the_chain_gives_what_it_gave(tmp_path: Path) -> None:
    changed = list(differing("", json.loads(GROUND.read_text()), json.loads(json.dumps(now(tmp_path)))))
    assert not changed, "\n".join(changed[:20])


def test_a_changed_flip_and_a_changed_figure_are_told() -> None:
    was = json.loads(GROUND.read_text())
    other = json.loads(GROUND.read_text())
    name = next(iter(was["flips"]))
    other["flips"][name] = "0"
    other["tolerance"]["coarse"] *= 1 + 1e-5
    assert [text.split(":")[0] for text in differing("", was, other)] == [f".flips.{name}", ".tolerance.coarse"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        GROUND.write_text(json.dumps(now(Path(scratch)), indent=0) + "\n")
