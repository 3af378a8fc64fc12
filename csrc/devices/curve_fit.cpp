#include "devices/curve_fit.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "base/refusal.h"
#include "devices/search.h"

namespace eden {
namespace {

// Scales are searched for between these multiples of the distance of the places.
constexpr double kSmallestScale = 1e-3;
constexpr double kLargestScale = 1e3;
constexpr double kFarthestLocation = 1e4;
// Up to so many groups with something in common are searched for in one simplex.
constexpr size_t kJoint = 2;

// Log-odds of the rate at an operating point.
struct RateAt {
  double at;
  double value;
};

// What is held while the rest is fitted.
struct Fixed {
  std::optional<double> location, log_scale, asymptote;
  std::optional<RateAt> log_odds;  // of the rate at a place; takes the location's freedom
};

class CurveGroup {
 public:
  CurveGroup(const std::vector<CurveCondition>& conditions, const CurveRule& rule)
      : conditions_(conditions), rule_(rule) {
    double least = kInfinity, most = -kInfinity;
    for (const CurveCondition& condition : conditions) {
      least = std::min(least, condition.at), most = std::max(most, condition.at);
    }
    // One place alone has no width to measure scales by; its size stands in.
    width_ = most > least ? most - least : std::max(std::abs(most), 1.0);
    middle_ = 0.5 * (least + most);
  }

  double lowest_log_scale() const { return std::log(kSmallestScale * width_); }
  double highest_log_scale() const { return std::log(kLargestScale * width_); }
  double width() const { return width_; }
  double middle() const { return middle_; }

  double log_likelihood(const CurveCoordinates& s) const {
    double sum = 0.0;
    for (const CurveCondition& condition : conditions_) {
      sum += condition.likelihood(s.log_odds(rule_.link, condition.at));
    }
    return sum;
  }

  // The curves through two conditions, or through one where the scale is held.
  std::vector<CurveCoordinates> starts(const Fixed& held) const {
    std::vector<double> asymptotes;
    double most = kLowestLogOdds;
    for (const CurveCondition& condition : conditions_) most = std::max(most, rough(condition));
    if (held.asymptote) {
      asymptotes = {*held.asymptote};
    } else if (rule_.asymptote == Asymptote::kOne) {
      asymptotes = {kWholeAsymptote};
    } else {
      asymptotes = {10.0, std::min(most + 0.05, kWholeAsymptote),
                    std::min(most + 1.0, kWholeAsymptote)};
    }
    std::vector<CurveCoordinates> result;
    for (const double asymptote : asymptotes) {
      for (size_t i = 0; i < conditions_.size(); ++i) {
        const double first = curve_argument(rule_.link, rough(conditions_[i]), asymptote);
        if (held.log_scale) {
          result.push_back(
              {conditions_[i].at + std::exp(*held.log_scale) * first, *held.log_scale, asymptote});
          continue;
        }
        for (size_t j = i + 1; j < conditions_.size(); ++j) {
          const double second = curve_argument(rule_.link, rough(conditions_[j]), asymptote);
          const double scale = (conditions_[j].at - conditions_[i].at) / (first - second);
          if (!(scale > 0.0) || !std::isfinite(scale)) continue;
          result.push_back({conditions_[i].at + scale * first, std::log(scale), asymptote});
        }
      }
    }
    if (result.empty()) {
      result.push_back({middle_, held.log_scale.value_or(std::log(0.3 * width_)), asymptotes[0]});
    }
    return result;
  }

  struct Best {
    CurveCoordinates at;
    double value;
  };

  // Moves the location so that the rate at a place is the one given; false where none does.
  bool through(const RateAt& log_odds, CurveCoordinates& s) const {
    if (log_odds.value >= s.asymptote) return false;
    s.location = log_odds.at +
                 std::exp(s.log_scale) * curve_argument(rule_.link, log_odds.value, s.asymptote);
    return std::isfinite(s.location);
  }

