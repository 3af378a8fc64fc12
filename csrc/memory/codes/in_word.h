// Codes inside of a floating-point number's own bits, which take bits of its significand for what
// protects the others.
#pragma once

#include <cstdint>

#include "base/platform.h"

namespace eden {

// A format whose words are protected on their way into the memory, and recovered on their way back.
template <class Format, class Code>
struct InWord {
  static constexpr uint32_t kLastNumber = Format::kLastNumber;

  // The largest number that comes back.
  EDEN_ALWAYS_INLINE static float largest() { return Format::decode(Code::kept(Format::kLargest)); }
  EDEN_ALWAYS_INLINE static uint32_t encode(float value) {
    return Code::protect(Format::encode(value));
  }
  EDEN_ALWAYS_INLINE static float decode(uint32_t word) {
    return Format::decode(Code::recover(word));
  }
  // decode(encode(value)), without going through the code.
  EDEN_ALWAYS_INLINE static float unflipped(float value) {
    return Format::decode(Code::kept(Format::encode(value)));
  }
};

}  // namespace eden
