// eden._core: what of the core the torch dispatcher cannot carry. No torch types cross this
// boundary.
#include <stdexcept>

#include "python/bind.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "EDEN's C++ core: regions, chips, traffic, search and fits.";
  // What the core refuses, told apart from what other code raises as a ValueError.
  pybind11::register_local_exception<std::invalid_argument>(m, "RefusedError", PyExc_ValueError);
  pybind11::register_local_exception<std::domain_error>(m, "NotToldError", PyExc_ValueError);
  eden::bind_curves(m);
  eden::bind_fit(m);
  eden::bind_measurements(m);
  eden::bind_placement(m);
  eden::bind_region(m);
  eden::bind_search(m);
  eden::bind_simd(m);
  eden::bind_traffic(m);
}
