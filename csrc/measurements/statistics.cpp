#include "measurements/statistics.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <stdexcept>
#include <tuple>

#include "base/refusal.h"
#include "measurements/log.h"

namespace eden::measurements {
namespace {

constexpr int kFieldBits = 24;  // of a key
constexpr uint64_t kFieldMask = (uint64_t{1} << kFieldBits) - 1;

uint32_t bank_of(uint64_t key) { return static_cast<uint32_t>(key >> (2 * kFieldBits)); }
uint32_t row_of(uint64_t key) { return static_cast<uint32_t>(key >> kFieldBits & kFieldMask); }
uint32_t bit_of(uint64_t key) { return static_cast<uint32_t>(key & kFieldMask); }

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
  if (subarray_rows > kMostRows) refuse("subarray_rows is too large");
  if (!known()) return;
  for (size_t i = 0; i < banks.size(); ++i) {
    if (banks[i] >= kMostBanks || (i > 0 && banks[i] <= banks[i - 1])) {
      refuse("banks are not different ascending numbers below ", kMostBanks);
    }
  }
  if (row_begin >= row_end || row_end > kMostRows) {
    refuse("rows are not a range of numbers below ", kMostRows);
  }
  if (row_bits == 0 || row_bits > kMostRowBits) {
    refuse("row_bits is not 1 to ", kMostRowBits);
  }
}

Statistics::Statistics(Tested tested, Bounds bounds) : tested_(std::move(tested)), bounds_(bounds) {
  tested_.check();
  if (tested_.known()) {
    row_begin_ = tested_.row_begin;
    rows_ = tested_.row_end - tested_.row_begin;
    row_bits_ = tested_.row_bits;
  }
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
      refuse<FormatError>("found more than ", bounds_.conditions,
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
    refuse<FormatError>(
        "found more than ", bounds_.counts,
        " passes and counts of banks; allowed are fewer (read one module at a time)");
  }
}

size_t Statistics::bank(Group& group, uint32_t repeat, uint32_t bank) {
  const size_t before = group.banks.size();
  const size_t place = group.banks.place(repeat, bank);
  counts_total_ += group.banks.size() - before;
  if (counts_total_ > bounds_.counts) {
    refuse<FormatError>(
        "found more than ", bounds_.counts,
        " passes and counts of banks; allowed are fewer (read one module at a time)");
  }
  return place;
}

bool Statistics::move(Cursor& cursor, int condition, uint32_t repeat, uint32_t bank,
                      Stored stored) {
  if (!tested_(bank, row_begin_, 0) || repeat >= kMostRepeats) return false;
  pass(condition, repeat);
  Group& group = this->group(condition, stored);
  cursor = {condition, repeat, bank, &group, this->bank(group, repeat, bank)};
  return true;
}

void Statistics::merge_cells(Group& group) {
  if (sample_shift_ > 0) {
    add_lines(group, group.cells.sorted(scratch_));
    group.cells.keep_waiting_if([this](uint64_t key) { return sampled(key); });
  }
  const size_t before = group.cells.entries().size();
  group.cells.merge(scratch_, [&](Entry& entry, uint64_t value) {
    const uint64_t repeat = value >> 32;
    if (entry.value >> 32 == repeat) {
      repeated(group, entry.key, static_cast<uint32_t>(repeat));
    } else {
      entry.value = cell_value(failures_of(entry.value) + failures_of(value), repeat);
    }
  });
  cells_total_ += group.cells.entries().size() - before;
  if (cells_total_ > bounds_.cells) thin_cells();
}

void Statistics::repeated(Group& group, uint64_t key, uint32_t repeat) {
  ++repeated_flips_;
  --flips_;
  group.banks[bank(group, repeat, bank_of(key))].errors -= 1.0;
  if (sample_shift_ == 0) return;
  // Its lines are counted already.
  if (wordlines_) --group.wordlines.at(key & ~kFieldMask).value;
  const uint32_t subarray = tested_.subarray_rows == 0 ? 0 : row_of(key) / tested_.subarray_rows;
  if (bitlines_) --group.bitlines.at(cell_key(bank_of(key), subarray, bit_of(key))).value;
}

void Statistics::merge_lines(Group& group, Axis axis) {
  if (!kept(axis)) return;
  SortedTable& table = Statistics::table(group, axis);
  const size_t before = table.entries().size();
  table.merge(scratch_, [](Entry& entry, uint64_t count) { entry.value += count; });
  lines_total(axis) += table.entries().size() - before;
  if (lines_total(axis) <= bounds_.lines) return;
  kept(axis) = false;
  cells_only_ = sample_shift_ > 0 && !wordlines_ && !bitlines_;
  each_group([&](Group& each) { Statistics::table(each, axis).clear(); });
}

void Statistics::add_lines(Group& group, const Entries& cells) {
  for (size_t i = 0; wordlines_ && i < cells.size();) {
    const uint64_t wordline = cells[i].key & ~kFieldMask;
    uint64_t errors = 0;
    for (; i < cells.size() && (cells[i].key & ~kFieldMask) == wordline; ++i) {
      errors += failures_of(cells[i].value);
    }
    group.wordlines.push(wordline, errors, [&] { merge_lines(group, Axis::kWordline); });
  }
  if (bitlines_) add_bitlines(group, cells);
  merge_lines(group, Axis::kWordline);
  merge_lines(group, Axis::kBitline);
}

// The cells of a subarray follow one another.
void Statistics::add_bitlines(Group& group, const Entries& cells) {
  for (size_t begin = 0; bitlines_ && begin < cells.size();) {
    const uint64_t key = cells[begin].key;
    const uint32_t rows = tested_.subarray_rows == 0 ? kMostRows : tested_.subarray_rows;
    const uint32_t subarray = row_of(key) / rows;
    const uint64_t behind =
        std::min((uint64_t{bank_of(key)} << kFieldBits) + (uint64_t{subarray} + 1) * rows,
                 (uint64_t{bank_of(key)} + 1) << kFieldBits)
        << kFieldBits;
    size_t end = begin;
    uint32_t least = ~0u, most = 0;
    for (; end < cells.size() && cells[end].key < behind; ++end) {
      least = std::min(least, bit_of(cells[end].key));
      most = std::max(most, bit_of(cells[end].key));
    }
    const auto count = [&](uint32_t bit, uint64_t errors) {
      if (!bitlines_) return;
      group.bitlines.push(cell_key(bank_of(key), subarray, bit), errors,
                          [&] { merge_lines(group, Axis::kBitline); });
    };
    // An array of all bits takes longer than a sort where few of them failed.
    constexpr size_t kSparse = 256;
    if (most - least > kSparse * (end - begin)) {
      for (; begin < end; ++begin) count(bit_of(cells[begin].key), failures_of(cells[begin].value));
      continue;
    }
    // Both are 0 but for what is counted here.
    const size_t bits = size_t{most} - least + 1;
    if (by_bit_.size() < bits) {
      by_bit_.resize(bits);
      failed_bits_.resize(bits / 64 + 1);
    }
    for (; begin < end; ++begin) {
      const uint32_t bit = bit_of(cells[begin].key) - least;
      by_bit_[bit] += failures_of(cells[begin].value);
      failed_bits_[bit / 64] |= uint64_t{1} << (bit % 64);
    }
    for (size_t i = 0; i <= (bits - 1) / 64; ++i) {
      for (uint64_t word = std::exchange(failed_bits_[i], 0); word != 0; word &= word - 1) {
        const auto bit =
            static_cast<uint32_t>(64 * i) + static_cast<uint32_t>(std::countr_zero(word));
        count(least + bit, std::exchange(by_bit_[bit], 0));
      }
    }
  }
}

void Statistics::count_lines_of_cells() {
  each_group([this](Group& group) { add_lines(group, group.cells.entries()); });
}

void Statistics::thin_cells() {
  if (sample_shift_ == 0) {
    if (std::exchange(all_cells_end_, true)) return;  // from merge_cells below
    each_group([this](Group& group) { merge_cells(group); });
    count_lines_of_cells();
  }
  while (cells_total_ > bounds_.cells) {
    ++sample_shift_;
    cells_total_ = 0;
    each_group([this](Group& group) {
      group.cells.keep_if([this](uint64_t key) { return sampled(key); });
      cells_total_ += group.cells.entries().size();
    });
  }
  cells_only_ = !wordlines_ && !bitlines_;
}

bool Statistics::flips_of_pattern(int condition, uint32_t repeat, uint32_t bank, uint32_t row,
                                  std::span<const uint32_t> bits) {
  const Pattern& pattern = conditions_[condition]->condition.pattern;
  const unsigned byte = pattern.known() ? pattern.byte(row) : 0;
  if (byte == 0x00 || byte == 0xff) {
    const Stored stored = !pattern.known() ? kUnknown : byte == 0 ? kZero : kOne;
    return flips(condition, repeat, bank, row, bits, stored);
  }
  for (const uint32_t bit : bits) {
    if (!tested_(bank, row, bit)) return false;
  }
  // Each bit is written to both, and one of them goes on.
  zeros_.resize(bits.size());
  ones_.resize(bits.size());
  size_t zeros = 0, ones = 0;
  for (const uint32_t bit : bits) {
    const size_t one = byte >> (bit & 7) & 1;
    zeros_[zeros] = ones_[ones] = bit;
    zeros += 1 - one;
    ones += one;
  }
  return (zeros == 0 || flips(condition, repeat, bank, row, {zeros_.data(), zeros}, kZero)) &&
         (ones == 0 || flips(condition, repeat, bank, row, {ones_.data(), ones}, kOne));
}

bool Statistics::flips_in_row(int condition, uint32_t repeat, uint32_t bank, uint32_t row,
                              Stored stored, uint32_t count) {
  if (!tested_(bank, row, 0) || repeat >= kMostRepeats) return false;
  pass(condition, repeat);
  if (count == 0) return true;
  Group& group = this->group(condition, stored);
  group.located = false;
  flips_ += count;
  group.banks[this->bank(group, repeat, bank)].errors += count;
  if (!wordlines_) return true;
  const uint64_t wordline = cell_key(bank, row, 0);
  if (Entry* const last = group.wordlines.last(); last && last->key == wordline) {
    last->value += count;
  } else {
    group.wordlines.push(wordline, count, [&] { merge_lines(group, Axis::kWordline); });
  }
  return true;
}

bool Statistics::count(int condition, uint32_t repeat, uint32_t bank, Stored stored, double errors,
                       double cells, uint64_t line) {
  pass(condition, repeat);
  Group& group = this->group(condition, stored);
  const size_t before = group.banks.size();
  BankCount& count = group.banks[this->bank(group, repeat, bank)];
  if (group.banks.size() == before) return false;
  group.counted = true;
  uint32_t& next = group.next_repeat[bank];
  next = std::max(next, repeat + 1);
  count = {repeat, bank, errors, cells, line};
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
      refuse<FormatError>(
          "found ", groups->passes.size(), " passes of a condition with the pattern '",
          groups->condition.pattern.text(), "'; allowed are ", repeats, ", as repeats says");
    }
    for (uint32_t repeat = 0; groups->passes.size() < repeats; ++repeat) {
      groups->passes.insert(repeat);
    }
  }
}

