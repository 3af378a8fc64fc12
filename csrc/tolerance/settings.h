// What a search is asked for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace eden {

struct SearchOperand {
  std::string name;
  int64_t bytes = 0;
  double ceiling = 0.5;  // the highest rate that its error model reaches
  // What a factor in its rate is worth beside one in another's; the bytes where it is below 0.
  double weight = -1.0;
};

// Indices of their chips, and so the numbers that files have of them, stay below 2^53.
inline constexpr int64_t kMostAttempts = int64_t{1} << 13;

enum class SearchStrategy { kShares, kSweep };

const char* to_string(SearchStrategy strategy);

struct SearchSettings {
  std::vector<SearchOperand> operands;
  double max_drop = 0.01;
  double confidence = 0.95;
  // 0: the mean drop over chips is at most max_drop; q: so is the drop of a fraction q of the
  // chips.
  double quantile = 0.0;
  double floor = 1e-9;
  bool coarse_only = false;
  uint64_t seed = 0;
  // Which search of this seed it is, from 1 to kMostAttempts. Each draws chips and samples of its
  // own, for one that what another has found led to.
  int64_t attempt = 1;
  bool verifies = false;  // a network as it is placed: on chips that no search of this seed sees
  // Reports after which the search gives up. What is asked does not depend on it, so a search that
  // gave up goes on from its history with a larger one. 0: usual_trials.
  int64_t max_trials = 0;
  SearchStrategy strategy = SearchStrategy::kShares;
  // Observations that a confirmation is meant to take, in multiples of those that it takes if no
  // score drops. The more, the nearer to max_drop the rates that are confirmed.
  double effort = 6.0;
  // Part of max_drop (of 1 - quantile) that the search steers to; 0 for the one that a confirmation
  // of this effort is expected to reach, given how the observations spread.
  double aim = 0.0;
  // Where confirmations are about the distribution of the samples (samples.h): observations that
  // all of them may have together, 0 where they are about the samples; samples of each, samples of
  // other observations, and samples that those are drawn from.
  int64_t confirmations = 0, confirming = 0, batch = 0, seen = 0;
  double sweep_coarse_octaves = 0.25;  // grid of the common rate in a sweep
  double sweep_octaves = 0.5;          // step of one operand's rate in a sweep

  // Throws std::invalid_argument naming the setting, what was found and what is allowed.
  void check() const;

  double bound() const;    // what the confirmed mean of the observations must be below
  double ceiling() const;  // the highest rate that all operands reach
  double weight(size_t operand) const;
  double total_weight() const;
  std::vector<size_t> by_weight() const;  // operands, the weightiest first

  // Error probability that the k-th attempt at a confirmation spends, from 1 on; of a verification
  // the attempts of the seed count on.
  double attempt_alpha(int64_t confirmation) const;
  // Observations that it takes at that attempt if no sample's score drops.
  int64_t least_confirmation(int64_t attempt = 1) const;

  // Of a sweep: the most steps that there can be, the error probability and the observations of
  // each one.
  int64_t sweep_steps() const;
  double sweep_alpha() const;
  int64_t sweep_observations() const;

  // Reports that a search of these settings rarely needs more of; all that a sweep can take.
  int64_t usual_trials() const;
};

}  // namespace eden
