#include "devices/profile_likelihood.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace eden {
namespace {

constexpr int kIterations = 80;
// Gains of the log-likelihood below this end the search: intervals end at a fall of about 2.
constexpr double kGain = 1e-8;
// Steps of the differences, in standard errors and absolutely.
constexpr double kDifference = 0.05;
constexpr double kLeastDifference = 1e-6, kMostDifference = 0.02;
constexpr double kLongestStep = 3.0;

// The lower triangle of a symmetric matrix's Cholesky factor; false if it is not positive definite.
bool cholesky(std::vector<double>& a, size_t n) {
  for (size_t j = 0; j < n; ++j) {
    for (size_t i = j; i < n; ++i) {
      double sum = a[i * n + j];
      for (size_t k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      if (i == j) {
        if (!(sum > 0.0)) return false;
        a[j * n + j] = std::sqrt(sum);
      } else {
        a[i * n + j] = sum / a[j * n + j];
      }
    }
  }
  return true;
}

std::vector<double> solve(const std::vector<double>& factor, size_t n, std::vector<double> b) {
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < i; ++k) b[i] -= factor[i * n + k] * b[k];
    b[i] /= factor[i * n + i];
  }
  for (size_t i = n; i-- > 0;) {
    for (size_t k = i + 1; k < n; ++k) b[i] -= factor[k * n + i] * b[k];
    b[i] /= factor[i * n + i];
  }
  return b;
}

struct Derivatives {
  std::vector<double> gradient;
  std::vector<double> information;  // minus the second derivatives
};

Derivatives differences(const LogLikelihood& function, const Box& box, const std::vector<double>& x,
                        double value, const std::vector<double>& scale) {
  const size_t n = x.size();
  Derivatives result{std::vector<double>(n), std::vector<double>(n * n)};
  std::vector<double> step(n), ahead(n);
  for (size_t i = 0; i < n; ++i) {
    if (box.low[i] == box.high[i]) continue;
    step[i] = std::clamp(kDifference * scale[i], kLeastDifference, kMostDifference);
    // At an end of the box all points lie inside it: two and one steps from the end.
    std::vector<double> point = x;
    double here = value;
    if (x[i] + step[i] > box.high[i] || x[i] - step[i] < box.low[i]) {
      const double inward = x[i] + step[i] > box.high[i] ? -step[i] : step[i];
      point[i] = x[i] + inward;
      const double one = function(point);
      point[i] = x[i] + 2 * inward;
      const double two = function(point);
      result.gradient[i] = (4 * one - 3 * here - two) / (2 * inward);
      result.information[i * n + i] = -(here - 2 * one + two) / (inward * inward);
      step[i] = inward;
      ahead[i] = one;
      continue;
    }
    point[i] = x[i] + step[i];
    ahead[i] = function(point);
    point[i] = x[i] - step[i];
    const double behind = function(point);
    result.gradient[i] = (ahead[i] - behind) / (2 * step[i]);
    result.information[i * n + i] = -(ahead[i] - 2 * here + behind) / (step[i] * step[i]);
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (step[i] == 0.0 || step[j] == 0.0) continue;
      std::vector<double> point = x;
      point[i] += step[i];
      point[j] += step[j];
      const double both = function(point);
      // What the two steps give together beyond what they give apart.
      const double mixed = (both - ahead[i] - ahead[j] + value) / (step[i] * step[j]);
      result.information[i * n + j] = result.information[j * n + i] = -mixed;
    }
  }
  return result;
}

}  // namespace

