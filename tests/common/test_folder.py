"""Does one run at a time work in a folder, and is an earlier one kept unless it is asked for?"""

import contextlib
import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eden.common.files import FileError, kept
from eden.common.folder import LOCK, claimed, found_in

HOLDS = ("recipe.toml", "boost/*.safetensors", "round-*/**/*.json")


@contextlib.contextmanager
def holder(folder: Path) -> Iterator[multiprocessing.process.BaseProcess]:
    """Another process that works in a folder."""
    fork = multiprocessing.get_context("fork")
    held = fork.Event()

    def hold() -> None:
        with claimed(folder, HOLDS, resume=True):
            held.set()
            time.sleep(600)

    process = fork.Process(target=hold, daemon=True)
    process.start()
    assert held.wait(60)
    try:
        yield process
    finally:
        process.kill()
        process.join()


def run_of_before(folder: Path) -> dict[str, Path]:
    names = ("recipe.toml", "boost/a.safetensors", "round-1/x.json", "round-1/attempt-2/y.json", "boost/mine", "mine")
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return {name: folder / name for name in names}


def test_a_new_folder(tmp_path: Path) -> None:
    with claimed(tmp_path / "a" / "b", HOLDS) as claim:
        assert claim.path == tmp_path / "a" / "b"
        assert [path.name for path in claim.path.iterdir()] == [LOCK]
        claim.clear()
    assert list(claim.path.iterdir()) == []


def test_a_folder_with_other_files_is_as_good(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with claimed(tmp_path, HOLDS, force=True) as claim:
        claim.clear()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_earlier_run_is_refused_by_name(tmp_path: Path) -> None:
    paths = run_of_before(tmp_path)
    with pytest.raises(
        FileError, match=r"the folder holds a run already; allowed are --resume, .* --force, "
    ) as caught:
        claimed(tmp_path, HOLDS).__enter__()
    assert caught.value.path in paths.values()
    assert {name: path.read_text() for name, path in paths.items()} == {name: name for name in paths}
    assert not (tmp_path / LOCK).exists()


def test_resume_keeps_it_and_begins_where_there_is_none(tmp_path: Path) -> None:
    with claimed(tmp_path, HOLDS, resume=True) as claim:
        claim.clear()
    paths = run_of_before(tmp_path)
    with claimed(tmp_path, HOLDS, resume=True) as claim:
        claim.clear()
    assert all(path.exists() for path in paths.values())


def test_force_removes_the_run_and_nothing_else_once_all_is_checked(tmp_path: Path) -> None:
    paths = run_of_before(tmp_path)
    linked = tmp_path / "elsewhere"
    linked.write_text("kept")
    (tmp_path / "boost" / "b.safetensors").symlink_to(linked)
    with claimed(tmp_path, HOLDS, force=True) as claim:
        assert all(path.exists() for path in paths.values())
        claim.clear()
        assert found_in(tmp_path, HOLDS) == []
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "boost",
        "boost/mine",
        "elsewhere",
        "mine",
    ]
    assert linked.read_text() == "kept"


def test_force_removes_nothing_that_is_read(tmp_path: Path) -> None:
    recipe = run_of_before(tmp_path)["recipe.toml"]
    with kept([recipe]), claimed(tmp_path, HOLDS, force=True) as claim, pytest.raises(FileError, match="reads it"):
        claim.clear()
    assert recipe.exists()


def test_both_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--resume and --force are both given; allowed is one"):
        claimed(tmp_path / "out", HOLDS, resume=True, force=True).__enter__()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"force": True}])
def test_a_second_run_is_refused_and_told_of_the_first(tmp_path: Path, options: dict[str, bool]) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(FileError) as caught:
            claimed(tmp_path, HOLDS, **options).__enter__()
        assert re.fullmatch(
            rf"{tmp_path}: in use by process {process.pid} on \S+, since \d{{4}}-.*: .*; "
            "allowed is another folder, or to wait for it",
            str(caught.value),
        )
        # A folder further inside is another.
        with claimed(tmp_path / "further" / "inside", HOLDS):
            pass


def test_the_same_process_is_refused_as_well_and_an_error_ends_the_claim(tmp_path: Path) -> None:
    def fails() -> None:
        with claimed(tmp_path, HOLDS):
            with pytest.raises(FileError, match=f"in use by process {os.getpid()} on"):
                claimed(tmp_path, HOLDS).__enter__()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    with claimed(tmp_path, HOLDS):
        pass


def test_a_killed_run_lets_go(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
        process.join()
        assert (tmp_path / LOCK).exists()
        with claimed(tmp_path, HOLDS):
            pass
        assert not (tmp_path / LOCK).exists()


def test_what_the_run_has_forked_does_not_keep_it(tmp_path: Path) -> None:
    read, write = os.pipe()
    with claimed(tmp_path, HOLDS):
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(read, 1)
            os._exit(0)
    try:
        with claimed(tmp_path, HOLDS):
            pass
    finally:
        os.close(write)
        os.close(read)
        os.waitpid(child, 0)


def test_ranks_of_one_job_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    run_of_before(tmp_path)
    monkeypatch.setenv("RANK", "0")
    with claimed(tmp_path, HOLDS, resume=True):
        monkeypatch.setenv("RANK", "1")
        with claimed(tmp_path, HOLDS) as claim:
            claim.clear()
        assert len(found_in(tmp_path, HOLDS)) == 4
        monkeypatch.setenv("RANK", "0")
        with pytest.raises(FileError, match="in use by"):
            claimed(tmp_path, HOLDS, resume=True).__enter__()


@pytest.mark.parametrize("name", ["link", "folder"])
def test_a_lock_that_cannot_be_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "target").write_text("kept")
    (tmp_path / LOCK).symlink_to("target") if name == "link" else (tmp_path / LOCK).mkdir()
    with pytest.raises(FileError, match=rf"{LOCK}: cannot be locked: "):
        claimed(tmp_path, HOLDS).__enter__()
    assert (tmp_path / "target").read_text() == "kept"


def test_a_folder_around_or_inside_one_that_is_in_use_is_refused(tmp_path: Path) -> None:
    script = """
import sys
from eden.common.folder import claimed
with claimed(sys.argv[1], ["a"]):
    print("held", flush=True)
    sys.stdin.read()
"""
    outer, inner = tmp_path / "out", tmp_path / "out" / "boost"
    for held, asked in ((outer, inner), (inner, outer)):
        command = [sys.executable, "-c", script, str(held)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            assert process.stdout.readline() == "held\n"
            with (
                pytest.raises(FileError, match=f"{asked}: {held} is in use by process {process.pid}"),
                claimed(asked, ["a"]),
            ):
                pytest.fail("claimed")
            process.stdin.close()
        with claimed(asked, ["a"]):
            pass
    with claimed(outer, ["a"]), claimed(inner, ["a"]):  # as the chain claims a folder for its retraining
        pass


def test_nothing_is_removed_where_one_file_is_read(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    with kept([tmp_path / "b"]), claimed(tmp_path, ["a", "b", "c"], force=True) as claim:
        with pytest.raises(FileError, match="b: cannot be removed: what is done here reads it"):
            claim.clear()
        assert [(tmp_path / name).exists() for name in ("a", "b", "c")] == [True] * 3
