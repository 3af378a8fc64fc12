// Bisection of a range of octaves between the points of a grid: what passes is below what fails.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace eden {

struct Bisection {
  double low = 0.0, high = 0.0;  // octaves
  int64_t last = 0;  // intervals of the grid; its one point is `high` where there is none
  int64_t passed = 0, failed = 0, point = 0, stride = 1;
  bool seen_pass = false, seen_fail = false;

  // From a first point outward in strides that double. Without a guess of it they are halves.
  static Bisection between(double low, double high, double spacing) {
    Bisection made;
    made.low = low, made.high = high;
    made.last = std::max<int64_t>(0, static_cast<int64_t>(std::ceil((high - low) / spacing)));
    made.failed = made.last + 1;
    made.point = made.last / 2;
    made.stride = std::max<int64_t>(1, made.last);
    return made;
  }
  void begin_at(double octaves) {
    if (last > 0) point = std::clamp<int64_t>(nearest((octaves - low) / (high - low)), 0, last);
    stride = 1;
  }
  int64_t nearest(double part) const { return std::llround(part * static_cast<double>(last)); }

  bool open() const { return failed - passed > 1; }
  double octaves(int64_t at) const {
    if (last <= 0) return high;
    return low + (high - low) * static_cast<double>(at) / static_cast<double>(last);
  }
  double on_trial() const { return octaves(point); }
  // Between these the rate is that is sought.
  double lower() const { return octaves(std::max<int64_t>(0, passed)); }
  double upper() const { return octaves(std::min(failed, last)); }

  void tell(bool pass) {
    (pass ? passed : failed) = point;
    (pass ? seen_pass : seen_fail) = true;
    const int64_t middle = passed + (failed - passed) / 2;
    if (seen_pass && seen_fail) {
      point = middle;
    } else {
      // Not past the middle of what is left, so that a bad first point costs little more than it.
      point = pass ? std::min(point + stride, std::max(middle, point + 1))
                   : std::max(point - stride, std::min(middle, point - 1));
      stride *= 2;
    }
    point = std::clamp(point, std::min(passed + 1, failed - 1), failed - 1);
  }
};

}  // namespace eden
