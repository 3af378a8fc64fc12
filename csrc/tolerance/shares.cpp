// The strategy "shares": coarse -> operands -> joint.
//   coarse     one rate common to all operands, found and confirmed
//   operands   each operand alone, the others on nearly reliable memory: the rate at which it costs
//              a set drop
//   joint      all operands together, each at the rate at which it is expected to use its share of
//              the drop: one factor common to all is found and confirmed as the coarse rate is
// The least of the limits is confirmed as the coarse rate, too, where it is higher.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <vector>

#include "tolerance/bisection.h"
#include "tolerance/budget.h"
#include "tolerance/level.h"
#include "tolerance/strategy.h"

namespace eden {
namespace {

// No operand's share of the drop is below this part of an equal one: it costs the others little and
// leaves a rate to an operand that is worth almost nothing.
constexpr double kLeastShare = 0.1;
// Octaves above a ceiling that a fit may place an operand's rate at.
constexpr double kBeyondCeiling = 6.0;

ResponsePrior prior_of(const SearchSettings& settings) {
  ResponsePrior prior;
  if (settings.quantile > 0.0) {
    // The share of chips above a drop rises more steeply than the drop.
    prior.slope = 3.0;
    prior.slope_deviation = 1.5;
  }
  return prior;
}

class Shares final : public Strategy {
 public:
  explicit Shares(Run& run)
      : run_(run),
        count_(run.settings.operands.size()),
        order_(run.settings.by_weight()),
        coarse_(run, std::vector<double>(count_, 1.0),
                std::vector<double>(count_, run.settings.ceiling()), prior_of(run.settings),
                coarse_effort(run.settings, run.settings.effort)) {}

  Course<SearchState> course() override {
    run_.phase = SearchPhase::kCoarse;
    const bool any = co_await coarse_.find({}, {});
    if (!any) co_return run_.samples_spent ? SearchState::kFailed : SearchState::kUnreachable;
    keep_coarse();
    if (run_.settings.coarse_only) co_return SearchState::kDone;

    co_await operands();

    run_.phase = SearchPhase::kJoint;
    level_ =
        &joint_.emplace(run_, shared_rates(), ceilings(), coarse_.prior(), run_.settings.effort);
    const bool limits = co_await joint_->find(0.0, slope_);
    if (!limits) co_return run_.samples_spent ? SearchState::kDone : SearchState::kUnreachable;
    run_.limits = joint_->confirmed()->rates;
    run_.limits_certificate = joint_->confirmed()->certificate;

    // Rates that are all lower than the limits need not do less harm (a drop need not grow with
    // every rate), so the least limit becomes the coarse rate only by a test of its own, out of
    // what the attempts at the coarse rate have left.
    const double least = std::ranges::min(run_.limits);
    const bool spent = run_.budget > 0 && run_.left() < reserve(run_, joint_->attempt());
    const bool higher =
        std::min(least, run_.settings.ceiling()) >= run_.coarse * std::exp2(kWorthRaising);
    const bool samples =
        coarse_.confirmations_left() >= run_.settings.least_confirmation(coarse_.attempt() + 1);
    if (!higher || spent || !samples) co_return SearchState::kDone;
    run_.phase = SearchPhase::kCoarseConfirmation;
    level_ = &coarse_;
    co_await coarse_.confirm_also(std::log2(least));
    keep_coarse();
    co_return SearchState::kDone;
  }

  int64_t longest() const override { return run_.test ? level_->longest_test() : run_.most; }

  std::pair<double, double> interval() const override {
    if (run_.phase != SearchPhase::kOperand) return level_->interval();
    return {std::exp2(bisection_.lower()), std::exp2(bisection_.upper())};
  }

  double expected(double effort) const override {
    const double count = static_cast<double>(count_);
    const bool at_coarse = level_ == &coarse_ && !run_.settings.coarse_only;
    const double for_limits =
        at_coarse ? std::min(run_.settings.effort, effort / kCoarsePart) : effort;
    const double confirmation =
        (run_.settings.aim > 0.0 ? 1.0 / std::max(0.1, 1.0 - run_.settings.aim) : for_limits) *
        static_cast<double>(run_.settings.least_confirmation());
    const double joint =
        3.0 * kPerBisection +
        static_cast<double>(kRepairCount) * (1.0 + std::min<double>(count, kRepairGroups)) +
        settling(run_.settings, run_.settings.effort) + confirmation;
    switch (run_.phase) {
      case SearchPhase::kOperand:
        return kPerOperand * static_cast<double>(count_ - position_) + joint;
      case SearchPhase::kCoarse:
      case SearchPhase::kCoarseConfirmation:
        if (!run_.settings.coarse_only) {
          // One point where the ceiling is the floor.
          const double points =
              std::max(1.0, std::log2(run_.settings.ceiling() / run_.settings.floor) / kSpacing);
          return level_->expected(effort) +
                 kPerOperand * count * std::min(1.0, std::log2(points) / 5.0) + joint;
        }
        [[fallthrough]];
      default:
        return level_->expected(effort);
    }
  }

