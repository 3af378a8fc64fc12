"""Does `eden doctor` tell what works from what does not, with a remedy, also where torch itself does not work?"""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

import eden
from eden.app import cli, doctor
from eden.app.doctor import Finding
from eden.common import extras
from eden.memory import library as _library


def _script(folder: Path, name: str, says: str, status: int = 0) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
    path.chmod(0o755)
    return str(path)


def _failed(found: list[Finding]) -> Finding:
    """The only finding that failed, which is the last: what comes next needs it."""
    assert [finding.state for finding in found if finding.state == "failed"] == ["failed"]
    assert found[-1].state == "failed"
    assert found[-1].remedy
    return found[-1]


def test_an_installation_that_works_passes_and_every_other_line_has_a_remedy(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["eden", "doctor"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    states = {line[9:28].strip(): line[:9].strip() for line in lines}
    needed = ["Python", "eden", "numpy", "torch", "_core", "instruction set", "operators", "self-test"]
    assert {name: states[name] for name in needed} == dict.fromkeys(needed, "ok")
    assert {"C++ compiler", "cmake", "ninja", "CUDA toolkit", "CUDA driver", "eden-profile", "[report]"} <= set(states)
    for line in lines:
        assert line.startswith("ok ") or "; " in line, line


def test_the_doctor_loads_neither_torch_nor_a_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import eden.app.doctor; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(new & {'torch', 'numpy', 'scipy', 'pydantic', 'matplotlib'}), 'eden._core' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise RuntimeError('torch is broken on purpose')", "torch is broken on purpose"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "ended by SIGILL"),
        ("import os; os._exit(3)", "ended with status 3"),
    ],
)
def test_a_torch_that_cannot_be_imported_or_ends_the_process_is_a_finding(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = _failed(list(doctor.apart()))
    assert message in found.found


def test_the_command_answers_where_torch_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise RuntimeError('torch is broken on purpose')")
    path = os.pathsep.join([str(tmp_path), str(Path(eden.__file__).parent.parent)])
    command = [sys.executable, "-c", "from eden.app.cli import main; main()", "doctor"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    failed = [line for line in done.stdout.splitlines() if line.startswith("failed")]
    assert failed == [
        "failed   torch              RuntimeError: torch is broken on purpose; run: pip install --upgrade 'torch>=2.10'"
    ]


def test_a_process_that_hangs_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("import time; time.sleep(600)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(doctor, "_SECONDS", 2)
    assert "took more than 2 s" in _failed(list(doctor.apart())).found


def test_too_old_a_torch_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    found = _failed(list(doctor.torch_itself()))
    assert "2.9.1+cpu" in found.found
    assert "allowed is 2.10 or later" in found.found
    assert found.remedy == "run: pip install --upgrade 'torch>=2.10'"


def test_missing_and_damaged_operators_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_library, "OPS", tmp_path / "_ops.so")
    assert "not built" in _failed(list(doctor.operators())).found
    (tmp_path / "_ops.so").write_text("no library")
    assert "_ops.so" in _failed(list(doctor.operators())).found


def test_missing_and_damaged_cuda_operators_fail_only_where_there_is_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_library, "OPS_CUDA", tmp_path / "_ops_cuda.so")
    assert list(doctor.operators())[-1].state == "missing"
    (tmp_path / "_ops_cuda.so").write_text("no library")
    assert list(doctor.operators())[-1].state == ("failed" if torch.cuda.is_available() else "missing")


def test_a_missing_module_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "eden._core", None)
    assert _failed(list(doctor.native_module())).what == "_core"


def test_another_answer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert next(doctor.self_test()).state == "ok"
    monkeypatch.setattr(doctor, "KNOWN", "another")
    assert "cpu: corrupt gives" in _failed(list(doctor.self_test())).found
    monkeypatch.setattr(doctor, "PHILOX", "another")
    assert "Philox4x32-10 gives" in _failed(list(doctor.self_test())).found


def test_the_answer_tells_of_every_flip(monkeypatch: pytest.MonkeyPatch) -> None:
    from eden.memory import operators as ops

    corrupt = ops.corrupt

    def almost(x: torch.Tensor, *arguments: object, **named: object) -> torch.Tensor:
        y = corrupt(x, *arguments, **named)
        y.view(torch.int8).view(-1)[12345] ^= 1
        return y

    monkeypatch.setattr(ops, "corrupt", almost)
    assert doctor.answer("cpu") != doctor.KNOWN


