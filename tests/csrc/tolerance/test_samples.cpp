// Are the samples that confirm used once and seen by nothing else, and do limits of the
// distribution hold for data that nobody has seen?
#include <cmath>
#include <random>
#include <set>

#include "catch2.h"
#include "statistics.h"
#include "tolerance/samples.h"
#include "tolerance/search.h"

using eden::SamplePlan;
using eden::Search;
using eden::SearchSettings;
using eden::SearchState;
using eden::Trial;

namespace {

constexpr double kBound = 0.05, kConfidence = 0.9;

SearchSettings settings_for(uint64_t seed) {
  SearchSettings settings;
  settings.operands = {{"a", 1000, 0.5}, {"b", 3000, 0.5}};
  settings.max_drop = kBound;
  settings.confidence = kConfidence;
  settings.seed = seed;
  return settings;
}

double uniform(SplitMix64& random) { return std::uniform_real_distribution<double>()(random); }

// An image is lost where the errors, weighed and scaled by the chip, pass its margin. Margins are
// uniform, so that the mean drop over chips and all images that there could be is the errors'
// part of the largest margin.
constexpr double kMargin = 0.02, kSigma = 0.5;

double margin(SplitMix64& random) { return kMargin * uniform(random); }

double errors(const std::vector<double>& rates) { return rates[0] + 0.1 * rates[1]; }

double chip_factor(uint64_t chip) {
  SplitMix64 random(chip);
  return std::exp(kSigma * std::normal_distribution<double>()(random) - 0.5 * kSigma * kSigma);
}

double drop(const std::vector<double>& rates) { return errors(rates) / kMargin; }

struct Shares {
  int done = 0, violated = 0;
};

Shares violations(int runs, int64_t samples, bool of_data, double effort) {
  Shares shares;
  for (int run = 0; run < runs; ++run) {
    SplitMix64 random(static_cast<uint64_t>(run) * 31 + 7);
    std::vector<double> margins(static_cast<size_t>(samples));
    for (double& each : margins) each = margin(random);
    SearchSettings settings = settings_for(static_cast<uint64_t>(run));
    settings.effort = effort;
    const int64_t confirming =
        of_data ? SamplePlan::confirming_batch(settings, samples, 64, "data") : int64_t{0};
    const SamplePlan plan(settings.seed, samples, 64, confirming);
    plan.tell(settings);
    Search search(settings);
    while (const std::optional<Trial> trial = search.next_trial()) {
      const double passed = errors(trial->rates) * chip_factor(trial->chip);
      int lost = 0;
      const std::vector<int64_t> drawn = plan.of(*trial);
      for (const int64_t index : drawn) lost += margins[static_cast<size_t>(index)] < passed;
      search.report(trial->id, lost / static_cast<double>(drawn.size()));
    }
    if (search.state() != SearchState::kDone) continue;
    ++shares.done;
    const bool limits = search.limits_certificate().has_value();
    shares.violated +=
        drop(limits ? search.limits() : std::vector<double>(2, search.coarse())) > kBound ? 1 : 0;
  }
  return shares;
}

}  // namespace

TEST_CASE("Samples that confirm are used once, and decisions see others") {
  const SamplePlan plan(3, 1000, 64, 5);
  CHECK(plan.confirmations() == 133);
  std::set<int64_t> seen, confirmed;
  Trial trial;
  for (uint64_t draw = 0; draw < 200; ++draw) {
    trial.draw_seed = draw;
    trial.confirmation = -1;
    for (const int64_t index : plan.of(trial)) seen.insert(index);
  }
  CHECK(seen.size() == 333);
  const std::vector<int64_t> decided = plan.seen();
  CHECK(std::set<int64_t>(decided.begin(), decided.end()) == seen);
  CHECK(SamplePlan(3, 1000, 64, 0).seen().size() == 1000);
  for (trial.confirmation = 0; trial.confirmation < 133; ++trial.confirmation) {
    for (const int64_t index : plan.of(trial)) {
      CHECK(confirmed.insert(index).second);
      CHECK(seen.count(index) == 0);
    }
  }
  CHECK(confirmed.size() == 665);
  CHECK_THROWS_WITH(plan.of(trial), Catch::Contains("is 133") && Catch::Contains("below 133"));
  CHECK_THROWS_AS(SamplePlan(3, 10, 4, 9), std::invalid_argument);
  CHECK_THROWS_AS(SamplePlan(3, 10, 0, 0), std::invalid_argument);
  // Another seed splits otherwise; of the samples alone all are seen.
  trial = {};
  CHECK(SamplePlan(4, 1000, 64, 5).of(trial) != plan.of(trial));
  CHECK(SamplePlan(3, 1000, 1000, 0).of(trial).size() == 1000);
  CHECK(SamplePlan(3, 1000, 64, 0).confirmations() == 0);
}

TEST_CASE("How many samples a statement of data takes is said beforehand") {
  SearchSettings settings;
  settings.operands = {{"a", 1, 0.5}};
  settings.max_drop = 0.01;
  // 366 observations if no score drops: 3/2 of 2 (3 + 6) and of 2 (3 + 3) times as many.
  const int64_t least = eden::samples_needed(settings, 3.0);
  const int64_t usual = eden::samples_needed(settings, 6.0);
  CHECK(usual == 9882);
  CHECK(least == 6588);
  const auto confirming = [&](int64_t samples, const char* population) {
    return SamplePlan::confirming_batch(settings, samples, 64, population);
  };
  CHECK_THROWS_WITH(confirming(least - 1, "data"),
                    Catch::Contains("with 6,587 samples") && Catch::Contains("are 6,588 or more"));
  CHECK(confirming(least, "data") == 1);
  CHECK(confirming(10 * usual, "data") == 10);
  CHECK(confirming(1000 * usual, "data") == 64);
  // Unasked, data are the population where there are enough for the effort.
  CHECK(confirming(usual - 1, "") == 0);
  CHECK(confirming(usual, "") == 1);
  CHECK(confirming(1000 * usual, "samples") == 0);
  CHECK_THROWS_WITH(confirming(usual, "all"), Catch::Contains("population is 'all'"));
  settings.attempt = 2;
  CHECK(confirming(usual, "") == 0);
  CHECK_THROWS_WITH(confirming(usual, "data"), Catch::Contains("with attempt 2"));
}

TEST_CASE("Limits of data hold for the distribution, those of samples do not") {
  constexpr int kRuns = 300;
  const int64_t needed = eden::samples_needed(settings_for(0), 6.0);
  const Shares data = violations(kRuns, needed, true, 6.0);
  const Shares samples = violations(kRuns, 300, false, 6.0);
  INFO("of data, " << needed << " samples, " << data.violated << " of " << data.done
                   << " violate, of 300 samples " << samples.violated << " of " << samples.done);
  CHECK(data.done >= kRuns * 88 / 100);
  // False alarm below 1e-4 if the true probability is 1 - confidence; fails from 17%.
  CHECK(binomial_tail(kRuns, 1.0 - kConfidence, data.violated) > 1e-4);
  // Three hundred samples do not do for that; limits of them alone miss max_drop on others.
  CHECK(binomial_tail(samples.done, 1.0 - kConfidence, samples.violated) < 1e-2);
}
