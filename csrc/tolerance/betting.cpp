#include "tolerance/betting.h"

#include <algorithm>
#include <cmath>

#include "base/refusal.h"

namespace eden {
namespace {

// Below 1, so that one observation of 1 costs much but does not end the test.
constexpr double kLargestStake = 0.95;
// Without a prior, so that the bets start at the largest stake; parts of the bound.
constexpr double kPriorCount = 8.0;
constexpr double kPriorMean = 0.25;
constexpr double kPriorDeviation = 0.5;
constexpr double kHope = 2.0;  // standard errors

}  // namespace

BettingTest::BettingTest(double bound, double alpha, std::optional<BettingPrior> prior)
    : bound_(bound),
      log_target_(-std::log(alpha)),
      prior_(
          prior.value_or(BettingPrior{kPriorMean * bound, kPriorDeviation * bound, kPriorCount})) {
  if (!(bound > 0.0 && bound < 1.0)) refuse_value("bound", bound, "inside (0, 1)");
  if (!(alpha > 0.0 && alpha < 1.0)) refuse_value("alpha", alpha, "inside (0, 1)");
}

void BettingTest::add(double observation) {
  if (!(observation <= 1.0) || std::isinf(observation)) {
    refuse_value("observation", observation, "a finite number up to 1");
  }
  const Belief now = belief();
  const double gap = bound_ - now.mean;
  double bet = gap <= 0.0 ? 0.0 : std::min(largest_bet(bound_), gap / (now.variance + gap * gap));
  if (prior_.samples > 0.0) {
    bet = std::min(bet, prior_.samples * std::max(0.0, gap) / (bound_ * (1.0 - bound_)));
  }
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

BettingTest::Belief BettingTest::belief() const {
  const double weight = static_cast<double>(count()) + prior_.count;
  const double mean = (sum_ + prior_.count * prior_.mean) / weight;
  const double prior_square = prior_.mean * prior_.mean + prior_.deviation * prior_.deviation;
  const double square = (sum_of_squares_ + prior_.count * prior_square) / weight;
  return {mean, std::max(0.0, square - mean * mean), weight};
}

bool BettingTest::futile(int64_t count) const {
  if (rejected()) return false;
  const double left = static_cast<double>(count - this->count());
  if (left <= 0.0) return true;
  const Belief now = belief();
  const double hoped = now.mean - kHope * std::sqrt(now.variance / now.weight);
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

double BettingTest::least_count(double bound, double alpha) {
  return std::ceil(-std::log(alpha) / largest_growth(bound) - 1e-9);
}

double BettingTest::largest_growth(double bound) { return std::log1p(largest_bet(bound) * bound); }

double BettingTest::largest_bet(double bound) { return kLargestStake / (1.0 - bound); }

}  // namespace eden
