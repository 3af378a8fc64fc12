// Do the phases of a CUDA block, run here one thread after another, give the bits that the host's
// way gives, for every error model and storage? (test_corrupt.cpp judges the host's cell by cell.)
#include <cstring>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "catch2.h"
#include "core/corrupt.h"
#include "core/tile.h"

namespace {

using eden::ModelKind;
using eden::Storage;
using eden::ValueType;

// Memory of 16-byte alignment whose tensor begins `skip` bytes behind it.
struct Buffer {
  std::vector<eden::TileVector> memory;
  char* data;
  Buffer(size_t bytes, size_t skip)
      : memory((bytes + skip) / sizeof(eden::TileVector) + 1),
        data(reinterpret_cast<char*>(memory.data()) + skip) {}
};

template <class C>
void as_block(const eden::Load& load, const char* in, char* out, int threads) {
  using Bits = typename C::Unsigned;
  auto scratch = std::make_unique<eden::TileScratch>();
  const uint64_t bits = static_cast<uint64_t>(load.shape.sample_size()) * C::kWidthBits;
  for (int64_t which = 0; which < load.region_count && load.first_bit(which) < bits; ++which) {
    const eden::Region region = load.region(which);
    const auto grid = eden::TileGrid::cut(
        region, eden::PatchGrid::smaller(region.end, bits) - load.first_bit(which));
    for (int64_t i = 0; i < grid.tiles; ++i) {
      const auto tile = eden::Tile::make(load, which, region, grid, i);
      if (tile.patch.rows == 0) continue;
      // What is shared has to fit its room.
      const int masks = tile.lines == 0 ? 1 : 2;
      REQUIRE(tile.mask_words() <= static_cast<uint32_t>(masks * eden::kTileMaskWords));
      REQUIRE(tile.lines <= static_cast<uint32_t>(eden::kTileLines));
      for (int phase = 0; phase < eden::kTilePhases; ++phase) {
        for (int t = 0; t < threads; ++t) {
          eden::tile_phase(phase, load, tile, *scratch, t, threads,
                           [](uint32_t* word, uint32_t set) { *word |= set; });
        }
      }
      for (int64_t sample = 0; sample < load.shape.batch; ++sample) {
        for (int t = 0; t < threads; ++t) {
          const auto* from = reinterpret_cast<const Bits*>(in);
          auto* to = reinterpret_cast<Bits*>(out);
          if (C::kCorrectable && load.conversion.correction != eden::Correction::kNone) {
            eden::tile_elements<C, true>(load, tile, *scratch, sample, from, to, t, threads);
          } else {
            eden::tile_elements<C, false>(load, tile, *scratch, sample, from, to, t, threads);
          }
        }
      }
    }
  }
}

// Compares both ways; whether anything but the storage's own rounding was changed is the caller's
// matter, who gets the number of bytes that the memory changed.
template <ValueType kValue, Storage kStorage>
int64_t check(const eden::Load& load, int threads = 33, size_t skip_in = 0, size_t skip_out = 0) {
  using C = eden::Codec<kValue, kStorage>;
  const size_t size = static_cast<size_t>(load.shape.sample_size() * load.shape.batch);
  const size_t bytes = size * C::kValueBits / 8;
  const size_t unit = C::kValueBits / 8;
  Buffer in(bytes, skip_in * unit), expected(bytes, 0), out(bytes, skip_out * unit);
  for (size_t i = 0; i < bytes; ++i) {
    in.data[i] = static_cast<char>((i * 2654435761u) >> 13);
  }
  if (unit == 4) {
    // Of sizes that an integer storage keeps, mostly.
    for (size_t i = 0; i < size; i += 3) {
      const float value = static_cast<float>(i % 301) * 0.01f - 1.5f;
      std::memcpy(in.data + 4 * i, &value, 4);
    }
  }
  const eden::LoadWork work(load, kValue, kStorage, in.data, expected.data);
  work.run(0, work.pieces());
  as_block<C>(load, in.data, out.data, threads);
  REQUIRE(std::memcmp(expected.data, out.data, bytes) == 0);
  int64_t changed = 0;
  for (size_t i = 0; i < bytes; ++i) changed += out.data[i] != in.data[i];
  as_block<C>(load, in.data, in.data, threads);
  REQUIRE(std::memcmp(expected.data, in.data, bytes) == 0);
  return changed;
}

std::vector<int64_t> cells(double ber_zero, double ber_one, double failure, uint64_t address) {
  const auto row = eden::make_region(ber_zero, ber_one, failure, address, eden::Correction::kNone);
  return {row.begin(), row.end()};
}

std::vector<int64_t> lines(ModelKind model, eden::TableKind kind, double failure, uint64_t address,
                           int64_t length, int64_t row_bits, int64_t subarray_rows) {
  const auto row = eden::make_lines_region(model, kind, failure, address, eden::Correction::kNone,
                                           0, length, row_bits, subarray_rows);
  return {row.begin(), row.end()};
}

std::vector<int64_t> line_table(int64_t length, double mean) {
  std::vector<double> probabilities;
  for (int64_t i = 0; i < length; ++i) {
    probabilities.push_back(i % 7 == 0     ? 0.0
                            : i % 11 == 0  ? 0.3
                            : i % 101 == 0 ? 1.0
                                           : mean * static_cast<double>(i % 13));
  }
  return eden::make_line_table(probabilities.data(), probabilities.size());
}

eden::Load load_of(const std::vector<int64_t>& rows, const std::vector<int64_t>& table,
                   eden::LoadShape shape) {
  eden::Load load;
  load.regions = rows.data();
  load.region_count = static_cast<int64_t>(rows.size()) / eden::kRegionFields;
  load.table = table.data();
  load.chip = 77;
  load.access = 3;
  load.shape = shape;
  return load;
}

int64_t check_own(const eden::Load& load, int threads = 33) {
  return check<ValueType::kInt8, Storage::kInt8>(load, threads) +
         check<ValueType::kInt32, Storage::kInt32>(load, threads);
}

}  // namespace

