// A BCH code with a parity bit inside of a word of 32 bits: 21 bits of data. Two errors are
// corrected; where three are detected, the word is read as zeros.
#pragma once

#include <cstdint>

#include "base/platform.h"

namespace eden {

// R. C. Bose and D. K. Ray-Chaudhuri, "On a Class of Error Correcting Binary Group Codes",
// Information and Control 3 (1960); A. Hocquenghem, Chiffres 2 (1959). Bits 1 to 31 of a word are
// the coefficients of a multiple of the product of the minimal polynomials x^5 + x^2 + 1 and
// x^5 + x^4 + x^3 + x^2 + 1 of a root and its third power, the constant one first; bit 0 is the
// parity of all. The data are bits 11 to 31.
struct Bch {
  static constexpr int kChecks = 10;
  static constexpr int kDataBits = 21;
  static constexpr int kBits = kChecks + kDataBits;  // of the polynomial
  static constexpr uint32_t kGenerator = 0x769;      // x^10 + x^9 + x^8 + x^6 + x^5 + x^3 + 1

  // For each byte of the polynomial and its values, what remains of them; for each remainder, the
  // one or two errors that leave it, as bits of a word, 0 for none.
  struct Tables {
    uint16_t of_byte[4][256];
    uint32_t wrong[1 << kChecks];
  };
  EDEN_HOST_DEVICE static constexpr Tables make_tables() {
    Tables tables{};
    uint32_t left[kBits] = {}, power = 1;
    for (int bit = 0; bit < kBits; ++bit, power <<= 1) {
      if ((power >> kChecks & 1) != 0) power ^= kGenerator;
      left[bit] = power;
      for (int value = 0; value < 256; ++value) {
        if ((value >> bit % 8 & 1) != 0) {
          tables.of_byte[bit / 8][value] =
              static_cast<uint16_t>(tables.of_byte[bit / 8][value] ^ power);
        }
      }
      tables.wrong[power] = uint32_t{2} << bit;
      for (int other = 0; other < bit; ++other) {
        tables.wrong[power ^ left[other]] = uint32_t{2} << bit | uint32_t{2} << other;
      }
    }
    return tables;
  }

  EDEN_ALWAYS_INLINE static const Tables& tables() {
    static constexpr Tables kTables = make_tables();
    return kTables;
  }
  EDEN_ALWAYS_INLINE static uint32_t remainder(uint32_t polynomial) {
    const auto& of_byte = tables().of_byte;
    return uint32_t{of_byte[0][polynomial & 255]} ^ of_byte[1][polynomial >> 8 & 255] ^
           of_byte[2][polynomial >> 16 & 255] ^ of_byte[3][polynomial >> 24];
  }
  EDEN_ALWAYS_INLINE static constexpr uint32_t parity(uint32_t word) {
    for (int fold = 16; fold > 0; fold /= 2) word ^= word >> fold;
    return word & 1;
  }

  EDEN_ALWAYS_INLINE static uint32_t protect(uint32_t data) {
    const uint32_t shifted = data << kChecks;
    const uint32_t word = (shifted | remainder(shifted)) << 1;
    return word | parity(word);
  }

  EDEN_ALWAYS_INLINE static uint32_t recover(uint32_t word) {
    const uint32_t left = remainder(word >> 1), wrong = tables().wrong[left];
    // Errors are two at most: of those found, two leave the parity as it is.
    const bool two = (wrong & (wrong - 1)) != 0;
    const bool detected = (left != 0) & ((wrong == 0) | (two & (parity(word) != 0)));
    return detected ? 0 : (word ^ wrong) >> (kChecks + 1);
  }

  // recover(protect(data)).
  EDEN_ALWAYS_INLINE static constexpr uint32_t kept(uint32_t data) { return data; }
};

}  // namespace eden
