// The cells of a patch of lines: which lines are weak, and where their marks and dense cells lie.
#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <span>

#include "memory/corrupt/flips.h"
#include "memory/weak_cells.h"

namespace eden {
namespace {

// Up to so many lines to one with a dense part, masks of whole rows cost less than lists of cells.
constexpr size_t kLinesPerDenseLineInMasks = 64;

// Clearing what was kept of a line costs as much as that of so many in a row.
constexpr size_t kLinesClearedPerLine = 8;

// Joins with `to` one bit for every two of `from`, of which the first is the very first bit or, if
// that is `odd`, none and that one.
void join_pairs(const uint64_t* from, size_t size, bool odd, uint64_t* to) {
  uint64_t before = 0;
  for (size_t w = 0; w < size; ++w) {
    const uint64_t word = from[w];
    uint64_t bits = odd ? (word << 1) | (before >> 63) : word;
    before = word;
    if (bits == 0) continue;
    bits = (bits | (bits >> 1)) & 0x5555555555555555u;
    bits = (bits | (bits >> 1)) & 0x3333333333333333u;
    bits = (bits | (bits >> 2)) & 0x0f0f0f0f0f0f0f0fu;
    bits = (bits | (bits >> 4)) & 0x00ff00ff00ff00ffu;
    bits = (bits | (bits >> 8)) & 0x0000ffff0000ffffu;
    bits = (bits | (bits >> 16)) & 0x00000000ffffffffu;
    to[w / 2] |= bits << (w % 2 * 32);
  }
}

// Whether the first bits of words are all set.
bool all_set(const uint64_t* words, size_t bits) {
  for (; bits >= 64; bits -= 64) {
    if (~*words++ != 0) return false;
  }
  return std::countr_one(*words) >= static_cast<int>(bits);
}

}  // namespace

void PatchFlips::find_lines(const Load& load, const Region& region, const WeakLines& weak,
                            const PatchGrid& grid, bool list_bitlines) {
  const bool across = region.model == ModelKind::kBitline;
  const uint64_t length = across ? region.subarray_rows : region.row_bits;
  uint64_t first_line, count;
  simd::PatchLines lines{};
  if (across) {
    const uint64_t row = patch_.origin / region.row_bits;
    first_line = row / length * region.row_bits + patch_.origin % region.row_bits;
    count = patch_.columns;
    lines.lead = static_cast<uint32_t>(row % length);
    // The first and the last row need not be the operand's from end to end.
    const uint32_t last = patch_.rows - 1;
    lines.begin = static_cast<uint32_t>(grid.run_begin(patch_, 0) - patch_.origin);
    lines.end =
        (last << rows_.row_shift) +
        static_cast<uint32_t>(grid.run_end(patch_, last) - patch_.origin - last * patch_.stride);
  } else {
    first_line = patch_.origin / length;
    count = (patch_.origin + patch_.columns - 1) / length - first_line + 1;
    lines.lead = static_cast<uint32_t>(patch_.origin % length);
    lines.end = patch_.columns;
  }
  // Blocks no longer than a wordline serve it alone, many of them in a row; those of bitlines,
  // which are many and short, are worked on together.
  int joint = kFirstLevel;
  while (!across && joint <= kLastLevel && uint64_t{1} << block_bits(joint) <= length) ++joint;
  find_weak_lines(load, region, weak, first_line, static_cast<uint32_t>(count), joint);
  lines.first_cell = first_line * length;
  lines.count = static_cast<uint32_t>(count);
  lines.length = static_cast<uint32_t>(length);
  lines.threshold = line_threshold_.data();
  lines.key = line_key_.data();
  const bool two = by_value(region.table_kind);
  symmetric_ = !two;
  if (two) lines.lower = line_lower_.data(), lines.lower_key = line_lower_key_.data();
  lines.across = across;
  lines.row_shift = rows_.row_shift;
  lines.row_gap = mask_rows_.gap;
  if (joint != kFirstLevel) find_line_by_line(load, lines, joint);
  list_blocks(lines, joint);
  kernels_->find_in_lines(load.chip, lines, blocks_.data(), blocks_.size(), found_);
  if (across && dense_count_ != 0) {
    const bool into_masks = !list_bitlines && region.failure == kAlways &&
                            dense_count_ * kLinesPerDenseLineInMasks >= lines.count;
    uint64_t* const masks[2] = {into_masks ? always_.data() : nullptr,
                                into_masks ? strong_.data() : nullptr};
    kernels_->find_dense_in_lines(load.chip, lines, dense_lines_.data(), dense_count_, masks,
                                  found_);
    if (into_masks) {
      masked_ = dense_ = true;
      dirty_words_ = row_words_ * patch_.rows;
    }
  }
  if (region.failure != kAlways) {
    kernels_->keep_failing(load.chip, rows_, load.access, region.failure, found_);
  }
  if (two && zero_lines_) part_by_line(lines);
  // A wordline's dense part is found where its cells are.
  if (!across) find_wordlines_dense(load, region, lines);
}

// Where lines are put as they are taken, apart from the object, which for all that a compiler knows
// a store could change.
struct PatchFlips::TakenLines {
  int joint;
  uint64_t* threshold;
  uint32_t *key, *line, *level;
  simd::DenseLine* dense;

