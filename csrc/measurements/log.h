// What a parser has to say of a file: how many records it met, which of them are damaged, what it
// noticed on the way, and the error that ends the reading.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/refusal.h"

namespace eden::measurements {

// At most `most` characters of bytes from a file, those that do not print escaped.
std::string printable(std::string_view bytes, size_t most = 60);

// The place in words: "line 3", "byte 17".
std::string place_text(const char* unit, uint64_t place);

struct Damage {
  uint64_t place;  // line from 1, or byte from 0
  std::string found;
  std::string allowed;
};

class Log {
 public:
  // Damaged records whose places are kept; the others are only counted.
  static constexpr size_t kKept = 5;

  void record() { ++records_; }
  void damaged(uint64_t place, std::string_view found, std::string_view allowed);
  void note(std::string text) { notes_.push_back(std::move(text)); }

  uint64_t records() const { return records_; }
  uint64_t damaged_records() const { return damaged_; }
  const std::vector<Damage>& damages() const { return damages_; }
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  uint64_t records_ = 0;
  uint64_t damaged_ = 0;
  std::vector<Damage> damages_;
  std::vector<std::string> notes_;
};

// Text between the records of a format that is no damage, such as other output of the same tool.
class OtherText {
 public:
  void line(uint64_t number, std::string_view text);
  void note(Log& log, std::string_view what) const;

 private:
  uint64_t lines_ = 0;
  uint64_t first_ = 0;
  std::string text_;
};

}  // namespace eden::measurements
