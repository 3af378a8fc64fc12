// A search under way: what all of its courses read and write, and how they ask and are told.
#pragma once

#include <coroutine>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/drawn_chips.h"
#include "tolerance/betting.h"
#include "tolerance/course.h"
#include "tolerance/response.h"
#include "tolerance/settings.h"
#include "tolerance/trial.h"

namespace eden {

// Thrown into a course that waits, where the budget is used up but for what a confirmation takes.
struct BudgetSpent {};

// What the observations of the present rates add up to.
struct Moments {
  int64_t count = 0;
  double sum = 0.0, squares = 0.0;  // of what the guarantee is about, see Run::observed
  double drop = 0.0;                // sum of the drops themselves
  int64_t above = 0;                // how many of them are above max_drop
};

// Chips that an observation is made on. Decisions between rates see the same ones with the same
// samples, so that they differ by the rates alone; a level is settled on chips of its own; those of
// a confirmation are used by nothing else.
enum class Chips { kCommon, kSettling, kConfirmation };

// The chips derive_chip(seed, purpose, k) for `count` values of k from `first` on.
struct ChipsSeen {
  ChipPurpose purpose;
  uint64_t first, count;
};

struct Run {
  explicit Run(SearchSettings asked) : settings(std::move(asked)), effort(settings.effort) {}

  SearchSettings settings;
  SearchState state = SearchState::kRunning;
  SearchPhase phase = SearchPhase::kCoarse;
  std::vector<Report> history;
  int64_t budget = 0;  // reports in all, 0 for no end
  double effort;       // of the settings, or what the budget leaves

  // What is asked for.
  std::vector<double> rates;
  int operand = -1;
  Chips chips = Chips::kCommon;
  bool by_drop = false;  // the decision at hand is about drops, whatever the guarantee is about
  int64_t most = 0;      // observations after which a steering decision is made at the latest
  Moments moments;
  std::optional<BettingTest> test;
  int64_t test_first_trial = 0;
  bool samples_spent = false;  // those of a confirmation, before it confirmed anything
  uint64_t common_chips = 0, settling_chips = 0, confirmation_chips = 0;  // used so far

  // What was found.
  double coarse = 0.0;
  std::vector<double> limits;
  std::optional<Certificate> coarse_certificate, limits_certificate;
  std::vector<OperandResponse> responses;

  bool sweeping() const { return settings.strategy == SearchStrategy::kSweep; }
  int64_t reported() const { return static_cast<int64_t>(history.size()); }
  int64_t left() const { return budget - reported(); }

  // Asks for observations of these rates, on common or settling chips.
  void ask(std::vector<double> at, Chips on, int64_t at_most);
  // Asks for those of a confirmation.
  void ask_confirmation(std::vector<double> at, BettingTest betting);
  // What is awaited for the next observation: its difference. Throws BudgetSpent.
  auto observation();
  // A steering decision: whether the mean at these rates, on common chips, is at most `threshold`.
  Course<bool> is_below(double threshold, std::vector<double> at, int64_t least, int64_t at_most);

  Trial trial_after(int64_t others) const;
  ChipsSeen chips_seen(Chips of) const;
  void tell(double difference);
  void cut();  // throws BudgetSpent into the course that waits

  double observed(double difference) const;
  std::vector<double> differences(int64_t first, int64_t count) const;  // of consecutive trials
  // What the present moments say of a place. One pseudo-observation is added to their variance, so
  // that equal ones do not look like certainty.
  ResponsePoint point_at(double octaves) const;
  Certificate certificate(double alpha, double total_alpha, int64_t back_offs) const;

 private:
  std::coroutine_handle<> waiting_;
  double told_ = 0.0;
  bool cut_ = false;
};

inline auto Run::observation() {
  struct Observation {
    Run& run;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> course) noexcept { run.waiting_ = course; }
    double await_resume() const {
      if (std::exchange(run.cut_, false)) throw BudgetSpent();
      return run.told_;
    }
  };
  return Observation{*this};
}

}  // namespace eden
