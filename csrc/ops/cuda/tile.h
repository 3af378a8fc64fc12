// How a block of threads corrupts one tile of an operand: the flips of the tile's cells become two
// bit masks (cells that flip if they store 0, or 1), then every sample's elements pass through them
// once (find.cuh, pass.cuh).
#pragma once

#include "memory/corrupt/load.h"
#include "memory/corrupt/patch.h"
#include "memory/lines.h"
#include "memory/storage/storage.h"
#include "memory/weak_cells.h"

namespace eden {

// At most, and at least where smaller ones let a small tensor fill the device.
inline constexpr uint32_t kTileCells = uint32_t{1} << 16;
inline constexpr uint32_t kLeastTileCells = uint32_t{1} << 11;
// Whole groups of cells, one more than a tile has because a tile need not begin at a group's first
// cell, and then whole vectors.
inline constexpr int kTileMaskWords = kTileCells / kGroupCells + 4;
inline constexpr int kTileColumnMultiple = 128;
inline constexpr int kTileColumns = kTileCells / kTileColumnMultiple;
// Bitlines of a tile; or wordlines, of which a tile touches one more than fit into it. Where lines
// have thresholds for each stored value, a tile has half as many lines.
inline constexpr int kTileLines = kTileColumns + 2;
static_assert(kTileCells / kRowBitsMultiple <= kTileColumns);
// From a tile's first line to the end of its last one: the cells have numbers of 32 bits.
static_assert(kTileColumns * (kMostSubarrayCells / kRowBitsMultiple) <= uint64_t{1} << 32);

// Whether cells of a region flip alike whatever they store, so that a tile has one mask.
EDEN_HOST_DEVICE inline bool flips_alike(const Region& region) {
  if (region.model == ModelKind::kCell) {
    return region.sparse[0] == region.sparse[1] && region.dense[0] == region.dense[1];
  }
  return region.model != ModelKind::kMap && !by_value(region.table_kind);
}

// Cells of a tile, of `cells` that so many samples have: `asked`, or as suits them at 0.
inline uint32_t tile_cells_of(int64_t cells, int64_t samples, uint32_t asked) {
  constexpr int64_t kBlocksThatFill = 512;  // so that every multiprocessor has some
  if (asked != 0) return asked;
  uint32_t found = kTileCells;
  while (found > kLeastTileCells && cells / found * samples < kBlocksThatFill) found /= 2;
  return found;
}

// What the threads of one tile share.
struct TileScratch {
  alignas(16) uint32_t masks[2 * kTileMaskWords];
  WeakThresholds line[kTileLines];  // of each line, or of each line's zeros and ones
  uint32_t reached;                 // bit l: thresholds whose first level is l; kReachesDense:
                                    // a dense part
};
inline constexpr uint32_t kReachesDense = uint32_t{1} << (kLastLevel + 2);
static_assert(kLastLevel + 2 < 32);

// The cells [address, address + bits) of a region, cut into tiles: a patch, or some rows of one
// whose subarray is taller than a tile.
struct TileGrid {
  PatchGrid grid;
  uint32_t rows;  // of a tile
  uint32_t cuts;  // tiles of a patch, one upon another
  int64_t tiles;

  EDEN_HOST_DEVICE static TileGrid cut(const Region& region, uint64_t bits, uint32_t tile_cells) {
    if (bits == 0) return {PatchGrid{}, 1, 1, 0};
    const bool alike = flips_alike(region);
    if (region.model == ModelKind::kCell) {
      // One mask, in the room of two, unless tiles are small for there to be many.
      if (alike && tile_cells == kTileCells) tile_cells *= 2;
    } else if (region.model != ModelKind::kMap && !alike) {
      tile_cells /= 2;
    }
    if (region.model != ModelKind::kBitline) {
      const PatchGrid grid = PatchGrid::cut(region, bits, tile_cells, kTileColumnMultiple);
      return {grid, 1, 1, grid.patches};
    }
    const uint64_t touched =
        (region.address + bits - 1) / region.row_bits - region.address / region.row_bits + 1;
    const uint64_t high = PatchGrid::smaller(touched, region.subarray_rows);
    // The runs of a tile's rows are the longer for one mask in the room of two.
    const uint64_t most = uint64_t{2} * tile_cells;
    const uint64_t cells =
        PatchGrid::smaller(most, (alike ? kTileColumns : kTileColumns / 2) * high);
    const PatchGrid grid = PatchGrid::cut(region, bits, cells, kTileColumnMultiple);
    const uint32_t rows = static_cast<uint32_t>(most / grid.columns);
    const uint32_t cuts = static_cast<uint32_t>((high + rows - 1) / rows);
    return {grid, rows, cuts, grid.patches * cuts};
  }

