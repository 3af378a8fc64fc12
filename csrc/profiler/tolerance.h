// What a search has found, as the tolerance file of eden/tolerance/tolerance.py and as a table.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "profiler/json.h"
#include "profiler/options.h"
#include "profiler/package.h"
#include "tolerance/search.h"

namespace eden::profiler {

struct Found {
  const Search* search;
  std::vector<const Operand*> operands;        // in the search's order
  std::map<std::string, std::string> made_of;  // SHA-256 by what it is
  double reference = 0.0;                      // score on reliable memory
  int64_t samples = 0;
  int64_t batch = 0;                                          // samples of one observation
  int64_t confirming = 0;                                     // of one that confirms
  const char* population = "samples";                         // of what the statement is
  std::vector<std::pair<std::string, int64_t>> observations;  // by phase, in their order
};

// A number in so many significant digits.
std::string short_number(double value, int digits);

// "mean", or ["quantile", q].
Json guarantee_of(const Options& options);

// Version 2 of the file, with all the fields and values that Python's driver writes.
Json tolerance_of(const Options& options, const Found& found);

// Operand, bytes, limit and its ratio to the coarse rate; where it was measured, the rate that each
// operand stands alone with its interval of 90%, and its sensitivity.
std::string table_of(const Json& tolerance);

}  // namespace eden::profiler
