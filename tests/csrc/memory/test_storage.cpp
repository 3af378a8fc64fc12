// Do values become the stored words that the formats' definitions say, do they come back, and does
// every instruction set do what the codecs say, element by element?
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "catch2.h"
#include "memory/corrupt/simd/kernels.h"
#include "memory/storage/storage.h"

namespace {

// What becomes of a value: an implausible one is outside [low, high], NaN or an infinity beyond.
float corrected(float value, eden::Correction correction, float low, float high) {
  const bool plausible = value >= low && value <= high;
  if (plausible || correction == eden::Correction::kNone) return value;
  if (correction == eden::Correction::kZero || value != value) return 0.0f;
  return value < low ? low : high;
}

using eden::bits_of;
using eden::Codec;
using eden::Conversion;
using eden::Correction;
using eden::ElementCode;
using eden::float_of;
using eden::Storage;
using eden::ValueType;

constexpr Storage kStorages[] = {Storage::kFloat32,
                                 Storage::kInt8,
                                 Storage::kFloat16,
                                 Storage::kBFloat16,
                                 Storage::kFloat8E4M3,
                                 Storage::kFloat8E5M2,
                                 Storage::kInt16,
                                 Storage::kUint8,
                                 Storage::kInt4,
                                 Storage::kSign,
                                 Storage::kInt32,
                                 Storage::kInt16SignMagnitude,
                                 Storage::kInt8SignMagnitude,
                                 Storage::kInt4SignMagnitude,
                                 Storage::kFloat32Mset,
                                 Storage::kFloat16Mset,
                                 Storage::kBFloat16Mset,
                                 Storage::kFloat32Cep,
                                 Storage::kFloat16Cep,
                                 Storage::kBFloat16Cep,
                                 Storage::kFloat32Bch,
                                 Storage::kFloat16Hamming,
                                 Storage::kBFloat16Hamming};
constexpr ValueType kValueTypes[] = {
    ValueType::kFloat32,    ValueType::kFloat16,    ValueType::kBFloat16,
    ValueType::kFloat8E4M3, ValueType::kFloat8E5M2, ValueType::kInt8,
    ValueType::kUint8,      ValueType::kInt16,      ValueType::kInt32};

// A format's numbers from its definition, in double precision, which holds them all.
struct Definition {
  int exponent_bits;
  int mantissa_bits;
  bool infinities;

  int width() const { return 1 + exponent_bits + mantissa_bits; }
  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  double largest() const {
    const int top = (1 << exponent_bits) - 1 - bias();
    return infinities ? std::ldexp(2.0 - std::ldexp(1.0, -mantissa_bits), top - 1)
                      : std::ldexp(2.0 - std::ldexp(1.0, 1 - mantissa_bits), top);
  }

  double decode(uint32_t word) const {
    const uint32_t mantissa = word & ((1u << mantissa_bits) - 1);
    const int exponent = static_cast<int>(word >> mantissa_bits) & ((1 << exponent_bits) - 1);
    const double sign = word >> (width() - 1) ? -1.0 : 1.0;
    if (exponent == (1 << exponent_bits) - 1) {
      if (infinities)
        return mantissa ? std::nan("") : sign * std::numeric_limits<double>::infinity();
      if (mantissa == (1u << mantissa_bits) - 1) return std::nan("");
    }
    if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias() - mantissa_bits);
    return sign * std::ldexp(mantissa + (1u << mantissa_bits), exponent - bias() - mantissa_bits);
  }

  // The nearest of the format's numbers, the even one of two equally near ones.
  double rounded(double value) const {
    if (std::isnan(value)) return value;
    const double magnitude = std::fabs(value);
    double result = magnitude;
    if (!std::isinf(magnitude) && magnitude != 0.0) {
      const int exponent = std::max(std::ilogb(magnitude), 1 - bias());
      const double step = std::ldexp(1.0, exponent - mantissa_bits);
      result = std::nearbyint(magnitude / step) * step;
    }
    if (result > largest())
      result = infinities ? std::numeric_limits<double>::infinity() : largest();
    return std::copysign(result, value);
  }
};

// Magnitudes over the whole range, with the low bits that decide a rounding.
template <class Visit>
void for_many_floats(Visit&& visit) {
  std::mt19937 random(11);
  for (uint32_t high = 0; high < 1u << 16; ++high) {
    for (const uint32_t low : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu, 0x1000u,
                               static_cast<uint32_t>(random() & 0xffff)}) {
      visit(float_of(high << 16 | low));
    }
  }
}

