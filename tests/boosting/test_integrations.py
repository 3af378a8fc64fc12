"""Do the callbacks step a curriculum at the hooks that the libraries document, and go on from their checkpoints?

The libraries are not among the development dependencies: stand-ins call the documented hooks, with the documented
arguments, in the documented order. Where the libraries are installed, their own Trainers are run too.
"""

import importlib
import io
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_task
import torch
from torch import nn

import eden
from eden.common.files import FileError

pytestmark = pytest.mark.usefixtures("one_thread")

EPOCHS = 4
MIXTURE = {"clean_share": 0.3, "floor_ber": 1e-4}
Make = Callable[[nn.Module], eden.Curriculum]


def network() -> nn.Module:
    model = tiny_task.network()
    errors = eden.Uniform(1e-3, failure=0.5)
    eden.inject_(model, eden.Faults(errors, errors, "int8", "zero"))
    eden.calibrate_(model, [tiny_task.data()[0].tensors[0]])
    return model


def scheduled(model: nn.Module) -> eden.Curriculum:
    return eden.Curriculum(model, 1e-2, EPOCHS, 1, **MIXTURE)


def adaptive(model: nn.Module) -> eden.Curriculum:
    return eden.Curriculum(model, 1e-2, EPOCHS, 1, schedule="adaptive", start_ber=1e-3, recovery=0.3, **MIXTURE)


def found(model: nn.Module) -> eden.Curriculum:
    return eden.Curriculum(model, max_drop=0.2, validation=tiny_task.data()[1], epochs=EPOCHS)


def batch(epoch: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = tiny_task.data()[0].tensors
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(10 * epoch + step))[:50]
    return x[chosen], y[chosen]


def rates(model: nn.Module) -> set[float]:
    return {info.errors.ber for info in eden.operands(model).values()}


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int, step: int) -> torch.Tensor:
    x, y = batch(epoch, step)
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


class LightningTrainer:
    """Calls a callback's hooks as Lightning's Trainer.fit does."""

    def __init__(self, callback: Any) -> None:
        self.callback = callback
        self.callback_metrics: dict[str, torch.Tensor] = {}
        self.strategy = SimpleNamespace(reduce=lambda value, reduce_op: value)
        self.validated: list[set[float]] = []

    def fit(self, model: nn.Module, last: int = EPOCHS, checkpoint: dict[str, Any] | None = None) -> dict[str, Any]:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        begin = 0
        if checkpoint is not None:
            begin = checkpoint["epoch"]
            self.callback.load_state_dict(checkpoint["callback"])
        self.callback.on_fit_start(self, model)
        if checkpoint is not None:
            model.load_state_dict(checkpoint["model"])
            optimizer.load_state_dict(checkpoint["optimizer"])
        for epoch in range(begin, last):
            model.train()
            for step in range(4):
                loss = train_step(model, optimizer, epoch, step)
                self.callback.on_train_batch_end(self, model, {"loss": loss}, None, step)
            model.eval()
            self.callback.on_validation_start(self, model)
            self.validated.append(rates(model))
            self.callback_metrics["accuracy"] = torch.tensor(0.5 + 0.1 * (epoch % 2))
            self.callback.on_validation_end(self, model)
            self.callback.on_train_epoch_end(self, model)
        if last == EPOCHS:
            self.callback.on_train_end(self, model)
        return {
            "epoch": last,
            "callback": _kept(self.callback.state_dict()),
            "model": {name: value.clone() for name, value in model.state_dict().items()},
            "optimizer": optimizer.state_dict(),
        }


