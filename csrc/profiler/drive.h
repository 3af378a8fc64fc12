// Answers a search until it ends, first with the reports that a journal holds, as `drive` of
// eden/tolerance/drive.py does.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "profiler/journal.h"
#include "profiler/options.h"
#include "tolerance/search.h"

namespace eden::profiler {

// The number of observations by phase, in the order of their phases; the journal's included.
using Observations = std::vector<std::pair<std::string, int64_t>>;

// `evaluate` makes an observation; a budget in seconds counts from `begun` on. What `evaluate`
// throws comes up as it is, and the journal holds everything before.
Observations drive(Search& search, Journal& journal, const Options& options,
                   std::chrono::steady_clock::time_point begun,
                   const std::function<double(const Trial&)>& evaluate);

}  // namespace eden::profiler
