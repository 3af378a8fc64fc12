"""PEP 517 backend: setuptools, plus torch as a build requirement only where the environment has none to read."""

import sysconfig
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (  # noqa: F401
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

TORCH_FOR_HEADERS = "torch==2.13.0"


def _torch_requirement() -> list[str]:
    # An isolated build hides the environment's packages from import, not from the file system.
    installed = Path(sysconfig.get_path("purelib")) / "torch" / "include"
    return [] if installed.is_dir() else [TORCH_FOR_HEADERS]


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_torch_requirement()]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    return [*build_meta.get_requires_for_build_editable(config_settings), *_torch_requirement()]
