// Is every bit of an operand in planes read from its plane's cell, whatever finds the flips? And
// are planes that cannot be followed refused?
#include <bit>
#include <cstring>
#include <vector>

#include "catch2.h"
#include "memory/corrupt/load_work.h"
#include "memory/corrupt/reference.h"

namespace {

using eden::Storage;
using eden::ValueType;

std::vector<uint8_t> pattern(size_t size) {
  std::vector<uint8_t> values(size);
  for (size_t i = 0; i < size; ++i) values[i] = static_cast<uint8_t>((i * 2654435761u) >> 13);
  return values;
}

std::vector<int64_t> row_of(double zero, double one, double failure, uint64_t address, uint64_t end,
                            uint32_t plane) {
  const auto fields = eden::make_region(zero, one, failure, address, eden::Correction::kNone);
  std::vector<int64_t> row(fields.begin(), fields.end());
  row[eden::kEnd] = static_cast<int64_t>(end);
  row[eden::kCorrection] |= std::bit_cast<int64_t>(uint64_t{plane} << eden::kPlaneShift);
  return row;
}

struct Rows {
  std::vector<int64_t> rows, table;

  void add(const std::vector<int64_t>& row) { rows.insert(rows.end(), row.begin(), row.end()); }
  void in(eden::Load& load) const {
    load.regions = rows.data();
    load.region_count = static_cast<int64_t>(rows.size()) / eden::kRegionFields;
    load.table = table.data();
    load.table_size = static_cast<int64_t>(table.size());
  }
};

// The lowest plane in cells of their own, the middle one in bitlines and then a map, and a reliable
// highest bit; places that no element's bits divide.
Rows planes_of(uint32_t low, uint32_t middle, uint32_t high, double rate, double failure) {
  Rows found;
  for (size_t i = 0; i < 300; ++i) {
    const auto weak = eden::weak_thresholds(rate * static_cast<double>(i % 5));
    found.table.push_back(static_cast<int64_t>(weak.sparse));
    found.table.push_back(static_cast<int64_t>(weak.dense));
  }
  const size_t lines = found.table.size();
  for (uint64_t cell = 90000; cell < 96000; cell += 17) {
    found.table.push_back(static_cast<int64_t>(cell << eden::kMapFlagBits) |
                          static_cast<int64_t>(1 + cell % 3));
  }
  if (high != 0) found.add(row_of(0.0, 0.0, 1.0, 77, eden::kEndless, high));
  auto bitline = row_of(0.0, 0.0, failure, 128 * 5 + 3, 701, middle);
  bitline[eden::kModel] = static_cast<int64_t>(eden::ModelKind::kBitline);
  bitline[eden::kTableKind] = static_cast<int64_t>(eden::TableKind::kMeasured);
  bitline[eden::kTableLength] = 300;
  bitline[eden::kRowBits] = 128;
  bitline[eden::kSubarrayRows] = 32;
  found.add(bitline);
  auto map = row_of(0.0, 0.0, failure, 90001, eden::kEndless, middle);
  map[eden::kModel] = static_cast<int64_t>(eden::ModelKind::kMap);
  map[eden::kTableFirst] = static_cast<int64_t>(lines);
  map[eden::kTableLength] = static_cast<int64_t>(found.table.size() - lines);
  found.add(map);
  found.add(row_of(rate, 3 * rate, failure, (uint64_t{1} << 40) + 1, eden::kEndless, low));
  return found;
}

// Finds the planes in `parts` steps, and runs the pieces.
void run(const eden::LoadWork& work, int64_t parts, const eden::KeptLoad* kept,
         eden::KeptLoad* wanted) {
  eden::PlaneFlips flips = work.plane_flips();
  for (int64_t part = parts; part-- > 0;) {
    work.find_planes(work.patches() * part / parts, work.patches() * (part + 1) / parts, kept,
                     wanted, flips);
  }
  work.run_planes(0, work.pieces(), flips);
}

void check(const Rows& rows, ValueType value, Storage storage, const eden::LoadShape& shape) {
  const auto bytes = static_cast<size_t>(eden::storage_bits(eden::own_storage(value)) / 8);
  const auto in = pattern(static_cast<size_t>(shape.sample_size() * shape.batch) * bytes);
  const float scale = 0x1p-4f;
  eden::Load load;
  load.chip = 77;
  load.access = 3;
  load.shape = shape;
  load.conversion.scale = &scale;
  rows.in(load);
  auto expected = in;
  eden::corrupt_cell_by_cell(load, value, storage, in.data(), expected.data());
  CHECK(expected != in);
  for (const char* name : {"baseline", "avx2", "avx512", "neon"}) {
    const eden::simd::Kernels* kernels = eden::simd::kernels_of(name);
    if (kernels == nullptr) continue;
    auto out = in, in_place = in, again = in;
    const eden::LoadWork work(load, value, storage, in.data(), out.data(), *kernels);
    run(work, 2, nullptr, nullptr);
    REQUIRE((out == expected));
    run({load, value, storage, in_place.data(), in_place.data(), *kernels}, 1, nullptr, nullptr);
    REQUIRE((in_place == expected));
    eden::KeptLoad kept(work.patches());
    run(work, 1, nullptr, &kept);
    REQUIRE((out == expected));
    run({load, value, storage, in.data(), again.data(), *kernels}, 1, &kept, nullptr);
    REQUIRE((again == expected));
  }
}

}  // namespace

