// The log-likelihood of the log-odds of one condition, tabulated.
//
// Readings are beta-binomial about the rate of their condition, with the variance phi of the
// logarithm of the odds between readings (fit.h), which is given or profiled out. A condition
// without errors tells by its likelihood like any other.
#pragma once

#include <optional>
#include <vector>

#include "devices/readings.h"

namespace eden {

// The log-likelihood of the log-odds of one condition, relative to its maximum.
class ConditionLikelihood {
 public:
  // With `dispersion` absent it is profiled out, which takes two readings and a count other than
  // none and all. `weight` multiplies the result: it makes the quantiles of few readings those of
  // Student's t, or discounts readings that depend on each other. Throws std::invalid_argument for
  // no readings, for counts that are none and for a dispersion that the readings do not tell.
  ConditionLikelihood(const std::vector<Count>& readings, std::optional<double> dispersion,
                      double weight);

  double operator()(double log_odds) const;
  double best() const {
    return best_;
  }  // log-odds; -infinity without errors, infinity without any but
  double scale() const { return scale_; }
  double dispersion() const { return dispersion_; }
  double log_likelihood() const { return log_likelihood_; }  // unweighted, at the maximum
  bool informative() const { return informative_; }  // whether some but not all cells failed
  // Where the function has fallen by `drop` on either side; the ends may be infinite.
  double lower(double drop) const;
  double upper(double drop) const;
  // Logarithm of the integral of its exponential over a normal distribution of the log-odds.
  double log_marginal(double mean, double deviation) const;

 private:
  double node(int i) const;

  double center_, scale_, best_, dispersion_, log_likelihood_;
  bool informative_;
  int half_;
  std::vector<double> values_, slopes_;  // at center + scale sinh(i step), i from -half to half
};

}  // namespace eden
