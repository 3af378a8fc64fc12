"""Is MNIST read as it is for the benchmarks, and is whatever is wrong with its files named?"""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from mnist import mnist

from eden.common.files import FileError


def _idx(path: Path, array: np.ndarray, kind: int = 8) -> None:
    header = bytes((0, 0, kind, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def mnist_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Made-up images in the four files of MNIST."""
    monkeypatch.setenv("EDEN_DATA", str(tmp_path))
    folder = tmp_path
    (folder / "mnist").mkdir()
    generator = np.random.default_rng(0)
    for name, number in (("train", 3), ("t10k", 2)):
        images = generator.integers(0, 256, (number, 28, 28), dtype=np.uint8)
        images[0, 0, :2] = 0, 255
        _idx(folder / "mnist" / f"{name}-images-idx3-ubyte.gz", images)
        _idx(folder / "mnist" / f"{name}-labels-idx1-ubyte.gz", np.arange(number, dtype=np.uint8))
    return folder / "mnist"


def test_mnist(mnist_folder: Path) -> None:
    train, test = mnist()
    x, y = train.tensors
    assert (tuple(x.shape), x.dtype, y.tolist(), y.dtype) == ((3, 1, 28, 28), torch.float32, [0, 1, 2], torch.int64)
    assert x[0, 0, 0, :2].tolist() == [0.0, 1.0]
    assert len(test) == 2


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no such file; it is one of the four"),
        (b"no gzip", "allowed is an IDX file that gzip has packed"),
        (gzip.compress(b"\0\0\x08\x01" + b"\0" * 400)[:-12], "it may be truncated"),
        (
            gzip.compress(b"\0\0\x0d\x01\0\0\0\x03abc"),
            r"begins with b'\\x00\\x00\\r\\x01'; allowed is an IDX file, bytes in 1",
        ),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x03ab"), "holds 2 bytes; allowed are the 3 that its sizes say"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x02ab"), "holds 2 labels; allowed is one for each of the 3 images"),
    ],
    ids=["missing", "packed", "cut", "type", "size", "labels"],
)
def test_damaged_mnist_is_named(mnist_folder: Path, content: bytes | None, problem: str) -> None:
    path = mnist_folder / "train-labels-idx1-ubyte.gz"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError, match=rf"train-labels-idx1-ubyte.gz: .*{problem}"):
        mnist()
