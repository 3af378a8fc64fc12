// Eight lanes of 32 bits: AVX2.
#pragma once

#include <immintrin.h>

#include "memory/corrupt/simd/lanes.h"

namespace eden::simd::EDEN_ISA_NAMESPACE {
namespace {

constexpr size_t kLanes = 8;
using Words = __m256i;
using Mask = __m256i;  // all bits of a lane

EDEN_LANES Words load(const void* at) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(at));
}
EDEN_LANES void store(void* at, Words words) {
  _mm256_storeu_si256(static_cast<__m256i*>(at), words);
}
// A store to aligned memory that leaves the caches as they are, and what orders such stores before
// all that follow.
EDEN_LANES void stream(void* at, Words words) {
  _mm256_stream_si256(static_cast<__m256i*>(at), words);
}
EDEN_LANES void stream_fence() { _mm_sfence(); }
EDEN_LANES Words broadcast(uint32_t value) { return _mm256_set1_epi32(static_cast<int>(value)); }
EDEN_LANES Words lane_numbers() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
EDEN_LANES Words gather(const uint32_t* from, Words index) {
  return _mm256_i32gather_epi32(reinterpret_cast<const int*>(from), index, 4);
}
EDEN_LANES Words add(Words a, Words b) { return _mm256_add_epi32(a, b); }
EDEN_LANES Words sub(Words a, Words b) { return _mm256_sub_epi32(a, b); }
// Modulo 2^32.
EDEN_LANES Words times(Words a, Words b) { return _mm256_mullo_epi32(a, b); }
EDEN_LANES Words bit_and(Words a, Words b) { return _mm256_and_si256(a, b); }
EDEN_LANES Words bit_xor(Words a, Words b) { return _mm256_xor_si256(a, b); }
EDEN_LANES Words bit_or(Words a, Words b) { return _mm256_or_si256(a, b); }
EDEN_LANES Words shift_left(Words a, Words count) { return _mm256_sllv_epi32(a, count); }
EDEN_LANES Words shift_right(Words a, Words count) { return _mm256_srlv_epi32(a, count); }
template <int kCount>
EDEN_LANES Words shift_left(Words a) {
  return _mm256_slli_epi32(a, kCount);
}
template <int kCount>
EDEN_LANES Words shift_right(Words a) {
  return _mm256_srli_epi32(a, kCount);
}

EDEN_LANES Mask less(Words a, Words b) {
  const __m256i sign = _mm256_set1_epi32(static_cast<int>(0x80000000u));
  return _mm256_cmpgt_epi32(_mm256_xor_si256(b, sign), _mm256_xor_si256(a, sign));
}
EDEN_LANES Mask at_most(Words a, Words b) { return _mm256_cmpeq_epi32(_mm256_min_epu32(a, b), a); }
EDEN_LANES Mask equal(Words a, Words b) { return _mm256_cmpeq_epi32(a, b); }
EDEN_LANES Mask common_bits(Words a, Words b) {
  const __m256i none = _mm256_cmpeq_epi32(_mm256_and_si256(a, b), _mm256_setzero_si256());
  return _mm256_xor_si256(none, _mm256_set1_epi32(-1));
}
EDEN_LANES Mask both(Mask a, Mask b) { return _mm256_and_si256(a, b); }
EDEN_LANES Mask either(Mask a, Mask b) { return _mm256_or_si256(a, b); }
EDEN_LANES Mask without(Mask a, Mask b) { return _mm256_andnot_si256(b, a); }
EDEN_LANES bool any(Mask mask) { return !_mm256_testz_si256(mask, mask); }
EDEN_LANES uint32_t bits_of(Mask mask) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(mask)));
}
EDEN_LANES Words where(Mask mask, Words words) { return _mm256_and_si256(mask, words); }
EDEN_LANES Words add_one(Words words, Mask mask) { return _mm256_sub_epi32(words, mask); }

// For each set of lanes, the numbers of those in it, one to a byte.
struct Squeezed {
  uint64_t lanes[256];
};
constexpr Squeezed make_squeezed() {
  Squeezed squeezed{};
  for (int set = 0; set < 256; ++set) {
    int place = 0;
    for (int lane = 0; lane < 8; ++lane) {
      if ((set >> lane) & 1) squeezed.lanes[set] |= static_cast<uint64_t>(lane) << (8 * place++);
    }
  }
  return squeezed;
}
constexpr Squeezed kSqueezed = make_squeezed();

// Writes kLanes words of which the first are those chosen; returns how many.
EDEN_LANES size_t compress(uint32_t* at, Mask mask, Words words) {
  const uint32_t set = bits_of(mask);
  const __m128i lanes = _mm_cvtsi64_si128(static_cast<long long>(kSqueezed.lanes[set]));
  store(at, _mm256_permutevar8x32_epi32(words, _mm256_cvtepu8_epi32(lanes)));
  return static_cast<size_t>(_mm_popcnt_u32(set));
}

// Digits of uniform numbers below (`less`) or equal (`open`) to those of probabilities, from the
// last digit to the first.
EDEN_LANES Words digit_less(Words less, Words digit, Words probability) {
  // The majority of less, not digit and probability.
  const __m256i all = _mm256_or_si256(less, probability),
                both = _mm256_and_si256(less, probability);
  return _mm256_or_si256(both, _mm256_andnot_si256(digit, all));
}
EDEN_LANES Words digit_equal(Words open, Words digit, Words probability) {
  return _mm256_andnot_si256(_mm256_xor_si256(digit, probability), open);
}

// Words of even and odd lanes apart, each in the low half of 64 bits; whatever is in the high
// halves.
struct Wide {
  __m256i even, odd;
};
EDEN_LANES Wide widen(Words words) { return {words, _mm256_srli_epi64(words, 32)}; }
EDEN_LANES Words narrow(Wide wide) {
  return _mm256_blend_epi32(wide.even, _mm256_slli_epi64(wide.odd, 32), 0xAA);
}
EDEN_LANES void multiply(Wide a, uint32_t multiplier, Wide& high, Wide& low) {
  const __m256i m = _mm256_set1_epi64x(multiplier);
  low = {_mm256_mul_epu32(a.even, m), _mm256_mul_epu32(a.odd, m)};
  high = {_mm256_srli_epi64(low.even, 32), _mm256_srli_epi64(low.odd, 32)};
}
EDEN_LANES Wide exclusive_or(Wide a, uint32_t key) {
  const __m256i k = _mm256_set1_epi32(static_cast<int>(key));
  return {_mm256_xor_si256(a.even, k), _mm256_xor_si256(a.odd, k)};
}
EDEN_LANES Wide exclusive_or(Wide a, Wide b, uint32_t key) {
  return exclusive_or(Wide{_mm256_xor_si256(a.even, b.even), _mm256_xor_si256(a.odd, b.odd)}, key);
}

}  // namespace
}  // namespace eden::simd::EDEN_ISA_NAMESPACE

#include "memory/corrupt/simd/lanes_count.h"
