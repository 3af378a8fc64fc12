#include "core/flips.h"

#include <algorithm>
#include <bit>

#include "core/weak_cells.h"

namespace eden {
namespace {

// From this many cells on, a mask for every element costs less than a list of the elements hit.
constexpr size_t kCellsPerFlipInList = 3000;

// Clearing the words of found cells one by one costs as much as clearing so many in a row.
constexpr size_t kWordsClearedPerCell = 8;

// A run's mask is read in whole words, and beyond its end by what loads more than it needs.
constexpr size_t kSpareWords = 8;

// Sets the bits of found cells; what the loops need is in their arguments, because a store to a
// mask could, for all that a compiler knows, change a member.
template <class BitOf>
void join_cells(const simd::FoundCells& found, bool symmetric, uint64_t* always, uint64_t* strong,
                BitOf bit_of) {
  const uint32_t* const cells = found.cell;
  const size_t size = found.size;
  if (symmetric) {
    for (size_t i = 0; i < size; ++i) {
      const uint64_t bit = bit_of(cells[i] >> 1);
      always[bit / 64] |= uint64_t{1} << (bit % 64);
    }
    return;
  }
  for (size_t i = 0; i < size; ++i) {
    const uint64_t bit = bit_of(cells[i] >> 1);
    strong[bit / 64] |= uint64_t{1} << (bit % 64);
    always[bit / 64] |= static_cast<uint64_t>(~cells[i] & 1) << (bit % 64);
  }
}

}  // namespace

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

void PatchFlips::find(const simd::Kernels& kernels, const Load& load, const Region& region,
                      const PatchGrid& grid, const Patch& patch, int width, bool listable) {
  clear_masks();
  kernels_ = &kernels;
  fixups_.clear();
  masked_ = dense_ = false;
  found_.size = weaker_.size = 0;
  grid_ = grid;
  patch_ = patch;
  row_words_ = (static_cast<size_t>(patch.columns) + 63) / 64;
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
      find_lines(load, region);
      break;
    case ModelKind::kMap:
      find_map(load, region);
      break;
  }
  if (found_.size + weaker_.size == 0 && !masked_) return;
  const size_t cells = static_cast<size_t>(patch.rows) * patch.columns;
  const bool few =
      listable && !masked_ && (found_.size + weaker_.size) * kCellsPerFlipInList < cells;
  into_masks(found_, strong_);
  if (weaker_.size != 0) {
    // Both lists count as strong, each for its own value.
    into_masks(weaker_, always_);
  }
  if (few) {
    into_fixups(width);
  } else {
    masked_ = true;
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
    kernels_->keep_failing(load.chip, begin, load.access, region.failure, found_);
  }
  if (region.dense[strong] == 0) return;
  const uint64_t first_group = begin >> kGroupBits;
  const auto groups = static_cast<uint32_t>(((end - 1) >> kGroupBits) - first_group + 1);
  dense_always_.resize(groups);
  dense_strong_.resize(groups);
  const simd::DenseQuery query{first_group, groups, 0, region.dense[1 - strong],
                               region.dense[strong]};
  const bool equal = region.dense[0] == region.dense[1];
  kernels_->find_dense(load.chip, load.access, region.failure, &query, 1, dense_always_.data(),
                       equal ? nullptr : dense_strong_.data());
  if (!symmetric_ && equal) {
    std::copy_n(dense_always_.begin(), groups, dense_strong_.begin());
  }
  add_dense_words(first_group, groups);
}

// Joins the words of whole groups with the masks of a patch of one run, whose first bit is the
// patch's first cell.
void PatchFlips::add_dense_words(uint64_t first_group, size_t groups) {
  const uint64_t lead = patch_.origin - (first_group << kGroupBits);  // below 32
  const auto join = [&](std::vector<uint32_t>& words, std::vector<uint64_t>& mask) {
    // Cells beyond the patch are other elements'.
    const uint64_t covered = (static_cast<uint64_t>(groups) << kGroupBits) - lead;
    if (covered > patch_.columns) {
      const uint64_t beyond = covered - patch_.columns;  // below 32
      words[groups - 1] &= ~uint32_t{0} >> beyond;
    }
    for (size_t w = 0; w * 64 < patch_.columns; ++w) {
      const auto at = [&](size_t i) {
        return i < groups ? static_cast<uint64_t>(words[i]) : uint64_t{0};
      };
      const uint64_t low = at(2 * w) | (at(2 * w + 1) << 32);
      mask[w] |= lead == 0 ? low : (low >> lead) | (at(2 * w + 2) << (64 - lead));
    }
  };
  join(dense_always_, always_);
  if (!symmetric_) join(dense_strong_, strong_);
  masked_ = dense_ = true;
  dirty_words_ = row_words_;
}

