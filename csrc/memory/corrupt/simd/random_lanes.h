// Philox4x32-10, as in philox.h, of every lane at once, and how loops go over lanes.
#pragma once

#include "base/random_layout.h"
#include "memory/corrupt/simd/lanes.h"

namespace eden::simd::EDEN_ISA {
namespace {

constexpr int kRounds = 10;
constexpr uint32_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;

struct Keys {
  uint32_t first[kRounds], second[kRounds];
};

EDEN_LANES Keys make_keys(uint64_t chip) {
  Keys keys;
  uint32_t first = static_cast<uint32_t>(chip), second = static_cast<uint32_t>(chip >> 32);
  for (int round = 0; round < kRounds; ++round) {
    keys.first[round] = first;
    keys.second[round] = second;
    first += 0x9E3779B9u;
    second += 0xBB67AE85u;
  }
  return keys;
}

// kSets independent sets of lanes at a time hide one another's latency.
template <int kSets>
struct Numbers {
  Words word[kSets][4];
};

template <int kSets, int kFirstRound>
EDEN_LANES void finish_rounds(const Keys& keys, Wide (&state)[kSets][4], Numbers<kSets>& numbers) {
  EDEN_UNROLL(10)
  for (int round = kFirstRound; round < kRounds; ++round) {
    EDEN_UNROLL(2)
    for (int set = 0; set < kSets; ++set) {
      Wide(&x)[4] = state[set];
      Wide high0, low0, high1, low1;
      multiply(x[0], kMultiplier0, high0, low0);
      multiply(x[2], kMultiplier1, high1, low1);
      x[0] = exclusive_or(high1, x[1], keys.first[round]);
      x[1] = low1;
      x[2] = exclusive_or(high0, x[3], keys.second[round]);
      x[3] = low0;
    }
  }
  EDEN_UNROLL(2)
  for (int set = 0; set < kSets; ++set) {
    EDEN_UNROLL(4)
    for (int i = 0; i < 4; ++i) numbers.word[set][i] = narrow(state[set][i]);
  }
}

struct Counter {
  Words word[4];
};

template <int kSets>
EDEN_LANES void draw_lanes(const Keys& keys, const Counter (&counter)[kSets],
                           Numbers<kSets>& numbers) {
  Wide state[kSets][4];
  EDEN_UNROLL(2)
  for (int set = 0; set < kSets; ++set) {
    EDEN_UNROLL(4)
    for (int i = 0; i < 4; ++i) state[set][i] = widen(counter[set].word[i]);
  }
  finish_rounds<kSets, 0>(keys, state, numbers);
}

// The same where only the counters' first words differ: most of the first two rounds is then done
// once for all lanes.
template <int kSets>
EDEN_LANES void draw_lanes(const Keys& keys, const Words (&first)[kSets], uint32_t second,
                           uint32_t third, uint32_t fourth, Numbers<kSets>& numbers) {
  const uint64_t product1 = static_cast<uint64_t>(kMultiplier1) * third;
  const uint32_t after0 = static_cast<uint32_t>(product1 >> 32) ^ second ^ keys.first[0];
  const uint32_t after1 = static_cast<uint32_t>(product1);
  const uint64_t product0 = static_cast<uint64_t>(kMultiplier0) * after0;
  const uint32_t high0 = static_cast<uint32_t>(product0 >> 32);
  const Wide low0 = widen(broadcast(static_cast<uint32_t>(product0)));
  Wide state[kSets][4];
  EDEN_UNROLL(2)
  for (int set = 0; set < kSets; ++set) {
    Wide high, low, low1;
    multiply(widen(first[set]), kMultiplier0, high, low);
    multiply(exclusive_or(high, fourth ^ keys.second[0]), kMultiplier1, high, low1);
    state[set][0] = exclusive_or(high, after1 ^ keys.first[1]);
    state[set][1] = low1;
    state[set][2] = exclusive_or(low, high0 ^ keys.second[1]);
    state[set][3] = low0;
  }
  finish_rounds<kSets, 2>(keys, state, numbers);
}

EDEN_LANES uint32_t low_half(uint64_t number) { return static_cast<uint32_t>(number); }
EDEN_LANES uint32_t high_half(uint64_t number) { return static_cast<uint32_t>(number >> 32); }

// Work is done on two sets of lanes at a time, and lists have room for as many more words as the
// last store may write beyond their end.
constexpr size_t kSetsAtOnce = 2;
constexpr size_t kStep = kSetsAtOnce * kLanes;
constexpr size_t kBatch = 512;
constexpr uint32_t kWholeOctave = 0xffffffffu;
static_assert(kBatch % kStep == 0);

// Lanes [at, end) of a batch.
EDEN_LANES Mask lanes_before(size_t at, size_t end) {
  const size_t left = at < end ? end - at : 0;
  return less(lane_numbers(), broadcast(static_cast<uint32_t>(left < kLanes ? left : kLanes)));
}

// Calls step(number of sets, first lane) over `size` lanes; the number is a type, so that a step's
// loops over sets are unrolled.
template <int kSets>
struct Sets {
  static constexpr int kNumber = kSets;
};
template <class Step>
EDEN_LANES void for_each_step(size_t size, Step&& step) {
  size_t at = 0;
  for (; at + kLanes < size; at += kStep) step(Sets<kSetsAtOnce>(), at);
  if (at < size) step(Sets<1>(), at);
}

}  // namespace
}  // namespace eden::simd::EDEN_ISA
