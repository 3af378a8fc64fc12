// Is the likelihood right for every size of count, and do the fits find what the counts were drawn
// from?
#include <cmath>
#include <random>

#include "catch2.h"
#include "devices/fit.h"

namespace {

using eden::Count;

// Drawn by composition: a Beta rate, then a binomial count of that rate.
Count draw_reading(std::mt19937_64& random, double cells, double rate, double dispersion) {
  const double sum = 1.0 / (dispersion * rate * (1.0 - rate));
  std::gamma_distribution<double> first(rate * sum), second((1.0 - rate) * sum);
  const double a = first(random), b = second(random);
  std::binomial_distribution<int64_t> errors(static_cast<int64_t>(cells), a / (a + b));
  return {static_cast<double>(errors(random)), cells};
}

// The 0.975 quantile of Student's t is 2.262 for 9 degrees of freedom, 2.101 for 18.
eden::IntervalRule rule(int readings, double quantile, int freedom) {
  return {readings * std::log1p(quantile * quantile / freedom), 0.05};
}

}  // namespace

TEST_CASE("The likelihood equals the one of log-gammas where those are exact enough") {
  for (double cells : {1.0, 7.0, 40.0, 1000.0}) {
    for (double errors : {0.0, 1.0, 0.5, cells - 1.0, cells}) {
      if (errors > cells) continue;
      for (double rate : {1e-6, 0.02, 0.5, 0.97}) {
        for (double dispersion : {1e-3, 0.1, 3.0}) {
          const double sum = 1.0 / (dispersion * rate * (1.0 - rate));
          const double a = rate * sum, b = (1.0 - rate) * sum;
          const auto beta = [](double x, double y) {
            return std::lgamma(x) + std::lgamma(y) - std::lgamma(x + y);
          };
          const double expected = std::lgamma(cells + 1) - std::lgamma(errors + 1) -
                                  std::lgamma(cells - errors + 1) +
                                  beta(errors + a, cells - errors + b) - beta(a, b);
          // Half an error of one cell lies at the natural extension's edge, where the reference
          // itself cancels; its error there is bounded by the size of its terms.
          const double margin = 1e-14 * std::abs(std::lgamma(sum)) + 1e-9;
          CHECK(eden::log_beta_binomial({errors, cells}, rate, dispersion) ==
                Approx(expected).margin(margin).epsilon(1e-9));
        }
      }
    }
  }
}

TEST_CASE("The probabilities of all counts sum to one") {
  for (double dispersion : {0.0, 1e-9, 0.01, 2.0}) {
    for (double rate : {1e-4, 0.3, 0.99}) {
      double sum = 0.0;
      for (int k = 0; k <= 500; ++k) {
        sum += std::exp(eden::log_beta_binomial({static_cast<double>(k), 500.0}, rate, dispersion));
      }
      CHECK(sum == Approx(1.0).epsilon(1e-10));
    }
  }
}

TEST_CASE("A vanishing dispersion at a bank's size is the binomial, smoothly") {
  const Count count{1073, 1073741824.0};
  const double binomial = eden::log_beta_binomial(count, 1e-6, 0.0);
  // Stirling by hand: the normal density at the mean of a variance of 1073.74.
  CHECK(binomial == Approx(-0.5 * std::log(2 * M_PI * 1073.74)).margin(2e-3));
  CHECK(eden::log_beta_binomial(count, 1e-6, 1e-12) == Approx(binomial).margin(1e-8));
  CHECK(eden::log_beta_binomial(count, 1e-6, 1e-10) == Approx(binomial).margin(1e-6));
}

TEST_CASE("Dispersion and two rates decades apart are found from a bank's counts") {
  std::mt19937_64 random(1);
  const double cells = 1073741824.0;
  int covered[2] = {0, 0};
  double log_dispersion = 0.0;
  constexpr int kCampaigns = 200;
  for (int campaign = 0; campaign < kCampaigns; ++campaign) {
    std::vector<std::vector<Count>> groups(2);
    for (int i = 0; i < 10; ++i) {
      groups[0].push_back(draw_reading(random, cells, 0.05, 0.04));
      groups[1].push_back(draw_reading(random, cells, 2e-6, 0.04));
    }
    const eden::RateFit fit = eden::fit_rates(groups, rule(20, 2.101, 18), std::nullopt);
    covered[0] += fit.rates[0].low <= 0.05 && 0.05 <= fit.rates[0].high;
    covered[1] += fit.rates[1].low <= 2e-6 && 2e-6 <= fit.rates[1].high;
    log_dispersion += std::log(fit.dispersion) / kCampaigns;
    CHECK(fit.dispersion_fitted);
    CHECK(fit.parameters == 3);
    CHECK(fit.observations == 20);
  }
  // 200 intervals of 95%: fewer than 178 or all 200 covering has a probability of 3e-4.
  CHECK(covered[0] >= 178);
  CHECK(covered[1] >= 178);
  CHECK(covered[0] < 200);
  CHECK(covered[1] < 200);
  // The estimate has about chi-square over 20 with 18 degrees of freedom times the truth.
  CHECK(log_dispersion == Approx(std::log(0.04 * 18 / 20)).margin(0.12));
}

