// Are the files of each format counted for what they hold, and damages named with their place?
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <random>
#include <tuple>

#include "catch2.h"
#include "measurement_files.h"
#include "measurements/text.h"

using namespace eden::measurements;
using Catch::Contains;
using eden::FormatError;

namespace {

Sample sample_of(std::string_view format) {
  for (Sample& sample : samples()) {
    if (sample.format == format) return std::move(sample);
  }
  FAIL("no sample of " << format);
  return {};
}

std::unique_ptr<Reader> read_text(std::string_view format, std::string text,
                                  Settings settings = {}) {
  return read_all({std::string(format), std::move(text), std::move(settings)});
}

double errors(const Statistics& statistics, int condition, Stored stored) {
  double sum = 0.0;
  for (const BankCount& count : statistics.counts(condition, stored)) sum += count.errors;
  return sum;
}

using Cell = std::tuple<uint32_t, uint32_t, uint32_t, int, uint32_t>;
std::vector<Cell> cells_of(const Statistics& statistics, int condition) {
  std::vector<Cell> cells;
  for (const FailingCell& c : statistics.failing_cells(condition)) {
    cells.emplace_back(c.bank, c.row, c.bit, c.stored, c.failures);
  }
  return cells;
}

// One record is damaged, and it is named.
void check_damage(std::string_view format, std::string text, uint64_t place,
                  const std::string& found, Settings settings = {}) {
  const auto reader = read_text(format, std::move(text), std::move(settings));
  const Log& log = reader->output().log;
  INFO(format);
  REQUIRE(log.damaged_records() == 1);
  CHECK(log.damages()[0].place == place);
  CHECK_THAT(log.damages()[0].found, Contains(found));
  CHECK(!log.damages()[0].allowed.empty());
}

}  // namespace

TEST_CASE("each sample is read without damage and recognized, if its bytes tell its format") {
  for (const Sample& sample : samples()) {
    INFO(sample.format);
    const auto reader = read_all(sample);
    CHECK(reader->output().log.records() > 0);
    CHECK(reader->output().log.damaged_records() == 0);
    const std::vector<std::string> names = recognize(sample.text);
    if (sample.text[0] == '\x01') {
      CHECK(names.empty());
    } else {
      CHECK(names == std::vector<std::string>{sample.format});
    }
  }
}

TEST_CASE("counts are kept by condition, stored value, pass and bank") {
  const auto reader = read_all(sample_of("counts"));
  const Statistics& statistics = reader->output().statistics;
  REQUIRE(statistics.conditions() == 2);
  CHECK(statistics.condition_of(0).field[kVdd] == 1.35);
  CHECK(statistics.condition_of(0).field[kTrcd] == 7.5);
  CHECK(std::isnan(statistics.condition_of(0).field[kTrp]));
  CHECK(statistics.stored_values(0) == std::vector<Stored>{kOne});
  CHECK(statistics.stored_values(1) == std::vector<Stored>{kUnknown});
  CHECK(statistics.repeats(0) == std::vector<uint32_t>{0, 1});
  const std::vector<BankCount> counts = statistics.counts(0, kOne);
  REQUIRE(counts.size() == 3);
  CHECK(counts[2].errors == 13.5);
  CHECK(counts[2].cells == 0x1p30);
  CHECK(counts[2].line == 4);
  CHECK(reader->output().modules.at("m1") == 4);
  CHECK_THROWS_AS(statistics.cells(0, kOne), std::domain_error);
  CHECK_THROWS_AS(statistics.counts(0, kZero), std::domain_error);
}

TEST_CASE("counts without a number of their pass are passes in order") {
  const auto reader =
      read_text("counts", "bank,stored,errors,cells\n0,1,5,9\n0,1,6,9\n1,1,7,9\n0,0,8,9\n");
  const Statistics& statistics = reader->output().statistics;
  const std::vector<BankCount> counts = statistics.counts(0, kOne);
  REQUIRE(counts.size() == 3);
  CHECK((counts[0].repeat == 0 && counts[1].repeat == 0 && counts[2].repeat == 1));
  CHECK((counts[0].errors == 5 && counts[1].errors == 7 && counts[2].errors == 6));
  CHECK(statistics.condition_of(0).pattern.text() == "0xff");
  CHECK(statistics.condition_of(1).pattern.text() == "0x00");
}

