"""The memory that makes errors: error models, a device's geometry, the words of values, the operator that flips them.

In: a tensor and an error model at a chip, an address and an access. Out: the same tensor with the stored bits of the
cells that fail flipped. It knows of no layer and of no device that was measured.
"""
