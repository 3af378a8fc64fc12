#include "measurements/parser.h"

#include <stdexcept>

namespace eden::measurements {
namespace {

constexpr size_t kMostModules = 4096;
constexpr size_t kLongestLabel = 256;

const Format& format_of(std::string_view name) {
  for (const Format& format : formats()) {
    if (name == format.name) return format;
  }
  throw std::invalid_argument("format is '" + std::string(name) + "'; allowed is a known one");
}

}  // namespace

bool Output::of_module(const std::string& label, const Settings& settings) {
  if (label.size() > kLongestLabel) {
    throw FormatError("found a label of " + std::to_string(label.size()) +
                      " bytes; allowed are up to " + std::to_string(kLongestLabel));
  }
  ++modules[label];
  if (modules.size() > kMostModules) {
    throw FormatError("found more than " + std::to_string(kMostModules) +
                      " modules; allowed are fewer in one file");
  }
  // Without a choice, a second module makes the whole an error, so its records need no room.
  return settings.module ? label == *settings.module : modules.size() == 1;
}

uint64_t* Output::add_vendor(std::string_view label) {
  uint64_t& records = vendors[printable(label)];
  ++records;
  if (vendors.size() > kMostModules) {
    throw FormatError("found more than " + std::to_string(kMostModules) +
                      " vendors; allowed are fewer in one file");
  }
  return &records;
}

const std::vector<Format>& formats() {
  static const std::vector<Format> all = {
      {"counts", is_counts_csv, make_counts_csv},
      {"dram-bender-hbm", is_hbm_csv, make_hbm_csv},
      {"dram-bender-retention", is_retention_text, make_retention},
      {"flips", is_flips_csv, make_flips_csv},
      {"rowhammer-tester", is_rowhammer_tester, make_rowhammer_tester},
      {"rowscout", is_rowscout, make_rowscout},
      {"softmc", is_softmc, make_softmc},
      {"voltage", is_voltage_csv, make_voltage_csv},
  };
  return all;
}

std::vector<std::string> recognize(std::string_view head) {
  std::vector<std::string> names;
  for (const Format& format : formats()) {
    if (format.recognize(head)) names.emplace_back(format.name);
  }
  return names;
}

Reader::Reader(std::string_view format, Settings settings)
    : settings_(std::move(settings)), output_(std::make_unique<Output>(settings_.tested)) {
  parser_ = format_of(format).make(settings_, *output_);
}

void Reader::finish() {
  parser_->finish();
  if (settings_.repeats > 0) output_->statistics.set_repeats(settings_.repeats);
  output_->statistics.finish();
}

}  // namespace eden::measurements
