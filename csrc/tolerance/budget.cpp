#include "tolerance/budget.h"

#include <algorithm>
#include <cmath>

namespace eden {
namespace {

constexpr double kSettling = 0.15;  // part of what the confirmation is meant to take
constexpr double kLeastSettling = 48.0;

// What a confirmation is sure to be left, in multiples of those that it takes if no score drops;
// what it may take beyond its effort, the last one that there can be more than others; the least
// efforts.
constexpr double kReserve = 2.5;
constexpr double kMargin = 1.25, kLastMargin = 1.6;
constexpr double kLeastEffort = 1.5, kLastEffort = 1.1;
// The fewest observations that tell a factor common to all operands.
constexpr double kLeastSteering = 96.0;

double least(const SearchSettings& settings, int64_t attempt = 1) {
  return static_cast<double>(settings.least_confirmation(attempt));
}
double least(const Run& run, int64_t attempt = 1) { return least(run.settings, attempt); }

}  // namespace

double coarse_effort(const SearchSettings& settings, double effort) {
  if (settings.coarse_only) return effort;
  // With a sample or a few in an observation, what is observed spreads too much for less.
  if (settings.confirmations > 0) return std::max(kLeastEffortOfData, 0.5 * effort);
  return std::max(kLeastEffort, kCoarsePart * effort);
}

double confirmations_needed(const SearchSettings& settings, double effort) {
  const double both = coarse_effort(settings, effort) + (settings.coarse_only ? 0.0 : effort);
  return kPatience * both * least(settings);
}

double effort_within(const SearchSettings& settings, double observations) {
  return std::max(kLastEffort, observations / (kPatience * least(settings)));
}

double settling(const SearchSettings& settings, double effort) {
  return std::max(kLeastSettling, kSettling * effort * least(settings));
}

int64_t reserve(const Run& run, int64_t attempt) {
  return static_cast<int64_t>(std::ceil(kReserve * least(run, attempt)));
}

bool limits_affordable(const Run& run, size_t done) {
  const double operands = static_cast<double>(run.settings.operands.size() - done);
  return static_cast<double>(run.left()) >=
         0.5 * kPerOperand * operands + kLeastSteering + kReserve * least(run);
}

double planned_effort(const Run& run, double asked, bool confirming, int64_t attempt) {
  const SearchSettings& settings = run.settings;
  if (run.budget == 0) return asked;
  const double settled = confirming ? 0.0 : settling(settings, asked);
  const double here = static_cast<double>(run.left()) - settled;
  const double again = kReserve * least(run, attempt + 1);
  const double last = here / (kLastMargin * least(run, attempt));
  double effort = std::max((here - again) / (kMargin * least(run)), std::min(last, kLeastEffort));
  if ((run.phase == SearchPhase::kCoarse || run.phase == SearchPhase::kCoarseConfirmation) &&
      !settings.coarse_only && !run.limits_certificate) {
    const double operands = static_cast<double>(settings.operands.size());
    const double groups = std::min(operands, static_cast<double>(kRepairGroups));
    const double limits = operands * kPerOperand + 3.0 * kPerBisection +
                          static_cast<double>(kRepairCount) * (1.0 + groups) +
                          settling(settings, settings.effort);
    // Where it does not do for both, the coarse rate has all of it.
    const double both = (here - limits - again) / (kMargin * least(run));
    if (both >= 2.0 * kLeastEffort) {
      effort = std::max(kLeastEffort, both * kCoarsePart / (1.0 + kCoarsePart));
    }
  }
  return std::clamp(effort, kLastEffort, std::max(asked, kLastEffort));
}

}  // namespace eden
