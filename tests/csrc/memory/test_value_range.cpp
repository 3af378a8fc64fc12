// Is the range of values found wherever its ends lie, and do codes cover it?
#include <cmath>
#include <limits>
#include <vector>

#include "catch2.h"
#include "memory/storage/value_range.h"

namespace {

using eden::Codes;
using eden::Storage;
using eden::ValueRange;
using eden::ValueType;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

ValueRange range_of(const std::vector<float>& x) {
  return eden::range_of(ValueType::kFloat32, x.data(), static_cast<int64_t>(x.size()));
}

}  // namespace

TEST_CASE("the ends of a range are found at every place, and a NaN is") {
  for (const size_t size :
       {size_t{1}, size_t{2}, size_t{15}, size_t{16}, size_t{17}, size_t{100}}) {
    for (size_t place = 0; place < size; ++place) {
      std::vector<float> x(size, 1.0f);
      x[place] = -3.0f;
      CHECK(range_of(x).low == -3.0f);
      CHECK(range_of(x).high == (size == 1 ? -3.0f : 1.0f));
      x[place] = kInfinity;
      CHECK(range_of(x).high == kInfinity);
      x[place] = kNaN;
      CHECK(std::isnan(range_of(x).low));
      CHECK(std::isnan(range_of(x).high));
    }
  }
  const ValueRange zeros = range_of({-0.0f, 0.0f, -0.0f});
  CHECK_FALSE(std::signbit(zeros.low));
  CHECK_FALSE(std::signbit(zeros.high));
  const std::vector<uint16_t> halves = {0x3c00, 0xc000, 0x0001};
  CHECK(eden::range_of(ValueType::kFloat16, halves.data(), 3).low == -2.0f);
  CHECK(eden::range_of(ValueType::kFloat16, halves.data(), 3).high == 1.0f);
  CHECK(eden::range_of(ValueType::kBFloat16, halves.data(), 2).low == -2.0f);
}

TEST_CASE("a joined range holds both") {
  const ValueRange joined = eden::joined({-1.0f, 0.5f}, {0.0f, 2.0f});
  CHECK(joined.low == -1.0f);
  CHECK(joined.high == 2.0f);
  CHECK(std::isnan(eden::joined({kNaN, kNaN}, {0.0f, 1.0f}).high));
  CHECK(std::isnan(eden::joined({0.0f, 1.0f}, {kNaN, kNaN}).low));
}

TEST_CASE("codes cover a range") {
  Codes codes = eden::codes_for(Storage::kInt8, false, {-6.35f, 2.0f});
  CHECK(codes.scale == 6.35f / 127.0f);
  CHECK(codes.zero_point == 0);
  codes = eden::codes_for(Storage::kUint8, true, {-1.0f, 1.55f});
  CHECK(codes.scale == 1.55f / 255.0f - -1.0f / 255.0f);
  CHECK(codes.zero_point == 100);
  // A one-sided range is widened to 0.
  CHECK(eden::codes_for(Storage::kUint8, true, {2.0f, 5.1f}).zero_point == 0);
  CHECK(eden::codes_for(Storage::kUint8, true, {-4.0f, -1.0f}).zero_point == 255);
  CHECK(eden::codes_for(Storage::kUint8, false, {-9.0f, 2.55f}).scale == 2.55f / 255.0f);
  CHECK(eden::codes_for(Storage::kInt8SignMagnitude, false, {-6.35f, 2.0f}).scale ==
        6.35f / 127.0f);
  CHECK(eden::codes_for(Storage::kInt4, true, {0.0f, 0.0f}).scale == 0.0f);
  CHECK(eden::codes_for(Storage::kInt4, true, {0.0f, 0.0f}).zero_point == -8);
  for (const bool has_zero_point : {false, true}) {
    CHECK(std::isnan(eden::codes_for(Storage::kInt16, has_zero_point, {kNaN, kNaN}).scale));
  }
  constexpr float kLargest = std::numeric_limits<float>::max();
  CHECK(std::isfinite(eden::codes_for(Storage::kInt4, true, {-kLargest, kLargest}).scale));
}
