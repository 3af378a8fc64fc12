// JSON as Python's json module writes it, so that files and checksums are the same whichever driver
// wrote them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace eden::profiler {

// Keeps the order of keys.
using Json = nlohmann::ordered_json;

// The shortest decimal number that reads back as the same double, in Python's form.
std::string number_text(double value);

// json.dumps(value) where indent is 0, else json.dumps(value, indent=indent).
std::string json_text(const Json& value, int indent = 0);

}  // namespace eden::profiler
