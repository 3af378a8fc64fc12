// The layout of Philox counter and key: what is drawn from which number. A change of anything here,
// or of how weak_cells.h reads the numbers, changes which cells of a chip are weak, so it takes a
// new version, and every file records it.
#pragma once

#include "base/philox.h"

namespace eden {

inline constexpr int kRandomLayoutVersion = 2;

// The key is the chip's seed. The counter is (index, index, sub-index, stream | detail), so no two
// purposes share a number.
enum class Stream : uint32_t {
  kSparseMark = 1,  // index: block of cells; sub-index: draw; detail: level
  kMarkTail = 2,    // index: block of cells; sub-index: mark; detail: level
  kDenseMark = 3,   // index: group of 32 cells; sub-index: four binary digits
  kFailure = 4,     // index: group of 32 cells; sub-index: low half of the access number; detail:
                    // four binary digits, high part of the access number
  kLine = 5,        // index: four lines
  kChip = 6,        // index: which chip; sub-index: purpose
  kSearch = 7,      // index: trial; what a search draws for itself
  kMapOrder = 8,    // index: cell of a map; the order in which a map's cells go as its rate falls
};

inline constexpr int kStreamShift = 28;

EDEN_HOST_DEVICE inline PhiloxWords draw(uint64_t key, Stream stream, uint32_t detail,
                                         uint64_t index, uint32_t sub_index) {
  return philox4x32_10({{static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                         sub_index, (static_cast<uint32_t>(stream) << kStreamShift) | detail}},
                       key);
}

// Why a chip is drawn; chips of different purposes never coincide but by a collision of 64-bit
// numbers.
enum class ChipPurpose : uint32_t {
  kTraining = 0,
  kSearch = 1,
  kConfirmation = 2,
  kEvaluation = 3
};

// The seed of the index-th chip that a run with this seed draws for a purpose.
inline uint64_t derive_chip(uint64_t seed, ChipPurpose purpose, uint64_t index) {
  const PhiloxWords words = draw(seed, Stream::kChip, 0, index, static_cast<uint32_t>(purpose));
  return static_cast<uint64_t>(words.word[0]) | (static_cast<uint64_t>(words.word[1]) << 32);
}

}  // namespace eden
