// Campaigns drawn from the models of fit_models.h, cell by cell: what a fit must give back.
#pragma once

#include <cstdint>
#include <vector>

#include "devices/fit_models.h"

namespace eden {

// One array of rows x columns cells, each read `reads` times.
struct SimulatedArray {
  Along along;
  double weak;        // P, or its mean over lines
  double dispersion;  // rho
  double failure;     // F
  int64_t reads;
  int64_t rows;
  int64_t columns;
};

struct SimulatedCounts {
  std::vector<int64_t> bitlines;   // cells seen to fail in each column
  std::vector<int64_t> wordlines;  // in each row
  std::vector<int64_t> failures;   // cells that failed in 0, 1, ... of their reads
};

// Throws std::invalid_argument naming the argument that is not allowed.
SimulatedCounts simulate_counts(const SimulatedArray& array, uint64_t seed);

}  // namespace eden