void Statistics::finish() {
  each_group([this](Group& group) { merge_cells(group); });
  if (sample_shift_ == 0) count_lines_of_cells();
  each_group([this](Group& group) { merge_lines(group, Axis::kWordline); });
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
  if (!group) refuse<std::domain_error>("nothing was read of this stored value");
  return *group;
}

std::vector<BankCount> Statistics::counts(int condition, Stored stored) const {
  const Group& group = found(condition, stored);
  const std::vector<BankCount> counted = group.banks.sorted();
  if (group.counted || !cells_known(condition, stored)) return counted;
  std::vector<BankCount> result;
  auto next = counted.begin();
  const double cells =
      static_cast<double>(cells_per_pass(condition, stored)) / tested_.banks.size();
  for (const uint32_t repeat : repeats(condition)) {
    for (const uint32_t bank : tested_.banks) {
      const bool failed = next != counted.end() && next->repeat == repeat && next->bank == bank;
      result.push_back({repeat, bank, failed ? (next++)->errors : 0.0, cells, 0});
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
    refuse<std::domain_error>("the file has counts of whole banks only");
  }
  if (!tested_.known()) {
    refuse<std::domain_error>(
        "the file does not say which cells were tested: give banks, rows and row_bits");
  }
  if (!cells_known(condition, stored)) {
    refuse<std::domain_error>(
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

const SortedTable& Statistics::line_table(int condition, Axis axis, Stored stored) const {
  need_cells(condition, stored);
  const Group& group = found(condition, stored);
  if (axis == Axis::kBitline && !group.located) {
    refuse<std::domain_error>("the file does not say which bit of a row failed");
  }
  if (!lines_kept(axis)) {
    refuse<std::domain_error>("more than ", bounds_.lines, " ", axis_name(axis),
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
  const Entries& failing = line_table(condition, axis, stored).entries();
  errors.clear();
  cells.clear();
  const auto passes = static_cast<int64_t>(repeats(condition).size());
  auto next = failing.begin();
  // Keys ascend in both, so the failing ones are met in their order.
  visit_lines(condition, axis, stored, [&](uint64_t key, uint32_t per_pass) {
    if (per_pass == 0) return;
    if (errors.size() == most) {
      refuse<std::domain_error>("there are more than ", most, " ", axis_name(axis),
                                ": take their counts by line_counts");
    }
    const bool failed = next != failing.end() && next->key == key;
    errors.push_back(failed ? static_cast<int64_t>((next++)->value) : 0);
    cells.push_back(per_pass * passes);
  });
}

std::vector<LineCounts> Statistics::line_counts(int condition, Axis axis, Stored stored) const {
  const Entries& failing = line_table(condition, axis, stored).entries();
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
  for (const auto& [key, count] : failing) {
    const int64_t cells = axis == Axis::kWordline
                              ? pattern.cells(row_of(key), tested_.row_bits, stored) * passes
                              : bitline_cells(row_of(key), bit_of(key)) * passes;
    --lines[{cells, 0}];
    ++lines[{cells, static_cast<int64_t>(count)}];
  }
  std::vector<LineCounts> result;
  for (const auto& [key, count] : lines) {
    if (key.first > 0 && count > 0) result.push_back({key.second, key.first, count});
  }
  return result;
}

std::vector<int64_t> Statistics::cells(int condition, Stored stored) const {
  need_cells(condition, stored);
  const Group& group = found(condition, stored);
  if (!group.located) refuse<std::domain_error>("the file does not say which bit of a row failed");
  const size_t passes = repeats(condition).size();
  std::vector<int64_t> histogram(passes + 1);
  for (const Entry& entry : group.cells.entries()) {
    ++histogram[std::min<uint64_t>(failures_of(entry.value), passes)];
  }
  const double share = std::ldexp(1.0, -sample_shift_);
  const auto tested = static_cast<int64_t>(
      std::llround(static_cast<double>(cells_per_pass(condition, stored)) * share));
  histogram[0] = std::max<int64_t>(0, tested - static_cast<int64_t>(group.cells.entries().size()));
  return histogram;
}

std::vector<FailingCell> Statistics::failing_cells(int condition) const {
  if (sample_shift_ != 0) {
    refuse<std::domain_error>("more than ", bounds_.cells,
                              " cells failed, so their addresses were not all kept");
  }
  std::vector<FailingCell> result;
  for (int stored = 0; stored < kStoredValues; ++stored) {
    const auto& group = conditions_[condition]->group[stored];
    if (!group) continue;
    if (group->counted) refuse<std::domain_error>("the file has counts of whole banks only");
    if (!group->located)
      refuse<std::domain_error>("the file does not say which bit of a row failed");
    const auto before = static_cast<std::ptrdiff_t>(result.size());
    for (const auto& [key, value] : group->cells.entries()) {
      result.push_back({bank_of(key), row_of(key), bit_of(key), static_cast<Stored>(stored),
                        static_cast<uint32_t>(failures_of(value))});
    }
    std::inplace_merge(result.begin(), result.begin() + before, result.end(),
                       [](const FailingCell& a, const FailingCell& b) {
                         return std::tie(a.bank, a.row, a.bit, a.stored) <
                                std::tie(b.bank, b.row, b.bit, b.stored);
                       });
  }
  return result;
}

size_t Statistics::bytes() const {
  size_t bytes = scratch_.capacity() * sizeof(Entry) +
                 (by_bit_.capacity() + failed_bits_.capacity()) * sizeof(uint64_t);
  for (const auto& groups : conditions_) {
    // A node of a red-black tree: its value, three links and a color.
    bytes += sizeof(ConditionGroups) + groups->passes.size() * 5 * sizeof(void*);
    for (const auto& group : groups->group) {
      if (!group) continue;
      bytes += sizeof(Group) + group->banks.bytes() + group->wordlines.bytes() +
               group->bitlines.bytes() + group->cells.bytes();
    }
  }
  return bytes;
}

}  // namespace eden::measurements
