// The forms in which a memory stores a tensor's elements. A new storage is one more value of the
// enumeration and one more codec: how a value becomes the stored word, and back. A new code, which
// stands between the words and the cells, is a file in memory/codes and a value of Protection.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "base/platform.h"
#include "memory/codes/bch.h"
#include "memory/codes/cep.h"
#include "memory/codes/extended_hamming.h"
#include "memory/codes/hamming.h"
#include "memory/codes/in_word.h"
#include "memory/codes/mset.h"
#include "memory/codes/secded.h"
#include "memory/codes/tripled_sign.h"
#include "memory/region.h"

namespace eden {

enum class Storage : int64_t {
  kFloat32 = 0,
  kInt8 = 1,
  kFloat16 = 2,
  kBFloat16 = 3,
  kFloat8E4M3 = 4,  // e4m3fn: no infinities
  kFloat8E5M2 = 5,
  kInt16 = 6,
  kUint8 = 7,
  kInt4 = 8,    // two to a byte, the first in the low half
  kSign = 9,    // one bit, set for negative values
  kInt32 = 10,  // of int32 tensors alone
  // Integers as a sign, in the highest bit, and a magnitude: a flip of the highest bit of a small
  // number, where two's complement adds or takes half of the range, gives its negative.
  kInt16SignMagnitude = 11,
  kInt8SignMagnitude = 12,
  kInt4SignMagnitude = 13,  // two to a byte, as kInt4
  // With a code: see Protection.
  kInt8SignTripled = 14,
  kInt8Secded = 15,
  kUint8Secded = 16,
  kInt8SignMagnitudeSecded = 17,
  kFloat32Secded = 18,
  kFloat16Secded = 19,
  kBFloat16Secded = 20,
  kFloat32Mset = 21,
  kFloat16Mset = 22,
  kBFloat16Mset = 23,
  kFloat32Cep = 24,
  kFloat16Cep = 25,
  kBFloat16Cep = 26,
  kInt6SignMagnitudeHamming = 27,
  kUint6Hamming = 28,
  kFloat32Bch = 29,
  kFloat16Hamming = 30,
  kBFloat16Hamming = 31,
};
inline constexpr int64_t kStorages = 32;

// The type of a tensor's elements. float32, float16 and bfloat16 can be kept in every storage but
// int32, the others in their own alone.
enum class ValueType : int64_t {
  kFloat32 = 0,
  kFloat16 = 1,
  kBFloat16 = 2,
  kFloat8E4M3 = 3,
  kFloat8E5M2 = 4,
  kInt8 = 5,
  kUint8 = 6,
  kInt16 = 7,
  kInt32 = 8,
};
inline constexpr int64_t kValueTypes = 9;

// How values become stored words and back, beside the storage itself.
struct Conversion {
  // Of the quantized storages: code = round-half-even(value / scale) + zero point, clipped to the
  // storage's range (symmetric, without its lowest code, where the storage is signed and there is
  // no zero point). For kSign the scale is the magnitude. Null for a scale of 1.
  const float* scale = nullptr;
  const int32_t* zero_point = nullptr;  // null for none
  int64_t channels = 1;                 // numbers in scale and zero_point
  int64_t channel_inner = 1;            // element i of a sample is of channel i / inner % channels
  Correction correction = Correction::kNone;
  float low = 0.0f;  // bounds of plausible values, before they are rounded to the storage
  float high = 0.0f;
};

// What the stored words of a storage mean.
enum class WordKind : uint8_t { kFloat, kSigned, kUnsigned, kSign, kSignMagnitude };

// What protects the words in the cells.
enum class Protection : uint8_t {
  kNone,
  // Of several words together: their cells are a stream of bytes (memory/codes/coded_load.h).
  kSecded,
  kTripledSign,
  kHamming,
  // Of each word in its own bits: a format of numbers (memory/codes/in_word.h).
  kMset,
  kCep,
  kExtendedHamming,
  kBch,
};

struct StorageTraits {
  // Bytes, since a GPU's thread keeps the table below in memory of its own.
  uint8_t bits;  // of a word, before a code of several words
  WordKind kind;
  Protection protection = Protection::kNone;
};

EDEN_ALWAYS_INLINE constexpr StorageTraits traits_of(Storage storage) {
  using enum WordKind;
  using enum Protection;
  constexpr StorageTraits kTraits[kStorages] = {
      {32, kFloat},
      {8, kSigned},
      {16, kFloat},
      {16, kFloat},
      {8, kFloat},
      {8, kFloat},
      {16, kSigned},
      {8, kUnsigned},
      {4, kSigned},
      {1, kSign},
      {32, kSigned},
      {16, kSignMagnitude},
      {8, kSignMagnitude},
      {4, kSignMagnitude},
      {TripledSign::kMagnitudeBits + 1, kSignMagnitude, kTripledSign},
      {8, kSigned, kSecded},
      {8, kUnsigned, kSecded},
      {8, kSignMagnitude, kSecded},
      {32, kFloat, kSecded},
      {16, kFloat, kSecded},
      {16, kFloat, kSecded},
      {32, kFloat, kMset},
      {16, kFloat, kMset},
      {16, kFloat, kMset},
      {32, kFloat, kCep},
      {16, kFloat, kCep},
      {16, kFloat, kCep},
      {Hamming::kWordBits, kSignMagnitude, kHamming},
      {Hamming::kWordBits, kUnsigned, kHamming},
      {32, kFloat, kBch},
      {16, kFloat, kExtendedHamming},
      {16, kFloat, kExtendedHamming}};
  const auto number = static_cast<uint64_t>(storage);
  return number < kStorages ? kTraits[number] : StorageTraits{0, kSigned};
}

// Of a word. Zero for a number that names no storage.
EDEN_ALWAYS_INLINE constexpr int storage_bits(Storage storage) { return traits_of(storage).bits; }

// Whether a code joins several words, so that an element has no cells of its own.
EDEN_ALWAYS_INLINE constexpr bool is_coded(Storage storage) {
  const Protection protection = traits_of(storage).protection;
  return protection == Protection::kSecded || protection == Protection::kTripledSign ||
         protection == Protection::kHamming;
}

// Bits that a word takes in a mask of flips: its own, or of a code of several words, whose cells
// are elsewhere, the whole bytes that hold them.
EDEN_ALWAYS_INLINE constexpr int mask_bits(Storage storage) {
  const int bits = storage_bits(storage);
  return is_coded(storage) && bits < 8 ? 8 : bits;
}

// Whether a code stays in each word's own bits.
EDEN_ALWAYS_INLINE constexpr bool is_in_word(Protection protection) {
  return protection >= Protection::kMset;
}

// Whether such a code is looked up in tables.
EDEN_ALWAYS_INLINE constexpr bool is_by_table(Protection protection) {
  return protection >= Protection::kExtendedHamming;
}

// Bits of what addresses and pieces of memory are multiples of: a word, or a byte of coded words.
EDEN_ALWAYS_INLINE constexpr int cell_unit(Storage storage) {
  return is_coded(storage) ? 8 : storage_bits(storage);
}

// The least that a code of several words keeps as a whole.
struct CodeBlock {
  int64_t words;
  int64_t bytes;  // of cells
};

// Of a storage that is coded; a tripled sign takes a byte for each word.
EDEN_ALWAYS_INLINE constexpr CodeBlock code_block(Storage storage) {
  switch (traits_of(storage).protection) {
    case Protection::kSecded:
      return {Secded::kDataBits / storage_bits(storage), Secded::kBlockBytes};
    case Protection::kHamming:
      return {Hamming::kBlockWords, Hamming::kBlockBytes};
    default:
      return {1, 1};
  }
}

// Cells that `elements` of one sample take. The last block of a code is filled up with zeros.
EDEN_ALWAYS_INLINE constexpr int64_t cells_of(Storage storage, int64_t elements) {
  if (!is_coded(storage)) return elements * storage_bits(storage);
  const CodeBlock block = code_block(storage);
  return (elements + block.words - 1) / block.words * (8 * block.bytes);
}

// The storage whose words are the bits of the values themselves.
EDEN_ALWAYS_INLINE constexpr Storage own_storage(ValueType value) {
  using enum Storage;
  constexpr Storage kOwn[kValueTypes] = {kFloat32, kFloat16, kBFloat16, kFloat8E4M3, kFloat8E5M2,
                                         kInt8,    kUint8,   kInt16,    kInt32};
  return kOwn[static_cast<uint64_t>(value)];
}

// Whether values of a type can be kept in a storage.
EDEN_ALWAYS_INLINE constexpr bool can_store(ValueType value, Storage storage) {
  if (storage_bits(storage) == 0) return false;
  if (storage == own_storage(value)) return true;
  const bool converts =
      value == ValueType::kFloat32 || value == ValueType::kFloat16 || value == ValueType::kBFloat16;
  return converts && storage != Storage::kInt32;
}

// Whether words of the storage are codes of a scale, and perhaps of a zero point.
EDEN_ALWAYS_INLINE constexpr bool is_quantized(Storage storage) {
  const WordKind kind = traits_of(storage).kind;
  return kind == WordKind::kSigned || kind == WordKind::kUnsigned ||
         kind == WordKind::kSignMagnitude;
}

// Whether its codes can have a zero point. Codes of a sign and a magnitude are symmetric around 0.
EDEN_ALWAYS_INLINE constexpr bool can_have_zero_point(Storage storage) {
  return is_quantized(storage) && traits_of(storage).kind != WordKind::kSignMagnitude;
}

// The lowest and highest code that quantization makes.
struct CodeEnds {
  int32_t lowest;
  int32_t highest;

