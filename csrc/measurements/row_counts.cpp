// The table of retention failures that di_retention.py of the studies on DRAM Bender writes: a line
// for each row in which cells failed, with how many. One bank; every pattern at every temperature
// and time, each once, so that what has no line failed nowhere. Times are in seconds.
#include <algorithm>
#include <set>

#include "base/refusal.h"
#include "measurements/csv_parser.h"

namespace eden::measurements {
namespace {

constexpr double kMsInSecond = 1000.0;
constexpr size_t kMostValues = 4096;  // of temperatures, patterns or times

class RowCounts : public CsvParser {
 public:
  RowCounts(const Settings& settings, Output& output)
      : CsvParser({{"Temp", true},
                   {"Pattern", true},
                   {"tWAIT", true},
                   {"Row", true, true},
                   {"NumBitflips", true, true}},
                  settings, output) {
    const auto& banks = settings.tested.banks;
    if (banks.size() > 1) {
      refuse("banks has ", banks.size(), " of them; allowed for dram-bender-rows is the one bank",
             " that the tool was given by --bank");
    }
    if (!banks.empty()) bank_ = banks[0];
  }

 private:
  enum { kTemp, kPattern, kWait, kRow, kErrors };

  bool row(uint64_t line) override {
    const auto row = number(line, kRow, 0, kMostRows - 1);
    if (!row) return false;
    const auto errors = number(line, kErrors, 1, kMostRowBits);
    if (!errors) return false;
    if (condition_ < 0 || field(kTemp) != texts_[kTemp] || field(kPattern) != texts_[kPattern] ||
        field(kWait) != texts_[kWait]) {
      condition_ = -1;
      const Range &degrees = kConditionRanges[kTemperature],
                  &times = kConditionRanges[kRefreshInterval];
      const auto temperature = real(line, kTemp, degrees.low, degrees.high);
      if (!temperature) return false;
      const auto wait = real(line, kWait, times.low / kMsInSecond, times.high / kMsInSecond);
      if (!wait) return false;
      const auto pattern = pattern_of(field(kPattern));
      if (!pattern || pattern->solid() == kUnknown) {
        damaged(line, kPattern,
                "00000000 or FFFFFFFF: a count does not tell which values of another failed");
        return false;
      }
      temperatures_.insert(*temperature);
      times_.insert(*wait);
      patterns_.insert(pattern->byte(0));
      if (std::max({temperatures_.size(), times_.size(), patterns_.size()}) > kMostValues) {
        refuse<FormatError>("found more than ", kMostValues, " temperatures or times");
      }
      condition_ = condition_of(*temperature, *wait, *pattern);
      for (const int column : {kTemp, kPattern, kWait}) texts_[column] = field(column);
    }
    const Tested& tested = settings_.tested;
    if (!follows(*row)) {
      output_.log.damaged(line,
                          "row " + std::to_string(*row) + " behind row " +
                              std::to_string(last_row_[condition_]) + " of its condition",
                          "ascending rows, each once: one pass, as the tool writes it");
      return false;
    }
    if (!inside(*row)) {
      output_.log.damaged(line, "row " + std::to_string(*row),
                          "a row of those that were tested, the first of them row 0");
      return false;
    }
    if (!holds(*errors)) {
      output_.log.damaged(line, std::to_string(*errors) + " failing cells of a row",
                          "up to row_bits, " + std::to_string(tested.row_bits));
      return false;
    }
    count(*row, *errors);
    return true;
  }

  bool alike(uint64_t) override {
    const uint64_t row = digits(kRow), errors = digits(kErrors);
    if (row >= kMostRows || errors < 1 || errors > kMostRowBits || !follows(row) || !inside(row) ||
        !holds(errors)) {
      return false;
    }
    count(row, errors);
    return true;
  }

  bool follows(uint64_t row) const {
    const auto last = last_row_.find(condition_);
    return last == last_row_.end() || row > last->second;
  }
  bool inside(uint64_t row) const {
    const Tested& tested = settings_.tested;
    return !tested.known() || (row >= tested.row_begin && row < tested.row_end);
  }
  bool holds(uint64_t errors) const {
    return !settings_.tested.known() || errors <= settings_.tested.row_bits;
  }

  void count(uint64_t row, uint64_t errors) {
    last_row_[condition_] = row;
    Statistics& statistics = output_.statistics;
    statistics.flips_in_row(condition_, 0, bank_, static_cast<uint32_t>(row),
                            statistics.condition_of(condition_).pattern.solid(),
                            static_cast<uint32_t>(errors));
  }

  // The tool prints a word of 32 bits as eight digits.
  static std::optional<Pattern> pattern_of(std::string_view text) {
    return Pattern::parse(text.starts_with("0x") ? std::string(text) : "0x" + std::string(text));
  }

  int condition_of(double temperature, double wait, const Pattern& pattern) {
    Condition condition = settings_.at;
    condition.field[kTemperature] = temperature;
    condition.field[kRefreshInterval] = wait * kMsInSecond;
    condition.pattern = pattern;
    return output_.statistics.condition(condition);
  }

  void at_end() override {
    for (const double temperature : temperatures_) {
      for (const double wait : times_) {
        for (const uint8_t byte : patterns_) {
          output_.statistics.pass(condition_of(temperature, wait, Pattern::of_byte(byte)), 0);
        }
      }
    }
    output_.log.note(
        "took every pattern of the file for tested at every temperature and time in it, as the "
        "tool tests them; rows are numbered from the first one tested on");
  }

  uint32_t bank_ = 0;
  int condition_ = -1;
  std::string texts_[kErrors + 1];
  std::map<int, uint64_t> last_row_;  // by condition
  std::set<double> temperatures_, times_;
  std::set<uint8_t> patterns_;
};

bool is_row_counts(std::string_view head) {
  return has_columns(head, {"Temp", "Pattern", "tWAIT", "Row", "NumBitflips"});
}

}  // namespace

const Format kRowCountsFormat{"dram-bender-rows",
                              "lines",
                              {"at", "banks", "rows", "row_bits"},
                              is_row_counts,
                              make<RowCounts>};

}  // namespace eden::measurements
