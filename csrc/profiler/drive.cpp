#include "profiler/drive.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "profiler/progress.h"
#include "profiler/signals.h"

namespace eden::profiler {
namespace {

using std::chrono::steady_clock;

constexpr int64_t kTrialsBetweenEstimates = 20;
constexpr int64_t kTrialsBeforePrediction = 8;
constexpr double kNearEnough = 0.1;  // of what is left of a budget

// Seconds turned into observations, by how long those before them took.
class TimeBudget {
 public:
  TimeBudget(double seconds, steady_clock::time_point begun) : seconds_(seconds), begun_(begun) {}

  // The budget that a search should have after so many observations, `budget` where that is near
  // enough.
  int64_t observations(int64_t made, int64_t budget) {
    const double now = std::chrono::duration<double>(steady_clock::now() - begun_).count();
    const int64_t end = std::max<int64_t>(1, made);
    if (now >= seconds_) return end;
    if (!first_) first_ = {now, made};
    const auto [since, before] = *first_;
    if (made - before < kTrialsBeforePrediction || now <= since) return budget;
    const double more = (seconds_ - now) * static_cast<double>(made - before) / (now - since);
    const int64_t predicted = made + static_cast<int64_t>(std::min(more, 1e15));
    const bool near = budget > 0 && std::abs(static_cast<double>(predicted - budget)) <=
                                        kNearEnough * static_cast<double>(budget - made);
    return near ? budget : std::max(end, predicted);
  }

 private:
  double seconds_;
  steady_clock::time_point begun_;
  std::optional<std::pair<double, int64_t>> first_;
};

std::string step_text(const Trial& trial, const SearchSettings& settings) {
  const bool one = trial.operand >= 0;
  const size_t at = one ? static_cast<size_t>(trial.operand) : 0;
  char rate[32];
  std::snprintf(rate, sizeof rate, " at %.2g",
                one ? trial.rates[at] : *std::ranges::max_element(trial.rates));
  return (one ? settings.operands[at].name : to_string(trial.phase)) + std::string(rate);
}

std::string timeout_text(const Trial& trial, const Options& options) {
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%g", options.timeout.value_or(0.0));
  return "eden-profile: trial " + std::to_string(trial.id) + " (" + to_string(trial.phase) +
         ", chip " + std::to_string(trial.chip) + "): the observation took longer than " + seconds +
         " s; the same command goes on with it from " + options.journal_path();
}

bool same_trial(const Trial& one, const std::optional<Trial>& other) {
  return other && one.id == other->id && one.chip == other->chip &&
         one.draw_seed == other->draw_seed && one.rates == other->rates;
}

}  // namespace

Observations drive(Search& search, Journal& journal, const Options& options,
                   steady_clock::time_point begun,
                   const std::function<double(const Trial&)>& evaluate) {
  Observations observations;
  const auto report = [&](const Trial& trial, double difference) {
    search.report(trial.id, difference);
    const std::string phase = to_string(trial.phase);
    const auto found = std::ranges::find(observations, phase, &Observations::value_type::first);
    if (found == observations.end()) {
      observations.emplace_back(phase, 1);
    } else {
      ++found->second;
    }
  };
  const auto made = [&] { return static_cast<int64_t>(search.history().size()); };

  auto told = journal.budgets().begin();
  const auto repeat_budgets = [&] {
    for (; told != journal.budgets().end() && told->trial == made(); ++told) {
      search.set_budget(told->observations);
    }
  };
  for (const Report& held : journal.history()) {
    repeat_budgets();
    const std::optional<Trial> trial = search.next_trial();
    if (!trial) break;
    report(*trial, held.difference);
  }
  repeat_budgets();

  const auto set_budget = [&](int64_t budget) {
    if (budget == search.budget()) return;
    journal.append(Journal::Budget{made(), budget});
    search.set_budget(budget);
  };
  // Seconds are those of this run, whatever one before it had.
  set_budget(options.budget);
  std::optional<TimeBudget> time;
  if (options.budget_seconds) time.emplace(*options.budget_seconds, begun);

  Progress progress;
  int64_t expected = search.expected_trials();
  while (const std::optional<Trial> trial = search.next_trial()) {
    check_interruption();
    double difference = 0.0;
    {
      const Deadline deadline(options.timeout, timeout_text(*trial, options));
      difference = evaluate(*trial);
    }
    if (time) set_budget(time->observations(made() + 1, search.budget()));
    if (!same_trial(*trial, search.next_trial())) continue;  // the budget decided something
    report(*trial, difference);
    // After the report, so that no value that the search refuses is kept.
    journal.append(Report{trial->id, difference});
    if (trial->id % kTrialsBetweenEstimates == 0 || search.state() != SearchState::kRunning) {
      expected = search.expected_trials();
    }
    progress.tell(made(), std::max(made(), expected), step_text(*trial, search.settings()));
  }
  return observations;
}

}  // namespace eden::profiler
