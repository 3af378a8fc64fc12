"""MNIST, which LeNet-5 is boosted on, from the folder named by EDEN_DATA."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import TensorDataset

from eden.app.datasets import data_folder
from eden.common.files import FileError


def _idx(path: Path, dimensions: int) -> np.ndarray:
    """The bytes of an IDX file: two zeros, the type (8, unsigned byte), the number of dimensions, their sizes."""
    if not path.is_file():
        raise FileError(path, "no such file; it is one of the four that MNIST comes in")
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(path, f"{error}; allowed is an IDX file that gzip has packed; it may be truncated") from error
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
        raise FileError(path, f"begins with {content[:4]!r}; allowed is an IDX file, bytes in {dimensions} dimensions")
    shape = np.frombuffer(content, ">u4", dimensions, 4).astype(np.int64)
    if len(content) - header != shape.prod():
        raise FileError(path, f"holds {len(content) - header} bytes; allowed are the {shape.prod()} that its sizes say")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def mnist() -> tuple[TensorDataset, TensorDataset]:
    """MNIST (LeCun, Cortes and Burges 1998) from the data folder: training and test sets, 60,000 and 10,000 images.

    Images are float32 of shape (1, 28, 28) with values from 0 to 1; labels int64.

    Raises:
        FileError: if the folder or a file is missing, or a file is damaged.
    """
    sets = []
    for name in ("train", "t10k"):
        images = _idx(data_folder() / "mnist" / f"{name}-images-idx3-ubyte.gz", 3)
        path = data_folder() / "mnist" / f"{name}-labels-idx1-ubyte.gz"
        labels = _idx(path, 1)
        if len(labels) != len(images):
            raise FileError(path, f"holds {len(labels)} labels; allowed is one for each of the {len(images)} images")
        x = torch.from_numpy(images.astype(np.float32) / 255.0)[:, None].contiguous()
        sets.append(TensorDataset(x, torch.from_numpy(labels.astype(np.int64))))
    return sets[0], sets[1]
