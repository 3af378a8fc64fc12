"""Are files written whole or not at all, and do errors name file, place, what was found and what is allowed?"""

import os
from typing import ClassVar

import pytest

from eden.files import FileError, VersionedFile, atomic_path, output_folder, read_text, write_text


class Example(VersionedFile):
    FORMAT: ClassVar[str] = "eden-example"
    VERSION: ClassVar[int] = 2
    rates: list[float]


def test_round_trip(tmp_path):
    Example(rates=[0.5]).save(tmp_path / "a.json")
    assert Example.load(tmp_path / "a.json") == Example(rates=[0.5])
    assert oct((tmp_path / "a.json").stat().st_mode & 0o777) == oct(0o666 & ~_umask())


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": "eden-example", "vers', "line 1, column .*truncated"),
        ("[]", "top level: found list, allowed is an object"),
        ('{"version": 2}', "format: found None, allowed is 'eden-example'"),
        ('{"format": "eden-example", "version": 3}', "version: found 3, allowed is 2"),
        ('{"format": "eden-example", "version": true}', "version: found True"),
        ('{"format": "eden-example", "version": 2}', "rates: Field required"),
        ('{"format": "eden-example", "version": 2, "rates": [1, "x"]}', r"rates\[1\]: .*found 'x'"),
        ('{"format": "eden-example", "version": 2, "rates": [], "more": 1}', "more: Extra inputs"),
        ("[" * 100000, "nested too deeply|line 1"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(FileError, match=message) as caught:
        Example.load(path)
    assert str(path) in str(caught.value)


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        read_text(tmp_path / "missing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="byte 0 is no UTF-8"):
        read_text(tmp_path / "binary")


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_text(path, "old")

    def interrupted() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_output_folders(tmp_path):
    assert output_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot be used as an output folder"):
        output_folder(tmp_path / "file")
    with pytest.raises(FileError, match="cannot be written"):
        write_text(tmp_path / "missing" / "x", "")
