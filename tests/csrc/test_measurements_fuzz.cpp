// Does every reader answer any bytes with a result or an error, in bounded memory, and the same
// however they are cut?
#include <algorithm>
#include <cstdlib>
#include <random>
#include <sstream>

#include "catch2.h"
#include "measurement_files.h"

using namespace eden::measurements;

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
  // Everything that can be asked of the statistics, which must hold together.
  const Statistics& statistics = output.statistics;
  for (int c = 0; c < static_cast<int>(statistics.conditions()); ++c) {
    for (const Stored stored : statistics.stored_values(c)) {
      double errors = 0.0;
      for (const BankCount& count : statistics.counts(c, stored)) {
        REQUIRE(!(count.errors > count.cells));
        errors += count.errors;
      }
      result << "; " << errors;
      try {
        int64_t lines = 0;
        for (const LineCounts& count : statistics.line_counts(c, Axis::kWordline, stored)) {
          lines += count.errors * count.lines;
        }
        REQUIRE(static_cast<double>(lines) == errors);
        for (const int64_t cells : statistics.cells(c, stored)) REQUIRE(cells >= 0);
        result << ' ' << statistics.failing_cells(c).size();
      } catch (const std::domain_error&) {
        result << " none";
      }
    }
  }
  return result.str();
}

}  // namespace

TEST_CASE("mutated files give a result or an error, the same however they are cut") {
  const std::vector<Sample> all = samples();
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
