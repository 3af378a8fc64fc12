"""Optical nodes: a network of exciton-polariton nodes whose weights come from a memory out of its specification.

Light makes the decisions: each hidden node emits or does not, with noise of its own. Memory makes the weights, and its
errors are the other source of wrong decisions. The network is trained for both together, its limit is found, and it is
placed. The energy of an inference is that of its nodes, given by the user, and of the DRAM that feeds them.

Expected output (figures after ~ differ from machine to machine):

    accuracy without either, with noise, with noise and BER 0.02
      trained without both: ~97.7%, ~94.7%, ~91.2%
      trained with noise: ~97.3%, ~95.5%, ~94.0%
      trained with noise and errors: ~97.2%, ~96.3%, ~94.0%
    certified with 95% confidence: BER ~2.5e-02 costs at most ~3.0%
    DRAM: ~8101 nJ within specification, ~6587 nJ as placed; 256 nodes
      1 aJ a node: nodes take ~3.9e-11 of the inference's energy
      1000 aJ a node: nodes take ~3.9e-08 of the inference's energy
      1e+06 aJ a node: nodes take ~3.9e-05 of the inference's energy
    nodes take more than DRAM from ~2.6e+10 aJ on
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

import eden
from eden.app.datasets import digits

NOISE, BER = 0.3, 2e-2
PLATFORM = "eyeriss"


def near_a_step_(norm: nn.BatchNorm1d) -> nn.BatchNorm1d:
    """Begin with drives around a step: beyond half a period of the interference gradients point anywhere."""
    nn.init.constant_(norm.weight, 0.5)
    nn.init.constant_(norm.bias, 0.5)
    return norm


def network(noise: float) -> nn.Module:
    """Two layers of nodes: one driven by amplitudes, one by the interference of beams."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(64, 128), near_a_step_(nn.BatchNorm1d(128)), eden.ThresholdNode(noise=noise)),
        *(nn.Linear(128, 128), near_a_step_(nn.BatchNorm1d(128)), eden.ThresholdNode("interference", noise=noise)),
        nn.Linear(128, 10),
    )


def set_noise(model: nn.Module, noise: float) -> None:
    for module in model.modules():
        if isinstance(module, eden.ThresholdNode):
            module.noise = noise


def main() -> None:
    torch.set_num_threads(1)
    train_set, validation = digits()
    # Weights of 8 bits; what the layers read is light, which no memory keeps.
    faults = eden.Faults(weights=eden.Uniform(BER), storage="int8_sign_magnitude", correction="zero")
    recipe = eden.Recipe(epochs=12, learning_rate=0.05, clip_percentile=99.0)

    print(f"accuracy without either, with noise, with noise and BER {BER:g}")
    for name, noise in (("without both", 0.0), ("with noise", NOISE), ("with noise and errors", NOISE)):
        model = network(noise)
        eden.train(model, train_set, recipe)
        if not name.endswith("errors"):
            eden.train(model, train_set, recipe)
        eden.inject_(model, faults)
        if name.endswith("errors"):
            eden.train(model, train_set, recipe, eden.Curriculum(model, BER, recipe.epochs, schedule="constant"))
        set_noise(model.eval(), 0.0)
        alone = eden.evaluate(model, validation, chips=1).clean
        set_noise(model, NOISE)
        both = eden.evaluate(model, validation, chips=20)
        print(f"  trained {name}: {alone:.1%}, {both.clean:.1%}, {both.mean:.1%}")

    loader, search = DataLoader(validation, batch_size=200), eden.Search(coarse_only=True)
    tolerance = eden.profile(model, loader, max_drop=0.03, search=search, progress=False)
    certificate = tolerance.coarse_certificate
    assert certificate is not None
    confidence = f"certified with {tolerance.confidence:.0%} confidence"
    print(f"{confidence}: BER {tolerance.coarse:.1e} costs at most {certificate.upper_bound:.1%}")
    moved = eden.traffic(model, PLATFORM)
    placement = eden.place(tolerance, eden.Device.builtin("ddr3-p9"), traffic=moved)
    dram = eden.account([moved], placement).platforms[PLATFORM]
    nodes = sum(module.nodes for module in model.modules() if isinstance(module, eden.ThresholdNode))
    print(f"DRAM: {dram.nominal_nj:.0f} nJ within specification, {dram.placed_nj:.0f} nJ as placed; {nodes} nodes")
    for attojoules in (1, 1e3, 1e6):
        share = nodes * attojoules * 1e-9 / (nodes * attojoules * 1e-9 + dram.placed_nj)
        print(f"  {attojoules:g} aJ a node: nodes take {share:.1e} of the inference's energy")
    print(f"nodes take more than DRAM from {dram.placed_nj * 1e9 / nodes:.1e} aJ on")


if __name__ == "__main__":
    main()