TEST_CASE("flips are counted by bank, wordline, bitline and cell") {
  const auto reader = read_all(sample_of("flips"));
  const Statistics& statistics = reader->output().statistics;
  REQUIRE(statistics.conditions() == 2);
  CHECK(statistics.condition_of(0).field[kTemperature] == 45.0);
  CHECK(statistics.flips() == 4);
  // Bits 1 and 63 of 0xaa are ones.
  CHECK(cells_of(statistics, 0) == std::vector<Cell>{{0, 0, 1, 1, 2}, {2, 7, 63, 1, 1}});
  CHECK(cells_of(statistics, 1) == std::vector<Cell>{{1, 4, 18, 1, 1}});
  // 3 passes over 3 banks of 8 rows of 64 cells, of which half store a 1.
  CHECK(statistics.cells(0, kOne) == std::vector<int64_t>{3 * 8 * 32 - 2, 1, 1, 0});
  CHECK(statistics.cells(0, kZero) == std::vector<int64_t>{3 * 8 * 32, 0, 0, 0});
  const std::vector<BankCount> counts = statistics.counts(0, kOne);
  REQUIRE(counts.size() == 9);
  CHECK((counts[5].repeat == 1 && counts[5].bank == 2 && counts[5].errors == 1));
  CHECK((counts[8].repeat == 2 && counts[8].errors == 0 && counts[8].cells == 8 * 32));

  std::vector<int64_t> line_errors, line_cells;
  statistics.lines(0, Axis::kWordline, kOne, 1000, line_errors, line_cells);
  REQUIRE(line_errors.size() == 3 * 8);
  CHECK((line_errors[0] == 2 && line_errors[23] == 1 && line_errors[1] == 0));
  CHECK(line_cells == std::vector<int64_t>(24, 3 * 32));
  // Bitlines of two subarrays of 4 rows; those of even bits hold no ones.
  statistics.lines(0, Axis::kBitline, kOne, 1000, line_errors, line_cells);
  REQUIRE(line_errors.size() == 3 * 2 * 32);
  CHECK((line_errors[0] == 2 && line_errors[3 * 64 - 1] == 1));
  CHECK(line_cells == std::vector<int64_t>(192, 3 * 4));
  CHECK_THROWS_AS(statistics.lines(0, Axis::kBitline, kOne, 191, line_errors, line_cells),
                  std::domain_error);
}

TEST_CASE("lines counted together are the lines one by one") {
  const char* patterns[] = {"0xaa", "0xff/0x00", "0x0f/0xff/0x00", "0xff", "0x01/0x02"};
  uint64_t state = 1;
  for (const char* pattern : patterns) {
    for (const uint32_t subarray_rows : {0u, 3u, 8u}) {
      Settings settings;
      settings.tested = {{1, 4}, 5, 23, 19, subarray_rows};
      settings.at.pattern = *Pattern::parse(pattern);
      std::string text = "bank,row,bit,repeat\n";
      for (int i = 0; i < 60; ++i) {
        state = hash_key(state + 1);
        text += (state & 1 ? "1," : "4,") + std::to_string(5 + (state >> 8) % 18) + "," +
                std::to_string((state >> 32) % 19) + "," + std::to_string((state >> 48) % 2) + "\n";
      }
      const auto reader = read_text("flips", text, settings);
      const Statistics& statistics = reader->output().statistics;
      REQUIRE(reader->output().log.damaged_records() == 0);
      double total = 0.0;
      for (const Stored stored : statistics.stored_values(0)) {
        for (const Axis axis : {Axis::kWordline, Axis::kBitline}) {
          std::vector<int64_t> line_errors, line_cells;
          statistics.lines(0, axis, stored, 10000, line_errors, line_cells);
          std::map<std::pair<int64_t, int64_t>, int64_t> one_by_one, together;
          int64_t sum = 0, cells = 0;
          for (size_t i = 0; i < line_errors.size(); ++i) {
            ++one_by_one[{line_errors[i], line_cells[i]}];
            sum += line_errors[i];
            cells += line_cells[i];
          }
          for (const LineCounts& c : statistics.line_counts(0, axis, stored)) {
            together[{c.errors, c.cells}] = c.lines;
          }
          CHECK(one_by_one == together);
          CHECK(static_cast<double>(sum) == errors(statistics, 0, stored));
          double counted = 0.0;
          for (const BankCount& c : statistics.counts(0, stored)) counted += c.cells;
          CHECK(static_cast<double>(cells) == counted);
        }
        total += errors(statistics, 0, stored);
      }
      CHECK(total + static_cast<double>(statistics.repeated_flips()) == 60.0);
    }
  }
}

