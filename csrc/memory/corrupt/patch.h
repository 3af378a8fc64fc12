// How the cells of a region are cut into patches that are worked on one after another: runs of
// consecutive cells, one under another where the region's bitlines share their weakness.
#pragma once

#include <utility>

#include "memory/region.h"

namespace eden {

// `rows` runs of up to `columns` cells; run r lies within [origin + r x stride, + columns).
struct Patch {
  uint64_t origin;
  uint64_t stride;
  uint32_t rows;
  uint32_t columns;
};

// The cells [begin, end) of one region that an operand occupies, cut into patches.
struct PatchGrid {
  uint64_t begin;
  uint64_t end;
  uint64_t columns;   // of a patch
  uint64_t row_bits;  // of bitline regions; 0 elsewhere
  uint64_t subarray_rows;
  uint64_t first_subarray;
  uint64_t patches_in_row;
  int64_t patches;

  EDEN_HOST_DEVICE static uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }
  EDEN_HOST_DEVICE static uint64_t larger(uint64_t a, uint64_t b) { return a < b ? b : a; }

  // Patches of about `cells` cells, of which `column_multiple`, a power of two, is a divisor. Cuts
  // in columns are multiples of 128 cells, so no element is cut.
  EDEN_HOST_DEVICE static PatchGrid cut(const Region& region, uint64_t bits, uint64_t cells,
                                        uint64_t column_multiple) {
    PatchGrid grid{};
    grid.begin = region.address;
    grid.end = region.address + bits;
    if (bits == 0) return grid;
    if (region.model != ModelKind::kBitline) {
      grid.columns = cells;
      grid.patches = static_cast<int64_t>((bits + cells - 1) / cells);
      return grid;
    }
    grid.row_bits = region.row_bits;
    grid.subarray_rows = region.subarray_rows;
    const uint64_t subarray_cells = region.row_bits * region.subarray_rows;
    grid.first_subarray = grid.begin / subarray_cells;
    const uint64_t subarrays = (grid.end - 1) / subarray_cells - grid.first_subarray + 1;
    const uint64_t rows = (grid.end - 1) / region.row_bits - grid.begin / region.row_bits + 1;
    const uint64_t wanted = cells / smaller(rows, region.subarray_rows);
    grid.columns =
        smaller(larger(wanted / column_multiple * column_multiple, column_multiple),
                smaller(region.row_bits, kMostSubarrayCells / region.subarray_rows / 128 * 128));
    grid.patches_in_row = (region.row_bits + grid.columns - 1) / grid.columns;
    grid.patches = static_cast<int64_t>(subarrays * grid.patches_in_row);
    return grid;
  }

  // Patch `index`; it has no rows where the operand does not touch it.
  EDEN_HOST_DEVICE Patch patch(int64_t index) const {
    if (row_bits == 0) {
      const uint64_t origin = begin + static_cast<uint64_t>(index) * columns;
      return {origin, 0, 1, static_cast<uint32_t>(smaller(columns, end - origin))};
    }
    const uint64_t subarray = first_subarray + static_cast<uint64_t>(index) / patches_in_row;
    const uint64_t column = static_cast<uint64_t>(index) % patches_in_row * columns;
    const uint64_t wide = smaller(columns, row_bits - column);
    uint64_t row = larger(subarray * subarray_rows, begin / row_bits);
    uint64_t last = smaller((subarray + 1) * subarray_rows - 1, (end - 1) / row_bits);
    // The first and the last row need not reach into these columns.
    if (row * row_bits + column + wide <= begin) ++row;
    if (row <= last && last * row_bits + column >= end) {
      if (last == 0) return {begin, row_bits, 0, 0};
      --last;
    }
    const uint64_t rows = row <= last ? last - row + 1 : 0;
    return {row * row_bits + column, row_bits, static_cast<uint32_t>(rows),
            static_cast<uint32_t>(wide)};
  }

  // Which patches, from one to before another, hold the cells [first, last), in bitline regions.
  std::pair<int64_t, int64_t> patches_of(uint64_t first, uint64_t last) const {
    const uint64_t subarray_cells = row_bits * subarray_rows;
    return {
        static_cast<int64_t>((first / subarray_cells - first_subarray) * patches_in_row),
        static_cast<int64_t>(((last - 1) / subarray_cells + 1 - first_subarray) * patches_in_row)};
  }

  // The cells [first, last) of a patch's run that the operand occupies.
  EDEN_HOST_DEVICE uint64_t run_begin(const Patch& patch, uint32_t row) const {
    return larger(patch.origin + row * patch.stride, begin);
  }
  EDEN_HOST_DEVICE uint64_t run_end(const Patch& patch, uint32_t row) const {
    return smaller(patch.origin + row * patch.stride + patch.columns, end);
  }
};

}  // namespace eden
