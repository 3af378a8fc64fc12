"""Does the chain write every file, go on where it was, and refuse before it computes what cannot end well?"""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tiny_task
import torch

import eden
from eden.accounting import Savings
from eden.chain import RATES, Options, Result, run
from eden.files import FileError
from eden.reporting import AccuracyCurves
from eden.training import Epoch, Recipe

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = Options(max_drop=0.05, confidence=0.9, chips=4)
DEVICE = "ddr3-b33"
FILES = {
    "accuracy.json",
    "baseline.safetensors",
    "boost.safetensors",
    "boosted.safetensors",
    "device.json",
    "index.html",
    "placement.json",
    "profile-baseline.journal",
    "profile-boosted.journal",
    "savings.json",
    "tolerance-baseline.json",
    "tolerance-boosted.json",
    "tolerance.json",
    "train.safetensors",
}


@dataclasses.dataclass
class Done:
    """A chain that has run."""

    folder: Path
    said: list[str]
    result: Result


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("chain") / "new" / "out"
    said: list[str] = []
    return Done(folder, said, run(tiny_task.tiny(), eden.Device.builtin(DEVICE), folder, OPTIONS, said.append))


def test_every_file_is_written_and_read_again(done: Done) -> None:
    assert {path.name for path in done.folder.iterdir()} == FILES
    result = done.result
    assert eden.Device.load(done.folder / "device.json") == eden.Device.builtin(DEVICE)
    assert eden.Tolerance.load(done.folder / "tolerance-baseline.json") == result.baseline
    for name in ("tolerance.json", "tolerance-boosted.json"):
        assert eden.Tolerance.load(done.folder / name) == result.boosted
    assert eden.Placement.load(done.folder / "placement.json") == result.placement
    assert Savings.load(done.folder / "savings.json") == result.savings
    curves = AccuracyCurves.load(done.folder / "accuracy.json")
    assert [(point.label, point.ber) for point in curves.points] == [
        (label, rate) for label in ("baseline", "boosted") for rate in (0.0, *RATES)
    ]
    assert curves.tolerated == {"baseline": result.baseline.coarse, "boosted": result.boosted.coarse}
    assert result.report == done.folder / "index.html"
    assert "tiny on ddr3-b33" in result.report.read_text()


def test_the_networks_are_the_ones_that_were_measured(done: Done) -> None:
    from eden.evaluation import clean_accuracy, with_errors

    validation = tiny_task.data()[1]
    for name, expected in (("baseline", done.result.clean_before), ("boosted", done.result.clean_after)):
        model = eden.load_(tiny_task.network(), done.folder / f"{name}.safetensors")
        assert clean_accuracy(model, validation) == expected
        errors = {info.errors for info in eden.operands(model).values()}
        assert errors == {eden.Device.builtin(DEVICE).errors(trcd=7.5)}
    assert with_errors(model, validation, done.result.placement.memory, 4) == done.result.verified
    assert list(done.result.boosted.limits) == ["0.weight", "0.input", "3.weight", "3.input"]


def test_what_is_said_is_what_was_found(done: Done) -> None:
    text = "\n".join(done.said)
    for sentence in (
        f"device {DEVICE}: at tRCD 7.5 ns BER ",
        f"before boosting it tolerates BER {done.result.baseline.coarse:.2g} in all operands (drop at most 5.0%)",
        f"after boosting: accuracy {done.result.clean_after:.2%} without errors",
        f"accuracy {done.result.verified.mean:.2%} over 4 chips never used before",
        f"report: {done.folder / 'index.html'}",
    ):
        assert sentence in text


