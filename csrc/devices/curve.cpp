#include "devices/curve.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/refusal.h"
#include "devices/readings.h"
#include "devices/search.h"

namespace eden {
namespace {

// Logarithms of G and of its complement.
double log_link(CurveLink link, double z) {
  if (link == CurveLink::kLogit)
    return z > 0 ? -std::log1p(std::exp(-z)) : z - std::log1p(std::exp(z));
  if (z > -30.0) return std::log(0.5 * std::erfc(-z / std::numbers::sqrt2));
  // Mills' ratio in the far tail.
  const double square = z * z;
  return -0.5 * square - std::log(-z) - 0.5 * std::log(2 * std::numbers::pi) +
         std::log1p(-1.0 / square + 3.0 / (square * square));
}

// The z at which the logarithm of G is `log_value` and that of its complement `log_rest`.
double inverse_link(CurveLink link, double log_value, double log_rest) {
  if (link == CurveLink::kLogit) return log_value - log_rest;
  if (log_value > log_rest) return -inverse_link(link, log_rest, log_value);
  // log G is concave, so Newton's method climbs to the root from below without overshooting.
  double z = -0.5 - std::sqrt(2.0 * -log_value);
  for (int i = 0; i < 30; ++i) {
    const double log_g = log_link(link, z);
    const double slope = std::exp(-0.5 * z * z - 0.5 * std::log(2 * std::numbers::pi) - log_g);
    const double step = (log_value - log_g) / slope;
    z += step;
    if (std::abs(step) < 1e-12 * (1.0 + std::abs(z))) break;
  }
  return z;
}

double log_add(double a, double b) {
  const double high = std::max(a, b);
  if (high == -kInfinity) return high;
  return high + std::log(std::exp(a - high) + std::exp(b - high));
}

}  // namespace

CurveCoordinates CurveCoordinates::of(const CurveParameters& p) {
  return {p.location, std::log(p.scale),
          p.asymptote >= 1.0 ? kWholeAsymptote : std::min(logit(p.asymptote), kWholeAsymptote)};
}

CurveParameters CurveCoordinates::parameters() const {
  return {location, std::exp(log_scale),
          asymptote >= kWholeAsymptote ? 1.0 : inverse_logit(asymptote)};
}

double CurveCoordinates::log_odds(CurveLink link, double at) const {
  const double z = (location - at) / std::exp(log_scale);
  const double share = log_link(CurveLink::kLogit, asymptote);
  const double rest = log_link(CurveLink::kLogit, -asymptote);
  const double fails = share + log_link(link, z);
  const double holds = log_add(rest, share + log_link(link, -z));
  return std::clamp(fails - holds, kLowestLogOdds, kHighestLogOdds);
}

double curve_argument(CurveLink link, double log_odds, double asymptote) {
  if (log_odds >= asymptote) return kInfinity;
  const double log_share = log_link(CurveLink::kLogit, asymptote);
  const double value = log_link(CurveLink::kLogit, log_odds) - log_share;
  // 1 - p / A = (1 - odds ratio terms) kept free of cancellation: (A - p) / A.
  const double p = log_odds, a = asymptote;
  const double difference = std::log(-std::expm1(p - a)) - std::log1p(std::exp(p)) -
                            (a > 0 ? std::log1p(std::exp(-a)) : std::log1p(std::exp(a)) - a);
  return inverse_link(link, value, difference - log_share);
}

double curve_log_odds(CurveLink link, const CurveParameters& parameters, double at) {
  if (!(parameters.scale > 0.0 && parameters.asymptote > 0.0 && parameters.asymptote <= 1.0 &&
        std::isfinite(parameters.location))) {
    refuse("a curve has the scale ", parameters.scale, " and the asymptote ", parameters.asymptote,
           "; allowed is above 0, and above 0 to 1");
  }
  return CurveCoordinates::of(parameters).log_odds(link, at);
}

}  // namespace eden
