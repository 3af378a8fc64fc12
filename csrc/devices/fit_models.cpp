#include "devices/fit_models.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "base/numerics.h"
#include "devices/profile_likelihood.h"

namespace eden {
namespace {

// The boxes of the coordinates: log-odds of P and of F, and ln r = ln(rho / (1 - rho)). The lowest
// r adds a ten-thousandth to the variance of 10^6 errors of a line.
constexpr double kLowestOdds = -60.0, kHighestOdds = 30.0;
constexpr double kLowestFailureOdds = -46.0, kHighestFailureOdds = 34.0;
constexpr double kLowestLogSpread = -23.0, kHighestLogSpread = 13.8;
constexpr int kSpreadGrid = 24;

const std::vector<LineCount>& lines_of(const ValueCounts& value, Along along) {
  return along == Along::kBitlines ? value.bitlines : value.wordlines;
}

const char* name_of(Along along) { return along == Along::kBitlines ? "bitlines" : "wordlines"; }

void check(const std::vector<ValueCounts>& values, Along along, std::optional<double> failure) {
  if (values.empty()) throw std::invalid_argument("no stored values; allowed is one or more");
  for (size_t v = 0; v < values.size(); ++v) {
    const ValueCounts& value = values[v];
    const Reads& reads = value.reads;
    const std::string place = "value " + std::to_string(v);
    if (reads.reads < 1) {
      throw std::invalid_argument(place + " has " + std::to_string(reads.reads) +
                                  " reads of a cell; allowed is 1 or more");
    }
    if (!(value.cells > 0.0 && value.cells <= 1e15 && reads.seen >= 0.0 &&
          reads.seen <= value.cells)) {
      throw std::invalid_argument(place + " has " + std::to_string(reads.seen) + " of " +
                                  std::to_string(value.cells) +
                                  " cells seen to fail; allowed is 0 to the number of cells, "
                                  "at most 1e15");
    }
    if (!(reads.failures >= reads.seen &&
          reads.failures <= reads.seen * static_cast<double>(reads.reads))) {
      throw std::invalid_argument(
          place + " has " + std::to_string(reads.failures) + " failures of " +
          std::to_string(reads.seen) +
          " cells seen to fail; allowed is one to the number of reads for each cell");
    }
    if (along == Along::kNothing) continue;
    const std::vector<LineCount>& lines = lines_of(value, along);
    if (lines.empty()) {
      throw std::invalid_argument(place + " has no counts along " + name_of(along) +
                                  "; allowed is one line or more");
    }
    double cells = 0.0, seen = 0.0;
    for (const LineCount& line : lines) {
      cells += line.lines * line.cells;
      seen += line.lines * line.seen;
    }
    if (cells != value.cells || seen != reads.seen) {
      throw std::invalid_argument(
          place + ": its " + name_of(along) + " hold " + std::to_string(seen) + " of " +
          std::to_string(cells) + " cells seen to fail; allowed is the total, " +
          std::to_string(reads.seen) + " of " + std::to_string(value.cells));
    }
  }
  if (failure && !(*failure > 0.0 && *failure <= 1.0)) {
    throw std::invalid_argument("failure is " + std::to_string(*failure) +
                                "; allowed is above 0, up to 1");
  }
}

// The likelihood of a model in its coordinates: for each rate the log-odds of P (or of P F), ln r,
// the log-odds of F.
class Likelihood {
 public:
  Likelihood(const std::vector<ValueCounts>& values, FitModel model) : model_(model) {
    rates_ = model.by_value ? values.size() : 1;
    for (const ValueCounts& value : values) {
      reads_.push_back(value.reads);
      cells_.push_back(value.cells);
      if (model.along != Along::kNothing) lines_.emplace_back(lines_of(value, model.along));
    }
  }

  size_t rates() const { return rates_; }
  size_t spread_index() const { return rates_; }
  size_t failure_index() const { return rates_ + 1; }
  size_t size() const { return rates_ + 2; }
  bool has_lines() const { return model_.along != Along::kNothing; }

  double seen(size_t rate) const {
    return total(rate, [&](size_t v) { return reads_[v].seen; });
  }
  double cells(size_t rate) const {
    return total(rate, [&](size_t v) { return cells_[v]; });
  }

  double lines() const {
    double sum = 0.0;
    for (const LineLikelihood& line : lines_) sum += line.lines();
    return sum;
  }

