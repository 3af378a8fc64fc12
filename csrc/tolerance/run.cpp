#include "tolerance/run.h"

#include <algorithm>
#include <cmath>

#include "base/drawn_chips.h"
#include "tolerance/possible_drops.h"

namespace eden {
namespace {

// Detail of stream kSearch (key: the chip), so that common chips share samples, and those of chips
// that nothing else sees are drawn anew.
constexpr uint32_t kDrawSeed = 0;

// Where the chips of the next attempt begin, and in an attempt those of settling; the ones before
// them are common to all rates.
constexpr uint64_t kAttemptChips = uint64_t{1} << 40, kSettlingChips = uint64_t{1} << 32;

// Level of the confidence sequence that steering decisions stop by, and the number of observations
// at which it is tightest.
constexpr double kSteeringAlpha = 0.2;
constexpr double kSteeringCount = 12.0;

// Half the width of a confidence sequence for a mean that is asymptotically valid at any time:
// Robbins' normal mixture with an estimated deviation (Waudby-Smith, Arbour, Sinha, Kennedy and
// Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", 2024; Howard et
// al. 2021, equation 14).
double steering_half_width(double deviation, int64_t count) {
  const double log_term = -2.0 * std::log(kSteeringAlpha);
  const double rho_squared = (log_term + std::log(log_term + 1.0)) / kSteeringCount;
  const double n = static_cast<double>(count);
  const double spread = n * rho_squared + 1.0;
  return deviation * std::sqrt(2.0 * spread / (n * n * rho_squared) *
                               std::log(std::sqrt(spread) / kSteeringAlpha));
}

}  // namespace

void Run::ask(std::vector<double> at, Chips on, int64_t at_most) {
  rates = std::move(at);
  chips = on;
  most = at_most;
  moments = {};
  test.reset();
}

void Run::ask_confirmation(std::vector<double> at, BettingTest betting) {
  ask(std::move(at), Chips::kConfirmation, 0);
  test = std::move(betting);
  test_first_trial = reported();
}

Course<bool> Run::is_below(double threshold, std::vector<double> at, int64_t least,
                           int64_t at_most) {
  ask(std::move(at), Chips::kCommon, at_most);
  for (;;) {
    co_await observation();
    if (moments.count < 2) continue;
    const ResponsePoint seen = point_at(0.0);
    const double half_width = steering_half_width(std::sqrt(seen.variance), seen.count);
    if (seen.mean - half_width > threshold) co_return false;
    if (seen.count >= at_most) co_return seen.mean <= threshold;
    if (seen.count >= least && seen.mean + half_width <= threshold) co_return true;
  }
}

Trial Run::trial_after(int64_t others) const {
  Trial trial;
  trial.id = reported() + others;
  trial.phase = phase;
  trial.operand = operand;
  trial.rates = rates;
  const ChipsSeen seen = chips_seen(chips);
  const uint64_t number =
      chips == Chips::kCommon ? static_cast<uint64_t>(moments.count) : seen.count;
  trial.chip =
      derive_chip(settings.seed, seen.purpose, seen.first + number + static_cast<uint64_t>(others));
  if (chips == Chips::kConfirmation) trial.confirmation = static_cast<int64_t>(number) + others;
  const PhiloxWords words = draw(trial.chip, Stream::kSearch, kDrawSeed, 0, 0);
  trial.draw_seed =
      static_cast<uint64_t>(words.word[0]) | (static_cast<uint64_t>(words.word[1]) << 32);
  return trial;
}

ChipsSeen Run::chips_seen(Chips of) const {
  const uint64_t first = static_cast<uint64_t>(settings.attempt - 1) * kAttemptChips;
  const ChipPurpose steers = settings.verifies ? ChipPurpose::kSteering : ChipPurpose::kSearch;
  switch (of) {
    case Chips::kCommon:
      return {steers, first, common_chips};
    case Chips::kSettling:
      return {steers, first + kSettlingChips, settling_chips};
    case Chips::kConfirmation:
      break;
  }
  return {settings.verifies ? ChipPurpose::kVerification : ChipPurpose::kConfirmation, first,
          confirmation_chips};
}

void Run::tell(double difference) {
  history.push_back({reported(), difference});
  const double y = observed(difference);
  ++moments.count;
  moments.sum += y;
  moments.squares += y * y;
  moments.drop += difference;
  moments.above += difference > settings.max_drop ? 1 : 0;
  if (chips == Chips::kCommon) {
    common_chips = std::max(common_chips, static_cast<uint64_t>(moments.count));
  }
  if (chips == Chips::kConfirmation) ++confirmation_chips;
  if (chips == Chips::kSettling) ++settling_chips;
  told_ = difference;
  waiting_.resume();
}

void Run::cut() {
  cut_ = true;
  waiting_.resume();
}

std::vector<double> Run::differences(int64_t first, int64_t count) const {
  std::vector<double> found;
  for (int64_t i = first; i < first + count; ++i) {
    found.push_back(history[static_cast<size_t>(i)].difference);
  }
  return found;
}

double Run::observed(double difference) const {
  // Operands are weighed against one another by their drops, because shares of chips do not add up.
  if (settings.quantile <= 0.0 || by_drop) return difference;
  return difference > settings.max_drop ? 1.0 : 0.0;
}

ResponsePoint Run::point_at(double octaves) const {
  const double n = static_cast<double>(moments.count);
  const double mean = moments.count == 0 ? 0.0 : moments.sum / n;
  const double bound = by_drop ? settings.max_drop : settings.bound();
  const double doubt = settings.quantile > 0.0 && !by_drop ? bound * (1.0 - bound) : bound * bound;
  return {octaves, moments.count, mean,
          (std::max(0.0, moments.squares - n * mean * mean) + doubt) / n};
}

Certificate Run::certificate(double alpha, double total_alpha, int64_t back_offs) const {
  const double count = static_cast<double>(moments.count);
  const std::vector<double> drops = differences(test_first_trial, moments.count);
  return {.alpha = alpha,
          .total_alpha = total_alpha,
          .back_offs = back_offs,
          .chips = moments.count,
          .first_chip =
              static_cast<int64_t>(chips_seen(chips).first + confirmation_chips) - moments.count,
          .first_trial = test_first_trial,
          .mean_drop = moments.drop / count,
          .violating = static_cast<double>(moments.above) / count,
          .upper_bound = test->upper_bound(),
          .worst = std::ranges::max(drops),
          .worst_share = worst_share(drops)};
}

}  // namespace eden