TEST_CASE("a flip that is listed twice in a pass is one") {
  const auto reader = read_text("flips",
                                "stored,bank,row,bit,repeat\n"
                                "1,0,1,2,0\n1,0,1,2,0\n1,0,1,2,1\n1,0,1,3,1\n");
  const Statistics& statistics = reader->output().statistics;
  CHECK(statistics.flips() == 3);
  CHECK(statistics.repeated_flips() == 1);
  CHECK(errors(statistics, 0, kOne) == 3.0);
  CHECK(cells_of(statistics, 0) == std::vector<Cell>{{0, 1, 2, 1, 2}, {0, 1, 3, 1, 1}});
  // Nothing says what was tested.
  CHECK(std::isnan(statistics.counts(0, kOne)[0].cells));
  CHECK_THROWS_AS(statistics.cells(0, kOne), std::domain_error);
  CHECK_THROWS_AS(statistics.line_counts(0, Axis::kWordline, kOne), std::domain_error);
}

TEST_CASE("retention bitmaps are read as bytes and as numbers") {
  Sample sample = sample_of("dram-bender-retention");
  auto reader = read_all(sample);
  const Statistics& bytes = reader->output().statistics;
  CHECK(bytes.repeats(0) == std::vector<uint32_t>{0, 1});
  // Byte 100 is in bank 1, row 4, byte 4; the second pass begins at byte 192. 0x55 stores ones in
  // even bits.
  CHECK(cells_of(bytes, 0) ==
        std::vector<Cell>{{0, 0, 0, 1, 2}, {0, 0, 1, 0, 1}, {1, 4, 39, 0, 1}});
  CHECK(bytes.cells(0, kOne) == std::vector<int64_t>{3 * 8 * 32 - 1, 0, 1});

  std::string numbers;
  for (const char c : sample.text.substr(0, 192)) {
    const int read = static_cast<signed char>(c ^ '\xff');
    numbers += std::to_string(read ^ 0xff);
  }
  sample.text = numbers;
  reader = read_all(sample);
  CHECK(cells_of(reader->output().statistics, 0) ==
        std::vector<Cell>{{0, 0, 0, 1, 1}, {1, 4, 39, 0, 1}});
}

TEST_CASE("bits of HBM columns, RowScout's objects and rowhammer-tester's rows have their place") {
  auto reader = read_all(sample_of("dram-bender-hbm"));
  const Statistics& hbm = reader->output().statistics;
  REQUIRE(hbm.conditions() == 3);
  CHECK(hbm.condition_of(0).field[kRefreshInterval] == 4000.0);
  CHECK(cells_of(hbm, 0) == std::vector<Cell>{{0, 5, 17, 1, 1}, {1, 63, 8191, 1, 1}});
  CHECK(cells_of(hbm, 1) == std::vector<Cell>{{16, 9, 7 * 256 + 1, 0, 1}});
  CHECK(cells_of(hbm, 2) == std::vector<Cell>{{35, 9, 7 * 256 + 1, 0, 1}});

  reader = read_all(sample_of("rowscout"));
  const Statistics& scout = reader->output().statistics;
  REQUIRE(scout.conditions() == 2);
  CHECK(cells_of(scout, 0) == std::vector<Cell>{{1, 5, 3, 1, 1}, {1, 5, 77, 1, 1}});
  CHECK(cells_of(scout, 1) == std::vector<Cell>{{0, 6, 9, 0, 1}});
  CHECK(scout.condition_of(1).pattern.text() == "0x55");
  CHECK_THAT(reader->output().log.notes().back(), Contains("line 1: 'CMD: sudo"));

  reader = read_all(sample_of("rowhammer-tester"));
  const Statistics& hammer = reader->output().statistics;
  REQUIRE(hammer.conditions() == 2);
  CHECK(hammer.condition_of(1).field[kHammerCount] == 60000.0);
  CHECK(hammer.repeats(0) == std::vector<uint32_t>{0, 1});
  // Bits of a word are numbered from its most significant one, 511, which stores 1.
  CHECK(cells_of(hammer, 0) ==
        std::vector<Cell>{{1, 2, 381, 1, 1}, {1, 2, 504, 0, 1}, {1, 2, 1023, 1, 1}});
  CHECK(cells_of(hammer, 1) == std::vector<Cell>{{1, 2, 504, 0, 1}});
}

