"""Are the words of an image those that a simulated network reads in the same cells, and damaged files refused?"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from placement.test_mapping import calibrated, inputs, placed, reads, small_device
from safetensors import safe_open
from safetensors.torch import save_file

import eden
from eden.common.files import FileError
from eden.deployment.codes import codes_of, corrected, words_of
from eden.deployment.image import MemoryImage
from eden.memory.storage import measure_range

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("storage", ["int8", "int8_sign_magnitude", "uint8"])
def test_words_and_codes_are_each_others_inverse(storage: str) -> None:
    words = torch.arange(256, dtype=torch.int32).to(torch.uint8)
    codes = codes_of(words, storage)
    again = words_of(codes, storage)
    if storage == "int8_sign_magnitude":  # the negative of 0 is 0
        assert words[again != words].tolist() == [128]
    else:
        assert torch.equal(again, words)
    assert corrected(codes, -5, 7, "clamp").unique().tolist() == [x for x in range(-5, 8) if x in codes]
    assert set(corrected(codes, 2, 7, "zero", 1).tolist()) == set(range(1, 8))


@pytest.mark.parametrize(
    ("storage", "faults"),
    [("int8", {}), ("int8_sign_magnitude", {"correction": "zero"}), ("int8", {"weight_channels": True})],
    ids=str,
)
def test_an_image_of_a_map_has_the_words_that_are_read(storage: str, faults: dict[str, Any], tmp_path: Path) -> None:
    model, device = calibrated(storage, **faults), small_device()
    memory_map = eden.memory_map(model, placed(model, device), device)
    path = tmp_path / "image.safetensors"
    eden.memory_image(model, memory_map).save(path)
    written = MemoryImage.load(path)
    pieces = {name: operand.pieces for name, operand in written.header.operands.items()}
    assert {name: [(x.address_bits, x.bytes) for x in of] for name, of in pieces.items()} == {
        name: [(piece.address_bits, piece.bytes) for piece in operand.pieces]
        for name, operand in memory_map.operands.items()
        if operand.kind == "weight"
    }
    assert max(map(len, pieces.values())) > 1
    eden.inject_(model, memory_map)
    eden.set_chip_(model, 11)
    got = reads(model, inputs())
    image = written.corrupted(11)
    flipped = 0
    for name, words in image.words.items():
        value, read = got[name]
        scale, _, bounds = measure_range(value, storage, False, True, 0 if faults.get("weight_channels") else -1)
        assert scale is not None
        assert bounds is not None
        scale = scale.reshape(-1, *[1] * (value.dim() - 1))
        low, high = (torch.round(end / scale).clamp(-127, 127) for end in bounds)
        codes = corrected(codes_of(words, storage).reshape(value.shape), low, high, faults.get("correction", "none"))
        assert torch.equal(codes.float() * scale, read), name
        flipped += int((words != written.words[name]).sum())
    assert flipped > 100
    with pytest.raises(ValueError, match=r"has the errors of chip 11 in it; allowed is one as eden.memory_image"):
        image.corrupted(12)
    for chip, access, message in ((-(2**70), 0, "chip"), (0, -1, "access is -1")):
        with pytest.raises(ValueError, match=message):
            written.corrupted(chip, access)


def test_maps_of_others_are_refused() -> None:
    model, device = calibrated(), small_device()
    placement = placed(model, device)
    memory_map = eden.memory_map(model, placement, device)
    other = calibrated(weight_channels=True)
    with pytest.raises(ValueError, match="the memory map was made from another network"):
        eden.memory_image(other, memory_map)
    with pytest.raises(TypeError, match=r"memory_map is a Placement; allowed is what eden\.memory_map returns"):
        eden.memory_image(model, placement)  # type: ignore[arg-type]
    elsewhere = eden.memory_map(model, placed(model, device, alignment=1024), device)
    image = eden.memory_image(model, memory_map)
    eden.inject_(model, elsewhere)
    with pytest.raises(ValueError, match=r"lies in the map from bit \d+ on, and the network is under a placement"):
        eden.memory_image(model, memory_map)
    with pytest.raises(ValueError, match=r"allowed is the image of that placement"):
        eden.deploy(model, image, engine="reference")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    model = calibrated()
    whole = tmp_path / "image.safetensors"
    eden.memory_image(model).save(whole)
    with safe_open(whole, framework="pt") as file:
        header = json.loads(file.metadata()["eden"])
    words = MemoryImage.load(whole).words
    path = tmp_path / "damaged.safetensors"

    def written(tensors: dict[str, torch.Tensor], body: Any) -> None:
        save_file(tensors, path, {} if body is None else {"eden": json.dumps(body)})

    def refused(message: str) -> None:
        with pytest.raises(FileError, match=message):
            eden.deploy(model, path, engine="reference")

    refused("cannot be read as safetensors")
    path.write_bytes(whole.read_bytes()[:-9])
    refused("cannot be read as safetensors")
    written(words, None)
    refused("its header has no 'eden'")
    written(words, {**header, "version": 2})
    refused(r"version: found 2, allowed is 1")
    written(words, {**header, "random_layout": 1})
    refused("random_layout is 1; allowed is 2")
    written({name: value[:-1] if name == "0.weight" else value for name, value in words.items()}, header)
    refused(r"the words of 0\.weight are torch\.uint8 of shape \(215,\); allowed is .*\(216,\)")
    written({name: value for name, value in words.items() if name != "0.weight"}, header)
    refused(r"operand 0\.weight has words or a place, and not both")
    del header["provenance"]
    written(words, header)
    with pytest.raises(ValueError, match="does not say of which network it is"):
        eden.deploy(model, path, engine="reference")
