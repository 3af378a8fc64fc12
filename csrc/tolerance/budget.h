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

// What the coarse rate's confirmation is meant to take, as a part of that of limits.
inline constexpr double kCoarsePart = (1.0 / 3.0);

// A confirmation is given up once it is unlikely to end within this many times what it was meant to
// take.
inline constexpr double kPatience = 2.0;

// The observations that all confirmations of a search may take, where samples limit them, and the
// effort that so many of one leave room for.
double confirmations_needed(const SearchSettings& settings, double effort);
double effort_within(const SearchSettings& settings, double observations);
// The effort of the coarse rate's confirmation beside that of limits.
double coarse_effort(const SearchSettings& settings, double effort);

// The least effort of a confirmation about the distribution of the samples.
inline constexpr double kLeastEffortOfData = 3.0;

// Observations at the rates that a fit names, before a confirmation of this effort.
double settling(const SearchSettings& settings, double effort);

// Reports kept for a confirmation at this attempt.
int64_t reserve(const Run& run, int64_t attempt);

// Whether the budget is likely to be enough for limits of single operands, `done` of them known.
bool limits_affordable(const Run& run, size_t done);

// The effort of the confirmation at hand or the next one: the one asked for, or what a budget
// leaves beside those to come.
double planned_effort(const Run& run, double asked, bool confirming, int64_t attempt);

}  // namespace eden
