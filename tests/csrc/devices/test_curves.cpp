// Are the likelihoods of conditions and the curves fitted to them right, and do their intervals
// cover?
#include <cmath>
#include <limits>
#include <random>

#include "catch2.h"
#include "devices/curve_fit.h"
#include "devices/population.h"
#include "devices/predict_reading.h"

namespace {

using eden::Asymptote;
using eden::ConditionLikelihood;
using eden::Count;
using eden::CurveCondition;
using eden::CurveLink;
using eden::CurveParameters;

double rate_of(double log_odds) { return 1.0 / (1.0 + std::exp(-log_odds)); }

// Readings whose log-odds vary normally between them.
std::vector<Count> draw(std::mt19937_64& random, double log_odds, double deviation, int readings,
                        double cells) {
  std::normal_distribution<double> normal(log_odds, deviation);
  std::vector<Count> result;
  for (int i = 0; i < readings; ++i) {
    std::binomial_distribution<int64_t> errors(static_cast<int64_t>(cells),
                                               rate_of(normal(random)));
    result.push_back({static_cast<double>(errors(random)), cells});
  }
  return result;
}

}  // namespace

TEST_CASE("A curve has the rates of its formula") {
  const CurveParameters parameters{5.0, 1.5, 0.6};
  for (double at : {2.5, 5.0, 7.5, 10.0}) {
    const double z = (5.0 - at) / 1.5;
    const double probit = 0.6 * 0.5 * std::erfc(-z / std::sqrt(2.0));
    CHECK(rate_of(eden::curve_log_odds(CurveLink::kProbit, parameters, at)) ==
          Approx(probit).epsilon(1e-9));
    CHECK(rate_of(eden::curve_log_odds(CurveLink::kLogit, parameters, at)) ==
          Approx(0.6 * rate_of(z)).epsilon(1e-9));
  }
  CHECK_THROWS_AS(eden::curve_log_odds(CurveLink::kProbit, {5.0, 0.0, 1.0}, 5.0),
                  std::invalid_argument);
  CHECK_THROWS_AS(eden::curve_log_odds(CurveLink::kProbit, {5.0, 1.0, 1.5}, 5.0),
                  std::invalid_argument);
}

TEST_CASE("A curve falls as the latency grows") {
  for (CurveLink link : {CurveLink::kProbit, CurveLink::kLogit}) {
    for (double asymptote : {1e-6, 0.5, 1.0}) {
      double last = std::numeric_limits<double>::infinity();
      for (double at = -10.0; at < 30.0; at += 0.25) {
        const double value = eden::curve_log_odds(link, {6.0, 2.0, asymptote}, at);
        CHECK(value <= last + 1e-9);
        last = value;
      }
    }
  }
}

TEST_CASE("A tabulated likelihood equals the one it was made from") {
  const std::vector<Count> readings{{1000, 1e6}, {1200, 1e6}, {900, 1e6}, {1000, 1e6}};
  const double phi = 0.01;
  const ConditionLikelihood table(readings, phi, 1.0);
  const auto direct = [&](double x) {
    double sum = 0.0;
    for (const Count& count : readings) sum += eden::log_beta_binomial(count, rate_of(x), phi);
    return sum;
  };
  const double best = table.best();
  CHECK(table(best) == Approx(0.0).margin(1e-9));
  CHECK(table.log_likelihood() == Approx(direct(best)));
  for (double step : {-3.0, -0.5, -0.1, -0.02, 0.015, 0.07, 0.3, 2.0}) {
    const double expected = direct(best + step) - direct(best);
    CHECK(table(best + step) == Approx(expected).epsilon(0.005).margin(1e-4));
    CHECK(expected <= 0.0);
  }
  CHECK(table(table.lower(2.0)) == Approx(-2.0).epsilon(1e-3));
  CHECK(table(table.upper(2.0)) == Approx(-2.0).epsilon(1e-3));
}

