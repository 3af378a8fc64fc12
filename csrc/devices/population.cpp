#include "devices/population.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/random_layout.h"
#include "base/refusal.h"
#include "devices/search.h"

namespace eden {

PopulationFit fit_population(const std::vector<ConditionLikelihood>& modules) {
  std::vector<double> told;
  for (const ConditionLikelihood& module : modules) {
    if (module.informative()) told.push_back(module.best());
  }
  if (modules.size() < 2 || told.empty()) {
    refuse("a population of ", modules.size(), " modules, ", told.size(),
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
