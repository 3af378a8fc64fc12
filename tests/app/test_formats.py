"""Does ``eden.read`` read each kind of file, and say of any other what it found and what is allowed?"""

from __future__ import annotations

from pathlib import Path

import pytest

import eden
from eden.app.formats import KINDS, kind_of
from eden.app.run_recipe import DEMO, RunRecipe


def test_each_format_leads_to_its_class() -> None:
    assert {form: kind_of(form).FORMAT for form in KINDS} == {form: form for form in KINDS}


def test_a_device_and_a_recipe(tmp_path: Path) -> None:
    device = eden.Device.builtin("ddr3-b33")
    device.save(tmp_path / "mine")
    assert eden.read(tmp_path / "mine") == device
    (tmp_path / "demo.toml").write_text(DEMO.read_text())
    assert eden.read(tmp_path / "demo.toml") == RunRecipe.load(tmp_path / "demo.toml")


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.json", '{"format": "jpeg"}', r"a\.json: format: found 'jpeg', allowed are eden-account, eden-accuracy, .*"),
        ("a.json", '{"format": ["eden-device"]}', r"format: found \['eden-device'\], allowed are"),
        ("a.json", '{"format": "eden-device", "version": 0}', r"version: found 0, allowed is"),
        ("a.json", '{"format": ', r"line 1, column 12: .*; it is truncated or is no JSON file"),
        ("a.toml", "task = ", r"it is truncated or is no TOML file"),
        ("a.toml", "task = 1", r"format: found None, allowed are"),
        ("a.toml", f"task = {'1' * 5000}", r"a number in it cannot be read"),
        ("a.toml", f"task = {'[' * 5000}", r"nested too deeply to be one of EDEN's files"),
        ("a.safetensors", "", r"no file of results: a network or a checkpoint is read .* eden\.load_\(model, path\)"),
        ("a.pt2", "", r"no file of results: a package is given to eden\.profile"),
        ("a.journal", "", r"no file of results: a journal is gone on with"),
    ],
)
def test_what_is_none_is_refused(name: str, text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(eden.FileError, match=problem):
        eden.read(tmp_path / name)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(eden.FileError, match="cannot be read: No such file or directory"):
        eden.read(tmp_path / "nothing.json")
