#include "core/measurements/statistics.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <stdexcept>
#include <tuple>

#include "core/measurements/log.h"

namespace eden::measurements {
namespace {

constexpr size_t kPending = 128;
constexpr int kFieldBits = 24;
constexpr uint64_t kFieldMask = (uint64_t{1} << kFieldBits) - 1;

uint64_t cell_key(uint32_t bank, uint32_t row, uint32_t bit) {
  return uint64_t{bank} << (2 * kFieldBits) | uint64_t{row} << kFieldBits | bit;
}
uint32_t bank_of(uint64_t key) { return static_cast<uint32_t>(key >> (2 * kFieldBits)); }
uint32_t row_of(uint64_t key) { return static_cast<uint32_t>(key >> kFieldBits & kFieldMask); }
uint32_t bit_of(uint64_t key) { return static_cast<uint32_t>(key & kFieldMask); }

// The number of failures and the last pass that had one, in the value of a table.
constexpr uint64_t cell_value(uint64_t failures, uint64_t last_repeat) {
  return last_repeat << 32 | failures;
}
constexpr uint64_t failures_of(uint64_t value) { return value & 0xffffffffu; }

const char* axis_name(Axis axis) { return axis == Axis::kWordline ? "wordlines" : "bitlines"; }

}  // namespace

bool Tested::operator()(uint32_t bank, uint32_t row, uint32_t bit) const {
  if (!known()) return bank < kMostBanks && row < kMostRows && bit < kMostRowBits;
  // Banks are few and mostly numbered from 0.
  const bool in_banks = (bank < banks.size() && banks[bank] == bank) ||
                        std::binary_search(banks.begin(), banks.end(), bank);
  return in_banks && row >= row_begin && row < row_end && bit < row_bits;
}

void Tested::check() const {
  if (subarray_rows > kMostRows) throw std::invalid_argument("subarray_rows is too large");
  if (!known()) return;
  for (size_t i = 0; i < banks.size(); ++i) {
    if (banks[i] >= kMostBanks || (i > 0 && banks[i] <= banks[i - 1])) {
      throw std::invalid_argument("banks are not different ascending numbers below " +
                                  std::to_string(kMostBanks));
    }
  }
  if (row_begin >= row_end || row_end > kMostRows) {
    throw std::invalid_argument("rows are not a range of numbers below " +
                                std::to_string(kMostRows));
  }
  if (row_bits == 0 || row_bits > kMostRowBits) {
    throw std::invalid_argument("row_bits is not 1 to " + std::to_string(kMostRowBits));
  }
}

Statistics::Statistics(Tested tested, Bounds bounds) : tested_(std::move(tested)), bounds_(bounds) {
  tested_.check();
  pending_.reserve(kPending);
}

int Statistics::condition(const Condition& condition) {
  std::vector<uint64_t> fields;
  for (const double value : condition.field) {
    // One representation of NaN and of 0.
    fields.push_back(std::bit_cast<uint64_t>(std::isnan(value) ? kNotStated : value + 0.0));
  }
  const auto [place, is_new] = numbers_.try_emplace({std::move(fields), condition.pattern.text()},
                                                    static_cast<int>(conditions_.size()));
  if (is_new) {
    if (conditions_.size() == bounds_.conditions) {
      throw FormatError("found more than " + std::to_string(bounds_.conditions) +
                        " conditions (operating points, hammer counts and patterns); allowed are "
                        "fewer in one file");
    }
    conditions_.push_back(std::make_unique<ConditionGroups>());
    conditions_.back()->condition = condition;
  }
  return place->second;
}

Statistics::Group& Statistics::group(int condition, Stored stored) {
  std::unique_ptr<Group>& group = conditions_[condition]->group[stored];
  if (!group) group = std::make_unique<Group>();
  return *group;
}

void Statistics::pass(int condition, uint32_t repeat) {
  ConditionGroups& groups = *conditions_[condition];
  if (repeat == groups.last_pass) return;
  groups.last_pass = repeat;
  if (!groups.passes.insert(repeat).second) return;
  if (++counts_total_ > bounds_.counts) {
    throw FormatError("found more than " + std::to_string(bounds_.counts) +
                      " passes and counts of banks; allowed are fewer (read one module at a time)");
  }
}

BankCount& Statistics::bank(Group& group, uint32_t repeat, uint32_t bank) {
  if (group.last && group.last->repeat == repeat && group.last->bank == bank) return *group.last;
  const auto [place, is_new] =
      group.banks.try_emplace({repeat, bank}, BankCount{repeat, bank, 0.0, kNotStated, 0});
  if (is_new && ++counts_total_ > bounds_.counts) {
    throw FormatError("found more than " + std::to_string(bounds_.counts) +
                      " passes and counts of banks; allowed are fewer (read one module at a time)");
  }
  group.last = &place->second;
  return place->second;
}

bool Statistics::flip(int condition, uint32_t repeat, uint32_t bank, uint32_t row, uint32_t bit,
                      Stored stored) {
  if (!tested_(bank, row, bit) || repeat >= kMostRepeats) return false;
  pass(condition, repeat);
  Flip flip;
  flip.group = &group(condition, stored);
  flip.key = cell_key(bank, row, bit);
  flip.hash = hash_key(flip.key);
  flip.bitline = cell_key(bank, tested_.subarray_rows == 0 ? 0 : row / tested_.subarray_rows, bit);
  flip.bitline_hash = hash_key(flip.bitline);
  flip.wordline_hash = hash_key(flip.key & ~kFieldMask);
  flip.repeat = repeat;
  pending_.push_back(flip);
  if (pending_.size() == kPending) count_pending();
  return true;
}

void Statistics::count_pending() {
  // The tables are larger than the caches: ask for all places before the first is needed.
  for (const Flip& flip : pending_) {
    if (sampled(flip.hash)) flip.group->cells.prefetch(flip.hash);
    if (wordlines_) flip.group->wordlines.prefetch(flip.wordline_hash);
    if (bitlines_) flip.group->bitlines.prefetch(flip.bitline_hash);
  }
  for (const Flip& flip : pending_) {
    Group& group = *flip.group;
    if (sampled(flip.hash)) {
      const size_t before = group.cells.size();
      uint64_t& value = group.cells.at(flip.key, flip.hash);
      if (value != 0 && value >> 32 == flip.repeat) {
        ++repeated_flips_;
        continue;
      }
      value = cell_value(failures_of(value) + 1, flip.repeat);
      cells_total_ += group.cells.size() - before;
      if (cells_total_ > bounds_.cells) thin_cells();
    }
    ++flips_;
    bank(group, flip.repeat, bank_of(flip.key)).errors += 1.0;
    add_line(group.wordlines, wordlines_, wordlines_total_, Axis::kWordline, flip.key & ~kFieldMask,
             flip.wordline_hash, 1);
    add_line(group.bitlines, bitlines_, bitlines_total_, Axis::kBitline, flip.bitline,
             flip.bitline_hash, 1);
  }
  pending_.clear();
}

void Statistics::add_line(CountTable& table, bool& kept, size_t& total, Axis axis, uint64_t key,
                          uint64_t hash, uint64_t count) {
  if (!kept) return;
  const size_t before = table.size();
  table.at(key, hash) += count;
  total += table.size() - before;
  if (total <= bounds_.lines) return;
  kept = false;
  for (const auto& groups : conditions_) {
    for (const auto& group : groups->group) {
      if (group) (axis == Axis::kWordline ? group->wordlines : group->bitlines).clear();
    }
  }
}

void Statistics::thin_cells() {
  while (cells_total_ > bounds_.cells) {
    ++sample_shift_;
    cells_total_ = 0;
    for (const auto& groups : conditions_) {
      for (const auto& group : groups->group) {
        if (!group) continue;
        group->cells.keep_if([this](uint64_t key) { return sampled(hash_key(key)); });
        cells_total_ += group->cells.size();
      }
    }
  }
}

bool Statistics::flips_in_row(int condition, uint32_t repeat, uint32_t bank, uint32_t row,
                              Stored stored, uint32_t count) {
  if (!tested_(bank, row, 0) || repeat >= kMostRepeats) return false;
  pass(condition, repeat);
  if (count == 0) return true;
  Group& group = this->group(condition, stored);
  group.located = false;
  flips_ += count;
  this->bank(group, repeat, bank).errors += count;
  const uint64_t wordline = cell_key(bank, row, 0);
  add_line(group.wordlines, wordlines_, wordlines_total_, Axis::kWordline, wordline,
           hash_key(wordline), count);
  return true;
}

bool Statistics::count(int condition, uint32_t repeat, uint32_t bank, Stored stored, double errors,
                       double cells, uint64_t line) {
  pass(condition, repeat);
  Group& group = this->group(condition, stored);
  if (group.banks.contains({repeat, bank})) return false;
  group.counted = true;
  uint32_t& next = group.next_repeat[bank];
  next = std::max(next, repeat + 1);
  this->bank(group, repeat, bank) = {repeat, bank, errors, cells, line};
  return true;
}

uint32_t Statistics::next_repeat(int condition, uint32_t bank, Stored stored) const {
  const std::unique_ptr<Group>& group = conditions_[condition]->group[stored];
  if (!group) return 0;
  const auto place = group->next_repeat.find(bank);
  return place == group->next_repeat.end() ? 0 : place->second;
}

void Statistics::set_repeats(uint32_t repeats) {
  for (const auto& groups : conditions_) {
    if (groups->passes.size() > repeats) {
      throw FormatError("found " + std::to_string(groups->passes.size()) +
                        " passes of a condition with the pattern '" +
                        groups->condition.pattern.text() + "'; allowed are " +
                        std::to_string(repeats) + ", as repeats says");
    }
    for (uint32_t repeat = 0; groups->passes.size() < repeats; ++repeat) {
      groups->passes.insert(repeat);
    }
  }
}

void Statistics::finish() {
  count_pending();
  for (const auto& groups : conditions_) {
    groups->repeats.assign(groups->passes.begin(), groups->passes.end());
    // What was tested and failed nowhere has statistics too.
    const Pattern& pattern = groups->condition.pattern;
    if (!tested_.known()) continue;
    // Unless the file counted by itself, or gave values of its own where the pattern has none.
    if (std::any_of(std::begin(groups->group), std::end(groups->group), [&](const auto& group) {
          return group && (group->counted || !pattern.known());
        })) {
      continue;
    }
    for (int stored = 0; stored < kStoredValues; ++stored) {
      if (groups->group[stored]) continue;
      const uint32_t rows =
          std::min(tested_.row_end - tested_.row_begin, pattern.known() ? pattern.period() : 1);
      for (uint32_t row = tested_.row_begin; row < tested_.row_begin + rows; ++row) {
        if (pattern.cells(row, tested_.row_bits, static_cast<Stored>(stored)) == 0) continue;
        groups->group[stored] = std::make_unique<Group>();
        // Flips whose bits are not known tell nothing of a value's cells either.
        for (const auto& group : groups->group) {
          if (group && !group->located) groups->group[stored]->located = false;
        }
        break;
      }
    }
  }
}

const std::vector<uint32_t>& Statistics::repeats(int condition) const {
  return conditions_[condition]->repeats;
}

std::vector<Stored> Statistics::stored_values(int condition) const {
  std::vector<Stored> values;
  for (int stored = 0; stored < kStoredValues; ++stored) {
    if (conditions_[condition]->group[stored]) values.push_back(static_cast<Stored>(stored));
  }
  return values;
}

const Statistics::Group& Statistics::found(int condition, Stored stored) const {
  const std::unique_ptr<Group>& group = conditions_[condition]->group[stored];
  if (!group) throw std::domain_error("nothing was read of this stored value");
  return *group;
}

std::vector<BankCount> Statistics::counts(int condition, Stored stored) const {
  const Group& group = found(condition, stored);
  std::vector<BankCount> result;
  if (group.counted || !cells_known(condition, stored)) {
    for (const auto& [key, count] : group.banks) result.push_back(count);
    return result;
  }
  const double cells =
      static_cast<double>(cells_per_pass(condition, stored)) / tested_.banks.size();
  for (const uint32_t repeat : repeats(condition)) {
    for (const uint32_t bank : tested_.banks) {
      const auto place = group.banks.find({repeat, bank});
      const double errors = place == group.banks.end() ? 0.0 : place->second.errors;
      result.push_back({repeat, bank, errors, cells, 0});
    }
  }
  return result;
}

bool Statistics::cells_known(int condition, Stored stored) const {
  return tested_.known() &&
         conditions_[condition]->condition.pattern.known() == (stored != kUnknown);
}

void Statistics::need_cells(int condition, Stored stored) const {
  if (found(condition, stored).counted) {
    throw std::domain_error("the file has counts of whole banks only");
  }
  if (!tested_.known()) {
    throw std::domain_error(
        "the file does not say which cells were tested: give banks, rows and row_bits");
  }
  if (!cells_known(condition, stored)) {
    throw std::domain_error(
        "the data that was stored is not known, so neither is how many cells held a value");
  }
}

int64_t Statistics::cells_per_pass(int condition, Stored stored) const {
  const Pattern& pattern = conditions_[condition]->condition.pattern;
  int64_t cells = 0;
  for (uint32_t row = tested_.row_begin; row < tested_.row_end; ++row) {
    cells += pattern.cells(row, tested_.row_bits, stored);
  }
  return cells * static_cast<int64_t>(tested_.banks.size());
}

const CountTable& Statistics::line_table(int condition, Axis axis, Stored stored) const {
  need_cells(condition, stored);
  const Group& group = found(condition, stored);
  if (axis == Axis::kBitline && !group.located) {
    throw std::domain_error("the file does not say which bit of a row failed");
  }
  if (!lines_kept(axis)) {
    throw std::domain_error("more than " + std::to_string(bounds_.lines) + " " + axis_name(axis) +
                            " failed, so they were not kept: read fewer conditions or banks");
  }
  return axis == Axis::kWordline ? group.wordlines : group.bitlines;
}

// visit(first key, lines that follow one another from there, cells of each in one pass).
template <class Visit>
void Statistics::visit_lines(int condition, Axis axis, Stored stored, Visit visit) const {
  const Pattern& pattern = conditions_[condition]->condition.pattern;
  for (const uint32_t bank : tested_.banks) {
    if (axis == Axis::kWordline) {
      for (uint32_t row = tested_.row_begin; row < tested_.row_end; ++row) {
        visit(cell_key(bank, row, 0), pattern.cells(row, tested_.row_bits, stored));
      }
      continue;
    }
    const uint32_t rows = tested_.subarray_rows == 0 ? kMostRows : tested_.subarray_rows;
    for (uint32_t row = tested_.row_begin; row < tested_.row_end;) {
      const uint32_t end = std::min(tested_.row_end, (row / rows + 1) * rows);
      // Cells of a bitline depend on its place in the byte alone.
      std::array<uint32_t, 8> cells{};
      for (uint32_t r = row; r < end; ++r) {
        for (uint32_t bit = 0; bit < 8; ++bit) cells[bit] += pattern.stored(r, bit) == stored;
      }
      for (uint32_t bit = 0; bit < tested_.row_bits; ++bit) {
        visit(cell_key(bank, tested_.subarray_rows == 0 ? 0 : row / rows, bit), cells[bit & 7]);
      }
      row = end;
    }
  }
}

void Statistics::lines(int condition, Axis axis, Stored stored, size_t most,
                       std::vector<int64_t>& errors, std::vector<int64_t>& cells) const {
  const CountTable& table = line_table(condition, axis, stored);
  errors.clear();
  cells.clear();
  std::vector<std::pair<uint64_t, uint64_t>> failing;
  failing.reserve(table.size());
  table.for_each([&](uint64_t key, uint64_t count) { failing.emplace_back(key, count); });
  std::sort(failing.begin(), failing.end());
  const auto passes = static_cast<int64_t>(repeats(condition).size());
  auto next = failing.begin();
  // Keys ascend in both, so the failing ones are met in their order.
  visit_lines(condition, axis, stored, [&](uint64_t key, uint32_t per_pass) {
    if (per_pass == 0) return;
    if (errors.size() == most) {
      throw std::domain_error("there are more than " + std::to_string(most) + " " +
                              axis_name(axis) + ": take their counts by line_counts");
    }
    const bool failed = next != failing.end() && next->first == key;
    errors.push_back(failed ? static_cast<int64_t>((next++)->second) : 0);
    cells.push_back(per_pass * passes);
  });
}

std::vector<LineCounts> Statistics::line_counts(int condition, Axis axis, Stored stored) const {
  const CountTable& table = line_table(condition, axis, stored);
  const Pattern& pattern = conditions_[condition]->condition.pattern;
  const auto passes = static_cast<int64_t>(repeats(condition).size());
  std::map<std::pair<int64_t, int64_t>, int64_t> lines;  // by cells, errors
  const uint32_t rows = tested_.subarray_rows == 0 ? kMostRows : tested_.subarray_rows;
  const auto banks = static_cast<int64_t>(tested_.banks.size());
  // Without visiting each line: there can be a hundred million.
  const auto bitline_cells = [&](uint32_t subarray, uint32_t bit) {
    const uint32_t begin = std::max(tested_.row_begin, subarray * rows);
    const auto end =
        static_cast<uint32_t>(std::min<uint64_t>(tested_.row_end, (uint64_t{subarray} + 1) * rows));
    if (!pattern.known()) return static_cast<int64_t>(stored == kUnknown ? end - begin : 0);
    const uint32_t period = pattern.period();
    int64_t cells = 0;
    for (uint32_t phase = 0; phase < period; ++phase) {
      if (pattern.stored(phase, bit) != stored) continue;
      const auto up_to = [&](uint32_t row) { return (int64_t{row} + period - 1 - phase) / period; };
      cells += up_to(end) - up_to(begin);
    }
    return cells;
  };
  if (axis == Axis::kWordline) {
    for (uint32_t row = tested_.row_begin; row < tested_.row_end; ++row) {
      lines[{pattern.cells(row, tested_.row_bits, stored) * passes, 0}] += banks;
    }
  } else {
    for (uint32_t subarray = tested_.row_begin / rows; subarray <= (tested_.row_end - 1) / rows;
         ++subarray) {
      for (uint32_t bit = 0; bit < std::min(8u, tested_.row_bits); ++bit) {
        lines[{bitline_cells(subarray, bit) * passes, 0}] +=
            (int64_t{tested_.row_bits} - bit + 7) / 8 * banks;
      }
    }
  }
  table.for_each([&](uint64_t key, uint64_t count) {
    const int64_t cells = axis == Axis::kWordline
                              ? pattern.cells(row_of(key), tested_.row_bits, stored) * passes
                              : bitline_cells(row_of(key), bit_of(key)) * passes;
    --lines[{cells, 0}];
    ++lines[{cells, static_cast<int64_t>(count)}];
  });
  std::vector<LineCounts> result;
  for (const auto& [key, count] : lines) {
    if (key.first > 0 && count > 0) result.push_back({key.second, key.first, count});
  }
  return result;
}

std::vector<int64_t> Statistics::cells(int condition, Stored stored) const {
  need_cells(condition, stored);
  const Group& group = found(condition, stored);
  if (!group.located) throw std::domain_error("the file does not say which bit of a row failed");
  const size_t passes = repeats(condition).size();
  std::vector<int64_t> histogram(passes + 1);
  group.cells.for_each([&](uint64_t, uint64_t value) {
    ++histogram[std::min<uint64_t>(failures_of(value), passes)];
  });
  const double share = std::ldexp(1.0, -sample_shift_);
  const auto tested = static_cast<int64_t>(
      std::llround(static_cast<double>(cells_per_pass(condition, stored)) * share));
  histogram[0] = std::max<int64_t>(0, tested - static_cast<int64_t>(group.cells.size()));
  return histogram;
}

std::vector<FailingCell> Statistics::failing_cells(int condition) const {
  if (sample_shift_ != 0) {
    throw std::domain_error("more than " + std::to_string(bounds_.cells) +
                            " cells failed, so their addresses were not all kept");
  }
  std::vector<FailingCell> result;
  for (int stored = 0; stored < kStoredValues; ++stored) {
    const auto& group = conditions_[condition]->group[stored];
    if (!group) continue;
    if (group->counted) throw std::domain_error("the file has counts of whole banks only");
    if (!group->located) throw std::domain_error("the file does not say which bit of a row failed");
    group->cells.for_each([&](uint64_t key, uint64_t value) {
      result.push_back({bank_of(key), row_of(key), bit_of(key), static_cast<Stored>(stored),
                        static_cast<uint32_t>(failures_of(value))});
    });
  }
  std::sort(result.begin(), result.end(), [](const FailingCell& a, const FailingCell& b) {
    return std::tie(a.bank, a.row, a.bit, a.stored) < std::tie(b.bank, b.row, b.bit, b.stored);
  });
  return result;
}

size_t Statistics::bytes() const {
  size_t bytes = 0;
  for (const auto& groups : conditions_) {
    bytes += sizeof(ConditionGroups);
    for (const auto& group : groups->group) {
      if (!group) continue;
      bytes +=
          sizeof(Group) + group->wordlines.bytes() + group->bitlines.bytes() + group->cells.bytes();
    }
  }
  // A node of a red-black tree: its value, three links and a color.
  return bytes + counts_total_ * (sizeof(BankCount) + 5 * sizeof(void*));
}

}  // namespace eden::measurements
