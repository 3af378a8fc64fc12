"""Types of the C++ core, csrc/python."""

import enum
from collections.abc import Sequence

RANDOM_LAYOUT_VERSION: int
REGION_FIELDS: int
INT8_LARGEST_CODE: int

class Correction(enum.Enum):
    none = 0
    zero = 1
    clamp = 2

class Storage(enum.Enum):
    float32 = 0
    int8 = 1

class ChipPurpose(enum.Enum):
    training = 0
    search = 1
    confirmation = 2
    evaluation = 3

def make_region(ber_zero: float, ber_one: float, failure: float, address: int, correction: Correction) -> list[int]: ...
def storage_bits(storage: Storage) -> int: ...
def derive_chip(seed: int, purpose: ChipPurpose, index: int) -> int: ...
def philox4x32_10(counter: Sequence[int], key: Sequence[int]) -> list[int]: ...
