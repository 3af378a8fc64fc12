// eden's own CSV of counts: a line per pass, bank and stored value or pattern.
#include <cmath>

#include "measurements/csv_parser.h"

namespace eden::measurements {
namespace {

constexpr double kMostCells = 0x1p53;  // above, a double is no exact count

class CountsCsv : public ConditionCsvParser {
 public:
  CountsCsv(const Settings& settings, Output& output)
      : ConditionCsvParser({{"bank", true, true},
                            {"repeat", false, true},
                            {"errors", true, true},
                            {"cells", true, true}},
                           settings, output) {}

 private:
  static constexpr int kBank = kOwnColumns, kRepeat = kOwnColumns + 1, kErrors = kOwnColumns + 2,
                       kCells = kOwnColumns + 3;

  bool row(uint64_t line) override {
    const auto bank = number(line, kBank, 0, kMostBanks - 1);
    if (!bank) return false;
    const auto cells = real(line, kCells, 1.0, kMostCells);
    if (!cells) return false;
    if (*cells != std::floor(*cells)) {
      damaged(line, kCells, "a whole number of cells");
      return false;
    }
    const auto errors = real(line, kErrors, 0.0, *cells);
    if (!errors) return false;
    std::optional<uint64_t> repeat;
    if (!field(kRepeat).empty()) {
      repeat = number(line, kRepeat, 0, kMostRepeats - 1);
      if (!repeat) return false;
    }
    wanted_ = of_module(kModuleColumn, kVendorColumn);
    if (!wanted_) return true;
    if (!read_condition(line)) return false;
    const Pattern& pattern = output_.statistics.condition_of(condition_).pattern;
    if (pattern.text().empty()) {
      output_.log.damaged(line, "neither a pattern nor a stored value", "one of them");
      return false;
    }
    value_ = stored_ != kUnknown ? stored_ : pattern.solid();
    repeat = pass(repeat, static_cast<uint32_t>(*bank));
    if (*repeat >= kMostRepeats) {
      output_.log.damaged(line, "pass " + std::to_string(*repeat),
                          "fewer than " + std::to_string(kMostRepeats));
      return false;
    }
    if (*errors != std::floor(*errors)) ++broken_;
    if (!count(line, *repeat, *bank, *errors, *cells)) {
      output_.log.damaged(line,
                          "a second count of bank " + std::to_string(*bank) + " in repeat " +
                              std::to_string(*repeat) + " of its condition",
                          "one");
      return false;
    }
    return true;
  }

  bool alike(uint64_t line) override {
    const uint64_t bank = digits(kBank), errors = digits(kErrors), cells = digits(kCells);
    uint64_t repeat = digits(kRepeat);
    if (bank >= kMostBanks || cells == 0 || cells > static_cast<uint64_t>(kMostCells) ||
        errors > cells || (repeat != kNoDigits && repeat >= kMostRepeats)) {
      return false;
    }
    if (wanted_) {
      repeat = pass(repeat == kNoDigits ? std::nullopt : std::optional(repeat),
                    static_cast<uint32_t>(bank));
      if (repeat >= kMostRepeats) return false;
      if (!count(line, repeat, bank, static_cast<double>(errors), static_cast<double>(cells))) {
        return false;
      }
    }
    same_module();
    return true;
  }

  // The number of a pass: that which is stated, in its session, or that of the next count.
  uint64_t pass(std::optional<uint64_t> stated, uint32_t bank) {
    if (stated) return pass_of(*stated);
    return output_.statistics.next_repeat(condition_, bank, value_);
  }

  bool count(uint64_t line, uint64_t repeat, uint64_t bank, double errors, double cells) {
    return output_.statistics.count(condition_, static_cast<uint32_t>(repeat),
                                    static_cast<uint32_t>(bank), value_, errors, cells, line);
  }

  void at_end() override {
    ConditionCsvParser::at_end();
    if (broken_ > 0) {
      output_.log.note("kept " + std::to_string(broken_) +
                       " counts that are no whole numbers, such as means of several passes");
    }
  }

  bool wanted_ = true;
  Stored value_ = kUnknown;  // that the cells of a count held
  uint64_t broken_ = 0;
};

bool is_counts_csv(std::string_view head) { return has_columns(head, {"bank", "errors", "cells"}); }

}  // namespace

const Format kCountsFormat{"counts",      "lines",         {"at", "pattern"},
                           is_counts_csv, make<CountsCsv>, Content::kBanks};

}  // namespace eden::measurements
