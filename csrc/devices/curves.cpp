#include "devices/curves.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <stdexcept>
#include <string>

#include "base/numerics.h"
#include "base/random_layout.h"

namespace eden {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kImpossible = -1e300;
// The range in which a dispersion's logarithm is searched for, as in fit.cpp.
// Log-odds beyond these are not told from 0 and 1 by 10^15 cells.
constexpr double kLowestLogOdds = -60.0;
constexpr double kHighestLogOdds = 60.0;
constexpr double kSpan = 80.0;  // what a table spans on either side of its centre
constexpr double kStep = 0.22;  // of its nodes, in units of scale sinh
// An asymptote of this log-odds is 1, one of its negative is 0.
constexpr double kWholeAsymptote = 36.0;
// Scales are searched for between these multiples of the distance of the places.
constexpr double kSmallestScale = 1e-3;
constexpr double kLargestScale = 1e3;
constexpr double kFarthestLocation = 1e4;
// Up to so many groups with something in common are searched for in one simplex.
constexpr size_t kJoint = 2;

// Below this a log-likelihood only has to stay finite.
constexpr double kRuledOut = -1e12;

struct Weighted {
  Count count;
  double times;
};

std::vector<Weighted> distinct(const std::vector<Count>& readings) {
  std::vector<Weighted> result;
  for (const Count& reading : readings) {
    const auto same = std::find_if(result.begin(), result.end(), [&](const Weighted& other) {
      return other.count.errors == reading.errors && other.count.cells == reading.cells;
    });
    if (same == result.end()) {
      result.push_back({reading, 1.0});
    } else {
      same->times += 1.0;
    }
  }
  return result;
}

double log_probability(const Count& count, double log_odds, double dispersion) {
  log_odds = std::clamp(log_odds, kLowestLogOdds, kHighestLogOdds);
  if (log_odds <= 0.0) return log_beta_binomial(count, inverse_logit(log_odds), dispersion);
  return log_beta_binomial({count.cells - count.errors, count.cells}, inverse_logit(-log_odds),
                           dispersion);
}

double log_probability(const std::vector<Weighted>& readings, double log_odds, double dispersion) {
  double sum = 0.0;
  for (const Weighted& reading : readings) {
    sum += reading.times * log_probability(reading.count, log_odds, dispersion);
  }
  return sum;
}

double observed_log_odds(const Count& count) {
  return std::log(count.errors + 0.5) - std::log(count.cells - count.errors + 0.5);
}

template <class Function>
Maximum golden_section(const Function& function, double low, double high, int iterations) {
  constexpr double kRatio = 0.6180339887498949;
  double left = high - kRatio * (high - low), right = low + kRatio * (high - low);
  double at_left = function(left), at_right = function(right);
  for (int i = 0; i < iterations; ++i) {
    if (at_left >= at_right) {
      high = right, right = left, at_right = at_left;
      left = high - kRatio * (high - low), at_left = function(left);
    } else {
      low = left, left = right, at_left = at_right;
      right = low + kRatio * (high - low), at_right = function(right);
    }
  }
  return at_left >= at_right ? Maximum{left, at_left} : Maximum{right, at_right};
}

// Where a function of the logarithm of a dispersion is highest. Its profile can have a shoulder at
// the binomial end.
template <class Function>
Maximum peak_of_dispersion(const Function& function) {
  constexpr int kGrid = 14;
  const double step = (kHighestLogDispersion - kLowestLogDispersion) / kGrid;
  const Maximum best =
      highest_on_grid(function, kLowestLogDispersion, kHighestLogDispersion, kGrid);
  const Maximum finer = golden_section(function, std::max(best.place - step, kLowestLogDispersion),
                                       std::min(best.place + step, kHighestLogDispersion), 18);
  return finer.value > best.value ? finer : best;
}

// The most likely dispersion of readings about a given rate.
Maximum best_dispersion(const std::vector<Weighted>& readings, double log_odds) {
  return peak_of_dispersion(
      [&](double x) { return log_probability(readings, log_odds, std::exp(x)); });
}

// The same where a neighbouring rate has its dispersion at `near`.
Maximum best_dispersion(const std::vector<Weighted>& readings, double log_odds, double near) {
  constexpr double kBelow = 0.6, kAbove = 1.2;
  const auto function = [&](double x) { return log_probability(readings, log_odds, std::exp(x)); };
  const double low = std::max(near - kBelow, kLowestLogDispersion);
  const double high = std::min(near + kAbove, kHighestLogDispersion);
  const Maximum found = golden_section(function, low, high, 11);
  const double edge = 0.05 * (high - low);
  if (found.place - low > edge && high - found.place > edge) return found;
  return best_dispersion(readings, log_odds);
}

struct Point {
  std::vector<double> x;
  double value;
};

// Downhill simplex (Nelder and Mead, Computer Journal 7, 1965) with the coefficients of its
// authors.
Point climb(const std::function<double(const std::vector<double>&)>& function,
            const std::vector<double>& start, const std::vector<double>& steps, double tolerance,
            int evaluations = 400) {
  const size_t n = start.size();
  std::vector<Point> simplex{{start, function(start)}};
  if (n == 0) return simplex[0];
  for (size_t i = 0; i < n; ++i) {
    std::vector<double> x = start;
    x[i] += steps[i];
    const double value = function(x);
    simplex.push_back({std::move(x), value});
  }
  const auto along = [&](const std::vector<double>& centre, double factor) {
    std::vector<double> x(n);
    for (size_t i = 0; i < n; ++i) x[i] = centre[i] + factor * (simplex[n].x[i] - centre[i]);
    const double value = function(x);
    return Point{std::move(x), value};
  };
  for (int used = static_cast<int>(n) + 1; used < evaluations;) {
    std::sort(simplex.begin(), simplex.end(),
              [](const Point& a, const Point& b) { return a.value > b.value; });
    double size = 0.0;
    for (size_t i = 0; i < n; ++i) {
      size = std::max(size, std::abs(simplex[n].x[i] - simplex[0].x[i]) / std::abs(steps[i]));
    }
    if (simplex[0].value - simplex[n].value < tolerance && size < 0.1) break;
    if (size < 1e-10) break;
    std::vector<double> centre(n, 0.0);
    for (size_t k = 0; k < n; ++k) {
      for (size_t i = 0; i < n; ++i) centre[i] += simplex[k].x[i] / static_cast<double>(n);
    }
    Point reflected = along(centre, -1.0);
    ++used;
    if (reflected.value > simplex[0].value) {
      Point expanded = along(centre, -2.0);
      ++used;
      simplex[n] = expanded.value > reflected.value ? std::move(expanded) : std::move(reflected);
    } else if (reflected.value > simplex[n - 1].value) {
      simplex[n] = std::move(reflected);
    } else {
      Point contracted = along(centre, reflected.value > simplex[n].value ? -0.5 : 0.5);
      ++used;
      if (contracted.value > std::max(reflected.value, simplex[n].value)) {
        simplex[n] = std::move(contracted);
      } else {
        for (size_t k = 1; k <= n; ++k) {
          for (size_t i = 0; i < n; ++i) {
            simplex[k].x[i] = 0.5 * (simplex[k].x[i] + simplex[0].x[i]);
          }
          simplex[k].value = function(simplex[k].x);
          ++used;
        }
      }
    }
  }
  return *std::max_element(simplex.begin(), simplex.end(),
                           [](const Point& a, const Point& b) { return a.value < b.value; });
}

// Where a function that is positive inside crosses zero in the direction of `step`; infinity of the
// step's sign where it does not before the limit. Unlike numerics.h's crossing it never asks for
// the value inside, so that a search that follows a ridge starts from its last solution.
template <class Function>
double open_crossing(const Function& function, double inside, double step, double limit,
                     double tolerance) {
  double near = inside, far = inside + step;
  for (;;) {
    if (step > 0 ? far >= limit : far <= limit) {
      if (function(limit) > 0.0) return std::copysign(kInfinity, step);
      far = limit;
      break;
    }
    if (function(far) <= 0.0) break;
    near = far;
    step *= 1.7;
    far += step;
  }
  // False position with a halved value where one end stays (the Illinois variant).
  double above = function(near), below = function(far);
  int side = 0;
  for (int i = 0; i < 25 && std::abs(far - near) > tolerance; ++i) {
    const double share = std::clamp(above / (above - below), 0.05, 0.95);
    const double place = near + share * (far - near), value = function(place);
    if (value > 0.0) {
      near = place, above = value;
      if (side == 1) below *= 0.5;
      side = 1;
    } else {
      far = place, below = value;
      if (side == -1) above *= 0.5;
      side = -1;
    }
  }
  return 0.5 * (near + far);
}

void check_readings(const std::vector<Count>& readings, std::optional<double> dispersion) {
  if (readings.empty()) throw std::invalid_argument("no readings; allowed is one or more");
  for (size_t i = 0; i < readings.size(); ++i) {
    const Count& count = readings[i];
    if (!(count.cells > 0.0 && count.cells <= 1e15 && count.errors >= 0.0 &&
          count.errors <= count.cells)) {
      throw std::invalid_argument("reading " + std::to_string(i) + " has " +
                                  std::to_string(count.errors) + " errors of " +
                                  std::to_string(count.cells) +
                                  " cells; allowed is 0 to the number of cells, at most 1e15");
    }
  }
  if (dispersion && !(*dispersion >= 0.0 && *dispersion <= 1e6)) {
    throw std::invalid_argument("dispersion is " + std::to_string(*dispersion) +
                                "; allowed is 0 to 1e6");
  }
  const bool told = std::any_of(readings.begin(), readings.end(), [](const Count& count) {
    return count.errors > 0.0 && count.errors < count.cells;
  });
  if (!dispersion && (!told || readings.size() < 2)) {
    throw std::invalid_argument(
        "the dispersion cannot be fitted to " + std::to_string(readings.size()) + " readings " +
        (told ? "" : "whose counts are all none or all ") +
        "; allowed are two or more with a count other than none and all; give a dispersion");
  }
}

// Logarithms of G and of its complement.
double log_link(CurveLink link, double z) {
  if (link == CurveLink::kLogit)
    return z > 0 ? -std::log1p(std::exp(-z)) : z - std::log1p(std::exp(z));
  if (z > -30.0) return std::log(0.5 * std::erfc(-z / std::numbers::sqrt2));
  // Mills' ratio in the far tail.
  const double square = z * z;
  return -0.5 * square - std::log(-z) - 0.5 * std::log(2 * std::numbers::pi) +
         std::log1p(-1.0 / square + 3.0 / (square * square));
}

// The z at which the logarithm of G is `log_value` and that of its complement `log_rest`.
double inverse_link(CurveLink link, double log_value, double log_rest) {
  if (link == CurveLink::kLogit) return log_value - log_rest;
  if (log_value > log_rest) return -inverse_link(link, log_rest, log_value);
  // log G is concave, so Newton's method climbs to the root from below without overshooting.
  double z = -0.5 - std::sqrt(2.0 * -log_value);
  for (int i = 0; i < 30; ++i) {
    const double log_g = log_link(link, z);
    const double slope = std::exp(-0.5 * z * z - 0.5 * std::log(2 * std::numbers::pi) - log_g);
    const double step = (log_value - log_g) / slope;
    z += step;
    if (std::abs(step) < 1e-12 * (1.0 + std::abs(z))) break;
  }
  return z;
}

double log_add(double a, double b) {
  const double high = std::max(a, b);
  if (high == -kInfinity) return high;
  return high + std::log(std::exp(a - high) + std::exp(b - high));
}

// A curve's parameters as they are searched for.
struct Search {
  double location;
  double log_scale;
  double asymptote;  // log-odds
};

double search_log_odds(CurveLink link, const Search& s, double at) {
  const double z = (s.location - at) / std::exp(s.log_scale);
  const double share = log_link(CurveLink::kLogit, s.asymptote);
  const double rest = log_link(CurveLink::kLogit, -s.asymptote);
  const double fails = share + log_link(link, z);
  const double holds = log_add(rest, share + log_link(link, -z));
  return std::clamp(fails - holds, kLowestLogOdds, kHighestLogOdds);
}

CurveParameters parameters_of(const Search& s) {
  return {s.location, std::exp(s.log_scale),
          s.asymptote >= kWholeAsymptote ? 1.0 : inverse_logit(s.asymptote)};
}

Search search_of(const CurveParameters& p) {
  return {p.location, std::log(p.scale),
          p.asymptote >= 1.0 ? kWholeAsymptote : std::min(logit(p.asymptote), kWholeAsymptote)};
}

// Log-odds of the rate at an operating point.
struct RateAt {
  double at;
  double value;
};

// What is held while the rest is fitted.
struct Held {
  std::optional<double> location, log_scale, asymptote;
  std::optional<RateAt> log_odds;  // of the rate at a place; takes the location's freedom
};

class Group {
 public:
  Group(const std::vector<CurveCondition>& conditions, const CurveRule& rule)
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

