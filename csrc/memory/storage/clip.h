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

// Quotients of a value and the scale, ends included, whose code is not beyond the storage's.
struct Ratios {
  float low;
  float high;

  // False for NaN.
  EDEN_HOST_DEVICE bool hold(float ratio) const { return ratio >= low && ratio <= high; }
};

// The half beyond the magnitude of an end's code. Rounded half to even, it belongs to the end if
// that is even. Nothing here is larger than 2^17, so the halves are exact.
EDEN_HOST_DEVICE inline float half_beyond(int32_t code) {
  const float half = static_cast<float>(code < 0 ? -code : code) + 0.5f;
  return code % 2 == 0 ? half : nextafterf(half, 0.0f);
}

EDEN_HOST_DEVICE inline Ratios unclipped_ratios(const CodeRule& rule, int32_t zero_point) {
  const CodeEnds& ends = rule.ends;
  const int32_t point = rule.has_zero_point ? ends.clamped(zero_point) : 0;
  return {-half_beyond(ends.lowest - point), half_beyond(ends.highest - point)};
}

EDEN_HOST_DEVICE inline float divisor_of(float scale) { return scale == 0.0f ? 1.0f : scale; }

// Whether codes clip some value of a range, or one is NaN: what is between two values that are not
// clipped is not either.
EDEN_HOST_DEVICE inline bool clips(const CodeRule& rule, Codes codes, ValueRange range) {
  const Ratios ratios = unclipped_ratios(rule, codes.zero_point);
  const float divisor = divisor_of(codes.scale);
  return !ratios.hold(range.low / divisor) || !ratios.hold(range.high / divisor);
}
inline bool clips(Storage storage, Codes codes, bool has_zero_point, ValueRange range) {
  return clips(CodeRule::of(storage, has_zero_point), codes, range);
}

// Whether one of `count` values lies outside.
bool any_outside(ValueType type, const void* x, int64_t count, PassingValues passing);

// out[i] = grad[i] where x[i] passes, else 0. Types are float32, float16 and bfloat16, here as
// above; `out` overlaps neither of the others.
void clip_gradient(ValueType type, const void* grad, const void* x, int64_t count,
                   PassingValues passing, void* out);

}  // namespace eden
