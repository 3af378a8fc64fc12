// The strategy "sweep", the reference: the coarse rate by bisection, then one operand raised by one
// step at a time, round and round, each until a step of its own fails. Every step is a test with a
// fixed number of observations, at a level of (1 - confidence) / (most steps possible).
#include <algorithm>
#include <cmath>
#include <vector>

#include "tolerance/bisection.h"
#include "tolerance/strategy.h"

namespace eden {
namespace {

class Sweep final : public Strategy {
 public:
  explicit Sweep(Run& run)
      : run_(run),
        each_(run.settings.sweep_observations()),
        bisection_(Bisection::between(std::log2(run.settings.floor),
                                      std::log2(run.settings.ceiling()),
                                      run.settings.sweep_coarse_octaves)) {}

  Course<SearchState> course() override {
    const SearchSettings& settings = run_.settings;
    const size_t count = settings.operands.size();
    run_.phase = SearchPhase::kCoarse;
    bisection_.passed = -1;  // the lowest rate has not been tested either
    while (bisection_.open()) {
      const double rate =
          std::clamp(std::exp2(bisection_.on_trial()), settings.floor, settings.ceiling());
      const bool pass = co_await stands(std::vector<double>(count, rate));
      if (pass) {
        run_.coarse = rate;
        run_.coarse_certificate = certificate();
      }
      bisection_.tell(pass);
    }
    if (!run_.coarse_certificate) co_return SearchState::kUnreachable;
    if (settings.coarse_only) co_return SearchState::kDone;

    run_.phase = SearchPhase::kOperand;
    run_.limits.assign(count, run_.coarse);
    run_.limits_certificate = run_.coarse_certificate;
    failed_ = 0;
    std::vector<size_t> rising = settings.by_weight();
    while (!rising.empty()) {
      std::vector<size_t> still;
      for (const size_t operand : rising) {
        const double ceiling = settings.operands[operand].ceiling;
        if (run_.limits[operand] >= ceiling) continue;
        run_.operand = static_cast<int>(operand);
        std::vector<double> rates = run_.limits;
        rates[operand] = std::min(ceiling, rates[operand] * std::exp2(settings.sweep_octaves));
        const bool pass = co_await stands(rates);
        if (!pass) continue;
        run_.limits = rates;
        run_.limits_certificate = certificate();
        still.push_back(operand);
      }
      rising = std::move(still);
    }
    co_return SearchState::kDone;
  }

  int64_t longest() const override { return each_; }

  std::pair<double, double> interval() const override {
    if (run_.phase == SearchPhase::kOperand) {
      return {std::ranges::max(run_.limits), std::ranges::max(run_.rates)};
    }
    return {std::exp2(bisection_.lower()), std::exp2(bisection_.upper())};
  }

  double expected(double) const override {
    const SearchSettings& settings = run_.settings;
    double steps = std::log2(static_cast<double>(bisection_.last) + 2.0);
    if (!settings.coarse_only) {
      const double reference =
          run_.coarse > 0.0 ? run_.coarse : std::sqrt(settings.floor * settings.ceiling());
      steps += 0.6 * static_cast<double>(settings.operands.size()) *
               std::log2(settings.ceiling() / reference) / settings.sweep_octaves;
    }
    return std::max(1.0, static_cast<double>(each_) * steps - static_cast<double>(run_.reported()));
  }

 private:
  // One step; all of its observations, also where it is decided before.
  Course<bool> stands(std::vector<double> rates) {
    run_.ask_confirmation(std::move(rates),
                          BettingTest(run_.settings.bound(), run_.settings.sweep_alpha()));
    ++tests_;
    while (run_.moments.count < each_) {
      const double difference = co_await run_.observation();
      run_.test->add(run_.observed(difference));
    }
    const bool passed = run_.test->rejected();
    failed_ += passed ? 0 : 1;
    co_return passed;
  }

  Certificate certificate() const {
    const double alpha = run_.settings.sweep_alpha();
    return run_.certificate(alpha, alpha * static_cast<double>(tests_), failed_);
  }

  Run& run_;
  int64_t each_;  // observations of a step
  Bisection bisection_;
  int64_t tests_ = 0, failed_ = 0;
};

}  // namespace

std::unique_ptr<Strategy> make_sweep(Run& run) { return std::make_unique<Sweep>(run); }

}  // namespace eden
