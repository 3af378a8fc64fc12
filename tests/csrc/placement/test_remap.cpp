// Do remapped operands meet the harm that is said, never more than before, and the least there is?
#include <algorithm>
#include <random>
#include <set>

#include "catch2.h"
#include "memory/storage/bit_harm.h"
#include "placement/remap.h"

using eden::RemapOperand;
using eden::WeakCell;
using eden::WordForm;

namespace {

constexpr uint64_t kUnit = 64;
constexpr int64_t kWindows = 1 << 16;

// One bit after another, of an operand that lies and is rotated so.
double harm_of(const std::vector<WeakCell>& cells, const WordForm& form, const RemapOperand& one,
               int64_t unit, const std::vector<uint8_t>& rotations) {
  const uint64_t width = form.zero.size();
  double found = 0.0;
  for (uint64_t bit = 0; bit < one.bits; ++bit) {
    const uint64_t turned = (bit % width + rotations[bit / kUnit]) % width;
    const uint64_t cell = static_cast<uint64_t>(unit) * kUnit + bit - bit % width + turned;
    for (const WeakCell& weak : cells) {
      if (weak.bit != cell) continue;
      found +=
          (weak.zero ? form.zero[bit % width] : 0.0) + (weak.one ? form.one[bit % width] : 0.0);
    }
  }
  return found * one.weight;
}

}  // namespace

TEST_CASE("remap: the harm is that of the bits, never more than before, and nothing overlaps") {
  const WordForm byte{{1, 4, 16, 64, 256, 1024, 4096, 9000}, {1, 4, 16, 64, 256, 1024, 4096, 3000}};
  const WordForm nibble{{1, 4, 16, 80}, {1, 4, 16, 80}}, flat{{5.0}, {5.0}};
  const std::vector<WordForm> forms{byte, nibble, flat};
  std::mt19937 random(5);
  for (int trial = 0; trial < 60; ++trial) {
    const auto units = static_cast<int64_t>(8 + random() % 24);
    // The last unit may be a part of one.
    const uint64_t capacity = static_cast<uint64_t>(units) * kUnit - 8 * (random() % 8);
    std::set<uint64_t> places;
    for (uint32_t i = 0; i < random() % 150; ++i) {
      places.insert(random() % capacity);
    }
    std::vector<WeakCell> cells;
    for (const uint64_t bit : places) cells.push_back({bit, bit % 3 != 0, bit % 3 != 1});
    std::vector<RemapOperand> operands;
    for (int64_t unit = static_cast<int64_t>(random() % 3); unit < units - 4;) {
      const uint64_t bits = 8 * (1 + random() % 24);  // 3 units at most
      operands.push_back({unit, bits, random() % 3, 0.5 + random() % 4});
      unit += static_cast<int64_t>((bits + kUnit - 1) / kUnit + random() % 4);
    }
    const eden::Remap found = eden::remap(cells, capacity, kUnit, forms, operands, kWindows);
    double before = 0.0, after = 0.0;
    std::set<int64_t> taken;
    for (size_t k = 0; k < operands.size(); ++k) {
      const RemapOperand& one = operands[k];
      const std::vector<uint8_t>& rotations = found.rotations[k];
      REQUIRE(rotations.size() == (one.bits + kUnit - 1) / kUnit);
      before +=
          harm_of(cells, forms[one.form], one, one.unit, std::vector<uint8_t>(rotations.size(), 0));
      after += harm_of(cells, forms[one.form], one, found.unit[k], rotations);
      for (size_t i = 0; i < rotations.size(); ++i) {
        CHECK(taken.insert(found.unit[k] + static_cast<int64_t>(i)).second);
      }
      CHECK(found.unit[k] >= 0);
      CHECK(static_cast<uint64_t>(found.unit[k]) * kUnit + one.bits <= capacity);
    }
    CHECK(found.before == Approx(before));
    CHECK(found.after == Approx(after));
    CHECK(found.after <= found.before);
  }
}

TEST_CASE("remap: one operand finds the place and the rotations of least harm") {
  const WordForm form{{1, 4, 16, 64}, {0, 0, 0, 0}};
  std::mt19937 random(6);
  for (int trial = 0; trial < 20; ++trial) {
    std::vector<WeakCell> cells;
    for (uint64_t bit = 0; bit < 10 * kUnit; ++bit) {
      if (random() % 8 == 0) cells.push_back({bit, true, false});
    }
    const RemapOperand one{3, 2 * kUnit, 0, 1.0};
    const eden::Remap found = eden::remap(cells, 10 * kUnit, kUnit, {form}, {one}, kWindows);
    double least = 1e300;
    for (int64_t unit = 0; unit < 9; ++unit) {
      for (uint8_t a = 0; a < 4; ++a) {
        for (uint8_t b = 0; b < 4; ++b) {
          least = std::min(least, harm_of(cells, form, one, unit, {a, b}));
        }
      }
    }
    CHECK(found.after == Approx(least));
  }
}

TEST_CASE("remap: what cannot be is refused by name") {
  const WordForm form{{1, 4}, {1, 4}};
  const auto with = [&](const std::vector<WeakCell>& cells, const WordForm& words,
                        const std::vector<RemapOperand>& operands) {
    return eden::remap(cells, 4 * kUnit, kUnit, {words}, operands, kWindows);
  };
  CHECK_THROWS_WITH(with({{4 * kUnit, true, true}}, form, {}),
                    Catch::Contains("a weak cell is 256"));
  CHECK_THROWS_WITH(with({{9, true, true}, {9, true, true}}, form, {}),
                    Catch::Contains("ascending"));
  CHECK_THROWS_WITH(with({}, {{1, 2, 3}, {1, 2, 3}}, {}), Catch::Contains("width of a word is 3"));
  CHECK_THROWS_WITH(with({}, form, {{3, 2 * kUnit, 0, 1.0}}),
                    Catch::Contains("begins with unit 3"));
  CHECK_THROWS_WITH(with({}, form, {{0, 2 * kUnit, 0, 1.0}, {1, kUnit, 0, 1.0}}),
                    Catch::Contains("overlap"));
}

TEST_CASE("remap: what a flip of a bit harms follows from the storage") {
  const eden::BitHarm codes = eden::bit_harm(eden::Storage::kUint8);
  REQUIRE(codes.zero.size() == 8);
  for (size_t bit = 1; bit < 8; ++bit) {
    CHECK(codes.zero[bit] + codes.one[bit] ==
          Approx(4.0 * (codes.zero[bit - 1] + codes.one[bit - 1])).epsilon(0.05));
  }
  const eden::BitHarm floats = eden::bit_harm(eden::Storage::kFloat32);
  // The sign, the exponent's bits and the highest of the mantissa, each above all of the lower
  // half.
  for (size_t high = 22; high < 32; ++high) {
    for (size_t low = 0; low < 16; ++low) {
      CHECK(floats.zero[high] + floats.one[high] > floats.zero[low] + floats.one[low]);
    }
  }
  CHECK(eden::bit_harm(eden::Storage::kFloat32Secded).zero.size() == 1);
}
