"""What ``eden doctor`` says: what is there, what is missing and what does not work, each with its remedy.

It must answer where nothing works, so that it loads neither torch nor a library of its own. A process of its own tries
those, whose end, by whatever signal, is a finding like any other.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from eden.common.extras import EXTRAS, missing

if TYPE_CHECKING:
    import torch

State = Literal["ok", "missing", "failed"]

DISTRIBUTION = "eden-dram"
LEAST_CAPABILITY = (8, 0)
"""Compute capability from which the CUDA operators are compiled."""

_OPERATORS = "run: pip install --force-reinstall --no-deps eden-dram (in a checkout: make build)"
_PACKAGE = Path(__file__).parent.parent
_CHECKOUT = _PACKAGE.parent
_SECONDS = 300  # that the process that tries the libraries may take


class Finding(NamedTuple):
    """A line of the answer."""

    state: State
    """What is missing is not needed for most of EDEN; with what failed it does not run."""
    what: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.state:<8} {self.what:<18} {self.found}" + (f"; {self.remedy}" if self.remedy else "")


def main(say: Callable[[str], None]) -> int:
    """Say every finding; 1 if something failed, else 0."""
    failed = False
    for finding in findings():
        failed |= finding.state == "failed"
        say(str(finding))
    return int(failed)


def findings() -> Iterator[Finding]:
    """Everything, in the order in which one thing needs the other."""
    yield python()
    yield from libraries()
    for extra in EXTRAS:
        yield optional(extra)
    yield compiler()
    yield tool("cmake", (3, 24))
    yield tool("ninja", (1, 10))
    yield toolkit()
    yield driver()
    yield from apart()
    yield profiler()


# -- what can be said without loading anything -------------------------------------------------------------------------


def _first_line(*command: str, words: str = "") -> str | None:
    """What a program says first, or first with these words in it; None where it does not run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
    return next((line for line in lines if line and words in line), None)


def _release(text: str) -> tuple[int, ...]:
    """The numbers of the first version in a text; empty where it has none."""
    found = re.search(r"\d+(\.\d+)+", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def python() -> Finding:
    """The interpreter and the machine."""
    found = f"{platform.python_version()} at {sys.executable}, {platform.system()} {platform.machine()}"
    return Finding("ok", "Python", found)


def _within(version: str, bounds: str) -> bool:
    """Whether a release lies within bounds such as >=1.26,<3."""

    def padded(text: str) -> tuple[int, ...]:
        return (*_release(f"{text}.0"), 0, 0, 0)[:4]

    release = padded(version)
    for bound in filter(None, bounds.split(",")):
        limit = padded(bound)
        if (bound.startswith(">=") and release < limit) or (bound.startswith("<") and release >= limit):
            return False
    return True


def libraries() -> Iterator[Finding]:
    """EDEN itself and what it always needs, by the metadata of the installation; torch is tried later."""
    try:
        installed = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        yield Finding("failed", "eden", f"{_PACKAGE} belongs to no installation", "run: pip install .")
        return
    yield Finding("ok", "eden", f"{installed.version} at {_PACKAGE}")
    for requirement in installed.requires or ():
        stated = re.fullmatch(r"([\w.-]+)\s*([^;]*)", requirement)
        if stated is None or stated[1] == "torch":  # those of extras have a marker behind a semicolon
            continue
        name, bounds = stated[1], stated[2].strip()
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding("failed", name, "is not installed", f"run: pip install '{name}{bounds}'")
            continue
        if _within(version, bounds):
            yield Finding("ok", name, version)
        else:
            yield Finding("failed", name, f"{version}; allowed is {bounds}", f"run: pip install '{name}{bounds}'")


def optional(extra: str) -> Finding:
    """The libraries of one extra."""
    lacking = missing(extra)
    if lacking:
        return Finding("missing", f"[{extra}]", ", ".join(lacking), f"run: pip install '{DISTRIBUTION}[{extra}]'")
    return Finding("ok", f"[{extra}]", ", ".join(EXTRAS[extra]))


def compiler() -> Finding:
    """The C++ compiler, which a build needs, and torch.compile."""
    command = os.environ.get("CXX") or next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), "c++")
    version = _first_line(command, "--version")
    remedy = "needed to build and by torch.compile; run: apt-get install g++"
    if version is None:
        return Finding("missing", "C++ compiler", f"{command} does not run", remedy)
    program = "#include <span>\nint main() { return std::span<int>().empty() ? 0 : 1; }"
    options = ["-std=c++20", "-x", "c++", "-fsyntax-only", "-"]
    if subprocess.run([command, *options], input=program, capture_output=True, text=True).returncode:
        return Finding("missing", "C++ compiler", f"{version} has no C++20", remedy)
    return Finding("ok", "C++ compiler", f"{version} at {shutil.which(command)}")


