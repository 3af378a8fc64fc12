// How a group of threads corrupts one tile of an operand, as a CUDA block does it: marks become two
// bit masks of the tile (cells that flip if they store 0, or 1), then every sample's elements pass
// through them once. Written as phases for one thread among many, so that the host runs the very
// same code, one thread after another, to check it without a GPU.
#pragma once

#include "core/load.h"
#include "core/storage.h"
#include "core/weak_cells.h"

namespace eden {

inline constexpr int kTileCellBits = 16;
inline constexpr int kTileCells = 1 << kTileCellBits;
// Whole groups of cells, one more than a tile has because a tile need not begin at a group's first
// cell.
inline constexpr int kTileMaskWords = kTileCells / kGroupCells + 1;

struct TileMasks {
  uint32_t* zero;  // kTileMaskWords words each
  uint32_t* one;
};

struct TileSpan {
  uint64_t begin;  // cells [begin, end)
  uint64_t end;

  EDEN_HOST_DEVICE uint64_t first_group() const { return begin >> kGroupBits; }
  EDEN_HOST_DEVICE int groups() const {
    return static_cast<int>(((end - 1) >> kGroupBits) - first_group()) + 1;
  }
};

// Phase 1: each thread owns some groups and writes their masks with the dense part (often nothing).
EDEN_HOST_DEVICE inline void tile_dense(const Load& load, TileSpan span, TileMasks masks,
                                        int thread, int threads) {
  const Region& region = load.region;
  for (int g = thread; g < span.groups(); g += threads) {
    const uint64_t group = span.first_group() + static_cast<uint64_t>(g);
    uint32_t zero = 0, one = 0;
    if ((region.dense[0] | region.dense[1]) != 0) {
      zero = dense_weak(load.chip, group, region.dense[0]);
      one =
          region.dense[1] == region.dense[0] ? zero : dense_weak(load.chip, group, region.dense[1]);
      const uint32_t fails = failing(load.chip, group, load.access, region.failure, zero | one);
      zero &= fails;
      one &= fails;
    }
    masks.zero[g] = zero;
    masks.one[g] = one;
  }
}

// Phase 2: the blocks of marks that touch the tile, dealt to the threads; atomic_or(word pointer,
// bits) joins them.
template <class AtomicOr>
EDEN_HOST_DEVICE inline void tile_sparse(const Load& load, TileSpan span, TileMasks masks,
                                         int thread, int threads, AtomicOr&& atomic_or) {
  const Region& region = load.region;
  const uint64_t highest =
      region.sparse[0] > region.sparse[1] ? region.sparse[0] : region.sparse[1];
  const uint64_t first_mask_cell = span.first_group() << kGroupBits;
  int64_t turn =
      thread;  // index, among the blocks of the level at hand, of this thread's next block
  for (int level = first_level(highest); level <= kLastLevel; ++level) {
    const uint64_t first_block = span.begin >> block_bits(level);
    const int64_t blocks =
        static_cast<int64_t>(((span.end - 1) >> block_bits(level)) - first_block) + 1;
    for (; turn < blocks; turn += threads) {
      visit_marks(load.chip, level, first_block + static_cast<uint64_t>(turn),
                  [&](const Mark& mark) {
                    const uint64_t cell = mark.cell();
                    if (cell < span.begin || cell >= span.end) return;
                    if (!mark.below(load.chip, highest)) return;
                    if (!cell_fails(load.chip, cell, load.access, region.failure)) return;
                    const uint64_t offset = cell - first_mask_cell;
                    const uint32_t bit = 1u << (offset & 31);
                    if (mark.below(load.chip, region.sparse[0])) {
                      atomic_or(masks.zero + (offset >> 5), bit);
                    }
                    if (mark.below(load.chip, region.sparse[1])) {
                      atomic_or(masks.one + (offset >> 5), bit);
                    }
                  });
    }
    turn -= blocks;
  }
}

// Phase 3: elements [first, last) of one sample, each read once and written once; `in` may be
// `out`.
template <class Codec>
EDEN_HOST_DEVICE inline void tile_elements(const Load& load, TileSpan span, TileMasks masks,
                                           int64_t sample, int64_t first, int64_t last,
                                           const typename Codec::Value* in,
                                           typename Codec::Value* out, int thread, int threads) {
  using Word = typename Codec::Word;
  const uint64_t first_mask_cell = span.first_group() << kGroupBits;
  for (int64_t index = first + thread; index < last; index += threads) {
    const int64_t at = load.shape.tensor_index(sample, index);
    const uint64_t offset =
        load.region.address + static_cast<uint64_t>(index) * Codec::kWidthBits - first_mask_cell;
    const Word zero = static_cast<Word>(masks.zero[offset >> 5] >> (offset & 31));
    const Word one = static_cast<Word>(masks.one[offset >> 5] >> (offset & 31));
    if constexpr (Codec::kIdentity) {
      const Word stored = reinterpret_cast<const Word*>(in)[at];
      const Word read =
          static_cast<Word>(stored ^ ((stored & one) | (static_cast<Word>(~stored) & zero)));
      if constexpr (Codec::kWidthBits == 32) {
        if (load.region.correction != Correction::kNone) {
          // The bits go through memory, not through a conversion, so that a NaN keeps its payload
          // until it is judged.
          float value;
          static_assert(sizeof(value) == sizeof(read));
          __builtin_memcpy(&value, &read, sizeof(value));
          value = correct(value, load.region.correction, load.low, load.high);
          __builtin_memcpy(reinterpret_cast<Word*>(out) + at, &value, sizeof(value));
          continue;
        }
      }
      reinterpret_cast<Word*>(out)[at] = read;
    } else {
      const Word stored = Codec::encode(in[at], load.scale);
      const Word read =
          static_cast<Word>(stored ^ ((stored & one) | (static_cast<Word>(~stored) & zero)));
      out[at] =
          correct(Codec::decode(read, load.scale), load.region.correction, load.low, load.high);
    }
  }
}

}  // namespace eden
