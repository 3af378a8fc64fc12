// The lines that SoftMC's retention test prints: one for each byte that was read wrongly. They name
// the burst of 64 bytes that the byte is in but not its place there, so of a row they tell how many
// cells failed and not which.
#include <algorithm>
#include <bit>
#include <cstring>

#include "base/refusal.h"
#include "measurements/parser.h"
#include "measurements/text.h"

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
    assumed_ = condition_.pattern.text().empty();
    if (assumed_) condition_.pattern = Pattern::of_byte(0xff);
    if (!condition_.pattern.known()) {
      refuse("pattern is '", condition_.pattern.text(),
             "'; allowed for softmc are bytes, such as 0xff");
    }
    number_ = output_.statistics.condition(condition_);
    output_.statistics.pass(number_, 0);
  }

  // The tool draws its progress over the last one, behind a carriage return, which ends a line
  // here.
  void feed(std::string_view bytes) override {
    if (!held_ && bytes.find('\r') == std::string_view::npos) return take_bytes(bytes);
    std::string text = held_ ? "\r" : "";
    text += bytes;
    held_ = text.ends_with('\r');
    if (held_) text.pop_back();
    for (size_t i = text.find('\r'); i != std::string::npos; i = text.find('\r', i + 1)) {
      if (i + 1 < text.size() && text[i + 1] != '\n') text[i] = '\n';
    }
    take_bytes(text);
  }

  void take_bytes(std::string_view bytes) {
    // Behind the last end of a line there is nothing to look for.
    const char* const end = bytes.data() + (bytes.rfind('\n') + 1);
    lines_.feed(
        bytes, [this](uint64_t line, std::string_view text, bool cut) { take(line, text, cut); },
        [&](std::string_view rest, uint64_t& line) {
          const char* at = rest.data();
          while (at < end) {
            const char* const next = take_usual(at, end);
            if (next == nullptr) break;
            at = next;
            ++line;
          }
          return static_cast<size_t>(at - rest.data());
        });
  }

  void finish() override {
    lines_.finish(
        [this](uint64_t line, std::string_view text, bool cut) { take(line, text, cut); });
    if (output_.log.records() == 0) {
      refuse<FormatError>("found no line with '", kMark,
                          "'; allowed is the output of SoftMC's retention test");
    }
    if (assumed_ && 2 * wrong_bits_ > 8 * bytes_) {
      refuse<FormatError>("found ", wrong_bits_, " wrong bits in ", bytes_,
                          " bytes that are not 0xff; allowed without a pattern is data that was ",
                          "written as 0xff, of which few bits of a byte fail: give the pattern");
    }
    output_.log.note(
        "the lines name a burst of 64 bytes and not the byte, so there are no counts of bitlines "
        "and cells");
    other_.note(output_.log, "report of an error");
  }

 private:
  // Takes a line as the tool prints it, and returns what is behind it; nullptr, and nothing is
  // done, for one that take() is to have.
  const char* take_usual(const char* at, const char* end) {
    const auto passed = [&](std::string_view text) {
      if (static_cast<size_t>(end - at) <= text.size()) return false;
      const bool equal = std::memcmp(at, text.data(), text.size()) == 0;
      at += text.size();
      return equal;
    };
    uint64_t column = 0, row = 0, bank = 0;
    if (!passed("Error at Col: ") || !leading_digits(at, end, column) || !passed(", Row: ") ||
        !leading_digits(at, end, row) || !passed(", Bank: ") || !leading_digits(at, end, bank) ||
        !passed(", DATA: ") || row >= kMostRows || bank >= kMostBanks) {
      return nullptr;
    }
    unsigned byte = 0;
    const auto [stop, error] = std::from_chars(at, end, byte, 16);
    if (error != std::errc() || byte > 0xff) return nullptr;
    at = stop;
    if (*at == ' ') ++at;
    if (at == end || *at != '\n' ||
        !count(static_cast<uint32_t>(bank), static_cast<uint32_t>(row), byte)) {
      return nullptr;
    }
    output_.log.record();
    return at + 1;
  }

  // False, and nothing counted, for a byte that is not wrong or a row that was not tested.
  bool count(uint32_t bank, uint32_t row, unsigned byte) {
    const unsigned stored = condition_.pattern.byte(row), wrong = stored ^ byte;
    wrong_bits_ += static_cast<uint64_t>(std::popcount(wrong));
    ++bytes_;
    Statistics& statistics = output_.statistics;
    return wrong != 0 &&
           statistics.flips_in_row(number_, 0, bank, row, kZero,
                                   static_cast<uint32_t>(std::popcount(wrong & ~stored))) &&
           statistics.flips_in_row(number_, 0, bank, row, kOne,
                                   static_cast<uint32_t>(std::popcount(wrong & stored)));
  }

  void take(uint64_t line, std::string_view text, bool cut) {
    if (trimmed(text).empty()) return;
    const size_t mark = text.find(kMark);
    if (mark == std::string_view::npos) {
      // A report that lost its beginning is damage; other output of the program is not, as the
      // progress that it shows.
      if (text.find("Current Bank:") != std::string_view::npos ||
          (text.find("Row:") == std::string_view::npos &&
           text.find("DATA:") == std::string_view::npos)) {
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
      if (byte == pattern.byte(row)) {
        output_.log.damaged(line, text, "a byte other than the pattern's (give another pattern?)");
      } else if (!count(bank, row, byte)) {
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
  bool assumed_ = false;  // the pattern is that of the tool's source
  uint64_t bytes_ = 0, wrong_bits_ = 0;
  bool held_ = false;  // the last byte was a carriage return
  Lines lines_;
  OtherText other_;
};

bool is_softmc(std::string_view head) {
  const size_t mark = head.find(kMark);
  return mark != std::string_view::npos && head.find(", Row:", mark) != std::string_view::npos;
}

}  // namespace

const Format kSoftMcFormat{
    "softmc", "records", {"at", "pattern", "banks", "rows", "row_bits"}, is_softmc, make<SoftMc>};

}  // namespace eden::measurements