TEST_CASE("every bit of a plane is judged by its own cell, in every storage") {
  for (const auto& [rate, failure] : {std::pair{1e-4, 1.0}, {3e-3, 0.6}, {0.2, 1.0}}) {
    for (const eden::LoadShape& shape : {eden::LoadShape{1, 2, 4001}, {3, 2, 1333}}) {
      check(planes_of(0x1f, 0x60, 0x80, rate, failure), ValueType::kInt8, Storage::kInt8, shape);
      check(planes_of(0x25, 0x5a, 0x80, rate, failure), ValueType::kFloat32,
            Storage::kInt8SignMagnitude, shape);
      check(planes_of(0x3, 0x8, 0x4, rate, failure), ValueType::kFloat32, Storage::kInt4, shape);
      check(planes_of(0x7fffff, 0x7f800000, 0x80000000, rate, failure), ValueType::kFloat32,
            Storage::kFloat32, shape);
      check(planes_of(0x7f, 0xff80, 0, rate, failure), ValueType::kBFloat16, Storage::kBFloat16,
            shape);
    }
  }
}

TEST_CASE("lines of planes may fail for one stored value more often than for the other") {
  for (const auto kind :
       {eden::TableKind::kAlike, eden::TableKind::kOpposite, eden::TableKind::kApart}) {
    for (const double failure : {1.0, 0.6}) {
      Rows found;
      for (size_t i = 0; i < 2 * size_t{eden::kLineBins}; ++i) {
        const auto weak =
            eden::weak_thresholds(i % 4 == 0 ? 0.2 : 3e-3 * static_cast<double>(i % 5));
        found.table.push_back(static_cast<int64_t>(weak.sparse));
        found.table.push_back(static_cast<int64_t>(weak.dense));
      }
      for (const auto& [model, plane] :
           {std::pair{eden::ModelKind::kBitline, 0x1fu}, {eden::ModelKind::kWordline, 0xe0u}}) {
        auto row = row_of(0.0, 0.0, failure, 128 * 5 + 3, eden::kEndless, plane);
        row[eden::kModel] = static_cast<int64_t>(model);
        row[eden::kTableKind] = static_cast<int64_t>(kind);
        row[eden::kTableLength] = eden::kLineBins;
        row[eden::kRowBits] = 128;
        row[eden::kSubarrayRows] = 32;
        found.add(row);
      }
      check(found, ValueType::kInt8, Storage::kInt8, {1, 2, 4001});
    }
  }
}

TEST_CASE("one plane of all bits is the whole word") {
  const auto in = pattern(300000);
  auto whole = in, plane = in;
  eden::Load load;
  load.chip = 5;
  load.shape = {1, 1, 300000};
  Rows rows;
  rows.add(row_of(0.01, 0.02, 0.9, 64, eden::kEndless, 0));
  rows.in(load);
  const eden::LoadWork one(load, ValueType::kInt8, Storage::kInt8, in.data(), whole.data());
  one.run(0, one.pieces());
  rows.rows[eden::kCorrection] |= int64_t{0xff} << eden::kPlaneShift;
  const eden::LoadWork other(load, ValueType::kInt8, Storage::kInt8, in.data(), plane.data());
  run(other, 3, nullptr, nullptr);
  CHECK((plane == whole));
  std::vector<int64_t> counts(32, 0), of_plane(32, 0);
  other.count(of_plane.data());
  rows.rows[eden::kCorrection] = 0;
  one.count(counts.data());
  CHECK((counts == of_plane));
}

