// The range of a tensor's values, and the codes that just cover it (eden/memory/storage.py says it
// with tensors).
#pragma once

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
// Of the values of both.
ValueRange joined(ValueRange a, ValueRange b);

struct Codes {
  float scale;
  int32_t zero_point;  // 0 without one
};

// For a storage of codes.
Codes codes_for(Storage storage, bool has_zero_point, ValueRange range);

}  // namespace eden