TEST_CASE("A condition without errors bounds its rate from above") {
  const ConditionLikelihood none({{0, 1e6}, {0, 1e6}}, 0.0, 1.0);
  CHECK_FALSE(none.informative());
  CHECK(none.lower(1.0) == -std::numeric_limits<double>::infinity());
  // 2 10^6 p = 3 errors expected.
  CHECK(rate_of(none.upper(3.0)) == Approx(1.5e-6).epsilon(1e-3));
  const ConditionLikelihood all({{1e6, 1e6}}, 0.0, 1.0);
  CHECK(all.upper(1.0) == std::numeric_limits<double>::infinity());
  CHECK(1.0 - rate_of(all.lower(3.0)) == Approx(3e-6).epsilon(1e-3));
}

TEST_CASE("Bad arguments are refused") {
  CHECK_THROWS_AS(ConditionLikelihood({}, 0.0, 1.0), std::invalid_argument);
  CHECK_THROWS_AS(ConditionLikelihood({{5, 10}}, std::nullopt, 1.0), std::invalid_argument);
  CHECK_THROWS_AS(ConditionLikelihood({{0, 10}, {0, 10}}, std::nullopt, 1.0),
                  std::invalid_argument);
  CHECK_THROWS_AS(ConditionLikelihood({{11, 10}}, 0.0, 1.0), std::invalid_argument);
  CHECK_THROWS_AS(ConditionLikelihood({{5, 10}}, -1.0, 1.0), std::invalid_argument);
  CHECK_THROWS_AS(ConditionLikelihood({{5, 10}}, 0.0, 0.0), std::invalid_argument);
  const eden::CurveRule rule{CurveLink::kProbit, Asymptote::kOne, false};
  CHECK_THROWS_AS(eden::fit_curves({}, rule), std::invalid_argument);
  const CurveCondition none{5.0, ConditionLikelihood({{0, 1e6}}, 0.0, 1.0)};
  CHECK_THROWS_AS(eden::fit_curves({{none}}, rule), std::invalid_argument);
}

TEST_CASE("A curve is found again from counts far beyond chance") {
  for (CurveLink link : {CurveLink::kProbit, CurveLink::kLogit}) {
    const CurveParameters truth{4.0, 1.1, 0.7};
    std::vector<CurveCondition> conditions;
    for (double at : {2.0, 3.0, 4.0, 5.0, 6.0, 7.0}) {
      const double p = rate_of(eden::curve_log_odds(link, truth, at));
      conditions.push_back({at, ConditionLikelihood({{std::round(p * 1e12), 1e12}}, 0.0, 1.0)});
    }
    const eden::CurveFit fit = eden::fit_curves({conditions}, {link, Asymptote::kOwn, false});
    CHECK(fit.groups[0].location == Approx(truth.location).epsilon(1e-3));
    CHECK(fit.groups[0].scale == Approx(truth.scale).epsilon(1e-3));
    CHECK(fit.groups[0].asymptote == Approx(truth.asymptote).epsilon(1e-3));
    CHECK(fit.parameters == 3);
  }
}

