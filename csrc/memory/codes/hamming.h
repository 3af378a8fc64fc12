// A Hamming code within the bytes: two numbers of six bits in two bytes, whose other four bits
// check eleven of the twelve. One error in a block is corrected; the lowest bit of the second
// number is as it is read.
#pragma once

#include <cstdint>

#include "base/platform.h"

namespace eden {

// R. W. Hamming, "Error Detecting and Error Correcting Codes", Bell System Technical Journal 29
// (1950). A block of 16 bits, the least significant byte first, has the first number in bits 0 to
// 5, the second in bits 6 to 11, and the checks in bits 12 to 15. The columns of bits 0 to 5 and 7
// to 11 are the numbers of at least two ones, ascending (3, 5, 6, 7, 9 to 15), that of check c is
// 1 << c, and bit 6 has none. The code is perfect: each syndrome is a column, and two errors become
// three.
struct Hamming {
  static constexpr int kWordBits = 6;
  static constexpr int64_t kBlockWords = 2;
  static constexpr int64_t kBlockBytes = 2;

  static constexpr int kBits = 16;
  static constexpr int kOutside = kWordBits;  // the bit that is not checked
  static constexpr int kChecks = 2 * kWordBits;

  EDEN_HOST_DEVICE static constexpr uint8_t column(int bit) {
    if (bit == kOutside) return 0;
    if (bit >= kChecks) return static_cast<uint8_t>(1 << (bit - kChecks));
    int before = bit < kOutside ? bit : bit - 1;
    uint8_t found = 3;
    while (before > 0) {
      ++found;
      if ((found & (found - 1)) != 0) --before;
    }
    return found;
  }

  static constexpr unsigned kWord = (1 << kWordBits) - 1;

  // What a number in either place adds to the checks; for each syndrome, the bit that is wrong.
  struct Tables {
    uint8_t of_first[1 << kWordBits];
    uint8_t of_second[1 << kWordBits];
    uint16_t wrong[kBits];
  };
  EDEN_HOST_DEVICE static constexpr Tables make_tables() {
    Tables tables{};
    for (int bit = 0; bit < kBits; ++bit) {
      if (bit != kOutside) tables.wrong[column(bit)] = static_cast<uint16_t>(1 << bit);
    }
    for (int word = 0; word < 1 << kWordBits; ++word) {
      for (int bit = 0; bit < kWordBits; ++bit) {
        if ((word >> bit & 1) == 0) continue;
        tables.of_first[word] ^= column(bit);
        tables.of_second[word] ^= column(kWordBits + bit);
      }
    }
    return tables;
  }

  // A block of two numbers, and a block that was read with its error corrected.
  EDEN_ALWAYS_INLINE static unsigned protect(unsigned first, unsigned second) {
    const unsigned block = first | second << kWordBits;
    return block | checks(block) << kChecks;
  }
  EDEN_ALWAYS_INLINE static unsigned recover(unsigned block) {
    return block ^ tables().wrong[checks(block) ^ block >> kChecks];
  }

  // Words to cells and back, an even number of them.
  static void encode(const uint8_t* __restrict words, int64_t count, uint8_t* __restrict cells) {
    for (int64_t i = 0; i < count; i += kBlockWords) {
      const unsigned block = protect(words[i] & kWord, words[i + 1] & kWord);
      cells[i] = static_cast<uint8_t>(block);
      cells[i + 1] = static_cast<uint8_t>(block >> 8);
    }
  }

  static void decode(const uint8_t* __restrict cells, int64_t count, uint8_t* __restrict words) {
    for (int64_t i = 0; i < count; i += kBlockWords) {
      const unsigned block = recover(cells[i] | static_cast<unsigned>(cells[i + 1]) << 8);
      words[i] = static_cast<uint8_t>(block & kWord);
      words[i + 1] = static_cast<uint8_t>(block >> kWordBits & kWord);
    }
  }

 private:
  EDEN_ALWAYS_INLINE static const Tables& tables() {
    static constexpr Tables kTables = make_tables();
    return kTables;
  }
  EDEN_ALWAYS_INLINE static unsigned checks(unsigned block) {
    return tables().of_first[block & kWord] ^ tables().of_second[block >> kWordBits & kWord];
  }
};

}  // namespace eden
