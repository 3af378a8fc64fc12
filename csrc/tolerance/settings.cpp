#include "tolerance/settings.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "base/refusal.h"
#include "tolerance/betting.h"

namespace eden {
namespace {

// Of the fixed number of observations of a sweep's step, in multiples of those that it takes if no
// score drops: so a step passes whose drop is half of what is allowed, if the scores vary little.
constexpr double kSweepObservations = 2.0;

constexpr int64_t kLeastUsualTrials = 50000;

// Beyond them no search ends, and the arithmetic of trials would leave its integers.
constexpr double kMostConfirmation = 1e12, kMostTrials = 1e15;

int64_t rounded_up(double count) { return static_cast<int64_t>(std::ceil(count)); }

}  // namespace

const char* to_string(SearchStrategy strategy) {
  return strategy == SearchStrategy::kSweep ? "sweep" : "shares";
}

void SearchSettings::check() const {
  if (operands.empty()) refuse("operands is empty; a search needs at least one operand");
  if (!(max_drop > 0.0 && max_drop < 1.0)) refuse_value("max_drop", max_drop, "inside (0, 1)");
  if (!(confidence > 0.0 && confidence < 1.0)) {
    refuse_value("confidence", confidence, "inside (0, 1)");
  }
  if (!(quantile >= 0.0 && quantile < 1.0)) {
    refuse_value("quantile", quantile, "inside (0, 1), or 0 for a guarantee on the mean");
  }
  if (!(floor > 0.0 && floor <= 1.0)) refuse_value("floor", floor, "above 0, up to 1");
  for (const auto& [name, octaves] : {std::pair{"sweep_coarse_octaves", sweep_coarse_octaves},
                                      std::pair{"sweep_octaves", sweep_octaves}}) {
    if (!(octaves >= 0.001 && octaves <= 8.0)) refuse_value(name, octaves, "from 0.001 to 8");
  }
  if (attempt < 1 || attempt > kMostAttempts) {
    refuse_value("attempt", attempt, "from 1 to ", kMostAttempts);
  }
  if (!(effort >= 1.5 && effort <= 1000.0)) refuse_value("effort", effort, "from 1.5 to 1000");
  if (confirmations != 0) {
    for (const auto& [name, count] :
         {std::pair{"confirmations", confirmations}, std::pair{"confirming", confirming},
          std::pair{"batch", batch}, std::pair{"seen", seen}}) {
      if (count < 1) refuse_value(name, count, "1 or more");
    }
    if (quantile > 0.0 || strategy == SearchStrategy::kSweep) {
      refuse(
          "confirmations are about the distribution of the samples; allowed of it is a guarantee "
          "on the mean, by the strategy shares");
    }
  }
  if (!(aim >= 0.0 && std::isfinite(aim))) refuse_value("aim", aim, "a number of 0 or more");
  for (const SearchOperand& operand : operands) {
    const auto of_operand = [&](const char* field) {
      return text_of(field, " of operand '", operand.name, "'");
    };
    if (!(operand.ceiling >= floor && operand.ceiling <= 1.0)) {
      refuse_value(of_operand("ceiling"), operand.ceiling, "from the floor (", floor, ") to 1");
    }
    if (operand.bytes < 0) refuse_value(of_operand("bytes"), operand.bytes, "0 or more");
    if (!std::isfinite(operand.weight)) {
      refuse_value(of_operand("weight"), operand.weight, "a number of 0 or more");
    }
  }
  const char* target = quantile > 0.0 ? "quantile" : "max_drop";
  const double wanted = quantile > 0.0 ? quantile : max_drop;
  if (BettingTest::least_count(bound(), attempt_alpha(1)) > kMostConfirmation) {
    refuse_value(target, wanted, "what ", kMostConfirmation, " observations can confirm");
  }
  const bool sweep = strategy == SearchStrategy::kSweep;
  if (sweep && static_cast<double>(sweep_steps()) * static_cast<double>(sweep_observations()) >
                   kMostTrials) {
    refuse_value("sweep_octaves", sweep_octaves, "what a sweep of ", kMostTrials,
                 " observations has room for, from the floor (", floor, ") on");
  }
  const int64_t least =
      (sweep ? sweep_observations() : least_confirmation()) * (coarse_only ? 1 : 2);
  if (max_trials != 0 && max_trials < least) {
    const char* what =
        sweep ? (coarse_only ? "one step" : "two steps")
              : (coarse_only ? "the confirmation"
                             : "the confirmations of the coarse rate and of the limits");
    refuse("max_trials is ", max_trials, ", too few samples of chips: with ", target, " ", wanted,
           " and confidence ", confidence, " ", what, " take at least ", least,
           " observations, even if no score drops");
  }
}

double SearchSettings::bound() const { return quantile > 0.0 ? 1.0 - quantile : max_drop; }

double SearchSettings::ceiling() const {
  double least = 1.0;
  for (const SearchOperand& operand : operands) least = std::min(least, operand.ceiling);
  return least;
}

double SearchSettings::weight(size_t operand) const {
  const SearchOperand& found = operands[operand];
  return found.weight < 0.0 ? static_cast<double>(found.bytes) : found.weight;
}

double SearchSettings::total_weight() const {
  double total = 0.0;
  for (size_t i = 0; i < operands.size(); ++i) total += weight(i);
  return total;
}

std::vector<size_t> SearchSettings::by_weight() const {
  std::vector<size_t> order(operands.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::ranges::greater(), [this](size_t i) { return weight(i); });
  return order;
}

double SearchSettings::attempt_alpha(int64_t confirmation) const {
  // A verification makes one, and shares its error probability with the other attempts.
  const double k = static_cast<double>(verifies ? attempt + confirmation - 1 : confirmation);
  return (1.0 - confidence) * 6.0 / (std::numbers::pi * std::numbers::pi * k * k);
}

int64_t SearchSettings::least_confirmation(int64_t attempt) const {
  return static_cast<int64_t>(BettingTest::least_count(bound(), attempt_alpha(attempt)));
}

int64_t SearchSettings::sweep_steps() const {
  const double points = std::ceil((std::log2(ceiling()) - std::log2(floor)) / sweep_coarse_octaves);
  // The lowest rate is tested too.
  int64_t steps = rounded_up(std::log2(points + 1.0)) + 1;
  if (coarse_only) return steps;
  for (const SearchOperand& operand : operands) {
    steps += rounded_up((std::log2(operand.ceiling) - std::log2(floor)) / sweep_octaves);
  }
  return steps;
}

double SearchSettings::sweep_alpha() const {
  return (1.0 - confidence) / static_cast<double>(sweep_steps());
}

int64_t SearchSettings::sweep_observations() const {
  return static_cast<int64_t>(kSweepObservations *
                              BettingTest::least_count(bound(), sweep_alpha()));
}

int64_t SearchSettings::usual_trials() const {
  if (strategy == SearchStrategy::kSweep) return sweep_steps() * sweep_observations();
  // Two confirmations, what is settled before them, and as much again for attempts that fail.
  const double confirmations = 8.0 * effort * static_cast<double>(least_confirmation());
  return std::max<int64_t>(kLeastUsualTrials, static_cast<int64_t>(confirmations) +
                                                  100 * static_cast<int64_t>(operands.size()));
}

}  // namespace eden
