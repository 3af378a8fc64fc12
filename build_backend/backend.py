"""PEP 517 backend: setuptools, plus torch as a build requirement only where there is none to read."""

from typing import Any

import torch_location
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
    try:
        torch_location.find()
    except torch_location.NoTorchError:
        return [TORCH_FOR_HEADERS]
    return []


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_torch_requirement()]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    return [*build_meta.get_requires_for_build_editable(config_settings), *_torch_requirement()]
