// Numerics of the fits: parts of log-gammas without their cancellation, maxima and crossings of
// functions of one variable.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace eden {

// ln x! - (x ln x - x + ln(2 pi x) / 2), for x > 0.
inline double stirling_remainder(double x) {
  if (x >= 16.0) {
    const double inverse = 1.0 / x, square = inverse * inverse;
    return inverse *
           (1.0 / 12 - square * (1.0 / 360 - square * (1.0 / 1260 - square * (1.0 / 1680))));
  }
  return std::lgamma(x + 1.0) - (x * std::log(x) - x + 0.5 * std::log(2 * std::numbers::pi * x));
}

// x ln(x / m) + m - x with m = x - difference, without cancellation where m is near x. (Loader,
// "Fast and accurate computation of binomial probabilities", 2000, calls it the deviance part.)
inline double deviance_part(double x, double difference) {
  if (x == 0.0) return -difference;
  const double v = difference / (2 * x - difference);
  double excess;  // atanh(v) - v
  if (std::abs(v) < 0.1) {
    const double square = v * v;
    double power = v * square;
    excess = 0.0;
    for (int k = 3; k < 25; k += 2, power *= square) excess += power / k;
  } else {
    // atanh loses the digits of 1 + v where the mean is far above x.
    excess = 0.5 * std::log(x / (x - difference)) - v;
  }
  return 2 * x * (excess + v * v / (1 + v));
}

struct Maximum {
  double place;
  double value;
};

// Brent's method without derivatives (Brent, Algorithms for Minimization without Derivatives,
// 1973, chapter 5).
template <class Function>
Maximum maximize(const Function& function, double low, double high, double tolerance) {
  constexpr double kGolden = 0.3819660112501051;
  double x = low + kGolden * (high - low), w = x, v = x;
  double fx = -function(x), fw = fx, fv = fx;
  double step = 0.0, before = 0.0;
  for (int iteration = 0; iteration < 120; ++iteration) {
    const double middle = 0.5 * (low + high);
    if (std::abs(x - middle) <= 2 * tolerance - 0.5 * (high - low)) break;
    bool golden = true;
    if (std::abs(before) > tolerance) {
      const double r = (x - w) * (fx - fv);
      double q = (x - v) * (fx - fw);
      double p = (x - v) * q - (x - w) * r;
      q = 2 * (q - r);
      if (q > 0) p = -p;
      q = std::abs(q);
      const double last = before;
      before = step;
      if (std::abs(p) < std::abs(0.5 * q * last) && p > q * (low - x) && p < q * (high - x)) {
        step = p / q;
        golden = false;
      }
    }
    if (golden) {
      before = x < middle ? high - x : low - x;
      step = kGolden * before;
    }
    const double u = x + (std::abs(step) >= tolerance ? step : std::copysign(tolerance, step));
    const double fu = -function(u);
    if (fu <= fx) {
      (u < x ? high : low) = x;
      v = w, fv = fw;
      w = x, fw = fx;
      x = u, fx = fu;
    } else {
      (u < x ? low : high) = u;
      if (fu <= fw || w == x) {
        v = w, fv = fw;
        w = u, fw = fu;
      } else if (fu <= fv || v == x || v == w) {
        v = u, fv = fu;
      }
    }
  }
  return {x, -fx};
}

// The highest of a function's values on a grid of so many intervals: where there are several peaks,
// a search from there finds the highest.
template <class Function>
Maximum highest_on_grid(const Function& function, double low, double high, int intervals) {
  const double step = (high - low) / intervals;
  Maximum best{low, -std::numeric_limits<double>::infinity()};
  for (int i = 0; i <= intervals; ++i) {
    const double x = low + i * step, value = function(x);
    if (value > best.value) best = {x, value};
  }
  return best;
}

// Where a function is positive, and where it is not.
struct Bracket {
  double inside, above;
  double outside, below;
};

// Where a function crosses zero in a bracket: false position with a halved value where one end
// stays (the Illinois variant). A step goes no closer to an end than a share `edge`; the search
// ends at a width or a value that is small enough. NaN where a value on the way is NaN.
template <class Function>
double false_position(const Function& function, Bracket b, int iterations, double width,
                      double value_enough = 0.0, double edge = 0.0) {
  int side = 0;
  for (int i = 0; i < iterations && std::abs(b.outside - b.inside) > width; ++i) {
    const double share = std::clamp(b.above / (b.above - b.below), edge, 1.0 - edge);
    const double place = b.inside + share * (b.outside - b.inside), value = function(place);
    if (std::isnan(value)) return value;
    if (std::abs(value) < value_enough) return place;
    if (value > 0.0) {
      b.inside = place, b.above = value;
      if (side == 1) b.below *= 0.5;
      side = 1;
    } else {
      b.outside = place, b.below = value;
      if (side == -1) b.above *= 0.5;
      side = -1;
    }
  }
  return 0.5 * (b.inside + b.outside);
}

// Where a function that is positive at `inside` and falls away from it crosses zero, in the
// direction of `step`; the limit where it does not, NaN where a value on the way is NaN.
template <class Function>
double crossing(const Function& function, double inside, double step, double limit) {
  double near = inside, far = inside;
  double near_value = function(near), far_value = near_value;
  while (far_value > 0) {
    near = far, near_value = far_value;
    if (far == limit) return limit;
    far = step > 0 ? std::min(far + step, limit) : std::max(far + step, limit);
    step *= 2;
    far_value = function(far);
  }
  if (std::isnan(far_value)) return far_value;
  return false_position(function, {near, near_value, far, far_value}, 100, 1e-8, 1e-9);
}

inline double logit(double p) { return std::log(p) - std::log1p(-p); }
inline double inverse_logit(double x) { return 1.0 / (1.0 + std::exp(-x)); }

}  // namespace eden
