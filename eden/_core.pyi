"""Types of the C++ core, csrc/python."""

import enum
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RANDOM_LAYOUT_VERSION: int
REGION_FIELDS: int
REGION_END: int
ROW_BITS_MULTIPLE: int
MOST_SUBARRAY_CELLS: int
SUBARRAY_ROWS_MULTIPLE: int
MAP_FLAG_BITS: int
MAP_FLIPS_ZERO: int
MAP_FLIPS_ONE: int
LINE_MARK_BITS: int
OPERAND_ALIGNMENT: int

class Correction(enum.Enum):
    none = 0
    zero = 1
    clamp = 2

class Storage(enum.Enum):
    float32 = 0
    int8 = 1
    float16 = 2
    bfloat16 = 3
    float8_e4m3fn = 4
    float8_e5m2 = 5
    int16 = 6
    uint8 = 7
    int4 = 8
    sign = 9
    int32 = 10

class ModelKind(enum.Enum):
    cell = 0
    bitline = 1
    wordline = 2
    map = 3

class TableKind(enum.Enum):
    population = 0
    measured = 1

class ChipPurpose(enum.Enum):
    training = 0
    search = 1
    confirmation = 2
    evaluation = 3

def make_region(ber_zero: float, ber_one: float, failure: float, address: int, correction: Correction) -> list[int]: ...
def make_lines_region(
    kind: ModelKind,
    table_kind: TableKind,
    failure: float,
    address: int,
    correction: Correction,
    table_first: int,
    table_length: int,
    row_bits: int,
    subarray_rows: int,
) -> list[int]: ...
def make_map_region(
    failure: float, address: int, correction: Correction, table_first: int, table_length: int
) -> list[int]: ...
def make_line_table(probabilities: NDArray[np.float64]) -> NDArray[np.int64]: ...
def line_bin_begins() -> NDArray[np.int64]: ...
def map_order(cells: NDArray[np.int64]) -> NDArray[np.uint64]: ...
def storage_bits(storage: Storage) -> int: ...
def derive_chip(seed: int, purpose: ChipPurpose, index: int) -> int: ...
def philox4x32_10(counter: Sequence[int], key: Sequence[int]) -> list[int]: ...

class RateEstimate:
    @property
    def estimate(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...

class RateFit:
    @property
    def rates(self) -> list[RateEstimate]: ...
    @property
    def dispersion(self) -> float: ...
    @property
    def dispersion_fitted(self) -> bool: ...
    @property
    def log_likelihood(self) -> float: ...
    @property
    def observations(self) -> int: ...
    @property
    def parameters(self) -> int: ...

def fit_rates(
    groups: Sequence[Sequence[tuple[float, float]]],
    likelihood_ratio: float,
    tail: float,
    dispersion: float | None = None,
) -> RateFit: ...
def log_beta_binomial(errors: float, cells: float, rate: float, dispersion: float) -> float: ...
def bayesian_information_criterion(log_likelihood: float, parameters: int, observations: int) -> float: ...

class PlacementObjective(enum.Enum):
    energy = 0
    latency = 1

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

class Trial:
    @property
    def id(self) -> int: ...
    @property
    def phase(self) -> str: ...
    @property
    def operand(self) -> int | None: ...
    @property
    def rates(self) -> list[float]: ...
    @property
    def chip(self) -> int: ...
    @property
    def draw_seed(self) -> int: ...

class Certificate:
    @property
    def alpha(self) -> float: ...
    @property
    def total_alpha(self) -> float: ...
    @property
    def back_offs(self) -> int: ...
    @property
    def chips(self) -> int: ...
    @property
    def mean_drop(self) -> float: ...
    @property
    def violating(self) -> float: ...
    @property
    def upper_bound(self) -> float: ...

class Search:
    def __init__(
        self,
        *,
        operands: Sequence[tuple[str, int, float]],
        max_drop: float,
        confidence: float,
        quantile: float | None = None,
        floor: float,
        coarse_only: bool = False,
        seed: int = 0,
        max_trials: int,
    ) -> None: ...
    def next_trial(self) -> Trial | None: ...
    def report(self, id: int, difference: float) -> None: ...
    @property
    def state(self) -> str: ...
    @property
    def phase(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def expected_trials(self) -> int: ...
    @property
    def trials(self) -> int: ...
    @property
    def coarse(self) -> float: ...
    @property
    def limits(self) -> list[float]: ...
    @property
    def coarse_certificate(self) -> Certificate | None: ...
    @property
    def limits_certificate(self) -> Certificate | None: ...

def draw_samples(draw_seed: int, population: int, count: int) -> list[int]: ...
def instruction_set() -> str: ...
def random_numbers_seconds(cells: int, ber: float, threads: int = 2) -> float: ...

class MeasurementError(ValueError): ...

class MeasurementAxis(enum.Enum):
    wordline = 0
    bitline = 1

def measurement_formats() -> list[str]: ...
def recognize_measurements(head: bytes) -> list[str]: ...

class MeasurementReader:
    def __init__(
        self,
        *,
        format: str,
        module: str | None,
        at: Sequence[float | None],
        pattern: str,
        banks: Sequence[int],
        rows: tuple[int, int],
        row_bits: int,
        subarray_rows: int,
        column_bits: int,
        repeats: int,
    ) -> None: ...
    def feed(self, bytes: bytes) -> None: ...
    def finish(self) -> None: ...
    def lines_kept(self, axis: MeasurementAxis) -> bool: ...
    def repeats(self, condition: int) -> list[int]: ...
    def stored_values(self, condition: int) -> list[int]: ...
    def counts(self, condition: int, stored: int) -> list[tuple[int, int, float, float | None, int]]: ...
    def lines(
        self, condition: int, axis: MeasurementAxis, stored: int, most: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
    def line_counts(
        self, condition: int, axis: MeasurementAxis, stored: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]: ...
    def cells(self, condition: int, stored: int) -> NDArray[np.int64]: ...
    def failing_cells(
        self, condition: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]: ...
    @property
    def unit(self) -> str: ...
    @property
    def records(self) -> int: ...
    @property
    def damaged(self) -> int: ...
    @property
    def damages(self) -> list[tuple[int, str, str]]: ...
    @property
    def notes(self) -> list[str]: ...
    @property
    def modules(self) -> list[tuple[str, int]]: ...
    @property
    def vendors(self) -> list[tuple[str, int]]: ...
    @property
    def cache_lines(self) -> list[tuple[int, str, str, float, float]]: ...
    @property
    def flips(self) -> int: ...
    @property
    def repeated_flips(self) -> int: ...
    @property
    def sample_shift(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def conditions(self) -> list[tuple[list[float | None], str]]: ...
