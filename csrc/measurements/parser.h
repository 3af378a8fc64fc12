// Push parsers of measurement files: bytes in pieces of any size go in, counts come out in
// Statistics. A parser's memory does not grow with the file, whatever it holds.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "measurements/log.h"
#include "measurements/statistics.h"

namespace eden::measurements {

// What the user says of a file beside its bytes.
struct Settings {
  std::optional<std::string> module;  // which of several
  Condition at;              // holds where the file does not state it, its pattern included
  Tested tested;             // the cells of each pass
  uint32_t column_bits = 0;  // bits of one column's address; 0: the format's default
  uint32_t repeats = 0;      // passes of each condition; 0: those that are seen
};

// A module's share of cache lines with at least one error.
struct CacheLines {
  uint64_t line;
  std::string module, vendor;
  double vdd;
  double percent;
};

// What all parsers write to.
struct Output {
  explicit Output(Tested tested) : statistics(std::move(tested)) {}

  // Records of modules other than the one that is asked for are counted here only; true for those
  // that are to be counted. Throws FormatError for too many modules.
  bool of_module(const std::string& label, const Settings& settings);
  // Returns the vendor's number of records.
  uint64_t* add_vendor(std::string_view label);

  Log log;
  Statistics statistics;
  std::map<std::string, uint64_t, std::less<>> modules;  // records by label
  std::map<std::string, uint64_t, std::less<>> vendors;  // of the module
  std::vector<CacheLines> cache_lines;
};

class Parser {
 public:
  virtual ~Parser() = default;
  // Throw FormatError where the rest of the file cannot be understood.
  virtual void feed(std::string_view bytes) = 0;
  virtual void finish() = 0;
  // What the places of damages count.
  virtual const char* unit() const { return "line"; }
};

// What a format's files tell.
enum class Content {
  kCells,       // which cells failed, or how many of a row or a bank
  kBanks,       // how many cells of each bank failed: the readings that rates are fitted to
  kCacheLines,  // shares of cache lines, of all modules at once
};

// A format: its file defines one, parser.cpp lists all.
struct Format {
  const char* name;
  const char* records;  // what a record of it is called, in plural
  // Of a Settings' fields (at, pattern, banks, ...) those that it can be told.
  std::vector<const char*> takes;
  // Whether the first bytes of a file are of this format.
  bool (*recognize)(std::string_view head);
  // Throws std::invalid_argument for settings that the format cannot have.
  std::unique_ptr<Parser> (*make)(const Settings& settings, Output& output);
  Content content = Content::kCells;
  bool binary = false;  // any bytes can begin a file, those of a packed one among them
};

template <class Kind>
std::unique_ptr<Parser> make(const Settings& settings, Output& output) {
  return std::make_unique<Kind>(settings, output);
}

extern const Format kCountsFormat, kFlipsFormat, kHbmFormat, kRetentionFormat, kPacramFormat,
    kRowCountsFormat, kRowhammerTesterFormat, kRowScoutFormat, kSoftMcFormat, kVoltageFormat;

// All formats that are parsed here, in alphabetical order.
const std::vector<const Format*>& formats();
// The names of those that the first bytes can be of.
std::vector<std::string> recognize(std::string_view head);

// A parser with what it writes to.
class Reader {
 public:
  // Throws std::invalid_argument for an unknown format or settings that it cannot have.
  Reader(std::string_view format, Settings settings);
  Reader(Reader&&) = delete;

  void feed(std::string_view bytes) { parser_->feed(bytes); }
  void finish();

  const Output& output() const { return *output_; }
  const char* unit() const { return parser_->unit(); }

 private:
  Settings settings_;
  std::unique_ptr<Output> output_;
  std::unique_ptr<Parser> parser_;
};

}  // namespace eden::measurements
