// A Hamming code with a parity bit inside of a word of 16 bits: 11 bits of data. One error is
// corrected; where two are detected, the word is read as zeros.
#pragma once

#include <cstdint>

#include "base/platform.h"

namespace eden {

// R. W. Hamming, "Error Detecting and Error Correcting Codes", Bell System Technical Journal 29
// (1950), section 5: the checks are the bits 1, 2, 4 and 8, each the parity of the bits in whose
// numbers it occurs, and bit 0 is the parity of all. So the checks that fail add up to the
// number of the bit that is wrong. The data are the other bits in their order.
struct ExtendedHamming {
  static constexpr int kIndexBits = 4;
  static constexpr int kDataBits = 11;

  // Whether the word has an odd number of ones, above the sum of the numbers of its ones.
  EDEN_ALWAYS_INLINE static constexpr uint32_t syndrome(uint32_t word) {
    uint32_t found = 0;
    for (int bit = kIndexBits - 1; bit >= 0; --bit) {
      const int half = 1 << bit;
      uint32_t upper = word >> half;
      word = (word ^ upper) & ((uint32_t{1} << half) - 1);
      for (int fold = half / 2; fold > 0; fold /= 2) upper ^= upper >> fold;
      found |= (upper & 1) << bit;
    }
    return found | word << kIndexBits;
  }

  EDEN_ALWAYS_INLINE static constexpr uint32_t protect(uint32_t data) {
    uint32_t word = 0;
    for (int bit = 1; bit < kIndexBits; ++bit) {
      // Of the bits between two checks.
      const uint32_t between = (uint32_t{1} << ((1 << bit) - 1)) - 1;
      const int before = (1 << bit) - bit - 1;
      word |= (data >> before & between) << ((1 << bit) + 1);
    }
    const uint32_t sum = syndrome(word);
    for (int bit = 0; bit < kIndexBits; ++bit) word |= (sum >> bit & 1) << (1 << bit);
    // The checks that are set count, too.
    return word | (syndrome(word) >> kIndexBits);
  }

  EDEN_ALWAYS_INLINE static constexpr uint32_t recover(uint32_t word) {
    const uint32_t found = syndrome(word);
    const uint32_t odd = found >> kIndexBits, number = found & 15;
    word ^= odd << number;
    const uint32_t kept = (odd == 0) & (number != 0) ? 0 : ~uint32_t{0};
    uint32_t data = 0;
    for (int bit = 1; bit < kIndexBits; ++bit) {
      const uint32_t between = (uint32_t{1} << ((1 << bit) - 1)) - 1;
      data |= (word >> ((1 << bit) + 1) & between) << ((1 << bit) - bit - 1);
    }
    return data & kept;
  }

  // recover(protect(data)).
  EDEN_ALWAYS_INLINE static constexpr uint32_t kept(uint32_t data) { return data; }
};

}  // namespace eden