template <class Format>
void check_format(const Definition& definition) {
  int64_t wrong = 0, first = -1;
  const uint32_t step = definition.width() > 16 ? 997 : 1;
  for (uint32_t word = 0; word < 1u << definition.width(); word += step) {
    const double expected = definition.decode(word);
    const float got = Format::decode(word);
    const bool same = std::isnan(expected)
                          ? std::isnan(got)
                          : expected == got && std::signbit(expected) == std::signbit(got);
    // And back: every number of the format is its own nearest.
    const bool returns = std::isnan(expected) ? std::isnan(Format::decode(Format::encode(got)))
                                              : Format::encode(got) == word;
    if (!(same && returns) && wrong++ == 0) first = word;
  }
  INFO("first wrong word " << first);
  CHECK(wrong == 0);
  wrong = 0;
  float wrong_value = 0.0f;
  for_many_floats([&](float value) {
    const uint32_t word = Format::encode(value);
    const double expected = definition.rounded(value);
    const double got = definition.decode(word);
    const bool same = std::isnan(expected) ? std::isnan(got) : expected == got;
    const bool sign = (word >> (definition.width() - 1)) == (bits_of(value) >> 31);
    if (!(same && sign && word >> definition.width() == 0) && wrong++ == 0) wrong_value = value;
  });
  INFO("first wrong value " << wrong_value);
  CHECK(wrong == 0);
}

TEST_CASE("float formats decode every word and round every value to the nearest even") {
  SECTION("float16") { check_format<eden::Float16Format>({5, 10, true}); }
  SECTION("bfloat16") { check_format<eden::BFloat16Format>({8, 7, true}); }
  SECTION("float8 e4m3fn") { check_format<eden::Float8E4M3Format>({4, 3, false}); }
  SECTION("float8 e5m2") { check_format<eden::Float8E5M2Format>({5, 2, true}); }
  SECTION("float16 beside a code") { check_format<eden::SmallFloat<5, 5, true>>({5, 5, true}); }
  SECTION("bfloat16 beside a code") { check_format<eden::UpperFloat32<11>>({8, 2, true}); }
  SECTION("float32 beside a code") { check_format<eden::UpperFloat32<21>>({8, 12, true}); }
}

TEST_CASE("conversions of known values") {
  using eden::Float16Format, eden::BFloat16Format;
  using E4M3 = eden::Float8E4M3Format;
  using E5M2 = eden::Float8E5M2Format;
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(Float16Format::encode(65504.0f) == 0x7bff);
  CHECK(Float16Format::encode(65519.9f) == 0x7bff);
  CHECK(Float16Format::encode(65520.0f) == 0x7c00);
  CHECK(Float16Format::encode(-1.0f) == 0xbc00);
  CHECK(Float16Format::encode(5.9604645e-8f) == 0x0001);
  CHECK(Float16Format::encode(2.9802322e-8f) == 0x0000);  // a tie
  CHECK(Float16Format::encode(2.9802326e-8f) == 0x0001);
  CHECK(Float16Format::encode(float_of(0xff812000)) == 0xfe09);  // a NaN's payload
  CHECK(bits_of(Float16Format::decode(0x7c01)) == 0x7fc02000);
  CHECK(BFloat16Format::encode(float_of(0x3f808000)) == 0x3f80);
  CHECK(BFloat16Format::encode(float_of(0x3f818000)) == 0x3f82);
  CHECK(BFloat16Format::encode(float_of(0x7f7fffff)) == 0x7f80);
  CHECK(BFloat16Format::encode(float_of(0x7f800001)) == 0x7fc0);
  CHECK(E4M3::encode(448.0f) == 0x7e);
  CHECK(E4M3::encode(464.0f) == 0x7e);  // a tie
  CHECK(E4M3::encode(464.1f) == 0x7e);  // there is no infinity
  CHECK(E4M3::encode(-infinity) == 0xfe);
  CHECK(E4M3::encode(-std::nanf("")) == 0xff);
  CHECK(E4M3::encode(0.001953125f) == 0x01);
  CHECK(E5M2::encode(57344.0f) == 0x7b);
  CHECK(E5M2::encode(61440.0f) == 0x7c);  // a tie, to infinity
  CHECK(E5M2::encode(-infinity) == 0xfc);
  CHECK(E5M2::encode(std::nanf("")) == 0x7f);
}

template <Storage kStorage>
ElementCode code_for(float scale, const int32_t* zero_point = nullptr) {
  Conversion conversion;
  conversion.zero_point = zero_point;
  return Codec<ValueType::kFloat32, kStorage>::code(conversion, scale,
                                                    zero_point ? *zero_point : 0);
}

template <Storage kStorage>
float through(float value, float scale, const int32_t* zero_point = nullptr) {
  using Code = Codec<ValueType::kFloat32, kStorage>;
  const ElementCode code = code_for<kStorage>(scale, zero_point);
  return Code::decode(Code::encode(value, code), code);
}