TEST_CASE("A binomial interval would be absurdly narrow") {
  const std::vector<std::vector<Count>> groups{{{900000, 1e9}, {1000000, 1e9}, {1100000, 1e9}}};
  const eden::RateFit fit = eden::fit_rates(groups, {3 * std::log1p(4.303 * 4.303 / 2), 0.05}, {});
  CHECK(fit.rates[0].estimate == Approx(1e-3).epsilon(0.01));
  // Student's interval of the mean of 0.9, 1.0 and 1.1 is 0.752 to 1.248.
  CHECK(fit.rates[0].low == Approx(0.752e-3).epsilon(0.06));
  CHECK(fit.rates[0].high == Approx(1.248e-3).epsilon(0.06));
  const eden::RateFit binomial = eden::fit_rates(groups, {3.841, 0.05}, 0.0);
  CHECK(fit.rates[0].high - fit.rates[0].low >
        50 * (binomial.rates[0].high - binomial.rates[0].low));
}

TEST_CASE("A rate at its bound has a one-sided interval") {
  // Without dispersion, no error in n cells: (1 - u)^n = 0.05.
  const eden::RateFit none = eden::fit_rates({{{0, 1e9}, {0, 1e9}}}, {3.84, 0.05}, 0.0);
  CHECK(none.rates[0].estimate == 0.0);
  CHECK(none.rates[0].low == 0.0);
  CHECK(none.rates[0].high == Approx(-std::log(0.05) / 2e9).epsilon(1e-5));
  CHECK(none.log_likelihood == 0.0);
  const eden::RateFit all = eden::fit_rates({{{1000, 1000}}}, {3.84, 0.05}, 0.0);
  CHECK(all.rates[0].estimate == 1.0);
  CHECK(all.rates[0].low == Approx(std::pow(0.05, 1e-3)).epsilon(1e-5));
  CHECK(all.rates[0].high == 1.0);
  // With dispersion, two readings without errors: (1 + phi u n)^(-2 / phi) = 0.05.
  const eden::RateFit wide = eden::fit_rates({{{0, 1e9}, {0, 1e9}}}, {3.84, 0.05}, 4.0);
  CHECK(wide.rates[0].high == Approx((std::pow(0.05, -2.0) - 1) / 4e9).epsilon(1e-3));
}

TEST_CASE("Counts that are none are refused") {
  const eden::IntervalRule ok{3.84, 0.05};
  CHECK_THROWS_AS(eden::fit_rates({}, ok, {}), std::invalid_argument);
  CHECK_THROWS_AS(eden::fit_rates({{}}, ok, 0.0), std::invalid_argument);
  CHECK_THROWS_AS(eden::fit_rates({{{-1, 10}, {1, 10}}}, ok, {}), std::invalid_argument);
  CHECK_THROWS_AS(eden::fit_rates({{{11, 10}, {1, 10}}}, ok, {}), std::invalid_argument);
  CHECK_THROWS_AS(eden::fit_rates({{{NAN, 10}, {1, 10}}}, ok, {}), std::invalid_argument);
  CHECK_THROWS_AS(eden::fit_rates({{{0, 10}, {0, 10}}}, ok, {}), std::invalid_argument);
  CHECK_THROWS_AS(eden::fit_rates({{{1, 10}}, {{1, 10}}}, ok, {}), std::invalid_argument);
  CHECK_THROWS_AS(eden::fit_rates({{{1, 10}, {2, 10}}}, ok, -1.0), std::invalid_argument);
  CHECK_THROWS_AS(eden::fit_rates({{{1, 10}, {2, 10}}}, {0.0, 0.05}, {}), std::invalid_argument);
  CHECK_THROWS_AS(eden::fit_rates({{{1, 10}, {2, 10}}}, {3.84, 1.0}, {}), std::invalid_argument);
  CHECK_THROWS_AS(eden::log_beta_binomial({1, 10}, 0.0, 0.1), std::invalid_argument);
}