TEST_CASE("tiles of cells that stand for themselves") {
  for (const auto& [zero, one, failure] : {std::tuple{1e-4, 1e-4, 1.0},
                                           {0.02, 1e-3, 0.4},
                                           {0.2, 0.2, 0.7},
                                           {0.0, 0.3, 1.0},
                                           {1.0, 1.0, 1.0}}) {
    for (const uint64_t address : {uint64_t{0}, (uint64_t{5} << 40) + 32 * 1001}) {
      const auto row = cells(zero, one, failure, address);
      CHECK(check_own(load_of(row, {}, {1, 2, 10007})) > 0);
      CHECK(check_own(load_of(row, {}, {3, 2, 3000}), 256) > 0);
    }
  }
  const auto reliable = cells(0.0, 0.0, 1.0, 64);
  CHECK(check_own(load_of(reliable, {}, {1, 1, 10007})) == 0);
}

TEST_CASE("tiles of lines") {
  for (const auto kind : {eden::TableKind::kMeasured, eden::TableKind::kPopulation}) {
    const int64_t length = kind == eden::TableKind::kPopulation ? eden::kLineBins : 1009;
    const auto table = line_table(length, 2e-3);
    for (const auto model : {ModelKind::kBitline, ModelKind::kWordline}) {
      for (const auto& [row_bits, rows] : {std::pair{int64_t{128}, int64_t{32}},
                                           {384, 96},
                                           {1024, 512},
                                           {8192, 512},
                                           {256, 2048},
                                           {65536, 64}}) {
        for (const uint64_t address : {uint64_t{0}, uint64_t{32 * 1001}, uint64_t{3} << 40}) {
          for (const double failure : {1.0, 0.6}) {
            const auto row = lines(model, kind, failure, address, length, row_bits, rows);
            CHECK(check_own(load_of(row, table, {1, 2, 60013})) > 0);
          }
        }
      }
    }
  }
}

