// Do the CUDA kernels that measure a tensor and clip gradients, run here in shuffled schedules
// (simt/simt.cpp), give the host's bits, for every type, layout of channels and alignment?
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "catch2.h"
#include "cuda_runtime.h"
#include "ops/cuda/measure.h"

namespace {

using eden::ChannelRows;
using eden::Codes;
using eden::Storage;
using eden::ValueRange;
using eden::ValueType;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

constexpr ChannelRows kLayouts[] = {{1, 1, 1},     {1, 1, 300},   {1, 1, 40000},
                                    {3, 3, 517},   {4, 12, 33},   {5, 5, 1},
                                    {300, 300, 2}, {2, 4, 17001}, {20, 20, 256}};

// Words of a type, which begin some elements behind a multiple of 16 bytes.
struct Values {
  std::vector<uint64_t> memory;
  ValueType type;
  int64_t count;
  int bytes;
  char* data;

  Values(ValueType of_type, int64_t of_count, int skip)
      : memory(static_cast<size_t>(of_count) * 4 / 8 + 8),
        type(of_type),
        count(of_count),
        bytes(eden::storage_bits(own_storage(of_type)) / 8),
        data(reinterpret_cast<char*>(memory.data())) {
    while (reinterpret_cast<uintptr_t>(data) % 16 != 0) ++data;
    data += skip * bytes;
  }
  void set(int64_t i, float value) {
    const uint32_t word = eden::visit_float(type, [&]<ValueType kType>() -> uint32_t {
      return eden::FormatOf<own_storage(kType)>::encode(value);
    });
    std::memcpy(data + i * bytes, &word, static_cast<size_t>(bytes));
  }
};

// Of about 1, with some that are not.
Values values(ValueType type, const ChannelRows& rows, int skip,
              const std::vector<float>& special) {
  Values x(type, rows.rows * rows.length, skip);
  for (int64_t i = 0; i < x.count; ++i) {
    x.set(i, static_cast<float>(i * 2654435761u % 4001) * 1e-3f - 2.0f);
  }
  for (size_t s = 0; s < special.size(); ++s) {
    x.set((static_cast<int64_t>(s) * 7919 + 5) % x.count, special[s]);
  }
  return x;
}

std::vector<ValueRange> host_ranges(const Values& x, const ChannelRows& rows) {
  std::vector<ValueRange> ranges(static_cast<size_t>(rows.channels), {kInfinity, -kInfinity});
  for (int64_t row = 0; row < rows.rows; ++row) {
    ValueRange& range = ranges[static_cast<size_t>(row % rows.channels)];
    range = joined(range, range_of(x.type, x.data + row * rows.length * x.bytes, rows.length));
  }
  return ranges;
}

struct Measured {
  std::vector<float> scale;
  std::vector<int32_t> zero_point;
  float bounds[2] = {};
  bool clipped = false;

  explicit Measured(const ChannelRows& rows)
      : scale(static_cast<size_t>(rows.channels)), zero_point(scale.size()) {}
  bool same(const Measured& other) const {
    return std::memcmp(scale.data(), other.scale.data(), scale.size() * sizeof(float)) == 0 &&
           zero_point == other.zero_point &&
           std::memcmp(bounds, other.bounds, sizeof(bounds)) == 0 && clipped == other.clipped;
  }
};

Measured by_host(const Values& x, const ChannelRows& rows, Storage storage, bool affine) {
  Measured measured(rows);
  ValueRange all{kInfinity, -kInfinity};
  const std::vector<ValueRange> ranges = host_ranges(x, rows);
  for (size_t c = 0; c < ranges.size(); ++c) {
    const Codes codes = codes_for(storage, affine, ranges[c]);
    measured.scale[c] = codes.scale;
    if (affine) measured.zero_point[c] = codes.zero_point;
    measured.clipped = measured.clipped || clips(storage, codes, affine, ranges[c]);
    all = joined(all, ranges[c]);
  }
  measured.bounds[0] = all.low;
  measured.bounds[1] = all.high;
  return measured;
}

Measured by_kernels(const Values& x, const ChannelRows& rows, Storage storage, bool affine) {
  Measured measured(rows);
  std::vector<float> ranges(static_cast<size_t>(2 * rows.channels * eden::cuda::parts_of(rows)));
  const eden::cuda::MeasuredCodes codes{measured.scale.data(),
                                        affine ? measured.zero_point.data() : nullptr,
                                        measured.bounds, &measured.clipped};
  REQUIRE(eden::cuda::measure(x.type, storage, x.data, rows, ranges.data(), codes, nullptr) ==
          cudaSuccess);
  return measured;
}

// How many bytes of the gradient differ from the host's, which knows the values that pass.
size_t differing(const Values& grad, const Values& x, const ChannelRows& rows,
                 const eden::cuda::DeviceClip& clip,
                 const std::vector<eden::PassingValues>& passing, int skip) {
  const Values out(x.type, x.count, skip);
  Values expected(x.type, x.count, 0);
  REQUIRE(eden::cuda::clip_gradient(x.type, clip, grad.data, x.data, rows, out.data, nullptr) ==
          cudaSuccess);
  for (int64_t row = 0; row < rows.rows; ++row) {
    const int64_t at = row * rows.length * x.bytes;
    eden::clip_gradient(x.type, grad.data + at, x.data + at, rows.length,
                        passing[static_cast<size_t>(row % rows.channels)], expected.data + at);
  }
  size_t found = 0;
  for (int64_t i = 0; i < x.count * x.bytes; ++i) found += out.data[i] != expected.data[i];
  return found;
}

}  // namespace