TEST_CASE("SoftMC's lines tell wordlines and no bitlines") {
  const auto reader = read_all(sample_of("softmc"));
  const Statistics& statistics = reader->output().statistics;
  // Pattern 0xfe: one 0 in 0xff, one 1 in 0x7e, seven 1s in 0x00.
  CHECK(errors(statistics, 0, kZero) == 1.0);
  CHECK(errors(statistics, 0, kOne) == 8.0);
  int64_t failing = 0;
  for (const LineCounts& c : statistics.line_counts(0, Axis::kWordline, kOne)) {
    failing += c.errors > 0 ? c.lines : 0;
  }
  CHECK(failing == 2);
  CHECK_THROWS_AS(statistics.line_counts(0, Axis::kBitline, kOne), std::domain_error);
  CHECK_THROWS_AS(statistics.cells(0, kOne), std::domain_error);
  CHECK_THROWS_AS(statistics.failing_cells(0), std::domain_error);

  const auto counted = read_text("softmc", "RdCmp Error at Col: 8, Row: 3, Bank: 0, cnt: 12 \n");
  CHECK(errors(counted->output().statistics, 0, kOne) == 12.0);
}

TEST_CASE("the voltage study's lines are kept as they are") {
  Sample sample = sample_of("voltage");
  CHECK(read_all(sample)->output().cache_lines.size() == 3);
  sample.settings.module = "A1";
  const auto reader = read_all(sample);
  REQUIRE(reader->output().cache_lines.size() == 2);
  CHECK(reader->output().cache_lines[1].vdd == 1.35);
  CHECK(reader->output().cache_lines[1].percent == 1.19209289551e-05);
  CHECK(reader->output().cache_lines[1].line == 4);
}

TEST_CASE("any cut into pieces gives the same") {
  for (const Sample& sample : samples()) {
    INFO(sample.format);
    const auto whole = read_all(sample);
    for (const size_t size : {1u, 2u, 3u, 7u, 64u}) {
      Reader pieces(sample.format, sample.settings);
      for (size_t at = 0; at < sample.text.size(); at += size) {
        pieces.feed(std::string_view(sample.text).substr(at, size));
      }
      pieces.finish();
      CHECK(pieces.output().log.records() == whole->output().log.records());
      CHECK(pieces.output().log.notes() == whole->output().log.notes());
      CHECK(pieces.output().statistics.flips() == whole->output().statistics.flips());
      CHECK(pieces.output().cache_lines.size() == whole->output().cache_lines.size());
    }
  }
}

