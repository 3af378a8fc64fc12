// How a group of threads corrupts one tile of an operand, as a CUDA block does it: the flips of the
// tile's cells become two bit masks (cells that flip if they store 0, or 1), then every sample's
// elements pass through them once. Written as phases for one thread among many.
#pragma once

#include "memory/corrupt/load.h"
#include "memory/corrupt/patch.h"
#include "memory/lines.h"
#include "memory/storage/storage.h"
#include "memory/weak_cells.h"

namespace eden {

inline constexpr int kTileCellBits = 16;
inline constexpr int kTileCells = 1 << kTileCellBits;
// Whole groups of cells, one more than a tile has because a tile need not begin at a group's first
// cell.
inline constexpr int kTileMaskWords = kTileCells / kGroupCells + 1;
// Cells of a line flip alike whatever they store, so a tile of bitlines has one mask, in the room
// of two: the runs of its rows are the longer for it.
inline constexpr int kBitlineTileCells = 2 * kTileCells;
inline constexpr int kTileColumnMultiple = 128;
inline constexpr int kTileColumns = kTileCells / kTileColumnMultiple;
// Bitlines of a tile; or wordlines, of which a tile touches one more than fit into it.
inline constexpr int kTileLines = kTileColumns + 1;
static_assert(kTileCells / kRowBitsMultiple <= kTileColumns);

// What the threads of one tile share.
struct TileScratch {
  uint32_t masks[2 * kTileMaskWords];
  WeakThresholds line[kTileLines];
  uint32_t reached;  // bit l: thresholds whose first level is l; kReachesDense: a dense part
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

  EDEN_HOST_DEVICE static TileGrid cut(const Region& region, uint64_t bits) {
    if (bits == 0) return {PatchGrid{}, 1, 1, 0};
    if (region.model != ModelKind::kBitline) {
      const PatchGrid grid = PatchGrid::cut(region, bits, kTileCells, kTileColumnMultiple);
      return {grid, 1, 1, grid.patches};
    }
    const uint64_t touched =
        (region.address + bits - 1) / region.row_bits - region.address / region.row_bits + 1;
    const uint64_t high = PatchGrid::smaller(touched, region.subarray_rows);
    const uint64_t cells = PatchGrid::smaller(kBitlineTileCells, kTileColumns * high);
    const PatchGrid grid = PatchGrid::cut(region, bits, cells, kTileColumnMultiple);
    const uint32_t rows = static_cast<uint32_t>(kBitlineTileCells / grid.columns);
    const uint32_t cuts = static_cast<uint32_t>((high + rows - 1) / rows);
    return {grid, rows, cuts, grid.patches * cuts};
  }

