// Are the likelihoods of Models 0 to 3 right, and do the fits find what counts were drawn from?
#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>

#include "catch2.h"
#include "devices/fit_models.h"
#include "devices/fit_patterns.h"
#include "devices/profile_likelihood.h"
#include "devices/simulate_counts.h"

namespace {

using eden::Along;
using eden::LineCount;
using eden::LineLaw;
using eden::Seen;

double log_beta(double a, double b) { return std::lgamma(a) + std::lgamma(b) - std::lgamma(a + b); }

// By the number of weak cells that were not seen, with log-gammas.
double reference(int cells, int seen, const LineLaw& law, const Seen& q) {
  const double a = law.mean / law.spread, b = law.complement / law.spread;
  double sum = 0.0;
  for (int j = 0; j <= cells - seen; ++j) {
    if (q.unseen == 0.0 && j > 0) break;
    const double log_choose = std::lgamma(cells - seen + 1.0) - std::lgamma(j + 1.0) -
                              std::lgamma(cells - seen - j + 1.0);
    sum += std::exp(log_choose + seen * std::log(q.share) + (j > 0 ? j * std::log(q.unseen) : 0.0) +
                    log_beta(seen + j + a, cells - seen - j + b) - log_beta(a, b));
  }
  return std::log(sum);
}

eden::ValueCounts counted(const eden::SimulatedCounts& counts, int64_t rows, int64_t columns) {
  const std::vector<int64_t> heights(counts.bitlines.size(), rows);
  const std::vector<int64_t> widths(counts.wordlines.size(), columns);
  eden::ValueCounts value{};
  value.cells = static_cast<double>(rows * columns);
  value.bitlines =
      eden::count_lines(heights.data(), counts.bitlines.data(), counts.bitlines.size());
  value.wordlines =
      eden::count_lines(widths.data(), counts.wordlines.data(), counts.wordlines.size());
  value.reads.reads = static_cast<int64_t>(counts.failures.size()) - 1;
  for (size_t k = 1; k < counts.failures.size(); ++k) {
    value.reads.seen += static_cast<double>(counts.failures[k]);
    value.reads.failures += static_cast<double>(k) * static_cast<double>(counts.failures[k]);
  }
  return value;
}

const eden::IntervalRule kRule{3.841458820694124, 0.05};

}  // namespace

TEST_CASE("A line's likelihood equals a sum of log-gammas") {
  for (const double mean : {1e-6, 0.01, 0.4, 0.95}) {
    for (const double spread : {1e-3, 0.1, 2.0}) {
      for (const double failure : {0.05, 0.7, 1.0}) {
        for (const int cells : {1, 9, 60}) {
          for (const int seen : {0, 1, cells / 2, cells}) {
            const LineLaw law{mean, 1.0 - mean, spread};
            const Seen q = eden::seen_share(failure, 2);
            CAPTURE(mean, spread, failure, cells, seen);
            CHECK(eden::log_line(cells, seen, law, q) ==
                  Approx(reference(cells, seen, law, q)).epsilon(1e-9).margin(1e-9));
          }
        }
      }
    }
  }
}

TEST_CASE("The probabilities of a line's counts sum to one where an integral takes over") {
  for (const double mean : {1e-7, 1e-3, 0.3, 0.9}) {
    for (const double rho : {1e-6, 1e-3, 0.1, 0.5, 0.9}) {
      for (const double share : {0.05, 0.4, 0.97}) {
        const LineLaw law{mean, 1.0 - mean, rho / (1.0 - rho)};
        double sum = 0.0, first = 0.0;
        for (int seen = 0; seen <= 4096; ++seen) {
          const double probability = eden::line_probability(4096, seen, law, {share, 1.0 - share});
          sum += probability;
          first += probability * seen;
        }
        CAPTURE(mean, rho, share);
        CHECK(sum == Approx(1.0).epsilon(1e-8));
        CHECK(first == Approx(4096 * mean * share).epsilon(1e-7));
      }
    }
  }
}

