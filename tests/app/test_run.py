"""Does eden run end with a certified placement, go on to the same answer wherever it is killed, and refuse in time?"""

import dataclasses
import importlib.resources
import json
import shutil
import traceback
from pathlib import Path
from typing import Any

import pytest
import tiny_profile
import tiny_task
import torch
from torch.utils.data import TensorDataset

import eden
from eden.accounting.results import Account, Pareto, Savings
from eden.app import run as running
from eden.app import run_stages, shell
from eden.app.gain import Gain
from eden.app.recipe import NAME
from eden.app.rounds import Rounds
from eden.app.run import Outcome, tightened
from eden.app.run_recipe import DEMO, RunRecipe
from eden.app.stages import MANIFEST, Manifest
from eden.app.steps import RATES, train_with_progress
from eden.app.tasks import Task, load_task
from eden.common.files import FileError, VersionedFile
from eden.common.folder import LOCK
from eden.common.journal import Journal
from eden.common.provenance import DrawnChips, Result, digest_of
from eden.faults.chips import chips_of, draw_chip
from eden.faults.digests import SamplesDigest
from eden.placement.map_file import MemoryMap
from eden.reporting.accuracy import AccuracyCurves
from eden.reporting.page import ReportError
from eden.tolerance.evaluation import at_rates, evaluate
from eden.tolerance.question import SearchError
from eden.tolerance.verification import Verification, certify

pytestmark = pytest.mark.usefixtures("one_thread")

TASK = f"{tiny_task.__file__}:tiny"
RECIPE = f"""
format = "eden-run"
version = 1
task = "{TASK}"

[memory]
device = "ddr3-b33"
trcd = 7.5

[profile]
max_drop = 0.1
confidence = 0.8
samples = 32
effort = 1.5

[place]
platform = "eyeriss"

[certify]
confidence = 0.8
effort = 1.5
chips = 3

[rounds]
most = 2
least_gain = 0.0

[comparison]
chips = 2
"""
STOPS = {
    "device.json",
    "before/tolerance.json",
    "before/accuracy.json",
    "round-1/tolerance.json",
    "round-1/attempt-1/placement.json",
    "round-1/attempt-1/verification.json",
    "round-2/tolerance.json",
    "memory-map.json",
    "rounds.json",
}
"""Files at whose writing a run is killed: half of them before, half after."""


def recipe(folder: Path, *overrides: tuple[str, Any], text: str = RECIPE) -> RunRecipe:
    path = folder / "mine.toml"
    path.write_text(text)
    return RunRecipe.load(path, overrides)


def quiet(_: str) -> None:
    pass


def results(folder: Path) -> dict[str, bytes]:
    """Every result of a run; journals and checkpoints are not compared, and a page has the time in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".json", ".csv", ".toml") or path.name in ("network.safetensors", "boosted.safetensors")
    }


readers: list[set[str]] = []
"""The functions that were running at each read of the test set's tensors."""


class HeldBack(TensorDataset):
    """Tells who reads it."""

    def __getattribute__(self, name: str) -> Any:
        if name == "tensors":
            readers.append({frame.name for frame in traceback.extract_stack()})
        return super().__getattribute__(name)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("run")
    whole = Task.test_set
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Task, "test_set", lambda task: HeldBack(*whole(task).tensors))
        return folder / "out", running.run(recipe(folder), folder / "out", say=quiet)


def test_no_step_but_the_last_sees_the_test_set(done: tuple[Path, Outcome]) -> None:
    assert readers
    assert all({"finish", "tested"} <= each for each in readers)
    assert not set.union(*readers) & {"profile", "place", "certify", "train", "rounds"}
    folder, _ = done
    test_set = SamplesDigest()
    test_set.update(tiny_task.unseen().tensors)
    files = [path.read_text() for path in folder.rglob("*.json")]
    assert files
    assert not any(test_set.hexdigest() in text for text in files)


