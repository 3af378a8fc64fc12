#include "memory/scaling.h"

#include <algorithm>
#include <functional>
#include <utility>

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

LineRates::LineRates(std::vector<double> rates, double failure)
    : failure_(failure), rates_(std::move(rates)), descending_(rates_) {
  std::sort(descending_.begin(), descending_.end(), std::greater<>());
  remaining_.assign(rates_.size() + 1, 0.0);
  for (size_t i = rates_.size(); i-- > 0;) remaining_[i] = remaining_[i + 1] + descending_[i];
}

double LineRates::highest_ber() const {
  const auto failing = std::ranges::count_if(rates_, [](double rate) { return rate > 0.0; });
  return failure_ * static_cast<double>(failing) / static_cast<double>(rates_.size());
}

std::vector<double> LineRates::at(double ber) const {
  const double highest = highest_ber();
  check_ber(ber, highest, ": failure in every line that was measured with errors");
  const double wanted = ber * static_cast<double>(rates_.size());
  // With the k highest lines at failure, the others share the rest; k is the least that lets the
  // next one fit.
  size_t k = 0;
  const auto rest = [&] { return wanted - static_cast<double>(k) * failure_; };
  while (k < rates_.size() && !(rest() * descending_[k] <= failure_ * remaining_[k])) ++k;
  const bool all = ber == highest || k == rates_.size() || remaining_[k] == 0.0;
  const double factor = all ? 0.0 : std::max(rest(), 0.0) / remaining_[k];
  std::vector<double> scaled = rates_;
  for (double& rate : scaled) {
    if (rate > 0.0) rate = all ? failure_ : std::min(rate * factor, failure_);
  }
  return scaled;
}

}  // namespace eden
