// Do the limits that a search finds hold as often as it promises, without being merely low, on
// networks whose response is known? Does a replayed search ask the same, and does each bad input
// get an error that names it?
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <set>
#include <string>

#include "catch2.h"
#include "core/random_layout.h"
#include "core/search.h"
#include "statistics.h"

using eden::Search;
using eden::SearchPhase;
using eden::SearchSettings;
using eden::SearchState;
using eden::Trial;

namespace {

// A network whose mean drop over chips is known for every rate.
struct Network {
  std::vector<double> sensitivity;  // drop per unit of rate, each operand alone
  double interaction = 0.0;         // drop per unit of the geometric mean of neighbours' rates
  double chip_noise = 0.5;          // a chip's drop is the mean times a log-normal of this sigma
  double catastrophe = 0.0;         // part of the drop that comes as rare chips which lose 0.8
  double dip_low = 0.0, dip_high = 0.0, dip = 1.0;  // rates of operand 0 where its drop is less
  int batch = 128;

  double mean_drop(const std::vector<double>& rates) const {
    double drop = 0.0;
    for (size_t i = 0; i < rates.size(); ++i) {
      const bool in_dip = i == 0 && rates[i] > dip_low && rates[i] < dip_high;
      drop += sensitivity[i] * rates[i] * (in_dip ? dip : 1.0);
      if (i > 0) drop += interaction * std::sqrt(rates[i] * rates[i - 1]);
    }
    return std::min(drop, 0.8);
  }

  // A chip's drop over all samples.
  double chip_drop(const std::vector<double>& rates, uint64_t chip) const {
    SplitMix64 random(chip);
    const double mean = mean_drop(rates);
    const double rare = std::uniform_real_distribution<double>()(random);
    const double factor =
        std::lognormal_distribution<double>(-0.5 * chip_noise * chip_noise, chip_noise)(random);
    const double smooth = std::min(0.9, (1.0 - catastrophe) * mean * factor);
    return rare < catastrophe * mean / 0.8 ? 0.8 : smooth;
  }

  double observe(const Trial& trial) const {
    const double drop = chip_drop(trial.rates, trial.chip);
    SplitMix64 random(trial.draw_seed);
    // Of each sample's score, 2% change either way besides the drop.
    const double deviation = std::sqrt((drop + 0.02) / batch);
    const double noisy = drop + deviation * std::normal_distribution<double>()(random);
    return std::clamp(noisy, -1.0, 1.0);
  }
};

Network ordinary() {
  Network network;
  network.sensitivity = {200.0, 3.0, 1.0, 0.3, 0.1, 20.0};
  network.interaction = 0.5;
  return network;
}

SearchSettings settings_for(const Network& network, uint64_t seed) {
  SearchSettings settings;
  for (size_t i = 0; i < network.sensitivity.size(); ++i) {
    settings.operands.push_back({"layer" + std::to_string(i), static_cast<int64_t>(1000 + i), 0.5});
  }
  settings.seed = seed;
  return settings;
}

void run(Search& search, const Network& network) {
  while (const std::optional<Trial> trial = search.next_trial()) {
    search.report(trial->id, network.observe(*trial));
  }
}

struct Outcome {
  int violated = 0, coarse_violated = 0, done = 0;
  int64_t back_offs = 0, trials = 0;
};

Outcome search_many(const Network& network, int searches,
                    const std::function<void(SearchSettings&)>& change,
                    const std::function<bool(const std::vector<double>&)>& violates) {
  Outcome outcome;
  for (int run_index = 0; run_index < searches; ++run_index) {
    SearchSettings settings = settings_for(network, static_cast<uint64_t>(run_index));
    change(settings);
    Search search(settings);
    run(search, network);
    if (search.state() != SearchState::kDone) continue;
    ++outcome.done;
    outcome.trials += static_cast<int64_t>(search.history().size());
    outcome.back_offs +=
        search.coarse_certificate()->back_offs + search.limits_certificate()->back_offs;
    outcome.violated += violates(search.limits()) ? 1 : 0;
    outcome.coarse_violated +=
        violates(std::vector<double>(settings.operands.size(), search.coarse())) ? 1 : 0;
  }
  return outcome;
}

}  // namespace

