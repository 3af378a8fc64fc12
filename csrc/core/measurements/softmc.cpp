// The lines that SoftMC's retention test prints: one for each byte that was read wrongly. They name
// the burst of 64 bytes that the byte is in but not its place there, so of a row they tell how many
// cells failed and not which.
#include <algorithm>
#include <bit>
#include <stdexcept>

#include "core/measurements/parser.h"
#include "core/measurements/text.h"

namespace eden::measurements {
namespace {

constexpr std::string_view kMark = "Error at Col:";
constexpr uint64_t kBurstBits = 512;

// The number after a label, which the text must begin with; moves behind it.
template <class T>
bool labelled(std::string_view& text, std::string_view label, T& value, int base = 10) {
  if (!text.starts_with(label)) return false;
  text.remove_prefix(label.size());
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc()) return false;
  text.remove_prefix(stop - text.data());
  return true;
}

class SoftMc : public Parser {
 public:
  SoftMc(const Settings& settings, Output& output) : output_(output), condition_(settings.at) {
    // The pattern that the tool's source has.
    if (condition_.pattern.text().empty()) condition_.pattern = Pattern::of_byte(0xff);
    if (!condition_.pattern.known()) {
      throw std::invalid_argument("pattern is '" + condition_.pattern.text() +
                                  "'; allowed for softmc are bytes, such as 0xff");
    }
    number_ = output_.statistics.condition(condition_);
    output_.statistics.pass(number_, 0);
  }

  void feed(std::string_view bytes) override {
    lines_.feed(bytes,
                [this](uint64_t line, std::string_view text, bool cut) { take(line, text, cut); });
  }

  void finish() override {
    lines_.finish(
        [this](uint64_t line, std::string_view text, bool cut) { take(line, text, cut); });
    if (output_.log.records() == 0) {
      throw FormatError("found no line with '" + std::string(kMark) +
                        "'; allowed is the output of SoftMC's retention test");
    }
    output_.log.note(
        "the lines name a burst of 64 bytes and not the byte, so there are no counts of bitlines "
        "and cells");
    other_.note(output_.log, "report of an error");
  }

 private:
  void take(uint64_t line, std::string_view text, bool cut) {
    if (trimmed(text).empty()) return;
    const size_t mark = text.find(kMark);
    if (mark == std::string_view::npos) {
      // A report that lost its beginning is damage; other output of the program is not.
      if (text.find("Row:") == std::string_view::npos &&
          text.find("DATA:") == std::string_view::npos) {
        other_.line(line, text);
        return;
      }
    }
    output_.log.record();
    uint64_t column = 0;
    uint32_t row = 0, bank = 0, byte = 0, errors = 0;
    std::string_view rest = mark == std::string_view::npos ? text : text.substr(mark);
    const bool placed = !cut && labelled(rest, kMark, column) && labelled(rest, ", Row:", row) &&
                        labelled(rest, ", Bank:", bank);
    Statistics& statistics = output_.statistics;
    const Pattern& pattern = condition_.pattern;
    std::string_view counted = rest;
    if (placed && labelled(rest, ", DATA:", byte, 16) && trimmed(rest).empty() && byte < 256) {
      const unsigned stored = pattern.byte(row), wrong = stored ^ byte;
      if (wrong == 0) {
        output_.log.damaged(line, text, "a byte other than the pattern's (give another pattern?)");
        return;
      }
      const auto ones = static_cast<uint32_t>(std::popcount(wrong & stored));
      const auto zeros = static_cast<uint32_t>(std::popcount(wrong & ~stored));
      if (!statistics.flips_in_row(number_, 0, bank, row, kZero, zeros) ||
          !statistics.flips_in_row(number_, 0, bank, row, kOne, ones)) {
        output_.log.damaged(line, text, "a row of the banks and rows that were tested");
      }
    } else if (placed && labelled(counted, ", cnt:", errors) && trimmed(counted).empty() &&
               errors >= 1 && errors <= kBurstBits) {
      if (pattern.solid() == kUnknown) {
        output_.log.damaged(line, text, "the byte read: a count does not tell which values failed");
      } else if (!statistics.flips_in_row(number_, 0, bank, row, pattern.solid(), errors)) {
        output_.log.damaged(line, text, "a row of the banks and rows that were tested");
      }
    } else {
      output_.log.damaged(line, text, "'Error at Col: 12, Row: 345, Bank: 2, DATA: fe'");
    }
  }

  Output& output_;
  Condition condition_;
  int number_ = -1;
  Lines lines_;
  OtherText other_;
};

}  // namespace

std::unique_ptr<Parser> make_softmc(const Settings& settings, Output& output) {
  return std::make_unique<SoftMc>(settings, output);
}

bool is_softmc(std::string_view head) {
  const size_t mark = head.find(kMark);
  return mark != std::string_view::npos && head.find(", Row:", mark) != std::string_view::npos;
}

}  // namespace eden::measurements
