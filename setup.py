"""Calls CMake once; everything about the build itself stands in CMakeLists.txt, all metadata in pyproject.toml."""

import os
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()
# Where this file is run by itself, not by the backend.
sys.path.append(str(ROOT / "build_backend"))

import supported  # noqa: E402
import torch_location  # noqa: E402


def find_program(name: str, folder: str, least: str) -> str:
    """The environment's own program before the system's, which may be too old for the installed nvcc."""
    if find_spec(name) is not None:
        return str(Path(getattr(import_module(name), folder)) / name)
    found = shutil.which(name)
    if found is None:
        raise SystemExit(f"eden: {name} {least} or later is needed to build; run: pip install {name}")
    return found


class CMakeBuild(build_ext):
    """Builds every native library with one CMake run and leaves them in the package."""

    def run(self) -> None:
        refused = supported.refusal()
        if refused:
            raise SystemExit(f"eden: {refused}")
        warned = supported.warning()
        if warned:
            print(f"eden: {warned}", file=sys.stderr)
        try:
            torch = torch_location.find()
        except torch_location.NoTorchError as error:
            raise SystemExit(f"eden: {error}") from error
        in_place = bool(self.inplace or getattr(self, "editable_mode", False))
        package = ROOT / "eden" if in_place else Path(self.build_lib).resolve() / "eden"
        build = ROOT / "build" if in_place else Path(self.build_temp).resolve() / "cmake"
        build.mkdir(parents=True, exist_ok=True)
        package.mkdir(parents=True, exist_ok=True)
        cmake = find_program("cmake", "CMAKE_BIN_DIR", "3.24")
        configure = [
            cmake,
            "-S",
            str(ROOT),
            "-B",
            str(build),
            "-G",
            "Ninja",
            # Not the one that an earlier build in this folder had, whose environment pip and uv have removed since.
            f"-DCMAKE_MAKE_PROGRAM={find_program('ninja', 'BIN_DIR', '1.11')}",
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DEDEN_TORCH={torch}",
            f"-DEDEN_OUTPUT_DIR={package}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DPYBIND11_CMAKE_DIR={self._pybind11_cmake_dir()}",
            *([f"-DEDEN_CUDA={os.environ['EDEN_CUDA']}"] if os.environ.get("EDEN_CUDA") else []),
            *os.environ.get("EDEN_CMAKE_ARGS", "").split(),
        ]
        subprocess.check_call(configure)
        subprocess.check_call([cmake, "--build", str(build), "--target", "eden_all"])

    @staticmethod
    def _pybind11_cmake_dir() -> str:
        import pybind11

        return pybind11.get_cmake_dir()

    def get_outputs(self) -> list[str]:
        return []


setup(ext_modules=[Extension("eden._core", sources=[])], cmdclass={"build_ext": CMakeBuild})