void PatchFlips::find_lines(const Load& load, const Region& region) {
  const bool bitline = region.model == ModelKind::kBitline;
  const uint64_t length = bitline ? region.subarray_rows : region.row_bits;
  uint64_t first_line, count;
  if (bitline) {
    const uint64_t row = patch_.origin / region.row_bits;
    first_line = row / region.subarray_rows * region.row_bits + patch_.origin % region.row_bits;
    count = patch_.columns;
  } else {
    first_line = patch_.origin / length;
    count = (patch_.origin + patch_.columns - 1) / length - first_line + 1;
  }
  lines_.resize(count);
  PhiloxWords words{};
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t line = first_line + i;
    if (region.table_kind == TableKind::kMeasured) {
      lines_[i] = line_thresholds(load.chip, region, load.table, line);
      continue;
    }
    if (i == 0 || line % kLinesInDraw == 0) words = draw_lines(load.chip, line);
    lines_[i] =
        line_entry(region, load.table, static_cast<uint64_t>(line_bin(line_mark(words, line))));
  }
  find_line_marks(load, length, first_line);
  if (bitline) {
    find_line_dense(load, length, first_line);
    bitline_cells_to_addresses(region);
  }
  if (region.failure != kAlways) {
    kernels_->keep_failing(load.chip, patch_.origin, load.access, region.failure, found_);
  }
  if (bitline) return;
  // A wordline's dense part is found where its cells are.
  dense_queries_.clear();
  const uint64_t begin = patch_.origin, end = begin + patch_.columns;
  const uint64_t first_group = begin >> kGroupBits;
  const size_t groups = ((end - 1) >> kGroupBits) - first_group + 1;
  for (uint64_t i = 0; i < count; ++i) {
    if (lines_[i].dense == 0) continue;
    const uint64_t line_begin = std::max((first_line + i) * length, begin);
    const uint64_t line_end = std::min((first_line + i + 1) * length, end);
    const uint64_t first = line_begin >> kGroupBits;
    const auto wanted = static_cast<uint32_t>(((line_end - 1) >> kGroupBits) - first + 1);
    dense_queries_.push_back({first, wanted, static_cast<uint32_t>(first - first_group),
                              lines_[i].dense, lines_[i].dense});
  }
  if (dense_queries_.empty()) return;
  dense_always_.assign(groups, 0);
  kernels_->find_dense(load.chip, load.access, region.failure, dense_queries_.data(),
                       dense_queries_.size(), dense_always_.data(), nullptr);
  add_dense_words(first_group, groups);
}

