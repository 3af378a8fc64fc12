#include "core/search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include "core/random_layout.h"

namespace eden {
namespace {

// Details of stream kSearch.
constexpr uint32_t kDrawSeed = 0;   // index: trial
constexpr uint32_t kDrawIndex = 1;  // index: position in the draw; the key is the draw's seed

// Level of the confidence sequence that steering decisions stop by, and the number of observations
// at which it is tightest.
constexpr double kSteeringAlpha = 0.2;
constexpr double kSteeringCount = 12.0;

constexpr double kOperandAim = 2.0;

// A confirmation is given up once it is unlikely to end within this many times its least count.
constexpr double kPatience = 4.0;
constexpr int64_t kLeastBeforeFutile = 16;

// A failed trial lowers the rates by what a drop proportional to the rate would ask for, within
// these factors.
constexpr double kLeastBackOff = 0.75;
constexpr double kLargestBackOff = 0.1;

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
  if (!(s.coarse_octaves > 0.0 && s.coarse_octaves <= 8.0)) {
    refuse("coarse_octaves", s.coarse_octaves, "above 0, up to 8");
  }
  if (!(s.operand_octaves > 0.0 && s.operand_octaves <= 8.0)) {
    refuse("operand_octaves", s.operand_octaves, "above 0, up to 8");
  }
  if (!(s.coarse_aim > 0.0 && std::isfinite(s.coarse_aim))) {
    refuse("coarse_aim", s.coarse_aim, "a number above 0");
  }
  if (!(s.joint_aim > 0.0 && std::isfinite(s.joint_aim))) {
    refuse("joint_aim", s.joint_aim, "a number above 0");
  }
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
    ceiling_ = std::min(ceiling_, operand.ceiling);
  }
  const int64_t least = least_confirmation(s) * (s.coarse_only ? 1 : 2);
  if (s.max_trials < least) {
    throw std::invalid_argument(
        "max_trials is " + std::to_string(s.max_trials) + ", too few samples of chips: with " +
        (s.quantile > 0.0 ? "quantile " + number(s.quantile) : "max_drop " + number(s.max_drop)) +
        " and confidence " + number(s.confidence) + " the confirmation" +
        (s.coarse_only ? "" : "s of the coarse rate and of the limits") + " take at least " +
        std::to_string(least) + " observations, even if no score drops");
  }
  order_.resize(s.operands.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(), [this](int a, int b) {
    return settings_.operands[static_cast<size_t>(a)].bytes >
           settings_.operands[static_cast<size_t>(b)].bytes;
  });
  bisection_.start(
      static_cast<int64_t>(std::ceil(std::log2(ceiling_ / s.floor) / s.coarse_octaves)));
  next_coarse();
}

int64_t Search::least_confirmation(const SearchSettings& settings) {
  const double alpha = (1.0 - settings.confidence) * 6.0 / (std::numbers::pi * std::numbers::pi);
  return BettingTest::least_count(
      settings.quantile > 0.0 ? 1.0 - settings.quantile : settings.max_drop, alpha);
}

double Search::bound() const {
  return settings_.quantile > 0.0 ? 1.0 - settings_.quantile : settings_.max_drop;
}

double Search::observed(double difference) const {
  if (settings_.quantile > 0.0) return difference > settings_.max_drop ? 1.0 : 0.0;
  return difference;
}

double Search::attempt_alpha(int64_t attempt) const {
  const double k = static_cast<double>(attempt);
  return (1.0 - settings_.confidence) * 6.0 / (std::numbers::pi * std::numbers::pi * k * k);
}

Search::Rule Search::steer(double aim, int64_t least, int64_t most) const {
  return {aim * bound(), least, most};
}

// In proportion to a confirmation, which is what it saves when it fails.
Search::Rule Search::settle(double aim) const {
  const int64_t least = std::clamp<int64_t>(least_confirmation(settings_) / 6, 16, 64);
  return steer(aim, least, 2 * least);
}

