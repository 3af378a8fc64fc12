"""Does a source distribution hold the repository, a wheel the package, and is torch found wherever it can lie?"""

import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "build_backend"))

import supported  # noqa: E402
import torch_location  # noqa: E402

# Of the repository, for those who work on it alone.
NOT_DISTRIBUTED = {".ci", ".clang-format", ".gitignore", ".pre-commit-config.yaml"}
# What a source distribution has beside the repository's files.
GENERATED = {"PKG-INFO", "setup.cfg"}
# What builds, tests and work leave in a checkout.
LEFTOVERS = (
    ".venv/bin/python",
    ".venv/lib/site-packages/torch/version.py",
    "build/eden_profile.o",
    "dist/eden_dram-0.0.1.tar.gz",
    "eden/_core.cpython-311-x86_64-linux-gnu.so",
    "eden/_ops.so",
    "eden/_ops_cuda.so",
    "eden/__pycache__/ops.cpython-311.pyc",
    "out/demo/index.html",
    "shared/dram/measurements.csv",
    "tests/__pycache__/test_ops.cpython-311.pyc",
    ".hypothesis/examples",
)


def _tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("what a source distribution holds is compared with a git checkout, which this is not")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


def _hook(folder: Path, hook: str, out: Path) -> Path:
    """One hook of the build backend, as a frontend calls it."""
    code = f"import sys; sys.path.insert(0, 'build_backend'); import backend; print(backend.{hook}({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution, made from a checkout in which people work, and unpacked."""
    tracked = _tracked()
    folder = tmp_path_factory.mktemp("sdist")
    checkout = folder / "checkout"
    for name in tracked:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, checkout / name)
    for name in LEFTOVERS:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("left over")
    archive = _hook(checkout, "build_sdist", folder)
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "unpacked", filter="data")
    (only,) = (folder / "unpacked").iterdir()
    return only


def test_the_sdist_is_the_repository(unpacked: Path) -> None:
    found = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    found = {name for name in found if not name.startswith("eden_dram.egg-info/")} - GENERATED
    expected = {name for name in _tracked() if name.split("/")[0] not in NOT_DISTRIBUTED}
    assert found == expected
    assert not found & set(LEFTOVERS)


def test_the_sdist_holds_every_source_that_is_compiled(unpacked: Path) -> None:
    lines = (unpacked / "cmake" / "sources.cmake").read_text().splitlines()
    sources = [line.strip() for line in lines if line.startswith("  ")]
    assert len(sources) > 80
    assert [name for name in sources if not (unpacked / name).is_file()] == []


# Nothing is compiled: the libraries are made up, where CMake leaves real ones.
_WHEEL = """
import sys
sys.path.insert(0, "build_backend")
import setuptools.command.build_ext
from pathlib import Path
from unittest import mock
import backend, subprocess
def pretend(command, *rest, **named):
    out = next((Path(word.split("=", 1)[1]) for word in command if word.startswith("-DEDEN_OUTPUT_DIR=")), None)
    if out is None:
        return
    # Named at each build: what a build in this folder found earlier may be gone with its environment.
    (ninja,) = [word.split("=", 1)[1] for word in command if word.startswith("-DCMAKE_MAKE_PROGRAM=")]
    assert Path(ninja).is_file(), ninja
    for name in ("_core.so", "_ops.so"):
        (out / name).write_text("just built")
with mock.patch.object(subprocess, "check_call", pretend):
    print(backend.build_wheel(sys.argv[1]))
"""


