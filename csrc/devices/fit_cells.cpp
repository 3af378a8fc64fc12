#include "devices/fit_cells.h"

#include <cmath>
#include <limits>

#include "base/numerics.h"

namespace eden {

Seen seen_share(double failure, int64_t reads) {
  if (failure >= 1.0) return {1.0, 0.0};
  const double log_unseen = static_cast<double>(reads) * std::log1p(-failure);
  return {-std::expm1(log_unseen), std::exp(log_unseen)};
}

double log_failures(const Reads& reads, double failure) {
  if (reads.reads == 1 || reads.seen == 0.0) return 0.0;
  const double passed = static_cast<double>(reads.reads) * reads.seen - reads.failures;
  double sum = reads.failures * std::log(failure);
  if (passed > 0.0) sum += passed * std::log1p(-failure);
  return sum - reads.seen * std::log(seen_share(failure, reads.reads).share);
}

double likeliest_failure(const std::vector<Reads>& samples) {
  bool once = true, always = true;
  for (const Reads& reads : samples) {
    if (reads.reads == 1) continue;
    once = once && reads.failures <= reads.seen;
    always = always && reads.failures >= static_cast<double>(reads.reads) * reads.seen;
  }
  if (always) return 1.0;
  if (once) return 0.0;
  const auto function = [&](double log_odds) {
    double sum = 0.0;
    for (const Reads& reads : samples) sum += log_failures(reads, inverse_logit(log_odds));
    return sum;
  };
  // The likelihood has one maximum: the binomial without its zero is an exponential family in the
  // odds.
  return inverse_logit(maximize(function, -40.0, 36.0, 1e-9).place);
}

std::vector<double> failure_probabilities(double failure, int64_t reads) {
  std::vector<double> probabilities(static_cast<size_t>(reads));
  if (failure >= 1.0) {
    probabilities.back() = 1.0;
    return probabilities;
  }
  const double n = static_cast<double>(reads);
  const double share = seen_share(failure, reads).share;
  for (int64_t i = 1; i <= reads; ++i) {
    const double k = static_cast<double>(i);
    const double log_choose = std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1);
    probabilities[static_cast<size_t>(i - 1)] =
        std::exp(log_choose + k * std::log(failure) + (n - k) * std::log1p(-failure)) / share;
  }
  return probabilities;
}

}  // namespace eden
