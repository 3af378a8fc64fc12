#include "core/measurements/csv_parser.h"

#include <algorithm>
#include <cstdio>

namespace eden::measurements {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr size_t kMostColumns = 1024;

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", value);
  return text;
}

}  // namespace

void CsvParser::feed(std::string_view bytes) {
  lines_.feed(bytes,
              [this](uint64_t line, std::string_view text, bool cut) { take(line, text, cut); });
}

void CsvParser::finish() {
  last_line_open_ = true;
  lines_.finish([this](uint64_t line, std::string_view text, bool cut) { take(line, text, cut); });
  if (place_.empty()) {
    throw FormatError("the file is empty; allowed is a CSV file with a header");
  }
  if (output_.log.records() == 0) {
    throw FormatError("the file has a header and no lines below it; allowed is one or more");
  }
  at_end();
}

void CsvParser::take(uint64_t line, std::string_view text, bool cut) {
  if (place_.empty()) {
    if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
    if (!trimmed(text).empty()) header(line, text);
    return;
  }
  if (text.empty()) return;
  Log& log = output_.log;
  log.record();
  if (cut) {
    log.damaged(line, text, "a line of up to " + std::to_string(kLongestLine) + " bytes");
  } else if (!fields_.split(text)) {
    log.damaged(line, text, "quotes that are closed in their line");
  } else if (fields_.size() != width_) {
    log.damaged(line, std::to_string(fields_.size()) + " fields: " + std::string(text),
                std::to_string(width_) + " fields, as in the header");
  } else if (last_line_open_) {
    log.damaged(line, text, "a line end: without it the last field may be truncated");
  } else {
    row(line);
  }
}

void CsvParser::header(uint64_t line, std::string_view text) {
  const std::string at = place_text("line", line) + ": ";
  if (!fields_.split(text) || fields_.size() > kMostColumns) {
    throw FormatError(at + "found '" + printable(text) + "'; allowed is the header of a CSV file");
  }
  width_ = fields_.size();
  std::string found, allowed;
  for (size_t i = 0; i < width_; ++i) {
    found += (i == 0 ? "" : ", ") + printable(trimmed(fields_[i]));
  }
  for (const Column& column : columns_) {
    if (column.required) allowed += (allowed.empty() ? "" : ", ") + std::string(column.name);
  }
  std::vector<bool> known(width_, false);
  std::vector<int> place;
  for (const Column& column : columns_) {
    int found_at = -1;
    for (size_t i = 0; i < width_; ++i) {
      if (trimmed(fields_[i]) != column.name) continue;
      if (found_at >= 0) {
        throw FormatError(at + "the column " + column.name + " occurs twice; allowed is once");
      }
      found_at = static_cast<int>(i);
      known[i] = true;
    }
    if (found_at < 0 && column.required) {
      throw FormatError(at + "the column " + column.name + " is missing; found " +
                        printable(found, 200) + "; allowed is a header with " + allowed);
    }
    place.push_back(found_at);
  }
  std::string others;
  for (size_t i = 0; i < width_; ++i) {
    if (!known[i]) others += (others.empty() ? "" : ", ") + printable(trimmed(fields_[i]));
  }
  if (!others.empty()) output_.log.note("left out the columns " + printable(others, 200));
  place_ = std::move(place);
}

void CsvParser::damaged(uint64_t line, int column, std::string_view allowed) {
  output_.log.damaged(line, std::string(columns_[column].name) + " = " + std::string(field(column)),
                      allowed);
}

std::optional<uint64_t> CsvParser::number(uint64_t line, int column, uint64_t low, uint64_t high) {
  // Almost all fields are a few digits and nothing else.
  if (place_[column] >= 0) {
    const std::string_view text = fields_[place_[column]];
    uint64_t digits = 0;
    bool all = !text.empty() && text.size() <= 18;
    for (const char c : text) {
      const auto digit = static_cast<unsigned>(c - '0');
      all = all && digit <= 9;
      digits = 10 * digits + digit;
    }
    if (all && digits >= low && digits <= high) return digits;
  }
  const std::optional<uint64_t> value = whole_number<uint64_t>(field(column));
  if (value && *value >= low && *value <= high) return value;
  damaged(line, column,
          "a whole number from " + std::to_string(low) + " to " + std::to_string(high));
  return std::nullopt;
}

