#include "devices/fit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>

#include "base/numerics.h"
#include "base/refusal.h"

namespace eden {
namespace {

// Places of maxima are found to this share of their scale; a likelihood there is off by its square.
constexpr double kCoarse = 1e-4;
constexpr double kFine = 1e-7;

double log_beta_binomial_odds(const Count& count, double log_odds, double dispersion) {
  const double mean = 1.0 / (1.0 + std::exp(-log_odds));
  const double complement = 1.0 / (1.0 + std::exp(log_odds));
  return log_beta_binomial_spread(count, mean, complement, dispersion * mean * complement);
}

enum class Outcome { kNone, kAll, kSome };

// The readings of one rate.
class RateGroup {
 public:
  explicit RateGroup(const std::vector<Count>& counts) : counts_(counts) {
    bool none = true, all = true;
    double errors = 0.0;
    low_ = std::numeric_limits<double>::infinity();
    high_ = -low_;
    for (const Count& count : counts) {
      errors += count.errors;
      none = none && count.errors == 0.0;
      all = all && count.errors == count.cells;
      // A reading without errors still bounds the odds of the best rate.
      const double odds = std::log(count.errors + 0.5) - std::log(count.cells - count.errors + 0.5);
      low_ = std::min(low_, odds);
      high_ = std::max(high_, odds);
    }
    const double rate = (errors + 0.5) / (total_cells() + 1.0);
    information_ = total_cells() * rate * (1.0 - rate);
    outcome_ = none ? Outcome::kNone : all ? Outcome::kAll : Outcome::kSome;
  }

  Outcome outcome() const { return outcome_; }

  double log_likelihood(double log_odds, double dispersion) const {
    double sum = 0.0;
    for (const Count& count : counts_) sum += log_beta_binomial_odds(count, log_odds, dispersion);
    return sum;
  }

  // The logarithm of the most likely odds at a dispersion; a group that tells no rate gives
  // likelihood 1.
  Maximum best(double dispersion, double precision) const {
    if (outcome_ != Outcome::kSome) return {0.0, 0.0};
    const auto function = [&](double x) { return log_likelihood(x, dispersion); };
    const double scale = standard_error(dispersion);
    const double margin = std::min(10.0 * scale, 3.0);
    const double low = low_ - margin, high = high_ + margin;
    const Maximum maximum = maximize(function, low, high, precision * scale);
    if (maximum.place - low > 0.1 * margin && high - maximum.place > 0.1 * margin) return maximum;
    return maximize(function, low_ - 30.0, high_ + 30.0, precision * scale);
  }

  // Of the logarithm of the odds, to first order.
  double standard_error(double dispersion) const {
    return std::sqrt(1.0 / information_ + dispersion / static_cast<double>(counts_.size()));
  }

  // The interval of a rate at its bound.
  RateEstimate one_sided(double dispersion, double tail) const {
    const bool none = outcome_ == Outcome::kNone;
    const auto excess = [&](double x) {
      return log_likelihood(none ? x : -x, dispersion) - std::log(tail);
    };
    const double start = -std::log(total_cells()) - 10.0;
    const double end = inverse_logit(crossing(excess, start, 1.0, 35.0));
    return none ? RateEstimate{0.0, 0.0, end} : RateEstimate{1.0, 1.0 - end, 1.0};
  }

 private:
  double total_cells() const {
    double sum = 0.0;
    for (const Count& count : counts_) sum += count.cells;
    return sum;
  }