TEST_CASE("Intervals of a curve and of a further reading cover what they should") {
  // Eight readings of each of five conditions. The weight makes the interval of a condition's rate
  // Student's with 7 degrees of freedom, whose 0.975 quantile is 2.3646.
  constexpr double kQuantile = 2.3646, kReadings = 8, kFreedom = 7, kChi = 3.8415;
  const double limit = std::log1p(kQuantile * kQuantile / kFreedom);
  const double weight = kChi / (kReadings * limit);
  const CurveParameters truth{4.0, 1.3, 0.8};
  const eden::CurveRule rule{CurveLink::kProbit, Asymptote::kOwn, false};
  std::mt19937_64 random(20);
  constexpr int kCampaigns = 100;
  int between = 0, at_condition = 0, reading = 0;
  for (int campaign = 0; campaign < kCampaigns; ++campaign) {
    std::vector<CurveCondition> conditions;
    std::vector<Count> first;
    for (double at : {1.0, 2.5, 4.0, 5.5, 7.0}) {
      const double centre = eden::curve_log_odds(CurveLink::kProbit, truth, at);
      const std::vector<Count> readings =
          draw(random, centre, 0.15, static_cast<int>(kReadings), 1e9);
      conditions.push_back({at, ConditionLikelihood(readings, std::nullopt, weight)});
      if (first.empty()) first = readings;
    }
    const eden::CurveFit fit = eden::fit_curves({conditions}, rule);
    for (auto [at, covered] : {std::pair{3.3, &between}, std::pair{5.5, &at_condition}}) {
      const eden::CurveEnds ends = eden::curve_ends({conditions}, rule, fit, 0, at, kChi / 2);
      const double centre = eden::curve_log_odds(CurveLink::kProbit, truth, at);
      *covered += ends.low <= centre && centre <= ends.high;
    }
    const double drop = 0.5 * (kReadings + 1) * limit;
    const eden::CurveEnds ends = eden::predict_reading(first, 1e9, 1, std::nullopt, drop);
    const Count next =
        draw(random, eden::curve_log_odds(CurveLink::kProbit, truth, 1.0), 0.15, 1, 1e9)[0];
    reading += ends.low <= next.errors && next.errors <= ends.high;
  }
  // With 95% covered, fewer than 86 of 100 have a probability of 2e-4, each of the three.
  CHECK(between >= 86);
  CHECK(at_condition >= 86);
  CHECK(reading >= 86);
}

TEST_CASE("The interval of a further reading is Student's where readings are normal") {
  const std::vector<Count> readings{
      {9.0e7, 1e9}, {1.0e8, 1e9}, {1.1e8, 1e9}, {1.02e8, 1e9}, {9.6e7, 1e9}};
  double mean = 0.0, square = 0.0;
  for (const Count& count : readings) mean += std::log(count.errors / (1e9 - count.errors)) / 5;
  for (const Count& count : readings)
    square += std::pow(std::log(count.errors / (1e9 - count.errors)) - mean, 2);
  constexpr double kQuantile = 2.7764;  // 4 degrees of freedom
  const double half = kQuantile * std::sqrt(square / 4 * (1 + 1.0 / 5));
  const double drop = 0.5 * 6 * std::log1p(kQuantile * kQuantile / 4);
  const eden::CurveEnds ends = eden::predict_reading(readings, 1e9, 1, std::nullopt, drop);
  CHECK(ends.low / 1e9 == Approx(rate_of(mean - half)).epsilon(0.02));
  CHECK(ends.high / 1e9 == Approx(rate_of(mean + half)).epsilon(0.02));
}

TEST_CASE("A reading after readings without errors has few errors or none") {
  const std::vector<Count> readings(3, Count{0, 1e9});
  const eden::CurveEnds ends = eden::predict_reading(readings, 1e9, 1, 0.1, 1.92);
  CHECK(ends.low == 0.0);
  CHECK(ends.high > 0.0);
  CHECK(ends.high < 5.0);
}

TEST_CASE("Groups that share a scale are fitted with one") {
  const CurveParameters one{4.0, 1.0, 1.0}, two{6.0, 1.0, 1.0};
  std::vector<std::vector<CurveCondition>> groups(2);
  for (size_t g = 0; g < 2; ++g) {
    for (double at : {3.0, 5.0, 7.0}) {
      const double p = rate_of(eden::curve_log_odds(CurveLink::kProbit, g == 0 ? one : two, at));
      groups[g].push_back({at, ConditionLikelihood({{std::round(p * 1e10), 1e10}}, 1e-4, 1.0)});
    }
  }
  const eden::CurveRule rule{CurveLink::kProbit, Asymptote::kOne, true};
  const eden::CurveFit fit = eden::fit_curves(groups, rule);
  CHECK(fit.parameters == 3);
  CHECK(fit.groups[0].scale == Approx(fit.groups[1].scale));
  CHECK(fit.groups[0].location == Approx(4.0).epsilon(1e-3));
  CHECK(fit.groups[1].location == Approx(6.0).epsilon(1e-3));
  const eden::CurveEnds ends = eden::curve_ends(groups, rule, fit, 1, 4.0, 1.92);
  const double truth = eden::curve_log_odds(CurveLink::kProbit, two, 4.0);
  CHECK(ends.low < truth);
  CHECK(truth < ends.high);
  CHECK(ends.high - ends.low < 0.2);
}

