"""Does a package compute what its network does, do both drivers find the same, also after kills, is bad input named?

Both drivers' files hold the same values; how a number is written is each driver's own.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import eden
from eden.app import cli, shell
from eden.app.tasks import Task
from eden.boosting.recipe import Recipe
from eden.common.journal import Journal
from eden.faults.memories import set_scaled_errors_
from eden.memory.errors import ErrorModel
from eden.tolerance.drive import TrialTimeoutError
from eden.tolerance.package import Package
from eden.tolerance.samples_file import load_samples, save_samples

PROGRAM = Path(os.environ.get("EDEN_PROFILE", Path(__file__).parents[2] / "build" / "eden-profile"))

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler"),
]
needs_program = pytest.mark.skipif(not PROGRAM.exists(), reason="eden-profile is not built; make build says why")

CLASSES, FEATURES, SAMPLES, SAMPLES_PER_RUN = 6, 16, 150, 40


class Network(nn.Module):
    """A convolution, a layer that is called twice, a sum in memory, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.first = nn.Linear(64, 24)
        self.twice = nn.Linear(24, 24)
        self.sum = eden.FeatureMap()
        self.head = nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(torch.relu(self.conv(x)).flatten(1)))
        x = self.sum(x + torch.relu(self.twice(torch.relu(self.twice(x)))))
        logits: Tensor = self.head(x)
        return logits


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Network()


def data() -> tuple[TensorDataset, TensorDataset]:
    sets = []
    for seed, number in ((1, 300), (2, SAMPLES)):
        generator = torch.Generator().manual_seed(seed)
        y = torch.arange(number) % CLASSES
        x = torch.randn(number, FEATURES, generator=generator) * 0.4
        x[torch.arange(number), y] += 2.0
        sets.append(TensorDataset(x.view(number, 1, 4, 4), y))
    return sets[0], sets[1]


def task() -> Task:
    """What the command line loads from this file."""
    return Task(name="mixed", model=network, data=data, boost=Recipe(epochs=1), target_ber=1e-3, storage="int8")


# Small subarrays: bitlines are drawn for all rows of one at once.
GEOMETRY = eden.Geometry(row_bits=1024, subarray_rows=64)
ERRORS: dict[str, ErrorModel | None] = {
    "conv.weight": eden.DataDependent(1e-3, 3e-3, failure=0.5),
    "conv.input": eden.Uniform(1e-3),
    "first.weight": eden.Bitline.measured([0.0, 1e-4, 3e-3, 0.2, 0.3], failure=0.5, geometry=GEOMETRY),
    "first.input[4:0]": eden.Uniform(1e-2, failure=0.25),
    "first.input[6:5]": eden.DataDependent(1e-4, 1e-3),
    "first.input[7]": None,
    "twice.weight[6:0]": eden.Wordline.measured([1e-3, 0.0, 0.1], failure=0.4, geometry=GEOMETRY),
    "twice.weight[7]": eden.Bitline.measured([0.0, 1e-3], failure=0.4, geometry=GEOMETRY),
    "twice.input": eden.DataDependent(2e-3, 1e-3, failure=0.5),
    "head.weight": None,
    "head.input": eden.DataDependent(0.0, 1e-3),
    "sum.input": eden.Uniform(1e-2),
}


PLANES = {"first.input": "search", "twice.weight": ["7", "6:0"]}


def faulty_network(
    storage: str = "int8", planes: dict[str, Any] = PLANES, faults: dict[str, ErrorModel | None] = ERRORS
) -> nn.Module:
    train, _ = data()
    model = network()
    x, y = train.tensors
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    errors = eden.Uniform(1e-3)
    eden.inject_(model, eden.Faults(errors, errors, storage, "zero", 5, input_storage="int8", planes=planes))
    eden.calibrate_(model, [x])
    eden.set_errors_(model, faults)
    return model.eval()


