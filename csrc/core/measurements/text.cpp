#include "core/measurements/text.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace eden::measurements {

std::optional<double> real_number(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  double value = 0.0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || text.empty() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

bool leading_digits(const char*& begin, const char* end, uint64_t& value) {
  constexpr size_t kMost = 18;
  const char* at = begin;
  uint64_t number = 0;
  // Eight characters at a time: each byte the value of its digit, or above 9.
  while (std::endian::native == std::endian::little && end - at >= 8) {
    uint64_t digits;
    std::memcpy(&digits, at, sizeof(digits));
    digits ^= 0x3030303030303030u;
    // The first high bit is that of the first byte above 9; those behind it do not matter.
    const uint64_t others = ((digits + 0x7676767676767676u) | digits) & 0x8080808080808080u;
    const int count = std::countr_zero(others) / 8;
    if (count == 0) break;
    digits <<= 64 - 8 * count;
    // Pairs of digits, then of pairs, then of fours.
    digits = (digits * 10 + (digits >> 8)) & 0x00ff00ff00ff00ffu;
    digits = (digits * 100 + (digits >> 16)) & 0x0000ffff0000ffffu;
    digits = (digits * 10000 + (digits >> 32)) & 0xffffffffu;
    static constexpr uint64_t kPowers[] = {1,      10,      100,      1000,     10000,
                                           100000, 1000000, 10000000, 100000000};
    number = number * kPowers[count] + digits;
    at += count;
    if (count < 8 || at - begin > static_cast<std::ptrdiff_t>(kMost)) break;
  }
  for (; at != end && *at >= '0' && *at <= '9' &&
         at - begin <= static_cast<std::ptrdiff_t>(kMost);
       ++at) {
    number = 10 * number + static_cast<uint64_t>(*at - '0');
  }
  const auto size = static_cast<size_t>(at - begin);
  if (size == 0 || size > kMost || at == end) return false;
  begin = at;
  value = number;
  return true;
}

std::optional<uint64_t> count_number(std::string_view text, uint64_t most) {
  if (const auto whole = whole_number<uint64_t>(text)) {
    return *whole <= most ? whole : std::nullopt;
  }
  const std::optional<double> real = real_number(text);
  // 2^53: the doubles below are exact.
  if (!real || *real < 0.0 || *real > 0x1p53 || *real != std::floor(*real)) return std::nullopt;
  const auto value = static_cast<uint64_t>(*real);
  return value <= most ? std::optional<uint64_t>(value) : std::nullopt;
}

bool CsvFields::split(std::string_view line) {
  fields_.clear();
  ends_.clear();
  if (line.find('"') != std::string_view::npos) return split_quoted(line);
  const char* begin = line.data();
  const char* const end = begin + line.size();
  for (const char* at = begin; at != end; ++at) {
    if (*at != ',') continue;
    fields_.emplace_back(begin, at - begin);
    ends_.push_back(static_cast<size_t>(at - line.data()));
    begin = at + 1;
  }
  fields_.emplace_back(begin, end - begin);
  ends_.push_back(line.size());
  return true;
}

bool CsvFields::split_quoted(std::string_view line) {
  unquoted_.clear();
  unquoted_.emplace_back();
  bool open = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (open) {
      if (c != '"') {
        unquoted_.back() += c;
      } else if (i + 1 < line.size() && line[i + 1] == '"') {
        unquoted_.back() += '"';
        ++i;
      } else {
        open = false;
      }
    } else if (c == '"' && unquoted_.back().empty()) {
      open = true;
    } else if (c == ',') {
      unquoted_.emplace_back();
      ends_.push_back(i);
    } else {
      unquoted_.back() += c;
    }
  }
  ends_.push_back(line.size());
  for (const std::string& field : unquoted_) fields_.emplace_back(field);
  return !open;
}

}  // namespace eden::measurements
