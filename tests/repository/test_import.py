"""Does each name and each command load what it needs and no more, and stay what it is whatever was loaded before?"""

from __future__ import annotations

import ast
import functools
import importlib
import json
import pickle
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

import eden
from eden.app import cli, commands, shell
from eden.app.formats import KINDS
from eden.app.schemas import __main__ as schemas
from eden.common.files import VersionedFile

PACKAGE = Path(eden.__file__).parent
STUB = ast.parse((PACKAGE / "__init__.pyi").read_text())

# Of modules that were loaded before there is no more to be told, so each question gets a fork of a bare process.
FORKED = """
import importlib, json, os, runpy, sys
for module in sys.argv[1].split():
    importlib.import_module(module)
def answer(ask):
    reading, writing = os.pipe()
    if os.fork() == 0:
        output = os.dup(1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        before = set(sys.modules)
        try:
            ask()
        except SystemExit:
            pass
        with open(writing, "w") as told:
            json.dump(sorted(set(sys.modules) - before), told)
        os._exit(0)
    os.close(writing)
    with open(reading) as told:
        text = told.read()
    assert os.wait()[1] == 0
    return json.loads(text)
"""
NAMES = """
def use(name):
    import eden
    getattr(eden, name)
print(json.dumps({name: answer(lambda: use(name)) for name in sys.argv[2:]}))
"""
COMMANDS = """
def command(line):
    sys.argv = ["eden", *line.split()]
    from eden.app.cli import main
    main()
print(json.dumps({line: answer(lambda: command(line)) for line in sys.argv[2:]}))
"""

HEAVY = {"torch._dynamo", "torch._inductor", "matplotlib", "jinja2", "rich", "typer", "sklearn", "safetensors"}
SCIPY = {f"scipy.{name}" for name in ("integrate", "interpolate", "linalg", "optimize", "sparse", "special", "stats")}

OUTSIDE = (
    "eden._",
    "eden.boosting.lightning",
    "eden.boosting.transformers",
    "eden.devices.catalogue.__",
    "eden.app.schemas.__",
)
"""Beginnings of the modules that are programs, not the package's, or need what is not installed."""

PARTITION = {"devices.margin", "devices.partition", "devices.upper_rates"}
DEVICE = {"devices.device", *PARTITION}
PLACEMENT = {*PARTITION, "common.provenance", "placement.placement", "placement.rotation"}
TOLERANCE = {"common.provenance", "tolerance.tolerance"}
PLACE = {*PLACEMENT, *TOLERANCE, "devices.device"}
TRAFFIC = {"costs.platforms", "costs.traffic_file"}
MAP = {*PLACEMENT, "devices.device", "placement.map_file"}
ACCOUNT = {*PLACEMENT, *TRAFFIC, "accounting.results", "costs.energy"}
STEPS: dict[str, set[str]] = {
    "load_ save": {"faults.checkpoint"},
    "Tolerance profile SearchError": TOLERANCE,
    "certify": {*TOLERANCE, *PARTITION, "tolerance.verification"},
    "evaluate": {"common.provenance"},
    "Device check fit": DEVICE,
    "Placement": PLACEMENT,
    "place": PLACE,
    "memory_map": MAP,
    "memory_image deploy": {*MAP, "deployment.image"} - {"placement.placement"},
    "report": {*MAP, *TOLERANCE, "accounting.results", "reporting.accuracy", "tolerance.verification"},
    "traffic": TRAFFIC,
    "savings account": ACCOUNT,
    "export": {*TOLERANCE, "tolerance.package"},
}
RECORDS = {name: modules for names, modules in STEPS.items() for name in names.split()}
"""The modules of pydantic models that a name loads; no others load any."""

OPTIONAL = {"FileError": {"pydantic"}, "save_checkpoint": {"pydantic", "safetensors"}}
OPTIONAL |= {"load_checkpoint_": OPTIONAL["save_checkpoint"], "Task": OPTIONAL["save_checkpoint"], "read": {"pydantic"}}
OPTIONAL["train"] = OPTIONAL["save_checkpoint"]
OPTIONAL["Condition"] = OPTIONAL["FileError"]


def forked(code: str, modules: str, *questions: str) -> dict[str, set[str]]:
    """What each question loads, in a process that has loaded ``modules``."""
    command = [sys.executable, "-c", FORKED + code, modules, *questions]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return {question: set(loaded) for question, loaded in json.loads(found.stdout).items()}


def fresh(code: str, *arguments: object) -> str:
    """What a process of its own prints."""
    found = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return found.stdout


@functools.cache
def models() -> set[str]:
    """The modules that define pydantic models."""
    return {
        module.name.removeprefix("eden.")
        for module in pkgutil.walk_packages(eden.__path__, "eden.")
        if not module.name.startswith(OUTSIDE) and module.name != "eden.common.files"
        for kind in vars(importlib.import_module(module.name)).values()
        if hasattr(kind, "__pydantic_validator__") and kind.__module__ == module.name
    }


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """What the first use of each name loads, torch aside."""
    return forked(NAMES, "torch", "__name__", *eden.__all__)


