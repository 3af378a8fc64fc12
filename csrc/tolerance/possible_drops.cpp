#include "tolerance/possible_drops.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>

namespace eden {
namespace {

constexpr double kDrops[] = {0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8};
constexpr double kWorst = 0.01;  // part of the observations
constexpr double kSeen = 0.9;    // probability that a batch shows what its chip loses
constexpr int kSteps = 60;

double log_beta(double a, double b) { return std::lgamma(a) + std::lgamma(b) - std::lgamma(a + b); }

// The logarithm of the capital against a probability of p, after `above` of `count`.
double log_capital(double p, double above, double count) {
  const double below = count - above;
  const double mixed = log_beta(0.5 + above, 0.5 + below) - log_beta(0.5, 0.5) -
                       (above > 0.0 ? above * std::log(p) : 0.0) -
                       (below > 0.0 ? below * std::log1p(-p) : 0.0);
  const double none = above > 0.0 ? -HUGE_VAL : -below * std::log1p(-p);
  const double most = std::max(mixed, none);
  return most + std::log(0.5 * std::exp(mixed - most) + 0.5 * std::exp(none - most));
}

double most_probable(double above, double count, double alpha) {
  double low = above / count, high = 1.0;
  for (int step = 0; step < kSteps; ++step) {
    const double middle = 0.5 * (low + high);
    (log_capital(middle, above, count) < -std::log(alpha) ? low : high) = middle;
  }
  return high;
}

// What a batch of a chip that loses `drop` shows more than, with probability kSeen.
double shown(double drop, int64_t batch) {
  const double wanted = -std::log1p(-kSeen) / static_cast<double>(batch);
  const double q = 0.5 * (1.0 + drop);
  double low = 0.0, high = q;
  for (int step = 0; step < kSteps; ++step) {
    const double p = 0.5 * (low + high);
    const double distance =
        (p > 0.0 ? p * std::log(p / q) : 0.0) + (1.0 - p) * std::log((1.0 - p) / (1.0 - q));
    (distance >= wanted ? low : high) = p;
  }
  return 2.0 * low - 1.0;
}

}  // namespace

double worst_share(const std::vector<double>& drops) {
  const double sum = std::accumulate(drops.begin(), drops.end(), 0.0);
  if (!(sum > 0.0)) return 0.0;
  std::vector<double> sorted = drops;
  std::ranges::sort(sorted, std::greater());
  const double worst = std::ceil(kWorst * static_cast<double>(drops.size()));
  const double made =
      std::accumulate(sorted.begin(), sorted.begin() + static_cast<int64_t>(worst), 0.0);
  return std::clamp(made / sum, 0.0, 1.0);
}

std::vector<PossibleDrop> possible_drops(const std::vector<double>& drops, int64_t batch,
                                         bool whole, double max_drop, double alpha) {
  std::vector<double> asked;
  for (const double drop : kDrops) {
    if (drop > max_drop) asked.push_back(drop);
  }
  std::vector<PossibleDrop> found;
  const double each = alpha / static_cast<double>(std::max<size_t>(1, asked.size()));
  for (const double drop : asked) {
    const double threshold = whole ? drop : shown(drop, batch);
    const auto above = std::ranges::count_if(drops, [&](double y) { return y > threshold; });
    const double probability =
        most_probable(static_cast<double>(above), static_cast<double>(drops.size()), each) /
        (whole ? 1.0 : kSeen);
    if (probability < 0.5) found.push_back({drop, probability});
  }
  return found;
}

}  // namespace eden
