// Which cells of a chip are weak and which of their reads fail: functions of (chip, cell address,
// access number) alone, the same on every backend. How rates become the thresholds used here is in
// region.h.
#pragma once

#include "core/poisson.h"
#include "core/random_layout.h"
#include "core/region.h"

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

// Calls visit(cell, code) for every mark of a block. Several marks can lie on one cell, so what
// visit does must be idempotent.
template <class Visit>
EDEN_HOST_DEVICE inline void visit_marks(uint64_t chip, int level, uint64_t block, Visit&& visit) {
  const int bits = block_bits(level);
  const uint64_t first_cell = block << bits;
  const uint64_t octave = static_cast<uint64_t>(kLastLevel - level) << kCodeOctaveShift;
  const auto emit = [&](uint32_t position, uint32_t mark) {
    visit(first_cell + (static_cast<uint64_t>(position) >> (32 - bits)), octave | mark);
  };
  const PhiloxWords head = draw(chip, Stream::kSparseMark, level, block, 0);
  const int count = poisson_count(head.word[0] | (static_cast<uint64_t>(head.word[1]) << 32));
  if (count > 0) emit(head.word[2], head.word[3]);
  for (int done = 1; done < count; done += 2) {
    const PhiloxWords words =
        draw(chip, Stream::kSparseMark, level, block, static_cast<uint32_t>(done + 1) / 2);
    emit(words.word[0], words.word[1]);
    if (done + 1 < count) emit(words.word[2], words.word[3]);
  }
}

// 128 Bernoulli variables of one probability, one to a bit, from their binary digits: the
// comparison of each cell's uniform number with the probability goes from the most significant
// digit until every cell in `wanted` is decided.
struct CellGroup {
  uint32_t word[4];
};

inline constexpr int kGroupBits = 7;
inline constexpr int kFractionDigits = 64;

template <class DrawDigit>
EDEN_HOST_DEVICE inline CellGroup bernoulli_group(uint64_t probability, CellGroup wanted,
                                                  DrawDigit&& draw_digit) {
  CellGroup result{{0, 0, 0, 0}};
  if (probability == 0) return result;
  if (probability == kAlways) return wanted;
  CellGroup open = wanted;
  for (int digit = 0; digit < kFractionDigits; ++digit) {
    if ((open.word[0] | open.word[1] | open.word[2] | open.word[3]) == 0) break;
    // No digit of the probability is left to be above the number's.
    if ((probability << digit) == 0) break;
    const PhiloxWords digits = draw_digit(static_cast<uint32_t>(digit));
    if ((probability << digit) >> (kFractionDigits - 1)) {
      for (int i = 0; i < 4; ++i) {
        result.word[i] |= open.word[i] & ~digits.word[i];
        open.word[i] &= digits.word[i];
      }
    } else {
      for (int i = 0; i < 4; ++i) open.word[i] &= ~digits.word[i];
    }
  }
  return result;
}

// The dense part of a group's weak cells, for one probability.
EDEN_HOST_DEVICE inline CellGroup dense_weak(uint64_t chip, uint64_t group, uint64_t probability) {
  return bernoulli_group(probability, {{~0u, ~0u, ~0u, ~0u}}, [&](uint32_t digit) {
    return draw(chip, Stream::kDenseMark, 0, group, digit);
  });
}

// Which of the wanted cells of a group, were they weak, would fail at this access.
EDEN_HOST_DEVICE inline CellGroup failing(uint64_t chip, uint64_t group, uint64_t access,
                                          uint64_t failure, CellGroup wanted) {
  constexpr int kDigitShift = 20;
  const uint32_t access_low = static_cast<uint32_t>(access);
  const uint32_t access_high = static_cast<uint32_t>(access >> 32) & ((1u << kDigitShift) - 1u);
  return bernoulli_group(failure, wanted, [&](uint32_t digit) {
    return draw(chip, Stream::kFailure, (digit << kDigitShift) | access_high, group, access_low);
  });
}

EDEN_HOST_DEVICE inline bool cell_fails(uint64_t chip, uint64_t cell, uint64_t access,
                                        uint64_t failure) {
  if (failure == kAlways) return true;
  const int bit = static_cast<int>(cell & ((1u << kGroupBits) - 1u));
  CellGroup wanted{{0, 0, 0, 0}};
  wanted.word[bit >> 5] = 1u << (bit & 31);
  const CellGroup result = failing(chip, cell >> kGroupBits, access, failure, wanted);
  return (result.word[bit >> 5] & wanted.word[bit >> 5]) != 0;
}

}  // namespace eden
