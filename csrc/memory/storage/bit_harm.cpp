#include "memory/storage/bit_harm.h"

#include <cmath>

namespace eden {
namespace {

constexpr double kRange = 3.0;     // in standard deviations
constexpr int kValuesAbove = 512;  // on the grid, on each side of 0

template <class C>
BitHarm measured() {
  constexpr bool kSigned = C::kKind != WordKind::kUnsigned;
  constexpr double kCodes = static_cast<double>(C::kMask >> (kSigned ? 1 : 0));
  Conversion conversion;
  conversion.correction = Correction::kClamp;
  conversion.low = kSigned ? -kRange : 0.0f;
  conversion.high = kRange;
  // The mean magnitude of one bit, the step of codes, and nothing of floating-point numbers.
  const double scale = C::kKind == WordKind::kSign ? std::sqrt(2.0 / M_PI) : kRange / kCodes;
  const ElementCode code = C::code(conversion, static_cast<float>(scale), 0);
  BitHarm harm;
  for (int bit = 0; bit < C::kWidthBits; ++bit) {
    double changes[2] = {0.0, 0.0}, weights = 0.0;
    for (int i = kSigned ? -kValuesAbove : 0; i <= kValuesAbove; ++i) {
      // Off the codes' own steps, and never 0, whose flips floating-point numbers would not show.
      const double value = kRange * (i + 0.381966) / (kValuesAbove + 1);
      const double weight = std::exp(-0.5 * value * value);
      const uint32_t bits = C::bits_of_value(static_cast<float>(value)), mask = uint32_t{1} << bit;
      const double kept = C::value_of(C::template read<false, true>(bits, 0, 0, code));
      weights += weight;
      for (const int stored : {0, 1}) {
        const uint32_t zero = stored == 0 ? mask : 0, one = stored == 1 ? mask : 0;
        const double found = C::value_of(C::template read<true, true>(bits, zero, one, code));
        changes[stored] += weight * (found - kept) * (found - kept);
      }
    }
    harm.zero.push_back(changes[0] / weights);
    harm.one.push_back(changes[1] / weights);
  }
  return harm;
}

}  // namespace

BitHarm bit_harm(Storage storage) {
  BitHarm found{{1.0}, {1.0}};
  visit_codec(ValueType::kFloat32, storage, [&]<ValueType kValue, Storage kStorage>() {
    if constexpr (kValue == ValueType::kFloat32) found = measured<Codec<kValue, kStorage>>();
  });
  return found;
}

}  // namespace eden
