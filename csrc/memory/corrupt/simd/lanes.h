// What every instruction set's lanes are made with.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/poisson.h"
#include "memory/corrupt/simd/tables.h"

// Nothing of a translation unit with flags of its own may be seen by another: see kernels.h.
#define EDEN_INLINE inline __attribute__((always_inline))
#define EDEN_LANES static EDEN_INLINE
#define EDEN_INLINE_LAMBDA __attribute__((always_inline))

// Before a loop: how often it is unrolled.
#define EDEN_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define EDEN_UNROLL(times) EDEN_PRAGMA(unroll times)
#else
#define EDEN_UNROLL(times) EDEN_PRAGMA(GCC unroll times)
#endif

namespace eden::simd::EDEN_ISA_NAMESPACE {
namespace {

// The high words of the table of counts. A count above kPoissonHighWords is left to the exact
// comparison, as is a number whose high word is one of these.
constexpr int kPoissonHighWords = 32;
static_assert(kPoissonTable[kPoissonHighWords - 1] >> 32 == 0xffffffffu);

struct PoissonHigh {
  alignas(64) uint32_t word[kPoissonHighWords];
};
constexpr PoissonHigh make_poisson_high() {
  PoissonHigh high{};
  for (int i = 0; i < kPoissonHighWords; ++i) {
    high.word[i] = static_cast<uint32_t>(kPoissonTable[i] >> 32);
  }
  return high;
}
constexpr PoissonHigh kPoissonHigh = make_poisson_high();

}  // namespace
}  // namespace eden::simd::EDEN_ISA_NAMESPACE