def _kept(state: dict[str, Any]) -> dict[str, Any]:
    """As a checkpoint of Lightning's keeps it, which executes nothing that it reads."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)  # type: ignore[no-any-return]


class HuggingFaceTrainer:
    """Calls a callback's hooks as Transformers' Trainer.train does with an evaluation and a checkpoint per epoch."""

    def __init__(self, callback: Any, folder: Path) -> None:
        self.callback = callback
        self.args = SimpleNamespace(output_dir=str(folder), resume_from_checkpoint=None, save_strategy="epoch")
        self.validated: list[set[float]] = []

    def fit(self, model: nn.Module, last: int = EPOCHS, checkpoint: dict[str, Any] | None = None) -> dict[str, Any]:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        state = SimpleNamespace(global_step=0, epoch=0.0, is_world_process_zero=True)
        begin = 0
        if checkpoint is not None:
            begin, state.global_step = checkpoint["epoch"], checkpoint["step"]
            model.load_state_dict(checkpoint["model"])
            optimizer.load_state_dict(checkpoint["optimizer"])
        control = SimpleNamespace()
        self.callback.on_train_begin(self.args, state, control, model=model)
        for epoch in range(begin, last):
            model.train()
            for step in range(4):
                loss = train_step(model, optimizer, epoch, step)
                state.global_step += 1
                self.callback.on_log(self.args, state, control, logs={"loss": float(loss.detach()), "epoch": epoch})
            self.callback.on_epoch_end(self.args, state, control)
            self.validated.append(rates(model))
            metrics = {"eval_accuracy": 0.5 + 0.1 * (epoch % 2)}
            self.callback.on_evaluate(self.args, state, control, metrics=metrics)
            if self.args.save_strategy != "no":
                self.callback.on_save(self.args, state, control)
        self.callback.on_train_end(self.args, state, control)
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        return {"epoch": last, "step": state.global_step, "model": weights, "optimizer": optimizer.state_dict()}


def modules() -> dict[str, types.ModuleType]:
    """Stand-ins of the libraries, with nothing but the classes that callbacks derive from."""
    lightning, inner, transformers = (
        types.ModuleType(name) for name in ("lightning", "lightning.pytorch", "transformers")
    )
    inner.Callback = type("Callback", (), {})  # type: ignore[attr-defined]
    lightning.pytorch = inner  # type: ignore[attr-defined]
    transformers.TrainerCallback = type("TrainerCallback", (), {})  # type: ignore[attr-defined]
    return {"lightning": lightning, "lightning.pytorch": inner, "transformers": transformers}


@pytest.fixture
def trainer_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Makes the trainer of a library with a callback."""
    for name, module in modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    names = ("eden.boosting.lightning", "eden.boosting.transformers")
    for name in names:
        sys.modules.pop(name, None)

    def of(library: str, make: Make, monitor: str | None = None) -> Any:
        callback = importlib.import_module(f"eden.boosting.{library}").CurriculumCallback(make, monitor)
        return LightningTrainer(callback) if library == "lightning" else HuggingFaceTrainer(callback, tmp_path)

    yield of
    for name in names:
        sys.modules.pop(name, None)


