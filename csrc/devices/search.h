// Searches of functions that cost much: a maximum between two ends, a maximum of several variables,
// and where a profile has fallen to a level.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "base/numerics.h"

namespace eden {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
// The log-likelihood of what cannot be.
inline constexpr double kImpossible = -1e300;

// Golden-section search.
template <class Function>
Maximum golden_section(const Function& function, double low, double high, int iterations) {
  constexpr double kRatio = 0.6180339887498949;
  double left = high - kRatio * (high - low), right = low + kRatio * (high - low);
  double at_left = function(left), at_right = function(right);
  for (int i = 0; i < iterations; ++i) {
    if (at_left >= at_right) {
      high = right, right = left, at_right = at_left;
      left = high - kRatio * (high - low), at_left = function(left);
    } else {
      low = left, left = right, at_left = at_right;
      right = low + kRatio * (high - low), at_right = function(right);
    }
  }
  return at_left >= at_right ? Maximum{left, at_left} : Maximum{right, at_right};
}

struct Point {
  std::vector<double> x;
  double value;
};

// Downhill simplex (Nelder and Mead, Computer Journal 7, 1965) with the coefficients of its
// authors.
Point climb(const std::function<double(const std::vector<double>&)>& function,
            const std::vector<double>& start, const std::vector<double>& steps, double tolerance,
            int evaluations = 400);

// Where a function that is positive inside crosses zero in the direction of `step`; infinity of the
// step's sign where it does not before the limit. Unlike numerics.h's crossing it never asks for
// the value inside, so that a search that follows a ridge starts from its last solution.
template <class Function>
double open_crossing(const Function& function, double inside, double step, double limit,
                     double tolerance) {
  double near = inside, far = inside + step;
  for (;;) {
    if (step > 0 ? far >= limit : far <= limit) {
      if (function(limit) > 0.0) return std::copysign(kInfinity, step);
      far = limit;
      break;
    }
    if (function(far) <= 0.0) break;
    near = far;
    step *= 1.7;
    far += step;
  }
  return false_position(function, {near, function(near), far, function(far)}, 25, tolerance, 0.0,
                        0.05);
}

}  // namespace eden