TEST_CASE("quantized storages round half to even and clip to their codes") {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::nanf("");
  CHECK(through<Storage::kInt8>(0.5f, 1.0f) == 0.0f);
  CHECK(through<Storage::kInt8>(1.5f, 1.0f) == 2.0f);
  CHECK(through<Storage::kInt8>(-2.5f, 1.0f) == -2.0f);
  CHECK(through<Storage::kInt8>(-1000.0f, 1.0f) == -127.0f);
  CHECK(through<Storage::kInt8>(infinity, 0.5f) == 63.5f);
  CHECK(through<Storage::kInt16>(-1e9f, 1.0f) == -32767.0f);
  CHECK(through<Storage::kInt16>(32766.5f, 1.0f) == 32766.0f);
  CHECK(through<Storage::kInt16>(-32765.5f, 1.0f) == -32766.0f);
  CHECK(through<Storage::kInt4>(-9.0f, 1.0f) == -7.0f);
  CHECK(through<Storage::kInt4>(9.0f, 1.0f) == 7.0f);
  CHECK(through<Storage::kUint8>(-3.0f, 1.0f) == 0.0f);
  CHECK(through<Storage::kUint8>(255.5f, 1.0f) == 255.0f);

  SECTION("a zero point opens the full range") {
    const int32_t lowest = -128, middle = 100, four = -8, wide = -32768;
    CHECK(through<Storage::kInt8>(-1.0f, 1.0f, &lowest) == 0.0f);
    CHECK(through<Storage::kInt8>(255.0f, 1.0f, &lowest) == 255.0f);
    CHECK(through<Storage::kInt8>(256.0f, 1.0f, &lowest) == 255.0f);
    CHECK(through<Storage::kInt8>(-228.0f, 1.0f, &middle) == -228.0f);
    CHECK(through<Storage::kInt8>(28.0f, 1.0f, &middle) == 27.0f);
    CHECK(through<Storage::kUint8>(-200.0f, 1.0f, &middle) == -100.0f);
    CHECK(through<Storage::kInt4>(15.0f, 1.0f, &four) == 15.0f);
    CHECK(through<Storage::kInt16>(65535.0f, 1.0f, &wide) == 65535.0f);
    CHECK(through<Storage::kInt16>(65533.5f, 1.0f, &wide) == 65534.0f);
    const int32_t absurd = std::numeric_limits<int32_t>::max();
    CHECK(code_for<Storage::kInt8>(1.0f, &absurd).zero_point == 127);
  }
  SECTION("every code of int16 is met") {
    const int32_t zero = 0;
    const ElementCode code = code_for<Storage::kInt16>(0.25f, &zero);
    using Code = Codec<ValueType::kFloat32, Storage::kInt16>;
    for (int32_t k = -32768; k <= 32767; ++k) {
      const float value = static_cast<float>(k) * 0.25f;
      REQUIRE(Code::encode(value, code) == (static_cast<uint32_t>(k) & 0xffff));
      REQUIRE(Code::decode(static_cast<uint32_t>(k) & 0xffff, code) == value);
      const float tie = value + 0.125f;
      const int32_t even = std::min(k + (k & 1), 32767);
      REQUIRE(Code::encode(tie, code) == (static_cast<uint32_t>(even) & 0xffff));
    }
  }
  SECTION("NaN is stored as 0, a scale of 0 reads zeros, a scale of NaN hides nothing") {
    const int32_t point = 3;
    CHECK(through<Storage::kInt8>(nan, 1.0f) == 0.0f);
    CHECK(through<Storage::kUint8>(nan, 1.0f, &point) == 0.0f);
    CHECK(through<Storage::kInt8>(0.0f, 0.0f) == 0.0f);
    CHECK(through<Storage::kInt4>(0.0f, -0.0f, &point) == 0.0f);
    CHECK(through<Storage::kInt8>(5.0f, 0.0f) == 0.0f);
    using Code = Codec<ValueType::kFloat32, Storage::kInt8SignMagnitude>;
    CHECK(Code::encode(0.0f, code_for<Storage::kInt8SignMagnitude>(0.0f)) == 0);
    CHECK(Code::decode(0x7f, code_for<Storage::kInt8SignMagnitude>(0.0f)) == 0.0f);
    CHECK(std::isnan(through<Storage::kInt8>(0.0f, nan)));
    CHECK(std::isnan(through<Storage::kInt16>(1.0f, nan, &point)));
    CHECK(std::isnan(through<Storage::kSign>(1.0f, nan)));
  }
  SECTION("one bit is the sign bit") {
    CHECK(through<Storage::kSign>(3.0f, 0.25f) == 0.25f);
    CHECK(through<Storage::kSign>(-3.0f, 0.25f) == -0.25f);
    CHECK(through<Storage::kSign>(0.0f, 0.25f) == 0.25f);
    CHECK(through<Storage::kSign>(-0.0f, 0.25f) == -0.25f);
    CHECK(through<Storage::kSign>(float_of(0xffc00000), 0.25f) == -0.25f);
    CHECK(through<Storage::kSign>(-3.0f, 0.0f) == 0.0f);
  }
  SECTION("a sign and a magnitude") {
    CHECK(through<Storage::kInt8SignMagnitude>(-2.5f, 1.0f) == -2.0f);
    CHECK(through<Storage::kInt8SignMagnitude>(-1000.0f, 1.0f) == -127.0f);
    CHECK(through<Storage::kInt4SignMagnitude>(9.0f, 1.0f) == 7.0f);
    CHECK(through<Storage::kInt16SignMagnitude>(-1e9f, 1.0f) == -32767.0f);
    CHECK(through<Storage::kInt8SignMagnitude>(nan, 1.0f) == 0.0f);
    CHECK(std::isnan(through<Storage::kInt8SignMagnitude>(1.0f, nan)));
    const int32_t point = 100;  // there is none
    CHECK(through<Storage::kInt8SignMagnitude>(-3.0f, 1.0f, &point) == -3.0f);
    CHECK(through<Storage::kInt8SignMagnitude>(-128.0f, 1.0f, &point) == -127.0f);
    const auto every_code = [&]<Storage kStorage>() {
      using Code = Codec<ValueType::kFloat32, kStorage>;
      const ElementCode code = code_for<kStorage>(0.25f);
      const int32_t top = 1 << (eden::storage_bits(kStorage) - 1);
      for (int32_t k = 0; k < top; ++k) {
        const float value = static_cast<float>(k) * 0.25f;
        REQUIRE(Code::encode(value, code) == static_cast<uint32_t>(k));
        REQUIRE(Code::decode(static_cast<uint32_t>(k), code) == value);
        REQUIRE(Code::decode(static_cast<uint32_t>(k | top), code) == -value);
        if (k > 0) REQUIRE(Code::encode(-value, code) == static_cast<uint32_t>(k | top));
      }
      CHECK(bits_of(Code::decode(static_cast<uint32_t>(top), code)) == 0);  // 0, not -0
    };
    every_code.operator()<Storage::kInt4SignMagnitude>();
    every_code.operator()<Storage::kInt8SignMagnitude>();
    every_code.operator()<Storage::kInt16SignMagnitude>();
    // A flip of the highest bit of a small number is a small change.
    const ElementCode code = code_for<Storage::kInt8SignMagnitude>(0.5f);
    using Code = Codec<ValueType::kFloat32, Storage::kInt8SignMagnitude>;
    CHECK(Code::decode(Code::encode(1.0f, code) ^ 0x80, code) == -1.0f);
  }
  SECTION("a flip can make any code") {
    const ElementCode code = code_for<Storage::kInt8>(0.5f);
    CHECK(Codec<ValueType::kFloat32, Storage::kInt8>::decode(0x80, code) == -64.0f);
    const ElementCode small = code_for<Storage::kInt4>(0.5f);
    CHECK(Codec<ValueType::kFloat32, Storage::kInt4>::decode(0x8, small) == -4.0f);
  }
}