TEST_CASE("Limits violate max_drop no more often than 1 - confidence, and are not merely low") {
  Network catastrophic = ordinary();
  catastrophic.catastrophe = 0.9;
  Network dipping = ordinary();
  dipping.dip_low = 1e-4, dipping.dip_high = 2e-4, dipping.dip = 0.02;
  Network loud = ordinary();
  loud.chip_noise = 1.5;
  struct Case {
    const char* name;
    Network network;
    double factor;  // limits times this violate
  };
  const Case cases[] = {{"ordinary", ordinary(), 6.0},
                        {"catastrophic", catastrophic, 12.0},
                        {"dipping", dipping, 12.0},
                        {"loud", loud, 8.0}};
  constexpr int kSearches = 200;
  constexpr double kMaxDrop = 0.02, kConfidence = 0.9;
  for (const Case& each : cases) {
    const Network& net = each.network;
    const auto violates = [&net](const std::vector<double>& rates) {
      return net.mean_drop(rates) > kMaxDrop;
    };
    const Outcome outcome = search_many(
        net, kSearches,
        [](SearchSettings& settings) {
          settings.max_drop = kMaxDrop;
          settings.confidence = kConfidence;
        },
        violates);
    INFO(each.name << ": " << outcome.violated << " limits and " << outcome.coarse_violated
                   << " coarse rates violate in " << outcome.done << " searches, "
                   << outcome.trials / kSearches << " trials and "
                   << static_cast<double>(outcome.back_offs) / kSearches << " back-offs each");
    CHECK(outcome.done == kSearches);
    // False alarm of each below 1e-6 if the true probability is 1 - confidence.
    CHECK(binomial_tail(kSearches, 1.0 - kConfidence, outcome.violated) > 1e-6);
    CHECK(binomial_tail(kSearches, 1.0 - kConfidence, outcome.coarse_violated) > 1e-6);
    CHECK(outcome.trials / kSearches < 2500);

    // Power: with all limits raised together, most of the limits found do violate.
    const Outcome raised = search_many(
        net, kSearches,
        [](SearchSettings& settings) {
          settings.max_drop = kMaxDrop;
          settings.confidence = kConfidence;
        },
        [&](std::vector<double> rates) {
          for (double& rate : rates) rate *= each.factor;
          return violates(rates);
        });
    INFO(raised.violated << " limits and " << raised.coarse_violated << " coarse rates times "
                         << each.factor);
    CHECK(raised.violated > kSearches * 9 / 10);
    CHECK(raised.coarse_violated > kSearches * 8 / 10);
  }
}

TEST_CASE("A search that steers past max_drop is held by its confirmations, back-offs included") {
  Network network = ordinary();
  network.catastrophe = 0.5;
  constexpr int kSearches = 300;
  constexpr double kMaxDrop = 0.05, kConfidence = 0.8;
  const Outcome outcome = search_many(
      network, kSearches,
      [](SearchSettings& settings) {
        settings.max_drop = kMaxDrop;
        settings.confidence = kConfidence;
        settings.coarse_aim = settings.joint_aim = 1.1;
      },
      [&network](const std::vector<double>& rates) { return network.mean_drop(rates) > kMaxDrop; });
  INFO(outcome.violated << " and " << outcome.coarse_violated << " violate of " << outcome.done
                        << "; back-offs " << outcome.back_offs);
  CHECK(outcome.done == kSearches);
  CHECK(outcome.back_offs > kSearches);
  // False alarm of each below 1e-6 if the true probability is 1 - confidence.
  CHECK(binomial_tail(kSearches, 1.0 - kConfidence, outcome.violated) > 1e-6);
  CHECK(binomial_tail(kSearches, 1.0 - kConfidence, outcome.coarse_violated) > 1e-6);
}

TEST_CASE("A quantile guarantee holds for the fraction of chips that it names") {
  Network network = ordinary();
  network.batch = 20000;  // as if each chip were measured on all samples
  constexpr int kSearches = 100;
  constexpr double kMaxDrop = 0.03, kConfidence = 0.9, kQuantile = 0.9;
  const auto violating_chips = [&network](const std::vector<double>& rates) {
    int above = 0;
    for (uint64_t chip = 0; chip < 4000; ++chip) {
      above += network.chip_drop(rates, chip * 7919 + 13) > kMaxDrop ? 1 : 0;
    }
    return above / 4000.0;
  };
  const auto violates = [&](const std::vector<double>& rates) {
    return violating_chips(rates) > 1.0 - kQuantile;
  };
  const auto change = [](SearchSettings& settings) {
    settings.max_drop = kMaxDrop;
    settings.confidence = kConfidence;
    settings.quantile = kQuantile;
  };
  const Outcome outcome = search_many(network, kSearches, change, violates);
  CHECK(outcome.done == kSearches);
  // False alarm below 1e-6 if the true probability is 1 - confidence.
  CHECK(binomial_tail(kSearches, 1.0 - kConfidence, outcome.violated) > 1e-6);
  const Outcome raised =
      search_many(network, kSearches, change, [&violates](std::vector<double> rates) {
        for (double& rate : rates) rate *= 4.0;
        return violates(rates);
      });
  CHECK(raised.violated > kSearches * 9 / 10);
}

