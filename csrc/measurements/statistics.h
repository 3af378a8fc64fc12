// Counts of bit errors by condition, stored value, pass, bank, wordline, bitline and cell, gathered
// from what the parsers read. Its memory is bounded whatever is read: where there are more failing
// lines or cells than fit, the lines are given up and the cells become a sample, and it says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "measurements/bank_counts.h"
#include "measurements/pattern.h"
#include "measurements/sorted_table.h"

namespace eden::measurements {

inline constexpr double kNotStated = std::numeric_limits<double>::quiet_NaN();
inline constexpr uint32_t kMostBanks = 65535;
inline constexpr uint32_t kMostRows = 1u << 24;
inline constexpr uint32_t kMostRowBits = 1u << 24;
inline constexpr uint32_t kMostRepeats = 1u << 20;

enum ConditionField : int {
  kVdd = 0,              // V
  kTrcd = 1,             // ns
  kTrp = 2,              // ns
  kTemperature = 3,      // degrees Celsius
  kRefreshInterval = 4,  // ms
  kHammerCount = 5,      // activations of the aggressor rows
  kTras = 6,             // ns; last, as it came last
  kConditionFields = 7,
};

// Under what a pass was made. NaN: the file does not state it.
struct Condition {
  double field[kConditionFields] = {kNotStated, kNotStated, kNotStated, kNotStated,
                                    kNotStated, kNotStated, kNotStated};
  Pattern pattern;
};

// The cells that a campaign reads in each pass.
struct Tested {
  std::vector<uint32_t> banks;  // ascending; empty where the cells that were tested are not known
  uint32_t row_begin = 0;
  uint32_t row_end = 0;
  uint32_t row_bits = 0;
  uint32_t subarray_rows = 0;  // 0: bitlines run through the whole bank

  bool known() const { return !banks.empty(); }
  bool operator()(uint32_t bank, uint32_t row, uint32_t bit) const;
  // Throws std::invalid_argument naming what is wrong.
  void check() const;
};

// How much is kept; the numbers are of entries of all conditions together.
struct Bounds {
  size_t conditions = 4096;
  size_t counts = size_t{1} << 21;
  size_t lines = size_t{1} << 21;  // of either axis
  size_t cells = size_t{6} << 20;
};

enum class Axis { kWordline, kBitline };

// Lines that agree in their counts.
struct LineCounts {
  int64_t errors;
  int64_t cells;
  int64_t lines;
};

struct FailingCell {
  uint32_t bank, row, bit;
  Stored stored;
  uint32_t failures;  // passes in which it failed
};

class Statistics {
 public:
  explicit Statistics(Tested tested, Bounds bounds = {});

  // -- what parsers call --

  // The number of a condition. Throws FormatError for too many different ones.
  int condition(const Condition& condition);
  const Condition& condition_of(int number) const { return conditions_[number]->condition; }
  const Tested& tested() const { return tested_; }

  // A pass over the tested cells, which may have failed nowhere.
  void pass(int condition, uint32_t repeat);
  // One failing cell; false, and nothing counted, where it lies outside of what was tested.
  bool flip(int condition, uint32_t repeat, uint32_t bank, uint32_t row, uint32_t bit,
            Stored stored) {
    return flips(condition, repeat, bank, row, {&bit, 1}, stored);
  }
  // Failing cells of a row; false, and nothing counted, where one of them lies outside.
  bool flips(int condition, uint32_t repeat, uint32_t bank, uint32_t row,
             std::span<const uint32_t> bits, Stored stored) {
    bool inside = row - row_begin_ < rows_;
    for (const uint32_t bit : bits) inside = inside && bit < row_bits_;
    if (!inside) return false;
    Cursor& at = cursors_[stored];
    if (bank != at.bank || repeat != at.repeat || condition != at.condition) {
      if (!move(at, condition, repeat, bank, stored)) return false;
    }
    at.group->banks[at.place].errors += static_cast<double>(bits.size());
    flips_ += bits.size();
    const uint64_t wordline = cell_key(bank, row, 0);
    for (const uint32_t bit : bits) {
      const uint64_t key = wordline | bit;
      if (cells_only_ && !sampled(key)) continue;
      at.group->cells.push(key, cell_value(1, repeat), [&] { merge_cells(*at.group); });
    }
    return true;
  }
  // Failing cells of a row, which hold what the pattern of the condition says; likewise.
  bool flips_of_pattern(int condition, uint32_t repeat, uint32_t bank, uint32_t row,
                        std::span<const uint32_t> bits);
  // Failing cells of a row whose bits are not known; likewise.
  bool flips_in_row(int condition, uint32_t repeat, uint32_t bank, uint32_t row, Stored stored,
                    uint32_t count);
  // No bit of a flip is known after all, whatever was said of them.
  void lose_places() {
    each_group([](Group& group) { group.located = false; });
  }
  // The count of a whole bank; false, and nothing counted, where there is one already.
  bool count(int condition, uint32_t repeat, uint32_t bank, Stored stored, double errors,
             double cells, uint64_t line);
  // The number after the last pass in which the bank has a count.
  uint32_t next_repeat(int condition, uint32_t bank, Stored stored) const;
  // The number of passes of each condition, where it is more than those that are seen to fail.
  // Throws FormatError for a condition that was seen in more.
  void set_repeats(uint32_t repeats);
  // After the last call of the above, before the first one below.
  void finish();

  // -- what was found --