TEST_CASE("the largest plausible value is plausible once it is stored") {
  std::mt19937 random(5);
  const auto check = [&]<Storage kStorage>() {
    using Code = Codec<ValueType::kFloat32, kStorage>;
    for (int trial = 0; trial < 2000; ++trial) {
      const float high = std::ldexp(static_cast<float>(random() >> 8), -22);  // below 4
      const float scale = kStorage == Storage::kSign ? 0.5f : high / 7.0f;
      Conversion conversion;
      conversion.correction = Correction::kZero;
      conversion.low = -high;
      conversion.high = high;
      const ElementCode code = Code::code(conversion, scale, 0);
      for (const float value : {high, -high, high * 0.37f}) {
        const uint32_t bits = bits_of(value);
        REQUIRE((Code::template read<false, true>(bits, 0, 0, code) ==
                 Code::template read<false, false>(bits, 0, 0, code)));
      }
    }
  };
  check.operator()<Storage::kFloat32>();
  check.operator()<Storage::kFloat16>();
  check.operator()<Storage::kBFloat16>();
  check.operator()<Storage::kFloat8E4M3>();
  check.operator()<Storage::kFloat8E5M2>();
  check.operator()<Storage::kInt8>();
  check.operator()<Storage::kInt16>();
  check.operator()<Storage::kInt4>();
  check.operator()<Storage::kInt8SignMagnitude>();
  check.operator()<Storage::kSign>();
  // Bounds beyond the format leave its largest number plausible, and NaN and infinity not.
  Conversion conversion;
  conversion.correction = Correction::kClamp;
  conversion.low = -1e30f;
  conversion.high = 1e30f;
  using E4M3 = Codec<ValueType::kFloat32, Storage::kFloat8E4M3>;
  using Half = Codec<ValueType::kFloat32, Storage::kFloat16>;
  CHECK(E4M3::code(conversion, 1.0f, 0).high == 448.0f);
  CHECK(Half::code(conversion, 1.0f, 0).low == -65504.0f);
  CHECK((float_of(Half::read<false, true>(bits_of(1e20f), 0, 0, Half::code(conversion, 1.0f, 0))) ==
         65504.0f));
}