def test_importing_eden_loads_nothing(loaded: dict[str, set[str]]) -> None:
    outside = {name for name in loaded["__name__"] if name.partition(".")[0] not in sys.stdlib_module_names}
    assert outside == {"eden", "lazy_loader"}


@pytest.mark.parametrize("name", eden.__all__)
def test_a_name_loads_its_own_step_alone(loaded: dict[str, set[str]], name: str) -> None:
    found = loaded[name]
    assert f"eden.{module_of(name)}" in found
    packages = {*HEAVY, *SCIPY} & found
    if name in RECORDS:
        assert packages <= {"safetensors"}
    else:
        assert packages <= OPTIONAL.get(name, set())
        assert ("pydantic" in found) == ("pydantic" in OPTIONAL.get(name, set()))
    assert {module.removeprefix("eden.") for module in found} & models() == RECORDS.get(name, set())


def test_what_needs_no_tensors_loads_no_torch() -> None:
    names = ("Uniform", "Bitline", "CellMap", "Geometry", "FileError", "Device", "fit", "Tolerance", "place", "savings")
    for name, found in forked(NAMES, "", *names, "account", "__version__").items():
        assert "torch" not in found, name
    assert "torch" in forked(NAMES, "", "corrupt")["corrupt"]


def module_of(name: str) -> str:
    """The module that the stub says a name lies in."""
    return next(found for found, names in stub_imports() if name in names)


def stub_imports() -> list[tuple[str, list[str]]]:
    return [
        (node.module or "", [alias.name for alias in node.names])
        for node in STUB.body
        if isinstance(node, ast.ImportFrom)
    ]


def test_the_stub_offers_what_the_package_does() -> None:
    offered = next(ast.literal_eval(node.value) for node in STUB.body if isinstance(node, ast.Assign))
    assert offered == eden.__all__ == sorted(set(eden.__all__))
    assert sorted(name for _, names in stub_imports() for name in names) == eden.__all__
    assert set(dir(eden)) >= {*eden.__all__, "__version__", "__path__"}


def test_no_name_is_a_module() -> None:
    assert not {module.name for module in pkgutil.iter_modules(eden.__path__)} & set(eden.__all__)


@pytest.mark.parametrize("seed", range(3))
def test_names_stay_what_they_are_whatever_is_imported_in_whichever_order(seed: int) -> None:
    script = """
import importlib, pkgutil, random, sys, types
import eden
rest = tuple(sys.argv[2].split())
steps = [m.name for m in pkgutil.walk_packages(eden.__path__, "eden.") if not m.name.startswith(rest)]
steps += [f".{name}" for name in eden.__all__]
random.Random(int(sys.argv[1])).shuffle(steps)
first = {}
for step in steps:
    if step.startswith("."):
        first[step[1:]] = getattr(eden, step[1:])
    else:
        importlib.import_module(step)
for name in eden.__all__:
    assert getattr(eden, name) is first[name], name
    assert isinstance(first[name], (type, types.FunctionType)), name
everything = {}
exec("from eden import *", everything)
assert {name: everything[name] for name in eden.__all__} == first
assert set(everything) == {*first, "__builtins__"}
print(len(first))
"""
    assert int(fresh(script, seed, " ".join(OUTSIDE))) == len(eden.__all__)


def test_all_names_can_be_loaded_at_once() -> None:
    """As lazy_loader's EAGER_IMPORT does, which its users set to find imports that fail."""
    script = (
        "import os; os.environ['EAGER_IMPORT'] = '1'; import eden, sys; print('eden.reporting.page' in sys.modules)"
    )
    assert fresh(script).strip() == "True"


def test_pickles_load_where_nothing_is(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(4, 4))
    eden.inject_(network, eden.Faults(weights=eden.Uniform(1e-2), inputs=eden.Bitline(1e-2, dispersion=0.1)))
    network(torch.ones(2, 4))
    whole = [network, eden.corrupt, eden.coverage, eden.Device.builtin("ddr3-b33"), eden.coverage(network)]
    (tmp_path / "pickle").write_bytes(pickle.dumps(whole))
    torch.save(network, tmp_path / "torch")
    script = """
import pickle, sys
from pathlib import Path
import torch
with open(Path(sys.argv[1]) / "pickle", "rb") as file:
    network, corrupt, coverage, device, covered = pickle.load(file)
again = torch.load(Path(sys.argv[1]) / "torch", weights_only=False)
import eden
assert corrupt is eden.corrupt and coverage is eden.coverage and type(device) is eden.Device
assert str(eden.coverage(network)) == str(eden.coverage(again)) == str(covered)
x = torch.ones(2, 4)
assert torch.equal(network(x), again(x))
assert type(eden.remove_(again)[0]) is torch.nn.Linear
"""
    fresh(script, tmp_path)


