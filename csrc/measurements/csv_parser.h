// What the readers of comma-separated files share: a header whose columns are found by name, and
// the columns that say under what a line was measured.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "measurements/parser.h"
#include "measurements/text.h"

namespace eden::measurements {

// Columns are found by name, in letters of either case. A column that is left out must not differ
// from line to line where its name says a condition or a part of the memory in other words, as
// vdd_mv or session: lines of several would be counted as of one.
class CsvParser : public Parser {
 public:
  void feed(std::string_view bytes) final;
  void finish() final;

 protected:
  struct Column {
    const char* name;
    bool required;
    bool number = false;  // mostly digits that differ from line to line
  };

  CsvParser(std::vector<Column> columns, const Settings& settings, Output& output)
      : settings_(settings), output_(output), columns_(std::move(columns)) {}

  // A line with as many fields as the header. Whether it was without damage.
  virtual bool row(uint64_t line) = 0;
  // A line that agrees with the last one given to row(), which was without damage, in the text of
  // all its columns but those of numbers. False, and nothing changed, where row() is to have it.
  virtual bool alike(uint64_t) { return false; }
  virtual void at_end() {}
  // The value of a column of numbers of such a line, kNoDigits where its field is empty.
  static constexpr uint64_t kNoDigits = ~uint64_t{0};
  uint64_t digits(int column) const { return digits_[column]; }

  bool has(int column) const { return place_[column] >= 0; }
  // Without surrounding blanks; empty where the file has no such column.
  std::string_view field(int column) const {
    return place_[column] < 0 ? std::string_view() : trimmed(fields_[place_[column]]);
  }
  // The field as a number from low to high; damage and nothing where it is none.
  std::optional<uint64_t> number(uint64_t line, int column, uint64_t low, uint64_t high);
  std::optional<double> real(uint64_t line, int column, double low, double high);
  void damaged(uint64_t line, int column, std::string_view allowed);
  // Whether the module of a line is the one that is read, as all are where there is no column.
  bool of_module(int module_column, int vendor_column);
  // Counts a line of the same module.
  void same_module();

  const Settings& settings_;
  Output& output_;

 private:
  void take(uint64_t line, std::string_view text, bool cut);
  void header(uint64_t line, std::string_view text);
  void learn(std::string_view line);
  void watch(uint64_t line);
  const char* next_alike(const char* at, const char* end);

  // What a line alike consists of: text, then a number or what is left out, and so on.
  struct Part {
    std::string text;
    int column;
  };
  static constexpr int kText = -1, kLeftOut = -2;  // in place of a column of numbers

  std::vector<Column> columns_;
  struct Watched {
    size_t field;
    std::string name;
    std::string first;  // what its first line holds
    bool seen;
  };
  std::vector<Watched> watched_;
  std::vector<int> place_;    // of each column in a line, -1 where it is missing
  std::vector<int> numbers_;  // of each field of a line its column, if it is one of numbers
  std::vector<Part> parts_;
  size_t parts_used_ = 0;
  std::string last_part_;
  bool learned_ = false;
  std::vector<uint64_t> digits_;  // by column
  bool read_module_ = true;       // the last line is of the module that is read
  uint64_t* module_count_ = nullptr;
  uint64_t* vendor_count_ = nullptr;
  size_t width_ = 0;
  Lines lines_;
  CsvFields fields_;
  bool last_line_open_ = false;
};

// Whether the first line has all of these columns, in letters of either case.
bool has_columns(std::string_view head, std::initializer_list<std::string_view> names);

// The columns of an operating point, in the order of ConditionField, and those of the data.
inline constexpr const char* kConditionNames[kConditionFields] = {
    "vdd", "trcd", "trp", "temperature", "refresh_interval", "hammer_count", "tras"};
struct Range {
  double low, high;
};
inline constexpr Range kConditionRanges[kConditionFields] = {
    {0.1, 10.0}, {1e-3, 1e6}, {1e-3, 1e6}, {-273.15, 1000.0},
    {1e-3, 1e9}, {0.0, 1e15}, {1e-3, 1e6}};

// Columns of the same in other units: the value is factor x number + offset.
struct InUnit {
  const char* name;
  ConditionField field;
  double factor, offset;
};
inline constexpr InUnit kInUnits[] = {{"vdd_mv", kVdd, 1e-3, 0.0},
                                      {"trcd_ps", kTrcd, 1e-3, 0.0},
                                      {"trp_ps", kTrp, 1e-3, 0.0},
                                      {"tras_ps", kTras, 1e-3, 0.0},
                                      {"temperature_k", kTemperature, 1.0, -273.15},
                                      {"refresh_interval_us", kRefreshInterval, 1e-3, 0.0},
                                      {"refresh_interval_s", kRefreshInterval, 1e3, 0.0}};
inline constexpr int kUnits = sizeof(kInUnits) / sizeof(kInUnits[0]);

// A file whose first columns are kConditionNames, then those of kInUnits, session, pattern, stored,
// module and vendor.
class ConditionCsvParser : public CsvParser {
 protected:
  static constexpr int kSessionColumn = kConditionFields + kUnits;
  static constexpr int kPatternColumn = kSessionColumn + 1;
  static constexpr int kStoredColumn = kSessionColumn + 2;
  static constexpr int kModuleColumn = kSessionColumn + 3;
  static constexpr int kVendorColumn = kSessionColumn + 4;
  static constexpr int kOwnColumns = kSessionColumn + 5;

  ConditionCsvParser(std::vector<Column> own, const Settings& settings, Output& output);

  // The condition of a line, and the value that its field `stored` names; damage and false where
  // they are none.
  bool read_condition(uint64_t line);
  // The pass that a session's own number of a pass stands for: passes of all sessions of a
  // condition are numbered on. Without sessions the number itself.
  uint64_t pass_of(uint64_t repeat);
  void at_end() override;
  int condition_ = -1;
  Stored stored_ = kUnknown;

 private:
  // Consecutive lines mostly agree in these fields: their text is compared before it is parsed.
  std::string last_[kStoredColumn + 1];
  std::map<std::string, uint32_t, std::less<>> sessions_;  // numbers by label
  uint32_t session_ = 0;
  std::map<std::tuple<int, uint32_t, uint64_t>, uint32_t> passes_;  // of condition and session
  std::map<int, uint32_t> next_pass_;                               // by condition
};

}  // namespace eden::measurements