TEST_CASE("No spread is the binomial, smoothly") {
  for (const double share : {0.2, 1.0}) {
    const Seen q{share, 1.0 - share};
    const double alike = eden::log_line(5000, 40, {0.01, 0.99, 0.0}, q);
    CHECK(alike == Approx(40 * std::log(0.01 * share) + 4960 * std::log1p(-0.01 * share)));
    CHECK(eden::log_line(5000, 40, {0.01, 0.99, 1e-12}, q) == Approx(alike).margin(1e-6));
    CHECK(eden::log_line(5000, 40, {0.01, 0.99, 1e-9}, q) == Approx(alike).margin(1e-3));
  }
}

TEST_CASE("Many lines have the likelihood of their sum, counted and interpolated") {
  for (const int64_t cells : {512, 65536}) {
    std::mt19937_64 random(3);
    std::vector<int64_t> lengths(4000, cells), seen;
    for (size_t i = 0; i < lengths.size(); ++i) {
      std::gamma_distribution<double> first(0.8), second(4.0);
      const double a = first(random), b = second(random);
      seen.push_back(std::binomial_distribution<int64_t>(cells, a / (a + b))(random));
    }
    const auto counts = eden::count_lines(lengths.data(), seen.data(), seen.size());
    const eden::LineLikelihood likelihood(counts);
    CHECK(likelihood.lines() == 4000.0);
    for (const LineLaw& law : {LineLaw{0.1667, 0.8333, 0.2}, LineLaw{0.1, 0.9, 1e-3},
                               LineLaw{0.3, 0.7, 3.0}, LineLaw{0.17, 0.83, 0.0}}) {
      for (const Seen& q : {Seen{1.0, 0.0}, Seen{0.999, 0.001}, Seen{0.5, 0.5}}) {
        double expected = 0.0;
        for (const LineCount& count : counts) {
          expected += count.lines * eden::log_line(count.cells, count.seen, law, q);
        }
        CAPTURE(cells, law.spread, q.share);
        // What intervals feel is a difference of 2; the sums are of some 10^6.
        CHECK(likelihood(law, q) == Approx(expected).epsilon(1e-12).margin(1e-3));
      }
    }
  }
}

TEST_CASE("Lines that cannot be are refused by number") {
  const int64_t cells[] = {8, 8}, seen[] = {3, 9};
  CHECK_THROWS_WITH(eden::count_lines(cells, seen, 2),
                    Catch::Contains("line 1 has 9 of 8 cells seen"));
}

TEST_CASE("Failures of seen cells tell F; all or one of their reads are its bounds") {
  // Of 4 reads, cells seen: the mean number of failures at F = 0.5 is 2 / (1 - 1/16).
  const double seen = 15e6;
  CHECK(eden::likeliest_failure({{4, seen, seen * 2.0 / (1.0 - 1.0 / 16)}}) ==
        Approx(0.5).epsilon(1e-6));
  CHECK(eden::likeliest_failure({{4, 10.0, 40.0}}) == 1.0);
  CHECK(eden::likeliest_failure({{4, 10.0, 10.0}}) == 0.0);
  double sum = 0.0;
  for (const double p : eden::failure_probabilities(0.05, 7)) sum += p;
  CHECK(sum == Approx(1.0));
}

