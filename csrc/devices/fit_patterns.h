// Do patterns that store zeros and ones fail as often as their zeros and ones predict?
#pragma once

#include <vector>

#include "devices/fit.h"

namespace eden {

struct PatternFit {
  double log_likelihood_own;        // a rate of the pattern's own
  double log_likelihood_predicted;  // the mean of the zeros' and the ones' rates
  double own;                       // the pattern's rate
  double predicted;                 // what the zeros and ones alone make of it
  int64_t readings;
};

// Fits the readings of stored zeros, of stored ones and of a pattern of which `ones` is the share
// of stored ones, with one dispersion for all as in fit_rates, with and without a rate of the
// pattern's own. Throws std::invalid_argument as fit_rates does, and for a share outside [0, 1].
PatternFit fit_pattern(const std::vector<Count>& zeros, const std::vector<Count>& ones,
                       const std::vector<Count>& pattern, double share_of_ones);

}  // namespace eden
