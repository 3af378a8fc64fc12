#include "measurements/pattern.h"

#include <algorithm>
#include <bit>
#include <charconv>

namespace eden::measurements {
namespace {

constexpr size_t kLongestName = 64;
constexpr size_t kMostRows = 16;

// docs/source of antmicro/rowhammer-tester, "Patterns".
struct Named {
  std::string_view name, bytes;
};
constexpr Named kNamed[] = {
    {"all_0", "0x00"}, {"all_1", "0xff"}, {"01_in_row", "0xaa"}, {"01_per_row", "0xff/0x00"}};

std::optional<uint8_t> parse_byte(std::string_view text) {
  if (text.size() < 3 || text[0] != '0' || (text[1] != 'x' && text[1] != 'X')) return std::nullopt;
  text.remove_prefix(2);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (text.size() <= 2) return static_cast<uint8_t>(value);
  if (text.size() != 4 && text.size() != 8 && text.size() != 16) return std::nullopt;
  for (size_t i = 1; i < text.size() / 2; ++i) {
    if ((value >> (8 * i) & 0xff) != (value & 0xff)) return std::nullopt;
  }
  return static_cast<uint8_t>(value);
}

std::string byte_text(uint8_t byte) {
  static constexpr char kDigits[] = "0123456789abcdef";
  return {'0', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
}

}  // namespace

std::optional<Pattern> Pattern::parse(std::string_view text) {
  for (const Named& named : kNamed) {
    if (text == named.name) text = named.bytes;
  }
  Pattern pattern;
  if (text.empty()) return pattern;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find('/', begin), text.size());
      const std::optional<uint8_t> byte = parse_byte(text.substr(begin, end - begin));
      if (!byte || pattern.bytes_.size() == kMostRows) return std::nullopt;
      pattern.bytes_.push_back(*byte);
      begin = end + 1;
    }
    // One spelling for one pattern.
    const auto& bytes = pattern.bytes_;
    if (std::all_of(bytes.begin(), bytes.end(), [&](uint8_t b) { return b == bytes[0]; })) {
      pattern.bytes_.resize(1);
    }
    for (const uint8_t byte : pattern.bytes_) {
      if (!pattern.text_.empty()) pattern.text_ += '/';
      pattern.text_ += byte_text(byte);
    }
    return pattern;
  }
  const auto names = [](char c) { return c > 0x20 && c < 0x7f; };
  if (text.size() > kLongestName || !std::all_of(text.begin(), text.end(), names)) {
    return std::nullopt;
  }
  pattern.text_ = text;
  return pattern;
}

Pattern Pattern::of_byte(uint8_t byte) {
  Pattern pattern;
  pattern.text_ = byte_text(byte);
  pattern.bytes_ = {byte};
  return pattern;
}

Stored Pattern::solid() const {
  if (bytes_.size() != 1) return kUnknown;
  return bytes_[0] == 0x00 ? kZero : bytes_[0] == 0xff ? kOne : kUnknown;
}

uint32_t Pattern::cells(uint32_t row, uint32_t row_bits, Stored stored) const {
  if (!known()) return stored == kUnknown ? row_bits : 0;
  if (stored == kUnknown) return 0;
  const unsigned ones = byte(row);
  const unsigned holding = stored == kOne ? ones : ~ones & 0xff;
  return row_bits / 8 * static_cast<uint32_t>(std::popcount(holding)) +
         static_cast<uint32_t>(std::popcount(holding & ((1u << row_bits % 8) - 1)));
}

}  // namespace eden::measurements
