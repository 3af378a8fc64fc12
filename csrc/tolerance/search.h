// The search for the bit error rates that a network tolerates, as ask and tell: it names a trial
// (rates, a chip, a draw of samples) and is told the drop in score that was observed. It knows no
// network, so it is tested without one, driven from Python or from C++, and replayed from the
// reports it was given.
//
// The strategy "shares" goes coarse -> coarse confirmation -> operands -> joint -> confirmation:
//   coarse        one rate common to all operands: bisection in octaves, then a local fit of the
//                 drop as a power of the rate, observed at the rate that the fit names
//   operand       each operand alone, the others on nearly reliable memory: the rate at which it
//                 costs a set drop
//   joint         all operands together, each at the rate at which it is expected to use its share
//                 of the drop; repairs lower those that cost more together than they are worth;
//                 one factor common to all is found as the coarse rate is
//   confirmation  a betting test on chips that no decision before it has seen; where it fails, the
//                 rates are lowered and it starts again on new chips
// Where a confirmation shows that there is room, higher rates are confirmed once more; so is the
// least of the limits as the coarse rate, where it is higher.
// The decisions before a confirmation steer only. The confirmations alone carry the statement. The
// k-th attempt at one spends 6 / (pi^2 k^2) of 1 - confidence, so that all attempts together spend
// no more than that.
//
// Under a budget of observations every confirmation is kept long enough to be made: the effort of
// both is what the budget leaves for them, and steering ends where only what a confirmation needs
// is left. When it is used up, what was confirmed until then is the answer.
//
// The strategy "sweep" is the reference: the coarse rate by bisection, then one operand raised by
// one step at a time, round and round, each until a step of its own fails. Every step is a test
// with a fixed number of observations, at a level of (1 - confidence) / (most steps possible).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tolerance/betting.h"
#include "tolerance/response.h"

namespace eden {

// Of what is asked and decided: a history of another version would be answered otherwise.
inline constexpr int kSearchVersion = 2;

struct SearchOperand {
  std::string name;
  int64_t bytes = 0;
  double ceiling = 0.5;  // the highest rate that its error model reaches
  // What a factor in its rate is worth beside one in another's; the bytes where it is below 0.
  double weight = -1.0;
};

enum class SearchStrategy { kShares, kSweep };

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
  // gave up goes on from its history with a larger one. 0: usual_trials.
  int64_t max_trials = 0;
  SearchStrategy strategy = SearchStrategy::kShares;
  // Observations that a confirmation is meant to take, in multiples of those that it takes if no
  // score drops. The more, the nearer to max_drop the rates that are confirmed.
  double effort = 6.0;
  // Part of max_drop (of 1 - quantile) that the search steers to; 0 for the one that a confirmation
  // of this effort is expected to reach, given how the observations spread.
  double aim = 0.0;
  double sweep_coarse_octaves = 0.25;  // grid of the common rate in a sweep
  double sweep_octaves = 0.5;          // step of one operand's rate in a sweep
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
const char* to_string(SearchStrategy strategy);

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
// The observations are those of the chips derive_chip(seed, ChipPurpose::kConfirmation, k) for
// `chips` values of k from first_chip on, in the trials from first_trial on.
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

class Search {
 public:
  // Throws std::invalid_argument naming the setting, what was found and what is allowed.
  explicit Search(SearchSettings settings);

  // The trial that waits for its report; the same one until it has come; none when the search has
  // ended.
  std::optional<Trial> next_trial() const;

  // That trial and those that follow it, `most` at most, as long as no report before them decides
  // anything: what several evaluators can make at once. Which of them are still asked for shows
  // once those before them have been reported.
  std::vector<Trial> next_trials(int64_t most) const;

  // Tells the difference observed in a trial. Throws std::invalid_argument for an id that was not
  // asked for or a difference that is not a number in [-1, 1].
  void report(int64_t id, double difference);