TEST_CASE("words that are judged as integers are judged as their values would be") {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::nanf("");
  const auto check = [&]<ValueType kValue, Storage kStorage>() {
    using Code = Codec<kValue, kStorage>;
    for (const Correction correction : {Correction::kZero, Correction::kClamp}) {
      for (const auto& [low, high] : std::vector<std::pair<float, float>>{{-1.5f, 2.0f},
                                                                          {0.0f, 1.0f},
                                                                          {-0.0f, 1.0f},
                                                                          {-1.0f, 0.0f},
                                                                          {-1.0f, -0.0f},
                                                                          {0.0f, -0.0f},
                                                                          {-0.0f, 0.0f},
                                                                          {1.0f, 2.0f},
                                                                          {-3.0f, -1e-6f},
                                                                          {2.0f, -2.0f},
                                                                          {-infinity, infinity},
                                                                          {-1e9f, 1e9f},
                                                                          {nan, 1.0f},
                                                                          {-1.0f, nan},
                                                                          {nan, nan},
                                                                          {infinity, infinity}}) {
        Conversion conversion;
        conversion.correction = correction;
        conversion.low = low;
        conversion.high = high;
        const ElementCode code = Code::code(conversion, 1.0f, 0);
        int64_t wrong = 0;
        uint32_t first = 0;
        for (uint32_t word = 0; word < 1u << Code::kWidthBits; ++word) {
          const float value = Code::value_of(word);
          const bool kept = value >= code.low && value <= code.high;
          // Without an error, what is beyond a range is its end, whichever correction there is.
          const bool ends = code.low <= code.high && value == value;
          const float nearer = value < code.low ? code.low : code.high;
          const float expected =
              ends && !kept ? nearer : corrected(value, correction, code.low, code.high);
          const uint32_t read = Code::template read<false, true>(word, 0, 0, code);
          const bool same = kept
                                ? read == word
                                : bits_of(Code::value_of(read) + 0.0f) ==
                                      bits_of(Code::value_of(Code::bits_of_value(expected)) + 0.0f);
          if (!same && wrong++ == 0) first = word;
          // With one, a word beyond the range is corrected, whatever was stored.
          if (!kept && ends) {
            const uint32_t zero = Code::bits_of_value(nearer);
            const uint32_t hit =
                Code::template read<true, true>(zero, word & ~zero, zero & ~word, code);
            const float after = corrected(value, correction, code.low, code.high);
            if (Code::value_of(hit) != Code::value_of(Code::bits_of_value(after)) && wrong++ == 0) {
              first = word;
            }
          }
        }
        INFO("low " << low << ", high " << high << ", first wrong word " << first);
        CHECK(wrong == 0);
      }
    }
  };
  check.operator()<ValueType::kFloat16, Storage::kFloat16>();
  check.operator()<ValueType::kBFloat16, Storage::kBFloat16>();
  check.operator()<ValueType::kFloat8E4M3, Storage::kFloat8E4M3>();
  check.operator()<ValueType::kFloat8E5M2, Storage::kFloat8E5M2>();
}

TEST_CASE("codes round half to even, saturate and store NaN as the code of 0") {
  using Int8 = Codec<ValueType::kFloat32, Storage::kInt8>;
  const ElementCode code = code_for<Storage::kInt8>(1.0f);
  const auto stored = [&](float value) {
    return static_cast<int>(static_cast<int8_t>(Int8::encode(value, code)));
  };
  CHECK(stored(0.5f) == 0);
  CHECK(stored(1.5f) == 2);
  CHECK(stored(-2.5f) == -2);
  CHECK(stored(-1e30f) == -127);
  CHECK(stored(std::numeric_limits<float>::infinity()) == 127);
  CHECK(stored(std::nanf("")) == 0);
  CHECK(Int8::decode(0x80, code_for<Storage::kInt8>(0.5f)) == -64.0f);
}

