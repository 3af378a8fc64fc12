"""Do planes of bits and storages with codes go through the whole chain, and do planes stay only where they pay?"""

from pathlib import Path

import pytest
import tiny_task
from test_cli import Eden, run
from test_run import quiet, recipe

import eden
from eden.app import run as running
from eden.common.files import FileError
from eden.faults.memories import operands
from eden.placement.map_file import MemoryMap

__all__ = ["run"]

pytestmark = pytest.mark.usefixtures("one_thread")

KEPT = (
    ("memory.storage", "int8_sign_magnitude_secded"),
    ("memory.input_storage", "uint8"),
    ("memory.planes", {"input": "search"}),
    ("rounds.most", 1),
    ("comparison.chips", 0),
)
PLANES = [f"{layer}.input[{plane}]" for layer in (0, 3) for plane in ("4:0", "6:5", "7")]


def in_planes(file: Path) -> list[str]:
    return [name for name, info in operands(eden.load_(tiny_task.network(), file)).items() if info.plane]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with weights in SECDED and inputs in planes."""
    folder = tmp_path_factory.mktemp("run")
    running.run(recipe(folder, *KEPT), folder / "out", say=quiet)
    return folder / "out"


def test_a_run_keeps_words_whole_where_planes_do_not_pay(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = eden.load_(tiny_task.network(), done / "boost" / "boosted.safetensors")
    weights = [info.bytes for name, info in operands(found).items() if name.endswith("weight")]
    assert weights == [432, 108]  # a ninth is checks
    rounds = running.Rounds.load(done / "rounds.json")
    assert [one.planes for one in rounds.rounds] == [False, True]
    assert rounds.taken == 1  # they save as much, no more
    assert "planes of bits did not pay: words are whole" in rounds.table()
    assert in_planes(done / "network.safetensors") == []

    # The same as if planes saved more.
    objectives = [0.9, 0.8]
    monkeypatch.setattr(running._Run, "objective", lambda *_: objectives.pop(0))
    paid = running.run(recipe(tmp_path, *KEPT), done, resume=True, say=quiet)
    assert paid.rounds.taken == 2
    assert "planes of bits paid" in paid.rounds.table()
    assert in_planes(done / "network.safetensors") == PLANES
    assert set(PLANES) < MemoryMap.load(done / "memory-map.json").operands.keys()


def test_from_the_shell(done: Path, tmp_path: Path, run: Eden) -> None:
    network = done / "boost" / "boosted.safetensors"
    of = ("--network", network, "--task", f"{tiny_task.__file__}:tiny")
    tolerance, placement = tmp_path / "tolerance.json", tmp_path / "placement.json"
    run("profile", *of, "--max-drop", 0.1, "--confidence", 0.8, "--samples", 32, "--effort", 1.5, "-o", tolerance)
    assert set(PLANES) < eden.Tolerance.load(tolerance).limits.keys()
    run("place", "--tolerance", tolerance, "--device", "ddr3-b33", "-o", placement)
    run("certify", *of, "--placement", placement, "--effort", 1.5, "--max-drop", 0.1, "-o", tmp_path / "verified.json")
    run("memory-map", *of, "--placement", placement, "--device", "ddr3-b33", "-o", tmp_path / "map.json")
    assert set(PLANES) < MemoryMap.load(tmp_path / "map.json").operands.keys()


@pytest.mark.parametrize(
    ("planes", "told"),
    [
        (["7", "6:1"], "Faults.planes: planes are 7, 6:1; allowed are those that hold each bit"),
        ("find", "memory.planes: Input should be 'search'"),
        ({"inputs": "search"}, "Faults.planes names 'inputs', which is no operand of values under faults"),
        ({"weight": ["7:4", "3:0"]}, "whose code joins several words, are none"),
    ],
)
def test_planes_that_are_none_are_refused_before_training(planes: object, told: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, FileError), match=told):
        running.run(recipe(tmp_path, KEPT[0], ("memory.planes", planes)), tmp_path / "out", say=quiet)
    assert not (tmp_path / "out" / "boost").exists()
