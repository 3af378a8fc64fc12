// Does the host find, for every error model, instruction set, layout and storage, the flips that
// each cell judged for itself has?
#include <cstring>
#include <map>
#include <thread>
#include <tuple>
#include <vector>

#include "catch2.h"
#include "memory/corrupt/load_work.h"
#include "memory/corrupt/reference.h"

namespace {

using eden::ModelKind;
using eden::Storage;
using eden::ValueType;

std::vector<int8_t> pattern(size_t size) {
  std::vector<int8_t> values(size);
  for (size_t i = 0; i < size; ++i) values[i] = static_cast<int8_t>((i * 2654435761u) >> 13);
  return values;
}

std::vector<int64_t> row_of(double ber_zero, double ber_one, double failure, uint64_t address,
                            uint64_t end) {
  const auto fields =
      eden::make_region(ber_zero, ber_one, failure, address, eden::Correction::kNone);
  std::vector<int64_t> row(fields.begin(), fields.end());
  row[eden::kEnd] = static_cast<int64_t>(end);
  return row;
}

// Lines of which some are strong, some weak and some dense.
std::vector<int64_t> line_table(size_t lines, double mean) {
  std::vector<int64_t> table;
  for (size_t i = 0; i < lines; ++i) {
    const double p = i % 7 == 0 ? 0.0 : i % 11 == 0 ? 0.3 : mean * static_cast<double>(i % 13);
    const auto thresholds = eden::weak_thresholds(p);
    table.push_back(static_cast<int64_t>(thresholds.sparse));
    table.push_back(static_cast<int64_t>(thresholds.dense));
  }
  return table;
}

std::vector<int64_t> line_row(ModelKind model, double failure, uint64_t address, uint64_t end,
                              size_t lines, uint64_t row_bits, uint64_t subarray_rows,
                              eden::TableKind kind = eden::TableKind::kMeasured) {
  auto row = row_of(0.0, 0.0, failure, address, end);
  row[eden::kModel] = static_cast<int64_t>(model);
  row[eden::kTableKind] = static_cast<int64_t>(kind);
  row[eden::kTableLength] = static_cast<int64_t>(lines);
  row[eden::kRowBits] = static_cast<int64_t>(row_bits);
  row[eden::kSubarrayRows] = static_cast<int64_t>(subarray_rows);
  return row;
}

// Whether there was a flip.
bool check(eden::Load load, const std::vector<int64_t>& rows, const std::vector<int64_t>& table) {
  load.regions = rows.data();
  load.region_count = static_cast<int64_t>(rows.size()) / eden::kRegionFields;
  load.table = table.data();
  load.table_size = static_cast<int64_t>(table.size());
  const auto in = pattern(static_cast<size_t>(load.shape.sample_size() * load.shape.batch));
  auto expected = in;
  eden::corrupt_cell_by_cell(load, ValueType::kInt8, Storage::kInt8, in.data(), expected.data());
  for (const char* name : {"baseline", "avx2", "avx512", "neon"}) {
    const eden::simd::Kernels* kernels = eden::simd::kernels_of(name);
    if (kernels == nullptr) continue;
    auto out = in;
    const eden::LoadWork whole(load, ValueType::kInt8, Storage::kInt8, in.data(), out.data(),
                               *kernels);
    whole.run(0, whole.pieces());
    REQUIRE((out == expected));
    out = in;
    const eden::LoadWork in_place(load, ValueType::kInt8, Storage::kInt8, out.data(), out.data(),
                                  *kernels);
    for (int64_t piece = in_place.pieces(); piece-- > 0;) in_place.run(piece, piece + 1);
    REQUIRE((out == expected));

    eden::KeptLoad kept(whole.patches());
    out = in;
    whole.run_and_keep(0, whole.pieces(), kept);
    REQUIRE((out == expected));
    out = in;
    in_place.run_kept(0, in_place.pieces(), kept);
    REQUIRE((out == expected));
    eden::Load next = load;
    ++next.access;
    auto found = in;
    const eden::LoadWork anew(next, ValueType::kInt8, Storage::kInt8, in.data(), found.data(),
                              *kernels);
    anew.run(0, anew.pieces());
    const eden::LoadWork recalled(next, ValueType::kInt8, Storage::kInt8, in.data(), out.data(),
                                  *kernels);
    recalled.run_kept(0, recalled.pieces(), kept);
    REQUIRE((out == found));
  }
  return expected != in;
}

eden::Load load_of(int64_t outer, int64_t batch, int64_t inner) {
  eden::Load load;
  load.chip = 77;
  load.access = 3;
  load.shape = {outer, batch, inner};
  return load;
}

}  // namespace

