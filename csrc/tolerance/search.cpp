#include "tolerance/search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include "base/random_layout.h"

namespace eden {
namespace {

// Details of stream kSearch.
constexpr uint32_t kDrawSeed = 0;   // index: trial
constexpr uint32_t kDrawIndex = 1;  // index: position in the draw; the key is the draw's seed
constexpr uint32_t kDrawChip = 2;   // index: chip of the search, so that common chips share samples

// Level of the confidence sequence that steering decisions stop by, and the number of observations
// at which it is tightest.
constexpr double kSteeringAlpha = 0.2;
constexpr double kSteeringCount = 12.0;

// Octaves between the points that a bisection tries. What is between them is left to the fit.
constexpr double kSpacing = 1.0;
constexpr double kFitWidth = 1.5;

// A drop of one operand alone stands out from the noise sooner than max_drop would.
constexpr double kOperandAim = 2.0;
// No operand's share of the drop is below this part of an equal one: it costs the others little and
// leaves a rate to an operand that is worth almost nothing.
constexpr double kLeastShare = 0.1;
// Octaves above a ceiling that a fit may place an operand's rate at.
constexpr double kBeyondCeiling = 6.0;
constexpr double kInterval = 1.645;  // standard errors of a normal interval of 90%

// Repairs: groups of operands, octaves that one is lowered by, chips that it is observed on,
// standard errors by which it must be worth it.
constexpr size_t kRepairGroups = 8;
constexpr double kRepairOctaves = 3.0;
constexpr int64_t kRepairCount = 32;
constexpr double kRepairErrors = 2.0;
constexpr double kLightGroup = 0.0625;  // part of all weights
constexpr int kMostLowered = 3;

// A search steers to between these parts of the bound.
constexpr double kLeastAim = 0.3, kLargestAim = 0.9;
constexpr double kFirstAim = 0.75;  // before enough is seen to tell
constexpr size_t kLeastSeen = 32;
constexpr double kSeenWidth = 0.75;  // octaves within which observations are taken to be alike
// Observations at the rates that a fit names, before they are confirmed, in multiples of those that
// a confirmation takes at least; and the parts they come in, each at a rate of its own.
constexpr double kSettling = 1.5;
constexpr int64_t kSettlingParts = 8;
constexpr int64_t kMostSettling = 4;  // times that, until the fit is sure
constexpr double kSettledOctaves = 0.4;
constexpr double kSure = 0.5;  // standard error, as a part of the way up to the bound
// Chips at which settling begins; those before it are common to all rates.
constexpr uint64_t kFreshChips = uint64_t{1} << 32;

// A confirmation is given up once it is unlikely to end within this many times what it was meant to
// take.
constexpr double kPatience = 2.0;
constexpr int64_t kLeastBeforeFutile = 16;
constexpr double kSupposedCount = 100.0;  // weight of what settling says of a test's observations

// After a failed attempt rates fall by what the fit asks for within these octaves.
constexpr double kLeastBackOff = 0.2, kLargestBackOff = 4.0;
// Octaves that there must be to win before confirmed rates are raised and confirmed anew.
constexpr double kWorthRaising = 0.4;
constexpr int64_t kMostRaises = 1;

// Of the fixed number of observations of a sweep's step, in multiples of those that it takes if no
// score drops: so a step passes whose drop is half of what is allowed, if the scores vary little.
constexpr double kSweepObservations = 2.0;

constexpr int64_t kLeastUsualTrials = 50000;

// Typical observations of a step of a bisection and of one operand alone.
constexpr double kPerBracket = 16.0, kPerOperand = 32.0;
// Under a budget: what a confirmation is sure to be left, in multiples of those that it takes if no
// score drops; what it may take beyond its effort, the last one that there can be more than others;
// the least effort.
constexpr double kReserve = 2.5;
constexpr double kMargin = 1.25, kLastMargin = 1.6;
constexpr double kLeastEffort = 1.5, kLastEffort = 1.1, kLeastAimOfBudget = 0.1;
// The fewest observations that tell a factor common to all operands.
constexpr double kLeastSteering = 96.0;

std::string number(double value) {
  std::ostringstream text;
  text.precision(6);
  text << value;
  return text.str();
}

[[noreturn]] void refuse(const std::string& what, double found, const std::string& allowed) {
  throw std::invalid_argument(what + " is " + number(found) + "; allowed is " + allowed);
}

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

const char* to_string(SearchPhase phase) {
  switch (phase) {
    case SearchPhase::kCoarse:
      return "coarse";
    case SearchPhase::kCoarseConfirmation:
      return "coarse confirmation";
    case SearchPhase::kOperand:
      return "operand";
    case SearchPhase::kJoint:
      return "joint";
    case SearchPhase::kConfirmation:
      return "confirmation";
  }
  return "";
}

const char* to_string(SearchState state) {
  switch (state) {
    case SearchState::kRunning:
      return "running";
    case SearchState::kDone:
      return "done";
    case SearchState::kUnreachable:
      return "unreachable";
    case SearchState::kFailed:
      return "failed";
  }
  return "";
}

const char* to_string(SearchStrategy strategy) {
  switch (strategy) {
    case SearchStrategy::kShares:
      return "shares";
    case SearchStrategy::kSweep:
      return "sweep";
  }
  return "";
}

void Search::Bracket::start(int64_t highest, int64_t first) {
  passed = 0, failed = highest + 1, point = std::clamp<int64_t>(first, 0, highest), stride = 1;
  seen_pass = seen_fail = false;
}

void Search::Bracket::tell(bool pass) {
  (pass ? passed : failed) = point;
  (pass ? seen_pass : seen_fail) = true;
  const int64_t middle = passed + (failed - passed) / 2;
  if (seen_pass && seen_fail) {
    point = middle;
  } else {
    // Not past the middle of what is left, so that a bad first point costs little more than it.
    point = pass ? std::min(point + stride, std::max(middle, point + 1))
                 : std::max(point - stride, std::min(middle, point - 1));
    stride *= 2;
  }
  point = std::clamp(point, std::min(passed + 1, failed - 1), failed - 1);
}

Search::Search(SearchSettings settings) : settings_(std::move(settings)) {
  const SearchSettings& s = settings_;
  if (s.operands.empty()) {
    throw std::invalid_argument("operands is empty; a search needs at least one operand");
  }
  if (!(s.max_drop > 0.0 && s.max_drop < 1.0)) refuse("max_drop", s.max_drop, "inside (0, 1)");
  if (!(s.confidence > 0.0 && s.confidence < 1.0)) {
    refuse("confidence", s.confidence, "inside (0, 1)");
  }
  if (!(s.quantile >= 0.0 && s.quantile < 1.0)) {
    refuse("quantile", s.quantile, "inside (0, 1), or 0 for a guarantee on the mean");
  }
  if (!(s.floor > 0.0 && s.floor <= 1.0)) refuse("floor", s.floor, "above 0, up to 1");
  for (const auto& [name, octaves] : {std::pair{"sweep_coarse_octaves", s.sweep_coarse_octaves},
                                      std::pair{"sweep_octaves", s.sweep_octaves}}) {
    if (!(octaves > 0.0 && octaves <= 8.0)) refuse(name, octaves, "above 0, up to 8");
  }
  if (!(s.effort >= 1.5 && s.effort <= 1000.0)) refuse("effort", s.effort, "from 1.5 to 1000");
  if (!(s.aim >= 0.0 && std::isfinite(s.aim))) refuse("aim", s.aim, "a number of 0 or more");
  ceiling_ = 1.0;
  for (const SearchOperand& operand : s.operands) {
    if (!(operand.ceiling >= s.floor && operand.ceiling <= 1.0)) {
      refuse("ceiling of operand '" + operand.name + "'", operand.ceiling,
             "from the floor (" + number(s.floor) + ") to 1");
    }
    if (operand.bytes < 0) {
      refuse("bytes of operand '" + operand.name + "'", static_cast<double>(operand.bytes),
             "0 or more");
    }
    if (!std::isfinite(operand.weight)) {
      refuse("weight of operand '" + operand.name + "'", operand.weight, "a number of 0 or more");
    }
    ceiling_ = std::min(ceiling_, operand.ceiling);
  }
  if (s.max_trials == 0) settings_.max_trials = usual_trials(s);
  const int64_t least = sweeping() ? sweep_observations(s) * (s.coarse_only ? 1 : 2)
                                   : least_confirmation(s) * (s.coarse_only ? 1 : 2);
  if (s.max_trials < least) {
    throw std::invalid_argument(
        "max_trials is " + std::to_string(s.max_trials) + ", too few samples of chips: with " +
        (s.quantile > 0.0 ? "quantile " + number(s.quantile) : "max_drop " + number(s.max_drop)) +
        " and confidence " + number(s.confidence) +
        (sweeping()
             ? (s.coarse_only ? " one step" : " two steps")
             : " the confirmation" +
                   std::string(s.coarse_only ? "" : "s of the coarse rate and of the limits")) +
        " take at least " + std::to_string(least) + " observations, even if no score drops");
  }
  effort_ = s.effort;
  for (size_t i = 0; i < s.operands.size(); ++i) total_weight_ += weight(i);
  order_.resize(s.operands.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(), [this](int a, int b) {
    return weight(static_cast<size_t>(a)) > weight(static_cast<size_t>(b));
  });
  if (sweeping()) {
    start_sweep();
    return;
  }
  phase_ = SearchPhase::kCoarse;
  ray_.prior = {};
  if (s.quantile > 0.0) {
    // The share of chips above a drop rises more steeply than the drop.
    ray_.prior.slope = 3.0;
    ray_.prior.slope_deviation = 1.5;
  }
  start_ray(std::vector<double>(s.operands.size(), 1.0), std::nan(""), kSpacing);
}

int64_t Search::least_confirmation(const SearchSettings& settings) {
  const double alpha = (1.0 - settings.confidence) * 6.0 / (std::numbers::pi * std::numbers::pi);
  return BettingTest::least_count(
      settings.quantile > 0.0 ? 1.0 - settings.quantile : settings.max_drop, alpha);
}

double Search::weight(size_t operand) const {
  const SearchOperand& found = settings_.operands[operand];
  return found.weight < 0.0 ? static_cast<double>(found.bytes) : found.weight;
}

double Search::bound() const {
  return settings_.quantile > 0.0 ? 1.0 - settings_.quantile : settings_.max_drop;
}

double Search::observed(double difference) const {
  // Operands are weighed against one another by their drops, because shares of chips do not add up.
  if (settings_.quantile > 0.0 && (sweeping() || !by_drop())) {
    return difference > settings_.max_drop ? 1.0 : 0.0;
  }
  return difference;
}

double Search::attempt_alpha(int64_t attempt) const {
  const double k = static_cast<double>(attempt);
  return (1.0 - settings_.confidence) * 6.0 / (std::numbers::pi * std::numbers::pi * k * k);
}

double Search::operand_target() const {
  return std::min(kOperandAim * settings_.max_drop, 0.5 + 0.5 * settings_.max_drop);
}

// Variance of one pseudo-observation, which keeps equal observations from looking like certainty.
double Search::doubt() const {
  if (by_drop()) return settings_.max_drop * settings_.max_drop;
  return settings_.quantile > 0.0 ? bound() * (1.0 - bound()) : bound() * bound();
}

std::optional<bool> Search::decided() const {
  if (moments_.count < 2) return std::nullopt;
  const double mean = moments_.mean();
  const double half_width = steering_half_width(std::sqrt(point_of(0.0).variance), moments_.count);
  if (mean - half_width > rule_.threshold) return false;
  if (moments_.count >= rule_.most) return mean <= rule_.threshold;
  if (moments_.count >= rule_.least && mean + half_width <= rule_.threshold) return true;
  return std::nullopt;
}

// What the present moments say of that place.
ResponsePoint Search::point_of(double octaves) const {
  const double n = static_cast<double>(moments_.count), mean = moments_.mean();
  return {octaves, moments_.count, mean,
          (std::max(0.0, moments_.squares - n * mean * mean) + doubt()) / n};
}

std::vector<double> Search::ray_rates(double octaves) const {
  std::vector<double> rates(ray_.base.size());
  for (size_t i = 0; i < rates.size(); ++i) {
    // Of the coarse rate, the ceiling is that of all operands.
    const double ceiling =
        phase_ == SearchPhase::kCoarse || phase_ == SearchPhase::kCoarseConfirmation
            ? ceiling_
            : settings_.operands[i].ceiling;
    rates[i] = std::clamp(ray_.base[i] * std::exp2(octaves), settings_.floor, ceiling);
  }
  return rates;
}

double Search::grid_octaves(int64_t point) const {
  if (ray_.last <= 0) return ray_.high;
  return ray_.low +
         (ray_.high - ray_.low) * static_cast<double>(point) / static_cast<double>(ray_.last);
}

void Search::try_rates(std::vector<double> rates, Rule rule) {
  rates_ = std::move(rates);
  rule_ = rule;
  moments_ = {};
  test_.reset();
}

// `first` is where the bracket begins; the middle, if it is not a number.
void Search::start_ray(std::vector<double> base, double first, double spacing) {
  ray_.base = std::move(base);
  ray_.points.clear();
  ray_.seen.clear();
  ray_.prior.level = 0.5 * bound();
  ray_.low = 0.0, ray_.high = std::numeric_limits<double>::lowest();
  for (size_t i = 0; i < ray_.base.size(); ++i) {
    const double ceiling =
        phase_ == SearchPhase::kCoarse ? ceiling_ : settings_.operands[i].ceiling;
    const double low = std::log2(settings_.floor / ray_.base[i]);
    const double high = std::log2(ceiling / ray_.base[i]);
    ray_.low = i == 0 ? low : std::min(ray_.low, low);
    ray_.high = std::max(ray_.high, high);
  }
  ray_.last = static_cast<int64_t>(std::ceil((ray_.high - ray_.low) / spacing));
  const double part = std::isnan(first) ? 0.5 : (first - ray_.low) / (ray_.high - ray_.low);
  bracket_.start(ray_.last,
                 ray_.last <= 0
                     ? 0
                     : static_cast<int64_t>(std::llround(part * static_cast<double>(ray_.last))));
  // Without a guess to start from, strides are halves.
  if (std::isnan(first)) bracket_.stride = std::max<int64_t>(1, ray_.last);
  stage_ = Stage::kBracket;
  attempt_ = 1, failed_attempts_ = 0, raises_ = 0;
  confirmed_.reset();
  plan();
  next_bracket();
}

void Search::next_bracket() {
  if (bracket_.open()) {
    ray_.octaves = grid_octaves(bracket_.point);
    try_rates(ray_rates(ray_.octaves), {target_near(ray_.octaves), 8, 48});
    return;
  }
  if (phase_ == SearchPhase::kJoint && !repairs_done_ && ray_.base.size() > 1) {
    const double middle = grid_octaves(std::max<int64_t>(0, bracket_.passed));
    // Where the drop is that of an operand alone: there it stands out.
    start_repair(std::clamp(middle + std::log2(operand_target() / settings_.max_drop) / slope_,
                            ray_.low, ray_.high));
    return;
  }
  start_settling();
}

// What operands cost together is not always what they cost one by one. Groups of them, from those
// that are worth least, are lowered on the same chips and samples as before; that stays where it
// saves more than lowering all operands would for the same loss of worth.
void Search::start_repair(double octaves) {
  stage_ = Stage::kRepair;
  const size_t count = ray_.base.size(), groups = std::min(count, kRepairGroups);
  groups_.assign(groups, {});
  for (size_t i = 0; i < count; ++i) {
    groups_[i * groups / count].push_back(static_cast<size_t>(order_[count - 1 - i]));
  }
  group_ = groups;
  unrepaired_.clear();
  repairs_made_ = false;
  repair_octaves_ = octaves;
  next_repair();
}

void Search::next_repair() {
  std::vector<double> rates = ray_rates(repair_octaves_);
  if (group_ < groups_.size()) {
    for (const size_t operand : groups_[group_]) {
      rates[operand] = std::max(settings_.floor, rates[operand] * std::exp2(-kRepairOctaves));
    }
  }
  repair_.clear();
  ray_.octaves = repair_octaves_;
  try_rates(std::move(rates), {0.0, kRepairCount, kRepairCount});
}

void Search::repaired() {
  if (group_ == groups_.size()) {
    unrepaired_ = repair_;
    group_ = 0;
  } else {
    bool again = false;
    double before = 0.0, saved = 0.0, squares = 0.0, worth = 0.0;
    const double n = static_cast<double>(kRepairCount);
    for (size_t i = 0; i < repair_.size(); ++i) {
      const double difference = unrepaired_[i] - repair_[i];
      before += unrepaired_[i] / n;
      saved += difference / n;
      squares += difference * difference;
    }
    for (const size_t operand : groups_[group_]) {
      worth += total_weight_ > 0.0 ? weight(operand) / total_weight_
                                   : 1.0 / static_cast<double>(ray_.base.size());
    }
    const double error = std::sqrt(std::max(0.0, squares / n - saved * saved) / n);
    const double wanted =
        std::max(0.0, before) * (1.0 - std::exp2(-slope_ * kRepairOctaves * worth));
    if (saved - kRepairErrors * error > wanted) {
      for (const size_t operand : groups_[group_]) {
        ray_.base[operand] *= std::exp2(-kRepairOctaves);
      }
      unrepaired_ = repair_;
      repairs_made_ = true;
      // What weighs little is lowered again while that shows; the others once, because what is left
      // of the drop stands out from the noise less and less.
      again = worth <= kLightGroup && ++times_lowered_ < kMostLowered;
    }
    if (!again) {
      ++group_;
      times_lowered_ = 0;
    }
  }
  if (group_ < groups_.size()) {
    next_repair();
    return;
  }
  repairs_done_ = true;
  if (repairs_made_) {
    // All are raised again by what was saved, as far as the bracket allows.
    start_ray(ray_.base, ray_.octaves, kSpacing);
  } else {
    start_settling();
  }
}

void Search::start_settling() {
  stage_ = Stage::kSettle;
  plan();
  const double low = grid_octaves(bracket_.passed);
  const double high = grid_octaves(std::min(bracket_.failed, ray_.last));
  const double middle = 0.5 * (low + high);
  const ResponseFit fit = fit_near(middle);
  settle_at(std::clamp(fit.octaves_at(target_near(middle)), low - 0.5, high + 0.5));
}

ResponseFit Search::fit_near(double octaves) const {
  return fit_response(ray_.points, octaves, kFitWidth, ray_.prior);
}

// The highest mean that a test is expected to end by within the effort: that at which the capital
// of the best constant bet grows by its share of the target per observation, were the observations
// near the place moved to it.
double Search::target_near(double octaves) const {
  if (settings_.aim > 0.0) return settings_.aim * bound();
  std::vector<double> near;
  double mean = 0.0;
  for (const auto& [at, observation] : ray_.seen) {
    if (std::abs(at - octaves) > kSeenWidth) continue;
    near.push_back(observation);
    mean += observation;
  }
  if (near.size() < kLeastSeen) return kFirstAim * bound();
  mean /= static_cast<double>(near.size());
  const double wanted = BettingTest::largest_growth(bound()) / effort_;
  // Concave in the bet, so Newton's steps on its derivative find the best one.
  const auto growth = [&](double target) {
    double bet = 0.5 * BettingTest::largest_bet(bound());
    for (int step = 0; step < 12; ++step) {
      double slope = 0.0, curvature = 0.0;
      for (const double observation : near) {
        const double gain = bound() - std::min(1.0, observation + target - mean);
        const double part = gain / (1.0 + bet * gain);
        slope += part;
        curvature += part * part;
      }
      if (curvature <= 0.0) break;
      const double next =
          std::clamp(bet + slope / curvature, 0.0, BettingTest::largest_bet(bound()));
      if (std::abs(next - bet) < 1e-3) break;
      bet = next;
    }
    double sum = 0.0;
    for (const double observation : near) {
      sum += std::log1p(bet * (bound() - std::min(1.0, observation + target - mean)));
    }
    return sum / static_cast<double>(near.size());
  };
  double low = budget_ == 0 ? kLeastAim : kLeastAimOfBudget, high = kLargestAim;
  for (int step = 0; step < 10; ++step) {
    const double middle = 0.5 * (low + high);
    (growth(middle * bound()) >= wanted ? low : high) = middle;
  }
  return low * bound();
}

void Search::settle_at(double octaves) {
  ray_.octaves = std::clamp(octaves, ray_.low, ray_.high);
  const int64_t all = std::max<int64_t>(
      48, static_cast<int64_t>(kSettling * static_cast<double>(least_confirmation(settings_))));
  const int64_t part = std::max<int64_t>(8, all / kSettlingParts);
  try_rates(ray_rates(ray_.octaves), {0.0, part, part});
}

// After each part of settling: is enough known near the rates that the fit names?
void Search::settled() {
  const double here = ray_.octaves;
  ray_.points.push_back(point_of(here));
  plan();
  const ResponseFit fit = fit_near(here);
  const double target = target_near(here);
  const double wanted = fit.octaves_at(target);
  const double next = std::clamp(std::clamp(wanted, here - 1.0, here + 1.0), ray_.low, ray_.high);
  // Rates that are wrong by the gap up to the bound cost a whole confirmation.
  const double gap = fit.octaves_at(bound()) - wanted;
  const bool sure = fit.deviation_at(target) <= kSure * gap;
  int64_t near = 0, settling = 0;
  const int64_t part = rule_.most;
  for (const ResponsePoint& point : ray_.points) {
    if (point.count != part) continue;
    settling += part;
    if (std::abs(point.octaves - next) <= 1.0) near += part;
  }
  const bool known =
      sure && near >= kSettlingParts * part && std::abs(next - here) <= kSettledOctaves;
  // At an end of the range it only matters that the drop is on the right side.
  const bool at_end =
      next == here && (here >= ray_.high || here <= ray_.low) && near >= kSettlingParts * part / 2;
  const int64_t most = budget_ == 0 ? kMostSettling : 1;
  if (known || at_end || settling >= most * kSettlingParts * part) {
    // A budget buys no certainty, but a confirmation that is likely to succeed.
    start_test(budget_ == 0 || known || at_end ? next : std::min(next, cautious_octaves()));
  } else {
    settle_at(next);
  }
}

void Search::start_test(double octaves) {
  stage_ = Stage::kConfirm;
  if (phase_ == SearchPhase::kCoarse) phase_ = SearchPhase::kCoarseConfirmation;
  if (phase_ == SearchPhase::kJoint) phase_ = SearchPhase::kConfirmation;
  plan();
  ray_.octaves = std::clamp(octaves, ray_.low, ray_.high);
  rates_ = ray_rates(ray_.octaves);
  if (phase_ == SearchPhase::kCoarseConfirmation) coarse_ = rates_.front();
  if (phase_ == SearchPhase::kConfirmation) limits_ = rates_;
  moments_ = {};
  const double variance = variance_near(ray_.points, ray_.octaves, 0.5 * kFitWidth);
  const double mean =
      std::min(fit_near(ray_.octaves).mean(ray_.octaves), target_near(ray_.octaves));
  test_.emplace(bound(), attempt_alpha(attempt_),
                BettingPrior{mean, std::sqrt(variance), kSupposedCount});
  test_first_trial_ = static_cast<int64_t>(history_.size());
}

// After a confirmation has succeeded or was given up.
void Search::tested(bool pass) {
  const double here = ray_.octaves;
  ray_.points.push_back(point_of(here));
  const double wanted = fit_near(here).octaves_at(target_near(here));
  if (pass) {
    confirmed_ = Confirmed{here, certificate()};
    // Limits of single operands are worth more than a higher common rate.
    const bool affordable =
        budget_ == 0 ||
        (left() >= reserve() && (phase_ == SearchPhase::kConfirmation || settings_.coarse_only ||
                                 limits_certificate_ || !limits_affordable()));
    if (raises_ >= kMostRaises || std::min(wanted, ray_.high) - here < kWorthRaising ||
        !affordable) {
      finish_level(*confirmed_);
      return;
    }
    ++raises_, ++attempt_;
    start_test(std::min(wanted, here + 1.0));
    return;
  }
  ++failed_attempts_;
  if (confirmed_) {
    finish_level(*confirmed_);
    return;
  }
  if (here <= ray_.low) {
    state_ = SearchState::kUnreachable;
    return;
  }
  ++attempt_;
  const ResponseFit fit = fit_near(here);
  const double doubted =
      wanted - 0.5 * static_cast<double>(failed_attempts_) * fit.deviation_at(target_near(here));
  start_test(std::clamp(doubted, here - kLargestBackOff, here - kLeastBackOff));
}

void Search::finish_level(const Confirmed& confirmed) {
  const std::vector<double> rates = ray_rates(confirmed.octaves);
  test_.reset();
  if (phase_ == SearchPhase::kCoarseConfirmation) {
    coarse_ = rates.front();
    coarse_certificate_ = confirmed.certificate;
    if (settings_.coarse_only || limits_certificate_) {
      state_ = SearchState::kDone;
      return;
    }
    coarse_ray_ = ray_;
    coarse_ray_.octaves = confirmed.octaves;
    coarse_attempt_ = attempt_, coarse_failed_attempts_ = failed_attempts_;
    if (settings_.quantile <= 0.0) {
      slope_ = std::clamp(fit_near(confirmed.octaves).slope, 0.7, 3.0);
    }
    position_ = 0;
    start_operand();
    return;
  }
  limits_ = rates;
  limits_certificate_ = confirmed.certificate;
  const double least = *std::min_element(limits_.begin(), limits_.end());
  if (std::min(least, ceiling_) < coarse_ * std::exp2(kWorthRaising) ||
      (budget_ > 0 && left() < reserve())) {
    state_ = SearchState::kDone;
    return;
  }
  // Rates that are all lower than the limits need not do less harm (a drop need not grow with every
  // rate), so the least limit becomes the coarse rate only by a test of its own, out of what the
  // attempts at the coarse rate have left.
  phase_ = SearchPhase::kCoarseConfirmation;
  ray_ = coarse_ray_;
  confirmed_ = Confirmed{ray_.octaves, *coarse_certificate_};
  attempt_ = coarse_attempt_ + 1, failed_attempts_ = coarse_failed_attempts_;
  raises_ = kMostRaises;
  start_test(std::log2(least));
}

void Search::start_operand() {
  phase_ = SearchPhase::kOperand;
  const size_t count = settings_.operands.size();
  if (position_ == 0) {
    responses_.assign(count, {});
    alone_.assign(count, {});
  }
  if (position_ >= count) {
    start_joint();
    return;
  }
  operand_low_ = std::log2(coarse_);
  operand_high_ = std::log2(settings_.operands[static_cast<size_t>(order_[position_])].ceiling);
  operand_last_ =
      static_cast<int64_t>(std::ceil(std::max(0.0, operand_high_ - operand_low_) / kSpacing));
  operand_points_.clear();
  operand_observations_ = 0;
  bracket_.start(operand_last_, operand_last_ / 2);
  bracket_.stride = std::max<int64_t>(1, operand_last_);
  next_operand();
}

void Search::next_operand() {
  if (!bracket_.open()) {
    finish_operand();
    return;
  }
  const double octaves = operand_last_ <= 0
                             ? operand_high_
                             : operand_low_ + (operand_high_ - operand_low_) *
                                                  static_cast<double>(bracket_.point) /
                                                  static_cast<double>(operand_last_);
  // The others are all but reliable, so that what is seen is this operand's.
  std::vector<double> rates(settings_.operands.size(), settings_.floor);
  const size_t operand = static_cast<size_t>(order_[position_]);
  // The power of a logarithm may leave the ceiling by the last bits.
  rates[operand] = std::min(std::exp2(octaves), settings_.operands[operand].ceiling);
  ray_.octaves = octaves;
  try_rates(std::move(rates), {operand_target(), 5, 16});
}

void Search::finish_operand() {
  const size_t operand = static_cast<size_t>(order_[position_]);
  const double spacing = operand_last_ <= 0
                             ? 0.0
                             : (operand_high_ - operand_low_) / static_cast<double>(operand_last_);
  const double origin = std::min(
      operand_high_, operand_low_ + spacing * (static_cast<double>(bracket_.passed) + 0.5));
  ResponsePrior prior;
  prior.slope = slope_;
  prior.level = operand_target();
  const ResponseFit fit = fit_response(operand_points_, origin, kFitWidth, prior);
  const double least = std::log2(settings_.floor);
  alone_[operand] = fit;
  const double at = fit.octaves_at(settings_.max_drop);
  const double off = kInterval * fit.deviation_at(settings_.max_drop);
  const auto rate = [&](double octaves) {
    return std::exp2(std::clamp(octaves, least, operand_high_));
  };
  responses_[operand] = {rate(at), rate(at - off), rate(at + off), fit.slope,
                         operand_observations_};
  ++position_;
  start_operand();
}

// Where drops are powers of the rates and add up, a weighted sum of logarithms of the rates is
// largest for a given drop if each operand's share of it goes with its weight over its exponent
// (the Lagrange condition weight = multiplier x slope x drop).
void Search::start_joint() {
  phase_ = SearchPhase::kJoint;
  const size_t count = settings_.operands.size();
  std::vector<double> shares(count), base(count);
  double total = 0.0;
  for (size_t i = 0; i < count; ++i) {
    const double equal = 1.0 / static_cast<double>(count);
    shares[i] =
        std::max(total_weight_ > 0.0 ? weight(i) / total_weight_ : equal, kLeastShare * equal) /
        alone_[i].slope;
    total += shares[i];
  }
  const double least = std::log2(settings_.floor);
  for (size_t i = 0; i < count; ++i) {
    const double drop = shares[i] / total * kFirstAim * settings_.max_drop;
    const double most = std::log2(settings_.operands[i].ceiling) + kBeyondCeiling;
    base[i] = std::exp2(std::clamp(alone_[i].octaves_at(drop), least, most));
  }
  ray_.prior = coarse_ray_.prior;
  start_ray(std::move(base), 0.0, kSpacing);
}

Certificate Search::certificate() const {
  Certificate result;
  if (sweeping()) {
    result.alpha = (1.0 - settings_.confidence) / static_cast<double>(sweep_steps(settings_));
    result.total_alpha = result.alpha * static_cast<double>(sweep_tests_);
  } else {
    result.alpha = attempt_alpha(attempt_);
    for (int64_t k = 1; k <= attempt_; ++k) result.total_alpha += attempt_alpha(k);
  }
  result.back_offs = failed_attempts_;
  result.chips = moments_.count;
  result.first_chip = static_cast<int64_t>(confirmation_chips_) - moments_.count;
  result.first_trial = test_first_trial_;
  result.mean_drop = moments_.drop / static_cast<double>(moments_.count);
  result.violating = static_cast<double>(moments_.above) / static_cast<double>(moments_.count);
  result.upper_bound = test_->upper_bound();
  return result;
}

int64_t Search::usual_trials(const SearchSettings& settings) {
  if (settings.strategy == SearchStrategy::kSweep) {
    return sweep_steps(settings) * sweep_observations(settings);
  }
  // Two confirmations, what is settled before them, and as much again for attempts that fail.
  const double confirmations =
      8.0 * settings.effort * static_cast<double>(least_confirmation(settings));
  return std::max<int64_t>(
      kLeastUsualTrials,
      static_cast<int64_t>(confirmations) + 100 * static_cast<int64_t>(settings.operands.size()));
}

int64_t Search::sweep_steps(const SearchSettings& settings) {
  double ceiling = 1.0;
  for (const SearchOperand& operand : settings.operands) {
    ceiling = std::min(ceiling, operand.ceiling);
  }
  const double points =
      std::ceil(std::log2(ceiling / settings.floor) / settings.sweep_coarse_octaves);
  // The lowest rate is tested too.
  auto steps = static_cast<int64_t>(std::ceil(std::log2(points + 1.0))) + 1;
  if (settings.coarse_only) return steps;
  for (const SearchOperand& operand : settings.operands) {
    steps += static_cast<int64_t>(
        std::ceil(std::log2(operand.ceiling / settings.floor) / settings.sweep_octaves));
  }
  return steps;
}

int64_t Search::sweep_observations(const SearchSettings& settings) {
  const double alpha = (1.0 - settings.confidence) / static_cast<double>(sweep_steps(settings));
  const int64_t least = BettingTest::least_count(
      settings.quantile > 0.0 ? 1.0 - settings.quantile : settings.max_drop, alpha);
  return static_cast<int64_t>(kSweepObservations * static_cast<double>(least));
}

void Search::start_sweep_test(std::vector<double> rates) {
  rates_ = std::move(rates);
  moments_ = {};
  test_.emplace(bound(),
                (1.0 - settings_.confidence) / static_cast<double>(sweep_steps(settings_)));
  test_first_trial_ = static_cast<int64_t>(history_.size());
  ++sweep_tests_;
}

void Search::start_sweep() {
  phase_ = SearchPhase::kCoarse;
  ray_.base.assign(settings_.operands.size(), 1.0);
  ray_.low = std::log2(settings_.floor);
  ray_.high = std::log2(ceiling_);
  ray_.last =
      static_cast<int64_t>(std::ceil((ray_.high - ray_.low) / settings_.sweep_coarse_octaves));
  bracket_.start(ray_.last, ray_.last / 2);
  bracket_.passed = -1;  // the lowest rate has not been tested either
  bracket_.stride = std::max<int64_t>(1, ray_.last);
  next_sweep();
}

void Search::next_sweep() {
  if (phase_ == SearchPhase::kCoarse) {
    if (bracket_.open()) {
      ray_.octaves = grid_octaves(bracket_.point);
      start_sweep_test(ray_rates(ray_.octaves));
      return;
    }
    if (!coarse_certificate_) {
      state_ = SearchState::kUnreachable;
      return;
    }
    if (settings_.coarse_only) {
      state_ = SearchState::kDone;
      return;
    }
    phase_ = SearchPhase::kOperand;
    limits_.assign(settings_.operands.size(), coarse_);
    limits_certificate_ = coarse_certificate_;
    sweep_ended_.assign(settings_.operands.size(), false);
    position_ = 0;
    failed_attempts_ = 0;
  }
  for (size_t tried = 0; tried < order_.size();
       ++tried, position_ = (position_ + 1) % order_.size()) {
    const size_t operand = static_cast<size_t>(order_[position_]);
    const double ceiling = settings_.operands[operand].ceiling;
    if (sweep_ended_[operand] || limits_[operand] >= ceiling) continue;
    std::vector<double> rates = limits_;
    rates[operand] = std::min(ceiling, rates[operand] * std::exp2(settings_.sweep_octaves));
    start_sweep_test(std::move(rates));
    return;
  }
  state_ = SearchState::kDone;
}

void Search::swept(bool pass) {
  if (!pass) ++failed_attempts_;
  if (phase_ == SearchPhase::kCoarse) {
    if (pass) {
      coarse_ = rates_.front();
      coarse_certificate_ = certificate();
    }
    bracket_.tell(pass);
  } else {
    const size_t operand = static_cast<size_t>(order_[position_]);
    if (pass) {
      limits_ = rates_;
      limits_certificate_ = certificate();
    } else {
      sweep_ended_[operand] = true;
    }
    position_ = (position_ + 1) % order_.size();
  }
  test_.reset();
  next_sweep();
}

void Search::decide(bool pass) {
  switch (phase_) {
    case SearchPhase::kCoarse:
    case SearchPhase::kJoint:
      if (stage_ == Stage::kSettle) {
        settled();
        return;
      }
      if (stage_ == Stage::kRepair) {
        repaired();
        return;
      }
      ray_.points.push_back(point_of(ray_.octaves));
      bracket_.tell(pass);
      next_bracket();
      return;
    case SearchPhase::kOperand:
      operand_points_.push_back(point_of(ray_.octaves));
      operand_observations_ += moments_.count;
      bracket_.tell(pass);
      next_operand();
      return;
    case SearchPhase::kCoarseConfirmation:
    case SearchPhase::kConfirmation:
      tested(pass);
      return;
  }
}

// Observations of the test at hand, at most.
int64_t Search::longest_test() const {
  const int64_t least = BettingTest::least_count(bound(), attempt_alpha(attempt_));
  const int64_t most = static_cast<int64_t>(kPatience * effort_ * static_cast<double>(least));
  if (budget_ == 0 || ray_.octaves <= ray_.low) return most;
  // So that another one can follow at lower rates, where the budget has room for two.
  const int64_t all = moments_.count + left(), others = all - reserve();
  return std::min(most, others >= least ? others : all);
}

// Reports until something is decided at the latest.
int64_t Search::undecided() const {
  int64_t most = rule_.most;
  if (sweeping()) {
    most = sweep_observations(settings_);
  } else if (confirming()) {
    most = longest_test();
  }
  most = std::min(most - moments_.count, settings_.max_trials - reported());
  if (budget_ > 0) most = std::min(most, left());
  return std::max<int64_t>(1, most);
}

Trial Search::trial_after(int64_t others) const {
  Trial trial;
  trial.id = reported() + others;
  trial.phase = phase_;
  trial.operand = phase_ == SearchPhase::kOperand ? order_[position_] : -1;
  trial.rates = rates_;
  const uint64_t after = static_cast<uint64_t>(others);
  PhiloxWords words;
  if (confirming()) {
    trial.chip =
        derive_chip(settings_.seed, ChipPurpose::kConfirmation, confirmation_chips_ + after);
    words = draw(settings_.seed, Stream::kSearch, kDrawSeed, static_cast<uint64_t>(trial.id), 0);
  } else {
    // Decisions between rates see the same chips and samples, so that they differ by the rates
    // alone; a level is settled on chips of its own.
    const uint64_t chip = stage_ == Stage::kSettle && phase_ != SearchPhase::kOperand
                              ? kFreshChips + fresh_chips_ + after
                              : static_cast<uint64_t>(moments_.count) + after;
    trial.chip = derive_chip(settings_.seed, ChipPurpose::kSearch, chip);
    words = draw(settings_.seed, Stream::kSearch, kDrawChip, chip, 0);
  }
  trial.draw_seed =
      static_cast<uint64_t>(words.word[0]) | (static_cast<uint64_t>(words.word[1]) << 32);
  return trial;
}

std::optional<Trial> Search::next_trial() const {
  if (state_ != SearchState::kRunning) return std::nullopt;
  return trial_after(0);
}

std::vector<Trial> Search::next_trials(int64_t most) const {
  std::vector<Trial> trials;
  if (state_ != SearchState::kRunning) return trials;
  const int64_t count = std::min(most, undecided());
  for (int64_t others = 0; others < count; ++others) trials.push_back(trial_after(others));
  return trials;
}

std::pair<double, double> Search::rate_interval() const {
  const auto highest = [&](double octaves) {
    const std::vector<double> rates = ray_rates(octaves);
    return *std::max_element(rates.begin(), rates.end());
  };
  if (phase_ == SearchPhase::kOperand && !sweeping()) {
    const auto at = [&](int64_t point) {
      const double part = operand_last_ <= 0
                              ? 1.0
                              : static_cast<double>(point) / static_cast<double>(operand_last_);
      return std::exp2(operand_low_ + (operand_high_ - operand_low_) * std::min(1.0, part));
    };
    return {at(bracket_.passed), at(bracket_.failed)};
  }
  if (sweeping() && phase_ != SearchPhase::kCoarse) {
    const double highest_rate = *std::max_element(rates_.begin(), rates_.end());
    return {*std::max_element(limits_.begin(), limits_.end()), highest_rate};
  }
  if (sweeping() || stage_ == Stage::kBracket || stage_ == Stage::kRepair) {
    return {highest(grid_octaves(std::max<int64_t>(0, bracket_.passed))),
            highest(grid_octaves(std::min(bracket_.failed, ray_.last)))};
  }
  const ResponseFit fit = fit_near(ray_.octaves);
  const double target = target_near(ray_.octaves);
  const double off = kInterval * fit.deviation_at(target);
  const double middle = fit.octaves_at(target);
  return {highest(std::clamp(middle - off, ray_.low, ray_.high)),
          highest(std::clamp(middle + off, ray_.low, ray_.high))};
}

std::optional<double> Search::drop_bound() const {
  if (!test_) return std::nullopt;
  return test_->upper_bound();
}

void Search::report(int64_t id, double difference) {
  const std::string where = "trial " + std::to_string(id);
  if (state_ != SearchState::kRunning) {
    throw std::invalid_argument(where + ": the search has ended (" + to_string(state_) +
                                ") and takes no report");
  }
  const int64_t expected = static_cast<int64_t>(history_.size());
  if (id != expected) {
    throw std::invalid_argument(where + " is not the one asked for; allowed is trial " +
                                std::to_string(expected));
  }
  if (!(difference >= -1.0 && difference <= 1.0)) {
    throw std::invalid_argument(where + " (" + to_string(phase_) + "): the difference is " +
                                number(difference) + "; allowed is a number from -1 to 1");
  }
  history_.push_back({id, difference});
  const double y = observed(difference);
  ++moments_.count;
  moments_.sum += y;
  moments_.squares += y * y;
  moments_.drop += difference;
  moments_.above += difference > settings_.max_drop ? 1 : 0;
  if (sweeping()) {
    ++confirmation_chips_;
    test_->add(y);
    // The whole of the fixed number, also where it is decided before.
    if (moments_.count >= sweep_observations(settings_)) swept(test_->rejected());
  } else if (confirming()) {
    ++confirmation_chips_;
    ray_.seen.emplace_back(ray_.octaves, y);
    test_->add(y);
    const int64_t most = longest_test();
    if (test_->rejected()) {
      decide(true);
    } else if (test_->count() >= std::min(kLeastBeforeFutile, most) && test_->futile(most) &&
               (budget_ == 0 ||
                left() >= BettingTest::least_count(bound(), attempt_alpha(attempt_ + 1)))) {
      decide(false);
    }
  } else {
    if (stage_ == Stage::kSettle && phase_ != SearchPhase::kOperand) {
      ++fresh_chips_;
      ray_.seen.emplace_back(ray_.octaves, y);
      if (moments_.count >= rule_.most) decide(true);
    } else if (stage_ == Stage::kRepair) {
      repair_.push_back(difference);
      if (moments_.count >= rule_.most) decide(true);
    } else if (const std::optional<bool> pass = decided()) {
      decide(*pass);
    }
  }
  if (state_ == SearchState::kRunning &&
      static_cast<int64_t>(history_.size()) >= settings_.max_trials) {
    if (confirmed_ && confirming() &&
        (phase_ == SearchPhase::kConfirmation || settings_.coarse_only || limits_certificate_)) {
      finish_level(*confirmed_);
    } else {
      state_ = SearchState::kFailed;
    }
  }
  keep_to_budget();
}

void Search::set_budget(int64_t observations) {
  if (observations < 0) {
    refuse("budget", static_cast<double>(observations), "0 (none) or more");
  }
  budget_ = observations;
  if (ended_by_budget_ && (budget_ == 0 || left() > 0)) {
    ended_by_budget_ = false;
    state_ = SearchState::kRunning;
  }
  plan();
  keep_to_budget();
}

int64_t Search::left() const { return budget_ - reported(); }

int64_t Search::reserve() const {
  return static_cast<int64_t>(
      std::ceil(kReserve * static_cast<double>(BettingTest::least_count(
                               bound(), attempt_alpha(confirming() ? attempt_ + 1 : attempt_)))));
}

// Whether the budget is likely to be enough for limits of single operands, from here on.
bool Search::limits_affordable() const {
  const double operands = static_cast<double>(settings_.operands.size()) -
                          static_cast<double>(phase_ == SearchPhase::kOperand ? position_ : 0);
  return static_cast<double>(left()) >=
         0.5 * kPerOperand * operands + kLeastSteering +
             kReserve * static_cast<double>(least_confirmation(settings_));
}

// Brings the effort of the confirmations to come to what the budget leaves for them.
void Search::plan() {
  effort_ = settings_.effort;
  if (budget_ == 0) return;
  const double least = static_cast<double>(least_confirmation(settings_));
  const double settling = std::max(48.0, kSettling * least);
  const double operands = static_cast<double>(settings_.operands.size());
  const double here = static_cast<double>(left()) - (stage_ == Stage::kConfirm ? 0.0 : settling);
  const double again = kReserve * static_cast<double>(BettingTest::least_count(
                                      bound(), attempt_alpha(attempt_ + 1)));
  const double last = here / (kLastMargin * static_cast<double>(BettingTest::least_count(
                                                bound(), attempt_alpha(attempt_))));
  double effort = std::max((here - again) / (kMargin * least), std::min(last, kLeastEffort));
  if ((phase_ == SearchPhase::kCoarse || phase_ == SearchPhase::kCoarseConfirmation) &&
      !settings_.coarse_only && !limits_certificate_) {
    const double limits =
        operands * kPerOperand + 3.0 * kPerBracket +
        static_cast<double>(kRepairCount) * (1.0 + std::min<double>(operands, kRepairGroups)) +
        settling;
    // Where it does not do for both, the coarse rate has all of it.
    const double both = (here - limits - again) / (2.0 * kMargin * least);
    if (both >= kLeastEffort) effort = both;
  }
  effort_ = std::clamp(effort, kLastEffort, settings_.effort);
}

// A place where the drop is likely to be below the target, by what little is known.
double Search::cautious_octaves() const {
  // Nothing is known of the coarse rate before one has passed; of several operands, what each does.
  if (phase_ == SearchPhase::kCoarse && !bracket_.seen_pass) return ray_.low;
  const double high = grid_octaves(std::min(bracket_.failed, ray_.last));
  const double middle = 0.5 * (grid_octaves(std::max<int64_t>(0, bracket_.passed)) + high);
  const ResponseFit fit = fit_near(middle);
  const double target = target_near(middle);
  return std::clamp(fit.octaves_at(target) - fit.deviation_at(target), ray_.low, high);
}

void Search::keep_to_budget() {
  if (budget_ == 0 || state_ != SearchState::kRunning) return;
  const bool hopeless =
      confirming() && !sweeping() && test_->count() == 0 &&
      left() < BettingTest::least_count(bound(), attempt_alpha(attempt_));  // if no score dropped
  if (left() <= 0 || hopeless) {
    run_out();
  } else if (sweeping() || confirming()) {
    return;
  } else if (phase_ == SearchPhase::kOperand) {
    if (!limits_affordable()) run_out();
  } else if (left() <= reserve()) {
    start_test(cautious_octaves());
    keep_to_budget();
  }
}

// The budget is used up, or what is left of it would not do for what comes next.
void Search::run_out() {
  while (state_ == SearchState::kRunning && !sweeping() && confirming() && confirmed_) {
    finish_level(*confirmed_);
  }
  if (state_ != SearchState::kRunning) return;
  ended_by_budget_ = true;
  state_ = coarse_certificate_ ? SearchState::kDone : SearchState::kFailed;
}

void Search::replay(const std::vector<Report>& history) {
  for (const Report& event : history) report(event.id, event.difference);
}

std::string Search::message() const {
  const std::string target =
      (settings_.quantile > 0.0
           ? "a drop of at most " + number(settings_.max_drop) + " for a fraction " +
                 number(settings_.quantile) + " of the chips"
           : "a mean drop of at most " + number(settings_.max_drop)) +
      " with confidence " + number(settings_.confidence);
  const std::string coarse_known = coarse_certificate_ ? "; the coarse rate of " + number(coarse_) +
                                                             " for all operands is confirmed"
                                                       : "";
  switch (state_) {
    case SearchState::kRunning:
      return "the search has not ended";
    case SearchState::kDone:
      if (ended_by_budget_) {
        return "the budget of " + std::to_string(budget_) +
               " observations ended the search in its phase '" + to_string(phase_) + "', before " +
               (limits_certificate_ ? "all limits were tried"
                                    : "limits of single operands were confirmed") +
               ", which takes about " + std::to_string(expected_trials()) + coarse_known;
      }
      return target + " is confirmed";
    case SearchState::kUnreachable:
      return target + " could not be confirmed even at a bit error rate of " +
             number(settings_.floor) +
             ", the least that is tried: " + std::to_string(moments_.count) +
             " chips there showed a mean drop of " +
             number(moments_.drop / static_cast<double>(std::max<int64_t>(1, moments_.count))) +
             coarse_known;
    case SearchState::kFailed:
      if (ended_by_budget_) {
        return "the budget of " + std::to_string(budget_) +
               " observations ended the search in its phase '" + to_string(phase_) +
               "', before any rate was confirmed, which takes " +
               std::to_string(BettingTest::least_count(bound(), attempt_alpha(attempt_))) +
               " observations at the least beyond those made to find one; allow about " +
               std::to_string(expected_trials()) + ", and resume from the journal if one was kept";
      }
      return "max_trials (" + std::to_string(settings_.max_trials) +
             ") observations were not enough: the search ended in its phase '" + to_string(phase_) +
             "'" + coarse_known + "; allow about " + std::to_string(expected_trials()) +
             ", and resume from the journal if one was kept";
  }
  return "";
}

int64_t Search::expected_trials() const {
  const int64_t done = reported();
  const bool over = state_ != SearchState::kRunning && state_ != SearchState::kFailed;
  if (over && !ended_by_budget_) return done;
  const double count = static_cast<double>(moments_.count);
  const double operands = static_cast<double>(settings_.operands.size());
  // Typical observations per decision, and parts of what is allowed that are typically used;
  // guesses, for a progress bar only.
  if (sweeping()) {
    const double each = static_cast<double>(sweep_observations(settings_));
    const double coarse_steps = std::log2(static_cast<double>(ray_.last) + 2.0);
    double steps = coarse_steps;
    if (!settings_.coarse_only) {
      const double reference = coarse_ > 0.0 ? coarse_ : std::sqrt(settings_.floor * ceiling_);
      steps += 0.6 * operands * std::log2(ceiling_ / reference) / settings_.sweep_octaves;
    }
    return std::max(done + 1, static_cast<int64_t>(each * steps));
  }
  constexpr double kRepair = static_cast<double>(kRepairCount);
  const double least = static_cast<double>(least_confirmation(settings_));
  const double effort = ended_by_budget_ ? settings_.effort : effort_;
  const double confirm =
      (settings_.aim > 0.0 ? 1.0 / std::max(0.1, 1.0 - settings_.aim) : effort) * least;
  const double settle = std::max(48.0, kSettling * least);
  // One point where the ceiling is the floor.
  const double grid = std::max(1.0, std::log2(ceiling_ / settings_.floor) / kSpacing);
  // Of one rate or factor: what is left of it where the search is at it, all of it before.
  const double level_left = [&] {
    switch (stage_) {
      case Stage::kBracket:
        return kPerBracket *
                   std::log2(static_cast<double>(bracket_.failed - bracket_.passed) + 1.0) +
               settle + confirm;
      case Stage::kRepair:
        return kRepair * (1.0 + static_cast<double>(groups_.size() - group_ % groups_.size())) +
               kPerBracket + settle + confirm;
      case Stage::kSettle: {
        double settled = count;
        for (const ResponsePoint& point : ray_.points) {
          if (point.count == rule_.most) settled += static_cast<double>(point.count);
        }
        return std::max(1.0, settle - settled) + confirm;
      }
      case Stage::kConfirm:
        return std::max(1.0, confirm - count);
    }
    return 0.0;
  }();
  const double joint =
      kPerBracket * 3.0 + kRepair * (1.0 + std::min(operands, 8.0)) + settle + confirm;
  double left = 0.0;
  switch (phase_) {
    case SearchPhase::kCoarse:
    case SearchPhase::kCoarseConfirmation:
      left = level_left +
             (settings_.coarse_only
                  ? 0.0
                  : kPerOperand * operands * std::min(1.0, std::log2(grid) / 5.0) + joint);
      break;
    case SearchPhase::kOperand:
      left = kPerOperand * (operands - static_cast<double>(position_)) + joint;
      break;
    case SearchPhase::kJoint:
    case SearchPhase::kConfirmation:
      left = level_left;
      break;
  }
  const int64_t expected = done + static_cast<int64_t>(left);
  return budget_ == 0 || ended_by_budget_ ? expected : std::min(expected, budget_);
}

std::vector<int64_t> draw_samples(uint64_t draw_seed, int64_t population, int64_t count) {
  if (count < 1 || count > population) {
    throw std::invalid_argument("count is " + std::to_string(count) +
                                "; allowed is 1 to the population (" + std::to_string(population) +
                                ")");
  }
  // Only what has moved is held, so that a small draw from a large set is cheap.
  std::unordered_map<int64_t, int64_t> moved;
  const auto at = [&moved](int64_t index) {
    const auto found = moved.find(index);
    return found == moved.end() ? index : found->second;
  };
  std::vector<int64_t> drawn(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const PhiloxWords words =
        draw(draw_seed, Stream::kSearch, kDrawIndex, static_cast<uint64_t>(i), 0);
    const uint64_t bits =
        static_cast<uint64_t>(words.word[0]) | (static_cast<uint64_t>(words.word[1]) << 32);
    // floor(bits * left / 2^64), in halves because there is no portable 128-bit integer.
    const uint64_t left = static_cast<uint64_t>(population - i);
    const uint64_t low = (bits & 0xffffffffu) * (left & 0xffffffffu);
    const uint64_t cross1 = (bits >> 32) * (left & 0xffffffffu) + (low >> 32);
    const uint64_t cross2 = (bits & 0xffffffffu) * (left >> 32) + (cross1 & 0xffffffffu);
    const uint64_t high = (bits >> 32) * (left >> 32) + (cross1 >> 32) + (cross2 >> 32);
    const int64_t other = i + static_cast<int64_t>(high);
    drawn[static_cast<size_t>(i)] = at(other);
    moved[other] = at(i);
  }
  return drawn;
}

}  // namespace eden
