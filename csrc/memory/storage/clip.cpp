#include "memory/storage/clip.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace eden {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

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
using WordOf = UnsignedOf<storage_bits(own_storage(kType))>;

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

}  // namespace

PassingValues passing_values(Storage storage, Codes codes, bool has_zero_point) {
  if (storage == Storage::kSign) return {-codes.scale, codes.scale};
  if (std::isnan(codes.scale)) return {kNaN, kNaN};
  const Ratios ratios = unclipped_ratios(CodeRule::of(storage, has_zero_point), codes.zero_point);
  const float divisor = std::fabs(divisor_of(codes.scale));
  constexpr float kLargest = std::numeric_limits<float>::max();
  if (divisor == kInfinity) return {-kLargest, kLargest};
  const float low = -last_that(-ratios.low * divisor,
                               [&](float value) { return -value / divisor >= ratios.low; });
  const float high =
      last_that(ratios.high * divisor, [&](float value) { return value / divisor <= ratios.high; });
  return codes.scale < 0.0f ? PassingValues{-high, -low} : PassingValues{low, high};
}

bool any_outside(ValueType type, const void* x, int64_t count, PassingValues passing) {
  return visit_float(type,
                     [&]<ValueType kType>() { return any_outside_of<kType>(x, count, passing); });
}

void clip_gradient(ValueType type, const void* grad, const void* x, int64_t count,
                   PassingValues passing, void* out) {
  visit_float(type,
              [&]<ValueType kType>() { clip_gradient_of<kType>(grad, x, count, passing, out); });
}

}  // namespace eden
