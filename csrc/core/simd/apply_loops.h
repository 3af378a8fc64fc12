// The loops behind Apply, over the codecs of storage.h. A translation unit defines
// EDEN_ISA_NAMESPACE as the name of its instruction set's namespace and includes this page once;
// the compiler turns the loops into that set's vectors. Everything has internal linkage.
#pragma once

#include "core/simd/tables.h"
#include "core/storage.h"

#ifndef EDEN_ISA_NAMESPACE
#error "EDEN_ISA_NAMESPACE must name the namespace of the instruction set"
#endif

// `out` may be `in`, which is no dependence of one element on another.
#if defined(__clang__)
#define EDEN_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define EDEN_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace eden::simd::EDEN_ISA_NAMESPACE {
namespace {

// Words of any alignment that are read from and written to memory of any type.
using Bits8 = uint8_t;
typedef uint16_t __attribute__((may_alias, aligned(1))) Bits16;
typedef uint32_t __attribute__((may_alias, aligned(1))) Bits32;

template <int kBits>
struct BitsOf {
  using Type = Bits8;
};
template <>
struct BitsOf<16> {
  using Type = Bits16;
};
template <>
struct BitsOf<32> {
  using Type = Bits32;
};

// Elements between two looks at what changes along a run: small enough that what is prepared for
// them stays in the first cache.
constexpr int64_t kBlock = 1024;

// Shorter channels have a scale for each element, longer ones one for each stretch.
constexpr int64_t kShortChannel = 64;

// Runs of one channel: what an element needs is held in registers.
template <class Code, bool kFlips, bool kCorrects, class Value, class Mask>
void read_stretch(const Value* in, Value* out, int64_t count, const Mask* zero, const Mask* one,
                  ElementCode code) {
  EDEN_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t flips_zero = kFlips ? zero[i] : 0;
    const uint32_t flips_one = kFlips ? one[i] : 0;
    out[i] = static_cast<Value>(
        Code::template read<kFlips, kCorrects>(in[i], flips_zero, flips_one, code));
  }
}

// Neighbours are of different channels.
template <class Code, bool kFlips, bool kCorrects, class Value, class Mask>
void read_mixed(const Value* in, Value* out, int64_t count, const Mask* zero, const Mask* one,
                const float* scale, const int32_t* zero_point, Conversion conversion) {
  EDEN_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    const ElementCode code = Code::code(conversion, scale[i], zero_point[i]);
    const uint32_t flips_zero = kFlips ? zero[i] : 0;
    const uint32_t flips_one = kFlips ? one[i] : 0;
    out[i] = static_cast<Value>(
        Code::template read<kFlips, kCorrects>(in[i], flips_zero, flips_one, code));
  }
}

// Writes a mask of kWidth bits an element as one of a byte an element; `from` begins with an
// element.
template <int kWidth>
void spread(const uint8_t* from, int64_t count, uint8_t* to) {
  constexpr int kPerByte = 8 / kWidth;
  const int64_t whole = count / kPerByte;
  if constexpr (kWidth == 4) {
    for (int64_t i = 0; i < whole; ++i) {
      to[2 * i] = from[i] & 15;
      to[2 * i + 1] = from[i] >> 4;
    }
  } else {
    for (int64_t i = 0; i < whole; ++i) {
      // A copy of the byte for each of its bits, the bit picked out, and any bit made bit 0.
      const uint64_t picked = (from[i] * 0x0101010101010101u) & 0x8040201008040201u;
      const uint64_t spread_bits = ((picked + 0x7f7f7f7f7f7f7f7fu) >> 7) & 0x0101010101010101u;
      __builtin_memcpy(to + 8 * i, &spread_bits, 8);
    }
  }
  for (int64_t e = whole * kPerByte; e < count; ++e) {
    to[e] =
        static_cast<uint8_t>((from[e / kPerByte] >> (e % kPerByte * kWidth)) & ((1 << kWidth) - 1));
  }
}

// The numbers of `count` elements from index `first` of a sample on.
template <class T>
void spread_channels(const T* of_channel, T absent, const Conversion& conversion, int64_t first,
                     int64_t count, T* of_element) {
  if (of_channel == nullptr) {
    for (int64_t i = 0; i < count; ++i) of_element[i] = absent;
    return;
  }
  const int64_t inner = conversion.channel_inner;
  int64_t channel = first / inner % conversion.channels, place = first % inner;
  for (int64_t i = 0; i < count; ++i) {
    of_element[i] = of_channel[channel];
    if (++place == inner) {
      place = 0;
      if (++channel == conversion.channels) channel = 0;
    }
  }
}

// The mask of `count` elements from element `first` of the run on, a word for each of them.
template <int kWidth>
const typename BitsOf<kWidth>::Type* mask_words(const uint64_t* mask, int64_t first, int64_t count,
                                                uint8_t* buffer) {
  if constexpr (kWidth < 8) {
    spread<kWidth>(reinterpret_cast<const uint8_t*>(mask) + first * kWidth / 8, count, buffer);
    return buffer;
  } else {
    return reinterpret_cast<const typename BitsOf<kWidth>::Type*>(mask) + first;
  }
}