std::optional<double> CsvParser::real(uint64_t line, int column, double low, double high) {
  const std::optional<double> value = real_number(field(column));
  if (value && *value >= low && *value <= high) return value;
  damaged(line, column, "a number from " + short_number(low) + " to " + short_number(high));
  return std::nullopt;
}

bool CsvParser::of_module(int module_column, int vendor_column) {
  if (has(vendor_column) && !has(module_column)) output_.add_vendor(field(vendor_column));
  if (!has(module_column)) return true;
  const std::string_view label = field(module_column);
  const bool wanted = output_.of_module(std::string(label), settings_);
  if (wanted && has(vendor_column)) output_.add_vendor(field(vendor_column));
  return wanted;
}

bool has_columns(std::string_view head, std::initializer_list<std::string_view> names) {
  if (head.starts_with(kByteOrderMark)) head.remove_prefix(kByteOrderMark.size());
  const size_t begin = std::min(head.find_first_not_of(" \t\r\n"), head.size());
  head = head.substr(begin);
  head = head.substr(0, head.find_first_of("\r\n"));
  CsvFields fields;
  if (!fields.split(head)) return false;
  return std::all_of(names.begin(), names.end(), [&](std::string_view name) {
    for (size_t i = 0; i < fields.size(); ++i) {
      if (trimmed(fields[i]) == name) return true;
    }
    return false;
  });
}

namespace {

template <class Column>
std::vector<Column> with_condition_columns(std::vector<Column> own) {
  std::vector<Column> columns;
  for (const char* name : kConditionNames) columns.push_back({name, false});
  for (const char* name : {"pattern", "stored", "module", "vendor"}) {
    columns.push_back({name, false});
  }
  columns.insert(columns.end(), own.begin(), own.end());
  return columns;
}

}  // namespace

ConditionCsvParser::ConditionCsvParser(std::vector<Column> own, const Settings& settings,
                                       Output& output)
    : CsvParser(with_condition_columns(std::move(own)), settings, output) {}

bool ConditionCsvParser::read_condition(uint64_t line) {
  bool same = condition_ >= 0;
  for (int i = 0; same && i <= kStoredColumn; ++i) same = field(i) == last_[i];
  if (same) return true;
  condition_ = -1;
  Condition condition = settings_.at;
  for (int i = 0; i < kConditionFields; ++i) {
    if (field(i).empty()) continue;
    const std::optional<double> value =
        real(line, i, kConditionRanges[i].low, kConditionRanges[i].high);
    if (!value) return false;
    condition.field[i] = *value;
  }
  stored_ = kUnknown;
  if (const std::string_view text = field(kStoredColumn); !text.empty()) {
    if (text != "0" && text != "1") {
      damaged(line, kStoredColumn, "0 or 1");
      return false;
    }
    stored_ = text == "0" ? kZero : kOne;
  }
  if (const std::string_view text = field(kPatternColumn); !text.empty()) {
    const std::optional<Pattern> pattern = Pattern::parse(text);
    if (!pattern) {
      damaged(line, kPatternColumn, "bytes such as 0xaa or 0xff/0x00, or a name");
      return false;
    }
    condition.pattern = *pattern;
  }
  // A stored value alone says that all cells held it.
  if (condition.pattern.text().empty() && stored_ != kUnknown) {
    condition.pattern = Pattern::of_byte(stored_ == kOne ? 0xff : 0x00);
  }
  if (condition.pattern.solid() != kUnknown && stored_ != kUnknown &&
      condition.pattern.solid() != stored_) {
    damaged(line, kStoredColumn, "the value that pattern " + condition.pattern.text() + " stores");
    return false;
  }
  condition_ = output_.statistics.condition(condition);
  for (int i = 0; i <= kStoredColumn; ++i) last_[i] = field(i);
  return true;
}

}  // namespace eden::measurements
