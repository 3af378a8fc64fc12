"""Are the shipped images split as stated, and is whatever is wrong with the data folder named?"""

from pathlib import Path

import numpy as np
import pytest
import torch

from eden.app.datasets import cifar10, data_folder, digits, pretrained_resnet
from eden.app.models import ResNet
from eden.common.files import FileError


def test_digits() -> None:
    train, validation = digits()
    assert [tuple(part.tensors[0].shape) for part in (train, validation)] == [(1197, 1, 8, 8), (600, 1, 8, 8)]
    for part in (train, validation):
        x, y = part.tensors
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        assert (float(x.min()), float(x.max())) == (0.0, 1.0)
        assert y.unique().tolist() == list(range(10))
    rows = torch.cat([part.tensors[0].flatten(1) for part in (train, validation)])
    assert len(rows) == 1797


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of a few made-up images and the weights of a ResNet-8."""
    monkeypatch.setenv("EDEN_DATA", str(tmp_path))
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "weights" / "resnet-cifar10").mkdir(parents=True)
    generator = np.random.default_rng(0)
    np.savez(
        tmp_path / "cifar10" / "cifar10.npz",
        x_train=generator.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8),
        y_train=np.arange(6, dtype=np.uint8),
        x_test=np.full((2, 32, 32, 3), 255, dtype=np.uint8),
        y_test=np.array([3, 4], dtype=np.uint8),
    )
    torch.manual_seed(1)
    state = {f"module.{name}": value for name, value in ResNet(blocks=1).state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "weights" / "resnet-cifar10" / "resnet8-abc.th")
    return tmp_path


def test_cifar10_is_normalized(folder: Path) -> None:
    train, test = cifar10()
    x, y = test.tensors
    assert (tuple(x.shape), x.dtype, x.is_contiguous()) == ((2, 3, 32, 32), torch.float32, True)
    assert x[0, :, 5, 5].tolist() == pytest.approx([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    assert (y.tolist(), y.dtype) == ([3, 4], torch.int64)
    assert len(train) == 6
    few, all_of_them = cifar10(train_images=2)
    assert torch.equal(few.tensors[0], train.tensors[0][:2])
    assert len(all_of_them) == 2


def test_pretrained_weights(folder: Path) -> None:
    model = pretrained_resnet(8)
    assert not model.training
    torch.manual_seed(1)
    expected = ResNet(blocks=1).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    with pytest.raises(FileError, match=r"no weights of ResNet-20; there are \['resnet8-abc.th'\]"):
        pretrained_resnet(20)


def test_the_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDEN_DATA", raising=False)
    with pytest.raises(FileError, match="EDEN_DATA: environment variable not set"):
        data_folder()
    monkeypatch.setenv("EDEN_DATA", str(tmp_path / "missing"))
    for load in (data_folder, cifar10, pretrained_resnet):
        with pytest.raises(FileError, match="missing: named by EDEN_DATA, is no folder"):
            load()
    monkeypatch.setenv("EDEN_DATA", str(tmp_path))
    with pytest.raises(FileError, match=r"cifar10.npz: no such file; it holds x_train"):
        cifar10()
    with pytest.raises(FileError, match=r"resnet-cifar10: no weights of ResNet-20; there are \[\]"):
        pretrained_resnet()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_truncated_files(folder: Path, share: float) -> None:
    for path, load in (
        (folder / "cifar10" / "cifar10.npz", cifar10),
        (folder / "weights" / "resnet-cifar10" / "resnet8-abc.th", lambda: pretrained_resnet(8)),
    ):
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(
            FileError, match=r"allowed (is a NumPy archive|are the weights).*it may be truncated"
        ) as caught:
            load()
        assert caught.value.path == path
        assert "\n" not in str(caught.value)


def test_files_of_something_else(folder: Path) -> None:
    np.savez(folder / "cifar10" / "cifar10.npz", x_train=np.zeros(3))
    with pytest.raises(FileError, match=r"cifar10.npz: .*y_train"):
        cifar10()
    path = folder / "weights" / "resnet-cifar10" / "resnet8-abc.th"
    torch.save({"weights": 1}, path)
    with pytest.raises(FileError, match=r"resnet8-abc.th: KeyError: 'state_dict'; allowed are the weights of ResNet-8"):
        pretrained_resnet(8)
    torch.save({"state_dict": ResNet(blocks=3).state_dict()}, path)
    with pytest.raises(FileError, match=r"resnet8-abc.th: RuntimeError: .*allowed are the weights of ResNet-8"):
        pretrained_resnet(8)


@pytest.mark.data
def test_the_pretrained_network_on_the_real_images(data_folder: Path) -> None:
    from eden.tolerance.evaluation import accuracy

    _, test = cifar10(train_images=1)
    # The data folder's own figure for the 1,000 test images is 91.5%.
    assert accuracy(pretrained_resnet(20), test) == pytest.approx(0.915, abs=0.002)
