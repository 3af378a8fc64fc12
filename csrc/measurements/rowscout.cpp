// What U-TRR's RowScout writes: JSON objects one after another, each a group of rows that fail
// retention, with other output of the program between them.
#include <algorithm>
#include <optional>

#include "base/refusal.h"
#include "measurements/json_tokens.h"
#include "measurements/parser.h"
#include "measurements/text.h"

namespace eden::measurements {
namespace {

constexpr size_t kMostInGroup = size_t{1} << 20;
// default_data_patterns of RowScout.cpp; 0 is random data.
constexpr uint8_t kPatternBytes[] = {0x00, 0xff, 0x00, 0x55, 0xaa, 0xaa, 0x55};

// One object.
class Group : public JsonHandler {
 public:
  struct Row {
    std::optional<uint32_t> number;
    size_t first_bit;
  };

  void restart() { *this = Group(); }

  void begin(char bracket) override {
    char inside = '?';
    const char outer = nesting_.empty() ? ' ' : nesting_.back();
    if (bracket == '{') {
      if (outer == ' ') inside = kRoot;
      if (outer == kRows) {
        inside = kRow;
        if (rows.size() < kMostInGroup) rows.push_back({std::nullopt, bits.size()});
      }
    } else if (outer == kRoot && key_ == "row_group") {
      inside = kRows;
      has_rows = true;
    } else if (outer == kRow && key_ == "bitflip_locs") {
      inside = kBits;
    }
    nesting_.push_back(inside);
  }

  void end(char) override { nesting_.pop_back(); }
  void key(std::string_view text) override { key_ = text; }
  void string(std::string_view text) override { scalar(text); }

  void scalar(std::string_view text) override {
    switch (nesting_.back()) {
      case kRoot:
        if (key_ == "bank_id") bank = number(text, kMostBanks - 1);
        if (key_ == "ret_ms") retention = number(text, 1000000000);
        if (key_ == "data_pattern_type") type = number(text, 255);
        break;
      case kRow:
        if (key_ == "row_id") rows.back().number = number(text, kMostRows - 1);
        break;
      case kBits:
        if (const auto bit = number(text, kMostRowBits - 1)) {
          if (bits.size() == kMostInGroup) {
            problem = "more than " + std::to_string(kMostInGroup) + " flips in one object";
          } else {
            bits.push_back(*bit);
          }
        }
        break;
      case kRows:
        problem = printable(text) + " in row_group";
        break;
      default:
        break;
    }
  }

  std::optional<uint32_t> bank, retention, type;
  bool has_rows = false;
  std::vector<Row> rows;
  std::vector<uint32_t> bits;
  std::string problem;

 private:
  static constexpr char kRoot = 'o', kRows = 'g', kRow = 'r', kBits = 'b';

  std::optional<uint32_t> number(std::string_view text, uint32_t most) {
    const auto value = whole_number<uint32_t>(text);
    if (value && *value <= most) return value;
    problem = key_ + " = " + printable(text);
    return std::nullopt;
  }

  std::vector<char> nesting_;
  std::string key_;
};

class RowScout : public Parser {
 public:
  RowScout(const Settings& settings, Output& output)
      : settings_(settings), output_(output), tokens_(group_) {
    if (settings.tested.known()) {
      refuse(
          "banks, rows and row_bits are given; rowscout takes none, because the tool reports the "
          "rows that it chose and not all that it tested");
    }
  }

  void feed(std::string_view bytes) override {
    while (!bytes.empty()) bytes.remove_prefix(step(bytes));
  }

  void finish() override {
    if (mode_ == Mode::kOther) other_.line(line_, other_text_);
    if (mode_ == Mode::kObject) {
      output_.log.record();
      output_.log.damaged(first_line_, "an object that the file ends in", "a whole object");
    }
    if (output_.log.records() == 0) {
      refuse<FormatError>(
          "found no JSON object; allowed are objects with row_group, bank_id, "
          "ret_ms and data_pattern_type, one after another");
    }
    output_.log.note(
        "RowScout reports the rows that it chose: they tell which cells fail at which refresh "
        "interval, and no error rates");
    other_.note(output_.log, "JSON object");
  }