TEST_CASE("Operands are raised by what they tolerate") {
  const Network network = ordinary();
  Search search(settings_for(network, 3));
  run(search, network);
  REQUIRE(search.state() == SearchState::kDone);
  const std::vector<double>& limits = search.limits();
  for (const double limit : limits) CHECK(limit >= search.coarse());
  CHECK(limits[0] < 4.0 * search.coarse());   // the sensitive one
  CHECK(limits[4] > 10.0 * search.coarse());  // 2,000 times less sensitive
  CHECK(search.limits_certificate()->upper_bound <= 0.01);
  CHECK(search.limits_certificate()->total_alpha < 0.05);
}

TEST_CASE("A network like ResNet-20 with 40 operands takes a few thousand observations") {
  Network network;
  SplitMix64 random(5);
  for (int i = 0; i < 40; ++i) {
    network.sensitivity.push_back(
        std::pow(10.0, std::uniform_real_distribution<double>(-1, 2)(random)));
  }
  for (const uint64_t seed : {0u, 1u, 2u}) {
    Search search(settings_for(network, seed));
    const int64_t expected = search.expected_trials();
    run(search, network);
    REQUIRE(search.state() == SearchState::kDone);
    const auto trials = static_cast<int64_t>(search.history().size());
    INFO(trials << " observations, " << expected << " expected");
    CHECK(trials < 4500);
    CHECK(expected > trials / 2);
    CHECK(expected < trials * 2);
    CHECK(search.expected_trials() == trials);
  }
}

TEST_CASE("Confirmations use chips that no other trial uses") {
  const Network network = ordinary();
  Search search(settings_for(network, 5));
  std::set<uint64_t> chips, confirmed;
  uint64_t index = 0;
  while (const std::optional<Trial> trial = search.next_trial()) {
    CHECK(chips.insert(trial->chip).second);
    if (trial->phase == SearchPhase::kConfirmation ||
        trial->phase == SearchPhase::kCoarseConfirmation) {
      CHECK(trial->chip == eden::derive_chip(5, eden::ChipPurpose::kConfirmation, index++));
    }
    search.report(trial->id, network.observe(*trial));
  }
  CHECK(index >= static_cast<uint64_t>(search.coarse_certificate()->chips +
                                       search.limits_certificate()->chips));
}

TEST_CASE("A search replayed at any point asks the same and ends the same") {
  const Network network = ordinary();
  Search whole(settings_for(network, 9));
  run(whole, network);
  for (const size_t cut : {size_t{0}, size_t{1}, size_t{57}, size_t{700}, whole.history().size()}) {
    Search search(settings_for(network, 9));
    search.replay({whole.history().begin(), whole.history().begin() + static_cast<long>(cut)});
    while (const std::optional<Trial> trial = search.next_trial()) {
      const std::optional<Trial> again = search.next_trial();
      REQUIRE(again->id == trial->id);
      REQUIRE(again->chip == trial->chip);
      search.report(trial->id, network.observe(*trial));
    }
    CHECK(search.state() == whole.state());
    CHECK(search.coarse() == whole.coarse());
    CHECK(search.limits() == whole.limits());
    CHECK(search.history().size() == whole.history().size());
    CHECK(search.limits_certificate()->upper_bound == whole.limits_certificate()->upper_bound);
  }
}

TEST_CASE("A search that gave up goes on from its history with more trials") {
  const Network network = ordinary();
  Search whole(settings_for(network, 2));
  run(whole, network);
  SearchSettings settings = settings_for(network, 2);
  settings.max_trials = 800;
  Search first(settings);
  run(first, network);
  CHECK(first.state() == SearchState::kFailed);
  CHECK(first.message().find("max_trials (800)") != std::string::npos);
  Search second(settings_for(network, 2));
  second.replay(first.history());
  run(second, network);
  CHECK(second.limits() == whole.limits());
}

TEST_CASE("An unreachable target is said to be so, with what was seen") {
  Network network;
  network.sensitivity = {1e9, 1e9};
  Search search(settings_for(network, 1));
  run(search, network);
  CHECK(search.state() == SearchState::kUnreachable);
  CHECK(search.message().find("1e-09") != std::string::npos);
  CHECK_FALSE(search.coarse_certificate().has_value());
}

