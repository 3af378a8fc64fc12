// Rates that rise and fall together, by one factor common to all: how the highest ones are found
// that a confirmation is expected to show, and how they are confirmed.
//
//   bisect    in octaves
//   repair    operands that cost more together than they are worth are lowered (of several rates)
//   settle    observations at the rate that a local fit names, until the fit is sure of it
//   confirm   a betting test on chips that no decision before it has seen; where it fails, the
//   rates
//             are lowered and it starts again on new chips; where it shows that there is room,
//             higher rates are confirmed once more
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "tolerance/bisection.h"
#include "tolerance/course.h"
#include "tolerance/response.h"
#include "tolerance/run.h"

namespace eden {

// Octaves between the points that a bisection tries. What is between them is left to the fit.
inline constexpr double kSpacing = 1.0;
inline constexpr double kFitWidth = 1.5;
// Part of the bound that is steered to before enough is seen to tell.
inline constexpr double kFirstAim = 0.75;
// Octaves that there must be to win before confirmed rates are raised and confirmed anew.
inline constexpr double kWorthRaising = 0.4;
inline constexpr double kInterval = 1.645;  // standard errors of a normal interval of 90%

// The drop that one operand alone is steered to: it stands out from the noise sooner than max_drop.
double operand_target(const SearchSettings& settings);

class Level {
 public:
  struct Confirmed {
    double octaves = 0.0;
    std::vector<double> rates;
    Certificate certificate;
  };

  // Rates base * 2^octaves, each between the floor and its ceiling, whose confirmation is meant to
  // take `effort` times the least, where no budget says less.
  Level(Run& run, std::vector<double> base, std::vector<double> ceilings, ResponsePrior prior,
        double effort);

  // All of it; whether any rates could be confirmed. `first` is where the bisection begins.
  // With the slope of one operand's drop, there are repairs.
  Course<bool> find(std::optional<double> first, std::optional<double> slope);
  // The last part alone, from these rates on, out of what the attempts before have left. What was
  // confirmed before stays so where these are not.
  Course<bool> confirm_also(double octaves);

  const std::optional<Confirmed>& confirmed() const { return confirmed_; }
  int64_t attempt() const { return attempt_; }
  // Observations that its confirmations may still have.
  int64_t confirmations_left() const;
  double slope() const { return fit_near(confirmed_->octaves).slope; }
  const ResponsePrior& prior() const { return prior_; }

  void plan();
  bool short_of_budget() const;                // steering has to end
  int64_t longest_test() const;                // observations of the test at hand, at most
  std::pair<double, double> interval() const;  // of the highest rate
  double expected(double effort) const;        // a guess at the reports that are left

 private:
  enum class Stage { kBisect, kRepair, kSettle, kConfirm };

  Course<bool> bisect(std::optional<double> first);
  Course<bool> repair(double slope);
  Course<std::vector<double>> drops_at(std::vector<double> rates);
  Course<double> settle();
  Course<bool> confirm(double octaves);
  Course<bool> test(double octaves);

  std::vector<double> rates(double octaves) const;
  void enter(Stage stage);
  ResponseFit fit_near(double octaves) const;
  double target_near(double octaves) const;
  double cautious_octaves() const;

  Run& run_;
  double effort_;
  std::vector<double> base_, ceilings_;
  ResponsePrior prior_;
  Stage stage_ = Stage::kBisect;
  Bisection bisection_;
  std::vector<ResponsePoint> points_;
  std::vector<std::pair<double, double>> seen_;  // octaves and observation, once it is settled
  double octaves_ = 0.0;                         // on trial
  size_t groups_left_ = 0;                       // of a repair
  int64_t attempt_ = 1, failed_attempts_ = 0;
  int64_t own_confirmations_ = 0, confirmations_ = 0;  // that it may have, 0 for no end; had
  int raises_ = 0;
  std::optional<Confirmed> confirmed_;
};

}  // namespace eden