std::optional<bool> Search::decided() const {
  if (moments_.count < 2) return std::nullopt;
  const double n = static_cast<double>(moments_.count);
  const double mean = moments_.mean();
  // One pseudo-observation keeps equal observations from looking like certainty.
  const double doubt = settings_.quantile > 0.0 ? bound() * (1.0 - bound()) : bound() * bound();
  const double variance = (std::max(0.0, moments_.squares - n * mean * mean) + doubt) / n;
  const double half_width = steering_half_width(std::sqrt(variance), moments_.count);
  if (mean - half_width > rule_.threshold) return false;
  if (moments_.count >= rule_.most) return mean <= rule_.threshold;
  if (moments_.count >= rule_.least && mean + half_width <= rule_.threshold) return true;
  return std::nullopt;
}

double Search::grid_rate(double high, const Bisection& bisection, int64_t point) const {
  const double low = phase_ == SearchPhase::kOperand ? coarse_ : settings_.floor;
  if (point <= 0 || bisection.last <= 0) return low;
  if (point >= bisection.last) return high;
  return low *
         std::pow(high / low, static_cast<double>(point) / static_cast<double>(bisection.last));
}

std::vector<double> Search::common(double rate) const {
  return std::vector<double>(settings_.operands.size(), rate);
}

std::vector<double> Search::lowered(double octaves) const {
  std::vector<double> rates = raised_;
  for (double& rate : rates) rate = std::max(coarse_, rate * std::exp2(-octaves));
  return rates;
}

void Search::try_rates(std::vector<double> rates, Rule rule) {
  rates_ = std::move(rates);
  rule_ = rule;
  moments_ = {};
  test_.reset();
}

void Search::start_test(std::vector<double> rates) {
  rates_ = std::move(rates);
  moments_ = {};
  test_.emplace(bound(), attempt_alpha(attempt_));
}

// The rate that a drop proportional to it would need, relative to the present one.
double Search::back_off(double aim) const {
  const double mean = moments_.mean();
  const double wanted = mean > 0.0 ? aim * bound() / mean : kLeastBackOff;
  return std::clamp(wanted, kLargestBackOff, kLeastBackOff);
}

void Search::next_coarse() {
  phase_ = SearchPhase::kCoarse;
  if (bisection_.open()) {
    try_rates(common(grid_rate(ceiling_, bisection_, bisection_.point())),
              steer(settings_.coarse_aim, 12, 64));
    return;
  }
  coarse_ = grid_rate(ceiling_, bisection_, bisection_.passed);
  settling_ = true;
  try_rates(common(coarse_), settle(settings_.coarse_aim));
}

void Search::start_operand() {
  phase_ = SearchPhase::kOperand;
  for (; position_ < order_.size(); ++position_) {
    const double high = settings_.operands[static_cast<size_t>(order_[position_])].ceiling;
    const double octaves = std::log2(high / coarse_);
    if (octaves <= 0.0) continue;
    bisection_.start(static_cast<int64_t>(std::ceil(octaves / settings_.operand_octaves)));
    next_operand();
    return;
  }
  start_joint();
}

void Search::next_operand() {
  const size_t operand = static_cast<size_t>(order_[position_]);
  const double high = settings_.operands[operand].ceiling;
  if (bisection_.open()) {
    std::vector<double> rates = common(coarse_);
    rates[operand] = grid_rate(high, bisection_, bisection_.point());
    // Above max_drop, where a drop stands out from the noise sooner: the joint step scales back
    // what the operands add up to.
    const double aim = std::min(kOperandAim, 0.5 + 0.5 / bound());
    try_rates(std::move(rates), steer(aim, 5, 16));
    return;
  }
  raised_[operand] = grid_rate(high, bisection_, bisection_.passed);
  ++position_;
  start_operand();
}

void Search::start_joint() {
  phase_ = SearchPhase::kJoint;
  joint_depth_ = std::log2(*std::max_element(raised_.begin(), raised_.end()) / coarse_);
  bisection_.start(static_cast<int64_t>(std::ceil(joint_depth_ / settings_.coarse_octaves)));
  settling_ = false;
  next_joint();
}

