// Modules of a vendor: the distribution of their rates, and the random numbers that draw new ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "devices/condition_likelihood.h"

namespace eden {

// A normal distribution of a condition's log-odds over modules.
struct PopulationFit {
  double mean;
  double deviation;
  double log_likelihood;
};

// Maximum likelihood over modules of the mean and the standard deviation of their log-odds, each
// module told by its likelihood, so that one without errors counts as what it is: below a bound.
// Throws std::invalid_argument for less than two modules or without one that has errors.
PopulationFit fit_population(const std::vector<ConditionLikelihood>& modules);

// Standard normal numbers of a seed and a stream: number i is a function of (seed, stream, i)
// alone.
std::vector<double> seeded_normals(uint64_t seed, uint32_t stream, size_t count);

}  // namespace eden