// The sparse marks of the patch's lines, as offsets in line space from the first line's first cell
// (of a wordline patch: from the patch's origin).
void PatchFlips::find_line_marks(const Load& load, uint64_t length, uint64_t first_line) {
  const size_t count = lines_.size();
  const bool bitline = grid_.row_bits != 0;
  const uint64_t space = first_line * length;
  const uint64_t origin = bitline ? space : patch_.origin;
  const uint64_t end = bitline ? space + count * length : origin + patch_.columns;
  shallowest_.resize(count);
  int top = kLastLevel + 1;
  for (size_t i = 0; i < count; ++i) {
    shallowest_[i] = static_cast<uint8_t>(first_level(lines_[i].sparse));
    top = std::min<int>(top, shallowest_[i]);
  }
  // Blocks that are no longer than a line serve that line alone.
  sparse_queries_.clear();
  int level = top;
  for (; level <= kLastLevel && (uint64_t{1} << block_bits(level)) <= length; ++level) {
    const int bits = block_bits(level);
    for (size_t i = 0; i < count; ++i) {
      if (shallowest_[i] > level) continue;
      const uint64_t from = std::max(space + i * length, origin);
      const uint64_t to = std::min(space + (i + 1) * length, end);
      const uint64_t first = from >> bits, last = (to - 1) >> bits;
      sparse_queries_.push_back({first, origin, static_cast<uint32_t>(last - first + 1),
                                 static_cast<uint32_t>(from - origin),
                                 static_cast<uint32_t>(to - origin), level, lines_[i].sparse,
                                 lines_[i].sparse});
    }
  }
  kernels_->find_sparse(load.chip, sparse_queries_.data(), sparse_queries_.size(), found_);
  // Longer ones hold marks of several lines, each judged by its own line's threshold.
  sparse_queries_.clear();
  if (level <= kLastLevel) {
    const int bits = block_bits(level);
    std::vector<uint8_t> blocks(((end - 1) >> bits) - (origin >> bits) + 1,
                                static_cast<uint8_t>(kLastLevel + 1));
    const uint64_t first_block = origin >> bits;
    for (size_t i = 0; i < count; ++i) {
      const uint64_t from = std::max(space + i * length, origin);
      const uint64_t to = std::min(space + (i + 1) * length, end);
      for (uint64_t b = from >> bits; b <= (to - 1) >> bits; ++b) {
        blocks[b - first_block] = std::min(blocks[b - first_block], shallowest_[i]);
      }
    }
    for (int at = bits; level <= kLastLevel; ++level) {
      // A block of the next level is two of this one's, or eight at the last.
      for (const int wanted = block_bits(level); at < wanted; ++at) {
        const uint64_t first = origin >> at;
        const size_t shorter = ((end - 1) >> (at + 1)) - (origin >> (at + 1)) + 1;
        std::vector<uint8_t> joined(shorter, static_cast<uint8_t>(kLastLevel + 1));
        for (size_t b = 0; b < blocks.size(); ++b) {
          uint8_t& into = joined[((first + b) >> 1) - (first >> 1)];
          into = std::min(into, blocks[b]);
        }
        blocks = std::move(joined);
      }
      for (size_t b = 0; b < blocks.size(); ++b) {
        if (blocks[b] > level) continue;
        sparse_queries_.push_back({(origin >> at) + b, origin, 1, 0, 0, level, 0, 0});
      }
    }
  }
  raw_.size = 0;
  kernels_->find_raw(load.chip, sparse_queries_.data(), sparse_queries_.size(), raw_);
  simd::reserve(found_, raw_.size);
  for (size_t i = 0; i < raw_.size; ++i) {
    const simd::RawMark& raw = raw_.mark[i];
    const simd::SparseQuery& query = sparse_queries_[raw.query];
    const Mark mark{query.first_block + raw.block, raw.ordinal, query.level, raw.word};
    const uint64_t cell = mark.cell();
    if (cell < origin || cell >= end) continue;
    if (!mark.below(load.chip, lines_[(cell - space) / length].sparse)) continue;
    found_.cell[found_.size++] = static_cast<uint32_t>(cell - origin) << 1;
  }
}

// The dense part of bitlines, as found cells in line space.
void PatchFlips::find_line_dense(const Load& load, uint64_t length, uint64_t first_line) {
  dense_queries_.clear();
  const auto groups = static_cast<uint32_t>(length >> kGroupBits);
  uint32_t place = 0;
  for (size_t i = 0; i < lines_.size(); ++i) {
    if (lines_[i].dense == 0) continue;
    dense_queries_.push_back({((first_line + i) * length) >> kGroupBits, groups, place,
                              lines_[i].dense, lines_[i].dense});
    place += groups;
  }
  if (dense_queries_.empty()) return;
  dense_always_.resize(place);
  // Whether a read fails depends on the cell's address, which is not in this order.
  kernels_->find_dense(load.chip, load.access, kAlways, dense_queries_.data(),
                       dense_queries_.size(), dense_always_.data(), nullptr);
  for (const simd::DenseQuery& query : dense_queries_) {
    const uint64_t offset = (query.first_group << kGroupBits) - first_line * length;
    for (uint32_t g = 0; g < groups; ++g) {
      uint32_t word = dense_always_[query.place + g];
      simd::reserve(found_, kGroupCells);
      for (; word != 0; word &= word - 1) {
        const auto bit = static_cast<uint32_t>(std::countr_zero(word));
        found_.cell[found_.size++] = (static_cast<uint32_t>(offset) + g * kGroupCells + bit) << 1;
      }
    }
  }
}

