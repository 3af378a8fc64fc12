"""Builds everything from scratch in build-time/ and prints the processor seconds that compiling each library takes.

Every compilation runs under this program as its launcher, which writes down what it took: by the clock it would depend
on what else the machine does.
"""

import collections
import os
import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build-time"
TIMES = FOLDER / "times.tsv"
SLOWEST = 8


def launch(command: list[str]) -> int:
    """Run a compiler and append its processor seconds and its output's name to the file of times."""
    status = subprocess.call(command)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = command[command.index("-o") + 1] if "-o" in command else command[-1]
    with TIMES.open("a") as file:
        file.write(f"{usage.ru_utime + usage.ru_stime:.2f}\t{output}\n")
    return status


def build() -> None:
    """Configure as `make build` does and build every target."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    launcher = f"{sys.executable};{Path(__file__).resolve()};--launch"
    environment = dict(os.environ, PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    configure = ["cmake", "-S", str(ROOT), "-B", str(FOLDER), "-G", "Ninja"]
    configure += ["-DEDEN_WERROR=ON", "-DEDEN_BUILD_TESTS=ON", "-DEDEN_PROFILER=AUTO"]
    configure += [f"-DEDEN_CUDA={os.environ.get('EDEN_CUDA') or 'NVCC'}"]
    configure += [f"-DEDEN_OUTPUT_DIR={FOLDER / 'eden'}", f"-DPython_EXECUTABLE={sys.executable}"]
    configure += [f"-DCMAKE_{language}_COMPILER_LAUNCHER={launcher}" for language in ("CXX", "CUDA")]
    configure += shlex.split(os.environ.get("EDEN_CMAKE_ARGS", ""))
    subprocess.check_call(configure, env=environment)
    subprocess.check_call(["cmake", "--build", str(FOLDER)], env=environment)


def report() -> None:
    """Print the sum of each target, and the slowest files."""
    files = [(float(seconds), output) for seconds, output in (r.split("\t") for r in TIMES.read_text().splitlines())]
    targets: collections.Counter[str] = collections.Counter()
    for seconds, output in files:
        targets[output.split("CMakeFiles/")[-1].split(".dir/")[0]] += seconds
    print("processor s  target")
    for target, seconds in targets.most_common():
        print(f"{seconds:11.1f}  {target}")
    print(f"{sum(targets.values()):11.1f}  everything\nslowest files:")
    for seconds, output in sorted(files, reverse=True)[:SLOWEST]:
        print(f"{seconds:11.1f}  {output.split('.dir/')[-1]}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--launch"]:
        sys.exit(launch(sys.argv[2:]))
    build()
    report()
