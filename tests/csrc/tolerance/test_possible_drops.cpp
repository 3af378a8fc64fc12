// Does the account of chips hold at whatever observation one stops, for chips seen on all samples
// and on few, and does it tell rare ruin from a common loss?
#include <cmath>
#include <random>

#include "catch2.h"
#include "statistics.h"
#include "tolerance/possible_drops.h"

namespace {

double uniform(SplitMix64& random) { return std::uniform_real_distribution<double>()(random); }

// One chip in fifty loses 0.6, the others 0.01.
double chip(SplitMix64& random) { return uniform(random) < 0.02 ? 0.6 : 0.01; }

double seen(double drop, int batch, SplitMix64& random) {
  return std::binomial_distribution<int>(batch, drop)(random) / static_cast<double>(batch);
}

}  // namespace

TEST_CASE("Probabilities of drops hold wherever one stops, for whole chips and for batches") {
  constexpr int kRuns = 1000, kObservations = 1000;
  constexpr double kAlpha = 0.1;
  for (const int batch : {0, 64}) {
    int missed = 0;
    for (int run = 0; run < kRuns; ++run) {
      SplitMix64 random(static_cast<uint64_t>(run));
      std::vector<double> drops;
      bool wrong = false;
      while (drops.size() < kObservations) {
        const double drop = chip(random);
        drops.push_back(batch == 0 ? drop : seen(drop, batch, random));
        if (drops.size() % 100 != 0) continue;
        for (const auto& [above, probability] :
             eden::possible_drops(drops, batch, batch == 0, 0.01, kAlpha)) {
          wrong = wrong || (above < 0.6 && probability < 0.02);
        }
      }
      missed += wrong ? 1 : 0;
    }
    INFO(missed << " of " << kRuns);
    // False alarm below 1e-6 if the true probability is kAlpha.
    CHECK(binomial_tail(kRuns, kAlpha, missed) > 1e-6);
  }
}

TEST_CASE("What is possible is told nearly as well as an exact test would") {
  // Without a drop, ln(2 * 7 / 0.05) / 1000 of each of the seven thresholds; Clopper and Pearson
  // alone would say ln(1 / 0.05) / 1000 of one.
  const auto whole = eden::possible_drops(std::vector<double>(1000, 0.0), 0, true, 0.01, 0.05);
  REQUIRE(whole.size() == 7);
  for (const auto& [drop, probability] : whole) {
    CHECK(probability == Approx(std::log(2.0 * 7.0 / 0.05) / 1000.0).epsilon(0.03));
  }
  // Of 64 samples, a chip that loses 0.3 shows more than 0.044 nine times in ten, one that loses
  // 0.1 may well show nothing.
  const auto batches = eden::possible_drops(std::vector<double>(1000, 0.0), 64, false, 0.01, 0.05);
  REQUIRE(batches.size() == 3);
  CHECK(batches[0].drop == 0.3);
  CHECK(batches[0].probability == Approx(whole[0].probability / 0.9));
  // Thresholds that are no drops above max_drop are not asked for.
  CHECK(eden::possible_drops({0.0}, 0, true, 0.9, 0.05).empty());
}

TEST_CASE("Rare ruin is told from a common loss") {
  std::vector<double> ruin(1000, 0.0), common(1000, 0.008);
  for (int i = 0; i < 10; ++i) ruin[static_cast<size_t>(i) * 100] = 0.8;
  CHECK(eden::worst_share(ruin) == Approx(1.0));
  CHECK(eden::worst_share(common) == Approx(0.01));
  CHECK(eden::worst_share({0.0, 0.0}) == 0.0);
}
