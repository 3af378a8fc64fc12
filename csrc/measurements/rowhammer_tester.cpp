// What antmicro's rowhammer-tester writes: one JSON object of hammer counts (or of times without an
// attack), attacks, rows, columns and bits. Two programs write it:
//
//   hw_rowhammer.py  compares words of eight columns, in all banks, with one word that was written
//                    everywhere: of patterns that differ by rows, that of the first row hammered
//   rowhammer.py     compares words of 32 bits, in one bank, with a word of each row's own
//
// Both number the bits of a word from its most significant one that they print: without the leading
// zeros of the word written, unless a flip lies there. So of a word that begins with a 1 the places
// are known, of others the number of flips alone. Both keep the last word of a column only, and add
// all of them up in bitflips.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "base/refusal.h"
#include "measurements/csv_parser.h"
#include "measurements/json_tokens.h"
#include "measurements/parser.h"
#include "measurements/text.h"

namespace eden::measurements {
namespace {

constexpr size_t kMostInRow = size_t{1} << 22;
constexpr uint32_t kDefaultColumnBits = 64;  // a DIMM's data bus
constexpr uint64_t kBurst = 8;               // columns of a word of hw_rowhammer.py
constexpr uint64_t kNarrow = 32;             // bits of a word of rowhammer.py
// Words that all begin at multiples of 8 columns, and flips that all lie in one half of a word,
// tell what wrote them from so many on.
constexpr uint64_t kTellingWords = 6, kTellingFlips = 40;
constexpr uint64_t kMostHammers = 1000000000000000;

class RowhammerTester : public Parser, private JsonHandler {
 public:
  RowhammerTester(const Settings& settings, Output& output)
      : settings_(settings),
        output_(output),
        tokens_(*this),
        column_bits_(settings.column_bits == 0 ? kDefaultColumnBits : settings.column_bits) {
    if (settings.tested.banks.size() > 1) {
      refuse("banks has ", settings.tested.banks.size(),
             " banks; allowed for rowhammer-tester is one, because the flips of a row are added up "
             "over all banks: give a bank with row_bits for all of them");
    }
  }

  void feed(std::string_view bytes) override {
    if (!tokens_.done()) {
      try {
        bytes.remove_prefix(tokens_.feed(bytes));
      } catch (const JsonError& error) {
        refuse<FormatError>(place_text("line", line()), ": found '", error.found, "'; allowed is ",
                            error.allowed, " (the file cannot be understood from there on)");
      }
    }
    if (bytes.find_first_not_of(" \t\r\n") != std::string_view::npos) {
      refuse<FormatError>(place_text("line", line()),
                          ": found text after the end of the JSON object; allowed is one object");
    }
  }

  void finish() override {
    if (!tokens_.done()) {
      refuse<FormatError>(place_text("line", line()),
                          ": the file ends inside the JSON object; it is truncated");
    }
    if (attacks_ == 0) {
      refuse<FormatError>(
          "found no errors_in_rows; allowed is {\"<hammer count>\": {\"<attack>\": "
          "{\"errors_in_rows\": {...}}}}");
    }
    Log& log = output_.log;
    check_words();
    log.note("counted each of the " + std::to_string(attacks_) +
             " attacks as a pass over the rows: passes differ in the rows that were hammered");
    if (without_bank_ > 0) {
      log.note("took " + std::to_string(without_bank_) + " rows for rows of bank " +
               std::to_string(only_bank()) + ": the file names no bank");
    }
    if (times_ > 0) {
      log.note(
          "took times without an attack for refresh intervals, in the steps of 0.1 s that the "
          "program sleeps in: true if it ran with --no-refresh");
    }
    if (unplaced_ > 0) {
      log.note("the bits of " + std::to_string(unplaced_) +
               " rows are not known: the word written begins with zeros or is not known, or flips "
               "of several words are under one column");
    }
    if (others_ > 0) {
      log.note("left out " + std::to_string(others_) + " objects that are no attacks");
    }
  }