def eden_command(*arguments: object) -> int:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sys, "argv", ["eden", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return faulty_network()


@pytest.fixture(scope="module")
def folder(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With net.pt2 and samples.safetensors, as the command line has written them."""
    folder = tmp_path_factory.mktemp("package")
    eden.save(model, folder / "network.safetensors")
    arguments: list[object] = ["export", "--network", folder / "network.safetensors", "--task", f"{__file__}:task"]
    arguments += ["--out", folder / "net.pt2", "--data", folder / "samples.safetensors"]
    assert eden_command(*arguments, "--samples-per-run", SAMPLES_PER_RUN) == 0
    assert {path.name for path in folder.iterdir()} == {"network.safetensors", "net.pt2", "samples.safetensors"}
    return folder


def program(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        timeout=300,
    )


def on(folder: Path, out: Path) -> list[object]:
    return ["--package", folder / "net.pt2", "--data", folder / "samples.safetensors", "--out", out]


def lines_of(journal: Path) -> list[dict[str, Any]]:
    """A journal's lines without their checksums, which are of how each driver writes."""
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    return [{field: value for field, value in line.items() if field != "crc32"} for line in lines]


QUICK: list[object] = ["--max-drop", "0.2", "--confidence", "0.7"]


# -- what a package computes -------------------------------------------------------------------------------------------


def test_a_package_computes_what_its_network_does(model: nn.Module, folder: Path) -> None:
    package = Package(folder / "net.pt2")
    inputs, targets = load_samples(folder / "samples.safetensors")
    assert torch.equal(inputs, data()[1].tensors[0])
    assert torch.equal(targets, data()[1].tensors[1])
    assert [operand.name for operand in package.info.operands] == list(ERRORS)

    def by_model() -> Tensor:
        with torch.no_grad():
            return torch.cat([model(inputs[at : at + SAMPLES_PER_RUN]) for at in range(0, SAMPLES, SAMPLES_PER_RUN)])

    with eden.clean(model):
        expected = by_model()
    # Compiled arithmetic may round otherwise; a wrong cell, access number or correction differs by far more.
    torch.testing.assert_close(package(inputs, None), expected, rtol=1e-4, atol=1e-4)
    assert (expected.argmax(1) == targets).double().mean() > 0.9
    differing = 0
    for rate, chip in ((0.05, 3), (0.2, -(2**63)), (0.2, 2**63 - 1)):
        errors = {name: errors.scaled(rate) for name, errors in ERRORS.items() if errors is not None}
        eden.set_errors_(model, errors)
        eden.set_chip_(model, chip)
        found = by_model()
        torch.testing.assert_close(package(inputs, errors, chip), found, rtol=1e-4, atol=1e-4)
        differing += int((found != expected).any(1).sum())
    assert differing > SAMPLES
    eden.set_errors_(model, ERRORS)


def test_a_placed_network_is_read_from_its_cells(tmp_path: Path) -> None:
    """As ``eden run`` leaves one: each operand in one piece of the device's memory; weights in SECDED."""
    faults = {name.removesuffix("[6:0]"): errors for name, errors in ERRORS.items() if name != "twice.weight[7]"}
    model = faulty_network("int8_secded", {"first.input": "search"}, faults)
    placed = {name: [(errors, 2**20 * (number + 3), 2**15)] for number, (name, errors) in enumerate(faults.items())}
    eden.set_errors_(model, placed)
    inputs = data()[1].tensors[0][:20]
    eden.save(model, tmp_path / "network.safetensors")
    loaded = eden.load_(network(), tmp_path / "network.safetensors").eval()
    package = Package(eden.export(loaded, inputs, tmp_path / "net.pt2", samples_per_run=20))
    assert [operand.address for operand in package.info.operands] == [pieces[0][1] for pieces in placed.values()]
    errors = {name: errors.scaled(0.1) for name, errors in faults.items() if errors is not None}
    set_scaled_errors_(loaded, errors)
    eden.set_chip_(loaded, 3)
    with torch.no_grad():
        torch.testing.assert_close(package(inputs, errors, 3), loaded(inputs), rtol=1e-4, atol=1e-4)


def test_fewer_samples_than_a_run_takes(folder: Path) -> None:
    package = Package(folder / "net.pt2")
    inputs, _ = load_samples(folder / "samples.safetensors")
    assert torch.equal(package(inputs[:1], None), package(inputs, None)[:1])


# -- both drivers ------------------------------------------------------------------------------------------------------


@needs_program
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--weigh", "energy", "--metric", "top5", "--effort", "2", "--samples", "150", "--seed", "-7"],
        ["--quantile", "0.8", "--coarse-only"],
        ["--strategy", "sweep", "--coarse-only"],
        ["--budget", "150"],
        ["--population", "data", "--effort", "3", "--seed", "2"],
    ],
    ids=["mean", "energy", "quantile", "sweep", "budget", "data"],
)
def test_both_drivers_write_the_same_files(folder: Path, tmp_path: Path, options: list[object]) -> None:
    files = {}
    for driver, run in (
        ("c++", lambda *arguments: program(*arguments).returncode),
        ("python", lambda *arguments: eden_command("profile", *arguments)),
    ):
        out, journal = tmp_path / f"{driver}.json", tmp_path / f"{driver}.journal"
        assert run(*on(folder, out), *QUICK, *options, "--journal", journal) == 0
        files[driver] = json.loads(out.read_text()), lines_of(journal)
    assert files["c++"] == files["python"]
    tolerance = eden.Tolerance.load(tmp_path / "c++.json")
    assert list(tolerance.limits) == [name for name, errors in ERRORS.items() if errors is not None]
    assert tolerance.coarse_certificate.upper_bound <= 0.2


