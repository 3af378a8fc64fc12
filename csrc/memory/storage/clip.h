// The gradient of reading values through a storage that clips them: it passes where the code is
// that of the value, and stops where it is the storage's end (eden/memory/storage.py says it with
// tensors).
#pragma once

#include <cstdint>

#include "memory/storage/storage.h"
#include "memory/storage/value_range.h"

namespace eden {

// The values whose gradient passes; none if the ends are NaN or in the wrong order.
struct PassingValues {
  float low;
  float high;
};

// For a storage of codes, or kSign. Found by trying the codec's own division, so that a value and
// its gradient agree on the last bit.
PassingValues passing_values(Storage storage, Codes codes, bool has_zero_point);

// Whether codes clip some value of a range, or one is NaN: what is between two values that are not
// clipped is not either.
bool clips(Storage storage, Codes codes, bool has_zero_point, ValueRange range);

// Whether one of `count` values lies outside.
bool any_outside(ValueType type, const void* x, int64_t count, PassingValues passing);

// out[i] = grad[i] where x[i] passes, else 0. Types are float32, float16 and bfloat16, here as
// above; `out` overlaps neither of the others.
void clip_gradient(ValueType type, const void* grad, const void* x, int64_t count,
                   PassingValues passing, void* out);

}  // namespace eden
