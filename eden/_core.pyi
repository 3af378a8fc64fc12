"""Types of the C++ core, csrc/python."""

import enum
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RANDOM_LAYOUT_VERSION: int
ACCESS_BITS: int
REGION_FIELDS: int
REGION_END: int
REGION_CORRECTION: int
REGION_TABLE_FIRST: int
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
    int16_sign_magnitude = 11
    int8_sign_magnitude = 12
    int4_sign_magnitude = 13

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
def scale_stored_rates(ber_zero: float, ber_one: float, failure: float, ber: float) -> tuple[float, float]: ...
def scale_line_rates(rates: NDArray[np.float64], failure: float, ber: float) -> NDArray[np.float64]: ...
def highest_line_ber(rates: NDArray[np.float64], failure: float) -> float: ...
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

class CurveLink(enum.Enum):
    probit = 0
    logit = 1

class Asymptote(enum.Enum):
    one = 0
    own = 1
    shared = 2

class CurveParameters:
    def __init__(self, location: float, scale: float, asymptote: float) -> None: ...
    @property
    def location(self) -> float: ...
    @property
    def scale(self) -> float: ...
    @property
    def asymptote(self) -> float: ...

class CurveRule:
    def __init__(self, link: CurveLink, asymptote: Asymptote, shared_scale: bool) -> None: ...
    @property
    def link(self) -> CurveLink: ...
    @property
    def asymptote(self) -> Asymptote: ...
    @property
    def shared_scale(self) -> bool: ...

class ConditionLikelihood:
    def __init__(
        self, readings: Sequence[tuple[float, float]], dispersion: float | None = None, weight: float = 1.0
    ) -> None: ...
    def __call__(self, log_odds: float) -> float: ...
    def lower(self, drop: float) -> float: ...
    def upper(self, drop: float) -> float: ...
    def log_marginal(self, mean: float, deviation: float) -> float: ...
    @property
    def best(self) -> float: ...
    @property
    def scale(self) -> float: ...
    @property
    def dispersion(self) -> float: ...
    @property
    def log_likelihood(self) -> float: ...
    @property
    def informative(self) -> bool: ...

class CurveCondition:
    def __init__(self, at: float, likelihood: ConditionLikelihood) -> None: ...
    @property
    def at(self) -> float: ...
    @property
    def likelihood(self) -> ConditionLikelihood: ...

class CurveFit:
    @property
    def groups(self) -> list[CurveParameters]: ...
    @property
    def log_likelihood(self) -> float: ...
    @property
    def parameters(self) -> int: ...

class PopulationFit:
    @property
    def mean(self) -> float: ...
    @property
    def deviation(self) -> float: ...
    @property
    def log_likelihood(self) -> float: ...

def curve_log_odds(link: CurveLink, parameters: CurveParameters, at: float) -> float: ...
def fit_curves(groups: Sequence[Sequence[CurveCondition]], rule: CurveRule) -> CurveFit: ...
def curve_ends(
    groups: Sequence[Sequence[CurveCondition]], rule: CurveRule, fit: CurveFit, group: int, at: float, drop: float
) -> tuple[float, float]: ...
def parameter_ends(
    groups: Sequence[Sequence[CurveCondition]],
    rule: CurveRule,
    fit: CurveFit,
    group: int,
    parameter: int,
    drop: float,
) -> tuple[float, float]: ...
def predict_reading(
    readings: Sequence[tuple[float, float]], cells: float, repeats: int, dispersion: float | None, drop: float
) -> tuple[float, float]: ...
def leave_one_out(
    readings: Sequence[tuple[float, float]], dispersion: float | None = None
) -> list[tuple[float, float]]: ...
def fit_dispersion(conditions: Sequence[Sequence[tuple[float, float]]]) -> tuple[float, float]: ...
def fit_population(modules: Sequence[ConditionLikelihood]) -> PopulationFit: ...
def seeded_normals(seed: int, stream: int, count: int) -> list[float]: ...

class Along(enum.Enum):
    nothing = 0
    bitlines = 1
    wordlines = 2

class Bound(enum.Enum):
    none = 0
    low = 1
    high = 2

class ValueCounts:
    def __init__(self, reads: int, cells: float, seen: float, failures: float) -> None: ...
    def set_lines(self, along: Along, cells: NDArray[np.int64], failed: NDArray[np.int64]) -> None: ...

