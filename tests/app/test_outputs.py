"""Does every command refuse an output that is its input, a device, a folder, or cannot be written, and change nothing?

``python tests/app/test_outputs.py`` prints the same as a table.
"""

from __future__ import annotations

import inspect
import os
import re
import resource
import socket
import stat
import subprocess
import sys
import tempfile
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer.main

from eden.app import cli, shell
from eden.app.options import Command, declarations
from eden.app.paths import Given, Input, Output, OutputFolder, check

# A line for each output of each command: INPUT is what the output is laid over, OUT the output, OTHER another one.
COMMANDS = {
    "devices plot": "INPUT --out OUT.svg",
    "fit": "INPUT --out OUT",
    "fit --plot": "INPUT --out OTHER.json --plot OUT.svg",
    "export": "--network INPUT --out OUT.pt2",
    "export --data": "--network INPUT --out OTHER.pt2 --data OUT.safetensors",
    "profile": "--network INPUT --out OUT",
    "profile --journal": "--network INPUT --out OTHER.json --journal OUT",
    "place": "--tolerance INPUT --device ddr3-b33 --out OUT",
    "memory-map": "--network INPUT --placement p.json --device ddr3-b33 --out OUT",
    "memory-map --csv": "--network n --placement INPUT --device ddr3-b33 --out OTHER.json --csv OUT.csv",
    "savings": "--network INPUT --placement p.json --out OUT",
    "traffic": "--network INPUT --out OUT",
    "account": "--network n --placement INPUT --out OUT",
    "certify": "--network INPUT --placement p.json --out OUT",
    "certify --journal": "--network n --placement INPUT --out OTHER.json --journal OUT",
    "evaluate": "--network INPUT --out OUT",
}
FOLDERS = {
    "fit": "INPUT --all OUT",
    "retrain": "--device INPUT --out OUT",
    "run": "recipe --network INPUT --out OUT",
    "report": "OUT --device INPUT",
    "demo": "--device INPUT --out OUT",
}
HELD = {
    "fit": "m1.json",
    "retrain": "boosted.safetensors",
    "run": "network.safetensors",
    "report": "index.html",
    "demo": "rounds.json",
}
CASES = (
    "its input",
    "a spelling of it",
    "a link to it",
    "a hard link to it",
    "another file",
    "a folder",
    "a device",
    "a pipe",
    "a socket",
    "no place",
)


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its name."""

    def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        if not hasattr(command, "commands"):
            yield name, command
            return
        for part, found in command.commands.items():
            yield from below(f"{name} {part}".strip(), found)

    yield from below("", typer.main.get_command(shell.app))


def status_of(words: list[str]) -> int:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sys, "argv", ["eden", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def words_of(command: str, given: str, source: Path, out: Path) -> list[str]:
    """The words of a command, with the paths in the places of their names."""
    words = [word for word in command.split() if not word.startswith("-")]
    for word in given.split():
        name = Path(word)
        paths = {"INPUT": source, "OUT": out, "OTHER": out.parent / f"other{name.suffix}"}
        words.append(str(paths.get(name.stem, word)))
    return words


def snapshot(folder: Path) -> dict[str, Any]:
    """All that is in a folder, by kind, content and place on the disk."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        link = os.readlink(path) if path.is_symlink() else ""
        found[str(path.relative_to(folder))] = (stat.S_IFMT(status.st_mode), status.st_ino, content, link)
    return found


