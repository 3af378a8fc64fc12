"""Flip the bits of a tensor as a faulty DRAM does: rates, nesting, chips, accesses, stored values.

A seed names a chip. Which of its cells are weak depends on the seed and the cell's address alone, so all figures here
are the same on every machine, to the last flip.

Expected output (exact):

    A bit error rate (BER) of 1e-3 in a million float32 numbers
      flips: 33524 of 33554432 bits, 33554 expected
      per bit position: 997 to 1110, 1049 expected
      sign bits: 1030, highest exponent bit: 1026, lowest bit: 1029
      largest magnitude: stored 1, read 3.4e+38
    Nesting: the errors of a mild operating point are among those of a harsh one
      flips at 1e-3: 33524, at 1e-2: 335208
      flips at 1e-3 that are missing at 1e-2: 0
    Chips: another seed, other weak cells
      flips on chip 1: 33680, shared with chip 0: 35
      chip 0 read again: the same flips: True
    Accesses: with failure=0.5 a weak cell fails half of its reads
      flips of the first two reads: 33598 and 33573
      flips in both: 16957, in any of ten reads: 66992
      weak cells: 67069; flips elsewhere: 0
    Stored values: ten times as many errors where a one is stored
      zeros: 855 flips in 8388608 bits, a rate of 1.0e-04
      ones: 8409 flips in 8388608 bits, a rate of 1.0e-03
"""

from __future__ import annotations

import torch
from torch import Tensor

import eden


def flips(stored: Tensor, read: Tensor) -> Tensor:
    """Which bits differ: shape (elements, 32), bool; bit 31 is the sign of a float32."""
    different = stored.view(torch.int32) ^ read.view(torch.int32)
    return (different.unsqueeze(1) >> torch.arange(32)) & 1 == 1


def main() -> None:
    torch.set_num_threads(1)
    x = torch.linspace(-1.0, 1.0, 2**20)
    bits = 32 * x.numel()

    print("A bit error rate (BER) of 1e-3 in a million float32 numbers")
    read = eden.corrupt(x, eden.Uniform(ber=1e-3), seed=0)
    flipped = flips(x, read)
    per_bit = flipped.sum(0)
    print(f"  flips: {int(flipped.sum())} of {bits} bits, {1e-3 * bits:.0f} expected")
    print(f"  per bit position: {int(per_bit.min())} to {int(per_bit.max())}, {1e-3 * x.numel():.0f} expected")
    print(f"  sign bits: {int(per_bit[31])}, highest exponent bit: {int(per_bit[30])}, lowest bit: {int(per_bit[0])}")
    print(f"  largest magnitude: stored {float(x.abs().max()):g}, read {float(read.abs().nan_to_num().max()):.2g}")

    print("Nesting: the errors of a mild operating point are among those of a harsh one")
    harsher = flips(x, eden.corrupt(x, eden.Uniform(ber=1e-2), seed=0))
    print(f"  flips at 1e-3: {int(flipped.sum())}, at 1e-2: {int(harsher.sum())}")
    print(f"  flips at 1e-3 that are missing at 1e-2: {int((flipped & ~harsher).sum())}")

    print("Chips: another seed, other weak cells")
    other = flips(x, eden.corrupt(x, eden.Uniform(ber=1e-3), seed=1))
    print(f"  flips on chip 1: {int(other.sum())}, shared with chip 0: {int((flipped & other).sum())}")
    again = flips(x, eden.corrupt(x, eden.Uniform(ber=1e-3), seed=0))
    print(f"  chip 0 read again: the same flips: {torch.equal(flipped, again)}")

    print("Accesses: with failure=0.5 a weak cell fails half of its reads")
    errors = eden.Uniform(ber=1e-3, failure=0.5)
    reads = [flips(x, eden.corrupt(x, errors, seed=0, access=access)) for access in range(10)]
    weak = flips(x, eden.corrupt(x, eden.Uniform(ber=2e-3), seed=0))
    ever = torch.stack(reads).any(0)
    print(f"  flips of the first two reads: {int(reads[0].sum())} and {int(reads[1].sum())}")
    print(f"  flips in both: {int((reads[0] & reads[1]).sum())}, in any of ten reads: {int(ever.sum())}")
    print(f"  weak cells: {int(weak.sum())}; flips elsewhere: {int((ever & ~weak).sum())}")

    print("Stored values: ten times as many errors where a one is stored")
    asymmetric = eden.DataDependent(ber_zero=1e-4, ber_one=1e-3)
    for name, byte in (("zeros", 0), ("ones", -1)):
        stored = torch.full((2**20,), byte, dtype=torch.int8)
        read = eden.corrupt(stored, asymmetric, seed=0)
        count = int(((stored ^ read).unsqueeze(1) >> torch.arange(8) & 1).sum())
        print(f"  {name}: {count} flips in {8 * stored.numel()} bits, a rate of {count / (8 * stored.numel()):.1e}")


if __name__ == "__main__":
    main()