@pytest.mark.parametrize("state", ["missing", "old"])
def test_a_library_that_is_missing_or_out_of_bounds_fails(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version

    def other(name: str) -> str:
        if name != "scipy":
            return version(name)
        if state == "missing":
            raise metadata.PackageNotFoundError(name)
        return "1.2.3"

    monkeypatch.setattr(metadata, "version", other)
    (found,) = [finding for finding in doctor.libraries() if finding.state == "failed"]
    assert found.what == "scipy"
    assert found.remedy.startswith("run: pip install 'scipy")
    assert ("is not installed" if state == "missing" else "1.2.3; allowed is ") in found.found


@pytest.mark.parametrize(
    ("version", "bounds", "inside"),
    [
        ("1.26", ">=1.26,<3", True),
        ("1.25.9", ">=1.26,<3", False),
        ("3.0", "<3,>=1.26", False),
        ("2.9.9rc1", "<3,>=1.26", True),
        ("3.0.0", "<3", False),
        ("10.0", ">=9", True),
        ("1", ">=1.0", True),
        ("1.0", "", True),
    ],
)
def test_bounds(version: str, bounds: str, inside: bool) -> None:
    assert doctor._within(version, bounds) == inside


def test_programs_that_are_missing_too_old_or_broken_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    for variable in ("CUDACXX", "CUDA_HOME", "CUDA_PATH"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(doctor, "_CHECKOUT", tmp_path)
    monkeypatch.delenv("CXX", raising=False)
    assert doctor.tool("cmake", (3, 24)).found == "not found"
    _script(tmp_path, "cmake", "cmake version 3.22.1")
    assert "cmake version 3.22.1" in doctor.tool("cmake", (3, 24)).found
    _script(tmp_path, "cmake", "cmake version 3.24.0")
    assert doctor.tool("cmake", (3, 24)).state == "ok"
    _script(tmp_path, "cmake", "", status=1)
    assert doctor.tool("cmake", (3, 24)).state == "missing"
    assert doctor.compiler().found == "c++ does not run"
    _script(tmp_path, "g++", "g++ 7.0", status=0)
    assert doctor.compiler().state == "ok"
    (tmp_path / "g++").write_text('#!/bin/sh\n[ "$1" = --version ] && echo "g++ 7.0" || exit 1\n')
    assert doctor.compiler().found == "g++ 7.0 has no C++20"
    assert doctor.driver().state == "missing"
    nvcc = _script(tmp_path, "nvcc", "Cuda compilation tools, release 11.8, V11.8.89")
    assert "11.8" in doctor.toolkit().found
    assert doctor.toolkit().state == "missing"
    _script(tmp_path, "nvcc", "Cuda compilation tools, release 12.4, V12.4.1")
    assert doctor.toolkit().state == "ok"
    monkeypatch.setenv("CUDACXX", nvcc)
    assert doctor.toolkit().state == "ok"
    assert doctor.profiler().found == "not built"
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "configure.log").write_text("-- eden: no eden-profile: nothing to link\n")
    assert doctor.profiler().found == "nothing to link"
    _script(tmp_path / "build", "eden-profile", "eden-profile 0.1.0")
    assert doctor.profiler().state == "ok"
    _script(tmp_path / "build", "eden-profile", "", status=127)
    assert "does not start" in doctor.profiler().found


def test_the_state_decides_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(doctor, "findings", lambda: iter([Finding("missing", "a", "b", "c"), Finding("ok", "d", "e")]))
    assert doctor.main(said.append) == 0
    assert said == ["missing  a                  b; c", "ok       d                  e"]
    monkeypatch.setattr(doctor, "findings", lambda: iter([Finding("failed", "a", "b", "c"), Finding("ok", "d", "e")]))
    assert doctor.main(said.append) == 1


def test_the_processors_instruction_set_is_read_from_its_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    avx2 = "fma f16c avx2 bmi1 bmi2 popcnt"
    avx512 = "avx512f avx512dq avx512bw avx512vl"
    monkeypatch.setattr(doctor.platform, "machine", lambda: "x86_64")
    for flags, best in ((avx2, "avx2"), (f"{avx2} {avx512}", "avx512"), (avx512, "baseline"), ("sse2", "baseline")):
        monkeypatch.setattr(Path, "read_text", lambda self, flags=flags: f"model name\t: x\nflags\t\t: fpu {flags}\n")
        assert doctor._processors_best() == best
    monkeypatch.setattr(doctor.platform, "machine", lambda: "aarch64")
    assert doctor._processors_best() == "neon"


def _without(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.parametrize(
    ("module", "extra", "arguments"),
    [
        ("matplotlib", "report", ["demo", "--out", "demo"]),
        ("jinja2", "report", ["demo", "--out", "demo"]),
        ("jinja2", "report", ["report", "page", "--device", "ddr3-b33"]),
        ("matplotlib", "report", ["devices", "plot", "ddr3-b33", "--out", "b33.svg"]),
        ("matplotlib", "report", ["fit", __file__, "--out", "device.json", "--plot", "fit.svg"]),
        ("sklearn", "demo", ["retrain", "--out", "retrained", "--task", "digits", "--device", "ddr3-b33"]),
    ],
)
def test_a_missing_extra_is_one_line_with_its_remedy(
    module: str, extra: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    _without(module, monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["eden", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.err == f"eden: {module} not installed; run: pip install 'eden-dram[{extra}]'\n"
    assert module in doctor.optional(extra).found
    assert doctor.optional(extra).state == "missing"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_extras_are_those_of_the_package() -> None:
    offered = metadata.metadata("eden-dram").get_all("Provides-Extra") or []
    assert set(extras.EXTRAS) <= set(offered)