TEST_CASE("every cell of Models 0 and 3 is judged as if alone") {
  for (const double failure : {1.0, 0.6}) {
    for (const auto& [zero, one] :
         {std::pair{1e-3, 1e-3}, {0.05, 1e-4}, {1e-4, 0.2}, {0.3, 0.3}, {0.1, 0.4}, {0.0, 0.5}}) {
      for (const uint64_t address : {uint64_t{0}, uint64_t{8}, (uint64_t{5} << 40) + 8 * 12345}) {
        REQUIRE(
            check(load_of(1, 3, 1501), row_of(zero, one, failure, address, eden::kEndless), {}));
        REQUIRE(check(load_of(3, 2, 499), row_of(zero, one, failure, address, eden::kEndless), {}));
      }
    }
  }
}

TEST_CASE("every cell of a line is judged by its line") {
  int with_flips = 0;
  for (const double failure : {1.0, 0.6}) {
    for (const auto kind :
         {eden::TableKind::kMeasured, eden::TableKind::kPopulation, eden::TableKind::kAlike,
          eden::TableKind::kOpposite, eden::TableKind::kApart}) {
      const size_t lines = kind == eden::TableKind::kMeasured ? 300 : eden::kLineBins;
      const auto table = line_table(eden::by_value(kind) ? 2 * lines : lines, 2e-3);
      for (const auto& [row_bits, rows] : {std::pair{uint64_t{128}, uint64_t{32}},
                                           {uint64_t{384}, uint64_t{64}},
                                           {uint64_t{65536}, uint64_t{512}}}) {
        for (const uint64_t address : {uint64_t{0}, uint64_t{8 * 1001}, (uint64_t{3} << 40) + 40}) {
          for (const auto model : {ModelKind::kBitline, ModelKind::kWordline}) {
            with_flips += check(
                load_of(1, 2, 2003),
                line_row(model, failure, address, eden::kEndless, lines, row_bits, rows, kind),
                table);
          }
        }
      }
    }
  }
  // A few operands lie in one line that is not weak.
  CHECK(with_flips > 150);
}

TEST_CASE("lines that fail for one stored value alone, or for none") {
  const auto none = eden::weak_thresholds(0.0), some = eden::weak_thresholds(0.2);
  for (const auto kind :
       {eden::TableKind::kAlike, eden::TableKind::kOpposite, eden::TableKind::kApart}) {
    for (const auto& [zero, one] : {std::pair{none, some}, {some, none}, {none, none}}) {
      std::vector<int64_t> table;
      for (const auto& value : {zero, one}) {
        for (int bin = 0; bin < eden::kLineBins; ++bin) {
          const auto& line = bin >= 1000 ? value : none;
          table.push_back(static_cast<int64_t>(line.sparse));
          table.push_back(static_cast<int64_t>(line.dense));
        }
      }
      for (const auto model : {ModelKind::kBitline, ModelKind::kWordline}) {
        const bool flips = check(
            load_of(1, 1, 12000),
            line_row(model, 1.0, 128 * 3, eden::kEndless, eden::kLineBins, 128, 32, kind), table);
        CHECK(flips == (zero.sparse != one.sparse));
      }
    }
  }
}

