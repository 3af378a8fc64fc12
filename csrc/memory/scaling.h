// The rates of an error model brought to another mean bit error rate, with what sets its cells
// apart kept: the asymmetry of stored values, the differences of lines.
#pragma once

#include <cstddef>
#include <vector>

namespace eden {

// Bit error rates of cells that store 0 and of those that store 1.
struct StoredRates {
  double zero = 0.0;
  double one = 0.0;
};

// Both rates times one number, so that their mean is `ber`; equal where both are 0. One that would
// pass `failure` stays there and the other takes up the rest. Throws std::invalid_argument unless
// 0 <= ber <= failure.
StoredRates scale_stored_rates(const StoredRates& rates, double failure, double ber);

// min(c rates, failure) of measured lines, with the number c that makes their mean `ber`. Throws
// std::invalid_argument unless 0 <= ber <= highest_line_ber(...).
std::vector<double> scale_line_rates(const double* rates, size_t count, double failure, double ber);

// The highest mean that lines reach: those that were measured without errors stay so.
double highest_line_ber(const double* rates, size_t count, double failure);

}  // namespace eden