def tool(name: str, least: tuple[int, ...]) -> Finding:
    """A program that a build needs: this environment's before the system's."""
    beside = Path(sys.executable).parent / name
    command = str(beside) if beside.exists() else shutil.which(name)
    remedy = f"needed to build; run: pip install {name}"
    version = None if command is None else _first_line(command, "--version")
    if version is None:
        return Finding("missing", name, "not found", remedy)
    release = _release(version)
    if release < least:
        return Finding("missing", name, f"{version} at {command}; allowed is {'.'.join(map(str, least))} on", remedy)
    return Finding("ok", name, f"{'.'.join(map(str, release))} at {command}")


def toolkit() -> Finding:
    """The CUDA compiler, looked for where the build looks."""
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    places = [os.environ.get("CUDACXX"), shutil.which("nvcc"), *(f"{home}/bin/nvcc" for home in homes if home)]
    command = next((place for place in places if place and shutil.which(place)), None)
    remedy = "needed to build the CUDA operators; install the CUDA toolkit 12 or later, or set CUDACXX"
    version = None if command is None else _first_line(command, "--version", words="release")
    if version is None:
        return Finding("missing", "CUDA toolkit", "no nvcc in PATH, CUDACXX, CUDA_HOME or /usr/local/cuda", remedy)
    if _release(version) < (12,):
        return Finding("missing", "CUDA toolkit", f"{version} at {command}; allowed is 12 or later", remedy)
    return Finding("ok", "CUDA toolkit", f"{version} at {command}")


def driver() -> Finding:
    """NVIDIA's driver."""
    found = _first_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    if found is None:
        return Finding("missing", "CUDA driver", "nvidia-smi finds none", "needed on a machine with a GPU alone")
    return Finding("ok", "CUDA driver", found)


def profiler() -> Finding:
    """The program that searches without Python."""
    built = _CHECKOUT / "build" / "eden-profile"
    command = str(built) if built.exists() else shutil.which("eden-profile")
    if command is None:
        log = _CHECKOUT / "build" / "configure.log"
        why = re.search(r"no eden-profile: (.*)", log.read_text()) if log.exists() else None
        return Finding("missing", "eden-profile", why[1] if why else "not built", "run in a checkout: make build")
    version = _first_line(command, "--version")
    if version is None:
        return Finding("missing", "eden-profile", f"{command} does not start", "run in a checkout: make build")
    return Finding("ok", "eden-profile", f"{version.removeprefix('eden-profile ')} at {command}")


# -- what is tried in a process of its own -----------------------------------------------------------------------------