TEST_CASE("bits that are turned one by one are those that masks turn, cells found twice too") {
  // Of 2^22 cells at 1.5e-3 about five are found twice; in place bits are not turned one by one.
  const std::vector<double> rates(640, 1.5e-3);
  const auto table = eden::make_line_table(rates.data(), rates.size());
  const auto lines = [&](ModelKind model, double failure) {
    return line_row(model, failure, (uint64_t{9} << 40) + 8 * 77, eden::kEndless, 640, 1280, 512);
  };
  for (const auto& row : {row_of(1.5e-3, 1.5e-3, 1.0, 8 * 12345, eden::kEndless),
                          row_of(2e-4, 1.6e-3, 1.0, 8 * 12345, eden::kEndless),
                          row_of(1.6e-3, 2e-4, 0.8, 8 * 12345, eden::kEndless),
                          lines(ModelKind::kBitline, 1.0), lines(ModelKind::kWordline, 0.7)}) {
    eden::Load load = load_of(1, 2, 1 << 19);
    load.regions = row.data();
    load.region_count = 1;
    load.table = table.data();
    load.table_size = static_cast<int64_t>(table.size());
    const auto in = pattern(size_t{1} << 20);
    auto out = in, same = in;
    const eden::LoadWork apart(load, ValueType::kInt8, Storage::kInt8, in.data(), out.data(),
                               eden::simd::kernels(), 16);
    apart.run(0, apart.pieces());
    const eden::LoadWork in_place(load, ValueType::kInt8, Storage::kInt8, same.data(), same.data());
    REQUIRE(apart.pieces() >= 32);
    REQUIRE(in_place.pieces() < 16);
    in_place.run(0, in_place.pieces());
    REQUIRE((out == same));
    REQUIRE((out != in));
  }
}

TEST_CASE("an operand lies in several pieces, each of its own model") {
  const auto lines = line_table(300, 2e-3);
  std::vector<int64_t> table = lines;
  for (uint64_t cell = 90000; cell < 96000; cell += 17) {
    table.push_back(static_cast<int64_t>(cell << eden::kMapFlagBits) |
                    static_cast<int64_t>(1 + cell % 3));
  }
  auto rows = row_of(0.01, 0.02, 0.7, 4096, 8 * 500);
  const auto bitline = line_row(ModelKind::kBitline, 1.0, 8 * 77, 8 * 1203, 300, 256, 32);
  auto map = row_of(0.0, 0.0, 0.8, 90000, eden::kEndless);
  map[eden::kModel] = static_cast<int64_t>(ModelKind::kMap);
  map[eden::kTableFirst] = static_cast<int64_t>(lines.size());
  map[eden::kTableLength] = static_cast<int64_t>(table.size() - lines.size());
  rows.insert(rows.end(), bitline.begin(), bitline.end());
  rows.insert(rows.end(), map.begin(), map.end());
  CHECK(check(load_of(1, 1, 1900), rows, table));
  CHECK(check(load_of(5, 4, 380), rows, table));
}

TEST_CASE("a region that cuts an element or ends too early is refused") {
  std::vector<int8_t> values(100);
  eden::Load load = load_of(1, 1, 100);
  for (const auto& row : {row_of(0.1, 0.1, 1.0, 3, eden::kEndless), row_of(0.1, 0.1, 1.0, 0, 792),
                          row_of(0.1, 0.1, 1.0, 0, 401)}) {
    load.regions = row.data();
    load.region_count = 1;
    CHECK_THROWS_WITH(
        eden::LoadWork(load, ValueType::kInt8, Storage::kInt8, values.data(), values.data()),
        Catch::Contains("region"));
  }
}

TEST_CASE("elements of every storage, in channels and corrected, are read as each cell alone") {
  const auto row = row_of(0.02, 0.1, 0.8, 4096, eden::kEndless);
  const std::vector<float> scale = {0.02f, 0.5f, 0.003f};
  const std::vector<int32_t> zero_point = {3, -1, 0};
  int64_t storages = 0;
  for (int64_t v = 0; v < eden::kValueTypes; ++v) {
    for (int64_t s = 0; s < eden::kStorages; ++s) {
      const auto value = static_cast<ValueType>(v);
      const auto storage = static_cast<Storage>(s);
      if (!eden::can_store(value, storage) || eden::is_coded(storage)) continue;
      ++storages;
      eden::Load load = load_of(1, 2, 3 * 140);
      load.regions = row.data();
      load.region_count = 1;
      load.conversion = {scale.data(), zero_point.data(), 3, 140, eden::Correction::kNone, -1.0f,
                         1.5f};
      const auto bytes = static_cast<size_t>(eden::storage_bits(eden::own_storage(value)) / 8);
      auto in = pattern(840 * bytes);
      // Ranges that end at a zero: what is below is kept as that end, whose sign decides its flips.
      for (const auto& [correction, low, high] : {std::tuple{eden::Correction::kNone, -1.0f, 1.5f},
                                                  {eden::Correction::kClamp, -1.0f, 1.5f},
                                                  {eden::Correction::kZero, 0.0f, 1.5f},
                                                  {eden::Correction::kClamp, -1.0f, -0.0f}}) {
        load.conversion.correction = correction;
        load.conversion.low = low;
        load.conversion.high = high;
        auto expected = in, out = in;
        eden::corrupt_cell_by_cell(load, value, storage, in.data(), expected.data());
        const eden::LoadWork work(load, value, storage, in.data(), out.data());
        work.run(0, work.pieces());
        CHECK((out == expected));
        CHECK((out != in));
      }
    }
  }
  CHECK(storages == 3 * 22 + 6);
}

