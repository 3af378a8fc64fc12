// The data that a test stored: one byte per row, repeated along the row, the bytes of consecutive
// rows repeated over the bank. Bit b of a row holds bit b mod 8 of its byte.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace eden::measurements {

enum Stored : int { kZero = 0, kOne = 1, kUnknown = 2 };
inline constexpr int kStoredValues = 3;

class Pattern {
 public:
  // Nothing is known of the data.
  Pattern() = default;

  // "0xaa", "0xaaaaaaaa" (equal bytes), "0xff/0x00" (rows 0, 1, 0, ...), a name that
  // rowhammer-tester gives a pattern, or any other name, whose data stays unknown. Empty for text
  // that is none of them.
  static std::optional<Pattern> parse(std::string_view text);
  static Pattern of_byte(uint8_t byte);

  // In one spelling: bytes as "0xff/0x00", other patterns by name; empty where nothing is known.
  const std::string& text() const { return text_; }
  bool known() const { return !bytes_.empty(); }
  // The number of rows after which the data repeats.
  uint32_t period() const { return static_cast<uint32_t>(bytes_.size()); }

  Stored stored(uint32_t row, uint32_t bit) const {
    return known() ? static_cast<Stored>(byte(row) >> (bit & 7) & 1) : kUnknown;
  }
  uint8_t byte(uint32_t row) const { return bytes_[row % bytes_.size()]; }
  // The value that all cells hold, unknown for a pattern of both.
  Stored solid() const;
  // Cells of a row that hold a value; all of them for kUnknown where nothing is known.
  uint32_t cells(uint32_t row, uint32_t row_bits, Stored stored) const;

  bool operator==(const Pattern& other) const { return text_ == other.text_; }

 private:
  std::string text_;
  std::vector<uint8_t> bytes_;
};

}  // namespace eden::measurements
