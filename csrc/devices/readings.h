// Readings of one condition as beta-binomial counts about one rate, in the log-odds of it.
#pragma once

#include <optional>
#include <vector>

#include "base/numerics.h"
#include "devices/fit.h"

namespace eden {

// Log-odds beyond these are not told from 0 and 1 by 10^15 cells.
inline constexpr double kLowestLogOdds = -60.0;
inline constexpr double kHighestLogOdds = 60.0;

double log_probability(const Count& count, double log_odds, double dispersion);

// The log-odds of a count, half an error added so that they are finite.
double observed_log_odds(const Count& count);

class Readings {
 public:
  // Throws std::invalid_argument for no readings, for counts that are none, and for a dispersion
  // that is none or, if absent, not told by them.
  Readings(const std::vector<Count>& readings, std::optional<double> dispersion);

  double log_likelihood(double log_odds, double dispersion) const;
  // The most likely logarithm of the dispersion about a given rate.
  Maximum best_dispersion(double log_odds) const;
  // The same where a neighbouring rate has its dispersion at `near`.
  Maximum best_dispersion(double log_odds, double near) const;

  double size() const { return size_; }
  double errors() const { return errors_; }
  double cells() const { return cells_; }
  // Whether no cell failed, or every one did.
  bool none() const { return none_; }
  bool all() const { return all_; }
  // Of observed log-odds.
  double least() const { return least_; }
  double most() const { return most_; }

 private:
  struct Distinct {
    Count count;
    double times;
  };

  std::vector<Distinct> counts_;
  bool none_ = true, all_ = true;
  double size_, errors_ = 0.0, cells_ = 0.0, least_, most_;
};

struct DispersionFit {
  double dispersion;
  double log_likelihood;
};

// One dispersion for all conditions, each with a rate of its own. Throws std::invalid_argument for
// a condition that does not tell its dispersion.
DispersionFit fit_dispersion(const std::vector<std::vector<Count>>& conditions);

}  // namespace eden
