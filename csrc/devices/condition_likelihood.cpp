#include "devices/condition_likelihood.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/refusal.h"
#include "devices/search.h"

namespace eden {
namespace {

constexpr double kSpan = 80.0;  // what a table spans on either side of its centre
constexpr double kStep = 0.22;  // of its nodes, in units of scale sinh
// Below this a log-likelihood only has to stay finite.
constexpr double kRuledOut = -1e12;

}  // namespace

ConditionLikelihood::ConditionLikelihood(const std::vector<Count>& readings,
                                         std::optional<double> dispersion, double weight) {
  const Readings counts(readings, dispersion);
  if (!(weight > 0.0 && weight <= 1.0)) {
    refuse("weight is ", weight, "; allowed is above 0, up to 1");
  }
  informative_ = !counts.none() && !counts.all();
  const auto at = [&](double log_odds) {
    return dispersion ? counts.log_likelihood(log_odds, *dispersion)
                      : counts.best_dispersion(log_odds).value;
  };
  if (!informative_) {
    dispersion_ = *dispersion;
    log_likelihood_ = 0.0;
    center_ = (counts.none() ? -1.0 : 1.0) * std::log(counts.cells());
    best_ = counts.none() ? -kInfinity : kInfinity;
    scale_ = 1.0;
  } else {
    const double rate = (counts.errors() + 0.5) / (counts.cells() + 1.0);
    const double information = counts.cells() * rate * (1.0 - rate);
    const double margin = std::min(3.0, 10.0 / std::sqrt(information)) + 1e-3;
    const double lowest = counts.least() - margin;
    const double width = counts.most() + margin - lowest;
    // The maximum is found on a grid, for the profile over the dispersion can have several.
    constexpr int kGrid = 16;
    Maximum found{lowest, -kInfinity};
    for (int i = 0; i <= kGrid; ++i) {
      const double x = lowest + width * i / kGrid, value = at(x);
      if (value > found.value) found = {x, value};
    }
    const Maximum finer =
        golden_section(at, found.place - width / kGrid, found.place + width / kGrid, 36);
    if (finer.value > found.value) found = finer;
    center_ = best_ = found.place;
    log_likelihood_ = found.value;
    dispersion_ = dispersion ? *dispersion : std::exp(counts.best_dispersion(best_).place);
    scale_ = std::sqrt(1.0 / information + dispersion_ / counts.size());
  }
  half_ = static_cast<int>(std::ceil(std::asinh(kSpan / scale_) / kStep));
  values_.resize(static_cast<size_t>(2 * half_ + 1));
  for (const int direction : {-1, 1}) {
    double near = dispersion ? 0.0 : std::log(dispersion_);
    for (int i = direction < 0 ? 0 : 1; i <= half_; ++i) {
      double value;
      if (dispersion) {
        value = at(node(direction * i));
      } else {
        const Maximum found = counts.best_dispersion(node(direction * i), near);
        value = found.value, near = found.place;
      }
      value = std::isnan(value) ? kRuledOut : std::max(value - log_likelihood_, kRuledOut);
      values_[static_cast<size_t>(direction * i + half_)] =
          weight * (informative_ ? std::min(value, 0.0) : value);
    }
  }
  slopes_.resize(values_.size());
  const auto v = [&](int i) { return values_[static_cast<size_t>(std::clamp(i, 0, 2 * half_))]; };
  for (int i = 0; i <= 2 * half_; ++i) {
    const bool inner = i >= 2 && i <= 2 * half_ - 2;
    const double slope = inner ? (v(i - 2) - 8 * v(i - 1) + 8 * v(i + 1) - v(i + 2)) / 12
                               : (v(i + 1) - v(i - 1)) / (i == 0 || i == 2 * half_ ? 1.0 : 2.0);
    // No overshoot where the differences jump (Fritsch and Carlson, SIAM J. Numer. Anal. 17, 1980).
    const double before = v(i) - v(i - 1), after = v(i + 1) - v(i);
    const double limit = 3.0 * std::min(std::abs(before), std::abs(after));
    slopes_[static_cast<size_t>(i)] =
        before * after <= 0.0 ? 0.0 : std::clamp(slope, -limit, limit);
  }
}

double ConditionLikelihood::node(int i) const { return center_ + scale_ * std::sinh(kStep * i); }

double ConditionLikelihood::operator()(double log_odds) const {
  if (std::isnan(log_odds)) return kRuledOut;
  const double place = std::asinh((log_odds - center_) / scale_) / kStep + half_;
  const double within = std::clamp(place, 0.0, 2.0 * half_);
  const size_t i = std::min(static_cast<size_t>(within), static_cast<size_t>(2 * half_ - 1));
  const double t = within - static_cast<double>(i);
  const double a = values_[i], b = values_[i + 1], da = slopes_[i], db = slopes_[i + 1];
  // Cubic Hermite interpolation; beyond the table its last value, which rules the place out.
  return a + t * (da + t * (3 * (b - a) - 2 * da - db + t * (2 * (a - b) + da + db)));
}

double ConditionLikelihood::lower(double drop) const {
  if (best_ == -kInfinity) return -kInfinity;
  const auto excess = [&](double x) { return (*this)(x) + drop; };
  return open_crossing(excess, best_ == kInfinity ? center_ + kSpan : best_,
                       best_ == kInfinity ? -1.0 : -scale_, center_ - kSpan, 1e-6 * scale_);
}

double ConditionLikelihood::upper(double drop) const {
  if (best_ == kInfinity) return kInfinity;
  const auto excess = [&](double x) { return (*this)(x) + drop; };
  return open_crossing(excess, best_ == -kInfinity ? center_ - kSpan : best_,
                       best_ == -kInfinity ? 1.0 : scale_, center_ + kSpan, 1e-6 * scale_);
}

double ConditionLikelihood::log_marginal(double mean, double deviation) const {
  // The nodes resolve this likelihood, points about the mean the normal distribution.
  std::vector<double> points;
  for (int i = -half_; i <= half_; ++i) points.push_back(node(i));
  for (int i = -48; i <= 48; ++i) points.push_back(mean + deviation * i / 6.0);
  std::sort(points.begin(), points.end());
  const auto density = [&](double x) {
    const double z = (x - mean) / deviation;
    return std::exp((*this)(x)-0.5 * z * z) / (deviation * std::sqrt(2 * std::numbers::pi));
  };
  double sum = 0.0, last = density(points[0]);
  for (size_t i = 1; i < points.size(); ++i) {
    const double value = density(points[i]);
    sum += 0.5 * (value + last) * (points[i] - points[i - 1]);
    last = value;
  }
  return sum > 0.0 ? std::log(sum) : kImpossible;
}

}  // namespace eden
