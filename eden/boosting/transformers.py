"""A curriculum in a Hugging Face Trainer.

Hooks as documented for TrainerCallback: https://huggingface.co/docs/transformers/main_classes/callback
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from eden.boosting.curriculum import Curriculum
from eden.common.files import FileError, read_text, write_text

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise ImportError("eden.boosting.transformers needs Transformers; run: pip install transformers") from error

STATE_NAME = "eden-curriculum.json"
"""What the curriculum's state is called in a checkpoint's folder."""


class CurriculumCallback(TrainerCallback):  # type: ignore[misc]
    """Makes a network's curriculum when training begins, steps it after each epoch, and keeps it in the checkpoints.

    The network has to be under faults and calibrated before the Trainer gets it, and likewise before going on from a
    checkpoint, which holds weights and curriculum, not ranges. Going on finds ``eden-curriculum.json`` in the folder
    of the checkpoint: that of ``args.resume_from_checkpoint`` if it is a path, or the one of the step in
    ``args.output_dir``.

    Args:
        make: called with the network, gives its curriculum.
        monitor: name of a metric of the evaluation, such as "eval_accuracy", of which more is better, that an adaptive
            curriculum goes by, evaluated once after each epoch (``eval_strategy="epoch"``); None for the logged loss.
    """

    def __init__(self, make: Callable[[nn.Module], Curriculum], monitor: str | None = None) -> None:
        self.make = make
        self.monitor = monitor
        self.curriculum: Curriculum | None = None
        self._evaluation = contextlib.ExitStack()
        self._ended = False  # an epoch, whose evaluation is still to come

    def _present(self) -> Curriculum:
        if self.curriculum is None:
            raise RuntimeError("the curriculum is made when training begins")
        return self.curriculum

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Make the curriculum, where the checkpoint left it if the training goes on from one.

        Raises:
            FileError: if the checkpoint has none, or one of another curriculum.
            ValueError: if checkpoints are to be written and the curriculum finds its rate: it holds networks, for which
                a file of numbers has no room.
        """
        self.curriculum = self.make(model)
        strategy = getattr(args, "save_strategy", "steps")
        if self.curriculum.tried and (getattr(strategy, "value", strategy) != "no" or state.global_step > 0):
            self.curriculum.end()
            raise ValueError(
                "the curriculum has no target_ber, and so holds the best network until then, which the Trainer's "
                "checkpoints have no room for; allowed are save_strategy='no', a target_ber, or a loop with "
                "eden.save_checkpoint"
            )
        if state.global_step > 0:
            given = getattr(args, "resume_from_checkpoint", None)
            folder = Path(given) if isinstance(given, str) and Path(given).is_dir() else _folder(args, state)
            path = folder / STATE_NAME
            try:
                self.curriculum.load_state_dict(json.loads(read_text(path)))
            except FileError:
                raise
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise FileError(path, f"is damaged or of another curriculum: {error}") from error

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Tell an adaptive curriculum the loss."""
        if self.monitor is None and self.curriculum is not None and self.curriculum.schedule == "adaptive":
            loss = (logs or {}).get("loss")
            if loss is not None:
                self.curriculum.report(loss=float(loss))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Step the curriculum; with a metric to go by, bring the network to the present rate for its evaluation."""
        if self.monitor is None:
            self._present().step()
        else:
            self._ended = True
            self._evaluation.enter_context(self._present().present())

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Step the curriculum by the metric.

        Raises:
            ValueError: if the evaluation has no such metric.
        """
        if not self._ended:
            return
        self._evaluation.close()
        self._ended = False
        if self.monitor not in (metrics or {}):
            raise ValueError(f"monitor is {self.monitor!r}; evaluated are {', '.join(sorted(metrics or {})) or 'none'}")
        curriculum = self._present()
        curriculum.report(float(metrics[self.monitor]))
        curriculum.step()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End a curriculum that finds its rate, amid its epochs too: the best network comes back."""
        if self._present().tried:
            self._present().end()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the curriculum's state into the folder of the checkpoint."""
        if state.is_world_process_zero:
            folder = _folder(args, state)
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / STATE_NAME, json.dumps(self._present().state_dict()))


def _folder(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"
