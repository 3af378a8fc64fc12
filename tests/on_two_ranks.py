"""Run by torchrun on two gloo ranks (test_distributed.py): trains, profiles; each rank writes what it found."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import tiny_profile
import tiny_task
import torch
import torch.distributed
from torch import nn

import eden
from eden.boosting.recipe import Recipe
from eden.boosting.training import train
from eden.common.ranks import RankError
from eden.faults.faulty_layers import faulty_layers
from eden.faults.metrics import METRICS

RECIPE = Recipe(
    epochs=3,
    learning_rate=0.05,
    batch_size=35,  # the last batch has 5 samples, of which the ranks have 3 and 2
    seed=3,
    learn_ranges=True,
    range_decay=0.01,
    clean_loss=0.2,
    accumulate=3,
)


def network() -> nn.Module:
    """Without batch norm, which takes the statistics of a rank's own samples."""
    model = tiny_task.network()
    model[1] = nn.Identity()
    errors = eden.DataDependent(1e-3, 3e-3, failure=0.5)
    eden.inject_(model, eden.Faults(errors, errors, "int8", "zero", seed=5))
    eden.calibrate_(model, [tiny_task.data()[0].tensors[0]])
    return model


def curriculum_of(model: nn.Module) -> eden.Curriculum:
    return eden.Curriculum(model, 1e-2, RECIPE.epochs, 1, seed=7, clean_share=0.2, floor_ber=1e-3, schedule="adaptive")


class Chips:
    """The chips and rates that a rank trained on, step by step."""

    def __init__(self, model: nn.Module, curriculum: eden.Curriculum) -> None:
        self.layer = next(iter(faulty_layers(model).values()))
        self.curriculum = curriculum
        self.seen: list[tuple[int, float]] = []

    def note(self) -> None:
        self.seen.append((int(self.layer.eden_training_chip), self.curriculum.step_ber))


def result(model: nn.Module, chips: Chips, **more: Any) -> dict[str, Any]:
    weights = {name: value.tolist() for name, value in model.state_dict().items()}
    return {"weights": weights, "chips": chips.seen, **more}


def alone_or_ddp(checkpoint: Path, stop_at: int | None = None, resume: bool = False) -> dict[str, Any]:
    """Each step of ``train``, by DistributedDataParallel where there are ranks."""
    model = network()
    curriculum = curriculum_of(model)
    chips = Chips(model, curriculum)

    def on_step(done: int, total: int) -> None:
        chips.note()
        if done == stop_at:
            raise KeyboardInterrupt

    options: dict[str, Any] = {"checkpoint": checkpoint, "resume": resume, "checkpoint_every": 4, "on_step": on_step}
    try:
        history = train(model, tiny_task.data()[0], RECIPE, curriculum, tiny_task.jitter, **options)
    except KeyboardInterrupt:
        history = []
    ranges = [list(pair) for pair in eden.ranges(model).values()]
    return result(model, chips, losses=[epoch.loss for epoch in history], ranges=ranges)


def dropped(checkpoint: Path, stop_at: int | None = None) -> dict[str, Any]:
    """What a layer of dropout let through at each step, of a run that an earlier one may have begun."""
    model = network()
    model.append(nn.Dropout(0.5))
    masks: list[list[bool]] = []

    def keep(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        if torch.is_grad_enabled():  # no look at the reads beforehand
            masks.append((output != 0).flatten().tolist())

    model[-1].register_forward_hook(keep)

    def on_step(done: int, total: int) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    recipe = Recipe(epochs=1, learning_rate=0.05, batch_size=32, seed=3)
    with contextlib.suppress(KeyboardInterrupt):
        train(
            model, tiny_task.data()[0], recipe, checkpoint=checkpoint, resume=True, checkpoint_every=3, on_step=on_step
        )
    return result(model, Chips(model, curriculum_of(model)), masks=masks)


def fsdp(kind: str) -> dict[str, Any]:
    """A loop of one's own over a network whose Parameters are sharded."""
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    model = network()
    if kind == "fsdp2":
        from torch.distributed.fsdp import fully_shard
        from torch.distributed.tensor import DTensor, init_device_mesh

        mesh = init_device_mesh("cpu", (ranks,))
        for layer in faulty_layers(model).values():
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        wrapped: nn.Module = model
        assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
    else:
        from torch.distributed.fsdp import FullyShardedDataParallel

        wrapped = FullyShardedDataParallel(model, use_orig_params=True, device_id=torch.device("cpu"))
    curriculum = eden.Curriculum(model, 1e-2, 2, 1, seed=7)
    chips = Chips(model, curriculum)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.05, momentum=0.9)
    x, y = tiny_task.data()[0].tensors
    wrapped.train()
    for epoch in range(2):
        for step in range(4):
            chips.note()
            first = 50 * step
            own = torch.arange(first, first + 50)[rank::ranks]
            optimizer.zero_grad()
            nn.functional.cross_entropy(wrapped(x[own]), y[own]).backward()
            optimizer.step()
        assert curriculum.optimizer_steps == 4 * (epoch + 1)
        curriculum.step()
    if kind == "fsdp2":
        weights = {name: value.full_tensor().tolist() for name, value in model.state_dict().items()}
        refused = ""
        try:
            eden.save_checkpoint(model, Path(sys.argv[1]) / "sharded.safetensors")
        except TypeError as error:
            refused = str(error)
    else:
        from torch.distributed.fsdp import FullyShardedDataParallel

        with FullyShardedDataParallel.summon_full_params(wrapped):
            weights = {name: value.tolist() for name, value in wrapped.module.state_dict().items()}
        refused = ""
    return {"weights": weights, "chips": chips.seen, "refused": refused}


