// The search for the bit error rates that a network tolerates, as ask and tell: it names a trial
// (rates, a chip, a draw of samples) and is told the drop in score that was observed. It knows no
// network, so it is tested without one, driven from Python or from C++, and replayed from the
// reports it was given.
//
// It goes coarse -> coarse confirmation -> operands -> joint -> confirmation:
//   coarse        bisection on a logarithmic scale of one rate common to all operands
//   operand       each operand's own bisection upward, the others held at the coarse rate
//   joint         bisection on the factor by which all raised rates are lowered together, so that
//                 what operands do to one another counts
//   confirmation  a betting test on chips that no decision before it has seen; where it fails,
//   rates
//                 are lowered and it starts again on new chips
// The decisions before a confirmation steer only: they stop by a confidence sequence that is valid
// at any time asymptotically. The confirmations alone carry the statement. The k-th attempt at one
// spends 6 / (pi^2 k^2) of 1 - confidence, so that all attempts together spend no more than that.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/betting.h"

namespace eden {

struct SearchOperand {
  std::string name;
  int64_t bytes = 0;
  double ceiling = 0.5;  // the highest rate that its error model reaches
};

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
  // Reports after which the search gives up. What is asked does not depend on it, so a search that
  // gave up goes on from its history with a larger one.
  int64_t max_trials = 20000;
  double coarse_octaves = 0.25;  // grid of the common rate, and of the joint factor
  double operand_octaves = 0.5;  // grid of one operand's rate
  // Part of max_drop (of 1 - quantile) that the search steers to. The closer to 1, the higher the
  // limits and the more observations a confirmation takes.
  double coarse_aim = 0.35;
  double joint_aim = 0.55;
};

enum class SearchPhase { kCoarse, kCoarseConfirmation, kOperand, kJoint, kConfirmation };
enum class SearchState {
  kRunning,
  kDone,
  kUnreachable,  // not even the floor could be confirmed
  kFailed,       // max_trials reports were not enough
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
};

struct Report {
  int64_t id = 0;
  double difference = 0.0;
};

// What was confirmed, and on what evidence.
struct Certificate {
  double alpha = 0.0;        // error probability of the attempt that succeeded
  double total_alpha = 0.0;  // of all attempts together
  int64_t back_offs = 0;     // attempts that failed before it
  int64_t chips = 0;         // each with one observation
  double mean_drop = 0.0;
  double violating = 0.0;  // fraction of the observations above max_drop
  // Confidence bound (of level alpha) on the mean drop, or, for a quantile, on the fraction of
  // chips above max_drop.
  double upper_bound = 0.0;
};

class Search {
 public:
  // Throws std::invalid_argument naming the setting, what was found and what is allowed.
  explicit Search(SearchSettings settings);

  // The trial that waits for its report; the same one until it has come; none when the search has
  // ended.
  std::optional<Trial> next_trial() const;

  // Tells the difference observed in a trial. Throws std::invalid_argument for an id that was not
  // asked for or a difference that is not a number in [-1, 1].
  void report(int64_t id, double difference);

  // Reports of an earlier run of the same settings: afterwards the state is what it was then.
  void replay(const std::vector<Report>& history);

  SearchState state() const { return state_; }
  SearchPhase phase() const { return phase_; }
  const SearchSettings& settings() const { return settings_; }
  const std::vector<Report>& history() const { return history_; }
  std::string message() const;      // why the search has ended, in words
  int64_t expected_trials() const;  // a guess at how many reports it will take in all, for progress

  double coarse() const { return coarse_; }
  const std::vector<double>& limits() const { return limits_; }
  const std::optional<Certificate>& coarse_certificate() const { return coarse_certificate_; }
  const std::optional<Certificate>& limits_certificate() const { return limits_certificate_; }

  // Observations that one confirmation takes if no sample's score drops, at the first attempt.
  static int64_t least_confirmation(const SearchSettings& settings);

 private:
  // When a steering decision at the current rates is made.
  struct Rule {
    double threshold = 0.0;
    int64_t least = 2;  // observations before it can pass
    int64_t most = 2;   // observations after which the mean decides
  };
  struct Moments {
    int64_t count = 0;
    double sum = 0.0, squares = 0.0, drop = 0.0;
    int64_t above = 0;
    double mean() const { return count == 0 ? 0.0 : sum / static_cast<double>(count); }
  };
  struct Bisection {
    int64_t passed = 0, failed = 0, last = 0;  // grid points; `last` is the highest
    void start(int64_t highest) { passed = 0, failed = highest + 1, last = highest; }
    bool open() const { return failed - passed > 1; }
    // The middle; where only the highest point is left, that.
    int64_t point() const { return passed + (failed - passed) / 2; }
    void tell(bool pass) { (pass ? passed : failed) = point(); }
  };

  bool confirming() const {
    return phase_ == SearchPhase::kCoarseConfirmation || phase_ == SearchPhase::kConfirmation;
  }
  double bound() const;  // what the confirmed mean of observed() must be below
  double observed(double difference) const;
  double attempt_alpha(int64_t attempt) const;
  Rule steer(double aim, int64_t least, int64_t most) const;
  Rule settle(double aim) const;
  std::optional<bool> decided() const;

  double grid_rate(double high, const Bisection& bisection, int64_t point) const;
  void try_rates(std::vector<double> rates, Rule rule);
  void start_test(std::vector<double> rates);
  void decide(bool pass);
  void next_coarse();
  void next_operand();
  void start_operand();
  void start_joint();
  void next_joint();
  std::vector<double> common(double rate) const;
  std::vector<double> lowered(double octaves) const;
  double back_off(double aim) const;
  Certificate certificate() const;

  SearchSettings settings_;
  double ceiling_ = 0.5;  // the highest rate that all operands reach
  SearchState state_ = SearchState::kRunning;
  SearchPhase phase_ = SearchPhase::kCoarse;
  std::vector<Report> history_;
  uint64_t search_chips_ = 0;
  uint64_t confirmation_chips_ = 0;

  std::vector<double> rates_;  // on trial
  Rule rule_;
  Moments moments_;
  std::optional<BettingTest> test_;
  int64_t attempt_ = 1;

  Bisection bisection_;
  bool settling_ = false;  // a longer look at the outcome of a bisection, before it is confirmed
  double coarse_ = 0.0;
  std::vector<int> order_;  // operands, largest first
  size_t position_ = 0;
  std::vector<double> raised_;
  double joint_depth_ = 0.0;  // octaves from the most raised rate down to the coarse one
  std::vector<double> limits_;
  std::optional<Certificate> coarse_certificate_;
  std::optional<Certificate> limits_certificate_;
};

// `count` different sample indices below `population`, in random order, every subset and order
// equally likely (to one part in 2^32 of a population of 2^32), by a partial Fisher-Yates shuffle.
// Throws std::invalid_argument unless 1 <= count <= population.
std::vector<int64_t> draw_samples(uint64_t draw_seed, int64_t population, int64_t count);

}  // namespace eden
