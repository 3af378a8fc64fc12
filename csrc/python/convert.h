// What several bindings convert in the same way.
#pragma once

#include <pybind11/numpy.h>

#include <utility>
#include <vector>

#include "devices/fit.h"

namespace eden {

template <class T>
using Array = pybind11::array_t<T, pybind11::array::c_style>;

template <class T>
pybind11::array_t<T> array_of(const std::vector<T>& values) {
  return pybind11::array_t<T>(static_cast<pybind11::ssize_t>(values.size()), values.data());
}

// Pairs of errors and cells.
using Pairs = std::vector<std::pair<double, double>>;

inline std::vector<Count> counts_of(const Pairs& pairs) {
  std::vector<Count> counts;
  for (const auto& [errors, cells] : pairs) counts.push_back({errors, cells});
  return counts;
}

}  // namespace eden
