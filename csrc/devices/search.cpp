#include "devices/search.h"

namespace eden {

Point climb(const std::function<double(const std::vector<double>&)>& function,
            const std::vector<double>& start, const std::vector<double>& steps, double tolerance,
            int evaluations) {
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

}  // namespace eden
