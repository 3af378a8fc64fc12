"""Are samples the same however they are drawn, is the user's generator left alone, is what has no set refused?"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, SubsetRandomSampler, TensorDataset
from torch.utils.data import WeightedRandomSampler as Weighted

from eden.faults.samples import map_tensors, samples_of

X = torch.arange(40.0).reshape(10, 4)
Y = torch.arange(10)
LIMIT = 2**20


def batches() -> list[tuple[Tensor, Tensor]]:
    return [(X[:4], Y[:4]), (X[4:8], Y[4:8]), (X[8:], Y[8:])]


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(TensorDataset(X, Y), batch_size=4),
        DataLoader(TensorDataset(X, Y), batch_size=3, shuffle=True),
        DataLoader(TensorDataset(X, Y), batch_size=None),
        batches(),
        (pair for pair in batches()),
    ],
    ids=["map", "shuffled", "unbatched", "list", "generator"],
)
def test_drawn_by_index(loader: Any) -> None:
    if isinstance(loader, DataLoader) and loader.batch_size is None:
        loader = DataLoader(batches(), batch_size=None)  # type: ignore[arg-type]
    state = torch.get_rng_state()
    samples = samples_of(loader, LIMIT)
    assert len(samples) == 10
    for _ in range(2):
        x, y = samples.batch([7, 0, 9])
        assert torch.equal(x, X[[7, 0, 9]])
        assert torch.equal(y, Y[[7, 0, 9]])
    assert torch.equal(torch.get_rng_state(), state)


def test_collate_fn_and_subsets() -> None:
    def collate(items: list[Any]) -> tuple[Tensor, Tensor]:
        return torch.stack([x + 100 for x, _ in items]), torch.tensor([int(y) for _, y in items])

    loader = DataLoader(Subset(TensorDataset(X, Y), [2, 5]), collate_fn=collate)
    x, y = samples_of(loader, LIMIT).batch([1])
    assert torch.equal(x, X[[5]] + 100)
    assert y.tolist() == [5]
    picked = samples_of(DataLoader(TensorDataset(X, Y), sampler=SubsetRandomSampler([3, 8])), LIMIT)
    assert len(picked) == 2
    assert picked.batch([1])[1].tolist() == [8]


def test_nothing_kept_beyond_the_limit() -> None:
    reads = []

    class Counted(Dataset[tuple[Tensor, Tensor]]):
        def __len__(self) -> int:
            return 10

        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            reads.append(index)
            return X[index], Y[index]

    samples = samples_of(DataLoader(Counted()), 24)  # one sample has 16 + 8 bytes
    reads.clear()
    for _ in range(3):
        samples.batch([4, 5])
    assert reads == [4, 5, 5, 5]


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield X[0], Y[0]


class Augmented(Dataset[tuple[Tensor, int]]):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.rand(4), index


@pytest.mark.parametrize(
    ("loader", "kind", "message"),
    [
        (DataLoader(TensorDataset(X[:0], Y[:0])), ValueError, "no samples"),
        ([], ValueError, "no samples"),
        (5, TypeError, "loader is a int"),
        ({"x": X, "y": Y}, TypeError, "loader is a dict"),
        (DataLoader(Stream(), batch_size=2), ValueError, "more than 1,048,576 bytes"),
        (DataLoader(TensorDataset(X, Y), sampler=Weighted([1.0] * 10, 10)), ValueError, "WeightedRandomSampler"),
        (DataLoader(Augmented()), ValueError, "random transforms"),
        ([(X, 3)], ValueError, "batch 0 of the loader holds a int beside tensors"),
        ([((X, X), ({"x": X}, {"x": X}))], ValueError, "which of these are the samples cannot be told"),
        ([(X, Y), ([X, X[:2]], [Y, Y])], ValueError, "batch 1 of the loader holds lists of samples or tensors"),
        ([(X, Y[:3])], ValueError, r"batch 0 of the loader holds tensors of \[3, 10\] samples"),
        ([(X, "text")], ValueError, "more than tensors"),
    ],
)
def test_refused(loader: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        samples_of(loader, LIMIT)


def test_shapes_that_differ() -> None:
    samples = samples_of([(X, Y), (X[:, :2], Y)], LIMIT)
    with pytest.raises(ValueError, match="differ in shape"):
        samples.batch([0, 15])


IMAGES = [torch.rand(3, 4 + i, 5) for i in range(5)]
BOXES = [{"boxes": torch.rand(i, 4), "labels": torch.arange(i)} for i in range(5)]


class Detection(Dataset[Any]):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Any:
        return IMAGES[index], BOXES[index]


def zipped(items: list[Any]) -> Any:
    return tuple(zip(*items, strict=True))


class DetectionStream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(zip(IMAGES, BOXES, strict=True))


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(Detection(), batch_size=2, collate_fn=zipped),
        DataLoader(DetectionStream(), batch_size=2, collate_fn=zipped),
        [{"images": IMAGES[:2], "labels": BOXES[:2]}, {"images": IMAGES[2:], "labels": BOXES[2:]}],
    ],
    ids=["by index", "stream", "mappings"],
)
def test_images_of_several_sizes(loader: Any) -> None:
    samples = samples_of(loader, LIMIT)
    assert len(samples) == 5
    batch = samples.batch([4, 0, 3])
    images, boxes = batch.values() if isinstance(batch, dict) else batch
    assert [image.shape[1] for image in images] == [8, 4, 7]
    assert [len(each["boxes"]) for each in boxes] == [4, 0, 3]


def test_samples_of_several_sizes_need_a_collate_fn() -> None:
    with pytest.raises(ValueError, match=r"differ in shape .* with a collate_fn"):
        samples_of(Detection(), LIMIT).batch([0, 1])


def test_mappings_and_datasets_without_a_loader() -> None:
    rows = [{"x": X[i], "nested": {"pair": (X[i], Y[i])}, "labels": i} for i in range(10)]
    torch_rows: Any = Subset(rows, range(10))  # type: ignore[arg-type]
    batches = [{"x": X[:5], "nested": {"pair": (X[:5], Y[:5])}, "labels": Y[:5]}]
    for loader, indices in ((torch_rows, [7, 2]), (DataLoader(torch_rows), [7, 2]), (batches, [4, 2])):
        batch = samples_of(loader, LIMIT).batch(indices)
        assert torch.equal(batch["x"], X[indices])
        assert torch.equal(batch["nested"]["pair"][1], Y[indices])
        assert batch["labels"].tolist() == indices


def test_padding_collators() -> None:
    rows: Any = Subset([X[0, : 1 + i % 4] for i in range(10)], range(10))  # type: ignore[arg-type]

    def padded(items: list[Tensor]) -> dict[str, Tensor]:
        return {"input_ids": torch.nn.utils.rnn.pad_sequence(items, batch_first=True)}

    assert samples_of(DataLoader(rows, collate_fn=padded), LIMIT).batch([0, 2])["input_ids"].shape == (2, 3)


def test_nested_values_keep_their_classes() -> None:
    class Output(OrderedDict[str, Tensor]):
        pass

    packed = torch.nn.utils.rnn.pack_sequence([torch.ones(2), torch.ones(1)])
    value = {"a": (X, [Y]), "b": Output(logits=X), "c": packed, "d": "text"}
    found = map_tensors(value, lambda tensor: tensor + 1)
    assert torch.equal(found["a"][1][0], Y + 1)
    assert type(found["b"]) is Output
    assert torch.equal(found["b"]["logits"], X + 1)
    assert torch.equal(found["c"].data, packed.data + 1)
    assert torch.equal(value["b"]["logits"], X)  # type: ignore[call-overload,index]
