// As many lanes of 32 bits as a register of the instruction set has that a file is compiled for:
// AVX-512 (F, BW, DQ and VL), AVX2, NEON, or what the target always has. They are the compiler's
// own vectors, whose operators work lane by lane; what those cannot say follows here.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

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

namespace eden::simd::EDEN_ISA {
namespace {

#if defined(__AVX512F__)
constexpr size_t kLanes = 16;
#elif defined(__AVX2__)
constexpr size_t kLanes = 8;
#else
constexpr size_t kLanes = 4;
#endif
typedef uint32_t Words __attribute__((vector_size(4 * kLanes)));
typedef uint64_t Pairs __attribute__((vector_size(4 * kLanes)));

EDEN_LANES Words load(const void* at) {
  Words words;
  __builtin_memcpy(&words, at, sizeof(words));
  return words;
}
EDEN_LANES void store(void* at, Words words) { __builtin_memcpy(at, &words, sizeof(words)); }
EDEN_LANES Words broadcast(uint32_t value) { return Words{} + value; }
EDEN_LANES Words lane_numbers() {
  alignas(64) static const uint32_t kNumbers[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                    8, 9, 10, 11, 12, 13, 14, 15};
  return load(kNumbers);
}

// stream: a store to aligned memory that leaves the caches as they are, where the target has one;
// stream_fence orders such stores before all that follow. shift_left: by up to 32.
#if defined(__AVX512F__)
EDEN_LANES __m512i bare(Words words) { return reinterpret_cast<__m512i>(words); }
EDEN_LANES Words words_of(__m512i words) { return reinterpret_cast<Words>(words); }
EDEN_LANES void stream(void* at, Words words) {
  _mm512_stream_si512(static_cast<__m512i*>(at), bare(words));
}
EDEN_LANES Words gather(const uint32_t* from, Words index) {
  return words_of(_mm512_i32gather_epi32(bare(index), from, 4));
}
EDEN_LANES Words shift_left(Words a, Words count) {
  return words_of(_mm512_sllv_epi32(bare(a), bare(count)));
}
#elif defined(__AVX2__)
EDEN_LANES __m256i bare(Words words) { return reinterpret_cast<__m256i>(words); }
EDEN_LANES Words words_of(__m256i words) { return reinterpret_cast<Words>(words); }
EDEN_LANES void stream(void* at, Words words) {
  _mm256_stream_si256(static_cast<__m256i*>(at), bare(words));
}
EDEN_LANES Words gather(const uint32_t* from, Words index) {
  return words_of(_mm256_i32gather_epi32(reinterpret_cast<const int*>(from), bare(index), 4));
}
EDEN_LANES Words shift_left(Words a, Words count) {
  return words_of(_mm256_sllv_epi32(bare(a), bare(count)));
}
#else
#if defined(__SSE2__)
EDEN_LANES __m128i bare(Words words) { return reinterpret_cast<__m128i>(words); }
EDEN_LANES void stream(void* at, Words words) {
  _mm_stream_si128(static_cast<__m128i*>(at), bare(words));
}
#else
EDEN_LANES void stream(void* at, Words words) { store(at, words); }
#endif
EDEN_LANES Words gather(const uint32_t* from, Words index) {
  return Words{from[index[0]], from[index[1]], from[index[2]], from[index[3]]};
}
EDEN_LANES Words shift_left(Words a, Words count) {
  return (a << (count & 31u)) & reinterpret_cast<Words>(count < 32u);
}
#endif
EDEN_LANES void stream_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// Masks choose lanes. compress writes kLanes words of which the first are those chosen, and returns
// how many. digit_less and digit_equal: digits of uniform numbers below (`less`) or equal (`open`)
// to those of probabilities, from the last digit to the first.
#if defined(__AVX512F__)
using Mask = __mmask16;
EDEN_LANES Mask less(Words a, Words b) { return _mm512_cmplt_epu32_mask(bare(a), bare(b)); }
EDEN_LANES Mask at_most(Words a, Words b) { return _mm512_cmple_epu32_mask(bare(a), bare(b)); }
EDEN_LANES Mask common_bits(Words a, Words b) { return _mm512_test_epi32_mask(bare(a), bare(b)); }
EDEN_LANES Mask both(Mask a, Mask b) { return static_cast<Mask>(a & b); }
EDEN_LANES Mask either(Mask a, Mask b) { return static_cast<Mask>(a | b); }
EDEN_LANES Mask without(Mask a, Mask b) { return static_cast<Mask>(a & ~b); }
EDEN_LANES uint32_t bits_of(Mask mask) { return mask; }
EDEN_LANES Mask lanes_of(uint32_t bits) { return static_cast<Mask>(bits); }
EDEN_LANES Words where(Mask mask, Words words) {
  return words_of(_mm512_maskz_mov_epi32(mask, bare(words)));
}
EDEN_LANES size_t compress(uint32_t* at, Mask mask, Words words) {
  // In a register: to memory it is microcode on some processors.
  store(at, words_of(_mm512_maskz_compress_epi32(mask, bare(words))));
  return static_cast<size_t>(_mm_popcnt_u32(mask));
}
EDEN_LANES Words digit_less(Words less, Words digit, Words probability) {
  return words_of(_mm512_ternarylogic_epi32(bare(less), bare(digit), bare(probability), 0xB2));
}
EDEN_LANES Words digit_equal(Words open, Words digit, Words probability) {
  return words_of(_mm512_ternarylogic_epi32(bare(open), bare(digit), bare(probability), 0x90));
}
#else
using Mask = Words;  // all bits of a lane
EDEN_LANES Mask less(Words a, Words b) { return reinterpret_cast<Mask>(a < b); }
EDEN_LANES Mask at_most(Words a, Words b) { return reinterpret_cast<Mask>(a <= b); }
EDEN_LANES Mask common_bits(Words a, Words b) { return reinterpret_cast<Mask>((a & b) != 0u); }
EDEN_LANES Mask both(Mask a, Mask b) { return a & b; }
EDEN_LANES Mask either(Mask a, Mask b) { return a | b; }
EDEN_LANES Mask without(Mask a, Mask b) { return a & ~b; }
EDEN_LANES uint32_t bits_of(Mask mask) {
#if defined(__AVX2__)
  return static_cast<uint32_t>(_mm256_movemask_ps(reinterpret_cast<__m256>(mask)));
#elif defined(__SSE2__)
  return static_cast<uint32_t>(_mm_movemask_ps(reinterpret_cast<__m128>(mask)));
#elif defined(__aarch64__)
  return vaddvq_u32(mask & Words{1, 2, 4, 8});
#else
  return (mask[0] & 1u) | (mask[1] & 2u) | (mask[2] & 4u) | (mask[3] & 8u);
#endif
}
EDEN_LANES Mask lanes_of(uint32_t bits) {
  return common_bits(broadcast(bits), shift_left(broadcast(1), lane_numbers()));
}
EDEN_LANES Words where(Mask mask, Words words) { return mask & words; }

// For each choice of lanes, the bytes of those in it: of whole words for NEON, of their numbers for
// AVX2.
template <size_t kChoices, size_t kBytes>
struct ChosenBytes {
  alignas(16) uint8_t of[kChoices][kBytes];
};
template <size_t kBytesInLane>
constexpr auto make_chosen() {
  ChosenBytes<size_t{1} << kLanes, kLanes * kBytesInLane> chosen{};
  for (size_t choice = 0; choice < size_t{1} << kLanes; ++choice) {
    size_t place = 0;
    for (size_t lane = 0; lane < kLanes; ++lane) {
      if (((choice >> lane) & 1) == 0) continue;
      for (size_t byte = 0; byte < kBytesInLane; ++byte) {
        chosen.of[choice][place++] = static_cast<uint8_t>(kBytesInLane * lane + byte);
      }
    }
  }
  return chosen;
}
EDEN_LANES size_t compress(uint32_t* at, Mask mask, Words words) {
  const uint32_t choice = bits_of(mask);
#if defined(__AVX2__)
  static constexpr auto kChosen = make_chosen<1>();
  const __m128i lanes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kChosen.of[choice]));
  store(at, words_of(_mm256_permutevar8x32_epi32(bare(words), _mm256_cvtepu8_epi32(lanes))));
  return static_cast<size_t>(_mm_popcnt_u32(choice));
#elif defined(__aarch64__)
  static constexpr auto kChosen = make_chosen<4>();
  const uint8x16_t bytes = vld1q_u8(kChosen.of[choice]);
  store(at, reinterpret_cast<Words>(vqtbl1q_u8(reinterpret_cast<uint8x16_t>(words), bytes)));
  return static_cast<size_t>(__builtin_popcount(choice));
#else
  size_t size = 0;
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    at[size] = words[lane];
    size += (choice >> lane) & 1u;
  }
  return size;
