// Does the local fit of a drop find the rate at which it has a given size, and say how well it
// knows it?
#include <cmath>
#include <random>

#include "catch2.h"
#include "statistics.h"
#include "tolerance/response.h"

using eden::ResponseFit;
using eden::ResponsePoint;

namespace {

// Means of `count` observations of 0.01 * 2^(slope * octaves) at each place.
std::vector<ResponsePoint> observe(double slope, const std::vector<double>& places, int64_t count,
                                   double deviation, SplitMix64& random) {
  std::vector<ResponsePoint> points;
  for (const double octaves : places) {
    const double mean =
        0.01 * std::exp2(slope * octaves) + deviation / std::sqrt(static_cast<double>(count)) *
                                                std::normal_distribution<double>()(random);
    points.push_back({octaves, count, mean, deviation * deviation});
  }
  return points;
}

}  // namespace

TEST_CASE("A fit of exact means gives the law back") {
  SplitMix64 random(1);
  for (const double slope : {0.7, 1.0, 2.0}) {
    const std::vector<ResponsePoint> points =
        observe(slope, {-2.0, -1.0, 0.0, 1.0}, 1000000000, 1e-3, random);
    const ResponseFit fit = eden::fit_response(points, -0.5, 1.5, {});
    CHECK(fit.slope == Approx(slope).epsilon(1e-3));
    CHECK(fit.mean(0.0) == Approx(0.01).epsilon(1e-3));
    CHECK(fit.octaves_at(0.008) == Approx(std::log2(0.8) / slope).margin(2e-3));
    CHECK(fit.octaves_at(fit.mean(0.3)) == Approx(0.3));
  }
}

TEST_CASE("A fit is as wrong as it says") {
  SplitMix64 random(2);
  int inside = 0;
  constexpr int kFits = 1000;
  for (int run = 0; run < kFits; ++run) {
    const std::vector<ResponsePoint> points = observe(1.25, {-1.0, 0.0, 0.3}, 60, 0.02, random);
    const ResponseFit fit = eden::fit_response(points, 0.0, 1.5, {});
    inside += std::abs(fit.octaves_at(0.01)) <= 1.645 * fit.deviation_at(0.01) ? 1 : 0;
  }
  // 90% to first order; the law is curved in its parameters.
  INFO(inside);
  CHECK(inside > 850);
  CHECK(inside < 970);
}

TEST_CASE("Without observations a fit is its prior, and one of nothing but zeros is far above") {
  const ResponseFit prior = eden::fit_response({}, 3.0, 1.5, {1.5, 0.4, 0.02, 3.0});
  CHECK(prior.slope == Approx(1.5));
  CHECK(prior.octaves_at(0.02) == Approx(3.0));
  const ResponseFit zeros = eden::fit_response({{0.0, 100, 0.0, 1e-4}}, 0.0, 1.5, {});
  CHECK(zeros.octaves_at(0.01) > 1.0);
  CHECK(std::isfinite(zeros.octaves_at(0.01)));
  const ResponseFit better = eden::fit_response({{0.0, 100, -0.5, 1e-4}}, 0.0, 1.5, {});
  CHECK(std::isfinite(better.octaves_at(0.01)));
}

TEST_CASE("A point that met no bad chip does not outweigh those that did") {
  const std::vector<ResponsePoint> points = {{0.0, 50, 0.0, 1e-6}, {0.1, 50, 0.03, 0.01}};
  const ResponseFit fit = eden::fit_response(points, 0.0, 1.5, {});
  CHECK(fit.mean(0.05) > 0.008);
}