template <class Code, bool kFlips, bool kCorrects>
void read_run(const ApplyRun& run, const Conversion& conversion) {
  using Value = typename BitsOf<Code::kValueBits>::Type;
  using Mask = typename BitsOf<Code::kWidthBits>::Type;
  constexpr int kWidth = Code::kWidthBits;
  constexpr bool kNarrow = kWidth < 8;
  const auto* in = static_cast<const Value*>(run.in);
  auto* out = static_cast<Value*>(run.out);
  const int64_t inner = conversion.channel_inner;
  const bool channels = Code::kHasScale && conversion.channels > 1;
  const bool mixed = channels && inner < kShortChannel;
  const ElementCode only = mixed ? ElementCode{} : Code::code_of_channel(conversion, 0);

  int64_t block = kNarrow || mixed ? kBlock : run.count;
  bool periodic = false;
  if (mixed) {
    // Whole periods of channels and whole bytes of masks, so that one preparation serves every
    // block.
    const int64_t unit = inner * conversion.channels * (kNarrow ? 8 / kWidth : 1);
    periodic = unit <= kBlock;
    if (periodic) block = kBlock / unit * unit;
  }
  uint8_t spread_zero[kNarrow ? kBlock : 1], spread_one[kNarrow ? kBlock : 1];
  float scale[Code::kHasScale ? kBlock : 1];
  int32_t zero_point[Code::kHasScale ? kBlock : 1];

  for (int64_t begin = 0; begin < run.count; begin += block) {
    const int64_t count = run.count - begin < block ? run.count - begin : block;
    const Mask* zero = nullptr;
    const Mask* one = nullptr;
    if constexpr (kFlips) {
      zero = mask_words<kWidth>(run.zero, begin, count, spread_zero);
      one = run.one == run.zero ? zero : mask_words<kWidth>(run.one, begin, count, spread_one);
    }
    const int64_t first = run.first + begin;
    if (!channels) {
      read_stretch<Code, kFlips, kCorrects>(in + begin, out + begin, count, zero, one, only);
    } else if constexpr (Code::kHasScale) {
      if (mixed) {
        if (!periodic || begin == 0) {
          spread_channels(conversion.scale, 1.0f, conversion, first, count, scale);
          spread_channels(conversion.zero_point, 0, conversion, first, count, zero_point);
        }
        read_mixed<Code, kFlips, kCorrects>(in + begin, out + begin, count, zero, one, scale,
                                            zero_point, conversion);
      } else {
        for (int64_t at = 0; at < count;) {
          const int64_t index = first + at;
          const int64_t rest = inner - index % inner;
          const int64_t length = rest < count - at ? rest : count - at;
          read_stretch<Code, kFlips, kCorrects>(
              in + begin + at, out + begin + at, length, kFlips ? zero + at : zero,
              kFlips ? one + at : one,
              Code::code_of_channel(conversion, index / inner % conversion.channels));
          at += length;
        }
      }
    }
  }
}

template <ValueType kValue, Storage kStorage>
void apply(const ApplyRun& run, const Conversion& conversion) {
  using Code = Codec<kValue, kStorage>;
  if (run.count == 0) return;
  const bool flips = run.zero != nullptr;
  const bool corrects = Code::kCorrectable && conversion.correction != Correction::kNone;
  if constexpr (Code::kCorrectable) {
    if (corrects) {
      if (flips) {
        read_run<Code, true, true>(run, conversion);
      } else {
        read_run<Code, false, true>(run, conversion);
      }
      return;
    }
  }
  if (flips) {
    read_run<Code, true, false>(run, conversion);
  } else if constexpr (Code::kIdentity) {
    if (run.out != run.in) {
      __builtin_memcpy(run.out, run.in, static_cast<size_t>(run.count) * (Code::kValueBits / 8));
    }
  } else {
    read_run<Code, false, false>(run, conversion);
  }
}

template <ValueType kValue, Storage kStorage>
Apply apply_or_null() {
  if constexpr (can_store(kValue, kStorage)) {
    return apply<kValue, kStorage>;
  } else {
    return nullptr;
  }
}

template <ValueType kValue>
Apply apply_in(Storage storage) {
  switch (storage) {
    case Storage::kFloat32:
      return apply_or_null<kValue, Storage::kFloat32>();
    case Storage::kInt8:
      return apply_or_null<kValue, Storage::kInt8>();
    case Storage::kFloat16:
      return apply_or_null<kValue, Storage::kFloat16>();
    case Storage::kBFloat16:
      return apply_or_null<kValue, Storage::kBFloat16>();
    case Storage::kFloat8E4M3:
      return apply_or_null<kValue, Storage::kFloat8E4M3>();
    case Storage::kFloat8E5M2:
      return apply_or_null<kValue, Storage::kFloat8E5M2>();
    case Storage::kInt16:
      return apply_or_null<kValue, Storage::kInt16>();
    case Storage::kUint8:
      return apply_or_null<kValue, Storage::kUint8>();
    case Storage::kInt4:
      return apply_or_null<kValue, Storage::kInt4>();
    case Storage::kSign:
      return apply_or_null<kValue, Storage::kSign>();
    case Storage::kInt32:
      return apply_or_null<kValue, Storage::kInt32>();
  }
  return nullptr;
}

Apply apply_of(ValueType value, Storage storage) {
  switch (value) {
    case ValueType::kFloat32:
      return apply_in<ValueType::kFloat32>(storage);
    case ValueType::kFloat16:
      return apply_in<ValueType::kFloat16>(storage);
    case ValueType::kBFloat16:
      return apply_in<ValueType::kBFloat16>(storage);
    case ValueType::kFloat8E4M3:
      return apply_in<ValueType::kFloat8E4M3>(storage);
    case ValueType::kFloat8E5M2:
      return apply_in<ValueType::kFloat8E5M2>(storage);
    case ValueType::kInt8:
      return apply_in<ValueType::kInt8>(storage);
    case ValueType::kUint8:
      return apply_in<ValueType::kUint8>(storage);
    case ValueType::kInt16:
      return apply_in<ValueType::kInt16>(storage);
    case ValueType::kInt32:
      return apply_in<ValueType::kInt32>(storage);
  }
  return nullptr;
}

}  // namespace
}  // namespace eden::simd::EDEN_ISA_NAMESPACE