TEST_CASE("A parameter that the conditions do not tell has an open interval") {
  // Errors at one place alone: any scale will do.
  std::vector<CurveCondition> conditions;
  conditions.push_back({5.0, ConditionLikelihood({{1e5, 1e9}}, 0.01, 1.0)});
  conditions.push_back({10.0, ConditionLikelihood({{0, 1e9}}, 0.01, 1.0)});
  const eden::CurveRule rule{CurveLink::kProbit, Asymptote::kOne, false};
  const eden::CurveFit fit = eden::fit_curves({conditions}, rule);
  CHECK(fit.log_likelihood == Approx(0.0).margin(0.05));
  const eden::CurveEnds scale = eden::parameter_ends({conditions}, rule, fit, 0, 1, 1.92);
  CHECK(scale.low == 0.0);
  CHECK(std::isfinite(scale.high));
}

TEST_CASE("A population has the mean and the deviation of its modules") {
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal(-6.0, 1.2);
  std::vector<ConditionLikelihood> modules;
  double mean = 0.0, square = 0.0;
  constexpr int kModules = 12;
  for (int i = 0; i < kModules; ++i) {
    const double centre = normal(random);
    mean += centre / kModules;
    square += centre * centre / kModules;
    modules.emplace_back(draw(random, centre, 0.0, 1, 1e12), 0.0, 1.0);
  }
  const eden::PopulationFit fit = eden::fit_population(modules);
  CHECK(fit.mean == Approx(mean).epsilon(1e-3));
  CHECK(fit.deviation == Approx(std::sqrt(square - mean * mean)).epsilon(1e-2));
  // A module that never fails pulls the mean down, by less than a module at its bound would.
  modules.emplace_back(std::vector<Count>{{0, 1e6}}, 0.0, 1.0);
  CHECK(eden::fit_population(modules).mean < fit.mean);
  CHECK_THROWS_AS(eden::fit_population({modules[0]}), std::invalid_argument);
}

TEST_CASE("Seeded normal numbers are functions of seed, stream and index") {
  const std::vector<double> one = eden::seeded_normals(1, 0, 1000);
  CHECK(eden::seeded_normals(1, 0, 10)[9] == one[9]);
  CHECK(eden::seeded_normals(2, 0, 1)[0] != one[0]);
  CHECK(eden::seeded_normals(1, 1, 1)[0] != one[0]);
  double mean = 0.0, square = 0.0;
  for (double value : one) mean += value / 1000, square += value * value / 1000;
  // Four standard errors: a false alarm in 16,000 seeds, and the seed is fixed.
  CHECK(std::abs(mean) < 4 / std::sqrt(1000.0));
  CHECK(std::abs(square - 1) < 4 * std::sqrt(2.0 / 1000));
}

TEST_CASE("A common dispersion is found again") {
  std::mt19937_64 random(11);
  std::vector<std::vector<Count>> conditions;
  for (double log_odds : {-9.0, -4.0, -1.0, 0.5}) {
    conditions.push_back(draw(random, log_odds, 0.2, 60, 1e10));
  }
  const eden::DispersionFit fit = eden::fit_dispersion(conditions);
  // 236 degrees of freedom: four standard errors are 37%.
  CHECK(fit.dispersion > 0.04 * 0.63);
  CHECK(fit.dispersion < 0.04 * 1.37);
  CHECK_THROWS_AS(eden::fit_dispersion({{{1, 10}}}), std::invalid_argument);
  CHECK_THROWS_AS(eden::fit_dispersion({}), std::invalid_argument);
}