  // Without branches: whether a line has a dense part is as random as its mark.
  EDEN_ALWAYS_INLINE void take(uint32_t which, const WeakThresholds& zero,
                               const WeakThresholds& one) {
    const uint64_t sparse = std::max(zero.sparse, one.sparse);
    threshold[which] = sparse;
    key[which] = line_key(sparse);
    *line = which;
    *level = static_cast<uint32_t>(std::max(first_level(sparse), joint));
    const size_t more = sparse != 0 ? 1 : 0;
    line += more, level += more;
    *dense = {which, {zero.dense, one.dense}};
    dense += (zero.dense | one.dense) != 0 ? 1 : 0;
  }
};

// The thresholds of the patch's lines that have weak cells.
void PatchFlips::find_weak_lines(const Load& load, const Region& region, const WeakLines& weak,
                                 uint64_t first_line, uint32_t count, int joint) {
  clear_lines(count);
  if (by_value(region.table_kind)) {
    return find_lines_by_value(load, region, weak, first_line, count, joint);
  }
  TakenLines taken = take_lines(joint);
  if (region.table_kind == TableKind::kMeasured) {
    for (uint32_t i = 0; i < count; ++i) {
      const WeakThresholds thresholds =
          line_thresholds(load.chip, region, load.table, first_line + i, false);
      taken.take(i, thresholds, thresholds);
    }
  } else if (weak.some[0]) {
    weak_line_.resize(count + simd::kMostLanes);
    weak_mark_.resize(count + simd::kMostLanes);
    const size_t size = kernels_->find_weak_lines(load.chip, 0, first_line, count, weak.most[0], 0,
                                                  weak_line_.data(), weak_mark_.data());
    const uint32_t *const line = weak_line_.data(), *const mark = weak_mark_.data();
    const Region own = region;  // which no store can change
    for (size_t i = 0; i < size; ++i) {
      const WeakThresholds thresholds = line_entry_of_mark(own, load.table, mark[i], false);
      taken.take(line[i], thresholds, thresholds);
    }
  }
  sort_lines(taken);
}

void PatchFlips::clear_lines(uint32_t count) {
  const size_t sparse = lines_before_.back();
  if (line_threshold_.size() == count && sparse * kLinesClearedPerLine < count) {
    for (size_t i = 0; i < sparse; ++i) {
      line_threshold_[line_order_[i]] = 0;
      line_key_[line_order_[i]] = 0;
    }
  } else {
    line_threshold_.assign(count, 0);
    line_key_.assign(count, 0);
  }
  // One more, since what a line does not have is written too, and then written over.
  const size_t room = count + 1;
  for (std::vector<uint32_t>* lines : {&line_order_, &taken_line_, &taken_level_}) {
    if (lines->size() < room) lines->resize(room);
  }
  if (dense_lines_.size() < room) dense_lines_.resize(room);
}

PatchFlips::TakenLines PatchFlips::take_lines(int joint) {
  return {joint,
          line_threshold_.data(),
          line_key_.data(),
          taken_line_.data(),
          taken_level_.data(),
          dense_lines_.data()};
}

// Lists the taken lines by their levels.
void PatchFlips::sort_lines(const TakenLines& taken) {
  dense_count_ = static_cast<size_t>(taken.dense - dense_lines_.data());
  const uint32_t *const line = taken_line_.data(), *const level = taken_level_.data();
  const auto size = static_cast<size_t>(taken.line - line);
  lines_before_.fill(0);
  for (size_t i = 0; i < size; ++i) ++lines_before_[level[i] + 1];
  std::partial_sum(lines_before_.begin(), lines_before_.end(), lines_before_.begin());
  auto next = lines_before_;
  uint32_t* const order = line_order_.data();
  for (size_t i = 0; i < size; ++i) order[next[level[i]]++] = line[i];
}

// The same where lines have thresholds for each stored value.
void PatchFlips::find_lines_by_value(const Load& load, const Region& region, const WeakLines& weak,
                                     uint64_t first_line, uint32_t count, int joint) {
  line_lower_.assign(count, 0);
  line_lower_key_.assign(count, 0);
  line_zero_.assign(count, 0);
  zero_lines_ = false;
  TakenLines taken = take_lines(joint);
  const auto take = [&](uint32_t line, uint32_t zero_mark, uint32_t one_mark) {
    const WeakThresholds zero = line_entry_of_mark(region, load.table, zero_mark, false);
    const WeakThresholds one = line_entry_of_mark(region, load.table, one_mark, true);
    taken.take(line, zero, one);
    line_lower_[line] = std::min(zero.sparse, one.sparse);
    line_lower_key_[line] = line_key(line_lower_[line]);
    line_zero_[line] = zero.sparse > one.sparse || zero.dense > one.dense;
    zero_lines_ |= line_zero_[line] != 0;
  };
  weak_line_.resize(count + simd::kMostLanes);
  weak_mark_.resize(count + simd::kMostLanes);
  const auto find = [&](uint32_t detail, uint32_t most, uint32_t last) {
    return kernels_->find_weak_lines(load.chip, detail, first_line, count, most, last,
                                     weak_line_.data(), weak_mark_.data());
  };
  const auto is_weak = [&](uint32_t zero_mark, uint32_t one_mark) {
    return zero_mark <= weak.most[0] || one_mark <= weak.most[1];
  };
  if (region.table_kind == TableKind::kApart) {
    // The last mark is that of a weak line only where all are, and then each is found.
    for (uint32_t value = 0; value < 2; ++value) {
      line_mark_[value].assign(count, ~uint32_t{0});
      if (!weak.some[value]) continue;
      const size_t size = find(value == 0 ? 0 : kLinesApart, weak.most[value], 0);
      for (size_t i = 0; i < size; ++i) line_mark_[value][weak_line_[i]] = weak_mark_[i];
    }
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t zero = line_mark_[0][i], one = line_mark_[1][i];
      if (is_weak(zero, one)) take(i, zero, one);
    }
    return sort_lines(taken);
  }
  const bool opposite = region.table_kind == TableKind::kOpposite;
  if (!weak.some[0] && !weak.some[1]) return sort_lines(taken);
  // Of opposite marks those of ones are weak from the upper end on.
  const uint64_t most = opposite ? weak.most[0] : std::max(weak.most[0], weak.most[1]);
  const uint64_t last = opposite ? uint64_t{weak.most[1]} + 1 : 0;
  const bool all = most + last > ~uint32_t{0};
  const size_t size = all ? find(0, ~uint32_t{0}, 0)
                          : find(0, static_cast<uint32_t>(most), static_cast<uint32_t>(last));
  for (size_t i = 0; i < size; ++i) {
    const uint32_t mark = weak_mark_[i], other = opposite ? ~mark : mark;
    if (is_weak(mark, other)) take(weak_line_[i], mark, other);
  }
  sort_lines(taken);
}