TEST_CASE("A quadratic log-likelihood has its maximum, covariance and intervals") {
  // Correlation 0.8, deviations 1e-3 and 2.
  const double a = 1e-3, b = 2.0, r = 0.8;
  const eden::LogLikelihood function = [&](const std::vector<double>& x) {
    const double u = (x[0] - 0.3) / a, v = (x[1] + 1.0) / b;
    return -0.5 / (1 - r * r) * (u * u - 2 * r * u * v + v * v);
  };
  const eden::Box box{{-5.0, -20.0}, {5.0, 20.0}};
  eden::BoxMaximum maximum = eden::maximize_in_box(function, box, {0.0, 3.0}, {0.1, 0.1});
  CHECK(maximum.place[0] == Approx(0.3).margin(1e-6));
  CHECK(maximum.place[1] == Approx(-1.0).margin(1e-3));
  CHECK(maximum.covariance[0] == Approx(a * a).epsilon(1e-3));
  CHECK(maximum.covariance[3] == Approx(b * b).epsilon(1e-3));
  CHECK(maximum.covariance[1] == Approx(r * a * b).epsilon(1e-3));
  const eden::Ends ends = eden::profile_interval(function, box, maximum, 1, 4.0);
  CHECK(ends.low == Approx(-1.0 - 2 * b).epsilon(1e-3));
  CHECK(ends.high == Approx(-1.0 + 2 * b).epsilon(1e-3));
  // An end of the box that the profile does not fall to is the interval's.
  const eden::Box narrow{{-5.0, -2.0}, {5.0, 20.0}};
  maximum = eden::maximize_in_box(function, narrow, {0.0, 3.0}, {0.1, 0.1});
  CHECK(eden::profile_interval(function, narrow, maximum, 1, 4.0).low == -2.0);
}

TEST_CASE("Intervals hold what arrays were drawn from, for Models 0, 1 and 2") {
  for (const Along along : {Along::kNothing, Along::kBitlines, Along::kWordlines}) {
    int covered[4] = {0, 0, 0, 0};
    constexpr int kArrays = 60;
    for (int seed = 0; seed < kArrays; ++seed) {
      const eden::SimulatedArray array{along, 0.02, 0.05, 0.4, 6, 512, 400};
      const auto value =
          counted(eden::simulate_counts(array, static_cast<uint64_t>(seed)), 512, 400);
      const auto fit = eden::fit_model({value}, {along, false}, std::nullopt, kRule, true);
      CHECK(fit.weak[0].identified);
      covered[0] += fit.weak[0].low <= 0.02 && 0.02 <= fit.weak[0].high;
      covered[1] += fit.failure.low <= 0.4 && 0.4 <= fit.failure.high;
      covered[2] += fit.ber[0].low <= 0.008 && 0.008 <= fit.ber[0].high;
      covered[3] +=
          along == Along::kNothing || (fit.dispersion.low <= 0.05 && 0.05 <= fit.dispersion.high);
    }
    // Of 60 intervals of 95% fewer than 51 hold with a probability of 1e-3; there are 11 kinds.
    for (const int count : covered) CHECK(count >= 50);
  }
}

TEST_CASE("Totals tell P F and say that P and F are assumed") {
  eden::ValueCounts value{};
  value.cells = 1e6;
  value.reads = {1, 100.0, 100.0};
  const auto fit = eden::fit_model({value}, {Along::kNothing, false}, std::nullopt, kRule, true);
  CHECK(!fit.failure.identified);
  CHECK(!fit.weak[0].identified);
  CHECK(fit.ber[0].identified);
  CHECK(fit.ber[0].estimate == Approx(1e-4));
  // Twice the fall of a Poisson likelihood of 100 is 3.84 at 81.6 and 120.8.
  CHECK(fit.ber[0].low == Approx(81.63e-6).epsilon(1e-3));
  CHECK(fit.ber[0].high == Approx(120.83e-6).epsilon(1e-3));
  CHECK(fit.parameters == 1);
  const auto given = eden::fit_model({value}, {Along::kNothing, false}, 0.5, kRule, true);
  CHECK(given.weak[0].estimate == Approx(2e-4));
  CHECK(given.ber[0].low == Approx(fit.ber[0].low).epsilon(1e-4));
}

