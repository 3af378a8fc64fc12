// The loops behind Apply, over the codecs of storage.h. Compiled once for each instruction set with
// its flags and its name, EDEN_ISA (cmake/simd.cmake); the compiler turns the loops into that set's
// vectors. Everything but apply_* has internal linkage.
#if defined(__F16C__)
#include <immintrin.h>
#endif

#include <type_traits>

#include "memory/corrupt/simd/tables.h"
#include "memory/storage/storage.h"

// `out` may be `in`, which is no dependence of one element on another.
#if defined(__clang__)
#define EDEN_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define EDEN_INDEPENDENT _Pragma("GCC ivdep")
#endif

// A loop is compiled once for all the round trips that it is part of, not once in each.
#define EDEN_LOOP __attribute__((noinline))

namespace eden::simd::EDEN_ISA {
namespace {

// Words of any alignment, in memory of any type. Structures, because a template argument keeps no
// attributes of a plain integer.
struct __attribute__((packed, may_alias)) Bits8 {
  uint8_t bits;
};
struct __attribute__((packed, may_alias)) Bits16 {
  uint16_t bits;
};
struct __attribute__((packed, may_alias)) Bits32 {
  uint32_t bits;
};

template <int kBits>
using BitsOf =
    std::conditional_t<kBits == 32, Bits32, std::conditional_t<kBits == 16, Bits16, Bits8>>;

// Elements that are worked on at a time where an intermediate form of them is kept: small enough
// that it stays in the first cache.
constexpr int64_t kBlock = 512;

// Shorter channels have a scale for each element, longer ones one for each stretch.
constexpr int64_t kShortChannel = 32;

// Where a code in each word's own bits is looked up in tables, which no vector does: without it for
// all, and through it where bits flip.
template <class Code, bool kCorrects, class Value, class Mask>
EDEN_LOOP void read_by_table(const Value* in, Value* out, int64_t count, const Mask* zero,
                             const Mask* one, const ElementCode& code) {
  using Bits = decltype(out->bits);
  constexpr int kAtOnce = 8;
  alignas(kAtOnce) uint8_t flips[kBlock];
  uint16_t flipped[kBlock];
  Bits found[kBlock];
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t size = count - begin < kBlock ? count - begin : kBlock;
    const int64_t padded = (size + kAtOnce - 1) / kAtOnce * kAtOnce;
    for (int64_t i = size; i < padded; ++i) flips[i] = 0;
    for (int64_t i = 0; i < size; ++i) {
      flips[i] = (zero[begin + i].bits | one[begin + i].bits) != 0 ? 1 : 0;
    }
    int number = 0;
    for (int64_t first = 0; first < padded; first += kAtOnce) {
      uint64_t any;
      __builtin_memcpy(&any, flips + first, kAtOnce);
      for (; any != 0; any &= any - 1) {
        const int64_t i = first + __builtin_ctzll(any) / 8;
        flipped[number] = static_cast<uint16_t>(i);
        found[number++] = static_cast<Bits>(Code::template read<true, kCorrects>(
            in[begin + i].bits, zero[begin + i].bits, one[begin + i].bits, code));
      }
    }
    EDEN_INDEPENDENT
    for (int64_t i = begin; i < begin + size; ++i) {
      out[i].bits =
          static_cast<Bits>(Code::template read<false, kCorrects>(in[i].bits, 0, 0, code));
    }
    for (int i = 0; i < number; ++i) out[begin + flipped[i]].bits = found[i];
  }
}

// A stretch of one channel: what an element needs is held in registers.
template <class Code, bool kFlips, bool kCorrects, class Value, class Mask>
void read_stretch(const Value* in, Value* out, int64_t count, const Mask* zero, const Mask* one,
                  ElementCode code) {
  if constexpr (kFlips && Code::kByTable) {
    return read_by_table<Code, kCorrects>(in, out, count, zero, one, code);
  }
  EDEN_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t flips_zero = kFlips ? zero[i].bits : 0;
    const uint32_t flips_one = kFlips ? one[i].bits : 0;
    out[i].bits = static_cast<decltype(out[i].bits)>(
        Code::template read<kFlips, kCorrects>(in[i].bits, flips_zero, flips_one, code));
  }
}