// Of the found cells that fail for one value alone, those whose line has it fail for zeros.
void PatchFlips::part_by_line(const simd::PatchLines& lines) {
  simd::reserve(weaker_, found_.size);
  uint32_t* const cells = found_.cell;
  const size_t size = found_.size;
  const uint8_t* const zero = line_zero_.data();
  uint32_t *strong = cells, *weaker = weaker_.cell;
  // Without a branch: which it is is as random as the lines' marks.
  const auto part = [&](uint32_t cell, uint32_t line) {
    *weaker = *strong = cell;
    const uint32_t is_weaker = cell & zero[line];
    weaker += is_weaker;
    strong += 1 - is_weaker;
  };
  if (lines.across) {
    const uint32_t columns = (1u << lines.row_shift) - 1;
    for (size_t i = 0; i < size; ++i) part(cells[i], (cells[i] >> 1) & columns);
  } else {
    // A division by multiplication with the rounded-up inverse, as of simd's LineOfOffset.
    const uint32_t groups = lines.length >> kGroupBits;
    const int shift = 30 + std::bit_width(groups);
    const uint64_t inverse = ((uint64_t{1} << shift) + groups - 1) / groups;
    for (size_t i = 0; i < size; ++i) {
      const uint64_t group = ((cells[i] >> 1) + lines.lead) >> kGroupBits;
      part(cells[i], static_cast<uint32_t>((group * inverse) >> shift));
    }
  }
  found_.size = static_cast<size_t>(strong - cells);
  weaker_.size = static_cast<size_t>(weaker - weaker_.cell);
}

