// eden._core: what of the core the torch dispatcher cannot carry. No torch types cross this
// boundary.
#include "python/bind.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "EDEN's C++ core: regions, chips, traffic, search and fits.";
  eden::bind_curves(m);
  eden::bind_fit(m);
  eden::bind_fit_models(m);
  eden::bind_measurements(m);
  eden::bind_region(m);
  eden::bind_search(m);
  eden::bind_simd(m);
  eden::bind_traffic(m);
}