  // Tile `index`; it has no rows where the operand does not touch it.
  EDEN_HOST_DEVICE Patch tile(int64_t index) const {
    Patch patch = grid.patch(index / cuts);
    const uint32_t first = static_cast<uint32_t>(index % cuts) * rows;
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
  uint64_t zero_cell;  // where the operand's first bit would lie if the region reached so far
  uint32_t pitch;      // mask words of a row
  uint64_t first_line;
  uint32_t lines;        // none where each cell stands for itself
  uint64_t line_length;  // cells
  uint64_t place;        // of the tile's first row among the cells of a bitline

  EDEN_HOST_DEVICE static Tile make(const Load& load, int64_t which, const Region& region,
                                    const TileGrid& grid, int64_t index) {
    Tile tile{};
    tile.region = region;
    tile.patch = grid.tile(index);
    tile.begin = grid.grid.begin;
    tile.end = grid.grid.end;
    tile.zero_cell = region.address - load.first_bit(which);
    const Patch& patch = tile.patch;
    if (patch.rows == 0) return tile;
    const uint64_t last = patch.origin + patch.columns - 1;
    tile.pitch = static_cast<uint32_t>((last >> kGroupBits) - (patch.origin >> kGroupBits)) + 1;
    if (region.model == ModelKind::kBitline) {
      const uint64_t row = patch.origin / region.row_bits;
      tile.line_length = region.subarray_rows;
      tile.place = row % region.subarray_rows;
      tile.first_line =
          row / region.subarray_rows * region.row_bits + patch.origin % region.row_bits;
      tile.lines = patch.columns;
    } else if (region.model == ModelKind::kWordline) {
      tile.line_length = region.row_bits;
      tile.first_line = patch.origin / region.row_bits;
      tile.lines = static_cast<uint32_t>(last / region.row_bits - tile.first_line) + 1;
    }
    return tile;
  }

  EDEN_HOST_DEVICE uint32_t mask_words() const { return patch.rows * pitch; }
  EDEN_HOST_DEVICE uint32_t* zero(TileScratch& scratch) const { return scratch.masks; }
  EDEN_HOST_DEVICE uint32_t* one(TileScratch& scratch) const {
    return scratch.masks + (lines == 0 ? kTileMaskWords : 0);
  }
  // The group whose cells are the bits of a mask word.
  EDEN_HOST_DEVICE uint64_t group(uint32_t word) const {
    return ((patch.origin + word / pitch * patch.stride) >> kGroupBits) + word % pitch;
  }
  // The place of a row's cell among the bits of a mask.
  EDEN_HOST_DEVICE uint32_t mask_bit(uint32_t row, uint64_t cell) const {
    const uint64_t first = (patch.origin + row * patch.stride) >> kGroupBits << kGroupBits;
    return row * pitch * kGroupCells + static_cast<uint32_t>(cell - first);
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

// Which cells of a tile flip: phases 0 to kTilePhases - 1, each done by all the threads before any
// begins the next. atomic_or(word pointer, bits) joins bits.
inline constexpr int kTilePhases = 5;

EDEN_HOST_DEVICE inline void tile_clear(const Tile& tile, TileScratch& scratch, int thread,
                                        int threads) {
  if (thread == 0) scratch.reached = 0;
  uint32_t* zero = tile.zero(scratch);
  uint32_t* one = tile.one(scratch);
  for (uint32_t w = static_cast<uint32_t>(thread); w < tile.mask_words();
       w += static_cast<uint32_t>(threads)) {
    zero[w] = 0;
    one[w] = 0;
  }
}

template <class AtomicOr>
EDEN_HOST_DEVICE inline void tile_thresholds(const Load& load, const Tile& tile,
                                             TileScratch& scratch, int thread, int threads,
                                             AtomicOr&& atomic_or) {
  const auto note = [&](uint64_t sparse, uint64_t dense) {
    const uint32_t reached =
        (uint32_t{1} << first_level(sparse)) | (dense != 0 ? kReachesDense : 0u);
    atomic_or(&scratch.reached, reached);
  };
  const Region& region = tile.region;
  if (region.model == ModelKind::kCell && thread == 0) {
    note(PatchGrid::larger(region.sparse[0], region.sparse[1]), region.dense[0] | region.dense[1]);
  }
  for (uint32_t i = static_cast<uint32_t>(thread); i < tile.lines;
       i += static_cast<uint32_t>(threads)) {
    scratch.line[i] = line_thresholds(load.chip, region, load.table, tile.first_line + i);
    note(scratch.line[i].sparse, scratch.line[i].dense);
  }
}

// Dense weak cells, whether they fail or not.
template <class AtomicOr>
EDEN_HOST_DEVICE inline void tile_dense(const Load& load, const Tile& tile, TileScratch& scratch,
                                        int thread, int threads, AtomicOr&& atomic_or) {
  if ((scratch.reached & kReachesDense) == 0) return;
  const Region& region = tile.region;
  const uint32_t step = static_cast<uint32_t>(threads);
  uint32_t* zero = tile.zero(scratch);
  if (region.model != ModelKind::kBitline) {
    for (uint32_t w = static_cast<uint32_t>(thread); w < tile.mask_words(); w += step) {
      const uint64_t group = tile.group(w);
      if (tile.lines != 0) {
        const uint64_t line = (group << kGroupBits) / region.row_bits - tile.first_line;
        zero[w] = dense_weak(load.chip, group, scratch.line[line].dense);
      } else {
        zero[w] = dense_weak(load.chip, group, region.dense[0]);
        tile.one(scratch)[w] = region.dense[1] == region.dense[0]
                                   ? zero[w]
                                   : dense_weak(load.chip, group, region.dense[1]);
      }
    }
    return;
  }
  // A group lies along a bitline, across the masks' words.
  const uint64_t first_group = tile.place >> kGroupBits;  // in a line
  const uint32_t groups =
      static_cast<uint32_t>(((tile.place + tile.patch.rows - 1) >> kGroupBits) - first_group) + 1;
  for (uint32_t item = static_cast<uint32_t>(thread); item < groups * tile.lines; item += step) {
    const uint32_t line = item % tile.lines;
    const uint64_t dense = scratch.line[line].dense;
    if (dense == 0) continue;
    const uint64_t in_line = first_group + item / tile.lines;
    const uint64_t line_group = (tile.first_line + line) * tile.line_length >> kGroupBits;
    const uint32_t weak = dense_weak(load.chip, line_group + in_line, dense);
    for (uint32_t b = 0; b < kGroupCells; ++b) {
      const uint64_t place = (in_line << kGroupBits) + b;
      if (((weak >> b) & 1) == 0 || place < tile.place) continue;
      const uint64_t row = place - tile.place;
      if (row >= tile.patch.rows) break;
      atomic_or(zero + static_cast<uint32_t>(row) * tile.pitch + (line >> kGroupBits),
                uint32_t{1} << (line & (kGroupCells - 1)));
    }
  }
}

EDEN_HOST_DEVICE inline void tile_dense_failing(const Load& load, const Tile& tile,
                                                TileScratch& scratch, int thread, int threads) {
  if ((scratch.reached & kReachesDense) == 0) return;
  uint32_t* zero = tile.zero(scratch);
  uint32_t* one = tile.one(scratch);
  for (uint32_t w = static_cast<uint32_t>(thread); w < tile.mask_words();
       w += static_cast<uint32_t>(threads)) {
    const uint32_t weak = zero[w] | one[w];
    if (weak == 0) continue;
    const uint32_t fails =
        failing(load.chip, tile.group(w), load.access, tile.region.failure, weak);
    const uint32_t both[2] = {zero[w] & fails, one[w] & fails};
    zero[w] = both[0];
    one[w] = both[1];
  }
}

// The blocks of marks that touch the tile, dealt to the threads.
template <class AtomicOr>
EDEN_HOST_DEVICE inline void tile_sparse_cells(const Load& load, const Tile& tile,
                                               TileScratch& scratch, int thread, int threads,
                                               AtomicOr&& atomic_or) {
  const Region& region = tile.region;
  const uint64_t highest = PatchGrid::larger(region.sparse[0], region.sparse[1]);
  const uint64_t begin = tile.patch.origin, end = begin + tile.patch.columns;
  int64_t turn = thread;  // among the blocks of the level at hand, this thread's next one
  for (int level = first_level(highest); level <= kLastLevel; ++level) {
    const uint64_t first_block = begin >> block_bits(level);
    const int64_t blocks = static_cast<int64_t>(((end - 1) >> block_bits(level)) - first_block) + 1;
    for (; turn < blocks; turn += threads) {
      visit_marks(load.chip, level, first_block + static_cast<uint64_t>(turn),
                  [&](const Mark& mark) {
                    const uint64_t cell = mark.cell();
                    if (cell < begin || cell >= end) return;
                    if (!mark.below(load.chip, highest)) return;
                    if (!cell_fails(load.chip, cell, load.access, region.failure)) return;
                    const uint32_t place = tile.mask_bit(0, cell);
                    const uint32_t bit = uint32_t{1} << (place & (kGroupCells - 1));
                    if (mark.below(load.chip, region.sparse[0])) {
                      atomic_or(tile.zero(scratch) + (place >> kGroupBits), bit);
                    }
                    if (mark.below(load.chip, region.sparse[1])) {
                      atomic_or(tile.one(scratch) + (place >> kGroupBits), bit);
                    }
                  });
    }
    turn -= blocks;
  }
}

template <class AtomicOr>
EDEN_HOST_DEVICE inline void tile_sparse_lines(const Load& load, const Tile& tile,
                                               TileScratch& scratch, int thread, int threads,
                                               AtomicOr&& atomic_or) {
  const Region& region = tile.region;
  const bool bitlines = region.model == ModelKind::kBitline;
  // A mark on a cell, in line space, that one of the tile's lines has in it.
  const auto judge = [&](const Mark& mark, uint32_t line, uint64_t cell) {
    if (!mark.below(load.chip, scratch.line[line].sparse)) return;
    uint32_t row = 0;
    if (bitlines) {
      row = static_cast<uint32_t>(cell - tile.line_begin(line));
      cell = tile.patch.origin + row * tile.patch.stride + line;
    }
    if (!cell_fails(load.chip, cell, load.access, region.failure)) return;
    const uint32_t place = tile.mask_bit(row, cell);
    atomic_or(tile.zero(scratch) + (place >> kGroupBits),
              uint32_t{1} << (place & (kGroupCells - 1)));
  };
  const uint64_t longest =
      bitlines ? tile.patch.rows : PatchGrid::smaller(tile.line_length, tile.patch.columns);
  const uint64_t all_begin = tile.line_begin(0), all_end = tile.line_end(tile.lines - 1);
  int64_t turn = thread;  // among the level's items, this thread's next one
  for (int level = kFirstLevel; level <= kLastLevel; ++level) {
    // Not reached by any line, as the lines' first levels lie deeper.
    if ((scratch.reached & ((uint32_t{2} << level) - 1)) == 0) continue;
    const int bits = block_bits(level);
    int64_t items;
    if (uint64_t{1} << bits <= tile.line_length) {
      // Line by line: most lines do not reach the shallow levels, of many small blocks. A block
      // that two lines share is visited for each, for its own cells.
      const int64_t blocks = static_cast<int64_t>((longest - 1) >> bits) + 2;
      items = blocks * tile.lines;
      for (; turn < items; turn += threads) {
        const uint32_t line = static_cast<uint32_t>(turn / blocks);
        if (first_level(scratch.line[line].sparse) > level) continue;
        const uint64_t begin = tile.line_begin(line), end = tile.line_end(line);
        const uint64_t block = (begin >> bits) + static_cast<uint64_t>(turn % blocks);
        if (block > (end - 1) >> bits) continue;
        visit_marks(load.chip, level, block, [&](const Mark& mark) {
          const uint64_t cell = mark.cell();
          if (cell >= begin && cell < end) judge(mark, line, cell);
        });
      }
    } else {
      const uint64_t first_block = all_begin >> bits;
      items = static_cast<int64_t>(((all_end - 1) >> bits) - first_block) + 1;
      for (; turn < items; turn += threads) {
        visit_marks(load.chip, level, first_block + static_cast<uint64_t>(turn),
                    [&](const Mark& mark) {
                      const uint64_t cell = mark.cell();
                      if (cell < all_begin || cell >= all_end) return;
                      const uint32_t line =
                          static_cast<uint32_t>(cell / tile.line_length - tile.first_line);
                      if (cell >= tile.line_begin(line) && cell < tile.line_end(line)) {
                        judge(mark, line, cell);
                      }
                    });
      }
    }
    turn -= items;
  }
}

template <class AtomicOr>
EDEN_HOST_DEVICE inline void tile_map(const Load& load, const Tile& tile, TileScratch& scratch,
                                      int thread, int threads, AtomicOr&& atomic_or) {
  const int64_t* entries = load.table + tile.region.table_first;
  const int64_t length = tile.region.table_length;
  const uint64_t begin = tile.patch.origin, end = begin + tile.patch.columns;
  int64_t first = 0;  // entry of the tile
  for (int64_t above = length; first < above;) {
    const int64_t middle = first + (above - first) / 2;
    if (static_cast<uint64_t>(entries[middle]) >> kMapFlagBits < begin) {
      first = middle + 1;
    } else {
      above = middle;
    }
  }
  for (int64_t i = first + thread; i < length; i += threads) {
    const uint64_t cell = static_cast<uint64_t>(entries[i]) >> kMapFlagBits;
    if (cell >= end) return;
    // Entries that are not in order must not lead out of the masks.
    if (cell < begin) continue;
    if (!cell_fails(load.chip, cell, load.access, tile.region.failure)) continue;
    const uint32_t place = tile.mask_bit(0, cell);
    const uint32_t bit = uint32_t{1} << (place & (kGroupCells - 1));
    if (entries[i] & kMapFlipsZero) atomic_or(tile.zero(scratch) + (place >> kGroupBits), bit);
    if (entries[i] & kMapFlipsOne) atomic_or(tile.one(scratch) + (place >> kGroupBits), bit);
  }
}

template <class AtomicOr>
EDEN_HOST_DEVICE inline void tile_phase(int phase, const Load& load, const Tile& tile,
                                        TileScratch& scratch, int thread, int threads,
                                        AtomicOr&& atomic_or) {
  switch (phase) {
    case 0:
      return tile_clear(tile, scratch, thread, threads);
    case 1:
      return tile_thresholds(load, tile, scratch, thread, threads, atomic_or);
    case 2:
      return tile_dense(load, tile, scratch, thread, threads, atomic_or);
    case 3:
      return tile_dense_failing(load, tile, scratch, thread, threads);
    default:
      if (tile.region.model == ModelKind::kMap) {
        return tile_map(load, tile, scratch, thread, threads, atomic_or);
      }
      if (tile.lines != 0) {
        return tile_sparse_lines(load, tile, scratch, thread, threads, atomic_or);
      }
      return tile_sparse_cells(load, tile, scratch, thread, threads, atomic_or);
  }
}

// What a thread reads and writes at once, in memory of values of any type.
inline constexpr int kTileVectorWords = 4;
struct __attribute__((may_alias, aligned(16))) TileVector {
  uint32_t word[kTileVectorWords];
};

// The elements of one sample in a tile whose flips are found, each read once and written once; `in`
// may be `out`. A thread takes 16 bytes at a time where that is possible.
template <class C, bool kCorrects>
EDEN_HOST_DEVICE inline void tile_elements(const Load& load, const Tile& tile, TileScratch& scratch,
                                           int64_t sample, const typename C::Unsigned* in,
                                           typename C::Unsigned* out, int thread, int threads) {
  constexpr int kInWord = 32 / C::kValueBits;
  constexpr int kInVector = kTileVectorWords * kInWord;
  const LoadShape& shape = load.shape;
  const Conversion& conversion = load.conversion;
  const uint32_t* zero = tile.zero(scratch);
  const uint32_t* one = tile.one(scratch);

  const auto misplaced = [](const void* pointer) {
    return static_cast<int>(reinterpret_cast<uintptr_t>(pointer) / sizeof(*in) % kInVector);
  };
  const int start = misplaced(in);
  // Vectors are cut in the memory of the tensor; none may reach across two places of a sample.
  const bool vectors = start == misplaced(out) &&
                       (shape.outer == 1 || (start == 0 && shape.inner % kInVector == 0)) &&
                       (conversion.channels == 1 || conversion.channel_inner >= kInVector);
  const int step = vectors ? kInVector : 1;
  const uint32_t elements = (tile.patch.columns + C::kWidthBits - 1) / C::kWidthBits;
  const uint32_t slots = vectors ? (elements + kInVector - 1) / kInVector + 1 : elements;

  const auto channel_of = [&](int64_t index) {
    return conversion.channels == 1 ? 0 : index / conversion.channel_inner % conversion.channels;
  };
  int64_t channel = channel_of(0);
  ElementCode code = C::code_of_channel(conversion, channel);
  const auto choose = [&](int64_t wanted) {
    if (wanted == channel) return;
    channel = wanted;
    code = C::code_of_channel(conversion, channel);
  };
  const auto read = [&](uint32_t bits, uint32_t place) {
    const uint32_t shift = place & (kGroupCells - 1);
    return C::template read<true, kCorrects>(bits, (zero[place >> kGroupBits] >> shift) & C::kMask,
                                             (one[place >> kGroupBits] >> shift) & C::kMask, code);
  };

  for (uint32_t slot = static_cast<uint32_t>(thread); slot < slots * tile.patch.rows;
       slot += static_cast<uint32_t>(threads)) {
    const uint32_t row = slot / slots;
    const uint64_t first_cell =
        PatchGrid::larger(tile.patch.origin + row * tile.patch.stride, tile.begin);
    const uint64_t end_cell = PatchGrid::smaller(
        tile.patch.origin + row * tile.patch.stride + tile.patch.columns, tile.end);
    const int64_t first = static_cast<int64_t>(first_cell - tile.zero_cell) / C::kWidthBits;
    const int64_t last = static_cast<int64_t>(end_cell - tile.zero_cell) / C::kWidthBits;
    const int64_t lead =
        vectors ? (start + first + (shape.outer == 1 ? sample * shape.inner : 0)) % kInVector : 0;
    const int64_t from = first - lead + static_cast<int64_t>(slot % slots) * step;
    const int64_t begin = from < first ? first : from;
    const int64_t end = from + step < last ? from + step : last;
    if (begin >= end) continue;
    const uint32_t place =
        tile.mask_bit(row, tile.zero_cell + static_cast<uint64_t>(begin) * C::kWidthBits);
    if (end - begin == kInVector && channel_of(begin) == channel_of(end - 1)) {
      choose(channel_of(begin));
      const int64_t at = shape.tensor_index(sample, begin);
      TileVector vector = *reinterpret_cast<const TileVector*>(in + at);
      for (int w = 0; w < kTileVectorWords; ++w) {
        uint32_t result = 0;
        for (int e = 0; e < kInWord; ++e) {
          constexpr uint32_t kValueMask = ~uint32_t{0} >> (32 - C::kValueBits);
          const uint32_t bits = (vector.word[w] >> (e * C::kValueBits)) & kValueMask;
          const uint32_t offset = static_cast<uint32_t>((w * kInWord + e) * C::kWidthBits);
          result |= (read(bits, place + offset) & kValueMask) << (e * C::kValueBits);
        }
        vector.word[w] = result;
      }
      *reinterpret_cast<TileVector*>(out + at) = vector;
    } else {
      for (int64_t index = begin; index < end; ++index) {
        choose(channel_of(index));
        const int64_t at = shape.tensor_index(sample, index);
        const uint32_t offset = static_cast<uint32_t>(index - begin) * C::kWidthBits;
        out[at] = static_cast<typename C::Unsigned>(read(in[at], place + offset));
      }
    }
  }
}

}  // namespace eden
