// Lines, numbers and comma-separated fields of text that arrives in pieces.
#pragma once

#include <array>
#include <bit>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace eden::measurements {

// Longer lines are damage, whatever the format; their bytes are skipped.
inline constexpr size_t kLongestLine = 1u << 16;

// Cuts bytes into lines. A line ends with LF or CR LF; the last one may lack its end.
class Lines {
 public:
  // take(number from 1, text without its end, whether it was cut at kLongestLine)
  template <class Take>
  void feed(std::string_view bytes, Take take) {
    feed(bytes, take, [](std::string_view, uint64_t&) { return size_t{0}; });
  }

  // Where a line begins, skip(bytes from there on, number of the line before) is asked first: it
  // returns the bytes of those lines that it took itself, which it adds to the number.
  template <class Take, class Skip>
  void feed(std::string_view bytes, Take take, Skip skip) {
    while (!bytes.empty()) {
      if (!begun_) {
        bytes.remove_prefix(skip(bytes, number_));
        if (bytes.empty()) return;
      }
      const size_t end = bytes.find('\n');
      const std::string_view part = bytes.substr(0, end);
      if (end == std::string_view::npos) {
        keep(part);
        return;
      }
      if (begun_) {
        keep(part);
        finish_line(take);
      } else {
        take(++number_, without_return(part.substr(0, kLongestLine)), part.size() > kLongestLine);
      }
      bytes.remove_prefix(end + 1);
    }
  }

  template <class Take>
  void finish(Take take) {
    ended_ = !begun_;
    if (begun_) finish_line(take);
  }

  // Whether the last line had its end.
  bool ended() const { return ended_; }
  uint64_t number() const { return number_; }

 private:
  static std::string_view without_return(std::string_view line) {
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    return line;
  }

  void keep(std::string_view part) {
    begun_ = true;
    const size_t room = kLongestLine - carried_.size();
    cut_ = cut_ || part.size() > room;
    carried_.append(part.substr(0, room));
  }

  template <class Take>
  void finish_line(Take take) {
    take(++number_, without_return(carried_), cut_);
    carried_.clear();
    begun_ = cut_ = false;
  }

  std::string carried_;
  uint64_t number_ = 0;
  bool begun_ = false, cut_ = false, ended_ = true;
};

inline std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// The whole text as a number, or nothing.
template <class T>
std::optional<T> whole_number(std::string_view text, int base = 10) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  if (error != std::errc() || stop != end || text.empty()) return std::nullopt;
  return value;
}
// The digits that text begins with as a number, up to 18 of them: moves begin behind them. False
// where there are none or more, and where they end with the text.
inline bool leading_digits(const char*& begin, const char* end, uint64_t& value) {
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
  for (; at != end && *at >= '0' && *at <= '9' && at - begin <= static_cast<std::ptrdiff_t>(kMost);
       ++at) {
    number = 10 * number + static_cast<uint64_t>(*at - '0');
  }
  const auto size = static_cast<size_t>(at - begin);
  if (size == 0 || size > kMost || at == end) return false;
  begin = at;
  value = number;
  return true;
}

// Finite; a sign of + is allowed.
std::optional<double> real_number(std::string_view text);
// A whole number that may be written as a real one, such as 4e4.
std::optional<uint64_t> count_number(std::string_view text, uint64_t most);

// The fields of a line of comma-separated values. Fields can be quoted (RFC 4180), over line ends
// not. Nothing for a quote that is not closed.
class CsvFields {
 public:
  bool split(std::string_view line);
  size_t size() const { return fields_.size(); }
  std::string_view operator[](size_t i) const { return fields_[i]; }
  // Where the text of a field, its quotes included, ends in the line.
  size_t end(size_t i) const { return ends_[i]; }

 private:
  bool split_quoted(std::string_view line);
  std::vector<std::string_view> fields_;
  std::vector<size_t> ends_;
  std::vector<std::string> unquoted_;
};

}  // namespace eden::measurements
