"""Does a journal survive a kill at any byte, and refuse what is damaged, foreign or of another run?"""

import json
import zlib
from pathlib import Path

import pytest

from eden.common.files import FileError
from eden.common.journal import Journal

RUN = {"max_drop": 0.01, "operands": [["fc.weight", 10]], "data": "ab12"}


def write(path: Path, reports: int = 3) -> bytes:
    with Journal(path, RUN) as journal:
        for trial in range(len(journal.history), reports):
            journal.append(trial, trial / 7)
    return path.read_bytes()


def test_reports_come_back_exactly(tmp_path: Path) -> None:
    write(tmp_path / "j")
    with Journal(tmp_path / "j", RUN) as journal:
        assert journal.history == [(0, 0.0), (1, 1 / 7), (2, 2 / 7)]


def test_torn_at_any_byte_and_resumed(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", 2)
    for length in range(len(whole)):
        path = tmp_path / "torn"
        path.write_bytes(whole[:length])
        assert write(path, 2) == whole


def test_torn_line_followed_by_its_newline(tmp_path: Path) -> None:
    whole = write(tmp_path / "j")
    (tmp_path / "j").write_bytes(whole[:-9] + b"\n")
    assert write(tmp_path / "j") == whole


@pytest.mark.parametrize("line", [1, 2, 3])
def test_damage_elsewhere_names_the_line(tmp_path: Path, line: int) -> None:
    lines = write(tmp_path / "j").splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace(b"0", b"9")
    damaged = b"".join(lines)
    (tmp_path / "j").write_bytes(damaged)
    with pytest.raises(FileError, match=f"line {line}: damaged"):
        Journal(tmp_path / "j", RUN)
    assert (tmp_path / "j").read_bytes() == damaged


def test_a_line_is_checked_as_it_was_written(tmp_path: Path) -> None:
    """Another driver may write the same values otherwise."""
    checksum = int(write(tmp_path / "j", 0)[-11:-3], 16)
    with (tmp_path / "j").open("ab") as file:
        for body in (
            b'{ "trial": 0, "difference": 1.0E-05',
            b'{"trial":1,"budget":90',
            b'{"difference":0.25,"trial":1',
        ):
            checksum = zlib.crc32(body, checksum)
            file.write(body + b',"crc32":"%08x"}\n' % checksum)
    with Journal(tmp_path / "j", RUN) as journal:
        assert journal.history == [(0, 1e-5), (1, 0.25)]
        assert journal.budgets == [(1, 90)]
    for line in (tmp_path / "j").read_text().splitlines():
        assert len(json.loads(line)["crc32"]) == 8


def test_a_journal_of_version_1_is_refused_by_its_version(tmp_path: Path) -> None:
    header = {"format": "eden-journal", "version": 1, "fingerprint": RUN}
    old = json.dumps({**header, "crc32": f"{zlib.crc32(json.dumps(header).encode()):08x}"}) + "\n"
    (tmp_path / "j").write_text(old)
    with pytest.raises(FileError, match="line 1: version: found 1, allowed is 3, this version of eden's"):
        Journal(tmp_path / "j", RUN)
    assert (tmp_path / "j").read_text() == old


def test_lines_that_are_left_out_or_of_another_journal_are_damage(tmp_path: Path) -> None:
    """A checksum goes on from the line before, so that no line stands anywhere but where it was written."""
    lines = write(tmp_path / "j").splitlines(keepends=True)
    with Journal(tmp_path / "other", {**RUN, "data": "cd34"}) as journal:
        for trial in range(3):
            journal.append(trial, 0.0)
    theirs = (tmp_path / "other").read_bytes().splitlines(keepends=True)
    for number, planted in (
        (3, [*lines[:2], *lines[3:]]),
        (2, [lines[0], *theirs[1:]]),
        (4, [*lines[:3], theirs[3], b""]),
    ):
        (tmp_path / "j").write_bytes(b"".join(planted) + theirs[3])
        with pytest.raises(FileError, match=f"line {number}: damaged"):
            Journal(tmp_path / "j", RUN)


@pytest.mark.parametrize("field", list(RUN))
def test_another_run_names_the_field(tmp_path: Path, field: str) -> None:
    write(tmp_path / "j")
    with pytest.raises(FileError, match=f"another run: {field} was .* there and is 5 here"):
        Journal(tmp_path / "j", {**RUN, field: 5})


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"no newline", b"{}\n"])
def test_another_file_is_not_overwritten(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "j").write_bytes(content)
    with pytest.raises(FileError, match="line 1"):
        Journal(tmp_path / "j", RUN)
    assert (tmp_path / "j").read_bytes() == content


def test_in_use_and_unusable(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", RUN), pytest.raises(FileError, match="in use"):
        Journal(tmp_path / "j", RUN)
    with pytest.raises(FileError, match="cannot be used as a journal"):
        Journal(tmp_path / "missing" / "j", RUN)
    with pytest.raises(FileError, match="cannot be used as a journal: it is no regular file"):
        Journal("/dev/null", RUN)
