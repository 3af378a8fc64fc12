// JSON in the files and messages of the program.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

namespace eden::profiler {

// Keeps the order of keys.
using Json = nlohmann::ordered_json;

// A value on one line, as an error shows it: what is no UTF-8 is replaced, what is long is cut.
inline std::string shown(const Json& value, size_t most = 80) {
  return value.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace).substr(0, most);
}

}  // namespace eden::profiler
