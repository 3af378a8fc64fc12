#include "memory/corrupt/flips.h"

#include <algorithm>
#include <bit>

#include "memory/weak_cells.h"

namespace eden {
namespace {

// Clearing the words of found cells one by one costs as much as clearing so many in a row.
constexpr size_t kWordsClearedPerCell = 8;

// Up to so many lines to one with a dense part, masks of whole rows cost less than lists of cells.
constexpr size_t kLinesPerDenseLineInMasks = 64;

// From so many columns on, those of rows a power of two apart would share a few sets of a cache.
constexpr int kLongRowLog2 = 13;
constexpr uint32_t kLongRowGap = 512;

// Makes one bit of every two, of which the first is the very first bit or, if that is `odd`, none
// and that one.
void join_pairs(uint64_t* words, size_t size, bool odd) {
  uint64_t before = 0;
  for (size_t w = 0; w < size; ++w) {
    const uint64_t word = words[w];
    uint64_t bits = odd ? (word << 1) | (before >> 63) : word;
    before = word;
    bits = (bits | (bits >> 1)) & 0x5555555555555555u;
    bits = (bits | (bits >> 1)) & 0x3333333333333333u;
    bits = (bits | (bits >> 2)) & 0x0f0f0f0f0f0f0f0fu;
    bits = (bits | (bits >> 4)) & 0x00ff00ff00ff00ffu;
    bits = (bits | (bits >> 8)) & 0x0000ffff0000ffffu;
    bits = (bits | (bits >> 16)) & 0x00000000ffffffffu;
    words[w] = 0;
    words[w / 2] |= bits << (w % 2 * 32);
  }
}

uint64_t two_groups(const uint32_t* words) {
  return words[0] | (static_cast<uint64_t>(words[1]) << 32);
}

// What the loops need is in their arguments, because a store to a mask could, for all that a
// compiler knows, change a member.
template <class BitOf>
void join_bits(const simd::FoundCells& found, bool symmetric, uint64_t* always, uint64_t* strong,
               BitOf&& bit_of) {
  const uint32_t* const cells = found.cell;
  const size_t size = found.size;
  if (symmetric) {
    for (size_t i = 0; i < size; ++i) {
      const uint32_t bit = bit_of(cells[i] >> 1);
      always[bit / 64] |= uint64_t{1} << (bit % 64);
    }
    return;
  }
  for (size_t i = 0; i < size; ++i) {
    const uint32_t bit = bit_of(cells[i] >> 1);
    strong[bit / 64] |= uint64_t{1} << (bit % 64);
    // Cells come level by level, and most levels have but one kind.
    if ((cells[i] & 1) == 0) always[bit / 64] |= uint64_t{1} << (bit % 64);
  }
}

}  // namespace

void join_cells(const simd::FoundCells& found, bool symmetric, uint64_t* always, uint64_t* strong,
                const MaskRows& rows) {
  if (rows.gap == 0) {
    join_bits(found, symmetric, always, strong, [](uint32_t place) { return place; });
  } else {
    join_bits(found, symmetric, always, strong, [rows](uint32_t place) { return rows.bit(place); });
  }
}

void clear_cells(const simd::FoundCells& found, size_t words, uint64_t* always, uint64_t* strong,
                 const MaskRows& rows) {
  if (found.size == 0) return;
  if (found.size * kWordsClearedPerCell >= words) {
    std::fill_n(always, words, 0);
    std::fill_n(strong, words, 0);
    return;
  }
  for (size_t i = 0; i < found.size; ++i) {
    const uint32_t word = rows.bit(found.cell[i] >> 1) / 64;
    always[word] = strong[word] = 0;
  }
}

void cell_queries(uint64_t origin, uint32_t cells, uint64_t always, uint64_t strong,
                  std::vector<simd::SparseQuery>& queries) {
  queries.clear();
  for (int level = first_level(strong); level <= kLastLevel; ++level) {
    const uint64_t first = origin >> block_bits(level);
    const uint64_t last = (origin + cells - 1) >> block_bits(level);
    queries.push_back(
        {first, origin, static_cast<uint32_t>(last - first + 1), 0, cells, level, always, strong});
  }
}

WeakLines weak_lines(const Region& region, const int64_t* table) {
  WeakLines weak;
  if (region.table_kind == TableKind::kMeasured) {
    weak.some[0] = true, weak.most[0] = ~uint32_t{0};
    return weak;
  }
  for (int value = 0; value < (by_value(region.table_kind) ? 2 : 1); ++value) {
    for (int bin = kLineBins; !weak.some[value] && bin-- > 0;) {
      const auto most = static_cast<uint32_t>(line_bin_begin(bin + 1) - 1);
      const WeakThresholds thresholds = line_entry_of_mark(region, table, most, value != 0);
      if (thresholds.sparse == 0 && thresholds.dense == 0) continue;
      weak.some[value] = true, weak.most[value] = most;
    }
  }
  return weak;
}

void PatchFlips::gather(const simd::Kernels& kernels, const Load& load, const Region& region,
                        const WeakLines& weak, const PatchGrid& grid, const Patch& patch,
                        bool list_bitlines) {
  clear_masks();
  kernels_ = &kernels;
  listed_.clear();
  masked_ = alone_ = dense_ = false;
  found_.size = weaker_.size = 0;
  patch_ = patch;
  // Rows of a power of two, so that a place is turned into row and column by shifts.
  rows_ = {patch.origin, patch.stride,
           patch.stride == 0 ? simd::kOneRow : static_cast<int>(std::bit_width(patch.columns - 1))};
  const bool long_rows = patch.stride != 0 && rows_.row_shift >= kLongRowLog2;
  mask_rows_ = {rows_.row_shift, long_rows ? kLongRowGap : 0};
  row_words_ = patch.stride == 0 ? (static_cast<size_t>(patch.columns) + 63) / 64
                                 : ((size_t{1} << rows_.row_shift) + mask_rows_.gap) / 64;
  const size_t words = row_words_ * patch.rows + kSpareWords;
  if (always_.size() < words) always_.resize(words);
  if (strong_.size() < words) strong_.resize(words);
  symmetric_ = true;
  strong_one_ = true;
  switch (region.model) {
    case ModelKind::kCell:
      find_cells(load, region);
      break;
    case ModelKind::kBitline:
    case ModelKind::kWordline:
      find_lines(load, region, weak, grid, list_bitlines);
      break;
    case ModelKind::kMap:
      find_map(load, region);
      break;
  }
}

void PatchFlips::find(const simd::Kernels& kernels, const Load& load, const Region& region,
                      const WeakLines& weak, const PatchGrid& grid, const Patch& patch, int width,
                      bool listable, size_t cells_per_bit) {
  gather(kernels, load, region, weak, grid, patch);
  const size_t found = found_.size + weaker_.size;
  if (found == 0 && !masked_) return;
  const size_t cells = static_cast<size_t>(patch.rows) * patch.columns;
  alone_ = !masked_ && weaker_.size == 0 && cells_per_bit != 0 && found * cells_per_bit < cells;
  if (alone_) return;
  const bool few = listable && !masked_ && found * kCellsPerFlipInList < cells;
  join_masks();
  if (few) {
    into_list(width);
  } else {
    masked_ = true;
  }
}

void PatchFlips::turn(const char* in, char* out, uint64_t origin) const {
  // From row to row places go on by less than cells do.
  const uint64_t skipped = patch_.stride - (uint64_t{1} << rows_.row_shift);
  const auto turn_each = [&]<bool kSymmetric, bool kOneRow>() {
    const uint32_t* const cells = found_.cell;
    const size_t size = found_.size;
    const int shift = rows_.row_shift;
    const unsigned strong = strong_one_;
    for (size_t i = 0; i < size; ++i) {
      const uint32_t place = cells[i] >> 1;
      uint64_t bit = origin + place;
      if (!kOneRow) bit += (place >> shift) * skipped;
      const unsigned read = static_cast<unsigned char>(in[bit / 8]);
      const unsigned other = static_cast<unsigned char>(out[bit / 8]);
      unsigned turned = 1;
      // Without a branch: which cells have one kind of flip is as random as what they store.
      if (!kSymmetric) turned = (~cells[i] | ~((read >> (bit % 8)) ^ strong)) & 1;
      // By what was read, because a cell can be found more than once.
      out[bit / 8] = static_cast<char>(other ^ ((other ^ ~read) & (turned << (bit % 8))));
    }
  };
  if (patch_.stride == 0) {
    symmetric_ ? turn_each.operator()<true, true>() : turn_each.operator()<false, true>();
  } else {
    symmetric_ ? turn_each.operator()<true, false>() : turn_each.operator()<false, false>();
  }
}

void PatchFlips::find_cells(const Load& load, const Region& region) {
  strong_one_ = region.sparse[1] > region.sparse[0] ||
                (region.sparse[1] == region.sparse[0] && region.dense[1] >= region.dense[0]);
  const int strong = strong_one_ ? 1 : 0;
  const uint64_t high = region.sparse[strong], low = region.sparse[1 - strong];
  symmetric_ = high == low && region.dense[0] == region.dense[1];
  const uint64_t begin = patch_.origin, end = begin + patch_.columns;
  cell_queries(begin, patch_.columns, low, high, sparse_queries_);
  kernels_->find_sparse(load.chip, sparse_queries_.data(), sparse_queries_.size(), found_);
  if (region.failure != kAlways) {
    kernels_->keep_failing(load.chip, rows_, load.access, region.failure, found_);
  }
  if (region.dense[strong] == 0) return;
  const uint64_t first_group = begin >> kGroupBits;
  const auto groups = static_cast<uint32_t>(((end - 1) >> kGroupBits) - first_group + 1);
  for (std::vector<uint32_t>* words : {&dense_always_, &dense_strong_}) {
    words->resize(groups + kSpareWords);
    std::fill_n(words->begin() + groups, kSpareWords, 0);
  }
  const uint64_t lower = region.dense[1 - strong];
  const simd::DenseQuery query{first_group, groups, 0, lower, region.dense[strong]};
  if (lower == 0 || symmetric_) {
    // One comparison for all.
    const simd::DenseQuery one{first_group, groups, 0, query.strong, query.strong};
    kernels_->find_dense(load.chip, load.access, region.failure, &one, 1,
                         (symmetric_ ? dense_always_ : dense_strong_).data(), nullptr);
  } else {
    kernels_->find_dense(load.chip, load.access, region.failure, &query, 1, dense_always_.data(),
                         dense_strong_.data());
  }
  if (symmetric_ || lower != 0) add_dense_words(dense_always_, 0, groups, always_);
  if (!symmetric_) add_dense_words(dense_strong_, 0, groups, strong_);
}

// Joins the words of groups [from, to) of all groups of a patch of one run, which begins within the
// first one, with a mask.
void PatchFlips::add_dense_words(std::vector<uint32_t>& words, size_t from, size_t to,
                                 std::vector<uint64_t>& mask) {
  const uint64_t lead = patch_.origin % kGroupCells;
  // Cells beyond the patch are other elements'.
  const uint64_t covered = lead + patch_.columns;
  if (covered < to * kGroupCells) words[to - 1] &= ~uint32_t{0} >> (to * kGroupCells - covered);
  const uint32_t* const groups = words.data();
  uint64_t* const into = mask.data();
  // Word w of the mask is two groups and, where the run begins within one, the begin of the next.
  const size_t first = from == 0 ? 0 : (from - 1) / 2, last = (to + 1) / 2;
  if (lead == 0) {
    for (size_t w = first; w < last; ++w) into[w] |= two_groups(groups + 2 * w);
  } else {
    for (size_t w = first; w < last; ++w) {
      into[w] |= (two_groups(groups + 2 * w) >> lead) |
                 (static_cast<uint64_t>(groups[2 * w + 2]) << (64 - lead));
    }
  }
  masked_ = dense_ = true;
  dirty_words_ = row_words_;
}

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
  if (across && !dense_lines_.empty()) {
    const bool into_masks = !list_bitlines && region.failure == kAlways &&
                            dense_lines_.size() * kLinesPerDenseLineInMasks >= lines.count;
    uint64_t* const masks[2] = {into_masks ? always_.data() : nullptr,
                                into_masks ? strong_.data() : nullptr};
    kernels_->find_dense_in_lines(load.chip, lines, dense_lines_.data(), dense_lines_.size(), masks,
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

// The thresholds of the patch's lines that have weak cells.
void PatchFlips::find_weak_lines(const Load& load, const Region& region, const WeakLines& weak,
                                 uint64_t first_line, uint32_t count, int joint) {
  line_threshold_.assign(count, 0);
  line_key_.assign(count, 0);
  for (std::vector<uint32_t>& lines : lines_of_level_) lines.clear();
  dense_lines_.clear();
  if (by_value(region.table_kind)) {
    return find_lines_by_value(load, region, weak, first_line, count, joint);
  }
  if (!weak.some[0]) return;
  const auto take = [&](uint32_t line, const WeakThresholds& thresholds) {
    take_line(line, thresholds, thresholds, joint);
  };
  if (region.table_kind == TableKind::kMeasured) {
    for (uint32_t i = 0; i < count; ++i) {
      take(i, line_thresholds(load.chip, region, load.table, first_line + i, false));
    }
    return;
  }
  weak_line_.resize(count + simd::kMostLanes);
  weak_mark_.resize(count + simd::kMostLanes);
  const size_t size = kernels_->find_weak_lines(load.chip, 0, first_line, count, weak.most[0], 0,
                                                weak_line_.data(), weak_mark_.data());
  for (size_t i = 0; i < size; ++i) {
    take(weak_line_[i], line_entry_of_mark(region, load.table, weak_mark_[i], false));
  }
}

void PatchFlips::take_line(uint32_t line, const WeakThresholds& zero, const WeakThresholds& one,
                           int joint) {
  const uint64_t sparse = std::max(zero.sparse, one.sparse);
  if (sparse != 0) {
    line_threshold_[line] = sparse;
    line_key_[line] = line_key(sparse);
    const int level = std::max(first_level(sparse), joint);
    if (level <= kLastLevel) lines_of_level_[static_cast<size_t>(level)].push_back(line);
  }
  if (zero.dense != 0 || one.dense != 0) dense_lines_.push_back({line, {zero.dense, one.dense}});
}

// The same where lines have thresholds for each stored value.
void PatchFlips::find_lines_by_value(const Load& load, const Region& region, const WeakLines& weak,
                                     uint64_t first_line, uint32_t count, int joint) {
  line_lower_.assign(count, 0);
  line_lower_key_.assign(count, 0);
  line_zero_.assign(count, 0);
  zero_lines_ = false;
  const auto take = [&](uint32_t line, uint32_t zero_mark, uint32_t one_mark) {
    const WeakThresholds zero = line_entry_of_mark(region, load.table, zero_mark, false);
    const WeakThresholds one = line_entry_of_mark(region, load.table, one_mark, true);
    take_line(line, zero, one, joint);
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
    return;
  }
  const bool opposite = region.table_kind == TableKind::kOpposite;
  if (!weak.some[0] && !weak.some[1]) return;
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
  while (joint <= kLastLevel && lines_of_level_[static_cast<size_t>(joint)].empty()) ++joint;
  // Bit b is block first_block + b of the level.
  int bits = block_bits(joint);
  uint64_t first_block = begin >> bits;
  size_t count = ((end - 1) >> bits) - first_block + 1;
  reached_.assign(count / 64 + 2, 0);
  blocks_.clear();
  bool all = false;  // whether the level before had all of its blocks
  for (int level = joint; level <= kLastLevel; ++level) {
    for (; bits < block_bits(level); ++bits) {
      const size_t odd = first_block % 2;
      join_pairs(reached_.data(), (count + odd + 63) / 64, odd != 0);
      count = (count + odd + 1) / 2;
      first_block /= 2;
    }
    for (const uint32_t line : lines_of_level_[static_cast<size_t>(level)]) {
      if (all) break;
      const uint64_t cell = lines.first_cell + uint64_t{line} * lines.length;
      const uint64_t wanted = std::max(cell + from, begin), last = std::min(cell + to, end) - 1;
      for (uint64_t block = wanted >> bits; block <= last >> bits; ++block) {
        const uint64_t bit = block - first_block;
        reached_[bit / 64] |= uint64_t{1} << (bit % 64);
      }
    }
    const size_t before = blocks_.size();
    for (size_t w = 0; w * 64 < count; ++w) {
      for (uint64_t word = reached_[w]; word != 0; word &= word - 1) {
        const auto bit = static_cast<uint64_t>(std::countr_zero(word));
        blocks_.push_back({first_block + w * 64 + bit, level});
      }
    }
    all = blocks_.size() - before == count;
  }
}

void PatchFlips::find_wordlines_dense(const Load& load, const Region& region,
                                      const simd::PatchLines& lines) {
  if (dense_lines_.empty()) return;
  const uint64_t begin = patch_.origin, end = begin + patch_.columns;
  const uint64_t first_group = begin >> kGroupBits;
  const size_t groups = ((end - 1) >> kGroupBits) - first_group + 1;
  const bool two = !symmetric_;
  dense_queries_.clear();
  for (const simd::DenseLine& dense : dense_lines_) {
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

void PatchFlips::find_map(const Load& load, const Region& region) {
  const int64_t* begin = load.table + region.table_first;
  const int64_t* end = begin + region.table_length;
  const auto key = [](uint64_t address) { return static_cast<int64_t>(address << kMapFlagBits); };
  const int64_t* first = std::lower_bound(begin, end, key(patch_.origin));
  const int64_t* last = std::lower_bound(first, end, key(patch_.origin + patch_.columns));
  symmetric_ = false;
  simd::reserve(found_, static_cast<size_t>(last - first));
  simd::reserve(weaker_, static_cast<size_t>(last - first));
  for (const int64_t* entry = first; entry != last; ++entry) {
    const uint64_t away = (static_cast<uint64_t>(*entry) >> kMapFlagBits) - patch_.origin;
    // Entries that are not in order must not lead out of the masks.
    if (away >= patch_.columns) continue;
    const auto offset = static_cast<uint32_t>(away);
    if (*entry & kMapFlipsOne) found_.cell[found_.size++] = (offset << 1) | 1;
    if (*entry & kMapFlipsZero) weaker_.cell[weaker_.size++] = (offset << 1) | 1;
  }
  if (region.failure == kAlways) return;
  kernels_->keep_failing(load.chip, rows_, load.access, region.failure, found_);
  kernels_->keep_failing(load.chip, rows_, load.access, region.failure, weaker_);
}

void PatchFlips::join_masks() {
  into_masks(found_, strong_);
  // Both lists count as strong, each for its own value.
  if (weaker_.size != 0) into_masks(weaker_, always_);
}

void PatchFlips::into_masks(const simd::FoundCells& found, std::vector<uint64_t>& strong) {
  if (found.size == 0) return;
  dirty_words_ = row_words_ * patch_.rows;
  join_cells(found, symmetric_, always_.data(), strong.data(), mask_rows_);
}

// Takes every element that the masks hit out of them.
void PatchFlips::into_list(int width) {
  const auto w = static_cast<unsigned>(width);
  const uint64_t field = (uint64_t{1} << w) - 1;
  std::vector<uint64_t>& zeros = strong_one_ ? always_ : strong_;
  std::vector<uint64_t>& ones = symmetric_ ? always_ : strong_one_ ? strong_ : always_;
  for (const simd::FoundCells* found : {static_cast<const simd::FoundCells*>(&found_),
                                        static_cast<const simd::FoundCells*>(&weaker_)}) {
    for (size_t i = 0; i < found->size; ++i) {
      const uint32_t place = (found->cell[i] >> 1) / w * w;
      const uint32_t bit = mask_rows_.bit(place), word = bit / 64, shift = bit % 64;
      const uint64_t zero = (zeros[word] >> shift) & field;
      const uint64_t one = (ones[word] >> shift) & field;
      if ((zero | one) == 0) continue;  // an element taken before
      const uint64_t row = place >> rows_.row_shift;
      const uint64_t column = place - (row << rows_.row_shift);
      listed_.push_back({patch_.origin + row * patch_.stride + column, static_cast<uint32_t>(zero),
                         static_cast<uint32_t>(one)});
      zeros[word] &= ~(field << shift);
      ones[word] &= ~(field << shift);
    }
  }
  dirty_words_ = 0;
}

void PatchFlips::clear_masks() {
  if (dense_) {
    std::fill_n(always_.begin(), dirty_words_, 0);
    std::fill_n(strong_.begin(), dirty_words_, 0);
  } else if (dirty_words_ != 0) {
    clear_cells(found_, dirty_words_, always_.data(), strong_.data(), mask_rows_);
    clear_cells(weaker_, dirty_words_, always_.data(), strong_.data(), mask_rows_);
  }
  dirty_words_ = 0;
}

}  // namespace eden
