// Which cells of a chip are weak and which of their reads fail: functions of (chip, cell address,
// access number) alone, the same on every backend. How rates become the thresholds used here is in
// region.h.
#pragma once

#include "base/poisson.h"
#include "base/random_layout.h"
#include "memory/region.h"

namespace eden {

// Cells per block of a level: the block's marks are a Poisson variable of mean 8.
EDEN_HOST_DEVICE inline int block_bits(int level) {
  return (level < kLastLevel ? level + 1 : kLastLevel) + kMarksPerBlockLog2;
}

// The shallowest level that holds marks below a threshold; kLastLevel + 1 if none does.
EDEN_HOST_DEVICE inline int first_level(uint64_t threshold) {
  return threshold == 0 ? kLastLevel + 1
                        : kLastLevel - static_cast<int>((threshold - 1) >> kCodeOctaveShift);
}

// A mark is one 32-bit word: the cell in its highest block_bits, the first bits of the position in
// the octave below them. The position's remaining bits are drawn only where those known leave a
// comparison open.
struct Mark {
  uint64_t block;
  uint32_t ordinal;  // in its block
  int level;
  uint32_t word;

  EDEN_HOST_DEVICE uint64_t cell() const {
    const int bits = block_bits(level);
    return (block << bits) + (word >> (32 - bits));
  }
  // The position's known bits, in their place.
  EDEN_HOST_DEVICE uint32_t position() const {
    const int bits = block_bits(level);
    return bits < 32 ? word << bits : 0;
  }
  EDEN_HOST_DEVICE uint32_t unknown() const {
    return static_cast<uint32_t>((uint64_t{1} << block_bits(level)) - 1);
  }
  EDEN_HOST_DEVICE uint32_t tail(uint64_t chip) const {
    return draw(chip, Stream::kMarkTail, static_cast<uint32_t>(level), block, ordinal).word[0] &
           unknown();
  }
  EDEN_HOST_DEVICE bool below(uint64_t chip, uint64_t threshold) const {
    const uint64_t octave = static_cast<uint64_t>(kLastLevel - level) << kCodeOctaveShift;
    const uint64_t code = octave | position();
    if ((code | unknown()) < threshold) return true;
    if (code >= threshold) return false;
    return (code | tail(chip)) < threshold;
  }
};

// A block's first draw gives the number of its marks in two words and two marks; every further one
// gives four.
inline constexpr int kMarksInHead = 2;
inline constexpr int kMarksInDraw = 4;

EDEN_HOST_DEVICE inline PhiloxWords draw_marks(uint64_t chip, int level, uint64_t block,
                                               uint32_t which) {
  return draw(chip, Stream::kSparseMark, static_cast<uint32_t>(level), block, which);
}

EDEN_HOST_DEVICE inline int mark_count(const PhiloxWords& head) {
  return poisson_count(head.word[0] | (static_cast<uint64_t>(head.word[1]) << 32));
}

// Calls visit(mark) for every mark of a block. Several marks can lie on one cell, so what visit
// does must be idempotent.
template <class Visit>
EDEN_HOST_DEVICE inline void visit_marks(uint64_t chip, int level, uint64_t block, Visit&& visit) {
  PhiloxWords words = draw_marks(chip, level, block, 0);
  const int count = mark_count(words);
  for (int i = 0; i < count; ++i) {
    const int place = i + kMarksInDraw - kMarksInHead;  // among all words of the draws
    if (i >= kMarksInHead && place % kMarksInDraw == 0) {
      words = draw_marks(chip, level, block, static_cast<uint32_t>(place / kMarksInDraw));
    }
    visit(Mark{block, static_cast<uint32_t>(i), level, words.word[place % kMarksInDraw]});
  }
}

// Bernoulli variables of 32 cells, one to a bit, from the binary digits of their uniform numbers:
// the comparison of each cell's number with the probability goes from the most significant digit,
// four to a draw, until every cell in `wanted` is decided.
inline constexpr int kGroupBits = 5;
inline constexpr int kGroupCells = 1 << kGroupBits;
inline constexpr int kDigitsInDraw = 4;
inline constexpr int kFractionDigits = 64;

struct OpenGroup {
  uint32_t result = 0;  // cells decided to be below
  uint32_t open = 0;    // cells not decided yet
};

EDEN_HOST_DEVICE inline void compare_digits(uint64_t probability, int first_digit,
                                            const PhiloxWords& digits, OpenGroup& group) {
  for (int i = 0; i < kDigitsInDraw; ++i) {
    if ((probability << (first_digit + i)) >> (kFractionDigits - 1)) {
      group.result |= group.open & ~digits.word[i];
      group.open &= digits.word[i];
    } else {
      group.open &= ~digits.word[i];
    }
  }
}

// draw_digits(i) gives digits 4i to 4i + 3.
template <class DrawDigits>
EDEN_HOST_DEVICE inline uint32_t bernoulli_group(uint64_t probability, uint32_t wanted,
                                                 DrawDigits&& draw_digits) {
  if (probability == 0) return 0;
  if (probability == kAlways) return wanted;
  OpenGroup group{0, wanted};
  for (int digit = 0; digit < kFractionDigits && group.open != 0; digit += kDigitsInDraw) {
    compare_digits(probability, digit, draw_digits(static_cast<uint32_t>(digit / kDigitsInDraw)),
                   group);
  }
  return group.result;
}

EDEN_HOST_DEVICE inline PhiloxWords dense_digits(uint64_t chip, uint64_t group, uint32_t which) {
  return draw(chip, Stream::kDenseMark, 0, group, which);
}

// The dense part of a group's weak cells, for one probability.
EDEN_HOST_DEVICE inline uint32_t dense_weak(uint64_t chip, uint64_t group, uint64_t probability) {
  return bernoulli_group(probability, ~0u,
                         [&](uint32_t which) { return dense_digits(chip, group, which); });
}

EDEN_HOST_DEVICE inline PhiloxWords failure_digits(uint64_t chip, uint64_t group, uint64_t access,
                                                   uint32_t which) {
  return draw(chip, Stream::kFailure, failure_detail(access, which), group,
              static_cast<uint32_t>(access));
}

// Which of the wanted cells of a group, were they weak, would fail at this access.
EDEN_HOST_DEVICE inline uint32_t failing(uint64_t chip, uint64_t group, uint64_t access,
                                         uint64_t failure, uint32_t wanted) {
  return bernoulli_group(
      failure, wanted, [&](uint32_t which) { return failure_digits(chip, group, access, which); });
}

EDEN_HOST_DEVICE inline bool cell_fails(uint64_t chip, uint64_t cell, uint64_t access,
                                        uint64_t failure) {
  if (failure == kAlways) return true;
  return failing(chip, cell >> kGroupBits, access, failure, 1u << (cell & (kGroupCells - 1u))) != 0;
}

}  // namespace eden
