#include "devices/fit_patterns.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "base/numerics.h"
#include "devices/profile_likelihood.h"

namespace eden {
namespace {

constexpr double kLowestOdds = -60.0, kHighestOdds = 36.0;

double sum_of(const std::vector<Count>& counts, double rate, double dispersion) {
  double sum = 0.0;
  for (const Count& count : counts) {
    sum += log_beta_binomial_spread(count, rate, 1.0 - rate, dispersion * rate * (1.0 - rate));
  }
  return sum;
}

}  // namespace

PatternFit fit_pattern(const std::vector<Count>& zeros, const std::vector<Count>& ones,
                       const std::vector<Count>& pattern, double share_of_ones) {
  if (!(share_of_ones >= 0.0 && share_of_ones <= 1.0)) {
    throw std::invalid_argument("share_of_ones is " + std::to_string(share_of_ones) +
                                "; allowed is 0 to 1");
  }
  const IntervalRule rule{3.84, 0.05};
  const RateFit own = fit_rates({zeros, ones, pattern}, rule, std::nullopt);
  const LogLikelihood function = [&](const std::vector<double>& x) {
    const double zero = inverse_logit(x[0]), one = inverse_logit(x[1]), phi = std::exp(x[2]);
    const double mixed = (1.0 - share_of_ones) * zero + share_of_ones * one;
    return sum_of(zeros, zero, phi) + sum_of(ones, one, phi) + sum_of(pattern, mixed, phi);
  };
  const Box box{{kLowestOdds, kLowestOdds, kLowestLogDispersion},
                {kHighestOdds, kHighestOdds, kHighestLogDispersion}};
  const auto odds = [](double rate) { return logit(std::clamp(rate, 1e-20, 1.0 - 1e-12)); };
  const double zero = odds(own.rates[0].estimate), one = odds(own.rates[1].estimate);
  const double other = odds(own.rates[2].estimate);
  const double phi = std::log(std::max(own.dispersion, 1e-11));
  PatternFit fit{own.log_likelihood, -1e300, own.rates[2].estimate, 0.0, own.observations};
  // The pattern can pull either rate to itself, with more dispersion: several hills.
  for (const double more : {0.0, 2.0, 5.0}) {
    for (const std::vector<double>& start :
         {std::vector<double>{zero, one, phi + more}, std::vector<double>{other, one, phi + more},
          std::vector<double>{zero, other, phi + more},
          std::vector<double>{other, other, phi + more}}) {
      const BoxMaximum maximum = maximize_in_box(function, box, start, {0.1, 0.1, 0.3});
      fit.log_likelihood_predicted = std::max(fit.log_likelihood_predicted, maximum.value);
    }
  }
  fit.predicted =
      (1.0 - share_of_ones) * own.rates[0].estimate + share_of_ones * own.rates[1].estimate;
  return fit;
}

}  // namespace eden
