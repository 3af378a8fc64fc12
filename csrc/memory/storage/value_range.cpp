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

ValueRange joined(ValueRange a, ValueRange b) {
  if (std::isnan(a.low) || std::isnan(b.low)) return {kNaN, kNaN};
  return {std::min(a.low, b.low), std::max(a.high, b.high)};
}

Codes codes_for(Storage storage, bool has_zero_point, ValueRange range) {
  has_zero_point = has_zero_point && can_have_zero_point(storage);
  const CodeEnds ends = code_ends(storage, has_zero_point);
  const auto highest = static_cast<float>(ends.highest);
  if (std::isnan(range.low)) return {kNaN, has_zero_point ? ends.clamped(0) : 0};
  if (!has_zero_point) {
    const float magnitude = ends.lowest < 0 ? std::max(std::fabs(range.low), std::fabs(range.high))
                                            : std::max(range.low * 0.0f, range.high);
    // What is multiplied by 0 is NaN if it is infinite.
    return {std::isnan(range.low * 0.0f) && ends.lowest == 0 ? kNaN : magnitude / highest, 0};
  }
  const float steps = static_cast<float>(ends.highest - ends.lowest);
  const float low = std::min(range.low, 0.0f), high = std::max(range.high, 0.0f);
  // Divided one by one: the width of a range can exceed the largest float32.
  const float scale = high / steps - low / steps;
  const float lowest = static_cast<float>(ends.lowest);
  const float point = std::nearbyint(lowest - low / (scale == 0.0f ? 1.0f : scale));
  if (std::isnan(point)) return {scale, ends.clamped(0)};
  return {scale, static_cast<int32_t>(std::clamp(point, lowest, highest))};
}

}  // namespace eden
