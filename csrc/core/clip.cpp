#include "core/clip.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace eden {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The largest value for which a condition holds that holds up to it and for nothing beyond, near a
// guess.
template <class Holds>
float last_that(float guess, Holds&& holds) {
  float value = std::isnan(guess) ? 0.0f : guess;
  while (!holds(value)) value = std::nextafter(value, -kInfinity);
  for (float next = std::nextafter(value, kInfinity); value < kInfinity && holds(next);) {
    value = next;
    next = std::nextafter(value, kInfinity);
  }
  return value;
}

// The type's numbers, each in an integer of its size.
template <ValueType kType>
using WordOf = typename IntegersOf<storage_bits(own_storage(kType))>::Unsigned;

template <ValueType kType>
float value_at(const WordOf<kType>* x, int64_t i) {
  return FormatOf<own_storage(kType)>::decode(x[i]);
}

// Whether a value passes is written with `&`, so that loops over it become vectors.
inline bool passes(float value, PassingValues passing) {
  return (value >= passing.low) & (value <= passing.high);
}

template <ValueType kType>
bool any_outside_of(const void* x, int64_t count, PassingValues passing) {
  constexpr int64_t kBlock = 4096;
  const auto* values = static_cast<const WordOf<kType>*>(x);
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, count);
    uint32_t outside = 0;
    for (int64_t i = begin; i < end; ++i) {
      outside |= passes(value_at<kType>(values, i), passing) ? 0u : 1u;
    }
    if (outside != 0) return true;
  }
  return false;
}

template <ValueType kType>
void clip_gradient_of(const void* grad, const void* x, int64_t count, PassingValues passing,
                      void* out) {
  using Word = WordOf<kType>;
  const Word* __restrict values = static_cast<const Word*>(x);
  const Word* __restrict gradients = static_cast<const Word*>(grad);
  Word* __restrict results = static_cast<Word*>(out);
  for (int64_t i = 0; i < count; ++i) {
    const auto kept = static_cast<Word>(passes(value_at<kType>(values, i), passing) ? ~Word{0} : 0);
    results[i] = static_cast<Word>(gradients[i] & kept);
  }
}

template <class Visit>
auto with_type(ValueType type, Visit&& visit) {
  switch (type) {
    case ValueType::kFloat16:
      return visit.template operator()<ValueType::kFloat16>();
    case ValueType::kBFloat16:
      return visit.template operator()<ValueType::kBFloat16>();
    default:
      return visit.template operator()<ValueType::kFloat32>();
  }
}

}  // namespace

PassingValues passing_values(Storage storage, float scale, bool has_zero_point,
                             int32_t zero_point) {
  if (storage == Storage::kSign) return {-scale, scale};
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  if (std::isnan(scale)) return {kNaN, kNaN};
  const CodeEnds ends = code_ends(storage, has_zero_point);
  const int32_t point = has_zero_point ? ends.clamped(zero_point) : 0;
  const float divisor = scale == 0.0f ? 1.0f : std::fabs(scale);
  constexpr float kLargest = std::numeric_limits<float>::max();
  if (divisor == kInfinity) return {-kLargest, kLargest};
  // Rounded half to even, a ratio of an end's code and a half belongs to the end if that is even.
  // Nothing here is larger than 2^17, so all of it is exact.
  const auto end_of = [&](int32_t code) {
    const float half = static_cast<float>(std::abs(code)) + 0.5f;
    const bool even = code % 2 == 0;
    return last_that(half * divisor, [&](float value) {
      const float ratio = value / divisor;
      return even ? ratio <= half : ratio < half;
    });
  };
  const float low = -end_of(ends.lowest - point), high = end_of(ends.highest - point);
  return scale < 0.0f ? PassingValues{-high, -low} : PassingValues{low, high};
}

bool any_outside(ValueType type, const void* x, int64_t count, PassingValues passing) {
  return with_type(type,
                   [&]<ValueType kType>() { return any_outside_of<kType>(x, count, passing); });
}

void clip_gradient(ValueType type, const void* grad, const void* x, int64_t count,
                   PassingValues passing, void* out) {
  with_type(type,
            [&]<ValueType kType>() { clip_gradient_of<kType>(grad, x, count, passing, out); });
}

}  // namespace eden
