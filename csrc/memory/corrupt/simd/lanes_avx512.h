// Sixteen lanes of 32 bits: AVX-512 F, BW, DQ and VL.
#pragma once

#include <immintrin.h>

#include "memory/corrupt/simd/lanes.h"

namespace eden::simd::EDEN_ISA_NAMESPACE {
namespace {

constexpr size_t kLanes = 16;
using Words = __m512i;
using Mask = __mmask16;

EDEN_LANES Words load(const void* at) { return _mm512_loadu_si512(at); }
EDEN_LANES void store(void* at, Words words) { _mm512_storeu_si512(at, words); }
// A store to aligned memory that leaves the caches as they are, and what orders such stores before
// all that follow.
EDEN_LANES void stream(void* at, Words words) {
  _mm512_stream_si512(static_cast<__m512i*>(at), words);
}
EDEN_LANES void stream_fence() { _mm_sfence(); }
EDEN_LANES Words broadcast(uint32_t value) { return _mm512_set1_epi32(static_cast<int>(value)); }
EDEN_LANES Words lane_numbers() {
  return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
EDEN_LANES Words gather(const uint32_t* from, Words index) {
  return _mm512_i32gather_epi32(index, from, 4);
}
EDEN_LANES Words add(Words a, Words b) { return _mm512_add_epi32(a, b); }
EDEN_LANES Words sub(Words a, Words b) { return _mm512_sub_epi32(a, b); }
// Modulo 2^32.
EDEN_LANES Words times(Words a, Words b) { return _mm512_mullo_epi32(a, b); }
EDEN_LANES Words bit_and(Words a, Words b) { return _mm512_and_si512(a, b); }
EDEN_LANES Words bit_xor(Words a, Words b) { return _mm512_xor_si512(a, b); }
EDEN_LANES Words bit_or(Words a, Words b) { return _mm512_or_si512(a, b); }
EDEN_LANES Words shift_left(Words a, Words count) { return _mm512_sllv_epi32(a, count); }
EDEN_LANES Words shift_right(Words a, Words count) { return _mm512_srlv_epi32(a, count); }
template <int kCount>
EDEN_LANES Words shift_left(Words a) {
  return _mm512_slli_epi32(a, kCount);
}
template <int kCount>
EDEN_LANES Words shift_right(Words a) {
  return _mm512_srli_epi32(a, kCount);
}

EDEN_LANES Mask less(Words a, Words b) { return _mm512_cmplt_epu32_mask(a, b); }
EDEN_LANES Mask at_most(Words a, Words b) { return _mm512_cmple_epu32_mask(a, b); }
EDEN_LANES Mask common_bits(Words a, Words b) { return _mm512_test_epi32_mask(a, b); }
EDEN_LANES Mask both(Mask a, Mask b) { return static_cast<Mask>(a & b); }
EDEN_LANES Mask either(Mask a, Mask b) { return static_cast<Mask>(a | b); }
EDEN_LANES Mask without(Mask a, Mask b) { return static_cast<Mask>(a & ~b); }
EDEN_LANES bool any(Mask mask) { return mask != 0; }
EDEN_LANES uint32_t bits_of(Mask mask) { return mask; }
EDEN_LANES Words where(Mask mask, Words words) { return _mm512_maskz_mov_epi32(mask, words); }
// Writes kLanes words of which the first are those chosen; returns how many.
EDEN_LANES size_t compress(uint32_t* at, Mask mask, Words words) {
  // In a register: to memory it is microcode on some processors.
  store(at, _mm512_maskz_compress_epi32(mask, words));
  return static_cast<size_t>(_mm_popcnt_u32(mask));
}

// Digits of uniform numbers below (`less`) or equal (`open`) to those of probabilities, from the
// last digit to the first.
EDEN_LANES Words digit_less(Words less, Words digit, Words probability) {
  return _mm512_ternarylogic_epi32(less, digit, probability, 0xB2);
}
EDEN_LANES Words digit_equal(Words open, Words digit, Words probability) {
  return _mm512_ternarylogic_epi32(open, digit, probability, 0x90);
}

// Words of even and odd lanes apart, each in the low half of 64 bits; whatever is in the high
// halves.
struct Wide {
  __m512i even, odd;
};
EDEN_LANES Wide widen(Words words) { return {words, _mm512_srli_epi64(words, 32)}; }
EDEN_LANES Words narrow(Wide wide) {
  return _mm512_mask_shuffle_epi32(wide.even, 0xAAAA, wide.odd, static_cast<_MM_PERM_ENUM>(0xA0));
}
EDEN_LANES void multiply(Wide a, uint32_t multiplier, Wide& high, Wide& low) {
  const __m512i m = _mm512_set1_epi64(multiplier);
  low = {_mm512_mul_epu32(a.even, m), _mm512_mul_epu32(a.odd, m)};
  high = {_mm512_srli_epi64(low.even, 32), _mm512_srli_epi64(low.odd, 32)};
}
EDEN_LANES Wide exclusive_or(Wide a, Wide b, uint32_t key) {
  const __m512i k = _mm512_set1_epi32(static_cast<int>(key));
  return {_mm512_ternarylogic_epi64(a.even, b.even, k, 0x96),
          _mm512_ternarylogic_epi64(a.odd, b.odd, k, 0x96)};
}
EDEN_LANES Wide exclusive_or(Wide a, uint32_t key) {
  const __m512i k = _mm512_set1_epi32(static_cast<int>(key));
  return {_mm512_xor_si512(a.even, k), _mm512_xor_si512(a.odd, k)};
}

// How many of the table's high words are at most `high`, by binary search in two registers; `tie`
// where the low words have to be asked.
EDEN_LANES Words count_by_high_words(Words high, Mask& tie) {
  const __m512i first = load(kPoissonHigh.word), second = load(kPoissonHigh.word + kLanes);
  Words count = where(at_most(broadcast(kPoissonHigh.word[15]), high), broadcast(16));
  for (const uint32_t step : {8u, 4u, 2u, 1u}) {
    const Words middle = _mm512_permutex2var_epi32(first, add(count, broadcast(step - 1)), second);
    count = _mm512_mask_add_epi32(count, at_most(middle, high), count, broadcast(step));
  }
  // The last word needs no step of its own: whoever has it ties with it.
  const Words last = _mm512_permutex2var_epi32(first, sub(count, broadcast(1)), second);
  tie = either(_mm512_mask_cmpeq_epu32_mask(common_bits(count, count), last, high),
               at_most(broadcast(kPoissonHigh.word[2 * kLanes - 1]), high));
  return count;
}

}  // namespace
}  // namespace eden::simd::EDEN_ISA_NAMESPACE
