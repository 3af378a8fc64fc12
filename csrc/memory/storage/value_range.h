// The range of a tensor's values, and the codes that just cover it (eden/memory/storage.py says it
// with tensors).
#pragma once

#include <cmath>
#include <cstdint>

#include "memory/storage/storage.h"

namespace eden {

// What visit.operator()<type>() gives for float32, float16 or bfloat16.
template <class Visit>
auto visit_float(ValueType type, Visit&& visit) {
  switch (type) {
    case ValueType::kFloat16:
      return visit.template operator()<ValueType::kFloat16>();
    case ValueType::kBFloat16:
      return visit.template operator()<ValueType::kBFloat16>();
    default:
      return visit.template operator()<ValueType::kFloat32>();
  }
}

// NaN at both ends once a value is.
struct ValueRange {
  float low;
  float high;
};

// Of at least one value, of type float32, float16 or bfloat16. Zeros are positive.
ValueRange range_of(ValueType type, const void* x, int64_t count);

EDEN_HOST_DEVICE inline float not_a_number() { return __builtin_bit_cast(float, 0x7fc00000u); }
EDEN_HOST_DEVICE inline bool is_nan(float value) { return value != value; }
EDEN_HOST_DEVICE inline float smaller(float a, float b) { return b < a ? b : a; }
EDEN_HOST_DEVICE inline float larger(float a, float b) { return a < b ? b : a; }

// Of the values of both.
EDEN_HOST_DEVICE inline ValueRange joined(ValueRange a, ValueRange b) {
  if (is_nan(a.low) || is_nan(b.low)) return {not_a_number(), not_a_number()};
  return {smaller(a.low, b.low), larger(a.high, b.high)};
}

struct Codes {
  float scale;
  int32_t zero_point;  // 0 without one
};

// What a storage of codes says of them. A kernel is given it: in a device's thread the table of
// storages would be looked up on its stack.
struct CodeRule {
  CodeEnds ends;
  bool has_zero_point;

  static CodeRule of(Storage storage, bool has_zero_point) {
    has_zero_point = has_zero_point && can_have_zero_point(storage);
    return {code_ends(storage, has_zero_point), has_zero_point};
  }
};

EDEN_HOST_DEVICE inline Codes codes_for(const CodeRule& rule, ValueRange range) {
  const CodeEnds& ends = rule.ends;
  const bool has_zero_point = rule.has_zero_point;
  const auto highest = static_cast<float>(ends.highest);
  if (is_nan(range.low)) return {not_a_number(), has_zero_point ? ends.clamped(0) : 0};
  if (!has_zero_point) {
    const float magnitude = ends.lowest < 0 ? larger(fabsf(range.low), fabsf(range.high))
                                            : larger(range.low * 0.0f, range.high);
    // What is multiplied by 0 is NaN if it is infinite.
    return {is_nan(range.low * 0.0f) && ends.lowest == 0 ? not_a_number() : magnitude / highest, 0};
  }
  const float steps = static_cast<float>(ends.highest - ends.lowest);
  const float low = smaller(range.low, 0.0f), high = larger(range.high, 0.0f);
  // Divided one by one: the width of a range can exceed the largest float32.
  const float scale = high / steps - low / steps;
  const float lowest = static_cast<float>(ends.lowest);
  const float point = nearbyintf(lowest - low / (scale == 0.0f ? 1.0f : scale));
  if (is_nan(point)) return {scale, ends.clamped(0)};
  return {scale, static_cast<int32_t>(smaller(larger(point, lowest), highest))};
}

// For a storage of codes.
inline Codes codes_for(Storage storage, bool has_zero_point, ValueRange range) {
  return codes_for(CodeRule::of(storage, has_zero_point), range);
}

// A row-major tensor as rows, each of one channel.
struct ChannelRows {
  int64_t channels = 1;
  int64_t rows = 1;    // row i is of channel i % channels
  int64_t length = 0;  // elements of a row
};

}  // namespace eden