  Best best(const Fixed& held, const std::vector<CurveCoordinates>& starts) const {
    const bool free_location = !held.location && !held.log_odds;
    const bool free_scale = !held.log_scale;
    const bool free_asymptote = !held.asymptote && rule_.asymptote != Asymptote::kOne;
    const auto complete = [&](const std::vector<double>& x, CurveCoordinates& s) {
      size_t next = 0;
      if (free_location) {
        s.location = std::clamp(x[next++], middle_ - kFarthestLocation * width_,
                                middle_ + kFarthestLocation * width_);
      }
      if (free_scale) {
        s.log_scale = std::clamp(x[next++], lowest_log_scale(), highest_log_scale());
      }
      if (free_asymptote) s.asymptote = std::clamp(x[next++], -kWholeAsymptote, kWholeAsymptote);
      return !held.log_odds || through(*held.log_odds, s);
    };
    Best best{starts.front(), -kInfinity};
    for (CurveCoordinates start : starts) {
      if (held.location) start.location = *held.location;
      if (held.log_scale) start.log_scale = *held.log_scale;
      if (held.asymptote) start.asymptote = *held.asymptote;
      if (rule_.asymptote == Asymptote::kOne) start.asymptote = kWholeAsymptote;
      if (held.log_odds && free_asymptote && start.asymptote <= held.log_odds->value) {
        start.asymptote = held.log_odds->value + 0.1;
      }
      std::vector<double> x, steps;
      if (free_location) x.push_back(start.location), steps.push_back(0.05 * width_);
      if (free_scale) x.push_back(start.log_scale), steps.push_back(0.3);
      if (free_asymptote) x.push_back(start.asymptote), steps.push_back(0.3);
      const auto function = [&](const std::vector<double>& values) {
        CurveCoordinates s = start;
        return complete(values, s) ? log_likelihood(s) : kImpossible;
      };
      Point found = climb(function, x, steps, 1e-5);
      // A simplex can collapse on a ridge: it starts once more from where it stopped.
      if (!x.empty()) found = climb(function, found.x, steps, 1e-6);
      if (found.value > best.value) {
        CurveCoordinates s = start;
        if (complete(found.x, s)) best = {s, found.value};
      }
    }
    return best;
  }

 private:
  // Log-odds of a condition; without errors, or with nothing else, of what bounds it.
  double rough(const CurveCondition& condition) const {
    const ConditionLikelihood& likelihood = condition.likelihood;
    if (likelihood.informative()) return likelihood.best();
    return likelihood.best() > 0 ? likelihood.lower(1.0) : likelihood.upper(1.0);
  }

  const std::vector<CurveCondition>& conditions_;
  CurveRule rule_;
  double width_, middle_;
};

// All groups under one rule.
class CurveGroups {
 public:
  CurveGroups(const std::vector<std::vector<CurveCondition>>& groups, const CurveRule& rule)
      : rule_(rule) {
    if (groups.empty()) refuse("no groups of conditions; allowed is one or more");
    for (size_t g = 0; g < groups.size(); ++g) {
      const bool told = std::any_of(
          groups[g].begin(), groups[g].end(),
          [](const CurveCondition& condition) { return condition.likelihood.best() > -kInfinity; });
      if (!told) {
        refuse("group ", g, " has no condition with errors; allowed is one or more");
      }
      for (const CurveCondition& condition : groups[g]) {
        if (!std::isfinite(condition.at)) {
          refuse("group ", g, " has a condition at a place that is not finite");
        }
      }
      groups_.emplace_back(groups[g], rule);
    }
  }

  size_t size() const { return groups_.size(); }
  const CurveGroup& operator[](size_t g) const { return groups_[g]; }
  bool shares() const { return rule_.shared_scale || rule_.asymptote == Asymptote::kShared; }

  struct Best {
    std::vector<CurveCoordinates> groups;
    double value;
  };

