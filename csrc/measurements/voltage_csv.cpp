// The CSV of the DRAM voltage study: a module's share of cache lines with at least one error.
#include "base/refusal.h"
#include "measurements/csv_parser.h"

namespace eden::measurements {
namespace {

constexpr size_t kMostLines = size_t{1} << 20;

class VoltageCsv : public CsvParser {
 public:
  VoltageCsv(const Settings& settings, Output& output)
      : CsvParser({{"dimm_name", true},
                   {"vdd", true},
                   {"vendor", true},
                   {"error_cacheline_percent", true}},
                  settings, output) {}

 private:
  enum { kModule, kVdd, kVendor, kPercent };

  bool row(uint64_t line) override {
    if (field(kModule).empty()) {
      damaged(line, kModule, "the label of a module");
      return false;
    }
    const Range& range = kConditionRanges[eden::measurements::kVdd];
    const auto vdd = real(line, kVdd, range.low, range.high);
    if (!vdd) return false;
    const auto percent = real(line, kPercent, 0.0, 100.0);
    if (!percent) return false;
    // Without a choice, all modules are kept: a voltage curve is one of a vendor.
    output_.of_module(std::string(field(kModule)), settings_);
    if (settings_.module && field(kModule) != *settings_.module) return true;
    output_.add_vendor(field(kVendor));
    if (output_.cache_lines.size() == kMostLines) {
      refuse<FormatError>(place_text("line", line), ": found more than ", kMostLines,
                          " lines; allowed are fewer in one file");
    }
    output_.cache_lines.push_back(
        {line, std::string(field(kModule)), printable(field(kVendor)), *vdd, *percent});
    return true;
  }
};

bool is_voltage_csv(std::string_view head) {
  return has_columns(head, {"dimm_name", "vdd", "error_cacheline_percent"});
}

}  // namespace

const Format kVoltageFormat{"voltage",      "lines",          {},
                            is_voltage_csv, make<VoltageCsv>, Content::kCacheLines};

}  // namespace eden::measurements