TEST_CASE("Bounds are one-sided: no cell seen, every read failed, lines alike") {
  eden::ValueCounts value{};
  value.cells = 1e6;
  value.reads = {1, 0.0, 0.0};
  const auto none = eden::fit_model({value}, {Along::kNothing, false}, std::nullopt, kRule, true);
  CHECK(none.ber[0].estimate == 0.0);
  CHECK(none.ber[0].low == 0.0);
  CHECK(none.ber[0].high == Approx(-std::log(0.05) * 1e-6).epsilon(1e-3));
  CHECK(none.ber[0].bound == eden::Bound::kLow);

  // Where the spread is not known either, lines may fail as a whole: 0.05 = (1 - P)^100.
  value.bitlines = {{1e4, 0.0, 100.0}};
  const auto lines = eden::fit_model({value}, {Along::kBitlines, false}, std::nullopt, kRule, true);
  CHECK(lines.ber[0].high == Approx(1.0 - std::pow(0.05, 0.01)).epsilon(1e-3));
  CHECK(!lines.dispersion.identified);

  value.reads = {3, 50.0, 150.0};
  const auto all = eden::fit_model({value}, {Along::kNothing, false}, std::nullopt, kRule, true);
  CHECK(all.failure.estimate == 1.0);
  CHECK(all.failure.high == 1.0);
  CHECK(
      50 * (3 * std::log(all.failure.low) - std::log(eden::seen_share(all.failure.low, 3).share)) ==
      Approx(std::log(0.05)).epsilon(1e-4));
  CHECK(all.failure.bound == eden::Bound::kHigh);

  // One failure in each of 64 lines: less than chance makes differ.
  value.reads = {1, 64.0, 64.0};
  value.cells = 64 * 1000.0;
  value.bitlines = {{1000.0, 1.0, 64.0}};
  const auto alike = eden::fit_model({value}, {Along::kBitlines, false}, std::nullopt, kRule, true);
  CHECK(alike.dispersion.estimate == 0.0);
  CHECK(alike.dispersion.low == 0.0);
  CHECK(alike.dispersion.high > 0.0);
  CHECK(alike.dispersion.high < 1e-2);
  CHECK(alike.dispersion.bound == eden::Bound::kLow);
}

TEST_CASE("A rate for each value with one F") {
  eden::ValueCounts zero{}, one{};
  zero.cells = one.cells = 1e6;
  zero.reads = {2, 750.0, 1000.0};  // F = 0.5: a seen cell fails 4/3 times
  one.reads = {2, 7500.0, 10000.0};
  const auto fit = eden::fit_model({zero, one}, {Along::kNothing, true}, std::nullopt, kRule, true);
  CHECK(fit.failure.estimate == Approx(0.5).epsilon(1e-4));
  CHECK(fit.weak[0].estimate == Approx(1e-3).epsilon(1e-4));
  CHECK(fit.weak[1].estimate == Approx(1e-2).epsilon(1e-4));
  CHECK(fit.parameters == 3);
  CHECK(fit.observations == 2000000);
  const auto same =
      eden::fit_model({zero, one}, {Along::kNothing, false}, std::nullopt, kRule, true);
  CHECK(same.log_likelihood < fit.log_likelihood - 1000);
}

TEST_CASE("Counts that contradict each other are refused") {
  eden::ValueCounts value{};
  value.cells = 100.0;
  value.reads = {2, 10.0, 30.0};
  const auto fit = [&](Along along) {
    return eden::fit_model({value}, {along, false}, std::nullopt, kRule, true);
  };
  CHECK_THROWS_WITH(fit(Along::kNothing), Catch::Contains("30.000000 failures of 10.000000"));
  value.reads = {2, 10.0, 15.0};
  CHECK_THROWS_WITH(fit(Along::kBitlines), Catch::Contains("no counts along bitlines"));
  value.wordlines = {{50.0, 4.0, 2.0}};
  CHECK_THROWS_WITH(fit(Along::kWordlines),
                    Catch::Contains("its wordlines hold 8.000000 of 100.000000"));
}