#endif
}
EDEN_LANES Words digit_less(Words less, Words digit, Words probability) {
  // The majority of less, not digit and probability.
  return (less & probability) | (~digit & (less | probability));
}
EDEN_LANES Words digit_equal(Words open, Words digit, Words probability) {
  return open & ~(digit ^ probability);
}
#endif
EDEN_LANES bool any(Mask mask) { return bits_of(mask) != 0; }

// Numbers whose products of 64 bits are wanted: on x86 words of even and odd lanes apart, each in
// the low half of 64 bits, with whatever is in the high halves.
#if defined(__aarch64__)
using Wide = Words;
EDEN_LANES Wide widen(Words words) { return words; }
EDEN_LANES Words narrow(Wide wide) { return wide; }
EDEN_LANES void multiply(Wide a, uint32_t multiplier, Wide& high, Wide& low) {
  const uint32x2_t m = vdup_n_u32(multiplier);
  const uint32x4_t first = vreinterpretq_u32_u64(vmull_u32(vget_low_u32(a), m));
  const uint32x4_t second = vreinterpretq_u32_u64(vmull_u32(vget_high_u32(a), m));
  low = vuzp1q_u32(first, second);
  high = vuzp2q_u32(first, second);
}
EDEN_LANES Wide exclusive_or(Wide a, uint32_t key) { return a ^ key; }
EDEN_LANES Wide exclusive_or(Wide a, Wide b, uint32_t key) { return a ^ b ^ key; }
#else
struct Wide {
  Pairs even, odd;
};
EDEN_LANES Wide widen(Words words) {
  const Pairs pairs = reinterpret_cast<Pairs>(words);
  return {pairs, pairs >> 32};
}
EDEN_LANES Words narrow(Wide wide) {
#if defined(__AVX512F__)
  return words_of(_mm512_mask_shuffle_epi32(reinterpret_cast<__m512i>(wide.even), 0xAAAA,
                                            reinterpret_cast<__m512i>(wide.odd),
                                            static_cast<_MM_PERM_ENUM>(0xA0)));
#elif defined(__AVX2__)
  return words_of(_mm256_blend_epi32(reinterpret_cast<__m256i>(wide.even),
                                     reinterpret_cast<__m256i>(wide.odd << 32), 0xAA));
#else
  return reinterpret_cast<Words>((wide.even & 0xffffffffu) | (wide.odd << 32));
#endif
}
EDEN_LANES Pairs multiply_low_halves(Pairs a, uint32_t multiplier) {
  const Pairs m = Pairs{} + multiplier;
#if defined(__AVX512F__)
  return reinterpret_cast<Pairs>(
      _mm512_mul_epu32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(m)));