COMPILED = """
import sys
import torch
import eden
errors = eden.Uniform(1e-2)
class Net(torch.nn.Module):
    def forward(self, x):
        return eden.corrupt(x, errors, seed=3)
assert "eden.memory.operators" not in sys.modules
x = torch.randint(0, 100, (1000,), dtype=torch.int8)
"""


@pytest.mark.parametrize(
    "transform",
    [
        'torch.compile(Net(), backend="aot_eager", fullgraph=True)',
        "torch.export.export(Net(), (x,), strict=True).module()",
        "torch.export.export(Net(), (x,), strict=False).module()",
    ],
    ids=["compile", "export", "export-unstrict"],
)
def test_a_first_use_inside_a_graph(transform: str) -> None:
    script = f"{COMPILED}y = ({transform})(x)\nassert torch.equal(y, Net()(x)) and not torch.equal(y, x)"
    fresh(script)


def test_a_first_use_in_workers() -> None:
    script = """
import sys
import torch
import eden
class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, i):
        return eden.corrupt(torch.full((100,), i, dtype=torch.int8), eden.Uniform(0.1), seed=i)
if __name__ == "__main__":
    loader = torch.utils.data.DataLoader(Data(), batch_size=2, num_workers=2, multiprocessing_context="fork")
    batches = list(loader)
    assert "eden.memory.operators" not in sys.modules
    assert all(map(torch.equal, batches, torch.utils.data.DataLoader(Data(), batch_size=2)))
"""
    fresh(script)


def test_errors_outside_of_the_stub() -> None:
    for name in ("nothing", "_ops", "cli_", "account_"):
        with pytest.raises(AttributeError, match=f"module 'eden' has no attribute '{name}'"):
            getattr(eden, name)
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec("from eden import nothing")


def lines(command: Any, words: tuple[str, ...] = ()) -> list[str]:
    """A command and those below it, each as it is asked for help."""
    below = getattr(command, "commands", {})
    return [" ".join((*words, "--help")), *(line for name in below for line in lines(below[name], (*words, name)))]


def test_answers_that_compute_nothing_load_nothing() -> None:
    asked = lines(typer.main.get_command(shell.app))
    assert {"--help", "devices --help", "devices plot --help", "profile --help"} <= set(asked)
    asked += ["", "--version", "devices list", "schema nothing", "profile --nothing", "nothing"]
    asked += [f"schema {Path(name).stem}" for name in schemas.texts()]
    for line, found in forked(COMMANDS, "", *asked).items():
        outside = {name.partition(".")[0] for name in found} - set(sys.stdlib_module_names)
        assert not outside & {"torch", "numpy", "scipy", "matplotlib", "rich", "safetensors"}, line
        ours = {name for name in found if name.startswith("eden.")}
        # What declares the paths of commands, and what tells a mistake and an old spelling; none needs anything.
        small = {"eden.common", "eden.common.renames", "eden.app", "eden.app.cli", "eden.app.commands"}
        small |= {"eden.costs", "eden.costs.defaults", "eden.placement", "eden.placement.defaults"}
        small |= {
            "eden.app.options",
            "eden.app.campaign_options",
            "eden.app.shell",
            "eden.app.paths",
            "eden.app.mistakes",
        }
        small |= {f"eden.app.commands.{name}" for name in commands.NAMES}
        assert {"eden.app.cli"} <= ours <= small, line


def test_the_list_of_devices_is_that_of_the_catalogue(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["eden", "devices", "list"])
    with pytest.raises(SystemExit):
        cli.main()
    shown = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    names = eden.Device.builtin_names()
    assert shown == [[name, eden.Device.builtin(name).source.text] for name in names]


def test_the_schemas_that_ship_are_those_of_the_files() -> None:
    folder = PACKAGE / "app" / "schemas"
    assert sorted(schemas.texts()) == sorted(path.name for path in folder.glob("*.json"))
    for name, text in schemas.texts().items():
        ships, made = json.loads((folder / name).read_text()), json.loads(text)
        if ships["$comment"] != made["$comment"]:
            pytest.skip(f"the schemas that ship are {ships['$comment']}; this one is another")
        assert ships == made, f"{name} is out of date: run make schemas"
        for part in (made, *made.get("$defs", {}).values()):
            fields = part.get("properties", {}).items()
            assert [key for key, field in fields if "description" not in field] in ([], ["format", "version"])


def test_every_file_that_can_be_saved_on_its_own_has_a_schema() -> None:
    # Their files lie inside of packages and of safetensors, where nothing else reads them.
    importlib.import_module("eden.tolerance.export")
    importlib.import_module("eden.deployment.image")
    kinds = {
        kind for kind in subclasses(VersionedFile) if kind.__module__.startswith("eden.") and "FORMAT" in vars(kind)
    }
    assert {kind.FORMAT for kind in kinds} - set(KINDS) == {"eden-package", "eden-memory-image"}


def subclasses(kind: type[Any]) -> set[type[Any]]:
    return set(kind.__subclasses__()).union(*map(subclasses, kind.__subclasses__()))
