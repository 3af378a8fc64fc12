"""Does a network with operands in planes keep what whole ones have: names, bytes, files, accounts, identity?"""

import copy
import pickle

import pytest
import torch
from faulty_networks import images, small

import eden
from eden.faults import faulty_layers
from eden.faults.counting import counting
from eden.faults.faulty_layers import layer_operands

GROUPS = ["7", "6:5", "4:0"]


def in_planes(planes=None, storage="int8", **options):
    model = small()
    errors = eden.Uniform(0.02)
    eden.inject_(model, eden.Faults(errors, errors, storage, "zero", planes=planes or GROUPS, **options))
    eden.calibrate_(model, [images()])
    return model


def test_planes_are_operands_by_name_and_their_cells_are_counted():
    model, whole = in_planes(), in_planes({"weight": None})
    infos, words = eden.operands(model), eden.operands(whole)
    assert {f"conv1.weight[{group}]" for group in GROUPS} <= infos.keys()
    for info in infos.values():
        numel = words[info.operand].bytes
        assert info.bytes == -(-numel * len(info.plane) // 8)
        assert info.address == words[info.operand].address + min(info.plane) * 2**35
    with counting(model) as account:
        model(images())
    for name, counts in account.items():
        elements = int(counts.cells.sum()) // infos[name].bits
        assert counts.cells.shape == (infos[name].bits, 2)
        assert elements % words[infos[name].operand].bytes == 0
    rows = {row.name: row for row in eden.coverage(model, account).rows}
    assert rows["conv1.weight[6:5]"].bytes == infos["conv1.weight[6:5]"].bytes
    assert "requested" in str(eden.coverage(model, account))


def test_planes_on_reliable_memory_change_nothing_and_a_plane_changes_its_bits_alone():
    model = in_planes()
    with eden.clean(model):
        expected = model(images())
    eden.set_errors_(model, dict.fromkeys(eden.operands(model)))
    assert torch.equal(model(images()), expected)
    whole = eden.inject_(copy.deepcopy(model), eden.Faults(eden.Uniform(0.1), eden.Uniform(0.1), "int8"))
    with eden.clean(whole):
        assert torch.equal(whole(images()), expected)
    eden.set_errors_(model, {"conv1.weight[6:5]": eden.Uniform(0.3)})
    with counting(model) as account:
        model(images())
    assert {name for name, counts in account.items() if counts.realized.any()} == {"conv1.weight[6:5]"}
    eden.set_errors_(model, {"conv1.weight": eden.Uniform(0.1)})
    assert {info.errors for name, info in eden.operands(model).items() if info.operand == "conv1.weight"} == {
        eden.Uniform(0.1)
    }
    before = eden.operands(model)
    with pytest.raises(ValueError, match=r"conv1\.weight lies in planes, and 1 pieces.*conv1\.weight\[7\]"):
        eden.set_errors_(model, {"conv1.weight": [(None, 0, 10**6)]})
    assert eden.operands(model) == before
    with pytest.raises(ValueError, match=r"'conv1\.weight\[5\]' is no operand"):
        eden.set_errors_(model, {"conv1.weight[5]": None})


def test_saving_copying_and_removing(tmp_path):
    model = in_planes({"weight": "search", "input": None, "linear.weight": ["7:4", "3:0"]})
    pieces = [(eden.Uniform(0.2), 512, 96), (None, 4096, 10**6)]
    eden.set_errors_(model, {"conv1.weight[7]": None, "conv1.weight[4:0]": pieces})
    expected = model(images())
    eden.save(model, tmp_path / "net.safetensors")
    loaded = eden.load_(small(), tmp_path / "net.safetensors")
    for other in (loaded, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        for layer, _ in layer_operands(other):
            layer.eden_access.zero_()
        assert torch.equal(other(images()), expected)
        assert eden.operands(other).keys() == eden.operands(model).keys()
    assert {n for n in eden.operands(loaded) if n.startswith("linear.weight")} == {
        "linear.weight[7:4]",
        "linear.weight[3:0]",
    }
    plain = small()
    plain.load_state_dict(model.state_dict())
    assert torch.equal(eden.remove_(model)(images()), plain(images()))


@pytest.mark.parametrize(
    ("storage", "options"),
    [
        ("int8_sign_magnitude", {"weight_channels": True}),
        ("int4", {}),
        ("int16", {"quantization": "affine"}),
        ("float32", {}),
        ("bfloat16", {}),
    ],
)
def test_every_storage_is_split_and_trained(storage, options):
    model = in_planes("search", storage, **options)
    outputs = model.train()(images(3))
    assert outputs.isfinite().all()
    outputs.sum().backward()
    assert model.conv1.weight.grad is not None
    assert sum(info.bits for info in eden.operands(model).values() if info.operand == "conv1.weight") in (4, 8, 16, 32)


def test_what_no_plane_can_be_is_refused():
    errors = eden.Uniform(0.1)
    with pytest.raises(ValueError, match=r"Faults\.planes: planes are 7, 5"):
        eden.Faults(errors, planes=["7", "5"])
    with pytest.raises(ValueError, match=r"planes of weight are 7:4, 3:0, of 8 bit positions.*'int16'.*hold its 16"):
        eden.Faults(errors, storage="int16", planes={"weight": ["7:4", "3:0"]})
    with pytest.raises(ValueError, match=r"planes of .*weight are 7:4, 3:0"):
        eden.inject_(small(), eden.Faults(errors, storage="int4", planes=["7:4", "3:0"]))
    with pytest.raises(ValueError, match=r"names 'conv9\.weight', which is no operand"):
        eden.inject_(small(), eden.Faults(errors, storage="int8", planes={"conv9.weight": GROUPS}))
    with pytest.raises(TypeError, match=r"Faults\.planes: planes is a int"):
        eden.Faults(errors, planes=3)


@pytest.mark.parametrize("planes", [None, {"weight": None, "input": None}], ids=["planes", "words"])
def test_the_shape_of_rows_says_whether_they_are_of_planes(planes, monkeypatch):
    shapes = []

    def record(module, name):
        read = getattr(module, name)

        def recorded(x, region, *others):
            shapes.append(region.shape[:-2])
            return read(x, region, *others)

        monkeypatch.setattr(module, name, recorded)

    record(faulty_layers.reading, "read")
    record(faulty_layers, "read_measured")
    model = in_planes(planes)
    with torch.no_grad():
        model(images())
    assert set(shapes) == {(1,) if planes is None else ()}
