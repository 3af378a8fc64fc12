"""A Swin of timm: windows, tables of positions and attention in faulty memory, boosted, profiled and placed.

The windows of an image are folded into the batch; calibration finds that they are one sample. Needs timm: `make
test-networks` installs it and runs this.

Expected output (figures after ~ differ from machine to machine):

    read through memory: 97.2% of parameters, 100.0% of feature maps
    layers.0.blocks.1.attn.qkv.input: 512 bytes
    layers.0.blocks.1.attn.product0.second: 512 bytes
    layers.0.blocks.1.attn.relative_position_bias_table: 18 bytes
    accuracy: ~88.3% on reliable memory, ~80.9% with errors
    after boosting: ~90.3% and ~86.7%
    tolerates BER ~6.9e-03 for a drop of 5%
    DRAM energy saved: ~15.3%
"""

from __future__ import annotations

import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Subset

import eden
from eden.app.datasets import digits


def train(
    model: nn.Module, images: DataLoader, epochs: int, lr: float, curriculum: eden.Curriculum | None = None
) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr)
    for _ in range(epochs):
        model.train()
        for x, y in images:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        if curriculum is not None:
            curriculum.step()
    model.eval()


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train_set, validation = digits()
    images, others = DataLoader(Subset(train_set, range(512)), batch_size=32), DataLoader(validation, batch_size=100)
    sizes = {"img_size": 8, "patch_size": 2, "in_chans": 1, "num_classes": 10, "window_size": 2, "mlp_ratio": 2}
    model = timm.models.SwinTransformer(**sizes, embed_dim=32, depths=(2, 2), num_heads=(2, 4))
    train(model, images, 15, 5e-3)

    errors = eden.Uniform(1e-2)
    eden.inject_(model, eden.Faults(errors, errors, "int8_sign_magnitude", "zero"))
    eden.calibrate_(model, images)
    coverage = eden.coverage(model, sample=train_set[0][0][None])
    print(f"read through memory: {coverage.weight_share:.1%} of parameters, {coverage.input_share:.1%} of feature maps")
    for name in ("qkv.input", "product0.second", "relative_position_bias_table"):
        info = eden.operands(model)[f"layers.0.blocks.1.attn.{name}"]
        print(f"{info.name}: {info.bytes} bytes")

    before = eden.evaluate(model, others, chips=5)
    train(model, images, 4, 1e-3, eden.Curriculum(model, errors.ber, epochs=4, epochs_per_step=1))
    after = eden.evaluate(model, others, chips=5)
    print(f"accuracy: {before.clean:.1%} on reliable memory, {before.mean:.1%} with errors")
    print(f"after boosting: {after.clean:.1%} and {after.mean:.1%}")

    tolerance = eden.profile(model, others, max_drop=0.05, search=eden.Search(coarse_only=True), progress=False)
    # The cache would hold all of this network, and nothing be saved: here it is empty, as after other work.
    traffic = eden.traffic(model, platform="cpu", repeated=False)
    placement = eden.place(tolerance, eden.Device.builtin("ddr3-b33"), traffic=traffic)
    saved = eden.savings(traffic, placement).energy_reduction
    print(f"tolerates BER {tolerance.coarse:.1e} for a drop of {tolerance.max_drop:.0%}")
    print(f"DRAM energy saved: {saved:.1%}")


if __name__ == "__main__":
    main()
