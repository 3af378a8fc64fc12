// Maximum likelihood on counts of bit errors that repeat worse than a binomial.
//
// Within one reading of n cells the errors are binomial; from one reading to the next the rate
// itself varies, as a Beta variable of mean m and a + b = 1 / (phi m (1 - m)). The counts are then
// beta-binomial (Skellam, "A probability distribution derived from the binomial distribution by
// regarding the probability of success as variable between the sets of trials", J. R. Stat. Soc. B
// 10, 1948). In this parametrization phi is, to first order, the variance of the logarithm of the
// odds between readings, so one phi serves stored zeros and ones whose rates differ by decades; for
// small rates the counts are negative binomial of shape 1 / phi, for phi = 0 they are binomial.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace eden {

// The logarithm of a dispersion is searched for between these: from readings that chance alone
// tells apart to those that have nothing in common.
inline constexpr double kLowestLogDispersion = -27.6;
inline constexpr double kHighestLogDispersion = 13.8;

// One reading. Errors need not be whole: a tool that prints the mean of two passes prints halves.
struct Count {
  double errors;
  double cells;
};

// Throw std::invalid_argument for a count that is none, naming its place, or a dispersion that is
// none.
void check_count(const Count& count, std::string_view place);
void check_dispersion(std::optional<double> dispersion);

// A rate with the ends of its interval.
struct RateEstimate {
  double estimate;
  double low;
  double high;
};

// Where an interval ends. A rate's interval holds the values whose profile likelihood lies within
// `likelihood_ratio` / 2 of its maximum; where no cell failed (or every one did) it is one-sided
// and ends where that outcome would have the probability `tail`.
struct IntervalRule {
  double likelihood_ratio;
  double tail;
};

struct RateFit {
  std::vector<RateEstimate> rates;  // one per group
  double dispersion;                // phi
  bool dispersion_fitted;
  double log_likelihood;
  int64_t observations;
  int64_t parameters;  // a fixed dispersion is not counted
};

// Logarithm of the beta-binomial probability of a count; of its natural extension where errors are
// not whole. Precise to rounding for 2^40 cells, where sums of log-gammas would lose six digits.
// Throws std::invalid_argument unless 0 <= errors <= cells, cells > 0, 0 < rate < 1, dispersion
// >= 0.
double log_beta_binomial(const Count& count, double rate, double dispersion);

// The same for a mean, its complement to 1 and spread = 1 / (a + b), none of them checked; spread 0
// is the binomial.
double log_beta_binomial_spread(const Count& count, double mean, double complement, double spread);

// One rate per group of readings and one dispersion for all of them: a single group is Model 0,
// readings of stored zeros and of stored ones as two groups are Model 3. The dispersion is fitted
// unless given; fitting one takes more readings than groups and at least one group with a count
// other than none and all. Throws std::invalid_argument otherwise, and for counts that are none.
RateFit fit_rates(const std::vector<std::vector<Count>>& groups, const IntervalRule& rule,
                  std::optional<double> dispersion);

}  // namespace eden
