// The search for the bit error rates that a network tolerates, as ask and tell: it names a trial
// (rates, a chip, a draw of samples) and is told the drop in score that was observed. It knows no
// network, so it is tested without one, driven from Python or from C++, and replayed from the
// reports it was given.
//
// Its decisions are courses, each one a function that waits for what is observed: shares.cpp and
// sweep.cpp are the strategies, level.h has what both rates common to all and limits go through.
// The decisions before a confirmation steer only. The confirmations alone carry the statement. The
// k-th attempt at one spends 6 / (pi^2 k^2) of 1 - confidence, so that all attempts together spend
// no more than that.
//
// Under a budget of observations every confirmation is kept long enough to be made: the effort of
// both is what the budget leaves for them, and steering ends where only what a confirmation needs
// is left. When it is used up, what was confirmed until then is the answer.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tolerance/course.h"
#include "tolerance/possible_drops.h"
#include "tolerance/run.h"
#include "tolerance/strategy.h"

namespace eden {

// Of what is asked and decided: a history of another version would be answered otherwise.
inline constexpr int kSearchVersion = 4;

class Search {
 public:
  // Throws std::invalid_argument naming the setting, what was found and what is allowed.
  explicit Search(SearchSettings settings);
  Search(const Search&) = delete;
  Search& operator=(const Search&) = delete;

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
  int64_t budget() const { return run_.budget; }
  // Whether the budget ended the search: then the coarse rate is certified, and limits are where
  // they have a certificate.
  bool ended_by_budget() const { return ended_by_budget_; }
  // Whether the samples that confirm were used up before limits, or any rate, were confirmed.
  bool samples_spent() const { return run_.samples_spent; }

  // Reports of an earlier run of the same settings: afterwards the state is what it was then.
  void replay(const std::vector<Report>& history);

  SearchState state() const { return run_.state; }
  SearchPhase phase() const { return run_.phase; }
  const SearchSettings& settings() const { return run_.settings; }
  const std::vector<Report>& history() const { return run_.history; }
  std::string message() const;      // why the search has ended, in words
  int64_t expected_trials() const;  // a guess at how many reports it will take in all, for progress

  // Where the rate that is sought is believed to be: between the ends of the bisection, later in
  // about 90% of the cases. Of several operands, their highest rate.
  std::pair<double, double> rate_interval() const { return strategy_->interval(); }
  // In a confirmation, the bound on the mean (or on the fraction of chips) shown so far.
  std::optional<double> drop_bound() const;

  double coarse() const { return run_.coarse; }
  const std::vector<double>& limits() const { return run_.limits; }
  const std::optional<Certificate>& coarse_certificate() const { return run_.coarse_certificate; }
  const std::optional<Certificate>& limits_certificate() const { return run_.limits_certificate; }
  // All that were observed; of each purpose and range of indices those that have any.
  std::vector<ChipsSeen> chips_seen() const;
  // Which drops one chip may have, by the observations of a certificate, at its own level.
  std::vector<PossibleDrop> possible_drops(const Certificate& certificate, int64_t batch,
                                           bool whole) const;
  // Per operand, from the end of phase kOperand on; empty before, and in a sweep.
  const std::vector<OperandResponse>& responses() const { return run_.responses; }

 private:
  void go_on();
  void cut();
  void keep_to_budget();
  void run_out();

  Run run_;
  std::unique_ptr<Strategy> strategy_;
  Course<SearchState> course_;
  bool ended_by_budget_ = false;
};

}  // namespace eden