def test_the_wheel_of_an_sdist_holds_the_package_and_no_library_of_an_earlier_build(
    unpacked: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(unpacked, source)
    stale = ("eden/_core.cpython-311-x86_64-linux-gnu.so", "eden/_ops.so", "eden/_ops_cuda.so")
    for name in stale:
        (source / name).write_text("of an earlier build")
    # No git, and nothing else, on the path.
    done = subprocess.run(
        [sys.executable, "-c", _WHEEL, str(tmp_path)],
        cwd=source,
        env={**os.environ, "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    wheel = tmp_path / done.stdout.splitlines()[-1]
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    # _core is compiled for one Python, so that the wheel is for that one alone.
    assert wheel.name.split("-")[2:4] == [python, python]
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if ".dist-info/" not in name}
        built = {name for name in names if name.endswith(".so")}
        assert {packed.read(name) for name in built} == {b"just built"}
    assert built == {"eden/_core.so", "eden/_ops.so"}
    assert names - built == {name for name in _tracked() if name.startswith("eden/")}


def test_what_draws_is_an_extra_and_every_dependency_is_bounded() -> None:
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = stated["project"]
    optional = project["optional-dependencies"]
    required = itertools.chain(stated["build-system"]["requires"], project["dependencies"], *optional.values())
    for requirement in required:
        assert "<" in requirement or "==" in requirement or requirement.startswith("eden-dram["), requirement
    assert not [name for name in project["dependencies"] if name.startswith(("matplotlib", "jinja2"))]
    assert "eden-dram[report]" in optional["demo"]


# -- where torch is ---------------------------------------------------------------------------------------------------


def _make_torch(site: Path, version: str = "2.13.0+cpu", headers: bool = True) -> Path:
    torch = site / "torch"
    stable = torch / "include" / "torch" / "csrc" / "stable"
    stable.mkdir(parents=True)
    (torch / "__init__.py").write_text("raise RuntimeError('torch was imported')")
    (torch / "version.py").write_text(f"from typing import Optional\n__version__ = '{version}'\ncuda = None\n")
    if headers:
        (stable / "library.h").touch()
    return torch


def _make_environment(folder: Path, shared: bool = False) -> Path:
    """A virtual environment, and its folder of packages."""
    venv.create(folder, system_site_packages=shared, symlinks=True, with_pip=False)
    (site,) = folder.glob("lib/python3*/site-packages")
    return site


def _python(environment: Path) -> str:
    return str(environment / "bin" / "python")


def _found(python: str, environ: dict[str, str], folder: Path) -> str:
    """What the finder says in a build that another program, which was started with that environment, orders."""
    order = (
        "import json, os, subprocess, sys; "
        "inside = dict(json.loads(sys.argv[1]), PATH=os.environ['PATH']); "
        "sys.exit(subprocess.run(sys.argv[2:], env=inside).returncode)"
    )
    ask = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'build_backend')!r})\n"
        "import torch_location\n"
        "try: print(torch_location.find())\n"
        "except torch_location.NoTorchError as error: print('none:', error)\n"
    )
    # An isolated build: pip sets both, uv and build start a Python of an environment of their own.
    inside = {"PYTHONNOUSERSITE": "1", "PYTHONPATH": str(folder / "overlay")}
    done = subprocess.run(
        [sys.executable, "-S", "-c", order, json.dumps(inside), python, "-c", ask],
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment without torch."""
    _make_environment(tmp_path / "env")
    return tmp_path / "env"


@pytest.fixture
def site(environment: Path) -> Path:
    (site,) = environment.glob("lib/python3*/site-packages")
    return site


def test_torch_of_the_environment_is_found_in_a_build_that_hides_its_packages(
    environment: Path, site: Path, tmp_path: Path
) -> None:
    torch = _make_torch(site)
    # As pip does it: sitecustomize takes the environment's packages off the path.
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    hide = f"import sys; sys.path[:] = [path for path in sys.path if path != {str(site)!r}]"
    (overlay / "sitecustomize.py").write_text(hide)
    assert _found(_python(environment), {"PATH": ""}, tmp_path) == str(torch)


def test_torch_of_a_pth_file_is_found(environment: Path, site: Path, tmp_path: Path) -> None:
    torch = _make_torch(tmp_path / "elsewhere")
    (site / "elsewhere.pth").write_text(str(torch.parent))
    assert _found(_python(environment), {"PATH": ""}, tmp_path) == str(torch)


def test_torch_of_pythonpath_is_found(environment: Path, tmp_path: Path) -> None:
    torch = _make_torch(tmp_path / "elsewhere")
    environ = {"PATH": "", "PYTHONPATH": str(torch.parent)}
    assert _found(_python(environment), environ, tmp_path) == str(torch)


@pytest.mark.parametrize("shared", [True, False])
def test_torch_of_the_user_is_found_where_the_environment_shares_it(shared: bool, tmp_path: Path) -> None:
    _make_environment(tmp_path / "env", shared)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    torch = _make_torch(tmp_path / "user" / "lib" / version / "site-packages")
    environ = {"PATH": "", "PYTHONUSERBASE": str(tmp_path / "user")}
    found = _found(_python(tmp_path / "env"), environ, tmp_path)
    assert (found == str(torch)) == shared


def test_torch_beside_the_base_python_is_found_where_the_environment_shares_it(tmp_path: Path) -> None:
    base = tmp_path / "base"
    torch = _make_torch(_make_environment(base))
    site = _make_environment(tmp_path / "env", shared=True)
    # An environment of an environment shares the packages of the Python below both, so that one is made up by a .pth.
    (site / "base.pth").write_text(str(torch.parent))
    assert _found(_python(tmp_path / "env"), {"PATH": ""}, tmp_path) == str(torch)


@pytest.mark.parametrize("how", ["VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT_ENVIRONMENT", ".venv", "PATH"])
def test_a_build_in_an_environment_of_its_own_finds_the_torch_of_the_one_to_install_into(
    how: str, environment: Path, tmp_path: Path
) -> None:
    work = tmp_path / "project" / "folder"
    work.mkdir(parents=True)
    goal = tmp_path / "project" / ".venv" if how == ".venv" else tmp_path / "goal"
    torch = _make_torch(_make_environment(goal))
    environ = {"PATH": ""}
    if how == "PATH":
        environ = {"PATH": f"/nowhere:{goal / 'bin'}"}
    elif how != ".venv":
        environ[how] = str(goal)
    assert _found(_python(environment), environ, work) == str(torch)


def test_an_active_environment_goes_before_one_around_the_folder(environment: Path, tmp_path: Path) -> None:
    _make_torch(_make_environment(tmp_path / ".venv"))
    active = _make_torch(_make_environment(tmp_path / "active"))
    environ = {"PATH": "", "VIRTUAL_ENV": str(tmp_path / "active")}
    assert _found(_python(environment), environ, tmp_path) == str(active)


@pytest.mark.parametrize(
    ("version", "headers", "message"),
    [
        ("2.9.1+cpu", True, "is torch 2.9; allowed is 2.10 or later"),
        ("2.12.0", False, "has no headers"),
        ("unknown", True, "states no version"),
    ],
)
def test_a_torch_that_cannot_be_compiled_against_is_named_and_another_one_taken(
    version: str, headers: bool, message: str, environment: Path, site: Path, tmp_path: Path
) -> None:
    bad = _make_torch(site, version, headers)
    found = _found(_python(environment), {"PATH": ""}, tmp_path)
    assert found.startswith(f"none: {bad} {message}; run: pip install 'torch>=2.10', or set EDEN_TORCH")
    good = _make_torch(_make_environment(tmp_path / "other"))
    environ = {"PATH": "", "VIRTUAL_ENV": str(tmp_path / "other")}
    assert _found(_python(environment), environ, tmp_path) == str(good)


def test_no_torch_at_all_is_said(environment: Path, tmp_path: Path) -> None:
    assert _found(_python(environment), {"PATH": ""}, tmp_path).startswith("none: no torch can be imported; run: pip")


def test_eden_torch_names_one_and_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = _make_torch(tmp_path)
    monkeypatch.setenv("EDEN_TORCH", str(torch))
    assert torch_location.find() == torch
    monkeypatch.setenv("EDEN_TORCH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"EDEN_TORCH=.* holds no version\.py; allowed is the folder of a torch"):
        torch_location.find()


def test_the_backend_asks_for_torch_only_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import backend

    monkeypatch.setenv("EDEN_TORCH", str(_make_torch(tmp_path)))
    assert not [name for name in backend.get_requires_for_build_wheel() if name.startswith("torch")]

    def none() -> Path:
        raise torch_location.NoTorchError("none")

    monkeypatch.setattr(torch_location, "find", none)
    assert backend.TORCH_FOR_HEADERS in backend.get_requires_for_build_wheel()
    assert backend.TORCH_FOR_HEADERS in backend.get_requires_for_build_editable()


# -- what is built for ------------------------------------------------------------------------------------------------


def test_machines_that_nothing_is_built_for_are_refused_and_untested_ones_named() -> None:
    assert supported.refusal("linux", 2**63 - 1) is None
    assert "32 bits; allowed are 64" in str(supported.refusal("linux", 2**31 - 1))
    assert "win32; allowed are Linux (tested) and macOS (untested)" in str(supported.refusal("win32", 2**63 - 1))
    assert supported.refusal("darwin", 2**63 - 1) is None
    assert supported.warning("linux", "x86_64-pc-linux-gnu") is None
    assert "musl" in str(supported.warning("linux", "x86_64-pc-linux-musl"))
    assert "darwin; Linux is tested" in str(supported.warning("darwin", ""))