TEST_CASE("an access number beyond those that failures have is refused") {
  const auto row = row_of(0.1, 0.1, 1.0, 0, eden::kEndless);
  std::vector<int8_t> values(100);
  eden::Load load = load_of(1, 1, 100);
  load.regions = row.data();
  load.region_count = 1;
  load.access = (uint64_t{1} << 54) - 1;
  CHECK_NOTHROW(
      eden::LoadWork(load, ValueType::kInt8, Storage::kInt8, values.data(), values.data()));
  ++load.access;
  CHECK_THROWS_WITH(
      eden::LoadWork(load, ValueType::kInt8, Storage::kInt8, values.data(), values.data()),
      "access is 18014398509481984; allowed is 0 to 2^54 - 1");
}

TEST_CASE("counts say what a run does, at every width") {
  // Values whose own words these storages keep, so that the flips show in the result.
  const auto row = row_of(0.02, 0.1, 0.9, 64, eden::kEndless);
  for (const auto& [value, storage, bytes] : {std::tuple{ValueType::kFloat32, Storage::kFloat32, 4},
                                              {ValueType::kFloat16, Storage::kFloat16, 2},
                                              {ValueType::kUint8, Storage::kUint8, 1}}) {
    eden::Load load = load_of(3, 2, 333);
    load.regions = row.data();
    load.region_count = 1;
    const auto in = pattern(static_cast<size_t>(1998 * bytes));
    auto out = in;
    const eden::LoadWork work(load, value, storage, in.data(), out.data());
    work.run(0, work.pieces());
    std::vector<int64_t> counts(static_cast<size_t>(8 * bytes * 4), 0), expected = counts;
    work.count(counts.data());
    for (size_t i = 0; i < in.size(); ++i) {
      for (size_t bit = 0; bit < 8; ++bit) {
        const size_t position = i % static_cast<size_t>(bytes) * 8 + bit;
        const size_t stored = (static_cast<uint8_t>(in[i]) >> bit) & 1;
        ++expected[(position * 2 + stored) * 2];
        expected[(position * 2 + stored) * 2 + 1] +=
            (static_cast<uint8_t>(in[i] ^ out[i]) >> bit) & 1;
      }
    }
    CHECK((counts == expected));
  }
}

TEST_CASE("two threads at one load give the bits of one") {
  const auto row = row_of(0.02, 0.1, 0.9, 64, eden::kEndless);
  eden::Load load = load_of(1, 4, 300000);
  load.regions = row.data();
  load.region_count = 1;
  const auto in = pattern(1200000);
  auto alone = in, together = in;
  const eden::LoadWork one(load, ValueType::kInt8, Storage::kInt8, in.data(), alone.data());
  one.run(0, one.pieces());
  const eden::LoadWork two(load, ValueType::kInt8, Storage::kInt8, in.data(), together.data());
  const int64_t half = two.pieces() / 2;
  std::thread first([&] { two.run(0, half); });
  two.run(half, two.pieces());
  first.join();
  CHECK((alone == together));
}

TEST_CASE("an operand of some size has two pieces for each of many threads") {
  const auto row = row_of(1e-3, 1e-3, 1.0, 0, eden::kEndless);
  for (const int threads : {2, 8, 16, 64}) {
    for (const int64_t batch : {1, 4}) {
      // As small as pieces of 2^17 cells allow.
      eden::Load load = load_of(1, batch, threads * (int64_t{1} << 15) / batch);
      load.regions = row.data();
      load.region_count = 1;
      const std::vector<char> in(static_cast<size_t>(load.shape.sample_size() * batch));
      const eden::LoadWork work(load, ValueType::kInt8, Storage::kInt8, in.data(), nullptr,
                                eden::simd::kernels(), threads);
      INFO("threads " << threads << ", samples " << batch);
      CHECK(work.pieces() >= 2 * threads);
    }
  }
}

