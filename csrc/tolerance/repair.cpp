#include <algorithm>
#include <cmath>

#include "tolerance/budget.h"
#include "tolerance/level.h"

namespace eden {
namespace {

constexpr double kRepairOctaves = 3.0;  // that a group is lowered by
constexpr double kRepairErrors = 2.0;   // standard errors by which it must be worth it
constexpr double kLightGroup = 0.0625;  // part of all weights
constexpr int kMostLowered = 3;

}  // namespace

// What operands cost together is not always what they cost one by one. Groups of them, from those
// that are worth least, are lowered on the same chips and samples as before; that stays where it
// saves more than lowering all operands would for the same loss of worth. Whether any was lowered.
Course<bool> Level::repair(double slope) {
  const SearchSettings& settings = run_.settings;
  enter(Stage::kRepair);
  // Where the drop is that of an operand alone: there it stands out.
  octaves_ = std::clamp(
      bisection_.lower() + std::log2(operand_target(settings) / settings.max_drop) / slope,
      bisection_.low, bisection_.high);
  const size_t count = base_.size();
  std::vector<std::vector<size_t>> groups(std::min(count, kRepairGroups));
  const std::vector<size_t> order = settings.by_weight();
  for (size_t i = 0; i < count; ++i) {
    groups[i * groups.size() / count].push_back(order[count - 1 - i]);
  }
  groups_left_ = groups.size();
  std::vector<double> before = co_await drops_at(rates(octaves_));
  const double n = static_cast<double>(kRepairCount), total = settings.total_weight();
  bool any = false;
  for (const std::vector<size_t>& group : groups) {
    double worth = 0.0;
    for (const size_t operand : group) {
      worth += total > 0.0 ? settings.weight(operand) / total : 1.0 / static_cast<double>(count);
    }
    // What weighs little is lowered again while that shows; the others once, because what is left
    // of the drop stands out from the noise less and less.
    for (int times = worth <= kLightGroup ? kMostLowered : 1; times > 0; --times) {
      std::vector<double> lowered = rates(octaves_);
      for (const size_t operand : group) {
        lowered[operand] = std::max(settings.floor, lowered[operand] * std::exp2(-kRepairOctaves));
      }
      std::vector<double> after = co_await drops_at(std::move(lowered));
      double drop = 0.0, saved = 0.0, squares = 0.0;
      for (size_t i = 0; i < after.size(); ++i) {
        const double difference = before[i] - after[i];
        drop += before[i] / n;
        saved += difference / n;
        squares += difference * difference;
      }
      const double error = std::sqrt(std::max(0.0, squares / n - saved * saved) / n);
      const double wanted =
          std::max(0.0, drop) * (1.0 - std::exp2(-slope * kRepairOctaves * worth));
      if (saved - kRepairErrors * error <= wanted) break;
      for (const size_t operand : group) base_[operand] *= std::exp2(-kRepairOctaves);
      before = std::move(after);
      any = true;
    }
    --groups_left_;
  }
  co_return any;
}

// The drops at these rates, on chips and samples that are the same each time.
Course<std::vector<double>> Level::drops_at(std::vector<double> rates) {
  run_.ask(std::move(rates), Chips::kCommon, kRepairCount);
  std::vector<double> drops;
  while (run_.moments.count < kRepairCount) {
    const double drop = co_await run_.observation();
    drops.push_back(drop);
  }
  co_return drops;
}

}  // namespace eden