def test_the_placement_is_certified_and_its_files_agree(done: tuple[Path, Outcome]) -> None:
    folder, outcome = done
    assert outcome.verification.certified
    assert Verification.load(folder / "verification.json") == outcome.verification
    assert Rounds.load(folder / "rounds.json") == outcome.rounds
    assert MemoryMap.load(folder / "memory-map.json") == outcome.memory_map
    assert (folder / "memory-map.csv").read_text() == outcome.memory_map.csv()
    taken = outcome.rounds.taken
    assert eden.Placement.load(folder / "placement.json") == outcome.placement
    assert eden.Tolerance.load(folder / f"round-{taken}" / "tolerance.json") == outcome.tolerance
    # The lowest objective of those certified.
    certified = [one for one in outcome.rounds.rounds if one.certified]
    assert min(one.objective for one in certified if one.objective) == certified[taken - 1].objective
    assert outcome.rounds.rounds[taken - 1].energy_reduction == outcome.savings.energy_reduction
    # The network of the folder, at its addresses by the map alone, on chips that nothing has used.
    validation = tiny_task.data()[1]
    model = eden.load_(tiny_task.network(), folder / "network.safetensors")
    assert {name: info.errors for name, info in eden.operands(model).items()} == outcome.memory_map.memory
    fresh = tiny_task.network()
    fresh.load_state_dict(model.state_dict())
    eden.inject_(fresh, outcome.memory_map)
    over = evaluate(fresh, validation, errors=outcome.memory_map.memory, chips=3)
    assert (over.mean, over.worst) == (outcome.rounds.accuracy, outcome.rounds.worst)
    tested = evaluate(fresh, tiny_task.unseen(), errors=outcome.memory_map.memory, chips=3)
    assert outcome.rounds.test is not None
    assert (outcome.rounds.test.accuracy, outcome.rounds.test.worst) == (tested.mean, tested.worst)
    assert outcome.rounds.test.samples == 40
    assert 0.9 < outcome.rounds.test.reference_accuracy <= 1.0


@pytest.mark.parametrize("platform", ["eyeriss", "cpu"])
def test_it_counts_as_the_commands_do(done: tuple[Path, Outcome], tmp_path: Path, platform: str) -> None:
    """`eden traffic`, `savings` and `account` of its network and placement give its figures."""
    folder, outcome = done
    network = ("--network", str(folder / "network.safetensors"), "--task", TASK)
    placement = ("--placement", str(folder / "placement.json"))
    files = {name: tmp_path / f"{name}.json" for name in ("traffic", "savings", "again", "account")}
    for command in (
        ("traffic", *network, "--platform", platform, "-o", str(files["traffic"])),
        ("savings", *network, *placement, "--platform", platform, "-o", str(files["savings"])),
        ("savings", *network, *placement, "--traffic", str(files["traffic"]), "-o", str(files["again"])),
        ("account", *network, *placement, "-o", str(files["account"])),
    ):
        assert shell.run(list(command)) == 0
    found, again = (Savings.load(files[name]) for name in ("savings", "again"))
    expected = outcome.account.platforms[platform]
    for one in (found, again, Account.load(files["account"]).platforms[platform]):
        assert (one.terms, one.energy_reduction_range) == (expected.terms, expected.energy_reduction_range)
    if platform == "eyeriss":
        assert found.terms == outcome.savings.terms
        assert expected.nominal_nj > 0.0
    else:
        assert expected.nominal_nj == expected.energy_reduction == 0.0
        assert "nothing is saved" in found.headline[0]


def test_the_network_before_boosting_stands_beside_the_one_that_is_placed(done: tuple[Path, Outcome]) -> None:
    folder, outcome = done
    before = eden.Tolerance.load(folder / "before" / "tolerance.json")
    curves = AccuracyCurves.load(folder / "accuracy.json")
    assert [(point.label, point.ber) for point in curves.points] == [
        (label, rate) for label in ("baseline", "boosted") for rate in (0.0, *RATES)
    ]
    assert curves.tolerated == {"baseline": before.coarse, "boosted": outcome.tolerance.coarse}
    assert before.limits_certificate is None
    assert curves.seed is not None
    assert curves.provenance is not None
    assert curves.provenance.chips == (DrawnChips(purpose="curves", seed=curves.seed, first=0, count=2),)
    validation = tiny_task.data()[1]
    model = eden.load_(tiny_task.network(), folder / "boost" / "baseline.safetensors")
    over = at_rates(model, validation, [1e-2], 2, curves.seed)[1e-2]
    shown = next(point for point in curves.points if (point.label, point.ber) == ("baseline", 1e-2))
    assert (shown.mean, shown.low, shown.high) == (over.mean, over.worst, over.best)


