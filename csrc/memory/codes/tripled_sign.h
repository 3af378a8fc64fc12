// The sign three times: a byte for a number of a sign and five bits of magnitude, which holds the
// magnitude and one copy of the sign each of three numbers. The majority of a number's copies is
// its sign.
#pragma once

#include <cstdint>

#include "base/platform.h"

namespace eden {

// Numbers are coded in tiles. Number i of a tile of n has its magnitude in bits 0 to 4 of byte i,
// and its sign in bit 7 of byte i, bit 6 of byte i + n/3 and bit 5 of byte i + 2(n/3), counted
// around the tile. The copies are in three columns of cells whatever the row's length, since those
// of a byte are neighbours and rows are whole bytes: no bitline joins two. Tiles are 24,576 bytes
// or more wherever an operand has as many, so that copies are 65,536 bits apart or more: no
// wordline of that length or less joins two. An operand of fewer bytes has one tile, and its copies
// are as far apart as three can be.
struct TripledSign {
  static constexpr int kMagnitudeBits = 5;
  static constexpr uint8_t kMagnitude = (1 << kMagnitudeBits) - 1;
  static constexpr int64_t kTileBytes = 3 * 8192;

  // Tiles of so many numbers, one or more: what is left over belongs to the last one, so that none
  // is small beside others.
  EDEN_ALWAYS_INLINE static constexpr int64_t tiles(int64_t numbers) {
    return numbers < 2 * kTileBytes ? 1 : numbers / kTileBytes;
  }

  // A word has a sign, in bit 5, above a magnitude. What a byte holds of a number whose copy 0, 1
  // or 2 it has: with copy 0 goes the magnitude.
  EDEN_ALWAYS_INLINE static constexpr unsigned part_of(unsigned word, int copy) {
    return (word & kSign) << (2 - copy) | (copy == 0 ? word & kMagnitude : 0);
  }
  // The word of a number from the bytes that have its copies.
  EDEN_ALWAYS_INLINE static constexpr unsigned word_of(unsigned first, unsigned second,
                                                       unsigned third) {
    const unsigned minus = said(first, 0) + said(second, 1) + said(third, 2);
    return (first & kMagnitude) | (minus >> 1 & kSign);
  }

  // Words to cells and back; `count` of each, which are one tile.
  static void encode(const uint8_t* __restrict words, int64_t count, uint8_t* __restrict cells) {
    for (int64_t i = 0; i < count; ++i) cells[i] = static_cast<uint8_t>(part_of(words[i], 0));
    for (int copy = 1; copy < 3; ++copy) {
      // Byte b has the sign of number b - copy x third.
      visit_around(count, count - copy * (count / 3), [&](int64_t byte, int64_t number) {
        cells[byte] = static_cast<uint8_t>(cells[byte] | part_of(words[number], copy));
      });
    }
  }

  static void decode(const uint8_t* __restrict cells, int64_t count, uint8_t* __restrict words) {
    // How many copies say minus, above the magnitude.
    for (int64_t i = 0; i < count; ++i) {
      words[i] = static_cast<uint8_t>((cells[i] & kMagnitude) | said(cells[i], 0));
    }
    for (int copy = 1; copy < 3; ++copy) {
      visit_around(count, copy * (count / 3), [&](int64_t number, int64_t byte) {
        words[number] = static_cast<uint8_t>(words[number] + said(cells[byte], copy));
      });
    }
    for (int64_t i = 0; i < count; ++i) {
      words[i] = static_cast<uint8_t>((words[i] & kMagnitude) | (words[i] >> 1 & kSign));
    }
  }

 private:
  static constexpr uint8_t kSign = 1 << kMagnitudeBits;

  // What a byte says of the sign whose copy it has.
  EDEN_ALWAYS_INLINE static constexpr unsigned said(unsigned byte, int copy) {
    return byte >> (2 - copy) & kSign;
  }

  // Calls visit(i, i + by) for all numbers, the latter counted around.
  template <class Visit>
  static void visit_around(int64_t count, int64_t by, Visit&& visit) {
    for (int64_t i = 0; i < count - by; ++i) visit(i, i + by);
    for (int64_t i = count - by; i < count; ++i) visit(i, i + by - count);
  }
};

}  // namespace eden