  // Tile `index`; it has no rows where the operand does not touch it.
  EDEN_HOST_DEVICE Patch tile(int64_t index) const {
    // A division takes a device a hundred instructions, in which all threads of a block wait.
    const int64_t which = cuts == 1 ? index : index / cuts;
    Patch patch = grid.patch(which);
    const uint32_t first = static_cast<uint32_t>(index - which * cuts) * rows;
    if (first >= patch.rows) {
      patch.rows = 0;
      return patch;
    }
    patch.origin += first * patch.stride;
    const uint32_t left = patch.rows - first;
    patch.rows = left < rows ? left : rows;
    return patch;
  }
};

// A tile and what is the same for all its threads.
struct Tile {
  Region region;
  Patch patch;
  uint64_t begin;  // the operand's cells in the region
  uint64_t end;
  uint64_t zero_cell;  // where the operand's first bit would lie if the region
                       // reached so far
  uint32_t pitch;      // mask words of a row
  uint64_t first_line;
  uint32_t lines;        // none where each cell stands for itself
  uint32_t values;       // masks, and thresholds of a line: 1, or one for each stored value
  uint64_t line_length;  // cells
  uint64_t place;        // of the tile's first row among the cells of a bitline

  // Tile `index` of the region: field by field, since it lies in shared memory.
  EDEN_HOST_DEVICE void set(const Load& load, int64_t which, const Region& of, const TileGrid& grid,
                            int64_t index) {
    region = of;
    patch = grid.tile(index);
    begin = grid.grid.begin;
    end = grid.grid.end;
    zero_cell = of.address - load.first_bit(which);
    pitch = lines = 0;
    values = flips_alike(of) ? 1 : 2;
    line_length = first_line = place = 0;
    if (patch.rows == 0) return;
    const uint64_t last = patch.origin + patch.columns - 1;
    pitch = static_cast<uint32_t>((last >> kGroupBits) - (patch.origin >> kGroupBits)) + 1;
    if (of.model == ModelKind::kBitline) {
      const uint64_t row = patch.origin / of.row_bits;
      line_length = of.subarray_rows;
      place = row % of.subarray_rows;
      first_line = row / of.subarray_rows * of.row_bits + patch.origin % of.row_bits;
      lines = patch.columns;
    } else if (of.model == ModelKind::kWordline) {
      line_length = of.row_bits;
      first_line = patch.origin / of.row_bits;
      lines = static_cast<uint32_t>(last / of.row_bits - first_line) + 1;
    }
  }

  EDEN_HOST_DEVICE uint32_t mask_words() const { return patch.rows * pitch; }
  // Where the mask of cells that store 1 begins.
  EDEN_HOST_DEVICE uint32_t one() const { return values == 2 ? kTileMaskWords : 0; }
  // The group whose cells are the bits of a mask word.
  EDEN_HOST_DEVICE uint64_t group(uint32_t word) const {
    return ((patch.origin + word / pitch * patch.stride) >> kGroupBits) + word % pitch;
  }
  // The place of a row's cell among the bits of a mask.
  EDEN_HOST_DEVICE uint32_t mask_bit(uint32_t row, uint64_t cell) const {
    const uint64_t first = (patch.origin + row * patch.stride) >> kGroupBits << kGroupBits;
    return row * pitch * kGroupCells + static_cast<uint32_t>(cell - first);
  }

  // Which of the tile's lines has a cell, of line space, in it or elsewhere; `lines` for none.
  EDEN_HOST_DEVICE uint32_t line_of(uint64_t cell) const {
    const uint64_t from_first = cell - first_line * line_length;
    if (from_first >= lines * line_length) return lines;
    return static_cast<uint32_t>(from_first) / static_cast<uint32_t>(line_length);
  }

  // The cells [line_begin, line_end), in line space, that one of the tile's lines has in it.
  EDEN_HOST_DEVICE uint64_t line_begin(uint32_t line) const {
    const uint64_t first = (first_line + line) * line_length;
    if (region.model == ModelKind::kBitline) return first + place;
    return PatchGrid::larger(first, patch.origin);
  }
  EDEN_HOST_DEVICE uint64_t line_end(uint32_t line) const {
    const uint64_t first = (first_line + line) * line_length;
    if (region.model == ModelKind::kBitline) return first + place + patch.rows;
    return PatchGrid::smaller(first + line_length, patch.origin + patch.columns);
  }
};

}  // namespace eden