class ParameterFit:
    @property
    def estimate(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def deviation(self) -> float: ...
    @property
    def identified(self) -> bool: ...
    @property
    def bound(self) -> Bound: ...

class ModelFit:
    @property
    def weak(self) -> list[ParameterFit]: ...
    @property
    def ber(self) -> list[ParameterFit]: ...
    @property
    def failure(self) -> ParameterFit: ...
    @property
    def dispersion(self) -> ParameterFit: ...
    @property
    def log_likelihood(self) -> float: ...
    @property
    def parameters(self) -> int: ...
    @property
    def observations(self) -> int: ...

def fit_model(
    values: Sequence[ValueCounts],
    along: Along,
    by_value: bool,
    failure: float | None,
    likelihood_ratio: float,
    tail: float,
    intervals: bool = True,
) -> ModelFit: ...

class GoodnessBin:
    @property
    def value(self) -> int: ...
    @property
    def cells(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def observed(self) -> float: ...
    @property
    def expected(self) -> float: ...

class Goodness:
    @property
    def bins(self) -> list[GoodnessBin]: ...
    @property
    def statistic(self) -> float: ...
    @property
    def p_value(self) -> float: ...
    @property
    def replicates(self) -> int: ...

def lines_goodness(
    values: Sequence[ValueCounts],
    along: Along,
    by_value: bool,
    tested: Along,
    fit: ModelFit,
    replicates: int,
    seed: int,
) -> Goodness: ...
def reads_goodness(
    histograms: Sequence[Sequence[float]], failure: float, fitted: bool, replicates: int, seed: int
) -> Goodness: ...

class PatternFit:
    @property
    def log_likelihood_own(self) -> float: ...
    @property
    def log_likelihood_predicted(self) -> float: ...
    @property
    def own(self) -> float: ...
    @property
    def predicted(self) -> float: ...
    @property
    def readings(self) -> int: ...

def fit_pattern(
    zeros: Sequence[tuple[float, float]],
    ones: Sequence[tuple[float, float]],
    pattern: Sequence[tuple[float, float]],
    share_of_ones: float,
) -> PatternFit: ...
def simulate_counts(
    along: Along, weak: float, dispersion: float, failure: float, reads: int, rows: int, columns: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]: ...

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

class PlacementConstraints:
    def __init__(
        self,
        alignment: int = ...,
        voltages: int | None = ...,
        shared_vdd: Sequence[Sequence[int]] = ...,
        shared_refresh: Sequence[Sequence[int]] = ...,
    ) -> None: ...

def tolerated(operands: Sequence[PlacementOperand], points: Sequence[PartitionPoint]) -> NDArray[np.bool_]: ...
def check_placement_constraints(
    constraints: PlacementConstraints, partitions: Sequence[PlacementPartition]
) -> None: ...
def place_greedy(
    operands: Sequence[PlacementOperand],
    partitions: Sequence[PlacementPartition],
    nominal: PlacementOperatingPoint,
    objective: PlacementObjective,
    constraints: PlacementConstraints = ...,
) -> PlacementResult: ...

class VoltageLaw(enum.Enum):
    linear = 0
    quadratic = 1

class DomainCurrents:
    def __init__(
        self,
        name: str,
        voltage: float,
        idd0: float,
        idd2n: float,
        idd3n: float,
        idd4r: float,
        idd4w: float,
        idd5: float,
    ) -> None: ...

class DramTiming:
    def __init__(self, tck: float, tras: float, trc: float, trfc: float, tburst: float) -> None: ...

class CommandCounts:
    def __init__(
        self,
        activates: float,
        precharges: float,
        reads: float,
        writes: float,
        refreshes: float,
        active_cycles: float,
        precharged_cycles: float,
    ) -> None: ...

class CommandEnergy:
    activate: float
    precharge: float
    read: float
    write: float
    refresh: float
    active_background: float
    precharged_background: float
    total: float

def voltage_factor(law: VoltageLaw, voltage: float, reference: float) -> float: ...
def command_energy(domain: DomainCurrents, timing: DramTiming, counts: CommandCounts) -> CommandEnergy: ...

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

class OperandResponse:
    @property
    def rate(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def slope(self) -> float: ...
    @property
    def observations(self) -> int: ...

class Certificate:
    @property
    def first_chip(self) -> int: ...
    @property
    def first_trial(self) -> int: ...
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
        max_trials: int | None = None,
        weights: Sequence[float] | None = None,
        strategy: str = "shares",
        effort: float = 6.0,
    ) -> None: ...
    def next_trial(self) -> Trial | None: ...
    def next_trials(self, most: int) -> list[Trial]: ...
    def set_budget(self, observations: int) -> None: ...
    @property
    def budget(self) -> int: ...
    @property
    def ended_by_budget(self) -> bool: ...
    @property
    def rate_interval(self) -> tuple[float, float]: ...
    @property
    def drop_bound(self) -> float | None: ...
    @property
    def least_confirmation(self) -> int: ...
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
    def responses(self) -> list[OperandResponse]: ...
    @property
    def max_trials(self) -> int: ...
    @property
    def steps(self) -> tuple[int, int]: ...
    @property
    def coarse_certificate(self) -> Certificate | None: ...
    @property
    def limits_certificate(self) -> Certificate | None: ...

SEARCH_VERSION: int

def draw_samples(draw_seed: int, population: int, count: int) -> list[int]: ...
def instruction_set() -> str: ...

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
    def counts(
        self, condition: int, stored: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]: ...
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

class Dataflow(enum.Enum):
    output = ...
    weight = ...
    row = ...

class ConvolutionShape:
    def __init__(
        self,
        samples: int,
        channels: int,
        size: tuple[int, int],
        filters: int,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
    ) -> None: ...

class ProcessingArray:
    def __init__(
        self,
        dataflow: Dataflow,
        rows: int,
        columns: int,
        input_words: int,
        filter_words: int,
        accumulators: int,
    ) -> None: ...

def array_traffic(shape: ConvolutionShape, array: ProcessingArray) -> tuple[int, int, int]: ...
def cache_traffic(
    operands: Sequence[tuple[int, bool]],
    layers: Sequence[tuple[Sequence[int], Sequence[int]]],
    capacity_bytes: int,
    inferences: int,
) -> tuple[list[float], list[float]]: ...
