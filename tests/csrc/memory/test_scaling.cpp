#include <stdexcept>
#include <vector>

#include "catch2.h"
#include "memory/scaling.h"

using namespace eden;

namespace {

double mean_of(const std::vector<double>& rates) {
  double sum = 0.0;
  for (const double rate : rates) sum += rate;
  return sum / static_cast<double>(rates.size());
}

}  // namespace

TEST_CASE("rates of stored values keep their ratio until one reaches the failure probability") {
  const StoredRates half = scale_stored_rates({0.1, 0.3}, 0.5, 0.1);
  REQUIRE(half.zero == 0.05);
  REQUIRE(half.one == Approx(0.15));
  const StoredRates full = scale_stored_rates({0.1, 0.3}, 0.5, 0.4);
  REQUIRE(full.one == 0.5);
  REQUIRE(full.zero == Approx(0.3));
  const StoredRates most = scale_stored_rates({0.1, 0.3}, 0.5, 0.5);
  REQUIRE(most.zero == 0.5);
  REQUIRE(most.one == 0.5);
  const StoredRates none = scale_stored_rates({0.0, 0.0}, 0.5, 0.2);
  REQUIRE(none.zero == 0.2);
  REQUIRE(none.one == 0.2);
}

TEST_CASE("lines keep their ratios until they reach the failure probability, and the mean is met") {
  const std::vector<double> rates{0.0, 0.01, 0.04, 0.15};
  for (const double ber : {1e-9, 0.02, 0.1, 0.2, 0.25}) {
    const std::vector<double> scaled = LineRates(rates, 0.5).at(ber);
    REQUIRE(mean_of(scaled) == Approx(ber).epsilon(1e-12));
    REQUIRE(scaled[0] == 0.0);
    for (size_t i = 1; i < rates.size(); ++i) {
      REQUIRE(scaled[i] >= scaled[i - 1]);
      REQUIRE(scaled[i] <= 0.5);
      if (scaled[i] < 0.5) {
        REQUIRE(scaled[i] / scaled[1] == Approx(rates[i] / rates[1]));
      }
    }
  }
  REQUIRE(LineRates(rates, 0.5).highest_ber() == 0.375);
  const std::vector<double> all = LineRates(rates, 0.5).at(0.375);
  REQUIRE(all == std::vector<double>{0.0, 0.5, 0.5, 0.5});
}

TEST_CASE("a mean that no scaling reaches is refused") {
  REQUIRE_THROWS_AS(scale_stored_rates({0.1, 0.3}, 0.5, 0.6), std::invalid_argument);
  REQUIRE_THROWS_AS(scale_stored_rates({0.1, 0.3}, 0.5, -0.1), std::invalid_argument);
  const std::vector<double> rates{0.0, 0.01};
  REQUIRE_THROWS_AS(LineRates(rates, 0.5).at(0.3), std::invalid_argument);
}