  EDEN_ALWAYS_INLINE constexpr int32_t clamped(int32_t code) const {
    return code < lowest ? lowest : code > highest ? highest : code;
  }
};

// Of a quantized storage of at most 16 bits. Without a zero point a signed one is symmetric.
EDEN_ALWAYS_INLINE constexpr CodeEnds code_ends(Storage storage, bool has_zero_point) {
  const bool is_signed = traits_of(storage).kind != WordKind::kUnsigned;
  const bool is_affine = has_zero_point && can_have_zero_point(storage);
  const int32_t highest = (int32_t{1} << (storage_bits(storage) - (is_signed ? 1 : 0))) - 1;
  return {!is_signed ? 0 : is_affine ? -highest - 1 : -highest, highest};
}

EDEN_ALWAYS_INLINE uint32_t bits_of(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  return bits;
}

EDEN_ALWAYS_INLINE float float_of(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

inline constexpr uint32_t kFloatInfinity = 0x7f800000u;
inline constexpr uint32_t kFloatMagnitude = 0x7fffffffu;
inline constexpr uint32_t kFloatQuietNaN = 0x00400000u;

// A format of floating-point numbers of at most 16 bits. Conversion from float32 rounds to nearest,
// ties to even; what is too large becomes an infinity, or the largest number in a format without
// infinities, as in torch 2.13. Without library calls, and without arithmetic on subnormal numbers
// whose result would depend on whether the processor flushes them to zero, so that every backend
// gives the same bits.
template <int kExponentBits, int kMantissaBits, bool kHasInfinities>
struct SmallFloat {
  static constexpr int kWidth = 1 + kExponentBits + kMantissaBits;
  static constexpr int kShift = 23 - kMantissaBits;
  static constexpr int kBias = (1 << (kExponentBits - 1)) - 1;
  static constexpr uint32_t kMagnitude = (1u << (kWidth - 1)) - 1;
  static constexpr uint32_t kSpecial = ((1u << kExponentBits) - 1) << kMantissaBits;
  // Behind the largest number: the infinity, or the one magnitude that is NaN.
  static constexpr uint32_t kOverflow = kHasInfinities ? kSpecial : kMagnitude;
  static constexpr uint32_t kLargest = kOverflow - 1;
  static constexpr uint32_t kLastNumber = kHasInfinities ? kSpecial : kLargest;  // then NaNs
  static constexpr uint32_t kRebias = static_cast<uint32_t>(127 - kBias) << 23;
  static constexpr uint32_t kSmallestNormal = kRebias + (1u << 23);  // as a float32
  // The float32 whose last place is this format's smallest subnormal number.
  static constexpr uint32_t kRounding = static_cast<uint32_t>(127 + 24 - kBias - kMantissaBits)
                                        << 23;
  static constexpr uint32_t kStep = static_cast<uint32_t>(127 + 1 - kBias - kMantissaBits) << 23;

  EDEN_ALWAYS_INLINE static uint32_t encode(float value) {
    const uint32_t bits = bits_of(value);
    const uint32_t sign = (bits >> (32 - kWidth)) & (kMagnitude + 1);
    const uint32_t magnitude = bits & kFloatMagnitude;
    constexpr uint32_t kTop = (kLastNumber << kShift) + kRebias;
    const uint32_t limited = magnitude < kTop ? magnitude : kTop;
    const uint32_t half = (1u << (kShift - 1)) - 1 + ((limited >> kShift) & 1);
    const uint32_t normal = (limited + half - kRebias) >> kShift;
    const uint32_t subnormal = bits_of(float_of(limited) + float_of(kRounding)) - kRounding;
    uint32_t word = limited < kSmallestNormal ? subnormal : normal;
    // A payload is kept only where the format has room for one.
    const uint32_t nan = kMantissaBits >= 8 ? kSpecial | (1u << (kMantissaBits - 1)) |
                                                  ((magnitude >> kShift) & (kMagnitude ^ kSpecial))
                                            : kMagnitude;
    word = magnitude > kFloatInfinity ? nan : word;
    return word | sign;
  }

  EDEN_ALWAYS_INLINE static float decode(uint32_t word) {
    const uint32_t magnitude = word & kMagnitude;
    const uint32_t sign = (word & (kMagnitude + 1)) << (32 - kWidth);
    const uint32_t shifted = magnitude << kShift;
    const uint32_t normal = shifted + kRebias;
    const uint32_t subnormal =
        bits_of(static_cast<float>(static_cast<int32_t>(magnitude)) * float_of(kStep));
    uint32_t bits = magnitude < (1u << kMantissaBits) ? subnormal : normal;
    const uint32_t special =
        shifted | kFloatInfinity | (magnitude > kOverflow ? kFloatQuietNaN : 0u);
    bits = magnitude >= kOverflow ? special : bits;
    return float_of(bits | sign);
  }
};

using Float16Format = SmallFloat<5, 10, true>;
using Float8E4M3Format = SmallFloat<4, 3, false>;
using Float8E5M2Format = SmallFloat<5, 2, true>;

// The upper bits of a float32.
template <int kWidth>
struct UpperFloat32 {
  static constexpr int kShift = 32 - kWidth;
  static constexpr uint32_t kLastNumber = kFloatInfinity >> kShift;
  static constexpr uint32_t kLargest = kLastNumber - 1;

  EDEN_ALWAYS_INLINE static uint32_t encode(float value) {
    const uint32_t bits = bits_of(value);
    const uint32_t half = (1u << (kShift - 1)) - 1 + ((bits >> kShift) & 1);
    const uint32_t nan = (bits | kFloatQuietNaN) >> kShift;
    return (bits & kFloatMagnitude) > kFloatInfinity ? nan : (bits + half) >> kShift;
  }

  EDEN_ALWAYS_INLINE static float decode(uint32_t word) { return float_of(word << kShift); }
};

using BFloat16Format = UpperFloat32<16>;

struct Float32Format {
  static constexpr uint32_t kLargest = 0x7f7fffffu;
  static constexpr uint32_t kLastNumber = kFloatInfinity;

  EDEN_ALWAYS_INLINE static uint32_t encode(float value) { return bits_of(value); }
  EDEN_ALWAYS_INLINE static float decode(uint32_t word) { return float_of(word); }
};

template <Storage kStorage>
struct FormatOf;
template <>
struct FormatOf<Storage::kFloat32> : Float32Format {};
template <>
struct FormatOf<Storage::kFloat16> : Float16Format {};
template <>
struct FormatOf<Storage::kBFloat16> : BFloat16Format {};
template <>
struct FormatOf<Storage::kFloat8E4M3> : Float8E4M3Format {};
template <>
struct FormatOf<Storage::kFloat8E5M2> : Float8E5M2Format {};
template <>
struct FormatOf<Storage::kFloat32Secded> : Float32Format {};
template <>
struct FormatOf<Storage::kFloat16Secded> : Float16Format {};
template <>
struct FormatOf<Storage::kBFloat16Secded> : BFloat16Format {};
template <>
struct FormatOf<Storage::kFloat32Mset> : InWord<Float32Format, Mset<32>> {};
template <>
struct FormatOf<Storage::kFloat16Mset> : InWord<Float16Format, Mset<16>> {};
template <>
struct FormatOf<Storage::kBFloat16Mset> : InWord<BFloat16Format, Mset<16>> {};
template <>
struct FormatOf<Storage::kFloat32Cep> : InWord<Float32Format, Cep<32>> {};
template <>
struct FormatOf<Storage::kFloat16Cep> : InWord<Float16Format, Cep<16>> {};
template <>
struct FormatOf<Storage::kBFloat16Cep> : InWord<BFloat16Format, Cep<16>> {};
// Numbers of as many bits as the code leaves.
template <>
struct FormatOf<Storage::kFloat32Bch> : InWord<UpperFloat32<21>, Bch> {};
template <>
struct FormatOf<Storage::kFloat16Hamming> : InWord<SmallFloat<5, 5, true>, ExtendedHamming> {};
template <>
struct FormatOf<Storage::kBFloat16Hamming> : InWord<UpperFloat32<11>, ExtendedHamming> {};

// What an element's way through a storage needs beside its bits, the same for all elements of a
// channel.
struct ElementCode {
  float scale;
  int32_t zero_point;
  float least;  // limits of value / scale before it is rounded
  float most;
  float low;  // bounds of plausible values, as the storage can express them
  float high;
  int32_t low_key;  // the same for values that are stored as they are: see key_of
  int32_t high_key;
  int32_t floor_key;  // likewise, and without effect where no range lies between them
  int32_t ceiling_key;
  uint32_t below;  // the bits, in the type of the values, that replace a value below `low`
  uint32_t above;  // likewise above `high`
};

template <int kBits>
using SignedOf =
    std::conditional_t<kBits == 8, int8_t, std::conditional_t<kBits == 16, int16_t, int32_t>>;
template <int kBits>
using UnsignedOf = std::make_unsigned_t<SignedOf<kBits>>;

// Values of one type in one storage. Bits and words are held in the low bits of 32-bit integers.
template <ValueType kValue, Storage kStorage>
struct Codec {
  static_assert(can_store(kValue, kStorage));
  static constexpr int kWidthBits = storage_bits(kStorage);
  static constexpr int kValueBits = storage_bits(own_storage(kValue));
  // The words are the values' own bits, and no conversion touches them.
  static constexpr bool kIdentity = kStorage == own_storage(kValue);
  static constexpr WordKind kKind = traits_of(kStorage).kind;
  static constexpr bool kQuantized = !kIdentity && is_quantized(kStorage);
  static constexpr bool kHasScale = kQuantized || kKind == WordKind::kSign;
  static constexpr bool kCorrectable = traits_of(own_storage(kValue)).kind == WordKind::kFloat;
  static constexpr bool kInWordCode = is_in_word(traits_of(kStorage).protection);
  static constexpr bool kByTable = is_by_table(traits_of(kStorage).protection);
  static constexpr uint32_t kMask =
      kWidthBits == 32 ? ~uint32_t{0} : (uint32_t{1} << (kWidthBits % 32)) - 1;
  static constexpr uint32_t kTopBit = uint32_t{1} << (kWidthBits - 1);
  using Signed = SignedOf<kValueBits>;
  using Unsigned = UnsignedOf<kValueBits>;

  // Values to float32 and back, both exact or rounded to nearest even.
  EDEN_ALWAYS_INLINE static float value_of(uint32_t bits) {
    return FormatOf<own_storage(kValue)>::decode(bits);
  }
  EDEN_ALWAYS_INLINE static uint32_t bits_of_value(float value) {
    return FormatOf<own_storage(kValue)>::encode(value);
  }

  EDEN_ALWAYS_INLINE static uint32_t encode(float value, const ElementCode& code) {
    if constexpr (kKind == WordKind::kFloat) {
      return FormatOf<kStorage>::encode(value);
    } else if constexpr (kKind == WordKind::kSign) {
      // The sign bit itself, so also that of a zero or a NaN.
      return bits_of(value) >> 31;
    } else {
      // Adding 1.5 x 2^23 rounds half to even up to a magnitude of 2^22, in the default rounding
      // mode, on every backend alike, without a library call. Ratios are at most 2^16.
      constexpr float kRoundingConstant = 12582912.0f;
      // A range that holds 0 alone has a scale of 0: its values are 0 whatever is stored.
      float ratio = value / (code.scale == 0.0f ? 1.0f : code.scale);
      ratio = ratio > code.least ? ratio : code.least;
      ratio = ratio < code.most ? ratio : code.most;
      // NaN has no code; it is stored as 0. The comparison is false for NaN alone.
      ratio = value == value ? ratio : 0.0f;
      const float rounded = (ratio + kRoundingConstant) - kRoundingConstant;
      const int32_t stored = static_cast<int32_t>(rounded) + code.zero_point;
      if constexpr (kKind == WordKind::kSignMagnitude) {
        const int32_t negative = stored >> 31;
        return static_cast<uint32_t>((stored ^ negative) - negative) |
               (static_cast<uint32_t>(negative) & kTopBit);
      }
      return static_cast<uint32_t>(stored) & kMask;
    }
  }

  EDEN_ALWAYS_INLINE static float decode(uint32_t word, const ElementCode& code) {
    if constexpr (kKind == WordKind::kFloat) {
      return FormatOf<kStorage>::decode(word);
    } else if constexpr (kKind == WordKind::kSign) {
      return float_of(bits_of(code.scale) ^ (word << 31));
    } else if constexpr (kKind == WordKind::kSignMagnitude) {
      // Through an integer, so that the negative of 0 is read as 0.
      const int32_t negative = -static_cast<int32_t>(word >> (kWidthBits - 1));
      const int32_t magnitude = static_cast<int32_t>(word & (kTopBit - 1));
      return static_cast<float>((magnitude ^ negative) - negative) * code.scale;
    } else if constexpr (kKind == WordKind::kSigned) {
      constexpr int kUnused = 32 - kWidthBits;
      const int32_t stored = static_cast<int32_t>(word << kUnused) >> kUnused;
      return static_cast<float>(stored - code.zero_point) * code.scale;
    } else {
      return static_cast<float>(static_cast<int32_t>(word) - code.zero_point) * code.scale;
    }
  }

  // A bound as the storage can express it: the largest plausible value, once stored, comes back
  // rounded, perhaps upwards, and must not be taken for implausible. A finite bound that a float
  // storage can express only as an infinity becomes its largest number.
  EDEN_ALWAYS_INLINE static float stored_bound(float bound, const ElementCode& code) {
    const float stored = decode(encode(bound, code), code);
    if constexpr (kKind != WordKind::kFloat) return stored;
    const uint32_t magnitude = bits_of(bound) & kFloatMagnitude;
    const uint32_t largest = bits_of(largest_number());
    const bool overflows = (bits_of(stored) & kFloatMagnitude) > largest;
    const float finite = float_of(largest | (bits_of(bound) & ~kFloatMagnitude));
    return overflows && magnitude < kFloatInfinity ? finite : stored;
  }

  // Floating-point numbers as integers in the same order, -0 just before 0; NaNs lie beyond the
  // infinities. So that values that are stored as they are need no conversion to be judged.
  EDEN_ALWAYS_INLINE static Signed key_of(Signed bits) {
    constexpr Signed kMagnitude = static_cast<Signed>(static_cast<Unsigned>(~Unsigned{0}) >> 1);
    const Signed sign = static_cast<Signed>(bits >> (kValueBits - 1));
    return static_cast<Signed>(bits ^ static_cast<Signed>(sign & kMagnitude));
  }

  EDEN_ALWAYS_INLINE static void set_keys(ElementCode& code) {
    constexpr int32_t kNever = static_cast<int32_t>(-1) << (kValueBits - 1);
    // Zeros are equal, whatever their signs: both are inside a range that ends at one of them.
    const float low = code.low == 0.0f ? -0.0f : code.low;
    const float high = code.high == 0.0f ? 0.0f : code.high;
    const int32_t low_key = key_of(static_cast<Signed>(bits_of_value(low)));
    const int32_t high_key = key_of(static_cast<Signed>(bits_of_value(high)));
    // Nothing lies inside a range of which an end is NaN.
    const bool empty = !(low == low && high == high);
    code.low_key = low == low ? low_key : kNever;
    code.high_key = empty ? kNever : high_key;
    code.floor_key = low <= high ? low_key : kNever;
    code.ceiling_key = low <= high ? high_key : ~kNever;
  }

  // From the numbers of the element's channel.
  EDEN_ALWAYS_INLINE static ElementCode code(const Conversion& conversion, float scale,
                                             int32_t zero_point) {
    ElementCode code{1.0f, 0, 0.0f, 0.0f, 0.0f, 0.0f, 0, 0, 0, 0, 0, 0};
    if constexpr (kHasScale) code.scale = scale;
    if constexpr (kQuantized) {
      // The scale of a tensor with a NaN or an infinity is none, and all that is read is NaN: a
      // divergence must not look like a tensor of zeros.
      // Processors give products with a NaN, or of 0 and an infinity, NaNs of their own; with this
      // one all give it.
      constexpr uint32_t kOneNaN = 0x7fffffffu;
      const bool finite = (bits_of(scale) & kFloatMagnitude) < kFloatInfinity;
      code.scale = finite ? scale : float_of(kOneNaN);
      constexpr bool kIsSigned = kKind != WordKind::kUnsigned;
      constexpr int32_t kHighest = static_cast<int32_t>(kMask >> (kIsSigned ? 1 : 0));
      constexpr int32_t kLowest = kIsSigned ? -kHighest - 1 : 0;
      constexpr bool kAffine = can_have_zero_point(kStorage);
      const bool symmetric = kIsSigned && !(kAffine && conversion.zero_point != nullptr);
      if constexpr (!kAffine) zero_point = 0;
      zero_point = zero_point < kLowest ? kLowest : zero_point;
      zero_point = zero_point > kHighest ? kHighest : zero_point;
      code.zero_point = zero_point;
      code.least = static_cast<float>(kLowest + (symmetric ? 1 : 0) - zero_point);
      code.most = static_cast<float>(kHighest - zero_point);
    }
    if constexpr (kCorrectable) {
      if (conversion.correction != Correction::kNone) {
        code.low = stored_bound(conversion.low, code);
        code.high = stored_bound(conversion.high, code);
        const bool clamps = conversion.correction == Correction::kClamp;
        code.below = clamps ? bits_of_value(code.low) : 0;
        code.above = clamps ? bits_of_value(code.high) : 0;
        if constexpr (kIdentity) {
          set_keys(code);
        } else if constexpr (kKind == WordKind::kFloat) {
          // As by the keys: what lies beyond a zero is kept as the zero on its side.
          code.low = code.low == 0.0f ? -0.0f : code.low;
          code.high = code.high == 0.0f ? 0.0f : code.high;
        }
      }
    }
    return code;
  }

  EDEN_ALWAYS_INLINE static ElementCode code_of_channel(const Conversion& conversion,
                                                        int64_t channel) {
    return code(
        conversion, kHasScale && conversion.scale != nullptr ? conversion.scale[channel] : 1.0f,
        kQuantized && conversion.zero_point != nullptr ? conversion.zero_point[channel] : 0);
  }

  // The word that a value is kept as, from the value's bits. A number beyond the bounds of
  // plausible ones is kept as the nearer bound, as codes keep it; a NaN stays one.
  template <bool kCorrects>
  EDEN_ALWAYS_INLINE static uint32_t stored(uint32_t bits, const ElementCode& code) {
    if constexpr (kIdentity) {
      Unsigned word = static_cast<Unsigned>(bits);
      if constexpr (kCorrects && kCorrectable) {
        constexpr Unsigned kMagnitude = static_cast<Unsigned>(~Unsigned{0}) >> 1;
        constexpr Unsigned kLastNumber = FormatOfStorage::kLastNumber;
        const auto floor = static_cast<Signed>(code.floor_key);
        const auto ceiling = static_cast<Signed>(code.ceiling_key);
        const bool is_nan = static_cast<Unsigned>(word & kMagnitude) > kLastNumber;
        Signed key = key_of(static_cast<Signed>(word));
        key = key < floor ? floor : key;
        key = key > ceiling ? ceiling : key;
        word = is_nan ? word : static_cast<Unsigned>(key_of(key));  // which is its own inverse
      }
      return word;
    } else {
      return encode(kept_value<kCorrects>(bits, code), code);
    }
  }

  // An element's way through the memory, from bits of a value to bits of a value; the bits of
  // `zero` flip if they are stored as 0, those of `one` if they are stored as 1.
  template <bool kFlips, bool kCorrects>
  EDEN_ALWAYS_INLINE static uint32_t read(uint32_t bits, uint32_t zero, uint32_t one,
                                          const ElementCode& code) {
    if constexpr (kIdentity) {
      Unsigned word = static_cast<Unsigned>(stored<kCorrects>(bits, code));
      if constexpr (kFlips) word = flipped(word, zero, one);
      if constexpr (!(kCorrects && kCorrectable)) {
        return word;
      } else {
        constexpr Unsigned kMagnitude = static_cast<Unsigned>(~Unsigned{0}) >> 1;
        constexpr Unsigned kLastNumber = FormatOfStorage::kLastNumber;
        const Signed key = key_of(static_cast<Signed>(word));
        const bool is_below = key < static_cast<Signed>(code.low_key);
        const bool is_above = key > static_cast<Signed>(code.high_key);
        const bool is_nan = static_cast<Unsigned>(word & kMagnitude) > kLastNumber;
        Unsigned result = is_above ? static_cast<Unsigned>(code.above) : word;
        result = is_below ? static_cast<Unsigned>(code.below) : result;
        return is_nan ? Unsigned{0} : result;
      }
    } else if constexpr (!kFlips && kInWordCode) {
      const float value = kept_value<kCorrects>(bits, code);
      return value_bits<kCorrects>(FormatOfStorage::unflipped(value), code);
    } else {
      uint32_t word = stored<kCorrects>(bits, code);
      if constexpr (kFlips) word = flipped(word, zero, one);
      return value_bits<kCorrects>(decode(word, code), code);
    }
  }

  // The bits of a value that was read, corrected.
  template <bool kCorrects>
  EDEN_ALWAYS_INLINE static uint32_t value_bits(float value, const ElementCode& code) {
    uint32_t result = bits_of_value(value);
    if constexpr (kCorrects) {
      // An implausible value is one outside [low, high], NaN or an infinity beyond them.
      const bool plausible = (value >= code.low) & (value <= code.high);
      uint32_t replacement = value < code.low ? code.below : code.above;
      replacement = value == value ? replacement : 0;
      result = plausible ? result : replacement;
    }
    return result;
  }

  template <class Word>
  EDEN_ALWAYS_INLINE static Word flipped(Word word, uint32_t zero, uint32_t one) {
    const Word flips = static_cast<Word>((word & static_cast<Word>(one)) |
                                         (static_cast<Word>(~word) & static_cast<Word>(zero)));
    return static_cast<Word>(word ^ flips);
  }

 private:
  EDEN_ALWAYS_INLINE static float largest_number() {
    if constexpr (kInWordCode) {
      return FormatOfStorage::largest();
    } else {
      return FormatOfStorage::decode(FormatOfStorage::kLargest);
    }
  }

  // The value that is stored, from its bits: that of a floating-point storage lies in the bounds.
  template <bool kCorrects>
  EDEN_ALWAYS_INLINE static float kept_value(uint32_t bits, const ElementCode& code) {
    float value = value_of(bits);
    if constexpr (kCorrects && kKind == WordKind::kFloat) {
      const bool is_range = code.low <= code.high;
      value = is_range & (value < code.low) ? code.low : value;
      value = is_range & (value > code.high) ? code.high : value;
    }
    return value;
  }

  using FormatOfStorage =
      FormatOf<traits_of(kStorage).kind == WordKind::kFloat ? kStorage : Storage::kFloat32>;
};

// Calls visit.operator()<value, storage>() with a type and a storage that are known when the
// program runs; says whether values of the type can be kept in the storage. Of storages that have
// their own cells for each element, or of the others (kCoded).
template <bool kCoded, ValueType kValue, class Visit, int64_t... kStorage>
EDEN_ALWAYS_INLINE bool visit_codec_of(Storage storage, Visit&& visit,
                                       std::integer_sequence<int64_t, kStorage...>) {
  const auto try_storage = [&]<Storage kTried>() {
    if constexpr (can_store(kValue, kTried) && is_coded(kTried) == kCoded) {
      if (storage == kTried) return visit.template operator()<kValue, kTried>(), true;
    }
    return false;
  };
  return (try_storage.template operator()<static_cast<Storage>(kStorage)>() || ...);
}

template <bool kCoded, class Visit, int64_t... kValue>
EDEN_ALWAYS_INLINE bool visit_codec_of(ValueType value, Storage storage, Visit&& visit,
                                       std::integer_sequence<int64_t, kValue...>) {
  using Storages = std::make_integer_sequence<int64_t, kStorages>;
  return ((value == static_cast<ValueType>(kValue) &&
           visit_codec_of<kCoded, static_cast<ValueType>(kValue)>(storage, visit, Storages())) ||
          ...);
}

template <bool kCoded = false, class Visit>
EDEN_ALWAYS_INLINE bool visit_codec(ValueType value, Storage storage, Visit&& visit) {
  return visit_codec_of<kCoded>(value, storage, visit,
                                std::make_integer_sequence<int64_t, kValueTypes>());
}

}  // namespace eden
