// Four lanes of 32 bits in the compiler's own vectors, which it makes of what the target always
// has.
#pragma once

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "memory/corrupt/simd/lanes.h"

namespace eden::simd::EDEN_ISA_NAMESPACE {
namespace {

constexpr size_t kLanes = 4;
typedef uint32_t Words __attribute__((vector_size(16)));
typedef uint64_t Doubles __attribute__((vector_size(16)));
using Mask = Words;  // all bits of a lane

EDEN_LANES Words load(const void* at) {
  Words words;
  __builtin_memcpy(&words, at, sizeof(words));
  return words;
}
EDEN_LANES void store(void* at, Words words) { __builtin_memcpy(at, &words, sizeof(words)); }
// A store to aligned memory that leaves the caches as they are, and what orders such stores before
// all that follow, where the target has them.
EDEN_LANES void stream(void* at, Words words) {
#if defined(__SSE2__)
  _mm_stream_si128(static_cast<__m128i*>(at), reinterpret_cast<__m128i>(words));
#else
  store(at, words);
#endif
}
EDEN_LANES void stream_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}
EDEN_LANES Words broadcast(uint32_t value) { return Words{value, value, value, value}; }
EDEN_LANES Words lane_numbers() { return Words{0, 1, 2, 3}; }
EDEN_LANES Words gather(const uint32_t* from, Words index) {
  return Words{from[index[0]], from[index[1]], from[index[2]], from[index[3]]};
}
EDEN_LANES Words add(Words a, Words b) { return a + b; }
EDEN_LANES Words sub(Words a, Words b) { return a - b; }
// Modulo 2^32.
EDEN_LANES Words times(Words a, Words b) { return a * b; }
EDEN_LANES Words bit_and(Words a, Words b) { return a & b; }
EDEN_LANES Words bit_xor(Words a, Words b) { return a ^ b; }
EDEN_LANES Words bit_or(Words a, Words b) { return a | b; }
EDEN_LANES Words shift_left(Words a, Words count) {
  return (a << (count & 31u)) & reinterpret_cast<Words>(count < 32u);
}
EDEN_LANES Words shift_right(Words a, Words count) {
  return (a >> (count & 31u)) & reinterpret_cast<Words>(count < 32u);
}
template <int kCount>
EDEN_LANES Words shift_left(Words a) {
  return a << kCount;
}
template <int kCount>
EDEN_LANES Words shift_right(Words a) {
  return a >> kCount;
}

EDEN_LANES Mask less(Words a, Words b) { return reinterpret_cast<Words>(a < b); }
EDEN_LANES Mask at_most(Words a, Words b) { return reinterpret_cast<Words>(a <= b); }
EDEN_LANES Mask equal(Words a, Words b) { return reinterpret_cast<Words>(a == b); }
EDEN_LANES Mask common_bits(Words a, Words b) { return reinterpret_cast<Words>((a & b) != 0u); }
EDEN_LANES Mask both(Mask a, Mask b) { return a & b; }
EDEN_LANES Mask either(Mask a, Mask b) { return a | b; }
EDEN_LANES Mask without(Mask a, Mask b) { return a & ~b; }
EDEN_LANES uint32_t bits_of(Mask mask) {
#if defined(__SSE2__)
  return static_cast<uint32_t>(_mm_movemask_ps(reinterpret_cast<__m128>(mask)));
#else
  return (mask[0] & 1u) | (mask[1] & 2u) | (mask[2] & 4u) | (mask[3] & 8u);
#endif
}
EDEN_LANES bool any(Mask mask) { return bits_of(mask) != 0; }
EDEN_LANES Words where(Mask mask, Words words) { return mask & words; }
EDEN_LANES Words add_one(Words words, Mask mask) { return words - mask; }

// Writes up to kLanes words of which the first are those chosen; returns how many.
EDEN_LANES size_t compress(uint32_t* at, Mask mask, Words words) {
  const uint32_t set = bits_of(mask);
  size_t size = 0;
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    at[size] = words[lane];
    size += (set >> lane) & 1u;
  }
  return size;
}

// Digits of uniform numbers below (`less`) or equal (`open`) to those of probabilities, from the
// last digit to the first.
EDEN_LANES Words digit_less(Words less, Words digit, Words probability) {
  return (less & probability) | (~digit & (less | probability));
}
EDEN_LANES Words digit_equal(Words open, Words digit, Words probability) {
  return open & ~(digit ^ probability);
}

// Words of even and odd lanes apart, each in the low half of 64 bits; whatever is in the high
// halves.
struct Wide {
  Doubles even, odd;
};
EDEN_LANES Wide widen(Words words) {
  const Doubles pairs = reinterpret_cast<Doubles>(words);
  return {pairs, pairs >> 32};
}
EDEN_LANES Words narrow(Wide wide) {
  return reinterpret_cast<Words>((wide.even & 0xffffffffu) | (wide.odd << 32));
}
EDEN_LANES Doubles multiply_low_halves(Doubles a, uint32_t multiplier) {
#if defined(__SSE2__)
  return reinterpret_cast<Doubles>(_mm_mul_epu32(
      reinterpret_cast<__m128i>(a), _mm_set1_epi64x(static_cast<long long>(multiplier))));
#else
  return (a & 0xffffffffu) * static_cast<uint64_t>(multiplier);
#endif
}
EDEN_LANES void multiply(Wide a, uint32_t multiplier, Wide& high, Wide& low) {
  low = {multiply_low_halves(a.even, multiplier), multiply_low_halves(a.odd, multiplier)};
  high = {low.even >> 32, low.odd >> 32};
}
EDEN_LANES Wide exclusive_or(Wide a, uint32_t key) {
  const Doubles k = reinterpret_cast<Doubles>(broadcast(key));
  return {a.even ^ k, a.odd ^ k};
}
EDEN_LANES Wide exclusive_or(Wide a, Wide b, uint32_t key) {
  return exclusive_or(Wide{a.even ^ b.even, a.odd ^ b.odd}, key);
}

}  // namespace
}  // namespace eden::simd::EDEN_ISA_NAMESPACE

#include "memory/corrupt/simd/lanes_count.h"