  // `held` applies to one group.
  Best best(size_t group, const Fixed& held, const std::vector<CurveCoordinates>* warm) const {
    if (!shares()) {
      Best result{warm ? *warm : std::vector<CurveCoordinates>(size()), 0.0};
      for (size_t g = 0; g < size(); ++g) {
        const Fixed own = g == group ? held : Fixed{};
        if (warm && g != group) {
          result.value += groups_[g].log_likelihood((*warm)[g]);
          continue;
        }
        const CurveGroup::Best found =
            groups_[g].best(own, warm ? around(g, (*warm)[g], own) : groups_[g].starts(own));
        result.groups[g] = found.at;
        result.value += found.value;
      }
      return result;
    }
    if (warm && size() <= kJoint) return best_jointly(group, held, *warm);
    const bool share_asymptote = rule_.asymptote == Asymptote::kShared;
    const auto inner = [&](const std::vector<double>& x) {
      Best result{std::vector<CurveCoordinates>(size()), 0.0};
      for (size_t g = 0; g < size(); ++g) {
        Fixed own = g == group ? held : Fixed{};
        size_t next = 0;
        if (rule_.shared_scale) {
          own.log_scale =
              std::clamp(x[next++], groups_[g].lowest_log_scale(), groups_[g].highest_log_scale());
        }
        if (share_asymptote)
          own.asymptote = std::clamp(x[next++], -kWholeAsymptote, kWholeAsymptote);
        std::vector<CurveCoordinates> starts;
        if (warm) {
          starts =
              g == group ? around(g, (*warm)[g], own) : std::vector<CurveCoordinates>{(*warm)[g]};
        } else {
          starts = groups_[g].starts(own);
        }
        if (own.log_odds && own.asymptote && own.log_odds->value >= *own.asymptote) {
          return Best{result.groups, kImpossible};
        }
        const CurveGroup::Best found = groups_[g].best(own, starts);
        result.groups[g] = found.at;
        result.value += found.value;
      }
      return result;
    };
    std::vector<std::vector<double>> starts;
    const auto add = [&](const CurveCoordinates& s) {
      std::vector<double> x;
      if (rule_.shared_scale) x.push_back(held.log_scale.value_or(s.log_scale));
      if (share_asymptote) x.push_back(held.asymptote.value_or(s.asymptote));
      starts.push_back(std::move(x));
    };
    if (warm) {
      add((*warm)[group]);
    } else {
      // The median of what the groups would choose alone.
      std::vector<CurveCoordinates> alone;
      for (const CurveGroup& one : groups_) alone.push_back(one.best({}, one.starts({})).at);
      const auto median = [&](double CurveCoordinates::* member) {
        std::vector<double> values;
        for (const CurveCoordinates& s : alone) values.push_back(s.*member);
        std::nth_element(values.begin(), values.begin() + static_cast<long>(values.size() / 2),
                         values.end());
        return values[values.size() / 2];
      };
      add({0.0, median(&CurveCoordinates::log_scale), median(&CurveCoordinates::asymptote)});
      add({0.0, std::log(0.3 * groups_[0].width()), 10.0});
    }
    Point found{{}, -kInfinity};
    for (const std::vector<double>& start : starts) {
      const Point one =
          climb([&](const std::vector<double>& x) { return inner(fixed(x, held)).value; }, start,
                std::vector<double>(start.size(), 0.2), 1e-4, 150);
      if (one.value > found.value) found = one;
    }
    return inner(fixed(found.x, held));
  }

