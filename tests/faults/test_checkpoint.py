"""Is a network under faults written whole and read back to the same bits?"""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import eden
from eden.app.models import ResNet


def network(channels: int = 4) -> nn.Module:
    return ResNet(blocks=1, channels=channels, image_channels=1).eval()


def images() -> torch.Tensor:
    return torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def injected() -> nn.Module:
    model = network()
    faults = eden.Faults(eden.Uniform(1e-3), eden.DataDependent(1e-3, 2e-3), "int8", "clamp", seed=77)
    eden.inject_(model, faults, filter_fn=lambda name, _: name != "linear")
    eden.calibrate_(model, [images()])
    eden.set_errors_(model, {"conv1.weight": eden.Uniform(0.02), "conv1.input": None})
    return model


@pytest.mark.parametrize("already", [False, True])
def test_round_trip(tmp_path, already):
    model = injected()
    eden.save(model, tmp_path / "net.safetensors")
    other = network()
    if already:
        eden.inject_(other, eden.Faults(weights=eden.Uniform(0.5)))
    assert eden.load_(other, tmp_path / "net.safetensors") is other
    assert torch.equal(other(images()), model(images()))
    assert eden.ranges(other) == eden.ranges(model)
    assert str(eden.coverage(other)) == str(eden.coverage(model))
    assert eden.faults.chips.chip(other) == 77


def test_every_error_model_is_read_back(tmp_path):
    def plain() -> nn.Module:
        return nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)))

    small = eden.Geometry(row_bits=128, subarray_rows=32, bank_rows=32)
    models = [
        eden.Bitline(1e-3, 0.1),
        eden.Wordline(1e-3, 0.1, 0.5, small),
        eden.Bitline.measured([0.1, 0.25, 0.0], 0.5),
        eden.Wordline.measured([0.0, 0.5], geometry=small),
        eden.CellMap([3, 1], [True, False], [False, True], 2**42),
    ]
    model = plain()
    eden.inject_(model, eden.Faults(weights=eden.Uniform(0.01)))
    # Operand 0 lies within the map's cells.
    eden.set_errors_(model, {f"{i}.weight": errors for i, errors in enumerate([models[-1], *models[:-1]])})
    eden.save(model, tmp_path / "net.safetensors")
    other = eden.load_(plain(), tmp_path / "net.safetensors")
    assert [info.errors for info in eden.operands(other).values()] == [models[-1], *models[:-1]]


def test_tied_weights_are_saved_once(tmp_path):
    def tied() -> nn.Module:
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        model[1].weight = model[0].weight
        return model

    model = tied()
    eden.inject_(model, eden.Faults(weights=eden.Uniform(0.01)))
    eden.save(model, tmp_path / "net.safetensors")
    other = eden.load_(tied(), tmp_path / "net.safetensors")
    assert other[0].weight is other[1].weight
    assert torch.equal(other[0].weight, model[0].weight)


