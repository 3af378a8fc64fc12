"""Does each subcommand do its step on a user's own task, and does each mistake end in one line and the right status?"""

import dataclasses
import itertools
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import chain
import processes
import pytest
import tiny_task
import torch
from latency_csv import line, simulate, write

import eden
from eden.accounting.results import Account, Savings
from eden.app import cli
from eden.app.commands import NAMES
from eden.costs.traffic_file import Traffic
from eden.placement.map_file import MemoryMap
from eden.reporting.accuracy import AccuracyCurves
from eden.tolerance.verification import Verification

pytestmark = pytest.mark.usefixtures("one_thread")

TASK = f"{tiny_task.__file__}:tiny"
COMMANDS = tuple(name.replace("_", "-") for name in NAMES)
PROFILE = ("--max-drop", "0.05", "--confidence", "0.9")

Eden = Callable[..., str]
Fails = Callable[..., str]


def status_of(arguments: Sequence[object], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["eden", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Eden:
    """Runs a command that succeeds, in this process; its standard output."""

    def of(*arguments: object) -> str:
        status = status_of(arguments, monkeypatch)
        printed = capsys.readouterr()
        assert status == 0, printed.err
        return printed.out

    return of


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fails:
    """Runs a command that ends with status 1 and one line on standard error, which it gives."""

    def of(*arguments: object) -> str:
        status = status_of(arguments, monkeypatch)
        printed = capsys.readouterr()
        assert status == 1, printed
        # Progress may have been shown before.
        said = [text for text in printed.err.splitlines() if not re.match(r"(train|boost|profile): \d", text)]
        assert len(said) == 1, printed.err
        assert said[0].startswith("eden: ")
        return said[0].removeprefix("eden: ")

    return of


def process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a process of its own."""
    return processes.run("-m", "eden.app.cli", *arguments, environment={"OMP_NUM_THREADS": "1", **environment})


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up measurements of one module."""
    import numpy as np

    rates = {10.0: (1e-6, 3e-6), 7.5: (1e-4, 3e-4), 5.0: (1e-2, 3e-2)}
    rows = simulate(np.random.default_rng(1), rates, repeats=4, dispersion=1e-3)
    return write(tmp_path_factory.mktemp("campaign") / "measured.csv", rows)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed eden retrain."""
    folder = tmp_path_factory.mktemp("networks")
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert status_of(["retrain", "--out", folder, "--task", TASK], monkeypatch) == 0
    return folder


@pytest.fixture(scope="module")
def tolerance(networks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an undisturbed eden profile."""
    path = tmp_path_factory.mktemp("tolerance") / "tolerance.json"
    network = networks / "boosted.safetensors"
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert status_of(["profile", "--network", network, "--out", path, "--task", TASK, *PROFILE], monkeypatch) == 0
    return path


def test_the_chain_step_by_step(run: Eden, fails: Fails, campaign: Path, tmp_path: Path) -> None:
    device, folder = tmp_path / "device.json", tmp_path / "networks"
    printed = run("fit", campaign, "--out", device)
    assert f"written: {device}" in printed
    assert "Model 3 (data-dependent)" in printed
    assert "measured.csv" in run("devices", "show", device)

    printed = run(
        *("retrain", "--out", folder, "--task", TASK, "--device", device, "--trcd", 5, "--target-ber", 0.02),
        *("--epochs", 4, "--learning-rate", 0.03, "--chips", 2, "--seed", 3),
    )
    assert re.search(r"before: \d+\.\d\d% without errors\nafter: \d+\.\d\d% without errors\nwritten: ", printed)
    baseline, boosted = folder / "baseline.safetensors", folder / "boosted.safetensors"
    model = eden.load_(tiny_task.network(), boosted)
    assert {info.errors for info in eden.operands(model).values()} == {eden.Device.load(device).errors(trcd=5.0)}

    tolerance = tmp_path / "new" / "tolerance.json"
    printed = run("profile", "--network", boosted, "--out", tolerance, "--task", TASK, "--seed", 2, *PROFILE)
    found = eden.Tolerance.load(tolerance)
    assert found.table() in printed
    assert [path.name for path in tolerance.parent.iterdir()] == ["tolerance.json"]
    coarse = tmp_path / "coarse.json"
    run("profile", "--network", baseline, "--out", coarse, "--task", TASK, "--coarse-only", *PROFILE)
    assert set(eden.Tolerance.load(coarse).limits.values()) == {eden.Tolerance.load(coarse).coarse}

    placement = tmp_path / "placement.json"
    printed = run("place", "--tolerance", tolerance, "--device", device, "--out", placement, "--objective", "latency")
    placed = eden.Placement.load(placement)
    assert placed.table() in printed
    assert (placed.device, placed.objective) == (eden.Device.load(device).name, "latency")

    savings = tmp_path / "savings.json"
    run(
        "savings", "--network", boosted, "--placement", placement, "--out", savings, "--task", TASK, "--platform", "gpu"
    )
    assert Savings.load(savings).platform == "gpu"
    moved = tmp_path / "traffic.json"
    known = ("--network", boosted, "--task", TASK, "--out", moved)
    assert "notes" not in run("traffic", *known, "--platform", "eyeriss", "--batch", 2)
    assert Traffic.load(moved).batch == 2
    other = tmp_path / "other.json"
    run("savings", "--network", boosted, "--placement", placement, "--out", other, "--task", TASK, "--traffic", moved)
    assert Savings.load(other).platform == "eyeriss"
    counts = tmp_path / "counts.csv"
    counts.write_text(f"operand,access,bytes\n{next(iter(found.limits))},read,64\n")
    assert "Counts from counts.csv" in run("traffic", *known, "--counts", counts)
    assert Traffic.load(moved).crossing_bytes == 64.0
    assert "counts is given beside batch or repeated" in fails("traffic", *known, "--counts", counts, "--repeated")

    mapped, table = tmp_path / "map.json", tmp_path / "map.csv"
    options = ("--network", boosted, "--placement", placement, "--task", TASK)
    run("memory-map", *options, "--device", device, "--out", mapped, "--csv", table)
    assert MemoryMap.load(mapped).csv() == table.read_text()
    accounted = tmp_path / "account.json"
    printed = run("account", *options, "--platform", "gpu", "--platform", "tpu", "--out", accounted)
    assert list(Account.load(accounted).platforms) == ["gpu", "tpu"]
    assert Account.load(accounted).table() in printed
    verified = tmp_path / "verification.json"
    test = ("--max-drop", 0.1, "--confidence", 0.8, "--effort", 1.5)
    printed = run("certify", *options, *test, "--reference", boosted, "--out", verified)
    assert Verification.load(verified).certified
    assert "certified with confidence 0.8" in printed

    curves = []
    for name, network in (("before", baseline), ("after", boosted)):
        curves.append(tmp_path / f"{name}.json")
        options = ("--chips", 2, "--label", name, "--out", curves[-1])
        printed = run("evaluate", "--network", network, "--task", TASK, *options)
        assert re.search(r"BER 1e-05: \d+\.\d\d% over 2 chips, worst ", printed)
        assert {point.label for point in AccuracyCurves.load(curves[-1]).points} == {name}
    printed = run("evaluate", "--network", boosted, "--task", TASK, "--placement", placement, "--chips", 3)
    assert re.search(r"as placed: \d+\.\d\d% over 3 chips, worst \d+\.\d\d%\n$", printed)

    page = tmp_path / "page"
    parts = [option for curve in curves for option in ("--accuracy", curve)]
    run(
        *("report", page, "--device", device, "--tolerance", tolerance, "--placement", placement),
        *("--savings", savings, *parts, "--title", "All of it", "--memory-map", mapped, "--account", accounted),
    )
    text = (page / "index.html").read_text()
    for expected in ("All of it", "before", "after", "0.weight", "Memory map", "Account by platform"):
        assert expected in text
    # Once more from the files of the folder; and what is missing or damaged leaves the rest.
    before = (page / "savings.json").read_bytes()
    assert run("report", page).splitlines()[0] == f"written: {page / 'index.html'}"
    assert (page / "savings.json").read_bytes() == before
    (page / "savings.json").unlink()
    assert "not in it: savings (made by eden savings)" in run("report", page).splitlines()
    (page / "savings.json").write_text("{")
    (page / "index.html").unlink()
    message = fails("report", page)
    assert message.startswith(f"{page / 'index.html'} is written, but lacks savings: {page / 'savings.json'}: line 1")
    assert "Account by platform" in (page / "index.html").read_text()


def test_demo(run: Eden, tmp_path: Path) -> None:
    printed = run(
        "demo", "--out", tmp_path / "out", "--task", TASK, "--max-drop", 0.05, "--chips", 2, "--platform", "tpu"
    )
    assert re.search(r"at BER \S+ in all operands: accuracy \S+%, before boosting \S+%", printed)
    assert (tmp_path / "out" / "index.html").is_file()
    assert Savings.load(tmp_path / "out" / "savings.json").platform == "tpu"


@pytest.mark.data
def test_a_module_of_the_real_measurements(run: Eden, fails: Fails, measurements: Path, tmp_path: Path) -> None:
    out = tmp_path / "device.json"
    assert "b33" in run("fit", measurements, "--module", "b33", "--out", out)
    assert eden.Device.load(out).errors(trcd=7.5) == eden.Device.builtin("ddr3-b33").errors(trcd=7.5)
    message = fails("fit", measurements, "--out", tmp_path / "none.json")
    assert "module" in message
    assert "b33" in message
    assert not (tmp_path / "none.json").exists()


def test_devices(run: Eden) -> None:
    listed = run("devices", "list").splitlines()
    assert [text.split()[0] for text in listed] == list(eden.Device.builtin_names())
    assert run("devices", "show", "ddr3-b33") == eden.Device.builtin("ddr3-b33").describe() + "\n"


def test_plot(run: Eden, fails: Fails, tmp_path: Path) -> None:
    for name, beginning in (("b33.svg", b"<?xml"), ("b33.pdf", b"%PDF"), ("b33.png", b"\x89PNG")):
        run("devices", "plot", "ddr3-b33", "--out", tmp_path / name)
        first = (tmp_path / name).read_bytes()
        assert first.startswith(beginning)
        run("devices", "plot", "ddr3-b33", "--out", tmp_path / name)
        assert (tmp_path / name).read_bytes() == first
    drawn = (tmp_path / "b33.svg").read_text()
    for label in ("row activation latency tRCD (ns)", "fit, zeros", "measured, ones", "measured, mixed"):
        assert label in drawn
    run("devices", "plot", "ddr3-p9", "--parameter", "trp", "--out", tmp_path / "p9.svg")
    assert "precharge latency tRP (ns)" in (tmp_path / "p9.svg").read_text()
    assert "allowed for --out are .svg, .pdf and .png" in fails(
        "devices", "plot", "ddr3-b33", "--out", tmp_path / "b33.gif"
    )
    assert "allowed are trcd, trp, vdd" in fails(
        "devices", "plot", "ddr3-b33", "--parameter", "twr", "--out", tmp_path / "a.svg"
    )
    assert "parameter is 'tras', which nothing states of ddr3-b33" in fails(
        "devices", "plot", "ddr3-b33", "--parameter", "tras", "--out", tmp_path / "a.svg"
    )
    assert not (tmp_path / "b33.gif").exists()
    assert not (tmp_path / "a.svg").exists()


def test_a_campaign_along_tras_is_placed_in_and_drawn(run: Eden, fails: Fails, tmp_path: Path) -> None:
    needed = statistics.NormalDist(9.5, 2.5)  # ns, of four cells in ten
    cells = 2**24
    rows = [
        f"{tras},50,{stored},{bank},{repeat},{round(cells * 0.4 * share * (0.9 + 0.1 * repeat))},{cells}"
        for tras, share in ((tras, 1.0 - needed.cdf(tras)) for tras in (35, 21, 15, 12))
        for stored, bank, repeat in itertools.product((0, 1), range(2), range(3))
    ]
    (tmp_path / "a.csv").write_text("\n".join(("tras,temperature,stored,bank,repeat,errors,cells", *rows)) + "\n")
    device, placement, said = tmp_path / "m7.json", tmp_path / "p.json", tmp_path / "t.json"
    run("fit", tmp_path / "a.csv", "-o", device, "--name", "m7", "--bank-curves")
    shown = run("devices", "show", device)
    assert "nominal tRAS 35 ns: the mildest that was measured" in shown
    assert "1.5 V, refresh 64 ms, tRAS 15 ns" in shown
    run("devices", "plot", device, "-o", tmp_path / "m7.svg", "--parameter", "tras")
    assert "row active time tRAS (ns)" in (tmp_path / "m7.svg").read_text()
    chain.tolerance({"fc.weight": 2e-2}).save(said)
    run("place", "--tolerance", said, "--device", device, "-o", placement, "--points", "continuous")
    assert 12.0 < eden.Placement.load(placement).point_of("fc.weight").tras < 15.0  # type: ignore[operator]
    run("report", tmp_path / "out", "--device", device, "--tolerance", said, "--placement", placement)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "row active time tRAS (ns)" in page
    assert page.count(">tRAS (ns)<") == 2  # of points and of partitions
    nominal = tmp_path / "n.json"
    run("fit", tmp_path / "a.csv", "-o", nominal, "--tras", "40")
    assert eden.Device.load(nominal).nominal.tras == 40.0
    assert "tras is -1.0; allowed is above 0" in fails("fit", tmp_path / "a.csv", "-o", nominal, "--tras", "-1")


def test_schema(run: Eden, fails: Fails) -> None:
    assert eden.Device.json_schema().items() <= json.loads(run("schema", "device")).items()
    assert "schema of 'network'; allowed are account, accuracy, currents, device" in fails("schema", "network")


def test_version(run: Eden) -> None:
    assert run("--version") == f"eden {eden.__version__}\n"


@pytest.mark.parametrize("command", ["", *COMMANDS, "devices list", "devices show", "devices plot"])
def test_help(run: Eden, command: str) -> None:
    printed = run(*command.split(), "--help")
    assert printed.startswith(f"Usage: eden {command}".rstrip())
    if command == "":
        assert all(re.search(rf"^  {name} ", printed, re.M) for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "No such command 'nothing'"),
        (["retrain"], "Missing option '--out'"),
        (["retrain", "--out", "x", "--epochs", "many"], "Invalid value for '--epochs'"),
        (["devices", "show", "--nothing"], "No such option"),
        (["profile", "--out", "x", "--samples", "0"], "Invalid value for '--samples'"),
        (["profile", "--out", "x"], "neither --network nor --package given"),
        (["profile", "--out", "x", "--network", "a", "--package", "b"], "both --network and --package given"),
        (["profile", "--out", "x", "--package", "b"], "--package without --data given"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(arguments, monkeypatch) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.startswith("Usage: eden")
    assert "Traceback" not in printed.err


def test_a_process_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "device.json"
    path.write_text('{"format": "eden-device", ')
    found = subprocess.run(
        [sys.executable, "-m", "eden.app.cli", "devices", "show", path], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith(f"eden: {path}: line 1, column ")
    assert found.stderr.endswith("it is truncated or is no JSON file\n")
    assert found.stderr.count("\n") == 1
    found = process("profile")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("Usage: eden profile [OPTIONS]\n")


def test_damaged_device_files(fails: Fails, tmp_path: Path) -> None:
    path = tmp_path / "device.json"
    eden.Device.builtin("ddr3-b33").save(path)
    text = path.read_text()
    for part in (0, 1000, len(text) - 3):
        path.write_text(text[:part])
        message = fails("retrain", "--out", tmp_path / "out", "--task", TASK, "--device", path)
        assert re.fullmatch(rf"{path}: line \d+, column \d+: .*; it is truncated or is no JSON file", message)
    path.write_text(json.dumps({**json.loads(text), "version": 3}))
    assert fails("devices", "show", path) == f"{path}: version: found 3, allowed is 2 (this version of eden's)"
    path.write_bytes(b"\xff\xfe")
    assert fails("devices", "show", path) == f"{path}: byte 0 is no UTF-8 text; is this the right file?"
    assert "cannot be read: Is a directory" in fails("devices", "show", tmp_path)


def test_all_modules_of_a_file(run: Eden, fails: Fails, tmp_path: Path) -> None:
    """Each that can be fitted has its file, the others are named; a bank is named by its number."""
    header = "module,refresh_interval,temperature,stored,bank,row,bit"
    rows = [
        f"{module},4000,50,{v},1,{row},{7 * row + v}" for module in ("m1", "m/2") for v in (0, 1) for row in range(8)
    ]
    path, folder, tested = tmp_path / "a.csv", tmp_path / "devices", ("--bank", 1, "--rows", 8, "--row-bits", 128)
    path.write_text("\n".join([header, *rows]) + "\n")
    printed = run("fit", path, "--all", folder, *tested)
    assert "m1: " in printed
    assert sorted(file.name for file in folder.iterdir()) == ["m1.json", "m_2.json"]
    device = eden.Device.load(folder / "m_2.json")
    assert device.source.module == "m/2"
    assert [(part.name, part.nominal) for part in device.partitions] == [("bank0", True), ("bank1", False)]
    path.write_text("\n".join([header, *rows, "m3,64,50,1,1,0,3"]) + "\n")
    assert "1 of 3 modules could not be fitted: m3: " in fails("fit", path, "--all", folder, *tested)
    assert "--banks and --bank are given" in fails("fit", path, "--all", folder, *tested, "--banks", 8)


def test_bad_measurements(fails: Fails, tmp_path: Path) -> None:
    from latency_csv import HEADER

    path, out = tmp_path / "measured.csv", tmp_path / "device.json"
    rows = [line(1000, pattern) for pattern in ("0x0", "0xff")]
    write(path, rows, [name for name in HEADER if name != "tRCD"])
    message = fails("fit", path, "--out", out)
    assert str(path) in message
    assert "tRCD" in message
    write(path, [*rows, line(1000, **{"Bank3": "1.5"})])
    message = fails("fit", path, "--out", out)
    assert str(path) in message
    assert "line 4" in message
    assert "Bank3" in message
    assert "1.5" in message
    write(path, [*rows, line(1000, module="m2")])
    message = fails("fit", path, "--out", out)
    assert "m1" in message
    assert "m2" in message
    assert "allowed is one of --out and --all" in fails("fit", path)
    assert "m3" in fails("fit", path, "--out", out, "--module", "m3")
    assert "abc" in fails("fit", path, "--out", out, "--format", "abc")
    assert "cannot be read: No such file" in fails("fit", tmp_path / "none.csv", "--out", out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target-ber", 2], r"target_ber is 2.0; allowed is above 0 to 1"),
        (["--target-ber", -0.1], r"target_ber is -0.1; allowed is above 0 to 1"),
        (["--target-ber", "nan"], r"target_ber is nan; allowed is above 0 to 1"),
        (["--trcd", 1], r"trcd is 1.0 ns; allowed for .* is [\d.]+ to [\d.]+ ns.*"),
        (["--trcd", 99], r"trcd is 99.0 ns; allowed for .* is [\d.]+ to [\d.]+ ns.*"),
        (["--trcd", 12.5], r"ddr3-b33 has no errors at tRCD 12.5 ns, so there is nothing to retrain for"),
        (["--epochs", 0], r"boost.epochs is 0; allowed is a whole number from 1"),
        (["--learning-rate", 0], r"boost.learning_rate is 0.0; allowed is above 0 and finite"),
        (["--chips", 0], r"chips is 0; allowed are 'fresh', 'one', or a number of chips from 1, .*"),
        (["--chips", "few"], r"chips is 'few'; allowed are 'fresh', 'one', or a number of chips from 1, .*"),
        (["--seed", 2**63], r"--seed is 9223372036854775808; allowed is a 64-bit integer"),
        (["--device", "ddr9"], r"device is 'ddr9'; allowed are a device file and ddr3-b1, .*"),
        (["--task", "nothing"], r"task is 'nothing'; allowed are digits, .*"),
        (["--task", "none.py:f"], r"task 'none.py:f': no such file: none.py"),
        (
            ["--task", f"{tiny_task.__file__}:without_layers"],
            r"Sequential has no layer to put under faults: found BatchNorm1d, ReLU, Sequential; allowed are .*Linear.*",
        ),
    ],
)
def test_retrain_refuses_before_it_trains(
    options: list[object], message: str, fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eden.app.steps.train", lambda *_, **__: pytest.fail("trained first"))
    assert re.fullmatch(message, fails("retrain", "--out", tmp_path / "out", "--task", TASK, *options))
    assert not list((tmp_path / "out").glob("*"))


def test_a_file_in_the_way(fails: Fails, campaign: Path, networks: Path, tolerance: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("kept")
    network = networks / "boosted.safetensors"
    for arguments in (
        ["demo", "--task", TASK, "--out", blocked],
        ["retrain", "--task", TASK, "--out", blocked / "out"],
        ["report", blocked, "--device", "ddr3-b33"],
    ):
        assert "cannot be used as an output folder: " in fails(*arguments)
    writers: list[list[object]] = [
        ["fit", campaign],
        ["profile", "--task", TASK, "--network", network],
        ["place", "--tolerance", tolerance, "--device", "ddr3-b33"],
        ["traffic", "--task", TASK, "--network", network],
        ["savings", "--task", TASK, "--network", network, "--placement", "p.json"],
        ["evaluate", "--task", TASK, "--network", network],
    ]
    for arguments in writers:
        assert fails(*arguments, "--out", blocked / "out.json").startswith(f"{blocked}: cannot be used as an output")
        message = fails(*arguments, "--out", tmp_path)
        assert message == f"{tmp_path}: cannot be written: it is a folder; allowed is a new or a regular file"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert blocked.read_text() == "kept"


def test_bad_files_and_options_of_the_later_steps(
    fails: Fails, networks: Path, tolerance: Path, tmp_path: Path
) -> None:
    network, out = networks / "boosted.safetensors", tmp_path / "out.json"
    known = ["--task", TASK, "--network", network]
    missing = tmp_path / "missing"
    assert f"{missing}: cannot be read" in fails("profile", "--task", TASK, "--network", missing, "--out", out)
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(network.read_bytes()[:500])
    assert f"{torn}: cannot be read as safetensors" in fails("evaluate", "--task", TASK, "--network", torn)
    assert "is of another network" in fails("evaluate", "--task", "digits", "--network", network)
    for option, value in (("max-drop", 0), ("max-drop", 1.5), ("confidence", 1), ("quantile", 2)):
        assert "; allowed is inside (0, 1)" in fails("profile", *known, "--out", out, f"--{option}", value)
    assert "chips is 0; allowed is 1 or more" in fails("evaluate", *known, "--chips", 0)
    assert "--placement" in fails("evaluate", *known, "--out", out, "--placement", "p.json")
    place = ["place", "--tolerance", tolerance, "--out", out]
    assert "device is 'ddr9'" in fails(*place, "--device", "ddr9")
    assert "objective is 'speed'" in fails(*place, "--device", "ddr3-b33", "--objective", "speed")
    assert f"{missing}: cannot be read" in fails("savings", *known, "--placement", missing, "--out", out)
    message = fails("savings", *known, "--placement", tolerance, "--out", out)
    assert message == f"{tolerance}: format: found 'eden-tolerance', allowed is 'eden-placement'"
    assert "nothing to report" in fails("report", tmp_path / "page")
    assert not out.exists()


def test_a_search_without_an_answer_leaves_no_journal(
    fails: Fails, networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Twenty observations are too few for any confirmation.
    from eden.tolerance import profile as module

    whole = module.profile

    def short(*given: Any, search: eden.Search, **options: Any) -> eden.Tolerance:
        return whole(*given, search=dataclasses.replace(search, max_trials=20), **options)

    monkeypatch.setattr(module, "profile", short)
    options = ("--task", TASK, "--network", networks / "boosted.safetensors", "--out", tmp_path / "tolerance.json")
    assert fails("profile", *options)
    assert not list(tmp_path.iterdir())


def test_a_profile_with_a_budget(run: Eden, fails: Fails, networks: Path, tmp_path: Path) -> None:
    out = tmp_path / "tolerance.json"
    command = ("profile", "--network", networks / "boosted.safetensors", "--out", out, "--task", TASK, *PROFILE)
    assert "budget is 20, too few" in fails(*command, "--budget", 20)
    assert not list(tmp_path.iterdir())
    printed = run(*command, "--budget", 450, "--timeout", 60)
    found = eden.Tolerance.load(out)
    journal = tmp_path / "tolerance.json.journal"
    assert sum(found.observations.values()) <= 450
    assert found.limits_certificate is None
    assert f"{found.unfinished}; the same command with a larger budget goes on from {journal}" in printed
    assert journal.exists()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


INTERRUPTED = (
    "eden: interrupted; files already written are whole. retrain, run and demo go on with --resume, profile and "
    "certify with the same command"
)


def test_interrupted_retraining_is_resumed(run: Eden, networks: Path, tmp_path: Path) -> None:
    # The batches of four epochs of training, and of two and a half under faults.
    at = tiny_task.STEPS * tiny_task.TRAIN_EPOCHS + 2 * tiny_task.STEPS + 3
    command = ("retrain", "--out", tmp_path, "--task", TASK)
    found = process(*command, EDEN_TEST_SIGNAL=f"augment:{at}:SIGINT")
    assert found.returncode == 130
    assert found.stderr.splitlines()[-1] == INTERRUPTED
    assert "Traceback" not in found.stderr
    left = files(tmp_path)
    assert set(left) == {"recipe.toml", "train.safetensors", "baseline.safetensors", "boost.safetensors"}
    assert left["baseline.safetensors"] == (networks / "baseline.safetensors").read_bytes()
    eden.load_(tiny_task.network(), tmp_path / "baseline.safetensors")
    run(*command, "--resume")
    assert files(tmp_path) == files(networks)


def test_retraining_begins_anew_by_force_alone(run: Eden, fails: Fails, networks: Path, tmp_path: Path) -> None:
    for name, content in files(networks).items():
        (tmp_path / name).write_bytes(content[:100])
    before = files(tmp_path)
    assert "the folder holds a run already; allowed are --resume" in fails("retrain", "--out", tmp_path, "--task", TASK)
    assert files(tmp_path) == before
    run("retrain", "--out", tmp_path, "--task", TASK, "--force")
    assert files(tmp_path) == files(networks)


def test_training_that_diverges(fails: Fails, tmp_path: Path) -> None:
    message = fails("retrain", "--out", tmp_path, "--task", TASK, "--learning-rate", 1e30)
    assert re.match(
        r"the loss is (nan|inf) in epoch \d, step \d at BER 0.00\d+, first met in .*; allowed is a finite number: ",
        message,
    )
    assert "boosted.safetensors" not in files(tmp_path)


def test_resuming_another_run_is_refused(fails: Fails, networks: Path) -> None:
    before = files(networks)
    message = fails("retrain", "--out", networks, "--task", TASK, "--resume", "--target-ber", 0.02)
    assert message == (f"{networks / 'recipe.toml'}: is of another run: curriculum.target_ber is 0.01, here it is 0.02")
    assert files(networks) == before


def test_an_interrupted_profile_is_resumed(
    run: Eden, fails: Fails, networks: Path, tolerance: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "tolerance.json"
    command = ("profile", "--network", networks / "boosted.safetensors", "--out", out, "--task", TASK, *PROFILE)
    found = process(*command, EDEN_TEST_SIGNAL="forward:60:SIGINT")
    assert found.returncode == 130
    assert found.stderr.splitlines()[-1] == INTERRUPTED
    assert "Traceback" not in found.stderr
    journal = tmp_path / "tolerance.json.journal"
    assert list(tmp_path.iterdir()) == [journal]
    kept = len(journal.read_text().splitlines()) - 1
    assert 40 < kept < 60
    assert "the journal of another run: max_drop was 0.05 there and is 0.02 here" in fails(*command, "--max-drop", 0.02)

    forwards: list[int] = []
    whole = tiny_task.Network.forward

    def counted(self: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        forwards.append(1)
        return whole(self, x)  # type: ignore[arg-type]

    monkeypatch.setattr(tiny_task.Network, "forward", counted)
    monkeypatch.setattr("eden.app.tasks._module_of_file", lambda path: tiny_task)
    run(*command)
    assert out.read_bytes() == tolerance.read_bytes()
    observations = sum(eden.Tolerance.load(out).observations.values())
    assert len(forwards) < observations
    assert list(tmp_path.iterdir()) == [out]