 private:
  // All parameters of few groups in one search, from where a neighbouring one ended.
  Best best_jointly(size_t group, const Fixed& held,
                    const std::vector<CurveCoordinates>& warm) const {
    const bool own_scale = !rule_.shared_scale;
    const bool own_asymptote = rule_.asymptote == Asymptote::kOwn;
    const bool shared_asymptote = rule_.asymptote == Asymptote::kShared;
    // One list of free parameters, read and written in the same order.
    const auto visit = [&](std::vector<CurveCoordinates>& all, const auto& each) {
      const auto over = [&](bool shared, double CurveCoordinates::* member,
                            std::optional<double> at, double step) {
        if (shared) {
          if (!at) each(all[0].*member, step);
          for (CurveCoordinates& s : all) s.*member = at.value_or(all[0].*member);
          return;
        }
        for (size_t g = 0; g < all.size(); ++g) {
          if (g == group && at) {
            all[g].*member = *at;
          } else {
            each(all[g].*member, step);
          }
        }
      };
      over(!own_scale, &CurveCoordinates::log_scale, held.log_scale, 0.2);
      if (shared_asymptote || own_asymptote) {
        over(shared_asymptote, &CurveCoordinates::asymptote, held.asymptote, 0.2);
      }
      for (size_t g = 0; g < all.size(); ++g) {
        if (g == group && held.location) {
          all[g].location = *held.location;
        } else if (g != group || !held.log_odds) {
          each(all[g].location, 0.05 * groups_[g].width());
        }
      }
    };
    const auto complete = [&](std::vector<CurveCoordinates>& all) {
      for (size_t g = 0; g < all.size(); ++g) {
        all[g].log_scale = std::clamp(all[g].log_scale, groups_[g].lowest_log_scale(),
                                      groups_[g].highest_log_scale());
        all[g].asymptote = std::clamp(all[g].asymptote, -kWholeAsymptote, kWholeAsymptote);
      }
      return !held.log_odds || groups_[group].through(*held.log_odds, all[group]);
    };
    Best best{warm, -kInfinity};
    for (const double shift : {0.0, -1.2, 1.2}) {
      if (shift != 0.0 && held.log_scale) break;
      std::vector<CurveCoordinates> all = warm;
      for (CurveCoordinates& s : all) {
        s.log_scale += shift;
        if (held.log_odds && s.asymptote <= held.log_odds->value &&
            rule_.asymptote != Asymptote::kOne) {
          s.asymptote = held.log_odds->value + 0.1;
        }
      }
      std::vector<double> x, steps;
      visit(all, [&](double& value, double step) { x.push_back(value), steps.push_back(step); });
      const auto set = [&](const std::vector<double>& values) {
        size_t next = 0;
        visit(all, [&](double& value, double) { value = values[next++]; });
        return complete(all);
      };
      const auto function = [&](const std::vector<double>& values) {
        if (!set(values)) return kImpossible;
        double sum = 0.0;
        for (size_t g = 0; g < size(); ++g) sum += groups_[g].log_likelihood(all[g]);
        return sum;
      };
      Point found = climb(function, x, steps, 1e-4);
      found = climb(function, found.x, steps, 1e-5);
      if (found.value > best.value && set(found.x)) best = {all, found.value};
    }
    return best;
  }

  // Shared parameters that are held stay where they are.
  std::vector<double> fixed(std::vector<double> x, const Fixed& held) const {
    if (rule_.shared_scale && held.log_scale) x[0] = *held.log_scale;
    if (rule_.asymptote == Asymptote::kShared && held.asymptote) x.back() = *held.asymptote;
    return x;
  }

  std::vector<CurveCoordinates> around(size_t group, const CurveCoordinates& s,
                                       const Fixed& held) const {
    std::vector<CurveCoordinates> result{s};
    // A parameter that is held moves the others along a ridge that is narrower than a step.
    if (held.location || held.log_scale || held.asymptote) {
      for (const CurveCoordinates& start : groups_[group].starts(held)) result.push_back(start);
    } else {
      for (const double shift : {-1.2, 1.2}) {
        result.push_back({s.location, s.log_scale + shift, s.asymptote});
      }
    }
    return result;
  }

