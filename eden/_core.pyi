from collections.abc import Sequence

RANDOM_LAYOUT_VERSION: int
OPERAND_ALIGNMENT: int

class PlacementObjective:
    energy: PlacementObjective
    latency: PlacementObjective
    __members__: dict[str, PlacementObjective]

class PlacementOperatingPoint:
    def __init__(self, vdd: float, trcd: float, trp: float, refresh_interval: float) -> None: ...

class PartitionPoint:
    def __init__(
        self, operating_point: PlacementOperatingPoint, ber: float, ber_zero: float, ber_one: float
    ) -> None: ...

class PlacementPartition:
    def __init__(self, name: str, capacity: int, points: Sequence[PartitionPoint]) -> None: ...

class PlacementOperand:
    def __init__(
        self, name: str, bytes: int, limit: float, limit_zero: float, limit_one: float, traffic: float
    ) -> None: ...

class OperandSlot:
    partition: int
    address: int

class PlacementResult:
    operands: list[OperandSlot]
    points: list[int | None]
    used: list[int]

def place_greedy(
    operands: Sequence[PlacementOperand],
    partitions: Sequence[PlacementPartition],
    nominal: PlacementOperatingPoint,
    objective: PlacementObjective,
) -> PlacementResult: ...
