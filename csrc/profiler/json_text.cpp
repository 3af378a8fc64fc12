#include "profiler/json_text.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace eden::profiler {
namespace {

// Between these powers of ten Python writes a number without an exponent.
constexpr int kLeastPositional = -4;
constexpr int kMostPositional = 15;

void append(std::string& out, const Json& value, int indent, int depth) {
  const bool object = value.is_object();
  if (!object && !value.is_array()) {
    out += value.is_number_float() ? number_text(value.get<double>())
                                   : value.dump(-1, ' ', /*ensure_ascii=*/true);
    return;
  }
  const auto new_line = [&](int levels) {
    if (indent > 0) out += '\n' + std::string(static_cast<size_t>(indent * levels), ' ');
  };
  out += object ? '{' : '[';
  bool first = true;
  for (auto item = value.begin(); item != value.end(); ++item) {
    if (!first) out += indent > 0 ? "," : ", ";
    first = false;
    new_line(depth + 1);
    if (object) out += Json(item.key()).dump(-1, ' ', true) + ": ";
    append(out, *item, indent, depth + 1);
  }
  if (!first) new_line(depth);
  out += object ? '}' : ']';
}

}  // namespace

std::string number_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0.0 ? "-Infinity" : "Infinity";
  std::array<char, 32> buffer;
  char* const end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                  std::chars_format::scientific)
                        .ptr;
  const std::string text(buffer.data(), end);
  const size_t mark = text.find('e');
  const int exponent = std::atoi(text.c_str() + mark + 1);
  if (exponent < kLeastPositional || exponent > kMostPositional) return text;
  const bool negative = text[0] == '-';
  std::string digits;
  for (const char c : text.substr(0, mark)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  std::string body;
  if (exponent < 0) {
    body = "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  } else {
    const size_t whole = static_cast<size_t>(exponent) + 1;
    if (digits.size() < whole) digits.append(whole - digits.size(), '0');
    const std::string fraction = digits.substr(whole);
    body = digits.substr(0, whole) + "." + (fraction.empty() ? "0" : fraction);
  }
  return (negative ? "-" : "") + body;
}

std::string json_text(const Json& value, int indent) {
  std::string out;
  append(out, value, indent, 0);
  return out;
}

}  // namespace eden::profiler
