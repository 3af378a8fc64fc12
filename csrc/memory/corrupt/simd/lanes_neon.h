// Four lanes of 32 bits: NEON, which every aarch64 has.
#pragma once

#include <arm_neon.h>

#include "memory/corrupt/simd/lanes.h"

namespace eden::simd::EDEN_ISA_NAMESPACE {
namespace {

constexpr size_t kLanes = 4;
using Words = uint32x4_t;
using Mask = uint32x4_t;  // all bits of a lane

EDEN_LANES Words load(const void* at) { return vld1q_u32(static_cast<const uint32_t*>(at)); }
EDEN_LANES void store(void* at, Words words) { vst1q_u32(static_cast<uint32_t*>(at), words); }
// NEON has no store that leaves the caches as they are.
EDEN_LANES void stream(void* at, Words words) { store(at, words); }
EDEN_LANES void stream_fence() {}
EDEN_LANES Words broadcast(uint32_t value) { return vdupq_n_u32(value); }
EDEN_LANES Words lane_numbers() {
  static const uint32_t kNumbers[kLanes] = {0, 1, 2, 3};
  return vld1q_u32(kNumbers);
}
EDEN_LANES Words gather(const uint32_t* from, Words index) {
  const uint32_t words[kLanes] = {from[vgetq_lane_u32(index, 0)], from[vgetq_lane_u32(index, 1)],
                                  from[vgetq_lane_u32(index, 2)], from[vgetq_lane_u32(index, 3)]};
  return vld1q_u32(words);
}
EDEN_LANES Words add(Words a, Words b) { return vaddq_u32(a, b); }
EDEN_LANES Words sub(Words a, Words b) { return vsubq_u32(a, b); }
// Modulo 2^32.
EDEN_LANES Words times(Words a, Words b) { return vmulq_u32(a, b); }
EDEN_LANES Words bit_and(Words a, Words b) { return vandq_u32(a, b); }
EDEN_LANES Words bit_xor(Words a, Words b) { return veorq_u32(a, b); }
EDEN_LANES Words bit_or(Words a, Words b) { return vorrq_u32(a, b); }
// A shift by 32 or -32 leaves nothing, as is wanted.
EDEN_LANES Words shift_left(Words a, Words count) {
  return vshlq_u32(a, vreinterpretq_s32_u32(count));
}
EDEN_LANES Words shift_right(Words a, Words count) {
  return vshlq_u32(a, vnegq_s32(vreinterpretq_s32_u32(count)));
}
template <int kCount>
EDEN_LANES Words shift_left(Words a) {
  return vshlq_n_u32(a, kCount);
}
template <int kCount>
EDEN_LANES Words shift_right(Words a) {
  return vshrq_n_u32(a, kCount);
}

EDEN_LANES Mask less(Words a, Words b) { return vcltq_u32(a, b); }
EDEN_LANES Mask at_most(Words a, Words b) { return vcleq_u32(a, b); }
EDEN_LANES Mask equal(Words a, Words b) { return vceqq_u32(a, b); }
EDEN_LANES Mask common_bits(Words a, Words b) { return vtstq_u32(a, b); }
EDEN_LANES Mask both(Mask a, Mask b) { return vandq_u32(a, b); }
EDEN_LANES Mask either(Mask a, Mask b) { return vorrq_u32(a, b); }
EDEN_LANES Mask without(Mask a, Mask b) { return vbicq_u32(a, b); }
EDEN_LANES bool any(Mask mask) { return vmaxvq_u32(mask) != 0; }
EDEN_LANES uint32_t bits_of(Mask mask) {
  static const uint32_t kBits[kLanes] = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(mask, vld1q_u32(kBits)));
}
EDEN_LANES Words where(Mask mask, Words words) { return vandq_u32(mask, words); }
EDEN_LANES Words add_one(Words words, Mask mask) { return vsubq_u32(words, mask); }

// For each set of lanes, the bytes of those in it, and how many they are.
struct Squeezed {
  uint8_t bytes[16][16];
  uint8_t size[16];
};
constexpr Squeezed make_squeezed() {
  Squeezed squeezed{};
  for (int set = 0; set < 16; ++set) {
    int place = 0;
    for (int lane = 0; lane < 4; ++lane) {
      if (((set >> lane) & 1) == 0) continue;
      for (int byte = 0; byte < 4; ++byte) {
        squeezed.bytes[set][4 * place + byte] = static_cast<uint8_t>(4 * lane + byte);
      }
      ++place;
    }
    squeezed.size[set] = static_cast<uint8_t>(place);
  }
  return squeezed;
}
constexpr Squeezed kSqueezed = make_squeezed();

// Writes kLanes words of which the first are those chosen; returns how many.
EDEN_LANES size_t compress(uint32_t* at, Mask mask, Words words) {
  const uint32_t set = bits_of(mask);
  const uint8x16_t bytes = vld1q_u8(kSqueezed.bytes[set]);
  store(at, vreinterpretq_u32_u8(vqtbl1q_u8(vreinterpretq_u8_u32(words), bytes)));
  return kSqueezed.size[set];
}

// Digits of uniform numbers below (`less`) or equal (`open`) to those of probabilities, from the
// last digit to the first.
EDEN_LANES Words digit_less(Words less, Words digit, Words probability) {
  // The majority of less, not digit and probability.
  return vorrq_u32(vandq_u32(less, probability), vbicq_u32(vorrq_u32(less, probability), digit));
}
EDEN_LANES Words digit_equal(Words open, Words digit, Words probability) {
  return vbicq_u32(open, veorq_u32(digit, probability));
}

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
EDEN_LANES Wide exclusive_or(Wide a, uint32_t key) { return veorq_u32(a, vdupq_n_u32(key)); }
EDEN_LANES Wide exclusive_or(Wide a, Wide b, uint32_t key) {
  return exclusive_or(veorq_u32(a, b), key);
}

}  // namespace
}  // namespace eden::simd::EDEN_ISA_NAMESPACE

#include "memory/corrupt/simd/lanes_count.h"