  double log_likelihood(const Search& s) const {
    double sum = 0.0;
    for (const CurveCondition& condition : conditions_) {
      sum += condition.likelihood(search_log_odds(rule_.link, s, condition.at));
    }
    return sum;
  }

  // The curves through two conditions, or through one where the scale is held.
  std::vector<Search> starts(const Held& held) const {
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
    std::vector<Search> result;
    for (const double asymptote : asymptotes) {
      for (size_t i = 0; i < conditions_.size(); ++i) {
        const double first = place_on(rough(conditions_[i]), asymptote);
        if (held.log_scale) {
          result.push_back(
              {conditions_[i].at + std::exp(*held.log_scale) * first, *held.log_scale, asymptote});
          continue;
        }
        for (size_t j = i + 1; j < conditions_.size(); ++j) {
          const double second = place_on(rough(conditions_[j]), asymptote);
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
    Search at;
    double value;
  };

  // Moves the location so that the rate at a place is the one given; false where none does.
  bool through(const RateAt& log_odds, Search& s) const {
    if (log_odds.value >= s.asymptote) return false;
    s.location = log_odds.at + std::exp(s.log_scale) * place_on(log_odds.value, s.asymptote);
    return std::isfinite(s.location);
  }

  Best best(const Held& held, const std::vector<Search>& starts) const {
    const bool free_location = !held.location && !held.log_odds;
    const bool free_scale = !held.log_scale;
    const bool free_asymptote = !held.asymptote && rule_.asymptote != Asymptote::kOne;
    const auto complete = [&](const std::vector<double>& x, Search& s) {
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
    for (Search start : starts) {
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
        Search s = start;
        return complete(values, s) ? log_likelihood(s) : kImpossible;
      };
      Point found = climb(function, x, steps, 1e-5);
      // A simplex can collapse on a ridge: it starts once more from where it stopped.
      if (!x.empty()) found = climb(function, found.x, steps, 1e-6);
      if (found.value > best.value) {
        Search s = start;
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

  // z at which a curve of this asymptote has these log-odds.
  double place_on(double log_odds, double asymptote) const {
    if (log_odds >= asymptote) return kInfinity;
    const double log_share = log_link(CurveLink::kLogit, asymptote);
    const double value = log_link(CurveLink::kLogit, log_odds) - log_share;
    // 1 - p / A = (1 - odds ratio terms) kept free of cancellation: (A - p) / A.
    const double p = log_odds, a = asymptote;
    const double difference = std::log(-std::expm1(p - a)) - std::log1p(std::exp(p)) -
                              (a > 0 ? std::log1p(std::exp(-a)) : std::log1p(std::exp(a)) - a);
    return inverse_link(rule_.link, value, difference - log_share);
  }

  const std::vector<CurveCondition>& conditions_;
  CurveRule rule_;
  double width_, middle_;
};

// All groups under one rule.
class Curves {
 public:
  Curves(const std::vector<std::vector<CurveCondition>>& groups, const CurveRule& rule)
      : rule_(rule) {
    if (groups.empty())
      throw std::invalid_argument("no groups of conditions; allowed is one or more");
    for (size_t g = 0; g < groups.size(); ++g) {
      const bool told = std::any_of(
          groups[g].begin(), groups[g].end(),
          [](const CurveCondition& condition) { return condition.likelihood.best() > -kInfinity; });
      if (!told) {
        throw std::invalid_argument("group " + std::to_string(g) +
                                    " has no condition with errors; allowed is one or more");
      }
      for (const CurveCondition& condition : groups[g]) {
        if (!std::isfinite(condition.at)) {
          throw std::invalid_argument("group " + std::to_string(g) +
                                      " has a condition at a place that is not finite");
        }
      }
      groups_.emplace_back(groups[g], rule);
    }
  }

  size_t size() const { return groups_.size(); }
  const Group& operator[](size_t g) const { return groups_[g]; }
  bool shares() const { return rule_.shared_scale || rule_.asymptote == Asymptote::kShared; }

  struct Best {
    std::vector<Search> groups;
    double value;
  };

  // `held` applies to one group.
  Best best(size_t group, const Held& held, const std::vector<Search>* warm) const {
    if (!shares()) {
      Best result{warm ? *warm : std::vector<Search>(size()), 0.0};
      for (size_t g = 0; g < size(); ++g) {
        const Held own = g == group ? held : Held{};
        if (warm && g != group) {
          result.value += groups_[g].log_likelihood((*warm)[g]);
          continue;
        }
        const Group::Best found =
            groups_[g].best(own, warm ? around(g, (*warm)[g], own) : groups_[g].starts(own));
        result.groups[g] = found.at;
        result.value += found.value;
      }
      return result;
    }
    if (warm && size() <= kJoint) return best_jointly(group, held, *warm);
    const bool share_asymptote = rule_.asymptote == Asymptote::kShared;
    const auto inner = [&](const std::vector<double>& x) {
      Best result{std::vector<Search>(size()), 0.0};
      for (size_t g = 0; g < size(); ++g) {
        Held own = g == group ? held : Held{};
        size_t next = 0;
        if (rule_.shared_scale) {
          own.log_scale =
              std::clamp(x[next++], groups_[g].lowest_log_scale(), groups_[g].highest_log_scale());
        }
        if (share_asymptote)
          own.asymptote = std::clamp(x[next++], -kWholeAsymptote, kWholeAsymptote);
        std::vector<Search> starts;
        if (warm) {
          starts = g == group ? around(g, (*warm)[g], own) : std::vector<Search>{(*warm)[g]};
        } else {
          starts = groups_[g].starts(own);
        }
        if (own.log_odds && own.asymptote && own.log_odds->value >= *own.asymptote) {
          return Best{result.groups, kImpossible};
        }
        const Group::Best found = groups_[g].best(own, starts);
        result.groups[g] = found.at;
        result.value += found.value;
      }
      return result;
    };
    std::vector<std::vector<double>> starts;
    const auto add = [&](const Search& s) {
      std::vector<double> x;
      if (rule_.shared_scale) x.push_back(held.log_scale.value_or(s.log_scale));
      if (share_asymptote) x.push_back(held.asymptote.value_or(s.asymptote));
      starts.push_back(std::move(x));
    };
    if (warm) {
      add((*warm)[group]);
    } else {
      // The median of what the groups would choose alone.
      std::vector<Search> alone;
      for (const Group& one : groups_) alone.push_back(one.best({}, one.starts({})).at);
      const auto median = [&](double Search::* member) {
        std::vector<double> values;
        for (const Search& s : alone) values.push_back(s.*member);
        std::nth_element(values.begin(), values.begin() + static_cast<long>(values.size() / 2),
                         values.end());
        return values[values.size() / 2];
      };
      add({0.0, median(&Search::log_scale), median(&Search::asymptote)});
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
  Best best_jointly(size_t group, const Held& held, const std::vector<Search>& warm) const {
    const bool own_scale = !rule_.shared_scale;
    const bool own_asymptote = rule_.asymptote == Asymptote::kOwn;
    const bool shared_asymptote = rule_.asymptote == Asymptote::kShared;
    // One list of free parameters, read and written in the same order.
    const auto visit = [&](std::vector<Search>& all, const auto& each) {
      const auto over = [&](bool shared, double Search::* member, std::optional<double> at,
                            double step) {
        if (shared) {
          if (!at) each(all[0].*member, step);
          for (Search& s : all) s.*member = at.value_or(all[0].*member);
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
      over(!own_scale, &Search::log_scale, held.log_scale, 0.2);
      if (shared_asymptote || own_asymptote) {
        over(shared_asymptote, &Search::asymptote, held.asymptote, 0.2);
      }
      for (size_t g = 0; g < all.size(); ++g) {
        if (g == group && held.location) {
          all[g].location = *held.location;
        } else if (g != group || !held.log_odds) {
          each(all[g].location, 0.05 * groups_[g].width());
        }
      }
    };
    const auto complete = [&](std::vector<Search>& all) {
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
      std::vector<Search> all = warm;
      for (Search& s : all) {
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
  std::vector<double> fixed(std::vector<double> x, const Held& held) const {
    if (rule_.shared_scale && held.log_scale) x[0] = *held.log_scale;
    if (rule_.asymptote == Asymptote::kShared && held.asymptote) x.back() = *held.asymptote;
    return x;
  }

  std::vector<Search> around(size_t group, const Search& s, const Held& held) const {
    std::vector<Search> result{s};
    // A parameter that is held moves the others along a ridge that is narrower than a step.
    if (held.location || held.log_scale || held.asymptote) {
      for (const Search& start : groups_[group].starts(held)) result.push_back(start);
    } else {
      for (const double shift : {-1.2, 1.2}) {
        result.push_back({s.location, s.log_scale + shift, s.asymptote});
      }
    }
    return result;
  }

  std::vector<Group> groups_;
  CurveRule rule_;
};

std::vector<Search> searches(const CurveFit& fit, size_t groups) {
  if (fit.groups.size() != groups) {
    throw std::invalid_argument("the fit has " + std::to_string(fit.groups.size()) +
                                " groups; allowed is that of the conditions, " +
                                std::to_string(groups));
  }
  std::vector<Search> result;
  for (const CurveParameters& parameters : fit.groups) result.push_back(search_of(parameters));
  return result;
}

void check_group(size_t group, size_t groups, double drop) {
  if (group >= groups) {
    throw std::invalid_argument("group is " + std::to_string(group) + "; allowed is below " +
                                std::to_string(groups));
  }
  if (!(drop > 0.0)) {
    throw std::invalid_argument("drop is " + std::to_string(drop) + "; allowed is above 0");
  }
}

// Both ends of a profile: the last solution starts the next search, so that ridges are followed.
CurveEnds profile_ends(const Curves& curves, const std::vector<Search>& best, double value,
                       size_t group, const std::function<Held(double)>& hold, double from,
                       double step, double low, double high, double drop, double tolerance) {
  const auto end = [&](double direction, double limit) {
    std::vector<Search> warm = best;
    const auto excess = [&](double x) {
      const Curves::Best found = curves.best(group, hold(x), &warm);
      if (found.value > kImpossible) warm[group] = found.groups[group];
      return drop - (value - found.value);
    };
    return open_crossing(excess, from, direction * step, limit, tolerance);
  };
  return {end(-1.0, low), end(1.0, high)};
}

}  // namespace

double curve_log_odds(CurveLink link, const CurveParameters& parameters, double at) {
  if (!(parameters.scale > 0.0 && parameters.asymptote > 0.0 && parameters.asymptote <= 1.0 &&
        std::isfinite(parameters.location))) {
    throw std::invalid_argument("a curve has the scale " + std::to_string(parameters.scale) +
                                " and the asymptote " + std::to_string(parameters.asymptote) +
                                "; allowed is above 0, and above 0 to 1");
  }
  return search_log_odds(link, search_of(parameters), at);
}

ConditionLikelihood::ConditionLikelihood(const std::vector<Count>& readings,
                                         std::optional<double> dispersion, double weight) {
  check_readings(readings, dispersion);
  if (!(weight > 0.0 && weight <= 1.0)) {
    throw std::invalid_argument("weight is " + std::to_string(weight) +
                                "; allowed is above 0, up to 1");
  }
  const std::vector<Weighted> counts = distinct(readings);
  double errors = 0.0, cells = 0.0, least = kInfinity, most = -kInfinity;
  bool none = true, all = true;
  for (const Count& count : readings) {
    errors += count.errors, cells += count.cells;
    none = none && count.errors == 0.0;
    all = all && count.errors == count.cells;
    least = std::min(least, observed_log_odds(count));
    most = std::max(most, observed_log_odds(count));
  }
  informative_ = !none && !all;
  const auto at = [&](double log_odds) {
    return dispersion ? log_probability(counts, log_odds, *dispersion)
                      : best_dispersion(counts, log_odds).value;
  };
  if (!informative_) {
    dispersion_ = *dispersion;
    log_likelihood_ = 0.0;
    center_ = (none ? -1.0 : 1.0) * std::log(cells);
    best_ = none ? -kInfinity : kInfinity;
    scale_ = 1.0;
  } else {
    const double rate = (errors + 0.5) / (cells + 1.0);
    const double information = cells * rate * (1.0 - rate);
    const double margin = std::min(3.0, 10.0 / std::sqrt(information)) + 1e-3;
    const double width = most - least + 2.0 * margin;
    // The maximum is found on a grid, for the profile over the dispersion can have several.
    constexpr int kGrid = 16;
    Maximum found{least - margin, -kInfinity};
    for (int i = 0; i <= kGrid; ++i) {
      const double x = least - margin + width * i / kGrid, value = at(x);
      if (value > found.value) found = {x, value};
    }
    const Maximum finer =
        golden_section(at, found.place - width / kGrid, found.place + width / kGrid, 36);
    if (finer.value > found.value) found = finer;
    center_ = best_ = found.place;
    log_likelihood_ = found.value;
    dispersion_ = dispersion ? *dispersion : std::exp(best_dispersion(counts, best_).place);
    scale_ = std::sqrt(1.0 / information + dispersion_ / static_cast<double>(readings.size()));
  }
  half_ = static_cast<int>(std::ceil(std::asinh(kSpan / scale_) / kStep));
  values_.resize(static_cast<size_t>(2 * half_ + 1));
  for (const int direction : {-1, 1}) {
    double near = dispersion ? 0.0 : std::log(dispersion_);
    for (int i = direction < 0 ? 0 : 1; i <= half_; ++i) {
      double value;
      if (dispersion) {
        value = at(node(direction * i));
      } else {
        const Maximum found = best_dispersion(counts, node(direction * i), near);
        value = found.value, near = found.place;
      }
      value = std::isnan(value) ? kRuledOut : std::max(value - log_likelihood_, kRuledOut);
      values_[static_cast<size_t>(direction * i + half_)] =
          weight * (informative_ ? std::min(value, 0.0) : value);
    }
  }
  slopes_.resize(values_.size());
  const auto v = [&](int i) { return values_[static_cast<size_t>(std::clamp(i, 0, 2 * half_))]; };
  for (int i = 0; i <= 2 * half_; ++i) {
    const bool inner = i >= 2 && i <= 2 * half_ - 2;
    const double slope = inner ? (v(i - 2) - 8 * v(i - 1) + 8 * v(i + 1) - v(i + 2)) / 12
                               : (v(i + 1) - v(i - 1)) / (i == 0 || i == 2 * half_ ? 1.0 : 2.0);
    // No overshoot where the differences jump (Fritsch and Carlson, SIAM J. Numer. Anal. 17, 1980).
    const double before = v(i) - v(i - 1), after = v(i + 1) - v(i);
    const double limit = 3.0 * std::min(std::abs(before), std::abs(after));
    slopes_[static_cast<size_t>(i)] =
        before * after <= 0.0 ? 0.0 : std::clamp(slope, -limit, limit);
  }
}

double ConditionLikelihood::node(int i) const { return center_ + scale_ * std::sinh(kStep * i); }

double ConditionLikelihood::operator()(double log_odds) const {
  if (std::isnan(log_odds)) return kRuledOut;
  const double place = std::asinh((log_odds - center_) / scale_) / kStep + half_;
  const double within = std::clamp(place, 0.0, 2.0 * half_);
  const size_t i = std::min(static_cast<size_t>(within), static_cast<size_t>(2 * half_ - 1));
  const double t = within - static_cast<double>(i);
  const double a = values_[i], b = values_[i + 1], da = slopes_[i], db = slopes_[i + 1];
  // Cubic Hermite interpolation; beyond the table its last value, which rules the place out.
  return a + t * (da + t * (3 * (b - a) - 2 * da - db + t * (2 * (a - b) + da + db)));
}

double ConditionLikelihood::lower(double drop) const {
  if (best_ == -kInfinity) return -kInfinity;
  const auto excess = [&](double x) { return (*this)(x) + drop; };
  return open_crossing(excess, best_ == kInfinity ? center_ + kSpan : best_,
                       best_ == kInfinity ? -1.0 : -scale_, center_ - kSpan, 1e-6 * scale_);
}

double ConditionLikelihood::upper(double drop) const {
  if (best_ == kInfinity) return kInfinity;
  const auto excess = [&](double x) { return (*this)(x) + drop; };
  return open_crossing(excess, best_ == -kInfinity ? center_ - kSpan : best_,
                       best_ == -kInfinity ? 1.0 : scale_, center_ + kSpan, 1e-6 * scale_);
}

double ConditionLikelihood::log_marginal(double mean, double deviation) const {
  // The nodes resolve this likelihood, points about the mean the normal distribution.
  std::vector<double> points;
  for (int i = -half_; i <= half_; ++i) points.push_back(node(i));
  for (int i = -48; i <= 48; ++i) points.push_back(mean + deviation * i / 6.0);
  std::sort(points.begin(), points.end());
  const auto density = [&](double x) {
    const double z = (x - mean) / deviation;
    return std::exp((*this)(x)-0.5 * z * z) / (deviation * std::sqrt(2 * std::numbers::pi));
  };
  double sum = 0.0, last = density(points[0]);
  for (size_t i = 1; i < points.size(); ++i) {
    const double value = density(points[i]);
    sum += 0.5 * (value + last) * (points[i] - points[i - 1]);
    last = value;
  }
  return sum > 0.0 ? std::log(sum) : kImpossible;
}

std::vector<Deviation> leave_one_out(const std::vector<Count>& readings,
                                     std::optional<double> dispersion) {
  check_readings(readings, dispersion ? dispersion : std::optional<double>(0.0));
  const size_t least = dispersion ? 2 : 3;
  if (readings.size() < least) {
    throw std::invalid_argument("found " + std::to_string(readings.size()) +
                                " readings; allowed is " + std::to_string(least) + " or more");
  }
  std::vector<double> odds;
  double chance = 0.0;
  for (const Count& count : readings) {
    odds.push_back(observed_log_odds(count));
    chance += (1.0 / (count.errors + 0.5) + 1.0 / (count.cells - count.errors + 0.5)) /
              static_cast<double>(readings.size());
  }
  const double others = static_cast<double>(readings.size() - 1);
  std::vector<Deviation> result;
  for (size_t i = 0; i < odds.size(); ++i) {
    double mean = 0.0, square = 0.0;
    for (size_t j = 0; j < odds.size(); ++j) mean += j == i ? 0.0 : odds[j] / others;
    for (size_t j = 0; j < odds.size(); ++j) {
      square += j == i ? 0.0 : (odds[j] - mean) * (odds[j] - mean);
    }
    const double variance = (dispersion ? *dispersion : square / (others - 1.0)) + chance;
    result.push_back(
        {odds[i] - mean, (odds[i] - mean) / std::sqrt(variance * (1.0 + 1.0 / others))});
  }
  return result;
}

DispersionFit fit_dispersion(const std::vector<std::vector<Count>>& conditions) {
  std::vector<std::vector<Weighted>> counts;
  std::vector<std::pair<double, double>> ranges;
  for (const std::vector<Count>& readings : conditions) {
    check_readings(readings, std::nullopt);
    counts.push_back(distinct(readings));
    double least = kInfinity, most = -kInfinity;
    for (const Count& count : readings) {
      least = std::min(least, observed_log_odds(count));
      most = std::max(most, observed_log_odds(count));
    }
    ranges.emplace_back(least - 0.1, most + 0.1);
  }
  if (counts.empty()) {
    throw std::invalid_argument("no conditions; allowed is one or more");
  }
  const auto total = [&](double log_dispersion) {
    double sum = 0.0;
    for (size_t j = 0; j < counts.size(); ++j) {
      const auto function = [&](double x) {
        return log_probability(counts[j], x, std::exp(log_dispersion));
      };
      sum += golden_section(function, ranges[j].first, ranges[j].second, 30).value;
    }
    return sum;
  };
  const Maximum best = peak_of_dispersion(total);
  return {std::exp(best.place), best.value};
}

CurveFit fit_curves(const std::vector<std::vector<CurveCondition>>& groups, const CurveRule& rule) {
  const Curves curves(groups, rule);
  const Curves::Best found = curves.best(0, {}, nullptr);
  CurveFit fit;
  for (const Search& s : found.groups) fit.groups.push_back(parameters_of(s));
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
  const Curves curves(groups, rule);
  const std::vector<Search> best = searches(fit, groups.size());
  const double from = search_log_odds(rule.link, best[group], at);
  const auto hold = [&](double x) {
    Held held;
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
    throw std::invalid_argument("parameter is " + std::to_string(parameter) +
                                "; allowed are 0 (location), 1 (scale) and 2 (asymptote)");
  }
  const Curves curves(groups, rule);
  const std::vector<Search> best = searches(fit, groups.size());
  const Group& own = curves[group];
  const double far = 100.0 * own.width();
  CurveEnds ends;
  if (parameter == 0) {
    const auto hold = [](double x) {
      Held held;
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
      Held held;
      held.log_scale = x;
      return held;
    };
    ends = profile_ends(curves, best, fit.log_likelihood, group, hold, best[group].log_scale, 0.02,
                        own.lowest_log_scale(), own.highest_log_scale(), drop, 1e-4);
    return {std::exp(ends.low), std::exp(ends.high)};
  }
  if (rule.asymptote == Asymptote::kOne) return {1.0, 1.0};
  const auto hold = [](double x) {
    Held held;
    held.asymptote = x;
    return held;
  };
  ends = profile_ends(curves, best, fit.log_likelihood, group, hold,
                      std::min(best[group].asymptote, kWholeAsymptote - 1.0), 0.02,
                      -kWholeAsymptote, kWholeAsymptote, drop, 1e-4);
  return {inverse_logit(ends.low), inverse_logit(ends.high)};
}

CurveEnds predict_reading(const std::vector<Count>& readings, double cells, int repeats,
                          std::optional<double> dispersion, double drop) {
  check_readings(readings, dispersion);
  check_group(0, 1, drop);
  if (!(cells > 0.0 && cells <= 1e15)) {
    throw std::invalid_argument("cells is " + std::to_string(cells) +
                                "; allowed is above 0, up to 1e15");
  }
  if (repeats < 1) {
    throw std::invalid_argument("repeats is " + std::to_string(repeats) + "; allowed is 1 or more");
  }
  const std::vector<Weighted> counts = distinct(readings);
  double least = kInfinity, most = -kInfinity, errors = 0.0, total = 0.0;
  for (const Count& count : readings) {
    least = std::min(least, observed_log_odds(count));
    most = std::max(most, observed_log_odds(count));
    errors += count.errors, total += count.cells;
  }
  const double pooled = observed_log_odds({errors, total});
  const double rate = inverse_logit(pooled);
  const double spread = std::max(most - least, 1.0 / std::sqrt(total * rate * (1.0 - rate) + 0.5));
  std::vector<double> warm{pooled};
  if (!dispersion) warm.push_back(best_dispersion(counts, pooled).place);
  const auto with = [&](double number, std::vector<double>& start) {
    const auto function = [&](const std::vector<double>& x) {
      const double phi =
          dispersion ? *dispersion
                     : std::exp(std::clamp(x[1], kLowestLogDispersion, kHighestLogDispersion));
      return log_probability(counts, x[0], phi) +
             log_probability({number, cells}, x[0], phi / repeats);
    };
    std::vector<double> steps{0.3 * spread};
    if (!dispersion) steps.push_back(0.5);
    Point found = climb(function, start, steps, 1e-5, 200);
    found = climb(function, found.x, steps, 1e-5, 200);
    start = found.x;
    // Of the log-odds of the number; half an error keeps the ends finite.
    return found.value + std::log(number + 0.5) + std::log(cells - number + 0.5) - std::log(cells);
  };
  const auto number_of = [&](double log_odds) { return cells * inverse_logit(log_odds); };
  // The most likely number lies among the readings or beside them.
  Maximum peak{pooled, -kInfinity};
  {
    std::vector<double> start = warm;
    const double margin = 0.5 * spread;
    for (int i = 0; i <= 12; ++i) {
      const double x = least - margin + (most - least + 2 * margin) * i / 12;
      const double value = with(number_of(x), start);
      if (value > peak.value) peak = {x, value}, warm = start;
    }
    std::vector<double> from = warm;
    const double width = (most - least + 2 * margin) / 12;
    const Maximum finer = golden_section([&](double x) { return with(number_of(x), from); },
                                         peak.place - width, peak.place + width, 8);
    if (finer.value > peak.value) peak = finer;
  }
  const double floor = -std::log(cells) - 3.0;  // a twentieth of an error
  const auto end = [&](double direction) {
    std::vector<double> start = warm;
    const auto excess = [&](double x) { return drop - (peak.value - with(number_of(x), start)); };
    const double step = direction * std::max(0.3 * spread, 1e-6);
    const double limit = direction * std::max(-floor, std::abs(peak.place) + 1.0);
    return open_crossing(excess, peak.place, step, limit, 1e-3 * spread + 1e-9);
  };
  const double low = end(-1.0), high = end(1.0);
  return {low == -kInfinity ? 0.0 : number_of(low), high == kInfinity ? cells : number_of(high)};
}

PopulationFit fit_population(const std::vector<ConditionLikelihood>& modules) {
  std::vector<double> told;
  for (const ConditionLikelihood& module : modules) {
    if (module.informative()) told.push_back(module.best());
  }
  if (modules.size() < 2 || told.empty()) {
    throw std::invalid_argument(
        "a population of " + std::to_string(modules.size()) + " modules, " +
        std::to_string(told.size()) +
        " of them with errors; allowed are two or more, one or more with errors");
  }
  double mean = 0.0, square = 0.0;
  for (const double value : told) mean += value / static_cast<double>(told.size());
  for (const double value : told)
    square += (value - mean) * (value - mean) / static_cast<double>(told.size());
  const auto function = [&](const std::vector<double>& x) {
    double sum = 0.0;
    const double deviation = std::exp(std::clamp(x[1], -9.0, 4.0));
    for (const ConditionLikelihood& module : modules) sum += module.log_marginal(x[0], deviation);
    return sum;
  };
  Point best{{}, -kInfinity};
  for (const double scale : {1.0, 4.0}) {
    const double deviation = scale * std::max(std::sqrt(square), 0.05);
    Point found =
        climb(function, {mean - (scale - 1.0), std::log(deviation)}, {deviation, 0.5}, 1e-5, 300);
    found = climb(function, found.x, {0.3 * deviation, 0.3}, 1e-6, 300);
    if (found.value > best.value) best = found;
  }
  return {best.x[0], std::exp(std::clamp(best.x[1], -9.0, 4.0)), best.value};
}

std::vector<double> seeded_normals(uint64_t seed, uint32_t stream, size_t count) {
  std::vector<double> result;
  for (uint64_t i = 0; result.size() < count; ++i) {
    const PhiloxWords words = philox4x32_10(
        {{static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32), stream, kPopulationWord}},
        seed);
    const auto uniform = [&](int first) {
      const uint64_t bits =
          (static_cast<uint64_t>(words.word[first]) << 32 | words.word[first + 1]) >> 11;
      return (static_cast<double>(bits) + 0.5) * 0x1p-53;
    };
    // Box and Muller, Ann. Math. Stat. 29, 1958.
    const double radius = std::sqrt(-2.0 * std::log(uniform(0)));
    const double angle = 2.0 * std::numbers::pi * uniform(2);
    result.push_back(radius * std::cos(angle));
    if (result.size() < count) result.push_back(radius * std::sin(angle));
  }
  return result;
}

}  // namespace eden
