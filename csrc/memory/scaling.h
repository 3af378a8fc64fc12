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

// Rates of measured lines, sorted once for however many means they are brought to.
class LineRates {
 public:
  LineRates(std::vector<double> rates, double failure);

  const std::vector<double>& measured() const { return rates_; }

  // The highest mean that they reach: lines that were measured without errors stay so.
  double highest_ber() const;

  // min(c rates, failure), with the number c that makes their mean `ber`. Throws
  // std::invalid_argument unless 0 <= ber <= highest_ber().
  std::vector<double> at(double ber) const;

 private:
  double failure_;
  std::vector<double> rates_, descending_;
  std::vector<double> remaining_;  // sums of those in descending order from each one on
};

}  // namespace eden