def plainly(make: Make) -> nn.Module:
    """A loop of one's own, without a callback."""
    model = network()
    curriculum = make(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(EPOCHS):
        model.train()
        for step in range(4):
            loss = train_step(model, optimizer, epoch, step)
            if curriculum.schedule == "adaptive":
                curriculum.report(loss=float(loss))
        curriculum.step()
    return model


def same(one: nn.Module, other: nn.Module) -> bool:
    found = dict(other.named_buffers()) | dict(other.named_parameters())
    mine = dict(one.named_buffers()) | dict(one.named_parameters())
    skipped = ("eden_access",)  # how often the network was evaluated
    return all(torch.equal(value, found[name]) for name, value in mine.items() if not name.endswith(skipped))


@pytest.mark.parametrize("library", ["lightning", "transformers"])
@pytest.mark.parametrize("make", [scheduled, adaptive, found])
def test_a_trainer_trains_as_a_plain_loop(library: str, make: Make, trainer_of: Callable[..., Any]) -> None:
    model = network()
    trainer = trainer_of(library, make)
    if make is found and library == "transformers":
        with pytest.raises(ValueError, match=r"the curriculum has no target_ber, .* allowed are save_strategy='no'"):
            trainer.fit(model)
        trainer.args.save_strategy = "no"
    trainer.fit(model)
    assert trainer.callback.curriculum.epoch == EPOCHS
    assert same(model, plainly(make))


@pytest.mark.parametrize("library", ["lightning", "transformers"])
@pytest.mark.parametrize(("make", "metric"), [(scheduled, None), (adaptive, None), (adaptive, "accuracy")])
def test_a_trainer_goes_on_from_its_checkpoint(
    library: str, make: Make, metric: str | None, trainer_of: Callable[..., Any]
) -> None:
    monitor = f"eval_{metric}" if metric and library == "transformers" else metric
    whole, model = network(), network()
    trainer_of(library, make, monitor).fit(whole)
    checkpoint = trainer_of(library, make, monitor).fit(model, last=2)
    again = network()
    trainer_of(library, make, monitor).fit(again, checkpoint=checkpoint)
    assert same(again, whole)


@pytest.mark.parametrize("library", ["lightning", "transformers"])
def test_an_adaptive_curriculum_goes_by_the_metric_at_the_present_rate(
    library: str, trainer_of: Callable[..., Any]
) -> None:
    trainer = trainer_of(library, adaptive, "eval_accuracy" if library == "transformers" else "accuracy")
    trainer.fit(network())
    # 0.5, 0.6, 0.5, 0.6 are all within 0.3 of the first.
    assert [sorted(found) for found in trainer.validated] == [
        pytest.approx([rate]) for rate in (1e-3, 2e-3, 4e-3, 8e-3)
    ]
    missing = trainer_of(library, adaptive, "f1")
    with pytest.raises(ValueError, match=r"monitor is 'f1'; (logged are accuracy|evaluated are eval_accuracy)"):
        missing.fit(network())


def test_the_best_network_comes_back_from_training_that_ends_early(trainer_of: Callable[..., Any]) -> None:
    whole, early = network(), network()
    first = trainer_of("lightning", found)
    checkpoint = first.fit(early, last=2)
    assert first.callback.curriculum.moving
    trainer_of("lightning", found).fit(again := network(), checkpoint=checkpoint)
    trainer_of("lightning", found).fit(whole)
    assert same(again, whole)
    first.callback.on_train_end(first, early)
    assert not first.callback.curriculum.moving
    trainer = trainer_of("transformers", found)
    trainer.args.save_strategy = "no"
    trainer.fit(network(), last=2)
    assert not trainer.callback.curriculum.moving


def test_a_checkpoint_without_its_curriculum_is_refused(trainer_of: Callable[..., Any], tmp_path: Path) -> None:
    checkpoint = trainer_of("transformers", scheduled).fit(network(), last=2)
    path = tmp_path / "checkpoint-8" / "eden-curriculum.json"
    path.write_text('{"epoch": 2}')
    with pytest.raises(
        FileError, match=r"eden-curriculum.json: is damaged or of another curriculum: .* lacks accesses"
    ):
        trainer_of("transformers", scheduled).fit(network(), checkpoint=checkpoint)
    path.unlink()
    with pytest.raises(FileError, match=r"eden-curriculum.json: cannot be read: No such file"):
        trainer_of("transformers", scheduled).fit(network(), checkpoint=checkpoint)


def test_nothing_is_imported_until_it_is_used() -> None:
    script = """
import sys
import eden, eden.boosting
assert not {"lightning", "pytorch_lightning", "transformers"} & set(sys.modules)
for name in ("lightning", "pytorch_lightning", "transformers"):
    sys.modules[name] = None
for name in ("lightning", "transformers"):
    try:
        __import__(f"eden.boosting.{name}")
    except ImportError as error:
        assert "pip install" in str(error), error
    else:
        raise AssertionError(name)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


ADAPTIVE = [(scheduled, None), (adaptive, None), (adaptive, "accuracy")]


@pytest.mark.parametrize(("make", "monitor"), ADAPTIVE)
def test_lightning_itself(make: Make, monitor: str | None, tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    from eden.boosting.lightning import CurriculumCallback

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def training_step(self, samples: list[torch.Tensor], index: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self.network(samples[0]), samples[1])

        def validation_step(self, samples: list[torch.Tensor], index: int) -> None:
            self.log("accuracy", (self.network(samples[0]).argmax(1) == samples[1]).float().mean())
            seen.append(rates(self.network))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)

    path, seen = tmp_path / "half.ckpt", list[set[float]]()

    def fit(epochs: int, going_on: bool = False) -> tuple[nn.Module, Any]:
        module = Module()
        callback = CurriculumCallback(lambda given: make(given.network), monitor)
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            callbacks=[callback],
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        loader = torch.utils.data.DataLoader(tiny_task.data()[0], batch_size=50)
        trainer.fit(module, loader, loader, ckpt_path=path if going_on else None)
        if epochs < EPOCHS:
            trainer.save_checkpoint(path)
        assert callback.curriculum is not None
        return module.network, callback.curriculum

    whole, curriculum = fit(EPOCHS)
    assert (curriculum.epoch, curriculum.optimizer_steps) == (EPOCHS, EPOCHS * tiny_task.STEPS)
    assert all(len(found) == 1 and min(found) > 0 for found in seen), "validated at a present rate"
    assert len({min(found) for found in seen}) == EPOCHS
    fit(2)
    assert same(fit(EPOCHS, going_on=True)[0], whole)


@pytest.mark.parametrize(("make", "monitor"), ADAPTIVE)
def test_transformers_itself(make: Make, monitor: str | None, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from eden.boosting.transformers import CurriculumCallback

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = self.network(inputs)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    x, y = tiny_task.data()[0].tensors
    samples = [{"inputs": inputs, "labels": labels} for inputs, labels in zip(x, y, strict=True)]

    def fit(folder: Path, stop_after: int = EPOCHS, going_on: bool = False) -> tuple[nn.Module, Any]:
        class Stop(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
            def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                control.should_training_stop = state.epoch >= stop_after

        arguments = transformers.TrainingArguments(
            str(folder),
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=50,
            save_strategy="epoch",
            eval_strategy="epoch",
            logging_steps=1,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        model = Model()
        callback = CurriculumCallback(lambda given: make(given.network), monitor and f"eval_{monitor}")
        transformers.Trainer(
            model,
            arguments,
            train_dataset=samples,
            eval_dataset=samples,
            callbacks=[callback, Stop()],
            compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(1) == found.label_ids).mean())},
        ).train(resume_from_checkpoint=True if going_on else None)
        return model.network, callback.curriculum

    whole, curriculum = fit(tmp_path / "whole")
    assert (curriculum.epoch, curriculum.optimizer_steps) == (EPOCHS, EPOCHS * tiny_task.STEPS)
    fit(tmp_path / "half", stop_after=2)
    assert same(fit(tmp_path / "half", going_on=True)[0], whole)
