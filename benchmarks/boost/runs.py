"""One run of an experiment: a recipe with overrides, retrained once and kept, and what it is judged by."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasks import folder
from torch import nn
from torch.utils.data import TensorDataset

import eden
from eden.app.recipe import RetrainRecipe
from eden.app.retrain import retrain
from eden.app.tasks import load_task
from eden.common.files import write_text


def _toml(value: Any) -> str:
    """A number, a text or a table of them as TOML writes it in one line; as JSON does but for the table."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {json.dumps(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


@dataclasses.dataclass(frozen=True)
class Run:
    """A retraining: the recipe's file, and what is set over it, as ``eden retrain FILE --set key=value`` takes it."""

    name: str
    recipe: str
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def load(self) -> RetrainRecipe:
        """The recipe."""
        path = Path(__file__).parent / "recipes" / self.recipe
        return RetrainRecipe.load(path, tuple(self.overrides.items()))

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        return folder() / "runs" / self.name

    @property
    def command(self) -> str:
        """What repeats the retraining alone."""
        settings = "".join(f" --set '{key}={_toml(value)}'" for key, value in self.overrides.items())
        return f"eden retrain benchmarks/boost/recipes/{self.recipe} --out {self.folder}{settings}"

    def networks(self) -> tuple[nn.Module, nn.Module]:
        """The network before and after, under the recipe's errors; retrained if it was not yet."""
        recipe = self.load()
        task = load_task(recipe.task)
        kept = self.folder / "boosted.safetensors"
        if kept.exists():
            recipe.resolved(task).compare(self.folder / "recipe.toml")
        else:
            print(f"# {self.command}", flush=True)
            retrain(recipe, self.folder, resume=True, say=lambda text: print(f"# {self.name}: {text}", flush=True))
        before, after = (
            eden.load_(task.model(), self.folder / f"{which}.safetensors") for which in ("baseline", "boosted")
        )
        return before, after

    def data(self) -> TensorDataset:
        """What the run is judged on."""
        return load_task(self.load().task).data()[1]


def kept(path: Path, compute: Callable[[], Any]) -> Any:
    """What a file keeps; computed and written if there is none. JSON."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(compute()))
    return json.loads(path.read_text())
