// Curves of groups of conditions by maximum likelihood, with what they share, and their intervals.
#pragma once

#include <cstdint>
#include <vector>

#include "devices/condition_likelihood.h"
#include "devices/curve.h"

namespace eden {

// The share of cells that can fail: all of them, one value per group, or one for all groups.
enum class Asymptote { kOne, kOwn, kShared };

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

}  // namespace eden