 private:
  // What an object or array is.
  static constexpr char kFile = 'f', kCount = 'n', kTimes = 't', kAttack = 'a', kPairs = 'p',
                        kRows = 'e', kRow = 'r', kColumns = 'c', kBits = 'b', kOther = '?';

  uint64_t line() const { return tokens_.line_ends() + 1; }

  void begin(char bracket) override {
    const char outer = nesting_.empty() ? ' ' : nesting_.back();
    char inside = kOther;
    if (bracket == '[') {
      if (outer == ' ') throw JsonError("[", "an object");
      if (outer == kColumns) {
        inside = kBits;
        column_ = number("column", key_, kMostRowBits - 1);
        begin_word();
      } else if (outer == kPairs || (outer == kAttack && key_ == "row_pairs")) {
        inside = kPairs;
      }
    } else {
      switch (outer) {
        case ' ':
          inside = kFile;
          break;
        case kFile:
          inside = key_ == "no_attack_time" ? kTimes : begin_count();
          break;
        case kTimes:
          begin_time();
          [[fallthrough]];
        case kCount:
          inside = kAttack;
          has_errors_ = false;
          if (outer == kCount) first_row_.reset();
          break;
        case kAttack:
          if (key_ == "errors_in_rows") inside = begin_attack();
          break;
        case kRows:
          inside = kRow;
          begin_row();
          break;
        case kRow:
          if (key_ == "col") inside = kColumns;
          break;
        default:
          break;
      }
    }
    nesting_.push_back(inside);
  }

  void end(char) override {
    const char inside = nesting_.back();
    nesting_.pop_back();
    if (inside == kRow) end_row();
    if (inside == kAttack && !has_errors_) ++others_;
  }

  void key(std::string_view text) override { key_ = text; }

  void string(std::string_view text) override { scalar(text); }

  void scalar(std::string_view text) override {
    if (nesting_.empty()) throw JsonError(printable(text), "an object");
    if (nesting_.back() == kBits) {
      const auto bit = number("bit", text, kBurst * column_bits_ - 1);
      if (!bit || !column_) return;
      highest_ = std::max(highest_, *bit);
      check_width();
      const uint64_t width = narrow_ ? kNarrow : kBurst * column_bits_;
      const uint64_t place = *column_ * column_bits_ + (width - 1 - *bit);
      if (place >= kMostRowBits) {
        if (problem_.empty()) problem_ = "column " + std::to_string(*column_);
      } else if (bits_.size() == kMostInRow) {
        problem_ = "more than " + std::to_string(kMostInRow) + " flips in a row";
      } else {
        bits_.push_back(static_cast<uint32_t>(place));
      }
    } else if (nesting_.back() == kPairs) {
      if (!first_row_) first_row_ = number("row_pairs", text, kMostRows - 1);
    } else if (nesting_.back() == kAttack) {
      if (key_ == "hammer_row_1") first_row_ = number("hammer_row_1", text, kMostRows - 1);
    } else if (nesting_.back() == kRow) {
      if (key_ == "bank") bank_ = number("bank", text, kMostBanks - 1);
      if (key_ == "row" && number("row", text, kMostRows - 1) != row_ && problem_.empty()) {
        problem_ = "row " + printable(text) + " under another number";
      }
      if (key_ == "bitflips") stated_ = number("bitflips", text, kMostRowBits);
    }
  }

  char begin_count() {
    const std::optional<uint64_t> hammers = count_number(key_, kMostHammers);
    if (!hammers) {
      ++others_;
      return kOther;
    }
    at_ = settings_.at;
    at_.field[kHammerCount] = static_cast<double>(*hammers);
    return kCount;
  }

