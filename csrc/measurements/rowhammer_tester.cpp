// What antmicro's rowhammer-tester writes: one JSON object of hammer counts, attacks, rows, columns
// and bits.
#include <algorithm>
#include <map>
#include <optional>

#include "base/refusal.h"
#include "measurements/json_tokens.h"
#include "measurements/parser.h"
#include "measurements/text.h"

namespace eden::measurements {
namespace {

constexpr size_t kMostInRow = size_t{1} << 22;
constexpr uint32_t kDefaultColumnBits = 64;  // a DIMM's data bus
constexpr uint64_t kBurst = 8;               // columns of the word whose bits are numbered
constexpr uint64_t kMostHammers = 1000000000000000;

class RowhammerTester : public Parser, private JsonHandler {
 public:
  RowhammerTester(const Settings& settings, Output& output)
      : settings_(settings),
        output_(output),
        tokens_(*this),
        column_bits_(settings.column_bits == 0 ? kDefaultColumnBits : settings.column_bits) {}

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
    log.note("counted each of the " + std::to_string(attacks_) +
             " attacks as a pass over the rows: passes differ in the rows that were hammered");
    if (without_bank_ > 0) {
      log.note("took " + std::to_string(without_bank_) +
               " rows for rows of bank 0: the file names no bank");
    }
    if (others_ > 0) {
      log.note("left out " + std::to_string(others_) + " objects that are no attacks");
    }
  }

 private:
  // What an object or array is.
  static constexpr char kFile = 'f', kCount = 'n', kAttack = 'a', kRows = 'e', kRow = 'r',
                        kColumns = 'c', kBits = 'b', kOther = '?';

  uint64_t line() const { return tokens_.line_ends() + 1; }

  void begin(char bracket) override {
    const char outer = nesting_.empty() ? ' ' : nesting_.back();
    char inside = kOther;
    if (bracket == '[') {
      if (outer == ' ') throw JsonError("[", "an object");
      if (outer == kColumns) {
        inside = kBits;
        column_ = number("column", key_, kMostRowBits - 1);
      }
    } else {
      switch (outer) {
        case ' ':
          inside = kFile;
          break;
        case kFile:
          inside = begin_count();
          break;
        case kCount:
          inside = kAttack;
          has_errors_ = false;
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
      const uint64_t place = *column_ * column_bits_ + *bit;
      if (place >= kMostRowBits) {
        if (problem_.empty()) problem_ = "column " + std::to_string(*column_);
      } else if (bits_.size() == kMostInRow) {
        problem_ = "more than " + std::to_string(kMostInRow) + " flips in a row";
      } else {
        bits_.push_back(static_cast<uint32_t>(place));
      }
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
    Condition condition = settings_.at;
    condition.field[kHammerCount] = static_cast<double>(*hammers);
    condition_ = output_.statistics.condition(condition);
    return kCount;
  }

  char begin_attack() {
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
    if (problem_.empty() && stated_ && *stated_ != bits_.size()) {
      problem_ = "bitflips = " + std::to_string(*stated_) + " and " + std::to_string(bits_.size()) +
                 " bits";
    }
    if (!problem_.empty()) {
      log.damaged(row_line_, problem_,
                  "whole numbers of a row, its columns and their bits (below 8 column_bits), as "
                  "many as bitflips says");
      return;
    }
    without_bank_ += !bank_;
    Statistics& statistics = output_.statistics;
    const auto bank = static_cast<uint32_t>(bank_.value_or(0));
    const auto row = static_cast<uint32_t>(*row_);
    // All of a row or nothing.
    if (bits_.empty() || statistics.flips_of_pattern(condition_, pass_, bank, row, bits_)) return;
    const uint32_t bit = *std::find_if(bits_.begin(), bits_.end(), [&](uint32_t each) {
      return !statistics.tested()(bank, row, each);
    });
    log.damaged(row_line_,
                "bank " + std::to_string(bank) + ", row " + std::to_string(row) + ", bit " +
                    std::to_string(bit),
                "a cell of the banks, rows and row_bits that were tested");
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
  int condition_ = -1;
  std::map<int, uint32_t> next_pass_;  // by condition
  uint32_t pass_ = 0;
  uint64_t attacks_ = 0, others_ = 0, without_bank_ = 0;
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