// What the elements of a block need where neighbours are of different channels. Aligned, as the
// other blocks, for vectors of any set.
struct alignas(64) MixedCodes {
  float scale[kBlock];
  int32_t zero_point[kBlock];
  float least[kBlock];
  float most[kBlock];
  float low[kBlock];
  float high[kBlock];
};

template <class T>
EDEN_LOOP void spread_channels(const T* of_channel, T absent, const Conversion& conversion,
                               int64_t first, int64_t count, T* of_element) {
  if (of_channel == nullptr) {
    for (int64_t i = 0; i < count; ++i) of_element[i] = absent;
    return;
  }
  const int64_t inner = conversion.channel_inner;
  int64_t channel = first / inner % conversion.channels;
  int64_t left = inner - first % inner;  // of the channel
  for (int64_t i = 0; i < count;) {
    if (inner == 1) {
      const int64_t rest = conversion.channels - channel;
      const int64_t length = rest < count - i ? rest : count - i;
      __builtin_memcpy(of_element + i, of_channel + channel,
                       static_cast<size_t>(length) * sizeof(T));
      i += length;
      channel = 0;
      continue;
    }
    const int64_t end = left < count - i ? i + left : count;
    for (const T number = of_channel[channel]; i < end; ++i) of_element[i] = number;
    left = inner;
    if (++channel == conversion.channels) channel = 0;
  }
}

template <class Code>
EDEN_LOOP void prepare_mixed(const Conversion& conversion, int64_t first, int64_t count,
                             MixedCodes& codes) {
  spread_channels(conversion.scale, 1.0f, conversion, first, count, codes.scale);
  spread_channels(conversion.zero_point, 0, conversion, first, count, codes.zero_point);
  // Read from memory, because GCC gives up a loop in which a comparison is the same every time.
  for (int64_t i = 0; i < count; ++i) codes.low[i] = conversion.low;
  for (int64_t i = 0; i < count; ++i) codes.high[i] = conversion.high;
  Conversion settings = conversion;
  EDEN_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    settings.low = codes.low[i];
    settings.high = codes.high[i];
    const ElementCode code = Code::code(settings, codes.scale[i], codes.zero_point[i]);
    codes.scale[i] = code.scale;
    codes.zero_point[i] = code.zero_point;
    codes.least[i] = code.least;
    codes.most[i] = code.most;
    codes.low[i] = code.low;
    codes.high[i] = code.high;
  }
}

template <class Code, bool kFlips, bool kCorrects, class Mask>
void read_mixed(const Bits32* in, Bits32* out, int64_t count, const Mask* zero, const Mask* one,
                const MixedCodes& codes, Correction correction) {
  const uint32_t kept = correction == Correction::kClamp ? ~uint32_t{0} : 0;
  EDEN_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    ElementCode code{};
    code.scale = codes.scale[i];
    code.zero_point = codes.zero_point[i];
    code.least = codes.least[i];
    code.most = codes.most[i];
    code.low = codes.low[i];
    code.high = codes.high[i];
    code.below = bits_of(code.low) & kept;
    code.above = bits_of(code.high) & kept;
    const uint32_t flips_zero = kFlips ? zero[i].bits : 0;
    const uint32_t flips_one = kFlips ? one[i].bits : 0;
    out[i].bits = Code::template read<kFlips, kCorrects>(in[i].bits, flips_zero, flips_one, code);
  }
}

