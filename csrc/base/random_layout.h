// The layout of Philox counter and key: what is drawn from which number. A change of anything here,
// or of how weak_cells.h reads the numbers, changes which cells of a chip are weak, so it takes a
// new version, and every file records it. Which chips a run draws has another one, drawn_chips.h.
#pragma once

#include "base/philox.h"

namespace eden {

inline constexpr int kRandomLayoutVersion = 2;

// The key is the chip's seed, the counter (index, index, sub-index, word). What a number is for
// stands in the word, its stream above a detail, so no two purposes share a number: kWords.
enum class Stream : uint32_t {
  kSparseMark = 1,  // index: block of cells; sub-index: draw; detail: level
  kMarkTail = 2,    // index: block of cells; sub-index: mark; detail: level
  kDenseMark = 3,   // index: group of 32 cells; sub-index: four binary digits
  kFailure = 4,     // index: group of 32 cells; sub-index: low half of the access number; detail:
                    // failure_detail
  kLine = 5,        // index: four lines; detail: 1 for stored ones where they have other marks
  kChip = 6,        // index: half of a chip's number; sub-index: purpose; detail: round
  kSearch = 7,      // index: trial; what a search draws for itself
  kMapOrder = 8,    // index: cell of a map; the order in which a map's cells go as its rate falls
};

// Of a device's population (index: pair of numbers; sub-index: place). It has no stream: between
// the words of failures there is room.
inline constexpr uint32_t kPopulationWord = 0x43525631u;

EDEN_ALWAYS_INLINE constexpr uint32_t counter_word(Stream stream, uint32_t detail) {
  constexpr int kStreamShift = 28;
  return (static_cast<uint32_t>(stream) << kStreamShift) | detail;
}

// Reads are numbered below 2^kAccessBits; others are refused (memory/region_check.h).
inline constexpr int kAccessBits = 54;
inline constexpr int kFailureDigitsShift = 24;

// Binary digits 4 x which to 4 x which + 3 at an access.
EDEN_ALWAYS_INLINE constexpr uint32_t failure_detail(uint64_t access, uint32_t which) {
  return (which << kFailureDigitsShift) | static_cast<uint32_t>(access >> 32);
}

// The words that each purpose takes: `count` ranges of `length` words, `step` apart.
struct CounterWords {
  uint32_t first, length, count = 1, step = 0;
};
inline constexpr uint32_t kDetails = uint32_t{1} << 28;
inline constexpr CounterWords kWords[] = {
    {counter_word(Stream::kSparseMark, 0), kDetails},
    {counter_word(Stream::kMarkTail, 0), kDetails},
    {counter_word(Stream::kDenseMark, 0), kDetails},
    {counter_word(Stream::kFailure, 0), uint32_t{1} << (kAccessBits - 32), 16,
     uint32_t{1} << kFailureDigitsShift},
    {kPopulationWord, 1},
    {counter_word(Stream::kLine, 0), kDetails},
    {counter_word(Stream::kChip, 0), kDetails},
    {counter_word(Stream::kSearch, 0), kDetails},
    {counter_word(Stream::kMapOrder, 0), kDetails},
};

constexpr bool words_overlap() {
  uint64_t ends[64] = {};
  int ranges = 0;
  for (const CounterWords& words : kWords) {
    for (uint32_t i = 0; i < words.count; ++i) {
      const uint64_t first = uint64_t{words.first} + uint64_t{i} * words.step;
      for (int j = 0; j < ranges; j += 2) {
        if (first < ends[j + 1] && ends[j] < first + words.length) return true;
      }
      ends[ranges++] = first;
      ends[ranges++] = first + words.length;
    }
  }
  return false;
}
static_assert(!words_overlap());

EDEN_HOST_DEVICE inline PhiloxWords draw(uint64_t key, Stream stream, uint32_t detail,
                                         uint64_t index, uint32_t sub_index) {
  return philox4x32_10({{static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                         sub_index, counter_word(stream, detail)}},
                       key);
}

}  // namespace eden