TEST_CASE("rows that lie apart are read and written as those of a dense tensor") {
  // 12 samples of 5 x 97 elements; rows of 97, whose bytes begin where no vector does.
  const std::vector<int64_t> sizes{5, 3, 4, 97};
  const int64_t elements = 5 * 3 * 4 * 97;
  struct Layout {
    std::vector<int64_t> strides;
    bool disjoint;
  };
  const Layout layouts[] = {{{1200, 400, 100, 1}, true},
                            {{101, 505, 1515, 1}, true},
                            {{97, 97 * 5, 97 * 15, 1}, true},
                            {{1200, 0, 100, 1}, false},
                            {{0, 0, 0, 1}, false}};
  auto rows = row_of(3e-2, 3e-2, 0.7, (1 << 20) + 32, 97 * 32);
  const auto lines = line_row(ModelKind::kBitline, 0.5, 1 << 20, ~uint64_t{0} >> 1, 300, 256, 32);
  rows.insert(rows.end(), lines.begin(), lines.end());
  const auto table = line_table(300, 0.01);
  const float scale = 0.03f;
  struct Form {
    ValueType value;
    Storage storage;
    int64_t bytes;
  };
  for (const Form form : {Form{ValueType::kFloat32, Storage::kFloat32, 4},
                          Form{ValueType::kFloat32, Storage::kInt8, 4},
                          Form{ValueType::kBFloat16, Storage::kBFloat16, 2},
                          Form{ValueType::kInt8, Storage::kInt8, 1}}) {
    for (const Layout& layout : layouts) {
      const eden::Rows lie = eden::Rows::of(sizes, layout.strides).value();
      REQUIRE(lie.disjoint() == layout.disjoint);
      std::vector<int8_t> apart = pattern(static_cast<size_t>(8000 * form.bytes));
      std::vector<int8_t> dense(static_cast<size_t>(elements * form.bytes));
      const auto bytes = static_cast<size_t>(form.bytes);
      for (int64_t i = 0; i < elements; ++i) {
        std::memcpy(&dense[static_cast<size_t>(i) * bytes],
                    &apart[static_cast<size_t>(lie.place(i)) * bytes], bytes);
      }
      eden::Load load = load_of(5, 12, 97);
      load.regions = rows.data();
      load.region_count = 2;
      load.table = table.data();
      load.table_size = static_cast<int64_t>(table.size());
      if (form.storage != eden::own_storage(form.value)) load.conversion.scale = &scale;
      for (const bool persists : {false, true}) {
        std::vector<int64_t> used = rows;
        if (persists) used[eden::kFailure] = static_cast<int64_t>(eden::kAlways);
        load.regions = used.data();
        for (const char* name : {"baseline", "avx2", "avx512", "neon"}) {
          const eden::simd::Kernels* kernels = eden::simd::kernels_of(name);
          if (kernels == nullptr) continue;
          auto expected = dense, read = dense;
          const eden::LoadWork plain(load, form.value, form.storage, dense.data(), expected.data(),
                                     *kernels);
          plain.run(0, plain.pieces());
          REQUIRE((expected != dense));
          const eden::LoadWork strided(load, form.value, form.storage, apart.data(), read.data(),
                                       *kernels, 1, lie);
          strided.run(0, strided.pieces());
          REQUIRE((read == expected));
          if (!layout.disjoint) continue;
          std::vector<int8_t> written(apart.size(), 0), within = apart;
          const eden::LoadWork back(load, form.value, form.storage, dense.data(), written.data(),
                                    *kernels, 1, {}, lie);
          back.run(0, back.pieces());
          const eden::LoadWork in_place(load, form.value, form.storage, within.data(),
                                        within.data(), *kernels, 1, lie, lie);
          in_place.run(0, in_place.pieces());
          std::vector<int8_t> between = apart, untouched(apart.size(), 0);
          for (int64_t i = 0; i < elements; ++i) {
            const auto at = static_cast<size_t>(lie.place(i)) * bytes;
            std::memcpy(&between[at], &expected[static_cast<size_t>(i) * bytes], bytes);
            std::memcpy(&untouched[at], &expected[static_cast<size_t>(i) * bytes], bytes);
          }
          REQUIRE((within == between));
          REQUIRE((written == untouched));
        }
      }
    }
  }
}
