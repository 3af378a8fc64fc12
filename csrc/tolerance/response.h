// How a score drops as error rates rise, from noisy observations near a point: what a search steers
// by between one decision and the next. Nothing is certified by it.
#pragma once

#include <cstdint>
#include <vector>

namespace eden {

// Observations at one place.
struct ResponsePoint {
  double octaves = 0.0;  // binary logarithm of the rate, or of a factor common to several rates
  int64_t count = 0;
  double mean = 0.0;
  double variance = 0.0;  // of one observation
};

// mean = level * 2^(slope * (octaves - origin)) around `origin`.
struct ResponseFit {
  double origin = 0.0;
  double log_level = 0.0;  // natural logarithm
  double slope = 1.0;      // drop goes with this power of the rate
  double variance_level = 0.0, variance_slope = 0.0, covariance = 0.0;

  double mean(double octaves) const;
  double octaves_at(double mean) const;    // for a mean above 0
  double deviation_at(double mean) const;  // standard error of octaves_at, in octaves
};

// What is believed before any observation: the slope, and loosely that the level at the origin is
// of the order of `level`.
struct ResponsePrior {
  double slope = 1.25;
  double slope_deviation = 0.4;
  double level = 0.01;
  double level_deviation = 3.0;  // of its natural logarithm
};

// Variance of one observation about a place: that of the points, those near it counting most.
// Points are not taken at their own, because one that met no bad chip would seem the surest.
double variance_near(const std::vector<ResponsePoint>& points, double octaves, double width);

// Weighted least squares, by damped Gauss-Newton steps, of a power law with a normal prior on its
// logarithmic level and its slope: the posterior mode and its curvature. Points count less the
// farther they lie from the origin (a Gaussian of `width` octaves), because the law is meant as a
// local one: far below it observations only say that little drops, far above it scores saturate.
ResponseFit fit_response(const std::vector<ResponsePoint>& points, double origin, double width,
                         const ResponsePrior& prior);

}  // namespace eden