TEST_CASE("damaged records are named with their place") {
  const std::string counts = "bank,stored,repeat,errors,cells\n0,1,0,1,9\n";
  check_damage("counts", counts + "x,1,0,1,9\n", 3, "bank = x");
  check_damage("counts", counts + "1,2,0,1,9\n", 3, "stored = 2");
  check_damage("counts", counts + "1,1,0,10,9\n", 3, "errors = 10");
  check_damage("counts", counts + "1,1,0,-1,9\n", 3, "errors = -1");
  check_damage("counts", counts + "1,1,0,nan,9\n", 3, "errors = nan");
  check_damage("counts", counts + "1,1,0,1,9.5\n", 3, "cells = 9.5");
  check_damage("counts", counts + "1,1,2000000,1,9\n", 3, "repeat = 2000000");
  check_damage("counts", counts + "0,1,0,1,9\n", 3, "a second count of bank 0 in repeat 0");
  check_damage("counts", counts + "1,,0,1,9\n", 3, "neither a pattern nor a stored value");
  check_damage("counts", counts + "1,1,0,1\n", 3, "4 fields");
  check_damage("counts", counts + "1,1,0,1,\"9\n", 3, "1,1,0,1,");
  check_damage("counts", counts + "1,1,0,1,9", 3, "1,1,0,1,9");
  check_damage("counts", counts + std::string(100000, '7') + "\n1,1,0,1,9\n", 3, "7777");

  const std::string flips = "pattern,stored,bank,row,bit\n0xaa,,0,0,0\n";
  Settings settings;
  settings.tested = small_test();
  check_damage("flips", flips + "0xaa,,3,0,0\n", 3, "bank 3, row 0, bit 0", settings);
  check_damage("flips", flips + "0xaa,,2,8,0\n", 3, "bank 2, row 8, bit 0", settings);
  check_damage("flips", flips + "0xaa,,2,7,64\n", 3, "bank 2, row 7, bit 64", settings);
  check_damage("flips", flips + "0xaa,1,2,7,0\n", 3, "stored = 1", settings);
  check_damage("flips", flips + "0xag,1,2,7,0\n", 3, "pattern = 0xag", settings);
  check_damage("flips", flips + "0xaa,1,-1,7,0\n", 3, "bank = -1", settings);

  const std::string hbm = sample_of("dram-bender-hbm").text;
  check_damage("dram-bender-hbm", hbm + "0,2,0,5,0,17,4000,255\n", 6, "pseudo_channel = 2");
  check_damage("dram-bender-hbm", hbm + "0,0,0,5,0,256,4000,255\n", 6, "bit = 256");
  check_damage("dram-bender-hbm", hbm + "0,0,0,5,0,17,4000,256\n", 6, "data_pattern = 256");

  const std::string softmc = "Error at Col: 12, Row: 345, Bank: 2, DATA: fe \n";
  check_damage("softmc", softmc + "Error at Col: 12, Row: x, Bank: 2, DATA: fe \n", 2, "Row: x");
  check_damage("softmc", softmc + "Col: 12, Row: 1, Bank: 2, DATA: fe \n", 2, "Col: 12, Row: 1");
  check_damage("softmc", softmc + "Error at Col: 12, Row: 1, Bank: 2, DATA: ff \n", 2, "DATA: ff");
  check_damage("softmc", softmc + "Error at Col: 12, Row: 1, Bank: 2, DATA: fe7 \n", 2, "fe7");
  check_damage("softmc", softmc + "FPGA Error at Col: 12, Row: 1, Bank: 2\n", 2, "FPGA Error");

  const std::string scout = sample_of("rowscout").text;
  check_damage("rowscout",
               scout +
                   "{\"row_group\": [x]}\n{\"row_group\": [], \"bank_id\": 0, "
                   "\"ret_ms\": 5}\n",
               12, "x");
  check_damage("rowscout",
               scout +
                   "{\"row_group\": [\n{\"row_group\": [], \"bank_id\": 0, "
                   "\"ret_ms\": 5}\n",
               12, "an object that the file ends in");
  check_damage("rowscout", scout + "{\"bank_id\": 0}\n", 12, "without row_group");
  check_damage("rowscout",
               scout +
                   "{\"row_group\": [{\"row_id\": -1, \"bitflip_locs\": [1]}], "
                   "\"bank_id\": 0, \"ret_ms\": 5}\n",
               12, "row_id = -1");

  const std::string rows = "{\"1\": {\"pair_1_1\": {\"errors_in_rows\": {\n";
  const std::string end = "}}}}";
  check_damage("rowhammer-tester", rows + "\"2\": {\"col\": {\"0\": [512]}}" + end, 2, "bit = 512");
  check_damage("rowhammer-tester", rows + "\"2\": {\"col\": {\"x\": [5]}}" + end, 2, "column = x");
  check_damage("rowhammer-tester", rows + "\"x\": {\"col\": {\"0\": [5]}}" + end, 2, "row = x");
  check_damage("rowhammer-tester", rows + "\"2\": {\"col\": {\"0\": [5]}, \"bitflips\": 0}" + end,
               2, "bitflips = 0");
  check_damage("rowhammer-tester", rows + "\"2\": {\"row\": 3, \"col\": {\"0\": [5]}}" + end, 2,
               "row 3 under another number");

  check_damage("voltage", sample_of("voltage").text + "A1,1.1,A,101\n", 5,
               "error_cacheline_percent = 101");
}

