// Is an operand with a code of several words read as its cells are, when these are encoded, read as
// a tensor of bytes and decoded, all of them?
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "catch2.h"
#include "memory/codes/coded_load.h"
#include "memory/corrupt/load_work.h"

namespace {

using eden::CodedLoad;
using eden::Correction;
using eden::Storage;
using eden::ValueType;

const Storage kCoded[] = {
    Storage::kInt8SignTripled, Storage::kInt8Secded,     Storage::kUint8Secded,
    Storage::kFloat32Secded,   Storage::kFloat16Secded,  Storage::kInt6SignMagnitudeHamming,
    Storage::kUint6Hamming,    Storage::kBFloat16Secded, Storage::kInt8SignMagnitudeSecded};

// Of an error model the rows and tables, for addresses that no block divides.
struct Rows {
  std::vector<int64_t> rows, table;

  void add(const std::array<int64_t, eden::kRegionFields>& fields, uint64_t end) {
    rows.insert(rows.end(), fields.begin(), fields.end());
    rows[rows.size() - eden::kRegionFields + eden::kEnd] = static_cast<int64_t>(end);
  }
  void add_cells(double zero, double one, double failure, uint64_t end = eden::kEndless) {
    add(eden::make_region(zero, one, failure, 1 << 20 | 40, Correction::kNone), end);
  }
  void add_lines(eden::ModelKind kind, double rate, double failure, uint64_t end) {
    std::vector<double> rates;
    for (int i = 0; i < 300; ++i) rates.push_back(i % 5 == 0 ? 0.0 : rate * (i % 5));
    const auto lines = eden::make_line_table(rates.data(), rates.size());
    const auto first = static_cast<int64_t>(table.size());
    table.insert(table.end(), lines.begin(), lines.end());
    add(eden::make_lines_region(kind, eden::TableKind::kMeasured, failure, 5128, Correction::kNone,
                                first, 300, 8192, 64),
        end);
  }
  void in(eden::Load& load) const {
    load.regions = rows.data();
    load.region_count = static_cast<int64_t>(rows.size()) / eden::kRegionFields;
    load.table = table.data();
    load.table_size = static_cast<int64_t>(table.size());
  }
};

// Values of every kind, some of them beyond any range; of 32 or 16 bits.
std::vector<char> values_of(ValueType value, int64_t count) {
  const int bytes = eden::storage_bits(eden::own_storage(value)) / 8;
  std::vector<char> values(static_cast<size_t>(count * bytes));
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t random = static_cast<uint32_t>(i) * 2654435761u;
    float number = (static_cast<float>(random >> 8) / 8388608.0f - 1.0f) * 1.5f;
    if (random % 997 == 0) number = random % 2 == 0 ? NAN : 1e30f;
    const uint32_t bits = value == ValueType::kFloat32   ? eden::bits_of(number)
                          : value == ValueType::kFloat16 ? eden::Float16Format::encode(number)
                                                         : eden::BFloat16Format::encode(number);
    std::memcpy(values.data() + i * bytes, &bits, static_cast<size_t>(bytes));
  }
  return values;
}

void run(const eden::LoadWork& work, int64_t parts, const eden::KeptLoad* kept = nullptr,
         eden::KeptLoad* wanted = nullptr) {
  eden::PlaneFlips flips = work.plane_flips();
  work.find_planes(0, work.patches(), kept, wanted, flips);
  for (int64_t part = parts; part-- > 0;) {
    work.run_planes(work.pieces() * part / parts, work.pieces() * (part + 1) / parts, flips);
  }
}

std::vector<char> through_bytes(const eden::Load& load, ValueType value, Storage storage,
                                const std::vector<char>& in) {
  std::vector<char> out(in.size());
  const CodedLoad coded(load, value, storage, in.data(), out.data());
  std::vector<uint8_t> cells(static_cast<size_t>(coded.cell_bytes()));
  coded.encode(0, coded.pieces(), cells.data());
  const eden::LoadWork work(coded.of_cells(), ValueType::kUint8, Storage::kUint8, cells.data(),
                            cells.data());
  work.run(0, work.pieces());
  coded.decode(0, coded.pieces(), cells.data());
  return out;
}

// Into other memory and in place, by every instruction set, in several parts.
void check(const eden::Load& load, ValueType value, Storage storage, const std::vector<char>& in) {
  const std::vector<char> expected = through_bytes(load, value, storage, in);
  for (const char* name : {"baseline", "avx2", "avx512", "neon"}) {
    const eden::simd::Kernels* kernels = eden::simd::kernels_of(name);
    if (kernels == nullptr) continue;
    std::vector<char> out(in.size()), same = in;
    eden::KeptLoad kept(eden::LoadWork(load, value, storage, in.data(), out.data()).patches());
    run({load, value, storage, in.data(), out.data(), *kernels, 1}, 3, nullptr, &kept);
    CHECK(out == expected);
    std::fill(out.begin(), out.end(), 0);
    run({load, value, storage, in.data(), out.data(), *kernels, 1}, 1, &kept);
    CHECK(out == expected);
    run({load, value, storage, same.data(), same.data(), *kernels, 2}, 2);
    CHECK(same == expected);
  }
}

}  // namespace

