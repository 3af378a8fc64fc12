"""What a training run is a function of, for a checkpoint to be compared by."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from torch import nn
from torch.utils.data import Dataset, TensorDataset

from eden.boosting.batches import samples_of
from eden.boosting.curriculum import Curriculum
from eden.boosting.recipe import Recipe
from eden.faults.calibration import ranges
from eden.faults.digests import described, update_digest
from eden.faults.faulty_layers import layer_operands
from eden.faults.memories import operands


def _digest(value: Any) -> str:
    digest = hashlib.sha256()
    update_digest(digest, value)
    return digest.hexdigest()


def run_identity(
    model: nn.Module,
    dataset: Dataset[Any],
    recipe: Recipe,
    curriculum: Curriculum | None,
    teacher: nn.Module | None,
) -> dict[str, dict[str, Any]]:
    """What a run is a function of, apart from the network's weights; JSON values by group and field."""
    count = samples_of(dataset)
    # Of a dataset that is read sample by sample, a few: the whole may be larger than the memory and slow to read.
    content = (
        dataset.tensors if isinstance(dataset, TensorDataset) else [dataset[i] for i in (0, count // 2, count - 1)]
    )
    memory = {
        operand.name: [operand.storage, operand.correction, int(layer.eden_chip)]
        for layer, operand in layer_operands(model)
    }
    known = ranges(model) if memory else {}
    placed = {
        operand.name: [
            operand.address,
            operand.affine,
            operand.channels,
            operand.contiguous,
            described(operand.memory) if curriculum is None else None,  # whose settings hold them
        ]
        for layer, operand in layer_operands(model)
    }
    inputs = [
        name for name, info in (operands(model) if memory else {}).items() if info.kind == "input" and name in known
    ]
    identity = {
        "recipe": dataclasses.asdict(recipe),
        "dataset": {"samples": count, "digest": _digest(content)},
        "curriculum": {"given": curriculum is not None, **(curriculum.settings() if curriculum is not None else {})},
        "faults": memory,
        "memory": placed,
        "ranges": {name: list(known[name]) for name in inputs},
        "teacher": {"digest": None if teacher is None else _digest(dict(teacher.state_dict()))},
    }
    return json.loads(json.dumps(identity))  # type: ignore[no-any-return]
