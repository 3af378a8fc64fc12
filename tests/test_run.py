"""Does eden run end with a certified placement, go on to the same answer wherever it is killed, and refuse in time?"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_task
import torch

import eden
from eden import inject
from eden import run as running
from eden.account import Account, Pareto
from eden.characterize import SearchError
from eden.evaluation import with_errors
from eden.files import FileError, VersionedFile
from eden.journal import Journal
from eden.memory_map import MemoryMap
from eden.recipe import NAME
from eden.run import Outcome, Rounds, RunRecipe, tightened
from eden.tasks import load_task
from eden.verification import Verification, certify

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

[verify]
confidence = 0.8
effort = 1.5
chips = 3

[rounds]
most = 2
least_gain = 0.0
"""
STOPS = {
    "device.json",
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


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("run")
    return folder / "out", running.run(recipe(folder), folder / "out", say=quiet)


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
    over = with_errors(fresh, validation, outcome.memory_map.memory, 3)
    assert (over.mean, over.worst) == (outcome.rounds.accuracy, outcome.rounds.worst)


def test_attempts_share_the_error_probability(done: tuple[Path, Outcome]) -> None:
    folder, _ = done
    found = [Verification.load(path) for path in sorted(folder.glob("round-*/attempt-*/verification.json"))]
    spent = sum(1.0 - one.confidence for one in found)
    assert 0.0 < spent <= 0.2
    assert len({one.seed for one in found}) == len(found)


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
            if name.endswith(("placement.json", "rounds.json")):
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
    with pytest.raises(FileError, match=r"recipe.toml: the folder holds a run already; allowed are --resume"):
        running.run(recipe(tmp_path), folder, say=quiet)
    with pytest.raises(FileError, match=r"is of another run: profile.max_drop is 0.1, here it is 0.2"):
        running.run(recipe(tmp_path, ("profile.max_drop", 0.2)), folder, resume=True, say=quiet)
    assert results(folder) == before


def profiled(done: tuple[Path, Outcome], out: Path) -> Path:
    """A folder in which the profile of the first round is done."""
    (out / "round-1").mkdir(parents=True)
    shutil.copy(done[0] / "round-1" / "tolerance.json", out / "round-1")
    return out


def test_a_network_from_elsewhere_starts_the_rounds(done: tuple[Path, Outcome], tmp_path: Path) -> None:
    folder, outcome = done
    network = str(folder / "boost" / "boosted.safetensors")
    out = profiled(done, tmp_path / "out")
    drops = out / "pareto" / "drop-0.2"
    drops.mkdir(parents=True)  # its profile is not searched for in this test
    tightened(outcome.tolerance, 1.5).save(drops / "tolerance.json")
    found = running.run(
        recipe(tmp_path, ("network", network), ("rounds.most", 1), ("account.max_drops", [0.2, 0.1])), out, say=quiet
    )
    curve = Pareto.load(out / "pareto.json")
    assert [point.max_drop for point in curve.points] == [0.1, 0.2]
    assert curve.points[0].energy_reduction == found.savings.energy_reduction
    assert (
        curve.points[1].energy_reduction
        == running.savings(found.model, eden.Placement.load(drops / "placement.json")).energy_reduction
    )
    assert Account.load(out / "account.json") == found.account
    assert not (tmp_path / "out" / "boost").exists()
    assert found.rounds.rounds[0] == outcome.rounds.rounds[0]
    assert found.rounds.why == "1 rounds were asked for"


def test_limits_are_tightened_until_a_placement_is_certified(
    done: tuple[Path, Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = done
    whole, asked = running.certify, []

    def refuse_first(model: Any, *arguments: Any, **options: Any) -> Verification:
        asked.append({name: info.errors for name, info in inject.operands(model).items()})
        found = whole(model, *arguments, **options)
        return found if len(asked) > 1 else found.model_copy(update={"certificate": None})

    monkeypatch.setattr(running, "certify", refuse_first)
    network = str(folder / "boost" / "boosted.safetensors")
    out = profiled(done, tmp_path / "out")
    found = running.run(recipe(tmp_path, ("network", network), ("rounds.most", 1)), out, say=quiet)
    one = found.rounds.rounds[0]
    assert one.certified
    assert one.attempts >= 2
    assert one.limits_factor == 0.5 ** (one.attempts - 1)
    assert asked[0] != asked[1]
    tolerance = eden.Tolerance.load(tmp_path / "out" / "round-1" / "tolerance.json")
    tight = tightened(tolerance, one.limits_factor)
    assert all(found.placement.ber[name] <= limit for name, limit in tight.limits.items())
    monkeypatch.setattr(running, "certify", lambda *a, **o: whole(*a, **o).model_copy(update={"certificate": None}))
    with pytest.raises(SearchError, match=r"no placement is certified, with limits down to 0.\d+ of those profiled"):
        running.run(
            recipe(tmp_path, ("network", network), ("rounds.most", 1)), profiled(done, tmp_path / "none"), say=quiet
        )


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ([("profile.max_drop", 1.5)], r"command line: profile.max_drop: .*less than 1.*found '1.5'"),
        ([("profile.maxdrop", 0.1)], r"profile.maxdrop: unknown key; allowed are max_drop, "),
        ([("place.solver", "guess")], r"place.solver: .*'greedy' or 'exact'"),
        ([("place.solver", "greedy"), ("place.split", True)], r"place.split is True; allowed of the greedy solver"),
        ([("place.solver", "greedy"), ("place.objective", "weighted")], r"place.objective is 'weighted'; allowed of"),
        ([("place.platform", "abacus")], r"place.platform is 'abacus'; allowed are 'cpu'"),
        ([("network", "x"), ("verify.reference", "baseline")], r"verify.reference is 'baseline'; allowed with a net"),
        ([("place.device", "ddr9")], r"device is 'ddr9'; allowed are a device file and"),
        ([("rounds.most", 0)], r"rounds.most: .*greater than or equal to 1"),
        ([("memory.trcd", 1.0)], r"trcd is 1.0 ns; allowed for"),
    ],
)
def test_mistakes_are_told_before_anything_is_computed(
    overrides: list[tuple[str, Any]], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "retrain", lambda *_, **__: pytest.fail("trained first"))
    with pytest.raises(ValueError, match=problem):
        running.run(recipe(tmp_path, *overrides), tmp_path / "out", say=quiet)


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
    return certify(model, loader(), **{**given, **options})


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
