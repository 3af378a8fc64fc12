"""A curriculum in a Lightning Trainer.

Hooks as documented for Callback of Lightning 2: https://lightning.ai/docs/pytorch/stable/extensions/callbacks.html
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from eden.boosting.curriculum import Curriculum

try:
    from lightning.pytorch import Callback
except ImportError:
    try:
        from pytorch_lightning import Callback
    except ImportError as error:
        raise ImportError("eden.boosting.lightning needs Lightning; run: pip install lightning") from error


class CurriculumCallback(Callback):  # type: ignore[misc]
    """Makes a network's curriculum when fitting begins, steps it after each epoch, and keeps it in the checkpoints.

    The network has to be under faults and calibrated before: in the module's ``__init__`` or ``configure_model``, or
    before ``fit``, and likewise before going on from a checkpoint, which holds weights and curriculum, not ranges. The
    validation runs at the present rate, whatever the mixture drew for the last step.

    Args:
        make: called with the LightningModule, gives the curriculum of it or of a network in it.
        monitor: name of a logged metric, of which more is better, that an adaptive curriculum goes by; None for the
            training loss of each step.
    """

    def __init__(self, make: Callable[[nn.Module], Curriculum], monitor: str | None = None) -> None:
        super().__init__()
        self.make = make
        self.monitor = monitor
        self.curriculum: Curriculum | None = None
        self._found: dict[str, Any] | None = None
        self._evaluation = contextlib.ExitStack()

    def _present(self) -> Curriculum:
        if self.curriculum is None:
            raise RuntimeError("the curriculum is made when fitting begins")
        return self.curriculum

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Make the curriculum, where a checkpoint left it if there is one."""
        self.curriculum = self.make(pl_module)
        if self._found is not None:
            self.curriculum.load_state_dict(self._found)
            self._found = None

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Tell an adaptive curriculum the loss."""
        curriculum = self._present()
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if curriculum.schedule == "adaptive" and self.monitor is None and isinstance(loss, Tensor):
            curriculum.report(loss=float(trainer.strategy.reduce(loss.detach(), reduce_op="mean")))

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Bring the network to the present rate."""
        if self.curriculum is not None:
            self._evaluation.enter_context(self.curriculum.present())

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Go back to what the mixture drew."""
        self._evaluation.close()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Step the curriculum.

        Raises:
            ValueError: if the metric was not logged.
        """
        curriculum = self._present()
        if self.monitor is not None:
            metrics = trainer.callback_metrics
            if self.monitor not in metrics:
                raise ValueError(f"monitor is {self.monitor!r}; logged are {', '.join(sorted(metrics)) or 'none'}")
            curriculum.report(float(metrics[self.monitor]))
        curriculum.step()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """End a curriculum that finds its rate, amid its epochs too: the best network comes back."""
        if self._present().tried:
            self._present().end()

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint of Lightning's."""
        if self.curriculum is None:
            return {} if self._found is None else {"curriculum": self._found}
        return {"curriculum": self.curriculum.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint of Lightning's, which restores callbacks before fitting begins."""
        self._found = state_dict.get("curriculum")