  size_t conditions() const { return conditions_.size(); }
  // Numbers of the passes of a condition, ascending.
  const std::vector<uint32_t>& repeats(int condition) const;
  // The stored values that a condition has statistics of.
  std::vector<Stored> stored_values(int condition) const;
  // Per pass and bank, those without errors included where the tested cells are known.
  std::vector<BankCount> counts(int condition, Stored stored) const;
  // The lines of an axis that hold such cells, those without errors included, by ascending bank and
  // then row, or subarray and bit. cells counts each pass. Throws std::domain_error saying why
  // where that is not known or not kept, or for more than most lines.
  void lines(int condition, Axis axis, Stored stored, size_t most, std::vector<int64_t>& errors,
             std::vector<int64_t>& cells) const;
  // The same, lines that agree counted together.
  std::vector<LineCounts> line_counts(int condition, Axis axis, Stored stored) const;
  // Cells by the number of passes in which they failed, of n passes: n + 1 numbers, the first for
  // the tested cells that never did. Of the sample where sample_shift is not 0. Throws
  // std::domain_error like lines.
  std::vector<int64_t> cells(int condition, Stored stored) const;
  // One in 2^sample_shift cells, chosen by their address alone, is in the statistics of cells.
  int sample_shift() const { return sample_shift_; }
  // The failing cells of a condition, in ascending order. Throws std::domain_error like lines.
  std::vector<FailingCell> failing_cells(int condition) const;
  bool lines_kept(Axis axis) const { return axis == Axis::kWordline ? wordlines_ : bitlines_; }
  // Flips that were reported again in their pass.
  uint64_t repeated_flips() const { return repeated_flips_; }
  uint64_t flips() const { return flips_; }
  size_t bytes() const;

 private:
  struct Group {
    BankCounts banks;
    std::map<uint32_t, uint32_t> next_repeat;  // by bank, of counts
    SortedTable cells;                         // with cell_value()
    // Until the cells are a sample, lines that are counted from them have no entry here.
    SortedTable wordlines, bitlines;
    bool located = true;   // the bit of each flip is known
    bool counted = false;  // by bank, in the file
  };
  struct ConditionGroups {
    Condition condition;
    std::set<uint32_t> passes;
    std::vector<uint32_t> repeats;
    uint32_t last_pass = ~0u;
    std::unique_ptr<Group> group[kStoredValues];
  };
  // Where the last flip of a stored value was counted.
  struct Cursor {
    int condition = -1;
    uint32_t repeat = 0, bank = 0;
    Group* group = nullptr;
    size_t place = 0;
  };

  static constexpr int kFieldBits = 24;
  static uint64_t cell_key(uint32_t bank, uint32_t row, uint32_t bit) {
    return uint64_t{bank} << (2 * kFieldBits) | uint64_t{row} << kFieldBits | bit;
  }

  // The number of failures and the last pass that had one, in the value of an entry.
  static uint64_t cell_value(uint64_t failures, uint64_t last_repeat) {
    return last_repeat << 32 | failures;
  }
  static uint64_t failures_of(uint64_t value) { return value & 0xffffffffu; }

  Group& group(int condition, Stored stored);
  const Group& found(int condition, Stored stored) const;
  bool move(Cursor& cursor, int condition, uint32_t repeat, uint32_t bank, Stored stored);
  size_t bank(Group& group, uint32_t repeat, uint32_t bank);
  bool& kept(Axis axis) { return axis == Axis::kWordline ? wordlines_ : bitlines_; }
  size_t& lines_total(Axis axis) {
    return axis == Axis::kWordline ? wordlines_total_ : bitlines_total_;
  }
  static SortedTable& table(Group& group, Axis axis) {
    return axis == Axis::kWordline ? group.wordlines : group.bitlines;
  }
  void merge_cells(Group& group);
  void merge_lines(Group& group, Axis axis);
  // Counts the lines of cells in ascending order.
  void add_lines(Group& group, const Entries& cells);
  void add_bitlines(Group& group, const Entries& cells);
  void count_lines_of_cells();
  void repeated(Group& group, uint64_t key, uint32_t repeat);
  template <class Visit>
  void each_group(Visit visit) {
    for (const auto& groups : conditions_) {
      for (const auto& group : groups->group) {
        if (group) visit(*group);
      }
    }
  }
  bool sampled(uint64_t key) const {
    return sample_shift_ == 0 || hash_key(key) >> (64 - sample_shift_) == 0;
  }
  void thin_cells();
  const SortedTable& line_table(int condition, Axis axis, Stored stored) const;
  bool cells_known(int condition, Stored stored) const;
  void need_cells(int condition, Stored stored) const;
  int64_t cells_per_pass(int condition, Stored stored) const;
  template <class Visit>
  void visit_lines(int condition, Axis axis, Stored stored, Visit visit) const;

  Tested tested_;
  Bounds bounds_;
  // What is tested, or can be where that is not known.
  uint32_t row_begin_ = 0, rows_ = kMostRows, row_bits_ = kMostRowBits;
  std::vector<std::unique_ptr<ConditionGroups>> conditions_;
  std::map<std::pair<std::vector<uint64_t>, std::string>, int> numbers_;
  Cursor cursors_[kStoredValues];
  Entries scratch_;
  std::vector<uint64_t> by_bit_, failed_bits_;
  std::vector<uint32_t> zeros_, ones_;
  bool wordlines_ = true, bitlines_ = true;
  bool cells_only_ = false;     // of flips outside of the sample, nothing but their number is kept
  bool all_cells_end_ = false;  // the lines are counted from now on, because cells are a sample
  int sample_shift_ = 0;
  size_t counts_total_ = 0, wordlines_total_ = 0, bitlines_total_ = 0, cells_total_ = 0;
  uint64_t repeated_flips_ = 0, flips_ = 0;
};

}  // namespace eden::measurements