// Writes a mask of kWidth bits an element as one of a byte an element; `from` begins with an
// element.
template <int kWidth>
EDEN_LOOP void spread(const uint8_t* from, int64_t count, uint8_t* to) {
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

// The mask of `count` elements from element `first` of the run on, a word for each of them.
template <int kWidth>
const BitsOf<kWidth>* mask_words(const uint64_t* mask, int64_t first, int64_t count,
                                 uint8_t* buffer) {
  if constexpr (kWidth < 8) {
    spread<kWidth>(reinterpret_cast<const uint8_t*>(mask) + first * kWidth / 8, count, buffer);
    return reinterpret_cast<const Bits8*>(buffer);
  } else {
    return reinterpret_cast<const BitsOf<kWidth>*>(mask) + first;
  }
}

// float32 values to the words of a format and back.
template <class Format, class Word>
EDEN_LOOP void encode_block(const Bits32* in, Word* out, int64_t count) {
  int64_t i = 0;
#if defined(__F16C__)
  // The instruction does what Float16Format says.
  if constexpr (__is_base_of(Float16Format, Format)) {
    for (; i + 8 <= count; i += 8) {
      const __m256 values = _mm256_castsi256_ps(_mm256_loadu_si256((const __m256i*)(in + i)));
      _mm_storeu_si128((__m128i*)(out + i), _mm256_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT));
    }
  }
#endif
  EDEN_INDEPENDENT
  for (int64_t j = i; j < count; ++j) {
    out[j].bits = static_cast<decltype(out[j].bits)>(Format::encode(float_of(in[j].bits)));
  }
}

template <class Format, class Word>
EDEN_LOOP void decode_block(const Word* in, Bits32* out, int64_t count) {
  int64_t i = 0;
#if defined(__F16C__)
  if constexpr (__is_base_of(Float16Format, Format)) {
    for (; i + 8 <= count; i += 8) {
      const __m256 values = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(in + i)));
      _mm256_storeu_si256((__m256i*)(out + i), _mm256_castps_si256(values));
    }
  }
#endif
  EDEN_INDEPENDENT
  for (int64_t j = i; j < count; ++j) out[j].bits = bits_of(Format::decode(in[j].bits));
}

// The type whose values are a float storage's words.
constexpr ValueType type_of(Storage storage) {
  int64_t type = 0;
  while (own_storage(static_cast<ValueType>(type)) != storage) ++type;
  return static_cast<ValueType>(type);
}

// Outer types other than float32, to float32 and back.
void decode_values(ValueType value, const void* in, Bits32* out, int64_t count) {
  const auto* words = static_cast<const Bits16*>(in);
  if (value == ValueType::kFloat16) return decode_block<Float16Format>(words, out, count);
  decode_block<BFloat16Format>(words, out, count);
}

void encode_values(ValueType value, const Bits32* in, void* out, int64_t count) {
  auto* words = static_cast<Bits16*>(out);
  if (value == ValueType::kFloat16) return encode_block<Float16Format>(in, words, count);
  encode_block<BFloat16Format>(in, words, count);
}

// Every round trip through a storage is made of four steps, of which it skips those that would
// change nothing: values to float32; float32 to words, flips, corrections and back; float32 to
// values. Words of a float storage are corrected as such; for the codes of the other storages one
// loop does all that lies between float32 and float32. The type of the values is known when the
// program runs: it decides about the first and last step alone, and three types share the loops.
template <ValueType kInner, Storage kStorage, bool kFlips, bool kCorrects>
class RoundTrip {
 public:
  RoundTrip(ValueType value, const ApplyRun& run, const Conversion& conversion)
      : run_(run),
        conversion_(conversion),
        value_(value),
        channels_(Inner::kHasScale && conversion.channels > 1),
        mixed_(channels_ && conversion.channel_inner < kShortChannel),
        code_(mixed_ ? ElementCode{} : Inner::code_of_channel(conversion, 0)) {
    block_ = direct() && !mixed_ ? run.count : kBlock;
    if (mixed_) {
      // Whole periods of channels and whole bytes of masks, so that one preparation serves all.
      const int64_t unit = conversion.channel_inner * conversion.channels * kElementsPerByte;
      periodic_ = unit <= kBlock;
      if (periodic_) block_ = kBlock / unit * unit;
    }
  }