  void plan() override { level_->plan(); }

  bool hopeless() const override {
    if (run_.phase == SearchPhase::kOperand) return !limits_affordable(run_, position_);
    // Not even if no score dropped.
    return run_.test && run_.test->count() == 0 &&
           run_.left() < run_.settings.least_confirmation(level_->attempt());
  }
  bool short_of_budget() const override {
    return run_.phase != SearchPhase::kOperand && level_->short_of_budget();
  }
  bool holds_confirmed() const override { return run_.test && level_->confirmed(); }
  int64_t attempt() const override { return level_->attempt(); }

 private:
  void keep_coarse() {
    run_.coarse = coarse_.confirmed()->rates.front();
    run_.coarse_certificate = coarse_.confirmed()->certificate;
  }

  std::vector<double> ceilings() const {
    std::vector<double> found;
    for (const SearchOperand& operand : run_.settings.operands) found.push_back(operand.ceiling);
    return found;
  }

  Course<bool> operands() {
    const SearchSettings& settings = run_.settings;
    if (settings.quantile <= 0.0) slope_ = std::clamp(coarse_.slope(), 0.7, 3.0);
    run_.phase = SearchPhase::kOperand;
    run_.by_drop = true;
    run_.responses.assign(count_, {});
    alone_.assign(count_, {});
    for (position_ = 0; position_ < count_; ++position_) {
      const size_t operand = order_[position_];
      const double ceiling = settings.operands[operand].ceiling;
      run_.operand = static_cast<int>(operand);
      bisection_ = Bisection::between(std::log2(run_.coarse), std::log2(ceiling), kSpacing);
      std::vector<ResponsePoint> points;
      int64_t observations = 0;
      while (bisection_.open()) {
        const double octaves = bisection_.on_trial();
        // The others are all but reliable, so that what is seen is this operand's.
        std::vector<double> rates(count_, settings.floor);
        // The power of a logarithm may leave the ceiling by the last bits.
        rates[operand] = std::min(std::exp2(octaves), ceiling);
        const bool pass = co_await run_.is_below(operand_target(settings), std::move(rates), 5, 16);
        points.push_back(run_.point_at(octaves));
        observations += run_.moments.count;
        bisection_.tell(pass);
      }
      tell_alone(operand, points, observations);
    }
    run_.operand = -1;
    co_return true;
  }

  void tell_alone(size_t operand, const std::vector<ResponsePoint>& points, int64_t observations) {
    const SearchSettings& settings = run_.settings;
    const double spacing = bisection_.last <= 0 ? 0.0
                                                : (bisection_.high - bisection_.low) /
                                                      static_cast<double>(bisection_.last);
    const double origin = std::min(
        bisection_.high, bisection_.low + spacing * (static_cast<double>(bisection_.passed) + 0.5));
    ResponsePrior prior;
    prior.slope = slope_;
    prior.level = operand_target(settings);
    const ResponseFit fit = fit_response(points, origin, kFitWidth, prior);
    alone_[operand] = fit;
    const double at = fit.octaves_at(settings.max_drop);
    const double off = kInterval * fit.deviation_at(settings.max_drop);
    const auto rate = [&](double octaves) {
      return std::exp2(std::clamp(octaves, std::log2(settings.floor), bisection_.high));
    };
    run_.responses[operand] = {rate(at), rate(at - off), rate(at + off), fit.slope, observations};
  }

  // Where drops are powers of the rates and add up, a weighted sum of logarithms of the rates is
  // largest for a given drop if each operand's share of it goes with its weight over its exponent
  // (the Lagrange condition weight = multiplier x slope x drop).
  std::vector<double> shared_rates() const {
    const SearchSettings& settings = run_.settings;
    const double equal = 1.0 / static_cast<double>(count_), weights = settings.total_weight();
    std::vector<double> shares(count_), rates(count_);
    for (size_t i = 0; i < count_; ++i) {
      const double share = weights > 0.0 ? settings.weight(i) / weights : equal;
      shares[i] = std::max(share, kLeastShare * equal) / alone_[i].slope;
    }
    const double total = std::accumulate(shares.begin(), shares.end(), 0.0);
    for (size_t i = 0; i < count_; ++i) {
      const double drop = shares[i] / total * kFirstAim * settings.max_drop;
      const double most = std::log2(settings.operands[i].ceiling) + kBeyondCeiling;
      rates[i] = std::exp2(std::clamp(alone_[i].octaves_at(drop), std::log2(settings.floor), most));
    }
    return rates;
  }

  Run& run_;
  size_t count_;
  std::vector<size_t> order_;
  Level coarse_;
  std::optional<Level> joint_;
  Level* level_ = &coarse_;
  size_t position_ = 0;  // of the operand at hand, in the order of their weights
  Bisection bisection_;
  double slope_ = 1.25;             // of one operand's drop
  std::vector<ResponseFit> alone_;  // of each operand, the others all but reliable
};

}  // namespace

std::unique_ptr<Strategy> make_shares(Run& run) { return std::make_unique<Shares>(run); }

}  // namespace eden
