"""The images that the demonstration, the examples and the benchmarks run on."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from eden.app.models import ResNet
from eden.common.extras import require
from eden.common.files import FileError

DATA_VARIABLE = "EDEN_DATA"
"""Environment variable that names the folder of measurements, images and weights."""

# Normalization that the pretrained networks were trained with; stated in the data folder's README.
_CIFAR_MEAN = (0.485, 0.456, 0.406)
_CIFAR_STD = (0.229, 0.224, 0.225)


def data_folder() -> Path:
    """The folder named by EDEN_DATA. Raises FileError if it is not set or is no folder."""
    named = os.environ.get(DATA_VARIABLE)
    if not named:
        raise FileError(DATA_VARIABLE, "environment variable not set; it names the folder with cifar10/ and weights/")
    folder = Path(named)
    if not folder.is_dir():
        raise FileError(folder, f"named by {DATA_VARIABLE}, is no folder")
    return folder


def digits() -> tuple[TensorDataset, TensorDataset]:
    """scikit-learn's 1,797 handwritten digits (UCI, E. Alpaydin and C. Kaynak 1998): training and validation sets.

    Images are float32 of shape (1, 8, 8) with values from 0 to 1; labels int64. The split is fixed: 1,197 and 600.
    """
    require("demo")
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x = torch.tensor(images[order] / 16.0, dtype=torch.float32).reshape(-1, 1, 8, 8)
    y = torch.tensor(labels[order], dtype=torch.int64)
    held_out = 600
    return TensorDataset(x[:-held_out], y[:-held_out]), TensorDataset(x[-held_out:], y[-held_out:])


def _normalize(images: np.ndarray) -> Tensor:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) / 255.0
    return ((x - x.new_tensor(_CIFAR_MEAN).view(3, 1, 1)) / x.new_tensor(_CIFAR_STD).view(3, 1, 1)).contiguous()


def cifar10(train_images: int | None = None) -> tuple[TensorDataset, TensorDataset]:
    """CIFAR-10 (A. Krizhevsky 2009) from the data folder: training and test sets, normalized as the weights expect.

    Args:
        train_images: how many of the training images to load, all if None.

    Raises:
        FileError: if the folder or the file is missing, or the file is damaged.
    """
    path = data_folder() / "cifar10" / "cifar10.npz"
    if not path.is_file():
        raise FileError(path, "no such file; it holds x_train, y_train, x_test and y_test")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            x_train, y_train = arrays["x_train"][:train_images], arrays["y_train"][:train_images]
            x_test, y_test = arrays["x_test"], arrays["y_test"]
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise FileError(
            path, f"{error}; allowed is a NumPy archive of x_train, y_train, x_test and y_test; it may be truncated"
        ) from error
    train = TensorDataset(_normalize(x_train), torch.from_numpy(y_train.astype(np.int64)))
    test = TensorDataset(_normalize(x_test), torch.from_numpy(y_test.astype(np.int64)))
    return train, test


def pretrained_resnet(depth: int = 20) -> nn.Module:
    """A ResNet of 6n + 2 layers with the pretrained CIFAR-10 weights of the data folder.

    Raises:
        FileError: if there are no weights of that depth, or their file is damaged.
    """
    folder = data_folder() / "weights" / "resnet-cifar10"
    found = sorted(folder.glob(f"resnet{depth}-*.th"))
    if not found:
        raise FileError(
            folder, f"no weights of ResNet-{depth}; there are {sorted(p.name for p in folder.glob('*.th'))}"
        )
    model = ResNet(blocks=(depth - 2) // 6)
    try:
        checkpoint = torch.load(found[0], map_location="cpu", weights_only=True)
        model.load_state_dict({key.removeprefix("module."): value for key, value in checkpoint["state_dict"].items()})
    except (OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0] if str(error) else "empty"
        raise FileError(
            found[0], f"{type(error).__name__}: {first}; allowed are the weights of ResNet-{depth}; it may be truncated"
        ) from error
    return model.eval()