def plain() -> dict[str, Any]:
    """The same loop as ``fsdp`` in one process."""
    model = network()
    curriculum = eden.Curriculum(model, 1e-2, 2, 1, seed=7)
    chips = Chips(model, curriculum)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x, y = tiny_task.data()[0].tensors
    model.train()
    for _ in range(2):
        for step in range(4):
            chips.note()
            optimizer.zero_grad()
            nn.functional.cross_entropy(
                model(x[50 * step : 50 * (step + 1)]), y[50 * step : 50 * (step + 1)]
            ).backward()
            optimizer.step()
        curriculum.step()
    return result(model, chips)


def profiles(folder: Path) -> dict[str, Any]:
    """Profiles shared by the ranks: whole, with a budget, and one whose metric fails on the last rank, resumed."""
    group = torch.distributed.group.WORLD
    rank = torch.distributed.get_rank()
    fast: dict[str, Any] = {**tiny_profile.FAST, "effort": 2.0, "group": group}
    coarse = {**fast, "coarse_only": True}
    calls = itertools.count()

    def failing(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if rank == 1 and next(calls) == 60:
            raise OSError("out of order")
        return METRICS["top1"](output, target)

    failing.__qualname__ = "top1"
    steps: list[int] = []
    network, loader = tiny_profile.make_network, tiny_profile.loader
    whole = tiny_profile.profile(network(), loader(), **{**fast, "progress": lambda step: steps.append(step.trial)})
    budgeted = tiny_profile.profile(network(), loader(), observations=450, **fast)
    journal = folder / "journal"
    refused = []
    try:
        tiny_profile.profile(network(), loader(), journal=journal, **{**coarse, "metric": failing})
    except (OSError, RankError) as error:
        refused.append(f"{type(error).__name__}: {error}")
    resumed = tiny_profile.profile(network(), loader(), journal=journal, **{**coarse, "metric": "top1"})
    try:
        tiny_profile.profile(network(), loader(), **{**fast, "seed": rank})
    except ValueError as error:
        refused.append(str(error))
    found = {"whole": whole, "budgeted": budgeted, "resumed": resumed}
    return {**{name: each.model_dump(mode="json") for name, each in found.items()}, "refused": refused, "steps": steps}


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    try:
        found = {
            "whole": alone_or_ddp(folder / "whole.safetensors"),
            "stopped": alone_or_ddp(folder / "stopped.safetensors", stop_at=15),
            "resumed": alone_or_ddp(folder / "stopped.safetensors", resume=True),
            "dropped": dropped(folder / "dropped.safetensors"),
            "begun": dropped(folder / "begun.safetensors", stop_at=4),
            "ended": dropped(folder / "begun.safetensors"),
            "profiles": profiles(folder),
            "fsdp1": fsdp("fsdp1"),
            "fsdp2": fsdp("fsdp2"),
        }
        rank = os.environ["RANK"]
        (folder / f"rank{rank}.json").write_text(json.dumps(found))
    finally:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    # What torch still holds of meshes' groups would be torn down by the interpreter's end, where their threads may run.
    os._exit(0)
