#include "devices/readings.h"

#include <algorithm>
#include <cmath>

#include "base/refusal.h"
#include "devices/search.h"

namespace eden {
namespace {

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

}  // namespace

double log_probability(const Count& count, double log_odds, double dispersion) {
  log_odds = std::clamp(log_odds, kLowestLogOdds, kHighestLogOdds);
  if (log_odds <= 0.0) return log_beta_binomial(count, inverse_logit(log_odds), dispersion);
  return log_beta_binomial({count.cells - count.errors, count.cells}, inverse_logit(-log_odds),
                           dispersion);
}

double observed_log_odds(const Count& count) {
  return std::log(count.errors + 0.5) - std::log(count.cells - count.errors + 0.5);
}

Readings::Readings(const std::vector<Count>& readings, std::optional<double> dispersion)
    : size_(static_cast<double>(readings.size())), least_(kInfinity), most_(-kInfinity) {
  if (readings.empty()) refuse("no readings; allowed is one or more");
  for (size_t i = 0; i < readings.size(); ++i) check_count(readings[i], text_of("reading ", i));
  check_dispersion(dispersion);
  for (const Count& count : readings) {
    errors_ += count.errors, cells_ += count.cells;
    none_ = none_ && count.errors == 0.0;
    all_ = all_ && count.errors == count.cells;
    least_ = std::min(least_, observed_log_odds(count));
    most_ = std::max(most_, observed_log_odds(count));
    const auto same = std::find_if(counts_.begin(), counts_.end(), [&](const Distinct& other) {
      return other.count.errors == count.errors && other.count.cells == count.cells;
    });
    if (same == counts_.end()) {
      counts_.push_back({count, 1.0});
    } else {
      same->times += 1.0;
    }
  }
  const bool told = std::any_of(readings.begin(), readings.end(), [](const Count& count) {
    return count.errors > 0.0 && count.errors < count.cells;
  });
  if (!dispersion && (!told || readings.size() < 2)) {
    refuse("the dispersion cannot be fitted to ", readings.size(), " readings ",
           told ? "" : "whose counts are all none or all ",
           "; allowed are two or more with a count other than none and all; give a dispersion");
  }
}

double Readings::log_likelihood(double log_odds, double dispersion) const {
  double sum = 0.0;
  for (const Distinct& reading : counts_) {
    sum += reading.times * log_probability(reading.count, log_odds, dispersion);
  }
  return sum;
}

Maximum Readings::best_dispersion(double log_odds) const {
  return peak_of_dispersion([&](double x) { return log_likelihood(log_odds, std::exp(x)); });
}

Maximum Readings::best_dispersion(double log_odds, double near) const {
  constexpr double kBelow = 0.6, kAbove = 1.2;
  const double low = std::max(near - kBelow, kLowestLogDispersion);
  const double high = std::min(near + kAbove, kHighestLogDispersion);
  const Maximum found = golden_section(
      [&](double x) { return log_likelihood(log_odds, std::exp(x)); }, low, high, 11);
  const double edge = 0.05 * (high - low);
  if (found.place - low > edge && high - found.place > edge) return found;
  return best_dispersion(log_odds);
}

DispersionFit fit_dispersion(const std::vector<std::vector<Count>>& conditions) {
  std::vector<Readings> counts;
  for (const std::vector<Count>& readings : conditions) counts.emplace_back(readings, std::nullopt);
  if (counts.empty()) refuse("no conditions; allowed is one or more");
  const Maximum best = peak_of_dispersion([&](double log_dispersion) {
    double sum = 0.0;
    for (const Readings& readings : counts) {
      const auto function = [&](double x) {
        return readings.log_likelihood(x, std::exp(log_dispersion));
      };
      sum += golden_section(function, readings.least() - 0.1, readings.most() + 0.1, 30).value;
    }
    return sum;
  });
  return {std::exp(best.place), best.value};
}

}  // namespace eden
