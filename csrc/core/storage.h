// The forms in which a memory stores a tensor's elements. A new storage is one more value of the
// enumeration and one more codec: how a value becomes the stored word, and back.
#pragma once

#include <cstdint>

#include "core/platform.h"
#include "core/region.h"

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
  kInt4 = 8,   // two to a byte, the first in the low half
  kSign = 9,   // one bit, set for negative values
  kInt32 = 10  // of int32 tensors alone
};

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

// How values become stored words and back, beside the storage itself.
struct Conversion {
  // Of the quantized storages: code = round-half-even(value / scale) + zero point, clipped to the
  // storage's range (symmetric, without its lowest code, where the storage is signed and there is
  // no zero point). For kSign the scale is the magnitude.
  const float* scale = nullptr;
  const int32_t* zero_point = nullptr;  // null for none
  int64_t channels = 1;                 // numbers in scale and zero_point
  int64_t channel_inner = 1;            // element i of a sample is of channel i / inner % channels
  Correction correction = Correction::kNone;
  float low = 0.0f;  // bounds of plausible values, as the storage can express them
  float high = 0.0f;
};

// Values are the stored words themselves: nothing is converted, so no bit pattern changes but by a
// flip.
template <class ValueType, class WordType>
struct StoredAsIs {
  using Value = ValueType;
  using Word = WordType;
  static constexpr bool kIdentity = true;
  static constexpr int kWidthBits = 8 * static_cast<int>(sizeof(Word));
};

using Float32Codec = StoredAsIs<float, uint32_t>;
using Int8Codec = StoredAsIs<int8_t, uint8_t>;

inline constexpr float kInt8LargestCode = 127.0f;

// float32 values kept as symmetric int8 codes -127 to 127 of one scale. A flip can make a code of
// -128.
struct QuantizedInt8Codec {
  using Value = float;
  using Word = uint8_t;
  static constexpr bool kIdentity = false;
  static constexpr int kWidthBits = 8;

  EDEN_HOST_DEVICE static uint8_t encode(float value, float scale) {
    // Adding 1.5 x 2^23 rounds half to even in the default rounding mode, on every backend alike,
    // without a library call.
    constexpr float kRoundingConstant = 12582912.0f;
    float ratio = value / scale;
    ratio = ratio > -kInt8LargestCode ? ratio : -kInt8LargestCode;
    ratio = ratio < kInt8LargestCode ? ratio : kInt8LargestCode;
    // NaN has no code; it is stored as 0. The comparison is false for NaN alone.
    ratio = value == value ? ratio : 0.0f;
    const float code = (ratio + kRoundingConstant) - kRoundingConstant;
    return static_cast<uint8_t>(static_cast<int8_t>(static_cast<int32_t>(code)));
  }

  EDEN_HOST_DEVICE static float decode(uint8_t word, float scale) {
    return static_cast<float>(static_cast<int8_t>(word)) * scale;
  }
};

inline int storage_bits(Storage storage) {
  return storage == Storage::kInt8 ? Int8Codec::kWidthBits : Float32Codec::kWidthBits;
}

// An implausible value is one outside [low, high], NaN or an infinity beyond them.
EDEN_HOST_DEVICE inline float correct(float value, Correction correction, float low, float high) {
  const bool plausible = value >= low && value <= high;
  if (plausible || correction == Correction::kNone) return value;
  if (correction == Correction::kZero || value != value) return 0.0f;
  return value < low ? low : high;
}

}  // namespace eden
