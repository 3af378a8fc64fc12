// Are the rates met, do weak cells nest, and are flips functions of cell, chip and access alone?
#include <array>
#include <cmath>
#include <cstring>
#include <iterator>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "base/drawn_chips.h"
#include "catch2.h"
#include "memory/corrupt/load_work.h"
#include "memory/weak_cells.h"

namespace {

using eden::Storage;
using eden::ValueType;

// A load that owns its region's row.
struct Load : eden::Load {
  std::array<int64_t, eden::kRegionFields> fields;

  Load(double ber_zero, double ber_one, double failure, uint64_t address, eden::Correction how)
      : fields(eden::make_region(ber_zero, ber_one, failure, address, how)) {
    conversion.correction = how;
  }
  eden::Region row() const { return eden::unpack_region(fields.data()); }
};

Load make_load(double ber_zero, double ber_one, double failure, uint64_t address = 0,
               eden::Correction correction = eden::Correction::kNone) {
  return {ber_zero, ber_one, failure, address, correction};
}

eden::LoadWork work_of(const Load& load, ValueType value, Storage storage, const void* in,
                       void* out) {
  eden::Load plain = load;
  plain.regions = load.fields.data();
  plain.region_count = 1;
  return {plain, value, storage, in, out};
}

template <class T>
std::vector<T> on_host(const Load& load, const std::vector<T>& in, int64_t pieces_at_once = 1 << 20,
                       Storage storage = Storage::kFloat32) {
  constexpr bool kIsFloat = std::is_same_v<T, float>;
  std::vector<T> out(in.size());
  const auto work = work_of(load, kIsFloat ? ValueType::kFloat32 : ValueType::kInt8,
                            kIsFloat ? storage : Storage::kInt8, in.data(), out.data());
  for (int64_t piece = 0; piece < work.pieces(); piece += pieces_at_once) {
    work.run(piece, std::min(piece + pieces_at_once, work.pieces()));
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
    const auto region = make_load(std::pow(10.0, exponent), 0.0, 1.0).row();
    CHECK(region.sparse[0] >= last_sparse);
    CHECK(region.dense[0] >= last_dense);
    last_sparse = region.sparse[0];
    last_dense = region.dense[0];
  }
  CHECK(last_sparse == eden::kMaxSparseCode);
  CHECK(make_load(1.0, 0.0, 1.0).row().dense[0] == eden::kAlways);
  CHECK(make_load(0.0, 0.0, 1.0).row().sparse[0] == 0);
  // -ln(1 - P) = 2^-10 is the lower end of level 9: its octave counted from below, position 0.
  const auto region = make_load(-std::expm1(-std::ldexp(1.0, -10)), 0.0, 1.0).row();
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
        CHECK(std::abs(static_cast<double>(flips(in, on_host(load, in))) - expected) <
              5 * deviation);
      }
    }
  }
  Load always = make_load(1.0, 1.0, 1.0);
  always.shape.inner = static_cast<int64_t>(zeros.size());
  CHECK(flips(zeros, on_host(always, zeros)) == static_cast<int64_t>(cells));
  Load never = make_load(0.0, 0.0, 1.0);
  never.shape.inner = static_cast<int64_t>(zeros.size());
  CHECK(same_bits(zeros, on_host(never, zeros)));
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
      const auto out = on_host(load, in);
      for (size_t i = 0; i < in.size(); ++i) REQUIRE((~(out[i] ^ in[i]) & (last[i] ^ in[i])) == 0);
      last = out;
    }
  }
  std::vector<int8_t> last = in;
  for (const double failure : {0.1, 0.5, 0.9, 1.0}) {  // the same weak cells, failing more and more
    Load load = make_load(0.1 * failure, 0.1 * failure, failure);
    load.shape.inner = static_cast<int64_t>(in.size());
    load.access = 3;
    const auto out = on_host(load, in);
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
      const auto out = on_host(load, in);
      for (size_t i = 0; i < in.size(); ++i) ever[i] |= static_cast<uint8_t>(out[i] ^ in[i]);
    }
    Load persistent = make_load(2 * ber, 2 * ber, 1.0);
    persistent.shape.inner = load.shape.inner;
    const auto weak = on_host(persistent, in);
    int64_t missed = 0;
    for (size_t i = 0; i < in.size(); ++i) {
      const auto weak_bits = static_cast<uint8_t>(weak[i] ^ in[i]);
      REQUIRE((ever[i] & ~weak_bits) == 0);
      missed += __builtin_popcount(weak_bits & ~ever[i]);
    }
    CHECK(missed == 0);  // a weak cell escapes 40 reads with probability 2^-40
  }
}

TEST_CASE("in place gives the same bits, a NaN keeps its payload") {
  std::vector<float> values(5000);
  const uint32_t signalling = 0x7f801234u;
  for (float& value : values) std::memcpy(&value, &signalling, 4);
  Load load = make_load(0.03, 0.2, 1.0);
  load.shape.inner = static_cast<int64_t>(values.size());
  const auto expected = on_host(load, values);
  Load reliable = make_load(0.0, 0.0, 1.0);
  reliable.shape = load.shape;
  CHECK(same_bits(values, on_host(reliable, values)));
  const auto in_place =
      work_of(load, ValueType::kFloat32, Storage::kFloat32, values.data(), values.data());
  in_place.run(0, in_place.pieces());
  CHECK(same_bits(expected, values));
}

TEST_CASE("the ends of a range stay plausible after quantization") {
  int checked = 0;
  for (float high = 0.5f; high < 3.0f; high += 0.001f) {
    Load load = make_load(0.0, 0.0, 1.0, 0, eden::Correction::kZero);
    const float scale = high / 127.0f;
    load.conversion.scale = &scale;
    load.conversion.low = -high / 3;
    load.conversion.high = high;
    const std::vector<float> in = {high, 2 * high, -high / 3, -high};
    load.shape.inner = static_cast<int64_t>(in.size());
    const auto out = on_host(load, in, 1, Storage::kInt8);
    REQUIRE(out[0] == Approx(high));
    REQUIRE(out[1] == out[0]);
    REQUIRE(out[2] == Approx(-high / 3).epsilon(0.02));
    REQUIRE(out[3] == 0.0f);
    checked += 127.0f * scale > high;
  }
  CHECK(checked > 0);  // the rounding that this is about does happen
}

TEST_CASE("chips say what they were drawn for, and those of one seed and purpose differ") {
  std::set<uint64_t> chips;
  for (uint32_t of = 1; of < std::size(eden::kChipPurposes); ++of) {
    const auto purpose = static_cast<eden::ChipPurpose>(of);
    for (const uint64_t seed : {uint64_t{0}, uint64_t{1}, ~uint64_t{0}, uint64_t{5} << 60}) {
      for (uint64_t k = 0; k < 1000; ++k) {
        const uint64_t index = k < 500 ? k : eden::kChips - k;
        const uint64_t chip = eden::derive_chip(seed, purpose, index);
        CHECK(std::string(eden::purpose_of(chip)) == eden::name_of(purpose));
        chips.insert(chip);
      }
    }
  }
  CHECK(chips.size() == 4000 * (std::size(eden::kChipPurposes) - 1));
  for (const uint64_t by_hand :
       {uint64_t{0}, eden::kChips - 1, ~uint64_t{0}, ~(eden::kChips - 1)}) {
    CHECK(std::string(eden::purpose_of(by_hand)).empty());
  }
}