// The marks of wordlines in levels before `joint`.
void PatchFlips::find_line_by_line(const Load& load, const simd::PatchLines& lines, int joint) {
  sparse_queries_.clear();
  const uint64_t origin = patch_.origin, end = origin + patch_.columns;
  for (uint32_t line = 0; line < lines.count; ++line) {
    const uint64_t threshold = line_threshold_[line];
    if (threshold == 0) continue;
    const uint64_t cell = lines.first_cell + uint64_t{line} * lines.length;
    const uint64_t from = std::max(cell, origin), to = std::min(cell + lines.length, end);
    for (int level = first_level(threshold); level < joint; ++level) {
      const int bits = block_bits(level);
      const uint64_t first = from >> bits, last = (to - 1) >> bits;
      sparse_queries_.push_back({first, origin, static_cast<uint32_t>(last - first + 1),
                                 static_cast<uint32_t>(from - origin),
                                 static_cast<uint32_t>(to - origin), level,
                                 symmetric_ ? threshold : line_lower_[line], threshold});
    }
  }
  kernels_->find_sparse(load.chip, sparse_queries_.data(), sparse_queries_.size(), found_);
}

// The blocks, from level `joint` on, that hold marks below the thresholds of the patch's lines. A
// line that has marks in one level has them in all that follow.
void PatchFlips::list_blocks(const simd::PatchLines& lines, int joint) {
  // The wanted cells of all lines, in line space; of a line that crosses the rows, its wanted ones.
  const uint64_t begin = lines.first_cell + (lines.across ? 0 : lines.lead);
  const uint64_t end =
      begin + (lines.across ? uint64_t{lines.count} * lines.length : uint64_t{patch_.columns});
  const uint64_t from = lines.across ? lines.lead : 0;
  const uint64_t to = lines.across ? lines.lead + patch_.rows : lines.length;
  while (joint <= kLastLevel && lines_before_[static_cast<size_t>(joint) + 1] == 0) ++joint;
  blocks_.clear();
  if (joint > kLastLevel) return;
  // Bit b is block `first` + b of the level; words are those of all levels.
  int bits = block_bits(joint);
  uint64_t first = begin >> bits;
  size_t count = ((end - 1) >> bits) - first + 1;
  const auto words_of = [](size_t blocks) { return blocks / 64 + 2; };
  reached_.assign(2 * words_of(count) + 3 * static_cast<size_t>(kLastLevel), 0);
  uint64_t* reached = reached_.data();
  for (int level = joint; level <= kLastLevel; ++level) {
    if (level != joint) {
      const uint64_t* const before = reached;
      reached += words_of(count);
      if (bits == block_bits(level)) {
        std::copy_n(before, words_of(count), reached);
      } else {
        const size_t odd = first % 2;
        join_pairs(before, (count + odd + 63) / 64, odd != 0, reached);
        count = (count + odd + 1) / 2;
        first /= 2;
        ++bits;
      }
    }
    const uint32_t *line = level_begin(level), *const lines_end = level_begin(level + 1);
    if (line != lines_end && !all_set(reached, count)) {
      for (; line != lines_end; ++line) {
        const uint64_t cell = lines.first_cell + uint64_t{*line} * lines.length;
        const uint64_t wanted = std::max(cell + from, begin), last = std::min(cell + to, end) - 1;
        for (uint64_t block = wanted >> bits; block <= last >> bits; ++block) {
          const uint64_t bit = block - first;
          reached[bit / 64] |= uint64_t{1} << (bit % 64);
        }
      }
    }
    blocks_.push_back({first, reached, words_of(count), level});
  }
}

