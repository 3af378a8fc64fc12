// MSET: the highest bit of the exponent three times, its copies in the two lowest bits.
#pragma once

#include <cstdint>

#include "base/platform.h"

namespace eden {

// M. H. Ahmadilivani et al., DATE 2026 ("Late Breaking Results: Uncovering the Limits of ECCs in
// Vision Transformers and a Zero-Cost Reliability Enhancement"), as their code has it
// (github.com/rezzubs/faultforge): the bit that is read is the majority of the three, and the
// copies stay in the significand.
template <int kWidth>
struct Mset {
  EDEN_ALWAYS_INLINE static constexpr uint32_t protect(uint32_t word) {
    const uint32_t bit = word >> (kWidth - 2) & 1;
    return (word & ~uint32_t{3}) | bit << 1 | bit;
  }
  EDEN_ALWAYS_INLINE static constexpr uint32_t recover(uint32_t word) {
    const uint32_t a = word >> (kWidth - 2) & 1, b = word >> 1 & 1, c = word & 1;
    const uint32_t majority = (a & b) | (a & c) | (b & c);
    return (word & ~(uint32_t{1} << (kWidth - 2))) | majority << (kWidth - 2);
  }
  // recover(protect(word)).
  EDEN_ALWAYS_INLINE static constexpr uint32_t kept(uint32_t word) { return protect(word); }
};

}  // namespace eden