TEST_CASE("what cannot be read at all is an error with its place") {
  Settings tested;
  tested.tested = small_test();
  const std::tuple<const char*, std::string, Settings, const char*> cases[] = {
      {"counts", "", {}, "the file is empty"},
      {"counts", "bank,errors,cells\n", {}, "a header and no lines"},
      {"counts", "bank,errors\n0,1\n", {}, "line 1: the column cells is missing"},
      {"counts", "\nbank,errors,cells,bank\n", {}, "line 2: the column bank occurs twice"},
      {"flips", "bank,row,column,bit\n0,0,0,0\n", {}, "column_bits"},
      {"rowscout", "no objects\n", {}, "found no JSON object"},
      {"softmc", "no errors\n", {}, "found no line"},
      {"rowhammer-tester",
       "{\"1\": {\"pair_1_1\":\n {\"errors_in_rows\"",
       {},
       "line 2: the file ends inside"},
      {"rowhammer-tester", "{\"1\": {}}", {}, "found no errors_in_rows"},
      {"rowhammer-tester", "{\"1\": \n{1}}", {}, "line 2: found '1'; allowed is a key"},
      {"rowhammer-tester", "[]", {}, "found '['; allowed is an object"},
      {"rowhammer-tester", "{} {}", {}, "text after the end"},
      {"dram-bender-retention", "", tested, "the file is empty"},
      {"dram-bender-retention", std::string(100, 'x'), tested,
       "byte 100: the file ends in pass 0, bank 1, row 4, byte 4"},
      {"dram-bender-retention", "-256-256-25", tested, "inside a number"},
      {"dram-bender-retention", std::string(30, '2') + "222x", tested, "byte 33: found 'x'"},
  };
  for (const auto& [format, text, settings, message] : cases) {
    INFO(format << ": " << message);
    CHECK_THROWS_WITH(read_text(format, text, settings), Contains(message));
    CHECK_THROWS_AS(read_text(format, text, settings), FormatError);
  }
  Sample flips = sample_of("flips");
  flips.settings.repeats = 1;
  CHECK_THROWS_WITH(read_all(flips), Contains("found 2 passes of a condition"));
  CHECK_THROWS_AS(Reader("dram-bender-retention", {}), std::invalid_argument);
  CHECK_THROWS_AS(Reader("rowscout", tested), std::invalid_argument);
  CHECK_THROWS_AS(Reader("other", {}), std::invalid_argument);
  tested.tested.banks = {1, 0};
  CHECK_THROWS_AS(Reader("flips", tested), std::invalid_argument);
}

TEST_CASE("modules of one file are told apart") {
  const std::string text = "module,stored,bank,row,bit\na,1,0,0,0\nb,1,0,0,1\nb,1,0,0,2\n";
  Settings settings;
  settings.module = "b";
  CHECK(read_text("flips", text, settings)->output().statistics.flips() == 2);
  const auto reader = read_text("flips", text);
  CHECK(reader->output().modules.size() == 2);
}

TEST_CASE("statistics stay within their bounds and say what they gave up") {
  Bounds bounds;
  bounds.cells = 1000;
  bounds.lines = 500;
  bounds.conditions = 2;
  bounds.counts = 100;
  Statistics statistics({{0}, 0, 1u << 16, 1024, 0}, bounds);
  Condition condition;
  condition.pattern = Pattern::of_byte(0xff);
  const int number = statistics.condition(condition);
  for (uint32_t i = 0; i < 100000; ++i) {
    REQUIRE(statistics.flip(number, 0, 0, i % 40000, i / 100, kOne));
  }
  statistics.finish();
  CHECK(statistics.bytes() < 200000);
  CHECK(errors(statistics, number, kOne) == 100000.0);
  CHECK(!statistics.lines_kept(Axis::kWordline));
  CHECK(!statistics.lines_kept(Axis::kBitline));
  CHECK_THROWS_AS(statistics.line_counts(number, Axis::kWordline, kOne), std::domain_error);
  CHECK_THROWS_AS(statistics.failing_cells(number), std::domain_error);
  // One in 128 cells, 781 of 100,000; +-6 standard deviations of a binomial count, one in 5e8.
  REQUIRE(statistics.sample_shift() == 7);
  const std::vector<int64_t> cells = statistics.cells(number, kOne);
  CHECK(cells[0] + cells[1] == int64_t{1} << 19);
  CHECK(std::abs(static_cast<double>(cells[1]) - 100000.0 / 128) < 6 * std::sqrt(100000.0 / 128));

  condition.field[kTrp] = 5.0;
  CHECK(statistics.condition(condition) == number + 1);
  CHECK(statistics.condition(condition) == number + 1);
  condition.field[kTrp] = 6.0;
  CHECK_THROWS_AS(statistics.condition(condition), FormatError);
  const auto many = [&] {
    for (uint32_t i = 0; i < 101; ++i) statistics.pass(number, i);
  };
  CHECK_THROWS_AS(many(), FormatError);
}

// What Statistics is to count, one flip after another.
struct Counted {
  std::map<std::pair<uint32_t, uint32_t>, double> banks;  // by pass and bank
  std::map<Cell, uint32_t> last;                          // pass that had a failure
  std::map<Cell, int> failures;
  uint64_t repeated = 0;

  void flip(uint32_t repeat, uint32_t bank, uint32_t row, uint32_t bit, Stored stored) {
    const Cell cell{bank, row, bit, stored, 0};
    const auto [place, is_new] = last.try_emplace(cell, repeat);
    if (!is_new && place->second == repeat) {
      ++repeated;
      return;
    }
    place->second = repeat;
    ++failures[cell];
    ++banks[{repeat, bank}];
  }
};