  void begin_time() {
    const std::optional<double> time = real_number(key_);
    // As no_attack_sleep rounds it down.
    const double milliseconds = time ? 100.0 * std::floor(10.0 * (*time / 1e9)) : 0.0;
    const Range& range = kConditionRanges[kRefreshInterval];
    if (!(milliseconds >= 100.0 && milliseconds <= range.high)) {
      refuse<FormatError>(place_text("line", line()), ": found a time without an attack of '",
                          printable(key_),
                          "'; allowed are nanoseconds, 1e8 (a tenth of a second, "
                          "the least that the program sleeps) or more");
    }
    at_ = settings_.at;
    at_.field[kRefreshInterval] = milliseconds;
    first_row_ = 0;  // the pair that the program names then
    ++times_;
  }

  char begin_attack() {
    Condition condition = at_;
    if (condition.pattern.period() > 1) {
      if (!first_row_) {
        refuse<FormatError>(place_text("line", line()),
                            ": found errors_in_rows without the first row hammered before it; "
                            "allowed with a pattern of several rows is after hammer_row_1 or "
                            "row_pairs, because the whole memory holds the pattern of that row");
      }
      condition.pattern =
          Pattern::of_byte(condition.pattern.byte(static_cast<uint32_t>(*first_row_)));
    }
    condition_ = output_.statistics.condition(condition);
    placed_ = condition.pattern.known() && condition.pattern.byte(0) >= 0x80;
    uint32_t& next = next_pass_[condition_];
    if (next == kMostRepeats) {
      refuse<FormatError>(place_text("line", line()), ": found more than ", kMostRepeats,
                          " attacks; allowed are fewer");
    }
    pass_ = next++;
    ++attacks_;
    has_errors_ = true;
    output_.statistics.pass(condition_, pass_);
    return kRows;
  }

  void begin_row() {
    row_line_ = line();
    problem_.clear();
    bits_.clear();
    bank_.reset();
    stated_.reset();
    row_ = number("row", key_, kMostRows - 1);
  }

  void end_row() {
    Log& log = output_.log;
    log.record();
    const uint64_t flips = stated_.value_or(bits_.size());
    if (problem_.empty() && flips < bits_.size()) {
      problem_ = "bitflips = " + std::to_string(*stated_) + " and " + std::to_string(bits_.size()) +
                 " bits";
    }
    if (!problem_.empty()) {
      log.damaged(row_line_, problem_,
                  "whole numbers of a row, its columns and their bits (below 8 column_bits), no "
                  "more than bitflips says");
      return;
    }
    without_bank_ += !bank_;
    Statistics& statistics = output_.statistics;
    const auto bank = static_cast<uint32_t>(bank_.value_or(only_bank()));
    const auto row = static_cast<uint32_t>(*row_);
    flips_ += flips;
    if (flips == 0) return;
    if (!placed_ || flips > bits_.size()) {
      count_row(bank, row, flips);
      return;
    }
    // All of a row or nothing.
    if (statistics.flips_of_pattern(condition_, pass_, bank, row, bits_)) return;
    const uint32_t bit = *std::find_if(bits_.begin(), bits_.end(), [&](uint32_t each) {
      return !statistics.tested()(bank, row, each);
    });
    log.damaged(row_line_,
                "bank " + std::to_string(bank) + ", row " + std::to_string(row) + ", bit " +
                    std::to_string(bit),
                "a cell of the banks, rows and row_bits that were tested");
  }

  // The flips of a row whose places are not known.
  void count_row(uint32_t bank, uint32_t row, uint64_t flips) {
    Statistics& statistics = output_.statistics;
    const Pattern& pattern = statistics.condition_of(condition_).pattern;
    if (pattern.known() && pattern.solid() == kUnknown) {
      refuse<FormatError>(place_text("line", row_line_), ": found ", flips, " flips in row ", row,
                          " whose places are not known, so neither is what the cells stored; "
                          "allowed with zeros and ones in a row are words that begin with a 1, and "
                          "flips of one bank");
    }
    ++unplaced_;
    if (statistics.flips_in_row(condition_, pass_, bank, row, pattern.solid(),
                                static_cast<uint32_t>(flips))) {
      return;
    }
    output_.log.damaged(row_line_, "bank " + std::to_string(bank) + ", row " + std::to_string(row),
                        "a row of the banks and rows that were tested");
  }