def apart() -> Iterator[Finding]:
    """The findings of ``tried``, made in another process, and how that ended."""
    # Without the folder it is called in, whose files may be named like modules.
    command = [sys.executable, "-P", "-c", "from eden.app.doctor import _speak; _speak()"]
    paths = [str(_CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)
    try:
        out, error = process.communicate(timeout=_SECONDS)
        ended = None
    except subprocess.TimeoutExpired:
        process.kill()
        out, error = process.communicate()
        ended = f"took more than {_SECONDS} s"
    step = "the start of Python"
    for line in out.splitlines():
        if not line.startswith("{"):
            continue
        said = json.loads(line)
        step = said.pop("step", step)
        if said:
            yield Finding(**said)
    if ended is None and process.returncode:
        code = process.returncode
        ended = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    if ended is not None:
        last = (error.strip().splitlines() or [""])[-1]
        yield Finding("failed", step, f"{ended}{': ' if last else ''}{last}", _OPERATORS)


def _speak() -> None:
    """In the process apart: each step when it begins, and what was found."""
    for step in TRIED:
        print(json.dumps({"step": step.__name__.replace("_", " ")}), flush=True)
        for finding in step():
            print(json.dumps(finding._asdict()), flush=True)
            if finding.state == "failed":
                return  # what comes next needs it


def torch_itself() -> Iterator[Finding]:
    """Torch: can it be imported, which is it, and what was it built for?"""
    remedy = "run: pip install --upgrade 'torch>=2.10'"
    try:
        torch: Any = importlib.import_module("torch")
    except Exception as error:
        yield Finding("failed", "torch", f"{type(error).__name__}: {error}", remedy)
        return
    built = "for the CPU alone" if torch.version.cuda is None else f"for CUDA {torch.version.cuda}"
    found = f"{torch.__version__} {built} at {Path(torch.__file__).parent}"
    if _release(torch.__version__)[:2] < (2, 10):
        yield Finding("failed", "torch", f"{found}; allowed is 2.10 or later", remedy)
        return
    yield Finding("ok", "torch", found)
    if not torch.cuda.is_available():
        why = "torch is built without CUDA" if torch.version.cuda is None else "torch finds no GPU"
        yield Finding("missing", "CUDA devices", why, "the CPU is used")
        return
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        text = (
            f"{index}: {device.name}, {device.total_memory / 2**30:.0f} GiB, capability {device.major}.{device.minor}"
        )
        if (device.major, device.minor) < LEAST_CAPABILITY:
            least = ".".join(map(str, LEAST_CAPABILITY))
            yield Finding("missing", "CUDA device", f"{text}; allowed is {least} or later", "the CPU is used")
        else:
            yield Finding("ok", "CUDA device", text)


def _processors_best() -> str:
    """The best of the instruction sets that there are loops for, of those that the processor states."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    flags = set(" ".join(re.findall(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)).split())
    avx2 = {"avx2", "fma", "f16c", "bmi1", "bmi2", "popcnt"}
    if avx2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags:
        return "avx512"
    if avx2 <= flags:
        return "avx2"
    return "neon" if platform.machine() in ("aarch64", "arm64") else "baseline"


def native_module() -> Iterator[Finding]:
    """The Python module over the C++ core, and the loops that it uses."""
    try:
        core = importlib.import_module("eden._core")
    except ImportError as error:
        yield Finding("failed", "_core", str(error), _OPERATORS)
        return
    yield Finding("ok", "_core", str(Path(str(core.__file__)).name))
    used, best = core.instruction_set(), _processors_best()
    asked = os.environ.get("EDEN_ISA")
    if used == best:
        yield Finding("ok", "instruction set", used)
    elif asked:
        yield Finding("ok", "instruction set", f"{used}, by EDEN_ISA={asked}; the processor has {best}")
    else:
        remedy = "build with a later compiler"
        yield Finding("missing", "instruction set", f"{used}; the processor has {best}", remedy)


def operators() -> Iterator[Finding]:
    """The torch operators: do they load?"""
    import torch

    from eden.common.torch_internals import operator_names
    from eden.memory import library as _library

    try:
        _library.load()
    except (ImportError, OSError) as error:
        yield Finding("failed", "operators", str(error).splitlines()[0], _OPERATORS)
        return
    names = {name.split("::")[1] for name in operator_names() if name.startswith("eden::")}
    yield Finding("ok", "operators", f"{_library.OPS.name}: {', '.join(sorted(names))}")
    if not _library.OPS_CUDA.exists():
        yield Finding(
            "missing", "CUDA operators", "not built", "needed on a GPU; run: EDEN_CUDA=ON pip install . (or make)"
        )
        return
    try:
        _library.load_cuda()
    except (ImportError, OSError) as error:
        state: State = "failed" if torch.cuda.is_available() else "missing"
        yield Finding(state, "CUDA operators", str(error).splitlines()[0], _OPERATORS)
        return
    yield Finding("ok", "CUDA operators", _library.OPS_CUDA.name)


PHILOX = "d16cfe09 94fdcceb 5001e420 24126ea1"
"""Philox4x32-10 of the digits of pi, as its authors published it."""

KNOWN = "bbbb3dcf362425e9037a1239739b24676e446022cc0d364d1af561ea8ed610f2"
"""SHA-256 of what ``answer`` reads, in random layout 2."""


def answer(device: torch.device | str) -> str:
    """SHA-256 of numbers that were read through two chips: the same on every machine."""
    import torch

    from eden.memory import operators as ops
    from eden.memory.errors import DataDependent, Uniform

    digest = hashlib.sha256()
    words = torch.arange(1 << 16, dtype=torch.int32).mul(-1640531527).to(device)
    for stored in (words.view(torch.float32), words.view(torch.int8)):
        for errors in (Uniform(ber=1e-2, failure=0.5), DataDependent(ber_zero=1e-4, ber_one=0.3)):
            read = ops.corrupt(stored, errors, seed=7, address=96, access=3)
            digest.update(read.view(torch.int32).cpu().numpy().tobytes())
    return digest.hexdigest()


def self_test() -> Iterator[Finding]:
    """Known answers, on the CPU and on every GPU that the operators run on."""
    import torch

    from eden import _core
    from eden.memory import library as _library

    words = _core.philox4x32_10([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0])
    philox = " ".join(f"{word:08x}" for word in words)
    if philox != PHILOX:
        yield Finding("failed", "self-test", f"Philox4x32-10 gives {philox}; allowed is {PHILOX}", _OPERATORS)
        return
    devices = ["cpu"]
    if torch.cuda.is_available() and _library.OPS_CUDA.exists():
        count = range(torch.cuda.device_count())
        devices += [f"cuda:{i}" for i in count if torch.cuda.get_device_capability(i) >= LEAST_CAPABILITY]
    for device in devices:
        try:
            found = answer(device)
        except Exception as error:
            found = f"{type(error).__name__}: {error}".splitlines()[0]
        if found != KNOWN:
            yield Finding("failed", "self-test", f"{device}: corrupt gives {found}; allowed is {KNOWN}", _OPERATORS)
            return
        yield Finding("ok", "self-test", f"{device}: known answers of Philox4x32-10 and corrupt")


TRIED = (torch_itself, native_module, operators, self_test)
"""What is tried in a process of its own, each of which needs those before it."""