  const std::vector<Count>& counts_;
  double low_, high_;   // logarithms of the odds of the best and the worst reading
  double information_;  // of a binomial about the logarithm of the odds
  Outcome outcome_;
};

void check(const std::vector<std::vector<Count>>& groups, const IntervalRule& rule,
           std::optional<double> dispersion) {
  if (groups.empty()) refuse("no groups of readings; allowed is one or more");
  for (size_t g = 0; g < groups.size(); ++g) {
    if (groups[g].empty()) {
      refuse("group ", g, " has no readings; allowed is one or more");
    }
    for (size_t i = 0; i < groups[g].size(); ++i) {
      check_count(groups[g][i], text_of("reading ", i, " of group ", g));
    }
  }
  if (!(rule.likelihood_ratio > 0.0)) {
    refuse("likelihood_ratio is ", rule.likelihood_ratio, "; allowed is above 0");
  }
  if (!(rule.tail > 0.0 && rule.tail < 1.0)) {
    refuse("tail is ", rule.tail, "; allowed is between 0 and 1");
  }
  check_dispersion(dispersion);
}

}  // namespace

void check_count(const Count& count, std::string_view place) {
  if (!(count.cells > 0.0 && count.cells <= 1e15 && count.errors >= 0.0 &&
        count.errors <= count.cells)) {
    refuse(place, " has ", count.errors, " errors of ", count.cells,
           " cells; allowed is 0 to the number of cells, at most 1e15");
  }
}

void check_dispersion(std::optional<double> dispersion) {
  if (dispersion && !(*dispersion >= 0.0 && *dispersion <= 1e6)) {
    refuse_value("dispersion", *dispersion, "0 to 1e6");
  }
}

double log_beta_binomial_spread(const Count& count, double mean, double complement, double spread) {
  const double n = count.cells, k = count.errors, rest = n - k;
  // The deviation of p = k / n from the mean, taken from the side that keeps its digits.
  const double deviation = mean < 0.5 ? k / n - mean : complement - rest / n;
  const double shift = n / (1.0 + n * spread) * deviation;
  double result = -deviance_part(k, shift) - deviance_part(rest, -shift);
  if (k > 0.0 && rest > 0.0) {
    result += 0.5 * std::log(n / (k * rest) / (2 * std::numbers::pi)) + stirling_remainder(n) -
              stirling_remainder(k) - stirling_remainder(rest);
  }
  if (n * spread < 1e-15) return result;
  const double sum = 1.0 / spread, a = mean * sum, b = complement * sum;
  result -= deviance_part(a, -shift) + deviance_part(b, shift);
  result += 0.5 * (std::log((n + sum) / sum) - std::log((k + a) / a) - std::log((rest + b) / b)) +
            stirling_remainder(k + a) + stirling_remainder(rest + b) - stirling_remainder(n + sum) -
            stirling_remainder(a) - stirling_remainder(b) + stirling_remainder(sum);
  return result;
}

double log_beta_binomial(const Count& count, double rate, double dispersion) {
  check({{count}}, {1.0, 0.5}, dispersion);
  if (!(rate > 0.0 && rate < 1.0)) {
    refuse("rate is ", rate, "; allowed is between 0 and 1");
  }
  return log_beta_binomial_odds(count, logit(rate), dispersion);
}

RateFit fit_rates(const std::vector<std::vector<Count>>& groups, const IntervalRule& rule,
                  std::optional<double> dispersion) {
  check(groups, rule, dispersion);
  std::vector<RateGroup> parts(groups.begin(), groups.end());
  size_t readings = 0;
  for (const auto& group : groups) readings += group.size();
  const bool informative = std::any_of(parts.begin(), parts.end(), [](const RateGroup& part) {
    return part.outcome() == Outcome::kSome;
  });
  if (!dispersion && (!informative || readings <= groups.size())) {
    refuse(
        "the dispersion cannot be fitted: ",
        (informative ? std::to_string(readings) + " readings of " + std::to_string(groups.size()) +
                           " rates; allowed is more readings than rates"
                     : std::string("no group has a count other than none and all")),
        "; give a dispersion");
  }

  const auto total = [&](double log_dispersion) {
    double sum = 0.0;
    for (const RateGroup& part : parts) sum += part.best(std::exp(log_dispersion), kCoarse).value;
    return sum;
  };
  double best_log = kLowestLogDispersion;
  if (!dispersion) {
    // The profile can have a shoulder at the binomial end: a grid finds the peak, Brent refines it.
    constexpr int kGrid = 24;
    const double step = (kHighestLogDispersion - kLowestLogDispersion) / kGrid;
    best_log = highest_on_grid(total, kLowestLogDispersion, kHighestLogDispersion, kGrid).place;
    best_log = maximize(total, std::max(best_log - step, kLowestLogDispersion),
                        std::min(best_log + step, kHighestLogDispersion), kFine)
                   .place;
  }

  RateFit fit;
  fit.dispersion = dispersion ? *dispersion : std::exp(best_log);
  fit.dispersion_fitted = !dispersion;
  fit.observations = static_cast<int64_t>(readings);
  fit.parameters = static_cast<int64_t>(groups.size()) + (dispersion ? 0 : 1);
  std::vector<Maximum> best;
  fit.log_likelihood = 0.0;
  for (const RateGroup& part : parts) {
    best.push_back(part.best(fit.dispersion, kFine));
    fit.log_likelihood += best.back().value;
  }

  for (size_t g = 0; g < parts.size(); ++g) {
    if (parts[g].outcome() != Outcome::kSome) {
      fit.rates.push_back(parts[g].one_sided(fit.dispersion, rule.tail));
      continue;
    }
    const auto profile = [&](double x) {
      const auto at = [&](double log_dispersion) {
        const double phi = std::exp(log_dispersion);
        double sum = parts[g].log_likelihood(x, phi);
        for (size_t j = 0; j < parts.size(); ++j) {
          if (j != g) sum += parts[j].best(phi, kCoarse).value;
        }
        return sum;
      };
      if (dispersion) {
        return parts[g].log_likelihood(x, *dispersion) + fit.log_likelihood - best[g].value;
      }
      // Away from its estimate a rate leaves more to be explained by the dispersion, never less.
      // For normal readings it grows by ratio / n at the interval's ends.
      const double growth = rule.likelihood_ratio / static_cast<double>(readings);
      return maximize(at, std::max(best_log - 0.5, kLowestLogDispersion),
                      std::min(best_log + 2.0 + 3.0 * growth, kHighestLogDispersion), kCoarse)
          .value;
    };
    const auto excess = [&](double x) {
      return 0.5 * rule.likelihood_ratio - (fit.log_likelihood - profile(x));
    };
    const double x = best[g].place;
    const double rate = inverse_logit(x);
    const double step = parts[g].standard_error(fit.dispersion);
    const double low = crossing(excess, x, -step, -45.0);
    const double high = crossing(excess, x, step, 35.0);
    fit.rates.push_back({rate, inverse_logit(low), inverse_logit(high)});
  }
  return fit;
}

}  // namespace eden
