#include "memory/corrupt/flips.h"

#include <algorithm>
#include <bit>

#include "memory/weak_cells.h"

namespace eden {
namespace {

// Clearing the words of found cells one by one costs as much as clearing so many in a row.
constexpr size_t kWordsClearedPerCell = 8;

// From so many columns on, those of rows a power of two apart would share a few sets of a cache.
constexpr int kLongRowLog2 = 13;
constexpr uint32_t kLongRowGap = 512;

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