  // From now on there will be no more than `observations` reports, those made so far included; 0
  // takes the end away. May be changed at any time, and reopens a search that a smaller budget has
  // ended. What is asked depends on it, so a replay has to repeat it between the same two reports.
  // Throws std::invalid_argument for a number below 0.
  void set_budget(int64_t observations);
  int64_t budget() const { return budget_; }
  // Whether the budget ended the search: then the coarse rate is certified, and limits are where
  // they have a certificate.
  bool ended_by_budget() const { return ended_by_budget_; }

  // Reports of an earlier run of the same settings: afterwards the state is what it was then.
  void replay(const std::vector<Report>& history);

  SearchState state() const { return state_; }
  SearchPhase phase() const { return phase_; }
  const SearchSettings& settings() const { return settings_; }
  const std::vector<Report>& history() const { return history_; }
  std::string message() const;      // why the search has ended, in words
  int64_t expected_trials() const;  // a guess at how many reports it will take in all, for progress

  // Where the rate that is sought is believed to be: between the ends of the bisection, later in
  // about 90% of the cases. Of several operands, their highest rate.
  std::pair<double, double> rate_interval() const;
  // In a confirmation, the bound on the mean (or on the fraction of chips) shown so far.
  std::optional<double> drop_bound() const;

  double coarse() const { return coarse_; }
  const std::vector<double>& limits() const { return limits_; }
  const std::optional<Certificate>& coarse_certificate() const { return coarse_certificate_; }
  const std::optional<Certificate>& limits_certificate() const { return limits_certificate_; }
  // Per operand, from the end of phase kOperand on; empty before, and in a sweep.
  const std::vector<OperandResponse>& responses() const { return responses_; }

  // Observations that one confirmation takes if no sample's score drops, at the first attempt.
  static int64_t least_confirmation(const SearchSettings& settings);

  // Reports that a search of these settings rarely needs more of; all that a sweep can take.
  static int64_t usual_trials(const SearchSettings& settings);

  // Of a sweep: the most steps that there can be, and the observations of each one.
  static int64_t sweep_steps(const SearchSettings& settings);
  static int64_t sweep_observations(const SearchSettings& settings);

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
  // Bisection between grid points, from a first one outward in strides that double.
  struct Bracket {
    int64_t passed = 0, failed = 0, point = 0, stride = 1;
    bool seen_pass = false, seen_fail = false;
    void start(int64_t highest, int64_t first);
    void tell(bool pass);
    bool open() const { return failed - passed > 1; }
  };
  // Rates that rise and fall together: base * 2^octaves, within floor and ceilings.
  struct Ray {
    std::vector<double> base;
    double low = 0.0, high = 0.0;  // octaves: all at the floor, all at their ceilings
    int64_t last = 0;              // intervals of the bracket's grid
    std::vector<ResponsePoint> points;
    std::vector<std::pair<double, double>> seen;  // octaves and observation, once it is settled
    ResponsePrior prior;
    double octaves = 0.0;  // on trial
  };
  enum class Stage { kBracket, kRepair, kSettle, kConfirm };
  struct Confirmed {
    double octaves = 0.0;
    Certificate certificate;
  };

  bool confirming() const { return test_.has_value(); }
  int64_t reported() const { return static_cast<int64_t>(history_.size()); }
  int64_t left() const;  // reports, under a budget
  int64_t reserve() const;
  bool limits_affordable() const;
  void plan();
  void keep_to_budget();
  void run_out();
  double cautious_octaves() const;
  int64_t longest_test() const;
  int64_t undecided() const;
  Trial trial_after(int64_t others) const;
  // Whether the decision at hand is about drops, whatever the guarantee is about.
  bool by_drop() const {
    return phase_ == SearchPhase::kOperand ||
           (phase_ == SearchPhase::kJoint && stage_ == Stage::kRepair);
  }
  bool sweeping() const { return settings_.strategy == SearchStrategy::kSweep; }
  double bound() const;  // what the confirmed mean of observed() must be below
  double observed(double difference) const;
  double attempt_alpha(int64_t attempt) const;
  double doubt() const;
  double operand_target() const;
  double weight(size_t operand) const;
  std::optional<bool> decided() const;
  ResponsePoint point_of(double octaves) const;

