"""Are files written whole or not at all, and do errors name file, place, what was found and what is allowed?"""

import importlib.resources
import json
import os
import resource
from pathlib import Path
from typing import ClassVar

import chain
import jsonschema
import pytest
import torch
from safetensors import safe_open

import eden
from eden.common.files import (
    HEADER_KEY,
    FileError,
    VersionedFile,
    atomic_path,
    kept,
    output_file,
    output_folder,
    read_text,
    write_tensors,
    write_text,
)
from eden.memory.errors import ErrorModel


class Example(VersionedFile):
    FORMAT: ClassVar[str] = "eden-example"
    VERSION: ClassVar[int] = 2
    rates: list[float]


def test_round_trip(tmp_path):
    Example(rates=[0.5]).save(tmp_path / "a.json")
    assert Example.load(tmp_path / "a.json") == Example(rates=[0.5])
    assert oct((tmp_path / "a.json").stat().st_mode & 0o777) == oct(0o666 & ~_umask())


# What the tests of these files write; each model of errors that a file can hold is among them.
MODELS = [
    eden.Uniform(1e-3, 0.5),
    eden.DataDependent(1e-4, 2e-3),
    eden.Bitline(1e-3, 0.1),
    eden.Wordline.measured([1e-3, 0.0, 0.2]),
    eden.CellMap(cells=[5, 9], flips_zero=[True, False], flips_one=True, bits=64, failure=0.25),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.KIND)
def test_the_schema_of_error_models_allows_what_is_written_and_nothing_else(model: ErrorModel) -> None:
    schema = jsonschema.Draft202012Validator(ErrorModel.json_schema())
    body = model.to_dict()
    schema.validate(body)
    for damaged in (
        {**body, "model": "unheard-of"},
        {**body, "failure": 1.5},
        {**body, "more": 1},
        {key: value for key, value in body.items() if key not in ("ber", "ber_one", "rates", "cells")},
    ):
        assert not schema.is_valid(damaged), damaged
        with pytest.raises((TypeError, ValueError)):
            ErrorModel.from_dict(damaged)


@pytest.mark.parametrize("name", eden.Device.builtin_names())
def test_the_catalogue_keeps_to_the_schema(name: str) -> None:
    body = json.loads((importlib.resources.files("eden.devices.catalogue") / f"{name}.json").read_text())
    schema = jsonschema.Draft202012Validator(eden.Device.json_schema())
    schema.validate(body)
    for damaged in ({**body, "version": 99}, {**body, "format": "eden-tolerance"}, {**body, "failure": 0}):
        assert not schema.is_valid(damaged)
    del body["geometry"]
    assert not schema.is_valid(body)


def test_files_keep_to_their_schema(tmp_path: Path) -> None:
    tolerance = chain.tolerance({"fc.weight": 1e-3, "fc.input": 1e-4})
    for file in (tolerance, eden.place(tolerance, chain.device())):
        file.save(tmp_path / "file.json")
        schema = jsonschema.Draft202012Validator(type(file).json_schema())
        schema.validate(json.loads((tmp_path / "file.json").read_text()))


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


def test_output_files(tmp_path):
    assert output_file(tmp_path / "a" / "b.json") == tmp_path / "a" / "b.json"
    assert list((tmp_path / "a").iterdir()) == []
    with pytest.raises(FileError, match="a: cannot be written: it is a folder"):
        output_file(tmp_path / "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="file: cannot be used as an output folder"):
        output_file(tmp_path / "file" / "b.json")


def test_only_regular_files_are_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, what in (("pipe", "a named pipe"), ("folder", "a folder")):
        with pytest.raises(FileError, match=f"{name}: cannot be written: it is {what}; allowed is a new or a regular"):
            write_text(tmp_path / name, "x")
    with pytest.raises(FileError, match="it is a character device"):
        write_text("/dev/null", "x")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FileError, match="cannot be written: "):
        write_text(tmp_path / "loop", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "loop", "pipe"]


def test_links_are_written_through(tmp_path):
    (tmp_path / "below").mkdir()
    link, dangling = tmp_path / "link", tmp_path / "dangling"
    (tmp_path / "below" / "target").write_text("old")
    link.symlink_to("below/target")
    dangling.symlink_to("below/new")
    for path in (link, dangling):
        write_text(path, "new")
        assert path.is_symlink()
        assert path.resolve().read_text() == "new"
    assert sorted(path.name for path in (tmp_path / "below").iterdir()) == ["new", "target"]


def test_what_is_read_stays(tmp_path):
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_text("read")
    other.hardlink_to(path)
    with kept([path, tmp_path / "missing"]):
        for name in (path, other):
            with pytest.raises(FileError, match="cannot be written: what is done here reads it; allowed is another"):
                write_text(name, "else")
            write_text(name, "read")
        write_text(tmp_path / "c", "else")
    assert path.samefile(other)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b", "c"]
    write_text(path, "else")
    assert other.read_text() == "read"


def test_the_umask_is_the_systems_business(tmp_path, monkeypatch):
    def toggled(mask: int) -> int:
        pytest.fail("another thread would have seen it")

    with monkeypatch.context() as patched:
        patched.setattr(os, "umask", toggled)
        write_text(tmp_path / "a", "x")
    before = os.umask(0o077)
    try:
        write_text(tmp_path / "b", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~before


def test_file_and_folder_are_on_the_disk(tmp_path, monkeypatch):
    synced = []
    sync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: (synced.append(os.readlink(f"/proc/self/fd/{handle}")), sync(handle))
    )
    write_text(tmp_path / "a", "x")
    assert [Path(name).name for name in synced][-1] == tmp_path.name
    assert synced[0].endswith(".partial")


def test_names_as_long_as_they_may_be(tmp_path):
    write_text(tmp_path / ("x" * 255), "x")
    with pytest.raises(FileError, match="File name too long"):
        write_text(tmp_path / ("x" * 256), "x")


def test_tensors_that_share_memory_or_are_strided(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    write_tensors(tmp_path / "a", {"whole": whole, "part": whole[1], "turned": whole.T}, "header")
    with safe_open(tmp_path / "a", framework="pt") as file:
        assert file.metadata() == {HEADER_KEY: "header"}
        assert torch.equal(file.get_tensor("turned"), whole.T)
        assert torch.equal(file.get_tensor("part"), whole[1])


def test_tensors_on_a_full_disk_leave_the_old_file(tmp_path):
    path = tmp_path / "a"
    write_tensors(path, {"x": torch.zeros(3)}, "old")
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(FileError, match=r"cannot be written: .*File too large"):
            write_tensors(path, {"x": torch.zeros(1000)}, "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
