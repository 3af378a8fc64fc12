"""A small network whose samples skip a block by a gate."""

import torch
from torch import Tensor, nn

import eden


class Gated(nn.Module):
    """A stem, a block for those samples whose mean is above a threshold, and a head.

    Args:
        threshold: of the gate.
        called: whether the block is called with no sample, too, or not at all then.
    """

    def __init__(self, threshold: float = 0.0, called: bool = True) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.stem, self.block = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.head = nn.Linear(4, 3)
        self.threshold, self.called = threshold, called

    def forward(self, x: Tensor) -> Tensor:
        index = (x.mean((1, 2, 3)) > self.threshold).nonzero().flatten()
        y = self.stem(x).relu()
        if self.called or len(index):
            y = y.index_add(0, index, self.block(y[index]))
        return self.head(y.mean((2, 3)))


def samples(opening: int, others: int) -> Tensor:
    """Images of which the first so many open the gate."""
    noise = torch.rand(opening + others, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    return noise - torch.tensor([0.0] * opening + [1.0] * others).reshape(-1, 1, 1, 1)


def in_memory(network: nn.Module, ber: float = 1e-2, failure: float = 1.0, **options: object) -> nn.Module:
    errors = eden.Uniform(ber, failure=failure)
    eden.inject_(network.eval(), eden.Faults(errors, errors, **{"storage": "int8", "correction": "zero", **options}))
    return eden.calibrate_(network, [samples(3, 3)], samples={"block.input": (0, 1)})
