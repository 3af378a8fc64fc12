#include "tolerance/search.h"

#include <algorithm>
#include <cmath>

#include "base/refusal.h"

namespace eden {
namespace {

// As a message shows what was computed.
double rounded(double value) { return std::round(value * 1e6) / 1e6; }

SearchSettings checked(SearchSettings settings) {
  settings.check();
  if (settings.max_trials == 0) settings.max_trials = settings.usual_trials();
  return settings;
}

}  // namespace

Search::Search(SearchSettings settings)
    : run_(checked(std::move(settings))),
      strategy_(run_.sweeping() ? make_sweep(run_) : make_shares(run_)),
      course_(strategy_->course()) {
  course_.begin();
  go_on();
}

// After the course went on: whether it has ended.
void Search::go_on() {
  if (const std::optional<SearchState> ended = course_.result()) run_.state = *ended;
}

void Search::cut() {
  run_.cut();
  go_on();
}

std::optional<Trial> Search::next_trial() const {
  if (state() != SearchState::kRunning) return std::nullopt;
  return run_.trial_after(0);
}

std::vector<Trial> Search::next_trials(int64_t most) const {
  std::vector<Trial> trials;
  if (run_.state != SearchState::kRunning) return trials;
  int64_t undecided = std::min(strategy_->longest() - run_.moments.count,
                               run_.settings.max_trials - run_.reported());
  if (run_.budget > 0) undecided = std::min(undecided, run_.left());
  const int64_t count = std::min(most, std::max<int64_t>(1, undecided));
  for (int64_t others = 0; others < count; ++others) trials.push_back(run_.trial_after(others));
  return trials;
}

void Search::report(int64_t id, double difference) {
  if (run_.state != SearchState::kRunning) {
    refuse("trial ", id, ": the search has ended (", to_string(run_.state),
           ") and takes no report");
  }
  if (id != run_.reported()) {
    refuse("trial ", id, " is not the one asked for; allowed is trial ", run_.reported());
  }
  if (!(difference >= -1.0 && difference <= 1.0)) {
    refuse_value(text_of("trial ", id, " (", to_string(run_.phase), "): the difference"),
                 difference, "a number from -1 to 1");
  }
  run_.tell(difference);
  go_on();
  if (run_.state == SearchState::kRunning && run_.reported() >= run_.settings.max_trials) {
    const bool last = run_.phase == SearchPhase::kConfirmation || run_.settings.coarse_only ||
                      run_.limits_certificate;
    if (strategy_->holds_confirmed() && last) {
      cut();
    } else {
      run_.state = SearchState::kFailed;
    }
  }
  keep_to_budget();
}

void Search::set_budget(int64_t observations) {
  if (observations < 0) refuse_value("budget", observations, "0 (none) or more");
  run_.budget = observations;
  if (ended_by_budget_ && (run_.budget == 0 || run_.left() > 0)) {
    ended_by_budget_ = false;
    run_.state = SearchState::kRunning;
  }
  strategy_->plan();
  keep_to_budget();
}

void Search::keep_to_budget() {
  while (run_.budget > 0 && run_.state == SearchState::kRunning) {
    if (run_.left() <= 0 || strategy_->hopeless()) {
      run_out();
      return;
    }
    if (!strategy_->short_of_budget()) return;
    cut();
  }
}

// The budget is used up, or what is left of it would not do for what comes next.
void Search::run_out() {
  while (run_.state == SearchState::kRunning && strategy_->holds_confirmed()) cut();
  if (run_.state != SearchState::kRunning) return;
  ended_by_budget_ = true;
  run_.state = run_.coarse_certificate ? SearchState::kDone : SearchState::kFailed;
}

void Search::replay(const std::vector<Report>& history) {
  for (const Report& event : history) report(event.id, event.difference);
}

std::string Search::message() const {
  const SearchSettings& settings = run_.settings;
  const std::string drop = settings.quantile > 0.0
                               ? text_of("a drop of at most ", settings.max_drop,
                                         " for a fraction ", settings.quantile, " of the chips")
                               : text_of("a mean drop of at most ", settings.max_drop);
  const std::string target = text_of(drop, " with confidence ", settings.confidence);
  const std::string coarse_known =
      run_.coarse_certificate
          ? text_of("; the coarse rate of ", run_.coarse, " for all operands is confirmed")
          : "";
  const std::string where = text_of(" ended the search in its phase '", to_string(run_.phase), "'");
  const std::string budget = text_of("the budget of ", run_.budget, " observations", where);
  const std::string resume =
      text_of("allow about ", expected_trials(), ", and resume from the journal if one was kept");
  const std::string spent =
      text_of("the samples that confirm, for ", settings.confirmations,
              " observations, were used up in the phase '", to_string(run_.phase), "' before ");
  switch (run_.state) {
    case SearchState::kRunning:
      return "the search has not ended";
    case SearchState::kDone:
      if (run_.samples_spent) {
        return text_of(spent, "limits of single operands were confirmed", coarse_known);
      }
      if (!ended_by_budget_) return target + " is confirmed";
      return text_of(budget, ", before ",
                     run_.limits_certificate ? "all limits were tried"
                                             : "limits of single operands were confirmed",
                     ", which takes about ", expected_trials(), coarse_known);
    case SearchState::kUnreachable: {
      const double chips = static_cast<double>(std::max<int64_t>(1, run_.moments.count));
      return text_of(target, " could not be confirmed even at a bit error rate of ", settings.floor,
                     ", the least that is tried: ", run_.moments.count,
                     " chips there showed a mean drop of ", rounded(run_.moments.drop / chips),
                     coarse_known);
    }
    case SearchState::kFailed:
      if (run_.samples_spent) return spent + "any rate was confirmed";
      if (!ended_by_budget_) {
        return text_of("max_trials (", settings.max_trials,
                       ") observations were not enough: the search ended in its phase '",
                       to_string(run_.phase), "'", coarse_known, "; ", resume);
      }
      return text_of(budget, ", before any rate was confirmed, which takes ",
                     settings.least_confirmation(strategy_->attempt()),
                     " observations at the least beyond those made to find one; ", resume);
  }
  return "";
}

int64_t Search::expected_trials() const {
  const int64_t done = run_.reported();
  const bool over = run_.state == SearchState::kDone || run_.state == SearchState::kUnreachable;
  if (over && !ended_by_budget_) return done;
  const double effort = ended_by_budget_ ? run_.settings.effort : run_.effort;
  const int64_t expected = done + static_cast<int64_t>(strategy_->expected(effort));
  const bool bounded = run_.budget > 0 && !ended_by_budget_ && !run_.sweeping();
  return bounded ? std::min(expected, run_.budget) : expected;
}

std::vector<ChipsSeen> Search::chips_seen() const {
  std::vector<ChipsSeen> found;
  for (const Chips of : {Chips::kCommon, Chips::kSettling, Chips::kConfirmation}) {
    const ChipsSeen seen = run_.chips_seen(of);
    if (seen.count > 0) found.push_back(seen);
  }
  return found;
}

std::vector<PossibleDrop> Search::possible_drops(const Certificate& certificate, int64_t batch,
                                                 bool whole) const {
  return eden::possible_drops(run_.differences(certificate.first_trial, certificate.chips), batch,
                              whole, run_.settings.max_drop, certificate.alpha);
}

std::optional<double> Search::drop_bound() const {
  return run_.test ? std::optional(run_.test->upper_bound()) : std::nullopt;
}

}  // namespace eden
