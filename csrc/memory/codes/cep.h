// CEP: a parity bit for every three bits of a word, in the lowest quarter of it; three whose parity
// is wrong are read as zeros.
#pragma once

#include <cstdint>

#include "base/platform.h"

namespace eden {

// M. H. Ahmadilivani et al., "Effective and Memory-Efficient Alternatives to ECC for Reliable
// Large-Scale DNNs", IOLTS 2026, arXiv 2605.07417, in the finest of its three forms, as their code
// has it (github.com/rezzubs/faultforge, D3P1): of a word of w bits, bits w-1, w-2 and w-3 belong
// to parity bit w/4 - 1, the next three to the one below, and so on. Parity bits are read as zeros.
template <int kWidth>
struct Cep {
  static constexpr int kChunks = kWidth / 4;

  // The parity of each chunk, at its parity bit.
  EDEN_ALWAYS_INLINE static constexpr uint32_t parities(uint32_t word) {
    uint32_t found = 0;
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const int low = kChunks + 3 * chunk;
      found |= ((word >> low ^ word >> (low + 1) ^ word >> (low + 2)) & 1) << chunk;
    }
    return found;
  }
  EDEN_ALWAYS_INLINE static constexpr uint32_t protect(uint32_t word) {
    return kept(word) | parities(word);
  }
  EDEN_ALWAYS_INLINE static constexpr uint32_t recover(uint32_t word) {
    const uint32_t wrong = parities(word) ^ word;
    uint32_t whole = 0;
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const uint32_t right = (wrong >> chunk & 1) - 1;  // all ones where the parity is right
      whole |= (uint32_t{7} << (kChunks + 3 * chunk)) & right;
    }
    return word & whole;
  }
  // recover(protect(word)).
  EDEN_ALWAYS_INLINE static constexpr uint32_t kept(uint32_t word) {
    return word & ~((uint32_t{1} << kChunks) - 1);
  }
};

}  // namespace eden
