// The cells of a patch that fail at one access, found on the host.
#pragma once

#include <cstdint>
#include <vector>

#include "core/lines.h"
#include "core/load.h"
#include "core/patch.h"
#include "core/simd/kernels.h"

namespace eden {

// The queries for the sparse marks of consecutive cells of Models 0 and 3, one for each level that
// holds marks below the larger threshold.
void cell_queries(uint64_t origin, uint32_t cells, uint64_t always, uint64_t strong,
                  std::vector<simd::SparseQuery>& queries);

// An element that some flip hits, where flips are few.
struct Fixup {
  uint32_t row;      // run of the patch
  uint32_t element;  // of the run
  uint64_t zero;     // bits that flip if they store 0
  uint64_t one;
};

// What a thread keeps between patches: their flips, and the memory to find them in.
class PatchFlips {
 public:
  PatchFlips() = default;
  PatchFlips(const PatchFlips&) = delete;
  PatchFlips& operator=(const PatchFlips&) = delete;

  // Finds the flips of a patch of a load's region, for elements of `width` bits; as masks even
  // where they are few, if a list of elements is not `listable`.
  void find(const simd::Kernels& kernels, const Load& load, const Region& region,
            const PatchGrid& grid, const Patch& patch, int width, bool listable);

  // Whether flips are so many that every element passes its masks; else they are a list.
  bool masked() const { return masked_; }
  const std::vector<Fixup>& fixups() const { return fixups_; }
  // The bits of a run that flip if they store 0, or 1, from the run's first element on.
  const uint64_t* zero(uint32_t row) const { return mask(strong_one_ ? always_ : strong_, row); }
  const uint64_t* one(uint32_t row) const {
    return symmetric_ ? mask(always_, row) : mask(strong_one_ ? strong_ : always_, row);
  }

 private:
  struct OwnedCells : simd::FoundCells {
    ~OwnedCells() { simd::release(*this); }
  };
  struct OwnedMarks : simd::RawMarks {
    ~OwnedMarks() { simd::release(*this); }
  };

  const uint64_t* mask(const std::vector<uint64_t>& words, uint32_t row) const {
    return words.data() + row * row_words_;
  }
  void find_cells(const Load& load, const Region& region);
  void find_lines(const Load& load, const Region& region);
  void find_line_marks(const Load& load, uint64_t length, uint64_t first_line);
  void find_line_dense(const Load& load, uint64_t length, uint64_t first_line);
  void find_map(const Load& load, const Region& region);
  void bitline_cells_to_addresses(const Region& region);
  void add_dense_words(uint64_t first_group, size_t groups);
  // Calls visit(bit_of), where bit_of(offset) is the place of a found cell in the masks.
  template <class Visit>
  void with_bit_of(Visit&& visit) const;
  void into_masks(const simd::FoundCells& found, std::vector<uint64_t>& strong);
  void into_fixups(int width);
  void clear_masks();

  const simd::Kernels* kernels_ = nullptr;
  PatchGrid grid_{};
  Patch patch_{};
  size_t row_words_ = 0;
  bool masked_ = false;
  bool dense_ = false;       // whether the masks hold more than the found cells
  size_t dirty_words_ = 0;   // of the masks, from the first on, that may hold a bit
  bool symmetric_ = true;    // whether all flips are those of both values
  bool strong_one_ = false;  // the value that flips more often
  std::vector<Fixup> fixups_;
  // Bits that flip whatever they store, and those that do if they store the strong value.
  std::vector<uint64_t> always_, strong_;
  OwnedCells found_;
  OwnedCells weaker_;  // of a map: cells that flip for the other value alone
  OwnedMarks raw_;
  std::vector<simd::SparseQuery> sparse_queries_;
  std::vector<simd::DenseQuery> dense_queries_;
  std::vector<uint32_t> dense_always_, dense_strong_;
  std::vector<WeakThresholds> lines_;
  std::vector<uint8_t> shallowest_;
};

}  // namespace eden