def test_running_again_resumes_to_the_same(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eden.training.nn.functional.cross_entropy", lambda *_, **__: pytest.fail("trained again"))
    monkeypatch.setattr("eden.journal.Journal.append", lambda *_: pytest.fail("searched again"))
    names = ("device.json", "tolerance-baseline.json", "tolerance-boosted.json", "placement.json", "savings.json")
    before = {name: (done.folder / name).read_bytes() for name in names}
    again = run(tiny_task.tiny(), eden.Device.builtin(DEVICE), done.folder, OPTIONS, lambda _: None)
    assert dataclasses.replace(again, report=done.result.report) == done.result
    assert {name: (done.folder / name).read_bytes() for name in names} == before


def interrupt_epoch(number: int) -> Any:
    from eden import chain

    whole = chain.train

    def train(*args: Any, on_epoch: Any, **options: Any) -> list[Epoch]:
        def stop(epoch: Epoch) -> None:
            on_epoch(epoch)
            if args[3] is not None and epoch.number == number:
                raise KeyboardInterrupt

        return whole(*args, on_epoch=stop, **options)

    return train


def test_an_interrupted_chain_ends_in_the_same(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def go() -> Result:
        return run(tiny_task.tiny(), eden.Device.builtin(DEVICE), tmp_path, OPTIONS, lambda _: None)

    with monkeypatch.context() as patched:
        patched.setattr("eden.chain.train", interrupt_epoch(2))
        with pytest.raises(KeyboardInterrupt):
            go()
    appended: list[int] = []
    with monkeypatch.context() as patched:
        from eden.journal import Journal

        append = Journal.append

        def stop(self: Journal, trial: int, difference: float) -> None:
            append(self, trial, difference)
            appended.append(trial)
            if len(appended) == 40:
                raise KeyboardInterrupt

        patched.setattr(Journal, "append", stop)
        with pytest.raises(KeyboardInterrupt):
            go()
    assert not list(tmp_path.glob(".*"))
    assert not (tmp_path / "tolerance-boosted.json").exists()
    assert dataclasses.replace(go(), report=done.result.report) == done.result


def refused(task: Any, folder: Path, device: str = DEVICE, **changes: Any) -> None:
    run(
        task,
        eden.Device.builtin(device),
        folder,
        dataclasses.replace(OPTIONS, **changes),
        lambda _: None,
    )


def test_refused_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eden.chain.train", lambda *_, **__: pytest.fail("trained first"))
    task = tiny_task.tiny()
    with pytest.raises(
        ValueError, match=r"^ddr3-b33 has no errors at tRCD 12.5 ns, so there is nothing to retrain for"
    ):
        refused(task, tmp_path, trcd=12.5)
    with pytest.raises(ValueError, match=r"trcd is 1.0 ns; allowed for .* ns"):
        refused(task, tmp_path, trcd=1.0)
    with pytest.raises(ValueError, match=r"target_ber is 2; allowed is above 0 to 1"):
        refused(dataclasses.replace(task, target_ber=2), tmp_path)
    with pytest.raises(ValueError, match="has no layer to put under faults: found BatchNorm1d, ReLU, Sequential"):
        refused(tiny_task.without_layers(), tmp_path)
    with pytest.raises(ValueError, match=r"Faults.storage is 'int3'; allowed are"):
        refused(dataclasses.replace(task, storage="int3"), tmp_path)
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(FileError, match="file: cannot be used as an output folder"):
        refused(task, in_the_way)


def test_the_threads_of_a_task_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def stop(*_: Any, **__: Any) -> None:
        seen.append(torch.get_num_threads())
        raise KeyboardInterrupt

    monkeypatch.setattr("eden.chain.train", stop)
    before = torch.get_num_threads()
    for threads in (None, before + 1):
        with pytest.raises(KeyboardInterrupt):
            refused(dataclasses.replace(tiny_task.tiny(), threads=threads), tmp_path)
    assert seen == [before, before + 1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("max_drop", 0.0, r"inside \(0, 1\)"),
        ("max_drop", float("nan"), r"inside \(0, 1\)"),
        ("confidence", 1.0, r"inside \(0, 1\)"),
        ("chips", 0, "1 or more"),
        ("profile_samples", 0, "1 or more"),
        ("platform", "abacus", "'cpu', 'gpu'"),
    ],
)
def test_options_out_of_range(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"^{field} is {value!r}; allowed (is|are) {allowed}"):
        Options(**{field: value})


def test_files_of_another_run_are_named(done: Done) -> None:
    train = done.folder / "train.safetensors"
    before = train.read_bytes()
    task = dataclasses.replace(tiny_task.tiny(), train=Recipe(epochs=3, batch_size=tiny_task.BATCH))
    with pytest.raises(FileError, match=r"train.safetensors: is of another run: recipe.epochs is 4, here it is 3"):
        refused(task, done.folder)
    with pytest.raises(
        FileError, match=r"profile-baseline.journal: .*another run: max_drop was 0.05 there and is 0.04"
    ):
        refused(tiny_task.tiny(), done.folder, max_drop=0.04)
    assert train.read_bytes() == before


def test_progress_counts_the_steps_of_the_run_before(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    from eden.chain import train_with_progress

    task = tiny_task.tiny()
    assert task.train is not None
    model = tiny_task.network()
    steps = tiny_task.TRAIN_EPOCHS * tiny_task.STEPS
    train_with_progress(
        "train", model, tiny_task.data()[0], task.train, task, None, done.folder / "train.safetensors", resume=True
    )
    assert f"train: {steps}/{steps}" in capsys.readouterr().err
    assert not torch.equal(model[0].weight, tiny_task.network()[0].weight)
