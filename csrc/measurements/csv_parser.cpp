#include "measurements/csv_parser.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>

#include "base/refusal.h"

namespace eden::measurements {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr size_t kMostColumns = 1024;
constexpr size_t kMostSessions = 4096;

// What names of a condition or of a part of the memory have in them.
constexpr std::string_view kTelling[] = {"vdd",       "volt",    "trcd",    "trp",    "tras",
                                         "trefi",     "twr",     "twait",   "temp",   "refresh",
                                         "retention", "hammer",  "pattern", "stored", "module",
                                         "dimm",      "channel", "rank",    "chip",   "session"};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

bool tells(std::string_view name) {
  return std::ranges::any_of(kTelling, [&](std::string_view word) {
    return !std::ranges::search(name, word, {}, lower).empty();
  });
}

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", value);
  return text;
}

}  // namespace

void CsvParser::feed(std::string_view bytes) {
  // Lines alike are looked for up to the last end of a line.
  const char* const end = bytes.data() + (bytes.rfind('\n') + 1);
  lines_.feed(
      bytes, [this](uint64_t line, std::string_view text, bool cut) { take(line, text, cut); },
      [&](std::string_view rest, uint64_t& line) {
        const char* at = rest.data();
        while (learned_ && at < end) {
          const char* const next = next_alike(at, end);
          if (next == nullptr || !alike(line + 1)) break;
          at = next;
          ++line;
          output_.log.record();
        }
        return static_cast<size_t>(at - rest.data());
      });
}

// Behind a line that begins here and is like the last one; its numbers are in digits_.
const char* CsvParser::next_alike(const char* at, const char* end) {
  const char* const begin = at;
  const auto passed = [&](const std::string& text) {
    if (static_cast<size_t>(end - at) <= text.size()) return false;
    // Mostly a comma.
    const bool equal =
        text.size() == 1 ? *at == text[0] : std::memcmp(at, text.data(), text.size()) == 0;
    at += text.size();
    return equal;
  };
  for (size_t i = 0; i < parts_used_; ++i) {
    const Part& part = parts_[i];
    if (!passed(part.text)) return nullptr;
    if (part.column != kLeftOut) {
      if (!leading_digits(at, end, digits_[part.column])) return nullptr;
      continue;
    }
    while (*at != ',' && *at != '\n' && *at != '"') ++at;
    if (*at == '"') return nullptr;
  }
  if (!passed(last_part_)) return nullptr;
  if (*at == '\r') ++at;
  if (at == end || *at != '\n' || static_cast<size_t>(at - begin) > kLongestLine) return nullptr;
  return at + 1;
}

void CsvParser::learn(std::string_view line) {
  learned_ = true;
  parts_used_ = 0;
  last_part_.clear();
  bool any = false;
  for (size_t i = 0; i < width_; ++i) {
    const size_t begin = i == 0 ? 0 : fields_.end(i - 1) + 1;
    if (i > 0) last_part_ += ',';
    const int column = numbers_[i];
    if (column >= 0) digits_[column] = kNoDigits;
    if (column == kText || begin == fields_.end(i)) {
      last_part_.append(line, begin, fields_.end(i) - begin);
      continue;
    }
    if (parts_used_ == parts_.size()) parts_.emplace_back();
    Part& part = parts_[parts_used_++];
    part.text.swap(last_part_);
    part.column = column;
    last_part_.clear();
    any = any || column >= 0;
  }
  learned_ = any;
}

void CsvParser::finish() {
  last_line_open_ = true;
  lines_.finish([this](uint64_t line, std::string_view text, bool cut) { take(line, text, cut); });
  if (place_.empty()) {
    refuse<FormatError>("the file is empty; allowed is a CSV file with a header");
  }
  if (output_.log.records() == 0) {
    refuse<FormatError>("the file has a header and no lines below it; allowed is one or more");
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
    learned_ = row(line);
    if (read_module_) watch(line);
    if (learned_) learn(text);
    return;
  }
  learned_ = false;
}

void CsvParser::watch(uint64_t line) {
  for (Watched& watched : watched_) {
    const std::string_view found = trimmed(fields_[watched.field]);
    if (!watched.seen) {
      watched.seen = true;
      watched.first = found;
    } else if (found != watched.first) {
      refuse<FormatError>(
          place_text("line", line), ": found '", printable(found), "' in the column ",
          printable(watched.name), ", which is left out, and '", printable(watched.first),
          "' before it; allowed is one value, because what is measured under several would be "
          "counted as one: name it as a column that is read, or give the lines of one value");
    }
  }
}

