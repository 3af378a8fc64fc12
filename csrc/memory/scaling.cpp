#include "memory/scaling.h"

#include <algorithm>
#include <functional>

#include "base/refusal.h"

namespace eden {
namespace {

void check_ber(double ber, double highest, const char* what) {
  if (!(ber >= 0.0 && ber <= highest)) refuse_value("ber", ber, "0 to ", highest, what);
}

}  // namespace

StoredRates scale_stored_rates(const StoredRates& rates, double failure, double ber) {
  check_ber(ber, failure, ", the failure probability");
  const double mean = 0.5 * (rates.zero + rates.one);
  if (mean == 0.0) return {ber, ber};
  double zero = rates.zero * (ber / mean), one = rates.one * (ber / mean);
  if (std::max(zero, one) > failure) {
    zero = zero > failure ? failure : 2.0 * ber - failure;
    one = one > failure ? failure : 2.0 * ber - failure;
  }
  return {std::min(zero, failure), std::min(one, failure)};
}

double highest_line_ber(const double* rates, size_t count, double failure) {
  const auto failing = std::count_if(rates, rates + count, [](double rate) { return rate > 0.0; });
  return failure * static_cast<double>(failing) / static_cast<double>(count);
}

std::vector<double> scale_line_rates(const double* rates, size_t count, double failure,
                                     double ber) {
  const double highest = highest_line_ber(rates, count, failure);
  check_ber(ber, highest, ": failure in every line that was measured with errors");
  std::vector<double> scaled(rates, rates + count);
  const auto all_at_failure = [&] {
    for (double& rate : scaled) rate = rate > 0.0 ? failure : 0.0;
    return scaled;
  };
  if (ber == highest) return all_at_failure();
  std::vector<double> descending = scaled;
  std::sort(descending.begin(), descending.end(), std::greater<>());
  std::vector<double> remaining(count + 1, 0.0);
  for (size_t i = count; i-- > 0;) remaining[i] = remaining[i + 1] + descending[i];
  const double wanted = ber * static_cast<double>(count);
  // With the k highest lines at failure, the others share the rest; k is the least that lets the
  // next one fit.
  size_t k = 0;
  while (k < count &&
         !((wanted - static_cast<double>(k) * failure) * descending[k] <= failure * remaining[k])) {
    ++k;
  }
  if (k == count || remaining[k] == 0.0) return all_at_failure();
  const double factor = std::max(wanted - static_cast<double>(k) * failure, 0.0) / remaining[k];
  for (double& rate : scaled) {
    rate = rate > 0.0 ? std::min(rate * factor, failure) : 0.0;
  }
  return scaled;
}

}  // namespace eden