BoxMaximum maximize_in_box(const LogLikelihood& function, const Box& box, std::vector<double> start,
                           std::vector<double> scale) {
  const size_t n = start.size();
  std::vector<double> x = std::move(start);
  for (size_t i = 0; i < n; ++i) x[i] = std::clamp(x[i], box.low[i], box.high[i]);
  double value = function(x);
  double damping = 0.0;
  Derivatives at;
  std::vector<size_t> free;
  const auto derive = [&] {
    at = differences(function, box, x, value, scale);
    free.clear();
    for (size_t i = 0; i < n; ++i) {
      if (box.low[i] == box.high[i]) continue;
      if (x[i] <= box.low[i] && at.gradient[i] <= 0.0) continue;
      if (x[i] >= box.high[i] && at.gradient[i] >= 0.0) continue;
      free.push_back(i);
    }
    for (const size_t i : free) {
      const double information = at.information[i * n + i];
      if (information > 0.0) scale[i] = std::clamp(1.0 / std::sqrt(information), 1e-7, 2.0);
    }
  };
  const auto sub_matrix = [&](double extra) {
    const size_t m = free.size();
    std::vector<double> matrix(m * m);
    for (size_t i = 0; i < m; ++i) {
      for (size_t j = 0; j < m; ++j) matrix[i * m + j] = at.information[free[i] * n + free[j]];
      const double diagonal = std::abs(matrix[i * m + i]);
      matrix[i * m + i] += extra * std::max(diagonal, 1e-6);
    }
    return matrix;
  };
  for (int iteration = 0; iteration < kIterations; ++iteration) {
    derive();
    const size_t m = free.size();
    if (m == 0) break;
    bool moved = false, settled = false;
    for (int attempt = 0; attempt < 40 && !moved && !settled; ++attempt) {
      std::vector<double> factor = sub_matrix(damping);
      if (!cholesky(factor, m)) {
        damping = std::max(4 * damping, 1e-3);
        continue;
      }
      std::vector<double> slope(m);
      for (size_t i = 0; i < m; ++i) slope[i] = at.gradient[free[i]];
      const std::vector<double> step = solve(factor, m, slope);
      double gain = 0.0, longest = 0.0;
      for (size_t i = 0; i < m; ++i) {
        gain += 0.5 * slope[i] * step[i];
        longest = std::max(longest, std::abs(step[i]));
      }
      const double shrink = longest > kLongestStep ? kLongestStep / longest : 1.0;
      std::vector<double> next = x;
      for (size_t i = 0; i < m; ++i) {
        const size_t k = free[i];
        next[k] = std::clamp(x[k] + shrink * step[i], box.low[k], box.high[k]);
      }
      const double next_value = function(next);
      if (next_value > value) {
        settled = gain < kGain && next_value - value < kGain;
        x = next;
        value = next_value;
        damping = damping < 1e-6 ? 0.0 : 0.2 * damping;
        moved = true;
      } else {
        settled = gain < kGain;
        damping = std::max(5 * damping, 1e-3);
      }
      if (settled) break;
    }
    if (settled || !moved) break;
  }
  derive();
  BoxMaximum result{x, value, std::vector<double>(n * n)};
  const size_t m = free.size();
  std::vector<double> factor = sub_matrix(0.0);
  if (m > 0 && cholesky(factor, m)) {
    for (size_t j = 0; j < m; ++j) {
      std::vector<double> unit(m);
      unit[j] = 1.0;
      const std::vector<double> column = solve(factor, m, unit);
      for (size_t i = 0; i < m; ++i) result.covariance[free[i] * n + free[j]] = column[i];
    }
  }
  return result;
}

Ends profile_interval(const LogLikelihood& function, const Box& box, BoxMaximum& maximum, size_t i,
                      double likelihood_ratio) {
  const size_t n = maximum.place.size();
  const double target = std::sqrt(likelihood_ratio);
  Ends ends{box.low[i], box.high[i]};
  for (const bool upward : {false, true}) {
    const double sign = upward ? 1.0 : -1.0;
    const double limit = upward ? box.high[i] : box.low[i];
    const double center = maximum.place[i];
    if (center == limit) continue;
    const double variance = maximum.covariance[i * n + i];
    const double deviation = variance > 0.0 ? std::sqrt(variance) : 1.0;
    std::vector<double> scale(n);
    for (size_t j = 0; j < n; ++j) {
      const double own = maximum.covariance[j * n + j];
      scale[j] = own > 0.0 ? std::sqrt(own) : 1.0;
    }
    std::vector<double> others = maximum.place;
    double last = center;
    // The root of twice the fall of the profile: nearly a straight line.
    const auto root = [&](double place) {
      Box inner = box;
      std::vector<double> start = others;
      inner.low[i] = inner.high[i] = start[i] = place;
      for (size_t j = 0; j < n; ++j) {
        if (j != i && variance > 0.0 && last == center) {
          start[j] += maximum.covariance[j * n + i] / variance * (place - center);
        }
      }
      const BoxMaximum at = maximize_in_box(function, inner, start, scale);
      others = at.place;
      last = place;
      if (at.value > maximum.value + 1e-6) {
        maximum.value = at.value;
        maximum.place = at.place;
      }
      return std::sqrt(std::max(0.0, 2 * (maximum.value - at.value)));
    };
    double near = center, near_root = 0.0;
    double far = center + sign * std::min(target * deviation, 5.0);
    double far_root = 0.0;
    bool open = false;
    while (true) {
      if (sign * (far - limit) >= 0.0) far = limit;
      far_root = root(far);
      if (far_root >= target) break;
      if (far == limit) {
        open = true;
        break;
      }
      // Where the straight line through the last two points meets the target, and a little more.
      const double slope = (far_root - near_root) / (far - near);
      double step = slope * sign > 0.0 ? 1.05 * (target - far_root) / std::abs(slope) : deviation;
      step = std::clamp(step, 0.02 * std::abs(far - center), 2.0 * std::abs(far - center) + 0.5);
      near = far;
      near_root = far_root;
      far += sign * step;
    }
    if (open) continue;
    for (int iteration = 0; iteration < 60; ++iteration) {
      if (far_root - target < 1e-4 || std::abs(far - near) < 1e-9) break;
      double place = near + (far - near) * (target - near_root) / (far_root - near_root);
      // Not closer to an end than a hundredth: the line is only nearly straight.
      const double margin = 0.01 * (far - near);
      place = upward ? std::clamp(place, near + margin, far - margin)
                     : std::clamp(place, far - margin, near + margin);
      const double value = root(place);
      if (std::abs(value - target) < 1e-4) {
        far = place;
        break;
      }
      if (value > target) {
        far = place;
        far_root = value;
      } else {
        near = place;
        near_root = value;
      }
    }
    (upward ? ends.high : ends.low) = far;
  }
  return ends;
}

}  // namespace eden
