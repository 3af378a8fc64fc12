// Bit error rates as functions of a latency or a supply voltage, by maximum likelihood on counts.
//
// Cells differ in the latency that they need. If the need is distributed as G((need - location) /
// scale) over a share `asymptote` of the cells, the rate of errors at the operating point `at` is
//
//     rate(at) = asymptote * G((location - at) / scale),
//
// which falls as `at` grows, whatever the parameters (probit analysis: Finney, Probit Analysis,
// 1947; the asymptote is the natural response of Abbott's formula seen from the other side).
//
// The likelihood has two levels. Readings of one condition are beta-binomial about the rate of that
// condition, with the variance phi of the logarithm of the odds between readings (fit.h). A
// condition is thus told by one function, the log-likelihood of its log-odds with phi given or
// profiled out, which is tabulated once; curves are fitted to these functions. A condition without
// errors tells by its likelihood like any other.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "devices/fit.h"

namespace eden {

enum class CurveLink { kProbit, kLogit };

// The share of cells that can fail: all of them, one value per group, or one for all groups.
enum class Asymptote { kOne, kOwn, kShared };

struct CurveParameters {
  double location;   // where half of the asymptote is reached, in the unit of `at`
  double scale;      // of the spread of cells, in the unit of `at`
  double asymptote;  // 0 to 1
};

// Logarithm of the odds of the rate at an operating point.
double curve_log_odds(CurveLink link, const CurveParameters& parameters, double at);

// The log-likelihood of the log-odds of one condition, relative to its maximum.
class ConditionLikelihood {
 public:
  // With `dispersion` absent it is profiled out, which takes two readings and a count other than
  // none and all. `weight` multiplies the result: it makes the quantiles of few readings those of
  // Student's t, or discounts readings that depend on each other. Throws std::invalid_argument for
  // no readings, for counts that are none and for a dispersion that the readings do not tell.
  ConditionLikelihood(const std::vector<Count>& readings, std::optional<double> dispersion,
                      double weight);

  double operator()(double log_odds) const;
  double best() const {
    return best_;
  }  // log-odds; -infinity without errors, infinity without any but
  double scale() const { return scale_; }
  double dispersion() const { return dispersion_; }
  double log_likelihood() const { return log_likelihood_; }  // unweighted, at the maximum
  bool informative() const { return informative_; }  // whether some but not all cells failed
  // Where the function has fallen by `drop` on either side; the ends may be infinite.
  double lower(double drop) const;
  double upper(double drop) const;
  // Logarithm of the integral of its exponential over a normal distribution of the log-odds.
  double log_marginal(double mean, double deviation) const;

 private:
  double node(int i) const;

  double center_, scale_, best_, dispersion_, log_likelihood_;
  bool informative_;
  int half_;
  std::vector<double> values_, slopes_;  // at center + scale sinh(i step), i from -half to half
};

struct CurveCondition {
  double at;
  ConditionLikelihood likelihood;
};

struct CurveRule {
  CurveLink link;
  Asymptote asymptote;
  bool shared_scale;
};

struct CurveFit {
  std::vector<CurveParameters> groups;
  double log_likelihood;  // relative to one free rate per condition: 0 is a perfect fit
  int64_t parameters;
};

// An end that the likelihood leaves open is infinite (a scale's lower end 0, an asymptote's 1).
struct CurveEnds {
  double low;
  double high;
};

// Fits one curve per group, with scale and asymptote shared or not. Throws std::invalid_argument
// for no groups, a group without a condition that has errors, or places that are not finite.
CurveFit fit_curves(const std::vector<std::vector<CurveCondition>>& groups, const CurveRule& rule);

// Where the profile likelihood of the log-odds of a group's rate at an operating point has fallen
// by `drop`.
CurveEnds curve_ends(const std::vector<std::vector<CurveCondition>>& groups, const CurveRule& rule,
                     const CurveFit& fit, size_t group, double at, double drop);

// The same for the location, scale or asymptote (0, 1, 2) of a group.
CurveEnds parameter_ends(const std::vector<std::vector<CurveCondition>>& groups,
                         const CurveRule& rule, const CurveFit& fit, size_t group, int parameter,
                         double drop);

// Where a further reading of `cells` cells lies, as numbers of errors: the profile predictive
// likelihood (Bjornstad, "Predictive likelihood: a review", Stat. Sci. 5, 1990) of its log-odds has
// fallen by `drop` at the ends. The dispersion is profiled out unless given. With `repeats` above 1
// the reading is the sum of as many, of `cells` cells together.
CurveEnds predict_reading(const std::vector<Count>& readings, double cells, int repeats,
                          std::optional<double> dispersion, double drop);

// A reading against the others of its condition.
struct Deviation {
  double log_odds;     // its log-odds less their mean
  double studentized;  // the same by the standard error of the difference, if readings were normal
};

// Each reading against the others. The variance is that of the others, or the dispersion where one
// is given, and the binomial one besides. Needs three readings (two with a dispersion) and throws
// std::invalid_argument otherwise.
std::vector<Deviation> leave_one_out(const std::vector<Count>& readings,
                                     std::optional<double> dispersion);

struct DispersionFit {
  double dispersion;
  double log_likelihood;
};

// One dispersion for all conditions, each with a rate of its own. Throws std::invalid_argument for
// a condition that does not tell its dispersion.
DispersionFit fit_dispersion(const std::vector<std::vector<Count>>& conditions);

// A normal distribution of a condition's log-odds over modules.
struct PopulationFit {
  double mean;
  double deviation;
  double log_likelihood;
};

// Maximum likelihood over modules of the mean and the standard deviation of their log-odds, each
// module told by its likelihood, so that one without errors counts as what it is: below a bound.
// Throws std::invalid_argument for less than two modules or without one that has errors.
PopulationFit fit_population(const std::vector<ConditionLikelihood>& modules);

// Standard normal numbers of a seed and a stream: number i is a function of (seed, stream, i)
// alone.
std::vector<double> seeded_normals(uint64_t seed, uint32_t stream, size_t count);

}  // namespace eden