  void go() {
    for (int64_t begin = 0; begin < run_.count; begin += block_) {
      go(begin, run_.count - begin < block_ ? run_.count - begin : block_);
    }
  }

 private:
  // The step in the middle: words of a float storage as they are, codes from and to float32.
  using Inner = Codec<kInner, kStorage>;
  static constexpr bool kFloatWords = Inner::kIdentity;
  static constexpr int kWidth = mask_bits(kStorage);
  static constexpr int64_t kElementsPerByte = kWidth < 8 ? 8 / kWidth : 1;
  using InnerBits = BitsOf<Inner::kValueBits>;
  using Mask = BitsOf<kWidth>;

  bool own() const { return Inner::kIdentity && value_ == kInner; }
  // Without an intermediate form.
  bool direct() const {
    return own() || (!kFloatWords && kWidth >= 8 && value_ == ValueType::kFloat32);
  }

  void go(int64_t begin, int64_t count) {
    const Mask* zero = nullptr;
    const Mask* one = nullptr;
    uint8_t zero_buffer[kWidth < 8 ? kBlock : 1], one_buffer[kWidth < 8 ? kBlock : 1];
    if constexpr (kFlips) {
      zero = mask_words<kWidth>(run_.zero, begin, count, zero_buffer);
      one = run_.one == run_.zero ? zero : mask_words<kWidth>(run_.one, begin, count, one_buffer);
    }
    if (own()) {
      read(static_cast<const InnerBits*>(run_.in) + begin,
           static_cast<InnerBits*>(run_.out) + begin, begin, count, zero, one);
    } else if constexpr (traits_of(own_storage(kInner)).kind == WordKind::kFloat) {
      if (value_ == ValueType::kFloat32) {
        through_storage(static_cast<const Bits32*>(run_.in) + begin,
                        static_cast<Bits32*>(run_.out) + begin, begin, count, zero, one);
      } else {
        decode_values(value_, static_cast<const Bits16*>(run_.in) + begin, values_, count);
        through_storage(values_, values_, begin, count, zero, one);
        encode_values(value_, values_, static_cast<Bits16*>(run_.out) + begin, count);
      }
    }
  }

  // From float32 to float32.
  void through_storage(const Bits32* in, Bits32* out, int64_t begin, int64_t count,
                       const Mask* zero, const Mask* one) {
    if constexpr (kFloatWords && kStorage != Storage::kFloat32) {
      encode_block<FormatOf<kStorage>>(in, words_, count);
      if constexpr (kFlips || kCorrects) read(words_, words_, begin, count, zero, one);
      decode_block<FormatOf<kStorage>>(words_, out, count);
    } else if constexpr (!kFloatWords || kFlips || kCorrects) {
      read(in, out, begin, count, zero, one);
    }
  }

  EDEN_LOOP void read(const InnerBits* in, InnerBits* out, int64_t begin, int64_t count,
                      const Mask* zero, const Mask* one) {
    if (!channels_) {
      read_stretch<Inner, kFlips, kCorrects>(in, out, count, zero, one, code_);
    } else if constexpr (Inner::kHasScale) {
      const int64_t first = run_.first + begin;
      if (mixed_) {
        if (!periodic_ || begin == 0) prepare_mixed<Inner>(conversion_, first, count, codes_);
        read_mixed<Inner, kFlips, kCorrects>(in, out, count, zero, one, codes_,
                                             conversion_.correction);
        return;
      }
      const int64_t inner = conversion_.channel_inner;
      int64_t left = inner - first % inner;
      for (int64_t at = 0, channel = first / inner; at < count; ++channel) {
        const int64_t length = left < count - at ? left : count - at;
        read_stretch<Inner, kFlips, kCorrects>(
            in + at, out + at, length, kFlips ? zero + at : zero, kFlips ? one + at : one,
            Inner::code_of_channel(conversion_, channel % conversion_.channels));
        at += length;
        left = inner;
      }
    }
  }