void Search::next_joint() {
  const auto at = [this](int64_t point) {
    if (bisection_.last == 0) return raised_;
    const double part = static_cast<double>(point) / static_cast<double>(bisection_.last);
    return lowered(joint_depth_ * (1.0 - part));
  };
  if (bisection_.open()) {
    try_rates(at(bisection_.point()), steer(settings_.joint_aim, 16, 96));
    return;
  }
  limits_ = at(bisection_.passed);
  settling_ = true;
  try_rates(limits_, settle(settings_.joint_aim));
}

Certificate Search::certificate() const {
  Certificate result;
  result.alpha = attempt_alpha(attempt_);
  for (int64_t k = 1; k <= attempt_; ++k) result.total_alpha += attempt_alpha(k);
  result.back_offs = attempt_ - 1;
  result.chips = moments_.count;
  result.mean_drop = moments_.drop / static_cast<double>(moments_.count);
  result.violating = static_cast<double>(moments_.above) / static_cast<double>(moments_.count);
  result.upper_bound = test_->upper_bound();
  return result;
}

void Search::decide(bool pass) {
  const auto lower_limits = [this](double factor) {
    // At the coarse rate already, they go below it: the coarse rate's own confirmation may be the
    // one in error.
    const bool at_coarse = std::all_of(limits_.begin(), limits_.end(),
                                       [this](double rate) { return rate <= coarse_; });
    const double least = at_coarse ? settings_.floor : coarse_;
    for (double& rate : limits_) rate = std::min(rate, std::max(least, rate * factor));
  };
  switch (phase_) {
    case SearchPhase::kCoarse:
      if (!settling_) {
        bisection_.tell(pass);
        next_coarse();
      } else if (pass || coarse_ <= settings_.floor) {
        phase_ = SearchPhase::kCoarseConfirmation;
        attempt_ = 1;
        start_test(common(coarse_));
      } else {
        coarse_ = std::max(settings_.floor, coarse_ * back_off(settings_.coarse_aim));
        try_rates(common(coarse_), rule_);
      }
      return;
    case SearchPhase::kCoarseConfirmation:
      if (!pass) {
        if (coarse_ <= settings_.floor) {
          state_ = SearchState::kUnreachable;
          return;
        }
        coarse_ = std::max(settings_.floor, coarse_ * back_off(settings_.coarse_aim));
        ++attempt_;
        start_test(common(coarse_));
        return;
      }
      coarse_certificate_ = certificate();
      if (settings_.coarse_only) {
        state_ = SearchState::kDone;
        return;
      }
      raised_ = common(coarse_);
      start_operand();
      return;
    case SearchPhase::kOperand:
      bisection_.tell(pass);
      next_operand();
      return;
    case SearchPhase::kJoint: {
      if (!settling_) {
        bisection_.tell(pass);
        next_joint();
        return;
      }
      const bool raised = std::any_of(limits_.begin(), limits_.end(),
                                      [this](double rate) { return rate > coarse_; });
      if (pass || !raised) {
        phase_ = SearchPhase::kConfirmation;
        attempt_ = 1;
        start_test(limits_);
      } else {
        lower_limits(back_off(settings_.joint_aim));
        try_rates(limits_, rule_);
      }
      return;
    }
    case SearchPhase::kConfirmation:
      if (pass) {
        limits_certificate_ = certificate();
        state_ = SearchState::kDone;
        return;
      }
      if (std::all_of(limits_.begin(), limits_.end(),
                      [this](double rate) { return rate <= settings_.floor; })) {
        state_ = SearchState::kUnreachable;
        return;
      }
      lower_limits(back_off(settings_.joint_aim));
      ++attempt_;
      start_test(limits_);
      return;
  }
}