def test_no_partial_file_is_left(tmp_path):
    with pytest.raises(ValueError, match="no layer under faults"):
        eden.save(network(), tmp_path / "net.safetensors")
    with pytest.raises(eden.FileError, match="cannot be written"):
        eden.save(injected(), tmp_path / "missing" / "net.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_bad_files_are_named_and_change_nothing(tmp_path):
    path = tmp_path / "net.safetensors"
    model = injected()
    eden.save(model, path)
    whole = path.read_bytes()
    other = network()
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}

    def refused(message: str, target: nn.Module = other) -> None:
        with pytest.raises(eden.FileError, match=message):
            eden.load_(target, path)
        for name, tensor in other.state_dict().items():
            assert torch.equal(tensor, before[name])
        assert type(other.conv1) is nn.Conv2d

    path.write_bytes(whole[: len(whole) // 2])
    refused("cannot be read as safetensors")
    path.unlink()
    refused("cannot be read as safetensors")
    save_file({"x": torch.ones(1)}, path)
    refused("not written by eden.save")
    path.write_bytes(whole)
    refused("bn1.bias has the shape", network(8))
    refused("another network", nn.Linear(2, 2))
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["eden"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for change, message in (
        ({"version": 9}, "found .*9.*allowed"),
        ({"layers": 3}, "its header is damaged"),
        ({"aliases": {"conv1.bias": "nothing"}}, "aliases.conv1.bias"),
    ):
        save_file(tensors, path, metadata={"eden": json.dumps({**header, **change})})
        refused(message)
    header["layers"]["conv1"]["operands"]["weight"]["errors"] = {"model": "uniform", "ber": 7}
    save_file(tensors, path, metadata={"eden": json.dumps(header)})
    refused("ber is 7")


def test_a_layer_that_faults_cannot_reach_is_refused_before_anything_changes(tmp_path):
    class Own(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    eden.save(eden.inject_(model, eden.Faults(eden.Uniform(1e-3))), tmp_path / "net.safetensors")
    other = nn.Sequential(nn.Linear(4, 4), Own(4, 4))
    before = other[0].weight.clone()
    with pytest.raises(eden.FileError, match=r"1 \(Own computes its own forward\)"):
        eden.load_(other, tmp_path / "net.safetensors")
    assert torch.equal(other[0].weight, before)
    assert type(other[0]) is nn.Linear
    with eden.clean(model), pytest.raises(ValueError, match=r"call load_ outside of eden\.clean"):
        eden.load_(model, tmp_path / "net.safetensors")


@pytest.mark.parametrize("storage", ["sign", "uint8", "int4", "float8_e4m3fn"])
def test_storages_lines_and_pieces_come_back(tmp_path, storage):
    model = network()
    codes = storage in ("uint8", "int4")
    options = {"quantization": "affine" if codes else "symmetric", "weight_channels": codes}
    eden.inject_(model, eden.Faults(eden.Bitline(0.01, 0.1), eden.Wordline(0.01, 0.1), storage, "clamp", **options))
    eden.calibrate_(model, [images()])
    cells = eden.CellMap([5, 80, 800], True, [True, False, True], 1600)
    eden.set_errors_(model, {"conv1.weight": [(eden.Uniform(0.1), 640, 64), (cells, 64, 1504)], "conv1.input": None})
    expected = model(images())
    eden.save(model, tmp_path / "net.safetensors")
    other = eden.load_(network(), tmp_path / "net.safetensors")
    assert eden.operands(other)["conv1.weight"].errors == eden.operands(model)["conv1.weight"].errors
    assert torch.equal(other(images()), expected)
    whole = eden.inject_(model, eden.Faults(eden.Uniform(0.0), eden.Uniform(0.0), storage, **options))
    assert not torch.equal(whole(images()), expected)


def rewritten(path, change) -> None:
    """Write a file anew with its header changed in place by a function."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["eden"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(header)
    save_file(tensors, path, metadata={"eden": json.dumps(header)})


def as_version_1(header) -> None:
    """What was written when a layer had a weight and an input, before they had pieces, zero points and a magnitude."""
    header["version"] = 1
    for name, layer in header["layers"].items():
        known = layer["operands"]["input"]["range"]
        for operand in layer["operands"].values():
            for field in ("pieces", "affine", "channels", "range", "magnitude", "absent"):
                del operand[field]
        header["layers"][name] = {"batch_dim": layer["batch_dim"], "range": known, **layer["operands"]}


def test_a_file_of_version_1_is_read(tmp_path):
    model = injected()
    path = tmp_path / "net.safetensors"
    eden.save(model, path)
    rewritten(path, as_version_1)
    other = eden.load_(network(), path)
    assert torch.equal(other(images()), model(images()))
    assert eden.ranges(other) == eden.ranges(model)
    # One bit needs the magnitude, which such a file has not.
    eden.inject_(model, eden.Faults(eden.Uniform(1e-3), eden.Uniform(1e-3), "sign"))
    eden.calibrate_(model, [images()])
    eden.save(model, path)
    rewritten(path, as_version_1)
    eden.load_(other, path)
    with pytest.raises(RuntimeError, match=r"conv1\.input has no calibrated mean magnitude"):
        other(images())


OPERAND = {
    "name": "conv1.query",
    "kind": "input",
    "address": 0,
    "errors": None,
    "storage": "int8",
    "correction": "none",
    "sample_numel": None,
}


def test_a_file_of_another_layout_or_with_unknown_fields_is_refused(tmp_path):
    model, path = injected(), tmp_path / "net.safetensors"
    for change, message in (
        # The chips of an older layout are not those of this one: the file's limits would mean nothing.
        (
            lambda header: header.update(random_layout=1),
            r"found \('eden-network', 2, 1\), allowed are \('eden-network', 1, 2\) and \('eden-network', 2, 2\)",
        ),
        (lambda header: (as_version_1(header), header["layers"].update(conv1=3)), "its header is damaged"),
        (lambda header: header["layers"]["conv1"]["operands"].update(query=None), "its header is damaged"),
        (
            lambda header: header["layers"]["conv1"].update(operands={"query": OPERAND}),
            r"conv1 has no operand 'query'; allowed are weight, input",
        ),
        (lambda header: header.pop("random_layout"), "found .*None.*, allowed are"),
        (lambda header: header["layers"]["conv1"]["operands"]["weight"].update(ecc="sec"), r"its header is damaged"),
        (lambda header: header["layers"]["conv1"]["operands"]["weight"].pop("storage"), "its header is damaged"),
    ):
        eden.save(model, path)
        rewritten(path, change)
        with pytest.raises(eden.FileError, match=message):
            eden.load_(network(), path)
