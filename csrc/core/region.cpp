#include "core/region.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

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
    throw std::invalid_argument(std::string(name) + " is " + std::to_string(rate) +
                                "; allowed is 0 to failure (" + std::to_string(failure) + ")");
  }
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
  if (!(failure > 0.0 && failure <= 1.0)) {
    throw std::invalid_argument("failure is " + std::to_string(failure) +
                                "; allowed is above 0, up to 1");
  }
  check_rate("ber_zero", ber_zero, failure);
  check_rate("ber_one", ber_one, failure);
  const WeakThresholds zero = weak_thresholds(std::min(1.0, ber_zero / failure));
  const WeakThresholds one = weak_thresholds(std::min(1.0, ber_one / failure));
  std::array<int64_t, kRegionFields> fields{};
  fields[kEnd] = static_cast<int64_t>(kEndless);
  fields[kModel] = static_cast<int64_t>(ModelKind::kCell);
  fields[kSparseZero] = static_cast<int64_t>(zero.sparse);
  fields[kSparseOne] = static_cast<int64_t>(one.sparse);
  fields[kDenseZero] = static_cast<int64_t>(zero.dense);
  fields[kDenseOne] = static_cast<int64_t>(one.dense);
  fields[kFailure] = static_cast<int64_t>(fraction_of_one(failure));
  fields[kAddress] = static_cast<int64_t>(address);
  fields[kCorrection] = static_cast<int64_t>(correction);
  return fields;
}

}  // namespace eden
