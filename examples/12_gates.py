"""Skip: a network whose samples skip blocks by gates, and what that saves beside one that runs all of them.

What a sample skips is neither read, nor flipped, nor paid for, so traffic and energy are means over samples, with a
spread. The gates are trained with a budget, the share of blocks that samples open on average, and a hard limit, the
most that any sample opens. Both networks are then placed for the same accuracy.

Expected output (figures after ~ differ from machine to machine):

    plain: accuracy ~99.0%, within 4% of the plain network's at BER ~2.4e-03
      ~51144 bytes cross on average, deviation ~0
      as placed ~14017 nJ, deviation ~0
    gated: accuracy ~97.8%, within 4% of the plain network's at BER ~1.6e-03
      ~35998 bytes cross on average, deviation ~10147
      as placed ~9848 nJ, deviation ~2723
    samples that load gated blocks: layer1.0 ~47%, layer1.1 ~46%, layer2.1 ~60%, layer3.1 ~49%
    no sample opens more than 3: True
    layer1.0.conv1.input, layer1.0.conv1.weight, layer1.0.conv2.input,
      layer1.0.conv2.weight: never read for any of 100 samples
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import eden
from eden.app.datasets import digits
from eden.app.models import ResNet
from eden.tolerance.evaluation import accuracy

MOST, BUDGET = 3, 0.5
PLATFORM = "eyeriss"


class GatedResNet(ResNet):
    """A ResNet whose blocks that keep their map's shape have gates, of which a sample opens so many at most."""

    def __init__(self, most: int = MOST) -> None:
        super().__init__(blocks=2, channels=8, image_channels=1)
        self.blocks = [*self.layer1, *self.layer2, *self.layer3]
        gated = [block for block in self.blocks if block.stride == 1]
        self.gates = nn.ModuleList(nn.Linear(block.conv1.in_channels, 1) for block in gated)
        self.most, self.opened = most, torch.zeros(0, 0)

    def forward(self, x: Tensor) -> Tensor:
        """Images of shape (N, 1, H, W) to logits of shape (N, 10)."""
        x = F.relu(self.bn1(self.conv1(x)))
        gates = iter(self.gates)
        used, opened = x.new_zeros(len(x)), []
        for block in self.blocks:
            if block.stride != 1:
                x = block(x)
                continue
            score = next(gates)(x.mean((2, 3))).squeeze(1)
            opens = ((score > 0) & (used < self.most)).float()
            used = used + opens
            if self.training:  # all run, so that closed gates learn: a step forward, a sigmoid backward
                soft = score.sigmoid()
                gate = opens + soft - soft.detach()
                opened.append(gate)
                x = x + gate.reshape(-1, 1, 1, 1) * (block(x) - x)
            else:
                opened.append(opens)
                index = opens.nonzero().flatten()
                x = x.index_copy(0, index, block(x[index]))
        self.opened = torch.stack(opened)
        return self.linear(x.mean((2, 3)))


def train(model: GatedResNet, data: TensorDataset, epochs: int, budget: float = BUDGET) -> None:
    """Cross-entropy, and how far each gate's mean opening is from the budget."""
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=epochs * -(-len(data) // 100))
    for _ in range(epochs):
        for x, y in DataLoader(data, batch_size=100, shuffle=True):
            loss = F.cross_entropy(model.train()(x), y)
            off = (model.opened.mean(1) - budget).square().sum()
            optimizer.zero_grad()
            (loss + 3 * off).backward()
            optimizer.step()
            schedule.step()


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train_set, validation = digits()
    images = train_set.tensors[0][:500].split(100)
    plain = ResNet(blocks=2, channels=8, image_channels=1)
    eden.train(plain, train_set, eden.Recipe(epochs=6))
    gated = GatedResNet()
    train(gated, train_set, epochs=12)

    errors = eden.Uniform(ber=1e-3)
    device, loader = eden.Device.builtin("ddr3-p9"), DataLoader(validation, batch_size=100)
    some = TensorDataset(*(tensor[:100] for tensor in validation.tensors))
    for name, model in (("plain", plain), ("gated", gated)):
        eden.inject_(model.eval(), eden.Faults.int8(errors))
        # The samples that open a gate are those that its block gets: each entry of dimension 0 is one.
        eden.calibrate_(model, images, samples={"*.input": (0, 1)})
        search = eden.Search(coarse_only=True, effort=1.5)
        asked = {"max_drop": 0.04, "search": search, "reference": plain, "population": "samples"}
        tolerance = eden.profile(model, loader, **asked, progress=False)
        moved = eden.traffic(model, PLATFORM, data=some)
        of = eden.account([moved], eden.place(tolerance, device, traffic=moved)).platforms[PLATFORM]
        with eden.clean(model):
            clean = accuracy(model, validation)
        print(f"{name}: accuracy {clean:.1%}, within 4% of the plain network's at BER {tolerance.coarse:.1e}")
        print(f"  {moved.crossing_bytes:.0f} bytes cross on average, deviation {moved.spread_bytes:.0f}")
        assert of.spread is not None
        print(f"  as placed {of.placed_nj:.0f} nJ, deviation {of.spread.placed_nj:.0f}")
    blocks = {name: moved.loads[f"{name}.conv1.weight"] for name in ("layer1.0", "layer1.1", "layer2.1", "layer3.1")}
    print("samples that load gated blocks:", ", ".join(f"{name} {share:.0%}" for name, share in blocks.items()))
    with torch.no_grad():
        gated(validation.tensors[0])
    print(f"no sample opens more than {MOST}: {bool((gated.opened.sum(0) <= MOST).all())}")

    with torch.no_grad():
        gated.gates[0].bias.fill_(-1e3)
    try:
        eden.traffic(gated, PLATFORM, data=some)
    except ValueError as error:
        print(str(error).partition(", as")[0])


if __name__ == "__main__":
    main()
