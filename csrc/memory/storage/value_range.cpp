#include "memory/storage/value_range.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace eden {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

template <ValueType kType>
ValueRange range_in(const void* x, int64_t count) {
  using Word = UnsignedOf<storage_bits(own_storage(kType))>;
  const auto* words = static_cast<const Word*>(x);
  const auto value_at = [&](int64_t i) { return FormatOf<own_storage(kType)>::decode(words[i]); };
  // Side by side, because a compiler may not reorder the comparisons of one chain.
  constexpr int kLanes = 16;
  float low[kLanes], high[kLanes];
  uint32_t nan[kLanes] = {};
  std::fill_n(low, kLanes, std::numeric_limits<float>::infinity());
  std::fill_n(high, kLanes, -std::numeric_limits<float>::infinity());
  const auto take = [&](int lane, float value) {
    low[lane] = value < low[lane] ? value : low[lane];
    high[lane] = value > high[lane] ? value : high[lane];
    nan[lane] |= value == value ? 0u : 1u;
  };
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) take(lane, value_at(i + lane));
  }
  for (; i < count; ++i) take(0, value_at(i));
  ValueRange range{low[0], high[0]};
  for (int lane = 0; lane < kLanes; ++lane) {
    if (nan[lane] != 0) return {kNaN, kNaN};
    range.low = std::min(range.low, low[lane]);
    range.high = std::max(range.high, high[lane]);
  }
  // Which of two zeros comes first must not decide their sign.
  return {range.low + 0.0f, range.high + 0.0f};
}

}  // namespace

ValueRange range_of(ValueType type, const void* x, int64_t count) {
  return visit_float(type, [&]<ValueType kType>() { return range_in<kType>(x, count); });
}

}  // namespace eden
