#include "measurements/log.h"

#include <utility>

namespace eden::measurements {

std::string printable(std::string_view bytes, size_t most) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    if (text.size() >= most) {
      text += "...";
      break;
    }
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      text += c;
    } else {
      text += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return text;
}

std::string place_text(const char* unit, uint64_t place) {
  return std::string(unit) + " " + std::to_string(place);
}

void Log::damaged(uint64_t place, std::string_view found, std::string_view allowed) {
  ++damaged_;
  if (damages_.size() < kKept) {
    damages_.push_back({place, printable(found), std::string(allowed)});
  }
}

void OtherText::line(uint64_t number, std::string_view text) {
  if (lines_++ == 0) {
    first_ = number;
    text_ = printable(text);
  }
}

void OtherText::note(Log& log, std::string_view what) const {
  if (lines_ == 0) return;
  log.note("skipped " + std::to_string(lines_) + " lines that are no " + std::string(what) +
           ", the first at line " + std::to_string(first_) + ": '" + text_ + "'");
}

}  // namespace eden::measurements