def lay(case: str, folder: Path, ending: str) -> tuple[Path, Path]:
    """An input, and an output that must be refused beside it."""
    given = folder / f"input{ending}"
    given.write_text("measured once")
    out = folder / f"out{ending}"
    if case == "its input":
        return given, given
    if case == "a spelling of it":
        (folder / "below").mkdir()
        return given, folder / "below" / ".." / given.name
    if case == "a link to it":
        out.symlink_to(given.name)
    elif case == "a hard link to it":
        out.hardlink_to(given)
    elif case == "another file":
        out.write_text("of somebody else")
    elif case == "a folder":
        out.mkdir()
    elif case == "a device":
        if os.geteuid() == 0:
            os.mknod(out, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        else:
            out.symlink_to("/dev/null")
    elif case == "a pipe":
        os.mkfifo(out)
    elif case == "a socket":
        listening = socket.socket(socket.AF_UNIX)
        before = Path.cwd()
        os.chdir(folder)  # the names of sockets are short
        listening.bind(out.name)
        os.chdir(before)
        listening.close()
    else:
        # Where not even root can make a file.
        return given, Path(f"/proc/no-such-place/out{ending}")
    return given, out


def refused(command: str, case: str, folder: Path) -> str:
    """What a command says of an output; it changes nothing, and computes nothing."""
    given = COMMANDS[command]
    found = re.search(r"OUT(\.\w+)?", given)
    assert found is not None
    source, out = lay(case, folder, found[1] or "")
    before = snapshot(folder)
    words = words_of(command, given, source, out)
    said = said_by(words)
    assert snapshot(folder) == before
    return said


def said_by(words: list[str]) -> str:
    with tempfile.TemporaryFile("w+") as err:
        kept = os.dup(2)
        stderr, sys.stderr = sys.stderr, err
        os.dup2(err.fileno(), 2)
        try:
            status = status_of(words)
        finally:
            sys.stderr = stderr
            os.dup2(kept, 2)
            os.close(kept)
        err.seek(0)
        text = err.read()
    assert status == 1, text
    lines = text.splitlines()
    assert len(lines) == 1, text
    return lines[0].removeprefix("eden: ")


SAID = {
    "its input": "at once; allowed are different files",
    "a spelling of it": "at once; allowed are different files",
    "a link to it": "at once; allowed are different files",
    "a hard link to it": "at once; allowed are different files",
    "another file": "replaces nothing else: remove it, or take another name",
    "a folder": "cannot be written: it is a folder; allowed is a new or a regular file",
    "a device": "cannot be written: it is a character device; allowed is a new or a regular file",
    "a pipe": "cannot be written: it is a named pipe; allowed is a new or a regular file",
    "a socket": "cannot be written: it is a socket; allowed is a new or a regular file",
    "no place": "cannot be used as an output folder: ",
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("command", COMMANDS)
def test_refused_and_nothing_changed(command: str, case: str, tmp_path: Path) -> None:
    if case == "another file" and command.endswith("--journal"):
        pytest.skip("a journal is opened and checked by the search, which refuses what is none")
    assert SAID[case] in refused(command, case, tmp_path)


@pytest.mark.parametrize("command", FOLDERS)
def test_folders_that_hold_an_input(command: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    held = out / HELD[command]
    held.write_text("given")
    linked = tmp_path / "linked"
    linked.symlink_to(held)
    for source in (held, linked, out / ".." / "out" / held.name):
        before = snapshot(tmp_path)
        said = said_by(words_of(command, FOLDERS[command], source, out))
        replaced = r"is (--device|--network|MEASUREMENTS), and (--out|OUT|--all) would replace it; allowed is another"
        assert re.search(replaced, said)
        assert snapshot(tmp_path) == before


@pytest.mark.parametrize("command", FOLDERS)
def test_folders_that_are_none(command: str, tmp_path: Path) -> None:
    source, out = lay("a device", tmp_path, "")
    for place in (source, out, Path("/proc/no-such-place/out")):
        before = snapshot(tmp_path)
        assert "cannot be " in said_by(words_of(command, FOLDERS[command], Path("ddr3-b33"), place))
        assert snapshot(tmp_path) == before


@pytest.mark.parametrize("command", ["retrain", "run"])
def test_files_that_a_recipe_names(command: str, tmp_path: Path) -> None:
    kinds = {"retrain": "recipe", "run": "run"}
    out, recipe = tmp_path / "out", tmp_path / "recipe.toml"
    (out / "boost").mkdir(parents=True)
    name = {"retrain": "boost.safetensors", "run": "boost/boosted.safetensors"}[command]
    (out / name).write_text("given")
    table = f'[curriculum]\nplacement = "{out / name}"\n'
    recipe.write_text(f'format = "eden-{kinds[command]}"\nversion = 1\n{table}')
    before = snapshot(tmp_path)
    for options in ([], ["--force"], ["--resume"]):
        said = said_by([command, str(recipe), "--out", str(out), *options])
        assert said.endswith(
            "is curriculum.placement, and --out would replace it; allowed is another file or another folder"
        )
        assert snapshot(tmp_path) == before


def test_a_page_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<!DOCTYPE html>\n<title>my homepage</title>")
    before = snapshot(tmp_path)
    assert "is there already and is no index.html of a report" in said_by(
        ["report", str(tmp_path), "--device", "ddr3-b33"]
    )
    assert snapshot(tmp_path) == before


def test_a_report_on_the_files_of_its_folder(tmp_path: Path) -> None:
    import json

    import eden

    device = tmp_path / "device.json"
    eden.Device.builtin("ddr3-b33").save(device)
    device.write_text(json.dumps(json.loads(device.read_text())))  # in other words
    before = device.read_bytes()
    for _ in range(2):
        assert status_of(["report", str(tmp_path), "--device", str(device)]) == 0
        assert device.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"device.json", "index.html"}


def test_an_earlier_file_of_its_kind_is_replaced_and_a_link_written_through(tmp_path: Path) -> None:
    target, link = tmp_path / "target.svg", tmp_path / "link.svg"
    for before in ("", '<?xml version="1.0"?>', "<svg>"):
        target.write_text(before)
        target.chmod(0o600)
        if not link.is_symlink():
            link.symlink_to(target.name)
        assert status_of(["devices", "plot", "ddr3-b33", "--out", str(link)]) == 0
        assert link.is_symlink()
        assert len(target.read_bytes()) > 1000


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system without room."""
    place = tmp_path / "full"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    try:
        (place / "large").write_bytes(b"x" * 4096)
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


PLOT = ["devices", "plot", "ddr3-b33", "--out"]


def test_a_full_disk(full_disk: Path) -> None:
    before = snapshot(full_disk)
    assert said_by([*PLOT, str(full_disk / "b33.svg")]).endswith("cannot be written: No space left on device")
    assert snapshot(full_disk) == before


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "b33.svg").write_text("<svg>")
    before = snapshot(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        assert said_by([*PLOT, str(tmp_path / "b33.svg")]).endswith("cannot be written: File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert snapshot(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_leave_to_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert "Permission denied" in said_by([*PLOT, str(tmp_path / "b33.svg")])
    finally:
        tmp_path.chmod(0o700)


# -- that no command can forget it


def undeclared(function: Callable[..., Any]) -> list[str]:
    """Parameters that look like files and say nothing of whether they are read or written."""
    function = inspect.unwrap(function)
    declared = declarations(function)
    defaults = inspect.signature(function).parameters
    found = []
    for name, hint in typing.get_type_hints(function, include_extras=True).items():
        if name == "return" or name in declared:
            continue
        marks = (*getattr(hint, "__metadata__", ()), defaults[name].default)
        said = " ".join(getattr(mark, "help", None) or "" for mark in marks)
        names_file = "str" in str(hint) and re.search(r"\b(file|folder|package)\b", said)
        if "Path" in str(hint) or names_file:
            found.append(name)
    return found


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_every_path_is_declared(name: str) -> None:
    command = dict(commands())[name]
    assert isinstance(command, Command)
    said_of_files = {"format", "module", "at", "repeats", "cells_per_bank"}  # of what is in one
    assert command.callback is not None
    assert set(undeclared(command.callback)) <= said_of_files


def test_a_path_that_is_not_declared_is_found() -> None:
    def forgetful(
        out: Path,
        more: list[Path] | None = None,
        table: str = typer.Option("", help="a file of currents"),
        label: str = "x",
        read: Annotated[Path | None, Input()] = None,
    ) -> None:
        pass

    assert undeclared(forgetful) == ["out", "more", "table"]


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_every_output_is_in_the_table(name: str) -> None:
    declared = declarations(dict(commands())[name].callback)
    outputs = {key for key, mark in declared.items() if isinstance(mark, Output)}
    listed = {key.removeprefix(name).strip(" -") or "out" for key in COMMANDS if re.fullmatch(rf"{name}( --\w+)?", key)}
    assert listed == outputs
    assert any(isinstance(mark, OutputFolder) for mark in declared.values()) == (name in FOLDERS)


# -- the rules beside the commands


def out(value: object, name: str = "out", declared: Output | None = None) -> Given:
    return Given(name, f"--{name}", declared or Output("file", None), value)


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    (tmp_path / "link").symlink_to("new")
    for one, other in (("a", "a"), ("a", "./a"), ("link", "new"), ("there", "there/below"), ("a", "a/below")):
        with pytest.raises(ValueError, match=r"is --out and --csv at once; allowed are different files|it is a folder"):
            check([out(tmp_path / one), out(tmp_path / other, "csv")])
    check([out(tmp_path / "a"), out(tmp_path / "ab", "csv"), out(tmp_path / "b" / "a", "plot"), out(None, "none")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "link", "there"]


def test_a_file_beside_an_output_is_one_as_well(tmp_path: Path) -> None:
    declared = Output("file", None, beside=".journal", unless="journal")
    network = Given("network", "--network", Input(), tmp_path / "a.journal")
    with pytest.raises(ValueError, match=r"a.journal: is --network and the .journal of --out at once"):
        check([network, out(tmp_path / "a", declared=declared)])
    check([network, out(tmp_path / "a", declared=declared), out(tmp_path / "other", "journal")])
    check([out(tmp_path / "a", declared=declared), out(tmp_path / "a.journal", "journal")])


def test_inputs_of_which_there_are_several(tmp_path: Path) -> None:
    several = Given("accuracy", "--accuracy", Input(), [tmp_path / "a", tmp_path / "b"])
    assert check([several]) == [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(ValueError, match=r"is --accuracy and --out at once"):
        check([several, out(tmp_path / "b")])


def table() -> None:
    """Print what each command says of each output."""
    rows: dict[str, Callable[[Path], str]] = {}
    for command in COMMANDS:
        for case in CASES:
            if not (case == "another file" and command.endswith("--journal")):
                rows[f"{command:18} {case:18}"] = lambda folder, a=command, b=case: refused(a, b, folder)  # type: ignore[misc]
    for label, say in rows.items():
        with tempfile.TemporaryDirectory() as folder:
            print(f"{label} refused, nothing changed: {say(Path(folder)).replace(folder, '.')}")


if __name__ == "__main__":
    table()
