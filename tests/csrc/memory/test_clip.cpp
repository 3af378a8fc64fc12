// Does the gradient stop exactly where a code, rounded as the operator rounds it, leaves its range?
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "catch2.h"
#include "memory/storage/clip.h"

namespace {

using eden::Codes;
using eden::PassingValues;
using eden::Storage;
using eden::ValueType;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// With the library's rounding, in the current mode: to nearest, halves to even.
bool passes(float value, Storage storage, Codes codes, bool has_zero_point) {
  if (storage == Storage::kSign) return std::fabs(value) <= codes.scale;
  has_zero_point = has_zero_point && eden::can_have_zero_point(storage);
  const eden::CodeEnds ends = eden::code_ends(storage, has_zero_point);
  const float ratio = value / (codes.scale == 0.0f ? 1.0f : codes.scale);
  const auto point = static_cast<float>(has_zero_point ? ends.clamped(codes.zero_point) : 0);
  const float code = std::nearbyint(ratio) + point;
  return code >= static_cast<float>(ends.lowest) && code <= static_cast<float>(ends.highest);
}

bool inside(float value, PassingValues passing) {
  return value >= passing.low && value <= passing.high;
}

}  // namespace

TEST_CASE("the values that pass end where their codes do, to the last bit") {
  const float scales[] = {1.0f,  0.1f,  3.0f,   0.0f, 1e-3f,     1.7e-38f,  3e-44f,
                          1e30f, 3e38f, -0.25f, kNaN, kInfinity, -kInfinity};
  for (const Storage storage :
       {Storage::kInt16, Storage::kInt8, Storage::kUint8, Storage::kInt4,
        Storage::kInt16SignMagnitude, Storage::kInt8SignMagnitude, Storage::kInt4SignMagnitude}) {
    for (const bool has_zero_point : {false, true}) {
      for (const int32_t point : {0, 1, -3, 7, 100, -100000, 100000}) {
        for (const float scale : scales) {
          const Codes codes{scale, point};
          const PassingValues passing = eden::passing_values(storage, codes, has_zero_point);
          std::vector<float> values = {0.0f,   -0.0f,     1.0f,       -1.0f, 1e38f,
                                       -1e38f, kInfinity, -kInfinity, kNaN};
          for (const float end : {passing.low, passing.high}) {
            for (const float way : {-kInfinity, kInfinity}) {
              float value = end;
              for (int step = 0; step < 3; ++step) {
                values.push_back(value);
                value = std::nextafter(value, way);
              }
            }
          }
          for (const float value : values) {
            INFO(static_cast<int64_t>(storage)
                 << " " << has_zero_point << " " << point << " " << scale << " " << value);
            REQUIRE(inside(value, passing) == passes(value, storage, codes, has_zero_point));
            const eden::ValueRange range{value, value};
            REQUIRE(eden::clips(storage, codes, has_zero_point, range) ==
                    !passes(value, storage, codes, has_zero_point));
          }
        }
      }
    }
  }
  for (const float limit : {1.0f, 0.0f, -1.0f, kNaN}) {
    const PassingValues passing = eden::passing_values(Storage::kSign, {limit, 0}, false);
    for (const float value : {0.0f, 1.0f, -1.0f, std::nextafter(1.0f, 2.0f), kNaN, kInfinity}) {
      CHECK(inside(value, passing) == passes(value, Storage::kSign, {limit, 0}, false));
    }
  }
}

TEST_CASE("a gradient keeps its bits where values pass, and is 0 elsewhere") {
  // Longer than a block of the search, with the only value outside at any place.
  const PassingValues passing{-2.0f, 2.0f};
  std::vector<float> x(9001, 1.5f), grad(x.size()), out(x.size(), 7.0f);
  for (size_t i = 0; i < grad.size(); ++i) grad[i] = i % 2 == 0 ? -0.0f : static_cast<float>(i);
  grad[5] = kNaN;
  const auto count = static_cast<int64_t>(x.size());
  CHECK_FALSE(eden::any_outside(ValueType::kFloat32, x.data(), count, passing));
  for (const size_t place : {size_t{0}, size_t{4095}, size_t{4096}, size_t{9000}}) {
    for (const float value : {2.5f, -2.5f, kNaN}) {
      x[place] = value;
      CHECK(eden::any_outside(ValueType::kFloat32, x.data(), count, passing));
      CHECK_FALSE(
          eden::any_outside(ValueType::kFloat32, x.data(), static_cast<int64_t>(place), passing));
      eden::clip_gradient(ValueType::kFloat32, grad.data(), x.data(), count, passing, out.data());
      std::vector<float> expected = grad;
      expected[place] = 0.0f;
      CHECK(std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)) == 0);
      x[place] = 1.5f;
    }
  }
}

TEST_CASE("gradients of 16 bits are clipped by what their values are") {
  const PassingValues passing{-2.0f, 2.0f};
  // 2, the next number above, -2, NaN, and 0, as float16 and as bfloat16.
  const std::vector<std::vector<uint16_t>> x = {{0x4000, 0x4001, 0xc000, 0x7e00, 0},
                                                {0x4000, 0x4001, 0xc000, 0x7fc0, 0}};
  const std::vector<uint16_t> grad = {1, 2, 0x8000, 4, 5};
  const ValueType types[] = {ValueType::kFloat16, ValueType::kBFloat16};
  for (size_t t = 0; t < 2; ++t) {
    std::vector<uint16_t> out(5);
    eden::clip_gradient(types[t], grad.data(), x[t].data(), 5, passing, out.data());
    CHECK((out == std::vector<uint16_t>{1, 0, 0x8000, 0, 5}));
    CHECK(eden::any_outside(types[t], x[t].data(), 2, passing));
    CHECK_FALSE(eden::any_outside(types[t], x[t].data(), 1, passing));
  }
}
