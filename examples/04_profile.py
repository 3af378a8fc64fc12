"""Characterize: find the bit error rates that a network tolerates, as a whole and operand by operand.

An operand is one weight or one input of a layer. At the limits, all operands together, the mean drop in accuracy over
chips is at most max_drop, with the probability that was asked for. Limits go where they are worth most: an operand
of few bytes may end below the rate that all stand at once, for the benefit of large ones.

Expected output (figures after ~ differ from machine to machine):

    accuracy on reliable memory: ~99.5%
    all operands at once: BER ~1.6e-03
    each operand, while every other one is at its own limit (tolerance.table() shows the same):
      conv1.weight: 72 bytes, BER ~1.7e-04
      conv1.input: 64 bytes, BER ~4.1e-04
      layer1.0.conv1.weight: 576 bytes, BER ~5.6e-04
      layer1.0.conv1.input: 512 bytes, BER ~2.1e-03
      layer1.0.conv2.weight: 576 bytes, BER ~1.4e-03
      layer1.0.conv2.input: 512 bytes, BER ~5.4e-04
      layer2.0.conv1.weight: 1152 bytes, BER ~1.6e-03
      layer2.0.conv1.input: 512 bytes, BER ~2.3e-03
      layer2.0.conv2.weight: 2304 bytes, BER ~6.9e-03
      layer2.0.conv2.input: 256 bytes, BER ~9.8e-04
      layer3.0.conv1.weight: 4608 bytes, BER ~1.2e-02
      layer3.0.conv1.input: 256 bytes, BER ~1.0e-03
      layer3.0.conv2.weight: 9216 bytes, BER ~2.7e-02
      layer3.0.conv2.input: 128 bytes, BER ~1.3e-03
      linear.weight: 320 bytes, BER ~4.7e-04
      linear.input: 32 bytes, BER ~3.1e-04
    mean drop at the limits: at most ~3.0% with confidence 95%
    within the accepted drop of 3%: True
    read back from the journal: the same: True
    read back from the tolerance file: the same: True
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch.utils.data import DataLoader

import eden
from eden.app.datasets import digits
from eden.app.models import ResNet


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train_set, validation = digits()
    model = ResNet(blocks=1, channels=8, image_channels=1)
    eden.train(model, train_set, eden.Recipe(epochs=20))
    errors = eden.Uniform(ber=1e-3)
    eden.inject_(model, eden.Faults(weights=errors, inputs=errors, storage="int8", correction="zero", seed=0))
    eden.calibrate_(model, train_set.tensors[0][:500].split(100))

    loader = DataLoader(validation, batch_size=100)
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "profile.journal"
        tolerance = eden.profile(model, loader, max_drop=0.03, confidence=0.95, journal=journal, progress=False)
        # A run that was killed goes on from its journal; a finished one is read back from it.
        again = eden.profile(model, loader, max_drop=0.03, confidence=0.95, journal=journal, progress=False)
        path = Path(folder) / "tolerance.json"
        tolerance.save(path)
        loaded = eden.Tolerance.load(path)
    print(f"accuracy on reliable memory: {tolerance.reference_accuracy:.1%}")
    print(f"all operands at once: BER {tolerance.coarse:.1e}")
    print("each operand, while every other one is at its own limit (tolerance.table() shows the same):")
    for name, limit in tolerance.limits.items():
        print(f"  {name}: {tolerance.bytes[name]} bytes, BER {limit:.1e}")
    certificate = tolerance.limits_certificate
    assert certificate is not None
    print(f"mean drop at the limits: at most {certificate.upper_bound:.1%} with confidence {tolerance.confidence:.0%}")
    print(f"within the accepted drop of {tolerance.max_drop:.0%}: {certificate.upper_bound <= tolerance.max_drop}")
    print(f"read back from the journal: the same: {again == tolerance}")
    print(f"read back from the tolerance file: the same: {loaded == tolerance}")


if __name__ == "__main__":
    main()