  std::vector<double> ray_rates(double octaves) const;
  double grid_octaves(int64_t point) const;
  void start_ray(std::vector<double> base, double first, double spacing);
  void try_rates(std::vector<double> rates, Rule rule);
  void start_test(double octaves);
  void next_bracket();
  void start_repair(double octaves);
  void next_repair();
  void repaired();
  void start_settling();
  void settle_at(double octaves);
  void settled();
  void tested(bool pass);
  void finish_level(const Confirmed& confirmed);
  ResponseFit fit_near(double octaves) const;
  double target_near(double octaves) const;

  void start_operand();
  void next_operand();
  void finish_operand();
  void start_joint();

  void start_sweep();
  void next_sweep();
  void swept(bool pass);
  void start_sweep_test(std::vector<double> rates);

  Certificate certificate() const;
  void decide(bool pass);

  SearchSettings settings_;
  double ceiling_ = 0.5;  // the highest rate that all operands reach
  double total_weight_ = 0.0;
  SearchState state_ = SearchState::kRunning;
  SearchPhase phase_ = SearchPhase::kCoarse;
  std::vector<Report> history_;
  uint64_t fresh_chips_ = 0;
  uint64_t confirmation_chips_ = 0;

  std::vector<double> rates_;  // on trial
  Rule rule_;
  Moments moments_;
  std::optional<BettingTest> test_;
  int64_t test_first_trial_ = 0;
  int64_t attempt_ = 1;
  int64_t failed_attempts_ = 0;
  int64_t raises_ = 0;
  std::optional<Confirmed> confirmed_;

  int64_t budget_ = 0;
  bool ended_by_budget_ = false;
  double effort_ = 6.0;  // of the settings, or what the budget leaves

  Stage stage_ = Stage::kBracket;
  Ray ray_;
  Ray coarse_ray_;
  Bracket bracket_;
  double coarse_ = 0.0;
  int64_t coarse_attempt_ = 1, coarse_failed_attempts_ = 0;
  std::vector<int> order_;  // operands, the weightiest first
  size_t position_ = 0;
  double operand_low_ = 0.0, operand_high_ = 0.0;  // octaves
  int64_t operand_last_ = 0;
  int64_t operand_observations_ = 0;
  std::vector<ResponsePoint> operand_points_;
  double slope_ = 1.25;             // of one operand's drop
  std::vector<ResponseFit> alone_;  // of each operand, the others all but reliable
  std::vector<OperandResponse> responses_;
  std::vector<std::vector<size_t>> groups_;  // operands that repairs lower together, lightest first
  size_t group_ = 0;                         // on trial; as many as there are for none lowered
  std::vector<double> unrepaired_;           // observations, by chip, of the rates so far
  std::vector<double> repair_;               // of those on trial
  double repair_octaves_ = 0.0;
  int times_lowered_ = 0;  // the present group
  bool repairs_done_ = false, repairs_made_ = false;
  std::vector<double> limits_;
  std::optional<Certificate> coarse_certificate_;
  std::optional<Certificate> limits_certificate_;

  int64_t sweep_tests_ = 0;
  std::vector<int64_t> sweep_steps_;  // taken by each operand
  std::vector<bool> sweep_ended_;
};

// `count` different sample indices below `population`, in random order, every subset and order
// equally likely (to one part in 2^32 of a population of 2^32), by a partial Fisher-Yates shuffle.
// Throws std::invalid_argument unless 1 <= count <= population.
std::vector<int64_t> draw_samples(uint64_t draw_seed, int64_t population, int64_t count);

}  // namespace eden