 private:
  enum class Mode {
    kBetween,
    kOther,  // in a line of other text
    kObject,
    kRepair,  // after damage, up to a line that begins with an object
  };

  size_t step(std::string_view bytes) {
    const char c = bytes[0];
    switch (mode_) {
      case Mode::kBetween:
        if (c == '{') {
          mode_ = Mode::kObject;
          first_line_ = line_;
          group_.restart();
          tokens_.restart();
          return 0;
        }
        if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
          mode_ = Mode::kOther;
          other_text_.clear();
          return 0;
        }
        line_ += c == '\n';
        return 1;
      case Mode::kOther: {
        const size_t end = std::min(bytes.find('\n'), bytes.size());
        other_text_.append(bytes.substr(0, std::min(end, kLongestLine - other_text_.size())));
        if (end == bytes.size()) return end;
        other_.line(line_++, other_text_);
        mode_ = Mode::kBetween;
        return end + 1;
      }
      case Mode::kRepair: {
        if (at_line_start_ && c == '{') {
          mode_ = Mode::kBetween;
          return 0;
        }
        const size_t end = bytes.find('\n');
        at_line_start_ = end != std::string_view::npos;
        line_ += at_line_start_;
        return at_line_start_ ? end + 1 : bytes.size();
      }
      case Mode::kObject:
        break;
    }
    const uint64_t before = tokens_.line_ends();
    try {
      const size_t taken = tokens_.feed(bytes);
      line_ += tokens_.line_ends() - before;
      at_line_start_ = taken > 0 && bytes[taken - 1] == '\n';
      if (tokens_.done()) {
        mode_ = Mode::kBetween;
        take();
      }
      return taken;
    } catch (const JsonError& error) {
      line_ += tokens_.line_ends() - before;
      output_.log.record();
      output_.log.damaged(line_, error.found, error.allowed);
      const size_t taken = tokens_.taken();
      if (taken > 0) at_line_start_ = bytes[taken - 1] == '\n';
      mode_ = Mode::kRepair;
      return taken;
    }
  }

  void take() {
    Log& log = output_.log;
    log.record();
    const Group& group = group_;
    if (!group.problem.empty()) {
      log.damaged(first_line_, group.problem, "whole numbers of rows, bits and banks");
      return;
    }
    if (!group.bank || !group.retention || *group.retention == 0 || !group.has_rows) {
      log.damaged(first_line_, "an object without row_group, bank_id or ret_ms", "all of them");
      return;
    }
    for (const Group::Row& row : group.rows) {
      if (!row.number) {
        log.damaged(first_line_, "a row without row_id", "one for each row");
        return;
      }
    }
    Condition condition = settings_.at;
    condition.field[kRefreshInterval] = *group.retention;
    if (group.type) {
      condition.pattern = *group.type >= 1 && *group.type < std::size(kPatternBytes)
                              ? Pattern::of_byte(kPatternBytes[*group.type])
                              : *Pattern::parse("type-" + std::to_string(*group.type));
    }
    Statistics& statistics = output_.statistics;
    const int number = statistics.condition(condition);
    statistics.pass(number, 0);
    for (size_t i = 0; i < group.rows.size(); ++i) {
      const uint32_t row = *group.rows[i].number;
      const size_t end =
          i + 1 < group.rows.size() ? group.rows[i + 1].first_bit : group.bits.size();
      const size_t begin = group.rows[i].first_bit;
      if (begin == end) continue;
      statistics.flips_of_pattern(number, 0, *group.bank, row,
                                  {group.bits.data() + begin, end - begin});
    }
  }

  const Settings& settings_;
  Output& output_;
  Group group_;
  JsonTokens tokens_;
  OtherText other_;
  std::string other_text_;
  Mode mode_ = Mode::kBetween;
  uint64_t line_ = 1, first_line_ = 1;
  bool at_line_start_ = true;
};

bool is_rowscout(std::string_view head) {
  return head.find("\"row_group\"") != std::string_view::npos;
}

}  // namespace

const Format kRowScoutFormat{
    "rowscout", "records", {"at", "subarray_rows"}, is_rowscout, make<RowScout>};

}  // namespace eden::measurements
