// The cells of a patch that fail at one access, found on the host.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "memory/corrupt/load.h"
#include "memory/corrupt/patch.h"
#include "memory/corrupt/simd/kernels.h"
#include "memory/lines.h"

namespace eden {

// The queries for the sparse marks of consecutive cells of Models 0 and 3, one for each level that
// holds marks below the larger threshold.
void cell_queries(uint64_t origin, uint32_t cells, uint64_t always, uint64_t strong,
                  std::vector<simd::SparseQuery>& queries);

// From so many cells to a flip on, a list of the elements hit costs less than a mask for every one.
inline constexpr size_t kCellsPerFlipInList = 3000;

// From so many cells to a flip on, bits that are turned one by one in a cache cost less than a mask
// for every one.
inline constexpr size_t kCellsPerBit = 512;

// A run's mask is read in whole words, and beyond its end by what loads more than it needs; so are
// the words of groups.
inline constexpr size_t kSpareWords = 8;

// An element that some flip hits, where flips are few.
struct FlippedElement {
  uint64_t address;  // of its first bit
  uint32_t zero;     // bits that flip if they store 0
  uint32_t one;
};

// The lines of a region's table that have weak cells, by the value that these store: those with a
// mark of at most `most`, if there are `some`. Regions that do not tell values apart have it once.
struct WeakLines {
  bool some[2] = {};
  uint32_t most[2] = {};
};
WeakLines weak_lines(const Region& region, const int64_t* table);

struct OwnedCells : simd::FoundCells {
  OwnedCells() = default;
  OwnedCells(const OwnedCells&) = delete;
  OwnedCells& operator=(const OwnedCells&) = delete;
  ~OwnedCells() { simd::release(*this); }
};

// Where the places of found cells lie in masks: between rows is a gap.
struct MaskRows {
  int shift = simd::kOneRow;  // see simd::Rows
  uint32_t gap = 0;
  uint32_t bit(uint32_t place) const { return place + (place >> shift) * gap; }
};

// Sets the bits of found cells in masks of those that flip whatever they store, the only one if
// that is all of them, and of those that do if they store the strong value.
void join_cells(const simd::FoundCells& found, bool symmetric, uint64_t* always, uint64_t* strong,
                const MaskRows& rows = {});
// Clears so many words of masks that hold no bits but those of these cells.
void clear_cells(const simd::FoundCells& found, size_t words, uint64_t* always, uint64_t* strong,
                 const MaskRows& rows = {});

// What a thread keeps between patches: their flips, and the memory to find them in.
class PatchFlips {
 public:
  PatchFlips() = default;
  PatchFlips(const PatchFlips&) = delete;
  PatchFlips& operator=(const PatchFlips&) = delete;

  // Finds the flips of a patch of a load's region, for elements of `width` bits; as masks even
  // where they are few, if a list of elements is not `listable`; as cells alone where there are
  // fewer than one in `cells_per_bit`, if that is not 0. `weak` is what weak_lines says of the
  // region, where its model is one of lines.
  void find(const simd::Kernels& kernels, const Load& load, const Region& region,
            const WeakLines& weak, const PatchGrid& grid, const Patch& patch, int width,
            bool listable, size_t cells_per_bit = 0);

  // The same, but what is found as it is: cells, and what came as masks where it was `dense`, which
  // bitlines are not if a list is wanted.
  void gather(const simd::Kernels& kernels, const Load& load, const Region& region,
              const WeakLines& weak, const PatchGrid& grid, const Patch& patch,
              bool list_bitlines = false);
  bool dense() const { return dense_; }
  // Cells that flip if they store one value alone do so if they store 1, or 0; others, of a map,
  // flip for the other one alone.
  bool strong_one() const { return strong_one_; }
  const simd::FoundCells& cells() const { return found_; }
  int row_shift() const { return rows_.row_shift; }
  const simd::FoundCells& weaker() const { return weaker_; }
  // Makes masks of all of it.
  void join_masks();

