#include "memory/region.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/refusal.h"
#include "memory/lines.h"

namespace eden {
namespace {

uint64_t sparse_code(double rate) {
  if (rate >= std::ldexp(1.0, -kFirstLevel)) return kMaxSparseCode;
  const double lowest = std::ldexp(1.0, -kLastLevel);
  if (rate < lowest) {
    return static_cast<uint64_t>(std::llround(std::ldexp(rate, kLastLevel + kCodeOctaveShift)));
  }
  int exponent = 0;
  const double mantissa =
      std::frexp(rate, &exponent);  // rate = mantissa 2^exponent, mantissa in [1/2, 1)
  const uint64_t octave = static_cast<uint64_t>(exponent + kLastLevel);
  const double position = 2.0 * mantissa - 1.0;
  return (octave << kCodeOctaveShift) +
         static_cast<uint64_t>(std::llround(std::ldexp(position, kCodeOctaveShift)));
}

void check_rate(const char* name, double rate, double failure) {
  if (!(rate >= 0.0 && rate <= failure)) {
    refuse_value(name, rate, "0 to failure (", failure, ")");
  }
}

void check_failure(double failure) {
  if (!(failure > 0.0 && failure <= 1.0)) {
    refuse_value("failure", failure, "above 0, up to 1");
  }
}

void check_multiple(const char* name, int64_t value, int64_t factor) {
  if (value <= 0 || value % factor != 0) {
    refuse_value(name, value, "a multiple of ", factor, " above 0");
  }
}

void check_at_least(const char* name, int64_t value, int64_t least) {
  if (value < least) {
    refuse_value(name, value, least, " or more");
  }
}

// What the rows of all models have in common.
Region common_region(ModelKind model, double failure, uint64_t address, Correction correction) {
  check_failure(failure);
  Region region{};
  region.end = kEndless;
  region.address = address;
  region.model = model;
  region.failure = fraction_of_one(failure);
  region.correction = correction;
  return region;
}

std::array<int64_t, kRegionFields> row_of(const Region& region) {
  return std::bit_cast<std::array<int64_t, kRegionFields>>(region);
}

}  // namespace

uint64_t fraction_of_one(double probability) {
  if (probability >= 1.0) return kAlways;
  return static_cast<uint64_t>(std::ldexp(probability, 64));
}

WeakThresholds weak_thresholds(double weak) {
  const double rate = -std::log1p(-weak);
  const double sparse_limit = std::ldexp(1.0, -kFirstLevel);
  if (rate <= sparse_limit) return {sparse_code(rate), 0};
  // 1 - (1 - P) e^limit, written so that nothing cancels.
  const double dense = weak >= 1.0 ? 1.0 : -std::expm1(sparse_limit - rate);
  return {kMaxSparseCode, fraction_of_one(dense)};
}

std::array<int64_t, kRegionFields> make_region(double ber_zero, double ber_one, double failure,
                                               uint64_t address, Correction correction) {
  Region region = common_region(ModelKind::kCell, failure, address, correction);
  check_rate("ber_zero", ber_zero, failure);
  check_rate("ber_one", ber_one, failure);
  const WeakThresholds zero = weak_thresholds(std::min(1.0, ber_zero / failure));
  const WeakThresholds one = weak_thresholds(std::min(1.0, ber_one / failure));
  region.sparse[0] = zero.sparse, region.sparse[1] = one.sparse;
  region.dense[0] = zero.dense, region.dense[1] = one.dense;
  return row_of(region);
}

std::vector<int64_t> make_line_table(const double* probabilities, size_t count) {
  std::vector<int64_t> table;
  table.reserve(2 * count);
  for (size_t i = 0; i < count; ++i) {
    const double probability = probabilities[i];
    if (!(probability >= 0.0 && probability <= 1.0)) {
      refuse_value(text_of("probabilities[", i, "]"), probability, "0 to 1");
    }
    const WeakThresholds thresholds = weak_thresholds(probability);
    table.push_back(static_cast<int64_t>(thresholds.sparse));
    table.push_back(static_cast<int64_t>(thresholds.dense));
  }
  return table;
}

std::array<int64_t, kRegionFields> make_lines_region(ModelKind kind, TableKind table_kind,
                                                     double failure, uint64_t address,
                                                     Correction correction, int64_t table_first,
                                                     int64_t table_length, int64_t row_bits,
                                                     int64_t subarray_rows) {
  if (kind != ModelKind::kBitline && kind != ModelKind::kWordline) {
    refuse("kind is ", static_cast<int64_t>(kind), "; allowed are bitline and wordline");
  }
  Region region = common_region(kind, failure, address, correction);
  check_at_least("table_first", table_first, 0);
  check_at_least("table_length", table_length, 1);
  if (table_kind != TableKind::kMeasured && table_length != kLineBins) {
    refuse("table_length is ", table_length, "; allowed for a population is ", kLineBins);
  }
  check_multiple("row_bits", row_bits, kRowBitsMultiple);
  check_multiple("subarray_rows", subarray_rows, kSubarrayRowsMultiple);
  region.table_kind = table_kind;
  region.table_first = table_first;
  region.table_length = table_length;
  region.row_bits = static_cast<uint64_t>(row_bits);
  region.subarray_rows = static_cast<uint64_t>(subarray_rows);
  return row_of(region);
}

std::array<int64_t, kRegionFields> make_map_region(double failure, uint64_t address,
                                                   Correction correction, int64_t table_first,
                                                   int64_t table_length) {
  Region region = common_region(ModelKind::kMap, failure, address, correction);
  check_at_least("table_first", table_first, 0);
  check_at_least("table_length", table_length, 0);
  region.table_first = table_first;
  region.table_length = table_length;
  return row_of(region);
}

}  // namespace eden