  struct Nothing {};
  const ApplyRun& run_;
  const Conversion& conversion_;
  ValueType value_;
  bool channels_;
  bool mixed_;
  bool periodic_ = false;
  int64_t block_;
  ElementCode code_;
  alignas(64) Bits32 values_[kBlock];
  alignas(64) InnerBits words_[kFloatWords ? kBlock : 1];
  [[maybe_unused]] std::conditional_t<Inner::kHasScale, MixedCodes, Nothing> codes_;
};

// Elements of any of the types that a storage takes.
template <ValueType kInner, Storage kStorage>
void read_run(ValueType value, const ApplyRun& run, const Conversion& conversion) {
  constexpr bool kCorrectable = Codec<kInner, kStorage>::kCorrectable;
  const bool flips = run.zero != nullptr;
  if constexpr (kCorrectable) {
    if (conversion.correction != Correction::kNone) {
      if (flips) return RoundTrip<kInner, kStorage, true, true>(value, run, conversion).go();
      return RoundTrip<kInner, kStorage, false, true>(value, run, conversion).go();
    }
  }
  if (flips) return RoundTrip<kInner, kStorage, true, false>(value, run, conversion).go();
  // Without flips, words of these types are never more than copied: see apply.
  if constexpr (kCorrectable)
    RoundTrip<kInner, kStorage, false, false>(value, run, conversion).go();
}

template <ValueType kValue, Storage kStorage>
void apply(const ApplyRun& run, const Conversion& conversion) {
  using Code = Codec<kValue, kStorage>;
  if (run.count == 0) return;
  const bool corrects = Code::kCorrectable && conversion.correction != Correction::kNone;
  if (Code::kIdentity && run.zero == nullptr && !corrects) {
    if (run.out != run.in) {
      __builtin_memcpy(run.out, run.in, static_cast<size_t>(run.count) * (Code::kValueBits / 8));
    }
    return;
  }
  constexpr bool kFloatWords = traits_of(kStorage).kind == WordKind::kFloat &&
                               traits_of(kStorage).protection == Protection::kNone;
  constexpr ValueType kInner = kFloatWords       ? type_of(kStorage)
                               : Code::kIdentity ? kValue
                                                 : ValueType::kFloat32;
  read_run<kInner, kStorage>(kValue, run, conversion);
}

// The first storage that has the same words, as far as the loops above can tell: a code of several
// words stands behind them. Words of a float storage are the values' own only without a code.
constexpr Storage words_of(Storage storage) {
  const StorageTraits traits = traits_of(storage);
  if (!is_coded(storage)) return storage;
  for (int64_t i = 0;; ++i) {
    const auto other = static_cast<Storage>(i);
    const StorageTraits tried = traits_of(other);
    const bool alone = traits.kind == WordKind::kFloat && traits.bits < 32;
    if (other == storage || (!alone && tried.bits == traits.bits && tried.kind == traits.kind &&
                             (is_coded(other) || tried.protection == Protection::kNone))) {
      return other;
    }
  }
}

Apply apply_of(ValueType value, Storage storage) {
  Apply found = nullptr;
  visit_codec(value, storage,
              [&]<ValueType kValue, Storage kStorage>() { found = apply<kValue, kStorage>; });
  visit_codec<true>(value, storage, [&]<ValueType kValue, Storage kStorage>() {
    found = apply<kValue, words_of(kStorage)>;
  });
  return found;
}

}  // namespace
}  // namespace eden::simd::EDEN_ISA

namespace eden::simd {

Apply EDEN_OF_ISA(apply)(ValueType value, Storage storage) {
  return EDEN_ISA::apply_of(value, storage);
}

}  // namespace eden::simd
