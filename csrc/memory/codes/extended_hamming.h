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

  struct Sums {
    uint8_t of_byte[2][256];
  };
  EDEN_HOST_DEVICE static constexpr Sums make_sums() {
    Sums sums{};
    for (int bit = 0; bit < 16; ++bit) {
      for (int value = 0; value < 256; ++value) {
        uint8_t& sum = sums.of_byte[bit / 8][value];
        if ((value >> bit % 8 & 1) != 0) sum = static_cast<uint8_t>(sum ^ (16 | bit));
      }
    }
    return sums;
  }
  // Of the bits of data between check `bit` and the next one: a mask, and how many come before.
  EDEN_ALWAYS_INLINE static constexpr uint32_t between(int bit) {
    return (uint32_t{1} << ((1 << bit) - 1)) - 1;
  }
  EDEN_ALWAYS_INLINE static constexpr int before(int bit) { return (1 << bit) - bit - 1; }

  // The sum of the numbers of a word's ones, and above it whether they are odd in number.
  EDEN_ALWAYS_INLINE static uint32_t syndrome(uint32_t word) {
    static constexpr Sums kSums = make_sums();
    return uint32_t{kSums.of_byte[0][word & 255]} ^ kSums.of_byte[1][word >> 8 & 255];
  }

  EDEN_ALWAYS_INLINE static uint32_t protect(uint32_t data) {
    uint32_t word = 0;
    for (int bit = 1; bit < kIndexBits; ++bit)
      word |= (data >> before(bit) & between(bit)) << (1 << bit) << 1;
    const uint32_t sum = syndrome(word);
    for (int bit = 0; bit < kIndexBits; ++bit) word |= (sum >> bit & 1) << (1 << bit);
    // The checks that are set count, too.
    return word | (syndrome(word) >> kIndexBits);
  }

  EDEN_ALWAYS_INLINE static uint32_t recover(uint32_t word) {
    const uint32_t found = syndrome(word);
    const uint32_t odd = found >> kIndexBits, number = found & 15;
    if ((odd == 0) & (number != 0)) return 0;
    word ^= odd << number;
    uint32_t data = 0;
    for (int bit = 1; bit < kIndexBits; ++bit)
      data |= (word >> (1 << bit) >> 1 & between(bit)) << before(bit);
    return data;
  }

  // recover(protect(data)).
  EDEN_ALWAYS_INLINE static constexpr uint32_t kept(uint32_t data) { return data; }
};

}  // namespace eden