void CsvParser::header(uint64_t line, std::string_view text) {
  const std::string at = place_text("line", line) + ": ";
  if (!fields_.split(text) || fields_.size() > kMostColumns) {
    refuse<FormatError>(at, "found '", printable(text), "'; allowed is the header of a CSV file");
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
      if (!same_name(trimmed(fields_[i]), column.name)) continue;
      if (found_at >= 0) {
        refuse<FormatError>(at, "the column ", column.name, " occurs twice; allowed is once");
      }
      found_at = static_cast<int>(i);
      known[i] = true;
    }
    if (found_at < 0 && column.required) {
      refuse<FormatError>(at, "the column ", column.name, " is missing; found ",
                          printable(found, 200), "; allowed is a header with ", allowed);
    }
    place.push_back(found_at);
  }
  std::string others;
  for (size_t i = 0; i < width_; ++i) {
    if (!known[i] && tells(trimmed(fields_[i])))
      watched_.push_back({i, std::string(trimmed(fields_[i])), "", false});
    if (!known[i]) others += (others.empty() ? "" : ", ") + printable(trimmed(fields_[i]));
  }
  if (!others.empty()) output_.log.note("left out the columns " + printable(others, 200));
  place_ = std::move(place);
  numbers_.assign(width_, kLeftOut);
  digits_.assign(columns_.size(), kNoDigits);
  for (const Watched& watched : watched_) numbers_[watched.field] = kText;
  for (size_t column = 0; column < columns_.size(); ++column) {
    if (place_[column] < 0) continue;
    numbers_[place_[column]] = columns_[column].number ? static_cast<int>(column) : kText;
  }
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
  module_count_ = vendor_count_ = nullptr;
  bool wanted = true;
  if (has(module_column)) {
    const std::string label(field(module_column));
    wanted = output_.of_module(label, settings_);
    module_count_ = &output_.modules.find(label)->second;
  }
  read_module_ = wanted;
  if (wanted && has(vendor_column)) vendor_count_ = output_.add_vendor(field(vendor_column));
  return wanted;
}

void CsvParser::same_module() {
  if (module_count_) ++*module_count_;
  if (vendor_count_) ++*vendor_count_;
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
      if (same_name(trimmed(fields[i]), name)) return true;
    }
    return false;
  });
}

namespace {

template <class Column>
std::vector<Column> with_condition_columns(std::vector<Column> own) {
  std::vector<Column> columns;
  for (const char* name : kConditionNames) columns.push_back({name, false, false});
  for (const InUnit& unit : kInUnits) columns.push_back({unit.name, false, false});
  for (const char* name : {"session", "pattern", "stored", "module", "vendor"}) {
    columns.push_back({name, false, false});
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
  Condition condition = settings_.at, stated;
  auto& told = stated.field;
  for (int i = 0; i < kConditionFields; ++i) {
    if (field(i).empty()) continue;
    const std::optional<double> value =
        real(line, i, kConditionRanges[i].low, kConditionRanges[i].high);
    if (!value) return false;
    condition.field[i] = *value;
  }
  for (int i = 0; i < kUnits; ++i) {
    const InUnit& unit = kInUnits[i];
    if (field(kConditionFields + i).empty()) continue;
    const Range& range = kConditionRanges[unit.field];
    const std::optional<double> value =
        real(line, kConditionFields + i, (range.low - unit.offset) / unit.factor,
             (range.high - unit.offset) / unit.factor);
    if (!value) return false;
    if (!field(unit.field).empty() || !std::isnan(told[unit.field])) {
      damaged(line, kConditionFields + i, "one column of a quantity");
      return false;
    }
    // Not the last digits that the unit's factor rounds.
    condition.field[unit.field] = told[unit.field] =
        std::round((unit.factor * *value + unit.offset) * 1e9) / 1e9;
  }
  session_ =
      sessions_.try_emplace(std::string(field(kSessionColumn)), sessions_.size()).first->second;
  if (sessions_.size() > kMostSessions) {
    refuse<FormatError>("found more than ", kMostSessions, " sessions; allowed are fewer");
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

uint64_t ConditionCsvParser::pass_of(uint64_t repeat) {
  if (!has(kSessionColumn)) return repeat;
  const auto [pass, added] = passes_.try_emplace({condition_, session_, repeat}, 0);
  if (added) pass->second = next_pass_[condition_]++;
  return pass->second;
}

void ConditionCsvParser::at_end() {
  if (sessions_.size() > 1) {
    output_.log.note("numbered the passes of " + std::to_string(sessions_.size()) +
                     " sessions on, by condition");
  }
}

}  // namespace eden::measurements
