// Are crossings found, and does a NaN on the way show?
#include "base/numerics.h"
#include "catch2.h"

using namespace eden;

TEST_CASE("a function crosses zero where it does, or at the limit") {
  const auto fall = [](double x) { return 2.0 - x * x; };
  CHECK(crossing(fall, 0.0, 0.1, 10.0) == Approx(std::sqrt(2.0)));
  CHECK(crossing(fall, 0.0, -0.1, -10.0) == Approx(-std::sqrt(2.0)));
  CHECK(crossing(fall, 0.0, 0.1, 1.0) == 1.0);
}

TEST_CASE("a NaN on the way to a crossing is the answer") {
  const auto nan_from = [](double place) {
    return [place](double x) { return x >= place ? std::log(-1.0) : 1.0 - 0.1 * x; };
  };
  CHECK(std::isnan(crossing(nan_from(0.0), 0.0, 0.1, 10.0)));
  CHECK(std::isnan(crossing(nan_from(0.5), 0.0, 0.1, 10.0)));
  const auto nan_near_the_root = [](double x) {
    return std::abs(x - 1.0) < 1e-3 ? std::log(-1.0) : 1.0 - std::exp(x - 1.0);
  };
  CHECK(std::isnan(crossing(nan_near_the_root, 0.0, 0.1, 10.0)));
}
