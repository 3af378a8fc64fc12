#include "devices/predict_reading.h"

#include <algorithm>
#include <cmath>

#include "base/refusal.h"
#include "devices/search.h"

namespace eden {

CurveEnds predict_reading(const std::vector<Count>& readings, double cells, int repeats,
                          std::optional<double> dispersion, double drop) {
  const Readings counts(readings, dispersion);
  if (!(drop > 0.0)) refuse_value("drop", drop, "above 0");
  if (!(cells > 0.0 && cells <= 1e15)) {
    refuse("cells is ", cells, "; allowed is above 0, up to 1e15");
  }
  if (repeats < 1) {
    refuse("repeats is ", repeats, "; allowed is 1 or more");
  }
  const double least = counts.least(), most = counts.most(), total = counts.cells();
  const double pooled = observed_log_odds({counts.errors(), total});
  const double rate = inverse_logit(pooled);
  const double spread = std::max(most - least, 1.0 / std::sqrt(total * rate * (1.0 - rate) + 0.5));
  std::vector<double> warm{pooled};
  if (!dispersion) warm.push_back(counts.best_dispersion(pooled).place);
  const auto with = [&](double number, std::vector<double>& start) {
    const auto function = [&](const std::vector<double>& x) {
      const double phi =
          dispersion ? *dispersion
                     : std::exp(std::clamp(x[1], kLowestLogDispersion, kHighestLogDispersion));
      return counts.log_likelihood(x[0], phi) +
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

}  // namespace eden