def test_a_network_that_tolerates_nothing_before_boosting_is_compared_all_the_same(
    done: tuple[Path, Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_stages.profile

    def profile(*arguments: Any, **options: Any) -> eden.Tolerance:
        if options["search"].coarse_only:
            raise SearchError("no rate keeps the drop")
        return whole(*arguments, **options)

    monkeypatch.setattr(run_stages, "profile", profile)
    said: list[str] = []
    out = copied(done, tmp_path, "before/tolerance.json")
    running.run(recipe(tmp_path, ("rounds.most", 1)), out, resume=True, say=said.append)
    assert "before boosting it tolerates nothing: no rate keeps the drop (drop at most 10.0%)" in said
    assert set(AccuracyCurves.load(out / "accuracy.json").tolerated) == {"boosted"}


def test_a_figure_that_fails_leaves_the_run(
    done: tuple[Path, Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(done[0], out)
    (out / "index.html").unlink()
    monkeypatch.setattr("eden.reporting.sections.device.device_figure", lambda *_, **__: 1 / 0)
    said: list[str] = []
    with pytest.raises(ReportError, match=r"index.html is written, but lacks the figure of device: ZeroDivisionError"):
        running.run(recipe(tmp_path), out, resume=True, say=said.append)
    assert said[-1].endswith(f"report: {out / 'index.html'}")
    assert "could not be drawn" in (out / "index.html").read_text()
    assert results(out) == results(done[0])


def test_attempts_share_the_error_probability(done: tuple[Path, Outcome]) -> None:
    folder, _ = done
    found = [Verification.load(path) for path in sorted(folder.glob("round-*/attempt-*/verification.json"))]
    assert [one.attempt for one in found] == list(range(1, len(found) + 1))
    assert {one.confidence for one in found} == {0.8}
    spent = sum(one.certificate.alpha for one in found if one.certificate)
    assert 0.0 < spent <= 0.2


def test_every_step_of_a_run_sees_chips_of_its_own(done: tuple[Path, Outcome]) -> None:
    folder, outcome = done
    results: list[Result] = [AccuracyCurves.load(folder / "accuracy.json"), outcome.rounds]
    results += [eden.Tolerance.load(path) for path in folder.glob("*/tolerance.json")]
    results += [Verification.load(path) for path in folder.glob("*/*/verification.json")]
    assert len(results) == 7  # curves, accuracy as placed; before boosting and two rounds, each with its certificate
    chips = [chip for one in results if one.provenance for drawn in one.provenance.chips for chip in chips_of(drawn)]
    chips += [draw_chip(seed, "training", index) for seed in range(3) for index in range(100)]
    assert len(set(chips)) == len(chips)
    assert {draw_chip(0, "evaluation", index) for index in range(outcome.rounds.chips)} <= set(chips)


def test_killed_anywhere_it_goes_on_to_the_same(
    done: tuple[Path, Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = done
    out = tmp_path / "out"
    whole_save, whole_append = VersionedFile.save, Journal.append
    stopped: list[str] = []
    appended = 0

    def save(self: VersionedFile, path: Any) -> None:
        name = str(Path(path).relative_to(out)) if out in Path(path).parents else str(path)
        if name in STOPS and name not in stopped:
            stopped.append(name)
            if name.endswith(("placement.json", "rounds.json", "before/tolerance.json")):
                whole_save(self, path)  # killed after it, else before
            raise KeyboardInterrupt
        whole_save(self, path)

    def append(self: Journal, trial: int, difference: float) -> None:
        nonlocal appended
        whole_append(self, trial, difference)
        appended += 1
        if appended in (50, 700):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(VersionedFile, "save", save)
        patched.setattr(Journal, "append", append)
        for _ in range(60):
            try:
                running.run(recipe(tmp_path), out, resume=True, say=quiet)
                break
            except KeyboardInterrupt:
                continue
        else:
            pytest.fail("it does not end")
    assert set(stopped) == STOPS
    assert not list(out.rglob(".*"))
    assert results(out) == results(folder)


def test_a_run_is_not_mixed_with_another(done: tuple[Path, Outcome], tmp_path: Path) -> None:
    folder, _ = done
    before = results(folder)
    with pytest.raises(
        FileError, match=r"account.json: the folder holds a run already; allowed are --resume, .*--force"
    ):
        running.run(recipe(tmp_path), folder, say=quiet)
    with pytest.raises(ValueError, match=r"profile.max_drop"):  # the earlier run stays where the new one is refused
        running.run(recipe(tmp_path, ("profile.max_drop", 2.0)), folder, force=True, say=quiet)
    assert results(folder) == before


def test_what_the_boost_refuses_is_refused_before_the_earlier_run_goes(
    done: tuple[Path, Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = done
    before = results(folder)
    monkeypatch.setattr("eden.app.retrain.batch_norms", lambda _: [])
    with pytest.raises(ValueError, match=r"reestimate_chips is 2; allowed for .*, is 0"):
        running.run(recipe(tmp_path, ("reestimate_chips", 2)), folder, force=True, say=quiet)
    assert results(folder) == before


def test_a_run_begins_anew_by_force(
    done: tuple[Path, Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(done[0], out)
    (out / "notes.txt").write_text("the user's")
    left: list[str] = []

    def stop(*_: Any, **__: Any) -> None:
        left.extend(sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()))
        raise KeyboardInterrupt

    monkeypatch.setattr(run_stages, "retrain", stop)
    with pytest.raises(KeyboardInterrupt):
        running.run(recipe(tmp_path), out, force=True, say=quiet)
    assert left == [LOCK, "device.json", MANIFEST, "notes.txt", NAME]


def copied(done: tuple[Path, Outcome], folder: Path, *without: str, name: str = "out") -> Path:
    """The folder of a whole run that some files were removed from."""
    out = folder / name
    shutil.copytree(done[0], out)
    for file in without:
        (out / file).unlink()
    return out


def harmed(path: Path) -> None:
    """One digit of a file is another."""
    text = bytearray(path.read_bytes())
    place = max(i for i, byte in enumerate(text) if byte in b"12345678")
    text[place] += 1
    path.write_bytes(bytes(text))


@pytest.mark.parametrize(
    "file",
    [
        *("before/tolerance.json", "round-1/tolerance.json", "round-2/network.safetensors", "round-1/profile.journal"),
        *("round-1/attempt-1/placement.json", "round-1/attempt-1/verification.json", "boost/boosted.safetensors"),
        *("rounds.json", "memory-map.json"),
    ],
)
def test_a_file_that_was_altered_or_put_there_is_refused(
    file: str, done: tuple[Path, Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_stages, "retrain", lambda *_, **__: pytest.fail("trained first"))
    out = copied(done, tmp_path)
    harmed(out / file)
    with pytest.raises(FileError, match=rf"{file}: was altered since the run wrote it: its SHA-256 is [0-9a-f]+\.\.\."):
        running.run(recipe(tmp_path), out, resume=True, say=quiet)
    shutil.copy(done[0] / file, out / file)
    manifest = Manifest.load(out / MANIFEST)
    others = {name: one for name, one in manifest.stages.items() if file not in one.files}
    manifest.model_copy(update={"stages": others}).save(out / MANIFEST)
    with pytest.raises(FileError, match=r"is not said to be of this run \(manifest.json\): it was put there"):
        running.run(recipe(tmp_path), out, resume=True, say=quiet)


_ROUND = ["profile", "place", "certify"]


@pytest.mark.parametrize(
    ("what", "again"),
    [
        ("the names of files", []),
        ("certify.effort", ["certify", "certify"]),
        ("place.alignment", ["place", "place", "certify", "tune", "place", "certify", "place"]),
        ("profile.effort", ["profile", "place", "curves", *_ROUND, "tune", *_ROUND, "place"]),
        ("the device's file", ["place", "place", "certify", "tune", "place", "certify", "place"]),
        ("the network's file", [*_ROUND, "tune", *_ROUND]),
        ("the task's file", ["boost", "profile", "place", "curves", *_ROUND, "tune", *_ROUND, "curves", "place"]),
        ("the validation set", ["profile", "place", "curves", *_ROUND, "tune", *_ROUND, "curves", "place"]),
    ],
)
def test_what_has_changed_is_made_again_and_nothing_else(
    what: str, again: list[str], done: tuple[Path, Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = copied(done, tmp_path)
    device, network, task = tmp_path / "device.json", tmp_path / "network.safetensors", tmp_path / "tiny_task.py"
    eden.Device.builtin("ddr3-b33").save(device)
    shutil.copy(out / "boost" / "boosted.safetensors", network)
    shutil.copy(tiny_task.__file__, task)
    given: list[tuple[str, Any]] = [("place.device", str(device)), ("task", f"{task}:tiny")]
    if "network" in what:
        given += [("network", str(network)), ("comparison.chips", 0)]
    made: list[str] = []

    def counted(name: str, function: str, instead: Any = None) -> None:
        whole = instead or getattr(run_stages, function)

        def make(*arguments: Any, **options: Any) -> Any:
            made.append(name)
            return whole(*arguments, **options)

        monkeypatch.setattr(run_stages, function, make)

    other = {"unfinished": what, "provenance": None}
    counted("boost", "retrain", lambda _, folder, **__: shutil.copytree(done[0] / "boost", folder, dirs_exist_ok=True))
    counted("profile", "profile", lambda *_, **__: done[1].tolerance.model_copy(update=other))
    counted("certify", "certify", lambda *_, **__: done[1].verification)
    for name, function in (("place", "place"), ("tune", "train_with_progress"), ("curves", "rates_with_progress")):
        counted(name, function)
    monkeypatch.setattr(running, "report", lambda folder, **_: folder / "index.html")
    if what == "the device's file":
        whole = json.loads(device.read_text())
        device.write_text(json.dumps({**whole, "source": {**whole["source"], "text": "measured again"}}))
    elif what == "the network's file":
        model = eden.load_(tiny_task.network(), network)
        with torch.no_grad():
            model[0].weight[0, 0] += 1e-3
        eden.save(model, network)
    elif what == "the task's file":
        task.write_text(task.read_text() + "# another one")
    elif what == "the validation set":
        x, y = tiny_task.data()[1].tensors
        moved = torch.utils.data.TensorDataset(x + 1e-3, y)
        monkeypatch.setattr("eden.app.tasks.Task.sets", lambda _: (tiny_task.data()[0], moved))
    elif what != "the names of files":
        given += [(what, 2.0 if what.endswith("effort") else 128)]
    before = Manifest.load(out / MANIFEST)
    said: list[str] = []
    found = running.run(recipe(tmp_path, *given), out, resume=True, say=said.append)
    assert made == again
    # What was certified before was seen, so that further tests are further attempts on other chips.
    after = Manifest.load(out / MANIFEST)
    for counts, step in (("certify", "certify"), ("profile", "profile")):
        assert after.attempts[counts] == before.attempts[counts] + again.count(step)
    assert found.placement.provenance is not None
    assert found.placement.provenance.of["device"] == digest_of(eden.Device.load(device))
    if what == "the network's file":
        assert "round-1/tolerance.json is made again: changed is network, reference" in said


def test_a_network_from_elsewhere_starts_the_rounds(
    done: tuple[Path, Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, outcome = done
    network = str(folder / "boost" / "boosted.safetensors")
    given = (("network", network), ("rounds.most", 1), ("comparison.chips", 0), ("account.max_drops", [0.2, 0.1]))
    out = copied(done, tmp_path)
    drops = out / "pareto" / "drop-0.2"
    # Drops count from the network that is given, so that no profile of the folder is of use.
    monkeypatch.setattr(run_stages, "profile", lambda *_, **__: tightened(outcome.tolerance, 1.5))
    found = running.run(recipe(tmp_path, *given), out, resume=True, say=quiet)
    curve = Pareto.load(out / "pareto.json")
    assert [point.max_drop for point in curve.points] == [0.1, 0.2]
    assert curve.points[0].energy_reduction == found.savings.energy_reduction
    resolved = RunRecipe.load(out / "recipe.toml", [])
    stages = run_stages.RunStages(resolved, load_task(resolved.task), out, quiet)
    assert (
        curve.points[1].energy_reduction
        == stages.saved(found.model, eden.Placement.load(drops / "placement.json")).energy_reduction
    )
    assert Account.load(out / "account.json") == found.account
    assert not (tmp_path / "out" / "boost").exists()
    assert found.rounds.rounds[0].coarse == tightened(outcome.tolerance, 1.5).coarse
    assert found.rounds.why == "no more were asked for"


@pytest.mark.parametrize("estimated", ["baseline", "boosted"])
def test_a_boost_that_harms_leaves_the_network_before_it(
    estimated: str, done: tuple[Path, Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told by the comparison of both; and where that is mistaken, by what is certified."""

    def retrain(_: Any, folder: Path, **__: Any) -> None:
        shutil.copytree(done[0] / "boost", folder, dirs_exist_ok=True)
        model = eden.load_(tiny_task.network(), folder / "boosted.safetensors")
        with torch.no_grad():
            model[3].weight.zero_()
        eden.save(model, folder / "boosted.safetensors")

    monkeypatch.setattr(run_stages, "retrain", retrain)
    if estimated == "boosted":
        monkeypatch.setattr(Gain, "better", estimated)
    out, said = tmp_path / "out", list[str]()
    given = recipe(tmp_path, ("rounds.most", 1))
    found = running.run(given, out, say=said.append)
    gain = Gain.load(out / "gain.json")
    assert gain.boosted == 0.0 < gain.baseline
    assert gain.clean_drop > 0.5
    assert (found.rounds.network, found.rounds.taken) == ("baseline", 1 if estimated == "baseline" else 2)
    assert "placed is the network before boosting: boosting cost" in found.rounds.table()
    assert f"{tiny_task.tiny().name} on ddr3-b33, not boosted" in (out / "index.html").read_text()
    placed = eden.load_(tiny_task.network(), out / "network.safetensors")
    before = eden.load_(tiny_task.network(), out / "boost" / "baseline.safetensors")
    assert all(torch.equal(value, placed.state_dict()[name]) for name, value in before.state_dict().items())
    again = running.run(given, out, resume=True, say=quiet)
    assert again.rounds == found.rounds


def test_a_target_that_is_found_may_cost_what_the_placement_may(tmp_path: Path) -> None:
    given = recipe(tmp_path, ("curriculum.epochs_per_step", 1), text=RECIPE)
    task = dataclasses.replace(tiny_task.tiny(), target_ber=None)
    assert given.resolved(task).curriculum.max_drop == given.profile.max_drop
    of_its_own = recipe(tmp_path, ("curriculum.max_drop", 0.02))
    assert of_its_own.resolved(task).curriculum.max_drop == 0.02


def test_limits_are_tightened_until_a_placement_is_certified(
    done: tuple[Path, Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, asked = run_stages.certify, []

    def refuse_first(model: Any, *arguments: Any, **options: Any) -> Verification:
        asked.append(options["placement"].memory)
        found = whole(model, *arguments, **options)
        return found if len(asked) > 1 else found.model_copy(update={"certificate": None})

    monkeypatch.setattr(run_stages, "certify", refuse_first)
    given = (("rounds.most", 1), ("comparison.chips", 0))
    verified = "round-1/attempt-1/verification.json"
    found = running.run(recipe(tmp_path, *given), copied(done, tmp_path, verified), resume=True, say=quiet)
    one = found.rounds.rounds[0]
    assert one.certified
    assert one.attempts >= 2
    assert one.limits_factor == 0.5 ** (one.attempts - 1)
    assert asked[0] != asked[1]
    tolerance = eden.Tolerance.load(tmp_path / "out" / "round-1" / "tolerance.json")
    tight = tightened(tolerance, one.limits_factor)
    assert all(found.placement.ber[name] <= limit for name, limit in tight.limits.items())
    monkeypatch.setattr(run_stages, "certify", lambda *a, **o: whole(*a, **o).model_copy(update={"certificate": None}))
    none = copied(done, tmp_path, verified, name="none")
    with pytest.raises(SearchError, match=r"no placement is certified, with limits down to 0.\d+ of those") as caught:
        running.run(recipe(tmp_path, *given), none, resume=True, say=quiet)
    # The network before boosting was tried, too; what was found before stays, and a report shows it.
    tolerance = eden.Tolerance.load(none / "round-2" / "tolerance.json")
    assert str(caught.value).endswith(f"what was found until then is in {none / 'index.html'}")
    assert eden.Tolerance.load(none / "tolerance.json") == tolerance
    assert "not placed" in (none / "index.html").read_text()


DATA = [("profile.population", "data"), ("rounds.most", 1), ("comparison.chips", 0), ("account.max_drops", [])]


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ([("profile.max_drop", 1.5)], r"command line: profile.max_drop: .*less than 1.*found '1.5'"),
        ([("profile.maxdrop", 0.1)], r"profile.maxdrop: unknown key; allowed are max_drop, "),
        ([("place.solver", "guess")], r"place.solver: .*'greedy' or 'exact'"),
        ([("place.solver", "greedy"), ("place.split", True)], r"place.split is True; allowed of the greedy solver"),
        ([("place.solver", "greedy"), ("place.objective", "weighted")], r"place.objective is 'weighted'; allowed of"),
        ([("place.platform", "abacus")], r"place.platform is 'abacus'; allowed are 'cpu'"),
        ([("network", "x")], r"comparison.chips is 2; allowed with a network that was boosted elsewhere is 0"),
        ([("network", "x"), ("certify.reference", "baseline")], r"certify.reference is 'baseline'; allowed with a net"),
        ([("place.device", "ddr9")], r"device is 'ddr9'; allowed are a device file and"),
        ([("rounds.most", 0)], r"rounds.most: .*greater than or equal to 1"),
        ([("memory.trcd", 1.0)], r"trcd is 1.0 ns; allowed for"),
        # Samples that confirm are seen once: what would profile again is refused.
        ([*DATA, ("rounds.most", 2)], r"rounds.most is 2 with profile.population 'data'; allowed is 1, because"),
        ([*DATA, ("comparison.chips", 2)], r"comparison.chips is 2 with profile.population 'data'; allowed is 0"),
        ([*DATA, ("account.max_drops", [0.3])], r"account.max_drops is \[0.3\] with profile.population 'data'"),
    ],
)
def test_mistakes_are_told_before_anything_is_computed(
    overrides: list[tuple[str, Any]], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_stages, "retrain", lambda *_, **__: pytest.fail("trained first"))
    with pytest.raises(ValueError, match=problem):
        running.run(recipe(tmp_path, *overrides), tmp_path / "out", say=quiet)


def test_the_threads_of_a_task_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def stop(*_: Any, **__: Any) -> None:
        seen.append(torch.get_num_threads())
        raise KeyboardInterrupt

    monkeypatch.setattr(run_stages, "retrain", stop)
    before = torch.get_num_threads()
    for threads in (None, before + 1):
        task = dataclasses.replace(tiny_task.tiny(), threads=threads)
        monkeypatch.setattr(running, "load_task", lambda _, task=task: task)
        with pytest.raises(KeyboardInterrupt):
            running.run(recipe(tmp_path), tmp_path / f"{threads}", say=quiet)
    assert seen == [before, before + 1]
    assert torch.get_num_threads() == before


def test_progress_counts_the_steps_of_the_run_before(
    done: tuple[Path, Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    task, model = tiny_task.tiny(), tiny_task.network()
    assert task.train is not None
    steps = tiny_task.TRAIN_EPOCHS * tiny_task.STEPS
    checkpoint = done[0] / "boost" / "train.safetensors"
    train_with_progress("train", model, tiny_task.data()[0], task.train, task, None, checkpoint, resume=True)
    assert f"train: {steps}/{steps}" in capsys.readouterr().err
    assert not torch.equal(model[0].weight, tiny_task.network()[0].weight)


def test_the_demo_is_a_recipe_that_says_what_the_task_leaves_open() -> None:
    with importlib.resources.as_file(DEMO) as path:
        whole = RunRecipe.load(path).resolved(load_task("digits"))
    assert (whole.memory.device, whole.memory.vdd, whole.memory.trcd) == ("ddr3-p9", 1.025, None)
    assert (whole.memory.storage, whole.comparison.chips) == ("int8_sign_magnitude", 20)


def test_an_error_model_needs_a_device_to_place_in(tmp_path: Path) -> None:
    memory = 'errors = { model = "uniform", ber = 1e-3 }\n'
    text = RECIPE.replace('device = "ddr3-b33"\ntrcd = 7.5\n', memory)
    with pytest.raises(ValueError, match=r"place.device: none is given, and memory is an error model"):
        running.run(recipe(tmp_path, text=text), tmp_path / "out", say=quiet)
    given = recipe(tmp_path, ("place.device", "ddr3-b3"), text=text).resolved(load_task(TASK))
    assert given.place.device == "ddr3-b3"


def test_the_resolved_recipe_says_all_and_reads_back_as_itself(done: tuple[Path, Outcome]) -> None:
    folder, _ = done
    kept = RunRecipe.load(folder / NAME)
    assert kept.resolved(load_task(TASK)) == kept
    assert (kept.place.device, kept.rounds.learning_rate) == ("ddr3-b33", 0.005)
    schema = RunRecipe.json_schema()
    assert schema["properties"]["format"] == {"const": "eden-run"}


def loader() -> Any:
    return torch.utils.data.DataLoader(tiny_task.data()[1], batch_size=50)


@pytest.fixture(scope="module")
def boosted(done: tuple[Path, Outcome]) -> torch.nn.Module:
    return eden.load_(tiny_task.network(), done[0] / "boost" / "boosted.safetensors")


def certified(model: torch.nn.Module, **options: Any) -> Verification:
    given: dict[str, Any] = {"max_drop": 0.1, "confidence": 0.8, "batch_size": 32, "effort": 1.5, "progress": False}
    return certify(model, loader(), **tiny_profile.told(**{**given, **options}))


def test_what_loses_too_much_is_not_certified(boosted: torch.nn.Module) -> None:
    # Of 4 classes all but the errors' are guesses at this rate: a drop of far more than 0.1.
    eden.set_errors_(boosted, dict.fromkeys(eden.operands(boosted), eden.Uniform(ber=0.3)))
    for seed in range(5):
        found = certified(boosted, seed=seed)
        assert not found.certified
        assert "could not be confirmed" in found.reason
        assert "bit error rate" not in found.reason
    eden.set_errors_(boosted, dict.fromkeys(eden.operands(boosted), eden.Uniform(ber=1e-5)))
    found = certified(boosted)
    assert found.certified
    assert found.certificate is not None
    assert found.certificate.upper_bound <= 0.1


def test_the_drop_is_counted_from_the_reference(boosted: torch.nn.Module) -> None:
    eden.set_errors_(boosted, dict.fromkeys(eden.operands(boosted), eden.Uniform(ber=0.3)))
    bad = eden.load_(tiny_task.network(), _saved(boosted))
    with torch.no_grad():
        for parameter in bad.parameters():
            parameter.zero_()
    found = certified(boosted, reference=bad)  # nothing is worse than a network that always says the same class
    assert (found.reference_accuracy, found.certified) == (0.25, True)
    assert found.own_accuracy > 0.9


def _saved(model: torch.nn.Module) -> Path:
    import tempfile

    path = Path(tempfile.mkdtemp()) / "network.safetensors"
    eden.save(model, path)
    return path


def test_a_verification_resumes_and_is_of_one_placement(boosted: torch.nn.Module, tmp_path: Path) -> None:
    eden.set_errors_(boosted, dict.fromkeys(eden.operands(boosted), eden.Uniform(ber=1e-4)))
    before = {name: value.clone() for name, value in boosted.named_buffers()}
    whole = certified(boosted, journal=tmp_path / "whole.journal")
    whole_append, count = Journal.append, 0

    def append(self: Journal, trial: int, difference: float) -> None:
        nonlocal count
        whole_append(self, trial, difference)
        count += 1
        if count == 30:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Journal, "append", append)
        with pytest.raises(KeyboardInterrupt):
            certified(boosted, journal=tmp_path / "killed.journal")
    assert all(torch.equal(before[name], value) for name, value in boosted.named_buffers())
    assert certified(boosted, journal=tmp_path / "killed.journal") == whole
    found = tmp_path / "verification.json"
    whole.save(found)
    assert Verification.load(found) == whole
    body = json.loads(found.read_text())
    found.write_text(json.dumps({**body, "max_drop": 2.0}))
    with pytest.raises(FileError, match=r"max_drop: .*less than 1"):
        Verification.load(found)
    eden.set_errors_(boosted, dict.fromkeys(eden.operands(boosted), eden.Uniform(ber=2e-4)))
    with pytest.raises(FileError, match="another run: operands"):
        certified(boosted, journal=tmp_path / "whole.journal")