// ------------------------------------------------------------------------------------------------

std::vector<const eden::simd::Kernels*> instruction_sets() {
  std::vector<const eden::simd::Kernels*> found;
  for (const char* name : {"baseline", "avx2", "avx512", "neon"}) {
    if (const auto* kernels = eden::simd::kernels_of(name)) found.push_back(kernels);
  }
  return found;
}

bool bit_of(const std::vector<uint64_t>& mask, int64_t at) {
  return mask[at / 64] >> (at % 64) & 1;
}

// One element after another, the masks bit by bit.
template <class Code>
void read_one_by_one(const uint8_t* in, uint8_t* out, int64_t count, int64_t first,
                     const std::vector<uint64_t>* zero, const std::vector<uint64_t>* one,
                     const Conversion& conversion) {
  constexpr int kBytes = Code::kValueBits / 8;
  for (int64_t e = 0; e < count; ++e) {
    uint32_t bits = 0, flips[2] = {0, 0};
    std::memcpy(&bits, in + e * kBytes, kBytes);
    for (int b = 0; zero != nullptr && b < Code::kWidthBits; ++b) {
      flips[0] |= static_cast<uint32_t>(bit_of(*zero, e * Code::kWidthBits + b)) << b;
      flips[1] |= static_cast<uint32_t>(bit_of(*one, e * Code::kWidthBits + b)) << b;
    }
    const int64_t channel = (first + e) / conversion.channel_inner % conversion.channels;
    const ElementCode code = Code::code_of_channel(conversion, channel);
    const bool corrects = conversion.correction != Correction::kNone;
    const uint32_t read = corrects
                              ? Code::template read<true, true>(bits, flips[0], flips[1], code)
                              : Code::template read<true, false>(bits, flips[0], flips[1], code);
    std::memcpy(out + e * kBytes, &read, kBytes);
  }
}

using Reference = void (*)(const uint8_t*, uint8_t*, int64_t, int64_t, const std::vector<uint64_t>*,
                           const std::vector<uint64_t>*, const Conversion&);

template <ValueType kValue, Storage kStorage>
constexpr Reference reference_of() {
  if constexpr (eden::can_store(kValue, kStorage)) {
    return read_one_by_one<Codec<kValue, kStorage>>;
  } else {
    return nullptr;
  }
}

template <size_t... kIndex>
Reference reference_of(size_t value, size_t storage, std::index_sequence<kIndex...>) {
  constexpr size_t kCount = std::size(kStorages);
  static constexpr Reference kTable[] = {
      reference_of<kValueTypes[kIndex / kCount], kStorages[kIndex % kCount]>()...};
  return kTable[value * kCount + storage];
}

Reference reference_of(size_t value, size_t storage) {
  return reference_of(value, storage,
                      std::make_index_sequence<std::size(kValueTypes) * std::size(kStorages)>());
}

// Values around the bounds and the codes' ends, and bit patterns of every kind.
std::vector<uint8_t> some_values(ValueType type, int64_t count, std::mt19937& random) {
  const int bytes = eden::storage_bits(eden::own_storage(type)) / 8;
  std::vector<uint8_t> values(static_cast<size_t>(count * bytes));
  for (uint8_t& byte : values) byte = static_cast<uint8_t>(random());
  std::normal_distribution<float> normal;
  for (int64_t e = 0; e < count; ++e) {
    if (random() % 4 == 0) continue;
    const float value = random() % 8 ? normal(random) : 0.5f * static_cast<float>(e % 9) - 2.0f;
    uint32_t bits;
    if (type == ValueType::kFloat32) {
      bits = bits_of(value);
    } else if (type == ValueType::kFloat16) {
      bits = eden::Float16Format::encode(value);
    } else if (type == ValueType::kBFloat16) {
      bits = eden::BFloat16Format::encode(value);
    } else {
      continue;
    }
    std::memcpy(values.data() + e * bytes, &bits, static_cast<size_t>(bytes));
  }
  return values;
}

struct Channels {
  int64_t channels;
  int64_t inner;
};

