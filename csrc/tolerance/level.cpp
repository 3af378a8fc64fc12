#include "tolerance/level.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tolerance/budget.h"

namespace eden {
namespace {

constexpr double kOperandAim = 2.0;

// A search steers to between these parts of the bound.
constexpr double kLeastAim = 0.3, kLargestAim = 0.9, kLeastAimOfBudget = 0.1;
constexpr double kFirstAimOfData = 0.4;
constexpr size_t kLeastSeen = 32;
constexpr double kSeenWidth = 0.75;  // octaves within which observations are taken to be alike
// Settling comes in parts, each at a rate of its own, and takes so many times what it is meant to
// until the fit is sure.
constexpr int64_t kSettlingParts = 8, kLeastPart = 8;
constexpr int64_t kMostSettling = 4;
constexpr double kSettledOctaves = 0.4;
constexpr double kSure = 0.75;  // standard error, as a part of the way up to the bound

constexpr int64_t kLeastBeforeFutile = 16;
constexpr double kSupposedCount = 100.0;  // weight of what settling says of a test's observations

// After a failed attempt rates fall by what the fit asks for within these octaves.
constexpr double kLeastBackOff = 0.2, kLargestBackOff = 4.0;
constexpr int kMostRaises = 1;

}  // namespace

double operand_target(const SearchSettings& settings) {
  return std::min(kOperandAim * settings.max_drop, 0.5 + 0.5 * settings.max_drop);
}

Level::Level(Run& run, std::vector<double> base, std::vector<double> ceilings, ResponsePrior prior,
             double effort)
    : run_(run),
      effort_(effort),
      base_(std::move(base)),
      ceilings_(std::move(ceilings)),
      prior_(prior) {
  const SearchSettings& settings = run_.settings;
  prior_.level = 0.5 * settings.bound();
  if (settings.confirmations > 0) {
    // Levels share the observations as their efforts need them.
    const double part = kPatience * effort_ * static_cast<double>(settings.least_confirmation()) /
                        confirmations_needed(settings, settings.effort);
    own_confirmations_ = std::max<int64_t>(
        1, static_cast<int64_t>(std::min(1.0, part) * static_cast<double>(settings.confirmations)));
    effort_ = std::min(effort_, effort_within(settings, static_cast<double>(own_confirmations_)));
  }
}

int64_t Level::confirmations_left() const {
  return own_confirmations_ == 0 ? std::numeric_limits<int64_t>::max()
                                 : own_confirmations_ - confirmations_;
}

std::vector<double> Level::rates(double octaves) const {
  std::vector<double> rates(base_.size());
  for (size_t i = 0; i < rates.size(); ++i) {
    rates[i] = std::clamp(base_[i] * std::exp2(octaves), run_.settings.floor, ceilings_[i]);
  }
  return rates;
}

void Level::plan() {
  run_.effort = planned_effort(run_, effort_, stage_ == Stage::kConfirm, attempt_);
}

void Level::enter(Stage stage) {
  stage_ = stage;
  run_.by_drop = stage == Stage::kRepair;
  if (stage != Stage::kRepair) plan();
}

Course<bool> Level::find(std::optional<double> first, std::optional<double> slope) {
  double octaves = 0.0;
  bool cut = false;
  try {
    co_await bisect(first);
    if (slope && base_.size() > 1) {
      const bool lowered = co_await repair(*slope);
      // All are raised again by what was saved, as far as the bisection allows.
      if (lowered) co_await bisect(octaves_);
    }
    octaves = co_await settle();
  } catch (const BudgetSpent&) {
    cut = true;
  }
  const bool found = co_await confirm(cut ? cautious_octaves() : octaves);
  co_return found;
}

Course<bool> Level::bisect(std::optional<double> first) {
  double low = 0.0, high = std::numeric_limits<double>::lowest();
  for (size_t i = 0; i < base_.size(); ++i) {
    // A floor among the least numbers that there are may vanish in the ratio.
    const double lowest = std::log2(
        std::max(run_.settings.floor / base_[i], std::numeric_limits<double>::denorm_min()));
    low = i == 0 ? lowest : std::min(low, lowest);
    high = std::max(high, std::log2(ceilings_[i] / base_[i]));
  }
  bisection_ = Bisection::between(low, high, kSpacing);
  bisection_.point = bisection_.nearest(0.5);
  if (first) bisection_.begin_at(*first);
  points_.clear();
  seen_.clear();
  enter(Stage::kBisect);
  while (bisection_.open()) {
    octaves_ = bisection_.on_trial();
    const bool pass = co_await run_.is_below(target_near(octaves_), rates(octaves_), 8, 48);
    points_.push_back(run_.point_at(octaves_));
    bisection_.tell(pass);
  }
  co_return true;
}

// Where enough is known near the rates that the fit names.
Course<double> Level::settle() {
  enter(Stage::kSettle);
  const double low = bisection_.lower(), high = bisection_.upper();
  const int64_t part =
      std::max(kLeastPart, static_cast<int64_t>(settling(run_.settings, effort_)) / kSettlingParts);
  const int64_t least = kSettlingParts * part;
  double next = std::clamp(fit_near(0.5 * (low + high)).octaves_at(target_near(0.5 * (low + high))),
                           low - 0.5, high + 0.5);
  for (;;) {
    const double here = octaves_ = std::clamp(next, bisection_.low, bisection_.high);
    run_.ask(rates(here), Chips::kSettling, part);
    while (run_.moments.count < part) {
      const double difference = co_await run_.observation();
      seen_.emplace_back(here, run_.observed(difference));
    }
    points_.push_back(run_.point_at(here));
    plan();
    const ResponseFit fit = fit_near(here);
    const double target = target_near(here), wanted = fit.octaves_at(target);
    next = std::clamp(std::clamp(wanted, here - 1.0, here + 1.0), bisection_.low, bisection_.high);
    // Rates that are wrong by the gap up to the bound cost a whole confirmation.
    const double gap = fit.octaves_at(run_.settings.bound()) - wanted;
    const bool sure = fit.deviation_at(target) <= kSure * gap;
    int64_t settled = 0, near = 0;
    for (const ResponsePoint& point : points_) {
      if (point.count != part) continue;
      settled += part;
      if (std::abs(point.octaves - next) <= 1.0) near += part;
    }
    const bool known = sure && near >= least && std::abs(next - here) <= kSettledOctaves;
    // At an end of the range it only matters that the drop is on the right side.
    const bool at_end =
        next == here && near >= least / 2 && (here >= bisection_.high || here <= bisection_.low);
    if (known || at_end) co_return next;
    if (settled >= (run_.budget == 0 ? kMostSettling : 1) * least) {
      // A budget buys no certainty, but a confirmation that is likely to succeed.
      co_return run_.budget == 0 ? next : std::min(next, cautious_octaves());
    }
  }
}

Course<bool> Level::confirm_also(double octaves) {
  ++attempt_;
  raises_ = kMostRaises;
  return confirm(octaves);
}

Course<bool> Level::confirm(double octaves) {
  const SearchSettings& settings = run_.settings;
  for (;; ++attempt_) {
    bool passed = false, cut = false;
    try {
      passed = co_await test(octaves);
    } catch (const BudgetSpent&) {
      cut = true;
    }
    if (cut) break;  // what was confirmed before is the answer
    const double here = octaves_;
    points_.push_back(run_.point_at(here));
    const ResponseFit fit = fit_near(here);
    const double target = target_near(here), wanted = fit.octaves_at(target);
    if (passed) {
      double total_alpha = 0.0;
      for (int64_t k = 1; k <= attempt_; ++k) total_alpha += settings.attempt_alpha(k);
      confirmed_ = {
          here, rates(here),
          run_.certificate(settings.attempt_alpha(attempt_), total_alpha, failed_attempts_)};
      // Limits of single operands are worth more than a higher common rate.
      const bool last = run_.phase == SearchPhase::kConfirmation || settings.coarse_only ||
                        run_.limits_certificate || !limits_affordable(run_, 0);
      const bool affordable =
          run_.budget == 0 || (run_.left() >= reserve(run_, attempt_ + 1) && last);
      const double room = std::min(wanted, bisection_.high) - here;
      const bool samples =
          static_cast<double>(confirmations_left()) >=
          kLeastEffortOfData * static_cast<double>(settings.least_confirmation(attempt_ + 1));
      if (raises_ >= kMostRaises || room < kWorthRaising || !affordable || !samples) break;
      ++raises_;
      octaves = std::min(wanted, here + 1.0);
    } else {
      ++failed_attempts_;
      if (confirmed_) break;
      if (confirmations_left() < settings.least_confirmation(attempt_ + 1)) {
        run_.samples_spent = true;
        run_.test.reset();
        co_return false;
      }
      if (here <= bisection_.low) co_return false;
      const double doubted =
          wanted - 0.5 * static_cast<double>(failed_attempts_) * fit.deviation_at(target);
      octaves = std::clamp(doubted, here - kLargestBackOff, here - kLeastBackOff);
    }
  }
  run_.test.reset();
  co_return true;
}

// One attempt at a confirmation; false where it was given up.
Course<bool> Level::test(double octaves) {
  if (run_.phase == SearchPhase::kCoarse) run_.phase = SearchPhase::kCoarseConfirmation;
  if (run_.phase == SearchPhase::kJoint) run_.phase = SearchPhase::kConfirmation;
  enter(Stage::kConfirm);
  octaves_ = std::clamp(octaves, bisection_.low, bisection_.high);
  const SearchSettings& settings = run_.settings;
  const bool of_data = settings.confirmations > 0;
  double variance = variance_near(points_, octaves_, 0.5 * kFitWidth);
  if (of_data) {
    variance *= static_cast<double>(settings.batch) / static_cast<double>(settings.confirming);
  }
  const double mean = std::min(fit_near(octaves_).mean(octaves_), target_near(octaves_));
  run_.ask_confirmation(rates(octaves_),
                        BettingTest(settings.bound(), settings.attempt_alpha(attempt_),
                                    BettingPrior{mean, std::sqrt(variance), kSupposedCount,
                                                 static_cast<double>(settings.confirming)}));
  if (run_.phase == SearchPhase::kCoarseConfirmation) run_.coarse = run_.rates.front();
  if (run_.phase == SearchPhase::kConfirmation) run_.limits = run_.rates;
  for (;;) {
    const double difference = co_await run_.observation();
    const double y = run_.observed(difference);
    // A confirming observation of fewer samples says little of how much those of settling vary.
    if (!of_data) seen_.emplace_back(octaves_, y);
    run_.test->add(y);
    ++confirmations_;
    if (run_.test->rejected()) co_return true;
    if (confirmations_left() == 0) co_return false;
    const int64_t most = longest_test();
    const bool another =
        (run_.budget == 0 || run_.left() >= settings.least_confirmation(attempt_ + 1)) &&
        confirmations_left() >= settings.least_confirmation(attempt_ + 1);
    if (run_.test->count() >= std::min(kLeastBeforeFutile, most) && run_.test->futile(most) &&
        another) {
      co_return false;
    }
  }
}

int64_t Level::longest_test() const {
  const int64_t least = run_.settings.least_confirmation(attempt_);
  int64_t most = static_cast<int64_t>(kPatience * run_.effort * static_cast<double>(least));
  if (own_confirmations_ > 0) most = std::min(most, run_.moments.count + confirmations_left());
  if (run_.budget == 0 || octaves_ <= bisection_.low) return most;
  // So that another one can follow at lower rates, where the budget has room for two.
  const int64_t all = run_.moments.count + run_.left();
  const int64_t others = all - reserve(run_, attempt_ + 1);
  return std::min(most, others >= least ? others : all);
}

bool Level::short_of_budget() const {
  return stage_ != Stage::kConfirm && run_.left() <= reserve(run_, attempt_);
}

ResponseFit Level::fit_near(double octaves) const {
  return fit_response(points_, octaves, kFitWidth, prior_);
}

// The highest mean that a test is expected to end by within the effort: that at which the capital
// of the best constant bet grows by its share of the target per observation, were the observations
// near the place moved to it.
double Level::target_near(double octaves) const {
  const double bound = run_.settings.bound(), largest = BettingTest::largest_bet(bound);
  if (run_.settings.aim > 0.0) return run_.settings.aim * bound;
  std::vector<double> near;
  double mean = 0.0;
  for (const auto& [at, observation] : seen_) {
    if (std::abs(at - octaves) > kSeenWidth) continue;
    near.push_back(observation);
    mean += observation;
  }
  if (near.size() < kLeastSeen) {
    return (run_.settings.confirmations == 0 ? kFirstAim : kFirstAimOfData) * bound;
  }
  mean /= static_cast<double>(near.size());
  const double wanted = BettingTest::largest_growth(bound) / run_.effort;
  const bool of_data = run_.settings.confirmations > 0;
  double squares = 0.0;
  for (const double observation : near) squares += (observation - mean) * (observation - mean);
  const double variance = squares / static_cast<double>(near.size());
  // What may be observed at a place whose mean is `target`, with weights of which the sum is 1.
  const auto outcomes = [&](double target) {
    std::vector<std::pair<double, double>> found;
    if (of_data) {
      // Of one sample, which gets worse or better with probabilities of that mean and variance.
      const double spread = static_cast<double>(run_.settings.batch) * variance + target * target;
      const double worse = std::clamp(0.5 * (spread + target), target, 0.5 + 0.5 * target);
      const double better = worse - target;
      return std::vector{std::pair{1.0, worse}, {-1.0, better}, {0.0, 1.0 - worse - better}};
    }
    for (const double observation : near) {
      found.emplace_back(std::min(1.0, observation + target - mean),
                         1.0 / static_cast<double>(near.size()));
    }
    return found;
  };
  // A bet on several samples grows about as much as one on each.
  const double samples = of_data ? static_cast<double>(run_.settings.confirming) : 1.0;
  // Concave in the bet, so Newton's steps on its derivative find the best one.
  const auto growth = [&](double target) {
    const auto possible = outcomes(target);
    double bet = 0.5 * largest / samples;
    for (int step = 0; step < 12; ++step) {
      double slope = 0.0, curvature = 0.0;
      for (const auto& [observation, weight] : possible) {
        const double gain = bound - observation, part = gain / (1.0 + bet * gain);
        slope += weight * part;
        curvature += weight * part * part;
      }
      if (curvature <= 0.0) break;
      const double next = std::clamp(bet + slope / curvature, 0.0, largest / samples);
      if (std::abs(next - bet) < 1e-3) break;
      bet = next;
    }
    double sum = 0.0;
    for (const auto& [observation, weight] : possible) {
      sum += weight * std::log1p(bet * (bound - observation));
    }
    return samples * sum;
  };
  double low = run_.budget == 0 && !of_data ? kLeastAim : kLeastAimOfBudget, high = kLargestAim;
  for (int step = 0; step < 10; ++step) {
    const double middle = 0.5 * (low + high);
    (growth(middle * bound) >= wanted ? low : high) = middle;
  }
  const double target = low * bound;
  if (!of_data) return target;
  // The mean over all data is known from the samples that decisions see alone, to a standard error
  // of this where a sample is either lost or not.
  const double doubt = std::sqrt(target / static_cast<double>(run_.settings.seen));
  return std::max(kLeastAimOfBudget * bound, target - doubt);
}

// A place where the drop is likely to be below the target, by what little is known.
double Level::cautious_octaves() const {
  // Nothing is known of the coarse rate before one has passed; of several operands, what each does.
  if (run_.phase == SearchPhase::kCoarse && !bisection_.seen_pass) return bisection_.low;
  const double middle = 0.5 * (bisection_.lower() + bisection_.upper());
  const ResponseFit fit = fit_near(middle);
  const double target = target_near(middle);
  return std::clamp(fit.octaves_at(target) - fit.deviation_at(target), bisection_.low,
                    bisection_.upper());
}

std::pair<double, double> Level::interval() const {
  double low = bisection_.lower(), high = bisection_.upper();
  if (stage_ == Stage::kSettle || stage_ == Stage::kConfirm) {
    const ResponseFit fit = fit_near(octaves_);
    const double target = target_near(octaves_), middle = fit.octaves_at(target);
    const double off = kInterval * fit.deviation_at(target);
    low = std::clamp(middle - off, bisection_.low, bisection_.high);
    high = std::clamp(middle + off, bisection_.low, bisection_.high);
  }
  return {std::ranges::max(rates(low)), std::ranges::max(rates(high))};
}

double Level::expected(double effort) const {
  const SearchSettings& settings = run_.settings;
  const double count = static_cast<double>(run_.moments.count);
  const double confirmation =
      (settings.aim > 0.0 ? 1.0 / std::max(0.1, 1.0 - settings.aim) : std::min(effort, effort_)) *
      static_cast<double>(settings.least_confirmation());
  const double after = settling(settings, effort_) + confirmation;
  switch (stage_) {
    case Stage::kBisect:
      return kPerBisection *
                 std::log2(static_cast<double>(bisection_.failed - bisection_.passed) + 1.0) +
             after;
    case Stage::kRepair:
      return static_cast<double>(kRepairCount) * (1.0 + static_cast<double>(groups_left_)) +
             kPerBisection + after;
    case Stage::kSettle: {
      double settled = count;
      for (const ResponsePoint& point : points_) {
        if (point.count == run_.most) settled += static_cast<double>(point.count);
      }
      return std::max(1.0, settling(settings, effort_) - settled) + confirmation;
    }
    case Stage::kConfirm:
      return std::max(1.0, confirmation - count);
  }
  return 0.0;
}

}  // namespace eden