std::optional<Trial> Search::next_trial() const {
  if (state_ != SearchState::kRunning) return std::nullopt;
  Trial trial;
  trial.id = static_cast<int64_t>(history_.size());
  trial.phase = phase_;
  trial.operand = phase_ == SearchPhase::kOperand ? order_[position_] : -1;
  trial.rates = rates_;
  trial.chip = confirming()
                   ? derive_chip(settings_.seed, ChipPurpose::kConfirmation, confirmation_chips_)
                   : derive_chip(settings_.seed, ChipPurpose::kSearch, search_chips_);
  const PhiloxWords words =
      draw(settings_.seed, Stream::kSearch, kDrawSeed, static_cast<uint64_t>(trial.id), 0);
  trial.draw_seed =
      static_cast<uint64_t>(words.word[0]) | (static_cast<uint64_t>(words.word[1]) << 32);
  return trial;
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
  if (confirming()) {
    ++confirmation_chips_;
    test_->add(y);
    const int64_t most =
        static_cast<int64_t>(kPatience * static_cast<double>(BettingTest::least_count(
                                             bound(), attempt_alpha(attempt_))));
    if (test_->rejected()) {
      decide(true);
    } else if (test_->count() >= std::min(kLeastBeforeFutile, most) && test_->futile(most)) {
      decide(false);
    }
  } else {
    ++search_chips_;
    if (const std::optional<bool> pass = decided()) decide(*pass);
  }
  if (state_ == SearchState::kRunning &&
      static_cast<int64_t>(history_.size()) >= settings_.max_trials) {
    state_ = SearchState::kFailed;
  }
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
      return target + " is confirmed";
    case SearchState::kUnreachable:
      return target + " could not be confirmed even at a bit error rate of " +
             number(settings_.floor) +
             ", the least that is tried: " + std::to_string(moments_.count) +
             " chips there showed a mean drop of " +
             number(moments_.drop / static_cast<double>(std::max<int64_t>(1, moments_.count))) +
             coarse_known;
    case SearchState::kFailed:
      return "max_trials (" + std::to_string(settings_.max_trials) +
             ") observations were not enough: the search ended in its phase '" + to_string(phase_) +
             "'" + coarse_known + "; allow about " + std::to_string(expected_trials()) +
             ", and resume from the journal if one was kept";
  }
  return "";
}

int64_t Search::expected_trials() const {
  const int64_t done = static_cast<int64_t>(history_.size());
  if (state_ != SearchState::kRunning && state_ != SearchState::kFailed) return done;
  // Typical observations per decision; guesses, for a progress bar only.
  constexpr double kPerCoarse = 20.0, kPerOperand = 8.0, kPerJoint = 32.0;
  const double confirm =
      static_cast<double>(least_confirmation(settings_)) / (1.0 - settings_.joint_aim * 0.8);
  const double settling = static_cast<double>(settle(1.0).least);
  const auto steps = [](double octaves, double grid) {
    return std::log2(std::max(1.0, octaves / grid) + 1.0);
  };
  const double reference = coarse_ > 0.0 ? coarse_ : std::sqrt(settings_.floor * ceiling_);
  const double joint =
      kPerJoint * steps(std::log2(ceiling_ / reference), settings_.coarse_octaves) + settling;
  double left = 0.0;
  const auto count = static_cast<double>(moments_.count);
  switch (phase_) {
    case SearchPhase::kCoarse:
      left += settling_ ? std::max(1.0, settling - count)
                        : settling + kPerCoarse * std::log2(static_cast<double>(bisection_.failed -
                                                                                bisection_.passed) +
                                                            1.0);
      left += confirm;
      break;
    case SearchPhase::kCoarseConfirmation:
      left += std::max(1.0, confirm - count);
      break;
    default:
      break;
  }
  if (!settings_.coarse_only) {
    if (phase_ == SearchPhase::kConfirmation) {
      left += std::max(1.0, confirm - count);
    } else if (phase_ == SearchPhase::kJoint) {
      left += confirm + std::max(1.0, joint - count);
    } else {
      const double operands = static_cast<double>(order_.size() - position_);
      left += confirm + joint +
              operands * kPerOperand *
                  steps(std::log2(ceiling_ / reference), settings_.operand_octaves);
    }
  }
  return done + static_cast<int64_t>(left);
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
