// Maxima of smooth log-likelihoods of a few parameters in a box, and the intervals that their
// profiles give.
#pragma once

#include <functional>
#include <vector>

namespace eden {

using LogLikelihood = std::function<double(const std::vector<double>&)>;

// Where the parameters may lie. A parameter whose ends are equal is fixed.
struct Box {
  std::vector<double> low;
  std::vector<double> high;
};

struct BoxMaximum {
  std::vector<double> place;
  double value;
  // Inverse of the observed information, row by row; 0 in the rows of parameters that are fixed or
  // lie at an end of the box.
  std::vector<double> covariance;
  bool at_low(const Box& box, size_t i) const { return place[i] <= box.low[i]; }
  bool at_high(const Box& box, size_t i) const { return place[i] >= box.high[i]; }
};

// Newton's method with differences for derivatives, damped as Levenberg and Marquardt do, projected
// on the box. `scale` holds the order of magnitude of each parameter's standard error.
BoxMaximum maximize_in_box(const LogLikelihood& function, const Box& box, std::vector<double> start,
                           std::vector<double> scale);

struct Ends {
  double low;
  double high;
};

// The values of parameter i whose profile log-likelihood lies within likelihood_ratio / 2 of the
// maximum; an end of the box where the profile does not fall that far. Where a better maximum is
// met on the way, `maximum` becomes it.
Ends profile_interval(const LogLikelihood& function, const Box& box, BoxMaximum& maximum, size_t i,
                      double likelihood_ratio);

}  // namespace eden
