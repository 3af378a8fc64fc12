// Does the test that may be looked at any time keep its error probability at the boundary of its
// hypothesis, whatever the distribution, and does it end within the observations it should need?
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <stdexcept>

#include "catch2.h"
#include "statistics.h"
#include "tolerance/betting.h"

using eden::BettingTest;

namespace {

using Draw = std::function<double(SplitMix64&)>;

Draw two_point(double low, double high, double probability_of_high) {
  return [=](SplitMix64& random) {
    return std::uniform_real_distribution<double>()(random) < probability_of_high ? high : low;
  };
}

// Mean of 100 samples whose score changes with probability `change`, a part of them to the better.
Draw batch(double mean) {
  return [=](SplitMix64& random) {
    const int worse = std::binomial_distribution<int>(100, mean + 0.02)(random);
    const int better = std::binomial_distribution<int>(100, 0.02)(random);
    return (worse - better) / 100.0;
  };
}

}  // namespace

TEST_CASE("A betting test at its boundary rejects no more often than alpha") {
  constexpr int kRuns = 2000, kObservations = 1500;
  constexpr double kBound = 0.05, kAlpha = 0.1;
  const std::pair<const char*, Draw> cases[] = {
      {"indicator", two_point(0.0, 1.0, kBound)},
      {"rare catastrophe", two_point(-0.01, 0.8, 0.06 / 0.81)},
      {"wide", two_point(-1.0, 1.0, (1.0 + kBound) / 2.0)},
      {"batches", batch(kBound)},
  };
  for (const auto& [name, draw] : cases) {
    SplitMix64 random(7);
    int rejections = 0;
    for (int run = 0; run < kRuns; ++run) {
      BettingTest test(kBound, kAlpha);
      for (int i = 0; i < kObservations && !test.rejected(); ++i) test.add(draw(random));
      rejections += test.rejected() ? 1 : 0;
    }
    INFO(name << ": " << rejections << " of " << kRuns);
    // False alarm of each case below 1e-6 if the true probability is alpha.
    CHECK(binomial_tail(kRuns, kAlpha, rejections) > 1e-6);
  }
}

TEST_CASE("Capital and bound are those that another implementation computes") {
  // By capital() of tests/tolerance/test_betting.py, which is written from the paper.
  const auto after = [](double alpha, int rounds) {
    BettingTest test(0.05, alpha);
    for (int round = 0; round < rounds; ++round) {
      for (const double y : {0.02, -0.01, 0.0, 0.03, -0.02, 0.01, 0.0, -0.03, 0.02, 0.0}) {
        test.add(y);
      }
    }
    if (rounds > 1) test.add(0.4);
    return test;
  };
  CHECK(after(0.2, 1).log_capital() == Approx(0.4674000351747647).epsilon(1e-12));
  CHECK(after(0.2, 6).log_capital() == Approx(2.3736172949561354).epsilon(1e-12));
  // The most that the capital ever was counts, here that before the last observation.
  CHECK(after(0.2, 6).upper_bound() == Approx(0.029340450100671864).epsilon(1e-9));
  // Observations that vary so much that no bet is the largest one.
  BettingTest wide(0.3, 0.001);
  for (int round = 0; round < 3; ++round) {
    for (const double y : {0.9, -0.5, 0.1, 0.0, 0.6, -0.8, 0.2, 0.0, -0.3, 0.1}) wide.add(y);
  }
  CHECK(wide.log_capital() == Approx(3.3588638061197424).epsilon(1e-12));
  const double nearly = after(0.061, 6).upper_bound();
  CHECK(nearly > 0.0498);
  CHECK(nearly <= 0.05);
}

TEST_CASE("A betting test certifies 0.01 within a few hundred observations of mean 0.003") {
  SplitMix64 random(11);
  int64_t most = 0, total = 0;
  for (int run = 0; run < 200; ++run) {
    BettingTest test(0.01, 0.05);
    while (!test.rejected() && test.count() < 5000) test.add(batch(0.003)(random));
    most = std::max(most, test.count());
    total += test.count();
    CHECK(test.upper_bound() <= 0.01);
    CHECK(test.upper_bound() > 0.003);
  }
  CHECK(most <= 900);
  CHECK(total / 200 <= 500);
  CHECK(most > BettingTest::least_count(0.01, 0.05));
}

TEST_CASE("Observations of zero take exactly the least count, about ln(1 / alpha) / bound") {
  for (const double bound : {0.001, 0.01, 0.1, 0.5}) {
    BettingTest test(bound, 0.05);
    while (!test.rejected()) test.add(0.0);
    CHECK(test.count() == BettingTest::least_count(bound, 0.05));
  }
  CHECK(BettingTest::least_count(0.01, 0.05) == Approx(std::log(20.0) / 0.01).epsilon(0.06));
}

TEST_CASE("The upper bound is anytime-valid") {
  SplitMix64 random(13);
  constexpr double kMean = 0.02;
  int misses = 0;
  for (int run = 0; run < 500; ++run) {
    BettingTest test(0.05, 0.1);
    bool missed = false;
    for (int i = 1; i <= 600; ++i) {
      test.add(two_point(0.0, 0.4, kMean / 0.4)(random));
      if (i % 50 == 0) missed = missed || test.upper_bound() < kMean;
    }
    misses += missed ? 1 : 0;
  }
  CHECK(binomial_tail(500, 0.1, misses) > 1e-6);  // false alarm below 1e-6
  CHECK(BettingTest(0.05, 0.1).upper_bound() == 1.0);
}

TEST_CASE("A betting test gives up on what it cannot show, and not on what it can") {
  SplitMix64 random(17);
  BettingTest hopeless(0.01, 0.05);
  for (int i = 0; i < 40; ++i) hopeless.add(batch(0.05)(random));
  CHECK(hopeless.futile(1200));
  BettingTest fine(0.01, 0.05);
  for (int i = 0; i < 40; ++i) fine.add(batch(0.001)(random));
  CHECK_FALSE(fine.futile(1200));
  CHECK(fine.futile(41));
}

TEST_CASE("A betting test refuses what it is not made for") {
  for (const double bad : {0.0, 1.0, -0.1, std::nan("")}) {
    CHECK_THROWS_AS(BettingTest(bad, 0.05), std::invalid_argument);
    CHECK_THROWS_AS(BettingTest(0.05, bad), std::invalid_argument);
  }
  BettingTest test(0.05, 0.05);
  for (const double bad : {1.01, std::nan(""), -std::numeric_limits<double>::infinity()}) {
    CHECK_THROWS_AS(test.add(bad), std::invalid_argument);
  }
}
