// Flipping words that are stored as they are.
#pragma once

#include "memory/corrupt/simd/kernels.h"
#include "memory/corrupt/simd/lanes.h"

namespace eden::simd::EDEN_ISA {
namespace {

constexpr size_t kLaneBytes = kLanes * sizeof(uint32_t);

enum class Masks { kNone, kOne, kTwo };

template <Masks kMasks, bool kStreams>
EDEN_LANES void flip_run(const FlipRun& run, const FlipRun& next) {
  const auto* in = static_cast<const uint8_t*>(run.in);
  const auto* zero = static_cast<const uint8_t*>(run.zero);
  const auto* one = static_cast<const uint8_t*>(run.one);
  auto* out = static_cast<uint8_t*>(run.out);
  if constexpr (kMasks == Masks::kNone && !kStreams) {
    // Which has been made for this machine.
    if (in != out) __builtin_memcpy(out, in, run.bytes);
    return;
  }
  const auto* ahead = static_cast<const uint8_t*>(next.in);
  size_t at = 0;
  const auto flip_bytes = [&](size_t end) EDEN_INLINE_LAMBDA {
    EDEN_UNROLL(1)
    for (; at < end; ++at) {
      out[at] = kMasks == Masks::kNone ? in[at] : (in[at] & ~one[at]) | (~in[at] & zero[at]);
    }
  };
  if (kStreams) {
    // Streaming stores are of whole lanes of their own alignment.
    const size_t lead = (0 - reinterpret_cast<size_t>(out)) % kLaneBytes;
    flip_bytes(lead < run.bytes ? lead : run.bytes);
  }
  EDEN_UNROLL(1)
  for (; at + kLaneBytes <= run.bytes; at += kLaneBytes) {
    // Where runs are far apart, nothing but this fetches the next one in time.
    if (kStreams && at < next.bytes) __builtin_prefetch(ahead + at);
    Words words = load(in + at);
    if (kMasks == Masks::kOne) words ^= load(zero + at);
    if (kMasks == Masks::kTwo) {
      const Words of_zero = load(zero + at), of_one = load(one + at);
      words ^= of_zero ^ (words & (of_zero ^ of_one));
    }
    if (kStreams) {
      stream(out + at, words);
    } else {
      store(out + at, words);
    }
  }
  flip_bytes(run.bytes);
}

template <bool kStreams>
EDEN_LANES void flip_runs(const FlipRun* runs, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const FlipRun& next = runs[i + 1 < count ? i + 1 : i];
    if (runs[i].zero == nullptr) {
      flip_run<Masks::kNone, kStreams>(runs[i], next);
    } else if (runs[i].zero == runs[i].one) {
      flip_run<Masks::kOne, kStreams>(runs[i], next);
    } else {
      flip_run<Masks::kTwo, kStreams>(runs[i], next);
    }
  }
  if (kStreams) stream_fence();
}

void flip(const FlipRun* runs, size_t count, bool streams) {
  if (streams) {
    flip_runs<true>(runs, count);
  } else {
    flip_runs<false>(runs, count);
  }
}

}  // namespace
}  // namespace eden::simd::EDEN_ISA