TEST_CASE("kernels measure what the host measures") {
  const std::vector<std::vector<float>> specials = {
      {}, {-0.0f, 0.0f}, {kInfinity}, {-kInfinity, 3.0f}, {kNaN}, {1e-38f, -3e38f, 3e38f}};
  const std::pair<Storage, bool> forms[] = {{Storage::kInt8, false},
                                            {Storage::kInt4, true},
                                            {Storage::kUint8, true},
                                            {Storage::kUint8, false},
                                            {Storage::kUint6Hamming, true}};
  int trial = 0;
  for (const ValueType type : {ValueType::kFloat32, ValueType::kFloat16, ValueType::kBFloat16}) {
    for (const ChannelRows& rows : kLayouts) {
      for (const auto& special : specials) {
        if (rows.channels > 256 && !special.empty()) continue;  // blocks for each of them
        const auto& [storage, affine] = forms[trial++ % 4];
        const Values x = values(type, rows, trial % 5, special);
        INFO("trial " << trial << ", " << rows.channels << " channels, " << rows.length);
        const bool same =
            by_kernels(x, rows, storage, affine).same(by_host(x, rows, storage, affine));
        REQUIRE(same);
      }
    }
  }
}

TEST_CASE("kernels clip gradients as the host does") {
  const std::vector<float> special = {kNaN,   kInfinity, -kInfinity, 0.0f,   -0.0f,
                                      0.635f, -0.645f,   0.25f,      -0.25f, 1e30f};
  const float scales[] = {0.005f, 0.0f, 1.0f, kNaN, 0.01f, kInfinity, -0.002f};
  int trial = 0;
  for (const ValueType type : {ValueType::kFloat32, ValueType::kFloat16, ValueType::kBFloat16}) {
    for (const ChannelRows& rows : kLayouts) {
      for (const Storage storage :
           {Storage::kInt8, Storage::kUint8, Storage::kInt6SignMagnitudeHamming, Storage::kSign}) {
        const int skip = trial % 4, other = trial % 3 == 0 ? skip : 1;
        const Values x = values(type, rows, skip, special), grad = values(type, rows, other, {});
        const bool affine = storage == Storage::kUint8;
        std::vector<float> scale;
        std::vector<int32_t> zero_point;
        std::vector<eden::PassingValues> passing;
        for (int64_t c = 0; c < rows.channels; ++c) {
          scale.push_back(scales[(trial + c) % 7]);
          zero_point.push_back(static_cast<int32_t>(trial * 37 + c * 101) % 300 - 20);
          passing.push_back(passing_values(storage, {scale.back(), zero_point.back()}, affine));
        }
        const eden::cuda::DeviceClip clip{storage, scale.data(),
                                          affine ? zero_point.data() : nullptr, nullptr};
        INFO("trial " << trial << ", " << rows.channels << " channels, " << rows.length);
        REQUIRE(differing(grad, x, rows, clip, passing, other) == 0);
        ++trial;
      }
      const ChannelRows one{1, 1, rows.rows * rows.length};
      const Values x = values(type, one, 0, special), grad = values(type, one, 0, {});
      const float bounds[2] = {-0.645f, 0.635f}, none[2] = {kNaN, kNaN};
      REQUIRE(differing(grad, x, one, {Storage::kFloat32, nullptr, nullptr, bounds},
                        {{bounds[0], bounds[1]}}, 0) == 0);
      const Values kept(type, one.length, 0);
      REQUIRE(eden::cuda::clip_gradient(type, {Storage::kFloat32, nullptr, nullptr, none},
                                        grad.data, x.data, one, kept.data, nullptr) == cudaSuccess);
      REQUIRE(std::memcmp(kept.data, grad.data, static_cast<size_t>(x.count * x.bytes)) == 0);
    }
  }
}

#if !defined(__SANITIZE_THREAD__)
TEST_CASE("barriers that are missing where a tensor is measured are seen") {
  const ChannelRows rows{40, 40, 300};
  const Values x = values(ValueType::kFloat32, rows, 0, {5.0f, kNaN});
  const Measured expected = by_host(x, rows, Storage::kInt8, false);
  simt::barriers.clear();
  REQUIRE(by_kernels(x, rows, Storage::kInt8, false).same(expected));
  const std::set<int> barriers = simt::barriers;
  REQUIRE(barriers.size() == 2);
  for (const int line : barriers) {
    simt::plant.missing_barrier = line;
    bool seen = false;
    for (int schedule = 0; schedule < 20 && !seen; ++schedule) {
      try {
        seen = !by_kernels(x, rows, Storage::kInt8, false).same(expected);
      } catch (const simt::Stuck&) {
        seen = true;
      }
    }
    simt::plant.missing_barrier = 0;
    INFO("line " << line);
    CHECK(seen);
  }
}
#endif