  // Of one rate's cells and lines, given F; not of the failures of seen cells.
  double of_rate(size_t rate, double mean, double complement, double spread, double failure) const {
    double sum = 0.0;
    for (size_t v = 0; v < reads_.size(); ++v) {
      if (model_.by_value && v != rate) continue;
      const Seen q = seen_share(failure, reads_[v].reads);
      const LineLaw law{mean, complement, spread};
      sum += has_lines() ? lines_[v](law, q) : log_line(cells_[v], reads_[v].seen, law, q);
    }
    return sum;
  }

  double of_failures(double failure) const {
    double sum = 0.0;
    for (const Reads& reads : reads_) sum += log_failures(reads, failure);
    return sum;
  }

  static double failure_at(double log_odds) {
    return log_odds >= kHighestFailureOdds ? 1.0 : inverse_logit(log_odds);
  }

  // ln r at its lowest is no spread.
  double spread_at(const std::vector<double>& x) const {
    const double log_spread = x[spread_index()];
    return has_lines() && log_spread > kLowestLogSpread ? std::exp(log_spread) : 0.0;
  }

  double operator()(const std::vector<double>& x) const {
    const double failure = failure_at(x[failure_index()]);
    double sum = of_failures(failure);
    for (size_t g = 0; g < rates_; ++g) {
      if (seen(g) == 0.0) continue;
      sum += of_rate(g, inverse_logit(x[g]), inverse_logit(-x[g]), spread_at(x), failure);
    }
    return sum;
  }

  // The same with the log-odds of P F in the place of those of P, for rate `by_ber`.
  double with_ber(const std::vector<double>& x, size_t by_ber) const {
    const double ber = inverse_logit(x[by_ber]);
    const double failure = std::max(failure_at(x[failure_index()]), ber);
    std::vector<double> y = x;
    const double weak = std::min(ber / failure, 1.0 - 1e-13);
    y[by_ber] = logit(weak);
    y[failure_index()] = failure >= 1.0 ? kHighestFailureOdds : logit(failure);
    return (*this)(y);
  }

 private:
  template <class Number>
  double total(size_t rate, const Number& number) const {
    double sum = 0.0;
    for (size_t v = 0; v < reads_.size(); ++v) {
      if (!model_.by_value || v == rate) sum += number(v);
    }
    return sum;
  }