#elif defined(__AVX2__)
  return reinterpret_cast<Pairs>(
      _mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(m)));
#elif defined(__SSE2__)
  return reinterpret_cast<Pairs>(
      _mm_mul_epu32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(m)));
#else
  return (a & 0xffffffffu) * m;
#endif
}
EDEN_LANES void multiply(Wide a, uint32_t multiplier, Wide& high, Wide& low) {
  low = {multiply_low_halves(a.even, multiplier), multiply_low_halves(a.odd, multiplier)};
  high = {low.even >> 32, low.odd >> 32};
}
EDEN_LANES Wide exclusive_or(Wide a, uint32_t key) {
  const Pairs k = reinterpret_cast<Pairs>(broadcast(key));
  return {a.even ^ k, a.odd ^ k};
}
EDEN_LANES Wide exclusive_or(Wide a, Wide b, uint32_t key) {
  return exclusive_or(Wide{a.even ^ b.even, a.odd ^ b.odd}, key);
}
#endif

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

// How many of the table's high words are less than `high`; `tie` where the low words, or more of
// the table, have to be asked.
EDEN_LANES Words count_by_high_words(Words high, Mask& tie) {
#if defined(__AVX512F__)
  // By binary search in two registers.
  const __m512i first = bare(load(kPoissonHigh.word));
  const __m512i second = bare(load(kPoissonHigh.word + kLanes));
  const auto word = [&](Words at) EDEN_INLINE_LAMBDA {
    return words_of(_mm512_permutex2var_epi32(first, bare(at), second));
  };
  Words count = where(at_most(broadcast(kPoissonHigh.word[15]), high), broadcast(16));
  for (const uint32_t step : {8u, 4u, 2u, 1u}) {
    const Mask more = at_most(word(count + (step - 1)), high);
    count = words_of(_mm512_mask_add_epi32(bare(count), more, bare(count), bare(broadcast(step))));
  }
  // The last word needs no step of its own: whoever has it ties with it.
  tie = either(
      _mm512_mask_cmpeq_epu32_mask(common_bits(count, count), bare(word(count - 1)), bare(high)),
      at_most(broadcast(kPoissonHigh.word[2 * kLanes - 1]), high));
#else
  // By comparison with one word after another.
  constexpr int kCompared = 20;  // one block in ten thousand has more marks
  Words count{};
  tie = at_most(broadcast(kPoissonHigh.word[kCompared]), high);
  EDEN_UNROLL(20)
  for (int i = 0; i < kCompared; ++i) {
    const Words word = broadcast(kPoissonHigh.word[i]);
    count -= less(word, high);
    tie = either(tie, reinterpret_cast<Mask>(word == high));
  }
#endif
  return count;
}

}  // namespace
}  // namespace eden::simd::EDEN_ISA