TEST_CASE("p of a fit that is true is uniform, and small for one that is not") {
  for (const Along along : {Along::kNothing, Along::kBitlines}) {
    int below_half = 0, below_tenth = 0;
    constexpr int kArrays = 100;
    for (int seed = 0; seed < kArrays; ++seed) {
      const eden::SimulatedArray array{along, 0.02, 0.02, 1.0, 1, 256, 600};
      const auto value =
          counted(eden::simulate_counts(array, static_cast<uint64_t>(seed)), 256, 600);
      const auto fit = eden::fit_model({value}, {along, false}, std::nullopt, kRule, false);
      const auto test = eden::lines_goodness({value}, {along, false}, Along::kBitlines, fit, 39, 1);
      REQUIRE(test.bins.size() > 3);
      below_half += test.p_value <= 0.5;
      below_tenth += test.p_value <= 0.1;
      double expected = 0.0, observed = 0.0;
      for (const auto& bin : test.bins) expected += bin.expected, observed += bin.observed;
      CHECK(expected == Approx(600.0));
      CHECK(observed == 600.0);
    }
    // Binomial of 100 at 1/2 and at 1/10: outside of these with a probability of 1e-3 each.
    CHECK(below_half >= 34);
    CHECK(below_half <= 66);
    CHECK(below_tenth >= 2);
    CHECK(below_tenth <= 21);
  }
  const auto value =
      counted(eden::simulate_counts({Along::kBitlines, 0.02, 0.1, 1.0, 1, 256, 600}, 1), 256, 600);
  const auto fit = eden::fit_model({value}, {Along::kNothing, false}, std::nullopt, kRule, false);
  CHECK(eden::lines_goodness({value}, {Along::kNothing, false}, Along::kBitlines, fit, 99, 1)
            .p_value == 0.01);
}

TEST_CASE("Cells that do not share one F are told from those that do") {
  std::vector<double> same(8), mixed(8);
  const auto half = eden::failure_probabilities(0.5, 8), low = eden::failure_probabilities(0.1, 8),
             high = eden::failure_probabilities(0.9, 8);
  for (size_t k = 0; k < 8; ++k) {
    same[k] = std::round(1000 * half[k]);
    mixed[k] = std::round(500 * (low[k] + high[k]));
  }
  const auto failure_of = [](const std::vector<double>& cells) {
    eden::Reads reads{8, 0.0, 0.0};
    for (size_t k = 0; k < 8; ++k) {
      reads.seen += cells[k];
      reads.failures += static_cast<double>(k + 1) * cells[k];
    }
    return eden::likeliest_failure({reads});
  };
  CHECK(eden::reads_goodness({same}, failure_of(same), true, 99, 1).p_value > 0.5);
  CHECK(eden::reads_goodness({mixed}, failure_of(mixed), true, 99, 1).p_value == 0.01);
}

TEST_CASE("A pattern's rate is compared with that of its zeros and ones") {
  const std::vector<eden::Count> zeros{{1000, 1e7}, {1100, 1e7}, {900, 1e7}, {1050, 1e7}};
  const std::vector<eden::Count> ones{{5000, 1e7}, {5500, 1e7}, {4500, 1e7}, {5100, 1e7}};
  const std::vector<eden::Count> as_predicted{{3000, 1e7}, {3300, 1e7}, {2800, 1e7}};
  const std::vector<eden::Count> other{{9000, 1e7}, {9900, 1e7}, {8400, 1e7}};
  const auto agree = eden::fit_pattern(zeros, ones, as_predicted, 0.5);
  const auto differ = eden::fit_pattern(zeros, ones, other, 0.5);
  const auto ratio = [](const eden::PatternFit& fit) {
    return 2 * (fit.log_likelihood_own - fit.log_likelihood_predicted);
  };
  CHECK(agree.predicted == Approx(3.03e-4).epsilon(0.02));
  CHECK(ratio(agree) >= -1e-3);
  CHECK(ratio(agree) < 1.0);
  CHECK(ratio(differ) > 15.0);
  CHECK(differ.own == Approx(9.1e-4).epsilon(0.02));
}
