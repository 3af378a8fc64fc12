// Does every reader answer any bytes with a result or an error, in bounded memory, and the same
// however they are cut?
#include <algorithm>
#include <cstdlib>
#include <random>
#include <sstream>

#include "catch2.h"
#include "measurement_files.h"

using namespace eden::measurements;
using eden::FormatError;

namespace {

// EDEN_FUZZ_INPUTS mutated files for each sample; `make sanitize` asks for 100,000.
int inputs() {
  const char* const text = std::getenv("EDEN_FUZZ_INPUTS");
  return text ? std::atoi(text) : 1000;
}

std::string mutated(const std::vector<Sample>& all, const std::string& text,
                    std::mt19937_64& random) {
  static constexpr const char* kPieces[] = {"0",
                                            "-1",
                                            "99999999999999999999",
                                            "4294967296",
                                            "1e308",
                                            "nan",
                                            "inf",
                                            "0x",
                                            ",,",
                                            "\n",
                                            "\r\n",
                                            "\"",
                                            "{",
                                            "}",
                                            "[",
                                            "]",
                                            ":",
                                            "\\u",
                                            "e",
                                            "\xff",
                                            "0xff/",
                                            "Error at Col:",
                                            "\"errors_in_rows\": {",
                                            "\"row_group\": [",
                                            "-",
                                            " ",
                                            "0xaa/0x55"};
  std::string result = text;
  const auto below = [&](size_t n) { return n == 0 ? 0 : random() % n; };
  for (uint64_t changes = 1 + below(6); changes > 0; --changes) {
    const size_t at = below(result.size() + 1), size = below(24);
    switch (below(8)) {
      case 0:
        if (at < result.size()) result[at] = static_cast<char>(random());
        break;
      case 1:
        if (at < result.size()) result[at] = static_cast<char>(result[at] ^ 1 << below(8));
        break;
      case 2:
        result.erase(at, size);
        break;
      case 3:
        result.insert(at, result.substr(below(result.size() + 1), size));
        break;
      case 4:
        result.insert(at, kPieces[below(std::size(kPieces))]);
        break;
      case 5: {
        const std::string& other = all[below(all.size())].text;
        result.insert(at, other.substr(below(other.size() + 1), below(100)));
        break;
      }
      case 6:
        result.resize(at);
        break;
      default:
        result.insert(at, std::string(below(below(50) == 0 ? 70000 : 40), "0[{,a\n "[below(7)]));
        break;
    }
  }
  return result;
}

// Files of lines that are mostly alike, which are read by another way than those that are not.
std::vector<Sample> long_samples() {
  std::vector<Sample> all = samples();
  std::erase_if(all, [](const Sample& sample) {
    return sample.format != "counts" && sample.format != "flips" &&
           sample.format != "dram-bender-hbm" && sample.format != "softmc";
  });
  std::mt19937_64 random(7);
  const auto below = [&](size_t n) { return std::to_string(random() % n); };
  for (Sample& sample : all) {
    sample.text.resize(sample.format == "softmc" ? 0 : sample.text.find('\n') + 1);
    std::string start = "1.35,7.5,50,0xff,1,m1,\"A, B\",";
    if (sample.format == "flips") start = "5,0xaa,";
    std::string end = ",4000,255\n";
    for (int i = 0; i < 20; ++i) {
      const bool other = i % 8 == 7;
      if (sample.format == "counts") {
        if (other) start = i == 7 ? "1.35,7.5,50,0x00,0,m1,A," : "1.3,7.5,50,0x00,,m1,,";
        sample.text += start + below(3) + "," + std::to_string(i) + "," + below(5000) + ",5000\n";
      } else if (sample.format == "flips") {
        if (other) start = i == 7 ? "5,0xff/0x00," : "7,0xaa,";
        sample.text += start + below(3) + "," + below(8) + "," + below(4) + "," + below(16) + "," +
                       below(3) + (i == 3 ? "\r\n" : "\n");
      } else if (sample.format == "softmc") {
        sample.text += "Error at Col: " + below(1024) + ", Row: " + below(64) +
                       ", Bank: " + below(2) + ", DATA: " + (other ? "1" : "") + below(10) + " \n";
      } else {
        if (other) end = i == 7 ? ",8000,0x55\n" : ",8000,85\n";
        sample.text += "0," + below(2) + "," + below(2) + "," + below(64) + "," + below(32) + "," +
                       below(256) + end;
      }
    }
  }
  return all;
}

// What a file gives, as text.
std::string outcome(const Sample& sample, const std::string& text, std::mt19937_64* random) {
  Reader reader(sample.format, sample.settings);
  try {
    for (size_t at = 0; at < text.size();) {
      const size_t size = random ? 1 + (*random)() % 40 : text.size();
      reader.feed(std::string_view(text).substr(at, size));
      at += size;
    }
    reader.finish();
  } catch (const FormatError& error) {
    REQUIRE(std::string(error.what()).size() > 10);
    return error.what();
  }
  const Output& output = reader.output();
  REQUIRE(output.statistics.bytes() < 1u << 20);
  REQUIRE(output.log.damaged_records() <= output.log.records());
  std::ostringstream result;
  result << output.log.records() << ' ' << output.log.damaged_records() << ' '
         << output.cache_lines.size();
  for (const Damage& damage : output.log.damages()) {
    result << "; " << damage.place << damage.found << damage.allowed;
  }
  for (const std::string& note : output.log.notes()) result << "; " << note;
  for (const auto& [label, records] : output.modules) result << "; " << label << records;
  for (const auto& [label, records] : output.vendors) result << "; " << label << records;
  // Everything that can be asked of the statistics, which must hold together.
  const Statistics& statistics = output.statistics;
  for (int c = 0; c < static_cast<int>(statistics.conditions()); ++c) {
    for (const Stored stored : statistics.stored_values(c)) {
      double errors = 0.0;
      result << "; ";
      for (const BankCount& count : statistics.counts(c, stored)) {
        REQUIRE(!(count.errors > count.cells));
        errors += count.errors;
        result << count.repeat << ',' << count.bank << ',' << count.errors << ',' << count.cells
               << ',' << count.line << ' ';
      }
      try {
        for (const Axis axis : {Axis::kWordline, Axis::kBitline}) {
          int64_t lines = 0;
          for (const LineCounts& count : statistics.line_counts(c, axis, stored)) {
            lines += count.errors * count.lines;
            result << count.errors << '/' << count.cells << 'x' << count.lines << ' ';
          }
          REQUIRE(static_cast<double>(lines) == errors);
        }
        for (const int64_t cells : statistics.cells(c, stored)) REQUIRE(cells >= 0);
      } catch (const std::domain_error&) {
        result << " none";
      }
    }
    try {
      for (const FailingCell& cell : statistics.failing_cells(c)) {
        result << cell.bank << ':' << cell.row << ':' << cell.bit << ':' << cell.stored << 'x'
               << cell.failures << ' ';
      }
    } catch (const std::domain_error&) {
      result << " none";
    }
  }
  return result.str();
}

}  // namespace

TEST_CASE("mutated files give a result or an error, the same however they are cut") {
  std::vector<Sample> all = samples();
  for (Sample& sample : long_samples()) all.push_back(std::move(sample));
  for (size_t s = 0; s < all.size(); ++s) {
    std::mt19937_64 random(s);
    for (int i = 0; i < inputs(); ++i) {
      const std::string text = mutated(all, all[s].text, random);
      const std::string whole = outcome(all[s], text, nullptr);
      const std::string pieces = outcome(all[s], text, &random);
      if (whole != pieces) {
        CAPTURE(all[s].format, i, printable(text, 2000));
        REQUIRE(whole == pieces);
      }
      for (const std::string& name : recognize(text)) REQUIRE(!name.empty());
    }
  }
}