TEST_CASE("A network that tolerates everything gets the ceiling of each operand") {
  Network network;
  network.sensitivity = {0.0, 0.0};
  SearchSettings settings = settings_for(network, 1);
  settings.operands[1].ceiling = 0.125;
  Search search(settings);
  run(search, network);
  REQUIRE(search.state() == SearchState::kDone);
  CHECK(search.coarse() == 0.125);
  CHECK(search.limits() == std::vector<double>{0.5, 0.125});
}

TEST_CASE("A coarse search ends at the coarse rate") {
  const Network network = ordinary();
  SearchSettings settings = settings_for(network, 4);
  settings.coarse_only = true;
  Search search(settings);
  run(search, network);
  CHECK(search.state() == SearchState::kDone);
  CHECK(search.limits().empty());
  CHECK(search.coarse_certificate()->mean_drop <= 0.01);
}

TEST_CASE("A bad report names its trial, and changes nothing") {
  const Network network = ordinary();
  Search search(settings_for(network, 1));
  for (const double bad : {std::nan(""), static_cast<double>(INFINITY), -1.01, 1.01}) {
    try {
      search.report(0, bad);
      FAIL("accepted " << bad);
    } catch (const std::invalid_argument& error) {
      CHECK(std::string(error.what()).find("trial 0") == 0);
      CHECK(std::string(error.what()).find("-1 to 1") != std::string::npos);
    }
  }
  CHECK_THROWS_WITH(search.report(5, 0.0), "trial 5 is not the one asked for; allowed is trial 0");
  CHECK(search.history().empty());
  run(search, network);
  CHECK_THROWS_AS(search.report(static_cast<int64_t>(search.history().size()), 0.0),
                  std::invalid_argument);
}

TEST_CASE("A bad setting is named with what is allowed") {
  const Network network = ordinary();
  const auto message = [&network](const std::function<void(SearchSettings&)>& change) {
    SearchSettings settings = settings_for(network, 0);
    change(settings);
    try {
      Search search(settings);
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double bad : {0.0, 1.0, -1.0, nan}) {
    CHECK(message([bad](SearchSettings& s) { s.max_drop = bad; }).find("max_drop is") == 0);
    CHECK(message([bad](SearchSettings& s) { s.confidence = bad; }).find("confidence is") == 0);
  }
  CHECK(message([](SearchSettings& s) { s.quantile = 1.0; }).find("quantile is 1") == 0);
  CHECK(message([](SearchSettings& s) { s.operands.clear(); }).find("operands is empty") == 0);
  CHECK(message([](SearchSettings& s) { s.operands[2].ceiling = 1e-10; }).find("'layer2'") !=
        std::string::npos);
  CHECK(message([](SearchSettings& s) { s.floor = 0.0; }).find("floor is 0") == 0);
  // ln(1 / (0.05 * 6 / pi^2)) / ln(1 + 0.95 * 0.01 / 0.99) = 365.7, and as many for the limits.
  CHECK(message([](SearchSettings& s) { s.max_trials = 100; }).find("at least 732") !=
        std::string::npos);
  CHECK(message([](SearchSettings& s) {
          s.max_trials = 100;
          s.coarse_only = true;
        }).find("at least 366") != std::string::npos);
}

TEST_CASE("Samples are drawn without replacement, evenly, and the same each time") {
  std::vector<int> hits(10, 0);
  constexpr int kDraws = 20000;
  for (uint64_t seed = 0; seed < kDraws; ++seed) {
    const std::vector<int64_t> drawn = eden::draw_samples(seed, 10, 3);
    REQUIRE(std::set<int64_t>(drawn.begin(), drawn.end()).size() == 3);
    for (const int64_t index : drawn) ++hits[static_cast<size_t>(index)];
  }
  // Each index is drawn with probability 0.3; 5 standard deviations, false alarm below 1e-5 in all.
  for (const int hit : hits) CHECK(std::abs(hit - 0.3 * kDraws) < 5.0 * std::sqrt(0.21 * kDraws));
  CHECK(eden::draw_samples(4, 1000000, 5) == eden::draw_samples(4, 1000000, 5));
  const std::vector<int64_t> all = eden::draw_samples(4, 7, 7);
  CHECK(std::set<int64_t>(all.begin(), all.end()).size() == 7);
  CHECK_THROWS_AS(eden::draw_samples(0, 3, 4), std::invalid_argument);
  CHECK_THROWS_AS(eden::draw_samples(0, 0, 1), std::invalid_argument);
}
