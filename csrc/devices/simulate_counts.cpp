#include "devices/simulate_counts.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>

namespace eden {
namespace {

void check_range(const char* name, double value, double low, double high) {
  if (!(value >= low && value <= high)) {
    throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) +
                                "; allowed is " + std::to_string(low) + " to " +
                                std::to_string(high));
  }
}

}  // namespace

SimulatedCounts simulate_counts(const SimulatedArray& array, uint64_t seed) {
  check_range("weak", array.weak, 0.0, 1.0);
  check_range("dispersion", array.dispersion, 0.0, 0.999);
  check_range("failure", array.failure, 1e-9, 1.0);
  check_range("reads", static_cast<double>(array.reads), 1.0, 1e6);
  check_range("rows", static_cast<double>(array.rows), 1.0, 1 << 24);
  check_range("columns", static_cast<double>(array.columns), 1.0, 1 << 24);

  std::mt19937_64 random(seed);
  const bool down = array.along == Along::kBitlines;
  const int64_t lines = down ? array.columns : array.rows;
  const int64_t length = down ? array.rows : array.columns;
  const bool alike = array.along == Along::kNothing || array.dispersion == 0.0 ||
                     array.weak == 0.0 || array.weak == 1.0;
  const double size = alike ? 1.0 : (1.0 - array.dispersion) / array.dispersion;
  std::gamma_distribution<double> first(alike ? 1.0 : array.weak * size),
      second(alike ? 1.0 : (1.0 - array.weak) * size);
  const double share = seen_share(array.failure, array.reads).share;

  SimulatedCounts counts;
  std::vector<int64_t> along(static_cast<size_t>(lines)), across(static_cast<size_t>(length));
  std::vector<int64_t> drawn_for(static_cast<size_t>(length), -1);
  std::uniform_int_distribution<int64_t> place(0, length - 1);
  int64_t all = 0;
  for (int64_t line = 0; line < lines; ++line) {
    double weak = array.weak;
    if (!alike) {
      const double a = first(random), b = second(random);
      weak = a + b > 0.0 ? a / (a + b) : 0.0;
    }
    int64_t seen = 0;
    if (weak > 0.0) {
      seen = std::binomial_distribution<int64_t>(length, std::min(weak * share, 1.0))(random);
    }
    along[static_cast<size_t>(line)] = seen;
    all += seen;
    // The line's seen cells are any of its cells; where they are most, the others are drawn.
    const bool most = 2 * seen > length;
    if (most) {
      for (int64_t& count : across) ++count;
    }
    for (int64_t left = most ? length - seen : seen; left > 0;) {
      const size_t cell = static_cast<size_t>(place(random));
      if (drawn_for[cell] == line) continue;
      drawn_for[cell] = line;
      across[cell] += most ? -1 : 1;
      --left;
    }
  }
  counts.bitlines = down ? along : across;
  counts.wordlines = down ? across : along;
  counts.failures.assign(static_cast<size_t>(array.reads) + 1, 0);
  counts.failures[0] = lines * length - all;
  const std::vector<double> shares = failure_probabilities(array.failure, array.reads);
  double left = 1.0;
  for (size_t k = 0; k < shares.size() && all > 0; ++k) {
    int64_t cells = all;
    if (k + 1 < shares.size()) {
      const double probability = std::clamp(shares[k] / std::max(left, 1e-300), 0.0, 1.0);
      cells = std::binomial_distribution<int64_t>(all, probability)(random);
    }
    counts.failures[k + 1] = cells;
    all -= cells;
    left -= shares[k];
  }
  return counts;
}

}  // namespace eden