void PatchFlips::find_wordlines_dense(const Load& load, const Region& region,
                                      const simd::PatchLines& lines) {
  if (dense_count_ == 0) return;
  const uint64_t begin = patch_.origin, end = begin + patch_.columns;
  const uint64_t first_group = begin >> kGroupBits;
  const size_t groups = ((end - 1) >> kGroupBits) - first_group + 1;
  const bool two = !symmetric_;
  dense_queries_.clear();
  for (const simd::DenseLine& dense : std::span(dense_lines_).first(dense_count_)) {
    const uint64_t cell = lines.first_cell + uint64_t{dense.line} * lines.length;
    const uint64_t first = std::max(cell, begin) >> kGroupBits;
    const uint64_t last = (std::min(cell + lines.length, end) - 1) >> kGroupBits;
    const uint64_t zero = dense.probability[0], one = dense.probability[1];
    dense_queries_.push_back({first, static_cast<uint32_t>(last - first + 1),
                              static_cast<uint32_t>(first - first_group), std::min(zero, one),
                              std::max(zero, one)});
  }
  dense_always_.assign(groups + kSpareWords, 0);
  if (two) dense_strong_.assign(groups + kSpareWords, 0);
  kernels_->find_dense(load.chip, load.access, region.failure, dense_queries_.data(),
                       dense_queries_.size(), dense_always_.data(),
                       two ? dense_strong_.data() : nullptr);
  // Words that always flip are those of cells that store 0, unless these fail more often. All are
  // put right before any is joined, since a word of a mask can hold groups of two lines.
  for (size_t i = 0; two && i < dense_queries_.size(); ++i) {
    if (line_zero_[dense_lines_[i].line] == 0) continue;
    const auto place = static_cast<std::ptrdiff_t>(dense_queries_[i].place);
    std::swap_ranges(dense_always_.begin() + place,
                     dense_always_.begin() + place + dense_queries_[i].groups,
                     dense_strong_.begin() + place);
  }
  for (const simd::DenseQuery& query : dense_queries_) {
    add_dense_words(dense_always_, query.place, query.place + query.groups, always_);
    if (two) add_dense_words(dense_strong_, query.place, query.place + query.groups, strong_);
  }
}

}  // namespace eden
