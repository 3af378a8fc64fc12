#include "tolerance/response.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace eden {
namespace {

constexpr int kSteps = 40;
constexpr double kLeastSlope = 0.25;

}  // namespace

double ResponseFit::mean(double octaves) const {
  return std::exp(std::min(50.0, log_level + slope * std::numbers::ln2 * (octaves - origin)));
}

double ResponseFit::octaves_at(double mean) const {
  return origin + (std::log(mean) - log_level) / (slope * std::numbers::ln2);
}

double ResponseFit::deviation_at(double mean) const {
  // The delta method on octaves_at.
  const double by_level = -1.0 / (slope * std::numbers::ln2);
  const double by_slope = -(octaves_at(mean) - origin) / slope;
  return std::sqrt(std::max(0.0, by_level * by_level * variance_level +
                                     by_slope * by_slope * variance_slope +
                                     2.0 * by_level * by_slope * covariance));
}

double variance_near(const std::vector<ResponsePoint>& points, double octaves, double width) {
  double sum = 0.0, weight = 0.0;
  for (const ResponsePoint& point : points) {
    const double distance = (point.octaves - octaves) / width;
    // The tail keeps the variance of the nearest points where none is near.
    const double near = static_cast<double>(point.count) *
                        (std::exp(-0.5 * distance * distance) + 1e-3 / (1.0 + distance * distance));
    sum += near * point.variance;
    weight += near;
  }
  return weight > 0.0 ? sum / weight : 0.0;
}

ResponseFit fit_response(const std::vector<ResponsePoint>& points, double origin, double width,
                         const ResponsePrior& prior) {
  struct Normal {
    double level_level, level_slope, slope_slope, level_residual, slope_residual, loss;
  };
  const double prior_level = std::log(prior.level);
  const double level_weight = 1.0 / (prior.level_deviation * prior.level_deviation);
  const double slope_weight = 1.0 / (prior.slope_deviation * prior.slope_deviation);
  std::vector<double> variances;
  for (const ResponsePoint& point : points) {
    variances.push_back(variance_near(points, point.octaves, 0.5 * width));
  }
  const auto equations = [&](double level, double slope) {
    const double level_off = prior_level - level, slope_off = prior.slope - slope;
    Normal n{level_weight,
             0.0,
             slope_weight,
             level_weight * level_off,
             slope_weight * slope_off,
             level_weight * level_off * level_off + slope_weight * slope_off * slope_off};
    for (size_t i = 0; i < points.size(); ++i) {
      const ResponsePoint& point = points[i];
      if (point.count == 0) continue;
      const double distance = point.octaves - origin;
      const double near = std::exp(-0.5 * distance * distance / (width * width));
      const double weight = near * static_cast<double>(point.count) / variances[i];
      const double value = std::exp(std::min(50.0, level + slope * std::numbers::ln2 * distance));
      const double by_slope = value * std::numbers::ln2 * distance;
      const double residual = point.mean - value;
      n.level_level += weight * value * value;
      n.level_slope += weight * value * by_slope;
      n.slope_slope += weight * by_slope * by_slope;
      n.level_residual += weight * value * residual;
      n.slope_residual += weight * by_slope * residual;
      n.loss += weight * residual * residual;
    }
    return n;
  };
  ResponseFit fit;
  fit.origin = origin;
  double level = prior_level, slope = prior.slope, damping = 1e-3;
  Normal now = equations(level, slope);
  for (int step = 0; step < kSteps && damping < 1e9; ++step) {
    const double a = now.level_level * (1.0 + damping), d = now.slope_slope * (1.0 + damping);
    const double determinant = a * d - now.level_slope * now.level_slope;
    const double move_level = std::clamp(
        (d * now.level_residual - now.level_slope * now.slope_residual) / determinant, -2.0, 2.0);
    const double move_slope =
        (a * now.slope_residual - now.level_slope * now.level_residual) / determinant;
    const double next_slope = std::max(kLeastSlope, slope + move_slope);
    const Normal next = equations(level + move_level, next_slope);
    if (next.loss <= now.loss) {
      const bool settled = std::abs(move_level) < 1e-6 && std::abs(next_slope - slope) < 1e-6;
      level += move_level, slope = next_slope, now = next;
      damping = std::max(1e-6, 0.2 * damping);
      if (settled) break;
    } else {
      damping *= 8.0;
    }
  }
  const double determinant = now.level_level * now.slope_slope - now.level_slope * now.level_slope;
  fit.log_level = level;
  fit.slope = slope;
  fit.variance_level = now.slope_slope / determinant;
  fit.variance_slope = now.level_level / determinant;
  fit.covariance = -now.level_slope / determinant;
  return fit;
}

}  // namespace eden