@needs_program
def test_the_table_is_printed_and_the_journal_goes(folder: Path, tmp_path: Path) -> None:
    done = program(*on(folder, tmp_path / "new" / "tolerance.json"), *QUICK)
    assert done.returncode == 0, done.stderr
    tolerance = eden.Tolerance.load(tmp_path / "new" / "tolerance.json")
    assert done.stdout == f"{tolerance.table()}\nwritten: {tmp_path / 'new' / 'tolerance.json'}\n"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["tolerance.json"]
    assert done.stderr.startswith("profile 1/")


@needs_program
def test_killed_at_random_moments_it_ends_with_the_same_answer(folder: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.json"
    arguments = [*QUICK, "--effort", "12"]
    assert program(*on(folder, whole), *arguments, "--journal", tmp_path / "whole.journal").returncode == 0
    size = (tmp_path / "whole.journal").stat().st_size
    out, journal = tmp_path / "killed.json", tmp_path / "killed.journal"
    moments = random.Random(3)
    begun = 0
    kills = 20
    for left in range(kills, 0, -1):
        # Somewhere in the first of as many parts as are left of the journal, so that no run comes to its end.
        begun += int(moments.random() * (size - begun) / (left + 1))
        running = subprocess.Popen(
            [PROGRAM, *map(str, [*on(folder, out), *arguments, "--journal", journal])],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        while running.poll() is None and not (journal.exists() and journal.stat().st_size > begun):
            time.sleep(0.001)
        running.send_signal(signal.SIGKILL)
        running.wait()
        assert not out.exists()
    # The last part by the other driver.
    assert eden_command("profile", *on(folder, out), *arguments, "--journal", journal) == 0
    assert json.loads(out.read_text()) == json.loads(whole.read_text())
    assert lines_of(journal) == lines_of(tmp_path / "whole.journal")
    # A journal that is whole asks for nothing.
    out.unlink()
    assert program(*on(folder, out), *arguments, "--journal", journal).returncode == 0
    assert out.read_bytes() == whole.read_bytes()


@needs_program
@pytest.mark.parametrize("first", ["c++", "python"])
def test_what_a_budget_ended_the_other_driver_ends(folder: Path, tmp_path: Path, first: str) -> None:
    def run(driver: str, name: str, *options: object) -> str:
        arguments = [*on(folder, tmp_path / f"{name}.json"), *QUICK, *options]
        if driver == "python":
            assert eden_command("profile", *arguments) == 0
            return ""
        done = program(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    printed = run(first, "out", "--budget", 150)
    tolerance = eden.Tolerance.load(tmp_path / "out.json")
    assert tolerance.limits_certificate is None
    assert "budget" in tolerance.unfinished
    assert sum(tolerance.observations.values()) <= 150
    kept = tmp_path / "out.json.journal"
    assert sum("difference" in line for line in lines_of(kept)) <= 150
    if first == "c++":
        assert f"{tolerance.unfinished}; the same command with a larger budget goes on from {kept}\n" in printed
    run("python" if first == "c++" else "c++", "out")
    assert not kept.exists()
    tolerance = eden.Tolerance.load(tmp_path / "out.json")
    assert tolerance.unfinished == ""
    assert tolerance.limits_certificate is not None


@needs_program
def test_a_budget_of_seconds(folder: Path, tmp_path: Path) -> None:
    out, journal = tmp_path / "out.json", tmp_path / "journal"
    options = ["--max-drop", "0.02", "--effort", 500, "--budget-seconds", 8, "--journal", journal]
    done = program(*on(folder, out), *options)
    given = [line["budget"] for line in lines_of(journal) if "budget" in line]
    assert given, "it was turned into observations"
    made = sum("difference" in line for line in lines_of(journal))
    assert made <= given[-1]
    # A machine too slow to confirm anything in that time says so.
    if done.returncode == 0:
        assert sum(eden.Tolerance.load(out).observations.values()) == made
    else:
        assert "eden-profile: the budget of" in done.stderr


@needs_program
def test_an_observation_that_takes_too_long(folder: Path, tmp_path: Path) -> None:
    said = says(*on(folder, tmp_path / "out.json"), *QUICK, "--timeout", "1e-9")
    kept = tmp_path / "out.json.journal"
    assert said == (
        f"trial 0 (coarse, chip {said.split('chip ')[1].split(')')[0]}): the observation took longer than 1e-09 s; the "
        f"same command goes on with it from {kept}"
    )
    with pytest.raises(TrialTimeoutError, match="the observation took longer than 1e-09 s"):
        eden.profile(
            folder / "net.pt2",
            folder / "samples.safetensors",
            max_drop=0.2,
            budget=eden.Budget(timeout=1e-9),
            progress=False,
        )
    assert program(*on(folder, tmp_path / "out.json"), *QUICK, "--timeout", 300).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@needs_program
def test_an_interruption_keeps_what_was_observed(folder: Path, tmp_path: Path) -> None:
    out, journal = tmp_path / "out.json", tmp_path / "out.json.journal"
    running = subprocess.Popen(
        [PROGRAM, *map(str, [*on(folder, out), *QUICK, "--effort", 500])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while running.poll() is None and not (journal.exists() and len(journal.read_bytes().splitlines()) > 20):
        time.sleep(0.001)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.splitlines()[-1] == (
        f"eden-profile: interrupted; what was observed is kept in {journal}, and the same command goes on from there"
    )
    assert len(lines_of(journal)) > 20
    assert not out.exists()


# -- bad input ---------------------------------------------------------------------------------------------------------


def says(*arguments: object) -> str:
    """What eden-profile says on standard error, a line, before it ends with status 1."""
    done = program(*arguments)
    assert done.returncode == 1, done
    lines = [line for line in done.stderr.splitlines() if not line.startswith("profile ")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("eden-profile: ")
    return lines[0].removeprefix("eden-profile: ")


NAMES = ["--package", "a", "--data", "b", "--out", "c"]


@needs_program
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--package is required"),
        (["--package", "a", "--data", "b"], "--out is required"),
        (["--package"], "--package: 1 required FILE missing"),
        ([*NAMES, "--colour"], "The following argument was not expected: --colour"),
        ([*NAMES, "file"], "The following argument was not expected: file"),
        ([*NAMES, "--samples", "0"], "--samples: found '0', allowed is a whole number of 1 or more"),
        ([*NAMES, "--samples", "4x"], "--samples: found '4x', allowed is a whole number of 1 or more"),
        ([*NAMES, "--budget", "-1"], "--budget: found '-1', allowed is a whole number of 1 or more"),
        ([*NAMES, "--timeout", "inf"], "--timeout: found 'inf', allowed is a number of seconds above 0"),
        ([*NAMES, "--max-drop", ""], "--max-drop: found '', allowed is a number inside (0, 1)"),
        ([*NAMES, "--max-drop", "1"], "--max-drop: found '1', allowed is a number inside (0, 1)"),
        ([*NAMES, "--confidence", "nan"], "--confidence: found 'nan', allowed is a number inside (0, 1)"),
        ([*NAMES, "--quantile", "-0.5"], "--quantile: found '-0.5', allowed is a number inside (0, 1)"),
        ([*NAMES, "--effort", "1"], "--effort: found '1', allowed is a number from 1.5 to 1000"),
        ([*NAMES, "--metric", "bleu"], "--metric: found 'bleu', allowed are top1 and top5"),
        (
            [*NAMES, "--seed", "9223372036854775808"],
            "--seed: found '9223372036854775808', allowed is a 64-bit integer",
        ),
        (
            [*NAMES, "--reuse-limit", "0"],
            "--reuse-limit: a package is compiled as a whole, so no layer's output can be kept; allowed with eden "
            "profile --network",
        ),
        ([*NAMES, "--budget", "9", "--budget-seconds", "9"], "--budget excludes --budget-seconds"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str) -> None:
    done = program(*arguments)
    assert done.returncode == 2
    assert done.stderr == f"eden-profile: {message}; see eden-profile --help\n"


@needs_program
def test_version_and_help() -> None:
    assert program("--version").stdout == f"eden-profile {eden.__version__}\n"
    shown = program("--help").stdout
    assert "--package FILE" in shown
    options = {
        parameter.name.replace("_", "-") for parameter in typer.main.get_command(shell.app).commands["profile"].params
    }
    of_networks = {"network", "task", "reference", "reuse-limit"}
    assert {option for option in options if f"--{option} " not in shown} == of_networks


@needs_program
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-trials", "3"], "max_trials is 3, too few samples of chips"),
        (["--budget", "3"], "budget is 3, too few observations to confirm any rate with max_drop 0.01"),
        (["--population", "data"], "population is 'data' with 150 samples; allowed with max_drop 0.01"),
    ],
)
def test_questions_that_cannot_be_answered(folder: Path, tmp_path: Path, options: list[object], message: str) -> None:
    assert message in says(*on(folder, tmp_path / "out.json"), *options)
    assert list(tmp_path.iterdir()) == []


@needs_program
def test_a_network_that_leaves_no_room_for_the_drop(folder: Path, tmp_path: Path) -> None:
    inputs, targets = load_samples(folder / "samples.safetensors")
    wrong = tmp_path / "wrong.safetensors"
    save_samples(inputs, (targets + 1) % CLASSES, wrong)
    said = says("--package", folder / "net.pt2", "--data", wrong, "--out", tmp_path / "out.json", "--max-drop", "0.5")
    with pytest.raises(ValueError, match="on reliable memory the network scores") as raised:
        eden.profile(folder / "net.pt2", wrong, max_drop=0.5, progress=False)
    assert said == str(raised.value)


def edited(folder: Path, target: Path, change: Callable[[dict[str, Any]], None], **others: str) -> Path:
    """The package with other metadata of EDEN's, and of torch's."""
    with zipfile.ZipFile(folder / "net.pt2") as source, zipfile.ZipFile(target, "w") as made:
        for item in source.infolist():
            content = source.read(item)
            if item.filename.endswith("_metadata.json"):
                metadata = json.loads(content)
                if "eden" in metadata:
                    info = json.loads(metadata["eden"])
                    change(info)
                    metadata = {**metadata, "eden": json.dumps(info), **others}
                content = json.dumps(metadata).encode()
            made.writestr(item, content)
    return target


def population(info: dict[str, Any]) -> None:
    info["operands"][2]["errors"] = eden.Bitline(1e-3, 0.1).to_dict()


def lines_by_value(info: dict[str, Any]) -> None:
    info["operands"][2]["errors"] = eden.Wordline.by_value(1e-3, 2e-3, 0.1).to_dict()


def without_errors(info: dict[str, Any]) -> None:
    for operand in info["operands"]:
        operand["errors"] = operand["table_first"] = None


BAD_METADATA: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (lambda info: info.update(format="eden-device"), 'format: found "eden-device", allowed is "eden-package"'),
    (lambda info: info.update(version=1), "version: found 1, allowed is 2"),
    (lambda info: info.update(random_layout=1), "random_layout: found 1, allowed is"),
    (lambda info: info["operands"][0].pop("address"), "operands[0]: "),
    (lambda info: info["operands"][0].update(address=-8), "operands[0]: address is -8; allowed is a whole number of 0"),
    (lambda info: info["operands"][2].update(table_first=-2), "operands[2]: table_first is -2; allowed is a whole"),
    (
        lambda info: info["operands"][2].update(table_first=700),
        "operands[2]: table_first is 700; allowed is what leaves",
    ),
    (
        lambda info: info["operands"][0].update(table_first=0),
        "operands[0]: table_first is 0; allowed without errors of",
    ),
    (lambda info: info["operands"][1].update(correction="half"), 'operands[1]: correction is "half"; allowed are none'),
    (population, 'operands[2]: its error model is "bitline"; allowed is uniform, data_dependent'),
    (lines_by_value, 'operands[2]: its error model is "wordline_by_value"; allowed is uniform, data_dependent'),
    (without_errors, "none of its operands has an error model; allowed is one or more"),
]


@needs_program
@pytest.mark.parametrize(("change", "message"), BAD_METADATA, ids=[message[:24] for _, message in BAD_METADATA])
def test_packages_that_cannot_be_used(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = edited(folder, tmp_path / "edited.pt2", change)
    samples, out = folder / "samples.safetensors", tmp_path / "out.json"
    said = says("--package", path, "--data", samples, "--out", out)
    assert said.startswith(f"{path}: {message}")
    with pytest.raises(eden.FileError) as raised:
        eden.profile(path, samples, progress=False)
    assert str(raised.value).startswith(f"{path}: ")
    assert not out.exists()


@needs_program
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_package_for_a_gpu_where_none_is(folder: Path, tmp_path: Path) -> None:
    path = edited(folder, tmp_path / "gpu.pt2", lambda info: None, AOTI_DEVICE_KEY="cuda")
    said = says("--package", path, "--data", folder / "samples.safetensors", "--out", tmp_path / "out.json")
    assert said.startswith(f"{path}: compiled for a GPU: th")
    assert said.endswith(", or a package of a network on the CPU")
    with pytest.raises(eden.FileError, match=r"compiled for a GPU: there is .*, or a package of a network on the CPU"):
        Package(path)
    path = edited(folder, tmp_path / "npu.pt2", lambda info: None, AOTI_DEVICE_KEY="npu")
    said = says("--package", path, "--data", folder / "samples.safetensors", "--out", tmp_path / "out.json")
    assert said == f"{path}: compiled for 'npu'; allowed are cpu and cuda"
    with pytest.raises(eden.FileError, match="compiled for 'npu'; allowed are cpu and cuda"):
        Package(path)


@needs_program
def test_files_that_are_no_packages(folder: Path, tmp_path: Path) -> None:
    samples, path = folder / "samples.safetensors", tmp_path / "net.pt2"
    rest = ["--data", samples, "--out", tmp_path / "out.json"]
    assert says("--package", path, *rest) == f"{path}: cannot be read: No such file or directory"
    assert says("--package", tmp_path, *rest) == f"{tmp_path}: cannot be read: it is a folder"
    path.write_bytes((folder / "net.pt2").read_bytes()[:5000])
    assert says("--package", path, *rest).startswith(f"{path}: no package that can be run here: ")
    with pytest.raises(eden.FileError, match="no package that can be run here"):
        Package(path)


def header(**tensors: Any) -> bytes:
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


TARGETS = entry("I64", [1], 64, 72)
BAD_SAMPLES: list[tuple[bytes, str]] = [
    (b"abc", "has 3 bytes; a safetensors file has 8 or more"),
    ((10**6).to_bytes(8, "little") + b"{}", "its header is said to have 1000000 bytes, the file has 10"),
    (b"\xff" * 20, "its header is said to have 18446744073709551615 bytes, the file has 20"),
    ((2).to_bytes(8, "little") + b"[]", "its header is no JSON object"),
    ((2).to_bytes(8, "little") + b"{]", "its header is no JSON object"),
    (header(), "holds no tensor; allowed are inputs and targets"),
    (header(inputs=3, targets=4), "tensor inputs: is described by no object"),
    (header(inputs=entry("F31", [1], 0, 4), targets=TARGETS), 'tensor inputs: dtype is "F31"; allowed are F64'),
    (header(inputs=entry("F32", [-1], 0, 4), targets=TARGETS), "tensor inputs: shape is [-1]; allowed is a list of"),
    (header(inputs=entry("F32", [1], 0, 4), targets=TARGETS), "tensor inputs: data_offsets are [0,4]; allowed are a"),
    (
        header(inputs=entry("F32", [2**62, 2**62], 0, 4), targets=TARGETS) + bytes(72),
        "tensor inputs: its shape has more elements than there are addresses",
    ),
    (
        header(inputs=entry("F32", [1, 1, 4, 4], 0, 60), targets=TARGETS) + bytes(72),
        "tensor inputs: data_offsets hold 60 bytes; allowed for its shape and dtype are 64",
    ),
]


@needs_program
@pytest.mark.parametrize(("content", "message"), BAD_SAMPLES, ids=[message[:40] for _, message in BAD_SAMPLES])
def test_samples_that_cannot_be_read(folder: Path, tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "samples.safetensors"
    path.write_bytes(content)
    said = says("--package", folder / "net.pt2", "--data", path, "--out", tmp_path / "out.json")
    assert said.startswith(f"{path}: {message}")
    with pytest.raises(eden.FileError, match=r"samples\.safetensors: "):
        load_samples(path)


@needs_program
@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"inputs": torch.zeros(2, 1, 4, 4)}, "holds inputs; allowed are inputs and targets"),
        (
            {"inputs": torch.zeros(0, 1, 4, 4), "targets": torch.zeros(0, dtype=torch.int64)},
            "tensor inputs has the shape (0, 1, 4, 4); allowed is (N, ...), N of 1 or more",
        ),
        ({"inputs": torch.zeros(2, 1, 4, 4), "targets": torch.zeros(3, dtype=torch.int64)}, "tensor targets has the"),
        ({"inputs": torch.zeros(2, 1, 4, 4), "targets": torch.zeros(2)}, "tensor targets h"),
        (
            {"inputs": torch.zeros(2, 16), "targets": torch.zeros(2, dtype=torch.int64)},
            "tensor inputs has the shape (2, 16) and the dtype float32; allowed for ",
        ),
        (
            {"inputs": torch.zeros(2, 1, 4, 4, dtype=torch.float64), "targets": torch.zeros(2, dtype=torch.int64)},
            "tensor inputs has the shape (2, 1, 4, 4) and the dtype float64; allowed for ",
        ),
    ],
)
def test_samples_that_cannot_be_used(folder: Path, tmp_path: Path, tensors: dict[str, Tensor], message: str) -> None:
    path = tmp_path / "samples.safetensors"
    save_file(tensors, path)
    said = says("--package", folder / "net.pt2", "--data", path, "--out", tmp_path / "out.json")
    assert said.startswith(f"{path}: {message}")
    with pytest.raises(eden.FileError) as raised:
        eden.profile(folder / "net.pt2", path, progress=False)
    assert str(raised.value).startswith(f"{path}: {message}")


@needs_program
def test_journals_that_cannot_be_used(folder: Path, tmp_path: Path) -> None:
    journal, out = tmp_path / "profile.journal", tmp_path / "out.json"
    arguments = [*on(folder, out), *QUICK, "--journal", journal]
    assert program(*arguments, "--coarse-only").returncode == 0
    lines = journal.read_bytes().splitlines(keepends=True)
    said = says(*arguments, "--coarse-only", "--seed", 4)
    assert said == f"{journal}: the journal of another run: seed was 0 there and is 4 here"
    journal.write_bytes(b"".join([*lines[:2], lines[2].replace(b'"trial":1', b'"trial":2'), *lines[3:]]))
    assert says(*arguments, "--coarse-only") == (
        f"{journal}: line 3: damaged, its checksum is wrong; or this is no journal"
    )
    journal.write_bytes(lines[0].replace(b'"version":3', b'"version":1'))
    assert says(*arguments) == f"{journal}: line 1: version: found 1, allowed is 3, this version of eden's: begin anew"
    journal.write_text("a letter")
    assert says(*arguments) == f"{journal}: line 1: no journal, and it is not overwritten"
    assert journal.read_text() == "a letter"
    journal.unlink()
    with Journal(journal, {}):
        assert says(*arguments) == f"{journal}: in use by another process"
    assert says(*on(folder, out), *QUICK, "--journal", tmp_path).startswith(f"{tmp_path}: cannot be used as a journal")


@needs_program
def test_places_that_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert says(*on(folder, tmp_path / "file" / "out.json")).startswith(f"{tmp_path / 'file' / 'out.json'}: ")
    assert says(*on(folder, tmp_path)) == f"{tmp_path}: cannot be written: it is a folder"
    assert says(*on(folder, Path("/dev/null"))) == "/dev/null: cannot be written: it is no regular file"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    link = tmp_path / "link"
    link.symlink_to(folder / "samples.safetensors")
    for out in (folder / "net.pt2", folder / ".." / folder.name / "samples.safetensors", link):
        assert says(*on(folder, out)).startswith(f"{out}: cannot be written: it is read, too, as {folder}")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert says(*on(folder, tmp_path / "out.json"), *QUICK, "--journal", "/dev/null") == (
        "/dev/null: cannot be used as a journal: it is no regular file"
    )


# -- networks that no package holds ------------------------------------------------------------------------------------


def changed(**errors: Any) -> nn.Module:
    model = faulty_network()
    eden.set_errors_(model, {name.replace("__", "."): value for name, value in errors.items()})
    return model


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = faulty_network()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(x), x


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: changed(sum__input=eden.Wordline(1e-3, 0.1)), "operand 'sum.input' has the error model wordline"),
        (
            lambda: changed(sum__input=eden.Bitline.by_value(1e-3, 2e-3, 0.1)),
            "operand 'sum.input' has the error model bitline_by_value; allowed",
        ),
        (
            lambda: changed(conv__weight=eden.CellMap([4, 9], True, True, bits=4096)),
            "operand 'conv.weight' has the error model a map of a chip's own cells",
        ),
        (
            lambda: changed(sum__input=[(eden.Uniform(1e-3), 0, 256), (eden.Uniform(1e-3), 512, 256)]),
            "sum.input lies in 2 pieces of memory; allowed in a package is one",
        ),
        (
            lambda: changed(sum__input=[(eden.Uniform(1e-3), 0, 256), (None, 512, 256)]),
            "sum.input lies in 2 pieces of memory, which have no common rate",
        ),
        (Pair, "the network's output is tuple; allowed in a package is a tensor"),
        (network, "has no layer under faults"),
    ],
)
def test_networks_that_no_package_holds(tmp_path: Path, make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        eden.export(make(), data()[1].tensors[0], tmp_path / "net.pt2")
    assert list(tmp_path.iterdir()) == []


def test_arguments_of_an_export(model: nn.Module, tmp_path: Path) -> None:
    x = data()[1].tensors[0]
    with pytest.raises(eden.FileError, match=r"the name of a package ends in '\.so'; allowed is '\.pt2'"):
        eden.export(model, x, tmp_path / "net.so")
    with pytest.raises(ValueError, match="samples_per_run is 0; allowed is an int, 1 or more"):
        eden.export(model, x, tmp_path / "net.pt2", samples_per_run=0)
    with pytest.raises(ValueError, match=r"inputs has the shape \(0, 1, 4, 4\); allowed is \(N, ...\)"):
        eden.export(model, x[:0], tmp_path / "net.pt2")
    with pytest.raises(ValueError, match=r"targets has the shape \(3,\); allowed is \(150,\)"):
        save_samples(x, torch.arange(3), tmp_path / "samples.safetensors")
