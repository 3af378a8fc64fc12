#include "measurements/bank_counts.h"

#include <algorithm>

namespace eden::measurements {

size_t BankCounts::place(uint32_t repeat, uint32_t bank) {
  const BankCount count{repeat, bank, 0.0, std::numeric_limits<double>::quiet_NaN(), 0};
  if (ascending_) {
    if (counts_.empty() || before(counts_.back(), count)) {
      counts_.push_back(count);
      return counts_.size() - 1;
    }
    if (!before(count, counts_.back())) return counts_.size() - 1;
    const auto found = std::lower_bound(counts_.begin(), counts_.end(), count, before);
    if (!before(count, *found)) return static_cast<size_t>(found - counts_.begin());
    ascending_ = false;
    for (size_t i = 0; i < counts_.size(); ++i) {
      index_.at(key(counts_[i].repeat, counts_[i].bank)) = i + 1;
    }
  }
  uint64_t& place = index_.at(key(repeat, bank));
  if (place == 0) {
    counts_.push_back(count);
    place = counts_.size();
  }
  return place - 1;
}

std::vector<BankCount> BankCounts::sorted() const {
  std::vector<BankCount> result = counts_;
  if (!ascending_) std::sort(result.begin(), result.end(), before);
  return result;
}

}  // namespace eden::measurements
