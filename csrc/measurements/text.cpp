#include "measurements/text.h"

#include <cmath>

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
