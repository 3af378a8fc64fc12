// Are the rates met, do weak cells nest, and do all ways through the arithmetic give the same
// flips?
#include <cmath>
#include <cstring>
#include <numeric>
#include <set>
#include <vector>

#include "catch2.h"
#include "core/corrupt.h"
#include "core/tile.h"

namespace {

using eden::Load;

Load make_load(double ber_zero, double ber_one, double failure, uint64_t address = 0,
               eden::Correction correction = eden::Correction::kNone) {
  Load load;
  load.region = eden::unpack_region(
      eden::make_region(ber_zero, ber_one, failure, address, correction).data());
  return load;
}

template <class Codec>
std::vector<typename Codec::Value> on_host(const Load& load,
                                           const std::vector<typename Codec::Value>& in,
                                           int64_t pieces_at_once = 1 << 20) {
  std::vector<typename Codec::Value> out(in.size());
  const eden::LoadWork<Codec> work(load, in.data(), out.data());
  for (int64_t piece = 0; piece < work.pieces(); piece += pieces_at_once) {
    work.run(piece, std::min(piece + pieces_at_once, work.pieces()));
  }
  return out;
}

// What the CUDA kernel does, its threads one after another.
template <class Codec>
std::vector<typename Codec::Value> as_device(const Load& load,
                                             const std::vector<typename Codec::Value>& in,
                                             int threads) {
  std::vector<typename Codec::Value> out(in.size());
  std::vector<uint32_t> zero(eden::kTileMaskWords), one(eden::kTileMaskWords);
  const eden::TileMasks masks{zero.data(), one.data()};
  constexpr int64_t kTileElements = eden::kTileCells / Codec::kWidthBits;
  for (int64_t first = 0; first < load.shape.sample_size(); first += kTileElements) {
    const int64_t last = std::min(first + kTileElements, load.shape.sample_size());
    const eden::TileSpan span{
        load.region.address + static_cast<uint64_t>(first) * Codec::kWidthBits,
        load.region.address + static_cast<uint64_t>(last) * Codec::kWidthBits};
    for (int t = 0; t < threads; ++t) eden::tile_dense(load, span, masks, t, threads);
    for (int t = 0; t < threads; ++t) {
      eden::tile_sparse(load, span, masks, t, threads,
                        [](uint32_t* word, uint32_t bits) { *word |= bits; });
    }
    for (int64_t sample = 0; sample < load.shape.batch; ++sample) {
      for (int t = 0; t < threads; ++t) {
        eden::tile_elements<Codec>(load, span, masks, sample, first, last, in.data(), out.data(), t,
                                   threads);
      }
    }
  }
  return out;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

std::vector<int8_t> pattern(size_t size) {
  std::vector<int8_t> values(size);
  for (size_t i = 0; i < size; ++i) values[i] = static_cast<int8_t>((i * 2654435761u) >> 13);
  return values;
}

int64_t flips(const std::vector<int8_t>& a, const std::vector<int8_t>& b) {
  int64_t count = 0;
  for (size_t i = 0; i < a.size(); ++i)
    count += __builtin_popcount(static_cast<uint8_t>(a[i] ^ b[i]));
  return count;
}

}  // namespace

TEST_CASE("the Poisson table is the distribution function of mean 8") {
  long double term = std::exp(-8.0L), sum = 0.0L;
  for (int k = 0; k < eden::kPoissonTableSize - 6; ++k) {
    sum += term;
    term *= 8.0L / (k + 1);
    CHECK(std::abs(static_cast<long double>(eden::kPoissonTable[k]) / 18446744073709551616.0L -
                   sum) < 1e-17L);
  }
  CHECK(eden::poisson_count(0) == 0);
  CHECK(eden::poisson_count(eden::kPoissonTable[0] - 1) == 0);
  CHECK(eden::poisson_count(eden::kPoissonTable[0]) == 1);
  CHECK(eden::poisson_count(~uint64_t{0}) == eden::kPoissonTableSize - 1);
}

TEST_CASE("thresholds grow with the rate and join at the octaves") {
  uint64_t last_sparse = 0, last_dense = 0;
  for (double exponent = -14.0; exponent <= 0.0; exponent += 0.01) {
    const auto region = make_load(std::pow(10.0, exponent), 0.0, 1.0).region;
    CHECK(region.sparse[0] >= last_sparse);
    CHECK(region.dense[0] >= last_dense);
    last_sparse = region.sparse[0];
    last_dense = region.dense[0];
  }
  CHECK(last_sparse == eden::kMaxSparseCode);
  CHECK(make_load(1.0, 0.0, 1.0).region.dense[0] == eden::kAlways);
  CHECK(make_load(0.0, 0.0, 1.0).region.sparse[0] == 0);
  // -ln(1 - P) = 2^-10 is the lower end of level 9: its octave counted from below, position 0.
  const auto region = make_load(-std::expm1(-std::ldexp(1.0, -10)), 0.0, 1.0).region;
  const uint64_t expected = static_cast<uint64_t>(eden::kLastLevel - 9) << eden::kCodeOctaveShift;
  CHECK(std::llabs(static_cast<int64_t>(region.sparse[0] - expected)) <= 1);
}

TEST_CASE("a rate outside [0, failure] is refused by name") {
  CHECK_THROWS_WITH(make_load(-0.1, 0.0, 1.0), Catch::Contains("ber_zero"));
  CHECK_THROWS_WITH(make_load(0.0, 0.6, 0.5), Catch::Contains("ber_one"));
  CHECK_THROWS_WITH(make_load(0.0, std::nan(""), 1.0), Catch::Contains("ber_one"));
  CHECK_THROWS_WITH(make_load(0.0, 0.0, 0.0), Catch::Contains("failure"));
}

TEST_CASE("realized flips are binomial at every rate and stored value") {
  // 40 counts, each within 5 standard deviations: a false alarm in 2.3e-5 of all seeds.
  const auto zeros = std::vector<int8_t>(1 << 18, 0), ones = std::vector<int8_t>(1 << 18, -1);
  const double cells = 8.0 * static_cast<double>(zeros.size());
  for (const double failure : {1.0, 0.75}) {
    for (const double ber : {1e-5, 1e-4, 1e-3, 1e-2, 0.06, 0.07, 0.2, 0.5, 0.7}) {
      Load load = make_load(ber, ber / 2, failure);
      load.chip = 12345;
      load.shape.inner = static_cast<int64_t>(zeros.size());
      for (const double rate : {ber, ber / 2}) {
        const auto& in = rate == ber ? zeros : ones;
        const double expected = rate * cells, deviation = std::sqrt(expected * (1.0 - rate));
        CHECK(std::abs(static_cast<double>(flips(in, on_host<eden::Int8Codec>(load, in))) -
                       expected) < 5 * deviation);
      }
    }
  }
  Load always = make_load(1.0, 1.0, 1.0);
  always.shape.inner = static_cast<int64_t>(zeros.size());
  CHECK(flips(zeros, on_host<eden::Int8Codec>(always, zeros)) == static_cast<int64_t>(cells));
  Load never = make_load(0.0, 0.0, 1.0);
  never.shape.inner = static_cast<int64_t>(zeros.size());
  CHECK(same_bits(zeros, on_host<eden::Int8Codec>(never, zeros)));
}

TEST_CASE("a higher rate or failure probability only adds flips") {
  const auto in = pattern(1 << 16);
  for (const double failure : {1.0, 0.8}) {
    std::vector<int8_t> last = in;
    for (const double ber :
         {1e-6, 1e-4, 1.1e-4, 1e-3, 1.9e-3, 2.1e-3, 0.05, 0.061, 0.1, 0.3, 0.8}) {
      Load load = make_load(ber, ber / 3, failure, 4096);
      load.shape.inner = static_cast<int64_t>(in.size());
      load.chip = 7;
      const auto out = on_host<eden::Int8Codec>(load, in);
      for (size_t i = 0; i < in.size(); ++i) REQUIRE((~(out[i] ^ in[i]) & (last[i] ^ in[i])) == 0);
      last = out;
    }
  }
  std::vector<int8_t> last = in;
  for (const double failure : {0.1, 0.5, 0.9, 1.0}) {  // the same weak cells, failing more and more
    Load load = make_load(0.1 * failure, 0.1 * failure, failure);
    load.shape.inner = static_cast<int64_t>(in.size());
    load.access = 3;
    const auto out = on_host<eden::Int8Codec>(load, in);
    for (size_t i = 0; i < in.size(); ++i) REQUIRE((~(out[i] ^ in[i]) & (last[i] ^ in[i])) == 0);
    last = out;
  }
}

TEST_CASE("failures differ between accesses, weak cells do not") {
  const auto in = pattern(1 << 15);
  for (const double ber : {0.02, 0.1}) {  // sparse, and with a dense part
    std::vector<uint8_t> ever(in.size(), 0);
    Load load = make_load(ber, ber, 0.5);
    load.shape.inner = static_cast<int64_t>(in.size());
    for (uint64_t access = 0; access < 40; ++access) {
      load.access = access | (access << 33);  // the high half of the number counts too
      const auto out = on_host<eden::Int8Codec>(load, in);
      for (size_t i = 0; i < in.size(); ++i) ever[i] |= static_cast<uint8_t>(out[i] ^ in[i]);
    }
    Load persistent = make_load(2 * ber, 2 * ber, 1.0);
    persistent.shape.inner = load.shape.inner;
    const auto weak = on_host<eden::Int8Codec>(persistent, in);
    int64_t missed = 0;
    for (size_t i = 0; i < in.size(); ++i) {
      const auto weak_bits = static_cast<uint8_t>(weak[i] ^ in[i]);
      REQUIRE((ever[i] & ~weak_bits) == 0);
      missed += __builtin_popcount(weak_bits & ~ever[i]);
    }
    CHECK(missed == 0);  // a weak cell escapes 40 reads with probability 2^-40
  }
}

TEST_CASE("the device's way and the host's give the same bits") {
  for (const double failure : {1.0, 0.6}) {
    for (const double ber : {1e-6, 1e-3, 0.03, 0.15, 0.5}) {
      for (const uint64_t address :
           {uint64_t{0}, uint64_t{32}, (uint64_t{5} << 40) + 8 * 100 * 4}) {
        Load load = make_load(ber, ber / 2, failure, address);
        load.chip = 99;
        load.access = 5;
        for (const eden::LoadShape shape :
             {eden::LoadShape{1, 1, 100003}, eden::LoadShape{1, 5, 9000},
              eden::LoadShape{7, 3, 1111}, eden::LoadShape{1, 1, 1}}) {
          load.shape = shape;
          const auto in = pattern(static_cast<size_t>(shape.sample_size() * shape.batch));
          const auto expected = on_host<eden::Int8Codec>(load, in);
          REQUIRE(same_bits(expected, as_device<eden::Int8Codec>(load, in, 256)));
          REQUIRE(same_bits(expected, as_device<eden::Int8Codec>(load, in, 33)));
          REQUIRE(same_bits(expected, on_host<eden::Int8Codec>(load, in, 1)));
        }
      }
    }
  }
}

TEST_CASE("quantized and corrected values are the same both ways") {
  std::vector<float> in(30000);
  for (size_t i = 0; i < in.size(); ++i) in[i] = std::sin(static_cast<float>(i)) * 3.0f;
  in[5] = std::nanf("");
  in[6] = INFINITY;
  in[7] = -INFINITY;
  for (const auto correction :
       {eden::Correction::kNone, eden::Correction::kZero, eden::Correction::kClamp}) {
    Load load = make_load(0.01, 0.02, 1.0, 64, correction);
    load.shape = {1, 3, 10000};
    load.scale = 3.0f / 127.0f;
    load.low = -2.0f;
    load.high = 2.5f;
    CHECK(same_bits(on_host<eden::QuantizedInt8Codec>(load, in),
                    as_device<eden::QuantizedInt8Codec>(load, in, 64)));
    const auto out = on_host<eden::Float32Codec>(load, in);
    CHECK(same_bits(out, as_device<eden::Float32Codec>(load, in, 64)));
    if (correction != eden::Correction::kNone) {
      for (const float value : out) REQUIRE((value >= load.low && value <= load.high));
    }
  }
}

TEST_CASE("in place gives the same bits, a NaN keeps its payload") {
  std::vector<float> values(5000);
  const uint32_t signalling = 0x7f801234u;
  for (float& value : values) std::memcpy(&value, &signalling, 4);
  Load load = make_load(0.03, 0.2, 1.0);
  load.shape.inner = static_cast<int64_t>(values.size());
  const auto expected = on_host<eden::Float32Codec>(load, values);
  Load reliable = make_load(0.0, 0.0, 1.0);
  reliable.shape = load.shape;
  CHECK(same_bits(values, on_host<eden::Float32Codec>(reliable, values)));
  eden::LoadWork<eden::Float32Codec>(load, values.data(), values.data()).run(0, 1);
  CHECK(same_bits(expected, values));
}

TEST_CASE("int8 codes round half to even, saturate and store NaN as 0") {
  const auto code = [](float value, float scale) {
    return static_cast<int>(static_cast<int8_t>(eden::QuantizedInt8Codec::encode(value, scale)));
  };
  CHECK(code(0.5f, 1.0f) == 0);
  CHECK(code(1.5f, 1.0f) == 2);
  CHECK(code(-2.5f, 1.0f) == -2);
  CHECK(code(-1e30f, 1.0f) == -127);
  CHECK(code(INFINITY, 1.0f) == 127);
  CHECK(code(std::nanf(""), 1.0f) == 0);
  CHECK(eden::QuantizedInt8Codec::decode(0x80, 0.5f) == -64.0f);
}

TEST_CASE("the ends of a range stay plausible after quantization") {
  int checked = 0;
  for (float high = 0.5f; high < 3.0f; high += 0.001f) {
    Load load = make_load(0.0, 0.0, 1.0, 0, eden::Correction::kZero);
    const float scale = high / 127.0f;
    const float bounds[2] = {-high / 3, high};
    eden::set_range<eden::QuantizedInt8Codec>(load, &scale, bounds);
    const std::vector<float> in = {high, 2 * high, -high / 3, -high};
    load.shape.inner = static_cast<int64_t>(in.size());
    const auto out = on_host<eden::QuantizedInt8Codec>(load, in);
    REQUIRE(out[0] == Approx(high));
    REQUIRE(out[1] == out[0]);
    REQUIRE(out[2] == Approx(-high / 3).epsilon(0.02));
    REQUIRE(out[3] == 0.0f);
    checked += eden::QuantizedInt8Codec::decode(127, scale) > high;
  }
  CHECK(checked > 0);  // the rounding that this is about does happen
  Load zeros = make_load(0.0, 0.0, 1.0);
  const float scale = 0.0f;
  eden::set_range<eden::QuantizedInt8Codec>(zeros, &scale, nullptr);
  CHECK(zeros.scale == 1.0f);
}

TEST_CASE("chips of different purposes and numbers differ") {
  std::set<uint64_t> chips;
  for (const auto purpose : {eden::ChipPurpose::kTraining, eden::ChipPurpose::kSearch,
                             eden::ChipPurpose::kConfirmation, eden::ChipPurpose::kEvaluation}) {
    for (uint64_t index = 0; index < 1000; ++index)
      chips.insert(eden::derive_chip(1, purpose, index));
  }
  CHECK(chips.size() == 4000);
}
