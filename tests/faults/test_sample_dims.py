"""Is one sample of every input found, however a network lays its batches out?"""

import pytest
import torch
from torch import nn

import eden
from eden.faults.faulty_layers import FaultyLayer

RATE = eden.Uniform(0.02)


class Recurrent(nn.Module):
    """A sequence-first LSTM into a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.linear = nn.LSTM(6, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.lstm(x)[0])


class Encoder(nn.Module):
    """A sequence-first transformer and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.0), 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x))


class Folded(nn.Module):
    """What is folded into dimension 0: windows of a sample one after the other, or steps around all samples."""

    def __init__(self, steps_first: bool) -> None:
        super().__init__()
        self.linear, self.steps_first = nn.Linear(8, 4), steps_first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.steps_first:  # (N, T, C)
            return self.linear(x.transpose(0, 1).reshape(-1, 8)).reshape(-1, x.shape[0], 4).transpose(0, 1)
        windows = x.reshape(-1, 2, 2, 2, 2, 8).transpose(2, 3).reshape(-1, 4, 8)
        return self.linear(windows).reshape(x.shape[0], -1)


class Looping(nn.Module):
    """A layer that is called for one sample after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.linear(sample) for sample in x])


class Listed(nn.Module):
    """Images of a list, as detectors take them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        return [{"boxes": each} for each in self.conv(torch.stack(images)).flatten(2)]


NETWORKS = {
    "sequence first": (Recurrent, lambda n: torch.randn(10, n, 6), {"lstm.input": 60, "linear.input": 80}, 1),
    "transformer": (Encoder, lambda n: torch.randn(6, n, 8),
                    {"head.input": 48, "encoder.layers.0.linear1.input": 48}, 1),
    "windows": (lambda: Folded(False), lambda n: torch.randn(n, 4, 4, 8), {"linear.input": 128}, 0),
    "steps": (lambda: Folded(True), lambda n: torch.randn(n, 5, 8), {"linear.input": 40}, 0),
    "a loop over samples": (Looping, lambda n: torch.randn(n, 5, 8), {"linear.input": 40}, 0),
    "a list of images": (Listed, lambda n: list(torch.randn(n, 3, 6, 6)), {"conv.input": 108}, None),
    "tokens": (lambda: nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 4)), lambda n: torch.randint(9, (n, 7)),
               {"1.input": 56}, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_bytes_and_cells_do_not_depend_on_the_batch(name):
    make, batch, sizes, dim = NETWORKS[name]
    torch.manual_seed(0)
    model = make().eval()
    x = batch(4)
    outputs = []
    for samples in (1, 4):
        few = batch(samples) if dim is None else x.narrow(dim, 0, samples)
        eden.inject_(model, eden.Faults(inputs=RATE, storage="int8"))
        eden.calibrate_(model, [(few,)])
        found = {operand: info.bytes for operand, info in eden.operands(model).items()}
        assert {operand: found[operand] for operand in sizes} == sizes
        eden.remove_(model)
    eden.inject_(model, eden.Faults(inputs=RATE, storage="int8"))
    eden.calibrate_(model, [(x,)])
    for kept in ([0, 1, 2, 3], [2], [3, 0]):  # a sample reads the same cells alone and in any company
        eden.set_chip_(model, 3)
        part = [x[index] for index in kept] if dim is None else x.index_select(dim, torch.tensor(kept))
        with torch.no_grad():
            y = model(part)
        y = torch.stack([each["boxes"] for each in y]) if dim is None else y
        outputs.append(dict(zip(kept, y.unbind(dim or 0), strict=True)))
    for alone in outputs[1:]:
        for index, y in alone.items():
            torch.testing.assert_close(y, outputs[0][index])


def test_what_cannot_be_told_is_refused_by_name_and_can_be_said(tmp_path):
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.expert = nn.Linear(4, 1), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = x.flatten(0, 1)
            return self.expert(tokens[self.gate(tokens)[:, 0] > 0]).sum() + x.sum((1, 2))

    torch.manual_seed(1)
    model, x = Experts(), torch.randn(8, 5, 4)
    eden.inject_(model, eden.Faults(inputs=RATE))
    with pytest.raises(ValueError, match=r"expert\.input .* cannot be told; say it with .*samples="):
        eden.calibrate_(model, [x])
    with pytest.raises(ValueError, match="'nothing', which is no input"):
        eden.calibrate_(model, [x], samples={"nothing": (0, 1)})
    eden.calibrate_(model, [x], samples={"expert.*": (0, 1)})
    assert {name: info.bytes for name, info in eden.operands(model).items()} == {"gate.input": 80, "expert.input": 16}
    eden.save(model, tmp_path / "m")
    again = eden.load_(Experts(), tmp_path / "m")
    assert torch.equal(again(x), model(x))
    with pytest.raises(ValueError, match=r"gate\.input has 4 entries of dimension 0; allowed is a multiple of 5"):
        model(x[:1, :4])


def test_entries_that_differ_between_batches_are_refused():
    model = Folded(True)
    eden.inject_(model, eden.Faults(inputs=RATE))
    with pytest.raises(
        ValueError, match=r"linear\.input has 5 entries for each sample of one batch, and not of another"
    ):
        eden.calibrate_(model, [torch.randn(4, 5, 8), torch.randn(4, 6, 8)])


def test_a_network_of_one_size_is_taken_for_what_its_layers_know():
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.linear = nn.Conv2d(1, 2, 3), nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(self.conv(x).reshape(5, 8))

    model = Fixed()
    eden.inject_(model, eden.Faults(inputs=RATE))
    eden.calibrate_(model, [torch.randn(5, 1, 4, 4)])
    assert [info.bytes for info in eden.operands(model).values()] == [64, 32]
    single = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(0), nn.Linear(8, 3))
    eden.inject_(single, eden.Faults(inputs=RATE))
    eden.calibrate_(single, [torch.randn(1, 4, 4)])
    assert [info.bytes for info in eden.operands(single).values()] == [64, 32]


def test_a_compiled_network_reads_folded_windows_as_it_does_otherwise():
    model = Folded(False).eval()
    eden.inject_(model, eden.Faults(inputs=RATE, storage="int8"))
    eden.calibrate_(model, [torch.randn(4, 4, 4, 8)])
    assert isinstance(model.linear, FaultyLayer)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for n in (4, 2, 3):
        x = torch.randn(n, 4, 4, 8)
        eden.set_chip_(model, 1)
        expected = model(x)
        eden.set_chip_(model, 1)
        torch.testing.assert_close(compiled(x), expected)


class Recording(nn.Module):
    """Registers hooks in its first pass, as Hugging Face's do, and reads what they record."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)
        self.hooked, self.seen = False, dict[int, torch.Tensor]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        recorded: list[torch.Tensor] = []
        if not self.hooked:
            self.first.register_forward_hook(lambda module, inputs, output: self.seen.update({len(self.seen): output}))
            self.hooked = True
        self.seen.clear()
        self.first(x)
        recorded += [self.last(output) for output in self.seen.values()]
        return torch.cat(recorded)


def test_hooks_of_a_first_pass_are_no_part_of_the_next() -> None:
    model = Recording()
    eden.inject_(model, eden.Faults(None, eden.Uniform(1e-3), "int8"))
    eden.calibrate_(model, [torch.rand(4, 4)] * 2)
    assert eden.operands(model)["last.input"].bytes == 4
    assert len(model.first._forward_hooks) == 1