TEST_CASE("flips in any order are counted like one after another") {
  std::mt19937_64 random(11);
  const Condition condition{{}, *Pattern::parse("0xaa/0x0f")};
  for (const int order : {0, 1, 2, 3}) {
    CAPTURE(order);
    Statistics statistics({{0, 1, 4}, 0, 512, 512, 100});
    Counted expected;
    const int number = statistics.condition(condition);
    for (uint32_t pass = 0; pass < 4; ++pass) {
      std::vector<std::array<uint32_t, 3>> cells;
      for (int i = 0; i < 12000; ++i) {
        const uint64_t r = random();
        // A part of the cells fails in each pass.
        const uint64_t place = i % 3 == 0 ? uint64_t(i) * 0x9e3779b97f4a7c15u : r;
        cells.push_back({std::array<uint32_t, 3>{0, 1, 4}[(place >> 40) % 3],
                         uint32_t(place >> 20) % 512, uint32_t(place >> 50) % 512});
      }
      // By ascending address; bank by bank from the last; pieces of ascending ones; at random.
      if (order < 3) std::sort(cells.begin(), cells.end());
      if (order == 1) {
        std::stable_sort(cells.begin(), cells.end(),
                         [](const auto& a, const auto& b) { return a[0] > b[0]; });
      } else if (order == 2) {
        std::rotate(cells.begin(), cells.begin() + 5000, cells.end());
      }
      for (const auto& [bank, row, bit] : cells) {
        const uint32_t repeat = order == 3 ? bit % 4 : pass;
        const Stored stored = condition.pattern.stored(row, bit);
        REQUIRE(statistics.flip(number, repeat, bank, row, bit, stored));
        expected.flip(repeat, bank, row, bit, stored);
      }
    }
    statistics.finish();
    CHECK(expected.repeated > 0);
    CHECK(statistics.repeated_flips() == expected.repeated);
    CHECK(statistics.flips() + expected.repeated == 48000);
    std::vector<Cell> cells;
    std::map<uint64_t, int64_t> wordlines, bitlines;  // of stored ones
    for (const auto& [cell, failures] : expected.failures) {
      auto [bank, row, bit, stored, unused] = cell;
      cells.push_back({bank, row, bit, stored, failures});
      if (stored != kOne) continue;
      wordlines[bank * 512 + row] += failures;
      bitlines[(bank * 6 + row / 100) * 512 + bit] += failures;
    }
    CHECK(cells_of(statistics, number) == cells);
    std::map<std::pair<uint32_t, uint32_t>, double> banks;
    for (const Stored stored : {kZero, kOne}) {
      for (const BankCount& c : statistics.counts(number, stored)) {
        banks[{c.repeat, c.bank}] += c.errors;
      }
    }
    CHECK(banks == expected.banks);
    for (const Axis axis : {Axis::kWordline, Axis::kBitline}) {
      std::vector<int64_t> line_errors, line_cells, failing;
      statistics.lines(number, axis, kOne, 1 << 20, line_errors, line_cells);
      std::erase(line_errors, 0);
      for (const auto& [line, count] : axis == Axis::kWordline ? wordlines : bitlines) {
        failing.push_back(count);
      }
      CHECK(line_errors == failing);
    }
  }
}

TEST_CASE("a sample of cells leaves the counts of lines and banks whole") {
  std::mt19937_64 random(13);
  Bounds bounds;
  bounds.cells = 3000;
  Tested tested{{0, 1}, 0, 256, 1024, 64};
  Statistics sample(tested, bounds), whole(tested);
  Condition condition;
  condition.pattern = Pattern::of_byte(0xff);
  for (Statistics* const statistics : {&sample, &whole}) statistics->condition(condition);
  for (int i = 0; i < 100000; ++i) {
    // Each pass goes over its cells once, in ascending order.
    const uint64_t place = uint64_t(i % 25000) * 20 + random() % 20;
    const auto bank = uint32_t(place >> 18), row = uint32_t(place >> 10) & 255;
    for (Statistics* const statistics : {&sample, &whole}) {
      REQUIRE(statistics->flip(0, uint32_t(i / 25000), bank, row, place & 1023, kOne));
    }
  }
  sample.finish();
  whole.finish();
  CHECK(sample.sample_shift() > 2);
  CHECK(whole.sample_shift() == 0);
  CHECK(sample.flips() == 100000);
  for (const Axis axis : {Axis::kWordline, Axis::kBitline}) {
    std::vector<int64_t> errors[2], cells[2];
    sample.lines(0, axis, kOne, 1 << 20, errors[0], cells[0]);
    whole.lines(0, axis, kOne, 1 << 20, errors[1], cells[1]);
    CHECK(errors[0] == errors[1]);
    CHECK(cells[0] == cells[1]);
  }
  for (size_t i = 0; i < 8; ++i) {
    CHECK(sample.counts(0, kOne)[i].errors == whole.counts(0, kOne)[i].errors);
  }
}

