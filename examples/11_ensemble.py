"""Ensemble: networks of 4 bits that decide together, from a memory with more errors than one of them stands.

Members differ in the cells that hold them ("chips"), in what fails when one network is read again ("reads"), or in how
their weights were rounded ("roundings"). Each member is stored, read and paid for. So the question is whether several
at a harsher operating point take less DRAM energy than one network at a milder one, for the same accuracy.

Expected output (figures after ~ differ from machine to machine):

    accuracy at BER 0.005, over 5 chips never used before
      1 over chips: without errors ~98.8%, with them ~93.6%
      2 over chips: without errors ~98.8%, with them ~97.2%
      4 over chips: without errors ~98.8%, with them ~97.6%
      4 over reads: without errors ~98.8%, with them ~96.3%
      4 over roundings: without errors ~98.5%, with them ~97.5%
    1 over chips: BER ~4.7e-04 costs at most ~3.0%
      13956 bytes cross: 4622 nJ within specification, ~3951 nJ as placed
    2 over chips: BER ~1.2e-03 costs at most ~3.0%
      27848 bytes cross: 9216 nJ within specification, ~7879 nJ as placed
    members that take the least energy: 1
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

import eden
from eden.app.datasets import digits
from eden.app.models import ResNet

CHIPS = 5
PLATFORM = "eyeriss"


def in_memory(network: nn.Module, errors: eden.Uniform, images: torch.Tensor) -> nn.Module:
    """Weights of 4 bits and inputs of 8, both in the same memory."""
    eden.inject_(network.eval(), faults_of(errors))
    return eden.calibrate_(network, images.split(100))


def faults_of(errors: eden.Uniform) -> eden.Faults:
    return eden.Faults.int8(errors, storage="int4_sign_magnitude", weight_channels=True)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train_set, validation = digits()
    images = train_set.tensors[0][:300]
    model = ResNet(blocks=1, channels=8, image_channels=1)
    eden.train(model, train_set, eden.Recipe(epochs=6))

    # Half of the reads of a weak cell fail, so that a second read of one memory tells something.
    errors = eden.Uniform(ber=5e-3, failure=0.5)
    rounding = {"faults": faults_of(errors)}
    print(f"accuracy at BER {errors.ber:g}, over {CHIPS} chips never used before")
    for over, members in (("chips", 1), ("chips", 2), ("chips", 4), ("reads", 4), ("roundings", 4)):
        ensemble = eden.Ensemble(model, members, over, **(rounding if over == "roundings" else {}))
        found = eden.evaluate(in_memory(ensemble, errors, images), validation, chips=CHIPS)
        print(f"  {members} over {over}: without errors {found.clean:.1%}, with them {found.mean:.1%}")

    device = eden.Device.builtin("ddr3-p9")
    loader = DataLoader(validation, batch_size=100)
    single = in_memory(eden.Ensemble(model, 1), eden.Uniform(1e-3), images)
    energy = {}
    for members in (1, 2):
        ensemble = in_memory(eden.Ensemble(model, members), eden.Uniform(1e-3), images)
        search = eden.Search(coarse_only=True, effort=1.5)
        tolerance = eden.profile(ensemble, loader, max_drop=0.03, search=search, reference=single, progress=False)
        moved = eden.traffic(ensemble, PLATFORM, inputs=images[:1])
        placement = eden.place(tolerance, device, traffic=moved)
        of = eden.account([moved], placement).platforms[PLATFORM]
        energy[members] = of.placed_nj
        certificate = tolerance.coarse_certificate
        assert certificate is not None
        print(f"{members} over chips: BER {tolerance.coarse:.1e} costs at most {certificate.upper_bound:.1%}")
        print(f"  {moved.crossing_bytes:.0f} bytes cross: {of.nominal_nj:.0f} nJ within specification,", end=" ")
        print(f"{of.placed_nj:.0f} nJ as placed")
    best = min(energy, key=lambda members: energy[members])
    print(f"members that take the least energy: {best}")


if __name__ == "__main__":
    main()