  // Whether flips are so many that every element passes its masks; else they are a list, or cells
  // alone.
  bool masked() const { return masked_; }
  bool alone() const { return alone_; }
  // Of cells alone: turns the bits of `out`, an earlier copy of `in`, in which `origin` is the bit
  // of the patch's first cell, as that of a first row that is not whole may lie before the memory.
  void turn(const char* in, char* out, uint64_t origin) const;
  const std::vector<FlippedElement>& listed() const { return listed_; }
  // The bits of a row that flip if they store 0, or 1, from the cell below the patch's origin on.
  const uint64_t* zero(uint32_t row) const { return mask(strong_one_ ? always_ : strong_, row); }
  const uint64_t* one(uint32_t row) const {
    return symmetric_ ? mask(always_, row) : mask(strong_one_ ? strong_ : always_, row);
  }

 private:
  const uint64_t* mask(const std::vector<uint64_t>& words, uint32_t row) const {
    return words.data() + row * row_words_;
  }
  void find_cells(const Load& load, const Region& region);
  void find_lines(const Load& load, const Region& region, const WeakLines& weak,
                  const PatchGrid& grid, bool list_bitlines);
  void find_weak_lines(const Load& load, const Region& region, const WeakLines& weak,
                       uint64_t first_line, uint32_t count, int joint);
  void find_lines_by_value(const Load& load, const Region& region, const WeakLines& weak,
                           uint64_t first_line, uint32_t count, int joint);
  struct TakenLines;
  void clear_lines(uint32_t count);
  TakenLines take_lines(int joint);
  void sort_lines(const TakenLines& taken);
  const uint32_t* level_begin(int level) const {
    return line_order_.data() + lines_before_[static_cast<size_t>(level)];
  }
  void part_by_line(const simd::PatchLines& lines);
  void find_line_by_line(const Load& load, const simd::PatchLines& lines, int joint);
  void list_blocks(const simd::PatchLines& lines, int joint);
  void find_wordlines_dense(const Load& load, const Region& region, const simd::PatchLines& lines);
  void find_map(const Load& load, const Region& region);
  void add_dense_words(std::vector<uint32_t>& words, size_t from, size_t to,
                       std::vector<uint64_t>& mask);
  void into_masks(const simd::FoundCells& found, std::vector<uint64_t>& strong);
  void into_list(int width);
  void clear_masks();

  const simd::Kernels* kernels_ = nullptr;
  Patch patch_{};
  simd::Rows rows_{};  // where the places of found cells lie
  MaskRows mask_rows_;
  size_t row_words_ = 0;
  bool masked_ = false;
  bool alone_ = false;
  bool dense_ = false;       // whether the masks hold more than the found cells
  size_t dirty_words_ = 0;   // of the masks, from the first on, that may hold a bit
  bool symmetric_ = true;    // whether all flips are those of both values
  bool strong_one_ = false;  // the value that flips more often
  std::vector<FlippedElement> listed_;
  // Bits that flip whatever they store, and those that do if they store the strong value.
  std::vector<uint64_t> always_, strong_;
  OwnedCells found_;
  OwnedCells weaker_;  // of a map or of lines: cells that flip for the other value alone
  std::vector<simd::SparseQuery> sparse_queries_;
  std::vector<simd::DenseQuery> dense_queries_;
  std::vector<uint32_t> dense_always_, dense_strong_;
  // Of the patch's lines: see simd::PatchLines.
  std::vector<uint64_t> line_threshold_, line_lower_;
  std::vector<uint32_t> line_key_, line_lower_key_;
  std::vector<uint8_t> line_zero_;  // whether its cells fail more often for a stored 0
  bool zero_lines_ = false;         // whether that is so of one or more
  std::vector<uint32_t> weak_line_, weak_mark_;
  std::vector<uint32_t> line_mark_[2];  // by stored value, where they differ
  // Those with a threshold as they are found, and by the level from which on they share their
  // blocks with others, which is above kLastLevel where they do not.
  std::vector<uint32_t> taken_line_, taken_level_, line_order_;
  std::array<uint32_t, kLastLevel + 3> lines_before_{};  // of levels before each
  std::vector<simd::DenseLine> dense_lines_;             // the first dense_count_
  size_t dense_count_ = 0;
  std::vector<uint64_t> reached_;
  std::vector<simd::MarkBlocks> blocks_;
};

}  // namespace eden
