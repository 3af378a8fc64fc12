// What a budget of observations leaves for what is still to come, and typical numbers of them,
// which serve to plan and to guess.
#pragma once

#include <cstdint>

#include "tolerance/run.h"

namespace eden {

// Of a step of a bisection, of one operand alone, and of one group of a repair.
inline constexpr double kPerBisection = 16.0, kPerOperand = 32.0;
inline constexpr int64_t kRepairCount = 32;
inline constexpr size_t kRepairGroups = 8;

// Observations at the rates that a fit names, before they are confirmed.
double settling(const SearchSettings& settings);

// Reports kept for a confirmation at this attempt.
int64_t reserve(const Run& run, int64_t attempt);

// Whether the budget is likely to be enough for limits of single operands, `done` of them known.
bool limits_affordable(const Run& run, size_t done);

// The effort that a budget leaves for the confirmations to come, the present one included.
double planned_effort(const Run& run, bool confirming, int64_t attempt);

}  // namespace eden