// Turns offsets along the bitlines into offsets from the patch's first address, of the cells that
// the operand occupies.
void PatchFlips::bitline_cells_to_addresses(const Region& region) {
  const uint64_t length = region.subarray_rows;
  const uint64_t row_in_subarray = patch_.origin / region.row_bits % length;
  size_t kept = 0;
  for (size_t i = 0; i < found_.size; ++i) {
    const uint64_t offset = found_.cell[i] >> 1;
    const uint64_t column = offset / length, place = offset % length;
    if (place < row_in_subarray || place - row_in_subarray >= patch_.rows) continue;
    const uint64_t away = (place - row_in_subarray) * region.row_bits + column;
    const uint64_t address = patch_.origin + away;
    if (address < grid_.begin || address >= grid_.end) continue;
    found_.cell[kept++] = static_cast<uint32_t>(away) << 1;
  }
  found_.size = kept;
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
  kernels_->keep_failing(load.chip, patch_.origin, load.access, region.failure, found_);
  kernels_->keep_failing(load.chip, patch_.origin, load.access, region.failure, weaker_);
}

template <class Visit>
void PatchFlips::with_bit_of(Visit&& visit) const {
  if (patch_.stride == 0) {
    visit([](uint64_t offset) { return offset; });
  } else {
    visit([this](uint64_t offset) {
      const auto row = static_cast<uint32_t>(offset / patch_.stride);
      return row * row_words_ * 64 + (patch_.origin + offset - grid_.run_begin(patch_, row));
    });
  }
}

void PatchFlips::into_masks(const simd::FoundCells& found, std::vector<uint64_t>& strong) {
  if (found.size == 0) return;
  dirty_words_ = row_words_ * patch_.rows;
  with_bit_of(
      [&](auto bit_of) { join_cells(found, symmetric_, always_.data(), strong.data(), bit_of); });
}

// Takes every element that the masks hit out of them.
void PatchFlips::into_fixups(int width) {
  const auto w = static_cast<unsigned>(width);
  const uint64_t field = w == 64 ? ~uint64_t{0} : (uint64_t{1} << w) - 1;
  std::vector<uint64_t>& zeros = strong_one_ ? always_ : strong_;
  std::vector<uint64_t>& ones = symmetric_ ? always_ : strong_one_ ? strong_ : always_;
  for (const simd::FoundCells* found : {static_cast<const simd::FoundCells*>(&found_),
                                        static_cast<const simd::FoundCells*>(&weaker_)}) {
    for (size_t i = 0; i < found->size; ++i) {
      const uint64_t offset = found->cell[i] >> 1;
      uint32_t row = 0;
      uint64_t in_run = offset;
      if (patch_.stride != 0) {
        row = static_cast<uint32_t>(offset / patch_.stride);
        in_run = patch_.origin + offset - grid_.run_begin(patch_, row);
      }
      const auto element = static_cast<uint32_t>(in_run / w);
      const size_t word = row * row_words_ + static_cast<size_t>(element) * w / 64;
      const unsigned shift = static_cast<unsigned>(static_cast<uint64_t>(element) * w % 64);
      const uint64_t zero = (zeros[word] >> shift) & field;
      const uint64_t one = (ones[word] >> shift) & field;
      if ((zero | one) == 0) continue;  // an element taken before
      fixups_.push_back({row, element, zero, one});
      zeros[word] &= ~(field << shift);
      ones[word] &= ~(field << shift);
    }
  }
  dirty_words_ = 0;
}

void PatchFlips::clear_masks() {
  const size_t found = found_.size + weaker_.size;
  if (!dense_ && found * kWordsClearedPerCell < dirty_words_) {
    with_bit_of([&](auto bit_of) {
      for (const simd::FoundCells* cells : {static_cast<const simd::FoundCells*>(&found_),
                                            static_cast<const simd::FoundCells*>(&weaker_)}) {
        for (size_t i = 0; i < cells->size; ++i) {
          const uint64_t word = bit_of(cells->cell[i] >> 1) / 64;
          always_[word] = strong_[word] = 0;
        }
      }
    });
  } else {
    std::fill_n(always_.begin(), dirty_words_, 0);
    if (!symmetric_) std::fill_n(strong_.begin(), dirty_words_, 0);
  }
  dirty_words_ = 0;
}

}  // namespace eden
