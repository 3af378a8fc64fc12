// One function per part of the core, each defined in the file of its name.
#pragma once

#include <pybind11/pybind11.h>

namespace eden {

void bind_curves(pybind11::module_& m);
void bind_fit(pybind11::module_& m);
void bind_measurements(pybind11::module_& m);
void bind_placement(pybind11::module_& m);
void bind_region(pybind11::module_& m);
void bind_search(pybind11::module_& m);
void bind_simd(pybind11::module_& m);
void bind_traffic(pybind11::module_& m);

}  // namespace eden
