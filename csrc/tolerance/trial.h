// What a search asks, what it is told and what it finds.
#pragma once

#include <cstdint>
#include <vector>

namespace eden {

enum class SearchPhase { kCoarse, kCoarseConfirmation, kOperand, kJoint, kConfirmation };
enum class SearchState {
  kRunning,
  kDone,
  kUnreachable,  // not even the floor could be confirmed
  kFailed,       // max_trials reports, or the budget, were not enough
};

const char* to_string(SearchPhase phase);
const char* to_string(SearchState state);

// One observation to be made: with every operand at its rate, on this chip, the mean of
// (clean score - faulty score) over the samples that draw_samples(draw_seed, ...) names.
struct Trial {
  int64_t id = 0;
  SearchPhase phase = SearchPhase::kCoarse;
  int operand = -1;           // whose rate is being raised, in phase kOperand
  std::vector<double> rates;  // per operand, in the order of the settings
  uint64_t chip = 0;
  uint64_t draw_seed = 0;
  int64_t confirmation = -1;  // of a confirmation: its number among all of theirs
};

struct Report {
  int64_t id = 0;
  double difference = 0.0;
};

// What was confirmed, and on what evidence.
// The observations are those of the chips derive_chip(seed, ChipPurpose::kConfirmation, k), of a
// verification kVerification, for `chips` values of k from first_chip on, in the trials from
// first_trial on.
struct Certificate {
  double alpha = 0.0;        // error probability of the attempt that succeeded
  double total_alpha = 0.0;  // of all attempts together
  int64_t back_offs = 0;     // attempts that failed
  int64_t chips = 0;         // each with one observation
  int64_t first_chip = 0;
  int64_t first_trial = 0;
  double mean_drop = 0.0;
  double violating = 0.0;  // fraction of the observations above max_drop
  // Confidence bound (of level alpha) on the mean drop, or, for a quantile, on the fraction of
  // chips above max_drop.
  double upper_bound = 0.0;
  double worst = 0.0;        // largest drop of an observation
  double worst_share = 0.0;  // possible_drops.h
};

// An operand alone, the others on nearly reliable memory: the rate at which its mean drop is
// expected to be max_drop, with an interval of about 90%. A rate at the operand's ceiling says that
// it is this or more.
struct OperandResponse {
  double rate = 0.0;
  double low = 0.0;
  double high = 0.0;
  double slope = 1.0;  // the drop goes with this power of the rate
  int64_t observations = 0;
};

// `count` different sample indices below `population`, in random order, every subset and order
// equally likely (to one part in 2^32 of a population of 2^32), by a partial Fisher-Yates shuffle.
// Throws std::invalid_argument unless 1 <= count <= population.
std::vector<int64_t> draw_samples(uint64_t draw_seed, int64_t population, int64_t count);

}  // namespace eden