TEST_CASE("counts of banks in any order are those in ascending order") {
  std::mt19937_64 random(17);
  std::vector<std::pair<uint32_t, uint32_t>> places;
  for (uint32_t repeat = 0; repeat < 40; ++repeat) {
    for (uint32_t bank = 0; bank < 16; ++bank) places.push_back({repeat * 3, bank});
  }
  for (int order = 0; order < 3; ++order) {
    auto mixed = places;
    if (order == 1) {
      std::sort(mixed.begin(), mixed.end(), [](const auto& a, const auto& b) {
        return std::tie(a.second, a.first) < std::tie(b.second, b.first);
      });
    } else if (order == 2) {
      std::shuffle(mixed.begin(), mixed.end(), random);
    }
    Statistics statistics({});
    Condition condition;
    condition.pattern = Pattern::of_byte(0xff);
    statistics.condition(condition);
    for (const auto& [repeat, bank] : mixed) {
      REQUIRE(statistics.count(0, repeat, bank, kOne, repeat + bank, 1000, 2));
      REQUIRE(!statistics.count(0, repeat, bank, kOne, 0, 1000, 3));
    }
    statistics.finish();
    const std::vector<BankCount> counts = statistics.counts(0, kOne);
    REQUIRE(counts.size() == places.size());
    for (size_t i = 0; i < counts.size(); ++i) {
      REQUIRE((counts[i].repeat == places[i].first && counts[i].bank == places[i].second));
      REQUIRE(counts[i].errors == counts[i].repeat + counts[i].bank);
    }
  }
}

TEST_CASE("digits at the beginning of a text are a number, up to eighteen of them") {
  for (const char* behind : {",", ",12345678,", "x", "\n", " "}) {
    std::string digits;
    for (int size = 1; size <= 21; ++size) {
      digits += static_cast<char>('0' + (size * 7 + 2) % 10);
      const std::string text = digits + behind;
      const char* at = text.data();
      uint64_t value = 1;
      const bool found = leading_digits(at, text.data() + text.size(), value);
      REQUIRE(found == (size <= 18));
      REQUIRE(value == (found ? std::stoull(digits) : 1));
      REQUIRE(at == text.data() + (found ? size : 0));
      // Where the text ends with the digits, more can follow.
      REQUIRE(!leading_digits(at = text.data(), text.data() + size, value));
    }
  }
  for (const std::string text : {",12345678", "-1,345678", "/0,", ":1,", "\xb0\xb1,2345678"}) {
    const char* at = text.data();
    uint64_t value = 1;
    REQUIRE(!leading_digits(at, text.data() + text.size(), value));
  }
}

TEST_CASE("patterns have one spelling and know their bits") {
  CHECK(Pattern::parse("0xAAAAAAAA")->text() == "0xaa");
  CHECK(Pattern::parse("0xf")->text() == "0x0f");
  CHECK(Pattern::parse("0xff/0xff")->text() == "0xff");
  CHECK(Pattern::parse("01_per_row")->text() == "0xff/0x00");
  CHECK(Pattern::parse("rand_per_row")->text() == "rand_per_row");
  CHECK(!Pattern::parse("rand_per_row")->known());
  CHECK(!Pattern::parse("0x"));
  CHECK(!Pattern::parse("0x123"));
  CHECK(!Pattern::parse("0xaabb"));
  CHECK(!Pattern::parse("0xaa/"));
  CHECK(!Pattern::parse("a b"));
  const Pattern pattern = *Pattern::parse("0x05/0xff");
  CHECK((pattern.stored(0, 2) == kOne && pattern.stored(2, 9) == kZero &&
         pattern.stored(1, 9) == kOne));
  for (const uint32_t row_bits : {1u, 7u, 8u, 27u}) {
    for (uint32_t row = 0; row < 2; ++row) {
      uint32_t ones = 0;
      for (uint32_t bit = 0; bit < row_bits; ++bit) ones += pattern.stored(row, bit) == kOne;
      CHECK(pattern.cells(row, row_bits, kOne) == ones);
      CHECK(pattern.cells(row, row_bits, kZero) == row_bits - ones);
    }
  }
}
