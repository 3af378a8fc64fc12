#include "measurements/parser.h"

#include "base/refusal.h"

namespace eden::measurements {
namespace {

constexpr size_t kMostModules = 4096;
constexpr size_t kLongestLabel = 256;

const Format& format_of(std::string_view name) {
  for (const Format* format : formats()) {
    if (name == format->name) return *format;
  }
  refuse("format is '", name, "'; allowed is a known one");
}

}  // namespace

bool Output::of_module(const std::string& label, const Settings& settings) {
  if (label.size() > kLongestLabel) {
    refuse<FormatError>("found a label of ", label.size(), " bytes; allowed are up to ",
                        kLongestLabel);
  }
  ++modules[label];
  if (modules.size() > kMostModules) {
    refuse<FormatError>("found more than ", kMostModules,
                        " modules; allowed are fewer in one file");
  }
  // Without a choice, a second module makes the whole an error, so its records need no room.
  return settings.module ? label == *settings.module : modules.size() == 1;
}

uint64_t* Output::add_vendor(std::string_view label) {
  uint64_t& records = vendors[printable(label)];
  ++records;
  if (vendors.size() > kMostModules) {
    refuse<FormatError>("found more than ", kMostModules,
                        " vendors; allowed are fewer in one file");
  }
  return &records;
}

const std::vector<const Format*>& formats() {
  static const std::vector<const Format*> all = {
      &kCountsFormat, &kHbmFormat,     &kRetentionFormat,       &kRowCountsFormat,
      &kFlipsFormat,  &kPacramFormat,  &kRowhammerTesterFormat, &kRowScoutFormat,
      &kSoftMcFormat, &kVoltageFormat,
  };
  return all;
}

std::vector<std::string> recognize(std::string_view head) {
  std::vector<std::string> names;
  for (const Format* format : formats()) {
    if (format->recognize(head)) names.emplace_back(format->name);
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