  FitModel model_;
  size_t rates_;
  std::vector<Reads> reads_;
  std::vector<double> cells_;
  std::vector<LineLikelihood> lines_;
};

// The rate of cells none of which was seen to fail, given the spread and F.
ParameterFit rate_of_none(const Likelihood& likelihood, size_t rate, double spread, double failure,
                          double tail) {
  const auto excess = [&](double x) {
    return likelihood.of_rate(rate, inverse_logit(x), inverse_logit(-x), spread, failure) -
           std::log(tail);
  };
  const double start = -std::log(likelihood.cells(rate)) - 10.0;
  ParameterFit fit;
  fit.high = inverse_logit(crossing(excess, start, 1.0, kHighestOdds));
  fit.identified = true;
  fit.bound = Bound::kLow;
  return fit;
}

double deviation_of(const BoxMaximum& maximum, size_t i) {
  const double variance = maximum.covariance[i * maximum.place.size() + i];
  return variance > 0.0 ? std::sqrt(variance) : 0.0;
}

}  // namespace

ModelFit fit_model(const std::vector<ValueCounts>& values, FitModel model,
                   std::optional<double> failure, const IntervalRule& rule, bool intervals) {
  check(values, model.along, failure);
  const Likelihood likelihood(values, model);
  const size_t rates = likelihood.rates();
  const size_t spread_index = likelihood.spread_index();
  const size_t failure_index = likelihood.failure_index();

  double seen = 0.0;
  bool repeated = false;
  ModelFit fit;
  double cells = 0.0;
  for (const ValueCounts& value : values) {
    seen += value.reads.seen;
    cells += value.cells;
    repeated = repeated || (value.reads.reads > 1 && value.reads.seen > 0.0);
  }
  fit.observations = static_cast<int64_t>(cells);
  const bool fit_failure = !failure && repeated;
  const bool fit_spread = likelihood.has_lines() && seen > 0.0 && seen < cells;
  fit.parameters =
      static_cast<int64_t>(rates) + (likelihood.has_lines() ? 1 : 0) + (fit_failure ? 1 : 0);

  std::vector<Reads> reads;
  for (const ValueCounts& value : values) reads.push_back(value.reads);
  double start_failure = failure ? *failure : 1.0;
  bool always = false, once = false;  // all cells seen failed in every read, or in one
  if (fit_failure) {
    start_failure = likeliest_failure(reads);
    always = start_failure == 1.0;
    once = start_failure == 0.0;
  }

  // Coordinates that are not fitted keep their place.
  Box box{std::vector<double>(likelihood.size()), std::vector<double>(likelihood.size())};
  std::vector<double> start(likelihood.size()), scale(likelihood.size(), 0.1);
  const auto fix = [&](size_t i, double place) { box.low[i] = box.high[i] = start[i] = place; };
  if (!fit_failure || always) {
    fix(failure_index, start_failure >= 1.0 ? kHighestFailureOdds : logit(start_failure));
  } else {
    box.low[failure_index] = kLowestFailureOdds;
    box.high[failure_index] = kHighestFailureOdds;
    // No more cells can be weak than there are: F is at least what that takes.
    double least = 0.0;
    for (size_t g = 0; g < rates; ++g) {
      for (const ValueCounts& value : values) {
        const double share = std::min(likelihood.seen(g) / likelihood.cells(g), 1.0 - 1e-12);
        least = std::max(least,
                         -std::expm1(std::log1p(-share) / static_cast<double>(value.reads.reads)));
      }
    }
    start_failure = std::clamp(start_failure, std::min(1.001 * least + 1e-15, 0.999), 1.0 - 1e-9);
    start[failure_index] = logit(start_failure);
    scale[failure_index] = 1.0 / std::sqrt(seen);
  }
  for (size_t g = 0; g < rates; ++g) {
    if (likelihood.seen(g) == 0.0) {
      fix(g, kLowestOdds);
      continue;
    }
    box.low[g] = kLowestOdds;
    box.high[g] = kHighestOdds;
    double expected = 0.0;  // cells that would be seen if all were weak
    for (size_t v = 0; v < values.size(); ++v) {
      if (model.by_value && v != g) continue;
      expected += values[v].cells * seen_share(start_failure, reads[v].reads).share;
    }
    const double weak = std::min(likelihood.seen(g) / expected, 1.0 - 1e-6);
    start[g] = logit(weak);
    scale[g] = 1.0 / std::sqrt(likelihood.seen(g));
  }
  if (!fit_spread) {
    fix(spread_index, kLowestLogSpread);
  } else {
    box.low[spread_index] = kLowestLogSpread;
    box.high[spread_index] = kHighestLogSpread;
    // The profile can have a shoulder where the lines are alike: a grid finds the peak.
    const double step = (kHighestLogSpread - kLowestLogSpread) / kSpreadGrid;
    double best = -std::numeric_limits<double>::infinity(), best_place = kLowestLogSpread;
    for (int i = 0; i <= kSpreadGrid; ++i) {
      start[spread_index] = kLowestLogSpread + i * step;
      const double value = likelihood(start);
      if (value > best) best = value, best_place = start[spread_index];
    }
    start[spread_index] = best_place;
    scale[spread_index] = std::sqrt(2.0 / likelihood.lines());
  }

  const LogLikelihood function = [&](const std::vector<double>& x) { return likelihood(x); };
  BoxMaximum maximum = maximize_in_box(function, box, start, scale);
  if (fit_spread) {
    // The ridge toward no spread is flat: its end decides.
    Box alike = box;
    alike.low[spread_index] = alike.high[spread_index] = kLowestLogSpread;
    const BoxMaximum binomial = maximize_in_box(function, alike, maximum.place, scale);
    if (binomial.value >= maximum.value - 1e-7) maximum = binomial;
  }
  fit.log_likelihood = maximum.value;

  // A better maximum met on the way to an interval's end replaces the one found before.
  std::vector<Ends> ends(likelihood.size());
  if (intervals) {
    for (size_t i = 0; i < likelihood.size(); ++i) {
      if (box.low[i] == box.high[i]) continue;
      ends[i] = profile_interval(function, box, maximum, i, rule.likelihood_ratio);
    }
    fit.log_likelihood = maximum.value;
  }
  const std::vector<double>& at = maximum.place;

  // F.
  const double failure_estimate = failure ? *failure : Likelihood::failure_at(at[failure_index]);
  fit.failure.estimate = failure_estimate;
  if (!fit_failure) {
    fit.failure.low = failure ? *failure : 0.0;
    fit.failure.high = failure ? *failure : 1.0;
  } else if (always) {
    fit.failure.identified = true;
    fit.failure.bound = Bound::kHigh;
    const auto excess = [&](double x) {
      return likelihood.of_failures(inverse_logit(x)) - std::log(rule.tail);
    };
    fit.failure.low =
        inverse_logit(crossing(excess, kHighestFailureOdds, -1.0, kLowestFailureOdds));
    fit.failure.high = 1.0;
  } else {
    // The fewer failures than reads, the lower F, down to where all cells are weak. Where cells
    // failed once, the likelihood is nearly flat from there on.
    bool all_weak = once;
    for (size_t g = 0; g < rates; ++g) all_weak = all_weak || at[g] > kHighestOdds - 10.0;
    fit.failure.identified = !all_weak;
    fit.failure.bound = all_weak ? Bound::kLow : Bound::kNone;
    fit.failure.deviation = all_weak ? 0.0 : deviation_of(maximum, failure_index);
    if (intervals) {
      fit.failure.low = inverse_logit(ends[failure_index].low);
      fit.failure.high = Likelihood::failure_at(ends[failure_index].high);
    }
  }

  // rho = r / (1 + r).
  const double spread = likelihood.spread_at(at);
  if (fit_spread) {
    fit.dispersion.estimate = spread / (1.0 + spread);
    fit.dispersion.identified = true;
    fit.dispersion.bound = spread == 0.0 ? Bound::kLow : Bound::kNone;
    fit.dispersion.deviation = deviation_of(maximum, spread_index);
    if (intervals) {
      const Ends& end = ends[spread_index];
      fit.dispersion.low =
          spread == 0.0 || end.low <= kLowestLogSpread ? 0.0 : inverse_logit(end.low);
      fit.dispersion.high = end.high >= kHighestLogSpread ? 1.0 : inverse_logit(end.high);
    }
  }

  // P and P F.
  const bool rate_known = fit_failure || failure.has_value();
  for (size_t g = 0; g < rates; ++g) {
    ParameterFit weak, ber;
    if (likelihood.seen(g) == 0.0) {
      // Lines none of which failed tell no spread. Of all, the widest lets most lines go unharmed.
      const bool unknown = likelihood.has_lines() && !fit_spread;
      weak = rate_of_none(likelihood, g, unknown ? std::exp(kHighestLogSpread) : spread,
                          failure_estimate, rule.tail);
      ber = weak;
      ber.high *= failure_estimate;
      weak.identified = rate_known;
    } else {
      weak.estimate = inverse_logit(at[g]);
      weak.identified = rate_known && (fit.failure.identified || failure.has_value());
      weak.deviation = deviation_of(maximum, g);
      if (at[g] > kHighestOdds - 10.0) {
        weak.estimate = 1.0;
        weak.bound = Bound::kHigh;
        weak.deviation = 0.0;
      }
      if (intervals) {
        weak.low = inverse_logit(ends[g].low);
        weak.high = ends[g].high > kHighestOdds - 10.0 ? 1.0 : inverse_logit(ends[g].high);
      }
      if (once) {
        weak.bound = Bound::kHigh;
        weak.high = 1.0;
        weak.deviation = 0.0;
      }
      ber.identified = true;
      ber.estimate = weak.estimate * failure_estimate;
      ber.bound = weak.bound;
      if (!fit_failure || always) {
        ber.low = weak.low * failure_estimate;
        ber.high = weak.high * failure_estimate;
        ber.deviation = weak.deviation * (1.0 - weak.estimate) / (1.0 - ber.estimate);
      } else if (intervals) {
        const LogLikelihood by_ber = [&](const std::vector<double>& x) {
          return likelihood.with_ber(x, g);
        };
        Box ber_box = box;
        ber_box.high[g] = kHighestFailureOdds;
        std::vector<double> place = at;
        place[g] = logit(std::min(ber.estimate, 1.0 - 1e-13));
        BoxMaximum ber_maximum = maximize_in_box(by_ber, ber_box, place, scale);
        const Ends end = profile_interval(by_ber, ber_box, ber_maximum, g, rule.likelihood_ratio);
        ber.deviation = deviation_of(ber_maximum, g);
        ber.low = inverse_logit(end.low);
        ber.high = inverse_logit(end.high);
        ber.bound = Bound::kNone;
      }
    }
    fit.weak.push_back(weak);
    fit.ber.push_back(ber);
  }
  return fit;
}

}  // namespace eden