  // A word of flips begins, at its column.
  void begin_word() {
    ++words_;
    narrow_ = narrow_ || (column_ && *column_ % kBurst != 0);
    check_width();
  }

  void check_width() const {
    if (narrow_ && highest_ >= kNarrow) {
      refuse<FormatError>(place_text("line", line()), ": found column ", column_.value_or(0),
                          " beside bits above ", kNarrow - 1,
                          "; allowed are words of eight columns, or of 32 bits");
    }
  }

  // Whether what was read of words holds for the program that wrote them.
  void check_words() {
    const bool wide = highest_ >= kNarrow || (!narrow_ && words_ >= kTellingWords);
    if (words_ == 0) return;
    if (!wide && settings_.at.pattern.period() > 1) {
      refuse<FormatError>("the pattern has several rows, and the flips are ",
                          narrow_ ? "those of rowhammer.py, whose rows hold words of their own"
                                  : "too few to tell which program wrote them",
                          "; allowed are flips of hw_rowhammer.py, or a pattern of one byte");
    }
    if (!wide) {
      output_.statistics.lose_places();
      output_.log.note(
          "which bits of a row failed is not known: words are of 32 bits, or too few to tell");
      return;
    }
    if (flips_ >= kTellingFlips && 2 * highest_ < kBurst * column_bits_ - 1 && unplaced_ == 0) {
      refuse<FormatError>("found no bit above ", highest_, " in ", flips_,
                          " flips; allowed is column_bits of which eight make a word, here ",
                          column_bits_);
    }
  }

  uint64_t only_bank() const {
    return settings_.tested.known() ? settings_.tested.banks.front() : 0;
  }

  std::optional<uint64_t> number(const char* what, std::string_view text, uint64_t most) {
    const auto value = whole_number<uint64_t>(text);
    if (value && *value <= most) return value;
    if (problem_.empty()) problem_ = std::string(what) + " = " + printable(text);
    return std::nullopt;
  }

  const Settings& settings_;
  Output& output_;
  JsonTokens tokens_;
  const uint64_t column_bits_;
  std::vector<char> nesting_;
  std::string key_;
  Condition at_;                       // of a hammer count or a time
  std::optional<uint64_t> first_row_;  // that an attack hammered
  int condition_ = -1;
  bool placed_ = false;                // the places of a word's bits are known
  std::map<int, uint32_t> next_pass_;  // by condition
  uint32_t pass_ = 0;
  uint64_t attacks_ = 0, others_ = 0, without_bank_ = 0, times_ = 0, unplaced_ = 0;
  uint64_t words_ = 0, flips_ = 0, highest_ = 0;
  bool narrow_ = false;  // a word begins where none of eight columns does
  bool has_errors_ = false;
  // The row that is being read.
  uint64_t row_line_ = 0;
  std::optional<uint64_t> row_, bank_, stated_, column_;
  std::vector<uint32_t> bits_;
  std::string problem_;
};

bool is_rowhammer_tester(std::string_view head) {
  const size_t begin = head.find_first_not_of(" \t\r\n");
  return begin != std::string_view::npos && head[begin] == '{' &&
         (head.find("\"errors_in_rows\"") != std::string_view::npos ||
          head.find("\"pair_") != std::string_view::npos);
}

}  // namespace

const Format kRowhammerTesterFormat{
    "rowhammer-tester",
    "records",
    {"at", "pattern", "banks", "rows", "row_bits", "subarray_rows", "column_bits"},
    is_rowhammer_tester,
    make<RowhammerTester>};

}  // namespace eden::measurements