TEST_CASE("words with a code are read as their cells are, at every rate and of every model") {
  const float scale = 0.02f;
  const int32_t zero_point = 7;
  for (const Storage storage : kCoded) {
    for (const double rate : {0.0, 1e-5, 1e-3, 0.01, 0.08}) {
      for (int model = 0; model < 4; ++model) {
        Rows rows;
        if (model == 0) rows.add_cells(rate, rate, 1.0);
        if (model == 1) rows.add_cells(rate / 8, rate, 0.7, 3 << 10), rows.add_cells(rate, 0, 1.0);
        if (model == 2) rows.add_lines(eden::ModelKind::kBitline, rate, 1.0, eden::kEndless);
        if (model == 3) {
          rows.add_lines(eden::ModelKind::kBitline, rate, 0.5, 8 * 30001);
          rows.add_lines(eden::ModelKind::kWordline, rate, 0.5, 8 * 50002);
          rows.add_cells(rate, rate / 2, 1.0);
        }
        eden::Load load;
        rows.in(load);
        load.chip = 11, load.access = 5;
        load.shape = {1, 1, 52005};
        load.conversion.scale = &scale;
        const bool is_unsigned = eden::traits_of(storage).kind == eden::WordKind::kUnsigned;
        if (is_unsigned) load.conversion.zero_point = &zero_point;
        load.conversion.correction = static_cast<Correction>(model % 3);
        load.conversion.low = -0.75f, load.conversion.high = 0.5f;
        INFO("storage " << static_cast<int>(storage) << ", rate " << rate << ", model " << model);
        check(load, ValueType::kFloat32, storage, values_of(ValueType::kFloat32, 52005));
      }
    }
  }
}

TEST_CASE("samples in the middle, channels and values of 16 bits change nothing of a code") {
  const std::vector<float> scale = {0.01f, 0.02f, 0.05f};
  for (const Storage storage : kCoded) {
    for (const ValueType value : {ValueType::kFloat32, ValueType::kFloat16, ValueType::kBFloat16}) {
      for (const double rate : {1e-4, 0.02}) {
        Rows rows;
        rows.add_cells(rate, rate / 4, 1.0, 8 * 701);
        rows.add_lines(eden::ModelKind::kBitline, rate, 1.0, eden::kEndless);
        eden::Load load;
        rows.in(load);
        load.chip = 3;
        load.shape = {3, 2, 1403};
        load.conversion.scale = scale.data();
        load.conversion.channels = 3, load.conversion.channel_inner = 1403;
        load.conversion.correction = Correction::kZero;
        load.conversion.low = -0.5f, load.conversion.high = 0.5f;
        INFO("storage " << static_cast<int>(storage) << ", value " << static_cast<int>(value));
        check(load, value, storage, values_of(value, 3 * 2 * 1403));
      }
    }
  }
}

TEST_CASE("a code beyond the first chunk, whose last block or tile is not like others") {
  // One chunk and the begin of a second, in blocks, and tiles that join what is left over.
  for (const Storage storage : {Storage::kInt8SignTripled, Storage::kInt8Secded,
                                Storage::kFloat32Secded, Storage::kInt6SignMagnitudeHamming}) {
    for (const int64_t count : {int64_t{98304 + 5}, int64_t{4 * 131072 + 3}}) {
      for (const double rate : {1e-4, 0.01}) {
        const float scale = 0.02f;
        Rows rows;
        rows.add_lines(eden::ModelKind::kBitline, rate, 1.0, 8 * 98001);
        rows.add_cells(rate, rate, 1.0);
        eden::Load load;
        rows.in(load);
        load.shape = {1, 1, count};
        load.conversion.scale = &scale;
        const std::vector<char> in = values_of(ValueType::kFloat32, count);
        std::vector<char> out(in.size());
        run({load, ValueType::kFloat32, storage, in.data(), out.data()}, 2);
        CHECK(out == through_bytes(load, ValueType::kFloat32, storage, in));
      }
    }
  }
}

TEST_CASE("what a code's words cannot be is refused") {
  Rows rows;
  rows.add_cells(0.1, 0.1, 1.0);
  rows.rows[eden::kCorrection] |= int64_t{0xff} << eden::kPlaneShift;
  eden::Load load;
  rows.in(load);
  load.shape = {1, 1, 16};
  const std::vector<float> in(16);
  std::vector<float> out(16);
  CHECK_THROWS_WITH(
      eden::LoadWork(load, ValueType::kFloat32, Storage::kInt8Secded, in.data(), out.data()),
      "a storage with a code of several words cannot lie in planes");
  rows.rows[eden::kCorrection] = 0;
  const eden::LoadWork work(load, ValueType::kFloat32, Storage::kInt8Secded, in.data(), out.data());
  CHECK_THROWS(work.count(nullptr));
}
