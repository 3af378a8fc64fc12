// A test of "the mean of these observations is below a bound" that may be looked at after every
// observation, and stopped at any of them, without its error probability growing.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace eden {

// What is supposed before any observation is seen weighs as much as `count` of them; a wrong
// supposition costs observations, not validity, as long as it does not depend on those to come.
struct BettingPrior {
  double mean = 0.0;
  double deviation = 0.0;  // of one observation
  double count = 0.0;
  // Of one observation, where they are few: then a bet is no larger than were best if each of them
  // was lost or not, because the rule of the variance stakes too much on what is so skewed.
  double samples = 0.0;
};

// Tests H: E[y | past] >= bound for observations y <= 1, by betting against H: the capital
//   K_t = prod_{i <= t} (1 + lambda_i (bound - y_i)),  0 <= lambda_i <= 0.95 / (1 - bound),
// with lambda_i chosen before y_i is seen, is never negative and under H a supermartingale that
// starts at 1, so by Ville's inequality P_H(sup_t K_t >= 1 / alpha) <= alpha (Waudby-Smith and
// Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 2023, section 4;
// Howard et al., "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of
// Statistics 2021). The bets follow their aGRAPA rule, lambda = (bound - m) / (v + (bound - m)^2)
// with m and v the past's mean and variance, which makes the test adapt to a small variance.
//
// With observations in {0, 1} it is a sequential likelihood ratio of a Bernoulli variable against a
// predictable alternative, hence exact for a binomial proportion.
class BettingTest {
 public:
  // Throws std::invalid_argument unless bound and alpha are inside (0, 1). Without a prior it is
  // supposed that the mean is a quarter of the bound, with a standard deviation of half of it.
  BettingTest(double bound, double alpha, std::optional<BettingPrior> prior = std::nullopt);

  // Throws std::invalid_argument for an observation that is not finite or above 1.
  void add(double observation);

  bool rejected() const { return best_log_capital_ >= log_target_; }  // the mean is below the bound
  int64_t count() const { return static_cast<int64_t>(observations_.size()); }
  double mean() const;
  double log_capital() const { return log_capital_; }

  // Whether `count` observations in all are unlikely to be enough: even if those to come had a mean
  // two standard errors below the one that is believed in, without any variance, the capital would
  // not do.
  bool futile(int64_t count) const;

  // A bound on the mean that holds with probability 1 - alpha at every stopping time: the least one
  // that the same bets refute. At most `bound` where the test has rejected; never below the least
  // value for which the bets are admissible.
  double upper_bound() const;

  // The observations that it takes if each of them is 0, a whole number.
  static double least_count(double bound, double alpha);

  // The most that the logarithm of the capital can grow by at one observation of 0, and the largest
  // bet lambda.
  static double largest_growth(double bound);
  static double largest_bet(double bound);

 private:
  // The prior and what was seen, together.
  struct Belief {
    double mean, variance, weight;
  };
  Belief belief() const;
  double log_capital_against(double bound) const;

  double bound_;
  double log_target_;
  BettingPrior prior_;
  double log_capital_ = 0.0;
  double best_log_capital_ = 0.0;
  double sum_ = 0.0;
  double sum_of_squares_ = 0.0;
  std::vector<double> observations_;
  std::vector<double> bets_;
};

}  // namespace eden
