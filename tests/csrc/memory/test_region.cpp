// Do rows and tables hold what the operators read from them, and are wrong numbers named?
#include <cmath>
#include <limits>
#include <vector>

#include "catch2.h"
#include "memory/lines.h"
#include "memory/region.h"

TEST_CASE("bins of a population follow one another and hold their marks") {
  CHECK(eden::line_bin_begin(0) == 0);
  CHECK(eden::line_bin_begin(eden::kLineBins) == uint64_t{1} << eden::kLineMarkBits);
  for (int bin = 0; bin < eden::kLineBins; ++bin) {
    const uint64_t begin = eden::line_bin_begin(bin), end = eden::line_bin_begin(bin + 1);
    REQUIRE(begin < end);
    REQUIRE(eden::line_bin(static_cast<uint32_t>(begin)) == bin);
    REQUIRE(eden::line_bin(static_cast<uint32_t>(end - 1)) == bin);
  }
}

TEST_CASE("a row of lines unpacks to what it was made of") {
  for (const auto kind : {eden::ModelKind::kBitline, eden::ModelKind::kWordline}) {
    const eden::Region region =
        eden::unpack_region(eden::make_lines_region(kind, eden::TableKind::kMeasured, 0.5, 4096,
                                                    eden::Correction::kZero, 6, 5, 256, 64)
                                .data());
    CHECK(region.end == eden::kEndless);
    CHECK(region.address == 4096);
    CHECK(region.model == kind);
    CHECK(region.failure == uint64_t{1} << 63);
    CHECK(region.correction == eden::Correction::kZero);
    CHECK(region.table_kind == eden::TableKind::kMeasured);
    CHECK(region.table_first == 6);
    CHECK(region.table_length == 5);
    CHECK(region.row_bits == 256);
    CHECK(region.subarray_rows == 64);
  }
  const eden::Region map =
      eden::unpack_region(eden::make_map_region(1.0, 32, eden::Correction::kClamp, 3, 0).data());
  CHECK(map.model == eden::ModelKind::kMap);
  CHECK(map.address == 32);
  CHECK(map.failure == eden::kAlways);
  CHECK(map.correction == eden::Correction::kClamp);
  CHECK(map.table_first == 3);
  CHECK(map.table_length == 0);
}

TEST_CASE("a line finds its pair of thresholds") {
  const std::vector<double> probabilities = {0.0, 1e-9, 1e-3, 0.3, 1.0};
  std::vector<int64_t> table = {7, 7};  // another region's
  const auto own = eden::make_line_table(probabilities.data(), probabilities.size());
  table.insert(table.end(), own.begin(), own.end());
  const eden::Region region = eden::unpack_region(
      eden::make_lines_region(eden::ModelKind::kWordline, eden::TableKind::kMeasured, 1.0, 0,
                              eden::Correction::kNone, 2, 5, 128, 32)
          .data());
  for (uint64_t line = 0; line < 12; ++line) {
    const auto expected = eden::weak_thresholds(probabilities[line % probabilities.size()]);
    const auto found = eden::line_thresholds(1, region, table.data(), line, line % 2 != 0);
    CHECK(found.sparse == expected.sparse);
    CHECK(found.dense == expected.dense);
  }
}

TEST_CASE("what no row or table can hold is refused by name") {
  const auto lines = [](eden::ModelKind kind, eden::TableKind form, double failure, int64_t first,
                        int64_t length, int64_t row_bits, int64_t subarray_rows) {
    return eden::make_lines_region(kind, form, failure, 0, eden::Correction::kNone, first, length,
                                   row_bits, subarray_rows);
  };
  const auto bitline = eden::ModelKind::kBitline;
  const auto measured = eden::TableKind::kMeasured, population = eden::TableKind::kPopulation;
  CHECK_NOTHROW(lines(bitline, population, 1.0, 0, eden::kLineBins, 128, 32));
  CHECK_THROWS_WITH(lines(eden::ModelKind::kMap, measured, 1.0, 0, 1, 128, 32),
                    Catch::Contains("kind"));
  CHECK_THROWS_WITH(lines(bitline, population, 1.0, 0, 5, 128, 32),
                    Catch::Contains("table_length"));
  CHECK_THROWS_WITH(lines(bitline, measured, 0.0, 0, 1, 128, 32), Catch::Contains("failure"));
  CHECK_THROWS_WITH(lines(bitline, measured, 1.0, -1, 1, 128, 32), Catch::Contains("table_first"));
  CHECK_THROWS_WITH(lines(bitline, measured, 1.0, 0, 0, 128, 32), Catch::Contains("table_length"));
  CHECK_THROWS_WITH(lines(bitline, measured, 1.0, 0, 1, 192, 32), Catch::Contains("row_bits"));
  CHECK_THROWS_WITH(lines(bitline, measured, 1.0, 0, 1, 128, 16), Catch::Contains("subarray_rows"));
  CHECK_THROWS_WITH(eden::make_map_region(2.0, 0, eden::Correction::kNone, 0, 1),
                    Catch::Contains("failure"));
  CHECK_THROWS_WITH(eden::make_map_region(1.0, 0, eden::Correction::kNone, 0, -1),
                    Catch::Contains("table_length"));
  for (const double wrong :
       {-1e-9, 1.0 + 1e-9, std::nan(""), std::numeric_limits<double>::infinity()}) {
    const double probabilities[] = {0.5, wrong};
    CHECK_THROWS_WITH(eden::make_line_table(probabilities, 2), Catch::Contains("probabilities[1]"));
  }
}