TEST_CASE("tiles of several regions, one of them a map") {
  std::vector<int64_t> table = line_table(300, 2e-3);
  const int64_t first = static_cast<int64_t>(table.size());
  for (int64_t cell = 90000; cell < 900000; cell += 17) {
    table.push_back((cell << eden::kMapFlagBits) | (1 + cell % 3));
  }
  auto rows = cells(0.01, 0.02, 0.7, 4096);
  rows[eden::kEnd] = 32 * 500;
  auto bitline = lines(ModelKind::kBitline, eden::TableKind::kMeasured, 1.0, 32 * 77, 300, 256, 32);
  bitline[eden::kEnd] = 32 * 1203;
  const auto map = eden::make_map_region(0.8, 96000, eden::Correction::kNone, first,
                                         static_cast<int64_t>(table.size()) - first);
  rows.insert(rows.end(), bitline.begin(), bitline.end());
  rows.insert(rows.end(), map.begin(), map.end());
  CHECK(check_own(load_of(rows, table, {1, 1, 25000})) > 0);
  CHECK(check_own(load_of(rows, table, {5, 4, 2400}), 256) > 0);
  // Ends within the first region.
  CHECK(check_own(load_of(rows, table, {1, 3, 300})) > 0);
}

namespace {

template <ValueType kValue, Storage... kStorages>
void check_storages(const eden::Load& load, size_t skip_in, size_t skip_out) {
  const bool changed[] = {check<kValue, kStorages>(load, 33, skip_in, skip_out) > 0 ...};
  for (const bool any : changed) CHECK(any);
}

template <ValueType kValue>
void check_every_storage(const eden::Load& load, size_t skip_in, size_t skip_out) {
  check_storages<kValue, Storage::kFloat32, Storage::kInt8, Storage::kFloat16, Storage::kBFloat16,
                 Storage::kFloat8E4M3, Storage::kFloat8E5M2, Storage::kInt16, Storage::kUint8,
                 Storage::kInt4, Storage::kSign>(load, skip_in, skip_out);
}

}  // namespace

TEST_CASE("tiles of every storage, alignment, layout of channels and correction") {
  const std::vector<float> scale = {0.025f, 0.3f, 1.5f};
  const std::vector<int32_t> zero_point = {3, 0, 7};
  const auto row = cells(0.02, 0.05, 0.7, 128);
  for (const auto& shape : {eden::LoadShape{1, 2, 3001}, {3, 2, 160}, {6, 2, 37}}) {
    for (const auto& [channels, inner] :
         {std::pair{int64_t{1}, int64_t{1}}, {3, 1}, {3, 50}, {3, 160}}) {
      for (const auto correction :
           {eden::Correction::kNone, eden::Correction::kZero, eden::Correction::kClamp}) {
        for (const auto& [skip_in, skip_out] : {std::pair{size_t{0}, size_t{0}}, {1, 1}, {3, 0}}) {
          eden::Load load = load_of(row, {}, shape);
          load.conversion = {scale.data(), channels == 3 ? zero_point.data() : nullptr,
                             channels,     inner,
                             correction,   -1.2f,
                             2.5f};
          check_every_storage<ValueType::kFloat32>(load, skip_in, skip_out);
          check_every_storage<ValueType::kFloat16>(load, skip_in, skip_out);
          check_every_storage<ValueType::kBFloat16>(load, skip_in, skip_out);
          check_storages<ValueType::kFloat8E4M3, Storage::kFloat8E4M3>(load, skip_in, skip_out);
          check_storages<ValueType::kFloat8E5M2, Storage::kFloat8E5M2>(load, skip_in, skip_out);
          check_storages<ValueType::kUint8, Storage::kUint8>(load, skip_in, skip_out);
          check_storages<ValueType::kInt16, Storage::kInt16>(load, skip_in, skip_out);
        }
      }
    }
  }
}
