#include "core/betting.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace eden {
namespace {

// Below 1, so that one observation of 1 costs much but does not end the test.
constexpr double kLargestStake = 0.95;
// Weight, in observations, of what is supposed before any is seen: a mean of a quarter of the bound
// with a standard deviation of half of it, which starts the bets at the largest stake.
constexpr double kPriorCount = 8.0;
constexpr double kPriorMean = 0.25;
constexpr double kPriorDeviation = 0.5;

double largest_bet(double bound) { return kLargestStake / (1.0 - bound); }

}  // namespace

BettingTest::BettingTest(double bound, double alpha)
    : bound_(bound), log_target_(-std::log(alpha)) {
  if (!(bound > 0.0 && bound < 1.0)) {
    throw std::invalid_argument("bound is " + std::to_string(bound) + "; allowed is inside (0, 1)");
  }
  if (!(alpha > 0.0 && alpha < 1.0)) {
    throw std::invalid_argument("alpha is " + std::to_string(alpha) + "; allowed is inside (0, 1)");
  }
}

void BettingTest::add(double observation) {
  if (!(observation <= 1.0) || std::isinf(observation)) {
    throw std::invalid_argument("observation is " + std::to_string(observation) +
                                "; allowed is a finite number up to 1");
  }
  const double weight = static_cast<double>(count()) + kPriorCount;
  const double prior_mean = kPriorMean * bound_;
  const double mean = (sum_ + kPriorCount * prior_mean) / weight;
  const double prior_square =
      prior_mean * prior_mean + kPriorDeviation * kPriorDeviation * bound_ * bound_;
  const double variance =
      std::max(0.0, (sum_of_squares_ + kPriorCount * prior_square) / weight - mean * mean);
  const double gap = bound_ - mean;
  const double bet = gap <= 0.0 ? 0.0 : std::min(largest_bet(bound_), gap / (variance + gap * gap));
  log_capital_ += std::log1p(bet * (bound_ - observation));
  best_log_capital_ = std::max(best_log_capital_, log_capital_);
  sum_ += observation;
  sum_of_squares_ += observation * observation;
  observations_.push_back(observation);
  bets_.push_back(bet);
}

double BettingTest::mean() const {
  return observations_.empty() ? 0.0 : sum_ / static_cast<double>(count());
}

double BettingTest::standard_error() const {
  if (count() < 2) return 0.0;
  const double n = static_cast<double>(count());
  return std::sqrt(std::max(0.0, sum_of_squares_ - sum_ * sum_ / n) / (n - 1.0) / n);
}

bool BettingTest::futile(int64_t count) const {
  if (rejected()) return false;
  const double left = static_cast<double>(count - this->count());
  if (left <= 0.0) return true;
  const double hoped = mean() - standard_error();
  const double growth = std::log1p(largest_bet(bound_) * std::max(0.0, bound_ - hoped));
  return log_capital_ + left * growth < log_target_;
}

double BettingTest::log_capital_against(double bound) const {
  double log_capital = 0.0, best = 0.0;
  for (size_t i = 0; i < bets_.size(); ++i) {
    log_capital += std::log1p(bets_[i] * (bound - observations_[i]));
    best = std::max(best, log_capital);
  }
  return best;
}

double BettingTest::upper_bound() const {
  // The bets are those placed against bound_; against another value they are admissible from
  // 1 - 1 / lambda on, and the capital only grows with that value, so bisection finds the least.
  double low = 1.0 - 1.0 / largest_bet(bound_), high = bound_;
  if (!rejected()) {
    low = bound_, high = 1.0;
    if (log_capital_against(high) < log_target_) return 1.0;
  }
  for (int step = 0; step < 60; ++step) {
    const double middle = 0.5 * (low + high);
    (log_capital_against(middle) >= log_target_ ? high : low) = middle;
  }
  return high;
}

int64_t BettingTest::least_count(double bound, double alpha) {
  return static_cast<int64_t>(
      std::ceil(-std::log(alpha) / std::log1p(largest_bet(bound) * bound) - 1e-9));
}

}  // namespace eden
