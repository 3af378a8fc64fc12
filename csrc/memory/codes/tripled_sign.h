// The sign three times: a byte for a number of a sign and five bits of magnitude, which holds the
// magnitude and one copy of the sign each of three numbers. The majority of a number's copies is
// its sign.
#pragma once

#include <cstdint>

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

  // Words of a sign, in bit 5, above a magnitude, to cells and back; `count` of each.
  static void encode(const uint8_t* words, int64_t count, uint8_t* cells) {
    for (int64_t i = 0; i < count; ++i) cells[i] = words[i] & kMagnitude;
    for (int copy = 0; copy < 3; ++copy) {
      visit_copies(count, copy, [&](int64_t number, int64_t byte) {
        const unsigned sign = words[number] >> kMagnitudeBits & 1;
        cells[byte] = static_cast<uint8_t>(cells[byte] | sign << (7 - copy));
      });
    }
  }

  static void decode(const uint8_t* cells, int64_t count, uint8_t* words) {
    const int64_t third = count / 3;
    for (int64_t i = 0; i < count; ++i) {
      const unsigned a = cells[i] >> 7 & 1;
      const unsigned b = cells[around(i + third, count)] >> 6 & 1;
      const unsigned c = cells[around(i + 2 * third, count)] >> 5 & 1;
      const unsigned sign = (a & b) | (a & c) | (b & c);
      words[i] = static_cast<uint8_t>((cells[i] & kMagnitude) | sign << kMagnitudeBits);
    }
  }

 private:
  static int64_t around(int64_t place, int64_t count) {
    return place < count ? place : place - count;
  }

  template <class Visit>
  static void visit_copies(int64_t count, int copy, Visit&& visit) {
    for (int64_t i = 0; i < count; ++i) visit(i, around(i + copy * (count / 3), count));
  }
};

}  // namespace eden
