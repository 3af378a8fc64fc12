// SECDED(72,64): eight check bits beside 64 bits of words. One error among the 72 is corrected, two
// are detected.
#pragma once

#include <cstdint>

#include "base/platform.h"

namespace eden {

// The odd-weight-column code of M. Y. Hsiao, "A Class of Optimal Minimum Odd-weight-column SEC-DED
// Codes", IBM Journal of Research and Development 14 (1970): the columns of data bits 0 to 55 are
// the 56 bytes of three ones, ascending; those of 56 to 63 the rotations of five ones in a row,
// from 00011111 on; that of check bit c is 1 << c. Every row has 26 ones beside its check bit.
struct Secded {
  static constexpr int kDataBits = 64;
  static constexpr int kDataBytes = 8;
  static constexpr int kBlockBytes = 9;  // the data, least significant byte first, and the checks

  struct Decoded {
    uint64_t data;
    bool detected;  // the errors are more than one, and their number is even or no column's
  };

  EDEN_HOST_DEVICE static constexpr uint8_t column(int bit) {
    if (bit >= 56) {
      const unsigned twice = 0x1fu << (bit - 56);
      return static_cast<uint8_t>(twice | (twice >> 8));
    }
    for (unsigned byte = 0, seen = 0;; ++byte) {
      if (__builtin_popcount(byte) == 3 && seen++ == static_cast<unsigned>(bit)) {
        return static_cast<uint8_t>(byte);
      }
    }
  }

  // For each byte of the data and its values, what they add to the check bits; for each syndrome,
  // the data bit that it is the column of, kNoBit for none.
  static constexpr uint8_t kNoBit = 0xff;
  struct Tables {
    uint8_t of_byte[kDataBytes][256];
    uint8_t bit[256];
  };
  EDEN_HOST_DEVICE static constexpr Tables make_tables() {
    Tables tables{};
    for (uint8_t& bit : tables.bit) bit = kNoBit;
    for (int bit = 0; bit < kDataBits; ++bit) {
      const uint8_t ones = column(bit);
      tables.bit[ones] = static_cast<uint8_t>(bit);
      for (int value = 0; value < 256; ++value) {
        if ((value >> bit % 8 & 1) != 0) tables.of_byte[bit / 8][value] ^= ones;
      }
    }
    return tables;
  }

  EDEN_ALWAYS_INLINE static uint8_t checks(uint64_t data) {
    uint8_t found = 0;
    for (int byte = 0; byte < kDataBytes; ++byte) {
      found = static_cast<uint8_t>(found ^ tables().of_byte[byte][data >> (8 * byte) & 0xff]);
    }
    return found;
  }

  // As the circuit does: a syndrome of an even number of ones is a detected error, a column's
  // inverts that bit (a miscorrection, if three errors or more made it), any other is detected.
  EDEN_ALWAYS_INLINE static Decoded decode(uint64_t data, uint8_t check) {
    const auto syndrome = static_cast<uint8_t>(checks(data) ^ check);
    const uint8_t bit = tables().bit[syndrome];
    // Without a branch: where errors are many, which of these it is is as random as they are.
    const bool is_data = bit != kNoBit;
    const bool is_check = (syndrome & (syndrome - 1)) == 0;  // or none
    return {data ^ (uint64_t{is_data} << (bit % kDataBits)), !is_data && !is_check};
  }

  // Whether a block of flips has no more than one.
  EDEN_ALWAYS_INLINE static constexpr bool at_most_one(uint64_t data, unsigned check) {
    return ((data & (data - 1)) | (check & (check - 1))) == 0 && (data == 0 || check == 0);
  }

 private:
  EDEN_ALWAYS_INLINE static const Tables& tables() {
    static constexpr Tables kTables = make_tables();
    return kTables;
  }
};

}  // namespace eden