TEST_CASE("every instruction set finds the place in words of every plane's bits, by exhaustion") {
  for (const int width : {1, 2, 4, 8, 16, 32}) {
    const uint64_t all = (uint64_t{1} << width) - 1;
    // All planes of a byte and less, and every 4099th of 16 bits, every 67,108,859th of 32.
    const uint64_t step = width <= 8 ? 1 : width == 16 ? 4099 : 67108859;
    for (uint64_t mask = 1; mask <= all; mask += step) {
      const auto plane = static_cast<uint32_t>(mask);
      const eden::simd::PlaneLayout layout = eden::plane_layout(plane, width);
      const uint32_t bits = layout.bits, elements = 133 * (64 / static_cast<uint32_t>(width));
      std::vector<uint32_t> positions;
      for (int bit = 0; bit < width; ++bit) {
        if ((plane >> bit & 1) != 0) positions.push_back(static_cast<uint32_t>(bit));
      }
      const auto place = [&](uint32_t bit) {
        return bit / bits * static_cast<uint32_t>(width) + positions[bit % bits];
      };
      std::vector<uint64_t> of_plane(elements * bits / 64 + 10), of_words(133 + 8, 0);
      std::vector<uint32_t> cells;
      for (uint32_t bit = 0; bit < elements * bits; ++bit) {
        if ((bit * 2654435761u) >> 31 == 0) continue;
        of_plane[bit / 64] |= uint64_t{1} << (bit % 64);
        of_words[place(bit) / 64] |= uint64_t{1} << (place(bit) % 64);
        if (bit >= 17) cells.push_back(2 * (bit - 17) + bit % 3 % 2);
      }
      for (const char* name : {"baseline", "avx2", "avx512", "neon"}) {
        const eden::simd::Kernels* kernels = eden::simd::kernels_of(name);
        if (kernels == nullptr) continue;
        std::vector<uint64_t> joined(133 + 8, 0);
        joined[0] = 1;
        kernels->mask_of_words(layout, of_plane.data(), 133, joined.data());
        joined[0] = (joined[0] & ~uint64_t{1}) | (of_words[0] & 1);
        REQUIRE((joined == of_words));
        eden::OwnedCells found;
        kernels->cells_of_words(layout, 17, cells.data(), cells.size(), found);
        REQUIRE(found.size == cells.size());
        size_t wrong = 0;
        for (size_t i = 0; i < cells.size(); ++i) {
          const uint32_t wanted = 2 * place(cells[i] / 2 + 17) + cells[i] % 2;
          wrong += found.cell[i] != wanted ? 1 : 0;
        }
        REQUIRE(wrong == 0);
      }
    }
  }
}

TEST_CASE("planes that do not make up a word are refused") {
  const auto in = pattern(1000);
  auto out = in;
  eden::Load load;
  load.shape = {1, 1, 1000};
  const auto refused = [&](const std::vector<std::pair<uint32_t, uint64_t>>& planes) {
    Rows rows;
    for (const auto& [plane, end] : planes) rows.add(row_of(0.1, 0.1, 1.0, 0, end, plane));
    rows.in(load);
    CHECK_THROWS_AS(eden::LoadWork(load, ValueType::kInt8, Storage::kInt8, in.data(), out.data()),
                    std::invalid_argument);
  };
  refused({{0x0f, eden::kEndless}});                           // half of the bits
  refused({{0x0f, eden::kEndless}, {0xf8, eden::kEndless}});   // bit 3 twice
  refused({{0x0f, eden::kEndless}, {0x1f0, eden::kEndless}});  // a bit beyond the word
  refused({{0x0f, eden::kEndless}, {0, eden::kEndless}});      // and whole words
  refused({{0x0f, 3999}, {0xf0, eden::kEndless}});             // ends too early
}
