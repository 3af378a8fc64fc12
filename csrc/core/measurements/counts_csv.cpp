// eden's own CSV of counts: a line per pass, bank and stored value or pattern.
#include <cmath>

#include "core/measurements/csv_parser.h"

namespace eden::measurements {
namespace {

constexpr double kMostCells = 0x1p53;  // above, a double is no exact count

class CountsCsv : public ConditionCsvParser {
 public:
  CountsCsv(const Settings& settings, Output& output)
      : ConditionCsvParser({{"bank", true}, {"repeat", false}, {"errors", true}, {"cells", true}},
                           settings, output) {}

 private:
  static constexpr int kBank = kOwnColumns, kRepeat = kOwnColumns + 1, kErrors = kOwnColumns + 2,
                       kCells = kOwnColumns + 3;

  void row(uint64_t line) override {
    const auto bank = number(line, kBank, 0, kMostBanks - 1);
    if (!bank) return;
    const auto cells = real(line, kCells, 1.0, kMostCells);
    if (!cells) return;
    if (*cells != std::floor(*cells)) {
      damaged(line, kCells, "a whole number of cells");
      return;
    }
    const auto errors = real(line, kErrors, 0.0, *cells);
    if (!errors) return;
    std::optional<uint64_t> repeat;
    if (!field(kRepeat).empty()) {
      repeat = number(line, kRepeat, 0, kMostRepeats - 1);
      if (!repeat) return;
    }
    if (!of_module(kModuleColumn, kVendorColumn)) return;
    if (!read_condition(line)) return;
    Statistics& statistics = output_.statistics;
    const Pattern& pattern = statistics.condition_of(condition_).pattern;
    if (pattern.text().empty()) {
      output_.log.damaged(line, "neither a pattern nor a stored value", "one of them");
      return;
    }
    const Stored stored = stored_ != kUnknown ? stored_ : pattern.solid();
    if (!repeat) repeat = statistics.next_repeat(condition_, static_cast<uint32_t>(*bank), stored);
    if (*repeat >= kMostRepeats) {
      output_.log.damaged(line, "pass " + std::to_string(*repeat),
                          "fewer than " + std::to_string(kMostRepeats));
      return;
    }
    if (*errors != std::floor(*errors)) ++broken_;
    if (!statistics.count(condition_, static_cast<uint32_t>(*repeat), static_cast<uint32_t>(*bank),
                          stored, *errors, *cells, line)) {
      output_.log.damaged(line,
                          "a second count of bank " + std::to_string(*bank) + " in repeat " +
                              std::to_string(*repeat) + " of its condition",
                          "one");
    }
  }

  void at_end() override {
    if (broken_ > 0) {
      output_.log.note("kept " + std::to_string(broken_) +
                       " counts that are no whole numbers, such as means of several passes");
    }
  }

  uint64_t broken_ = 0;
};

}  // namespace

std::unique_ptr<Parser> make_counts_csv(const Settings& settings, Output& output) {
  return std::make_unique<CountsCsv>(settings, output);
}

bool is_counts_csv(std::string_view head) { return has_columns(head, {"bank", "errors", "cells"}); }

}  // namespace eden::measurements
