// Which cells of a tile flip: what a block's threads do together, for each layout of weak cells.
// The masks are the tile's own alone, so words that one thread owns are stored, and bits that any
// thread may find are joined by atomics.
#pragma once

#include "ops/cuda/job.cuh"

namespace eden::cuda {

// Threads that draw a block's marks side by side: of 8 on average two come with the first draw and
// four with every further one, so that four threads have them all but for one block of sixty.
inline constexpr int kMarkLanes = 4;

__device__ inline void join(uint32_t* masks, uint32_t place) {
  atomicOr(masks + (place >> kGroupBits), uint32_t{1} << (place & (kGroupCells - 1)));
}

// As visit_marks of weak_cells.h, the draws dealt to kLanes neighbours of a warp.
template <int kLanes, class Visit>
__device__ inline void visit_marks_of(uint32_t thread, uint64_t chip, int level, uint64_t block,
                                      Visit&& visit) {
  const uint32_t lane = thread % kLanes;
  PhiloxWords words = draw_marks(chip, level, block, lane);
  int count = lane == 0 ? mark_count(words) : 0;
  if constexpr (kLanes > 1) {
    const uint32_t leader = thread % kWarp - lane;
    count = __shfl_sync(((uint32_t{1} << kLanes) - 1) << leader, count, static_cast<int>(leader));
  }
  // Of the draw's words, the first one's ordinal; the very first two words count the marks.
  int ordinal = static_cast<int>(lane) * kMarksInDraw - kMarksInHead;
  while (ordinal < count) {
    const int which = (ordinal + kMarksInHead) / kMarksInDraw;
    if (which >= kLanes) words = draw_marks(chip, level, block, static_cast<uint32_t>(which));
    // The next word comes to the front: what visits marks stands in the code once, and nothing in
    // memory for being looked up by a number.
    EDEN_ROLLED
    do {
      if (ordinal >= 0 && ordinal < count) {
        visit(Mark{block, static_cast<uint32_t>(ordinal), level, words.word[0]});
      }
      words = {words.word[1], words.word[2], words.word[3], words.word[0]};
      ++ordinal;
    } while ((ordinal + kMarksInHead) % kMarksInDraw != 0);
    ordinal += (kLanes - 1) * kMarksInDraw;
  }
}

__device__ inline void clear_masks(const Tile& tile, TileScratch& scratch) {
  const uint32_t vectors = (tile.mask_words() + kVectorWords - 1) / kVectorWords;
  for (uint32_t v = this_thread(); v < vectors; v += kThreads) {
    reinterpret_cast<Vector*>(scratch.masks)[v] = {};
    if (tile.values == 2) reinterpret_cast<Vector*>(scratch.masks + kTileMaskWords)[v] = {};
  }
}

// A group's weak cells of both values, those that fail.
__device__ inline uint32_t kept(const Load& load, const Tile& tile, uint64_t group, uint32_t weak) {
  return weak == 0 ? 0 : weak & failing(load.chip, group, load.access, tile.region.failure, weak);
}

// As dense_weak of weak_cells.h for a probability of each stored value, from the same numbers.
__device__ inline void find_dense_of_both(uint64_t chip, uint64_t group,
                                          const uint64_t (&probability)[2], uint32_t& zero,
                                          uint32_t& one) {
  const auto begun = [](uint64_t p) -> OpenGroup {
    return {p == kAlways ? ~0u : 0u, p == 0 || p == kAlways ? 0u : ~0u};
  };
  OpenGroup of_zero = begun(probability[0]), of_one = begun(probability[1]);
  EDEN_ROLLED
  for (int digit = 0; digit < kFractionDigits && (of_zero.open | of_one.open) != 0;
       digit += kDigitsInDraw) {
    let_go();
    const PhiloxWords digits =
        dense_digits(chip, group, static_cast<uint32_t>(digit / kDigitsInDraw));
    compare_digits(probability[0], digit, digits, of_zero);
    compare_digits(probability[1], digit, digits, of_one);
  }
  zero = of_zero.result;
  one = of_one.result;
}

// Models 0 and 3.
__device__ inline void find_cells(const Load& load, const Tile& tile, TileScratch& scratch) {
  const uint32_t thread = this_thread();
  const Region& region = tile.region;
  uint32_t* const masks = scratch.masks;
  if ((region.dense[0] | region.dense[1]) == 0) {
    clear_masks(tile, scratch);
  } else {
    for (uint32_t w = thread; w < tile.mask_words(); w += kThreads) {
      const uint64_t group = tile.group(w);
      uint32_t zero, one;
      if (region.dense[1] == region.dense[0]) {
        zero = one = dense_weak(load.chip, group, region.dense[0]);
      } else {
        find_dense_of_both(load.chip, group, region.dense, zero, one);
      }
      const uint32_t fails = kept(load, tile, group, zero | one);
      masks[w] = zero & fails;
      if (tile.values == 2) masks[kTileMaskWords + w] = one & fails;
    }
  }
  __syncthreads();
  const uint64_t highest = PatchGrid::larger(region.sparse[0], region.sparse[1]);
  const uint64_t begin = tile.patch.origin, end = begin + tile.patch.columns;
  uint32_t turn = thread / kMarkLanes;  // among the blocks of the level at hand, the next one
  for (int level = first_level(highest); level <= kLastLevel; ++level) {
    const uint64_t first_block = begin >> block_bits(level);
    const uint32_t blocks =
        static_cast<uint32_t>(((end - 1) >> block_bits(level)) - first_block) + 1;
    for (; turn < blocks; turn += kThreads / kMarkLanes) {
      visit_marks_of<kMarkLanes>(
          thread, load.chip, level, first_block + turn, [&](const Mark& mark) {
            const uint64_t cell = mark.cell();
            if (cell < begin || cell >= end) return;
            let_go();
            const bool zero = mark.below(load.chip, region.sparse[0]);
            const bool one = tile.values == 2 && mark.below(load.chip, region.sparse[1]);
            if (!(zero || one)) return;
            if (!cell_fails(load.chip, cell, load.access, region.failure)) return;
            const uint32_t place = tile.mask_bit(0, cell);
            if (zero) join(masks, place);
            if (one) join(masks + kTileMaskWords, place);
          });
    }
    turn -= blocks;
  }
  __syncthreads();
}

// The thresholds of a tile's lines, and which levels they reach, of which none is known before.
__device__ inline void find_thresholds(const Load& load, const Tile& tile, TileScratch& scratch) {
  const uint32_t thread = this_thread();
  clear_masks(tile, scratch);
  for (uint32_t i = thread; i < tile.values * tile.lines; i += kThreads) {
    const WeakThresholds line =
        line_thresholds(load.chip, tile.region, load.table, tile.first_line + i / tile.values,
                        i % tile.values != 0);
    scratch.line[i] = line;
    atomicOr(&scratch.reached,
             (uint32_t{1} << first_level(line.sparse)) | (line.dense != 0 ? kReachesDense : 0u));
  }
  __syncthreads();
}

// Bit b of lane l becomes bit l of lane b, for a warp's 32 words: blocks of 16, 8, 4, 2 and 1 bits
// change places with those of the lanes that lie as far away.
__device__ inline uint32_t turned_square(uint32_t word, uint32_t lane) {
  uint32_t low = 0x0000ffffu;
  for (uint32_t away = kWarp / 2; away != 0; away /= 2) {
    const uint32_t other = __shfl_xor_sync(~0u, word, static_cast<int>(away));
    word = (lane & away) == 0 ? (word & low) | (other & low) << away
                              : (word & ~low) | (other >> away & low);
    low ^= low << away / 2;
  }
  return word;
}

// The dense part of bitlines: a group lies along a line, across the masks' words, so that a warp
// takes a group of each of 32 neighbours and turns the square of their bits.
__device__ inline void find_dense_bitlines(const Load& load, const Tile& tile,
                                           TileScratch& scratch) {
  const uint32_t thread = this_thread();
  const uint64_t first_group = tile.place >> kGroupBits;  // in a line
  const uint32_t groups =
      static_cast<uint32_t>(((tile.place + tile.patch.rows - 1) >> kGroupBits) - first_group) + 1;
  const uint32_t squares = tile.lines / kWarp;  // of a group; lines are many times a warp's
  const uint32_t lane = thread % kWarp;
  const uint32_t items = groups * squares;
  for (uint32_t turn = thread / kWarp; turn < tile.values * items; turn += kThreads / kWarp) {
    const uint32_t value = turn / items, item = turn % items;
    const uint32_t word = item % squares, line = word * kWarp + lane;
    const uint64_t in_line = first_group + item / squares;
    const uint64_t line_group = (tile.first_line + line) * tile.line_length >> kGroupBits;
    const uint64_t dense = scratch.line[tile.values * line + value].dense;
    const uint32_t weak = dense_weak(load.chip, line_group + in_line, dense);
    if (__ballot_sync(~0u, weak != 0) == 0) continue;
    const uint32_t turned = turned_square(weak, lane);
    // Beyond the tile's rows on either side: a large number.
    const uint64_t row = (in_line << kGroupBits) + lane - tile.place;
    if (row >= tile.patch.rows) continue;
    const uint32_t at = static_cast<uint32_t>(row) * tile.pitch + word;
    scratch.masks[value * tile.one() + at] = kept(load, tile, tile.group(at), turned);
  }
}

// A mark on a cell, in line space, that one of the tile's lines has in it.
template <bool kBitlines>
__device__ inline void judge_in_line(const Load& load, const Tile& tile, TileScratch& scratch,
                                     Mark mark, uint32_t line, uint64_t cell) {
  let_go();
  const WeakThresholds* const of_line = scratch.line + tile.values * line;
  const bool zero = mark.below(load.chip, of_line[0].sparse);
  const bool one = tile.values == 2 && mark.below(load.chip, of_line[1].sparse);
  if (!(zero || one)) return;
  uint32_t row = 0;
  if constexpr (kBitlines) {
    row = static_cast<uint32_t>(cell - tile.line_begin(line));
    cell = tile.patch.origin + row * tile.patch.stride + line;
  }
  if (!cell_fails(load.chip, cell, load.access, tile.region.failure)) return;
  const uint32_t at = tile.mask_bit(row, cell);
  if (zero) join(scratch.masks, at);
  if (one) join(scratch.masks + kTileMaskWords, at);
}

// The marks of a level whose blocks are no longer than a line: most lines do not reach the shallow
// levels, of many small blocks. A block that two lines share is visited for each, for its own
// cells.
template <bool kBitlines>
__device__ inline void find_line_by_line(const Load& load, const Tile& tile, TileScratch& scratch,
                                         int level) {
  const uint32_t thread = this_thread();
  const int bits = block_bits(level);
  const uint64_t longest =
      kBitlines ? tile.patch.rows : PatchGrid::smaller(tile.line_length, tile.patch.columns);
  const uint32_t blocks = static_cast<uint32_t>((longest - 1) >> bits) + 2;
  for (uint32_t turn = thread; turn < blocks * tile.lines; turn += kThreads) {
    const uint32_t line = turn / blocks;
    const WeakThresholds* const of_line = scratch.line + tile.values * line;
    if (first_level(of_line[0].sparse) > level &&
        (tile.values == 1 || first_level(of_line[1].sparse) > level)) {
      continue;
    }
    let_go();
    const uint64_t block = (tile.line_begin(line) >> bits) + turn % blocks;
    if (block > (tile.line_end(line) - 1) >> bits) continue;
    visit_marks_of<1>(thread, load.chip, level, block, [&](const Mark& mark) {
      const uint64_t cell = mark.cell();
      if (cell < tile.line_begin(line) || cell >= tile.line_end(line)) return;
      judge_in_line<kBitlines>(load, tile, scratch, mark, line, cell);
    });
  }
}

// Those of a level whose blocks lines share.
template <bool kBitlines>
__device__ inline void find_in_lines(const Load& load, const Tile& tile, TileScratch& scratch,
                                     int level) {
  const uint32_t thread = this_thread();
  const int bits = block_bits(level);
  for (uint32_t turn = thread / kMarkLanes;; turn += kThreads / kMarkLanes) {
    let_go();
    const uint64_t block = (tile.line_begin(0) >> bits) + turn;
    if (block > (tile.line_end(tile.lines - 1) - 1) >> bits) return;
    visit_marks_of<kMarkLanes>(thread, load.chip, level, block, [&](const Mark& mark) {
      const uint64_t cell = mark.cell();
      const uint32_t line = tile.line_of(cell);
      if (line == tile.lines || cell < tile.line_begin(line) || cell >= tile.line_end(line)) return;
      judge_in_line<kBitlines>(load, tile, scratch, mark, line, cell);
    });
  }
}

// Models 1 and 2.
template <bool kBitlines>
__device__ inline void find_lines(const Load& load, const Tile& tile, TileScratch& scratch) {
  find_thresholds(load, tile, scratch);
  if ((scratch.reached & kReachesDense) != 0) {
    if constexpr (kBitlines) {
      find_dense_bitlines(load, tile, scratch);
    } else {
      const uint32_t thread = this_thread();
      const uint32_t words = tile.mask_words();
      for (uint32_t turn = thread; turn < tile.values * words; turn += kThreads) {
        const uint32_t value = turn / words, w = turn % words;
        const uint64_t group = tile.group(w);
        const uint32_t line = tile.line_of(group << kGroupBits);
        const uint64_t dense = scratch.line[tile.values * line + value].dense;
        scratch.masks[value * tile.one() + w] =
            kept(load, tile, group, dense_weak(load.chip, group, dense));
      }
    }
    __syncthreads();
  }
  EDEN_ROLLED
  for (int level = kFirstLevel; level <= kLastLevel; ++level) {
    let_go();
    // Not reached by any line, as the lines' first levels lie deeper.
    if ((scratch.reached & ((uint32_t{2} << level) - 1)) == 0) continue;
    if (uint64_t{1} << block_bits(level) <= tile.line_length) {
      find_line_by_line<kBitlines>(load, tile, scratch, level);
    } else {
      find_in_lines<kBitlines>(load, tile, scratch, level);
    }
  }
  __syncthreads();
}

// A chip's own weak cells.
__device__ inline void find_map(const Load& load, const Tile& tile, TileScratch& scratch) {
  const uint32_t thread = this_thread();
  clear_masks(tile, scratch);
  __syncthreads();
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
  for (int64_t i = first + thread; i < length; i += kThreads) {
    const uint64_t cell = static_cast<uint64_t>(entries[i]) >> kMapFlagBits;
    if (cell >= end) break;
    // Entries that are not in order must not lead out of the masks.
    if (cell < begin) continue;
    if (!cell_fails(load.chip, cell, load.access, tile.region.failure)) continue;
    const uint32_t place = tile.mask_bit(0, cell);
    if (entries[i] & kMapFlipsZero) join(scratch.masks, place);
    if (entries[i] & kMapFlipsOne) join(scratch.masks + kTileMaskWords, place);
  }
  __syncthreads();
}

// After it, all threads of the block see the tile's masks.
__device__ inline void find_flips(const Load& load, const Tile& tile, TileScratch& scratch) {
  switch (tile.region.model) {
    case ModelKind::kCell:
      return find_cells(load, tile, scratch);
    case ModelKind::kBitline:
      return find_lines<true>(load, tile, scratch);
    case ModelKind::kWordline:
      return find_lines<false>(load, tile, scratch);
    case ModelKind::kMap:
      return find_map(load, tile, scratch);
  }
}

}  // namespace eden::cuda