  std::vector<CurveGroup> groups_;
  CurveRule rule_;
};

std::vector<CurveCoordinates> coordinates_of(const CurveFit& fit, size_t groups) {
  if (fit.groups.size() != groups) {
    refuse("the fit has ", fit.groups.size(), " groups; allowed is that of the conditions, ",
           groups);
  }
  std::vector<CurveCoordinates> result;
  for (const CurveParameters& parameters : fit.groups)
    result.push_back(CurveCoordinates::of(parameters));
  return result;
}

void check_group(size_t group, size_t groups, double drop) {
  if (group >= groups) {
    refuse("group is ", group, "; allowed is below ", groups);
  }
  if (!(drop > 0.0)) {
    refuse("drop is ", drop, "; allowed is above 0");
  }
}

// Both ends of a profile: the last solution starts the next search, so that ridges are followed.
CurveEnds profile_ends(const CurveGroups& curves, const std::vector<CurveCoordinates>& best,
                       double value, size_t group, const std::function<Fixed(double)>& hold,
                       double from, double step, double low, double high, double drop,
                       double tolerance) {
  const auto end = [&](double direction, double limit) {
    std::vector<CurveCoordinates> warm = best;
    const auto excess = [&](double x) {
      const CurveGroups::Best found = curves.best(group, hold(x), &warm);
      if (found.value > kImpossible) warm[group] = found.groups[group];
      return drop - (value - found.value);
    };
    return open_crossing(excess, from, direction * step, limit, tolerance);
  };
  return {end(-1.0, low), end(1.0, high)};
}

}  // namespace

CurveFit fit_curves(const std::vector<std::vector<CurveCondition>>& groups, const CurveRule& rule) {
  const CurveGroups curves(groups, rule);
  const CurveGroups::Best found = curves.best(0, {}, nullptr);
  CurveFit fit;
  for (const CurveCoordinates& s : found.groups) fit.groups.push_back(s.parameters());
  fit.log_likelihood = found.value;
  const int64_t count = static_cast<int64_t>(groups.size());
  fit.parameters = count + (rule.shared_scale ? 1 : count);
  if (rule.asymptote != Asymptote::kOne)
    fit.parameters += rule.asymptote == Asymptote::kShared ? 1 : count;
  return fit;
}

CurveEnds curve_ends(const std::vector<std::vector<CurveCondition>>& groups, const CurveRule& rule,
                     const CurveFit& fit, size_t group, double at, double drop) {
  check_group(group, groups.size(), drop);
  const CurveGroups curves(groups, rule);
  const std::vector<CurveCoordinates> best = coordinates_of(fit, groups.size());
  const double from = best[group].log_odds(rule.link, at);
  const auto hold = [&](double x) {
    Fixed held;
    held.log_odds = RateAt{at, x};
    return held;
  };
  double scale = kInfinity;
  for (const CurveCondition& condition : groups[group]) {
    scale = std::min(scale, condition.likelihood.scale());
  }
  return profile_ends(curves, best, fit.log_likelihood, group, hold, from, std::min(scale, 0.3),
                      kLowestLogOdds + 1.0, kHighestLogOdds - 1.0, drop,
                      1e-2 * std::min(scale, 0.3));
}

CurveEnds parameter_ends(const std::vector<std::vector<CurveCondition>>& groups,
                         const CurveRule& rule, const CurveFit& fit, size_t group, int parameter,
                         double drop) {
  check_group(group, groups.size(), drop);
  if (parameter < 0 || parameter > 2) {
    refuse("parameter is ", parameter, "; allowed are 0 (location), 1 (scale) and 2 (asymptote)");
  }
  const CurveGroups curves(groups, rule);
  const std::vector<CurveCoordinates> best = coordinates_of(fit, groups.size());
  const CurveGroup& own = curves[group];
  const double far = 100.0 * own.width();
  CurveEnds ends;
  if (parameter == 0) {
    const auto hold = [](double x) {
      Fixed held;
      held.location = x;
      return held;
    };
    return profile_ends(curves, best, fit.log_likelihood, group, hold, best[group].location,
                        0.01 * own.width(), std::min(own.middle(), best[group].location) - far,
                        std::max(own.middle(), best[group].location) + far, drop,
                        1e-4 * own.width());
  }
  if (parameter == 1) {
    const auto hold = [](double x) {
      Fixed held;
      held.log_scale = x;
      return held;
    };
    ends = profile_ends(curves, best, fit.log_likelihood, group, hold, best[group].log_scale, 0.02,
                        own.lowest_log_scale(), own.highest_log_scale(), drop, 1e-4);
    return {std::exp(ends.low), std::exp(ends.high)};
  }
  if (rule.asymptote == Asymptote::kOne) return {1.0, 1.0};
  const auto hold = [](double x) {
    Fixed held;
    held.asymptote = x;
    return held;
  };
  ends = profile_ends(curves, best, fit.log_likelihood, group, hold,
                      std::min(best[group].asymptote, kWholeAsymptote - 1.0), 0.02,
                      -kWholeAsymptote, kWholeAsymptote, drop, 1e-4);
  return {inverse_logit(ends.low), inverse_logit(ends.high)};
}

}  // namespace eden
