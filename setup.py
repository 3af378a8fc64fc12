"""Calls CMake once; everything about the build itself stands in CMakeLists.txt, all metadata in pyproject.toml."""

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()


def find_torch() -> Path:
    """The torch whose headers and libraries are built against, without importing it."""
    spec = find_spec("torch")
    candidates = [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []
    # In an isolated build the environment's own torch is not importable, but it is there.
    candidates.append(Path(sysconfig.get_path("purelib")) / "torch")
    for candidate in candidates:
        if (candidate / "include" / "torch" / "csrc" / "stable" / "library.h").is_file():
            return candidate
    raise SystemExit(f"eden: no torch 2.10 or later in {[str(c) for c in candidates]}; run: pip install 'torch>=2.10'")


def find_cmake() -> str:
    """The environment's own cmake before the system's, which may be too old for the installed nvcc."""
    if find_spec("cmake") is not None:
        import cmake

        return str(Path(cmake.CMAKE_BIN_DIR) / "cmake")
    found = shutil.which("cmake")
    if found is None:
        raise SystemExit("eden: cmake 3.24 or later is needed to build; run: pip install cmake")
    return found


class CMakeBuild(build_ext):
    """Builds every native library with one CMake run and leaves them in the package."""

    def run(self) -> None:
        in_place = bool(self.inplace or getattr(self, "editable_mode", False))
        package = ROOT / "eden" if in_place else Path(self.build_lib).resolve() / "eden"
        build = ROOT / "build" if in_place else Path(self.build_temp).resolve() / "cmake"
        build.mkdir(parents=True, exist_ok=True)
        package.mkdir(parents=True, exist_ok=True)
        cmake = find_cmake()
        configure = [
            cmake,
            "-S",
            str(ROOT),
            "-B",
            str(build),
            "-G",
            "Ninja",
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DEDEN_TORCH={find_torch()}",
            f"-DEDEN_OUTPUT_DIR={package}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DPYBIND11_CMAKE_DIR={self._pybind11_cmake_dir()}",
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