TEST_CASE("every instruction set reads every storage as the codecs do, element by element") {
  std::mt19937 random(3);
  for (size_t v = 0; v < std::size(kValueTypes); ++v) {
    for (size_t s = 0; s < std::size(kStorages); ++s) {
      const ValueType type = kValueTypes[v];
      const Storage storage = kStorages[s];
      const Reference reference = reference_of(v, s);
      const auto sets = instruction_sets();
      REQUIRE(!sets.empty());
      if (reference == nullptr) {
        for (const auto* kernels : sets) CHECK(kernels->apply(type, storage) == nullptr);
        continue;
      }
      const int64_t bytes = eden::storage_bits(eden::own_storage(type)) / 8;
      const int width = eden::storage_bits(storage);
      for (const Channels shape : {Channels{1, 1}, Channels{3, 1}, Channels{5, 3},
                                   Channels{1500, 1}, Channels{7, 100}, Channels{3, 64}}) {
        if (shape.channels > 1 && !eden::is_quantized(storage) && storage != Storage::kSign)
          continue;
        for (const int64_t count : {int64_t{1}, int64_t{37}, int64_t{2611}}) {
          const std::vector<uint8_t> values = some_values(type, count, random);
          std::vector<uint64_t> zero(static_cast<size_t>(count * width / 64 + 1)), one(zero);
          for (uint64_t& word : zero) word = random() & random() & (uint64_t{random()} << 32);
          for (uint64_t& word : one) word = random() & (uint64_t{random()} << 29);
          std::vector<float> scale(static_cast<size_t>(shape.channels));
          std::vector<int32_t> zero_point(scale.size());
          for (size_t c = 0; c < scale.size(); ++c) {
            scale[c] = 0.001f * static_cast<float>(1 + random() % 40) *
                       (storage == Storage::kInt4 ? 20.0f : 1.0f);
            zero_point[c] = static_cast<int32_t>(random() % 20) - (random() % 9 ? 0 : 100);
          }
          if (scale.size() > 4) scale[2] = 0.0f, scale[3] = std::nanf("");
          for (const Correction correction :
               {Correction::kNone, Correction::kZero, Correction::kClamp}) {
            for (int masks = 0; masks < 3; ++masks) {
              for (int codes = 0; codes < 3; ++codes) {  // no scale, scales, zero points as well
                if (codes != 1 && masks == 1) continue;
                Conversion conversion;
                conversion.correction = correction;
                conversion.low = -1.3f;
                conversion.high = 1.7f;
                conversion.channels = shape.channels;
                conversion.channel_inner = shape.inner;
                if (codes > 0) conversion.scale = scale.data();
                if (codes > 1) conversion.zero_point = zero_point.data();
                const int64_t first = static_cast<int64_t>(random() % 2000);
                const std::vector<uint64_t>* use_zero = masks == 0 ? nullptr : &zero;
                const std::vector<uint64_t>* use_one = masks == 0   ? nullptr
                                                       : masks == 1 ? &zero
                                                                    : &one;
                std::vector<uint8_t> expected(values.size());
                reference(values.data(), expected.data(), count, first, use_zero, use_one,
                          conversion);
                for (const auto* kernels : sets) {
                  const auto apply = kernels->apply(type, storage);
                  REQUIRE(apply != nullptr);
                  // A byte before and one behind show whether anything else is written.
                  std::vector<uint8_t> in(values.size() + 2, 0xa5), out(in.size(), 0x5a);
                  std::memcpy(in.data() + 1, values.data(), values.size());
                  const bool in_place = random() % 2;
                  std::vector<uint8_t>& target = in_place ? in : out;
                  const uint8_t guard = target[0];
                  apply(
                      {in.data() + 1, target.data() + 1, count, first,
                       use_zero ? use_zero->data() : nullptr, use_one ? use_one->data() : nullptr},
                      conversion);
                  const bool same =
                      std::memcmp(target.data() + 1, expected.data(), expected.size()) == 0;
                  if (!same || target.front() != guard || target.back() != guard) {
                    int64_t at = 0;
                    while (at < count * bytes && target[1 + at] == expected[at]) ++at;
                    FAIL(kernels->name << ", type " << v << ", storage " << s << ", channels "
                                       << shape.channels << " x " << shape.inner << ", count "
                                       << count << ", correction " << static_cast<int>(correction)
                                       << ", masks " << masks << ", codes " << codes
                                       << ", in place " << in_place << ": element " << at / bytes);
                  }
                }
              }
            }
          }
        }
      }
    }
  }
}

TEST_CASE("every instruction set converts every word and many values as the formats do") {
  std::vector<uint16_t> halves(1 << 16);
  for (size_t word = 0; word < halves.size(); ++word) halves[word] = static_cast<uint16_t>(word);
  std::vector<float> floats;
  for_many_floats([&](float value) { floats.push_back(value); });
  const auto check = [&]<class Format, ValueType kValue, Storage kStorage>(
                         const eden::simd::Kernels& kernels) {
    std::vector<float> read(floats.size());
    kernels.apply(ValueType::kFloat32, kStorage)(
        {floats.data(), read.data(), static_cast<int64_t>(floats.size()), 0, nullptr, nullptr}, {});
    int64_t wrong = 0;
    for (size_t i = 0; i < floats.size(); ++i) {
      wrong += bits_of(read[i]) != bits_of(Format::decode(Format::encode(floats[i])));
    }
    if constexpr (storage_bits(kStorage) == 16) {
      std::vector<uint16_t> back(halves.size());
      kernels.apply(kValue, Storage::kFloat32)(
          {halves.data(), back.data(), static_cast<int64_t>(halves.size()), 0, nullptr, nullptr},
          {});
      for (size_t i = 0; i < halves.size(); ++i) {
        wrong += back[i] != Format::encode(Format::decode(halves[i]));
      }
    }
    INFO(kernels.name << ", storage " << static_cast<int>(kStorage));
    CHECK(wrong == 0);
  };
  for (const auto* kernels : instruction_sets()) {
    check.operator()<eden::Float16Format, ValueType::kFloat16, Storage::kFloat16>(*kernels);
    check.operator()<eden::BFloat16Format, ValueType::kBFloat16, Storage::kBFloat16>(*kernels);
    check.operator()<eden::Float8E4M3Format, ValueType::kFloat8E4M3, Storage::kFloat8E4M3>(
        *kernels);
    check.operator()<eden::Float8E5M2Format, ValueType::kFloat8E5M2, Storage::kFloat8E5M2>(
        *kernels);
  }
}

TEST_CASE("own bits are never converted") {
  // All NaNs of float16, and those of float32 with every payload in their upper bits.
  std::vector<uint16_t> half;
  std::vector<uint32_t> single;
  for (uint32_t payload = 1; payload < 1u << 10; ++payload) {
    half.push_back(static_cast<uint16_t>(0x7c00 | payload));
    half.push_back(static_cast<uint16_t>(0xfc00 | payload));
    single.push_back(0x7f800000 | payload << 13 | (payload & 7));
    single.push_back(0xff800000 | payload);
  }
  for (const auto* kernels : instruction_sets()) {
    for (const bool masked : {false, true}) {
      const std::vector<uint64_t> none(single.size(), 0);
      const uint64_t* mask = masked ? none.data() : nullptr;
      std::vector<uint16_t> half_out(half.size());
      kernels->apply(ValueType::kFloat16, Storage::kFloat16)(
          {half.data(), half_out.data(), static_cast<int64_t>(half.size()), 0, mask, mask}, {});
      CHECK(half_out == half);
      std::vector<uint32_t> single_out(single.size());
      kernels->apply(ValueType::kFloat32, Storage::kFloat32)(
          {single.data(), single_out.data(), static_cast<int64_t>(single.size()), 0, mask, mask},
          {});
      CHECK(single_out == single);
    }
    // A correction replaces what is implausible and keeps the bits of the rest.
    Conversion conversion;
    conversion.correction = Correction::kClamp;
    conversion.low = -0.0f;
    conversion.high = 1.0f;
    const std::vector<uint32_t> in{0x80000000u, 0u,          1u,          0x3f800000u, 0x3f800001u,
                                   0x7f800000u, 0x7f800001u, 0xffc00000u, 0xff800000u, 0x80000001u};
    const std::vector<uint32_t> expected{0x80000000u, 0u, 1u, 0x3f800000u, 0x3f800000u,
                                         0x3f800000u, 0u, 0u, 0x80000000u, 0x80000000u};
    std::vector<uint32_t> out(in.size());
    kernels->apply(ValueType::kFloat32, Storage::kFloat32)(
        {in.data(), out.data(), static_cast<int64_t>(in.size()), 0, nullptr, nullptr}, conversion);
    CHECK(out == expected);
  }
}

TEST_CASE("which types a storage can hold") {
  int pairs = 0;
  for (const ValueType value : kValueTypes) {
    for (const Storage storage : kStorages) pairs += eden::can_store(value, storage);
  }
  CHECK(pairs == 3 * 22 + 6);
  CHECK(eden::can_store(ValueType::kInt32, Storage::kInt32));
  CHECK(!eden::can_store(ValueType::kFloat32, Storage::kInt32));
  CHECK(!eden::can_store(ValueType::kInt8, Storage::kUint8));
  CHECK(!eden::can_store(ValueType::kFloat32, static_cast<Storage>(eden::kStorages)));
  CHECK(eden::storage_bits(Storage::kInt4) == 4);
  CHECK(eden::storage_bits(Storage::kSign) == 1);
  CHECK(eden::storage_bits(static_cast<Storage>(-1)) == 0);
}

}  // namespace
